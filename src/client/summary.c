/* SPDX-License-Identifier: BSD-3-Clause */
/* A query that is refused leaves a sentence in its place; only a lost connection ends it all. */
#include "client/summary.h"

#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/show_summary.h"

/* It looks at this many queues of a device. */
#define MAX_QUEUES 64

/* One query of the summary: 0, or a sentence for the screen in *why; only a lost connection fails.
 */
static int ask(struct session *session, const char *command, enum harm_query harm,
	struct json_object *arguments, struct json_object **ret, char **why, struct err *err)
{
	struct json_object *path;
	int r;

	json_object_object_get_ex(arguments, "path", &path);
	r = session_check_harm(session, harm, json_object_get_string(path), err);
	if (r == 0)
		r = session_execute(session, command, arguments, ret, err);
	if (r != -EPERM && r != -EREMOTEIO)
		return r;
	*why = xstrdup(err->msg);
	return 0;
}

static int ask_queues(struct session *session, const char *path, int num,
	struct json_object *queues, char **why, struct err *err)
{
	for (int q = 0; q < num && q < MAX_QUEUES && !*why; q++) {
		_cleanup_value_ struct json_object *arguments = session_path_argument(path);
		struct json_object *reply = NULL;
		int r;

		json_object_object_add(arguments, "queue", json_object_new_int(q));
		r = ask(session, "x-query-virtio-queue-status", HARM_QUEUE, arguments, &reply, why,
			err);
		if (r < 0)
			return r;
		if (reply)
			json_object_array_add(queues, reply);
	}
	return 0;
}

/* Shows one device, or adds it to @document. */
static int summarize(struct session *session, const struct show *show, struct json_object *entry,
	struct json_object *document, struct err *err)
{
	const char *path = show_member(entry, "path");
	_cleanup_value_ struct json_object *arguments = session_path_argument(path);
	_cleanup_value_ struct json_object *status = NULL, *queues = json_object_new_array();
	_cleanup_value_ struct json_object *sources = NULL;
	_cleanup_free_ char *no_status = NULL, *no_queues = NULL;
	struct show_device device = { .name = show_member(entry, "name"), .path = path };
	struct json_object *num = NULL;
	int r;

	r = ask(session, "x-query-virtio-status", HARM_STATUS, arguments, &status, &no_status, err);
	json_object_object_get_ex(status, "num-vqs", &num);
	if (r == 0 && num)
		r = ask_queues(session, path, json_object_get_int(num), queues, &no_queues, err);
	if (r < 0)
		return r;
	if (document) {
		struct json_object *item = json_object_new_object();

		json_object_object_add(item, "name", value_new_string(device.name));
		json_object_object_add(item, "path", value_new_string(path));
		if (status)
			json_object_object_add(item, "status", json_object_get(status));
		if (!no_queues && num)
			json_object_object_add(item, "queues", json_object_get(queues));
		json_object_array_add(document, item);
		return 0;
	}
	device.status = status;
	device.no_status = no_status;
	device.queues = num ? queues : NULL;
	device.no_queues = no_queues;
	device.sources = sources = session_sources(session, path);
	putchar('\n');
	show_summary(show, &device);
	return 0;
}

/* "virtual machine 'x', running": what the monitor tells about the whole. */
static int show_server(struct session *session, const struct show *show, struct err *err)
{
	const struct qmp_client_server *server = qmp_client_server(session->client);
	_cleanup_value_ struct json_object *name = NULL, *status = NULL;
	int r = qmp_client_execute(session->client, "query-name", NULL, &name, err);

	if (r == 0 || r == -EREMOTEIO)
		r = qmp_client_execute(session->client, "query-status", NULL, &status, err);
	if (r < 0 && r != -EREMOTEIO)
		return r;
	if (server->is_ringside)
		text_print(&show->out, TEXT_BOLD, "%s", server->package);
	else
		text_print(&show->out, TEXT_BOLD, "QEMU %u.%u.%u", server->major, server->minor,
			server->micro);
	if (json_object_object_get_ex(name, "name", NULL))
		text_print(&show->out, TEXT_PLAIN, "  %s", show_member(name, "name"));
	text_line(&show->out, TEXT_PLAIN, "  %s  %s", show_member(status, "status"),
		qmp_client_address(session->client));
	return 0;
}

int summary_run(struct session *session, const struct show *show, struct json_object *document,
	struct err *err)
{
	_cleanup_value_ struct json_object *list = NULL;
	int r = session_list(session, &list, err);

	if (r == 0 && !document)
		r = show_server(session, show, err);
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++)
		r = summarize(session, show, json_object_array_get_idx(list, i), document, err);
	if (r == 0 && !document && json_object_array_length(list) == 0)
		show_list(show, list);
	return r;
}
