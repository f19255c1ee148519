# SPDX-License-Identifier: BSD-3-Clause
"""Packed rings of a real driver: `ringside serve` under Debian's QEMU, packed=on on both sides."""
import hashlib
import random

import pytest

from lib.guest_qemu import GuestQemu, vhost_user_blk, vhost_user_rng
from lib.qmp import QmpError
from lib.ringside import serve, tool

MIB = 1 << 20
DISK = "/machine/peripheral/disk0/virtio-backend"


def image_of(path, mib=8):
    path.write_bytes(random.Random(7).randbytes(mib * MIB))
    return path


def md5(data):
    return hashlib.md5(data).hexdigest()


def disk_sum(guest):
    return guest.check("dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum").split()[0]


def queue(qmp, number):
    return qmp.command("x-query-virtio-queue-status", path=DISK, queue=number)


def transports(qmp, path=DISK):
    return " ".join(qmp.command("x-query-virtio-status", path=path)["guest-features"]["transports"])


def look(qmp, size):
    """Every kind of look at both queues; what is shown is possible."""
    for number in (0, 1):
        shown = queue(qmp, number)
        assert shown["vring-num"] == size
        for index in ("last-avail-idx", "shadow-avail-idx", "used-idx", "signalled-used"):
            assert shown[index] < size
        assert shown["inuse"] <= size
        for index in (None, shown["last-avail-idx"], 0, size - 1, 65535):
            where = {} if index is None else {"index": index}
            try:
                element = qmp.command("x-query-virtio-queue-element", path=DISK, queue=number,
                                      **where)
            except QmpError as error:
                # A descriptor of long ago, read as the beginning of a chain.
                assert "used already" in str(error), error
                continue
            assert element["index"] < size or not element["descs"]
            assert element["avail"]["ring"] < size
            assert index is None or element["avail"]["ring"] == index % size
            assert element["avail"]["flags"] <= 2 and element["used"]["flags"] <= 2
            for area in ("avail", "used"):
                assert element[area]["idx"] & 0x7fff < size
            for desc in element["descs"]:
                assert set(desc["flags"]) <= {"next", "write", "indirect", "avail", "used"}


@pytest.mark.parametrize("event_idx", ["on", "off"])
@pytest.mark.parametrize("indirect", ["on", "off"])
def test_disk(tmp_path, event_idx, indirect):
    """Two queues written at once, while all is looked at; every byte is where it belongs."""
    image = image_of(tmp_path / "image")
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},num-queues=2,packed=on") as host:
        arguments = vhost_user_blk(host.socket("disk0"), num_queues=2, packed="on", queue_size=64,
                                   event_idx=event_idx, indirect_desc=indirect)
        with GuestQemu(tmp_path / "guest", arguments, smp=2) as guest, host.qmp() as qmp:
            assert "VIRTIO_F_RING_PACKED" in transports(qmp)
            assert disk_sum(guest) == md5(image.read_bytes())
            before = [queue(qmp, n)["vring-desc"] for n in (0, 1)]
            assert all(before)
            work = guest.start(
                "for cpu in 0 1; do taskset -c $cpu dd if=/dev/urandom of=/dev/vda bs=4k "
                "seek=$((cpu * 1024)) count=1024 oflag=direct conv=notrunc & done; wait")
            for _ in range(100):
                look(qmp, 64)
            assert guest.finish(work)[0] == 0
            look(qmp, 64)
            assert disk_sum(guest) == md5(image.read_bytes())
            shown = tool("info", "--qmp", f"unix:{host.qmp_path}", "queue", DISK, "0")[0]
            assert "packed ring: a position, at which the wrap counter is" in shown
            assert "made available" not in shown
            # The machine stands still, and goes on; a reset begins anew.
            for _ in range(3):
                guest.qmp.command("stop")
                guest.qmp.command("cont")
                assert disk_sum(guest) == md5(image.read_bytes())
            assert guest.poweroff() == 0


def test_reset_from_outside(tmp_path):
    image = image_of(tmp_path / "image", 2)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},packed=on") as host:
        arguments = vhost_user_blk(host.socket("disk0"), num_queues=1, packed="on")
        with GuestQemu(tmp_path / "guest", [*arguments, "-action", "reboot=reset"]) as guest, \
                host.qmp() as qmp:
            for _ in range(2):
                assert disk_sum(guest) == md5(image.read_bytes())
                assert "VIRTIO_F_RING_PACKED" in transports(qmp)
                guest.qmp.command("system_reset")
                guest.wait_ready()
            assert disk_sum(guest) == md5(image.read_bytes())
            assert guest.poweroff() == 0


def test_rng(tmp_path):
    with serve(tmp_path, "virtio-rng,id=rng0,packed=on") as host:
        with GuestQemu(tmp_path / "guest", vhost_user_rng(host.socket("rng0"), packed="on")) \
                as guest, host.qmp() as qmp:
            assert len({guest.check("dd if=/dev/hwrng bs=512 count=16 2>/dev/null | md5sum")
                        for _ in range(4)}) == 4
            assert "VIRTIO_F_RING_PACKED" in transports(
                qmp, "/machine/peripheral/rng0/virtio-backend")
            assert guest.poweroff() == 0


def test_only_one_side_wants_it(tmp_path):
    """Then it is a split ring."""
    image = image_of(tmp_path / "image", 2)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as host:
        arguments = vhost_user_blk(host.socket("disk0"), num_queues=1, packed="on")
        with GuestQemu(tmp_path / "guest", arguments) as guest, host.qmp() as qmp:
            assert disk_sum(guest) == md5(image.read_bytes())
            assert "VIRTIO_F_RING_PACKED" not in transports(qmp)
