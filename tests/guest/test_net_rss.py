# SPDX-License-Identifier: BSD-3-Clause
"""virtio-net with a real driver: receive-side scaling and coalescing, set by user-mode Linux."""
import random
import socket
import struct

import pytest

from lib.guest_every import guest_tool
from lib.guest_uml import GuestUml
from lib.look import queue_of, status_of
from lib.process import PATIENCE, wait_until
from lib.ringside import Folder, serve
from lib.virtio import BLK, NET

CARD = bytes.fromhex("525400010203")
PAIRS = 4


def toeplitz(key, data):
    """Written from the definition, bit by bit."""
    window, total, result = int.from_bytes(key, "big"), len(key) * 8, 0
    for number in range(len(data) * 8):
        if data[number // 8] >> (7 - number % 8) & 1:
            result ^= window >> (total - 32 - number) & 0xffffffff
    return result


def udp(flow):
    """A frame of a flow of 12 bytes: addresses and ports."""
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + flow[:8]
    return CARD + bytes.fromhex("525400090909") + b"\x08\x00" + ip + flow[8:] + bytes(22)


@pytest.fixture
def rig(tmp_path):
    """(host, guest, the cable's other end)"""
    folder = Folder()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder.path / "cable"))
        listener.listen()
        tool = guest_tool(tmp_path, "eth_tool.c")
        with serve(tmp_path, f"virtio-net,id=n,netdev=stream,path={folder.path / 'cable'},"
                   f"mac=52:54:00:01:02:03,queues={PAIRS},rss=on,notf_coal=on",
                   f"virtio-blk,id=tool,filename={tool},read-only=on") as host:
            cable, _ = listener.accept()
            cable.settimeout(PATIENCE)
            (tmp_path / "guest").mkdir()
            with cable, GuestUml(tmp_path / "guest", [(host.socket("n"), NET),
                                                      (host.socket("tool"), BLK)]) as guest:
                guest.check("cat /dev/vda >/bin/eth_tool; chmod +x /bin/eth_tool")
                guest.check("ip link set eth0 up")
                yield host, guest, cable
    folder.remove()


def used(qmp):
    return [queue_of(qmp, "n", 2 * pair)["used-idx"] for pair in range(PAIRS)]


def test_the_guest_steers(rig):
    """Flows come in on the queues that the guest's own table and key say."""
    host, guest, cable = rig
    order = random.Random(60)
    with host.qmp() as qmp:
        features = status_of(qmp, "n")["guest-features"]["dev-features"]
        assert any(line.startswith("VIRTIO_NET_F_RSS:") for line in features)
        guest.check(f"eth_tool pairs eth0 {PAIRS}")
        size, key = guest.check("eth_tool rss eth0").split()
        assert int(size) == 128 and len(key) == 80
        for table in ([3, 2, 1, 0], [2], [1, 3, 3]):
            guest.check("eth_tool table eth0 " + " ".join(map(str, table)))
            flows = [order.randbytes(3) + b"\x01" + order.randbytes(3) + b"\x02"
                     + order.randbytes(4) for _ in range(40)]
            expected, before = used(qmp), used(qmp)
            for flow in flows:
                index = toeplitz(bytes.fromhex(key), flow) & 127
                expected[table[index % len(table)]] += 1
                frame = udp(flow)
                cable.sendall(struct.pack(">I", len(frame)) + frame)
            wait_until(lambda: sum(used(qmp)) == sum(before) + len(flows), "all frames")
            assert used(qmp) == expected
        # And out of each pair they go one way: the guest is alive behind all of this.
        guest.check("ip addr add 10.9.0.1/24 dev eth0; ping -c 1 -W 1 10.9.0.2 || true")
        assert cable.recv(1)


def test_the_guest_lets_interrupts_wait(rig):
    """With coalescing set frames arrive all the same, and some call nobody at once."""
    host, guest, cable = rig
    frame = udp(bytes(12))
    with host.qmp() as qmp:
        guest.check("eth_tool coal eth0 20000 64")
        before = used(qmp)[0]
        for _ in range(10):
            cable.sendall(struct.pack(">I", len(frame)) + frame)
        wait_until(lambda: used(qmp)[0] == before + 10, "all frames")
        received = "cat /sys/class/net/eth0/statistics/rx_packets"
        guest.check(f"for i in $(seq 200); do [ $({received}) -ge 10 ] && exit 0; sleep 0.1; done;"
                    "exit 1")
        trace = qmp.command("query-virtqueue-trace", path="/machine/peripheral/n/virtio-backend",
                            queue=0)
        assert any(event["event"] == "call-held" for event in trace)
        guest.check("eth_tool coal eth0 0 0")
