# SPDX-License-Identifier: BSD-3-Clause
"""`ringside run`: a user-mode Linux guest of our own, from its start to its end."""
import hashlib
import os
import signal

import pytest

from lib.guest import Guest, images
from lib.guest_uml import require_uml
from lib.process import wait_until
from lib.ringside import run_uml, tool

MIB = 1 << 20
PATH = "/machine/peripheral/{}/virtio-backend"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(bytes(range(256)) * (8 * MIB // 256))
    return path


@pytest.fixture
def machine(tmp_path, image):
    """(host, guest, monitor) with a disk, a console and an entropy source."""
    require_uml()
    initrd = images("uml") / "uml.initrd"
    with run_uml(tmp_path, f"virtio-blk,id=disk0,filename={image}",
                 f"virtio-serial,id=con0,chardev=file:{tmp_path / 'console'}",
                 "virtio-rng,id=rng0", initrd=initrd) as host:
        yield host, Guest(host.process).wait_ready(), host.qmp()


def has_driver(qmp, device):
    statuses = qmp.command("x-query-virtio-status", path=PATH.format(device))["status"]["statuses"]
    return any(s.startswith("VIRTIO_CONFIG_S_DRIVER_OK") for s in statuses)


def disk_sum(guest):
    return guest.check("dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum").split()[0]


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_devices(machine, image, tmp_path):
    host, guest, qmp = machine
    assert disk_sum(guest) == md5(image)
    guest.check("echo hello from inside >/dev/hvc0")
    wait_until(lambda: b"hello from inside" in (tmp_path / "console").read_bytes(), "the console")
    assert [d["path"] for d in qmp.command("x-query-virtio")] == \
        [PATH.format(d) for d in ("rng0", "con0", "disk0")]
    assert has_driver(qmp, "disk0") and has_driver(qmp, "con0")
    assert not has_driver(qmp, "rng0"), "this kernel has a driver for virtio-rng after all"


def test_guest_powers_off(machine):
    host, guest, qmp = machine
    guest.start("poweroff -f")
    assert qmp.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}
    host.finish()


def test_quit(machine):
    host, guest, qmp = machine
    assert qmp.command("quit") == {}
    assert qmp.event("SHUTDOWN")["data"]["guest"] is False
    host.finish()


def test_stop_and_cont(machine, image):
    host, guest, qmp = machine
    assert qmp.command("query-status")["status"] == "running"
    qmp.command("stop")
    qmp.event("STOP")
    status = qmp.command("query-status")
    assert (status["running"], status["status"]) == (False, "paused")
    number = guest.start("md5sum /dev/vda")
    reply = qmp.command("x-query-virtio-status", path=PATH.format("disk0"))
    assert reply["vm-running"] is False
    assert b"@begin %d@" % number not in host.process.output
    qmp.command("cont")
    qmp.event("RESUME")
    assert md5(image) in guest.finish(number)[1]
    assert qmp.command("x-query-virtio-status", path=PATH.format("disk0"))["vm-running"] is True


def test_system_reset(machine, image):
    host, guest, qmp = machine
    for _ in range(2):
        guest.check("touch /tmp/mark")
        qmp.command("system_reset")
        assert qmp.event("RESET")["data"]["guest"] is False
        guest.wait_ready()
        assert guest.run("test -e /tmp/mark")[0] == 1
        assert disk_sum(guest) == md5(image)


def test_guest_reboots(machine, image):
    host, guest, qmp = machine
    guest.start("reboot -f")
    guest.wait_ready()
    assert qmp.event("RESET")["data"]["guest"] is True
    assert disk_sum(guest) == md5(image)


def test_no_hotplug_but_unplug(machine, image):
    host, guest, qmp = machine
    refused = qmp.error("device_add", driver="virtio-rng", id="late")
    assert refused == ("GenericError", "Machine 'uml' does not support hotplugging")
    qmp.command("device_del", id="rng0")
    # One for the inner object and one for the device, as in QEMU.
    assert qmp.event("DEVICE_DELETED")["data"] == {"path": PATH.format("rng0")}
    assert qmp.event("DEVICE_DELETED")["data"] == {"device": "rng0",
                                                   "path": "/machine/peripheral/rng0"}
    assert len(qmp.command("x-query-virtio")) == 2
    assert disk_sum(guest) == md5(image)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_ends_on_a_signal(machine, sig):
    host, guest, qmp = machine
    host.process.signal(sig)
    host.finish()


@pytest.mark.parametrize("arguments,status,sentence", [
    (["--kernel", "/nonexistent"], 1, "/nonexistent"),
    (["--kernel", "/etc/passwd"], 1, "/etc/passwd"),
    (["--initrd", "/nonexistent"], 1, "/nonexistent"),
    (["--memory", "nonsense"], 2, "nonsense"),
    (["--memory", "1"], 1, "memory"),
    (["--machine", "nonsense"], 2, "uml"),
    (["--nonsense"], 2, "nonsense"),
    (["--device", "virtio-nonsense,id=x"], 1, "virtio-nonsense"),
    (["--device", "virtio-blk,id=x"], 1, "filename"),
    (["--device", "virtio-blk,id=x,filename=/nonexistent"], 1, "/nonexistent"),
    (["--device", "virtio-rng,id=x,nonsense=1"], 1, "nonsense"),
    (["--device", "virtio-rng,id=x", "--device", "virtio-rng,id=x"], 1, "x"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_command_lines(tmp_path, arguments, status, sentence):
    """One clear sentence, the right status, nothing left behind."""
    if "--kernel" in arguments:
        require_uml()
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    where = {"XDG_RUNTIME_DIR": str(runtime), "TMPDIR": str(tmp_path)}
    before = sorted(tmp_path.rglob("*"))
    out, err = tool("run", *arguments, status=status, env=where)
    assert sentence in err, err
    # Who used it wrongly is also told where to look.
    assert len(err.strip().splitlines()) == status, err
    assert not out
    left = [p for p in sorted(tmp_path.rglob("*")) if p not in before and not p.is_dir()]
    assert not left
