# SPDX-License-Identifier: BSD-3-Clause
"""virtio-net as a driver sees it: virtio 1.4, "Network Device"."""
import random
import socket
import struct

import pytest

from lib.health import verdict
from lib.process import PATIENCE, wait_until
from lib.ringside import Folder
from lib.virtio import Net

CARD = bytes.fromhex("525400010203")
OTHER = bytes.fromhex("525400090909")


class Cable:
    """The other end of netdev=stream: a length and a frame."""

    def __init__(self, listener):
        self.sock, _ = listener.accept()
        self.sock.settimeout(PATIENCE)

    def send(self, frame):
        self.sock.sendall(struct.pack(">I", len(frame)) + frame)

    def _take(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            assert piece, "the card hung up"
            data += piece
        return data

    def receive(self):
        return self._take(struct.unpack(">I", self._take(4))[0])


@pytest.fixture
def card(start):
    """(host, cable)"""
    folder = Folder()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder.path / "cable"))
        listener.listen()
        host = start(f"virtio-net,id=n,netdev=stream,path={folder.path / 'cable'},"
                     "mac=52:54:00:01:02:03,notf_coal=on")
        cable = Cable(listener)
        yield host, cable
        cable.sock.close()
    folder.remove()


def frame(order, to, size):
    return to + order.randbytes(size - 6)


def received(net, count):
    frames = []
    while len(frames) < count:
        frames += net.receive()
    return frames


def test_both_ways(card, way):
    """Every frame once, in order, in a few buffers that are used over and over."""
    host, cable = card
    order = random.Random(5)
    with way.connect(host.socket("n"), queues=3) as front:
        net = Net(front, buffers=8, indirect=way.indirect)
        assert front.get_config(0, 8) == CARD + b"\x01\x00"
        for size in (14, 60, 1514, 1000, 2036):
            out, back = frame(order, OTHER, size), [frame(order, CARD, size) for _ in range(20)]
            net.send(out, pieces=order.choice((1, 2, 3)))
            assert cable.receive() == out
            for one in back:
                cable.send(one)
            assert received(net, len(back)) == [(one, 1) for one in back]


def test_merged_buffers(card, way):
    """A frame that takes several buffers: all are shown at once, whatever the driver has left."""
    host, cable = card
    order = random.Random(6)
    with way.connect(host.socket("n"), queues=3) as front:
        net = Net(front, buffers=12, size=200, indirect=way.indirect)
        for size in (188, 189, 400, 2000, 14, 1999, 2388):
            one = frame(order, CARD, size)
            cable.send(one)
            assert received(net, 1) == [(one, -(-(size + 12) // 200))]


def test_too_long_is_passed_over(card, way):
    """What all the buffers of the ring cannot hold is dropped; the next one is not."""
    host, cable = card
    order = random.Random(7)
    with way.connect(host.socket("n"), queues=3, features=~(1 << 15)) as front:
        net = Net(front, buffers=4, size=300, indirect=way.indirect)
        cable.send(frame(order, CARD, 289))
        last = frame(order, CARD, 288)
        cable.send(last)
        # Without MRG_RXBUF the header's last field says 1 all the same.
        assert received(net, 1) == [(last, 1)]


def test_commands(card, way):
    host, cable = card
    order = random.Random(8)
    with way.connect(host.socket("n"), queues=3) as front:
        net = Net(front, indirect=way.indirect)
        one, other = frame(order, CARD, 100), frame(order, OTHER, 100)
        cable.send(other)
        assert received(net, 1) == [(other, 1)]
        assert net.command(0, 0, b"\0") == (0, b"")
        cable.send(other)
        cable.send(one)
        assert received(net, 1) == [(one, 1)]
        assert net.command(1, 1, OTHER)[0] == 0
        assert front.get_config(0, 6) == OTHER
        cable.send(one)
        cable.send(other)
        assert received(net, 1) == [(other, 1)]
        assert net.command(2, 0, struct.pack("<H", 4096))[0] == 1
        assert net.command(200, 7)[0] == 1
        # Its own numbers, in the guest.
        answer, reply = net.command(8, 1, struct.pack("<HHHHQ", 0, 0, 0, 0, 1), 56)
        assert answer == 0 and struct.unpack_from("<Q", reply, 16)[0] == 3


def test_interrupts_wait(card, way):
    """Coalescing: the first frame calls nobody, and who asks is told why; the second one does."""
    host, cable = card
    one = CARD + bytes(54)
    with way.connect(host.socket("n"), queues=3) as front, host.qmp() as qmp:
        net, queue = Net(front, indirect=way.indirect), front.queues[0]
        assert net.command(6, 1, struct.pack("<II", 2, 3_600_000_000))[0] == 0
        assert net.command(6, 3, struct.pack("<HH", 0, 0), 8) == \
            (0, struct.pack("<II", 2, 3_600_000_000))
        queue.drain_calls()
        cable.send(one)
        verdict(qmp, "n", 0, "call-held")
        # However long that is, nobody is stuck.
        qmp.command("virtqueue-set-stall-threshold", threshold_ms=50)
        assert "coalescing" in verdict(qmp, "n", 0, "call-held", "note")["sentence"]
        assert not queue.drain_calls()
        cable.send(one)
        wait_until(queue.drain_calls, "a call")
        assert received(net, 2) == [(one, 1)] * 2
        trace = qmp.command("query-virtqueue-trace", path="/machine/peripheral/n/virtio-backend",
                            queue=0)
        assert sum(event["event"] == "call-held" for event in trace) == 1


def test_our_own_cable_is_pulled(card, way):
    """set_link: the driver is told, both directions are dropped, and nobody is held up."""
    host, cable = card
    one, other = OTHER + bytes(54), OTHER + bytes(64)
    with way.connect(host.socket("n"), queues=3) as front, host.qmp() as qmp:
        net = Net(front, indirect=way.indirect)
        qmp.command("set_link", name="n", up=False)
        assert front.get_config(6, 2) == b"\0\0"
        net.send(one)
        cable.send(one)
        dropped = struct.Struct("<QQQQQQ")
        wait_until(lambda: dropped.unpack_from(net.command(
            8, 1, struct.pack("<HHHHQ", 0, 0, 0, 0, 1), 56)[1], 8)[4] == 1, "the frame's end")
        qmp.command("set_link", name="n", up=True)
        assert front.get_config(6, 1)[0] & 1
        net.send(other)
        cable.send(other)
        assert cable.receive() == other
        assert received(net, 1) == [(other, 1)]


def test_the_cable_is_pulled(card, way):
    """The link goes down, what is sent is lost, and the driver is not held up."""
    host, cable = card
    with way.connect(host.socket("n"), queues=3) as front:
        net = Net(front, indirect=way.indirect)
        net.send(OTHER + bytes(54))
        assert cable.receive() == OTHER + bytes(54)
        cable.sock.close()
        wait_until(lambda: front.get_config(6, 2) == b"\0\0", "the link to be down")
        for _ in range(5):
            net.send(OTHER + bytes(54))
