# SPDX-License-Identifier: BSD-3-Clause
"""The lines of README's table of devices, as they are printed there."""
import pathlib
import re

import pytest

from lib.guest import images
from lib.guest_uml import require_uml
from lib.ringside import run_uml, serve, tool

# What Debian's kernel for user-mode Linux has a driver for, and what shows that it found it.
SHOWN = {"virtio-blk": "test -b /dev/vda", "virtio-scsi": "test -b /dev/sda",
         "virtio-net": "test -e /sys/class/net/eth0", "virtio-serial": "test -c /dev/hvc0",
         "virtio-vsock": "test -e /dev/vsock",
         "virtio-balloon": "ls /sys/bus/virtio/drivers/virtio_balloon | grep virtio"}


@pytest.fixture(scope="module")
def rows(source_root):
    """The drivers of each row, and what stands behind its --device."""
    text = (source_root / "README.md").read_text()
    found = re.findall(r"^\| (`virtio-.*?`) \|.*\| `--device (\S+)` \|$", text, re.M)
    return [(re.findall(r"`(?:virtio)?(-[\w-]+)`", names), line) for names, line in found]


@pytest.fixture(scope="module")
def lines(rows):
    """driver: what stands behind --device; without those that need something of this machine."""
    found = {line.partition(",")[0]: line for _, line in rows}
    return {driver: line for driver, line in found.items()
            if pathlib.Path("/dev/input/event0").exists() or "evdev" not in line}


@pytest.fixture
def place(tmp_path):
    """A folder with the images that the lines name."""
    for name in ("disk.img", "scsi.img"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    return tmp_path


def test_each_device_has_one(rows):
    names = re.findall(r"^ +(virtio-[\w-]+)", tool("serve", "--device", "help")[0], re.M)
    assert sorted(f"virtio{name}" for found, _ in rows for name in found) == sorted(names)
    assert all(line.startswith(f"virtio{names[0]},") for names, line in rows)


def test_served(place, lines):
    with serve(place, *lines.values(), cwd=place) as host, host.qmp() as qmp:
        types = {child["type"] for child in qmp.command("qom-list", path="/machine/peripheral")}
        assert types >= {f"child<{driver}>" for driver in lines}


def test_in_a_guest(place, lines):
    """All of them at once, in the guest with a shell that README has beside the table."""
    require_uml()
    with run_uml(place, *lines.values(), initrd=images("uml") / "uml.initrd", cwd=place,
                 arguments=["--append", "ringside.script=shell"]) as host:
        host.process.expect(rb"guest# ")
        count = "$(ls /sys/bus/virtio/devices | wc -l)"
        # The console says each line again before it is carried out: hence the quotes.
        for name, shows in [*((d, SHOWN[d]) for d in SHOWN.keys() & lines.keys()),
                            ("all", f"test {count} = {len(lines)}")]:
            host.process.write(f"until {shows}; do sleep 0.1; done >/dev/null; "
                               f"echo se''en {name}\n".encode())
            host.process.expect(f"seen {name}".encode())
        host.process.write(b"exit\n")
        host.finish()
