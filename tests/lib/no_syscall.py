# SPDX-License-Identifier: BSD-3-Clause
"""Runs a program that one system call is refused to: `no_syscall.py NUMBER PROGRAM ARGUMENT...`.

A seccomp filter answers that call with EPERM, as container runtimes do. Status 99: this kernel
takes no filter. The numbers are x86-64's.
"""
import ctypes
import os
import struct
import sys

PTRACE, IO_URING_SETUP = 101, 425
PATH = os.path.abspath(__file__)

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
RETURN_EPERM, RETURN_ALLOW = 0x00050001, 0x7fff0000


def refuse(number):
    """Returns whether the filter is in place."""
    program = b"".join(struct.pack("<HBBI", *step) for step in (
        (LOAD_WORD, 0, 0, 0),  # the number of the system call
        (JUMP_IF_EQUAL, 0, 1, number),
        (RETURN, 0, 0, RETURN_EPERM),
        (RETURN, 0, 0, RETURN_ALLOW)))
    steps = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
    libc = ctypes.CDLL(None)
    return not (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0))


if __name__ == "__main__":
    if not refuse(int(sys.argv[1])):
        sys.exit(99)
    os.execv(sys.argv[2], sys.argv[2:])
