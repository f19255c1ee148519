# SPDX-License-Identifier: BSD-3-Clause
"""The programs that are measured: ours, QEMU's, and the small ones of this folder."""
import json
import os
import pathlib
import shutil
import subprocess

from lib.process import Process, wait_until

BUILD = pathlib.Path(os.environ.get("RINGSIDE_BUILD", "build/gcc"))
RINGSIDE = os.environ.get("RINGSIDE_BIN", str(BUILD / "src/bin/ringside"))
# What qemu-storage-daemon gives an iothread unless told otherwise; both get it.
POLL_NS = 32768
QUEUES = 4


def has(*programs):
    return all(shutil.which(program) for program in programs)


def tool(name):
    return str(BUILD / "tests/bench" / name)


def run_json(*argv, timeout=60):
    """The JSON object that a program prints."""
    run = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout,
                         check=False)
    if run.returncode:
        raise RuntimeError(f"{argv[0]} ended with {run.returncode}: {run.stderr.strip()[-500:]}")
    return json.loads(run.stdout)


class Peer:
    """A program in the background that has made its sockets."""

    def __init__(self, argv, *sockets, env=None):
        self.process = Process(argv, env=env, stdin=False)
        try:
            wait_until(lambda: self._ready(sockets), f"{argv[0]}: {sockets}", timeout=60)
        except BaseException:
            self.process.kill()
            raise

    def _ready(self, sockets):
        if not self.process.running():
            raise RuntimeError(self.process.text[-2000:])
        return all(os.path.exists(s) for s in sockets)

    @property
    def pid(self):
        return self.process.pid

    def cpu_ns(self):
        """Processor time of all its living threads."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                pass
        return total

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no Rss in smaps_rollup")

    def num_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def num_threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        # At once: qemu-storage-daemon 7.2 may wait forever for a client that just left.
        self.process.kill()


def ringside(folder, name, *arguments, sockets=()):
    """`ringside serve`; its monitor is folder/NAME.qmp."""
    qmp = folder / f"{name}.qmp"
    return Peer([RINGSIDE, "serve", "--name", name, "--qmp", f"unix:{qmp}", *arguments],
                *sockets, qmp, env={"XDG_RUNTIME_DIR": str(folder)})


def our_disk(folder, name, where, *options):
    """One disk with an iothread that polls; where is filename=FILE or size=N."""
    sock = folder / f"{name}.sock"
    return ringside(folder, name, "--object", f"iothread,id=io0,poll-max-ns={POLL_NS}", "--device",
                    ",".join(["virtio-blk", "id=disk0", where, f"num-queues={QUEUES}",
                              "iothread=io0", "locking=off", f"listen={sock}", *options]),
                    sockets=[sock]), sock


def their_disk(folder, name, blockdev):
    """The same of qemu-storage-daemon."""
    sock = folder / f"{name}.sock"
    return Peer(["qemu-storage-daemon", "--object", f"iothread,id=io0,poll-max-ns={POLL_NS}",
                 "--blockdev", f"node-name=n0,{blockdev}", "--export",
                 "type=vhost-user-blk,id=e0,node-name=n0,writable=on,iothread=io0,"
                 f"num-queues={QUEUES},addr.type=unix,addr.path={sock}"], sock), sock
