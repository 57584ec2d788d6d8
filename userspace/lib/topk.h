/* SPDX-License-Identifier: MIT */
/* The topk stage: for one probe, what may still be in its result, decided by bounds first and by scores last. */
#ifndef LINEUP_TOPK_H
#define LINEUP_TOPK_H

#include <pthread.h>

#include "probe.h"

/* A row that scored, or has a bound. */
struct lineup_entry {
	float score;
	uint32_t subject;
	uint64_t template_id;
	uint32_t segment;
	uint32_t row;
};

/*
 * The k best entries of distinct subjects, or of distinct templates: a binary heap, the worst at the root. Putting what is there already keeps the better
 * of the two: a template counts once, though its bound and later its score are put.
 */
struct lineup_topk {
	struct lineup_entry *heap; /* [k_max] */
	uint32_t count;
	uint32_t k;
	bool distinct;             /* by subject; else by template */
};

void lineup_topk_begin(struct lineup_topk *topk, uint32_t k, bool distinct);
/* Score descending, then template id ascending. */
bool lineup_entry_better(const struct lineup_entry *a, const struct lineup_entry *b);
void lineup_topk_put(struct lineup_topk *topk, const struct lineup_entry *entry);
/* Whether @entry is good enough to get in. */
static inline bool lineup_topk_takes(const struct lineup_topk *topk, const struct lineup_entry *entry)
{
	return topk->count < topk->k || lineup_entry_better(entry, &topk->heap[0]);
}
/* Sorts best first; the heap is one no more. */
void lineup_topk_finish(struct lineup_topk *topk);

/*
 * One probe's selection while a pass runs, shared by all threads under its mutex.
 *
 * @floor is a score that k distinct subjects (or templates) are known to reach, or the caller's threshold if that is higher: a row whose upper bound is
 * below it cannot be in the result. It rises with every lower bound and every score. Rows not below it wait among the candidates. When
 * those are full they are re-ranked on the spot, which empties them, so that no number of candidates needs more memory; after the pass the rest are
 * re-ranked, best upper bound first, until the next one is below the floor.
 */
struct lineup_select {
	pthread_mutex_t mutex;
	struct lineup_topk bounds;          /* lower bounds, and scores once they are known */
	struct lineup_topk exact;           /* scores */
	struct lineup_entry *candidates;    /* .score is the upper bound, rounded up */
	uint32_t candidate_count;
	uint32_t candidate_max;
	double floor;
	float threshold;                    /* -INFINITY: none */
	uint64_t reranked;
};

/* Gives the score of @entry's row with the probe at hand; 0, or what failed (logged). */
typedef int lineup_score_fn(void *arg, const struct lineup_entry *entry, float *score);
/* Tells that these entries' records will be asked for soon, in this order. */
typedef void lineup_soon_fn(void *arg, const struct lineup_entry *entries, uint32_t count);

void lineup_select_begin(struct lineup_select *select, uint32_t k, bool distinct, const float *threshold);
/* Notes that the row of @entry (.score unset) scores between @low and @high. True: the candidates are full, re-rank now. */
bool lineup_select_put(struct lineup_select *select, struct lineup_entry *entry, double low, double high);
int lineup_select_rerank(struct lineup_select *select, lineup_score_fn *score, lineup_soon_fn *soon, void *arg);

#endif
