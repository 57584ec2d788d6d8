// SPDX-License-Identifier: MIT
// Lists, expiry, thresholds and deletions decide who may match; wrong arguments are refused and change nothing.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search_bed.h"

enum { DIM = 24, ROWS = 1000, PROBES = 5, NOW = 1700000000 };

/* A gallery with every mix of lists and expiries around NOW, part segment, part journal. */
struct fixture {
	struct bed *bed;
	struct lineup_matrix rows;
	struct lineup_matrix probe_rows;
	struct probes probes;
	struct backends backends;
};

static int set_up(void **state)
{
	static const int64_t expiries[] = { 0, 1, NOW - 1, NOW, NOW + 1, 4102444800, INT64_MAX };
	struct fixture *f = calloc(1, sizeof(*f));
	struct rng rng = { test_seed() };
	static uint64_t lists[ROWS];
	static int64_t expires[ROWS];

	assert_non_null(f);
	backends_here(&f->backends);
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
	bed_enrol(f->bed, &f->rows, ROWS - 100, 100, NULL, lists + ROWS - 100, expires + ROWS - 100);
	probes_init(&f->probes, f->bed, &f->probe_rows);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	probes_fini(&f->probes);
	rows_free(&f->probe_rows);
	rows_free(&f->rows);
	bed_close(f->bed);
	free(f);
	return 0;
}

static void check(struct fixture *f, const struct lineup_search_options *options)
{
	for (uint32_t i = 0; i < 2 * f->backends.count; i++)
		bed_check(f->bed,
			  &SETUP(.backend = f->backends.name[i / 2], .threads = 1 + i % 2, .stream_bytes = 4 << 20,
				 .k_max = LINEUP_K_MAX),
			  &f->probes, options);
}

static void a_list_finds_its_templates_only(void **state)
{
	struct fixture *f = *state;

	for (uint32_t bit = 0; bit < 64; bit += bit < 3 ? 1 : 20)
		check(f, &OPTIONS(.k = LINEUP_K_MAX, .lists = 1ULL << bit));
	check(f, &OPTIONS(.k = 10, .lists = 1ULL << 63));
	check(f, &OPTIONS(.k = 10, .lists = UINT64_MAX));
}

static void several_lists_find_the_templates_on_any_of_them(void **state)
{
	struct fixture *f = *state;

	check(f, &OPTIONS(.k = LINEUP_K_MAX, .lists = 1ULL << 63 | 1));
	check(f, &OPTIONS(.k = 7, .lists = 0xff00));
}

static void a_template_matches_until_the_second_it_expires(void **state)
{
	struct fixture *f = *state;

	for (int64_t now = NOW - 2; now <= NOW + 2; now++)
		check(f, &OPTIONS(.k = LINEUP_K_MAX, .now = now));
	check(f, &OPTIONS(.k = LINEUP_K_MAX, .now = 1));
	check(f, &OPTIONS(.k = LINEUP_K_MAX, .now = INT64_MAX - 1));
	check(f, &OPTIONS(.k = LINEUP_K_MAX, .now = INT64_MAX));
}

static void now_0_is_the_clock(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_options options = OPTIONS(.k = ROWS), by_clock = options;
	struct lineup_candidate *have = calloc(PROBES * ROWS, sizeof(*have)), *want = calloc(ROWS, sizeof(*want));
	struct lineup_searcher *searcher = bed_searcher(f->bed, &SETUP(.k_max = ROWS));
	uint32_t counts[PROBES], count;
	char why[400];

	assert_true(have && want);
	/* Any time between 2023 and 2100 gives the same answer. */
	options.now = 2000000000;
	by_clock.now = 0;
	assert_int_equal(lineup_search(searcher, &f->probe_rows, &by_clock, have, counts, NULL), 0);
	for (uint32_t p = 0; p < PROBES; p++) {
		count = oracle_pick(&f->bed->oracle, &f->probes.rankings[p], f->bed->sequence, &options, want);
		assert_true(count > 0 && count < ROWS);
		if (candidates_differ(want, count, have + p * ROWS, counts[p], why, sizeof(why)))
			fail_msg("%s", why);
	}
	lineup_searcher_destroy(searcher);
	free(want);
	free(have);
}

static void a_score_equal_to_the_threshold_passes_it(void **state)
{
	struct fixture *f = *state;

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
	struct fixture *f = *state;

	for (uint32_t i = 0; i < ARRAY_SIZE(thresholds); i++) {
		check(f, &OPTIONS(.k = 40, .flags = LINEUP_SEARCH_THRESHOLD, .threshold = thresholds[i]));
		check(f, &OPTIONS(.k = ROWS, .per = LINEUP_PER_TEMPLATE, .flags = LINEUP_SEARCH_THRESHOLD,
				  .threshold = thresholds[i]));
	}
	/* Without its flag it means nothing. */
	check(f, &OPTIONS(.k = 40, .threshold = 2));
}

/* A search that must be refused with @err, name @reason and leave every result as it was. */
static void refused(struct fixture *f, const struct lineup_matrix *probes, const struct lineup_search_options *options, int err,
		    const char *reason)
{
	struct lineup_searcher *searcher = bed_searcher(f->bed, &SETUP(.probes_max = 1, .k_max = 20));
	struct lineup_candidate candidates[PROBES * 20], before[PROBES * 20];
	uint32_t counts[PROBES], counts_before[PROBES];
	struct lineup_search_facts facts, facts_before;

	memset(before, 0xa5, sizeof(before));
	memset(candidates, 0xa5, sizeof(candidates));
	memset(counts_before, 0xa5, sizeof(counts_before));
	memset(counts, 0xa5, sizeof(counts));
	memset(&facts_before, 0xa5, sizeof(facts_before));
	memset(&facts, 0xa5, sizeof(facts));
	messages_clear(&f->bed->messages);
	assert_int_equal(lineup_search(searcher, probes, options, candidates, counts, &facts), err);
	assert_int_equal(f->bed->messages.errors, 1);
	if (!messages_with(&f->bed->messages, reason))
		fail_msg("the message does not say \"%s\": %s", reason, f->bed->messages.text[0]);
	assert_memory_equal(candidates, before, sizeof(before));
	assert_memory_equal(counts, counts_before, sizeof(counts));
	assert_memory_equal(&facts, &facts_before, sizeof(facts));
	/* It did the searcher no harm. */
	bed_search(f->bed, searcher, &SETUP(.probes_max = 1, .k_max = 20), &f->probes, &OPTIONS(.k = 20));
	lineup_searcher_destroy(searcher);
}

static void k_of_0_is_refused(void **state)
{
	struct fixture *f = *state;

	refused(f, &f->probe_rows, &OPTIONS(.k = 0), -EINVAL, "k is 0");
}

static void k_over_k_max_is_refused(void **state)
{
	struct fixture *f = *state;

	refused(f, &f->probe_rows, &OPTIONS(.k = 21), -EINVAL, "k is 21");
}

static void another_dimension_is_refused(void **state)
{
	struct fixture *f = *state;
	struct lineup_matrix m = f->probe_rows;

	m.dim = DIM - 1;
	refused(f, &m, &OPTIONS(.k = 3), -EINVAL, "23");
}

static void an_unknown_dtype_is_refused(void **state)
{
	struct fixture *f = *state;
	struct lineup_matrix m = f->probe_rows;

	m.dtype = (enum lineup_dtype)7;
	refused(f, &m, &OPTIONS(.k = 3), -EINVAL, "7");
}

/* Component 5 of probe 3 is @value; all of it if that is 0. */
static void bad_row(struct fixture *f, double value, enum lineup_dtype dtype, const char *reason)
{
	struct lineup_matrix m = rows_alloc(PROBES, DIM, dtype);

	for (uint32_t i = 0; i < PROBES * DIM; i++) {
		double v = i / DIM == 3 && (value == 0 || i % DIM == 5) ? value : 1 + i;

		if (dtype == LINEUP_FLOAT64)
			((double *)(uintptr_t)m.data)[i] = v;
		else
			rows_at(&m, 0)[i] = (float)v;
	}
	refused(f, &m, &OPTIONS(.k = 3), -EINVAL, reason);
	assert_true(messages_with(&f->bed->messages, "3"));
	rows_free(&m);
}

static void a_probe_with_a_nan_is_refused(void **state)
{
	bad_row(*state, NAN, LINEUP_FLOAT32, "NaN");
}

static void a_probe_with_an_infinity_is_refused(void **state)
{
	bad_row(*state, -INFINITY, LINEUP_FLOAT32, "infinit");
}

static void a_probe_of_zeros_is_refused(void **state)
{
	bad_row(*state, 0, LINEUP_FLOAT32, "zero");
}

static void a_float64_probe_with_a_nan_is_refused(void **state)
{
	bad_row(*state, NAN, LINEUP_FLOAT64, "NaN");
}

static void a_float64_probe_with_an_infinity_is_refused(void **state)
{
	bad_row(*state, INFINITY, LINEUP_FLOAT64, "infinit");
}

static void a_float64_probe_of_zeros_is_refused(void **state)
{
	bad_row(*state, 0, LINEUP_FLOAT64, "zero");
}

static void a_threshold_that_is_no_number_is_refused(void **state)
{
	struct fixture *f = *state;

	refused(f, &f->probe_rows, &OPTIONS(.k = 3, .flags = LINEUP_SEARCH_THRESHOLD, .threshold = NAN), -EINVAL, "threshold");
}

static void an_unknown_flag_is_refused(void **state)
{
	struct fixture *f = *state;

	refused(f, &f->probe_rows, &OPTIONS(.k = 3, .flags = 1u << 30), -EINVAL, "flag");
}

static void a_reserved_field_that_is_set_is_refused(void **state)
{
	struct fixture *f = *state;

	refused(f, &f->probe_rows, &OPTIONS(.k = 3, .reserved = 1), -EINVAL, "reserved");
}

static void an_unknown_way_of_counting_is_refused(void **state)
{
	struct fixture *f = *state;

	refused(f, &f->probe_rows, &OPTIONS(.k = 3, .per = (enum lineup_search_per)2), -EINVAL, "per 2");
}

static void a_longer_options_struct_with_something_in_it_is_refused(void **state)
{
	struct fixture *f = *state;
	struct {
		struct lineup_search_options known;
		uint64_t unknown;
	} options = { .known = OPTIONS(.k = 3), .unknown = 1 };

	options.known.size = sizeof(options);
	refused(f, &f->probe_rows, &options.known, -E2BIG, "knows");
}

static void a_longer_options_struct_of_zeros_is_taken(void **state)
{
	struct fixture *f = *state;
	struct {
		struct lineup_search_options known;
		uint64_t unknown;
	} options = { .known = OPTIONS(.k = 3, .now = 1000) };

	options.known.size = sizeof(options);
	check(f, &options.known);
}

static void a_list_the_gallery_has_not_is_refused(void **state)
{
	struct rng rng = { test_seed() };
	struct fixture f = { .bed = bed_open(DIM, LINEUP_STORE_FLOAT32) };

	(void)state;
	f.rows = rows_random(&rng, 3, DIM);
	bed_enrol(f.bed, &f.rows, 0, 3, NULL, NULL, NULL);
	probes_init(&f.probes, f.bed, &f.rows);
	refused(&f, &f.rows, &OPTIONS(.k = 3, .lists = 1), -EINVAL, "list");
	probes_fini(&f.probes);
	rows_free(&f.rows);
	bed_close(f.bed);
}

static void no_probes_give_no_answers(void **state)
{
	struct fixture *f = *state;
	struct lineup_matrix none = { .data = NULL, .rows = 0, .dim = DIM };
	struct lineup_searcher *searcher = bed_searcher(f->bed, &SETUP(.threads = 1));
	struct lineup_search_facts facts;

	assert_int_equal(lineup_search(searcher, &none, &OPTIONS(.k = 3), NULL, NULL, &facts), 0);
	assert_int_equal(facts.passes, 0);
	lineup_searcher_destroy(searcher);
}

static bool refuse_progress(void *arg, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	++*(uint32_t *)arg;
	return false;
}

static void a_search_that_is_stopped_is_cancelled(void **state)
{
	struct fixture *f = *state;
	uint32_t calls = 0;
	struct lineup_searcher *searcher = bed_searcher(
		f->bed, &SETUP(.threads = 1, .residency = LINEUP_STREAMED, .progress = refuse_progress, .progress_arg = &calls));
	struct lineup_candidate candidates[PROBES * 3];
	uint32_t counts[PROBES];

	memset(counts, 0xa5, sizeof(counts));
	assert_int_equal(lineup_search(searcher, &f->probe_rows, &OPTIONS(.k = 3), candidates, counts, NULL), -ECANCELED);
	assert_true(calls > 0);
	for (uint32_t p = 0; p < PROBES; p++)
		assert_int_equal(counts[p], 0);
	lineup_searcher_destroy(searcher);
}

/* The setup's own limits, each by its errno. */
static void a_setup_past_a_limit_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct {
		struct lineup_search_setup setup;
		int err;
		const char *reason;
	} cases[] = {
		{ SETUP(.threads = LINEUP_THREADS_MAX + 1), -EINVAL, "threads" },
		{ SETUP(.backend = "abacus"), -EINVAL, "abacus" },
		{ SETUP(.residency = (enum lineup_residency)3), -EINVAL, "residency" },
		{ SETUP(.probes_max = LINEUP_PROBES_MAX + 1), -EINVAL, "probes" },
		{ SETUP(.k_max = LINEUP_K_MAX + 1), -EINVAL, "k_max" },
		{ SETUP(.candidates_max = UINT32_MAX), -EINVAL, "candidates_max" },
		{ SETUP(.reserved = 1), -EINVAL, "reserved" },
		{ SETUP(.stream_bytes = 1), -EINVAL, "ring" },
		{ SETUP(.residency = LINEUP_RESIDENT, .memory_max = 1), -ENOMEM, "resident" },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lineup_searcher *searcher = NULL;

		messages_clear(&f->bed->messages);
		assert_int_equal(lineup_searcher_create(f->bed->gallery, &cases[i].setup, &searcher), cases[i].err);
		assert_null(searcher);
		assert_int_equal(f->bed->messages.errors, 1);
		if (!messages_with(&f->bed->messages, cases[i].reason))
			fail_msg("the message does not say \"%s\": %s", cases[i].reason, f->bed->messages.text[0]);
	}
}

static void a_searcher_keeps_its_state_while_the_gallery_moves_on(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = SETUP(.threads = 2, .stream_bytes = 4 << 20);
	struct lineup_searcher *searcher = bed_searcher(f->bed, &setup);
	uint64_t sequence = f->bed->sequence, now;

	bed_delete_template(f->bed, f->bed->oracle.rows[f->probes.rankings[0].hits[0].row].id);
	bed_enrol(f->bed, &f->probe_rows, 0, PROBES, NULL, NULL, NULL);
	bed_compact(f->bed);
	probes_update(&f->probes, f->bed);
	now = f->bed->sequence;
	/* bed_search compares with the state that it believes is there. */
	f->bed->sequence = sequence;
	bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = 10));
	f->bed->sequence = now;
	bed_check(f->bed, &setup, &f->probes, &OPTIONS(.k = 10));
	bed_reopen(f->bed);
	f->bed->sequence = sequence;
	bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = 10));
	f->bed->sequence = now;
	lineup_searcher_destroy(searcher);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_finds_its_templates_only),
		cmocka_unit_test(several_lists_find_the_templates_on_any_of_them),
		cmocka_unit_test(a_template_matches_until_the_second_it_expires),
		cmocka_unit_test(now_0_is_the_clock),
		cmocka_unit_test(a_score_equal_to_the_threshold_passes_it),
		cmocka_unit_test(thresholds_at_the_ends_pass_all_or_none),
		cmocka_unit_test(k_of_0_is_refused),
		cmocka_unit_test(k_over_k_max_is_refused),
		cmocka_unit_test(another_dimension_is_refused),
		cmocka_unit_test(an_unknown_dtype_is_refused),
		cmocka_unit_test(a_probe_with_a_nan_is_refused),
		cmocka_unit_test(a_probe_with_an_infinity_is_refused),
		cmocka_unit_test(a_probe_of_zeros_is_refused),
		cmocka_unit_test(a_float64_probe_with_a_nan_is_refused),
		cmocka_unit_test(a_float64_probe_with_an_infinity_is_refused),
		cmocka_unit_test(a_float64_probe_of_zeros_is_refused),
		cmocka_unit_test(a_threshold_that_is_no_number_is_refused),
		cmocka_unit_test(an_unknown_flag_is_refused),
		cmocka_unit_test(a_reserved_field_that_is_set_is_refused),
		cmocka_unit_test(an_unknown_way_of_counting_is_refused),
		cmocka_unit_test(a_longer_options_struct_with_something_in_it_is_refused),
		cmocka_unit_test(a_longer_options_struct_of_zeros_is_taken),
		cmocka_unit_test(a_list_the_gallery_has_not_is_refused),
		cmocka_unit_test(no_probes_give_no_answers),
		cmocka_unit_test(a_search_that_is_stopped_is_cancelled),
		cmocka_unit_test(a_setup_past_a_limit_is_refused),
		cmocka_unit_test(a_searcher_keeps_its_state_while_the_gallery_moves_on),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
