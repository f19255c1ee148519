# SPDX-License-Identifier: BSD-3-Clause
"""What the monitor shows of a device that was given an id."""
from lib.process import wait_until


def status_of(qmp, device):
    return qmp.command("x-query-virtio-status", path=f"/machine/peripheral/{device}/virtio-backend")


def queue_of(qmp, device, queue=0):
    return qmp.command("x-query-virtio-queue-status", queue=queue,
                       path=f"/machine/peripheral/{device}/virtio-backend")


def flag_names(status):
    return {s.partition(":")[0].replace("VIRTIO_CONFIG_S_", "")
            for s in status["status"]["statuses"]}


def settled(qmp, device, at):
    """The queue's status, once both its indices are there: its owner shows a batch to the driver
    first, and publishes it for us right after."""
    def look():
        shown = queue_of(qmp, device)
        return shown if shown["last-avail-idx"] == shown["used-idx"] == at else None

    return wait_until(look, f"index {at} of {device}")


def take_calls(qmp, front, device, queue=0):
    """A driver that takes its interrupts: the last one comes after the answer can be seen."""
    def called():
        trace = qmp.command("query-virtqueue-trace", queue=queue,
                            path=f"/machine/peripheral/{device}/virtio-backend")
        words = " ".join(e["event"] for e in trace).rpartition("complete")
        return words[1] and "call" in words[2]

    wait_until(called, "the decision about a call")
    front.queues[queue].drain_calls()
