# SPDX-License-Identifier: BSD-3-Clause
"""`ringside serve` under user-mode Linux, whose virtio_uml driver is a vhost-user front-end."""
import hashlib
import os
import random
import signal
import socket
import threading

import pytest

from lib.guest_uml import GuestUml
from lib.process import PATIENCE, wait_until
from lib.ringside import serve
from lib.vhost_user import Req
from lib.virtio import BLK, CONSOLE
from lib.wiretap import Wiretap

MIB = 1 << 20
DISK = "/machine/peripheral/disk0/virtio-backend"


def image_of(path, mib=16, seed=1):
    path.write_bytes(random.Random(seed).randbytes(mib * MIB))
    return path


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def disk_sum(guest, device="vda"):
    """The guest's own opinion of the disk, past its page cache."""
    return guest.check(f"dd if=/dev/{device} bs=64k iflag=direct 2>/dev/null | md5sum").split()[0]


@pytest.fixture
def disk(tmp_path):
    """(host, image): one virtio-blk, served."""
    image = image_of(tmp_path / "image")
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image}") as host:
        yield host, image


def boot(tmp_path, host, name="guest", **how):
    return GuestUml(tmp_path / name, [(host.socket("disk0"), BLK)], **how)


def test_disk(tmp_path, disk):
    """Thousands of requests; both sides agree on every byte."""
    host, image = disk
    with boot(tmp_path, host) as guest:
        assert guest.check("cat /sys/block/vda/size") == str(16 * MIB // 512)
        assert disk_sum(guest) == md5(image)
        guest.check("dd if=/dev/urandom of=/tmp/piece bs=1M count=4 2>/dev/null")
        guest.check("dd if=/tmp/piece of=/dev/vda bs=4k seek=256 oflag=direct 2>/dev/null")
        guest.check("dd if=/dev/vda of=/tmp/back bs=4k skip=256 count=1024 iflag=direct; "
                    "cmp /tmp/piece /tmp/back")
        for size in (512, 3584, 65536, 1 << 20):
            guest.check(f"dd if=/tmp/piece of=/dev/vda bs={size} count=4 seek=1 oflag=direct; "
                        f"dd if=/dev/vda of=/tmp/back bs={size} count=4 skip=1 iflag=direct; "
                        f"cmp -n {4 * size} /tmp/piece /tmp/back")
        guest.check("sync")
        assert disk_sum(guest) == md5(image)
        assert guest.poweroff() == 0


def test_disk_without_kick_and_call_descriptors(tmp_path):
    """virtio_uml takes notifications as messages wherever they are offered."""
    image = image_of(tmp_path / "image", 4)
    device = f"virtio-blk,id=disk0,filename={image},inband-notifications=on"
    with serve(tmp_path, device) as host, \
            Wiretap(host.folder.path / "tap", host.socket("disk0")) as tap, \
            GuestUml(tmp_path / "guest", [(tap.path, BLK)]) as guest:
        assert disk_sum(guest) == md5(image)
        guest.check("dd if=/dev/urandom of=/dev/vda bs=4k count=512 oflag=direct")
        assert disk_sum(guest) == md5(image)
        requests = [request for from_front, request, *_ in tap.messages if from_front]
        assert requests.count(Req.VRING_KICK) > 512
        assert not {Req.SET_VRING_KICK, Req.SET_VRING_CALL} & set(requests)
        assert guest.poweroff() == 0


def test_second_guest(tmp_path, disk):
    """A guest after a guest finds what the first one wrote."""
    host, image = disk
    for turn in range(3):
        with boot(tmp_path, host, f"guest{turn}") as guest:
            assert disk_sum(guest) == md5(image)
            guest.check(f"echo turn {turn} | dd of=/dev/vda bs=4k count=1 conv=sync oflag=direct")
            assert guest.poweroff() == 0
        assert image.read_bytes().startswith(b"turn %d\n" % turn)


def test_reboot(tmp_path, disk):
    host, image = disk
    with boot(tmp_path, host) as guest:
        for _ in range(2):
            assert disk_sum(guest) == md5(image)
            guest.check("touch /tmp/mark")
            guest.start("reboot -f")
            guest.wait_ready()
            assert guest.run("test -e /tmp/mark")[0] == 1
        assert disk_sum(guest) == md5(image)


def test_unbind_and_bind(tmp_path, disk):
    """The driver resets the device and takes it up again."""
    host, image = disk
    with boot(tmp_path, host) as guest:
        driver = "/sys/bus/virtio/drivers/virtio_blk"
        name = guest.check(f"ls {driver} | grep virtio")
        for _ in range(5):
            guest.check(f"echo {name} >{driver}/unbind; test ! -e /dev/vda")
            guest.check(f"echo {name} >{driver}/bind; test -b /dev/vda")
            assert disk_sum(guest) == md5(image)


def test_guest_killed_in_mid_request(tmp_path, disk):
    host, image = disk
    first = image.read_bytes()[:4096]
    with boot(tmp_path, host) as guest:
        guest.start("while true; do dd if=/dev/zero of=/dev/vda bs=4k count=2048 oflag=direct; "
                    "done")
        wait_until(lambda: image.read_bytes()[:4096] != first, "the guest's writes")
        guest.process.kill()
    with boot(tmp_path, host, "next") as guest:
        assert disk_sum(guest) == md5(image)
        assert guest.poweroff() == 0


def test_read_only(tmp_path):
    image = image_of(tmp_path / "image", 4)
    before = md5(image)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},read-only=on") as host:
        with boot(tmp_path, host) as guest:
            assert guest.check("cat /sys/block/vda/ro") == "1"
            assert guest.run("dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct")[0] != 0
            assert disk_sum(guest) == before
    assert md5(image) == before


def test_console(tmp_path):
    """Both directions of the one console, more than the rings hold at once."""
    path = tmp_path / "c"
    text = b"".join(b"line %06d\n" % n for n in range(20000))
    with serve(tmp_path, f"virtio-serial,id=con0,chardev=unix:{path}") as host:
        with GuestUml(tmp_path / "guest", [(host.socket("con0"), CONSOLE)]) as guest:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                peer.settimeout(PATIENCE)
                peer.connect(str(path))
                # The settings last as long as somebody has it open.
                number = guest.start("exec 3<>/dev/hvc0; stty raw -echo <&3; echo go >&3; "
                                     f"head -c {len(text)} <&3 | md5sum")
                assert peer.recv(100) == b"go\n"
                sender = threading.Thread(target=peer.sendall, args=(text,), daemon=True)
                sender.start()
                status, output = guest.finish(number)
                sender.join(PATIENCE)
                assert (status, output.split()[0]) == (0, hashlib.md5(text).hexdigest())
                guest.start("exec 3<>/dev/hvc0; stty raw -echo <&3; seq 1 30000 >&3")
                expected = b"".join(b"%d\n" % n for n in range(1, 30001))
                got = b""
                while len(got) < len(expected):
                    part = peer.recv(65536)
                    assert part, "the console's peer was closed"
                    got += part
                assert got == expected


def test_stopped_guest_slows_nobody(tmp_path):
    """A guest that stands still and never drains its calls holds up no other device."""
    images = [image_of(tmp_path / f"image{n}", 4, n) for n in (0, 1)]
    with serve(tmp_path, *(f"virtio-blk,id=disk{n},filename={images[n]}" for n in (0, 1)),
               f"virtio-serial,id=con0,chardev=unix:{tmp_path / 'c'}") as host:
        sleeper = GuestUml(tmp_path / "sleeper", [(host.socket("disk0"), BLK),
                                                  (host.socket("con0"), CONSOLE)])
        with sleeper, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(tmp_path / "c"))
            sleeper.start("dd if=/dev/vda of=/dev/null bs=4k count=1000000 iflag=direct")
            for pid in sleeper.process.family():
                try:
                    os.kill(pid, signal.SIGSTOP)
                except ProcessLookupError:
                    pass
            peer.setblocking(False)
            try:
                while True:
                    peer.send(b"x" * 4096)
            except BlockingIOError:
                pass
            with GuestUml(tmp_path / "awake", [(host.socket("disk1"), BLK)]) as guest:
                for _ in range(3):
                    assert disk_sum(guest) == md5(images[1])
                assert guest.poweroff() == 0
            with host.qmp() as qmp:
                assert len(qmp.command("x-query-virtio")) == 3


def test_queries_while_it_works(tmp_path, disk):
    """All queries, all the time, while requests go through: none is lost."""
    host, image = disk
    with boot(tmp_path, host) as guest, host.qmp() as qmp:
        number = guest.start("for i in 1 2 3 4 5 6; do "
                             "dd if=/dev/vda bs=4k count=1024 iflag=direct 2>/dev/null; "
                             "done | md5sum")
        seen = set()
        errors = []
        for _ in range(1000):
            qmp.command("x-query-virtio")
            qmp.command("x-query-virtio-status", path=DISK)
            seen.add(qmp.command("x-query-virtio-queue-status", path=DISK, queue=0)
                     ["last-avail-idx"])
            reply = qmp.execute("x-query-virtio-queue-element", {"path": DISK, "queue": 0})
            errors += [reply["error"]] if "error" in reply else []
        status, output = guest.finish(number)
        expected = hashlib.md5(image.read_bytes()[:4 * MIB] * 6).hexdigest()
        assert (status, output.split()[0]) == (0, expected)
        assert len(seen) > 10, "the index hardly moved"
        assert not errors, errors[:3]
        statuses = qmp.command("x-query-virtio-status", path=DISK)["status"]["statuses"]
        assert any(s.startswith("VIRTIO_CONFIG_S_DRIVER_OK") for s in statuses)


def test_packed_rings(tmp_path):
    """The driver takes packed rings where they are offered, and begins with a base of 0, also when
    it is bound again."""
    image = image_of(tmp_path / "image", 4)
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},packed=on") as host:
        with GuestUml(tmp_path / "guest", [(host.socket("disk0"), BLK)]) as guest, \
                host.qmp() as qmp:
            for _ in range(3):
                assert disk_sum(guest) == md5(image)
                status = qmp.command("x-query-virtio-status", path=DISK)
                assert any(s.startswith("VIRTIO_F_RING_PACKED")
                           for s in status["guest-features"]["transports"])
                guest.check("cd /sys/bus/virtio/drivers/virtio_blk; for d in virtio*; do "
                            "echo $d >unbind; echo $d >bind; done")
            assert guest.poweroff() == 0
