# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of `ringside info` share: running it, and a fake server's devices and replies."""
import os
import subprocess

from lib.fake_qmp import Error
from lib.process import PATIENCE

BLK = "/machine/peripheral/disk0/virtio-backend"
RNG = "/machine/peripheral/rng0/virtio-backend"
LIST = [{"name": "virtio-blk", "path": BLK}, {"name": "virtio-rng", "path": RNG}]
STATUS = {
    "name": "virtio-blk", "device-id": 2, "vhost-started": False, "device-endian": "little",
    "guest-features": {"transports": ["VIRTIO_F_VERSION_1: modern"],
                       "dev-features": ["VIRTIO_BLK_F_RO: read-only"]},
    "host-features": {"transports": ["VIRTIO_RING_F_EVENT_IDX: events",
                                     "VIRTIO_F_VERSION_1: modern"],
                      "dev-features": [], "unknown-dev-features": 1 << 63},
    "backend-features": {"transports": [], "dev-features": []},
    "num-vqs": 2, "status": {"statuses": ["VIRTIO_CONFIG_S_ACKNOWLEDGE: seen",
                                          "VIRTIO_CONFIG_S_DRIVER: has a driver"]},
    "isr": 0, "queue-sel": 1, "vm-running": True, "broken": False, "disabled": False,
    "use-started": True, "started": True, "start-on-kick": False, "disable-legacy-check": False,
    "bus-name": "", "use-guest-notifier-mask": True,
}
QUEUE = {
    "name": "virtio-blk", "queue-index": 0, "inuse": 2, "vring-num": 128, "vring-num-default": 256,
    "vring-align": 4096, "vring-desc": 0x1000, "vring-avail": 0x1800, "vring-used": 2**64 - 1,
    "last-avail-idx": 7, "shadow-avail-idx": 9, "used-idx": 5, "signalled-used": 5,
    "signalled-used-valid": True,
}
ELEMENT = {
    "name": "virtio-blk", "index": 17,
    "descs": [{"addr": 0x2000, "len": 16, "flags": ["next"]},
              {"addr": 0x123456000, "len": 4096, "flags": ["write", "next"]},
              {"addr": 0x2010, "len": 1, "flags": []}],
    "avail": {"flags": 0, "idx": 9, "ring": 17}, "used": {"flags": 1, "idx": 5},
}


def qom_type(path, property):
    assert property == "type"
    known = {BLK: "virtio-blk-device", RNG: "virtio-rng-device"}
    return known.get(path, Error(f"Device '{path}' not found", "DeviceNotFound"))


def virtio_queue(path, queue):
    if queue >= 2:
        return Error(f"Invalid virtqueue number {queue}")
    return {**QUEUE, "queue-index": queue, "vring-desc": 0 if queue else 0x1000}


TABLE = {
    "x-query-virtio": LIST, "qom-get": qom_type, "query-name": {"name": "box"},
    "query-status": {"status": "running", "running": True},
    "x-query-virtio-status": lambda path: {**STATUS, "name": "virtio-blk"},
    "x-query-virtio-queue-status": virtio_queue,
    "x-query-virtio-queue-element": ELEMENT,
    "x-query-virtio-vhost-queue-status": Error("Error: vhost device has not started yet"),
}
SOURCES = [{"member": "isr", "source": "unknown"}, {"member": "num-vqs", "source": "derived"},
           {"member": "status", "source": "derived", "note": "from the messages"},
           {"member": "queue.0.used-idx", "source": "memory"},
           {"member": "queue.0.queue-index", "source": "derived", "note": "its role is requestq"},
           {"member": "queue.0.inuse", "source": "derived", "note": "one in flight is head 3"}]
OURS = {**TABLE, "query-virtio-sources": SOURCES}


def info(ringside_bin, *arguments, env=None, stdout=subprocess.PIPE):
    """Run it; (status, stdout, stderr)."""
    run = subprocess.run([ringside_bin, "info", *map(str, arguments)], stdin=subprocess.DEVNULL,
                         stdout=stdout, stderr=subprocess.PIPE, timeout=PATIENCE,
                         env={**os.environ, **(env or {})}, check=False)
    return run.returncode, (run.stdout or b"").decode(), run.stderr.decode()


def ok(*arguments, **more):
    status, out, err = info(*arguments, **more)
    assert (status, err) == (0, ""), (status, out, err)
    return out


def sentence(*arguments, status=1, **more):
    """It fails with one line that starts with its name; return the line."""
    got, out, err = info(*arguments, **more)
    assert got == status, (got, out, err)
    lines = err.splitlines()
    assert len(lines) == (2 if status == 2 else 1), err
    assert lines[0].startswith("ringside info: "), err
    return lines[0]
