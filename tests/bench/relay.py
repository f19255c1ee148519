# SPDX-License-Identifier: BSD-3-Clause
"""(e) With `ringside relay` between the two ends and without: packets of DPDK, blocks of
qemu-storage-daemon; and how often the relay wakes meanwhile."""
import itertools
import time

import peers
from lib.process import Process, wait_until, wakeups
from lib.qmp import Qmp
from lib.testpmd import vhost_net, virtio_user
from pairs import Ratio, median, take_pairs

# Queue pairs, the driver's options.
NETS = [(1, ""), (1, ",packed_vq=1"), (2, ""), (2, ",packed_vq=1")]
PATH = "/machine/peripheral/r0/virtio-backend"


def relay(folder, name, kind, back):
    """A relay, its socket and its monitor's."""
    sock, qmp = folder / f"{name}.sock", folder / f"{name}.qmp"
    sock.unlink(missing_ok=True)
    qmp.unlink(missing_ok=True)
    return peers.Peer([peers.RINGSIDE, "relay", "--stall-ms", "0", "--qmp", f"unix:{qmp}",
                       "--device", f"id=r0,type={kind},listen={sock},connect={back}"], sock, qmp,
                      env={"XDG_RUNTIME_DIR": str(folder)}), sock, qmp


def woken(pid, seconds):
    """How often in so many seconds. Nothing is asked of the relay meanwhile."""
    before = wakeups(pid)
    time.sleep(seconds)
    return (wakeups(pid) - before) / seconds


def packets(folder, relayed, pairs, options, seconds):
    """(packets a second, the relay's wake-ups a second)."""
    back_sock = folder / "pmd.sock"
    back_sock.unlink(missing_ok=True)
    with vhost_net(back_sock, "rxonly", pairs) as back:
        peer, sock, _ = relay(folder, "net", "virtio-net", back_sock) if relayed else \
            (None, back_sock, None)
        try:
            with virtio_user(sock, "txonly", pairs, options):
                wait_until(lambda: back.packets()[0], "the first packet")
                # Caches, and pages that are touched for the first time.
                back.rate(True, seconds / 4)
                before = wakeups(peer.pid) if relayed else 0
                rate = back.rate(True, seconds)
                return rate, (wakeups(peer.pid) - before) / seconds if relayed else 0
        finally:
            if peer:
                peer.__exit__()


def compare(rounds, direct, through):
    """A B A of each round: the relay against the first, and the second against the first, which is
    how much two that are the same differ here."""
    taken = take_pairs(rounds, direct=direct, relay=through, again=direct)
    return {**taken, "ratio": Ratio(taken["relay"], taken["direct"]),
            "noise": Ratio(taken["again"], taken["direct"])}


def net(folder, rounds, seconds, ways):
    for pairs, options in ways:
        waking = []

        def through(pairs=pairs, options=options, waking=waking):
            rate, wakes = packets(folder, True, pairs, options, seconds)
            waking.append(wakes)
            return rate

        row = compare(rounds,
                      lambda p=pairs, o=options: packets(folder, False, p, o, seconds)[0], through)
        yield {"what": f"net, {'packed' if options else 'split'}, {pairs} queue pair"
                       f"{'s' if pairs > 1 else ''}", **row, "wakeups": max(waking)}


def blocks(sock, depth, poll, seconds):
    """Requests a second, by our driver."""
    argv = [peers.RINGSIDE, "drive", "--connect", sock, "--device", "blk", "--rw", "randread",
            "--iodepth", depth, "--seconds", seconds, "--json", *(["--poll"] if poll else [])]
    return peers.run_json(*argv)["read"]["iops"]


def blocks_waking(peer, sock, qmp, depth, poll):
    """The relay's wake-ups a second, once the driver has said all."""
    argv = [peers.RINGSIDE, "drive", "--connect", sock, "--device", "blk", "--rw", "randread",
            "--iodepth", depth, "--seconds", 60, *(["--poll"] if poll else [])]
    with Process(argv, stdin=False), Qmp(str(qmp)) as monitor:
        def used():
            queue = monitor.execute("x-query-virtio-queue-status", {"path": PATH, "queue": 0})
            return queue.get("return", {}).get("used-idx")

        wait_until(used, "the first request")
        return woken(peer.pid, 1)


def blk(folder, shm, rounds, seconds, loads):
    image = shm / "relay.img"
    image.write_bytes(bytes(range(256)) * (64 << 12))
    daemon, back = peers.their_disk(folder, "behind",
                                    f"driver=file,filename={image},locking=off,aio=io_uring")
    with daemon:
        peer, sock, qmp = relay(folder, "blk", "virtio-blk", back)
        with peer:
            for depth, poll in loads:
                row = compare(rounds, lambda d=depth, p=poll: blocks(back, d, p, seconds),
                              lambda d=depth, p=poll: blocks(sock, d, p, seconds))
                yield {"what": f"blk, depth {depth}, {'polling' if poll else 'sleeping'} driver",
                       **row, "wakeups": blocks_waking(peer, sock, qmp, depth, poll)}


def show(row, out):
    out(f"{row['what']:36} {median(row['direct']) / 1e3:9.0f} {median(row['relay']) / 1e3:9.0f}  "
        f"{row['ratio']}  {row['noise']}  {row['wakeups']:g}")


def run(folder, shm, verdicts, out, *, quick):
    rounds, seconds = (1, 0.2) if quick else (5, 1.0)
    loads = [(32, False)] if quick else list(itertools.product((1, 32), (False, True)))
    parts = []
    if peers.has("dpdk-testpmd"):
        parts.append(net(folder, rounds, seconds, NETS[:1] if quick else NETS))
    else:
        out("no packets: dpdk-testpmd is missing")
    if peers.has("qemu-storage-daemon"):
        parts.append(blk(folder, shm, rounds, seconds / 2, loads))
    else:
        out("no blocks: qemu-storage-daemon is missing")
    out(f"{'':36} {'direct':>9} {'relay':>9}  ratio  the same twice  wake-ups a second   "
        "(thousands a second)")
    rows = []
    for row in itertools.chain(*parts):
        rows.append(row)
        show(row, out)
        verdicts.judge_ratio("relay", f"{row['what']}: of the same without a relay", row["ratio"],
                             (">=", 0.95))
        verdicts.judge("relay", f"{row['what']}: wake-ups of the relay", row["wakeups"], ("<=", 0),
                       unit=" a second")
    return [{k: v.json() if isinstance(v, Ratio) else v for k, v in row.items()} for row in rows]
