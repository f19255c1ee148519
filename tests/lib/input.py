# SPDX-License-Identifier: BSD-3-Clause
"""A driver of virtio-input on a lib.vhost_user.Front of two queues: virtio 1.3, "Input Device"."""
import struct

from lib.process import PATIENCE

EVENT = struct.Struct("<HHi")
SYN, KEY, REL, ABS, LED = 0, 1, 2, 3, 0x11
ID_NAME, ID_SERIAL, ID_DEVIDS, PROP_BITS, EV_BITS, ABS_INFO = 1, 2, 3, 0x10, 0x11, 0x12
KEY_1, KEY_A, KEY_B, KEY_LEFTSHIFT = 2, 30, 48, 42
BTN_LEFT, REL_X, REL_Y, REL_WHEEL, ABS_X, ABS_Y = 0x110, 0, 1, 8, 0, 1
REPORT = (SYN, 0, 0)


class Input:
    """buffers: how many the driver keeps with the device; 0: none yet."""

    def __init__(self, front, *, buffers=16, indirect=False):
        self.front, self.indirect = front, indirect
        self.posted = {}
        self.unread = []
        self.post(buffers)

    def post(self, count):
        """So many more buffers for events, and one kick."""
        queue, memory = self.front.queues[0], self.front.memory
        for _ in range(count):
            gpa = memory.alloc(EVENT.size)
            self.posted[queue.ring.add([(gpa, EVENT.size, True)], indirect=self.indirect)] = gpa
        queue.kick()

    def look(self, select, subsel=0):
        """What the configuration says of it."""
        self.front.set_config(0, bytes([select, subsel]))
        config = self.front.get_config(0, 136)
        assert config[:2] == bytes([select, subsel]) and not any(config[3:8])
        assert not any(config[8 + config[2]:])
        return config[8:8 + config[2]]

    def codes(self, kind):
        """The codes that the device has of a type."""
        bits = int.from_bytes(self.look(EV_BITS, kind), "little")
        return {code for code in range(1024) if bits >> code & 1}

    def groups(self, count=1, *, repost=True, timeout=PATIENCE):
        """So many groups of events, each without its report; their buffers go back."""
        found = []
        while len(found) < count:
            while REPORT not in self.unread:
                used = self.front.queues[0].next_used(timeout)
                for u in used:
                    assert u.len == EVENT.size, u
                    gpa = self.posted.pop(u.id)
                    self.unread.append(EVENT.unpack(self.front.memory.read(gpa, EVENT.size)))
                if repost:
                    self.post(len(used))
            end = self.unread.index(REPORT)
            found.append(self.unread[:end])
            self.unread = self.unread[end + 1:]
        return found

    def status(self, kind, code, value):
        """Send an event to the device."""
        gpa = self.front.memory.put(EVENT.pack(kind, code, value))
        return self.front.request(1, [(gpa, EVENT.size, False)], indirect=self.indirect)


def key(name, down=True):
    return {"type": "key", "data": {"key": {"type": "qcode", "data": name}, "down": down}}


def button(name, down=True):
    return {"type": "btn", "data": {"button": name, "down": down}}


def rel(axis, value):
    return {"type": "rel", "data": {"axis": axis, "value": value}}


def place(axis, value):
    return {"type": "abs", "data": {"axis": axis, "value": value}}


def touch(kind, slot=0, tracking_id=0, axis="x", value=0):
    return {"type": "mtt", "data": {"type": kind, "slot": slot, "tracking-id": tracking_id,
                                    "axis": axis, "value": value}}


def send(qmp, *events, **where):
    qmp.command("input-send-event", events=list(events), **where)


def shown(qmp, device, name):
    """A property of a device."""
    return qmp.command("qom-get", path=f"/machine/peripheral/{device}", property=name)
