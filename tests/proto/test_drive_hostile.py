# SPDX-License-Identifier: BSD-3-Clause
"""`ringside drive` against back-ends that answer what they should not, in messages and in rings: it
ends with a sentence, status 1, and never by a signal."""
import os
import struct

import pytest

from lib.fake_backend import FakeBackend
from lib.ringside import tool
from lib.vhost_user import FEATURES_OK, HEADER, REPLY, VERSION, Req


def drive(backend, *words, status=1):
    text, error = tool("drive", "--connect", backend.path, "--device", "blk", *words,
                       status=status)
    return text + error


def test_a_good_one_is_served():
    with FakeBackend() as backend:
        assert "IOPS=" in drive(backend, "--requests", "100", "--iodepth", "4", status=0)


def u64(value):
    return struct.pack("<Q", value)


# The message, what is answered instead, how the sentence goes.
ANSWERS = (
    (Req.GET_FEATURES, bytes(7), "answered with 7 bytes, expected 8"),
    (Req.GET_FEATURES, bytes(4000), "answered with 4000 bytes, expected 8"),
    (Req.GET_FEATURES, u64(0), "does not offer a device of virtio 1 (VERSION_1"),
    (Req.GET_PROTOCOL_FEATURES, bytes(9), "GET_PROTOCOL_FEATURES: the back-end answered with 9"),
    (Req.GET_QUEUE_NUM, u64(0), "GET_QUEUE_NUM: the back-end says 0, expected 1 to 256"),
    (Req.GET_QUEUE_NUM, u64(1 << 40), "expected 1 to 256"),
    (Req.GET_CONFIG, bytes(12), "GET_CONFIG: the back-end answered with 12 bytes, expected 48"),
    (Req.GET_CONFIG, struct.pack("<III", 4, 36, 0) + bytes(36), "36 bytes at 4, expected 36 at 0"),
    (Req.GET_CONFIG, struct.pack("<III", 0, 400, 0) + bytes(36), "400 bytes at 0, expected 36"),
    (Req.GET_CONFIG, struct.pack("<III", 0, 36, 0) + u64(1 << 63) + bytes(28), "no disk has"),
    (Req.GET_CONFIG, struct.pack("<III", 0, 36, 0) + bytes(36), "the disk has 0 bytes"),
    (Req.SET_MEM_TABLE, u64(22), "SET_MEM_TABLE: the back-end refused it (code 22)"),
    (Req.SET_VRING_KICK, bytes(4), "SET_VRING_KICK: the back-end answered with 4 bytes"),
    (Req.GET_STATUS, u64(1 << 20), "GET_STATUS: the back-end says 0x100000"),
    (Req.GET_STATUS, u64(3), "FEATURES_OK does not stay (status 0x3)"),
    (Req.GET_VRING_BASE, struct.pack("<II", 3, 0), "answered for queue 3, expected 0"),
)


@pytest.mark.parametrize("request_,answer,says", ANSWERS, ids=[a[2] for a in ANSWERS])
def test_answers(request_, answer, says):
    class Liar(FakeBackend):
        def answer(self, request, payload):
            return answer if request == request_ else None
    with Liar() as backend:
        assert says in drive(backend, "--requests", "1")


# Bytes instead of a reply to GET_FEATURES.
RAW = (
    (HEADER.pack(Req.GET_PROTOCOL_FEATURES, VERSION | REPLY, 8) + bytes(8), "with message 15"),
    (HEADER.pack(Req.GET_FEATURES, VERSION, 8) + bytes(8), "flags 0x1, expected message 1"),
    (HEADER.pack(Req.GET_FEATURES, 2 | REPLY, 8) + bytes(8), "flags 0x6"),
    (HEADER.pack(Req.GET_FEATURES, VERSION | REPLY, 0xffffffff), "is no answer: too long"),
    (HEADER.pack(Req.GET_FEATURES, VERSION | REPLY, 4097), "is no answer: too long"),
)


@pytest.mark.parametrize("data,says", RAW, ids=[r[1] for r in RAW])
def test_bytes_that_are_no_reply(data, says):
    class Liar(FakeBackend):
        def answer(self, request, payload):
            if request != Req.GET_FEATURES:
                return None
            self.raw(data)
            return b""
    with Liar() as backend:
        assert says in drive(backend)


GOES = [r for r in Req if r in (Req.SET_OWNER, Req.GET_FEATURES, Req.GET_PROTOCOL_FEATURES,
                                Req.SET_MEM_TABLE, Req.SET_VRING_ADDR, Req.SET_VRING_ENABLE)]


@pytest.mark.parametrize("at", GOES, ids=[r.name for r in GOES])
def test_it_goes_within_the_messages(at):
    class Quitter(FakeBackend):
        def answer(self, request, payload):
            if request == at:
                self.peer.sock.shutdown(2)
                return b""
            return None
    with Quitter() as backend:
        assert "the back-end closed the connection" in drive(backend)


def test_something_that_nobody_asked_for():
    class Talker(FakeBackend):
        def serve(self, ring, head):
            self.reply(Req.GET_FEATURES, bytes(8))
    with Talker() as backend:
        assert "sent something that nobody asked for" in drive(backend)


def test_an_error_descriptor():
    class Broken(FakeBackend):
        def serve(self, ring, head):
            os.write(ring.error, u64(1))
    with Broken() as backend:
        assert "the back-end reports an error of queue 0" in drive(backend)


# What is used instead of the head that came (with 4097 bytes writable behind it).
USED = (
    ((0, 5000), {}, "it wrote 5000 bytes into buffer id 0: expected at most 4097"),
    ((0, 0xffffffff), {}, "it wrote 4294967295 bytes"),
    ((128, 0), {}, "buffer id 128: expected one below 128"),
    ((-1, 0), {}, "buffer id 4294967295"),
    ((77, 0), {}, "buffer id 77, which it does not have"),
    ((0, 0), {"jump": 2}, "used index 2 is 2 ahead of 0: expected at most 1"),
    ((0, 0), {"jump": 0x8000}, "used index 32768"),
)


@pytest.mark.parametrize("entry,how,says", USED, ids=[u[2] for u in USED])
@pytest.mark.parametrize("mode", ("--poll", "--fsync"))
def test_used_entries(entry, how, says, mode):
    class Liar(FakeBackend):
        features = FakeBackend.features | 1 << 9

        def serve(self, ring, head):
            ring.use(*entry, **how)
    words = ("--poll",) if mode == "--poll" else ()
    with Liar() as backend:
        assert says in drive(backend, *words)


@pytest.mark.parametrize("status,says", (
    (1, "a read of 4096 bytes at 0 failed: status 1 (IOERR)"),
    (2, "status 2 (UNSUPP)"), (77, "status 77 (unknown)"), (None, "came back without a status")))
def test_statuses(status, says):
    class Bad(FakeBackend):
        def serve(self, ring, head):
            if status is not None:
                view, at = self.guest(ring.buffers(head)[-1][0])
                view[at] = status
            ring.use(head, 1)
    with Bad() as backend:
        assert says in drive(backend, "--rw", "read")


def test_features_ok_is_asked_for():
    seen = []

    class Watcher(FakeBackend):
        def answer(self, request, payload):
            if request == Req.SET_STATUS:
                seen.append(payload[0])
    with Watcher() as backend:
        drive(backend, "--requests", "1", status=0)
    assert seen == [3, 3 | FEATURES_OK, 3 | FEATURES_OK | 4, 0]


def test_what_never_comes_back():
    class Silent(FakeBackend):
        def serve(self, ring, head):
            pass
    with Silent() as backend:
        said = drive(backend, "--seconds", "0.1", "--iodepth", "3")
    assert "the back-end answered nothing for 10000 ms at the end: 3 requests were outstanding" \
        in said
