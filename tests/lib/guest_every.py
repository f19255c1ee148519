# SPDX-License-Identifier: BSD-3-Clause
"""Devices with a guest's own driver, in one table: how a guest finds each, what works means, what
keeps it busy, and what the host must have of what the guest was told.

A row is a class of Driven; DRIVEN has them all.
"""
import hashlib
import pathlib
import random
import shutil
import socket
import subprocess
import threading

import pytest

from lib.every_device import receive
from lib.guest_qemu import GuestQemu
from lib.guest_scsi import FIND
from lib.guest_uml import GuestUml
from lib.process import PATIENCE, wait_until
from lib.virtio import BALLOON, BLK, CONSOLE, NET, SCSI, VSOCK

MIB = 1 << 20
GUEST = pathlib.Path(__file__).resolve().parent.parent / "guest"


def guest_tool(folder, source):
    """A program for guests (tests/guest/SOURCE), linked statically, as an image of a disk."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    path = folder / "tool"
    subprocess.run([compiler, "-O1", "-static", "-o", path, GUEST / source], check=True)
    path.write_bytes(path.read_bytes() + bytes(-path.stat().st_size % 512))
    return path


def vsock_tool(folder):
    return guest_tool(folder, "vsock_tool.c")


class Reader:
    """Reads a socket to its end."""

    def __init__(self, sock):
        self.sock, self.data = sock, bytearray()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            while piece := self.sock.recv(65536):
                self.data += piece
        except OSError:
            pass

    def leave(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.finish()

    def finish(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the peer never closed"
        self.sock.close()
        return bytes(self.data)


class Driven:
    """One device, `d`, and what is asked of its guest. Counts in /tmp/done what it was told."""

    driver = None       # of ours
    linux = None        # the folder of its driver below /sys/bus/virtio/drivers
    virtio_id = 0
    COUNT = "n=$((n + 1)); echo $n >/tmp/new; mv /tmp/new /tmp/done; "

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.host = self.guest = self.qmp = self.reader = None

    def options(self):
        """Those of the device, but for id and listen."""
        return {}

    def more(self):
        """Further --device, each with its virtio id, by their own ids."""
        return {}

    def parts(self):
        """What belongs to it, as arguments of device_add."""
        return []

    def boot(self, name="guest"):
        sockets = [(self.host.socket("d"), self.virtio_id)]
        sockets += [(self.host.socket(ident), number) for ident, (_, number) in self.more().items()]
        return GuestUml(self.tmp_path / name, sockets)

    def find(self):
        """After a boot: load what is no default."""

    def begin_anew(self):
        """A guest learns of devices when it boots."""
        self.reboot()

    def another_guest(self):
        self.guest.__exit__()
        self.guest = self.boot("next").__enter__()
        self.find()

    def reboot(self):
        self.guest.start("reboot -f")
        self.guest.wait_ready()
        self.find()

    def works(self):
        """Something there and back; also after the driver was bound again."""
        raise NotImplementedError

    def load(self):
        """Keep it busy, in the background, for as long as it is there."""
        raise NotImplementedError

    def progress(self):
        """What the guest was told so far; at least some of it, when the load is on its way."""
        return int(self.guest.run("cat /tmp/done")[1] or 0)

    def kept(self, progress):
        """The device is gone: the host has what the guest had been told."""

    def forget(self):
        """The load ended with its guest."""
        if self.reader:
            self.reader.leave()
            self.reader = None

    def background(self, loop):
        self.guest.check(f"echo 0 >/tmp/done; n=0; (while {loop} done) >/dev/null 2>&1 &")


class Disk(Driven):
    driver, linux, virtio_id = "virtio-blk", "virtio_blk", BLK
    node = "vda"

    def options(self):
        self.image = self.tmp_path / "image"
        if not self.image.exists():
            self.image.write_bytes(random.Random(1).randbytes(16 * MIB))
        return {"filename": str(self.image)}

    def works(self):
        self.find()
        seen = self.guest.check(f"dd if=/dev/{self.node} bs=64k iflag=direct 2>/dev/null | md5sum")
        assert seen.split()[0] == hashlib.md5(self.image.read_bytes()).hexdigest()

    def load(self):
        self.background(f"echo block $n | dd of=/dev/{self.node} bs=512 count=1 conv=sync "
                        f"seek=$n oflag=direct; do {self.COUNT}")

    def kept(self, progress):
        # It counts what it was told also while we look.
        progress = max(progress, self.progress())
        data = self.image.read_bytes()
        for n in range(progress):
            assert data[n * 512:].startswith(b"block %d\n" % n), n


class ScsiDisk(Disk):
    driver, linux, virtio_id = "virtio-scsi", "virtio_scsi", SCSI
    node = "sda"

    def options(self):
        cd = self.tmp_path / "cd"
        cd.write_bytes(bytes(MIB))
        return {**super().options(), "cdrom": str(cd)}

    def find(self):
        self.guest.check(FIND)


class Card(Driven):
    driver, linux, virtio_id = "virtio-net", "virtio_net", NET

    def works(self):
        self.guest.check("udhcpc -i eth0 -n -q -t 10 -T 2 -s /bin/dhcp-apply")
        self.guest.check("ping -c 1 -W 20 10.0.2.2")

    def load(self):
        with socket.socket() as listener:
            listener.settimeout(PATIENCE)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            self.guest.check(f"(seq 1 100000000 | nc 10.0.2.2 {port}) >/dev/null 2>&1 &")
            self.reader = Reader(listener.accept()[0])

    def progress(self):
        return len(self.reader.data) // 50_000

    def kept(self, progress):
        lines = self.reader.finish().split(b"\n")[:-1]
        assert lines == [b"%d" % n for n in range(1, len(lines) + 1)]


class SerialPort(Driven):
    """A port, and not a console: for what is written to that while the device goes, Linux waits
    with interrupts off."""

    driver, linux, virtio_id = "virtio-serial", "virtio_console", CONSOLE

    def options(self):
        return {"max_ports": 2}

    def parts(self):
        self.path = self.tmp_path / "port"
        return [{"driver": "virtserialport", "bus": "d.0", "id": "port",
                 "chardev": f"unix:{self.path}"}]

    def dial(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        sock.connect(str(self.path))
        return sock

    def port(self, script):
        """With the port as descriptor 3; a script's start."""
        return "for i in $(seq 300); do test -c /dev/vport0p1 && break; sleep 0.1; done; " \
               f"exec 3<>/dev/vport0p1; {script}"

    def works(self):
        with self.dial() as peer:
            number = self.guest.start(self.port("head -c 3 <&3; echo out >&3"))
            peer.sendall(b"in\n")
            assert receive(peer, 4) == b"out\n"
            assert self.guest.finish(number) == (0, "in")

    def load(self):
        peer = self.dial()
        # Its writer knows of us.
        self.guest.check("(" + self.port("head -c 1 <&3; exec seq 1 100000000 >&3") +
                         ") >/dev/null 2>&1 &")
        peer.sendall(b"?")
        self.reader = Reader(peer)

    def progress(self):
        return len(self.reader.data) // 50_000

    def kept(self, progress):
        lines = self.reader.finish().split(b"\n")[:-1]
        assert lines == [b"%d" % n for n in range(1, len(lines) + 1)]


class Sockets(Driven):
    driver, linux, virtio_id = "virtio-vsock", "vmw_vsock_virtio_transport", VSOCK

    def options(self):
        self.path = self.tmp_path / "v"
        return {"guest-cid": 7, "path": str(self.path)}

    def more(self):
        path = self.tmp_path / "tool"
        if not path.exists():
            vsock_tool(self.tmp_path)
        return {"tool": (f"virtio-blk,id=tool,read-only=on,filename={path}", BLK)}

    def find(self):
        self.guest.check("load vmw_vsock_virtio_transport")
        self.guest.check("cat /dev/vda >/bin/vsock_tool; chmod +x /bin/vsock_tool")

    def dial(self, num_bytes, port):
        path = pathlib.Path(f"{self.path}_{port}")
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.settimeout(PATIENCE)
            listener.bind(str(path))
            listener.listen()
            number = self.guest.start(f"vsock_tool connect stream {port} {num_bytes}" +
                                      (" >/dev/null 2>&1 &" if port == 2 else ""))
            peer, _ = listener.accept()
        path.unlink()
        peer.settimeout(PATIENCE)
        return number, peer

    @staticmethod
    def pattern(start, end):
        return bytes((at * 2654435761 >> 13) & 0xff for at in range(start, end))

    def works(self):
        number, peer = self.dial(20_000, 1)
        with peer:
            data = receive(peer, 20_000)
            assert data == self.pattern(0, 20_000)
            total = 0
            for byte in data:
                total = (total * 31 + byte) & (1 << 64) - 1
            peer.sendall(b"20000 %d" % total)
        status, output = self.guest.finish(number)
        assert status == 0, output

    def load(self):
        number, peer = self.dial(2_000_000_000, 2)
        self.guest.finish(number)
        self.reader = Reader(peer)

    def progress(self):
        return len(self.reader.data) // 50_000

    def kept(self, progress):
        data = self.reader.finish()
        for start in (0, max(0, len(data) - 100_000)):
            piece = data[start:start + 100_000]
            assert piece == self.pattern(start, start + len(piece))


class Balloon(Driven):
    driver, linux, virtio_id = "virtio-balloon", "virtio_balloon", BALLOON

    def options(self):
        return {"free-page-reporting": True}

    def find(self):
        self.guest.check("load virtio_balloon")
        self.guest.check("dd if=/dev/urandom of=/tmp/kept bs=1M count=4 2>/dev/null")
        self.sum = self.guest.check("md5sum /tmp/kept")

    # A driver whose device went with pages in it waits for an answer for ever, and so does the
    # reboot that waits for the driver.
    begin_anew = Driven.another_guest

    def size(self, value):
        self.qmp.command("balloon", value=value)
        wait_until(lambda: self.qmp.command("query-balloon")["actual"] == value,
                   f"a guest of {value} bytes")

    def whole(self):
        self.qmp.command("balloon", value=1 << 40)
        # All is what the memory table has; the answer never says more.
        last = [None, None]

        def settled():
            last[:] = last[1], self.qmp.command("query-balloon")["actual"]
            return last[0] == last[1] and last[1] > 100 * MIB

        wait_until(settled, "a whole guest", interval=0.3)
        return last[1]

    def works(self):
        whole = self.whole()
        self.size(whole - 16 * MIB)
        self.size(whole)
        assert self.guest.check("md5sum /tmp/kept") == self.sum

    def load(self):
        whole = self.whole()
        self.background("dd if=/dev/urandom of=/tmp/big bs=1M count=4; do rm /tmp/big; "
                        f"{self.COUNT}")
        for _ in range(5):
            self.qmp.command("balloon", value=whole - 48 * MIB)
            wait_until(lambda: self.qmp.command("query-balloon")["actual"] < whole, "less")
            self.qmp.command("balloon", value=whole)
        self.qmp.command("balloon", value=whole - 32 * MIB)

    def kept(self, progress):
        assert self.guest.check("md5sum /tmp/kept") == self.sum


class QemuRng(Driven):
    driver, linux = "virtio-rng", "virtio_rng"
    # QEMU 7.2 ends at once where such a device's socket is to be dialled again.
    begin_anew = Driven.another_guest

    def boot(self, name="guest"):
        return GuestQemu(self.tmp_path / name, [
            "-chardev", f"socket,id=c,path={self.host.socket('d')}", "-device",
            "vhost-user-rng-pci,chardev=c", "-action", "reboot=reset"])

    def works(self):
        # The driver becomes the current one some time after it was bound.
        self.guest.check("for i in $(seq 100); do grep -q virtio "
                         "/sys/class/misc/hw_random/rng_current && break; sleep 0.1; done; "
                         "test $(dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c) = 256")

    def load(self):
        self.background("dd if=/dev/hwrng of=/dev/null bs=512 count=4; do " + self.COUNT)


DRIVEN = [Disk, ScsiDisk, Card, SerialPort, Sockets, Balloon, QemuRng]
