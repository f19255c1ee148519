# SPDX-License-Identifier: BSD-3-Clause
"""A dirty log as a front-end gives one to a back-end: a bitmap of 4 KiB pages in a memfd."""
import mmap
import os

PAGE = 4096


class DirtyLog:
    """`size` bytes of bitmap at `offset` in a file that has nothing else."""

    def __init__(self, size, offset=0):
        self.size, self.offset = size, offset
        self.fd = os.memfd_create("log")
        os.ftruncate(self.fd, offset + size)
        self.map = mmap.mmap(self.fd, offset + size)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.map.close()
        os.close(self.fd)

    def pages(self):
        """The pages that are marked."""
        return {8 * at + bit for at, byte in enumerate(self.map[self.offset:]) if byte
                for bit in range(8) if byte >> bit & 1}

    def clear(self):
        self.map[self.offset:] = bytes(self.size)


def pages_of(gpa, length):
    """The pages of [gpa, gpa + length)."""
    return set(range(gpa // PAGE, (gpa + length - 1) // PAGE + 1)) if length else set()
