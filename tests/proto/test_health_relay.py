# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts of queues that somebody else serves: what is outstanding is named, where memory or the
in-flight region proves it, and a packed ring's place is known."""
import signal

import pytest

from lib.fake_backend import FakeBackend
from lib.health import fast, health, verdict
from lib.process import frozen, wait_until
from lib.relay import R0, relay
from lib.ringside import serve, tool
from lib.slow_disk import slow_disk
from lib.vhost_user import F_EVENT_IDX, Front
from lib.virtio import BLK_T_IN, Blk

DISK = "/machine/peripheral/disk0/virtio-backend"
RINGS = [("split", False, False), ("split, region", False, True), ("packed, region", True, True)]
DEEP = 8


def why(host, *arguments):
    return tool("why", "--qmp", f"unix:{host.qmp_path}", *arguments)[0]


@pytest.mark.parametrize("packed, inflight", [r[1:] for r in RINGS], ids=[r[0] for r in RINGS])
def test_a_back_end_that_was_stopped(tmp_path, packed, inflight):
    """Requests are out, some taken and one not: the verdict says which is the oldest."""
    image, hold = tmp_path / "image", tmp_path / "hold"
    image.write_bytes(bytes(1 << 20))
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},aio=threads,packed=on",
               env=slow_disk(0, hold)) as back, back.qmp() as own, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
            host.qmp() as qmp, \
            Front(host.socket("r0"), packed=packed, inflight=inflight) as front:
        blk = Blk(front)
        blk.read(0, 512)
        hold.touch()
        started = [blk.start(BLK_T_IN, sector, length=512) for sector in range(10, 10 + DEEP)]

        def settled():
            """Those that stay, by the device's own word."""
            stays = own.command("query-virtqueue-inflight", path=DISK)
            again = own.command("query-virtqueue-inflight", path=DISK)
            return [r["head"] for r in stays] == [r["head"] for r in again] and stays

        wait_until(lambda: len(settled() or []) not in (0, DEEP), "some answered, some not")
        with frozen(back.process):
            started.append(blk.start(BLK_T_IN, 99, length=512))
            fast(qmp)
            found = verdict(qmp, "r0", 0, "kick-unread", "stuck")
            listed = qmp.command("query-virtqueue-inflight", path=R0)
            # They were made available by rising sector.
            sectors = [next(f["value"] for f in r["fields"] if f["name"] == "sector")
                       for r in listed]
            evidence = found["evidence"]
            assert sectors == sorted(sectors) and all(r["certain"] for r in listed)
            assert evidence["oldest-head"] == listed[0]["head"] and "oldest-age-ns" not in evidence
            assert evidence["oldest-request"] == f"read 512 bytes at sector {min(sectors)}"
            assert evidence["oldest-request"] in why(host, "--no-wait", "r0")
            if inflight:
                assert evidence["in-flight"] == len(listed) and 99 not in sectors
                assert evidence["waiting"] == (3 if packed else 1)
            else:
                assert evidence["outstanding"] == len(listed) and 99 in sectors
        hold.unlink()
        for request in started:
            blk.finish(request)
        front.queues[0].drain_calls()
        found = verdict(qmp, "r0", 0, "idle", "ok")
        assert "oldest-head" not in found["evidence"]


@pytest.mark.parametrize("packed, inflight", [r[1:] for r in RINGS], ids=[r[0] for r in RINGS])
def test_none_was_taken(tmp_path, packed, inflight):
    """It was stopped before the first: that one is what is out the longest."""
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M,packed=on") as back, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
            host.qmp() as qmp, \
            Front(host.socket("r0"), packed=packed, inflight=inflight) as front:
        blk = Blk(front)
        blk.read(0, 512)
        with frozen(back.process):
            started = [blk.start(BLK_T_IN, sector, length=512) for sector in (7, 8)]
            fast(qmp)
            found = verdict(qmp, "r0", 0, "kick-unread", "stuck")
            assert "read 512 bytes at sector 7" in found["sentence"]
            assert "read 512 bytes at sector 7" in why(host, "--no-wait", "r0")
            assert found["evidence"].get("in-flight", 0) == 0
        for request in started:
            blk.finish(request)


@pytest.mark.parametrize("packed, inflight", [r[1:] for r in RINGS], ids=[r[0] for r in RINGS])
def test_an_outage(tmp_path, packed, inflight):
    """The relay dials again: the front-end was not hung up on, and its requests wait."""
    disk = "virtio-blk,id=disk0,size=1M,packed=on"
    back = serve(tmp_path, disk)
    try:
        with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on",
                   connect=back.socket("disk0")) as host, host.qmp() as qmp, \
                Front(host.socket("r0"), packed=packed, inflight=inflight) as front:
            blk = Blk(front)
            blk.read(0, 512)
            back.process.signal(signal.SIGKILL)
            back.crash()
            fast(qmp)
            found = verdict(qmp, "r0", 0, "back-end-gone", "stuck")
            assert found["sentence"].startswith("the back-end ended the connection ")
            request = blk.start(BLK_T_IN, 5, length=512)
            waits = wait_until(lambda: "waiting: " in health(qmp, "r0", 0)["sentence"] and
                               health(qmp, "r0", 0), "the request to be seen")
            assert waits["verdict"] == "back-end-gone"
            assert "; it is dialled again, and the front-end waits; waiting: " in waits["sentence"]
            assert "hung up on" not in waits["sentence"] and "start the back-end" in waits["advice"]
            assert "read 512 bytes at sector 5" in waits["sentence"]
            back = serve(tmp_path, disk, folder=back.folder)
            blk.finish(request)
            front.queues[0].drain_calls()
            verdict(qmp, "r0", 0, "idle", "ok")
        back.stop()
    finally:
        back.destroy()


class Sleeper(FakeBackend):
    """Says that it polls, and does not."""

    def work(self, ring):
        view, at = self.user(ring.used)
        view[at] = 1  # NO_NOTIFY


def test_not_looking(tmp_path):
    """No kick is wanted and none is sent: who said so has to look, and does not."""
    with Sleeper() as back, relay(tmp_path, "id=r0,type=virtio-blk", connect=back.path) as host, \
            host.qmp() as qmp, Front(host.socket("r0"), features=~F_EVENT_IDX) as front:
        wait_until(lambda: not front.queues[0].ring.needs_kick(), "kicks to be off")
        Blk(front).start(BLK_T_IN, 3, length=512)
        fast(qmp)
        found = verdict(qmp, "r0", 0, "not-looking", "stuck")
        assert "the back-end asked for no kicks" in found["sentence"]
        assert "read 512 bytes at sector 3" in found["sentence"]
        assert not found["evidence"]["kicks-wanted"] and not found["evidence"]["kicks-unread"]


def test_a_place_that_nobody_can_know(tmp_path):
    """A packed ring without a region: after the answer to a chain of three descriptors nothing in
    memory says where the back-end goes on. Nobody is accused, and nothing is claimed."""
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M,packed=on") as back, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
            host.qmp() as qmp, Front(host.socket("r0"), packed=True) as front:
        fast(qmp)
        Blk(front).read(0, 512)
        front.queues[0].drain_calls()
        found = verdict(qmp, "r0", 0, "not-known", "note")
        assert "whether requests wait is not known" in found["sentence"]
        assert not {"waiting", "in-flight", "outstanding"} & set(found["evidence"])
