# SPDX-License-Identifier: BSD-3-Clause
"""A program on a terminal of tmux, looked at as a user does.

    with Screen([binary, "top"], 80, 24) as screen:
        screen.wait("stuck"); screen.keys("Enter"); screen.resize(200, 50); screen.lines()
"""
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import pytest

from lib.process import PATIENCE, Timeout, wait_until

ENDED = "the program ended with"


class Screen:
    """Its program runs in a shell that says the status behind it, so that what it left of the
    terminal can be seen."""

    def __init__(self, argv, columns=80, rows=24, *, env=None):
        if not shutil.which("tmux"):
            pytest.skip("tmux is not installed")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rs-"))
        # LeakSanitizer's tracer would die of the terminal's hang-up, and its program wait for it.
        environ = {"TERM": "screen-256color", "LC_ALL": "C.UTF-8", "NO_COLOR": "",
                   "ASAN_OPTIONS": "detect_leaks=0", **(env or {})}
        words = " ".join(f"{k}={shlex.quote(v)}" for k, v in environ.items())
        command = " ".join(shlex.quote(str(a)) for a in argv)
        # The shell's own prompt would only be in the way.
        script = f"{words} {command}; s=$?; echo; echo {ENDED} $s; read -r _"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows,
                   "sh", "-c", script)
        self._tmux("set-option", "-g", "status", "off")

    def _tmux(self, *arguments):
        run = subprocess.run(["tmux", "-S", self.folder / "tmux", *map(str, arguments)],
                             capture_output=True, text=True, timeout=PATIENCE, check=False,
                             stdin=subprocess.DEVNULL,
                             env={**os.environ, "LC_ALL": "C.UTF-8", "TMUX": ""})
        assert run.returncode == 0, (arguments, run.stderr)
        return run.stdout

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        subprocess.run(["tmux", "-S", self.folder / "tmux", "kill-server"], check=False,
                       capture_output=True, timeout=PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def lines(self, colours=False):
        """What stands there; colours: with escape sequences."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else [])).split("\n")

    def text(self):
        return "\n".join(self.lines())

    def wait(self, *words, absent=()):
        """Until all of them stand there, and none of the absent ones; the text."""
        seen = ""

        def there():
            nonlocal seen
            seen = self.text()
            return all(w in seen for w in words) and not any(w in seen for w in absent)
        try:
            wait_until(there, f"{words} on the screen")
        except Timeout as error:
            raise Timeout(f"{error}, without {absent}:\n{seen}") from None
        return seen

    def keys(self, *names):
        """As tmux calls them: Enter, Down, Escape, NPage, q."""
        self._tmux("send-keys", *names)

    def resize(self, columns, rows):
        self._tmux("resize-window", "-x", columns, "-y", rows)

    def pid(self):
        """Of the program."""
        shell = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        path = pathlib.Path(f"/proc/{shell}/task/{shell}/children")
        return int(wait_until(lambda: path.read_text().split(), "the program")[0])

    def flags(self):
        """(is the other screen shown, is the cursor visible)"""
        return self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split()

    def ended(self):
        """Wait for its end; its status."""
        text = self.wait(ENDED)
        return int(text.partition(ENDED)[2].split()[0])
