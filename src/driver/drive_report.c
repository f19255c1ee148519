/* SPDX-License-Identifier: BSD-3-Clause */
/* Results for people, in the shape that fio's have. */
#include <inttypes.h>

#include "driver/drive_report.h"

static const char *const dir_names[] = { "read", "write", "sync" };
const double drive_percentiles[DRIVE_PERCENTILES] = { 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95,
	99, 99.5, 99.9, 99.95, 99.99 };

void drive_sum(const struct drive *d, struct dqueue_stats *ret)
{
	for (unsigned int i = 0; i < d->num_rings; i++) {
		const struct dqueue_stats *s = &d->queues[i].stats;

		for (unsigned int dir = 0; dir < DRIVE_DIRS; dir++) {
			ret->ios[dir] += s->ios[dir];
			ret->bytes[dir] += s->bytes[dir];
			histogram_merge(&ret->lat[dir], &s->lat[dir]);
		}
		ret->kicks += s->kicks;
		ret->kicks_suppressed += s->kicks_suppressed;
		ret->calls += s->calls;
		ret->verified += s->verified;
		ret->unverified += s->unverified;
	}
}

double drive_seconds(const struct drive *d)
{
	return d->end_ns > d->start_ns ? (double)(d->end_ns - d->start_ns) / (double)NSEC_PER_SEC
				       : 0;
}

/* "225k", "1.52M": three digits that count; @step is 1000 or 1024. */
static const char *short_number(double v, double step, char buf[16])
{
	static const char *const units[] = { "", "k", "M", "G", "T" };
	unsigned int i = 0;

	while (v >= step && i + 1 < ARRAY_SIZE(units)) {
		v /= step;
		i++;
	}
	snprintf(buf, 16, i && v < 10 ? "%.2f%s" : i && v < 100 ? "%.1f%s" : "%.0f%s", v, units[i]);
	return buf;
}

/* fio's "MiB" and "kB". */
static const char *bytes_number(double v, bool binary, char buf[24])
{
	char number[16];
	size_t len;

	short_number(v, binary ? 1024 : 1000, number);
	len = strlen(number);
	if (!len || (number[len - 1] >= '0' && number[len - 1] <= '9'))
		snprintf(buf, 24, "%sB", number);
	else if (binary)
		snprintf(buf, 24, "%.*s%ciB", (int)len - 1, number,
			number[len - 1] == 'k' ? 'K' : number[len - 1]);
	else
		snprintf(buf, 24, "%sB", number);
	return buf;
}

static void print_percentiles(const struct histogram *h, double unit, FILE *file)
{
	for (unsigned int i = 0; i < DRIVE_PERCENTILES; i++) {
		double value = (double)histogram_percentile(h, drive_percentiles[i]) / unit;

		fprintf(file, "%s%5.2fth=[%5.0f]%s", i % 4 ? " " : "     | ", drive_percentiles[i],
			value,
			i + 1 == DRIVE_PERCENTILES ? "\n"
			: i % 4 == 3		   ? ",\n"
						   : ",");
	}
}

static void print_latency(const struct histogram *h, FILE *file)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = { { "nsec", 1 }, { "usec", 1e3 }, { "msec", 1e6 } };
	unsigned int i = 0;

	if (!h->num)
		return;
	while (i + 1 < ARRAY_SIZE(units) && histogram_mean(h) >= 10 * units[i + 1].ns)
		i++;
	fprintf(file, "     lat (%s): min=%.0f, max=%.0f, avg=%.2f, stdev=%.2f\n", units[i].name,
		(double)h->min / units[i].ns, (double)h->max / units[i].ns,
		histogram_mean(h) / units[i].ns, histogram_deviation(h) / units[i].ns);
	fprintf(file, "    lat percentiles (%s):\n", units[i].name);
	print_percentiles(h, units[i].ns, file);
}

static void print_direction(
	const struct dqueue_stats *s, unsigned int dir, double seconds, FILE *file)
{
	char iops[16], bw[24], decimal[24], io[24];
	double per_second = seconds > 0 ? (double)s->bytes[dir] / seconds : 0;

	if (!s->ios[dir])
		return;
	short_number(seconds > 0 ? (double)s->ios[dir] / seconds : 0, 1000, iops);
	fprintf(file, "  %s: IOPS=%s, BW=%s/s (%s/s)(%s/%.0fmsec)\n", dir_names[dir], iops,
		bytes_number(per_second, true, bw), bytes_number(per_second, false, decimal),
		bytes_number((double)s->bytes[dir], true, io), seconds * 1000);
	print_latency(&s->lat[dir], file);
}

void drive_report_text(const struct drive *d, FILE *file)
{
	const struct drive_options *o = &d->opts;
	struct dqueue_stats *s = drive_stats_new(d);
	double seconds = drive_seconds(d);

	fprintf(file, "%s: (rw=%s, bs=%uB, iodepth=%u, queues=%u, %s ring of %u%s%s%s, %s)\n",
		o->device, drive_rw_name(o->rw), o->bs, o->iodepth, o->queues,
		d->ring_cfg.packed ? "packed" : "split", o->queue_size,
		d->ring_cfg.indirect ? ", indirect" : "",
		d->ring_cfg.event_idx ? ", event-idx" : "",
		d->ring_cfg.in_order ? ", in-order" : "", o->poll ? "polling" : "sleeping");
	for (unsigned int dir = 0; dir < DRIVE_DIRS; dir++)
		print_direction(s, dir, seconds, file);
	if (!s->ios[DRIVE_READ] && !s->ios[DRIVE_WRITE])
		fprintf(file, "  no request came back in %.3f s\n", seconds);
	fprintf(file,
		"  notifications: kicks=%" PRIu64 ", kicks suppressed=%" PRIu64 ", calls=%" PRIu64
		"\n",
		s->kicks, s->kicks_suppressed, s->calls);
	if (o->verify)
		fprintf(file,
			"  verify: blocks verified=%" PRIu64 ", not written in this run=%" PRIu64
			"\n",
			s->verified, s->unverified);
	if (o->reconnect)
		fprintf(file, "  reconnects: %u\n", d->reconnects);
	if (d->interrupted)
		fprintf(file, "  ended by a signal\n");
	free(s);
}
