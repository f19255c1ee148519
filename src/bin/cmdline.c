/* SPDX-License-Identifier: BSD-3-Clause */
/* Options by table. Refuses what no table has, a value that is missing, and one that is too much.
 */
#include "bin/cmdline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define HELP_COLUMN 28

static const struct cmd_option *find(
	const struct cmd_option *const *tables, const char *name, size_t len)
{
	for (; *tables; tables++) {
		for (const struct cmd_option *o = *tables; o->name; o++) {
			if (strlen(o->name) == len && !memcmp(o->name, name, len))
				return o;
		}
	}
	return NULL;
}

static void store(const struct cmd_option *option, void *base, char *value)
{
	void *field = (char *)base + option->offset;
	struct cmd_list *list = field;

	switch (option->kind) {
	case CMD_FLAG: *(bool *)field = true; break;
	case CMD_STRING: *(char **)field = value; break;
	case CMD_LIST:
		list->values = xreallocarray(list->values, list->num + 1, sizeof(char *));
		list->values[list->num++] = value;
		break;
	}
}

static bool asks_for_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

int cmd_parse(int argc, char **argv, const struct cmd_option *const *tables, void *base,
	bool *ret_help, struct err *err)
{
	*ret_help = false;
	for (int i = 1; i < argc; i++) {
		const struct cmd_option *option;
		char *word = argv[i], *value;

		if (asks_for_help(word)) {
			*ret_help = true;
			return 0;
		}
		if (strncmp(word, "--", 2) != 0)
			return err_set(err, -EINVAL, "unexpected argument '%s'", word);
		value = strchr(word, '=');
		option = find(
			tables, word + 2, value ? (size_t)(value - word) - 2 : strlen(word + 2));
		if (!option)
			return err_set(err, -EINVAL, "there is no option '%.*s'",
				value ? (int)(value - word) : (int)strlen(word), word);
		if (option->kind == CMD_FLAG && value)
			return err_set(err, -EINVAL, "option '--%s' takes no value", option->name);
		if (value)
			value++;
		else if (option->kind != CMD_FLAG && ++i < argc)
			value = argv[i];
		if (option->kind != CMD_FLAG && !value)
			return err_set(err, -EINVAL, "option '--%s' needs a value: %s",
				option->name, option->arg);
		store(option, base, value);
	}
	return 0;
}

static void print_option(FILE *file, const struct cmd_option *option)
{
	int n = fprintf(file, "  --%s%s%s", option->name, option->arg ? " " : "",
		option->arg ? option->arg : "");

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
		for (const struct cmd_option *o = *tables; o->name; o++)
			print_option(file, o);
	}
	fprintf(file, "  -h, --help%*sthis text\n", HELP_COLUMN - 12, "");
}

void cmd_list_free(struct cmd_list *list)
{
	free(list->values);
	*list = (struct cmd_list){ 0 };
}
