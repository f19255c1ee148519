/* SPDX-License-Identifier: BSD-3-Clause */
/* UTF-8, one code point at a time (RFC 3629). Any thread. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

#define UTF8_MAX_BYTES 4
/* Stands for what is not UTF-8. */
#define UTF8_REPLACEMENT 0xfffdu

/*
 * The code point at the start of @bytes (@len of them) into @ret; its length in bytes, or 0 where
 * there is none: cut short, over-long, a surrogate, above U+10FFFF.
 */
size_t utf8_decode(const char *bytes, size_t len, unsigned int *ret);
/* Writes @c into @ret (UTF8_MAX_BYTES of room, no NUL); the number of bytes. */
size_t utf8_encode(unsigned int c, char *ret);

#endif
