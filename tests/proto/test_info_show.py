# SPDX-License-Identifier: BSD-3-Clause
"""`ringside info`: what it prints, which queries it does not send, and QEMU where there is one."""
import fcntl
import json
import os
import pathlib
import pty
import shutil
import struct
import subprocess
import tempfile
import termios

import pytest

from lib.fake_qmp import RINGSIDE, Error, FakeQmp
from lib.info import BLK, LIST, OURS, QUEUE, RNG, STATUS, TABLE, info, ok, sentence
from lib.process import PATIENCE, Process, wait_until
from lib.ringside import serve


@pytest.fixture
def folder():
    """A short-named one: a socket's path has 107 bytes."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="rs-"))
    yield path
    shutil.rmtree(path)


# ---- what is printed ---------------------------------------------------------------------------

def test_list(ringside_bin, folder):
    with FakeQmp(folder / "q", TABLE):
        assert ok(ringside_bin, "--qmp", folder / "q", "virtio") == (
            f"virtio-blk  {BLK}\nvirtio-rng  {RNG}\n")
        assert json.loads(ok(ringside_bin, "--qmp", folder / "q", "--json", "virtio")) == LIST


@pytest.mark.parametrize("reply", [[], Error("No virtio devices found")])
def test_empty_list(ringside_bin, folder, reply):
    with FakeQmp(folder / "q", {**TABLE, "x-query-virtio": reply}):
        assert ok(ringside_bin, "--qmp", folder / "q", "virtio") == "no virtio devices\n"
        assert ok(ringside_bin, "--qmp", folder / "q", "virtio", "--json") == "[]\n"
        assert ok(ringside_bin, "--qmp", folder / "q").endswith("no virtio devices\n")


STATUS_TEXT = f"""\
virtio-blk  {BLK}
  device-id                2
  num-vqs                  2
  device-endian            little
  bus-name                 -
  vm-running               true
  started                  true
  broken                   false
  disabled                 false
  isr                      0       (unknown: the transport does not carry it)
  queue-sel                1
  vhost-started            false
  use-started              true
  start-on-kick            false
  disable-legacy-check     false
  use-guest-notifier-mask  true

status  (derived: from the messages)
  VIRTIO_CONFIG_S_ACKNOWLEDGE  seen
  VIRTIO_CONFIG_S_DRIVER       has a driver

features (* accepted by the driver, ! accepted but not offered)
     VIRTIO_RING_F_EVENT_IDX                  events
  *  VIRTIO_F_VERSION_1                       modern
  !  VIRTIO_BLK_F_RO                          read-only
     unknown-dev-features 0x8000000000000000  offered

backend-features
  none
"""


def test_status(ringside_bin, folder):
    with FakeQmp(folder / "q", OURS, version=RINGSIDE) as server:
        assert ok(ringside_bin, "--qmp", folder / "q", "status", BLK) == STATUS_TEXT
        assert server.names() == ["x-query-virtio-status", "query-virtio-sources"]


QUEUE_TEXT = f"""\
virtio-blk queue 0 (requestq)  {BLK}
  vring-num             128
  vring-num-default     256
  vring-align           4096
  vring-desc            0x1000
  vring-avail           0x1800
  vring-used            0xffffffffffffffff
  inuse                 2                   (derived: one in flight is head 3)
  last-avail-idx        7
  shadow-avail-idx      9
  used-idx              5                   (memory)
  signalled-used        5
  signalled-used-valid  true
  2 made available and not taken by the device, 2 taken and not answered
"""


def test_queue(ringside_bin, folder):
    with FakeQmp(folder / "q", OURS, version=RINGSIDE):
        assert ok(ringside_bin, "--qmp", folder / "q", "queue", BLK, 0) == QUEUE_TEXT
        reply = json.loads(ok(ringside_bin, "--qmp", folder / "q", "--json", "queue", BLK, 0))
        assert reply == QUEUE
        assert "Invalid virtqueue number 5" in sentence(
            ringside_bin, "--qmp", folder / "q", "queue", BLK, 5)


ELEMENT_TEXT = f"""\
virtio-blk queue 1 element 17  {BLK}
  #         addr   len  flags
  0       0x2000    16  next
  1  0x123456000  4096  write next
  2       0x2010     1
avail  flags 0  idx 9  ring 17
used   flags 1  idx 5
"""


def test_element(ringside_bin, folder):
    with FakeQmp(folder / "q", OURS, version=RINGSIDE) as server:
        assert ok(ringside_bin, "--qmp", folder / "q", "element", BLK, 1) == ELEMENT_TEXT
        ok(ringside_bin, "--qmp", folder / "q", "element", BLK, "0x1", "65535")
        assert [a for n, a in server.commands if n == "x-query-virtio-queue-element"] == [
            {"path": BLK, "queue": 1}, {"path": BLK, "queue": 1, "index": 65535}]


def test_sources(ringside_bin, folder):
    with FakeQmp(folder / "q", OURS, version=RINGSIDE):
        assert ok(ringside_bin, "--qmp", folder / "q", "sources", BLK) == (
            f"{BLK}\n  isr                  unknown\n  num-vqs              derived\n"
            "  status               derived  from the messages\n"
            "  queue.0.used-idx     memory\n"
            "  queue.0.queue-index  derived  its role is requestq\n"
            "  queue.0.inuse        derived  one in flight is head 3\n")
    with FakeQmp(folder / "q2", TABLE):
        assert "needs a Ringside monitor" in sentence(
            ringside_bin, "--qmp", folder / "q2", "sources", BLK)


VHOST = {"name": "virtio-blk", "kick": 0, "call": 0, "num": 128, "desc-phys": 4096,
         "desc-size": 2048, "avail-phys": 8192, "avail-size": 262, "used-phys": 12288,
         "used-size": 1030, "of-the-future": [1]}


def test_absent_and_unknown_members(ringside_bin, folder):
    """What QEMU drops one day is '-', what it adds is passed over, what has another type is '-'."""
    odd = {"x-query-virtio-vhost-queue-status": VHOST,
           "x-query-virtio-status": {"name": "virtio-x", "isr": [1], "broken": None,
                                     "vhost-dev": {"nvqs": 3}, "host-features": 5},
           "x-query-virtio-queue-status": {}, "x-query-virtio-queue-element": {"descs": [1, {}]}}
    with FakeQmp(folder / "q", {**OURS, **odd}, version=RINGSIDE):
        qmp = ("--qmp", folder / "q")
        out = ok(ringside_bin, *qmp, "vhost-queue", BLK, 0)
        rows = dict(line.split(None, 1) for line in out.splitlines()[1:])
        assert rows["desc"] == "-" and rows["desc-phys"] == "0x1000" and rows["used-size"] == "1030"
        assert "future" not in out
        out = ok(ringside_bin, *qmp, "status", BLK)
        assert "isr                      -" in out and "nvqs            3" in out
        out = ok(ringside_bin, *qmp, "queue", BLK, 0)
        assert out.startswith("- queue 0") and "  inuse                 -  (derived" in out
        assert "made available" not in out
        out = ok(ringside_bin, *qmp, "element", BLK, 0)
        assert "avail  flags -  idx -  ring -" in out and "  0     -    -  -\n" in out
        ok(ringside_bin, *qmp)
        reply = json.loads(ok(ringside_bin, *qmp, "--json", "vhost-queue", BLK, 0))
        assert reply == VHOST


@pytest.mark.parametrize("reply", [None, [], 3, "text", [[]]])
def test_replies_of_another_kind(ringside_bin, folder, reply):
    """Never a crash."""
    names = ["x-query-virtio-status", "x-query-virtio-queue-status", "query-virtio-sources",
             "x-query-virtio-vhost-queue-status", "x-query-virtio-queue-element", "query-name",
             "query-status", "query-iothreads", "query-virtio-queue-threads"]
    with FakeQmp(folder / "q", {**OURS, **dict.fromkeys(names, reply)}, version=RINGSIDE):
        for verb in (["status", BLK], ["queue", BLK, 0], ["vhost-queue", BLK, 0], ["sources", BLK],
                     ["element", BLK, 0], ["iothreads"], []):
            ok(ringside_bin, "--qmp", folder / "q", *verb)
            ok(ringside_bin, "--qmp", folder / "q", "--json", *verb)


IOTHREADS = [{"id": "io0", "thread-id": 77, "poll-max-ns": 32768, "poll-grow": 0,
              "poll-shrink": 0, "aio-max-batch": 0},
             {"id": "a-longer-one", "thread-id": 8, "poll-max-ns": 0, "poll-grow": 2,
              "poll-shrink": 3, "aio-max-batch": 0}]
IOTHREADS_TEXT = """\
iothread      thread-id  poll-max-ns  poll-grow  poll-shrink
io0                  77        32768          0            0
a-longer-one          8            0          2            3
"""


def test_iothreads(ringside_bin, folder):
    """QEMU tells no more than who they are; Ringside also what they serve, as far as it tells."""
    with FakeQmp(folder / "q", {"query-iothreads": IOTHREADS}):
        assert ok(ringside_bin, "--qmp", folder / "q", "iothreads") == IOTHREADS_TEXT
    with FakeQmp(folder / "q2", {"query-iothreads": []}):
        assert ok(ringside_bin, "--qmp", folder / "q2", "iothreads") == "no iothreads\n"

    def served(path):
        if path == RNG:
            return Error("not any more")
        return [{"queue": 0, "iothread": "io0", "thread-id": 77}, {"queue": 1, "thread-id": 5},
                {"queue": 2, "iothread": "io0", "thread-id": 77}]
    table = {**OURS, "query-iothreads": IOTHREADS, "query-virtio-queue-threads": served}
    with FakeQmp(folder / "q3", table, version=RINGSIDE):
        lines = ok(ringside_bin, "--qmp", folder / "q3", "iothreads").splitlines()
        assert [line.split()[0] for line in lines] == [
            "iothread", "io0", "a-longer-one", "(built-in)"]
        assert lines[1].endswith("  0  disk0 0 2") and lines[3].endswith("  disk0 1")
    with FakeQmp(folder / "q4", {**OURS, "query-iothreads": IOTHREADS}, version=RINGSIDE):
        out = ok(ringside_bin, "--qmp", folder / "q4", "iothreads")
        assert "device and its queues" in out and "disk0" not in out


SUMMARY_TEXT = f"""\
ringside 0.1  box  running  %s

virtio-blk  {BLK}
  status    ACKNOWLEDGE DRIVER
  features  2 of 2 offered are accepted
  queue  size  inuse  last-avail  shadow-avail  used  role
      0   128      2           7             9     5  requestq
  1 of 2 queues not set up by a driver

virtio-rng  {RNG}
  status    not shown: Path went away
"""


def test_summary(ringside_bin, folder):
    def status(path):
        return STATUS if path == BLK else Error("Path went away")
    table = {**OURS, "x-query-virtio-status": status}
    with FakeQmp(folder / "q", table, version=RINGSIDE):
        assert ok(ringside_bin, "--qmp", folder / "q") == SUMMARY_TEXT % (folder / "q")
        document = json.loads(ok(ringside_bin, "--qmp", folder / "q", "--json"))
        assert [sorted(d) for d in document] == [["name", "path", "queues", "status"],
                                                ["name", "path"]]
        assert document[0]["status"] == STATUS and len(document[0]["queues"]) == 2
    with FakeQmp(folder / "q2", TABLE, end_after="x-query-virtio-status"):
        status, _, err = info(ringside_bin, "--qmp", folder / "q2")
        assert status == 1 and "closed the connection" in err


def test_summary_of_many_queues(ringside_bin, folder):
    """Those that were never used are counted, not listed; ring indices wrap."""
    def queue(path, queue):
        used = {"last-avail-idx": 65535, "shadow-avail-idx": 1, "used-idx": 65535}
        unused = {"inuse": 0, "last-avail-idx": 0, "shadow-avail-idx": 0, "used-idx": 0}
        return {**QUEUE, "queue-index": queue, **(used if queue == 5 else unused)}
    table = {**OURS, "x-query-virtio": LIST[:1], "x-query-virtio-status": {**STATUS, "num-vqs": 20},
             "x-query-virtio-queue-status": queue}
    with FakeQmp(folder / "q", table, version=RINGSIDE):
        out = ok(ringside_bin, "--qmp", folder / "q")
        assert out.endswith("      5   128      2       65535             1  65535\n"
                            "  19 of 20 queues set up and never used\n")
        out = ok(ringside_bin, "--qmp", folder / "q", "queue", BLK, 5)
        assert "  2 made available and not taken by the device" in out


def test_broken_with_its_reason(ringside_bin, folder):
    why = {"member": "broken", "source": "derived", "note": "queue 0: loop at descriptor 1"}
    table = {**OURS, "x-query-virtio-status": {**STATUS, "broken": True},
             "query-virtio-sources": [why]}
    with FakeQmp(folder / "q", table, version=RINGSIDE):
        assert "DRIVER broken: queue 0: loop at descriptor 1\n" in ok(
            ringside_bin, "--qmp", folder / "q")
        assert "(derived: queue 0: loop at descriptor 1)" in ok(
            ringside_bin, "--qmp", folder / "q", "status", BLK)


@pytest.mark.parametrize("sentence_, hint", [
    ("Region caches not initialized", "no driver has set this queue up"),
    ("Error: vhost device has not started yet", "no vhost back-end serves this device"),
    ("Path x is not a VirtIODevice", "'ringside info virtio' lists the paths")])
def test_hint_beside_the_interface_sentence(ringside_bin, folder, sentence_, hint):
    table = {**OURS, "x-query-virtio-queue-element": Error(sentence_)}
    with FakeQmp(folder / "q", table, version=RINGSIDE):
        said = sentence(ringside_bin, "--qmp", folder / "q", "element", BLK, 0)
        assert sentence_ in said and hint in said


def on_terminal(argv, columns, env=None):
    """Run it with its output on a terminal of that width; return what it wrote."""
    try:
        master, slave = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminals here: {error}")
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    run = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.STDOUT,
                           env={**os.environ, "TERM": "xterm", **(env or {})})
    os.close(slave)
    data = b""
    while True:
        try:
            more = os.read(master, 65536)
        except OSError:
            break
        if not more:
            break
        data += more
    os.close(master)
    assert run.wait(PATIENCE) == 0, data
    return data.decode().replace("\r\n", "\n")


def test_terminal(ringside_bin, folder):
    """Colour and width only there; a peer's escape sequences never."""
    evil = {**STATUS, "bus-name": "\x1b[2J\x9b", "broken": True}
    with FakeQmp(folder / "q", {**OURS, "x-query-virtio-status": evil}, version=RINGSIDE):
        argv = [ringside_bin, "info", "--qmp", str(folder / "q"), "status", BLK]
        out = on_terminal(argv, 60)
        assert "\x1b[1m" in out and "\x1b[2J" not in out and "??" not in out.splitlines()[0]
        assert "\x1b[1;31mtrue" in out
        plain = on_terminal(argv, 60, {"NO_COLOR": "1"})
        assert "\x1b" not in plain and "\x9b" not in plain
        marked = next(line for line in plain.splitlines() if line.startswith("  isr"))
        assert len(marked) == 60 and marked.endswith("...")
        assert "\x1b" not in on_terminal(argv, 60, {"TERM": "dumb"})
        assert on_terminal([*argv, "--json"], 60).startswith("{\n")
        assert "\x1b" not in ok(ringside_bin, *argv[2:], env={"TERM": "xterm"})


def test_full_disk(ringside_bin, folder):
    with FakeQmp(folder / "q", TABLE), open("/dev/full", "wb") as full:
        assert "cannot write to standard output" in sentence(
            ringside_bin, "--qmp", folder / "q", "virtio", stdout=full)


# ---- paths -------------------------------------------------------------------------------------

@pytest.mark.parametrize("word, sent", [
    ("disk0", BLK), ("disk0/virtio-backend", BLK), ("peripheral/rng0", RNG), (BLK, BLK),
    ("disk", "disk"), ("", ""), ("/nope", "/nope"), ("nope", "nope"),
])
def test_partial_path(ringside_bin, folder, word, sent):
    with FakeQmp(folder / "q", OURS, version=RINGSIDE) as server:
        ok(ringside_bin, "--qmp", folder / "q", "--json", "status", word)
        assert server.commands[-1] == ("x-query-virtio-status", {"path": sent})


def test_ambiguous_path(ringside_bin, folder):
    with FakeQmp(folder / "q", OURS, version=RINGSIDE):
        line = sentence(ringside_bin, "--qmp", folder / "q", "status", "virtio-backend")
        assert f"'virtio-backend' fits 2 devices: {BLK}, {RNG}" in line


# ---- what harms QEMU ---------------------------------------------------------------------------

VHOST_USER = {**STATUS, "vhost-started": True, "vhost-dev": {"backend-cap": 0}}
VHOST_KERNEL = {**STATUS, "vhost-started": True, "vhost-dev": {"backend-cap": 2}}
V11 = {"qemu": {"major": 11, "minor": 0, "micro": 0}, "package": ""}


@pytest.mark.parametrize("kind, verb, status, version, expected", [
    ("virtio-blk-device", "element", STATUS, None, "marks the device broken or aborts"),
    ("virtio-blk-device", "element", STATUS, V11, "marks the device broken or aborts"),
    ("virtio-blk-device", "queue", STATUS, None, None),
    ("virtio-blk-device", "status", STATUS, None, None),
    ("vhost-user-blk", "queue", STATUS, None, "stops the ring"),
    ("vhost-user-blk", "status", STATUS, None, None),
    ("vhost-user-blk", "vhost-queue", STATUS, None, None),
    ("vhost-user-i2c-device", "status", STATUS, None, "abort"),
    ("vhost-user-i2c-device", "vhost-queue", STATUS, None, "crashes with the whole guest"),
    ("vhost-user-gpio-device", "status", STATUS, None, "crashes with the whole guest"),
    ("vhost-user-rng", "status", STATUS, None, None),
    ("vhost-user-rng", "status", STATUS, V11, "crashes with the whole guest"),
    ("virtio-net-device", "queue", STATUS, None, None),
    ("virtio-net-device", "queue", VHOST_USER, None, "stops the ring"),
    ("virtio-net-device", "queue", VHOST_KERNEL, None, None),
    ("virtio-net-device", "queue", Error("no"), None, "status cannot be read: no"),
    ("never-heard-of", "status", STATUS, None, "'never-heard-of' is not known"),
    (Error("ambiguous"), "status", STATUS, None, "cannot be found out: ambiguous"),
    (7, "status", STATUS, None, "cannot be found out"),
])
def test_harm(ringside_bin, folder, kind, verb, status, version, expected):
    """Refused queries are never sent; with --allow-harm nothing is asked before."""
    command = {"status": "x-query-virtio-status", "queue": "x-query-virtio-queue-status",
               "vhost-queue": "x-query-virtio-vhost-queue-status",
               "element": "x-query-virtio-queue-element"}[verb]
    table = {**TABLE, "qom-get": kind, "x-query-virtio-status": status,
             "x-query-virtio-vhost-queue-status": VHOST}
    arguments = ["--qmp", folder / "q", verb, BLK, *([] if verb == "status" else [0])]
    with FakeQmp(folder / "q", table, **({"version": version} if version else {})) as server:
        if expected:
            line = sentence(ringside_bin, *arguments)
            assert expected in line and "--allow-harm" in line
            assert command not in server.names()
        else:
            ok(ringside_bin, *arguments)
            assert server.names()[-1] == command
        before = len(server.commands)
        info(ringside_bin, *arguments, "--allow-harm")
        assert [n for n, _ in server.commands[before:]] == ["qmp_capabilities", command]


def test_harm_in_summary(ringside_bin, folder):
    with FakeQmp(folder / "q", {**TABLE, "qom-get": "vhost-user-blk"}) as server:
        out = ok(ringside_bin, "--qmp", folder / "q")
        assert "queues    not shown: QEMU asks the back-end" in out
        assert "x-query-virtio-queue-status" not in server.names()


# ---- a real Ringside and a real QEMU -----------------------------------------------------------

def test_ours(ringside_bin, tmp_path):
    """Found without being named; every verb, nothing refused, every row with a value."""
    with serve(tmp_path, "virtio-rng,id=rng0", arguments=["--name", "here"]) as host:
        env = {"XDG_RUNTIME_DIR": str(host.runtime)}
        out = ok(ringside_bin, env=env)
        assert out.startswith("ringside ") and "here" in out.splitlines()[0]
        assert f"virtio-rng  {RNG}" in out and "status    no driver yet" in out
        out = ok(ringside_bin, "status", "rng0", env=env)
        assert [line for line in out.splitlines() if line.split()[1:2] == ["-"]] in (
            [], ["  bus-name                 -"])
        assert next(line for line in out.splitlines() if line.startswith("  isr")).split()[1:3] == [
            "0", "(unknown:"]
        out = ok(ringside_bin, "queue", "rng0", 0, env=env)
        assert "-" not in [line.split()[1] for line in out.splitlines()[1:]]
        assert "isr " in ok(ringside_bin, "sources", "rng0", env=env)
        assert ok(ringside_bin, "--qmp", "here", "virtio", env=env) == f"virtio-rng  {RNG}\n"
        assert "Region caches not initialized" in sentence(
            ringside_bin, "element", "rng0", 0, env=env)
        assert "vhost device has not started yet" in sentence(
            ringside_bin, "vhost-queue", "rng0", 0, env=env)


@pytest.fixture(scope="module")
def qemu():
    """A stopped QEMU with four devices; its monitor's path."""
    binary = shutil.which("qemu-system-x86_64")
    if not binary:
        pytest.skip("qemu-system-x86_64 is not installed")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rs-"))
    try:
        with open(folder / "disk", "wb") as disk:
            disk.truncate(1 << 20)
        with Process([binary, "-M", "q35,accel=tcg", "-S", "-display", "none", "-nodefaults",
                      "-name", "box", "-qmp", f"unix:{folder}/q,server=on,wait=off",
                      "-drive", f"if=none,id=d,file={folder}/disk,format=raw",
                      "-device", "virtio-blk-pci,drive=d,id=disk0",
                      "-device", "virtio-rng-pci,id=rng0", "-device", "virtio-serial-pci,id=ser0",
                      "-device", "virtio-net-pci"]) as process:
            wait_until(lambda: (folder / "q").exists() or not process.running(), "QEMU's monitor")
            assert process.running(), process.text
            yield folder / "q"
    finally:
        shutil.rmtree(folder)


def test_qemu(ringside_bin, qemu):
    devices = json.loads(ok(ringside_bin, "--qmp", qemu, "--json", "virtio"))
    assert sorted(d["name"] for d in devices) == ["virtio-blk", "virtio-net", "virtio-rng",
                                                  "virtio-serial"]
    out = ok(ringside_bin, "--qmp", qemu)
    assert out.startswith("QEMU ") and "box" in out.splitlines()[0]
    assert "64 of 64 queues not set up" in out
    for device in devices:
        out = ok(ringside_bin, "--qmp", qemu, "status", device["path"])
        # Every row has its value: the names are those that QEMU uses.
        assert [line for line in out.splitlines() if line.endswith(" -")] in (
            [], ["  bus-name                 -"])
        out = ok(ringside_bin, "--qmp", qemu, "queue", device["path"], 0)
        assert " -\n" not in out
    assert "--allow-harm" in sentence(ringside_bin, "--qmp", qemu, "element", "rng0", 0)
    assert "Region caches not initialized" in sentence(
        ringside_bin, "--qmp", qemu, "element", "rng0", 0, "--allow-harm")
    assert "vhost device has not started yet" in sentence(
        ringside_bin, "--qmp", qemu, "vhost-queue", "disk0", 0)
    assert "Invalid virtqueue number 9" in sentence(
        ringside_bin, "--qmp", qemu, "queue", "disk0", 9)
    assert "is not a " in sentence(
        ringside_bin, "--qmp", qemu, "status", "/machine/peripheral/rng0")
