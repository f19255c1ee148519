# SPDX-License-Identifier: BSD-3-Clause
"""virtio-net and others: DPDK's virtio-user as a driver, QEMU's netdevs at the other end of our
sockets, and a Linux guest of QEMU's behind vhost-user-net."""
import shutil

import pytest

from lib.guest import Guest, images
from lib.guest_qemu import QEMU, GuestQemu
from lib.guest_uml import require_uml
from lib.process import Process, wait_until
from lib.ringside import run_uml, serve
from lib.testpmd import virtio_user

PATH = "/machine/peripheral/net0/virtio-backend"
DHCP = "udhcpc -i eth0 -n -q -s /bin/dhcp-apply"
ENOUGH = 20000

# What DPDK's net_virtio_user is told, and what that makes of the ring.
WAYS = {
    "split": ("", "split"),
    "packed": (",packed_vq=1", "packed"),
    "in-order": (",in_order=1", "split"),
    "packed-in-order": (",packed_vq=1,in_order=1", "packed"),
    "not-mergeable": (",mrg_rxbuf=0", "split"),
    "packed-not-mergeable": (",packed_vq=1,mrg_rxbuf=0", "packed"),
    "mergeable": (",mrg_rxbuf=1,in_order=0", "split"),
}


@pytest.mark.parametrize("mode", ("rxonly", "txonly"))
@pytest.mark.parametrize("way", WAYS)
def test_dpdk(tmp_path, way, mode):
    options, ring = WAYS[way]
    device = "virtio-net,id=net0,netdev=null,packed=on,in_order=on,source=64,iothread=io0"
    with serve(tmp_path, device, arguments=["--object", "iothread,id=io0"]) as host:
        with virtio_user(host.socket("net0"), mode, options=options) as front:
            received = mode == "rxonly"
            wait_until(lambda: front.packets()[not received] >= ENOUGH, "packets")
            queue = host.qmp().command("x-query-virtio-queue-status", path=PATH,
                                       queue=0 if received else 1)
            assert queue["inuse"] == 0
            features = host.qmp().command("x-query-virtio-status", path=PATH)
            assert any("RING_PACKED" in f for f in features["guest-features"]["transports"]) == \
                (ring == "packed")
            front.stop()
            assert front.quit() == 0


def test_dpdk_several_pairs(tmp_path):
    device = "virtio-net,id=net0,netdev=null,queues=2,source=200"
    with serve(tmp_path, device) as host:
        with virtio_user(host.socket("net0"), "rxonly", 2) as front:
            wait_until(lambda: front.packets()[0] >= ENOUGH, "packets")
            # Each pair receives: its rings are started, and nobody commands otherwise.
            assert all(rx > 0 for rx, _ in front.stop())
            assert front.quit() == 0


class Hub:
    """A QEMU without a machine: a user-mode network and one more netdev on a hub."""

    def __init__(self, tmp_path, netdev):
        if not shutil.which(QEMU):
            pytest.skip(f"{QEMU} is missing: package qemu-system-x86 is not installed")
        self.process = Process(
            [QEMU, "-M", "none", "-nodefaults", "-display", "none", "-netdev", "user,id=u",
             "-netdev", "hubport,id=h0,hubid=0,netdev=u", "-netdev", f"{netdev},id=n",
             "-netdev", "hubport,id=h1,hubid=0,netdev=n"], log=tmp_path / "hub.log")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()


def carrier(guest):
    return guest.run("cat /sys/class/net/eth0/carrier")[1].strip() == "1"


def use_network(guest):
    guest.check(DHCP)
    assert "3 packets received" in guest.check("ping -c 3 -s 1400 10.0.2.2")


def test_stream_to_qemu(tmp_path):
    """We are the server: QEMU comes, goes and comes again, and the guest sees its link."""
    require_uml()
    path = tmp_path / "cable"
    netdev = f"stream,server=off,addr.type=unix,addr.path={path}"
    with run_uml(tmp_path, f"virtio-net,id=net0,netdev=stream,path={path},server=on",
                 initrd=images("uml") / "uml.initrd") as host:
        guest = Guest(host.process).wait_ready()
        guest.check("ip link set eth0 up")
        wait_until(lambda: not carrier(guest), "the link to be down")
        for _ in range(2):
            with Hub(tmp_path, netdev):
                wait_until(lambda: carrier(guest), "the link")
                use_network(guest)
            wait_until(lambda: not carrier(guest), "the link to be down")


def test_stream_from_qemu(tmp_path):
    """QEMU is the server, and we dial."""
    require_uml()
    path = tmp_path / "cable"
    with Hub(tmp_path, f"stream,server=on,addr.type=unix,addr.path={path}"):
        wait_until(path.exists, "QEMU's socket")
        with run_uml(tmp_path, f"virtio-net,id=net0,netdev=stream,path={path}",
                     initrd=images("uml") / "uml.initrd") as host:
            use_network(Guest(host.process).wait_ready())


def test_dgram_with_qemu(tmp_path):
    require_uml()
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    netdev = (f"dgram,local.type=unix,local.path={theirs},"
              f"remote.type=unix,remote.path={ours}")
    with run_uml(tmp_path, f"virtio-net,id=net0,netdev=dgram,local={ours},remote={theirs}",
                 initrd=images("uml") / "uml.initrd") as host:
        guest = Guest(host.process).wait_ready()
        # Nobody is there: what is sent is lost, and nothing waits.
        assert guest.run(f"{DHCP} -t 1 -T 1")[0] != 0
        for _ in range(2):
            with Hub(tmp_path, netdev):
                wait_until(theirs.exists, "QEMU's socket")
                use_network(guest)
            theirs.unlink(missing_ok=True)


def test_qemu_guest(tmp_path):
    """A Debian kernel in QEMU, whose control queue stays QEMU's: DHCP and large pings."""
    with serve(tmp_path, "virtio-net,id=net0,netdev=user") as host:
        # With MSI-X this QEMU ends itself (signal 11) when a driver takes a card whose rings are
        # served elsewhere, under software emulation.
        arguments = ["-chardev", f"socket,id=c,path={host.socket('net0')}",
                     "-netdev", "vhost-user,id=n,chardev=c", "-device",
                     "virtio-net-pci,netdev=n,id=net0,vectors=0,romfile="]
        with GuestQemu(tmp_path / "guest", arguments) as guest:
            guest.check("load virtio_net")
            use_network(guest)
            status = host.qmp().command("x-query-virtio-status", path=PATH)
            features = " ".join(status["guest-features"]["dev-features"])
            assert "VIRTIO_NET_F_MRG_RXBUF" in features
            assert "VIRTIO_NET_F_CTRL_VQ" not in features, "QEMU's control queue is ours"
            assert guest.poweroff() == 0
