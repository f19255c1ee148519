# SPDX-License-Identifier: BSD-3-Clause
"""`ringside drive --device net` against DPDK's vhost library: split and packed rings, in-order use
of buffers, mergeable receive buffers."""
import json
import shutil

import pytest

from lib.process import Process, wait_until
from lib.ringside import Folder, tool
from lib.testpmd import listens

WAYS = (
    ("--poll",),
    ("--packed",),
    ("--packed", "--poll", "--queue-size", "100"),
    ("--in-order",),
    ("--packed", "--in-order"),
)


@pytest.fixture(scope="module", params=("rxonly", "txonly"))
def testpmd(request):
    program = shutil.which("dpdk-testpmd")
    if not program:
        pytest.skip("dpdk-testpmd is missing: package dpdk-dev is not installed")
    folder = Folder()
    socket = folder.path / "net.sock"
    try:
        with Process([program, "--lcores", "0@0,1@0", "--no-huge", "-m", "256", "--no-pci",
                      "--file-prefix", f"rs{folder.path.name}", "--vdev",
                      f"net_vhost0,iface={socket},queues=1", "--", "--auto-start",
                      f"--forward-mode={request.param}", "--total-num-mbufs=2048",
                      "--stats-period", "5"],
                     env={"XDG_RUNTIME_DIR": str(folder.path)}) as process:
            wait_until(lambda: listens(socket) or not process.running(), "its socket")
            if not process.running():
                pytest.skip(f"dpdk-testpmd does not run here: {process.text[-300:]}")
            yield request.param, socket
    finally:
        folder.remove()


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_packets(testpmd, way):
    mode, socket = testpmd
    # Its receiver takes what we send; its sender fills what we hold out.
    rw, side = ("write", "write") if mode == "rxonly" else ("read", "read")
    said = json.loads(tool("drive", "--connect", socket, "--device", "net", "--rw", rw, "--iodepth",
                           "64", "--requests", "5000", "--json", *way)[0])
    assert said["error"] is None
    assert said[side]["total_ios"] >= 5000
    assert said[side]["io_bytes"] == said[side]["total_ios"] * 64
    assert said["device"]["ring"] == ("packed" if "--packed" in way else "split")
    assert any("MRG_RXBUF" in n for n in said["device"]["feature-names"])
