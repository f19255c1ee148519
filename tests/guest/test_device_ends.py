# SPDX-License-Identifier: BSD-3-Clause
"""Every device with a guest's own driver: the driver goes and comes, the guest reboots, the device
goes in the middle of its work and comes again under its name."""
import pytest

from lib.guest_every import DRIVEN
from lib.process import wait_until
from lib.ringside import serve

DEVICE = "/machine/peripheral/d"


@pytest.fixture(params=DRIVEN, ids=lambda row: row.__name__)
def rig(request, tmp_path):
    """The device, served, and a booted guest that found it."""
    row = request.param(tmp_path)
    with serve(tmp_path, *(device for device, _ in row.more().values())) as host:
        with host.qmp() as qmp:
            row.host, row.qmp = host, qmp
            add(row)
            row.guest = row.boot()
            try:
                row.guest.__enter__()
                row.find()
                row.works()
                yield row
            finally:
                row.guest.__exit__()


def add(row):
    for device in ({"driver": row.driver, "id": "d", **row.options(),
                    "listen": str(row.host.socket("d"))}, *row.parts()):
        reply = row.qmp.execute("device_add", device)
        assert "return" in reply, reply


def remove(row):
    """Of its parts the end is told too."""
    row.qmp.command("device_del", id="d")
    told = [row.qmp.event("DEVICE_DELETED")["data"]["path"] for _ in range(2 + len(row.parts()))]
    assert sorted(told) == sorted([DEVICE, f"{DEVICE}/virtio-backend", *(
        f"/machine/peripheral/{part['id']}" for part in row.parts())])


def rebind(row):
    folder = f"/sys/bus/virtio/drivers/{row.linux}"
    name = row.guest.check(f"ls {folder} | grep virtio | tail -1")
    row.guest.check(f"echo {name} >{folder}/unbind && test ! -e {folder}/{name}")
    row.guest.check(f"echo {name} >{folder}/bind && test -e {folder}/{name}")


def busy(row):
    row.load()
    wait_until(lambda: row.progress() > 3, "the load to get going")


def test_ends(rig):
    for _ in range(3):
        rebind(rig)
        rig.works()
    busy(rig)
    rig.reboot()
    rig.forget()
    rig.works()
    busy(rig)
    progress = rig.progress()
    remove(rig)
    assert rig.guest.check("echo alive") == "alive"
    rig.kept(progress)
    add(rig)
    rig.begin_anew()
    rig.works()
    assert not rig.qmp.command("x-query-virtio-status", path=DEVICE + "/virtio-backend")["broken"]
    assert not any("broken" in line or "needs a reset" in line
                   for line in rig.host.process.text.splitlines())
