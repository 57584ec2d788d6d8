/* SPDX-License-Identifier: MIT */
/* Latencies in buckets of constant relative width: 32 to each power of two, 3 % at most. Also for `lineup load`. */
#ifndef LINEUPD_HISTOGRAM_H
#define LINEUPD_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * Values from 1 to 2^40 (nanoseconds: 18 minutes; larger ones count as the largest, 0 as 1). Buckets end at multiples of powers
 * of two, those included.
 */
enum { HISTOGRAM_BUCKETS = 32 * 36 };

struct histogram {
	atomic_ullong bucket[HISTOGRAM_BUCKETS];
	atomic_ullong count, sum, max;
};

void histogram_add(struct histogram *histogram, uint64_t value); /* any thread */
/*
 * The smallest value that at least @quantile (0 to 1) of the values do not exceed, as the upper end of its bucket; 0: no
 * values.
 */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);
uint64_t histogram_below(const struct histogram *histogram, uint64_t value); /* values in buckets that end at @value or before */

#endif
