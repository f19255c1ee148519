# SPDX-License-Identifier: BSD-3-Clause
"""The driver's side of a packed ring, in shared memory: virtio 1.3, "Packed Virtqueues".

The same interface as lib.split_ring.SplitRing. Places are counted since the ring's start: place p
is position p % size of round p // size, and the wrap counter of even rounds is 1.
"""
import struct

from lib.split_ring import INDIRECT, NEXT, WRITE, Used, barrier

AVAIL, USED = 1 << 7, 1 << 15
EVENT_ENABLE, EVENT_DISABLE, EVENT_DESC = 0, 1, 2


class PackedRing:
    """A ring of `size` descriptors, any number, in `memory` (lib.memory.Memory)."""

    def __init__(self, memory, size, *, event_idx=False):
        self.memory, self.size, self.event_idx = memory, size, event_idx
        self.desc = memory.alloc(16 * size, 16)
        self.avail = memory.alloc(4, 4)  # the driver's event suppression
        self.used_ring = memory.alloc(4, 4)  # the device's
        self.reset()

    def reset(self):
        """Zero the ring and forget what was in flight."""
        self.memory.write(self.desc, bytes(16 * self.size))
        self.memory.write(self.avail, bytes(4))
        self.memory.write(self.used_ring, bytes(4))
        self.free = list(range(self.size - 1, -1, -1))  # buffer ids
        self.chains = {}
        self.move_to(0)

    def move_to(self, place):
        """Go on at this place, with nothing in flight."""
        assert not self.chains
        self.offered = self.taken = self.kicked = place
        self.count = 0
        self.hidden = None

    def wrap(self, place):
        return place // self.size % 2 == 0

    def off_wrap(self, place):
        """As the event suppression areas have it, and either half of a vhost-user base."""
        return place % self.size | self.wrap(place) << 15

    def base(self):
        """What GET_VRING_BASE tells once all that was taken is answered."""
        at = self.off_wrap(self.taken + sum(n for _, n in self._answers()))
        return at | at << 16

    def index(self, count):
        """The queue's index after `count` chains of one descriptor each."""
        return count % self.size

    # Raw fields
    @staticmethod
    def entry(number, last, gpa, length, writable):
        """Entry `number` of an indirect table."""
        return struct.pack("<QIHH", gpa, length, 0, WRITE if writable else 0)

    def set_desc(self, index, addr, length, flags, next_index=0, table=None, buffer_id=None):
        """Write one descriptor, available in the first round if it is in the ring."""
        base = self.desc if table is None else table
        if table is None:
            flags |= AVAIL
        self.memory.write(base + 16 * index,
                          struct.pack("<QIHH", addr, length,
                                      index if buffer_id is None else buffer_id, flags))

    def set_avail_idx(self, value):
        """There is none: set_desc() has made it available."""

    def flood(self, gpa):
        """A good request in every place, whatever was there."""
        for index in range(self.size):
            self.set_desc(index, gpa, 8, WRITE)

    def spoil(self):
        """What comes next is nothing that a device can walk."""
        self._write(self.offered, 0, 16, 0xffff, WRITE)
        self.publish()

    def driver_event(self, place, flags):
        self.memory.write(self.avail, struct.pack("<HH", self.off_wrap(place), flags))

    def device_event(self):
        """off_wrap and flags."""
        return struct.unpack("<HH", self.memory.read(self.used_ring, 4))

    def hold_calls(self):
        """No call for the next few answers."""
        if self.event_idx:
            self.driver_event(self.taken + self.size - 2, EVENT_DESC)
        else:
            self.driver_event(0, EVENT_DISABLE)

    def call_after(self, number):
        """A call once `number` more chains of one descriptor each were answered: EVENT_IDX."""
        self.driver_event(self.taken + number - 1, EVENT_DESC)

    # A well-behaved driver
    def _flags(self, place):
        return self.memory.get_le(self.desc + 16 * (place % self.size) + 14, 2)

    def _write(self, place, addr, length, buffer_id, flags):
        """All but the flags of the first descriptor that is not shown yet."""
        at = self.desc + 16 * (place % self.size)
        flags |= AVAIL if self.wrap(place) else USED
        self.memory.write(at, struct.pack("<QIH", addr, length, buffer_id))
        if self.hidden is None:
            self.hidden = at + 14, flags
        else:
            self.memory.set_le(at + 14, 2, flags)

    def add_table(self, gpa, number):
        """Queue a chain of one indirect descriptor for a table of `number` entries."""
        return self._add([(gpa, 16 * number, INDIRECT)])

    def _add(self, descs):
        assert descs and self.free and self.offered + len(descs) <= self.taken + self.size, \
            "no descriptor is free"
        buffer_id = self.free.pop()
        for at, (gpa, length, flags) in enumerate(descs):
            last = at == len(descs) - 1
            # The id counts in the last one alone.
            self._write(self.offered + at, gpa, length, buffer_id if last else 0xdead,
                        flags | (0 if last else NEXT))
        self.offered += len(descs)
        self.chains[buffer_id] = len(descs)
        return buffer_id

    def add(self, buffers, *, indirect=False, publish=True):
        """Queue a chain of (gpa, length, device writes?) and return its buffer id."""
        if indirect:
            table = self.memory.alloc(16 * len(buffers), 16)
            self.memory.write(table, b"".join(
                self.entry(n, n == len(buffers) - 1, *buffer) for n, buffer in enumerate(buffers)))
            buffer_id = self.add_table(table, len(buffers))
        else:
            buffer_id = self._add([(gpa, length, WRITE if writable else 0)
                                   for gpa, length, writable in buffers])
        if publish:
            self.publish()
        return buffer_id

    def publish(self):
        """Let the device see what was added."""
        if self.hidden is not None:
            at, flags = self.hidden
            self.memory.set_le(at, 2, flags)
            self.hidden = None

    def needs_kick(self):
        """Whether the device wants to hear of what was published since the last answer."""
        barrier()
        old, self.kicked = self.kicked, self.offered
        off_wrap, flags = self.device_event()
        if flags != EVENT_DESC:
            return flags == EVENT_ENABLE
        lap = self.offered // self.size
        if bool(off_wrap >> 15) != self.wrap(self.offered):
            lap -= 1
        return old <= lap * self.size + (off_wrap & 0x7fff) < self.offered

    def _answers(self):
        """(Used, places) of each answer that was not taken yet."""
        at, seen = self.taken, set()
        while at < self.offered:
            flags = self._flags(at)
            if bool(flags & AVAIL) != self.wrap(at) or bool(flags & USED) != self.wrap(at):
                return
            length, buffer_id = struct.unpack(
                "<IH", self.memory.read(self.desc + 16 * (at % self.size) + 8, 6))
            assert buffer_id in self.chains and buffer_id not in seen, \
                f"buffer id {buffer_id} is not in flight"
            seen.add(buffer_id)
            places = self.chains[buffer_id]
            # Without the flag nothing was written, and the length means nothing.
            yield Used(buffer_id, length if flags & WRITE else 0), places
            at += places

    def num_used(self):
        """Answers since the ring's start."""
        return self.count + sum(1 for _ in self._answers())

    def take_used(self):
        """The answers that are new, checked; their ids and places are free again."""
        found = list(self._answers())
        for used, places in found:
            del self.chains[used.id]
            self.free.append(used.id)
            self.taken += places
            self.count += 1
        if found and self.event_idx:
            self.driver_event(self.taken, EVENT_DESC)
        return [used for used, _ in found]
