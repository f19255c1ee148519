# SPDX-License-Identifier: BSD-3-Clause
"""`ringside relay` with reconnect=on: a back-end dies, and what the next one is told. Both ends are
in our hands. Real ones under load: tests/interop/test_relay_kills.py."""
import contextlib
import os
import socket
import struct

import pytest

from lib.look import status_of
from lib.memory import Memory
from lib.process import wait_until
from lib.relay import R0, Listener, relay, transcript
from lib.relay_ends import FEATURES, INFLIGHT, PROTOCOL, SIZE, SLOTS, Back, Guest
from lib.vhost_user import (F_IN_ORDER, F_PACKED, F_PROTOCOL, F_VERSION_1, HEADER, NEED_REPLY,
                            PACKED_START, VERSION, Closed, Proto, Refused, Req, VhostUser)

@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@contextlib.contextmanager
def relayed(tmp_path, listener, options="type=virtio-blk"):
    with relay(tmp_path, f"id=r0,reconnect=on,{options}", connect=listener.path) as host:
        yield host


@pytest.fixture
def host(tmp_path, listener):
    with relayed(tmp_path, listener) as running:
        yield running


@contextlib.contextmanager
def pair(host, listener, back=None, **how):
    """A front-end that has started, and its back-end."""
    with Guest(host.socket("r0"), **how) as guest:
        first = Back(listener.accept(), **(back or {}))
        yield guest, first
        first.die()


def another(listener, **how):
    return Back(listener.accept(), **how)


def goes_on(guest):
    """It is answered, by whom ever."""
    assert guest.peer.get_features()


def same_file(a, b):
    return os.path.sameopenfile(a, b)


def descriptors(host):
    return len(os.listdir(f"/proc/{host.process.pid}/fd"))


def thread_note(qmp, queue=0):
    members = qmp.command("query-virtio-sources", path=R0)
    return {m["member"]: m.get("note") for m in members}[f"queue.{queue}.thread"]


def last_base(back, index=0):
    return [struct.unpack("<II", m[1])[1] for m in back.of(Req.SET_VRING_BASE)
            if m[1][0] == index][-1]


# --- what the next one is told ---

def test_everything_in_order(host, listener):
    with pair(host, listener) as (guest, first):
        guest.start(queues=2)
        guest.peer.set_status(15)
        told = first.messages[:]
        fds = {(m[0], m[1]): [os.dup(fd) for fd in m[2]] for m in told}
        first.die()
        second = another(listener)
        second.wait_for(Req.SET_STATUS)
        second.wait_for(Req.GET_FEATURES, 2)
        ring = [Req.SET_VRING_NUM, Req.SET_VRING_BASE, Req.SET_VRING_ADDR, Req.SET_VRING_CALL,
                Req.SET_VRING_ERR, Req.SET_VRING_KICK, Req.SET_VRING_ENABLE]
        assert second.names() == [
            Req.SET_OWNER, Req.GET_FEATURES, Req.GET_PROTOCOL_FEATURES, Req.SET_PROTOCOL_FEATURES,
            Req.SET_FEATURES, Req.SET_MEM_TABLE, *ring, *ring, Req.SET_STATUS, Req.GET_FEATURES]
        for request, payload, with_it in second.messages:
            if request in (Req.GET_FEATURES, Req.GET_PROTOCOL_FEATURES):
                continue
            before = fds[request, payload]
            assert len(before) == len(with_it)
            for ours, theirs in zip(before, with_it):
                # Eventfds share an inode: the count is the file's own.
                assert same_file(ours, theirs)
        for group in fds.values():
            for fd in group:
                os.close(fd)
        # A kick that the dead one took, and a call that it did not make.
        assert os.eventfd_read(guest.kick) == 2 and os.eventfd_read(guest.call) == 2
        goes_on(guest)
        second.die()


def test_own_messages_are_marked_and_stay(host, listener):
    with pair(host, listener) as (guest, first), host.qmp() as qmp:
        guest.start()
        first.die()
        second = another(listener)
        goes_on(guest)
        seen = transcript(qmp)
        own = [m for m in seen if m["own"]]
        assert [m["name"] for m in own if m["from"] == "front-end"] == \
            [m.name for m in second.names()[:-1]]
        assert {m["name"] for m in own if m["from"] == "back-end"} >= {"GET_FEATURES"}
        passed = [m["name"] for m in seen if not m["own"] and m["from"] == "front-end"]
        assert passed.count("GET_FEATURES") == 3 and passed.count("SET_MEM_TABLE") == 1
        assert guest.peer.silent()
        second.die()


def test_memory_slots(tmp_path, listener):
    """Those that are there, and not one that was taken away."""
    how = {"protocol": PROTOCOL | SLOTS}
    with relayed(tmp_path, listener) as host, pair(host, listener, how, **how) as (guest, first):
        guest.start()
        extra = Memory(((4 << 20, 1 << 20), (8 << 20, 1 << 20)))
        for region in extra.regions:
            guest.peer.add_mem_reg(region)
        guest.peer.rem_mem_reg(extra.regions[0])
        first.die()
        second = another(listener, **how)
        goes_on(guest)
        assert {struct.unpack_from("<Q", m[1], 8)[0] for m in second.of(Req.ADD_MEM_REG)} == \
            {0, 1 << 20, 8 << 20}
        assert not second.of(Req.SET_MEM_TABLE) and not second.of(Req.REM_MEM_REG)
        extra.close()
        second.die()


def test_the_back_ends_channel(host, listener):
    """The front-end's end stays; the new back-end's messages come over it."""
    with pair(host, listener) as (guest, first):
        guest.start()
        ours, theirs = socket.socketpair()
        channel = VhostUser(sock=ours)
        guest.peer.set(Req.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        theirs.close()
        first.die()
        second = another(listener)
        goes_on(guest)
        fd, = second.of(Req.SET_BACKEND_REQ_FD)[0][2]
        backend = VhostUser(sock=socket.socket(fileno=os.dup(fd)))
        assert channel.silent()
        backend.send(2)
        assert channel.recv()[0] == 2
        backend.close()
        channel.close()
        second.die()


# --- where rings go on ---

def test_base_is_where_nothing_was_answered(host, listener):
    with pair(host, listener) as (guest, first):
        guest.start(queues=2)
        for index, (made, answered) in enumerate(((5, 3), (4, 0))):
            heads = guest.publish(index, made)
            guest.answer(index, *heads[:answered])
        first.die()
        second = another(listener)
        goes_on(guest)
        assert (last_base(second, 0), last_base(second, 1)) == (3, 0)
        # The second one answers, and dies too.
        guest.answer(1, *[h for h in range(0, 2 * 2, 2)])
        second.die()
        third = another(listener)
        goes_on(guest)
        assert last_base(third, 0) == 3
        third.die()


def test_a_queue_that_nobody_can_tell_of_stops(host, listener):
    """One was answered before another: no base stands for that. The other queue goes on."""
    with pair(host, listener) as (guest, first), host.qmp() as qmp:
        guest.start(queues=2)
        heads = guest.publish(0, 3)
        guest.answer(0, heads[2])
        guest.publish(1, 2)
        first.die()
        second = another(listener)
        goes_on(guest)
        says = f"head {heads[2]}, made available at index 2, was answered before others"
        host.process.expect(f"queue 0 is stopped: its back-end died, and {says}".encode())
        assert says in thread_note(qmp) and "nobody" in thread_note(qmp)
        assert thread_note(qmp, 1) == "served by the back-end"
        assert {m[1][0] for m in second.of(Req.SET_VRING_KICK)} == {1}
        assert last_base(second, 1) == 0
        # Nobody can say where it stands.
        guest.peer.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0))
        assert guest.peer.closed()
        second.die()


def test_a_stopped_queue_starts_anew(host, listener):
    with pair(host, listener) as (guest, first), host.qmp() as qmp:
        guest.start()
        heads = guest.publish(0, 2)
        guest.answer(0, heads[1])
        first.die()
        second = another(listener)
        goes_on(guest)
        host.process.expect(b"queue 0 is stopped")
        guest.rings[0].reset()
        guest.start_ring(0)
        guest.peer.sync()
        assert len(second.of(Req.SET_VRING_KICK)) == 1
        assert thread_note(qmp) == "served by the back-end"
        second.die()


@pytest.mark.parametrize("request_", [Req.SET_STATUS, Req.RESET_DEVICE])
def test_reset(host, listener, request_):
    """What runs no more is not begun again."""
    with pair(host, listener) as (guest, first):
        guest.start()
        guest.answer(0, guest.publish(0, 2)[1])
        guest.peer.set(request_, bytes(8) if request_ == Req.SET_STATUS else b"")
        first.die()
        second = another(listener)
        goes_on(guest)
        assert not second.of(Req.SET_VRING_KICK) and "stopped" not in host.process.text
        second.die()


@pytest.mark.parametrize("extra, goes", [(F_PACKED, False), (F_IN_ORDER, True)],
                         ids=["packed", "in order"])
def test_by_what_was_negotiated(host, listener, extra, goes):
    how = {"features": FEATURES | extra}
    with pair(host, listener, how, **how) as (guest, first):
        guest.start(base=PACKED_START if extra == F_PACKED else 0)
        if goes:
            guest.answer(0, *guest.publish(0, 5)[:3])
        first.die()
        second = another(listener, **how)
        goes_on(guest)
        if goes:
            assert last_base(second) == 3
        else:
            host.process.expect(b"queue 0 is stopped: its back-end died, and a packed ring without")
            assert not second.of(Req.SET_VRING_KICK)
        second.die()


def test_a_region_of_the_relays_own(tmp_path, listener):
    """The front-end does not know of it; the next back-end gets the same file."""
    how = {"protocol": PROTOCOL | INFLIGHT}
    with relayed(tmp_path, listener) as host, pair(host, listener, how) as (guest, first):
        guest.start()
        names = first.names()
        at = names.index(Req.GET_INFLIGHT_FD)
        assert names[at + 1:at + 3] == [Req.SET_INFLIGHT_FD, Req.SET_VRING_NUM]
        assert struct.unpack("<HH", first.of(Req.GET_INFLIGHT_FD)[0][1][16:20]) == (2, SIZE)
        words = [struct.unpack("<Q", m[1])[0] for m in first.of(Req.SET_PROTOCOL_FEATURES)]
        assert words == [PROTOCOL, PROTOCOL | INFLIGHT]
        fd = os.dup(first.of(Req.SET_INFLIGHT_FD)[0][2][0])
        # It has recorded that head 0 is on its way, and says that it uses this.
        os.pwrite(fd, struct.pack("<QHHHH", 0, 1, SIZE, 0, 0) + struct.pack("<Q", 1), 0)
        heads = guest.publish(0, 2)
        guest.answer(0, heads[1])
        first.die()
        second = another(listener, **how)
        goes_on(guest)
        assert same_file(second.of(Req.SET_INFLIGHT_FD)[0][2][0], fd)
        assert last_base(second) == 1, "the record says the rest"
        words = [struct.unpack("<Q", m[1])[0] for m in second.of(Req.SET_PROTOCOL_FEATURES)]
        assert words == [PROTOCOL | INFLIGHT]
        # After a stop at the front-end's wish nothing of it is left.
        guest.peer.get_vring_base(0)
        assert os.pread(fd, 2, 8) == b"\0\0"
        os.close(fd)
        second.die()


def test_a_record_that_makes_no_sense(tmp_path, listener):
    how = {"protocol": PROTOCOL | INFLIGHT}
    with relayed(tmp_path, listener) as host, pair(host, listener, how) as (guest, first):
        guest.start()
        os.pwrite(first.of(Req.SET_INFLIGHT_FD)[0][2][0], struct.pack("<QHHHH", 0, 7, 9, 0, 0), 0)
        first.die()
        second = another(listener, **how)
        goes_on(guest)
        host.process.expect(b"queue 0 is stopped: its back-end died, and the in-flight region has "
                            b"version 7")
        second.die()


# --- who does not do ---

@pytest.mark.parametrize("how, says", [
    ({"features": F_PROTOCOL}, f"without features {F_VERSION_1:#x}"),
    ({"protocol": PROTOCOL & ~(1 << Proto.CONFIG)}, "without protocol features 0x200"),
], ids=["features", "protocol"])
def test_one_that_has_less(host, listener, how, says):
    with pair(host, listener) as (guest, first):
        guest.start()
        first.die()
        second = another(listener, **how)
        assert guest.peer.closed()
        host.process.expect(says.encode())
        second.die()


@pytest.mark.parametrize("options, says", [
    ("type=virtio-user-fs", "has a state beyond its rings"),
    ("type=vhost-vsock", "has a state beyond its rings"),
    ("outage-ms=1", "no message says what type it is"),
], ids=["fs", "vsock", "unknown"])
def test_types_with_a_state(tmp_path, listener, options, says):
    with relayed(tmp_path, listener, options) as host:
        with pair(host, listener) as (guest, first):
            guest.start()
            first.die()
            assert guest.peer.closed()
            host.process.expect(says.encode())
        # The next front-end has a back-end of its own.
        with pair(host, listener) as (guest, first):
            guest.start()
            goes_on(guest)


HOSTILE = [
    ("hangs up", lambda peer: peer.close()),
    ("says what it was not asked", lambda peer: peer.send(Req.GET_CONFIG, b"", flags=5)),
    ("a short answer", lambda peer: peer.send(Req.GET_FEATURES, b"abc", flags=5)),
    ("a payload too long", lambda peer: peer.send_raw(HEADER.pack(1, 5, 1 << 20))),
    ("half an answer", lambda peer: (peer.send_raw(b"\1\0\0"), peer.close())),
]


@pytest.mark.parametrize("does", [h[1] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_hostile_after_the_restart(host, listener, does):
    """It is left, and the next one is asked; the front-end hears nothing of it."""
    with pair(host, listener) as (guest, first):
        guest.start()
        first.die()
        for _ in range(3):
            bad = listener.accept()
            with contextlib.suppress(Closed):
                bad.recv()
            does(bad)
        good = another(listener)
        goes_on(guest)
        assert guest.peer.silent()
        good.die()


def test_one_that_refuses(host, listener):
    with pair(host, listener) as (guest, first):
        guest.start()
        first.die()
        bad = another(listener, refuses=[Req.SET_MEM_TABLE])
        host.process.expect(b"it refuses SET_MEM_TABLE, as it is replayed")
        good = another(listener)
        goes_on(guest)
        bad.die()
        good.die()


# --- the outage ---

def test_messages_wait(host, listener):
    """Those that were not answered are asked again; those that come later wait."""
    how = {"silent": [Req.GET_CONFIG, Req.SET_VRING_ENABLE]}
    with pair(host, listener, how) as (guest, first):
        guest.negotiate()
        guest.peer.send(Req.GET_CONFIG, struct.pack("<III", 0, 8, 0) + bytes(8))
        first.wait_for(Req.GET_CONFIG)
        guest.peer.send(Req.SET_VRING_ENABLE, struct.pack("<II", 0, 0), flags=VERSION | NEED_REPLY)
        first.wait_for(Req.SET_VRING_ENABLE)
        guest.peer.send(Req.GET_STATUS)
        first.die()
        second = another(listener)
        # The state is told anew, which is the answer; the question is asked anew.
        replies = [guest.peer.recv() for _ in range(3)]
        assert sorted(r[0] for r in replies) == sorted(
            [Req.GET_CONFIG, Req.SET_VRING_ENABLE, Req.GET_STATUS])
        assert len(second.of(Req.GET_CONFIG)) == 1
        assert len(second.of(Req.SET_VRING_ENABLE)) == 1
        second.die()


def test_messages_wait_so_long(tmp_path, listener):
    """What asks for an acknowledgement is refused; with all else the connection ends."""
    with relayed(tmp_path, listener, "type=virtio-blk,outage-ms=20") as host:
        with pair(host, listener) as (guest, first):
            guest.start()
            listener.socket.close()
            first.die()
            with pytest.raises(Refused) as refused:
                guest.peer.set_status(0)
            assert refused.value.code == 110
            guest.peer.send(Req.GET_CONFIG, struct.pack("<III", 0, 8, 0) + bytes(8))
            assert guest.peer.closed()
            host.process.expect(b"GET_CONFIG waited 20 ms for a back-end")


def test_base_in_an_outage(host, listener):
    """From memory; the back-end that comes does not start that ring."""
    with pair(host, listener) as (guest, first), host.qmp() as qmp:
        guest.start(queues=2)
        guest.answer(0, *guest.publish(0, 4)[:1])
        first.die()
        host.process.expect(b"is gone")
        assert guest.peer.get_vring_base(0) == 1
        assert transcript(qmp)[-1]["own"]
        second = another(listener)
        goes_on(guest)
        assert {m[1][0] for m in second.of(Req.SET_VRING_KICK)} == {1}
        assert last_base(second) == 1
        second.die()


def test_base_in_an_outage_that_nobody_knows(host, listener):
    with pair(host, listener) as (guest, first):
        guest.start()
        guest.answer(0, guest.publish(0, 2)[1])
        first.die()
        guest.peer.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0))
        assert guest.peer.closed()
        host.process.expect(b"was answered before others")


def test_base_that_the_dead_one_owed(host, listener):
    with pair(host, listener, {"silent": [Req.GET_VRING_BASE]}) as (guest, first):
        guest.start()
        guest.answer(0, *guest.publish(0, 3)[:2])
        guest.peer.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0))
        first.wait_for(Req.GET_VRING_BASE)
        first.die()
        assert struct.unpack("<II", guest.peer.reply(Req.GET_VRING_BASE)) == (0, 2)


def test_nobody_there_at_first(host, listener):
    path = listener.path.rename(listener.path.with_name("away"))
    with Guest(host.socket("r0")) as guest:
        guest.peer.send(Req.GET_FEATURES)
        host.process.expect(b"it is dialled until one is there")
        path.rename(listener.path)
        back = another(listener)
        assert struct.unpack("<Q", guest.peer.reply(Req.GET_FEATURES))[0] == FEATURES
        assert back.names() == [Req.GET_FEATURES]
        back.die()


# --- front-ends ---

@pytest.mark.parametrize("waits", [False, True], ids=["silent", "with a message that waits"])
def test_front_end_goes_in_an_outage(host, listener, waits):
    """Nothing is left for the next one."""
    for _ in range(3):
        with pair(host, listener) as (guest, first):
            guest.start()
            path = listener.path.rename(listener.path.with_name("away"))
            first.die()
            if waits:
                guest.peer.send(Req.GET_STATUS)
        with host.qmp() as qmp:
            wait_until(lambda: not status_of(qmp, "r0")["num-vqs"], "the front-end's end")
        path.rename(listener.path)
    with pair(host, listener) as (guest, first):
        goes_on(guest)
        assert first.names() == [Req.GET_FEATURES]


def test_a_thousand_times(host, listener):
    """No descriptor stays, on either path."""
    before = descriptors(host)
    with pair(host, listener, {"protocol": PROTOCOL | INFLIGHT}) as (guest, back):
        guest.start()
        goes_on(guest)
        while_up = descriptors(host)
        back.die()
        for number in range(1000):
            back = another(listener, protocol=PROTOCOL | INFLIGHT)
            goes_on(guest)
            if number % 100 == 0:
                assert descriptors(host) == while_up, number
            back.die()
    wait_until(lambda: descriptors(host) <= before, "nothing is left open")


def test_command_line_is_for_all(tmp_path, listener):
    """--reconnect and --outage-ms, and a device that says otherwise."""
    with relay(tmp_path, "id=r0,type=virtio-blk", "id=r1,type=virtio-blk,reconnect=off",
               connect=listener.path, arguments=["--reconnect", "--outage-ms", "30"]) as host:
        with host.qmp() as qmp:
            assert [qmp.command("qom-get", path=f"/machine/peripheral/{r}", property=p)
                    for r, p in (("r0", "reconnect"), ("r0", "outage-ms"), ("r1", "reconnect"))] \
                == [True, 30, False]
        with Guest(host.socket("r1")) as guest:
            back = another(listener)
            guest.start()
            back.die()
            assert guest.peer.closed()
