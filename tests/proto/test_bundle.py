# SPDX-License-Identifier: BSD-3-Clause
"""`ringside bundle`: an archive that any tar reads, with every reply, and nothing that a guest
wrote unless it was asked for. And --stall-dir: what is known of a queue when it is found stuck."""
import json
import subprocess
import tarfile

import pytest

from lib.look import take_calls
from lib.process import wait_until
from lib.qmp import QmpError
from lib.ringside import binary, serve
from lib.vhost_user import Front
from lib.virtio import Blk

SECRET = b"what the guest wrote"


def bundle(host, *arguments, cwd, status=0):
    run = subprocess.run([binary(), "bundle", "--qmp", f"unix:{host.qmp_path}", *arguments],
                         cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert run.returncode == status, run.stdout + run.stderr
    return run.stdout + run.stderr


def read(path):
    """{name: text} of the archive, its names below one folder."""
    files = {}
    with tarfile.open(path) as tar:
        for member in tar.getmembers():
            assert member.isfile() and member.name.startswith("ringside-bundle/")
            files[member.name.partition("/")[2]] = tar.extractfile(member).read().decode()
    return files


@pytest.fixture
def host(tmp_path):
    (tmp_path / "img").write_bytes(bytes(1 << 20))
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={tmp_path / 'img'},num-queues=2",
               "virtio-rng,id=rng0") as host:
        yield host


def test_everything_is_in_it(host, tmp_path):
    with Front(host.socket("disk0"), queues=2) as front:
        Blk(front).write(8, SECRET.ljust(512, b"."))
        said = bundle(host, "-o", "b.tar", cwd=tmp_path)
        files = read(tmp_path / "b.tar")
        assert f"{len(files)} files, " in said
        # tar agrees, whoever made it.
        names = subprocess.run(["tar", "-tf", tmp_path / "b.tar"], check=True, capture_output=True,
                               text=True).stdout.split()
        assert sorted(names) == sorted(f"ringside-bundle/{n}" for n in files)
        replies = {n: json.loads(t) for n, t in files.items() if n.endswith(".json")}
        assert [d["name"] for d in replies["devices.json"]] == ["virtio-rng", "virtio-blk"]
        disk = next(f"device-{n}" for n in range(2)
                    if replies[f"device-{n}/status.json"]["name"] == "virtio-blk")
        for name in ("sources", "negotiation", "threads", "health", "inflight", "transcript",
                     "findings"):
            assert isinstance(replies[f"{disk}/{name}.json"], (list, dict)), name
        assert replies[f"{disk}/queue-0/status.json"]["used-idx"] == 1
        assert replies[f"{disk}/queue-0/elements.json"]["num"] == 128
        assert {e["event"] for e in replies[f"{disk}/queue-0/trace.json"]} >= {"kick", "pop"}
        assert replies[f"{disk}/queue-1/status.json"]["used-idx"] == 0
        # What is refused says why, in its place.
        refused = replies[f"{disk}/queue-0/vhost-status.json"]
        assert refused["command"] == "x-query-virtio-vhost-queue-status"
        assert "vhost device has not started" in refused["refused"]
        assert replies["stats.json"] and "left out" in files["about.txt"]
        # Nothing that a program of the guest wrote, in whatever form.
        whole = (tmp_path / "b.tar").read_bytes()
        assert SECRET not in whole and SECRET.hex().encode() not in whole


def test_payload_on_request(host, tmp_path):
    with Front(host.socket("disk0")) as front:
        # It has looked at its ring for the first time, and sleeps.
        Blk(front).read(0, 512)
        ring = front.queues[0].ring
        gpa = front.memory.put(SECRET)
        # It waits in the ring of a device that nobody told.
        ring.add([(gpa, len(SECRET), False), (front.memory.alloc(1), 1, True)])
        said = bundle(host, "-o", "b.tar", "--payload", cwd=tmp_path)
        assert "what the guest's programs wrote" in said
        assert SECRET.hex().encode() in (tmp_path / "b.tar").read_bytes()
        with host.qmp() as qmp:
            path = "/machine/peripheral/disk0/virtio-backend"
            reply = qmp.command("query-virtio-memory", path=path, addr=gpa, size=len(SECRET))
            assert reply == {"addr": gpa, "bytes": SECRET.hex()}
            assert qmp.command("query-virtio-memory", path=path, addr=gpa, size=0)["bytes"] == ""
            for addr, size, error in [(gpa, 4097, "4096 at most"), (1 << 63, 8, "lie outside"),
                                      ((1 << 64) - 4, 8, "lie outside")]:
                with pytest.raises(QmpError, match=error):
                    qmp.command("query-virtio-memory", path=path, addr=addr, size=size)


def test_files_that_are_there_stay(host, tmp_path):
    (tmp_path / "b.tar").write_text("mine")
    said = bundle(host, "-o", "b.tar", cwd=tmp_path, status=1)
    assert "'b.tar' for writing: File exists: choose another name" in said
    assert (tmp_path / "b.tar").read_text() == "mine"
    # A name by the date, and nobody else may read it.
    bundle(host, cwd=tmp_path)
    made, = tmp_path.glob("ringside-*.tar")
    assert made.stat().st_mode & 0o777 == 0o600
    assert "one word too many" in bundle(host, "disk0", cwd=tmp_path, status=2)
    assert "--output" in bundle(host, "--nonsense", cwd=tmp_path, status=2)


def test_a_monitor_that_goes_leaves_no_archive(host, tmp_path):
    """Half an archive is none; nor is there one of a monitor that was never there."""
    qmp_path = tmp_path / "gone"
    run = subprocess.run([binary(), "bundle", "--qmp", f"unix:{qmp_path}", "-o", "b.tar"],
                         cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1 and not (tmp_path / "b.tar").exists()


def quiet_read(front):
    """A read that waits in the ring of disk0, for nobody kicks."""
    memory = front.memory
    head = memory.put(bytes(16))
    return front.queues[0].ring.add([(head, 16, False), (memory.alloc(512), 512, True),
                                     (memory.alloc(1), 1, True)])


def test_a_file_for_each_stall(tmp_path):
    (tmp_path / "img").write_bytes(bytes(1 << 20))
    stalls = tmp_path / "stalls"
    stalls.mkdir()
    with serve(tmp_path, f"virtio-blk,id=disk0,filename={tmp_path / 'img'}",
               arguments=["--stall-dir", stalls, "--stall-ms", "300"]) as host, host.qmp() as qmp:
        with Front(host.socket("disk0")) as front:
            Blk(front).read(0, 512)
            take_calls(qmp, front, "disk0")
            for number in (1, 2):
                chain = quiet_read(front)
                assert qmp.event("VIRTQUEUE_STALLED")["data"]["verdict"] == "kick-lost"
                wait_until(lambda: len(list(stalls.iterdir())) == number, "the file")
                front.queues[0].kick(force=True)
                front.queues[0].wait([chain])
                take_calls(qmp, front, "disk0")
                qmp.event("VIRTQUEUE_RECOVERED")
            first = sorted(stalls.iterdir())[0]
            assert first.name.startswith("disk0-queue0-")
            assert first.stat().st_mode & 0o777 == 0o600

            def whole():
                try:
                    return json.loads(first.read_text())
                except ValueError:
                    return None

            wait_until(whole, "all of the file")
            said = whole()
            assert said["verdict"] == "kick-lost" and said["queue"] == 0 and said["sentence"]
            assert said["inflight"] == [] and said["elements"]["avail-idx"] == 2
            assert {e["event"] for e in said["trace"]} >= {"kick", "pop", "complete"}


def test_a_stall_dir_that_is_none(tmp_path):
    for path, error in [(tmp_path / "nope", "No such file"), (binary(), "expected a folder")]:
        run = subprocess.run([binary(), "serve", "--stall-dir", path], capture_output=True,
                             text=True, stdin=subprocess.DEVNULL)
        assert run.returncode == 2 and error in run.stderr
