# SPDX-License-Identifier: BSD-3-Clause
"""The monitor's commands on a real `ringside serve`: paths, refusals, devices that come and go, run
control, several clients, read-only ones."""
import json
import os
import struct
import threading

import pytest

from lib.memory import Memory
from lib.process import wait_until
from lib.qmp import Qmp
from lib.ringside import Folder, serve
from lib.vhost_user import F_EVENT_IDX, F_INDIRECT, F_VERSION_1, Front
from lib.virtio import Blk

BACKEND = "/machine/peripheral/{}/virtio-backend"
GENERIC, NOT_FOUND = "GenericError", "DeviceNotFound"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Two named devices and one without a name; nobody connects."""
    tmp = tmp_path_factory.mktemp("host")
    folder = Folder()
    with serve(tmp, "virtio-blk,id=disk0,size=1M,iothread=io0", "virtio-rng,id=r0",
               f"virtio-serial,listen={folder.path}/anon",
               arguments=["--object", "iothread,id=io0", "--name", "tested"]) as running:
        yield running
    folder.remove()


@pytest.fixture
def qmp(host):
    with Qmp(str(host.qmp_path)) as session:
        yield session


PATHS = [
    # path, name of the device or None
    ("/machine/peripheral/disk0/virtio-backend", "virtio-blk"),
    ("//machine/peripheral//disk0/virtio-backend", "virtio-blk"),
    ("/machine/peripheral/disk0/virtio-backend/", "virtio-blk"),
    ("/machine/peripheral/disk0/virtio-backend//", "virtio-blk"),
    ("disk0/virtio-backend", "virtio-blk"),
    ("peripheral/r0/virtio-backend", "virtio-rng"),
    ("/machine/peripheral-anon/device[0]/virtio-backend", "virtio-serial"),
    ("device[0]/virtio-backend", "virtio-serial"),
    ("", None),
    ("/", None),
    ("/nope", None),
    ("/machine", None),
    ("/machine/peripheral/disk0", None),
    ("disk0", None),
    ("virtio-backend", None),
    ("/disk0/virtio-backend", None),
    ("/machine/peripheral/disk0/virtio-backendx", None),
    ("/machine/peripheral/disk0/virtio-backend/x", None),
    ("/objects/io0", None),
    ("/machine/peripheral/disk0\u0000/virtio-backend", None),
]


@pytest.mark.parametrize("path,name", PATHS)
def test_path(qmp, path, name):
    queries = [
        ("x-query-virtio-status", {}, f"Path {path} is not a realized VirtIODevice"),
        ("x-query-virtio-queue-status", {"queue": 0}, f"Path {path} is not a VirtIODevice"),
        ("x-query-virtio-vhost-queue-status", {"queue": 0}, f"Path {path} is not a VirtIODevice"),
        ("x-query-virtio-queue-element", {"queue": 0}, f"Path {path} is not a VirtIO device"),
    ]
    for command, arguments, sentence in queries:
        if name is None:
            error_class, desc = qmp.error(command, path=path, **arguments)
            assert error_class == GENERIC
            assert "\0" in path or desc == sentence
    if name is not None:
        assert qmp.command("x-query-virtio-status", path=path)["name"] == name
        assert qmp.command("x-query-virtio-queue-status", path=path, queue=0)["name"] == name


def test_list_newest_first(qmp):
    assert qmp.command("x-query-virtio") == [
        {"path": "/machine/peripheral-anon/device[0]/virtio-backend", "name": "virtio-serial"},
        {"path": BACKEND.format("r0"), "name": "virtio-rng"},
        {"path": BACKEND.format("disk0"), "name": "virtio-blk"}]


REFUSALS = [
    # command, arguments, class, sentence
    ("x-query-virtio-status", {}, GENERIC, "Parameter 'path' is missing"),
    ("x-query-virtio-status", {"path": 1}, GENERIC,
     "Invalid parameter type for 'path', expected: string"),
    ("x-query-virtio-queue-status", {"path": "/"}, GENERIC, "Parameter 'queue' is missing"),
    ("x-query-virtio-queue-status", {"path": "disk0/virtio-backend", "queue": 1}, GENERIC,
     "Invalid virtqueue number 1"),
    ("x-query-virtio-queue-status", {"path": "disk0/virtio-backend", "queue": 65535}, GENERIC,
     "Invalid virtqueue number 65535"),
    ("x-query-virtio-queue-status", {"path": "disk0/virtio-backend", "queue": 65536}, GENERIC,
     "Parameter 'queue' expects uint16_t"),
    ("x-query-virtio-queue-status", {"path": "disk0/virtio-backend", "queue": "0"}, GENERIC,
     "Parameter 'queue' expects uint64"),
    ("x-query-virtio-vhost-queue-status", {"path": "disk0/virtio-backend", "queue": 0}, GENERIC,
     "Error: vhost device has not started yet"),
    ("x-query-virtio-queue-element", {"path": "disk0/virtio-backend", "queue": 9}, GENERIC,
     "Invalid virtqueue number 9"),
    ("x-query-virtio-queue-element", {"path": "disk0/virtio-backend", "queue": 0}, GENERIC,
     "Region caches not initialized"),
    ("x-query-virtio-queue-element", {"path": "disk0/virtio-backend", "queue": 0, "index": -1},
     GENERIC, "Parameter 'index' expects uint16_t"),
    ("query-virtio-sources", {"path": "/nope"}, GENERIC,
     "Path /nope is not a realized VirtIODevice"),
    ("qom-list", {"path": "/nope"}, NOT_FOUND, "Device '/nope' not found"),
    ("qom-list", {"path": "nope"}, NOT_FOUND, "Device 'nope' not found"),
    ("qom-list", {"path": "virtio-backend"}, GENERIC, "Path 'virtio-backend' is ambiguous"),
    ("qom-get", {"path": "/nope", "property": "type"}, NOT_FOUND, "Device '/nope' not found"),
    ("qom-get", {"path": "disk0", "property": "nope"}, GENERIC,
     "Property 'virtio-blk.nope' not found"),
    ("qom-list-properties", {"typename": "nope"}, NOT_FOUND, "Class 'nope' not found"),
    ("device_add", {"id": "x"}, GENERIC, "Parameter 'driver' is missing"),
    ("device_add", {"driver": "virtio-nope"}, GENERIC,
     "'virtio-nope' is not a valid device model name"),
    ("device_add", {"driver": "virtio-rng", "id": "1bad"}, GENERIC,
     "Parameter 'id' expects an identifier"),
    ("device_add", {"driver": "virtio-rng", "id": "r0"}, GENERIC, "Duplicate device ID 'r0'"),
    ("device_add", {"driver": "virtio-rng", "bus": "pci.0"}, GENERIC, "Bus 'pci.0' not found"),
    ("device_add", {"driver": "virtio-rng", "iothread": "nope", "listen": "/x"}, GENERIC,
     'IOThread "nope" object does not exist'),
    ("device_del", {"id": "nope"}, NOT_FOUND, "Device 'nope' not found"),
    ("device_del", {"id": "/machine"}, NOT_FOUND, "Device '/machine' not found"),
    ("device_del", {}, GENERIC, "Parameter 'id' is missing"),
    ("object-add", {"qom-type": "nope", "id": "x"}, GENERIC,
     "Parameter 'qom-type' does not accept value 'nope'"),
    ("object-add", {"qom-type": "iothread"}, GENERIC, "Parameter 'id' is missing"),
    ("object-add", {"id": "x"}, GENERIC, "Parameter 'qom-type' is missing"),
    ("object-add", {"qom-type": "iothread", "id": "io0"}, GENERIC,
     "attempt to add duplicate property 'io0' to object (type 'container')"),
    ("object-add", {"qom-type": "iothread", "id": "0"}, GENERIC,
     "Parameter 'id' expects an identifier"),
    ("object-del", {"id": "nope"}, GENERIC, "object 'nope' not found"),
    ("object-del", {"id": "io0"}, GENERIC, "object 'io0' is in use, can not be deleted"),
    ("system_reset", {}, GENERIC,
     "There is no machine to reset: these devices are exported to another one"),
]


@pytest.mark.parametrize("command,arguments,error_class,sentence", REFUSALS)
def test_refusal(qmp, command, arguments, error_class, sentence):
    before = qmp.command("x-query-virtio")
    reply = qmp.execute(command, arguments)
    assert reply.get("error") == {"class": error_class, "desc": sentence}
    assert qmp.command("x-query-virtio") == before


def test_unknown_option_lists_the_known(qmp):
    error_class, desc = qmp.error("device_add", driver="virtio-rng", bogus=1, listen="/x")
    assert error_class == GENERIC
    assert "'bogus'" in desc and "filename" in desc and "listen" in desc


def test_object_tree(qmp):
    def names(path):
        return {p["name"]: p["type"] for p in qmp.command("qom-list", path=path)}
    assert names("/") == {"type": "string", "machine": "child<none-machine>",
                          "objects": "child<container>"}
    assert names("/machine/peripheral") == {
        "type": "string", "disk0": "child<virtio-blk>", "r0": "child<virtio-rng>"}
    proxy = names("disk0")
    assert proxy["virtio-backend"] == "child<virtio-blk-device>"
    assert proxy["listen"] == "str" and proxy["num-queues"] == "uint32"
    assert names("disk0/virtio-backend")["realized"] == "bool"
    assert names("/objects") == {"type": "string", "io0": "child<iothread>"}
    get = [("disk0", "type", "virtio-blk"), ("disk0/virtio-backend", "type", "virtio-blk-device"),
           ("disk0/virtio-backend", "realized", True), ("disk0", "iothread", "io0"),
           ("disk0", "size", 1 << 20), ("r0", "filename", ""),
           ("/machine/peripheral", "disk0", "/machine/peripheral/disk0")]
    for path, name, value in get:
        assert qmp.command("qom-get", path=path, property=name) == value, (path, name)
    assert qmp.command("qom-get", path="io0", property="thread-id") > 0
    listed = {p["name"] for p in qmp.command("qom-list-properties", typename="virtio-blk-device")}
    assert {"filename", "queue-size", "event_idx"} <= listed and "listen" not in listed


def test_general_queries(qmp):
    assert qmp.command("query-name") == {"name": "tested"}
    assert qmp.command("query-status") == {"running": True, "status": "running"}
    version = qmp.command("query-version")
    assert version["qemu"] == {"major": 9, "minor": 2, "micro": 0}
    assert version["package"].startswith("ringside ")
    assert {"x-query-virtio", "device_add", "quit"} <= {
        c["name"] for c in qmp.command("query-commands")}


def test_empty_list_is_empty(tmp_path):
    with serve(tmp_path) as running:
        assert running.qmp().command("x-query-virtio") == []


# --- a driver is there ---

def fifo_rng(tmp_path, **how):
    """A virtio-rng that has bytes only when the test writes them, and the end to write to."""
    path = tmp_path / "bytes"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)
    return serve(tmp_path, f"virtio-rng,id=r0,filename={path}", **how), end


def element(session, device="r0", queue=0, **how):
    return session.command("x-query-virtio-queue-element", path=BACKEND.format(device),
                           queue=queue, **how)


def test_element_from_waiting_to_used(tmp_path):
    running, end = fifo_rng(tmp_path)
    with running as host, Front(host.socket("r0"), size=8) as front:
        qmp = host.qmp()
        ring, memory = front.queues[0].ring, front.memory
        assert element(qmp) == {"name": "virtio-rng", "index": 0, "descs": [],
                                "avail": {"flags": 0, "idx": 0, "ring": 0},
                                "used": {"flags": 0, "idx": 0}}
        first, second, third = memory.alloc(64), memory.alloc(64), memory.alloc(64)
        head = ring.add([(first, 16, True), (second, 32, True), (third, 8, True)], indirect=True)
        front.queues[0].kick()
        followed = [{"addr": first, "len": 16, "flags": ["write", "next"]},
                    {"addr": second, "len": 32, "flags": ["write", "next"]},
                    {"addr": third, "len": 8, "flags": ["write"]}]
        for how in ({}, {"index": 0}, {"index": 8}, {"index": 65528}):
            got = element(qmp, **how)
            assert got["descs"] == followed
            assert (got["index"], got["avail"]["ring"], got["avail"]["idx"]) == (head, head, 1)
        # A place that was never used shows what lies there.
        assert element(qmp, index=3)["index"] == 0
        os.write(end, b"x" * 56)
        front.queues[0].wait([head])
        wait_until(lambda: qmp.command("x-query-virtio-queue-status", path=BACKEND.format("r0"),
                                       queue=0)["used-idx"] == 1, "the view")
        got = element(qmp)
        assert [d["flags"] for d in got["descs"]] == [["indirect"]]
        assert got["descs"][0]["len"] == 48 and got["used"]["idx"] == 1
    os.close(end)


def test_status_under_a_driver(tmp_path):
    running, end = fifo_rng(tmp_path)
    with running as host:
        qmp = host.qmp()
        path = BACKEND.format("r0")
        with Front(host.socket("r0"), features=F_VERSION_1 | F_EVENT_IDX | F_INDIRECT |
                   1 << 30) as front:
            status = qmp.command("x-query-virtio-status", path=path)
            assert status["started"] and not status["broken"] and status["vm-running"]
            assert status["isr"] == 0 and status["vhost-started"] is False
            assert "vhost-dev" not in status
            assert [s.split(":")[0] for s in status["guest-features"]["transports"]] == [
                "VIRTIO_RING_F_EVENT_IDX", "VIRTIO_RING_F_INDIRECT_DESC", "VIRTIO_F_VERSION_1"]
            assert "unknown-dev-features" not in status["guest-features"]
            assert "unknown-dev-features" not in status["host-features"]
            assert status["backend-features"] == {"transports": [], "dev-features": []}
            assert "VIRTIO_CONFIG_S_DRIVER_OK" in [
                s.split(":")[0] for s in status["status"]["statuses"]]
            sources = {m["member"]: m["source"]
                       for m in qmp.command("query-virtio-sources", path=path)}
            assert set(status) - set(sources) == set()
            notes = {m["member"]: m.get("note")
                     for m in qmp.command("query-virtio-sources", path=path)}
            assert notes["queue.0.queue-index"] == "its role is requestq"
            assert notes["broken"] is None and notes["queue.0.inuse"] is None
            queue = qmp.command("x-query-virtio-queue-status", path=path, queue=0)
            assert queue["vring-num"] == 128 and queue["vring-align"] == 4096
            assert queue["vring-desc"] == front.queues[0].ring.desc
            assert {f"queue.0.{m}" for m in queue} <= set(sources)
            assert (sources["isr"], sources["status"], sources["guest-features"]) == (
                "unknown", "derived", "message")
        wait_until(lambda: not qmp.command("x-query-virtio-status", path=path)["started"],
                   "the reset after the front-end left")
        assert qmp.command("x-query-virtio-queue-status", path=path, queue=0)["vring-desc"] == 0
    os.close(end)


def test_bad_chain_is_an_error_and_others_go_on(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M", "virtio-rng,id=r0") as host:
        qmp = host.qmp()
        with Front(host.socket("disk0"), size=8) as front, Front(host.socket("r0")) as other:
            ring = front.queues[0].ring
            ring.set_desc(0, front.memory.alloc(16), 16, 1, 5)
            ring.set_desc(5, front.memory.alloc(16), 16, 1, 0)
            ring.set_avail(0, 0)
            ring.set_avail_idx(1)
            front.queues[0].kick(force=True)
            path = BACKEND.format("disk0")
            wait_until(lambda: qmp.command("x-query-virtio-status", path=path)["broken"], "broken")
            for _ in range(3):
                error_class, desc = qmp.error("x-query-virtio-queue-element", path=path, queue=0)
                assert error_class == GENERIC and "loop at descriptor 0" in desc
            assert any(m["member"] == "broken" and "descriptor" in m.get("note", "")
                       for m in qmp.command("query-virtio-sources", path=path))
            assert "VIRTIO_CONFIG_S_NEEDS_RESET" in [
                s.split(":")[0]
                for s in qmp.command("x-query-virtio-status", path=path)["status"]["statuses"]]
            gpa = other.memory.alloc(16)
            assert other.request(0, [(gpa, 16, True)]).len == 16


def test_looking_while_it_runs(tmp_path):
    """A busy queue of indirect requests: no answer is an error, none mixes two requests."""
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M") as host:
        qmp = host.qmp()
        path = BACKEND.format("disk0")
        with Front(host.socket("disk0"), size=8, memory=Memory([(0, 256 << 20)])) as front:
            queue = front.queues[0]
            memory = front.memory
            header = memory.put(struct.pack("<IIQ", 0, 0, 0))
            data, status = memory.alloc(4096), memory.alloc(1)
            num = 0

            def work():
                nonlocal num
                while not stop.is_set():
                    heads = [queue.ring.add([(header, 16, False), (data, 512, True),
                                             (status, 1, True)], indirect=True) for _ in range(4)]
                    queue.kick()
                    queue.wait(heads)
                    # The table is the driver's again: whoever still looks there sees garbage.
                    for head in heads:
                        raw = memory.read(queue.ring.desc + 16 * head, 8)
                        memory.write(int.from_bytes(raw, "little"), b"\xff" * 48)
                    num += len(heads)

            stop = threading.Event()
            worker = threading.Thread(target=work)
            worker.start()
            try:
                for count in range(3000):
                    how = {} if count % 3 else {"index": count % 8}
                    got = element(qmp, "disk0", **how)
                    descs = [(d["len"], d["flags"]) for d in got["descs"]]
                    assert descs in ([], [(48, ["indirect"])],
                                     [(16, ["next"]), (512, ["write", "next"]), (1, ["write"])],
                                     # a place that no request had yet
                                     [(0, [])]), (descs, got, num)
            finally:
                stop.set()
                worker.join()
            assert num > 0
            assert not qmp.command("x-query-virtio-status", path=path)["broken"]


# --- run control, devices, objects ---

def test_stop_and_cont(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M") as host:
        qmp, watcher = host.qmp(), host.qmp()
        path = BACKEND.format("disk0")
        with Front(host.socket("disk0")) as front:
            blk = Blk(front)
            assert blk.read(0, 512) == bytes(512)
            assert qmp.command("stop") == {}
            assert qmp.command("query-status") == {"running": False, "status": "paused"}
            assert qmp.command("x-query-virtio-status", path=path)["vm-running"] is False
            assert qmp.command("x-query-virtio-status", path=path)["started"] is True
            request = blk.start(0, length=512)
            for _ in range(20):
                queue = qmp.command("x-query-virtio-queue-status", path=path, queue=0)
                assert (queue["last-avail-idx"], queue["used-idx"], queue["inuse"]) == (1, 1, 0)
            assert len(element(qmp, "disk0")["descs"]) == 3
            assert qmp.command("stop") == {}
            assert qmp.command("cont") == {}
            assert blk.finish(request)[0] == 0
            assert qmp.command("cont") == {}
            assert qmp.command("query-status")["running"] is True
        for session in (qmp, watcher):
            session.command("query-status")
            names = [e["event"] for e in session.events
                     if e["event"] != "VIRTIO_STATUS_CHANGED"]
            assert names == ["STOP", "RESUME"], names


def test_devices_come_and_go(tmp_path):
    with serve(tmp_path, "virtio-rng,id=r0") as host:
        qmp = host.qmp()
        sock = host.folder.path / "new"
        qmp.command("device_add", driver="virtio-blk", id="d1", size="1M", listen=str(sock),
                    queue_size=64)
        assert [d["path"] for d in qmp.command("x-query-virtio")] == [
            BACKEND.format("d1"), BACKEND.format("r0")]
        with Front(sock) as front:
            assert Blk(front).read(0, 512) == bytes(512)
            assert qmp.command("device_del", id="d1") == {}
            first, second = qmp.event("DEVICE_DELETED"), qmp.event("DEVICE_DELETED")
            assert first["data"] == {"path": BACKEND.format("d1")}
            assert second["data"] == {"device": "d1", "path": "/machine/peripheral/d1"}
            assert front.closed()
        assert not sock.exists()
        assert qmp.error("device_del", id="d1") == (NOT_FOUND, "Device 'd1' not found")
        # The name and the place are free again; without a name the path names it.
        qmp.command("device_add", driver="virtio-rng", id="d1", listen=str(sock))
        qmp.command("device_del", id="/machine/peripheral/d1")
        qmp.event("DEVICE_DELETED")
        qmp.event("DEVICE_DELETED")
        for number in range(2):
            qmp.command("device_add", driver="virtio-rng", listen=str(sock))
            path = f"/machine/peripheral-anon/device[{number}]"
            qmp.command("device_del", id=path)
            assert qmp.event("DEVICE_DELETED")["data"] == {"path": path + "/virtio-backend"}
            assert qmp.event("DEVICE_DELETED")["data"] == {"path": path}


def test_failed_device_add_leaves_nothing(tmp_path):
    with serve(tmp_path, "virtio-rng,id=r0") as host:
        qmp = host.qmp()
        sock = host.folder.path / "new"
        bad = [dict(driver="virtio-blk", id="d1", filename="/nope", listen=str(sock)),
               dict(driver="virtio-rng", id="d1", listen="/nope/x"),
               dict(driver="virtio-rng", id="d1"),
               dict(driver="virtio-rng", id="d1", listen=str(host.socket("r0"))),
               dict(driver="virtio-rng", id="d1", listen=str(sock), queue_size=3)]
        before = len(os.listdir(f"/proc/{host.process.pid}/fd"))
        for arguments in bad * 3:
            error_class, desc = qmp.error("device_add", **arguments)
            assert error_class == GENERIC and desc
        assert len(qmp.command("x-query-virtio")) == 1
        assert not sock.exists()
        wait_until(lambda: len(os.listdir(f"/proc/{host.process.pid}/fd")) == before, "the fds")


def test_objects_come_and_go(tmp_path):
    with serve(tmp_path) as host:
        qmp = host.qmp()
        sock = host.folder.path / "new"
        qmp.execute("object-add", {"qom-type": "iothread", "id": "io1"})
        qmp.command("device_add", driver="virtio-rng", id="r1", iothread="io1", listen=str(sock))
        with Front(sock) as front:
            assert front.request(0, [(front.memory.alloc(16), 16, True)]).len == 16
        assert qmp.error("object-del", id="io1")[1] == "object 'io1' is in use, can not be deleted"
        qmp.command("device_del", id="r1")
        qmp.event("DEVICE_DELETED")
        qmp.event("DEVICE_DELETED")
        assert qmp.command("object-del", id="io1") == {}
        assert qmp.error("object-del", id="io1")[1] == "object 'io1' not found"


def test_quit(tmp_path):
    with serve(tmp_path, "virtio-rng,id=r0") as host:
        qmp, other = host.qmp(), host.qmp()
        with Front(host.socket("r0")):
            assert qmp.command("quit") == {}
            for session in (qmp, other):
                event = session.event("SHUTDOWN")
                assert event["data"] == {"guest": False, "reason": "host-qmp-quit"}
                assert session.message() is None
            host.finish()


@pytest.mark.parametrize("number", [1, 2, 15])
def test_signal_ends_it_cleanly(tmp_path, number):
    with serve(tmp_path, "virtio-rng,id=r0") as host:
        qmp = host.qmp()
        host.process.signal(number)
        assert qmp.event("SHUTDOWN")["data"]["reason"] == "host-signal"
        host.finish()


# --- several clients ---

def test_clients_do_not_mix(host):
    sessions = [Qmp(str(host.qmp_path)) for _ in range(6)]
    for number, session in enumerate(sessions):
        for count in range(5):
            request = {"execute": "query-name", "id": [number, count]}
            session.raw(json.dumps(request).encode() + b"\n")
    for number, session in reversed(list(enumerate(sessions))):
        for count in range(5):
            assert session.reply() == {"return": {"name": "tested"}, "id": [number, count]}
        session.close()


ACTIONS = [("stop", {}), ("cont", {}), ("quit", {}), ("system_reset", {}),
           ("device_add", {"driver": "virtio-rng"}), ("device_del", {"id": "r0"}),
           ("object-add", {"qom-type": "iothread", "id": "x"}), ("object-del", {"id": "x"}),
           ("qom-set", {"path": "io0", "property": "poll-max-ns", "value": 0})]
LOOKS = [("x-query-virtio", {}), ("query-status", {}), ("qom-list", {"path": "/"}),
         ("qom-get", {"path": "r0", "property": "type"}), ("query-commands", {}),
         ("query-iothreads", {}), ("query-virtio-queue-threads", {"path": "r0/virtio-backend"}),
         ("x-query-virtio-status", {"path": "r0/virtio-backend"})]


def test_read_only_client(tmp_path):
    folder = Folder()
    path = folder.path / "looker"
    with serve(tmp_path, "virtio-rng,id=r0",
               arguments=["--qmp", f"unix:{path},read-only"]) as host:
        with Qmp(str(path)) as looker:
            for command, arguments in ACTIONS:
                reply = looker.execute(command, arguments)
                assert reply["error"]["class"] == GENERIC, command
                assert "read-only" in reply["error"]["desc"]
            for command, arguments in LOOKS:
                assert "return" in looker.execute(command, arguments), command
            # Others may act, and it hears of it.
            qmp = host.qmp()
            qmp.command("stop")
            assert looker.event("STOP")
            qmp.command("cont")
    assert not folder.left()
    folder.remove()


def test_read_only_everywhere(tmp_path):
    with serve(tmp_path, "virtio-rng,id=r0", arguments=["--read-only"]) as host:
        own = next(host.runtime.rglob("*.qmp"))
        for path in (str(host.qmp_path), str(own)):
            with Qmp(path) as session:
                assert "read-only" in session.error("stop")[1]


def test_ports(tmp_path):
    """A virtio-serial has room for ports where it was said, or where they were on the command line.
    """
    with serve(tmp_path, "virtio-serial,id=one", "virtio-serial,id=two,max_ports=2",
               "virtio-serial,id=three", "virtserialport,id=p,bus=three.0,name=a") as host:
        qmp = host.qmp()
        queues = {device: qmp.command("x-query-virtio-status",
                                      path=f"{device}/virtio-backend")["num-vqs"]
                  for device in ("one", "two", "three")}
        assert queues == {"one": 2, "two": 6, "three": 64}
        assert "give it max_ports=" in qmp.error("device_add", driver="virtserialport",
                                                 bus="one.0")[1]
        assert "bus=ID.0" in qmp.error("device_add", driver="virtconsole")[1]
        qmp.command("device_add", driver="virtconsole", bus="two.0", id="c")
        assert "Duplicate device ID 'c'" in qmp.error("device_add", driver="virtio-rng", id="c")[1]
        shown = {entry["name"]: entry["type"]
                 for entry in qmp.command("qom-list", path="/machine/peripheral/p")}
        assert shown["guest-open"] == "bool" and shown["type"] == "string"
        get = lambda name: qmp.command("qom-get", path="p", property=name)  # noqa: E731
        assert (get("type"), get("nr"), get("bus"), get("guest-open")) == \
            ("virtserialport", 1, "three.0", False)
        names = {entry["name"]
                 for entry in qmp.command("qom-list-properties", typename="virtconsole")}
        assert names >= {"bus", "nr", "name", "chardev", "guest-open"}
        qmp.command("device_del", id="/machine/peripheral/c")
        assert qmp.event("DEVICE_DELETED")["data"] == {"device": "c",
                                                       "path": "/machine/peripheral/c"}
        assert "is no console" in qmp.error("console-resize", id="two", cols=1, rows=1)[1]
        # The device takes its port along, also one that is about to go.
        qmp.command("device_del", id="three")
        assert qmp.execute("device_del", {"id": "p"})
        gone = {qmp.event("DEVICE_DELETED")["data"]["path"] for _ in range(3)}
        assert gone == {"/machine/peripheral/p", "/machine/peripheral/three",
                        "/machine/peripheral/three/virtio-backend"}


REFUSED_LINKS = [
    ("nope", NOT_FOUND, "Device 'nope' not found"),
    ("", NOT_FOUND, "Device '' not found"),
    ("/objects/io0", NOT_FOUND, "Device '/objects/io0' not found"),
    ("/machine", NOT_FOUND, "Device '/machine' not found"),
    ("disk0", GENERIC, "Device 'disk0' is a virtio-blk: only a virtio-net has a link to switch"),
    (BACKEND.format("r0"), GENERIC, f"Device '{BACKEND.format('r0')}' is a virtio-rng: only a "
                                    "virtio-net has a link to switch"),
]


@pytest.mark.parametrize("name,error_class,desc", REFUSED_LINKS)
def test_set_link_refused(qmp, name, error_class, desc):
    assert qmp.error("set_link", name=name, up=False) == (error_class, desc)
