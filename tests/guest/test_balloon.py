# SPDX-License-Identifier: BSD-3-Clause
"""virtio-balloon under user-mode Linux: the file that is the guest's memory shrinks and grows."""
import os
import pathlib

import pytest

from lib.guest_uml import GuestUml
from lib.process import wait_until
from lib.qmp import QmpError
from lib.ringside import serve
from lib.virtio import BALLOON

MIB = 1 << 20
PATH = "/machine/peripheral/b0/virtio-backend"
GUEST_MIB = 192


class Host:
    """A balloon with its guest, and what the guest's memory takes on the host."""

    def __init__(self, host, guest, qmp):
        self.host, self.guest, self.qmp = host, guest, qmp

    def held_mib(self):
        """Of the guest's memory file, whoever of its processes has it open."""
        for pid in self.guest.process.family():
            for fd in pathlib.Path(f"/proc/{pid}/fd").glob("*"):
                try:
                    if os.readlink(fd).endswith("(deleted)") and \
                            fd.stat().st_size >= GUEST_MIB * MIB:
                        return fd.stat().st_blocks * 512 / MIB
                except OSError:
                    continue
        raise AssertionError("the guest's memory file is not open in any of its processes")

    def total_kib(self):
        return int(self.guest.check("sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))

    def actual(self):
        return self.qmp.command("query-balloon")["actual"]

    def reclaim(self):
        """False while the guest has not ended the last round."""
        reply = self.qmp.execute("balloon-reclaim-free")
        assert "return" in reply or "has not ended" in reply["error"]["desc"]
        return "return" in reply

    def fill_and_free(self, mib=64):
        """The guest uses that much memory and then has no use for it any more."""
        self.guest.check(f"dd if=/dev/urandom of=/tmp/big bs=1M count={mib} 2>/dev/null && sync")
        held = self.held_mib()
        assert held > mib
        # Only large blocks are told, and what is free may lie in small ones.
        self.guest.check("rm /tmp/big; echo 3 >/proc/sys/vm/drop_caches; "
                         "echo 1 >/proc/sys/vm/compact_memory 2>/dev/null; true")
        return held


@pytest.fixture
def start(tmp_path):
    """A function that boots a guest on a balloon with those options."""
    ends = []

    def starter(options=""):
        host = serve(tmp_path, f"virtio-balloon,id=b0{options}")
        ends.append(host)
        host.__enter__()
        guest = GuestUml(tmp_path / "guest", [(host.socket("b0"), BALLOON)],
                         memory_mib=GUEST_MIB)
        ends.append(guest)
        guest.__enter__()
        guest.check("load virtio_balloon")
        qmp = host.qmp()
        ends.append(qmp)
        qmp.__enter__()
        return Host(host, guest, qmp)

    yield starter
    for end in reversed(ends):
        end.__exit__(None, None, None)


def test_size(start):
    """Less, and more again; nothing that the guest keeps is lost over it."""
    h = start()
    whole, total = h.actual(), h.total_kib()
    assert (GUEST_MIB - 32) * MIB < whole <= (GUEST_MIB + 32) * MIB
    h.guest.check("dd if=/dev/urandom of=/tmp/kept bs=1M count=8 2>/dev/null")
    kept = h.guest.check("md5sum /tmp/kept")
    h.fill_and_free()
    before = h.held_mib()
    h.qmp.command("balloon", value=whole - 96 * MIB)
    wait_until(lambda: h.actual() == whole - 96 * MIB, "the guest to shrink")
    # The event tells the last size.
    while h.qmp.event("BALLOON_CHANGE")["data"]["actual"] != whole - 96 * MIB:
        pass
    assert h.total_kib() <= total - 90 * 1024
    assert h.held_mib() < before - 40
    assert h.guest.check("md5sum /tmp/kept") == kept
    h.qmp.command("balloon", value=1 << 40, path=PATH)
    wait_until(lambda: h.actual() == whole, "the guest to grow")
    assert h.total_kib() == total
    h.guest.check("dd if=/dev/urandom of=/tmp/big bs=1M count=64 2>/dev/null && sync")
    assert h.guest.check("md5sum /tmp/kept") == kept
    with pytest.raises(QmpError, match="Parameter 'target' expects a size"):
        h.qmp.command("balloon", value=0)
    with pytest.raises(QmpError, match="/nope is no balloon"):
        h.qmp.command("query-balloon", path="/nope")
    with pytest.raises(QmpError, match="free-page-hint=on"):
        h.qmp.command("balloon-reclaim-free")


def test_reporting(start):
    """Nobody asks: what the guest frees goes back by itself."""
    h = start(",free-page-reporting=on")
    status = h.qmp.command("x-query-virtio-status", path=PATH)
    assert any(f.startswith("VIRTIO_BALLOON_F_REPORTING")
               for f in status["guest-features"]["dev-features"])
    held = h.fill_and_free()
    wait_until(lambda: h.held_mib() < held - 24, "freed memory to come back")


def test_reclaim(start):
    """On demand, round after round; the guest keeps its size and its files."""
    h = start(",free-page-hint=on")
    whole, total = h.actual(), h.total_kib()
    h.guest.check("dd if=/dev/urandom of=/tmp/kept bs=1M count=8 2>/dev/null")
    kept = h.guest.check("md5sum /tmp/kept")
    for _ in range(3):
        held = h.fill_and_free()
        assert h.held_mib() > held - 12
        wait_until(h.reclaim, "the end of the round before")
        wait_until(lambda: h.held_mib() < held - 24, "free memory to come back")
        assert h.guest.check("md5sum /tmp/kept") == kept
        wait_until(lambda: h.total_kib() == total, "the guest to have its pages back")
    assert h.actual() == whole


def test_statistics(start):
    h = start()
    get = lambda: h.qmp.command("qom-get", path=PATH, property="guest-stats")  # noqa: E731
    wait_until(lambda: get()["last-update"], "the first statistics")
    first = get()["stats"]
    assert first["stat-total-memory"] == h.total_kib() * 1024
    assert 0 < first["stat-free-memory"] <= first["stat-total-memory"]
    assert first["stat-oom-kills"] == (1 << 64) - 1  # Linux 6.1 does not tell
    h.guest.check("dd if=/dev/zero of=/tmp/big bs=1M count=64 2>/dev/null")
    h.qmp.command("qom-set", path=PATH, property="guest-stats-polling-interval", value=1)
    wait_until(lambda: get()["stats"]["stat-free-memory"] < first["stat-free-memory"] - 50 * MIB,
               "newer statistics")
    for value, error in [(-1, "greater than zero"), (1 << 32, "too big"), ("1", "integer")]:
        with pytest.raises(QmpError, match=error):
            h.qmp.command("qom-set", path=PATH, property="guest-stats-polling-interval",
                          value=value)
    assert h.qmp.command("qom-get", path=PATH, property="guest-stats-polling-interval") == 1


def test_unbind_bind_unplug(start):
    """The driver goes and comes with pages in the balloon; then the device goes."""
    h = start(",free-page-reporting=on,free-page-hint=on")
    whole, total = h.actual(), h.total_kib()
    h.qmp.command("balloon", value=whole - 64 * MIB)
    wait_until(lambda: h.actual() == whole - 64 * MIB, "the guest to shrink")
    driver = "/sys/bus/virtio/drivers/virtio_balloon"
    name = h.guest.check(f"ls {driver} | grep virtio")
    h.guest.check(f"echo {name} >{driver}/unbind")
    wait_until(lambda: h.total_kib() == total, "the pages of a driver that went")
    h.guest.check(f"echo {name} >{driver}/bind")
    # What was asked for still holds.
    wait_until(lambda: h.actual() == whole - 64 * MIB, "the guest to shrink again")
    h.guest.start("dd if=/dev/urandom of=/tmp/big bs=1M count=48 2>/dev/null; rm /tmp/big")
    h.qmp.command("balloon", value=whole - 32 * MIB)
    h.qmp.command("device_del", id="b0")
    h.qmp.event("DEVICE_DELETED")
    with pytest.raises(QmpError, match="No balloon device has been activated"):
        h.qmp.command("balloon", value=whole)
