# SPDX-License-Identifier: BSD-3-Clause
"""virtio-input as a driver sees it: virtio 1.3, "Input Device"."""
import struct

from lib.input import (ABS_INFO, ABS_X, ABS_Y, BTN_LEFT, EV_BITS, ID_DEVIDS, ID_NAME, ID_SERIAL,
                       KEY, KEY_A, KEY_B, KEY_LEFTSHIFT, LED, REL, REL_WHEEL, REL_X, REL_Y, Input,
                       button, key, place, rel, send, shown)


def test_what_it_is(start, way):
    host = start("virtio-keyboard,id=k,serial=kbd-7", "virtio-tablet,id=t")
    with way.connect(host.socket("k"), queues=2, size=16) as front:
        driver = Input(front, indirect=way.indirect)
        assert driver.look(ID_NAME) == b"Ringside Virtio Keyboard"
        assert driver.look(ID_SERIAL) == b"kbd-7"
        assert struct.unpack("<4H", driver.look(ID_DEVIDS)) == (6, 0x627, 1, 1)
        assert {KEY_A, KEY_B, KEY_LEFTSHIFT} < driver.codes(KEY)
        assert driver.codes(LED) == {0, 1, 2}
        assert not driver.look(ABS_INFO) and not driver.look(EV_BITS, 0x20) and not driver.look(0)
        # Some front-ends write the whole of it back.
        front.set_config(0, bytes([ID_SERIAL]) + b"\xff" * 135)
        front.set_config(1, b"\0")
        assert front.get_config(0, 16) == bytes([ID_SERIAL, 0, 5, 0, 0, 0, 0, 0]) + b"kbd-7\0\0\0"
    with way.connect(host.socket("t"), queues=2, size=16) as front:
        driver = Input(front, indirect=way.indirect)
        assert struct.unpack("<5i", driver.look(ABS_INFO, ABS_Y)) == (0, 32767, 0, 0, 0)


def test_events_and_lights(start, way):
    host = start("virtio-keyboard,id=k", "virtio-mouse,id=m", "virtio-tablet,id=t")
    with way.connect(host.socket("k"), queues=2, size=16) as one, \
            way.connect(host.socket("m"), queues=2, size=16) as two, \
            way.connect(host.socket("t"), queues=2, size=16) as three, host.qmp() as qmp:
        keyboard, mouse, tablet = (Input(f, indirect=way.indirect) for f in (one, two, three))
        for turn in range(5):
            send(qmp, key("shift"), key("a"))
            send(qmp, key("a", False), key("shift", False))
            assert keyboard.groups(2) == [[(KEY, KEY_LEFTSHIFT, 1), (KEY, KEY_A, 1)],
                                          [(KEY, KEY_A, 0), (KEY, KEY_LEFTSHIFT, 0)]]
            send(qmp, button("left"), rel("x", -turn - 1), rel("y", 7), button("wheel-up"))
            assert mouse.groups() == [[(KEY, BTN_LEFT, 1), (REL, REL_X, -turn - 1), (REL, REL_Y, 7),
                                       (REL, REL_WHEEL, 1)]]
            send(qmp, place("x", 1 << 20), place("y", 400), button("left", turn % 2 == 0))
            assert tablet.groups() == [[(3, ABS_X, 32767), (3, ABS_Y, 400),
                                        (KEY, BTN_LEFT, int(turn % 2 == 0))]]
        keyboard.status(LED, 1, 1)
        assert shown(qmp, "k", "leds") == ["caps-lock"]
        keyboard.status(LED, 9, 1)
        keyboard.status(LED, 1, 0)
        assert shown(qmp, "k", "leds") == []
        assert shown(qmp, "k", "status-ignored") == 1 and shown(qmp, "k", "status-taken") == 2
        assert shown(qmp, "k", "events-given") == 30 and not shown(qmp, "k", "events-dropped")


def test_a_burst(start, way):
    """More than there are buffers: a group waits for them, and comes whole."""
    host = start("virtio-keyboard,id=k")
    with way.connect(host.socket("k"), queues=2, size=16) as front, host.qmp() as qmp:
        driver = Input(front, buffers=5, indirect=way.indirect)
        for _ in range(50):
            send(qmp, key("a"))
            send(qmp, key("a", False))
        assert driver.groups(100) == [[(KEY, KEY_A, 1)], [(KEY, KEY_A, 0)]] * 50
        assert not shown(qmp, "k", "events-dropped")


def test_a_driver_without_buffers(start, way):
    """What waits for it has a bound; whole groups are dropped, and counted."""
    host = start("virtio-keyboard,id=k")
    with way.connect(host.socket("k"), queues=2, size=16) as front, host.qmp() as qmp:
        driver = Input(front, buffers=0, indirect=way.indirect)
        for _ in range(150):
            send(qmp, *[key(str(n % 10)) for n in range(9)])
        dropped = shown(qmp, "k", "events-dropped")
        assert dropped % 10 == 0 and 0 < dropped < 1500
        driver.post(16)
        assert all(len(group) == 9 for group in driver.groups((1500 - dropped) // 10))
        assert shown(qmp, "k", "events-given") == 1500 - dropped
        send(qmp, key("b"))
        assert driver.groups() == [[(KEY, KEY_B, 1)]]


def test_reset_forgets(start, way):
    host = start("virtio-keyboard,id=k")
    with way.connect(host.socket("k"), queues=2, size=16) as front, host.qmp() as qmp:
        driver = Input(front, buffers=0, indirect=way.indirect)
        send(qmp, key("a"))
        driver.status(LED, 0, 1)
        assert shown(qmp, "k", "leds") == ["num-lock"]
    with way.connect(host.socket("k"), queues=2, size=16) as front, host.qmp() as qmp:
        driver = Input(front, indirect=way.indirect)
        assert shown(qmp, "k", "leds") == []
        send(qmp, key("b"))
        assert driver.groups() == [[(KEY, KEY_B, 1)]]
