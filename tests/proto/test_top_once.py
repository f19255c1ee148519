# SPDX-License-Identifier: BSD-3-Clause
"""`ringside top` for scripts: one screen as text, lines of JSON; what is concluded, and what is not
asked."""
import json
import signal
import subprocess

import pytest

from lib.fake_qmp import RINGSIDE, Error, FakeQmp
from lib.info import BLK, RNG, virtio_queue
from lib.process import PATIENCE
from lib.ringside import Folder, binary
from lib.top import BASIC, READY, SECOND, STUCK, once, ours, run


@pytest.fixture
def folder():
    made = Folder()
    yield made.path
    made.remove()


@pytest.mark.parametrize("arguments, expected", [
    (["--nope"], "there is no option '--nope'; it takes: --qmp, --interval, "),
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
