# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's vhost: a Debian kernel under QEMU's software emulation has it, and runs our program
from this machine's own root, which it reads over virtiofs. The driver is vhost_kernel_inside.py."""
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


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    """A guest with this machine's root at /mnt, and a /run of its own there."""
    tmp = tmp_path_factory.mktemp("kernel")
    if not VIRTIOFSD.exists():
        pytest.skip(f"{VIRTIOFSD} is missing: package qemu-system-common is not installed")
    if os.getuid():
        pytest.skip("virtiofsd shares a root only as root")
    path = tmp / "fs.sock"
    with Process([VIRTIOFSD, f"--socket-path={path}", "-o", "source=/,sandbox=chroot,no_xattr"],
                 log=tmp / "virtiofsd.log") as daemon:
        wait_until(path.exists, "virtiofsd's socket")
        arguments = ["-chardev", f"socket,id=fs,path={path}",
                     "-device", "vhost-user-fs-pci,chardev=fs,tag=root"]
        modules = "ringside.modules=virtio_pci,virtiofs,tun,vhost_net,vhost_vsock," \
            "vhost_scsi,target_core_file"
        with GuestQemu(tmp / "guest", arguments, memory=768 << 10, append=modules) as inside:
            inside.check("mount -t virtiofs -o ro root /mnt && mount -t tmpfs run /mnt/run && "
                         "mount -t proc proc /mnt/proc && mount -t sysfs sys /mnt/sys && "
                         "mount -o bind /dev /mnt/dev && ip link set lo up")
            yield inside
        daemon.stop()


def has(guest, name):
    if guest.run(f"test -e /dev/{name}")[0]:
        pytest.skip(f"this kernel has no /dev/{name}")


@pytest.mark.parametrize("case", ["vsock", "net", "scsi"])
def test_kernel_serves(guest, case):
    has(guest, f"vhost-{case}")
    program = pathlib.Path(binary()).resolve()
    environment = f"RINGSIDE_BIN={program} PYTHONPATH={SOURCE / 'tests'} TMPDIR=/run HOME=/run " \
        f"PYTHONDONTWRITEBYTECODE=1 RINGSIDE_TEST_PATIENCE={PATIENCE} PATH=/usr/bin:/bin"
    status, output = guest.run(
        f"{environment} chroot /mnt timeout -s INT {PATIENCE - 20} "
        f"python3 {SOURCE}/tests/guest/vhost_kernel_inside.py {case} 2>&1", timeout=PATIENCE)
    assert status == 0 and output.strip().endswith("fine"), output
