// SPDX-License-Identifier: MIT
// The selection alone: bounds that lie about nothing never cost a candidate, however small its buffer.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search_bed.h"
#include "topk.h"

enum { ROWS = 3000, K_LARGEST = 64 };

/* Rows with true scores, subjects, and bounds of random width around them. */
struct world {
	struct lineup_entry rows[ROWS];
	uint32_t count;
	double low[ROWS];
	double high[ROWS];
	uint64_t asked;
};

static int score_of(void *arg, const struct lineup_entry *entry, float *score)
{
	struct world *w = arg;

	assert_true(entry->row < w->count);
	assert_true(entry->template_id == w->rows[entry->row].template_id);
	*score = w->rows[entry->row].score;
	w->asked++;
	return 0;
}

static int no_score(void *arg, const struct lineup_entry *entry, float *score)
{
	(void)arg;
	(void)entry;
	(void)score;
	return -EIO;
}

static void soon(void *arg, const struct lineup_entry *entries, uint32_t count)
{
	(void)arg;
	(void)entries;
	assert_true(count > 0);
}

static void world_fill(struct world *w, struct rng *rng, uint32_t count, uint32_t subjects, uint32_t levels, double width)
{
	w->count = count;
	w->asked = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct lineup_entry *e = &w->rows[i];
		double wide = width * rng_unit(rng);

		memset(e, 0, sizeof(*e));
		e->row = i;
		e->template_id = 10 + 3 * (uint64_t)i;
		e->subject = rng_below(rng, subjects);
		e->score = (float)rng_below(rng, levels) / (float)levels;
		w->low[i] = (double)e->score - wide * rng_unit(rng);
		w->high[i] = (double)e->score + wide * rng_unit(rng);
	}
}

/* What must come out, by sorting. */
static uint32_t expected(const struct world *w, uint32_t k, bool distinct, float threshold, struct lineup_entry *out)
{
	static bool used[ROWS], seen[ROWS];
	uint32_t count = 0;

	memset(used, 0, sizeof(used));
	memset(seen, 0, sizeof(seen));
	while (count < k) {
		const struct lineup_entry *best = NULL;

		for (uint32_t i = 0; i < w->count; i++) {
			const struct lineup_entry *e = &w->rows[i];

			if (!used[i] && e->score >= threshold && !(distinct && seen[e->subject]) &&
			    (!best || e->score > best->score))
				best = e;
		}
		if (!best)
			break;
		used[best->row] = true;
		seen[best->subject] = true;
		out[count++] = *best;
	}
	return count;
}

/* @backwards: the lower id of a tie comes last, as it may where threads share the work. */
static void select_in_order(struct world *w, uint32_t k, bool distinct, uint32_t candidates_max, const float *threshold, bool backwards)
{
	struct lineup_entry *bounds = calloc(k, sizeof(*bounds)), *exact = calloc(k, sizeof(*exact)),
			    *want = calloc(k, sizeof(*want));
	struct lineup_entry *candidates = calloc(candidates_max, sizeof(*candidates));
	struct lineup_select select = {
		.bounds.heap = bounds, .exact.heap = exact, .candidates = candidates, .candidate_max = candidates_max
	};
	uint32_t count;

	assert_true(bounds && exact && want && candidates);
	w->asked = 0;
	lineup_select_begin(&select, k, distinct, threshold);
	for (uint32_t i = 0; i < w->count; i++) {
		uint32_t at = backwards ? w->count - 1 - i : i;
		struct lineup_entry entry = w->rows[at];

		entry.score = NAN;
		if (w->high[at] >= select.floor && lineup_select_put(&select, &entry, w->low[at], w->high[at]))
			assert_int_equal(lineup_select_rerank(&select, score_of, soon, w), 0);
	}
	assert_int_equal(lineup_select_rerank(&select, score_of, soon, w), 0);
	lineup_topk_finish(&select.exact);
	count = expected(w, k, distinct, threshold ? *threshold : -INFINITY, want);
	if (select.exact.count != count)
		fail_msg("seed %llu: k %u, %s, candidates_max %u: %u candidates, not %u", (unsigned long long)test_seed(), k,
			 distinct ? "subjects" : "templates", candidates_max, select.exact.count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_true(select.exact.heap[i].template_id == want[i].template_id);
		assert_true(select.exact.heap[i].score == want[i].score);
	}
	assert_true(select.reranked == w->asked);
	free(candidates);
	free(want);
	free(exact);
	free(bounds);
}

static void select_and_compare(struct world *w, uint32_t k, bool distinct, uint32_t candidates_max, const float *threshold)
{
	select_in_order(w, k, distinct, candidates_max, threshold, true);
	select_in_order(w, k, distinct, candidates_max, threshold, false);
}

static void selections(bool distinct)
{
	static const uint32_t ks[] = { 1, 2, 3, 10, K_LARGEST }, buffers[] = { 1, 2, 3, 16, 4000 }, levels[] = { 2, 40, 1 << 20 };
	static const double widths[] = { 0, 1e-3, 0.1, 2 };
	static struct world w;
	struct rng rng = { test_seed() };

	for (uint32_t i = 0; i < 5 * 5 * 3 * 4; i++) {
		uint32_t count = i % 7 ? 1 + rng_below(&rng, i % 3 ? 60 : ROWS - 1) : 0;
		float threshold = (float)rng_unit(&rng);

		world_fill(&w, &rng, count, 1 + rng_below(&rng, ROWS / 2), levels[i / 25 % 3], widths[i / 75]);
		select_and_compare(&w, ks[i % 5], distinct, buffers[i / 5 % 5], i % 2 ? &threshold : NULL);
	}
}

static void the_best_templates_are_selected(void **state)
{
	(void)state;
	selections(false);
}

static void the_best_subjects_are_selected(void **state)
{
	(void)state;
	selections(true);
}

/* Wide bounds first, so that a lower bound and the score of the same template could be taken for two templates. */
static void a_template_counts_once(void **state)
{
	static struct world w = { .count = 3,
				  .rows = { { .score = 0.95f, .row = 0, .template_id = 1 },
					    { .score = 0.55f, .row = 1, .template_id = 2, .subject = 1 },
					    { .score = 0.45f, .row = 2, .template_id = 3, .subject = 2 } },
				  .low = { 0.9, 0.5, 0.4 },
				  .high = { 1.0, 0.6, 0.5 } };

	(void)state;
	select_and_compare(&w, 2, false, 100, NULL);
	select_and_compare(&w, 3, false, 1, NULL);
}

/* Narrow bounds must save work, or they are not used at all. */
static void rows_that_cannot_enter_are_not_scored(void **state)
{
	static struct world w;
	struct rng rng = { test_seed() };

	(void)state;
	world_fill(&w, &rng, ROWS, ROWS, 1 << 20, 1e-3);
	select_and_compare(&w, 10, true, 1000, NULL);
	assert_true(w.asked < 200);
}

static void a_failed_score_fails_the_selection(void **state)
{
	struct lineup_entry heaps[2], candidates[8], entry = { .template_id = 1 };
	struct lineup_select select = {
		.bounds.heap = heaps, .exact.heap = heaps + 1, .candidates = candidates, .candidate_max = 8
	};

	(void)state;
	lineup_select_begin(&select, 1, true, NULL);
	assert_false(lineup_select_put(&select, &entry, 0.1, 0.2));
	assert_int_equal(lineup_select_rerank(&select, no_score, soon, NULL), -EIO);
	/* Begun again it works. */
	lineup_select_begin(&select, 1, true, NULL);
	assert_int_equal(lineup_select_rerank(&select, no_score, soon, NULL), 0);
	assert_int_equal(select.exact.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_best_templates_are_selected),
		cmocka_unit_test(the_best_subjects_are_selected),
		cmocka_unit_test(a_template_counts_once),
		cmocka_unit_test(rows_that_cannot_enter_are_not_scored),
		cmocka_unit_test(a_failed_score_fails_the_selection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
