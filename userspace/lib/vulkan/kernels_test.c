// SPDX-License-Identifier: MIT
// The self-test of a device's kernels: one small gallery through all of them, against the scalar backend.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_parts.h"
#include "score.h"

/* Four blocks, the last one not filled; tiles of rows and of probes that are not full either; the first rows left out of the scan. */
enum { BLOCK_ROWS = 96, BLOCKS = 4, ROWS = 3 * BLOCK_ROWS + 37, ROW_FIRST = 5, PROBES = 140, DIM_MAX = 512 };
enum { CAP = 384, K = 7, SLOTS = 64, NOW = 1000, ROW_BASE = 1000, CHUNK = 3, CHUNKS = 4 };
#define LISTS (UINT64_C(1) << 40 | 4)

/* How far the device's bounds, float32 with a margin, may be from those in float64 here, where scores are about 1. */
#define TOLERANCE 1e-5

/* Offsets into each of the three buffers. */
struct places {
	uint64_t blocks, deleted, codes, bounds, marks, probe_codes, probe, entries, counts, kept, slots, overflow, end;
};

typedef void scan_fn(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan);

struct selftest {
	struct lineup_vk_kernels *kernels;
	scan_fn *scan;                    /* by which of them */
	struct lineup_vk_buffer host, gpu;
	struct lineup_vk_buffer scanned, refreshed; /* what gpu held after the scan, and after the refresh */
	struct lineup_vk_commands commands;
	struct places at;
	struct lineup_shape shape;
	struct lineup_probe_set set;
	uint32_t block; /* that the scalar backend is scanning */
	uint64_t random;
	float vectors[PROBES][DIM_MAX];
	_Atomic float threshold[PROBES + LINEUP_PROBE_TILE];
	int32_t acc[PROBES][ROWS];
	bool expected[PROBES][ROWS], found[PROBES][ROWS];
};

static uint32_t next_random(struct selftest *t)
{
	t->random = t->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(t->random >> 33);
}

static uint64_t place(uint64_t *end, uint64_t size)
{
	uint64_t at = *end;

	*end = round_up(at + size, 256);
	return at;
}

static void lay_out(struct selftest *t, uint32_t dim)
{
	uint64_t pitch = round_up(dim, LINEUP_GPU_PITCH), end = 0;

	lineup_shape_init(&t->shape, dim, LINEUP_STORE_FLOAT32, BLOCK_ROWS);
	t->at = (struct places){
		.blocks = place(&end, BLOCKS * t->shape.block_bytes),
		.deleted = place(&end, BLOCKS * (BLOCK_ROWS / 32 + 1) * 4),
		.codes = place(&end, ROWS * pitch),
		.bounds = place(&end, ROWS * sizeof(struct gpu_bound)),
		.marks = place(&end, ROWS * sizeof(struct gpu_mark)),
		.probe_codes = place(&end, PROBES * pitch),
		.probe = place(&end, PROBES * sizeof(struct gpu_probe)),
		.entries = place(&end, PROBES * CAP * sizeof(struct gpu_entry)),
		.counts = place(&end, PROBES * 4),
		.kept = place(&end, PROBES * 4),
		.slots = place(&end, PROBES * SLOTS * 4),
		.overflow = place(&end, CHUNKS * 4),
	};
	t->at.end = end;
}

static void *in(const struct lineup_vk_buffer *buffer, uint64_t at)
{
	return (uint8_t *)buffer->map + at;
}

static uint32_t block_rows(uint32_t block)
{
	return block + 1 < BLOCKS ? BLOCK_ROWS : ROWS - block * BLOCK_ROWS;
}

static bool is_deleted(const struct selftest *t, uint32_t row)
{
	const uint32_t *words = in(&t->host, t->at.deleted);
	uint32_t r = row % BLOCK_ROWS;

	return words[row / BLOCK_ROWS * (BLOCK_ROWS / 32) + r / 32] >> (r % 32) & 1;
}

/* Some rows of each kind that a test must tell apart; one without a bound, which always passes. */
static void fill_rows(struct selftest *t)
{
	uint32_t *deleted = in(&t->host, t->at.deleted);

	for (uint32_t b = 0; b < BLOCKS; b++) {
		uint8_t *block = in(&t->host, t->at.blocks + b * t->shape.block_bytes);
		struct lineup_columns c;

		lineup_block_begin(&t->shape, block);
		for (uint32_t r = 0; r < block_rows(b); r++) {
			uint32_t kind = next_random(t) % 16, row = b * BLOCK_ROWS + r;
			struct disk_record record = {
				.subject = next_random(t) % 50, .template_id = (UINT64_C(1) << 40) + row,
				.lists = kind == 1 ? 1 : kind == 2 ? UINT64_C(1) << 41 : kind == 7 ? UINT64_C(1) << 40 : 4,
				.expires = kind == 3 ? NOW : kind == 4 ? NOW + 1 : kind == 5 ? INT64_C(1) << 40 : 0,
			};

			for (uint32_t i = 0; i < t->shape.dim; i++)
				t->vectors[0][i] = ((float)(next_random(t) % 2001) / 1000 - 1) / sqrtf((float)t->shape.dim / 3);
			lineup_block_put(&t->shape, block, r, &record, t->vectors[0]);
			if (kind == 6)
				deleted[row / BLOCK_ROWS * (BLOCK_ROWS / 32) + r / 32] |= 1u << (r % 32);
		}
		lineup_block_columns(&t->shape, block, &c);
		if (b == 1)
			((float *)(uintptr_t)c.resid)[7] = NAN;
		lineup_block_end(&t->shape, block, 1, b, block_rows(b));
	}
}

static float rounded_up(double x)
{
	float f = (float)x;

	return (double)f < x ? nextafterf(f, INFINITY) : f;
}

static int fill_probes(struct selftest *t, uint32_t probes)
{
	static const float thresholds[] = { -INFINITY, 0.02f, -0.01f, INFINITY, 0.1f };
	struct lineup_matrix m = { .data = t->vectors, .rows = probes, .dim = t->shape.dim, .dtype = LINEUP_FLOAT32 };
	struct gpu_probe *probe = in(&t->host, t->at.probe);
	uint32_t pitch = (uint32_t)round_up(t->shape.dim, LINEUP_GPU_PITCH);
	float *values = &t->vectors[0][0];
	int err;

	for (uint32_t i = 0; i < probes * t->shape.dim; i++)
		values[i] = (float)(next_random(t) % 2001) / 1000 - 1.0003f;
	err = lineup_probe_set_fill(t->kernels->device->ctx, &t->set, &m, 0, probes, LINEUP_NORM_MAX_FLOAT32);
	if (err)
		return err;
	for (uint32_t p = 0; p < probes; p++) {
		const int8_t *codes = t->set.codes + (size_t)(p / LINEUP_PROBE_TILE) * t->set.groups * LINEUP_PROBE_TILE * 4;
		int8_t *to = in(&t->host, t->at.probe_codes + (uint64_t)p * pitch);

		for (uint32_t i = 0; i < t->shape.dim; i++)
			to[i] = codes[i / 4 * LINEUP_PROBE_TILE * 4 + p % LINEUP_PROBE_TILE * 4 + i % 4];
		atomic_store(&t->threshold[p], thresholds[p % ARRAY_SIZE(thresholds)]);
		probe[p] = (struct gpu_probe){ .scale = t->set.scale[p], .c0 = rounded_up(t->set.c0[p]),
					       .c1 = rounded_up(t->set.c1[p]),
					       .threshold = thresholds[p % ARRAY_SIZE(thresholds)] };
	}
	return 0;
}

/* Whether the scan may report a row at all. */
static bool eligible(const struct selftest *t, uint32_t row)
{
	struct lineup_columns c;
	uint32_t r = row % BLOCK_ROWS;

	lineup_block_columns(&t->shape, in(&t->host, t->at.blocks + row / BLOCK_ROWS * t->shape.block_bytes), &c);
	return row >= ROW_FIRST && !is_deleted(t, row) && !(c.expires[r] > 0 && c.expires[r] <= NOW) && (c.lists[r] & LISTS);
}

/* What the scalar backend reports, of rows that may be. */
static void note_hit(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	struct selftest *t = arg;

	for (; mask; mask &= mask - 1) {
		uint32_t b = (uint32_t)__builtin_ctzll(mask), r = t->block * BLOCK_ROWS + row + b;

		if (!eligible(t, r))
			continue;
		t->expected[probe][r] = true;
		t->acc[probe][r] = acc[b];
	}
}

static void scan_scalar(struct selftest *t)
{
	struct lineup_scan scan = { .probes = &t->set, .threshold = t->threshold, .hit = note_hit, .arg = t };

	memset(t->expected, 0, sizeof(t->expected));
	for (t->block = 0; t->block < BLOCKS; t->block++) {
		struct lineup_columns columns;

		lineup_block_columns(&t->shape, in(&t->host, t->at.blocks + t->block * t->shape.block_bytes), &columns);
		lineup_score_scalar.scan(&scan, &columns, block_rows(t->block));
	}
}

static void record(struct selftest *t, uint32_t probes, uint32_t cap)
{
	struct lineup_vk_device *device = t->kernels->device;
	uint64_t gpu = t->gpu.address;
	uint32_t pitch = (uint32_t)round_up(t->shape.dim, LINEUP_GPU_PITCH) / 16;
	struct gpu_unpack unpack = {
		.blocks = gpu + t->at.blocks, .deleted = gpu + t->at.deleted, .codes = gpu + t->at.codes,
		.bounds = gpu + t->at.bounds,
		.marks = gpu + t->at.marks, .block_words = (uint32_t)(t->shape.block_bytes / 4), .block_rows = BLOCK_ROWS,
		.groups = t->shape.groups, .rows = ROWS, .pitch = pitch,
	};
	struct gpu_scan scan = {
		.codes = gpu + t->at.codes, .bounds = gpu + t->at.bounds, .marks = gpu + t->at.marks,
		.probe_codes = gpu + t->at.probe_codes,
		.probe = gpu + t->at.probe, .entries = gpu + t->at.entries, .counts = gpu + t->at.counts, .lists = LISTS,
		.now = NOW,
		.row_first = ROW_FIRST, .rows = ROWS - ROW_FIRST, .row_base = ROW_BASE, .probes = probes, .pitch = pitch,
		.cap = cap,
	};
	struct gpu_refresh refresh = {
		.probe = gpu + t->at.probe, .entries = gpu + t->at.entries, .counts = gpu + t->at.counts, .kept = gpu + t->at.kept,
		.slots = gpu + t->at.slots, .overflow = gpu + t->at.overflow, .chunk = CHUNK, .probes = probes, .cap = cap, .k = K,
		.slot_count = SLOTS,
	};

	lineup_vk_copy(device, &t->commands, &t->host, 0, &t->gpu, 0, t->at.end);
	lineup_vk_barrier(device, &t->commands);
	lineup_vk_unpack(t->kernels, &t->commands, &unpack);
	lineup_vk_barrier(device, &t->commands);
	t->scan(t->kernels, &t->commands, &scan);
	lineup_vk_barrier(device, &t->commands);
	lineup_vk_copy(device, &t->commands, &t->gpu, 0, &t->scanned, 0, t->at.end);
	lineup_vk_barrier(device, &t->commands);
	lineup_vk_refresh(t->kernels, &t->commands, &refresh);
	lineup_vk_barrier(device, &t->commands);
	lineup_vk_copy(device, &t->commands, &t->gpu, 0, &t->refreshed, 0, t->at.end);
	lineup_vk_barrier(device, &t->commands);
}

static int run(struct selftest *t, uint32_t probes, uint32_t cap)
{
	struct lineup_vk_device *device = t->kernels->device;
	int err = lineup_vk_begin(device, &t->commands);

	if (err)
		return err;
	record(t, probes, cap);
	return lineup_vk_submit_and_wait(device, &device->compute, &t->commands);
}

struct row {
	float scale, resid;
	uint32_t subject;
	uint64_t template_id;
};

static struct row row_of(const struct selftest *t, uint32_t row)
{
	struct lineup_columns c;
	uint32_t r = row % BLOCK_ROWS;

	lineup_block_columns(&t->shape, in(&t->host, t->at.blocks + row / BLOCK_ROWS * t->shape.block_bytes), &c);
	return (struct row){ c.scale[r], c.resid[r], c.subject[r], c.template_id[r] };
}

/* Score and slack of an entry in float64; false: it has no bound. */
static bool bounds(const struct selftest *t, uint32_t probe, const struct gpu_entry *e, double *low, double *high)
{
	double estimate = (double)t->set.scale[probe] * (double)e->scale * e->acc;
	double slack = t->set.c0[probe] + t->set.c1[probe] * (double)e->resid;

	*low = estimate - slack;
	*high = estimate + slack;
	return !isnan(slack);
}

/* Notes the entries of a list in found[]: each right, and none twice. */
static bool read_list(struct selftest *t, const struct lineup_vk_buffer *from, uint32_t probe, uint32_t count, uint32_t cap)
{
	const struct gpu_entry *list = (const struct gpu_entry *)in(from, t->at.entries) + (size_t)probe * cap;

	memset(t->found[probe], 0, sizeof(t->found[probe]));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t row = list[i].row - ROW_BASE;
		struct row is;

		if (row >= ROWS || t->found[probe][row] || !eligible(t, row))
			return false;
		t->found[probe][row] = true;
		is = row_of(t, row);
		if (memcmp(&list[i].scale, &is.scale, 4) || memcmp(&list[i].resid, &is.resid, 4) || list[i].subject != is.subject ||
		    list[i].template_id != is.template_id || (t->expected[probe][row] && list[i].acc != t->acc[probe][row]))
			return false;
	}
	return true;
}

/* All that the scalar backend reports, and of others only such as miss the threshold by a hair. */
static bool check_scan(struct selftest *t, uint32_t probe, uint32_t cap)
{
	const struct gpu_entry *list = (const struct gpu_entry *)in(&t->scanned, t->at.entries) + (size_t)probe * cap;
	uint32_t count = ((const uint32_t *)in(&t->scanned, t->at.counts))[probe], expected = 0;
	double threshold = (double)atomic_load(&t->threshold[probe]);

	for (uint32_t r = 0; r < ROWS; r++)
		expected += t->expected[probe][r];
	if (count > cap) /* the list has any of them */
		return count >= expected && read_list(t, &t->scanned, probe, cap, cap);
	if (!read_list(t, &t->scanned, probe, count, cap))
		return false;
	for (uint32_t r = 0; r < ROWS; r++)
		if (t->expected[probe][r] && !t->found[probe][r])
			return false;
	for (uint32_t i = 0; i < count; i++) {
		double low, high;

		if (bounds(t, probe, &list[i], &low, &high) && !t->expected[probe][list[i].row - ROW_BASE] &&
		    !(high >= threshold - TOLERANCE))
			return false;
	}
	return true;
}

/* As in refresh.comp. */
static uint32_t hash(uint32_t key)
{
	key ^= key >> 16;
	key *= 0x85ebca6b;
	key ^= key >> 13;
	key *= 0xc2b2ae35;
	return key ^ key >> 16;
}

static int compare_descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The threshold after a refresh of @count entries: the K-th largest of the slots, or what it was. */
static double model_threshold(const struct selftest *t, uint32_t probe, const struct gpu_entry *list, uint32_t count)
{
	double slots[SLOTS], threshold = (double)atomic_load(&t->threshold[probe]);

	for (uint32_t s = 0; s < SLOTS; s++)
		slots[s] = -INFINITY;
	for (uint32_t i = 0; i < count; i++) {
		double low, high;

		if (bounds(t, probe, &list[i], &low, &high) && low > slots[hash(list[i].row) % SLOTS])
			slots[hash(list[i].row) % SLOTS] = low;
	}
	qsort(slots, SLOTS, sizeof(slots[0]), compare_descending);
	return slots[K - 1] > threshold ? slots[K - 1] : threshold;
}

static bool check_refresh(struct selftest *t, uint32_t probe, uint32_t cap, uint32_t overflows)
{
	const struct gpu_entry *list = (const struct gpu_entry *)in(&t->scanned, t->at.entries) + (size_t)probe * cap;
	uint32_t before = ((const uint32_t *)in(&t->scanned, t->at.counts))[probe];
	uint32_t after = ((const uint32_t *)in(&t->refreshed, t->at.counts))[probe];
	uint32_t kept = ((const uint32_t *)in(&t->refreshed, t->at.kept))[probe];
	uint32_t overflow = ((const uint32_t *)in(&t->refreshed, t->at.overflow))[CHUNK];
	double threshold = (double)((const struct gpu_probe *)in(&t->refreshed, t->at.probe))[probe].threshold, model;

	if (overflow != (overflows ? 1 : 0))
		return false;
	if (before > cap)
		return !after && !kept && threshold == (double)atomic_load(&t->threshold[probe]);
	model = model_threshold(t, probe, list, before);
	if (after != kept || after > before || threshold > model || (threshold < model && !(threshold >= model - TOLERANCE)))
		return false;
	if (!read_list(t, &t->refreshed, probe, after, cap))
		return false;
	for (uint32_t i = 0; i < before; i++) {
		double low, high;
		bool bounded = bounds(t, probe, &list[i], &low, &high), stays = t->found[probe][list[i].row - ROW_BASE];

		if (bounded ? (stays ? high < threshold - TOLERANCE : high >= threshold) : !stays)
			return false;
	}
	return true;
}

static int check(struct selftest *t, uint32_t probes, uint32_t cap, const char **what)
{
	const uint32_t *counts = in(&t->scanned, t->at.counts);
	uint32_t overflows = 0;

	for (uint32_t p = 0; p < probes; p++)
		overflows += counts[p] > cap;
	for (uint32_t p = 0; p < probes; p++) {
		if (!check_scan(t, p, cap)) {
			*what = "its scan differs from the scalar backend";
			return -EIO;
		}
		if (!check_refresh(t, p, cap, overflows)) {
			*what = "its selection of survivors is wrong";
			return -EIO;
		}
	}
	return 0;
}

/* One gallery and one set of probes; then again with lists that are too short. */
static int test_dim(struct selftest *t, uint32_t dim, uint32_t probes, const char **what)
{
	struct lineup_vk_device *device = t->kernels->device;
	int err = lineup_probe_set_init(device->ctx, &t->set, PROBES, dim);

	lay_out(t, dim);
	memset(t->host.map, 0, t->at.end);
	if (!err) {
		fill_rows(t);
		err = fill_probes(t, probes);
	}
	if (!err) {
		scan_scalar(t);
		err = run(t, probes, CAP);
	}
	if (!err)
		err = check(t, probes, CAP, what);
	if (!err)
		err = run(t, probes, 3);
	if (!err)
		err = check(t, probes, 3, what);
	lineup_probe_set_fini(&t->set);
	memset(&t->set, 0, sizeof(t->set));
	return err;
}

static int make_buffers(struct selftest *t)
{
	struct lineup_vk_device *device = t->kernels->device;
	int err;

	lay_out(t, DIM_MAX);
	err = lineup_vk_buffer_create(device, LINEUP_VK_UPLOAD, t->at.end, "self-test upload", &t->host);
	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, t->at.end, "self-test", &t->gpu);
	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_READBACK, t->at.end, "self-test scanned", &t->scanned);
	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_READBACK, t->at.end, "self-test refreshed", &t->refreshed);
	if (!err)
		err = lineup_vk_commands_create(device, &device->compute, "self-test", &t->commands);
	return err;
}

int lineup_vk_kernels_selftest(struct lineup_vk_kernels *kernels, const char **what)
{
	static const struct { uint32_t dim, probes; scan_fn *scan; } rounds[] = {
		{ 1, 21, lineup_vk_scan_wide }, { 130, PROBES, lineup_vk_scan_wide }, { DIM_MAX, 9, lineup_vk_scan_wide },
		{ 70, 1, lineup_vk_scan_narrow }, { 200, 45, lineup_vk_scan_narrow },
		{ 70, 3, lineup_vk_scan_gemv }, { DIM_MAX, LINEUP_GPU_GEMV_PROBES, lineup_vk_scan_gemv },
	};
	struct selftest *t = calloc(1, sizeof(*t));
	int err;

	*what = "its self-test could not be run";
	if (!t)
		return -ENOMEM;
	t->kernels = kernels;
	t->random = 1;
	err = make_buffers(t);
	for (size_t i = 0; i < ARRAY_SIZE(rounds) && !err; i++) {
		t->scan = rounds[i].scan;
		err = test_dim(t, rounds[i].dim, rounds[i].probes, what);
	}
	lineup_vk_commands_destroy(kernels->device, &t->commands);
	lineup_vk_buffer_destroy(kernels->device, &t->refreshed);
	lineup_vk_buffer_destroy(kernels->device, &t->scanned);
	lineup_vk_buffer_destroy(kernels->device, &t->gpu);
	lineup_vk_buffer_destroy(kernels->device, &t->host);
	free(t);
	return err;
}
