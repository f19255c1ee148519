# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user front-end for tests: every message as a function, raw bytes, and a driver on top.

    with Front(path, queues=1, size=128) as front:      # negotiates and starts the queues
        front.request(0, [(gpa, 16, False), (gpa2, 513, True)])

    peer = VhostUser(path)                              # messages only, nothing is sent by itself
    peer.send_raw(b"...", fds=[...]); assert peer.closed()
"""
import array
import enum
import os
import select
import socket
import struct
import time
from dataclasses import dataclass

from lib.memory import Memory
from lib.process import PATIENCE, Timeout
from lib.packed_ring import PackedRing
from lib.split_ring import SplitRing


class Req(enum.IntEnum):
    """Messages of a front-end."""
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    CREATE_CRYPTO_SESSION = 26
    CLOSE_CRYPTO_SESSION = 27
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    GPU_SET_SOCKET = 33
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40
    GET_SHARED_OBJECT = 41
    SET_DEVICE_STATE_FD = 42
    CHECK_DEVICE_STATE = 43
    GET_SHMEM_CONFIG = 44
    GET_VRING_BASE_SKIP_DRAIN = 45


class BackendReq(enum.IntEnum):
    """Messages of a back-end, on the socket of SET_BACKEND_REQ_FD."""
    IOTLB_MSG = 1
    CONFIG_CHANGE_MSG = 2
    VRING_HOST_NOTIFIER_MSG = 3
    VRING_CALL = 4
    VRING_ERR = 5


class Proto(enum.IntEnum):
    """Bits of the protocol features."""
    MQ = 0
    LOG_SHMFD = 1
    RARP = 2
    REPLY_ACK = 3
    MTU = 4
    BACKEND_REQ = 5
    CROSS_ENDIAN = 6
    CRYPTO_SESSION = 7
    PAGEFAULT = 8
    CONFIG = 9
    BACKEND_SEND_FD = 10
    HOST_NOTIFIER = 11
    INFLIGHT_SHMFD = 12
    RESET_DEVICE = 13
    INBAND_NOTIFICATIONS = 14
    CONFIGURE_MEM_SLOTS = 15
    STATUS = 16


VERSION, REPLY, NEED_REPLY = 1, 4, 8
NO_FD = 0x100
VRING_LOG = 1
HEADER = struct.Struct("<III")

F_INDIRECT, F_EVENT_IDX, F_PROTOCOL, F_VERSION_1 = 1 << 28, 1 << 29, 1 << 30, 1 << 32
F_PACKED, F_IN_ORDER, F_RING_RESET = 1 << 34, 1 << 35, 1 << 40
F_LOG_ALL = 1 << 26
# The base of a packed ring that begins: position 0, wrap counter 1, for both sides.
PACKED_START = 0x80008000
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128


class Refused(Exception):
    """A non-zero acknowledgement; .code has it."""

    def __init__(self, request, code):
        super().__init__(f"{request!r} was refused with {code}")
        self.code = code


class Closed(AssertionError):
    """The back-end closed the connection."""


class VhostUser:
    """The connection. Set `reply_ack` once REPLY_ACK is negotiated: then every set is confirmed."""

    def __init__(self, path=None, *, sock=None, timeout=PATIENCE):
        self.timeout = timeout
        self.reply_ack = False
        self.backend = None
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout)
            sock.connect(str(path))
        self.sock = sock
        self.sock.settimeout(timeout)

    def close(self):
        self.sock.close()
        if self.backend:
            self.backend.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # The wire
    def send_raw(self, data, fds=()):
        """Bytes and descriptors as they are, in one go."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.sock.sendmsg([data], ancillary)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed("the back-end closed before a message") from None
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def send(self, request, payload=b"", fds=(), *, flags=VERSION, size=None):
        """A message; `size` overrides what the header says."""
        head = HEADER.pack(request, flags, len(payload) if size is None else size)
        self.send_raw(head + payload, fds)

    def recv_exact(self, count, fds):
        data = b""
        while len(data) < count:
            try:
                part, ancillary, _, _ = self.sock.recvmsg(count - len(data),
                                                          socket.CMSG_SPACE(4 * 16))
            except socket.timeout:
                raise Timeout(f"no message from the back-end in {self.timeout:g} s") from None
            except ConnectionResetError:
                part, ancillary = b"", []
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds += array.array("i", content[:len(content) // 4 * 4])
            if not part:
                raise Closed("the back-end closed the connection")
            data += part
        return data

    def recv(self):
        """The next message: request, flags, payload, descriptors."""
        fds = []
        request, flags, size = HEADER.unpack(self.recv_exact(HEADER.size, fds))
        return request, flags, self.recv_exact(size, fds), fds

    def closed(self):
        """Wait until the back-end has closed; a message instead of that is an error."""
        try:
            data = self.sock.recv(4096)
        except ConnectionResetError:
            return True
        except socket.timeout:
            raise Timeout("the back-end did not close the connection") from None
        assert not data, f"a message instead of a close: {data!r}"
        return True

    def silent(self):
        """Whether nothing waits to be read and the connection stands, right now."""
        return not ready(self.sock, 0)

    def reply(self, request, fds=None):
        """The reply to `request`, checked for its form; its payload."""
        got, flags, payload, received = self.recv()
        assert (got, flags) == (request, VERSION | REPLY), f"{got} flags {flags} for {request!r}"
        if fds is None:
            assert not received, "descriptors with a reply that has none"
        else:
            fds += received
        return payload

    def get(self, request, payload=b""):
        self.send(request, payload)
        return self.reply(request)

    def get_u64(self, request):
        return struct.unpack("<Q", self.get(request))[0]

    def set(self, request, payload=b"", fds=(), *, ack=None):
        """A message without a reply of its own; ack=True (or reply_ack) has it confirmed."""
        ack = self.reply_ack if ack is None else ack
        self.send(request, payload, fds, flags=VERSION | (NEED_REPLY if ack else 0))
        if ack:
            code = struct.unpack("<Q", self.reply(request))[0]
            if code:
                raise Refused(request, code)

    def sync(self):
        """Return once the back-end has handled all that was sent before."""
        return self.get_features()

    # The messages
    def get_features(self):
        return self.get_u64(Req.GET_FEATURES)

    def set_features(self, bits, **how):
        self.set(Req.SET_FEATURES, struct.pack("<Q", bits), **how)

    def get_protocol_features(self):
        return self.get_u64(Req.GET_PROTOCOL_FEATURES)

    def set_protocol_features(self, bits, **how):
        self.set(Req.SET_PROTOCOL_FEATURES, struct.pack("<Q", bits), **how)

    def set_owner(self, **how):
        self.set(Req.SET_OWNER, **how)

    def reset_owner(self, **how):
        self.set(Req.RESET_OWNER, **how)

    def reset_device(self, **how):
        self.set(Req.RESET_DEVICE, **how)

    def get_queue_num(self):
        return self.get_u64(Req.GET_QUEUE_NUM)

    def set_mem_table(self, memory, **how):
        regions = memory.regions
        payload = struct.pack("<II", len(regions), 0) + b"".join(
            struct.pack("<QQQQ", r.gpa, r.size, r.user, r.mmap_offset) for r in regions)
        self.set(Req.SET_MEM_TABLE, payload, [r.fd for r in regions], **how)

    def get_max_mem_slots(self):
        return self.get_u64(Req.GET_MAX_MEM_SLOTS)

    def add_mem_reg(self, region, **how):
        self.set(Req.ADD_MEM_REG, struct.pack("<QQQQQ", 0, region.gpa, region.size, region.user,
                                              region.mmap_offset), [region.fd], **how)

    def rem_mem_reg(self, region, **how):
        self.set(Req.REM_MEM_REG, struct.pack("<QQQQQ", 0, region.gpa, region.size, region.user,
                                              region.mmap_offset), **how)

    def set_vring_num(self, index, num, **how):
        self.set(Req.SET_VRING_NUM, struct.pack("<II", index, num), **how)

    def set_vring_addr(self, index, desc, used, avail, *, flags=0, log=0, **how):
        """Addresses are the front-end's own (lib.memory.USER_OFFSET), as the protocol has them."""
        self.set(Req.SET_VRING_ADDR,
                 struct.pack("<IIQQQQ", index, flags, desc, used, avail, log), **how)

    def set_vring_base(self, index, base, **how):
        self.set(Req.SET_VRING_BASE, struct.pack("<II", index, base), **how)

    def get_vring_base(self, index):
        """Stops the ring; the next available index that it would have taken."""
        got, base = struct.unpack("<II", self.get(Req.GET_VRING_BASE, struct.pack("<II", index, 0)))
        assert got == index, f"ring {got} answered for ring {index}"
        return base

    def _set_vring_fd(self, request, index, fd, how):
        payload = struct.pack("<Q", index | (NO_FD if fd is None else 0))
        self.set(request, payload, [] if fd is None else [fd], **how)

    def set_vring_kick(self, index, fd, **how):
        self._set_vring_fd(Req.SET_VRING_KICK, index, fd, how)

    def set_vring_call(self, index, fd, **how):
        self._set_vring_fd(Req.SET_VRING_CALL, index, fd, how)

    def set_vring_err(self, index, fd, **how):
        self._set_vring_fd(Req.SET_VRING_ERR, index, fd, how)

    def set_vring_enable(self, index, enable=1, **how):
        self.set(Req.SET_VRING_ENABLE, struct.pack("<II", index, enable), **how)

    def vring_kick(self, index, **how):
        self.set(Req.VRING_KICK, struct.pack("<II", index, 0), **how)

    def get_config(self, offset, size):
        """Bytes of the config space; None when the back-end refuses the range."""
        request = struct.pack("<III", offset, size, 0) + bytes(size)
        payload = self.get(Req.GET_CONFIG, request)
        return payload[12:] if payload else None

    def set_config(self, offset, data, *, flags=0, **how):
        self.set(Req.SET_CONFIG, struct.pack("<III", offset, len(data), flags) + data, **how)

    def set_status(self, status, **how):
        self.set(Req.SET_STATUS, struct.pack("<Q", status), **how)

    def get_status(self):
        return self.get_u64(Req.GET_STATUS)

    def set_log_base(self, size, offset, fd):
        """Has a reply of its own where LOG_SHMFD is negotiated."""
        self.send(Req.SET_LOG_BASE, struct.pack("<QQ", size, offset), [fd])
        return self.reply(Req.SET_LOG_BASE)

    def set_log_fd(self, fd, **how):
        self.set(Req.SET_LOG_FD, fds=[fd], **how)

    def get_inflight_fd(self, queues, queue_size, *, padding=4):
        """A new in-flight region, or None where the back-end has none to give."""
        request, fds = struct.pack("<QQHH", 0, 0, queues, queue_size) + bytes(padding), []
        self.send(Req.GET_INFLIGHT_FD, request)
        reply = self.reply(Req.GET_INFLIGHT_FD, fds)
        assert len(reply) == len(request), f"{len(reply)} bytes for {len(request)}"
        size, offset, *counts = struct.unpack("<QQHH", reply[:20])
        assert counts == [queues, queue_size] and len(fds) == bool(size)
        return Inflight(fds[0], size, queues, queue_size, offset) if size else None

    def set_inflight_fd(self, region, **how):
        self.set(Req.SET_INFLIGHT_FD, region.payload(), [region.fd], **how)

    def set_backend_req_fd(self, **how):
        """Open the back-end's own channel; afterwards `backend` is its connection."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self.set(Req.SET_BACKEND_REQ_FD, fds=[theirs.fileno()], **how)
        self.backend = VhostUser(sock=ours, timeout=self.timeout)
        return self.backend


@dataclass
class Inflight:
    """An in-flight region; the file belongs to whoever holds this."""
    fd: int
    size: int
    queues: int
    queue_size: int
    offset: int = 0

    def payload(self, padding=4):
        return struct.pack("<QQHH", self.size, self.offset, self.queues,
                           self.queue_size) + bytes(padding)

    def read(self):
        return os.pread(self.fd, self.size, self.offset)

    def close(self):
        os.close(self.fd)


class Queue:
    """A started queue of a Front: its ring and its three eventfds."""

    def __init__(self, memory, index, size, event_idx, packed=False):
        self.index = index
        self.ring = (PackedRing if packed else SplitRing)(memory, size, event_idx=event_idx)
        self.kick_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.call_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.err_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.done = {}

    def close(self):
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            os.close(fd)

    def kick(self, force=False):
        """Tell the device if it wants to know; return whether it did."""
        wanted = self.ring.needs_kick()
        if wanted or force:
            os.eventfd_write(self.kick_fd, 1)
        return wanted

    def wait(self, heads, timeout=PATIENCE):
        """Wait until all these chains are used; their used elements, in the order asked for."""
        end = time.monotonic() + timeout
        while not all(head in self.done for head in heads):
            try:
                found = self.next_used(end - time.monotonic())
            except Timeout:
                raise Timeout(f"queue {self.index}: chains {heads} are not used") from None
            for element in found:
                self.done[element.id] = element
        return [self.done.pop(head) for head in heads]

    def next_used(self, timeout=PATIENCE):
        """The used elements that are new, at least one. For who does not wait() on this queue."""
        end = time.monotonic() + timeout
        while True:
            found = self.ring.take_used()
            if found:
                return found
            self.wait_call(end - time.monotonic())

    def drain_calls(self):
        """As an interrupt handler does."""
        return signalled(self.call_fd)

    def wait_call(self, timeout=PATIENCE):
        """Sleep until a call came, or a moment: between a look and the re-arming of the call the
        device may have finished."""
        if timeout <= 0:
            raise Timeout(f"queue {self.index}: nothing new is used")
        ready(self.call_fd, min(timeout, 0.5))
        signalled(self.call_fd)


def ready(fd, timeout):
    """Whether there is something to read, at once or in a while. Descriptors may be many."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def signalled(fd):
    """Whether an eventfd was written since the last look."""
    try:
        return os.eventfd_read(fd) > 0
    except BlockingIOError:
        return False


class Front(VhostUser):
    """A front-end that negotiates like QEMU and drives its queues. `features` and `protocol` are
    masks of what to accept of the offer; status=True speaks SET_STATUS, as DPDK's virtio-user does;
    inflight=True has a region for what is in flight, which reconnect() hands over; packed rings are
    taken with packed=True alone.
    """

    def __init__(self, path, *, queues=1, size=128, memory=None, features=~0, protocol=~0,
                 status=False, start=True, inflight=False, packed=False, timeout=PATIENCE):
        super().__init__(path, timeout=timeout)
        self.region, self._inflight = None, inflight
        if not packed:
            features &= ~F_PACKED
        self.memory = memory or Memory()
        self.num_queues, self.size = queues, size
        self.queues = []
        self.features = self.protocol = 0
        self._status = status
        self.negotiate(features, protocol)
        if start:
            self.start()

    def reconnect(self, path):
        """The back-end died: go on with another one, as QEMU does. Nobody is left to ask: its base
        is a split ring's used index, and where a packed ring began."""
        super().close()
        VhostUser.__init__(self, path, timeout=self.timeout)
        self.negotiate(self.features, self.protocol)
        self.set_up()
        for index, queue in enumerate(self.queues):
            packed = self.features & F_PACKED
            self.start_queue(index, PACKED_START if packed else queue.ring.used_idx())

    def close(self):
        super().close()
        for queue in self.queues:
            queue.close()
        if self.region:
            self.region.close()
            self.region = None
        self.queues = []
        self.memory.close()

    def negotiate(self, features, protocol):
        """Owner, protocol features, features."""
        offered = self.get_features()
        if offered & F_PROTOCOL:
            known = sum(1 << bit for bit in Proto)
            wanted = self.get_protocol_features() & protocol & known
            if not self._status:
                wanted &= ~(1 << Proto.STATUS)
            self.protocol = wanted
            self.set_protocol_features(wanted)
            self.reply_ack = bool(wanted & 1 << Proto.REPLY_ACK)
        self.set_owner()
        if self._status:
            self.set_status(0)
            self.set_status(ACKNOWLEDGE)
            self.set_status(ACKNOWLEDGE | DRIVER)
        self.features = offered & features
        self.set_features(self.features)
        if self._status:
            self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)

    def set_up(self):
        """Hand over memory, and the region for what is in flight."""
        if self._inflight and not self.region:
            self.region = self.get_inflight_fd(self.num_queues, self.size)
        if self.region:
            self.set_inflight_fd(self.region)
        self.set_mem_table(self.memory)

    def start(self, base=None):
        """Hand over memory and start every queue."""
        self.set_up()
        for index in range(self.num_queues):
            if index == len(self.queues):
                self.queues.append(Queue(self.memory, index, self.size,
                                         bool(self.features & F_EVENT_IDX),
                                         bool(self.features & F_PACKED)))
            self.start_queue(index, base)
        if self._status:
            self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def start_queue(self, index, base=None):
        """Where the ring stands, or where `base` says."""
        queue = self.queues[index]
        ring = queue.ring
        user = self.memory.regions[0].user - self.memory.regions[0].gpa
        self.set_vring_num(index, ring.size)
        self.set_vring_base(index, ring.base() if base is None else base)
        self.set_vring_addr(index, ring.desc + user, ring.used_ring + user, ring.avail + user)
        self.set_vring_err(index, queue.err_fd)
        self.set_vring_call(index, queue.call_fd)
        self.set_vring_kick(index, queue.kick_fd)
        # With this bit negotiated rings start disabled.
        if self.features & F_PROTOCOL:
            self.set_vring_enable(index, 1)

    def request(self, index, buffers, *, indirect=False, timeout=PATIENCE):
        """One chain there and back; the used element."""
        queue = self.queues[index]
        head = queue.ring.add(buffers, indirect=indirect)
        queue.kick()
        return queue.wait([head], timeout)[0]
