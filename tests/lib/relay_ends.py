# SPDX-License-Identifier: BSD-3-Clause
"""The two ends of a relay that reconnects, in a test's hands: a back-end that keeps what it hears,
and a front-end whose rings the test writes.

    with Guest(host.socket("r0")) as guest:
        back = Back(listener.accept())
        guest.start()
        back.die()
"""
import contextlib
import os
import socket
import struct
import threading

from lib.memory import Memory
from lib.process import wait_until
from lib.split_ring import SplitRing
from lib.vhost_user import (F_PROTOCOL, F_VERSION_1, NEED_REPLY, REPLY, VERSION, Proto, Req,
                            VhostUser)

FEATURES = F_VERSION_1 | F_PROTOCOL
PROTOCOL = (1 << Proto.MQ | 1 << Proto.REPLY_ACK | 1 << Proto.CONFIG | 1 << Proto.STATUS |
            1 << Proto.BACKEND_REQ)
SLOTS = 1 << Proto.CONFIGURE_MEM_SLOTS
INFLIGHT = 1 << Proto.INFLIGHT_SHMFD
SIZE = 16


class Back:
    """A back-end that answers every message and keeps it, and never looks at a ring."""

    def __init__(self, peer, *, features=FEATURES, protocol=PROTOCOL, silent=(), refuses=()):
        self.peer, self.features, self.protocol = peer, features, protocol
        self.silent, self.refuses = silent, refuses
        self.messages = []
        self.thread = threading.Thread(target=self.main, daemon=True)
        self.thread.start()

    def main(self):
        with contextlib.suppress(AssertionError, OSError):
            while True:
                request, flags, payload, fds = self.peer.recv()
                self.messages.append((Req(request), payload, fds))
                self.answer(request, flags, payload)

    def answer(self, request, flags, payload):
        own = {Req.GET_FEATURES: struct.pack("<Q", self.features),
               Req.GET_PROTOCOL_FEATURES: struct.pack("<Q", self.protocol),
               Req.GET_QUEUE_NUM: struct.pack("<Q", 2),
               Req.GET_STATUS: bytes(8),
               Req.GET_CONFIG: payload,
               Req.GET_VRING_BASE: payload,
               Req.GET_MAX_MEM_SLOTS: struct.pack("<Q", 32)}.get(request)
        if request in self.silent:
            return
        if request == Req.GET_INFLIGHT_FD:
            fd = os.memfd_create("inflight")
            os.ftruncate(fd, 1 << 16)
            self.peer.send(request, struct.pack("<QQ", 1 << 16, 0) + payload[16:], [fd],
                           flags=VERSION | REPLY)
            os.close(fd)
        elif own is not None:
            self.peer.send(request, own, flags=VERSION | REPLY)
        elif flags & NEED_REPLY:
            code = 5 if request in self.refuses else 0
            self.peer.send(request, struct.pack("<Q", code), flags=VERSION | REPLY)

    def names(self):
        return [m[0] for m in self.messages]

    def of(self, request):
        return [m for m in self.messages if m[0] == request]

    def wait_for(self, request, number=1):
        wait_until(lambda: len(self.of(request)) >= number, f"{request!r}")

    def die(self):
        # A shutdown wakes the thread, which would keep the socket open.
        with contextlib.suppress(OSError):
            self.peer.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.peer.close()
        for _, _, fds in self.messages:
            for fd in fds:
                os.close(fd)
            fds.clear()


class Guest:
    """A front-end with a ring whose requests and answers we write ourselves."""

    def __init__(self, path, *, features=FEATURES, protocol=PROTOCOL):
        self.peer = VhostUser(path)
        self.features, self.protocol = features, protocol
        self.memory = Memory(((0, 1 << 20), (1 << 20, 1 << 20)))
        self.rings = [SplitRing(self.memory, SIZE) for _ in range(2)]
        self.kick, self.call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        self.err = os.eventfd(0)
        self.used = [0, 0]

    def close(self):
        self.peer.close()
        self.memory.close()
        for fd in (self.kick, self.call, self.err):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def negotiate(self):
        peer = self.peer
        peer.set_owner(ack=False)
        offered = peer.get_features()
        if self.features & F_PROTOCOL:
            peer.set_protocol_features(peer.get_protocol_features() & self.protocol, ack=False)
            peer.reply_ack = bool(self.protocol & 1 << Proto.REPLY_ACK)
        peer.set_features(offered & self.features)

    def start(self, queues=1, base=0):
        self.negotiate()
        if self.protocol & SLOTS:
            for region in self.memory.regions:
                self.peer.add_mem_reg(region)
        else:
            self.peer.set_mem_table(self.memory)
        for index in range(queues):
            self.start_ring(index, base)
        self.peer.sync()

    def start_ring(self, index, base=0):
        peer, user = self.peer, self.memory.regions[0].user
        ring = self.rings[index]
        peer.set_vring_num(index, SIZE)
        peer.set_vring_base(index, base)
        peer.set_vring_addr(index, user + ring.desc, user + ring.used_ring, user + ring.avail)
        peer.set_vring_call(index, self.call)
        peer.set_vring_err(index, self.err)
        peer.set_vring_kick(index, self.kick)
        peer.set_vring_enable(index)

    def publish(self, index, n=1):
        """Heads of requests."""
        return [self.rings[index].add([(0x8000, 16, False), (0x9000, 1, True)]) for _ in range(n)]

    def answer(self, index, *heads):
        """As the back-end would."""
        memory, at = self.memory, self.rings[index].used_ring
        for head in heads:
            memory.write(at + 4 + self.used[index] % SIZE * 8, struct.pack("<II", head, 1))
            self.used[index] = (self.used[index] + 1) & 0xffff
        memory.write(at + 2, struct.pack("<H", self.used[index]))
