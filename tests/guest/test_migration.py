# SPDX-License-Identifier: BSD-3-Clause
"""A running guest moves from one QEMU to another. Each has a Ringside of its own, on the same
image; the guest writes all the time, and reads while its memory is on its way."""
import hashlib
import random

import pytest

from lib.guest_qemu import GuestQemu, vhost_user_blk
from lib.process import wait_until
from lib.ringside import serve
from lib.vhost_user import Req
from lib.wiretap import Wiretap

MIB = 1 << 20
DISK = "/machine/peripheral/disk0/virtio-backend"
# The image: what is only read, then the slots that are written again and again.
STATIC_MIB, SLOTS = 16, 64
SLOT = 64 << 10

# Writes a slot of the disk and the same to a file in memory, over and over.
LOAD = f"""
dd if=/dev/zero of=/tmp/mirror bs={SLOT} count={SLOTS} 2>/dev/null
dd if=/tmp/mirror of=/dev/vda bs={SLOT} seek={STATIC_MIB * MIB // SLOT} oflag=direct 2>/dev/null
cat >/tmp/load <<'END'
turn=0
while [ ! -e /tmp/stop ]; do
	slot=$((turn * 7 % {SLOTS}))
	dd if=/dev/urandom of=/tmp/block bs={SLOT} count=1 2>/dev/null
	dd if=/tmp/block of=/dev/vda bs={SLOT} seek=$(({STATIC_MIB * MIB // SLOT} + slot)) \\
		oflag=direct conv=notrunc 2>/dev/null || touch /tmp/failed
	dd if=/tmp/block of=/tmp/mirror bs={SLOT} seek=$slot conv=notrunc 2>/dev/null
	turn=$((turn + 1))
	echo $turn >/tmp/turns.new
	mv /tmp/turns.new /tmp/turns
done
touch /tmp/stopped
END
echo 0 >/tmp/turns
sh /tmp/load </dev/null >/dev/null 2>&1 &
"""
# A block device's cached pages go with its last close.
KEEP_OPEN = "sleep 100000 </dev/vda >/dev/null 2>&1 &"
# The kernel would clear a page before the device writes it, and that QEMU sees by itself.
KERNEL = "init_on_alloc=0"
# QEMU before 9.0 loses what an emulated processor stores while memory moves, with disks of its own
# as well: where memory is a multiple of 64 pages it forgets to tell the processors' look-aside
# buffers that their pages count as clean again. This is no such multiple.
MACHINE = {"smp": 2, "append": KERNEL, "memory": (256 << 10) - 128}
READ_STATIC = f"dd if=/dev/vda bs=64k count={STATIC_MIB * MIB >> 16} 2>/dev/null | md5sum"


def md5(data):
    return hashlib.md5(data).hexdigest()


def ram(qmp):
    status = qmp.command("query-migrate")
    assert status["status"] == "active", status
    return status["ram"]


def turns(guest):
    return int(guest.check("cat /tmp/turns"))


def reads_of_the_disk(guest):
    """Read requests that the guest has sent so far."""
    return int(guest.check("cat /sys/block/vda/stat").split()[0])


def migrate(source, qmp, target, during):
    """Move to the QEMU that waits at `target`; during() is called when all memory was sent once."""
    # Slow, so that it does not end by itself while the guest writes.
    qmp.command("migrate-set-parameters", **{"max-bandwidth": 16 * MIB, "downtime-limit": 1})
    qmp.command("migrate", uri=f"unix:{target}")
    wait_until(lambda: qmp.command("query-migrate")["status"] not in ("none", "setup"), "a start")
    wait_until(lambda: ram(qmp)["dirty-sync-count"] >= 2, "the first pass over memory")
    during()
    ram(qmp)
    qmp.command("migrate-set-parameters", **{"max-bandwidth": 4096 * MIB, "downtime-limit": 5000})
    wait_until(lambda: qmp.command("query-migrate")["status"] != "active", "its end")
    final = qmp.command("query-migrate")
    assert final["status"] == "completed", final


@pytest.mark.parametrize("packed", ["off", "on"], ids=["split", "packed"])
def test_a_guest_moves(tmp_path, packed):
    image = tmp_path / "image"
    image.write_bytes(random.Random(3).randbytes(STATIC_MIB * MIB) + bytes(SLOTS * SLOT))
    static = md5(image.read_bytes()[:STATIC_MIB * MIB])
    # Two writers that know of each other: QEMU hands the disk over when the guest stands still.
    device = f"virtio-blk,id=disk0,filename={image},locking=off,num-queues=2,packed={packed}"
    target = tmp_path / "migrate"

    def arguments(socket):
        return vhost_user_blk(socket, num_queues=2, packed=packed)

    with serve(tmp_path, device) as here, serve(tmp_path, device) as there, \
            Wiretap(here.folder.path / "tap", here.socket("disk0")) as tap, \
            GuestQemu(tmp_path / "source", arguments(tap.path), **MACHINE) as source, \
            GuestQemu(tmp_path / "target", [*arguments(there.socket("disk0")), "-incoming",
                                            f"unix:{target}"],
                      **MACHINE).waiting() as moved:
        source.check(LOAD)
        source.check(KEEP_OPEN)
        wait_until(lambda: turns(source) > 5, "some load")
        wait_until(target.exists, "the other QEMU")
        heard = len(tap.messages)

        def during():
            # The device writes these pages, into memory that was sent already.
            assert source.check(READ_STATIC).split()[0] == static

        migrate(source, source.qmp, target, during)
        requests = [message[1] for message in tap.messages[heard:] if message[0]]
        assert {Req.SET_LOG_BASE, Req.SET_FEATURES, Req.SET_VRING_ADDR} <= set(requests)
        moved.takes_over(source)
        with there.qmp() as qmp:
            # The guest goes on a moment before QEMU has started the device there.
            wait_until(lambda: qmp.command("x-query-virtio-status", path=DISK)["started"],
                       "the disk on the other side")
            features = qmp.command("x-query-virtio-status", path=DISK)["guest-features"]
            assert any("RING_PACKED" in text for text in features["transports"]) == (packed == "on")
        reads = reads_of_the_disk(moved)
        assert moved.check(READ_STATIC).split()[0] == static
        # They came from memory, which is what was to be seen.
        assert reads_of_the_disk(moved) == reads
        before = turns(moved)
        wait_until(lambda: turns(moved) > before + 5, "more load")
        moved.check("touch /tmp/stop; until [ -e /tmp/stopped ]; do sleep 0.1; done; "
                    "[ ! -e /tmp/failed ]")
        mirror = moved.check("md5sum </tmp/mirror").split()[0]
        written = moved.check(f"dd if=/dev/vda bs={SLOT} skip={STATIC_MIB * MIB // SLOT} "
                              "iflag=direct 2>/dev/null | md5sum").split()[0]
        assert mirror == written == md5(image.read_bytes()[STATIC_MIB * MIB:])
        assert md5(image.read_bytes()[:STATIC_MIB * MIB]) == static
        with here.qmp() as one, there.qmp() as other:
            for qmp in (one, other):
                assert not qmp.command("x-query-virtio-status", path=DISK)["broken"]
        assert moved.poweroff() == 0
