// SPDX-License-Identifier: MIT
// The keeper of a gallery: its queue and its thread.
#include "keeper_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void keeper_answer(struct keeper *k, struct keeper_op *op)
{
	loop_post(k->loop, &op->task); /* the caller's from here on */
}

void keeper_refuse(struct keeper_op *op, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(op->message, sizeof(op->message), format, args);
	va_end(args);
	op->err = err;
}

static void serve(struct keeper *k, struct keeper_op *op)
{
	bool batched = op->kind == KEEPER_ENROL || op->kind == KEEPER_DELETE || op->kind == KEEPER_SETATTR;

	if (batched) {
		keeper_change(k, op);
		return;
	}
	keeper_flush(k);
	if (op->kind == KEEPER_READ) {
		op->read(op, k);
		keeper_answer(k, op);
	} else if (op->kind == KEEPER_SEARCH) {
		op->read(op, k); /* it is not ours any more */
	} else {
		pthread_mutex_lock(&k->mutex);
		op->task.next = NULL;
		*k->maintain_end = op;
		k->maintain_end = (struct keeper_op **)&op->task.next;
		pthread_cond_broadcast(&k->maintain_wake);
		pthread_mutex_unlock(&k->mutex);
	}
}

/* Waits for work, or for the time of the next attempt to recover. Returns all that waits, in order. */
static struct keeper_op *wait_for_work(struct keeper *k, bool *ending)
{
	struct keeper_op *first;

	pthread_mutex_lock(&k->mutex);
	while (!k->first && !k->ending && !k->settle) {
		struct timespec at = { .tv_sec = (time_t)(k->recover_at_ns / 1000000000), .tv_nsec = (long)(k->recover_at_ns % 1000000000) };

		if (!k->recover_at_ns)
			pthread_cond_wait(&k->wake, &k->mutex);
		else if (pthread_cond_timedwait(&k->wake, &k->mutex, &at) == ETIMEDOUT)
			break;
	}
	first = k->first;
	k->first = NULL;
	k->end = &k->first;
	*ending = k->ending;
	pthread_mutex_unlock(&k->mutex);
	return first;
}

/*
 * Moves reads and searches to the front: a client's read is never behind a write of its own, and else their order is
 * nobody's. So reads do not end groups.
 */
static struct keeper_op *reads_first(struct keeper_op *op)
{
	struct task *reads = NULL, **reads_end = &reads, *others = NULL, **others_end = &others, *task, *next;

	for (task = &op->task; task; task = next) {
		enum keeper_kind kind = ((struct keeper_op *)task)->kind;
		struct task ***end = kind == KEEPER_READ || kind == KEEPER_SEARCH ? &reads_end : &others_end;

		next = task->next;
		task->next = NULL;
		**end = task;
		*end = &task->next;
	}
	*reads_end = others;
	return (struct keeper_op *)reads;
}

static void serve_all(struct keeper *k, struct keeper_op *op)
{
	struct keeper_op *next;

	for (op = op ? reads_first(op) : NULL; op; op = next) {
		next = (struct keeper_op *)op->task.next;
		atomic_fetch_sub(&k->waiting, 1);
		serve(k, op);
	}
}

/* After a maintenance: what was deleted leaves the attributes' file as well, and who asked for the maintenance is told. */
static void settle(struct keeper *k)
{
	struct lineup_gallery_state state;
	struct keeper_op *op, *next;
	bool wanted;
	int err = 0;

	pthread_mutex_lock(&k->mutex);
	wanted = k->settle;
	op = k->ended;
	k->settle = false;
	k->ended = NULL;
	pthread_mutex_unlock(&k->mutex);
	if (wanted && k->attributes && !lineup_gallery_refuses(k->gallery)) {
		lineup_gallery_now(k->gallery, &state);
		err = attributes_settle(k->attributes, state.sequence);
	}
	for (; op; op = next) {
		next = (struct keeper_op *)op->task.next;
		if (!op->err && err)
			keeper_refuse(op, err, "gallery %s: attributes could not be written anew: %s", k->name, strerror(-err));
		keeper_answer(k, op);
	}
}

static void *keeper_thread(void *arg)
{
	struct keeper *k = arg;
	bool ending = false;

	for (;;) {
		struct keeper_op *op = wait_for_work(k, &ending);

		if (!op && ending)
			break;
		serve_all(k, op);
		keeper_flush(k);
		keeper_recover(k);
		settle(k);
	}
	pthread_mutex_lock(&k->mutex);
	k->gone = true;
	pthread_mutex_unlock(&k->mutex);
	return NULL;
}

static int open_gallery(struct keeper *k, const struct keeper_setup *setup)
{
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = setup->dim,
		.model = setup->model, .store = setup->store };
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = LINEUP_GALLERY_WRITE | LINEUP_GALLERY_MAINTAINED };
	int err;

	if (setup->create) {
		struct lineup_gallery *made;

		err = lineup_gallery_create(k->ctx, k->path, &create, &made);
		if (err)
			return err;
		lineup_gallery_close(made); /* opened again with the flags that only opening takes */
	}
	err = lineup_gallery_open(k->ctx, k->path, &options, &k->gallery);
	if (!err)
		lineup_gallery_info(k->gallery, &k->info);
	return err;
}

static enum lineup_residency residency(const struct config *config)
{
	if (!strcmp(config->residency, "resident"))
		return LINEUP_RESIDENT;
	return strcmp(config->residency, "streamed") ? LINEUP_RESIDENCY_AUTO : LINEUP_STREAMED;
}

static int open_share(struct keeper *k, const struct keeper_setup *setup)
{
	const struct config *config = setup->config;
	struct lineup_share_setup share = {
		.size = sizeof(share),
		.probes_max = config->probes_max,
		.waiting_max = config->waiting_max,
		.backend = config->backend[0] ? config->backend : NULL,
		.residency = residency(config),
		.memory_max = config->memory_max,
		.k_max = config->k_max,
		.devices = config->devices[0] ? config->devices : NULL,
		.device_memory_max = config->device_memory_max,
	};

	k->k_max = config->k_max ? config->k_max : LINEUP_K_MAX;
	return lineup_share_create(setup->crew, k->gallery, &share, &k->share);
}

static int start_threads(struct keeper *k)
{
	int err = -pthread_create(&k->thread, NULL, keeper_thread, k);

	k->has_thread = !err;
	if (!err) {
		err = -pthread_create(&k->maintainer, NULL, keeper_maintain_thread, k);
		k->has_maintainer = !err;
	}
	return err;
}

static int init(struct keeper *k, const struct keeper_setup *setup)
{
	pthread_condattr_t clock;

	k->ctx = setup->ctx;
	k->loop = setup->loop;
	snprintf(k->name, sizeof(k->name), "%s", setup->name);
	k->path = strdup(setup->path);
	k->end = &k->first;
	k->maintain_end = &k->maintain_first;
	k->batch.end = &k->batch.first;
	pthread_mutex_init(&k->mutex, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&k->wake, &clock);
	pthread_cond_init(&k->maintain_wake, &clock);
	pthread_condattr_destroy(&clock);
	keeper_reload(k, setup->config);
	return k->path ? 0 : -ENOMEM;
}

int keeper_create(const struct keeper_setup *setup, struct keeper **keeper)
{
	struct keeper *k = calloc(1, sizeof(*k));
	char name[2 * DAEMON_NAME_BYTES_MAX];
	int err;

	if (!k)
		return -ENOMEM;
	err = init(k, setup);
	if (!err)
		err = open_gallery(k, setup);
	if (!err)
		err = keeper_attributes_open(k);
	if (!err)
		err = open_share(k, setup);
	if (!err)
		err = start_threads(k);
	if (err) {
		keeper_destroy(k);
		return err;
	}
	log_event(LOG_INFO, "gallery_open", "gallery=%s templates=%llu sequence=%llu", log_quote(name, sizeof(name), k->name),
		  (unsigned long long)k->info.templates, (unsigned long long)k->info.sequence);
	*keeper = k;
	return 0;
}

void keeper_destroy(struct keeper *k)
{
	if (!k)
		return;
	pthread_mutex_lock(&k->mutex);
	k->ending = true;
	pthread_cond_broadcast(&k->wake);
	pthread_cond_broadcast(&k->maintain_wake);
	pthread_mutex_unlock(&k->mutex);
	if (k->has_thread)
		pthread_join(k->thread, NULL);
	pthread_mutex_lock(&k->mutex);
	k->maintain_ending = true;
	pthread_cond_broadcast(&k->maintain_wake);
	pthread_mutex_unlock(&k->mutex);
	if (k->has_maintainer)
		pthread_join(k->maintainer, NULL);
	if (k->has_maintainer) {
		pthread_mutex_lock(&k->mutex);
		k->settle = true;
		pthread_mutex_unlock(&k->mutex);
		settle(k);
	}
	lineup_share_destroy(k->share);
	attributes_close(k->attributes);
	lineup_gallery_close(k->gallery);
	pthread_cond_destroy(&k->wake);
	pthread_cond_destroy(&k->maintain_wake);
	pthread_mutex_destroy(&k->mutex);
	free(k->path);
	free(k);
}

int keeper_submit(struct keeper *k, struct keeper_op *op)
{
	op->err = 0;
	op->message[0] = '\0';
	op->task.next = NULL;
	if (atomic_fetch_add(&k->waiting, 1) >= atomic_load(&k->waiting_max)) {
		atomic_fetch_sub(&k->waiting, 1);
		return -EBUSY;
	}
	pthread_mutex_lock(&k->mutex);
	*k->end = op;
	k->end = (struct keeper_op **)&op->task.next;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->mutex);
	return 0;
}

void keeper_reload(struct keeper *k, const struct config *config)
{
	uint32_t group_max = config->group_max;

	if (!group_max || group_max > LINEUP_GROUP_OPERATIONS_MAX)
		group_max = LINEUP_GROUP_OPERATIONS_MAX;
	atomic_store(&k->group_max, group_max);
	atomic_store(&k->waiting_max, config->waiting_operations_max);
	atomic_store(&k->compact_percent, config->compact_percent);
	atomic_store(&k->maintain_bytes_per_second, config->maintain_bytes_per_second);
}

void keeper_metrics(struct keeper *k, struct metrics_gallery *metrics)
{
	const char *refuses = lineup_gallery_refuses(k->gallery);

	snprintf(metrics->name, sizeof(metrics->name), "%s", k->name);
	lineup_gallery_now(k->gallery, &metrics->state);
	lineup_share_stats(k->share, &metrics->share);
	metrics->operations_waiting = keeper_waiting(k);
	pthread_mutex_lock(&k->mutex);
	metrics->maintaining = k->maintaining;
	pthread_mutex_unlock(&k->mutex);
	snprintf(metrics->refuses, sizeof(metrics->refuses), "%s", refuses ? refuses : "");
	metrics->deleted_rows = metrics->state.rows - metrics->state.templates;
}

uint32_t keeper_waiting(const struct keeper *k)
{
	return atomic_load(&k->waiting);
}

const char *keeper_name(const struct keeper *k)
{
	return k->name;
}

const char *keeper_path(const struct keeper *k)
{
	return k->path;
}

const struct lineup_gallery_info *keeper_info(const struct keeper *k)
{
	return &k->info;
}

uint32_t keeper_k_max(const struct keeper *k)
{
	return k->k_max;
}

struct lineup_share *keeper_share(struct keeper *k)
{
	return k->share;
}

struct lineup_gallery *keeper_gallery(struct keeper *k)
{
	return k->gallery;
}

struct attributes *keeper_attributes(struct keeper *k)
{
	return k->attributes;
}

uint64_t keeper_attributes_count(const struct keeper *k)
{
	return atomic_load(&k->attributes_count);
}
