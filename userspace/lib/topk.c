// SPDX-License-Identifier: MIT
// The k best of what has been seen, and the selection that decides which rows are worth an exact score.
#include "topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SOON = 64 }; /* records asked for ahead of their use */

bool lineup_entry_better(const struct lineup_entry *a, const struct lineup_entry *b)
{
	return a->score > b->score || (a->score == b->score && a->template_id < b->template_id);
}

void lineup_topk_begin(struct lineup_topk *topk, uint32_t k, bool distinct)
{
	topk->count = 0;
	topk->k = k;
	topk->distinct = distinct;
}

/* The heap's order: a parent is worse than its children. */
static void sift_down(struct lineup_topk *topk, uint32_t at)
{
	struct lineup_entry moving = topk->heap[at];

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= topk->count)
			break;
		if (child + 1 < topk->count && lineup_entry_better(&topk->heap[child], &topk->heap[child + 1]))
			child++;
		if (!lineup_entry_better(&moving, &topk->heap[child]))
			break;
		topk->heap[at] = topk->heap[child];
		at = child;
	}
	topk->heap[at] = moving;
}

static void sift_up(struct lineup_topk *topk, uint32_t at)
{
	struct lineup_entry moving = topk->heap[at];

	while (at) {
		uint32_t parent = (at - 1) / 2;

		if (!lineup_entry_better(&topk->heap[parent], &moving))
			break;
		topk->heap[at] = topk->heap[parent];
		at = parent;
	}
	topk->heap[at] = moving;
}

/* Linear: it runs only for entries that get in, some k ln(N / k) times a pass. */
static struct lineup_entry *find_same(struct lineup_topk *topk, const struct lineup_entry *entry)
{
	for (uint32_t i = 0; i < topk->count; i++)
		if (topk->distinct ? topk->heap[i].subject == entry->subject : topk->heap[i].template_id == entry->template_id)
			return &topk->heap[i];
	return NULL;
}

void lineup_topk_put(struct lineup_topk *topk, const struct lineup_entry *entry)
{
	struct lineup_entry *known;

	if (!lineup_topk_takes(topk, entry))
		return;
	known = find_same(topk, entry);
	if (known) {
		if (lineup_entry_better(entry, known)) {
			*known = *entry;
			sift_down(topk, (uint32_t)(known - topk->heap));
		}
	} else if (topk->count < topk->k) {
		topk->heap[topk->count++] = *entry;
		sift_up(topk, topk->count - 1);
	} else {
		topk->heap[0] = *entry;
		sift_down(topk, 0);
	}
}

static int best_first(const void *a, const void *b)
{
	return lineup_entry_better(a, b) ? -1 : lineup_entry_better(b, a);
}

void lineup_topk_finish(struct lineup_topk *topk)
{
	qsort(topk->heap, topk->count, sizeof(*topk->heap), best_first);
}

void lineup_select_begin(struct lineup_select *select, uint32_t k, bool distinct, const float *threshold)
{
	lineup_topk_begin(&select->bounds, k, distinct);
	lineup_topk_begin(&select->exact, k, distinct);
	select->candidate_count = 0;
	select->threshold = threshold ? *threshold : -INFINITY;
	select->floor = select->threshold;
	select->reranked = 0;
}

static void raise_floor(struct lineup_select *select, const struct lineup_entry *reached)
{
	lineup_topk_put(&select->bounds, reached);
	if (select->bounds.count == select->bounds.k && select->bounds.heap[0].score > select->floor)
		select->floor = select->bounds.heap[0].score;
}

static float round_down(double value)
{
	float f = (float)value;

	return f > value ? nextafterf(f, -INFINITY) : f;
}

static float round_up_float(double value)
{
	return -round_down(-value);
}

/* Drops candidates that the floor has overtaken. */
static void sweep(struct lineup_select *select)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < select->candidate_count; i++)
		if (select->candidates[i].score >= select->floor)
			select->candidates[kept++] = select->candidates[i];
	select->candidate_count = kept;
}

bool lineup_select_put(struct lineup_select *select, struct lineup_entry *entry, double low, double high)
{
	if (high < select->floor)
		return false;
	entry->score = round_down(low);
	raise_floor(select, entry);
	entry->score = round_up_float(high);
	select->candidates[select->candidate_count++] = *entry;
	if (select->candidate_count < select->candidate_max)
		return false;
	sweep(select);
	/* A sweep that frees little would be repeated for every few rows. */
	return select->candidate_count > select->candidate_max / 2;
}

/* A subject that already has a higher score than this template can reach. */
static bool outdone(struct lineup_select *select, const struct lineup_entry *candidate)
{
	const struct lineup_entry *known = select->exact.distinct ? find_same(&select->exact, candidate) : NULL;

	return known && known->score > candidate->score;
}

int lineup_select_rerank(struct lineup_select *select, lineup_score_fn *score, lineup_soon_fn *soon, void *arg)
{
	uint32_t asked = 0;

	sweep(select);
	qsort(select->candidates, select->candidate_count, sizeof(*select->candidates), best_first);
	for (uint32_t i = 0; i < select->candidate_count; i++) {
		struct lineup_entry entry = select->candidates[i];
		int err;

		if (entry.score < select->floor)
			break;
		if (outdone(select, &entry))
			continue;
		if (i >= asked) {
			uint32_t left = select->candidate_count - i, ahead = left < SOON ? left : SOON;

			soon(arg, &select->candidates[i], ahead);
			asked = i + ahead;
		}
		err = score(arg, &entry, &entry.score);
		if (err) { /* the search fails; other threads may still put until they notice */
			select->candidate_count = 0;
			return err;
		}
		select->reranked++;
		if (entry.score < select->threshold)
			continue;
		lineup_topk_put(&select->exact, &entry);
		raise_floor(select, &entry);
	}
	select->candidate_count = 0;
	return 0;
}
