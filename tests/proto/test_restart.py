# SPDX-License-Identifier: BSD-3-Clause
"""The device process is killed with many requests outstanding and started again on the same socket:
every request is answered, exactly once, and what was written is there. The rings themselves find
an answer that nobody waits for. A kill at each single store is tests/unit/test_inflight_crash.c."""
import random
import signal
import struct
import time

import pytest

from lib.ringside import serve
from lib.vhost_user import F_PACKED, Front
from lib.virtio import BLK_S_OK, BLK_T_IN, BLK_T_OUT

QUEUES, DEPTH, KILLS = 4, 8, 20
BLOCK = 256 << 10  # large enough to be at it for a while
# The longest that the device has after its first request before it is killed, in seconds.
MOMENT = 0.0005
# By then it took some, and may have answered all.
TAKING = 0.02
SIZE = QUEUES * DEPTH * BLOCK


class Slot:
    """A block of the disk that one request after the other is for."""

    def __init__(self, memory, number):
        self.number = number
        self.header = memory.alloc(16)
        self.payload = memory.alloc(BLOCK)
        self.status = memory.alloc(1)
        self.generation = 0  # of what was written last
        self.kind = BLK_T_IN

    def content(self):
        return struct.pack("<II", self.number, self.generation) * (BLOCK // 8) \
            if self.generation else bytes(BLOCK)


class Load:
    """Reads and writes on all queues, each block its own slot's."""

    def __init__(self, front, seed):
        self.front, self.random = front, random.Random(seed)
        self.slots = [[Slot(front.memory, q * DEPTH + i) for i in range(DEPTH)]
                      for q in range(QUEUES)]
        self.waiting = [{} for _ in range(QUEUES)]
        self.answered = 0

    def submit(self):
        for queue, slots, waiting in zip(self.front.queues, self.slots, self.waiting):
            for slot in slots:
                if slot not in waiting.values():
                    waiting[self.start(queue, slot)] = slot
            queue.kick()

    def start(self, queue, slot):
        memory = self.front.memory
        slot.kind = self.random.choice((BLK_T_IN, BLK_T_OUT))
        if slot.kind == BLK_T_OUT:
            slot.generation += 1
            memory.write(slot.payload, slot.content())
        else:
            memory.write(slot.payload, b"\xee" * BLOCK)
        memory.write(slot.header, struct.pack("<IIQ", slot.kind, 0, slot.number * BLOCK // 512))
        memory.write(slot.status, b"\xff")
        return queue.ring.add([(slot.header, 16, False),
                               (slot.payload, BLOCK, slot.kind == BLK_T_IN),
                               (slot.status, 1, True)])

    def reap(self):
        """Whatever was answered; take_used() complains of what nobody waits for."""
        memory = self.front.memory
        for queue, waiting in zip(self.front.queues, self.waiting):
            for used in queue.ring.take_used():
                slot = waiting.pop(used.id)
                assert memory.get_le(slot.status, 1) == BLK_S_OK
                if slot.kind == BLK_T_IN:
                    assert memory.read(slot.payload, BLOCK) == slot.content()
                self.answered += 1

    def outstanding(self):
        return sum(len(waiting) for waiting in self.waiting)

    def finish(self):
        for queue, waiting in zip(self.front.queues, self.waiting):
            while waiting:
                before = self.answered
                self.reap()
                if self.answered == before and waiting:
                    queue.wait_call()


def marked(front):
    """Requests that the region says are in flight."""
    part = front.region.size // QUEUES
    data = front.region.read()
    # Header and entries are of the same size, and a mark is an entry's first byte.
    each = 32 if front.features & F_PACKED else 16
    return sum(sum(data[at + each:at + part:each]) for at in range(0, len(data), part))


def kill_amid(host, load):
    """It is handed everything at once, and is killed soon after it took the first."""
    host.process.signal(signal.SIGSTOP)
    load.submit()
    moment = load.random.random() * MOMENT
    host.process.signal(signal.SIGCONT)
    end = time.perf_counter() + TAKING
    while not marked(load.front) and time.perf_counter() < end:
        pass
    end = time.perf_counter() + moment
    while time.perf_counter() < end:
        pass
    host.process.signal(signal.SIGKILL)
    host.crash()


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("aio", ["threads", "auto"])
def test_killed_under_load(tmp_path, aio, packed):
    image = tmp_path / "image"
    image.write_bytes(bytes(SIZE))
    disk = f"virtio-blk,id=disk0,filename={image},num-queues={QUEUES},aio={aio},packed=on"
    host = serve(tmp_path, disk)
    seen = 0
    try:
        with Front(host.socket("disk0"), queues=QUEUES, inflight=True, packed=packed) as front:
            load = Load(front, 7)
            for _ in range(KILLS):
                goal = load.answered + load.random.randrange(100)
                load.submit()
                while load.answered < goal:
                    load.reap()
                    load.submit()
                kill_amid(host, load)
                load.reap()
                seen += marked(front)
                host = serve(tmp_path, disk, folder=host.folder)
                front.reconnect(host.socket("disk0"))
            load.finish()
            assert not marked(front)
            contents = b"".join(slot.content() for slots in load.slots for slot in slots)
        assert image.read_bytes() == contents
        host.stop()
    finally:
        host.destroy()
    # Kills that hit nothing would show nothing.
    assert seen

