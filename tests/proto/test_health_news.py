# SPDX-License-Identifier: BSD-3-Clause
"""Events about devices and queues, their rate, who may act, and `ringside why`."""
import json

import pytest

from lib.health import fast, health, verdict
from lib.process import wait_until
from lib.relay import R0, relay
from lib.ringside import serve, tool
from lib.vhost_user import ACKNOWLEDGE, DRIVER, Front, VhostUser
from lib.virtio import Blk

DISK = "virtio-blk,id=disk0,size=1M"
PATH = "/machine/peripheral/disk0/virtio-backend"


def at(event):
    return event["timestamp"]["seconds"] * 1000000 + event["timestamp"]["microseconds"]


def test_status_is_told_at_most_once_a_second(tmp_path):
    """Of many changes in a moment the first is told at once, and the last: not one of them is lost
    that still holds."""
    with serve(tmp_path, DISK) as host, host.qmp() as qmp:
        with Front(host.socket("disk0"), status=True, start=False) as front:
            for _ in range(50):
                front.set_status(0)
                front.set_status(ACKNOWLEDGE)
            front.set_status(ACKNOWLEDGE | DRIVER)
            front.sync()
            seen = [qmp.event("VIRTIO_STATUS_CHANGED")]
            while len(seen[-1]["data"]["status"]["statuses"]) != 2:
                seen.append(qmp.event("VIRTIO_STATUS_CHANGED"))
            assert len(seen) < 20 and at(seen[-1]) >= at(seen[0])
            assert all(e["data"]["path"] == PATH for e in seen)


def test_vhost_comes_and_goes(tmp_path):
    with serve(tmp_path, DISK) as back, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
            host.qmp() as qmp:
        with Front(host.socket("r0")):
            assert qmp.event("VHOST_STARTED")["data"] == {"path": R0}
        assert qmp.event("VHOST_STOPPED")["data"] == {"path": R0}


def test_a_relay_watches_only_when_asked(tmp_path):
    """It sleeps otherwise. Asked for once it watches for a while; with --stall-ms always."""
    with serve(tmp_path, DISK) as back:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
                host.qmp() as qmp:
            assert not qmp.command("query-virtqueue-watch")["watching"]
            with Front(host.socket("r0")):
                health(qmp, "r0")
                assert qmp.command("query-virtqueue-watch")["watching"]
                wait_until(lambda: "still-ns" in health(qmp, "r0", 0)["evidence"], "its watch")
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0"),
                   arguments=["--stall-ms", "300"]) as host, host.qmp() as qmp:
            assert qmp.command("query-virtqueue-watch") == {"threshold-ms": 300, "watching": True}


def test_read_only_monitors_look(tmp_path):
    """Every command that changes something is refused, every other one is not."""
    with serve(tmp_path, DISK, arguments=["--read-only"]) as host, host.qmp() as qmp:
        path = {"path": PATH, "queue": 0}
        refused = [("virtqueue-kick", path), ("virtqueue-call", path), ("virtqueue-stop", path),
                   ("virtqueue-resume", path), ("virtqueue-set-stall-threshold",
                                                {"threshold-ms": 1}),
                   ("stop", None), ("cont", None), ("quit", None), ("system_reset", None),
                   ("device_add", {"driver": "virtio-rng"}), ("device_del", {"id": "disk0"}),
                   ("object-add", {"qom-type": "iothread", "id": "io0"}),
                   ("object-del", {"id": "io0"}),
                   ("qom-set", {"path": PATH, "property": "x", "value": 1})]
        for command, arguments in refused:
            assert "read-only" in qmp.execute(command, arguments)["error"]["desc"], command
        for command in ("query-virtqueue-health", "query-virtqueue-watch", "x-query-virtio",
                        "query-status"):
            assert "return" in qmp.execute(command), command
        assert "virtqueue" not in host.process.text


def why(host, *arguments, **how):
    return tool("why", "--qmp", f"unix:{host.qmp_path}", *arguments, **how)[0]


def test_why(tmp_path):
    with serve(tmp_path, DISK, "virtio-rng,id=rng0") as host, host.qmp() as qmp:
        fast(qmp)
        assert "no front-end is connected" in why(host)
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)
            front.queues[0].drain_calls()
            assert "ok  idle" in why(host, "disk0") and "rng0" not in why(host, "disk0")
            front.queues[0].ring.spoil()
            front.queues[0].kick(force=True)
            verdict(qmp, "disk0", 0, "device-broken")
            text = why(host, "disk0")
            assert "queue 0  requestq1  stuck  device-broken" in text and "-> reset" in text
            assert json.loads(why(host, "--json", "disk0"))[0]["verdict"] == "device-broken"
        tool("why", "--qmp", f"unix:{host.qmp_path}", "nope", status=1)
        tool("why", "a", "b", status=2)


def test_why_looks_twice_on_a_relay(tmp_path):
    """Nobody watched before: the second look can tell."""
    with serve(tmp_path, DISK) as back, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host:
        with Front(host.socket("r0")) as front:
            Blk(front).read(0, 512)
            front.queues[0].drain_calls()
            gpa = front.memory.put(bytes(16))
            front.queues[0].ring.add([(gpa, 16, False), (front.memory.alloc(1), 1, True)])
            assert "stuck  kick-lost" in why(host, "r0")
            # Looked at once alone, nobody is accused.
    with serve(tmp_path, DISK) as back, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host:
        with Front(host.socket("r0")) as front:
            front.queues[0].ring.add([(front.memory.put(bytes(16)), 16, False),
                                      (front.memory.alloc(1), 1, True)])
            assert "stuck" not in why(host, "--no-wait", "r0")


@pytest.mark.parametrize("command", ["virtqueue-stop", "virtqueue-resume"])
def test_a_relay_stops_nothing(tmp_path, command):
    with serve(tmp_path, DISK) as back, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
            host.qmp() as qmp, Front(host.socket("r0")):
        assert "served by somebody else" in qmp.error(command, path=R0, queue=0)[1]
        with VhostUser(host.socket("r0")) as second:
            assert second.closed()
