// SPDX-License-Identifier: MIT
// A stream that feeds devices, with reads that are late, short, failed or corrupt, and searches that are stopped: as on the CPU.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faulty_engine.h"
#include "faulty_vk.h"
#include "gallery.h"
#include "vulkan_bed.h"

enum { DIM = 256, PROBES = 3, K = 5, RING = 4 << 20 };

/* ---- one gallery for all tests: a segment of many blocks, all of one size ---- */

struct fixture {
	struct bed *bed;
	const struct vulkan *vulkan;
	struct lineup_matrix rows;
	struct lineup_matrix probe_rows;
	struct probes probes;
	struct lineup_search_setup setup;
	uint64_t block_bytes;
	uint32_t blocks;
	char path[700]; /* of the segment */
};

static void fill(struct fixture *f)
{
	struct rng rng = { test_seed() };
	struct lineup_snapshot *snapshot;

	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->bed->story = "faults of the stream";
	f->rows = rows_random(&rng, 30000, DIM);
	f->probe_rows = rows_random(&rng, PROBES, DIM);
	bed_enrol(f->bed, &f->rows, 0, 29990, NULL, NULL, NULL);
	bed_enrol(f->bed, &f->rows, 29990, 10, NULL, NULL, NULL);
	probes_init(&f->probes, f->bed, &f->probe_rows);
	snapshot = lineup_gallery_snapshot(f->bed->gallery);
	f->block_bytes = snapshot->segments[0].shape.block_bytes;
	f->blocks = (uint32_t)snapshot->segments[0].block_count;
	lineup_snapshot_put(snapshot);
	bed_segment_path(f->bed, f->path, sizeof(f->path));
	assert_true(f->blocks >= 5);
}

/* Made by the first test, for vulkan_here may skip it. */
static struct fixture *fixture(void **state)
{
	struct fixture *f = *state;

	f->vulkan = vulkan_here();
	vulkan_watchdog(300);
	if (!f->bed)
		fill(f);
	f->setup = SETUP(.threads = 2, .residency = LINEUP_STREAMED, .stream_bytes = RING, .backend = "vulkan-scalar",
			 .devices = f->vulkan->device);
	faulty_vk_attach(f->bed->ctx);
	f->bed->ctx->engine = NULL;
	f->bed->ctx->gpu_test.staging = NULL;
	return f;
}

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->bed) {
		probes_fini(&f->probes);
		rows_free(&f->probe_rows);
		rows_free(&f->rows);
		bed_close(f->bed);
	}
	free(f);
	return 0;
}

/* ---- searching through the faulty engine ---- */

static struct lineup_searcher *faulty_searcher(struct fixture *f, enum fault fault, uint64_t at, int error)
{
	struct lineup_searcher *searcher;

	faulty_plan_begin(FAULT_NONE, 0, 0, f->block_bytes);
	f->bed->ctx->engine = &faulty_engine;
	searcher = bed_searcher(f->bed, &f->setup);
	f->bed->ctx->engine = NULL;
	/* A plan of its own would forget that the engine is alive. */
	faulty_plan.rng.state = test_seed() + fault;
	faulty_plan.fault = fault;
	faulty_plan.at = at;
	faulty_plan.error = error;
	messages_clear(&f->bed->messages);
	return searcher;
}

static void search_must_work(struct fixture *f, struct lineup_searcher *searcher)
{
	bed_search(f->bed, searcher, &f->setup, &f->probes, &OPTIONS(.k = K));
}

/* A search that fails with @err, says why once, and gives no candidate; the device is not blamed. */
static void search_must_fail(struct fixture *f, struct lineup_searcher *searcher, int err, const char *reason)
{
	struct lineup_search_facts facts, facts_before;
	struct lineup_candidate candidates[PROBES * K];
	uint32_t counts[PROBES];

	memset(counts, 0xa5, sizeof(counts));
	memset(&facts, 0xa5, sizeof(facts));
	memset(&facts_before, 0xa5, sizeof(facts));
	messages_clear(&f->bed->messages);
	assert_int_equal(lineup_search(searcher, &f->probe_rows, &OPTIONS(.k = K), candidates, counts, &facts), err);
	if (reason) {
		assert_int_equal(f->bed->messages.errors, 1);
		assert_int_equal(f->bed->messages.warnings, 0);
		if (!messages_with(&f->bed->messages, reason))
			fail_msg("the message does not say \"%s\": %s", reason, f->bed->messages.text[0]);
	}
	for (uint32_t p = 0; p < PROBES; p++)
		assert_int_equal(counts[p], 0);
	assert_memory_equal(&facts, &facts_before, sizeof(facts));
}

static void finish(struct lineup_searcher *searcher)
{
	lineup_searcher_destroy(searcher);
	assert_int_equal(faulty_plan.alive, 0);
	assert_false(faulty_plan.wrong);
	assert_null(faulty_vk_leak());
}

/* Where block @block lies, as messages say it. */
static const char *byte_of(const struct fixture *f, uint64_t block)
{
	static char text[64];

	snprintf(text, sizeof(text), "byte %" PRIu64, 4096 + block * f->block_bytes);
	return text;
}

/* The fault, the error it gives, then the same searcher without it. */
static void fails_and_recovers(struct fixture *f, enum fault fault, uint64_t at, int error, int err, const char *reason)
{
	struct lineup_searcher *searcher = faulty_searcher(f, fault, at, error);

	search_must_fail(f, searcher, err, reason);
	faulty_plan.waits = faulty_plan.submits = 0;
	search_must_fail(f, searcher, err, reason);
	faulty_plan.fault = FAULT_NONE;
	search_must_work(f, searcher);
	assert_true(!strncmp(f->bed->facts.backend, "vulkan-", 7));
	finish(searcher);
}

static const char *const stagings[] = { "imported", "driver", "copied" };

/* Each way that blocks reach a device. */
static void works(struct fixture *f, enum fault fault)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(stagings); i++) {
		struct lineup_searcher *searcher;

		f->bed->ctx->gpu_test.staging = f->vulkan->software ? stagings[i] : NULL;
		f->setup.devices = i % 2 ? f->vulkan->device : i ? f->vulkan->thrice : f->vulkan->twice;
		searcher = faulty_searcher(f, fault, 0, 0);
		for (uint32_t round = 0; round < 3; round++)
			search_must_work(f, searcher);
		finish(searcher);
	}
}

static void late_completions_are_put_in_order(void **state)
{
	works(fixture(state), FAULT_NONE);
}

static void short_reads_go_on(void **state)
{
	works(fixture(state), FAULT_SHORT_PAGES);
	works(fixture(state), FAULT_SHORT_BYTES);
}

static void interrupted_and_postponed_reads_are_repeated(void **state)
{
	works(fixture(state), FAULT_INTERRUPTED);
}

static void a_failed_read_names_file_and_offset(void **state)
{
	struct fixture *f = fixture(state);

	for (uint32_t i = 0; i < ARRAY_SIZE(stagings); i++) {
		f->bed->ctx->gpu_test.staging = f->vulkan->software ? stagings[i] : NULL;
		fails_and_recovers(f, FAULT_ERROR, 2, -EIO, -EIO, byte_of(f, 2));
		fails_and_recovers(f, FAULT_ERROR, 0, -EIO, -EIO, byte_of(f, 0));
		fails_and_recovers(f, FAULT_ERROR, f->blocks - 1, -EIO, -EIO, byte_of(f, f->blocks - 1));
	}
	f->bed->ctx->gpu_test.staging = NULL;
	f->setup.devices = f->vulkan->twice;
	fails_and_recovers(f, FAULT_ERROR, 3, -EIO, -EIO, byte_of(f, 3));
}

static void a_corrupt_block_names_file_and_offset(void **state)
{
	struct fixture *f = fixture(state);

	fails_and_recovers(f, FAULT_CORRUPT, 1, 0, -EBADMSG, byte_of(f, 1));
	fails_and_recovers(f, FAULT_CORRUPT, f->blocks - 1, 0, -EBADMSG, "segment-");
	f->setup.devices = f->vulkan->thrice;
	fails_and_recovers(f, FAULT_CORRUPT, 1, 0, -EBADMSG, byte_of(f, 1));
}

static void a_file_that_ends_early_is_corrupt(void **state)
{
	struct fixture *f = fixture(state);

	fails_and_recovers(f, FAULT_END, 3, 0, -EBADMSG, byte_of(f, 3));
}

static void a_wait_or_a_submission_that_fails_fails_the_search(void **state)
{
	struct fixture *f = fixture(state);

	fails_and_recovers(f, FAULT_WAIT, 2, -EBADF, -EBADF, "faulty");
	fails_and_recovers(f, FAULT_SUBMIT, 0, -EBUSY, -EBUSY, "segment-");
	fails_and_recovers(f, FAULT_SUBMIT, 4, -EBUSY, -EBUSY, "segment-");
}

/* Rows that came before the fault may have stayed on the device; those after it have not: the next search reads them. */
static void a_failed_first_pass_leaves_no_gap_on_the_device(void **state)
{
	struct fixture *f = fixture(state);
	struct lineup_searcher *searcher;

	f->setup.residency = LINEUP_RESIDENCY_AUTO;
	for (uint32_t block = 0; block < f->blocks; block++) {
		f->setup.devices = block % 2 ? f->vulkan->twice : f->vulkan->device;
		f->bed->ctx->gpu_test.piece_bytes = block % 3 ? 500000 : 0;
		searcher = faulty_searcher(f, block % 2 ? FAULT_ERROR : FAULT_CORRUPT, block, -EIO);
		search_must_fail(f, searcher, block % 2 ? -EIO : -EBADMSG, byte_of(f, block));
		faulty_plan.fault = FAULT_NONE;
		for (uint32_t round = 0; round < 3; round++)
			search_must_work(f, searcher);
		assert_true(f->bed->facts.bytes_read == 0);
		finish(searcher);
	}
	f->bed->ctx->gpu_test.piece_bytes = 0;
}

/* The reads fail in the pass that is repeated after a loss. */
static void a_failed_read_after_a_loss_is_said(void **state)
{
	struct faulty_vk_plan plan = { .fail_mask = FAULTY_VK(QueueSubmit2), .fail_at = 3, .fail_result = VK_ERROR_DEVICE_LOST };
	struct fixture *f = fixture(state);
	struct lineup_searcher *searcher = faulty_searcher(f, FAULT_SUBMIT, f->blocks + 2, -EIO);

	faulty_vk_set(&plan);
	search_must_fail(f, searcher, -EIO, NULL);
	assert_int_equal(f->bed->messages.errors, 1);
	assert_true(messages_with(&f->bed->messages, "segment-") == 1);
	faulty_vk_set(NULL);
	faulty_plan.fault = FAULT_NONE;
	search_must_work(f, searcher);
	finish(searcher);
}

/* ---- the disk itself ---- */

static void a_flipped_bit_on_disk_is_found_before_a_device_sees_it(void **state)
{
	struct fixture *f = fixture(state);
	struct lineup_searcher *searcher = NULL;
	uint64_t at = 4096 + 2 * f->block_bytes + 77777;

	file_flip(f->path, at);
	searcher = bed_searcher(f->bed, &f->setup);
	search_must_fail(f, searcher, -EBADMSG, byte_of(f, 2));
	lineup_searcher_destroy(searcher);
	f->setup.residency = LINEUP_RESIDENT;
	searcher = NULL;
	messages_clear(&f->bed->messages);
	assert_int_equal(lineup_searcher_create(f->bed->gallery, &f->setup, &searcher), -EBADMSG);
	assert_null(searcher);
	assert_int_equal(f->bed->messages.errors, 1);
	assert_true(messages_with(&f->bed->messages, byte_of(f, 2)));
	assert_null(faulty_vk_leak());
	file_flip(f->path, at);
	bed_check(f->bed, &f->setup, &f->probes, &OPTIONS(.k = K));
}

/* ---- searches that are stopped ---- */

struct stopper {
	uint32_t calls;
	uint32_t last; /* the call that says no */
};

static bool stop(void *arg, uint64_t done, uint64_t total)
{
	struct stopper *s = arg;

	assert_true(!total || done <= total);
	return ++s->calls != s->last;
}

static void a_search_that_is_stopped_anywhere_can_be_repeated(void **state)
{
	struct fixture *f = fixture(state);
	struct stopper s = { 0 };

	f->setup.threads = 1; /* the thread that tells of progress does all the reading: the calls are the same each time */
	f->setup.progress = stop;
	f->setup.progress_arg = &s;
	for (uint32_t i = 0; i < 3; i++) {
		struct lineup_searcher *searcher;
		uint32_t calls;

		f->setup.residency = i == 2 ? LINEUP_STREAMED : LINEUP_RESIDENCY_AUTO;
		f->setup.devices = i ? f->vulkan->device : f->vulkan->twice;
		s = (struct stopper){ 0 };
		searcher = bed_searcher(f->bed, &f->setup);
		search_must_work(f, searcher);
		lineup_searcher_destroy(searcher);
		calls = s.calls;
		assert_true(calls > 0);
		for (uint32_t n = 1; n <= calls && n < 8; n++) {
			s = (struct stopper){ .last = n };
			searcher = bed_searcher(f->bed, &f->setup);
			search_must_fail(f, searcher, -ECANCELED, NULL);
			assert_int_equal(f->bed->messages.count, 0);
			search_must_work(f, searcher);
			search_must_work(f, searcher);
			finish(searcher);
		}
	}
}

static void a_load_that_is_stopped_leaves_nothing(void **state)
{
	struct fixture *f = fixture(state);
	struct lineup_searcher *searcher = NULL;
	struct stopper s = { .last = 1 };

	f->setup.residency = LINEUP_RESIDENT;
	f->setup.progress = stop;
	f->setup.progress_arg = &s;
	assert_int_equal(lineup_searcher_create(f->bed->gallery, &f->setup, &searcher), -ECANCELED);
	assert_null(searcher);
	assert_null(faulty_vk_leak());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_completions_are_put_in_order),
		cmocka_unit_test(short_reads_go_on),
		cmocka_unit_test(interrupted_and_postponed_reads_are_repeated),
		cmocka_unit_test(a_failed_read_names_file_and_offset),
		cmocka_unit_test(a_corrupt_block_names_file_and_offset),
		cmocka_unit_test(a_file_that_ends_early_is_corrupt),
		cmocka_unit_test(a_wait_or_a_submission_that_fails_fails_the_search),
		cmocka_unit_test(a_failed_first_pass_leaves_no_gap_on_the_device),
		cmocka_unit_test(a_failed_read_after_a_loss_is_said),
		cmocka_unit_test(a_flipped_bit_on_disk_is_found_before_a_device_sees_it),
		cmocka_unit_test(a_search_that_is_stopped_anywhere_can_be_repeated),
		cmocka_unit_test(a_load_that_is_stopped_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
