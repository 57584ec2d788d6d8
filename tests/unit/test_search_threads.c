// SPDX-License-Identifier: MIT
// Searches in many threads while the gallery is written: each answer is the oracle's for the state that its facts name.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "search_bed.h"

enum { DIM = 16, ROWS = 4000, PROBES = 3, K = 7, READERS = 3, SHARERS = 2, SUBJECTS = 40 };

/* What all threads share. The bed and its oracle are used under the lock; searches run without it. */
struct town {
	pthread_mutex_t lock;
	struct bed *bed;
	struct lineup_matrix probe_rows;
	struct lineup_gallery *shared; /* open for reading, never refreshed */
	atomic_bool stop;
	struct backends backends;
};

struct reader {
	struct town *town;
	pthread_t thread;
	uint32_t number;
	struct probes probes;
	struct rng rng;
	atomic_uint searches;
	atomic_bool ended;
	uint64_t states;   /* how often the state had moved on */
	uint64_t sequence; /* the last one seen */
	char wrong[600];
};

static bool reader_fails(struct reader *r, const char *what, int err)
{
	if (err)
		snprintf(r->wrong, sizeof(r->wrong), "reader %u: %s: %s", r->number, what, strerror(-err));
	return err != 0;
}

/* Waits until the oracle has the state, which a reader may see before the writer has told it. */
static void lock_state(struct town *town, uint64_t sequence)
{
	pthread_mutex_lock(&town->lock);
	while (town->bed->sequence < sequence) {
		pthread_mutex_unlock(&town->lock);
		usleep(100);
		pthread_mutex_lock(&town->lock);
	}
}

static bool answers_are_right(struct reader *r, const struct lineup_search_options *options,
			      const struct lineup_candidate *candidates, const uint32_t *counts, uint64_t sequence)
{
	char why[400];
	bool right = true;

	lock_state(r->town, sequence);
	probes_update(&r->probes, r->town->bed);
	for (uint32_t p = 0; p < PROBES && right; p++) {
		struct lineup_candidate want[K];
		uint32_t count = oracle_pick(&r->town->bed->oracle, &r->probes.rankings[p], sequence, options, want);

		if (candidates_differ(want, count, candidates + p * K, counts[p], why, sizeof(why))) {
			snprintf(r->wrong, sizeof(r->wrong), "reader %u, probe %u, state %" PRIu64 ": %s", r->number, p, sequence,
				 why);
			right = false;
		}
	}
	pthread_mutex_unlock(&r->town->lock);
	return right;
}

/* One searcher over what @gallery shows now, two searches. */
static bool search_now(struct reader *r, struct lineup_gallery *gallery)
{
	const struct backends *backends = &r->town->backends;
	struct lineup_search_setup setup = SETUP(.backend = backends->name[rng_below(&r->rng, backends->count)],
						 .threads = 1 + rng_below(&r->rng, 3),
						 .residency = (enum lineup_residency)rng_below(&r->rng, 3), .stream_bytes = 4 << 20,
						 .probes_max = 8, .candidates_max = rng_below(&r->rng, 2) ? 0 : 2);
	struct lineup_search_options options = OPTIONS(.k = K, .now = 1000, .per = (enum lineup_search_per)rng_below(&r->rng, 2));
	struct lineup_searcher *searcher;
	bool right = true;

	if (reader_fails(r, "searcher_create", lineup_searcher_create(gallery, &setup, &searcher)))
		return false;
	for (uint32_t i = 0; i < 2 && right; i++) {
		struct lineup_candidate candidates[PROBES * K];
		struct lineup_search_facts facts;
		uint32_t counts[PROBES];

		right = !reader_fails(r, "search",
				      lineup_search(searcher, &r->town->probe_rows, &options, candidates, counts, &facts)) &&
			answers_are_right(r, &options, candidates, counts, facts.sequence);
		if (right && facts.sequence < r->sequence) {
			snprintf(r->wrong, sizeof(r->wrong), "reader %u went back from state %" PRIu64 " to %" PRIu64, r->number,
				 r->sequence, facts.sequence);
			right = false;
		}
		r->states += facts.sequence != r->sequence;
		r->sequence = facts.sequence;
	}
	lineup_searcher_destroy(searcher);
	atomic_fetch_add(&r->searches, 1);
	return right;
}

/* A handle of its own, refreshed again and again, now and then opened anew. */
static void *read_and_refresh(void *arg)
{
	struct reader *r = arg;
	struct lineup_gallery *gallery = NULL;
	bool right = !reader_fails(r, "open", lineup_gallery_open(r->town->bed->ctx, r->town->bed->path, NULL, &gallery));

	while (right && !atomic_load(&r->town->stop)) {
		right = search_now(r, gallery);
		if (right && !rng_below(&r->rng, 8)) {
			lineup_gallery_close(gallery);
			gallery = NULL;
			right = !reader_fails(r, "open again",
					      lineup_gallery_open(r->town->bed->ctx, r->town->bed->path, NULL, &gallery));
		} else if (right) {
			right = !reader_fails(r, "refresh", lineup_gallery_refresh(gallery));
		}
	}
	lineup_gallery_close(gallery);
	atomic_store(&r->ended, true);
	return NULL;
}

/* The handle that others search as well. */
static void *read_shared(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->town->stop) && search_now(r, r->town->shared))
		;
	atomic_store(&r->ended, true);
	return NULL;
}

/* The writer's next operation, under the lock because the oracle moves with it. */
static void write_once(struct town *town, struct rng *rng, struct lineup_matrix *rows, uint64_t *enrolled)
{
	struct bed *bed = town->bed;
	char text[40][16];
	const char *names[40];
	uint32_t what = rng_below(rng, 10), count = 1 + rng_below(rng, 40);

	pthread_mutex_lock(&town->lock);
	if (what < 6 && *enrolled + count <= rows->rows) {
		for (uint32_t i = 0; i < count; i++) {
			snprintf(text[i], sizeof(text[i]), "s%u", rng_below(rng, SUBJECTS));
			names[i] = text[i];
		}
		bed->ctx->record_bytes_max = what < 2 ? 3000 : 0; /* most become a segment, or all go to the journal */
		bed_enrol(bed, rows, *enrolled, count, names, NULL, NULL);
		bed->ctx->record_bytes_max = 0;
		*enrolled += count;
	} else if (what < 9) {
		const struct oracle_row *r = &bed->oracle.rows[rng_below(rng, (uint32_t)bed->oracle.count)];
		char name[LINEUP_SUBJECT_BYTES_MAX + 1];

		snprintf(name, sizeof(name), "%s", r->name);
		if (r->until == UINT64_MAX && what < 8)
			bed_delete_template(bed, r->id);
		else if (r->until == UINT64_MAX)
			bed_delete_subject(bed, name);
	} else {
		bed_compact(bed);
	}
	pthread_mutex_unlock(&town->lock);
}

/* Lets every reader finish at least one more round, so that reads and writes are mixed on any machine. */
static void let_readers_read(struct reader *readers, uint32_t count)
{
	uint32_t before[READERS + SHARERS];

	for (uint32_t i = 0; i < count; i++)
		before[i] = atomic_load(&readers[i].searches);
	for (uint32_t i = 0; i < count; i++)
		while (atomic_load(&readers[i].searches) == before[i] && !atomic_load(&readers[i].ended))
			usleep(200);
}

static void reader_start(struct reader *r, struct town *town, uint32_t number)
{
	memset(r, 0, sizeof(*r));
	r->town = town;
	r->number = number;
	r->rng.state = test_seed() + number;
	probes_init(&r->probes, town->bed, &town->probe_rows);
	assert_int_equal(pthread_create(&r->thread, NULL, number < READERS ? read_and_refresh : read_shared, r), 0);
}

static void searches_see_whole_states_while_a_writer_writes(void **state)
{
	static struct reader readers[READERS + SHARERS];
	static struct town town = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct rng rng = { test_seed() };
	struct lineup_matrix rows = rows_random(&rng, ROWS, DIM);
	uint64_t enrolled = 300, operations = test_scaled(150, 20);

	(void)state;
	backends_here(&town.backends);
	town.bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	town.bed->story = "threads";
	town.probe_rows = rows_random(&rng, PROBES, DIM);
	bed_enrol(town.bed, &rows, 0, enrolled, NULL, NULL, NULL);
	assert_int_equal(lineup_gallery_open(town.bed->ctx, town.bed->path, NULL, &town.shared), 0);
	for (uint32_t i = 0; i < READERS + SHARERS; i++)
		reader_start(&readers[i], &town, i);
	for (uint64_t i = 0; i < operations; i++) {
		write_once(&town, &rng, &rows, &enrolled);
		if (i % 5 == 0)
			let_readers_read(readers, READERS + SHARERS);
	}
	atomic_store(&town.stop, true);
	for (uint32_t i = 0; i < READERS + SHARERS; i++)
		pthread_join(readers[i].thread, NULL);
	for (uint32_t i = 0; i < READERS + SHARERS; i++) {
		if (readers[i].wrong[0])
			fail_msg("seed %" PRIu64 ": %s", test_seed(), readers[i].wrong);
		assert_true(atomic_load(&readers[i].searches) > 0);
		if (i < READERS)
			assert_true(readers[i].states > 2);
		else
			assert_int_equal(readers[i].states, 1);
		probes_fini(&readers[i].probes);
	}
	lineup_gallery_close(town.shared);
	rows_free(&town.probe_rows);
	rows_free(&rows);
	bed_close(town.bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(searches_see_whole_states_while_a_writer_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
