# SPDX-License-Identifier: BSD-3-Clause
"""(f) What looking costs. The recorder and the counters, compiled in against compiled out (a second
build with -Drecorder=false): by instructions of a request, and by requests a second of a disk
without storage. And a queue while nobody asks, against a hundred queries a second of every kind."""
import pathlib
import re
import subprocess
import threading

import peers
from lib.qmp import Qmp
from pairs import Ratio, median, take_pairs

FORMATS = ("split", "packed")
PATH = "/machine/peripheral/disk0/virtio-backend"
QUERIES = [("x-query-virtio", {}), ("x-query-virtio-status", {"path": PATH}),
           ("query-virtio-sources", {"path": PATH})] + [
    (name, {"path": PATH, "queue": 0}) for name in (
        "x-query-virtio-queue-status", "x-query-virtio-queue-element", "query-virtqueue-inflight",
        "query-virtqueue-elements", "query-virtqueue-trace")] + [
    ("query-stats", {"target": "virtqueue"})]
QUERIES_A_SECOND = 100


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
    qmp = folder / f"{name}.qmp"
    return peers.Peer([binary, "serve", "--name", f"bench-{name}", "--qmp", f"unix:{qmp}",
                       "--object", f"iothread,id=io0,poll-max-ns={peers.POLL_NS}", "--device",
                       f"virtio-blk,id=disk0,size=1G,iothread=io0,listen={sock}"], sock,
                      env={"XDG_RUNTIME_DIR": str(folder)}), sock, qmp


def iops(sock, depth, seconds):
    return peers.run_json(peers.RINGSIDE, "drive", "--connect", sock, "--device", "blk",
                          "--iodepth", depth, "--poll", "--seconds", seconds, "--json",
                          timeout=120)["read"]["iops"]


class Asking:
    """A hundred queries of every kind in a second."""

    def __init__(self, qmp):
        self.over = threading.Event()
        self.count = 0
        self.thread = threading.Thread(target=self._ask, args=(qmp,))

    def _ask(self, address):
        with Qmp(str(address)) as qmp:
            while not self.over.wait(1 / QUERIES_A_SECOND):
                for name, arguments in QUERIES:
                    qmp.execute(name, arguments)
                    self.count += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()


def asked(sock, qmp, depth, seconds):
    with Asking(qmp):
        return iops(sock, depth, seconds)


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
            taken = take_pairs(rounds, **{name: lambda peer=peer: iops(peer[1], depth, seconds)
                                          for name, peer in running.items()})
            looked = take_pairs(rounds, asked=lambda: asked(*running["with"][1:], depth, seconds),
                                idle=lambda: iops(running["with"][1], depth, seconds))
        finally:
            for peer in running.values():
                peer[0].process.kill()
        recorder = Ratio(taken["with"], taken["without"])
        asking = Ratio(looked["asked"], looked["idle"])
        rows.append({"depth": depth, "recorder": recorder.json(), "asked": asking.json()})
        out(f"depth {depth:2}: {median(taken['with']) / 1e3:7.1f} thousand requests a second; to "
            f"those without recorder {recorder}; asked, to idle {asking}")
        verdicts.judge_ratio("looking", f"depth {depth}: with the recorder, to without",
                             recorder, (">=", 0.97))
        verdicts.judge_ratio("looking", f"depth {depth}: while asked, to idle", asking,
                             (">=", 0.99))
    return rows
