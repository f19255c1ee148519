# SPDX-License-Identifier: BSD-3-Clause
"""Debian's QEMU under software emulation with a Debian kernel."""
import pathlib
import shutil

import pytest

from lib.guest import Guest, images, initrd_with
from lib.process import PATIENCE, Process, wait_until
from lib.qmp import Qmp

QEMU = "qemu-system-x86_64"


def vhost_user_blk(path, number=0, *, reconnect=0, **properties):
    """Arguments for a vhost-user-blk-pci device on a socket. reconnect: seconds between attempts
    when the back-end is gone; 0: none."""
    return ["-chardev", f"socket,id=vub{number},path={path},reconnect={reconnect}",
            "-device", _device("vhost-user-blk-pci", chardev=f"vub{number}", id=f"disk{number}",
                               **properties)]


def vhost_user_rng(path, number=0, **properties):
    """Arguments for a vhost-user-rng-pci device on a socket."""
    return ["-chardev", f"socket,id=vur{number},path={path}",
            "-device", _device("vhost-user-rng-pci", chardev=f"vur{number}", id=f"rng{number}",
                               **properties)]


def cryptodev(path, number=0, *, queues=1, **properties):
    """Arguments for a virtio-crypto-pci device whose server is on a socket. With vectors QEMU 7.2
    crashes under software emulation, and it tells the server of no EVENT_IDX. queues: for data."""
    return ["-chardev", f"socket,id=cry{number},path={path}",
            "-object", f"cryptodev-vhost-user,id=cryptodev{number},chardev=cry{number},"
            f"queues={queues}",
            "-device", _device("virtio-crypto-pci", cryptodev=f"cryptodev{number}",
                               id=f"crypto{number}", vectors=0, event_idx="off", **properties)]


def _device(driver, **properties):
    # QEMU spells the rings' own properties with underscores, all others with hyphens.
    kept = ("event_idx", "indirect_desc")
    return ",".join([driver, *(f"{k if k in kept else k.replace('_', '-')}={v}"
                               for k, v in properties.items())])


def vhost_user_input(path, number=0):
    """Arguments for a vhost-user-input-pci device on a socket; it wants accel="kvm"."""
    return ["-chardev", f"socket,id=vui{number},path={path}",
            "-device", _device("vhost-user-input-pci", chardev=f"vui{number}", id=f"input{number}")]


class GuestQemu(Guest):
    """A QEMU guest (q35, PCI) with our init on ttyS0 and a QMP socket, `qmp`, once it is ready.

    arguments: further ones for QEMU. Its memory is a shared memfd, as vhost-user needs.
    memory: in KiB. kind: whose kernel, of tools/guest-images. files: {name in the guest: path} of
    further programs. accel: what runs it, kvm where a test runs in a guest that has that.
    """

    def __init__(self, workdir, arguments=(), *, memory=256 << 10, smp=1, append="", log=None,
                 kind="qemu", files=None, accel="tcg"):
        folder = images(kind)
        if not shutil.which(QEMU):
            pytest.skip(f"{QEMU} is missing: package qemu-system-x86 is not installed")
        workdir = pathlib.Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        initrd = folder / f"{kind}.initrd"
        if files:
            initrd = initrd_with(initrd, files, workdir / "initrd")
        self.qmp_path = workdir / "qemu.qmp"
        self.qmp = None
        self._boots = True
        argv = [QEMU, "-M", f"q35,accel={accel},memory-backend=mem", "-cpu", "max", "-smp", smp,
                "-m", f"{memory}K", "-nodefaults", "-no-user-config", "-display", "none",
                "-no-reboot",
                "-object", f"memory-backend-memfd,id=mem,size={memory}K,share=on",
                "-serial", "stdio", "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
                "-kernel", folder / f"{kind}.vmlinuz", "-initrd", initrd,
                "-append", f"console=ttyS0 quiet panic=-1 reboot=t {append}", *arguments]
        super().__init__(Process(argv, cwd=workdir, log=log or workdir / "console.log"))

    def waiting(self):
        """For -incoming: nobody is ready yet. takes_over() when the guest has come."""
        self._boots = False
        return self

    def takes_over(self, source):
        """The guest that was `source` is here: its console goes on."""
        self._number = source._number

    def _monitor(self):
        """A session; None while nobody listens, which begins after the file is there."""
        try:
            return Qmp(str(self.qmp_path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def __enter__(self):
        try:
            if self._boots:
                self.wait_ready(2 * PATIENCE)
            self.qmp = wait_until(self._monitor, "QEMU's monitor")
            return self
        except BaseException:
            self.process.kill()
            raise

    def __exit__(self, *exc):
        if self.qmp:
            self.qmp.close()
        self.process.kill()

    def poweroff(self):
        """Shut down from inside and return QEMU's exit status."""
        self.start("poweroff -f")
        return self.process.wait()
