// SPDX-License-Identifier: MIT
// A share on GPUs: passes over a base that the devices keep, while the crew scans what is not in it.
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "share.h"

/*
 * The base is the parts of one view, in a searcher of their own. A probe that gets a seat from here is scanned for on
 * the devices over the base, in a pass with whoever else waits and asks for the same, and by the crew over the parts
 * that are new since, and the journal. Rows that were deleted since the base was made are dropped when the devices
 * report them, and as many more are asked for. What a base cannot serve, the crew scans alone: queries for some subjects
 * only, states without a part of the base, those who ask while a base is made, and all of them if the devices are lost.
 */
enum {
	GONE_MAX = 256,            /* rows deleted since, before a new base is due */
	UNCOVERED_ROWS_MAX = 1 << 16, /* rows of new parts, or a sixteenth of the base: likewise */
};

struct lineup_gpu_share {
	struct lineup_share *share;
	pthread_t thread;
	bool started, stop;
	pthread_cond_t work;
	struct lineup_share_setup setup;
	char *backend, *devices;         /* the setup's, kept */
	/* The base: usable means that probes may join it. */
	bool usable;
	bool lost;                       /* for good */
	struct lineup_share_view *view;
	struct lineup_searcher *searcher;
	const uint8_t **deleted;         /* [segment_count] of the pass */
	uint32_t seats;                  /* that scan over it, or over what is beside it */
	/* The pass. */
	struct lineup_share_seat **batch; /* [probes_max] */
	uint32_t count;
};

/* ---- what a base can serve ---- */

/* Rows of the base that the view knows to be deleted and the devices do not; UINT64_MAX: it has not all parts. */
static uint64_t gone_since(const struct lineup_gpu_share *gpu, const struct lineup_share_view *view)
{
	uint64_t gone = 0;

	assert(gpu->searcher && gpu->view);
	for (uint32_t i = 0; i < gpu->view->part_count; i++) {
		uint32_t slot = gpu->view->parts[i]->slot, index = slot < view->slots ? view->segment_of[slot] : LINEUP_SHARE_NONE;
		uint64_t there = gpu->searcher->snapshot->segments[i].rows_deleted;

		if (index == LINEUP_SHARE_NONE || view->snapshot->segments[index].rows_deleted < there)
			return UINT64_MAX;
		gone += view->snapshot->segments[index].rows_deleted - there;
	}
	return gone;
}

bool lineup_share_gpu_takes(const struct lineup_share *share, const struct lineup_share_request *r)
{
	const struct lineup_gpu_share *gpu = share->gpu;

	return gpu && gpu->usable && !r->query.subjects && gone_since(gpu, r->view) <= GONE_MAX;
}

static bool base_is_old(const struct lineup_gpu_share *gpu)
{
	const struct lineup_share_view *view = gpu->share->newest;
	uint64_t limit, gone;

	if (gpu->view == view)
		return false;
	limit = gpu->view->rows / 16 > UNCOVERED_ROWS_MAX ? gpu->view->rows / 16 : UNCOVERED_ROWS_MAX;
	gone = gone_since(gpu, view);
	return gone > GONE_MAX || view->rows - gpu->view->rows > limit;
}

/* ---- making it ---- */

static void cover(struct lineup_gpu_share *gpu, bool covered)
{
	for (uint32_t i = 0; gpu->view && i < gpu->view->part_count; i++)
		gpu->view->parts[i]->covered = covered;
}

static struct lineup_search_setup searcher_setup(const struct lineup_gpu_share *gpu)
{
	const struct lineup_share_setup *setup = &gpu->setup;

	return (struct lineup_search_setup){
		.size = sizeof(struct lineup_search_setup),
		.threads = lineup_crew_threads(gpu->share->crew),
		.backend = gpu->backend,
		.residency = setup->residency,
		.probes_max = setup->probes_max,
		.memory_max = setup->memory_max,
		.stream_bytes = setup->stream_bytes,
		.k_max = setup->k_max,
		.candidates_max = setup->candidates_max,
		.devices = gpu->devices,
		.device_memory_max = setup->device_memory_max,
	};
}

/* A searcher over the parts of @view; nothing is locked. */
static int make_searcher(struct lineup_gpu_share *gpu, struct lineup_share_view *view, struct lineup_searcher **searcher)
{
	struct lineup_search_setup setup = searcher_setup(gpu);
	struct lineup_snapshot *snapshot;
	int err = lineup_snapshot_some(view->snapshot, 0, view->journal_first, true, &snapshot);

	if (err)
		return lineup_fail(gpu->share->ctx, err, "share: no memory for a state of the gallery");
	return lineup_searcher_create_over(snapshot, &setup, GONE_MAX, searcher);
}

/* With the mutex held: the crew serves all until there is a base again. */
static void drop_base(struct lineup_gpu_share *gpu)
{
	struct lineup_share *share = gpu->share;
	struct lineup_searcher *searcher;

	gpu->usable = false;
	while (gpu->seats)
		pthread_cond_wait(&share->changed, &share->mutex);
	cover(gpu, false);
	share->stream_stale = true;
	lineup_share_view_put(share, gpu->view);
	gpu->view = NULL;
	searcher = gpu->searcher;
	gpu->searcher = NULL;
	lineup_share_unlock(share);
	lineup_searcher_destroy(searcher);
	free(gpu->deleted);
	gpu->deleted = NULL;
	pthread_mutex_lock(&share->mutex);
}

/* With the mutex held, which it gives up: a base of the newest view. */
static int make_base(struct lineup_gpu_share *gpu)
{
	struct lineup_share *share = gpu->share;
	struct lineup_share_view *view = share->newest;
	struct lineup_searcher *searcher = NULL;
	int err;

	view->references++;
	lineup_share_unlock(share);
	err = make_searcher(gpu, view, &searcher);
	if (!err) {
		gpu->deleted = calloc(view->part_count + 1, sizeof(*gpu->deleted));
		err = gpu->deleted ? 0 : lineup_fail(share->ctx, -ENOMEM, "share: no memory");
	}
	pthread_mutex_lock(&share->mutex);
	if (err || !searcher->gpus) {
		lineup_share_view_put(share, view);
		pthread_mutex_unlock(&share->mutex);
		lineup_searcher_destroy(searcher);
		free(gpu->deleted);
		gpu->deleted = NULL;
		pthread_mutex_lock(&share->mutex);
		return err ? err : -ENODEV;
	}
	gpu->view = view; /* the reference stays with it */
	gpu->searcher = searcher;
	cover(gpu, true);
	gpu->usable = true;
	return 0;
}

static void lose(struct lineup_gpu_share *gpu)
{
	gpu->lost = true;
	lineup_warn(gpu->share->ctx, "share: the GPUs cannot be used any more: the CPU takes over");
}

/* ---- a pass ---- */

/* Who can share a pass: devices count and compare the same rows for all of its probes. */
static bool same_pass(const struct lineup_share_request *a, const struct lineup_share_request *b)
{
	return a->view == b->view && a->now == b->now && a->query.options.per == b->query.options.per &&
	       a->query.options.lists == b->query.options.lists;
}

/* The waiting probes that are next, as long as they ask for the same. */
static void gather(struct lineup_gpu_share *gpu)
{
	struct lineup_share *share = gpu->share;
	struct lineup_share_request *first = NULL;
	uint32_t most = gpu->searcher->probes_max < share->probes_max ? gpu->searcher->probes_max : share->probes_max;

	struct lineup_gpus_facts facts;

	gpu->count = 0;
	while (gpu->count < most && share->waiting && share->seats_free && share->member_count < share->probes_max) {
		struct lineup_share_request *r = lineup_share_queue_first(share);

		if ((first && !same_pass(first, r)) || !lineup_share_gpu_takes(share, r))
			break;
		first = r;
		gpu->batch[gpu->count++] = lineup_share_join(share, r, true);
		gpu->seats++;
	}
	lineup_share_begin_journals(share, gpu->batch, gpu->count);
	lineup_gpus_facts(gpu->searcher->gpus, &facts);
	for (uint32_t i = 0; i < gpu->count; i++) {
		struct lineup_share_request *r = gpu->batch[i]->request;

		r->most = r->most < gpu->count ? gpu->count : r->most;
		r->backend = facts.backend;
		r->devices = facts.devices;
	}
}

static void fill_probes(struct lineup_gpu_share *gpu)
{
	struct lineup_probe_set *set = &gpu->searcher->probes;

	set->count = gpu->count;
	set->tiles = (gpu->count + LINEUP_PROBE_TILE - 1) / LINEUP_PROBE_TILE;
	for (uint32_t i = 0; i < gpu->count; i++) {
		const struct lineup_share_seat *seat = gpu->batch[i];

		lineup_share_pack(set, i, seat);
		memcpy(set->vectors + (size_t)i * set->dim, seat->request->vectors + seat->row * set->dim, set->dim * sizeof(float));
	}
}

/* What the probes of the pass have in common, and the least strict of what they have not. */
static struct lineup_search_options common_options(const struct lineup_gpu_share *gpu)
{
	struct lineup_search_options options = gpu->batch[0]->request->query.options;

	for (uint32_t i = 1; i < gpu->count; i++) {
		const struct lineup_search_options *o = &gpu->batch[i]->request->query.options;

		options.k = o->k > options.k ? o->k : options.k;
		options.flags &= o->flags;
		options.threshold = o->threshold < options.threshold ? o->threshold : options.threshold;
	}
	return options;
}

/* Runs the pass of the batch; nothing is locked. Views and seats stay as they are meanwhile. */
static int run_pass(struct lineup_gpu_share *gpu)
{
	const struct lineup_share_view *view = gpu->batch[0]->request->view;
	struct lineup_search_options options = common_options(gpu);
	struct lineup_searcher *s = gpu->searcher;
	double scan = 0, rerank = 0;
	int err;

	for (uint32_t i = 0; i < gpu->view->part_count; i++)
		gpu->deleted[i] = view->snapshot->segments[view->segment_of[gpu->view->parts[i]->slot]].deleted;
	s->deleted = gpu->deleted;
	s->k_more = (uint32_t)gone_since(gpu, view);
	s->options = &options;
	s->now = gpu->batch[0]->request->now;
	s->batch = gpu->count;
	s->candidates = NULL;
	s->counts = NULL;
	atomic_store(&s->error, 0);
	fill_probes(gpu);
	err = lineup_searcher_pass(s, &scan, &rerank);
	s->options = NULL;
	s->deleted = NULL;
	lineup_probe_set_erase(&s->probes);
	return err;
}

/* What the devices found joins what the crew finds: scores are known already, and decide with the others. */
static int hand_over(struct lineup_gpu_share *gpu, uint32_t i)
{
	const struct lineup_topk *found = &gpu->searcher->selects[i].exact;
	struct lineup_share_seat *seat = gpu->batch[i];
	const struct lineup_share_view *view = seat->request->view;
	struct lineup_select *select = &seat->select;
	struct lineup_rerank rerank = {
		.ctx = gpu->share->ctx,
		.snapshot = view->snapshot,
		.score = gpu->share->score,
		.record = gpu->searcher->workers[0].record,
		.vector = gpu->searcher->workers[0].vector,
		.probe = seat->request->vectors + seat->row * gpu->share->dim,
	};
	int err = 0;

	pthread_mutex_lock(&select->mutex);
	for (uint32_t e = 0; e < found->count && !err; e++) {
		struct lineup_entry entry = found->heap[e];
		double score = (double)entry.score;

		entry.segment = view->segment_of[gpu->view->parts[entry.segment]->slot];
		if (lineup_select_put(select, &entry, score, score))
			err = lineup_rerank_select(&rerank, select);
	}
	select->reranked += gpu->searcher->selects[i].reranked;
	atomic_store_explicit(&seat->threshold, lineup_scan_threshold(select->floor), memory_order_relaxed);
	pthread_mutex_unlock(&select->mutex);
	return err;
}

static void count_pass(struct lineup_gpu_share *gpu)
{
	struct lineup_share *share = gpu->share;
	const struct lineup_snapshot *snapshot = gpu->searcher->snapshot;

	for (uint32_t i = 0; i < snapshot->segment_count; i++) {
		const struct lineup_segment *segment = &snapshot->segments[i];

		share->stats.bytes_scanned += segment->block_count * segment->shape.block_bytes;
	}
	for (uint32_t i = 0; i < gpu->searcher->threads; i++)
		gpu->searcher->workers[i].rows_scanned = 0;
	share->stats.rows_scanned += snapshot->rows;
	share->stats.comparisons += snapshot->rows * gpu->count;
	share->stats.bytes_read += gpu->searcher->stream ? lineup_stream_pass_bytes(gpu->searcher->stream) : 0;
	share->stats.revolutions++;
}

static void pass(struct lineup_gpu_share *gpu)
{
	struct lineup_share *share = gpu->share;
	char message[LINEUP_SHARE_MESSAGE_BYTES] = "";
	int err;

	gather(gpu);
	if (!gpu->count)
		return;
	lineup_share_unlock(share);
	err = run_pass(gpu);
	if (err)
		snprintf(message, sizeof(message), "a pass over the gallery on the GPUs failed: %s", strerror(-err));
	for (uint32_t i = 0; i < gpu->count && !err; i++) {
		err = hand_over(gpu, i);
		if (err)
			snprintf(message, sizeof(message), "%s", lineup_errors_text());
	}
	pthread_mutex_lock(&share->mutex);
	if (!err)
		count_pass(gpu);
	for (uint32_t i = 0; i < gpu->count; i++) {
		if (err)
			lineup_share_request_fail(share, gpu->batch[i]->request, err, message);
		lineup_share_left_device(share, gpu->batch[i]);
	}
	if (!gpu->searcher->gpus) /* lost: this pass was finished by the CPU */
		lose(gpu);
}

/* ---- the thread ---- */

static bool can_join(struct lineup_share *share)
{
	return share->waiting && share->seats_free && share->member_count < share->probes_max &&
	       lineup_share_gpu_takes(share, lineup_share_queue_first(share));
}

static void *gpu_main(void *arg)
{
	struct lineup_gpu_share *gpu = arg;
	struct lineup_share *share = gpu->share;

	pthread_mutex_lock(&share->mutex);
	while (!gpu->stop) {
		if (gpu->lost && gpu->searcher)
			drop_base(gpu);
		else if (gpu->usable && base_is_old(gpu))
			drop_base(gpu);
		else if (!gpu->lost && !gpu->searcher && make_base(gpu))
			lose(gpu);
		else if (can_join(share))
			pass(gpu);
		else
			pthread_cond_wait(&gpu->work, &share->mutex);
		lineup_share_unlock(share);
		pthread_mutex_lock(&share->mutex);
	}
	pthread_mutex_unlock(&share->mutex);
	return NULL;
}

void lineup_share_gpu_call(struct lineup_share *share)
{
	if (share->gpu)
		pthread_cond_signal(&share->gpu->work);
}

void lineup_share_gpu_seat_freed(struct lineup_share *share)
{
	if (!--share->gpu->seats)
		pthread_cond_broadcast(&share->changed);
}

struct lineup_searcher *lineup_share_gpu_searcher(const struct lineup_share *share)
{
	return share->gpu ? share->gpu->searcher : NULL;
}

void lineup_share_gpu_stats(const struct lineup_share *share, struct lineup_share_stats *stats)
{
	struct lineup_gpus_facts facts;

	if (!share->gpu || !share->gpu->searcher || !share->gpu->searcher->gpus)
		return;
	lineup_gpus_facts(share->gpu->searcher->gpus, &facts);
	stats->backend = facts.backend;
	stats->devices = facts.devices;
	stats->resident_bytes += facts.bytes_retained;
	stats->resident = facts.rows_retained == share->gpu->searcher->snapshot->rows;
}

/* ---- set-up ---- */

static bool is_auto(const char *name)
{
	return !name || !strcmp(name, "auto");
}

static int start(struct lineup_gpu_share *gpu)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&gpu->thread, NULL, gpu_main, gpu);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	gpu->started = !err;
	return err ? lineup_fail(gpu->share->ctx, err, "share: no thread for the GPUs: %s", strerror(-err)) : 0;
}

int lineup_share_gpu_create(struct lineup_share *share, const struct lineup_share_setup *setup, const char **cpu)
{
	bool named = !is_auto(setup->backend) || !is_auto(setup->devices);
	struct lineup_gpu_share *gpu;
	int err;

	*cpu = setup->backend;
	if (!is_auto(setup->backend) && strncmp(setup->backend, "vulkan", strlen("vulkan")) != 0)
		return setup->devices ? lineup_fail(share->ctx, -EINVAL, "share: devices are named, but the backend %s runs on the CPU",
						    setup->backend) : 0;
	*cpu = NULL;
	if (!named && lineup_gpus_why_not(share->ctx))
		return 0;
	gpu = calloc(1, sizeof(*gpu));
	share->gpu = gpu;
	if (!gpu)
		return lineup_fail(share->ctx, -ENOMEM, "share: no memory");
	gpu->share = share;
	gpu->setup = *setup;
	pthread_cond_init(&gpu->work, NULL);
	gpu->backend = setup->backend ? strdup(setup->backend) : NULL;
	gpu->devices = setup->devices ? strdup(setup->devices) : NULL;
	gpu->batch = calloc(share->probes_max, sizeof(*gpu->batch));
	if (!gpu->batch || (setup->backend && !gpu->backend) || (setup->devices && !gpu->devices))
		return lineup_fail(share->ctx, -ENOMEM, "share: no memory");
	pthread_mutex_lock(&share->mutex);
	err = make_base(gpu);
	pthread_mutex_unlock(&share->mutex);
	if (!err)
		return start(gpu);
	if (named)
		return err;
	lineup_share_gpu_destroy(share); /* nobody asked for one */
	return 0;
}

void lineup_share_gpu_destroy(struct lineup_share *share)
{
	struct lineup_gpu_share *gpu = share->gpu;

	if (!gpu)
		return;
	pthread_mutex_lock(&share->mutex);
	gpu->stop = true;
	pthread_cond_signal(&gpu->work);
	pthread_mutex_unlock(&share->mutex);
	if (gpu->started)
		pthread_join(gpu->thread, NULL);
	pthread_mutex_lock(&share->mutex);
	if (gpu->searcher)
		drop_base(gpu);
	share->gpu = NULL;
	pthread_mutex_unlock(&share->mutex);
	pthread_cond_destroy(&gpu->work);
	free(gpu->batch);
	free(gpu->backend);
	free(gpu->devices);
	free(gpu);
}
