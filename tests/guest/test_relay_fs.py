# SPDX-License-Identifier: BSD-3-Clause
"""A shared folder through `ringside relay`: Debian's virtiofsd behind it; before it QEMU's guest,
which compiles there. Every byte arrives, and all five commands see it. (User-mode Linux mounts
nothing of it: virtiofsd has no configuration space, and so no tag there.)"""
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tarfile

import pytest

from lib.agree import Onlooker, all_five, with_qemu
from lib.guest import SOURCE
from lib.guest_qemu import GuestQemu
from lib.look import status_of
from lib.process import Process, wait_until, wakeups
from lib.relay import UNWATCHED, relay, transcript

VIRTIOFSD = pathlib.Path("/usr/lib/qemu/virtiofsd")
QUEUES = range(2)

PROGRAM = r"""
typedef unsigned long u64;
static u64 call(u64 n, u64 a, u64 b, u64 c)
{
	u64 r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return r;
}
void _start(void)
{
	char text[21], *at = text + 20;
	u64 sum = 0;

	for (u64 i = 1; i <= 100000; i++)
		sum += i * i;
	*at = '\n';
	for (; sum; sum /= 10)
		*--at = (char)('0' + sum % 10);
	call(1, 1, (u64)at, (u64)(text + 21 - at));
	call(60, 0, 0, 0);
}
"""
ANSWER = str(sum(i * i for i in range(100001)))
BUILD = "-O2 -ffreestanding -nostdlib -static -fno-stack-protector -fno-use-linker-plugin"


@contextlib.contextmanager
def virtiofsd(tmp_path, share):
    """Its socket; it serves one front-end and ends with that."""
    if not VIRTIOFSD.exists():
        pytest.skip("virtiofsd is missing: package qemu-system-common is not installed")
    path = tmp_path / "fs.sock"
    path.unlink(missing_ok=True)
    with Process([VIRTIOFSD, f"--socket-path={path}", "-o", f"source={share}"],
                 log=tmp_path / "virtiofsd.log") as process:
        wait_until(lambda: path.exists() or not process.running(), "virtiofsd's socket")
        if not process.running():
            pytest.skip(f"virtiofsd does not run here: {process.text.strip()[-200:]}")
        yield path, process


def vhost_user_fs(path):
    return ["-chardev", f"socket,id=fs0,path={path}",
            "-device", "vhost-user-fs-pci,chardev=fs0,tag=share,id=fs0"]


def boot_qemu(tmp_path, name, host):
    return GuestQemu(tmp_path / name, vhost_user_fs(host.socket("r0")),
                     append="ringside.modules=virtio_pci,virtiofs")


def sums(folder):
    """Lines of md5sum, sorted, of all files below."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return sorted(f"{hashlib.md5(p.read_bytes()).hexdigest()}  ./{p.relative_to(folder)}"
                  for p in files)


def pack(share):
    """A tree of this project's sources, as an archive in the share."""
    with tarfile.open(share / "src.tar", "w") as archive:
        archive.add(SOURCE / "src", "src")
        archive.add(SOURCE / "tests" / "lib", "lib",
                    filter=lambda i: None if "__pycache__" in i.name else i)
    return share


def unpack(guest):
    """Untars in the share and sums what is there: as the guest reads it, past its caches."""
    guest.check("cd /mnt && rm -rf tree && mkdir tree && tar xf src.tar -C tree && sync")
    guest.check("echo 3 >/proc/sys/vm/drop_caches")
    return guest.check("cd /mnt/tree && find . -type f | xargs md5sum | sort").splitlines()


def with_libraries(program):
    """A program's file, and those that its loader wants."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {program, *re.findall(r"(/\S+) \(0x", said)}


def put_compiler(share):
    """gcc and what it starts, where it looks for them, for a chroot."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is missing")
    files = with_libraries(shutil.which("gcc"))
    for name in ("cc1", "collect2", "as", "ld"):
        found = subprocess.run(["gcc", f"-print-prog-name={name}"], capture_output=True, text=True,
                               check=True).stdout.strip()
        files |= with_libraries(found if found.startswith("/") else shutil.which(found))
    for file in files:
        target = share / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(os.path.realpath(file), target)
        target.chmod(0o755)
    (share / "tmp").mkdir()


def test_qemu_untars_and_compiles(tmp_path):
    share = tmp_path / "share"
    share.mkdir()
    put_compiler(pack(share))
    (share / "sum.c").write_text(PROGRAM)
    with virtiofsd(tmp_path, share) as (path, _), \
            relay(tmp_path, "id=r0,type=virtio-user-fs", connect=path,
                  arguments=UNWATCHED) as host, host.qmp() as qmp, \
            boot_qemu(tmp_path, "guest", host) as guest:
        guest.check("mount -t virtiofs share /mnt")
        before, said, woken = all_five(qmp, "r0", QUEUES), transcript(qmp)[-1]["serial"], \
            wakeups(host.process.pid)
        there = unpack(guest)
        # Nobody asks meanwhile: not one wake-up, not one message.
        assert wakeups(host.process.pid) == woken
        assert there == sums(share / "tree")
        after = all_five(qmp, "r0", QUEUES)
        assert after[1] - before[1] & 0xffff > 100
        with_qemu(qmp, guest.qmp, "r0", QUEUES)
        with Onlooker(host.qmp(), "r0", QUEUES) as onlooker:
            guest.check(f"PATH=/bin:/usr/bin chroot /mnt gcc {BUILD} -o /sum /sum.c", 180)
            assert guest.check("/mnt/sum") == ANSWER
        assert onlooker.rounds > 10
        assert transcript(qmp)[-1]["serial"] == said
        shutil.copyfile(share / "sum.c", tmp_path / "sum.c")
        subprocess.run(["gcc", *BUILD.split(), "-o", "sum", "sum.c"], cwd=tmp_path, check=True)
        assert (tmp_path / "sum").read_bytes() == (share / "sum").read_bytes()
        with_qemu(qmp, guest.qmp, "r0", QUEUES)
        assert guest.poweroff() == 0


def test_the_next_guest(tmp_path):
    """The daemon ends with its client; the relay stays, and finds the next one."""
    share = tmp_path / "share"
    share.mkdir()
    pack(share)
    with relay(tmp_path, "id=r0,type=virtio-user-fs", connect=tmp_path / "fs.sock") as host, \
            host.qmp() as qmp:
        for name, killed in (("one", True), ("two", False)):
            with virtiofsd(tmp_path, share) as (_, process), \
                    boot_qemu(tmp_path, name, host) as guest:
                guest.check("mount -t virtiofs share /mnt")
                assert unpack(guest) == sums(share / "tree")
                assert all_five(qmp, "r0", QUEUES)[1] > 100
                if killed:
                    # In the middle of something.
                    guest.start("while :; do tar xf /mnt/src.tar -C /mnt/tree; done")
                    guest.process.kill()
                else:
                    assert guest.poweroff() == 0
                assert process.wait() == 0
            wait_until(lambda: not status_of(qmp, "r0")["vhost-started"], "the end")
