# SPDX-License-Identifier: BSD-3-Clause
"""What QEMU's own queries do to a guest, for the record, and the same queries of ours on the same
guest: I/O goes on, the index is right, nothing is broken. Where the installed QEMU does not fail
any more, its half is skipped with that reason.
"""
import contextlib
import mmap
import os
import pathlib
import random
import shutil
import struct

import pytest

from lib.agree import all_five, path_of
from lib.fake_backend import FakeBackend
from lib.guest_qemu import QEMU, GuestQemu, vhost_user_blk
from lib.look import queue_of, status_of
from lib.process import Process, wait_until
from lib.qmp import Qmp
from lib.relay import relay, transcript
from lib.ringside import serve
from lib.vhost_user import Proto, Req

MIB = 1 << 20
INDIRECT = 4
READ = "dd if=/dev/vda of=/dev/null bs=4k count=16 iflag=direct 2>/dev/null"
# What the kernel's allocator frees is overwritten at once, and no remnant of it looks like a chain.
POISON = "slub_debug=P"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(random.Random(8).randbytes(4 * MIB))
    return path


@contextlib.contextmanager
def storage_daemon(image, path):
    program = shutil.which("qemu-storage-daemon")
    if not program:
        pytest.skip("qemu-storage-daemon is missing: package qemu-system-common is not installed")
    with Process([program, "--blockdev", f"driver=file,node-name=f0,filename={image}", "--export",
                  f"type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,writable=on,"
                  f"addr.path={path}"]) as process:
        wait_until(path.exists, "the daemon's socket")
        yield process


@contextlib.contextmanager
def ours(tmp_path, image, kind):
    """(host, device) of a disk that we serve, or that somebody else does behind our relay."""
    if kind == "serve":
        with serve(tmp_path, f"virtio-blk,id=r0,filename={image}") as host:
            yield host
        return
    path = tmp_path / "back.sock"
    with storage_daemon(image, path), \
            relay(tmp_path, "id=r0,type=virtio-blk", connect=path) as host:
        yield host


def own_blk(image):
    """QEMU's own disk."""
    return ["-drive", f"if=none,id=d0,format=raw,file={image}",
            "-device", "virtio-blk-pci,drive=d0,id=disk0,num-queues=1"]


def qemus_path(guest):
    return guest.qmp.command("x-query-virtio")[0]["path"]


# --- 1: queue-status of a vhost-user device ---

def test_queue_status_stops_the_ring_and_ours_does_not(tmp_path, image):
    """Through the relay, whose transcript shows what QEMU's query says to the back-end."""
    with ours(tmp_path, image, "relay") as host, host.qmp() as qmp, \
            GuestQemu(tmp_path / "guest", vhost_user_blk(host.socket("r0"), num_queues=1)) as guest:
        guest.check(READ)
        said = transcript(qmp)[-1]["serial"]
        for _ in range(300):
            all_five(qmp, "r0", range(1))
        guest.check(READ)
        assert transcript(qmp)[-1]["serial"] == said and status_of(qmp, "r0")["vhost-started"]
        wait_until(lambda: "last-avail-idx" in queue_of(qmp, "r0"), "a quiet moment")
        right = queue_of(qmp, "r0")
        assert right["last-avail-idx"] == right["used-idx"] >= 32

        wrong = guest.qmp.command("x-query-virtio-queue-status", path=qemus_path(guest), queue=0)
        if not transcript(qmp, after=said):
            pytest.skip("this QEMU's queue-status says nothing to the back-end")
        assert transcript(qmp, after=said)[0]["name"] == "GET_VRING_BASE"
        assert not status_of(qmp, "r0")["vhost-started"], "the ring stands"
        assert wrong["last-avail-idx"] == 0, "a return code, not an index"
        assert queue_of(qmp, "r0")["last-avail-idx"] == right["last-avail-idx"]
        # Its monitor says that all is well; the guest's request waits until the ring is restarted.
        theirs = guest.qmp.command("x-query-virtio-status", path=qemus_path(guest))
        assert theirs["vhost-started"] and not theirs["broken"]
        guest.check(f"({READ}; touch /tmp/done) >/dev/null 2>&1 &")
        element = {"path": path_of("r0"), "queue": 0}
        wait_until(lambda: qmp.command("x-query-virtio-queue-element", **element)["avail"]["idx"]
                   != right["used-idx"], "a request that waits")
        assert guest.run("sleep 1; test -e /tmp/done")[0] == 1
        assert queue_of(qmp, "r0")["used-idx"] == right["used-idx"]
        guest.qmp.command("stop")
        guest.qmp.command("cont")
        guest.check("until [ -e /tmp/done ]; do sleep 0.1; done")
        assert guest.poweroff() == 0


# --- 2: queue-element of an idle queue ---

def test_queue_element_breaks_an_idle_disk(tmp_path, image):
    with GuestQemu(tmp_path / "guest", own_blk(image), append=POISON) as guest:
        guest.check(READ)
        path = qemus_path(guest)
        assert not guest.qmp.command("x-query-virtio-status", path=path)["broken"]
        guest.qmp.command("x-query-virtio-queue-element", path=path, queue=0)
        status = guest.qmp.command("x-query-virtio-status", path=path)
        if not status["broken"]:
            pytest.skip("this QEMU's queue-element leaves an idle disk whole")
        assert "NEEDS_RESET" in " ".join(status["status"]["statuses"])


@pytest.mark.parametrize("kind", ["serve", "relay"])
def test_our_queue_element_breaks_nothing(tmp_path, image, kind):
    """The same guest and the same query, and all others that there are."""
    with ours(tmp_path, image, kind) as host, host.qmp() as qmp, \
            GuestQemu(tmp_path / "guest", vhost_user_blk(host.socket("r0"), num_queues=1),
                      append=POISON) as guest:
        guest.check(READ)
        query = {"path": path_of("r0"), "queue": 0}
        element = qmp.command("x-query-virtio-queue-element", **query)
        assert element["avail"]["idx"] == element["used"]["idx"] >= 16
        for index in range(128):
            qmp.execute("x-query-virtio-queue-element", {**query, "index": index})
        status = status_of(qmp, "r0")
        assert status["started"] and not status["broken"]
        assert "NEEDS_RESET" not in " ".join(status["status"]["statuses"])
        guest.check(READ)
        wait_until(lambda: "last-avail-idx" in queue_of(qmp, "r0"), "a quiet moment")
        assert queue_of(qmp, "r0")["last-avail-idx"] >= element["used"]["idx"] + 16
        assert guest.poweroff() == 0


# --- 3: the process ends ---

class Memory:
    """A guest's memory, by QEMU's own descriptor of it: what a hostile guest would write."""

    def __init__(self, pid):
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            if "memfd:" in os.readlink(entry) and os.stat(entry).st_size > MIB:
                with open(entry, "r+b") as file:
                    self.map = mmap.mmap(file.fileno(), 0)
                return
        raise AssertionError("QEMU has no memory file")

    def get(self, form, address):
        return struct.unpack_from(form, self.map, address)

    def put(self, form, address, *values):
        struct.pack_into(form, self.map, address, *values)


def head_beyond(memory, queue):
    _next_slot(memory, queue, queue["vring-num"])


def table_of(num_bytes):
    """An indirect table of so many bytes, in the last descriptor: an idle ring does not use it."""
    def change(memory, queue):
        last = queue["vring-num"] - 1
        memory.put("<QIHH", queue["vring-desc"] + 16 * last, 0x100000, num_bytes, INDIRECT, 0)
        _next_slot(memory, queue, last)
    return change


def _next_slot(memory, queue, head):
    """The place behind those that were made available: nobody takes what is there."""
    idx = memory.get("<H", queue["vring-avail"] + 2)[0]
    memory.put("<H", queue["vring-avail"] + 4 + 2 * (idx % queue["vring-num"]), head)


HOSTILE = [
    ("a head beyond the ring", head_beyond),
    ("a table of 0 bytes", table_of(0)),
    ("a table of 8 bytes", table_of(8)),
]


@pytest.mark.parametrize("what, change", HOSTILE, ids=[h[0] for h in HOSTILE])
def test_a_guests_bytes_end_qemu(tmp_path, image, what, change):
    with GuestQemu(tmp_path / "guest", own_blk(image)) as guest:
        guest.check(READ)
        path = qemus_path(guest)
        change(Memory(guest.process.pid),
               guest.qmp.command("x-query-virtio-queue-status", path=path, queue=0))
        try:
            guest.qmp.command("x-query-virtio-queue-element", path=path, queue=0)
        except (AssertionError, OSError):
            assert guest.process.wait() == -6
            assert "Assertion" in guest.process.text
            return
        pytest.skip(f"this QEMU lives through {what}")


@pytest.mark.parametrize("kind", ["serve", "relay"])
def test_a_guests_bytes_do_nothing_to_us(tmp_path, image, kind):
    with ours(tmp_path, image, kind) as host, host.qmp() as qmp, \
            GuestQemu(tmp_path / "guest", vhost_user_blk(host.socket("r0"), num_queues=1)) as guest:
        query = {"path": path_of("r0"), "queue": 0}
        for _, change in HOSTILE:
            guest.check(READ)
            memory, queue = Memory(guest.process.pid), queue_of(qmp, "r0")
            kept = memory.get("<QIHH", queue["vring-desc"] + 16 * (queue["vring-num"] - 1))
            change(memory, queue)
            idx = memory.get("<H", queue["vring-avail"] + 2)[0]
            for index in (None, idx % queue["vring-num"], queue["vring-num"] - 1):
                qmp.execute("x-query-virtio-queue-element",
                            query if index is None else {**query, "index": index})
            assert not status_of(qmp, "r0")["broken"]
            # That one is the driver's list of free descriptors again.
            memory.put("<QIHH", queue["vring-desc"] + 16 * (queue["vring-num"] - 1), *kept)
            guest.check(READ)
        assert guest.poweroff() == 0


@contextlib.contextmanager
def paused_qemu(tmp_path, *arguments):
    """(process, monitor) of a QEMU that has devices and runs nothing."""
    if not shutil.which(QEMU):
        pytest.skip(f"{QEMU} is missing: package qemu-system-x86 is not installed")
    path = tmp_path / "qemu.qmp"
    with Process([QEMU, "-M", "q35,accel=tcg,memory-backend=mem", "-m", "64M", "-nodefaults", "-S",
                  "-display", "none", "-object", "memory-backend-memfd,id=mem,size=64M,share=on",
                  "-qmp", f"unix:{path},server=on,wait=off", *arguments]) as process:
        def monitor():
            try:
                return Qmp(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                return None

        with wait_until(monitor, "QEMU's monitor") as qmp:
            yield process, qmp


def test_status_of_a_type_without_tables(tmp_path, image):
    """vhost-user-i2c, on a back-end that does not mind: QEMU ends, we have its tables."""
    path = tmp_path / "back.sock"
    with storage_daemon(image, path), \
            relay(tmp_path, "id=r0,type=34", connect=path) as host, host.qmp() as qmp, \
            paused_qemu(tmp_path, "-chardev", f"socket,id=c,path={host.socket('r0')}", "-device",
                        "vhost-user-i2c-pci,chardev=c,id=x") as (process, theirs):
        status = status_of(qmp, "r0")
        assert status["device-id"] == 34 and status["host-features"]["transports"]
        device = theirs.command("x-query-virtio")[0]["path"]
        try:
            theirs.command("x-query-virtio-status", path=device)
        except (AssertionError, OSError):
            assert process.wait() == -6 and "code should not be reached" in process.text
        else:
            pytest.skip("this QEMU has a status of vhost-user-i2c")
        assert status_of(qmp, "r0")["device-id"] == 34


class Silent(FakeBackend):
    """It takes everything and answers no request."""
    protocol = 1 << Proto.REPLY_ACK | 1 << Proto.MQ

    def answer(self, request, payload):
        return struct.pack("<Q", 8) if request == Req.GET_QUEUE_NUM else None

    def handle(self, request, payload, fds):
        return None if request == Req.SET_VRING_ENABLE else super().handle(request, payload, fds)


def test_a_started_device_that_qemu_cannot_show(tmp_path):
    """vhost-user-scsi lacks a function there: its vhost queues are asked for, and QEMU ends."""
    with Silent() as back, \
            relay(tmp_path, "id=r0,type=virtio-scsi", connect=back.path) as host, \
            host.qmp() as qmp, \
            GuestQemu(tmp_path / "guest",
                      ["-chardev", f"socket,id=c,path={host.socket('r0')}",
                       "-device", "pcie-root-port,id=slot0"],
                      append="ringside.modules=virtio_pci,virtio_scsi") as guest:
        # Plugged in now: the firmware would wait for its answers.
        guest.qmp.command("device_add", driver="vhost-user-scsi-pci", chardev="c", id="x",
                          bus="slot0")
        wait_until(lambda: status_of(qmp, "r0")["vhost-started"], "the driver")
        all_five(qmp, "r0", range(3))
        try:
            guest.qmp.command("x-query-virtio-vhost-queue-status", path=qemus_path(guest), queue=0)
        except (AssertionError, OSError):
            assert guest.process.wait() == -11
        else:
            pytest.skip("this QEMU shows the vhost queues of vhost-user-scsi")
        wait_until(lambda: not status_of(qmp, "r0")["vhost-started"], "the front-end's end")
