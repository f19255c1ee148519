# SPDX-License-Identifier: BSD-3-Clause
"""The dirty log: exactly the pages that the device wrote are marked, switching it on and off
disturbs no running ring, and a log that is too short or goes away loses nobody."""
import os
import random
import socket
import struct

import pytest

from lib.dirty import PAGE, DirtyLog, pages_of
from lib.memory import USER_OFFSET, Memory
from lib.packed_ring import PackedRing
from lib.process import wait_until
from lib.ringside import serve
from lib.vhost_user import (F_EVENT_IDX, F_INDIRECT, F_LOG_ALL, F_PACKED, F_PROTOCOL, F_VERSION_1,
                            VRING_LOG, Closed, Front, Proto, Refused, Req, VhostUser, signalled)
from lib.virtio import BLK_S_IOERR, BLK_S_OK, BLK_T_GET_ID, BLK_T_IN, BLK_T_OUT, Blk, rng_read

MIB = 1 << 20
SECTORS = 2 * MIB // 512
# Memory that a buffer may cross into, and the address at which the ring is logged: beyond both.
LAYOUT = ((0, 8 * MIB), (8 * MIB, MIB, PAGE))
RING_AT = 0x1230f80
LOG_BYTES = (32 * MIB // PAGE) // 8


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("log"), "virtio-blk,id=disk0,size=2M,num-queues=2,packed=on",
               "virtio-rng,id=rng0", "virtio-blk,id=file0,size=1M") as running:
        yield running


def features(front, log):
    front.set_features(front.features & ~F_LOG_ALL | (F_LOG_ALL if log else 0))


def ring_addr(front, index, log, at=RING_AT, move=0):
    ring = front.queues[index].ring
    front.set_vring_addr(index, ring.desc + USER_OFFSET, ring.used_ring + USER_OFFSET + move,
                         ring.avail + USER_OFFSET, flags=VRING_LOG if log else 0, log=at)


def switch(front, log, *, rings=True):
    """As QEMU does, while rings run."""
    if log:
        reply = front.set_log_base(log.size, log.offset, log.fd)
        assert reply == bytes(8)
    features(front, log)
    for index in range(front.num_queues):
        ring_addr(front, index, bool(log) and rings)


def quiet_features(**bits):
    return F_VERSION_1 | F_PROTOCOL | (F_EVENT_IDX if bits["event_idx"] else 0) | \
        (F_INDIRECT if bits["indirect"] else 0) | (F_PACKED if bits["packed"] else 0)


def place(ring):
    """Where the next answer will be."""
    return ring.taken if isinstance(ring, PackedRing) else ring.last_used


def ring_pages(front, index, used, at=RING_AT):
    """Of the used ring: flags and index, the elements written, the event word. Of a packed one: the
    descriptors written, where they are, and the device's event suppression."""
    ring = front.queues[index].ring
    pages = pages_of(at, 4)
    if isinstance(ring, PackedRing):
        return pages.union(*(pages_of(ring.desc + 16 * (slot % ring.size), 16) for slot in used))
    for slot in used:
        pages |= pages_of(at + 4 + 8 * (slot % ring.size), 8)
    return pages | (pages_of(at + 4 + 8 * ring.size, 2) if ring.event_idx else set())


def random_request(disk, dice):
    """One request; the pages of guest memory that the device wrote for it, its ring aside."""
    memory = disk.front.memory
    kind = dice.choice([BLK_T_IN, BLK_T_IN, BLK_T_OUT, BLK_T_GET_ID, 77])
    sectors = dice.choice([1, 2, 8, 9, 64, 200])
    beyond = kind == BLK_T_IN and dice.random() < 0.2
    sector = SECTORS if beyond else dice.randrange(SECTORS - sectors)
    memory.alloc(dice.randrange(3 * PAGE))
    if kind == BLK_T_OUT:
        started = disk.start(kind, sector, bytes(512 * sectors), pieces=dice.choice([1, 3]))
    else:
        length = 20 if kind == BLK_T_GET_ID else 512 * sectors
        started = disk.start(kind, sector, length=length, pieces=dice.choice([1, 2, 7]))
    _, payload, length, answer = started
    status = disk.finish(started)[0]
    written = pages_of(answer, 1)
    if kind in (BLK_T_IN, BLK_T_GET_ID) and not beyond:
        assert status == BLK_S_OK
        written |= pages_of(payload, length)
    return written


@pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event_idx"])
@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("offset", [0, 8, 4099])
def test_exactly_the_pages_written(host, event_idx, indirect, packed, offset):
    bits = quiet_features(event_idx=event_idx, indirect=indirect, packed=packed)
    dice = random.Random(event_idx + 2 * indirect + offset)
    with Front(host.socket("disk0"), memory=Memory(LAYOUT), features=bits, size=512,
               packed=packed) as front, DirtyLog(LOG_BYTES, offset) as log:
        disk = Blk(front, indirect=indirect)
        for _ in range(5):
            random_request(disk, dice)
        ring = front.queues[0].ring
        switch(front, log)
        payload, used = set(), []
        for _ in range(40):
            used.append(place(ring))
            written = random_request(disk, dice)
            # What the driver can see was marked before.
            assert written <= log.pages()
            payload |= written
        switch(front, None)
        assert log.pages() == payload | ring_pages(front, 0, used)
        # Off is off, and the place in the ring was kept twice.
        log.clear()
        for _ in range(5):
            random_request(disk, dice)
        assert log.pages() == set()
        assert front.get_vring_base(0) == ring.base()


def test_a_buffer_across_two_regions(host):
    with Front(host.socket("disk0"), memory=Memory(LAYOUT)) as front, DirtyLog(LOG_BYTES) as log:
        switch(front, log, rings=False)
        header = front.memory.put(struct.pack("<IIQ", BLK_T_IN, 0, 0))
        status = front.memory.alloc(1)
        front.request(0, [(header, 16, False), (8 * MIB - 3 * PAGE, 6 * PAGE, True),
                          (status, 1, True)])
        features(front, False)
        assert log.pages() == pages_of(8 * MIB - 3 * PAGE, 6 * PAGE) | pages_of(status, 1)


def test_the_ring_is_logged_where_its_flag_says_so(host):
    """Each ring for itself, at the address that came with the flag."""
    with Front(host.socket("disk0"), queues=2) as front, DirtyLog(LOG_BYTES) as log:
        front.set_log_base(log.size, 0, log.fd)
        features(front, True)
        ring_addr(front, 0, False)
        ring_addr(front, 1, True, at=0x1800000)
        for queue in (0, 1, 1):
            Blk(front, queue).read(0, 512)
        features(front, False)
        beyond = {page for page in log.pages() if page >= 16 * MIB // PAGE}
        assert beyond == ring_pages(front, 1, range(2), 0x1800000)


def test_the_ring_itself_may_not_move(host):
    """The flag comes with addresses: other ones are refused, and the ring goes on where it is."""
    with Front(host.socket("disk0")) as front, DirtyLog(LOG_BYTES) as log:
        switch(front, log)
        Blk(front).read(0, 512)
        with pytest.raises(Refused):
            ring_addr(front, 0, True, move=16)
        Blk(front).read(0, 512)
        features(front, False)
        assert ring_pages(front, 0, range(2)) <= log.pages()
        assert front.get_vring_base(0) == 2


def test_without_the_feature_nothing_is_marked(host):
    """A log alone is no log; neither is the feature alone."""
    with Front(host.socket("disk0")) as front, DirtyLog(LOG_BYTES) as log:
        features(front, False)
        front.set_log_base(log.size, 0, log.fd)
        ring_addr(front, 0, True)
        Blk(front).read(0, 4096)
        assert log.pages() == set()
    with Front(host.socket("disk0")) as front, DirtyLog(LOG_BYTES) as log:
        features(front, True)
        ring_addr(front, 0, True)
        Blk(front).read(0, 4096)
        # It comes later: from then on.
        front.set_log_base(log.size, 0, log.fd)
        assert not log.pages() & pages_of(0, 4096)
        Blk(front).read(0, 4096)
        assert log.pages()


def test_the_old_log_is_left_alone_once_a_new_one_is_answered(host):
    """Memory was plugged in: the log becomes longer while all runs."""
    with Front(host.socket("disk0")) as front, DirtyLog(LOG_BYTES) as old, \
            DirtyLog(2 * LOG_BYTES) as new:
        switch(front, old)
        running = [Blk(front).start(BLK_T_IN, 0, length=4096) for _ in range(16)]
        front.set_log_base(new.size, 0, new.fd)
        before = old.pages()
        more = [Blk(front).start(BLK_T_IN, 0, length=4096) for _ in range(16)]
        for request in running + more:
            assert Blk(front).finish(request)[0] == BLK_S_OK
        features(front, False)
        assert old.pages() == before
        for _, payload, length, status in running + more:
            wanted = pages_of(payload, length) | pages_of(status, 1)
            assert wanted <= old.pages() | new.pages()
        assert set().union(*(pages_of(r[1], r[2]) for r in more)) <= new.pages()


def test_while_requests_are_in_flight(host):
    """What was not answered when the log came is marked there when it is."""
    dice = random.Random(5)
    with Front(host.socket("disk0"), queues=2, memory=Memory(((0, 64 * MIB),))) as front, \
            DirtyLog(LOG_BYTES) as log:
        disks = [Blk(front, 0), Blk(front, 1)]
        for _ in range(20):
            switch(front, None)
            log.clear()
            running = []
            for turn in range(24):
                disk = disks[turn % 2]
                running.append((disk, disk.start(BLK_T_IN, dice.randrange(64), length=4096)))
                if turn == 12:
                    front.set_log_base(log.size, 0, log.fd)
                    features(front, True)
                    seen = [disk.front.memory.get_le(r[3], 1) == BLK_S_OK for disk, r in running]
            for disk, request in running:
                assert disk.finish(request)[0] == BLK_S_OK
            marked = log.pages()
            for at, (disk, (_, payload, length, status)) in enumerate(running):
                if at >= len(seen) or not seen[at]:
                    assert pages_of(payload, length) | pages_of(status, 1) <= marked


def test_entropy_is_marked_too(host):
    with Front(host.socket("rng0")) as front, DirtyLog(LOG_BYTES) as log:
        switch(front, log, rings=False)
        at = front.memory.alloc(0)
        rng_read(front, 3 * PAGE)
        features(front, False)
        assert log.pages() and log.pages() <= pages_of(at, 3 * PAGE + 16)


def test_a_failed_read_may_have_written(tmp_path):
    """The image lost its end: what the disk wrote before it noticed is marked."""
    image = tmp_path / "image"
    image.write_bytes(bytes(MIB))
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as short:
        with Front(short.socket("disk0")) as front, DirtyLog(LOG_BYTES) as log:
            switch(front, log, rings=False)
            os.truncate(image, 64 << 10)
            request = Blk(front).start(BLK_T_IN, 64, length=128 << 10)
            assert Blk(front).finish(request)[0] == BLK_S_IOERR
            assert pages_of(request[1], 128 << 10) <= log.pages()


def test_a_log_that_is_too_short(host):
    """Counted and said; nothing beyond its end is touched, and the disk works."""
    with Front(host.socket("disk0")) as front, DirtyLog(PAGE) as log:
        start = len(host.process.text)
        # One byte is for eight pages: most of what is written lies beyond.
        front.set_log_base(1, 100, log.fd)
        features(front, True)
        front.memory.alloc(8 * PAGE)
        Blk(front).read(0, 4096)
        features(front, False)
        assert log.map[:100] == bytes(100) and log.map[101:] == bytes(PAGE - 101)
        wait_until(lambda: "beyond the dirty log of 1 bytes" in host.process.text[start:],
                   "a line that says so")


@pytest.mark.skipif(os.environ.get("RINGSIDE_SANITIZED") == "thread",
                    reason="ThreadSanitizer's atomics hold its own lock when SIGBUS comes")
def test_a_log_that_is_truncated(host):
    """The device breaks, since a migration would lose memory; nobody else is disturbed."""
    with Front(host.socket("file0")) as front:
        with DirtyLog(LOG_BYTES) as log:
            switch(front, log)
            os.ftruncate(log.fd, 0)
            Blk(front).start(BLK_T_IN, 0, length=4096)
            wait_until(lambda: "the dirty log is gone" in host.process.text, "the reason")
        assert signalled(front.queues[0].err_fd)
    with Front(host.socket("file0")) as front:
        Blk(front).read(0, 512)


def test_signal_after_marks(host):
    """SET_LOG_FD is signalled after what was marked; then it is taken away."""
    with Front(host.socket("disk0")) as front, DirtyLog(LOG_BYTES) as log:
        event = os.eventfd(0, os.EFD_NONBLOCK)
        try:
            front.set_log_fd(event)
            Blk(front).read(0, 512)
            assert not signalled(event)
            switch(front, log)
            Blk(front).read(0, 512)
            features(front, False)
            assert signalled(event)
            switch(front, log)
            signalled(event)
            front.set(Req.SET_LOG_FD)
            front.sync()
            # The rings stopped for it, and asked for kicks: that was marked too.
            signalled(event)
            Blk(front).read(0, 512)
            front.sync()
            assert not signalled(event)
        finally:
            os.close(event)


def full_event():
    event = os.eventfd(0)
    os.eventfd_write(event, 2**64 - 2)
    return event, ()


def full_pipe():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, bytes(PAGE)):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    return writer, (reader,)


def full_socket():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        while ours.send(bytes(PAGE)):
            pass
    except BlockingIOError:
        ours.setblocking(True)
    return ours.detach(), (theirs.detach(),)


@pytest.mark.parametrize("make", [full_event, full_pipe, full_socket])
def test_nobody_takes_the_signal(host, make):
    """The descriptor blocks, and is full: the queue goes on."""
    fd, others = make()
    try:
        with Front(host.socket("disk0")) as front, DirtyLog(LOG_BYTES) as log:
            front.set_log_fd(fd)
            switch(front, log)
            for _ in range(3):
                Blk(front).read(0, 512)
            assert log.pages()
    finally:
        for each in (fd, *others):
            os.close(each)


# size, offset, bytes in the file
BAD_LOGS = [(0, 0, PAGE), (PAGE + 1, 0, PAGE), (PAGE, 1, PAGE), (2**64 - 1, 0, PAGE),
            (8, 2**64 - 8, PAGE), (8, 2**63, PAGE), (2**63, 0, PAGE)]


@pytest.mark.parametrize("row", BAD_LOGS, ids=str)
def test_a_log_that_cannot_be_ends_the_connection(host, row):
    """Its reply has no room for a failure, so whoever asked must not believe in success."""
    size, offset, there = row
    with DirtyLog(there) as log:
        with Front(host.socket("disk0")) as front:
            with pytest.raises((Closed, Refused)):
                front.set_log_base(size, offset, log.fd)
        with Front(host.socket("disk0"), protocol=~(1 << Proto.LOG_SHMFD)) as front:
            with pytest.raises((Closed, Refused)):
                front.set_log_base(PAGE, 0, log.fd)
    with VhostUser(host.socket("disk0")) as peer:
        peer.sync()
