# SPDX-License-Identifier: BSD-3-Clause
"""virtio-net on a tap interface, in a network namespace of the test's own."""
import hashlib
import shutil
import subprocess

import pytest

from lib.guest import Guest, images
from lib.guest_uml import require_uml
from lib.process import PATIENCE, Process, wait_until
from lib.ringside import binary, run_uml

MIB = 1 << 20
OURS, THEIRS = "192.168.77.1", "192.168.77.2"


class Namespace:
    """A network of its own, and a program that starts `ringside` in it."""

    def __init__(self, tmp_path):
        for program in ("unshare", "nsenter", "ip", "busybox"):
            if not shutil.which(program):
                pytest.skip(f"{program} is missing")
        self.holder = Process(["unshare", "--user", "--map-root-user", "--net", "sh", "-c",
                               "echo ready; exec cat"], log=tmp_path / "namespace.log")
        wait_until(lambda: "ready" in self.holder.text or not self.holder.running(), "a namespace")
        if not self.holder.running():
            self.holder.kill()
            pytest.skip(f"no network namespace here: {self.holder.text.strip()}")
        self.enter = ["nsenter", "--preserve-credentials", "--user", "--net", "--target",
                      str(self.holder.pid), "--"]
        self.program = tmp_path / "ringside-inside"
        self.program.write_text(f"#!/bin/sh\nexec {' '.join(self.enter)} {binary()} \"$@\"\n")
        self.program.chmod(0o755)

    def run(self, *argv, **how):
        return subprocess.run([*self.enter, *argv], check=True, capture_output=True,
                              timeout=PATIENCE, **how).stdout


@pytest.fixture
def inside(tmp_path, monkeypatch):
    require_uml()
    namespace = Namespace(tmp_path)
    try:
        tun = subprocess.run([*namespace.enter, "ip", "tuntap", "add", "probe", "mode", "tap"],
                             capture_output=True, text=True, check=False)
        if tun.returncode:
            pytest.skip(f"no tap interfaces here: {tun.stderr.strip()}")
        monkeypatch.setenv("RINGSIDE_BIN", str(namespace.program))
        yield namespace
    finally:
        namespace.holder.kill()


# Of two pairs this guest uses one: the other's queue must get nothing.
@pytest.mark.parametrize("device", ["queues=1", "queues=2", "queues=2,rss=on",
                                    "queues=1,offloads=off", "queues=1,mrg_rxbuf=off,packed=on"])
def test_transfers(inside, tmp_path, device):
    """Large transfers both ways, cut into segments by the kernel, by nobody, or not at all."""
    body = hashlib.shake_128(device.encode()).digest(8 * MIB)
    (tmp_path / "body").write_bytes(body)
    digest = hashlib.md5(body).hexdigest()
    with run_uml(tmp_path, f"virtio-net,id=net0,netdev=tap,ifname=rs0,{device}",
                 initrd=images("uml") / "uml.initrd") as host:
        guest = Guest(host.process).wait_ready()
        inside.run("ip", "addr", "add", f"{OURS}/24", "dev", "rs0")
        inside.run("ip", "link", "set", "rs0", "up")
        guest.check(f"ip addr add {THEIRS}/24 dev eth0; ip link set eth0 up")
        assert "3 packets received" in guest.check(f"ping -c 3 -s 1400 {OURS}")
        guest.check("tail -f /dev/null | nc -l -p 5001 >/tmp/body & for i in $(seq 50); do"
                    " netstat -ltn | grep -q 5001 && exit 0; sleep 0.1; done; exit 1")
        with open(tmp_path / "body", "rb") as file:
            inside.run("busybox", "nc", THEIRS, "5001", stdin=file)
        guest.check(f"for i in $(seq 100); do [ $(stat -c %s /tmp/body) = {len(body)} ] && exit 0;"
                    " sleep 0.1; done; exit 1")
        assert digest in guest.check("md5sum /tmp/body")
        back = Process([*inside.enter, "busybox", "nc", "-l", "-p", "5002"],
                       log=tmp_path / "back.log")
        try:
            guest.check(f"for i in $(seq 50); do nc {OURS} 5002 </tmp/body && exit 0;"
                        " sleep 0.1; done; exit 1")
            back.wait()
            assert hashlib.md5(bytes(back.output)).hexdigest() == digest
        finally:
            back.kill()
        if "off" not in device:
            features = guest.check("cat /sys/class/net/eth0/device/features")
            assert features[0] == "1" and features[11] == "1", "CSUM and HOST_TSO4"
    # An interface that was made goes with its card.
    assert b"rs0" not in inside.run("ip", "link")
