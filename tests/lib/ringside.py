# SPDX-License-Identifier: BSD-3-Clause
"""The program under test, started and ended with everything that it owns.

    with serve(tmp_path, "virtio-blk,id=disk0,filename=/x.img") as host:   # adds listen=
        Front(host.socket("disk0")); host.qmp().command("query-status")
    # leaving: SIGTERM, status 0, no socket and no process left behind
"""
import os
import pathlib
import re
import select
import shutil
import subprocess
import tempfile

import pytest

from lib.process import PATIENCE, Process, Timeout
from lib.qmp import Qmp


def binary():
    path = os.environ.get("RINGSIDE_BIN")
    if not path:
        pytest.skip("RINGSIDE_BIN does not name a built ringside")
    return path


class Folder:
    """A short-named private folder for sockets: their paths have 107 bytes, pytest's are long."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="rs-"))

    def left(self):
        """What the program should have removed."""
        return sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*")
                      if not p.is_dir())

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Ringside:
    """A running `ringside serve`, `run` or `relay`.

    qmp_path is its monitor, runtime its XDG_RUNTIME_DIR. Leaving the context stops it with SIGTERM
    and checks status and leftovers, unless the test ended it already or failed.
    """

    def __init__(self, arguments, *, folder=None, qmp=True, env=None, log=None, ready=True,
                 stdin=True, cwd=None, timeout=PATIENCE):
        self.folder = folder or Folder()
        self.runtime = self.folder.path / "run"
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        self.qmp_path = self.folder.path / "qmp"
        self.expected_status = 0
        argv = [binary(), *arguments]
        if qmp:
            argv += ["--qmp", f"unix:{self.qmp_path}"]
        ours = theirs = None
        if ready:
            ours, theirs = os.pipe()
            argv += ["--ready-fd", theirs]
        self.process = Process(argv, env={"XDG_RUNTIME_DIR": str(self.runtime), **(env or {})},
                               pass_fds=[theirs] if ready else [], log=log, stdin=stdin, cwd=cwd)
        self._sessions = []
        if ready:
            os.close(theirs)
            try:
                self._wait_ready(ours, timeout)
            except BaseException:
                self.destroy()
                raise
            finally:
                os.close(ours)

    def _wait_ready(self, fd, timeout):
        if not select.select([fd], [], [], timeout)[0]:
            raise Timeout(f"not ready in {timeout:g} s: {self.process.text}")
        if not os.read(fd, 4096):
            self.process.wait(timeout)
            raise AssertionError(f"ended with {self.process.popen.returncode} before it was ready: "
                                 f"{self.process.text}")

    def socket(self, device):
        """The socket that serve() gave to a device."""
        return self.folder.path / f"{device}.sock"

    def qmp(self, **how):
        """A new monitor session, closed with the program."""
        session = Qmp(str(self.qmp_path), **how)
        self._sessions.append(session)
        return session

    def finish(self, timeout=PATIENCE):
        """Wait for an end that the test asked for; check status and leftovers."""
        status = self.process.wait(timeout)
        assert status == self.expected_status, f"status {status}:\n{self.process.text[-3000:]}"
        self.process.assert_alone_gone()
        assert not self.folder.left(), f"left behind: {self.folder.left()}"

    def stop(self):
        """SIGTERM, then finish()."""
        if self.process.running():
            self.process.signal(15)
        self.finish()

    def crash(self):
        """SIGKILL; serve(folder=this one's .folder) goes on where it stood."""
        for session in self._sessions:
            session.close()
        self.process.kill()
        # Its own monitor socket has its pid in the name: the next one does not meet it.
        (self.runtime / "ringside" / f"{self.process.pid}.qmp").unlink(missing_ok=True)

    def destroy(self):
        for session in self._sessions:
            session.close()
        self.process.kill()
        self.folder.remove()

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        try:
            if kind is None:
                self.stop()
        finally:
            self.destroy()


# Drivers of devices that are a part of another one, and are reached through that.
PARTS = ("virtconsole", "virtserialport", "scsi-hd", "scsi-cd")


def serve(tmp_path, *devices, arguments=(), folder=None, **how):
    """`ringside serve` with devices as --device strings; each gets listen= on socket(id), unless it
    says listen= or connect= itself. folder: that of a host before it, which was killed."""
    folder = folder or Folder()
    argv = ["serve", *arguments]
    for device in devices:
        ident = re.search(r"\bid=([^,]+)", device)
        # A vhost-user-X dials its back-end, and is dialled itself.
        other = "listen" if device.startswith("vhost-user-") else "listen|connect"
        if ident and not device.startswith(PARTS) and not re.search(rf"\b({other})=", device):
            device += f",listen={folder.path / (ident[1] + '.sock')}"
        argv += ["--device", device]
    return Ringside(argv, folder=folder, log=pathlib.Path(tmp_path) / "ringside.log", **how)


def run_uml(tmp_path, *devices, initrd, arguments=(), **how):
    """`ringside run` with a user-mode Linux guest; its console is the process's."""
    argv = ["run", "--initrd", initrd, *arguments]
    for device in devices:
        argv += ["--device", device]
    return Ringside(argv, log=pathlib.Path(tmp_path) / "ringside.log", **how)


def tool(*arguments, status=0, timeout=PATIENCE, env=None, stdin=None):
    """Run the program to its end, check its status; (stdout, stderr)."""
    run = subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True,
                         timeout=timeout, env={**os.environ, **(env or {})}, input=stdin or "")
    assert run.returncode == status, \
        f"{arguments} ended with {run.returncode}, not {status}:\n{run.stdout}{run.stderr}"
    return run.stdout, run.stderr
