# SPDX-License-Identifier: BSD-3-Clause
"""Two devices in one process, one of them with a driver that behaves as badly as it can."""
import os
import socket

import pytest

from lib.memory import Memory
from lib.process import wait_until
from lib.vhost_user import HEADER, VERSION, Front, Req
from lib.virtio import BLK_T_IN, SECTOR, Blk, rng_read


class Deaf(Front):
    """Its call descriptors are blocking sockets that are never drained, as user-mode Linux's may
    be."""

    def start_queue(self, index, base=0):
        super().start_queue(index, base)
        self.call, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(True)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
            self.set_vring_call(index, theirs.fileno())

    def close(self):
        super().close()
        self.call.close()


def fill_calls(front):
    """Requests without end, a call for each, none of them drained."""
    queue, gpa = front.queues[0], front.memory.alloc(1)
    for _ in range(1000):
        head = queue.ring.add([(gpa, 1, True)])
        queue.kick()
        wait_until(lambda: queue.ring.take_used() or head not in queue.ring.chains,
                   "the device to go on", interval=0)


def fill_replies(front):
    """Questions without end, whose answers are never read."""
    message = HEADER.pack(Req.GET_FEATURES, VERSION, 0) * 500
    front.sock.setblocking(False)
    try:
        while True:
            front.sock.send(message)
    except BlockingIOError:
        pass


@pytest.mark.parametrize("arguments, extra", [
    ((), ""),
    (("--object", "iothread,id=io0"), ",iothread=io0"),
], ids=["one built-in loop", "one iothread"])
def test_one_deaf_driver_stops_no_other(start, way, tmp_path, arguments, extra):
    image = tmp_path / "image"
    image.write_bytes(os.urandom(1 << 20))
    host = start(f"virtio-rng,id=bad{extra}", f"virtio-blk,id=good,filename={image}{extra}",
                 arguments=arguments)
    data, qmp = image.read_bytes(), host.qmp()
    bad = Deaf(host.socket("bad"), features=~0 if way.event_idx else ~(1 << 29),
               status=way.status, memory=Memory([(0, 4 << 20)]))
    with bad, way.connect(host.socket("good")) as good:
        disk = Blk(good, indirect=way.indirect)

        def others_go_on():
            for sector in range(300):
                assert disk.read(sector, SECTOR) == data[sector * SECTOR:][:SECTOR]
            flying = [disk.start(BLK_T_IN, n, length=SECTOR) for n in range(30)]
            assert all(disk.finish(request)[0] == 0 for request in flying)
            path = "/machine/peripheral/bad/virtio-backend"
            assert qmp.command("x-query-virtio-status", path=path)["started"]
            assert len(qmp.command("x-query-virtio")) == 2

        fill_calls(bad)
        # The socket is full indeed.
        probe = bad.call.recv(1 << 20, socket.MSG_PEEK)
        assert len(probe) < 1000 * 8
        others_go_on()
        fill_replies(bad)
        others_go_on()
        fill_calls(bad)
        others_go_on()
    with way.connect(host.socket("bad")) as front:
        assert rng_read(front, 16)


def test_one_broken_driver_stops_no_other(start, way, tmp_path):
    """Hostile messages on one socket, over and over: the other's requests all go through."""
    image = tmp_path / "image"
    image.write_bytes(os.urandom(1 << 20))
    host = start("virtio-rng,id=bad", f"virtio-blk,id=good,filename={image}")
    with way.connect(host.socket("good")) as good:
        disk = Blk(good, indirect=way.indirect)
        for number in range(50):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                peer.connect(str(host.socket("bad")))
                peer.sendall(os.urandom(12 + number * 7))
            flying = [disk.start(BLK_T_IN, n, length=SECTOR * 8) for n in range(10)]
            for n, request in enumerate(flying):
                assert disk.finish(request)[1] == image.read_bytes()[n * SECTOR:][:SECTOR * 8]
    with way.connect(host.socket("bad")) as front:
        assert rng_read(front, 16)
