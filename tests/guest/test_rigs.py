# SPDX-License-Identifier: BSD-3-Clause
"""The rigs themselves, with qemu-storage-daemon in our place: when these fail, the machine or the
helpers are at fault and not the program."""
import hashlib
import os
import random
import shutil

import pytest

from lib.guest_qemu import GuestQemu, vhost_user_blk
from lib.guest_uml import GuestUml
from lib.process import Process, wait_until
from lib.vhost_user import F_EVENT_IDX, Front
from lib.virtio import BLK, BLK_S_IOERR, BLK_S_OK, BLK_S_UNSUPP, BLK_T_IN, Blk


@pytest.fixture
def daemon(tmp_path):
    """(image, socket) of a running vhost-user-blk back-end."""
    program = shutil.which("qemu-storage-daemon")
    if not program:
        pytest.skip("qemu-storage-daemon is missing: package qemu-system-common is not installed")
    image, path = tmp_path / "image", tmp_path / "socket"
    image.write_bytes(os.urandom(1 << 20) * 4)
    with Process([program, "--blockdev", f"driver=file,node-name=f0,filename={image}", "--export",
                  "type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,writable=on,num-queues=2,"
                  f"addr.path={path}"]) as process:
        wait_until(path.exists, "the daemon's socket")
        yield image, path
        assert process.running()


def use_guest(guest, image):
    assert guest.run("echo one; exit 3") == (3, "one")
    assert guest.run("if")[0] != 0
    assert guest.check("echo " + "x" * 9000) == "x" * 9000
    assert hashlib.md5(image.read_bytes()).hexdigest() in guest.check("md5sum /dev/vda")
    guest.check("yes ringside | dd of=/dev/vda bs=4k count=16 oflag=direct")
    assert image.read_bytes()[:9] == b"ringside\n"
    assert guest.poweroff() == 0
    guest.process.assert_alone_gone()


def test_user_mode_linux(tmp_path, daemon):
    image, path = daemon
    with GuestUml(tmp_path / "guest", [(path, BLK)]) as guest:
        use_guest(guest, image)


def test_qemu(tmp_path, daemon):
    image, path = daemon
    with GuestQemu(tmp_path / "guest", vhost_user_blk(path, num_queues=2), smp=2) as guest:
        assert [d["name"] for d in guest.qmp.command("x-query-virtio")] == ["virtio-blk"]
        use_guest(guest, image)


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("features", [~0, ~F_EVENT_IDX], ids=["event_idx", "flags"])
def test_front(daemon, indirect, features):
    image, path = daemon
    expected = bytearray(image.read_bytes())
    with Front(path, queues=2, features=features) as front:
        disks = [Blk(front, queue, indirect=indirect) for queue in (0, 1)]
        assert disks[0].capacity() == len(expected) // 512
        order = random.Random(1)
        for _ in range(300):
            sectors = order.randrange(1, 16)
            at = order.randrange(0, disks[0].capacity() - sectors)
            there = slice(at * 512, (at + sectors) * 512)
            disk = order.choice(disks)
            if order.random() < 0.5:
                expected[there] = order.randbytes(sectors * 512)
                disk.write(at, bytes(expected[there]), pieces=order.randrange(1, 4))
            else:
                assert disk.read(at, sectors * 512, pieces=2) == expected[there]
        assert disks[0].flush() == BLK_S_OK
        assert disks[0].do(BLK_T_IN, 1 << 40, length=512)[0] == BLK_S_IOERR
        assert disks[0].do(99)[0] == BLK_S_UNSUPP
        started = [disks[1].start(BLK_T_IN, n, length=512) for n in range(20)]
        for n, request in enumerate(started):
            assert disks[1].finish(request)[1] == expected[n * 512:n * 512 + 512]
        taken = front.queues[0].ring.avail_idx
        assert front.get_vring_base(0) == taken
    assert image.read_bytes() == bytes(expected)
