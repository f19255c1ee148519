# SPDX-License-Identifier: BSD-3-Clause
"""Whether user-mode Linux runs on this machine. Needs only Python, since the demo asks too."""
import functools
import pathlib
import subprocess
import sys

KERNEL = pathlib.Path("/usr/bin/linux.uml")


@functools.cache
def why_no_uml():
    """Why it cannot run on this machine; None where it can."""
    if not KERNEL.exists():
        return f"{KERNEL} is missing: package user-mode-linux is not installed"
    # It traces its own processes, which some containers forbid.
    trace_me = "import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)"
    if subprocess.run([sys.executable, "-c", trace_me], check=False).returncode:
        return "ptrace is not permitted here, and user-mode Linux needs it"
    return None
