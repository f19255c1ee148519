# SPDX-License-Identifier: BSD-3-Clause
"""virtio-crypto as a driver sees it: virtio 1.4, "Crypto Device". No guest here drives the control
queue, so our own driver does, with published answers."""
import hashlib
import hmac
import struct

import pytest

from lib.crypto import (AEAD, AES_CBC, AES_CTR, AKCIPHER, BADMSG, CIPHER, DECRYPT, ERR,
                        F_REVISION_1, F_STATELESS, GCM, HASH, HMAC_SHA_256, INVSESS, KEY_REJECTED,
                        MAC, NOSPC, NOTSUPP, OK, SHA_256, SIGN, VERIFY, Crypto)
from lib.process import wait_until

# SP 800-38A, F.2.1: AES-128 in CBC.
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
IV = bytes(range(16))
PLAIN = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                      "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
CBC = bytes.fromhex("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
                    "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7")
# The Galois/Counter Mode of Operation, test case 4.
GCM_KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308")
GCM_IV = bytes.fromhex("cafebabefacedbaddecaf888")
GCM_AAD = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
GCM_PLAIN = bytes.fromhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                          "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
GCM_SEALED = bytes.fromhex("42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
                           "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
                           "5bc94fbc3221a5db94fae95ae7121a47")

# What a driver takes of the offer: the layout follows from it.
LAYOUTS = {"legacy": ~(F_REVISION_1 | F_STATELESS), "revision-1": ~F_STATELESS, "own": ~0}


@pytest.fixture
def layout(way):
    """Each way has one of them, and each of them has several ways."""
    number = way.indirect + 2 * way.event_idx + way.status + (way.ring == "packed")
    return list(LAYOUTS.values())[number % len(LAYOUTS)]


@pytest.fixture
def driver(start, way, layout):
    host = start("virtio-crypto,id=c,queues=2,max-sessions=8")
    with way.connect(host.socket("c"), queues=3, features=layout) as front:
        yield Crypto(front, indirect=way.indirect)


def test_services(driver):
    """Sessions of every service, each used and destroyed."""
    status, session = driver.create_cipher(AES_CBC, KEY)
    assert status == OK
    for pieces in (1, 2, 7):
        assert driver.cipher(session, IV, PLAIN, pieces=pieces) == (OK, CBC)
    assert driver.cipher(session, IV, PLAIN, operation=DECRYPT) == (ERR, b"\xa5" * 64)
    assert driver.destroy(CIPHER, session) == OK
    assert driver.cipher(session, IV, PLAIN)[0] == INVSESS
    status, session = driver.create_cipher(AES_CBC, KEY, decrypts=True)
    assert driver.cipher(session, IV, CBC, operation=DECRYPT) == (OK, PLAIN)

    status, session = driver.create_hash(SHA_256, 32)
    assert driver.hash(session, PLAIN, 32, pieces=3) == (OK, hashlib.sha256(PLAIN).digest())
    assert driver.destroy(CIPHER, session) == ERR and driver.destroy(HASH, session) == OK

    status, session = driver.create_mac(HMAC_SHA_256, b"Jefe", 16)
    right = hmac.digest(b"Jefe", PLAIN, "sha256")
    assert driver.hash(session, PLAIN, 16, service=MAC) == (OK, right[:16])
    assert driver.hash(session, PLAIN, 17, service=MAC)[0] == ERR
    assert driver.destroy(MAC, session) == OK

    status, session = driver.create_aead(GCM, GCM_KEY)
    assert driver.aead(session, GCM_IV, GCM_AAD, GCM_PLAIN, 76, pieces=2) == (OK, GCM_SEALED)
    status, opened = driver.create_aead(GCM, GCM_KEY, decrypts=True)
    assert driver.aead(opened, GCM_IV, GCM_AAD, GCM_SEALED, 60, operation=DECRYPT) == \
        (OK, GCM_PLAIN)
    assert driver.aead(opened, GCM_IV, GCM_AAD[:-1] + b"x", GCM_SEALED, 60,
                       operation=DECRYPT)[0] == BADMSG
    assert driver.destroy(AEAD, session) == OK and driver.destroy(AEAD, opened) == OK


def test_chain(driver):
    status, session = driver.create_chain(AES_CBC, KEY, HMAC_SHA_256, b"Jefe", 32)
    assert status == OK
    right = hmac.digest(b"Jefe", b"head" + CBC, "sha256")
    assert driver.chain(session, IV, b"head" + PLAIN + b"tail", (4, 64), (0, 68), 32, pieces=2) == \
        (OK, b"head" + CBC + b"tail", right)
    assert driver.chain(session, IV, PLAIN, (16, 64), (0, 64), 32)[0] == ERR
    assert driver.cipher(session, IV, PLAIN)[0] == ERR
    assert driver.destroy(CIPHER, session) == OK


def test_without_sessions(driver):
    """Where the layout has a place for keys; elsewhere it is refused."""
    if not driver.own:
        if driver.revision_1:
            assert driver.cipher(None, IV, PLAIN)[0] == NOTSUPP
            assert driver.hash(None, PLAIN, 32)[0] == NOTSUPP
        return
    assert driver.cipher(None, IV, PLAIN, algo=AES_CBC, key=KEY) == (OK, CBC)
    assert driver.hash(None, b"abc", 32, algo=SHA_256) == (OK, hashlib.sha256(b"abc").digest())
    assert driver.hash(None, b"abc", 32, service=MAC, algo=HMAC_SHA_256, key=b"Jefe") == \
        (OK, hmac.digest(b"Jefe", b"abc", "sha256"))
    assert driver.aead(None, GCM_IV, GCM_AAD, GCM_PLAIN, 76, algo=GCM, key=GCM_KEY) == \
        (OK, GCM_SEALED)
    assert driver.cipher(None, IV, PLAIN, algo=AES_CBC, key=KEY[:15])[0] == ERR
    assert driver.cipher(None, IV, PLAIN, algo=99, key=KEY)[0] == NOTSUPP


def der(tag, *parts):
    body = b"".join(parts)
    length = len(body).to_bytes(2, "big").lstrip(b"\0")
    if len(body) > 127:
        length = bytes([0x80 | len(length)]) + length
    return bytes([tag]) + length + body


def number(value):
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


# An RSA key of 1024 bits, and the prefix of a SHA-256 digest in PKCS #1.
P = int("e3be24f5cd40a96d3f4fa1e8f6d9a7d30b7e0a70a8b32dcdbdc0e6e9f0d8c86b", 16)
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def next_prime(value):
    value |= 1
    while any(pow(base, value - 1, value) != 1 for base in (2, 3, 5, 7, 11, 13)):
        value += 2
    return value


def test_signatures(driver):
    """RSA with PKCS #1, against the same computed with whole numbers."""
    p, q, e = next_prime(P ** 2), next_prime(P ** 2 + (1 << 400)), 65537
    n, d = p * q, pow(e, -1, (p - 1) * (q - 1))
    size = (n.bit_length() + 7) // 8
    private = der(0x30, *map(number, (0, n, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))))
    public = der(0x30, number(n), number(e))
    digest = hashlib.sha256(b"what is signed").digest()
    padded = b"\0\1".ljust(size - 1 - len(DIGEST_INFO + digest), b"\xff") + b"\0" + \
        DIGEST_INFO + digest
    signature = pow(int.from_bytes(padded, "big"), d, n).to_bytes(size, "big")

    status, signer = driver.create_akcipher(private, private=True)
    assert status == OK
    assert driver.akcipher(signer, SIGN, digest, size, key=private, pieces=2) == (OK, signature)
    status, checker = driver.create_akcipher(public, private=False)
    assert driver.akcipher(checker, VERIFY, signature, 0, signed=digest) == (OK, b"")
    assert driver.akcipher(checker, VERIFY, signature, 0, signed=digest[::-1]) == \
        (KEY_REJECTED, b"")
    assert driver.akcipher(checker, SIGN, digest, size)[0] == NOTSUPP
    status, sealed = driver.akcipher(checker, 0, b"short", size + 9)
    assert status == OK and len(sealed) == size
    assert driver.akcipher(signer, DECRYPT, sealed, size) == (OK, b"short")
    assert driver.destroy(AKCIPHER, signer) == OK and driver.destroy(AKCIPHER, checker) == OK


def test_config(start, split_way):
    host = start("virtio-crypto,id=c,queues=3,max-size=64k")
    with split_way.connect(host.socket("c"), queues=4) as front:
        (status, queues, services, cipher, cipher_high, hashes, mac, mac_high, aead, key, auth,
         akcipher, size) = Crypto(front).config()
        assert (status, queues, size) == (1, 3, 65536)
        # Whatever a host's policy leaves out of the rest, these are there.
        assert services & 0x1f == 0x1f
        assert cipher & 1 << AES_CBC and cipher & 1 << AES_CTR and not cipher & 1
        assert hashes & 1 << SHA_256 and mac & 1 << HMAC_SHA_256 and aead & 1 << GCM
        assert akcipher & 1 << 1 and (cipher_high, mac_high) == (0, 0)
        assert (key, auth) == (64, 512)


def test_as_many_as_there_may_be(driver):
    sessions = []
    while True:
        status, session = driver.create_hash(SHA_256, 32)
        if status != OK:
            break
        sessions.append(session)
    assert status == (NOSPC if driver.revision_1 else ERR)
    assert len(sessions) == len(set(sessions)) == 8
    assert driver.destroy(HASH, sessions[3]) == OK
    status, session = driver.create_hash(SHA_256, 32)
    assert status == OK and session not in sessions


def test_all_queues_at_once(start, way):
    """One session, used on two data queues of two threads while others come and go."""
    host = start("virtio-crypto,id=c,queues=2,iothread-vq-mapping.0.iothread=io0,"
                 "iothread-vq-mapping.1.iothread=io1",
                 arguments=["--object", "iothread,id=io0", "--object", "iothread,id=io1"])
    with way.connect(host.socket("c"), queues=3, features=~F_STATELESS) as front:
        drivers = [Crypto(front, queue, indirect=way.indirect) for queue in (0, 1)]
        status, session = drivers[0].create_cipher(AES_CBC, KEY)
        for _ in range(20):
            flying = [(driver, driver.start(driver.queue, driver.cipher_bytes(session, IV, PLAIN),
                                            65)) for driver in drivers for _ in range(4)]
            status, other = drivers[1].create_cipher(AES_CTR, KEY)
            assert status == OK and drivers[0].destroy(CIPHER, other) == OK
            for driver, request in flying:
                assert driver.finish(request) == (CBC + b"\0", 65)


def test_a_new_driver_has_no_sessions(start, way):
    host = start("virtio-crypto,id=c")
    with way.connect(host.socket("c"), queues=2, features=~F_STATELESS) as front:
        status, session = Crypto(front).create_cipher(AES_CBC, KEY)
        assert Crypto(front).cipher(session, IV, PLAIN) == (OK, CBC)
    with way.connect(host.socket("c"), queues=2, features=~F_STATELESS) as front:
        assert Crypto(front).cipher(session, IV, PLAIN)[0] == INVSESS
        status, another = Crypto(front).create_cipher(AES_CBC, KEY)
        assert status == OK and another != session


def test_unplugged_with_requests_in_flight(start, way):
    """What was taken is answered before the device goes."""
    host = start("virtio-crypto,id=c")
    with way.connect(host.socket("c"), queues=2, size=64, features=~F_STATELESS) as front, \
            host.qmp() as qmp:
        driver = Crypto(front, indirect=True)
        status, session = driver.create_cipher(8, KEY + KEY[:8])
        assert status == OK
        # 3DES over 400 KiB each: some 20 ms, and a turn of its own.
        data = bytes(400 << 10)
        flying = [driver.start(0, driver.cipher_bytes(session, bytes(8), data), len(data) + 1)
                  for _ in range(10)]
        ring = front.queues[0].ring
        wait_until(lambda: ring.num_used() > 0, "the first answer")
        qmp.command("device_del", id="c")
        qmp.event("DEVICE_DELETED")
        answered = ring.num_used()
        assert 0 < answered <= len(flying)
        # Each that was answered was done whole, none was answered halfway.
        for request in flying[:answered]:
            _, _, target, room = request
            assert front.memory.read(target + room - 1, 1) == b"\0"


def test_what_is_in_flight_is_told(start, split_way):
    """Operation, session and lengths, of requests that wait for their turn."""
    host = start("virtio-crypto,id=c")
    with split_way.connect(host.socket("c"), queues=2, size=64, features=~F_STATELESS) as front, \
            host.qmp() as qmp:
        driver = Crypto(front, indirect=split_way.indirect)
        path = qmp.command("x-query-virtio")[0]["path"]
        status, session = driver.create_cipher(8, KEY + KEY[:8])
        data, seen, ring = bytes(100 << 10), [], front.queues[0].ring
        # All may be answered before we look: then others are asked.
        for _ in range(30):
            before = ring.num_used()
            flying = [driver.start(0, driver.cipher_bytes(session, bytes(8), data), len(data) + 1)
                      for _ in range(8)]
            while not seen and ring.num_used() < before + len(flying):
                seen = qmp.command("query-virtqueue-inflight", path=path, queue=0)
            assert all(driver.finish(request)[0][-1] == OK for request in flying)
            if seen:
                break
        assert f"CIPHER_ENCRYPT, session {session:#x}, iv-len 8, src-len {len(data)}" in str(seen)


def test_introspection(start, split_way):
    host = start("virtio-crypto,id=c,queues=2")
    with split_way.connect(host.socket("c"), queues=3) as front, host.qmp() as qmp:
        path = next(row["path"] for row in qmp.command("x-query-virtio")
                    if row["name"] == "virtio-crypto")
        driver = Crypto(front)
        assert driver.hash(None, b"abc", 32, algo=SHA_256)[0] == OK
        assert driver.hash(None, b"abc", 32, algo=99)[0] == NOTSUPP
        said = qmp.command("x-query-virtio-status", path=path)
        assert (said["name"], said["device-id"], said["num-vqs"]) == ("virtio-crypto", 20, 3)
        features = str(said["guest-features"])
        for name in ("REVISION_1", "CIPHER_STATELESS_MODE", "AKCIPHER_STATELESS_MODE"):
            assert f"VIRTIO_CRYPTO_F_{name}" in features
        # A batch is shown to the driver first, and published right after.
        wait_until(lambda: qmp.command("x-query-virtio-queue-status", path=path,
                                       queue=0)["last-avail-idx"] == 2, "both requests")
        stats = qmp.command("query-stats", target="virtqueue",
                            providers=[{"provider": "virtio", "names": ["errors-request"]}])
        errors = [row["stats"][0]["value"] for row in stats if path.startswith(row["qom-path"])
                  or row["qom-path"].startswith(path)]
        assert sum(errors) == 1, stats


def test_nothing_of_a_key_is_shown(start, split_way):
    """A request that brings its key along, looked at in every way that there is."""
    host = start("virtio-crypto,id=c")
    key = b"KeyThatNobodySee"
    with split_way.connect(host.socket("c"), queues=2) as front, host.qmp() as qmp:
        driver = Crypto(front)
        path = qmp.command("x-query-virtio")[0]["path"]
        assert driver.cipher(None, IV, PLAIN, algo=AES_CBC, key=key)[0] == OK
        assert driver.create_mac(HMAC_SHA_256, key, 32)[0] == OK
        assert driver.create_akcipher(key, private=True)[0] == ERR
        for queue in (0, 1):
            seen = [qmp.command(name, path=path, queue=queue)
                    for name in ("query-virtqueue-trace", "query-virtqueue-elements",
                                 "query-virtqueue-inflight")]
            seen = str(seen + [qmp.command("x-query-virtio-queue-element", path=path, queue=queue,
                                           index=0)])
            assert key.decode() not in seen and key.hex() not in seen


def test_short_requests(start, way):
    """On either queue, cut anywhere, with no room, some or enough: answered, and it goes on."""
    host = start("virtio-crypto,id=c")
    with way.connect(host.socket("c"), queues=2, features=~(F_REVISION_1 | F_STATELESS)) as front:
        driver = Crypto(front, indirect=way.indirect)
        status, session = driver.create_cipher(AES_CBC, KEY)
        whole = driver.cipher_bytes(session, IV, PLAIN)
        made = struct.pack("<6I", 2, AES_CBC, 0, 0, AES_CBC, 16) + struct.pack("<II", 1, 0)
        made = made.ljust(64, b"\0") + struct.pack("<II", 1, 0) + KEY
        for cut in (1, 15, 16, 23, 24, 71, 72, 87):
            for room in (1, 16, 65):
                answer, used = driver.finish(driver.start(0, whole[:cut], room))
                assert answer[-1] == ERR and used <= 1
            answer, used = driver.finish(driver.start(1, made[:cut], 16))
            assert (struct.unpack("<QII", answer), used) == ((0, ERR, 0), 16)
        answer, used = driver.finish(driver.start(1, made, 15))
        assert (answer, used) == (b"\xa5" * 15, 0)
        assert driver.cipher(session, IV, PLAIN) == (OK, CBC)
