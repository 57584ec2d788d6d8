// SPDX-License-Identifier: MIT
// Searches on Vulkan devices are the oracle's bit for bit: every variant, gallery, residency, way of staging, split and overflow.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "growth.h"
#include "kinds.h"
#include "vulkan_bed.h"

enum { PROBES = 6 };

static const char *const stagings[] = { "imported", "driver", "copied" };

/* Whatever makes a small gallery large for a device, by chance; of the context, so for the searchers made next. */
static void random_limits(struct rng *rng, const struct vulkan *vulkan, struct lineup_gpu_test *test)
{
	static const uint32_t caps[] = { 0, 0, 1, 64, 300 }, chunks[] = { 0, 0, 40, 500 };
	static const uint64_t pieces[] = { 0, 0, 1, 64 << 10, 300 << 10 };

	test->cap = caps[rng_below(rng, ARRAY_SIZE(caps))];
	test->chunk_rows = chunks[rng_below(rng, ARRAY_SIZE(chunks))];
	test->piece_bytes = pieces[rng_below(rng, ARRAY_SIZE(pieces))];
	test->staging = vulkan->software && rng_below(rng, 2) ? stagings[rng_below(rng, 3)] : NULL;
}

/* Not asked for is what cannot be had together: all of a gallery in a part's room, one device's memory for several's reads. */
static struct lineup_search_setup random_setup(struct rng *rng, const struct vulkan *vulkan, struct lineup_gpu_test *test)
{
	static const uint32_t threads[] = { 1, 2, 5 }, candidates[] = { 0, 0, 1, 7, 5000 }, share[] = { 0, 0, 0, 1, 3 };
	const char *devices[] = { vulkan->device, vulkan->device, vulkan->device, vulkan->twice, vulkan->thrice };
	static const uint64_t memory[] = { 0, 0, 0, 1, 200 << 10 };
	struct lineup_search_setup setup =
		SETUP(.backend = vulkan->backend[rng_below(rng, vulkan->count)], .threads = threads[rng_below(rng, 3)],
		      .residency = (enum lineup_residency)rng_below(rng, 3), .stream_bytes = rng_below(rng, 4) ? 4 << 20 : 0,
		      .candidates_max = candidates[rng_below(rng, ARRAY_SIZE(candidates))],
		      .probes_max = share[rng_below(rng, ARRAY_SIZE(share))], .k_max = rng_below(rng, 3) ? 128 : LINEUP_K_MAX,
		      .devices = devices[rng_below(rng, ARRAY_SIZE(devices))],
		      .device_memory_max = memory[rng_below(rng, ARRAY_SIZE(memory))]);

	if (setup.device_memory_max && setup.residency == LINEUP_RESIDENT)
		setup.residency = LINEUP_RESIDENCY_AUTO;
	if (test->staging && !strcmp(test->staging, "driver"))
		setup.devices = vulkan->device;
	return setup;
}

/* Searches the gallery's present state with one searcher, twice: the second time, rows may have stayed on the device. */
static void search_now(struct growth *g, const struct vulkan *vulkan)
{
	struct lineup_gpu_test *test = &g->bed->ctx->gpu_test;
	struct lineup_search_setup setup;
	struct lineup_gallery_info info;
	struct lineup_searcher *searcher;

	random_limits(g->rng, vulkan, test);
	setup = random_setup(g->rng, vulkan, test);
	lineup_gallery_info(g->bed->gallery, &info);
	probes_update(&g->probes, g->bed);
	searcher = bed_searcher(g->bed, &setup);
	for (uint32_t round = 0; round < 3; round++) {
		struct lineup_search_options options = growth_options(g->rng, &g->probes, setup.k_max);

		if (info.lists && !rng_below(g->rng, 3))
			options.lists = round ? 1ULL << rng_below(g->rng, 64) : rng_u64(g->rng);
		bed_search(g->bed, searcher, &setup, &g->probes, &options);
	}
	lineup_searcher_destroy(searcher);
}

static void grow_and_search(const struct vulkan *vulkan, const struct kind *kind, uint32_t dim, uint64_t seed)
{
	uint64_t large = test_scaled(400000, 60000) / (dim + 300), total = 49 + large + 30;
	struct rng rng = { seed };
	char story[96];
	struct growth g = { .rng = &rng };

	g.bed = bed_open(dim, rng_below(&rng, 3) ? LINEUP_STORE_FLOAT32 : LINEUP_STORE_FLOAT16);
	snprintf(story, sizeof(story), "%s, %s", kind->name, g.bed->oracle.store == LINEUP_STORE_FLOAT16 ? "float16" : "float32");
	g.bed->story = story;
	/* Small segments: their number is what matters, not their size. */
	g.bed->ctx->record_bytes_max = 256 << 10;
	g.bed->ctx->journal_seal_bytes = 512 << 10;
	g.subjects = rng_below(&rng, 3) ? (uint32_t)total / 8 : 0;
	g.rows = rows_alloc(total, dim, kind->dtype);
	g.probe_rows = rows_alloc(PROBES, dim, kind->dtype);
	kind_fill(kind, &rng, &g.rows, &g.probe_rows);
	probes_init(&g.probes, g.bed, &g.probe_rows);
	if (!rng_below(&rng, 8)) /* of nothing */
		search_now(&g, vulkan);
	growth_add(&g, rng_below(&rng, 2) ? 48 : 49);
	if (!rng_below(&rng, 8))
		search_now(&g, vulkan);
	growth_add(&g, large);
	growth_thin(&g);
	growth_add(&g, 30);
	growth_thin(&g);
	search_now(&g, vulkan);
	if (rng_below(&rng, 2)) {
		bed_compact(g.bed);
		search_now(&g, vulkan);
	}
	probes_fini(&g.probes);
	rows_free(&g.probe_rows);
	rows_free(&g.rows);
	bed_close(g.bed);
}

static void all_kinds(uint32_t dim)
{
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() + dim };

	vulkan_watchdog(600);
	for (uint32_t i = 0; i < kinds_count; i++)
		grow_and_search(vulkan, &kinds[i], dim, rng_u64(&rng));
	vulkan_watchdog(0);
}

static void dim_1_is_exact(void **state)
{
	(void)state;
	all_kinds(1);
}

static void dim_3_is_exact(void **state)
{
	(void)state;
	all_kinds(3);
}

static void dim_64_is_exact(void **state)
{
	(void)state;
	all_kinds(64);
}

static void dim_200_is_exact(void **state)
{
	(void)state;
	all_kinds(200);
}

static void dim_513_is_exact(void **state)
{
	(void)state;
	all_kinds(513);
}

static void dim_4096_is_exact(void **state)
{
	const struct vulkan *vulkan = vulkan_here();

	(void)state;
	vulkan_watchdog(600);
	grow_and_search(vulkan, &kinds[1], 4096, test_seed());
	grow_and_search(vulkan, &kinds[0], 4095, test_seed());
	vulkan_watchdog(0);
}

/* Not a random choice: every variant, residency and staging, and each CPU backend, over the same gallery. */
static void every_combination_gives_the_same_bits(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct backends cpu;
	struct growth g;

	(void)state;
	growth_begin(&g, &rng, &kinds[1], 256, 4000, 19);
	vulkan_watchdog(600);
	backends_here(&cpu);
	for (uint32_t i = 0; i < cpu.count; i++)
		bed_check(g.bed, &SETUP(.backend = cpu.name[i]), &g.probes, &OPTIONS(.k = 10));
	for (uint32_t i = 0; i < vulkan->count * 3 * 3; i++) {
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[i % vulkan->count], .devices = vulkan->device,
							 .residency = (enum lineup_residency)(i / vulkan->count % 3));
		struct lineup_searcher *searcher;

		g.bed->ctx->gpu_test.staging = vulkan->software ? stagings[i / vulkan->count / 3] : NULL;
		searcher = bed_searcher(g.bed, &setup);
		for (uint32_t round = 0; round < 3; round++) {
			bed_search(g.bed, searcher, &setup, &g.probes,
				   &OPTIONS(.k = 10, .per = (enum lineup_search_per)(round % 2)));
			if (vulkan->software && g.bed->facts.bytes_uploaded)
				assert_string_equal(g.bed->facts.staging, stagings[i / vulkan->count / 3]);
		}
		lineup_searcher_destroy(searcher);
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

static void the_best_variant_is_one_that_can_be_named(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct lineup_search_setup setup = SETUP(.backend = "vulkan", .devices = vulkan->device);
	struct rng rng = { test_seed() };
	bool named = false;
	struct growth g;

	(void)state;
	growth_begin(&g, &rng, &kinds[0], 70, 700, 3);
	vulkan_watchdog(120);
	bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = 10));
	for (uint32_t i = 0; i < vulkan->count; i++)
		named |= !strcmp(g.bed->facts.backend, vulkan->backend[i]);
	assert_true(named);
	assert_string_not_equal(g.bed->facts.backend, "vulkan-emulated");
	assert_int_equal(g.bed->facts.devices, 1);
	vulkan_watchdog(0);
	growth_end(&g);
}

static void any_number_of_probes_is_exact(void **state)
{
	static const uint32_t counts[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 80 };
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	growth_begin(&g, &rng, &kinds[1], 100, 1000, 80);
	vulkan_watchdog(600);
	for (uint32_t v = 0; v < vulkan->count; v++) {
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[v], .devices = vulkan->device);
		struct lineup_searcher *searcher = bed_searcher(g.bed, &setup);

		for (uint32_t i = 0; i < ARRAY_SIZE(counts); i++) {
			struct probes few = g.probes;

			few.matrix.rows = counts[i];
			bed_search(g.bed, searcher, &setup, &few, &OPTIONS(.k = 5));
		}
		lineup_searcher_destroy(searcher);
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

static void large_k_is_exact(void **state)
{
	static const uint32_t ks[] = { 128, 129, 1000, 2048, LINEUP_K_MAX };
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	growth_begin(&g, &rng, &kinds[0], 64, 6000, 2);
	vulkan_watchdog(600);
	for (uint32_t i = 0; i < ARRAY_SIZE(ks) * vulkan->count; i++) {
		uint32_t k = ks[i / vulkan->count];
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[i % vulkan->count], .devices = vulkan->device,
							 .k_max = i % 2 ? k : LINEUP_K_MAX);

		bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = k, .per = LINEUP_PER_TEMPLATE));
		if (k <= 1000)
			bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = k, .per = LINEUP_PER_SUBJECT));
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dim_1_is_exact),
		cmocka_unit_test(dim_3_is_exact),
		cmocka_unit_test(dim_64_is_exact),
		cmocka_unit_test(dim_200_is_exact),
		cmocka_unit_test(dim_513_is_exact),
		cmocka_unit_test(dim_4096_is_exact),
		cmocka_unit_test(every_combination_gives_the_same_bits),
		cmocka_unit_test(the_best_variant_is_one_that_can_be_named),
		cmocka_unit_test(any_number_of_probes_is_exact),
		cmocka_unit_test(large_k_is_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
