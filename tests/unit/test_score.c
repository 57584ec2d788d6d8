// SPDX-License-Identifier: MIT
// Every backend that runs here, against plain loops over the plain codes; the choice of one; the self-test.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "score.h"

enum { ROWS_MAX = 150, PROBES_MAX = 24, BLOCK_BYTES_MAX = 1 << 20 };

static const uint32_t dims[] = { 1, 3, 4, 64, 128, 200, 512, 1000, 4096 };

/* Codes, scales and bounds as plain arrays, the block and the probe set made of them, and what a scan reported. */
struct fixture {
	uint8_t block[BLOCK_BYTES_MAX] __attribute__((aligned(4096)));
	int8_t packed[PROBES_MAX * (LINEUP_DIM_MAX + 4)] __attribute__((aligned(64)));
	int8_t row[ROWS_MAX][LINEUP_DIM_MAX];
	int8_t probe[PROBES_MAX][LINEUP_DIM_MAX];
	int32_t code_sum[PROBES_MAX];
	float row_scale[ROWS_MAX];
	float resid[ROWS_MAX];
	float scale[PROBES_MAX];
	double c0[PROBES_MAX];
	double c1[PROBES_MAX];
	_Atomic float threshold[PROBES_MAX];
	int64_t acc[PROBES_MAX][ROWS_MAX];
	uint8_t hits[PROBES_MAX][ROWS_MAX];
	int32_t hit_acc[PROBES_MAX][ROWS_MAX];
	uint32_t rows;
	uint32_t stray; /* reports of rows or probes that there are not */
	struct lineup_shape shape;
	struct lineup_columns columns;
	struct lineup_probe_set set;
};

static struct fixture f;
static uint64_t random_state;
static char last_message[256];
static unsigned int warnings;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static double next_uniform(void)
{
	return (double)(int64_t)next_random() * 0x1p-63;
}

/* A code in [-127, 127]; the extremes come often. */
static int8_t next_code(void)
{
	uint64_t r = next_random() >> 20;

	if (r % 8 == 0)
		return r & 8 ? 127 : -127;
	return (int8_t)((int)(r / 16 % 255) - 127);
}

static const struct lineup_score *const backends[] = {
	&lineup_score_scalar, &lineup_score_avx2, &lineup_score_avx512, &lineup_score_neon,
};

static void needs(const struct lineup_score *score)
{
	if (!score->why_not())
		return;
	print_message("skipped: backend %s: %s\n", score->name, score->why_not());
	skip();
}

static void set_row(uint32_t r, float scale, float resid)
{
	f.row_scale[r] = scale;
	f.resid[r] = resid;
	((float *)(void *)(f.block + 64))[r] = scale;
	((float *)(void *)(f.block + 64))[f.shape.block_rows + r] = resid;
}

/* Random codes; real lengths. Writes the layouts from their description in gallery.h and probe.h. */
static void fill(uint32_t dim, uint32_t rows, uint32_t probes, uint64_t seed)
{
	uint32_t groups = (dim + 3) / 4;
	float unit = 1 / (127 * sqrtf((float)dim / 3));

	random_state = seed * 0x9e3779b97f4a7c15u + 1;
	f.rows = rows;
	lineup_shape_init(&f.shape, dim, LINEUP_STORE_FLOAT32, rows);
	assert_true(f.shape.block_bytes <= sizeof(f.block));
	assert_true(rows <= f.shape.block_rows);
	memset(f.block, 0, f.shape.block_bytes);
	memset(f.block + 64 + 36 * f.shape.block_rows, 128, (size_t)f.shape.block_rows * groups * 4);
	for (uint32_t r = 0; r < rows; r++) {
		set_row(r, unit * (float)(1 + next_uniform() / 4), 0.01f * (float)(1 + next_uniform() / 2));
		for (uint32_t i = 0; i < dim; i++) {
			f.row[r][i] = next_code();
			f.block[64 + 36 * f.shape.block_rows + r / 48 * (48 * 4 * groups) + i / 4 * 192 + r % 48 * 4 + i % 4] =
				(uint8_t)(f.row[r][i] + 128);
		}
	}
	memset(f.packed, 0, sizeof(f.packed));
	for (uint32_t p = 0; p < PROBES_MAX; p++) {
		f.code_sum[p] = 0;
		f.scale[p] = p < probes ? unit : 0;
		f.c0[p] = p < probes ? 0.011 * (1 + next_uniform() / 2) : 0;
		f.c1[p] = p < probes ? 1.01 + next_uniform() / 100 : 0;
		for (uint32_t i = 0; p < probes && i < dim; i++) {
			f.probe[p][i] = next_code();
			f.code_sum[p] += f.probe[p][i];
			f.packed[(size_t)p / 8 * groups * 32 + i / 4 * 32 + p % 8 * 4 + i % 4] = f.probe[p][i];
		}
		atomic_store(&f.threshold[p], -INFINITY);
	}
	for (uint32_t p = 0; p < probes; p++) {
		for (uint32_t r = 0; r < rows; r++) {
			f.acc[p][r] = 0;
			for (uint32_t i = 0; i < dim; i++)
				f.acc[p][r] += (int64_t)f.probe[p][i] * f.row[r][i];
		}
	}
	lineup_block_columns(&f.shape, f.block, &f.columns);
	f.set = (struct lineup_probe_set){ .count = probes, .tiles = (probes + 7) / 8, .dim = dim, .groups = groups, .capacity = PROBES_MAX,
					   .codes = f.packed, .code_sum = f.code_sum, .scale = f.scale, .c0 = f.c0, .c1 = f.c1 };
}

static void keep_hit(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	(void)arg;
	for (uint32_t b = 0; b < 64; b++) {
		if (!(mask >> b & 1))
			continue;
		if (b >= LINEUP_PANEL_ROWS || row % LINEUP_PANEL_ROWS || probe >= f.set.count || row + b >= f.rows) {
			f.stray++;
			continue;
		}
		f.hits[probe][row + b]++;
		f.hit_acc[probe][row + b] = acc[b];
	}
}

static void scan(const struct lineup_score *score)
{
	struct lineup_scan s = { .probes = &f.set, .threshold = f.threshold, .hit = keep_hit };

	memset(f.hits, 0, sizeof(f.hits));
	f.stray = 0;
	score->scan(&s, &f.columns, f.rows);
	assert_int_equal(f.stray, 0);
}

static long double bound(uint32_t p, uint32_t r)
{
	return (long double)f.scale[p] * (long double)f.row_scale[r] * (long double)f.acc[p][r] + (long double)f.c0[p] +
	       (long double)f.c1[p] * (long double)f.resid[r];
}

/*
 * All that pass are reported, once, with the right sum; of the others only those near the threshold: their distance is compared
 * with float32's rounding of the terms that the test adds up.
 */
static void check_hits(void)
{
	for (uint32_t p = 0; p < f.set.count; p++) {
		long double threshold = (long double)atomic_load(&f.threshold[p]);

		for (uint32_t r = 0; r < f.rows; r++) {
			long double slack = 4e-6L * (fabsl((long double)f.scale[p] * (long double)f.row_scale[r] * (long double)f.acc[p][r]) +
						     (long double)f.c0[p] + (long double)f.c1[p] * (long double)f.resid[r] + fabsl(threshold));

			assert_true(f.hits[p][r] <= 1);
			if (bound(p, r) >= threshold)
				assert_int_equal(f.hits[p][r], 1);
			if (f.hits[p][r]) {
				assert_int_equal(f.hit_acc[p][r], f.acc[p][r]);
				assert_true(isinf(threshold) || bound(p, r) >= threshold - slack);
			}
		}
	}
}

static void check_sums(const struct lineup_score *score)
{
	needs(score);
	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		static const uint32_t row_counts[] = { 1, 47, 48, 49, 100 };

		for (size_t n = 0; n < ARRAY_SIZE(row_counts); n++) {
			for (uint32_t probes = 1; probes <= 17; probes += dims[d] > 512 ? 4 : 1) {
				fill(dims[d], row_counts[n], probes, d * 1000 + n * 100 + probes);
				scan(score);
				for (uint32_t p = 0; p < probes; p++) {
					for (uint32_t r = 0; r < f.rows; r++) {
						assert_int_equal(f.hits[p][r], 1);
						assert_int_equal(f.hit_acc[p][r], f.acc[p][r]);
					}
				}
			}
		}
	}
}

static void check_row_counts(const struct lineup_score *score)
{
	needs(score);
	for (uint32_t rows = 1; rows <= 100; rows++) {
		for (uint32_t probes = 1; probes <= 9; probes += 4) {
			fill(64, rows, probes, rows);
			scan(score);
			check_hits();
			for (uint32_t p = 0; p < probes; p++)
				atomic_store(&f.threshold[p], 0.02f);
			scan(score);
			check_hits();
		}
	}
}

static void check_extreme_sums(const struct lineup_score *score)
{
	needs(score);
	fill(4096, 50, 10, 1);
	for (uint32_t r = 0; r < 50; r++)
		for (uint32_t i = 0; i < 4096; i++)
			f.block[64 + 36 * f.shape.block_rows + r / 48 * (48 * 4096) + i / 4 * 192 + r % 48 * 4 + i % 4] = r % 2 ? 255 : 1;
	for (uint32_t p = 0; p < 10; p++) {
		f.code_sum[p] = (p % 3 ? 127 : -127) * 4096;
		for (uint32_t i = 0; i < 4096; i++)
			f.packed[p / 8 * 32768 + i / 4 * 32 + p % 8 * 4 + i % 4] = p % 3 ? 127 : -127;
	}
	scan(score);
	for (uint32_t p = 0; p < 10; p++)
		for (uint32_t r = 0; r < 50; r++)
			assert_int_equal(f.hit_acc[p][r], (p % 3 ? 1 : -1) * (r % 2 ? 1 : -1) * 127 * 127 * 4096);
}

/* Each threshold in turn is some row's own bound, rounded down, and its neighbours above and below. */
static void check_thresholds_at_bounds(const struct lineup_score *score)
{
	needs(score);
	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		fill(dims[d], 75, 11, d + 7);
		for (uint32_t r = 0; r < 75; r += 5) {
			for (int step = -1; step <= 1; step++) {
				for (uint32_t p = 0; p < 11; p++) {
					float at = (float)bound(p, r);

					if ((long double)at > bound(p, r))
						at = nextafterf(at, -INFINITY);
					if (step)
						at = nextafterf(at, step > 0 ? INFINITY : -INFINITY);
					atomic_store(&f.threshold[p], at);
				}
				scan(score);
				check_hits();
			}
		}
	}
}

static void check_infinite_thresholds(const struct lineup_score *score)
{
	needs(score);
	fill(128, 60, 3, 3);
	atomic_store(&f.threshold[1], INFINITY);
	scan(score);
	for (uint32_t r = 0; r < 60; r++) {
		assert_int_equal(f.hits[0][r], 1);
		assert_int_equal(f.hits[1][r], 0);
		assert_int_equal(f.hits[2][r], 1);
	}
}

/* Scales and residuals as only a bad file has them: rows may be reported needlessly, but never missed. */
static void check_adversarial_rows(const struct lineup_score *score)
{
	static const float scales[] = { 0, 1e-45f, 1e-38f, 1e-20f, 1, 1e19f, 1e30f, 3e38f, INFINITY, NAN, -1, -1e30f };
	static const float resids[] = { 0, 1e-45f, 1, 1e19f, 1e30f, 3e38f, INFINITY, NAN };
	static const float thresholds[] = { -3e38f, -1e20f, -1, -1e-40f, 0, 1e-40f, 0.3f, 1e20f, 3e38f };

	needs(score);
	fill(200, ARRAY_SIZE(scales) * ARRAY_SIZE(resids), 5, 11);
	for (uint32_t r = 0; r < f.rows; r++)
		set_row(r, scales[r % ARRAY_SIZE(scales)], resids[r / ARRAY_SIZE(scales)]);
	for (size_t t = 0; t < ARRAY_SIZE(thresholds); t++) {
		for (uint32_t p = 0; p < 5; p++)
			atomic_store(&f.threshold[p], thresholds[t]);
		scan(score);
		for (uint32_t p = 0; p < 5; p++)
			for (uint32_t r = 0; r < f.rows; r++)
				if (!(bound(p, r) < (long double)thresholds[t]))
					assert_int_equal(f.hits[p][r], 1);
	}
}

/* Random magnitudes of scale, residual, bounds and threshold: the margins must hold for all of them. */
static void check_random_magnitudes(const struct lineup_score *score)
{
	needs(score);
	for (uint64_t round = 0; round < 60; round++) {
		fill(64, 96, 8, round + 100);
		for (uint32_t r = 0; r < f.rows; r++)
			set_row(r, (float)ldexp(next_uniform(), (int)(next_random() % 80) - 60),
				(float)ldexp(fabs(next_uniform()), (int)(next_random() % 80) - 60));
		for (uint32_t p = 0; p < 8; p++) {
			uint32_t r = (uint32_t)(next_random() % f.rows);

			f.scale[p] = (float)ldexp(1 + fabs(next_uniform()), (int)(next_random() % 14) - 13);
			f.c1[p] = 1 + fabs(next_uniform());
			atomic_store(&f.threshold[p], (float)bound(p, r));
		}
		scan(score);
		check_hits();
	}
}

static void check_odd_probe_scales(const struct lineup_score *score)
{
	static const float scales[] = { 0, 1e-45f, 1e-30f, 1e30f, INFINITY, NAN };

	needs(score);
	fill(64, 60, ARRAY_SIZE(scales), 5);
	for (uint32_t p = 0; p < ARRAY_SIZE(scales); p++) {
		f.scale[p] = scales[p];
		atomic_store(&f.threshold[p], 0.02f);
	}
	scan(score);
	for (uint32_t p = 0; p < ARRAY_SIZE(scales); p++)
		for (uint32_t r = 0; r < 60; r++)
			if (!(bound(p, r) < 0.02L))
				assert_int_equal(f.hits[p][r], 1);
}

static void check_dot(const struct lineup_score *score)
{
	static float a[LINEUP_DIM_MAX + 1], b[LINEUP_DIM_MAX + 1];

	needs(score);
	if (!score->dot)
		return;
	random_state = 77;
	for (uint32_t dim = 1; dim <= LINEUP_DIM_MAX; dim += dim < 70 ? 1 : 61) {
		for (uint32_t i = 0; i <= dim; i++) {
			a[i] = (float)ldexp(next_uniform(), (int)(next_random() % 40) - 20);
			b[i] = (float)ldexp(next_uniform(), (int)(next_random() % 40) - 20);
		}
		for (uint32_t unaligned = 0; unaligned < 2; unaligned++) {
			double expected = lineup_dot(a + unaligned, b + unaligned, dim), found = score->dot(a + unaligned, b + unaligned, dim);

			assert_memory_equal(&found, &expected, sizeof(found));
		}
	}
	a[0] = -0.0f;
	assert_false(signbit(score->dot(a, b, 1)));
}

#define EACH_BACKEND(fact, check) \
	static void scalar_##fact(void **state) { (void)state; check(&lineup_score_scalar); } \
	static void avx2_##fact(void **state) { (void)state; check(&lineup_score_avx2); } \
	static void avx512_##fact(void **state) { (void)state; check(&lineup_score_avx512); } \
	static void neon_##fact(void **state) { (void)state; check(&lineup_score_neon); }
EACH_BACKEND(sums_are_exact, check_sums)
EACH_BACKEND(any_number_of_rows_works, check_row_counts)
EACH_BACKEND(the_largest_sums_do_not_saturate, check_extreme_sums)
EACH_BACKEND(rows_at_the_threshold_are_reported, check_thresholds_at_bounds)
EACH_BACKEND(infinite_thresholds_pass_all_or_none, check_infinite_thresholds)
EACH_BACKEND(adversarial_rows_are_not_missed, check_adversarial_rows)
EACH_BACKEND(margins_hold_at_all_magnitudes, check_random_magnitudes)
EACH_BACKEND(probes_of_odd_scale_miss_nothing, check_odd_probe_scales)
EACH_BACKEND(dot_has_the_bits_of_the_reference, check_dot)

static void raise_threshold(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	(void)row, (void)mask, (void)acc;
	++*(uint32_t *)arg;
	atomic_store(&f.threshold[probe], INFINITY);
}

static void a_raised_threshold_stops_later_panels(void **state)
{
	(void)state;
	for (size_t b = 0; b < ARRAY_SIZE(backends); b++) {
		uint32_t calls = 0;
		struct lineup_scan s = { .probes = &f.set, .threshold = f.threshold, .hit = raise_threshold, .arg = &calls };

		if (backends[b]->why_not())
			continue;
		fill(64, 144, 9, 9);
		backends[b]->scan(&s, &f.columns, f.rows);
		assert_int_equal(calls, 9);
	}
}

static void a_scan_of_a_real_block_agrees_with_its_vectors(void **state)
{
	static float rows[ROWS_MAX][128], vectors[12][128];
	struct lineup_matrix m = { .data = vectors, .rows = 12, .dim = 128, .dtype = LINEUP_FLOAT32 };
	struct lineup_matrix one = { .rows = 1, .dim = 128, .dtype = LINEUP_FLOAT32 };
	struct lineup_probe_set set;

	random_state = 4;
	lineup_shape_init(&f.shape, 128, LINEUP_STORE_FLOAT32, 100);
	lineup_block_begin(&f.shape, f.block);
	for (uint32_t p = 0; p < 12; p++)
		for (uint32_t i = 0; i < 128; i++)
			vectors[p][i] = (float)next_uniform();
	for (uint32_t r = 0; r < 100; r++) {
		struct disk_record record = { .template_id = r };
		float v[128];

		for (uint32_t i = 0; i < 128; i++)
			v[i] = (float)next_uniform();
		one.data = v;
		assert_int_equal(lineup_probe_normalise(&one, 0, rows[r]), LINEUP_ROW_OK);
		lineup_block_put(&f.shape, f.block, r, &record, rows[r]);
	}
	lineup_block_columns(&f.shape, f.block, &f.columns);
	assert_int_equal(lineup_probe_set_init(*state, &set, 12, 128), 0);
	assert_int_equal(lineup_probe_set_fill(*state, &set, &m, 0, 12, LINEUP_NORM_MAX_FLOAT32), 0);
	f.set = set;
	f.rows = 100;
	for (size_t b = 0; b < ARRAY_SIZE(backends); b++) {
		if (backends[b]->why_not())
			continue;
		for (uint32_t p = 0; p < 12; p++)
			atomic_store(&f.threshold[p], 0.15f);
		scan(backends[b]);
		for (uint32_t p = 0; p < 12; p++)
			for (uint32_t r = 0; r < 100; r++)
				if ((float)lineup_dot(set.vectors + (size_t)p * 128, rows[r], 128) >= 0.15f)
					assert_int_equal(f.hits[p][r], 1);
	}
	lineup_probe_set_fini(&set);
}

/* Backends that a choice must get past. */

static const char *runs_here(void)
{
	return NULL;
}

static const char *runs_elsewhere(void)
{
	return "this is another machine";
}

struct skew {
	const struct lineup_scan *scan;
	int32_t by;
	uint64_t keep;
};

static void hit_skewed(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	const struct skew *skew = arg;
	int32_t wrong[LINEUP_PANEL_ROWS];

	memcpy(wrong, acc, sizeof(wrong));
	wrong[17] += skew->by;
	if (mask & skew->keep)
		skew->scan->hit(skew->scan->arg, probe, row, mask & skew->keep, wrong);
}

static void scan_skewed(const struct lineup_scan *s, const struct lineup_columns *columns, uint32_t rows, int32_t by, uint64_t keep)
{
	struct skew skew = { .scan = s, .by = by, .keep = keep };
	struct lineup_scan inner = *s;

	inner.hit = hit_skewed;
	inner.arg = &skew;
	lineup_score_scalar.scan(&inner, columns, rows);
}

static void scan_off_by_one(const struct lineup_scan *s, const struct lineup_columns *columns, uint32_t rows)
{
	scan_skewed(s, columns, rows, 1, UINT64_MAX);
}

static void scan_missing_a_row(const struct lineup_scan *s, const struct lineup_columns *columns, uint32_t rows)
{
	scan_skewed(s, columns, rows, 0, ~(UINT64_C(1) << 5));
}

static void scan_past_the_rows(const struct lineup_scan *s, const struct lineup_columns *columns, uint32_t rows)
{
	lineup_score_scalar.scan(s, columns, rows + 1);
}

static double dot_in_another_order(const float *a, const float *b, uint32_t dim)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

static const struct lineup_score off_by_one = { .name = "off-by-one", .why_not = runs_here, .scan = scan_off_by_one };
static const struct lineup_score missing = { .name = "missing", .why_not = runs_here, .scan = scan_missing_a_row };
static const struct lineup_score past = { .name = "past", .why_not = runs_here, .scan = scan_past_the_rows };
static const struct lineup_score elsewhere = { .name = "elsewhere", .why_not = runs_elsewhere, .scan = scan_off_by_one };
static struct lineup_score other_order = { .name = "other-order", .why_not = runs_here, .dot = dot_in_another_order };

static void keep_message(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	warnings += level == LINEUP_LOG_WARNING;
	snprintf(last_message, sizeof(last_message), "%s", message);
}

static int make_ctx(void **state)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = keep_message };

	warnings = 0;
	last_message[0] = 0;
	return lineup_ctx_create(&options, (struct lineup_ctx **)state);
}

static int drop_ctx(void **state)
{
	lineup_ctx_destroy(*state);
	return 0;
}

static void the_self_test_passes_here_and_finds_each_fault(void **state)
{
	(void)state;
	for (size_t b = 0; b < ARRAY_SIZE(backends); b++)
		if (!backends[b]->why_not())
			assert_int_equal(lineup_score_selftest(backends[b]), 0);
	assert_int_equal(lineup_score_selftest(&off_by_one), -EIO);
	assert_int_equal(lineup_score_selftest(&missing), -EIO);
	assert_int_equal(lineup_score_selftest(&past), -EIO);
	other_order.scan = lineup_score_scalar.scan;
	assert_int_equal(lineup_score_selftest(&other_order), -EIO);
}

static void a_broken_backend_is_passed_over_with_a_warning(void **state)
{
	const struct lineup_score *table[] = { &elsewhere, &off_by_one, &lineup_score_scalar }, *score = NULL;

	assert_int_equal(lineup_score_choose_from(*state, table, 3, NULL, &score), 0);
	assert_ptr_equal(score, &lineup_score_scalar);
	assert_int_equal(warnings, 1);
	assert_non_null(strstr(last_message, "off-by-one"));
}

static void a_named_backend_that_is_broken_is_refused(void **state)
{
	const struct lineup_score *table[] = { &off_by_one, &lineup_score_scalar }, *score = NULL;

	assert_int_equal(lineup_score_choose_from(*state, table, 2, "off-by-one", &score), -ENOTSUP);
	assert_null(score);
	assert_non_null(strstr(last_message, "self-test failed"));
}

static void a_named_backend_of_another_machine_is_refused(void **state)
{
	const struct lineup_score *table[] = { &elsewhere, &lineup_score_scalar }, *score = NULL;

	assert_int_equal(lineup_score_choose_from(*state, table, 2, "elsewhere", &score), -ENOTSUP);
	assert_null(score);
	assert_string_equal(last_message, "backend elsewhere: this is another machine");
}

static void an_unknown_backend_is_refused(void **state)
{
	const struct lineup_score *score = NULL;

	assert_int_equal(lineup_score_choose(*state, "abacus", &score), -EINVAL);
	assert_null(score);
	assert_string_equal(last_message, "backend abacus: there is none of this name");
}

static void scalar_can_always_be_named(void **state)
{
	const struct lineup_score *score = NULL;

	assert_int_equal(lineup_score_choose(*state, "scalar", &score), 0);
	assert_ptr_equal(score, &lineup_score_scalar);
}

static void auto_prefers_the_widest_that_runs(void **state)
{
	static const struct lineup_score *const order[] = { &lineup_score_avx512, &lineup_score_avx2, &lineup_score_neon,
							    &lineup_score_scalar };
	const struct lineup_score *score = NULL;
	size_t first = 0;

	while (order[first]->why_not())
		first++;
	assert_int_equal(lineup_score_choose(*state, "auto", &score), 0);
	assert_ptr_equal(score, order[first]);
	assert_int_equal(warnings, 0);
}

static void list_backend(void *arg, const char *name, const char *why_not)
{
	size_t *count = arg;

	assert_true(*count < ARRAY_SIZE(backends));
	if (*count == 0)
		assert_string_equal(name, "scalar");
	for (size_t b = 0; b < ARRAY_SIZE(backends); b++)
		if (!strcmp(backends[b]->name, name))
			assert_int_equal(!why_not, !backends[b]->why_not());
	++*count;
}

static void backends_are_listed_scalar_first(void **state)
{
	size_t count = 0;

	(void)state;
	lineup_backends(list_backend, &count);
	assert_int_equal(count, ARRAY_SIZE(backends));
}

#define BACKENDS(fact) \
	cmocka_unit_test(scalar_##fact), cmocka_unit_test(avx2_##fact), cmocka_unit_test(avx512_##fact), cmocka_unit_test(neon_##fact)
#define WITH_CTX(fact) cmocka_unit_test_setup_teardown(fact, make_ctx, drop_ctx)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BACKENDS(sums_are_exact),
		BACKENDS(any_number_of_rows_works),
		BACKENDS(the_largest_sums_do_not_saturate),
		BACKENDS(rows_at_the_threshold_are_reported),
		BACKENDS(infinite_thresholds_pass_all_or_none),
		BACKENDS(adversarial_rows_are_not_missed),
		BACKENDS(margins_hold_at_all_magnitudes),
		BACKENDS(probes_of_odd_scale_miss_nothing),
		BACKENDS(dot_has_the_bits_of_the_reference),
		cmocka_unit_test(a_raised_threshold_stops_later_panels),
		WITH_CTX(a_scan_of_a_real_block_agrees_with_its_vectors),
		WITH_CTX(the_self_test_passes_here_and_finds_each_fault),
		WITH_CTX(a_broken_backend_is_passed_over_with_a_warning),
		WITH_CTX(a_named_backend_that_is_broken_is_refused),
		WITH_CTX(a_named_backend_of_another_machine_is_refused),
		WITH_CTX(an_unknown_backend_is_refused),
		WITH_CTX(scalar_can_always_be_named),
		WITH_CTX(auto_prefers_the_widest_that_runs),
		WITH_CTX(backends_are_listed_scalar_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
