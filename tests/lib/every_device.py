# SPDX-License-Identifier: BSD-3-Clause
"""Every device that can be added, in one table: how it is made, what a driver does with it, and
what the host must have of what the driver was answered.

A row is a class of Kind; EVERY has one at least for each device of `--device help`.
"""
import pathlib
import select
import socket
import struct

from lib.process import PATIENCE, wait_until
from lib.virtio import (BLK_S_OK, BLK_T_OUT, SECTOR, Blk, Console, Net, PortControl, Scsi, Vsock,
                        rng_read)


class Kind:
    """One device, `ident`, whose files lie in `folder`; number: another one for each."""

    driver = None
    queues = 1
    tx = 0              # the queue that start() puts things into
    here = True         # False: needs what only some machines have
    parent = None       # --device of what it is a part of, for one that has no socket of its own
    wrong = ()          # (options, part of the sentence) that are refused

    def __init__(self, folder, ident, number=0):
        self.folder, self.ident, self.number = pathlib.Path(folder), ident, number
        self.got = b""
        self.peer = None

    @property
    def name(self):
        return type(self).__name__

    def path(self, suffix):
        return self.folder / f"{self.ident}.{suffix}"

    def options(self):
        """Those of device_add, but for driver, id and listen."""
        return {}

    def arguments(self):
        """All of device_add's."""
        export = {} if self.parent else {"listen": str(self.path("sock"))}
        return {"driver": self.driver, "id": self.ident, **export, **self.options()}

    def prepare(self):
        """What has to be there before the device."""

    def ready(self, front):
        """As a driver that has nothing to do: it gave the device its buffers."""

    def meet(self, front):
        """The host's end gets to know the driver, after ready()."""

    def use(self, front):
        """Something there and back, after meet()."""
        queue = front.queues[self.tx]
        queue.wait([self.start(front, 0)])

    def start(self, front, n):
        """Queue the thing number n; the chain's head."""
        raise NotImplementedError

    def receive(self):
        """Take what has come so far, so that nobody waits for us."""
        while self.peer and select.select([self.peer], [], [], 0)[0]:
            piece = self.peer.recv(65536)
            if not piece:
                break
            self.got += piece

    def check(self, front, numbers):
        """The device is gone; the host has all of those that were answered."""
        raise NotImplementedError

    def close(self):
        if self.peer:
            self.peer.close()

    # For who sends to a socket, one connection of which is `peer`.
    def dial(self, path):
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.peer.settimeout(PATIENCE)
        self.peer.connect(str(path))

    def check_lines(self, numbers):
        while piece := self.peer.recv(65536):
            self.got += piece
        missing = [n for n in numbers if line(n) not in self.got]
        assert not missing, f"answered, and not there: {missing}"


def receive(sock, num_bytes):
    data = b""
    while len(data) < num_bytes:
        piece = sock.recv(num_bytes - len(data))
        assert piece, f"the end after {len(data)} bytes"
        data += piece
    return data


def line(n):
    return b"<%06d>" % n


class Disk(Kind):
    driver = "virtio-blk"
    wrong = [({"filename": "/nope"}, "/nope"), ({"num-queues": 0}, "num-queues"),
             ({"size": "1M"}, "size"), ({"logical_block_size": 1000}, "logical_block_size")]

    def __init__(self, *args):
        super().__init__(*args)
        self.requests = {}

    def prepare(self):
        self.path("img").write_bytes(bytes(1 << 20))

    def options(self):
        return {"filename": str(self.path("img"))}

    def use(self, front):
        Blk(front).write(8, b"x" * SECTOR)
        assert Blk(front).read(8, SECTOR) == b"x" * SECTOR

    def start(self, front, n):
        self.requests[n] = Blk(front).start(BLK_T_OUT, 16 + n, line(n) * 64)
        return self.requests[n][0]

    def check(self, front, numbers):
        data = self.path("img").read_bytes()
        for n in numbers:
            assert front.memory.get_le(self.requests[n][3], 1) == BLK_S_OK
            assert data[(16 + n) * SECTOR:][:SECTOR] == line(n) * 64, n


class ScsiHost(Disk):
    driver = "virtio-scsi"
    queues = 3
    tx = 2
    wrong = [({"filename": "/nope"}, "/nope"), ({"num_queues": 0}, "num_queues"),
             ({"cdrom": "/nope"}, "/nope")]

    def meet(self, front):
        Scsi(front).settle()

    def use(self, front):
        scsi = Scsi(front)
        assert scsi.do(struct.pack(">BBIBHB", 0x2a, 0, 8, 0, 1, 0), data=b"x" * SECTOR)[:2] == \
            (0, 0)
        assert scsi.do(struct.pack(">BBIBHB", 0x28, 0, 8, 0, 1, 0), length=SECTOR) == \
            (0, 0, b"x" * SECTOR)

    def start(self, front, n):
        cdb = struct.pack(">BBIBHB", 0x2a, 0, 16 + n, 0, 1, 0)
        self.requests[n] = Scsi(front).start(cdb, data=line(n) * 64)
        return self.requests[n][0]

    def check(self, front, numbers):
        data = self.path("img").read_bytes()
        for n in numbers:
            # Neither a status nor a response other than good.
            assert front.memory.read(self.requests[n][1] + 10, 2) == bytes(2)
            assert data[(16 + n) * SECTOR:][:SECTOR] == line(n) * 64, n


class ScsiUnit(ScsiHost):
    """A disk of a SCSI host's, at target 0."""

    driver = "scsi-hd"
    parent = "virtio-scsi,id=bus"
    wrong = [({"filename": "/nope"}, "/nope"), ({"scsi-id": 256}, "device id"),
             ({"lun": 16384}, "lun"), ({"bus": "nope.0"}, "nope.0"), ({"packed": True}, "packed"),
             ({"product": "x" * 17}, "product")]

    def options(self):
        return {**super().options(), "bus": "bus.0"}

    def meet(self, front):
        # What came, and that there is another one than before.
        while Scsi(front).do(bytes(6))[:2] != (0, 0):
            pass


class ScsiCdrom(ScsiUnit):
    driver = "scsi-cd"
    wrong = [({"filename": "/nope"}, "/nope"), ({"write-cache": "off"}, "write-cache"),
             ({"scsi-id": 256}, "device id")]

    def use(self, front):
        front.queues[2].wait([self.start(front, 0)])
        self.check(front, [0])

    def start(self, front, n):
        cdb = struct.pack(">BBIBHB", 0x28, 0, n, 0, 1, 0)
        self.requests[n] = Scsi(front).start(cdb, length=2048)
        return self.requests[n][0]

    def check(self, front, numbers):
        for n in numbers:
            assert front.memory.read(self.requests[n][1] + 10, 2) == bytes(2)


class Rng(Kind):
    driver = "virtio-rng"
    wrong = [({"filename": "/nope"}, "/nope")]

    def use(self, front):
        assert rng_read(front, 64)

    def start(self, front, n):
        queue = front.queues[0]
        head = queue.ring.add([(front.memory.alloc(64), 64, True)])
        queue.kick()
        return head

    def check(self, front, numbers):
        pass


class Card(Kind):
    """A network card whose cable ends in a socket of ours."""

    driver = "virtio-net"
    queues = 3
    tx = 1
    wrong = [({"netdev": "cable"}, "netdev"), ({"remote": ""}, "remote"), ({"mac": "1:2"}, "mac"),
             ({"host_mtu": 5}, "host_mtu"), ({"ifname": "x"}, "ifname"), ({"queues": 2}, "queues")]

    def prepare(self):
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.peer.settimeout(PATIENCE)
        self.path("peer").unlink(missing_ok=True)
        self.peer.bind(str(self.path("peer")))

    def options(self):
        return {"netdev": "dgram", "local": str(self.path("local")),
                "remote": str(self.path("peer"))}

    def ready(self, front):
        self.net = Net(front)

    def meet(self, front):
        self.peer.sendto(bytes(60), str(self.path("local")))
        assert self.net.receive()[0][0] == bytes(60)

    def use(self, front):
        self.net.send(b"u" * 60)
        wait_until(lambda: self.receive() or b"u" * 60 in self.got, "a packet")

    def start(self, front, n):
        frame = bytes(Net.HEADER) + bytes(14) + line(n) * 8
        queue = front.queues[self.tx]
        head = queue.ring.add([(front.memory.put(frame), len(frame), False)])
        queue.kick()
        return head

    def check(self, front, numbers):
        self.receive()
        missing = [n for n in numbers if line(n) * 8 not in self.got]
        assert not missing, f"sent, and not there: {missing}"


class UserCard(Card):
    """One on a network of libslirp's."""

    wrong = [({"hostfwd": "x"}, "hostfwd"), ({"restrict": "maybe"}, "restrict"),
             ({"path": "/x"}, "path"), ({"source": 60}, "source"),
             ({"server": True}, "server")]
    MAC = bytes.fromhex("525400123456")

    def prepare(self):
        pass

    def options(self):
        return {"netdev": "user"}

    def meet(self, front):
        pass

    def ask(self):
        """Who is 10.0.2.2?"""
        return b"\xff" * 6 + self.MAC + bytes.fromhex("0806000108000604") + b"\0\1" + self.MAC + \
            bytes([10, 0, 2, 15]) + bytes(6) + bytes([10, 0, 2, 2])

    def use(self, front):
        self.net.send(self.ask())
        assert self.net.receive()[0][0][20:22] == b"\0\2"

    def check(self, front, numbers):
        pass


class NullCard(UserCard):
    wrong = [({"queues": 0}, "queues"), ({"duplex": "both"}, "duplex"),
             ({"restrict": True}, "restrict")]

    def options(self):
        return {"netdev": "null"}

    def use(self, front):
        self.net.send(bytes(60))


class ConsoleDevice(Kind):
    """A virtio-serial with its one console on a socket."""

    driver = "virtio-serial"
    queues = 2
    tx = 1
    rx = 0
    wrong = [({"chardev": "?"}, "chardev"), ({"max_ports": 0}, "max_ports"),
             ({"max_ports": 512}, "max_ports"), ({"rows-first": 3}, "rows-first")]

    def options(self):
        return {"chardev": f"unix:{self.path('tty')}"}

    def ready(self, front):
        self.console = Console(front, queue=self.rx)

    def meet(self, front):
        self.dial(self.path("tty"))
        self.peer.sendall(b"?")
        assert self.console.read(1) == b"?"

    def use(self, front):
        self.console.write(b"in")
        assert receive(self.peer, 2) == b"in"
        self.peer.sendall(b"out")
        assert self.console.read(3) == b"out"

    def start(self, front, n):
        queue = front.queues[self.tx]
        head = queue.ring.add([(front.memory.put(line(n)), 8, False)])
        queue.kick()
        return head

    def check(self, front, numbers):
        self.check_lines(numbers)


class Terminal(ConsoleDevice):
    """One on a pseudo-terminal that nobody has open."""

    wrong = ()

    def options(self):
        return {"chardev": "pty"}

    def meet(self, front):
        pass

    def use(self, front):
        self.console.write(b"in")

    def check(self, front, numbers):
        pass


class SerialPort(ConsoleDevice):
    """Port 1 of a virtio-serial."""

    driver = "virtserialport"
    parent = "virtio-serial,id=bus,max_ports=4"
    queues = 6
    tx = 5
    rx = 4
    wrong = [({"nr": 4}, "port id"), ({"nr": 0}, "virtconsole"), ({"name": "x" * 256}, "name"),
             ({"bus": "nope.0"}, "nope.0"), ({"chardev": "?"}, "chardev")]

    def options(self):
        return {**super().options(), "bus": "bus.0", "nr": 1}

    def ready(self, front):
        control = getattr(front, "port_control", None)
        if not control:
            control = front.port_control = PortControl(front)
            front.port_console = Console(front, queue=self.rx)
            control.say(0xffffffff, PortControl.READY)
        self.console = front.port_console
        while control.hear()[:2] != (1, PortControl.ADD):
            pass
        control.say(1, PortControl.PORT_READY)
        control.say(1, PortControl.PORT_OPEN)

    def check(self, front, numbers):
        self.check_lines(numbers)


class ConsolePort(SerialPort):
    driver = "virtconsole"
    wrong = [({"nr": 4}, "port id"), ({"packed": True}, "packed"), ({"chardev": "?"}, "chardev")]

    def ready(self, front):
        super().ready(front)
        front.port_control.say(1, PortControl.PORT_OPEN)


class Sockets(Kind):
    driver = "virtio-vsock"
    queues = 3
    tx = 1
    wrong = [({"guest-cid": 2}, "guest-cid"), ({"path": ""}, "path"),
             ({"path-mode": "rw"}, "path-mode"),
             ({"path-group": "?"}, "group '?'"), ({"max-connections": 0}, "max-connections"),
             ({"seqpacket": 7}, "seqpacket")]
    PORT = 1234

    def options(self):
        return {"guest-cid": 100 + self.number, "path": str(self.path("v"))}

    def ready(self, front):
        self.vsock = Vsock(front)

    def meet(self, front):
        path = pathlib.Path(f"{self.path('v')}_{self.PORT}")
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.settimeout(PATIENCE)
            listener.bind(str(path))
            listener.listen()
            self.vsock.connect(self.PORT)
            self.peer, _ = listener.accept()
        path.unlink()
        self.peer.settimeout(PATIENCE)

    def use(self, front):
        self.vsock.say(Vsock.RW, b"in")
        assert receive(self.peer, 2) == b"in"
        self.peer.sendall(b"out")
        assert self.vsock.hear() == (Vsock.RW, b"out")

    def start(self, front, n):
        return self.vsock.start(Vsock.RW, line(n))

    def check(self, front, numbers):
        self.check_lines(numbers)


class Balloon(Kind):
    driver = "virtio-balloon"
    queues = 3
    wrong = [({"free-page-hint": "x"}, "free-page-hint"), ({"page-poison": 2}, "page-poison")]
    PAGE = 2000         # the first that is given away, of 4096

    def prepare(self):
        self.pages = {}

    def ready(self, front):
        queue = front.queues[2]
        queue.ring.add([(front.memory.alloc(10), 10, False)])
        queue.kick()

    def start(self, front, n):
        page = self.PAGE + n
        front.memory.write(page * 4096, b"\xaa" * 4096)
        queue = front.queues[0]
        head = queue.ring.add([(front.memory.put(struct.pack("<I", page)), 4, False)])
        queue.kick()
        return head

    def check(self, front, numbers):
        for n in numbers:
            assert front.memory.read((self.PAGE + n) * 4096, 4096) == bytes(4096), n


class Keyboard(Kind):
    """Its driver sets the lights."""

    driver = "virtio-keyboard"
    queues = 2
    tx = 1
    wrong = [({"serial": "x" * 200}, "serial"), ({"head": -1}, "head"),
             ({"wheel-axis": True}, "wheel-axis")]

    def ready(self, front):
        queue = front.queues[0]
        for _ in range(16):
            queue.ring.add([(front.memory.alloc(8), 8, True)])
        queue.kick()

    def start(self, front, n):
        event = struct.pack("<HHI", 0x11, n % 3, 1)  # EV_LED
        queue = front.queues[self.tx]
        head = queue.ring.add([(front.memory.put(event), 8, False)])
        queue.kick()
        return head

    def check(self, front, numbers):
        pass


class Mouse(Keyboard):
    driver = "virtio-mouse"
    wrong = [({"wheel-axis": "x"}, "wheel-axis")]


class Tablet(Mouse):
    driver = "virtio-tablet"


class Multitouch(Keyboard):
    driver = "virtio-multitouch"


class HostInput(Keyboard):
    """A device of the host's. The tests have none: it is refused."""

    driver = "virtio-input-host"
    here = False
    wrong = [({}, "evdev"), ({"evdev": "/nope"}, "/nope"), ({"evdev": "/dev/null"}, "/dev/null"),
             ({"display": "x"}, "display")]


class Crypto(Kind):
    """A request of no kind is answered so."""

    driver = "virtio-crypto"
    queues = 2
    wrong = [({"queues": 0}, "queues"), ({"max-size": 1}, "max-size"),
             ({"max-sessions": 0}, "max-sessions"), ({"stateless": 2}, "stateless")]
    NOTSUPP = 3

    def prepare(self):
        self.answers = {}

    def start(self, front, n):
        memory, queue = front.memory, front.queues[0]
        request = memory.put(struct.pack("<II", 0xffff, 0) + bytes(64))
        self.answers[n] = memory.put(b"\xff")
        head = queue.ring.add([(request, 72, False), (self.answers[n], 1, True)])
        queue.kick()
        return head

    def check(self, front, numbers):
        answers = [front.memory.get_le(self.answers[n], 1) for n in numbers]
        assert set(answers) == {self.NOTSUPP}, answers


EVERY = [Disk, ScsiHost, ScsiUnit, ScsiCdrom, Rng, Card, UserCard, NullCard, ConsoleDevice,
         Terminal, SerialPort, ConsolePort, Sockets, Balloon, Keyboard, Mouse, Tablet, Multitouch,
         HostInput, Crypto]
# Those that can be had on any machine.
KINDS = [kind for kind in EVERY if kind.here]
