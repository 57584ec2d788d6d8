// SPDX-License-Identifier: MIT
// binary16 against the definition of the format in float64: all 65536 halves, all ties, and random floats.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "internal.h"

/* The magnitude of a finite half, from the definition: a fraction of 10 bits times a power of two. */
static double magnitude_of(uint16_t half)
{
	int exponent = half >> 10 & 31, fraction = half & 1023;

	return exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
}

/*
 * Round to nearest, ties to even, by search: the magnitudes of the halves 0, 1, 2 ... 0x7bff rise, so the neighbours
 * of a value are found by bisection and compared in float64, where the distances are exact. 0x7c00 stands for 2^16
 * here: past the middle is infinity.
 */
static uint16_t nearest(float value)
{
	double v = fabs((double)value), above, below;
	uint16_t sign = signbit(value) ? 0x8000 : 0, low = 0, high = 0x7c00;

	if (v >= 65536)
		return sign | 0x7c00;
	while (high - low > 1) {
		uint16_t middle = (uint16_t)((low + high) / 2);

		if (magnitude_of(middle) <= v)
			low = middle;
		else
			high = middle;
	}
	below = v - magnitude_of(low);
	above = magnitude_of(high) - v;
	if (below < above || (below == above && !(low & 1)))
		return sign | low;
	return sign | high;
}

static float float_of(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void every_half_widens_to_its_value(void **state)
{
	(void)state;
	for (uint32_t h = 0; h < 65536; h++) {
		float value = lineup_half_to_float((uint16_t)h);

		assert_int_equal(!!signbit(value), h >> 15);
		if ((h & 0x7c00) != 0x7c00)
			assert_true(fabs((double)value) == magnitude_of(h & 0x7fff));
		else if (h & 1023)
			assert_true(isnan(value));
		else
			assert_true(isinf(value));
	}
}

static void every_half_survives_the_way_there_and_back(void **state)
{
	(void)state;
	for (uint32_t h = 0; h < 65536; h++) {
		uint16_t back = lineup_half_from_float(lineup_half_to_float((uint16_t)h));

		if ((h & 0x7c00) == 0x7c00 && (h & 1023)) {
			assert_int_equal(back & 0x7c00, 0x7c00);
			assert_int_not_equal(back & 1023, 0);
			assert_int_equal(back & 0x8000, h & 0x8000);
		} else {
			assert_int_equal(back, h);
		}
	}
}

static void ties_go_to_even_and_their_neighbours_do_not(void **state)
{
	(void)state;
	for (uint32_t h = 0; h < 0x7c00; h++) {
		double next = h == 0x7bff ? 65536 : magnitude_of((uint16_t)(h + 1));
		float tie = (float)((magnitude_of((uint16_t)h) + next) / 2); /* one bit more than a half: exact */

		assert_int_equal(lineup_half_from_float(tie), h & 1 ? h + 1 : h);
		assert_int_equal(lineup_half_from_float(-tie), 0x8000 | (h & 1 ? h + 1 : h));
		assert_int_equal(lineup_half_from_float(nextafterf(tie, 0)), h);
		assert_int_equal(lineup_half_from_float(nextafterf(tie, INFINITY)), h + 1);
	}
}

static void random_floats_round_to_the_nearest(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		uint64_t r = random_next(&seed);
		/* Every other one has an exponent near the half's range, where the rounding happens. */
		uint32_t bits =
			i & 1 ? (uint32_t)r : ((uint32_t)r & 0x807fffff) | (100 + (uint32_t)(r >> 32) % 46) << 23;
		float value = float_of(bits);

		if (isnan(value))
			assert_true((lineup_half_from_float(value) & 0x7fff) > 0x7c00);
		else
			assert_int_equal(lineup_half_from_float(value), nearest(value));
	}
}

static void floats_out_of_range_become_infinity_or_zero(void **state)
{
	(void)state;
	assert_int_equal(lineup_half_from_float(65504), 0x7bff);
	assert_int_equal(lineup_half_from_float(nextafterf(65520, 0)), 0x7bff);
	assert_int_equal(lineup_half_from_float(65520), 0x7c00);
	assert_int_equal(lineup_half_from_float(float_of(0x7f7fffff)), 0x7c00);
	assert_int_equal(lineup_half_from_float(INFINITY), 0x7c00);
	assert_int_equal(lineup_half_from_float(-INFINITY), 0xfc00);
	assert_int_equal(lineup_half_from_float(0x1p-25f), 0);
	assert_int_equal(lineup_half_from_float(nextafterf(0x1p-25f, 1)), 1);
	assert_int_equal(lineup_half_from_float(float_of(1)), 0);
	assert_int_equal(lineup_half_from_float(-0.0f), 0x8000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_half_widens_to_its_value),
		cmocka_unit_test(every_half_survives_the_way_there_and_back),
		cmocka_unit_test(ties_go_to_even_and_their_neighbours_do_not),
		cmocka_unit_test(random_floats_round_to_the_nearest),
		cmocka_unit_test(floats_out_of_range_become_infinity_or_zero),
	};

	return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}
