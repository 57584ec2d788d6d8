// SPDX-License-Identifier: MIT
// Scanning a job's rows: in growing chunks, in dispatches of bounded time, and once more in halves where lists overflowed.
#include <math.h>

#include "pass.h"

static uint32_t rows_max(const struct gpu *gpu, uint64_t rows)
{
	uint32_t limit = gpu->gpus->ctx->gpu_test.chunk_rows;

	rows = rows ? rows : 1;
	rows = rows < UINT32_MAX ? rows : UINT32_MAX;
	return limit && rows > limit ? limit : (uint32_t)rows;
}

void lineup_gpu_chunks_begin(struct gpu *gpu)
{
	gpu->seen = 0;
	gpu->overflows = 0;
	gpu->job_next = 0;
	gpu->chunk_rows = rows_max(gpu, gpu->layout.cap / 2); /* all of these may survive */
}

/*
 * A chunk of m rows after n seen adds some k m / n survivors, and those within the width of their bounds of the threshold, if
 * the gallery has no order: so m grows with n, by what leaves the lists room for more than that.
 */
static void grow(struct gpu *gpu, uint32_t rows)
{
	uint64_t factor = gpu->layout.cap / (16 * (uint64_t)gpu->gpus->pass.k), by_last, by_seen;

	factor = factor < 2 ? 2 : factor > GPU_GROWTH_MAX ? GPU_GROWTH_MAX : factor;
	gpu->seen += rows;
	by_last = gpu->chunk_rows * factor;
	by_seen = gpu->seen * factor;
	gpu->chunk_rows = rows_max(gpu, by_last < by_seen ? by_last : by_seen);
}

static struct gpu_scan scan_of(const struct gpu *gpu, const struct gpu_job *job)
{
	const struct gpu_layout *l = &gpu->layout;
	const struct lineup_gpus_pass *pass = &gpu->gpus->pass;
	uint32_t dim = gpu->gpus->setup.snapshot->dim;

	return (struct gpu_scan){
		.codes = job->base,
		.bounds = job->base + lineup_piece_bounds(dim, job->base_rows),
		.marks = job->base + lineup_piece_marks(dim, job->base_rows),
		.probe_codes = gpu->state.address + l->codes,
		.probe = gpu->state.address + l->params,
		.entries = gpu->entries.address,
		.counts = gpu->state.address + l->counts,
		.lists = pass->lists,
		.now = (uint64_t)pass->now,
		.row_base = job->row_base,
		.probes = l->probes,
		.pitch = l->pitch / 16,
		.cap = l->cap,
	};
}

/* One chunk's rows, in as many dispatches and submissions as their time asks for. Thresholds do not change between those. */
static int record_rows(struct gpu *gpu, const struct gpu_job *job, uint64_t first, uint64_t rows)
{
	struct gpu_scan scan = scan_of(gpu, job);
	uint64_t probes = gpu->layout.probes > LINEUP_GPU_GEMV_PROBES ? round_up(gpu->layout.probes, 64) : LINEUP_GPU_GEMV_PROBES;
	uint64_t per_row = probes * gpu->layout.pitch, limit, fit, value;
	struct lineup_vk_commands *commands;
	int err = 0;

	while (!err && rows) {
		err = lineup_gpu_record(gpu, &commands);
		if (err)
			return err;
		limit = (uint64_t)(gpu->rate[gpu->layout.probes <= LINEUP_GPU_GEMV_PROBES] * GPU_SUBMISSION_MS);
		fit = limit > gpu->open->products ? (limit - gpu->open->products) / per_row : 0;
		if (fit < GPU_DISPATCH_ROWS_MIN && gpu->open->products) {
			err = lineup_gpu_submit(gpu, &value);
			continue;
		}
		fit = fit < GPU_DISPATCH_ROWS_MIN ? GPU_DISPATCH_ROWS_MIN : fit;
		scan.row_first = (uint32_t)first;
		scan.rows = (uint32_t)(rows < fit ? rows : fit);
		lineup_vk_scan(gpu->kernels, commands, &scan);
		gpu->open->products += scan.rows * per_row;
		first += scan.rows;
		rows -= scan.rows;
	}
	return err;
}

/* @flag: the word that tells of an overflow. */
static int record_chunk(struct gpu *gpu, const struct gpu_job *job, uint64_t first, uint64_t rows, uint32_t flag)
{
	const struct gpu_layout *l = &gpu->layout;
	struct gpu_refresh refresh = {
		.probe = gpu->state.address + l->params,
		.entries = gpu->entries.address,
		.counts = gpu->state.address + l->counts,
		.kept = gpu->state.address + l->kept,
		.slots = gpu->state.address + l->slots,
		.overflow = gpu->state.address + l->overflow,
		.chunk = flag,
		.probes = l->probes,
		.cap = l->cap,
		.k = gpu->gpus->pass.k,
		.slot_count = l->slot_count,
		.distinct = gpu->gpus->pass.distinct,
	};
	struct lineup_vk_commands *commands;
	int err = record_rows(gpu, job, first, rows);

	if (!err)
		err = lineup_gpu_record(gpu, &commands);
	if (err)
		return err;
	lineup_vk_barrier(gpu->device, commands);
	lineup_vk_refresh(gpu->kernels, commands, &refresh);
	lineup_vk_barrier(gpu->device, commands);
	return 0;
}

static uint64_t flag_bytes(uint32_t flag)
{
	return flag * sizeof(uint32_t);
}

static int clear_flags(struct gpu *gpu, uint32_t first)
{
	struct lineup_vk_commands *commands;
	int err = lineup_gpu_record(gpu, &commands);

	if (err)
		return err;
	lineup_vk_fill(gpu->device, commands, &gpu->state, gpu->layout.overflow + flag_bytes(first), flag_bytes(GPU_JOB_CHUNKS), 0);
	lineup_vk_barrier(gpu->device, commands);
	return 0;
}

static int copy_flags(struct gpu *gpu, uint32_t first)
{
	struct lineup_vk_commands *commands;
	int err = lineup_gpu_record(gpu, &commands);

	if (!err)
		lineup_vk_copy(gpu->device, commands, &gpu->state, gpu->layout.overflow + flag_bytes(first), &gpu->flags,
			       flag_bytes(first),
			       flag_bytes(GPU_JOB_CHUNKS));
	return err;
}

static bool overflowed(const struct gpu *gpu, uint32_t flag)
{
	return ((const uint32_t *)gpu->flags.map)[flag] & 1;
}

static int scan_and_wait(struct gpu *gpu, const struct gpu_job *job, uint64_t first, uint64_t rows, bool *overflow)
{
	uint32_t flag = GPU_JOBS * GPU_JOB_CHUNKS;
	struct lineup_vk_commands *commands;
	int err = clear_flags(gpu, flag);

	if (!err)
		err = record_chunk(gpu, job, first, rows, flag);
	if (!err)
		err = copy_flags(gpu, flag);
	if (!err)
		err = lineup_gpu_record(gpu, &commands);
	if (err)
		return err;
	lineup_gpu_kept_copy(gpu, commands);
	lineup_vk_barrier(gpu->device, commands);
	err = lineup_gpu_submit_and_wait(gpu);
	*overflow = !err && overflowed(gpu, flag);
	return err;
}

/*
 * Scans @chunk, which overflowed, in halves, in halves of those ... It ends: lists are at most half full before each scan, so
 * rows no more than the other half fit whatever they are; more rows are halved until they fit or are no more than that.
 */
static int rescan(struct gpu *gpu, const struct gpu_job *job, const struct gpu_chunk *chunk)
{
	uint64_t first = chunk->row_first, end = first + chunk->rows, step = (chunk->rows + 1) / 2;
	uint32_t cap = gpu->layout.cap;
	int err = lineup_gpu_kept_fetch(gpu);

	gpu->overflows++;
	while (!err && first < end) {
		uint64_t rows = end - first < step ? end - first : step;
		bool overflow;

		if (lineup_gpu_kept_most(gpu) > cap / 2)
			err = lineup_gpu_drain(gpu);
		if (!err)
			err = scan_and_wait(gpu, job, first, rows, &overflow);
		if (err)
			return err;
		if (!overflow) {
			first += rows;
			continue;
		}
		if (rows <= cap - cap / 2) {
			lineup_warn(gpu->gpus->ctx, "%s: it says that more rows survived than there were", gpu->device->info.name);
			return -ENODEV;
		}
		step = (rows + 1) / 2;
	}
	/* The next ones would overflow as well. */
	gpu->chunk_rows = gpu->chunk_rows < step ? gpu->chunk_rows : rows_max(gpu, step);
	return err;
}

int lineup_gpu_job_settle(struct gpu *gpu, struct gpu_job *job)
{
	int err = 0;

	if (job->value)
		err = lineup_gpu_finish(gpu, job->value);
	job->value = 0;
	for (uint32_t i = 0; !err && i < job->chunk_count; i++)
		if (overflowed(gpu, job->index * GPU_JOB_CHUNKS + i))
			err = rescan(gpu, job, &job->chunks[i]);
	job->chunk_count = 0;
	return err;
}

int lineup_gpu_job_get(struct gpu *gpu, struct gpu_job **out)
{
	struct gpu_job *job = &gpu->jobs[gpu->job_next];
	int err = lineup_gpu_job_settle(gpu, job);

	if (err)
		return err;
	pthread_mutex_lock(&gpu->mutex);
	while (job->held)
		pthread_cond_wait(&gpu->changed, &gpu->mutex);
	pthread_mutex_unlock(&gpu->mutex);
	gpu->job_next = (gpu->job_next + 1) % GPU_JOBS;
	job->block_count = 0;
	*out = job;
	return 0;
}

int lineup_gpu_job_scan(struct gpu *gpu, struct gpu_job *job, uint64_t first, uint64_t end, uint64_t *done)
{
	uint32_t flags = job->index * GPU_JOB_CHUNKS;
	struct lineup_vk_commands *commands;
	int err = clear_flags(gpu, flags);

	while (!err && first < end && job->chunk_count < GPU_JOB_CHUNKS) {
		uint64_t rows = end - first < gpu->chunk_rows ? end - first : gpu->chunk_rows;

		err = record_chunk(gpu, job, first, rows, flags + job->chunk_count);
		job->chunks[job->chunk_count++] = (struct gpu_chunk){ .row_first = (uint32_t)first, .rows = (uint32_t)rows };
		grow(gpu, (uint32_t)rows);
		first += rows;
	}
	*done = first;
	if (!err)
		err = copy_flags(gpu, flags);
	if (!err)
		err = lineup_gpu_record(gpu, &commands);
	if (err)
		return err;
	lineup_vk_barrier(gpu->device, commands);
	return lineup_gpu_submit(gpu, &job->value);
}
