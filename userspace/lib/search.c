// SPDX-License-Identifier: MIT
// The searcher: set-up, batches of probes, and the answers they get.
#include "search.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int check_setup(struct lineup_ctx *ctx, struct lineup_search_setup *setup)
{
	if (setup->reserved)
		return lineup_fail(ctx, -EINVAL, "lineup_search_setup: reserved must be zero");
	if (setup->threads > LINEUP_THREADS_MAX)
		return lineup_fail(ctx, -EINVAL, "search: %u threads: the limit is %d", setup->threads, LINEUP_THREADS_MAX);
	if (setup->residency > LINEUP_STREAMED)
		return lineup_fail(ctx, -EINVAL, "search: residency %d is not known", (int)setup->residency);
	if (setup->probes_max > LINEUP_PROBES_MAX)
		return lineup_fail(ctx, -EINVAL, "search: %u probes in a pass: the limit is %d", setup->probes_max, LINEUP_PROBES_MAX);
	if (setup->k_max > LINEUP_K_MAX)
		return lineup_fail(ctx, -EINVAL, "search: k_max is %u: the limit is %d", setup->k_max, LINEUP_K_MAX);
	if (setup->candidates_max > LINEUP_STATE_BYTES_MAX / (2 * sizeof(struct lineup_entry)))
		return lineup_fail(ctx, -EINVAL, "search: candidates_max is %u: the limit is %zu", setup->candidates_max,
				   LINEUP_STATE_BYTES_MAX / (2 * sizeof(struct lineup_entry)));
	setup->threads = setup->threads ? setup->threads : lineup_pool_cpus();
	setup->probes_max = setup->probes_max ? setup->probes_max : LINEUP_PROBES_MAX;
	setup->k_max = setup->k_max ? setup->k_max : LINEUP_K_MAX_DEFAULT;
	setup->candidates_max = setup->candidates_max ? setup->candidates_max : LINEUP_CANDIDATES_DEFAULT;
	return 0;
}

static int create_workers(struct lineup_searcher *s)
{
	struct lineup_gpus_facts gpus = { 0 };
	struct lineup_shape shape;

	lineup_shape_init(&shape, s->snapshot->dim, s->snapshot->store, 1);
	s->record_bytes = shape.record_bytes;
	if (s->gpus)
		lineup_gpus_facts(s->gpus, &gpus);
	s->worker_count = s->threads + gpus.devices;
	s->workers = calloc(s->worker_count, sizeof(*s->workers));
	if (!s->workers)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->worker_count; i++) {
		struct lineup_worker *w = &s->workers[i];

		w->searcher = s;
		w->index = i;
		w->record = aligned_alloc(64, round_up(s->record_bytes, 64));
		w->vector = calloc(s->snapshot->dim, sizeof(*w->vector));
		if (!w->record || !w->vector)
			return -ENOMEM;
	}
	return lineup_pool_create(s->threads, &s->pool);
}

/* As many probes share a pass as their selections fit in LINEUP_STATE_BYTES_MAX. */
static int create_selects(struct lineup_searcher *s, uint32_t probes_max, uint32_t candidates_max)
{
	size_t per_probe = 2 * (size_t)s->k_max + candidates_max;
	size_t fit = LINEUP_STATE_BYTES_MAX / (per_probe * sizeof(*s->entries));

	s->probes_max = fit < probes_max ? (uint32_t)fit : probes_max;
	s->entries = calloc(s->probes_max * per_probe, sizeof(*s->entries));
	s->selects = calloc(s->probes_max, sizeof(*s->selects));
	s->thresholds = calloc(round_up(s->probes_max, LINEUP_PROBE_TILE), sizeof(*s->thresholds));
	if (!s->entries || !s->selects || !s->thresholds)
		return -ENOMEM;
	for (; s->selects_ready < s->probes_max; s->selects_ready++) {
		struct lineup_select *select = &s->selects[s->selects_ready];
		struct lineup_entry *entries = s->entries + s->selects_ready * per_probe;

		pthread_mutex_init(&select->mutex, NULL);
		select->bounds.heap = entries;
		select->exact.heap = entries + s->k_max;
		select->candidates = entries + 2 * (size_t)s->k_max;
		select->candidate_max = candidates_max;
	}
	return 0;
}

static bool anything_on_disk(const struct lineup_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->segment_count; i++)
		if (!snapshot->segments[i].blocks)
			return true;
	return false;
}

/* The stream, and all that works on it or with what it brings. */
static int create_parts(struct lineup_searcher *s, const struct lineup_search_setup *setup)
{
	uint64_t ring = setup->stream_bytes ? setup->stream_bytes : s->gpus ? LINEUP_GPU_STREAM_BYTES : 0;
	int err = 0;

	if (anything_on_disk(s->snapshot))
		err = lineup_stream_create(s->snapshot, ring, NULL, &s->stream);
	if (!err && s->gpus)
		err = lineup_searcher_attach_gpus(s, setup);
	if (err)
		return err;
	err = create_workers(s);
	if (err)
		return lineup_fail(s->ctx, err, "search: no memory or no threads for %u threads: %s", s->threads, strerror(-err));
	return lineup_probe_set_init(s->ctx, &s->probes, (uint32_t)round_up(s->probes_max, LINEUP_PROBE_TILE), s->snapshot->dim);
}

/* Threads and the ring that feed GPUs are made on the GPUs' node. */
static int create_on_node(struct lineup_searcher *s, const struct lineup_search_setup *setup)
{
	cpu_set_t before;
	bool known = !sched_getaffinity(0, sizeof(before), &before);
	int err;

	if (s->gpus && known)
		lineup_gpus_run_on_node(lineup_gpus_node(s->gpus));
	err = create_parts(s, setup);
	if (s->gpus && known)
		sched_setaffinity(0, sizeof(before), &before);
	return err;
}

static int create(struct lineup_searcher *s, const struct lineup_search_setup *setup)
{
	const char *cpu;
	int err = create_selects(s, setup->probes_max, setup->candidates_max);

	if (err)
		return lineup_fail(s->ctx, err, "search: no memory for %u probes", setup->probes_max);
	err = lineup_searcher_open_gpus(s, setup, &cpu);
	if (!err) /* with GPUs it re-ranks, and is there to take over */
		err = lineup_score_choose(s->ctx, cpu, &s->score);
	return err ? err : create_on_node(s, setup);
}

static int load(struct lineup_searcher *s)
{
	int err = s->gpus ? lineup_searcher_load_gpus(s) : lineup_searcher_load(s);

	if (err == -ENOMEM && s->gpus)
		lineup_fail(s->ctx, err, "resident: the gallery does not fit into the devices' memory, or into what they may use of it: search it "
			    "streamed, or leave the choice to the search, which keeps there what fits");
	else if (err == -ENOMEM)
		lineup_fail(s->ctx, err, "resident: the gallery needs %llu MiB, which is over the limit or not to be had: search it streamed",
			    (unsigned long long)lineup_searcher_load_bytes(s) >> 20);
	return err;
}

int lineup_searcher_create(struct lineup_gallery *gallery, const struct lineup_search_setup *setup, struct lineup_searcher **searcher)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(gallery);

	return snapshot ? lineup_searcher_create_over(snapshot, setup, 0, searcher) : -ENOMEM;
}

int lineup_searcher_create_over(struct lineup_snapshot *snapshot, const struct lineup_search_setup *user, uint32_t k_more,
				struct lineup_searcher **searcher)
{
	struct lineup_ctx *ctx = snapshot->ctx;
	struct lineup_search_setup setup;
	struct lineup_searcher *s = NULL;
	int err;

	err = lineup_options_copy(ctx, "lineup_search_setup", &setup, sizeof(setup), user);
	if (!err)
		err = check_setup(ctx, &setup);
	if (err)
		goto out;
	s = calloc(1, sizeof(*s));
	if (!s) {
		err = lineup_fail(ctx, -ENOMEM, "search: no memory");
		goto out;
	}
	s->ctx = ctx;
	s->snapshot = snapshot; /* the reference is the searcher's from here */
	snapshot = NULL;
	s->threads = setup.threads;
	s->residency = setup.residency;
	s->k_max = setup.k_max;
	s->k_more_max = k_more;
	s->memory_max = setup.memory_max;
	s->progress = setup.progress;
	s->progress_arg = setup.progress_arg;
	err = create(s, &setup);
	if (!err && s->residency == LINEUP_RESIDENT)
		err = load(s);
out:
	if (err) {
		lineup_searcher_destroy(s);
		lineup_snapshot_put(snapshot);
		return err;
	}
	*searcher = s;
	return 0;
}

void lineup_searcher_destroy(struct lineup_searcher *s)
{
	if (!s)
		return;
	lineup_gpus_destroy(s->gpus); /* which may read from the ring */
	lineup_pool_destroy(s->pool);
	lineup_stream_destroy(s->stream);
	lineup_searcher_unload(s);
	lineup_probe_set_fini(&s->probes);
	for (uint32_t i = 0; i < s->selects_ready; i++)
		pthread_mutex_destroy(&s->selects[i].mutex);
	for (uint32_t i = 0; s->workers && i < s->worker_count; i++) {
		if (s->workers[i].record) /* a template, which is other people's as well */
			explicit_bzero(s->workers[i].record, s->record_bytes);
		if (s->workers[i].vector)
			explicit_bzero(s->workers[i].vector, s->snapshot->dim * sizeof(*s->workers[i].vector));
		free(s->workers[i].record);
		free(s->workers[i].vector);
	}
	free(s->workers);
	free(s->thresholds);
	free(s->selects);
	free(s->entries);
	lineup_snapshot_put(s->snapshot);
	free(s);
}

int lineup_search_check(struct lineup_ctx *ctx, const struct lineup_search_options *options, uint32_t k_max, uint32_t lists)
{
	if (!options->k || options->k > k_max)
		return lineup_fail(ctx, -EINVAL, "search: k is %u: it must be 1 to %u", options->k, k_max);
	if (options->per != LINEUP_PER_SUBJECT && options->per != LINEUP_PER_TEMPLATE)
		return lineup_fail(ctx, -EINVAL, "search: per %d is not known", (int)options->per);
	if (options->flags & ~(uint32_t)LINEUP_SEARCH_THRESHOLD || options->reserved)
		return lineup_fail(ctx, -EINVAL, "search: unknown flags or a reserved field is set");
	if ((options->flags & LINEUP_SEARCH_THRESHOLD) && isnan(options->threshold))
		return lineup_fail(ctx, -EINVAL, "search: the threshold is not a number");
	if (lists < LINEUP_LISTS_MAX && options->lists >> lists)
		return lineup_fail(ctx, -EINVAL, "search: the list mask names lists past the gallery's %u", lists);
	return 0;
}

/* Resident once a second pass is due, if it was left to the searcher and the memory is there. */
static int settle_residency(struct lineup_searcher *s, uint64_t passes)
{
	int err;

	if (s->gpus || s->residency != LINEUP_RESIDENCY_AUTO || s->is_resident || s->load_refused || !s->stream || s->passes_done + passes < 2)
		return 0;
	err = lineup_searcher_load(s);
	s->load_refused = err == -ENOMEM;
	return s->load_refused ? 0 : err;
}

static void add_facts(struct lineup_searcher *s, struct lineup_search_facts *facts)
{
	struct lineup_gpus_facts gpus = { 0 };

	if (s->gpus)
		lineup_gpus_facts(s->gpus, &gpus);
	facts->overflows += gpus.overflows;
	facts->bytes_uploaded += gpus.bytes_uploaded;
	for (uint32_t i = 0; i < s->threads; i++) {
		facts->rows_scanned += s->workers[i].rows_scanned;
		s->workers[i].rows_scanned = 0;
	}
	for (uint32_t p = 0; p < s->batch; p++)
		facts->rows_reranked += s->selects[p].reranked;
	facts->bytes_read += s->stream ? lineup_stream_pass_bytes(s->stream) : 0;
	facts->passes++;
}

/* A bad row of a later pass is found before the first: its error leaves nothing half done. */
static int check_rows(struct lineup_searcher *s, const struct lineup_matrix *probes)
{
	int err = 0;

	for (uint64_t row = s->probes_max; !err && row < probes->rows; row++) {
		enum lineup_row_fault fault = lineup_probe_normalise(probes, row, s->probes.vectors);

		if (fault != LINEUP_ROW_OK)
			err = lineup_fail(s->ctx, -EINVAL, "probes: row %llu %s", (unsigned long long)row, lineup_row_fault_text(fault));
	}
	explicit_bzero(s->probes.vectors, s->probes.dim * sizeof(*s->probes.vectors));
	return err;
}

static int run_batches(struct lineup_searcher *s, const struct lineup_matrix *probes, struct lineup_candidate *candidates, uint32_t *counts,
		       struct lineup_search_facts *facts)
{
	double norm_max = s->snapshot->store == LINEUP_STORE_FLOAT16 ? LINEUP_NORM_MAX_FLOAT16 : LINEUP_NORM_MAX_FLOAT32;
	uint64_t passes = (probes->rows + s->probes_max - 1) / s->probes_max;
	int err = check_rows(s, probes);

	if (!err)
		err = settle_residency(s, passes);
	atomic_store(&s->progress_bytes, 0);
	s->progress_total = 0;
	for (uint32_t i = 0; i < s->snapshot->segment_count; i++)
		s->progress_total += passes * s->snapshot->segments[i].block_count * s->snapshot->segments[i].shape.block_bytes;
	for (uint64_t first = 0; !err && first < probes->rows; first += s->batch) {
		uint64_t left = probes->rows - first;

		s->batch = (uint32_t)(left < s->probes_max ? left : s->probes_max);
		err = lineup_probe_set_fill(s->ctx, &s->probes, probes, first, s->batch, norm_max);
		if (err)
			break;
		atomic_store(&s->error, 0);
		s->candidates = candidates + first * s->options->k;
		s->counts = counts + first;
		err = lineup_searcher_pass(s, &facts->seconds_scan, &facts->seconds_rerank);
		add_facts(s, facts);
	}
	lineup_probe_set_erase(&s->probes);
	if (err && facts->passes) /* no partial answer */
		memset(counts, 0, probes->rows * sizeof(*counts));
	return err;
}

/* Who searches now: if GPUs were lost, the CPU. */
static void say_who(struct lineup_searcher *s, struct lineup_search_facts *facts)
{
	struct lineup_gpus_facts gpus;

	facts->threads = s->threads;
	facts->io = s->stream ? lineup_stream_engine(s->stream) : "memory";
	facts->resident = s->is_resident;
	facts->backend = s->score->name;
	if (!s->gpus)
		return;
	lineup_gpus_facts(s->gpus, &gpus);
	facts->backend = gpus.backend;
	facts->devices = gpus.devices;
	facts->staging = gpus.staging;
	facts->rows_on_device = gpus.rows_retained;
	facts->bytes_on_device = gpus.bytes_retained;
	facts->resident = s->residency != LINEUP_STREAMED && gpus.rows_retained == s->snapshot->rows && !facts->bytes_read;
}

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int lineup_search(struct lineup_searcher *s, const struct lineup_matrix *probes, const struct lineup_search_options *user,
		  struct lineup_candidate *candidates, uint32_t *counts, struct lineup_search_facts *facts)
{
	struct lineup_search_options options;
	struct lineup_search_facts f = { 0 };
	double begin = seconds_now();
	int err;

	err = lineup_options_copy(s->ctx, "lineup_search_options", &options, sizeof(options), user);
	if (!err)
		err = lineup_search_check(s->ctx, &options, s->k_max, s->snapshot->lists);
	if (!err)
		err = lineup_probe_check(s->ctx, probes, s->snapshot->dim);
	if (err)
		return err;
	s->options = &options;
	s->now = options.now ? options.now : (int64_t)time(NULL);
	err = run_batches(s, probes, candidates, counts, &f);
	s->options = NULL;
	if (err || !facts)
		return err;
	memcpy(f.gallery_digest, s->snapshot->digest, sizeof(f.gallery_digest));
	f.sequence = s->snapshot->sequence;
	f.rows = s->snapshot->rows;
	say_who(s, &f);
	f.seconds = seconds_now() - begin;
	*facts = f;
	return 0;
}
