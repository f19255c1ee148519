# SPDX-License-Identifier: BSD-3-Clause
"""GET_INFLIGHT_FD and SET_INFLIGHT_FD: what a front-end is given, and what it may give back. That
nothing is lost with it is test_restart.py."""
import fcntl
import os
import struct

import pytest

from lib.process import wait_until
from lib.ringside import serve
from lib.vhost_user import F_PROTOCOL, F_VERSION_1, Front, Proto, Refused, VhostUser
from lib.virtio import BLK_S_OK, BLK_T_IN, Blk

DISK = "virtio-blk,id=disk0,size=1M,num-queues=4"
BITS = 1 << Proto.REPLY_ACK | 1 << Proto.INFLIGHT_SHMFD
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("inflight"), DISK) as running:
        yield running


@pytest.fixture
def path(host):
    return host.socket("disk0")


@pytest.fixture
def peer(path):
    with VhostUser(path) as connected:
        connected.set_protocol_features(BITS)
        connected.reply_ack = True
        connected.set_features(F_VERSION_1 | F_PROTOCOL)
        yield connected


# queues, size of the rings, bytes
GIVEN = [(1, 1, 64), (1, 128, 2112), (4, 128, 4 * 2112), (2, 4, 2 * 128), (1, 32768, 524352),
         (3, 100, 3 * 1664)]


@pytest.mark.parametrize("padding", [0, 4])
def test_region_for_who_asks(peer, padding):
    for queues, size, num_bytes in GIVEN:
        region = peer.get_inflight_fd(queues, size, padding=padding)
        assert (region.size, region.offset) == (num_bytes, 0)
        assert os.fstat(region.fd).st_size == num_bytes
        assert fcntl.fcntl(region.fd, fcntl.F_GET_SEALS) == SEALS
        assert region.read() == bytes(num_bytes)
        peer.set_inflight_fd(region)
        region.close()


@pytest.mark.parametrize("counts", [(0, 128), (5, 128), (65535, 65535), (1, 0), (1, 32769)])
def test_no_region(host, peer, counts):
    """Front-ends go on without one."""
    start = len(host.process.text)
    assert peer.get_inflight_fd(*counts) is None
    assert peer.get_queue_num() == 4
    if counts[1] == 128:
        wait_until(lambda: f"for {counts[0]} queues, the device has 4" in host.process.text[start:],
                   "the log line")


def sector(front, queue=0):
    """Read one, and say whether that went well."""
    blk = Blk(front, queue)
    return blk.finish(blk.start(BLK_T_IN, 0, length=512))[0] == BLK_S_OK


def test_front_end_with_a_region(path):
    with Front(path, queues=4, inflight=True) as front:
        for queue in range(4):
            assert sector(front, queue)
        part = front.region.read()[2112:4224]
        features, version, num, _, used = struct.unpack("<QHHHH", part[:16])
        assert (features, version, num, used) == (0, 1, 128, 1)
        assert not any(part[16::16])


def test_fewer_queues_than_the_device_has(path):
    with Front(path, queues=2, inflight=True) as front:
        assert sector(front, 0) and sector(front, 1)


def test_region_for_fewer_queues_than_run(path):
    """The others have none."""
    with Front(path, queues=4, start=False) as front:
        front.region = front.get_inflight_fd(1, 128)
        front.start()
        assert all(sector(front, queue) for queue in range(4))
        assert front.region.read()[8] == 1


def test_asked_for_after_a_reset(path):
    with Front(path, inflight=True) as front:
        assert sector(front)
        assert front.region.read()[8] == 1
        front.reset_device()
        # A driver that begins anew may have its ring anywhere.
        assert front.region.read()[8] == 0
        front.queues[0].ring.reset()
        front.set_features(front.features)
        front.start()
        assert sector(front)


def test_pause(path):
    """Stopped and started again with the same region."""
    with Front(path, inflight=True) as front:
        for _ in range(3):
            assert sector(front)
            base = front.get_vring_base(0)
            assert not any(front.region.read()[16::16])
            front.start(base)
        assert sector(front)
        assert front.queues[0].ring.used_idx() == 4


def put(region, at, layout, *values):
    os.pwrite(region.fd, struct.pack(layout, *values), region.offset + at)


# What a front-end does to the region before a start; what the device says of it.
HOSTILE = [
    ("version", lambda r: put(r, 8, "<H", 99), "has version 99"),
    ("features", lambda r: put(r, 0, "<Q", 1), "features 0x1"),
    ("entries", lambda r: put(r, 10, "<H", 65535), "made for 65535 entries, expected 128"),
    ("used index", lambda r: put(r, 14, "<H", 0x8000), "knows of used index 32768"),
    ("last batch", lambda r: put(r, 12, "<HH", 0xffff, 0), "names head 65535"),
    ("all marks", lambda r: [put(r, 16 * i, "<B", 1) for i in range(1, 129)],
     "has 128 requests, and the ring 0 unanswered"),
    ("mark", lambda r: put(r, 16, "<B", 255), "marks head 0 with 255"),
    ("counter", lambda r: put(r, 16, "<B7xQ", 1, 2**64 - 1), "0xffffffffffffffff"),
    ("file", lambda r: os.ftruncate(r.fd, 0), "its file was truncated"),
]


@pytest.mark.parametrize("row", HOSTILE, ids=[row[0] for row in HOSTILE])
def test_hostile_contents(host, path, row):
    """The queue does not run, and the device says why."""
    _, change, words = row
    with Front(path, start=False) as front:
        made = front.get_inflight_fd(1, 128)
        # One of its own, which no seal keeps from being cut.
        os.close(made.fd)
        made.fd = os.memfd_create("region")
        os.ftruncate(made.fd, made.size)
        front.region = made
        front.start()
        assert sector(front)
        base = front.get_vring_base(0)
        change(front.region)
        start = len(host.process.text)
        # It is mapped already: no message looks at the file again.
        front.set_vring_base(0, base)
        with pytest.raises(Refused):
            front.set_vring_kick(0, front.queues[0].kick_fd)
        wait_until(lambda: words in host.process.text[start:], words)
    with Front(path, inflight=True) as front:
        assert sector(front)


def test_ring_larger_than_its_region(host, path):
    """CVE-2026-86565: the size of a ring set after the region."""
    with Front(path, size=256, start=False) as front:
        front.region = front.get_inflight_fd(1, 128)
        start = len(host.process.text)
        with pytest.raises(Refused):
            front.start()
        wait_until(lambda: "a ring of 256 is larger than its part of the in-flight region, 128 "
                   "entries" in host.process.text[start:], "the log line")
