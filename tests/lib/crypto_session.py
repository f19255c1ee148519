# SPDX-License-Identifier: BSD-3-Clause
"""Sessions of a crypto device by vhost-user message, as QEMU's cryptodev-vhost-user makes them, and
requests that name them.

    with CryptoFront(host.socket("c0")) as front:
        id = front.create(session(KEY, ENCRYPT)); front.crypt(id, OP_ENCRYPT, IV, PLAIN)
"""
import struct

from lib.process import PATIENCE
from lib.vhost_user import F_PROTOCOL, Front, Req

AES_CBC = 3
ENCRYPT, DECRYPT = 1, 2
OP_ENCRYPT, OP_DECRYPT = 0, 1
OK, ERR, BADMSG, NOTSUPP, INVSESS = range(5)
CIPHER_SESSION, AKCIPHER_SESSION = 0x002, 0x404
BYTES, BYTES2, PUBLIC = 632, 1072, 40
# The front-end's own pointers: nobody else's business.
POINTERS = 0x7fff11112222, 0x7fff33334444

# NIST SP 800-38A, F.2.1
IV = bytes(range(16))
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
PLAIN = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
CIPHER = bytes.fromhex("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2")


def _setup(key, direction, cipher=AES_CBC, op_type=1, auth_key=b"", key_bytes=None,
           auth_key_bytes=None, hash_algo=0, hash_mode=0, order=0, result=0, aad=0):
    return struct.pack(
        "<IIIIIIBBBBIQQ", cipher, len(key) if key_bytes is None else key_bytes, hash_algo, result,
        len(auth_key) if auth_key_bytes is None else auth_key_bytes, aad, op_type, direction,
        hash_mode, order, 0, *POINTERS) + key.ljust(64, b"\0") + auth_key.ljust(512, b"\0")


def session(key=KEY, direction=ENCRYPT, **how):
    """The form of QEMU 7.1 to 8.0."""
    return struct.pack("<q", 0) + _setup(key, direction, **how)


def session2(key=KEY, direction=ENCRYPT, *, op_code=CIPHER_SESSION, **how):
    """The form of QEMU since 8.1."""
    return (struct.pack("<Q", op_code) + _setup(key, direction, **how)).ljust(BYTES2, b"\0")


def key_session2(key, algo=1, key_type=2, padding=0, hash_algo=0, key_bytes=None):
    """The same of a key in two halves."""
    setup = struct.pack("<IIIIQII", algo, key_type, len(key) if key_bytes is None else key_bytes,
                        0, POINTERS[0], padding, hash_algo)
    return (struct.pack("<Q", AKCIPHER_SESSION) + setup + key).ljust(BYTES2, b"\0")


class CryptoFront(Front):
    """As QEMU 7.2 does it: no feature but the one for protocol features, no ring is ever enabled,
    and every chain goes by an indirect table. enable=True does it by the document."""

    def __init__(self, path, *, enable=False, features=F_PROTOCOL, **how):
        self._enables = enable
        super().__init__(path, features=features, **how)

    def set_vring_enable(self, index, enable=1, **how):
        if self._enables or not enable:
            super().set_vring_enable(index, enable, **how)

    def create(self, payload):
        """A session's number; negative where there is none."""
        reply = self.get(Req.CREATE_CRYPTO_SESSION, payload)
        assert len(reply) == len(payload), f"{len(reply)} bytes for {len(payload)}"
        at = 0 if len(payload) == BYTES else BYTES2 - 8
        number = struct.unpack_from("<q", reply, at)[0]
        # No key comes back, and no pointer.
        assert not any(reply[PUBLIC:at or None]), "bytes behind the public ones"
        return number

    def close_session(self, number, **how):
        self.set(Req.CLOSE_CRYPTO_SESSION, struct.pack("<Q", number), **how)

    def crypt(self, number, opcode, iv, data, *, queue=0, indirect=True, timeout=PATIENCE):
        """(status, bytes) of one request of the fixed layout."""
        head = struct.pack("<IIQII", opcode, AES_CBC, number, 0, 0) + \
            struct.pack("<IIII", len(iv), len(data), len(data), 0) + bytes(24) + \
            struct.pack("<II", 1, 0)
        memory = self.memory
        out, status = memory.put(bytes(len(data) or 1)), memory.put(b"\xff")
        self.request(queue, [(memory.put(head), len(head), False), (memory.put(iv), len(iv), False),
                             (memory.put(data), len(data), False), (out, len(data), True),
                             (status, 1, True)], indirect=indirect, timeout=timeout)
        return memory.read(status, 1)[0], memory.read(out, len(data))
