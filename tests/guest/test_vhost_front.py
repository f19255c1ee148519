# SPDX-License-Identifier: BSD-3-Clause
"""A guest's disk that somebody else serves, through a device of ours whose rings were handed over:
qemu-storage-daemon under `ringside run` and under QEMU, and our own back-end, killed under load."""
import hashlib
import os
import random
import shutil

import pytest

from lib.guest import Guest, images
from lib.guest_qemu import GuestQemu, vhost_user_blk
from lib.guest_uml import require_uml
from lib.look import flag_names, queue_of, status_of
from lib.process import Process, wait_until, wakeups
from lib.ringside import run_uml, serve

MIB = 1 << 20
DISK0 = "/machine/peripheral/disk0/virtio-backend"


@pytest.fixture
def daemon(tmp_path):
    """(image, socket) of somebody else's back-end."""
    program = shutil.which("qemu-storage-daemon")
    if not program:
        pytest.skip("qemu-storage-daemon is missing: package qemu-system-common is not installed")
    image, path = tmp_path / "image", tmp_path / "back.sock"
    image.write_bytes(random.Random(5).randbytes(16 * MIB))
    with Process([program, "--blockdev", f"driver=file,node-name=f0,filename={image}", "--export",
                  "type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,writable=on,num-queues=2,"
                  f"addr.path={path}"]) as process:
        wait_until(path.exists, "the daemon's socket")
        yield image, path
        assert process.running()


def use(guest, image):
    """Reads all, writes a quarter, both sides agree."""
    assert guest.check("dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum").split()[0] == \
        hashlib.md5(image.read_bytes()).hexdigest()
    guest.check("dd if=/dev/urandom of=/tmp/piece bs=1M count=4 2>/dev/null")
    guest.check("dd if=/tmp/piece of=/dev/vda bs=4k seek=256 oflag=direct 2>/dev/null; sync")
    ours = image.read_bytes()[MIB:5 * MIB]
    assert guest.check("md5sum /tmp/piece").split()[0] == hashlib.md5(ours).hexdigest()


def look(qmp):
    """The five commands; what they say agrees. The used index."""
    assert qmp.command("x-query-virtio") == [{"path": DISK0, "name": "virtio-blk"}]
    status = status_of(qmp, "disk0")
    assert status["vhost-started"] and status["vhost-dev"]["n-mem-sections"] >= 1
    assert {"DRIVER_OK", "FEATURES_OK"} <= flag_names(status)
    wait_until(lambda: "last-avail-idx" in queue_of(qmp, "disk0"), "a quiet moment")
    queue = queue_of(qmp, "disk0")
    assert queue["last-avail-idx"] == queue["used-idx"]
    vhost = qmp.command("x-query-virtio-vhost-queue-status", path=DISK0, queue=0)
    assert vhost["num"] == queue["vring-num"] and vhost["kick"] > 2 and vhost["call"] > 2
    assert qmp.command("x-query-virtio-queue-element", path=DISK0, queue=0)["descs"]
    return queue["used-idx"]


def run(tmp_path, device):
    require_uml()
    return run_uml(tmp_path, device, initrd=images("uml") / "uml.initrd")


def test_run_on_somebody_elses_disk(tmp_path, daemon):
    image, path = daemon
    with run(tmp_path, f"vhost-user-blk,id=disk0,connect={path}") as host:
        guest, qmp = Guest(host.process).wait_ready(), host.qmp()
        use(guest, image)
        first = look(qmp)
        guest.check("dd if=/dev/vda of=/dev/null bs=4k count=2000 iflag=direct 2>/dev/null")
        assert (look(qmp) - first) & 0xffff >= 2000
        # The guest waits for us, and not for its disk alone.
        qmp.command("stop")
        wait_until(lambda: not status_of(qmp, "disk0")["vhost-started"], "the rings are back")
        number = guest.start("md5sum /dev/vda")
        qmp.command("cont")
        assert hashlib.md5(image.read_bytes()).hexdigest() in guest.finish(number)[1]
        qmp.command("system_reset")
        guest.wait_ready()
        use(guest, image)
        look(qmp)


def test_qemu_on_somebody_elses_disk(tmp_path, daemon):
    image, path = daemon
    with serve(tmp_path, f"vhost-user-blk,id=disk0,connect={path}") as host:
        qmp = host.qmp()
        with GuestQemu(tmp_path / "guest", vhost_user_blk(host.socket("disk0"), num_queues=2),
                       smp=2) as guest:
            use(guest, image)
            first, woken = look(qmp), wakeups(host.process.pid, idle=False)
            guest.check("dd if=/dev/vda of=/dev/null bs=4k count=500 iflag=direct 2>/dev/null")
            # Hundreds of requests; what wakes us is QEMU's word of a vector, once in a while.
            assert wakeups(host.process.pid, idle=False) - woken < 50
            total = look(qmp) + queue_of(qmp, "disk0", 1)["used-idx"]
            assert total > first + 100
            assert guest.poweroff() == 0
        wait_until(lambda: not status_of(qmp, "disk0")["vhost-started"], "the driver's end")


def test_back_end_killed_under_load(tmp_path):
    """Ours keeps a record of what is in flight: the guest notices a pause, and no more."""
    image = tmp_path / "image"
    image.write_bytes(random.Random(6).randbytes(32 * MIB))
    disk = f"virtio-blk,id=disk0,filename={image}"
    folder = tmp_path / "back"
    folder.mkdir()
    back = serve(folder, disk)
    try:
        with run(tmp_path, f"vhost-user-blk,id=disk0,connect={back.socket('disk0')}") as host:
            guest, qmp = Guest(host.process).wait_ready(), host.qmp()
            for kill in range(5):
                number = guest.start("echo 3 >/proc/sys/vm/drop_caches; md5sum /dev/vda")
                begun = queue_of(qmp, "disk0")["used-idx"]
                wait_until(lambda: queue_of(qmp, "disk0")["used-idx"] != begun, "it reads")
                back.crash()
                back = serve(folder, disk, folder=back.folder)
                status, output = guest.finish(number)
                assert status == 0 and \
                    hashlib.md5(image.read_bytes()).hexdigest() in output, kill
            assert not status_of(qmp, "disk0")["broken"]
        back.stop()
    finally:
        back.destroy()
    assert os.stat(image).st_size == 32 * MIB
