# SPDX-License-Identifier: BSD-3-Clause
"""A SCSI host with a disk and a CD-ROM, and what a guest finds in them."""
import contextlib
import hashlib
import random

from lib.ringside import serve

SCSI = 8
MIB = 1 << 20
LOAD = "for module in virtio_scsi sd_mod sr_mod; do load $module; done; "
# The disks are found behind the driver's back.
FIND = LOAD + "for i in $(seq 600); do test -b /dev/sda -a -b /dev/sr0 && exit 0; sleep 0.1; " \
    "done; dmesg | tail -30; exit 1"


def image_of(path, mib, seed):
    path.write_bytes(random.Random(seed).randbytes(mib * MIB))
    return path


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def sum_of(guest, device):
    """The guest's own opinion, past its page cache."""
    return guest.check(f"dd if=/dev/{device} bs=64k iflag=direct 2>/dev/null | md5sum").split()[0]


@contextlib.contextmanager
def scsi_host(tmp_path):
    """(host, disk, cd): one SCSI host, served."""
    disk, cd = image_of(tmp_path / "disk", 16, 1), image_of(tmp_path / "cd", 3, 2)
    with serve(tmp_path, f"virtio-scsi,id=s0,filename={disk},cdrom={cd},serial=SN42,num_queues=2"
               ) as host:
        yield host, disk, cd


def check_disk(guest, disk, cd):
    assert guest.check("cat /sys/block/sda/size") == str(16 * MIB // 512)
    assert guest.check("cat /sys/block/sda/device/vendor") == "RINGSIDE"
    assert guest.check("cat /sys/block/sr0/device/type") == "5"
    assert guest.check("tail -c 4 /sys/block/sda/device/vpd_pg80") == "SN42"
    assert sum_of(guest, "sda") == md5(disk)
    assert sum_of(guest, "sr0") == md5(cd)
    guest.check("dd if=/dev/urandom of=/tmp/piece bs=1M count=2 2>/dev/null")
    for size in (512, 3584, 65536, 1 << 20):
        guest.check(f"dd if=/tmp/piece of=/dev/sda bs={size} count=2 seek=1 oflag=direct; "
                    f"dd if=/dev/sda of=/tmp/back bs={size} count=2 skip=1 iflag=direct; "
                    f"cmp -n {2 * size} /tmp/piece /tmp/back")
    guest.check("dd if=/tmp/piece of=/dev/sda bs=64k conv=fsync")
    assert sum_of(guest, "sda") == md5(disk)
    assert guest.run("dd if=/tmp/piece of=/dev/sr0 bs=2k count=1")[0] != 0
    assert sum_of(guest, "sr0") == md5(cd)
