# SPDX-License-Identifier: BSD-3-Clause
"""A child process in a session of its own, whose whole family ends with it.

Every child carries a token in its environment, so that a descendant which left the process group
is found too.
"""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import uuid

TOKEN = "RINGSIDE_TEST_TOKEN"
# A bound for hangs, never a measurement; sanitized builds and busy machines are slow.
PATIENCE = float(os.environ.get("RINGSIDE_TEST_PATIENCE", "60"))


class Timeout(AssertionError):
    """What was waited for did not come."""


def wait_until(condition, what, timeout=PATIENCE, interval=0.02):
    """Poll until condition() is true and return its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f"waited {timeout:g} s for {what}")
        time.sleep(interval)


def wakeups(pid, *, idle=True):
    """How often its threads went to sleep, once they have: the last answer may be here before.

    Once nothing is due any more either: an event that follows another of its kind too soon is told
    a second later, and that is a wake-up of its own. idle=False: for who always has something due.
    """
    def rests(task):
        # A thread says that it sleeps shortly before it does, and may be preempted there; asked for
        # its system call, the kernel waits until it is off its processor.
        try:
            words = (task / "syscall").read_text().split()
        except OSError:
            return "\nState:\tS" in (task / "status").read_text()
        if words[0] == "running":
            return False
        # epoll_wait's fourth argument: -1, an int.
        return not idle or (len(words) > 4 and int(words[4], 16) & 0xffffffff == 0xffffffff)

    def tasks():
        found = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        return found if all(rests(task) for task in found) else None

    return sum(int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(),
                             re.M)[1])
               for task in wait_until(tasks, "a process's rest"))


def _session_of(pid):
    """The session and state of a process; None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[3]), fields[0]


def family(session, token):
    """Living processes (zombies are dead) of a session, or with a token in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        info = _session_of(pid)
        if info is None or info[1] in "ZX" or pid == os.getpid():
            continue
        if info[0] != session:
            try:
                environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if f"{TOKEN}={token}".encode() not in environ.split(b"\0"):
                continue
        found.append(pid)
    return found


class Process:
    """A started program. Use as a context manager: leaving it kills the family.

    `output` holds stdout and stderr together as bytes, read by a thread from the start.
    """

    def __init__(self, argv, *, env=None, cwd=None, pass_fds=(), log=None, stdin=True):
        self.argv = [str(a) for a in argv]
        self.token = uuid.uuid4().hex
        self.output = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self._log = open(log, "ab") if log else None
        self.popen = subprocess.Popen(
            self.argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, cwd=cwd,
            env={**os.environ, **(env or {}), TOKEN: self.token}, pass_fds=pass_fds,
            start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self):
        return self.popen.pid

    @property
    def text(self):
        with self._changed:
            return self.output.decode(errors="replace")

    def _read(self):
        descriptor = self.popen.stdout.fileno()
        while True:
            try:
                data = os.read(descriptor, 65536)
            except OSError:
                data = b""
            with self._changed:
                self.output += data
                if self._log and data:
                    self._log.write(data)
                    self._log.flush()
                self._ended = self._ended or not data
                self._changed.notify_all()
            if not data:
                return

    def write(self, data):
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def expect(self, pattern, start=0, timeout=PATIENCE):
        """Wait for a bytes regular expression in the output after `start`; return the match."""
        compiled = re.compile(pattern, re.S)
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                match = compiled.search(self.output, start)
                if match:
                    # A copy: the buffer goes on growing, which it cannot while it is exported.
                    return compiled.search(bytes(self.output), start)
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    why = "its output ended" if self._ended else f"{timeout:g} s passed"
                    tail = bytes(self.output[-3000:]).decode(errors="replace")
                    raise Timeout(f"{why} without {pattern!r} from {self.argv[0]}:\n{tail}")
                match = None
                self._changed.wait(left)

    def wait(self, timeout=PATIENCE):
        """Wait for the end; return the status (negative: the signal)."""
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.argv[0]} did not end in {timeout:g} s:\n{self.text[-3000:]}") \
                from None
        # A descendant may hold the pipe; then what was read so far is all there is to see.
        self._reader.join(1)
        return status

    def running(self):
        return self.popen.poll() is None

    def family(self):
        """Its living descendants and itself."""
        return family(self.pid, self.token)

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, timeout=PATIENCE):
        """SIGTERM, and return the status."""
        if self.running():
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def assert_alone_gone(self):
        """It ended and left nobody behind; a moment is granted to whoever is just dying."""
        assert not self.running(), f"{self.argv[0]} still runs"
        try:
            wait_until(lambda: not self.family(), "descendants to end", 10)
        except Timeout:
            left = [(pid, _command(pid)) for pid in self.family()]
            raise AssertionError(f"{self.argv[0]} left behind: {left}") from None

    def kill(self):
        """End the whole family, whatever it is doing."""
        end = time.monotonic() + PATIENCE
        empty = 0
        # Twice nobody: a process in the moment of its exec shows no environment.
        while time.monotonic() < end and empty < 2:
            pids = self.family()
            if self.running() and self.pid not in pids:
                pids.append(self.pid)
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            empty = 0 if pids else empty + 1
            self.popen.poll()
            time.sleep(0.02)
        self.popen.wait(PATIENCE)
        self._reader.join(1)
        if self.popen.stdin:
            try:
                self.popen.stdin.close()
            except BrokenPipeError:
                pass
        if not self._reader.is_alive():
            self.popen.stdout.close()
        if self._log:
            self._log.close()
            self._log = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()


def _command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "?"


@contextlib.contextmanager
def frozen(process):
    """A child of ours that is stopped, all of its threads are."""
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)
