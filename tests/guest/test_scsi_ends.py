# SPDX-License-Identifier: BSD-3-Clause
"""virtio-scsi whose driver, guest or device goes, and QEMU's vhost-user-scsi."""
import pytest

from lib.guest_qemu import GuestQemu
from lib.guest_scsi import FIND, SCSI, check_disk, md5, scsi_host, sum_of
from lib.guest_uml import GuestUml
from lib.process import wait_until

PATH = "/machine/peripheral/s0/virtio-backend"


@pytest.fixture
def host(tmp_path):
    with scsi_host(tmp_path) as found:
        yield found


def test_unbind_bind_and_reboot(tmp_path, host):
    served, disk, _ = host
    with GuestUml(tmp_path / "guest", [(served.socket("s0"), SCSI)]) as guest:
        guest.check(FIND)
        driver = "/sys/bus/virtio/drivers/virtio_scsi"
        name = guest.check(f"ls {driver} | grep virtio")
        for _ in range(3):
            guest.check(f"echo {name} >{driver}/unbind; test ! -e /dev/sda")
            guest.check(f"echo {name} >{driver}/bind")
            guest.check(FIND)
            assert sum_of(guest, "sda") == md5(disk)
        guest.start("reboot -f")
        guest.wait_ready()
        guest.check(FIND)
        assert sum_of(guest, "sda") == md5(disk)


def test_reboot_with_the_disk_in_use(tmp_path, host):
    """User-mode Linux keeps its connection then, and needs another one all the same."""
    served, disk, _ = host
    with GuestUml(tmp_path / "guest", [(served.socket("s0"), SCSI)]) as guest:
        for _ in range(3):
            guest.check(FIND)
            guest.check("sleep 1000 </dev/sda >/dev/null 2>&1 &")
            guest.start("reboot -f")
            guest.wait_ready()
        guest.check(FIND)
        assert sum_of(guest, "sda") == md5(disk)
    assert served.process.text.count(" is over, though its connection is still open") == 3


def test_unplug_under_load(tmp_path, host):
    """What was answered is in the image."""
    served, disk, _ = host
    with GuestUml(tmp_path / "guest", [(served.socket("s0"), SCSI)]) as guest, \
            served.qmp() as qmp:
        guest.check(FIND)
        number = guest.start("n=0; echo 0 >/tmp/done; "
                             "while echo block $n | dd of=/dev/sda bs=512 count=1 conv=sync "
                             "seek=$n oflag=direct 2>/dev/null; do n=$((n + 1)); "
                             "echo $n >/tmp/new; mv /tmp/new /tmp/done; done &")
        guest.finish(number)
        wait_until(lambda: int(guest.check("cat /tmp/done")) > 20, "writes")
        qmp.command("device_del", id="s0")
        qmp.event("DEVICE_DELETED")
        done = int(guest.check("cat /tmp/done"))
        data = disk.read_bytes()
        for n in range(done):
            assert data[n * 512:].startswith(b"block %d\n" % n), n


def test_reset_by_the_driver(tmp_path, host):
    """The guest resets unit and host under load: its commands are answered, its data is whole."""
    served, disk, _ = host
    with GuestUml(tmp_path / "guest", [(served.socket("s0"), SCSI)]) as guest:
        guest.check(FIND)
        guest.finish(guest.start("(for i in 1 2 3 4; do dd if=/dev/sda of=/dev/null bs=4k "
                                 "iflag=direct; done; touch /tmp/end) 2>/dev/null &"))
        for _ in range(5):
            guest.run("echo host >/sys/class/scsi_host/host0/host_reset; "
                      "echo adapter >/sys/class/scsi_host/host0/host_reset")
        wait_until(lambda: guest.run("test -e /tmp/end")[0] == 0, "the load's end")
        assert sum_of(guest, "sda") == md5(disk)


def test_qemu(tmp_path, host):
    """vhost-user-scsi-pci. Its monitor is asked nothing of the device: QEMU would end."""
    served, disk, cd = host
    with GuestQemu(tmp_path / "guest",
                   ["-chardev", f"socket,id=c,path={served.socket('s0')}",
                    "-device", "vhost-user-scsi-pci,chardev=c,num_queues=2"],
                   append="ringside.modules=virtio_pci") as guest:
        guest.check(FIND)
        check_disk(guest, disk, cd)
        with served.qmp() as qmp:
            status = qmp.command("x-query-virtio-status", path=PATH)
            assert status["name"] == "virtio-scsi" and not status["broken"]
        guest.check("blkdiscard -o 4194304 -l 8388608 /dev/sda")
        assert sum_of(guest, "sda") == md5(disk)
