// SPDX-License-Identifier: MIT
// One scan for many probes: whenever they join, whatever they ask, each gets what it would have got alone.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "share_bed.h"

enum { DIM = 64, ROWS = 9000, PROBES = 40, SUBJECTS = 700 };

/* A gallery of several segments and a journal, with lists, expiry, deletions and subjects of many templates. */
static struct bed *town(struct rng *rng, uint32_t dim, uint64_t rows)
{
	struct bed *bed = bed_open(dim, LINEUP_STORE_FLOAT32);
	struct lineup_matrix m = rows_random(rng, rows, dim);
	char (*text)[12] = calloc(rows, sizeof(*text));
	const char **names = calloc(rows, sizeof(*names));
	uint64_t *lists = calloc(rows, sizeof(*lists)), first = 0;
	int64_t *expires = calloc(rows, sizeof(*expires));

	assert_true(text && names && lists && expires);
	for (uint64_t i = 0; i < rows; i++) {
		snprintf(text[i], sizeof(text[i]), "s%u", rng_below(rng, SUBJECTS));
		names[i] = text[i];
		lists[i] = 1 + rng_below(rng, 7);
		expires[i] = rng_below(rng, 4) ? 0 : 500 + rng_below(rng, 1000);
	}
	while (first < rows) {
		uint64_t count = rows - first < rows / 5 ? rows - first : rows / 5;

		bed->ctx->record_bytes_max = rows - first > rows / 5 ? 6000 : 0; /* a segment each, but for the last, which the journal takes */
		bed_enrol(bed, &m, first, count, names + first, lists + first, expires + first);
		first += count;
	}
	bed->ctx->record_bytes_max = 0;
	for (uint32_t i = 0; i < 20; i++)
		if (bed->oracle.rows[i * 31 % rows].until == UINT64_MAX)
			bed_delete_template(bed, bed->oracle.rows[i * 31 % rows].id);
	bed_delete_subject(bed, "s7");
	free(expires);
	free(lists);
	free(names);
	free(text);
	rows_free(&m);
	return bed;
}

static struct lineup_search_options some_options(struct rng *rng)
{
	static const uint32_t ks[] = { 1, 3, 10, 200 };

	return OPTIONS(.k = ks[rng_below(rng, 4)], .per = (enum lineup_search_per)rng_below(rng, 2), .lists = rng_below(rng, 3),
		       .flags = rng_below(rng, 2) ? LINEUP_SEARCH_THRESHOLD : 0, .threshold = (float)(0.1 * rng_unit(rng)),
		       .now = rng_below(rng, 2) ? 1000 : 1);
}

static void some_subjects(struct rng *rng, struct bed *bed, struct asked *a)
{
	static char text[200][12];
	const char *names[200];

	if (rng_below(rng, 3))
		return;
	for (uint32_t i = 0; i < 200; i++) {
		snprintf(text[i], sizeof(text[i]), "s%u", rng_below(rng, SUBJECTS));
		names[i] = text[i];
	}
	asked_only(bed, a, names, 200);
}

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
		struct lineup_search_options options = some_options(rng);
		uint32_t first = rng_below(rng, PROBES), count = 1 + rng_below(rng, 3);

		count = first + count > PROBES ? 1 : count;
		asked_init(&t.asked[i], probes, first, count, &options);
		some_subjects(rng, bed, &t.asked[i]);
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
	struct bed *bed = town(&rng, DIM, test_scaled(ROWS, 2000));
	struct lineup_matrix m = rows_random(&rng, PROBES, DIM);
	struct backends backends;
	struct probes probes;

	(void)state;
	bed->story = "join";
	backends_here(&backends);
	probes_init(&probes, bed, &m);
	for (uint32_t i = 0; i < 24; i++) {
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
