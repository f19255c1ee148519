# SPDX-License-Identifier: BSD-3-Clause
"""Sessions by vhost-user message: what QEMU's cryptodev-vhost-user says, and what nobody should."""
import json
import os
import struct

import pytest

from lib import crypto_session as cs
from lib.crypto import Crypto
from lib.crypto_session import CryptoFront, session, session2
from lib.health import health, verdict
from lib.process import wait_until
from lib.relay import relay, remarkable
from lib.ringside import serve, tool
from lib.vhost_user import (F_EVENT_IDX, F_INDIRECT, F_PROTOCOL, F_VERSION_1, NEED_REPLY, VERSION,
                            Proto, Refused, Req, VhostUser)

CRYPTO = "virtio-crypto,id=c0"
C0 = "/machine/peripheral/c0/virtio-backend"
BIT = 1 << Proto.CRYPTO_SESSION
# A key that stands nowhere else, and bytes that look like what lies behind it.
SECRET = bytes(range(0xa0, 0xc0))
AUTH_SECRET = bytes(range(0xc0, 0xe0)) * 2


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("crypto"), CRYPTO, "virtio-rng,id=rng0") as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def baseline(host):
    """Descriptors while a front-end is connected, and nobody was before."""
    with CryptoFront(host.socket("c0")) as front:
        check_works(front)
        return num_fds(host)


@pytest.fixture
def front(host):
    with CryptoFront(host.socket("c0")) as front:
        yield front


def num_fds(host):
    return len(os.listdir(f"/proc/{host.process.pid}/fd"))


def check_works(front):
    """Both ways, by sessions of its own."""
    for direction, opcode, data, expected in (
            (cs.ENCRYPT, cs.OP_ENCRYPT, cs.PLAIN, cs.CIPHER),
            (cs.DECRYPT, cs.OP_DECRYPT, cs.CIPHER, cs.PLAIN)):
        number = front.create(session(direction=direction))
        assert number > 0
        assert front.crypt(number, opcode, cs.IV, data) == (cs.OK, expected)
        front.close_session(number)


def test_as_qemu_does(front):
    """SET_FEATURES 0x40000000 alone, no SET_VRING_ENABLE, INDIRECT that was never agreed on."""
    assert front.features == F_PROTOCOL and front.protocol & BIT
    check_works(front)
    assert front.crypt(front.create(session()), cs.OP_ENCRYPT, cs.IV, cs.PLAIN,
                       indirect=False) == (cs.OK, cs.CIPHER)


def test_as_later_versions_do(front):
    number = front.create(session2())
    assert number > 0
    assert front.crypt(number, cs.OP_ENCRYPT, cs.IV, cs.PLAIN) == (cs.OK, cs.CIPHER)


def test_by_the_document(host):
    with CryptoFront(host.socket("c0"), enable=True,
                     features=F_VERSION_1 | F_PROTOCOL | F_INDIRECT | F_EVENT_IDX) as front:
        assert front.features & F_VERSION_1
        check_works(front)


def test_a_ring_that_was_switched_off_stays_off(host, front):
    """Features that come again, as for a migration, are no reason to enable it."""
    with host.qmp() as qmp:
        def runs():
            return qmp.command("x-query-virtio-status", path=C0)["started"]

        check_works(front)
        assert runs()
        front.set_vring_enable(0, 0)
        front.set_features(front.features)
        front.sync()
        assert not runs()
        VhostUser.set_vring_enable(front, 0, 1)
        check_works(front)


def test_offered_by_what_has_sessions_alone(host):
    for device, offered in (("c0", BIT), ("rng0", 0)):
        with VhostUser(host.socket(device)) as peer:
            assert peer.get_protocol_features() & BIT == offered
            if not offered:
                peer.set_protocol_features(BIT)
                peer.send(Req.CREATE_CRYPTO_SESSION, session(), flags=VERSION)
                assert peer.closed()


def setup(**how):
    return session(**how), session2(**how)


# What no session can be made of; the connection goes on.
NO_SESSION = [
    ("key of 0 bytes", *setup(key=b"")),
    ("key of 1 byte", *setup(key=b"k")),
    ("key of 17 bytes", *setup(key=bytes(17))),
    ("key of 33 bytes", *setup(key=bytes(33))),
    ("key of 64 bytes", *setup(key=bytes(64))),
    ("key of 65 bytes", *setup(key_bytes=65)),
    ("key up to the message's end", *setup(key_bytes=576)),
    ("key beyond the message", *setup(key_bytes=577)),
    ("key of 2^31 bytes", *setup(key_bytes=1 << 31)),
    ("key of 2^32-1 bytes", *setup(key_bytes=0xffffffff)),
    ("authentication key of 513 bytes", *setup(auth_key_bytes=513)),
    ("authentication key of 2^32-1 bytes", *setup(auth_key_bytes=0xffffffff)),
    ("both keys of 2^32-1 bytes", *setup(key_bytes=0xffffffff, auth_key_bytes=0xffffffff)),
    ("no cipher", *setup(cipher=0)),
    ("cipher 255", *setup(cipher=255)),
    ("cipher 2^32-1", *setup(cipher=0xffffffff)),
    ("operation type 3", *setup(op_type=3)),
    ("operation type 255", *setup(op_type=255)),
    ("direction 0", *setup(direction=0)),
    ("direction 3", *setup(direction=3)),
    ("direction 255", *setup(direction=255)),
    ("chain without an order", *setup(op_type=2)),
    ("chain of order 255", *setup(op_type=2, order=255, hash_mode=2, hash_algo=2)),
    ("chain of hash mode 0", *setup(op_type=2, order=1, hash_algo=2)),
    ("chain of hash mode 255", *setup(op_type=2, order=1, hash_mode=255, hash_algo=2)),
    ("chain with no hash", *setup(op_type=2, order=1, hash_mode=2, auth_key=b"k", result=20)),
    ("chain with hash 2^32-1", *setup(op_type=2, order=1, hash_mode=2, hash_algo=0xffffffff,
                                      auth_key=b"k", result=20)),
    ("chain with a result of 0 bytes", *setup(op_type=2, order=1, hash_mode=2, hash_algo=2,
                                              auth_key=b"k")),
    ("chain with a result of 2^32-1", *setup(op_type=2, order=1, hash_mode=2, hash_algo=2,
                                             auth_key=b"k", result=0xffffffff)),
    ("form before QEMU 7.1", struct.pack("<qI", 0, 2) + session()[8:-4]),
    ("nothing but zeros", bytes(cs.BYTES), bytes(cs.BYTES2)),
    ("nothing but ones", b"\xff" * cs.BYTES, b"\xff" * cs.BYTES2),
    *[(f"operation {op:#x}", session2(op_code=op))
      for op in (0, 1, 3, 0x102, 0x202, 0x302, 0x403, 0x405, 0x10002, 1 << 32 | 2, 2**64 - 1)],
    ("key in two halves of 0 bytes", cs.key_session2(b"")),
    ("key in two halves that is none", cs.key_session2(bytes(1024))),
    ("key in two halves of 1025 bytes", cs.key_session2(b"", key_bytes=1025)),
    ("key in two halves of 2^32-1 bytes", cs.key_session2(b"\x30", key_bytes=0xffffffff)),
    ("key in two halves that claims 2^32-1", cs.key_session2(b"\x30\x84\xff\xff\xff\xff\x02\x01")),
    ("key in two halves, algorithm 0", cs.key_session2(b"\x30\x06\x02\x01\x05\x02\x01\x03", 0)),
]


@pytest.mark.parametrize("row", NO_SESSION, ids=[row[0] for row in NO_SESSION])
def test_no_session(host, front, row):
    check_works(front)
    before = num_fds(host)
    for payload in row[1:]:
        assert front.create(payload) < 0
    check_works(front)
    assert num_fds(host) == before


# request, payload, descriptors, flags, whether it was negotiated: the connection ends.
ENDS = [
    *[(f"session of {size} bytes", Req.CREATE_CRYPTO_SESSION, bytes(size), 0, VERSION, True)
      for size in (0, 1, 8, 40, 56, 631, 633, 1056, 1071, 1073, 4096)],
    ("session of 4097 bytes", Req.CREATE_CRYPTO_SESSION, bytes(4097), 0, VERSION, True),
    ("session with a descriptor", Req.CREATE_CRYPTO_SESSION, session(), 1, VERSION, True),
    ("session with 8 descriptors", Req.CREATE_CRYPTO_SESSION, session(), 8, VERSION, True),
    ("session of 8 bytes, asked for", Req.CREATE_CRYPTO_SESSION, bytes(8), 0,
     VERSION | NEED_REPLY, True),
    ("session as a reply", Req.CREATE_CRYPTO_SESSION, session(), 0, VERSION | 4, True),
    ("session that was not negotiated", Req.CREATE_CRYPTO_SESSION, session(), 0, VERSION, False),
    ("end of none that was negotiated", Req.CLOSE_CRYPTO_SESSION, bytes(8), 0, VERSION, False),
    *[(f"end of a session in {size} bytes", Req.CLOSE_CRYPTO_SESSION, bytes(size), 0, VERSION, True)
      for size in (0, 4, 7, 9, 12, 632)],
    ("end of a session with a descriptor", Req.CLOSE_CRYPTO_SESSION, bytes(8), 1, VERSION, True),
]


@pytest.mark.parametrize("row", ENDS, ids=[row[0] for row in ENDS])
def test_ends_the_connection(host, baseline, row):
    _, request, payload, fds, flags, negotiated = row
    with CryptoFront(host.socket("c0"), protocol=~0 if negotiated else ~BIT) as front, \
            open("/dev/null") as null:
        front.send(request, payload, [null.fileno()] * fds, flags=flags)
        assert front.closed()
    with CryptoFront(host.socket("c0")) as front:
        check_works(front)
        wait_until(lambda: num_fds(host) == baseline, f"{baseline} descriptors, as before")


def test_ends_of_sessions(front):
    """One that is not there: refused where somebody asked, and no reason to hang up on a guest that
    said it."""
    number = front.create(session())
    front.close_session(number, ack=True)
    for unknown in (number, 0, number + 1, 1 << 31, 1 << 63, 2**64 - 1):
        with pytest.raises(Refused):
            front.close_session(unknown, ack=True)
        front.close_session(unknown, ack=False)
    assert front.crypt(number, cs.OP_ENCRYPT, cs.IV, cs.PLAIN)[0] == cs.INVSESS
    check_works(front)


def test_before_and_between(host):
    """Sessions have nothing to do with rings: before memory and features are there, and while a
    ring stands still."""
    with CryptoFront(host.socket("c0"), start=False) as front:
        number = front.create(session())
        assert number > 0
        front.start()
        assert front.crypt(number, cs.OP_ENCRYPT, cs.IV, cs.PLAIN) == (cs.OK, cs.CIPHER)
        base = front.get_vring_base(0)
        other = front.create(session(direction=cs.DECRYPT))
        # QEMU, whose machine stood still: features again, and the ring where it was.
        front.set_features(front.features)
        front.start_queue(0, base)
        assert front.crypt(number, cs.OP_ENCRYPT, cs.IV, cs.PLAIN) == (cs.OK, cs.CIPHER)
        assert front.crypt(other, cs.OP_DECRYPT, cs.IV, cs.CIPHER) == (cs.OK, cs.PLAIN)


def test_a_reset_ends_them(front):
    number = front.create(session())
    front.reset_device()
    with pytest.raises(Refused):
        front.close_session(number, ack=True)


def test_the_connections_end_is_theirs(host):
    with CryptoFront(host.socket("c0")) as front:
        number = front.create(session())
    with CryptoFront(host.socket("c0")) as front:
        with pytest.raises(Refused):
            front.close_session(number, ack=True)
        assert front.crypt(number, cs.OP_ENCRYPT, cs.IV, cs.PLAIN)[0] == cs.INVSESS
        # And no number is given twice.
        assert front.create(session()) not in (number, -1)


def num_sessions(qmp):
    return qmp.command("qom-get", path=C0, property="sessions")


def test_one_set_with_the_control_queue(host):
    """Made on either way, used and ended on either way, and counted."""
    with CryptoFront(host.socket("c0"), queues=2) as front, host.qmp() as qmp:
        driver = Crypto(front)
        said = front.create(session())
        status, asked = driver.create_cipher(cs.AES_CBC, cs.KEY)
        assert status == cs.OK and asked != said and num_sessions(qmp) == 2
        for number in (said, asked):
            assert driver.cipher(number, cs.IV, cs.PLAIN) == (cs.OK, cs.CIPHER)
            assert front.crypt(number, cs.OP_ENCRYPT, cs.IV, cs.PLAIN) == (cs.OK, cs.CIPHER)
        front.close_session(asked, ack=True)
        assert driver.destroy(0, said) == cs.OK and num_sessions(qmp) == 0
        for number in (said, asked):
            assert driver.destroy(0, number) != cs.OK
            with pytest.raises(Refused):
                front.close_session(number, ack=True)


def heap_kib(host):
    with open(f"/proc/{host.process.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmData"))[7:-4])


def test_flood(host):
    """There is an end to them, and room again once one is closed; the next connection has all."""
    counts = []
    for _ in range(3):
        with CryptoFront(host.socket("c0")) as front:
            numbers = []
            while (number := front.create(session())) > 0:
                numbers.append(number)
                assert len(numbers) < 1 << 20, "there is no end to them"
            assert front.create(session()) < 0
            front.close_session(numbers[len(numbers) // 2], ack=True)
            assert front.create(session()) > 0 > front.create(session())
            assert front.crypt(numbers[0], cs.OP_ENCRYPT, cs.IV, cs.PLAIN) == (cs.OK, cs.CIPHER)
            counts.append(len(numbers))
    assert len(set(counts)) == 1, counts


def test_repeats_leave_nothing_behind(host):
    rounds = 500 if os.environ.get("RINGSIDE_SANITIZED") else 5000

    def some(count):
        for _ in range(count):
            front.close_session(front.create(session()), ack=False)
            front.create(session(key=b"k"))

    with CryptoFront(host.socket("c0")) as front:
        some(300)
        before = num_fds(host), heap_kib(host)
        some(rounds)
        assert num_fds(host) == before[0]
        if not os.environ.get("RINGSIDE_SANITIZED"):
            assert heap_kib(host) <= before[1] + 512


def talk_of_secrets(front):
    """Sessions of all forms, whose keys nobody shall see."""
    for make in (session, session2):
        assert front.create(make(key=SECRET)) > 0
        front.create(make(key=SECRET, auth_key=AUTH_SECRET, op_type=2, order=1, hash_mode=2,
                          hash_algo=2, result=20))
        front.create(make(key=SECRET, cipher=255))
    front.create(cs.key_session2(SECRET * 4))
    front.close_session(front.create(session(key=SECRET)))


def check_no_secret(text):
    for secret in (SECRET, AUTH_SECRET):
        for at in range(0, len(secret), 4):
            piece = secret[at:at + 4]
            assert piece not in text and piece.hex().encode() not in text, piece.hex()


@pytest.mark.parametrize("relayed", [False, True])
def test_what_is_shown_has_no_key(tmp_path, relayed):
    with serve(tmp_path, CRYPTO) as host:
        if not relayed:
            check_shown(host, "c0", tmp_path)
            return
        with relay(tmp_path, "id=r0,type=virtio-crypto", connect=host.socket("c0")) as between:
            check_shown(between, "r0", tmp_path)


def check_shown(host, name, tmp_path):
    device = f"/machine/peripheral/{name}/virtio-backend"
    with CryptoFront(host.socket(name)) as front, host.qmp() as qmp:
        talk_of_secrets(front)
        check_works(front)
        messages = qmp.command("query-vhost-user-transcript", path=device)
        check_no_secret(json.dumps(messages).encode())
        named = [m for m in messages if m["request"] in (26, 27)]
        assert {m["name"] for m in named} == {"CREATE_CRYPTO_SESSION", "CLOSE_CRYPTO_SESSION"}
        asked = next(m for m in named if not m["is-reply"])
        fields = {f["name"]: f["value"] for f in asked["fields"]}
        assert fields["key-bytes"] == "32" and fields["cipher-algo"] == "3", fields
        assert fields["keys"] == "not kept" and asked["size"] == cs.BYTES
        answered = next(m for m in named if m["serial"] == asked["reply"])
        fields = {f["name"]: f["value"] for f in answered["fields"]}
        assert int(fields["session"]) > 0 and fields["keys"] == "not kept", fields
        assert not remarkable(qmp, device)
        # A relay sees no control queue: the one that it sees is a data queue all the same.
        status = qmp.command("x-query-virtio-status", path=device)
        assert status["started"] and status["num-vqs"] == (1 if name == "r0" else 2)
        verdict(qmp, name, 0, "idle")
        assert health(qmp, name, 0)["role"] == "dataq1"
        tool("bundle", "--qmp", f"unix:{host.qmp_path}", "-o", tmp_path / "b.tar")
        check_no_secret((tmp_path / "b.tar").read_bytes())
    check_no_secret(host.process.text.encode())


def count_in_memory(host, wanted):
    """How often the bytes stand in what the program may write to."""
    pid, found = host.process.pid, 0
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                place, rights = line.split()[:2]
                start, end = (int(at, 16) for at in place.split("-"))
                if rights[:2] != "rw" or end - start > 1 << 30:
                    continue
                memory.seek(start)
                found += memory.read(end - start).count(wanted)
    except (PermissionError, OSError) as error:
        pytest.skip(f"the memory of another process cannot be read here: {error}")
    return found


def test_keys_are_gone_with_their_session(tmp_path):
    with serve(tmp_path, CRYPTO) as host:
        with CryptoFront(host.socket("c0")) as front:
            numbers = [front.create(make(key=SECRET)) for make in (session, session2)]
            # One each, and nowhere else.
            assert count_in_memory(host, SECRET) == 2
            for number in numbers:
                assert front.crypt(number, cs.OP_ENCRYPT, cs.IV, cs.PLAIN)[0] == cs.OK
                front.close_session(number)
            talk_of_secrets(front)
        with CryptoFront(host.socket("c0")) as front:
            check_works(front)
            assert count_in_memory(host, SECRET) == 0
            assert count_in_memory(host, AUTH_SECRET) == 0
