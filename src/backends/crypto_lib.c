/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds libcrypto and what of the table of algorithms it has: a host's policy may leave some of
 * them out. The library stays loaded. What it did not like it keeps in a list of the thread's,
 * which is emptied: a status is all that becomes of it.
 */
#include "backends/crypto_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct crypto_lib crypto_lib;

static int find_functions(void *handle, struct err *err)
{
	static const struct {
		const char *name;
		void *place;
	} symbols[] = {
#define CRYPTO_LIB_SYMBOL(name) { #name, &crypto_lib.name },
		CRYPTO_LIB_FUNCTIONS(CRYPTO_LIB_SYMBOL)
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *found = dlsym(handle, symbols[i].name);

		if (!found)
			return err_set(err, -ENOSYS,
				"virtio-crypto needs libcrypto of OpenSSL 3: this one has no %s",
				symbols[i].name);
		memcpy(symbols[i].place, &found, sizeof(found));
	}
	return 0;
}

static void *fetch(const struct crypto_algo *a)
{
	EVP_CIPHER *cipher;
	EVP_MD *hash;

	switch ((enum crypto_kind)a->kind) {
	case KIND_HMAC:
		hash = crypto_lib.hmac ? crypto_lib.EVP_MD_fetch(NULL, a->name, NULL) : NULL;
		return hash ? crypto_lib.hmac : NULL;
	case KIND_CMAC:
		cipher = crypto_lib.cmac ? crypto_lib.EVP_CIPHER_fetch(NULL, a->name, NULL) : NULL;
		return cipher ? crypto_lib.cmac : NULL;
	case KIND_HASH:
	case KIND_XOF: return crypto_lib.EVP_MD_fetch(NULL, a->name, NULL);
	default: return crypto_lib.EVP_CIPHER_fetch(NULL, a->name, NULL);
	}
}

int crypto_lib_load(struct err *err)
{
	static bool loaded;
	struct crypto_algo *a;
	void *handle;
	int r;

	if (loaded)
		return 0;
	handle = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return err_set(err, -ENOENT,
			"virtio-crypto needs OpenSSL's libcrypto (package libssl3): %s", dlerror());
	r = find_functions(handle, err);
	if (r < 0) {
		dlclose(handle);
		return r;
	}
	crypto_lib.hmac = crypto_lib.EVP_MAC_fetch(NULL, "HMAC", NULL);
	crypto_lib.cmac = crypto_lib.EVP_MAC_fetch(NULL, "CMAC", NULL);
	for (a = crypto_algo_table; a->name; a++)
		a->lib = fetch(a);
	crypto_lib.ERR_clear_error();
	loaded = true;
	return 0;
}

int crypto_lib_chan_open(struct crypto_chan **ret, struct err *err)
{
	struct crypto_chan *chan = xnew(struct crypto_chan);

	chan->cipher = crypto_lib.EVP_CIPHER_CTX_new();
	chan->hash = crypto_lib.EVP_MD_CTX_new();
	if (!chan->cipher || !chan->hash) {
		crypto_lib_chan_close(chan);
		return err_set(err, -ENOMEM, "libcrypto has no memory for a channel");
	}
	*ret = chan;
	return 0;
}

void crypto_lib_chan_close(struct crypto_chan *chan)
{
	crypto_lib.EVP_CIPHER_CTX_free(chan->cipher);
	crypto_lib.EVP_MD_CTX_free(chan->hash);
	free(chan);
}
