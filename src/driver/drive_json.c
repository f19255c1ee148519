/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Results for programs. `read`, `write` and `sync` have fio's members and units (io_bytes,
 * bw_bytes, iops, runtime in milliseconds, lat_ns with percentiles), so that what reads fio's jobs
 * reads these.
 */
#include <inttypes.h>
#include <stdio.h>

#include "driver/drive_report.h"

static void add(struct json_object *to, const char *name, struct json_object *value)
{
	json_object_object_add(to, name, value);
}

static void add_num(struct json_object *to, const char *name, uint64_t value)
{
	add(to, name, json_object_new_uint64(value));
}

static void add_real(struct json_object *to, const char *name, double value)
{
	char text[48];

	snprintf(text, sizeof(text), "%.6f", value);
	add(to, name, json_object_new_double_s(value, text));
}

static void add_bool(struct json_object *to, const char *name, bool value)
{
	add(to, name, json_object_new_boolean(value));
}

static void add_text(struct json_object *to, const char *name, const char *value)
{
	add(to, name, json_object_new_string(value));
}

static void add_word(struct json_object *to, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	add_text(to, name, text);
}

static const char *const wishes[] = { "if-offered", "on", "off" };

static struct json_object *options(const struct drive *d)
{
	const struct drive_options *o = &d->opts;
	struct json_object *j = json_object_new_object();

	add_text(j, "connect", o->connect);
	add_text(j, "device", o->device);
	add_text(j, "rw", drive_rw_name(o->rw));
	add_num(j, "rwmixread", o->mix_read);
	add_num(j, "bs", o->bs);
	add_num(j, "offset", o->offset);
	add_num(j, "size", o->size);
	add_num(j, "iodepth", o->iodepth);
	add_num(j, "queues", o->queues);
	add_num(j, "queue-size", o->queue_size);
	add_num(j, "threads", d->num_workers);
	add_num(j, "mem-slots", o->mem_slots);
	add_num(j, "memory", d->mem.slot_bytes * d->mem.num_slots);
	add_num(j, "fsync", o->fsync);
	add_real(j, "seconds", (double)o->duration_ns / (double)NSEC_PER_SEC);
	add_num(j, "requests", o->requests);
	add_num(j, "seed", o->seed);
	add_bool(j, "packed", o->packed);
	add_bool(j, "in-order", o->in_order);
	add_text(j, "indirect", wishes[o->indirect]);
	add_text(j, "event-idx", wishes[o->event_idx]);
	add_bool(j, "poll", o->poll);
	add_bool(j, "verify", o->verify);
	add_bool(j, "reconnect", o->reconnect);
	return j;
}

static struct json_object *device(const struct drive *d)
{
	struct json_object *j = json_object_new_object();

	add_num(j, "id", d->kind->id);
	add_word(j, "features-offered", d->offered);
	add_word(j, "features", d->features);
	add_word(j, "protocol-features", d->protocol_features);
	add_text(j, "ring", d->ring_cfg.packed ? "packed" : "split");
	add_bool(j, "indirect", d->ring_cfg.indirect);
	add_bool(j, "event-idx", d->ring_cfg.event_idx);
	add_bool(j, "in-order", d->ring_cfg.in_order);
	return j;
}

static struct json_object *latency(const struct histogram *h)
{
	struct json_object *j = json_object_new_object(), *list;

	add_num(j, "min", h->min);
	add_num(j, "max", h->max);
	add_real(j, "mean", histogram_mean(h));
	add_real(j, "stddev", histogram_deviation(h));
	add_num(j, "N", h->num);
	if (!h->num)
		return j;
	list = json_object_new_object();
	for (unsigned int i = 0; i < DRIVE_PERCENTILES; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%.6f", drive_percentiles[i]);
		add_num(list, name, histogram_percentile(h, drive_percentiles[i]));
	}
	add(j, "percentile", list);
	return j;
}

static struct json_object *direction(const struct dqueue_stats *s, unsigned int dir, double seconds)
{
	struct json_object *j = json_object_new_object();

	add_num(j, "total_ios", s->ios[dir]);
	add_num(j, "io_bytes", s->bytes[dir]);
	add_real(j, "iops", seconds > 0 ? (double)s->ios[dir] / seconds : 0);
	add_num(j, "bw_bytes", seconds > 0 ? (uint64_t)((double)s->bytes[dir] / seconds) : 0);
	add_num(j, "runtime", (uint64_t)(seconds * 1000));
	add(j, "lat_ns", latency(&s->lat[dir]));
	return j;
}

static struct json_object *queues(const struct drive *d)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < d->num_rings; i++) {
		const struct dqueue *q = &d->queues[i];
		struct json_object *j = json_object_new_object();

		add_num(j, "index", i);
		add_num(j, "total_ios",
			q->stats.ios[DRIVE_READ] + q->stats.ios[DRIVE_WRITE] +
				q->stats.ios[DRIVE_SYNC]);
		add_num(j, "kicks", q->stats.kicks);
		add_num(j, "kicks-suppressed", q->stats.kicks_suppressed);
		add_num(j, "calls", q->stats.calls);
		add_num(j, "outstanding", q->depth - q->num_free);
		add_num(j, "vring-base", q->base);
		json_object_array_add(list, j);
	}
	return list;
}

struct json_object *drive_report_json(const struct drive *d)
{
	struct json_object *j = json_object_new_object(), *total = json_object_new_object();
	struct dqueue_stats *s = drive_stats_new(d);
	double seconds = drive_seconds(d);

	add(j, "options", options(d));
	add(j, "device", device(d));
	add_real(j, "seconds", seconds);
	add(j, "read", direction(s, DRIVE_READ, seconds));
	add(j, "write", direction(s, DRIVE_WRITE, seconds));
	add(j, "sync", direction(s, DRIVE_SYNC, seconds));
	add_num(total, "requests", s->ios[DRIVE_READ] + s->ios[DRIVE_WRITE] + s->ios[DRIVE_SYNC]);
	add_real(total, "requests-per-second",
		seconds > 0
			? (double)(s->ios[DRIVE_READ] + s->ios[DRIVE_WRITE] + s->ios[DRIVE_SYNC]) /
				  seconds
			: 0);
	add_real(total, "bytes-per-second",
		seconds > 0 ? (double)(s->bytes[DRIVE_READ] + s->bytes[DRIVE_WRITE]) / seconds : 0);
	add_num(total, "kicks", s->kicks);
	add_num(total, "kicks-suppressed", s->kicks_suppressed);
	add_num(total, "calls", s->calls);
	add_num(total, "blocks-verified", s->verified);
	add_num(total, "blocks-unverified", s->unverified);
	add(j, "total", total);
	add(j, "queues", queues(d));
	add_num(j, "reconnects", d->reconnects);
	add_bool(j, "interrupted", d->interrupted);
	free(s);
	return j;
}
