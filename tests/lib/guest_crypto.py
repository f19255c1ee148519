# SPDX-License-Identifier: BSD-3-Clause
"""A guest of QEMU whose virtio-crypto is served by us, and what its kernel finds in it."""
import contextlib
import pathlib
import re

from lib.guest import static_program
from lib.guest_qemu import GuestQemu, cryptodev
from lib.look import queue_of
from lib.process import wait_until

CRYPTO = "virtio-crypto,id=c0"
PATH = "/machine/peripheral/c0/virtio-backend"
DRIVER = "virtio_crypto_aes_cbc"
MODULES = "virtio_pci,algif_skcipher,aes_generic,cbc,virtio_crypto"
SOURCE = pathlib.Path(__file__).resolve().parent.parent / "guest" / "alg.c"


def build_alg(folder):
    """The program that drives it, for crypto_guest()."""
    return static_program(SOURCE, folder / "alg")


@contextlib.contextmanager
def crypto_guest(tmp_path, path, alg, *arguments, **properties):
    """arguments: of QEMU, before the device; properties: of the device, and queues=."""
    with GuestQemu(tmp_path / "guest", [*arguments, *cryptodev(path, **properties)], kind="debian",
                   files={"bin/alg": alg}, append=f"ringside.modules={MODULES}") as guest:
        yield guest


def check_driver(guest):
    """The driver is there, and the kernel has tested it by its vectors: while it does that, there
    is an entry more that has passed."""
    def tested():
        found = guest.check("cat /proc/crypto").split("\n\n")
        ours = [f for f in found if re.search(rf"^driver\s*: {DRIVER}$", f, re.M)]
        return len(ours) == 1 and re.search(r"^selftest\s*: passed$", ours[0], re.M)

    wait_until(tested, f"{DRIVER}, tested")


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
