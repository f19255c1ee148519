/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds entries by their names. Refuses nothing: a reply of another shape has no notes. */
#include "client/sources.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static const char *text_of(struct json_object *entry, const char *member)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(entry, member, &value);
	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

static struct json_object *find(struct json_object *sources, const char *member)
{
	size_t len = json_object_is_type(sources, json_type_array)
			     ? json_object_array_length(sources)
			     : 0;

	for (size_t i = 0; i < len; i++) {
		struct json_object *entry = json_object_array_get_idx(sources, i);

		if (!strcmp(text_of(entry, "member"), member))
			return entry;
	}
	return NULL;
}

const char *sources_note(struct json_object *sources, const char *member)
{
	return text_of(find(sources, member), "note");
}

const char *sources_queue_note(struct json_object *sources, unsigned int queue, const char *member)
{
	_cleanup_free_ char *full = xasprintf("queue.%u.%s", queue, member);

	return sources_note(sources, full);
}

const char *sources_role(struct json_object *sources, unsigned int queue)
{
	static const char prefix[] = "its role is ";
	const char *note = sources_queue_note(sources, queue, "queue-index");

	return strncmp(note, prefix, strlen(prefix)) ? "" : note + strlen(prefix);
}

char *sources_mark(struct json_object *sources, const char *prefix, const char *member)
{
	_cleanup_free_ char *full = xasprintf("%s%s", prefix, member);
	struct json_object *entry = find(sources, full);
	const char *note = text_of(entry, "note");
	const char *source = text_of(entry, "source");

	if (!entry)
		return xstrdup("");
	if (*note)
		return xasprintf("(%s: %s)", source, note);
	if (!strcmp(source, "unknown"))
		return xstrdup("(unknown: the transport does not carry it)");
	/* Most members are the device's own state: that needs no word. */
	return strcmp(source, "derived") ? xasprintf("(%s)", source) : xstrdup("");
}
