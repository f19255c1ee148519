# SPDX-License-Identifier: BSD-3-Clause
"""`ringside relay` with its two ends in a test's hands.

    with relay(tmp_path, "id=r0,type=virtio-blk", connect=path) as host: Front(host.socket("r0"))
    with Ends(host, path) as ends: ends.front.send(...); ends.back.recv()
"""
import os
import pathlib
import re
import socket
import struct

from lib.process import PATIENCE
from lib.ringside import Folder, Ringside
from lib.vhost_user import F_PROTOCOL, F_VERSION_1, REPLY, VERSION, Req, VhostUser

# Whoever asked something is followed by a look at what stands still, for a while. Nobody asks: no
# wake-up at all, which is what a test that counts them wants to see.
UNWATCHED = ["--stall-ms", "0"]
R0 = "/machine/peripheral/r0/virtio-backend"


def relay(tmp_path, *devices, connect, arguments=(), **how):
    """Each device gets listen= on socket(id), and connect= unless it has one."""
    folder = Folder()
    argv = ["relay", *arguments]
    for device in devices:
        ident = re.search(r"\bid=([^,]+)", device)[1]
        device += f",listen={folder.path / (ident + '.sock')}"
        if not re.search(r"\bconnect=", device):
            device += f",connect={connect}"
        argv += ["--device", device]
    return Ringside(argv, folder=folder, log=pathlib.Path(tmp_path) / "relay.log", **how)


class Listener:
    """Where back-ends of a test's own wait."""

    def __init__(self):
        self.folder = Folder()
        self.path = self.folder.path / "back.sock"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(self.path))
        self.socket.listen(8)
        self.socket.settimeout(PATIENCE)

    def accept(self):
        return VhostUser(sock=self.socket.accept()[0])

    def close(self):
        self.socket.close()
        self.folder.remove()


class Ends:
    """One connection through the relay: `front` is ours, and `back` too."""

    def __init__(self, host, listener, device="r0"):
        self.front = VhostUser(host.socket(device))
        self.back = listener.accept()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.front.close()
        self.back.close()


def stand_in(ends, memory, ring_features=0):
    """A device whose server is the test: it answers nothing by itself."""
    front, back = ends.front, ends.back
    front.send(Req.GET_FEATURES)
    back.recv()
    offered = F_VERSION_1 | F_PROTOCOL | ring_features
    back.send(Req.GET_FEATURES, struct.pack("<Q", offered), flags=VERSION | REPLY)
    front.recv()
    front.set_features(offered)
    front.set_mem_table(memory)
    for _ in range(2):
        for fd in back.recv()[3]:
            os.close(fd)


def remarkable(qmp, path=R0):
    """The rules that found something in what was said so far, each with its sentences."""
    found = {}
    for finding in qmp.command("query-vhost-user-findings", path=path,
                               **{"unanswered-ms": 10**6}):
        found.setdefault(finding["rule"], []).append(finding["text"])
    return found


def transcript(qmp, path=R0, **how):
    return qmp.command("query-vhost-user-transcript", path=path, **how)
