# SPDX-License-Identifier: BSD-3-Clause
"""The human monitor: by human-monitor-command and on a socket of its own.
tests/interop/test_hmp_qemu.py holds its layouts beside QEMU's."""
import os
import subprocess

import pytest

from lib import hmp as layout
from lib.hmp import Hmp, hmp, lines
from lib.process import PATIENCE
from lib.qmp import Qmp
from lib.ringside import Folder, serve
from lib.vhost_user import F_EVENT_IDX, F_VERSION_1, Front
from lib.virtio import Blk

PATH = "/machine/peripheral/disk0/virtio-backend"
TRY = 'Try "help info {}" for more information'


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("host")
    (tmp / "image").write_bytes(bytes(1 << 20))
    folder = Folder()
    disk = f"virtio-blk,id=disk0,filename={tmp / 'image'},num-queues=2"
    arguments = ["--name", "hmp-test", "--object", "iothread,id=io0",
                 "--monitor", f"unix:{folder.path}/hmp"]
    with serve(tmp, disk, "virtio-rng,id=r0", folder=folder, arguments=arguments) as running:
        running.hmp_path = folder.path / "hmp"
        with Front(running.socket("disk0"), features=F_VERSION_1 | F_EVENT_IDX) as front:
            blk = Blk(front)
            for sector in range(3):
                blk.write(sector, b"x" * 512)
            yield running


@pytest.fixture
def qmp(host):
    with Qmp(str(host.qmp_path)) as session:
        yield session


def test_every_layout(qmp):
    """What it prints is what QMP says, in the layout that tests/interop finds in QEMU."""
    assert hmp(qmp, "info virtio") == layout.virtio(qmp.command("x-query-virtio"))
    status = qmp.command("x-query-virtio-status", path=PATH)
    assert status["started"]
    assert hmp(qmp, f"info virtio-status {PATH}") == layout.status(PATH, status, "(none)")
    for queue in 0, 1:
        reply = qmp.command("x-query-virtio-queue-status", path=PATH, queue=queue)
        assert reply["used-idx"] == (0 if queue else 3)
        assert hmp(qmp, f"info virtio-queue-status {PATH} {queue}") == \
            layout.queue_status(PATH, reply)
    element = qmp.command("x-query-virtio-queue-element", path=PATH, queue=0)
    assert len(element["descs"]) == 3
    assert hmp(qmp, f"info virtio-queue-element {PATH} 0") == layout.queue_element(PATH, element)
    element = qmp.command("x-query-virtio-queue-element", path=PATH, queue=0, index=1)
    assert hmp(qmp, f"info virtio-queue-element {PATH} 0 1") == layout.queue_element(PATH, element)


def test_a_length_above_half_is_not_negative(tmp_path):
    """QEMU prints it as a signed number."""
    with serve(tmp_path, "virtio-rng,id=r0") as host, host.qmp() as qmp, \
            Front(host.socket("r0")) as front:
        # Published without a kick: the device has not looked at it.
        front.queues[0].ring.add([(0x1000, 0xc0000000, True)])
        answer = hmp(qmp, "info virtio-queue-element /machine/peripheral/r0/virtio-backend 0")
        assert "        addr 0x1000 len 3221225472 (write)" in answer


ANSWERS = [
    # line, lines of the answer
    ("", []),
    (" \t ", []),
    ("info name", ["hmp-test"]),
    ("info status", ["VM status: running"]),
    ("  info   name  ", ["hmp-test"]),
    ("info\tname", ["hmp-test"]),
    ('info "name"', ["hmp-test"]),
    ("help", ["help|? [cmd] -- show the help",
              "info [subcommand] -- show various information about the system state"]),
    ("?", ["help|? [cmd] -- show the help",
           "info [subcommand] -- show various information about the system state"]),
    ("help help", ["help|? [cmd] -- show the help"]),
    ("help info virtio", ["info virtio  -- List all available virtio devices"]),
    ("help info virtio-queue-element", [
        "info virtio-queue-element path queue [index] -- Display element of a given virtio queue"]),
    # Refused in QEMU's words.
    ("foo", ["unknown command: 'foo'"]),
    ("quit", ["unknown command: 'quit'"]),
    ("info foo", ["unknown command: 'info foo'"]),
    ("info virtio; info virtio", ["unknown command: 'info virtio;'"]),
    ("help foo", ["unknown command: 'foo'"]),
    ("help info foo", ["unknown command: 'info foo'"]),
    ("info virtio extra", ["virtio: extraneous characters at the end of line",
                           TRY.format("virtio")]),
    ("info virtio-status", ["virtio-status: string expected", TRY.format("virtio-status")]),
    ("info virtio-status a b", ["virtio-status: extraneous characters at the end of line",
                                TRY.format("virtio-status")]),
    ('info virtio-status "/x y"', ["Error: Path /x y is not a realized VirtIODevice"]),
    ('info virtio-status ""', ["Error: Path  is not a realized VirtIODevice"]),
    ('info virtio-status "abc', ["unterminated string", TRY.format("virtio-status")]),
    ('info virtio-status "abc\\', ["unterminated string", TRY.format("virtio-status")]),
    ('info virtio-status "a\\qb"', ["unsupported escape code: '\\q'", TRY.format("virtio-status")]),
    ('info virtio-status "a\\"b\\\\"',
     ['Error: Path a"b\\ is not a realized VirtIODevice']),
    ('"unterminated', ["unterminated string"]),
    (f"info virtio-queue-status {PATH}", ["unexpected end of expression",
                                          TRY.format("virtio-queue-status")]),
    (f"info virtio-queue-status {PATH} x", ["invalid char 'x' in expression",
                                            TRY.format("virtio-queue-status")]),
    (f"info virtio-queue-status {PATH} -", ["unexpected end of expression",
                                            TRY.format("virtio-queue-status")]),
    (f"info virtio-queue-status {PATH} --1", ["invalid char '-' in expression",
                                              TRY.format("virtio-queue-status")]),
    (f"info virtio-queue-status {PATH} 99999999999999999999999",
     ["number too large", TRY.format("virtio-queue-status")]),
    *((f"info virtio-queue-status {PATH} {n}",
       ["'virtio-queue-status' has failed: integer is for 32-bit values",
        TRY.format("virtio-queue-status")]) for n in ("-1", "4294967296", "0xfffffffff")),
    *((f"info virtio-queue-status {PATH} {n}",
       ["virtio-queue-status: extraneous characters at the end of line",
        TRY.format("virtio-queue-status")]) for n in ("1.5", "08", "0 0", "0x", "1+1", "1e3")),
    (f"info virtio-queue-status {PATH} 9", ["Error: Invalid virtqueue number 9"]),
    # Not cut to 16 bits.
    *((f"info virtio-queue-status {PATH} {n}", ["Error: Parameter 'queue' expects uint16_t"])
      for n in ("65536", "99999", "4294967295")),
    (f"info virtio-queue-element {PATH} 0 65536", ["Error: Parameter 'index' expects uint16_t"]),
    # -1 in 32 bits, which QEMU takes for no index.
    (f"info virtio-queue-element {PATH} 0 4294967295",
     ["Error: Parameter 'index' expects uint16_t"]),
    (f"info virtio-vhost-queue-status {PATH} 0",
     ["Error: Error: vhost device has not started yet"]),
    # Nothing steers the terminal.
    ("\x1b[2J", ["unknown command: '?[2J'"]),
    ("\x07\x08\x7f", ["unknown command: '???'"]),
    ("a\u009bb", ["unknown command: 'a?b'"]),
    ('info virtio-status "a\\nb\x1b"', ["Error: Path a", "b? is not a realized VirtIODevice"]),
    ("%s%n%x", ["unknown command: '%s%n%x'"]),
    ("é", ["unknown command: 'é'"]),
]


@pytest.mark.parametrize("line, expected", ANSWERS)
def test_answer(host, qmp, line, expected):
    assert hmp(qmp, line) == expected
    with Hmp(host.hmp_path) as people:
        assert people.run(line) == expected


def test_numbers_of_every_base(qmp):
    expected = hmp(qmp, f"info virtio-queue-status {PATH} 1")
    for one in "0x1", "01", "+1":
        assert hmp(qmp, f"info virtio-queue-status {PATH} {one}") == expected


def test_info_lists_what_help_info_lists(qmp):
    """Each of them runs, and has help of its own."""
    listed = hmp(qmp, "info")
    assert listed == hmp(qmp, "help info")
    assert listed == sorted(listed, key=lambda line: line.split()[1])
    for line in listed:
        name = line.split()[1]
        assert hmp(qmp, f"help info {name}") == [line]
        assert not hmp(qmp, f"info {name}")[:1] == [f"unknown command: 'info {name}'"]


REFUSALS = [
    ({}, "Parameter 'command-line' is missing"),
    ({"command-line": 5}, "Invalid parameter type for 'command-line', expected: string"),
    ({"command-line": "", "cpu-index": "x"},
     "Invalid parameter type for 'cpu-index', expected: integer"),
    ({"command-line": "", "more": 1}, "Parameter 'more' is unexpected"),
]


@pytest.mark.parametrize("arguments, sentence", REFUSALS)
def test_refusal(qmp, arguments, sentence):
    assert qmp.execute("human-monitor-command", arguments)["error"]["desc"] == sentence


def test_arguments(qmp):
    """The processor's number is taken and means nothing; a line end is white space."""
    assert qmp.command("human-monitor-command", command_line="info name", cpu_index=7) == \
        "hmp-test\r\n"
    assert qmp.command("human-monitor-command", command_line="info name\n") == "hmp-test\r\n"


def test_commands_of_our_own(qmp):
    """A line a member of what QMP says."""
    lines = hmp(qmp, f"info virtqueue-health {PATH} 0")
    found, = qmp.command("query-virtqueue-health", path=PATH, queue=0)
    assert lines[0] == f"{PATH}:"
    for member in "verdict", "severity", "sentence":
        assert f"    {member}: {found[member]}" in lines
    assert len([line for line in hmp(qmp, "info virtqueue-health") if "- path: " in line]) == 3
    assert hmp(qmp, f"info virtqueue-inflight {PATH}") == [f"{PATH}:", "  none"]
    assert hmp(qmp, "info virtqueue-inflight") == ["virtqueue-inflight: string expected",
                                                   TRY.format("virtqueue-inflight")]
    trace = hmp(qmp, f"info virtqueue-trace {PATH} 0 2")
    assert [line.split()[-1] for line in trace if " serial:" in line] == \
        [str(e["serial"]) for e in qmp.command("query-virtqueue-trace", path=PATH, queue=0, last=2)]
    negotiation = qmp.command("query-virtio-negotiation", path=PATH)
    lines = hmp(qmp, f"info negotiation {PATH}")
    assert len([line for line in lines if "- bit: " in line]) == \
        len(negotiation["features"]) + len(negotiation["protocol-features"])
    assert "  name: virtio-blk" in lines


def test_it_only_looks(tmp_path):
    """A read-only monitor runs it, and QMP's list of commands has it."""
    with serve(tmp_path, "virtio-rng,id=r0", arguments=["--read-only"]) as host, \
            host.qmp() as qmp:
        assert hmp(qmp, "info virtio") == ["/machine/peripheral/r0/virtio-backend [virtio-rng]"]
        assert {"name": "human-monitor-command"} in qmp.command("query-commands")


def test_no_device(tmp_path):
    with serve(tmp_path) as host, host.qmp() as qmp:
        assert hmp(qmp, "info virtio") == ["No VirtIO devices"]
        assert hmp(qmp, "info name") == []
        assert hmp(qmp, "info iothreads") == []
        qmp.command("stop")
        assert hmp(qmp, "info status") == ["VM status: paused"]


# ---- the socket --------------------------------------------------------------------------------


def test_session(host, qmp):
    with Hmp(host.hmp_path) as one, Hmp(host.hmp_path) as two:
        assert lines(one.greeting)[0].endswith("monitor - type 'help' for more information")
        one.send(b"info na")
        assert two.run("info virtio") == hmp(qmp, "info virtio")
        one.send(b"me\r\n")
        assert lines(one.answer()) == ["hmp-test"]
        # Several lines at once are several answers.
        one.send(b"\ninfo name\nfoo\n")
        assert [one.answer() for _ in range(3)] == \
            ["", "hmp-test\r\n", "unknown command: 'foo'\r\n"]
        # A NUL ends nothing.
        one.send(b"info\0 name\n")
        assert lines(one.answer()) == ["unknown command: 'info?'"]


def test_events_do_not_come_here(host, qmp):
    with Hmp(host.hmp_path) as people:
        qmp.command("stop")
        qmp.command("cont")
        qmp.event("RESUME")
        assert people.run("info status") == ["VM status: running"]


@pytest.mark.parametrize("length", [4095, 4096, 4097, 20000, 3 << 20])
def test_long_line(host, length):
    with Hmp(host.hmp_path) as people:
        people.send(b"x" * length + b"\n")
        answer = lines(people.answer())
        if length <= 4096:
            assert answer == [f"unknown command: '{'x' * length}'"]
        else:
            assert answer == ["line too long: more than 4096 bytes"]
        assert people.run("info name") == ["hmp-test"]


def test_noise(host):
    """Bytes of any kind leave it as it was."""
    with Hmp(host.hmp_path) as people:
        noise = bytes(range(256)) * 64
        people.send(noise.replace(b"\n", b" ") + b"\n" + b"\xff\xfe" * 100 + b"\n")
        people.answer()
        people.sock.setblocking(True)
    with Hmp(host.hmp_path) as people:
        assert people.run("info name") == ["hmp-test"]


def test_a_reader_who_does_not_read_holds_up_nobody(host, qmp):
    """Its next line waits; tests/unit/test_monitor_sessions.c has the end of it."""
    with Hmp(host.hmp_path) as people:
        people.sock.setblocking(False)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += people.sock.send(b"info virtio-sources disk0/virtio-backend\n" * 100)
                assert qmp.command("query-name") == {"name": "hmp-test"}
        except BlockingIOError:
            pass
        assert sent < 64 << 20
        assert qmp.command("query-name") == {"name": "hmp-test"}


def test_an_end_without_a_line_end(host):
    """What was sent in whole lines is answered before the session ends."""
    with Hmp(host.hmp_path) as people:
        people.send(b"info name\ninfo name")
        people.sock.shutdown(1)
        assert lines(people.answer()) == ["hmp-test"]
        assert people.sock.recv(1) == b""


def test_stdio(tmp_path):
    with serve(tmp_path, "virtio-rng,id=r0", arguments=["--monitor", "stdio"]) as host:
        host.process.write(b"info virtio\n")
        host.process.expect(rb"\(ringside\) .*r0/virtio-backend \[virtio-rng\]\r?\n\(ringside\) ")


BAD_ADDRESSES = [
    ("tcp:127.0.0.1:0", "none of unix:PATH, stdio"),
    ("/tmp/x", "none of unix:PATH, stdio"),
    ("unix:", "neither a path nor fd="),
    ("unix:/tmp/x,mode=9", "octal number"),
]


@pytest.mark.parametrize("address, expected", BAD_ADDRESSES)
def test_bad_address(ringside_bin, tmp_path, address, expected):
    run = subprocess.run([ringside_bin, "serve", "--monitor", address], capture_output=True,
                         env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, text=True,
                         stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert run.returncode == 1 and run.stderr.startswith(f"ringside serve: --monitor {address}: ")
    assert expected in run.stderr
