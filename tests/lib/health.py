# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts: waiting for one, and what a relay's watch needs.

    assert verdict(qmp, "disk0", 0, "kick-lost")["evidence"]["avail-idx"] == 1
"""
import json

from lib.process import wait_until


def health(qmp, device=None, queue=None):
    """The verdicts of a device, or the one of a queue."""
    arguments = {}
    if device:
        arguments["path"] = f"/machine/peripheral/{device}/virtio-backend"
    if queue is not None:
        arguments["queue"] = queue
    found = qmp.command("query-virtqueue-health", **arguments)
    return found[0] if queue is not None else found


def verdict(qmp, device, queue, name, severity=None):
    """Wait until that is the queue's verdict; all of it."""
    seen = []

    def is_there():
        now = health(qmp, device, queue)
        seen[:] = [now]
        return now if now["verdict"] == name and severity in (None, now["severity"]) else None

    try:
        return wait_until(is_there, f"verdict {name}", interval=0.05)
    except AssertionError as e:
        raise AssertionError(f"{e}; it is {json.dumps(seen)}") from None


def fast(qmp, milliseconds=300):
    """Queues count as stuck sooner. Nothing is measured by it."""
    qmp.command("virtqueue-set-stall-threshold", threshold_ms=milliseconds)


def heard(qmp, device, queue=0):
    """Until no kick is on its way any more. A queue that has just started looks by itself, and may
    have answered before the kick for that was read; it would look once more."""
    wait_until(lambda: health(qmp, device, queue)["evidence"].get("kicks-unread") == 0,
               f"the kicks of {device} to be heard")
