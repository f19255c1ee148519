# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's human monitor beside ours: the layouts that tests/proto/test_hmp.py checks ours against
are QEMU's, and lines that are wrong are answered alike. No guest runs; with one, see
test_differential.py."""
import shutil
import types

import pytest

from lib import hmp as layout
from lib.guest_qemu import QEMU
from lib.hmp import hmp
from lib.process import Process, wait_until
from lib.qmp import Qmp
from lib.ringside import serve

THEIRS, OURS = "/machine/peripheral/r0", "/machine/peripheral/r0/virtio-backend"


def monitor(path):
    try:
        return Qmp(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return None


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """A stopped machine of QEMU's, and devices of ours, with their sessions."""
    if not shutil.which(QEMU):
        pytest.skip(f"{QEMU} is missing: package qemu-system-x86 is not installed")
    folder = tmp_path_factory.mktemp("hmp")
    argv = [QEMU, "-M", "microvm,accel=tcg", "-nodefaults", "-no-user-config", "-display", "none",
            "-S", "-name", "box", "-object", "iothread,id=io0",
            "-device", "virtio-rng-device,id=r0", "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]
    with Process(argv, cwd=folder) as qemu, \
            wait_until(lambda: monitor(folder / "qmp"), "QEMU's monitor") as theirs, \
            serve(folder, "virtio-rng,id=r0",
                  arguments=["--name", "box", "--object", "iothread,id=io0"]) as host, \
            host.qmp() as ours:
        yield types.SimpleNamespace(theirs=theirs, ours=ours)
        theirs.command("quit")
        qemu.wait()


def test_layouts(sides):
    """One function makes of QEMU's QMP replies what QEMU prints, and of ours what we print."""
    for qmp, path, no_bus in (sides.theirs, THEIRS, "(null)"), (sides.ours, OURS, "(none)"):
        assert hmp(qmp, "info virtio") == layout.virtio(qmp.command("x-query-virtio"))
        status = qmp.command("x-query-virtio-status", path=path)
        assert hmp(qmp, f"info virtio-status {path}") == layout.status(path, status, no_bus)
        queue = qmp.command("x-query-virtio-queue-status", path=path, queue=0)
        assert hmp(qmp, f"info virtio-queue-status {path} 0") == layout.queue_status(path, queue)


def test_iothreads(sides):
    """Only the thread's number and how it polls differ."""
    found = [[line.partition("=")[0] for line in hmp(qmp, "info iothreads")]
             for qmp in (sides.theirs, sides.ours)]
    assert found[0] == found[1] and found[0][0] == "io0:" and len(found[0]) == 6


SAME = [
    "", "   ", "foo", "info foo", "info 7", "#foo", "info virtio; info virtio", "help foo",
    "help info foo", "help help", "info name", "info virtio extra", "info virtio-status",
    "info virtio-status a b", "info virtio-status /a\tb", "info virtio-queue-status",
    "info virtio-queue-status @", "info virtio-queue-status @ x", "info virtio-queue-status @ -1",
    "info virtio-queue-status @ 1.5", "info virtio-queue-status @ 99999999999",
    "info virtio-queue-status @ 99999999999999999999999", "info virtio-queue-status @ 0 0",
    "info virtio-queue-status @ 08", "info virtio-queue-status @ 0x",
    "info virtio-queue-status @ 9", "info virtio-queue-status @ 0x9",
    "info virtio-queue-element @ 0", "info virtio-queue-element @ 9",
    "info virtio-queue-element @ 0 -1", "info virtio-queue-element @ 0 x",
    "info virtio-queue-element @ 0 1 2",
    "info virtio-vhost-queue-status @ 0", "info virtio-queue-status /nope 0",
    "info virtio-queue-element /nope 0", 'info virtio-queue-status "" 0',
    "help info virtio", "help info virtio-status", "help info virtio-queue-status",
    "help info virtio-vhost-queue-status", "help info virtio-queue-element", "x" * 300,
]


@pytest.mark.parametrize("line", SAME)
def test_same_answer(sides, line):
    assert hmp(sides.ours, line.replace("@", OURS)) == hmp(sides.theirs, line.replace("@", THEIRS))


# Line, QEMU's answer begins with, ours does. docs/differences.md has them.
DIFFERENT = [
    ("info virtio-queue-status @ 65536", "@:", "Error: Parameter 'queue' expects uint16_t"),
    ("info virtio-queue-status @ 99999", "Error: Invalid virtqueue number 34463",
     "Error: Parameter 'queue' expects uint16_t"),
    ("info virtio-queue-status @ 1+1", "Error: Invalid virtqueue number 2",
     "virtio-queue-status: extraneous characters at the end of line"),
    ("info virtio-queue-status @ 'a'", "Error: Invalid virtqueue number 97",
     "invalid char ''' in expression"),
    ("info virtio-status /nope", "Error: Path /nope is not a VirtIODevice",
     "Error: Path /nope is not a realized VirtIODevice"),
    ('info virtio-status "abc', "virtio-status: string expected", "unterminated string"),
    ("\x1b[2J", "unknown command: '\x1b[2J'", "unknown command: '?[2J'"),
    ("info status", "VM status: paused (prelaunch)", "VM status: running"),
    ("info version", "7.", "9.2.0 (ringside "),
]


@pytest.mark.parametrize("line, theirs, ours", DIFFERENT)
def test_different_answer(sides, line, theirs, ours):
    for qmp, path, expected in (sides.theirs, THEIRS, theirs), (sides.ours, OURS, ours):
        answer = hmp(qmp, line.replace("@", path))
        assert answer[0].startswith(expected.replace("@", path)), answer
