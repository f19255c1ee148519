# SPDX-License-Identifier: BSD-3-Clause
"""virtio-vsock under user-mode Linux: connections each way, thousands of them, and how they end."""
import pathlib
import socket
import threading

import pytest

from lib.guest_every import vsock_tool
from lib.guest_uml import GuestUml
from lib.process import PATIENCE, wait_until
from lib.ringside import serve
from lib.virtio import BLK, VSOCK


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    """The guest's program, as an image of a disk."""
    return vsock_tool(tmp_path_factory.mktemp("tool"))


class Rig:
    """A guest that has the tool, and the host's sockets."""

    def __init__(self, host, guest, path):
        self.host, self.guest, self.path = host, guest, path

    def name(self, kind, port=None):
        suffix = ".seqpacket" if kind == "seqpacket" else ""
        return f"{self.path}{suffix}" + (f"_{port}" if port is not None else "")

    def listen(self, kind, port):
        """The host's port, for the guest."""
        sock = socket.socket(socket.AF_UNIX, type_of(kind))
        sock.settimeout(PATIENCE)
        sock.bind(self.name(kind, port))
        sock.listen(4096)
        return sock

    def dial(self, kind, port):
        """The guest's port; the socket once the guest has accepted."""
        sock = socket.socket(socket.AF_UNIX, type_of(kind))
        sock.settimeout(PATIENCE)
        sock.connect(self.name(kind))
        sock.sendall(f"CONNECT {port}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            piece = sock.recv(32 if kind == "seqpacket" else 1)
            if not piece:
                sock.close()
                return None
            line += piece
        assert line.startswith(b"OK ") and int(line[3:]) >= 1 << 30
        return sock


def type_of(kind):
    return socket.SOCK_SEQPACKET if kind == "seqpacket" else socket.SOCK_STREAM


@pytest.fixture
def rig(tmp_path, tool):
    path = tmp_path / "v"
    with serve(tmp_path, f"virtio-vsock,id=v0,guest-cid=7,path={path},max-connections=4096",
               f"virtio-blk,id=tool,filename={tool},read-only=on") as host:
        with GuestUml(tmp_path / "guest", [(host.socket("v0"), VSOCK), (host.socket("tool"), BLK)]
                      ) as guest:
            guest.check("load vmw_vsock_virtio_transport")
            guest.check("cat /dev/vda >/bin/vsock_tool; chmod +x /bin/vsock_tool")
            yield Rig(host, guest, path)


def sum_of(data, total=0):
    for byte in data:
        total = (total * 31 + byte) & (1 << 64) - 1
    return total


@pytest.mark.parametrize("kind", ["stream", "seqpacket"])
def test_from_the_guest(rig, kind):
    """Megabytes to the host, a half-close, and an answer over the half that is open."""
    size = 700_017 if kind == "stream" else 400_017
    with rig.listen(kind, 1234) as listener:
        number = rig.guest.start(f"vsock_tool connect {kind} 1234 {size}")
        peer, _ = listener.accept()
        peer.settimeout(PATIENCE)
        got, total, lengths = 0, 0, set()
        while data := peer.recv(1 << 18):
            got, total = got + len(data), sum_of(data, total)
            lengths.add(len(data))
        # Messages keep their length.
        assert kind == "stream" or lengths == {5000, size % 5000}
        peer.sendall(f"{got} {total}".encode())
        peer.close()
        status, output = rig.guest.finish(number)
        assert status == 0, output


@pytest.mark.parametrize("kind", ["stream", "seqpacket"])
def test_from_the_host(rig, kind):
    """Programs that connect, and get back what they send; one whose reader is slow too."""
    number = rig.guest.start(f"vsock_tool echo {kind} 99 3")
    for turn in range(3):
        peer = None

        def ready():
            nonlocal peer
            peer = rig.dial(kind, 99)
            return peer

        wait_until(ready, "the guest to listen")
        pieces = [bytes([turn + n & 0xff]) * (700 + n * 97) for n in range(400)]

        def send():
            for piece in pieces:
                peer.sendall(piece)
            peer.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        back = []
        while data := peer.recv(1 << 18):
            back.append(data)
        thread.join()
        assert b"".join(back) == b"".join(pieces)
        assert kind == "stream" or back == pieces
        peer.close()
    assert rig.guest.finish(number)[0] == 0
    # Nobody listens there any more.
    assert rig.dial(kind, 99) is None


def test_thousands(rig):
    """Open at the same time; each has its own bytes; then they are gone, and so is what they took.
    """
    num = 2000

    def fds():
        return len(list(pathlib.Path(f"/proc/{rig.host.process.pid}/fd").iterdir()))

    before = fds()
    with rig.listen("stream", 5) as listener:
        number = rig.guest.start(f"vsock_tool many stream 5 {num}")
        peers = [listener.accept()[0] for _ in range(num)]
        for peer in peers:
            peer.settimeout(PATIENCE)
            word = peer.recv(8, socket.MSG_WAITALL)
            # The guest waits for the last one's first, and closes none before.
            if peer is peers[-1]:
                assert fds() >= before + num
            peer.sendall(word)
        status, output = rig.guest.finish(number)
        assert status == 0, output
        for peer in peers:
            assert peer.recv(1) == b""
            peer.close()
    wait_until(lambda: fds() == before, "closed connections to be forgotten")


def test_resets(rig):
    """Nobody there, a guest's program that dies, a program of the host that dies; stop and cont."""
    status, output = rig.guest.run("vsock_tool connect stream 77 10")
    assert status == 1 and "reset" in output
    with rig.listen("stream", 6) as listener, rig.host.qmp() as qmp:
        number = rig.guest.start("vsock_tool reset stream 6")
        peer, _ = listener.accept()
        peer.settimeout(PATIENCE)
        assert peer.recv(1) == b"x"
        # Unread in the guest when its program closes.
        peer.sendall(b"y" * 100)
        assert peer.recv(1) == b""
        peer.close()
        assert rig.guest.finish(number)[0] == 0
        number = rig.guest.start("vsock_tool connect stream 6 2000000")
        peer, _ = listener.accept()
        qmp.command("stop")
        peer.close()
        qmp.command("cont")
        status, output = rig.guest.finish(number)
        assert status == 1 and ("pipe" in output or "reset" in output)
    # All over again works as before.
    test_from_the_guest(rig, "stream")


def test_unplugged_and_rebooted(rig):
    """A reboot ends connections; an unplug in the middle of a transfer ends them, and the sockets'
    files go."""
    with rig.listen("stream", 8) as listener, rig.host.qmp() as qmp:
        rig.guest.start("vsock_tool connect stream 8 200000000")
        peer, _ = listener.accept()
        peer.settimeout(PATIENCE)
        assert peer.recv(100)
        qmp.command("device_del", id="v0")
        qmp.event("DEVICE_DELETED")
        while peer.recv(1 << 16):
            pass
        peer.close()
    assert not pathlib.Path(rig.name("stream")).exists()
    assert not pathlib.Path(rig.name("seqpacket")).exists()


def test_reboot_with_connections(rig):
    with rig.listen("stream", 8) as listener:
        rig.guest.start("vsock_tool connect stream 8 200000000 & sleep 1; reboot -f")
        peer, _ = listener.accept()
        peer.settimeout(PATIENCE)
        try:
            while peer.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        peer.close()
    rig.guest.wait_ready()
    rig.guest.check("load vmw_vsock_virtio_transport; "
                    "cat /dev/vda >/bin/vsock_tool; chmod +x /bin/vsock_tool")
    test_from_the_guest(rig, "stream")
