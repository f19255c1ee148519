/* SPDX-License-Identifier: BSD-3-Clause */
/* Options by table. Refuses what no table has, a value that is missing, and one that is too much.
 */
#include "base/cmdline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define HELP_COLUMN 28

/* --name, or -l; "" is the row of operands. */
static bool is_called(const struct cmd_option *o, const char *word, size_t len)
{
	if (word[0] != '-' || !word[1])
		return !o->name[0];
	if (word[1] != '-')
		return len == 2 && o->letter == word[1];
	return o->name[0] && strlen(o->name) == len - 2 && !memcmp(o->name, word + 2, len - 2);
}

static const struct cmd_option *find(
	const struct cmd_option *const *tables, const char *word, size_t len)
{
	for (; *tables; tables++) {
		for (const struct cmd_option *o = *tables; o->name; o++) {
			if (is_called(o, word, len))
				return o;
		}
	}
	return NULL;
}

/* A sentence about @word, which no table has. */
static int complain(const struct cmd_option *const *tables, const char *word, struct err *err)
{
	char known[sizeof(err->msg)];
	size_t n = 0;

	if (word[0] != '-' || !word[1])
		return err_set(err, -EINVAL, "unexpected argument '%s'", word);
	for (; *tables; tables++) {
		for (const struct cmd_option *o = *tables; o->name; o++) {
			if (o->name[0] && n < sizeof(known))
				n += (size_t)snprintf(known + n, sizeof(known) - n, "%s--%s",
					n ? ", " : "", o->name);
		}
	}
	return err_set(err, -EINVAL, "there is no option '%.*s'; it takes: %s",
		(int)strcspn(word, "="), word, known);
}

int cmd_parse_number(
	const char *what, const char *text, uint64_t max, uint64_t *ret, struct err *err)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n > max)
		return err_set(
			err, -EINVAL, "%s '%s' is no number from 0 to %" PRIu64, what, text, max);
	*ret = n;
	return 0;
}

static int store(const struct cmd_option *option, void *base, char *value, struct err *err)
{
	void *field = (char *)base + option->offset;
	struct cmd_list *list = field;
	char what[64];

	switch (option->kind) {
	case CMD_FLAG: *(bool *)field = true; break;
	case CMD_STRING: *(char **)field = value; break;
	case CMD_LIST:
		list->values = xreallocarray(list->values, list->num + 1, sizeof(char *));
		list->values[list->num++] = value;
		break;
	case CMD_NUMBER:
		snprintf(what, sizeof(what), "--%s", option->name);
		return cmd_parse_number(what, value, option->max, field, err);
	}
	return 0;
}

/* Behind '=', or the word that follows, where the option takes one. */
static int find_value(
	const struct cmd_option *option, char **words, int num, char **ret, struct err *err)
{
	char *equals = strchr(words[0], '=');

	*ret = NULL;
	if (option->kind == CMD_FLAG)
		return equals ? err_set(err, -EINVAL, "option '--%s' takes no value", option->name)
			      : 0;
	if (equals) {
		*ret = equals + 1;
		return 0;
	}
	if (num < 2)
		return err_set(
			err, -EINVAL, "option '--%s' needs a value: %s", option->name, option->arg);
	*ret = words[1];
	return 1;
}

static bool asks_for_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

/* Options and operands; how many words it took, or -EINVAL. */
static int take(const struct cmd_option *const *tables, char **words, int num, bool all_operands,
	void *base, struct err *err)
{
	const char *word = all_operands ? "" : words[0];
	const struct cmd_option *option = find(tables, word, strcspn(word, "="));
	char *value = words[0];
	int more = 0, r;

	if (!option)
		return complain(tables, words[0], err);
	if (option->name[0])
		more = find_value(option, words, num, &value, err);
	if (more < 0)
		return more;
	r = store(option, base, value, err);
	return r < 0 ? r : 1 + more;
}

int cmd_parse(int argc, char **argv, const struct cmd_option *const *tables, void *base,
	bool *ret_help, struct err *err)
{
	bool all_operands = false;
	int i = 1, r;

	*ret_help = false;
	while (i < argc) {
		if (!all_operands && asks_for_help(argv[i])) {
			*ret_help = true;
			return 0;
		}
		if (!all_operands && !strcmp(argv[i], "--")) {
			all_operands = true;
			i++;
			continue;
		}
		r = take(tables, argv + i, argc - i, all_operands, base, err);
		if (r < 0)
			return r;
		i += r;
	}
	return 0;
}

static void print_option(FILE *file, const struct cmd_option *option)
{
	const char letter[] = { '-', option->letter, ',', ' ', '\0' };
	int n = fprintf(file, "  %s--%s%s%s", option->letter ? letter : "", option->name,
		option->arg ? " " : "", option->arg ? option->arg : "");

	/* A long name has its own line. */
	if (n >= HELP_COLUMN) {
		fputc('\n', file);
		n = 0;
	}
	for (const char *line = option->help; *line;) {
		size_t len = strcspn(line, "\n");

		fprintf(file, "%*s%.*s\n", HELP_COLUMN - n, "", (int)len, line);
		line += len + (line[len] == '\n');
		n = 0;
	}
}

void cmd_print_options(FILE *file, const struct cmd_option *const *tables)
{
	for (; *tables; tables++) {
		for (const struct cmd_option *o = *tables; o->name; o++) {
			if (o->name[0])
				print_option(file, o);
		}
	}
	fprintf(file, "  -h, --help%*sthis text\n", HELP_COLUMN - 12, "");
}

void cmd_list_free(struct cmd_list *list)
{
	free(list->values);
	*list = (struct cmd_list){ 0 };
}
