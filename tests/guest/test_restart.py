# SPDX-License-Identifier: BSD-3-Clause
"""A Debian guest in QEMU writes and verifies with many requests outstanding while the device
process is killed and started again, ten times in a row, and while the machine is paused: no request
is lost, and what was written is there. QEMU reconnects by itself (reconnect=1)."""
import contextlib
import random
import signal

import pytest

from lib.guest_load import LOAD, SHARE, WRITERS, check_sums
from lib.guest_qemu import GuestQemu, vhost_user_blk
from lib.process import Timeout, wait_until
from lib.ringside import serve
from lib.slow_disk import slow_disk

KILLS, PAUSES = 10, 5
QUEUES = 2
DISK = "/machine/peripheral/disk0/virtio-backend"
LATENCY_US = 4000
# QEMU notes every message of its own in a file.
TRACED = "vhost_user_read", "vhost_user_write", "vhost_dev_*"


def queue_states(qmp):
    return [qmp.command("x-query-virtio-queue-status", path=DISK, queue=n) for n in range(QUEUES)]


def outstanding(qmp):
    return sum(state["inuse"] for state in queue_states(qmp))


def is_packed(qmp):
    transports = qmp.command("x-query-virtio-status", path=DISK)["guest-features"]["transports"]
    return any(text.startswith("VIRTIO_F_RING_PACKED") for text in transports)


def is_started(qmp):
    return any(text.startswith("VIRTIO_CONFIG_S_DRIVER_OK")
               for text in qmp.command("x-query-virtio-status", path=DISK)["status"]["statuses"])


def traced(path):
    arguments = ["-msg", "timestamp=on", "-D", str(path)]
    for event in TRACED:
        arguments += ["-trace", event]
    return arguments


@contextlib.contextmanager
def explained(guest, host, trace):
    """What a wait that was in vain needs to be understood: whose requests stand still, if any do,
    and who said what last."""
    try:
        yield
    except Timeout as late:
        text = [str(late)]
        # Of two looks, as far as there is an answer.
        with contextlib.suppress(Timeout), host.qmp() as qmp:
            for _ in range(2):
                text.append(str(queue_states(qmp)))
                text.append(guest.run("grep . /tmp/n*; cat /sys/block/vda/inflight")[1])
        text += [host.process.text, guest.process.text[-2000:], trace.read_text()[-4000:]]
        raise Timeout("\n".join(text)) from None


def progress(host):
    """Wait until new requests have gone through on this host: QEMU is past its reconnection, of
    which the first half must not be cut (docs/vhost-user.md, "Restarts")."""
    with host.qmp() as qmp:
        # Until then a position is 0, and the one that QEMU sets is no progress.
        wait_until(lambda: is_started(qmp), "QEMU to start the device")
        before = [state["last-avail-idx"] for state in queue_states(qmp)]
        wait_until(lambda: all(state["last-avail-idx"] != at for state, at in
                               zip(queue_states(qmp), before)), "requests on every queue")


@pytest.mark.parametrize("packed", ["off", "on"], ids=["split", "packed"])
def test_killed_under_load(tmp_path, packed):
    image = tmp_path / "image"
    image.write_bytes(bytes(WRITERS * SHARE))
    disk = (f"virtio-blk,id=disk0,filename={image},num-queues={QUEUES},packed={packed},"
            "aio=threads")
    # A busy machine's guest seldom has many requests in flight at once, unless they are held.
    hold = tmp_path / "hold"
    how = {"env": slow_disk(LATENCY_US, hold)}
    chance = random.Random(3)
    seen = 0
    host = serve(tmp_path, disk, **how)
    try:
        arguments = vhost_user_blk(host.socket("disk0"), reconnect=1, num_queues=QUEUES,
                                   packed=packed)
        trace = tmp_path / "messages"
        arguments += traced(trace)
        with GuestQemu(tmp_path / "guest", arguments, smp=QUEUES) as guest:
            guest.check(LOAD)
            for _ in range(KILLS):
                with explained(guest, host, trace), host.qmp() as qmp:
                    progress(host)
                    least = chance.randrange(1, 8)
                    hold.touch()
                    wait_until(lambda: outstanding(qmp) >= least, "requests in flight")
                    seen += outstanding(qmp)
                    assert is_packed(qmp) == (packed == "on")
                host.process.signal(signal.SIGKILL)
                host.crash()
                hold.unlink()
                host = serve(tmp_path, disk, folder=host.folder, **how)
            with explained(guest, host, trace):
                progress(host)
            check_sums(guest, image)
            assert guest.poweroff() == 0
        host.stop()
    finally:
        host.destroy()
    assert seen > KILLS


@pytest.mark.parametrize("packed", ["off", "on"], ids=["split", "packed"])
def test_paused_under_load(tmp_path, packed):
    image = tmp_path / "image"
    image.write_bytes(bytes(WRITERS * SHARE))
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={image},num-queues={QUEUES},"
               f"packed={packed},aio=threads", env=slow_disk(LATENCY_US)) as host:
        arguments = vhost_user_blk(host.socket("disk0"), reconnect=1, num_queues=QUEUES,
                                   packed=packed)
        with GuestQemu(tmp_path / "guest", arguments, smp=QUEUES) as guest, host.qmp() as qmp:
            guest.check(LOAD)
            for _ in range(PAUSES):
                progress(host)
                wait_until(lambda: outstanding(qmp) > 0, "requests in flight", interval=0)
                guest.qmp.command("stop")
                assert outstanding(qmp) == 0
                guest.qmp.command("cont")
            progress(host)
            check_sums(guest, image)
            assert guest.poweroff() == 0
