# SPDX-License-Identifier: BSD-3-Clause
"""virtio-crypto behind QEMU 7.2's cryptodev-vhost-user: Linux drives AES-CBC through it, by its own
self-tests and by AF_ALG, and QEMU makes the sessions by message."""
import pytest

from lib.guest_crypto import (CRYPTO, DRIVER, PATH, Load, build_alg, check_driver, crypto_guest,
                              fine, goes_on)
from lib.look import status_of
from lib.ringside import serve
from lib.vhost_user import Req
from lib.wiretap import Wiretap


@pytest.fixture(scope="module")
def alg(tmp_path_factory):
    return build_alg(tmp_path_factory.mktemp("alg"))


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
