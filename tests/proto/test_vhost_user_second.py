# SPDX-License-Identifier: BSD-3-Clause
"""A second front-end at one socket: whose turn it is, and what is said of whom."""
import os
import socket
import subprocess
import sys

import pytest

from lib.ringside import serve
from lib.vhost_user import Closed, Front, VhostUser

QUEUES = 2
DISK = f"virtio-blk,id=disk0,size=1M,num-queues={QUEUES}"

# Connects to a socket, and says whether anybody answers or only hangs up.
OTHER = """
import socket, struct, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    sock.sendall(struct.pack("<III", 1, 1, 0))
    try:
        print(bool(sock.recv(20)))
    except ConnectionResetError:
        print(False)
"""


def read_sector(front, queue=0):
    memory = front.memory
    header, data, status = memory.alloc(16), memory.alloc(512), memory.alloc(1)
    memory.write(header, bytes(16))
    memory.write(status, b"\xff")
    front.request(queue, [(header, 16, False), (data, 512, True), (status, 1, True)])
    assert memory.read(status, 1) == b"\0"


@pytest.fixture
def host(tmp_path):
    # Of its own: what others complained of counts against the log's limit.
    with serve(tmp_path, DISK) as running:
        yield running


@pytest.fixture
def calls():
    """Makes what a queue's driver could be called by; None is nothing at all."""
    kept = []

    def keep(*fds):
        kept.extend(fds)
        return fds[0]

    def pair(heard):
        ours, theirs = socket.socketpair()
        given = keep(ours.detach())
        if heard:
            keep(theirs.detach())
        else:
            theirs.close()
        return given

    def pipe():
        reader, writer = os.pipe()
        os.close(reader)
        return keep(writer)

    yield {"heard": lambda: pair(True), "unheard": lambda: pair(False), "pipe": pipe,
           "event": lambda: keep(os.eventfd(0, os.EFD_NONBLOCK)), "polled": lambda: None}
    for fd in kept:
        os.close(fd)


# What each queue of the first front-end is called by, and whether it is over when another comes.
FIRSTS = [
    (["unheard"], True),
    (["pipe"], True),
    (["unheard", "unheard"], True),
    (["heard"], False),
    (["event"], False),
    (["polled"], False),
    (["unheard", "heard"], False),
    (["unheard", "event"], False),
    (["polled", "unheard"], False),
]


def first_of(host, calls, kinds):
    front = Front(host.socket("disk0"), queues=len(kinds))
    for queue, kind in enumerate(kinds):
        read_sector(front, queue)
        front.set_vring_call(queue, calls[kind]())
    front.sync()
    return front


@pytest.mark.parametrize("kinds,is_over", FIRSTS, ids=["-".join(row[0]) for row in FIRSTS])
def test_the_same_process_again(host, calls, kinds, is_over):
    """As user-mode Linux after a reboot, which may still hold its old connection."""
    with first_of(host, calls, kinds) as first:
        if not is_over:
            with VhostUser(host.socket("disk0")) as second:
                assert second.closed()
            host.process.expect(b"turned away")
            first.sync()
            return
        with Front(host.socket("disk0")) as second:
            read_sector(second)
        assert first.closed()
        host.process.expect(rb"disk0: the front-end on .* is over, though .*: .*, pid %d comes "
                            rb"again" % os.getpid())


def test_another_process_is_no_reboot(host, calls):
    with first_of(host, calls, ["unheard"]) as first:
        run = subprocess.run([sys.executable, "-c", OTHER, host.socket("disk0")], check=True,
                             capture_output=True, text=True)
        assert run.stdout == "False\n"
        host.process.expect(b"turned away")
        first.sync()


def test_both_are_named(host):
    """With the names that they gave themselves, fit for a terminal."""
    other = OTHER.replace("import ", "open('/proc/self/comm', 'w').write('b\\x1b[31mad')\nimport ",
                          1)
    with Front(host.socket("disk0")):
        run = subprocess.run([sys.executable, "-c", other, host.socket("disk0")], check=True,
                             capture_output=True, text=True)
        assert run.stdout == "False\n"
        line = host.process.expect(rb"a second front-end on \S+ \((.*), pid (\d+)\) is turned away:"
                                   rb" one is connected for \d+ s \((.*), pid (\d+)\)\r?\n")
    with open("/proc/self/comm", "rb") as comm:
        assert line[3] == comm.read().rstrip(b"\n")
    assert int(line[4]) == os.getpid() != int(line[2])
    assert line[1] == b"b?[31mad"


def test_who_left_its_connection_to_others_has_ended(host):
    """The process that connected is gone; who has its socket now, the kernel does not say."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    give = "import socket, sys\nsock = socket.socket(socket.AF_UNIX)\n" \
        "sock.connect(sys.argv[1])\n" \
        "socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b'x'], [sock.fileno()])"
    with ours, theirs:
        subprocess.run([sys.executable, "-c", give, host.socket("disk0"), str(theirs.fileno())],
                       check=True, pass_fds=[theirs.fileno()])
        _, [fd], _, _ = socket.recv_fds(ours, 1, 1)
    with VhostUser(sock=socket.socket(fileno=fd)) as first:
        first.sync()
        with VhostUser(host.socket("disk0")) as second:
            assert second.closed()
        host.process.expect(rb"turned away.*, which has ended: 'ss -xp' says who holds its socket")
        first.sync()


def next_is_served(path):
    """Whoever waits behind the one that is turned away."""
    with Front(path) as front, VhostUser(path) as second, VhostUser(path) as third:
        assert second.closed()
        front.sync()
        front.sock.shutdown(socket.SHUT_RDWR)
        try:
            third.sync()
            return True
        except Closed:
            return False


def test_many_at_once(host):
    # On a busy machine the first may take longer than the third one's second.
    assert any(next_is_served(host.socket("disk0")) for _ in range(10))
    with Front(host.socket("disk0")) as front:
        read_sector(front)


def test_the_end_while_one_waits(tmp_path):
    with serve(tmp_path, DISK) as host:
        with Front(host.socket("disk0")) as front, VhostUser(host.socket("disk0")) as second:
            front.sync()
            with host.qmp() as qmp:
                qmp.command("device_del", id="disk0")
                qmp.event("DEVICE_DELETED")
            assert second.closed()
