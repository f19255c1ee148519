# SPDX-License-Identifier: BSD-3-Clause
"""virtio-crypto behind QEMU 7.2's cryptodev-vhost-user: Linux drives AES-CBC through it, by its own
self-tests and by AF_ALG, and QEMU makes the sessions by message."""
import contextlib
import pathlib
import re

import pytest

from lib.guest import static_program
from lib.guest_qemu import GuestQemu, cryptodev
from lib.look import queue_of, status_of
from lib.process import wait_until
from lib.ringside import serve
from lib.vhost_user import F_PROTOCOL, Req
from lib.wiretap import Wiretap

CRYPTO = "virtio-crypto,id=c0"
PATH = "/machine/peripheral/c0/virtio-backend"
DRIVER = "virtio_crypto_aes_cbc"
MODULES = "virtio_pci,algif_skcipher,aes_generic,cbc,virtio_crypto"


@pytest.fixture(scope="module")
def alg(tmp_path_factory):
    source = pathlib.Path(__file__).with_name("alg.c")
    return static_program(source, tmp_path_factory.mktemp("alg") / "alg")


@contextlib.contextmanager
def crypto_guest(tmp_path, path, alg, *arguments, **how):
    with GuestQemu(tmp_path / "guest", [*cryptodev(path), *arguments], kind="debian",
                   files={"bin/alg": alg}, append=f"ringside.modules={MODULES}", **how) as guest:
        yield guest


def check_driver(guest):
    """The driver is there, and the kernel has tested it by its vectors."""
    found = guest.check("cat /proc/crypto").split("\n\n")
    ours = [f for f in found if re.search(rf"^driver\s*: {DRIVER}$", f, re.M)]
    assert len(ours) == 1 and re.search(r"^selftest\s*: passed$", ours[0], re.M), ours


def fine(output):
    """How many requests were right."""
    match = re.fullmatch(r"fine (\d+)", output.strip().splitlines()[-1])
    assert match, output
    return int(match[1])


class Load:
    """Programs in the guest that check what they get, until stop()."""

    def __init__(self, guest, count=4):
        self.guest, self.count = guest, count
        guest.check("rm -f /tmp/enough /tmp/load.*; for n in $(seq %d); do (alg load %s $n "
                    "/tmp/enough >/tmp/load.$n.new 2>&1; mv /tmp/load.$n.new /tmp/load.$n) & done"
                    % (count, DRIVER))

    def stop(self):
        """What each said last."""
        self.guest.check("touch /tmp/enough; for n in $(seq %d); do until test -e /tmp/load.$n; do "
                         "sleep 0.1; done; done" % self.count)
        return self.guest.check("cat /tmp/load.*").splitlines()


def served(qmp):
    return queue_of(qmp, "c0")["used-idx"]


def goes_on(qmp, requests=50):
    """Wait until so many more are answered; the index has 16 bits."""
    before = served(qmp)
    wait_until(lambda: (served(qmp) - before) % 65536 >= requests, "requests")


def test_linux_finds_it_right(tmp_path, alg):
    """Self-tests, published vectors, sizes, several at once, a key after another; and what QEMU
    said on the wire for that."""
    with serve(tmp_path, CRYPTO) as host, \
            Wiretap(host.folder.path / "tap", host.socket("c0")) as tap, \
            crypto_guest(tmp_path, tap.path, alg) as guest, host.qmp() as qmp:
        check_driver(guest)
        assert fine(guest.check(f"alg check {DRIVER}")) > 100
        load = Load(guest)
        goes_on(qmp)
        look(qmp, tap)
        assert all(fine(said) for said in load.stop())
        # Two sessions a key; all are closed but those of the last one, whose socket is closed too.
        assert fine(guest.check(f"alg keys {DRIVER} 100")) == 100
        asked = [m[1] for m in tap.messages if m[0]]
        made, closed = (asked.count(r) for r in (Req.CREATE_CRYPTO_SESSION,
                                                 Req.CLOSE_CRYPTO_SESSION))
        assert made == closed > 200
        assert Req.SET_VRING_ENABLE not in asked
        assert {m[3] for m in tap.messages if m[1] == Req.CREATE_CRYPTO_SESSION} == {632}
        said = qmp.command("query-vhost-user-transcript", path=PATH)
        assert {"CREATE_CRYPTO_SESSION", "CLOSE_CRYPTO_SESSION"} <= {m["name"] for m in said}
        status = status_of(qmp, "c0")
        assert status["name"] == "virtio-crypto" and status["device-id"] == 20
        assert status["started"] and not status["broken"]
        assert guest.poweroff() == 0


def look(qmp, tap):
    """Twenty looks at everything, under load: nothing is said to QEMU, and the load goes on."""
    queries = [("x-query-virtio", {}), ("query-stats", {"target": "virtqueue"})] + [
        (name, {"path": PATH, **more}) for name, more in [
            ("x-query-virtio-status", {}),
            ("x-query-virtio-queue-status", {"queue": 0}),
            ("x-query-virtio-queue-status", {"queue": 1}),
            ("x-query-virtio-queue-element", {"queue": 0}),
            ("query-virtio-sources", {}),
            ("query-vhost-user-transcript", {}),
            ("query-vhost-user-findings", {}),
        ]]
    for _ in range(20):
        for name, arguments in queries:
            qmp.command(name, **arguments)
    # What QEMU asked is answered once; nothing was said that nobody asked for.
    ours = [m for m in tap.messages if not m[0]]
    asked = [m for m in tap.messages if m[0]]
    assert {m[1] for m in ours} <= {m[1] for m in asked}
    assert sum(m[1] == Req.CREATE_CRYPTO_SESSION for m in ours) <= \
        sum(m[1] == Req.CREATE_CRYPTO_SESSION for m in asked)
    goes_on(qmp)
