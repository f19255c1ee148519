# SPDX-License-Identifier: BSD-3-Clause
"""`ringside top` on a terminal, against servers that say what a test tells them, and against real
ones. tests/interop/test_top_qemu.py has QEMU's."""
import os
import signal
import threading

import pytest

from lib.fake_qmp import RINGSIDE, Error, FakeQmp
from lib.info import LIST, virtio_queue
from lib.process import wait_until
from lib.ringside import Folder, binary, serve
from lib.screen import Screen
from lib.top import BASIC, HEALTH, KNOWN, STUCK, ours
from lib.vhost_user import Front


@pytest.fixture
def folder():
    made = Folder()
    yield made.path
    made.remove()


def top(path, columns=80, rows=24, *more, env=None):
    return Screen([binary(), "top", "--interval", "0.2", "--qmp", path, *more], columns, rows,
                  env=env)


def fits(screen, columns, rows):
    lines = screen.lines()
    return len(lines) <= rows + 1 and all(len(line) <= columns for line in lines)


@pytest.mark.parametrize("columns, rows", [(80, 24), (200, 50)])
def test_screen(folder, columns, rows):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), \
            top(folder / "q", columns, rows) as screen:
        text = screen.wait("!disk0", "kick-lost", "1 stuck", "q quit")
        assert text.startswith(" ringside top  ringside 0.1  box  running")
        assert fits(screen, columns, rows)
        lines = screen.lines()
        assert lines[3].startswith("!disk0")
        # What is under the cursor is told in full, with what to do.
        assert any(STUCK["sentence"] in line for line in lines[-7:])
        assert any("do: " + STUCK["advice"] in line for line in lines[-7:])
        screen.wait("/s ")
        screen.keys("q")
        assert screen.ended() == 0
        assert screen.flags() == ["0", "1"]


def test_a_title_that_is_cut(folder):
    """Where both ends of the title do not fit, they do not run into each other."""
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q", 40, 24) as screen:
        screen.wait("!disk0", " every 0.2s")
        assert fits(screen, 40, 24)


def test_drill_in_and_out(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("Enter")
        # Entries 4 to 8 are used, in flight, available.
        text = screen.wait("disk0 queue 1 requestq2", "uFFaa...", "in flight, oldest first:")
        assert "head     7    12.0s  read sector 8, 512 bytes" in text
        assert "flush  (perhaps)" in text and "avail 9  next to take 7" in text
        assert "kick wanted: false (at 6)" in text
        screen.keys("Right", "Right", "Right", "Right", "Right")
        screen.wait("entry 5: in-flight, head 105, taken 12.0s ago")
        screen.keys("Enter")
        text = screen.wait("ring entry 5", "addr 0x2000  len 513  write")
        screen.keys("Escape")
        screen.wait("in flight, oldest first:")
        screen.keys("Down")
        screen.wait("entry 69: stale")
        screen.keys("d")
        screen.wait("1 status", "VIRTIO_CONFIG_S_ACKNOWLEDGE  seen", "line 1 of ")
        screen.keys("Down", "NPage", "Up")
        screen.wait("VIRTIO_CONFIG_S_DRIVER       has a driver", absent=["line 1 of "])
        screen.keys("Tab")
        screen.wait("query-virtio-negotiation")
        screen.keys("Tab")
        screen.wait("vhost-user messages of", "none so far")
        screen.keys("5")
        screen.wait("queue.0.used-idx", "one in flight is head 3")
        screen.keys("3")
        screen.keys("?")
        screen.wait("What is stuck is on top")
        screen.keys("Escape")
        screen.wait("vhost-user messages of")
        screen.keys("Escape")
        screen.wait("!disk0", "VERDICT")


STRANGE = [
    # replies to the questions that the inner screens ask
    {"query-virtqueue-elements": 5, "query-virtqueue-inflight": 5, "x-query-virtio-status": 5,
     "query-virtio-negotiation": 5, "query-vhost-user-transcript": 5,
     "query-vhost-user-findings": 5, "query-virtio-sources": 5},
    {"query-virtqueue-elements": {"elements": 7}, "query-virtqueue-inflight": [7, None, {}],
     "query-virtio-negotiation": {"features": [7, None], "protocol-features": 5, "parties": [1]},
     "query-vhost-user-transcript": [7, None, {}], "query-vhost-user-findings": [7, None, {}],
     "query-virtio-sources": [7, None, {}], "x-query-virtio-status": lambda path: {}},
    {"query-virtqueue-elements": {"elements": [
        7, None, {}, {"index": -1, "state": "used"}, {"index": 2**40, "state": 7, "age-ns": "x"},
        {"index": 5, "state": "\x1b[2J", "descs": [7, {"addr": "x", "flags": [7, {}]}]}]},
     "query-virtqueue-inflight": [{"head": "\x1b[2J", "age-ns": 2**64 - 1}] * 100},
    {name: None for name in KNOWN[2:5]},
    {name: Error("no\x1b[2J") for name in KNOWN[2:5]},
]


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_strange_replies_on_every_screen(folder, number):
    table = {**ours(), **STRANGE[number]}
    with FakeQmp(folder / "q", table, version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("Enter")
        screen.wait("disk0 queue 1", "Esc back")
        screen.keys("Right", "Enter")
        screen.wait("ring entry 1")
        screen.keys("Escape")
        screen.wait("Enter entry")
        screen.keys("d")
        for tab in "12345":
            screen.keys(tab, "End", "Right", "Home", "Left")
        screen.wait("5 sources")
        screen.keys("q")
        assert screen.ended() == 0


def test_without_elements_the_ring_is_drawn_by_indices(folder):
    def queue(path, queue):
        return {**virtio_queue(path, 0), "inuse": 2}
    table = {**BASIC, "x-query-virtio-queue-status": queue}
    with FakeQmp(folder / "q", table), top(folder / "q") as screen:
        screen.wait("rng0", "VERDICT")
        screen.keys("Enter")
        screen.wait("drawn by indices", ".....ffaa....")
        screen.keys("Enter")
        # On QEMU an element is not asked for.
        screen.wait("not asked: QEMU walks the descriptors")


def test_keys(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        first = lambda: screen.lines()[3].split()[:2]
        assert first() == ["!disk0", "1"]
        for expected in ["disk0", "0"], ["disk0", "0"], ["disk0", "0"], ["!disk0", "1"], \
                ["!disk0", "1"]:
            screen.keys("s")
            wait_until(lambda: first() == expected, f"{expected} on top")
        screen.keys("r")
        wait_until(lambda: first() == ["rng0", "0"], "the other way round")
        screen.keys("j")
        screen.wait("disk0 requestq1: requests come and go")
        screen.keys("End")
        screen.wait("disk0 requestq2: 2 requests wait")
        screen.keys("Home")
        screen.wait("rng0 requestq: nothing is to be done")
        screen.keys("+")
        screen.wait("every 0.1s")
        screen.keys("-", "-")
        screen.wait("every 0.4s")


def test_pause(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE) as server, top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("p")
        screen.wait("PAUSED")
        asked = len(server.commands)
        # Keys still work, and nothing is asked.
        screen.keys("s", "s", "j", "k", "?")
        screen.wait("What is stuck is on top")
        screen.keys("Escape")
        screen.wait("!disk0", "PAUSED")
        assert len(server.commands) == asked
        screen.keys("Space")
        screen.wait("!disk0", absent=["PAUSED"])
        wait_until(lambda: len(server.commands) > asked, "it goes on")


def test_resize(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        for columns, rows in (200, 50), (20, 5), (1, 1), (40, 3), (132, 43), (80, 24):
            screen.resize(columns, rows)
            if columns >= 80:
                screen.wait("!disk0", "VERDICT", "q quit")
                assert fits(screen, columns, rows)
        screen.keys("Enter")
        screen.wait("uFFaa")
        for columns, rows in (200, 50), (12, 6), (3, 2), (80, 24):
            screen.resize(columns, rows)
        screen.wait("uFFaa", "in flight, oldest first:", "q quit")
        screen.keys("q")
        assert screen.ended() == 0


def test_resized_there_and_back_at_once(folder):
    """The size may be the same as before, and what the terminal showed is gone."""
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("p")
        before = screen.wait("PAUSED", "kick-lost", "q quit").splitlines()[2:]
        for rows in range(3, 24):
            screen.resize(3 * rows, rows)
            screen.resize(80, 24)
            wait_until(lambda: screen.text().splitlines()[2:] == before, "all of it is there again")


def test_a_monitor_that_goes_away(tmp_path, folder):
    """It is told, tried again, and found again."""
    path = folder / "q"
    with FakeQmp(path, ours(), version=RINGSIDE):
        screen = top(path)
        try:
            screen.wait("!disk0")
        except BaseException:
            screen.__exit__()
            raise
    with screen:
        # The last numbers stay.
        screen.wait("no answer for", "trying again", "!disk0", "kick-lost")
        path.unlink()
        screen.wait("trying again: there is no socket")
        screen.keys("Enter")
        screen.keys("Escape")
        with FakeQmp(path, {**ours(), "x-query-virtio": LIST[1:]}, version=RINGSIDE):
            screen.wait("rng0", absent=["disk0", "trying again"])
            screen.keys("q")
            assert screen.ended() == 0


def test_a_device_that_goes_away(folder):
    table = ours()
    with FakeQmp(folder / "q", table, version=RINGSIDE) as server, top(folder / "q") as screen:
        screen.wait("!disk0")
        screen.keys("Enter")
        screen.wait("uFFaa")
        server.table["x-query-virtio"] = LIST[1:]
        server.table["query-virtqueue-health"] = HEALTH[:1]
        screen.wait("this device is gone")
        screen.keys("Escape")
        screen.wait("rng0", absent=["disk0"])


def test_a_silent_monitor(folder):
    table = ours()
    silence = threading.Event()

    def slow(path=None, queue=None):
        if silence.is_set():
            return b""
        return HEALTH
    table["query-virtqueue-health"] = slow
    with FakeQmp(folder / "q", table, version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        silence.set()
        screen.wait("trying again", "gave no reply")
        silence.clear()
        screen.wait("!disk0", absent=["trying again"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT,
                                    signal.SIGABRT])
def test_a_signal_gives_the_terminal_back(folder, number):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        assert screen.flags() == ["1", "0"]
        os.kill(screen.pid(), number)
        assert screen.ended() == (0 if number == signal.SIGINT else 128 + number)
        assert screen.flags() == ["0", "1"]


def test_ascii_and_no_colour(folder):
    env = {"LC_ALL": "C", "NO_COLOR": "1"}
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q", env=env) as screen:
        screen.wait("!disk0", "#=")
        text = "\n".join(screen.lines(colours=True))
        assert text.isascii()
        sequences = {s.partition("m")[0] for s in text.split("\x1b[")[1:]}
        parameters = {int(p) for s in sequences for p in s.split(";") if p.isdigit()}
        assert not parameters & set(range(30, 38)), parameters


def test_colour(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!disk0")
        line = screen.lines(colours=True)[3]
        assert "31" in line and "\u2588" in screen.text()


def test_a_terminal_that_cannot_be_drawn_on(folder):
    with FakeQmp(folder / "q", ours(), version=RINGSIDE), \
            top(folder / "q", env={"TERM": "dumb"}) as screen:
        assert screen.ended() == 1
        assert "cannot be drawn on" in screen.text().replace("\n", " ")


def many(number):
    paths = [f"/machine/peripheral/d{i}/virtio-backend" for i in range(number)]
    return paths, [{"name": "virtio-blk", "path": path} for path in reversed(paths)]


def test_a_thousand_devices(folder):
    """Only what is on the screen is asked about one by one."""
    paths, listed = many(1000)
    table = {**BASIC, "x-query-virtio": listed, "qom-get": "virtio-blk-device",
             "x-query-virtio-queue-status":
                 lambda path, queue: {**virtio_queue(path, 0), "inuse": 0}}
    with FakeQmp(folder / "q", table) as server, top(folder / "q") as screen:
        screen.wait("d0 ", "d5 ", "1000 devices", "idle")
        asked = {a["path"] for n, a in server.commands if n == "x-query-virtio-queue-status"}
        assert asked <= set(paths[:20]), asked
        screen.keys("End")
        screen.wait("d999 ", "d995 ")
        wait_until(lambda: any(a.get("path") == paths[999] for n, a in server.commands
                               if n == "x-query-virtio-queue-status"), "the last one is asked")
        asked = {a["path"] for n, a in server.commands if n == "x-query-virtio-queue-status"}
        assert len(asked) < 60
        screen.keys("q")
        assert screen.ended() == 0


def test_trouble_among_a_thousand_is_on_top(folder):
    paths, listed = many(1000)
    everything = [{**HEALTH[1], "path": path} for path in paths]
    everything[777] = {**STUCK, "path": paths[777], "queue": 0}
    table = {**ours(), "x-query-virtio": listed, "query-stats": [],
             "query-virtqueue-health": lambda path=None: everything if path is None else [
                 h for h in everything if h["path"] == path]}
    with FakeQmp(folder / "q", table, version=RINGSIDE), top(folder / "q") as screen:
        screen.wait("!d777", "1 stuck")
        assert screen.lines()[3].startswith("!d777")


# ---- a real one --------------------------------------------------------------------------------


def test_real_devices(tmp_path):
    """Requests of a real front-end; the server is killed, and one on the same socket goes on."""
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    device = f"virtio-blk,id=disk0,filename={tmp_path / 'image'}"
    host = serve(tmp_path, device, "virtio-rng,id=r0")
    try:
        with Front(host.socket("disk0")) as front, top(host.qmp_path) as screen:
            # A read of sector 0, again and again.
            header, rest = front.memory.alloc(16), front.memory.alloc(513)
            buffers = [(header, 16, False), (rest, 512, True), (rest + 512, 1, True)]
            stop = threading.Event()
            work = threading.Thread(target=lambda: [front.request(0, buffers)
                                                    for _ in iter(stop.is_set, True)])
            work.start()
            try:
                screen.wait("disk0", "busy", "r0 ", "not-connected")
                wait_until(lambda: any("disk0" in line and "busy" in line for line in
                                       screen.lines()), "the disk is busy")
            finally:
                stop.set()
                work.join()
            screen.wait("idle", absent=["busy"])
            front.close()
            host.crash()
            screen.wait("trying again")
            with serve(tmp_path, device, "virtio-rng,id=r0", folder=host.folder) as again:
                screen.wait("disk0", "not-connected", absent=["trying again", "idle"])
                assert again.process.running()
                screen.keys("q")
                assert screen.ended() == 0
    finally:
        host.destroy()
