# SPDX-License-Identifier: BSD-3-Clause
"""Requests of the devices' drivers, on a lib.vhost_user.Front."""
import struct

from lib.process import PATIENCE

NET, BLK, CONSOLE, RNG, BALLOON, SCSI, VSOCK = 1, 2, 3, 4, 5, 8, 19

BLK_T_IN, BLK_T_OUT, BLK_T_FLUSH, BLK_T_GET_ID = 0, 1, 4, 8
BLK_T_DISCARD, BLK_T_WRITE_ZEROES = 11, 13
BLK_S_OK, BLK_S_IOERR, BLK_S_UNSUPP = 0, 1, 2
SECTOR = 512


class Blk:
    """virtio-blk requests on one queue: virtio 1.3, "Block Device"."""

    def __init__(self, front, queue=0, *, indirect=False):
        self.front, self.queue, self.indirect = front, queue, indirect

    def capacity(self):
        """In sectors."""
        return struct.unpack("<Q", self.front.get_config(0, 8))[0]

    def start(self, kind, sector=0, data=b"", length=0, pieces=1):
        """Queue a request with data for the device or `length` bytes from it, its payload cut into
        equal pieces, and kick; returns what finish() takes."""
        memory = self.front.memory
        head = memory.put(struct.pack("<IIQ", kind, 0, sector))
        size = len(data) or length
        payload = memory.put(data) if data else memory.alloc(max(length, 1))
        status = memory.put(b"\xff")
        step = -(-size // pieces) if size else 0
        body = [(payload + at, min(step, size - at), not data) for at in range(0, size, step or 1)]
        queue = self.front.queues[self.queue]
        chain = queue.ring.add([(head, 16, False), *body, (status, 1, True)],
                               indirect=self.indirect)
        queue.kick()
        return chain, payload, length, status

    def finish(self, request, timeout=PATIENCE):
        """Wait; the status byte, the bytes read, the used element."""
        chain, payload, length, status = request
        used = self.front.queues[self.queue].wait([chain], timeout)[0]
        memory = self.front.memory
        return memory.get_le(status, 1), memory.read(payload, length), used

    def do(self, *args, **kwargs):
        """start() and finish(); the status and the bytes read."""
        return self.finish(self.start(*args, **kwargs))[:2]

    def read(self, sector, num_bytes, **how):
        status, data = self.do(BLK_T_IN, sector, length=num_bytes, **how)
        assert status == BLK_S_OK, f"read of {num_bytes} bytes at sector {sector}: {status}"
        return data

    def write(self, sector, data, **how):
        status, _ = self.do(BLK_T_OUT, sector, data, **how)
        assert status == BLK_S_OK, f"write of {len(data)} bytes at sector {sector}: {status}"

    def flush(self):
        return self.do(BLK_T_FLUSH)[0]

    def get_id(self):
        status, data = self.do(BLK_T_GET_ID, length=20)
        assert status == BLK_S_OK, f"get-id: {status}"
        return data.rstrip(b"\0").decode()

    def range(self, kind, sector, num_sectors, flags=0):
        """Discard or write zeroes; the status."""
        return self.do(kind, 0, struct.pack("<QII", sector, num_sectors, flags))[0]


def rng_read(front, num_bytes):
    """Random bytes from a virtio-rng; as many as the device chose to give."""
    gpa = front.memory.alloc(num_bytes)
    used = front.request(0, [(gpa, num_bytes, True)])
    assert 0 < used.len <= num_bytes
    return front.memory.read(gpa, used.len)


class Console:
    """A port of a virtio-serial; without multiport the one that there is: queue 0 receives, queue 1
    transmits."""

    def __init__(self, front, *, buffers=8, size=256, queue=0):
        self.front, self.size, self.rx = front, size, queue
        self.posted = {}
        self.unread = b""
        for _ in range(buffers):
            self._post(front.memory.alloc(size))

    def _post(self, gpa):
        queue = self.front.queues[self.rx]
        self.posted[queue.ring.add([(gpa, self.size, True)])] = gpa
        queue.kick()

    def write(self, data):
        gpa = self.front.memory.put(data)
        self.front.request(self.rx + 1, [(gpa, len(data), False)])

    def read(self, num_bytes, timeout=PATIENCE):
        """So many bytes, in the order in which the device delivers them."""
        while len(self.unread) < num_bytes:
            found = self.front.queues[self.rx].next_used(timeout)
            # All before the first is posted anew, which may take another's head.
            for used, gpa in [(used, self.posted.pop(used.id)) for used in found]:
                self.unread += self.front.memory.read(gpa, used.len)
                self._post(gpa)
        data, self.unread = self.unread[:num_bytes], self.unread[num_bytes:]
        return data


class Net:
    """A network card with one pair of queues and a control queue behind it, VERSION_1."""

    HEADER = 12
    STATS = 8

    def __init__(self, front, *, buffers=16, size=2048, indirect=False):
        self.front, self.size, self.indirect = front, size, indirect
        self.posted = {}
        for _ in range(buffers):
            self._post(front.memory.alloc(size))

    def _post(self, gpa):
        queue = self.front.queues[0]
        self.posted[queue.ring.add([(gpa, self.size, True)], indirect=self.indirect)] = gpa
        queue.kick()

    def send(self, frame, pieces=1):
        data = bytes(self.HEADER) + frame
        gpa = self.front.memory.put(data)
        step = -(-len(data) // pieces)
        self.front.request(1, [(gpa + at, min(step, len(data) - at), False)
                               for at in range(0, len(data), step)], indirect=self.indirect)

    def receive(self, timeout=PATIENCE):
        """The frames that came: each as its bytes and the number of its buffers."""
        found, frames = self.front.queues[0].next_used(timeout), []
        pieces = [self.front.memory.read(self.posted[used.id], used.len) for used in found]
        gpas = [self.posted.pop(used.id) for used in found]
        while pieces:
            num = struct.unpack_from("<H", pieces[0], 10)[0]
            assert 1 <= num <= len(pieces), "a packet's buffers are shown together"
            frames.append((b"".join(pieces[:num])[self.HEADER:], num))
            pieces = pieces[num:]
        for gpa in gpas:
            self._post(gpa)
        return frames

    def command(self, kind, number, data=b"", room=0):
        """The answer, and what else was written: before it, or behind it where it is a result."""
        memory = self.front.memory
        gpa, answer = memory.put(bytes([kind, number]) + data), memory.put(b"\xff" * (room + 1))
        self.front.request(2, [(gpa, 2 + len(data), False), (answer, room + 1, True)],
                           indirect=self.indirect)
        if kind == self.STATS:
            return memory.get_le(answer, 1), memory.read(answer + 1, room)
        return memory.get_le(answer + room, 1), memory.read(answer, room)


class Scsi:
    """Commands on one request queue of a SCSI host: virtio 1.3, "SCSI Host Device"."""

    def __init__(self, front, queue=2, *, indirect=False):
        self.front, self.queue, self.indirect = front, queue, indirect

    @staticmethod
    def address(target, lun=0):
        return struct.pack(">BBHI", 1, target, 0x4000 | lun, 0)

    def start(self, cdb, *, target=0, lun=0, tag=1, data=b"", length=0, pieces=1, kick=True):
        """Queue a command and kick; returns what finish() takes."""
        memory, queue = self.front.memory, self.front.queues[self.queue]
        head = self.address(target, lun) + struct.pack("<QBBB32s", tag, 0, 0, 0, cdb) + data
        room = 108 + length
        source, answer = memory.put(head, 1), memory.put(b"\xee" * room, 1)
        buffers = []
        for gpa, size, writable in ((source, len(head), False), (answer, room, True)):
            step = -(-size // pieces)
            buffers += [(gpa + at, min(step, size - at), writable) for at in range(0, size, step)]
        chain = queue.ring.add(buffers, indirect=self.indirect)
        if kick:
            queue.kick()
        return chain, answer, length

    def finish(self, request, timeout=PATIENCE):
        """Wait; the response, the sense key and code (0: good), the data that came."""
        chain, answer, length = request
        self.front.queues[self.queue].wait([chain], timeout)
        sense_len, residual, _, status, response = struct.unpack(
            "<IIHBB", self.front.memory.read(answer, 12))
        sense = self.front.memory.read(answer + 12, 18)
        assert sense_len == (18 if status == 2 else 0)
        code = sense[2] << 16 | sense[12] << 8 | sense[13] if status == 2 else status
        got = max(length - residual, 0)
        return response, code, self.front.memory.read(answer + 108, got) if got else b""

    def do(self, cdb, **how):
        return self.finish(self.start(cdb, **how))

    def settle(self, targets=(0,)):
        """Take the unit attentions of a power-on."""
        for target in targets:
            assert self.do(b"\0", target=target)[:2] == (0, 0x62900)

    def task(self, function, *, target=0, lun=0, tag=0):
        """A task management function on the control queue, not waited for; (chain, answer)."""
        memory, queue = self.front.memory, self.front.queues[0]
        source = memory.put(struct.pack("<II", 0, function) + self.address(target, lun) +
                            struct.pack("<Q", tag))
        answer = memory.put(b"\xee")
        chain = queue.ring.add([(source, 24, False), (answer, 1, True)], indirect=self.indirect)
        queue.kick()
        return chain, answer

    def offer_event(self, length=16):
        """A buffer on the event queue, not waited for."""
        memory, queue = self.front.memory, self.front.queues[1]
        answer = memory.put(bytes(length))
        chain = queue.ring.add([(answer, length, True)], indirect=self.indirect)
        queue.kick()
        return chain, answer

    def event(self, offered):
        """What came into it: event, target, unit, reason."""
        self.front.queues[1].wait([offered[0]], PATIENCE)
        event, _, target, lun, _, reason = struct.unpack(
            "<IBBHII", self.front.memory.read(offered[1], 16))
        return event, target, (lun >> 8 | lun << 8) & 0x3fff, reason

    def task_end(self, task):
        self.front.queues[0].wait([task[0]], PATIENCE)
        return self.front.memory.get_le(task[1], 1)


class Vsock:
    """One stream connection of a guest's to the host: virtio 1.3, "Socket Device"."""

    HEAD = struct.Struct("<QQIIIHHIII")
    REQUEST, RESPONSE, RST, SHUTDOWN, RW = 1, 2, 3, 4, 5

    def __init__(self, front, *, port=1024, buffers=8, size=4096):
        self.front, self.port, self.peer_port = front, port, 0
        self.heard = Console(front, buffers=buffers, size=size)

    def cid(self):
        return struct.unpack("<Q", self.front.get_config(0, 8))[0]

    def start(self, op, data=b""):
        """Queue a packet and kick; the chain."""
        head = self.HEAD.pack(self.cid(), 2, self.port, self.peer_port, len(data), 1, op, 0,
                              256 << 10, 0)
        gpa, queue = self.front.memory.put(head + data), self.front.queues[1]
        chain = queue.ring.add([(gpa, len(head) + len(data), False)])
        queue.kick()
        return chain

    def say(self, op, data=b""):
        self.front.queues[1].wait([self.start(op, data)])

    def hear(self):
        """The next packet: its operation and its bytes."""
        head = self.HEAD.unpack(self.heard.read(self.HEAD.size))
        return head[6], self.heard.read(head[4])

    def connect(self, peer_port):
        self.peer_port = peer_port
        self.say(self.REQUEST)
        assert self.hear() == (self.RESPONSE, b"")


class PortControl:
    """The control queues of a virtio-serial with multiport: virtio 1.3, "Console Device"."""

    READY, ADD, REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME = range(8)

    def __init__(self, front):
        self.front, self.heard = front, Console(front, queue=2)

    def say(self, port, event, value=1, more=b""):
        self.heard.write(struct.pack("<IHH", port, event, value) + more)

    def hear(self, more=0):
        """The next message: port, event, value, and `more` bytes."""
        data = self.heard.read(8 + more)
        return *struct.unpack("<IHH", data[:8]), data[8:]
