/* SPDX-License-Identifier: BSD-3-Clause */
/* Sums over a histogram, and what stands at a percentile. */
#include "driver/histogram.h"

/* The middle of a bucket. */
static uint64_t value_of(unsigned int bucket)
{
	unsigned int shift = bucket / HISTOGRAM_SUB, low = bucket % HISTOGRAM_SUB;

	if (!shift)
		return low;
	shift--;
	return ((uint64_t)(HISTOGRAM_SUB + low) << shift) + ((1ull << shift) >> 1);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (!from->num)
		return;
	if (!into->num || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->num += from->num;
	into->sum += from->sum;
	into->sum_squares += from->sum_squares;
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

double histogram_mean(const struct histogram *h)
{
	return h->num ? (double)h->sum / (double)h->num : 0;
}

/* By Newton's steps: one root is not worth a library. */
static double square_root(double v)
{
	double r = v > 1 ? v : 1;

	for (int i = 0; v > 0 && i < 200; i++)
		r = (r + v / r) / 2;
	return v > 0 ? r : 0;
}

double histogram_deviation(const struct histogram *h)
{
	double mean = histogram_mean(h);

	if (h->num < 2)
		return 0;
	return square_root((h->sum_squares - mean * mean * (double)h->num) / (double)(h->num - 1));
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	double due = percent / 100 * (double)h->num;
	uint64_t seen = 0, v;

	if (due >= (double)h->num)
		return h->max;
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (!seen || (double)seen < due)
			continue;
		/* The ends are known exactly. */
		v = value_of(i);
		v = v > h->max ? h->max : v;
		return v < h->min ? h->min : v;
	}
	return h->max;
}
