# SPDX-License-Identifier: BSD-3-Clause
"""The harness of `make bench`: how it compares and judges, and that each section runs and says what
it measured. No figure is judged here: what a busy machine measures is worth nothing."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import asking  # noqa: E402
from lib.every_device import KINDS  # noqa: E402
from lib.uml import why_no_uml  # noqa: E402
from pairs import Ratio, Verdicts, take_pairs  # noqa: E402


def test_pairs_are_taken_in_turn():
    order = []
    ways = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}
    assert take_pairs(2, **ways) == {"a": [1, 3], "b": [2, 4]}
    assert order == ["a", "b", "a", "b"]


def test_a_ratio_is_that_of_its_pairs():
    # The machine became ten times slower in the second pair: that is no matter.
    ratio = Ratio([200, 20, 30], [100, 10, 10])
    assert (ratio.median, min(ratio.each), max(ratio.each)) == (2, 2, 3)
    assert str(ratio) == "2.00 (2.00..3.00)"
    assert ratio.json() == {"a": [200, 20, 30], "b": [100, 10, 10], "ratio": 2, "min": 2, "max": 3}
    assert Ratio([1], [0]).median == float("inf")


@pytest.mark.parametrize("value, wanted, met", [
    (1.25, (">=", 1.25), True), (1.2499, (">=", 1.25), False), (0.1, ("<=", 0.1), True),
    (0.11, ("<=", 0.1), False), (-3, ("<=", 15), True)])
def test_verdicts(value, wanted, met):
    verdicts = Verdicts()
    assert verdicts.judge("ring", "it", value, wanted, unit=" %") is met
    assert [row["met"] for row in verdicts.rows] == [met]
    assert len(verdicts.missed) == (not met)
    line, total = verdicts.text().splitlines()
    assert line.startswith("met     ring: it: " if met else "MISSED  ring: it: ")
    assert line.endswith(f"wanted {wanted[0]} {wanted[1]:g} %")
    assert total == f"{int(met)} of 1 targets met"


def test_the_median_decides_and_the_spread_is_shown():
    verdicts = Verdicts()
    assert verdicts.judge_ratio("blk", "it", Ratio([1, 2, 9], [1, 1, 1]), (">=", 1.5))
    assert verdicts.rows[0]["spread"] == [1, 9]
    assert "2 (1.00..9.00), wanted >= 1.5" in verdicts.text()


# No target is set for them.
RECORDED = ("streams",)


def bench(tmp_path, section):
    out = tmp_path / "figures.json"
    run = subprocess.run([sys.executable, str(HERE / "bench.py"), "--quick", "--only", section,
                          "--json", str(out)], capture_output=True, text=True, timeout=280,
                         check=False, env={**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}"})
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(out.read_text())
    assert {"machine", "quick", "targets", section} == set(figures)
    assert figures["quick"] and figures["machine"]["cores"] >= 1
    for target in figures["targets"]:
        assert target["section"] == section and target["sense"] in (">=", "<=")
    lines = run.stdout.splitlines()
    assert lines[-1].endswith("targets met")
    verdicts = [line for line in lines if line.startswith(("met     ", "MISSED  "))]
    assert len(verdicts) == len(figures["targets"])
    assert figures["targets"] or section in RECORDED
    return figures[section]


def test_ring_section(tmp_path):
    if os.environ.get("RINGSIDE_SANITIZED"):
        pytest.skip("a sanitized build says nothing of the walk")
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is missing")
    rows = bench(tmp_path, "ring")
    assert [(row["format"], row["shape"]) for row in rows] == [("split", "chain"),
                                                               ("packed", "chain")]
    for row in rows:
        # Instructions are the same on any machine, however busy: the checks are there, and cheap.
        assert 0 < row["cost_percent"] < 30
        assert row["time_1"]["ratio"] > 0 and row["time_2"]["ratio"] > 0


def test_query_section(tmp_path):
    rows = bench(tmp_path, "query")
    assert [row["query"] for row in rows] == ["list", "status", "queue-status"]
    for row in rows:
        assert row["bytes"] > 100 and row["ours"]["p50_ns"][0] > 0 and row["to_echo"]["ratio"] > 0


def test_host_section(tmp_path):
    rows = bench(tmp_path, "host")
    assert rows["one"]["ours"]["resident_bytes"] > 0
    assert rows["many"]["devices"] == 50
    assert rows["each_descriptors"] > 1


def test_blk_section(tmp_path):
    if not shutil.which("qemu-storage-daemon"):
        pytest.skip("qemu-storage-daemon is missing")
    rows = bench(tmp_path, "blk")
    assert {(row["image"], row["rw"], row["poll"]) for row in rows} == {
        (image, rw, poll) for image in ("tmpfs", "null") for rw in ("read", "write")
        for poll in (False, True)}
    for row in rows:
        assert row["ours"][0] > 0 and row["best"][0] > 0
        assert ("bare" in row) == (row["image"] == "tmpfs")


def test_net_section(tmp_path):
    if not shutil.which("dpdk-testpmd"):
        pytest.skip("dpdk-testpmd is missing")
    rows = bench(tmp_path, "net")
    assert [row["what"].partition(",")[0] for row in rows] == ["receive", "transmit"]
    for row in rows:
        assert row["a"][0] > 0 and row["b"][0] > 0


def test_relay_section(tmp_path):
    wanted = [name for program, name in (("dpdk-testpmd", "net"), ("qemu-storage-daemon", "blk"))
              if shutil.which(program)]
    if not wanted:
        pytest.skip("neither dpdk-testpmd nor qemu-storage-daemon is here")
    rows = bench(tmp_path, "relay")
    assert [row["what"].partition(",")[0] for row in rows] == wanted
    for row in rows:
        assert row["direct"][0] > 0 and row["relay"][0] > 0 and row["again"][0] > 0
        # True on any machine, however busy.
        assert row["wakeups"] == 0


def test_asking(tmp_path):
    """The second half of the section "looking"; the first builds the tree once more."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core for who serves and who asks")
    verdicts = Verdicts()
    rows = asking.run(tmp_path, verdicts, print, True)
    assert [(row["what"], row["rate"]) for row in rows] == [
        ("our queue", 100), ("our queue", 0), ("a relay's queue", 100), ("a relay's queue", 0)]
    for row in rows:
        assert row["a_second"] > 0 and row["cpu"]["ratio"] > 0 and row["requests"]["ratio"] > 0
    assert len(verdicts.rows) == 6


def test_idle_section(tmp_path):
    found = bench(tmp_path, "idle")
    assert {row["what"] for row in found["each"]} == {kind.__name__ for kind in KINDS}
    for row in found["each"]:
        assert row["alone"]["threads"] == 0 and row["alone"]["descriptors"] >= 1
    # True on any machine, however busy.
    assert found["all"]["asleep"]["wakeups"] == 0
    assert found["all"]["watched"]["wakeups"] < 5


def test_streams_section(tmp_path):
    if why_no_uml():
        pytest.skip(why_no_uml())
    rows = bench(tmp_path, "streams")
    assert len(rows) == 4 and all(row["a"][0] > 0 and row["b"][0] > 0 for row in rows)
