# SPDX-License-Identifier: BSD-3-Clause
"""(c) What a host costs: memory and descriptors of one disk, of each further device, of a thousand;
and whether a query still answers at once then."""
import contextlib
import json
import resource
import socket
import time

import peers
from lib.vhost_user import Front

PATH = "/machine/peripheral/{}/virtio-backend"


def footprint(peer):
    return {"resident_bytes": peer.resident_bytes(), "descriptors": peer.num_descriptors(),
            "threads": peer.num_threads()}


def exercise(sock):
    """Some requests, so that what is allocated on first use is there."""
    peers.run_json(peers.RINGSIDE, "drive", "--connect", sock, "--device", "blk", "--rw",
                   "randread", "--iodepth", 32, "--requests", 2000, "--json")


def one_disk(folder, shm):
    """Ours and qemu-storage-daemon's with one disk on a file, after some requests."""
    image = shm / "one.img"
    image.write_bytes(bytes(16 << 20))
    sock = folder / "one.sock"
    rows = {}
    with peers.ringside(folder, "one", "--device", f"virtio-blk,id=disk0,filename={image},"
                        f"locking=off,listen={sock}", sockets=[sock]) as ours:
        exercise(sock)
        rows["ours"] = footprint(ours)
    if peers.has("qemu-storage-daemon"):
        theirs, sock = peers.their_disk(folder, "qsd", f"driver=file,filename={image},"
                                                       "aio=io_uring,locking=off")
        with theirs:
            exercise(sock)
            rows["qsd"] = footprint(theirs)
    return rows


class Ask:
    """A monitor session with as little of Python's own time in a round trip as can be."""

    def __init__(self, qmp):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(qmp))
        self.rest = b""
        self._line()
        self.sock.sendall(b'{"execute":"qmp_capabilities"}\n')
        self._answer()

    def _line(self):
        while b"\n" not in self.rest:
            self.rest += self.sock.recv(1 << 20)
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def _answer(self):
        # News of the last drivers may still come, on a machine that is busy.
        while (line := self._line()).startswith(b'{"timestamp"'):
            pass
        return line

    def round_trip(self, request):
        start = time.perf_counter_ns()
        self.sock.sendall(request)
        answer = self._answer()
        taken = time.perf_counter_ns() - start
        if not answer.startswith(b'{"return"'):
            raise RuntimeError(answer[:500])
        return taken


def status_times(qmp, names, rounds):
    """Of a status of each device in turn, sorted, in nanoseconds."""
    ask = Ask(qmp)
    requests = [(json.dumps({"execute": "x-query-virtio-status",
                             "arguments": {"path": PATH.format(name)}}) + "\n").encode()
                for name in names]
    return sorted(ask.round_trip(r) for _ in range(rounds) for r in requests)


def many(folder, num, rounds):
    """`num` disks in one process, each with a connected front-end."""
    names = [f"d{i}" for i in range(num)]
    socks = [folder / f"{name}.sock" for name in names]
    arguments = [a for name, sock in zip(names, socks)
                 for a in ("--device", f"virtio-blk,id={name},size=1M,listen={sock}")]
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(peers.ringside(folder, "many", *arguments, sockets=socks))
        ready = time.monotonic() - started
        before = footprint(host)
        started = time.monotonic()
        for sock in socks:
            stack.enter_context(Front(sock))
        connected = time.monotonic() - started
        times = status_times(folder / "many.qmp", names, rounds)
        return {"devices": num, "start_seconds": ready, "connect_seconds": connected,
                "before": before, "connected": footprint(host), "status_p50_ns":
                times[len(times) // 2], "status_p99_ns": times[len(times) * 99 // 100]}


def show(rows, out):
    for who, row in rows["one"].items():
        out(f"one disk, {'ringside' if who == 'ours' else 'qemu-storage-daemon':20} "
            f"{row['resident_bytes'] / 2**20:6.1f} MiB resident, {row['descriptors']} descriptors, "
            f"{row['threads']} threads")
    m = rows["many"]
    c = m["connected"]
    out(f"{m['devices']} connected devices:       {c['resident_bytes'] / 2**20:6.1f} MiB resident, "
        f"{c['descriptors']} descriptors, {c['threads']} threads; ready in "
        f"{m['start_seconds']:.2f} s, all connected in {m['connect_seconds']:.2f} s")
    out(f"each further device: {rows['each_bytes'] / 1024:.1f} KiB, "
        f"{rows['each_descriptors']:.1f} descriptors")
    out(f"a status with {m['devices']} devices: {m['status_p50_ns'] / 1e3:.0f} us, p99 "
        f"{m['status_p99_ns'] / 1e3:.0f} us")


def run(folder, shm, verdicts, out, *, quick):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    rows = {"one": one_disk(folder, shm)}
    # The front-ends are here; the host is started with the soft limit and raises its own.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        rows["many"] = m = many(folder, 50 if quick else 1000, 1 if quick else 3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    first = rows["one"]["ours"]
    rows["each_bytes"] = (m["connected"]["resident_bytes"] - first["resident_bytes"]) / m["devices"]
    rows["each_descriptors"] = (m["connected"]["descriptors"] - first["descriptors"]) / m["devices"]
    show(rows, out)
    verdicts.judge("host", "one disk, resident", first["resident_bytes"] / 2**20, ("<=", 4),
                   unit=" MiB")
    verdicts.judge("host", f"a status with {m['devices']} connected devices, p99",
                   m["status_p99_ns"] / 1e6, ("<=", 1), unit=" ms")
    return rows
