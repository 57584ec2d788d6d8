// SPDX-License-Identifier: MIT
// The histogram: which bucket a value is counted in, and quantiles against a sorted list.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "histogram.h"

#define VALUE_MAX (1ull << 40)

static uint64_t random64(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state ^ *state >> 29;
}

/* The upper end of the bucket of @value, from outside: the first bound below which it counts. */
static uint64_t end_of(uint64_t value)
{
	static struct histogram h;
	uint64_t end;

	memset(&h, 0, sizeof(h));
	histogram_add(&h, value);
	end = histogram_quantile(&h, 1);
	assert_int_equal(histogram_below(&h, end), 1);
	assert_int_equal(histogram_below(&h, end - 1), 0);
	return end;
}

static void a_bucket_is_at_most_a_thirtysecond_wide(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (uint64_t v = 1; v <= 5000; v++) {
		assert_true(end_of(v) >= v);
		assert_true(end_of(v) - v <= v / 32);
	}
	for (int i = 0; i < 2000; i++) {
		uint64_t v = 1 + random64(&random) % (1ull << (1 + i % 40));

		assert_true(end_of(v) >= v);
		assert_true(end_of(v) - v <= v / 32);
	}
}

static void powers_of_two_are_upper_ends(void **state)
{
	(void)state;
	for (unsigned int i = 0; i <= 40; i++) {
		assert_int_equal(end_of(1ull << i), 1ull << i);
		if (i < 40)
			assert_true(end_of((1ull << i) + 1) > 1ull << i);
	}
}

static void what_is_out_of_range_counts_at_the_ends(void **state)
{
	(void)state;
	assert_int_equal(end_of(0), 1);
	assert_int_equal(end_of(VALUE_MAX + 1), VALUE_MAX);
	assert_int_equal(end_of(UINT64_MAX), VALUE_MAX);
}

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void quantiles_are_those_of_the_sorted_values(void **state)
{
	enum { COUNT = 4001 };
	static const double wanted[] = { 0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1 };
	static struct histogram h;
	static uint64_t value[COUNT];
	uint64_t random = 7, sum = 0;

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		value[i] = 1 + random64(&random) % (1ull << (3 + i % 33));
		sum += value[i];
		histogram_add(&h, value[i]);
	}
	qsort(value, COUNT, sizeof(value[0]), order);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		double exact = wanted[i] * COUNT;
		uint64_t rank = (uint64_t)exact, got = histogram_quantile(&h, wanted[i]);

		if ((double)rank < exact)
			rank++;
		if (!rank)
			rank = 1;
		assert_int_equal(got, end_of(value[rank - 1]));
	}
	for (int i = 0; i < COUNT; i += 97) {
		uint64_t bound = end_of(value[i]), below = 0;

		for (int j = 0; j < COUNT; j++)
			below += value[j] <= bound;
		assert_int_equal(histogram_below(&h, bound), below);
	}
	assert_int_equal(h.count, COUNT);
	assert_int_equal(h.sum, sum);
	assert_int_equal(h.max, value[COUNT - 1]);
}

static void nothing_has_no_quantile(void **state)
{
	static struct histogram h;

	(void)state;
	assert_int_equal(histogram_quantile(&h, 0.5), 0);
	assert_int_equal(histogram_below(&h, UINT64_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bucket_is_at_most_a_thirtysecond_wide),
		cmocka_unit_test(powers_of_two_are_upper_ends),
		cmocka_unit_test(what_is_out_of_range_counts_at_the_ends),
		cmocka_unit_test(quantiles_are_those_of_the_sorted_values),
		cmocka_unit_test(nothing_has_no_quantile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
