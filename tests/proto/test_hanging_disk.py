# SPDX-License-Identifier: BSD-3-Clause
"""Storage that hangs: the image lies on a file system that is frozen while requests are out. The
device on it waits; the monitor and the other devices go on; nothing is lost when it thaws."""
import os
import shutil
import struct
import subprocess

import pytest

from lib.process import wait_until
from lib.ringside import binary, serve
from lib.vhost_user import Front, Req
from lib.virtio import BLK_S_OK, BLK_T_OUT, Blk

NEEDS = ("unshare", "nsenter", "losetup", "mount", "mkfs.ext4", "fsfreeze")
SIZE = 1 << 20
BACKEND = "/machine/peripheral/{}/virtio-backend"


class Frozen:
    """A file system in the program's own mount namespace: it goes when the program goes."""

    def __init__(self, folder, host):
        self.folder, self.pid = folder, host.process.pid

    def _fsfreeze(self, how):
        subprocess.run(["nsenter", "-t", str(self.pid), "-m", "fsfreeze", how, str(self.folder)],
                       check=True)

    def __enter__(self):
        self._fsfreeze("--freeze")
        return self

    def __exit__(self, *exc):
        self.thaw()

    def thaw(self):
        if self.pid:
            self._fsfreeze("--unfreeze")
        self.pid = None


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the program will have the file system mounted; it makes `disk.img` there."""
    if os.geteuid():
        pytest.skip("a file system to freeze needs root")
    missing = [tool for tool in NEEDS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    image, mounted = tmp_path / "fs", tmp_path / "mounted"
    mounted.mkdir()
    with image.open("wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    mount = f"mount -o loop {image} {mounted}"
    tried = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, text=True,
                           check=False)
    if tried.returncode:
        pytest.skip(f"cannot mount here: {tried.stderr.strip()}")
    wrapper = tmp_path / "ringside-with-a-mount"
    wrapper.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{mount} && "
                       f"truncate -s {SIZE} {mounted}/disk.img && exec {binary()} \"$@\"' sh "
                       "\"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("RINGSIDE_BIN", str(wrapper))
    return mounted


def inuse(qmp, device):
    return qmp.command("x-query-virtio-queue-status", path=BACKEND.format(device), queue=0)["inuse"]


@pytest.mark.parametrize("aio", ["auto", "threads"])
def test_unplug_waits_for_it(tmp_path, folder, aio):
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={folder}/disk.img,aio={aio}",
               "virtio-blk,id=disk1,size=1M") as host:
        qmp = host.qmp()
        with Front(host.socket("disk0")) as front, Front(host.socket("disk1")) as other:
            disk, bystander = Blk(front), Blk(other)
            disk.write(0, b"before" + bytes(506))
            with Frozen(folder, host) as frozen:
                request = disk.start(BLK_T_OUT, 8, b"during" + bytes(506))
                wait_until(lambda: inuse(qmp, "disk0") == 1, "the request")
                assert qmp.command("device_del", id="disk0") == {}
                assert qmp.error("device_del", id="disk0") == (
                    "GenericError", "Device disk0 is already in the process of unplug")
                for sector in range(20):
                    bystander.write(sector, bytes(512))
                    assert inuse(qmp, "disk0") == 1
                assert not [e for e in qmp.events if e["event"] == "DEVICE_DELETED"]
                frozen.thaw()
                # What the device had taken is answered before it goes.
                assert disk.finish(request)[0] == BLK_S_OK
            assert qmp.event("DEVICE_DELETED")["data"] == {"path": BACKEND.format("disk0")}
            assert qmp.event("DEVICE_DELETED")["data"]["device"] == "disk0"


def test_only_its_ring_and_its_front_end_wait(tmp_path, folder):
    """GET_VRING_BASE is answered when the ring's requests are; the disk's other ring goes on."""
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={folder}/disk.img,num-queues=2",
               "virtio-blk,id=disk1,size=1M") as host:
        qmp = host.qmp()
        with Front(host.socket("disk0"), queues=2) as front, Front(host.socket("disk1")) as other:
            disk = Blk(front, 0)
            with Frozen(folder, host) as frozen:
                request = disk.start(BLK_T_OUT, 8, bytes(512))
                wait_until(lambda: inuse(qmp, "disk0") == 1, "the request")
                front.send(Req.GET_VRING_BASE, struct.pack("<II", 0, 0))
                for _ in range(20):
                    # Needs no storage.
                    Blk(front, 1).get_id()
                    Blk(other).read(0, 512)
                    other.sync()
                assert front.silent() and inuse(qmp, "disk0") == 1
                frozen.thaw()
                assert struct.unpack("<II", front.reply(Req.GET_VRING_BASE)) == (0, 1)
            assert disk.finish(request)[0] == BLK_S_OK
            # A place to go on from.
            front.start_queue(0, 1)
            assert disk.read(0, 512) == bytes(512)


def test_stop_waits_for_it(tmp_path, folder):
    """`stop` is answered when the disk is quiet; meanwhile another client is served."""
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={folder}/disk.img") as host:
        qmp, watcher = host.qmp(), host.qmp()
        with Front(host.socket("disk0")) as front:
            disk = Blk(front)
            with Frozen(folder, host) as frozen:
                request = disk.start(BLK_T_OUT, 8, bytes(512))
                wait_until(lambda: inuse(watcher, "disk0") == 1, "the request")
                qmp.raw(b'{"execute": "stop", "id": 7}\n')
                for _ in range(20):
                    assert inuse(watcher, "disk0") == 1
                frozen.thaw()
                assert qmp.reply() == {"return": {}, "id": 7}
                assert disk.finish(request)[0] == BLK_S_OK
            assert watcher.command("query-status")["running"] is False
            assert qmp.command("cont") == {}
            assert disk.read(0, 512) == bytes(512)
