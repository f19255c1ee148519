# SPDX-License-Identifier: BSD-3-Clause
"""What `ringside relay` costs the pair that it stands between: no thread of it wakes while requests
pass, for as long as nobody asks it anything."""
import contextlib
import time

import pytest

from lib.look import queue_of, status_of
from lib.process import Process, wait_until, wakeups
from lib.relay import UNWATCHED, R0, relay, transcript
from lib.ringside import binary, serve

SECONDS = 5
DEVICES = (("r0", ()), ("r1", ("--packed", "--queues", "2")))


@contextlib.contextmanager
def load(host, device, *words):
    """`ringside drive`, for longer than anybody lets it run."""
    with Process([binary(), "drive", "--connect", host.socket(device), "--device", "blk",
                  "--rw", "randread", "--iodepth", "4", "--seconds", "1000", *words]) as process:
        yield process


def answered(qmp):
    """How far each queue of the back-ends is: those are asked, not the relay."""
    return [queue_of(qmp, name, number)["used-idx"]
            for name, number in (("disk0", 0), ("disk1", 0), ("disk1", 1))]


@pytest.mark.parametrize("arguments", [[], UNWATCHED], ids=["as it is", "unwatched"])
def test_not_one_wakeup(tmp_path, arguments):
    disks = [f"virtio-blk,id=disk{n},size=16M,num-queues=2,packed=on" for n in range(2)]
    with serve(tmp_path, *disks) as back, \
            relay(tmp_path, f"id=r0,type=virtio-blk,connect={back.socket('disk0')}",
                  f"id=r1,type=virtio-blk,connect={back.socket('disk1')}", connect="/nowhere",
                  arguments=arguments) as host, \
            host.qmp() as qmp, back.qmp() as behind, contextlib.ExitStack() as stack:
        for device, words in DEVICES:
            stack.enter_context(load(host, device, *words))
        wait_until(lambda: all(answered(behind)), "requests on every queue")
        assert all(status_of(qmp, name)["vhost-started"] for name, _ in DEVICES)
        said, woken = transcript(qmp)[-1]["serial"], wakeups(host.process.pid)
        end, last, passed = time.monotonic() + SECONDS, answered(behind), 0
        while time.monotonic() < end or passed < 1000:
            now = answered(behind)
            passed += sum(a - b & 0xffff for a, b in zip(now, last))
            last = now
        assert wakeups(host.process.pid) == woken
        assert transcript(qmp, path=R0)[-1]["serial"] == said


def test_the_count_counts(tmp_path):
    """An answer to a question is one wake-up, and so is the news that waited."""
    with relay(tmp_path, "id=r0", connect="/nowhere") as host, host.qmp() as qmp:
        woken = wakeups(host.process.pid)
        assert wakeups(host.process.pid) == woken
        qmp.command("x-query-virtio")
        assert wakeups(host.process.pid) == woken + 1
