/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages in the order in which they went by, with the time since the first that is shown. Lenient
 * as everything that reads replies.
 */
#include "client/transcript.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define USEC 1000.0

static struct json_object *get(struct json_object *obj, const char *member)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(obj, member, &value);
	return value;
}

static uint64_t number(struct json_object *obj, const char *member)
{
	return json_object_get_uint64(get(obj, member));
}

static bool is_true(struct json_object *obj, const char *member)
{
	return json_object_get_boolean(get(obj, member));
}

static void print_fields(const struct show *show, struct json_object *message)
{
	struct json_object *fields = get(message, "fields");
	size_t num = json_object_is_type(fields, json_type_array) ? json_object_array_length(fields)
								  : 0;

	for (size_t i = 0; i < num; i++) {
		struct json_object *field = json_object_array_get_idx(fields, i);

		text_print(&show->out, TEXT_DIM, " %s ", show_member(field, "name"));
		text_print(&show->out, TEXT_PLAIN, "%s", show_member(field, "value"));
	}
}

static void print_message(const struct show *show, struct json_object *message, uint64_t start)
{
	bool from_front = !strcmp(show_member(message, "from"), "front-end");
	uint64_t num_fds = number(message, "descriptors");

	text_print(&show->out, TEXT_PLAIN, "%6s %12.3f ms  %s %s%s%s",
		show_member(message, "serial"),
		(double)(number(message, "time") - start) / (USEC * USEC), from_front ? "->" : "<-",
		strcmp(show_member(message, "channel"), "backend") ? "" : "(channel) ",
		show_member(message, "name"), is_true(message, "is-reply") ? " reply" : "");
	print_fields(show, message);
	if (num_fds)
		text_print(&show->out, TEXT_DIM, " +%" PRIu64 " fd", num_fds);
	if (get(message, "latency-ns"))
		text_print(&show->out, TEXT_DIM, " (answered in %.1f us)",
			(double)number(message, "latency-ns") / USEC);
	if (is_true(message, "own"))
		text_print(&show->out, TEXT_DIM, " own");
	if (is_true(message, "malformed"))
		text_print(&show->out, TEXT_BAD, " malformed");
	text_line(&show->out, TEXT_PLAIN, "%s", "");
}

void transcript_show(const struct show *show, const char *path, struct json_object *reply)
{
	size_t num = json_object_is_type(reply, json_type_array) ? json_object_array_length(reply)
								 : 0;
	uint64_t connection = 0, start = 0;

	text_line(&show->out, TEXT_BOLD, "vhost-user messages of %s", path);
	if (!num)
		text_line(&show->out, TEXT_PLAIN, "  none so far");
	for (size_t i = 0; i < num; i++) {
		struct json_object *message = json_object_array_get_idx(reply, i);

		if (!i)
			start = number(message, "time");
		if (number(message, "connection") != connection)
			text_line(&show->out, TEXT_BOLD, "connection %s",
				show_member(message, "connection"));
		connection = number(message, "connection");
		print_message(show, message, start);
	}
}
