# SPDX-License-Identifier: BSD-3-Clause
"""`ringside serve` under Debian's QEMU (software emulation) with a Debian kernel."""
import hashlib
import random
import re

import pytest

from lib.guest_qemu import GuestQemu, vhost_user_blk, vhost_user_rng
from lib.ringside import serve
from lib.vhost_user import Req
from lib.wiretap import Wiretap

MIB = 1 << 20
DISK = "/machine/peripheral/disk0/virtio-backend"


def image_of(path, mib=8):
    path.write_bytes(random.Random(7).randbytes(mib * MIB))
    return path


def md5(data):
    return hashlib.md5(data).hexdigest()


def disk_sum(guest):
    return guest.check("dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum").split()[0]


def queue_index(qmp, queue):
    return qmp.command("x-query-virtio-queue-status", path=DISK, queue=queue)["last-avail-idx"]


def test_disk_with_two_queues(tmp_path):
    image = image_of(tmp_path / "image")
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},num-queues=2") as host:
        with GuestQemu(tmp_path / "guest", vhost_user_blk(host.socket("disk0"), num_queues=2),
                       smp=2) as guest, host.qmp() as qmp:
            assert guest.check("ls /sys/block/vda/mq | wc -l") == "2"
            assert disk_sum(guest) == md5(image.read_bytes())
            before = [queue_index(qmp, n) for n in (0, 1)]
            guest.check("for cpu in 0 1; do taskset -c $cpu dd if=/dev/urandom of=/dev/vda bs=4k "
                        "seek=$((cpu * 1024)) count=512 oflag=direct conv=notrunc & done; wait")
            after = [queue_index(qmp, n) for n in (0, 1)]
            assert before[0] != after[0] and before[1] != after[1], (before, after)
            assert disk_sum(guest) == md5(image.read_bytes())
            assert guest.poweroff() == 0


def test_disk_again_after_a_reset_from_outside(tmp_path):
    image = image_of(tmp_path / "image", 2)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as host:
        arguments = vhost_user_blk(host.socket("disk0"), num_queues=1)
        # Without -no-reboot the same process resets its devices and boots again.
        with GuestQemu(tmp_path / "guest", [*arguments, "-action", "reboot=reset"]) as guest:
            for _ in range(2):
                assert disk_sum(guest) == md5(image.read_bytes())
                guest.qmp.command("system_reset")
                guest.wait_ready()
            assert disk_sum(guest) == md5(image.read_bytes())
            assert guest.poweroff() == 0


def test_rng(tmp_path):
    with serve(tmp_path, "virtio-rng,id=rng0") as host:
        with GuestQemu(tmp_path / "guest", vhost_user_rng(host.socket("rng0"))) as guest:
            assert "virtio_rng" in guest.check("cat /sys/class/misc/hw_random/rng_current")
            sums = {guest.check("dd if=/dev/hwrng bs=512 count=16 2>/dev/null | md5sum")
                    for _ in range(4)}
            assert len(sums) == 4
            with host.qmp() as qmp:
                status = qmp.command("x-query-virtio-status",
                                     path="/machine/peripheral/rng0/virtio-backend")
                assert any(s.startswith("VIRTIO_CONFIG_S_DRIVER_OK")
                           for s in status["status"]["statuses"])
            assert guest.poweroff() == 0


def test_looking_touches_nothing(tmp_path):
    """Ten thousand queries of all kinds while requests go through: not one message on the wire, not
    one lost request."""
    image = image_of(tmp_path / "image", 4)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as host, \
            Wiretap(host.folder.path / "tap", host.socket("disk0")) as tap, \
            GuestQemu(tmp_path / "guest", vhost_user_blk(tap.path, num_queues=1)) as guest, \
            host.qmp() as qmp:
        disk_sum(guest)
        queries = [
            ("x-query-virtio", None),
            ("x-query-virtio-status", {"path": DISK}),
            ("x-query-virtio-queue-status", {"path": DISK, "queue": 0}),
            ("x-query-virtio-queue-element", {"path": DISK, "queue": 0}),
            ("x-query-virtio-queue-element", {"path": DISK, "queue": 0, "index": 3}),
            ("x-query-virtio-vhost-queue-status", {"path": DISK, "queue": 0}),
            ("query-virtio-sources", {"path": DISK}),
            ("x-query-virtio-queue-status", {"path": DISK, "queue": 77}),
            ("x-query-virtio-status", {"path": "/machine/nowhere"}),
            ("query-status", None),
        ]
        heard = len(tap.messages)
        assert heard, "the tap hears nothing"
        guest.check("(while [ ! -e /tmp/enough ]; do dd if=/dev/vda bs=4k count=1024 "
                    "iflag=direct 2>/dev/null | md5sum; done >/tmp/sums; touch /tmp/done) &")
        first = queue_index(qmp, 0)
        for _ in range(1000):
            for name, arguments in queries:
                qmp.execute(name, arguments)
        assert queue_index(qmp, 0) != first, "no request went through meanwhile"
        sums = guest.check("touch /tmp/enough; until [ -e /tmp/done ]; do sleep 0.1; done; "
                           "sort -u /tmp/sums")
        assert [line.split()[0] for line in sums.splitlines()] == [md5(image.read_bytes())]
        assert tap.messages[heard:] == []
        assert guest.poweroff() == 0


def test_memory_is_plugged_in_under_load(tmp_path):
    """QEMU adds a memory slot while requests are in flight; then the disk writes into it."""
    image = image_of(tmp_path / "image", 32)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as host, \
            Wiretap(host.folder.path / "tap", host.socket("disk0")) as tap, \
            GuestQemu(tmp_path / "guest", [*vhost_user_blk(tap.path, num_queues=1),
                                           "-m", "256,slots=2,maxmem=1G"]) as guest:
        guest.check("(while [ ! -e /tmp/enough ]; do dd if=/dev/vda bs=4k count=1024 "
                    "iflag=direct 2>/dev/null | md5sum; done >/tmp/sums; touch /tmp/done) &")
        heard = len(tap.messages)
        guest.qmp.command("object-add", **{"qom-type": "memory-backend-memfd", "id": "more",
                                           "size": 256 * MIB, "share": True})
        guest.qmp.command("device_add", driver="pc-dimm", id="dimm0", memdev="more")
        requests = [m[1] for m in tap.messages[heard:] if m[0]]
        assert Req.ADD_MEM_REG in requests and Req.SET_MEM_TABLE not in requests
        # Above 4 GiB: a zone of its own, from which the page cache is taken first.
        guest.check("until grep -l offline /sys/devices/system/memory/memory*/state; do sleep 0.1; "
                    "done >/dev/null; for block in /sys/devices/system/memory/memory*; do "
                    "grep -q offline $block/state && echo online_kernel >$block/state; done; :")
        free = free_kib_above_4_gib(guest)
        # Kept open: what is cached goes with the last close.
        assert guest.check("sleep 1000 </dev/vda >/dev/null 2>&1 & md5sum </dev/vda; "
                           "touch /tmp/enough").split()[0] == md5(image.read_bytes())
        assert free - free_kib_above_4_gib(guest) > 24 << 10
        sums = guest.check("until [ -e /tmp/done ]; do sleep 0.1; done; sort -u /tmp/sums")
        assert [line.split()[0] for line in sums.splitlines()] == \
            [md5(image.read_bytes()[:4 * MIB])]
        assert guest.poweroff() == 0


def free_kib_above_4_gib(guest):
    zones = guest.check("cat /proc/zoneinfo").split("Node ")
    zone = next(text for text in zones if re.match(r".*zone +Normal", text))
    return 4 * int(re.search(r"pages free +(\d+)", zone)[1])


@pytest.mark.parametrize("event_idx", ["on", "off"])
@pytest.mark.parametrize("indirect", ["on", "off"])
def test_ring_features(tmp_path, event_idx, indirect):
    """What the driver turns off stays off, and the disk works."""
    image = image_of(tmp_path / "image", 2)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as host:
        arguments = vhost_user_blk(host.socket("disk0"), num_queues=1, event_idx=event_idx,
                                   indirect_desc=indirect)
        with GuestQemu(tmp_path / "guest", arguments) as guest, host.qmp() as qmp:
            assert disk_sum(guest) == md5(image.read_bytes())
            transports = " ".join(qmp.command("x-query-virtio-status", path=DISK)
                                  ["guest-features"]["transports"])
            assert ("VIRTIO_RING_F_EVENT_IDX" in transports) == (event_idx == "on")
            assert ("VIRTIO_RING_F_INDIRECT_DESC" in transports) == (indirect == "on")
            assert guest.poweroff() == 0
