// SPDX-License-Identifier: MIT
// A device's two threads: the worker brings blocks to it and has them scanned, the releaser gives them back to the stream.
#include <signal.h>
#include <string.h>

#include "pass.h"

static const struct lineup_segment *segment_of(const struct gpu *gpu, const struct lineup_piece *piece)
{
	return &gpu->gpus->setup.snapshot->segments[piece->segment];
}

static struct gpu_piece *state_of(const struct gpu *gpu, const struct lineup_piece *piece)
{
	return &gpu->gpus->pieces[piece - gpu->gpus->place.pieces];
}

/* ---- the releaser ---- */

static void release(const struct gpu *gpu, const struct lineup_stream_block *blocks, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		lineup_stream_release(gpu->gpus->stream, &blocks[i]);
}

static void *releaser_main(void *arg)
{
	struct gpu *gpu = arg;

	lineup_gpus_run_on_node(gpu->device->info.numa_node);
	pthread_mutex_lock(&gpu->mutex);
	for (;;) {
		struct gpu_job *job;

		while (!gpu->stop && gpu->copies_head == gpu->copies_tail)
			pthread_cond_wait(&gpu->copied, &gpu->mutex);
		if (gpu->copies_head == gpu->copies_tail)
			break;
		job = gpu->copies[gpu->copies_head % GPU_JOBS];
		pthread_mutex_unlock(&gpu->mutex);
		/* On failure as well: a lost device only reads from the ring, and what it reads is of no account. */
		lineup_gpu_wait(gpu, job->copy_queue, job->copy_value);
		release(gpu, job->blocks, job->block_count);
		pthread_mutex_lock(&gpu->mutex);
		gpu->copies_head++;
		job->held = false;
		pthread_cond_broadcast(&gpu->changed);
	}
	pthread_mutex_unlock(&gpu->mutex);
	return NULL;
}

static void hold(struct gpu *gpu, struct gpu_job *job)
{
	pthread_mutex_lock(&gpu->mutex);
	job->held = true;
	gpu->copies[gpu->copies_tail++ % GPU_JOBS] = job;
	pthread_cond_signal(&gpu->copied);
	pthread_mutex_unlock(&gpu->mutex);
}

/* ---- batches ---- */

static uint64_t deleted_words(const struct lineup_segment *segment)
{
	return (segment->shape.block_rows + 31) / 32;
}

/* Of blocks in .upload, behind the bitmaps. */
static uint64_t blocks_offset(const struct gpu_job *job)
{
	return job->upload.size - job->raw.size;
}

/*
 * As many blocks as fill a job; but with all devices' batches half full, half of the ring's slots must still be free, or the stream
 * would wait for a batch that waits for the stream.
 */
static uint32_t batch_blocks_max(const struct gpu *gpu, const struct lineup_segment *segment)
{
	uint64_t share = gpu->gpus->ring.slot_count / (2 * gpu->gpus->count), blocks = GPU_JOB_BYTES / segment->shape.block_bytes;

	blocks = blocks < GPU_JOB_BLOCKS ? blocks : GPU_JOB_BLOCKS;
	if (!segment->blocks)
		blocks = blocks < share ? blocks : share;
	return blocks ? (uint32_t)blocks : 1;
}

static int batch_begin(struct gpu *gpu, const struct lineup_piece *piece)
{
	struct gpu_job *job;
	int err = lineup_gpu_job_get(gpu, &job);

	if (!err)
		err = lineup_vk_begin(gpu->device, &job->copies);
	if (err)
		return err;
	job->piece = piece;
	job->batch_count = 0;
	job->batch_rows = 0;
	gpu->batch = job;
	return 0;
}

static void copy_deleted(struct gpu_job *job, const struct lineup_segment *segment, uint64_t block, uint32_t rows)
{
	uint8_t *to = (uint8_t *)job->upload.map + job->batch_count * deleted_words(segment) * sizeof(uint32_t);
	uint64_t first = block * segment->shape.block_rows; /* a multiple of 48: bytes begin with blocks */

	if (segment->deleted)
		memcpy(to, segment->deleted + first / 8, (rows + 7) / 8);
}

/* Takes over a block of the stream (@from_ring), or reads one of the journal's. */
static void batch_put(struct gpu *gpu, const struct lineup_stream_block *block, bool from_ring)
{
	struct gpu_job *job = gpu->batch;
	const struct lineup_segment *segment = segment_of(gpu, job->piece);
	uint64_t bytes = segment->shape.block_bytes, to = job->batch_count * bytes;

	if (!job->batch_count)
		job->batch_first = block->block;
	copy_deleted(job, segment, block->block, block->rows);
	if (from_ring && gpu->ring.size) {
		lineup_vk_copy(gpu->device, &job->copies, &gpu->ring, block->slot * gpu->gpus->ring.slot_bytes, &job->raw, to,
			       bytes);
		job->blocks[job->block_count++] = *block;
	} else {
		memcpy((uint8_t *)job->upload.map + blocks_offset(job) + to, block->data, bytes);
		lineup_vk_copy(gpu->device, &job->copies, &job->upload, blocks_offset(job) + to, &job->raw, to, bytes);
		if (from_ring)
			release(gpu, block, 1);
	}
	job->batch_count++;
	job->batch_rows += block->rows;
	gpu->bytes_uploaded += bytes;
	state_of(gpu, job->piece)->arrived++;
}

static int submit_copies(struct gpu *gpu, struct gpu_job *job)
{
	struct lineup_vk_device *device = gpu->device;
	struct lineup_vk_queue *queue = device->transfer.queue ? &device->transfer : &device->compute;
	int err;

	lineup_vk_barrier(device, &job->copies);
	err = lineup_vk_submit(device, queue, &job->copies, NULL, 0, &job->copy_value);
	if (err)
		return err;
	job->copy_queue = queue;
	if (job->block_count)
		hold(gpu, job); /* the releaser gives them back */
	if (device->transfer.queue) {
		gpu->after = queue;
		gpu->after_value = job->copy_value;
	}
	return 0;
}

static int record_unpack(struct gpu *gpu, struct gpu_job *job)
{
	const struct lineup_segment *segment = segment_of(gpu, job->piece);
	uint32_t dim = segment->shape.dim;
	struct lineup_vk_commands *commands;
	int err = lineup_gpu_record(gpu, &commands);
	struct gpu_unpack unpack = {
		.blocks = job->raw.address,
		.deleted = segment->deleted ? job->upload.address : 0,
		.codes = job->base,
		.bounds = job->base + lineup_piece_bounds(dim, job->base_rows),
		.marks = job->base + lineup_piece_marks(dim, job->base_rows),
		.block_words = (uint32_t)(segment->shape.block_bytes / 4),
		.block_rows = segment->shape.block_rows,
		.groups = segment->shape.groups,
		.rows = job->batch_rows,
		.row_first = job->unpack_first,
		.pitch = lineup_piece_pitch(dim) / 16,
	};

	if (err)
		return err;
	lineup_vk_unpack(gpu->kernels, commands, &unpack);
	lineup_vk_barrier(gpu->device, commands);
	return 0;
}

/* Where the rows of a batch go: to their place in a piece that stays, or through the job's own memory. */
static void aim(const struct gpu *gpu, struct gpu_job *job)
{
	const struct lineup_piece *piece = job->piece;
	uint32_t first = (uint32_t)((job->batch_first - piece->block_first) * segment_of(gpu, piece)->shape.block_rows);

	job->base = state_of(gpu, piece)->address;
	job->base_rows = piece->rows;
	job->row_base = piece->row_base;
	job->unpack_first = first;
	if (!piece->kept) {
		job->base = job->rows.address;
		job->base_rows = job->batch_rows;
		job->row_base = piece->row_base + first;
		job->unpack_first = 0;
	}
}

static int batch_flush(struct gpu *gpu)
{
	struct gpu_job *job = gpu->batch;
	uint64_t first, end;
	int err;

	if (!job)
		return 0;
	err = submit_copies(gpu, job);
	if (err)
		return err;
	gpu->batch = NULL;
	aim(gpu, job);
	err = record_unpack(gpu, job);
	first = job->unpack_first;
	end = first + job->batch_rows;
	if (!err && gpu->gpus->pass.load_only)
		return lineup_gpu_submit(gpu, &job->value);
	while (!err && first < end) {
		err = lineup_gpu_job_scan(gpu, job, first, end, &first);
		if (!err && first < end)
			err = lineup_gpu_job_settle(gpu, job);
	}
	return err;
}

static int batch_add(struct gpu *gpu, const struct lineup_stream_block *block, bool from_ring)
{
	const struct lineup_piece *piece = lineup_place_block(&gpu->gpus->place, block->segment, block->block);
	int err = 0;

	if (gpu->batch && gpu->batch->piece != piece)
		err = batch_flush(gpu);
	if (!err && !gpu->batch)
		err = batch_begin(gpu, piece);
	if (err) {
		if (from_ring)
			release(gpu, block, 1);
		return err;
	}
	batch_put(gpu, block, from_ring);
	return gpu->batch->batch_count == batch_blocks_max(gpu, segment_of(gpu, piece)) ? batch_flush(gpu) : 0;
}

/* ---- a pass ---- */

static int scan_kept(struct gpu *gpu, const struct lineup_piece *piece)
{
	uint64_t first = 0;
	int err = 0;

	while (!err && first < piece->rows && !atomic_load(&gpu->gpus->error)) {
		struct gpu_job *job;

		err = lineup_gpu_job_get(gpu, &job);
		if (err)
			return err;
		job->piece = piece;
		job->base = state_of(gpu, piece)->address;
		job->base_rows = piece->rows;
		job->row_base = piece->row_base;
		err = lineup_gpu_job_scan(gpu, job, first, piece->rows, &first);
	}
	return err;
}

static int feed_journal(struct gpu *gpu, const struct lineup_piece *piece)
{
	const struct lineup_segment *segment = segment_of(gpu, piece);
	int err = 0;

	for (uint64_t b = piece->block_first; !err && b < piece->block_first + piece->block_count; b++) {
		uint64_t left = segment->rows - b * segment->shape.block_rows;
		struct lineup_stream_block block = {
			.segment = piece->segment,
			.block = b,
			.rows = (uint32_t)(left < segment->shape.block_rows ? left : segment->shape.block_rows),
			.data = segment->blocks + b * segment->shape.block_bytes,
		};

		err = batch_add(gpu, &block, false);
	}
	return err;
}

/* The block that is due: 1; 0: no more will come. */
static int take(struct gpu *gpu, struct lineup_stream_block *block)
{
	struct lineup_stream_block *due;
	int taken = 0;

	pthread_mutex_lock(&gpu->mutex);
	due = gpu->ring_slots ? &gpu->pending[gpu->next % gpu->ring_slots] : NULL;
	while (due && !due->data && !gpu->fed && gpu->next < gpu->expected)
		pthread_cond_wait(&gpu->work, &gpu->mutex);
	if (due && due->data) {
		*block = *due;
		due->data = NULL;
		gpu->next++;
		taken = 1;
	}
	gpu->complete = gpu->next == gpu->expected;
	pthread_mutex_unlock(&gpu->mutex);
	return taken;
}

static bool is_journal(const struct gpu *gpu, const struct lineup_piece *piece)
{
	return segment_of(gpu, piece)->blocks;
}

static int settle_all(struct gpu *gpu)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < GPU_JOBS; i++)
		err = lineup_gpu_job_settle(gpu, &gpu->jobs[(gpu->job_next + i) % GPU_JOBS]);
	return err;
}

static int run_pass(struct gpu *gpu)
{
	struct lineup_gpus *gpus = gpu->gpus;
	struct lineup_stream_block block;
	int err = 0;

	lineup_gpu_chunks_begin(gpu);
	if (!gpus->pass.load_only)
		err = lineup_gpu_probes_upload(gpu);
	for (uint32_t i = 0; !err && !gpus->pass.load_only && i < gpus->place.count; i++)
		if (gpus->place.pieces[i].device == gpu->index && gpus->pieces[i].full)
			err = scan_kept(gpu, &gpus->place.pieces[i]);
	while (!err && !atomic_load(&gpus->error) && take(gpu, &block))
		err = batch_add(gpu, &block, true);
	if (!err && !gpu->complete)
		return 0; /* finish sees it */
	for (uint32_t i = 0; !err && i < gpus->place.count; i++) {
		const struct lineup_piece *piece = &gpus->place.pieces[i];

		if (piece->device != gpu->index || !is_journal(gpu, piece) || gpus->pieces[i].full)
			continue;
		if (piece->kept || !gpus->pass.load_only)
			err = feed_journal(gpu, piece);
	}
	if (!err)
		err = batch_flush(gpu);
	if (!err)
		err = settle_all(gpu);
	if (!err && !gpus->pass.load_only)
		err = lineup_gpu_answer_fetch(gpu);
	return err;
}

/* After a pass, well or not: nothing is recorded or held, and no block is left. */
static void clean_up(struct gpu *gpu)
{
	if (gpu->batch)
		release(gpu, gpu->batch->blocks, gpu->batch->block_count);
	gpu->batch = NULL;
	gpu->after = NULL;
	gpu->open = NULL; /* what was recorded is of no use */
	lineup_gpu_wait(gpu, &gpu->device->compute, gpu->device->compute.submitted);
	pthread_mutex_lock(&gpu->mutex);
	while (gpu->copies_head != gpu->copies_tail)
		pthread_cond_wait(&gpu->changed, &gpu->mutex);
	for (uint32_t i = 0; i < gpu->ring_slots; i++) {
		struct lineup_stream_block *block = &gpu->pending[i];

		if (block->data)
			lineup_stream_release(gpu->gpus->stream, block);
		block->data = NULL;
	}
	for (uint32_t i = 0; i < GPU_JOBS; i++)
		gpu->jobs[i].chunk_count = 0;
	pthread_mutex_unlock(&gpu->mutex);
}

int lineup_gpu_fault(struct gpu *gpu, int err)
{
	if (!err || err == -ENODEV || gpu->host_error)
		return err;
	lineup_warn(gpu->gpus->ctx, "%s: a pass failed: %s", gpu->device->info.name, strerror(-err));
	return -ENODEV;
}

static void *worker_main(void *arg)
{
	struct gpu *gpu = arg;

	lineup_gpus_run_on_node(gpu->device->info.numa_node);
	pthread_mutex_lock(&gpu->mutex);
	for (;;) {
		int err, none = 0;

		while (!gpu->stop && !gpu->running)
			pthread_cond_wait(&gpu->work, &gpu->mutex);
		if (gpu->stop)
			break;
		pthread_mutex_unlock(&gpu->mutex);
		err = lineup_gpu_fault(gpu, run_pass(gpu));
		if (err) /* feed() takes no more blocks */
			atomic_compare_exchange_strong(&gpu->gpus->error, &none, err);
		clean_up(gpu);
		pthread_mutex_lock(&gpu->mutex);
		gpu->running = false;
		pthread_cond_broadcast(&gpu->changed);
	}
	pthread_mutex_unlock(&gpu->mutex);
	return NULL;
}

int lineup_gpus_feed(struct lineup_gpus *gpus, const struct lineup_stream_block *block)
{
	const struct lineup_piece *piece = lineup_place_block(&gpus->place, block->segment, block->block);
	struct gpu *gpu = &gpus->gpu[piece->device];
	uint64_t ordinal = gpus->pieces[piece - gpus->place.pieces].ordinal + (block->block - piece->block_first);
	int err;

	pthread_mutex_lock(&gpu->mutex);
	err = atomic_load(&gpus->error);
	if (!err) {
		gpu->pending[ordinal % gpu->ring_slots] = *block; /* the worker's from here */
		if (ordinal == gpu->next)
			pthread_cond_signal(&gpu->work);
	}
	pthread_mutex_unlock(&gpu->mutex);
	if (err)
		lineup_stream_release(gpus->stream, block);
	return err;
}

int lineup_gpu_threads_start(struct gpu *gpu)
{
	sigset_t all, before;
	int err;

	/* Signals are the program's: they go to its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&gpu->worker, NULL, worker_main, gpu);
	gpu->worker_started = !err;
	if (!err)
		err = -pthread_create(&gpu->releaser, NULL, releaser_main, gpu);
	gpu->releaser_started = gpu->worker_started && !err;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err ? lineup_fail(gpu->gpus->ctx, err, "%s: cannot start its threads: %s", gpu->device->info.name,
				 strerror(-err)) : 0;
}

void lineup_gpu_threads_stop(struct gpu *gpu)
{
	pthread_mutex_lock(&gpu->mutex);
	gpu->stop = true;
	pthread_cond_broadcast(&gpu->work);
	pthread_cond_broadcast(&gpu->copied);
	pthread_mutex_unlock(&gpu->mutex);
	if (gpu->worker_started)
		pthread_join(gpu->worker, NULL);
	if (gpu->releaser_started)
		pthread_join(gpu->releaser, NULL);
	gpu->worker_started = gpu->releaser_started = false;
	gpu->stop = false;
}
