# SPDX-License-Identifier: BSD-3-Clause
"""Disks that get another size and a CD-ROM that gets another medium under Linux's own drivers."""
import pytest

from lib.guest_scsi import FIND, MIB, SCSI, image_of, md5, sum_of
from lib.guest_uml import GuestUml
from lib.process import wait_until
from lib.qmp import QmpError
from lib.ringside import serve
from lib.virtio import BLK


@pytest.fixture
def rig(tmp_path):
    """(guest, monitor): vda, sda and sr0, whose images are `blk`, `disk` and `cd`."""
    blk, disk = image_of(tmp_path / "blk", 4, 1), image_of(tmp_path / "disk", 4, 2)
    disc = image_of(tmp_path / "cd", 1, 3)
    with serve(tmp_path, f"virtio-blk,id=blk,filename={blk}", "virtio-scsi,id=s0",
               f"scsi-hd,id=hd,scsi-id=0,filename={disk}",
               f"scsi-cd,id=cd,scsi-id=1,filename={disc}") as host, host.qmp() as qmp, \
            GuestUml(tmp_path / "guest", [(host.socket("blk"), BLK), (host.socket("s0"), SCSI)]
                     ) as guest:
        guest.check(FIND)
        yield guest, qmp


def wait_size(guest, device, size):
    wait_until(lambda: guest.check(f"cat /sys/block/{device}/size") == str(size // 512),
               f"{device} to have {size} bytes in the guest")


def check_size(guest, qmp, path, device, name, mib):
    """The driver looks by itself; both sides agree on every byte, to the last."""
    qmp.command("block_resize", device=name, size=mib * MIB)
    wait_size(guest, device, mib * MIB)
    guest.check(f"dd if=/dev/urandom of=/dev/{device} bs=64k seek={mib * 16 - 1} count=1 "
                "oflag=direct")
    assert path.stat().st_size == mib * MIB
    assert sum_of(guest, device) == md5(path)
    assert guest.run(f"dd if=/dev/{device} bs=64k skip={mib * 16} count=1 iflag=direct "
                     "2>/dev/null | grep -q .")[0]


def check_cut_under_load(guest, qmp, path, device, name):
    """Writes behind the end fail from some point on, and the file stays cut."""
    guest.finish(guest.start(
        f"(while dd if=/dev/zero of=/dev/{device} bs=4k seek=768 count=200 oflag=direct "
        f"2>/dev/null; do echo x >>/tmp/rounds-{device}; done; touch /tmp/end-{device}) &"))
    wait_until(lambda: guest.run(f"test -s /tmp/rounds-{device}")[0] == 0, "a round")
    qmp.command("block_resize", device=name, size=2 * MIB)
    wait_until(lambda: guest.run(f"test -e /tmp/end-{device}")[0] == 0, "the writer's end")
    assert path.stat().st_size == 2 * MIB
    wait_size(guest, device, 2 * MIB)
    assert sum_of(guest, device) == md5(path)


def test_another_size(tmp_path, rig):
    guest, qmp = rig
    disks = (("vda", "blk", "blk"), ("sda", "hd", "disk"))
    for device, name, image in disks:
        for mib in (6, 2, 9):
            check_size(guest, qmp, tmp_path / image, device, name, mib)
    assert "I/O error" not in guest.check("dmesg | tail -100")
    for device, name, image in disks:
        check_cut_under_load(guest, qmp, tmp_path / image, device, name)


def wait_tray(qmp, is_open):
    """Until that is the last that was told of it."""
    told = [qmp.event("DEVICE_TRAY_MOVED")["data"]["tray-open"]]
    while told[-1] != is_open:
        told.append(qmp.event("DEVICE_TRAY_MOVED")["data"]["tray-open"])


def test_another_disc(tmp_path, rig):
    guest, qmp = rig
    first, second = tmp_path / "cd", image_of(tmp_path / "cd2", 3, 4)
    assert sum_of(guest, "sr0") == md5(first)
    qmp.command("eject", id="cd")
    assert guest.run("dd if=/dev/sr0 of=/dev/null bs=2k count=1")[0]
    for disc in (second, first, second):
        qmp.command("blockdev-change-medium", id="cd", filename=str(disc))
        assert sum_of(guest, "sr0") == md5(disc)
        assert guest.check("cat /sys/block/sr0/size") == str(disc.stat().st_size // 512)
    # Whoever has it open has locked the door.
    guest.check("sleep 10000 </dev/sr0 & echo $! >/tmp/holder; "
                "until readlink /proc/$(cat /tmp/holder)/fd/0 | grep -q sr0; do sleep 0.1; done")
    assert "is locked" in qmp.error("eject", id="cd")[1]
    assert "is locked" in qmp.error("blockdev-change-medium", id="cd", filename=str(first))[1]
    assert sum_of(guest, "sr0") == md5(second)
    guest.check("kill $(cat /tmp/holder)")

    def ejects():
        try:
            qmp.command("eject", id="cd")
        except QmpError as refused:
            assert "is locked" in refused.desc
            return False
        return True

    wait_until(ejects, "the door to open")
    qmp.command("blockdev-change-medium", id="cd", filename=str(first))
    assert sum_of(guest, "sr0") == md5(first)
    # The driver opens the tray when the last one closes the device, and closes it for the next.
    wait_tray(qmp, False)
    guest.check("echo 1 >/proc/sys/dev/cdrom/autoeject")
    assert sum_of(guest, "sr0") == md5(first)
    wait_tray(qmp, True)
    guest.check("echo 0 >/proc/sys/dev/cdrom/autoeject")
    assert sum_of(guest, "sr0") == md5(first)
    wait_tray(qmp, False)
