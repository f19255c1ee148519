# SPDX-License-Identifier: BSD-3-Clause
"""The command line: lines that cannot work, help, names, and telling that everything listens."""
import os
import socket
import subprocess

import pytest

from lib.ringside import Folder, binary, serve

BAD_LINES = [
    # arguments ({d}: a folder), status, part of the sentence
    (["bogus"], 2, "no command 'bogus'"),
    (["serve", "--nope"], 2, "no option '--nope'"),
    (["serve", "--nope=1"], 2, "no option '--nope'"),
    (["serve", "word"], 2, "unexpected argument 'word'"),
    (["serve", "--", "word"], 2, "unexpected argument 'word'"),
    (["serve", "--device"], 2, "'--device' needs a value"),
    (["serve", "--read-only=yes"], 2, "takes no value"),
    (["serve", "--name", "../x"], 2, "--name '../x'"),
    (["serve", "--ready-fd", "x"], 2, "--ready-fd 'x'"),
    (["serve", "--ready-fd", "77"], 2, "--ready-fd '77'"),
    (["serve", "--device", "virtio-nope,help"], 2, "'virtio-nope' is not a valid"),
    (["run", "--machine", "nope"], 2, "no machine 'nope'"),
    (["run", "--memory", "3Q"], 2, "--memory '3Q'"),
    (["run", "--memory", "1m"], 1, "cannot have 1048576 bytes of memory"),
    (["serve", "--object", "nope,help"], 2, "no object type 'nope'"),
    (["serve", "--kernel", "x"], 2, "no option '--kernel'"),
    (["serve", "--device", "virtio-nope"], 1, "name; '--device help' lists them"),
    (["serve", "--device", "id=x"], 1, "Parameter 'driver' is missing"),
    (["serve", "--device", "virtio-rng,id=1x,listen={d}/a"], 1,
     "expects an identifier; a letter, and behind it"),
    (["serve", "--device", "virtio-rng"], 1, "listen="),
    (["serve", "--device", "virtio-rng,listen="], 1, "path '' is empty"),
    (["info", "--qmp", "{d}/file"], 1, "'{d}/file' is no socket: expected that of a monitor"),
    (["serve", "--device", "virtio-rng,listen={d}/a,bogus=1"], 1, "no option 'bogus'"),
    (["serve", "--device", "virtio-rng,listen"], 1, "'listen' has no value"),
    (["serve", "--device", '{{"driver":"virtio-rng","listen":5}}'], 1, "'listen'"),
    (["serve", "--device", '{{"driver":"virtio-rng"'], 1, "JSON"),
    (["serve", "--device", "virtio-blk,listen={d}/a,filename={d}/nope"], 1, "cannot open"),
    (["serve", "--device", "virtio-blk,listen={d}/a"], 1, "filename"),
    (["serve", "--device", "virtio-rng,listen={d}/nope/a"], 1, "make its folder first"),
    (["serve", "--device", "virtio-rng,listen={d}/busy"], 1, "in use"),
    (["serve", "--device", "virtio-rng,listen={d}/file"], 1, "{d}/file"),
    (["serve", "--device", "virtio-rng,id=r,listen={d}/a",
      "--device", "virtio-rng,id=r,listen={d}/b"], 1, "Duplicate device ID 'r'"),
    (["serve", "--device", "virtio-blk,filename={d}/img,listen={d}/a",
      "--device", "virtio-blk,filename={d}/img,listen={d}/b"], 1, "cannot lock"),
    (["serve", "--device", "virtio-rng,iothread=io9,listen={d}/a"], 1, "io9"),
    (["serve", "--object", "nope,id=x"], 1, "value 'nope'; '--object help' lists the types"),
    (["serve", "--object", "iothread"], 1, "'id' is missing"),
    (["serve", "--object", "iothread,id=a,x=1"], 1, "knows: poll-max-ns, poll-grow, poll-shrink"),
    (["serve", "--device", "virtio-blk,size=1M,listen={d}/a,serial=" + 21 * "x"], 1,
     "has 21 bytes"),
    (["serve", "--object", "iothread,id=a", "--object", "iothread,id=a"], 1, "duplicate"),
    (["serve", "--device", "virtio-rng,listen={d}/a", "--qmp", "nonsense"], 1, "nonsense"),
    (["serve", "--device", "virtserialport"], 1, "No 'virtio-serial-bus' bus found"),
    (["serve", "--device", "virtserialport,bus=a.0"], 1, "Bus 'a.0' not found"),
    (["serve", "--device", "virtio-serial,id=a,listen={d}/a",
      "--device", "virtserialport,bus=a.1"], 1, "Bus 'a.1' not found"),
    (["serve", "--device", "virtio-serial,listen={d}/a", "--device", "virtio-serial,listen={d}/b",
      "--device", "virtconsole"], 1, "bus=ID.0 has to name one"),
    (["serve", "--device", "virtio-serial,listen={d}/a,max_ports=1",
      "--device", "virtconsole"], 1, "give it max_ports="),
    (["serve", "--device", "virtio-serial,listen={d}/a,max_ports=512"], 1, "max_ports"),
    (["serve", "--device", "virtio-serial,listen={d}/a,chardev=unix:{d}/c",
      "--device", "virtconsole,nr=0"], 1, "A port already exists at id 0"),
    (["serve", "--device", "virtio-serial,listen={d}/a", "--device", "virtconsole,packed=on"], 1,
     "no option 'packed'"),
    (["serve", "--device", "scsi-hd,size=1M"], 1, "No 'SCSI' bus found"),
    (["serve", "--device", "virtio-serial,id=a,listen={d}/a",
      "--device", "scsi-hd,bus=a.0,size=1M"], 1, "Bus 'a.0' not found"),
    (["serve", "--device", "virtio-scsi,listen={d}/a", "--device", "scsi-hd"], 1,
     "scsi-hd: filename= names the image"),
    (["serve", "--device", "virtio-scsi,listen={d}/a", "--device", "scsi-cd,size=1M"], 1,
     "no option 'size'"),
    (["serve", "--device", "virtio-scsi,size=1M,id=s,listen={d}/a",
      "--device", "scsi-hd,scsi-id=0,lun=0,size=1M"], 1, "lun already used by 's'"),
    (["serve", "--device", "virtio-scsi,listen={d}/a", "--device", "scsi-hd,size=1M,scsi-id=-2"], 1,
     "scsi-id value must be in range"),
    (["serve", "--device", "virtio-rng,listen={d}/a", "--qmp", "unix:{d}/busy"], 1, "in use"),
    (["serve", "--device", "virtio-rng,listen={d}/a", "--qmp", "tcp:1.2.3.4:1"], 1, "1.2.3.4"),
    (["serve", "--qmp", "stdio", "--device", "virtio-serial,chardev=stdio,listen={d}/a"], 1,
     "stdio"),
    (["run", "--kernel", "{d}/nope"], 1, "{d}/nope"),
    (["run", "--kernel", "{d}/file"], 1, "{d}/file"),
    (["run", "--initrd", "{d}/nope"], 1, "{d}/nope"),
    (["run", "--device", "virtio-rng,listen={d}/a"], 1, "no option 'listen'"),
]


@pytest.fixture(scope="module")
def crowded():
    """A folder with a busy socket, a plain file and an image; and a place for monitors."""
    folder = Folder()
    (folder.path / "file").write_text("text\n")
    (folder.path / "img").write_bytes(bytes(4096))
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(folder.path / "busy"))
        busy.listen()
        yield folder
    folder.remove()


@pytest.mark.parametrize("arguments,status,part", BAD_LINES)
def test_bad_command_line(crowded, arguments, status, part):
    before = sorted(os.listdir(crowded.path))
    words = [a.format(d=crowded.path) for a in arguments]
    runtime = Folder()
    run = subprocess.run([binary(), *words], stdin=subprocess.PIPE, capture_output=True, text=True,
                         timeout=60, env={**os.environ, "XDG_RUNTIME_DIR": str(runtime.path)})
    lines = [line for line in run.stderr.splitlines()
             if not line.startswith(("ringside: info:", "Try '"))]
    assert run.returncode == status, run.stderr
    assert len(lines) == 1 and part.format(d=crowded.path) in lines[0], run.stderr
    assert run.stdout == ""
    assert sorted(os.listdir(crowded.path)) == before
    assert not runtime.left() and sorted(os.listdir(runtime.path)) in ([], ["ringside"])
    runtime.remove()


def test_name_is_taken(tmp_path):
    with serve(tmp_path, arguments=["--name", "one"]) as host:
        run = subprocess.run([binary(), "serve", "--name", "one"], capture_output=True, text=True,
                             timeout=60, stdin=subprocess.DEVNULL,
                             env={**os.environ, "XDG_RUNTIME_DIR": str(host.runtime)})
        assert run.returncode == 1 and "another run is called 'one'" in run.stderr
        assert host.qmp().command("query-name") == {"name": "one"}


HELP = [["--help"], ["help"], ["-h"], ["serve", "--help"], ["run", "-h"], ["help", "serve"],
        ["help", "run"], ["serve", "--device", "help"], ["serve", "--device", "virtio-blk,help"],
        ["serve", "--object", "help"], ["serve", "--object", "iothread,help"],
        ["--version"], ["info", "--help"]]


@pytest.mark.parametrize("words", HELP)
def test_help(words):
    run = subprocess.run([binary(), *words], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "") and run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 100


@pytest.mark.parametrize("words", HELP)
def test_help_that_is_lost(words):
    with open("/dev/full", "wb") as full:
        run = subprocess.run([binary(), *words], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 1
    assert b"cannot write to standard output: No space left on device" in run.stderr


def test_notify_socket(tmp_path):
    folder = Folder()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder.path / "notify"))
        manager.settimeout(60)
        with serve(tmp_path, env={"NOTIFY_SOCKET": str(folder.path / "notify")}) as host:
            assert manager.recv(100) == b"READY=1"
            host.process.signal(15)
            assert manager.recv(100) == b"STOPPING=1"
            host.finish()
    folder.remove()
