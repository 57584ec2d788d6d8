// SPDX-License-Identifier: MIT
// What devices need of a stream: passes over some of the blocks, a stop that wakes who waits, a ring in another's memory.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "search_bed.h"
#include "stream.h"

enum { DIM = 512, RING = 8 << 20, THREADS = 3 };

struct fixture {
	struct bed *bed;
	struct lineup_matrix rows;
	struct lineup_snapshot *snapshot;
	struct lineup_stream *stream;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rng rng = { test_seed() };

	assert_non_null(f);
	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->rows = rows_random(&rng, 36000, DIM);
	f->bed->ctx->record_bytes_max = 64 << 10; /* so that each of these becomes a segment */
	bed_enrol(f->bed, &f->rows, 0, 20000, NULL, NULL, NULL);
	bed_enrol(f->bed, &f->rows, 20000, 15990, NULL, NULL, NULL);
	bed_enrol(f->bed, &f->rows, 35990, 10, NULL, NULL, NULL); /* stays in the journal: no block of it is on disk */
	f->snapshot = lineup_gallery_snapshot(f->bed->gallery);
	assert_int_equal(f->snapshot->segment_count, 3);
	assert_true(f->snapshot->segments[0].block_count >= 5 && f->snapshot->segments[1].block_count >= 4);
	assert_non_null(f->snapshot->segments[2].blocks);
	assert_int_equal(lineup_stream_create(f->snapshot, RING, NULL, &f->stream), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	lineup_stream_destroy(f->stream);
	lineup_snapshot_put(f->snapshot);
	rows_free(&f->rows);
	bed_close(f->bed);
	free(f);
	return 0;
}

/* Bit b of .mask[s]: block b of segment s. */
struct wanted {
	uint64_t mask[2];
};

static bool wanted(void *arg, uint32_t segment, uint64_t block)
{
	const struct wanted *w = arg;

	return w->mask[segment] >> block & 1;
}

/* A pass must bring exactly these blocks, whole, in order. */
static void expect_pass(struct fixture *f, const struct wanted *want)
{
	uint64_t bytes = 0;

	assert_int_equal(lineup_stream_begin(f->stream, want ? wanted : NULL, (void *)(uintptr_t)want), 0);
	for (uint32_t s = 0; s < 2; s++) {
		for (uint64_t b = 0; b < f->snapshot->segments[s].block_count; b++) {
			struct lineup_stream_block block;

			if (want && !(want->mask[s] >> b & 1))
				continue;
			assert_int_equal(lineup_stream_next(f->stream, &block), 0);
			assert_non_null(block.data);
			assert_int_equal(block.segment, s);
			assert_int_equal(block.block, b);
			assert_int_equal(lineup_stream_verify(f->stream, &block), 0);
			lineup_stream_release(f->stream, &block);
			bytes += f->snapshot->segments[s].shape.block_bytes;
		}
	}
	for (int i = 0; i < 2; i++) {
		struct lineup_stream_block end;

		assert_int_equal(lineup_stream_next(f->stream, &end), 0);
		assert_null(end.data);
	}
	lineup_stream_end(f->stream);
	assert_int_equal(lineup_stream_pass_bytes(f->stream), bytes);
}

static void a_pass_brings_the_blocks_that_are_wanted_and_no_others(void **state)
{
	struct fixture *f = *state;
	struct rng rng = { test_seed() + 1 };

	expect_pass(f, NULL);
	expect_pass(f, &(struct wanted){ { 0, 0 } });
	expect_pass(f, &(struct wanted){ { 1, 0 } });
	expect_pass(f, &(struct wanted){ { 0, 1 } });
	expect_pass(f, &(struct wanted){ { 0, UINT64_MAX } });
	expect_pass(f, &(struct wanted){ { 0x15, 0xa } });
	for (int i = 0; i < 20; i++)
		expect_pass(f, &(struct wanted){ { rng_u64(&rng), rng_u64(&rng) } });
	expect_pass(f, NULL);
}

static void *wait_for_a_block(void *arg)
{
	struct fixture *f = arg;
	struct lineup_stream_block block;

	return (void *)(intptr_t)lineup_stream_next(f->stream, &block);
}

/*
 * All slots are taken, so the threads wait until one is released; none is. (A thread that comes after the stop gets the same
 * answer: the test does not depend on who is first.)
 */
static void a_stop_wakes_those_who_wait_for_a_slot(void **state)
{
	struct fixture *f = *state;
	struct lineup_stream_ring ring;
	struct lineup_stream_block taken[64], block;
	pthread_t threads[THREADS];
	void *result;

	lineup_stream_ring(f->stream, &ring);
	assert_true(ring.slot_count <= 64);
	assert_int_equal(lineup_stream_begin(f->stream, NULL, NULL), 0);
	for (unsigned int i = 0; i < ring.slot_count; i++)
		assert_int_equal(lineup_stream_next(f->stream, &taken[i]), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_a_block, f), 0);
	lineup_stream_stop(f->stream, -ENODEV);
	lineup_stream_stop(f->stream, -ECANCELED); /* the first one is told */
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		assert_int_equal((intptr_t)result, -ENODEV);
	}
	for (unsigned int i = 0; i < ring.slot_count; i++)
		lineup_stream_release(f->stream, &taken[i]);
	assert_int_equal(lineup_stream_next(f->stream, &block), -ENODEV);
	lineup_stream_end(f->stream);
	expect_pass(f, NULL);
}

static void a_ring_in_other_memory_brings_the_same_blocks(void **state)
{
	struct fixture *f = *state;
	struct lineup_stream_ring own, ring;
	size_t size;
	uint8_t *memory;

	lineup_stream_ring(f->stream, &own);
	size = own.slot_count * own.slot_bytes;
	memory = lineup_pages_alloc(f->bed->ctx, size);
	assert_non_null(memory);
	assert_int_equal(lineup_stream_move(f->stream, memory), 0);
	lineup_stream_ring(f->stream, &ring);
	assert_ptr_equal(ring.memory, memory);
	assert_int_equal(ring.slot_count, own.slot_count);
	memset(memory, 0, size);
	expect_pass(f, NULL);
	assert_true(memory[0] != 0); /* the first block begins here */
	assert_int_equal(lineup_stream_move(f->stream, NULL), 0);
	lineup_pages_free(memory, size);
	lineup_stream_ring(f->stream, &ring);
	assert_ptr_equal(ring.memory, own.memory);
	expect_pass(f, NULL);
}

static void memory_the_kernel_cannot_write_is_refused_and_the_stream_goes_on(void **state)
{
	struct fixture *f = *state;
	struct lineup_stream_ring own, ring;
	size_t size;
	void *memory;

	lineup_stream_ring(f->stream, &own);
	size = own.slot_count * own.slot_bytes;
	memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	messages_clear(&f->bed->messages);
	assert_int_equal(lineup_stream_move(f->stream, memory), -EFAULT);
	assert_int_equal(f->bed->messages.errors, 0);
	munmap(memory, size);
	lineup_stream_ring(f->stream, &ring);
	assert_ptr_equal(ring.memory, own.memory);
	expect_pass(f, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pass_brings_the_blocks_that_are_wanted_and_no_others),
		cmocka_unit_test(a_stop_wakes_those_who_wait_for_a_slot),
		cmocka_unit_test(a_ring_in_other_memory_brings_the_same_blocks),
		cmocka_unit_test(memory_the_kernel_cannot_write_is_refused_and_the_stream_goes_on),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
