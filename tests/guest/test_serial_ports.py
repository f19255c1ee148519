# SPDX-License-Identifier: BSD-3-Clause
"""virtio-serial's ports under user-mode Linux, whose virtio_console finds them by name."""
import hashlib
import random
import socket
import threading

import pytest

from lib.guest_uml import GuestUml
from lib.process import PATIENCE, wait_until
from lib.qmp import QmpError
from lib.ringside import serve
from lib.virtio import CONSOLE

PATH = "/machine/peripheral/vs0/virtio-backend"


class Rig:
    """A virtio-serial vs0 with ports that come and go, and its guest."""

    def __init__(self, tmp_path, host, guest, qmp):
        self.tmp_path, self.host, self.guest, self.qmp = tmp_path, host, guest, qmp
        self.guest.check("load virtio_console")

    def add(self, port, **options):
        reply = self.qmp.execute("device_add", {
            "driver": "virtserialport", "id": port, "bus": "vs0.0", "name": f"org.{port}",
            "chardev": f"unix:{self.tmp_path / port}", **options})
        if "error" in reply:
            raise ValueError(reply["error"]["desc"])

    def remove(self, name):
        self.qmp.command("device_del", id=name)
        while True:
            event = self.qmp.event("DEVICE_DELETED")["data"]
            if event.get("device") == name:
                return

    def dial(self, name):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        sock.connect(str(self.tmp_path / name))
        return sock

    def names(self):
        """The guest's view: a port's name by its device."""
        text = self.guest.check("for d in /sys/class/virtio-ports/*; do "
                                "[ -e $d ] && echo ${d##*/} $(cat $d/name 2>/dev/null); done; true")
        return dict((line.split() + [""])[:2] for line in text.splitlines())

    def device(self, name):
        """In the guest, /dev/vportNpM of that port, once it is there."""
        wait_until(lambda: f"org.{name}" in self.names().values(), f"port {name} in the guest")
        found = [dev for dev, what in self.names().items() if what == f"org.{name}"]
        assert len(found) == 1
        return f"/dev/{found[0]}"

    def opened(self, name, is_open):
        while True:
            event = self.qmp.event("VSERPORT_CHANGE")["data"]
            if event == {"id": name, "open": is_open}:
                return


@pytest.fixture
def rig(tmp_path):
    """Two ports of the command line, one of them a console."""
    with serve(tmp_path, "virtio-serial,id=vs0",
               f"virtconsole,bus=vs0.0,id=con,chardev=unix:{tmp_path / 'con'}",
               f"virtserialport,bus=vs0.0,id=a,name=org.a,chardev=unix:{tmp_path / 'a'}") as host:
        with GuestUml(tmp_path / "guest", [(host.socket("vs0"), CONSOLE)]) as guest:
            with host.qmp() as qmp:
                yield Rig(tmp_path, host, guest, qmp)


def receive(sock, num_bytes):
    data = b""
    while len(data) < num_bytes:
        piece = sock.recv(min(65536, num_bytes - len(data)))
        assert piece, f"the port closed after {len(data)} bytes"
        data += piece
    return data


def exchange(rig, name, num_bytes=200_000):
    """Both ways at once, each byte once and in order."""
    data = random.Random(name).randbytes(num_bytes)
    device = rig.device(name)
    with rig.dial(name) as peer:
        number = rig.guest.start(f"exec 3<>{device}; (head -c {num_bytes} /dev/zero >&3) & "
                                 f"head -c {num_bytes} <&3 | md5sum; wait")
        sender = threading.Thread(target=peer.sendall, args=(data,), daemon=True)
        sender.start()
        assert receive(peer, num_bytes) == bytes(num_bytes)
        status, output = rig.guest.finish(number)
        sender.join(PATIENCE)
        assert (status, output.split()[0]) == (0, hashlib.md5(data).hexdigest())


def test_names_and_data(rig):
    """Ports of the command line and of run time, numbered as in QEMU, each its own way."""
    rig.add("b")
    rig.add("c", nr=7)
    assert [rig.device(name)[-2:] for name in "abc"] == ["p1", "p2", "p7"]
    assert rig.names().keys() >= {"vport0p0", "vport0p1", "vport0p2", "vport0p7"}
    for name in "abc":
        exchange(rig, name)
    # The console is one.
    with rig.dial("con") as peer:
        rig.guest.check("exec 3<>/dev/hvc0; stty raw -echo <&3; echo hello >&3")
        assert receive(peer, 6) == b"hello\n"
    for options, error in [
            ({"nr": 7}, "A port already exists at id 7"),
            ({"nr": 31}, "Out-of-range port id specified, max. allowed: 30"),
            ({"nr": 0}, "reserved for virtconsole"),
            ({"name": "org.a"}, "A port already exists by name org.a"),
            ({"name": "x" * 256}, "at most 255 bytes"),
            ({"bus": "vs1.0"}, "Bus 'vs1.0' not found"),
            ({"chardev": "?"}, "none of stdio"),
            ({"speed": 3}, "speed")]:
        with pytest.raises(ValueError, match=error):
            rig.add("d", **options)
    status = rig.qmp.command("x-query-virtio-status", path=PATH)
    assert (status["bus-name"], status["num-vqs"]) == ("vs0.0", 64)
    assert rig.guest.poweroff() == 0


def test_open_and_close(rig):
    """Each side hears of the other."""
    device = rig.device("a")
    qom = {"path": "/machine/peripheral/a", "property": "guest-open"}
    assert rig.qmp.command("qom-get", **qom) is False
    with rig.dial("a") as peer:
        # It stays open until it is told to go: what is over sooner than we look is not told.
        number = rig.guest.start(f"exec 3<>{device}; echo here >&3; head -c 1 <&3")
        assert receive(peer, 5) == b"here\n"
        rig.opened("a", True)
        peer.sendall(b"x")
        assert rig.guest.finish(number) == (0, "x")
        rig.opened("a", False)
        number = rig.guest.start(f"cat {device}")
        rig.opened("a", True)
        assert rig.qmp.command("qom-get", **qom) is True
        peer.sendall(b"until the end")
    # The peer leaves: the reader is at the end.
    assert rig.guest.finish(number) == (0, "until the end")
    rig.opened("a", False)
    # What comes while no program reads is for the next one.
    with rig.dial("a") as peer:
        peer.sendall(b"kept")
        assert rig.guest.check(f"head -c 4 {device}") == "kept"


def test_hotplug(rig):
    """A port goes while data flows, comes again with its number, and others do not notice."""
    rig.add("b")
    device = rig.device("b")
    for _ in range(3):
        with rig.dial("b") as peer:
            number = rig.guest.start(f"cat /dev/zero >{device} 2>/dev/null; echo over")
            receive(peer, 100_000)
            rig.remove("b")
            peer.settimeout(PATIENCE)
            while peer.recv(65536):
                pass
            assert rig.guest.finish(number) == (0, "over")
        wait_until(lambda: "org.b" not in rig.names().values(), "the port to go")
        exchange(rig, "a", 5000)
        rig.add("b")
        assert rig.device("b") == device
        exchange(rig, "b", 20_000)
    # Faster than the guest: it hears how it is now.
    for _ in range(20):
        rig.remove("b")
        rig.add("b")
    exchange(rig, "b", 5000)
    with pytest.raises(QmpError, match="Device 'x' not found"):
        rig.qmp.command("device_del", id="x")
    # The device takes its ports along.
    rig.qmp.command("device_del", id="vs0")
    gone = {rig.qmp.event("DEVICE_DELETED")["data"]["path"] for _ in range(5)}
    assert gone == {"/machine/peripheral/" + path
                    for path in ["vs0", "vs0/virtio-backend", "con", "a", "b"]}


def test_unbind_bind_reboot(rig):
    device = rig.device("a")
    with rig.dial("a") as peer:
        rig.guest.check(f"cat /dev/zero >{device} 2>/dev/null &")
        receive(peer, 10_000)
        driver = "/sys/bus/virtio/drivers/virtio_console"
        name = rig.guest.check(f"ls {driver} | grep virtio")
        rig.guest.check(f"echo {name} >{driver}/unbind")
        assert rig.names() == {}
        rig.add("b")
        rig.guest.check(f"echo {name} >{driver}/bind")
    for which in "ab":
        exchange(rig, which, 20_000)
    rig.guest.start("reboot -f")
    rig.guest.wait_ready()
    rig.guest.check("load virtio_console")
    for which in "ab":
        exchange(rig, which, 20_000)


def test_size(tmp_path):
    """The guest's terminal has the size that the host says, in the order that its kernel takes."""
    seen = {}
    for rows_first in "on", "off":
        path = tmp_path / f"rows-{rows_first}"
        path.mkdir()
        with serve(path, f"virtio-serial,id=vs0,max_ports=4,rows-first={rows_first},"
                         f"chardev=unix:{path / 'con'}",
                   f"virtconsole,id=two,chardev=unix:{path / 'two'}") as host:
            with GuestUml(path / "guest", [(host.socket("vs0"), CONSOLE)]) as guest, \
                    host.qmp() as qmp:
                qmp.command("console-resize", id="two", cols=33, rows=11)
                guest.check("load virtio_console")
                size = lambda tty: guest.run(f"stty size </dev/{tty}")[1]  # noqa: E731
                wait_until(lambda: sorted(size("hvc1").split()) == ["11", "33"],
                           "the size from before the driver")
                for number, (cols, rows) in enumerate([(120, 40), (81, 25)]):
                    qmp.command("console-resize", id="vs0", cols=cols, rows=rows)
                    wait_until(lambda: sorted(map(int, size("hvc0").split())) == [rows, cols],
                               "another size")
                seen[rows_first] = size("hvc0")
                with pytest.raises(QmpError, match="'nope' is no console"):
                    qmp.command("console-resize", id="nope", cols=1, rows=1)
    assert sorted(seen.values()) == ["25 81", "81 25"]


def test_many_ports(tmp_path):
    """As many as Linux's virtio_uml, which has 64 queues at most, can have."""
    ports = [f"virtserialport,id=p{n},name=n{n},chardev=null" for n in range(1, 31)]
    with serve(tmp_path, "virtio-serial,id=vs0", *ports) as host:
        with GuestUml(tmp_path / "guest", [(host.socket("vs0"), CONSOLE)]) as guest, \
                host.qmp() as qmp:
            guest.check("load virtio_console")
            names = "cat /sys/class/virtio-ports/*/name"
            wait_until(lambda: len(guest.run(names)[1].split()) == 30, "all ports")
            assert set(guest.check(names).split()) == {f"n{n}" for n in range(1, 31)}
            assert guest.check("cat /sys/class/virtio-ports/vport0p30/name") == "n30"
            reply = qmp.execute("device_add", {"driver": "virtserialport"})
            assert "Maximum port limit" in reply["error"]["desc"]
