# SPDX-License-Identifier: BSD-3-Clause
"""A back-end that lies, behind `ringside relay`: the front-end gets what it said, byte for byte,
the findings say what is wrong with it, and the relay serves the next question, or front-end."""
import contextlib
import os
import random
import socket
import struct

import pytest

from lib.fake_backend import FakeBackend
from lib.process import wait_until
from lib.relay import R0, relay, remarkable, transcript
from lib.vhost_user import HEADER, NEED_REPLY, REPLY, VERSION, BackendReq, Proto, Req, VhostUser

PROTOCOL = (FakeBackend.protocol | 1 << Proto.INFLIGHT_SHMFD | 1 << Proto.BACKEND_REQ |
            1 << Proto.CONFIGURE_MEM_SLOTS)


class Liar(FakeBackend):
    """A good one, until it is asked what it has a `lie` for: a function, which it calls instead.
    One visitor after the other."""

    protocol = PROTOCOL

    def __init__(self):
        super().__init__()
        self.lies, self.visits, self.channel = {}, 0, None

    def main(self):
        while self.listener.fileno() >= 0:
            self.visits += 1
            super().main()

    def message(self, request, flags, payload, fds):
        if request in self.lies:
            self.lies.pop(request)(self.peer)
        elif request == Req.SET_BACKEND_REQ_FD:
            self.channel = VhostUser(sock=socket.socket(fileno=fds[0]))
        else:
            super().message(request, flags, payload, fds)


@pytest.fixture
def back():
    with Liar() as made:
        yield made


@pytest.fixture
def host(tmp_path, back):
    with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.path) as running:
        yield running


def greet(host):
    front = VhostUser(host.socket("r0"))
    offered = front.get_features()
    front.set_protocol_features(front.get_protocol_features(), ack=False)
    front.set_features(offered, ack=False)
    front.sync()
    return front


def reply(request, payload, *, flags=VERSION | REPLY):
    return HEADER.pack(request, flags, len(payload)) + payload


def findings(host, **how):
    with host.qmp() as qmp:
        return {f["rule"] for f in qmp.command("query-vhost-user-findings", path=R0, **how)}


# What is asked, and with which payload and flags; what is said instead, with how many descriptors;
# the rules that find something.
F, WORD, STATE = Req.GET_FEATURES, bytes(8), struct.pack("<II", 0, 0)
ASK = VERSION | NEED_REPLY
LIES = [
    ("no bytes", (F, b"", VERSION), reply(F, b""), 0, {"reply-short"}),
    ("7 bytes", (F, b"", VERSION), reply(F, b"7 bytes"), 0, {"reply-short"}),
    ("9 bytes", (F, b"", VERSION), reply(F, b"9 bytes.."), 0, {"reply-long", "offer-changed"}),
    ("64 KiB", (Req.GET_STATUS, b"", VERSION), reply(Req.GET_STATUS, bytes(65536)), 0,
     {"reply-long"}),
    ("a short base", (Req.GET_VRING_BASE, STATE, VERSION), reply(Req.GET_VRING_BASE, b"\xff" * 4),
     0, {"reply-short"}),
    ("a ring that nobody asked for", (Req.GET_VRING_BASE, STATE, VERSION),
     reply(Req.GET_VRING_BASE, b"\xff" * 8), 0, set()),
    ("a number of queues in 2 bytes", (Req.GET_QUEUE_NUM, b"", VERSION),
     reply(Req.GET_QUEUE_NUM, b"\1\0"), 0, {"reply-short"}),
    ("slots beyond count", (Req.GET_MAX_MEM_SLOTS, b"", VERSION),
     reply(Req.GET_MAX_MEM_SLOTS, b"\xff" * 8), 0, set()),
    ("a configuration too long", (Req.GET_CONFIG, struct.pack("<III", 0, 8, 0) + WORD, VERSION),
     reply(Req.GET_CONFIG, struct.pack("<III", 0, 300, 0) + bytes(300)), 0, {"reply-long"}),
    ("no configuration", (Req.GET_CONFIG, struct.pack("<III", 0, 8, 0) + WORD, VERSION),
     reply(Req.GET_CONFIG, b""), 0, {"config-refused"}),
    ("a region without its descriptor", (Req.GET_INFLIGHT_FD, bytes(24), VERSION),
     reply(Req.GET_INFLIGHT_FD, struct.pack("<QQHHI", 4096, 0, 1, 128, 0)), 0, {"inflight-none"}),
    ("a region with four", (Req.GET_INFLIGHT_FD, bytes(24), VERSION),
     reply(Req.GET_INFLIGHT_FD, struct.pack("<QQHHI", 1 << 63, 1 << 63, 65535, 65535, 0)), 4,
     {"reply-descriptors"}),
    ("another's answer", (F, b"", VERSION), reply(Req.GET_QUEUE_NUM, WORD), 0, {"reply-unasked"}),
    ("nobody's answer", (F, b"", VERSION), reply(4711, b"?"), 0, {"reply-unasked"}),
    ("no answer, by its flags", (Req.GET_STATUS, b"", VERSION),
     HEADER.pack(Req.GET_STATUS, VERSION, 8) + WORD, 0, {"malformed"}),
    ("a version to come", (Req.GET_STATUS, b"", VERSION),
     reply(Req.GET_STATUS, WORD, flags=2 | REPLY), 0, {"malformed"}),
    ("all flags", (Req.GET_STATUS, b"", VERSION),
     reply(Req.GET_STATUS, WORD, flags=0xffffffff), 0, {"malformed"}),
    ("descriptors", (Req.GET_STATUS, b"", VERSION), reply(Req.GET_STATUS, WORD), 5,
     {"reply-descriptors"}),
    ("twice", (Req.GET_STATUS, b"", VERSION), reply(Req.GET_STATUS, WORD) * 2, 0,
     {"reply-unasked"}),
    ("not asked for it", (Req.SET_OWNER, b"", VERSION), reply(Req.SET_OWNER, WORD), 0,
     {"reply-unasked"}),
    ("refused", (Req.SET_VRING_NUM, STATE[:4] + b"\x80\0\0\0", ASK),
     reply(Req.SET_VRING_NUM, b"\xff" * 8), 0, {"refused"}),
    ("acknowledged in 4 bytes", (Req.SET_OWNER, b"", ASK), reply(Req.SET_OWNER, bytes(4)), 0,
     {"reply-short"}),
    ("acknowledged with descriptors", (Req.SET_OWNER, b"", ASK), reply(Req.SET_OWNER, WORD), 3,
     {"reply-descriptors"}),
    ("broken", (Req.GET_STATUS, b"", VERSION), reply(Req.GET_STATUS, b"\xff" * 8), 0,
     {"needs-reset"}),
]


def same_files(ours, theirs):
    return [os.fstat(fd).st_ino for fd in ours] == [os.fstat(fd).st_ino for fd in theirs]


@pytest.mark.parametrize("name, asked, said, num_fds, rules", LIES, ids=[lie[0] for lie in LIES])
def test_what_it_says_passes_and_is_found(host, back, name, asked, said, num_fds, rules):
    request, payload, flags = asked
    fds = [os.memfd_create(name) for _ in range(num_fds)]
    with greet(host) as front:
        assert findings(host) == set()
        back.lies[request] = lambda peer: peer.send_raw(said, fds)
        front.send(request, payload, flags=flags)
        received = []
        assert front.recv_exact(len(said), received) == said
        assert same_files(fds, received)
        assert findings(host, **{"unanswered-ms": 10**6}) == rules
        # Whoever goes on is answered, on this connection and on the next.
        assert front.get_protocol_features() == PROTOCOL
        assert front.silent()
    for fd in fds + received:
        os.close(fd)
    with greet(host) as front:
        assert front.get_protocol_features() == PROTOCOL


@pytest.mark.parametrize("asked", [(F, b"", VERSION), (Req.SET_OWNER, b"", ASK)],
                         ids=["a question", "an acknowledgement"])
def test_it_never_answers(host, back, asked):
    request, payload, flags = asked
    with greet(host) as front:
        back.lies[request] = lambda peer: None
        front.send(request, payload, flags=flags)
        wait_until(lambda: not back.lies, "the question")
        assert findings(host, **{"unanswered-ms": 10**6}) == set()
        assert findings(host, **{"unanswered-ms": 0}) == {"unanswered"}
        assert front.silent()
        # What is asked next overtakes it.
        assert front.get_protocol_features() == PROTOCOL
        assert findings(host, **{"unanswered-ms": 0}) == {"unanswered", "reply-out-of-order"}
    with greet(host):
        assert "reply-missing" in findings(host)


# What it does in the place of an answer; what the log says.
WHOLE = reply(F, WORD)
ENDS = [
    ("hangs up", b"", 0, True, None),
    ("half a header", WHOLE[:6], 0, True, b"hung up within a message"),
    ("a header alone", WHOLE[:12], 0, True, b"hung up within a message"),
    ("half a payload", WHOLE[:-1], 0, True, b"hung up within a message"),
    ("half, with a descriptor", WHOLE[:-1], 1, True, b"hung up within a message"),
    ("4 GiB", HEADER.pack(F, VERSION | REPLY, 0xffffffff), 0, False, b"at most 65536 can pass"),
    ("65537 bytes", HEADER.pack(F, VERSION | REPLY, 65537), 0, False, b"at most 65536 can pass"),
    ("33 descriptors", WHOLE, 33, False, b"more than 32 descriptors"),
]


def ending(said, num_fds, hangs_up):
    def lie(peer):
        fds = [os.memfd_create("surplus") for _ in range(num_fds)]
        if said:
            peer.send_raw(said, fds)
        for fd in fds:
            os.close(fd)
        if hangs_up:
            peer.close()
    return lie


@pytest.mark.parametrize("name, said, num_fds, hangs_up, sentence", ENDS, ids=[e[0] for e in ENDS])
def test_its_end_is_the_front_ends(host, back, name, said, num_fds, hangs_up, sentence):
    with greet(host) as front:
        back.lies[F] = ending(said, num_fds, hangs_up)
        front.send(F)
        assert front.closed()
    if sentence:
        host.process.expect(b"r0: the back-end on .* is hung up on: .*" + sentence)
    wait_until(lambda: findings(host) == {"reply-missing"}, "the end")
    with greet(host) as front:
        assert front.get_protocol_features() == PROTOCOL


@pytest.mark.parametrize("name, said, num_fds, hangs_up, sentence", ENDS, ids=[e[0] for e in ENDS])
def test_another_answers_for_it(tmp_path, back, name, said, num_fds, hangs_up, sentence):
    """reconnect=on: the front-end is told nothing of it."""
    with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on", connect=back.path) as host, \
            greet(host) as front:
        back.lies[Req.GET_QUEUE_NUM] = ending(said, num_fds, hangs_up)
        assert front.get_queue_num() == 1
        assert back.visits == 2
        assert front.get_protocol_features() == PROTOCOL
        assert front.silent()


# --- its own channel ---

CHANGED = BackendReq.CONFIG_CHANGE_MSG
GARBAGE = [
    ("nobody knows it", HEADER.pack(4711, VERSION, 3) + b"???", 2, {"unknown-request"}),
    ("number 0", HEADER.pack(0, VERSION, 0), 0, {"unknown-request"}),
    ("an answer to nothing", HEADER.pack(CHANGED, VERSION | REPLY, 8) + WORD, 0, {"malformed"}),
    ("all flags", HEADER.pack(CHANGED, 0xffffffff, 0), 0, {"malformed"}),
    ("no version", HEADER.pack(CHANGED, 0, 0), 0, {"malformed"}),
    ("64 KiB", HEADER.pack(4712, VERSION, 65536) + b"x" * 65536, 0, {"unknown-request"}),
]


@contextlib.contextmanager
def with_channel(host, back):
    """(front-end, its end of the channel)."""
    ours, theirs = socket.socketpair()
    with greet(host) as front, VhostUser(sock=ours) as channel:
        with theirs:
            front.send(Req.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        front.sync()
        yield front, channel
    back.channel.close()


@pytest.mark.parametrize("name, said, num_fds, rules", GARBAGE, ids=[g[0] for g in GARBAGE])
def test_garbage_on_its_channel(host, back, name, said, num_fds, rules):
    fds = [os.memfd_create(name) for _ in range(num_fds)]
    with with_channel(host, back) as (front, channel):
        received = []
        back.channel.send_raw(said, fds)
        assert channel.recv_exact(len(said), received) == said
        assert same_files(fds, received)
        assert findings(host, **{"unanswered-ms": 10**6}) == rules
        # What is good passes as before.
        back.channel.send(CHANGED)
        assert channel.recv()[:3] == (CHANGED, VERSION, b"")
        assert front.get_protocol_features() == PROTOCOL
    for fd in fds + received:
        os.close(fd)


CHANNEL_ENDS = [
    ("half a header", HEADER.pack(CHANGED, VERSION, 0)[:5], 0, True, b"hung up within a message"),
    ("half a payload", HEADER.pack(CHANGED, VERSION, 9) + b"half", 1, True,
     b"hung up within a message"),
    ("4 GiB", HEADER.pack(CHANGED, VERSION, 0xffffffff), 0, False, b"at most 65536 can pass"),
    ("33 descriptors", HEADER.pack(CHANGED, VERSION, 0), 33, False, b"more than 32 descriptors"),
    ("noise", random.Random(8).randbytes(4096), 0, False, b"at most 65536 can pass"),
]


@pytest.mark.parametrize("name, said, num_fds, hangs_up, sentence", CHANNEL_ENDS,
                         ids=[e[0] for e in CHANNEL_ENDS])
def test_its_channel_ends_and_the_connection_does_not(host, back, name, said, num_fds, hangs_up,
                                                      sentence):
    with with_channel(host, back) as (front, channel):
        ending(said, num_fds, hangs_up)(back.channel)
        assert channel.closed()
        host.process.expect(b"the back-end's channel is closed: the back-end: .*" + sentence)
        assert front.get_protocol_features() == PROTOCOL
        with host.qmp() as qmp:
            assert remarkable(qmp) == {}
            assert {m["channel"] for m in transcript(qmp)} == {"main"}
        assert front.silent()
