// SPDX-License-Identifier: MIT
// One scan for many probes: whenever they join, whatever they ask, each gets what it would have got alone.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "share_bed.h"

enum { DIM = 64, ROWS = 9000, PROBES = 40 };

/* Queries that are asked at units of the scan's choosing. */
struct trickle {
	struct asked *asked;
	uint32_t count;
	atomic_uint next;
	atomic_uint units;
	uint32_t every;
};

static void ask_now_and_then(void *arg, struct lineup_share *share)
{
	struct trickle *t = arg;
	uint32_t next;

	if (atomic_fetch_add(&t->units, 1) % t->every)
		return;
	next = atomic_fetch_add(&t->next, 1);
	if (next < t->count)
		assert_int_equal(asked_submit(&t->asked[next], share), 0);
}

static void trickle(struct bed *bed, struct lineup_crew *crew, const struct lineup_share_setup *setup, const struct probes *probes, uint32_t every,
		    struct rng *rng)
{
	struct lineup_share *share = bed_share(bed, crew, setup);
	struct trickle t = { .count = 60, .every = every };
	struct lineup_share_stats stats;

	t.asked = calloc(t.count, sizeof(*t.asked));
	assert_non_null(t.asked);
	for (uint32_t i = 0; i < t.count; i++) {
		struct lineup_search_options options = share_options(rng);
		uint32_t first = rng_below(rng, PROBES), count = 1 + rng_below(rng, 3);

		count = first + count > PROBES ? 1 : count;
		asked_init(&t.asked[i], probes, first, count, &options);
		share_subjects(rng, bed, &t.asked[i]);
		t.asked[i].query.client = i % 3;
		t.asked[i].query.priority = i % 10;
	}
	share->test_arg = &t;
	share->test_unit = ask_now_and_then;
	assert_int_equal(asked_submit(&t.asked[atomic_fetch_add(&t.next, 1)], share), 0);
	/* Whoever is left when the scan has gone quiet is asked from here. */
	for (uint32_t i = 0; i < t.count; i++) {
		while (atomic_load(&t.next) <= i) {
			uint32_t next = atomic_fetch_add(&t.next, 1);

			if (next < t.count)
				assert_int_equal(asked_submit(&t.asked[next], share), 0);
		}
		asked_wait(&t.asked[i]);
	}
	for (uint32_t i = 0; i < t.count; i++) {
		asked_check(bed, &t.asked[i]);
		assert_true(t.asked[i].facts.sequence == bed->sequence);
		asked_fini(&t.asked[i]);
	}
	lineup_share_stats(share, &stats);
	assert_int_equal(stats.queries, t.count);
	assert_int_equal(stats.waiting, 0);
	assert_int_equal(stats.scanning, 0);
	assert_int_equal(stats.failed + stats.refused + stats.cancelled, 0);
	if (setup->residency == LINEUP_STREAMED)
		assert_true(stats.bytes_read > 0 && !stats.resident_bytes && !stats.resident);
	if (setup->residency == LINEUP_RESIDENT)
		assert_true(stats.resident);
	lineup_share_destroy(share);
	free(t.asked);
}

static void probes_that_join_anywhere_get_what_they_would_get_alone(void **state)
{
	static const enum lineup_residency residency[] = { LINEUP_RESIDENCY_AUTO, LINEUP_RESIDENT, LINEUP_STREAMED };
	struct rng rng = { test_seed() };
	struct bed *bed = share_town(&rng, DIM, test_scaled(ROWS, 2000));
	struct lineup_matrix m = rows_random(&rng, PROBES, DIM);
	struct backends backends;
	struct probes probes;

	(void)state;
	bed->story = "join";
	backends_here(&backends);
	probes_init(&probes, bed, &m);
	for (uint32_t i = 0; i < test_scaled(24, 8); i++) {
		struct lineup_share_setup setup = SHARE(.residency = residency[i % 3], .backend = backends.name[i / 3 % backends.count],
							.stream_bytes = 4 << 20, .probes_max = i % 4 ? 0 : 5,
							.candidates_max = i % 5 ? 0 : 2);
		struct lineup_crew *crew;

		if (!strcmp(setup.backend, "vulkan"))
			continue;
		assert_int_equal(lineup_crew_create(bed->ctx, 1 + i % 3, &crew), 0);
		trickle(bed, crew, &setup, &probes, 1 + i % 7, &rng);
		lineup_crew_destroy(crew);
	}
	assert_int_equal(bed->messages.errors, 0);
	probes_fini(&probes);
	rows_free(&m);
	bed_close(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probes_that_join_anywhere_get_what_they_would_get_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
