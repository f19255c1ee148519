# SPDX-License-Identifier: BSD-3-Clause
"""Several loops at work at the same time, while others look at everything and change what may
change at run time. Answers are right, nobody waits for ever; ThreadSanitizer judges the rest."""
import json
import random
import struct
import threading
import time

from lib.qmp import QmpError
from lib.ringside import Folder
from lib.vhost_user import Front, Req
from lib.virtio import BLK_S_OK, BLK_T_IN, BLK_T_OUT, SECTOR, Blk, rng_read

MIB = 1 << 20
QUEUES = 4
ROUNDS = 40
DEPTH = 6
BACKEND = "/machine/peripheral/{}/virtio-backend"


class Crew:
    """Threads that start together; what one of them raises fails the test."""

    def __init__(self):
        self.threads, self.errors, self.over = [], [], threading.Event()

    def add(self, function, *args):
        def run():
            try:
                function(*args)
            except BaseException as error:
                self.errors.append(error)
                self.over.set()

        self.threads.append(threading.Thread(target=run))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]


def drive_disk(crew, front, indirect, seed):
    """Writes and reads back on every queue, some requests at once; now and then the front-end swaps
    what belongs to a running queue."""
    rng = random.Random(seed)
    disks = [Blk(front, n, indirect=indirect) for n in range(QUEUES)]
    region = front.memory.regions[0]
    for turn in range(ROUNDS):
        # A part of the disk for each queue: no two requests in flight touch the same sectors.
        plan = [(disk, n * 256 + k * 8, rng.randbytes(rng.choice((1, 8)) * SECTOR))
                for n, disk in enumerate(disks) for k in range(DEPTH)]
        for kind in (BLK_T_OUT, BLK_T_IN):
            flying = [disk.start(kind, sector, data if kind == BLK_T_OUT else b"",
                                 length=len(data) if kind == BLK_T_IN else 0)
                      for disk, sector, data in plan]
            for (disk, _, data), request in zip(plan, flying):
                status, got, _ = disk.finish(request)
                assert status == BLK_S_OK
                assert kind == BLK_T_OUT or got == data
        if turn % 8 == 3:
            queue = front.queues[turn % QUEUES]
            front.set_vring_call(queue.index, queue.call_fd)
            front.set_vring_kick(queue.index, queue.kick_fd)
        if turn % 8 == 7:
            front.set(Req.SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, region.gpa, region.size,
                                                     region.user, region.mmap_offset), [region.fd])
        if crew.over.is_set():
            return


def drive_rng(crew, front):
    gpa = front.memory.alloc(100)
    while not crew.over.is_set():
        assert 0 < front.request(0, [(gpa, 100, True)]).len <= 100


def look(crew, qmp, devices):
    """Every query about every device and queue, again and again."""
    while not crew.over.is_set():
        assert len(qmp.command("x-query-virtio")) >= len(devices)
        qmp.command("query-iothreads")
        for name, queues in devices.items():
            path = BACKEND.format(name)
            assert not qmp.command("x-query-virtio-status", path=path)["broken"]
            qmp.command("query-virtio-sources", path=path)
            for member in qmp.command("qom-list", path=path):
                if not member["type"].startswith(("child<", "link<")):
                    qmp.command("qom-get", path=path, property=member["name"])
            for queue in range(queues):
                status = qmp.command("x-query-virtio-queue-status", path=path, queue=queue)
                assert status["inuse"] <= status["vring-num"]
                for index in (None, 0, 5):
                    given = {} if index is None else {"index": index}
                    try:
                        qmp.command("x-query-virtio-queue-element", path=path, queue=queue, **given)
                    except QmpError:
                        pass  # what a driver has not filled has no element


def change(crew, qmp, folder):
    """Objects and devices come, are used, and go, while the others work on the same loops."""
    number = 0
    while not crew.over.is_set():
        number += 1
        qmp.command("object-add", **{"qom-type": "iothread", "id": f"new{number}"})
        for thread in (f"new{number}", "io0"):
            sock = folder / f"{thread}-{number}.sock"
            qmp.command("device_add", driver="virtio-rng", id="guest", iothread=thread,
                        listen=str(sock))
            with Front(sock) as front:
                assert rng_read(front, 16)
            qmp.command("device_del", id="guest")
            while qmp.event("DEVICE_DELETED")["data"].get("device") != "guest":
                pass
        qmp.command("object-del", id=f"new{number}")


def stop_and_go(crew, qmp):
    while not crew.over.is_set():
        qmp.command("stop")
        qmp.command("cont")
        time.sleep(0.01)


def test_many_loops(start, way, tmp_path):
    image, spread, folder = tmp_path / "image", tmp_path / "spread", Folder()
    for path in (image, spread):
        path.write_bytes(bytes(MIB))
    sock = folder.path / "spread.sock"
    mapped = json.dumps({
        "driver": "virtio-blk", "id": "spread", "filename": str(spread), "num-queues": QUEUES,
        "listen": str(sock),
        "iothread-vq-mapping": [{"iothread": f"io{n}"} for n in range(3)]})
    host = start(f"virtio-blk,id=plain,filename={image},num-queues={QUEUES}", mapped,
                 "virtio-rng,id=r0,iothread=io0", "virtio-rng,id=r1,iothread=io1",
                 arguments=[word for n in range(3) for word in
                            ("--object", f"iothread,id=io{n},poll-max-ns={n * 20000}")])
    crew = Crew()
    fronts = {}
    try:
        for name, path, queues in (("plain", host.socket("plain"), QUEUES),
                                   ("spread", sock, QUEUES), ("r0", host.socket("r0"), 1),
                                   ("r1", host.socket("r1"), 1)):
            fronts[name] = way.connect(path, queues=queues)
        devices = {name: len(front.queues) for name, front in fronts.items()}
        for name in ("r0", "r1"):
            crew.add(drive_rng, crew, fronts[name])
        for _ in range(2):
            crew.add(look, crew, host.qmp(), devices)
        crew.add(change, crew, host.qmp(), host.folder.path)
        crew.add(stop_and_go, crew, host.qmp())
        with crew:
            drivers = Crew()
            for seed, name in enumerate(("plain", "spread")):
                drivers.add(drive_disk, crew, fronts[name], way.indirect, seed)
            with drivers:
                for thread in drivers.threads:
                    thread.join()
    finally:
        for front in fronts.values():
            front.close()
        folder.remove()
