// SPDX-License-Identifier: MIT
// Galleries that do not fit: lists that overflow, pieces, several devices, little device memory; and what the facts say of it.
#include <stdlib.h>
#include <string.h>

#include "growth.h"
#include "vulkan_bed.h"

/* Ascending rows, of which each beats all before it: any chunk survives whole. */
enum { ASCENDING = 4, RANDOM = 0, EQUAL = 3 };

static const struct kind *kind_at(uint32_t index, const char *name)
{
	assert_string_equal(kinds[index].name, name);
	return &kinds[index];
}

static void lists_that_overflow_lose_nothing(void **state)
{
	static const uint32_t caps[] = { 1, 20, 100, 1000 };
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	vulkan_watchdog(600);
	growth_begin(&g, &rng, kind_at(ASCENDING, "ascending"), 64, 4000, 9);
	for (uint32_t i = 0; i < ARRAY_SIZE(caps) * vulkan->count; i++) {
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[i % vulkan->count], .devices = vulkan->device);

		g.bed->ctx->gpu_test.cap = caps[i / vulkan->count];
		bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = 10, .per = LINEUP_PER_TEMPLATE));
		if (caps[i / vulkan->count] <= 100)
			assert_true(g.bed->facts.overflows > 0);
		bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = 10, .per = LINEUP_PER_SUBJECT));
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

/* With fewer subjects than are asked for there is never a threshold: all rows survive, whatever they score. */
static void fewer_subjects_than_k_lose_nothing(void **state)
{
	static const uint32_t caps[] = { 0, 1, 64 };
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct growth g = { .rng = &rng, .bed = bed_open(48, LINEUP_STORE_FLOAT32), .subjects = 3 };

	(void)state;
	vulkan_watchdog(600);
	g.bed->story = "few subjects";
	g.rows = rows_random(&rng, 30000, 48);
	g.probe_rows = rows_random(&rng, 3, 48);
	growth_add(&g, 29900);
	growth_add(&g, 100);
	probes_init(&g.probes, g.bed, &g.probe_rows);
	for (uint32_t i = 0; i < ARRAY_SIZE(caps) * vulkan->count; i++) {
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[i % vulkan->count], .devices = vulkan->device);

		g.bed->ctx->gpu_test.cap = caps[i / vulkan->count];
		bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = 4, .per = LINEUP_PER_SUBJECT));
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

/* Every row has the score of many others: thresholds are reached, never passed. */
static void equal_rows_lose_nothing(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	vulkan_watchdog(600);
	growth_begin(&g, &rng, kind_at(EQUAL, "equal"), 33, 12000, 4);
	for (uint32_t i = 0; i < 2 * vulkan->count; i++) {
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[i / 2], .devices = vulkan->device);

		g.bed->ctx->gpu_test.cap = i % 2 ? 64 : 0;
		bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = 100, .per = LINEUP_PER_TEMPLATE));
		bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = 100, .per = LINEUP_PER_SUBJECT));
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

static void pieces_and_chunks_of_any_size_give_the_same_bits(void **state)
{
	static const uint64_t pieces[] = { 1, 20000, 100000, 0 };
	static const uint32_t chunks[] = { 7, 48, 1000, 0 };
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	vulkan_watchdog(600);
	growth_begin(&g, &rng, kind_at(RANDOM, "random"), 130, 3000, 3);
	for (uint32_t i = 0; i < ARRAY_SIZE(pieces) * ARRAY_SIZE(chunks); i++) {
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[i % vulkan->count], .devices = vulkan->device);
		struct lineup_searcher *searcher;

		setup.residency = (enum lineup_residency)(i % 3);
		g.bed->ctx->gpu_test.piece_bytes = pieces[i % 4];
		g.bed->ctx->gpu_test.chunk_rows = chunks[i / 4];
		searcher = bed_searcher(g.bed, &setup);
		for (uint32_t round = 0; round < 2; round++)
			bed_search(g.bed, searcher, &setup, &g.probes, &OPTIONS(.k = 20));
		lineup_searcher_destroy(searcher);
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

static void devices_share_a_gallery(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	const char *devices[] = { vulkan->device, vulkan->twice, vulkan->thrice };
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	vulkan_watchdog(600);
	growth_begin(&g, &rng, kind_at(RANDOM, "random"), 100, 4000, 10);
	g.bed->ctx->gpu_test.piece_bytes = 50000;
	for (uint32_t i = 0; i < 9; i++) {
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[i % vulkan->count], .devices = devices[i % 3],
							 .residency = (enum lineup_residency)(i / 3));
		struct lineup_searcher *searcher = bed_searcher(g.bed, &setup);

		for (uint32_t round = 0; round < 2; round++) {
			bed_search(g.bed, searcher, &setup, &g.probes, &OPTIONS(.k = 10));
			assert_int_equal(g.bed->facts.devices, 1 + i % 3);
		}
		lineup_searcher_destroy(searcher);
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

/* ---- residency ---- */

static uint64_t rows_on_disk(const struct growth *g)
{
	struct lineup_gallery_info info;

	lineup_gallery_info(g->bed->gallery, &info);
	return info.templates + info.templates_deleted - info.journal_templates;
}

/* Two searches with one searcher; what the second one says. */
static struct lineup_search_facts search_twice(struct growth *g, const struct lineup_search_setup *setup)
{
	struct lineup_searcher *searcher = bed_searcher(g->bed, setup);
	struct lineup_search_facts facts;

	bed_search(g->bed, searcher, setup, &g->probes, &OPTIONS(.k = 10));
	if (setup->residency != LINEUP_RESIDENT)
		assert_true(g->bed->facts.bytes_read > 0);
	bed_search(g->bed, searcher, setup, &g->probes, &OPTIONS(.k = 10));
	facts = g->bed->facts;
	lineup_searcher_destroy(searcher);
	return facts;
}

static void a_gallery_that_fits_is_read_once(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct lineup_search_facts facts;
	struct growth g;

	(void)state;
	vulkan_watchdog(120);
	growth_begin(&g, &rng, kind_at(RANDOM, "random"), 128, 4000, 3);
	facts = search_twice(&g, &SETUP(.backend = "vulkan", .devices = vulkan->device));
	assert_true(facts.bytes_read == 0);
	assert_true(facts.rows_on_device >= rows_on_disk(&g));
	assert_true(facts.bytes_on_device >= facts.rows_on_device * 128);
	facts = search_twice(&g, &SETUP(.backend = "vulkan", .devices = vulkan->device, .residency = LINEUP_RESIDENT));
	assert_true(facts.bytes_read == 0);
	assert_true(facts.rows_on_device >= rows_on_disk(&g));
	vulkan_watchdog(0);
	growth_end(&g);
}

static void a_gallery_that_is_streamed_leaves_nothing_on_the_device(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct lineup_search_facts facts;
	struct growth g;

	(void)state;
	vulkan_watchdog(120);
	growth_begin(&g, &rng, kind_at(RANDOM, "random"), 128, 4000, 3);
	facts = search_twice(&g, &SETUP(.backend = "vulkan", .devices = vulkan->device, .residency = LINEUP_STREAMED));
	assert_true(facts.bytes_read > 0);
	assert_true(facts.rows_on_device == 0 && facts.bytes_on_device == 0);
	assert_true(facts.bytes_uploaded >= facts.rows * 128);
	vulkan_watchdog(0);
	growth_end(&g);
}

static void of_a_gallery_larger_than_device_memory_a_part_is_read_again(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	const char *devices[] = { vulkan->device, vulkan->twice };
	struct rng rng = { test_seed() };
	struct lineup_search_facts streamed, part;
	struct growth g;

	(void)state;
	vulkan_watchdog(300);
	growth_begin(&g, &rng, kind_at(RANDOM, "random"), 128, 8000, 3);
	g.bed->ctx->gpu_test.piece_bytes = 100000;
	streamed = search_twice(&g, &SETUP(.backend = "vulkan", .devices = vulkan->device, .residency = LINEUP_STREAMED));
	for (uint32_t i = 0; i < 2 * vulkan->count; i++) {
		uint64_t room = (1 + i % 2) * (uint64_t)350000;

		part = search_twice(
			&g, &SETUP(.backend = vulkan->backend[i / 2], .devices = devices[i % 2], .device_memory_max = 350000));
		assert_true(part.rows_on_device > 0 && part.rows_on_device < part.rows);
		assert_true(part.bytes_on_device > 0 && part.bytes_on_device <= room);
		assert_true(part.bytes_read > 0 && part.bytes_read < streamed.bytes_read);
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

/* ---- facts ---- */

static void equal_searches_do_equal_work(void **state)
{
	static const uint32_t threads[] = { 1, 2, 5, 2 };
	const struct vulkan *vulkan = vulkan_here();
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	vulkan_watchdog(600);
	growth_begin(&g, &rng, kind_at(ASCENDING, "ascending"), 64, 4000, 12);
	g.bed->ctx->gpu_test.cap = 64;
	g.bed->ctx->gpu_test.piece_bytes = 90000;
	for (uint32_t v = 0; v < 3 * vulkan->count; v++) {
		struct lineup_search_facts first = { 0 };

		for (uint32_t i = 0; i < ARRAY_SIZE(threads); i++) {
			struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[v / 3], .threads = threads[i],
								 .devices = vulkan->device,
								 .residency = (enum lineup_residency)(v % 3));

			bed_check(g.bed, &setup, &g.probes, &OPTIONS(.k = 10));
			if (!i)
				first = g.bed->facts;
			assert_true(first.rows_reranked == g.bed->facts.rows_reranked);
			assert_int_equal(first.overflows, g.bed->facts.overflows);
			assert_true(first.bytes_uploaded == g.bed->facts.bytes_uploaded);
		}
		assert_true(first.overflows > 0);
	}
	vulkan_watchdog(0);
	growth_end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_that_overflow_lose_nothing),
		cmocka_unit_test(fewer_subjects_than_k_lose_nothing),
		cmocka_unit_test(equal_rows_lose_nothing),
		cmocka_unit_test(pieces_and_chunks_of_any_size_give_the_same_bits),
		cmocka_unit_test(devices_share_a_gallery),
		cmocka_unit_test(a_gallery_that_fits_is_read_once),
		cmocka_unit_test(a_gallery_that_is_streamed_leaves_nothing_on_the_device),
		cmocka_unit_test(of_a_gallery_larger_than_device_memory_a_part_is_read_again),
		cmocka_unit_test(equal_searches_do_equal_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
