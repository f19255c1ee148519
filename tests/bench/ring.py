# SPDX-License-Identifier: BSD-3-Clause
"""(d) The core's walk of a ring against the same walk without its checks: by instructions, counted
by callgrind and the same on each run, and by time."""
import re
import subprocess

import peers
from pairs import Ratio, median, take_pairs

FORMATS = ("split", "packed")
# What a request consists of: one descriptor; three, as a disk's; the same in an indirect table.
SHAPES = ("one", "chain", "table")
WALKS = ("checked", "unchecked")


def timed(fmt, walk, shape, cores, count):
    return peers.run_json(peers.tool("ring_bench"), fmt, walk, shape, cores, count)["per_second"]


def instructions(folder, fmt, walk, shape, count):
    """A request's, of the device's side alone."""
    out = folder / "callgrind.out"
    subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=vq_on_run_work",
                    f"--callgrind-out-file={out}", peers.tool("ring_bench"), fmt, walk, shape, "1",
                    str(count)], check=True, capture_output=True, timeout=300)
    return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1]) / count


def measure(folder, fmt, shape, rounds, count, callgrind):
    row = {"format": fmt, "shape": shape}
    for cores in (1, 2):
        taken = take_pairs(rounds, **{walk: lambda walk=walk: timed(fmt, walk, shape, cores,
                                                                 count // cores**2)
                                      for walk in WALKS})
        row[f"time_{cores}"] = Ratio(taken["checked"], taken["unchecked"])
    if callgrind:
        row["instructions"] = {walk: instructions(folder, fmt, walk, shape, 2000) for walk in WALKS}
        row["cost_percent"] = (row["instructions"]["checked"] / row["instructions"]["unchecked"]
                               - 1) * 100
    return row


def show(row, out):
    ins = row.get("instructions")
    text = " " * 29
    if ins:
        text = f"{ins['checked']:9.0f} {ins['unchecked']:9.0f} {row['cost_percent']:7.1f} %"
    one, two = row["time_1"], row["time_2"]
    out(f"{row['format']:6} {row['shape']:5} {text} {median(one.a) / 1e6:9.1f} "
        f"{median(one.b) / 1e6:9.1f} {str(one):>18} {median(two.a) / 1e6:9.1f} "
        f"{median(two.b) / 1e6:9.1f} {str(two):>18}")


def run(folder, _shm, verdicts, out, *, quick):
    rounds, count = (1, 50_000) if quick else (3, 3_000_000)
    callgrind = peers.has("valgrind")
    if not callgrind:
        out("valgrind is missing: no instruction counts")
    out(f"{'ring':6} {'shape':5} {'instr.':>9} {'unchecked':>9} {'checks':>9} {'1 core':>9} "
        f"{'unchecked':>9} {'ratio':>18} {'2 cores':>9} {'unchecked':>9} {'ratio':>18}"
        "   (million requests a second)")
    rows = []
    for fmt in FORMATS:
        for shape in ("chain",) if quick else SHAPES:
            row = measure(folder, fmt, shape, rounds, count, callgrind)
            rows.append(row)
            show(row, out)
            if callgrind:
                verdicts.judge("ring", f"{fmt}, {shape}: checks, of the walk without them",
                               row["cost_percent"], ("<=", 15), unit=" %")
    return [{k: v.json() if isinstance(v, Ratio) else v for k, v in row.items()} for row in rows]
