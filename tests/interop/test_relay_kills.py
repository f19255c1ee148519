# SPDX-License-Identifier: BSD-3-Clause
"""A back-end behind `ringside relay` with reconnect=on is killed ten times in a row under load. The
front-end is `ringside drive`, which is told of nothing and checks all that it reads."""
import contextlib
import json
import pathlib
import re
import shutil
import signal

import pytest

from lib.look import queue_of, status_of
from lib.process import Process, wait_until
from lib.relay import R0, relay, remarkable, transcript
from lib.relay_ends import Guest
from lib.ringside import Folder, binary, serve
from lib.testpmd import vhost_net, virtio_user
from lib.vhost_user import PACKED_START, Front, Proto
from lib.virtio import Blk

KILLS = 10
SIZE = 16 << 20


class Daemon:
    """qemu-storage-daemon; it has no in-flight region."""

    def __init__(self, image, folder):
        program = shutil.which("qemu-storage-daemon")
        if not program:
            pytest.skip("qemu-storage-daemon is missing: package qemu-system-common is not "
                        "installed")
        self.path = folder.path / "disk0.sock"
        self.argv = [program, "--blockdev",
                     f"driver=file,node-name=f0,filename={image},locking=off", "--export",
                     "type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,writable=on,"
                     f"num-queues=2,addr.path={self.path}"]
        self.start()

    def start(self):
        self.path.unlink(missing_ok=True)
        self.process = Process(self.argv)

    def again(self):
        self.process.kill()
        self.start()

    def end(self):
        self.process.kill()


class Own:
    """Our own, with one."""

    def __init__(self, tmp_path, image, folder, packed):
        self.how = (tmp_path, f"virtio-blk,id=disk0,filename={image},num-queues=2,aio=threads,"
                    f"packed={packed}")
        self.folder = folder
        self.host = serve(*self.how, folder=folder)
        self.path = self.host.socket("disk0")

    def again(self):
        self.host.process.signal(signal.SIGKILL)
        self.host.crash()
        self.host = serve(*self.how, folder=self.folder)

    def end(self):
        self.host.destroy()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(bytes(SIZE))
    return path


BLK = ("--device", "blk", "--rw", "randrw", "--bs", "4k", "--verify")
NET = ("--device", "net", "--rw", "write", "--bs", "512")


@contextlib.contextmanager
def load(host, *words, kind=BLK):
    """`ringside drive`, for longer than anybody lets it run, and its result."""
    argv = [binary(), "drive", "--connect", host.socket("r0"), "--seconds", 1000, "--json",
            *kind, *words]
    process = Process([str(a) for a in argv])
    try:
        yield process
    finally:
        process.kill()


def used(qmp, queues=1):
    return [queue_of(qmp, "r0", n)["used-idx"] for n in range(queues)]


def wait_for_progress(look, what):
    before = look()
    wait_until(lambda: all(a != b for a, b in zip(look(), before)), what)


def last_serial(qmp):
    return transcript(qmp)[-1]["serial"]


def wait_for_replay(qmp, serial):
    """The relay has told the next one all, and heard that it took it."""
    def answers():
        return [m for m in transcript(qmp, after=serial)
                if m["own"] and m["is-reply"] and m["name"] == "GET_FEATURES"]
    # The first thing that it asks, and the last.
    wait_until(lambda: len(answers()) >= 2, "the replay's end")


def finish(process):
    """Its result: nothing failed, nothing was read that was not written."""
    process.signal(signal.SIGINT)
    assert process.wait() == 0, process.text
    return json.loads(process.text[process.text.index("{"):])


@pytest.mark.parametrize("packed", ["off", "on"], ids=["split", "packed"])
def test_own_back_end_deep(tmp_path, image, packed):
    """With a region of the relay's own: every request completes, whatever was in flight."""
    folder = Folder()
    back = Own(tmp_path, image, folder, packed)
    try:
        with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on", connect=back.path) as host, \
                load(host, "--iodepth", 32, "--queues", 2,
                     *(["--packed"] if packed == "on" else [])) as process, host.qmp() as qmp:
            for _ in range(KILLS):
                with back.host.qmp() as behind:
                    wait_for_progress(lambda: [queue_of(behind, "disk0", n)["last-avail-idx"]
                                               for n in range(2)], "requests on both queues")
                serial = last_serial(qmp)
                back.again()
                wait_for_replay(qmp, serial)
            finish(process)
            assert "is stopped" not in host.process.text
    finally:
        back.end()


def test_daemon_with_one_request(tmp_path, image):
    """No region, one request at a time: the ring proves which one it is."""
    back = Daemon(image, Folder())
    try:
        wait_until(back.path.exists, "the daemon's socket")
        with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on", connect=back.path) as host, \
                load(host, "--iodepth", 1) as process, host.qmp() as qmp:
            wait_until(lambda: status_of(qmp, "r0")["vhost-started"], "the driver's start")
            for _ in range(KILLS):
                wait_for_progress(lambda: used(qmp), "requests")
                serial = last_serial(qmp)
                back.again()
                wait_for_replay(qmp, serial)
                wait_for_progress(lambda: used(qmp), "requests with the next one")
            finish(process)
            assert "is stopped" not in host.process.text
    finally:
        back.end()


class Switch:
    """DPDK's net_vhost, which drops what it receives; it has no in-flight region either."""

    def __init__(self, folder):
        self.path = folder.path / "net0.sock"
        self.process = vhost_net(self.path, "rxonly")

    def again(self):
        self.process.crash()
        self.process.__exit__()
        self.path.unlink()
        self.process = vhost_net(self.path, "rxonly")

    def received(self):
        return self.process.packets()[0]

    def end(self):
        self.process.__exit__()


@contextlib.contextmanager
def one_packet(host):
    with load(host, "--iodepth", 1, kind=NET) as process:
        yield
        finish(process)


@contextlib.contextmanager
def a_ring_full(host):
    """DPDK's driver, with IN_ORDER: as many packets as the ring has room for."""
    with virtio_user(host.socket("r0"), "txonly") as front:
        yield
        assert front.quit() == 0


@pytest.mark.parametrize("driver", [one_packet, a_ring_full])
def test_dpdk(tmp_path, driver):
    """Packets go on with the next one, without a word to the driver."""
    back = Switch(Folder())
    try:
        with relay(tmp_path, "id=r0,type=virtio-net,reconnect=on,outage-ms=60000",
                   connect=back.path) as host, host.qmp() as qmp, driver(host):
            wait_until(back.received, "packets")
            connection = transcript(qmp)[-1]["connection"]
            for _ in range(KILLS):
                back.again()
                wait_until(lambda: back.received() > 1000, "packets with the next one")
            assert "is stopped" not in host.process.text
            assert transcript(qmp)[-1]["connection"] == connection
            assert remarkable(qmp) == {}
    finally:
        back.end()


def test_daemon_deep(tmp_path, image):
    """No region, 32 requests at a time: it goes on, or stops and says why; what was read is right
    either way, which the driver checks as it goes."""
    back = Daemon(image, Folder())
    try:
        wait_until(back.path.exists, "the daemon's socket")
        with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on", connect=back.path) as host, \
                load(host, "--iodepth", 32) as process, host.qmp() as qmp:
            wait_until(lambda: status_of(qmp, "r0")["vhost-started"], "the driver's start")
            for _ in range(KILLS):
                wait_for_progress(lambda: used(qmp), "requests")
                serial = last_serial(qmp)
                back.again()
                wait_for_replay(qmp, serial)
                notes = {m["member"]: m.get("note") for m in
                         qmp.command("query-virtio-sources", path=R0)}
                if "served by nobody" in notes["queue.0.thread"]:
                    assert re.search("was answered before others|cannot be told",
                                     notes["queue.0.thread"])
                    assert "queue 0 is stopped" in host.process.text
                    assert used(qmp) == used(qmp) and process.running()
                    return
                wait_for_progress(lambda: used(qmp), "requests with the next one")
            finish(process)
    finally:
        back.end()


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_a_ring_begins_anew(tmp_path, image, packed):
    """As a guest that reboots: the record that the relay keeps says nothing of the new ring."""
    back = Own(tmp_path, image, Folder(), "on" if packed else "off")
    try:
        with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on", connect=back.path) as host, \
                Front(host.socket("r0"), packed=packed,
                      protocol=~(1 << Proto.INFLIGHT_SHMFD)) as front, host.qmp() as qmp:
            blk = Blk(front)
            for life in range(3):
                for sector in range(5 + life):
                    blk.write(sector, bytes([life + 1]) * 512)
                serial = last_serial(qmp)
                back.again()
                wait_for_replay(qmp, serial)
                assert blk.read(0, 512) == bytes([life + 1]) * 512
                front.get_vring_base(0)
                front.queues[0].ring.reset()
                front.start_queue(0, PACKED_START if packed else 0)
            assert blk.read(6, 512) == bytes([3]) * 512
    finally:
        back.end()


def test_front_ends_killed(tmp_path, image):
    """In a row, under load; the back-end is clean for the next one."""
    back = Own(tmp_path, image, Folder(), "on")
    try:
        with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on", connect=back.path) as host:
            for _ in range(KILLS):
                with load(host, "--iodepth", 32, "--queues", 2), back.host.qmp() as qmp:
                    wait_until(lambda: status_of(qmp, "disk0")["num-vqs"], "the device")
                    wait_for_progress(lambda: [queue_of(qmp, "disk0", n)["last-avail-idx"]
                                               for n in range(2)], "requests on both queues")
            with load(host, "--requests", 2000) as process:
                assert process.wait() == 0
    finally:
        back.end()


VIRTIOFSD = pathlib.Path("/usr/lib/qemu/virtiofsd")


def test_virtiofsd(tmp_path):
    """It ends with its client, and its state with it: nothing is replayed, and that is said."""
    path, share = tmp_path / "fs.sock", tmp_path / "share"
    share.mkdir()
    if not VIRTIOFSD.exists():
        pytest.skip("virtiofsd is missing: package qemu-system-common is not installed")

    def start():
        path.unlink(missing_ok=True)
        process = Process([str(VIRTIOFSD), f"--socket-path={path}", "-o", f"source={share}"])
        wait_until(lambda: path.exists() or not process.running(), "virtiofsd's socket")
        if not process.running():
            pytest.skip(f"virtiofsd does not run here: {process.text.strip()[-200:]}")
        return process

    with relay(tmp_path, "id=r0,type=virtio-user-fs,reconnect=on", connect=path) as host:
        for _ in range(KILLS):
            back = start()
            with Guest(host.socket("r0")) as guest:
                guest.start(queues=2)
                seen = len(host.process.text)
                back.kill()
                assert guest.peer.closed()
                wait_until(lambda: len(host.process.text) > seen, "a word about it")
        assert "nothing is replayed to another: a back-end of this type has a state beyond its " \
            "rings" in host.process.text
