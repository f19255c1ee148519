/* SPDX-License-Identifier: BSD-3-Clause */
/* Cuts a line of the human monitor into words and numbers. Sentences are those of QEMU's monitor.
 */
#ifndef MONITOR_HMP_WORDS_H
#define MONITOR_HMP_WORDS_H

#include "base/err.h"
#include "base/util.h"

/* Moves *@at to the next word, or to the end of the line; false: to its end. */
bool hmp_word_more(const char **at);
/*
 * The next word, up to white space or, in double quotes, up to the other quote, with \n, \r, \\, \'
 * and \" inside. 0: *ret is the caller's to free. -ENOENT: there is none. -EINVAL with a sentence.
 */
int hmp_word_string(const char **at, char **ret, struct err *err);
/*
 * The next number: decimal, 0x... or 0..., of 32 bits without a sign. 0, or -EINVAL with a sentence
 * that names @command where QEMU's does.
 */
int hmp_word_number(const char **at, const char *command, uint32_t *ret, struct err *err);

#endif
