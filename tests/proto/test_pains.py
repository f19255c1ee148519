# SPDX-License-Identifier: BSD-3-Clause
"""Public cases of people who lost days to a queue that stood still, made again by a peer, a signal
or the wire, each ending with the verdict that would have told them at once. The number in a case's
name is its row in our collection; what happened stands in its first line. """
import contextlib
import os
import socket
import struct
import threading

from lib.fake_backend import FakeBackend
from lib.health import fast, health, heard, verdict
from lib.memory import Memory
from lib.process import frozen, wait_until
from lib.relay import relay
from lib.ringside import Folder, serve
from lib.slow_disk import slow_disk
from lib.vhost_user import (ACKNOWLEDGE, DRIVER, F_EVENT_IDX, NEED_REPLY, VERSION, Front, Proto,
                            Req, VhostUser)
from lib.virtio import BLK_T_IN, Blk, Console

DISK = "virtio-blk,id=disk0,size=1M"


def add_read(front, queue=0):
    """A read that is made available; nobody is kicked."""
    memory = front.memory
    head = memory.put(struct.pack("<IIQ", BLK_T_IN, 0, 0))
    return front.queues[queue].ring.add([(head, 16, False), (memory.alloc(512), 512, True),
                                         (memory.put(b"\xff"), 1, True)])


def done(front, queue=0):
    """All that is answered is taken, interrupts too."""
    front.queues[queue].ring.take_used()
    front.queues[queue].drain_calls()


@contextlib.contextmanager
def disk(tmp_path, device=DISK, **how):
    with serve(tmp_path, device, **how) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0")) as front:
            yield host, qmp, front


@contextlib.contextmanager
def relayed(tmp_path, back, kind="virtio-blk", **how):
    """A relay, its monitor, a driver before it. back: where the back-end listens."""
    with relay(tmp_path, f"id=r0,type={kind}", connect=back) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("r0"), **how) as front:
            yield host, qmp, front


class Holder(FakeBackend):
    """Takes requests and answers none."""

    def serve(self, ring, head):
        pass


class Deaf(FakeBackend):
    """Reads no kick of the rings in `deaf`."""
    deaf = (0,)

    def work(self, ring):
        if self.rings.index(ring) not in self.deaf:
            super().work(ring)


class Blind(FakeBackend):
    """Maps no memory."""
    tables = 0

    def handle(self, request, payload, fds):
        if request == Req.SET_MEM_TABLE:
            self.tables += 1
            return None
        return None if request == Req.SET_VRING_ADDR else super().handle(request, payload, fds)

    def work(self, ring):
        pass


class Silent(FakeBackend):
    """Does not answer the requests in `silent`."""
    protocol = FakeBackend.protocol | 1 << Proto.LOG_SHMFD
    silent = ()

    def answer(self, request, payload):
        return b"" if request in self.silent else None


# --- stuck queues, lost kicks, lost interrupts ---

def test_row_1_stale_avail_event(tmp_path):
    """A restored ring's avail_event looks crossed: the guest never kicks again."""
    with disk(tmp_path) as (_, qmp, front):
        Blk(front).read(0, 512)
        heard(qmp, "disk0")
        done(front)
        ring = front.queues[0].ring
        front.memory.set_le(ring.used_ring + 4 + 8 * ring.size, 2, 0xff00)
        add_read(front)
        assert not front.queues[0].kick(), "the driver sees a reason to kick"
        found = verdict(qmp, "disk0", 0, "kick-suppressed", "stuck")
        assert found["evidence"]["avail-event"] == 0xff00 and "crossed" in found["sentence"]


def test_row_2_the_operator_kicks(tmp_path):
    """The same behind a relay, whose operator sends the missing kick."""
    with serve(tmp_path, DISK) as back, \
            relayed(tmp_path, back.socket("disk0")) as (_, qmp, front):
        Blk(front).read(0, 512)
        heard(qmp, "r0")
        done(front)
        ring = front.queues[0].ring
        front.memory.set_le(ring.used_ring + 4 + 8 * ring.size, 2, 0xff00)
        chain = add_read(front)
        front.queues[0].kick()
        found = verdict(qmp, "r0", 0, "kick-suppressed", "stuck")
        qmp.command("virtqueue-kick", path=found["path"], queue=0)
        front.queues[0].wait([chain])
        done(front)
        verdict(qmp, "r0", 0, "idle", "ok")


def test_row_4_a_request_from_before_the_restore(tmp_path):
    """A request lies in the ring, and the worker waits for a kick that was not saved."""
    with serve(tmp_path, DISK) as back, \
            relayed(tmp_path, back.socket("disk0")) as (_, qmp, front):
        Blk(front).read(0, 512)
        heard(qmp, "r0")
        done(front)
        add_read(front)
        found = verdict(qmp, "r0", 0, "kick-lost", "stuck")
        assert found["evidence"]["outstanding"] == 1 and found["evidence"]["kicks-unread"] == 0


def test_row_5_an_interrupt_that_vanished(tmp_path):
    """The back-end finished, the call was taken from its descriptor, and no guest heard of it."""
    with serve(tmp_path, DISK) as back, \
            relayed(tmp_path, back.socket("disk0")) as (_, qmp, front):
        Blk(front).read(0, 512)
        add_read(front)
        front.queues[0].kick()
        wait_until(lambda: front.queues[0].ring.used_idx() == 2, "the answer")
        wait_until(lambda: not front.queues[0].drain_calls() and
                   not health(qmp, "r0", 0)["evidence"]["calls-unread"], "the call")
        found = verdict(qmp, "r0", 0, "completion-unseen", "note")
        assert (found["evidence"]["used-idx"], found["evidence"]["used-event"]) == (2, 1)


def test_row_6_pending_while_paused(tmp_path):
    """What waits in the rings of a machine that stands still."""
    with disk(tmp_path) as (_, qmp, front):
        qmp.command("stop")
        for _ in range(3):
            add_read(front)
        found = verdict(qmp, "disk0", 0, "machine-paused", "note")
        assert found["evidence"]["waiting"] == 3


def test_row_8_an_interrupt_that_nobody_takes(tmp_path):
    """The call was sent, and lies in its descriptor."""
    with disk(tmp_path) as (_, qmp, front):
        add_read(front)
        front.queues[0].kick()
        found = verdict(qmp, "disk0", 0, "call-unread", "stuck")
        assert found["evidence"]["calls-unread"] == 1 and found["evidence"]["unseen"] == 1


def test_row_10_a_missed_doorbell(tmp_path):
    """'Missed doorbells': evidence instead of a poll as a fallback."""
    with disk(tmp_path) as (_, qmp, front):
        Blk(front).read(0, 512)
        heard(qmp, "disk0")
        done(front)
        add_read(front)
        found = verdict(qmp, "disk0", 0, "kick-lost", "stuck")
        numbers = [found["evidence"][n] for n in ("avail-event", "avail-idx", "kicks-unread")]
        assert numbers == [1, 2, 0]


def test_row_11_the_consumer_is_full(tmp_path):
    """Transmit queue times out: is it the driver, the device, or who takes from it?"""
    folder = Folder()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder.path / "c"))
        listener.listen(1)
        console = f"virtio-serial,id=con0,chardev=connect:{folder.path / 'c'}"
        with serve(tmp_path, console) as host, \
                host.qmp() as qmp, listener.accept()[0], \
                Front(host.socket("con0"), queues=2) as front:
            fast(qmp)
            front.queues[1].ring.add([(front.memory.alloc(1 << 20), 1 << 20, False)])
            front.queues[1].kick()
            found = verdict(qmp, "con0", 1, "out-of-supplies", "note")
            assert found["role"] == "transmitq(port0)" and found["evidence"]["waiting"] == 1
            assert "nothing has moved for" in found["sentence"] and "has to read" in found["advice"]
    folder.remove()


def test_row_12_since_when(tmp_path):
    """A network that dies after hours: since when has nothing moved?"""
    with disk(tmp_path) as (_, qmp, front):
        Blk(front).read(0, 512)
        add_read(front)
        found = verdict(qmp, "disk0", 0, "kick-lost", "stuck")
        first = found["evidence"]["still-ns"]
        wait_until(lambda: health(qmp, "disk0", 0)["evidence"]["still-ns"] > first, "time")
        event = qmp.event("VIRTQUEUE_STALLED")["data"]
        assert event["verdict"] == "kick-lost" and "nothing has moved for" in event["sentence"]


def test_row_15_requests_with_their_ages(tmp_path):
    """Guests freeze: which requests are out, and for how long?"""
    hold = tmp_path / "hold"
    hold.touch()
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    device = f"virtio-blk,id=disk0,filename={tmp_path / 'image'},aio=threads"
    with disk(tmp_path, device, env=slow_disk(0, hold)) as (_, qmp, front):
        def more():
            done(front)
            add_read(front)
            front.queues[0].kick()
            return health(qmp, "disk0", 0)["evidence"]["in-flight"] > 2

        wait_until(more, "requests that stay")
        found = verdict(qmp, "disk0", 0, "working", "stuck")
        assert "read 512 bytes at sector 0" in found["sentence"]
        assert found["evidence"]["oldest-age-ns"] > 0 and "oldest-head" in found["evidence"]
        # Row 25: popped, and the ring is stopped under it. Row 47: a drain and what it waits for.
        front.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0))
        found = verdict(qmp, "disk0", 0, "message-unanswered", "stuck")
        assert found["evidence"]["in-flight"] and "in flight here" in found["sentence"]
        hold.unlink()
        front.reply(Req.GET_VRING_BASE)
        verdict(qmp, "disk0", 0, "ring-stopped", "note")


def test_row_19_polls_or_was_not_called(tmp_path):
    """'The driver polls, the device is idle' against 'the device answered, no interrupt'."""
    with disk(tmp_path) as (_, qmp, front):
        Blk(front).read(0, 512)
        done(front)
        verdict(qmp, "disk0", 0, "idle", "ok")
        add_read(front)
        front.queues[0].kick()
        assert verdict(qmp, "disk0", 0, "call-unread", "stuck")["evidence"]["unseen"] == 1


def test_row_20_one_more_interrupt(tmp_path):
    """After a restart the guest stops filling the ring; the cure was one extra interrupt."""
    with disk(tmp_path) as (_, qmp, front):
        Blk(front).read(0, 512)
        add_read(front)
        front.queues[0].kick()
        wait_until(lambda: front.queues[0].ring.used_idx() == 2, "the answer")
        wait_until(lambda: not front.queues[0].drain_calls() and
                   not health(qmp, "disk0", 0)["evidence"]["calls-unread"], "the call")
        found = verdict(qmp, "disk0", 0, "completion-unseen", "note")
        qmp.command("virtqueue-call", path=found["path"], queue=0)
        front.queues[0].wait_call()
        done(front)
        verdict(qmp, "disk0", 0, "idle", "ok")


def test_row_21_more_queues_than_are_served(tmp_path):
    """More queues than the back-end has: what goes into the others is never seen."""
    with Deaf() as back:
        back.deaf = (1,)
        with relayed(tmp_path, back.path, queues=2, features=~F_EVENT_IDX) as (_, qmp, front):
            assert front.get_queue_num() == 1
            add_read(front, 1)
            front.queues[1].kick()
            found = verdict(qmp, "r0", 1, "no-server", "stuck")
            assert "serves 1" in found["sentence"]


def test_row_24_stopped_and_never_started(tmp_path):
    """After suspend and resume the ring is dead: GET_VRING_BASE stopped it for good."""
    with serve(tmp_path, DISK) as back, \
            relayed(tmp_path, back.socket("disk0")) as (_, qmp, front):
        Blk(front).read(0, 512)
        done(front)
        front.get_vring_base(0)
        add_read(front)
        front.queues[0].kick(force=True)
        assert verdict(qmp, "r0", 0, "ring-stopped", "stuck")["evidence"]["outstanding"] == 1


def test_row_26_flows_steered_to_nobody(tmp_path):
    """Several queues offered over a back-end that serves one: the other's kicks stay unread."""
    going = threading.Event()
    with Deaf() as back:
        back.deaf = (1,)
        with relayed(tmp_path, back.path, queues=2, features=~F_EVENT_IDX) as (_, qmp, front):
            add_read(front, 1)
            front.queues[1].kick()

            def drive():
                while not going.is_set():
                    Blk(front).read(0, 512)
                    going.wait(0.02)

            thread = threading.Thread(target=drive)
            thread.start()
            try:
                found = verdict(qmp, "r0", 1, "no-server", "stuck")
                assert found["evidence"]["kicks-unread"] == 1
            finally:
                going.set()
                thread.join()


def test_row_27_receive_starved(tmp_path):
    """A receive ring without a buffer: whatever comes has no place."""
    with serve(tmp_path, "virtio-serial,id=con0") as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("con0"), queues=2) as front:
            Console(front, buffers=0)
            found = verdict(qmp, "con0", 0, "no-buffers", "note")
            assert f"0 of {front.size}" in found["sentence"]


def test_row_28_all_indices_are_zero(tmp_path):
    """Indices 0, and why: no driver, no DRIVER_OK, not set up."""
    with serve(tmp_path, DISK + ",num-queues=2") as host, host.qmp() as qmp:
        with VhostUser(host.socket("disk0")) as peer:
            peer.get_features()
            verdict(qmp, "disk0", 0, "no-driver", "note")
        with Front(host.socket("disk0"), status=True, start=False) as front:
            verdict(qmp, "disk0", 0, "driver-not-ready", "note")
            front.set_status(ACKNOWLEDGE | DRIVER)
        with Front(host.socket("disk0"), queues=1):
            verdict(qmp, "disk0", 1, "not-set-up", "ok")


def test_row_33_spin(tmp_path):
    """Notifications without end and nothing to take."""
    stop = threading.Event()
    with disk(tmp_path) as (_, qmp, front):
        def kick():
            while not stop.is_set():
                os.eventfd_write(front.queues[0].kick_fd, 1)

        thread = threading.Thread(target=kick)
        thread.start()
        try:
            assert verdict(qmp, "disk0", 0, "spinning")["evidence"]["empty-runs"] >= 1000
        finally:
            stop.set()
            thread.join()


# --- negotiation, reconnect, in flight ---

def test_row_37_a_request_that_is_never_answered(tmp_path):
    """Migration hangs for ever within SET_LOG_BASE."""
    with Silent() as back:
        back.silent = (Req.SET_LOG_BASE,)
        with relayed(tmp_path, back.path) as (_, qmp, front):
            log = os.memfd_create("log")
            os.ftruncate(log, 4096)
            front.send(Req.SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [log])
            found = verdict(qmp, "r0", 0, "message-unanswered", "stuck")
            assert found["evidence"]["message"] == "SET_LOG_BASE"
            assert "unanswered for" in found["sentence"]
            os.close(log)


def test_row_38_an_acknowledgement_that_never_comes(tmp_path):
    """The front-end waits for an acknowledgement that the back-end does not send."""
    with Silent() as back:
        back.silent = (Req.SET_VRING_ENABLE,)
        with relayed(tmp_path, back.path, start=False) as (_, qmp, front):
            front.set_up()
            front.reply_ack = False
            front.start()
            front.send(Req.SET_VRING_ENABLE, struct.pack("<II", 0, 1), flags=VERSION | NEED_REPLY)
            found = verdict(qmp, "r0", 0, "message-unanswered", "stuck")
            assert found["evidence"]["message"] == "SET_VRING_ENABLE"


def test_row_43_the_control_queue_is_never_answered(tmp_path):
    """A network driver spins in its control command: nobody reads that queue."""
    with Deaf() as back:
        back.deaf = (0, 1, 2)
        back.features |= 1 << 17  # VIRTIO_NET_F_CTRL_VQ
        with relayed(tmp_path, back.path, "virtio-net", queues=3,
                     features=~F_EVENT_IDX) as (_, qmp, front):
            memory = front.memory
            front.queues[2].ring.add([(memory.put(b"\4\0\1\0"), 4, False),
                                      (memory.alloc(1), 1, True)])
            front.queues[2].kick()
            found = verdict(qmp, "r0", 2, "kick-unread", "stuck")
            assert found["role"] == "controlq" and found["evidence"]["kicks-unread"] == 1


def test_row_45_an_address_outside_every_region(tmp_path):
    """Bogus addresses after a restart: which descriptor, and where it points."""
    with disk(tmp_path) as (_, qmp, front):
        front.queues[0].ring.add([(1 << 50, 16, False), (front.memory.alloc(1), 1, True)])
        front.queues[0].kick()
        found = verdict(qmp, "disk0", 0, "device-broken", "stuck")
        assert "0x4000000000000" in found["sentence"] and "descriptor" in found["sentence"]


def test_row_53_is_anybody_there(tmp_path):
    """Link down, ports lost: who is connected, and who went."""
    back = serve(tmp_path, DISK)
    try:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
                host.qmp() as qmp:
            assert health(qmp, "r0")[0]["verdict"] == "not-connected"
            with Front(host.socket("r0")):
                wait_until(lambda: "queue" in health(qmp, "r0")[0], "its queues")
                back.crash()
                # Row 55: a daemon that died, and nobody says so.
                wait_until(lambda: health(qmp, "r0")[0]["verdict"] == "back-end-gone", "that")
                found = health(qmp, "r0")[0]
                assert found["severity"] == "stuck" and "ended the connection" in found["sentence"]
            with VhostUser(host.socket("r0")) as late:
                assert late.closed()
            wait_until(lambda: "nobody listens" in health(qmp, "r0")[0]["sentence"], "the verdict")
    finally:
        back.destroy()


def test_row_22_a_back_end_that_hangs(tmp_path):
    """The daemon is stopped: mounts freeze, nothing is logged anywhere."""
    with serve(tmp_path, DISK) as back, \
            relayed(tmp_path, back.socket("disk0")) as (_, qmp, front):
        Blk(front).read(0, 512)
        done(front)
        with frozen(back.process):
            chain = add_read(front)
            front.queues[0].kick()
            found = verdict(qmp, "r0", 0, "kick-unread", "stuck")
            assert "the back-end does not listen; the oldest is head" in found["sentence"]
            front.send(Req.GET_FEATURES)
            assert verdict(qmp, "r0", 0, "message-unanswered")["evidence"]["message"] == \
                "GET_FEATURES"
        front.reply(Req.GET_FEATURES)
        front.queues[0].wait([chain])
        done(front)
        verdict(qmp, "r0", 0, "idle", "ok")
        assert qmp.event("VIRTQUEUE_RECOVERED")["data"]["queue"] == 0


def test_row_23_age_of_the_oldest(tmp_path):
    """The back-end took a request and never answers."""
    with Holder() as back, relayed(tmp_path, back.path, features=~F_EVENT_IDX) as (_, qmp, front):
        add_read(front)
        front.queues[0].kick(force=True)
        wait_until(lambda: back.rings[0].avail_idx == 1, "the request's taking")
        found = verdict(qmp, "r0", 0, "working", "stuck")
        assert found["evidence"]["outstanding"] == 1 and found["evidence"]["still-ns"] > 0


def test_row_55_memory_that_is_not_shared(tmp_path):
    """Memory that cannot be mapped by others: said at once, instead of a hang."""
    with Blind() as back, relay(tmp_path, "id=r0,type=virtio-blk",
                                connect=back.path) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("r0"), start=False) as front:
            other = Memory(((1 << 40, 4096),))
            front.send(Req.SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, 1 << 50, 0, 0),
                       [other.regions[0].fd])
            wait_until(lambda: back.tables, "the table")
            front.reply_ack = False
            front.queues = []
            user = 0x7f0000000000
            front.set_vring_num(0, 128)
            front.set_vring_addr(0, user, user + 0x2000, user + 0x1000)
            kick = os.eventfd(0)
            front.set_vring_kick(0, kick)
            front.set_vring_enable(0)
            found = verdict(qmp, "r0", 0, "memory-unreadable", "note")
            assert "shared" in found["advice"]
            os.close(kick)
            other.close()


# --- malformed rings ---

def test_row_56_broken_and_well_again(tmp_path):
    """A malformed chain: said with its reason, and a reset makes it good."""
    with serve(tmp_path, DISK) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0")) as front:
            front.queues[0].ring.spoil()
            front.queues[0].kick(force=True)
            found = verdict(qmp, "disk0", 0, "device-broken", "stuck")
            assert "names head 65535" in found["sentence"]
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)
            done(front)
            verdict(qmp, "disk0", 0, "idle", "ok")


def test_row_59_an_index_beyond_the_ring(tmp_path):
    """avail.idx is further ahead than the ring is long."""
    with disk(tmp_path) as (_, qmp, front):
        front.queues[0].ring.set_avail_idx(1000)
        front.queues[0].kick(force=True)
        found = verdict(qmp, "disk0", 0, "device-broken", "stuck")
        assert "1000" in found["sentence"] and "ring of 128" in found["sentence"]
