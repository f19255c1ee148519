/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys as they come from a driver: DER (ITU-T X.690), of which we look at lengths alone before the
 * library sees them. Only definite lengths in their shortest form, and no more than the bytes that
 * are there.
 */
#ifndef BACKENDS_CRYPTO_DER_H
#define BACKENDS_CRYPTO_DER_H

#include "backends/crypto.h"

enum { DER_INTEGER = 0x02, DER_OCTETS = 0x04, DER_SEQUENCE = 0x30 };

/* Takes the value of the next element, which has to be one of @tag, off @from. */
bool der_take(struct crypto_bytes *from, uint8_t tag, struct crypto_bytes *ret);
/* The same of a number that is not negative, without its leading zeros. */
bool der_take_number(struct crypto_bytes *from, struct crypto_bytes *ret);

/*
 * RFC 8017, A.1: an RSAPublicKey, or an RSAPrivateKey of two primes, and nothing behind it; no part
 * is longer than the modulus, which is odd and has at most @bits_max bits. Else the operations with
 * it would take as long as their author likes.
 */
bool der_is_rsa(const struct crypto_bytes *key, bool is_private, uint32_t bits_max);
/* RFC 5915: the number in an ECPrivateKey; what else it says of curves is not looked at. */
bool der_ec_private(const struct crypto_bytes *key, struct crypto_bytes *ret);

#endif
