/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A histogram of times: each power of two in 64 buckets, so that a percentile is right within
 * 1.6 percent. Fixed size, no allocation. One thread writes it.
 */
#ifndef DRIVER_HISTOGRAM_H
#define DRIVER_HISTOGRAM_H

#include "base/util.h"

#define HISTOGRAM_BITS	  6
#define HISTOGRAM_SUB	  (1u << HISTOGRAM_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) * HISTOGRAM_SUB)

struct histogram {
	uint64_t num, sum, min, max; /* min is 0 while num is */
	double sum_squares;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Values below 64 have a bucket each; then 64 to a power of two. */
static inline unsigned int histogram_bucket(uint64_t v)
{
	unsigned int shift;

	if (v < HISTOGRAM_SUB)
		return (unsigned int)v;
	shift = 63 - (unsigned int)__builtin_clzll(v) - HISTOGRAM_BITS;
	return (shift + 1) * HISTOGRAM_SUB + (unsigned int)((v >> shift) & (HISTOGRAM_SUB - 1));
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	h->min = h->num && h->min < ns ? h->min : ns;
	h->max = h->max > ns ? h->max : ns;
	h->num++;
	h->sum += ns;
	h->sum_squares += (double)ns * (double)ns;
	h->buckets[histogram_bucket(ns)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from);
double histogram_mean(const struct histogram *h);
double histogram_deviation(const struct histogram *h);
/* The value that @percent (above 0, up to 100) of all do not exceed; 0 where there are none. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

#endif
