// SPDX-License-Identifier: MIT
// Search results are the oracle's bit for bit: for every kind of gallery, dimension, size, backend, thread count and residency.
#include <stdio.h>
#include <stdlib.h>

#include "growth.h"
#include "kinds.h"

enum { PROBES = 6 };

static struct backends backends;

static struct lineup_search_setup random_setup(struct rng *rng)
{
	static const uint32_t threads[] = { 1, 2, 5 }, candidates[] = { 0, 0, 1, 2, 7, 64, 5000 }, share[] = { 0, 0, 1, 3, 8 };

	return SETUP(.backend = backends.name[rng_below(rng, backends.count)], .threads = threads[rng_below(rng, 3)],
		     .residency = (enum lineup_residency)rng_below(rng, 3), .stream_bytes = rng_below(rng, 4) ? 4 << 20 : 0,
		     .candidates_max = candidates[rng_below(rng, ARRAY_SIZE(candidates))],
		     .probes_max = share[rng_below(rng, ARRAY_SIZE(share))], .k_max = rng_below(rng, 3) ? 128 : LINEUP_K_MAX);
}

/* Searches the gallery's present state in @variants random ways. */
static void search_variants(struct growth *g, uint32_t variants)
{
	struct lineup_gallery_info info;

	lineup_gallery_info(g->bed->gallery, &info);
	probes_update(&g->probes, g->bed);
	for (uint32_t v = 0; v < variants; v++) {
		struct lineup_search_setup setup = random_setup(g->rng);
		struct lineup_searcher *searcher = bed_searcher(g->bed, &setup);

		for (uint32_t round = 0; round < 2; round++) {
			struct lineup_search_options options = growth_options(g->rng, &g->probes, setup.k_max);

			if (info.lists && !rng_below(g->rng, 3)) /* fewer and fewer lists: from all templates to hardly any */
				options.lists = round ? 1ULL << rng_below(g->rng, 64) : rng_u64(g->rng);
			bed_search(g->bed, searcher, &setup, &g->probes, &options);
			if (v == 0)
				bed_doubt(g->bed, &g->probes, round % PROBES, &options);
		}
		lineup_searcher_destroy(searcher);
	}
}

static void grow_and_search(const struct kind *kind, uint32_t dim, uint64_t seed)
{
	static const uint32_t pieces[] = { 1, 46, 1, 1 }; /* to 1, 47, 48 and 49 rows */
	uint64_t large = test_scaled(2400000, 200000) / (dim + 300), total = 49 + large + large / 4 + 30;
	struct rng rng = { seed };
	char story[96];
	struct growth g = { .rng = &rng };

	g.bed = bed_open(dim, rng_below(&rng, 3) ? LINEUP_STORE_FLOAT32 : LINEUP_STORE_FLOAT16);
	snprintf(story, sizeof(story), "%s, %s", kind->name, g.bed->oracle.store == LINEUP_STORE_FLOAT16 ? "float16" : "float32");
	g.bed->story = story;
	/* Small segments: their number is what matters, not their size. */
	g.bed->ctx->record_bytes_max = 256 << 10;
	g.bed->ctx->journal_seal_bytes = 1 << 20;
	g.subjects = rng_below(&rng, 3) ? (uint32_t)total / 8 : 0;
	g.rows = rows_alloc(total, dim, kind->dtype);
	g.probe_rows = rows_alloc(PROBES, dim, kind->dtype);
	kind_fill(kind, &rng, &g.rows, &g.probe_rows);
	probes_init(&g.probes, g.bed, &g.probe_rows);
	search_variants(&g, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		growth_add(&g, pieces[i]);
		search_variants(&g, 1);
	}
	growth_add(&g, large);
	search_variants(&g, 2);
	growth_thin(&g);
	growth_add(&g, large / 4);
	growth_add(&g, 30);
	growth_thin(&g);
	search_variants(&g, 4);
	if (rng_below(&rng, 2)) {
		bed_compact(g.bed);
		search_variants(&g, 2);
	}
	probes_fini(&g.probes);
	rows_free(&g.probe_rows);
	rows_free(&g.rows);
	bed_close(g.bed);
}

static void all_kinds(uint32_t dim)
{
	struct rng rng = { test_seed() + dim };

	for (uint32_t i = 0; i < kinds_count; i++)
		grow_and_search(&kinds[i], dim, rng_u64(&rng));
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

static void dim_128_is_exact(void **state)
{
	(void)state;
	all_kinds(128);
}

static void dim_200_is_exact(void **state)
{
	(void)state;
	all_kinds(200);
}

static void dim_512_is_exact(void **state)
{
	(void)state;
	all_kinds(512);
}

static void dim_1000_is_exact(void **state)
{
	(void)state;
	all_kinds(1000);
}

static void dim_4096_is_exact(void **state)
{
	(void)state;
	all_kinds(4096);
}

/* Not a random choice: every backend, thread count and residency over one gallery of several segments, blocks and journal rows. */
static void every_combination_gives_the_same_bits(void **state)
{
	static const uint32_t threads[] = { 1, 2, 5 }, ring[] = { 4 << 20, 64 << 20 }, candidates[] = { 0, 1, 33 };
	struct rng rng = { test_seed() };
	struct growth g = { .rng = &rng, .bed = bed_open(256, LINEUP_STORE_FLOAT32), .subjects = 500 };

	(void)state;
	g.bed->story = "every combination";
	g.bed->ctx->record_bytes_max = 2 << 20;
	g.rows = rows_alloc(9000, 256, LINEUP_FLOAT32);
	g.probe_rows = rows_alloc(19, 256, LINEUP_FLOAT32);
	kind_fill(&kinds[1], &rng, &g.rows, &g.probe_rows);
	growth_add(&g, 8000);
	growth_add(&g, 900);
	growth_add(&g, 100);
	growth_thin(&g);
	probes_init(&g.probes, g.bed, &g.probe_rows);
	for (uint32_t i = 0; i < backends.count * 3 * 3 * 2 * 3; i++) {
		uint32_t at = i / backends.count;
		struct lineup_search_setup setup = SETUP(.backend = backends.name[i % backends.count], .threads = threads[at % 3],
							 .residency = (enum lineup_residency)(at / 3 % 3),
							 .stream_bytes = ring[at / 9 % 2], .candidates_max = candidates[at / 18]);
		struct lineup_search_options options = OPTIONS(.k = 10, .per = (enum lineup_search_per)(i % 2));

		if (test_scale() < 1 && rng_unit(&rng) > test_scale())
			continue;
		bed_check(g.bed, &setup, &g.probes, &options);
	}
	probes_fini(&g.probes);
	rows_free(&g.probe_rows);
	rows_free(&g.rows);
	bed_close(g.bed);
}

static int find_backends(void **state)
{
	(void)state;
	backends_here(&backends);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dim_1_is_exact),
		cmocka_unit_test(dim_3_is_exact),
		cmocka_unit_test(dim_64_is_exact),
		cmocka_unit_test(dim_128_is_exact),
		cmocka_unit_test(dim_200_is_exact),
		cmocka_unit_test(dim_512_is_exact),
		cmocka_unit_test(dim_1000_is_exact),
		cmocka_unit_test(dim_4096_is_exact),
		cmocka_unit_test(every_combination_gives_the_same_bits),
	};

	return cmocka_run_group_tests(tests, find_backends, NULL);
}
