// SPDX-License-Identifier: MIT
// Reads that fail under a shared scan fail those who wanted the block, and nobody else, and not the next one.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faulty_engine.h"
#include "share_bed.h"

enum { DIM = 1024, OLD_ROWS = 3000, NEW_ROWS = 6000, PROBES = 4, BLOCK_IN_NEW = 3 };

/* A gallery of two segments, the second of which has more blocks; an old query sees the first alone. */
struct place {
	struct bed *bed;
	struct lineup_matrix rows, matrix;
	struct probes probes;
	struct lineup_crew *crew;
	pthread_mutex_t gate;
	uint64_t block_bytes;
};

static void pass_the_gate(void *arg, struct lineup_share *share)
{
	struct place *place = arg;

	(void)share;
	pthread_mutex_lock(&place->gate);
	pthread_mutex_unlock(&place->gate);
}

static void place_open(struct place *place)
{
	struct rng rng = { test_seed() };
	struct lineup_snapshot *snapshot;

	memset(place, 0, sizeof(*place));
	pthread_mutex_init(&place->gate, NULL);
	place->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	place->bed->ctx->record_bytes_max = 20000; /* what is enrolled becomes a segment */
	place->bed->ctx->engine = &faulty_engine;
	place->rows = rows_random(&rng, OLD_ROWS + NEW_ROWS, DIM);
	bed_enrol(place->bed, &place->rows, 0, OLD_ROWS, NULL, NULL, NULL);
	place->matrix = rows_random(&rng, PROBES, DIM);
	probes_init(&place->probes, place->bed, &place->matrix);
	snapshot = lineup_gallery_snapshot(place->bed->gallery);
	place->block_bytes = snapshot->segments[0].shape.block_bytes;
	assert_true(snapshot->segments[0].block_count <= BLOCK_IN_NEW);
	lineup_snapshot_put(snapshot);
	assert_int_equal(lineup_crew_create(place->bed->ctx, 2, &place->crew), 0);
}

static struct lineup_share *shut_share(struct place *place, struct lineup_share_setup setup)
{
	struct lineup_share *share = bed_share(place->bed, place->crew, &setup);

	pthread_mutex_lock(&place->gate);
	share->test_arg = place;
	share->test_unit = pass_the_gate;
	return share;
}

static void enrol_new(struct place *place)
{
	bed_enrol(place->bed, &place->rows, OLD_ROWS, NEW_ROWS, NULL, NULL, NULL);
	probes_update(&place->probes, place->bed);
}

static void place_close(struct place *place)
{
	lineup_crew_destroy(place->crew);
	probes_fini(&place->probes);
	rows_free(&place->matrix);
	rows_free(&place->rows);
	bed_close(place->bed);
	pthread_mutex_destroy(&place->gate);
	assert_false(faulty_plan.wrong);
}

static void ask(struct place *place, struct lineup_share *share, struct asked *a, uint64_t first)
{
	struct lineup_search_options options = OPTIONS(.k = 7);

	asked_init(a, &place->probes, first, 1, &options);
	assert_int_equal(asked_submit(a, share), 0);
}

static void succeed(struct place *place, struct lineup_share *share)
{
	struct asked a;

	ask(place, share, &a, 2);
	asked_wait(&a);
	asked_check(place->bed, &a);
	asked_fini(&a);
}

/* An old and a new query scan together while a block of the new segment goes wrong. */
static void spoil(struct place *place, enum lineup_residency residency, enum fault fault, int error, int expected)
{
	struct lineup_share *share = shut_share(place, SHARE(.residency = residency, .stream_bytes = 4 << 20));
	struct asked old, new, more;
	struct lineup_share_stats stats;

	messages_clear(&place->bed->messages);
	faulty_plan_begin(fault, BLOCK_IN_NEW, error, place->block_bytes);
	ask(place, share, &old, 0);
	enrol_new(place);
	ask(place, share, &new, 1);
	ask(place, share, &more, 2);
	pthread_mutex_unlock(&place->gate);
	asked_wait(&old);
	asked_wait(&new);
	asked_wait(&more);
	asked_check(place->bed, &old);
	assert_int_equal(new.err, expected);
	assert_int_equal(more.err, expected);
	assert_non_null(strstr(new.message, "segment-"));
	assert_non_null(strstr(new.message, "block 3"));
	assert_string_equal(new.message, place->bed->messages.text[0]);
	assert_int_equal(atomic_load(&new.calls), 1);
	asked_fini(&old);
	asked_fini(&new);
	asked_fini(&more);
	faulty_plan_begin(FAULT_NONE, 0, 0, place->block_bytes);
	succeed(place, share);
	succeed(place, share);
	succeed(place, share);
	lineup_share_stats(share, &stats);
	assert_int_equal(stats.failed, 2);
	assert_int_equal(stats.scanning, 0);
	assert_true(stats.resident == (residency == LINEUP_RESIDENCY_AUTO));
	lineup_share_destroy(share);
}

static void a_block_that_fails_fails_those_who_wanted_it(void **state)
{
	static const struct { enum fault fault; int error, expected; } kinds[] = {
		{ FAULT_ERROR, -EIO, -EIO }, { FAULT_CORRUPT, 0, -EBADMSG }, { FAULT_END, 0, -EBADMSG }, { FAULT_POSTPONED, 0, -EAGAIN },
	};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct place place;

		place_open(&place);
		place.bed->story = "spoilt block";
		spoil(&place, i % 2 ? LINEUP_STREAMED : LINEUP_RESIDENCY_AUTO, kinds[i].fault, kinds[i].error, kinds[i].expected);
		place_close(&place);
	}
}

static void a_stream_that_fails_fails_its_scan_and_not_the_next(void **state)
{
	struct lineup_share *share;
	struct asked asked[3];
	struct place place;

	(void)state;
	place_open(&place);
	place.bed->story = "broken stream";
	share = shut_share(&place, SHARE(.residency = LINEUP_STREAMED, .stream_bytes = 4 << 20));
	enrol_new(&place);
	faulty_plan_begin(FAULT_WAIT, 3, -EBADF, place.block_bytes);
	for (uint32_t i = 0; i < 3; i++)
		ask(&place, share, &asked[i], i);
	pthread_mutex_unlock(&place.gate);
	for (uint32_t i = 0; i < 3; i++) {
		asked_wait(&asked[i]);
		assert_int_equal(asked[i].err, -EBADF);
		assert_true(asked[i].message[0]);
		asked_fini(&asked[i]);
	}
	faulty_plan_begin(FAULT_NONE, 0, 0, place.block_bytes);
	succeed(&place, share);
	succeed(&place, share);
	lineup_share_destroy(share);
	place_close(&place);
}

static void a_read_that_cannot_be_begun_fails_its_block(void **state)
{
	struct lineup_share *share;
	struct asked asked;
	struct place place;

	(void)state;
	place_open(&place);
	share = shut_share(&place, SHARE(.residency = LINEUP_STREAMED, .stream_bytes = 4 << 20));
	faulty_plan_begin(FAULT_SUBMIT, 1, -ENOMEM, place.block_bytes);
	ask(&place, share, &asked, 0);
	pthread_mutex_unlock(&place.gate);
	asked_wait(&asked);
	assert_int_equal(asked.err, -ENOMEM);
	asked_fini(&asked);
	succeed(&place, share);
	lineup_share_destroy(share);
	place_close(&place);
}

static void odd_reads_change_no_answer(void **state)
{
	static const enum fault kinds[] = { FAULT_SHORT_PAGES, FAULT_SHORT_BYTES, FAULT_INTERRUPTED, FAULT_NO_DIRECT };
	struct place place;

	(void)state;
	place_open(&place);
	enrol_new(&place);
	place.bed->story = "odd reads";
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct lineup_share *share = shut_share(&place, SHARE(.residency = LINEUP_STREAMED, .stream_bytes = 4 << 20));

		faulty_plan_begin(kinds[i], 0, 0, place.block_bytes);
		pthread_mutex_unlock(&place.gate);
		succeed(&place, share);
		lineup_share_destroy(share);
	}
	place_close(&place);
}

/* Of the first segment: where row @row of its records is, and the file. */
static uint64_t record_offset(struct place *place, uint64_t row, char *path, size_t size)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(place->bed->gallery);
	const struct lineup_segment *s = &snapshot->segments[0];
	uint64_t offset = s->records_offset + row * s->shape.record_bytes + 200;

	bed_segment_path(place->bed, path, size);
	lineup_snapshot_put(snapshot);
	return offset;
}

static void a_damaged_record_fails_those_whose_answer_it_is(void **state)
{
	struct lineup_search_options options = OPTIONS(.k = 1);
	struct lineup_matrix two = { .rows = 2, .dim = DIM, .dtype = LINEUP_FLOAT32 };
	struct lineup_share *share;
	struct probes probes;
	struct asked bad, good;
	struct place place;
	uint64_t offset;
	char path[400];

	(void)state;
	place_open(&place);
	place.bed->ctx->engine = NULL;
	two.data = rows_at(&place.rows, 5);
	probes_init(&probes, place.bed, &two);
	share = shut_share(&place, SHARE(0));
	offset = record_offset(&place, 5, path, sizeof(path));
	file_flip(path, offset);
	asked_init(&bad, &probes, 0, 1, &options);
	asked_init(&good, &probes, 1, 1, &options);
	assert_int_equal(asked_submit(&bad, share), 0);
	assert_int_equal(asked_submit(&good, share), 0);
	pthread_mutex_unlock(&place.gate);
	asked_wait(&bad);
	asked_wait(&good);
	assert_int_equal(bad.err, -EBADMSG);
	assert_non_null(strstr(bad.message, "segment-"));
	asked_check(place.bed, &good);
	file_flip(path, offset);
	asked_fini(&bad);
	asked_init(&bad, &probes, 0, 1, &options);
	assert_int_equal(asked_submit(&bad, share), 0);
	asked_wait(&bad);
	asked_check(place.bed, &bad);
	asked_fini(&bad);
	asked_fini(&good);
	lineup_share_destroy(share);
	probes_fini(&probes);
	place_close(&place);
}

static void a_gallery_that_does_not_fit_is_refused_resident_and_else_streamed(void **state)
{
	struct lineup_share_setup setup = SHARE(.residency = LINEUP_RESIDENT, .memory_max = 5 << 20);
	struct lineup_share_stats stats;
	struct lineup_share *share;
	struct place place;

	(void)state;
	place_open(&place);
	faulty_plan_begin(FAULT_NONE, 0, 0, place.block_bytes);
	enrol_new(&place);
	assert_int_equal(lineup_share_create(place.crew, place.bed->gallery, &setup, &share), -ENOMEM);
	assert_int_equal(messages_with(&place.bed->messages, "resident: the gallery needs"), 1);
	setup.residency = LINEUP_RESIDENCY_AUTO;
	share = bed_share(place.bed, place.crew, &setup);
	for (uint32_t i = 0; i < 3; i++)
		succeed(&place, share);
	lineup_share_stats(share, &stats);
	assert_true(stats.resident_bytes > 0 && stats.resident_bytes <= setup.memory_max && !stats.resident);
	assert_true(stats.bytes_read > 0);
	lineup_share_destroy(share);
	place_close(&place);
}

static void what_was_read_once_is_not_read_again(void **state)
{
	struct lineup_share_stats first, later;
	struct lineup_share *share;
	struct place place;

	(void)state;
	place_open(&place);
	faulty_plan_begin(FAULT_NONE, 0, 0, place.block_bytes);
	share = bed_share(place.bed, place.crew, &SHARE(0));
	succeed(&place, share);
	lineup_share_stats(share, &first);
	succeed(&place, share);
	lineup_share_stats(share, &later);
	assert_true(first.bytes_read > 0 && first.resident);
	assert_true(later.bytes_read == first.bytes_read);
	assert_string_equal(later.io, "memory");
	/* What is new is read once as well, and what was there stays. */
	enrol_new(&place);
	succeed(&place, share);
	succeed(&place, share);
	lineup_share_stats(share, &first);
	assert_true(first.resident && first.bytes_read > later.bytes_read);
	succeed(&place, share);
	lineup_share_stats(share, &later);
	assert_true(later.bytes_read == first.bytes_read);
	lineup_share_destroy(share);
	place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_that_fails_fails_those_who_wanted_it),
		cmocka_unit_test(a_stream_that_fails_fails_its_scan_and_not_the_next),
		cmocka_unit_test(a_read_that_cannot_be_begun_fails_its_block),
		cmocka_unit_test(odd_reads_change_no_answer),
		cmocka_unit_test(a_damaged_record_fails_those_whose_answer_it_is),
		cmocka_unit_test(a_gallery_that_does_not_fit_is_refused_resident_and_else_streamed),
		cmocka_unit_test(what_was_read_once_is_not_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
