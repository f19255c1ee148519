# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's vhost: a Debian kernel under QEMU's software emulation has it, and runs our program
there (lib.kernel_host). The driver is vhost_kernel_inside.py."""
import pytest

from lib.kernel_host import KernelHost


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with KernelHost(tmp_path_factory.mktemp("kernel"),
                    modules="tun,vhost_net,vhost_vsock,vhost_scsi,target_core_file") as running:
        yield running


@pytest.mark.parametrize("case", ["vsock", "net", "scsi"])
def test_kernel_serves(host, case):
    if host.guest.run(f"test -e /dev/vhost-{case}")[0]:
        pytest.skip(f"this kernel has no /dev/vhost-{case}")
    host.run("tests/guest/vhost_kernel_inside.py", case)
