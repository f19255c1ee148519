# SPDX-License-Identifier: BSD-3-Clause
"""What front-ends do: the orders of messages seen from QEMU, user-mode Linux and virtio-user, and
how connections come and go."""
import os
import socket
import struct

import pytest

from lib.memory import USER_OFFSET, Memory
from lib.process import wait_until
from lib.ringside import Folder, serve
from lib.vhost_user import (ACKNOWLEDGE, DRIVER, DRIVER_OK, F_EVENT_IDX, F_INDIRECT, F_PROTOCOL,
                            F_VERSION_1, FEATURES_OK, NEED_REPLY, NEEDS_RESET, VERSION, Closed,
                            Front, Proto, Queue, Refused, Req, VhostUser, signalled)

DISK = "virtio-blk,id=disk0,size=1M"
PATH = "/machine/peripheral/{}/virtio-backend"
BASIC = 1 << Proto.REPLY_ACK | 1 << Proto.BACKEND_REQ | 1 << Proto.CONFIG
FEATURES = F_VERSION_1 | F_PROTOCOL | F_INDIRECT | F_EVENT_IDX


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("vhost-user"), DISK, "virtio-rng,id=rng0",
               "virtio-blk,id=wide,size=1M,num-queues=4") as running:
        yield running


@pytest.fixture
def path(host):
    return host.socket("disk0")


@pytest.fixture
def status(host):
    """The words of the status byte as the monitor has them."""
    with host.qmp() as qmp:
        def look(device="disk0"):
            reply = qmp.command("x-query-virtio-status", path=PATH.format(device))
            return {text.split(":")[0].removeprefix("VIRTIO_CONFIG_S_")
                    for text in reply["status"]["statuses"]}
        yield look


def read_sector(front, queue=0):
    header = front.memory.put(struct.pack("<IIQ", 0, 0, 0))
    data, answer = front.memory.alloc(512), front.memory.alloc(1)
    front.memory.write(answer, b"\xff")
    front.request(queue, [(header, 16, False), (data, 512, True), (answer, 1, True)])
    assert front.memory.read(answer, 1) == b"\0"


def set_up_ring(front, index=0, base=0):
    """Everything but enabling it."""
    queue = front.queues[index]
    ring = queue.ring
    front.set_vring_num(index, ring.size)
    front.set_vring_base(index, base)
    front.set_vring_addr(index, ring.desc + USER_OFFSET, ring.used_ring + USER_OFFSET,
                         ring.avail + USER_OFFSET)
    front.set_vring_call(index, queue.call_fd)
    front.set_vring_kick(index, queue.kick_fd)


def test_offer(host, path):
    with VhostUser(path) as peer:
        offered = peer.get_features()
        assert offered & F_PROTOCOL and offered & F_VERSION_1 and offered & F_EVENT_IDX
        assert peer.get_protocol_features() == sum(1 << bit for bit in (
            Proto.MQ, Proto.REPLY_ACK, Proto.BACKEND_REQ, Proto.CONFIG, Proto.RESET_DEVICE,
            Proto.STATUS, Proto.LOG_SHMFD, Proto.CONFIGURE_MEM_SLOTS, Proto.INFLIGHT_SHMFD))
        assert peer.get_queue_num() == 1
    with VhostUser(host.socket("wide")) as peer:
        assert peer.get_queue_num() == 4
    with VhostUser(host.socket("rng0")) as peer:
        assert not peer.get_protocol_features() & 1 << Proto.CONFIG


def test_protocol_features_are_acked_under_the_bits_they_set(path):
    """user-mode Linux waits for this for ever otherwise."""
    with VhostUser(path) as peer:
        peer.set_protocol_features(BASIC, ack=True)
        peer.set_owner(ack=True)
        # And not under bits that they took away.
        peer.send(Req.SET_PROTOCOL_FEATURES, struct.pack("<Q", 0), flags=VERSION | NEED_REPLY)
        peer.sync()


def test_what_was_not_offered_stays_off(host, path):
    """All bits there are, and more."""
    start = len(host.process.text)
    with VhostUser(path) as peer:
        offered = peer.get_protocol_features()
        assert not offered & ~sum(1 << bit for bit in Proto)
        peer.set_protocol_features((1 << 32) - 1 & ~(1 << Proto.INBAND_NOTIFICATIONS))
        peer.send(Req.VRING_KICK, struct.pack("<II", 0, 0), flags=VERSION | NEED_REPLY)
        assert struct.unpack("<Q", peer.reply(Req.VRING_KICK))[0]
        wait_until(lambda: "that were not offered" in host.process.text[start:], "its line")


def test_reset_owner_disables_all_rings(host):
    with Front(host.socket("wide"), queues=2) as front:
        read_sector(front, 1)
        front.reset_owner()
        head = front.queues[1].ring.add([(front.memory.alloc(16), 16, False)])
        front.queues[1].kick(force=True)
        front.sync()
        assert front.get_vring_base(1) == 1
        front.start_queue(1, 1)
        front.queues[1].wait([head])


def test_message_in_pieces(path):
    with VhostUser(path) as peer:
        for byte in struct.pack("<III", Req.GET_QUEUE_NUM, VERSION, 0):
            peer.send_raw(bytes([byte]))
        assert struct.unpack("<Q", peer.reply(Req.GET_QUEUE_NUM)) == (1,)
        # Two in one go.
        peer.send_raw(struct.pack("<III", Req.GET_QUEUE_NUM, VERSION, 0) * 2)
        peer.reply(Req.GET_QUEUE_NUM)
        peer.reply(Req.GET_QUEUE_NUM)


def test_config_space(path):
    with Front(path, start=False) as front:
        whole = front.get_config(0, 60)
        assert struct.unpack_from("<Q", whole)[0] == (1 << 20) // 512
        assert front.get_config(20, 8) == whole[20:28]
        assert front.get_config(0, 256)[:60] == whole
        assert front.get_config(256, 0) == b""
        # No payload says that it cannot be: the connection stays.
        assert front.get_config(1, 256) is None
        assert front.get_config(0xffffffff, 2) is None
        # Asked for without room for the answer.
        assert front.get(Req.GET_CONFIG, struct.pack("<III", 0, 60, 0))[12:] == whole


def test_status_follows_from_rings(path, status):
    """Without STATUS: FEATURES_OK with the features, DRIVER_OK with the first ring that can run."""
    basic = {"ACKNOWLEDGE", "DRIVER", "FEATURES_OK"}
    with Front(path, start=False) as front:
        assert status() == basic
        front.start()
        assert status() == basic | {"DRIVER_OK"}
        read_sector(front)
        front.set_vring_enable(0, 0)
        assert status() == basic
        front.set_vring_enable(0, 1)
        assert status() == basic | {"DRIVER_OK"}
        read_sector(front)
        front.get_vring_base(0)
        assert status() == basic
        front.reset_device()
        assert status() == set()
    wait_until(lambda: not status(), "reset")


def test_rings_without_protocol_features_are_enabled(path, status):
    with Front(path, features=~F_PROTOCOL, protocol=0) as front:
        read_sector(front)
        assert front.get_vring_base(0) == 1
        assert "DRIVER_OK" not in status()


def test_any_order(path):
    """Rings before memory, features last."""
    with Front(path, start=False) as front:
        front.queues.append(Queue(front.memory, 0, 128, bool(front.features & F_EVENT_IDX)))
        front.set_vring_enable(0, 1)
        front.set_vring_kick(0, front.queues[0].kick_fd)
        set_up_ring(front)
        front.set_mem_table(front.memory)
        front.set_features(front.features)
        read_sector(front)


def test_ring_goes_on_where_it_stood(path):
    with Front(path) as front:
        for _ in range(5):
            read_sector(front)
        assert front.get_vring_base(0) == 5
        set_up_ring(front, base=5)
        for _ in range(300):
            read_sector(front)
        assert front.get_vring_base(0) == 305
        # It has no kick any more: nothing is taken.
        front.queues[0].kick(force=True)
        assert front.get_vring_base(0) == 305


def test_memory_table_changes_under_load(path):
    """The ring's addresses are looked up anew: the front-end's own stay, the rest moves."""
    with Front(path) as front:
        payload = struct.pack("<IIQQQQ", 1, 0, 0, front.memory.regions[0].size, USER_OFFSET, 0)
        for _ in range(50):
            read_sector(front)
            front.set(Req.SET_MEM_TABLE, payload, [front.memory.regions[0].fd])
        # A table without the ring: refused, the ring rests, and comes back with the old table.
        other = Memory([(1 << 32, 4096)])
        with pytest.raises(Refused):
            front.set_mem_table(other)
        front.set_mem_table(front.memory)
        read_sector(front)
        other.close()


def test_ring_features_that_were_not_offered(tmp_path):
    """QEMU's vhost-user-rng acks EVENT_IDX, offered or not, and then expects it."""
    with serve(tmp_path, "virtio-rng,id=rng0,event_idx=off,indirect_desc=off") as host:
        with Front(host.socket("rng0"), start=False) as front:
            assert not front.get_features() & (F_EVENT_IDX | F_INDIRECT)
            front.features |= F_EVENT_IDX | F_INDIRECT | 1 << 5
            front.set_features(front.features)
            front.start()
            buffer = front.memory.alloc(64)
            for _ in range(200):
                front.request(0, [(buffer, 64, True)])
            front.request(0, [(buffer, 64, True)], indirect=True)
        wait_until(lambda: "that were not offered" in host.process.text, "the log line")
        assert host.process.text.count("that were not offered") == 1


def test_size_is_the_front_ends(host, path):
    with host.qmp() as qmp:
        for size in (2, 4, 64, 1024, 32768):
            with Front(path, size=size, memory=Memory([(0, 64 << 20)])) as front:
                ring = qmp.command("x-query-virtio-queue-status", path=PATH.format("disk0"),
                                   queue=0)
                assert ring["vring-num"] == size
                if size > 2:
                    read_sector(front)


def uml_bind(front, first):
    """What virtio_uml of 6.1 sends when a driver is bound."""
    front.set_features(FEATURES)
    memory = front.memory.regions[0]
    # It always has room for two regions.
    front.set(Req.SET_MEM_TABLE, struct.pack("<IIQQQQ32x", 1, 0, 0, memory.size, USER_OFFSET, 0),
              [memory.fd])
    if first:
        front.queues.append(Queue(front.memory, 0, 128, True))
    set_up_ring(front)
    front.set_vring_err(0, front.queues[0].err_fd)
    front.set_vring_enable(0, 1)


def test_as_uml_binds_and_unbinds(path, status):
    """It says nothing but SET_VRING_ENABLE 0 when the driver goes; the next one's ring is new."""
    with Front(path, protocol=BASIC, start=False) as front:
        for turn in range(4):
            uml_bind(front, turn == 0)
            for _ in range(3 * turn):
                read_sector(front)
            front.set_vring_enable(0, 0)
            assert "DRIVER_OK" not in status()
            front.queues[0].close()
            front.queues[0] = Queue(front.memory, 0, 128, True)


def test_as_uml_binds_without_the_protocol_bit(path, status):
    """A driver that takes features back loses that bit: then nothing says that it went, and of the
    next one's the features come first, while rings run whose memory is anybody's by then."""
    with Front(path, features=~F_PROTOCOL, protocol=BASIC) as front:
        for turn in range(4):
            for _ in range(3 + turn):
                read_sector(front)
            old = front.queues[0].ring
            front.memory.write(old.avail, b"\xff" * 16)
            front.set_features(front.features)
            assert "DRIVER_OK" not in status()
            front.set_mem_table(front.memory)
            front.queues[0].close()
            front.queues[0] = Queue(front.memory, 0, 128, True)
            assert front.queues[0].ring.desc != old.desc
            front.start_queue(0, base=0)
            assert "DRIVER_OK" in status()
        read_sector(front)
        # A migration that ends is none of that.
        front.set_features(front.features & ~(1 << 26))
        read_sector(front)


def break_ring(front):
    """A head beyond the table."""
    queue = front.queues[0]
    ring = queue.ring
    at = front.memory.get_le(ring.avail + 2, 2)
    front.memory.set_le(ring.avail + 4 + 2 * (at % ring.size), 2, 0xffff)
    front.memory.set_le(ring.avail + 2, 2, at + 1)
    queue.kick(force=True)


def test_broken_without_status(path, status):
    """The ring stops, its error descriptor says so, the socket stays; a driver that binds again is
    served again."""
    with Front(path, protocol=BASIC, start=False) as front:
        for turn in range(3):
            uml_bind(front, turn == 0)
            read_sector(front)
            break_ring(front)
            wait_until(lambda: signalled(front.queues[0].err_fd), "the error descriptor")
            assert "NEEDS_RESET" in status()
            assert front.get_queue_num() == 1
            front.set_vring_enable(0, 0)
            front.queues[0].close()
            front.queues[0] = Queue(front.memory, 0, 128, True)


def test_broken_with_status(path):
    with Front(path, status=True) as front:
        channel = front.set_backend_req_fd()
        break_ring(front)
        wait_until(lambda: front.get_status() & NEEDS_RESET, "NEEDS_RESET")
        request, flags, payload, _ = channel.recv()
        assert (request, flags, payload) == (2, VERSION, b"")
        front.set_status(0)
        assert front.get_status() == 0


def test_status_is_the_drivers(host, path):
    """virtio-user: its driver's byte is passed on, rings wait for DRIVER_OK."""
    with Front(path, status=True, start=False) as front, host.qmp() as qmp:
        assert front.get_status() == ACKNOWLEDGE | DRIVER | FEATURES_OK
        front._status = False
        front.start()
        assert front.get_status() == ACKNOWLEDGE | DRIVER | FEATURES_OK
        front.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
        read_sector(front)
        front.get_vring_base(0)
        front.set_status(0)
        assert front.get_status() == 0


def test_features_ok_is_refused_for_what_was_not_offered(path):
    with Front(path, status=True, start=False) as front:
        front.set_status(0)
        front.set_status(ACKNOWLEDGE | DRIVER)
        front.set_features(FEATURES | 1 << 50)
        front.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)
        assert front.get_status() == ACKNOWLEDGE | DRIVER


def qemu_start(front, base):
    """QEMU 7.2 with STATUS: it composes the byte, and enables before it says DRIVER_OK."""
    front.set_features(FEATURES)
    if not front.get_status() & FEATURES_OK:
        front.set_status(front.get_status() | FEATURES_OK)
    front.set_mem_table(front.memory)
    set_up_ring(front, base=base)
    front.set_vring_enable(0, 1)


def test_as_qemu_pauses_and_resets(path):
    """It says status 0 in both cases, and asks where the ring stood only after that."""
    with Front(path, protocol=0, start=False) as front:
        front.set_protocol_features(BASIC | 1 << Proto.STATUS)
        front.reply_ack = True
        front.queues.append(Queue(front.memory, 0, 128, True))
        qemu_start(front, 0)
        front.set_status(front.get_status() | ACKNOWLEDGE | DRIVER | DRIVER_OK)
        for turn in range(3):
            for _ in range(4):
                read_sector(front)
            # stop
            front.set_status(0)
            assert front.get_status() == 0
            front.set_vring_enable(0, 0)
            base = front.get_vring_base(0)
            assert base == 4 * (turn + 1)
            # cont
            qemu_start(front, base)
            front.set_status(front.get_status() | ACKNOWLEDGE | DRIVER | DRIVER_OK)
        # The guest resets: a new ring from 0.
        front.set_status(0)
        front.set_vring_enable(0, 0)
        front.get_vring_base(0)
        front.queues[0].close()
        front.queues[0] = Queue(front.memory, 0, 128, True)
        qemu_start(front, 0)
        read_sector(front)


def test_as_qemu_rng_never_says_driver_ok(host):
    with Front(host.socket("rng0"), protocol=0, start=False) as front:
        front.set_protocol_features(1 << Proto.REPLY_ACK | 1 << Proto.STATUS)
        front.reply_ack = True
        front.queues.append(Queue(front.memory, 0, 4, True))
        qemu_start(front, 0)
        buffer = front.memory.alloc(64)
        for _ in range(20):
            front.request(0, [(buffer, 64, True)])


def test_many_queues(host):
    with Front(host.socket("wide"), queues=4) as front:
        for _ in range(20):
            for queue in range(4):
                read_sector(front, queue)
        # One stops, the others go on.
        assert front.get_vring_base(2) == 20
        for queue in (0, 1, 3):
            read_sector(front, queue)


def test_second_front_end_is_turned_away(tmp_path):
    # A host of its own: what others complained of before counts against the log's limit.
    with serve(tmp_path, DISK) as fresh:
        with Front(fresh.socket("disk0")) as front:
            for _ in range(2):
                with VhostUser(fresh.socket("disk0")) as second:
                    assert second.closed()
            read_sector(front)
        wait_until(lambda: fresh.process.text.count("is turned away") == 2, "the log lines")


def is_served(first, path):
    """One comes while the first is there, which goes then."""
    with VhostUser(path) as second:
        # The second one is looked at meanwhile.
        for _ in range(50):
            first.sync()
        first.close()
        try:
            return bool(second.get_features())
        except Closed:
            return False


def test_second_front_end_waits_for_the_first_ones_end(tmp_path):
    with serve(tmp_path, DISK) as fresh:
        path = fresh.socket("disk0")
        # On a busy machine the first may take longer than the second one's second.
        assert any(is_served(Front(path), path) for _ in range(10))
        with Front(path) as front:
            read_sector(front)


def test_end_of_file_comes_before_the_next(path):
    """Whoever closes and connects again at once is never taken for a second one."""
    for _ in range(200):
        with Front(path) as front:
            header = front.memory.put(struct.pack("<IIQ", 0, 0, 0))
            front.queues[0].ring.add([(header, 16, False), (front.memory.alloc(512), 513, True)])
            front.queues[0].kick(force=True)


def handshake(peer, steps, memory, event):
    """The first @steps messages of a whole handshake; true where there are no more."""
    messages = [
        peer.get_features, peer.get_protocol_features,
        lambda: peer.set_protocol_features(BASIC), peer.get_queue_num, peer.set_owner,
        lambda: peer.set_backend_req_fd(), lambda: peer.set_features(FEATURES),
        lambda: peer.set_mem_table(memory), lambda: peer.set_vring_num(0, 4),
        lambda: peer.set_vring_base(0, 0),
        lambda: peer.set_vring_addr(0, USER_OFFSET, USER_OFFSET + 4096, USER_OFFSET + 8192),
        lambda: peer.set_vring_err(0, event), lambda: peer.set_vring_call(0, event),
        lambda: peer.set_vring_kick(0, event), lambda: peer.set_vring_enable(0, 1),
        lambda: peer.set_vring_enable(0, 0), lambda: peer.get_vring_base(0)]
    for message in messages[:steps]:
        message()
    return steps >= len(messages)


def test_disconnect_at_each_step(host, path):
    memory, event = Memory(), os.eventfd(0)

    def descriptors():
        return len(os.listdir(f"/proc/{host.process.pid}/fd"))

    for cut in (False, True):
        for steps in range(100):
            with VhostUser(path) as peer:
                done = handshake(peer, steps, memory, event)
                if cut:
                    peer.send_raw(b"\5\0\0\0\1")
            if done:
                break
    with Front(path) as front:
        read_sector(front)
        during = descriptors()
    for _ in range(50):
        with Front(path) as front:
            read_sector(front)
            assert descriptors() <= during
    os.close(event)
    memory.close()


def test_we_dial(tmp_path):
    """connect=: the front-end waits for us, also again after it was away."""
    folder = Folder()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with serve(tmp_path, f"virtio-rng,id=rng0,connect={folder.path}/s") as host:
        wait_until(lambda: "trying again" in host.process.text, "the first try")
        listener.bind(f"{folder.path}/s")
        listener.listen(1)
        listener.settimeout(60)
        for _ in range(3):
            connection, _ = listener.accept()
            with VhostUser(sock=connection) as peer:
                assert peer.get_queue_num() == 1
    listener.close()
    folder.remove()
