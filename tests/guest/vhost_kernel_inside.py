# SPDX-License-Identifier: BSD-3-Clause
"""Runs where there is a /dev/vhost-*: in the guest of test_vhost_kernel.py, as root. One case by
name; ends with `fine` on the last line.

    PYTHONPATH=tests python3 vhost_kernel_inside.py vsock|net|scsi
"""
import fcntl
import os
import pathlib
import socket
import struct
import sys
import tempfile

from lib.look import queue_of, status_of
from lib.process import wait_until
from lib.ringside import serve
from lib.vhost_user import Front

VSOCK_HDR = struct.Struct("<QQIIIHHIII")
REQUEST, RESPONSE, RW = 1, 2, 5
HOST, GUEST, PORT, OUR_PORT = 2, 77, 1234, 9999
MAC, NET_HDR = bytes.fromhex("525400123456"), 12
WWPN = "naa.5001405000000001"
TARGET = pathlib.Path("/sys/kernel/config/target")


class Receiver:
    """Buffers of one queue, posted again and again."""

    def __init__(self, front, queue, size=4096, count=8):
        self.front, self.queue, self.size = front, front.queues[queue], size
        self.posted = {}
        for _ in range(count):
            self.post(front.memory.alloc(size))

    def post(self, gpa):
        self.posted[self.queue.ring.add([(gpa, self.size, True)])] = gpa
        self.queue.kick()

    def take(self):
        """What came, at least one."""
        found = [(used, self.posted.pop(used.id)) for used in self.queue.next_used()]
        got = [self.front.memory.read(gpa, used.len) for used, gpa in found]
        for _, gpa in found:
            self.post(gpa)
        return got


def send(front, queue, data):
    front.request(queue, [(front.memory.put(data), len(data), False)])


def check_starts(host, name):
    """Or the kernel refused something."""
    qmp = host.qmp()
    wait_until(lambda: status_of(qmp, name)["vhost-started"] or status_of(qmp, name)["broken"],
               "a start")
    assert not status_of(qmp, name)["broken"], host.process.text


def check_queries(host, name, index):
    """The five commands on a device that the kernel serves."""
    qmp = host.qmp()
    wait_until(lambda: status_of(qmp, name)["vhost-started"], "started")
    status = status_of(qmp, name)
    assert status["vhost-dev"]["n-mem-sections"] == 1 and not status["broken"]
    path = f"/machine/peripheral/{name}/virtio-backend"
    vhost = qmp.command("x-query-virtio-vhost-queue-status", path=path, queue=index)
    assert vhost["num"] == 128 and vhost["kick"] > 2 and vhost["desc"]
    queue = queue_of(qmp, name, index)
    assert queue["used-idx"] > 0 and queue["last-avail-idx"] == queue["used-idx"]
    assert qmp.command("x-query-virtio-queue-element", path=path, queue=index)["descs"]
    return qmp


def stop_and_cont(qmp, name):
    qmp.command("stop")
    wait_until(lambda: not status_of(qmp, name)["vhost-started"], "the rings are back")
    qmp.command("cont")
    wait_until(lambda: status_of(qmp, name)["vhost-started"], "and there again")


def vsock(tmp):
    def packet(op, data=b""):
        return VSOCK_HDR.pack(GUEST, HOST, OUR_PORT, PORT, len(data), 1, op, 0, 65536, 0) + data

    with serve(tmp, f"vhost-vsock,id=v0,guest-cid={GUEST}") as host:
        listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        listener.bind((socket.VMADDR_CID_ANY, PORT))
        listener.listen(1)
        with Front(host.socket("v0"), queues=3) as front:
            assert struct.unpack("<Q", front.get_config(0, 8))[0] == GUEST
            check_starts(host, "v0")
            receiver = Receiver(front, 0)
            send(front, 1, packet(REQUEST))
            answer = receiver.take()[0]
            assert VSOCK_HDR.unpack(answer[:44])[:4] == (HOST, GUEST, PORT, OUR_PORT)
            assert VSOCK_HDR.unpack(answer[:44])[6] == RESPONSE
            peer, address = listener.accept()
            assert address == (GUEST, OUR_PORT)
            for turn in range(3):
                send(front, 1, packet(RW, b"from the guest %d" % turn))
                assert peer.recv(100) == b"from the guest %d" % turn
                peer.sendall(b"from the host %d" % turn)
                # The other end tells of its room besides.
                got = b""
                while not got:
                    got = b"".join(p[44:] for p in receiver.take()
                                   if VSOCK_HDR.unpack(p[:44])[6] == RW)
                assert got == b"from the host %d" % turn, got
                stop_and_cont(check_queries(host, "v0", 1), "v0")
            peer.close()
        # The address is the device's, not another's.
        listener.close()


def interface_up(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", name.encode(), 1)  # IFF_UP
        fcntl.ioctl(sock, 0x8914, request)  # SIOCSIFFLAGS


def net(tmp):
    with serve(tmp, "vhost-net,id=n0,ifname=rs-tap0,mac=52:54:00:12:34:56") as host:
        interface_up("rs-tap0")
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
        wire.bind(("rs-tap0", 0))
        wire.settimeout(60)
        with Front(host.socket("n0"), queues=2) as front:
            assert front.get_config(0, 6) == MAC
            check_starts(host, "n0")
            receiver = Receiver(front, 0)
            for turn in range(3):
                out = b"\xff" * 6 + MAC + b"\x88\xb5" + b"out %d" % turn + bytes(60)
                send(front, 1, bytes(NET_HDR) + out)
                # Others speak on an interface that is up.
                while wire.recv(2048) != out:
                    pass
                back = MAC + b"\x02" * 6 + b"\x88\xb5" + b"in %d" % turn + bytes(60)
                wire.send(back)
                while back not in [frame[NET_HDR:] for frame in receiver.take()]:
                    pass
                stop_and_cont(check_queries(host, "n0", 1), "n0")
        wire.close()


def make_target(tmp):
    """A target of one disk, as rtslib would make it."""
    (tmp / "disk").write_bytes(b"ringside" * 64 + bytes(1 << 20))
    if not TARGET.exists():
        os.system("mount -t configfs none /sys/kernel/config")
    store = TARGET / "core/fileio_0/d0"
    store.mkdir(parents=True)
    size = (tmp / "disk").stat().st_size
    (store / "control").write_text(f"fd_dev_name={tmp / 'disk'},fd_dev_size={size}")
    (store / "enable").write_text("1")
    group = TARGET / "vhost" / WWPN / "tpgt_1"
    group.mkdir(parents=True)
    (group / "nexus").write_text(WWPN)
    (group / "lun/lun_0").mkdir(parents=True)
    (group / "lun/lun_0/d0").symlink_to(store)


def scsi(tmp):
    make_target(tmp)
    with serve(tmp, f"vhost-scsi,id=s0,wwpn={WWPN}") as host:
        with Front(host.socket("s0"), queues=3) as front:
            check_starts(host, "s0")
            # READ(10) of the first block: virtio 1.3, "Device Operation: Request Queues". That it
            # is answered shows that the kernel has the rings; with what is for its configuration.
            head = bytes([1, 1, 0x40, 0, 0, 0, 0, 0]) + struct.pack("<QBBB", 1, 0, 0, 0) + \
                bytes([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]).ljust(32, b"\0")
            memory = front.memory
            request, response = memory.put(head), memory.put(b"\xff" * 108)
            front.request(2, [(request, len(head), False), (response, 108, True),
                              (memory.alloc(512), 512, True)])
            assert memory.read(response + 11, 1) != b"\xff"
            check_queries(host, "s0", 2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        {"vsock": vsock, "net": net, "scsi": scsi}[sys.argv[1]](pathlib.Path(folder))
    print("fine")
