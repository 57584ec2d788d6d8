// SPDX-License-Identifier: MIT
// The benchmark's gate: its true answers are the oracle's, it lets them pass, and nothing that is wrong on one side only.
#include <string.h>

#include "../../userspace/cli/bench_data.c"
#include "../../userspace/cli/bench_gate.c"

#include "search_bed.h"

enum { DIM = 67, ROWS = 1500, PROBES = 12, K = 5, BATCH = 7 };

struct scene {
	struct bed *bed;
	struct bench_sample sample;
};

/* Random rows, of which each third is a second template of the subject before, close to its first; some deleted, some in the journal. */
static int set_up(void **state)
{
	static struct scene scene;
	struct rng rng = { test_seed() };
	struct lineup_matrix rows = rows_random(&rng, ROWS, DIM);
	static char text[ROWS][16];
	static const char *names[ROWS];

	for (uint32_t r = 0; r < ROWS; r++) {
		snprintf(text[r], sizeof(text[r]), "p%u", r - (r % 3 == 2));
		names[r] = text[r];
		for (uint32_t i = 0; r % 3 == 2 && i < DIM; i++)
			rows_at(&rows, r)[i] = rows_at(&rows, r - 1)[i] + 0.1f * rows_at(&rows, r)[i];
	}
	scene.bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	bed_enrol(scene.bed, &rows, 0, ROWS - 10, names, NULL, NULL);
	bed_delete_subject(scene.bed, "p30");
	bed_compact(scene.bed);
	bed_enrol(scene.bed, &rows, ROWS - 10, 10, names + ROWS - 10, NULL, NULL);
	bed_delete_subject(scene.bed, "p60");
	assert_int_equal(bench_sample_init(&scene.sample, scene.bed->gallery, PROBES, K, 1, 2, NULL, NULL), 0);
	rows_free(&rows);
	*state = &scene;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	bench_sample_fini(&scene->sample);
	bed_close(scene->bed);
	return 0;
}

static void true_answers_are_the_oracles(void **state)
{
	struct scene *scene = *state;
	struct bench_sample *s = &scene->sample;
	struct lineup_matrix matrix = { .data = s->probes, .rows = PROBES, .dim = DIM, .dtype = LINEUP_FLOAT32 };
	struct lineup_candidate want[K];
	struct probes probes;

	probes_init(&probes, scene->bed, &matrix);
	for (uint32_t i = 0; i < 2 * PROBES; i++) {
		struct lineup_search_options options = OPTIONS(.k = K, .per = (enum lineup_search_per)(i % 2), .now = 1000);
		uint32_t p = i / 2;
		uint32_t count = oracle_pick(&scene->bed->oracle, &probes.rankings[p], scene->bed->sequence, &options, want);
		char why[256] = "";

		if (candidates_differ(want, count, s->truth[options.per] + (size_t)p * K, s->counts[options.per][p], why, sizeof(why)))
			fail_msg("probe %u: %s", p, why);
	}
	probes_fini(&probes);
}

static void the_first_and_the_last_template_are_among_those_planted(void **state)
{
	const struct bench_sample *s = &((struct scene *)*state)->sample;

	assert_int_equal(plant_row(s, 0), 0);
	assert_int_equal(plant_row(s, PROBES - 1), s->rows - 1);
	assert_true(bench_sample_sound(s));
}

/* ---- matchers that know the truth, and what they make of it ---- */

struct liar {
	const struct bench_sample *sample;
	void (*lie)(enum bench_kind kind, enum lineup_search_per per, struct lineup_candidate *candidates, uint32_t *count);
	int err;
};

static int liar_search(void *arg, const float *probes, uint32_t count, uint32_t k, enum lineup_search_per per,
		       struct lineup_candidate *candidates, uint32_t *counts)
{
	const struct liar *liar = arg;
	const struct bench_sample *s = liar->sample;

	assert_int_equal(k, s->k);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t p = 0;

		while (memcmp(s->probes + (size_t)p * s->dim, probes + (size_t)i * s->dim, s->dim * sizeof(*probes)) != 0)
			assert_true(++p < s->count);
		counts[i] = s->counts[per][p];
		memcpy(candidates + (size_t)i * k, s->truth[per] + (size_t)p * k, k * sizeof(*candidates));
		if (liar->lie)
			liar->lie(s->kinds[p], per, candidates + (size_t)i * k, &counts[i]);
	}
	return liar->err;
}

static struct bench_verdict judged(void **state, struct liar liar, uint32_t batch)
{
	struct scene *scene = *state;
	struct bench_matcher matcher = { "liar", liar_search, &liar };
	struct bench_verdict verdict;

	liar.sample = &scene->sample;
	assert_int_equal(bench_gate_judge(&scene->sample, &matcher, batch, &verdict), 0);
	return verdict;
}

static void the_truth_passes_in_batches_of_any_size(void **state)
{
	static const uint32_t batches[] = { 1, BATCH, PROBES, 3 * PROBES + 1 };

	for (size_t i = 0; i < ARRAY_SIZE(batches); i++) {
		struct bench_verdict v = judged(state, (struct liar){ 0 }, batches[i]);

		assert_true(v.pass);
		assert_int_equal(v.wrong, 0);
		assert_true(v.enrolled > 0 && v.found == v.enrolled);
		assert_true(v.strangers > 0 && v.alarms == 0);
		assert_int_equal(v.answers, 2 * (v.enrolled + v.strangers));
	}
}

static void lie_in_the_last_bit(enum bench_kind kind, enum lineup_search_per per, struct lineup_candidate *c, uint32_t *count)
{
	if (kind == BENCH_FAR && per == LINEUP_PER_TEMPLATE)
		c[*count - 1].score = nextafterf(c[*count - 1].score, 2);
}

static void lie_in_the_order(enum bench_kind kind, enum lineup_search_per per, struct lineup_candidate *c, uint32_t *count)
{
	struct lineup_candidate first = c[0];

	(void)count;
	if (kind != BENCH_RANDOM || per != LINEUP_PER_SUBJECT)
		return;
	c[0] = c[1];
	c[1] = first;
}

static void lie_in_a_subject(enum bench_kind kind, enum lineup_search_per per, struct lineup_candidate *c, uint32_t *count)
{
	(void)count;
	if (kind == BENCH_RANDOM && per == LINEUP_PER_TEMPLATE)
		strcpy(c[1].subject, "other");
}

static void lie_in_a_template(enum bench_kind kind, enum lineup_search_per per, struct lineup_candidate *c, uint32_t *count)
{
	(void)count;
	if (kind == BENCH_ENROLLED && per == LINEUP_PER_TEMPLATE)
		c[2].template_id++;
}

static void lie_in_the_count(enum bench_kind kind, enum lineup_search_per per, struct lineup_candidate *c, uint32_t *count)
{
	(void)c;
	if (kind == BENCH_RANDOM && per == LINEUP_PER_SUBJECT)
		--*count;
}

/* Enrolled people and strangers are still told apart: only the comparison with the truth can see these. */
static void one_wrong_detail_fails(void **state)
{
	static void (*const lies[])(enum bench_kind, enum lineup_search_per, struct lineup_candidate *, uint32_t *) = {
		lie_in_the_last_bit, lie_in_the_order, lie_in_a_subject, lie_in_a_template, lie_in_the_count,
	};

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct bench_verdict v = judged(state, (struct liar){ .lie = lies[i] }, PROBES);

		assert_false(v.pass);
		assert_int_equal(v.wrong, PROBES / BENCH_KINDS);
		assert_int_equal(v.found, v.enrolled);
		assert_int_equal(v.alarms, 0);
	}
}

static void lie_that_nobody_is_known(enum bench_kind kind, enum lineup_search_per per, struct lineup_candidate *c, uint32_t *count)
{
	(void)kind;
	(void)per;
	(void)c;
	*count = 0;
}

static void a_matcher_that_never_matches_fails_by_what_it_misses(void **state)
{
	struct bench_verdict v = judged(state, (struct liar){ .lie = lie_that_nobody_is_known }, PROBES);

	assert_false(v.pass);
	assert_int_equal(v.found, 0);
	assert_int_equal(v.alarms, 0);
}

static void lie_that_all_are_sure(enum bench_kind kind, enum lineup_search_per per, struct lineup_candidate *c, uint32_t *count)
{
	(void)kind;
	(void)per;
	for (uint32_t i = 0; i < *count; i++)
		c[i].score = 1;
}

static void a_matcher_that_finds_all_and_is_always_sure_fails_by_its_alarms(void **state)
{
	struct bench_verdict v = judged(state, (struct liar){ .lie = lie_that_all_are_sure }, PROBES);

	assert_false(v.pass);
	assert_int_equal(v.found, v.enrolled);
	assert_int_equal(v.alarms, v.strangers);
}

static void each_side_alone_shuts_the_gate(void **state)
{
	const struct bench_verdict open = { .answers = 9, .enrolled = 3, .found = 3, .strangers = 6 };
	struct bench_verdict shut[6];

	(void)state;
	assert_true(passes(&open));
	for (size_t i = 0; i < ARRAY_SIZE(shut); i++)
		shut[i] = open;
	shut[0].answers = 0;
	shut[1].wrong = 1;
	shut[2].enrolled = shut[2].found = 0;
	shut[3].found = 2;
	shut[4].strangers = 0;
	shut[5].alarms = 1;
	for (size_t i = 0; i < ARRAY_SIZE(shut); i++)
		assert_false(passes(&shut[i]));
}

static void the_score_nan_is_no_match(void **state)
{
	const struct bench_sample *s = &((struct scene *)*state)->sample;
	struct lineup_candidate c = s->planted[1];
	struct bench_verdict v = { 0 };

	assert_int_equal(s->kinds[1], BENCH_ENROLLED);
	c.score = NAN;
	judge_answer(s, 1, LINEUP_PER_SUBJECT, &c, 1, &v);
	assert_int_equal(v.enrolled, 1);
	assert_int_equal(v.found, 0);
}

static void both_baselines_fail(void **state)
{
	struct scene *scene = *state;
	const struct bench_matcher always = bench_gate_always(&scene->sample), at_random = bench_gate_at_random(&scene->sample);
	struct bench_verdict v;

	assert_int_equal(bench_gate_judge(&scene->sample, &always, PROBES, &v), 0);
	assert_false(v.pass);
	assert_int_equal(v.alarms, v.strangers);
	assert_int_equal(bench_gate_judge(&scene->sample, &at_random, PROBES, &v), 0);
	assert_false(v.pass);
	assert_int_equal(v.wrong, v.answers);
}

static void an_error_of_the_search_is_returned(void **state)
{
	struct scene *scene = *state;
	struct liar liar = { .sample = &scene->sample, .err = -EIO };
	struct bench_matcher matcher = { "liar", liar_search, &liar };
	struct bench_verdict v = { .batch = 12345 };

	assert_int_equal(bench_gate_judge(&scene->sample, &matcher, PROBES, &v), -EIO);
	assert_int_equal(v.batch, 12345);
}

static bool stop(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	return false;
}

static void an_interrupted_brute_force_leaves_the_sample_as_it_was(void **state)
{
	struct scene *scene = *state;
	struct bench_sample sample = { .count = 99 };

	assert_int_equal(bench_sample_init(&sample, scene->bed->gallery, PROBES, K, 1, 1, stop, NULL), -ECANCELED);
	assert_int_equal(sample.count, 99);
}

/* ---- what the rates and quantiles are made with ---- */

static void a_quantile_is_the_smallest_value_that_enough_do_not_pass(void **state)
{
	double sorted[1000];
	struct bench_latency latency;

	(void)state;
	for (int i = 0; i < 1000; i++)
		sorted[i] = i + 1;
	bench_latency_of(sorted, 1000, &latency);
	assert_true(latency.p50 == 500 && latency.p99 == 990 && latency.p999 == 999);
	bench_latency_of(sorted, 999, &latency);
	assert_true(latency.p50 == 500 && latency.p99 == 990 && isnan(latency.p999));
	bench_latency_of(sorted, 99, &latency);
	assert_true(latency.p50 == 50 && isnan(latency.p99) && isnan(latency.p999));
}

static void a_median_of_an_even_number_lies_between_the_middle_two(void **state)
{
	static const double values[] = { 9, 1, 4, 2 };

	(void)state;
	assert_true(bench_median(values, 4) == 3);
	assert_true(bench_median(values, 3) == 4);
}

static void the_lowest_limit_binds(void **state)
{
	struct bench_cell cell = { .batch = 1 };
	struct bench_summary s;

	(void)state;
	for (int i = 0; i < BENCH_ROUNDS_MIN; i++) {
		cell.rate[i] = 6;
		cell.limit[BENCH_RAM][i] = 10;
		cell.limit[BENCH_MULTIPLY][i] = 20;
		cell.limit[BENCH_DISK][i] = 8;
	}
	bench_summarise(&cell, BENCH_ROUNDS_MIN, &s);
	assert_true(s.bound == BENCH_DISK && s.fraction == 0.75);
	cell.resident = true;
	memset(cell.limit[BENCH_DISK], 0, sizeof(cell.limit[BENCH_DISK]));
	bench_summarise(&cell, BENCH_ROUNDS_MIN, &s);
	assert_true(s.bound == BENCH_RAM && s.fraction == 0.6);
	for (int i = 0; i < BENCH_ROUNDS_MIN; i++)
		cell.limit[BENCH_MULTIPLY][i] = 6;
	bench_summarise(&cell, BENCH_ROUNDS_MIN, &s);
	assert_true(s.bound == BENCH_MULTIPLY && s.fraction == 1);
	cell.limit[BENCH_MULTIPLY][3] = 0; /* missed in a round: it is not known */
	bench_summarise(&cell, BENCH_ROUNDS_MIN, &s);
	assert_true(s.bound == BENCH_RAM && s.fraction == 0.6);
	memset(cell.limit, 0, sizeof(cell.limit));
	bench_summarise(&cell, BENCH_ROUNDS_MIN, &s);
	assert_true(s.bound == BENCH_BOUNDS && isnan(s.fraction));
}

/* 64 components, 1000 rows, of which 600 are on the device; the others are read and brought there by every pass. */
static void a_search_on_gpus_costs_what_its_rows_do_where_they_are(void **state)
{
	static struct bench_result r;
	struct bench_cell cell = { .resident = true, .batch = 4 };

	(void)state;
	r.backend = "vulkan-dot";
	r.gallery.dim = 64;
	r.place[1] = (struct bench_place){ .rows = 1000, .rows_on_device = 600, .disk_bytes = 40000, .upload_bytes = 32000 };
	assert_true(bench_cost(&r, &cell, BENCH_DEVICE) == 64.0 / 4);
	assert_true(bench_cost(&r, &cell, BENCH_MULTIPLY) == 64);
	assert_true(bench_cost(&r, &cell, BENCH_DISK) == 40.0 / 4);
	assert_true(bench_cost(&r, &cell, BENCH_UPLOAD) == 32.0 / 4);
	assert_true(bench_cost(&r, &cell, BENCH_RAM) == 0);
	cell.batch = 2 * LINEUP_PROBES_MAX;
	cell.passes = 2;
	assert_true(bench_cost(&r, &cell, BENCH_DEVICE) == 64.0 / LINEUP_PROBES_MAX);
	assert_true(bench_cost(&r, &cell, BENCH_MULTIPLY) == 64);
	r.place[1] = (struct bench_place){ .rows = 1000, .rows_on_device = 1000 };
	assert_true(bench_cost(&r, &cell, BENCH_DISK) == 0 && bench_cost(&r, &cell, BENCH_UPLOAD) == 0);
	r.backend = "avx2";
	assert_true(bench_cost(&r, &cell, BENCH_DEVICE) == 0);
	assert_true(bench_cost(&r, &cell, BENCH_RAM) == 64.0 / LINEUP_PROBES_MAX);
}

static void random_rows_are_the_same_every_time_and_of_length_1(void **state)
{
	float a[DIM], b[DIM];
	double square = 0;

	(void)state;
	bench_gaussian(1, 2, DIM, a);
	bench_gaussian(1, 2, DIM, b);
	assert_memory_equal(a, b, sizeof(a));
	bench_gaussian(1, 3, DIM, b);
	assert_memory_not_equal(a, b, sizeof(a));
	for (uint32_t i = 0; i < DIM; i++)
		square += (double)a[i] * a[i];
	assert_true(fabs(square - 1) < 1e-6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(true_answers_are_the_oracles),
		cmocka_unit_test(the_first_and_the_last_template_are_among_those_planted),
		cmocka_unit_test(the_truth_passes_in_batches_of_any_size),
		cmocka_unit_test(one_wrong_detail_fails),
		cmocka_unit_test(a_matcher_that_never_matches_fails_by_what_it_misses),
		cmocka_unit_test(a_matcher_that_finds_all_and_is_always_sure_fails_by_its_alarms),
		cmocka_unit_test(each_side_alone_shuts_the_gate),
		cmocka_unit_test(the_score_nan_is_no_match),
		cmocka_unit_test(both_baselines_fail),
		cmocka_unit_test(an_error_of_the_search_is_returned),
		cmocka_unit_test(an_interrupted_brute_force_leaves_the_sample_as_it_was),
		cmocka_unit_test(a_quantile_is_the_smallest_value_that_enough_do_not_pass),
		cmocka_unit_test(a_median_of_an_even_number_lies_between_the_middle_two),
		cmocka_unit_test(the_lowest_limit_binds),
		cmocka_unit_test(a_search_on_gpus_costs_what_its_rows_do_where_they_are),
		cmocka_unit_test(random_rows_are_the_same_every_time_and_of_length_1),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
