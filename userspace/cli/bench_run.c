// SPDX-License-Identifier: MIT
// The benchmark's run over a gallery: exactness first, then the start, then rounds in which limits and searches take turns.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"

enum {
	SAMPLE_PROBES = 48,
	SAMPLE_SEED = 4711,
	PROBES_SEED = 4242,
	PROBES_MIN = 1024, /* for small batches to take turns with */
};

/* ---- searches ---- */

/* Progress of library calls: shows it, and keeps what the benchmark wants to know from it. */
struct watch {
	struct cli_progress progress;
	uint64_t total;     /* as last told */
	bool sample_rss;
	uint64_t rss_bytes; /* largest seen */
};

static uint64_t rss_now(void)
{
	unsigned long long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool watch_update(void *arg, uint64_t done, uint64_t total)
{
	struct watch *watch = arg;

	watch->total = total;
	if (watch->sample_rss) {
		uint64_t rss = rss_now();

		if (rss > watch->rss_bytes)
			watch->rss_bytes = rss;
	}
	return cli_progress_update(&watch->progress, done, total);
}

/* A searcher and what every search with it needs. */
struct engine {
	struct lineup_searcher *searcher;
	uint32_t dim;
	struct watch watch;
	struct lineup_search_facts facts; /* of the last search */
};

static int engine_init(struct engine *engine, struct lineup_gallery *gallery, const struct bench_result *result, bool resident)
{
	const struct bench_options *o = result->options;
	struct lineup_search_setup setup = {
		.size = sizeof(setup),
		.threads = result->threads,
		.backend = o->backend,
		.devices = o->device,
		.device_memory_max = o->device_memory,
		.probes_max = o->batches[o->batch_count - 1],
		.k_max = o->k,
		.progress = watch_update,
		.progress_arg = &engine->watch,
	};

	/* Which variant is fastest is decided by a timing, once for the whole run. */
	if (result->backend && bench_on_devices(result))
		setup.backend = result->backend;
	if (setup.probes_max < SAMPLE_PROBES)
		setup.probes_max = SAMPLE_PROBES;
	if (setup.probes_max > LINEUP_PROBES_MAX)
		setup.probes_max = LINEUP_PROBES_MAX;
	if (!resident)
		setup.residency = LINEUP_STREAMED;
	else if (bench_on_devices(result))
		setup.residency = LINEUP_RESIDENCY_AUTO; /* as much as fits on the devices, from the first pass on */
	else
		setup.residency = LINEUP_RESIDENT;
	engine->dim = result->gallery.dim;
	cli_progress_begin(&engine->watch.progress, resident ? "loading" : "streaming", CLI_BYTES);
	return lineup_searcher_create(gallery, &setup, &engine->searcher);
}

static void engine_fini(struct engine *engine)
{
	lineup_searcher_destroy(engine->searcher);
	engine->searcher = NULL;
}

static int engine_search(void *arg, const float *probes, uint32_t count, uint32_t k, enum lineup_search_per per,
			 struct lineup_candidate *candidates, uint32_t *counts)
{
	struct engine *e = arg;
	struct lineup_matrix matrix = { .data = probes, .rows = count, .dim = e->dim, .dtype = LINEUP_FLOAT32 };
	struct lineup_search_options options = { .size = sizeof(options), .k = k, .per = per };

	return lineup_search(e->searcher, &matrix, &options, candidates, counts, &e->facts);
}

/* A GPU that failed leaves its searches to the CPU: right answers, but figures of two machines. */
static int same_backend(struct cli *cli, const struct engine *engine, const struct bench_result *result)
{
	if (!result->backend || strcmp(result->backend, engine->facts.backend) == 0)
		return 0;
	return cli_fail(cli, "searches moved from %s to %s during the run, so its figures are neither's", result->backend,
			engine->facts.backend);
}

/* ---- exactness ---- */

static int judge(struct cli *cli, struct bench_result *result, const struct bench_sample *sample, const struct bench_matcher *matcher,
		 uint32_t batch)
{
	struct bench_verdict *verdict = &result->verdicts[result->verdict_count];
	int err = bench_gate_judge(sample, matcher, batch, verdict);

	if (err)
		return cli_status(cli, err);
	result->verdict_count++;
	return cli_interrupted() ? cli_status(cli, -ECANCELED) : 0;
}

/* Every batch size that will be timed, and the sample as one batch. */
static int judge_lineup(struct cli *cli, struct lineup_gallery *gallery, struct bench_result *result, const struct bench_sample *sample,
			bool resident)
{
	const struct bench_options *o = result->options;
	struct engine engine = { 0 };
	struct bench_matcher matcher = { resident ? "lineup, resident" : "lineup, streamed", engine_search, &engine };
	int status = cli_status(cli, engine_init(&engine, gallery, result, resident));

	if (!status)
		status = judge(cli, result, sample, &matcher, sample->count);
	for (uint32_t i = 0; !status && i < o->batch_count; i++)
		status = judge(cli, result, sample, &matcher, o->batches[i]);
	if (!status)
		status = same_backend(cli, &engine, result);
	if (!status) {
		result->backend = engine.facts.backend;
		result->threads = engine.facts.threads;
		if (!resident)
			result->io = engine.facts.io;
	}
	engine_fini(&engine);
	return status;
}

static int judge_baselines(struct cli *cli, struct bench_result *result, struct bench_sample *sample)
{
	const struct bench_matcher always = bench_gate_always(sample), at_random = bench_gate_at_random(sample);
	uint32_t lineup_count = result->verdict_count;
	int status = judge(cli, result, sample, &always, sample->count);

	if (!status)
		status = judge(cli, result, sample, &at_random, sample->count);
	result->pass = !status;
	for (uint32_t i = 0; i < result->verdict_count; i++)
		result->pass &= result->verdicts[i].pass == (i < lineup_count);
	return status;
}

static int run_gate(struct cli *cli, struct lineup_gallery *gallery, struct bench_result *result)
{
	struct bench_sample sample = { 0 };
	struct cli_progress progress;
	double begin = bench_seconds();
	int status;

	cli_progress_begin(&progress, "finding true answers", CLI_ROWS);
	status = cli_status(cli, bench_sample_init(&sample, gallery, SAMPLE_PROBES, result->options->k, SAMPLE_SEED, result->threads,
						   cli_progress_update, &progress));
	result->brute_seconds = bench_seconds() - begin;
	result->sample_count = sample.count;
	if (!status && !bench_sample_sound(&sample))
		status = cli_fail(cli, "this gallery cannot be judged: its own true answers do not tell its people from strangers at %.2f",
				  (double)BENCH_THRESHOLD);
	for (int resident = 1; !status && resident >= 0; resident--)
		if (!result->options->without[resident])
			status = judge_lineup(cli, gallery, result, &sample, resident);
	if (!status)
		status = judge_baselines(cli, result, &sample);
	bench_sample_fini(&sample);
	return status;
}

/* ---- start and memory ---- */

/* Probes of the timed searches, and room for their answers. */
struct load {
	uint32_t probe_count;
	float *probes;
	struct lineup_candidate *candidates;
	uint32_t *counts;
	uint32_t dim;
};

static void load_share(void *arg, uint32_t thread, uint32_t threads)
{
	struct load *load = arg;

	for (uint32_t p = thread; p < load->probe_count; p += threads)
		bench_gaussian(PROBES_SEED, p, load->dim, load->probes + (size_t)p * load->dim);
}

static int load_init(struct cli *cli, struct load *load, const struct bench_result *result)
{
	uint32_t batch_max = result->options->batches[result->options->batch_count - 1];

	load->dim = result->gallery.dim;
	load->probe_count = batch_max > PROBES_MIN ? batch_max : PROBES_MIN;
	load->probes = calloc((size_t)load->probe_count * load->dim, sizeof(*load->probes));
	load->candidates = calloc((size_t)batch_max * result->options->k, sizeof(*load->candidates));
	load->counts = calloc(batch_max, sizeof(*load->counts));
	if (!load->probes || !load->candidates || !load->counts)
		return cli_fail(cli, "no memory for %" PRIu32 " probes", load->probe_count);
	bench_parallel(result->threads, load_share, load);
	return 0;
}

static void load_fini(struct load *load)
{
	free(load->probes);
	free(load->candidates);
	free(load->counts);
}

static int load_search(struct engine *engine, const struct load *load, uint32_t batch, uint64_t call, uint32_t k)
{
	uint64_t first = call * batch % (load->probe_count - batch + 1);

	return engine_search(engine, load->probes + first * load->dim, batch, k, LINEUP_PER_SUBJECT, load->candidates, load->counts);
}

/* Starts the kernel's high-water mark of resident memory anew; false if it cannot be. */
static bool high_water_reset(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, "5", 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

static uint64_t high_water(void)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmHWM: %llu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib * 1024;
}

static int measure_rss(struct cli *cli, struct lineup_gallery *gallery, const struct load *load, struct bench_result *result)
{
	const struct bench_options *o = result->options;
	struct engine engine = { .watch.sample_rss = true };
	int err;

	malloc_trim(0);
	result->start.rss_sampled = !high_water_reset();
	err = engine_init(&engine, gallery, result, false);
	if (!err)
		err = load_search(&engine, load, o->batches[o->batch_count - 1], 0, o->k);
	engine_fini(&engine);
	result->start.rss_bytes = engine.watch.rss_bytes;
	if (!result->start.rss_sampled)
		result->start.rss_bytes = high_water();
	return cli_status(cli, err);
}

static int disk_rate(struct cli *cli, struct bench_result *result, double *rate)
{
	int err = bench_disk_measure(&result->limits, rate);

	return err ? cli_fail(cli, "reading the segments to measure the disk: %s", strerror(-err)) : 0;
}

/* From nothing to the first answer, and to a resident gallery, with the files out of the page cache. */
static int start_once(struct cli *cli, const char *path, const struct load *load, struct bench_result *result, uint32_t round)
{
	struct lineup_gallery_options options = { .size = sizeof(options) };
	struct lineup_gallery *gallery = NULL;
	struct bench_start *s = &result->start;
	struct engine streamed = { 0 }, resident = { 0 };
	double begin;
	int err;

	bench_disk_cool(&result->limits);
	begin = bench_seconds();
	err = lineup_gallery_open(cli->ctx, path, &options, &gallery);
	if (!err)
		err = engine_init(&streamed, gallery, result, false);
	if (!err)
		err = load_search(&streamed, load, 1, round, result->options->k);
	s->answer_seconds[round] = bench_seconds() - begin;
	engine_fini(&streamed);
	bench_disk_cool(&result->limits);
	begin = bench_seconds();
	if (!err)
		err = engine_init(&resident, gallery, result, true);
	if (!err && bench_on_devices(result))
		err = load_search(&resident, load, 1, round, result->options->k);
	s->load_seconds[round] = bench_seconds() - begin;
	s->load_bytes = resident.watch.total ? resident.watch.total : result->gallery.scan_bytes;
	engine_fini(&resident);
	lineup_gallery_close(gallery);
	return cli_status(cli, err);
}

static int run_start(struct cli *cli, const char *path, const struct load *load, struct bench_result *result)
{
	int status = 0;

	for (uint32_t round = 0; !status && round < result->options->rounds; round++) {
		status = disk_rate(cli, result, &result->start.disk_rate[round]);
		if (!status)
			status = start_once(cli, path, load, result, round);
	}
	return status;
}

/* ---- rounds ---- */

static int cells_init(struct cli *cli, struct bench_result *result)
{
	const struct bench_options *o = result->options;

	assert(o->batch_count);
	for (uint32_t i = 0; i < 2 * o->batch_count; i++) {
		struct bench_cell *cell = &result->cells[result->cell_count];
		bool resident = i < o->batch_count;

		if (o->without[resident])
			continue;
		*cell = (struct bench_cell){ .resident = resident, .batch = o->batches[i % o->batch_count] };
		cell->calls = malloc(BENCH_CALLS_MAX * sizeof(*cell->calls));
		if (!cell->calls)
			return cli_fail(cli, "no memory for the times of calls");
		result->cell_count++;
	}
	return 0;
}

/* The limits' rates: measured now, but with GPUs when the round began, since the galleries are larger there. */
static int measure_limits(struct cli *cli, struct bench_result *result, const struct bench_cell *cell, double rate[BENCH_BOUNDS])
{
	if (bench_on_devices(result)) {
		rate[BENCH_DEVICE] = result->devices.read_bytes;
		rate[BENCH_MULTIPLY] = result->devices.multiply_adds;
		rate[BENCH_UPLOAD] = result->devices.upload_bytes;
		rate[BENCH_DISK] = result->devices_disk;
	} else {
		rate[BENCH_RAM] = bench_ram_measure(&result->limits);
		rate[BENCH_MULTIPLY] = bench_multiply_measure(&result->limits);
		if (bench_cost(result, cell, BENCH_DISK) > 0 && disk_rate(cli, result, &rate[BENCH_DISK]))
			return CLI_FAILED;
	}
	return 0;
}

/* A round's limits are the medians of what was measured before each of its cells. */
static void settle_limits(struct bench_result *result, uint32_t round)
{
	for (int bound = 0; bound < BENCH_BOUNDS; bound++) {
		double rate[2 * BENCH_BATCHES_MAX];
		uint32_t count = 0;

		for (uint32_t i = 0; i < result->cell_count; i++) {
			const struct bench_cell *cell = &result->cells[i];

			if (cell->limit[bound][round] > 0)
				rate[count++] = cell->limit[bound][round] * bench_cost(result, cell, (enum bench_bound)bound);
		}
		result->limit_rate[bound][round] = count ? bench_median(rate, count) : 0;
	}
}

static int time_cell(struct cli *cli, struct engine *engine, const struct load *load, struct bench_result *result,
		     struct bench_cell *cell, uint32_t round)
{
	const struct bench_options *o = result->options;
	/* Single probes are where the far quantiles matter: they get the time for a thousand calls. */
	double budget = o->cell_seconds * (cell->batch == 1 ? 5 : 1), spent = 0;
	uint64_t calls = 0;

	while (!calls || spent < budget) {
		double begin = bench_seconds();
		int err = load_search(engine, load, cell->batch, round * 1000 + calls, o->k);
		double seconds = bench_seconds() - begin;

		if (err)
			return cli_status(cli, err);
		if (cli_interrupted())
			return cli_status(cli, -ECANCELED);
		if (cell->call_count < BENCH_CALLS_MAX)
			cell->calls[cell->call_count++] = seconds;
		spent += seconds;
		calls++;
	}
	if (same_backend(cli, engine, result))
		return CLI_FAILED;
	cell->rate[round] = (double)calls * cell->batch * (double)engine->facts.rows / spent;
	cell->passes = engine->facts.passes;
	cell->reranked = (double)engine->facts.rows_reranked / cell->batch;
	return 0;
}

/*
 * Searches for one probe: what comes from where, and nothing is done for the first time in the rounds. The first one brings rows to
 * the devices.
 */
static int find_place(struct cli *cli, struct engine *engine, const struct load *load, struct bench_result *result,
		      struct bench_place *place)
{
	const struct lineup_search_facts *f = &engine->facts;
	int status = 0;

	for (int i = 0; !status && i < 2; i++)
		status = cli_status(cli, load_search(engine, load, 1, 0, result->options->k));
	if (status)
		return status;
	*place = (struct bench_place){
		.rows = f->rows,
		.rows_on_device = f->rows_on_device,
		.bytes_on_device = f->bytes_on_device,
		.disk_bytes = f->bytes_read / f->passes,
		.upload_bytes = f->bytes_uploaded / f->passes,
		.staging = f->bytes_uploaded ? f->staging : NULL,
	};
	return same_backend(cli, engine, result);
}

/* With --quick once for all rounds. A peak that is another variant's says nothing: an earlier round's stays, if there is one. */
static int measure_devices(struct cli *cli, struct bench_result *result, uint32_t round)
{
	struct bench_devices *d = &result->devices;
	double peak = d->multiply_adds;
	char backend[32];
	int status = 0;

	if (!bench_on_devices(result) || (round && result->options->quick))
		return 0;
	if (result->place[0].disk_bytes || result->place[1].disk_bytes)
		status = disk_rate(cli, result, &result->devices_disk);
	if (!status)
		status = cli_status(cli, bench_devices_measure(cli->ctx, result->options->device, d));
	snprintf(backend, sizeof(backend), "vulkan-%s", d->variant ? d->variant : "");
	if (strcmp(backend, result->backend) != 0)
		d->multiply_adds = peak;
	return status;
}

static int run_round(struct cli *cli, struct engine engines[2], const struct load *load, struct bench_result *result, uint32_t round)
{
	int status = measure_devices(cli, result, round);

	for (uint32_t i = 0; !status && i < result->cell_count; i++) {
		struct bench_cell *cell = &result->cells[i];
		double rate[BENCH_BOUNDS] = { 0 };

		status = measure_limits(cli, result, cell, rate);
		if (!status)
			status = time_cell(cli, &engines[cell->resident], load, result, cell, round);
		for (int bound = 0; bound < BENCH_BOUNDS; bound++) {
			double cost = bench_cost(result, cell, (enum bench_bound)bound);

			cell->limit[bound][round] = cost > 0 ? rate[bound] / cost : 0;
		}
	}
	if (!status)
		settle_limits(result, round);
	return status;
}

static int host_limits_init(struct cli *cli, struct bench_result *result)
{
	if (bench_on_devices(result))
		return 0;
	if (bench_ram_init(&result->limits, result->threads, result->options->quick))
		return cli_fail(cli, "no memory to measure the memory with");
	bench_multiply_init(&result->limits, result->backend);
	return 0;
}

static int run_rounds(struct cli *cli, struct lineup_gallery *gallery, const struct load *load, struct bench_result *result)
{
	struct engine engines[2] = { { 0 } };
	struct cli_progress progress;
	int status = cells_init(cli, result);

	if (!status)
		status = host_limits_init(cli, result);
	for (int i = 0; !status && i < 2; i++) {
		if (result->options->without[i])
			continue;
		status = cli_status(cli, engine_init(&engines[i], gallery, result, i));
		if (!status)
			status = find_place(cli, &engines[i], load, result, &result->place[i]);
	}
	cli_progress_begin(&progress, "rounds", CLI_ROWS);
	for (uint32_t round = 0; !status && round < result->options->rounds; round++) {
		status = run_round(cli, engines, load, result, round);
		cli_progress_update(&progress, round + 1, result->options->rounds);
	}
	for (uint32_t i = 0; i < result->cell_count; i++) {
		struct bench_cell *cell = &result->cells[i];

		bench_sort(cell->calls, cell->call_count);
		bench_latency_of(cell->calls, cell->call_count, &cell->latency);
	}
	for (int i = 0; i < 2; i++)
		engine_fini(&engines[i]);
	return status;
}

/* ---- all of it ---- */

static int run_timed(struct cli *cli, const char *path, struct lineup_gallery *gallery, struct bench_result *result)
{
	struct load load = { 0 };
	int err = bench_disk_init(&result->limits, path, result->gallery.scan_bytes);
	int status = err ? cli_fail(cli, "%s: opening the segments to measure the disk: %s", path, strerror(-err)) : 0;

	if (!status && (err = bench_disk_tune(&result->limits)))
		status = cli_fail(cli, "reading the segments to measure the disk: %s", strerror(-err));
	if (!status)
		status = load_init(cli, &load, result);
	if (!status && !result->options->searches_only)
		status = measure_rss(cli, gallery, &load, result);
	if (!status && !result->options->searches_only)
		status = run_start(cli, path, &load, result);
	if (!status)
		status = run_rounds(cli, gallery, &load, result);
	load_fini(&load);
	return status;
}

int bench_run(struct cli *cli, const char *path, struct bench_result *result)
{
	struct lineup_gallery_options options = { .size = sizeof(options) };
	struct lineup_gallery *gallery = NULL;
	int status = cli_status(cli, lineup_gallery_open(cli->ctx, path, &options, &gallery));

	if (status)
		return status;
	lineup_gallery_info(gallery, &result->gallery);
	if (result->gallery.templates < BENCH_ROWS_MIN || result->gallery.dim < BENCH_DIM_MIN)
		status = cli_fail(cli, "%s: a benchmark needs at least %d templates of %d components; this gallery has %" PRIu64 " of %" PRIu32,
				  path, BENCH_ROWS_MIN, BENCH_DIM_MIN, result->gallery.templates, result->gallery.dim);
	if (!status)
		status = run_gate(cli, gallery, result);
	if (!status && result->pass)
		status = run_timed(cli, path, gallery, result);
	lineup_gallery_close(gallery);
	cli_progress_clear();
	return status;
}

void bench_result_fini(struct bench_result *result)
{
	for (uint32_t i = 0; i < result->cell_count; i++)
		free(result->cells[i].calls);
	bench_limits_fini(&result->limits);
}
