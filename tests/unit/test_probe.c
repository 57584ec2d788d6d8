// SPDX-License-Identifier: MIT
// The probe stage: the order of additions, normalisation, quantisation and its certificate, and the packed sets.
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe.h"

static const uint32_t dims[] = { 1, 2, 3, 4, 5, 7, 8, 9, 64, 128, 200, 512, 1000, 4096 };

static uint64_t random_state = 0x9e3779b97f4a7c15u;
static char last_message[256];

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* In [-1, 1). */
static double next_uniform(void)
{
	return (double)(int64_t)next_random() * 0x1p-63;
}

static void keep_message(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	if (level == LINEUP_LOG_ERROR)
		snprintf(last_message, sizeof(last_message), "%s", message);
}

static int make_ctx(void **state)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = keep_message };

	return lineup_ctx_create(&options, (struct lineup_ctx **)state);
}

static int drop_ctx(void **state)
{
	lineup_ctx_destroy(*state);
	return 0;
}

/* The order of probe.h, once more: by index modulo 8, one component at a time. */
static double documented_dot(const double *a, const double *b, uint32_t dim)
{
	double lane[8] = { 0 };

	for (uint32_t i = 0; i < dim; i++) {
		volatile double product = a[i] * b[i];

		lane[i % 8] = lane[i % 8] + product;
	}
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void widen(const float *v, uint32_t dim, double *out)
{
	for (uint32_t i = 0; i < dim; i++)
		out[i] = (double)v[i];
}

static void dot_adds_in_the_documented_order(void **state)
{
	static float a[LINEUP_DIM_MAX], b[LINEUP_DIM_MAX];
	static double wide_a[LINEUP_DIM_MAX], wide_b[LINEUP_DIM_MAX];

	(void)state;
	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		for (int round = 0; round < 50; round++) {
			double expected, found;

			for (uint32_t i = 0; i < dims[d]; i++) {
				a[i] = (float)ldexp(next_uniform(), (int)(next_random() % 60) - 30);
				b[i] = (float)ldexp(next_uniform(), (int)(next_random() % 60) - 30);
			}
			widen(a, dims[d], wide_a);
			widen(b, dims[d], wide_b);
			expected = documented_dot(wide_a, wide_b, dims[d]);
			found = lineup_dot(a, b, dims[d]);
			assert_memory_equal(&found, &expected, sizeof(found));
		}
	}
}

static void dot_of_a_known_vector_has_known_bits(void **state)
{
	/* 2^60 in lanes 0 and 4 with opposite signs, ones elsewhere: other orders lose ones. */
	float a[8] = { 0x1p60f, 1, 1, 1, -0x1p60f, 1, 1, 1 }, ones[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };

	(void)state;
	assert_true(lineup_dot(a, ones, 8) == 6.0);
}

static void normalised_float32_follows_the_documented_order(void **state)
{
	static float v[LINEUP_DIM_MAX], out[LINEUP_DIM_MAX];
	static double wide[LINEUP_DIM_MAX];

	(void)state;
	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		struct lineup_matrix m = { .data = v, .rows = 1, .dim = dims[d], .dtype = LINEUP_FLOAT32 };
		double norm;

		for (uint32_t i = 0; i < dims[d]; i++)
			v[i] = (float)next_uniform() * 3;
		widen(v, dims[d], wide);
		norm = sqrt(documented_dot(wide, wide, dims[d]));
		assert_int_equal(lineup_probe_normalise(&m, 0, out), LINEUP_ROW_OK);
		for (uint32_t i = 0; i < dims[d]; i++)
			assert_true(out[i] == (float)(wide[i] / norm));
	}
}

static void normalised_float64_follows_the_documented_order(void **state)
{
	static double v[LINEUP_DIM_MAX], scaled[LINEUP_DIM_MAX];
	static float out[LINEUP_DIM_MAX];

	(void)state;
	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		for (int shift = -1000; shift <= 1000; shift += 250) {
			struct lineup_matrix m = { .data = v, .rows = 1, .dim = dims[d], .dtype = LINEUP_FLOAT64 };
			double largest = 0, norm;
			int exponent;

			for (uint32_t i = 0; i < dims[d]; i++) {
				v[i] = ldexp(next_uniform(), shift);
				largest = fmax(largest, fabs(v[i]));
			}
			frexp(largest, &exponent);
			for (uint32_t i = 0; i < dims[d]; i++)
				scaled[i] = ldexp(v[i], -exponent);
			norm = sqrt(documented_dot(scaled, scaled, dims[d]));
			assert_int_equal(lineup_probe_normalise(&m, 0, out), LINEUP_ROW_OK);
			for (uint32_t i = 0; i < dims[d]; i++)
				assert_true(out[i] == (float)(scaled[i] / norm));
		}
	}
}

static long double exact_norm(const float *v, uint32_t dim)
{
	long double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (long double)v[i] * (long double)v[i];
	return sqrtl(sum);
}

/* Magnitudes over the whole range of each type, the subnormal and the largest included. */
static void normalised_vectors_have_length_one_whatever_their_magnitude(void **state)
{
	static const float float_scales[] = { FLT_TRUE_MIN * 4096, FLT_MIN, 1e-20f, 1, 1e20f, FLT_MAX / 2 };
	static const double double_scales[] = { 0x1p-1074 * 4096, DBL_MIN, 1e-200, 1, 1e200, DBL_MAX };
	enum { DIM = 512 };
	float v[DIM], out[DIM];
	double w[DIM];

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(float_scales); s++) {
		struct lineup_matrix m32 = { .data = v, .rows = 1, .dim = DIM, .dtype = LINEUP_FLOAT32 };
		struct lineup_matrix m64 = { .data = w, .rows = 1, .dim = DIM, .dtype = LINEUP_FLOAT64 };

		for (int i = 0; i < DIM; i++) {
			v[i] = (float)next_uniform() * float_scales[s];
			w[i] = next_uniform() * double_scales[s];
		}
		assert_int_equal(lineup_probe_normalise(&m32, 0, out), LINEUP_ROW_OK);
		assert_true(fabsl(exact_norm(out, DIM) - 1) < 1e-6L);
		assert_int_equal(lineup_probe_normalise(&m64, 0, out), LINEUP_ROW_OK);
		assert_true(fabsl(exact_norm(out, DIM) - 1) < 1e-6L);
	}
}

static void the_smallest_and_the_largest_number_normalise_to_one(void **state)
{
	double w[4] = { 0x1p-1074, DBL_MAX, -0x1p-1074, -DBL_MAX };
	float v[4] = { FLT_TRUE_MIN, FLT_MAX, -FLT_TRUE_MIN, -FLT_MAX }, out;
	struct lineup_matrix m32 = { .data = v, .rows = 4, .dim = 1, .dtype = LINEUP_FLOAT32 };
	struct lineup_matrix m64 = { .data = w, .rows = 4, .dim = 1, .dtype = LINEUP_FLOAT64 };

	(void)state;
	for (uint64_t row = 0; row < 4; row++) {
		assert_int_equal(lineup_probe_normalise(&m32, row, &out), LINEUP_ROW_OK);
		assert_true(out == (row < 2 ? 1.0f : -1.0f));
		assert_int_equal(lineup_probe_normalise(&m64, row, &out), LINEUP_ROW_OK);
		assert_true(out == (row < 2 ? 1.0f : -1.0f));
	}
}

static void bad_rows_are_told_apart(void **state)
{
	static const struct {
		double value[3];
		enum lineup_row_fault fault;
	} cases[] = {
		{ { 1, 2, 3 }, LINEUP_ROW_OK },
		{ { 1, NAN, 3 }, LINEUP_ROW_NAN },
		{ { 1, 2, INFINITY }, LINEUP_ROW_INF },
		{ { -INFINITY, 2, 3 }, LINEUP_ROW_INF },
		{ { INFINITY, NAN, 3 }, LINEUP_ROW_NAN },
		{ { INFINITY, -INFINITY, 0 }, LINEUP_ROW_INF },
		{ { 0, -0.0, 0 }, LINEUP_ROW_ZERO },
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		float v[3], out[3];
		struct lineup_matrix m32 = { .data = v, .rows = 1, .dim = 3, .dtype = LINEUP_FLOAT32 };
		struct lineup_matrix m64 = { .data = cases[c].value, .rows = 1, .dim = 3, .dtype = LINEUP_FLOAT64 };

		for (int i = 0; i < 3; i++)
			v[i] = (float)cases[c].value[i];
		assert_int_equal(lineup_probe_normalise(&m32, 0, out), cases[c].fault);
		assert_int_equal(lineup_probe_normalise(&m64, 0, out), cases[c].fault);
	}
	assert_string_equal(lineup_row_fault_text(LINEUP_ROW_NAN), "holds a NaN");
	assert_string_equal(lineup_row_fault_text(LINEUP_ROW_INF), "holds an infinity");
	assert_string_equal(lineup_row_fault_text(LINEUP_ROW_ZERO), "holds only zeros");
}

/* Vectors of the kinds that break bounds. Normalised. */
enum kind { RANDOM, ONE_DOMINANT, ONE_ONLY, TINY_TAIL, CLUSTERED, TWO_LEVELS, KINDS };

static void make_vector(enum kind kind, uint32_t dim, float *out)
{
	static double v[LINEUP_DIM_MAX];
	struct lineup_matrix m = { .data = v, .rows = 1, .dim = dim, .dtype = LINEUP_FLOAT64 };
	uint32_t dominant = (uint32_t)(next_random() % dim);

	for (uint32_t i = 0; i < dim; i++) {
		switch (kind) {
		case RANDOM:
			v[i] = next_uniform() + next_uniform() + next_uniform();
			break;
		case ONE_DOMINANT:
			v[i] = next_uniform() * 1e-3;
			break;
		case ONE_ONLY:
			v[i] = 0;
			break;
		case TINY_TAIL:
			v[i] = ldexp(next_uniform(), -(int)(next_random() % 140));
			break;
		case CLUSTERED:
			v[i] = sin(i) + 1e-3 * next_uniform();
			break;
		default: /* half codes: every component of the lower level loses half a step */
			v[i] = next_random() % 2 ? 127 : 0.5;
			break;
		}
	}
	if (kind == ONE_DOMINANT || kind == ONE_ONLY || kind == TINY_TAIL || kind == TWO_LEVELS)
		v[dominant] = -127;
	assert_int_equal(lineup_probe_normalise(&m, 0, out), LINEUP_ROW_OK);
}

static void codes_are_the_nearest_and_the_residual_covers_what_is_lost(void **state)
{
	static float v[LINEUP_DIM_MAX];
	static int8_t codes[LINEUP_DIM_MAX];

	(void)state;
	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		for (int kind = 0; kind < KINDS; kind++) {
			long double sum = 0, lost;
			float scale, resid, largest = 0;

			make_vector((enum kind)kind, dims[d], v);
			lineup_probe_quantise(v, dims[d], codes, &scale, &resid);
			for (uint32_t i = 0; i < dims[d]; i++) {
				long double e = (long double)v[i] - (long double)scale * codes[i];

				largest = fmaxf(largest, fabsf(v[i]));
				assert_in_range(codes[i] + 127, 0, 254);
				assert_int_equal(codes[i], (int)rint((double)v[i] / (double)scale));
				sum += e * e;
			}
			lost = sqrtl(sum);
			assert_true((long double)scale * 127 >= (long double)largest);
			assert_true((long double)scale * 127 <= (long double)largest * (1 + 3e-7L));
			assert_true((long double)resid >= lost);
			assert_true((long double)resid <= lost * (1 + 3e-7L) + 1e-44L);
		}
	}
}

static void ties_round_to_the_even_code(void **state)
{
	/* scale is exactly 1, so that halves are ties. */
	float v[8] = { 127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 125.5f }, scale, resid;
	const int8_t expected[8] = { 127, 0, 2, 2, 0, -2, -2, 126 };
	int8_t codes[8];

	(void)state;
	lineup_probe_quantise(v, 8, codes, &scale, &resid);
	assert_true(scale == 1);
	assert_memory_equal(codes, expected, sizeof(codes));
}

static void a_zero_vector_has_scale_zero(void **state)
{
	float v[5] = { 0 }, scale = 1, resid = 1;
	int8_t codes[5] = { 1, 1, 1, 1, 1 };

	(void)state;
	lineup_probe_quantise(v, 5, codes, &scale, &resid);
	assert_true(scale == 0 && resid == 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(codes[i], 0);
}

static void subnormal_vectors_keep_their_residual(void **state)
{
	float v[3] = { FLT_TRUE_MIN * 3, -FLT_TRUE_MIN, FLT_TRUE_MIN * 2 }, scale, resid;
	int8_t codes[3];
	long double sum = 0;

	(void)state;
	lineup_probe_quantise(v, 3, codes, &scale, &resid);
	for (int i = 0; i < 3; i++) {
		long double e = (long double)v[i] - (long double)scale * codes[i];

		sum += e * e;
	}
	assert_true((long double)resid >= sqrtl(sum));
}

/* |<p,t> - s_p s_t q.q| <= c0 + c1 resid_t for every pair of kinds, and c1 resid_t + c0 also covers the rounded score. */
static void the_certificate_holds(void **state)
{
	static float p[LINEUP_DIM_MAX], t[LINEUP_DIM_MAX];
	static int8_t codes[LINEUP_DIM_MAX];
	struct lineup_ctx *ctx = *state;

	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		struct lineup_probe_set set;

		assert_int_equal(lineup_probe_set_init(ctx, &set, 1, dims[d]), 0);
		for (int pair = 0; pair < KINDS * KINDS; pair++) {
			struct lineup_matrix m = { .data = p, .rows = 1, .dim = dims[d], .dtype = LINEUP_FLOAT32 };
			long double product = 0, bound, estimate;
			int64_t acc = 0;
			float scale, resid;

			make_vector((enum kind)(pair % KINDS), dims[d], p);
			make_vector((enum kind)(pair / KINDS), dims[d], t);
			assert_int_equal(lineup_probe_set_fill(ctx, &set, &m, 0, 1, LINEUP_NORM_MAX_FLOAT32), 0);
			lineup_probe_quantise(t, dims[d], codes, &scale, &resid);
			for (uint32_t i = 0; i < dims[d]; i++) {
				product += (long double)set.vectors[i] * (long double)t[i];
				acc += set.codes[i / 4 * LINEUP_PROBE_TILE * 4 + i % 4] * codes[i];
			}
			estimate = (long double)set.scale[0] * (long double)scale * (long double)acc;
			bound = (long double)set.c0[0] + (long double)set.c1[0] * (long double)resid;
			assert_true(fabsl(product - estimate) <= bound);
			assert_true(fabsl((long double)(float)lineup_dot(set.vectors, t, dims[d]) - estimate) <= bound);
			/* And it is worth something: not more than the residuals and the norms ask for. */
			assert_true(bound <= ((long double)set.c1[0] - 1) * 1.01L + 1.01L * (1 + (long double)set.c1[0] - 1) * (long double)resid + 1e-5L);
		}
		lineup_probe_set_fini(&set);
	}
}

static void probes_are_packed_in_tiles_of_eight(void **state)
{
	enum { DIM = 10, PROBES = 11 };
	static float v[PROBES * DIM];
	struct lineup_matrix m = { .data = v, .rows = PROBES, .dim = DIM, .dtype = LINEUP_FLOAT32 };
	struct lineup_probe_set set;

	for (int i = 0; i < PROBES * DIM; i++)
		v[i] = (float)next_uniform();
	assert_int_equal(lineup_probe_set_init(*state, &set, PROBES, DIM), 0);
	assert_int_equal(set.capacity, 16);
	assert_int_equal(set.groups, 3);
	assert_int_equal((uintptr_t)set.codes % 64, 0);
	assert_int_equal(lineup_probe_set_fill(*state, &set, &m, 0, PROBES, LINEUP_NORM_MAX_FLOAT32), 0);
	assert_int_equal(set.count, PROBES);
	assert_int_equal(set.tiles, 2);
	for (uint32_t p = 0; p < 16; p++) {
		float out[DIM], scale = 0, resid;
		int8_t codes[12] = { 0 };
		int sum = 0;

		if (p < PROBES) {
			assert_int_equal(lineup_probe_normalise(&m, p, out), LINEUP_ROW_OK);
			assert_memory_equal(out, set.vectors + p * DIM, sizeof(out));
			lineup_probe_quantise(out, DIM, codes, &scale, &resid);
			assert_true(set.c0[p] == (double)resid * LINEUP_NORM_MAX_FLOAT32 + LINEUP_BOUND_MARGIN);
			assert_true(set.c1[p] == (double)resid + LINEUP_NORM_MAX_FLOAT32);
		}
		assert_true(set.scale[p] == scale);
		for (uint32_t i = 0; i < 12; i++) {
			assert_int_equal(set.codes[p / 8 * 3 * 32 + i / 4 * 32 + p % 8 * 4 + i % 4], codes[i]);
			sum += codes[i];
		}
		assert_int_equal(set.code_sum[p], sum);
	}
	lineup_probe_set_fini(&set);
}

static void a_smaller_fill_leaves_nothing_of_a_larger_one(void **state)
{
	enum { DIM = 6, PROBES = 16 };
	static float v[PROBES * DIM];
	struct lineup_matrix m = { .data = v, .rows = PROBES, .dim = DIM, .dtype = LINEUP_FLOAT32 };
	struct lineup_probe_set set;

	for (int i = 0; i < PROBES * DIM; i++)
		v[i] = (float)next_uniform();
	assert_int_equal(lineup_probe_set_init(*state, &set, PROBES, DIM), 0);
	assert_int_equal(lineup_probe_set_fill(*state, &set, &m, 0, PROBES, LINEUP_NORM_MAX_FLOAT32), 0);
	assert_int_equal(lineup_probe_set_fill(*state, &set, &m, 3, 1, LINEUP_NORM_MAX_FLOAT32), 0);
	assert_int_equal(set.tiles, 1);
	for (uint32_t i = DIM; i < PROBES * DIM; i++)
		assert_true(set.vectors[i] == 0);
	for (uint32_t p = 1; p < PROBES; p++)
		assert_true(set.scale[p] == 0 && set.c0[p] == 0 && set.c1[p] == 0 && set.code_sum[p] == 0);
	lineup_probe_set_erase(&set);
	for (size_t i = 0; i < set.memory_size; i++)
		assert_int_equal(((const uint8_t *)set.memory)[i], 0);
	lineup_probe_set_fini(&set);
	assert_null(set.memory);
	lineup_probe_set_fini(&set);
}

static void a_bad_probe_is_named_and_nothing_stays(void **state)
{
	float v[6] = { 1, 2, 3, NAN, 5, 6 };
	struct lineup_matrix m = { .data = v, .rows = 3, .dim = 2, .dtype = LINEUP_FLOAT32 };
	struct lineup_probe_set set;

	assert_int_equal(lineup_probe_set_init(*state, &set, 3, 2), 0);
	assert_int_equal(lineup_probe_set_fill(*state, &set, &m, 0, 3, LINEUP_NORM_MAX_FLOAT32), -EINVAL);
	assert_string_equal(last_message, "probes: row 1 holds a NaN");
	assert_int_equal(set.count, 0);
	for (size_t i = 0; i < set.memory_size; i++)
		assert_int_equal(((const uint8_t *)set.memory)[i], 0);
	lineup_probe_set_fini(&set);
}

static void a_probe_of_another_dimension_is_refused(void **state)
{
	float v[6] = { 1, 2, 3, 4, 5, 6 };
	struct lineup_matrix m = { .data = v, .rows = 2, .dim = 3, .dtype = LINEUP_FLOAT32 };

	assert_int_equal(lineup_probe_check(*state, &m, 2), -EINVAL);
	assert_string_equal(last_message, "probes: 3 components each, but the gallery's templates have 2");
	assert_int_equal(lineup_probe_check(*state, &m, 3), 0);
}

static void a_probe_of_an_unknown_type_is_refused(void **state)
{
	float v[3] = { 1, 2, 3 };
	struct lineup_matrix m = { .data = v, .rows = 1, .dim = 3, .dtype = (enum lineup_dtype)9 };

	assert_int_equal(lineup_probe_check(*state, &m, 3), -EINVAL);
	assert_string_equal(last_message, "probes: dtype 9 is not known");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dot_adds_in_the_documented_order),
		cmocka_unit_test(dot_of_a_known_vector_has_known_bits),
		cmocka_unit_test(normalised_float32_follows_the_documented_order),
		cmocka_unit_test(normalised_float64_follows_the_documented_order),
		cmocka_unit_test(normalised_vectors_have_length_one_whatever_their_magnitude),
		cmocka_unit_test(the_smallest_and_the_largest_number_normalise_to_one),
		cmocka_unit_test(bad_rows_are_told_apart),
		cmocka_unit_test(codes_are_the_nearest_and_the_residual_covers_what_is_lost),
		cmocka_unit_test(ties_round_to_the_even_code),
		cmocka_unit_test(a_zero_vector_has_scale_zero),
		cmocka_unit_test(subnormal_vectors_keep_their_residual),
		cmocka_unit_test(the_certificate_holds),
		cmocka_unit_test(probes_are_packed_in_tiles_of_eight),
		cmocka_unit_test(a_smaller_fill_leaves_nothing_of_a_larger_one),
		cmocka_unit_test(a_bad_probe_is_named_and_nothing_stays),
		cmocka_unit_test(a_probe_of_another_dimension_is_refused),
		cmocka_unit_test(a_probe_of_an_unknown_type_is_refused),
	};

	return cmocka_run_group_tests(tests, make_ctx, drop_ctx);
}
