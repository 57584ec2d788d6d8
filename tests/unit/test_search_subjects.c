// SPDX-License-Identifier: MIT
// Many templates of a subject, ties, and how many candidates there are.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search_bed.h"

enum { DIM = 32 };

static struct backends backends;

/* Row r at the angle that gives about @score with the probe of only ones; the rest of its direction is random. */
static void fill_score(struct rng *rng, struct lineup_matrix *rows, uint64_t row, double score)
{
	float *v = rows_at(rows, row);
	double noise[DIM], mean = 0, size = 0;

	for (uint32_t i = 0; i < DIM; i++)
		mean += noise[i] = rng_normal(rng);
	for (uint32_t i = 0; i < DIM; i++) {
		noise[i] -= mean / DIM;
		size += noise[i] * noise[i];
	}
	for (uint32_t i = 0; i < DIM; i++)
		v[i] = (float)(score / sqrt(DIM) + sqrt(1 - score * score) * noise[i] / sqrt(size));
}

static void fill_ones(struct lineup_matrix *probe)
{
	for (uint32_t i = 0; i < DIM; i++)
		rows_at(probe, 0)[i] = 1;
}

/* All backends, threads, tiny and large candidate buffers, both ways of counting. */
static void check_all(struct bed *bed, const struct lineup_matrix *probe, uint32_t k)
{
	static const uint32_t candidates[] = { 1, 3, 100, 0 };
	struct probes probes;

	probes_init(&probes, bed, probe);
	for (uint32_t i = 0; i < backends.count * ARRAY_SIZE(candidates) * 2; i++) {
		struct lineup_search_setup setup = SETUP(.backend = backends.name[i % backends.count], .stream_bytes = 4 << 20,
							 .threads = 1 + i % 2 * 2, .k_max = k,
							 .candidates_max = candidates[i / 2 % 4]);
		struct lineup_search_options options = OPTIONS(.k = k, .per = LINEUP_PER_SUBJECT);

		bed_check(bed, &setup, &probes, &options);
		options.per = LINEUP_PER_TEMPLATE;
		bed_check(bed, &setup, &probes, &options);
	}
	probes_fini(&probes);
}

/* @order: 0 random, 1 ascending scores, -1 descending. The first of 4000 templates' subject beats everybody 3000 times. */
static void crowd(int order)
{
	struct rng rng = { test_seed() };
	struct bed *bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	struct lineup_matrix rows = rows_alloc(4000, DIM, LINEUP_FLOAT32), probe = rows_alloc(1, DIM, LINEUP_FLOAT32);
	char text[4000][12];
	const char *names[4000];

	fill_ones(&probe);
	for (uint32_t i = 0; i < 4000; i++) {
		double place = order ? (order > 0 ? i : 3999 - i) / 4000.0 : rng_unit(&rng);
		bool crowded = order ? place >= 0.25 : i % 4;

		fill_score(&rng, &rows, i, crowded ? 0.6 + 0.3 * place : 0.2 + 0.3 * place);
		snprintf(text[i], sizeof(text[i]), crowded ? "crowd" : "s%u", i % 97);
		names[i] = text[i];
	}
	bed->story = "crowd";
	bed_enrol(bed, &rows, 0, 2500, names, NULL, NULL);
	bed_enrol(bed, &rows, 2500, 1500, names + 2500, NULL, NULL);
	check_all(bed, &probe, 10);
	check_all(bed, &probe, 1);
	bed_delete_subject(bed, "crowd");
	check_all(bed, &probe, 10);
	rows_free(&probe);
	rows_free(&rows);
	bed_close(bed);
}

static void thousands_of_templates_of_one_subject_are_one_candidate(void **state)
{
	(void)state;
	crowd(0);
}

static void a_crowd_that_ascends_leaves_room_for_the_others(void **state)
{
	(void)state;
	crowd(1);
}

static void a_crowd_that_descends_leaves_room_for_the_others(void **state)
{
	(void)state;
	crowd(-1);
}

/* Enrols @count times the same vector, for subjects "a0", "a1" ... of @share templates each. */
static void enrol_equal(struct bed *bed, uint32_t count, uint32_t share)
{
	struct lineup_matrix rows = rows_alloc(count, DIM, LINEUP_FLOAT32);
	char (*text)[12] = calloc(count, sizeof(*text));
	const char **names = calloc(count, sizeof(*names));

	assert_true(text && names);
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < DIM; j++)
			rows_at(&rows, i)[j] = j % 3 ? 1 : -2;
		snprintf(text[i], sizeof(text[i]), "a%u", i / share);
		names[i] = text[i];
	}
	bed_enrol(bed, &rows, 0, count, names, NULL, NULL);
	free(names);
	free(text);
	rows_free(&rows);
}

static void ties_go_to_the_lower_id(void **state)
{
	struct bed *bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	struct lineup_search_options options = OPTIONS(.k = 5, .per = LINEUP_PER_TEMPLATE);
	struct lineup_search_setup setup = SETUP(.threads = 5, .candidates_max = 1);
	struct lineup_matrix probe = rows_alloc(1, DIM, LINEUP_FLOAT32);
	struct lineup_candidate candidates[5];
	struct lineup_searcher *searcher;
	uint32_t count;

	(void)state;
	bed->story = "ties";
	fill_ones(&probe);
	enrol_equal(bed, 700, 7);
	check_all(bed, &probe, 10);
	searcher = bed_searcher(bed, &setup);
	assert_int_equal(lineup_search(searcher, &probe, &options, candidates, &count, NULL), 0);
	assert_int_equal(count, 5);
	for (uint32_t i = 0; i < 5; i++)
		assert_true(candidates[i].template_id == bed->oracle.rows[i].id);
	lineup_searcher_destroy(searcher);
	bed_delete_template(bed, bed->oracle.rows[0].id);
	bed_delete_template(bed, bed->oracle.rows[7].id);
	bed_delete_subject(bed, "a3");
	check_all(bed, &probe, 10);
	rows_free(&probe);
	bed_close(bed);
}

static void k_past_the_end_gives_all_there_is(void **state)
{
	struct bed *bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	struct lineup_matrix probe = rows_alloc(1, DIM, LINEUP_FLOAT32);

	(void)state;
	bed->story = "k > N";
	fill_ones(&probe);
	check_all(bed, &probe, LINEUP_K_MAX);
	enrol_equal(bed, 1, 1);
	check_all(bed, &probe, LINEUP_K_MAX);
	enrol_equal(bed, 99, 3);
	check_all(bed, &probe, LINEUP_K_MAX);
	check_all(bed, &probe, 100);
	check_all(bed, &probe, 33);
	rows_free(&probe);
	bed_close(bed);
}

static void k_at_its_limit_is_exact(void **state)
{
	struct rng rng = { test_seed() };
	struct bed *bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	struct lineup_matrix rows = rows_random(&rng, 6000, DIM), probe = rows_random(&rng, 1, DIM);

	(void)state;
	bed->story = "k = LINEUP_K_MAX";
	bed_enrol(bed, &rows, 0, 6000, NULL, NULL, NULL);
	check_all(bed, &probe, LINEUP_K_MAX);
	rows_free(&probe);
	rows_free(&rows);
	bed_close(bed);
}

/* The best template of each subject is deleted in turn: the next one stands for it, or another subject comes up. */
static void a_deleted_best_template_gives_way_to_the_next(void **state)
{
	struct rng rng = { test_seed() };
	struct bed *bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	struct lineup_matrix rows = rows_alloc(60, DIM, LINEUP_FLOAT32), probe = rows_alloc(1, DIM, LINEUP_FLOAT32);
	struct lineup_search_options options = OPTIONS(.k = 1);
	char text[60][12];
	const char *names[60];

	(void)state;
	bed->story = "deleted best";
	fill_ones(&probe);
	for (uint32_t i = 0; i < 60; i++) {
		fill_score(&rng, &rows, i, 0.9 - 0.01 * i);
		snprintf(text[i], sizeof(text[i]), "s%u", i % 20);
		names[i] = text[i];
	}
	bed_enrol(bed, &rows, 0, 60, names, NULL, NULL);
	for (uint32_t i = 0; i < 50; i++) {
		struct probes probes;

		probes_init(&probes, bed, &probe);
		bed_delete_template(bed, probes.rankings[0].hits[i].row + bed->oracle.rows[0].id);
		bed_check(bed, &SETUP(.threads = 1), &probes, &options);
		options.k = 1 + i % 25;
		probes_fini(&probes);
		if (i == 25)
			bed_compact(bed);
	}
	rows_free(&probe);
	rows_free(&rows);
	bed_close(bed);
}

static void a_subject_enrolled_again_after_its_deletion_is_found_again(void **state)
{
	struct bed *bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	struct lineup_matrix probe = rows_alloc(1, DIM, LINEUP_FLOAT32);

	(void)state;
	bed->story = "enrolled again";
	fill_ones(&probe);
	for (uint32_t round = 0; round < 4; round++) {
		enrol_equal(bed, 12, 3);
		check_all(bed, &probe, 10);
		bed_delete_subject(bed, "a1");
		check_all(bed, &probe, 10);
		if (round == 1)
			bed_compact(bed);
		if (round == 2)
			bed_reopen(bed);
		check_all(bed, &probe, 10);
	}
	rows_free(&probe);
	bed_close(bed);
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
		cmocka_unit_test(thousands_of_templates_of_one_subject_are_one_candidate),
		cmocka_unit_test(a_crowd_that_ascends_leaves_room_for_the_others),
		cmocka_unit_test(a_crowd_that_descends_leaves_room_for_the_others),
		cmocka_unit_test(ties_go_to_the_lower_id),
		cmocka_unit_test(k_past_the_end_gives_all_there_is),
		cmocka_unit_test(k_at_its_limit_is_exact),
		cmocka_unit_test(a_deleted_best_template_gives_way_to_the_next),
		cmocka_unit_test(a_subject_enrolled_again_after_its_deletion_is_found_again),
	};

	return cmocka_run_group_tests(tests, find_backends, NULL);
}
