# SPDX-License-Identifier: BSD-3-Clause
"""virtio-serial with its one console as a driver sees it: virtio 1.3, "Console Device"."""
import random
import socket
import struct
import threading

import pytest

from lib.process import PATIENCE, wait_until
from lib.ringside import Folder
from lib.virtio import Console, PortControl


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


def test_ports(start, way, tmp_path):
    """A console and a named port: both are found by their messages, and carry their own bytes."""
    paths = [tmp_path / "con", tmp_path / "org"]
    host = start("virtio-serial,id=s,max_ports=3",
                 f"virtconsole,id=c,chardev=unix:{paths[0]}",
                 f"virtserialport,bus=s.0,nr=2,id=p,name=org.x,chardev=unix:{paths[1]}")
    with way.connect(host.socket("s"), queues=8) as front:
        assert front.get_queue_num() == 8
        assert struct.unpack("<HHI", front.get_config(0, 8)) == (0, 0, 3)
        control, c = PortControl(front), PortControl
        control.say(0, c.READY)
        assert [control.hear() for _ in range(2)] == [(0, c.ADD, 1, b""), (2, c.ADD, 1, b"")]
        control.say(0, c.PORT_READY)
        assert control.hear() == (0, c.CONSOLE_PORT, 1, b"")
        assert control.hear() == (0, c.PORT_OPEN, 1, b"")
        control.say(2, c.PORT_READY)
        assert control.hear(5) == (2, c.PORT_NAME, 1, b"org.x")
        ports = [Console(front), Console(front, queue=6)]
        with host.qmp() as qmp:
            for port, path, number, name in zip(ports, paths, (0, 2), "cp"):
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                    peer.settimeout(PATIENCE)
                    peer.connect(str(path))
                    if number:
                        assert control.hear() == (number, c.PORT_OPEN, 1, b"")
                    control.say(number, c.PORT_OPEN)
                    event = qmp.event("VSERPORT_CHANGE")["data"]
                    assert event == {"id": name, "open": True}
                    peer.sendall(b"in " + name.encode())
                    assert port.read(4) == b"in " + name.encode()
                    port.write(b"out")
                    assert receive(peer, 3) == b"out"
            # The peer of the second one is gone.
            assert control.hear() == (2, c.PORT_OPEN, 0, b"")
            qmp.command("device_del", id="p")
            assert control.hear() == (2, c.REMOVE, 1, b"")
            assert qmp.event("DEVICE_DELETED")["data"]["device"] == "p"
            qmp.command("device_add", driver="virtserialport", chardev="null")
            assert control.hear() == (1, c.ADD, 1, b"")
            # Of neither queue of a port that there is not anything is heard.
            ports[1].write(b"nobody")
            qmp.command("console-resize", id="c", cols=80, rows=25)
            assert control.hear(4) == (0, c.RESIZE, 1, struct.pack("<HH", 80, 25))
            assert struct.unpack("<HHI", front.get_config(0, 8)) == (80, 25, 3)


def test_ports_unknown_to_the_driver(start, way, tmp_path):
    """A driver that does not take MULTIPORT has a console at port 0."""
    host = start("virtio-serial,id=s", "virtserialport,bus=s.0,chardev=null",
                 f"virtconsole,bus=s.0,chardev=unix:{tmp_path / 'con'}")
    with way.connect(host.socket("s"), queues=2, features=~2) as front:
        port = Console(front)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(PATIENCE)
            peer.connect(str(tmp_path / "con"))
            peer.sendall(b"in")
            assert port.read(2) == b"in"
            port.write(b"out")
            assert receive(peer, 3) == b"out"


# Bytes of the message, port, event, value.
MEANS_NOTHING = [
    (0, 0, 0, 0), (1, 1, 6, 0), (7, 1, 6, 0), (8, 1, 8, 1), (8, 1, 0xffff, 0), (8, 1, 1, 1),
    (8, 1, 2, 1), (8, 2, 3, 1), (8, 2, 6, 1), (8, 3, 3, 1), (8, 0xffffffff, 6, 1), (300, 1, 7, 1)]


def test_messages_that_mean_nothing(start, way):
    """They are answered, and nothing else comes of them."""
    host = start("virtio-serial,id=s,max_ports=3", "virtserialport,id=p,chardev=null")
    with way.connect(host.socket("s"), queues=8) as front, host.qmp() as qmp:
        control, c = PortControl(front), PortControl
        control.say(0, c.READY)
        assert control.hear() == (1, c.ADD, 1, b"")
        control.say(1, c.PORT_READY)
        control.say(1, c.PORT_OPEN)
        assert qmp.event("VSERPORT_CHANGE")["data"]["open"]
        for length, port, event, value in MEANS_NOTHING:
            data = (struct.pack("<IHH", port, event, value) + bytes(300))[:length]
            front.request(3, [(front.memory.put(data or b"x"), length, False)])
            assert qmp.command("qom-get", path="p", property="guest-open") is True, length
        qmp.command("device_add", driver="virtserialport", chardev="null")
        assert control.hear() == (2, c.ADD, 1, b"")
