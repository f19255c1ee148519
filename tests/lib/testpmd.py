# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd, on either side of a vhost-user socket.

    with vhost_net(socket, "rxonly", pairs=2) as back, virtio_user(socket, "txonly") as front:
        back.packets()          # (received, sent) so far
        front.stop(); front.quit()
"""
import os
import pathlib
import re
import shutil
import signal
import tempfile
import time

from lib.process import Process, wait_until


def listens(socket):
    """Asked of the kernel: to connect would be a visit."""
    for line in pathlib.Path("/proc/net/unix").read_text().splitlines():
        words = line.split()
        if words[-1] == str(socket) and words[3] == "00010000":
            return True
    return False


def skip(reason):
    # make bench has no pytest, and looks for the program first.
    import pytest  # pylint: disable=import-outside-toplevel
    pytest.skip(reason)


def _core(number):
    cores = sorted(os.sched_getaffinity(0))
    return cores[number % len(cores)]


class Testpmd:
    """Forwards packets by itself as long as it runs, and answers on its console."""

    __test__ = False

    def __init__(self, core, device, mode, pairs, *more, size=64):
        program = shutil.which("dpdk-testpmd")
        if not program:
            skip("dpdk-testpmd is missing: package dpdk-dev is not installed")
        self.folder = tempfile.mkdtemp(prefix="rs-")
        # Its standard output is buffered unless it is a terminal.
        self.process = Process(
            ["stdbuf", "-oL", program, "--lcores", f"0@{core},1@{core}", "--no-huge", "-m", "256",
             "--no-pci", "--file-prefix", pathlib.Path(self.folder).name, "--vdev", device, *more,
             "--", "-i", "--auto-start", f"--forward-mode={mode}", "--total-num-mbufs=4096",
             f"--rxq={pairs}", f"--txq={pairs}",
             f"--txpkts={size}"], env={"XDG_RUNTIME_DIR": self.folder})
        self._seen = 0

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_ready(self, condition=lambda: True):
        """Until its console asks for commands; skips where DPDK does not run on this machine."""
        wait_until(lambda: "testpmd> " in self.process.text or not self.process.running(),
                   "testpmd's prompt")
        if not self.process.running():
            skip(f"dpdk-testpmd does not run here: {self.process.text[-300:]}")
        wait_until(condition, "its socket")
        return self

    def ask(self, command, pattern):
        """What a command prints, up to and with a pattern that only its answer has."""
        self.process.write(f"{command}\n".encode())
        match = self.process.expect(pattern, self._seen)
        self._seen = match.end()
        return match

    def packets(self):
        """(received, sent) since its start."""
        match = self.ask("show port stats 0", rb"RX-packets: (\d+).*?TX-packets: (\d+).*?Tx-bps")
        return int(match[1]), int(match[2])

    def rate(self, received, seconds):
        """Packets a second, received or sent, over so many seconds."""
        first, start = self.packets()[not received], time.monotonic()
        time.sleep(seconds)
        return (self.packets()[not received] - first) / (time.monotonic() - start)

    def stop(self):
        """No packet is forwarded any more; of several queue pairs (received, sent) each."""
        match = self.ask("stop", rb"Telling cores to stop(.*?)Accumulated.*?Done\.")
        return [(int(rx), int(tx)) for rx, tx in
                re.findall(rb"-> TX Port=.*?RX-packets: (\d+) +TX-packets: (\d+)", match[1], re.S)]

    def start(self):
        self.ask("start", rb"packet forwarding - ports=")

    def quit(self):
        """Its exit status."""
        self.process.write(b"quit\n")
        return self.process.wait()

    def crash(self):
        self.process.signal(signal.SIGKILL)
        self.process.wait()


def vhost_net(socket, mode, pairs=1, *, size=64):
    """A back-end that listens. size: of the packets that it sends."""
    made = Testpmd(_core(0), f"net_vhost0,iface={socket},queues={pairs}", mode, pairs,
                   size=size)
    try:
        return made.wait_ready(lambda: listens(socket))
    except BaseException:
        made.__exit__()
        raise


def virtio_user(socket, mode, pairs=1, options="", *, size=64):
    """A front-end and its driver. options: those of DPDK's net_virtio_user, ",packed_vq=1"."""
    made = Testpmd(_core(1), f"net_virtio_user0,path={socket},queues={pairs},queue_size=1024"
                   f"{options}", mode, pairs, "--single-file-segments",
                   size=size)
    try:
        return made.wait_ready()
    except BaseException:
        made.__exit__()
        raise
