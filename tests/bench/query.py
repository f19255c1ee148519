# SPDX-License-Identifier: BSD-3-Clause
"""(b) What a query costs: our monitor, QEMU's, and a bare echo over a unix socket."""
import json

import peers
from pairs import Ratio, median, take_pairs

PATH = "/machine/peripheral/disk0/virtio-backend"
QUERIES = {
    "list": ("x-query-virtio", {}),
    "status": ("x-query-virtio-status", {"path": PATH}),
    "queue-status": ("x-query-virtio-queue-status", {"path": PATH, "queue": 0}),
}
# A host with a data loop of its own: the query meets nobody there. Two devices, as in QEMU.
DEVICES = ("virtio-blk,id=disk0,size=1G", "virtio-rng,id=rng0")


def ask(peer, qmp, request, count):
    """Round trip and processor time of one query, in nanoseconds."""
    before = peer.cpu_ns() if peer else 0
    result = peers.run_json(peers.tool("echo_bench"), "ask", qmp, count, request)
    after = peer.cpu_ns() if peer else 0
    return {**result, "cpu_ns": (after - before) / count}


def echo(folder, request, count, size):
    sock = folder / "echo.sock"
    sock.unlink(missing_ok=True)
    with peers.Peer([peers.tool("echo_bench"), "answer", sock, size], sock):
        return ask(None, sock, request, count)


def qemu(folder):
    qmp = folder / "qemu.qmp"
    return peers.Peer(
        ["qemu-system-x86_64", "-M", "q35,accel=tcg", "-nodefaults", "-display", "none", "-S", "-m",
         "128", "-qmp", f"unix:{qmp},server=on,wait=off", "-blockdev", "driver=null-co,node-name=n",
         "-device", "virtio-blk-pci,drive=n,id=disk0", "-device", "virtio-rng-pci,id=rng0"],
        qmp), f"qmp:{qmp}"


def measure(folder, name, ours, theirs, rounds, count):
    command, arguments = QUERIES[name]
    request = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
    size = ask(*ours, request, 20)["bytes"]
    ways = {"ours": lambda: ask(*ours, request, count),
            "echo": lambda: echo(folder, request, count, size)}
    if theirs:
        ways["qemu"] = lambda: ask(*theirs, request, count)
    taken = take_pairs(rounds, **ways)
    row = {"query": name, "bytes": size}
    for who, results in taken.items():
        row[who] = {key: [r[key] for r in results] for key in ("p50_ns", "p99_ns", "cpu_ns")}
    row["to_echo"] = Ratio(row["ours"]["p50_ns"], row["echo"]["p50_ns"])
    if "qemu" in row:
        row["cpu_to_qemu"] = Ratio(row["ours"]["cpu_ns"], row["qemu"]["cpu_ns"])
    return row


def show(row, out):
    us = {who: {k: median(v) / 1e3 for k, v in row[who].items()} for who in row
          if who in ("ours", "qemu", "echo")}
    qemu_text = f"{us['qemu']['p50_ns']:9.1f} {us['qemu']['cpu_ns']:9.1f}" if "qemu" in us else \
        " " * 19
    out(f"{row['query']:14} {us['ours']['p50_ns']:9.1f} {us['ours']['cpu_ns']:9.1f} {qemu_text} "
        f"{us['echo']['p50_ns']:9.1f}  {row['to_echo']}" +
        (f"  {row['cpu_to_qemu']}" if "cpu_to_qemu" in row else ""))


def run(folder, _shm, verdicts, out, *, quick):
    rounds, count = (1, 50) if quick else (5, 2000)
    sock = [folder / f"q{i}.sock" for i in range(len(DEVICES))]
    arguments = [a for device, s in zip(DEVICES, sock)
                 for a in ("--device", f"{device},listen={s}")]
    out(f"{'query':14} {'ours':>9} {'cpu':>9} {'QEMU':>9} {'cpu':>9} {'echo':>9}"
        "  round trip to echo  processor time to QEMU's   (microseconds)")
    rows = []
    with peers.ringside(folder, "q", *arguments, sockets=sock) as host:
        ours = (host, f"qmp:{folder / 'q.qmp'}")
        theirs = qemu(folder) if peers.has("qemu-system-x86_64") else None
        try:
            for name in QUERIES:
                row = measure(folder, name, ours, theirs, rounds, count)
                rows.append(row)
                show(row, out)
                verdicts.judge_ratio("query", f"{name}: round trip, of an echo", row["to_echo"],
                                     ("<=", 1.5))
                if "cpu_to_qemu" in row:
                    verdicts.judge_ratio("query", f"{name}: processor time, of QEMU's",
                                         row["cpu_to_qemu"], ("<=", 0.1))
        finally:
            if theirs:
                theirs[0].__exit__()
    return [{k: v.json() if isinstance(v, Ratio) else v for k, v in row.items()} for row in rows]
