/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs of `ringside info`: a row of a table each, from which its usage text is made too. */
#ifndef CLIENT_INFO_VERBS_H
#define CLIENT_INFO_VERBS_H

#include "client/session.h"
#include "client/show.h"

/* One call of a verb: what the user gave, and where the reply goes. */
struct info_call {
	struct session *session;
	struct show show;
	char *path; /* the PATH resolved; NULL where the verb has none */
	uint64_t queue, index;
	bool has_queue, has_index;
};

struct info_verb {
	const char *name;
	const char *operands; /* "", or " PATH", " PATH N", " PATH N [INDEX]", ...; in this order */
	const char *help; /* one line of the usage text */
	int min_operands, max_operands;
	const char *command; /* its arguments: path, queue and index, as the operands are given */
	void (*show)(const struct info_call *call, struct json_object *reply);
	bool wants_marks; /* show.sources is filled in */
	bool may_harm; /* on QEMU, as @harm; for verbs with a PATH */
	enum harm_query harm;
	bool is_list; /* the command is x-query-virtio: no devices is an empty list */
};

/* NULL where there is none of that name; then *err lists them (-EINVAL). */
const struct info_verb *info_verb_find(const char *name, struct err *err);
/* A line for each verb. */
void info_verbs_print_usage(void);

#endif
