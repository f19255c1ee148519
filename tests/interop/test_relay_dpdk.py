# SPDX-License-Identifier: BSD-3-Clause
"""`ringside relay` between DPDK and DPDK: virtio-user's driver before it, net_vhost behind it. No
packet is lost, no thread of the relay wakes, and what it shows is what both of them have open."""
import pathlib
import re

import pytest

from lib.agree import Onlooker, all_five, has, vhost_queue
from lib.look import status_of
from lib.process import wait_until, wakeups
from lib.relay import UNWATCHED, relay, remarkable, transcript
from lib.testpmd import vhost_net, virtio_user

# Where the packets go, queue pairs, the driver's options.
WAYS = [
    ("there", 1, ""),
    ("there", 1, ",packed_vq=1"),
    ("there", 1, ",in_order=0,mrg_rxbuf=0"),
    ("there", 2, ""),
    ("there", 2, ",packed_vq=1"),
    ("there", 2, ",packed_vq=1,in_order=0"),
    ("back", 1, ",in_order=0"),
    ("back", 2, ""),
    ("back", 2, ",packed_vq=1"),
]


def eventfds(pid):
    """The identities of a process's eventfds."""
    found = set()
    for entry in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            match = re.search(r"^eventfd-id:\s*(\d+)", entry.read_text(), re.M)
        except FileNotFoundError:
            continue
        if match:
            found.add(match[1])
    return found


def file_of(pid, address):
    """Which file, and where in it, a process has mapped at an address."""
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, _, offset, device, inode = line.split()[:5]
        start, end = (int(x, 16) for x in span.split("-"))
        if start <= address < end:
            return device, inode, int(offset, 16) + address - start
    raise AssertionError(f"{address:#x} is mapped nowhere")


def same_memory_and_descriptors(qmp, host, queues, front, back):
    """Not alike: the same. virtio-user's guest-physical addresses are its own process's."""
    relayed = host.process.pid
    inodes = pathlib.Path(f"/proc/{back.pid}/maps").read_text()
    for number in queues:
        shown = vhost_queue(qmp, "r0", number)
        for area in ("desc", "avail", "used"):
            place = file_of(relayed, shown[area])
            assert place == file_of(front.pid, shown[f"{area}-phys"])
            assert f" {place[1]} " in inodes, "the back-end has that file too"
        for name in ("kick", "call"):
            info = pathlib.Path(f"/proc/{relayed}/fdinfo/{shown[name]}").read_text()
            ident = re.search(r"eventfd-id:\s*(\d+)", info)[1]
            assert ident in eventfds(front.pid) and ident in eventfds(back.pid)


def agreed_features(qmp, back):
    """What the back-end's own log says of the driver's word."""
    said = re.findall(r"negotiated Virtio features: 0x([0-9a-f]+)", back.process.text)
    words = [int(f["value"], 0) for m in transcript(qmp) if m["name"] == "SET_FEATURES"
             for f in m["fields"]]
    assert words and words[-1] == int(said[-1], 16)
    acked = status_of(qmp, "r0")["vhost-dev"]["acked-features"]
    assert "unknown-dev-features" not in acked
    assert len(acked["dev-features"]) + len(acked["transports"]) == words[-1].bit_count()


def missing(sender, receiver):
    """How many of what was sent has not arrived, so far."""
    return sender.packets()[1] - receiver.packets()[0]


@pytest.mark.parametrize("way, pairs, options", WAYS,
                         ids=[f"{w}-{n}{o or ',split'}" for w, n, o in WAYS])
def test_packets(tmp_path, way, pairs, options):
    there = way == "there"
    modes = ("txonly", "rxonly") if there else ("rxonly", "txonly")
    path = tmp_path / "back.sock"
    with vhost_net(path, modes[1], pairs) as back, \
            relay(tmp_path, "id=r0,type=virtio-net", connect=path,
                  arguments=UNWATCHED) as host, host.qmp() as qmp, \
            virtio_user(host.socket("r0"), modes[0], pairs, options) as front:
        sender, receiver = (front, back) if there else (back, front)

        def received():
            return receiver.packets()[0]

        wait_until(received, "the first packet")
        queues = range(2 * pairs)
        status = status_of(qmp, "r0")
        assert has(status, "VIRTIO_F_RING_PACKED") == ("packed" in options)
        assert has(status, "VIRTIO_F_IN_ORDER") == ("in_order=0" not in options)
        all_five(qmp, "r0", queues)
        same_memory_and_descriptors(qmp, host, queues, front, back)
        agreed_features(qmp, back)
        said, woken, first = transcript(qmp)[-1]["serial"], wakeups(host.process.pid), received()
        # Some hundred rings full.
        wait_until(lambda: received() > first + 100000, "packets")
        assert wakeups(host.process.pid) == woken
        with Onlooker(host.qmp(), "r0", queues) as onlooker:
            now = received()
            wait_until(lambda: received() > now + 100000 and onlooker.rounds > 20, "packets")
        assert transcript(qmp)[-1]["serial"] == said
        pairs_sent = sender.stop()
        # What comes back before both have begun is thrown away by DPDK itself. Nothing is later:
        # once all has arrived, no more is missing than was the first time.
        if there:
            wait_until(lambda: not missing(sender, receiver), "the last packet")
        lost = missing(sender, receiver)
        sender.start()
        now = received()
        wait_until(lambda: received() > now + 100000, "packets")
        sender.stop()
        wait_until(lambda: missing(sender, receiver) <= lost, "the last packet")
        if pairs > 1:
            assert len(pairs_sent) == pairs and all(sent for _, sent in pairs_sent)
            assert all(got for got, _ in receiver.stop())
        assert front.quit() == 0
        wait_until(lambda: not status_of(qmp, "r0")["vhost-started"], "the front-end's end")
        assert remarkable(qmp) == {}


def test_front_ends_are_killed(tmp_path):
    """Under load, three in a row, each of another format; the back-end goes on with the next."""
    path = tmp_path / "back.sock"
    with vhost_net(path, "rxonly") as back, \
            relay(tmp_path, "id=r0,type=virtio-net", connect=path,
                  arguments=UNWATCHED) as host, host.qmp() as qmp:
        for options in ("", ",packed_vq=1", ",in_order=0", ""):
            before = back.packets()[0]
            with virtio_user(host.socket("r0"), "txonly", 1, options) as front:
                wait_until(lambda: back.packets()[0] > before + 10000, "packets")
                all_five(qmp, "r0", range(2))
                front.crash()
            wait_until(lambda: not status_of(qmp, "r0")["num-vqs"], "its end")
        assert back.quit() == 0
