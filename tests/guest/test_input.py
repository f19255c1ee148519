# SPDX-License-Identifier: BSD-3-Clause
"""virtio-input in a guest of QEMU's, whose vhost-user-input-pci wants KVM: that is emulated, in a
guest that is the host of the guest (lib.kernel_host). What runs there is input_inside.py."""
import pytest

from lib.input import key
from lib.kernel_host import PATIENCE, KernelHost

SCRIPT = "tests/guest/input_inside.py"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """With a keyboard, which somebody may grab."""
    with KernelHost(tmp_path_factory.mktemp("kernel"), modules="kvm-amd,virtio_input,evdev",
                    arguments=["-device", "virtio-keyboard-pci,id=kbd"],
                    memory=1 << 20) as running:
        if running.guest.run("test -e /dev/kvm")[0]:
            pytest.skip("this kernel has no /dev/kvm")
        yield running


def test_from_the_monitor(host):
    host.run(SCRIPT, "monitor", patience=4 * PATIENCE)


def tap(host, name):
    host.guest.qmp.command("input-send-event", events=[key(name), key(name, False)])


def test_a_device_of_the_host(host):
    """Its keyboard is QEMU's, on which we press keys when we are asked to."""
    process = host.guest.process
    at = len(process.text.encode())
    number = host.start(SCRIPT, "passthrough", patience=4 * PATIENCE)
    while True:
        found = process.expect(rb"please tap (\w+)\r?\n|@end %d (\d+)@" % number, at, 4 * PATIENCE)
        if found[2]:
            break
        tap(host, found[1].decode())
        at = found.end()
    host.end(number, 4 * PATIENCE)
