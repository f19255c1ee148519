# SPDX-License-Identifier: BSD-3-Clause
"""What a queue does, as the monitor shows it: query-virtqueue-trace, query-virtqueue-inflight."""
import time

import pytest

from lib.process import wait_until
from lib.relay import R0, relay
from lib.ringside import serve, tool
from lib.slow_disk import slow_disk
from lib.vhost_user import Front
from lib.virtio import BLK_T_IN, BLK_T_OUT, Blk

DISK0 = "/machine/peripheral/disk0/virtio-backend"
NUM = 16


def kinds(events):
    return [event["event"] for event in events]


def trace(qmp, path=DISK0, queue=0, **how):
    return qmp.command("query-virtqueue-trace", path=path, queue=queue, **how)


def inflight(qmp, path=DISK0, **how):
    return qmp.command("query-virtqueue-inflight", path=path, **how)


@pytest.mark.parametrize("packed", [False, True])
def test_a_request_leaves_its_trace(tmp_path, packed):
    disk = f"virtio-blk,id=disk0,size=1M,num-queues=2,packed={'on' if packed else 'off'}"
    with serve(tmp_path, disk) as host:
        with host.qmp() as qmp, Front(host.socket("disk0"), queues=2, packed=packed) as front:
            Blk(front).read(0, 512)
            wait_until(lambda: {"call", "kick"} <= set(kinds(trace(qmp))), "the call")
            events = trace(qmp)
            assert [e["serial"] for e in events] == list(range(len(events)))
            assert all(a["time-ns"] <= b["time-ns"] for a, b in zip(events, events[1:]))
            assert all(0 <= e["age-ns"] < 3600e9 for e in events)
            names = kinds(events)
            assert names[0] == "start" and events[0]["arg"] == front.queues[0].ring.size
            # The look with which it starts may find the request before the kick comes.
            assert names.index("pop") < names.index("complete") < names.index("call")
            pop, done = events[names.index("pop")], events[names.index("complete")]
            assert pop["arg"] == 16 and done["arg"] == 513 and pop["index"] == done["index"]
            assert [e["serial"] for e in trace(qmp, last=2)] == [e["serial"] for e in events[-2:]]
            assert kinds(trace(qmp, queue=1)) in (["start"], ["start", "notify-on"])
            assert trace(qmp, last=0) == []
            text = tool("info", "--qmp", str(host.qmp_path), "trace", "disk0", "0")[0]
            assert "complete" in text and "written 513" in text
        with host.qmp() as qmp:
            wait_until(lambda: kinds(trace(qmp))[-1] == "stop", "the end")


ERRORS = [("query-virtqueue-trace", {"path": "nobody", "queue": 0}),
          ("query-virtqueue-trace", {"path": DISK0, "queue": 9}),
          ("query-virtqueue-inflight", {"path": "nobody"}),
          ("query-virtqueue-inflight", {"path": DISK0, "queue": 1})]


def test_wrong_arguments(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M") as host, host.qmp() as qmp:
        for name, arguments in ERRORS:
            assert qmp.error(name, **arguments)[0] == "GenericError"
        assert trace(qmp) == [] and inflight(qmp) == []


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_in_flight(tmp_path, packed):
    """Some transfers stay: the rest is answered, and these are told, oldest first."""
    image, hold = tmp_path / "image", tmp_path / "hold"
    image.write_bytes(bytes(1 << 20))
    hold.touch()
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},aio=threads,iothread=io0,"
               f"packed={'on' if packed else 'off'}", arguments=["--object", "iothread,id=io0"],
               env=slow_disk(1000, hold)) as host:
        with host.qmp() as qmp, Front(host.socket("disk0"), packed=packed) as front:
            blk = Blk(front)
            before = time.monotonic_ns()
            started = [blk.start(BLK_T_OUT, sector, b"x" * 512) if sector % 2 else
                       blk.start(BLK_T_IN, sector, length=512) for sector in range(NUM)]
            wait_until(lambda: 0 < len(inflight(qmp)) < NUM, "some to be done, some not")
            seen = inflight(qmp)
            after = time.monotonic_ns()
            thread = qmp.command("query-iothreads")[0]["thread-id"]
            for request in seen:
                fields = {f["name"]: f["value"] for f in request["fields"]}
                sector = fields["sector"]
                assert (request["source"], request["certain"]) == ("device", True)
                assert (request["iothread"], request["thread-id"]) == ("io0", thread)
                assert before <= request["since-ns"] <= after
                assert request["age-ns"] <= after - before
                assert ("write" if sector % 2 else "read") in request["description"]
                sizes = (16 + 512, 1) if sector % 2 else (16, 513)
                assert (request["readable-bytes"], request["writable-bytes"]) == sizes
            assert len({request["head"] for request in seen}) == len(seen)
            ages = [request["since-ns"] for request in seen]
            assert ages == sorted(ages)
            assert inflight(qmp, queue=0)
            text = tool("info", "--qmp", str(host.qmp_path), "inflight", "disk0")[0]
            assert "sector" in text and "io0" in text
            hold.unlink()
            for request in started:
                blk.finish(request)
            wait_until(lambda: not inflight(qmp), "nothing to be in flight")


@pytest.mark.parametrize("indirect", [False, True])
def test_what_a_relayed_back_end_has(tmp_path, indirect):
    """What the driver made available and nobody answered is read from memory."""
    image, hold = tmp_path / "image", tmp_path / "hold"
    image.write_bytes(bytes(1 << 20))
    hold.touch()
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},aio=threads",
               env=slow_disk(1000, hold)) as back:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host:
            with host.qmp() as qmp, back.qmp() as theirs, Front(host.socket("r0")) as front:
                blk = Blk(front, indirect=indirect)
                started = [blk.start(BLK_T_IN, sector, length=512) for sector in range(NUM)]
                wait_until(lambda: 0 < len(inflight(theirs)) < NUM, "some to be done")

                def agree():
                    truth = {r["head"] for r in inflight(theirs)}
                    seen = inflight(qmp, path=R0)
                    return truth and {r["head"] for r in seen} == truth and seen

                seen = wait_until(agree, "both to see the same")
                assert all(r["source"] == "memory" and r["certain"] for r in seen)
                assert all("since-ns" not in r and "thread-id" not in r for r in seen)
                assert all("read 512 bytes at sector" in r["description"] for r in seen)
                hold.unlink()
                for request in started:
                    blk.finish(request)
                wait_until(lambda: not inflight(qmp, path=R0), "nothing to be in flight")
                assert "no events" in qmp.error("query-virtqueue-trace", path=R0, queue=0)[1]
