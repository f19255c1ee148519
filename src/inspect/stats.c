/* SPDX-License-Identifier: BSD-3-Clause */
/* The rows as QEMU's query-stats has them. What cannot be known of a queue is left out. */
#include "inspect/stats.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "inspect/stats_rows.h"
#include "inspect/virtio.h"

/* Which statistics: NULL: all. */
static bool is_wanted(const struct StatsRequest *request, const char *name)
{
	if (!request || !request->has_names)
		return true;
	for (size_t i = 0; i < request->names.num; i++)
		if (!strcmp(request->names.items[i], name))
			return true;
	return false;
}

static struct Stats *stats_new(struct StatsResult *result, const char *name)
{
	struct Stats *s = xnew(struct Stats);

	s->name = xstrdup(name);
	s->value = xnew(struct StatsValue);
	qapi_append_StatsList(&result->stats, s);
	return s;
}

/* As the kernel's have it: the first bucket is for 0, the next for [1, 2), then [2, 4) ... */
static void add_histogram(struct StatsResult *result, const struct vq_latency *latency)
{
	struct Stats *s = stats_new(result, STATS_SERVICE_TIME);

	s->value->branch = STATS_VALUE_BRANCH_LIST;
	qapi_append_uint64List(&s->value->u.list, 0);
	for (size_t i = 0; i < VQ_LATENCY_BUCKETS; i++)
		qapi_append_uint64List(&s->value->u.list, latency->bucket[i]);
}

static void add_queue(struct qom_object *obj, struct vq *vq, const struct StatsRequest *request,
	struct StatsResultList *ret)
{
	struct StatsResult *result = xnew(struct StatsResult);
	struct stats_look look;
	uint64_t value;

	stats_look_at(vq, &look);
	result->provider = STATS_PROVIDER_VIRTIO;
	result->qom_path = qom_path(obj);
	result->has_queue = true;
	result->queue = (uint16_t)vq->index;
	for (size_t i = 0; i < stats_num_rows; i++) {
		struct Stats *s;

		if (!is_wanted(request, stats_rows[i].name) ||
			!stats_value(&stats_rows[i], &look, &value))
			continue;
		s = stats_new(result, stats_rows[i].name);
		s->value->branch = STATS_VALUE_BRANCH_SCALAR;
		s->value->u.scalar = value;
	}
	if (look.own && is_wanted(request, STATS_SERVICE_TIME))
		add_histogram(result, &look.latency);
	qapi_append_StatsResultList(ret, result);
}

static void add_device(
	struct qom_object *obj, const struct StatsRequest *request, struct StatsResultList *ret)
{
	for (unsigned int i = 0; i < obj->vdev->num_queues; i++)
		add_queue(obj, &obj->vdev->queues[i], request, ret);
}

static int check_names(const struct StatsRequest *request, struct err *err)
{
	for (size_t i = 0; request && request->has_names && i < request->names.num; i++) {
		const char *name = request->names.items[i];
		size_t row = 0;

		while (row < stats_num_rows && strcmp(stats_rows[row].name, name) != 0)
			row++;
		if (row == stats_num_rows && strcmp(name, STATS_SERVICE_TIME) != 0)
			return err_set(err, -EINVAL, "'%s' is no statistic of virtio", name);
	}
	return 0;
}

int inspect_stats(struct qom_object *root, const struct StatsFilter *filter,
	struct StatsResultList *ret, struct err *err)
{
	const struct StatsVirtqueueFilter *queues = filter->u.virtqueue;
	const struct StatsRequest *request =
		filter->has_providers && filter->providers.num ? filter->providers.items[0] : NULL;
	int r = check_names(request, err);

	/* Nobody was asked. */
	if (r < 0 || (filter->has_providers && !filter->providers.num))
		return r;
	if (!queues || !queues->has_paths) {
		for (struct qom_object *at = qom_walk(root, NULL); at; at = qom_walk(root, at))
			if (at->vdev && at->vdev->realized)
				add_device(at, request, ret);
		return 0;
	}
	for (size_t i = 0; i < queues->paths.num; i++) {
		const char *path = queues->paths.items[i];
		struct qom_object *obj = qom_resolve(root, path, NULL);

		if (!obj || !inspect_find(root, path))
			return err_set(
				err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
		add_device(obj, request, ret);
	}
	return 0;
}

static struct StatsSchemaValue *schema_value(struct StatsSchema *schema, const char *name,
	enum StatsType type, int unit, int16_t exponent)
{
	struct StatsSchemaValue *v = xnew(struct StatsSchemaValue);

	v->name = xstrdup(name);
	v->type = type;
	v->has_unit = unit >= 0;
	v->unit = unit >= 0 ? (enum StatsUnit)unit : 0;
	v->has_base = exponent != 0;
	v->base = 10;
	v->exponent = exponent;
	qapi_append_StatsSchemaValueList(&schema->stats, v);
	return v;
}

void inspect_stats_schemas(struct StatsSchemaList *ret)
{
	struct StatsSchema *schema = xnew(struct StatsSchema);

	schema->provider = STATS_PROVIDER_VIRTIO;
	schema->target = STATS_TARGET_VIRTQUEUE;
	for (size_t i = 0; i < stats_num_rows; i++)
		schema_value(schema, stats_rows[i].name, stats_rows[i].type, stats_rows[i].unit,
			stats_rows[i].exponent);
	schema_value(schema, STATS_SERVICE_TIME, STATS_TYPE_LOG2_HISTOGRAM, STATS_UNIT_SECONDS, -9);
	qapi_append_StatsSchemaList(ret, schema);
}
