# SPDX-License-Identifier: BSD-3-Clause
"""A driver of virtio-crypto: virtio 1.4, "Crypto Device". Sessions on the control queue, operations
on a data queue, in whichever layout the features choose."""
import struct

from lib.process import PATIENCE

CIPHER, HASH, MAC, AEAD, AKCIPHER = range(5)
OK, ERR, BADMSG, NOTSUPP, INVSESS, NOSPC, KEY_REJECTED = range(7)
F_REVISION_1, F_STATELESS = 1, 0x3e
AES_CBC, AES_CTR, SHA_256, HMAC_SHA_256, GCM, RSA = 3, 4, 4, 4, 1, 1
ENCRYPT, DECRYPT, SIGN, VERIFY = range(4)
CONFIG = struct.Struct("<12IQ")


class Crypto:
    """On a lib.vhost_user.Front; the control queue is the last one."""

    def __init__(self, front, queue=0, *, indirect=False):
        self.front, self.queue, self.indirect = front, queue, indirect
        self.control = front.num_queues - 1
        self.revision_1 = front.features & F_REVISION_1
        self.own = self.revision_1 and front.features & F_STATELESS

    def config(self):
        return CONFIG.unpack(self.front.get_config(0, CONFIG.size))

    # --- control ---

    def _control(self, opcode, fixed, variable, answer):
        head = struct.pack("<4I", opcode, 0, 0, 0)
        fixed = fixed if self.revision_1 else fixed.ljust(56, b"\0")
        return self._there_and_back(self.control, head + fixed + variable, answer)

    def _there_and_back(self, queue, readable, room, pieces=1):
        return self.finish(self.start(queue, readable, room, pieces))

    def start(self, queue, readable, room, pieces=1):
        """Queue the bytes, cut into so many pieces each, and kick; returns what finish() takes."""
        memory = self.front.memory
        source, target = memory.put(readable), memory.put(b"\xa5" * max(room, 1))
        step, back = -(-len(readable) // pieces), -(-room // pieces) or 1
        parts = [(source + at, min(step, len(readable) - at), False)
                 for at in range(0, len(readable), step)]
        parts += [(target + at, min(back, room - at), True) for at in range(0, room, back)]
        ring = self.front.queues[queue]
        chain = ring.ring.add(parts, indirect=self.indirect)
        ring.kick()
        return queue, chain, target, room

    def finish(self, request, timeout=PATIENCE):
        """Wait; all of the room, and the used length."""
        queue, chain, target, room = request
        used = self.front.queues[queue].wait([chain], timeout)[0]
        return self.front.memory.read(target, room), used.len

    def _create(self, opcode, fixed, variable):
        """The status and the session."""
        answer, length = self._control(opcode, fixed, variable, 16)
        assert length == 16, (length, answer)
        session, status, zero = struct.unpack("<QII", answer)
        assert not zero and bool(session) == (status == OK)
        return status, session

    def create_cipher(self, algo, key, decrypts=False):
        fixed = struct.pack("<4I", algo, len(key), 1 + decrypts, 0).ljust(48, b"\0")
        return self._create(CIPHER << 8 | 2, fixed + struct.pack("<II", 1, 0), key)

    def create_chain(self, algo, key, mac, auth_key, result, order=2, decrypts=False):
        fixed = struct.pack("<12I", order, 2, algo, len(key), 1 + decrypts, 0, mac, result,
                            len(auth_key), 0, 0, 0)
        return self._create(CIPHER << 8 | 2, fixed + struct.pack("<II", 2, 0), key + auth_key)

    def create_hash(self, algo, result):
        return self._create(HASH << 8 | 2, struct.pack("<II", algo, result), b"")

    def create_mac(self, algo, key, result):
        return self._create(MAC << 8 | 2, struct.pack("<4I", algo, result, len(key), 0), key)

    def create_aead(self, algo, key, tag=16, decrypts=False):
        return self._create(AEAD << 8 | 2, struct.pack("<6I", algo, len(key), tag, 0, 1 + decrypts,
                                                       0), key)

    def create_akcipher(self, key, private, padding=1, hash_algo=6):
        fixed = struct.pack("<5I", RSA, 1 + private, len(key), padding, hash_algo)
        return self._create(AKCIPHER << 8 | 4, fixed.ljust(56, b"\0"), key)

    def destroy(self, service, session):
        """The status."""
        opcode = service << 8 | (5 if service == AKCIPHER else 3)
        answer, length = self._control(opcode, struct.pack("<Q", session), b"", 1)
        assert length == 1
        return answer[0]

    # --- data ---

    def _data(self, opcode, session, fixed, variable, room, pieces):
        head = struct.pack("<IIQII", opcode, 0, session or 0, session is not None, 0)
        fixed = fixed if self.revision_1 else fixed.ljust(48, b"\0")
        answer, used = self._there_and_back(self.queue, head + fixed + variable, room + 1, pieces)
        if answer[-1] != OK:
            assert answer[:-1] in (b"\xa5" * room, b"\0" + b"\xa5" * (room - 1))
        return answer[-1], answer[:-1], used

    def cipher_bytes(self, session, iv, data, operation=ENCRYPT, algo=0, key=b""):
        """All that is readable of an operation; without a session it brings its key along."""
        lengths = struct.pack("<III", len(iv), len(data), len(data))
        if self.own:
            fixed = struct.pack("<III", algo, len(key), 1 + operation) + lengths
            fixed = fixed.ljust(72, b"\0") + struct.pack("<I", 1)
        else:
            fixed = lengths.ljust(40, b"\0") + struct.pack("<II", 1, 0)
        head = struct.pack("<IIQII", CIPHER << 8 | operation, 0, session or 0, session is not None,
                           0)
        return head + fixed + (key if session is None else b"") + iv + data

    def cipher(self, session, iv, data, *, pieces=1, **how):
        """The status and what the data became."""
        answer, used = self._there_and_back(
            self.queue, self.cipher_bytes(session, iv, data, **how), len(data) + 1, pieces)
        assert used == len(answer) if answer[-1] == OK else not data or used == 0
        return answer[-1], answer[:-1]

    def chain(self, session, iv, data, span, hashed, result, *, pieces=1):
        """Cipher the range `span` of the data and hash the range `hashed`, each a (start, length);
        the status, the data and the hash."""
        fixed = struct.pack("<10I", len(iv), len(data), len(data), *span, *hashed, 0, result, 0)
        if self.own:
            fixed = bytes(32) + fixed + struct.pack("<I", 2)
        else:
            fixed += struct.pack("<II", 2, 0)
        status, answer, _ = self._data(CIPHER << 8, session, fixed, iv + data, len(data) + result,
                                       pieces)
        return status, answer[:len(data)], answer[len(data):]

    def hash(self, session, data, result, *, service=HASH, algo=0, key=b"", pieces=1):
        lengths = struct.pack("<II", len(data), result)
        if self.own:
            fixed = struct.pack("<I", algo)
            fixed += struct.pack("<I", len(key)) + lengths if service == MAC else lengths + bytes(4)
        else:
            fixed = lengths
        return self._data(service << 8, session, fixed, (key if session is None else b"") + data,
                          result, pieces)[:2]

    def aead(self, session, iv, aad, data, room, *, operation=ENCRYPT, tag=16, algo=0, key=b"",
             pieces=1):
        if self.own:
            fixed = struct.pack("<8I", algo, len(key), 1 + operation, len(iv), tag, len(aad),
                                len(data), room)
        else:
            fixed = struct.pack("<6I", len(iv), len(aad), len(data), room, tag, 0)
        return self._data(AEAD << 8 | operation, session, fixed,
                          (key if session is None else b"") + iv + data + aad, room, pieces)[:2]

    def akcipher(self, session, operation, data, room, *, signed=b"", key=b"", private=True,
                 pieces=1):
        """The status and the result, as long as the device says that it is."""
        lengths = struct.pack("<II", len(data), len(signed) if operation == VERIFY else room)
        fixed = lengths
        if self.own:
            fixed = struct.pack("<5I", RSA, 1 + private, len(key), 1, 6) + lengths
        status, answer, used = self._data(AKCIPHER << 8 | operation, session, fixed,
                                          (key if session is None else b"") + data + signed,
                                          0 if operation == VERIFY else room, pieces)
        assert used >= 1
        return status, answer[:used - 1]
