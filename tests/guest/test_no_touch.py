# SPDX-License-Identifier: BSD-3-Clause
"""Looking touches nothing: queries of all kinds, right and wrong, while a guest on QEMU works on
our disk. No message on the wire, no request lost, not one byte of guest memory changed.
"""
import hashlib
import mmap
import os
import pathlib
import random
import re
import signal
import threading

import pytest

from lib.guest_qemu import GuestQemu, vhost_user_blk
from lib.process import wait_until
from lib.ringside import serve
from lib.wiretap import Wiretap

MIB = 1 << 20
QUERIES = 10_000
DISK = "/machine/peripheral/disk0/virtio-backend"
PATHS = [DISK] * 6 + ["virtio-backend", "disk0/virtio-backend", DISK + "/", "/machine", "", "disk0",
                      "/machine/peripheral/disk0", "/machine/nowhere"]
NUM_QUEUES = 2
QUEUES = [0, 1, 0, 1, 0, 1, 2, 7, 1023, 1024, 65535]
INDICES = [None, None, 0, 1, 2, 127, 128, 255, 32767, 32768, 65535]
# What an element may be refused with while its queue goes on.
ELEMENT_ERROR = re.compile(r"The element at \d+ was used already")

# Each processor on its half of the disk: writes a piece, reads it back past the cache, compares.
GUEST_LOAD = """
for cpu in 0 1; do
    (
        round=0
        while [ ! -e /tmp/enough ]; do
            round=$((round + 1))
            at=$((cpu * 1024 + round % 64 * 16))
            dd if=/dev/urandom of=/tmp/piece$cpu bs=4k count=16 2>/dev/null
            dd if=/tmp/piece$cpu of=/dev/vda bs=4k seek=$at oflag=direct conv=notrunc 2>/dev/null
            dd if=/dev/vda of=/tmp/back$cpu bs=4k skip=$at count=16 iflag=direct 2>/dev/null
            cmp -s /tmp/piece$cpu /tmp/back$cpu || echo "round $round" >>/tmp/differs
            echo $round >/tmp/rounds$cpu
        done
        touch /tmp/done$cpu
    ) >/dev/null 2>&1 &
    taskset -p $((1 << cpu)) $! >/dev/null
done
"""


def questions(order):
    """Queries without end: (name, arguments, whether it has to be answered with a value; None where
    both are right)."""
    while True:
        path, queue, index = order.choice(PATHS), order.choice(QUEUES), order.choice(INDICES)
        found = path in (DISK, DISK + "/", "virtio-backend", "disk0/virtio-backend")
        there = found and queue < NUM_QUEUES
        element = {"path": path, "queue": queue, **({} if index is None else {"index": index})}
        yield order.choice([
            ("x-query-virtio", None, True),
            ("x-query-virtio-status", {"path": path}, found),
            ("x-query-virtio-queue-status", {"path": path, "queue": queue}, there),
            ("x-query-virtio-queue-status", {"path": path, "queue": queue}, there),
            ("x-query-virtio-queue-element", element, None if there else False),
            ("x-query-virtio-queue-element", element, None if there else False),
            ("x-query-virtio-vhost-queue-status", {"path": path, "queue": queue}, False),
            ("query-virtio-sources", {"path": path}, found),
            ("qom-list", {"path": "/machine/peripheral/disk0"}, True),
            ("qom-list", {"path": "/machine/nothing"}, False),
            ("qom-get", {"path": "/machine/peripheral/disk0", "property": "type"}, True),
            ("qom-get", {"path": DISK, "property": "nothing"}, False),
            ("x-query-virtio-queue-element", {"path": path}, False),
            ("x-query-virtio-status", {"path": path, "queue": 1}, False),
            ("query-status", None, True),
        ])


class Onlooker(threading.Thread):
    """A monitor client that asks and judges; problems end up in `problems`."""

    def __init__(self, qmp, seed, count):
        super().__init__(daemon=True)
        self.qmp, self.seed, self.count = qmp, seed, count
        self.problems, self.asked = [], 0
        self.last = {}
        self.advanced = {queue: 0 for queue in range(NUM_QUEUES)}
        self.elements = 0

    def run(self):
        for number, question in enumerate(questions(random.Random(self.seed))):
            if number == self.count or len(self.problems) > 5:
                return
            name, arguments, wanted = question
            try:
                reply = self.qmp.execute(name, arguments)
                self.judge(name, arguments, wanted, reply)
            except Exception as error:
                self.problems.append(f"{question}: {error!r}")
                return
            self.asked += 1

    def judge(self, name, arguments, wanted, reply):
        value = reply.get("return")
        if wanted is not None and wanted != ("return" in reply):
            self.problems.append(f"{name} {arguments}: {reply}")
        elif name == "x-query-virtio-queue-status" and wanted:
            self.judge_queue(value)
        elif name == "x-query-virtio-status" and wanted and \
                (value["broken"] or not value["started"]):
            self.problems.append(f"not well: {value}")
        elif name == "x-query-virtio-queue-element" and wanted is None:
            self.elements += "return" in reply
            if "error" in reply and not ELEMENT_ERROR.match(reply["error"]["desc"]):
                self.problems.append(f"{arguments}: {reply}")

    def judge_queue(self, queue):
        """One moment's indices have to fit together, and follow the moment before."""
        num, index = queue["vring-num"], queue["queue-index"]
        flying = queue["last-avail-idx"] - queue["used-idx"] & 0xffff
        waiting = queue["shadow-avail-idx"] - queue["last-avail-idx"] & 0xffff
        if not (queue["inuse"] <= num and flying <= num and waiting <= num):
            self.problems.append(f"indices that cannot be: {queue}")
        moved = queue["last-avail-idx"] - self.last.get(index, queue["last-avail-idx"]) & 0xffff
        if moved > 0x8000:
            self.problems.append(f"went back from {self.last[index]}: {queue}")
        self.last[index] = queue["last-avail-idx"]
        self.advanced[index] += moved


def look(host, count, clients=2):
    """So many queries from so many clients at once; the onlookers, who saw nothing wrong."""
    onlookers = [Onlooker(host.qmp(), seed, count // clients) for seed in range(clients)]
    for onlooker in onlookers:
        onlooker.start()
    for onlooker in onlookers:
        onlooker.join(600)
        assert not onlooker.is_alive(), "the queries never end"
        assert not onlooker.problems, "\n".join(onlooker.problems)
    assert sum(onlooker.asked for onlooker in onlookers) == count
    return onlookers


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(random.Random(1).randbytes(8 * MIB))
    return path


@pytest.fixture
def rig(tmp_path, image):
    """(ringside, tap, guest with two processors and a disk with two queues)."""
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},num-queues={NUM_QUEUES}") as host, \
            Wiretap(host.folder.path / "tap", host.socket("disk0")) as tap, \
            GuestQemu(tmp_path / "guest", vhost_user_blk(tap.path, num_queues=NUM_QUEUES),
                      smp=NUM_QUEUES) as guest:
        yield host, tap, guest
        assert guest.poweroff() == 0


def test_while_the_guest_works(rig, image):
    host, tap, guest = rig
    guest.check(GUEST_LOAD)
    guest.check("until [ -s /tmp/rounds0 ] && [ -s /tmp/rounds1 ]; do sleep 0.1; done")
    heard = len(tap.messages)
    assert heard, "the tap hears nothing"
    before = guest.check("cat /tmp/rounds0 /tmp/rounds1").split()
    onlookers = look(host, QUERIES)
    assert tap.messages[heard:] == []
    for onlooker in onlookers:
        assert all(onlooker.advanced.values()), f"a queue stood still: {onlooker.advanced}"
        assert onlooker.elements
    # It goes on as before.
    for cpu, rounds in enumerate(before):
        guest.check(f"until [ $(cat /tmp/rounds{cpu}) -gt $(({rounds} + 2)) ]; do sleep 0.1; done")
    guest.check("touch /tmp/enough; until [ -e /tmp/done0 ] && [ -e /tmp/done1 ]; do sleep 0.1; "
                "done; [ ! -e /tmp/differs ]")
    assert tap.messages[heard:] == []
    sums = guest.check("dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum").split()
    assert sums[0] == hashlib.md5(image.read_bytes()).hexdigest()
    with host.qmp() as qmp:
        status = qmp.command("x-query-virtio-queue-status", path=DISK, queue=0)
        assert status["inuse"] == 0 and status["used-idx"] == status["last-avail-idx"]


def memory_sum(pid):
    """Of the guest's memory, through QEMU's own descriptor of it."""
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if "memfd:" not in os.readlink(entry):
            continue
        with open(entry, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            if len(memory) > MIB:
                return hashlib.blake2b(memory).hexdigest()
    raise AssertionError("QEMU has no memory file")


def frozen(pid):
    return re.search(r"^State:\s+T", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)


def look_at_still_memory(host, tap, guest, count=2000):
    """Nobody else may write meanwhile: QEMU is frozen as a process."""
    pid = guest.process.pid
    guest.process.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: frozen(pid), "QEMU to stand still")
        heard, before = len(tap.messages), memory_sum(pid)
        onlookers = look(host, count)
        assert memory_sum(pid) == before, "guest memory was written"
        assert tap.messages[heard:] == []
    finally:
        guest.process.signal(signal.SIGCONT)
    assert not any(sum(onlooker.advanced.values()) for onlooker in onlookers)


def test_memory_stays_as_it_is(rig, image):
    host, tap, guest = rig
    guest.check("dd if=/dev/vda of=/dev/null bs=4k count=300 iflag=direct")

    # The rings run and nothing is in flight.
    before = memory_sum(guest.process.pid)
    look_at_still_memory(host, tap, guest)
    guest.check("true")
    assert memory_sum(guest.process.pid) != before, "the sum sees nothing of the guest"

    # Requests wait in the rings: our side stands still.
    with host.qmp() as qmp:
        def waiting():
            element = qmp.command("x-query-virtio-queue-element", path=DISK, queue=0)
            queue = qmp.command("x-query-virtio-queue-status", path=DISK, queue=0)
            return element["avail"]["idx"] != queue["last-avail-idx"]

        qmp.command("stop")
        guest.check("(taskset 1 dd if=/dev/vda of=/tmp/copy bs=64k count=2 iflag=direct; "
                    "touch /tmp/copied) >/dev/null 2>&1 &")
        wait_until(waiting, "a request that waits")
        look_at_still_memory(host, tap, guest)
        qmp.command("cont")
    guest.check("until [ -e /tmp/copied ]; do sleep 0.1; done")
    assert guest.check("md5sum </tmp/copy").split()[0] == \
        hashlib.md5(image.read_bytes()[:131072]).hexdigest()
