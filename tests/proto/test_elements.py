# SPDX-License-Identifier: BSD-3-Clause
"""query-virtqueue-elements: a ring entry by entry, each with its state; nothing stale is shown as
live, and nothing that a guest wrote makes it fail."""
import random
import struct

import pytest

from lib.process import wait_until
from lib.relay import R0, relay
from lib.ringside import serve, tool
from lib.slow_disk import slow_disk
from lib.vhost_user import F_EVENT_IDX, F_PACKED, F_PROTOCOL, F_VERSION_1, Front
from lib.virtio import BLK_T_IN, Blk

DISK0 = "/machine/peripheral/disk0/virtio-backend"
NUM = 12


def elements(qmp, path=DISK0, queue=0, **how):
    return qmp.command("query-virtqueue-elements", path=path, queue=queue, **how)


def states(ring):
    return [element["state"] for element in ring["elements"]]


def disk(packed, more="size=1M"):
    return f"virtio-blk,id=disk0,packed={'on' if packed else 'off'},{more}"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("event_idx", [False, True])
def test_an_idle_ring(tmp_path, packed, event_idx):
    features = F_VERSION_1 | F_PROTOCOL | F_PACKED | (F_EVENT_IDX if event_idx else 0)
    with serve(tmp_path, disk(packed)) as host:
        with host.qmp() as qmp, Front(host.socket("disk0"), features=features,
                                        packed=packed) as front:
            size = front.queues[0].ring.size
            wait_until(lambda: elements(qmp)["consistent"], "a ring")
            ring = elements(qmp)
            assert (ring["packed"], ring["num"]) == (packed, size)
            assert ring["event-idx"] == event_idx and not ring["truncated"]
            assert states(ring) == ["stale"] * size
            assert ring["last-avail"] == ring["used"] == 0
            blk = Blk(front)
            for sector in range(5):
                blk.read(sector, 512)
            wait_until(lambda: "used" in states(elements(qmp)) and
                       elements(qmp)["used"] == (15 if packed else 5), "all answers")
            ring = elements(qmp)
            wrote = [e["written"] for e in ring["elements"] if e["state"] == "used"]
            assert set(wrote) == {513}
            assert all(e["state"] in ("used", "stale") and not e["descs"]
                       for e in ring["elements"])
            assert wait_until(lambda: elements(qmp).get("wants-kick"), "it to want kicks")
            if not packed:
                assert (ring["avail-idx"], ring["used-idx"]) == (5, 5)
                current = [e for e in ring["used-entries"] if e["current"]]
                assert [(e["index"], e["len"]) for e in current] == [(i, 513) for i in range(5)]
                assert ("avail-event" in ring) == event_idx


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_ring_with_requests_in_flight(tmp_path, packed, indirect):
    image, hold = tmp_path / "image", tmp_path / "hold"
    image.write_bytes(bytes(1 << 20))
    hold.touch()
    with serve(tmp_path, disk(packed, f"filename={image},aio=threads"),
               env=slow_disk(1000, hold)) as host:
        with host.qmp() as qmp, Front(host.socket("disk0"), packed=packed) as front:
            blk = Blk(front, indirect=indirect)
            started = [blk.start(BLK_T_IN, sector, length=512) for sector in range(NUM)]

            def agree():
                truth = {r["head"]: r["since-ns"] for r in
                         qmp.command("query-virtqueue-inflight", path=DISK0)}
                ring = elements(qmp)
                seen = {e["head"]: e["since-ns"] for e in ring["elements"]
                        if e["state"] == "in-flight"}
                # Answers may have been written over all of a packed ring's chain.
                same = seen.items() <= truth.items() if packed else seen == truth
                # And none waits for the device any more.
                return 0 < len(truth) < NUM and same and "available" not in states(ring) and ring

            ring = wait_until(agree, "some to be in flight")
            assert ring["consistent"]
            for element in ring["elements"]:
                if element["state"] != "in-flight":
                    assert "since-ns" not in element and not element["descs"]
                elif "problem" not in element:
                    assert [d["len"] for d in element["descs"]] == [16, 512, 1]
                    assert "write" in element["descs"][-1]["flags"]
            if not packed:
                assert states(ring).count("used") + states(ring).count("in-flight") == NUM
            window = elements(qmp, start=1, count=3)
            assert [e["index"] for e in window["elements"]] == [1, 2, 3]
            text = tool("info", "--qmp", str(host.qmp_path), "elements", "disk0", "0")[0]
            # Of a packed ring more may have been written over meanwhile.
            assert "in-flight" in text or (packed and "in-flight" not in states(elements(qmp)))
            hold.unlink()
            for request in started:
                blk.finish(request)
            wait_until(lambda: "in-flight" not in states(elements(qmp)), "the end")


@pytest.mark.parametrize("packed", [False, True])
def test_what_waits_for_the_device(tmp_path, packed):
    """Made available, and never kicked: the device has not looked."""
    with serve(tmp_path, disk(packed)) as host:
        with host.qmp() as qmp, Front(host.socket("disk0"), packed=packed) as front:
            Blk(front).read(0, 512)
            memory, ring = front.memory, front.queues[0].ring
            head = memory.put(struct.pack("<IIQ", BLK_T_IN, 0, 0))
            room = memory.alloc(513)
            wait_until(lambda: elements(qmp)["consistent"], "it to rest")
            ring.add([(head, 16, False), (room, 513, True)], indirect=True)
            ring.add([(head, 16, False), (room, 513, True)])
            found = elements(qmp)
            live = [e for e in found["elements"] if e["state"] == "available"]
            assert [[d["len"] for d in e["descs"]] for e in live] == [[16, 513], [16, 513]]
            if packed:
                assert states(found).count("part") == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_relayed_ring(tmp_path, packed):
    with serve(tmp_path, disk(packed)) as back:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host:
            with host.qmp() as qmp, Front(host.socket("r0"), packed=packed) as front:
                for sector in range(4):
                    Blk(front).read(sector, 512)
                ring = elements(qmp, path=R0)
                assert not {"in-flight", "available"} & set(states(ring))
                assert all(not e["descs"] and "since-ns" not in e for e in ring["elements"])


ERRORS = [{"path": "nobody", "queue": 0}, {"path": DISK0, "queue": 1}, {"path": DISK0, "queue": 0},
          {"path": DISK0, "queue": 0, "count": 0}]


def test_wrong_arguments(tmp_path):
    with serve(tmp_path, disk(False)) as host, host.qmp() as qmp:
        for arguments in ERRORS:
            qmp.error("query-virtqueue-elements", **arguments)


@pytest.mark.parametrize("relayed", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_rings(tmp_path, packed, relayed):
    """Noise where the rings are: every query answers, or says what is wrong, and all go on."""
    queries = [("query-virtqueue-elements", {"queue": 0}), ("query-virtqueue-inflight", {}),
               ("query-virtqueue-inflight", {"queue": 0}),
               ("query-virtqueue-trace", {"queue": 0}), ("query-virtio-sources", {}),
               ("x-query-virtio-queue-status", {"queue": 0}), ("query-virtqueue-health", {})]
    with serve(tmp_path, disk(packed)) as back:
        front_side = relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) \
            if relayed else None
        host = front_side or back
        path = R0 if relayed else DISK0
        try:
            with host.qmp() as qmp, \
                    Front(host.socket("r0" if relayed else "disk0"), packed=packed) as front:
                Blk(front).read(0, 512)
                noise, memory = random.Random(5), front.memory
                ring = front.queues[0].ring
                areas = [ring.desc, ring.avail, ring.used_ring]
                for turn in range(30):
                    for area in areas:
                        size = 16 * ring.size if area == areas[0] else 4 + (turn % 3) * 60
                        memory.write(area, noise.randbytes(size) if turn % 4 else
                                     bytes([0xff, 1, 2, 0][turn // 4 % 4:][:1]) * size)
                    for name, arguments in queries:
                        reply = qmp.execute(name, {"path": path, **arguments})
                        assert "return" in reply or reply["error"]["class"] == "GenericError"
                    qmp.command("query-stats", target="virtqueue")
        finally:
            if front_side:
                front_side.__exit__(None, None, None)
