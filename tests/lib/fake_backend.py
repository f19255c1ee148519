# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user back-end for tests, with split rings, that does what a test tells it to.

    class Liar(FakeBackend):
        def answer(self, request, payload):            # None: as a good one would
            return b"\\0" * 7 if request == Req.GET_FEATURES else None
        def serve(self, ring, head): ring.use(head, 0x10000)

    with Liar() as backend: drive(backend.path, ...)
"""
import mmap
import os
import socket
import struct
import threading

from lib.ringside import Folder
from lib.vhost_user import (F_PROTOCOL, F_VERSION_1, HEADER, NEED_REPLY, REPLY, VERSION, Proto, Req,
                            VhostUser)

SECTORS = 2048
OWN_REPLY = (Req.GET_FEATURES, Req.GET_PROTOCOL_FEATURES, Req.GET_QUEUE_NUM, Req.GET_CONFIG,
             Req.GET_VRING_BASE, Req.GET_STATUS)


class Ring:
    """One split ring, as the device sees it."""

    def __init__(self):
        self.size = self.avail_idx = self.used_idx = 0
        self.kick = self.call = self.error = None

    def place(self, memory, desc, used, avail):
        self.memory, self.desc, self.used, self.avail = memory, desc, used, avail

    def next(self):
        """The next head, or None."""
        if struct.unpack_from("<H", *self.memory(self.avail + 2))[0] == self.avail_idx:
            return None
        head = struct.unpack_from(
            "<H", *self.memory(self.avail + 4 + self.avail_idx % self.size * 2))[0]
        self.avail_idx = (self.avail_idx + 1) & 0xffff
        return head

    def buffers(self, head):
        """(guest address, length, writable) each."""
        found = []
        while True:
            addr, length, flags, following = struct.unpack_from(
                "<QIHH", *self.memory(self.desc + head * 16))
            found.append((addr, length, bool(flags & 2)))
            if not flags & 1:
                return found
            head = following

    def use(self, head, length, *, jump=1):
        """A used entry; `jump` is how far the index goes."""
        struct.pack_into("<II", *self.memory(self.used + 4 + self.used_idx % self.size * 8),
                         head & 0xffffffff, length)
        self.used_idx = (self.used_idx + jump) & 0xffff
        struct.pack_into("<H", *self.memory(self.used + 2), self.used_idx)
        os.write(self.call, struct.pack("<Q", 1))


class FakeBackend:
    features = F_VERSION_1 | F_PROTOCOL
    protocol = 1 << Proto.REPLY_ACK | 1 << Proto.CONFIG | 1 << Proto.STATUS | 1 << Proto.MQ
    config = struct.pack("<QIIIIQBBH", SECTORS, 0, 0, 0, 512, 0, 0, 0, 1)

    def __init__(self):
        self.folder = Folder()
        self.path = self.folder.path / "fake.sock"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.path))
        self.listener.listen(1)
        self.rings = [Ring() for _ in range(4)]
        self.regions = []
        self.status = 0
        self.peer = None
        self.running = False
        self.threads = [threading.Thread(target=self.main, daemon=True)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *exc):
        self.listener.close()
        if self.peer:
            self.peer.close()
        self.folder.remove()

    # What a test overrides
    def answer(self, request, payload):
        """Payload bytes, raw() bytes by `self.raw`, or None for what a good one says."""

    def serve(self, ring, head):
        """A request came; what a good disk does: it is all zeros."""
        buffers = ring.buffers(head)
        addr, _, _ = buffers[-1]
        view, at = self.guest(addr)
        view[at] = 0
        ring.use(head, sum(length for _, length, writable in buffers if writable))

    # The rest is a good one
    def region(self, addr, key):
        for region in self.regions:
            if region[key] <= addr < region[key] + region["size"]:
                return region["map"], addr - region[key]
        raise AssertionError(f"no memory at {addr:#x}")

    def guest(self, addr):
        return self.region(addr, "guest")

    def user(self, addr):
        return self.region(addr, "user")

    def main(self):
        try:
            sock, _ = self.listener.accept()
            self.peer = VhostUser(sock=sock)
            while True:
                self.message(*self.peer.recv())
        except (AssertionError, OSError):
            pass

    def raw(self, data):
        self.peer.sock.sendall(data)

    def reply(self, request, payload):
        self.raw(HEADER.pack(request, VERSION | REPLY, len(payload)) + payload)

    def message(self, request, flags, payload, fds):
        request = Req(request)
        good = self.handle(request, payload, fds)
        said = self.answer(request, payload)
        if said is not None:
            if said:
                self.reply(request, said)
        elif request in OWN_REPLY:
            self.reply(request, good)
        elif flags & NEED_REPLY:
            self.reply(request, bytes(8))

    def handle(self, request, payload, fds):
        index = payload[0] if payload else 0
        if request == Req.GET_FEATURES:
            return struct.pack("<Q", self.features)
        if request == Req.GET_PROTOCOL_FEATURES:
            return struct.pack("<Q", self.protocol)
        if request == Req.GET_QUEUE_NUM:
            return struct.pack("<Q", 1)
        if request == Req.GET_CONFIG:
            return payload[:12] + self.config[:struct.unpack_from("<I", payload, 4)[0]]
        if request == Req.GET_VRING_BASE:
            return struct.pack("<II", index, self.rings[index].avail_idx)
        if request == Req.GET_STATUS:
            return struct.pack("<Q", self.status)
        if request == Req.SET_STATUS:
            self.status = payload[0]
        elif request == Req.SET_MEM_TABLE:
            for number, fd in enumerate(fds):
                guest, size, user, offset = struct.unpack_from("<QQQQ", payload, 8 + 32 * number)
                self.regions.append({"guest": guest, "user": user, "size": size,
                                     "map": mmap.mmap(fd, size, offset=offset)})
        elif request == Req.SET_VRING_NUM:
            self.rings[index].size = struct.unpack_from("<I", payload, 4)[0]
        elif request == Req.SET_VRING_ADDR:
            self.rings[index].place(self.user, *struct.unpack_from("<QQQ", payload, 8))
        elif request in (Req.SET_VRING_KICK, Req.SET_VRING_CALL, Req.SET_VRING_ERR):
            name = {Req.SET_VRING_KICK: "kick", Req.SET_VRING_CALL: "call",
                    Req.SET_VRING_ERR: "error"}[request]
            setattr(self.rings[index], name, fds[0])
        elif request == Req.SET_VRING_ENABLE and payload[4]:
            self.running = True
            self.threads.append(threading.Thread(target=self.work, args=[self.rings[index]],
                                                 daemon=True))
            self.threads[-1].start()
        return None

    def work(self, ring):
        """Serves one ring until the end."""
        os.set_blocking(ring.kick, True)
        while True:
            os.read(ring.kick, 8)
            while (head := ring.next()) is not None:
                self.serve(ring, head)
