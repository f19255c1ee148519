# SPDX-License-Identifier: BSD-3-Clause
"""A file system in memory without room for all of its image: a write that finds none fails with an
error status, by itself, and works again once there is room. Requests small enough to be carried out
at once, larger ones, and the engine by name."""
import os
import shutil
import subprocess

import pytest

from lib.ringside import binary, serve
from lib.vhost_user import Front
from lib.virtio import BLK_S_IOERR, BLK_S_OK, BLK_T_DISCARD, BLK_T_OUT, Blk

IMAGE = 4 << 20
ROOM = 1 << 20
UNSHARE = "unshare -m" if not os.geteuid() else "unshare -rm"


@pytest.fixture
def image(tmp_path, monkeypatch):
    """In the program's own mount namespace, which makes it and goes with it."""
    if not shutil.which("unshare"):
        pytest.skip("missing: unshare")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    mount = f"mount -t tmpfs -o size={ROOM} none {mounted}"
    tried = subprocess.run([*UNSHARE.split(), "sh", "-c", mount], capture_output=True, text=True,
                           check=False)
    if tried.returncode:
        pytest.skip(f"cannot mount here: {tried.stderr.strip()}")
    wrapper = tmp_path / "ringside-with-a-mount"
    wrapper.write_text(f"#!/bin/sh\nexec {UNSHARE} sh -c '{mount} && "
                       f"truncate -s {IMAGE} {mounted}/disk.img && exec {binary()} \"$@\"' sh "
                       "\"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("RINGSIDE_BIN", str(wrapper))
    return mounted / "disk.img"


@pytest.mark.parametrize("size", [4096, 64 << 10, 256 << 10])
@pytest.mark.parametrize("aio", ["auto", "threads"])
def test_a_write_without_room(tmp_path, image, aio, size):
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},aio={aio}") as host:
        with Front(host.socket("disk0")) as front:
            disk = Blk(front)
            sectors = size // 512
            fits = 0
            while disk.do(BLK_T_OUT, fits * sectors, b"x" * size)[0] == BLK_S_OK:
                fits += 1
                assert fits * size <= ROOM
            assert fits
            # Only the request failed: what is there is there, and can be written again.
            assert disk.do(BLK_T_OUT, fits * sectors, b"x" * size)[0] == BLK_S_IOERR
            disk.write(0, b"y" * size)
            assert disk.read(0, size) == b"y" * size
            assert disk.read(IMAGE // 512 - 8, 4096) == bytes(4096)
            assert disk.flush() == BLK_S_OK
            assert disk.range(BLK_T_DISCARD, 0, 2 * sectors) == BLK_S_OK
            disk.write(fits * sectors, b"z" * size)
            assert disk.read(fits * sectors, size) == b"z" * size
            assert disk.read(0, size) == bytes(size)
            status = host.qmp().command("x-query-virtio-status",
                                        path="/machine/peripheral/disk0/virtio-backend")
            assert not status["broken"]
