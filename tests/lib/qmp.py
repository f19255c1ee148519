# SPDX-License-Identifier: BSD-3-Clause
"""A small strict QMP client: one reply a request, in order, with the id that was sent.

    with Qmp("/run/x.qmp") as qmp:      # or ("127.0.0.1", 4444)
        qmp.command("query-status")     # the return value; QmpError when refused
        qmp.raw(b"{nonsense")           # then qmp.message(): whatever comes
"""
import json
import socket
import time

from lib.process import PATIENCE, Timeout


class QmpError(Exception):
    """An error reply: .error_class and .desc."""

    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.error_class = error["class"]
        self.desc = error["desc"]


def _strict(pairs):
    keys = [k for k, _ in pairs]
    assert len(keys) == len(set(keys)), f"a member twice in one object: {keys}"
    return dict(pairs)


def _not_json(constant):
    raise AssertionError(f"{constant} is no JSON")


class Qmp:
    """A session. Events that arrive while a reply is awaited are kept in `events`."""

    def __init__(self, address, *, negotiate=True, timeout=PATIENCE):
        self.timeout = timeout
        self.events = []
        self._buffer = b""
        self._id = 0
        kind = socket.AF_UNIX if isinstance(address, (str, bytes)) else socket.AF_INET
        self.sock = socket.socket(kind, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        self.greeting = None
        if negotiate:
            self.greeting = self.message()
            assert set(self.greeting) == {"QMP"}, self.greeting
            self.command("qmp_capabilities")

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def raw(self, data):
        """Send bytes as they are."""
        self.sock.sendall(data)

    def line(self, timeout=None):
        """The next line as bytes without its end; None when the peer closed."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise Timeout("no message from the monitor")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 16)
            except socket.timeout:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                assert not self._buffer, f"closed within a message: {self._buffer[-200:]!r}"
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def message(self, timeout=None):
        """The next message of any kind; None when the peer closed."""
        line = self.line(timeout)
        if line is None:
            return None
        return json.loads(line, object_pairs_hook=_strict, parse_constant=_not_json)

    def reply(self, timeout=None):
        """The next message that is no event."""
        while True:
            message = self.message(timeout)
            assert message is not None, "the monitor closed instead of replying"
            if "event" not in message:
                return message
            assert {"event", "timestamp"} <= set(message) <= {"event", "timestamp", "data"}, message
            self.events.append(message)

    def execute(self, name, /, arguments=None, *, oob=False, timeout=None):
        """Send a command and return the whole reply, checked for its form."""
        self._id += 1
        request = {"exec-oob" if oob else "execute": name, "id": self._id}
        if arguments is not None:
            request["arguments"] = arguments
        self.raw(json.dumps(request).encode() + b"\n")
        reply = self.reply(timeout)
        assert reply.get("id") == self._id, f"reply {reply} to request {self._id}"
        kind = set(reply) - {"id"}
        assert kind in ({"return"}, {"error"}), reply
        if "error" in reply:
            assert set(reply["error"]) == {"class", "desc"}, reply
        return reply

    def command(self, name, /, timeout=None, **arguments):
        """The return value of a command; an underscore in an argument's name means a hyphen."""
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        reply = self.execute(name, arguments or None, timeout=timeout)
        if "error" in reply:
            raise QmpError(reply["error"])
        return reply["return"]

    def error(self, name, /, **arguments):
        """Expect a refusal; return (class, sentence)."""
        try:
            value = self.command(name, **arguments)
        except QmpError as refused:
            return refused.error_class, refused.desc
        raise AssertionError(f"{name} {arguments} was accepted: {value}")

    def event(self, name, timeout=None):
        """Wait for an event, which may have arrived already."""
        while True:
            for number, message in enumerate(self.events):
                if message["event"] == name:
                    return self.events.pop(number)
            message = self.message(timeout)
            assert message is not None, f"the monitor closed before event {name}"
            assert "event" in message, f"a reply without a request: {message}"
            self.events.append(message)
