// SPDX-License-Identifier: MIT
// Requests: a query checked and packed, how it fails, and the answer it gets.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "share.h"

static int check_query(struct lineup_share *share, const struct lineup_share_query *user, struct lineup_share_query *query)
{
	struct lineup_ctx *ctx = share->ctx;
	int err = lineup_options_copy(ctx, "lineup_share_query", query, sizeof(*query), user);

	if (!err)
		err = lineup_options_copy(ctx, "lineup_search_options", &query->options, sizeof(query->options), &user->options);
	if (err)
		return err;
	if (query->reserved)
		return lineup_fail(ctx, -EINVAL, "lineup_share_query: reserved must be zero");
	if (!query->done)
		return lineup_fail(ctx, -EINVAL, "lineup_share_query: nobody is to be told the answer");
	if (query->priority > LINEUP_PRIORITY_MAX)
		return lineup_fail(ctx, -EINVAL, "share: priority %u: the limit is %d", query->priority, LINEUP_PRIORITY_MAX);
	err = lineup_probe_check(ctx, &query->probes, share->dim);
	if (!err && query->probes.rows > (uint64_t)share->probes_max + share->waiting_max)
		err = lineup_fail(ctx, -EINVAL, "share: %llu probes in a query: the limit is %llu", (unsigned long long)query->probes.rows,
				  (unsigned long long)share->probes_max + share->waiting_max);
	return err;
}

static int allocate(struct lineup_share *share, struct lineup_share_request *r)
{
	size_t vectors = round_up(r->rows * share->dim * sizeof(*r->vectors), 64), codes = round_up(r->rows * share->groups * 4, 64);
	size_t sums = round_up(r->rows * sizeof(*r->code_sum), 64), scales = round_up(r->rows * sizeof(*r->scale), 64);
	size_t bounds = round_up(r->rows * sizeof(*r->c0), 64);
	uint8_t *p;

	r->secret_bytes = vectors + codes + sums + scales + 2 * bounds;
	r->secret = lineup_secret_alloc(share->ctx, r->secret_bytes);
	r->candidates = calloc(r->rows * r->query.options.k + 1, sizeof(*r->candidates));
	r->counts = calloc(r->rows + 1, sizeof(*r->counts));
	r->client_spare = calloc(1, sizeof(*r->client_spare));
	if (!r->secret || !r->candidates || !r->counts || !r->client_spare)
		return lineup_fail(share->ctx, -ENOMEM, "share: no memory for %llu probes", (unsigned long long)r->rows);
	p = r->secret;
	r->vectors = (float *)p;
	r->codes = (int8_t *)(p += vectors);
	r->code_sum = (int32_t *)(p += codes);
	r->scale = (float *)(p += sums);
	r->c0 = (double *)(p += scales);
	r->c1 = (double *)(p + bounds);
	return 0;
}

static int pack(struct lineup_share *share, struct lineup_share_request *r)
{
	for (uint64_t row = 0; row < r->rows; row++) {
		float *vector = r->vectors + row * share->dim, resid;
		int8_t *codes = r->codes + row * share->groups * 4;
		enum lineup_row_fault fault = lineup_probe_normalise(&r->query.probes, row, vector);

		if (fault != LINEUP_ROW_OK)
			return lineup_fail(share->ctx, -EINVAL, "probes: row %llu %s", (unsigned long long)row, lineup_row_fault_text(fault));
		lineup_probe_quantise(vector, share->dim, codes, &r->scale[row], &resid);
		for (uint32_t i = 0; i < share->dim; i++)
			r->code_sum[row] += codes[i];
		lineup_probe_bounds(resid, share->norm_max, &r->c0[row], &r->c1[row]);
	}
	r->query.probes.data = NULL; /* the caller's */
	return 0;
}

int lineup_share_request_create(struct lineup_share *share, const struct lineup_share_query *user, struct lineup_share_request **request)
{
	struct lineup_share_request *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return lineup_fail(share->ctx, -ENOMEM, "share: no memory");
	r->begin = lineup_share_now();
	err = check_query(share, user, &r->query);
	/* How many lists there are is known with the view. */
	if (!err)
		err = lineup_search_check(share->ctx, &r->query.options, share->k_max, LINEUP_LISTS_MAX);
	r->rows = r->left = r->query.probes.rows;
	r->now = r->query.options.now ? r->query.options.now : (int64_t)time(NULL);
	if (!err)
		err = allocate(share, r);
	if (!err)
		err = pack(share, r);
	if (err) {
		lineup_share_request_free(r);
		return err;
	}
	*request = r;
	return 0;
}

void lineup_share_request_free(struct lineup_share_request *r)
{
	if (!r)
		return;
	lineup_secret_free(r->secret, r->secret_bytes);
	if (r->candidates)
		explicit_bzero(r->candidates, r->rows * r->query.options.k * sizeof(*r->candidates));
	free(r->candidates);
	free(r->counts);
	free(r->client_spare);
	free(r);
}

void lineup_share_request_done(struct lineup_share *share, struct lineup_share_request *r, uint64_t rows)
{
	r->left -= rows;
	if (r->left)
		return;
	r->behind = NULL;
	*share->ended_tail = r;
	share->ended_tail = &r->behind;
}

void lineup_share_request_fail(struct lineup_share *share, struct lineup_share_request *r, int err, const char *message)
{
	uint64_t waiting = r->client ? r->rows - r->joined : 0;

	if (r->err || !r->left)
		return;
	r->err = err;
	snprintf(r->message, sizeof(r->message), "%s", message ? message : strerror(-err));
	if (err == -ECANCELED)
		share->stats.cancelled++;
	else
		share->stats.failed++;
	lineup_share_queue_remove(share, r);
	if (r->joined)
		share->cull = true;
	if (waiting)
		lineup_share_request_done(share, r, waiting);
}

static void say(const struct lineup_share *share, const struct lineup_share_request *r, struct lineup_share_answer *answer)
{
	const struct lineup_snapshot *snapshot = r->view->snapshot;
	struct lineup_search_facts *facts = &answer->facts;

	answer->err = r->err;
	answer->message = r->err ? r->message : NULL;
	answer->candidates = r->candidates;
	answer->counts = r->err ? NULL : r->counts;
	answer->rows = r->rows;
	answer->k = r->query.options.k;
	answer->probes_most = r->most;
	memcpy(facts->gallery_digest, snapshot->digest, sizeof(facts->gallery_digest));
	facts->sequence = snapshot->sequence;
	facts->rows = snapshot->rows;
	facts->rows_scanned = r->joins * snapshot->rows;
	facts->rows_reranked = r->reranked;
	facts->bytes_read = r->read;
	facts->passes = r->joins;
	facts->threads = lineup_crew_threads(share->crew);
	facts->resident = !share->stream && !r->read;
	facts->backend = r->backend ? r->backend : share->score->name;
	facts->devices = r->devices;
	facts->io = share->stats.io;
	facts->seconds = lineup_share_now() - r->begin;
	facts->seconds_scan = r->scan_end - r->scan_begin;
	facts->seconds_rerank = r->seconds_rerank;
}

bool lineup_share_request_answer(struct lineup_share *share)
{
	struct lineup_share_request *r = share->ended;
	struct lineup_share_answer answer = { 0 };

	if (!r)
		return false;
	share->ended = r->behind;
	if (!share->ended)
		share->ended_tail = &share->ended;
	say(share, r, &answer);
	share->answering++;
	lineup_share_unlock(share);
	r->query.done(r->query.arg, &answer);
	pthread_mutex_lock(&share->mutex);
	share->answering--;
	if (r->prev)
		r->prev->next = r->next;
	else
		share->requests = r->next;
	if (r->next)
		r->next->prev = r->prev;
	lineup_share_view_put(share, r->view);
	if (!share->requests) {
		share->stats.seconds_busy += lineup_share_now() - share->busy_begin;
		pthread_cond_broadcast(&share->changed);
	}
	pthread_mutex_unlock(&share->mutex);
	lineup_share_request_free(r);
	pthread_mutex_lock(&share->mutex);
	return true;
}
