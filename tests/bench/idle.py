# SPDX-License-Identifier: BSD-3-Clause
"""(h) What one more idle device costs: memory, descriptors, threads; and what a hundred of them do
to a processor, each with a driver that has nothing to do."""
import contextlib
import pathlib
import re
import resource
import tempfile
import time

import peers
from lib.every_device import KINDS
from lib.process import wait_until, wakeups
from lib.qmp import Qmp
from lib.vhost_user import Front

def held(peer):
    """What it has; memory of its own, without the guests'."""
    text = pathlib.Path(f"/proc/{peer.pid}/smaps_rollup").read_text()
    return {"bytes": int(re.search(r"^Anonymous: +(\d+)", text, re.M)[1]) * 1024,
            "descriptors": peer.num_descriptors(), "threads": peer.num_threads()}


def each(before, after, num):
    return {key: (after[key] - before[key]) / num for key in before}


class Host(contextlib.ExitStack):
    """A host to which devices are added."""

    def __init__(self, folder, *arguments):
        super().__init__()
        # Sockets' paths are short.
        self.folder = pathlib.Path(self.enter_context(
            tempfile.TemporaryDirectory(prefix="rs-", dir=folder)))
        self.peer = self.enter_context(peers.ringside(self.folder, "i", *arguments))
        self.qmp = self.enter_context(Qmp(str(self.folder / "i.qmp")))
        self.num = 0

    def add(self, kind):
        device = kind(self.folder, f"d{self.num}", self.num)
        self.num += 1
        self.callback(device.close)
        device.prepare()
        arguments = device.arguments()
        if kind.parent:
            # Each port has its own number.
            arguments.pop("nr", None)
        reply = self.qmp.execute("device_add", arguments)
        if "error" in reply:
            raise RuntimeError(reply["error"]["desc"])
        return device

    def connect(self, device):
        front = self.enter_context(Front(device.path("sock"), queues=device.queues, size=64))
        device.ready(front)


def one_kind(folder, kind, num):
    """What the num after the first took, alone and with drivers."""
    parent = ["--device", kind.parent.replace("max_ports=4", f"max_ports={num + 3}") +
              f",listen={folder / 'bus.sock'}"] if kind.parent else []
    with Host(folder, *parent) as host:
        # What all share is there with the first.
        first = host.add(kind)
        if not kind.parent:
            host.connect(first)
        before = held(host.peer)
        devices = [host.add(kind) for _ in range(num)]
        row = {"what": kind.__name__, "driver": kind.driver,
               "alone": each(before, held(host.peer), num)}
        if not kind.parent:
            for device in devices:
                host.connect(device)
            host.qmp.command("query-status")
            row["connected"] = each(before, held(host.peer), num)
    return row


def all_kinds(folder, num, seconds, *arguments):
    """Processor time and wake-ups a second of so many, of all kinds."""
    kinds = [kind for kind in KINDS if not kind.parent]
    with Host(folder, *arguments) as host:
        for number in range(num):
            host.connect(host.add(kinds[number % len(kinds)]))

        def settled():
            woken = wakeups(host.peer.pid, idle=False)
            time.sleep(1.5)
            return wakeups(host.peer.pid, idle=False) - woken <= 2

        wait_until(settled, "a rest")
        woken, cpu, start = wakeups(host.peer.pid, idle=False), host.peer.cpu_ns(), \
            time.monotonic()
        time.sleep(seconds)
        woken = wakeups(host.peer.pid, idle=False) - woken
        cpu, taken = host.peer.cpu_ns() - cpu, time.monotonic() - start
        return {"devices": num, "wakeups": woken / taken, "cpu_ns": cpu / taken}


def show(row, out):
    text = f"{row['what']:14} {row['driver']:17}"
    for way in ("alone", "connected"):
        if way in row:
            text += f" {row[way]['bytes'] / 1024:9.1f} {row[way]['descriptors']:6.1f} " \
                    f"{row[way]['threads']:6.1f}  "
    out(text)


def run(folder, shm, verdicts, out, *, quick):
    del shm
    num, seconds = (8, 1) if quick else (100, 10)
    total = 24 if quick else 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        out(f"{'one more':32} {'KiB':>9} {'fds':>6} {'threads':>6}   with a driver")
        rows = []
        for kind in KINDS:
            rows.append(one_kind(folder, kind, num))
            show(rows[-1], out)
        hundred = {"asleep": all_kinds(folder, total, seconds, "--stall-ms", "0"),
                   "watched": all_kinds(folder, total, seconds)}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for way, words in (("asleep", "without the stall watch (--stall-ms 0)"),
                       ("watched", "as it is")):
        out(f"{total} connected devices of all kinds, {words}: {hundred[way]['wakeups']:.2f} "
            f"wake-ups and {hundred[way]['cpu_ns'] / 1e3:.1f} us of processor time a second")
    verdicts.judge("idle", f"{total} idle devices: wake-ups", hundred["asleep"]["wakeups"],
                   ("<=", 0), unit=" a second")
    verdicts.judge("idle", f"{total} idle devices that are watched: of a processor",
                   hundred["watched"]["cpu_ns"] / 1e7, ("<=", 0.1), unit=" %")
    return {"each": rows, "all": hundred}
