# SPDX-License-Identifier: BSD-3-Clause
"""What is remarkable in what two ends said: query-vhost-user-findings and `ringside info findings`.
The rules have a table of their own in tests/unit/test_lint.c; here they meet sockets and memory."""
import os
import struct

import pytest

from lib.memory import Memory
from lib.process import wait_until
from lib.relay import R0, Ends, Listener, relay, stand_in, transcript
from lib.ringside import serve, tool
from lib.vhost_user import REPLY, VERSION, Front, Queue, Req
from lib.virtio import Blk

DISK = "/machine/peripheral/disk0/virtio-backend"


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def host(tmp_path, listener):
    with relay(tmp_path, "id=r0,type=virtio-blk", connect=listener.path) as running:
        yield running


def findings(qmp, path=R0, **how):
    return qmp.command("query-vhost-user-findings", path=path, **how)


def rules(qmp, path=R0, **how):
    return [f["rule"] for f in findings(qmp, path, **how)]


def passed(ends, count):
    """The back-end has read so many messages."""
    for _ in range(count):
        for fd in ends.back.recv()[3]:
            os.close(fd)


def test_unanswered(host, listener):
    """rust-vmm/vhost#217: a migration hangs in SET_LOG_BASE, and only gdb tells."""
    with Ends(host, listener) as ends, host.qmp() as qmp:
        assert findings(qmp) == []
        memory = Memory()
        ends.front.send(Req.SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [memory.regions[0].fd])
        passed(ends, 1)
        assert "unanswered" not in rules(qmp, **{"unanswered-ms": 10**9})
        found = next(f for f in findings(qmp, **{"unanswered-ms": 0})
                     if f["rule"] == "unanswered")
        assert found["severity"] == "error" and found["serials"] == [1]
        assert found["text"].startswith("SET_LOG_BASE (request 6, message 1) is unanswered for ")
        assert found["text"].endswith("REPLY_ACK negotiated: no")
        ends.back.send(Req.SET_LOG_BASE, flags=VERSION | REPLY)
        ends.front.recv()
        assert "unanswered" not in rules(qmp, **{"unanswered-ms": 0})
        memory.close()
        ends.front.send(Req.GET_QUEUE_NUM)
        passed(ends, 1)
    with host.qmp() as qmp:
        wait_until(lambda: "reply-missing" in rules(qmp), "the end of the connection")
        assert "unanswered" not in rules(qmp, **{"unanswered-ms": 0})


def test_a_base_and_what_memory_says(host, listener):
    """rust-vmm/vhost#169: GET_VRING_BASE reset the queue and returned 0."""
    memory = Memory()
    queue = Queue(memory, 0, 8, False)
    ring, user = queue.ring, memory.regions[0].user - memory.regions[0].gpa
    with Ends(host, listener) as ends, host.qmp() as qmp:
        stand_in(ends, memory)
        ends.front.set_vring_num(0, 8)
        ends.front.set_vring_base(0, 0)
        ends.front.set_vring_addr(0, ring.desc + user, ring.used_ring + user, ring.avail + user)
        ends.front.set_vring_kick(0, queue.kick_fd)
        passed(ends, 4)
        assert findings(qmp) == []
        memory.set_le(ring.used_ring + 2, 2, 1234)
        ends.front.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0))
        passed(ends, 1)
        ends.back.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0), flags=VERSION | REPLY)
        ends.front.recv()
        found, = findings(qmp)
        assert (found["rule"], found["severity"], found["queue"]) == \
            ("base-back-to-zero", "error", 0)
        assert "answered with 0" in found["text"] and "at 1234" in found["text"]
        seen = {m["serial"]: m["name"] for m in transcript(qmp)}
        assert [seen[s] for s in found["serials"]] == ["SET_VRING_BASE", "GET_VRING_BASE"]
        # Who goes on at 0 with it serves everything again.
        ends.front.set_vring_base(0, 0)
        ends.front.set_vring_kick(0, queue.kick_fd)
        passed(ends, 2)
        assert rules(qmp) == ["base-back-to-zero", "base-against-memory"]
        assert ends.front.silent() and ends.back.silent()
    queue.close()
    memory.close()


def test_a_finding_stays_when_its_message_has_gone(host, listener):
    with Ends(host, listener) as ends, host.qmp() as qmp:
        ends.front.send(Req.SET_VRING_NUM, b"")
        passed(ends, 1)
        for _ in range(600):
            ends.front.send(Req.SET_OWNER)
            passed(ends, 1)
        assert transcript(qmp)[0]["serial"] > 1
        found, = findings(qmp)
        assert (found["rule"], found["serials"], found["count"]) == ("malformed", [1], 1)


def test_a_clean_connection_has_none(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M,num-queues=2,packed=on") as back:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host:
            with host.qmp() as eyes, back.qmp() as own:
                for packed in (False, True):
                    with Front(host.socket("r0"), queues=2, packed=packed, inflight=True,
                               status=packed) as front:
                        Blk(front).read(0, 512)
                        for index in range(2):
                            base = front.get_vring_base(index)
                            front.start_queue(index, base)
                        Blk(front).read(0, 512)
                        assert rules(eyes, **{"unanswered-ms": 10**6}) == []
                        assert rules(own, DISK, **{"unanswered-ms": 10**6}) == []
                        assert front.silent()


def test_own_drive_has_none(tmp_path):
    """The other front-end of ours, which is written apart."""
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M") as host, host.qmp() as qmp:
        tool("drive", "--connect", str(host.socket("disk0")), "--device", "blk",
             "--requests", "100")
        assert rules(qmp, DISK) == []


def test_text(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M,event_idx=off") as host:
        with Front(host.socket("disk0")) as front:
            text, _ = tool("info", "--qmp", f"unix:{host.qmp_path}", "findings", "disk0")
            assert "nothing remarkable" in text
            front.set_features(front.features | 1 << 29)
            text, _ = tool("info", "--qmp", f"unix:{host.qmp_path}", "findings", "disk0")
    assert "note    acked-unoffered (connection 1, " in text and "VIRTIO_RING_F_EVENT_IDX" in text
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text


def test_what_is_no_vhost_user_device(tmp_path):
    with serve(tmp_path, "virtio-rng,id=rng0") as host, host.qmp() as qmp:
        assert "not a realized" in qmp.error("query-vhost-user-findings", path="/machine")[1]
        assert findings(qmp, "/machine/peripheral/rng0/virtio-backend") == []
