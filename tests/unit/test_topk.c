// SPDX-License-Identifier: MIT
// The top-k heap and the selection against a plain sorted list.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "topk.h"

enum { ROWS = 600, K_MAX = 64 };

static uint64_t random_state = 7;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33) % n;
}

static int by_score_then_id(const void *a, const void *b)
{
	const struct lineup_entry *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->template_id < y->template_id ? -1 : x->template_id > y->template_id;
}

/* The k best of @rows, of distinct subjects if asked: sort, then take in order. */
static uint32_t plain_best(const struct lineup_entry *rows, uint32_t count, uint32_t k, bool distinct, struct lineup_entry *best)
{
	struct lineup_entry sorted[ROWS];
	uint32_t n = 0;

	memcpy(sorted, rows, count * sizeof(*rows));
	qsort(sorted, count, sizeof(*sorted), by_score_then_id);
	for (uint32_t i = 0; i < count && n < k; i++) {
		bool seen = false;

		for (uint32_t j = 0; distinct && j < n; j++)
			seen |= best[j].subject == sorted[i].subject;
		if (!seen)
			best[n++] = sorted[i];
	}
	return n;
}

static void make_rows(struct lineup_entry *rows, uint32_t count, uint32_t subjects, uint32_t scores)
{
	for (uint32_t i = 0; i < count; i++)
		rows[i] = (struct lineup_entry){
			.score = (float)random_below(scores) / (float)scores - 0.5f,
			.subject = random_below(subjects),
			.template_id = i,
			.row = i,
		};
	for (uint32_t i = count; i > 1; i--) { /* arrival is not in the order of ids */
		uint32_t j = random_below(i);
		struct lineup_entry t = rows[i - 1];

		rows[i - 1] = rows[j];
		rows[j] = t;
	}
}

static void assert_same(const struct lineup_topk *topk, const struct lineup_entry *best, uint32_t n)
{
	assert_int_equal(topk->count, n);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(topk->heap[i].template_id, best[i].template_id);
		assert_true(topk->heap[i].score == best[i].score);
	}
}

static void the_heap_holds_the_k_best(void **state)
{
	(void)state;
	for (int round = 0; round < 400; round++) {
		struct lineup_entry rows[ROWS], heap[K_MAX], best[K_MAX];
		struct lineup_topk topk = { .heap = heap };
		uint32_t count = random_below(ROWS), k = 1 + random_below(K_MAX);
		bool distinct = round % 2;

		make_rows(rows, count, 1 + random_below(100), 1 + random_below(200));
		lineup_topk_begin(&topk, k, distinct);
		for (uint32_t i = 0; i < count; i++)
			lineup_topk_put(&topk, &rows[i]);
		lineup_topk_finish(&topk);
		assert_same(&topk, best, plain_best(rows, count, k, distinct, best));
	}
}

static void ties_go_to_the_lower_id(void **state)
{
	struct lineup_entry heap[2];
	struct lineup_topk topk = { .heap = heap };

	(void)state;
	lineup_topk_begin(&topk, 2, false);
	for (uint64_t id = 9; id > 0; id--)
		lineup_topk_put(&topk, &(struct lineup_entry){ .score = 0.5f, .template_id = id });
	lineup_topk_finish(&topk);
	assert_int_equal(topk.heap[0].template_id, 1);
	assert_int_equal(topk.heap[1].template_id, 2);
}

/* True scores by template id, and how often they were asked for. */
struct truth {
	float score[ROWS];
	uint32_t asked;
	uint32_t announced;
	int err;
};

static int true_score(void *arg, const struct lineup_entry *entry, float *score)
{
	struct truth *truth = arg;

	truth->asked++;
	*score = truth->score[entry->template_id];
	return truth->err;
}

static void announce(void *arg, const struct lineup_entry *entries, uint32_t count)
{
	struct truth *truth = arg;

	assert_non_null(entries);
	truth->announced += count;
}

struct fixture {
	struct lineup_entry entries[2 * K_MAX + ROWS];
	struct lineup_select select;
	struct truth truth;
};

static void begin(struct fixture *f, uint32_t k, bool distinct, const float *threshold, uint32_t candidate_max)
{
	memset(f, 0, sizeof(*f));
	f->select.bounds.heap = f->entries;
	f->select.exact.heap = f->entries + K_MAX;
	f->select.candidates = f->entries + 2 * K_MAX;
	f->select.candidate_max = candidate_max;
	lineup_select_begin(&f->select, k, distinct, threshold);
}

/* Feeds @rows with bounds of random width around their scores, as a scan would. */
static void feed(struct fixture *f, const struct lineup_entry *rows, uint32_t count, float width)
{
	for (uint32_t i = 0; i < count; i++) {
		struct lineup_entry entry = rows[i];
		double below = width * random_below(1000) / 1000.0, above = width * random_below(1000) / 1000.0;

		f->truth.score[rows[i].template_id] = rows[i].score;
		if (lineup_select_put(&f->select, &entry, rows[i].score - below, rows[i].score + above))
			assert_int_equal(lineup_select_rerank(&f->select, true_score, announce, &f->truth), 0);
		assert_true(f->select.candidate_count < f->select.candidate_max);
	}
	assert_int_equal(lineup_select_rerank(&f->select, true_score, announce, &f->truth), 0);
	lineup_topk_finish(&f->select.exact);
}

static void selection_equals_brute_force_whatever_the_room(void **state)
{
	static const uint32_t rooms[] = { 1, 2, 3, 7, 50, ROWS };

	(void)state;
	for (int round = 0; round < 600; round++) {
		struct lineup_entry rows[ROWS], best[K_MAX];
		struct fixture *f = malloc(sizeof(*f));
		uint32_t count = random_below(ROWS), k = 1 + random_below(K_MAX), kept = 0, n;
		bool distinct = round % 2;
		float threshold = (float)random_below(100) / 100 - 0.5f;
		bool limited = round % 3 == 0;

		assert_non_null(f);
		make_rows(rows, count, 1 + random_below(80), 1 + random_below(1000));
		begin(f, k, distinct, limited ? &threshold : NULL, rooms[round % 6]);
		feed(f, rows, count, round % 5 ? 0.1f : 0);
		n = plain_best(rows, count, k, distinct, best);
		while (kept < n && (!limited || best[kept].score >= threshold))
			kept++;
		assert_same(&f->select.exact, best, kept);
		assert_true(f->truth.announced >= f->truth.asked);
		free(f);
	}
}

static void rows_that_cannot_enter_are_not_scored(void **state)
{
	struct fixture *f = malloc(sizeof(*f));
	struct lineup_entry rows[ROWS];

	(void)state;
	assert_non_null(f);
	make_rows(rows, ROWS, ROWS, 1 << 20);
	begin(f, 1, false, NULL, ROWS);
	feed(f, rows, ROWS, 0); /* bounds that are the scores */
	assert_int_equal(f->truth.asked, 1);
	assert_int_equal(f->select.reranked, 1);
	free(f);
}

static void a_failed_score_empties_the_candidates_and_is_returned(void **state)
{
	struct fixture *f = malloc(sizeof(*f));
	struct lineup_entry entry = { .template_id = 1 };

	(void)state;
	assert_non_null(f);
	begin(f, 1, false, NULL, 8);
	assert_false(lineup_select_put(&f->select, &entry, 0.1, 0.2));
	f->truth.err = -EIO;
	assert_int_equal(lineup_select_rerank(&f->select, true_score, announce, &f->truth), -EIO);
	assert_int_equal(f->select.candidate_count, 0);
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_heap_holds_the_k_best),
		cmocka_unit_test(ties_go_to_the_lower_id),
		cmocka_unit_test(selection_equals_brute_force_whatever_the_room),
		cmocka_unit_test(rows_that_cannot_enter_are_not_scored),
		cmocka_unit_test(a_failed_score_empties_the_candidates_and_is_returned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
