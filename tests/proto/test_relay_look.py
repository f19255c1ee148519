# SPDX-License-Identifier: BSD-3-Clause
"""What the monitor shows of a relayed device: the five commands, where each number is from, the
transcript. Nothing is said to anybody for it."""
import os
import random
import struct
import subprocess

import pytest

from lib import hmp
from lib.contract import check
from lib.look import flag_names, queue_of, status_of
from lib.memory import Memory
from lib.process import wait_until
from lib.relay import R0, Ends, Listener, relay, stand_in, transcript
from lib.ringside import binary, serve, tool
from lib.vhost_user import (F_PACKED, F_PROTOCOL, F_VERSION_1, REPLY, VERSION, Front, Queue, Req,
                            VhostUser)
from lib.virtio import Blk


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def host(tmp_path, listener):
    with relay(tmp_path, "id=r0,type=virtio-blk", connect=listener.path) as running:
        yield running


@pytest.fixture
def disk(tmp_path):
    """(relay, what serves behind it), a disk of two queues on a file."""
    image = tmp_path / "image"
    image.write_bytes(random.Random(7).randbytes(1 << 20))
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},num-queues=2,packed=on") as back:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host:
            yield host, back


def fdinfo(pid, fd):
    with open(f"/proc/{pid}/fdinfo/{fd}") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def test_five_commands(disk):
    host, _ = disk
    with Front(host.socket("r0"), queues=2) as front, host.qmp() as qmp:
        blk = Blk(front)
        for sector in range(5):
            blk.read(sector, 512)
        assert qmp.command("x-query-virtio") == [{"path": R0, "name": "virtio-blk"}]
        status = status_of(qmp, "r0")
        check(status, "VirtioStatus")
        assert status["device-id"] == 2 and status["vhost-started"] and status["num-vqs"] == 2
        assert flag_names(status) == {"ACKNOWLEDGE", "DRIVER", "FEATURES_OK", "DRIVER_OK"}
        vhost = status["vhost-dev"]
        assert vhost["n-mem-sections"] == 1 and vhost["nvqs"] == 2
        assert any("VHOST_USER_F_PROTOCOL_FEATURES" in f
                   for f in vhost["acked-features"]["dev-features"])
        assert any("REPLY_ACK" in p for p in vhost["protocol-features"]["protocols"])
        queue = queue_of(qmp, "r0")
        check(queue, "VirtQueueStatus")
        ring = front.queues[0].ring
        assert (queue["vring-num"], queue["used-idx"], queue["last-avail-idx"]) == (128, 5, 5)
        assert "shadow-avail-idx" not in queue
        assert (queue["vring-desc"], queue["vring-avail"], queue["vring-used"]) == \
            (ring.desc, ring.avail, ring.used_ring)
        mine = qmp.command("x-query-virtio-vhost-queue-status", path=R0, queue=0)
        check(mine, "VirtVhostQueueStatus")
        pid = host.process.pid
        for name, fd in (("kick", front.queues[0].kick_fd), ("call", front.queues[0].call_fd)):
            assert fdinfo(pid, mine[name])["eventfd-id"] == fdinfo("self", fd)["eventfd-id"]
        assert (mine["desc-size"], mine["avail-size"], mine["used-size"]) == \
            (16 * 128, 6 + 2 * 128, 6 + 8 * 128)
        with open(f"/proc/{pid}/mem", "rb") as memory:
            memory.seek(mine["used"])
            assert memory.read(4) == front.memory.read(ring.used_ring, 4)
        with open(f"/proc/{pid}/maps") as maps:
            shared = [line.split() for line in maps if "memfd" in line]
        assert shared and all(line[1] == "r--s" for line in shared), "mapped to be read only"
        element = qmp.command("x-query-virtio-queue-element", path=R0, queue=0)
        check(element, "VirtioQueueElement")
        assert element["used"]["idx"] == 5 and len(element["descs"]) == 3
    with host.qmp() as qmp:
        wait_until(lambda: status_of(qmp, "r0")["num-vqs"] == 0, "the end")
        assert not status_of(qmp, "r0")["vhost-started"]
        assert "not started" in qmp.error("x-query-virtio-vhost-queue-status", path=R0,
                                          queue=0)[1]


def test_the_monitor_for_people(disk):
    """QEMU's layout, and what it leaves out where nobody knows."""
    host, _ = disk
    with Front(host.socket("r0"), queues=2) as front, host.qmp() as qmp:
        Blk(front).write(0, b"x" * 512)
        assert hmp.check(qmp, R0, "status")["vhost-dev"]
        for queue in 0, 1:
            hmp.check(qmp, R0, "queue-status", queue=queue)
            hmp.check(qmp, R0, "vhost-queue-status", queue=queue)
        hmp.check(qmp, R0, "queue-element", queue=0)


def test_an_index_that_nobody_knows_is_absent(host, listener):
    memory = Memory()
    queue = Queue(memory, 0, 8, False)
    ring, user = queue.ring, memory.regions[0].user - memory.regions[0].gpa
    with Ends(host, listener) as ends, host.qmp() as qmp:
        stand_in(ends, memory)
        ends.front.set_vring_num(0, 8)
        ends.front.set_vring_base(0, 0)
        ends.front.set_vring_addr(0, ring.desc + user, ring.used_ring + user, ring.avail + user)
        ends.front.set_vring_kick(0, queue.kick_fd)
        ends.front.set_vring_enable(0)
        for _ in range(5):
            for fd in ends.back.recv()[3]:
                os.close(fd)
        assert queue_of(qmp, "r0")["last-avail-idx"] == 0
        data = memory.alloc(512)
        heads = [ring.add([(data, 512, True)], indirect=True) for _ in range(3)]
        shown = queue_of(qmp, "r0")
        assert "last-avail-idx" not in shown and shown["used-idx"] == 0
        element = qmp.command("x-query-virtio-queue-element", path=R0, queue=0)
        assert element["index"] == heads[0]
        assert element["descs"] == [{"addr": data, "len": 512, "flags": ["write"]}]
        # Answered out of order: whose the tables are is not known any more.
        memory.write(ring.used_ring + 4, struct.pack("<II", heads[2], 0))
        memory.set_le(ring.used_ring + 2, 2, 1)
        element = qmp.command("x-query-virtio-queue-element", path=R0, queue=0)
        assert element["descs"][0]["flags"] == ["indirect"]
        for position, head in enumerate(heads[:2], 1):
            memory.write(ring.used_ring + 4 + 8 * position, struct.pack("<II", head, 0))
        memory.set_le(ring.used_ring + 2, 2, 3)
        shown = queue_of(qmp, "r0")
        assert (shown["last-avail-idx"], shown["used-idx"], shown["inuse"]) == (3, 3, 0)
        sources = {m["member"]: m for m in qmp.command("query-virtio-sources", path=R0)}
        assert sources["queue.0.used-idx"]["source"] == "memory"
        assert sources["queue.0.shadow-avail-idx"]["source"] == "unknown"
        # The base of a ring that was stopped is what the back-end said.
        ends.front.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0))
        ends.back.recv()
        ends.back.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 3), flags=VERSION | REPLY)
        ends.front.recv()
        assert queue_of(qmp, "r0")["last-avail-idx"] == 3
        assert not status_of(qmp, "r0")["vhost-started"]
        assert ends.front.silent() and ends.back.silent()
    queue.close()
    memory.close()


def placed(ends, memory, change):
    """The note at a ring's areas, whatever the front-end says before it names them."""
    user = memory.regions[0].user - memory.regions[0].gpa
    stand_in(ends, memory)
    change(ends.front)
    ends.front.set_vring_num(0, 8)
    ends.front.set_vring_addr(0, 0x1000 + user, 0x3000 + user, 0x2000 + user)
    ends.front.send(99)
    while True:
        request, _, _, fds = ends.back.recv()
        for fd in fds:
            os.close(fd)
        if request == 99:
            return


def outside(front):
    front.set_mem_table(Memory(((1 << 40, 4096),)))


UNPLACED = [
    ("an IOMMU", lambda front: front.set_features(F_VERSION_1 | 1 << 33), "IOMMU"),
    ("post-copy", lambda front: front.send(Req.POSTCOPY_LISTEN), "migration"),
    ("outside", outside, "outside"),
    ("too short", lambda front: front.send(
        Req.SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, 1 << 50, 0, 0),
        [Memory(((0, 4096),)).regions[0].fd]), "of a file of"),
]


@pytest.mark.parametrize("what, change, sentence", UNPLACED, ids=[u[0] for u in UNPLACED])
def test_areas_that_cannot_be_looked_at_say_why(host, listener, what, change, sentence):
    memory = Memory()
    with Ends(host, listener) as ends, host.qmp() as qmp:
        placed(ends, memory, change)
        notes = {m["member"]: m.get("note") for m in qmp.command("query-virtio-sources", path=R0)}
        assert sentence in notes["queue.0.vring-desc"]
        qmp.error("x-query-virtio-queue-element", path=R0, queue=0)
        assert "last-avail-idx" not in queue_of(qmp, "r0")
    memory.close()


def test_packed(disk):
    host, _ = disk
    with Front(host.socket("r0"), packed=True) as front, host.qmp() as qmp:
        assert front.features & F_PACKED
        Blk(front).read(0, 512)
        assert "last-avail-idx" not in queue_of(qmp, "r0")
        mine = qmp.command("x-query-virtio-vhost-queue-status", path=R0, queue=0)
        assert (mine["desc-size"], mine["avail-size"], mine["used-size"]) == (16 * 128, 4, 4)
        assert "name an index" in qmp.error("x-query-virtio-queue-element", path=R0,
                                            queue=0)[1]
        element = qmp.command("x-query-virtio-queue-element", path=R0, queue=0, index=0)
        assert element["avail"]["ring"] == 0


@pytest.mark.parametrize("packed", [False, True])
def test_a_guest_that_is_paused(disk, packed):
    """Its rings were asked for their bases, all of them; QEMU has nothing to say of them then."""
    host, _ = disk
    with Front(host.socket("r0"), queues=2, packed=packed) as front, host.qmp() as qmp:
        Blk(front).read(0, 512)
        Blk(front, 1).read(0, 512)
        Blk(front, 1).read(0, 512)
        running = [qmp.command("x-query-virtio-vhost-queue-status", path=R0, queue=q)
                   for q in range(2)]
        bases = [front.get_vring_base(q) for q in range(2)]
        assert not status_of(qmp, "r0")["vhost-started"]
        for q in range(2):
            assert qmp.command("x-query-virtio-vhost-queue-status", path=R0, queue=q) == running[q]
            shown = queue_of(qmp, "r0", q)
            assert shown["last-avail-idx"] == bases[q] & 0x7fff
            assert shown["used-idx"] == (bases[q] >> 16 & 0x7fff if packed else bases[q])
            qmp.command("x-query-virtio-queue-element", path=R0, queue=q)


def test_status_byte(disk):
    host, _ = disk
    with Front(host.socket("r0"), status=True), host.qmp() as qmp:
        assert flag_names(status_of(qmp, "r0")) == {"ACKNOWLEDGE", "DRIVER", "FEATURES_OK",
                                                    "DRIVER_OK"}
        sources = {m["member"]: m["source"]
                   for m in qmp.command("query-virtio-sources", path=R0)}
        assert sources["status"] == "message"


def test_queries_say_nothing_to_anybody(disk):
    host, _ = disk
    with Front(host.socket("r0"), queues=2) as front, host.qmp() as qmp:
        blk = Blk(front)
        said = len(transcript(qmp))
        last = transcript(qmp)[-1]["serial"]
        order = random.Random(5)
        for _ in range(200):
            blk.read(order.randrange(100), 512)
            for command, extra in [("status", {}), ("queue-status", {"queue": 0}),
                                   ("vhost-queue-status", {"queue": 1}),
                                   ("queue-element", {"queue": 0}),
                                   ("queue-element", {"queue": 0, "index": order.randrange(300)})]:
                qmp.execute(f"x-query-virtio-{command}", {"path": R0, **extra})
        assert transcript(qmp)[-1]["serial"] == last and len(transcript(qmp)) == said
        assert transcript(qmp, after=last) == []
        assert front.silent()


def test_memory_slots_and_log(disk):
    host, _ = disk
    with Front(host.socket("r0"), start=False) as front, host.qmp() as qmp:
        front.set_up()
        extra = Memory(((1 << 30, 1 << 20),))
        region = extra.regions[0]
        front.add_mem_reg(region)
        front.start()
        Blk(front).read(0, 512)
        # start() hands over the table anew.
        assert status_of(qmp, "r0")["vhost-dev"]["n-mem-sections"] == 1
        front.get_vring_base(0)
        front.add_mem_reg(region)
        front.start_queue(0)
        assert status_of(qmp, "r0")["vhost-dev"]["n-mem-sections"] == 2
        front.get_vring_base(0)
        front.rem_mem_reg(region)
        front.start_queue(0)
        assert status_of(qmp, "r0")["vhost-dev"]["n-mem-sections"] == 1
        extra.close()


# --- types ---

@pytest.mark.parametrize("text, name, number", [("type=virtio-blk", "virtio-blk", 2),
                                                ("type=2", "virtio-blk", 2),
                                                ("type=virtio-net", "virtio-net", 1),
                                                ("type=9999", "unknown", 9999)])
def test_type(tmp_path, text, name, number):
    with relay(tmp_path, f"id=r0,{text}", connect="/nowhere") as host, host.qmp() as qmp:
        assert qmp.command("x-query-virtio") == [{"path": R0, "name": name}]
        assert status_of(qmp, "r0")["device-id"] == number


def test_without_a_type(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M") as back:
        with relay(tmp_path, "id=r0", connect=back.socket("disk0")) as host, host.qmp() as qmp:
            with Front(host.socket("r0")):
                status = status_of(qmp, "r0")
                assert (status["name"], status["device-id"]) == ("unknown", 0)
                assert not status["host-features"]["dev-features"]
                assert status["host-features"]["unknown-dev-features"] & 1 << 9
                notes = {m["member"]: m.get("note")
                         for m in qmp.command("query-virtio-sources", path=R0)}
                assert "virtio-blk" in notes["device-id"]


WRONG = [
    ("id=r0,listen=/tmp/x", "connect= is missing"),
    ("id=r0,connect=/tmp/x", "listen= is missing"),
    ("id=r0,listen=/tmp/x,connect=/tmp/y,type=virtio-toaster", "expected the number"),
    ("id=r0,listen=/tmp/x,connect=/tmp/y,type=65536", "expected the number"),
    ("id=r0,listen=/tmp/x,connect=fd=5", "expected the path"),
    ("id=r0,listen=/tmp/x,connect=/tmp/y,mode=999", "octal"),
    ("id=r0,listen=/tmp/x,connect=/tmp/y,event_idx=on", "event_idx"),
    ("virtio-blk,id=r0,listen=/tmp/x,connect=/tmp/y", "type=virtio-blk"),
]


@pytest.mark.parametrize("device, sentence", WRONG)
def test_wrong_options(device, sentence):
    run = subprocess.run([binary(), "relay", "--device", device], capture_output=True, text=True,
                         timeout=60)
    assert run.returncode == 1 and sentence in run.stderr


def test_help():
    assert "connect=" in tool("relay", "--help")[0]
    assert "log-messages" in tool("relay", "--device", "help")[0]


def test_devices_come_and_go(tmp_path, listener):
    with relay(tmp_path, "id=r0", connect=listener.path) as host, host.qmp() as qmp:
        path = host.folder.path / "more.sock"
        qmp.command("device_add", id="more", type="virtio-rng", listen=str(path),
                    connect=str(listener.path))
        front = VhostUser(path)
        back = listener.accept()
        front.send(1)
        assert back.recv()[0] == 1
        qmp.command("device_del", id="more")
        assert front.closed() and back.closed()
        qmp.event("DEVICE_DELETED")
        wait_until(lambda: not path.exists(), "the socket goes")
        assert "relay" in qmp.error("stop")[1] and "relay" in qmp.error("cont")[1]
        front.close()
        back.close()


# --- the transcript ---

def test_transcript(disk):
    host, _ = disk
    with Front(host.socket("r0")) as front, host.qmp() as qmp:
        messages = transcript(qmp)
        assert [m["serial"] for m in messages] == list(range(1, len(messages) + 1))
        first, second = messages[:2]
        assert (first["name"], first["from"], first["reply"]) == ("GET_FEATURES", "front-end", 2)
        assert (second["is-reply"], second["answers"]) == (True, 1)
        assert first["latency-ns"] == pytest.approx(second["time"] - first["time"], abs=10**8)
        table = next(m for m in messages if m["name"] == "SET_MEM_TABLE")
        assert table["descriptors"] == 1
        assert {"name": "num-regions", "value": "1"} in table["fields"]
        num = next(m for m in messages if m["name"] == "SET_VRING_NUM")
        assert num["fields"] == [{"name": "index", "value": "0"}, {"name": "num", "value": "128"}]
        for _ in range(300):
            front.get_features()
        messages = transcript(qmp)
        assert len(messages) == 512 and messages[0]["serial"] == messages[-1]["serial"] - 511
    with Front(host.socket("r0")), host.qmp() as qmp:
        messages = transcript(qmp)
        assert {m["connection"] for m in messages} == {1, 2}
        begun = next(m for m in messages if m["connection"] == 2)
        assert begun["name"] == "GET_FEATURES" and begun["from"] == "front-end"
        text, _ = tool("info", "--qmp", f"unix:{host.qmp_path}", "transcript", "r0")
        assert "connection 2" in text and "-> SET_FEATURES" in text
        assert "<- GET_FEATURES reply" in text and "answered in" in text


def test_own_devices_have_one_too(tmp_path):
    path = "/machine/peripheral/rng0/virtio-backend"
    with serve(tmp_path, "virtio-rng,id=rng0") as host, host.qmp() as qmp:
        assert transcript(qmp, path) == []
        with Front(host.socket("rng0")) as front:
            messages = transcript(qmp, path)
            assert messages[0]["name"] == "GET_FEATURES" and messages[1]["answers"] == 1
            assert messages[1]["from"] == "back-end"
            front.send(Req.SET_VRING_NUM, b"short")
            assert front.closed()
            last = transcript(qmp, path)[-1]
            assert (last["name"], last["malformed"]) == ("SET_VRING_NUM", True)
        with Front(host.socket("rng0")):
            assert {m["connection"] for m in transcript(qmp, path)} == {1, 2}


def test_live_log(tmp_path, listener):
    with relay(tmp_path, "id=r0,log-messages=on", connect=listener.path) as host:
        with Ends(host, listener) as ends:
            ends.front.send(Req.SET_VRING_NUM, struct.pack("<II", 3, 64))
            ends.back.recv()
            host.process.expect(rb"r0: -> SET_VRING_NUM index 3 num 64 \(8 bytes, 0 descriptors\)")
