# SPDX-License-Identifier: BSD-3-Clause
"""(i) Bytes through a vsock connection and through a port of a virtio-serial, with Linux as driver;
beside them the same bytes through a unix socket, with no guest: what the host's end alone takes."""
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import peers
from lib.guest_every import vsock_tool
from lib.guest_uml import GuestUml
from lib.process import PATIENCE
from lib.ringside import serve
from lib.uml import why_no_uml
from lib.virtio import BLK, CONSOLE, VSOCK
from pairs import Ratio, median, take_pairs

PIECE = 1 << 16


def listen(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.bind(str(path))
    sock.listen()
    return sock


def take(sock, num_bytes):
    """From the first byte to the last; bytes a second."""
    room, got, start = bytearray(PIECE), 0, 0
    while got < num_bytes:
        n = sock.recv_into(room)
        if not n:
            raise RuntimeError(f"the end after {got} of {num_bytes} bytes")
        start = start or time.monotonic()
        got += n
    return num_bytes / (time.monotonic() - start)


def give(sock, num_bytes, until):
    """Until the other end has them all, as until() tells; bytes a second."""
    piece, left, start = bytes(PIECE), num_bytes, time.monotonic()
    while left:
        left -= sock.send(piece[:left])
    until()
    return num_bytes / (time.monotonic() - start)


class Copy:
    """No guest: a program of the host's at the other end."""

    def __init__(self, folder):
        self.folder = folder

    def _pair(self, command, run):
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        with ours, subprocess.Popen(command, stdin=theirs, stdout=theirs) as child:
            theirs.close()
            rate = run(ours)
            ours.close()
            child.wait(PATIENCE)
        return rate

    def out(self, num_bytes):
        return self._pair(["head", "-c", str(num_bytes), "/dev/zero"],
                          lambda sock: take(sock, num_bytes))

    def back(self, num_bytes):
        return self._pair(["sh", "-c", f"head -c {num_bytes} >/dev/null; echo"],
                          lambda sock: give(sock, num_bytes, lambda: sock.recv(1)))


class Streams:
    """A guest with both."""

    def __init__(self, host, guest, folder):
        self.host, self.guest, self.folder = host, guest, folder

    def _vsock(self, words, run):
        path = pathlib.Path(f"{self.folder / 'v'}_5")
        path.unlink(missing_ok=True)
        with listen(path) as listener:
            number = self.guest.start(f"vsock_tool {words}")
            peer, _ = listener.accept()
        with peer:
            peer.settimeout(PATIENCE)
            rate = run(peer)
        self._finish(number)
        return rate

    def vsock_out(self, num_bytes):
        return self._vsock(f"pour stream 5 {num_bytes}", lambda peer: take(peer, num_bytes))

    def vsock_back(self, num_bytes):
        def end(peer):
            peer.shutdown(socket.SHUT_WR)
            peer.recv(1)

        return self._vsock("drain stream 5",
                           lambda peer: give(peer, num_bytes, lambda: end(peer)))

    def _port(self, script, run):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(PATIENCE)
            peer.connect(str(self.folder / "port"))
            # The port is open, and knows of us.
            number = self.guest.start("exec 3<>$(echo /dev/vport*p1); dd bs=1 count=1 <&3; " +
                                      script)
            peer.sendall(b"?")
            rate = run(peer)
        self._finish(number)
        return rate

    def port_out(self, num_bytes):
        return self._port(f"dd if=/dev/zero bs=64k count={num_bytes // PIECE} >&3",
                          lambda peer: take(peer, num_bytes))

    def port_back(self, num_bytes):
        return self._port(f"head -c {num_bytes} <&3 >/dev/null; echo >&3",
                          lambda peer: give(peer, num_bytes, lambda: peer.recv(1)))

    def _finish(self, number):
        status, output = self.guest.finish(number)
        if status:
            raise RuntimeError(output)


def boot(folder, rounds, num_bytes, out):
    """All ways in turn, by a guest."""
    devices = [f"virtio-vsock,id=v,guest-cid=9,path={folder / 'v'}",
               f"virtio-blk,id=tool,read-only=on,filename={vsock_tool(folder)}",
               "virtio-serial,id=s", f"virtserialport,bus=s.0,chardev=unix:{folder / 'port'}"]
    with serve(folder, *devices) as host:
        sockets = [(host.socket("v"), VSOCK), (host.socket("tool"), BLK),
                   (host.socket("s"), CONSOLE)]
        with GuestUml(folder / "guest", sockets) as guest:
            guest.check("load vmw_vsock_virtio_transport; load virtio_console")
            guest.check("cat /dev/vda >/bin/vsock_tool; chmod +x /bin/vsock_tool")
            streams, copy = Streams(host, guest, folder), Copy(folder)
            for what, way, plain in (
                    ("vsock, guest to host", streams.vsock_out, copy.out),
                    ("vsock, host to guest", streams.vsock_back, copy.back),
                    ("serial port, guest to host", streams.port_out, copy.out),
                    ("serial port, host to guest", streams.port_back, copy.back)):
                taken = take_pairs(rounds, ours=lambda w=way: w(num_bytes),
                                   copy=lambda p=plain: p(num_bytes))
                ratio = Ratio(taken["ours"], taken["copy"])
                out(f"{what:28} {median(taken['ours']) / 1e6:8.0f} MB/s, without a guest "
                    f"{median(taken['copy']) / 1e6:.0f} MB/s, ratio {ratio}")
                yield {"what": what, **ratio.json()}


def run(folder, shm, verdicts, out, *, quick):
    del folder, verdicts
    if why_no_uml():
        out(f"skipped: {why_no_uml()}")
        return []
    os.environ.setdefault("RINGSIDE_BIN", peers.RINGSIDE)
    rounds, num_bytes = (1, 1 << 20) if quick else (5, 64 << 20)
    with tempfile.TemporaryDirectory(prefix="rs-", dir=shm) as place:
        return list(boot(pathlib.Path(place), rounds, num_bytes, out))
