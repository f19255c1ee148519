# SPDX-License-Identifier: BSD-3-Clause
"""(f) What somebody who asks costs a queue that is served, by us and behind our relay.

The driver and the thread that serves have cores to themselves, and the last core is left to whoever
asks and whoever answers: on cores that are all taken, any program's share would be measured, and
not what a look does to the data path. An idle core beside them changes their speed as well (clock,
shared caches, a hypervisor); so the same questions are asked of a twin, whose driver stands still,
and of the queue itself. Taken are the requests a second, and the processor time that the serving
thread needs for one."""
import collections
import contextlib
import os
import pathlib
import signal
import threading
import time

import peers
import relay
from lib.process import Process, wait_until
from lib.qmp import Qmp
from pairs import Ratio, median, take_pairs

OURS = "/machine/peripheral/disk0/virtio-backend"
# Times a second that every kind is asked; 0 is as often as it goes.
RATES = {100: "a hundred times a second", 0: "flat out"}
QUEUE_KINDS = ("x-query-virtio-queue-status", "x-query-virtio-queue-element",
               "query-virtqueue-inflight", "query-virtqueue-elements", "query-virtqueue-health")


def queries(path):
    """One of every kind; a relay has no trace."""
    kinds = QUEUE_KINDS + (("query-virtqueue-trace",) if path == OURS else ())
    return [("x-query-virtio", {}), ("x-query-virtio-status", {"path": path}),
            ("query-virtio-sources", {"path": path}), ("query-stats", {"target": "virtqueue"})] + [
        (name, {"path": path, "queue": 0}) for name in kinds]


class Asking:
    """Every kind so many times a second, or as often as it goes at 0."""

    def __init__(self, about, rate, cores):
        self.qmp, self.queries, self.rate = about.qmp, queries(about.path), rate
        self.cores, self.over = cores, threading.Event()
        self.count, self.seconds, self.refused = 0, 0, collections.Counter()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self):
        os.sched_setaffinity(0, self.cores)
        start = time.monotonic()
        with Qmp(str(self.qmp)) as qmp:
            while not self.over.is_set():
                for name, arguments in self.queries:
                    self.refused[name] += "error" in qmp.execute(name, arguments)
                self.count += 1
                if self.rate:
                    self.over.wait(max(0, start + self.count / self.rate - time.monotonic()))
        self.seconds = time.monotonic() - start

    def rate_taken(self):
        # Before the driver came and after it went there is no ring to ask about.
        if often := [name for name, n in self.refused.items() if n > self.count / 2]:
            raise RuntimeError(f"mostly refused: {', '.join(often)}")
        return self.count / self.seconds

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()


class Served:
    """A queue that somebody serves, and the monitor that is asked about it."""

    def __init__(self, sock, qmp, path, server):
        self.sock, self.qmp, self.path = sock, qmp, path
        self.task = next(t for t in pathlib.Path(f"/proc/{server.pid}/task").iterdir()
                         if (t / "comm").read_text().strip() == "io0")

    def cpu_ns(self):
        return int((self.task / "schedstat").read_text().split()[0])


def pin(peer, name, cores, others):
    """The thread of that name to @cores, the process's other threads to @others."""
    for task in pathlib.Path(f"/proc/{peer.pid}/task").iterdir():
        its = cores if (task / "comm").read_text().strip() == name else others
        os.sched_setaffinity(int(task.name), its)


@contextlib.contextmanager
def own(folder, name, data, eyes):
    sock, qmp = folder / f"{name}.sock", folder / f"{name}.qmp"
    sock.unlink(missing_ok=True)
    qmp.unlink(missing_ok=True)
    with peers.ringside(folder, name, "--object", "iothread,id=io0,poll-max-ns=0", "--device",
                        f"virtio-blk,id=disk0,size=1G,iothread=io0,listen={sock}",
                        sockets=[sock]) as peer:
        pin(peer, "io0", data, eyes)
        yield Served(sock, qmp, OURS, peer)


@contextlib.contextmanager
def relayed(folder, name, data, eyes):
    with own(folder, f"{name}-behind", data, eyes) as behind:
        peer, sock, qmp = relay.relay(folder, name, "virtio-blk", behind.sock)
        with peer:
            pin(peer, "", data, eyes)
            behind.sock, behind.qmp, behind.path = sock, qmp, relay.PATH
            yield behind


@contextlib.contextmanager
def standing(served, depth):
    """Its driver stands still in the middle of its work."""
    with Process([peers.RINGSIDE, "drive", "--connect", served.sock, "--device", "blk", "--iodepth",
                  str(depth), "--seconds", "3600"], stdin=False) as driver, \
            Qmp(str(served.qmp)) as monitor:
        wait_until(lambda: monitor.execute("x-query-virtio-queue-status", {
            "path": served.path, "queue": 0}).get("return", {}).get("used-idx"), "a request")
        os.kill(driver.pid, signal.SIGSTOP)
        yield


@contextlib.contextmanager
def on_cores(cores):
    """This thread, and what it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Case:
    """One queue under load, its twin, and how fast each of them was asked."""

    def __init__(self, served, twin, depth, seconds, eyes):
        self.served, self.twin, self.depth = served, twin, depth
        self.seconds, self.eyes, self.rates = seconds, eyes, collections.defaultdict(list)

    def load(self, asked=None, rate=0):
        """(requests a second, the serving thread's nanoseconds for one); @asked about at @rate."""
        before = self.served.cpu_ns()
        with Asking(asked, rate, self.eyes) if asked else contextlib.nullcontext() as asking:
            done = peers.run_json(peers.RINGSIDE, "drive", "--connect", self.served.sock,
                                  "--device", "blk", "--iodepth", self.depth, "--seconds",
                                  self.seconds, "--json", timeout=120)["read"]
        if asking:
            self.rates[rate].append(asking.rate_taken())
        return done["iops"], (self.served.cpu_ns() - before) / done["total_ios"]

    def compare(self, rounds):
        """{rate: (times a second, requests, processor time)} of asked to its twin asked."""
        ways = {"idle": self.load, "again": self.load}
        for rate in RATES:
            ways[f"twin {rate}"] = lambda rate=rate: self.load(self.twin, rate)
            ways[f"asked {rate}"] = lambda rate=rate: self.load(self.served, rate)
        taken = take_pairs(rounds, **ways)

        def ratio(rate, what, to):
            return Ratio(*([x[what] for x in taken[name]] for name in (f"asked {rate}", to)))

        return {rate: {"a_second": median(self.rates[rate]),
                       "requests": ratio(rate, 0, f"twin {rate}"),
                       "cpu": ratio(rate, 1, f"twin {rate}"),
                       "requests_to_idle": ratio(rate, 0, "idle")} for rate in RATES}, \
            Ratio(*([x[0] for x in taken[name]] for name in ("again", "idle")))


WAYS = (("our queue", own), ("a relay's queue", relayed))


def measure(folder, what, way, depth, sizes, cores):
    rounds, seconds = sizes
    data, eyes = set(cores[:-1]), {cores[-1]}
    with on_cores(data), way(folder, "asked", data, eyes) as served, \
            way(folder, "twin", eyes, eyes) as twin, standing(twin, depth):
        compared, noise = Case(served, twin, depth, seconds, eyes).compare(rounds)
    return [{"what": what, "depth": depth, "rate": rate, "noise": noise, **row}
            for rate, row in compared.items()]


def judge(row, verdicts, out):
    out(f"{row['what']:15}, depth {row['depth']:2}  {row['a_second']:8.0f}  "
        f"{str(row['requests']):17}  {str(row['cpu']):17}  {str(row['requests_to_idle']):17}  "
        f"{row['noise']}")
    case = f"{row['what']}, depth {row['depth']}, asked {RATES[row['rate']]}"
    if row["rate"]:
        verdicts.judge_ratio("looking", f"{case}: requests", row["requests"], (">=", 0.99))
    verdicts.judge_ratio("looking", f"{case}: processor time of a request", row["cpu"],
                         ("<=", 1.01))


def run(folder, verdicts, out, quick):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        out("nobody asks: that takes two cores")
        return []
    out(f"{'':27}  asked  requests a second  processor time     requests to idle   idle, twice")
    rows = []
    for what, way in WAYS:
        for depth in (32,) if quick else (1, 32):
            for row in measure(folder, what, way, depth, (1, 0.5) if quick else (31, 0.4), cores):
                judge(row, verdicts, out)
                rows.append({k: v.json() if isinstance(v, Ratio) else v for k, v in row.items()})
    return rows
