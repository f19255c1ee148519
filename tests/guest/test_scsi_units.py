# SPDX-License-Identifier: BSD-3-Clause
"""Units of a virtio-scsi that come, go and change under a real driver: user-mode Linux, and QEMU's
vhost-user-scsi-pci with two processors and two iothreads."""
import json

import pytest

from lib.guest_qemu import GuestQemu
from lib.guest_scsi import (MIB, SCSI, Units, check_writer, image_of, md5, start_writer,
                            sum_of)
from lib.guest_uml import GuestUml
from lib.process import wait_until
from lib.ringside import serve

MAPPING = [{"iothread": "a"}, {"iothread": "b"}]


@pytest.fixture(params=["uml", "qemu"])
def units(request, tmp_path):
    """Three disks and a CD-ROM from the command line; target 2 has no unit 0."""
    for name in ("one", "two", "three", "cd"):
        image_of(tmp_path / name, 2, name)
    disks = [f"scsi-hd,id={name},bus=s0.0,scsi-id={target},lun={lun},serial={name},"
             f"filename={tmp_path / name}"
             for name, target, lun in (("one", 0, 0), ("two", 0, 3), ("three", 2, 1))]
    host = ["virtio-scsi,id=s0", *disks,
            f"scsi-cd,id=cd,bus=s0.0,scsi-id=5,lun=0,filename={tmp_path / 'cd'}"]
    if request.param == "uml":
        with serve(tmp_path, *host) as served, served.qmp() as qmp, \
                GuestUml(tmp_path / "guest", [(served.socket("s0"), SCSI)]) as guest:
            yield Units(tmp_path, guest, qmp)
        return
    path = tmp_path / "s0.sock"
    host[0] = json.dumps({"driver": "virtio-scsi", "id": "s0", "num_queues": 2,
                          "listen": str(path), "iothread-vq-mapping": MAPPING})
    with serve(tmp_path, *host, arguments=["--object", "iothread,id=a",
                                           "--object", "iothread,id=b"]) as served, \
            served.qmp() as qmp, \
            GuestQemu(tmp_path / "guest",
                      ["-chardev", f"socket,id=c,path={path}",
                       "-device", "vhost-user-scsi-pci,chardev=c,num_queues=2"],
                      smp=2, append="ringside.modules=virtio_pci") as guest:
        yield Units(tmp_path, guest, qmp)


def check_first(units):
    units.wait_places((0, 0), (0, 3), (2, 1), (5, 0))
    for name, *place in (("one", 0, 0), ("two", 0, 3), ("three", 2, 1)):
        units.check(name, *place)


def test_units(units):
    """All are found; others come at run time, some go, addresses are used again."""
    guest = units.guest
    units.load()
    check_first(units)
    units.add("four", 2, 0)
    units.add("five", 9, 0)
    units.wait_places((0, 0), (0, 3), (2, 0), (2, 1), (5, 0), (9, 0))
    units.check("four", 2, 0)
    units.check("five", 9, 0)
    for name in ("two", "three", "cd"):
        units.remove(name)
    units.wait_places((0, 0), (2, 0), (9, 0))
    units.plug("three", 0, 3)
    units.wait_places((0, 0), (0, 3), (2, 0), (9, 0))
    units.check("three", 0, 3)
    for name, *place in (("one", 0, 0), ("four", 2, 0), ("five", 9, 0)):
        units.check(name, *place)
    assert "I/O error" not in guest.check("dmesg | tail -200")


def test_removed_under_load(units):
    """What was answered is in the image; then it fails, and the neighbours go on."""
    guest = units.guest
    units.load()
    check_first(units)
    for turn in range(2):
        lost, kept = units.disk(0, 3), units.disk(0, 0)
        guest.check(f"rm -f /tmp/failed-{lost} /tmp/done-{lost}")
        start_writer(guest, lost)
        if not turn:
            start_writer(guest, kept)
        units.remove("two")
        check_writer(guest, lost, units.folder / "two")
        units.wait_places((0, 0), (2, 1), (5, 0))
        before = int(guest.check(f"cat /tmp/done-{kept}"))
        units.plug("two", 0, 3)
        units.wait_places((0, 0), (0, 3), (2, 1), (5, 0))
        units.check("two", 0, 3)
        assert guest.run(f"test -e /tmp/failed-{kept}")[0]
        assert int(guest.check(f"cat /tmp/done-{kept}")) >= before
    units.check("three", 2, 1)


def test_ends(units):
    """The driver is unbound and bound again, and the guest begins anew; units change meanwhile."""
    guest = units.guest
    units.load()
    check_first(units)
    driver = "/sys/bus/virtio/drivers/virtio_scsi"
    name = guest.check(f"ls {driver} | grep virtio")
    guest.check(f"echo {name} >{driver}/unbind")
    assert not units.places()
    units.add("four", 1, 0)
    units.remove("one")
    guest.check(f"echo {name} >{driver}/bind")
    units.wait_places((0, 3), (1, 0), (2, 1), (5, 0))
    units.check("four", 1, 0)
    units.check("two", 0, 3)
    if isinstance(guest, GuestQemu):
        return
    guest.start("reboot -f")
    guest.wait_ready()
    units.plug("one", 0, 0)
    units.load()
    units.wait_places((0, 0), (0, 3), (1, 0), (2, 1), (5, 0))
    for name, *place in (("one", 0, 0), ("two", 0, 3), ("three", 2, 1), ("four", 1, 0)):
        units.check(name, *place)


def test_changes(units):
    """A disk gets another size, the CD-ROM another disc; the neighbours hear nothing of it."""
    guest, qmp = units.guest, units.qmp
    units.load()
    check_first(units)
    for mib in (5, 1, 3):
        qmp.command("block_resize", device="two", size=mib * MIB)
        disk = units.disk(0, 3)
        wait_until(lambda: guest.check(f"cat /sys/block/{disk}/size") == str(mib * MIB // 512),
                   "another size in the guest")
        guest.check(f"dd if=/dev/urandom of=/dev/{disk} bs=64k seek={mib * 16 - 1} count=1 "
                    "oflag=direct")
        assert (units.folder / "two").stat().st_size == mib * MIB
        units.check("two", 0, 3)
    image_of(units.folder / "cd2", 3, "cd2")
    for name in ("cd2", "cd", "cd2"):
        qmp.command("blockdev-change-medium", id="cd", filename=str(units.folder / name))
        assert sum_of(guest, "sr0") == md5(units.folder / name)
    qmp.command("eject", id="cd")
    assert guest.run("dd if=/dev/sr0 of=/dev/null bs=2k count=1")[0]
    for name, *place in (("one", 0, 0), ("three", 2, 1)):
        units.check(name, *place)
    assert "I/O error" not in guest.check("dmesg | grep -v sr0 | tail -200")
