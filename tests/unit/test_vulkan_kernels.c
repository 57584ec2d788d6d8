// SPDX-License-Identifier: MIT
// Unpacking and scanning in every variant this device runs, against plain loops over the same codes, in integers and long double.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "under_sanitizer.h"
#include "vulkan_kernels.h"

enum { BED_BYTES = 48 << 20, CAP = 512, STRIDE = UNDER_SANITIZER ? 7 : 1 };

static struct kernels_bed bed;

/* ---- unpacking ---- */

struct unpacking {
	uint32_t dim, groups, block_rows, block_words, rows, row_first, pitch;
	bool with_deleted;
	uint64_t blocks, deleted, codes, bounds, marks;
};

static void record_unpack(struct kernels_bed *b, void *arg)
{
	const struct unpacking *u = arg;
	struct gpu_unpack push = {
		.blocks = kbed_address(b, u->blocks), .deleted = u->with_deleted ? kbed_address(b, u->deleted) : 0,
		.codes = kbed_address(b, u->codes),
		.bounds = kbed_address(b, u->bounds), .marks = kbed_address(b, u->marks), .block_words = u->block_words,
		.block_rows = u->block_rows, .groups = u->groups, .rows = u->rows, .row_first = u->row_first,
		.pitch = u->pitch / 16,
	};

	lineup_vk_unpack(b->kernels[LINEUP_VK_SCALAR], &b->commands, &push);
}

/* Where gallery.h says a block has byte @i of row @row, and a column's entry. */
static uint64_t code_at(const struct unpacking *u, uint32_t row, uint32_t i)
{
	uint64_t block = (uint64_t)(row / u->block_rows) * u->block_words * 4, r = row % u->block_rows;

	uint64_t panel = 64 + 36 * (uint64_t)u->block_rows + r / 48 * 48 * 4 * u->groups;

	return u->blocks + block + panel + (uint64_t)(i / 4) * 48 * 4 + r % 48 * 4 + i % 4;
}

static uint64_t column_at(const struct unpacking *u, uint32_t row, uint32_t offset, uint32_t size)
{
	uint64_t block = (uint64_t)(row / u->block_rows) * u->block_words * 4;

	return u->blocks + block + 64 + (uint64_t)offset * u->block_rows + (uint64_t)(row % u->block_rows) * size;
}

static bool deleted_in(const struct unpacking *u, uint32_t row)
{
	uint64_t words = (u->block_rows + 31) / 32, r = row % u->block_rows;
	const uint8_t *bits = kbed_host(&bed, u->deleted + row / u->block_rows * words * 4);

	return u->with_deleted && bits[r / 8] >> (r % 8) & 1;
}

static void check_unpacked(const struct unpacking *u)
{
	for (uint32_t r = 0; r < u->row_first + u->rows + 3; r++) {
		const uint8_t *codes = kbed_back(&bed, u->codes + (uint64_t)r * u->pitch);
		const struct gpu_bound *bound = kbed_back(&bed, u->bounds + r * sizeof(*bound));
		const struct gpu_mark *mark = kbed_back(&bed, u->marks + r * sizeof(*mark));
		uint32_t row = r - u->row_first;

		if (r < u->row_first || row >= u->rows) { /* not its business */
			for (uint32_t i = 0; i < u->pitch; i++)
				assert_int_equal(codes[i], 0xa5);
			assert_int_equal(mark->subject, 0xa5a5a5a5);
			continue;
		}
		for (uint32_t i = 0; i < u->pitch; i++) {
			int expected = i < u->dim ? *(const uint8_t *)kbed_host(&bed, code_at(u, row, i)) - 128 : 0;

			if ((int8_t)codes[i] != expected)
				fail_msg("dim %u: row %u: code %u is %d, not %d", u->dim, row, i, (int8_t)codes[i], expected);
		}
		assert_memory_equal(&bound->scale, kbed_host(&bed, column_at(u, row, 0, 4)), 4);
		assert_memory_equal(&bound->resid, kbed_host(&bed, column_at(u, row, 4, 4)), 4);
		assert_memory_equal(&mark->lists, kbed_host(&bed, column_at(u, row, 8, 8)), 8);
		assert_memory_equal(&mark->expires, kbed_host(&bed, column_at(u, row, 16, 8)), 8);
		assert_memory_equal(&mark->template_id, kbed_host(&bed, column_at(u, row, 24, 8)), 8);
		assert_memory_equal(&mark->subject, kbed_host(&bed, column_at(u, row, 32, 4)), 4);
		assert_int_equal(mark->deleted, deleted_in(u, row));
	}
}

/* Random bytes everywhere but in components past dim, which a block has as code 0. */
static void unpack(uint32_t dim, uint32_t block_rows, uint32_t rows, bool with_deleted)
{
	uint32_t groups = (dim + 3) / 4, blocks = (rows + block_rows - 1) / block_rows;
	struct unpacking u = { .dim = dim, .groups = groups, .block_rows = block_rows, .rows = rows, .row_first = kbed_below(8),
			       .pitch = (dim + 63) / 64 * 64, .with_deleted = with_deleted };
	uint32_t all = u.row_first + rows + 3;
	uint64_t block_bytes = round_up(64 + (uint64_t)block_rows * (36 + 4 * groups), 4096);

	u.block_words = (uint32_t)(block_bytes / 4);
	kbed_reset(&bed);
	u.blocks = kbed_place(&bed, blocks * block_bytes);
	u.deleted = kbed_place(&bed, blocks * ((block_rows + 31) / 32) * 4);
	u.codes = kbed_place(&bed, (uint64_t)all * u.pitch);
	u.bounds = kbed_place(&bed, all * sizeof(struct gpu_bound));
	u.marks = kbed_place(&bed, all * sizeof(struct gpu_mark));
	for (uint64_t i = u.blocks; i < u.codes; i += 8)
		*(uint64_t *)kbed_host(&bed, i) = kbed_random();
	memset(kbed_host(&bed, u.codes), 0xa5, bed.used - u.codes);
	for (uint32_t r = 0; r < blocks * block_rows; r++)
		for (uint32_t i = dim; i < 4 * groups; i++)
			*(uint8_t *)kbed_host(&bed, code_at(&u, r, i)) = 128;
	kbed_run(&bed, record_unpack, &u);
	check_unpacked(&u);
}

static void blocks_of_every_dimension_become_rows(void **state)
{
	static const uint32_t large[] = { 192, 255, 256, 257, 511, 512, 1000, 2048, 4095, 4096 };

	(void)state;
	for (uint32_t dim = 1; dim <= 130; dim += STRIDE)
		unpack(dim, 48, 100, dim % 3 != 0);
	for (size_t i = 0; i < ARRAY_SIZE(large); i++)
		unpack(large[i], 96, 96 + 1 + kbed_below(96), i % 2);
}

static void a_last_block_may_hold_any_number_of_rows(void **state)
{
	(void)state;
	for (uint32_t rows = 1; rows <= 2 * 48; rows += STRIDE)
		unpack(20, 48, rows, true);
	unpack(8, 48 * 50, 48 * 50 * 3 - 1, true);
	unpack(8, 48, 48 * 700, true);
}

static void many_blocks_take_several_dispatches(void **state)
{
	struct lineup_vk_kernels *kernels = bed.kernels[LINEUP_VK_SCALAR];
	uint32_t groups_max = kernels->groups_max;

	(void)state;
	for (kernels->groups_max = 1; kernels->groups_max < 6; kernels->groups_max++) {
		unpack(70, 48, 48 * 5, true);
		unpack(70, 96, 96 * 3 + 50, kernels->groups_max % 2);
	}
	kernels->groups_max = groups_max;
}

/* ---- scanning ---- */

typedef void scan_fn(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan);

/* Rows and probes as the device has them. Tests change them between place_scan and scan. */
struct scanning {
	uint32_t dim, pitch, rows, probes, row_first, row_base, cap;
	uint64_t lists;
	int64_t now;
	uint64_t codes, bounds, marks, probe_codes, probe, entries, counts;
	struct lineup_vk_kernels *kernels;
	scan_fn *scan;     /* which of them */
	uint32_t pieces;   /* dispatches that the rows are divided among */
};

static void record_scan(struct kernels_bed *b, void *arg)
{
	const struct scanning *s = arg;
	struct gpu_scan push = {
		.codes = kbed_address(b, s->codes), .bounds = kbed_address(b, s->bounds), .marks = kbed_address(b, s->marks),
		.probe_codes = kbed_address(b, s->probe_codes), .probe = kbed_address(b, s->probe),
		.entries = kbed_address(b, s->entries),
		.counts = kbed_address(b, s->counts), .lists = s->lists, .now = (uint64_t)s->now, .row_base = s->row_base,
		.probes = s->probes,
		.pitch = s->pitch / 16, .cap = s->cap,
	};

	for (uint32_t i = 0; i < s->pieces; i++) {
		uint32_t from = (uint32_t)((uint64_t)s->rows * i / s->pieces),
			to = (uint32_t)((uint64_t)s->rows * (i + 1) / s->pieces);

		push.row_first = s->row_first + from;
		push.rows = to - from;
		s->scan(s->kernels, &b->commands, &push);
	}
}

static struct gpu_bound *bound_of(const struct scanning *s, uint32_t row)
{
	return (struct gpu_bound *)kbed_host(&bed, s->bounds) + row;
}

static struct gpu_mark *mark_of(const struct scanning *s, uint32_t row)
{
	return (struct gpu_mark *)kbed_host(&bed, s->marks) + row;
}

static struct gpu_probe *probe_of(const struct scanning *s, uint32_t probe)
{
	return (struct gpu_probe *)kbed_host(&bed, s->probe) + probe;
}

/* Codes of several kinds: random, all the least, all the greatest, few values. Everything passes, until a test says otherwise. */
static void fill_codes(uint64_t at, uint32_t rows, uint32_t dim, uint32_t pitch)
{
	for (uint32_t r = 0; r < rows; r++) {
		int8_t *codes = kbed_host(&bed, at + (uint64_t)r * pitch);
		uint32_t kind = kbed_below(6);

		for (uint32_t i = 0; i < dim; i++)
			codes[i] = (int8_t)(kind == 0 ? -128 : kind == 1 ? 127 :
					    kind == 2 ? (int)kbed_below(3) - 1 : (int)kbed_below(256) - 128);
	}
}

static void place_scan(struct scanning *s, uint32_t dim, uint32_t rows, uint32_t probes)
{
	*s = (struct scanning){ .dim = dim, .pitch = (dim + 63) / 64 * 64, .rows = rows, .probes = probes,
				.row_first = kbed_below(4), .row_base = kbed_below(1000000), .cap = CAP, .pieces = 1 };
	kbed_reset(&bed);
	s->codes = kbed_place(&bed, (uint64_t)(s->row_first + rows) * s->pitch);
	s->bounds = kbed_place(&bed, (s->row_first + rows) * sizeof(struct gpu_bound));
	s->marks = kbed_place(&bed, (s->row_first + rows) * sizeof(struct gpu_mark));
	s->probe_codes = kbed_place(&bed, (uint64_t)probes * s->pitch);
	s->probe = kbed_place(&bed, probes * sizeof(struct gpu_probe));
	s->entries = kbed_place(&bed, (uint64_t)probes * s->cap * sizeof(struct gpu_entry));
	s->counts = kbed_place(&bed, probes * 4);
	fill_codes(s->codes, s->row_first + rows, dim, s->pitch);
	fill_codes(s->probe_codes, probes, dim, s->pitch);
	for (uint32_t r = 0; r < s->row_first + rows; r++) {
		*bound_of(s, r) = (struct gpu_bound){ .scale = 0.01f, .resid = 0.01f };
		*mark_of(s, r) = (struct gpu_mark){ .lists = kbed_random(), .template_id = kbed_random(),
						    .subject = (uint32_t)kbed_random() };
	}
	for (uint32_t p = 0; p < probes; p++)
		*probe_of(s, p) = (struct gpu_probe){ .scale = 0.01f, .c0 = 0.01f, .c1 = 1.01f, .threshold = -INFINITY };
}

static int32_t dot(const struct scanning *s, uint32_t row, uint32_t probe)
{
	const int8_t *a = kbed_host(&bed, s->codes + (uint64_t)row * s->pitch),
		*b = kbed_host(&bed, s->probe_codes + (uint64_t)probe * s->pitch);
	int32_t acc = 0;

	for (uint32_t i = 0; i < s->dim; i++)
		acc += a[i] * b[i];
	return acc;
}

static int by_row(const void *a, const void *b)
{
	uint32_t x = ((const struct gpu_entry *)a)->row, y = ((const struct gpu_entry *)b)->row;

	return x < y ? -1 : x > y;
}

/* A probe's survivors by row, each of them right in every field, and none twice. */
static uint32_t survivors(const struct scanning *s, uint32_t probe, struct gpu_entry *list)
{
	uint32_t count = ((const uint32_t *)kbed_back(&bed, s->counts))[probe];

	assert_true(count <= s->cap);
	memcpy(list, kbed_back(&bed, s->entries + (uint64_t)probe * s->cap * sizeof(*list)), count * sizeof(*list));
	qsort(list, count, sizeof(*list), by_row);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t row = list[i].row - s->row_base;

		if (row < s->row_first || row >= s->row_first + s->rows || (i && list[i].row == list[i - 1].row))
			fail_msg("probe %u: row %u is reported, or twice", probe, row);
		if (list[i].acc != dot(s, row, probe))
			fail_msg("dim %u probe %u row %u: the sum is %d, not %d", s->dim, probe, row, list[i].acc,
				 dot(s, row, probe));
		assert_memory_equal(&list[i].scale, &bound_of(s, row)->scale, 4);
		assert_memory_equal(&list[i].resid, &bound_of(s, row)->resid, 4);
		assert_int_equal(list[i].subject, mark_of(s, row)->subject);
		assert_int_equal(list[i].template_id, mark_of(s, row)->template_id);
		assert_int_equal(list[i].zero, 0);
	}
	return count;
}

/* Runs @check after a scan by every kernel of every variant. Returns how many scans that was. */
static uint32_t by_all(struct scanning *s, void (*check)(const struct scanning *s))
{
	static scan_fn *const kernels[] = { lineup_vk_scan, lineup_vk_scan_wide, lineup_vk_scan_narrow, lineup_vk_scan_gemv };
	uint32_t scans = 0;

	for (uint32_t v = 0; v < BED_VARIANTS; v++) {
		for (size_t k = 0; k < ARRAY_SIZE(kernels); k++) {
			if (!bed.kernels[v] || (kernels[k] == lineup_vk_scan_gemv && s->probes > LINEUP_GPU_GEMV_PROBES))
				continue;
			s->kernels = bed.kernels[v];
			s->scan = kernels[k];
			kbed_run(&bed, record_scan, s);
			check(s);
			scans++;
		}
	}
	return scans;
}

static void check_all_rows(const struct scanning *s)
{
	static struct gpu_entry list[CAP];

	for (uint32_t p = 0; p < s->probes; p++)
		assert_int_equal(survivors(s, p, list), s->rows);
}

static void sums_are_exact_in_every_variant(void **state)
{
	static const uint32_t dims[] = { 1, 3, 4, 16, 63, 64, 65, 128, 200, 512, 1024, 4095, 4096 };
	static const uint32_t rows[] = { 1, 2, 31, 32, 33, 64, 65, 127, 129, 300 },
		probes[] = { 1, 2, 7, 8, 9, 16, 17, 32, 33, 70 };
	struct scanning s;

	(void)state;
	for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
		for (uint32_t n = d % STRIDE; n < 4; n += STRIDE) {
			place_scan(&s, dims[d], rows[(d + 3 * n) % ARRAY_SIZE(rows)], probes[(3 * d + n * 7) % ARRAY_SIZE(probes)]);
			by_all(&s, check_all_rows);
		}
	}
}

static void sums_at_the_limits_are_exact(void **state)
{
	struct scanning s;

	(void)state;
	place_scan(&s, 4096, 70, 9);
	memset(kbed_host(&bed, s.codes), -128, (uint64_t)(s.row_first + s.rows) * s.pitch);
	for (uint32_t p = 0; p < s.probes; p++)
		memset(kbed_host(&bed, s.probe_codes + (uint64_t)p * s.pitch), p % 2 ? 127 : -128, s.dim);
	by_all(&s, check_all_rows);
	for (uint32_t p = 0; p < s.probes; p++) /* a threshold that the least sum passes and one that it does not */
		probe_of(&s, p)->threshold = p % 2 ? -0.01f * 0.01f * 128 * 127 * 4096 : 0.01f * 0.01f * 128 * 128 * 4096;
	by_all(&s, check_all_rows);
}

/* ---- who survives ---- */

/* 0 to @max; -0 is not, nor is NaN. */
static bool within(float f, float max)
{
	return !signbit(f) && f <= max;
}

static bool is_sane(const struct gpu_bound *b, const struct gpu_probe *p)
{
	return within(b->scale, 0x1p60f) && within(b->resid, 0x1p60f) && within(p->scale, 0x1p20f) && p->scale >= 0x1p-20f &&
	       within(p->c0, 0x1p10f) && within(p->c1, 0x1p10f) && !isnan(p->threshold);
}

/* What (1) of common.glsl promises: no row is refused that reaches the threshold, and none let through that is further below it. */
static void check_bounds(const struct scanning *s)
{
	static struct gpu_entry list[CAP];

	for (uint32_t p = 0; p < s->probes; p++) {
		const struct gpu_probe *probe = probe_of(s, p);
		uint32_t count = survivors(s, p, list), at = 0;

		for (uint32_t r = s->row_first; r < s->row_first + s->rows; r++) {
			const struct gpu_bound *b = bound_of(s, r);
			bool there = at < count && list[at].row == s->row_base + r, sane = is_sane(b, probe);
			long double e = (long double)dot(s, r, p) * b->scale * probe->scale,
				slack = probe->c0 + (long double)probe->c1 * b->resid;
			long double margin = 0x1p-19L * (fabsl(e) + slack) + 0x1p-88L;

			if (there)
				at++;
			if (!there && !(sane && e + slack < probe->threshold))
				fail_msg("probe %u row %u: %.12Lg + %.12Lg reaches %.12g, yet it is dropped", p, r, e, slack,
					 (double)probe->threshold);
			if (there && sane && !(e + slack + margin >= probe->threshold))
				fail_msg("probe %u row %u: %.12Lg + %.12Lg is far from %.12g, yet it is kept", p, r, e, slack,
					 (double)probe->threshold);
		}
		assert_int_equal(at, count);
	}
}

/* The threshold that row @row just reaches, moved by some units in the last place. */
static float near_bound(const struct scanning *s, uint32_t row, uint32_t probe)
{
	const struct gpu_bound *b = bound_of(s, row);
	const struct gpu_probe *p = probe_of(s, probe);
	double e = (double)dot(s, row, probe) * (double)b->scale * (double)p->scale;
	double slack = (double)p->c0 + (double)p->c1 * (double)b->resid;
	float t = (float)(e + slack);

	for (uint32_t i = kbed_below(24); i; i--)
		t = nextafterf(t, INFINITY);
	for (uint32_t i = kbed_below(24); i; i--)
		t = nextafterf(t, -INFINITY);
	return t;
}

static uint32_t any_row(const struct scanning *s)
{
	return s->row_first + kbed_below(s->rows);
}

static uint32_t row_of_largest_sum(const struct scanning *s, uint32_t probe)
{
	uint32_t best = s->row_first;

	for (uint32_t r = s->row_first; r < s->row_first + s->rows; r++)
		if (dot(s, r, probe) > dot(s, best, probe))
			best = r;
	return best;
}

/* As in a real gallery. */
static struct gpu_bound usual_bound(void)
{
	return (struct gpu_bound){ 0.001f + (float)kbed_below(1000) * 1e-6f, (float)kbed_below(1000) * 1e-5f };
}

static float of_any_size(uint32_t exponents)
{
	return ldexpf(1 + (float)kbed_below(1 << 20) / (1 << 20), (int)kbed_below(2 * exponents) - (int)exponents);
}

static void survivors_are_those_whose_bound_reaches_the_threshold(void **state)
{
	static const uint32_t dims[] = { 16, 64, 128, 512 };
	struct scanning s;

	(void)state;
	for (uint32_t n = 0; n < 60; n += STRIDE) {
		place_scan(&s, dims[n % ARRAY_SIZE(dims)], 30 + kbed_below(170), 1 + kbed_below(n % 2 ? 8 : 40));
		/* Every fifth time all rows have the same bound, and large sums. */
		for (uint32_t r = 0; r < s.row_first + s.rows && n % 5 != 4; r++)
			*bound_of(&s, r) = n % 3 ? usual_bound() : (struct gpu_bound){ of_any_size(59), of_any_size(59) };
		for (uint32_t p = 0; p < s.probes; p++) {
			struct gpu_probe *probe = probe_of(&s, p);

			probe->scale = n % 4 == 3 ? of_any_size(19) : 0.001f;
			probe->c0 = n % 4 == 3 ? of_any_size(9) : 0.008f;
			probe->threshold = near_bound(&s, n % 5 == 4 ? row_of_largest_sum(&s, p) : any_row(&s), p);
		}
		by_all(&s, check_bounds);
	}
}

static void odd_bounds_and_thresholds_never_lose_a_row(void **state)
{
	static const float odd[] = { NAN, -NAN, INFINITY, -INFINITY, -1, -0.0f, 0, 1e-45f, 0x1p60f, 0x1.000002p60f, 3.4e38f,
			0x1p-126f };
	static const float thresholds[] = { -INFINITY, INFINITY, NAN, 0, -0.0f, 3.4e38f, -3.4e38f, 1e-45f, -1e-45f, 0x1p110f,
			-0x1p110f, 1, -1 };
	struct scanning s;

	(void)state;
	for (uint32_t n = 0; n < 12; n += STRIDE) {
		place_scan(&s, 70, 150, n % 2 ? 8 : 26);
		for (uint32_t r = 0; r < s.row_first + s.rows; r++) {
			if (n < 6 && kbed_below(n % 3 ? 40 : 4)) /* tiles with one odd row, and with many */
				continue;
			*(kbed_below(2) ? &bound_of(&s, r)->scale : &bound_of(&s, r)->resid) = odd[kbed_below(ARRAY_SIZE(odd))];
		}
		for (uint32_t p = 0; p < s.probes; p++) {
			struct gpu_probe *probe = probe_of(&s, p);
			float *fields[] = { &probe->scale, &probe->c0, &probe->c1 };

			probe->threshold = near_bound(&s, any_row(&s), p);
			if (kbed_below(2))
				probe->threshold = thresholds[kbed_below(ARRAY_SIZE(thresholds))];
			if (n >= 9)
				*fields[kbed_below(3)] = odd[kbed_below(ARRAY_SIZE(odd))];
		}
		by_all(&s, check_bounds);
	}
}

/* ---- filters ---- */

static const int64_t moments[] = { INT64_MIN, -1, 0, 1, 999, 1000, 1001, 1000 + (INT64_C(1) << 32), INT64_C(1) << 32, INT64_MAX };

static void check_filters(const struct scanning *s)
{
	static struct gpu_entry list[CAP];

	for (uint32_t p = 0; p < s->probes; p++) {
		uint32_t count = survivors(s, p, list), at = 0;

		for (uint32_t r = s->row_first; r < s->row_first + s->rows; r++) {
			const struct gpu_mark *m = mark_of(s, r);
			int64_t expires = (int64_t)m->expires;
			bool eligible = !m->deleted && !(expires > 0 && expires <= s->now) && (!s->lists || (m->lists & s->lists));
			bool there = at < count && list[at].row == s->row_base + r;

			assert_int_equal(there, eligible);
			at += there;
		}
		assert_int_equal(at, count);
	}
}

static void rows_that_may_not_be_reported_are_not(void **state)
{
	static const uint64_t lists[] = { 0, 1, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX };
	struct scanning s;

	(void)state;
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		for (size_t n = l % STRIDE; n < ARRAY_SIZE(moments); n += STRIDE) {
			place_scan(&s, 20, 200, n % 2 ? 3 : 12);
			s.lists = lists[l];
			s.now = moments[n];
			for (uint32_t r = 0; r < s.row_first + s.rows; r++) {
				mark_of(&s, r)->lists = kbed_below(3) ? lists[kbed_below(ARRAY_SIZE(lists))] : kbed_random();
				mark_of(&s, r)->expires = (uint64_t)moments[kbed_below(ARRAY_SIZE(moments))];
				mark_of(&s, r)->deleted = kbed_below(4) == 0;
				if (kbed_below(20) == 0)
					bound_of(&s, r)->resid = NAN; /* such a row passes every threshold, not every filter */
			}
			by_all(&s, check_filters);
		}
	}
}

/* ---- sets ---- */

struct set {
	uint32_t counts[64];
	struct gpu_entry lists[64][CAP];
};

static struct set first_set;
static bool have_first;

static void check_same_set(const struct scanning *s)
{
	static struct set now;

	for (uint32_t p = 0; p < s->probes; p++)
		now.counts[p] = survivors(s, p, now.lists[p]);
	if (!have_first)
		first_set = now;
	have_first = true;
	assert_memory_equal(now.counts, first_set.counts, s->probes * sizeof(now.counts[0]));
	for (uint32_t p = 0; p < s->probes; p++)
		assert_memory_equal(now.lists[p], first_set.lists[p], now.counts[p] * sizeof(now.lists[p][0]));
}

/* Half of the time all rows have the same bound, and large sums: then a tile's cut is as near to their own bounds as it can be. */
static void every_variant_tile_and_run_gives_the_same_set(void **state)
{
	struct scanning s;
	uint32_t scans = 0;

	(void)state;
	for (uint32_t n = 0; n < 16; n += STRIDE) {
		place_scan(&s, n % 2 ? 512 : 128, 400, n % 4 < 2 ? 8 : 40);
		for (uint32_t r = 0; r < s.row_first + s.rows && n % 2 == 0; r++)
			*bound_of(&s, r) = usual_bound();
		for (uint32_t p = 0; p < s.probes; p++)
			probe_of(&s, p)->threshold = near_bound(&s, n % 2 ? row_of_largest_sum(&s, p) : any_row(&s), p);
		have_first = false;
		for (s.pieces = 1; s.pieces < 100; s.pieces = s.pieces * 5 + 2)
			scans += by_all(&s, check_same_set);
		s.pieces = 1;
		scans += by_all(&s, check_same_set);
	}
	assert_true(scans >= 16 / STRIDE * 3 * 4);
}

static void many_rows_take_several_dispatches(void **state)
{
	uint32_t groups_max[BED_VARIANTS] = { 0 };
	struct scanning s;

	(void)state;
	for (uint32_t v = 0; v < BED_VARIANTS; v++) {
		groups_max[v] = bed.kernels[v] ? bed.kernels[v]->groups_max : 0;
		if (bed.kernels[v])
			bed.kernels[v]->groups_max = 2;
	}
	for (uint32_t n = 0; n < 4; n++) {
		place_scan(&s, 64, 300 + kbed_below(200), n % 2 ? 8 : 33);
		by_all(&s, check_all_rows);
	}
	for (uint32_t v = 0; v < BED_VARIANTS; v++)
		if (bed.kernels[v])
			bed.kernels[v]->groups_max = groups_max[v];
}

static void check_counts_past_the_end(const struct scanning *s)
{
	const struct gpu_entry *entries = kbed_back(&bed, s->entries);
	const uint32_t *counts = kbed_back(&bed, s->counts);

	for (uint32_t p = 0; p < s->probes; p++) {
		assert_int_equal(counts[p], s->rows + 2);
		for (uint32_t i = 0; i < CAP; i++) {
			const struct gpu_entry *e = &entries[p * CAP + i];

			/* The lists lie at the beginning of the place, @cap entries each. Behind them is nothing. */
			if (p * CAP + i >= s->probes * s->cap)
				assert_int_equal(e->row, 0);
			else if ((p * CAP + i) % s->cap < 2)
				assert_int_equal(e->row, 0); /* from an earlier scan: left as they are */
			else
				assert_true(e->row >= s->row_base + s->row_first && e->row < s->row_base + s->row_first + s->rows);
		}
	}
}

static void a_full_list_counts_on_and_writes_nothing_past_its_end(void **state)
{
	struct scanning s;

	(void)state;
	for (uint32_t cap = 3; cap < 100; cap += 40) {
		place_scan(&s, 10, 200, cap == 3 ? 8 : 20);
		s.row_base = 5;
		s.cap = cap;
		for (uint32_t p = 0; p < s.probes; p++)
			((uint32_t *)kbed_host(&bed, s.counts))[p] = 2;
		by_all(&s, check_counts_past_the_end);
	}
}

static int open_bed(void **state)
{
	(void)state;
	if (kbed_open(&bed, NULL, BED_BYTES))
		kbed_make_kernels(&bed);
	return 0;
}

static int close_bed(void **state)
{
	(void)state;
	kbed_close(&bed);
	return 0;
}

static int need_device(void **state)
{
	(void)state;
	if (!bed.device) {
		print_message("no Vulkan device for tests\n");
		skip();
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(blocks_of_every_dimension_become_rows, need_device),
		cmocka_unit_test_setup(a_last_block_may_hold_any_number_of_rows, need_device),
		cmocka_unit_test_setup(many_blocks_take_several_dispatches, need_device),
		cmocka_unit_test_setup(sums_are_exact_in_every_variant, need_device),
		cmocka_unit_test_setup(sums_at_the_limits_are_exact, need_device),
		cmocka_unit_test_setup(survivors_are_those_whose_bound_reaches_the_threshold, need_device),
		cmocka_unit_test_setup(odd_bounds_and_thresholds_never_lose_a_row, need_device),
		cmocka_unit_test_setup(rows_that_may_not_be_reported_are_not, need_device),
		cmocka_unit_test_setup(every_variant_tile_and_run_gives_the_same_set, need_device),
		cmocka_unit_test_setup(many_rows_take_several_dispatches, need_device),
		cmocka_unit_test_setup(a_full_list_counts_on_and_writes_nothing_past_its_end, need_device),
	};

	return cmocka_run_group_tests(tests, open_bed, close_bed);
}
