# SPDX-License-Identifier: BSD-3-Clause
"""Machine uml at its edges: odd endings and moments, what cannot run, a terminal as console."""
import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from lib import no_syscall
from lib.guest import Guest, images
from lib.guest_uml import KERNEL, require_uml
from lib.process import PATIENCE, Process, wait_until
from lib.ringside import Folder, Ringside, binary, run_uml


@pytest.fixture(scope="module")
def initrd():
    require_uml()
    return images("uml") / "uml.initrd"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(bytes(range(256)) * 16384)
    return path


@pytest.fixture
def start(tmp_path, initrd):
    """A function that starts `ringside run` with its private folder below a folder of its own."""
    hosts = []

    def starter(*devices, **how):
        host = run_uml(tmp_path, *devices, initrd=initrd, **how)
        hosts.append(host)
        return host

    yield starter
    for host in hosts:
        host.destroy()


def private_folders(host):
    return [p for p in host.runtime.glob("ringside-*")]


def members(host, word):
    """Processes of the run whose name begins with the word; whoever started the others first."""
    parents = {}
    for pid in host.process.family():
        try:
            text = pathlib.Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        if name.startswith(word):
            parents[pid] = int(rest.split()[1])
    # Their numbers tell nothing of their age: those begin anew at some point.
    return sorted(parents, key=lambda pid: parents[pid] in parents)


def assert_gone(host, *, status):
    assert host.process.wait() == status
    host.process.assert_alone_gone()
    wait_until(lambda: not private_folders(host), "the private folder to be removed", 10)


# ---- endings ----------------------------------------------------------------------------------


def test_kill_leaves_nothing(start, image):
    """SIGKILL, which nobody can catch: the guest and the private folder go all the same."""
    host = start(f"virtio-blk,id=disk0,filename={image}")
    Guest(host.process).wait_ready()
    assert private_folders(host)[0].stat().st_mode & 0o777 == 0o700
    assert len(members(host, "linux.uml")) > 1
    host.process.signal(signal.SIGKILL)
    assert_gone(host, status=-signal.SIGKILL)


def test_kill_during_boot(start):
    host = start()
    wait_until(lambda: members(host, "linux.uml"), "the guest's first process")
    host.process.signal(signal.SIGKILL)
    assert_gone(host, status=-signal.SIGKILL)


@pytest.mark.parametrize("who", ["linux.uml", "ringside-reaper"])
def test_somebody_kills_the_guest(start, who):
    host = start()
    Guest(host.process).wait_ready()
    os.kill(members(host, who)[0], signal.SIGKILL)
    assert_gone(host, status=1)
    assert "the guest's kernel was ended by signal 9 (Killed)" in host.process.text


def test_status_of_the_guest(start):
    """The guest can set the status of its power-off; any but 0 is a failure of ours."""
    host = start()
    Guest(host.process).wait_ready().start("echo 3 >/proc/exitcode; poweroff -f")
    assert_gone(host, status=1)
    assert "the guest ended with status 3" in host.process.text


def test_panic_has_its_reason(start):
    host = start()
    Guest(host.process).wait_ready().start("echo c >/proc/sysrq-trigger")
    assert_gone(host, status=1)
    assert host.process.text.count("the guest's kernel panicked: sysrq triggered crash") == 1


def test_nothing_to_start_from(tmp_path):
    """What a newcomer's first line lacks is named."""
    require_uml()
    host = Ringside(["run"], log=tmp_path / "log", ready=False)
    assert_gone(host, status=1)
    assert "it has nothing to start from: --initrd gives it" in host.process.text


def test_output_before_the_end_arrives(start):
    host = start()
    Guest(host.process).wait_ready().start("seq 1 20000; poweroff -f")
    assert_gone(host, status=0)
    assert "\n20000\n" in host.process.text


@pytest.fixture
def silent(start):
    """(host, what it is to be ended by): a guest that waits for a back-end that never answers."""
    folder = Folder()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder.path / "s"))
        listener.listen()
        listener.settimeout(PATIENCE)
        host = start(arguments=["--append", f"virtio_uml.device={folder.path / 's'}:2:9"])
        with listener.accept()[0] as back_end:
            back_end.settimeout(PATIENCE)
            assert back_end.recv(1)
            yield host
    folder.remove()


@pytest.mark.parametrize("how", ["quit", "SIGTERM", "SIGKILL"])
def test_silent_back_end(silent, how):
    if how == "quit":
        silent.qmp().command("quit")
    else:
        silent.process.signal(getattr(signal, how))
    assert_gone(silent, status=-signal.SIGKILL if how == "SIGKILL" else 0)


def test_silent_back_end_is_not_stopped(silent):
    """stop says that it did not happen; quit works after it."""
    qmp = silent.qmp()
    error, sentence = qmp.error("stop")
    assert error == "GenericError" and "did not answer 'stop'" in sentence
    assert qmp.command("query-status")["running"] is True
    qmp.command("quit")
    assert_gone(silent, status=0)


# ---- moments ----------------------------------------------------------------------------------


def test_stop_before_the_kernel_is_up(start):
    host = start()
    qmp = host.qmp()
    qmp.command("stop")
    assert qmp.command("query-status")["status"] == "paused"
    qmp.command("cont")
    Guest(host.process).wait_ready().check("true")
    host.stop()


def test_quit_while_stopped(start):
    host = start()
    Guest(host.process).wait_ready()
    qmp = host.qmp()
    qmp.command("stop")
    qmp.command("quit")
    assert_gone(host, status=0)


def test_reset_while_stopped(start, image):
    """It starts afresh, and stands still again until cont."""
    host = start(f"virtio-blk,id=disk0,filename={image}")
    guest = Guest(host.process).wait_ready()
    qmp = host.qmp()
    for _ in range(2):
        guest.check("touch /tmp/mark")
        qmp.command("stop")
        qmp.command("system_reset")
        assert qmp.event("RESET")["data"]["guest"] is False
        assert qmp.command("query-status")["status"] == "paused"
        qmp.command("cont")
        guest.wait_ready()
        assert guest.run("test -e /tmp/mark")[0] == 1
        guest.check("dd if=/dev/vda of=/dev/null bs=4k count=100 iflag=direct")
    host.stop()


def test_guest_sees_a_device_go(start, image):
    """device_del closes the device's socket, which is an unplugged device to the guest's driver."""
    host = start(f"virtio-blk,id=disk0,filename={image}")
    guest = Guest(host.process).wait_ready()
    guest.check("test -b /dev/vda")
    host.qmp().command("device_del", id="disk0")
    guest.check("for i in $(seq 100); do test -e /dev/vda || exit 0; sleep 0.1; done; exit 1")
    guest.check("test -z \"$(ls /sys/bus/virtio/devices)\"")
    host.stop()


# ---- the console ------------------------------------------------------------------------------


def test_standard_input_at_its_end(tmp_path, initrd):
    """The guest does not lose its console because nobody types."""
    host = run_uml(tmp_path, initrd=initrd, stdin=False)
    try:
        Guest(host.process).wait_ready()
        qmp = host.qmp()
        qmp.command("stop")
        qmp.command("cont")
        host.stop()
    finally:
        host.destroy()


class Terminal:
    """`ringside run` on a pseudo-terminal of its own."""

    def __init__(self, *arguments):
        self.output = b""
        self.folder = Folder()
        try:
            self.pid, self.fd = pty.fork()
        except OSError as error:
            self.folder.remove()
            pytest.skip(f"no pseudo-terminals here: {error}")
        if self.pid == 0:
            os.environ["XDG_RUNTIME_DIR"] = str(self.folder.path)
            os.execv(binary(), ["ringside", "run", *map(str, arguments)])

    def expect(self, pattern):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.output):
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.output[-2000:]!r}"
            if select.select([self.fd], [], [], left)[0]:
                self.output += os.read(self.fd, 65536)

    def wait(self):
        """Reads on, so that no output holds it up; the exit status."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.output += os.read(self.fd, 65536)
                except OSError:
                    pass

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        self.folder.remove()


def test_escape_on_a_terminal(initrd):
    terminal = Terminal("--initrd", initrd)
    try:
        terminal.expect(rb"Ctrl-A x ends the guest")
        terminal.expect(rb"@ready@")
        os.write(terminal.fd, b"\x01h")
        terminal.expect(rb"Ctrl-A Ctrl-A +send Ctrl-A to the guest")
        # ^C is the guest's: it must not end us.
        os.write(terminal.fd, b"\x03")
        os.write(terminal.fd, b"\x01")
        os.write(terminal.fd, b"x")
        assert terminal.wait() == 0
    finally:
        terminal.close()


# ---- what cannot run --------------------------------------------------------------------------


@pytest.mark.parametrize("arguments,sentence", [
    (["--kernel", "/etc/passwd"], "the file has to be executable"),
    (["--kernel", "/tmp"], "no regular file"),
    (["--kernel", "/bin/true"], "ended with status 0 before it was up"),
    (["--kernel", "fd=99"], "'fd=99' is not open"),
    (["--append", "mem=1G"], "use --memory"),
    (["--append", "\"open"], "double quote"),
    (["--append", "x" * 4096], "takes 4095"),
    (["--memory", "1000G"], "32 MiB to 64 GiB"),
], ids=lambda v: " ".join(v)[:30] if isinstance(v, list) else "")
def test_refused(tmp_path, initrd, arguments, sentence):
    host = run_uml(tmp_path, initrd=initrd, arguments=arguments, ready=False)
    try:
        assert_gone(host, status=1)
        assert sentence in host.process.text
        assert not host.folder.left()
    finally:
        host.destroy()


def test_no_program(tmp_path, initrd):
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"\x01\x02\x03\x04")
    kernel.chmod(0o755)
    host = run_uml(tmp_path, initrd=initrd, arguments=["--kernel", kernel], ready=False)
    try:
        assert_gone(host, status=1)
        assert "is no program: expected a user-mode Linux kernel" in host.process.text
    finally:
        host.destroy()


def test_by_descriptor(tmp_path, initrd):
    """Kernel and initrd as descriptors, through a reboot: it executes itself again."""
    fds = [os.open(path, os.O_RDONLY) for path in (KERNEL, initrd)]
    folder = Folder()
    with Process([binary(), "run", "--kernel", f"fd={fds[0]}", "--initrd", f"fd={fds[1]}"],
                 pass_fds=fds, env={"XDG_RUNTIME_DIR": str(folder.path)}) as process:
        for fd in fds:
            os.close(fd)
        guest = Guest(process).wait_ready()
        guest.start("reboot -f")
        guest.wait_ready()
        guest.start("poweroff -f")
        assert process.wait() == 0
        process.assert_alone_gone()
    folder.remove()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter knows x86-64 only")
def test_ptrace_not_permitted(tmp_path, initrd):
    # A sanitizer's search for leaks traces the process too.
    asan = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    run = subprocess.run([sys.executable, no_syscall.PATH, str(no_syscall.PTRACE), binary(), "run",
                          "--initrd", initrd],
                         capture_output=True, text=True, timeout=PATIENCE,
                         stdin=subprocess.DEVNULL,
                         env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path),
                              "ASAN_OPTIONS": asan})
    if run.returncode == 99:
        pytest.skip("this kernel takes no system call filter")
    assert run.returncode == 1
    assert "ptrace" in run.stderr and len(run.stderr.strip().splitlines()) == 1, run.stderr
