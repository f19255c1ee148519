# SPDX-License-Identifier: BSD-3-Clause
"""A guest and somebody else's back-end, with `ringside relay` between them: qemu-storage-daemon
under user-mode Linux and under QEMU. The data path is theirs, and we see it."""
import hashlib
import random
import shutil

import pytest

from lib.agree import with_qemu
from lib.guest_qemu import GuestQemu, vhost_user_blk
from lib.guest_uml import GuestUml
from lib.look import flag_names, queue_of, status_of
from lib.process import Process, wait_until, wakeups
from lib.relay import R0, UNWATCHED, relay, remarkable, transcript
from lib.virtio import BLK

MIB = 1 << 20


@pytest.fixture
def daemon(tmp_path):
    """(image, socket) of somebody else's back-end."""
    program = shutil.which("qemu-storage-daemon")
    if not program:
        pytest.skip("qemu-storage-daemon is missing: package qemu-system-common is not installed")
    image, path = tmp_path / "image", tmp_path / "back.sock"
    image.write_bytes(random.Random(4).randbytes(16 * MIB))
    with Process([program, "--blockdev", f"driver=file,node-name=f0,filename={image}", "--export",
                  "type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,writable=on,num-queues=2,"
                  f"addr.path={path}"]) as process:
        wait_until(path.exists, "the daemon's socket")
        yield image, path
        assert process.running()


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def use(guest, image, device="vda"):
    """Reads all, writes a quarter, both sides agree; the queries go on meanwhile."""
    assert guest.check(f"dd if=/dev/{device} bs=64k iflag=direct 2>/dev/null | md5sum"
                       ).split()[0] == md5(image)
    guest.check("dd if=/dev/urandom of=/tmp/piece bs=1M count=4 2>/dev/null")
    guest.check(f"dd if=/tmp/piece of=/dev/{device} bs=4k seek=256 oflag=direct 2>/dev/null; sync")
    ours = image.read_bytes()[MIB:5 * MIB]
    assert guest.check("md5sum /tmp/piece").split()[0] == hashlib.md5(ours).hexdigest()


def look(qmp, num_queues):
    """The five commands on a live disk; what they say agrees with itself."""
    assert qmp.command("x-query-virtio") == [{"path": R0, "name": "virtio-blk"}]
    status = status_of(qmp, "r0")
    assert status["vhost-started"] and status["vhost-dev"]["n-mem-sections"] >= 1
    assert {"DRIVER_OK", "FEATURES_OK"} <= flag_names(status)
    assert status["num-vqs"] >= num_queues
    total = 0
    for index in range(num_queues):
        queue = queue_of(qmp, "r0", index)
        vhost = qmp.command("x-query-virtio-vhost-queue-status", path=R0, queue=index)
        assert vhost["num"] == queue["vring-num"] and vhost["kick"] > 2 and vhost["call"] > 2
        assert vhost["desc-phys"] == queue["vring-desc"] and vhost["desc"]
        # Nothing is on its way: then all is known.
        wait_until(lambda: "last-avail-idx" in queue_of(qmp, "r0", index), "a quiet moment")
        queue = queue_of(qmp, "r0", index)
        assert queue["last-avail-idx"] == queue["used-idx"]
        total += queue["used-idx"]
        if queue["used-idx"]:
            element = qmp.command("x-query-virtio-queue-element", path=R0, queue=index)
            assert element["used"]["idx"] == queue["used-idx"] and element["descs"]
    assert total > 50
    return total


def test_user_mode_linux(tmp_path, daemon):
    image, path = daemon
    with relay(tmp_path, "id=r0,type=virtio-blk", connect=path, arguments=UNWATCHED) as host, \
            host.qmp() as qmp:
        with GuestUml(tmp_path / "guest", [(host.socket("r0"), BLK)]) as guest:
            use(guest, image)
            first = look(qmp, 1)
            said, woken = transcript(qmp)[-1]["serial"], wakeups(host.process.pid)
            use(guest, image)
            # Thousands of requests: not one wake-up of ours, not one message.
            assert wakeups(host.process.pid) == woken
            assert look(qmp, 1) > first + 100
            assert transcript(qmp)[-1]["serial"] == said
            assert remarkable(qmp) == {}
            assert guest.poweroff() == 0
        wait_until(lambda: not status_of(qmp, "r0")["vhost-started"], "the front-end's end")
        # The back-end is clean for the next one.
        with GuestUml(tmp_path / "again", [(host.socket("r0"), BLK)]) as guest:
            use(guest, image)
            look(qmp, 1)
            assert guest.poweroff() == 0
        assert remarkable(qmp) == {}


def test_qemu(tmp_path, daemon):
    image, path = daemon
    with relay(tmp_path, "id=r0,type=virtio-blk", connect=path) as host, host.qmp() as qmp:
        with GuestQemu(tmp_path / "guest", vhost_user_blk(host.socket("r0"), num_queues=2),
                       smp=2) as guest:
            use(guest, image)
            look(qmp, 2)
            names = {m["name"] for m in transcript(qmp)}
            assert {"GET_FEATURES", "ADD_MEM_REG", "GET_CONFIG", "SET_VRING_KICK"} <= names
            assert not [m for m in transcript(qmp) if m["malformed"]]
            assert remarkable(qmp) == {}
            # What its own monitor can say without a stop of the ring.
            with_qemu(qmp, guest.qmp, "r0", range(2))
            use(guest, image)
            assert guest.poweroff() == 0
        assert remarkable(qmp) == {}
