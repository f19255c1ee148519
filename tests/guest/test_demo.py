# SPDX-License-Identifier: BSD-3-Clause
"""`make demo` is what a newcomer sees first: it shows each of the five commands on a living guest,
ends by itself, and leaves nothing behind."""
import os
import re
import subprocess
import sys

import pytest

from lib import no_syscall
from lib.guest import images
from lib.guest_uml import require_uml
from lib.process import Process
from lib.ringside import Folder, binary

SHOWN = (
    "x-query-virtio:", "virtio-blk", "virtio-serial", "virtio-rng",
    "x-query-virtio-status", "VIRTIO_RING_F_EVENT_IDX",
    "x-query-virtio-queue-status", "last-avail-idx",
    "x-query-virtio-queue-element", "x-query-virtio-vhost-queue-status",
    "ringside why disk0", "ringside info trace", "ringside top",
    "and nothing of it is left", "What to try next", "ringside serve")
BY_GUEST = (*SHOWN, "virtio-net", "virtio-vsock", "virtio-balloon", "virtio-scsi", "answers",
            "/dev/vsock", "its SCSI disk at 0:0:3:1 has 32 MiB",
            "are free", "no driver for virtio-rng", "read it back, the same", "The guest is gone")
BY_DRIVER = (*SHOWN, "ptrace is not permitted here", "a driver of our own does its part",
             "rng0: no driver was started", "ringside drive was here", "IOPS=", "blocks verified=",
             "ended by a signal", "Devices and driver are gone")


@pytest.fixture
def folder():
    folder = Folder()
    yield folder
    folder.remove()


def run_demo(folder, *argv, shown, **more):
    env = {"TMPDIR": str(folder.path), "XDG_RUNTIME_DIR": str(folder.path), "TERM": "dumb",
           **more}
    with Process([*argv, binary()], env=env, stdin=False) as demo:
        assert demo.wait(120) == 0, demo.text
        demo.assert_alone_gone()
        text = demo.text
    missing = [words for words in shown if words not in text]
    assert not missing, f"{missing} not in:\n{text}"
    assert "\033" not in text, "colour, and this is no terminal"
    assert os.listdir(folder.path) in ([], ["ringside"]), os.listdir(folder.path)
    # How the ring stood each time that it was looked at.
    return [int(n) for n in re.findall(r"^ +\d+\.\d\d s +(\d+)", text, re.M)]


def test_demo(folder, source_root):
    require_uml()
    images("uml")
    looks = run_demo(folder, source_root / "tools/demo", shown=BY_GUEST)
    assert len(looks) > 2 and looks == sorted(looks) and looks[0] < looks[-1], looks


@pytest.fixture
def no_ptrace():
    """The start of a command line whose programs may not trace."""
    wrapper = [sys.executable, no_syscall.PATH, str(no_syscall.PTRACE)]
    if os.uname().machine != "x86_64":
        pytest.skip("the number of the system call that is refused is x86-64's")
    if subprocess.run([*wrapper, "/bin/true"], check=False).returncode == 99:
        pytest.skip("this kernel takes no seccomp filter")
    return wrapper


def test_demo_where_user_mode_linux_cannot_run(folder, source_root, no_ptrace):
    # LeakSanitizer is one that traces.
    looks = run_demo(folder, *no_ptrace, source_root / "tools/demo", shown=BY_DRIVER,
                     ASAN_OPTIONS="detect_leaks=0")
    # The index has 16 bits, and this driver is quick.
    assert len(looks) > 2 and len(set(looks)) > 1, looks
