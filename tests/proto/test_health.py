# SPDX-License-Identifier: BSD-3-Clause
"""query-virtqueue-health on devices of ours: each verdict, its cause produced by a driver, a
signal or the wire."""
import os
import socket
import struct
import threading

import pytest

from lib.health import fast, health, heard, verdict
from lib.look import take_calls
from lib.process import wait_until
from lib.ringside import serve
from lib.slow_disk import slow_disk
from lib.tracer import GETRANDOM, Tracer
from lib.vhost_user import (ACKNOWLEDGE, DRIVER, F_EVENT_IDX, F_PACKED, FAILED, FEATURES_OK, Front,
                            Proto, Req, VhostUser)
from lib.virtio import BLK_T_IN, BLK_T_OUT, Blk, Console

DISK = "virtio-blk,id=disk0,size=1M"
RINGS = [("split", False, ~F_EVENT_IDX), ("split-event", False, ~0), ("packed", True, ~F_EVENT_IDX),
         ("packed-event", True, ~0)]


@pytest.fixture(params=RINGS, ids=[r[0] for r in RINGS])
def pair(request, tmp_path):
    """A disk of ours, its driver, a monitor."""
    _, packed, features = request.param
    with serve(tmp_path, DISK + (",packed=on" if packed else "")) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0"), packed=packed, features=features) as front:
            yield host, front, qmp


def read_quietly(front, queue=0):
    """A read that the device may see; its chain, nobody is kicked."""
    memory = front.memory
    head = memory.put(struct.pack("<IIQ", BLK_T_IN, 0, 0))
    return front.queues[queue].ring.add([(head, 16, False), (memory.alloc(512), 512, True),
                                         (memory.put(b"\xff"), 1, True)])


def test_kick_lost(pair):
    _, front, qmp = pair
    Blk(front).read(0, 512)
    take_calls(qmp, front, "disk0")
    heard(qmp, "disk0")
    verdict(qmp, "disk0", 0, "idle", "ok")
    chain = read_quietly(front)
    found = verdict(qmp, "disk0", 0, "kick-lost", "stuck")
    assert found["evidence"]["waiting"] > 0 and found["evidence"]["kicks-wanted"]
    assert qmp.event("VIRTQUEUE_STALLED")["data"]["verdict"] == "kick-lost"
    qmp.command("virtqueue-kick", path=found["path"], queue=0)
    front.queues[0].wait([chain])
    take_calls(qmp, front, "disk0")
    assert qmp.event("VIRTQUEUE_RECOVERED")["data"]["queue"] == 0
    verdict(qmp, "disk0", 0, "idle", "ok")


def test_kick_suppressed(pair):
    """Who restores a ring's memory may bring back an event index that was passed."""
    _, front, qmp = pair
    Blk(front).read(0, 512)
    take_calls(qmp, front, "disk0")
    heard(qmp, "disk0")
    ring, memory = front.queues[0].ring, front.memory
    if front.features & F_PACKED:
        memory.write(ring.used_ring, struct.pack("<HH", 0, 1))
    elif front.features & F_EVENT_IDX:
        memory.set_le(ring.used_ring + 4 + 8 * ring.size, 2, 0xfff0)
    else:
        memory.set_le(ring.used_ring, 2, 1)
    chain = read_quietly(front)
    assert not front.queues[0].kick(), "a driver would have kicked"
    found = verdict(qmp, "disk0", 0, "kick-suppressed", "stuck")
    assert "virtqueue-kick" in found["advice"] and not found["evidence"]["kicks-wanted"]
    qmp.command("virtqueue-kick", path=found["path"], queue=0)
    front.queues[0].wait([chain])


def test_call_unread(pair):
    """Nobody takes the interrupt. Without EVENT_IDX the driver may have looked all the same."""
    _, front, qmp = pair
    read_quietly(front)
    front.queues[0].kick()
    stuck = "stuck" if front.features & F_EVENT_IDX and not front.features & F_PACKED else None
    found = verdict(qmp, "disk0", 0, "call-unread", stuck)
    assert found["evidence"]["calls-unread"] >= 1
    front.queues[0].drain_calls()
    front.queues[0].ring.take_used()
    verdict(qmp, "disk0", 0, "idle", "ok")


def test_completion_unseen(tmp_path):
    """The interrupt was taken and the driver did not look: it got lost on its way, or not."""
    with serve(tmp_path, DISK) as host, host.qmp() as qmp, Front(host.socket("disk0")) as front:
        fast(qmp)
        Blk(front).read(0, 512)
        queue = front.queues[0]
        read_quietly(front)
        queue.kick()
        wait_until(lambda: queue.ring.used_idx() == 2, "the answer")
        wait_until(lambda: not queue.drain_calls() and
                   health(qmp, "disk0", 0)["evidence"]["calls-unread"] == 0, "the call")
        found = verdict(qmp, "disk0", 0, "completion-unseen", "note")
        assert found["evidence"]["unseen"] == 1
        # By hand, once more; now it looks.
        qmp.command("virtqueue-call", path=found["path"], queue=0)
        queue.wait_call()
        assert len(queue.ring.take_used()) == 1
        queue.drain_calls()
        verdict(qmp, "disk0", 0, "idle", "ok")


def test_call_lost(tmp_path):
    """The driver's side of the call descriptor is closed."""
    ours, theirs = socket.socketpair()
    with serve(tmp_path, DISK) as host, host.qmp() as qmp, Front(host.socket("disk0")) as front:
        fast(qmp)
        front.set_vring_call(0, theirs.fileno())
        theirs.close()
        ours.close()

        def is_lost():
            """The queue's loop lets go of the old descriptor when it comes to it."""
            read_quietly(front)
            front.queues[0].kick(force=True)
            return health(qmp, "disk0", 0)["evidence"].get("calls-lost")

        wait_until(is_lost, "a call to nobody")
        found = verdict(qmp, "disk0", 0, "call-lost", "stuck")
        assert found["evidence"]["calls-lost"] >= 1


def test_device_broken(pair):
    host, front, qmp = pair
    front.queues[0].ring.spoil()
    front.queues[0].kick(force=True)
    found = verdict(qmp, "disk0", 0, "device-broken", "stuck")
    assert "this queue is why" in found["sentence"]
    event = qmp.event("VIRTIO_DEVICE_BROKEN")["data"]
    assert event["path"] == found["path"] and event["reason"] in found["sentence"]
    host.expected_status = 0


def test_before_a_driver_is_ready(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M,num-queues=2") as host, host.qmp() as qmp:
        fast(qmp)
        verdict(qmp, "disk0", 0, "not-connected", "note")
        with VhostUser(host.socket("disk0")) as peer:
            peer.get_features()
            verdict(qmp, "disk0", 0, "no-driver", "note")
        with Front(host.socket("disk0"), status=True, start=False) as front:
            found = verdict(qmp, "disk0", 0, "driver-not-ready", "note")
            assert "0x0b" in found["sentence"]
            front.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | FAILED)
            verdict(qmp, "disk0", 0, "driver-failed", "stuck")
        with Front(host.socket("disk0"), queues=1) as front:
            verdict(qmp, "disk0", 1, "not-set-up", "ok")
            Blk(front).read(0, 512)
            front.queues[0].drain_calls()
            verdict(qmp, "disk0", 0, "idle", "ok")
            # A guest that unbinds its driver disables the queue and takes the ring's memory back.
            front.set_vring_enable(0, 0)
            front.queues[0].ring.reset()
            assert "was in use" in verdict(qmp, "disk0", 0, "not-enabled", "note")["sentence"]
        wait_until(lambda: health(qmp, "disk0", 0)["verdict"] == "not-connected", "the end")


def test_not_enabled_and_stopped(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M,num-queues=2") as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0"), queues=2) as front:
            front.set_vring_enable(0, 0)
            chain = read_quietly(front)
            found = verdict(qmp, "disk0", 0, "not-enabled", "stuck")
            assert found["evidence"]["waiting"] == 1
            assert "set up, with" in found["sentence"]
            front.set_vring_enable(0, 1)
            front.queues[0].wait([chain])
            wait_until(lambda: health(qmp, "disk0", 0)["severity"] != "stuck", "the enabled ring")
            front.set_vring_enable(0, 0)
            found = verdict(qmp, "disk0", 0, "not-enabled", "note")
            assert "was in use" in found["sentence"] and "unbound" in found["advice"]
            front.set_vring_enable(0, 1)
            assert front.get_vring_base(0) == 1
            verdict(qmp, "disk0", 0, "ring-stopped", "note")
            read_quietly(front)
            found = verdict(qmp, "disk0", 0, "ring-stopped", "stuck")
            assert "GET_VRING_BASE" in found["sentence"]


def test_paused_and_held(tmp_path):
    with serve(tmp_path, DISK) as host, host.qmp() as qmp, Front(host.socket("disk0")) as front:
        fast(qmp)
        qmp.command("stop")
        chain = read_quietly(front)
        front.queues[0].kick()
        found = verdict(qmp, "disk0", 0, "machine-paused", "note")
        assert "waiting: 1 request" in found["sentence"]
        qmp.command("cont")
        front.queues[0].wait([chain])
        path = health(qmp, "disk0", 0)["path"]
        qmp.command("virtqueue-stop", path=path, queue=0)
        chain = read_quietly(front)
        front.queues[0].kick()
        assert "waiting: 1 request" in verdict(qmp, "disk0", 0, "held", "note")["sentence"]
        assert "stopped already" in qmp.error("virtqueue-stop", path=path, queue=0)[1]
        for command in ("virtqueue-kick", "virtqueue-call"):
            assert "does not run" in qmp.error(command, path=path, queue=0)[1]
        qmp.command("virtqueue-resume", path=path, queue=0)
        front.queues[0].wait([chain])
        assert "was not stopped" in qmp.error("virtqueue-resume", path=path, queue=0)[1]
        assert "Invalid virtqueue" in qmp.error("virtqueue-kick", path=path, queue=1)[1]
        for line in (f"virtqueue-stop {{\"path\": \"{path}\", \"queue\": 0}}",
                     f"process {os.getpid()} of user", "queue 0: stopped by hand",
                     "queue 0: let go on by hand"):
            wait_until(lambda line=line: line in host.process.text, line)


def hold_some(front, is_there):
    """Reads until one stays within the slow disk."""
    def more():
        front.queues[0].ring.take_used()
        if len(front.queues[0].ring.free) > 3:
            read_quietly(front)
            front.queues[0].kick()
        return is_there()
    wait_until(more, "a request that stays")


def test_working_and_a_message_that_waits(tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={tmp_path / 'image'},aio=threads",
               env=slow_disk(0, hold)) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0")) as front:
            hold_some(front, lambda: health(qmp, "disk0", 0)["evidence"]["in-flight"] > 3)
            found = verdict(qmp, "disk0", 0, "working", "stuck")
            assert found["evidence"]["oldest-request"].startswith("read 512 bytes at sector 0")
            assert found["evidence"]["oldest-age-ns"] > 300_000_000
            front.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0))
            found = verdict(qmp, "disk0", 0, "message-unanswered", "stuck")
            assert found["evidence"]["message"] == "GET_VRING_BASE"
            assert found["evidence"]["in-flight"] and "read 512 bytes" in found["sentence"]
            hold.unlink()
            front.reply(Req.GET_VRING_BASE)


def test_a_thread_that_is_blocked(tmp_path):
    """The disk blocks the thread that serves it, and with it another disk on the same thread."""
    hold = tmp_path / "hold"
    with serve(tmp_path, DISK, "virtio-blk,id=disk1,size=1M",
               env=slow_disk(0, hold)) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0")) as front, Front(host.socket("disk1")) as other:
            Blk(other).read(0, 512)
            hold.touch()
            try:
                hold_some(front, lambda: health(qmp, "disk0", 0)["verdict"] == "kick-unread")
                found = verdict(qmp, "disk0", 0, "kick-unread", "stuck")
                assert found["evidence"]["thread-id"] > 0
                assert found["evidence"]["oldest-request"].startswith("read 512 bytes")
                chain = read_quietly(other)
                other.queues[0].kick()
                found = verdict(qmp, "disk1", 0, "kick-unread", "stuck")
                assert found["evidence"]["kicks-unread"] == 1
            finally:
                hold.unlink()
            other.queues[0].wait([chain])


@pytest.mark.skipif(GETRANDOM is None, reason="the call's number is not known here")
def test_a_thread_that_stands_inside_a_request(tmp_path):
    """The device asks the kernel for bytes, and the thread does not come back from that."""
    with serve(tmp_path, "virtio-rng,id=rng0") as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("rng0")) as front:
            def ask():
                chain = front.queues[0].ring.add([(front.memory.alloc(64), 64, True)])
                front.queues[0].kick()
                return chain

            front.queues[0].wait([ask()])
            thread = verdict(qmp, "rng0", 0, "idle")["evidence"]["thread-id"]
            with Tracer(thread) as tracer:
                chain = ask()
                tracer.stop_before(GETRANDOM)
                found = verdict(qmp, "rng0", 0, "not-looking", "stuck")
                assert found["evidence"]["waiting"] == 1
                assert f"({thread}) is inside the device" in found["sentence"]
            front.queues[0].wait([chain])
            verdict(qmp, "rng0", 0, "idle")


def test_memory_that_is_gone(tmp_path):
    with serve(tmp_path, DISK) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)
            # The device has looked for the last time.
            heard(qmp, "disk0")
            wait_until(lambda: health(qmp, "disk0", 0)["evidence"]["avail-event"] == 1, "its rest")
            os.ftruncate(front.memory.regions[0].fd, 0)
            verdict(qmp, "disk0", 0, "memory-unreadable", "note")
            os.ftruncate(front.memory.regions[0].fd, 16 << 20)
            # Looking poisoned nothing: with its zeros back the ring is one again.
            wait_until(lambda: health(qmp, "disk0", 0)["verdict"] != "memory-unreadable", "memory")
            assert not qmp.command("x-query-virtio-status",
                                   path=health(qmp, "disk0", 0)["path"])["broken"]


def test_an_index_that_cannot_be(tmp_path):
    with serve(tmp_path, DISK) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)
            # Its kick is no more: the device has gone to sleep.
            heard(qmp, "disk0")
            wait_until(lambda: health(qmp, "disk0", 0)["evidence"]["avail-event"] == 1, "its rest")
            front.queues[0].ring.set_avail_idx(1000)
            found = verdict(qmp, "disk0", 0, "ring-impossible", "stuck")
            assert "1000" in found["sentence"] and "128 entries" in found["sentence"]


def test_a_driver_that_kicks_for_nothing(tmp_path):
    done = threading.Event()
    with serve(tmp_path, DISK) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0")) as front:
            def kick():
                while not done.is_set():
                    os.eventfd_write(front.queues[0].kick_fd, 1)

            thread = threading.Thread(target=kick)
            thread.start()
            try:
                found = verdict(qmp, "disk0", 0, "spinning", "note")
                assert found["evidence"]["empty-runs"] >= 1000
            finally:
                done.set()
                thread.join()
            wait_until(lambda: health(qmp, "disk0", 0)["verdict"] != "spinning", "the end of it")


def test_supplies(tmp_path):
    """A console that nobody types on is healthy, for ever; one without buffers is not."""
    with serve(tmp_path, "virtio-serial,id=con0") as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("con0"), queues=2) as front:
            Console(front, buffers=0)
            found = verdict(qmp, "con0", 0, "no-buffers", "note")
            assert "0 of " in found["sentence"] and found["role"] == "receiveq(port0)"
            console = Console(front, buffers=4)
            console.write(b"hello")
            verdict(qmp, "con0", 0, "out-of-supplies", "ok")
            verdict(qmp, "con0", 1, "idle", "ok")
            # What a driver that went leaves of its ring: what it had offered is no supply.
            front.queues[0].ring.set_avail_idx(0)
            verdict(qmp, "con0", 0, "no-buffers", "note")
        assert not [e for e in qmp.events if e["event"] == "VIRTQUEUE_STALLED"]


def test_arguments(tmp_path):
    with serve(tmp_path, DISK, "virtio-serial,id=con0") as host, host.qmp() as qmp:
        assert len(health(qmp)) == 3
        assert [h["queue"] for h in health(qmp, "con0")] == [0, 1]
        assert "path" in qmp.error("query-virtqueue-health", queue=0)[1]
        assert "not a realized" in qmp.error("query-virtqueue-health", path="/nope")[1]
        path = "/machine/peripheral/disk0/virtio-backend"
        assert "Invalid virtqueue" in qmp.error("query-virtqueue-health", path=path, queue=1)[1]
        assert qmp.command("query-virtqueue-watch") == {"threshold-ms": 2000, "watching": True}
        qmp.command("virtqueue-set-stall-threshold", threshold_ms=0)
        assert qmp.command("query-virtqueue-watch") == {"threshold-ms": 0, "watching": False}
    with serve(tmp_path, DISK, arguments=["--stall-ms", "700"]) as host, host.qmp() as qmp:
        assert qmp.command("query-virtqueue-watch") == {"threshold-ms": 700, "watching": True}


def test_nobody_is_accused_without_a_watch(tmp_path):
    """With the threshold 0 nothing counts as stuck, for nobody knows how long it has been so."""
    with serve(tmp_path, DISK, arguments=["--stall-ms", "0"]) as host, host.qmp() as qmp:
        with Front(host.socket("disk0")) as front:
            read_quietly(front)
            assert health(qmp, "disk0", 0)["severity"] != "stuck"
            assert "still-ns" not in health(qmp, "disk0", 0)["evidence"]


def test_looking_touches_nothing(pair):
    """A thousand looks, at a queue with a request that waits: not a byte of memory, no signal."""
    _, front, qmp = pair
    Blk(front).read(0, 512)
    take_calls(qmp, front, "disk0")
    heard(qmp, "disk0")
    read_quietly(front)
    verdict(qmp, "disk0", 0, "kick-lost")
    before = bytes(front.memory.regions[0].map)
    for _ in range(1000):
        health(qmp, "disk0", 0)
    assert bytes(front.memory.regions[0].map) == before
    assert not front.queues[0].drain_calls() and front.silent()
    assert health(qmp, "disk0", 0)["verdict"] == "kick-lost"
