# SPDX-License-Identifier: BSD-3-Clause
"""One device whose queues are served by two iothreads, one that polls and one that does not: what
concerns the whole device concerns all of its loops."""
import json
import os

import pytest

from lib.process import Timeout, wait_until
from lib.ringside import Folder
from lib.vhost_user import Closed
from lib.virtio import BLK_S_OK, BLK_T_IN, BLK_T_OUT, SECTOR, Blk

QUEUES = 4
BACKEND = "/machine/peripheral/d/virtio-backend"
BYTES = 1 << 20


@pytest.fixture
def mapped(start, tmp_path):
    """(host, its monitor, the device's socket); the image is zeroed."""
    folder, image = Folder(), tmp_path / "image"
    image.write_bytes(bytes(BYTES))
    device = {"driver": "virtio-blk", "id": "d", "filename": str(image), "num-queues": QUEUES,
              "listen": str(folder.path / "d"),
              "iothread-vq-mapping": [{"iothread": "polls", "vqs": [0, 2]},
                                      {"iothread": "sleeps", "vqs": [1, 3]}]}
    host = start(json.dumps(device),
                 arguments=["--object", "iothread,id=polls,poll-max-ns=200000",
                            "--object", "iothread,id=sleeps,poll-max-ns=0"])
    yield host, host.qmp(), folder.path / "d"
    folder.remove()


class Load:
    """Requests on all queues at once, each queue in its own part of the disk."""

    def __init__(self, way, front, depth=8):
        self.disks = [Blk(front, n, indirect=way.indirect) for n in range(QUEUES)]
        self.plan = [(disk, (disk.queue * depth + n) * 8, os.urandom(8 * SECTOR))
                     for n in range(depth) for disk in self.disks]
        self.flying = None

    def begin(self, kind):
        self.flying = [(disk, data, disk.start(kind, sector, data) if kind == BLK_T_OUT
                        else disk.start(kind, sector, length=len(data)))
                       for disk, sector, data in self.plan]

    def end(self, kind):
        for disk, data, request in self.flying:
            status, got, _ = disk.finish(request)
            assert status == BLK_S_OK and (kind == BLK_T_OUT or got == data)

    def whole(self):
        for kind in (BLK_T_OUT, BLK_T_IN):
            self.begin(kind)
            self.end(kind)


def inuse(qmp):
    return [qmp.command("x-query-virtio-queue-status", path=BACKEND, queue=q)["inuse"]
            for q in range(QUEUES)]


def test_stop_and_resume(mapped, way):
    _, qmp, path = mapped
    with way.connect(path, queues=QUEUES) as front:
        load = Load(way, front)
        for _ in range(15):
            for kind in (BLK_T_OUT, BLK_T_IN):
                load.begin(kind)
                qmp.command("stop")
                assert inuse(qmp) == [0] * QUEUES
                before = [queue.ring.num_used() for queue in front.queues]
                extra = [disk.start(BLK_T_IN, 0, length=SECTOR) for disk in load.disks]
                # Held means held, by whichever loop.
                assert [queue.ring.num_used() for queue in front.queues] == before
                qmp.command("cont")
                load.end(kind)
                for disk, request in zip(load.disks, extra):
                    assert disk.finish(request)[0] == BLK_S_OK


def test_one_ring_stops_and_the_others_go_on(mapped, way):
    _, _, path = mapped
    with way.connect(path, queues=QUEUES) as front:
        load = Load(way, front)
        for turn in range(12):
            index = turn % QUEUES
            load.begin(BLK_T_OUT)
            base = front.get_vring_base(index)
            for disk in load.disks:
                if disk.queue != index:
                    assert disk.do(BLK_T_IN, 0, length=SECTOR)[0] == BLK_S_OK
            front.start_queue(index, base)
            load.end(BLK_T_OUT)
            load.begin(BLK_T_IN)
            load.end(BLK_T_IN)


def test_reset_under_load(mapped, way):
    _, qmp, path = mapped
    for turn in range(6):
        with way.connect(path, queues=QUEUES) as front:
            load = Load(way, front)
            load.whole()
            load.begin(BLK_T_OUT)
            if turn % 2:
                front.reset_device()
                assert inuse(qmp) == [0] * QUEUES
            # Else the connection closes with all of it in flight.
        wait_until(lambda: inuse(qmp) == [0] * QUEUES, "all queues to rest")
    with way.connect(path, queues=QUEUES) as front:
        Load(way, front).whole()


def is_silent(disk):
    """Whether a request is left unanswered. Its loop hears of a stop by a message, so that one
    more may go through."""
    request = disk.start(BLK_T_IN, 0, length=SECTOR)
    try:
        disk.finish(request, timeout=0.05)
    except Timeout:
        return True
    return False


@pytest.mark.parametrize("bad", range(QUEUES))
def test_one_bad_ring_stops_all(mapped, way, bad):
    _, qmp, path = mapped
    with way.connect(path, queues=QUEUES) as front:
        load = Load(way, front)
        load.whole()
        ring = front.queues[bad].ring
        ring.spoil()
        os.eventfd_write(front.queues[bad].kick_fd, 1)
        wait_until(lambda: qmp.command("x-query-virtio-status", path=BACKEND)["broken"],
                   "the device to be broken")
        for disk in load.disks:
            if disk.queue != bad:
                wait_until(lambda disk=disk: is_silent(disk), f"queue {disk.queue} to stop")
        note = {m["member"]: m.get("note")
                for m in qmp.command("query-virtio-sources", path=BACKEND)}["broken"]
        assert note.startswith(f"queue {bad}: ")
    with way.connect(path, queues=QUEUES) as front:
        Load(way, front).whole()


def test_unplug_under_load(mapped, way):
    host, qmp, path = mapped
    with way.connect(path, queues=QUEUES) as front:
        load = Load(way, front)
        load.whole()
        load.begin(BLK_T_OUT)
        qmp.command("device_del", id="d")
        for name in ("polls", "sleeps"):
            # In use until the device is gone, and not a moment longer.
            reply = qmp.execute("object-del", {"id": name})
            assert "return" in reply or "in use" in reply["error"]["desc"]
        qmp.event("DEVICE_DELETED")
        qmp.event("DEVICE_DELETED")
        with pytest.raises((Closed, OSError)):
            front.get_features()
    for name in ("polls", "sleeps"):
        assert "return" in qmp.execute("object-del", {"id": name}) or \
            name not in [i["id"] for i in qmp.command("query-iothreads")]
    assert qmp.command("query-iothreads") == []
    assert host.process.running()
