/* SPDX-License-Identifier: BSD-3-Clause */
/* Three digits and a unit say enough. */
#include "client/human.h"

#include <stdio.h>

#define THOUSAND 1000.0
#define MINUTE	 60
#define HOUR	 (60 * MINUTE)
#define DAY	 (24 * HOUR)

/* Three digits of what is below 1000. */
static void three_digits(char buf[static HUMAN_BYTES], double x, const char *unit)
{
	snprintf(buf, HUMAN_BYTES, "%.*f%s", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x, unit);
}

const char *human_count(char buf[static HUMAN_BYTES], double number)
{
	static const char *const units[] = { "", "k", "M", "G", "T" };
	size_t i = 0;

	if (number < 999.5) {
		snprintf(buf, HUMAN_BYTES, "%.0f", number);
		return buf;
	}
	while (number >= 999.5 && i + 1 < ARRAY_SIZE(units)) {
		number /= THOUSAND;
		i++;
	}
	three_digits(buf, number, units[i]);
	return buf;
}

const char *human_time(char buf[static HUMAN_BYTES], uint64_t ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	uint64_t s = ns / NSEC_PER_SEC;
	double x = (double)ns;
	size_t i = 0;

	if (ns < 1000) {
		snprintf(buf, HUMAN_BYTES, "%uns", (unsigned int)ns);
	} else if (s < MINUTE) {
		while (x >= 999.5 && i + 1 < ARRAY_SIZE(units)) {
			x /= THOUSAND;
			i++;
		}
		three_digits(buf, x, units[i]);
	} else if (s < HOUR) {
		snprintf(buf, HUMAN_BYTES, "%um%02us", (unsigned int)(s / MINUTE),
			(unsigned int)(s % MINUTE));
	} else if (s < DAY) {
		snprintf(buf, HUMAN_BYTES, "%uh%02um", (unsigned int)(s / HOUR),
			(unsigned int)(s % HOUR / MINUTE));
	} else {
		snprintf(buf, HUMAN_BYTES, "%ud", (unsigned int)MIN(s / DAY, UINT64_C(99999)));
	}
	return buf;
}
