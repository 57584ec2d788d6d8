// SPDX-License-Identifier: MIT
// The keeper's second thread, which seals and compacts, and the recovery of a gallery that refuses changes.
#include "keeper_internal.h"

#include <string.h>
#include <time.h>

struct maintainer {
	struct keeper *keeper;
	uint64_t not_before_ns;          /* after a failure, or a compaction that nobody asked for */
	uint64_t pause_ms;
	uint32_t segments;               /* after the last one: bulk enrolments add their own, which are merged */
};

/* Told of progress by a maintenance: whether it shall go on. */
static bool goes_on(void *arg, uint64_t done, uint64_t total)
{
	struct keeper *k = arg;
	bool on;

	(void)done;
	(void)total;
	pthread_mutex_lock(&k->mutex);
	on = !k->ending && !k->hold_maintenance;
	pthread_mutex_unlock(&k->mutex);
	return on;
}

/* What is due by itself: -1: nothing; else the .compact of a maintenance. */
static int due(struct maintainer *m)
{
	struct keeper *k = m->keeper;
	struct lineup_gallery_state state;
	uint32_t percent = atomic_load(&k->compact_percent);

	if (now_ns() < m->not_before_ns || lineup_gallery_refuses(k->gallery))
		return -1;
	lineup_gallery_now(k->gallery, &state);
	if (percent && state.rows > state.templates && (state.rows - state.templates) * 100 >= state.rows * percent)
		return 1;
	return state.journal_bytes > KEEPER_SEAL_BYTES || state.segments > m->segments ? 0 : -1;
}

static int maintain(struct maintainer *m, uint32_t compact, struct lineup_maintain_result *result, char *message)
{
	struct keeper *k = m->keeper;
	struct lineup_maintain_options options = {
		.size = sizeof(options),
		.compact = compact,
		.bytes_per_second = atomic_load(&k->maintain_bytes_per_second),
		.progress = goes_on,
		.progress_arg = k,
	};
	int err;

	message_catch(message);
	err = lineup_gallery_maintain(k->gallery, &options, result);
	message_catch(NULL);
	if (!err && result->sealed)
		metrics_count(METRIC_SEALED, 1);
	if (!err && result->compacted)
		metrics_count(METRIC_COMPACTED, 1);
	if (err && err != -ECANCELED) {
		char name[2 * DAEMON_NAME_BYTES_MAX], text[2 * MESSAGE_BYTES];

		log_event(LOG_WARN, "maintenance_failed", "gallery=%s error=%s", log_quote(name, sizeof(name), k->name),
			  log_quote(text, sizeof(text), message));
		m->pause_ms = m->pause_ms ? m->pause_ms * 2 : KEEPER_POLICY_MS;
		if (m->pause_ms > KEEPER_PAUSE_MS_MAX)
			m->pause_ms = KEEPER_PAUSE_MS_MAX;
		m->not_before_ns = now_ns() + m->pause_ms * 1000000;
	} else {
		struct lineup_gallery_state state;

		lineup_gallery_now(k->gallery, &state);
		m->segments = state.segments;
		m->pause_ms = 0;
		m->not_before_ns = result->compacted ? now_ns() + KEEPER_COMPACT_PAUSE_MS * 1000000ULL : 0;
	}
	return err;
}

static void wait_a_while(struct keeper *k)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += KEEPER_POLICY_MS / 1000;
	pthread_cond_timedwait(&k->maintain_wake, &k->mutex, &at);
}

/* One maintenance, if one is asked for or due; the mutex is held, but not meanwhile. */
static bool maintain_once(struct maintainer *m)
{
	struct keeper *k = m->keeper;
	struct lineup_maintain_result result = { 0 };
	struct keeper_op *op = k->maintain_first;
	char message[MESSAGE_BYTES];
	int compact = op ? (int)op->compact : k->ending ? -1 : due(m);
	int err;

	if (compact < 0)
		return false;
	if (op) {
		k->maintain_first = (struct keeper_op *)op->task.next;
		if (!k->maintain_first)
			k->maintain_end = &k->maintain_first;
	}
	k->maintaining = true;
	pthread_mutex_unlock(&k->mutex);
	err = maintain(m, (uint32_t)compact, &result, op ? op->message : message);
	pthread_mutex_lock(&k->mutex);
	k->maintaining = false;
	if (op) {
		op->err = err;
		op->maintained = result;
		op->task.next = k->ended ? &k->ended->task : NULL;
		k->ended = op;
	}
	k->settle |= op || result.compacted;
	if (k->settle && !k->gone)
		pthread_cond_signal(&k->wake);
	pthread_cond_broadcast(&k->maintain_wake);
	return true;
}

void *keeper_maintain_thread(void *arg)
{
	struct keeper *k = arg;
	struct maintainer m = { .keeper = k };

	pthread_mutex_lock(&k->mutex);
	/* At the end the ops that still wait are answered: cancelled, since the progress function says so. */
	while (!k->maintain_ending || k->maintain_first) {
		if ((k->hold_maintenance && !k->ending) || !maintain_once(&m))
			wait_a_while(k);
	}
	pthread_mutex_unlock(&k->mutex);
	return NULL;
}

static int recover(struct keeper *k)
{
	int err;

	pthread_mutex_lock(&k->mutex);
	k->hold_maintenance = true;
	while (k->maintaining)
		pthread_cond_wait(&k->maintain_wake, &k->mutex);
	pthread_mutex_unlock(&k->mutex);
	err = lineup_gallery_refuses(k->gallery) ? lineup_gallery_recover(k->gallery) : 0;
	if (!err) {
		/* Only now is it known which of the operations that attributes were put for are there. */
		attributes_close(k->attributes);
		k->attributes = NULL;
		err = keeper_attributes_open(k);
	}
	pthread_mutex_lock(&k->mutex);
	k->hold_maintenance = false;
	pthread_cond_broadcast(&k->maintain_wake);
	pthread_mutex_unlock(&k->mutex);
	return err;
}

void keeper_recover(struct keeper *k)
{
	char name[2 * DAEMON_NAME_BYTES_MAX];
	int err;

	if (!lineup_gallery_refuses(k->gallery) && k->attributes) {
		k->recover_at_ns = 0;
		return;
	}
	if (k->recover_at_ns && now_ns() < k->recover_at_ns)
		return;
	log_quote(name, sizeof(name), k->name);
	err = recover(k);
	if (err) {
		k->recover_pause_ms = k->recover_pause_ms ? k->recover_pause_ms * 2 : KEEPER_RECOVER_MS;
		if (k->recover_pause_ms > KEEPER_PAUSE_MS_MAX)
			k->recover_pause_ms = KEEPER_PAUSE_MS_MAX;
		k->recover_at_ns = now_ns() + k->recover_pause_ms * 1000000;
		log_event(LOG_ERROR, "recovery_failed", "gallery=%s error=\"%s\" next_ms=%llu", name, strerror(-err),
			  (unsigned long long)k->recover_pause_ms);
		return;
	}
	k->recover_at_ns = 0;
	k->recover_pause_ms = 0;
	metrics_count(METRIC_RECOVERED, 1);
	log_event(LOG_INFO, "recovered", "gallery=%s", name);
}
