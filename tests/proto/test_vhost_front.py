# SPDX-License-Identifier: BSD-3-Clause
"""A device of ours whose rings a vhost-user back-end serves: what is handed over, what each side
says, back-ends that die, lie or are silent, and queries that ask nobody."""
import os
import re
import select
import socket
import struct
import threading

import pytest

from lib.fake_backend import FakeBackend, Ring
from lib.look import queue_of, status_of
from lib.memory import Memory
from lib.process import wait_until
from lib.qmp import QmpError
from lib.relay import Listener
from lib.ringside import Folder, serve, tool
from lib.vhost_user import (BackendReq, F_EVENT_IDX, F_IN_ORDER, F_INDIRECT, F_LOG_ALL, F_PACKED,
                            F_PROTOCOL, F_VERSION_1, HEADER, NEED_REPLY, VERSION, Front, Proto, Req,
                            VhostUser, signalled)
from lib.virtio import BLK_S_OK, BLK_T_IN, Blk

DISK0 = "/machine/peripheral/disk0/virtio-backend"
BLK_F_FLUSH = 1 << 9
# blk's space is asked for whole.
CONFIG = FakeBackend.config + bytes(60 - len(FakeBackend.config))


class Back(FakeBackend):
    """Serves one connection after the other; notes what it was sent."""
    config = CONFIG
    protocol = FakeBackend.protocol | 1 << Proto.BACKEND_REQ

    def __init__(self):
        super().__init__()
        self.said, self.fds, self.connections, self.kept = [], {}, 0, []

    def main(self):
        try:
            while True:
                sock, _ = self.listener.accept()
                self.kept.append(self.peer)
                self.connections += 1
                self.regions, self.peer = [], VhostUser(sock=sock)
                self.converse()
        except OSError:
            pass

    def converse(self):
        try:
            while True:
                self.message(*self.peer.recv())
        except (AssertionError, OSError):
            pass

    def handle(self, request, payload, fds):
        self.said.append(request)
        self.fds[request] = list(fds)
        if request == Req.SET_MEM_TABLE:
            self.regions = []
        if payload and request in (Req.SET_VRING_NUM, Req.SET_VRING_BASE, Req.GET_VRING_BASE):
            self.ring_message(request, payload[0], payload)
        return super().handle(request, payload, fds)

    def ring_message(self, request, index, payload):
        if request == Req.SET_VRING_NUM:
            self.rings[index].dead = True
            self.rings[index] = Ring()
            self.rings[index].dead = False
        elif request == Req.SET_VRING_BASE:
            base = struct.unpack_from("<H", payload, 4)[0]
            self.rings[index].avail_idx = self.rings[index].used_idx = base
        elif request == Req.GET_VRING_BASE:
            self.rings[index].dead = True

    def work(self, ring):
        """As long as it runs, and no longer."""
        try:
            while not ring.dead:
                if select.select([ring.kick], [], [], 0.05)[0]:
                    signalled(ring.kick)  # or another connection's thread was there first
                while not ring.dead and (head := ring.next()) is not None:
                    self.serve(ring, head)
        except (OSError, AssertionError, TypeError):
            pass

    def channel(self):
        return VhostUser(sock=socket.socket(fileno=os.dup(self.fds[Req.SET_BACKEND_REQ_FD][0])))

    def hang_up(self):
        for ring in self.rings:
            ring.dead = True
        self.peer.sock.shutdown(socket.SHUT_RDWR)


class Lazy(Back):
    """Answers no request."""

    def serve(self, ring, head):
        pass


def front_of(tmp_path, back, more="", **how):
    return serve(tmp_path, f"vhost-user-blk,id=disk0,connect={back.path}{more}", **how)


def eventfd_id(fd, pid="self"):
    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as info:
        return re.search(r"eventfd-id:\s*(\d+)", info.read())[1]


def switches(pid):
    """How often threads of the process went to sleep."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as status:
            total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read(), re.M)[1])
    return total


def test_requests_are_the_back_ends(tmp_path):
    with Back() as back, front_of(tmp_path, back) as host:
        with Front(host.socket("disk0")) as front:
            disk = Blk(front)
            assert disk.capacity() == 2048
            disk.read(0, 512)
            assert eventfd_id(front.queues[0].kick_fd) == eventfd_id(back.rings[0].kick)
            assert eventfd_id(front.queues[0].call_fd) == eventfd_id(back.rings[0].call)
            before = switches(host.process.pid)
            for sector in range(200):
                disk.read(sector, 512)
            # Nobody of ours woke for any of them; a moment of something else's would be few.
            assert switches(host.process.pid) - before < 20
        wait_until(lambda: Req.GET_VRING_BASE in back.said, "the ring is taken back")
        # And for the next driver.
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)


def test_offered_is_what_both_can(tmp_path):
    class Rich(Back):
        # ACCESS_PLATFORM, NOTIFICATION_DATA, SR_IOV and ADMIN_VQ have no place in our transport.
        features = (F_VERSION_1 | F_PROTOCOL | F_PACKED | F_IN_ORDER | F_INDIRECT | F_EVENT_IDX |
                    BLK_F_FLUSH | 1 << 33 | 1 << 37 | 1 << 38 | 1 << 41)

    plain = F_VERSION_1 | F_PROTOCOL | BLK_F_FLUSH
    for options, extra in (("", F_INDIRECT | F_EVENT_IDX),
                           (",packed=on,in_order=on,event_idx=off",
                            F_INDIRECT | F_PACKED | F_IN_ORDER),
                           (",indirect_desc=off", F_EVENT_IDX)):
        with Rich() as back, front_of(tmp_path, back, options) as host:
            with VhostUser(host.socket("disk0")) as front:
                assert front.get_features() == plain | extra
    # No option makes an offer that the back-end does not make; without a log no migration.
    with Back() as back, front_of(tmp_path, back, ",packed=on") as host:
        with VhostUser(host.socket("disk0")) as front:
            assert front.get_features() == F_VERSION_1 | F_PROTOCOL
            assert not front.get_protocol_features() & 1 << Proto.LOG_SHMFD


def test_the_five_commands(tmp_path):
    with Back() as back, front_of(tmp_path, back) as host:
        qmp = host.qmp()
        assert not status_of(qmp, "disk0")["vhost-started"]
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)
            # The ring may have answered before its start was confirmed.
            wait_until(lambda: status_of(qmp, "disk0")["vhost-started"], "started")
            said = list(back.said)
            status = status_of(qmp, "disk0")
            assert status["vm-running"]
            dev = status["vhost-dev"]
            assert dev["nvqs"] == 1 and dev["n-mem-sections"] == 1 and not dev["log-enabled"]
            assert any("REPLY_ACK" in name for name in dev["protocol-features"]["protocols"])
            queue = queue_of(qmp, "disk0")
            assert (queue["used-idx"], queue["last-avail-idx"]) == (1, 1)
            ring = front.queues[0].ring
            assert queue["vring-desc"] == ring.desc and queue["vring-num"] == 128
            vhost = qmp.command("x-query-virtio-vhost-queue-status", path=DISK0, queue=0)
            assert (vhost["num"], vhost["desc-phys"]) == (128, ring.desc)
            pid, queue = host.process.pid, front.queues[0]
            assert eventfd_id(vhost["kick"], pid) == eventfd_id(queue.kick_fd)
            assert eventfd_id(vhost["call"], pid) == eventfd_id(queue.call_fd)
            element = qmp.command("x-query-virtio-queue-element", path=DISK0, queue=0, index=0)
            assert len(element["descs"]) == 3
            qmp.command("query-virtio-sources", path=DISK0)
            # Nothing was asked.
            assert back.said == said
            Blk(front).read(0, 512)
            assert queue_of(qmp, "disk0")["used-idx"] == 2
        wait_until(lambda: not status_of(qmp, "disk0")["vhost-started"], "stopped")
        with pytest.raises(QmpError):
            qmp.command("x-query-virtio-vhost-queue-status", path=DISK0, queue=0)


def test_what_is_on_its_way_is_not_guessed(tmp_path):
    with Lazy() as back, front_of(tmp_path, back) as host, Front(host.socket("disk0")) as front:
        Blk(front).start(BLK_T_IN, length=512)
        wait_until(lambda: back.rings[0].avail_idx == 1, "taken")
        queue = queue_of(host.qmp(), "disk0")
        assert queue["used-idx"] == 0 and "last-avail-idx" not in queue


def test_stop_and_cont(tmp_path):
    with Back() as back, front_of(tmp_path, back) as host, Front(host.socket("disk0")) as front:
        disk, qmp = Blk(front), host.qmp()
        disk.read(0, 512)
        assert Req.GET_VRING_BASE not in back.said
        qmp.command("stop")
        wait_until(lambda: back.said.count(Req.GET_VRING_BASE) == 1, "the ring is taken back")
        request = disk.start(BLK_T_IN, length=512)
        assert not status_of(qmp, "disk0")["vm-running"] and qmp.event("VHOST_STOPPED")
        qmp.command("cont")
        assert disk.finish(request)[0] == BLK_S_OK
        assert queue_of(qmp, "disk0")["used-idx"] == 2 and qmp.event("VHOST_STARTED")


def test_memory_and_descriptors_go_on(tmp_path):
    memory = Memory(((0, 1 << 20), (16 << 20, 1 << 20)))
    with Back() as back, front_of(tmp_path, back) as host:
        with Front(host.socket("disk0"), memory=memory) as front:
            Blk(front).read(0, 512)
            assert [(r["guest"], r["user"], r["size"]) for r in back.regions] == \
                [(r.gpa, r.user, r.size) for r in front.memory.regions]
            # The same table anew is a new one; the ring comes back and goes there again.
            front.set_mem_table(front.memory)
            Blk(front).read(0, 512)
            assert back.said.count(Req.SET_MEM_TABLE) == 2
            other = os.eventfd(0, os.EFD_NONBLOCK)
            front.set_vring_call(0, other)
            wait_until(lambda: eventfd_id(back.rings[0].call) == eventfd_id(other), "the new call")
            os.close(other)


def test_the_dirty_log_goes_on(tmp_path):
    class Logs(Back):
        features = Back.features | F_LOG_ALL
        protocol = Back.protocol | 1 << Proto.LOG_SHMFD

        def answer(self, request, payload):
            return bytes(8) if request == Req.SET_LOG_BASE else None

    with Logs() as back, front_of(tmp_path, back) as host, Front(host.socket("disk0")) as front:
        Blk(front).read(0, 512)
        log = os.memfd_create("log")
        os.ftruncate(log, 4096)
        front.set_log_base(4096, 0, log)
        front.set_features(front.features | F_LOG_ALL)
        Blk(front).read(0, 512)
        wait_until(lambda: Req.SET_LOG_BASE in back.said, "the log")
        assert os.fstat(back.fds[Req.SET_LOG_BASE][0]).st_ino == os.fstat(log).st_ino
        assert status_of(host.qmp(), "disk0")["vhost-dev"]["log-enabled"]
        os.close(log)


def test_configuration_goes_both_ways(tmp_path):
    with Back() as back, front_of(tmp_path, back) as host, Front(host.socket("disk0")) as front:
        channel = front.set_backend_req_fd()
        assert Blk(front).capacity() == 2048
        back.config = struct.pack("<Q", 4096) + CONFIG[8:]
        with back.channel() as theirs:
            theirs.send(BackendReq.CONFIG_CHANGE_MSG, flags=VERSION | NEED_REPLY)
            assert theirs.reply(BackendReq.CONFIG_CHANGE_MSG) == bytes(8)
            assert channel.recv()[0] == BackendReq.CONFIG_CHANGE_MSG
            assert Blk(front).capacity() == 4096
            # What is not known is refused, and the channel goes on.
            theirs.send(BackendReq.VRING_HOST_NOTIFIER_MSG, bytes(24), flags=VERSION | NEED_REPLY)
            assert theirs.reply(BackendReq.VRING_HOST_NOTIFIER_MSG) != bytes(8)
            theirs.send(99, b"x")
            theirs.send(BackendReq.CONFIG_CHANGE_MSG, flags=VERSION | NEED_REPLY)
            assert theirs.reply(BackendReq.CONFIG_CHANGE_MSG) == bytes(8)
        front.set_config(32, b"\1")
        wait_until(lambda: Req.SET_CONFIG in back.said, "the driver's write")


# --- back-ends that go ---

@pytest.mark.parametrize("watch", [False, True])
def test_comes_back_quiet(tmp_path, watch):
    """Nothing was on its way, or it was looked at in time what was."""
    with Back() as back, front_of(tmp_path, back, ",watch=on" if watch else "") as host, \
            Front(host.socket("disk0")) as front:
        disk = Blk(front)
        for _ in range(3):
            disk.read(0, 512)
        wait_until(lambda: status_of(host.qmp(), "disk0")["vhost-started"], "started")
        back.hang_up()
        if not watch:
            wait_until(lambda: back.connections == 2, "dialled again")
        request = disk.start(BLK_T_IN, length=512)
        assert disk.finish(request)[0] == BLK_S_OK
        assert back.connections == 2
        queue = queue_of(host.qmp(), "disk0")
        assert queue["used-idx"] == 4
        assert not status_of(host.qmp(), "disk0")["broken"]


def test_what_was_in_flight_is_not_guessed(tmp_path):
    class Second(Back):
        """Answers the second request and not the first: there is no place to go on from."""

        def serve(self, ring, head):
            if ring.avail_idx == 2:
                super().serve(ring, head)

    with Second() as back, front_of(tmp_path, back) as host, Front(host.socket("disk0")) as front:
        qmp, disk = host.qmp(), Blk(front)
        disk.start(BLK_T_IN, length=512)
        disk.finish(disk.start(BLK_T_IN, length=512))
        back.hang_up()
        wait_until(lambda: status_of(qmp, "disk0")["broken"], "broken")
        sources = qmp.command("query-virtio-sources", path=DISK0)
        note = next(row["note"] for row in sources if row["member"] == "broken")
        assert "queue 0: its back-end is gone: " in note
        # Queries go on, and a driver that begins anew finds a device.
        queue_of(qmp, "disk0")


def test_answers_in_order_leave_nothing_open(tmp_path):
    class Ordered(Lazy):
        features = Back.features | F_IN_ORDER

        def serve(self, ring, head):
            if self.connections > 1:
                Back.serve(self, ring, head)

    with Ordered() as back, front_of(tmp_path, back, ",in_order=on") as host:
        with Front(host.socket("disk0")) as front:
            disk = Blk(front)
            requests = [disk.start(BLK_T_IN, length=512) for _ in range(3)]
            wait_until(lambda: back.rings[0].avail_idx == 3, "taken")
            back.hang_up()
            wait_until(lambda: back.connections == 2 and not back.rings[0].dead, "back")
            front.queues[0].kick(force=True)
            for request in requests:
                assert disk.finish(request)[0] == BLK_S_OK


def test_comes_back_with_less(tmp_path):
    with Back() as back:
        back.features |= BLK_F_FLUSH
        with front_of(tmp_path, back) as host, Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)
            back.features = Back.features
            back.hang_up()
            host.process.expect(rb"the back-end that came back lacks features 0x200")
            host.qmp().command("query-status")
            back.features |= BLK_F_FLUSH
            Blk(front).read(0, 512)


def test_reconnect_off(tmp_path):
    with Back() as back, front_of(tmp_path, back, ",reconnect=off") as host:
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)
            back.hang_up()
            wait_until(lambda: status_of(host.qmp(), "disk0")["broken"], "broken")
        assert back.connections == 1


# --- ours on ours ---

@pytest.mark.parametrize("packed", [False, True])
def test_chain_survives_kills(tmp_path, packed):
    """The region for what is in flight is ours to keep: the front-end notices nothing."""
    image = tmp_path / "img"
    image.write_bytes(os.urandom(1 << 20))
    options = ",packed=on" if packed else ""
    back = serve(tmp_path, f"virtio-blk,id=disk0,filename={image}{options}")
    device = f"vhost-user-blk,id=disk0,connect={back.socket('disk0')}{options}"
    with serve(tmp_path, device) as host:
        with Front(host.socket("disk0"), packed=packed) as front:
            assert bool(front.features & F_PACKED) == packed
            disk = Blk(front)
            for turn in range(3):
                requests = [disk.start(BLK_T_IN, 16 * n, length=8192) for n in range(16)]
                back.crash()
                back = serve(tmp_path, f"virtio-blk,id=disk0,filename={image}{options}",
                             folder=back.folder)
                for n, request in enumerate(requests):
                    status, data, _ = disk.finish(request)
                    assert status == BLK_S_OK
                    assert data == image.read_bytes()[8192 * n:8192 * (n + 1)], (turn, n)
            assert not status_of(host.qmp(), "disk0")["broken"]
    back.stop()
    back.destroy()


# --- options, and back-ends that will not do ---

@pytest.mark.parametrize("device, sentence", [
    ("vhost-user-blk,id=d", "connect= is missing"),
    ("vhost-user-blk,id=d,connect=/nonexistent", "/nonexistent"),
    ("vhost-user-blk,id=d,connect=BACK,iothread=x", "iothread"),
    ("vhost-user-blk,id=d,connect=BACK,inband-notifications=on", "by descriptors alone"),
    ("vhost-user-blk,id=d,connect=BACK,num-queues=7", "has 1 queues, and 7 are wanted"),
    ("vhost-user-device,id=d,connect=BACK", "virtio-id= is missing"),
    ("vhost-user-fs,id=d,connect=BACK,tag=" + 40 * "x", "expected 1 to 36 bytes"),
    ("vhost-user-net,id=d,connect=BACK,mac=1", "as 52:54:00:12:34:56"),
    ("vhost-user-net,id=d,connect=BACK,mac=01:00:00:00:00:00", "of one station"),
    ("vhost-vsock,id=d,guest-cid=2", "from 3 on"),
    ("vhost-vsock,id=d,guest-cid=3,path=/nonexistent", "/nonexistent"),
    ("vhost-vsock,id=d,guest-cid=3,path=/dev/null", "VHOST_SET_OWNER"),
    ("vhost-net,id=d", "expected one of ifname= and tapfd="),
    ("vhost-scsi,id=d", "wwpn= is missing"),
])
def test_options_that_cannot_be(device, sentence):
    folder = Folder()
    try:
        with Back() as back:
            device = device.replace("BACK", str(back.path))
            said = tool("serve", "--device", f"{device},listen={folder.path}/f", status=1,
                        env={"XDG_RUNTIME_DIR": str(folder.path)})[1]
            assert sentence in said
    finally:
        folder.remove()


U64 = struct.Struct("<Q")
HOSTILE_FIRST = {
    "short features": (Req.GET_FEATURES, bytes(7), "7 bytes, expected 8"),
    "long features": (Req.GET_FEATURES, bytes(9), "9 bytes, expected 8"),
    "legacy": (Req.GET_FEATURES, U64.pack(F_PROTOCOL), "does not offer VIRTIO_F_VERSION_1"),
    "no queue": (Req.GET_QUEUE_NUM, U64.pack(0), "says 0, expected 1 to 256"),
    "too many queues": (Req.GET_QUEUE_NUM, U64.pack(1 << 40), "expected 1 to 256"),
    "no config": (Req.GET_CONFIG, bytes(12), "12 bytes, expected 72"),
    "other config": (Req.GET_CONFIG, struct.pack("<III", 4, 60, 0) + bytes(60), "60 bytes at 4"),
    "no channel": (Req.SET_BACKEND_REQ_FD, U64.pack(1), "the back-end refused it"),
}


@pytest.mark.parametrize("name", HOSTILE_FIRST)
def test_hostile_first_answers(name):
    request, answer, sentence = HOSTILE_FIRST[name]

    class Hostile(Back):
        def answer(self, got, payload):
            return answer if got == request else None

    folder = Folder()
    try:
        with Hostile() as back:
            said = tool("serve", "--device",
                        f"vhost-user-blk,id=d,connect={back.path},listen={folder.path}/f",
                        status=1, env={"XDG_RUNTIME_DIR": str(folder.path)})[1]
            assert sentence in said
    finally:
        folder.remove()


def test_a_space_that_nobody_tells():
    class Mute(Back):
        protocol = Back.protocol & ~(1 << Proto.CONFIG)

    folder = Folder()
    try:
        with Mute() as back:
            said = tool("serve", "--device",
                        f"vhost-user-blk,id=d,connect={back.path},listen={folder.path}/f",
                        status=1, env={"XDG_RUNTIME_DIR": str(folder.path)})[1]
            assert "does not tell its configuration space" in said
    finally:
        folder.remove()


def test_silent_from_the_beginning(tmp_path):
    """The monitor goes on, and says why there is no such device."""
    with serve(tmp_path) as host:
        silent = Listener()
        qmp = host.qmp()
        with pytest.raises(QmpError, match="no answer from the back-end within 2 s"):
            qmp.command("device_add", driver="vhost-user-blk", id="d", connect=str(silent.path),
                        listen=str(host.folder.path / "d.sock"))
        qmp.command("query-status")
        assert not (host.folder.path / "d.sock").exists()
        silent.close()


REFUSED = [Req.SET_FEATURES, Req.SET_MEM_TABLE, Req.SET_VRING_NUM, Req.SET_VRING_BASE,
           Req.SET_VRING_ADDR, Req.SET_VRING_CALL, Req.SET_VRING_KICK, Req.SET_VRING_ENABLE]


@pytest.mark.parametrize("request_", REFUSED, ids=lambda r: r.name)
def test_refused_when_it_starts(tmp_path, request_):
    """The device is broken with the message's name; a driver's reset tries anew."""
    class Refuses(Back):
        refuses = True

        def answer(self, got, payload):
            return U64.pack(22) if got == request_ and self.refuses else None

    with Refuses() as back, front_of(tmp_path, back) as host:
        qmp = host.qmp()
        with Front(host.socket("disk0")) as front:
            wait_until(lambda: status_of(qmp, "disk0")["broken"], "broken")
            assert "NEEDS_RESET" in str(status_of(qmp, "disk0")["status"])
            host.process.expect(f"{request_.name}: the back-end refused it".encode())
            back.refuses = False
            assert front.silent()
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)


@pytest.mark.parametrize("request_", [Req.SET_MEM_TABLE, Req.SET_VRING_KICK, Req.GET_VRING_BASE],
                         ids=lambda r: r.name)
def test_silent_later(tmp_path, request_):
    """Only the device waits: monitor and queries go on, and its end ends the wait."""
    held = threading.Event()

    class Silent(Back):
        def answer(self, got, payload):
            if got == request_:
                held.set()
                return b""
            return None

    with Silent() as back, front_of(tmp_path, back) as host:
        qmp = host.qmp()
        front = VhostUser(host.socket("disk0")) if request_ == Req.GET_VRING_BASE else None
        if front:
            front.close()
        with Front(host.socket("disk0")) as front:
            if request_ == Req.GET_VRING_BASE:
                Blk(front).read(0, 512)
                qmp.execute("stop")
                qmp = host.qmp()
            wait_until(held.is_set, "it is silent")
            status_of(qmp, "disk0")
            queue_of(qmp, "disk0")
            qmp.command("query-status")
            if request_ != Req.GET_VRING_BASE:
                back.hang_up()


class Garbage(Back):
    """Says something that nobody asked for once the ring runs."""
    garbage = b""

    def answer(self, request, payload):
        if request == Req.SET_VRING_ENABLE and payload[4] and self.connections == 1:
            self.reply(request, bytes(8))
            self.raw(self.garbage)
            return b""
        return None


@pytest.mark.parametrize("garbage", [
    HEADER.pack(Req.GET_FEATURES, 5, 8) + bytes(8), HEADER.pack(0xffffffff, 0, 0xffffffff),
    b"\0", b"\xff" * 4096,
], ids=["reply", "header", "byte", "bytes"])
def test_garbage_ends_the_connection_alone(tmp_path, garbage):
    with Garbage() as back:
        back.garbage = garbage
        with front_of(tmp_path, back) as host, Front(host.socket("disk0")) as front:
            if garbage != b"\0":
                wait_until(lambda: back.connections == 2, "dialled again")
            Blk(front).read(0, 512)
            host.qmp().command("query-status")


def test_every_type_has_a_class():
    """By name or by vhost-user-device; and help knows them."""
    said = tool("serve", "--device", "help")[0]
    for kind in ("blk", "net", "fs", "scsi", "console", "rng", "balloon", "gpu", "input", "vsock",
                 "crypto", "iommu", "mem", "snd", "pmem", "rpmb", "scmi", "i2c", "can", "bt",
                 "gpio", "spi", "media", "device"):
        assert f"vhost-user-{kind} " in said
    assert "connect=" in tool("serve", "--device", "vhost-user-blk,help")[0]
    assert "guest-cid=" in tool("serve", "--device", "vhost-vsock,help")[0]


@pytest.mark.parametrize("driver, name, queues", [
    ("vhost-user-rng", "virtio-rng", 1), ("vhost-user-gpio", "virtio-gpio", 2),
    ("vhost-user-i2c", "vhost-user-i2c", 1), ("vhost-user-vsock", "vhost-vsock", 3),
    ("vhost-user-net", "virtio-net", 2),
    ("vhost-user-device,id=d,virtio-id=42,num-queues=4", "virtio-rdma", 4),
])
def test_other_types(tmp_path, driver, name, queues):
    class Many(Back):
        protocol = Back.protocol & ~(1 << Proto.MQ)

        def handle(self, request, payload, fds):
            said = super().handle(request, payload, fds)
            return payload + bytes(struct.unpack_from("<I", payload, 4)[0]) \
                if request == Req.GET_CONFIG else said

        def answer(self, request, payload):
            if request == Req.GET_CONFIG:
                return payload[:12] + bytes(struct.unpack_from("<I", payload, 4)[0])
            return None

    with Many() as back, serve(
            tmp_path, f"{driver}{'' if ',' in driver else ',id=d'},connect={back.path}") as host:
        status = status_of(host.qmp(), "d")
        assert (status["name"], status["num-vqs"]) == (name, queues)
        with Front(host.socket("d"), queues=queues) as front:
            front.request(0, [(front.memory.alloc(64), 64, True)])
            wait_until(lambda: status_of(host.qmp(), "d")["vhost-started"], "started")
