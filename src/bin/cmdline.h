/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Long options by table: parsed, defaulted and printed as help from the same rows. "--name VALUE"
 * and
 * "--name=VALUE" mean the same; names are not abbreviated.
 */
#ifndef BIN_CMDLINE_H
#define BIN_CMDLINE_H

#include <stdio.h>

#include "base/err.h"
#include "base/util.h"

/* Values of an option that may be given again and again. */
struct cmd_list {
	char **values; /* point into argv */
	size_t num;
};

enum cmd_kind {
	CMD_FLAG, /* bool */
	CMD_STRING, /* const char *, into argv; the last one counts */
	CMD_LIST, /* struct cmd_list */
};

struct cmd_option {
	const char *name; /* without its dashes; NULL ends a table */
	enum cmd_kind kind;
	size_t offset; /* of the field in the struct */
	const char *arg; /* what help calls the value */
	const char *help; /* lines separated by '\n' */
};

/*
 * Reads argv[1] and on into @base, by the NULL-ended list of tables. 0, or -EINVAL with a sentence.
 * *ret_help: --help or -h is among them; then nothing else counts.
 */
int cmd_parse(int argc, char **argv, const struct cmd_option *const *tables, void *base,
	bool *ret_help, struct err *err);
void cmd_print_options(FILE *file, const struct cmd_option *const *tables);
void cmd_list_free(struct cmd_list *list);

#endif
