# SPDX-License-Identifier: BSD-3-Clause
"""Every device comes and goes at run time: added, driven, removed in the middle of its work, added
again; what cannot be is refused by name; nothing is left behind."""
import contextlib
import os
import pathlib
import re
import resource
import time

import pytest

from lib.every_device import EVERY, KINDS
from lib.process import wait_until, wakeups
from lib.ringside import Folder, serve, tool
from lib.vhost_user import Front

PATH = "/machine/peripheral/"
ROUNDS = 25


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def make(request):
    """make(ident): such a device, with a folder for its files."""
    yield from maker(request.param)


@pytest.fixture(params=EVERY, ids=lambda kind: kind.__name__)
def make_any(request):
    yield from maker(request.param)


def maker(kind):
    folder, made = Folder(), []

    def new(ident="d"):
        made.append(kind(folder.path, ident))
        made[-1].prepare()
        return made[-1]

    yield new
    for device in made:
        device.close()
    folder.remove()


def host_for(tmp_path, kind):
    return serve(tmp_path, *([kind.parent] if kind.parent else []))


def add(qmp, kind, **more):
    return qmp.execute("device_add", {**kind.arguments(), **more})


def connect(host, kind):
    return Front(host.socket("bus") if kind.parent else kind.path("sock"), queues=kind.queues,
                 size=64)


def remove(qmp, kind):
    """device_del, and both events; a part of a device has one."""
    assert qmp.command("device_del", id=kind.ident) == {}
    events = [{"device": kind.ident, "path": PATH + kind.ident}]
    if not kind.parent:
        events.insert(0, {"path": PATH + kind.ident + "/virtio-backend"})
    for event in events:
        assert qmp.event("DEVICE_DELETED")["data"] == event


def listed(qmp):
    return [child["name"] for child in qmp.command("qom-list", path="/machine/peripheral")]


def begin(front, kind):
    kind.ready(front)
    kind.meet(front)


def load(front, kind, num):
    """So many things, each answered before the next."""
    queue = front.queues[kind.tx]
    for n in range(num):
        queue.wait([kind.start(front, n)])
        kind.receive()


def settled(host):
    """How many descriptors it has, once all threads sleep: a part's end may close behind it."""
    def number():
        woken = wakeups(host.process.pid, idle=False)
        found = len(os.listdir(f"/proc/{host.process.pid}/fd"))
        return found if wakeups(host.process.pid, idle=False) == woken else None

    return wait_until(number, "a rest")


def held(host):
    """What the program has: threads, memory of its own in KiB."""
    proc = pathlib.Path(f"/proc/{host.process.pid}")
    text = (proc / "smaps_rollup").read_text()
    return len(os.listdir(proc / "task")), int(re.search(r"^Anonymous: +(\d+)", text, re.M)[1])


def test_no_device_is_forgotten():
    names = re.findall(r"^ +(\S+)", tool("serve", "--device", "help")[0], re.M)
    assert {name for name in names if not name.startswith("vhost-")} == \
        {kind.driver for kind in EVERY}


def test_removed_under_load(tmp_path, make):
    """What was answered is where it belongs, to the last thing; then the same once more under the
    same name."""
    kind = make()
    with host_for(tmp_path, kind) as host, host.qmp() as qmp, contextlib.ExitStack() as stack:
        for turn in range(2):
            assert add(qmp, kind) == {"return": {}, "id": qmp._id}
            if not turn or not kind.parent:
                front = stack.enter_context(connect(host, kind))
            begin(front, kind)
            kind.use(front)
            load(front, kind, 40)
            queue = front.queues[kind.tx]
            late = {kind.start(front, n): n for n in range(40, 56)}
            remove(qmp, kind)
            assert kind.ident not in listed(qmp)
            if kind.parent:
                # What comes for a part that is gone is answered, and goes nowhere.
                queue.wait(list(late))
                kind.check(front, range(40))
            else:
                assert front.closed()
                answered = [late[used.id] for used in queue.ring.take_used() if used.id in late]
                kind.check(front, [*range(40), *answered])
                assert not kind.path("sock").exists()
            kind.close()
            kind = make()


def test_refused_by_name(tmp_path, make_any):
    kind = make_any()
    rows = [({"bogus": 1}, "bogus"), *kind.wrong]
    if kind.here and not kind.parent:
        rows += [({"listen": "/nope/x"}, "/nope"), ({"queue-size": 3}, "queue-size"),
                 ({"iothread": "nope"}, "nope"), ({"packed": "perhaps"}, "packed"),
                 ({"mode": "9"}, "mode")]
    with host_for(tmp_path, kind) as host, host.qmp() as qmp:
        if kind.here:
            add(qmp, kind)
            remove(qmp, kind)
        before = settled(host)
        files = sorted(os.listdir(kind.folder))
        for options, part in rows:
            reply = add(qmp, kind, **options)
            assert "error" in reply, f"{options} was accepted"
            assert part in reply["error"]["desc"], reply
        assert settled(host) == before
        assert sorted(os.listdir(kind.folder)) == files
        assert kind.ident not in listed(qmp)
        assert not kind.here or "return" in add(qmp, kind)


def test_nothing_is_left(tmp_path, make):
    """Descriptors and threads to the last one; memory as far as it can be told."""
    kind = make()
    with host_for(tmp_path, kind) as host, host.qmp() as qmp, contextlib.ExitStack() as stack:
        def once(front=None):
            assert "return" in add(qmp, kind)
            if kind.parent:
                front = front or stack.enter_context(connect(host, kind))
                kind.ready(front)
                remove(qmp, kind)
                return front
            with connect(host, kind) as front:
                kind.ready(front)
                remove(qmp, kind)
            return None

        front = None
        seen = []
        for number in range(3 * ROUNDS + 1):
            front = once(front)
            if number % ROUNDS == 0:
                seen.append((settled(host), *held(host)))
        assert len({row[:2] for row in seen}) == 1, seen
        # What leaks grows each time; an allocator's heap does so for a while. Sanitizers keep freed
        # memory, and look for leaks themselves.
        grown = min(after[2] - before[2] for before, after in zip(seen, seen[1:]))
        assert os.environ.get("RINGSIDE_SANITIZED") or grown < 4 * ROUNDS, seen


def test_one_more_is_small(tmp_path, make):
    """Tables that nobody uses are no memory: what a device holds before a driver comes."""
    if os.environ.get("RINGSIDE_SANITIZED"):
        pytest.skip("a sanitizer has memory of its own for each piece")
    first, num = make(), 20
    if first.parent:
        pytest.skip("a part of another device")
    # What is filled as it is handed out is held, all of it.
    with serve(tmp_path, env={"MALLOC_PERTURB_": "0"}) as host, host.qmp() as qmp:
        assert "return" in add(qmp, first)
        before = held(host)[1]
        for number in range(num):
            kind = type(first)(first.folder, f"more{number}", number + 1)
            kind.prepare()
            assert "return" in add(qmp, kind)
            kind.close()
        assert held(host)[1] - before < 100 * num


NUM_IDLE = 100


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_hundred_idle_devices_sleep(tmp_path, many_descriptors):
    """Each has its driver, which gave it its buffers and has nothing to do: no thread wakes. The
    run's own look at what stands still, one a second for all of them, is switched off."""
    folder = Folder()
    kinds = [kind for kind in KINDS if not kind.parent]
    with serve(tmp_path, arguments=["--stall-ms", "0"]) as host, host.qmp() as qmp, \
            contextlib.ExitStack() as stack:
        stack.callback(folder.remove)
        for number in range(NUM_IDLE):
            kind = kinds[number % len(kinds)](folder.path, f"d{number}", number)
            stack.callback(kind.close)
            kind.prepare()
            assert "return" in add(qmp, kind)
            front = stack.enter_context(connect(host, kind))
            begin(front, kind)
        assert len(qmp.command("x-query-virtio")) == NUM_IDLE
        pid = host.process.pid

        def sleeps(seconds):
            woken = wakeups(pid, idle=False)
            time.sleep(seconds)
            return wakeups(pid, idle=False) == woken

        # News of the last drivers may be told a second later.
        wait_until(lambda: sleeps(1.5), "a rest")
        assert sleeps(3)
        woken = wakeups(pid, idle=False)
        qmp.command("query-status")
        assert wakeups(pid, idle=False) == woken + 1, "the count counts"
