# SPDX-License-Identifier: BSD-3-Clause
"""`ringside drive` against our own back-end and against qemu-storage-daemon: what it reports, what
it verifies, what it refuses, and how it ends when the back-end goes."""
import json
import os
import pty
import re
import shutil
import signal
import subprocess

import pytest

from lib.process import Process, wait_until
from lib.ringside import Folder, binary, serve, tool

SIZE = 4 << 20


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def host(tmp_path, image):
    with serve(tmp_path, f"virtio-blk,id=disk0,num-queues=4,packed=on,in_order=on,filename={image}",
               f"virtio-blk,id=ro0,read-only=on,size=64M",
               f"virtio-serial,id=con0,chardev=file:{tmp_path / 'console'}",
               "virtio-rng,id=rng0", "virtio-blk,id=null0,size=64M") as host:
        yield host


def drive(socket, *words, status=0):
    return tool("drive", "--connect", socket, *words, status=status)


def result(socket, *words, status=0):
    return json.loads(drive(socket, *words, "--json", status=status)[0])


def blk(host, *words, status=0):
    return result(host.socket("disk0"), "--device", "blk", *words, status=status)


# vhost-user does not say what a device is: what gives it away, and how the sentence goes.
OTHERS = (("disk0", "rng", "is it an entropy device?"), ("rng0", "blk", "is it a disk?"),
          ("rng0", "net", "queue 1, which a device of another kind may not have"),
          ("null0", "console", "queue 1, which a device of another kind may not have"))


@pytest.mark.parametrize("device,kind,says", OTHERS, ids=[f"{o[0]} as {o[1]}" for o in OTHERS])
def test_a_device_of_another_kind(host, device, kind, says):
    assert says in drive(host.socket(device), "--device", kind, "--requests", "1", status=1)[1]


# Each is one path through rings, memory and loops; all of them end by number, and all is verified.
WAYS = (
    (),
    ("--poll",),
    ("--iodepth", "32"),
    ("--iodepth", "32", "--poll"),
    ("--iodepth", "32", "--no-indirect"),
    ("--iodepth", "32", "--event-idx", "off"),
    ("--iodepth", "32", "--event-idx", "off", "--poll", "--no-indirect"),
    ("--iodepth", "8", "--queues", "4"),
    ("--iodepth", "8", "--queues", "4", "--threads", "2"),
    ("--iodepth", "8", "--mem-slots", "7"),
    ("--iodepth", "4", "--bs", "64k"),
    ("--iodepth", "4", "--bs", "512"),
    ("--iodepth", "16", "--queue-size", "16", "--indirect", "--event-idx", "on"),
    ("--iodepth", "8", "--fsync", "5"),
    ("--packed",),
    ("--packed", "--poll", "--iodepth", "32"),
    ("--packed", "--iodepth", "32", "--queue-size", "97", "--no-indirect"),
    ("--packed", "--iodepth", "32", "--queue-size", "33"),
    ("--packed", "--iodepth", "8", "--queues", "4", "--threads", "2", "--event-idx", "off"),
    ("--in-order", "--iodepth", "32"),
    ("--in-order", "--iodepth", "32", "--no-indirect", "--poll"),
    ("--packed", "--in-order", "--iodepth", "32"),
    ("--packed", "--in-order", "--iodepth", "30", "--no-indirect", "--queue-size", "100"),
)


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_mixed_requests_are_verified(host, way):
    said = blk(host, "--rw", "randrw", "--verify", "--requests", "2000", *way)
    total = said["total"]
    assert said["error"] is None
    assert total["requests"] == 2000
    assert total["requests"] == sum(said[d]["total_ios"] for d in ("read", "write", "sync"))
    assert said["read"]["io_bytes"] == said["read"]["total_ios"] * said["options"]["bs"]
    assert total["blocks-verified"] > 0 and said["read"]["total_ios"] > 0
    assert bool(said["sync"]["total_ios"]) == ("--fsync" in way)
    assert all(q["outstanding"] == 0 for q in said["queues"])
    assert said["device"]["indirect"] == ("--no-indirect" not in way)
    assert said["device"]["ring"] == ("packed" if "--packed" in way else "split")
    assert said["device"]["in-order"] == ("--in-order" in way)
    assert said["device"]["event-idx"] == ("off" not in way)
    assert said["options"]["event-idx"] == ("off" if "off" in way else "on" if "on" in way
                                            else "if-offered")
    if "--poll" not in way:
        assert total["calls"] > 0
    elif "off" not in way:
        # One comes with each start: nobody knows yet what this driver asks for.
        assert total["calls"] <= len(said["queues"])


def test_what_was_written_is_found_again_and_damage_too(host, image):
    once = ("--size", "1m", "--requests", "256", "--seed", "7", "--verify")
    said = blk(host, "--rw", "write", *once)
    assert said["total"]["blocks-verified"] == 256, "read back at the end"
    said = blk(host, "--rw", "read", *once)
    assert (said["total"]["blocks-verified"], said["error"]) == (256, None)
    with image.open("r+b") as f:
        f.seek(70000)
        byte = f.read(1)
        f.seek(70000)
        f.write(bytes([byte[0] ^ 1]))
    said = blk(host, "--rw", "read", *once, status=1)
    assert "the block of 4096 bytes at 69632 holds wrong bytes: at offset 70000" in said["error"]
    assert "expected 0x" in said["error"] and "found 0x" in said["error"]


# What stands in a block instead of its own: how the sentence goes.
DAMAGE = (
    ("holds no pattern", lambda data: data[:8192] + bytes(4096) + data[12288:]),
    ("holds what belongs at another offset", lambda data: data[:8192] + data[:4096] + data[12288:]),
    ("the block of 4096 bytes at 8192 holds what belongs at another offset: at offset 8704",
     lambda data: data[:8704] + data[512:1024] + data[9216:]),
)


@pytest.mark.parametrize("says,damage", DAMAGE, ids=[d[0] for d in DAMAGE])
def test_damage_is_named(host, image, says, damage):
    once = ("--size", "64k", "--requests", "16", "--verify")
    blk(host, "--rw", "write", *once)
    data = image.read_bytes()
    image.write_bytes(damage(data))
    assert says in blk(host, "--rw", "read", *once, status=1)["error"]


def test_another_seed_and_torn_blocks(host, image):
    once = ("--size", "64k", "--requests", "16", "--verify")
    blk(host, "--rw", "write", *once)
    first = image.read_bytes()
    assert "another seed" in blk(host, "--rw", "read", *once, "--seed", "2", status=1)["error"]
    blk(host, "--rw", "write", *once)
    second = image.read_bytes()
    image.write_bytes(second[:1024] + first[1024:])
    assert "torn" in blk(host, "--rw", "read", *once, status=1)["error"]


def test_text_is_as_fio_prints_it(host):
    text, error = drive(host.socket("disk0"), "--device", "blk", "--requests", "500")
    assert "  read: IOPS=" in text and "BW=" in text and "lat percentiles (" in text
    for percentile in ("50.00th=[", "90.00th=[", "99.00th=[", "99.90th=[", "99.99th=["):
        assert percentile in text
    assert not error, "a progress line, and this is no terminal"


def test_a_terminal_gets_a_line_that_goes_again(host):
    ours, theirs = pty.openpty()
    run = subprocess.Popen([binary(), "drive", "--connect", str(host.socket("null0")), "--device",
                            "blk", "--seconds", "2.5"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    said = run.communicate(timeout=60)[0].decode()
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert run.returncode == 0 and "IOPS=" in said
    assert re.search(r"\rblk: [12] s, \d+ requests, \d+/s", shown), shown
    assert shown.endswith("\r" + " " * 60 + "\r")


def test_json_has_fios_members(host):
    said = blk(host, "--requests", "500", "--iodepth", "4")
    read = said["read"]
    assert read["total_ios"] == read["lat_ns"]["N"] == 500
    assert set(read) >= {"io_bytes", "bw_bytes", "iops", "runtime", "total_ios", "lat_ns"}
    lat = read["lat_ns"]
    percentiles = [lat["percentile"][p] for p in
                   ("1.000000", "50.000000", "90.000000", "99.000000", "99.900000", "99.990000")]
    assert percentiles == sorted(percentiles)
    assert lat["min"] <= percentiles[0] and percentiles[-1] <= lat["max"]
    assert lat["min"] <= lat["mean"] <= lat["max"]
    assert any(n.startswith("VIRTIO_BLK_F_MQ:") for n in said["device"]["feature-names"])
    assert said["total"]["kicks"] > 0 and said["options"]["iodepth"] == 4
    assert said["queues"][0]["vring-base"] == 500, "as many chains as the back-end took"


def test_streams(host, tmp_path):
    said = result(host.socket("rng0"), "--device", "rng", "--requests", "300", "--iodepth", "8")
    assert said["read"]["total_ios"] == 300 and said["read"]["io_bytes"] == 300 * 64
    said = result(host.socket("con0"), "--device", "console", "--requests", "20", "--bs", "100")
    assert said["write"]["io_bytes"] == 2000
    wait_until(lambda: (tmp_path / "console").stat().st_size == 2000, "the console's file")
    assert (tmp_path / "console").read_text().startswith("ringside drive was here")


def test_time_ends_it(host):
    said = result(host.socket("null0"), "--device", "blk", "--seconds", "0.2", "--iodepth", "16")
    assert said["total"]["requests"] > 0 and said["seconds"] >= 0.2


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_a_signal_ends_it_with_the_result_so_far(host, number):
    with Process([binary(), "drive", "--connect", host.socket("null0"), "--device", "blk",
                  "--json", "--seconds", "1000"]) as run:
        # Its first kick has come once the host's queue moved.
        monitor = host.qmp()
        wait_until(lambda: monitor.command(
            "x-query-virtio-queue-status", path="/machine/peripheral/null0/virtio-backend",
            queue=0).get("used-idx"), "the first request")
        run.signal(number)
        assert run.wait() == 0, run.text
        said = json.loads(run.text)
    assert said["interrupted"] and said["total"]["requests"] > 0


USAGE = (
    ((), "--connect is missing"),
    (("--connect", "x"), "--device is missing: expected blk, net, rng or console"),
    (("--connect", "x", "--device", "floppy"), "--device 'floppy': expected blk, net"),
    (("--connect", "x", "--device", "blk", "--bs", "4x"), "--bs '4x': expected a number"),
    (("--connect", "x", "--device", "blk", "--bs", "0"), "--bs '0': expected a number from 1"),
    (("--connect", "x", "--device", "blk", "--rw", "erase"), "--rw 'erase': expected read, write"),
    (("--connect", "x", "--device", "blk", "--seconds", "0"), "--seconds '0': expected"),
    (("--connect", "x", "--device", "blk", "--event-idx", "no"), "expected on or off"),
    (("--connect", "x", "--device", "blk", "--indirect", "--no-indirect"), "expected one of them"),
    (("--connect", "x", "--device", "rng", "--rw", "randread"), "has no offsets"),
    (("--connect", "x", "--device", "rng", "--queues", "2"), "has one"),
    (("--connect", "x", "--device", "rng", "--verify"), "are for --device blk"),
    (("--connect", "x", "--device", "blk", "--fast"), "there is no option '--fast'"),
)


@pytest.mark.parametrize("words,says", USAGE, ids=[u[1] for u in USAGE])
def test_usage(words, says):
    text, error = tool("drive", *words, status=2)
    assert says in error and not text


# Only seen with a back-end at hand: device, options, status, sentence.
REFUSED = (
    ("disk0", "blk", ("--bs", "1000"), 2, "--bs 1000: expected a multiple of 512"),
    ("disk0", "blk", ("--offset", "8m"), 2, "a range inside the disk's 4194304 bytes"),
    ("disk0", "blk", ("--size", "8m"), 2, "a range inside the disk's 4194304 bytes"),
    ("disk0", "blk", ("--offset", "1k"), 2, "expected a multiple of --bs 4096"),
    ("disk0", "blk", ("--iodepth", "64", "--queue-size", "32"), 2, "at most --iodepth 32"),
    ("disk0", "blk", ("--queue-size", "100"), 2, "expected a power of two"),
    ("disk0", "blk", ("--queues", "5"), 1, "--queues 5: the back-end has 4"),
    ("disk0", "blk", ("--memory", "64k", "--iodepth", "64"), 1, "give more with --memory"),
    ("ro0", "blk", ("--rw", "randwrite"), 1, "the disk is read-only"),
    ("ro0", "blk", ("--rw", "read", "--packed"), 1, "does not offer packed rings (RING_PACKED"),
    ("ro0", "blk", ("--rw", "read", "--in-order"), 1, "leave --in-order out"),
    ("rng0", "blk", (), 1, "does not offer CONFIG"),
)


@pytest.mark.parametrize("device,kind,words,status,says", REFUSED, ids=[r[4] for r in REFUSED])
def test_refused_before_the_first_request(host, device, kind, words, status, says):
    text, error = drive(host.socket(device), "--device", kind, *words, status=status)
    assert says in error and not text


def test_nobody_there(tmp_path):
    assert "nobody has made that socket yet" in drive(tmp_path / "x", "--device", "rng",
                                                      status=1)[1]


def test_a_back_end_that_goes(tmp_path, image):
    host = serve(tmp_path, f"virtio-blk,id=disk0,filename={image}")
    try:
        with Process([binary(), "drive", "--connect", host.socket("disk0"), "--device", "blk",
                      "--iodepth", "8", "--seconds", "1000"]) as run:
            monitor = host.qmp()
            wait_until(lambda: monitor.command(
                "x-query-virtio-queue-status", path="/machine/peripheral/disk0/virtio-backend",
                queue=0).get("used-idx"), "the first request")
            host.process.signal(signal.SIGKILL)
            assert run.wait() == 1
            assert "the back-end closed the connection; 8 requests were outstanding" in run.text
            assert "IOPS=" in run.text, "the result so far"
    finally:
        host.destroy()


class Restarted:
    """A device host that is killed and started again on the same socket."""

    def __init__(self, tmp_path, image):
        self.tmp_path, self.image = tmp_path, image
        self.folder = Folder()
        self.socket = self.folder.path / "disk0.sock"
        self.host = None

    def start(self):
        self.host = serve(self.tmp_path, "virtio-blk,id=disk0,num-queues=2,packed=on,in_order=on,"
                          f"filename={self.image},listen={self.socket}")

    def wait_until_it_serves(self):
        monitor = self.host.qmp()
        path = "/machine/peripheral/disk0/virtio-backend"
        def moves():
            return all(monitor.command("x-query-virtio-queue-status", path=path, queue=q)
                       .get("used-idx") for q in (0, 1))
        wait_until(moves, "both queues")

    def kill(self):
        if self.host:
            self.host.process.signal(signal.SIGKILL)
            self.host.process.wait()
            self.host.destroy()
        self.host = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.kill()
        self.folder.remove()


RESTARTS = 5


@pytest.mark.parametrize("way", (
    (), ("--poll",), ("--mem-slots", "3", "--no-indirect"), ("--packed",),
    ("--packed", "--poll", "--queue-size", "97", "--no-indirect"),
    ("--packed", "--event-idx", "off"), ("--packed", "--in-order"), ("--in-order",)),
                         ids=" ".join)
def test_restarts_of_the_back_end_lose_nothing(tmp_path, image, way):
    with Restarted(tmp_path, image) as back_end:
        with Process([binary(), "drive", "--connect", back_end.socket, "--device", "blk", "--rw",
                      "randrw", "--verify", "--iodepth", "32", "--queues", "2", "--seconds", "1000",
                      "--reconnect", "--json", *way]) as run:
            for _ in range(RESTARTS):
                back_end.wait_until_it_serves()
                back_end.kill()
                back_end.start()
            back_end.wait_until_it_serves()
            run.signal(signal.SIGINT)
            assert run.wait() == 0, run.text
            said = json.loads(run.text)
    assert said["error"] is None and said["reconnects"] == RESTARTS
    assert said["total"]["blocks-verified"] > 0
    assert all(q["outstanding"] == 0 for q in said["queues"])


def test_a_back_end_that_stays_away(tmp_path, image):
    with Restarted(tmp_path, image) as back_end:
        with Process([binary(), "drive", "--connect", back_end.socket, "--device", "blk", "--rw",
                      "read", "--iodepth", "4", "--queues", "2", "--reconnect"]) as run:
            back_end.wait_until_it_serves()
            back_end.kill()
            run.signal(signal.SIGINT)
            assert run.wait() == 1, run.text
            assert "8 requests were outstanding" in run.text


def storage_daemon():
    path = shutil.which("qemu-storage-daemon")
    if not path:
        pytest.skip("qemu-storage-daemon is not installed")
    return path


def test_against_qemu_storage_daemon(image):
    daemon = storage_daemon()
    folder = Folder()
    socket = folder.path / "q.sock"
    try:
        with Process([daemon, "--blockdev", f"driver=file,node-name=f0,filename={image}",
                      "--export", "type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,"
                      f"addr.path={socket},writable=on,num-queues=4"]) as process:
            wait_until(lambda: socket.exists() or not process.running(), "its socket")
            for way in ((), ("--poll",), ("--queues", "4", "--mem-slots", "4"),
                        ("--no-indirect", "--event-idx", "off")):
                said = result(socket, "--device", "blk", "--rw", "randrw", "--verify", "--iodepth",
                              "8", "--requests", "1000", *way)
                assert (said["error"], said["total"]["requests"]) == (None, 1000)
            error = drive(socket, "--device", "blk", "--reconnect", status=1)[1]
            assert "does not offer INFLIGHT_SHMFD" in error and "leave --reconnect out" in error
            error = drive(socket, "--device", "blk", "--packed", status=1)[1]
            assert "does not offer packed rings" in error and "leave --packed out" in error
    finally:
        folder.remove()


def test_help():
    text = tool("drive", "--help")[0]
    for option in ("--connect", "--rwmixread", "--iodepth", "--verify", "--reconnect", "--json"):
        assert option in text
    assert "drive" in subprocess.run([binary(), "help"], capture_output=True, text=True,
                                     env=os.environ, check=True).stdout
