# SPDX-License-Identifier: BSD-3-Clause
"""A QMP server that says what a test tells it to say.

    with FakeQmp(path, {"query-status": {"status": "running"}}) as server:
        ...; server.commands      # [("query-status", {}), ...] as they came

A value of the table is what the command returns, an Error, bytes to send as they are, or a function
of the arguments that makes one of these.
"""
import json
import socket
import threading

QEMU = {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "Debian 1:7.2"}
RINGSIDE = {"qemu": {"major": 9, "minor": 2, "micro": 0}, "package": "ringside 0.1"}


class Error(Exception):
    """An error reply."""

    def __init__(self, desc, error_class="GenericError"):
        super().__init__(desc)
        self.reply = {"class": error_class, "desc": desc}


class FakeQmp:
    """Serves one client after the other, as QEMU does, until the context is left.

    greeting: bytes in place of the usual ones; None: silent. before: bytes ahead of each reply.
    pretty: replies over several lines. end_after: closes in place of a reply to this command.
    wrong_id: echoes another id. silent_on: this command gets no reply.
    """

    def __init__(self, address, table=None, *, version=QEMU, greeting=b"", before=b"", pretty=False,
                 end_after=None, wrong_id=False, silent_on=None):
        self.table = {"qmp_capabilities": {}, **(table or {})}
        self.version, self.greeting, self.before = version, greeting, before
        self.pretty, self.end_after, self.wrong_id = pretty, end_after, wrong_id
        self.silent_on = silent_on
        self.commands = []
        self._stop = threading.Event()
        kind = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self._listener = socket.socket(kind, socket.SOCK_STREAM)
        self._listener.bind(address if kind == socket.AF_INET else str(address))
        self.address = self._listener.getsockname()
        self._listener.listen(4)
        self._listener.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join()
        self._listener.close()

    def names(self):
        """The commands that came, without the negotiation."""
        return [name for name, _ in self.commands if name != "qmp_capabilities"]

    def _serve(self):
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except socket.timeout:
                continue
            with connection:
                connection.settimeout(0.05)
                try:
                    self._session(connection)
                except OSError:
                    pass

    def _idle(self, connection):
        """Until the client goes or the test ends."""
        while not self._stop.is_set():
            try:
                if not connection.recv(4096):
                    return
            except socket.timeout:
                pass

    def _send(self, connection, data):
        """All of it, unless the test ends or the client goes."""
        while data and not self._stop.is_set():
            try:
                data = data[connection.send(data):]
            except socket.timeout:
                pass

    def _session(self, connection):
        if self.greeting is None:
            return self._idle(connection)
        greeting = {"QMP": {"version": self.version, "capabilities": ["oob"]}}
        self._send(connection, self.greeting or json.dumps(greeting).encode() + b"\r\n")
        received = b""
        while not self._stop.is_set():
            try:
                data = connection.recv(65536)
            except socket.timeout:
                continue
            if not data:
                return None
            received += data
            while b"\n" in received:
                line, _, received = received.partition(b"\n")
                if not self._answer(connection, json.loads(line)):
                    return None
        return None

    def _answer(self, connection, request):
        name, arguments = request["execute"], request.get("arguments", {})
        self.commands.append((name, arguments))
        if name == self.end_after:
            return False
        if name == self.silent_on:
            return True
        reply = {"id": "another" if self.wrong_id else request["id"]}
        try:
            value = self.table.get(name, Error(f"The command {name} has not been found",
                                               "CommandNotFound"))
            value = value(**arguments) if callable(value) else value
            if isinstance(value, Error):
                raise value
            if isinstance(value, bytes):
                self._send(connection, value)
                return True
            reply["return"] = value
        except Error as error:
            reply["error"] = error.reply
        text = json.dumps(reply, indent=4 if self.pretty else None)
        self._send(connection, self.before + text.encode() + b"\r\n")
        return True
