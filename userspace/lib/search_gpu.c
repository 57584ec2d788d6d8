// SPDX-License-Identifier: MIT
// Searching on GPUs: threads that feed them blocks, and what happens when one is lost.
#include <string.h>

#include "search.h"

/* ---- which ---- */

static bool is_auto(const char *name)
{
	return !name || !strcmp(name, "auto");
}

static bool is_named(const struct lineup_search_setup *setup)
{
	return !is_auto(setup->backend) || !is_auto(setup->devices);
}

/* Where nobody asked for GPUs, a search without them is no failure. */
static int unless_named(struct lineup_searcher *searcher, const struct lineup_search_setup *setup, int err)
{
	if (!err || is_named(setup))
		return err;
	if (err != -ENODEV)
		lineup_warn(searcher->ctx, "vulkan: the GPUs cannot be used (%s): the CPU takes over", strerror(-err));
	lineup_gpus_destroy(searcher->gpus);
	searcher->gpus = NULL;
	return 0;
}

/* What @backend and @devices ask for; .variant is NULL unless it is named. */
static int choose(struct lineup_ctx *ctx, const struct lineup_search_setup *user, bool *on_cpu, struct lineup_gpus_setup *setup)
{
	static const char *const variants[] = { "scalar", "dot", "coopmat", "coopmat-nv", "emulated" };
	static const char prefix[] = "vulkan";
	const char *backend = user->backend;

	*on_cpu = !is_auto(backend) && strncmp(backend, prefix, strlen(prefix)) != 0;
	setup->named = !*on_cpu && is_named(user);
	if (*on_cpu && user->devices)
		return lineup_fail(ctx, -EINVAL, "search: devices are named, but the backend %s runs on the CPU", backend);
	if (*on_cpu || is_auto(backend) || !strcmp(backend, prefix))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		if (backend[strlen(prefix)] == '-' && !strcmp(backend + strlen(prefix) + 1, variants[i]))
			setup->variant = variants[i];
	return setup->variant ? 0 : lineup_fail(ctx, -EINVAL, "backend %s: there is none of this name", backend);
}

int lineup_searcher_open_gpus(struct lineup_searcher *searcher, const struct lineup_search_setup *user, const char **cpu)
{
	struct lineup_gpus_setup setup = {
		.snapshot = searcher->snapshot,
		.devices = user->devices,
		.threads = searcher->threads,
		.probes_max = searcher->probes_max,
		.k_max = searcher->k_max + searcher->k_more_max,
		.retain = searcher->residency != LINEUP_STREAMED,
		.memory_max = user->device_memory_max,
	};
	bool on_cpu;
	int err = choose(searcher->ctx, user, &on_cpu, &setup);

	*cpu = on_cpu ? user->backend : NULL;
	if (err || on_cpu)
		return err;
	err = lineup_gpus_create(searcher->ctx, &setup, &searcher->gpus);
	if (!err && lineup_gpus_probes_max(searcher->gpus) < searcher->probes_max)
		searcher->probes_max = lineup_gpus_probes_max(searcher->gpus);
	return unless_named(searcher, user, err);
}

int lineup_searcher_attach_gpus(struct lineup_searcher *searcher, const struct lineup_search_setup *setup)
{
	return unless_named(searcher, setup, lineup_gpus_attach(searcher->gpus, searcher->stream));
}

/* ---- passes ---- */

static int survivor(void *arg, uint32_t thread, uint32_t probe, struct lineup_entry *entry, int32_t acc, float scale, float resid,
		    double *floor)
{
	struct lineup_searcher *searcher = arg;

	return lineup_worker_survivor(&searcher->workers[thread], probe, entry, acc, scale, resid, floor);
}

/* The GPUs' own failure is told apart from a disk's of the same number. */
static void gpus_fail(struct lineup_searcher *searcher, int err)
{
	if (err == -ENODEV)
		atomic_store(&searcher->gpus_lost, true);
	lineup_searcher_fail(searcher, err);
	if (searcher->stream)
		lineup_stream_stop(searcher->stream, err);
}

static void feed_thread(void *arg, uint32_t thread)
{
	struct lineup_searcher *searcher = arg;
	struct lineup_worker *worker = &searcher->workers[thread];

	while (!lineup_searcher_failed(searcher)) {
		struct lineup_stream_block block;
		int err = lineup_stream_next(searcher->stream, &block);
		uint64_t bytes;

		if (!err && !block.data)
			return;
		if (err) {
			lineup_searcher_fail(searcher, err);
			return;
		}
		bytes = searcher->snapshot->segments[block.segment].shape.block_bytes;
		err = lineup_stream_verify(searcher->stream, &block);
		if (err) {
			lineup_stream_release(searcher->stream, &block);
			lineup_searcher_fail(searcher, err);
			return;
		}
		err = lineup_gpus_feed(searcher->gpus, &block);
		if (err)
			gpus_fail(searcher, err);
		lineup_worker_progress(worker, bytes);
	}
}

static void run(struct lineup_searcher *searcher, const struct lineup_gpus_pass *pass)
{
	int err = lineup_gpus_begin(searcher->gpus, pass);

	if (err) {
		gpus_fail(searcher, err);
		return;
	}
	if (searcher->stream) {
		err = lineup_stream_begin(searcher->stream, lineup_gpus_wants, searcher->gpus);
		if (err)
			lineup_searcher_fail(searcher, err);
		else
			lineup_pool_run(searcher->pool, feed_thread, searcher);
	}
	err = lineup_gpus_finish(searcher->gpus, searcher->pool);
	if (err)
		gpus_fail(searcher, err);
	if (searcher->stream)
		lineup_stream_end(searcher->stream);
}

/* What the pass did not read, since it was on the devices, or in memory. */
static void progress_rest(struct lineup_searcher *searcher, unsigned long long begun)
{
	uint64_t bytes = 0, done = atomic_load(&searcher->progress_bytes) - begun;

	for (uint32_t i = 0; i < searcher->snapshot->segment_count; i++)
		bytes += searcher->snapshot->segments[i].block_count * searcher->snapshot->segments[i].shape.block_bytes;
	if (done < bytes)
		lineup_worker_progress(&searcher->workers[0], bytes - done);
}

void lineup_searcher_scan_on_gpus(struct lineup_searcher *searcher, const float *threshold)
{
	const struct lineup_search_options *options = searcher->options;
	unsigned long long progress = atomic_load(&searcher->progress_bytes);
	struct lineup_gpus_pass pass = {
		.probes = &searcher->probes,
		.k = options->k + searcher->k_more,
		.distinct = options->per == LINEUP_PER_SUBJECT,
		.lists = options->lists,
		.now = searcher->now,
		.threshold = threshold,
		.survivor = survivor,
		.arg = searcher,
	};

	run(searcher, &pass);
	if (lineup_searcher_failed(searcher))
		return;
	searcher->workers[0].rows_scanned += searcher->snapshot->rows;
	progress_rest(searcher, progress);
}

bool lineup_searcher_regain(struct lineup_searcher *searcher)
{
	if (!atomic_exchange(&searcher->gpus_lost, false) || atomic_load(&searcher->error) != -ENODEV)
		return false;
	if (lineup_gpus_recover(searcher->gpus)) {
		lineup_gpus_destroy(searcher->gpus);
		searcher->gpus = NULL;
	}
	atomic_store(&searcher->error, 0);
	return true;
}

int lineup_searcher_load_gpus(struct lineup_searcher *searcher)
{
	struct lineup_gpus_pass pass = { .load_only = true };

	if (!lineup_gpus_fits(searcher->gpus))
		return -ENOMEM;
	searcher->progress_total = lineup_searcher_load_bytes(searcher);
	do {
		atomic_store(&searcher->progress_bytes, 0);
		atomic_store(&searcher->error, 0);
		run(searcher, &pass);
	} while (lineup_searcher_regain(searcher) && searcher->gpus);
	return searcher->gpus ? atomic_load(&searcher->error) : lineup_searcher_load(searcher);
}
