# SPDX-License-Identifier: BSD-3-Clause
"""Where a ring stands that somebody else serves: what the relay derives from memory against what
the back-end, ours, says of itself. What the relay shows is right whenever it is there."""
import random
import re

import pytest

from lib.look import queue_of
from lib.process import wait_until
from lib.relay import R0, relay, transcript
from lib.ringside import serve
from lib.slow_disk import slow_disk
from lib.vhost_user import F_IN_ORDER, Front
from lib.virtio import BLK_T_IN, Blk

DISK = "/machine/peripheral/disk0/virtio-backend"
SIZE, DEEP, ROUNDS = 32, 6, 40
INDICES = ("last-avail-idx", "used-idx", "inuse")


class Pair:
    """Both monitors on one queue, and the driver's requests."""

    def __init__(self, eyes, own, front, hold, dice):
        self.eyes, self.own, self.hold, self.dice = eyes, own, hold, dice
        self.front, self.blk, self.open = front, Blk(front), []
        self.known = self.known_busy = self.known_waiting = 0

    def seen(self):
        """What the relay knows; unknown members are left out, by its own word."""
        queue = queue_of(self.eyes, "r0")
        sources = {m["member"]: m for m in
                   self.eyes.command("query-virtio-sources", path=R0)}
        again = queue_of(self.eyes, "r0")
        if queue != again:
            return None
        return {name: queue[name] for name in INDICES
                if name in queue and sources[f"queue.0.{name}"]["source"] != "unknown"}, {
            name: wrap[1] for name in INDICES[:2]
            if (wrap := re.search(r"wrap counter is (\d)",
                                  sources[f"queue.0.{name}"].get("note", "")))}

    def truth(self):
        queue = queue_of(self.own, "disk0")
        sources = {m["member"]: m.get("note", "") for m in
                   self.own.command("query-virtio-sources", path=DISK)}
        return {name: queue[name] for name in INDICES}, {
            name: wrap[1] for name in INDICES[:2]
            if (wrap := re.search(r"wrap counter is (\d)", sources[f"queue.0.{name}"]))}

    def agree(self):
        """A moment at which nothing moved; the device tells of a batch right after it shows it."""
        before, seen, after = self.truth(), self.seen(), self.truth()
        if before != after or not seen:
            return None
        for mine, true in zip(seen, before):
            if any(true.get(name) != value for name, value in mine.items()):
                return None
        return seen[0], before[0]

    def look(self):
        seen, true = wait_until(self.agree, "what the relay derives is so")
        if "last-avail-idx" in seen:
            self.known += 1
            self.known_busy += true["inuse"] > 0
        return seen, true

    def start(self, num):
        for _ in range(min(num, DEEP - len(self.open))):
            self.blk.indirect = self.dice.random() < 0.5
            self.open.append(self.blk.start(BLK_T_IN, self.dice.randrange(64), length=512,
                                            pieces=self.dice.choice((1, 1, 2))))

    def rest(self):
        """What is available, and nobody takes it."""
        self.finish()
        self.own.command("stop")
        self.start(self.dice.randrange(1, 4))
        seen, true = self.look()
        self.known_waiting += "last-avail-idx" in seen
        assert true["inuse"] == 0
        self.own.command("cont")

    def step(self):
        if self.dice.random() < 0.2:
            self.rest()
        if self.dice.random() < 0.4:
            self.hold.touch()
        self.start(self.dice.randrange(3))
        if self.dice.random() < 0.4:
            self.finish()

    def finish(self):
        self.hold.unlink(missing_ok=True)
        self.dice.shuffle(self.open)
        while self.open:
            self.blk.finish(self.open.pop())


@pytest.mark.parametrize("in_order", [False, True], ids=["any order", "in order"])
@pytest.mark.parametrize("inflight", [False, True], ids=["no region", "region"])
@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_what_is_derived_is_so(tmp_path, packed, inflight, in_order):
    image, hold = tmp_path / "image", tmp_path / "hold"
    image.write_bytes(bytes(1 << 20))
    dice = random.Random(f"{packed} {inflight} {in_order}")
    options = f"filename={image},aio=threads,packed=on" + (",in_order=on" if in_order else "")
    with serve(tmp_path, f"virtio-blk,id=disk0,{options}", env=slow_disk(300, hold)) as back, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
            host.qmp() as eyes, back.qmp() as own, \
            Front(host.socket("r0"), packed=packed, inflight=inflight, size=SIZE) as front:
        assert bool(front.features & F_IN_ORDER) == in_order
        said = transcript(eyes)[-1]["serial"]
        pair = Pair(eyes, own, front, hold, dice)
        assert pair.look()[0] == {"last-avail-idx": 0, "used-idx": 0, "inuse": 0}
        for _ in range(ROUNDS):
            pair.step()
            pair.look()
        pair.finish()
        seen, _ = pair.look()
        assert transcript(eyes)[-1]["serial"] == said, "nobody was asked"
        if not packed or inflight:
            assert set(seen) == set(INDICES), "at rest all is known"
        assert bool(pair.known_busy) == inflight, "what is taken, only a region tells"
        assert bool(pair.known_waiting) == inflight
        assert pair.known
        # Stopped, the back-end has said it itself.
        base = front.get_vring_base(0)
        assert queue_of(eyes, "r0")["last-avail-idx"] == base & (0x7fff if packed else 0xffff)


def test_requests_that_a_region_marks(tmp_path):
    image, hold = tmp_path / "image", tmp_path / "hold"
    image.write_bytes(bytes(1 << 20))
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},aio=threads",
               env=slow_disk(300, hold)) as back, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host, \
            host.qmp() as eyes, Front(host.socket("r0"), inflight=True, size=SIZE) as front:
        blk = Blk(front)
        blk.read(0, 512)
        hold.touch()
        requests = [blk.start(BLK_T_IN, sector, length=512) for sector in range(DEEP)]

        def marked():
            notes = {m["member"]: m.get("note") or "" for m in
                     eyes.command("query-virtio-sources", path=R0)}
            found = re.search(r"by the in-flight region: heads (.*)", notes["queue.0.inuse"])
            done = front.queues[0].done
            done |= {e.id: e for e in front.queues[0].ring.take_used()}
            heads = {request[0] for request in requests} - set(done)
            return heads and found and {int(h) for h in found[1].split(", ")} == heads

        wait_until(marked, "the heads that are not answered")
        hold.unlink()
        for request in requests:
            blk.finish(request)
