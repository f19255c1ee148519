# SPDX-License-Identifier: BSD-3-Clause
"""What every queue of every device does: virtio 1.3, "Virtqueues" and "Device Status Field"."""
import os
import random
import select
import struct

import pytest

from lib.look import flag_names, queue_of, settled, status_of
from lib.memory import Memory
from lib.process import PATIENCE, wait_until
from lib.split_ring import INDIRECT, NEXT, WRITE
from lib.vhost_user import (ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, Closed,
                            Proto, signalled)
from lib.virtio import BLK_S_OK, BLK_T_GET_ID, BLK_T_IN, SECTOR, Blk, rng_read

MIB = 1 << 20


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(random.Random(6).randbytes(MIB))
    return path


@pytest.mark.parametrize("size", [1 << n for n in range(11)] + [32768])
def test_sizes(start, way, size):
    """Every slot at once, twice around, and the size that the device shows."""
    host = start("virtio-rng,id=r")
    with way.connect(host.socket("r"), size=size) as front:
        queue, gpa = front.queues[0], front.memory.alloc(size)
        for _ in range(2):
            heads = [queue.ring.add([(gpa + n, 1, True)], publish=False) for n in range(size)]
            queue.ring.publish()
            queue.kick()
            assert [used.len for used in queue.wait(heads)] == [1] * size
        at = queue.ring.index(2 * size)
        assert settled(host.qmp(), "r", at)["vring-num"] == size


@pytest.mark.parametrize("size", [2, 4, 64, 1024])
def test_disk_on_sizes(start, way, image, size):
    host = start(f"virtio-blk,id=d,filename={image},serial=short")
    with way.connect(host.socket("d"), size=size) as front:
        for _ in range(3 * size):
            head = front.memory.put(struct.pack("<IIQ", BLK_T_GET_ID, 0, 0))
            answer = front.memory.put(b"\xff" * 21)
            front.request(0, [(head, 16, False), (answer, 21, True)], indirect=way.indirect)
            assert front.memory.read(answer, 21) == b"short".ljust(20, b"\0") + bytes([BLK_S_OK])


@pytest.mark.parametrize("base", [0, 65530], ids=["from 0", "from 65530"])
def test_indices_wrap(start, split_way, image, base):
    """Over 65535 again and again, in batches that do not divide it; the disk may answer out of
    order, and each head comes back once a batch."""
    host = start(f"virtio-blk,id=d,filename={image}")
    data = image.read_bytes()
    size, batch, total = 256, 85, 4 * 65536
    with split_way.connect(host.socket("d"), size=size) as front:
        queue = front.queues[0]
        ring, memory = queue.ring, front.memory
        # As after a migration: another back-end has brought the ring this far.
        front.get_vring_base(0)
        memory.set_le(ring.used_ring + 2, 2, base)
        ring.set_avail_idx(base)
        front.start_queue(0, base)
        requests = []
        for n in range(batch):
            head = memory.put(struct.pack("<IIQ", BLK_T_IN, 0, n))
            answer = memory.alloc(SECTOR + 1, 1)
            chain = [(head, 16, 0), (answer, SECTOR + 1, WRITE)]
            if split_way.indirect:
                table = memory.alloc(32)
                ring.set_desc(0, *chain[0][:2], NEXT, 1, table=table)
                ring.set_desc(1, *chain[1], table=table)
                ring.set_desc(n, table, 32, INDIRECT)
            else:
                ring.set_desc(n, *chain[0][:2], NEXT, batch + n)
                ring.set_desc(batch + n, *chain[1])
            requests.append(answer)
        at, order, done = base, list(range(batch)), 0
        while done < total:
            random.shuffle(order)
            for n in order:
                ring.set_avail(at, n)
                at += 1
            if split_way.event_idx:
                ring.set_used_event(at - 1 & 0xffff)
            ring.set_avail_idx(at)
            queue.kick(force=True)
            while ring.used_idx() != at & 0xffff:
                assert select.select([queue.call_fd], [], [], PATIENCE)[0], "no call"
                signalled(queue.call_fd)
            heads = [memory.get_le(ring.used_ring + 4 + 8 * (i % size), 4)
                     for i in range(at - batch, at)]
            assert sorted(heads) == list(range(batch))
            done += batch
            if done % (batch * 512) == 0:
                for n, answer in enumerate(requests):
                    assert memory.read(answer, SECTOR + 1) == \
                        data[n * SECTOR:(n + 1) * SECTOR] + bytes([BLK_S_OK])
        settled(host.qmp(), "d", at & 0xffff)
        assert front.get_vring_base(0) == at & 0xffff


def test_answers_in_any_order(start, way, image):
    """Large and small requests mixed: each gets its own data, whoever is first."""
    host = start(f"virtio-blk,id=d,filename={image},aio=threads")
    data = image.read_bytes()
    with way.connect(host.socket("d"), size=512) as front:
        disk = Blk(front, indirect=way.indirect)
        order = random.Random(2)
        started = []
        for n in range(100):
            sectors = 512 if n % 10 == 0 else 1
            at = order.randrange(2048 - sectors)
            started.append((at, sectors, disk.start(BLK_T_IN, at, length=sectors * SECTOR)))
        order.shuffle(started)
        for at, sectors, request in started:
            status, got, used = disk.finish(request)
            assert status == BLK_S_OK and used.len == sectors * SECTOR + 1
            assert got == data[at * SECTOR:(at + sectors) * SECTOR]


def test_calls_come_and_can_be_held_back(start, way):
    host = start("virtio-rng,id=r")
    with way.connect(host.socket("r"), size=16) as front:
        queue, gpa = front.queues[0], front.memory.alloc(64)
        ring = queue.ring
        for _ in range(200):
            ring.add([(gpa, 64, True)])
            queue.kick()
            # No look at the ring before the call: none may be missing.
            assert select.select([queue.call_fd], [], [], PATIENCE)[0], "no call"
            signalled(queue.call_fd)
            assert len(ring.take_used()) == 1

        # Not wanted, by the flag or by an index that is far away.
        ring.hold_calls()
        for _ in range(5):
            before = ring.num_used()
            ring.add([(gpa, 64, True)])
            queue.kick()
            wait_until(lambda: ring.num_used() != before, "an answer", interval=0)
        front.sync()
        # The ring is quiet and the device's loop has been around: stop it to be sure.
        base = front.get_vring_base(0)
        assert not signalled(queue.call_fd)
        front.start_queue(0, base)
        ring.take_used()
        signalled(queue.call_fd)

        # Wanted after the third of five.
        if way.event_idx:
            ring.call_after(3)
            for _ in range(5):
                ring.add([(gpa, 64, True)], publish=False)
            ring.publish()
            queue.kick(force=True)
            assert select.select([queue.call_fd], [], [], PATIENCE)[0], "no call"


def test_kicks_can_be_left_out(start, way):
    """A driver that kicks only when asked to never waits in vain."""
    host = start("virtio-rng,id=r")
    with way.connect(host.socket("r"), size=64) as front:
        queue, gpa = front.queues[0], front.memory.alloc(64)
        order = random.Random(8)
        for _ in range(500):
            heads = [queue.ring.add([(gpa, 1, True)]) for _ in range(order.choice([1, 2, 9, 40]))]
            queue.kick()
            queue.wait(heads)


def test_start_stop_and_go_on(start, way, image):
    """GET_VRING_BASE hands over the place; what was available and not taken is taken later."""
    host = start(f"virtio-blk,id=d,filename={image}")
    data = image.read_bytes()
    with way.connect(host.socket("d")) as front:
        disk = Blk(front, indirect=way.indirect)
        ring = front.queues[0].ring
        for round_number in range(20):
            for sector in range(3):
                assert disk.read(sector, SECTOR) == data[sector * SECTOR:][:SECTOR]
            flying = [disk.start(BLK_T_IN, n, length=SECTOR * 16) for n in range(8)]
            base = front.get_vring_base(0)
            # All that was taken has been answered.
            assert base == ring.base()
            left = [disk.start(BLK_T_IN, n, length=SECTOR) for n in range(3)]
            assert ring.base() == base
            front.start_queue(0, base)
            for n, request in enumerate(flying):
                assert disk.finish(request)[1] == data[n * SECTOR:(n + 16) * SECTOR], round_number
            for n, request in enumerate(left):
                assert disk.finish(request)[1] == data[n * SECTOR:][:SECTOR]


def reset(way, front):
    """Whatever this transport has for a whole reset; afterwards the rings are empty and run."""
    if way.status:
        front.set_status(0)
        assert front.get_status() == 0
        front.set_status(ACKNOWLEDGE)
        front.set_status(ACKNOWLEDGE | DRIVER)
    else:
        assert front.protocol & 1 << Proto.RESET_DEVICE
        front.reset_device()
    front.set_features(front.features)
    if way.status:
        front.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)
        assert front.get_status() == ACKNOWLEDGE | DRIVER | FEATURES_OK
    for queue in front.queues:
        queue.ring.reset()
        queue.done.clear()
        signalled(queue.call_fd)
        signalled(queue.err_fd)
    front.start()


def test_reset_and_use_again(start, way, image):
    host = start(f"virtio-blk,id=d,filename={image},num-queues=2")
    data = image.read_bytes()
    qmp = host.qmp()
    with way.connect(host.socket("d"), queues=2) as front:
        for _ in range(5):
            for queue in (0, 1):
                disk = Blk(front, queue, indirect=way.indirect)
                assert disk.read(9, 4096) == data[9 * SECTOR:][:4096]
                disk.start(BLK_T_IN, 0, length=65536)
            assert {"ACKNOWLEDGE", "DRIVER", "FEATURES_OK", "DRIVER_OK"} == \
                flag_names(status_of(qmp, "d"))
            reset(way, front)
            shown = queue_of(qmp, "d", 1)
            assert shown["last-avail-idx"] == shown["used-idx"] == shown["inuse"] == 0
        assert Blk(front, 1).read(0, SECTOR) == data[:SECTOR]


def test_nothing_runs_before_it_is_told_to(start, way):
    """A queue that is set up and kicked waits for DRIVER_OK, and for being enabled."""
    host = start("virtio-rng,id=r")
    negotiated = ACKNOWLEDGE | DRIVER | FEATURES_OK
    with way.connect(host.socket("r"), size=8) as front:
        queue, gpa = front.queues[0], front.memory.alloc(8)
        if way.status:
            front.set_status(0)
            queue.ring.reset()
            for status in (ACKNOWLEDGE, ACKNOWLEDGE | DRIVER):
                front.set_status(status)
            front.set_features(front.features)
            front.set_status(negotiated)
            front.set_mem_table(front.memory)
            front.start_queue(0)
        else:
            front.set_vring_enable(0, 0)
        head = queue.ring.add([(gpa, 8, True)])
        queue.kick(force=True)
        front.sync()
        assert queue.ring.num_used() == 0
        if way.status:
            front.set_status(negotiated | DRIVER_OK)
        else:
            front.set_vring_enable(0, 1)
        assert queue.wait([head])[0].len


def test_features_that_were_not_offered(start, way):
    """FEATURES_OK is refused to who can be told; who cannot is served and reported."""
    host = start("virtio-rng,id=r")
    with way.connect(host.socket("r"), size=8) as front:
        assert not front.get_features() & 1 << 41
    with way.connect(host.socket("r"), size=8, start=False) as front:
        if way.status:
            front.set_status(0)
            front.set_status(ACKNOWLEDGE | DRIVER)
        front.set_features(front.features | 1 << 41)
        if way.status:
            front.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)
            assert not front.get_status() & FEATURES_OK
        else:
            front.start()
            assert rng_read(front, 8)
        host.process.expect(rb"not offered")


def bad_head(ring):
    ring.set_avail(0, ring.size)
    return 1


def bad_avail_idx(ring):
    return ring.size + 1


def bad_next(ring):
    ring.set_desc(0, 0x1000, 16, NEXT, ring.size)
    return 1


def bad_loop(ring):
    ring.set_desc(0, 0x1000, 16, NEXT, 1)
    ring.set_desc(1, 0x1000, 16, NEXT, 0)
    return 1


def bad_address(ring):
    ring.set_desc(0, 1 << 40, 16, WRITE)
    return 1


def bad_wrapping_address(ring):
    ring.set_desc(0, (1 << 64) - 8, 16, WRITE)
    return 1


def bad_order(ring):
    ring.set_desc(0, 0x1000, 16, WRITE | NEXT, 1)
    ring.set_desc(1, 0x1000, 16, 0)
    return 1


def bad_table_length(ring):
    ring.set_desc(0, 0x1000, 15, INDIRECT)
    return 1


def bad_empty_table(ring):
    ring.set_desc(0, 0x1000, 0, INDIRECT)
    return 1


def bad_nested_table(ring):
    ring.set_desc(0, 0x2000, 16, INDIRECT, table=0x1000)
    ring.set_desc(0, 0x1000, 16, INDIRECT)
    return 1


def bad_id(ring):
    ring.set_desc(0, 0x1000, 16, 0, buffer_id=ring.size)


def bad_largest_id(ring):
    ring.set_desc(0, 0x1000, 16, WRITE, buffer_id=0xffff)


def bad_endless_chain(ring):
    # The first one last: the device may be looking, and would see where it ends.
    for n in reversed(range(ring.size)):
        ring.set_desc(n, 0x1000, 16, NEXT)


def bad_table_in_a_list(ring):
    ring.set_desc(1, 0x1000, 16, INDIRECT)
    ring.set_desc(0, 0x1000, 16, NEXT)


def bad_table_with_next(ring):
    ring.set_desc(0, 0x1000, 16, INDIRECT | NEXT)


def bad_table_address(ring):
    ring.set_desc(0, 1 << 40, 16, INDIRECT)
    return 1


BAD_OF_BOTH = [bad_address, bad_wrapping_address, bad_order, bad_table_length, bad_empty_table,
               bad_table_address]
BAD = {
    "split": BAD_OF_BOTH + [bad_head, bad_avail_idx, bad_next, bad_loop, bad_nested_table],
    "packed": BAD_OF_BOTH + [bad_id, bad_largest_id, bad_endless_chain, bad_table_in_a_list,
                             bad_table_with_next],
}


def break_ring(front, how):
    """Have the device find a broken ring; wait until it has said so."""
    ring = front.queues[0].ring
    ring.reset()
    ring.set_avail_idx(how(ring))
    front.queues[0].kick(force=True)
    assert select.select([front.queues[0].err_fd], [], [], PATIENCE)[0], "the error is not told"
    assert signalled(front.queues[0].err_fd)


def test_broken_rings(start, way, image):
    """The error descriptor, a stopped queue, a socket that stays; a reset mends it."""
    host = start("virtio-rng,id=r", f"virtio-blk,id=d,filename={image}")
    qmp = host.qmp()
    with way.connect(host.socket("r"), size=16) as front, way.connect(host.socket("d")) as other:
        for how in BAD[way.ring]:
            reset(way, front)
            break_ring(front, how)
            shown = status_of(qmp, "r")
            assert shown["broken"] and "NEEDS_RESET" in flag_names(shown), how.__name__
            if way.status:
                assert front.get_status() & NEEDS_RESET
            # Stopped: a good request after the bad one is not taken.
            ring = front.queues[0].ring
            assert ring.num_used() == 0
            ring.flood(front.memory.alloc(8))
            front.queues[0].kick(force=True)
            front.sync()
            assert Blk(other, indirect=way.indirect).read(0, SECTOR) == \
                image.read_bytes()[:SECTOR]
            assert ring.num_used() == 0, how.__name__
            # Looking at the rubble harms nobody.
            for index in (None, 0, 7, 65535):
                arguments = {"path": "/machine/peripheral/r/virtio-backend", "queue": 0}
                qmp.execute("x-query-virtio-queue-element",
                            {**arguments, **({} if index is None else {"index": index})})
        reset(way, front)
        assert rng_read(front, 16)
        assert not status_of(qmp, "r")["broken"]


def test_broken_then_another_driver(start, way):
    host = start("virtio-rng,id=r")
    for how in BAD[way.ring]:
        with way.connect(host.socket("r"), size=16) as front:
            break_ring(front, how)
        with way.connect(host.socket("r"), size=16) as front:
            assert rng_read(front, 16), how.__name__


def test_one_driver_after_the_other(start, way, image):
    """Nothing of the first is left: features, sizes, memory, indices."""
    host = start(f"virtio-blk,id=d,filename={image},num-queues=4")
    qmp = host.qmp()
    for queues, size in ((4, 64), (1, 1024), (2, 8), (3, 128)):
        with way.connect(host.socket("d"), queues=queues, size=size) as front:
            for queue in range(queues):
                assert Blk(front, queue).read(1, SECTOR) == image.read_bytes()[512:1024]
            assert queue_of(qmp, "d", queues - 1)["vring-num"] == size
            for queue in range(queues, 4):
                shown = queue_of(qmp, "d", queue)
                assert shown["vring-desc"] == 0 and shown["vring-num"] == 256
        wait_until(lambda: not status_of(qmp, "d")["started"], "the end of the first driver")
        shown = queue_of(qmp, "d", 0)
        assert (shown["vring-num"], shown["vring-desc"], shown["used-idx"]) == (256, 0, 0)
        assert not flag_names(status_of(qmp, "d"))


def test_second_driver_is_turned_away(start, way, image):
    host = start(f"virtio-blk,id=d,filename={image}")
    with way.connect(host.socket("d")) as front:
        with pytest.raises(Closed):
            with way.connect(host.socket("d")):
                pass
        assert Blk(front).read(0, SECTOR) == image.read_bytes()[:SECTOR]
    with way.connect(host.socket("d")) as front:
        assert Blk(front).read(0, SECTOR) == image.read_bytes()[:SECTOR]


def test_memory_in_pieces(start, way, image):
    """Rings and buffers in several regions with gaps; a payload, and a table, across two."""
    host = start(f"virtio-blk,id=d,filename={image}")
    data = image.read_bytes()
    split = 0x100000
    layout = [(0, split), (split, 0x81000, 0x3000), (1 << 32, 0x200000, 0x1000)]
    with way.connect(host.socket("d"), memory=Memory(layout)) as front:
        memory, ring = front.memory, front.queues[0].ring
        head = memory.put(struct.pack("<IIQ", BLK_T_IN, 0, 5))
        for payload in (split - 1000, split - 1, (1 << 32) + 77, split + 0x81000 - 8192):
            result = (1 << 32) + 5
            buffers = [(head, 16, False), (payload, 8192, True), (result, 1, True)]
            if way.indirect:
                table = split - 24
                memory.write(table, b"".join(ring.entry(n, n == 2, *buffer)
                                             for n, buffer in enumerate(buffers)))
                if payload < split + 24:
                    buffers[1] = (payload + 8192, 8192, True)
                    payload += 8192
                    memory.write(table + 16, struct.pack("<Q", payload))
                slot = ring.add_table(table, 3)
                ring.publish()
                front.queues[0].kick()
                used = front.queues[0].wait([slot])[0]
            else:
                used = front.request(0, buffers)
            assert used.len == 8193 and memory.get_le(result, 1) == BLK_S_OK
            assert memory.read(payload, 8192) == data[5 * SECTOR:][:8192]


def test_descriptors_do_not_leak(start, way, image):
    """Drivers that come, break things and go leave as many descriptors open as before."""
    host = start("virtio-rng,id=r", f"virtio-blk,id=d,filename={image}")
    folder = f"/proc/{host.process.pid}/fd"

    def visit():
        with way.connect(host.socket("r"), size=16) as front:
            break_ring(front, bad_address)
        with way.connect(host.socket("d")) as front:
            Blk(front).read(0, SECTOR)
            reset(way, front)

    def settled():
        wait_until(lambda: not any(status_of(qmp, d)["started"] for d in ("r", "d")),
                   "the end of the drivers")
        # Both connections are closed when another one is accepted.
        for device in ("r", "d"):
            with way.connect(host.socket(device), start=False):
                pass
        return len(os.listdir(folder))

    qmp = host.qmp()
    visit()
    before = wait_until(settled, "a count")
    for _ in range(5):
        visit()
    wait_until(lambda: settled() <= before, "descriptors to be closed")
