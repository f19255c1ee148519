# SPDX-License-Identifier: BSD-3-Clause
"""virtio-crypto behind QEMU's cryptodev-vhost-user whose machine stands still, whose driver, guest
or device goes, and whose server does."""
import pytest

from lib.guest_crypto import (CRYPTO, DRIVER, Load, build_alg, check_driver, crypto_guest, fine,
                              goes_on)
from lib.health import health
from lib.look import status_of
from lib.process import wait_until
from lib.relay import R0, relay, remarkable, transcript
from lib.ringside import serve

UNBIND = "/sys/bus/virtio/drivers/virtio_crypto"


@pytest.fixture(scope="module")
def alg(tmp_path_factory):
    return build_alg(tmp_path_factory.mktemp("alg"))


def check(guest):
    check_driver(guest)
    fine(guest.check(f"alg check {DRIVER}"))


def check_stop_and_cont(guest, qmp):
    """Sessions and requests of the load are there afterwards."""
    load = Load(guest)
    for _ in range(3):
        goes_on(qmp)
        guest.qmp.command("stop")
        wait_until(lambda: not status_of(qmp, "c0")["started"], "a stop")
        guest.qmp.command("cont")
        wait_until(lambda: status_of(qmp, "c0")["started"], "a start")
    goes_on(qmp)
    assert all(fine(said) for said in load.stop())


def check_unbind_and_bind(guest):
    name = guest.check(f"ls {UNBIND} | grep virtio")
    for _ in range(3):
        guest.check(f"echo {name} >{UNBIND}/unbind")
        assert DRIVER not in guest.check("cat /proc/crypto")
        guest.check(f"echo {name} >{UNBIND}/bind")
        check(guest)


def check_reboots(guest, qmp):
    """The last one under load, whose sessions nobody closes."""
    for how in ("inside", "outside", "outside"):
        if how == "inside":
            guest.start("reboot -f")
        else:
            Load(guest)
            goes_on(qmp)
            guest.qmp.command("system_reset")
        guest.wait_ready()
        check(guest)


def test_driver_and_guest(tmp_path, alg):
    """With two data queues, though Linux 6.1 fills the first one only."""
    with serve(tmp_path, f"{CRYPTO},queues=2") as host, crypto_guest(
            tmp_path, host.socket("c0"), alg, "-action", "reboot=reset", queues=2) as guest, \
            host.qmp() as qmp:
        check(guest)
        check_stop_and_cont(guest, qmp)
        check_unbind_and_bind(guest)
        check_reboots(guest, qmp)
        assert not status_of(qmp, "c0")["broken"]
        assert guest.poweroff() == 0


def test_qemu_unplugs_and_plugs(tmp_path, alg):
    with serve(tmp_path, CRYPTO) as host, crypto_guest(
            tmp_path, host.socket("c0"), alg, "-device", "pcie-root-port,id=port0",
            bus="port0") as guest, host.qmp() as qmp:
        for _ in range(2):
            check(guest)
            guest.qmp.command("device_del", id="crypto0")
            guest.qmp.event("DEVICE_DELETED")
            wait_until(lambda: not status_of(qmp, "c0")["started"], "a stop")
            assert DRIVER not in guest.check("cat /proc/crypto")
            guest.qmp.execute("device_add", {
                "driver": "virtio-crypto-pci", "id": "crypto0", "cryptodev": "cryptodev0",
                "bus": "port0", "vectors": 0, "event_idx": False})
        check(guest)
        assert guest.poweroff() == 0


def test_through_a_relay(tmp_path, alg):
    """Which passes sessions on, and shows the pair as it is."""
    with serve(tmp_path, CRYPTO) as host, \
            relay(tmp_path, "id=r0,type=virtio-crypto", connect=host.socket("c0")) as between, \
            crypto_guest(tmp_path, between.socket("r0"), alg) as guest, between.qmp() as qmp:
        check(guest)
        load = Load(guest)
        goes_on(host.qmp())
        status = status_of(qmp, "r0")
        assert status["name"] == "virtio-crypto" and status["started"] and status["vhost-started"]
        assert status["vhost-dev"]["nvqs"] == 1
        queue = qmp.command("x-query-virtio-vhost-queue-status", path=R0, queue=0)
        assert queue["num"] == 1024 and queue["desc-size"] == 16384 and queue["avail-size"] == 2052
        found = health(qmp, "r0", 0)
        assert found["role"] == "dataq1" and found["verdict"] != "not-enabled", found
        assert {"CREATE_CRYPTO_SESSION", "CLOSE_CRYPTO_SESSION"} <= {
            m["name"] for m in transcript(qmp)}
        assert not remarkable(qmp)
        assert all(fine(said) for said in load.stop())
        assert guest.poweroff() == 0


def test_more_sessions_than_there_may_be(tmp_path, alg):
    """Whose key has no room is told so; what is answered is right, and there is room later."""
    with serve(tmp_path, f"{CRYPTO},max-sessions=4") as host, \
            crypto_guest(tmp_path, host.socket("c0"), alg) as guest:
        check(guest)
        load = Load(guest, 6)
        wait_until(lambda: guest.run("cat /tmp/load.[0-9] | grep key")[0] == 0, "a refusal")
        said = load.stop()
        assert all(s.startswith(("fine", "key: ")) for s in said), said
        check(guest)
        assert guest.poweroff() == 0


@pytest.mark.parametrize("how", ["unplugged", "killed"])
def test_the_server_goes(tmp_path, alg, how):
    """Under load. What was answered was right; QEMU 7.2 lives, and refuses its driver new keys."""
    with serve(tmp_path, CRYPTO) as host, \
            crypto_guest(tmp_path, host.socket("c0"), alg) as guest, host.qmp() as qmp:
        Load(guest)
        goes_on(qmp)
        if how == "killed":
            host.crash()
            host.expected_status = -9
            for left in host.folder.left():
                (host.folder.path / left).unlink()
        else:
            qmp.command("device_del", id="c0")
            qmp.event("DEVICE_DELETED")
        wait_until(lambda: guest.run(f"alg keys {DRIVER} 1")[0], "a refusal")
        assert "byte" not in guest.check("cat /tmp/load.*")
        assert guest.process.running()
