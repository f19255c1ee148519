# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user connection with an ear on it: forwards bytes and descriptors, notes each message."""
import array
import os
import select
import socket
import struct
import threading


class Wiretap:
    """Listens on `path`, dials `target` for each front-end, one at a time.

    `messages` is a list of (from front-end?, request, flags, payload size, number of descriptors).
    """

    def __init__(self, path, target):
        self.path, self.target = str(path), str(target)
        self.messages = []
        self._stop, self._stopped = os.pipe()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(4)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.write(self._stopped, b"x")
        self._thread.join(10)
        self._listener.close()
        os.close(self._stop)
        os.close(self._stopped)
        os.unlink(self.path)

    def _serve(self):
        while True:
            if self._stop in select.select([self._listener, self._stop], [], [])[0]:
                return
            front, _ = self._listener.accept()
            with front, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as back:
                back.connect(self.target)
                if not self._forward(front, back):
                    return

    def _forward(self, front, back):
        """False when the tap is to stop."""
        while True:
            ready = select.select([front, back, self._stop], [], [])[0]
            if self._stop in ready:
                return False
            for source in ready:
                if not self._message(source, back if source is front else front, source is front):
                    return True

    def _message(self, source, sink, from_front):
        """Pass one message on; False at the end of either side.

        One at a time: a larger read may end with the descriptors of the message after.
        """
        fds = array.array("i")
        try:
            head = _read(source, 12, fds)
            request, flags, size = struct.unpack("<III", head)
            payload = _read(source, size, fds)
            self.messages.append((from_front, request, flags, size, len(fds)))
            sink.sendmsg([head + payload],
                         [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
            return True
        except OSError:
            return False
        finally:
            for fd in fds:
                os.close(fd)


def _read(source, count, fds):
    data = b""
    while len(data) < count:
        part, ancillary, _, _ = source.recvmsg(count - len(data), socket.CMSG_SPACE(4 * 32))
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[:len(content) // 4 * 4])
        if not part:
            raise ConnectionResetError("the end")
        data += part
    return data
