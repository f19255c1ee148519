# SPDX-License-Identifier: BSD-3-Clause
"""Peers and surroundings that mean no good, or have bad luck: a log that nobody reads, descriptors
that run out, a number named twice, floods, and an end in the middle of things."""
import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import time

import pytest

from lib.memory import Memory
from lib.process import wait_until
from lib.qmp import Qmp
from lib.ringside import Folder, binary, serve
from lib.vhost_user import Front, VhostUser, signalled
from lib.virtio import BLK_S_OK, BLK_T_IN, Blk

GARBAGE = b"GET / HTTP/1.1\r\n\r\n"


def nonsense(port):
    """Speak no QMP to the monitor, which then hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(GARBAGE)
        try:
            while client.recv(4096):
                pass
        except ConnectionResetError:
            pass


def session(path):
    """A session with a monitor that is about to listen."""
    def attempt():
        try:
            return Qmp(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
    return wait_until(attempt, f"a monitor on {path}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def break_ring(front):
    """An available index that cannot be, and the wait until the device has seen it."""
    queue = front.queues[0]
    queue.ring.set_avail_idx(9999)
    queue.kick(force=True)
    wait_until(lambda: signalled(queue.err_fd), "the error descriptor")


@contextlib.contextmanager
def storage_that_hangs(host):
    """Halt the threads that do the disks' I/O, as if their system calls did not return."""
    seize, interrupt, detach, wall = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    held = []
    try:
        task = f"/proc/{host.process.pid}/task"
        for thread in map(int, os.listdir(task)):
            with open(f"{task}/{thread}/comm", encoding="ascii") as comm:
                if comm.read().strip() != "disk-pool":
                    continue
            if libc.ptrace(seize, thread, None, None) < 0:
                pytest.skip(f"no ptrace here: {os.strerror(ctypes.get_errno())}")
            held.append(thread)
            libc.ptrace(interrupt, thread, None, None)
            os.waitpid(thread, wall)
        assert held, "no thread does disk I/O"
        yield
    finally:
        for thread in held:
            libc.ptrace(detach, thread, None, None)


def test_a_disk_that_hangs_holds_up_no_other(tmp_path):
    for name in "slow", "other":
        (tmp_path / name).write_bytes(bytes(1 << 20))
    with serve(tmp_path, f"virtio-blk,id=slow,filename={tmp_path / 'slow'},aio=threads",
               f"virtio-blk,id=other,filename={tmp_path / 'other'},aio=threads") as host, \
            Front(host.socket("slow")) as front, Front(host.socket("other")) as good:
        qmp = host.qmp()
        # So many at once that it has all its threads.
        qmp.command("stop")
        reads = [Blk(front).start(BLK_T_IN, 0, length=512) for _ in range(16)]
        qmp.command("cont")
        assert [Blk(front).finish(read)[0] for read in reads] == [BLK_S_OK] * 16
        with storage_that_hangs(host):
            late = Blk(front).start(BLK_T_IN, 0, length=512)
            Blk(good).write(0, b"x" * 512)
            # The monitor answers whoever does not have to wait for that disk.
            waiting = host.qmp()
            waiting.raw(b'{"execute":"stop"}\n')
            wait_until(lambda: not qmp.command("query-status")["running"], "the stop's begin")
            qmp.command("device_del", id="slow")
            assert "in the process of unplug" in qmp.error("device_del", id="slow")[1]
        assert Blk(front).finish(late)[0] == BLK_S_OK
        assert waiting.reply() == {"return": {}}
        qmp.event("DEVICE_DELETED")


def test_a_client_without_qmp_fills_no_log(tmp_path):
    port = free_port()
    with serve(tmp_path, arguments=["--qmp", f"tcp:127.0.0.1:{port}"]) as host:
        for _ in range(100):
            nonsense(port)
        assert host.qmp().command("query-status")["running"]
        # Ten lines in a period of five seconds; a slow machine sees a few periods.
        assert host.process.text.count("does not speak QMP") < 60


def test_a_guest_that_breaks_its_device_fills_no_log(tmp_path):
    with serve(tmp_path, "virtio-rng,id=r0") as host:
        for _ in range(100):
            with Front(host.socket("r0")) as front:
                break_ring(front)
        assert 0 < host.process.text.count("needs a reset") < 60


def test_a_log_that_nobody_reads_stops_nothing(tmp_path):
    """Standard error is a pipe that is full already."""
    folder = Folder()
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    try:
        while True:
            os.write(theirs, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(theirs, True)
    path = folder.path / "qmp"
    process = subprocess.Popen(
        [binary(), "serve", "--qmp", f"unix:{path}", "--device",
         f"virtio-rng,id=r0,listen={folder.path / 'r0'}"], stderr=theirs,
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder.path)})
    try:
        with session(path) as qmp:
            for _ in range(3):
                with Front(folder.path / "r0") as front:
                    break_ring(front)
            qmp.command("quit")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
        folder.remove()


def test_a_hangup_that_was_ignored_before_stays_so(tmp_path):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = serve(tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    with running as host:
        qmp = host.qmp()
        host.process.signal(signal.SIGHUP)
        for _ in range(5):
            assert qmp.command("query-status")["running"]
    with serve(tmp_path) as host:
        host.process.signal(signal.SIGHUP)
        host.finish()


def test_a_listening_descriptor_named_twice_has_no_owner(tmp_path):
    """Two devices on one fd=N: neither closes it under the other, and it may be named again."""
    folder = Folder()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder.path / "shared"))
        listening.listen()
        fd = listening.fileno()
        os.set_inheritable(fd, True)
        path = folder.path / "qmp"
        process = subprocess.Popen(
            [binary(), "serve", "--qmp", f"unix:{path}", "--device",
             f"virtio-rng,id=a,listen=fd={fd}"], pass_fds=[fd],
            env={**os.environ, "XDG_RUNTIME_DIR": str(folder.path)})
        try:
            with session(path) as qmp:
                for ident in "b", "c", "a", "b":
                    if ident == "a":
                        qmp.command("device_del", id="c")
                    else:
                        qmp.execute("device_add", {"driver": "virtio-rng", "id": ident,
                                                   "listen": f"fd={fd}"})
                    with VhostUser(folder.path / "shared") as front:
                        assert front.get_features()
                qmp.command("quit")
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
            folder.remove()


def cpu_seconds(host):
    with open(f"/proc/{host.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptor_left_for_a_front_end(tmp_path):
    """It waits for one, and nobody burns a processor meanwhile; the rest goes on."""
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M", "virtio-rng,id=r0") as host:
        pid = host.process.pid
        with Front(host.socket("disk0")) as front:
            qmp = host.qmp()
            used = set(os.listdir(f"/proc/{pid}/fd"))
            lowest = next(n for n in range(len(used) + 1) if str(n) not in used)
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, hard))
            with VhostUser(host.socket("r0")) as late:
                before = cpu_seconds(host)
                time.sleep(1)
                assert cpu_seconds(host) - before < 0.5, "a loop that spins"
                assert qmp.command("query-status")["running"]
                assert "error" in qmp.execute("object-add", {"qom-type": "iothread", "id": "io0"})
                Blk(front).write(0, b"x" * 512)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
                assert late.get_features()


def test_no_device_is_added_to_what_ends(tmp_path):
    with serve(tmp_path) as host:
        qmp = host.qmp()
        add = {"execute": "device_add", "arguments": {
            "driver": "virtio-rng", "id": "late", "listen": str(host.folder.path / "late")}}
        qmp.raw(b'{"execute":"quit"}\n' + json.dumps(add).encode() + b"\n")
        assert qmp.reply() == {"return": {}}
        assert "is ending" in qmp.reply()["error"]["desc"]
        host.finish()


def test_a_console_that_writes_gigabytes_lets_others_work(tmp_path):
    """Chains of 512 MiB, one after the other, into a file: another device and a stop come between
    their pieces."""
    out = tmp_path / "out"
    with serve(tmp_path, f"virtio-serial,id=s0,chardev=file:{out}",
               "virtio-blk,id=disk0,size=1M") as host:
        memory = Memory(((0, 32 << 20),))
        with Front(host.socket("s0"), queues=2, size=64, memory=memory) as hog, \
                Front(host.socket("disk0")) as other:
            ring = hog.queues[1].ring
            table, bulk = memory.alloc(16 * 32), memory.alloc(16 << 20)
            for entry in range(32):
                ring.set_desc(entry, bulk, 16 << 20, entry < 31, entry + 1, table=table)
            for head in range(16):
                ring.set_desc(head, table, 16 * 32, 4)
                ring.set_avail(head, head)
            ring.set_avail_idx(16)
            hog.queues[1].kick(force=True)
            Blk(other).write(0, b"x" * 512)
            host.qmp().command("stop")
            os.truncate(out, 0)
            assert ring.used_idx() < 16, "all of it came first"
