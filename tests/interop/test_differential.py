# SPDX-License-Identifier: BSD-3-Clause
"""The five commands on QEMU's own virtio devices and on ours, with the same kernel and the same
load: replies and schemas are compared, and each difference has to be a row of the table.
"""
import fnmatch
import types

import pytest

from lib import contract, hmp, shape
from lib.guest_qemu import GuestQemu, vhost_user_blk, vhost_user_rng
from lib.guest_uml import GuestUml
from lib.process import wait_until
from lib.qmp import Qmp
from lib.ringside import serve
from lib.virtio import CONSOLE

NAMES = {"disk0": "virtio-blk", "rng0": "virtio-rng", "serial0": "virtio-serial"}
QUEUES = {"disk0": (0, 1), "rng0": (0, 1), "serial0": (0, 1, 2)}
# Members whose number has to be the same.
EXACT = {"device-id", "isr", "queue-sel", "num-vqs", "queue-index", "vring-align",
         "vring-num-default", "vring-num", "inuse", "len"}

# Device (or *), where (a pattern), difference, reason. docs/differences.md has the same rows.
STATUS, QUEUE = "x-query-virtio-status return", "x-query-virtio-queue-status queue"
TABLE = [
    ("*", "x-query-virtio-status path * error desc",
     "'Path * is not a VirtIODevice' in QEMU, 'Path * is not a realized VirtIODevice' in ours",
     "the sentence of QEMU 8.2 and later"),
    ("*", f"*: {STATUS} host-features transports", "only QEMU has VIRTIO_F_NOTIFY_ON_EMPTY",
     "a bit of legacy drivers; our devices are of virtio 1"),
    ("*", f"*: {STATUS} host-features transports", "only QEMU has VIRTIO_F_ANY_LAYOUT",
     "a bit of legacy drivers; our devices are of virtio 1"),
    ("*", f"*: {STATUS} host-features dev-features",
     "only QEMU has VHOST_USER_F_PROTOCOL_FEATURES",
     "QEMU's PCI transport offers bit 30 (BAD_FEATURE) and labels it so; ours offers it to nobody"),
    ("*", f"*: {STATUS} host-features unknown-dev-features", "only QEMU has it",
     "bit 40, RING_RESET, which QEMU 7.2 has no label for"),
    ("*", f"running: {STATUS} guest-features unknown-dev-features", "only QEMU has it",
     "bit 40, RING_RESET, which QEMU 7.2 has no label for"),
    ("*", f"*: {STATUS} *-features transports", "only ours has VIRTIO_F_RING_RESET",
     "the same bit with its label"),
    ("*", f"running: {STATUS} isr", "1 in QEMU, 0 in ours",
     "vhost-user carries no ISR register: the reset value, marked unknown by query-virtio-sources"),
    ("virtio-blk", f"*: {STATUS} *-features dev-features", "only QEMU has VIRTIO_BLK_F_GEOMETRY",
     "cylinders and heads that no disk has are not made up"),
    ("virtio-blk", f"running: {QUEUE} 0 return vring-num", "256 in QEMU, 128 in ours",
     "the front-end decides: vhost-user-blk of QEMU sets 128"),
    ("virtio-blk", "running: element return descs", "in reverse order in QEMU",
     "descriptors are listed in the order of their chain"),
    ("virtio-rng", f"*: {QUEUE} 0 return vring-num-default", "8 in QEMU, 64 in ours",
     "a default of our own"),
    ("virtio-rng", f"before: {QUEUE} 0 return vring-num", "8 in QEMU, 64 in ours",
     "a default of our own"),
    ("virtio-rng", f"running: {QUEUE} 0 return vring-num", "8 in QEMU, 4 in ours",
     "the front-end decides: vhost-user-rng of QEMU sets 4"),
    ("virtio-serial", f"*: {STATUS} *-features dev-features",
     "only ours has VIRTIO_CONSOLE_F_SIZE", "QEMU never says how large a terminal is"),
    ("virtio-serial", f"*: {STATUS} host-features dev-features",
     "only QEMU has VIRTIO_CONSOLE_F_EMERG_WRITE", "not offered: no driver that we know uses it"),
    ("virtio-serial", f"running: {STATUS} queue-sel", "63 in QEMU, 0 in ours",
     "vhost-user carries no such register: the reset value, marked unknown by "
     "query-virtio-sources"),
    ("virtio-serial", f"*: {QUEUE} 2 return vring-num-default", "32 in QEMU, 128 in ours",
     "a default of our own"),
    ("virtio-serial", f"before: {QUEUE} 2 return vring-num", "32 in QEMU, 128 in ours",
     "a default of our own"),
    ("virtio-serial", f"running: {QUEUE} 2 return vring-num", "32 in QEMU, 256 in ours",
     "the front-end decides: user-mode Linux sets 256"),
    ("virtio-serial", f"running: {QUEUE} ? return vring-num", "128 in QEMU, 256 in ours",
     "the front-end decides: user-mode Linux sets 256"),
]

LOAD = {
    "disk0": "dd if=/dev/vda of=/dev/null bs=4k count=64 iflag=direct; "
             "dd if=/dev/zero of=/dev/vda bs=4k count=16 oflag=direct conv=notrunc",
    "rng0": "dd if=/dev/hwrng of=/dev/null bs=64 count=4",
    "serial0": "echo hello >/dev/hvc0; echo again >/dev/hvc0",
}


def path_of(device):
    return f"/machine/peripheral/{device}/virtio-backend"


def ask(qmp, device):
    """What the commands say of a device: a dictionary from a question to a reply."""
    path = path_of(device)
    replies = {"x-query-virtio-status": qmp.execute("x-query-virtio-status", {"path": path})}
    for queue in QUEUES[device]:
        for name in ("x-query-virtio-queue-status", "x-query-virtio-vhost-queue-status"):
            replies[f"{name} queue {queue}"] = qmp.execute(name, {"path": path, "queue": queue})
    return {question: _strip(reply) for question, reply in replies.items()}


def ask_element(qmp, device, queue, **index):
    arguments = {"path": path_of(device), "queue": queue, **index}
    return _strip(qmp.execute("x-query-virtio-queue-element", arguments))


def _strip(reply):
    """Without the id; an error's class and sentence side by side with a return value."""
    return {k: v for k, v in reply.items() if k != "id"}


# Input that is refused before or by the handler.
BAD_PATHS = ["/machine/nowhere", "/machine", "disk0", "", "/machine/peripheral/disk0"]
BAD_ARGUMENTS = [
    {}, {"path": 1}, {"path": None}, {"queue": 0}, {"path": "x", "queue": "0"},
    {"path": "x", "queue": -1}, {"path": "x", "queue": 65536}, {"path": "x", "queue": 0.5},
    {"path": "x", "queue": 1 << 64}, {"path": "x", "queue": True}, {"path": "x", "queue": [0]},
    {"path": "x", "extra": 1}, {"path": "x", "queue": 0, "index": 65536},
]


def ask_wrongly(qmp):
    """Questions that get an error, from a place in the contract to the reply."""
    replies = {}
    for name in contract.COMMANDS:
        wanted = [m for m, _, _ in contract.members(contract.COMMANDS[name][0])]
        for path in BAD_PATHS if "path" in wanted else ():
            arguments = {"path": path, **({"queue": 0} if "queue" in wanted else {})}
            replies[f"{name} path '{path}'"] = _strip(qmp.execute(name, arguments))
        for arguments in BAD_ARGUMENTS:
            # Which of two unexpected members is named is chance.
            if len(arguments.keys() - set(wanted)) > 1:
                continue
            replies[f"{name} arguments {arguments}"] = _strip(qmp.execute(name, arguments))
        for queue in (1023, 1024, 65535) if "queue" in wanted else ():
            arguments = {"path": path_of("disk0"), "queue": queue}
            replies[f"{name} queue {queue}"] = _strip(qmp.execute(name, arguments))
        raw = '{"execute": "%s", "arguments": []}\n' % name
        qmp.raw(raw.encode())
        replies[f"{name} arguments []"] = _strip(qmp.reply())
    return replies


def own_devices(folder):
    """QEMU's own devices, in the order in which ours are made."""
    image = folder / "theirs"
    image.write_bytes(bytes(4 << 20))
    return ["-drive", f"if=none,id=d0,format=raw,file={image}",
            "-device", "virtio-blk-pci,drive=d0,id=disk0,num-queues=1",
            "-object", "rng-random,id=r0,filename=/dev/urandom",
            "-device", "virtio-rng-pci,rng=r0,id=rng0",
            "-chardev", "null,id=c0", "-device", "virtio-serial-pci,id=serial0",
            "-device", "virtconsole,chardev=c0"]


def check_people(qmp, device, queues, *, no_bus, whats=("queue-status",)):
    """The monitor for people says what QMP says, in QEMU's layout, on QEMU and here."""
    hmp.check(qmp, path_of(device), "status", no_bus)
    for queue in queues:
        for what in whats:
            hmp.check(qmp, path_of(device), what, queue=queue)


def waiting_read(guest):
    guest.check("(dd if=/dev/vda of=/dev/null bs=4k count=2 iflag=direct; touch /tmp/read) "
                ">/dev/null 2>&1 &")


def queue_status(qmp, device, queue):
    return qmp.command("x-query-virtio-queue-status", path=path_of(device), queue=queue)


def monitor_of(guest):
    """None until it listens: the socket is there a moment earlier."""
    try:
        return Qmp(str(guest.qmp_path))
    except (FileNotFoundError, ConnectionRefusedError):
        return None


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    guest = GuestQemu(folder / "guest", [*own_devices(folder), "-S"])
    seen = types.SimpleNamespace()
    limits = {"device": "d0"}
    try:
        with wait_until(lambda: monitor_of(guest), "QEMU's monitor") as qmp:
            seen.list = qmp.command("x-query-virtio")
            seen.before = {device: ask(qmp, device) for device in NAMES}
            for device in NAMES:
                seen.before[device]["element"] = ask_element(qmp, device, 0)
            seen.wrong = ask_wrongly(qmp)
            seen.schema = qmp.command("query-qmp-schema")
            qmp.command("cont")
        with guest:
            for device in NAMES:
                guest.check(LOAD[device])
            seen.running = {device: ask(guest.qmp, device) for device in NAMES}
            for device in NAMES:
                check_people(guest.qmp, device, QUEUES[device][:-1], no_bus="(null)")
            # A receive buffer waits for the device: nothing stale is walked.
            seen.running["serial0"]["element"] = ask_element(guest.qmp, "serial0", 0)
            hmp.check(guest.qmp, path_of("serial0"), "queue-element", queue=0)
            # A table of a request in flight cannot change under QEMU either.
            for name in ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"):
                limits[name] = 512 if name == "bps" else 0
            assert "return" in guest.qmp.execute("block_set_io_throttle", limits)
            waiting_read(guest)
            wait_until(lambda: queue_status(guest.qmp, "disk0", 0)["inuse"], "a read in flight")
            index = queue_status(guest.qmp, "disk0", 0)["last-avail-idx"] - 1
            seen.running["disk0"]["element"] = ask_element(guest.qmp, "disk0", 0, index=index)
    finally:
        guest.process.kill()
    return seen


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours")
    image = folder / "image"
    image.write_bytes(bytes(4 << 20))
    seen = types.SimpleNamespace()
    with serve(folder, f"virtio-blk,id=disk0,filename={image}", "virtio-rng,id=rng0",
               "virtio-serial,id=serial0", "virtconsole,chardev=null") as host, host.qmp() as qmp:
        qmp.command("stop")
        seen.list = qmp.command("x-query-virtio")
        seen.before = {device: ask(qmp, device) for device in NAMES}
        for device in NAMES:
            seen.before[device]["element"] = ask_element(qmp, device, 0)
        seen.wrong = ask_wrongly(qmp)
        seen.schema = qmp.command("query-qmp-schema")
        qmp.command("cont")
        arguments = vhost_user_blk(host.socket("disk0"), num_queues=1) + \
            vhost_user_rng(host.socket("rng0"))
        with GuestQemu(folder / "guest", arguments) as guest, \
                GuestUml(folder / "uml", [(host.socket("serial0"), CONSOLE)]) as uml:
            for device in NAMES:
                (uml if device == "serial0" else guest).check(LOAD[device])
            seen.running = {device: ask(qmp, device) for device in NAMES}
            seen.running["serial0"]["element"] = ask_element(qmp, "serial0", 0)
            for device in NAMES:
                check_people(qmp, device, QUEUES[device][:-1], no_bus="(none)",
                             whats=("queue-status", "queue-element"))
            # QEMU drives ours, a vhost device to it: the layout of one, which our relay has too.
            check_people(guest.qmp, "disk0", [0], no_bus="(null)", whats=["vhost-queue-status"])
            qmp.command("stop")
            before = queue_status(qmp, "disk0", 0)["last-avail-idx"]
            waiting_read(guest)
            # Default: the next one that the device would take.
            wait_until(lambda: ask_element(qmp, "disk0", 0)["return"]["avail"]["idx"] != before,
                       "a read that waits")
            seen.running["disk0"]["element"] = ask_element(qmp, "disk0", 0)
            qmp.command("cont")
            guest.check("until [ -e /tmp/read ]; do sleep 0.1; done")
    return seen


def gather(theirs, ours):
    """(device, where, what) of every difference."""
    found = [("*", *d) for d in shape.differences(theirs.list, ours.list, "x-query-virtio")]
    found += [("*", *d) for q in theirs.wrong
              for d in shape.differences(theirs.wrong[q], ours.wrong[q], q, EXACT)]
    for state in ("before", "running"):
        for device, name in NAMES.items():
            mine, yours = getattr(ours, state)[device], getattr(theirs, state)[device]
            assert mine.keys() == yours.keys()
            for question, reply in yours.items():
                found += [(name, *d) for d in
                          shape.differences(reply, mine[question], f"{state}: {question}", EXACT)]
    for command in contract.COMMANDS:
        found += [("*", *d) for d in
                  shape.differences(shape.command_structure(theirs.schema, command),
                                    shape.command_structure(ours.schema, command),
                                    f"schema: {command}")]
    return found


def allows(row, difference):
    device, where, what = difference
    return row[0] in ("*", device) and fnmatch.fnmatchcase(where, row[1]) \
        and fnmatch.fnmatchcase(what, row[2])


def test_every_difference_is_in_the_table(theirs, ours):
    strange = [d for d in gather(theirs, ours) if not any(allows(row, d) for row in TABLE)]
    assert not strange, "\n".join(map(str, strange))


def test_every_row_of_the_table_happens(theirs, ours):
    found = gather(theirs, ours)
    idle = [row for row in TABLE if not any(allows(row, d) for d in found)]
    assert not idle, "\n".join(map(str, idle))


def test_the_documentation_has_the_same_rows(source_root):
    text = (source_root / "docs" / "differences.md").read_text()
    documented = {line for line in text.splitlines() if line.startswith("| `")}
    expected = {"| `%s` | `%s` | `%s` | %s |" % row for row in TABLE}
    assert expected <= documented, "not documented:\n" + "\n".join(expected - documented)
    section = text.partition("## Seen beside QEMU 7.2")[2].partition("\n## ")[0]
    listed = {line for line in section.splitlines() if line.startswith("| `")}
    assert listed == expected, "only documented:\n" + "\n".join(listed - expected)


def test_our_replies_are_the_contract(ours):
    contract.check(ours.list, "[VirtioInfo]")
    checked = 0
    for state in (ours.before, ours.running):
        for replies in state.values():
            for question, reply in replies.items():
                name = question.split()[0].replace("element", "x-query-virtio-queue-element")
                if "return" in reply:
                    contract.check(reply["return"], contract.COMMANDS[name][1], question)
                    checked += 1
    assert checked >= 15


@pytest.mark.parametrize("command", contract.COMMANDS)
def test_our_schema_is_the_contract(ours, command):
    assert shape.command_structure(ours.schema, command) == contract.command_structure(command)


def test_what_was_compared_is_alive(theirs, ours):
    """Guards the comparison itself: both sides had drivers, requests and a chain to walk."""
    for seen in (theirs, ours):
        for device, name in NAMES.items():
            status = seen.running[device]["x-query-virtio-status"]["return"]
            assert status["started"] and status["name"] == name
            queue = 1 if device == "serial0" else 0
            reply = seen.running[device][f"x-query-virtio-queue-status queue {queue}"]["return"]
            assert reply["used-idx"] and reply["signalled-used-valid"]
        assert len(seen.running["disk0"]["element"]["return"]["descs"]) == 3
        assert seen.running["serial0"]["element"]["return"]["descs"][0]["flags"] == ["write"]


@pytest.mark.parametrize("theirs, ours, what", [
    ({"a": 1}, {}, "only QEMU has it"),
    ({}, {"a": 1}, "only ours has it"),
    ({"a": 1}, {"a": "1"}, "number in QEMU, string in ours"),
    ({"a": True}, {"a": 1}, "boolean in QEMU, number in ours"),
    ({"a": ["X: one"]}, {"a": []}, "only QEMU has X"),
    ({"a": []}, {"a": ["X: one"]}, "only ours has X"),
    ({"a": ["X: one"]}, {"a": ["X: two"]}, "the text of X"),
    ({"a": ["X: 1", "Y: 2"]}, {"a": ["Y: 2", "X: 1"]}, "the order"),
    ({"a": ["x"]}, {"a": ["x", "y"]}, "1 entries in QEMU, 2 in ours"),
    ({"a": ["x", "y"]}, {"a": ["y", "x"]}, "in reverse order in QEMU"),
    ({"a": ["x"]}, {"a": ["y"]}, "'x' in QEMU, 'y' in ours"),
    ({"a": 1}, {"a": 2}, "1 in QEMU, 2 in ours"),
    ({"b": 1}, {"b": 2}, None),
])
def test_the_comparison(theirs, ours, what):
    found = [d[1] for d in shape.differences(theirs, ours, "", {"a"})]
    assert found == ([what] if what else [])
