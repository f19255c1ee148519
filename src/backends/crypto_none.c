/* SPDX-License-Identifier: BSD-3-Clause */
/* Built where libcrypto's headers are missing: it cannot be loaded, and so nothing else is asked.
 */
#include <errno.h>
#include <stdlib.h>

#include "backends/crypto_int.h"

int crypto_lib_load(struct err *err)
{
	return err_set(err, -ENOSYS, "this ringside was built without libcrypto");
}

int crypto_lib_chan_open(struct crypto_chan **ret, struct err *err)
{
	(void)ret;
	return crypto_lib_load(err);
}

void crypto_lib_chan_close(struct crypto_chan *chan)
{
	(void)chan;
}

enum crypto_status crypto_lib_cipher(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_bytes *iv, uint8_t *data, uint32_t len)
{
	(void)chan, (void)s, (void)iv, (void)data, (void)len;
	return CRYPTO_NOTSUPP;
}

enum crypto_status crypto_lib_aead(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op)
{
	(void)chan, (void)s, (void)op;
	return CRYPTO_NOTSUPP;
}

enum crypto_status crypto_lib_hash(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_bytes *first, const struct crypto_bytes *second, uint8_t *result,
	uint32_t result_len)
{
	(void)chan, (void)s, (void)first, (void)second, (void)result, (void)result_len;
	return CRYPTO_NOTSUPP;
}

enum crypto_status crypto_lib_key(struct crypto_session *s, const struct crypto_params *p)
{
	(void)s, (void)p;
	return CRYPTO_NOTSUPP;
}

void crypto_lib_key_free(struct crypto_session *s)
{
	(void)s;
}

enum crypto_status crypto_lib_akcipher(const struct crypto_session *s, struct crypto_op *op)
{
	(void)s, (void)op;
	return CRYPTO_NOTSUPP;
}
