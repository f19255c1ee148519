# SPDX-License-Identifier: BSD-3-Clause
"""virtio-serial with its one console as a driver sees it: virtio 1.3, "Console Device"."""
import random
import socket
import struct
import threading

import pytest

from lib.process import PATIENCE, wait_until
from lib.ringside import Folder
from lib.virtio import Console


@pytest.fixture
def console(start):
    """console() is a running program and a function that connects to the console's other end."""
    opened = []

    def make():
        folder = Folder()
        opened.append(folder)
        path = folder.path / "tty"
        running = start(f"virtio-serial,id=s,chardev=unix:{path}")

        def dial(port=None):
            """With a port: until the device knows of us, and takes what it is given."""
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
            opened.append(sock)
            if port:
                sock.sendall(b"?")
                assert port.read(1) == b"?"
            return sock

        return running, dial

    yield make
    for thing in opened:
        thing.close() if isinstance(thing, socket.socket) else thing.remove()


def receive(sock, num_bytes):
    data = b""
    while len(data) < num_bytes:
        piece = sock.recv(num_bytes - len(data))
        assert piece, f"the console closed after {len(data)} bytes"
        data += piece
    return data


def test_both_directions(console, way):
    host, dial = console()
    with way.connect(host.socket("s"), queues=2) as front:
        port = Console(front)
        peer = dial(port)
        for text in (b"x", b"hello\n", bytes(range(256)), b"z" * 5000):
            port.write(text)
            assert receive(peer, len(text)) == text
            peer.sendall(text)
            assert port.read(len(text)) == text
        space = front.get_config(0, 12)
        assert struct.unpack("<HHII", space) == (0, 0, 1, 0)


def test_much_at_once(console, way):
    """Both directions full at the same time, in pieces of any size: each byte once, in order."""
    host, dial = console()
    order = random.Random(3)
    out, back = order.randbytes(300_000), order.randbytes(300_000)
    got = []
    with way.connect(host.socket("s"), queues=2) as front:
        port = Console(front, buffers=32, size=1000)
        peer = dial(port)
        threads = [threading.Thread(target=lambda: got.append(receive(peer, len(out)))),
                   threading.Thread(target=peer.sendall, args=[back])]
        for thread in threads:
            thread.start()
        read, at, queue = b"", 0, front.queues[1]
        while at < len(out) or len(read) < len(back):
            if at < len(out):
                step = order.choice([1, 77, 4096, 20000])
                piece = out[at:at + step]
                gpa = front.memory.put(piece, 1)
                half = len(piece) // 2
                buffers = [(gpa, half, False), (gpa + half, len(piece) - half, False)]
                head = queue.ring.add(buffers, indirect=way.indirect)
                queue.kick()
                queue.wait([head])
                at += len(piece)
            if len(read) < len(back):
                read += port.read(min(1000, len(back) - len(read)))
        for thread in threads:
            thread.join(PATIENCE)
        assert got == [out] and read == back


def test_a_slow_reader_holds_the_driver_up(console, way):
    """Who does not read stops the transmit queue and nothing else; nothing is lost."""
    host, dial = console()
    data = random.Random(4).randbytes(8 << 20)
    with way.connect(host.socket("s"), queues=2) as front:
        port = Console(front)
        peer = dial(port)
        queue = front.queues[1]
        base = front.memory.put(data)
        heads = [queue.ring.add([(base + at, 1 << 18, False)]) for at in range(0, 8 << 20, 1 << 18)]
        queue.kick()
        peer.sendall(b"still here")
        assert port.read(10) == b"still here"
        front.sync()
        assert queue.ring.num_used() < len(heads)
        assert receive(peer, len(data)) == data
        queue.wait(heads)


def test_nobody_listens(console, way):
    """Without a peer the driver's bytes are dropped, not kept; one that comes later is served."""
    host, dial = console()
    with way.connect(host.socket("s"), queues=2) as front:
        port = Console(front)
        port.write(b"lost")
        for text in (b"first", b"second"):
            peer = dial(port)
            peer.sendall(text)
            assert port.read(len(text)) == text
            port.write(text)
            assert receive(peer, len(text)) == text
            peer.close()
            # Until its end is seen a write may still go to it.
            path = "/machine/peripheral/s/virtio-backend"
            status = host.qmp().command("x-query-virtio-queue-status", path=path, queue=0)
            assert status["inuse"] <= status["vring-num"]


def test_bytes_wait_for_buffers(console, way):
    """What comes before the driver gives buffers is kept, and fits into whatever it gives."""
    host, dial = console()
    with way.connect(host.socket("s"), queues=2) as front:
        peer = dial()
        peer.sendall(b"0123456789")
        queue, read = front.queues[0], b""
        while len(read) < 10:
            gpa = front.memory.alloc(4)
            used = front.request(0, [(gpa, 1, True), (gpa + 1, 2, True)], indirect=way.indirect)
            assert 1 <= used.len <= 3
            read += front.memory.read(gpa, used.len)
        assert read == b"0123456789"
        assert queue.ring.num_used() >= 4
        # Empty buffers are returned and take nothing.
        assert front.request(1, [(front.memory.alloc(1), 0, False)]).len == 0
        peer.sendall(b"ab")
        wait_until(lambda: front.request(0, [(gpa, 4, True)]).len, "two bytes")
