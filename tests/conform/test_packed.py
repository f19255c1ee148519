# SPDX-License-Identifier: BSD-3-Clause
"""What only packed rings have: sizes that are no power of two, places, bases; and that a ring of
either format is frozen while it is enabled."""
import random
import select

import pytest

from lib.look import flag_names, queue_of, settled, status_of
from lib.process import PATIENCE
from lib.ringside import serve
from lib.vhost_user import F_IN_ORDER, F_PACKED, F_RING_RESET, Front, Refused
from lib.virtio import BLK_S_OK, BLK_T_IN, SECTOR, Blk, rng_read


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(random.Random(6).randbytes(1 << 20))
    return path


@pytest.mark.parametrize("size", [3, 5, 100, 999, 32767])
def test_sizes_that_are_no_power_of_two(start, packed_way, size):
    """Every place at once, twice around."""
    host = start("virtio-rng,id=r")
    with packed_way.connect(host.socket("r"), size=size) as front:
        queue, gpa = front.queues[0], front.memory.alloc(size)
        for _ in range(2):
            heads = [queue.ring.add([(gpa + n, 1, True)], publish=False) for n in range(size)]
            queue.ring.publish()
            queue.kick()
            assert [used.len for used in queue.wait(heads)] == [1] * size
        assert settled(host.qmp(), "r", 0)["vring-num"] == size


def test_packed_indices_wrap(start, packed_way, image):
    """Chains of one to three descriptors across the end of a ring of a prime size, from its
    beginning and from where other back-ends have brought it; one says no used half of the base."""
    host = start(f"virtio-blk,id=d,filename={image}")
    data = image.read_bytes()
    with packed_way.connect(host.socket("d"), size=61) as front:
        disk, ring = Blk(front, indirect=packed_way.indirect), front.queues[0].ring
        for place, mask in ((0, 0xffffffff), (0, 0xffff), (61, 0xffffffff), (7, 0xffff),
                            (61 * 5 + 60, 0xffffffff), (61 * 8, 0xffff)):
            front.get_vring_base(0)
            ring.reset()
            ring.move_to(place)
            # The last round's answers lie there.
            if place >= 61:
                ring.memory.set_le(ring.desc + 14, 2, 0x8080 if ring.wrap(place - 61) else 0)
            front.start_queue(0, ring.base() & mask)
            order = random.Random(place)
            for _ in range(300):
                flying = [(n, disk.start(BLK_T_IN, n, length=SECTOR))
                          for n in order.sample(range(100), order.randrange(1, 20))]
                order.shuffle(flying)
                for n, request in flying:
                    assert disk.finish(request)[1] == data[n * SECTOR:][:SECTOR]
            assert front.get_vring_base(0) == ring.base()
            assert ring.offered > place + 300
            front.start_queue(0, ring.base())


def test_bases_that_mean_the_beginning(start, packed_way):
    """What QEMU, DPDK and user-mode Linux say of a packed ring that is new."""
    host = start("virtio-rng,id=r")
    for base in (0x80008000, 0x00008000, 0):
        with packed_way.connect(host.socket("r"), size=8, start=False) as front:
            front.start(base)
            for _ in range(20):
                assert rng_read(front, 8)
            assert front.get_vring_base(0) == front.queues[0].ring.base()


def test_bases_that_cannot_be(start, packed_way):
    host = start("virtio-rng,id=r")
    for base in (0x80088008, 0x7fff7fff, 0x80010003, 0x80018000):
        with packed_way.connect(host.socket("r"), size=8, start=False) as front:
            with pytest.raises(Refused):
                front.start(base)
            assert select.select([front.queues[0].err_fd], [], [], PATIENCE)[0], hex(base)
            assert "NEEDS_RESET" in flag_names(status_of(host.qmp(), "r"))


def test_enabled_rings_are_frozen(start, way, image):
    """Another size or place for a ring that runs is refused, whoever asks; it goes on."""
    host = start(f"virtio-blk,id=d,filename={image}")
    with way.connect(host.socket("d"), size=16) as front:
        ring, user = front.queues[0].ring, front.memory.regions[0].user
        disk = Blk(front, indirect=way.indirect)
        areas = [at + user for at in (ring.desc, ring.used_ring, ring.avail)]
        refused = [lambda: front.set_vring_num(0, 8)] + [
            lambda n=n: front.set_vring_addr(0, *(at + 64 * (k == n) for k, at in enumerate(areas)))
            for n in range(3)]
        for attempt in refused:
            with pytest.raises(Refused):
                attempt()
            assert disk.read(0, SECTOR) == image.read_bytes()[:SECTOR]
        # What changes nothing is nothing.
        front.set_vring_num(0, 16)
        front.set_vring_addr(0, *areas)
        assert disk.read(1, SECTOR) == image.read_bytes()[SECTOR:2 * SECTOR]
        # Stopped, it may be anything: a new start in half the size.
        front.get_vring_base(0)
        ring.reset()
        front.set_vring_num(0, 8)
        ring.size, ring.free = 8, list(range(8))
        front.start_queue(0)
        for _ in range(20):
            assert disk.read(1, SECTOR) == image.read_bytes()[SECTOR:2 * SECTOR]
        assert queue_of(host.qmp(), "d")["vring-num"] == 8


@pytest.mark.parametrize("options, offered", [
    ("", F_RING_RESET), (",packed=on", F_PACKED | F_RING_RESET), (",queue_reset=off", 0),
    (",in_order=on", F_IN_ORDER | F_RING_RESET),
    (",packed=on,in_order=on,queue_reset=off", F_PACKED | F_IN_ORDER)])
def test_what_is_offered(tmp_path, options, offered):
    """NOTIFICATION_DATA never: an eventfd carries none."""
    with serve(tmp_path, f"virtio-rng,id=r{options}") as host:
        with Front(host.socket("r"), start=False) as front:
            known = F_PACKED | F_IN_ORDER | F_RING_RESET | 1 << 38
            assert front.get_features() & known == offered


def test_answers_in_order(tmp_path, way, image):
    """With IN_ORDER a long request is answered before the short ones behind it, on every queue."""
    data = image.read_bytes()
    with serve(tmp_path, f"virtio-blk,id=d,filename={image},packed=on,in_order=on,aio=threads") \
            as host, way.connect(host.socket("d"), size=128) as front:
        assert front.features & F_IN_ORDER
        disk, queue = Blk(front, indirect=way.indirect), front.queues[0]
        for _ in range(20):
            flying = [(at, disk.start(BLK_T_IN, at, length=sectors * SECTOR))
                      for at, sectors in ((0, 1024), (1, 1), (2, 64), (3, 1), (4, 1), (5, 512))]
            ids = []
            while len(ids) < len(flying):
                found = queue.next_used()
                ids += [used.id for used in found]
                queue.done.update({used.id: used for used in found})
            assert ids == [request[0] for _, request in flying]
            for at, request in flying:
                status, got, _ = disk.finish(request)
                assert status == BLK_S_OK and got == data[at * SECTOR:][:len(got)]
