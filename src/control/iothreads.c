/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Iothreads. How they poll can be changed while they run (qom-set); ranges and sentences are
 * QEMU's.
 */
#include "control/iothreads.h"

#include <errno.h>
#include <inttypes.h>

#include "base/alloc.h"
#include "control/internal.h"

const struct option_spec control_iothread_options[] = {
	{ "poll-max-ns", OPTION_INT, offsetof(struct control_object, polling.max_ns), "32768", 0, 0,
		NULL, "look for news for so long, at most, before sleeping; 0: sleep at once" },
	{ "poll-grow", OPTION_INT, offsetof(struct control_object, polling.grow), "0", 0, 0, NULL,
		"the factor by which that time grows; 0: 2" },
	{ "poll-shrink", OPTION_INT, offsetof(struct control_object, polling.shrink), "0", 0, 0,
		NULL, "the divisor by which it shrinks; 0: back to nothing at once" },
	{ NULL },
};

int control_iothread_start(struct control_object *obj, struct err *err)
{
	int r = loop_init(&obj->loop, obj->id, err);

	if (r < 0)
		return r;
	loop_set_polling(&obj->loop, &obj->polling);
	r = loop_thread_start(&obj->loop, err);
	if (r < 0)
		loop_deinit(&obj->loop);
	return r;
}

void control_iothread_end(struct control_object *obj)
{
	loop_thread_join(&obj->loop);
	loop_deinit(&obj->loop);
}

int control_iothread_find(
	struct control *ctl, const char *id, struct control_object **ret, struct err *err)
{
	*ret = control_object_find(ctl, id);
	if (*ret && (*ret)->type->serves_queues)
		return 0;
	return err_set(err, -ENOENT, "IOThread \"%s\" object does not exist", id);
}

/* --- properties --- */

static struct json_object *get_thread_id(struct qom_object *qom)
{
	struct control_object *obj = qom->opaque;

	return json_object_new_int(atomic_load(&obj->loop.tid));
}

static struct json_object *get_max_ns(struct qom_object *qom)
{
	struct control_object *obj = qom->opaque;

	return json_object_new_uint64(loop_get_polling(&obj->loop).max_ns);
}

static struct json_object *get_grow(struct qom_object *qom)
{
	struct control_object *obj = qom->opaque;

	return json_object_new_uint64(loop_get_polling(&obj->loop).grow);
}

static struct json_object *get_shrink(struct qom_object *qom)
{
	struct control_object *obj = qom->opaque;

	return json_object_new_uint64(loop_get_polling(&obj->loop).shrink);
}

/* The option of that name, read from @value as it is when the object is made. */
static int set_polling(
	struct qom_object *qom, const char *name, struct json_object *value, struct err *err)
{
	struct control_object *obj = qom->opaque;
	struct json_object *args = json_object_new_object();
	int r;

	json_object_object_add(args, name, json_object_get(value));
	r = options_take(control_iothread_options, obj, args, err);
	json_object_put(args);
	if (!r)
		loop_set_polling(&obj->loop, &obj->polling);
	return r;
}

static int set_max_ns(struct qom_object *qom, struct json_object *value, struct err *err)
{
	return set_polling(qom, "poll-max-ns", value, err);
}

static int set_grow(struct qom_object *qom, struct json_object *value, struct err *err)
{
	return set_polling(qom, "poll-grow", value, err);
}

static int set_shrink(struct qom_object *qom, struct json_object *value, struct err *err)
{
	return set_polling(qom, "poll-shrink", value, err);
}

const struct qom_property control_iothread_properties[] = {
	{ "thread-id", "int", get_thread_id },
	{ "poll-max-ns", "int", get_max_ns, set_max_ns },
	{ "poll-grow", "int", get_grow, set_grow },
	{ "poll-shrink", "int", get_shrink, set_shrink },
	{ NULL },
};

/* --- query-iothreads --- */

int control_cmd_query_iothreads(
	struct qapi_call *call, struct IOThreadInfoList *ret, _unused_ struct qapi_error *error)
{
	const struct control *ctl = call->ctx;

	for (struct qom_object *at = ctl->objects_container->first; at; at = at->next) {
		const struct control_object *obj = at->opaque;
		struct loop_polling polling;
		struct IOThreadInfo *info;

		if (!obj->type->serves_queues)
			continue;
		polling = loop_get_polling(&obj->loop);
		info = xnew(struct IOThreadInfo);
		info->id = xstrdup(obj->id);
		info->thread_id = atomic_load(&obj->loop.tid);
		info->poll_max_ns = (int64_t)polling.max_ns;
		info->poll_grow = (int64_t)polling.grow;
		info->poll_shrink = (int64_t)polling.shrink;
		qapi_append_IOThreadInfoList(ret, info);
	}
	return 0;
}
