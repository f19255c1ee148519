# SPDX-License-Identifier: BSD-3-Clause
"""virtio-scsi as a driver sees it: virtio 1.3, "SCSI Host Device"."""
import json
import random
import struct

import pytest

from lib.process import wait_until
from lib.ringside import Folder
from lib.slow_disk import slow_disk
from lib.virtio import Scsi

MIB = 1 << 20
ABORT_TASK_SET, I_T_NEXUS_RESET, UNIT_RESET, QUERY_TASK, QUERY_TASK_SET = 1, 4, 5, 6, 7
COMPLETE, SUCCEEDED = 0, 10


@pytest.fixture
def images(tmp_path):
    """(disk, cd)"""
    disk, cd = tmp_path / "disk", tmp_path / "cd"
    disk.write_bytes(random.Random(5).randbytes(MIB))
    cd.write_bytes(random.Random(6).randbytes(64 << 10))
    return disk, cd


def device(images, more=""):
    return f"virtio-scsi,id=s,filename={images[0]},cdrom={images[1]}{more}"


def read10(lba, blocks):
    return struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)


def write16(lba, blocks):
    return struct.pack(">BBQIBB", 0x8a, 0, lba, blocks, 0, 0)


def test_data(start, way, images):
    """Random reads and writes of all sizes on all queues, several in flight at once."""
    disk, cd = images
    expected = bytearray(disk.read_bytes())
    host = start(device(images, ",num_queues=3"))
    order = random.Random(str(way))
    with way.connect(host.socket("s"), queues=5) as front:
        queues = [Scsi(front, n, indirect=way.indirect) for n in (2, 3, 4)]
        queues[0].settle((0, 1))
        for _ in range(30):
            flying = []
            # What flies together does not overlap: a stripe each.
            for stripe in order.sample(range(16), 4):
                blocks = order.choice([1, 2, 7, 8, 64, 127, 128])
                lba = stripe * 128 + order.randrange(129 - blocks)
                there, queue = slice(lba * 512, (lba + blocks) * 512), order.choice(queues)
                pieces = order.choice([1, 2, 7])
                if order.random() < .5:
                    expected[there] = order.randbytes(blocks * 512)
                    flying.append((queue, queue.start(write16(lba, blocks), pieces=pieces,
                                                      data=bytes(expected[there])), None))
                else:
                    flying.append((queue, queue.start(read10(lba, blocks), pieces=pieces,
                                                      length=blocks * 512), there))
            order.shuffle(flying)
            for queue, request, there in flying:
                response, code, data = queue.finish(request)
                assert (response, code) == (0, 0)
                assert there is None or data == expected[there]
            lba = order.randrange(31)
            assert queues[1].do(read10(lba, 2), target=1, length=4096)[2] == \
                cd.read_bytes()[lba * 2048:(lba + 2) * 2048]
        assert queues[0].do(b"\x35")[:2] == (0, 0)
    assert disk.read_bytes() == bytes(expected)


def test_ranges_change_what_they_name(start, way, images):
    disk, _ = images
    expected = bytearray(disk.read_bytes())
    host = start(device(images))
    with way.connect(host.socket("s"), queues=3) as front:
        scsi = Scsi(front, indirect=way.indirect)
        scsi.settle()
        for lba, blocks, pattern in ((8, 16, b"\0"), (100, 3, b"a"), (2047, 1, b"b")):
            cdb = struct.pack(">BBQIBB", 0x93, 0, lba, blocks, 0, 0)
            assert scsi.do(cdb, data=pattern * 512)[:2] == (0, 0)
            expected[lba * 512:(lba + blocks) * 512] = pattern * 512 * blocks
        ranges = struct.pack(">QII", 512, 64, 0)
        unmap = struct.pack(">HHI", len(ranges) + 6, len(ranges), 0) + ranges
        assert scsi.do(struct.pack(">BB5xHB", 0x42, 0, len(unmap), 0), data=unmap)[:2] == (0, 0)
        for lba in range(0, 2048, 64):
            if lba != 512:
                assert scsi.do(read10(lba, 64), length=32768)[2] == \
                    expected[lba * 512:(lba + 64) * 512]


def test_configuration(start, way, images):
    host = start(device(images, ",num_queues=4"))
    with way.connect(host.socket("s"), queues=6) as front:
        space = front.get_config(0, 36)
        queues, seg_max, sectors, per_lun, info, sense, cdb, channel, target, lun = \
            struct.unpack("<IIIIIIIHHI", space)
        assert (queues, info, sense, cdb, channel) == (4, 16, 96, 32, 0)
        assert 1 <= seg_max <= 126 and sectors and per_lun and target >= 1 and lun < 1 << 14
        # Units come and go, and change. No data both ways, no protection information.
        assert front.features & 15 == 1 << 1 | 1 << 2
        front.set_config(24, struct.pack("<I", 16))
        assert front.get_config(24, 4) == struct.pack("<I", 16)
        front.set_config(0, struct.pack("<I", 99))
        assert front.get_config(0, 4) == space[:4]
    with way.connect(host.socket("s"), queues=6) as front:
        assert front.get_config(0, 36) == space


def test_refusals(start, way, images):
    """Another unit, another target, a place that is not there; and it goes on."""
    host = start(device(images))
    with way.connect(host.socket("s"), queues=3) as front:
        scsi = Scsi(front, indirect=way.indirect)
        scsi.settle()
        for how, expected in (({"target": 9}, (3, 0)), ({"lun": 1}, (0, 0x52500)),
                              ({"target": 255, "lun": 16383}, (3, 0))):
            assert scsi.do(b"\0", **how)[:2] == expected
        for lba in (2048, (1 << 32) - 1):
            assert scsi.do(read10(lba, 1), length=512)[:2] == (0, 0x52100)
        assert scsi.do(write16((1 << 64) - 1, 2), data=bytes(1024))[:2] == (0, 0x52100)
        assert scsi.do(read10(0, 2), length=1023)[0] == 1
        assert scsi.do(read10(0, 1), length=512)[:2] == (0, 0)
    assert not host.qmp().command("x-query-virtio-status",
                                  path="/machine/peripheral/s/virtio-backend")["broken"]


def start_load(qmp, queues, num, **address):
    """Reads on all queues, taken by the device: what still lies in a ring is no function's."""
    def used(queue):
        return queue.front.queues[queue.queue].ring.num_used()

    def taken(queue):
        answered = used(queue) - before[queue.queue]
        return answered + qmp.command("x-query-virtio-queue-status", queue=queue.queue,
                                      path="/machine/peripheral/s/virtio-backend")["inuse"]

    before = {queue.queue: used(queue) for queue in queues}
    flying = [(queue, queue.start(read10(n * 8, 8), tag=n, length=4096, **address))
              for n in range(num) for queue in queues]
    wait_until(lambda: all(taken(queue) >= num for queue in queues), "the commands to be taken")
    return flying


@pytest.mark.parametrize("loops", ["one", "two"])
def test_functions_wait_for_commands(start, way, images, tmp_path, loops):
    """Once a function is answered, the answers of all that it names lie in the rings."""
    hold, folder = tmp_path / "hold", Folder()
    spec = {"driver": "virtio-scsi", "id": "s", "filename": str(images[0]), "aio": "threads",
            "num_queues": 2, "cdrom": str(images[1]), "listen": str(folder.path / "s")}
    arguments = []
    if loops == "two":
        arguments = ["--object", "iothread,id=a", "--object", "iothread,id=b"]
        spec["iothread-vq-mapping"] = [{"iothread": "a"}, {"iothread": "b"}]
    host = start(json.dumps(spec), arguments=arguments, env=slow_disk(100, hold))
    with way.connect(folder.path / "s", queues=4) as front, host.qmp() as qmp:
        queues = [Scsi(front, n, indirect=way.indirect) for n in (2, 3)]
        queues[0].settle((0, 1))
        for function in (ABORT_TASK_SET, I_T_NEXUS_RESET, UNIT_RESET):
            hold.touch()
            flying = start_load(qmp, queues, 16)
            # None of the other target's.
            assert queues[0].task_end(queues[0].task(function, target=1)) == COMPLETE
            waiting = queues[0].task(function)
            asked = queues[0].task(QUERY_TASK_SET)
            answer = queues[0].task_end(asked)
            # Held ones do not move, and neither does what waits for them.
            assert answer == SUCCEEDED and waiting[0] not in front.queues[0].done
            hold.unlink()
            assert queues[0].task_end(waiting) == COMPLETE
            used = [front.queues[queue.queue].ring.num_used() for queue in queues]
            for queue, request in flying:
                assert queue.finish(request)[:2] == (0, 0)
            assert used == [front.queues[queue.queue].ring.num_used() for queue in queues]
            if function != ABORT_TASK_SET:
                for target in (0, 1):
                    assert queues[1].do(b"\0", target=target)[1] in (0x62903, 0x62907)
            assert queues[0].task_end(queues[0].task(QUERY_TASK_SET)) == COMPLETE
        assert queues[0].task_end(queues[0].task(QUERY_TASK, tag=3)) == COMPLETE
    folder.remove()


def test_functions_meet_commands(start, way, images):
    """As above with whatever is in flight just then, on loops of their own."""
    folder = Folder()
    spec = {"driver": "virtio-scsi", "id": "s", "filename": str(images[0]), "aio": "threads",
            "num_queues": 2, "listen": str(folder.path / "s"),
            "iothread-vq-mapping": [{"iothread": "a"}, {"iothread": "b"}]}
    host = start(json.dumps(spec),
                 arguments=["--object", "iothread,id=a", "--object", "iothread,id=b"])
    with way.connect(folder.path / "s", queues=4) as front, host.qmp() as qmp:
        queues = [Scsi(front, n, indirect=way.indirect) for n in (2, 3)]
        queues[0].settle()
        for _ in range(30):
            flying = start_load(qmp, queues, 8)
            tasks = [queues[0].task(function)
                     for function in (ABORT_TASK_SET, UNIT_RESET, QUERY_TASK_SET)]
            answers = [queues[0].task_end(task) for task in tasks]
            used = [front.queues[queue.queue].ring.num_used() for queue in queues]
            assert answers[:2] == [COMPLETE] * 2 and answers[2] in (COMPLETE, SUCCEEDED)
            assert {queue.finish(request)[1] for queue, request in flying} == {0}
            assert used == [front.queues[queue.queue].ring.num_used() for queue in queues]
            assert queues[0].do(b"\0")[1] == 0x62903
    folder.remove()


def test_functions_take_what_lies_in_the_rings(start, way, images):
    """A command that the driver made available first is answered first, though nobody kicked and
    the queue is another loop's."""
    folder = Folder()
    spec = {"driver": "virtio-scsi", "id": "s", "filename": str(images[0]), "num_queues": 2,
            "listen": str(folder.path / "s"),
            "iothread-vq-mapping": [{"iothread": "a"}, {"iothread": "b"}]}
    start(json.dumps(spec), arguments=["--object", "iothread,id=a,poll-max-ns=0",
                                       "--object", "iothread,id=b,poll-max-ns=0"])
    with way.connect(folder.path / "s", queues=4, size=256) as front:
        queues = [Scsi(front, n, indirect=way.indirect) for n in (2, 3)]
        queues[0].settle()
        for function in (ABORT_TASK_SET, UNIT_RESET, I_T_NEXUS_RESET):
            rings = [front.queues[queue.queue].ring for queue in queues]
            before = [ring.num_used() for ring in rings]
            # More than one turn of a queue.
            flying = [(queue, queue.start(read10(n, 1), length=512, kick=False))
                      for n in range(100) for queue in queues]
            assert queues[0].task_end(queues[0].task(function)) == COMPLETE
            assert [ring.num_used() - was for ring, was in zip(rings, before)] == [100, 100]
            for queue, request in flying:
                assert queue.finish(request)[:2] == (0, 0)
            if function != ABORT_TASK_SET:
                assert queues[1].do(b"\0")[1] in (0x62903, 0x62907)
    folder.remove()


def test_functions_wait_for_chains_of_many_pieces(start, way, images, tmp_path):
    """Some thirty of them are taken at a time; the others are taken as those end."""
    hold, folder = tmp_path / "hold", Folder()
    host = start(f"virtio-scsi,id=s,filename={images[0]},aio=threads,listen={folder.path / 's'}",
                 env=slow_disk(100, hold))
    with way.connect(folder.path / "s", queues=3, size=4096) as front, host.qmp() as qmp:
        scsi = Scsi(front, indirect=way.indirect)
        scsi.settle()
        hold.touch()
        flying = [scsi.start(read10(n, 1), length=512, pieces=30, kick=False) for n in range(60)]
        waiting = scsi.task(UNIT_RESET)
        wait_until(lambda: qmp.command("x-query-virtio-queue-status", queue=2,
                                       path="/machine/peripheral/s/virtio-backend")["inuse"],
                   "commands to be taken")
        assert waiting[0] not in front.queues[0].done
        hold.unlink()
        assert scsi.task_end(waiting) == COMPLETE
        assert front.queues[2].ring.num_used() == 61
        for request in flying:
            assert scsi.finish(request)[:2] == (0, 0)
    folder.remove()


RESCAN, REMOVED = 1, 2


def test_units_come_and_go(start, way, images):
    """Several targets and units, each on its image, from the command line and at run time."""
    host = start("virtio-scsi,id=s", f"scsi-hd,bus=s.0,id=hd0,filename={images[0]},serial=A",
                 "scsi-hd,id=hd1,scsi-id=0,lun=5,size=1M,vendor=V,product=P,ver=7,removable=on",
                 f"scsi-cd,id=cd0,scsi-id=7,lun=300,filename={images[1]}")
    with way.connect(host.socket("s"), queues=3) as front, host.qmp() as qmp:
        scsi = Scsi(front, indirect=way.indirect)
        offered = [scsi.offer_event() for _ in range(2)]
        for target, lun in ((0, 0), (0, 5), (7, 300)):
            assert scsi.do(b"\0", target=target, lun=lun)[1] == 0x62900
        assert scsi.do(read10(8, 8), length=4096)[2] == images[0].read_bytes()[4096:8192]
        assert scsi.do(read10(3, 1), target=7, lun=300, length=2048)[2] == \
            images[1].read_bytes()[6144:8192]
        inquiry = scsi.do(b"\x12\0\0\0\x24", lun=5, length=36)[2]
        assert (inquiry[1], inquiry[8:36]) == (0x80, b"V".ljust(8) + b"P".ljust(16) + b"7".ljust(4))
        assert scsi.do(b"\0", target=7)[:2] == (0, 0x52500)
        assert scsi.do(b"\0", target=1)[0] == 3
        # No room for such a number, and none of a name that there is.
        for options in ({"scsi-id": 256}, {"lun": 16384}, {"channel": 1}, {"scsi-id": 0, "lun": 5},
                        {"id": "hd1"}, {"bus": "s.1"}, {"filename": "/nowhere"},
                        {"vendor": "123456789"}):
            options = {"driver": "scsi-hd", "id": "x", "bus": "s.0",
                       **({} if "filename" in options else {"size": 1 << 20}), **options}
            assert "error" in qmp.execute("device_add", options), options
        qmp.command("device_add", driver="scsi-hd", id="hd2", bus="s.0", size=1 << 20, lun=2,
                    **{"scsi-id": 1})
        assert scsi.event(offered[0]) == (1, 1, 2, RESCAN)
        assert scsi.do(b"\0", target=1, lun=2)[1] == 0x62900
        place = [qmp.command("qom-get", path="/machine/peripheral/hd2", property=name)
                 for name in ("channel", "scsi-id", "lun", "size")]
        assert place == [0, 1, 2, 1 << 20]
        assert {entry["name"]: entry["type"] for entry in
                qmp.command("qom-list", path="/machine/peripheral")} == {
                    "type": "string", "s": "child<virtio-scsi>", "hd0": "child<scsi-hd>",
                    "hd1": "child<scsi-hd>", "hd2": "child<scsi-hd>", "cd0": "child<scsi-cd>"}
        assert qmp.command("x-query-virtio-status", path="/machine/peripheral/s/virtio-backend"
                           )["bus-name"] == "s.0"
        qmp.command("device_del", id="hd2")
        gone = qmp.event("DEVICE_DELETED")["data"]
        assert gone == {"device": "hd2", "path": "/machine/peripheral/hd2"}
        assert scsi.do(b"\0", target=1, lun=2)[0] == 3
        assert scsi.event(offered[1]) == (1, 1, 2, REMOVED)
        names = {entry["name"] for entry in qmp.command("qom-list-properties", typename="scsi-hd")}
        assert names >= {"bus", "channel", "scsi-id", "lun", "filename", "serial", "removable"}
        # The host takes all of them along, also one that is about to go.
        qmp.command("device_del", id="hd1")
        qmp.command("device_del", id="s")
        gone = [qmp.event("DEVICE_DELETED")["data"]["path"].removeprefix("/machine/peripheral/")
                for _ in range(5)]
        assert sorted(gone) == ["cd0", "hd0", "hd1", "s", "s/virtio-backend"]
        assert gone[3:] == ["s/virtio-backend", "s"]


@pytest.mark.parametrize("loops", ["one", "two"])
def test_a_unit_goes_while_commands_are_out(start, way, images, tmp_path, loops):
    """They are answered first; its neighbours hear nothing of it."""
    hold, folder = tmp_path / "hold", Folder()
    spec = {"driver": "virtio-scsi", "id": "s", "num_queues": 3, "listen": str(folder.path / "s")}
    arguments = []
    if loops == "two":
        arguments = ["--object", "iothread,id=a", "--object", "iothread,id=b"]
        spec["iothread-vq-mapping"] = [{"iothread": "a"}, {"iothread": "b"}]
    host = start(json.dumps(spec),
                 f"scsi-hd,id=hd0,scsi-id=3,lun=2,filename={images[0]},aio=threads",
                 f"scsi-cd,id=cd0,filename={images[1]}", "scsi-hd,id=hd1,size=1M,scsi-id=3",
                 arguments=arguments, env=slow_disk(100, hold))
    with way.connect(folder.path / "s", queues=5) as front, host.qmp() as qmp:
        *queues, other = (Scsi(front, n, indirect=way.indirect) for n in (2, 3, 4))
        place = {"target": 3, "lun": 2}
        for address in ({}, place, {"target": 3}):
            assert other.do(b"\0", **address)[1] == 0x62900
        for _ in range(3):
            hold.touch()
            flying = start_load(qmp, queues, 16, **place)
            said = {request["description"] for request in qmp.command(
                "query-virtqueue-inflight", path="/machine/peripheral/s/virtio-backend")}
            assert said <= {f"READ(10) 8 blocks at {n * 8} on target 3 lun 2" for n in range(16)}
            qmp.command("device_del", id="hd0")
            # It finds no new ones, and the others work.
            wait_until(lambda: other.do(b"\0", **place)[1] == 0x52500, "the unit to be gone")
            assert other.do(b"\0", target=3)[1] in (0, 0x63f0e)
            hold.unlink()
            qmp.event("DEVICE_DELETED")
            used = [front.queues[queue.queue].ring.num_used() for queue in queues]
            assert {queue.finish(request)[:2] for queue, request in flying} == {(0, 0)}
            assert used == [front.queues[queue.queue].ring.num_used() for queue in queues]
            qmp.command("device_add", driver="scsi-hd", id="hd0", filename=str(images[0]),
                        aio="threads", lun=2, **{"scsi-id": 3})
            wait_until(lambda: other.do(b"\0", **place)[1] == 0x62900, "the unit to be there")
    folder.remove()


def test_units_change_while_commands_come(start, way, images):
    """Whatever is in flight, on loops of their own, with functions and pauses among it: a command
    is served whole or finds no unit, and neighbours notice nothing."""
    folder, data = Folder(), images[0].read_bytes()
    spec = {"driver": "virtio-scsi", "id": "s", "num_queues": 2, "listen": str(folder.path / "s"),
            "iothread-vq-mapping": [{"iothread": "a"}, {"iothread": "b"}]}
    unit = {"driver": "scsi-hd", "id": "hd0", "filename": str(images[0]), "scsi-id": 5, "lun": 0}
    host = start(json.dumps(spec), "scsi-hd,id=hd1,size=1M,scsi-id=0",
                 f"scsi-hd,id=hd0,scsi-id=5,filename={images[0]}",
                 arguments=["--object", "iothread,id=a", "--object", "iothread,id=b"])
    with way.connect(folder.path / "s", queues=4) as front, host.qmp() as qmp:
        queues = [Scsi(front, n, indirect=way.indirect) for n in (2, 3)]
        queues[0].settle()
        offered = [queues[0].offer_event() for _ in range(40)]
        for turn in range(20):
            wait_until(lambda: queues[0].do(b"\0", target=5)[1] == 0x62900, "the unit to be there")
            flying = [(queue, queue.start(read10(n * 8, 8), target=target, length=4096), target, n)
                      for n in range(8) for queue in queues for target in (0, 5)]
            task = queues[0].task(ABORT_TASK_SET) if turn % 3 == 0 else None
            if turn % 4 == 1:
                qmp.command("stop")
            qmp.command("device_del", id="hd0")
            if turn % 4 == 1:
                qmp.command("cont")
            for queue, request, target, n in flying:
                response, code, got = queue.finish(request)
                assert (response, code) == (0, 0) or (target, response, code) == (5, 3, 0)
                assert code or target == 0 or response or got == data[n * 4096:(n + 1) * 4096]
            assert not task or queues[0].task_end(task) == COMPLETE
            qmp.event("DEVICE_DELETED")
            assert queues[1].do(b"\0", target=5)[0] == 3
            qmp.command("device_add", **unit)
        assert [queues[0].event(buffer) for buffer in offered] == [
            (1, 5, 0, REMOVED), (1, 5, 0, RESCAN)] * 20
    folder.remove()
