# SPDX-License-Identifier: BSD-3-Clause
"""Runs where there is a /dev/kvm that works, without which QEMU has no vhost-user-input-pci: in the
guest of test_input.py, as root. One case by name; ends with `fine` on the last line. A line
`please WORD...` asks that test for something.

    PYTHONPATH=tests python3 input_inside.py monitor|passthrough
"""
import contextlib
import fcntl
import pathlib
import re
import struct
import sys
import tempfile
import threading

from lib.guest_qemu import GuestQemu, vhost_user_input
from lib.input import (ABS, BTN_LEFT, KEY, KEY_A, KEY_B, LED, REL, REL_WHEEL, REL_X, Input, button,
                       key, place, rel, send, shown, touch)
from lib.look import queue_of, status_of
from lib.process import wait_until
from lib.ringside import serve
from lib.vhost_user import Front

DRIVER = "/sys/bus/virtio/drivers/virtio_input"
CAPSL = 1
LOOKS = (("x-query-virtio-status", {}), ("x-query-virtio-queue-status", {"queue": 0}),
         ("x-query-virtio-queue-element", {"queue": 0}), ("query-virtqueue-inflight", {"queue": 0}),
         ("query-virtqueue-elements", {"queue": 0}), ("query-virtqueue-health", {"queue": 0}))


class Inner:
    """The guest in the guest, and its view of our devices."""

    def __init__(self, guest):
        self.guest = guest
        self.marks = 0

    def find(self, name):
        """The event device of that name."""
        found = self.guest.check(
            f"for d in /sys/class/input/event*; do "
            f"[ \"$(cat $d/device/name)\" = \"{name}\" ] && basename $d; done; true")
        assert re.fullmatch(r"event\d+", found), found
        return f"/dev/input/{found}"

    @contextlib.contextmanager
    def reads(self, path, events):
        """Yields a list which has the next so many of its events at the end."""
        self.marks += 1
        got = []
        number = self.guest.start(
            f"exec 5<{path}; echo open{self.marks}; head -c {24 * events} <&5 | "
            "hexdump -v -e '24/1 \"%02x\" \"\\n\"'")
        self.guest.process.expect(rb"open%d\r?\n" % self.marks, 0)
        yield got
        status, text = self.guest.finish(number)
        assert status == 0, text
        got += [struct.unpack("<16xHHi", bytes.fromhex(line)) for line in text.splitlines()[1:]]

    def put(self, path, kind, code, value):
        """Does to its event device what a program does that wants a light on."""
        data = struct.pack("<16xHHi24x", kind, code, value)
        octal = "".join(f"\\{byte:03o}" for byte in data)
        self.guest.check(f"printf '{octal}' >{path}")

    def virtio(self, path):
        """virtioN."""
        name = path.rpartition("/")[2]
        return self.guest.check(f"basename $(readlink -f /sys/class/input/{name}/device/device)")


@contextlib.contextmanager
def inner(tmp, host, *names):
    arguments = []
    for number, name in enumerate(names):
        arguments += vhost_user_input(host.socket(name), number)
    modules = "ringside.modules=virtio_pci,virtio_input,evdev"
    with GuestQemu(tmp / "inner", arguments, accel="kvm", memory=192 << 10,
                   append=modules) as guest:
        yield Inner(guest)


def ended(*events):
    """With a report behind each."""
    return [e for event in events for e in (event, (0, 0, 0))]


def check_kinds(inside, qmp):
    keyboard, mouse = inside.find("Ringside Virtio Keyboard"), inside.find("Ringside Virtio Mouse")
    tablet = inside.find("Ringside Virtio Tablet")
    surface = inside.find("Ringside Virtio MultiTouch")
    with inside.reads(keyboard, 6) as got:
        send(qmp, key("a"), key("b"))
        send(qmp, key("b", False), key("a", False))
    assert got == [(KEY, KEY_A, 1), (KEY, KEY_B, 1), (0, 0, 0),
                   (KEY, KEY_B, 0), (KEY, KEY_A, 0), (0, 0, 0)], got
    with inside.reads(mouse, 4) as got:
        send(qmp, rel("x", -3), button("left"), button("wheel-down"))
    assert got == [(REL, REL_X, -3), (KEY, BTN_LEFT, 1), (REL, REL_WHEEL, -1), (0, 0, 0)], got
    send(qmp, button("left", False), device="m")
    with inside.reads(tablet, 3) as got:
        send(qmp, place("x", 20000), place("y", 400))
    assert got == [(ABS, 0, 20000), (ABS, 1, 400), (0, 0, 0)], got
    with inside.reads(surface, 5) as got:
        send(qmp, touch("begin", 1, 7), touch("data", 1, axis="x", value=99), button("touch"))
    assert got == [(ABS, 0x2f, 1), (ABS, 0x39, 7), (ABS, 0x35, 99), (KEY, 0x14a, 1), (0, 0, 0)], got
    return keyboard


def check_lights(inside, qmp, keyboard):
    inside.put(keyboard, LED, CAPSL, 1)
    wait_until(lambda: shown(qmp, "k", "leds") == ["caps-lock"], "a light of the guest's")
    inside.put(keyboard, LED, CAPSL, 0)
    wait_until(lambda: shown(qmp, "k", "leds") == [], "and out again")
    assert shown(qmp, "k", "status-ignored") <= 2, "how to repeat, at most"


def check_looks(inside, qmp, keyboard):
    """Looks in between change nothing of what arrives."""
    with inside.reads(keyboard, 2 * 40) as got:
        for turn in range(40):
            send(qmp, key("a", turn % 2 == 0))
            if turn % 2:
                for name, arguments in LOOKS:
                    qmp.command(name, path="k/virtio-backend", **arguments)
    assert got == ended(*[(KEY, KEY_A, int(turn % 2 == 0)) for turn in range(40)]), got
    assert not status_of(qmp, "k")["broken"]


@contextlib.contextmanager
def flowing(host, *events, **where):
    """Somebody else does this all the time."""
    stop = threading.Event()

    def run():
        with host.qmp() as other:
            while not stop.is_set():
                send(other, *events, **where)
                stop.wait(0.005)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def check_keyboard(inside, qmp, keyboard):
    with inside.reads(keyboard, 4) as got:
        send(qmp, key("b"))
        send(qmp, key("b", False))
    assert got == ended((KEY, KEY_B, 1), (KEY, KEY_B, 0)), got


def check_unbind(inside, host, qmp, keyboard):
    name = inside.virtio(keyboard)
    with flowing(host, rel("x", 1), key("a"), key("a", False)):
        for _ in range(3):
            inside.guest.check(f"echo {name} >{DRIVER}/unbind")
            inside.guest.check(f"echo {name} >{DRIVER}/bind")
    assert not status_of(qmp, "k")["broken"]
    keyboard = inside.find("Ringside Virtio Keyboard")
    check_keyboard(inside, qmp, keyboard)
    return keyboard


def check_reboot(inside, host, qmp):
    inside.guest.qmp.command("set-action", reboot="reset")
    with flowing(host, key("a"), key("a", False)):
        inside.guest.qmp.command("system_reset")
        inside.guest.wait_ready()
        inside.guest._number = 0
    keyboard = inside.find("Ringside Virtio Keyboard")
    assert shown(qmp, "k", "leds") == []
    check_keyboard(inside, qmp, keyboard)


def check_unplug(inside, host, qmp):
    """Our device goes while it is used; the others stay."""
    mouse = inside.find("Ringside Virtio Mouse")
    with host.qmp() as events:
        for turn in range(50):
            send(qmp, key("a", turn % 2 == 0))
        events.command("device_del", id="k")
        events.event("DEVICE_DELETED")
    with inside.reads(mouse, 2) as got:
        send(qmp, rel("y", 5))
    assert got == [(REL, 1, 5), (0, 0, 0)], got


def monitor(tmp):
    devices = ["virtio-keyboard,id=k", "virtio-mouse,id=m", "virtio-tablet,id=t",
               "virtio-multitouch,id=f"]
    with serve(tmp, *devices) as host, host.qmp() as qmp, \
            inner(tmp, host, "k", "m", "t", "f") as inside:
        keyboard = check_kinds(inside, qmp)
        assert queue_of(qmp, "k")["used-idx"] == shown(qmp, "k", "events-given") % 65536
        check_lights(inside, qmp, keyboard)
        check_looks(inside, qmp, keyboard)
        check_unbind(inside, host, qmp, keyboard)
        check_reboot(inside, host, qmp)
        check_unplug(inside, host, qmp)


def please(*words):
    print("please", *words, flush=True)


def lights_of(path):
    """What the kernel says of a device's lights: EVIOCGLED."""
    with open(path, "rb") as file:
        return fcntl.ioctl(file, 0x80024519, bytes(2))[0]


def host_keyboard():
    """The keyboard that this guest was given."""
    for name in pathlib.Path("/sys/class/input").glob("event*/device/name"):
        if name.read_text().strip() == "QEMU Virtio Keyboard":
            return f"/dev/input/{name.parent.parent.name}"
    raise AssertionError("this guest has no keyboard of QEMU's")


def passthrough(tmp):
    path = host_keyboard()
    with serve(tmp, f"virtio-input-host,id=h,evdev={path}") as host, host.qmp() as qmp:
        # It is ours.
        error = qmp.error("device_add", driver="virtio-input-host", id="h2", evdev=path,
                          listen=str(tmp / "h2.sock"))
        assert "failed to get exclusive access" in error[1], error
        please("tap", "b")
        with inner(tmp, host, "h") as inside:
            keyboard = inside.find("QEMU Virtio Keyboard")
            for name, code in (("a", KEY_A), ("b", KEY_B), ("a", KEY_A)):
                with inside.reads(keyboard, 3) as got:
                    please("tap", name)
                assert got == [(KEY, code, 1), (KEY, code, 0), (0, 0, 0)], got
            assert lights_of(path) & 1 << CAPSL == 0
            inside.put(keyboard, LED, CAPSL, 1)
            wait_until(lambda: lights_of(path) & 1 << CAPSL, "the light on the device")
            assert "caps-lock" in shown(qmp, "h", "leds")
            assert shown(qmp, "h", "connected") is True
            assert qmp.error("input-send-event", events=[key("a")], device="h")[0] == "GenericError"
            inside.put(keyboard, LED, CAPSL, 0)
            wait_until(lambda: lights_of(path) & 1 << CAPSL == 0, "out again")
            inside.put(keyboard, LED, CAPSL, 1)
        wait_until(lambda: lights_of(path) & 1 << CAPSL == 0, "lights out with the guest")
        # The device goes: ours stays, and is silent.
        name = pathlib.Path(f"/sys/class/input/{path.rpartition('/')[2]}/device/device").resolve()
        (pathlib.Path(DRIVER) / "unbind").write_text(name.name)
        with Front(host.socket("h"), queues=2, size=64) as front:
            wait_until(lambda: not shown(qmp, "h", "connected"), "that it is gone")
            Input(front).status(LED, CAPSL, 1)
        assert not status_of(qmp, "h")["broken"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        {"monitor": monitor, "passthrough": passthrough}[sys.argv[1]](pathlib.Path(folder))
    print("fine")
