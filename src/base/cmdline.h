/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Long options by table: parsed, defaulted and printed as help from the same rows. "--name VALUE"
 * and "--name=VALUE" mean the same; names are not abbreviated. Operands may stand between them,
 * and behind "--" all words are some.
 */
#ifndef BASE_CMDLINE_H
#define BASE_CMDLINE_H

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
	CMD_NUMBER, /* uint64_t, from 0 to max */
};

struct cmd_option {
	/* Without its dashes; NULL ends a table. "" is a list of the operands: without such a row
	 * there are none. */
	const char *name;
	enum cmd_kind kind;
	size_t offset; /* of the field in the struct */
	const char *arg; /* what help calls the value */
	const char *help; /* lines separated by '\n' */
	uint64_t max;
	char letter; /* 'o': -o means the same */
};

/*
 * Reads argv[1] and on into @base, by the NULL-ended list of tables. 0, or -EINVAL with a sentence.
 * *ret_help: --help or -h is among them; then nothing else counts.
 */
int cmd_parse(int argc, char **argv, const struct cmd_option *const *tables, void *base,
	bool *ret_help, struct err *err);
void cmd_print_options(FILE *file, const struct cmd_option *const *tables);
/* What a number of the command line says. -EINVAL with a sentence about @what. */
int cmd_parse_number(
	const char *what, const char *text, uint64_t max, uint64_t *ret, struct err *err);
void cmd_list_free(struct cmd_list *list);

#endif
