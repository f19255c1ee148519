# SPDX-License-Identifier: BSD-3-Clause
"""(a) Requests of 4 KiB at random places: our disk, qemu-storage-daemon's, and a bare loop."""
import itertools

import peers
from pairs import Ratio, median, take_pairs

RW = {"read": "randread", "write": "randwrite"}
# Queues and depth of each.
LOADS = [(1, 1), (1, 32), (4, 32)]
BEST, DEFAULT = "aio=io_uring", "aio=threads"


def drive(sock, rw, queues, depth, poll, seconds):
    """Requests a second, by our driver."""
    argv = [peers.RINGSIDE, "drive", "--connect", sock, "--device", "blk", "--rw", RW[rw], "--bs",
            "4k", "--queues", queues, "--iodepth", depth, "--seconds", seconds, "--json"]
    result = peers.run_json(*argv, *(["--poll"] if poll else []))
    return result[rw]["iops"]


def bare(image, rw, buffers, seconds):
    """Requests a second of a loop over pread() or pwrite() into so many buffers in turn."""
    count = max(1000, int(400000 * seconds))
    return 1e9 / peers.run_json(peers.tool("disk_bench"), image, "bare", rw, buffers, count)["ns"]


def judge(verdicts, row):
    what = f"{row['image']}, {row['rw']}, {row['queues']}x{row['depth']}, " \
           f"{'polling' if row['poll'] else 'sleeping'} driver"
    ratio = row["ratio"]
    verdicts.judge_ratio("blk", f"{what}: nowhere below 0.9 of qemu-storage-daemon", ratio,
                         (">=", 0.9))
    if row["poll"] and row["image"] == "tmpfs":
        wanted = 1.5 if row["depth"] == 1 else 1.25
        verdicts.judge_ratio("blk", f"{what}: of qemu-storage-daemon at its best", ratio,
                             (">=", wanted))
        if row["depth"] > 1:
            verdicts.judge_ratio("blk", f"{what}: of a bare loop", row["bare_ratio"], (">=", 0.85))


def measure(row, servers, image, rounds, seconds):
    """Fills in one row."""
    load = (row["rw"], row["queues"], row["depth"], row["poll"], seconds)
    ways = {name: lambda sock=sock: drive(sock, *load) for name, sock in servers.items()}
    if row["image"] == "tmpfs":
        ways["bare"] = lambda: bare(image, row["rw"], row["queues"] * row["depth"],
                                    seconds)
    for name, values in take_pairs(rounds, **ways).items():
        row[name] = values
    row["ratio"] = Ratio(row["ours"], row["best"])
    if "bare" in row:
        row["bare_ratio"] = Ratio(row["ours"], row["bare"])
    return row


def show(row, out):
    driver = "polling" if row["poll"] else "sleeping"
    bare_text = f"{median(row['bare']) / 1e3:9.0f}" if "bare" in row else " " * 9
    default = f"{median(row['default']) / 1e3:9.0f}" if "default" in row else " " * 9
    out(f"{row['image']:6} {row['rw']:5} {row['queues']}x{row['depth']:<3} {driver:8} "
        f"{median(row['ours']) / 1e3:9.0f} {median(row['best']) / 1e3:9.0f} {default} {bare_text}"
        f"  {row['ratio']}" + (f"  {row['bare_ratio']}" if "bare" in row else ""))


def images(shm, megabytes):
    """Two files of the same random contents, on a file system in memory."""
    block = bytes(range(256)) * 4096
    paths = [shm / "ours.img", shm / "theirs.img"]
    for path in paths:
        with path.open("wb") as f:
            for _ in range(megabytes):
                f.write(block)
    return paths


def run(folder, shm, verdicts, out, *, quick):
    rounds, seconds, megabytes = (1, 0.15, 16) if quick else (3, 0.4, 256)
    loads = [(1, 32)] if quick else LOADS
    rows = []
    out(f"{'image':6} {'rw':5} {'load':5} {'driver':8} {'ours':>9} {'q-s-d':>9} {'threads':>9} "
        f"{'bare':>9}  ratio to q-s-d  to bare   (thousand requests a second)")
    ours, theirs = images(shm, megabytes)
    file = f"driver=file,filename={theirs},locking=off"
    for image in ("tmpfs", "null"):
        if image == "tmpfs":
            started = {"ours": peers.our_disk(folder, "ours", f"filename={ours}"),
                       "best": peers.their_disk(folder, "best", f"{file},{BEST}"),
                       "default": peers.their_disk(folder, "default", f"{file},{DEFAULT}")}
        else:
            # Neither fills what is read: null-co does not unless told to.
            started = {"ours": peers.our_disk(folder, "null", "size=1G", "read-zeroes=off"),
                       "best": peers.their_disk(folder, "nullco", f"driver=null-co,size={1 << 30}")}
        servers = {name: sock for name, (_, sock) in started.items()}
        try:
            for rw, (queues, depth), poll in itertools.product(RW, loads, (False, True)):
                row = {"image": image, "rw": rw, "queues": queues, "depth": depth, "poll": poll}
                rows.append(measure(row, servers, ours, rounds, seconds))
                show(row, out)
                judge(verdicts, row)
        finally:
            for peer, _ in started.values():
                peer.__exit__()
    return [{k: v.json() if isinstance(v, Ratio) else v for k, v in row.items()} for row in rows]
