# SPDX-License-Identifier: BSD-3-Clause
"""A query is not felt by the threads that serve: the heap is not given back after each answer, for
the kernel would interrupt every processor that runs one of them."""
import os
import pathlib

import pytest

from lib.ringside import serve
from lib.vhost_user import Front
from lib.virtio import Blk

PATH = "/machine/peripheral/disk0/virtio-backend"
ROUNDS = 100
KINDS = [("x-query-virtio", {}), ("x-query-virtio-status", {"path": PATH}),
         ("query-virtio-sources", {"path": PATH}), ("query-stats", {"target": "virtqueue"}),
         *((name, {"path": PATH, "queue": 0}) for name in (
             "x-query-virtio-queue-status", "x-query-virtio-queue-element",
             "query-virtqueue-inflight", "query-virtqueue-elements", "query-virtqueue-trace",
             "query-virtqueue-health"))]


def faults(pid):
    """Pages that were new to the main thread."""
    fields = pathlib.Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7])


@pytest.mark.skipif(bool(os.environ.get("RINGSIDE_SANITIZED")),
                    reason="a sanitizer has its own heap")
def test_no_page_comes_and_goes(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M,queue-size=1024") as host, \
            host.qmp() as qmp, Front(host.socket("disk0")) as front:
        blk = Blk(front)
        for sector in range(500):
            blk.read(sector, 512)

        def ask(rounds):
            for _ in range(rounds):
                for name, arguments in KINDS:
                    qmp.command(name, **arguments)

        ask(5)
        before = faults(host.process.pid)
        ask(ROUNDS)
        assert faults(host.process.pid) - before < ROUNDS
