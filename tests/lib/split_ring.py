# SPDX-License-Identifier: BSD-3-Clause
"""The driver's side of a split ring, in shared memory: virtio 1.3, "Split Virtqueues".

Well-behaved use: add() chains, kick(), used(). For hostile rings every field can be set raw. Python
orders its stores well enough on x86, where stores are seen in program order; the one place that
needs a full barrier (publish, then read the notification field) takes a lock, whose instruction is
one.
"""
import struct
import threading
from dataclasses import dataclass

NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL_NO_INTERRUPT = 1
USED_NO_NOTIFY = 1

_lock = threading.Lock()


def barrier():
    """No later load of this thread passes an earlier store."""
    with _lock:
        pass


@dataclass
class Used:
    """One used element: the chain's head and the length that the device wrote."""
    id: int
    len: int


class SplitRing:
    """A ring of `size` entries in `memory` (lib.memory.Memory)."""

    def __init__(self, memory, size, *, event_idx=False):
        self.memory, self.size, self.event_idx = memory, size, event_idx
        self.desc = memory.alloc(16 * size, 16)
        self.avail = memory.alloc(6 + 2 * size, 2)
        self.used_ring = memory.alloc(6 + 8 * size, 4)
        self.reset()

    def reset(self):
        """Zero the ring and forget what was in flight."""
        self.memory.write(self.desc, bytes(16 * self.size))
        self.memory.write(self.avail, bytes(6 + 2 * self.size))
        self.memory.write(self.used_ring, bytes(6 + 8 * self.size))
        self.free = list(range(self.size - 1, -1, -1))
        self.chains = {}
        self.avail_idx = 0
        self.last_used = 0
        self.kicked_idx = 0

    # Raw fields
    def set_desc(self, index, addr, length, flags, next_index=0, table=None):
        """Write one descriptor, of the ring's own table or of an indirect one."""
        base = self.desc if table is None else table
        self.memory.write(base + 16 * index, struct.pack("<QIHH", addr, length, flags, next_index))

    def set_avail(self, slot, head):
        self.memory.set_le(self.avail + 4 + 2 * (slot % self.size), 2, head)

    def set_avail_idx(self, value):
        self.avail_idx = value & 0xffff
        self.memory.set_le(self.avail + 2, 2, value)

    def set_avail_flags(self, value):
        self.memory.set_le(self.avail, 2, value)

    def set_used_event(self, value):
        """Ask for a call once the device's used index passes this one."""
        self.memory.set_le(self.avail + 4 + 2 * self.size, 2, value)

    def avail_event(self):
        return self.memory.get_le(self.used_ring + 4 + 8 * self.size, 2)

    def num_used(self):
        """Answers since the ring's start, modulo 65536."""
        return self.used_idx()

    def base(self):
        """What GET_VRING_BASE tells once all that was taken is answered."""
        return self.used_idx()

    def index(self, count):
        """The queue's index after `count` chains."""
        return count & 0xffff

    def hold_calls(self):
        """No call for the next few answers."""
        if self.event_idx:
            self.set_used_event(self.last_used + 1000 & 0xffff)
        else:
            self.set_avail_flags(AVAIL_NO_INTERRUPT)

    def call_after(self, number):
        """A call once `number` more chains were answered: EVENT_IDX."""
        self.set_used_event(self.last_used + number - 1 & 0xffff)

    def flood(self, gpa):
        """A good request in every slot, whatever was there; one more is available."""
        self.set_desc(3, gpa, 8, WRITE)
        for slot in range(self.size):
            self.set_avail(slot, 3)
        self.set_avail_idx(self.avail_idx + 1)

    def spoil(self):
        """What comes next is nothing that a device can walk."""
        self.set_avail(self.avail_idx, 0xffff)
        self.set_avail_idx(self.avail_idx + 1)

    @staticmethod
    def entry(number, last, gpa, length, writable):
        """Entry `number` of an indirect table."""
        flags = (WRITE if writable else 0) | (0 if last else NEXT)
        return struct.pack("<QIHH", gpa, length, flags, 0 if last else number + 1)

    def used_flags(self):
        return self.memory.get_le(self.used_ring, 2)

    def used_idx(self):
        return self.memory.get_le(self.used_ring + 2, 2)

    # A well-behaved driver
    def add(self, buffers, *, indirect=False, publish=True):
        """Queue a chain of (gpa, length, device writes?) and return its head."""
        needed = 1 if indirect else len(buffers)
        assert buffers and needed <= len(self.free), "no descriptor is free"
        indices = [self.free.pop() for _ in range(needed)]
        if indirect:
            table = self.memory.alloc(16 * len(buffers), 16)
            self._chain(list(range(len(buffers))), buffers, table)
            self.set_desc(indices[0], table, 16 * len(buffers), INDIRECT)
        else:
            self._chain(indices, buffers, None)
        self.chains[indices[0]] = indices
        self.set_avail(self.avail_idx, indices[0])
        self.avail_idx = (self.avail_idx + 1) & 0xffff
        if publish:
            self.publish()
        return indices[0]

    def add_table(self, gpa, number):
        """Queue a chain of one indirect descriptor for a table of `number` entries."""
        head = self.free.pop()
        self.set_desc(head, gpa, 16 * number, INDIRECT)
        self.chains[head] = [head]
        self.set_avail(self.avail_idx, head)
        self.avail_idx = self.avail_idx + 1 & 0xffff
        return head

    def _chain(self, indices, buffers, table):
        for at, (gpa, length, writable) in enumerate(buffers):
            last = at == len(buffers) - 1
            flags = (WRITE if writable else 0) | (0 if last else NEXT)
            self.set_desc(indices[at], gpa, length, flags, 0 if last else indices[at + 1], table)

    def publish(self):
        """Let the device see what was added."""
        self.memory.set_le(self.avail + 2, 2, self.avail_idx)

    def needs_kick(self):
        """Whether the device wants to hear of what was published since the last answer."""
        barrier()
        old, self.kicked_idx = self.kicked_idx, self.avail_idx
        if not self.event_idx:
            return not self.used_flags() & USED_NO_NOTIFY
        passed = (self.avail_idx - self.avail_event() - 1) & 0xffff
        return passed < (self.avail_idx - old) & 0xffff

    def take_used(self):
        """The used elements that are new, checked; their descriptors are free again."""
        found = []
        while self.last_used != self.used_idx():
            at = self.used_ring + 4 + 8 * (self.last_used % self.size)
            head, length = struct.unpack("<II", self.memory.read(at, 8))
            assert head in self.chains, f"used element {head} is not in flight"
            self.free += reversed(self.chains.pop(head))
            found.append(Used(head, length))
            self.last_used = (self.last_used + 1) & 0xffff
        if found and self.event_idx:
            self.set_used_event(self.last_used)
        return found
