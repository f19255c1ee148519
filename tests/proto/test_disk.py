# SPDX-License-Identifier: BSD-3-Clause
"""virtio-blk over the wire on what the host really has: both engines, a block device, a disk
without storage, and an image that somebody else holds."""
import os
import random
import re
import shutil
import stat
import subprocess
import sys

import pytest

from lib import no_syscall
from lib.ringside import binary, serve
from lib.vhost_user import Front
from lib.virtio import (BLK_S_IOERR, BLK_S_OK, BLK_T_DISCARD, BLK_T_OUT, BLK_T_WRITE_ZEROES, Blk,
                        SECTOR)

SIZE = 4 << 20


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


def engines(host):
    """What the process really uses: the kernel shows a ring as a descriptor, a pool as threads."""
    base = f"/proc/{host.process.pid}"
    links = [os.readlink(f"{base}/fd/{fd}") for fd in os.listdir(f"{base}/fd")]
    return {"io_uring"} if any(link == "anon_inode:[io_uring]" for link in links) else {"threads"}


def exercise(host, path):
    """Reads, writes, flush, zeroes, discard, the end of the disk; the image has it afterwards."""
    before = path.read_bytes() if not stat.S_ISBLK(path.stat().st_mode) else None
    rng = random.Random(2)
    with Front(host.socket("disk0")) as front:
        disk = Blk(front)
        assert disk.capacity() == SIZE // SECTOR
        if before:
            assert disk.read(8, 64 * SECTOR, pieces=7) == before[8 * SECTOR:72 * SECTOR]
        data = rng.randbytes(100 * SECTOR)
        disk.write(1000, data, pieces=33)
        assert disk.read(1000, len(data)) == data
        assert disk.flush() == BLK_S_OK
        assert disk.range(BLK_T_WRITE_ZEROES, 1010, 10) == BLK_S_OK
        assert disk.read(1010, 10 * SECTOR) == bytes(10 * SECTOR)
        assert disk.range(BLK_T_DISCARD, 1020, 16) == BLK_S_OK
        last = SIZE // SECTOR - 1
        disk.write(last, data[:SECTOR])
        assert disk.do(BLK_T_OUT, last, data[:2 * SECTOR])[0] == BLK_S_IOERR
        assert disk.read(last, SECTOR) == data[:SECTOR]
        used = engines(host)
    with path.open("rb") as f:
        f.seek(1000 * SECTOR)
        assert f.read(10 * SECTOR) == data[:10 * SECTOR]
    return used


@pytest.mark.parametrize("aio, allowed", [("auto", {"io_uring", "threads"}),
                                          ("threads", {"threads"})])
def test_engines(tmp_path, image, aio, allowed):
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},aio={aio}") as host:
        assert exercise(host, image) <= allowed


@pytest.fixture
def no_uring(tmp_path, monkeypatch):
    if os.uname().machine != "x86_64":
        pytest.skip("the filter knows x86-64 only")
    wrapper = tmp_path / "ringside-without-io_uring"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {no_syscall.PATH} '
                       f'{no_syscall.IO_URING_SETUP} {binary()} "$@"\n')
    wrapper.chmod(0o755)
    if subprocess.run([wrapper, "--version"], capture_output=True, check=False).returncode == 99:
        pytest.skip("this kernel takes no system call filter")
    monkeypatch.setenv("RINGSIDE_BIN", str(wrapper))
    return wrapper


def test_io_uring_refused(tmp_path, image, no_uring):
    """A kernel or a container that forbids io_uring: the thread pool takes over by itself."""
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as host:
        assert exercise(host, image) == {"threads"}


def test_io_uring_insisted_on_and_refused(image, no_uring):
    """Who insists is told, before anything listens."""
    result = subprocess.run(
        [str(no_uring), "serve", "--device",
         f"virtio-blk,id=disk0,filename={image},aio=io_uring,listen={image}.sock"],
        capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "io_uring" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert not os.path.exists(f"{image}.sock")


@pytest.fixture
def block_device(image):
    if os.geteuid():
        pytest.skip("a loop device needs root")
    if not shutil.which("losetup"):
        pytest.skip("losetup is missing (package mount)")
    made = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True,
                          text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


@pytest.mark.parametrize("options", ["", ",direct=on"])
def test_block_device(tmp_path, block_device, options):
    path = type(tmp_path)(block_device)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={path}{options}") as host:
        exercise(host, path)


def test_no_storage(tmp_path):
    """A disk for measuring: writes vanish, reads give zeroes."""
    with serve(tmp_path, f"virtio-blk,id=disk0,size={SIZE}") as host:
        with Front(host.socket("disk0")) as front:
            disk = Blk(front)
            assert disk.capacity() == SIZE // SECTOR
            disk.write(5, b"x" * SECTOR)
            assert disk.read(5, SECTOR) == bytes(SECTOR)


def times_slept(host):
    """Of the main thread."""
    with open(f"/proc/{host.process.pid}/status") as status:
        return int(re.search(r"\bvoluntary_ctxt_switches:\s+(\d+)", status.read())[1])


@pytest.mark.parametrize("second, works", [("", False), (",read-only=on", False),
                                           (",locking=off", True)])
def test_second_user_of_an_image(tmp_path, image, second, works):
    """One writer alone; the sentence names the image and the way out."""
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as host:
        with host.qmp() as qmp:
            arguments = dict(driver="virtio-blk", id="disk1", filename=str(image),
                             listen=str(host.socket("disk1")))
            for option in filter(None, second.split(",")):
                name, value = option.split("=")
                arguments[name] = value
            if works:
                assert qmp.command("device_add", **arguments) == {}
            else:
                slept = times_slept(host)
                sentence = qmp.error("device_add", **arguments)[1]
                assert str(image) in sentence and "lock" in sentence
                # A start waits for the lock in a hundred steps; here others wait for the loop.
                assert times_slept(host) < slept + 50


def test_two_readers_of_an_image(tmp_path, image):
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},read-only=on",
               f"virtio-blk,id=disk1,filename={image},read-only=on") as host:
        for name in ("disk0", "disk1"):
            with Front(host.socket(name)) as front:
                disk = Blk(front)
                assert disk.read(0, SECTOR) == image.read_bytes()[:SECTOR]
                assert disk.do(BLK_T_OUT, 0, bytes(SECTOR))[0] == BLK_S_IOERR
