// SPDX-License-Identifier: MIT
// The share: set-up and end, submitting and cancelling, and whether there is work for the crew.
#include "share.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

double lineup_share_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool has_work(struct lineup_share *share)
{
	bool joinable = share->waiting && share->seats_free && share->member_count < share->probes_max &&
			!lineup_share_gpu_takes(share, lineup_share_queue_first(share));

	return share->ended || share->finishing || share->cull || share->journals || joinable || (share->member_count && !share->fetching);
}

void lineup_share_unlock(struct lineup_share *share)
{
	bool ready = has_work(share);

	if (share->waiting)
		lineup_share_gpu_call(share);
	atomic_store(&share->job.ready, ready);
	pthread_mutex_unlock(&share->mutex);
	if (ready)
		lineup_crew_call(share->crew, false);
}

/* ---- set-up ---- */

static int check_setup(struct lineup_ctx *ctx, struct lineup_share_setup *setup)
{
	if (setup->reserved)
		return lineup_fail(ctx, -EINVAL, "lineup_share_setup: reserved must be zero");
	if (setup->residency > LINEUP_STREAMED)
		return lineup_fail(ctx, -EINVAL, "share: residency %d is not known", (int)setup->residency);
	if (setup->probes_max > LINEUP_PROBES_MAX)
		return lineup_fail(ctx, -EINVAL, "share: %u probes that scan together: the limit is %d", setup->probes_max, LINEUP_PROBES_MAX);
	if (setup->waiting_max > LINEUP_SHARE_WAITING_MAX)
		return lineup_fail(ctx, -EINVAL, "share: %u probes that wait: the limit is %d", setup->waiting_max, LINEUP_SHARE_WAITING_MAX);
	if (setup->k_max > LINEUP_K_MAX)
		return lineup_fail(ctx, -EINVAL, "share: k_max is %u: the limit is %d", setup->k_max, LINEUP_K_MAX);
	if (setup->candidates_max > LINEUP_STATE_BYTES_MAX / (2 * sizeof(struct lineup_entry)))
		return lineup_fail(ctx, -EINVAL, "share: candidates_max is %u: the limit is %zu", setup->candidates_max,
				   LINEUP_STATE_BYTES_MAX / (2 * sizeof(struct lineup_entry)));
	setup->probes_max = setup->probes_max ? setup->probes_max : LINEUP_SHARE_PROBES_DEFAULT;
	setup->waiting_max = setup->waiting_max ? setup->waiting_max : LINEUP_SHARE_WAITING_DEFAULT;
	setup->k_max = setup->k_max ? setup->k_max : LINEUP_K_MAX;
	setup->candidates_max = setup->candidates_max ? setup->candidates_max : LINEUP_CANDIDATES_DEFAULT;
	return 0;
}

/*
 * Twice as many as scan together, so that others scan while some are re-ranked. The entries are for the largest k: pages
 * that no smaller k touches are never there, which huge ones would be.
 */
static int create_seats(struct lineup_share *share)
{
	uint32_t count = 2 * share->probes_max;
	size_t each = 2 * (size_t)share->k_max + share->candidates_max;
	void *p;

	share->entries_bytes = count * each * sizeof(*share->entries);
	p = mmap(NULL, share->entries_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	share->entries = p == MAP_FAILED ? NULL : p;
	share->seats = calloc(count, sizeof(*share->seats));
	share->members = calloc(share->probes_max, sizeof(*share->members));
	share->joiners = calloc(share->probes_max, sizeof(*share->joiners));
	share->active = calloc(lineup_crew_threads(share->crew), sizeof(*share->active));
	if (!share->entries || !share->seats || !share->members || !share->joiners || !share->active)
		return -ENOMEM;
	madvise(share->entries, share->entries_bytes, MADV_NOHUGEPAGE);
	for (; share->seats_ready < count; share->seats_ready++) {
		struct lineup_share_seat *seat = &share->seats[share->seats_ready];
		struct lineup_entry *entries = share->entries + share->seats_ready * each;

		pthread_mutex_init(&seat->select.mutex, NULL);
		seat->select.bounds.heap = entries;
		seat->select.exact.heap = entries + share->k_max;
		seat->select.candidates = entries + 2 * (size_t)share->k_max;
		seat->select.candidate_max = share->candidates_max;
		seat->next = share->seats_free;
		share->seats_free = seat;
	}
	for (uint32_t i = 0; i < lineup_crew_threads(share->crew); i++)
		share->active[i] = UINT64_MAX;
	return 0;
}

/* The gallery changed while nobody searched: what it dropped is let go of. */
static void rest(struct lineup_crew_job *job)
{
	struct lineup_share *share = (struct lineup_share *)job;
	struct lineup_share_view *view;
	bool stale = false;

	if (lineup_share_view_get(share, &view))
		return;
	pthread_mutex_lock(&share->mutex);
	lineup_share_view_put(share, view);
	for (const struct lineup_share_part *part = share->circle; part; part = part->next)
		stale = stale || (part->in_stream && !part->views);
	if (stale && !share->requests && !share->fetching && !share->taken)
		lineup_share_stream_end(share);
	lineup_share_gpu_call(share);
	lineup_share_unlock(share);
	lineup_share_trash_empty(share);
}

static void init(struct lineup_share *share, struct lineup_crew *crew, struct lineup_gallery *gallery, const struct lineup_share_setup *setup)
{
	share->ctx = lineup_crew_ctx(crew);
	share->crew = crew;
	share->gallery = gallery;
	share->probes_max = setup->probes_max;
	share->waiting_max = setup->waiting_max;
	share->k_max = setup->k_max;
	share->candidates_max = setup->candidates_max;
	share->residency = setup->residency;
	share->stream_bytes = setup->stream_bytes;
	share->memory_max = setup->memory_max;
	share->ended_tail = &share->ended;
	share->leaving_tail = &share->leaving;
	share->finishing_tail = &share->finishing;
	share->journals_tail = &share->journals;
	share->job.work = lineup_share_work;
	share->job.rest = rest;
	share->stats.io = "memory";
	pthread_mutex_init(&share->mutex, NULL);
	pthread_cond_init(&share->changed, NULL);
}

static int create(struct lineup_share *share, const struct lineup_share_setup *setup)
{
	struct lineup_share_view *view;
	const char *cpu;
	int err = create_seats(share);

	if (err)
		return lineup_fail(share->ctx, err, "share: no memory for %u probes", share->probes_max);
	err = lineup_share_view_get(share, &view);
	if (err)
		return err;
	share->dim = view->snapshot->dim;
	share->store = view->snapshot->store;
	share->groups = (share->dim + 3) / 4;
	share->norm_max = share->store == LINEUP_STORE_FLOAT16 ? LINEUP_NORM_MAX_FLOAT16 : LINEUP_NORM_MAX_FLOAT32;
	err = lineup_share_gpu_create(share, setup, &cpu);
	if (!err) /* with GPUs the crew re-ranks, scans what they cannot, and is there to take over */
		err = lineup_score_choose(share->ctx, cpu, &share->score);
	if (!err && share->residency == LINEUP_RESIDENT && !share->gpu)
		err = lineup_share_load(share);
	pthread_mutex_lock(&share->mutex);
	lineup_share_view_put(share, view);
	pthread_mutex_unlock(&share->mutex);
	return err;
}

static void destroy(struct lineup_share *share)
{
	lineup_share_gpu_destroy(share);
	lineup_share_stream_end(share);
	lineup_share_view_put(share, share->newest);
	lineup_share_trash_empty(share);
	lineup_share_epoch_put(share, share->epoch);
	lineup_share_epochs_free(share);
	for (uint32_t i = 0; i < share->seats_ready; i++)
		pthread_mutex_destroy(&share->seats[i].select.mutex);
	if (share->entries)
		munmap(share->entries, share->entries_bytes);
	free(share->seats);
	free(share->members);
	free(share->joiners);
	free(share->active);
	free(share->part_by_slot);
	pthread_cond_destroy(&share->changed);
	pthread_mutex_destroy(&share->mutex);
	free(share);
}

int lineup_share_create(struct lineup_crew *crew, struct lineup_gallery *gallery, const struct lineup_share_setup *user,
			struct lineup_share **out)
{
	struct lineup_ctx *ctx = lineup_crew_ctx(crew);
	struct lineup_share_setup setup;
	struct lineup_share *share;
	int err = lineup_options_copy(ctx, "lineup_share_setup", &setup, sizeof(setup), user);

	if (!err)
		err = check_setup(ctx, &setup);
	if (err)
		return err;
	share = calloc(1, sizeof(*share));
	if (!share)
		return lineup_fail(ctx, -ENOMEM, "share: no memory");
	init(share, crew, gallery, &setup);
	err = create(share, &setup);
	if (err) {
		destroy(share);
		return err;
	}
	lineup_crew_add(crew, &share->job);
	*out = share;
	return 0;
}

void lineup_share_destroy(struct lineup_share *share)
{
	if (!share)
		return;
	pthread_mutex_lock(&share->mutex);
	share->closing = true;
	for (struct lineup_share_request *r = share->requests; r; r = r->next)
		lineup_share_request_fail(share, r, -ECANCELED, "the search was ended before it was done");
	lineup_share_unlock(share);
	pthread_mutex_lock(&share->mutex);
	while (share->requests)
		pthread_cond_wait(&share->changed, &share->mutex);
	pthread_mutex_unlock(&share->mutex);
	lineup_share_gpu_destroy(share); /* which calls the crew */
	lineup_crew_remove(share->crew, &share->job);
	destroy(share);
}

/* ---- queries ---- */

/* With the mutex held. The request is the share's when it returns 0. */
static int accept(struct lineup_share *share, struct lineup_share_request *r)
{
	if (share->closing)
		return -ECANCELED;
	if (share->member_count + share->waiting + r->rows > (uint64_t)share->probes_max + share->waiting_max) {
		share->stats.refused++;
		return -EBUSY;
	}
	if (!share->requests)
		share->busy_begin = r->begin;
	r->ticket = ++share->ticket_next;
	r->next = share->requests;
	if (r->next)
		r->next->prev = r;
	share->requests = r;
	share->stats.queries++;
	share->stats.probes += r->rows;
	if (r->rows)
		lineup_share_queue_add(share, r);
	else
		lineup_share_request_done(share, r, 0);
	return 0;
}

int lineup_share_submit(struct lineup_share *share, const struct lineup_share_query *query, uint64_t *ticket)
{
	struct lineup_share_request *r;
	int err = lineup_share_request_create(share, query, &r);

	if (err)
		return err;
	err = lineup_share_view_get(share, &r->view);
	if (!err)
		err = lineup_search_check(share->ctx, &r->query.options, share->k_max, r->view->snapshot->lists);
	pthread_mutex_lock(&share->mutex);
	if (!err)
		err = accept(share, r);
	if (err)
		lineup_share_view_put(share, r->view);
	else if (ticket)
		*ticket = r->ticket;
	lineup_share_unlock(share);
	if (err)
		lineup_share_request_free(r);
	else
		lineup_crew_call(share->crew, true);
	return err;
}

void lineup_share_cancel(struct lineup_share *share, uint64_t ticket)
{
	pthread_mutex_lock(&share->mutex);
	for (struct lineup_share_request *r = share->requests; r; r = r->next)
		if (r->ticket == ticket)
			lineup_share_request_fail(share, r, -ECANCELED, "cancelled");
	lineup_share_unlock(share);
}

void lineup_share_stats(struct lineup_share *share, struct lineup_share_stats *stats)
{
	pthread_mutex_lock(&share->mutex);
	*stats = share->stats;
	stats->waiting = (uint32_t)share->waiting;
	stats->scanning = (uint32_t)share->scanning;
	if (share->requests)
		stats->seconds_busy += lineup_share_now() - share->busy_begin;
	stats->resident_bytes = share->resident_bytes - share->filling_bytes;
	stats->resident = true;
	for (uint32_t i = 0; share->newest && i < share->newest->part_count; i++)
		stats->resident = stats->resident && lineup_share_part_resident(share->newest->parts[i]);
	stats->backend = share->score->name;
	lineup_share_gpu_stats(share, stats);
	pthread_mutex_unlock(&share->mutex);
}
