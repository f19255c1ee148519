# SPDX-License-Identifier: BSD-3-Clause
"""input-send-event: what it takes, to whom it goes, and that nobody else's events are disturbed."""
import contextlib
import threading

import pytest

from lib.input import (ABS, BTN_LEFT, KEY, KEY_1, KEY_A, KEY_B, LED, REL, REL_X, Input, button, key,
                       place, rel, send, shown, touch)
from lib.look import queue_of, status_of
from lib.process import wait_until
from lib.qmp import QmpError
from lib.ringside import serve
from lib.vhost_user import Front

DEVICES = ("virtio-keyboard,id=k", "virtio-mouse,id=m", "virtio-tablet,id=t",
           "virtio-multitouch,id=f")


@contextlib.contextmanager
def drivers(host, *names, buffers=16):
    with contextlib.ExitStack() as stack:
        fronts = [stack.enter_context(Front(host.socket(n), queues=2, size=64)) for n in names]
        yield [Input(front, buffers=buffers) for front in fronts]


@pytest.fixture
def host(tmp_path):
    with serve(tmp_path, *DEVICES) as running:
        yield running


@pytest.fixture
def qmp(host):
    with host.qmp() as session:
        yield session


def key_number(number, down=True):
    return {"type": "key", "data": {"key": {"type": "number", "data": number}, "down": down}}


NONSENSE = [
    (key("unmapped"), "key 'unmapped' is none"),
    (key("nope"), "does not accept value 'nope'"),
    (key_number(0), "no key has number 0"),
    (key_number(-1), "no key has number -1"),
    (key_number(0x7f), "no key has number 127"),
    (key_number(1 << 32 | 0x1e), "no key has number 4294967326"),
    (button("thumb"), "does not accept value 'thumb'"),
    (rel("z", 1), "does not accept value 'z'"),
    (rel("x", 1 << 31), "expects a number from -2147483648 to 2147483647"),
    (rel("x", "1"), "expected: integer"),
    (place("x", None), "expected: integer"),
    (touch("begin", slot=11), "'slot' expects a number from 0 to 10"),
    (touch("end", slot=-1), "'slot' expects"),
    (touch("begin", tracking_id=65536), "'tracking-id' expects"),
    (touch("begin", tracking_id=-1), "'tracking-id' expects"),
    ({"type": "key", "data": {"down": True}}, "key"),
    ({"type": "key"}, "data"),
    ({"type": "joystick", "data": {}}, "joystick"),
    ({}, "type"),
    ("key", "expected: object"),
]


@pytest.mark.parametrize("event, text", NONSENSE, ids=[str(n) for n in range(len(NONSENSE))])
def test_nonsense_does_nothing(host, qmp, event, text):
    """Nor do the events beside it."""
    with drivers(host, "k") as (keyboard,):
        error = qmp.error("input-send-event", events=[key("a"), event])
        assert error[0] == "GenericError" and text in error[1], error
        send(qmp, key("b"))
        assert keyboard.groups() == [[(KEY, KEY_B, 1)]]


def test_too_many(host, qmp):
    with drivers(host, "k") as (keyboard,):
        error = qmp.error("input-send-event", events=[key("a")] * 129)
        assert error[1] == "a command has at most 128 events, not 129"
        error = qmp.error("input-send-event", events=[key("a")] * 64)
        assert error[1] == "k: its driver has room for 63 events at once, not for 64"
        send(qmp)
        keyboard.post(48)
        send(qmp, *[key("1")] * 63)
        assert keyboard.groups() == [[(KEY, KEY_1, 1)] * 63]


def test_every_key_has_a_code(host, qmp):
    """All names of the schema, and each goes to the driver as a key that the device has told of."""
    schema = {entry["name"]: entry for entry in qmp.command("query-qmp-schema")}
    enums = [e["members"] for e in schema.values() if e["meta-type"] == "enum"]
    names = next([m["name"] for m in members] for members in enums
                 if any(m["name"] == "grave_accent" for m in members))
    with drivers(host, "k") as (keyboard,):
        codes = keyboard.codes(KEY)
        for name in names:
            if name == "unmapped":
                continue
            send(qmp, key(name))
            ((kind, code, down),), = keyboard.groups()
            assert kind == KEY and down == 1 and code in codes, name
        send(qmp, key_number(0x1e))
        assert keyboard.groups() == [[(KEY, KEY_A, 1)]]


def test_who_takes_it(host, qmp):
    with drivers(host, "k", "m", "t", "f") as (keyboard, mouse, tablet, surface):
        send(qmp, rel("x", 3), key("a"), place("x", 9), touch("begin", 2, 5), button("touch"),
             touch("data", 2, axis="y", value=77))
        assert keyboard.groups() == [[(KEY, KEY_A, 1)]]
        assert mouse.groups() == [[(REL, REL_X, 3)]]
        assert tablet.groups() == [[(ABS, 0, 9)]]
        assert surface.groups() == [[(ABS, 0x2f, 2), (ABS, 0x39, 5), (KEY, 0x14a, 1),
                                     (ABS, 0x2f, 2), (ABS, 0x36, 77)]]
        # A button alone: the pointer that was added last.
        send(qmp, button("left"))
        assert tablet.groups() == [[(KEY, BTN_LEFT, 1)]]
        send(qmp, button("left"), device="m")
        assert mouse.groups() == [[(KEY, BTN_LEFT, 1)]]
        # And the one of the same command, wherever that stands.
        send(qmp, button("left", False), rel("x", 1))
        assert mouse.groups() == [[(KEY, BTN_LEFT, 0), (REL, REL_X, 1)]]


def test_nobody_takes_it(tmp_path):
    with serve(tmp_path, "virtio-keyboard,id=k", "virtio-rng,id=r") as host, host.qmp() as qmp:
        for event, kind in ((rel("x", 1), "rel"), (button("left"), "btn"), (place("x", 1), "abs"),
                            (touch("end"), "mtt")):
            error = qmp.error("input-send-event", events=[key("a"), event])
            assert error == ("GenericError",
                             f"Input handler not found for event type {kind}")
        assert shown(qmp, "k", "events-dropped") == 0
        for name in ("nobody", "r", ""):
            error = qmp.error("input-send-event", events=[key("a")], device=name)
            assert error == ("DeviceNotFound", f"Device '{name}' not found")
        error = qmp.error("input-send-event", events=[key("a")], device="k", head=-1)
        assert error[1] == "there is no head -1"
        # Nobody is there to hear of it, and nobody is told later.
        send(qmp, key("a"))
        assert shown(qmp, "k", "events-dropped") == 1
        with drivers(host, "k") as (keyboard,):
            qmp.command("stop")
            send(qmp, key("a"))
            qmp.command("cont")
            send(qmp, key("b"))
            assert keyboard.groups() == [[(KEY, KEY_B, 1)]]
        qmp.command("device_del", id="k")
        qmp.event("DEVICE_DELETED")
        assert "not found" in qmp.error("input-send-event", events=[key("a")], device="k")[1]


def test_displays(tmp_path):
    devices = ["virtio-keyboard,id=k0", "virtio-keyboard,id=k1,display=video0",
               "virtio-keyboard,id=k2,display=video0,head=1", "virtio-mouse,id=m0"]
    with serve(tmp_path, *devices) as host, host.qmp() as qmp, \
            drivers(host, "k0", "k1", "k2", "m0") as (zero, one, two, mouse):
        for where, keyboard in (({}, zero), ({"device": "video0"}, one),
                                ({"device": "video0", "head": 1}, two), ({"device": "k2"}, two)):
            send(qmp, key("a"), **where)
            assert keyboard.groups() == [[(KEY, KEY_A, 1)]], where
        # What none of a display's devices takes, those of no display do.
        send(qmp, rel("x", 2), device="video0")
        assert mouse.groups() == [[(REL, REL_X, 2)]]
        assert "rel" in qmp.error("input-send-event", events=[rel("x", 1)], device="k2")[1]
        assert qmp.error("input-send-event", events=[key("a")], device="video0",
                         head=2)[0] == "DeviceNotFound"


def test_a_driver_comes_before_none(tmp_path):
    with serve(tmp_path, "virtio-keyboard,id=old", "virtio-keyboard,id=new") as host, \
            host.qmp() as qmp:
        with drivers(host, "old") as (old,):
            send(qmp, key("a"))
            assert old.groups() == [[(KEY, KEY_A, 1)]]
            with drivers(host, "new") as (new,):
                send(qmp, key("a"))
                assert new.groups() == [[(KEY, KEY_A, 1)]]
            wait_until(lambda: not status_of(qmp, "new")["status"]["statuses"], "gone")
            send(qmp, key("b"))
            assert old.groups() == [[(KEY, KEY_B, 1)]]


def test_what_is_shown(host, qmp):
    devices = {d["path"]: d["name"] for d in qmp.command("x-query-virtio")}
    assert set(devices.values()) == {"virtio-input"} and len(devices) == 4
    with drivers(host, "k", buffers=8) as (keyboard,):
        status = status_of(qmp, "k")
        assert status["device-id"] == 18 and status["name"] == "virtio-input"
        keyboard.status(LED, 1, 1)
        send(qmp, key("a"))
        wait_until(lambda: queue_of(qmp, "k")["used-idx"] == 2, "the events")
        assert queue_of(qmp, "k", 1)["used-idx"] == 1
        health = qmp.command("query-virtqueue-health", path="k/virtio-backend", queue=0)
        assert health[0]["severity"] == "ok", health
    error = qmp.error("qom-set", path="k", property="leds", value=[])
    assert error[0] == "GenericError"


def test_read_only_monitors_may_not(tmp_path):
    with serve(tmp_path, "virtio-keyboard,id=k", arguments=["--read-only"]) as host, \
            host.qmp() as qmp:
        with pytest.raises(QmpError):
            send(qmp, key("a"))
        assert shown(qmp, "k", "leds") == []


LOOKS = (("x-query-virtio-status", {}), ("x-query-virtio-queue-status", {"queue": 0}),
         ("x-query-virtio-queue-element", {"queue": 0}), ("query-virtqueue-inflight", {"queue": 0}),
         ("query-virtqueue-elements", {"queue": 0}), ("query-virtqueue-trace", {"queue": 0}),
         ("query-virtqueue-health", {"queue": 0}), ("query-virtio-sources", {}))


def test_looks_change_nothing(host, qmp):
    """Each query, again and again, while events flow: all of them arrive, in order."""
    stop, looks = threading.Event(), [0]

    def look():
        with host.qmp() as other:
            while not stop.is_set() or looks[0] < 20:
                for name, arguments in LOOKS:
                    other.command(name, path="k/virtio-backend", **arguments)
                looks[0] += 1

    looker = threading.Thread(target=look)
    with drivers(host, "k", buffers=8) as (keyboard,):
        looker.start()
        try:
            for turn in range(200):
                send(qmp, key("a", turn % 2 == 0), key("b", turn % 2 == 0))
                assert keyboard.groups() == [[(KEY, KEY_A, int(turn % 2 == 0)),
                                              (KEY, KEY_B, int(turn % 2 == 0))]]
        finally:
            stop.set()
            looker.join()
    assert looks[0] >= 20
    assert shown(qmp, "k", "events-given") == 600 and not shown(qmp, "k", "events-dropped")


@pytest.mark.parametrize("iothread", [False, True])
def test_unplugged_while_events_flow(tmp_path, iothread):
    """The device goes in the middle of it; what it had given was whole."""
    options = ",iothread=io0" if iothread else ""
    extra = ["--object", "iothread,id=io0"] if iothread else []
    with serve(tmp_path, f"virtio-keyboard,id=k{options}", "virtio-keyboard,id=other",
               arguments=extra) as host, host.qmp() as qmp, host.qmp() as events, \
            drivers(host, "k", "other") as (keyboard, other):
        for _ in range(20):
            send(qmp, key("a"), key("b"), device="k")
        qmp.command("device_del", id="k")
        events.event("DEVICE_DELETED")
        got = []
        for used in keyboard.front.queues[0].ring.take_used():
            got.append(keyboard.front.memory.read(keyboard.posted[used.id], 8))
        assert len(got) % 3 == 0 and len(got) <= 60
        send(qmp, key("a"))
        assert other.groups() == [[(KEY, KEY_A, 1)]]
