// SPDX-License-Identifier: MIT
// Once a second: what each gallery did since, for the metrics; and how fast memory can be read here, once.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "server.h"

enum {
	TICK_MS = 1000,
	MEASURE_BYTES = 256 << 20,
	MEASURE_MS = 10,
	MEASURE_ROUNDS = 8,
	MEASURE_THREADS_MAX = 64,
};

/* Of one gallery, as of the last tick. */
struct rates {
	struct rates *next;
	char name[DAEMON_NAME_BYTES_MAX + 1];
	struct lineup_share_stats before;
	double scan_bytes_per_second, batch;
	bool seen;
};

struct stats {
	struct server *server;
	struct loop_timer timer;
	struct rates *rates;
	pthread_t thread;
	bool has_thread;
	_Atomic double memory_bytes_per_second; /* 0: not measured */
};

struct reader {
	pthread_t thread;
	const uint64_t *data;
	size_t words;
	uint64_t until_ns, bytes, sum;
};

static void *read_memory(void *arg)
{
	struct reader *r = arg;
	size_t at = 0, chunk = 1 << 16;

	while (now_ns() < r->until_ns) {
		uint64_t a = 0, b = 0, c = 0, d = 0;

		for (size_t i = at; i + 4 <= at + chunk; i += 4) {
			a += r->data[i];
			b += r->data[i + 1];
			c += r->data[i + 2];
			d += r->data[i + 3];
		}
		r->sum += a + b + c + d; /* so that it is read */
		r->bytes += chunk * sizeof(*r->data);
		at = at + 2 * chunk <= r->words ? at + chunk : 0;
	}
	return NULL;
}

/* One round by all threads: bytes a second. */
static double read_round(struct reader *readers, uint32_t threads, const uint64_t *memory)
{
	uint64_t begun = now_ns(), bytes = 0;
	uint32_t made = 0;

	for (; made < threads; made++) {
		struct reader *r = &readers[made];

		r->words = MEASURE_BYTES / sizeof(uint64_t) / threads;
		r->data = memory + made * r->words;
		r->bytes = 0;
		r->until_ns = begun + MEASURE_MS * 1000000ULL;
		if (pthread_create(&r->thread, NULL, read_memory, r))
			break;
	}
	for (uint32_t i = 0; i < made; i++) {
		pthread_join(readers[i].thread, NULL);
		bytes += readers[i].bytes;
	}
	return (double)bytes / ((double)(now_ns() - begun) / 1e9);
}

/*
 * How fast all threads together read memory: what a resident scan that does not fit the caches cannot exceed. The
 * best of some rounds: others may be at work.
 */
static void *measure(void *arg)
{
	struct stats *stats = arg;
	uint32_t threads = lineup_crew_threads(stats->server->crew);
	struct reader *readers = calloc(MEASURE_THREADS_MAX, sizeof(*readers));
	void *memory = mmap(NULL, MEASURE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double best = 0;

	if (threads > MEASURE_THREADS_MAX)
		threads = MEASURE_THREADS_MAX;
	if (memory != MAP_FAILED && readers) {
		memset(memory, 1, MEASURE_BYTES);
		for (int round = 0; round < MEASURE_ROUNDS; round++) {
			double rate = read_round(readers, threads, memory);

			best = rate > best ? rate : best;
		}
		atomic_store(&stats->memory_bytes_per_second, best);
	}
	if (memory != MAP_FAILED)
		munmap(memory, MEASURE_BYTES);
	free(readers);
	return NULL;
}

static struct rates *rates_of(struct stats *stats, const char *name)
{
	struct rates *r = stats->rates;

	while (r && strcmp(r->name, name))
		r = r->next;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return NULL;
		snprintf(r->name, sizeof(r->name), "%s", name);
		r->next = stats->rates;
		stats->rates = r;
	}
	return r;
}

static void tick_gallery(void *arg, struct gallery *gallery)
{
	struct stats *stats = arg;
	struct metrics_gallery m = { 0 };
	struct rates *r = rates_of(stats, gallery_name(gallery));
	double busy;
	uint64_t rows;

	if (!r)
		return;
	keeper_metrics(gallery_keeper(gallery), &m);
	r->seen = true;
	if (m.share.revolutions < r->before.revolutions || m.share.queries < r->before.queries)
		memset(&r->before, 0, sizeof(r->before)); /* another gallery of that name */
	busy = m.share.seconds_busy - r->before.seconds_busy;
	rows = m.share.rows_scanned - r->before.rows_scanned;
	if (busy > 0)
		r->scan_bytes_per_second = (double)(m.share.bytes_scanned - r->before.bytes_scanned) / busy;
	if (rows)
		r->batch = (double)(m.share.comparisons - r->before.comparisons) / (double)rows;
	r->before = m.share;
	m.scan_bytes_per_second = r->scan_bytes_per_second;
	m.batch = r->batch;
	m.limit_bytes_per_second = m.share.resident ? atomic_load(&stats->memory_bytes_per_second) : 0;
	metrics_set_gallery(&m);
}

static void tick(struct loop_timer *timer)
{
	struct stats *stats = (struct stats *)((char *)timer - offsetof(struct stats, timer));
	struct server *server = stats->server;
	struct rates **at, *r;

	for (r = stats->rates; r; r = r->next)
		r->seen = false;
	galleries_each(server->galleries, tick_gallery, stats);
	for (at = &stats->rates; r = *at, r;) {
		if (r->seen) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		free(r);
	}
	if (server->clients)
		metrics_set_clients(clients_count(server->clients));
	searches_sweep(server);
	loop_timer_set(server->loop, timer, TICK_MS);
}

int stats_start(struct server *server)
{
	struct stats *stats = calloc(1, sizeof(*stats));

	if (!stats)
		return -ENOMEM;
	stats->server = server;
	stats->timer.fire = tick;
	server->stats = stats;
	stats->has_thread = !pthread_create(&stats->thread, NULL, measure, stats);
	tick(&stats->timer);
	return 0;
}

void stats_fini(struct server *server)
{
	struct stats *stats = server->stats;

	if (!stats)
		return;
	if (stats->has_thread)
		pthread_join(stats->thread, NULL);
	loop_timer_clear(server->loop, &stats->timer);
	for (struct rates *r = stats->rates, *next; r; r = next) {
		next = r->next;
		free(r);
	}
	free(stats);
}
