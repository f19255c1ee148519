# SPDX-License-Identifier: BSD-3-Clause
"""A SCSI host with a disk and a CD-ROM, and what a guest finds in them."""
import contextlib
import hashlib
import random

from lib.process import wait_until
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


class Units:
    """A SCSI host s0 whose units come and go, and a guest that sees them. Each disk has an image of
    its own, `folder/NAME`."""

    def __init__(self, folder, guest, qmp):
        self.folder, self.guest, self.qmp = folder, guest, qmp

    def load(self):
        """The modules, and whatever units there are then."""
        self.guest.check(LOAD + "true")

    def add(self, name, target, lun, mib=2):
        """A new disk; returns its image."""
        image = image_of(self.folder / name, mib, name)
        self.plug(name, target, lun)
        return image

    def plug(self, name, target, lun):
        """As add(), on the image that there is."""
        self.qmp.command("device_add", driver="scsi-hd", id=name, bus="s0.0", lun=lun,
                         filename=str(self.folder / name), serial=name, **{"scsi-id": target})

    def remove(self, name):
        self.qmp.command("device_del", id=name)
        while self.qmp.event("DEVICE_DELETED")["data"].get("device") != name:
            pass

    def places(self):
        """(target, unit) of each that the guest knows."""
        names = self.guest.check("ls /sys/class/scsi_device").split()
        return {tuple(int(n) for n in name.split(":")[2:]) for name in names}

    def wait_places(self, *places):
        wait_until(lambda: self.places() == set(places), f"units at {places} in the guest")

    def disk(self, target, lun):
        """Its name in the guest, once it is usable: sda."""
        path = f"/sys/class/scsi_device/*:0:{target}:{lun}/device/block"
        wait_until(lambda: self.guest.run(f"test -b /dev/$(ls {path})")[0] == 0,
                   f"a disk of unit {target}:{lun}")
        return self.guest.check(f"ls {path}")

    def check(self, name, target, lun):
        """The guest finds that image there, and its serial number."""
        disk = self.disk(target, lun)
        assert self.guest.check(f"tail -c {len(name)} /sys/block/{disk}/device/vpd_pg80") == name
        assert sum_of(self.guest, disk) == md5(self.folder / name)


# Numbered blocks to $1, past the guest's cache; /tmp/done-$1 says how many are there. By a node of
# its own: where that of /dev is gone, a file would be made in its place.
WRITER = """
write_blocks() {
    n=0
    echo 0 >/tmp/done-$1
    rm -f /tmp/node-$1
    mknod /tmp/node-$1 b $(tr : ' ' </sys/block/$1/dev)
    while echo block $n | dd of=/tmp/node-$1 bs=512 count=1 conv=sync seek=$((n % 4000)) \\
            oflag=direct 2>/dev/null; do
        n=$((n + 1))
        echo $n >/tmp/new-$1
        mv /tmp/new-$1 /tmp/done-$1
    done
    touch /tmp/failed-$1
}
"""


def start_writer(guest, disk):
    guest.finish(guest.start(WRITER + f"write_blocks {disk} &"))
    wait_until(lambda: int(guest.check(f"cat /tmp/done-{disk}")) > 20, "writes")


def check_writer(guest, disk, image):
    """It ended with an error, and what it was told is done is in the image."""
    wait_until(lambda: guest.run(f"test -e /tmp/failed-{disk}")[0] == 0, "the writer's end")
    data, done = image.read_bytes(), int(guest.check(f"cat /tmp/done-{disk}"))
    for n in range(max(0, done - 3999), done):
        assert data[n % 4000 * 512:].startswith(b"block %d\n" % n), n
