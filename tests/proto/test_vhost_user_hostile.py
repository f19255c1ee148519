# SPDX-License-Identifier: BSD-3-Clause
"""Messages that no front-end should send: the connection closes with one log line, or the message
is refused; nothing leaks, and the other device goes on."""
import os
import re
import socket
import struct

import pytest

from lib.memory import USER_OFFSET, Memory
from lib.process import wait_until
from lib.ringside import serve
from lib.vhost_user import (F_PROTOCOL, F_VERSION_1, NEED_REPLY, VERSION, Front, Proto, Refused,
                            Req, VhostUser)

PAGE = 4096
ALL = 1 << Proto.MQ | 1 << Proto.REPLY_ACK | 1 << Proto.BACKEND_REQ | 1 << Proto.CONFIG | \
    1 << Proto.RESET_DEVICE | 1 << Proto.STATUS | 1 << Proto.LOG_SHMFD | \
    1 << Proto.CONFIGURE_MEM_SLOTS | 1 << Proto.INFLIGHT_SHMFD


DISK = "virtio-blk,id=disk0,size=1M"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("hostile"), DISK, "virtio-rng,id=rng0") as running:
        yield running


@pytest.fixture(scope="module")
def bystander(host):
    """Another device of the same process, at work all the time."""
    with Front(host.socket("rng0")) as front:
        buffer = front.memory.alloc(64)
        yield lambda: front.request(0, [(buffer, 64, True)])


@pytest.fixture(scope="module")
def baseline(host, bystander):
    """Descriptors while nobody is connected to the disk."""
    bystander()
    return num_fds(host)


@pytest.fixture
def quiet(host, bystander, baseline):
    """Afterwards nothing is left open, the bystander is served, and so is the next front-end."""
    yield
    bystander()
    with Front(host.socket("disk0")):
        pass
    wait_until(lambda: num_fds(host) == baseline, f"{baseline} descriptors, as before")


def num_fds(host):
    return len(os.listdir(f"/proc/{host.process.pid}/fd"))


def connect(host, protocol=ALL):
    """A front-end that negotiated, and asks for acknowledgements."""
    peer = VhostUser(host.socket("disk0"))
    peer.get_features()
    peer.set_protocol_features(protocol)
    peer.reply_ack = bool(protocol & 1 << Proto.REPLY_ACK)
    peer.set_owner()
    return peer


def u64(value):
    return struct.pack("<Q", value)


def state(index, num):
    return struct.pack("<II", index, num)


def regions(*rows, count=None):
    return struct.pack("<II", len(rows) if count is None else count, 0) + b"".join(
        struct.pack("<QQQQ", *row) for row in rows)


def config(offset, size, data=b"", flags=0):
    return struct.pack("<III", offset, size, flags) + data


def inflight(num_bytes, offset=0, queues=1, size=1):
    return struct.pack("<QQHHI", num_bytes, offset, queues, size, 0)


# name, request, payload, number of descriptors, header flags, header size
MALFORMED = [
    ("version 0", Req.GET_FEATURES, b"", 0, 0, None),
    ("version 2", Req.GET_FEATURES, b"", 0, 2, None),
    ("a reply", Req.GET_FEATURES, b"", 0, VERSION | 4, None),
    ("flag that does not exist", Req.GET_FEATURES, b"", 0, VERSION | 16, None),
    ("size of 4 GiB", Req.SET_FEATURES, u64(0), 0, VERSION, 0xffffffff),
    ("unknown request, over-long", 99, b"", 0, VERSION, 4097),
    ("unknown request, nobody is told", 99, b"", 0, VERSION, None),
    ("short u64", Req.SET_FEATURES, bytes(4), 0, VERSION, None),
    ("long u64", Req.SET_PROTOCOL_FEATURES, bytes(12), 0, VERSION, None),
    ("payload where none is", Req.SET_OWNER, bytes(8), 0, VERSION, None),
    ("short state", Req.SET_VRING_NUM, bytes(4), 0, VERSION, None),
    ("long state", Req.SET_VRING_ENABLE, bytes(16), 0, VERSION, None),
    ("short address", Req.SET_VRING_ADDR, bytes(32), 0, VERSION, None),
    ("empty table", Req.SET_MEM_TABLE, b"", 0, VERSION, None),
    ("half a region", Req.SET_MEM_TABLE, regions(count=1) + bytes(16), 1, VERSION, None),
    ("9 regions", Req.SET_MEM_TABLE, regions(*[(i << 20, PAGE, i << 20, 0) for i in range(9)]), 8,
     VERSION, None),
    ("9 regions claimed", Req.SET_MEM_TABLE,
     regions(*[(i << 20, PAGE, i << 20, 0) for i in range(8)], count=9), 8, VERSION, None),
    ("2^32-1 regions claimed", Req.SET_MEM_TABLE, regions(count=0xffffffff), 0, VERSION, None),
    ("region without descriptor", Req.SET_MEM_TABLE, regions((0, PAGE, 0, 0)), 0, VERSION, None),
    ("descriptor without region", Req.SET_MEM_TABLE, regions(), 1, VERSION, None),
    ("surplus descriptor", Req.GET_FEATURES, b"", 1, VERSION, None),
    ("8 surplus descriptors", Req.SET_FEATURES, u64(0), 8, VERSION, None),
    ("100 descriptors", Req.SET_FEATURES, u64(0), 100, VERSION, None),
    ("two kick descriptors", Req.SET_VRING_KICK, u64(0), 2, VERSION, None),
    ("kick descriptor missing", Req.SET_VRING_KICK, u64(0), 0, VERSION, None),
    ("call descriptor denied", Req.SET_VRING_CALL, u64(0x100), 1, VERSION, None),
    ("bit 9 of a call", Req.SET_VRING_CALL, u64(0x200), 1, VERSION, None),
    ("no back-end channel", Req.SET_BACKEND_REQ_FD, b"", 0, VERSION, None),
    ("configuration of 257 bytes", Req.GET_CONFIG, config(0, 257), 0, VERSION, None),
    ("configuration of 4 GiB", Req.GET_CONFIG, config(0, 0xffffffff), 0, VERSION, None),
    ("configuration size lies", Req.SET_CONFIG, config(0, 8, b"abcd"), 0, VERSION, None),
    ("in-flight region asked for in short", Req.GET_INFLIGHT_FD, bytes(19), 0, VERSION, None),
    ("in-flight region asked for at length", Req.GET_INFLIGHT_FD, bytes(25), 0, VERSION, None),
    ("in-flight region asked for with one", Req.GET_INFLIGHT_FD, bytes(24), 1, VERSION, None),
    ("in-flight region without its file", Req.SET_INFLIGHT_FD, inflight(64), 0, VERSION, None),
    ("in-flight region with two files", Req.SET_INFLIGHT_FD, inflight(64), 2, VERSION, None),
    ("log without a descriptor", Req.SET_LOG_BASE, bytes(16), 0, VERSION, None),
    ("log with two", Req.SET_LOG_BASE, bytes(16), 2, VERSION, None),
    ("log of a u64", Req.SET_LOG_BASE, bytes(8), 1, VERSION, None),
    ("log of 0 bytes", Req.SET_LOG_BASE, bytes(16), 1, VERSION, None),
    ("two descriptors for the log's signal", Req.SET_LOG_FD, b"", 2, VERSION, None),
    *[(f"{request.name}, whose answer nobody can give", request, bytes(8), 1, VERSION | NEED_REPLY,
       None)
      for request in (Req.CREATE_CRYPTO_SESSION, Req.POSTCOPY_ADVISE, Req.POSTCOPY_END,
                      Req.GET_SHARED_OBJECT, Req.SET_DEVICE_STATE_FD, Req.CHECK_DEVICE_STATE,
                      Req.GET_SHMEM_CONFIG, Req.GET_VRING_BASE_SKIP_DRAIN)],
    # Queue indices, never cut down to fewer bits.
    *[(f"queue {index:#x} in {request.name}", request, state(index, 1), 0, VERSION | NEED_REPLY,
       None)
      for request in (Req.SET_VRING_NUM, Req.SET_VRING_BASE, Req.GET_VRING_BASE,
                      Req.SET_VRING_ENABLE) for index in (1, 0x10000, 0xffffffff)],
    *[(f"queue {index:#x} in SET_VRING_ADDR", Req.SET_VRING_ADDR,
       struct.pack("<IIQQQQ", index, 0, 0, 0, 0, 0), 0, VERSION | NEED_REPLY, None)
      for index in (1, 0x10000, 0xffffffff)],
    *[(f"queue {index:#x} in {request.name}", request, u64(index), 1, VERSION | NEED_REPLY, None)
      for request in (Req.SET_VRING_KICK, Req.SET_VRING_CALL, Req.SET_VRING_ERR)
      for index in (1, 0xff, 0x10000, 1 << 32, 1 << 63)],
]


def complaints(host, start):
    return re.findall(r".*(?:warning|error).*", host.process.text[start:])


@pytest.mark.parametrize("row", MALFORMED, ids=[row[0] for row in MALFORMED])
def test_malformed_closes(host, quiet, row):
    _, request, payload, fds, flags, size = row
    start = len(host.process.text)
    with connect(host) as peer, open("/dev/null") as null:
        peer.send(request, payload, [null.fileno()] * fds, flags=flags, size=size)
        assert peer.closed()
    # So many in a row: the log leaves most of them out.
    assert len(complaints(host, start)) <= 1


def test_one_line_names_device_message_value_and_limit(tmp_path):
    with serve(tmp_path, DISK) as fresh:
        for request, payload, words in (
                (Req.SET_VRING_NUM, state(0x10000, 1), ("SET_VRING_NUM", "65536", "0")),
                (Req.SET_FEATURES, bytes(4), ("SET_FEATURES", "payload size", "4", "8")),
                (Req.GET_CONFIG, config(0, 257), ("GET_CONFIG", "257", "256")),
                (99, b"", ("request 99", "not supported"))):
            start = len(fresh.process.text)
            with connect(fresh) as peer:
                peer.send(request, payload)
                assert peer.closed()
            lines = wait_until(lambda: complaints(fresh, start), "a line")
            assert len(lines) == 1 and all(w in lines[0] for w in ("disk0", *words)), lines


# Asked for an acknowledgement: it is not zero, and the connection stays.
REFUSED = [
    ("unknown request", 99, b"", 0),
    ("unknown request with all it may have", 0xffffffff, bytes(4096), 8),
    ("memory slot of 0 bytes", Req.ADD_MEM_REG, bytes(40), 1),
    ("memory slot that is not there", Req.REM_MEM_REG, bytes(40), 1),
    ("in-band kick", Req.VRING_KICK, state(0, 0), 0),
    ("MTU", Req.NET_SET_MTU, u64(1500), 0),
    ("RARP", Req.SEND_RARP, u64(0), 0),
    ("file for the log's signal", Req.SET_LOG_FD, b"", 1),
    ("IOTLB entry", Req.IOTLB_MSG, bytes(32), 0),
    ("big-endian ring", Req.SET_VRING_ENDIAN, state(0, 1), 0),
    ("end of a crypto session", Req.CLOSE_CRYPTO_SESSION, u64(1), 0),
    ("postcopy", Req.POSTCOPY_LISTEN, b"", 0),
    ("socket for a display", Req.GPU_SET_SOCKET, b"", 1),
    ("no region of 0 bytes", Req.SET_MEM_TABLE, regions((0, 0, 0, 0)), 1),
    ("file shorter than its region", Req.SET_MEM_TABLE, regions((0, 2 * PAGE, 0, 0)), 1),
    ("offset beyond the file", Req.SET_MEM_TABLE, regions((0, PAGE, 0, PAGE)), 1),
    ("offset and size wrap", Req.SET_MEM_TABLE, regions((0, PAGE, 0, 2**64 - PAGE)), 1),
    ("address and size wrap", Req.SET_MEM_TABLE, regions((2**64 - 1, PAGE, 0, 0)), 1),
    ("user address and size wrap", Req.SET_MEM_TABLE, regions((0, PAGE, 2**64 - 1, 0)), 1),
    ("size of all ones", Req.SET_MEM_TABLE, regions((0, 2**64 - 1, 0, 0)), 1),
    ("size of 2^63", Req.SET_MEM_TABLE, regions((0, 2**63, 0, 0)), 1),
    ("same region twice", Req.SET_MEM_TABLE, regions((0, PAGE, 0, 0), (0, PAGE, PAGE, 0)), 2),
    ("overlap by a byte", Req.SET_MEM_TABLE,
     regions((0, PAGE, 0, 0), (PAGE - 1, 1, 1 << 20, 0)), 2),
    ("overlap of user addresses", Req.SET_MEM_TABLE,
     regions((0, PAGE, 0, 0), (1 << 20, PAGE, 1, 0)), 2),
    ("in-flight region of 0 bytes", Req.SET_INFLIGHT_FD, inflight(0), 1),
    ("in-flight region for no queue", Req.SET_INFLIGHT_FD, inflight(PAGE, queues=0), 1),
    ("in-flight region for 2 queues of 1", Req.SET_INFLIGHT_FD, inflight(PAGE, queues=2), 1),
    ("in-flight region for 65535 queues", Req.SET_INFLIGHT_FD, inflight(PAGE, queues=65535), 1),
    ("in-flight region for rings of 0", Req.SET_INFLIGHT_FD, inflight(PAGE, size=0), 1),
    ("in-flight region for rings of 32769", Req.SET_INFLIGHT_FD, inflight(PAGE, size=32769), 1),
    ("in-flight region a byte short", Req.SET_INFLIGHT_FD, inflight(63), 1),
    ("in-flight region short of a ring", Req.SET_INFLIGHT_FD, inflight(PAGE, size=256), 1),
    ("in-flight region beyond its file", Req.SET_INFLIGHT_FD, inflight(PAGE + 1), 1),
    ("in-flight region that begins there", Req.SET_INFLIGHT_FD, inflight(64, PAGE), 1),
    ("in-flight region that wraps", Req.SET_INFLIGHT_FD, inflight(PAGE, 2**64 - PAGE), 1),
    ("in-flight region of all ones", Req.SET_INFLIGHT_FD, inflight(2**64 - 1), 1),
    ("in-flight region of 2^63", Req.SET_INFLIGHT_FD, inflight(2**63), 1),
    ("in-flight region that lies askew", Req.SET_INFLIGHT_FD, inflight(64, 4), 1),
    ("ring of 0", Req.SET_VRING_NUM, state(0, 0), 0),
    ("ring of 3", Req.SET_VRING_NUM, state(0, 3), 0),
    ("ring of 65536", Req.SET_VRING_NUM, state(0, 65536), 0),
    ("ring of 2^31", Req.SET_VRING_NUM, state(0, 1 << 31), 0),
    ("base beyond 16 bits", Req.SET_VRING_BASE, state(0, 0x10000), 0),
    ("enabled twice over", Req.SET_VRING_ENABLE, state(0, 2), 0),
    ("polling for kicks", Req.SET_VRING_KICK, u64(0x100), 0),
    ("status beyond a byte", Req.SET_STATUS, u64(0x100), 0),
    ("configuration written beyond its end", Req.SET_CONFIG, config(240, 16, bytes(16)), 0),
    ("configuration written at 2^32-1", Req.SET_CONFIG, config(0xffffffff, 4, bytes(4)), 0),
    ("configuration of a migration", Req.SET_CONFIG, config(0, 4, bytes(4), flags=1), 0),
    *[(f"a file in {request.name}", request, u64(0), 1)
      for request in (Req.SET_VRING_KICK, Req.SET_VRING_CALL, Req.SET_VRING_ERR)],
    ("no socket for our requests", Req.SET_BACKEND_REQ_FD, b"", 1),
]


@pytest.mark.parametrize("row", REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_done_is_refused(host, quiet, row):
    _, request, payload, fds = row
    memory = os.memfd_create("short")
    os.ftruncate(memory, PAGE)
    try:
        with connect(host) as peer:
            peer.set_features(F_VERSION_1 | F_PROTOCOL)
            with pytest.raises(Refused):
                peer.set(request, payload, [memory] * fds)
            assert peer.get_queue_num() == 1
        # Nobody asked: the front-end must not go on in a belief.
        with connect(host) as peer:
            peer.set(request, payload, [memory] * fds, ack=False)
            assert peer.closed()
        # Asked, but it was not agreed that there are answers.
        with connect(host, ALL & ~(1 << Proto.REPLY_ACK)) as peer:
            peer.send(request, payload, [memory] * fds, flags=VERSION | NEED_REPLY)
            assert peer.closed()
    finally:
        os.close(memory)


NOT_NEGOTIATED = [
    (Proto.CONFIG, Req.SET_CONFIG, config(32, 1, b"\1")),
    (Proto.STATUS, Req.SET_STATUS, u64(1)),
    (Proto.RESET_DEVICE, Req.RESET_DEVICE, b""),
    (Proto.LOG_SHMFD, Req.SET_LOG_FD, b""),
]


@pytest.mark.parametrize("row", NOT_NEGOTIATED, ids=[row[1].name for row in NOT_NEGOTIATED])
def test_what_was_not_negotiated_is_refused(host, quiet, row):
    bit, request, payload = row
    with connect(host) as peer:
        peer.set(request, payload)
        peer.set_protocol_features(ALL & ~(1 << bit))
        with pytest.raises(Refused):
            peer.set(request, payload)


def test_ring_outside_memory(host, quiet):
    """Addresses are kept until the ring is complete; the message that completes it is refused."""
    with Front(host.socket("disk0"), start=False) as front:
        front.set_mem_table(front.memory)
        end = USER_OFFSET + front.memory.regions[0].size
        front.set_vring_num(0, 128)
        for desc, used, avail in ((end - 128 * 16 + 16, 0x8000, 0x4000), (0x1000, end, 0x4000),
                                  (0x1000, 0x8000, 2**64 - 2), (0, 0, 0)):
            front.set_vring_addr(0, desc, used, avail)
            with open(os.eventfd(0), "wb") as kick:
                front.set_vring_kick(0, kick.fileno())
            with pytest.raises(Refused):
                front.set_vring_enable(0, 1)
            front.set_vring_enable(0, 0)
        front.start()
        request(front)


def request(front):
    """Read one sector of a disk."""
    header = front.memory.put(struct.pack("<IIQ", 0, 0, 0))
    data, status = front.memory.alloc(512), front.memory.alloc(1)
    front.memory.write(status, b"\xff")
    front.request(0, [(header, 16, False), (data, 512, True), (status, 1, True)])
    assert front.memory.read(status, 1) == b"\0"


def heap_kib(host):
    with open(f"/proc/{host.process.pid}/status") as status:
        return int(re.search(r"VmData:\s+(\d+)", status.read())[1])


def test_repeats_leave_nothing_behind(host, quiet):
    """A hundred thousand times the messages that leaked elsewhere."""
    sanitized = os.environ.get("RINGSIDE_SANITIZED")
    rounds = 4000 if sanitized else 100000
    memory = Memory([(0, PAGE), (1 << 20, PAGE)])
    fds = [r.fd for r in memory.regions]
    table = regions((0, PAGE, 0, 0), (1 << 20, PAGE, 1 << 20, 0))
    event = os.eventfd(0)
    with connect(host) as peer:
        peer.reply_ack = False
        def some(count):
            for i in range(count):
                peer.set(Req.SET_VRING_NUM, state(0, 1 << i % 16))
                peer.set(Req.SET_MEM_TABLE, table, fds)
                if not i % 10:
                    peer.set_vring_call(0, event)
                    peer.set_vring_kick(0, event)
                    peer.set_vring_err(0, event)
                    peer.set_backend_req_fd()
                    peer.backend.close()
                if not i % 100:
                    peer.sync()
            peer.sync()
        some(1000)
        before = num_fds(host), heap_kib(host)
        some(rounds)
        assert abs(num_fds(host) - before[0]) <= 1
        if not sanitized:
            assert heap_kib(host) <= before[1] + 512
    os.close(event)
    memory.close()


def test_connections_leave_nothing_behind(host, quiet):
    for _ in range(300):
        with VhostUser(host.socket("disk0")) as peer:
            peer.send_raw(b"\1\0\0", [peer.sock.fileno()])
        with Front(host.socket("disk0")) as front:
            request(front)


def test_inflight_regions_leave_nothing_behind(host, quiet):
    with connect(host) as peer:
        def some(count):
            for i in range(count):
                region = peer.get_inflight_fd(1, 1 << i % 8)
                peer.set_inflight_fd(region)
                if i % 3:
                    peer.set_inflight_fd(region)
                region.close()
        some(10)
        before = num_fds(host), heap_kib(host)
        some(2000)
        assert abs(num_fds(host) - before[0]) <= 1
        if not os.environ.get("RINGSIDE_SANITIZED"):
            assert heap_kib(host) <= before[1] + 512


def test_who_does_not_read_its_answers(host, quiet, bystander):
    """Questions without end: they wait, and so does nobody else."""
    with connect(host) as peer:
        peer.sock.setblocking(False)
        question = struct.pack("<III", Req.GET_FEATURES, VERSION, 0)
        sent = 0
        try:
            while sent < 1 << 20:
                sent += peer.sock.send(question * 100)
        except BlockingIOError:
            pass
        for _ in range(10):
            bystander()
        peer.sock.settimeout(peer.timeout)
        # A question may be cut; whole ones are answered, every one.
        for _ in range(sent // len(question)):
            peer.reply(Req.GET_FEATURES)


def test_descriptors_to_nowhere(host, quiet):
    """Descriptors without another end break a queue at most; files are refused (above)."""
    def closed_pipe():
        read, write = os.pipe()
        os.close(read)
        return write

    def closed_socket():
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours.detach()

    for make in (closed_pipe, closed_socket):
        for method in ("set_vring_kick", "set_vring_call", "set_vring_err"):
            with Front(host.socket("disk0"), start=False) as front:
                front.start()
                fd = make()
                try:
                    getattr(front, method)(0, fd)
                finally:
                    os.close(fd)
                if method == "set_vring_kick":
                    continue
                queue = front.queues[0]
                header = front.memory.put(struct.pack("<IIQ", 0, 0, 0))
                queue.ring.add([(header, 16, False), (front.memory.alloc(512), 513, True)])
                queue.kick(force=True)
                wait_until(lambda: list(queue.ring.take_used()), "the answer")
