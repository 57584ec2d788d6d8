// SPDX-License-Identifier: MIT
// Probes on their way to a device, survivors on their way back, and both erased after the pass.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pass.h"

static float round_down(double x)
{
	float f = (float)x;

	return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

static float round_up_float(double x)
{
	return -round_down(-x);
}

/* ---- .answer: kept counts, params, lists ---- */

static uint64_t answer_params(const struct gpu *gpu)
{
	return round_up(gpu->layout.probes * sizeof(uint32_t), GPU_ALIGN);
}

static uint64_t answer_lists(const struct gpu *gpu)
{
	return answer_params(gpu) + round_up(gpu->layout.probes * sizeof(struct gpu_probe), GPU_ALIGN);
}

static uint32_t *answer_kept(const struct gpu *gpu)
{
	return gpu->answer.map;
}

void lineup_gpu_kept_copy(struct gpu *gpu, struct lineup_vk_commands *commands)
{
	const struct gpu_layout *l = &gpu->layout;

	gpu->answer_used = gpu->answer_used > answer_lists(gpu) ? gpu->answer_used : answer_lists(gpu);
	lineup_vk_copy(gpu->device, commands, &gpu->state, l->kept, &gpu->answer, 0, l->probes * sizeof(uint32_t));
	lineup_vk_copy(gpu->device, commands, &gpu->state, l->params, &gpu->answer, answer_params(gpu),
		       l->probes * sizeof(struct gpu_probe));
}

int lineup_gpu_kept_fetch(struct gpu *gpu)
{
	struct lineup_vk_commands *commands;
	int err = lineup_gpu_record(gpu, &commands);

	if (err)
		return err;
	lineup_gpu_kept_copy(gpu, commands);
	lineup_vk_barrier(gpu->device, commands);
	return lineup_gpu_submit_and_wait(gpu);
}

uint32_t lineup_gpu_kept_most(const struct gpu *gpu)
{
	uint32_t most = 0;

	for (uint32_t p = 0; p < gpu->layout.probes; p++)
		most = answer_kept(gpu)[p] > most ? answer_kept(gpu)[p] : most;
	return most;
}

/* ---- probes ---- */

static struct gpu_probe *upload_params(const struct gpu *gpu)
{
	return (struct gpu_probe *)((uint8_t *)gpu->upload.map + gpu->layout.params);
}

static void write_probe(const struct gpu *gpu, uint32_t p)
{
	const struct lineup_probe_set *set = gpu->gpus->pass.probes;
	const float *threshold = gpu->gpus->pass.threshold;
	const int8_t *tile = set->codes + (size_t)(p / LINEUP_PROBE_TILE) * set->groups * LINEUP_PROBE_TILE * 4;
	uint8_t *row = (uint8_t *)gpu->upload.map + gpu->layout.codes + (size_t)p * gpu->layout.pitch;

	for (uint32_t g = 0; g < set->groups; g++)
		memcpy(row + 4 * g, tile + ((size_t)g * LINEUP_PROBE_TILE + p % LINEUP_PROBE_TILE) * 4, 4);
	memset(row + 4 * set->groups, 0, gpu->layout.pitch - 4 * set->groups);
	upload_params(gpu)[p] = (struct gpu_probe){
		.scale = set->scale[p],
		.c0 = round_up_float(set->c0[p]),
		.c1 = round_up_float(set->c1[p]),
		.threshold = threshold ? *threshold : -INFINITY,
	};
}

int lineup_gpu_probes_upload(struct gpu *gpu)
{
	const struct gpu_layout *l = &gpu->layout;
	struct lineup_vk_commands *commands;
	uint64_t value;
	int err;

	for (uint32_t p = 0; p < l->probes; p++)
		write_probe(gpu, p);
	err = lineup_gpu_record(gpu, &commands);
	if (err)
		return err;
	lineup_vk_copy(gpu->device, commands, &gpu->upload, 0, &gpu->state, 0, l->counts);
	lineup_vk_fill(gpu->device, commands, &gpu->state, l->counts, l->size - l->counts, 0);
	lineup_vk_barrier(gpu->device, commands);
	return lineup_gpu_submit(gpu, &value);
}

int lineup_gpu_probes_erase(struct gpu *gpu)
{
	const struct gpu_layout *l = &gpu->layout;
	struct lineup_vk_commands *commands;
	int err;

	explicit_bzero(gpu->upload.map, l->counts);
	explicit_bzero(gpu->answer.map, gpu->answer_used);
	gpu->answer_used = 0;
	memset(gpu->lists, 0, l->probes * sizeof(*gpu->lists));
	err = lineup_gpu_record(gpu, &commands);
	if (err)
		return err;
	lineup_vk_fill(gpu->device, commands, &gpu->state, 0, l->size, 0);
	lineup_vk_fill(gpu->device, commands, &gpu->entries, 0, (uint64_t)l->probes * l->cap * sizeof(struct gpu_entry), 0);
	lineup_vk_barrier(gpu->device, commands);
	return lineup_gpu_submit_and_wait(gpu);
}

/* ---- survivors ---- */

int lineup_gpu_answer_fetch(struct gpu *gpu)
{
	uint64_t list = gpu->layout.cap * sizeof(struct gpu_entry), all = list * gpu->layout.probes;
	struct lineup_vk_commands *commands;
	int err = lineup_gpu_record(gpu, &commands);

	if (err)
		return err;
	lineup_gpu_kept_copy(gpu, commands);
	gpu->lists_there = answer_lists(gpu) + all <= gpu->answer.size;
	if (gpu->lists_there) {
		lineup_vk_copy(gpu->device, commands, &gpu->entries, 0, &gpu->answer, answer_lists(gpu), all);
		gpu->answer_used = answer_lists(gpu) + all;
		for (uint32_t p = 0; p < gpu->layout.probes; p++)
			gpu->lists[p].offset = answer_lists(gpu) + p * list;
	}
	lineup_vk_barrier(gpu->device, commands);
	return lineup_gpu_submit_and_wait(gpu);
}

/* Brings the lists of probes [*@first, ...) as far as there is room for them; *@first: the probe after. The queue is idle then. */
static int fetch(struct gpu *gpu, uint32_t *first)
{
	uint64_t at = answer_lists(gpu);
	struct lineup_vk_commands *commands;
	int err = lineup_gpu_record(gpu, &commands);

	if (err)
		return err;
	for (; *first < gpu->layout.probes; ++*first) {
		uint64_t bytes = answer_kept(gpu)[*first] * sizeof(struct gpu_entry);

		if (at + bytes > gpu->answer.size)
			break;
		gpu->lists[*first].offset = at;
		if (bytes)
			lineup_vk_copy(gpu->device, commands, &gpu->entries,
				       (uint64_t)*first * gpu->layout.cap * sizeof(struct gpu_entry),
				       &gpu->answer, at, bytes);
		at += bytes;
	}
	gpu->answer_used = at > gpu->answer_used ? at : gpu->answer_used;
	lineup_vk_barrier(gpu->device, commands);
	return lineup_gpu_submit_and_wait(gpu);
}

static int by_row(const void *a, const void *b)
{
	const struct gpu_entry *x = a, *y = b;

	return x->row < y->row ? -1 : x->row > y->row;
}

static int implausible(const struct gpu *gpu)
{
	lineup_warn(gpu->gpus->ctx, "%s: it answers with rows it was not given", gpu->device->info.name);
	return -ENODEV;
}

/* One probe's list, in the order of rows, so that what the host does with it is the same each time. */
static int hand_out(struct gpu *gpu, uint32_t thread, uint32_t p)
{
	const struct lineup_gpus *gpus = gpu->gpus;
	struct gpu_entry *entries = (struct gpu_entry *)((uint8_t *)gpu->answer.map + gpu->lists[p].offset);
	uint32_t count = answer_kept(gpu)[p];

	qsort(entries, count, sizeof(*entries), by_row);
	for (uint32_t i = 0; i < count; i++) {
		const struct gpu_entry *e = &entries[i];
		const struct lineup_piece *piece;
		struct lineup_entry entry;
		int err;

		if (e->row >= gpus->place.rows)
			return implausible(gpu);
		piece = lineup_place_row(&gpus->place, e->row);
		if (piece->device != gpu->index)
			return implausible(gpu);
		entry = (struct lineup_entry){
			.subject = e->subject,
			.template_id = e->template_id,
			.segment = piece->segment,
			.row = (uint32_t)(piece->row_first + (e->row - piece->row_base)),
		};
		err = gpus->pass.survivor(gpus->pass.arg, thread, p, &entry, e->acc, e->scale, e->resid, &gpu->lists[p].floor);
		if (err)
			return err;
	}
	return 0;
}

/* More entries than a list holds cannot be: what counts them is broken. */
static int check_kept(struct gpu *gpu)
{
	return lineup_gpu_kept_most(gpu) > gpu->layout.cap ? implausible(gpu) : 0;
}

static void raise_thresholds(struct gpu *gpu)
{
	const struct gpu_probe *now = (const struct gpu_probe *)((const uint8_t *)gpu->answer.map + answer_params(gpu));

	for (uint32_t p = 0; p < gpu->layout.probes; p++) {
		float host = round_down(gpu->lists[p].floor), own = now[p].threshold;

		upload_params(gpu)[p].threshold = host > own ? host : own;
	}
}

int lineup_gpu_drain(struct gpu *gpu)
{
	const struct gpu_layout *l = &gpu->layout;
	struct lineup_vk_commands *commands;
	uint32_t next = 0;
	int err = check_kept(gpu);

	for (uint32_t p = 0; p < l->probes; p++)
		gpu->lists[p].floor = -INFINITY;
	while (!err && next < l->probes) {
		uint32_t p = next;

		err = fetch(gpu, &next);
		for (; !err && p < next; p++) {
			gpu->survivors += answer_kept(gpu)[p];
			err = hand_out(gpu, gpu->gpus->threads + gpu->index, p);
			gpu->host_error = err != -ENODEV ? err : 0;
		}
	}
	if (err)
		return err;
	raise_thresholds(gpu);
	memset(answer_kept(gpu), 0, l->probes * sizeof(uint32_t));
	err = lineup_gpu_record(gpu, &commands);
	if (err)
		return err;
	lineup_vk_copy(gpu->device, commands, &gpu->upload, l->params, &gpu->state, l->params,
		       l->probes * sizeof(struct gpu_probe));
	lineup_vk_fill(gpu->device, commands, &gpu->state, l->counts, l->slots - l->counts, 0);
	lineup_vk_barrier(gpu->device, commands);
	return lineup_gpu_submit_and_wait(gpu);
}

struct delivery {
	struct gpu *gpu;
	uint32_t end;
	atomic_uint next;
	atomic_int error;
};

static void deliver_thread(void *arg, uint32_t thread)
{
	struct delivery *d = arg;
	uint32_t p;

	while (!atomic_load(&d->error) && (p = atomic_fetch_add(&d->next, 1)) < d->end) {
		int none = 0, err = hand_out(d->gpu, thread, p);

		if (err)
			atomic_compare_exchange_strong(&d->error, &none, err);
	}
}

int lineup_gpu_deliver(struct gpu *gpu, struct lineup_pool *pool)
{
	struct delivery d = { .gpu = gpu };
	uint32_t next = 0;
	int err = check_kept(gpu);

	while (!err && next < gpu->layout.probes) {
		atomic_store(&d.next, next);
		if (gpu->lists_there)
			next = gpu->layout.probes;
		else
			err = fetch(gpu, &next);
		if (err)
			return err;
		d.end = next;
		lineup_pool_run(pool, deliver_thread, &d);
		err = atomic_load(&d.error);
		gpu->host_error = err != -ENODEV ? err : 0;
	}
	for (uint32_t p = 0; p < gpu->layout.probes; p++)
		gpu->survivors += answer_kept(gpu)[p];
	return err;
}
