# SPDX-License-Identifier: BSD-3-Clause
"""virtio-rng as a driver sees it: virtio 1.3, "Entropy Device"."""
import os

import pytest

from lib.virtio import rng_read


@pytest.mark.parametrize("num_bytes", [1, 2, 511, 4096, 65536])
def test_every_size(start, way, num_bytes):
    host = start("virtio-rng,id=r")
    with way.connect(host.socket("r"), size=8) as front:
        assert len(rng_read(front, num_bytes)) >= 1
        if num_bytes >= 511:
            first, second = rng_read(front, num_bytes), rng_read(front, num_bytes)
            assert first[:64] != second[:64] and any(first)


def test_pieces_are_filled_in_order(start, way, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(bytes(range(1, 251)) * 8)
    host = start(f"virtio-rng,id=r,filename={source}")
    with way.connect(host.socket("r"), size=16) as front:
        gpas = [front.memory.alloc(100, 1) for _ in range(5)]
        used = front.request(0, [(gpa, 25 + n, True) for n, gpa in enumerate(gpas)],
                             indirect=way.indirect)
        data = b"".join(front.memory.read(gpa, 25 + n) for n, gpa in enumerate(gpas))
        assert 0 < used.len <= len(data)
        assert data[:used.len] == (bytes(range(1, 251)) * 8)[:used.len]
        assert not any(data[used.len:])


def test_no_room_is_answered(start, way):
    """Nothing writable, or nothing at all: used with length 0, and the device goes on."""
    host = start("virtio-rng,id=r")
    with way.connect(host.socket("r"), size=8) as front:
        gpa = front.memory.put(b"readable")
        assert front.request(0, [(gpa, 8, False)]).len == 0
        assert front.request(0, [(gpa, 0, True)]).len == 0
        assert front.memory.read(gpa, 8) == b"readable"
        assert rng_read(front, 16)


def test_a_dry_source_keeps_requests(start, way, tmp_path):
    """Requests wait, in order, for as long as the source has nothing."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    try:
        host = start(f"virtio-rng,id=r,filename={fifo}")
        with way.connect(host.socket("r"), size=8) as front:
            queue = front.queues[0]
            gpas = [front.memory.alloc(4) for _ in range(3)]
            heads = [queue.ring.add([(gpa, 4, True)]) for gpa in gpas]
            queue.kick()
            front.sync()
            assert queue.ring.num_used() == 0
            for number, (head, gpa) in enumerate(zip(heads, gpas)):
                os.write(writer, b"%04d" % number)
                assert queue.wait([head])[0].len == 4
                assert front.memory.read(gpa, 4) == b"%04d" % number
                assert queue.ring.num_used() == number + 1
    finally:
        os.close(writer)
