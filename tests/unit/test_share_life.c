// SPDX-License-Identifier: MIT
// Queries that wait, in whose turn they join, are refused, are cancelled, or see the share go.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "share_bed.h"

enum { DIM = 32, ROWS = 3000, PROBES = 64, VICTIMS = 12 };

/* A gallery, its probes, and a crew that a gate stops before every unit. */
struct place {
	struct bed *bed;
	struct lineup_matrix matrix;
	struct probes probes;
	struct lineup_crew *crew;
	struct lineup_share *share;
	pthread_mutex_t gate;
	/* What joined, in its order. */
	uint64_t joined[256];
	uint32_t joins;
	/* Cancels one of these every so many units; 0: none. */
	atomic_uint cancel_every, units;
	atomic_ullong ticket[VICTIMS];
};

static void before_a_unit(void *arg, struct lineup_share *share)
{
	struct place *place = arg;
	uint32_t every, unit;

	pthread_mutex_lock(&place->gate);
	pthread_mutex_unlock(&place->gate);
	every = atomic_load(&place->cancel_every);
	unit = atomic_fetch_add(&place->units, 1);
	if (every && unit % every == 0)
		lineup_share_cancel(share, atomic_load(&place->ticket[unit / every * 7 % VICTIMS]));
}

static void note_join(void *arg, const struct lineup_share_request *request, uint64_t row)
{
	struct place *place = arg;

	if (place->joins < 256)
		place->joined[place->joins++] = request->query.client * 100 + row;
}

/* The gate is shut. */
static void place_open(struct place *place, struct lineup_share_setup setup, uint32_t threads)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows = rows_random(&rng, ROWS, DIM);

	memset(place, 0, sizeof(*place));
	pthread_mutex_init(&place->gate, NULL);
	place->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	place->bed->ctx->record_bytes_max = 6000;
	bed_enrol(place->bed, &rows, 0, ROWS / 2, NULL, NULL, NULL);
	place->bed->ctx->record_bytes_max = 0;
	bed_enrol(place->bed, &rows, ROWS / 2, ROWS / 2, NULL, NULL, NULL);
	rows_free(&rows);
	place->matrix = rows_random(&rng, PROBES, DIM);
	probes_init(&place->probes, place->bed, &place->matrix);
	assert_int_equal(lineup_crew_create(place->bed->ctx, threads, &place->crew), 0);
	place->share = bed_share(place->bed, place->crew, &setup);
	pthread_mutex_lock(&place->gate);
	place->share->test_arg = place;
	place->share->test_join = note_join;
	place->share->test_unit = before_a_unit;
}

static void place_close(struct place *place)
{
	lineup_share_destroy(place->share);
	lineup_crew_destroy(place->crew);
	probes_fini(&place->probes);
	rows_free(&place->matrix);
	bed_close(place->bed);
	pthread_mutex_destroy(&place->gate);
}

static void ask(struct place *place, struct asked *a, uint32_t client, uint32_t priority, uint32_t count)
{
	struct lineup_search_options options = OPTIONS(.k = 5);

	asked_init(a, &place->probes, 0, count, &options);
	a->query.client = client;
	a->query.priority = priority;
	assert_int_equal(asked_submit(a, place->share), 0);
}

static void priority_goes_first_then_each_client_in_turn(void **state)
{
	static const uint64_t order[] = { 500, 501, 100, 200, 300, 101, 301, 100, 101, 700, 600 };
	struct asked asked[7];
	struct place place;

	(void)state;
	place_open(&place, SHARE(.probes_max = 2), 2);
	place.bed->story = "turns";
	ask(&place, &asked[0], 6, 0, 1);
	ask(&place, &asked[1], 1, 5, 2);
	ask(&place, &asked[2], 1, 5, 2);
	ask(&place, &asked[3], 2, 5, 1);
	ask(&place, &asked[4], 3, 5, 2);
	ask(&place, &asked[5], 7, 4, 1);
	ask(&place, &asked[6], 5, 9, 2);
	pthread_mutex_unlock(&place.gate);
	for (uint32_t i = 0; i < 7; i++) {
		asked_wait(&asked[i]);
		asked_check(place.bed, &asked[i]);
		assert_true(asked[i].probes_most <= 2);
		asked_fini(&asked[i]);
	}
	assert_int_equal(place.joins, ARRAY_SIZE(order));
	for (uint32_t i = 0; i < ARRAY_SIZE(order); i++)
		assert_int_equal(place.joined[i], order[i]);
	place_close(&place);
}

static void too_many_are_refused_at_once(void **state)
{
	struct lineup_search_options options = OPTIONS(.k = 5);
	struct lineup_share_stats stats;
	struct asked asked[5], more;
	struct place place;

	(void)state;
	place_open(&place, SHARE(.probes_max = 2, .waiting_max = 3), 1);
	for (uint32_t i = 0; i < 5; i++)
		ask(&place, &asked[i], i, 5, 1);
	asked_init(&more, &place.probes, 0, 1, &options);
	assert_int_equal(asked_submit(&more, place.share), -EBUSY);
	assert_int_equal(place.bed->messages.errors, 0); /* silent */
	asked_init(&more, &place.probes, 0, 6, &options); /* more than there is ever room for */
	assert_int_equal(asked_submit(&more, place.share), -EINVAL);
	assert_int_equal(messages_with(&place.bed->messages, "the limit is 5"), 1);
	lineup_share_stats(place.share, &stats);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.waiting, 5);
	pthread_mutex_unlock(&place.gate);
	for (uint32_t i = 0; i < 5; i++) {
		asked_wait(&asked[i]);
		asked_check(place.bed, &asked[i]);
		asked_fini(&asked[i]);
	}
	asked_init(&more, &place.probes, 0, 5, &options);
	assert_int_equal(asked_submit(&more, place.share), 0);
	asked_wait(&more);
	asked_check(place.bed, &more);
	asked_fini(&more);
	place_close(&place);
}

static void a_query_of_more_probes_than_scan_together_is_one_answer(void **state)
{
	struct asked asked;
	struct place place;

	(void)state;
	place_open(&place, SHARE(.probes_max = 5), 2);
	ask(&place, &asked, 1, 5, 33);
	pthread_mutex_unlock(&place.gate);
	asked_wait(&asked);
	asked_check(place.bed, &asked);
	assert_true(asked.facts.passes >= 7);
	assert_true(asked.probes_most <= 5);
	asked_fini(&asked);
	place_close(&place);
}

static void no_probes_are_answered_with_nothing(void **state)
{
	struct asked asked;
	struct place place;

	(void)state;
	place_open(&place, SHARE(.probes_max = 5), 1);
	ask(&place, &asked, 1, 5, 0);
	pthread_mutex_unlock(&place.gate);
	asked_wait(&asked);
	assert_int_equal(asked.err, 0);
	assert_int_equal(asked.rows, 0);
	asked_fini(&asked);
	place_close(&place);
}

static void who_waits_too_long_is_told_so(void **state)
{
	struct lineup_search_options options = OPTIONS(.k = 5);
	struct asked patient, hasty;
	struct place place;

	(void)state;
	place_open(&place, SHARE(.probes_max = 1), 1);
	ask(&place, &patient, 1, 5, 1);
	asked_init(&hasty, &place.probes, 0, 1, &options);
	hasty.query.wait_ms_max = 1;
	hasty.query.priority = 9;
	assert_int_equal(asked_submit(&hasty, place.share), 0);
	usleep(5000); /* the gate is shut: it cannot have joined */
	pthread_mutex_unlock(&place.gate);
	asked_wait(&hasty);
	asked_wait(&patient);
	assert_int_equal(hasty.err, -ETIMEDOUT);
	assert_true(hasty.message[0]);
	asked_check(place.bed, &patient);
	asked_fini(&hasty);
	asked_fini(&patient);
	place_close(&place);
}

static void bad_queries_are_refused_by_name(void **state)
{
	struct lineup_search_options options = OPTIONS(.k = 5);
	struct { struct asked a; const char *why; } bad[7];
	float nan[DIM];
	struct place place;

	(void)state;
	place_open(&place, SHARE(.k_max = 8), 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++)
		asked_init(&bad[i].a, &place.probes, 0, 1, &options);
	memcpy(nan, rows_at(&place.matrix, 0), sizeof(nan));
	nan[3] = 0.0f / 0.0f;
	bad[0].a.query.options.k = 9, bad[0].why = "k is 9";
	bad[1].a.query.options.lists = 1, bad[1].why = "the list mask names lists past the gallery's 0";
	bad[2].a.query.probes.dim = DIM - 1, bad[2].why = "31 components";
	bad[3].a.query.probes.data = nan, bad[3].why = "row 0 holds a NaN";
	bad[4].a.query.priority = 10, bad[4].why = "priority 10";
	bad[5].a.query.done = NULL, bad[5].why = "nobody is to be told";
	bad[6].a.query.reserved = 1, bad[6].why = "reserved must be zero";
	for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++) {
		messages_clear(&place.bed->messages);
		assert_int_equal(asked_submit(&bad[i].a, place.share), -EINVAL);
		assert_int_equal(place.bed->messages.errors, 1);
		if (messages_with(&place.bed->messages, bad[i].why) != 1)
			fail_msg("%s: said: %s", bad[i].why, place.bed->messages.error);
		assert_int_equal(atomic_load(&bad[i].a.calls), 0);
	}
	pthread_mutex_unlock(&place.gate);
	place_close(&place);
}

static void any_query_can_be_cancelled_at_any_time(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_share_stats stats;
	uint32_t cancelled = 0, right = 0;
	struct place place;

	(void)state;
	place_open(&place, SHARE(.probes_max = 6, .residency = LINEUP_STREAMED), 2);
	place.bed->story = "cancel";
	for (uint32_t round = 0; round < test_scaled(40, 8); round++) {
		struct asked asked[VICTIMS];

		if (round)
			pthread_mutex_lock(&place.gate);
		for (uint32_t i = 0; i < VICTIMS; i++)
			ask(&place, &asked[i], i % 3, rng_below(&rng, 10), 1 + rng_below(&rng, 4));
		for (uint32_t i = 0; i < VICTIMS; i++)
			place.ticket[i] = asked[i].ticket;
		atomic_store(&place.cancel_every, 1 + round % 5);
		lineup_share_cancel(place.share, asked[3].ticket); /* it waits */
		pthread_mutex_unlock(&place.gate);
		for (uint32_t i = 0; i < VICTIMS; i++) {
			asked_wait(&asked[i]);
			assert_int_equal(atomic_load(&asked[i].calls), 1);
			if (asked[i].err)
				assert_int_equal(asked[i].err, -ECANCELED);
			else
				asked_check(place.bed, &asked[i]);
			cancelled += asked[i].err != 0;
			right += !asked[i].err;
			asked_fini(&asked[i]);
		}
		assert_int_equal(asked[3].err, -ECANCELED);
	}
	lineup_share_stats(place.share, &stats);
	assert_int_equal(stats.cancelled, cancelled);
	assert_int_equal(stats.waiting, 0);
	assert_true(cancelled > 0 && right > 0);
	place_close(&place);
}

static void a_share_that_goes_ends_every_query_once(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 12; round++) {
		struct asked asked[20];
		struct place place;

		place_open(&place, SHARE(.probes_max = 3, .residency = round % 2 ? LINEUP_STREAMED : LINEUP_RESIDENT), 2);
		for (uint32_t i = 0; i < 20; i++)
			ask(&place, &asked[i], i, i % 10, 1 + i % 5);
		pthread_mutex_unlock(&place.gate);
		if (round)
			asked_wait(&asked[19 - round]);
		lineup_share_destroy(place.share);
		place.share = NULL;
		for (uint32_t i = 0; i < 20; i++) {
			assert_int_equal(atomic_load(&asked[i].calls), 1);
			if (asked[i].err)
				assert_int_equal(asked[i].err, -ECANCELED);
			else
				asked_check(place.bed, &asked[i]);
			asked_fini(&asked[i]);
		}
		place_close(&place);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(priority_goes_first_then_each_client_in_turn),
		cmocka_unit_test(too_many_are_refused_at_once),
		cmocka_unit_test(a_query_of_more_probes_than_scan_together_is_one_answer),
		cmocka_unit_test(no_probes_are_answered_with_nothing),
		cmocka_unit_test(who_waits_too_long_is_told_so),
		cmocka_unit_test(bad_queries_are_refused_by_name),
		cmocka_unit_test(any_query_can_be_cancelled_at_any_time),
		cmocka_unit_test(a_share_that_goes_ends_every_query_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
