# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of `ringside top` share: fake servers' replies, and running it for a script."""
import os
import subprocess

from lib.info import BLK, LIST, RNG, SOURCES, STATUS, qom_type, virtio_queue
from lib.process import PATIENCE
from lib.ringside import binary

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
