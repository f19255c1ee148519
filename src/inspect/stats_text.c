/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rows as OpenMetrics 1.0 text: families with their queues' samples together, times in seconds
 * since 1970, the histogram cumulative and in seconds. Each queue is looked at once, so that all of
 * its samples are of one moment; a torn view's counters are left out.
 */
#include "inspect/stats_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "describe/describe.h"
#include "inspect/stats_rows.h"

#define PREFIX "ringside_virtqueue_"
/* Shown: from 2^10 ns, about 1 us, to 2^36, about 69 s; what is below or above is in their sums. */
#define FIRST_BUCKET 10
#define LAST_BUCKET  36

struct sample {
	char *labels; /* device="...",path="...",queue="0" */
	struct stats_look look;
};

struct samples {
	struct sample *items;
	size_t num;
};

/* A label's value: backslash, quote and end of line are escaped. */
static char *escape(const char *s)
{
	char *ret = xcalloc(strlen(s) * 2 + 1, 1), *at = ret;

	for (; *s; s++) {
		if (*s == '\\' || *s == '"' || *s == '\n')
			*at++ = '\\';
		*at++ = *s == '\n' ? 'n' : *s;
	}
	return ret;
}

static void add_samples(struct samples *all, struct qom_object *obj)
{
	struct vdev *dev = obj->vdev;
	_cleanup_free_ char *path = qom_path(obj), *device = escape(vdev_label(dev));
	_cleanup_free_ char *escaped = escape(path);

	for (unsigned int i = 0; i < dev->num_queues; i++) {
		struct sample *s;

		all->items = xreallocarray(all->items, all->num + 1, sizeof(*s));
		s = &all->items[all->num++];
		s->labels = xasprintf("device=\"%s\",type=\"%s\",path=\"%s\",queue=\"%u\"", device,
			describe_type_by_id(dev->cls->virtio_id)->name, escaped, i);
		stats_look_at(&dev->queues[i], &s->look);
	}
}

/* "ringside_virtqueue_payload_bytes", without _total. */
static char *family_name(const struct stats_row *row)
{
	static const char *const units[] = {
		[STATS_UNIT_BYTES] = "_bytes", [STATS_UNIT_SECONDS] = "_seconds"
	};

	return xasprintf(PREFIX "%s%s", row->family, row->unit < 0 ? "" : units[row->unit]);
}

static void write_head(FILE *out, const char *name, const char *type, int unit, const char *help)
{
	fprintf(out, "# TYPE %s %s\n", name, type);
	if (unit >= 0)
		fprintf(out, "# UNIT %s %s\n", name,
			unit == STATS_UNIT_BYTES ? "bytes" : "seconds");
	fprintf(out, "# HELP %s %s.\n", name, help);
}

/* Seconds, as text without an end of line. */
static void write_ns(FILE *out, uint64_t ns)
{
	const uint64_t second = NSEC_PER_SEC;

	fprintf(out, "%" PRIu64 ".%09" PRIu64, ns / second, ns % second);
}

/* What has to be added to CLOCK_MONOTONIC to have the time since 1970. */
static uint64_t clock_offset_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec - now_ns();
}

static void write_row(
	FILE *out, const struct samples *all, const struct stats_row *row, uint64_t offset_ns)
{
	bool counts = row->type == STATS_TYPE_CUMULATIVE;
	_cleanup_free_ char *name = family_name(row);
	uint64_t value;

	for (size_t i = 0; i < all->num; i++) {
		const struct sample *s = &all->items[i];

		if (!stats_value(row, &s->look, &value))
			continue;
		fprintf(out, "%s%s{%s%s%s} ", name, counts ? "_total" : "", s->labels,
			row->label ? "," : "", row->label ? row->label : "");
		if (row->unit == STATS_UNIT_SECONDS)
			write_ns(out, value + offset_ns);
		else
			fprintf(out, "%" PRIu64, value);
		fputc('\n', out);
	}
}

static void write_histogram(FILE *out, const char *name, const struct sample *s)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < VQ_LATENCY_BUCKETS; i++) {
		uint64_t end = 1ull << (i + 1);

		sum += s->look.latency.bucket[i];
		if (i + 1 < FIRST_BUCKET || i + 1 > LAST_BUCKET)
			continue;
		fprintf(out, "%s_bucket{%s,le=\"", name, s->labels);
		write_ns(out, end);
		fprintf(out, "\"} %" PRIu64 "\n", sum);
	}
	fprintf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, s->labels, sum);
	fprintf(out, "%s_count{%s} %" PRIu64 "\n", name, s->labels, sum);
	fprintf(out, "%s_sum{%s} ", name, s->labels);
	write_ns(out, s->look.view.counters.service_ns);
	fputc('\n', out);
}

static void write_all(FILE *out, const struct samples *all)
{
	static const char histogram[] = PREFIX "service_time_seconds";
	uint64_t offset_ns = clock_offset_ns();
	const char *family = "";

	for (size_t i = 0; i < stats_num_rows; i++) {
		const struct stats_row *row = &stats_rows[i];

		if (strcmp(row->family, family) != 0) {
			_cleanup_free_ char *name = family_name(row);

			write_head(out, name,
				row->type == STATS_TYPE_CUMULATIVE ? "counter" : "gauge", row->unit,
				row->help);
		}
		family = row->family;
		write_row(out, all, row, offset_ns);
	}
	write_head(out, histogram, "histogram", STATS_UNIT_SECONDS,
		"How long requests took, from being taken to being answered");
	for (size_t i = 0; i < all->num; i++)
		if (all->items[i].look.own)
			write_histogram(out, histogram, &all->items[i]);
}

void inspect_metrics(struct qom_object *root, FILE *out)
{
	struct samples all = { 0 };

	for (struct qom_object *at = qom_walk(root, NULL); at; at = qom_walk(root, at))
		if (at->vdev && at->vdev->realized)
			add_samples(&all, at);
	write_all(out, &all);
	fputs("# EOF\n", out);
	for (size_t i = 0; i < all.num; i++)
		free(all.items[i].labels);
	free(all.items);
}
