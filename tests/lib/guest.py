# SPDX-License-Identifier: BSD-3-Clause
"""A Linux guest with our init (tests/guest/rootfs/init), driven over its console.

    guest = Guest(process)          # any process whose stdin and stdout are the guest's console
    guest.wait_ready()
    status, output = guest.run("md5sum /dev/vda")
"""
import base64
import importlib.machinery
import importlib.util
import os
import pathlib
import platform
import re
import shutil
import subprocess

import pytest

from lib.process import PATIENCE

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
IMAGES = pathlib.Path(os.environ.get("RINGSIDE_GUEST_IMAGES", SOURCE / "build" / "guest"))

# A terminal's input buffer has 4096 bytes, and user-mode Linux's console stays throttled once it
# was full.
PIECE_BYTES = 1500


def images(kind):
    """Make sure that a guest's images are there, or skip with the reason; return their folder."""
    if (IMAGES / f"{kind}.stamp").exists() and not os.access(IMAGES, os.W_OK):
        # Within a guest, which shares the root of who made them.
        return IMAGES
    run = subprocess.run([SOURCE / "tools" / "guest-images", "--out", IMAGES, kind],
                         capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if run.returncode == 77:
        pytest.skip(run.stdout.strip().splitlines()[-1])
    assert run.returncode == 0, run.stdout + run.stderr
    return IMAGES


def initrd_with(initrd, files, target):
    """A copy of an image with further programs: {name in the guest: path here}."""
    loader = importlib.machinery.SourceFileLoader("guest_images",
                                                  str(SOURCE / "tools" / "guest-images"))
    spec = importlib.util.spec_from_loader("guest_images", loader)
    guest_images = importlib.util.module_from_spec(spec)
    loader.exec_module(guest_images)
    cpio = guest_images.Cpio()
    for name, path in files.items():
        cpio.add(name, 0o100755, pathlib.Path(path).read_bytes())
    # The kernel unpacks one archive after the other, each at a multiple of four.
    first = pathlib.Path(initrd).read_bytes()
    pathlib.Path(target).write_bytes(first + bytes(-len(first) % 4) + cpio.finish())
    return target


def static_program(source, target):
    """Compile a program for a guest, which has no libraries; skip where that cannot be done."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or platform.machine() != "x86_64":
        pytest.skip("no compiler for the guest's programs here")
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-static", "-o", target, source],
                   check=True)
    return target


class Guest:
    """The console protocol. `process` is a lib.process.Process; the guest does not own it."""

    def __init__(self, process):
        self.process = process
        self._number = 0
        self._seen = 0

    def wait_ready(self, timeout=PATIENCE):
        """Wait for init, also for that of a rebooted guest."""
        match = self.process.expect(rb"@ready@\r?\n", self._seen, timeout)
        self._seen = match.end()
        return self

    def _line(self, kind, piece):
        text = base64.b64encode(piece).decode()
        self.process.write(f"{self._number} {kind} {text}\n".encode())

    def start(self, script):
        """Send a script and do not wait; finish() has its outcome."""
        self._number += 1
        data = script.encode()
        pieces = [data[at:at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)] or [b""]
        for piece in pieces[:-1]:
            self._line("+", piece)
            match = self.process.expect(rb"@more %d@\r?\n" % self._number, self._seen)
            self._seen = match.end()
        self._line("=", pieces[-1])
        return self._number

    def finish(self, number, timeout=PATIENCE):
        """Wait for a started script's end; return its status and output."""
        match = self.process.expect(
            rb"@begin %d@\r?\n(.*?)\r?\n@end %d (\d+)@" % (number, number), self._seen, timeout)
        self._seen = match.end()
        output = match[1].decode(errors="replace").replace("\r\n", "\n")
        return int(match[2]), output.rstrip("\n")

    def run(self, script, timeout=PATIENCE):
        """Run a shell script in the guest; return its status and output."""
        return self.finish(self.start(script), timeout)

    def check(self, script, timeout=PATIENCE):
        """Run, expect status 0, return the output."""
        status, output = self.run(script, timeout)
        assert status == 0, f"in the guest, {script!r} ended with {status}: {output}"
        return output

    def log(self):
        """Everything that the console has said so far."""
        return re.sub(r"\r", "", self.process.text)
