// SPDX-License-Identifier: MIT
// Reads that are short, late, failed, postponed or corrupt: the right answer or one clear error, and a searcher that goes on.
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faulty_engine.h"
#include "io.h"
#include "search.h"

enum { DIM = 512, PROBES = 3, K = 5, RING = 8 << 20 };

/* ---- one gallery for all tests: a segment of many blocks, all of one size ---- */

static uint64_t block_bytes;

struct fixture {
	struct bed *bed;
	struct lineup_matrix rows;
	struct lineup_matrix probe_rows;
	struct probes probes;
	struct lineup_search_setup setup;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rng rng = { test_seed() };
	struct lineup_snapshot *snapshot;

	assert_non_null(f);
	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->bed->story = "faults";
	f->rows = rows_random(&rng, 20000, DIM);
	f->probe_rows = rows_random(&rng, PROBES, DIM);
	bed_enrol(f->bed, &f->rows, 0, 19990, NULL, NULL, NULL);
	bed_enrol(f->bed, &f->rows, 19990, 10, NULL, NULL, NULL);
	probes_init(&f->probes, f->bed, &f->probe_rows);
	f->setup = SETUP(.threads = 2, .residency = LINEUP_STREAMED, .stream_bytes = RING);
	snapshot = lineup_gallery_snapshot(f->bed->gallery);
	assert_int_equal(snapshot->segment_count, 2);
	assert_int_equal(snapshot->segments[0].blocks_offset, 4096);
	assert_true(snapshot->segments[0].block_count >= 5);
	block_bytes = snapshot->segments[0].shape.block_bytes;
	lineup_snapshot_put(snapshot);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	probes_fini(&f->probes);
	rows_free(&f->probe_rows);
	rows_free(&f->rows);
	bed_close(f->bed);
	free(f);
	return 0;
}

/* A searcher that reads through the faulty engine. */
static struct lineup_searcher *faulty_searcher(struct fixture *f, enum fault fault, uint64_t at, int error)
{
	struct lineup_searcher *searcher = bed_searcher(f->bed, &f->setup);

	faulty_plan_begin(fault, at, error, block_bytes);
	lineup_stream_destroy(searcher->stream);
	assert_int_equal(lineup_stream_create(searcher->snapshot, RING, &faulty_engine, &searcher->stream), 0);
	messages_clear(&f->bed->messages);
	return searcher;
}

static void search_must_work(struct fixture *f, struct lineup_searcher *searcher)
{
	bed_search(f->bed, searcher, &f->setup, &f->probes, &OPTIONS(.k = K));
}

/* A search that fails with @err, says why once, naming file and offset, and gives no candidate. */
static void search_must_fail(struct fixture *f, struct lineup_searcher *searcher, const struct lineup_search_options *options,
			     int err, const char *reason)
{
	struct lineup_search_facts facts, facts_before;
	struct lineup_candidate candidates[PROBES * K];
	uint32_t counts[PROBES];

	memset(counts, 0xa5, sizeof(counts));
	memset(&facts, 0xa5, sizeof(facts));
	memset(&facts_before, 0xa5, sizeof(facts));
	messages_clear(&f->bed->messages);
	assert_int_equal(lineup_search(searcher, &f->probe_rows, options, candidates, counts, &facts), err);
	assert_int_equal(f->bed->messages.errors, 1);
	if (!messages_with(&f->bed->messages, reason))
		fail_msg("the message does not say \"%s\": %s", reason, f->bed->messages.text[0]);
	for (uint32_t p = 0; p < PROBES; p++)
		assert_int_equal(counts[p], 0);
	assert_memory_equal(&facts, &facts_before, sizeof(facts));
}

static void finish(struct lineup_searcher *searcher)
{
	lineup_searcher_destroy(searcher);
	assert_int_equal(faulty_plan.alive, 0);
	assert_false(faulty_plan.wrong);
}

/* The fault, the error it gives, then the same searcher without it. */
static void fails_and_recovers(struct fixture *f, enum fault fault, uint64_t at, int error, int err, const char *reason)
{
	struct lineup_searcher *searcher = faulty_searcher(f, fault, at, error);

	search_must_fail(f, searcher, &OPTIONS(.k = K), err, reason);
	faulty_plan.waits = faulty_plan.submits = 0;
	search_must_fail(f, searcher, &OPTIONS(.k = K), err, reason);
	faulty_plan.fault = FAULT_NONE;
	search_must_work(f, searcher);
	finish(searcher);
}

/* Where block @block lies, as messages say it. */
static const char *byte_of(uint64_t block)
{
	static char text[64];

	snprintf(text, sizeof(text), "byte %" PRIu64, 4096 + block * block_bytes);
	return text;
}

static void works(struct fixture *f, enum fault fault)
{
	struct lineup_searcher *searcher = faulty_searcher(f, fault, 0, 0);

	for (uint32_t i = 0; i < 5; i++)
		search_must_work(f, searcher);
	assert_true(faulty_plan.queued_most > 1);
	finish(searcher);
}

static void late_completions_are_put_in_order(void **state)
{
	works(*state, FAULT_NONE);
	assert_int_equal(faulty_plan.buffered_reads, 0);
}

static void short_reads_that_end_at_a_page_go_on(void **state)
{
	works(*state, FAULT_SHORT_PAGES);
	assert_int_equal(faulty_plan.buffered_reads, 0);
}

static void short_reads_that_end_anywhere_go_on_without_o_direct(void **state)
{
	works(*state, FAULT_SHORT_BYTES);
	assert_true(faulty_plan.direct_reads > 0 && faulty_plan.buffered_reads > 0);
}

static void interrupted_and_postponed_reads_are_repeated(void **state)
{
	works(*state, FAULT_INTERRUPTED);
}

static void o_direct_refused_at_the_first_read_is_left_off_and_told_once(void **state)
{
	struct fixture *f = *state;

	atomic_store(&f->bed->ctx->said[LINEUP_ONCE_DIRECT], false);
	works(f, FAULT_NO_DIRECT);
	assert_int_equal(f->bed->messages.warnings, 1);
	assert_true(messages_with(&f->bed->messages, "O_DIRECT") == 1);
	works(f, FAULT_NO_DIRECT);
	assert_int_equal(f->bed->messages.warnings, 0);
}

static void a_read_that_is_postponed_for_ever_fails(void **state)
{
	fails_and_recovers(*state, FAULT_POSTPONED, 3, 0, -EAGAIN, byte_of(3));
}

static void a_failed_read_names_file_and_offset(void **state)
{
	fails_and_recovers(*state, FAULT_ERROR, 2, -EIO, -EIO, byte_of(2));
	fails_and_recovers(*state, FAULT_ERROR, 2, -EIO, -EIO, "segment-");
	fails_and_recovers(*state, FAULT_ERROR, 0, -EIO, -EIO, byte_of(0));
	fails_and_recovers(*state, FAULT_ERROR, 4, -ENOMEM, -ENOMEM, byte_of(4));
}

static void a_corrupt_block_names_file_and_offset(void **state)
{
	fails_and_recovers(*state, FAULT_CORRUPT, 1, 0, -EBADMSG, byte_of(1));
	fails_and_recovers(*state, FAULT_CORRUPT, 1, 0, -EBADMSG, "segment-");
}

static void a_file_that_ends_early_is_corrupt(void **state)
{
	fails_and_recovers(*state, FAULT_END, 3, 0, -EBADMSG, byte_of(3));
	fails_and_recovers(*state, FAULT_END, 3, 0, -EBADMSG, "segment-");
}

static void a_wait_that_fails_fails_the_search(void **state)
{
	fails_and_recovers(*state, FAULT_WAIT, 2, -EBADF, -EBADF, "faulty");
}

static void a_submission_that_fails_fails_the_search(void **state)
{
	fails_and_recovers(*state, FAULT_SUBMIT, 0, -EBUSY, -EBUSY, "segment-");
	fails_and_recovers(*state, FAULT_SUBMIT, 4, -EBUSY, -EBUSY, "segment-");
}

static void a_later_pass_that_fails_leaves_no_partial_answer(void **state)
{
	struct fixture *f = *state;
	struct lineup_searcher *searcher;

	f->setup.probes_max = 1;
	searcher = faulty_searcher(f, FAULT_SUBMIT, 8, -EIO); /* there are 6 blocks to a pass */
	search_must_fail(f, searcher, &OPTIONS(.k = K), -EIO, "segment-");
	faulty_plan.fault = FAULT_NONE;
	search_must_work(f, searcher);
	finish(searcher);
	f->setup.probes_max = 0;
}

/* ---- files that are wrong on disk, read by the real engines ---- */

static void a_flipped_bit_on_disk_is_found_by_every_way_of_reading(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup resident = SETUP(.threads = 2, .residency = LINEUP_RESIDENT);
	struct lineup_searcher *searcher, *none = NULL;
	char path[700];

	bed_segment_path(f->bed, path, sizeof(path));
	searcher = bed_searcher(f->bed, &f->setup);
	search_must_work(f, searcher);
	file_flip(path, 4096 + 2 * block_bytes + 77777);
	search_must_fail(f, searcher, &OPTIONS(.k = K), -EBADMSG, byte_of(2));
	lineup_stream_destroy(searcher->stream);
	assert_int_equal(lineup_stream_create(searcher->snapshot, RING, &lineup_engine_pread, &searcher->stream), 0);
	search_must_fail(f, searcher, &OPTIONS(.k = K), -EBADMSG, byte_of(2));
	messages_clear(&f->bed->messages);
	assert_int_equal(lineup_searcher_create(f->bed->gallery, &resident, &none), -EBADMSG);
	assert_null(none);
	assert_int_equal(f->bed->messages.errors, 1);
	assert_true(messages_with(&f->bed->messages, byte_of(2)) == 1);
	file_flip(path, 4096 + 2 * block_bytes + 77777);
	search_must_work(f, searcher);
	lineup_searcher_destroy(searcher);
}

static void a_flipped_bit_of_a_record_is_found_when_it_is_ranked(void **state)
{
	struct fixture *f = *state;
	struct lineup_searcher *searcher = bed_searcher(f->bed, &f->setup);
	const struct lineup_segment *segment = &searcher->snapshot->segments[0];
	uint64_t best = f->probes.rankings[1].hits[0].row, offset;
	char path[700];

	assert_true(best < segment->rows);
	bed_segment_path(f->bed, path, sizeof(path));
	offset = segment->records_offset + best * segment->shape.record_bytes;
	file_flip(path, offset + 200);
	search_must_fail(f, searcher, &OPTIONS(.k = K), -EBADMSG, "segment-");
	file_flip(path, offset + 200);
	search_must_work(f, searcher);
	lineup_searcher_destroy(searcher);
}

static void a_file_cut_short_while_it_is_open_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct lineup_searcher *searcher = bed_searcher(f->bed, &f->setup);
	char path[700], copy[720];
	struct stat st;
	int from, to;
	char buffer[65536];
	ssize_t n;

	bed_segment_path(f->bed, path, sizeof(path));
	snprintf(copy, sizeof(copy), "%s.kept", path);
	from = open(path, O_RDWR | O_CLOEXEC);
	to = open(copy, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(from >= 0 && to >= 0 && !fstat(from, &st));
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		assert_int_equal(write(to, buffer, (size_t)n), n);
	assert_int_equal(ftruncate(from, (off_t)(4096 + 3 * block_bytes + 100000)), 0);
	search_must_fail(f, searcher, &OPTIONS(.k = K), -EBADMSG, "segment-");
	lineup_stream_destroy(searcher->stream);
	assert_int_equal(lineup_stream_create(searcher->snapshot, RING, &lineup_engine_pread, &searcher->stream), 0);
	search_must_fail(f, searcher, &OPTIONS(.k = K), -EBADMSG, "segment-");
	/* Back as it was, in the same inode. */
	assert_int_equal(lseek(from, 0, SEEK_SET), 0);
	assert_int_equal(lseek(to, 0, SEEK_SET), 0);
	while ((n = read(to, buffer, sizeof(buffer))) > 0)
		assert_int_equal(write(from, buffer, (size_t)n), n);
	close(to);
	close(from);
	unlink(copy);
	search_must_work(f, searcher);
	lineup_searcher_destroy(searcher);
}

/* ---- records are read through the context's table of file operations ---- */

static uint64_t pread_left; /* calls that still work */

static ssize_t failing_pread(void *arg, int fd, void *data, size_t size, off_t offset)
{
	if (__atomic_load_n(&pread_left, __ATOMIC_RELAXED) == 0)
		return -EIO;
	__atomic_fetch_sub(&pread_left, 1, __ATOMIC_RELAXED);
	return lineup_io_system.pread(arg, fd, data, size, offset);
}

static void a_record_that_cannot_be_read_fails_the_search(void **state)
{
	struct fixture *f = *state;
	struct lineup_io io = lineup_io_system;
	/* One thread, so that the reads are the same each time. */
	struct lineup_search_setup setup = SETUP(.threads = 1, .residency = LINEUP_STREAMED, .stream_bytes = RING);
	struct lineup_searcher *searcher = bed_searcher(f->bed, &setup);
	uint64_t reads;

	io.pread = failing_pread;
	f->bed->ctx->io = &io;
	pread_left = UINT64_MAX;
	bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = K));
	reads = UINT64_MAX - pread_left;
	assert_true(reads > 0);
	/* The first, one in the middle, the last: read to rank or to name, none may leave half an answer. */
	for (uint32_t i = 0; i < 3; i++) {
		pread_left = i * (reads - 1) / 2;
		search_must_fail(f, searcher, &OPTIONS(.k = K), -EIO, "segment-");
	}
	pread_left = UINT64_MAX;
	bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = K));
	f->bed->ctx->io = &lineup_io_system;
	lineup_searcher_destroy(searcher);
}

/* ---- nothing is left behind ---- */

static uint32_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint32_t count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void failures_leave_no_file_open(void **state)
{
	struct fixture *f = *state;
	uint32_t before = open_files();

	for (uint32_t i = 0; i < 3; i++) {
		fails_and_recovers(f, FAULT_ERROR, i, -EIO, -EIO, byte_of(i));
		lineup_searcher_destroy(bed_searcher(f->bed, &f->setup));
	}
	assert_int_equal(open_files(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_completions_are_put_in_order),
		cmocka_unit_test(short_reads_that_end_at_a_page_go_on),
		cmocka_unit_test(short_reads_that_end_anywhere_go_on_without_o_direct),
		cmocka_unit_test(interrupted_and_postponed_reads_are_repeated),
		cmocka_unit_test(o_direct_refused_at_the_first_read_is_left_off_and_told_once),
		cmocka_unit_test(a_read_that_is_postponed_for_ever_fails),
		cmocka_unit_test(a_failed_read_names_file_and_offset),
		cmocka_unit_test(a_corrupt_block_names_file_and_offset),
		cmocka_unit_test(a_file_that_ends_early_is_corrupt),
		cmocka_unit_test(a_wait_that_fails_fails_the_search),
		cmocka_unit_test(a_submission_that_fails_fails_the_search),
		cmocka_unit_test(a_later_pass_that_fails_leaves_no_partial_answer),
		cmocka_unit_test(a_flipped_bit_on_disk_is_found_by_every_way_of_reading),
		cmocka_unit_test(a_flipped_bit_of_a_record_is_found_when_it_is_ranked),
		cmocka_unit_test(a_file_cut_short_while_it_is_open_is_an_error),
		cmocka_unit_test(a_record_that_cannot_be_read_fails_the_search),
		cmocka_unit_test(failures_leave_no_file_open),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
