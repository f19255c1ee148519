# SPDX-License-Identifier: BSD-3-Clause
"""`ringside info`: its command line, how it finds a monitor, and servers that behave or do not."""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest

from lib.fake_qmp import RINGSIDE, Error, FakeQmp
from lib.info import BLK, OURS, TABLE, info, ok, sentence
from lib.process import PATIENCE, Process
from lib.qmp import Qmp


@pytest.fixture
def folder():
    """A short-named one: a socket's path has 107 bytes."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="rs-"))
    yield path
    shutil.rmtree(path)


# ---- the command line --------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, expected", [
    (["bogus"], "unknown verb 'bogus'"),
    (["virtio", "x"], "expected 'ringside info virtio'"),
    (["status"], "expected 'ringside info status PATH', got 0 arguments"),
    (["queue", "p"], "expected 'ringside info queue PATH N', got 1 argument "),
    (["element", "p", "1", "2", "3"], "PATH N [INDEX]"),
    (["queue", "p", "65536"], "queue '65536' is no number from 0 to 65535"),
    (["queue", "p", ""], "queue ''"),
    (["queue", "p", "1x"], "queue '1x'"),
    (["queue", "p", " 1"], "queue ' 1'"),
    (["queue", "p", "99999999999999999999"], "is no number"),
    (["element", "p", "0", "zero"], "index 'zero'"),
    (["queue", "p", "--", "-1"], "queue '-1'"),
    (["--bogus"], "there is no option '--bogus'; it takes: --qmp, --json, "),
    (["--qmp"], "option '--qmp' needs a value"),
    (["--timeout", "soon"], "--timeout 'soon'"),
    (["--qmp", "tcp:host"], "'tcp:host' is no address"),
    (["--qmp", "tcp:a:b"], "'tcp:a:b' is no address"),
    (["--qmp", "tcp:1:2:3"], "'tcp:1:2:3' is no address"),
])
def test_usage(ringside_bin, arguments, expected):
    if arguments[0] == "--qmp" and len(arguments) > 1:
        got, _, err = info(ringside_bin, *arguments)
        assert got == 2 and expected in err, err
    else:
        assert expected in sentence(ringside_bin, *arguments, status=2)


def test_help(ringside_bin):
    out = ok(ringside_bin, "--help")
    for word in ("virtio", "status", "queue", "vhost-queue", "element", "sources", "--qmp",
                 "--json", "--allow-harm", "--timeout"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 100


# ---- addresses and discovery -------------------------------------------------------------------

def _knows_localhost():
    try:
        return bool(socket.getaddrinfo("localhost", None, socket.AF_INET))
    except socket.gaierror:
        return False


# A container may have no /etc/hosts.
LOCALHOST = ["localhost"] if _knows_localhost() else []


def test_addresses(ringside_bin, folder):
    with FakeQmp(folder / "q", TABLE):
        for address in (folder / "q", f"unix:{folder}/q"):
            assert BLK in ok(ringside_bin, "--qmp", address, "virtio")
    with FakeQmp(("127.0.0.1", 0), TABLE) as server:
        port = server.address[1]
        for host in ("127.0.0.1", *LOCALHOST, ""):
            assert BLK in ok(ringside_bin, "--qmp", f"tcp:{host}:{port}", "virtio")
    assert f"nobody listens on 127.0.0.1 port {port}" in sentence(
        ringside_bin, "--qmp", f"tcp:127.0.0.1:{port}", "virtio")


def test_no_socket(ringside_bin, folder):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "dead"))
    (folder / "file").write_text("")
    for name, expected in (("none", "there is no socket"), ("dead", "nobody listens on socket"),
                           ("file", "file"), ("x" * 200, "107")):
        line = sentence(ringside_bin, "--qmp", folder / name, "virtio")
        assert expected in line and name in line


@pytest.mark.parametrize("alive, dead, expected", [
    ([], [], "no running instance found; start one"),
    ([], ["old"], "only sockets that nobody listens on"),
    (["a", "b"], ["old"], "2 instances run: a, b; choose one with --qmp NAME"),
    (["one"], [], None),
    (["one"], ["old", "older"], None),
])
def test_discovery(ringside_bin, folder, alive, dead, expected):
    runtime = folder / "ringside"
    runtime.mkdir(mode=0o700)
    (runtime / "notes.qmp").write_text("no socket")
    (runtime / "x.vhost").write_text("")
    for name in dead:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(runtime / f"{name}.qmp"))
    env = {"XDG_RUNTIME_DIR": str(folder)}
    with contextlib.ExitStack() as stack:
        for name in alive:
            stack.enter_context(FakeQmp(runtime / f"{name}.qmp", OURS, version=RINGSIDE))
        if expected:
            assert expected in sentence(ringside_bin, "virtio", env=env)
        else:
            assert BLK in ok(ringside_bin, "virtio", env=env)
        for name in alive:
            assert BLK in ok(ringside_bin, "--qmp", name, "virtio", env=env)


def test_discovery_without_folder(ringside_bin, folder):
    assert "no running instance" in sentence(
        ringside_bin, env={"XDG_RUNTIME_DIR": str(folder / "none")})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
@pytest.mark.parametrize("mode, owner, link, expected", [
    (0o700, 65534, False, None),
    (0o755, 65534, False, "has mode 755, expected 700"),
    (0o700, 0, False, "belongs to user 0, expected 65534"),
    (0o700, 65534, True, "should be the folder of monitor sockets but is no folder"),
])
def test_shared_folder(ringside_bin, folder, mode, owner, link, expected):
    """A folder in the temporary directory has to be a closed one of ours."""
    folder.chmod(0o755)
    runtime = folder / "ringside-65534"
    real = folder / "real" if link else runtime
    real.mkdir(mode=0o700)
    if link:
        runtime.symlink_to(real)
    with FakeQmp(real / "one.qmp", OURS, version=RINGSIDE):
        os.chown(real / "one.qmp", 65534, 65534)
        os.chown(real, owner, owner)
        real.chmod(mode)
        binary = folder / "ringside"
        shutil.copy(ringside_bin, binary)
        env = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
        run = subprocess.run([binary, "info", "virtio"], env={**env, "TMPDIR": str(folder)},
                             user=65534, group=65534, extra_groups=[], capture_output=True,
                             timeout=PATIENCE, check=False)
    if expected:
        assert run.returncode == 1 and expected in run.stderr.decode(), run
    else:
        assert run.returncode == 0 and BLK in run.stdout.decode(), run


# ---- what servers do ---------------------------------------------------------------------------

EVENT = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}\r\n'


@pytest.mark.parametrize("behaviour", [
    {"pretty": True},
    {"before": EVENT},
    {"before": b"\r\n \t\r\n" + 3 * EVENT},
    {"greeting": b'{"QMP": {"version": {}, "capabilities": []}}\n'},
    {"greeting": b'{"QMP": {}}'},
    {"greeting": b'\r\n {"QMP": 1} \n'},
    {"greeting": b'{"QMP": {"version": {"qemu": {"major": "x"}, "package": 3}, "new": {}}}'},
])
def test_lenient(ringside_bin, folder, behaviour):
    with FakeQmp(folder / "q", TABLE, **behaviour):
        assert BLK in ok(ringside_bin, "--qmp", folder / "q", "virtio")


@pytest.mark.parametrize("behaviour, expected", [
    ({"greeting": b"SSH-2.0-OpenSSH_9.2\r\n"}, "does not speak QMP: it sent 'SSH-2.0-OpenSSH_9.2"),
    ({"greeting": b"220 mail ready\r\n"}, "does not speak QMP"),
    ({"greeting": b"\x1b[31m\xff\x00"}, "it sent '?[31m"),
    ({"greeting": b"[]"}, "does not speak QMP"),
    ({"greeting": b"null\n"}, "does not speak QMP"),
    ({"greeting": b'{"return": {}}'}, "does not speak QMP"),
    ({"greeting": b"[" * 10000}, "does not speak QMP"),
    ({"greeting": b'{"QMP": "' + b"x" * (5 << 20)}, "more than 4194304 bytes"),
    ({"end_after": "qmp_capabilities"}, "closed the connection"),
    ({"end_after": "x-query-virtio"}, "closed the connection"),
    ({"wrong_id": True}, "reply to something else"),
    ({"table": {"x-query-virtio": b"nonsense\r\n"}}, "it sent 'nonsense"),
    ({"table": {"x-query-virtio": b"{}\r\n"}}, "reply to something else"),
    ({"table": {"x-query-virtio": b'{"id": 2}\r\n'}}, "neither a result nor an error"),
    ({"table": {"x-query-virtio": b'{"id": 2, "return": "' + b"x" * (5 << 20)}}, "4194304"),
    ({"table": {"x-query-virtio": {}}}, "is no list"),
    ({"table": {"x-query-virtio": None}}, "is no list"),
    ({"table": {"x-query-virtio": Error("two\nlines\x1b[2J")}}, "two?lines?[2J"),
    ({"table": {"x-query-virtio": b'{"id": 2, "error": 1}\r\n'}}, "gave no reason"),
    ({"table": {"x-query-virtio": b'{"error": {"class": "C", "desc": "JSON parse error"}}\r\n'}},
     "JSON parse error"),
    ({"table": {"qmp_capabilities": Error("No.")}}, "No."),
    ({"table": {"x-query-virtio": Error("gone", "CommandNotFound")}},
     "the monitor of QEMU 7.2 does not know 'x-query-virtio'"),
])
def test_refused(ringside_bin, folder, behaviour, expected):
    behaviour = dict(behaviour)
    table = {**TABLE, **behaviour.pop("table", {})}
    with FakeQmp(folder / "q", table, **behaviour):
        assert expected in sentence(ringside_bin, "--qmp", folder / "q", "virtio")


def test_silent(ringside_bin, folder):
    """Nothing comes: the sentence says what that may mean, and before that what is waited for."""
    with FakeQmp(folder / "q", greeting=None):
        status, out, err = info(ringside_bin, "--timeout", 1, "--qmp", folder / "q", "virtio")
    first, second = err.splitlines()
    assert (status, out) == (1, "")
    assert "waiting for" in first and "another client may hold it" in first
    assert "no QMP greeting" in second and "in 1000 ms" in second
    with FakeQmp(folder / "q2", TABLE, silent_on="x-query-virtio"):
        assert "gave no reply to 'x-query-virtio' in 1000 ms" in sentence(
            ringside_bin, "--timeout", 1, "--qmp", folder / "q2", "virtio")


def test_late(ringside_bin, folder):
    """A monitor that serves another client first: the wait is announced, and then it works."""
    with FakeQmp(folder / "q", TABLE):
        other = Qmp(str(folder / "q"))
        argv = [ringside_bin, "info", "--timeout", 60, "--qmp", folder / "q", "virtio"]
        with Process(argv) as run:
            run.expect(rb"waiting for .*another client may hold it")
            other.close()
            assert run.wait() == 0
            assert BLK in run.text


def test_endless_events(ringside_bin, folder):
    """They do not prolong the wait."""
    with FakeQmp(folder / "q", {**TABLE, "x-query-virtio": EVENT * 200000}):
        assert "x-query-virtio" in sentence(
            ringside_bin, "--timeout", 1, "--qmp", folder / "q", "virtio")
