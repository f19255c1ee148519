# SPDX-License-Identifier: BSD-3-Clause
"""`ringside top` on a terminal and for scripts, against servers that say what a test tells them,
and against real ones. tests/interop/test_top_qemu.py has QEMU's."""
import json
import os
import signal
import subprocess
import threading

import pytest

from lib.fake_qmp import RINGSIDE, Error, FakeQmp
from lib.info import BLK, LIST, RNG, SOURCES, STATUS, qom_type, virtio_queue
from lib.process import PATIENCE, wait_until
from lib.ringside import Folder, binary, serve
from lib.screen import Screen
from lib.vhost_user import Front

SECOND = 10**9
KNOWN = ["query-virtqueue-health", "query-stats", "query-virtqueue-inflight",
         "query-virtqueue-elements", "query-vhost-user-transcript", "x-query-virtio"]
STUCK = {"path": BLK, "name": "virtio-blk", "queue": 1, "role": "requestq2", "verdict": "kick-lost",
         "severity": "stuck", "sentence": "2 requests wait, and the kick for them never came",
         "advice": "virtqueue-kick sends it by hand",
         "evidence": {"queue-size": 128, "avail-idx": 9, "last-avail-idx": 7, "used-idx": 5,
                      "waiting": 2, "in-flight": 2, "oldest-age-ns": 12 * SECOND}}
HEALTH = [
    {"path": RNG, "name": "virtio-rng", "queue": 0, "role": "requestq", "verdict": "idle",
     "severity": "ok", "sentence": "nothing is to be done",
     "evidence": {"queue-size": 64, "waiting": 0, "in-flight": 0, "used-idx": 1}},
    {"path": BLK, "name": "virtio-blk", "queue": 0, "role": "requestq1", "verdict": "busy",
     "severity": "ok", "sentence": "requests come and go",
     "evidence": {"queue-size": 128, "waiting": 0, "in-flight": 4, "used-idx": 5}},
    STUCK,
]
REQUESTS = [
    {"queue": 1, "head": 7, "age-ns": 12 * SECOND, "readable-bytes": 16, "writable-bytes": 513,
     "description": "read sector 8, 512 bytes", "fields": [], "source": "device", "certain": True},
    {"queue": 1, "head": 3, "readable-bytes": 16, "writable-bytes": 1,
     "description": "flush", "fields": [], "source": "memory", "certain": False},
]
STATES = {5: "in-flight", 6: "in-flight", 7: "available", 8: "available", 4: "used"}


def element(index):
    entry = {"index": index, "head": index + 100, "state": STATES.get(index, "stale"), "descs": []}
    if entry["state"] == "in-flight":
        entry["age-ns"] = 12 * SECOND
        entry["descs"] = [{"addr": 0x1000, "len": 16, "flags": ["next"]},
                          {"addr": 0x2000, "len": 513, "flags": ["write"]}]
    return entry


def elements(path, queue, start=0, count=128):
    return {"name": "virtio-blk", "queue-index": queue, "packed": False, "num": 128,
            "consistent": True, "truncated": False, "event-idx": True, "last-avail": 7, "used": 5,
            "avail-idx": 9, "used-idx": 5, "driver-flags": 0, "device-flags": 0,
            "wants-call": True, "wants-kick": False, "used-event": 4, "avail-event": 6,
            "elements": [element(i) for i in range(start, min(start + count, 128))],
            "used-entries": []}


class Stats:
    """Counters that grow by 1000 with each look."""

    def __init__(self):
        self.looks = 0

    def __call__(self, target, providers=None, paths=None):
        assert target == "virtqueue"
        self.looks += 1
        buckets = [0] * 17 + [1000 * self.looks] + [0] * 10
        return [{"provider": "virtio", "qom-path": BLK, "queue": 0,
                 "stats": [{"name": "completed", "value": 1000 * self.looks},
                           {"name": "service-time", "value": buckets}]}]


def health(path=None, queue=None):
    return [h for h in HEALTH if path in (None, h["path"])]


def ours():
    """A table for a server that knows all."""
    return {"x-query-virtio": LIST, "query-name": {"name": "box"},
            "query-status": {"status": "running", "running": True},
            "query-commands": [{"name": name} for name in KNOWN],
            "query-virtqueue-health": health, "query-stats": Stats(),
            "query-virtqueue-inflight": lambda path, queue=None: REQUESTS,
            "query-virtqueue-elements": elements,
            "x-query-virtio-status": lambda path: STATUS,
            "query-virtio-sources": SOURCES,
            "query-vhost-user-transcript": []}


READY = {**STATUS, "status": {"statuses": ["VIRTIO_CONFIG_S_DRIVER_OK: ready"]}}
BASIC = {"x-query-virtio": LIST, "qom-get": qom_type, "query-name": {},
         "query-status": {"status": "running", "running": True},
         "x-query-virtio-status": lambda path: READY,
         "x-query-virtio-queue-status": virtio_queue}


def run(*arguments, env=None):
    return subprocess.run([binary(), "top", *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
                          env={**os.environ, "COLUMNS": "80", "LC_ALL": "C.UTF-8", **(env or {})})


def once(path, *more, **how):
    got = run("--once", "--interval", "0.1", "--qmp", path, *more, **how)
    assert (got.returncode, got.stderr) == (0, ""), got
    return got.stdout


@pytest.fixture
def folder():
    made = Folder()
    yield made.path
    made.remove()


def top(path, columns=80, rows=24, *more, env=None):
    return Screen([binary(), "top", "--interval", "0.2", "--qmp", path, *more], columns, rows,
                  env=env)


# ---- for scripts -------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, expected", [
    (["--nope"], "option '--nope' is not one of"),
    (["--qmp"], "option '--qmp' needs a value"),
    (["--interval", "0"], "no number of seconds from 0.1 to 60"),
    (["--interval", "1x"], "no number of seconds"),
    (["--interval", "nan"], "no number of seconds"),
    (["--interval", "1e9"], "no number of seconds"),
    (["a", "b"], "one PATH at most, got 2"),
])
def test_usage(arguments, expected):
    got = run(*arguments)
    assert got.returncode == 2 and got.stderr.startswith("ringside top: ") and \
        expected in got.stderr and "--help" in got.stderr


def test_help():
    got = run("--help")
    assert got.returncode == 0 and "--interval" in got.stdout and not got.stderr


def test_no_terminal(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE):
        got = run("--qmp", folder / "q")
    assert got.returncode == 1 and "no terminal; 'ringside top --once'" in got.stderr


def test_no_monitor(folder):
    for more in ["--once"], ["--json"], []:
        got = run("--qmp", folder / "none", *more)
        assert got.returncode == 1 and "there is no socket" in got.stderr, got


def test_once(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE):
        lines = once(folder / "q").splitlines()
    assert "ringside 0.1  box  running" in lines[0]
    assert lines[1].startswith(" 1 stuck   0 to note  2 ok")
    # Trouble is the first row, and marked where there is no colour.
    assert lines[3].startswith("!disk0") and lines[3].endswith(" kick-lost"), lines
    assert lines[3].split()[1] == "1" and " 12.0s " in lines[3] and " 128 " in lines[3]
    assert [line.split()[0] for line in lines[4:6]] == ["rng0", "disk0"]
    assert all(len(line) <= 80 for line in lines)


def test_once_wide(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE):
        text = once(folder / "q", env={"COLUMNS": "200"})
    assert "kick-lost  2 requests wait, and the kick for them never came" in text
    assert "requestq2" in text


def test_json(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE) as server:
        document = json.loads(once(folder / "q", "--json"))
        assert server.names().count("query-virtqueue-health") == 2
    assert (document["server"], document["name"], document["status"]) == \
        ("ringside 0.1", "box", "running")
    stuck = [q for q in document["queues"] if q["severity"] == "stuck"]
    assert [(q["path"], q["queue"], q["verdict"], q["oldest-ns"], q["waiting"]) for q in stuck] == \
        [(BLK, 1, "kick-lost", 12 * SECOND, 2)]
    assert stuck[0]["sentence"] == STUCK["sentence"] and stuck[0]["advice"] == STUCK["advice"]
    busy = [q for q in document["queues"] if q["path"] == BLK and q["queue"] == 0][0]
    # 1000 more in at least 0.1 s; all of them in bucket 17.
    assert 0 < busy["rate"] <= 10000 and busy["latency-ns-below"] == 1 << 17
    # What nobody said is not there.
    idle = [q for q in document["queues"] if q["path"] == RNG][0]
    assert "oldest-ns" not in idle and "rate-by-index" not in idle


def test_json_goes_on_until_it_is_ended(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE):
        with subprocess.Popen([binary(), "top", "--json", "--interval", "0.1", "--qmp",
                               folder / "q"], stdout=subprocess.PIPE) as process:
            lines = [json.loads(process.stdout.readline()) for _ in range(3)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == -signal.SIGTERM
    assert all(len(line["queues"]) == 3 for line in lines)


def test_a_server_without_verdicts(folder):
    """From the five commands: what is only a bound or from an index is marked."""
    used = iter(range(5, 1 << 16, 40))

    def queue(path, queue):
        reply = virtio_queue(path, queue)
        if isinstance(reply, Error) or path == RNG:
            return {**reply, "inuse": 0} if path == RNG and queue < 2 else reply
        return {**reply, "inuse": 2, "used-idx": next(used)}
    with FakeQmp(folder / "q", {**BASIC, "x-query-virtio-queue-status": queue}):
        document = json.loads(once(folder / "q", "--json"))
        text = once(folder / "q")
    assert document["server"] == "QEMU 7.2.22"
    found = {(q["path"], q["queue"]): q for q in document["queues"]}
    assert set(found) == {(BLK, 0), (BLK, 1), (RNG, 0), (RNG, 1)}
    assert found[BLK, 0]["rate-by-index"] > 0 and found[BLK, 0]["verdict"] == "busy"
    assert "oldest-ns-at-least" in found[BLK, 0] and found[BLK, 0]["in-flight"] == 2
    assert found[RNG, 0]["verdict"] == "idle" and found[BLK, 1]["verdict"] == "not-set-up"
    assert " ~" in text


DEVICES = [
    # what the status says, verdict, severity
    ({"broken": True}, "device-broken", "stuck"),
    ({"status": {"statuses": ["VIRTIO_CONFIG_S_NEEDS_RESET: x"]}}, "device-broken", "stuck"),
    ({"status": {"statuses": ["VIRTIO_CONFIG_S_FAILED: x"]}}, "driver-failed", "stuck"),
    ({"status": {"statuses": ["VIRTIO_CONFIG_S_DRIVER: x"]}}, "driver-not-ready", "note"),
    ({"status": {"statuses": []}}, "no-driver", "note"),
]


@pytest.mark.parametrize("status, verdict, severity", DEVICES)
def test_what_a_status_says_is_said_of_each_queue(folder, status, verdict, severity):
    table = {**BASIC, "x-query-virtio-status": lambda path: {**READY, **status}}
    with FakeQmp(folder / "q", table):
        document = json.loads(once(folder / "q", "--json"))
    assert len(document["queues"]) == 4
    assert {(q["verdict"], q["severity"]) for q in document["queues"]} == {(verdict, severity)}


def test_qemu_is_asked_only_what_is_harmless(folder):
    """A vhost-user device's queues would stop, an unknown one's status might end it all."""
    types = {BLK: "vhost-user-blk", RNG: "vhost-user-i2c-device"}
    table = {**BASIC, "qom-get": lambda path, property: types[path]}
    with FakeQmp(folder / "q", table) as server:
        document = json.loads(once(folder / "q", "--json"))
        asked = [(n, a.get("path")) for n, a in server.commands if n.startswith("x-query-virtio-")]
    assert set(asked) == {("x-query-virtio-status", BLK)}
    sentences = {q["path"]: q["sentence"] for q in document["queues"]}
    assert "stops the ring" in sentences[BLK] and "abort" in sentences[RNG]
    assert {q["severity"] for q in document["queues"]} == {"unknown"}


HOSTILE = [
    {"x-query-virtio": [{}, {"path": 5, "name": None}, {"path": "", "name": []}, 7, None,
                        {"path": BLK, "name": "x\x1b[2Jy"}, {"path": BLK, "name": "again"}]},
    {"x-query-virtio": {}},
    {"query-virtqueue-health": {}},
    {"query-virtqueue-health": None},
    {"query-virtqueue-health": [7, None, {}, {"path": BLK}, {"path": BLK, "queue": "x"},
                                {"path": BLK, "queue": 2**64 - 1, "evidence": 5},
                                {"path": BLK, "queue": 70000}, {"path": BLK, "queue": -1},
                                {"path": "/nobody", "queue": 1},
                                {"path": BLK, "queue": 0, "verdict": 5, "severity": "x",
                                 "sentence": "\x1b[31m\x07", "role": {},
                                 "evidence": {"queue-size": 2**63 - 1, "in-flight": 2**63 - 1,
                                              "waiting": 2**63 - 1, "used-idx": 2**63 - 1,
                                              "oldest-age-ns": 2**64 - 1}}]},
    {"query-virtqueue-health": Error("no")},
    {"query-stats": 5},
    {"query-stats": [{"qom-path": BLK, "queue": 0, "stats": 7},
                     {"qom-path": BLK, "queue": 0,
                      "stats": [7, {"name": "completed", "value": "x"},
                                {"name": "service-time", "value": [1] * 300},
                                {"name": "service-time", "value": {"a": 1}}]}]},
    {"query-stats": Error("no")},
    {"query-commands": 7},
    {"query-name": [], "query-status": 5},
    {"query-commands": [], "x-query-virtio-status": lambda path: 5},
    {"query-commands": [], "x-query-virtio-status": lambda path: {"num-vqs": 2**40}},
    {"query-commands": [], "x-query-virtio-status": lambda path: {"num-vqs": -5, "status": []}},
    {"query-commands": [], "x-query-virtio-status": lambda path: READY,
     "x-query-virtio-queue-status": lambda path, queue: {"inuse": -1, "vring-num": 0,
                                                         "used-idx": "x"}},
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_replies_of_any_kind(folder, number):
    """Neither a crash nor an escape sequence; where there is no list, a sentence."""
    with FakeQmp(folder / "q", {**ours(), **HOSTILE[number]}, version=RINGSIDE):
        for more in [], ["--json"]:
            got = run("--once", "--interval", "0.1", "--qmp", folder / "q", *more)
            if number == 1:
                assert got.returncode == 1 and "is no list" in got.stderr
            else:
                assert (got.returncode, got.stderr) == (0, ""), got
            assert "\x1b" not in got.stdout and "\x07" not in got.stdout


# ---- on a terminal -----------------------------------------------------------------------------


def fits(screen, columns, rows):
    lines = screen.lines()
    return len(lines) <= rows + 1 and all(len(line) <= columns for line in lines)


@pytest.mark.parametrize("columns, rows", [(80, 24), (200, 50)])
def test_screen(folder, columns, rows):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), \
            top(folder / "q", columns, rows) as screen:
        text = screen.wait("!disk0", "kick-lost", "1 stuck", "q quit")
        assert text.startswith(" ringside top  ringside 0.1  box  running")
        assert fits(screen, columns, rows)
        lines = screen.lines()
        assert lines[3].startswith("!disk0")
        # What is under the cursor is told in full, with what to do.
        assert any(STUCK["sentence"] in line for line in lines[-7:])
        assert any("do: " + STUCK["advice"] in line for line in lines[-7:])
        screen.wait("/s ")
        screen.keys("q")
        assert screen.ended() == 0
        assert screen.flags() == ["0", "1"]


def test_drill_in_and_out(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("Enter")
        # Entries 4 to 8 are used, in flight, available.
        text = screen.wait("disk0 queue 1 requestq2", "uFFaa...", "in flight, oldest first:")
        assert "head     7    12.0s  read sector 8, 512 bytes" in text
        assert "flush  (perhaps)" in text and "avail 9  next to take 7" in text
        assert "kick wanted: false (at 6)" in text
        screen.keys("Right", "Right", "Right", "Right", "Right")
        screen.wait("entry 5: in-flight, head 105, taken 12.0s ago")
        screen.keys("Enter")
        text = screen.wait("ring entry 5", "addr 0x2000  len 513  write")
        screen.keys("Escape")
        screen.wait("in flight, oldest first:")
        screen.keys("Down")
        screen.wait("entry 69: stale")
        screen.keys("d")
        screen.wait("1 status", "VIRTIO_CONFIG_S_ACKNOWLEDGE  seen", "line 1 of ")
        screen.keys("Down", "NPage", "Up")
        screen.wait("VIRTIO_CONFIG_S_DRIVER       has a driver", absent=["line 1 of "])
        screen.keys("Tab")
        screen.wait("query-virtio-negotiation")
        screen.keys("Tab")
        screen.wait("vhost-user messages of", "none so far")
        screen.keys("5")
        screen.wait("queue.0.used-idx", "one in flight is head 3")
        screen.keys("3")
        screen.keys("?")
        screen.wait("What is stuck is on top")
        screen.keys("Escape")
        screen.wait("vhost-user messages of")
        screen.keys("Escape")
        screen.wait("!disk0", "VERDICT")


STRANGE = [
    # replies to the questions that the inner screens ask
    {"query-virtqueue-elements": 5, "query-virtqueue-inflight": 5, "x-query-virtio-status": 5,
     "query-virtio-negotiation": 5, "query-vhost-user-transcript": 5,
     "query-vhost-user-findings": 5, "query-virtio-sources": 5},
    {"query-virtqueue-elements": {"elements": 7}, "query-virtqueue-inflight": [7, None, {}],
     "query-virtio-negotiation": {"features": [7, None], "protocol-features": 5, "parties": [1]},
     "query-vhost-user-transcript": [7, None, {}], "query-vhost-user-findings": [7, None, {}],
     "query-virtio-sources": [7, None, {}], "x-query-virtio-status": lambda path: {}},
    {"query-virtqueue-elements": {"elements": [
        7, None, {}, {"index": -1, "state": "used"}, {"index": 2**40, "state": 7, "age-ns": "x"},
        {"index": 5, "state": "\x1b[2J", "descs": [7, {"addr": "x", "flags": [7, {}]}]}]},
     "query-virtqueue-inflight": [{"head": "\x1b[2J", "age-ns": 2**64 - 1}] * 100},
    {name: None for name in KNOWN[2:5]},
    {name: Error("no\x1b[2J") for name in KNOWN[2:5]},
]


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_strange_replies_on_every_screen(folder, number):
    table = {**ours(), **STRANGE[number]}
    with FakeQmp(folder / "q", table, version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("Enter")
        screen.wait("disk0 queue 1", "Esc back")
        screen.keys("Right", "Enter")
        screen.wait("ring entry 1")
        screen.keys("Escape")
        screen.wait("Enter entry")
        screen.keys("d")
        for tab in "12345":
            screen.keys(tab, "End", "Right", "Home", "Left")
        screen.wait("5 sources")
        screen.keys("q")
        assert screen.ended() == 0


def test_without_elements_the_ring_is_drawn_by_indices(folder):
    def queue(path, queue):
        return {**virtio_queue(path, 0), "inuse": 2}
    table = {**BASIC, "x-query-virtio-queue-status": queue}
    with FakeQmp(folder / "q", table), top(folder / "q") as screen:
        screen.wait("rng0", "VERDICT")
        screen.keys("Enter")
        screen.wait("drawn by indices", ".....ffaa....")
        screen.keys("Enter")
        # On QEMU an element is not asked for.
        screen.wait("not asked: QEMU walks the descriptors")


def test_keys(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        first = lambda: screen.lines()[3].split()[:2]
        assert first() == ["!disk0", "1"]
        for expected in ["disk0", "0"], ["disk0", "0"], ["disk0", "0"], ["!disk0", "1"], \
                ["!disk0", "1"]:
            screen.keys("s")
            wait_until(lambda: first() == expected, f"{expected} on top")
        screen.keys("r")
        wait_until(lambda: first() == ["rng0", "0"], "the other way round")
        screen.keys("j")
        screen.wait("disk0 requestq1: requests come and go")
        screen.keys("End")
        screen.wait("disk0 requestq2: 2 requests wait")
        screen.keys("Home")
        screen.wait("rng0 requestq: nothing is to be done")
        screen.keys("+")
        screen.wait("every 0.1s")
        screen.keys("-", "-")
        screen.wait("every 0.4s")


def test_pause(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE) as server, top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("p")
        screen.wait("PAUSED")
        asked = len(server.commands)
        # Keys still work, and nothing is asked.
        screen.keys("s", "s", "j", "k", "?")
        screen.wait("What is stuck is on top")
        screen.keys("Escape")
        screen.wait("!disk0", "PAUSED")
        assert len(server.commands) == asked
        screen.keys("Space")
        screen.wait("!disk0", absent=["PAUSED"])
        wait_until(lambda: len(server.commands) > asked, "it goes on")


def test_resize(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        for columns, rows in (200, 50), (20, 5), (1, 1), (40, 3), (132, 43), (80, 24):
            screen.resize(columns, rows)
            if columns >= 80:
                screen.wait("!disk0", "VERDICT", "q quit")
                assert fits(screen, columns, rows)
        screen.keys("Enter")
        screen.wait("uFFaa")
        for columns, rows in (200, 50), (12, 6), (3, 2), (80, 24):
            screen.resize(columns, rows)
        screen.wait("uFFaa", "in flight, oldest first:", "q quit")
        screen.keys("q")
        assert screen.ended() == 0


def test_a_monitor_that_goes_away(tmp_path, folder):
    """It is told, tried again, and found again."""
    path = folder / "q"
    with FakeQmp(path, ours(), version=RINGSIDE):
        screen = top(path)
        try:
            screen.wait("!disk0")
        except BaseException:
            screen.__exit__()
            raise
    with screen:
        # The last numbers stay.
        screen.wait("no answer for", "trying again", "!disk0", "kick-lost")
        path.unlink()
        screen.wait("trying again: there is no socket")
        screen.keys("Enter")
        screen.keys("Escape")
        with FakeQmp(path, {**ours(), "x-query-virtio": LIST[1:]}, version=RINGSIDE):
            screen.wait("rng0", absent=["disk0", "trying again"])
            screen.keys("q")
            assert screen.ended() == 0


def test_a_device_that_goes_away(folder):
    table = ours()
    with FakeQmp(folder / "q", table, version=RINGSIDE) as server, top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("Enter")
        screen.wait("uFFaa")
        server.table["x-query-virtio"] = LIST[1:]
        server.table["query-virtqueue-health"] = HEALTH[:1]
        screen.wait("this device is gone")
        screen.keys("Escape")
        screen.wait("rng0", absent=["disk0"])


def test_a_silent_monitor(folder):
    table = ours()
    silence = threading.Event()

    def slow(path=None, queue=None):
        if silence.is_set():
            return b""
        return HEALTH
    table["query-virtqueue-health"] = slow
    with FakeQmp(folder / "q", table, version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        silence.set()
        screen.wait("trying again", "gave no reply")
        silence.clear()
        screen.wait("!disk0", absent=["trying again"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT,
                                    signal.SIGABRT])
def test_a_signal_gives_the_terminal_back(folder, number):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        assert screen.flags() == ["1", "0"]
        os.kill(screen.pid(), number)
        assert screen.ended() == (0 if number == signal.SIGINT else 128 + number)
        assert screen.flags() == ["0", "1"]


def test_ascii_and_no_colour(folder):
    env = {"LC_ALL": "C", "NO_COLOR": "1"}
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q", env=env) as screen:
        screen.wait("!disk0", "#=")
        text = "\n".join(screen.lines(colours=True))
        assert text.isascii()
        sequences = {s.partition("m")[0] for s in text.split("\x1b[")[1:]}
        parameters = {int(p) for s in sequences for p in s.split(";") if p.isdigit()}
        assert not parameters & set(range(30, 38)), parameters


def test_colour(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        line = screen.lines(colours=True)[3]
        assert "31" in line and "\u2588" in screen.text()


def test_a_terminal_that_cannot_be_drawn_on(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), \
            top(folder / "q", env={"TERM": "dumb"}) as screen:
        assert screen.ended() == 1
        assert "cannot be drawn on" in screen.text().replace("\n", " ")


def many(number):
    paths = [f"/machine/peripheral/d{i}/virtio-backend" for i in range(number)]
    return paths, [{"name": "virtio-blk", "path": path} for path in reversed(paths)]


def test_a_thousand_devices(folder):
    """Only what is on the screen is asked about one by one."""
    paths, listed = many(1000)
    table = {**BASIC, "x-query-virtio": listed, "qom-get": "virtio-blk-device",
             "x-query-virtio-queue-status":
                 lambda path, queue: {**virtio_queue(path, 0), "inuse": 0}}
    with FakeQmp(folder / "q", table) as server, top(folder / "q") as screen:
        screen.wait("d0 ", "d5 ", "1000 devices", "idle")
        asked = {a["path"] for n, a in server.commands if n == "x-query-virtio-queue-status"}
        assert asked <= set(paths[:20]), asked
        screen.keys("End")
        screen.wait("d999 ", "d995 ")
        wait_until(lambda: any(a.get("path") == paths[999] for n, a in server.commands
                               if n == "x-query-virtio-queue-status"), "the last one is asked")
        asked = {a["path"] for n, a in server.commands if n == "x-query-virtio-queue-status"}
        assert len(asked) < 60
        screen.keys("q")
        assert screen.ended() == 0


def test_trouble_among_a_thousand_is_on_top(folder):
    paths, listed = many(1000)
    everything = [{**HEALTH[1], "path": path} for path in paths]
    everything[777] = {**STUCK, "path": paths[777], "queue": 0}
    table = {**ours(), "x-query-virtio": listed, "query-stats": [],
             "query-virtqueue-health": lambda path=None: everything if path is None else [
                 h for h in everything if h["path"] == path]}
    with FakeQmp(folder / "q", table, version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!d777", "1 stuck")
        assert screen.lines()[3].startswith("!d777")


# ---- a real one --------------------------------------------------------------------------------


def test_real_devices(tmp_path):
    """Requests of a real front-end; the server is killed, and one on the same socket goes on."""
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    device = f"virtio-blk,id=disk0,filename={tmp_path / 'image'}"
    host = serve(tmp_path, device, "virtio-rng,id=r0")
    try:
        with Front(host.socket("disk0")) as front, top(host.qmp_path) as screen:
            # A read of sector 0, again and again.
            header, rest = front.memory.alloc(16), front.memory.alloc(513)
            buffers = [(header, 16, False), (rest, 512, True), (rest + 512, 1, True)]
            stop = threading.Event()
            work = threading.Thread(target=lambda: [front.request(0, buffers)
                                                    for _ in iter(stop.is_set, True)])
            work.start()
            try:
                screen.wait("disk0", "busy", "r0 ", "not-connected")
                wait_until(lambda: any("disk0" in line and "busy" in line for line in
                                       screen.lines()), "the disk is busy")
            finally:
                stop.set()
                work.join()
            screen.wait("idle", absent=["busy"])
            front.close()
            host.crash()
            screen.wait("trying again")
            with serve(tmp_path, device, "virtio-rng,id=r0", folder=host.folder) as again:
                screen.wait("disk0", "not-connected", absent=["trying again", "idle"])
                assert again.process.running()
                screen.keys("q")
                assert screen.ended() == 0
    finally:
        host.destroy()
