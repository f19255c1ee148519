/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues are counted to a thread by its number, which the built-in thread has too. */
#include "client/iothreads.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"

/* Text that grows, and is limited by the replies it comes from. */
static void append(char **text, const char *separator, const char *more)
{
	_cleanup_free_ char *old = *text;

	*text = old && *old ? xasprintf("%s%s%s", old, separator, more) : xstrdup(more);
}

static struct json_object *at(struct json_object *list, size_t i)
{
	return json_object_array_get_idx(list, i);
}

static size_t length(struct json_object *list)
{
	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

/* An object: "PATH" is the reply of query-virtio-queue-threads. NULL where nobody tells. */
static struct json_object *ask(const struct show *show, struct qmp_client *client)
{
	_cleanup_value_ struct json_object *list = NULL;
	struct json_object *served;
	struct err ignored;

	if (show->is_qemu ||
		qmp_client_execute(client, "x-query-virtio", NULL, &list, &ignored) < 0)
		return NULL;
	served = json_object_new_object();
	for (size_t i = 0; i < length(list); i++) {
		_cleanup_value_ struct json_object *arguments = json_object_new_object();
		const char *path = show_member(at(list, i), "path");
		struct json_object *threads = NULL;

		json_object_object_add(arguments, "path", value_new_string(path));
		if (!qmp_client_execute(
			    client, "query-virtio-queue-threads", arguments, &threads, &ignored))
			json_object_object_add(served, path, threads);
	}
	return served;
}

/* The part of a device's path that people gave it. */
static char *short_name(const char *path)
{
	static const char backend[] = "/virtio-backend";
	size_t len = strlen(path), tail = strlen(backend);
	const char *start;

	if (len > tail && !strcmp(path + len - tail, backend))
		len -= tail;
	for (start = path + len; start > path && start[-1] != '/'; start--)
		;
	return xasprintf("%.*s", (int)(path + len - start), start);
}

/* "disk0 0 2, rng0 0": what the thread of that number serves; without iothread= where @built_in. */
static char *queues_of(struct json_object *served, const char *thread_id, bool built_in)
{
	char *all = xstrdup("");

	json_object_object_foreach(served, path, threads)
	{
		_cleanup_free_ char *queues = xstrdup("");
		_cleanup_free_ char *name = NULL, *both = NULL;

		for (size_t i = 0; i < length(threads); i++) {
			struct json_object *thread = at(threads, i);

			if (built_in ? json_object_object_get_ex(thread, "iothread", NULL)
				     : strcmp(show_member(thread, "thread-id"), thread_id) != 0)
				continue;
			append(&queues, " ", show_member(thread, "queue"));
		}
		if (!*queues)
			continue;
		name = short_name(path);
		both = xasprintf("%s %s", name, queues);
		append(&all, ", ", both);
	}
	return all;
}

static void add_iothread(
	struct text_table *t, struct json_object *iothread, struct json_object *served)
{
	static const char *const members[] = { "id", "thread-id", "poll-max-ns", "poll-grow",
		"poll-shrink" };
	unsigned int i;

	text_table_row(t);
	for (i = 0; i < ARRAY_SIZE(members); i++)
		text_table_cell(
			t, i, i ? TEXT_PLAIN : TEXT_BOLD, "%s", show_member(iothread, members[i]));
	if (served) {
		_cleanup_free_ char *queues =
			queues_of(served, show_member(iothread, "thread-id"), false);

		text_table_cell(t, i, TEXT_PLAIN, "%s", queues);
	}
}

/* The built-in thread is no object; it has a row where it serves something. */
static void add_built_in(struct text_table *t, const char *queues)
{
	if (!*queues)
		return;
	text_table_row(t);
	text_table_cell(t, 0, TEXT_DIM, "(built-in)");
	for (unsigned int i = 1; i < 5; i++)
		text_table_cell(t, i, TEXT_PLAIN, "-");
	text_table_cell(t, 5, TEXT_PLAIN, "%s", queues);
}

void iothreads_show(const struct show *show, struct qmp_client *client, struct json_object *reply)
{
	static const char *const titles[] = { "iothread", "thread-id", "poll-max-ns", "poll-grow",
		"poll-shrink", "device and its queues" };
	_cleanup_value_ struct json_object *served = ask(show, client);
	_cleanup_free_ char *built_in = served ? queues_of(served, "", true) : xstrdup("");
	struct text_table t = { .num_columns = served ? 6 : 5, .right = 0x1e };

	if (!length(reply) && !*built_in) {
		text_line(&show->out, TEXT_PLAIN, "no iothreads");
		return;
	}
	text_table_row(&t);
	for (unsigned int i = 0; i < t.num_columns; i++)
		text_table_cell(&t, i, TEXT_BOLD, "%s", titles[i]);
	for (size_t i = 0; i < length(reply); i++)
		add_iothread(&t, at(reply, i), served);
	add_built_in(&t, built_in);
	text_table_print(&t, &show->out);
}
