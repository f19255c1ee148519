# SPDX-License-Identifier: BSD-3-Clause
"""Front-ends that come and go before `ringside relay`: killed under load, rebooted from inside and
from outside; and our own devices behind it. What serves is clean for the next."""
import contextlib
import hashlib
import json
import random
import shutil
import signal

import pytest

from lib.agree import all_five, has, with_qemu
from lib.guest_qemu import GuestQemu, vhost_user_blk, vhost_user_rng
from lib.guest_uml import GuestUml
from lib.look import status_of
from lib.process import Process, wait_until, wakeups
from lib.relay import UNWATCHED, relay, remarkable, transcript
from lib.ringside import binary, serve, tool
from lib.virtio import BLK, CONSOLE

MIB = 1 << 20
KILLS, REBOOTS = 2, 1


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(random.Random(9).randbytes(8 * MIB))
    return path


@contextlib.contextmanager
def qemu_storage_daemon(tmp_path, image):
    program = shutil.which("qemu-storage-daemon")
    if not program:
        pytest.skip("qemu-storage-daemon is missing: package qemu-system-common is not installed")
    path = tmp_path / "back.sock"
    with Process([program, "--blockdev", f"driver=file,node-name=f0,filename={image}", "--export",
                  "type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,writable=on,num-queues=2,"
                  f"addr.path={path}"]) as process:
        wait_until(path.exists, "the daemon's socket")
        yield path
        assert process.running()


@contextlib.contextmanager
def our_disk(tmp_path, image, packed="on"):
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},num-queues=2,"
               f"packed={packed}") as host:
        yield host.socket("disk0")
        with host.qmp() as qmp:
            assert not status_of(qmp, "disk0")["broken"]


BACKS = {"qemu-storage-daemon": qemu_storage_daemon, "ours": our_disk}


@pytest.fixture(params=BACKS)
def host(request, tmp_path, image):
    with BACKS[request.param](tmp_path, image) as path:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=path) as running:
            yield running


def md5(data):
    return hashlib.md5(data).hexdigest()


def use(guest, image):
    """Reads all, writes some, both sides agree."""
    assert guest.check("dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum"
                       ).split()[0] == md5(image.read_bytes())
    guest.check("dd if=/dev/urandom of=/tmp/piece bs=64k count=16 2>/dev/null; "
                "dd if=/tmp/piece of=/dev/vda bs=4k seek=256 oflag=direct conv=notrunc 2>/dev/null")
    assert guest.check("md5sum </tmp/piece").split()[0] == md5(image.read_bytes()[MIB:2 * MIB])


# Reads only: what a killed guest was writing may be there or not.
LOAD = "for n in 1 2 3 4; do (while :; do dd if=/dev/vda of=/dev/null bs=16k iflag=direct " \
       "2>/dev/null; done) & done"


def gone(host):
    with host.qmp() as qmp:
        wait_until(lambda: not status_of(qmp, "r0")["num-vqs"], "the front-end's end")


def runs(qmp):
    status = status_of(qmp, "r0")
    return status["vhost-started"] and status["started"]


def boot(tmp_path, host, *, reboots=False):
    arguments = vhost_user_blk(host.socket("r0"), num_queues=2)
    if reboots:
        # The last one of two that say the opposite counts.
        arguments += ["-action", "reboot=reset"]
    return GuestQemu(tmp_path / "guest", arguments, smp=2)


def test_qemu_is_killed_under_load(tmp_path, image, host):
    with host.qmp() as qmp:
        for _ in range(KILLS):
            with boot(tmp_path, host) as guest:
                use(guest, image)
                guest.check(f"({LOAD}) >/dev/null 2>&1")
                before = all_five(qmp, "r0", range(2))
                wait_until(lambda: all_five(qmp, "r0", range(2)) != before, "load")
                guest.process.signal(signal.SIGKILL)
                guest.process.wait()
            gone(host)
        with boot(tmp_path, host) as guest:
            use(guest, image)
            all_five(qmp, "r0", range(2))
            with_qemu(qmp, guest.qmp, "r0", range(2))
            assert guest.poweroff() == 0
        assert not [m for m in transcript(qmp) if m["malformed"]]


def reboot_inside(guest):
    guest.start("reboot -f")


def reset_outside(guest):
    guest.start("sleep 1000")
    guest.qmp.command("system_reset")


@pytest.mark.parametrize("how", [reboot_inside, reset_outside])
def test_the_guest_reboots(tmp_path, image, host, how):
    """On the same connection: rings stop and start anew, with what the driver makes of them."""
    with boot(tmp_path, host, reboots=True) as guest, host.qmp() as qmp:
        use(guest, image)
        connection = transcript(qmp)[-1]["connection"]
        for _ in range(REBOOTS):
            all_five(qmp, "r0", range(2))
            guest.check(f"touch /tmp/mark; ({LOAD}) >/dev/null 2>&1")
            said = transcript(qmp)[-1]["serial"]
            how(guest)
            guest.wait_ready(120)
            assert guest.run("test -e /tmp/mark")[0] == 1
            use(guest, image)
            names = [m["name"] for m in transcript(qmp, after=said)]
            assert {"GET_VRING_BASE", "SET_VRING_KICK"} <= set(names)
            with_qemu(qmp, guest.qmp, "r0", range(2))
        assert transcript(qmp)[-1]["connection"] == connection
        assert guest.poweroff() == 0


DRIVERS = [[], ["--poll"], ["--packed"], ["--packed", "--queues", "2"], ["--no-indirect"]]


def test_drive_is_killed_under_load(tmp_path, image, host, request):
    """In a row, each of another kind; then one that checks what it wrote."""
    theirs = "qemu-storage-daemon" in request.node.name
    ways = [way for way in DRIVERS if not (theirs and "--packed" in way)]
    argv = ["drive", "--connect", host.socket("r0"), "--device", "blk"]
    with host.qmp() as qmp:
        for way in ways * 2:
            with Process([binary(), *argv, "--rw", "randread", "--iodepth", "32", "--seconds",
                          "1000", *way]) as driver:
                wait_until(lambda: runs(qmp), "the driver")
                all_five(qmp, "r0", range(1))
                driver.signal(signal.SIGKILL)
                driver.wait()
            gone(host)
        for way in ways:
            said = json.loads(tool(*argv, "--rw", "randrw", "--verify", "--iodepth", "32",
                                   "--requests", "3000", "--json", *way)[0])
            assert said["error"] is None
            gone(host)


def test_our_random_numbers_and_console(tmp_path):
    """Two of our devices behind one relay: a QEMU guest reads random numbers, and user-mode Linux
    talks on its console."""
    with serve(tmp_path, "virtio-rng,id=rng0",
               f"virtio-serial,id=con0,chardev=file:{tmp_path / 'said'}") as back, \
            relay(tmp_path, f"id=r0,type=virtio-rng,connect={back.socket('rng0')}",
                  f"id=r1,type=virtio-serial,connect={back.socket('con0')}",
                  connect="/nowhere", arguments=UNWATCHED) as host, host.qmp() as qmp:
        with GuestQemu(tmp_path / "qemu", vhost_user_rng(host.socket("r0"))) as guest:
            woken = wakeups(host.process.pid)
            sums = {guest.check("dd if=/dev/hwrng bs=64 count=20 2>/dev/null | md5sum")
                    for _ in range(3)}
            assert len(sums) == 3 and wakeups(host.process.pid) == woken
            assert all_five(qmp, "r0", range(1))[0] > 3
            with_qemu(qmp, guest.qmp, "r0", range(1))
            assert guest.poweroff() == 0
        with GuestUml(tmp_path / "uml", [(host.socket("r1"), CONSOLE)]) as guest:
            guest.check("for n in 1 2 3; do echo line $n >/dev/hvc0; done")
            wait_until(lambda: "line 3" in (tmp_path / "said").read_text(), "what it said")
            used = all_five(qmp, "r1", range(2))
            assert used[1] >= 3
            assert guest.poweroff() == 0
        gone(host)


@pytest.mark.parametrize("packed", ["off", "on"])
def test_our_disk_under_user_mode_linux(tmp_path, image, packed):
    with our_disk(tmp_path, image, packed) as path, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=path) as host, host.qmp() as qmp:
        with GuestUml(tmp_path / "guest", [(host.socket("r0"), BLK)]) as guest:
            for _ in range(2):
                use(guest, image)
                assert all_five(qmp, "r0", range(1))[0] > 50 or packed == "on"
                assert has(status_of(qmp, "r0"), "VIRTIO_F_RING_PACKED") == (packed == "on")
                guest.start("reboot -f")
                guest.wait_ready()
            use(guest, image)
            assert guest.poweroff() == 0
        gone(host)


def test_our_disk_under_qemu_packed(tmp_path, image):
    """Both queues are packed, and a reset by the driver gives packed rings again."""
    with our_disk(tmp_path, image) as path, \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=path,
                  arguments=UNWATCHED) as host, host.qmp() as qmp:
        with GuestQemu(tmp_path / "guest",
                       vhost_user_blk(host.socket("r0"), num_queues=2, packed="on"),
                       smp=2) as guest:
            use(guest, image)
            all_five(qmp, "r0", range(2))
            assert has(status_of(qmp, "r0"), "VIRTIO_F_RING_PACKED")
            with_qemu(qmp, guest.qmp, "r0", range(2))
            said, woken = transcript(qmp)[-1]["serial"], wakeups(host.process.pid)
            use(guest, image)
            assert wakeups(host.process.pid) == woken
            assert transcript(qmp)[-1]["serial"] == said
            guest.check("cd /sys/bus/virtio/drivers/virtio_blk && d=$(ls -d virtio*) && "
                        "echo $d >unbind && echo $d >bind")
            use(guest, image)
            all_five(qmp, "r0", range(2))
            assert has(status_of(qmp, "r0"), "VIRTIO_F_RING_PACKED")
            assert remarkable(qmp) == {}
            assert guest.poweroff() == 0
        gone(host)
