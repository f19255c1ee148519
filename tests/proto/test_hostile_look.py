# SPDX-License-Identifier: BSD-3-Clause
"""Rings as no driver should write them, under every query: all of them answer, none changes a byte,
sends a signal or a message, and the device, which was not told to look, goes on afterwards."""
import contextlib
import struct

import pytest

from lib.look import status_of
from lib.process import wakeups
from lib.relay import R0, relay, transcript
from lib.ringside import serve
from lib.vhost_user import Front
from lib.virtio import Blk

DISK = "/machine/peripheral/disk0/virtio-backend"
NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15
SIZE, OUTSIDE = 16, 1 << 50
HEAD = 5  # split: where the rows begin; one request was answered before
PLACE = 3  # packed: the next place, behind the three of that request


class Bad:
    """What rows write with."""

    def __init__(self, front):
        self.memory, self.ring = front.memory, front.queues[0].ring
        self.gpa, self.table = self.memory.alloc(4096), self.memory.alloc(4096)

    def desc(self, index, length, flags, following=0, addr=None):
        self.ring.set_desc(index, self.gpa if addr is None else addr, length, flags, following)

    def entry(self, flags, following=0):
        """The first of the table's two entries."""
        self.memory.write(self.table, struct.pack("<QIHHQIHH", self.gpa, 16, flags, following,
                                                  self.gpa, 16, WRITE, 0))

    def offer(self, head=HEAD, ahead=1):
        """Split: so many more are available, and the next is `head`."""
        self.ring.set_avail(1, head)
        self.memory.set_le(self.ring.avail + 2, 2, (1 + ahead) & 0xffff)

    def packed(self, place, length, flags, ident=0, addr=None):
        """Packed: available in the first round, unless the flags say otherwise."""
        self.memory.write(self.ring.desc + 16 * place, struct.pack(
            "<QIHH", self.gpa if addr is None else addr, length, ident, flags))


# What is written; of what x-query-virtio-queue-element complains, None: of nothing.
SPLIT = {
    "loop": (lambda b: b.desc(HEAD, 16, NEXT, HEAD), "loop"),
    "loop of two": (lambda b: (b.desc(HEAD, 16, NEXT, 6), b.desc(6, 16, NEXT, HEAD)), "loop"),
    "next beyond": (lambda b: b.desc(HEAD, 16, NEXT, SIZE), "as next, beyond"),
    "next as far as it goes": (lambda b: b.desc(HEAD, 16, NEXT, 0xffff), "as next, beyond"),
    "table of 0 bytes": (lambda b: b.desc(HEAD, 0, INDIRECT, addr=b.table), "of 0 bytes"),
    "table of 1 byte": (lambda b: b.desc(HEAD, 1, INDIRECT, addr=b.table), "of 1 bytes"),
    "table of 15 bytes": (lambda b: b.desc(HEAD, 15, INDIRECT, addr=b.table), "of 15 bytes"),
    "table of 17 bytes": (lambda b: b.desc(HEAD, 17, INDIRECT, addr=b.table), "of 17 bytes"),
    "table outside memory": (lambda b: b.desc(HEAD, 32, INDIRECT, addr=OUTSIDE),
                             "outside guest memory"),
    "table that wraps": (lambda b: b.desc(HEAD, 32, INDIRECT, addr=2**64 - 16), "wraps around"),
    "table and next": (lambda b: b.desc(HEAD, 32, INDIRECT | NEXT, addr=b.table),
                       "both INDIRECT and NEXT"),
    "table in a table": (lambda b: (b.entry(INDIRECT), b.desc(HEAD, 32, INDIRECT, addr=b.table)),
                         "is indirect itself"),
    "loop in a table": (lambda b: (b.entry(NEXT, 0), b.desc(HEAD, 32, INDIRECT, addr=b.table)),
                        "loop"),
    "next beyond a table": (lambda b: (b.entry(NEXT, 2), b.desc(HEAD, 32, INDIRECT, addr=b.table)),
                            "as next, beyond"),
    "buffer outside memory": (lambda b: b.desc(HEAD, 16, 0, addr=OUTSIDE), None),
    "head beyond": (lambda b: b.offer(SIZE), "as a head, beyond"),
    "head as far as it goes": (lambda b: b.offer(0xffff), "as a head, beyond"),
    "available index far ahead": (lambda b: b.offer(ahead=1000), None),
    "available index behind": (lambda b: b.offer(ahead=-1), None),
    "used index beyond the available": (lambda b: b.memory.set_le(b.ring.used_ring + 2, 2, 500),
                                        None),
    "ids beyond": (lambda b: b.memory.write(b.ring.used_ring + 4, b"\xff" * 8 * SIZE), None),
    "event indices": (lambda b: (b.ring.set_used_event(0xffff), b.memory.set_le(
        b.ring.used_ring + 4 + 8 * SIZE, 2, 0x8000)), None),
}
PACKED = {
    "no end": (lambda b: [b.packed(i, 16, NEXT | AVAIL) for i in range(SIZE)], "goes on"),
    "flags all set": (lambda b: [b.packed(i, 16, 0xffff) for i in range(SIZE)], None),
    "no flags": (lambda b: [b.packed(i, 16, 0) for i in range(SIZE)], None),
    "all available": (lambda b: [b.packed(i, 16, AVAIL) for i in range(SIZE)], None),
    "all answers": (lambda b: [b.packed(i, 16, AVAIL | USED, 0xffff) for i in range(SIZE)], None),
    "by turns": (lambda b: [b.packed(i, 16, i % 2 * AVAIL | i % 3 * USED & USED)
                            for i in range(SIZE)], None),
    "id beyond": (lambda b: b.packed(PLACE, 16, AVAIL, 0xffff), None),
    "table of 0 bytes": (lambda b: b.packed(PLACE, 0, INDIRECT | AVAIL), "of 0 bytes"),
    "table of 15 bytes": (lambda b: b.packed(PLACE, 15, INDIRECT | AVAIL), "of 15 bytes"),
    "table of 17 bytes": (lambda b: b.packed(PLACE, 17, INDIRECT | AVAIL), "of 17 bytes"),
    "table outside memory": (lambda b: b.packed(PLACE, 32, INDIRECT | AVAIL, addr=OUTSIDE),
                             "outside guest memory"),
    "table that wraps": (lambda b: b.packed(PLACE, 32, INDIRECT | AVAIL, addr=2**64 - 16),
                         "wraps around"),
    "table and next": (lambda b: b.packed(PLACE, 32, INDIRECT | NEXT | AVAIL),
                       "both INDIRECT and NEXT"),
    "table within a list": (lambda b: (b.packed(PLACE + 1, 32, INDIRECT | AVAIL),
                                       b.packed(PLACE, 16, NEXT | AVAIL)),
                            "INDIRECT within a list"),
    "buffer outside memory": (lambda b: b.packed(PLACE, 16, AVAIL, addr=OUTSIDE), None),
    "event areas": (lambda b: (b.memory.write(b.ring.avail, b"\xff" * 4),
                               b.memory.write(b.ring.used_ring, b"\xff" * 4)), None),
}
QUERIES = [
    ("x-query-virtio-status", {}), ("x-query-virtio-queue-status", {"queue": 0}),
    ("query-virtio-sources", {}), ("query-virtqueue-inflight", {}),
    ("query-virtqueue-inflight", {"queue": 0}), ("query-virtqueue-health", {}),
    ("query-virtqueue-health", {"queue": 0}), ("query-virtqueue-elements", {"queue": 0}),
    ("query-virtqueue-elements", {"queue": 0, "start": PLACE, "count": 2}),
]
# They answer, or say what is wrong with the element.
ELEMENT = ("x-query-virtio-queue-element", [{}, *({"index": i} for i in (0, 1, PLACE, SIZE - 1))])


@contextlib.contextmanager
def looked_at(tmp_path, packed, relayed):
    """A monitor, its device's name, a driver that has read once."""
    with contextlib.ExitStack() as stack:
        host = back = stack.enter_context(serve(tmp_path, "virtio-blk,id=disk0,size=1M,packed=on"))
        name = "disk0"
        if relayed:
            host = stack.enter_context(relay(tmp_path, "id=r0,type=virtio-blk",
                                             connect=host.socket("disk0")))
            name = "r0"
        qmp = stack.enter_context(host.qmp())
        front = stack.enter_context(Front(host.socket(name), size=SIZE, packed=packed))
        Blk(front).read(0, 512)
        # All threads sleep: without a kick none looks at the ring any more.
        wakeups(back.process.pid, idle=False)
        front.queues[0].drain_calls()
        yield qmp, name, front


def ask_all(qmp, path, relayed):
    """Every query once; what the element's said without an index, None if it answered."""
    for name, arguments in QUERIES:
        assert "return" in qmp.execute(name, {"path": path, **arguments}), name
    if relayed:
        qmp.command("x-query-virtio-vhost-queue-status", path=path, queue=0)
    else:
        qmp.command("query-virtqueue-trace", path=path, queue=0)
    qmp.command("query-stats", target="virtqueue")
    replies = [qmp.execute(ELEMENT[0], {"path": path, "queue": 0, **more}) for more in ELEMENT[1]]
    for reply in replies:
        assert "return" in reply or reply["error"]["class"] == "GenericError"
    return replies[0].get("error", {}).get("desc")


@pytest.mark.parametrize("relayed", [False, True], ids=["ours", "relayed"])
@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_every_row_under_every_query(tmp_path, packed, relayed):
    path = R0 if relayed else DISK
    with looked_at(tmp_path, packed, relayed) as (qmp, name, front):
        memory, bad = front.memory.regions[0].map, Bad(front)
        said = transcript(qmp)[-1]["serial"] if relayed else None
        for row, (write, words) in (PACKED if packed else SPLIT).items():
            good = bytes(memory)
            if not packed:
                bad.offer()
            write(bad)
            before = bytes(memory)
            error = ask_all(qmp, path, relayed)
            assert bytes(memory) == before, row
            # Where a packed ring behind a relay stands may not be known: then it asks for an index.
            if not (relayed and packed):
                assert (words is None and error is None) or words in error, (row, error)
            assert not status_of(qmp, name)["broken"] and not front.queues[0].drain_calls(), row
            memory[:] = good
        assert front.silent()
        assert relayed is False or transcript(qmp)[-1]["serial"] == said, "nobody was told"
        Blk(front).read(1, 512)
