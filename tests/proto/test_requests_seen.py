# SPDX-License-Identifier: BSD-3-Clause
"""query-virtqueue-inflight and query-virtqueue-trace beside disks: what somebody else's back-end
was asked, what a dry source has taken, and what a killed device's successor takes again."""
import os
import signal
import socket
import struct

import pytest

from lib.fake_backend import FakeBackend
from lib.health import fast, verdict
from lib.process import wait_until
from lib.relay import R0, relay
from lib.ringside import Folder, serve
from lib.slow_disk import slow_disk
from lib.vhost_user import F_EVENT_IDX, Front
from lib.virtio import BLK_T_IN, Blk

DISK = "/machine/peripheral/disk0/virtio-backend"
DEVICE = "/machine/peripheral/{}/virtio-backend"


def inflight(qmp, path, **how):
    return qmp.command("query-virtqueue-inflight", path=path, **how)


def trace(qmp, path, queue=0):
    return qmp.command("query-virtqueue-trace", path=path, queue=queue)


def kinds(events):
    return [event["event"] for event in events]


class Holder(FakeBackend):
    """Takes requests and answers none."""

    def serve(self, ring, head):
        pass


MAC = bytes.fromhex("525400123456")
# Type, queues, the queue, the request's readable parts and its writable bytes; what is said of it.
ASKED = [
    ("virtio-net", 2, 1, [struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 16, 0), MAC * 2 + b"\x08\x00",
                          bytes(46)], 0,
     "send 60 bytes, IPv4", {"frame-bytes": 60, "csum-start": 34, "ethertype": 0x800}),
    ("virtio-net", 2, 0, [], 1526, "receive buffer of 1526 bytes", {}),
    ("virtio-scsi", 3, 2, [struct.pack("<8sQBBB", bytes([1, 3, 0x40, 7]), 42, 0, 0, 0) +
                           bytes([0x28, 0, 0, 0, 1, 0, 0, 0, 8]) + bytes(23)], 108 + 4096,
     "READ(10) 8 blocks at 256 on target 3 lun 7", {"target": 3, "lun": 7, "id": 42}),
    ("virtio-scsi", 3, 0, [struct.pack("<II8sQ", 0, 5, bytes([1, 2, 0x40, 3]), 9)], 1,
     "TMF, function LOGICAL_UNIT_RESET, target 2, lun 3, id 9", {"target": 2, "id": 9}),
    # A header that lies in two pieces.
    ("vhost-vsock", 3, 1, [struct.pack("<QQII", 3, 2, 1024, 22),
                           struct.pack("<IHHIII", 100, 1, 5, 0, 0, 0), bytes(100)], 0,
     "RW 100 bytes from port 1024 to 2:22", {"src-port": 1024, "dst-cid": 2, "dst-port": 22}),
    ("virtio-user-fs", 2, 1, [struct.pack("<IIQQIIII", 80, 15, 9, 1, 0, 0, 0, 0), bytes(40)],
     16 + 4096, "READ of node 1, unique 9", {"opcode": 15, "unique": 9, "node": 1}),
]


@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
@pytest.mark.parametrize("row", ASKED, ids=[f"{row[0]}, queue {row[2]}" for row in ASKED])
def test_what_a_back_end_was_asked(tmp_path, row, indirect):
    kind, queues, queue, parts, room, line, fields = row
    with Holder() as back, relay(tmp_path, f"id=r0,type={kind}", connect=back.path) as host, \
            host.qmp() as qmp, \
            Front(host.socket("r0"), queues=queues, features=~F_EVENT_IDX) as front:
        memory = front.memory
        buffers = [(memory.put(part), len(part), False) for part in parts]
        buffers += [(memory.alloc(room), room, True)] if room else []
        head = front.queues[queue].ring.add(buffers, indirect=indirect)
        front.queues[queue].kick(force=True)
        wait_until(lambda: back.rings[queue].avail_idx == 1, "the request's taking")
        found = inflight(qmp, R0)
        assert [(r["queue"], r["head"], r["source"], r["certain"]) for r in found] == \
            [(queue, head, "memory", True)]
        assert found[0]["description"] == line and "problem" not in found[0]
        assert found[0]["readable-bytes"] == sum(len(part) for part in parts)
        assert found[0]["writable-bytes"] == room
        seen = {f["name"]: f["value"] for f in found[0]["fields"]}
        assert fields.items() <= seen.items()
        assert found == inflight(qmp, R0, queue=queue)
        assert "age-ns" not in found[0]


def test_a_dry_source_has_taken_nothing(tmp_path):
    """A request that waits for entropy keeps its place in the ring: it is not in flight."""
    fifo, path = tmp_path / "fifo", DEVICE.format("rng0")
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    try:
        with serve(tmp_path, f"virtio-rng,id=rng0,filename={fifo}") as host, host.qmp() as qmp, \
                Front(host.socket("rng0"), size=8) as front:
            fast(qmp)
            head = front.queues[0].ring.add([(front.memory.alloc(4), 4, True)])
            front.queues[0].kick()
            evidence = verdict(qmp, "rng0", 0, "out-of-supplies", "note")["evidence"]
            assert evidence["waiting"] == 1 and not evidence["in-flight"]
            assert inflight(qmp, path) == []
            # The look with which a queue starts may find it before the kick does.
            dry = [e for e in trace(qmp, path) if e["event"] == "dry"]
            assert dry and {e["index"] for e in dry} == {head}
            assert "complete" not in kinds(trace(qmp, path))
            os.write(writer, b"1234")
            front.queues[0].wait([head])
            wait_until(lambda: "call" in kinds(trace(qmp, path)), "the call")
            done = [e for e in trace(qmp, path) if e["event"] in ("pop", "complete")]
            assert [(e["index"], e["arg"]) for e in done][-1] == (head, 4)
            assert inflight(qmp, path) == []
    finally:
        os.close(writer)


def test_a_console_has_taken_nothing(tmp_path):
    """Neither its receive buffers, nor what its reader has no room for."""
    path, folder = DEVICE.format("con0"), Folder()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder.path / "c"))
        listener.listen(1)
        console = f"virtio-serial,id=con0,chardev=connect:{folder.path / 'c'}"
        with serve(tmp_path, console) as host, host.qmp() as qmp, listener.accept()[0] as reader, \
                Front(host.socket("con0"), queues=2) as front:
            fast(qmp)
            front.queues[0].ring.add([(front.memory.alloc(64), 64, True)])
            front.queues[0].kick()
            size = 1 << 20
            head = front.queues[1].ring.add([(front.memory.alloc(size), size, False)])
            front.queues[1].kick()
            for queue, severity in ((0, "ok"), (1, "note")):
                verdict(qmp, "con0", queue, "out-of-supplies", severity)
                assert "dry" in kinds(trace(qmp, path, queue))
                assert "complete" not in kinds(trace(qmp, path, queue))
            assert inflight(qmp, path) == []
            while size:
                size -= len(reader.recv(size))
            front.queues[1].wait([head])
            wait_until(lambda: "complete" in kinds(trace(qmp, path, 1)), "the answer")
            assert inflight(qmp, path) == []
    folder.remove()


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_what_is_taken_again(tmp_path, packed):
    """The successor of a killed device says which requests it has from the in-flight region."""
    image, hold = tmp_path / "image", tmp_path / "hold"
    image.write_bytes(bytes(1 << 20))
    disk = f"virtio-blk,id=disk0,filename={image},aio=threads,packed=on"
    host = serve(tmp_path, disk, env=slow_disk(0, hold))
    try:
        with Front(host.socket("disk0"), inflight=True, packed=packed) as front:
            blk = Blk(front)
            blk.read(0, 512)
            hold.touch()
            started = [blk.start(BLK_T_IN, sector, length=512) for sector in range(8)]
            with host.qmp() as qmp:
                # With the first read nine were taken, and a few of them stay.
                wait_until(lambda: kinds(trace(qmp, DISK)).count("pop") == 9 and
                           0 < len(inflight(qmp, DISK)) < 8, "some answered, some not")
                assert "again" not in kinds(trace(qmp, DISK))
            host.process.signal(signal.SIGKILL)
            host.crash()
            hold.unlink()
            queue = front.queues[0]
            queue.done |= {used.id: used for used in queue.ring.take_used()}
            open_ = {request[0] for request in started} - set(queue.done)
            host = serve(tmp_path, disk, folder=host.folder)
            front.reconnect(host.socket("disk0"))
            for request in started:
                blk.finish(request)
            with host.qmp() as qmp:
                again = [e["index"] for e in trace(qmp, DISK) if e["event"] == "again"]
                assert open_ and len(again) == len(open_) and set(again) == open_
        host.stop()
    finally:
        host.destroy()
