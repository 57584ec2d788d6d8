// SPDX-License-Identifier: MIT
// The memory of a device's passes: made when a searcher is, so that a pass allocates nothing.
#include <stdlib.h>
#include <string.h>

#include "pass.h"

enum { PAGE_BYTES = 4096, RING_ALIGN = 2 << 20 };

static uint64_t aligned(uint64_t bytes)
{
	return round_up(bytes ? bytes : 1, GPU_ALIGN);
}

static uint64_t deleted_bytes(const struct lineup_shape *shape)
{
	return (shape->block_rows + 31) / 32 * sizeof(uint32_t);
}

/* What a job must hold at most. */
struct extents {
	uint64_t raw, rows, deleted;
};

static void measure(const struct gpu *gpu, struct extents *most)
{
	const struct lineup_snapshot *snapshot = gpu->gpus->setup.snapshot;

	memset(most, 0, sizeof(*most));
	for (uint32_t i = 0; i < snapshot->segment_count; i++) {
		const struct lineup_shape *shape = &snapshot->segments[i].shape;
		uint64_t blocks = GPU_JOB_BYTES / shape->block_bytes ? GPU_JOB_BYTES / shape->block_bytes : 1;
		uint64_t raw, rows, deleted;

		blocks = blocks < GPU_JOB_BLOCKS ? blocks : GPU_JOB_BLOCKS;
		blocks = blocks < snapshot->segments[i].block_count ? blocks : snapshot->segments[i].block_count;
		raw = blocks * shape->block_bytes;
		rows = lineup_piece_bytes(shape->dim, blocks * shape->block_rows);
		deleted = blocks * deleted_bytes(shape);
		most->raw = raw > most->raw ? raw : most->raw;
		most->rows = rows > most->rows ? rows : most->rows;
		most->deleted = deleted > most->deleted ? deleted : most->deleted;
	}
}

static int jobs_create(struct gpu *gpu)
{
	struct lineup_vk_device *device = gpu->device;
	const struct lineup_vk_queue *copier = device->transfer.queue ? &device->transfer : &device->compute;
	struct extents most;
	int err = 0;

	measure(gpu, &most);
	for (uint32_t i = 0; !err && i < GPU_JOBS; i++) {
		struct gpu_job *job = &gpu->jobs[i];

		job->index = i;
		err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, aligned(most.raw), "blocks", &job->raw);
		if (!err)
			err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, aligned(most.rows), "rows passing through",
						      &job->rows);
		if (!err)
			err = lineup_vk_buffer_create(device, LINEUP_VK_UPLOAD, aligned(most.deleted) + aligned(most.raw),
						      "upload", &job->upload);
		if (!err)
			err = lineup_vk_commands_create(device, copier, "copies", &job->copies);
	}
	for (uint32_t i = 0; !err && i < GPU_SUBMISSIONS; i++)
		err = lineup_vk_commands_create(device, &device->compute, "scans", &gpu->submissions[i].commands);
	return err;
}

void lineup_gpu_layout(const struct lineup_gpus *gpus, uint32_t probes, uint32_t k, struct gpu_layout *layout)
{
	uint64_t cap = gpus->ctx->gpu_test.cap, at = 0;

	if (!cap) {
		cap = round_up(8 * (uint64_t)k, 64);
		cap = cap > GPU_CAP_DEFAULT ? cap : GPU_CAP_DEFAULT;
		cap = cap < gpus->place.rows ? cap : gpus->place.rows; /* a small gallery needs no more */
	}
	layout->probes = probes;
	layout->cap = (uint32_t)(cap ? cap : 1);
	layout->pitch = lineup_piece_pitch(gpus->setup.snapshot->dim);
	layout->slot_count = GPU_SLOTS_MIN;
	while (layout->slot_count < 4 * (uint64_t)k)
		layout->slot_count *= 2;
	layout->codes = at;
	at += aligned((uint64_t)probes * layout->pitch);
	layout->params = at;
	at += aligned(probes * sizeof(struct gpu_probe));
	layout->counts = at;
	at += aligned(probes * sizeof(uint32_t));
	layout->kept = at;
	at += aligned(probes * sizeof(uint32_t));
	layout->slots = at;
	at += aligned(probes * sizeof(uint32_t) * layout->slot_count);
	layout->overflow = at;
	at += aligned(sizeof(uint32_t) * (GPU_JOBS + 1) * GPU_JOB_CHUNKS);
	layout->size = at;
}

int lineup_gpu_buffers_create(struct gpu *gpu)
{
	struct lineup_gpus *gpus = gpu->gpus;
	struct lineup_vk_device *device = gpu->device;
	struct gpu_layout most;
	uint64_t list, lists, answer;
	int err;

	lineup_gpu_layout(gpus, gpus->probes_max, gpus->setup.k_max, &most);
	list = most.cap * sizeof(struct gpu_entry);
	lists = list > GPU_FETCH_BYTES ? list : GPU_FETCH_BYTES;
	if (lists > list * most.probes)
		lists = list * most.probes;
	answer = aligned(most.probes * sizeof(uint32_t)) + aligned(most.probes * sizeof(struct gpu_probe)) + lists;
	gpu->lists = calloc(most.probes, sizeof(*gpu->lists));
	err = gpu->lists ? 0 : -ENOMEM;
	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, most.size, "state", &gpu->state);
	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, list * most.probes, "lists", &gpu->entries);
	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_UPLOAD, most.counts, "probes", &gpu->upload);
	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_READBACK, sizeof(uint32_t) * (GPU_JOBS + 1) * GPU_JOB_CHUNKS,
					      "overflows", &gpu->flags);
	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_READBACK, answer, "answers", &gpu->answer);
	if (!err)
		err = jobs_create(gpu);
	if (err == -ENOMEM)
		lineup_fail(gpus->ctx, err, "%s: not enough memory for passes of %u probes", device->info.name, gpus->probes_max);
	return err;
}

/* One allocation holds pieces from *@first on, up to the limit of one. */
static int arena_create(struct gpu *gpu, uint32_t *first)
{
	struct lineup_gpus *gpus = gpu->gpus;
	struct lineup_vk_buffer *arena = &gpu->arenas[gpu->arena_count];
	uint64_t limit = gpu->device->allocation_max, bytes = 0;
	uint64_t most = LINEUP_PIECE_BYTES_MAX < limit ? LINEUP_PIECE_BYTES_MAX : limit;
	uint32_t end;
	int err;

	for (end = *first; end < gpus->place.count; end++) {
		const struct lineup_piece *piece = &gpus->place.pieces[end];

		if (piece->device != gpu->index || !piece->kept)
			continue;
		if (bytes && bytes + piece->bytes > most)
			break;
		bytes += piece->bytes;
	}
	err = bytes ? lineup_vk_buffer_create(gpu->device, LINEUP_VK_DEVICE, bytes, "rows that stay", arena) : 0;
	bytes = 0;
	for (; *first < end; ++*first) {
		struct lineup_piece *piece = &gpus->place.pieces[*first];

		if (piece->device != gpu->index || !piece->kept)
			continue;
		piece->kept = !err;
		gpus->pieces[*first].address = err ? 0 : arena->address + bytes;
		bytes += piece->bytes;
	}
	gpu->arena_count += !err && bytes;
	return err == -ENOMEM ? 0 : err; /* these rows pass through instead */
}

int lineup_gpu_arenas_create(struct gpu *gpu)
{
	struct lineup_gpus *gpus = gpu->gpus;
	uint32_t first = 0;
	int err = 0;

	if (!gpus->setup.retain)
		return 0;
	lineup_place_keep(&gpus->place, gpu->index, gpu->memory);
	gpu->arenas = calloc(gpus->place.count + 1, sizeof(*gpu->arenas));
	if (!gpu->arenas)
		return lineup_fail(gpus->ctx, -ENOMEM, "%s: no memory", gpu->device->info.name);
	while (!err && first < gpus->place.count)
		err = arena_create(gpu, &first);
	return err;
}

static bool may(const struct gpu *gpu, const char *staging)
{
	const char *only = gpu->gpus->ctx->gpu_test.staging;

	return !only || !strcmp(only, staging);
}

static int ring_import(struct gpu *gpu)
{
	const struct lineup_stream_ring *ring = &gpu->gpus->ring;
	uint64_t alignment = gpu->device->import_alignment;

	if (!may(gpu, "imported") || !alignment || RING_ALIGN % alignment)
		return -ENOTSUP;
	return lineup_vk_buffer_import(gpu->device, ring->memory, round_up(ring->slot_count * ring->slot_bytes, RING_ALIGN),
				       "ring", &gpu->ring);
}

/* The stream reads into memory that the driver gives; with several devices it would be one's only. */
static int ring_move(struct gpu *gpu)
{
	const struct lineup_stream_ring *ring = &gpu->gpus->ring;
	int err = -ENOTSUP;

	if (!may(gpu, "driver") || gpu->gpus->count > 1)
		return err;
	err = lineup_vk_buffer_create(gpu->device, LINEUP_VK_READBACK, round_up(ring->slot_count * ring->slot_bytes, RING_ALIGN),
				      "ring", &gpu->ring);
	if (!err)
		err = (uintptr_t)gpu->ring.map % PAGE_BYTES ? -ENOTSUP : lineup_stream_move(gpu->gpus->stream, gpu->ring.map);
	gpu->ring_moved = !err;
	if (err)
		lineup_vk_buffer_destroy(gpu->device, &gpu->ring);
	return err;
}

int lineup_gpu_ring_create(struct gpu *gpu)
{
	struct lineup_gpus *gpus = gpu->gpus;
	const char *how = "copied";
	int err = -ENOTSUP;

	if (gpus->ring.slot_count) {
		err = ring_import(gpu);
		if (!err)
			how = "imported";
		if (err && err != -ENODEV) {
			err = ring_move(gpu);
			if (!err)
				how = "driver";
		}
		if (err && may(gpu, "copied") && err != -ENODEV)
			err = 0;
		if (err == -ENODEV)
			return err;
		if (err)
			return lineup_fail(gpus->ctx, -ENOTSUP, "%s: blocks cannot be %s here", gpu->device->info.name,
					   gpus->ctx->gpu_test.staging);
	}
	if (!gpu->index)
		gpus->staging = how;
	return 0;
}

void lineup_gpu_buffers_destroy(struct gpu *gpu)
{
	struct lineup_vk_device *device = gpu->device;

	for (uint32_t i = 0; i < GPU_SUBMISSIONS; i++)
		lineup_vk_commands_destroy(device, &gpu->submissions[i].commands);
	for (uint32_t i = 0; i < GPU_JOBS; i++) {
		lineup_vk_commands_destroy(device, &gpu->jobs[i].copies);
		lineup_vk_buffer_destroy(device, &gpu->jobs[i].upload);
		lineup_vk_buffer_destroy(device, &gpu->jobs[i].rows);
		lineup_vk_buffer_destroy(device, &gpu->jobs[i].raw);
	}
	for (uint32_t i = 0; i < gpu->arena_count; i++)
		lineup_vk_buffer_destroy(device, &gpu->arenas[i]);
	if (gpu->ring_moved)
		lineup_stream_move(gpu->gpus->stream, NULL);
	gpu->ring_moved = false;
	lineup_vk_buffer_destroy(device, &gpu->ring);
	lineup_vk_buffer_destroy(device, &gpu->answer);
	lineup_vk_buffer_destroy(device, &gpu->flags);
	lineup_vk_buffer_destroy(device, &gpu->upload);
	lineup_vk_buffer_destroy(device, &gpu->entries);
	lineup_vk_buffer_destroy(device, &gpu->state);
	free(gpu->arenas);
	free(gpu->lists);
	gpu->arenas = NULL;
	gpu->lists = NULL;
	gpu->arena_count = 0;
}
