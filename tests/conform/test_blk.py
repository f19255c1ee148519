# SPDX-License-Identifier: BSD-3-Clause
"""virtio-blk as a driver sees it: virtio 1.3, "Block Device"."""
import random
import struct

import pytest

from lib.vhost_user import Closed, Refused
from lib.virtio import BLK_S_IOERR, BLK_S_OK, BLK_S_UNSUPP, BLK_T_DISCARD, BLK_T_FLUSH, \
    BLK_T_GET_ID, BLK_T_IN, BLK_T_OUT, BLK_T_WRITE_ZEROES, SECTOR, Blk

MIB = 1 << 20
F_SEG_MAX, F_RO, F_BLK_SIZE, F_FLUSH, F_TOPOLOGY, F_WCE, F_MQ, F_DISCARD, F_ZEROES = (
    1 << bit for bit in (2, 5, 6, 9, 10, 11, 12, 13, 14))
UNMAP = 1


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(random.Random(5).randbytes(MIB))
    return path


def cut(order, gpa, num_bytes, writable):
    """Buffers of odd lengths that lie side by side."""
    buffers = []
    while num_bytes:
        step = min(num_bytes, order.choice([1, 3, 511, 512, 513, 4095, 4096, 65536]))
        if len(buffers) == 19:
            step = num_bytes
        buffers.append((gpa, step, writable))
        gpa, num_bytes = gpa + step, num_bytes - step
    return buffers


class Scattered:
    """Requests whose payload lies anywhere, cut anyhow; the header and the status may be cut or
    joined to the payload: virtio 1.3, "Message Framing"."""

    def __init__(self, way, front, order):
        self.way, self.front, self.order = way, front, order

    def start(self, queue, kind, sector, data=None, length=0):
        memory, order = self.front.memory, self.order
        head = struct.pack("<IIQ", kind, 0, sector)
        if data is not None:
            at = memory.alloc(len(head) + len(data) + 64, 1) + order.randrange(64)
            memory.write(at, head + data)
            buffers = cut(order, at, len(head) + len(data), False) if order.random() < .5 else \
                [(at, 16, False), *cut(order, at + 16, len(data), False)]
            result = memory.put(b"\xff", 1)
            buffers.append((result, 1, True))
            payload, length = None, 0
        else:
            at = memory.put(head, 1)
            buffers = [(at, 7, False), (at + 7, 9, False)] if order.random() < .5 else \
                [(at, 16, False)]
            payload = memory.alloc(length + 65, 1) + order.randrange(64)
            result = payload + length
            memory.write(result, b"\xff")
            buffers += cut(order, payload, length + 1, True)
        ring = self.front.queues[queue].ring
        chain = ring.add(buffers, indirect=self.way.indirect and order.random() < .8)
        self.front.queues[queue].kick()
        return queue, chain, payload, length, result

    def finish(self, request):
        queue, chain, payload, length, result = request
        used = self.front.queues[queue].wait([chain])[0]
        assert used.len == (length if payload else 0) + 1
        assert self.front.memory.get_le(result, 1) == BLK_S_OK
        return self.front.memory.read(payload, length) if payload else None


@pytest.mark.parametrize("options, queues", [
    ("aio=io_uring", 1), ("aio=threads", 1), ("num-queues=4", 4), ("direct=on", 2),
], ids=["io_uring", "threads", "4-queues", "direct"])
def test_data(start, way, image, options, queues):
    """Random reads and writes of all sizes and alignments, several in flight at once."""
    expected = bytearray(image.read_bytes())
    host = start(f"virtio-blk,id=d,filename={image},num-queues={queues},{options}"
                 if "num-queues" not in options else f"virtio-blk,id=d,filename={image},{options}")
    order = random.Random(str(way) + options)
    with way.connect(host.socket("d"), queues=queues) as front:
        disk = Scattered(way, front, order)
        for _ in range(40):
            # What flies together does not overlap: a stripe each.
            flying = []
            for stripe in order.sample(range(16), 4):
                sectors = order.choice([1, 2, 7, 8, 64, 127, 128])
                first = stripe * 128 + order.randrange(129 - sectors)
                there = slice(first * SECTOR, (first + sectors) * SECTOR)
                if order.random() < .5:
                    expected[there] = order.randbytes(sectors * SECTOR)
                    request = disk.start(order.randrange(queues), BLK_T_OUT, first,
                                         bytes(expected[there]))
                else:
                    request = disk.start(order.randrange(queues), BLK_T_IN, first,
                                         length=sectors * SECTOR)
                flying.append((request, there))
            order.shuffle(flying)
            for request, there in flying:
                data = disk.finish(request)
                assert data is None or data == expected[there]
        assert Blk(front).flush() == BLK_S_OK
    assert image.read_bytes() == bytes(expected)


def raw(front, way, readable, writable_bytes, queue=0):
    """A request of these very bytes: (status or None, bytes before it, used length)."""
    memory = front.memory
    buffers = [(memory.put(readable), len(readable), False)] if readable else []
    if writable_bytes:
        answer = memory.put(b"\xee" * writable_bytes)
        buffers.append((answer, writable_bytes, True))
    used = front.request(queue, buffers, indirect=way.indirect)
    if not writable_bytes:
        return None, b"", used.len
    data = memory.read(answer, writable_bytes)
    return data[-1], data[:-1], used.len


def header(kind, sector=0):
    return struct.pack("<IIQ", kind, 0, sector)


def one_range(sector, num, flags=0):
    return struct.pack("<QII", sector, num, flags)


SECTORS = MIB // SECTOR
# Name, what is readable, how much is writable, the status, options.
REQUESTS = [
    ("read the last sector", header(BLK_T_IN, SECTORS - 1), 513, BLK_S_OK),
    ("read one beyond", header(BLK_T_IN, SECTORS), 513, BLK_S_IOERR),
    ("read across the end", header(BLK_T_IN, SECTORS - 1), 1025, BLK_S_IOERR),
    ("read at 2^55", header(BLK_T_IN, 1 << 55), 513, BLK_S_IOERR),
    ("read at a sector whose bytes wrap", header(BLK_T_IN, (1 << 64) - 1), 513, BLK_S_IOERR),
    ("read at 2^63", header(BLK_T_IN, 1 << 63), 513, BLK_S_IOERR),
    ("read no whole sector", header(BLK_T_IN), 512, BLK_S_IOERR),
    ("read nothing", header(BLK_T_IN), 1, BLK_S_OK),
    ("write the last sector", header(BLK_T_OUT, SECTORS - 1) + bytes(512), 1, BLK_S_OK),
    ("write one beyond", header(BLK_T_OUT, SECTORS) + bytes(512), 1, BLK_S_IOERR),
    ("write across the end", header(BLK_T_OUT, SECTORS - 1) + bytes(1024), 1, BLK_S_IOERR),
    ("write no whole sector", header(BLK_T_OUT) + bytes(511), 1, BLK_S_IOERR),
    ("write nothing", header(BLK_T_OUT), 1, BLK_S_OK),
    ("flush", header(BLK_T_FLUSH), 1, BLK_S_OK),
    ("flush with a sector", header(BLK_T_FLUSH, 77), 1, BLK_S_OK),
    ("get-id", header(BLK_T_GET_ID), 21, BLK_S_OK),
    ("get-id, a short buffer", header(BLK_T_GET_ID), 6, BLK_S_OK),
    ("get-id, a long buffer", header(BLK_T_GET_ID), 101, BLK_S_OK),
    ("discard", header(BLK_T_DISCARD) + one_range(8, 8), 1, BLK_S_OK),
    ("discard two ranges", header(BLK_T_DISCARD) + one_range(8, 8) + one_range(32, 8), 1, BLK_S_OK),
    ("discard nothing", header(BLK_T_DISCARD), 1, BLK_S_IOERR),
    ("discard a torn range", header(BLK_T_DISCARD) + one_range(8, 8)[:15], 1, BLK_S_IOERR),
    ("discard beyond", header(BLK_T_DISCARD) + one_range(SECTORS, 1), 1, BLK_S_IOERR),
    ("discard, sum wraps", header(BLK_T_DISCARD) + one_range((1 << 64) - 1, 2), 1, BLK_S_IOERR),
    ("discard with unmap", header(BLK_T_DISCARD) + one_range(8, 8, UNMAP), 1, BLK_S_UNSUPP),
    ("discard, reserved flag", header(BLK_T_DISCARD) + one_range(8, 8, 2), 1, BLK_S_UNSUPP),
    ("zeroes", header(BLK_T_WRITE_ZEROES) + one_range(8, 8), 1, BLK_S_OK),
    ("zeroes with unmap", header(BLK_T_WRITE_ZEROES) + one_range(8, 8, UNMAP), 1, BLK_S_OK),
    ("zeroes, reserved flag", header(BLK_T_WRITE_ZEROES) + one_range(8, 8, 4), 1, BLK_S_UNSUPP),
    ("zeroes beyond", header(BLK_T_WRITE_ZEROES) + one_range(SECTORS - 1, 2), 1, BLK_S_IOERR),
    ("33 ranges", header(BLK_T_WRITE_ZEROES) + one_range(8, 8) * 33, 1, BLK_S_IOERR),
    ("32 ranges", header(BLK_T_WRITE_ZEROES) + one_range(8, 8) * 32, 1, BLK_S_OK),
    ("an unknown type", header(99), 1, BLK_S_UNSUPP),
    ("secure erase, not offered", header(14) + one_range(8, 8), 1, BLK_S_UNSUPP),
    ("a torn header", header(BLK_T_IN)[:15], 513, BLK_S_IOERR),
    ("no header", b"", 513, BLK_S_IOERR),
    ("no place for a status", header(BLK_T_FLUSH), 0, None),
]


def test_requests(start, way, image):
    """Each kind of request, right and wrong: its status, its length, and the disk goes on."""
    host = start(f"virtio-blk,id=d,filename={image},serial=0123456789abcdefghij")
    with way.connect(host.socket("d")) as front:
        for name, readable, writable, expected in REQUESTS:
            status, data, used = raw(front, way, readable, writable)
            assert status == expected, name
            assert used <= writable, name
            if name.startswith("get-id"):
                assert data[:20] == b"0123456789abcdefghij"[:writable - 1], name
                # Nothing after the 20 bytes is written, so the length ends there.
                assert used == (writable if writable <= 21 else 20), name
            elif expected == BLK_S_OK:
                assert used == writable, name
            Blk(front).read(0, SECTOR)
        assert not host.qmp().command("x-query-virtio-status",
                                      path="/machine/peripheral/d/virtio-backend")["broken"]


def test_ranges_change_what_they_name(start, way, image):
    expected = bytearray(image.read_bytes())
    host = start(f"virtio-blk,id=d,filename={image}")
    with way.connect(host.socket("d")) as front:
        disk = Blk(front, indirect=way.indirect)
        for sector, num, flags in [(1, 1, 0), (8, 16, UNMAP), (100, 3, UNMAP), (2047, 1, 0)]:
            assert disk.range(BLK_T_WRITE_ZEROES, sector, num, flags) == BLK_S_OK
            expected[sector * SECTOR:(sector + num) * SECTOR] = bytes(num * SECTOR)
        assert disk.range(BLK_T_DISCARD, 512, 64) == BLK_S_OK
        assert disk.read(0, 512 * SECTOR) == expected[:512 * SECTOR]
        assert disk.read(576, SECTOR * 1472) == expected[576 * SECTOR:]


def test_read_only(start, way, image):
    before = image.read_bytes()
    image.chmod(0o400)
    host = start(f"virtio-blk,id=d,filename={image},read-only=on")
    with way.connect(host.socket("d")) as front:
        assert front.features & F_RO and not front.features & (F_DISCARD | F_ZEROES)
        disk = Blk(front, indirect=way.indirect)
        assert disk.do(BLK_T_OUT, 0, bytes(512))[0] == BLK_S_IOERR
        assert disk.range(BLK_T_DISCARD, 0, 8) == BLK_S_IOERR
        assert disk.range(BLK_T_WRITE_ZEROES, 0, 8) == BLK_S_IOERR
        assert disk.flush() == BLK_S_OK
        assert disk.read(0, 4096) == before[:4096]
    assert image.read_bytes() == before


def test_block_size(start, way, image):
    host = start(f"virtio-blk,id=d,filename={image},logical_block_size=4096")
    with way.connect(host.socket("d")) as front:
        disk = Blk(front, indirect=way.indirect)
        assert disk.read(8, 8192) == image.read_bytes()[4096:12288]
        assert disk.do(BLK_T_IN, 1, length=4096)[0] == BLK_S_IOERR
        assert disk.do(BLK_T_IN, 0, length=512)[0] == BLK_S_IOERR
        assert disk.range(BLK_T_WRITE_ZEROES, 8, 4) == BLK_S_IOERR
        assert struct.unpack("<I", front.get_config(20, 4)) == (4096,)


def test_pieces_fit_a_smaller_ring(start, way, image):
    """seg_max is read before SET_VRING_NUM says how large the ring is: QEMU's has 128 entries."""
    host = start(f"virtio-blk,id=d,filename={image}")
    with way.connect(host.socket("d"), size=128) as front:
        assert struct.unpack("<I", front.get_config(12, 4))[0] <= 126


def test_configuration(start, way, image):
    """Every field of the space, and the one that a driver may write."""
    host = start(f"virtio-blk,id=d,filename={image},num-queues=3,queue-size=64")
    with way.connect(host.socket("d"), queues=3, size=64) as front:
        space = front.get_config(0, 60)
        (capacity, size_max, seg_max, cylinders, heads, sectors, blk_size, physical, alignment,
         min_io, opt_io, writeback, unused, queues, discard_sectors, discard_segs, discard_align,
         zeroes_sectors, zeroes_segs, may_unmap) = struct.unpack("<QIIHBBIBBHIBBHIIIIIB3x", space)
        assert capacity == SECTORS and blk_size == 512 and queues == 3 and writeback == 1
        assert (size_max, cylinders, heads, sectors, unused) == (0, 0, 0, 0, 0)
        # A request of seg_max pieces, its header and its status fit the ring.
        assert 1 <= seg_max <= 62
        assert physical <= 16 and alignment == 0 and min_io < 1 << 16 and opt_io < 1 << 20
        assert discard_sectors and discard_segs and discard_align and zeroes_sectors
        assert zeroes_segs and may_unmap == 1
        for features in (F_SEG_MAX, F_BLK_SIZE, F_FLUSH, F_TOPOLOGY, F_WCE, F_MQ, F_DISCARD,
                         F_ZEROES):
            assert front.features & features
        assert not front.features & F_RO
        front.set_config(32, b"\0")
        assert front.get_config(32, 1) == b"\0"
        Blk(front).write(0, bytes(512))
        front.set_config(32, b"\x01")
        assert front.get_config(0, 60) == space
        # Beyond the space: zeroes to read, nothing to write.
        assert front.get_config(60, 100) == bytes(100)
        for offset, data in ((60, b"\1"), (59, b"\1\1")):
            with pytest.raises(Refused):
                front.set_config(offset, data)
        assert front.get_config(0, 60) == space
    # The next driver starts from the reset value.
    with way.connect(host.socket("d"), queues=3, size=64) as front:
        front.set_config(32, b"\0")
    with way.connect(host.socket("d"), queues=3, size=64) as front:
        assert front.get_config(0, 60) == space


def test_driver_without_extras(start, way, image):
    """VERSION_1 and nothing of the device's own: every write is stable when it is answered."""
    expected = bytearray(image.read_bytes())
    host = start(f"virtio-blk,id=d,filename={image}")
    with way.connect(host.socket("d"), features=1 << 32 | 1 << 30 | 3 << 28) as front:
        disk = Blk(front, indirect=way.indirect)
        disk.write(3, b"w" * 1024)
        expected[1536:2560] = b"w" * 1024
        assert image.read_bytes() == bytes(expected)
        assert disk.read(2, 4096) == expected[1024:5120]


def test_ends_while_requests_fly(start, way, image):
    """A front-end that goes in the middle of its requests; the next one finds all as it should be.
    """
    host = start(f"virtio-blk,id=d,filename={image},num-queues=2")
    for _ in range(10):
        with way.connect(host.socket("d"), queues=2) as front:
            for queue in (0, 1):
                disk = Blk(front, queue, indirect=way.indirect)
                for sector in range(30):
                    disk.start(BLK_T_IN, sector, length=SECTOR * 8)
    with way.connect(host.socket("d"), queues=2) as front:
        try:
            assert Blk(front, 1).read(0, 4096) == image.read_bytes()[:4096]
        except Closed as closed:
            raise AssertionError(host.process.text) from closed
