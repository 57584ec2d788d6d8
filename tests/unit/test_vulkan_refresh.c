// SPDX-License-Identifier: MIT
// Raising thresholds and dropping survivors on the device, against a sequential model in long double.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vulkan_kernels.h"

enum { BED_BYTES = 32 << 20, CAP_MAX = 6000, SLOTS_MAX = 16384, PROBES_MAX = 5, CHUNKS = 40 };

static struct kernels_bed bed;

/* What the device holds between refreshes; the model's state is what the device gave last, once that has been checked. */
struct refreshing {
	uint32_t probes, cap, k, slot_count, chunk;
	bool distinct;
	uint64_t probe, entries, counts, kept, slots, overflow;
	/* The slots by the model: between the least and the greatest that a device's rounding may make of lower bounds. */
	long double low[PROBES_MAX][SLOTS_MAX], high[PROBES_MAX][SLOTS_MAX];
	uint32_t next_row;
};

static struct refreshing r;

static void record_refresh(struct kernels_bed *b, void *arg)
{
	struct gpu_refresh push = {
		.probe = kbed_address(b, r.probe), .entries = kbed_address(b, r.entries), .counts = kbed_address(b, r.counts),
		.kept = kbed_address(b, r.kept), .slots = kbed_address(b, r.slots), .overflow = kbed_address(b, r.overflow),
		.chunk = r.chunk,
		.probes = r.probes, .cap = r.cap, .k = r.k, .slot_count = r.slot_count, .distinct = r.distinct,
	};

	(void)arg;
	lineup_vk_refresh(b->kernels[LINEUP_VK_SCALAR], &b->commands, &push);
}

static struct gpu_entry *list_of(uint32_t probe)
{
	return (struct gpu_entry *)kbed_host(&bed, r.entries) + (size_t)probe * r.cap;
}

static uint32_t *number(uint64_t place, uint32_t i)
{
	return (uint32_t *)kbed_host(&bed, place) + i;
}

static struct gpu_probe *probe_of(uint32_t p)
{
	return (struct gpu_probe *)kbed_host(&bed, r.probe) + p;
}

static void begin(uint32_t probes, uint32_t cap, uint32_t k, uint32_t slot_count, bool distinct)
{
	kbed_reset(&bed);
	r.probes = probes;
	r.cap = cap;
	r.k = k;
	r.slot_count = slot_count;
	r.distinct = distinct;
	r.chunk = 0;
	r.next_row = kbed_below(1000);
	r.probe = kbed_place(&bed, probes * sizeof(struct gpu_probe));
	r.entries = kbed_place(&bed, (uint64_t)probes * cap * sizeof(struct gpu_entry));
	r.counts = kbed_place(&bed, probes * 4);
	r.kept = kbed_place(&bed, probes * 4);
	r.slots = kbed_place(&bed, (uint64_t)probes * slot_count * 4);
	r.overflow = kbed_place(&bed, CHUNKS * 4);
	for (uint32_t p = 0; p < probes; p++) {
		*probe_of(p) = (struct gpu_probe){ .scale = 0.003f, .c0 = 0.007f, .c1 = 1.005f, .threshold = -INFINITY };
		for (uint32_t i = 0; i < slot_count; i++)
			r.low[p][i] = r.high[p][i] = -INFINITY;
	}
}

/* Rows' bounds as in a real gallery, some equal, some out of all bounds. */
static struct gpu_entry make_entry(uint32_t subjects)
{
	static const float odd[] = { NAN, INFINITY, -1, 0x1p80f };
	struct gpu_entry e = { .row = r.next_row++, .acc = (int32_t)kbed_below(60001) - 20000, .scale = 0.003f,
			       .subject = kbed_below(subjects),
			       .resid = 0.005f + (float)kbed_below(100) * 1e-4f, .template_id = kbed_random() };

	if (kbed_below(4) == 0)
		e.acc = 12345 + (int32_t)kbed_below(3);
	if (kbed_below(60) == 0)
		*(kbed_below(2) ? &e.scale : &e.resid) = odd[kbed_below(ARRAY_SIZE(odd))];
	return e;
}

static bool is_sane(const struct gpu_entry *e)
{
	return e->scale >= 0 && e->scale <= 0x1p60f && e->resid >= 0 && e->resid <= 0x1p60f;
}

static long double estimate(const struct gpu_probe *p, const struct gpu_entry *e)
{
	return (long double)e->acc * e->scale * p->scale;
}

static long double slack(const struct gpu_probe *p, const struct gpu_entry *e)
{
	return p->c0 + (long double)p->c1 * e->resid;
}

/* How far from the real bound a device's may be: (1) in common.glsl. */
static long double margin(const struct gpu_probe *p, const struct gpu_entry *e)
{
	return 0x1p-19L * (fabsl(estimate(p, e)) + slack(p, e)) + 0x1p-88L;
}

/* MurmurHash3's finaliser, as published. */
static uint32_t hash(uint32_t h)
{
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	h ^= h >> 16;
	return h;
}

static int descending(const void *a, const void *b)
{
	long double x = *(const long double *)a, y = *(const long double *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

static long double kth(const long double *slots)
{
	static long double sorted[SLOTS_MAX];

	memcpy(sorted, slots, r.slot_count * sizeof(*slots));
	qsort(sorted, r.slot_count, sizeof(*sorted), descending);
	return sorted[r.k - 1];
}

static void model_slots(uint32_t p, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		const struct gpu_entry *e = &list_of(p)[i];
		uint32_t slot = hash(r.distinct ? e->subject : e->row) % r.slot_count;
		long double lower = estimate(probe_of(p), e) - slack(probe_of(p), e);

		if (!is_sane(e))
			continue;
		if (lower > r.high[p][slot])
			r.high[p][slot] = lower;
		if (lower - margin(probe_of(p), e) > r.low[p][slot])
			r.low[p][slot] = lower - margin(probe_of(p), e);
	}
}

/* What stays is what may: in the order it was, nothing else among it. */
static void check_kept(uint32_t p, uint32_t before, uint32_t after, float threshold)
{
	const struct gpu_entry *list = (const struct gpu_entry *)kbed_back(&bed, r.entries) + (size_t)p * r.cap;
	uint32_t at = 0;

	for (uint32_t i = 0; i < before; i++) {
		const struct gpu_entry *e = &list_of(p)[i];
		long double upper = estimate(probe_of(p), e) + slack(probe_of(p), e);
		bool stays = at < after && !memcmp(&list[at], e, sizeof(*e));

		at += stays;
		if (!stays && (!is_sane(e) || upper >= threshold))
			fail_msg("probe %u: entry %u of %u reaches %.12Lg, yet it was dropped at %.12g", p, i, before, upper,
				 (double)threshold);
		if (stays && is_sane(e) && upper + margin(probe_of(p), e) < threshold)
			fail_msg("probe %u: entry %u of %u reaches %.12Lg, yet it was kept at %.12g", p, i, before, upper,
				 (double)threshold);
	}
	assert_int_equal(at, after);
}

static void check_probe(uint32_t p)
{
	float before = probe_of(p)->threshold, after = ((const struct gpu_probe *)kbed_back(&bed, r.probe))[p].threshold;
	uint32_t count = *number(r.counts, p), kept = *number(r.kept, p);
	uint32_t count_after = ((const uint32_t *)kbed_back(&bed, r.counts))[p],
		kept_after = ((const uint32_t *)kbed_back(&bed, r.kept))[p];
	long double low, high;

	assert_int_equal(count_after, kept_after);
	if (count > r.cap) { /* taken back, and nothing else changed */
		assert_int_equal(kept_after, kept);
		assert_memory_equal(&before, &after, 4);
		assert_memory_equal(kbed_back(&bed, r.slots + (uint64_t)p * r.slot_count * 4), number(r.slots, p * r.slot_count),
				    r.slot_count * 4);
		assert_memory_equal(kbed_back(&bed, r.entries + (uint64_t)p * r.cap * sizeof(struct gpu_entry)), list_of(p),
				    kept * sizeof(struct gpu_entry));
		return;
	}
	model_slots(p, kept, count);
	low = kth(r.low[p]);
	high = kth(r.high[p]);
	if (!(after >= before && (after == before ? low <= before : after >= low && after <= high)))
		fail_msg("probe %u: the threshold went from %.12g to %.12g, by the model %.12Lg to %.12Lg", p, (double)before,
			 (double)after, low, high);
	check_kept(p, count, kept_after, after);
}

/* Refreshes, checks, and goes on from what the device gave. */
static void refresh(void)
{
	uint32_t overflows = 0;

	for (uint32_t p = 0; p < r.probes; p++)
		overflows += *number(r.counts, p) > r.cap;
	kbed_run(&bed, record_refresh, NULL);
	for (uint32_t c = 0; c < CHUNKS; c++)
		assert_int_equal(((const uint32_t *)kbed_back(&bed, r.overflow))[c],
				 *number(r.overflow, c) | (c == r.chunk && overflows));
	for (uint32_t p = 0; p < r.probes; p++)
		check_probe(p);
	memcpy(kbed_host(&bed, 0), kbed_back(&bed, 0), bed.used);
	r.chunk++;
}

/* Appends @count entries to each list, or counts them if there is no room. */
static void append(uint32_t count, uint32_t subjects)
{
	for (uint32_t p = 0; p < r.probes; p++) {
		for (uint32_t i = 0; i < count; i++) {
			uint32_t at = (*number(r.counts, p))++;
			struct gpu_entry e = make_entry(subjects);

			if (at < r.cap)
				list_of(p)[at] = e;
		}
	}
}

static void thresholds_are_what_k_keys_reach(void **state)
{
	static const struct { uint32_t k, slots; } sizes[] = { { 1, 1 }, { 1, 64 }, { 2, 2 }, { 10, 256 }, { 100, 1024 },
			{ 255, 256 }, { 257, 512 },
							       { 1000, 4096 }, { 4096, 4096 }, { 4096, 16384 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (uint32_t distinct = 0; distinct < 2; distinct++) {
			uint32_t k = sizes[i].k;

			begin(3, CAP_MAX, k, sizes[i].slots, distinct);
			for (uint32_t n = 0; n < 5; n++) {
				append(n == 0 ? k / 2 + 1 : n == 3 ? 0 : kbed_below(900), distinct ? k * 2 + 1 : 1);
				refresh();
			}
		}
	}
}

static void lists_of_any_length_are_compacted_in_order(void **state)
{
	(void)state;
	for (uint32_t count = 0; count < 140; count += 1 + count / 20) {
		begin(2, 1000, 3, 64, false);
		append(count, 1);
		for (uint32_t p = 0; p < r.probes; p++)
			probe_of(p)->threshold = 0.1f; /* about half of them */
		refresh();
		append(count, 1);
		refresh();
	}
}

static void one_subject_with_many_rows_is_one_key(void **state)
{
	(void)state;
	begin(2, CAP_MAX, 3, 1024, true);
	append(1000, 2);
	refresh();
	assert_true(probe_of(0)->threshold == -INFINITY);
	assert_int_equal(*number(r.kept, 0), 1000);
	append(1000, 50);
	refresh();
	assert_true(probe_of(0)->threshold > -INFINITY);
	assert_true(*number(r.kept, 0) < 1000);
}

static void an_overflow_takes_back_its_chunk_alone(void **state)
{
	(void)state;
	begin(PROBES_MAX, 300, 5, 64, false);
	append(100, 1);
	refresh();
	append(30, 1);
	*number(r.counts, 1) += 1000;
	*number(r.counts, 4) = 301;
	refresh();
	append(20, 1);
	*number(r.counts, 2) = 300; /* full, which is not too much: the rest are zeros */
	refresh();
	append(600, 1);
	refresh();
	append(100, 1);
	refresh();
}

static void rows_without_bounds_stay_and_raise_nothing(void **state)
{
	(void)state;
	begin(2, 1000, 2, 64, false);
	append(500, 1);
	for (uint32_t p = 0; p < r.probes; p++)
		for (uint32_t i = 0; i < 500; i++)
			list_of(p)[i].resid = i % 3 ? NAN : -2;
	refresh();
	assert_true(probe_of(0)->threshold == -INFINITY);
	assert_int_equal(*number(r.kept, 0), 500);
	probe_of(0)->threshold = 0.9f;
	append(1, 1);
	refresh();
	assert_true(*number(r.kept, 0) >= 500);
}

static void a_probe_without_bounds_keeps_everything(void **state)
{
	(void)state;
	begin(1, 1000, 2, 64, false);
	probe_of(0)->c1 = NAN;
	append(300, 1);
	kbed_run(&bed, record_refresh, NULL);
	assert_int_equal(*(const uint32_t *)kbed_back(&bed, r.kept), 300);
	assert_true(((const struct gpu_probe *)kbed_back(&bed, r.probe))->threshold == -INFINITY);
}

static void a_host_may_take_the_list_and_raise_the_threshold(void **state)
{
	(void)state;
	begin(2, 1000, 5, 64, false);
	append(400, 1);
	refresh();
	for (uint32_t p = 0; p < r.probes; p++) {
		*number(r.counts, p) = *number(r.kept, p) = 0;
		probe_of(p)->threshold += 0.01f;
	}
	append(50, 1);
	refresh();
}

static int open_bed(void **state)
{
	(void)state;
	if (kbed_open(&bed, NULL, BED_BYTES))
		assert_int_equal(lineup_vk_kernels_create(bed.device, "scalar", &bed.kernels[LINEUP_VK_SCALAR]), 0);
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
		cmocka_unit_test_setup(thresholds_are_what_k_keys_reach, need_device),
		cmocka_unit_test_setup(lists_of_any_length_are_compacted_in_order, need_device),
		cmocka_unit_test_setup(one_subject_with_many_rows_is_one_key, need_device),
		cmocka_unit_test_setup(an_overflow_takes_back_its_chunk_alone, need_device),
		cmocka_unit_test_setup(rows_without_bounds_stay_and_raise_nothing, need_device),
		cmocka_unit_test_setup(a_probe_without_bounds_keeps_everything, need_device),
		cmocka_unit_test_setup(a_host_may_take_the_list_and_raise_the_threshold, need_device),
	};

	return cmocka_run_group_tests(tests, open_bed, close_bed);
}
