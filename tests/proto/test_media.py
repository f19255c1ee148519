# SPDX-License-Identifier: BSD-3-Clause
"""Disks that get another size and CD-ROMs that get another medium, by the monitor's commands."""
import json
import os
import random
import struct
import threading

import pytest

from lib.process import wait_until
from lib.ringside import Folder, serve
from lib.slow_disk import slow_disk
from lib.vhost_user import BackendReq, Front
from lib.virtio import BLK_S_IOERR, BLK_S_OK, BLK_T_OUT, Blk, SECTOR, Scsi

MIB = 1 << 20
UNIT_CHANGED, MEDIUM_CHANGED = 0x62a09, 0x62800
NO_MEDIUM, TRAY_OPEN = 0x23a01, 0x23a02
TEST_READY, CAPACITY = b"\0", b"\x25"


def read10(lba, blocks):
    return struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)


def write10(lba, blocks):
    return struct.pack(">BBIBHB", 0x2a, 0, lba, 0, blocks, 0)


def last_block(scsi, **where):
    return struct.unpack(">II", scsi.do(CAPACITY, length=8, **where)[2])[0]


def make(path, size, seed=1):
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def open_files(host):
    folder = f"/proc/{host.process.pid}/fd"
    return [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]


class Later:
    """A command on a connection of its own, whose reply is not waited for."""

    def __init__(self, host, name, **arguments):
        self.reply, self.done = None, threading.Event()

        def run():
            with host.qmp() as qmp:
                self.reply = qmp.execute(name, arguments)
            self.done.set()

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def finish(self):
        self.thread.join()
        return self.reply


def wait_changing(qmp, name):
    """By a command that is refused in any case."""
    wait_until(lambda: "is being changed" in qmp.error("block_resize", device=name, size=513)[1],
               "the wait")


def test_blk(tmp_path):
    """The driver is told, and finds another capacity; requests know the new end."""
    image = make(tmp_path / "disk", MIB)
    with serve(tmp_path, f"virtio-blk,id=d,filename={image}") as host, host.qmp() as qmp, \
            Front(host.socket("d")) as front:
        channel, disk = front.set_backend_req_fd(), Blk(front)
        for size in (2 * MIB, MIB // 2, 3 * MIB):
            before = min(disk.capacity() * SECTOR, size) - SECTOR
            kept = disk.read(before // SECTOR, SECTOR)
            qmp.command("block_resize", device="d", size=size)
            assert channel.recv()[0] == BackendReq.CONFIG_CHANGE_MSG
            assert image.stat().st_size == size and disk.capacity() == size // SECTOR
            assert disk.do(BLK_T_OUT, size // SECTOR, bytes(SECTOR))[0] == BLK_S_IOERR
            assert disk.do(BLK_T_OUT, size // SECTOR - 1, bytes(2 * SECTOR))[0] == BLK_S_IOERR
            assert disk.read(before // SECTOR, SECTOR) == kept
            disk.write(size // SECTOR - 1, b"x" * SECTOR)
            assert image.stat().st_size == size
        # By its path; and once more the same is no news.
        qmp.command("block_resize", device="/machine/peripheral/d", size=3 * MIB)
        front.sync()
        assert channel.silent()


REFUSED = [
    ("block_resize", {"device": "none", "size": 512}, "DeviceNotFound", "Device 'none' not found"),
    ("block_resize", {"device": "rng", "size": 512}, "GenericError", "'rng' is no disk"),
    ("block_resize", {"device": "cd", "size": 512}, "GenericError", "cd is a CD-ROM"),
    ("block_resize", {"device": "bare", "size": 512}, "GenericError", "'bare' is no disk"),
    ("block_resize", {"device": "d", "size": 0}, "GenericError", "'size' expects a >0 size"),
    ("block_resize", {"device": "d", "size": -512}, "GenericError", "'size' expects a >0 size"),
    ("block_resize", {"device": "d", "size": 513}, "GenericError", "a multiple of 512"),
    ("block_resize", {"device": "big", "size": MIB + 512}, "GenericError", "multiple of 4096"),
    ("block_resize", {"device": "hd", "size": 513}, "GenericError", "a multiple of 512"),
    ("block_resize", {"device": "ro", "size": MIB}, "GenericError", "is read-only"),
    ("block_resize", {"size": 512}, "GenericError", "'device' is missing"),
    ("block_resize", {"device": "d", "node-name": "n", "size": 512}, "GenericError", "node-name"),
    ("eject", {}, "GenericError", "Need exactly one of 'device' and 'id'"),
    ("eject", {"device": "cd", "id": "cd"}, "GenericError", "Need exactly one"),
    ("eject", {"id": "none"}, "DeviceNotFound", "Device 'none' not found"),
    ("eject", {"id": "d"}, "GenericError", "Device 'd' is not removable"),
    ("eject", {"id": "hd", "force": True}, "GenericError", "Device 'hd' is not removable"),
    ("eject", {"id": "bare"}, "GenericError", "Device 'bare' is not removable"),
    ("blockdev-change-medium", {"id": "hd", "filename": "{d}/cd"}, "GenericError",
     "Device 'hd' is not removable"),
    ("blockdev-change-medium", {"id": "cd", "filename": "{d}/nosuch"}, "GenericError", "nosuch"),
    ("blockdev-change-medium", {"id": "cd", "filename": "{d}"}, "GenericError", "neither"),
    ("blockdev-change-medium", {"id": "cd", "filename": "{d}/none"}, "GenericError", "has 0 bytes"),
    ("blockdev-change-medium", {"id": "cd", "filename": "{d}/cd", "format": "qcow2"},
     "GenericError", "Unknown driver 'qcow2'"),
    ("blockdev-change-medium", {"id": "cd", "filename": "{d}/disk"}, "GenericError", "cannot lock"),
    ("blockdev-change-medium", {"id": "cd"}, "GenericError", "'filename' is missing"),
    ("blockdev-open-tray", {"id": "hd"}, "GenericError", "Device 'hd' is not removable"),
    ("blockdev-close-tray", {"id": "none"}, "DeviceNotFound", "Device 'none' not found"),
]


def test_refused(tmp_path):
    """Each in its words, and nothing has changed."""
    image = make(tmp_path / "disk", MIB)
    other = make(tmp_path / "other", MIB)
    disc = make(tmp_path / "cd", 65536)
    (tmp_path / "none").touch()
    with serve(tmp_path, f"virtio-blk,id=d,filename={image}", "virtio-rng,id=rng",
               "virtio-blk,id=big,size=1M,logical_block_size=4096", "virtio-scsi,id=bare",
               f"scsi-hd,id=hd,bus=bare.0,filename={other}", f"scsi-cd,id=cd,bus=bare.0,"
               f"filename={disc}", f"virtio-scsi,id=s1,cdrom={disc}",
               f"virtio-blk,id=ro,read-only=on,filename={disc}") as host, host.qmp() as qmp:
        for name, arguments, kind, sentence in REFUSED:
            given = {key: value.format(d=tmp_path) if isinstance(value, str) else value
                     for key, value in arguments.items()}
            assert qmp.execute(name, given)["error"]["class"] == kind, (name, arguments)
            assert sentence in qmp.execute(name, given)["error"]["desc"], (name, arguments)
        assert image.stat().st_size == other.stat().st_size == MIB
        with Front(host.socket("bare"), queues=3) as front:
            scsi = Scsi(front)
            scsi.settle((0, 1))
            assert scsi.do(TEST_READY, target=1)[:2] == (0, 0)
            assert last_block(scsi) == MIB // SECTOR - 1


@pytest.mark.parametrize("kind", ["virtio-blk", "virtio-scsi"])
def test_cut_waits_for_requests(tmp_path, kind):
    """Writes in flight behind the new end are answered first, and do not make it large again. The
    monitor, and other disks of the host, go on meanwhile."""
    image, hold = make(tmp_path / "disk", MIB), tmp_path / "hold"
    blk = kind == "virtio-blk"
    devices = [f"virtio-blk,id=d,filename={image},aio=threads"] if blk else [
        "virtio-scsi,id=s,num_queues=2", f"scsi-hd,id=d,filename={image},aio=threads",
        "scsi-hd,id=other,size=1M,scsi-id=1"]
    with serve(tmp_path, *devices, env=slow_disk(100, hold)) as host, host.qmp() as qmp, \
            Front(host.socket("d" if blk else "s"), queues=1 if blk else 4) as front:
        unit = Blk(front) if blk else Scsi(front)
        # What is waited for goes by a queue of its own: heads are used again.
        other = None if blk else Scsi(front, 3)
        if not blk:
            unit.settle((0, 1))
        for size in (MIB // 2, MIB // 4):
            hold.touch()
            first = 2 * size // SECTOR - 32
            flying = [unit.start(BLK_T_OUT, first + n, b"n" * SECTOR) if blk else
                      unit.start(write10(first + n, 1), data=b"n" * SECTOR) for n in range(32)]
            path = f"/machine/peripheral/{'d' if blk else 's'}/virtio-backend"
            # A quarter of them stays: the chance that none does is one in ten thousand.
            wait_until(lambda: qmp.command("query-virtqueue-inflight", path=path),
                       "writes to stay")
            later = Later(host, "block_resize", device="d", size=size)
            if not blk:
                wait_until(lambda: last_block(other) == size // SECTOR - 1, "the new end")
                assert other.do(read10(size // SECTOR, 1), length=512)[:2] == (0, 0x52100)
                assert other.do(write10(0, 8), target=1, data=bytes(4096))[:2] == (0, 0)
            wait_changing(qmp, "d")
            assert "is being changed" in qmp.error("block_resize", device="d", size=512)[1]
            assert image.stat().st_size == 2 * size and not later.done.is_set()
            hold.unlink()
            assert later.finish()["return"] == {}
            for request in flying:
                answer = unit.finish(request)
                assert answer[0] in (BLK_S_OK, BLK_S_IOERR) if blk else \
                    answer[:2] in ((0, 0), (0, 0x52100), (0, UNIT_CHANGED))
            assert image.stat().st_size == size
            if not blk:
                unit.do(TEST_READY)
                assert unit.do(TEST_READY)[:2] == (0, 0)


def test_scsi(tmp_path):
    """READ CAPACITY, a unit attention, an event; of a host's own disk as well."""
    image, own = make(tmp_path / "disk", MIB), make(tmp_path / "own", MIB)
    with serve(tmp_path, f"virtio-scsi,id=s,filename={own}",
               f"scsi-hd,id=hd,scsi-id=9,lun=300,filename={image},logical_block_size=4096"
               ) as host, host.qmp() as qmp, Front(host.socket("s"), queues=3) as front:
        scsi, there = Scsi(front), {"target": 9, "lun": 300}
        scsi.settle()
        assert scsi.do(TEST_READY, **there)[1] == 0x62900
        offered = scsi.offer_event()
        qmp.command("block_resize", device="hd", size=2 * MIB)
        assert scsi.event(offered) == (3, 9, 300, 0x092a)
        assert scsi.do(TEST_READY)[:2] == (0, 0)
        assert scsi.do(TEST_READY, **there)[:2] == (0, UNIT_CHANGED)
        assert last_block(scsi, **there) == 2 * MIB // 4096 - 1
        assert scsi.do(write10(511, 1), data=b"y" * 4096, **there)[:2] == (0, 0)
        assert image.stat().st_size == 2 * MIB and image.read_bytes().endswith(b"y" * 4096)
        assert "multiple of 4096" in qmp.error("block_resize", device="hd", size=MIB + 512)[1]
        qmp.command("block_resize", device="s", size=MIB * 2)
        assert scsi.do(TEST_READY)[:2] == (0, UNIT_CHANGED)
        assert last_block(scsi) == 2 * MIB // SECTOR - 1 and own.stat().st_size == 2 * MIB


def test_cd(tmp_path):
    """Out, in again, by the driver too; the door; what the monitor is told."""
    first, second = make(tmp_path / "one", 64 << 10), make(tmp_path / "two", 128 << 10, 2)
    with serve(tmp_path, "virtio-scsi,id=s", f"scsi-cd,id=cd,filename={first}") as host, \
            host.qmp() as qmp, Front(host.socket("s"), queues=3) as front:
        scsi = Scsi(front)
        scsi.settle()

        def told(is_open):
            while True:
                data = qmp.event("DEVICE_TRAY_MOVED")["data"]
                assert (data["device"], data["id"]) == ("cd", "/machine/peripheral/cd")
                if data["tray-open"] == is_open:
                    return

        def holds(image):
            data = image.read_bytes()
            assert last_block(scsi) == len(data) // 2048 - 1
            assert scsi.do(read10(3, 5), length=10240)[2] == data[6144:16384]

        holds(first)
        qmp.command("eject", id="cd")
        told(True)
        assert scsi.do(TEST_READY)[:2] == (0, TRAY_OPEN)
        # Nobody holds it any more.
        assert str(first) not in open_files(host)
        qmp.command("eject", device="cd")
        qmp.command("blockdev-change-medium", id="cd", filename=str(second), format="raw")
        told(False)
        assert scsi.do(TEST_READY)[:2] == (0, MEDIUM_CHANGED)
        holds(second)
        assert scsi.do(b"\x1e\0\0\0\1")[:2] == (0, 0)
        for name, more in (("eject", {}), ("blockdev-open-tray", {}),
                           ("blockdev-change-medium", {"filename": str(first)})):
            assert "is locked and force was not specified" in qmp.error(name, id="cd", **more)[1]
        holds(second)
        assert scsi.do(b"\x1e")[:2] == (0, 0)
        assert scsi.do(b"\x1b\0\0\0\2")[:2] == (0, 0)
        told(True)
        qmp.command("blockdev-close-tray", id="cd")
        told(False)
        assert scsi.do(TEST_READY)[:2] == (0, MEDIUM_CHANGED)
        holds(second)
        assert scsi.do(b"\x1e\0\0\0\1")[:2] == (0, 0)
        qmp.command("blockdev-change-medium", id="cd", filename=str(first), force=True)
        assert scsi.do(TEST_READY)[:2] == (0, MEDIUM_CHANGED)
        holds(first)
        assert not qmp.command("x-query-virtio-status",
                               path="/machine/peripheral/s/virtio-backend")["broken"]


@pytest.mark.parametrize("command", ["resize", "eject"])
def test_removed_meanwhile(tmp_path, command):
    """A unit that is to go while it changes goes when that is through; so does the host."""
    image, hold = make(tmp_path / "disk", MIB), tmp_path / "hold"
    kind = "scsi-hd" if command == "resize" else "scsi-cd"
    name, arguments = ("block_resize", {"device": "u", "size": 4096}) if command == "resize" else \
        ("eject", {"id": "u"})
    for gone in ("u", "s"):
        with serve(tmp_path, "virtio-scsi,id=s", f"{kind},id=u,filename={image},aio=threads",
                   env=slow_disk(100, hold)) as host, host.qmp() as qmp, \
                Front(host.socket("s"), queues=3) as front:
            scsi = Scsi(front)
            scsi.settle()
            hold.touch()
            flying = [scsi.start(read10(n, 1), length=2048) for n in range(40)]
            path = "/machine/peripheral/s/virtio-backend"
            wait_until(lambda: qmp.command("query-virtqueue-inflight", path=path), "reads to stay")
            later = Later(host, name, **arguments)
            wait_changing(qmp, "u")
            qmp.command("device_del", id=gone)
            assert "already in the process of unplug" in qmp.error(name, **arguments)[1]
            hold.unlink()
            assert later.finish()["return"] == {}
            while qmp.event("DEVICE_DELETED")["data"].get("device") != gone:
                pass
            if gone == "u":
                for request in flying:
                    assert scsi.finish(request)[0] in (0, 3)
                assert scsi.do(TEST_READY)[0] == 3
            assert image.stat().st_size == (4096 if command == "resize" else MIB)
        make(image, MIB)


def test_several_loops(tmp_path):
    """Commands on queues of two threads meanwhile: each finds the one or the other, or neither."""
    image, folder = make(tmp_path / "disk", MIB), Folder()
    discs = [make(tmp_path / f"cd{n}", 64 << 10, n) for n in range(2)]
    spec = {"driver": "virtio-scsi", "id": "s", "num_queues": 3, "listen": str(folder.path / "s"),
            "iothread-vq-mapping": [{"iothread": "a"}, {"iothread": "b"}]}
    with serve(tmp_path, json.dumps(spec), f"scsi-hd,id=d,scsi-id=0,filename={image}",
               f"scsi-cd,id=cd,scsi-id=1,filename={discs[0]}",
               arguments=["--object", "iothread,id=a", "--object", "iothread,id=b"]) as host, \
            host.qmp() as qmp, Front(folder.path / "s", queues=5) as front:
        queues = [Scsi(front, n) for n in (2, 3, 4)]
        queues[0].settle((0, 1))
        contents = [disc.read_bytes()[6144:8192] for disc in discs]
        for turn in range(40):
            size = MIB // 2 if turn % 2 else MIB
            later = [Later(host, "block_resize", device="d", size=size),
                     Later(host, "blockdev-change-medium", id="cd",
                           filename=str(discs[turn % 2]))]
            for _ in range(4):
                flying = [(queue, queue.start(write10(1100 + n, 8), data=bytes(4096)),
                           queue.start(read10(3, 1), target=1, length=2048))
                          for n, queue in enumerate(queues)]
                for queue, write, read in flying:
                    assert queue.finish(write)[:2] in ((0, 0), (0, 0x52100), (0, UNIT_CHANGED))
                    response, code, data = queue.finish(read)
                    assert response == 0 and code in (0, TRAY_OPEN, NO_MEDIUM, MEDIUM_CHANGED)
                    assert code or data in contents
            assert all("return" in change.finish() for change in later)
            assert image.stat().st_size == size
            for target in (0, 1):
                queues[0].do(TEST_READY, target=target)
            assert last_block(queues[1]) == size // SECTOR - 1
            assert queues[2].do(read10(3, 1), target=1, length=2048)[2] == contents[turn % 2]
        assert not qmp.command("x-query-virtio-status",
                               path="/machine/peripheral/s/virtio-backend")["broken"]
    folder.remove()
