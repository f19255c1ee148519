# SPDX-License-Identifier: BSD-3-Clause
"""Iothreads from outside: their options, which queue each serves and where that can be seen, what
is refused and in which words, and that they come and go while others work."""
import json
import os
import subprocess

import pytest

from lib.process import wait_until
from lib.qmp import Qmp
from lib.ringside import serve
from lib.vhost_user import Front
from lib.virtio import SECTOR, Blk, rng_read

BACKEND = "/machine/peripheral/{}/virtio-backend"
DEFAULTS = {"poll-max-ns": 32768, "poll-grow": 0, "poll-shrink": 0}
INT_MAX = 2**63 - 1


def objects(*options):
    return [word for option in options for word in ("--object", f"iothread,id={option}")]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Three iothreads and a disk on none of them, whose folder the others' sockets may use."""
    with serve(tmp_path_factory.mktemp("host"), "virtio-blk,id=plain,size=1M,num-queues=2",
               arguments=objects("io0", "io1,poll-max-ns=0", "io2")) as running:
        yield running


@pytest.fixture
def qmp(host):
    with Qmp(str(host.qmp_path)) as session:
        yield session


def disk(host, ident, mapping=None, **more):
    """The arguments of a disk."""
    listen = str(host.folder.path / f"{ident}.sock")
    given = {} if mapping is None else {"iothread-vq-mapping": mapping}
    return {"driver": "virtio-blk", "id": ident, "size": 1 << 20, "listen": listen,
            **given, **more}


def unplug(qmp, ident):
    qmp.command("device_del", id=ident)
    qmp.event("DEVICE_DELETED")
    qmp.event("DEVICE_DELETED")


def threads(qmp, ident):
    """The iothread of each queue, None for the built-in loop; seen alike in all places."""
    path = BACKEND.format(ident)
    told = qmp.command("query-virtio-queue-threads", path=path)
    assert [t["queue"] for t in told] == list(range(len(told)))
    for where in (ident, path):
        assert qmp.command("qom-get", path=where, property="queue-threads") == told
    ids = {i["id"]: i["thread-id"] for i in qmp.command("query-iothreads")}
    notes = {m["member"]: m.get("note") for m in qmp.command("query-virtio-sources", path=path)}
    for thread in told:
        name = thread.get("iothread")
        assert (thread["thread-id"] in ids.values()) == bool(name)
        assert not name or ids[name] == thread["thread-id"]
        assert notes[f"queue.{thread['queue']}.thread"] == \
            f"served by thread {name or 'data'} ({thread['thread-id']})"
    return [t.get("iothread") for t in told]


# --- the object ---

def test_query_iothreads(host, qmp):
    listed = qmp.command("query-iothreads")
    assert [i["id"] for i in listed] == ["io0", "io1", "io2"]
    for iothread in listed:
        polls = {**DEFAULTS, **({"poll-max-ns": 0} if iothread["id"] == "io1" else {})}
        tid = iothread["thread-id"]
        assert iothread == {"id": iothread["id"], "thread-id": tid, "aio-max-batch": 0, **polls}
        comm = f"/proc/{host.process.pid}/task/{tid}/comm"
        with open(comm, encoding="ascii") as file:
            assert file.read().strip() == iothread["id"]
        for name, value in {**polls, "thread-id": tid}.items():
            assert qmp.command("qom-get", path=iothread["id"], property=name) == value
    names = [p["name"] for p in qmp.command("qom-list", path="/objects/io0")]
    assert sorted(names) == ["poll-grow", "poll-max-ns", "poll-shrink", "thread-id", "type"]
    types = {p["name"]: p for p in qmp.command("qom-list-properties", typename="iothread")}
    limit = types["poll-max-ns"]
    assert (limit["type"], limit["default-value"]) == ("int", "32768")
    assert len(types) == 5


RANGE = "must be in range [0, 9223372036854775807]"
BAD_SETTINGS = [
    ({"poll-max-ns": -1}, f"poll-max-ns value {RANGE}"),
    ({"poll-grow": -1}, f"poll-grow value {RANGE}"),
    ({"poll-shrink": -7}, f"poll-shrink value {RANGE}"),
    ({"poll-max-ns": 1.5}, "Invalid parameter type for 'poll-max-ns', expected: integer"),
    ({"poll-max-ns": True}, "Invalid parameter type for 'poll-max-ns', expected: integer"),
    ({"poll-max-ns": [1]}, "Invalid parameter type for 'poll-max-ns', expected: integer"),
    ({"poll-max-ns": "1x"}, "Parameter 'poll-max-ns' expects integer"),
    ({"poll-max-ns": ""}, "Parameter 'poll-max-ns' expects integer"),
    ({"poll-max-ns": INT_MAX + 1}, "Parameter 'poll-max-ns' expects integer"),
]


@pytest.mark.parametrize("setting, sentence", BAD_SETTINGS)
def test_bad_settings(qmp, setting, sentence):
    (name, value), = setting.items()
    bad = {"qom-type": "iothread", "id": "bad", **setting}
    assert qmp.error("object-add", **bad)[1] == sentence
    assert qmp.error("qom-set", path="io2", property=name, value=value)[1] == sentence
    assert qmp.command("query-iothreads")[2]["poll-max-ns"] == DEFAULTS["poll-max-ns"]
    assert len(qmp.command("query-iothreads")) == 3


def test_settings_on_the_command_line(tmp_path):
    with serve(tmp_path, arguments=objects(
            f"a,poll-max-ns={INT_MAX},poll-grow=3,poll-shrink=4", "data")) as host:
        first, second = host.qmp().command("query-iothreads")
        assert (first["poll-max-ns"], first["poll-grow"], first["poll-shrink"]) == (INT_MAX, 3, 4)
        assert second["id"] == "data" and second["poll-max-ns"] == 32768


def test_settings_at_run_time(qmp):
    qmp.command("qom-set", path="/objects/io2", property="poll-max-ns", value=5)
    qmp.command("qom-set", path="/objects/io2", property="poll-grow", value=6)
    qmp.command("qom-set", path="/objects/io2", property="poll-shrink", value=INT_MAX)
    got = qmp.command("query-iothreads")[2]
    assert (got["poll-max-ns"], got["poll-grow"], got["poll-shrink"]) == (5, 6, INT_MAX)
    for name, value in DEFAULTS.items():
        qmp.command("qom-set", path="/objects/io2", property=name, value=value)


@pytest.mark.parametrize("path, name, reply", [
    ("io0", "thread-id", ("GenericError", "Property 'iothread.thread-id' is not writable")),
    ("io0", "type", ("GenericError", "Property 'iothread.type' is not writable")),
    ("io0", "nope", ("GenericError", "Property 'iothread.nope' not found")),
    ("plain", "iothread-vq-mapping", ("GenericError",
                                      "Property 'virtio-blk.iothread-vq-mapping' is not writable")),
    ("plain", "num-queues", ("GenericError", "Property 'virtio-blk.num-queues' is not writable")),
    ("nope", "x", ("DeviceNotFound", "Device 'nope' not found")),
])
def test_what_cannot_be_set(qmp, path, name, reply):
    assert qmp.error("qom-set", path=path, property=name, value=1) == reply


# --- the mapping ---

def item(iothread, *vqs):
    return {"iothread": iothread, "vqs": list(vqs)} if vqs else {"iothread": iothread}


NOT_BOTH = "either all items in iothread-vq-mapping must have vqs or none of them must have it"
MAPPING = "iothread-vq-mapping"
# Queues, mapping, and the sentence; the order of checks is in those that have several faults.
BAD_MAPPINGS = [
    (4, [item("io9")], 'IOThread "io9" object does not exist'),
    (4, [item("io0"), item("io9")], 'IOThread "io9" object does not exist'),
    (4, [item("io0"), item("io0")], f'duplicate IOThread name "io0" in {MAPPING}'),
    (4, [item("io0", 0), item("io0")], f'duplicate IOThread name "io0" in {MAPPING}'),
    (4, [item("io0", 0, 1, 2, 3), item("io1")], NOT_BOTH),
    (4, [item("io0"), item("io1", 0)], NOT_BOTH),
    (4, [item("io0"), item("io1", 9)], NOT_BOTH),
    (4, [item("io0", 0), {"iothread": "io1", "vqs": []}], NOT_BOTH),
    (4, [item("io0", 0, 1), item("io1", 2, 4)],
     f'vq index 4 for IOThread "io1" must be less than num_queues 4 in {MAPPING}'),
    (1, [item("io0", 65535)],
     f'vq index 65535 for IOThread "io0" must be less than num_queues 1 in {MAPPING}'),
    (4, [item("io0", 0, 1), item("io1", 2, 1, 9)],
     'cannot assign vq 1 to IOThread "io1" because it is already assigned'),
    (4, [item("io0", 0, 0), item("io9")],
     'cannot assign vq 0 to IOThread "io0" because it is already assigned'),
    (4, [item("io0", 0), item("io1", 3)], f"missing vq 1 IOThread assignment in {MAPPING}"),
    (4, [item("io0", 1, 2, 3)], f"missing vq 0 IOThread assignment in {MAPPING}"),
    (2, "io0", f"Invalid parameter type for '{MAPPING}', expected: array"),
    (2, 5, f"Invalid parameter type for '{MAPPING}', expected: array"),
    (2, True, f"Invalid parameter type for '{MAPPING}', expected: array"),
    (2, item("io0"), f"Invalid parameter type for '{MAPPING}', expected: array"),
    (2, ["io0"], f"Invalid parameter type for '{MAPPING}[0]', expected: object"),
    (2, [item("io0"), {}], f"Parameter '{MAPPING}[1].iothread' is missing"),
    (2, [{"iothread": 1}], f"Invalid parameter type for '{MAPPING}[0].iothread', expected: string"),
    (2, [{"iothread": "io0", "vqs": 1}],
     f"Invalid parameter type for '{MAPPING}[0].vqs', expected: array"),
    (2, [{"iothread": "io0", "vqs": [0, 65536]}],
     f"Parameter '{MAPPING}[0].vqs[1]' expects uint16_t"),
    (2, [{"iothread": "io0", "vqs": [-1]}], f"Parameter '{MAPPING}[0].vqs[0]' expects uint16_t"),
    (2, [{"iothread": "io0", "bogus": 1}], f"Parameter '{MAPPING}[0].bogus' is unexpected"),
]


@pytest.mark.parametrize("queues, mapping, sentence", BAD_MAPPINGS)
def test_bad_mapping(host, qmp, queues, mapping, sentence):
    arguments = disk(host, "bad", mapping, **{"num-queues": queues})
    assert qmp.error("device_add", **arguments) == ("GenericError", sentence)
    assert not host.socket("bad").exists()
    # Nothing of it is left: the iothreads are free to go and to come again.
    assert qmp.error("qom-list", path="bad")[1] == "Device 'bad' not found"
    for name in ("io0", "io1", "io2"):
        assert qmp.command("object-del", id=name) == {}
        settings = {"poll-max-ns": 0} if name == "io1" else {}
        qmp.command("object-add", **{"qom-type": "iothread", "id": name, **settings})


def test_one_loop_alone(host, qmp):
    """A card that steers packets itself has all its queues on one."""
    card = {"driver": "virtio-net", "id": "bad", "netdev": "null", "queues": 2, "rss": True,
            "listen": str(host.folder.path / "bad.sock")}
    assert qmp.error("device_add", **card, **{MAPPING: [item("io0"), item("io1")]}) == \
        ("GenericError", "bad: rss=on needs all queues on one loop, and iothread-vq-mapping "
                         "spreads them over 2")
    assert qmp.error("device_add", **{**card, "queues": 1}) == \
        ("GenericError", "bad: rss=on needs queues= of 2 or more")
    assert qmp.execute("device_add", {**card, "ctrl_vq": False})["error"]["desc"] == \
        "bad: queues=2 needs ctrl_vq=on"
    qmp.command("device_add", **card, **{MAPPING: [item("io1")]})
    assert set(threads(qmp, "bad")) == {"io1"}
    unplug(qmp, "bad")


def test_not_both(host, qmp):
    for other in ("io1", "io9"):
        arguments = disk(host, "bad", [item("io9")], iothread=other)
        assert qmp.error("device_add", **arguments)[1] == \
            "iothread and iothread-vq-mapping properties cannot be set at the same time"


def test_json_syntax_only(host, ringside_bin, tmp_path):
    run = subprocess.run([ringside_bin, "serve", "--device", "virtio-blk,size=1M,listen="
                          f"{tmp_path}/s,iothread-vq-mapping=io0"], capture_output=True, text=True,
                         check=False)
    assert run.returncode == 1
    assert "Invalid parameter type for 'iothread-vq-mapping', expected: array" in run.stderr


def test_only_who_takes_it(host, qmp):
    desc = qmp.error("device_add", **{**disk(host, "bad", []), "driver": "virtio-rng"})[1]
    assert "has no option" in desc
    for typename in ("virtio-blk", "virtio-blk-device"):
        types = {p["name"]: p["type"]
                 for p in qmp.command("qom-list-properties", typename=typename)}
        assert types[MAPPING] == "IOThreadVirtQueueMappingList"
        assert types["queue-threads"] == "VirtQueueThreadList"
    names = {p["name"] for p in qmp.command("qom-list-properties", typename="virtio-rng")}
    assert MAPPING not in names and "queue-threads" in names


def test_help(ringside_bin):
    def text(driver):
        return subprocess.run([ringside_bin, "serve", "--device", f"{driver},help"], check=True,
                              capture_output=True, text=True).stdout
    assert "iothread-vq-mapping=<IOThreadVirtQueueMappingList>\n" in text("virtio-blk")
    assert "iothread-vq-mapping" not in text("virtio-rng")


GOOD_MAPPINGS = [
    (2, None, [None, None]),
    (2, [], [None, None]),
    (1, [item("io0")], ["io0"]),
    (4, [item("io0")], ["io0"] * 4),
    (5, [item("io0"), item("io1")], ["io0", "io1", "io0", "io1", "io0"]),
    (2, [item("io2"), item("io1"), item("io0")], ["io2", "io1"]),
    (4, [item("io0", 0, 2), item("io1", 1, 3)], ["io0", "io1", "io0", "io1"]),
    (3, [item("io1", 2), item("io0", 1, 0)], ["io0", "io0", "io1"]),
    (3, [{"iothread": "io0", "vqs": []}, item("io1")], ["io0", "io1", "io0"]),
]


@pytest.mark.parametrize("queues, mapping, expected", GOOD_MAPPINGS)
def test_mapping(host, qmp, queues, mapping, expected):
    qmp.command("device_add", **disk(host, "d", mapping, **{"num-queues": queues}))
    assert threads(qmp, "d") == expected
    assert qmp.command("qom-get", path="d", property=MAPPING) == (mapping or [])
    used = {i["iothread"] for i in mapping or []}
    for name in ("io0", "io1", "io2"):
        # Also one that got no queue is the device's for as long as it is there.
        if name in used:
            assert qmp.error("object-del", id=name)[1] == \
                f"object '{name}' is in use, can not be deleted"
    unplug(qmp, "d")


def test_one_iothread_for_all(host, qmp):
    qmp.command("device_add", **disk(host, "d", iothread="io1", **{"num-queues": 3}))
    assert threads(qmp, "d") == ["io1"] * 3
    unplug(qmp, "d")


def test_mapping_on_the_command_line(tmp_path):
    sock = tmp_path / "d"
    device = json.dumps({"driver": "virtio-blk", "id": "d", "size": 1 << 20, "num-queues": 2,
                         MAPPING: [item("a"), item("b")], "listen": str(sock)})
    with serve(tmp_path, device, arguments=objects("a", "b")) as host:
        assert threads(host.qmp(), "d") == ["a", "b"]


def spent(host, tid):
    """A thread's processor time, read when it rests: what follows an answer is spent too."""
    seen = []

    def rests():
        with open(f"/proc/{host.process.pid}/task/{tid}/schedstat", encoding="ascii") as file:
            seen.append(int(file.read().split()[0]))
        return seen[-2:-1] == seen[-1:]

    wait_until(rests, f"thread {tid} to rest", interval=0.02)
    return seen[-1]


def test_a_queue_is_served_by_its_thread(tmp_path):
    """The thread's own processor time says so."""
    image = tmp_path / "image"
    image.write_bytes(os.urandom(1 << 20))
    with serve(tmp_path, arguments=objects("a,poll-max-ns=0", "b,poll-max-ns=0")) as host:
        qmp = host.qmp()
        arguments = disk(host, "d", [item("a"), item("b")], **{"num-queues": 2})
        del arguments["size"]
        qmp.command("device_add", **arguments, filename=str(image))
        tids = [i["thread-id"] for i in qmp.command("query-iothreads")]
        with Front(host.socket("d"), queues=2) as front:
            for queue in (0, 1):
                Blk(front, queue).read(0, SECTOR)
            for queue in (0, 1):
                other = spent(host, tids[1 - queue])
                mine = spent(host, tids[queue])
                for sector in range(20):
                    Blk(front, queue).read(sector, SECTOR)
                assert spent(host, tids[queue]) > mine
                assert spent(host, tids[1 - queue]) == other


def test_an_idle_thread_that_may_poll_rests(tmp_path):
    """It looked while there was something to do, and slept when there was not."""
    with serve(tmp_path, "virtio-blk,id=d,size=1M,iothread=io",
               arguments=objects("io,poll-max-ns=1000000")) as host:
        tid = host.qmp().command("query-iothreads")[0]["thread-id"]
        with Front(host.socket("d")) as front:
            disk = Blk(front)
            for _ in range(3):
                for sector in range(200):
                    disk.read(sector, SECTOR)
                # Another request wakes it: the driver is asked for a kick again.
                spent(host, tid)
        assert spent(host, tid)


# --- coming and going ---

def test_iothreads_come_and_go(tmp_path):
    with serve(tmp_path, "virtio-rng,id=r0") as host:
        qmp = host.qmp()
        task = f"/proc/{host.process.pid}/task"
        with Front(host.socket("r0")) as other:
            before = len(os.listdir(task))
            for _ in range(5):
                for name in ("x", "y"):
                    qmp.command("object-add", **{"qom-type": "iothread", "id": name})
                qmp.command("device_add", **disk(host, "d", [item("x"), item("y")],
                                                 **{"num-queues": 4}))
                with Front(host.socket("d"), queues=4) as front:
                    for queue in range(4):
                        Blk(front, queue).read(0, SECTOR)
                        assert rng_read(other, 16)
                    for name in ("x", "y"):
                        assert qmp.error("object-del", id=name)[1] == \
                            f"object '{name}' is in use, can not be deleted"
                    unplug(qmp, "d")
                for name in ("x", "y"):
                    assert qmp.command("object-del", id=name) == {}
                wait_until(lambda: len(os.listdir(task)) == before, "the threads to be gone")
                assert qmp.command("query-iothreads") == []


# --- ringside info ---

def info(ringside_bin, host, *arguments):
    return subprocess.run([ringside_bin, "info", "--qmp", f"unix:{host.qmp_path}", *arguments],
                          check=True, capture_output=True, text=True).stdout


def test_info(host, qmp, ringside_bin):
    tids = {i["id"]: i["thread-id"] for i in qmp.command("query-iothreads")}
    qmp.command("device_add", **disk(host, "d", [item("io0"), item("io1")], **{"num-queues": 4}))
    lines = [line.split(maxsplit=5)
             for line in info(ringside_bin, host, "iothreads").splitlines()]
    assert lines == [
        ["iothread", "thread-id", "poll-max-ns", "poll-grow", "poll-shrink",
         "device and its queues"],
        ["io0", str(tids["io0"]), "32768", "0", "0", "d 0 2"],
        ["io1", str(tids["io1"]), "0", "0", "0", "d 1 3"],
        ["io2", str(tids["io2"]), "32768", "0", "0"],
        ["(built-in)", "-", "-", "-", "-", "plain 0 1"],
    ]
    assert f"\n  served by thread io1 ({tids['io1']})\n" in \
        info(ringside_bin, host, "queue", "d", "3")
    assert "\n  served by thread data (" in info(ringside_bin, host, "queue", "plain", "0")
    assert json.loads(info(ringside_bin, host, "--json", "iothreads")) == \
        qmp.command("query-iothreads")
    unplug(qmp, "d")


def test_info_without_any(tmp_path, ringside_bin):
    with serve(tmp_path) as host:
        assert info(ringside_bin, host, "iothreads") == "no iothreads\n"
