/* SPDX-License-Identifier: BSD-3-Clause */
/* Tag, length, value, for the three kinds of elements that keys have. */
#include "backends/crypto_der.h"

#include <string.h>

static bool take_byte(struct crypto_bytes *from, uint8_t *ret)
{
	if (!from->len)
		return false;
	*ret = *from->at++;
	from->len--;
	return true;
}

static bool take_length(struct crypto_bytes *from, uint32_t *ret)
{
	uint8_t first, byte;
	unsigned int i, n;

	if (!take_byte(from, &first))
		return false;
	*ret = first;
	if (first < 0x80)
		return true;
	/* A key of ours has less than 64 KiB. */
	n = first & 0x7f;
	if (n != 1 && n != 2)
		return false;
	for (i = 0, *ret = 0; i < n; i++) {
		if (!take_byte(from, &byte))
			return false;
		*ret = *ret << 8 | byte;
	}
	return *ret >= (n == 1 ? 0x80u : 0x100u);
}

bool der_take(struct crypto_bytes *from, uint8_t tag, struct crypto_bytes *ret)
{
	struct crypto_bytes rest = *from;
	uint32_t len;
	uint8_t found;

	if (!take_byte(&rest, &found) || found != tag || !take_length(&rest, &len) ||
		len > rest.len)
		return false;
	*ret = (struct crypto_bytes){ rest.at, len };
	*from = (struct crypto_bytes){ rest.at + len, rest.len - len };
	return true;
}

bool der_take_number(struct crypto_bytes *from, struct crypto_bytes *ret)
{
	if (!der_take(from, DER_INTEGER, ret) || !ret->len || ret->at[0] & 0x80)
		return false;
	while (ret->len > 1 && !ret->at[0]) {
		ret->at++;
		ret->len--;
	}
	return true;
}

bool der_is_rsa(const struct crypto_bytes *key, bool is_private, uint32_t bits_max)
{
	struct crypto_bytes whole = *key, body, modulus, part;
	/* Version, modulus, exponents, primes, exponents of these, coefficient. */
	unsigned int i, num = is_private ? 7 : 1;

	if (!der_take(&whole, DER_SEQUENCE, &body) || whole.len)
		return false;
	if (is_private && (!der_take_number(&body, &part) || part.len != 1 || part.at[0]))
		return false;
	if (!der_take_number(&body, &modulus) || modulus.len > bits_max / 8 ||
		!(modulus.at[modulus.len - 1] & 1))
		return false;
	for (i = 0; i < num; i++)
		if (!der_take_number(&body, &part) || part.len > modulus.len)
			return false;
	return !body.len;
}

bool der_ec_private(const struct crypto_bytes *key, struct crypto_bytes *ret)
{
	struct crypto_bytes whole = *key, body, version;

	return der_take(&whole, DER_SEQUENCE, &body) && !whole.len &&
	       der_take_number(&body, &version) && version.len == 1 && version.at[0] == 1 &&
	       der_take(&body, DER_OCTETS, ret) && ret->len;
}
