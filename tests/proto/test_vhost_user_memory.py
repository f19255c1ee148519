# SPDX-License-Identifier: BSD-3-Clause
"""Memory slots: regions come and go one by one, also under running rings."""
import os
import struct

import pytest

from lib.memory import USER_OFFSET, Memory, Region
from lib.process import wait_until
from lib.ringside import serve
from lib.vhost_user import VERSION, Front, Refused, Req
from lib.virtio import BLK_S_OK, BLK_T_IN, Blk

MIB = 1 << 20
PAGE = 4096
DISK = "/machine/peripheral/disk0/virtio-backend"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("memory"), "virtio-blk,id=disk0,size=1M") as running:
        yield running


@pytest.fixture
def front(host):
    """Negotiated; two regions of memory that the back-end does not know yet."""
    with Front(host.socket("disk0"), memory=Memory(((0, 4 * MIB), (8 * MIB, MIB, PAGE))),
               start=False) as running:
        yield running


def num_fds(host):
    return len(os.listdir(f"/proc/{host.process.pid}/fd"))


def num_maps(host):
    with open(f"/proc/{host.process.pid}/maps") as maps:
        return sum("memfd:guest" in line for line in maps)


def start(front):
    """As Front.start(), but slot by slot."""
    for region in front.memory.regions:
        front.add_mem_reg(region)
    front.set_mem_table = lambda memory: None
    front.start()


def read_into(front, gpa):
    header = front.memory.put(struct.pack("<IIQ", BLK_T_IN, 0, 0))
    status = front.memory.put(b"\xff")
    front.request(0, [(header, 16, False), (gpa, 512, True), (status, 1, True)])
    return front.memory.get_le(status, 1)


def test_number_of_slots(front):
    assert front.get_max_mem_slots() == 512


def test_slot_by_slot(host, front):
    start(front)
    Blk(front).read(0, 4096)
    assert read_into(front, 8 * MIB) == BLK_S_OK
    assert num_maps(host) == 2


def test_a_slot_comes_and_goes_under_a_running_ring(host, front):
    extra = Memory(((32 * MIB, MIB),))
    try:
        start(front)
        front.memory.regions.append(extra.regions[0])
        for turn in range(20):
            front.add_mem_reg(extra.regions[0])
            assert read_into(front, 32 * MIB + turn) == BLK_S_OK
            front.rem_mem_reg(extra.regions[0])
            Blk(front).read(0, 512)
        assert front.get_vring_base(0) == 40
    finally:
        front.memory.regions.pop()
        extra.close()


def test_the_ring_rests_while_its_region_is_replaced(host, front):
    """QEMU changes a region by taking it away and bringing it again, and stops no ring for it."""
    start(front)
    Blk(front).read(0, 512)
    with host.qmp() as qmp:
        for _ in range(3):
            front.rem_mem_reg(front.memory.regions[0])
            request = Blk(front).start(BLK_T_IN, 0, length=512)
            front.sync()
            assert not front.queues[0].ring.take_used()
            front.add_mem_reg(front.memory.regions[0])
            assert Blk(front).finish(request)[0] == BLK_S_OK
        status = qmp.command("x-query-virtio-status", path=DISK)
        assert not status["broken"]


def test_a_region_that_comes_back_without_the_ring(front):
    start(front)
    front.rem_mem_reg(front.memory.regions[0])
    small = Region(0, PAGE, front.memory.regions[0].fd)
    with pytest.raises(Refused):
        front.add_mem_reg(small)


def test_the_offset_does_not_name_a_region(front):
    start(front)
    region = front.memory.regions[1]
    front.rem_mem_reg(Region(region.gpa, region.size, region.fd, 12345))
    with pytest.raises(Refused):
        front.rem_mem_reg(region)


def test_a_descriptor_with_rem_mem_reg_is_closed(host, front):
    start(front)
    region = front.memory.regions[1]
    payload = struct.pack("<QQQQQ", 0, region.gpa, region.size, region.user, 0)
    front.sync()
    before = num_fds(host)
    for _ in range(10):
        front.set(Req.REM_MEM_REG, payload, [region.fd])
        front.add_mem_reg(region)
    front.sync()
    assert num_fds(host) == before


def test_a_table_replaces_slots_and_slots_grow_a_table(front):
    start(front)
    region = front.memory.regions[1]
    table = struct.pack("<IIQQQQ", 1, 0, 0, 4 * MIB, USER_OFFSET, 0)
    front.set(Req.SET_MEM_TABLE, table, [front.memory.regions[0].fd])
    with pytest.raises(Refused):
        front.rem_mem_reg(region)
    front.add_mem_reg(region)
    assert read_into(front, 8 * MIB) == BLK_S_OK


def test_all_slots(host, front):
    """The last one works, one more is refused, and all can go again."""
    fd = os.memfd_create("guest")
    os.ftruncate(fd, 512 * PAGE)
    try:
        # In no order.
        slots = [Region((1 << 32) + 2 * PAGE * (at * 201 % 512), PAGE, fd, at * PAGE)
                 for at in range(512)]
        for slot in slots:
            front.add_mem_reg(slot)
        with pytest.raises(Refused):
            front.add_mem_reg(front.memory.regions[0])
        for slot in slots[::2] + slots[1::2]:
            front.rem_mem_reg(slot)
        start(front)
        Blk(front).read(0, 512)
    finally:
        os.close(fd)


BAD = [
    ("size 0", (64 * MIB, 0, 64 * MIB, 0)),
    ("file too short", (64 * MIB, 2 * PAGE, 64 * MIB, 0)),
    ("wraps", (2**64 - PAGE, 2 * PAGE, 64 * MIB, 0)),
    ("user address wraps", (64 * MIB, PAGE, 2**64 - 1, 0)),
    ("offset wraps", (64 * MIB, PAGE, 64 * MIB, 2**64 - 1)),
    ("overlaps another", (4 * MIB - 1, PAGE, 64 * MIB, 0)),
    ("overlaps another's user addresses", (64 * MIB, PAGE, USER_OFFSET + 4 * MIB - 1, 0)),
    ("is another", (0, PAGE, USER_OFFSET, 0)),
]


@pytest.mark.parametrize("row", BAD, ids=[row[0] for row in BAD])
def test_a_slot_that_cannot_be(host, front, row):
    """Refused, the rest stays, and the ring goes on."""
    start(front)
    front.sync()
    before = num_fds(host), num_maps(host)
    fd = os.memfd_create("short")
    os.ftruncate(fd, PAGE)
    try:
        for _ in range(3):
            with pytest.raises(Refused):
                front.set(Req.ADD_MEM_REG, struct.pack("<QQQQQ", 0, *row[1]), [fd])
    finally:
        os.close(fd)
    Blk(front).read(0, 512)
    # A message's descriptors are closed behind its acknowledgement.
    front.sync()
    assert (num_fds(host), num_maps(host)) == before


def test_nothing_stays_mapped(host, front):
    start(front)
    front.close()
    wait_until(lambda: num_maps(host) == 0, "no mapping of the guest's")


MALFORMED = [("short", Req.ADD_MEM_REG, 32, 1), ("long", Req.ADD_MEM_REG, 48, 1),
             ("no descriptor", Req.ADD_MEM_REG, 40, 0), ("two", Req.ADD_MEM_REG, 40, 2),
             ("short", Req.REM_MEM_REG, 39, 0), ("two", Req.REM_MEM_REG, 40, 2),
             ("payload", Req.GET_MAX_MEM_SLOTS, 8, 0), ("descriptor", Req.GET_MAX_MEM_SLOTS, 0, 1)]


@pytest.mark.parametrize("row", MALFORMED, ids=lambda row: f"{row[1].name}-{row[0]}")
def test_malformed(front, row):
    _, request, size, fds = row
    front.send(request, bytes(size), [front.memory.regions[0].fd] * fds, flags=VERSION | 8)
    assert front.closed()
