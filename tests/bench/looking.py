# SPDX-License-Identifier: BSD-3-Clause
"""(f) What looking costs. The recorder and the counters, compiled in against compiled out (a second
build with -Drecorder=false): by instructions of a request, and by requests a second of a disk
without storage. And a queue while nobody asks, against one about which is asked: asking.py."""
import pathlib
import re
import subprocess

import asking
import peers
from pairs import Ratio, median, take_pairs

FORMATS = ("split", "packed")


def plain_build(out):
    """The same tree without the recorder."""
    source = pathlib.Path(__file__).resolve().parents[2]
    folder = peers.BUILD.parent / "plain"
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(folder), str(source), "-Drecorder=false"],
                       check=True, capture_output=True)
    out(f"builds {folder} ...")
    subprocess.run(["ninja", "-C", str(folder), "src/bin/ringside", "tests/bench/ring_bench"],
                   check=True, capture_output=True)
    return folder


def instructions(folder, bench, fmt, count):
    out = folder / "callgrind.out"
    subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=vq_on_run_work",
                    f"--callgrind-out-file={out}", str(bench), fmt, "checked", "chain", "1",
                    str(count)], check=True, capture_output=True, timeout=300)
    return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1]) / count


def serve(folder, binary, name):
    sock = folder / f"{name}.sock"
    return peers.Peer([binary, "serve", "--name", f"bench-{name}", "--object",
                       f"iothread,id=io0,poll-max-ns={peers.POLL_NS}", "--device",
                       f"virtio-blk,id=disk0,size=1G,iothread=io0,listen={sock}"], sock,
                      env={"XDG_RUNTIME_DIR": str(folder)}), sock


def iops(sock, depth, seconds):
    return peers.run_json(peers.RINGSIDE, "drive", "--connect", sock, "--device", "blk",
                          "--iodepth", depth, "--poll", "--seconds", seconds, "--json",
                          timeout=120)["read"]["iops"]


def run(folder, _shm, verdicts, out, *, quick):
    rounds, count, seconds = (1, 1000, 1) if quick else (5, 5000, 3)
    plain, rows = plain_build(out), []
    for fmt in FORMATS if peers.has("valgrind") else ():
        with_it = instructions(folder, peers.tool("ring_bench"), fmt, count)
        without = instructions(folder, plain / "tests/bench/ring_bench", fmt, count)
        rows.append({"format": fmt, "instructions": {"with": with_it, "without": without}})
        out(f"{fmt:6} {with_it:7.0f} instructions a request of the ring, {without:7.0f} without "
            f"the recorder: {with_it - without:.0f} more")
    binaries = {"with": peers.RINGSIDE, "without": str(plain / "src/bin/ringside")}
    for depth in (1, 32):
        running = {name: serve(folder, binary, f"{name}{depth}")
                   for name, binary in binaries.items()}
        try:
            taken = take_pairs(rounds, **{name: lambda sock=sock: iops(sock, depth, seconds)
                                          for name, (_, sock) in running.items()})
        finally:
            for peer, _ in running.values():
                peer.process.kill()
        recorder = Ratio(taken["with"], taken["without"])
        rows.append({"depth": depth, "recorder": recorder.json()})
        out(f"depth {depth:2}: {median(taken['with']) / 1e3:7.1f} thousand requests a second; to "
            f"those without recorder {recorder}")
        verdicts.judge_ratio("looking", f"depth {depth}: with the recorder, to without",
                             recorder, (">=", 0.97))
    return rows + asking.run(folder, verdicts, out, quick)
