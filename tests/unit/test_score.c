// SPDX-License-Identifier: MIT
// Every backend that runs here against sums and bounds computed from the plain codes, in integers and long double.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "score.h"

enum { ROWS_MAX = 100, PROBES_MAX = 24 };

static char last_message[1024];
static uint64_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33) % n;
}

static double random_unit(void)
{
	return random_below(2000001) / 1e6 - 1;
}

static void keep_message(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	(void)level;
	snprintf(last_message, sizeof(last_message), "%s", message);
}

/* The plain codes, and what a scan of them reported. */
struct bench {
	struct lineup_ctx *ctx;
	uint32_t dim, rows, probes;
	struct lineup_shape shape;
	uint8_t *block;
	struct lineup_columns columns;
	float *row_scale, *row_resid; /* the columns, to be changed */
	int8_t *row_codes;            /* [rows][dim] */
	int8_t *probe_codes;          /* [probes][dim] */
	struct lineup_probe_set set;
	_Atomic float threshold[PROBES_MAX];
	uint8_t hits[PROBES_MAX][ROWS_MAX];
	int32_t acc[PROBES_MAX][ROWS_MAX];
};

/* Vectors of several kinds: even, one dominant component, tiny, all equal, with few values. */
static void make_vector(float *v, uint32_t dim, uint32_t kind)
{
	for (uint32_t i = 0; i < dim; i++)
		v[i] = (float)(kind == 3 ? 1 : kind == 4 ? (double)random_below(3) - 1 : random_unit());
	if (kind == 1)
		v[random_below(dim)] = 1000;
	if (kind == 2)
		for (uint32_t i = 0; i < dim; i++)
			v[i] *= 1e-30f;
	if (kind == 4)
		v[0] = 1;
}

static void bench_open(struct bench *b, struct lineup_ctx *ctx, uint32_t dim, uint32_t rows, uint32_t probes)
{
	float *vector = calloc(dim, sizeof(*vector)), *all = calloc((size_t)dim * probes, sizeof(*all));
	struct lineup_matrix m = { .data = all, .rows = probes, .dim = dim, .dtype = LINEUP_FLOAT32 };
	float scale, resid;

	memset(b, 0, sizeof(*b));
	b->ctx = ctx;
	b->dim = dim;
	b->rows = rows;
	b->probes = probes;
	lineup_shape_init(&b->shape, dim, LINEUP_STORE_FLOAT32, rows);
	b->block = aligned_alloc(LINEUP_PAGE_BYTES, b->shape.block_bytes);
	b->row_codes = calloc(rows, dim);
	b->probe_codes = calloc(probes, dim);
	lineup_block_begin(&b->shape, b->block);
	for (uint32_t r = 0; r < rows; r++) {
		struct lineup_matrix one = { .data = vector, .rows = 1, .dim = dim, .dtype = LINEUP_FLOAT32 };
		struct disk_record record = { .template_id = r };

		make_vector(vector, dim, random_below(5));
		assert_int_equal(lineup_probe_normalise(&one, 0, vector), LINEUP_ROW_OK);
		lineup_block_put(&b->shape, b->block, r, &record, vector);
		lineup_probe_quantise(vector, dim, b->row_codes + (size_t)r * dim, &scale, &resid);
	}
	lineup_block_columns(&b->shape, b->block, &b->columns);
	b->row_scale = (float *)(uintptr_t)b->columns.scale;
	b->row_resid = (float *)(uintptr_t)b->columns.resid;
	for (uint32_t p = 0; p < probes; p++)
		make_vector(all + (size_t)p * dim, dim, random_below(5));
	assert_int_equal(lineup_probe_set_init(ctx, &b->set, PROBES_MAX, dim), 0);
	assert_int_equal(lineup_probe_set_fill(ctx, &b->set, &m, 0, probes, LINEUP_NORM_MAX_FLOAT32), 0);
	for (uint32_t p = 0; p < probes; p++)
		lineup_probe_quantise(b->set.vectors + (size_t)p * dim, dim, b->probe_codes + (size_t)p * dim, &scale, &resid);
	for (uint32_t p = 0; p < PROBES_MAX; p++)
		atomic_store(&b->threshold[p], -INFINITY);
	free(vector);
	free(all);
}

static void bench_close(struct bench *b)
{
	lineup_probe_set_fini(&b->set);
	free(b->block);
	free(b->row_codes);
	free(b->probe_codes);
}

static void note(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	struct bench *b = arg;

	assert_true(probe < b->probes);
	assert_int_equal(row % LINEUP_PANEL_ROWS, 0);
	assert_int_not_equal(mask, 0);
	for (uint32_t i = 0; i < 64; i++) {
		if (!(mask >> i & 1))
			continue;
		assert_true(i < LINEUP_PANEL_ROWS && row + i < b->rows);
		b->hits[probe][row + i]++;
		b->acc[probe][row + i] = acc[i];
	}
}

static int64_t plain_sum(const struct bench *b, uint32_t p, uint32_t r)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < b->dim; i++)
		sum += (int64_t)b->probe_codes[(size_t)p * b->dim + i] * b->row_codes[(size_t)r * b->dim + i];
	return sum;
}

static long double plain_bound(const struct bench *b, uint32_t p, uint32_t r)
{
	return (long double)b->set.scale[p] * b->row_scale[r] * plain_sum(b, p, r) + b->set.c0[p] +
	       (long double)b->set.c1[p] * b->row_resid[r];
}

/* Every row at or over its threshold is reported, once, with its sum; below it only rows that miss it by a hair. */
static void scan_and_check(struct bench *b, const struct lineup_score *score)
{
	struct lineup_scan scan = { .probes = &b->set, .threshold = b->threshold, .hit = note, .arg = b };

	memset(b->hits, 0, sizeof(b->hits));
	score->scan(&scan, &b->columns, b->rows);
	for (uint32_t p = 0; p < b->probes; p++) {
		long double threshold = atomic_load(&b->threshold[p]);

		for (uint32_t r = 0; r < b->rows; r++) {
			long double bound = plain_bound(b, p, r);

			assert_true(b->hits[p][r] <= 1);
			if (b->hits[p][r]) {
				assert_int_equal(b->acc[p][r], plain_sum(b, p, r));
				assert_true(bound >= threshold - 2e-6L * (1 + fabsl(threshold)));
			} else {
				assert_true(bound < threshold);
			}
		}
	}
}

static const struct lineup_score *const all_backends[] = {
	&lineup_score_scalar, &lineup_score_avx2, &lineup_score_avx512, &lineup_score_neon,
};

/* Runs @check with each backend of this machine, on an odd lot of shapes. */
static void with_shapes(struct lineup_ctx *ctx, const struct lineup_score *score, void (*check)(struct bench *b, const struct lineup_score *s))
{
	static const uint32_t dims[] = { 1, 3, 4, 5, 64, 128, 200, 512, 1000, 4096 };
	static const uint32_t rows[] = { 1, 2, 15, 16, 17, 47, 48, 49, 95, 96, 97, 100 };

	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		for (uint32_t probes = 1; probes <= 17; probes += dims[d] > 500 ? 4 : 1) {
			struct bench *b = malloc(sizeof(*b));

			assert_non_null(b);
			bench_open(b, ctx, dims[d], rows[random_below(ARRAY_SIZE(rows))], probes);
			check(b, score);
			bench_close(b);
			free(b);
		}
	}
}

static void let_all_through(struct bench *b, const struct lineup_score *score)
{
	scan_and_check(b, score);
	for (uint32_t p = 0; p < b->probes; p++)
		for (uint32_t r = 0; r < b->rows; r++)
			assert_int_equal(b->hits[p][r], 1);
}

static void cut_at_the_bounds(struct bench *b, const struct lineup_score *score)
{
	for (int round = 0; round < 6; round++) {
		for (uint32_t p = 0; p < b->probes; p++) {
			float bound = (float)plain_bound(b, p, random_below(b->rows));

			/* Exactly at a row's bound, a step over it, a step under it, anywhere. */
			atomic_store(&b->threshold[p], round % 4 == 0 ? bound : round % 4 == 1 ? nextafterf(bound, INFINITY) :
						       round % 4 == 2 ? nextafterf(bound, -INFINITY) : (float)random_unit());
		}
		scan_and_check(b, score);
	}
	for (uint32_t p = 0; p < b->probes; p++)
		atomic_store(&b->threshold[p], INFINITY);
	scan_and_check(b, score);
}

static void survive_odd_columns(struct bench *b, const struct lineup_score *score)
{
	static const float odd[] = { 0, 1e-38f, 1e-45f, 1e10f, 0x1p59f, -1, 0.5f };

	for (uint32_t r = 0; r < b->rows; r++) {
		if (random_below(2))
			b->row_scale[r] = odd[random_below(ARRAY_SIZE(odd))];
		if (random_below(2))
			b->row_resid[r] = fabsf(odd[random_below(ARRAY_SIZE(odd) - 2)]);
	}
	for (uint32_t p = 0; p < b->probes; p++)
		atomic_store(&b->threshold[p], random_below(2) ? (float)random_unit() : (float)plain_bound(b, p, random_below(b->rows)));
	for (uint32_t p = 0; p < b->probes; p++) {
		if (fabsf(atomic_load(&b->threshold[p])) > 1e30f) /* the check's own margin would overflow */
			atomic_store(&b->threshold[p], 0);
	}
	scan_and_check(b, score);
}

static void set_row_code(struct bench *b, uint32_t r, uint32_t i, int8_t code)
{
	size_t panel = (size_t)(r / LINEUP_PANEL_ROWS) * b->shape.panel_bytes;

	b->row_codes[(size_t)r * b->dim + i] = code;
	((uint8_t *)(uintptr_t)b->columns.codes)[panel + i / 4 * LINEUP_PANEL_ROWS * 4 + r % LINEUP_PANEL_ROWS * 4 + i % 4] =
		(uint8_t)(code + 128);
}

static void set_probe_code(struct bench *b, uint32_t p, uint32_t i, int8_t code)
{
	size_t at = ((size_t)(p / LINEUP_PROBE_TILE) * b->set.groups + i / 4) * LINEUP_PROBE_TILE * 4 + p % LINEUP_PROBE_TILE * 4 + i % 4;

	b->set.code_sum[p] += code - b->set.codes[at];
	b->set.codes[at] = code;
	b->probe_codes[(size_t)p * b->dim + i] = code;
}

/* Codes of 127 and -127 only: where 16-bit steps saturate, and the largest sums of both signs. */
static void reach_the_largest_sums(struct bench *b, const struct lineup_score *score)
{
	for (uint32_t i = 0; i < b->dim; i++) {
		for (uint32_t r = 0; r < b->rows; r++)
			set_row_code(b, r, i, r % 3 == 0 ? 127 : r % 3 == 1 ? -127 : random_below(2) ? 127 : -127);
		for (uint32_t p = 0; p < b->probes; p++)
			set_probe_code(b, p, i, p % 3 == 0 ? 127 : p % 3 == 1 ? -127 : random_below(2) ? 127 : -127);
	}
	scan_and_check(b, score);
}

/* No row that passes may be missed; what else is reported does not matter here. A bound that is NaN passes. */
static void scan_and_miss_nothing(struct bench *b, const struct lineup_score *score)
{
	struct lineup_scan scan = { .probes = &b->set, .threshold = b->threshold, .hit = note, .arg = b };

	memset(b->hits, 0, sizeof(b->hits));
	score->scan(&scan, &b->columns, b->rows);
	for (uint32_t p = 0; p < b->probes; p++)
		for (uint32_t r = 0; r < b->rows; r++)
			if (!(plain_bound(b, p, r) < (long double)atomic_load(&b->threshold[p])))
				assert_int_equal(b->hits[p][r], 1);
}

/* Scales and residuals as only a forged file has them: those that overflow float32, infinities, NaN. */
static void miss_nothing_of_absurd_columns(struct bench *b, const struct lineup_score *score)
{
	static const float scales[] = { 0, 1e-45f, 1e-38f, 1, 1e19f, 1e30f, 3e38f, INFINITY, NAN, -1, -1e19f, -1e30f };
	static const float resids[] = { 0, 1e-45f, 1, 1e19f, 1e30f, 3e38f, INFINITY, NAN, -1, -1e30f };
	static const float thresholds[] = { -3e38f, -1e20f, -1, -1e-40f, 0, 1e-40f, 0.3f, 1e20f, 3e38f };

	for (size_t t = 0; t < ARRAY_SIZE(thresholds); t++) {
		for (uint32_t r = 0; r < b->rows; r++) {
			b->row_scale[r] = scales[random_below(ARRAY_SIZE(scales))];
			b->row_resid[r] = resids[random_below(ARRAY_SIZE(resids))];
		}
		for (uint32_t p = 0; p < b->probes; p++)
			atomic_store(&b->threshold[p], thresholds[t]);
		scan_and_miss_nothing(b, score);
	}
}

static void miss_nothing_of_absurd_probes(struct bench *b, const struct lineup_score *score)
{
	static const float scales[] = { 0, 1e-45f, 1e-30f, 1e-6f, 1, 1e6f, 1e30f, INFINITY, NAN };

	for (uint32_t p = 0; p < b->probes; p++) {
		b->set.scale[p] = scales[random_below(ARRAY_SIZE(scales))];
		atomic_store(&b->threshold[p], (float)random_unit());
	}
	scan_and_miss_nothing(b, score);
}

static void raise_threshold(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	struct bench *b = arg;

	(void)acc;
	b->hits[probe][row] += mask != 0;
	atomic_store(&b->threshold[probe], INFINITY);
}

static void see_a_threshold_that_rises(struct bench *b, const struct lineup_score *score)
{
	struct lineup_scan scan = { .probes = &b->set, .threshold = b->threshold, .hit = raise_threshold, .arg = b };

	score->scan(&scan, &b->columns, b->rows);
	for (uint32_t p = 0; p < b->probes; p++)
		for (uint32_t r = 0; r < b->rows; r++)
			assert_int_equal(b->hits[p][r], r == 0);
}

static const struct lineup_score *backend_or_skip(const struct lineup_score *score)
{
	const char *why_not = score->why_not();

	if (why_not) {
		printf("backend %s: %s\n", score->name, why_not);
		skip();
	}
	return score;
}

#define BACKEND_TESTS(name) \
	static void name##_reports_every_row_without_a_threshold(void **state) \
	{ \
		with_shapes(*state, backend_or_skip(&lineup_score_##name), let_all_through); \
	} \
	static void name##_misses_no_row_at_a_threshold(void **state) \
	{ \
		with_shapes(*state, backend_or_skip(&lineup_score_##name), cut_at_the_bounds); \
	} \
	static void name##_survives_extreme_scales_and_residuals(void **state) \
	{ \
		with_shapes(*state, backend_or_skip(&lineup_score_##name), survive_odd_columns); \
	} \
	static void name##_reaches_the_largest_sums(void **state) \
	{ \
		with_shapes(*state, backend_or_skip(&lineup_score_##name), reach_the_largest_sums); \
	} \
	static void name##_misses_nothing_of_absurd_columns(void **state) \
	{ \
		with_shapes(*state, backend_or_skip(&lineup_score_##name), miss_nothing_of_absurd_columns); \
	} \
	static void name##_misses_nothing_of_absurd_probes(void **state) \
	{ \
		with_shapes(*state, backend_or_skip(&lineup_score_##name), miss_nothing_of_absurd_probes); \
	} \
	static void name##_sees_a_threshold_that_rises(void **state) \
	{ \
		with_shapes(*state, backend_or_skip(&lineup_score_##name), see_a_threshold_that_rises); \
	} \
	static void name##_dot_has_the_reference_bits(void **state) \
	{ \
		(void)state; \
		check_dot(backend_or_skip(&lineup_score_##name)); \
	} \
	static void name##_passes_its_selftest(void **state) \
	{ \
		(void)state; \
		assert_int_equal(lineup_score_selftest(backend_or_skip(&lineup_score_##name)), 0); \
	}

static void check_dot(const struct lineup_score *score)
{
	float *a = calloc(LINEUP_DIM_MAX, sizeof(*a)), *b = calloc(LINEUP_DIM_MAX, sizeof(*b));

	for (uint32_t dim = 1; dim <= LINEUP_DIM_MAX; dim += dim < 70 ? 1 : 97) {
		double expected, found;

		for (uint32_t i = 0; i < dim; i++) {
			a[i] = (float)(random_unit() * pow(10, random_below(20) - 10.0));
			b[i] = (float)(random_unit() * pow(10, random_below(20) - 10.0));
		}
		expected = lineup_dot(a, b, dim);
		found = score->dot ? score->dot(a, b, dim) : expected;
		assert_memory_equal(&expected, &found, sizeof(found));
	}
	free(a);
	free(b);
}

BACKEND_TESTS(scalar)
#if defined(__x86_64__)
BACKEND_TESTS(avx2)
BACKEND_TESTS(avx512)
#elif defined(__aarch64__)
BACKEND_TESTS(neon)
#endif

/* A backend with one fault. */
static void wrong_sum(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	const struct lineup_scan *scan = arg;
	int32_t changed[LINEUP_PANEL_ROWS];

	memcpy(changed, acc, sizeof(changed));
	changed[__builtin_ctzll(mask)]++;
	scan->hit(scan->arg, probe, row, mask, changed);
}

static void missing_row(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	const struct lineup_scan *scan = arg;

	mask &= mask - 1;
	if (mask)
		scan->hit(scan->arg, probe, row, mask, acc);
}

static void scan_through(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t rows,
			 void (*hit)(void *, uint32_t, uint32_t, uint64_t, const int32_t *))
{
	struct lineup_scan inner = { .probes = scan->probes, .threshold = scan->threshold, .hit = hit, .arg = (void *)(uintptr_t)scan };

	lineup_score_scalar.scan(&inner, columns, rows);
}

static void scan_wrong(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t rows)
{
	scan_through(scan, columns, rows, wrong_sum);
}

static void scan_missing(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t rows)
{
	scan_through(scan, columns, rows, missing_row);
}

static double dot_in_float(const float *a, const float *b, uint32_t dim)
{
	float sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += a[i] * b[i];
	return (double)sum;
}

static double dot_in_another_order(const float *a, const float *b, uint32_t dim)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

static const char *runs_here(void)
{
	return NULL;
}

static const char *never_runs(void)
{
	return "it is not made of silicon";
}

static const struct lineup_score wrong = { .name = "wrong", .why_not = runs_here, .scan = scan_wrong };
static const struct lineup_score missing = { .name = "missing", .why_not = runs_here, .scan = scan_missing };
static const struct lineup_score absent = { .name = "absent", .why_not = never_runs };

static void a_faulty_backend_fails_its_selftest(void **state)
{
	struct lineup_score rough = lineup_score_scalar;

	(void)state;
	rough.dot = dot_in_float;
	assert_int_equal(lineup_score_selftest(&wrong), -EIO);
	assert_int_equal(lineup_score_selftest(&missing), -EIO);
	assert_int_equal(lineup_score_selftest(&rough), -EIO);
	rough.dot = dot_in_another_order;
	assert_int_equal(lineup_score_selftest(&rough), -EIO);
}

static void a_faulty_backend_is_passed_over_with_a_warning(void **state)
{
	const struct lineup_score *table[] = { &absent, &wrong, &lineup_score_scalar }, *score = NULL;

	last_message[0] = 0;
	assert_int_equal(lineup_score_choose_from(*state, table, 3, "auto", &score), 0);
	assert_ptr_equal(score, &lineup_score_scalar);
	assert_string_equal(last_message, "backend wrong: its self-test failed: a slower one takes over");
}

static void a_faulty_backend_is_refused_by_name(void **state)
{
	const struct lineup_score *table[] = { &wrong, &lineup_score_scalar }, *score = NULL;

	assert_int_equal(lineup_score_choose_from(*state, table, 2, "wrong", &score), -ENOTSUP);
	assert_null(score);
}

static void a_backend_this_cpu_lacks_is_refused_by_name(void **state)
{
	const struct lineup_score *table[] = { &absent, &lineup_score_scalar }, *score = NULL;

	assert_int_equal(lineup_score_choose_from(*state, table, 2, "absent", &score), -ENOTSUP);
	assert_string_equal(last_message, "backend absent: it is not made of silicon");
	assert_null(score);
}

static void an_unknown_backend_is_refused(void **state)
{
	const struct lineup_score *score = NULL;

	assert_int_equal(lineup_score_choose(*state, "abacus", &score), -EINVAL);
	assert_string_equal(last_message, "backend abacus: there is none of this name");
	assert_null(score);
}

static void count_backend(void *arg, const char *name, const char *why_not)
{
	uint32_t *count = arg;

	if (!strcmp(name, "vulkan"))
		(*count)++;
	for (size_t i = 0; i < ARRAY_SIZE(all_backends); i++) {
		if (!strcmp(all_backends[i]->name, name)) {
			assert_true(!why_not == !all_backends[i]->why_not());
			(*count)++;
		}
	}
}

static void backends_are_listed(void **state)
{
	uint32_t count = 0;

	(void)state;
	lineup_backends(count_backend, &count);
	assert_int_equal(count, ARRAY_SIZE(all_backends) + 1);
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

#define BACKEND_ROWS(name) \
	cmocka_unit_test(name##_reports_every_row_without_a_threshold), cmocka_unit_test(name##_misses_no_row_at_a_threshold), \
		cmocka_unit_test(name##_survives_extreme_scales_and_residuals), cmocka_unit_test(name##_reaches_the_largest_sums), \
		cmocka_unit_test(name##_misses_nothing_of_absurd_columns), \
		cmocka_unit_test(name##_misses_nothing_of_absurd_probes), \
		cmocka_unit_test(name##_sees_a_threshold_that_rises), cmocka_unit_test(name##_dot_has_the_reference_bits), \
		cmocka_unit_test(name##_passes_its_selftest)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BACKEND_ROWS(scalar),
#if defined(__x86_64__)
		BACKEND_ROWS(avx2),
		BACKEND_ROWS(avx512),
#elif defined(__aarch64__)
		BACKEND_ROWS(neon),
#endif
		cmocka_unit_test(a_faulty_backend_fails_its_selftest),
		cmocka_unit_test(a_faulty_backend_is_passed_over_with_a_warning),
		cmocka_unit_test(a_faulty_backend_is_refused_by_name),
		cmocka_unit_test(a_backend_this_cpu_lacks_is_refused_by_name),
		cmocka_unit_test(an_unknown_backend_is_refused),
		cmocka_unit_test(backends_are_listed),
	};

	return cmocka_run_group_tests(tests, make_ctx, drop_ctx);
}
