// SPDX-License-Identifier: MIT
// Latencies in buckets of constant relative width.
#include "histogram.h"

enum { LINEAR = 32, LINEAR_BITS = 5 };
#define VALUE_MAX (1ull << 40)

/*
 * A value v is put where v - 1 belongs, so that a bucket includes its upper end, and powers of two are upper ends. The first 32
 * buckets hold one value each; then each power of two has 32 of equal width.
 */
static uint32_t place(uint64_t value)
{
	uint64_t below;
	uint32_t octave;

	if (value > VALUE_MAX)
		value = VALUE_MAX;
	below = value ? value - 1 : 0;
	if (below < LINEAR)
		return (uint32_t)below;
	octave = 63u - (uint32_t)__builtin_clzll(below) - LINEAR_BITS;
	return LINEAR * (octave + 1) + (uint32_t)((below >> octave) - LINEAR);
}

/* The largest value of bucket @index. */
static uint64_t upper_end(uint32_t index)
{
	if (index < LINEAR)
		return index + 1;
	return ((uint64_t)LINEAR + index % LINEAR + 1) << (index / LINEAR - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
	unsigned long long most = atomic_load_explicit(&histogram->max, memory_order_relaxed);

	atomic_fetch_add_explicit(&histogram->bucket[place(value)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
	while (value > most &&
	       !atomic_compare_exchange_weak_explicit(&histogram->max, &most, value, memory_order_relaxed, memory_order_relaxed))
		;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
	uint64_t total = 0, wanted, seen = 0;

	/* Not .count: it may be ahead of the buckets or behind. */
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
	if (!total)
		return 0;
	if (!(quantile > 0))
		quantile = 0;
	wanted = quantile >= 1 ? total : (uint64_t)(quantile * (double)total);
	if (wanted < total && (double)wanted < quantile * (double)total)
		wanted++;
	if (!wanted)
		wanted = 1;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
		if (seen >= wanted)
			return upper_end(i);
	}
	return VALUE_MAX;
}

uint64_t histogram_below(const struct histogram *histogram, uint64_t value)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && upper_end(i) <= value; i++)
		count += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
	return count;
}
