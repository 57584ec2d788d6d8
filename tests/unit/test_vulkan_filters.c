// SPDX-License-Identifier: MIT
// Lists, expiry, deletion and thresholds as a device sees them: the same rows pass as on the CPU.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan_bed.h"

enum { DIM = 24, ROWS = 700, PROBES = 12, NOW = 1000 };

/* A gallery with every mix of lists and expiries around NOW, part segment, part journal; searchers of all variants. */
struct fixture {
	struct bed *bed;
	const struct vulkan *vulkan;
	struct lineup_matrix rows;
	struct lineup_matrix probe_rows;
	struct probes probes;
	uint32_t count;
	struct lineup_search_setup setups[2 * LINEUP_DEVICE_VARIANTS];
	struct lineup_searcher *searchers[2 * LINEUP_DEVICE_VARIANTS];
};

static void fill(struct fixture *f)
{
	static const int64_t expiries[] = { 0, 1, NOW - 1, NOW, NOW + 1, 4102444800, INT64_MAX };
	struct rng rng = { test_seed() };
	static uint64_t lists[ROWS];
	static int64_t expires[ROWS];

	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->bed->story = "filters";
	f->rows = rows_random(&rng, ROWS, DIM);
	f->probe_rows = rows_random(&rng, PROBES, DIM);
	for (uint32_t i = 0; i < ROWS; i++) {
		lists[i] = i % 5 ? 1ULL << i % 64 | 1ULL << i / 64 % 64 : 0;
		expires[i] = expiries[i % ARRAY_SIZE(expiries)];
	}
	bed_enrol(f->bed, &f->rows, 0, ROWS - 100, NULL, lists, expires);
	bed_delete_template(f->bed, f->bed->oracle.rows[17].id);
	bed_compact(f->bed);
	/* These stay in their block, marked as deleted. */
	for (uint32_t i = 31; i < 600; i += 31 + i % 3)
		bed_delete_template(f->bed, f->bed->oracle.rows[i].id);
	bed_enrol(f->bed, &f->rows, ROWS - 100, 100, NULL, lists + ROWS - 100, expires + ROWS - 100);
	bed_delete_template(f->bed, f->bed->oracle.rows[ROWS - 3].id);
	probes_init(&f->probes, f->bed, &f->probe_rows);
}

/* Made by the first test, for vulkan_here may skip it. */
static struct fixture *fixture(void **state)
{
	struct fixture *f = *state;

	f->vulkan = vulkan_here();
	vulkan_watchdog(300);
	if (f->bed)
		return f;
	fill(f);
	for (; f->count < 2 * f->vulkan->count; f->count++) {
		f->setups[f->count] = SETUP(.backend = f->vulkan->backend[f->count / 2], .devices = f->vulkan->device,
					    .k_max = LINEUP_K_MAX, .residency = f->count % 2 ? LINEUP_STREAMED : LINEUP_RESIDENT);
		f->searchers[f->count] = bed_searcher(f->bed, &f->setups[f->count]);
	}
	return f;
}

/* All probes: a tile; and a few: the kernel for few. */
static void check(struct fixture *f, const struct lineup_search_options *options)
{
	struct probes few = f->probes;

	few.matrix.rows = 3;
	for (uint32_t i = 0; i < f->count; i++) {
		bed_search(f->bed, f->searchers[i], &f->setups[i], &f->probes, options);
		bed_search(f->bed, f->searchers[i], &f->setups[i], &few, options);
	}
}

static void a_list_finds_its_templates_only(void **state)
{
	struct fixture *f = fixture(state);

	for (uint32_t bit = 0; bit < 64; bit += bit < 3 || bit > 30 ? 1 : 14)
		check(f, &OPTIONS(.k = LINEUP_K_MAX, .lists = 1ULL << bit));
	check(f, &OPTIONS(.k = 10, .lists = 1ULL << 63));
	check(f, &OPTIONS(.k = 10, .lists = UINT64_MAX));
}

static void several_lists_find_the_templates_on_any_of_them(void **state)
{
	struct fixture *f = fixture(state);

	check(f, &OPTIONS(.k = LINEUP_K_MAX, .lists = 1ULL << 63 | 1));
	check(f, &OPTIONS(.k = 7, .lists = 0xff00));
	check(f, &OPTIONS(.k = 7, .lists = 0xff00000000));
}

/* Both halves of the 64-bit comparison count. */
static void a_template_matches_until_the_second_it_expires(void **state)
{
	static const int64_t nows[] = { 1, 2, NOW - 2, NOW - 1, NOW, NOW + 1, NOW + 2, 4294967295, 4294967296, 4102444799, 4102444800,
					INT64_MAX - 1, INT64_MAX };
	struct fixture *f = fixture(state);

	for (uint32_t i = 0; i < ARRAY_SIZE(nows); i++)
		check(f, &OPTIONS(.k = LINEUP_K_MAX, .now = nows[i]));
}

static void a_time_before_1970_expires_nothing(void **state)
{
	struct fixture *f = fixture(state);

	check(f, &OPTIONS(.k = LINEUP_K_MAX, .now = -1));
	check(f, &OPTIONS(.k = LINEUP_K_MAX, .now = INT64_MIN));
}

static void a_score_equal_to_the_threshold_passes_it(void **state)
{
	struct fixture *f = fixture(state);

	for (uint32_t rank = 0; rank < 30; rank += 7)
		for (int step = -1; step <= 1; step++) {
			float score = f->probes.rankings[0].hits[rank].score;
			float threshold = step ? nextafterf(score, step > 0 ? 2 : -2) : score;

			check(f, &OPTIONS(.k = 40, .flags = LINEUP_SEARCH_THRESHOLD, .threshold = threshold));
		}
}

static void thresholds_at_the_ends_pass_all_or_none(void **state)
{
	static const float thresholds[] = { -INFINITY, -1, -0.0f, 0, 1, 2, INFINITY };
	struct fixture *f = fixture(state);

	for (uint32_t i = 0; i < ARRAY_SIZE(thresholds); i++) {
		check(f, &OPTIONS(.k = 40, .flags = LINEUP_SEARCH_THRESHOLD, .threshold = thresholds[i]));
		check(f, &OPTIONS(.k = ROWS, .per = LINEUP_PER_TEMPLATE, .flags = LINEUP_SEARCH_THRESHOLD,
				  .threshold = thresholds[i]));
	}
}

/* The threshold of one search is not the next one's, nor are its lists or its time. */
static void a_search_leaves_nothing_to_the_next(void **state)
{
	struct fixture *f = fixture(state);

	check(f, &OPTIONS(.k = 3, .flags = LINEUP_SEARCH_THRESHOLD, .threshold = 0.9f));
	check(f, &OPTIONS(.k = ROWS, .per = LINEUP_PER_TEMPLATE));
	check(f, &OPTIONS(.k = 1, .lists = 4, .now = INT64_MAX));
	check(f, &OPTIONS(.k = ROWS, .per = LINEUP_PER_TEMPLATE, .now = 1));
}

/* Last: it changes the gallery. */
static void a_searcher_keeps_its_state_while_the_gallery_moves_on(void **state)
{
	struct fixture *f = fixture(state);
	uint64_t sequence = f->bed->sequence, now;

	bed_delete_template(f->bed, f->bed->oracle.rows[f->probes.rankings[0].hits[0].row].id);
	bed_enrol(f->bed, &f->probe_rows, 0, PROBES, NULL, NULL, NULL);
	bed_compact(f->bed);
	probes_update(&f->probes, f->bed);
	now = f->bed->sequence;
	/* bed_search compares with the state that it believes is there. */
	f->bed->sequence = sequence;
	check(f, &OPTIONS(.k = 10));
	f->bed->sequence = now;
	for (uint32_t i = 0; i < f->count; i++)
		bed_check(f->bed, &f->setups[i], &f->probes, &OPTIONS(.k = 10));
}

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < f->count; i++)
		lineup_searcher_destroy(f->searchers[i]);
	if (f->bed) {
		probes_fini(&f->probes);
		rows_free(&f->probe_rows);
		rows_free(&f->rows);
		bed_close(f->bed);
	}
	free(f);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_finds_its_templates_only),
		cmocka_unit_test(several_lists_find_the_templates_on_any_of_them),
		cmocka_unit_test(a_template_matches_until_the_second_it_expires),
		cmocka_unit_test(a_time_before_1970_expires_nothing),
		cmocka_unit_test(a_score_equal_to_the_threshold_passes_it),
		cmocka_unit_test(thresholds_at_the_ends_pass_all_or_none),
		cmocka_unit_test(a_search_leaves_nothing_to_the_next),
		cmocka_unit_test(a_searcher_keeps_its_state_while_the_gallery_moves_on),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
