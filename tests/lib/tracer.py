# SPDX-License-Identifier: BSD-3-Clause
"""Stops one thread of a program within a system call of its own; the others go on.

    with Tracer(tid) as tracer:
        ...                             # something that makes the thread do that call
        tracer.stop_before(GETRANDOM)   # it stands until the block's end
"""
import ctypes
import os
import platform
import struct

import pytest

from lib.process import wait_until

GETRANDOM = {"x86_64": 318, "aarch64": 278}.get(platform.machine())

SYSCALL, DETACH, SEIZE, INTERRUPT, SYSCALL_INFO = 24, 17, 0x4206, 0x4207, 0x420e
WALL, TELL_CALLS_APART = 0x40000000, 1
ENTERED = 1


class Tracer:
    """All of it is called by the thread that made it: the kernel knows no other tracer."""

    def __init__(self, tid):
        self.tid = tid
        self.ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        self.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.ptrace.restype = ctypes.c_long

    def _do(self, request, address=None, data=None):
        if self.ptrace(request, self.tid, address, data) < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"ptrace({request:#x}) of {self.tid}: {os.strerror(code)}")

    def _wait(self):
        _, status = wait_until(lambda: (w := os.waitpid(self.tid, WALL | os.WNOHANG))[0] and w,
                               f"thread {self.tid} to stand", interval=0.001)
        assert os.WIFSTOPPED(status), status

    def __enter__(self):
        try:
            self._do(SEIZE, None, TELL_CALLS_APART)
        except PermissionError:
            pytest.skip("nobody may be traced here")
        self._do(INTERRUPT)
        self._wait()
        self._do(SYSCALL)
        return self

    def _entered(self):
        info = ctypes.create_string_buffer(88)
        self._do(SYSCALL_INFO, len(info), ctypes.addressof(info))
        return struct.unpack_from("<Q", info, 24)[0] if info.raw[0] == ENTERED else None

    def stop_before(self, number):
        self._wait()
        while self._entered() != number:
            self._do(SYSCALL)
            self._wait()

    def __exit__(self, *exc):
        if self.ptrace(DETACH, self.tid, None, None) < 0:
            # It runs, for what was to be waited for never came.
            self._do(INTERRUPT)
            self._wait()
            self._do(DETACH)
