# SPDX-License-Identifier: BSD-3-Clause
"""`ringside top` on the monitor of Debian's QEMU, with a guest that works: what is stuck there
shows, and nothing that would do harm is asked."""
import json
import subprocess

import pytest

from lib.guest_qemu import GuestQemu, vhost_user_blk
from lib.process import PATIENCE, wait_until
from lib.qmp import Qmp
from lib.ringside import binary, serve
from lib.screen import Screen

OWN = "/machine/peripheral/own/virtio-backend"
VHOST = "/machine/peripheral/disk0/virtio-backend"


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    """QEMU's own disk, which is slow, and one that a vhost-user back-end serves."""
    folder = tmp_path_factory.mktemp("top")
    for name in "own", "ours":
        (folder / name).write_bytes(bytes(1 << 20))
    with serve(folder, f"virtio-blk,id=disk0,filename={folder / 'ours'}") as host:
        arguments = ["-drive", f"if=none,id=d0,format=raw,file={folder / 'own'}",
                     "-device", "virtio-blk-pci,drive=d0,id=own,num-queues=1",
                     *vhost_user_blk(host.socket("disk0"), num_queues=1)]
        with GuestQemu(folder / "guest", arguments) as running:
            # This monitor serves one client at a time.
            running.qmp.close()
            yield running


def disks(guest):
    """Their names in the guest, (QEMU's own, ours): by how they are made."""
    names = guest.check("ls /sys/block | grep vd").split()
    assert len(names) == 2, names
    return names


def queues(guest):
    run = subprocess.run([binary(), "top", "--once", "--json", "--interval", "0.2", "--qmp",
                          guest.qmp_path], capture_output=True, text=True, timeout=PATIENCE,
                         stdin=subprocess.DEVNULL, check=False)
    assert (run.returncode, run.stderr) == (0, ""), run
    return {(q["path"], q.get("queue")): q for q in json.loads(run.stdout)["queues"]}


def test_once_and_the_guest_goes_on(guest):
    for name in disks(guest):
        guest.check(f"dd if=/dev/{name} of=/dev/null bs=4k count=16 iflag=direct")
    found = queues(guest)
    assert found[OWN, 0]["verdict"] in ("idle", "busy") and found[OWN, 0]["size"] == 256
    assert found[VHOST, 0]["severity"] == "unknown"
    assert "stops the ring" in found[VHOST, 0]["sentence"]
    # Had the ring been stopped, this would not end.
    for name in disks(guest):
        guest.check(f"dd if=/dev/{name} of=/dev/null bs=4k count=16 iflag=direct")


def test_a_stuck_disk_on_the_screen(guest):
    """A read that QEMU's throttling holds back is on top, in red; and then it is not."""
    limits = {"device": "d0", **{name: 0 for name in ("bps", "bps_rd", "bps_wr", "iops",
                                                      "iops_rd", "iops_wr")}}
    with Qmp(str(guest.qmp_path)) as qmp:
        assert "return" in qmp.execute("block_set_io_throttle", {**limits, "bps": 512})
    for name in disks(guest):
        guest.check(f"(dd if=/dev/{name} of=/dev/null bs=4k count=2 iflag=direct; "
                    f"touch /tmp/read-{name}) >/dev/null 2>&1 &")
    argv = [binary(), "top", "--interval", "0.3", "--qmp", guest.qmp_path]
    with Screen(argv, 80, 24) as screen:
        screen.wait("!own ", "no-answer", "1 stuck", "not-asked")
        assert screen.lines()[3].startswith("!own ")
        screen.keys("Enter")
        screen.wait("drawn by indices", "f", "nothing has moved for")
        screen.keys("Enter")
        screen.wait("not asked: QEMU walks the descriptors")
        screen.keys("Escape", "Escape")
        screen.keys("d")
        screen.wait("1 status", "VIRTIO_CONFIG_S_ACKNOWLEDGE")
        screen.keys("q")
        assert screen.ended() == 0
    with Qmp(str(guest.qmp_path)) as qmp:
        assert "return" in qmp.execute("block_set_io_throttle", limits)
    for name in disks(guest):
        guest.check(f"until [ -e /tmp/read-{name} ]; do sleep 0.1; done")
    wait_until(lambda: queues(guest)[OWN, 0]["severity"] == "ok", "the disk is well again")
