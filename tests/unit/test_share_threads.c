// SPDX-License-Identifier: MIT
// Shared scans of two galleries by one crew while both are written: each answer is the oracle's for the state that its facts name.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "share_bed.h"

enum { DIM = 16, ROWS = 3000, PROBES = 4, K = 7, ASKERS = 2, TOWNS = 2, SUBJECTS = 40 };

struct town {
	pthread_mutex_t lock; /* of the bed's oracle and its sequence */
	struct bed *bed;
	struct lineup_share *share;
	struct lineup_matrix rows, matrix;
	struct probes probes; /* under the lock */
	uint64_t enrolled;
	atomic_bool stop;
};

struct asker {
	struct town *town;
	pthread_t thread;
	struct rng rng;
	uint64_t sequence, states;
	atomic_uint answers;
	atomic_bool ended;
	char wrong[600];
};

/* The state that the writer last acknowledged. */
static uint64_t acknowledged(struct town *town)
{
	uint64_t sequence;

	pthread_mutex_lock(&town->lock);
	sequence = town->bed->sequence;
	pthread_mutex_unlock(&town->lock);
	return sequence;
}

static bool answer_is_right(struct asker *asker, struct asked *a, uint64_t at_least)
{
	struct town *town = asker->town;
	bool wrong;

	if (a->facts.sequence < at_least) {
		snprintf(asker->wrong, sizeof(asker->wrong), "state %" PRIu64 " after %" PRIu64 " was acknowledged", a->facts.sequence, at_least);
		return false;
	}
	/* The oracle may not have heard yet of a state that is there. */
	pthread_mutex_lock(&town->lock);
	while (town->bed->sequence < a->facts.sequence) {
		pthread_mutex_unlock(&town->lock);
		usleep(100);
		pthread_mutex_lock(&town->lock);
	}
	probes_update(&town->probes, town->bed);
	wrong = asked_is_wrong(town->bed, a, asker->wrong, sizeof(asker->wrong));
	pthread_mutex_unlock(&town->lock);
	if (!wrong)
		asker->wrong[0] = 0;
	return !wrong;
}

static bool ask_some(struct asker *asker)
{
	struct asked asked[3];
	uint64_t at_least[3];
	bool right = true;

	for (uint32_t i = 0; i < 3; i++) {
		struct lineup_search_options options = OPTIONS(.k = K, .per = (enum lineup_search_per)rng_below(&asker->rng, 2));

		asked_init(&asked[i], &asker->town->probes, rng_below(&asker->rng, PROBES), 1, &options);
		at_least[i] = acknowledged(asker->town);
		if (asked_submit(&asked[i], asker->town->share)) {
			snprintf(asker->wrong, sizeof(asker->wrong), "submit failed");
			return false;
		}
	}
	for (uint32_t i = 0; i < 3; i++) {
		asked_wait(&asked[i]);
		right = right && answer_is_right(asker, &asked[i], at_least[i]);
		asker->states += asked[i].facts.sequence != asker->sequence;
		asker->sequence = asked[i].facts.sequence;
		asked_fini(&asked[i]);
	}
	atomic_fetch_add(&asker->answers, 1);
	return right;
}

static void *ask_on(void *arg)
{
	struct asker *asker = arg;

	while (!atomic_load(&asker->town->stop) && ask_some(asker))
		;
	atomic_store(&asker->ended, true);
	return NULL;
}

static void write_once(struct town *town, struct rng *rng)
{
	struct bed *bed = town->bed;
	char text[40][16];
	const char *names[40];
	uint32_t what = rng_below(rng, 10), count = 1 + rng_below(rng, 40);

	pthread_mutex_lock(&town->lock);
	if (what < 6 && town->enrolled + count <= town->rows.rows) {
		for (uint32_t i = 0; i < count; i++) {
			snprintf(text[i], sizeof(text[i]), "s%u", rng_below(rng, SUBJECTS));
			names[i] = text[i];
		}
		bed->ctx->record_bytes_max = what < 2 ? 3000 : 0; /* most become a segment, or all go to the journal */
		bed_enrol(bed, &town->rows, town->enrolled, count, names, NULL, NULL);
		bed->ctx->record_bytes_max = 0;
		town->enrolled += count;
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

/* Lets every asker finish at least one more round, so that reads and writes are mixed on any machine. */
static void let_them_ask(struct asker *askers, uint32_t count)
{
	uint32_t before[TOWNS * ASKERS];

	for (uint32_t i = 0; i < count; i++)
		before[i] = atomic_load(&askers[i].answers);
	for (uint32_t i = 0; i < count; i++)
		while (atomic_load(&askers[i].answers) == before[i] && !atomic_load(&askers[i].ended))
			usleep(200);
}

static void town_open(struct town *town, struct rng *rng)
{
	pthread_mutex_init(&town->lock, NULL);
	town->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	town->bed->story = "threads";
	town->rows = rows_random(rng, ROWS, DIM);
	town->matrix = rows_random(rng, PROBES, DIM);
	town->enrolled = 300;
	bed_enrol(town->bed, &town->rows, 0, town->enrolled, NULL, NULL, NULL);
	probes_init(&town->probes, town->bed, &town->matrix);
}

static void town_close(struct town *town)
{
	lineup_share_destroy(town->share);
	probes_fini(&town->probes);
	rows_free(&town->matrix);
	rows_free(&town->rows);
	bed_close(town->bed);
	pthread_mutex_destroy(&town->lock);
}

static void write_while_they_ask(struct town *towns, struct asker *askers, struct rng *rng)
{
	for (uint32_t i = 0; i < TOWNS * ASKERS; i++) {
		memset(&askers[i], 0, sizeof(askers[i]));
		askers[i].town = &towns[i % TOWNS];
		askers[i].rng.state = test_seed() + i;
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_on, &askers[i]), 0);
	}
	for (uint64_t i = 0; i < test_scaled(100, 20); i++) {
		write_once(&towns[i % TOWNS], rng);
		if (i % 3 == 0)
			let_them_ask(askers, TOWNS * ASKERS);
	}
	for (uint32_t i = 0; i < TOWNS; i++)
		atomic_store(&towns[i].stop, true);
	for (uint32_t i = 0; i < TOWNS * ASKERS; i++) {
		pthread_join(askers[i].thread, NULL);
		if (askers[i].wrong[0])
			fail_msg("seed %" PRIu64 ": asker %u: %s", test_seed(), i, askers[i].wrong);
		assert_true(askers[i].states > 2);
	}
}

static void answers_are_of_whole_states_that_are_not_older_than_asked_for(void **state)
{
	static struct town towns[TOWNS];
	static struct asker askers[TOWNS * ASKERS];
	struct rng rng = { test_seed() };
	struct lineup_crew *crew;

	(void)state;
	memset(towns, 0, sizeof(towns));
	for (uint32_t i = 0; i < TOWNS; i++)
		town_open(&towns[i], &rng);
	assert_int_equal(lineup_crew_create(towns[0].bed->ctx, 3, &crew), 0);
	towns[0].share = bed_share(towns[0].bed, crew, &SHARE(0));
	towns[1].share = bed_share(towns[1].bed, crew, &SHARE(.residency = LINEUP_STREAMED, .stream_bytes = 4 << 20, .probes_max = 4));
	write_while_they_ask(towns, askers, &rng);
	for (uint32_t i = 0; i < TOWNS; i++)
		town_close(&towns[i]);
	lineup_crew_destroy(crew);
}

/* What the gallery has dropped does not stay in memory, or open, once the share has come to rest. */
static void what_was_compacted_is_let_go(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_share_stats stats;
	struct lineup_crew *crew;
	static struct town town;
	struct asked a;

	(void)state;
	memset(&town, 0, sizeof(town));
	town_open(&town, &rng);
	town.bed->ctx->record_bytes_max = 3000;
	bed_enrol(town.bed, &town.rows, 300, 2000, NULL, NULL, NULL);
	probes_update(&town.probes, town.bed);
	assert_int_equal(lineup_crew_create(town.bed->ctx, 2, &crew), 0);
	town.share = bed_share(town.bed, crew, &SHARE(0));
	asked_init(&a, &town.probes, 0, 1, &OPTIONS(.k = K));
	assert_int_equal(asked_submit(&a, town.share), 0);
	asked_wait(&a);
	asked_check(town.bed, &a);
	asked_fini(&a);
	bed_delete_template(town.bed, 301);
	bed_compact(town.bed);
	town.share->job.rest(&town.share->job); /* as the crew does now and then */
	lineup_share_stats(town.share, &stats);
	assert_int_equal(stats.resident_bytes, 0);
	asked_init(&a, &town.probes, 0, 1, &OPTIONS(.k = K));
	assert_int_equal(asked_submit(&a, town.share), 0);
	asked_wait(&a);
	asked_check(town.bed, &a);
	asked_fini(&a);
	town_close(&town);
	lineup_crew_destroy(crew);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_of_whole_states_that_are_not_older_than_asked_for),
		cmocka_unit_test(what_was_compacted_is_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
