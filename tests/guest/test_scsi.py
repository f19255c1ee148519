# SPDX-License-Identifier: BSD-3-Clause
"""virtio-scsi with a real driver: user-mode Linux."""
from lib.guest import Guest, images
from lib.guest_scsi import FIND, MIB, SCSI, Units, check_disk, image_of, md5, scsi_host, sum_of
from lib.guest_uml import GuestUml, require_uml
from lib.ringside import run_uml


def test_uml(tmp_path):
    """Every byte on both, writes, unmapped blocks given back, and what the driver made of us."""
    with scsi_host(tmp_path) as (served, disk, cd), \
            GuestUml(tmp_path / "guest", [(served.socket("s0"), SCSI)]) as guest:
        guest.check(FIND)
        check_disk(guest, disk, cd)
        assert guest.check("cat /sys/block/sda/queue/discard_max_bytes") != "0"
        assert guest.check("cat /sys/class/scsi_disk/*/provisioning_mode") == "unmap"
        assert guest.check("cat /sys/class/scsi_disk/*/cache_type") == "write back"
        before = disk.stat().st_blocks
        guest.check("blkdiscard -o 4194304 -l 8388608 /dev/sda")
        assert disk.stat().st_blocks <= before - 8388608 // 512
        # WRITE SAME, as the driver asks where nothing needs to be freed.
        guest.check("blkdiscard -z -o 1048576 -l 1048576 /dev/sda || "
                    "dd if=/dev/zero of=/dev/sda bs=1M seek=1 count=1 oflag=direct")
        assert not any(disk.read_bytes()[MIB:2 * MIB])
        assert sum_of(guest, "sda") == md5(disk)
        # Nothing that the driver sent at us was an error that it had to hear of.
        assert "I/O error" not in guest.check("dmesg | grep -v sr0 | tail -100")
        assert guest.poweroff() == 0


def test_run(tmp_path):
    """`ringside run`, where no other device may come: a unit does, and goes."""
    require_uml()
    image_of(tmp_path / "one", 2, "one")
    with run_uml(tmp_path, "virtio-scsi,id=s0",
                 f"scsi-hd,id=one,bus=s0.0,serial=one,filename={tmp_path / 'one'}",
                 initrd=images("uml") / "uml.initrd") as host, host.qmp() as qmp:
        units = Units(tmp_path, Guest(host.process).wait_ready(), qmp)
        units.load()
        units.check("one", 0, 0)
        units.add("two", 1, 4)
        units.check("two", 1, 4)
        units.remove("one")
        units.wait_places((1, 4))
        units.check("two", 1, 4)
