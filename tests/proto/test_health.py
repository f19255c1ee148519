# SPDX-License-Identifier: BSD-3-Clause
"""query-virtqueue-health on devices of ours: each verdict, its cause produced by a driver, a
signal or the wire."""
import os
import signal
import struct
import threading

import pytest

from lib.health import fast, health, verdict
from lib.process import wait_until
from lib.ringside import serve
from lib.slow_disk import slow_disk
from lib.vhost_user import (ACKNOWLEDGE, DRIVER, F_EVENT_IDX, F_PACKED, FAILED, FEATURES_OK, Front,
                            Proto, Req, VhostUser)
from lib.virtio import BLK_T_IN, BLK_T_OUT, Blk, Console

DISK = "virtio-blk,id=disk0,size=1M"
RINGS = [("split", False, ~F_EVENT_IDX), ("split-event", False, ~0), ("packed", True, ~F_EVENT_IDX),
         ("packed-event", True, ~0)]


@pytest.fixture(params=RINGS, ids=[r[0] for r in RINGS])
def pair(request, tmp_path):
    """A disk of ours, its driver, a monitor."""
    _, packed, features = request.param
    with serve(tmp_path, DISK + (",packed=on" if packed else "")) as host, host.qmp() as qmp:
        fast(qmp)
        with Front(host.socket("disk0"), packed=packed, features=features) as front:
            yield host, front, qmp


def read_quietly(front, queue=0):
    """A read that the device may see; its chain, nobody is kicked."""
    memory = front.memory
    head = memory.put(struct.pack("<IIQ", BLK_T_IN, 0, 0))
    return front.queues[queue].ring.add([(head, 16, False), (memory.alloc(512), 512, True),
                                         (memory.put(b"\xff"), 1, True)])


def test_kick_lost(pair):
    _, front, qmp = pair
    Blk(front).read(0, 512)
    front.queues[0].drain_calls()
    verdict(qmp, "disk0", 0, "idle", "ok")
    chain = read_quietly(front)
    found = verdict(qmp, "disk0", 0, "kick-lost", "stuck")
    assert found["evidence"]["waiting"] > 0 and found["evidence"]["kicks-wanted"]
    assert qmp.event("VIRTQUEUE_STALLED")["data"]["verdict"] == "kick-lost"
    qmp.command("virtqueue-kick", path=found["path"], queue=0)
    front.queues[0].wait([chain])
    front.queues[0].drain_calls()
    assert qmp.event("VIRTQUEUE_RECOVERED")["data"]["queue"] == 0
    verdict(qmp, "disk0", 0, "idle", "ok")
