// SPDX-License-Identifier: MIT
// The devices of a searcher: opened, given their pieces, opened anew after a loss; and passes over all of them.
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "pass.h"
#include "score.h"

static const char *backend_name(const char *variant)
{
	static const char *const names[] = { "vulkan-scalar", "vulkan-dot", "vulkan-coopmat", "vulkan-coopmat-nv",
					    "vulkan-emulated" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i] + strlen("vulkan-"), variant))
			return names[i];
	return "vulkan";
}

/* ---- opening ---- */

static int open_devices(struct lineup_gpus *gpus)
{
	static const double products_per_ms = 1e7; /* until something has been measured: slow, so that nothing takes long */
	struct lineup_device *list;
	uint32_t count = 0;
	int err;

	list = calloc(LINEUP_DEVICES_MAX, sizeof(*list));
	if (!list)
		return lineup_fail(gpus->ctx, -ENOMEM, "vulkan: no memory");
	err = lineup_vk_select(gpus->ctx, gpus->setup.devices, gpus->setup.named, list, &count);
	if (!err && count > GPU_DEVICES_MAX)
		err = lineup_fail(gpus->ctx, -EINVAL, "vulkan: %u devices: the limit is %d", count, GPU_DEVICES_MAX);
	/* After a loss there may be others: the caller has numbered its threads by those there were. */
	if (gpus->first_count && count > gpus->first_count)
		count = gpus->first_count;
	for (uint32_t i = 0; !err && i < count; i++) {
		struct gpu *gpu = &gpus->gpu[i];

		memset(gpu, 0, sizeof(*gpu));
		pthread_mutex_init(&gpu->mutex, NULL);
		pthread_cond_init(&gpu->work, NULL);
		pthread_cond_init(&gpu->changed, NULL);
		pthread_cond_init(&gpu->copied, NULL);
		gpu->gpus = gpus;
		gpu->index = i;
		gpu->rate[0] = gpu->rate[1] = products_per_ms;
		gpus->count++;
		err = lineup_vk_open(gpus->ctx, &list[i], &gpu->device);
		if (!err)
			err = lineup_vk_kernels_create(gpu->device, gpus->setup.variant, &gpu->kernels);
		if (!err)
			gpu->memory = gpus->setup.memory_max;
		if (!err && !gpu->memory)
			gpu->memory = lineup_vk_memory_available(gpu->device) / 10 * 8;
	}
	free(list);
	if (!err && !gpus->first_count)
		gpus->first_count = count;
	return err;
}

static uint64_t piece_bytes_max(const struct lineup_gpus *gpus)
{
	uint64_t memory = UINT64_MAX, allocation = UINT64_MAX, most;

	if (gpus->ctx->gpu_test.piece_bytes)
		return gpus->ctx->gpu_test.piece_bytes;
	for (uint32_t i = 0; i < gpus->count; i++) {
		memory = gpus->gpu[i].memory < memory ? gpus->gpu[i].memory : memory;
		allocation = gpus->gpu[i].device->allocation_max < allocation ? gpus->gpu[i].device->allocation_max : allocation;
	}
	most = lineup_piece_bytes_max(gpus->setup.retain ? memory : 0);
	return most < allocation ? most : allocation;
}

static int place_rows(struct lineup_gpus *gpus)
{
	struct gpu_layout one;
	uint64_t list, fit;
	int err;

	err = lineup_place_init(&gpus->place, gpus->setup.snapshot, gpus->count, piece_bytes_max(gpus));
	if (err == -EOVERFLOW)
		return lineup_fail(gpus->ctx, -ENOTSUP, "vulkan: the gallery has %llu rows: the limit is %u",
				   (unsigned long long)gpus->setup.snapshot->rows, UINT32_MAX);
	if (!err)
		gpus->pieces = calloc(gpus->place.count + 1, sizeof(*gpus->pieces));
	if (err || !gpus->pieces)
		return lineup_fail(gpus->ctx, -ENOMEM, "vulkan: no memory for %u pieces", gpus->place.count);
	lineup_gpu_layout(gpus, 1, gpus->setup.k_max, &one);
	list = one.cap * sizeof(struct gpu_entry) + one.slot_count * sizeof(uint32_t);
	fit = GPU_LISTS_BYTES_MAX / list;
	gpus->probes_max = fit < gpus->setup.probes_max ? (uint32_t)fit : gpus->setup.probes_max;
	return 0;
}

/*
 * Runs @step. Its errors are the caller's only if GPUs were asked for and no CPU can take over; then one is said in any case.
 * That there is no GPU where nobody asked for one is not worth a word.
 */
static int try(struct lineup_gpus *gpus, int (*step)(struct lineup_gpus *gpus), bool demote)
{
	int err;

	lineup_errors_begin(demote);
	err = step(gpus);
	if (!lineup_errors_end() && err && !demote)
		lineup_fail(gpus->ctx, err, "vulkan: the devices cannot be used: %s", strerror(-err));
	return err;
}

static int open_all(struct lineup_gpus *gpus)
{
	int err = open_devices(gpus);

	if (!err)
		err = place_rows(gpus);
	if (!err)
		gpus->backend = backend_name(lineup_vk_kernels_variant(gpus->gpu[0].kernels));
	return err;
}

static int attach_all(struct lineup_gpus *gpus)
{
	int err = 0;

	if (gpus->stream)
		lineup_stream_ring(gpus->stream, &gpus->ring);
	for (uint32_t i = 0; !err && i < gpus->count; i++) {
		struct gpu *gpu = &gpus->gpu[i];

		gpu->ring_slots = gpus->ring.slot_count;
		gpu->pending = calloc(gpu->ring_slots + 1, sizeof(*gpu->pending));
		err = gpu->pending ? lineup_gpu_buffers_create(gpu) : lineup_fail(gpus->ctx, -ENOMEM, "vulkan: no memory");
		if (!err)
			err = lineup_gpu_ring_create(gpu);
		if (!err)
			err = lineup_gpu_arenas_create(gpu);
		if (!err)
			err = lineup_gpu_threads_start(gpu);
	}
	gpus->broken = err != 0;
	return err;
}

/*
 * What a device that does not answer may still be doing is unknown, and to ask it to stop would be to wait for it: its objects
 * and memory stay, for the rest of the process, and remain known here.
 */
static void leave_behind(struct gpu *gpu)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	static struct gpu *left;

	struct gpu *copy = malloc(sizeof(*copy));

	lineup_warn(gpu->gpus->ctx, "%s: left behind as it is, with its memory", gpu->device->info.name);
	if (gpu->ring_moved)
		lineup_stream_move(gpu->gpus->stream, NULL);
	else if (gpu->ring.size)
		lineup_stream_leave(gpu->gpus->stream); /* imported: the device may still read it */
	if (!copy)
		return;
	*copy = *gpu;
	pthread_mutex_lock(&mutex);
	copy->left_before = left;
	left = copy;
	pthread_mutex_unlock(&mutex);
}

static void close_device(struct gpu *gpu)
{
	lineup_gpu_threads_stop(gpu);
	free(gpu->pending);
	gpu->pending = NULL;
	if (gpu->device && atomic_load(&gpu->hung)) {
		leave_behind(gpu);
	} else if (gpu->device) {
		/* Also if it is lost: Vulkan promises that this returns, and only then is the memory nobody's. */
		gpu->device->api.DeviceWaitIdle(gpu->device->device);
		lineup_gpu_buffers_destroy(gpu);
		lineup_vk_kernels_destroy(gpu->kernels);
		lineup_vk_close(gpu->device);
	}
	pthread_cond_destroy(&gpu->copied);
	pthread_cond_destroy(&gpu->changed);
	pthread_cond_destroy(&gpu->work);
	pthread_mutex_destroy(&gpu->mutex);
}

static void close_all(struct lineup_gpus *gpus)
{
	while (gpus->count)
		close_device(&gpus->gpu[--gpus->count]);
	free(gpus->pieces);
	gpus->pieces = NULL;
	lineup_place_fini(&gpus->place);
}

int lineup_gpus_create(struct lineup_ctx *ctx, const struct lineup_gpus_setup *setup, struct lineup_gpus **out)
{
	struct lineup_gpus *gpus = calloc(1, sizeof(*gpus));
	int err;

	if (!gpus)
		return lineup_fail(ctx, -ENOMEM, "vulkan: no memory");
	gpus->ctx = ctx;
	gpus->setup = *setup;
	gpus->threads = setup->threads;
	gpus->staging = "copied";
	err = try(gpus, open_all, !setup->named);
	if (err) {
		lineup_gpus_destroy(gpus);
		return err;
	}
	*out = gpus;
	return 0;
}

int lineup_gpus_attach(struct lineup_gpus *gpus, struct lineup_stream *stream)
{
	gpus->stream = stream;
	return try(gpus, attach_all, !gpus->setup.named);
}

int lineup_gpus_node(const struct lineup_gpus *gpus)
{
	int node = gpus->gpu[0].device->info.numa_node;

	for (uint32_t i = 1; i < gpus->count; i++)
		node = gpus->gpu[i].device->info.numa_node == node ? node : -1;
	return node;
}

void lineup_gpus_run_on_node(int node)
{
	cpu_set_t before, there;

	if (node < 0 || sched_getaffinity(0, sizeof(before), &before))
		return;
	lineup_vk_run_on_node(node);
	/* Whoever started this process may have confined it to some of them. */
	if (sched_getaffinity(0, sizeof(there), &there))
		return;
	CPU_AND(&there, &there, &before);
	if (!CPU_COUNT(&there) || sched_setaffinity(0, sizeof(there), &there))
		sched_setaffinity(0, sizeof(before), &before);
}

void lineup_gpus_destroy(struct lineup_gpus *gpus)
{
	if (!gpus)
		return;
	close_all(gpus);
	free(gpus);
}

/*
 * Whether a loss is one too many. Time alone does not tell: a device may take longer than a minute to be lost, if only because
 * that is how long it was waited for, and a pass that loses it each time would be repeated for ever.
 */
static bool lost_too_often(const struct lineup_gpus *gpus, uint64_t before, uint64_t now)
{
	uint64_t again_ms = gpus->ctx->gpu_test.loss_again_ms;

	again_ms = again_ms ? again_ms : GPU_LOSS_AGAIN_S * UINT64_C(1000);
	return before && (!gpus->passed || now - before < again_ms * 1000000);
}

int lineup_gpus_recover(struct lineup_gpus *gpus)
{
	uint64_t now = lineup_gpu_now_ns(), before = gpus->lost_ns;

	gpus->lost_ns = now;
	gpus->broken = true;
	close_all(gpus);
	if (lost_too_often(gpus, before, now)) {
		lineup_warn(gpus->ctx, "vulkan: lost again %s: the CPU takes over",
			    gpus->passed ? "within a minute" : "before it had finished a pass");
		return -ENODEV;
	}
	gpus->passed = false;
	if (try(gpus, open_all, true) || try(gpus, attach_all, true)) {
		close_all(gpus);
		lineup_warn(gpus->ctx, "vulkan: the lost device cannot be opened again: the CPU takes over");
		return -ENODEV;
	}
	lineup_warn(gpus->ctx, "vulkan: opened again after a loss: the pass is repeated");
	return 0;
}

uint32_t lineup_gpus_probes_max(const struct lineup_gpus *gpus)
{
	return gpus->probes_max;
}

bool lineup_gpus_fits(const struct lineup_gpus *gpus)
{
	for (uint32_t i = 0; i < gpus->place.count; i++)
		if (!gpus->place.pieces[i].kept)
			return false;
	return true;
}

/* ---- passes ---- */

bool lineup_gpus_wants(void *arg, uint32_t segment, uint64_t block)
{
	const struct lineup_gpus *gpus = arg;
	const struct lineup_piece *piece = lineup_place_block(&gpus->place, segment, block);

	return !gpus->pieces[piece - gpus->place.pieces].full && (piece->kept || !gpus->pass.load_only);
}

/* Numbers the blocks that each device will be fed. */
static void number_blocks(struct lineup_gpus *gpus)
{
	for (uint32_t i = 0; i < gpus->place.count; i++) {
		const struct lineup_piece *piece = &gpus->place.pieces[i];
		struct gpu *gpu = &gpus->gpu[piece->device];

		gpus->pieces[i].arrived = 0;
		if (gpus->setup.snapshot->segments[piece->segment].blocks || !lineup_gpus_wants(gpus, piece->segment,
												piece->block_first))
			continue;
		gpus->pieces[i].ordinal = gpu->expected;
		gpu->expected += piece->block_count;
	}
}

int lineup_gpus_begin(struct lineup_gpus *gpus, const struct lineup_gpus_pass *pass)
{
	if (gpus->broken)
		return -ENODEV;
	gpus->pass = *pass;
	atomic_store(&gpus->error, 0);
	for (uint32_t i = 0; i < gpus->count; i++) {
		struct gpu *gpu = &gpus->gpu[i];

		gpu->next = 0;
		gpu->expected = 0;
		gpu->fed = false;
		gpu->complete = false;
		gpu->host_error = 0;
		gpu->bytes_uploaded = 0;
		gpu->survivors = 0;
		if (!pass->load_only)
			lineup_gpu_layout(gpus, pass->probes->count, pass->k, &gpu->layout);
	}
	number_blocks(gpus);
	for (uint32_t i = 0; i < gpus->count; i++) {
		struct gpu *gpu = &gpus->gpu[i];

		pthread_mutex_lock(&gpu->mutex);
		gpu->running = true;
		pthread_cond_signal(&gpu->work);
		pthread_mutex_unlock(&gpu->mutex);
	}
	return 0;
}

static bool wait_for_worker(struct gpu *gpu)
{
	pthread_mutex_lock(&gpu->mutex);
	gpu->fed = true;
	pthread_cond_signal(&gpu->work);
	while (gpu->running)
		pthread_cond_wait(&gpu->changed, &gpu->mutex);
	pthread_mutex_unlock(&gpu->mutex);
	return gpu->complete;
}

int lineup_gpus_finish(struct lineup_gpus *gpus, struct lineup_pool *pool)
{
	bool complete = true;
	int err;

	for (uint32_t i = 0; i < gpus->count; i++)
		complete = wait_for_worker(&gpus->gpu[i]) && complete;
	err = atomic_load(&gpus->error);
	if (!err && !complete)
		err = -ECANCELED;
	for (uint32_t i = 0; !err && !gpus->pass.load_only && i < gpus->count; i++)
		err = lineup_gpu_fault(&gpus->gpu[i], lineup_gpu_deliver(&gpus->gpu[i], pool));
	for (uint32_t i = 0; !err && i < gpus->place.count; i++)
		if (gpus->place.pieces[i].kept && gpus->pieces[i].arrived == gpus->place.pieces[i].block_count)
			gpus->pieces[i].full = true;
	/* What cannot be erased is on a device that is lost, whose memory nobody can read. */
	for (uint32_t i = 0; !gpus->pass.load_only && i < gpus->count; i++)
		gpus->broken = lineup_gpu_probes_erase(&gpus->gpu[i]) || gpus->broken;
	gpus->broken = gpus->broken || err == -ENODEV;
	gpus->passed = gpus->passed || !err;
	return err;
}

void lineup_gpus_facts(const struct lineup_gpus *gpus, struct lineup_gpus_facts *facts)
{
	memset(facts, 0, sizeof(*facts));
	facts->backend = gpus->backend;
	facts->devices = gpus->count;
	facts->staging = gpus->staging;
	for (uint32_t i = 0; i < gpus->count; i++) {
		facts->bytes_uploaded += gpus->gpu[i].bytes_uploaded;
		facts->survivors += gpus->gpu[i].survivors;
		facts->overflows += gpus->gpu[i].overflows;
	}
	for (uint32_t i = 0; i < gpus->place.count; i++) {
		if (!gpus->pieces[i].full)
			continue;
		facts->rows_retained += gpus->place.pieces[i].rows;
		facts->bytes_retained += gpus->place.pieces[i].bytes;
	}
}

const char *lineup_gpus_why_not(struct lineup_ctx *ctx)
{
	struct lineup_device *list;
	const char *why = NULL;
	uint32_t count = 0;
	bool any = false;
	int err;

	if (!lineup_vk_nodes_exist())
		return "there is no GPU";
	list = calloc(LINEUP_DEVICES_MAX, sizeof(*list));
	err = list ? lineup_vk_list(ctx, list, LINEUP_DEVICES_MAX, &count, &why) : -ENOMEM;
	for (uint32_t i = 0; !err && i < count && i < LINEUP_DEVICES_MAX; i++)
		any = any || (list[i].type != LINEUP_DEVICE_SOFTWARE && !list[i].why_not);
	free(list);
	if (any)
		return NULL;
	if (err)
		return "its devices cannot be listed";
	return !count && why ? why : "there is no device that can run it, or only software ones";
}
