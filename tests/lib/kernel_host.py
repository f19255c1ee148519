# SPDX-License-Identifier: BSD-3-Clause
"""A Debian kernel of our own, under QEMU's software emulation, that runs this machine's programs:
it has this machine's root, read over virtiofs, and devices that this machine may not have, /dev/kvm
and /dev/vhost-* among them.

    with KernelHost(tmp, modules="kvm-amd") as host:
        host.run("tests/guest/what_inside.py", "case")      # its last line is `fine`
"""
import contextlib
import os
import pathlib

import pytest

from lib.guest_qemu import GuestQemu
from lib.process import Process, wait_until
from lib.ringside import binary

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
VIRTIOFSD = pathlib.Path("/usr/lib/qemu/virtiofsd")
# It is slow there, and everything is.
PATIENCE = 120


class KernelHost:
    """modules: to load, beside those that it needs itself. arguments: further ones for QEMU.
    `guest` is the lib.guest_qemu.GuestQemu. memory: in KiB."""

    def __init__(self, tmp, *, modules, arguments=(), memory=768 << 10):
        self.tmp, self.modules = pathlib.Path(tmp), modules
        self.arguments, self.memory = arguments, memory
        self.guest = None
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        if not VIRTIOFSD.exists():
            pytest.skip(f"{VIRTIOFSD} is missing: package qemu-system-common is not installed")
        if os.getuid():
            pytest.skip("virtiofsd shares a root only as root")
        path = self.tmp / "fs.sock"
        with self._stack as stack:
            daemon = stack.enter_context(
                Process([VIRTIOFSD, f"--socket-path={path}", "-o",
                         "source=/,sandbox=chroot,no_xattr"], log=self.tmp / "virtiofsd.log"))
            stack.callback(daemon.stop)
            wait_until(path.exists, "virtiofsd's socket")
            arguments = ["-chardev", f"socket,id=fs,path={path}",
                         "-device", "vhost-user-fs-pci,chardev=fs,tag=root", *self.arguments]
            self.guest = stack.enter_context(GuestQemu(
                self.tmp / "guest", arguments, memory=self.memory,
                append=f"ringside.modules=virtio_pci,virtiofs,{self.modules}"))
            self.guest.check("mount -t virtiofs -o ro root /mnt && mount -t tmpfs run /mnt/run && "
                             "mount -t proc proc /mnt/proc && mount -t sysfs sys /mnt/sys && "
                             "mount -o bind /dev /mnt/dev && ip link set lo up")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc):
        return self._stack.__exit__(*exc)

    def start(self, script, *arguments, patience=PATIENCE):
        """Begin a Python program of the tests, which gets the program under test as they do;
        end() waits for it."""
        environment = f"RINGSIDE_BIN={pathlib.Path(binary()).resolve()} " \
            f"PYTHONPATH={SOURCE / 'tests'} TMPDIR=/run HOME=/run PYTHONDONTWRITEBYTECODE=1 " \
            f"RINGSIDE_TEST_PATIENCE={patience} PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        return self.guest.start(f"{environment} chroot /mnt timeout -s INT {patience - 20} "
                                f"python3 {SOURCE / script} {' '.join(arguments)} 2>&1")

    def end(self, number, patience=PATIENCE):
        status, output = self.guest.finish(number, patience)
        assert status == 0 and output.strip().endswith("fine"), output
        return output

    def run(self, script, *arguments, patience=PATIENCE):
        return self.end(self.start(script, *arguments, patience=patience), patience)
