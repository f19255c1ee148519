# SPDX-License-Identifier: BSD-3-Clause
"""Notifications as messages: kicks from the front-end, calls and errors over the back-end's own
channel."""
import os
import socket
import struct
import time

import pytest

from lib.memory import USER_OFFSET
from lib.process import PATIENCE, Timeout, wait_until
from lib.ringside import serve
from lib.vhost_user import (VERSION, BackendReq, Front, Proto, Req, VhostUser, signalled)
from lib.virtio import BLK_S_OK, BLK_T_IN, Blk

NEEDED = 1 << Proto.REPLY_ACK | 1 << Proto.BACKEND_REQ
INBAND = 1 << Proto.INBAND_NOTIFICATIONS


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("inband"),
               "virtio-blk,id=disk0,size=1M,num-queues=4,inband-notifications=on",
               "virtio-blk,id=plain,size=1M") as running:
        yield running


class InbandFront(Front):
    """Without any descriptor for a ring; as user-mode Linux does it."""

    def start_queue(self, index, base=0):
        queue = self.queues[index]
        ring = queue.ring
        self.set_vring_num(index, ring.size)
        self.set_vring_base(index, base)
        self.set_vring_addr(index, ring.desc + USER_OFFSET, ring.used_ring + USER_OFFSET,
                            ring.avail + USER_OFFSET)
        self.set_vring_enable(index, 1)
        queue.kick = lambda force=False: self.vring_kick(index)

    def start(self, base=0):
        if not self.backend:
            self.set_backend_req_fd()
        super().start(base)

    def called(self, timeout=PATIENCE):
        """The next message on the channel: what, and of which ring."""
        self.backend.sock.settimeout(timeout)
        request, flags, payload, fds = self.backend.recv()
        index, num = struct.unpack("<II", payload)
        assert flags == VERSION and not num and not fds
        return BackendReq(request), index


def finish(front, request):
    """Its answer, and not before a call said that there is one."""
    chain, _, _, status = request
    queue = front.queues[0]
    while True:
        found = [used.id for used in queue.ring.take_used()]
        if chain in found:
            return front.memory.get_le(status, 1)
        assert not found
        assert front.called() == (BackendReq.VRING_CALL, 0)


def test_offered_where_it_was_asked_for(host):
    with VhostUser(host.socket("disk0")) as peer:
        assert peer.get_protocol_features() & INBAND
    with VhostUser(host.socket("plain")) as peer:
        assert not peer.get_protocol_features() & INBAND


@pytest.mark.parametrize("bits", [INBAND, INBAND | 1 << Proto.REPLY_ACK,
                                  INBAND | 1 << Proto.BACKEND_REQ])
@pytest.mark.parametrize("ack", [False, True])
def test_not_without_what_it_needs(host, bits, ack):
    with VhostUser(host.socket("disk0")) as peer:
        peer.send(Req.SET_PROTOCOL_FEATURES, struct.pack("<Q", bits),
                  flags=VERSION | (8 if ack else 0))
        assert peer.closed()


def test_requests_without_a_descriptor(host):
    with InbandFront(host.socket("disk0")) as front:
        for sector in range(200):
            assert finish(front, Blk(front).start(BLK_T_IN, sector, length=512)) == BLK_S_OK
        with host.qmp() as qmp:
            status = qmp.command("x-query-virtio-status",
                                 path="/machine/peripheral/disk0/virtio-backend")
            assert any(s.startswith("VIRTIO_CONFIG_S_DRIVER_OK")
                       for s in status["status"]["statuses"])


def test_no_kick_no_start(host):
    """A ring starts with its first kick, and stops with GET_VRING_BASE until the next."""
    with InbandFront(host.socket("disk0")) as front:
        ring = front.queues[0].ring
        disk = Blk(front)
        kick, front.queues[0].kick = front.queues[0].kick, lambda force=False: None
        request = disk.start(BLK_T_IN, 0, length=512)
        front.sync()
        time.sleep(0.05)
        assert not ring.used_idx()
        kick()
        assert finish(front, request) == BLK_S_OK
        assert front.get_vring_base(0) == 1
        request = disk.start(BLK_T_IN, 0, length=512)
        front.sync()
        time.sleep(0.05)
        assert ring.used_idx() == 1
        kick()
        assert finish(front, request) == BLK_S_OK


def test_descriptors_are_preferred(host):
    with InbandFront(host.socket("disk0")) as front:
        queue = front.queues[0]
        assert finish(front, Blk(front).start(BLK_T_IN, 0, length=512)) == BLK_S_OK
        front.set_vring_call(0, queue.call_fd)
        front.set_vring_kick(0, queue.kick_fd)
        queue.kick = lambda force=False: os.eventfd_write(queue.kick_fd, 1)
        front.sync()
        front.queues[0].done.clear()
        for _ in range(50):
            Blk(front).read(0, 512)
        # Who waits for an answer may take the call with it; nobody waits for this one yet.
        last = Blk(front).start(BLK_T_IN, 0, length=512)
        wait_until(lambda: signalled(queue.call_fd) or not queue.ring.event_idx, "a call")
        assert Blk(front).finish(last)[0] == BLK_S_OK
        with pytest.raises(Timeout):
            while True:
                front.called(0.1)
        # And back: without a kick descriptor, and calls are not wanted at all.
        front.set_vring_kick(0, None)
        front.set_vring_call(0, None)
        queue.kick = lambda force=False: front.vring_kick(0)
        for _ in range(50):
            request = Blk(front).start(BLK_T_IN, 0, length=512)
            wait_until(queue.ring.take_used, "an answer")
            assert front.memory.get_le(request[3], 1) == BLK_S_OK
        with pytest.raises(Timeout):
            front.called(0.1)


def test_a_channel_that_nobody_reads(host):
    """Calls of a ring that wait become one; nobody else waits, and none is missed."""
    with InbandFront(host.socket("disk0"), queues=4,
                     features=~(1 << 29)) as front:
        for _ in range(3000):
            for index in range(4):
                queue = front.queues[index]
                status = front.memory.put(b"\xff")
                head = front.memory.put(struct.pack("<IIQ", 8, 0, 0))
                queue.ring.add([(head, 16, False), (status, 1, True)])
                queue.kick()
                wait_until(queue.ring.take_used, "an answer", interval=0)
        front.sync()
        seen = set()
        while seen != {0, 1, 2, 3}:
            seen.add(front.called()[1])
        # All that was due is out: what is used from now on is called for.
        with pytest.raises(Timeout):
            while True:
                front.called(0.2)
        for index in range(4):
            queue = front.queues[index]
            head = front.memory.put(struct.pack("<IIQ", 8, 0, 0))
            queue.ring.add([(head, 16, False), (front.memory.put(b"\xff"), 1, True)])
            queue.kick()
            # A slow machine may have had one left.
            while front.called() != (BackendReq.VRING_CALL, index):
                pass


def test_a_channel_that_comes_late(host):
    with InbandFront(host.socket("disk0"), start=False) as front:
        front.backend = VhostUser(sock=socket.socketpair()[0])
        front.start()
        request = Blk(front).start(BLK_T_IN, 0, length=512)
        wait_until(lambda: front.queues[0].ring.used_idx() == 1, "an answer")
        front.backend.close()
        front.set_backend_req_fd()
        assert finish(front, request) == BLK_S_OK
        assert front.called() == (BackendReq.VRING_CALL, 0)


def test_an_error_is_a_message(host):
    with InbandFront(host.socket("disk0"), queues=2) as front:
        front.queues[1].ring.set_avail_idx(1000)
        front.vring_kick(1)
        assert front.called() == (BackendReq.VRING_ERR, 1)


def test_a_kick_where_it_was_not_negotiated(host):
    for device, protocol in (("disk0", NEEDED), ("plain", ~0)):
        with Front(host.socket(device), protocol=protocol) as front:
            front.send(Req.VRING_KICK, struct.pack("<II", 0, 0))
            assert front.closed()
