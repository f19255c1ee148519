# SPDX-License-Identifier: BSD-3-Clause
"""`ringside relay` with both ends in our hands: every byte and every descriptor passes, whatever
the ends do."""
import os
import random
import select
import socket
import struct

import pytest

from lib.look import queue_of, status_of
from lib.process import PATIENCE, wait_until
from lib.relay import R0, Ends, Listener, relay, transcript
from lib.vhost_user import HEADER, NEED_REPLY, REPLY, VERSION, Req, VhostUser


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def host(tmp_path, listener):
    with relay(tmp_path, "id=r0,type=virtio-blk", connect=listener.path) as running:
        yield running


def same_file(a, b):
    """Not only the same inode: eventfds share one."""
    one, other = os.fstat(a), os.fstat(b)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


# --- transparency ---

# Payload sizes at every edge, requests that exist and that do not, flags that nobody has defined.
MESSAGES = [
    (Req.GET_FEATURES, VERSION, b"", 0),
    (Req.SET_FEATURES, VERSION | NEED_REPLY, struct.pack("<Q", (1 << 64) - 1), 0),
    (Req.SET_VRING_NUM, VERSION, b"", 0),
    (Req.SET_VRING_NUM, VERSION, struct.pack("<II", 1 << 31, 7), 0),
    (Req.SET_VRING_KICK, VERSION, struct.pack("<Q", 0xffff), 0),
    (Req.SET_VRING_CALL, VERSION, struct.pack("<Q", 255), 1),
    (Req.SET_MEM_TABLE, VERSION, struct.pack("<II", 900, 0), 8),
    (Req.SET_CONFIG, VERSION, b"\xff" * 12, 0),
    (0, VERSION, b"", 0),
    (99, VERSION, b"x", 0),
    (1000, 0xffffffff, bytes(range(256)) * 16, 3),
    (0xffffffff, 0, b"q" * 4096, 8),
    (77, VERSION | REPLY, b"z" * 4097, 0),
    (78, VERSION, b"y" * 65536, 32),
]


def pass_one(sender, receiver, request, flags, payload, fds):
    sender.send(request, payload, fds, flags=flags)
    got = receiver.recv()
    assert got[:3] == (request, flags, payload)
    assert len(got[3]) == len(fds)
    for ours, theirs in zip(fds, got[3]):
        assert same_file(ours, theirs)
        os.write(ours, b"once")
        assert os.lseek(theirs, 0, os.SEEK_CUR) >= 4, "one file description"
        os.close(theirs)


def receive_all_fds(monkeypatch):
    monkeypatch.setattr(socket, "CMSG_SPACE", lambda size: 4096)


@pytest.mark.parametrize("both_ways", [False, True], ids=["there", "back"])
def test_every_byte_and_descriptor_passes(host, listener, both_ways, monkeypatch):
    receive_all_fds(monkeypatch)
    with Ends(host, listener) as ends:
        sender, receiver = (ends.back, ends.front) if both_ways else (ends.front, ends.back)
        for number, (request, flags, payload, num_fds) in enumerate(MESSAGES):
            fds = [os.memfd_create(f"{number}-{i}") for i in range(num_fds)]
            pass_one(sender, receiver, request, flags, payload, fds)
            for fd in fds:
                os.close(fd)
        with host.qmp() as qmp:
            seen = transcript(qmp)
            assert [(m["request"], m["flags"], m["size"], m["descriptors"]) for m in seen] == \
                [(request, flags, len(payload), num) for request, flags, payload, num in MESSAGES]
            assert {m["from"] for m in seen} == {"back-end" if both_ways else "front-end"}


@pytest.mark.parametrize("flags", [0, os.O_NONBLOCK], ids=["blocking", "non-blocking"])
def test_descriptors_are_left_as_they_are(host, listener, flags):
    """Kick, call, error and the channel: flags are of the file, which is the ends' own."""
    with Ends(host, listener) as ends:
        for request in (Req.SET_VRING_KICK, Req.SET_VRING_CALL, Req.SET_VRING_ERR):
            fd = os.eventfd(5, flags)
            ends.front.send(request, struct.pack("<Q", 0), [fd])
            theirs = ends.back.recv()[3][0]
            assert os.get_blocking(fd) == os.get_blocking(theirs) == (not flags)
            assert os.eventfd_read(theirs) == 5, "nobody has read it"
            os.close(theirs)
            os.close(fd)
        ours, channel = socket.socketpair()
        channel.setblocking(not flags)
        ends.front.send(Req.SET_BACKEND_REQ_FD, b"", [channel.fileno()])
        theirs = ends.back.recv()[3][0]
        assert os.get_blocking(theirs) == (not flags)
        os.close(theirs)
        ours.close()
        channel.close()


def test_pieces(host, listener):
    """Byte by byte, and many messages in one piece."""
    with Ends(host, listener) as ends:
        whole = HEADER.pack(50, VERSION, 5) + b"hello"
        for at in range(len(whole)):
            ends.front.send_raw(whole[at:at + 1])
        assert ends.back.recv() == (50, VERSION, b"hello", [])
        ends.back.send_raw(b"".join(HEADER.pack(n, VERSION, 4) + struct.pack("<I", n)
                                    for n in range(500)))
        for n in range(500):
            assert ends.front.recv()[:3] == (n, VERSION, struct.pack("<I", n))


def test_random_conversation(host, listener):
    """Both directions at once, in order each."""
    rng = random.Random(3)
    with Ends(host, listener) as ends:
        for _ in range(300):
            sides = [(ends.front, ends.back), (ends.back, ends.front)]
            rng.shuffle(sides)
            batch = [[(rng.randrange(200), rng.randrange(16), rng.randbytes(rng.randrange(300)))
                      for _ in range(rng.randrange(4))] for _ in sides]
            for (sender, _), messages in zip(sides, batch):
                for request, flags, payload in messages:
                    # The request that hands over a channel wants its descriptor.
                    sender.send(request if request != 21 else 1, payload, flags=flags)
            for (_, receiver), messages in zip(sides, batch):
                for request, flags, payload in messages:
                    assert receiver.recv()[1:3] == (flags, payload)


def test_who_does_not_read_is_not_read_for(host, listener):
    """What waits inside is bounded, and nothing of it is lost; the other direction goes on."""
    payload = b"p" * 60000
    with Ends(host, listener) as ends:
        ends.front.sock.setblocking(False)
        sent, message = 0, HEADER.pack(60, VERSION, len(payload)) + payload
        stream = message * 400
        idle = 0
        while idle < 10:
            try:
                sent += ends.front.sock.send(stream[sent:sent + (1 << 20)])
                idle = 0
            except BlockingIOError:
                idle += 1
                # Another direction passes while this one stands.
                ends.back.send(61, b"meanwhile")
                ends.front.sock.settimeout(10)
                assert ends.front.recv()[2] == b"meanwhile"
                ends.front.sock.setblocking(False)
        assert sent < len(stream) // 2, "bounded"
        num = sent // len(message)
        for _ in range(num):
            assert ends.back.recv()[2] == payload


# --- the back-end's channel ---

def open_channel(ends):
    ours, theirs = socket.socketpair()
    with theirs:
        ends.front.send(Req.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
    request, flags, payload, fds = ends.back.recv()
    assert (request, flags, payload, len(fds)) == (Req.SET_BACKEND_REQ_FD, VERSION, b"", 1)
    return VhostUser(sock=ours), VhostUser(sock=socket.socket(fileno=fds[0]))


def test_channel(host, listener):
    with Ends(host, listener) as ends:
        front, back = open_channel(ends)
        for request, flags, payload, num_fds in MESSAGES[:-1]:
            fds = [os.memfd_create("c") for _ in range(num_fds)]
            pass_one(back, front, request, flags, payload, fds)
            pass_one(front, back, request, flags, payload, fds)
            for fd in fds:
                os.close(fd)
        with host.qmp() as qmp:
            channels = [m["channel"] for m in transcript(qmp)]
            assert channels == ["main"] + ["backend"] * 2 * (len(MESSAGES) - 1)
        # A second one replaces it, and the connection stands.
        again_front, again_back = open_channel(ends)
        assert front.closed() and back.closed()
        again_back.send(2, flags=VERSION | NEED_REPLY)
        assert again_front.recv()[0] == 2
        again_front.send(2, struct.pack("<Q", 0), flags=VERSION | REPLY)
        assert again_back.recv()[2] == bytes(8)
        with host.qmp() as qmp:
            question, answer = transcript(qmp)[-2:]
            assert question["name"] == "BACKEND_CONFIG_CHANGE_MSG"
            assert question["from"] == "back-end" and question["reply"] == answer["serial"]
            assert answer["is-reply"] and answer["answers"] == question["serial"]
        # Its end is not the connection's.
        again_back.close()
        assert again_front.closed()
        ends.front.send(1)
        assert ends.back.recv()[0] == 1
        for peer in (front, back, again_front):
            peer.close()


def test_channel_that_is_no_socket_goes_on_as_it_is(host, listener):
    with Ends(host, listener) as ends:
        fd = os.memfd_create("no socket")
        pass_one(ends.front, ends.back, Req.SET_BACKEND_REQ_FD, VERSION, b"", [fd])
        os.close(fd)


# --- how ends come and go ---

def test_no_back_end(tmp_path):
    """The front-end is hung up on, with a line; the next one may find it there."""
    listener = Listener()
    path = listener.path
    listener.socket.close()
    with relay(tmp_path, "id=r0", connect=path) as host:
        with VhostUser(host.socket("r0")) as front:
            assert front.closed()
        host.process.expect(rb"r0: a front-end on .* is hung up on: .*back.sock")
        path.unlink()
        listener.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.socket.bind(str(path))
        listener.socket.listen(8)
        with Ends(host, listener) as ends:
            ends.front.send(1)
            assert ends.back.recv()[0] == 1
    listener.close()


def test_a_hang_up_closes_the_other_after_the_last_words(host, listener):
    for last_words in range(0, 40, 13):
        for front_goes in (True, False):
            ends = Ends(host, listener)
            goes, stays = (ends.front, ends.back) if front_goes else (ends.back, ends.front)
            for number in range(last_words):
                goes.send(number, b"w" * 3000)
            goes.close()
            for number in range(last_words):
                assert stays.recv()[0] == number
            assert stays.closed()
            stays.close()


@pytest.mark.parametrize("front_goes", [True, False], ids=["front", "back"])
def test_last_words_wait_for_who_reads_late(host, listener, front_goes):
    """As much as fits between the two, and a hang-up; then the other one begins to read."""
    ends = Ends(host, listener)
    goes, stays = (ends.front, ends.back) if front_goes else (ends.back, ends.front)
    goes.sock.setblocking(False)
    message, sent, idle = HEADER.pack(60, VERSION, 4000) + b"w" * 4000, 0, 0
    while idle < 3:
        try:
            assert goes.sock.send(message) == len(message)
            sent, idle = sent + 1, 0
        except BlockingIOError:
            idle += 1
            # The relay has had its turn: it answers a question.
            with host.qmp() as qmp:
                transcript(qmp)
    goes.close()
    for _ in range(sent):
        assert stays.recv()[2] == message[12:]
    assert stays.closed()
    stays.close()


def test_who_never_reads_holds_up_nobody_for_ever(host, listener):
    """Neither the last words of the one that hung up, nor the next front-end."""
    ends = Ends(host, listener)
    ends.front.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            ends.front.sock.send(HEADER.pack(60, VERSION, 4000) + b"w" * 4000)
            with host.qmp() as qmp:
                transcript(qmp, after=1 << 60)
    ends.front.close()
    with Ends(host, listener) as others:
        others.front.send(1)
        assert others.back.recv()[0] == 1
    host.process.expect(b"did not read its last words")
    ends.back.close()


def test_a_second_front_end_is_turned_away(host, listener):
    with Ends(host, listener) as ends:
        with VhostUser(host.socket("r0")) as second:
            assert second.closed()
        host.process.expect(b"turned away")
        ends.front.send(1)
        assert ends.back.recv()[0] == 1
    with Ends(host, listener) as ends:
        ends.front.send(1)
        assert ends.back.recv()[0] == 1


def is_served(host, listener):
    """One comes while the first is there, which goes then."""
    with Ends(host, listener) as first, VhostUser(host.socket("r0")) as second:
        # The second one is looked at meanwhile.
        for _ in range(20):
            first.front.send(1)
            assert first.back.recv()[0] == 1
        second.send(1)
        first.front.close()
        told = select.select([listener.socket, second.sock], [], [], PATIENCE)[0]
        if listener.socket not in told:
            return False
        with listener.accept() as back:
            return back.recv()[0] == 1


def test_a_second_front_end_waits_for_the_first_ones_end(host, listener):
    # On a busy machine the first may take longer than the second one's second.
    assert any(is_served(host, listener) for _ in range(10))


@pytest.mark.parametrize("front_goes", [True, False], ids=["front", "back"])
def test_closing_at_every_byte(host, listener, front_goes):
    whole = HEADER.pack(Req.SET_VRING_NUM, VERSION, 8) + struct.pack("<II", 0, 64)
    before = None
    for at in range(1, len(whole)):
        ends = Ends(host, listener)
        goes, stays = (ends.front, ends.back) if front_goes else (ends.back, ends.front)
        fd = os.eventfd(0)
        goes.send_raw(whole[:at], [fd])
        os.close(fd)
        goes.close()
        assert stays.closed()
        stays.close()
        if before is None:
            wait_until(lambda: status_is_new(host), "the first one's end")
            before = descriptors(host)
    wait_until(lambda: descriptors(host) <= before, "nothing is left open")


def descriptors(host):
    return len(os.listdir(f"/proc/{host.process.pid}/fd"))


def status_is_new(host):
    with host.qmp() as qmp:
        return not status_of(qmp, "r0")["num-vqs"]


HOSTILE = [
    ("a payload too long", HEADER.pack(5, VERSION, 65537), 0, "at most 65536 can pass"),
    ("a payload of 4 GiB", HEADER.pack(5, VERSION, 0xffffffff), 0, "at most 65536 can pass"),
    ("33 descriptors", HEADER.pack(5, VERSION, 0), 33, "more than 32 descriptors"),
    ("253 descriptors", HEADER.pack(5, VERSION, 0), 253, "more than 32 descriptors"),
]


@pytest.mark.parametrize("what, data, num_fds, sentence", HOSTILE, ids=[h[0] for h in HOSTILE])
@pytest.mark.parametrize("front_does", [True, False], ids=["front", "back"])
def test_hostile_end(host, listener, what, data, num_fds, sentence, front_does):
    before = descriptors(host)
    with Ends(host, listener) as ends:
        bad, good = (ends.front, ends.back) if front_does else (ends.back, ends.front)
        fd = os.eventfd(0)
        bad.send_raw(data, [fd] * num_fds)
        os.close(fd)
        assert good.closed() and bad.closed()
        host.process.expect(sentence.encode())
    with Ends(host, listener) as ends:
        ends.front.send(1)
        assert ends.back.recv()[0] == 1
    wait_until(lambda: descriptors(host) <= before + 2, "descriptors are closed")


def test_state_that_makes_no_sense_passes_and_stays_out(host, listener):
    """Well-formed nonsense is shown as it is; what is not well-formed is not concluded from."""
    with Ends(host, listener) as ends, host.qmp() as qmp:
        for request, payload in [
                (Req.SET_VRING_NUM, struct.pack("<II", 0, 0xffffffff)),
                (Req.SET_VRING_NUM, struct.pack("<II", 300, 8)),
                (Req.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, *[(1 << 64) - 1] * 4)),
                (Req.SET_VRING_ENABLE, struct.pack("<II", 0xffffffff, 1)),
                (Req.SET_VRING_BASE, struct.pack("<II", 255, 0xffffffff)),
                (Req.SET_STATUS, struct.pack("<Q", 0xff)),
                (Req.SET_LOG_BASE, b"short")]:
            ends.front.send(request, payload)
            assert ends.back.recv()[2] == payload
        ends.back.send(Req.GET_CONFIG, struct.pack("<III", 0xfffffff0, 256, 0) + bytes(256),
                       flags=VERSION | REPLY)
        ends.back.send(Req.GET_CONFIG, b"x" * 60000, flags=VERSION | REPLY)
        ends.back.send(Req.GET_FEATURES, b"", flags=VERSION | REPLY)
        for _ in range(3):
            ends.front.recv()
        assert status_of(qmp, "r0")["num-vqs"] == 256
        assert queue_of(qmp, "r0")["vring-num"] == 0xffffffff
        qmp.error("x-query-virtio-queue-element", path=R0, queue=0)
        assert transcript(qmp)[6]["malformed"]
        assert not transcript(qmp)[5]["malformed"]
        before = len(transcript(qmp))
        assert ends.front.silent() and ends.back.silent()
        assert len(transcript(qmp)) == before
