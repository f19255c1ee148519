# SPDX-License-Identifier: BSD-3-Clause
"""(g) Packets of a network card: DPDK's virtio-user is the driver of ours and of DPDK's net_vhost.
Each packet is copied out of the guest's memory, or into it, on both sides, and both offer IN_ORDER,
on which the driver's own paths depend."""
import os

import peers
from lib.process import wait_until
from lib.testpmd import vhost_net, virtio_user
from pairs import Ratio, median, take_pairs

RINGS = {"split": "", "packed": ",packed_vq=1"}
SIZES = (64, 1500)
# The loop looks for itself all the time, as DPDK's does.
POLL_NS = 10_000_000


def ours(folder, received, size, ring):
    sock = folder / "ours.sock"
    sock.unlink(missing_ok=True)
    core = sorted(os.sched_getaffinity(0))[0]
    return peers.Peer(
        ["taskset", "-c", core, peers.RINGSIDE, "serve", "--object",
         f"iothread,id=io0,poll-max-ns={POLL_NS}", "--device",
         f"virtio-net,id=n,netdev=null,source={size if received else 0},iothread=io0,"
         f"in_order=on,packed={'on' if ring == 'packed' else 'off'},listen={sock}"], sock,
        env={"XDG_RUNTIME_DIR": str(folder)}), sock


def theirs(folder, received, size):
    sock = folder / "theirs.sock"
    sock.unlink(missing_ok=True)
    return vhost_net(sock, "txonly" if received else "rxonly", size=size), sock


def rate(back, received, size, ring, seconds):
    """Packets a second, as the driver counts them."""
    peer, sock = back
    with peer, virtio_user(sock, "rxonly" if received else "txonly", 1, RINGS[ring],
                           size=size) as front:
        wait_until(lambda: front.packets()[not received], "the first packet")
        front.rate(received, seconds / 4)
        return front.rate(received, seconds)


def run(folder, shm, verdicts, out, *, quick):
    del shm
    rounds, seconds = (1, 0.5) if quick else (5, 2)
    results = []
    for ring in ("split",) if quick else RINGS:
        for size in SIZES[:1] if quick else SIZES:
            for received in (True, False):
                what = f"{'receive' if received else 'transmit'}, {ring}, {size} bytes"
                taken = take_pairs(
                    rounds,
                    ours=lambda r=received, s=size, k=ring:
                        rate(ours(folder, r, s, k), r, s, k, seconds),
                    dpdk=lambda r=received, s=size, k=ring:
                        rate(theirs(folder, r, s), r, s, k, seconds))
                ratio = Ratio(taken["ours"], taken["dpdk"])
                out(f"{what}: {median(taken['ours']) / 1e6:.2f} M/s, net_vhost "
                    f"{median(taken['dpdk']) / 1e6:.2f} M/s, ratio {ratio}")
                verdicts.judge_ratio("net", what, ratio, (">=", 1.0))
                results.append({"what": what, **ratio.json()})
    return results
