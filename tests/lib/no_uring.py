# SPDX-License-Identifier: BSD-3-Clause
"""Runs a program that the kernel refuses io_uring to: `no_uring.py PROGRAM ARGUMENT...`.

A seccomp filter answers io_uring_setup() with EPERM, as container runtimes do.
"""
import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SYS_IO_URING_SETUP = 425
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
RETURN_EPERM, RETURN_ALLOW = 0x00050001, 0x7fff0000


def forbid_io_uring():
    program = b"".join(struct.pack("<HBBI", *step) for step in (
        (LOAD_WORD, 0, 0, 0),  # the number of the system call
        (JUMP_IF_EQUAL, 0, 1, SYS_IO_URING_SETUP),
        (RETURN, 0, 0, RETURN_EPERM),
        (RETURN, 0, 0, RETURN_ALLOW)))
    steps = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                                                          filter_, 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forbid_io_uring()
    os.execv(sys.argv[1], sys.argv[1:])
