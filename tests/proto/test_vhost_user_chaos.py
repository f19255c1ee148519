# SPDX-License-Identifier: BSD-3-Clause
"""Messages in any order, with any values, while requests are held by a slow disk: whatever comes,
the process lives, its neighbour is served, and nothing is left when the front-end, or the device
under it, goes in the middle of a wait.

RINGSIDE_CHAOS=SEED:SEQUENCES runs other sequences, or more of them.
"""
import contextlib
import os
import random
import select
import socket
import struct

import pytest

from lib.memory import USER_OFFSET, Memory
from lib.packed_ring import PackedRing
from lib.process import wait_until
from lib.ringside import serve
from lib.slow_disk import slow_disk
from lib.split_ring import SplitRing
from lib.vhost_user import (F_LOG_ALL, F_PACKED, F_PROTOCOL, F_VERSION_1, NEED_REPLY, NO_FD,
                            PACKED_START, VERSION, VRING_LOG, Closed, Front, Proto, Req, VhostUser)
from lib.virtio import BLK_T_IN, BLK_T_OUT, Blk

SEED, SEQUENCES = (int(n) for n in os.environ.get("RINGSIDE_CHAOS", "1:60").split(":"))
# ThreadSanitizer takes what a guest does to its own memory for our races, and where an atomic store
# faults it holds a lock that it wants in the handler.
SPOILS = "thread" not in os.environ.get("RINGSIDE_SANITIZED", "")
MIB, PAGE = 1 << 20, 4096
QUEUES, SIZE = 2, 64
LAYOUT = [(0, 4 * MIB), (4 * MIB, MIB, PAGE), (16 * MIB, MIB)]
ALL = sum(1 << bit for bit in (Proto.MQ, Proto.LOG_SHMFD, Proto.REPLY_ACK, Proto.BACKEND_REQ,
                               Proto.CONFIG, Proto.INFLIGHT_SHMFD, Proto.RESET_DEVICE,
                               Proto.INBAND_NOTIFICATIONS, Proto.CONFIGURE_MEM_SLOTS))
# For any field.
ODD = (0, 1, 2, 3, 63, 64, 128, 1024, 32767, 32768, 65535, 65536, 1 << 31, 1 << 32, 1 << 63,
       2**64 - PAGE, 2**64 - 1)


class Chaos:
    """A front-end that says whatever comes to its mind and reads what comes back to throw it away.
    """

    def __init__(self, path, dice):
        self.path, self.dice = path, dice
        self.peer = self.memory = None
        self.rings, self.owned = [], []
        self.open()

    def open(self):
        self.close()
        self.memory = Memory(LAYOUT)
        self.inflight = self.memfd(64 * 1024)
        self.rings, self.channels = [], []
        self.peer = VhostUser(self.path)
        self.peer.sock.setblocking(False)
        self.acks = False

    def close(self):
        if self.peer:
            self.peer.close()
            self.memory.close()
        for fd in self.owned:
            os.close(fd)
        self.peer, self.owned, self.channels = None, [], []

    # Descriptors, all of them closed with the connection
    def own(self, fd):
        self.owned.append(fd)
        return fd

    def memfd(self, size):
        fd = self.own(os.memfd_create("chaos"))
        os.ftruncate(fd, size)
        return fd

    def any_fd(self):
        """To signal with, of any kind: blocking or not, without another end or not."""
        kind = self.dice.randrange(8)
        if kind < 5:
            return self.own(os.eventfd(self.dice.choice((0, 0, 1)), self.dice.choice((0, 2048))))
        if kind == 5:
            ends = [self.own(fd) for fd in os.pipe()]
            return self.dice.choice(ends)
        if kind == 6:
            ours, theirs = socket.socketpair()
            theirs.close()
            return self.own(ours.detach())
        return self.memfd(0)

    # The wire
    def drain(self):
        try:
            while True:
                fds = []
                data, fds, _, _ = socket.recv_fds(self.peer.sock, 65536, 16)
                for fd in fds:
                    os.close(fd)
                if not data:
                    raise Closed("closed")
        except BlockingIOError:
            pass
        except ConnectionResetError:
            raise Closed("reset") from None

    def say(self, request, payload=b"", fds=()):
        """Mostly with an acknowledgement: else any refusal ends the connection."""
        ask = self.acks and self.dice.random() < 0.97
        self.drain()
        try:
            self.peer.send(request, payload, fds, flags=VERSION | (NEED_REPLY if ask else 0))
        except BlockingIOError:
            pass  # It reads nothing while it waits: this message is lost, the stream is whole.

    def state(self, request, num, index=None):
        index = self.dice.randrange(QUEUES) if index is None else index
        self.say(request, struct.pack("<II", index, num & 0xffffffff))

    def vring_fd(self, request, index=None, fd=None):
        index = self.dice.randrange(QUEUES) if index is None else index
        fd = self.any_fd() if fd is None and self.dice.random() < 0.9 else fd
        self.say(request, struct.pack("<Q", index | (NO_FD if fd is None else 0)),
                 [] if fd is None else [fd])

    # A front-end in its right mind
    def begin(self):
        """Negotiates, and starts the rings."""
        protocol = ALL & ~(self.dice.random() < 0.8 and 1 << Proto.INBAND_NOTIFICATIONS)
        packed, log = self.dice.random() < 0.5, self.dice.random() < 0.3
        self.acks = True
        self.say(Req.SET_PROTOCOL_FEATURES, struct.pack("<Q", protocol))
        self.say(Req.SET_OWNER)
        features = F_VERSION_1 | F_PROTOCOL | (F_PACKED if packed else 0) | \
            (F_LOG_ALL if log else 0)
        if log:
            self.set_log_base(good=True)
        self.say(Req.SET_FEATURES, struct.pack("<Q", features))
        if self.dice.random() < 0.6:
            self.set_inflight(good=True)
        self.set_mem_table(good=True)
        self.rings = [(PackedRing if packed else SplitRing)(self.memory, SIZE)
                      for _ in range(QUEUES)]
        for index, ring in enumerate(self.rings):
            self.state(Req.SET_VRING_NUM, SIZE, index)
            self.state(Req.SET_VRING_BASE, PACKED_START if packed else 0, index)
            self.set_addr(index, 0)
            self.vring_fd(Req.SET_VRING_CALL, index, self.own(os.eventfd(0, 2048)))
            ring.kick_fd = self.own(os.eventfd(0, 2048))
            self.vring_fd(Req.SET_VRING_KICK, index, ring.kick_fd)
            self.state(Req.SET_VRING_ENABLE, 1, index)

    def requests(self):
        """Some on each ring; they take a moment."""
        for index, ring in enumerate(self.rings):
            for _ in range(self.dice.randrange(8)):
                try:
                    head = self.memory.put(struct.pack(
                        "<IIQ", self.dice.choice((BLK_T_IN, BLK_T_OUT, 8)), 0,
                        self.dice.randrange(100)))
                    data, status = self.memory.alloc(1024), self.memory.alloc(1)
                    ring.add([(head, 16, False), (data, 512, False), (status, 1, True)]
                             if self.dice.random() < 0.3 else
                             [(head, 16, False), (data, 1024, True), (status, 1, True)])
                except AssertionError:
                    # Full. What comes back need not make sense: the ring was spoilt, or moved.
                    with contextlib.suppress(AssertionError, LookupError):
                        ring.take_used()
                    break
            os.eventfd_write(ring.kick_fd, 1)

    # The messages, one by one
    def set_features(self):
        bits = F_VERSION_1 | F_PROTOCOL
        for bit in (F_LOG_ALL, F_PACKED, F_PROTOCOL, 1 << 28, 1 << 29, 1 << 35):
            bits ^= bit if self.dice.random() < 0.3 else 0
        self.say(Req.SET_FEATURES, struct.pack("<Q", bits))

    def set_protocol_features(self):
        self.say(Req.SET_PROTOCOL_FEATURES,
                 struct.pack("<Q", ALL ^ 1 << self.dice.randrange(17)))

    def region(self, i):
        r = self.memory.regions[i]
        return struct.pack("<QQQQ", r.gpa, r.size, r.user, r.mmap_offset)

    def set_mem_table(self, good=False):
        which = [i for i in range(len(LAYOUT)) if good or self.dice.random() < 0.7]
        self.say(Req.SET_MEM_TABLE,
                 struct.pack("<II", len(which), 0) + b"".join(map(self.region, which)),
                 [self.memory.regions[i].fd for i in which])

    def change_slot(self):
        i = self.dice.randrange(len(LAYOUT))
        if self.dice.random() < 0.5:
            self.say(Req.REM_MEM_REG, bytes(8) + self.region(i))
        else:
            self.say(Req.ADD_MEM_REG, bytes(8) + self.region(i), [self.memory.regions[i].fd])

    def fill_slots(self):
        fd = self.memfd(PAGE)
        for i in range(self.dice.choice((1, 40))):
            self.say(Req.ADD_MEM_REG, struct.pack("<QQQQQ", 0, (1 << 32) + i * PAGE, PAGE,
                                                  (1 << 40) + i * PAGE, 0), [fd])

    def set_log_base(self, good=False):
        size = PAGE if good else self.dice.choice((1, 64, PAGE, *ODD))
        offset = 0 if good else self.dice.choice((0, 0, 8, 4099, *ODD))
        self.say(Req.SET_LOG_BASE, struct.pack("<QQ", size, offset), [self.memfd(2 * PAGE)])

    def set_log_fd(self):
        fds = [self.any_fd()] if self.dice.random() < 0.8 else []
        self.say(Req.SET_LOG_FD, b"", fds)

    def set_inflight(self, good=False):
        """The same file again and again: what one start left there, or spoilt, the next finds."""
        size = 64 * 1024 if good else self.dice.choice((0, 64, 4096, 64 * 1024, *ODD))
        fd = self.inflight if good or self.dice.random() < 0.7 else self.memfd(64 * 1024)
        queues, entries = (QUEUES, SIZE) if good else self.dice.choice(
            ((QUEUES, SIZE), (1, SIZE), (QUEUES, 8), (3, 65535), (0, 0)))
        self.say(Req.SET_INFLIGHT_FD, struct.pack("<QQHHI", size, 0, queues, entries, 0), [fd])

    def get_inflight(self):
        self.say(Req.GET_INFLIGHT_FD,
                 struct.pack("<QQHHI", 0, 0, self.dice.randrange(4), self.dice.randrange(70), 0))

    def set_addr(self, index=None, log=None):
        if not self.rings:
            return
        index = self.dice.randrange(QUEUES) if index is None else index
        spoils = SPOILS and log is None
        ring = self.dice.choice(self.rings) if spoils else self.rings[index]
        move = self.dice.choice((0, 0, 16, 4 * MIB - PAGE, 1 << 63)) if spoils else 0
        flags = self.dice.choice((0, VRING_LOG)) if log is None else log
        self.say(Req.SET_VRING_ADDR, struct.pack(
            "<IIQQQQ", index, flags, ring.desc + USER_OFFSET + move, ring.used_ring + USER_OFFSET,
            ring.avail + USER_OFFSET, self.dice.choice((0, *ODD)) if flags else 0))

    def set_backend(self):
        ours, theirs = socket.socketpair()
        with theirs:
            self.say(Req.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        if self.dice.random() < 0.5:
            ours.close()
        else:
            self.own(ours.detach())

    def spoil(self):
        """What a guest, or whoever shares the in-flight region, writes while rings run."""
        for _ in range(self.dice.randrange(1, 20) if SPOILS else 0):
            if self.dice.random() < 0.5:
                os.pwrite(self.inflight, self.dice.randbytes(2), self.dice.randrange(4096))
            else:
                self.memory.regions[0].map[self.dice.randrange(PAGE, 8 * PAGE)] = \
                    self.dice.randrange(256)

    def truncate(self):
        fd = self.dice.choice((self.inflight, self.memory.regions[1].fd))
        os.ftruncate(fd, 0)

    def step(self):
        dice, state = self.dice, self.state
        common = [self.requests] * 12 + [self.begin] * 2
        rings = [
            lambda: state(Req.SET_VRING_NUM, dice.choice((SIZE, 2 * SIZE, *ODD))),
            lambda: state(Req.SET_VRING_BASE, dice.choice((PACKED_START, *ODD))),
            lambda: state(Req.GET_VRING_BASE, 0), lambda: state(Req.GET_VRING_BASE, 0),
            lambda: state(Req.SET_VRING_ENABLE, 0), lambda: state(Req.SET_VRING_ENABLE, 1),
            lambda: state(Req.SET_VRING_ENABLE, 1), lambda: state(Req.VRING_KICK, 0),
            lambda: self.vring_fd(Req.SET_VRING_KICK), lambda: self.vring_fd(Req.SET_VRING_KICK),
            lambda: self.vring_fd(Req.SET_VRING_CALL), lambda: self.vring_fd(Req.SET_VRING_ERR),
            self.set_addr, self.set_addr]
        others = [
            self.set_features, self.set_protocol_features, self.set_mem_table, self.change_slot,
            self.change_slot, self.fill_slots, self.set_log_base, self.set_log_fd,
            self.set_inflight, self.get_inflight, self.set_backend, self.spoil,
            lambda: self.say(Req.RESET_OWNER), lambda: self.say(Req.RESET_DEVICE),
            lambda: self.say(Req.SET_STATUS, struct.pack("<Q", dice.choice((0, 3, 11, 15, 256)))),
            lambda: self.say(Req.GET_STATUS),
            lambda: self.say(Req.GET_CONFIG, struct.pack("<III", dice.choice((0, 250)), 8, 0)),
            lambda: self.say(Req.SET_CONFIG, struct.pack("<III", 32, 1, 0) + b"\1")]
        if dice.random() < 0.02 and SPOILS:
            self.truncate()
        dice.choice(dice.choices((common, rings, others), (4, 3, 2))[0])()


def run_sequence(path, dice):
    """Until its length is reached or it went too far; the front-end is left connected."""
    chaos = Chaos(path, dice)
    try:
        chaos.begin()
        chaos.requests()
        for _ in range(dice.randrange(5, 80)):
            chaos.step()
            if dice.random() < 0.1:
                select.select([chaos.peer.sock], [], [], 0.005)
        if dice.random() < 0.5:
            chaos.begin()
            chaos.requests()
    except Closed:
        pass
    return chaos


def num_fds(host):
    return len(os.listdir(f"/proc/{host.process.pid}/fd"))


def look(qmp, dice):
    """Who looks on meanwhile gets an answer, or a sentence."""
    path = "/machine/peripheral/disk0/virtio-backend"
    qmp.command("x-query-virtio-status", path=path)
    qmp.command("x-query-virtio-queue-status", path=path, queue=dice.randrange(QUEUES))


@pytest.fixture
def slow():
    """Held requests need the disk to be slow; where nothing can make it so, the rest is tested."""
    try:
        return slow_disk(3000)
    except pytest.skip.Exception:
        return {}


@pytest.mark.parametrize("mapping", ["one loop", "two iothreads"])
def test_any_message_at_any_time(tmp_path, slow, mapping):
    image = tmp_path / "image"
    with image.open("wb") as f:
        f.truncate(MIB)
    threads = mapping != "one loop"
    device = {"driver": "virtio-blk", "id": "disk0", "filename": str(image), "aio": "threads",
              "num-queues": QUEUES, "packed": True, "inband-notifications": True}
    if threads:
        device["iothread-vq-mapping"] = [{"iothread": "io0"}, {"iothread": "io1"}]
    objects = [arg for i in range(2) for arg in ("--object", f"iothread,id=io{i}")]
    with serve(tmp_path, "virtio-rng,id=rng0", arguments=objects, env=slow) as host, \
            Front(host.socket("rng0")) as bystander:
        qmp = host.qmp()
        device["listen"] = str(host.socket("disk0"))
        buffer = bystander.memory.alloc(64)
        bystander.request(0, [(buffer, 64, True)])
        qmp.command("device_add", **device)
        baseline = num_fds(host)
        for number in range(SEQUENCES):
            dice = random.Random(f"{SEED} {number} {mapping}")
            chaos = run_sequence(host.socket("disk0"), dice)
            look(qmp, dice)
            # It goes with whatever it waits for, or the device goes first.
            unplug = dice.random() < 0.3
            if unplug:
                qmp.command("device_del", id="disk0")
            if dice.random() < 0.5:
                try:
                    chaos.drain()
                except Closed:
                    pass
            chaos.close()
            bystander.request(0, [(buffer, 64, True)])
            if unplug:
                # Its virtio-backend has an event of its own, without an id.
                while qmp.event("DEVICE_DELETED")["data"].get("device") != "disk0":
                    pass
                qmp.command("device_add", **device)
            with Front(host.socket("disk0"), queues=QUEUES, size=SIZE) as front:
                assert len(Blk(front, dice.randrange(QUEUES)).read(0, 512)) == 512
            wait_until(lambda: num_fds(host) <= baseline, f"{number}: {baseline} descriptors")
        # The program ends in the middle of it all.
        chaos = run_sequence(host.socket("disk0"), random.Random(SEED))
        host.stop()
        chaos.close()
