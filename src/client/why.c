/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `ringside why`: one verdict a queue, as query-virtqueue-health has it. Where nobody has watched
 * the queues so far, as on a relay, it asks twice, for standing still takes time to see. Needs a
 * monitor of ours: QEMU's does not know.
 */
#include "client/why.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/session.h"
#include "client/show.h"

#define PROGRAM "ringside why"
/* Beyond the threshold: the watch looks a few times a second. */
#define SPARE_MS    600
#define WAIT_MAX_MS 60000

struct why {
	struct session session;
	struct cmd_list operands;
	const char *word; /* PATH as it was given; NULL: all */
	char *path;
	bool json, no_wait;
	struct text_out out;
};

#define FIELD(name) offsetof(struct why, name)

static const struct cmd_option options[] = {
	{ "json", CMD_FLAG, FIELD(json), NULL, "print the reply as it came, one JSON document" },
	{ "no-wait", CMD_FLAG, FIELD(no_wait), NULL,
		"do not look a second time where nobody watched before" },
	{ "", CMD_LIST, FIELD(operands) },
	{ NULL },
};

static const struct cmd_option *const tables[] = { session_options, options,
	session_timeout_options, NULL };

static int check(void *base, struct err *err)
{
	struct why *why = base;

	if (why->operands.num > 1)
		return err_set(
			err, -EINVAL, "expected one PATH at most, got %zu", why->operands.num);
	if (why->operands.num)
		why->word = why->operands.values[0];
	return 0;
}

static const struct session_command command = {
	.program = PROGRAM,
	.tables = tables,
	.usage = "Usage: " PROGRAM " [OPTION]... [PATH]\n"
		 "Says of each queue of a device, or of all devices, why it stands still, or that "
		 "it "
		 "does not.\n"
		 "PATH is one of 'ringside info virtio', or a part of it that fits one device "
		 "only.\n",
	.check = check,
};

/* --- asking --- */

static int ask(struct why *why, struct json_object **ret, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = why->path ? session_path_argument(why->path)
								  : NULL;
	int r = session_execute(&why->session, "query-virtqueue-health", arguments, ret, err);

	if (r == 0 && !json_object_is_type(*ret, json_type_array))
		return err_set(err, -EPROTO, "the reply to 'query-virtqueue-health' is no list");
	return r;
}

/* Somebody may wait there, and nobody has looked long enough to say so. */
static bool is_open(struct json_object *entry)
{
	struct json_object *evidence = NULL;

	if (!json_object_object_get_ex(entry, "queue", NULL) ||
		!json_object_object_get_ex(entry, "evidence", &evidence))
		return false;
	return !json_object_object_get_ex(evidence, "still-ns", NULL);
}

static bool any_open(struct json_object *reply)
{
	for (size_t i = 0; i < json_object_array_length(reply); i++)
		if (is_open(json_object_array_get_idx(reply, i)))
			return true;
	return false;
}

/* How long until a second look can tell, in milliseconds; 0: never. */
static uint64_t wait_ms(struct why *why)
{
	_cleanup_value_ struct json_object *reply = NULL;
	struct json_object *threshold = NULL;
	struct err ignored;
	uint64_t ms;

	if (qmp_client_execute(
		    why->session.client, "query-virtqueue-watch", NULL, &reply, &ignored) < 0 ||
		!json_object_object_get_ex(reply, "threshold-ms", &threshold))
		return 0;
	ms = json_object_get_uint64(threshold);
	return ms ? MIN(ms + SPARE_MS, (uint64_t)WAIT_MAX_MS) : 0;
}

static int ask_until_known(struct why *why, struct json_object **ret, struct err *err)
{
	struct timespec ts;
	uint64_t ms;
	int r = ask(why, ret, err);

	if (r < 0 || why->no_wait || !any_open(*ret))
		return r;
	ms = wait_ms(why);
	if (!ms)
		return 0;
	ts = (struct timespec){ (time_t)(ms / 1000), (long)(ms % 1000 * NSEC_PER_MSEC) };
	nanosleep(&ts, NULL);
	json_object_put(*ret);
	*ret = NULL;
	return ask(why, ret, err);
}

/* --- showing --- */

static enum text_style style_of(const char *severity)
{
	if (!strcmp(severity, "stuck"))
		return TEXT_BAD;
	return strcmp(severity, "ok") ? TEXT_BOLD : TEXT_GOOD;
}

static void show_entry(const struct why *why, struct json_object *entry)
{
	const char *severity = show_member(entry, "severity");

	text_print(&why->out, TEXT_PLAIN, "  ");
	if (json_object_object_get_ex(entry, "queue", NULL))
		text_print(&why->out, TEXT_PLAIN, "queue %s  ", show_member(entry, "queue"));
	if (json_object_object_get_ex(entry, "role", NULL))
		text_print(&why->out, TEXT_DIM, "%s  ", show_member(entry, "role"));
	text_print(&why->out, style_of(severity), "%s", severity);
	text_line(&why->out, TEXT_BOLD, "  %s", show_member(entry, "verdict"));
	text_line(&why->out, TEXT_PLAIN, "    %s", show_member(entry, "sentence"));
	if (json_object_object_get_ex(entry, "advice", NULL))
		text_line(&why->out, TEXT_PLAIN, "    -> %s", show_member(entry, "advice"));
}

static bool same_device(struct json_object *a, struct json_object *b)
{
	return a && !strcmp(show_member(a, "path"), show_member(b, "path"));
}

static void show(const struct why *why, struct json_object *reply)
{
	struct json_object *before = NULL;

	for (size_t i = 0; i < json_object_array_length(reply); i++) {
		struct json_object *entry = json_object_array_get_idx(reply, i);

		if (!same_device(before, entry)) {
			text_print(&why->out, TEXT_BOLD, "%s", show_member(entry, "path"));
			text_line(&why->out, TEXT_DIM, "  %s", show_member(entry, "name"));
		}
		show_entry(why, entry);
		before = entry;
	}
	if (!before)
		text_line(&why->out, TEXT_PLAIN, "no virtio devices");
}

static int run(struct why *why, struct err *err)
{
	_cleanup_value_ struct json_object *reply = NULL;
	int r = why->word ? session_resolve(&why->session, why->word, &why->path, err) : 0;

	if (!r)
		r = ask_until_known(why, &reply, err);
	if (r < 0)
		return r;
	if (why->json) {
		_cleanup_free_ char *line = value_to_text(reply, NULL);

		puts(line);
		return 0;
	}
	show(why, reply);
	return 0;
}

int client_why_main(int argc, char **argv)
{
	struct why why = { 0 };
	struct err err = { 0 };
	int r;

	if (session_parse(&command, argc, argv, &why, &r)) {
		r = session_open(&why.session, &err);
		if (r == 0) {
			text_out_init(&why.out, stdout);
			r = run(&why, &err);
			session_close(&why.session);
		}
		r = session_finish(PROGRAM, r, &err);
	}
	free(why.path);
	cmd_list_free(&why.operands);
	return r;
}
