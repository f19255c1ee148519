# SPDX-License-Identifier: BSD-3-Clause
"""User-mode Linux as a front-end of vhost-user sockets."""
import os
import pathlib
import subprocess
import sys

import pytest

from lib.guest import Guest, images
from lib.process import Process
from lib.uml import KERNEL, why_no_uml

def memory_folder(num_bytes, other):
    """Where the guest's memory file is best: on tmpfs, if that has room to spare."""
    try:
        info = os.statvfs("/dev/shm")
    except OSError:
        return other
    return "/dev/shm" if info.f_bavail * info.f_frsize > 2 * num_bytes else other


def require_uml():
    """Skips the test where user-mode Linux cannot run."""
    if why_no_uml():
        pytest.skip(why_no_uml())


class GuestUml(Guest):
    """A user-mode Linux guest.

    devices: (socket path, virtio device id) each. append: further kernel arguments. The working
    folder receives what user-mode Linux writes (its memory file, its management socket).
    """

    def __init__(self, workdir, devices=(), *, memory_mib=128, append=(), log=None):
        folder = images("uml")
        require_uml()
        workdir = pathlib.Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        argv = [KERNEL, f"mem={memory_mib}M", f"initrd={folder / 'uml.initrd'}", "con=null",
                "con0=fd:0,fd:1", f"uml_dir={workdir}", "umid=guest", "panic=-1", "quiet"]
        for number, (path, device) in enumerate(devices):
            argv.append(f"virtio_uml.device={path}:{device}:{number}")
        super().__init__(Process([*argv, *append], cwd=workdir,
                                 env={"TMPDIR": str(memory_folder(memory_mib << 20, workdir)),
                                      "HOME": str(workdir)},
                                 log=log or workdir / "console.log"))

    def __enter__(self):
        try:
            return self.wait_ready()
        except BaseException:
            self.process.kill()
            raise

    def __exit__(self, *exc):
        self.process.kill()

    def poweroff(self):
        """Shut down from inside and return the kernel's exit status."""
        self.start("poweroff -f")
        return self.process.wait()
