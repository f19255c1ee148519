# SPDX-License-Identifier: BSD-3-Clause
"""The back-end behind `ringside relay` is killed ten times in a row while a guest that is told
of nothing writes and verifies: user-mode Linux on qemu-storage-daemon, one request at a time;
Debian in QEMU, many at a time, on our own back-end."""
import random
import shutil
import signal

import pytest

from lib.guest_load import LOAD, SHARE, WRITERS, check_sums
from lib.guest_qemu import GuestQemu, vhost_user_blk
from lib.guest_uml import GuestUml
from lib.look import queue_of, status_of
from lib.process import Process, wait_until
from lib.relay import R0, relay, transcript
from lib.ringside import serve
from lib.slow_disk import slow_disk
from lib.virtio import BLK

KILLS = 10
QUEUES = 2

# One request at a time, each checked: /tmp/n counts them.
ONE_BY_ONE = """
: >/tmp/bad
{
    n=0
    while [ ! -e /tmp/enough ]; do
        head -c 4096 /dev/urandom >/tmp/data
        dd if=/tmp/data of=/dev/vda bs=4k seek=$((n % 64)) oflag=direct conv=notrunc 2>/dev/null ||
            echo "error" >>/tmp/bad
        dd if=/dev/vda bs=4k skip=$((n % 64)) count=1 iflag=direct 2>/dev/null |
            cmp - /tmp/data || echo "block $n differs" >>/tmp/bad
        n=$((n + 1))
    done
    echo over >/tmp/over
} >/tmp/out 2>&1 &
"""
FINISH = """
touch /tmp/enough
until [ -e /tmp/over ]; do
    sleep 0.1
done
cat /tmp/bad
"""


def moves(look, what):
    before = look()
    wait_until(lambda: all(a != b for a, b in zip(look(), before)), what)


def test_user_mode_linux_on_the_daemon(tmp_path):
    program = shutil.which("qemu-storage-daemon")
    if not program:
        pytest.skip("qemu-storage-daemon is missing: package qemu-system-common is not installed")
    image, path = tmp_path / "image", tmp_path / "back.sock"
    image.write_bytes(bytes(1 << 20))

    def start():
        path.unlink(missing_ok=True)
        return Process([program, "--blockdev",
                        f"driver=file,node-name=f0,filename={image},locking=off", "--export",
                        "type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,writable=on,"
                        f"addr.path={path}"])

    back = start()
    try:
        wait_until(path.exists, "the daemon's socket")
        with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on,outage-ms=60000",
                   connect=path) as host, host.qmp() as qmp, \
                GuestUml(tmp_path / "guest", [(host.socket("r0"), BLK)]) as guest:
            guest.check(ONE_BY_ONE)
            for _ in range(KILLS):
                moves(lambda: [queue_of(qmp, "r0")["used-idx"]], "requests")
                back.kill()
                back = start()
            moves(lambda: [queue_of(qmp, "r0")["used-idx"]], "requests with the last one")
            assert guest.check(FINISH) == ""
            assert "is stopped" not in host.process.text
            assert guest.poweroff() == 0
    finally:
        back.kill()


@pytest.mark.parametrize("packed", ["off", "on"], ids=["split", "packed"])
def test_qemu_on_our_own(tmp_path, packed):
    image = tmp_path / "image"
    image.write_bytes(bytes(WRITERS * SHARE))
    disk = (f"virtio-blk,id=disk0,filename={image},num-queues={QUEUES},packed={packed},"
            "aio=threads")
    hold = tmp_path / "hold"
    how = {"env": slow_disk(4000, hold)}
    chance = random.Random(5)
    back = serve(tmp_path, disk, **how)
    try:
        with relay(tmp_path, "id=r0,type=virtio-blk,reconnect=on,outage-ms=60000",
                   connect=back.socket("disk0")) as host, \
                GuestQemu(tmp_path / "guest",
                          vhost_user_blk(host.socket("r0"), num_queues=QUEUES, packed=packed),
                          smp=QUEUES) as guest:
            guest.check(LOAD)
            for _ in range(KILLS):
                with back.qmp() as qmp:
                    def look(qmp=qmp):
                        return [queue_of(qmp, "disk0", n) for n in range(QUEUES)]
                    wait_until(lambda: status_of(qmp, "disk0")["num-vqs"], "the replay")
                    moves(lambda: [q["last-avail-idx"] for q in look()], "requests on every queue")
                    least = chance.randrange(1, 8)
                    hold.touch()
                    wait_until(lambda: sum(q["inuse"] for q in look()) >= least,
                               "requests in flight")
                back.process.signal(signal.SIGKILL)
                back.crash()
                hold.unlink()
                back = serve(tmp_path, disk, folder=back.folder, **how)
            with back.qmp() as qmp:
                moves(lambda: [queue_of(qmp, "disk0", n)["last-avail-idx"]
                               for n in range(QUEUES)], "requests with the last one")
            check_sums(guest, image)
            assert "is stopped" not in host.process.text
            with host.qmp() as qmp:
                assert [m for m in transcript(qmp, path=R0) if m["own"]]
            assert guest.poweroff() == 0
        back.stop()
    finally:
        back.destroy()
