/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads numbers only, no expressions: nothing here has a register or an address to add to. */
#include "monitor/hmp_words.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static bool is_space(char c)
{
	return isspace((unsigned char)c);
}

bool hmp_word_more(const char **at)
{
	while (is_space(**at))
		(*at)++;
	return **at;
}

/* What stands behind a backslash, or 0. */
static char unescape(char c)
{
	static const char from[] = "nr\\'\"", to[] = "\n\r\\'\"";
	const char *found = c ? strchr(from, c) : NULL;

	return found ? to[found - from] : 0;
}

/* Behind the opening quote. */
static int read_quoted(const char **at, char *word, struct err *err)
{
	size_t len = 0;

	for (; **at && **at != '"'; (*at)++) {
		word[len] = **at;
		if (**at == '\\') {
			(*at)++;
			word[len] = unescape(**at);
			if (!word[len] && **at)
				return err_set(
					err, -EINVAL, "unsupported escape code: '\\%c'", **at);
			if (!word[len])
				break;
		}
		len++;
	}
	word[len] = '\0';
	if (**at != '"')
		return err_set(err, -EINVAL, "unterminated string");
	(*at)++;
	return 0;
}

int hmp_word_string(const char **at, char **ret, struct err *err)
{
	_cleanup_free_ char *word = NULL;
	size_t len = 0;

	if (!hmp_word_more(at))
		return -ENOENT;
	if (**at == '"') {
		(*at)++;
		word = xcalloc(strlen(*at) + 1, 1);
		if (read_quoted(at, word, err) < 0)
			return -EINVAL;
	} else {
		while ((*at)[len] && !is_space((*at)[len]))
			len++;
		word = xstrndup(*at, len);
		*at += len;
	}
	*ret = take_ptr(word);
	return 0;
}

int hmp_word_number(const char **at, const char *command, uint32_t *ret, struct err *err)
{
	bool has_sign;
	unsigned long long n;
	char *end;

	if (!hmp_word_more(at))
		return err_set(err, -EINVAL, "unexpected end of expression");
	has_sign = **at == '-' || **at == '+';
	if (!(*at)[has_sign])
		return err_set(err, -EINVAL, "unexpected end of expression");
	if (!isdigit((unsigned char)(*at)[has_sign]))
		return err_set(err, -EINVAL, "invalid char '%c' in expression", (*at)[has_sign]);
	errno = 0;
	n = strtoull(*at + has_sign, &end, 0);
	if (errno)
		return err_set(err, -EINVAL, "number too large");
	if (n > UINT32_MAX || (n && **at == '-'))
		return err_set(
			err, -EINVAL, "'%s' has failed: integer is for 32-bit values", command);
	*at = end;
	*ret = (uint32_t)n;
	return 0;
}
