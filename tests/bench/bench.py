#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measure ringside against its peers: `make bench`.

  tests/bench/bench.py [--quick] [--only SECTION,...] [--json FILE]

Everything is taken in pairs, A B A B; a ratio is the median of the pairs' ratios, with the smallest
and the largest behind it. The last lines say which target is met and which is missed. The status is
0 either way: a missed target is a result. docs/performance.md explains each figure.
"""
import argparse
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]),
                str(pathlib.Path(__file__).resolve().parent)]

# pylint: disable=wrong-import-position
import blk  # noqa: E402
import host  # noqa: E402
import idle  # noqa: E402
import looking  # noqa: E402
import net  # noqa: E402
import peers  # noqa: E402
import query  # noqa: E402
import relay  # noqa: E402
import ring  # noqa: E402
import streams  # noqa: E402
from pairs import Verdicts  # noqa: E402

SECTIONS = {
    "ring": ("(d) the walk of a ring, against the same walk without checks", ring.run, ()),
    "query": ("(b) queries, against QEMU's monitor and an echo", query.run, ()),
    "host": ("(c) memory and descriptors", host.run, ()),
    "blk": ("(a) 4 KiB at random, against qemu-storage-daemon and a bare loop", blk.run,
            ("qemu-storage-daemon",)),
    "looking": ("(f) what looking costs: the recorder, and somebody who asks", looking.run, ()),
    "relay": ("(e) a relay between two ends, against the two without it", relay.run, ()),
    "net": ("(g) packets of a network card, against DPDK's net_vhost", net.run,
            ("dpdk-testpmd",)),
    "idle": ("(h) one more idle device, and a hundred", idle.run, ()),
    "streams": ("(i) vsock and serial ports, beside a plain copy", streams.run, ()),
}


def machine():
    model = next((line.partition(":")[2].strip()
                  for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "")
    return {"kernel": platform.release(), "processor": model, "cores": os.cpu_count(),
            "load": os.getloadavg()[0]}


def out(line=""):
    print(line, flush=True)


def run_sections(names, quick):
    verdicts, results = Verdicts(), {}
    with tempfile.TemporaryDirectory(prefix="ringside-bench-") as folder, \
            tempfile.TemporaryDirectory(prefix="ringside-bench-", dir="/dev/shm") as shm:
        for name in names:
            title, run, needs = SECTIONS[name]
            out(f"== {title}")
            if not peers.has(*needs):
                out(f"skipped: {', '.join(needs)} is missing")
                continue
            start = time.monotonic()
            results[name] = run(pathlib.Path(folder), pathlib.Path(shm), verdicts, out, quick=quick)
            out(f"({time.monotonic() - start:.0f} s)\n")
    return verdicts, results


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a look at the harness")
    parser.add_argument("--only", default=",".join(SECTIONS), help="some of: " + " ".join(SECTIONS))
    parser.add_argument("--json", type=pathlib.Path, help="where to write all figures")
    args = parser.parse_args(argv)
    names = args.only.split(",")
    if wrong := [n for n in names if n not in SECTIONS]:
        parser.error(f"--only: {wrong[0]} is none of {', '.join(SECTIONS)}")
    about = machine()
    out(f"{about['processor']}, {about['cores']} cores, Linux {about['kernel']}, "
        f"load {about['load']:.1f}")
    if about["load"] > 0.5 and not args.quick:
        out("The machine is busy with something else: times below are worth little.")
    verdicts, results = run_sections(names, args.quick)
    out(verdicts.text())
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "quick": args.quick, **results,
                                         "targets": verdicts.rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
