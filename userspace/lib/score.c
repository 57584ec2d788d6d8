// SPDX-License-Identifier: MIT
// Which backend runs: by what the CPU has and by a self-test; and the float32 limits that the fast backends test against.
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "score.h"

void lineup_limits_init(struct lineup_limits *limits, const struct lineup_probe_set *probes)
{
	assert(probes->count <= LINEUP_PROBES_MAX);
	for (uint32_t p = 0; p < probes->tiles * LINEUP_PROBE_TILE; p++) {
		double scale = p < probes->count ? (double)probes->scale[p] : 0;

		limits->inverse[p] = 0;
		limits->slope[p] = p < probes->count ? NAN : 0;
		if (scale >= 0x1p-20 && scale <= 0x1p20 && probes->c1[p] >= 0 && probes->c1[p] <= 0x1p10) {
			limits->inverse[p] = 1 / scale;
			limits->slope[p] = (float)(probes->c1[p] / scale * (1 + 10 * 0x1p-24)); /* rounding may take one of the ten */
		}
	}
}

void lineup_limits_cut(const struct lineup_limits *limits, const struct lineup_scan *scan, uint32_t tile, float cut[LINEUP_PROBE_TILE])
{
	uint32_t first = tile * LINEUP_PROBE_TILE;

	for (uint32_t j = 0; j < LINEUP_PROBE_TILE; j++) {
		double threshold = (double)atomic_load_explicit(&scan->threshold[first + j], memory_order_relaxed);
		double c = (threshold - scan->probes->c0[first + j]) * limits->inverse[first + j];

		cut[j] = (float)(c * (c < 0 ? 1 + 0x1p-21 : 1 - 0x1p-21) - 0x1p-90);
		if (first + j >= scan->probes->count)
			cut[j] = INFINITY;
	}
}

/* The self-test: two tiles of probes and two panels of rows, neither full. */
enum { TEST_PROBES = 13, TEST_TILES = 2, TEST_ROWS = 71, TEST_DIM_MAX = 512, TEST_BLOCK_BYTES = 64 << 10 };

struct hits {
	uint32_t rows;
	bool bad; /* reported twice, or where there is nothing */
	bool hit[TEST_PROBES][TEST_ROWS];
	int32_t acc[TEST_PROBES][TEST_ROWS];
};

struct selftest {
	uint8_t block[TEST_BLOCK_BYTES] __attribute__((aligned(LINEUP_PAGE_BYTES)));
	int8_t codes[TEST_TILES * LINEUP_PROBE_TILE * TEST_DIM_MAX] __attribute__((aligned(64)));
	float vector[2][TEST_DIM_MAX];
	int32_t code_sum[TEST_TILES * LINEUP_PROBE_TILE];
	float scale[TEST_TILES * LINEUP_PROBE_TILE];
	double c0[TEST_TILES * LINEUP_PROBE_TILE];
	double c1[TEST_TILES * LINEUP_PROBE_TILE];
	_Atomic float threshold[TEST_TILES * LINEUP_PROBE_TILE];
	struct lineup_shape shape;
	struct lineup_columns columns;
	struct lineup_probe_set probes;
	struct hits expected;
	struct hits found;
	uint64_t random;
};

static uint32_t next_random(struct selftest *t)
{
	t->random = t->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(t->random >> 33);
}

static float next_component(struct selftest *t)
{
	return (float)(next_random(t) % 2001) / 1000 - 1;
}

static void note_hits(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	struct hits *h = arg;

	for (uint32_t b = 0; b < 64; b++) {
		if (!(mask >> b & 1))
			continue;
		if (probe >= TEST_PROBES || b >= LINEUP_PANEL_ROWS || row + b >= h->rows || h->hit[probe][row + b]) {
			h->bad = true;
			continue;
		}
		h->hit[probe][row + b] = true;
		h->acc[probe][row + b] = acc[b];
	}
}

/* The lengths are about 1, so that the bounds are as in a real search; the extreme codes come up as well. */
static void selftest_fill(struct selftest *t, uint32_t dim, uint32_t probes)
{
	float unit = 1 / sqrtf((float)dim / 3);

	lineup_shape_init(&t->shape, dim, LINEUP_STORE_FLOAT32, TEST_ROWS);
	assert(t->shape.block_bytes <= sizeof(t->block));
	lineup_block_begin(&t->shape, t->block);
	for (uint32_t r = 0; r < TEST_ROWS; r++) {
		struct disk_record record = { .template_id = r };

		for (uint32_t i = 0; i < dim; i++)
			t->vector[0][i] = next_component(t) * unit;
		lineup_block_put(&t->shape, t->block, r, &record, t->vector[0]);
	}
	lineup_block_columns(&t->shape, t->block, &t->columns);
	memset(t->codes, 0, sizeof(t->codes));
	memset(t->code_sum, 0, sizeof(t->code_sum));
	t->probes = (struct lineup_probe_set){ .count = probes, .tiles = (probes + LINEUP_PROBE_TILE - 1) / LINEUP_PROBE_TILE,
					       .dim = dim, .groups = t->shape.groups, .capacity = TEST_TILES * LINEUP_PROBE_TILE,
					       .codes = t->codes, .code_sum = t->code_sum, .scale = t->scale, .c0 = t->c0, .c1 = t->c1 };
	for (uint32_t p = 0; p < probes; p++) {
		int8_t *codes = t->codes + (size_t)(p / LINEUP_PROBE_TILE) * t->shape.groups * LINEUP_PROBE_TILE * 4;

		for (uint32_t i = 0; i < dim; i++) {
			int8_t code = (int8_t)(next_random(t) % 4 ? (int)(next_random(t) % 255) - 127 : p % 2 ? 127 : -127);

			codes[i / 4 * LINEUP_PROBE_TILE * 4 + p % LINEUP_PROBE_TILE * 4 + i % 4] = code;
			t->code_sum[p] += code;
		}
		t->scale[p] = unit / 127;
		t->c0[p] = 0.01;
		t->c1[p] = 1.01;
	}
}

static void selftest_scan(struct selftest *t, const struct lineup_score *score, struct hits *hits)
{
	struct lineup_scan scan = { .probes = &t->probes, .threshold = t->threshold, .hit = note_hits, .arg = hits };

	memset(hits, 0, sizeof(*hits));
	hits->rows = TEST_ROWS;
	score->scan(&scan, &t->columns, TEST_ROWS);
}

/* Every row that the scalar backend reports, with the same sums; of others only such as miss the threshold by a hair. */
static bool selftest_compare(struct selftest *t, const struct lineup_score *score)
{
	selftest_scan(t, &lineup_score_scalar, &t->expected);
	selftest_scan(t, score, &t->found);
	if (t->found.bad || t->expected.bad)
		return false;
	for (uint32_t p = 0; p < t->probes.count; p++) {
		for (uint32_t r = 0; r < TEST_ROWS; r++) {
			double bound = (double)t->scale[p] * (double)t->columns.scale[r] * t->found.acc[p][r] + t->c0[p] +
				       t->c1[p] * (double)t->columns.resid[r];

			if (t->expected.hit[p][r] && (!t->found.hit[p][r] || t->found.acc[p][r] != t->expected.acc[p][r]))
				return false;
			if (t->found.hit[p][r] && !(bound >= (double)atomic_load(&t->threshold[p]) - 1e-5))
				return false;
		}
	}
	return true;
}

static bool selftest_dot(struct selftest *t, const struct lineup_score *score, uint32_t dim)
{
	double expected, found;

	if (!score->dot)
		return true;
	for (uint32_t i = 0; i < dim; i++) {
		/* Of many magnitudes, so that another order rounds to other bits. */
		t->vector[0][i] = ldexpf(next_component(t), (int)(next_random(t) % 32) - 16);
		t->vector[1][i] = ldexpf(next_component(t), (int)(next_random(t) % 32) - 16);
	}
	expected = lineup_dot(t->vector[0], t->vector[1], dim);
	found = score->dot(t->vector[0], t->vector[1], dim);
	return !memcmp(&expected, &found, sizeof(found));
}

int lineup_score_selftest(const struct lineup_score *score)
{
	static const uint32_t dims[] = { 1, 3, 64, 200, 512 };
	static const uint32_t counts[] = { 1, 2, 4, 7, TEST_PROBES };
	static const float thresholds[] = { -INFINITY, 0, 0.05f, INFINITY };
	struct selftest *t = aligned_alloc(LINEUP_PAGE_BYTES, round_up(sizeof(*t), LINEUP_PAGE_BYTES));
	bool good = t;

	if (!t)
		return -ENOMEM;
	t->random = 1;
	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
			selftest_fill(t, dims[d], counts[c]);
			for (size_t h = 0; h < ARRAY_SIZE(thresholds); h++) {
				for (uint32_t p = 0; p < TEST_TILES * LINEUP_PROBE_TILE; p++)
					atomic_store(&t->threshold[p], thresholds[h]);
				good = good && selftest_compare(t, score);
			}
		}
		good = good && selftest_dot(t, score, dims[d]);
	}
	free(t);
	return good ? 0 : -EIO;
}

/* The fastest first. */
static const struct lineup_score *const backends[] = {
	&lineup_score_avx512, &lineup_score_avx2, &lineup_score_neon, &lineup_score_scalar,
};

/* A CPU does not change: each of these is tested once in a process, which takes milliseconds. */
static int selftest_once(const struct lineup_score *score)
{
	static atomic_int results[ARRAY_SIZE(backends)]; /* 0: not known; 1: passed; else -errno */
	size_t i = 0;
	int result;

	while (i < ARRAY_SIZE(backends) && backends[i] != score)
		i++;
	if (i == ARRAY_SIZE(backends))
		return lineup_score_selftest(score);
	result = atomic_load(&results[i]);
	if (!result) {
		result = lineup_score_selftest(score);
		result = result ? result : 1;
		if (result != -ENOMEM)
			atomic_store(&results[i], result);
	}
	return result > 0 ? 0 : result;
}

int lineup_score_choose_from(struct lineup_ctx *ctx, const struct lineup_score *const *table, size_t count, const char *name,
			     const struct lineup_score **score)
{
	bool automatic = !name || !strcmp(name, "auto");

	for (size_t i = 0; i < count; i++) {
		const char *why_not;
		int err;

		if (!automatic && strcmp(name, table[i]->name) != 0)
			continue;
		why_not = table[i]->why_not();
		if (why_not && !automatic)
			return lineup_fail(ctx, -ENOTSUP, "backend %s: %s", name, why_not);
		if (why_not)
			continue;
		err = selftest_once(table[i]);
		if (err == -ENOMEM)
			return lineup_fail(ctx, err, "backend %s: no memory for its self-test", table[i]->name);
		if (!err) {
			*score = table[i];
			return 0;
		}
		if (!automatic)
			return lineup_fail(ctx, -ENOTSUP, "backend %s: its self-test failed: it computes wrong sums on this CPU", name);
		lineup_warn_once(ctx, LINEUP_ONCE_SELFTEST, "backend %s: its self-test failed: a slower one takes over", table[i]->name);
	}
	if (automatic)
		return lineup_fail(ctx, -ENOTSUP, "backend: none runs on this CPU");
	return lineup_fail(ctx, -EINVAL, "backend %s: there is none of this name", name);
}

int lineup_score_choose(struct lineup_ctx *ctx, const char *name, const struct lineup_score **score)
{
	return lineup_score_choose_from(ctx, backends, ARRAY_SIZE(backends), name, score);
}

void lineup_backends(void (*each)(void *arg, const char *name, const char *why_not), void *arg)
{
	struct lineup_ctx quiet = { 0 };

	for (size_t i = ARRAY_SIZE(backends); i-- > 0;) {
		const char *why_not = backends[i]->why_not();

		if (!why_not && selftest_once(backends[i]))
			why_not = "its self-test failed";
		each(arg, backends[i]->name, why_not);
	}
	each(arg, "vulkan", lineup_gpus_why_not(&quiet));
}
