# SPDX-License-Identifier: BSD-3-Clause
"""Guest memory of a front-end in Python: memfd regions, a bump allocator, checked access."""
import ctypes
import mmap
import os
from dataclasses import dataclass

# A front-end's own addresses differ from the guest's, as they do in a real one.
USER_OFFSET = 0x7f0000000000
# What a device on another processor writes or reads meanwhile: a copy of bytes may tear it, even
# one of two bytes.
WORDS = {2: ctypes.c_uint16.__ctype_le__, 4: ctypes.c_uint32.__ctype_le__,
         8: ctypes.c_uint64.__ctype_le__}


@dataclass
class Region:
    """One region. mmap_offset is where it starts within its file."""
    gpa: int
    size: int
    fd: int
    mmap_offset: int = 0
    map: mmap.mmap = None

    @property
    def user(self):
        return self.gpa + USER_OFFSET


class Memory:
    """layout: (gpa, size[, mmap offset]) each. The default is one region of 16 MiB at 0."""

    def __init__(self, layout=((0, 16 << 20),)):
        self.regions = []
        for gpa, size, *offset in layout:
            fd = os.memfd_create("guest")
            where = offset[0] if offset else 0
            os.ftruncate(fd, where + size)
            mapping = mmap.mmap(fd, where + size)
            self.regions.append(Region(gpa, size, fd, where, mapping))
        self._next = self.regions[0].gpa + 0x1000

    def close(self):
        for region in self.regions:
            region.map.close()
            os.close(region.fd)
        self.regions = []

    def alloc(self, size, align=16):
        """A fresh range in the first region; nothing is ever given back."""
        at = (self._next + align - 1) // align * align
        first = self.regions[0]
        assert at + size <= first.gpa + first.size, "the test's guest memory is used up"
        self._next = at + size
        return at

    def _pieces(self, gpa, size):
        while size:
            for region in self.regions:
                if region.gpa <= gpa < region.gpa + region.size:
                    break
            else:
                raise AssertionError(f"{gpa:#x} is outside of guest memory")
            now = min(size, region.gpa + region.size - gpa)
            yield region.map, region.mmap_offset + gpa - region.gpa, now
            gpa, size = gpa + now, size - now

    def read(self, gpa, size):
        return b"".join(m[at:at + n] for m, at, n in self._pieces(gpa, size))

    def write(self, gpa, data):
        done = 0
        for mapping, at, n in self._pieces(gpa, len(data)):
            mapping[at:at + n] = data[done:done + n]
            done += n

    def put(self, data, align=16):
        """Copy bytes to a fresh range; return its address."""
        gpa = self.alloc(len(data), align)
        self.write(gpa, data)
        return gpa

    def _word(self, gpa, size):
        """A number that is read and written at once, where it lies as numbers do."""
        pieces = list(self._pieces(gpa, size))
        mapping, at, length = pieces[0]
        if size in WORDS and length == size and at % size == 0:
            return WORDS[size].from_buffer(mapping, at)
        return None

    def get_le(self, gpa, size):
        word = self._word(gpa, size)
        if word is not None:
            return word.value
        return int.from_bytes(self.read(gpa, size), "little")

    def set_le(self, gpa, size, value):
        value &= (1 << 8 * size) - 1
        word = self._word(gpa, size)
        if word is not None:
            word.value = value
        else:
            self.write(gpa, value.to_bytes(size, "little"))
