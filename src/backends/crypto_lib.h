/* SPDX-License-Identifier: BSD-3-Clause */
/* The functions of libcrypto that we call, found when it was loaded. */
#ifndef BACKENDS_CRYPTO_LIB_H
#define BACKENDS_CRYPTO_LIB_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "backends/crypto_int.h"

#define CRYPTO_LIB_FUNCTIONS(X)              \
	X(ERR_clear_error)                   \
	X(EVP_CIPHER_fetch)                  \
	X(EVP_CIPHER_CTX_new)                \
	X(EVP_CIPHER_CTX_free)               \
	X(EVP_CIPHER_CTX_reset)              \
	X(EVP_CIPHER_CTX_ctrl)               \
	X(EVP_CIPHER_CTX_set_padding)        \
	X(EVP_CipherInit_ex2)                \
	X(EVP_CipherUpdate)                  \
	X(EVP_CipherFinal_ex)                \
	X(EVP_MD_fetch)                      \
	X(EVP_MD_CTX_new)                    \
	X(EVP_MD_CTX_free)                   \
	X(EVP_MD_CTX_reset)                  \
	X(EVP_DigestInit_ex2)                \
	X(EVP_DigestUpdate)                  \
	X(EVP_DigestFinal_ex)                \
	X(EVP_DigestFinalXOF)                \
	X(EVP_MAC_fetch)                     \
	X(EVP_MAC_CTX_new)                   \
	X(EVP_MAC_CTX_free)                  \
	X(EVP_MAC_init)                      \
	X(EVP_MAC_update)                    \
	X(EVP_MAC_final)                     \
	X(OSSL_PARAM_construct_utf8_string)  \
	X(OSSL_PARAM_construct_octet_string) \
	X(OSSL_PARAM_construct_BN)           \
	X(OSSL_PARAM_construct_end)          \
	X(BN_bin2bn)                         \
	X(BN_bn2nativepad)                   \
	X(BN_clear_free)                     \
	X(d2i_PrivateKey)                    \
	X(d2i_PublicKey)                     \
	X(EVP_PKEY_free)                     \
	X(EVP_PKEY_get_bits)                 \
	X(EVP_PKEY_fromdata_init)            \
	X(EVP_PKEY_fromdata)                 \
	X(EVP_PKEY_CTX_new_from_name)        \
	X(EVP_PKEY_CTX_new_from_pkey)        \
	X(EVP_PKEY_CTX_free)                 \
	X(EVP_PKEY_CTX_set_rsa_padding)      \
	X(EVP_PKEY_CTX_set_signature_md)     \
	X(EVP_PKEY_encrypt_init)             \
	X(EVP_PKEY_encrypt)                  \
	X(EVP_PKEY_decrypt_init)             \
	X(EVP_PKEY_decrypt)                  \
	X(EVP_PKEY_sign_init)                \
	X(EVP_PKEY_sign)                     \
	X(EVP_PKEY_verify_init)              \
	X(EVP_PKEY_verify)

struct crypto_lib {
#define CRYPTO_LIB_MEMBER(name) __typeof__(name) *name;
	CRYPTO_LIB_FUNCTIONS(CRYPTO_LIB_MEMBER)
#undef CRYPTO_LIB_MEMBER
	EVP_MAC *hmac, *cmac;
};

extern struct crypto_lib crypto_lib;

struct crypto_chan {
	EVP_CIPHER_CTX *cipher;
	EVP_MD_CTX *hash;
};

#endif
