// SPDX-License-Identifier: MIT
// Passes over devices that are not there: what is kept, streamed, overflowing or lost, the answers are the oracle's.
#include <stdio.h>

#include "search_bed.h"

#include "fake_vk.h"

enum { DIM = 40, ROWS = 30000, PROBES = 5, K = 7 };

struct fixture {
	struct bed *bed;
	struct lineup_matrix rows;
	struct lineup_matrix probe_rows;
	struct probes probes;
};

/*
 * Two segments of several blocks, a small one, and a journal; some rows are deleted, expire, or are on lists; subjects have
 * several templates.
 */
static void enrol(struct fixture *f, struct rng *rng, uint64_t first, uint64_t count)
{
	char (*text)[16] = calloc(count, sizeof(*text));
	const char **names = calloc(count, sizeof(*names));
	uint64_t *lists = calloc(count, sizeof(*lists));
	int64_t *expires = calloc(count, sizeof(*expires));

	assert_true(text && names && lists && expires);
	for (uint64_t i = 0; i < count; i++) {
		snprintf(text[i], sizeof(text[i]), "s%u", rng_below(rng, ROWS / 2));
		names[i] = text[i];
		lists[i] = rng_u64(rng) & rng_u64(rng);
		expires[i] = rng_below(rng, 4) ? 0 : 998 + rng_below(rng, 5);
	}
	bed_enrol(f->bed, &f->rows, first, count, names, lists, expires);
	free(expires);
	free(lists);
	free(names);
	free(text);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rng rng = { test_seed() };

	assert_non_null(f);
	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->bed->ctx->record_bytes_max = 64 << 10;
	f->rows = rows_random(&rng, ROWS, DIM);
	memcpy(rows_at(&f->rows, 0), rows_at(&f->rows, ROWS - 3), DIM * sizeof(float)); /* ties across pieces */
	f->probe_rows = rows_random(&rng, PROBES, DIM);
	memcpy(rows_at(&f->probe_rows, 1), rows_at(&f->rows, 17000), DIM * sizeof(float));
	memcpy(rows_at(&f->probe_rows, 2), rows_at(&f->rows, 0), DIM * sizeof(float));
	enrol(f, &rng, 0, 18000);
	enrol(f, &rng, 18000, 11000);
	enrol(f, &rng, 29000, 900);
	enrol(f, &rng, 29900, 97);
	enrol(f, &rng, 29997, 3);
	for (uint32_t i = 0; i < 200; i++)
		bed_delete_template(f->bed, 1 + rng_below(&rng, ROWS - 100));
	probes_init(&f->probes, f->bed, &f->probe_rows);
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

static int as_in_life(void **state)
{
	struct fixture *f = *state;

	fake.transfer = false;
	fake.import = true;
	fake.memory = 0;
	fake.devices = 1;
	fake.late_us = 0;
	fake.products_us = 0;
	atomic_store(&fake.silent, false);
	atomic_store(&fake.submits_left, -1);
	atomic_store(&fake.opens_left, -1);
	atomic_store(&fake.lost, 0);
	atomic_store(&fake.secrets, 0);
	atomic_store(&fake.buffers, 0); /* what a test before left is that one's */
	atomic_store(&fake.opened, 0);
	memset(&f->bed->ctx->gpu_test, 0, sizeof(f->bed->ctx->gpu_test));
	messages_clear(&f->bed->messages);
	return 0;
}

static int nothing_is_left(void **state)
{
	(void)state;
	assert_int_equal(atomic_load(&fake.buffers), 0);
	assert_int_equal(atomic_load(&fake.opened), 0);
	assert_int_equal(atomic_load(&fake.secrets), 0);
	return 0;
}

static struct lineup_search_setup vulkan(enum lineup_residency residency)
{
	return SETUP(.backend = "vulkan-scalar", .residency = residency, .threads = 3, .probes_max = 8, .k_max = 128);
}

/* The facts of a search whose answers were the oracle's, by bed_search with the same searcher just before. */
static struct lineup_search_facts facts_of(struct fixture *f, struct lineup_searcher *searcher)
{
	struct lineup_candidate candidates[PROBES * K];
	struct lineup_search_facts facts;
	uint32_t counts[PROBES];

	assert_int_equal(lineup_search(searcher, &f->probe_rows, &OPTIONS(.k = K, .now = 1000), candidates, counts, &facts), 0);
	return facts;
}

static void search_all_ways(struct fixture *f, struct lineup_searcher *searcher, const struct lineup_search_setup *setup)
{
	bed_search(f->bed, searcher, setup, &f->probes, &OPTIONS(.k = K));
	bed_search(f->bed, searcher, setup, &f->probes, &OPTIONS(.k = 1, .per = LINEUP_PER_TEMPLATE));
	bed_search(f->bed, searcher, setup, &f->probes, &OPTIONS(.k = 128, .lists = 5));
	bed_search(f->bed, searcher, setup, &f->probes, &OPTIONS(.k = K, .flags = LINEUP_SEARCH_THRESHOLD, .threshold = 0.3f));
}

static void rows_stay_after_the_first_pass(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = vulkan(LINEUP_RESIDENCY_AUTO);
	struct lineup_searcher *searcher = bed_searcher(f->bed, &setup);
	struct lineup_search_facts facts = facts_of(f, searcher);

	assert_true(facts.bytes_read > 0 && facts.bytes_uploaded >= facts.bytes_read);
	assert_int_equal(facts.rows_on_device, ROWS);
	assert_int_equal(facts.rows_scanned, ROWS);
	assert_false(facts.resident); /* not yet: this search has read */
	assert_string_equal(facts.backend, "vulkan-scalar");
	assert_string_equal(facts.staging, "imported");
	search_all_ways(f, searcher, &setup);
	facts = facts_of(f, searcher);
	assert_true(facts.resident);
	assert_int_equal(facts.bytes_read, 0);
	assert_int_equal(facts.bytes_uploaded, 0);
	assert_int_equal(facts.rows_scanned, ROWS);
	lineup_searcher_destroy(searcher);
}

static void a_resident_search_reads_nothing(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = vulkan(LINEUP_RESIDENT);
	struct lineup_searcher *searcher = bed_searcher(f->bed, &setup);
	struct lineup_search_facts facts = facts_of(f, searcher);

	assert_int_equal(facts.bytes_read, 0);
	assert_int_equal(facts.bytes_uploaded, 0);
	assert_true(facts.resident);
	search_all_ways(f, searcher, &setup);
	lineup_searcher_destroy(searcher);
}

static void a_streamed_search_keeps_nothing(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = vulkan(LINEUP_STREAMED);
	struct lineup_searcher *searcher = bed_searcher(f->bed, &setup);
	struct lineup_search_facts facts;

	search_all_ways(f, searcher, &setup);
	facts = facts_of(f, searcher);
	assert_true(facts.bytes_read > 0);
	assert_int_equal(facts.rows_on_device, 0);
	assert_false(facts.resident);
	lineup_searcher_destroy(searcher);
}

static void what_does_not_fit_is_streamed(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = vulkan(LINEUP_RESIDENCY_AUTO);
	struct lineup_searcher *searcher, *none = NULL;
	struct lineup_search_facts facts;

	setup.device_memory_max = 2 << 20;
	searcher = bed_searcher(f->bed, &setup);
	search_all_ways(f, searcher, &setup);
	facts = facts_of(f, searcher);
	assert_true(facts.rows_on_device > 0 && facts.rows_on_device < ROWS);
	assert_true(facts.bytes_on_device <= 2 << 20 && facts.bytes_on_device > (2 << 20) / 4 * 3);
	assert_true(facts.bytes_read > 0);
	assert_false(facts.resident);
	lineup_searcher_destroy(searcher);
	setup.residency = LINEUP_RESIDENT;
	assert_int_equal(lineup_searcher_create(f->bed->gallery, &setup, &none), -ENOMEM);
	assert_int_equal(f->bed->messages.errors, 1);
	assert_true(messages_with(&f->bed->messages, "does not fit") == 1);
}

static void every_staging_devices_queues_and_splits_give_the_same(void **state)
{
	static const char *const stagings[] = { "imported", "driver", "copied" };
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 36; i += test_scaled(10, 1) > 9 ? 1 : 5) {
		struct lineup_search_setup setup = vulkan((enum lineup_residency)(i % 3));
		struct lineup_searcher *searcher;

		as_in_life(state);
		f->bed->ctx->gpu_test.staging = stagings[i / 3 % 3];
		fake.devices = i / 9 % 2 && strcmp(stagings[i / 3 % 3], "driver") != 0 ? 3 : 1;
		fake.transfer = i / 18;
		fake.late_us = 300;
		f->bed->ctx->gpu_test.piece_bytes = i % 2 ? 600 << 10 : 0;
		setup.stream_bytes = i % 5 ? 4 << 20 : 0;
		searcher = bed_searcher(f->bed, &setup);
		search_all_ways(f, searcher, &setup);
		assert_string_equal(facts_of(f, searcher).staging, stagings[i / 3 % 3]);
		assert_int_equal(facts_of(f, searcher).devices, fake.devices);
		lineup_searcher_destroy(searcher);
	}
}

static void full_lists_are_halved_and_drained(void **state)
{
	static const uint32_t caps[] = { 1, 2, 3, 17, 64, 500 };
	struct fixture *f = *state;

	for (uint32_t i = 0; i < ARRAY_SIZE(caps); i++) {
		struct lineup_search_setup setup = vulkan((enum lineup_residency)(i % 3));
		struct lineup_search_facts first, second;
		struct lineup_searcher *searcher;

		as_in_life(state);
		fake.devices = 1 + i % 2;
		f->bed->ctx->gpu_test.cap = caps[i];
		f->bed->ctx->gpu_test.chunk_rows = i % 2 ? 4000 : 0;
		searcher = bed_searcher(f->bed, &setup);
		bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = K));
		first = facts_of(f, searcher);
		second = facts_of(f, searcher);
		if (caps[i] < 2 * K)
			assert_true(first.overflows > 0);
		assert_int_equal(first.overflows, second.overflows);
		if (fake.devices == 1)
			assert_int_equal(first.rows_reranked, second.rows_reranked);
		lineup_searcher_destroy(searcher);
	}
}

static void a_gallery_of_one_row_over_and_over_ends(void **state)
{
	struct fixture same = { 0 };
	struct lineup_search_setup setup = vulkan(LINEUP_RESIDENCY_AUTO);
	struct rng rng = { test_seed() };

	(void)state;
	same.bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	same.rows = rows_random(&rng, 9000, DIM);
	for (uint32_t i = 1; i < 9000; i++)
		memcpy(rows_at(&same.rows, i), rows_at(&same.rows, 0), DIM * sizeof(float));
	same.probe_rows = rows_random(&rng, 2, DIM);
	bed_enrol(same.bed, &same.rows, 0, 9000, NULL, NULL, NULL);
	probes_init(&same.probes, same.bed, &same.probe_rows);
	bed_check(same.bed, &setup, &same.probes, &OPTIONS(.k = K));
	same.bed->ctx->gpu_test.cap = 100;
	bed_check(same.bed, &setup, &same.probes, &OPTIONS(.k = K));
	bed_check(same.bed, &setup, &same.probes, &OPTIONS(.k = 128, .per = LINEUP_PER_TEMPLATE));
	probes_fini(&same.probes);
	rows_free(&same.probe_rows);
	rows_free(&same.rows);
	bed_close(same.bed);
}

static void an_empty_gallery_has_no_candidates(void **state)
{
	struct fixture empty = { 0 };
	struct rng rng = { test_seed() };

	(void)state;
	empty.bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	empty.probe_rows = rows_random(&rng, 2, DIM);
	probes_init(&empty.probes, empty.bed, &empty.probe_rows);
	for (int i = 0; i < 3; i++) {
		struct lineup_search_setup setup = vulkan((enum lineup_residency)i);

		bed_check(empty.bed, &setup, &empty.probes, &OPTIONS(.k = K));
	}
	probes_fini(&empty.probes);
	rows_free(&empty.probe_rows);
	bed_close(empty.bed);
}

/* Wherever it is lost, the first loss is made good by opening it again, the second by the CPU; the searcher goes on. */
static void a_loss_at_any_submission_changes_no_answer(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < test_scaled(60, 12); i++) {
		struct lineup_search_setup setup = vulkan((enum lineup_residency)(i % 2 ? LINEUP_STREAMED : LINEUP_RESIDENCY_AUTO));
		struct lineup_searcher *searcher;
		struct lineup_search_facts facts;

		as_in_life(state);
		fake.late_us = 200;
		fake.devices = 1 + i % 2;
		fake.transfer = i / 2 % 2;
		f->bed->ctx->gpu_test.staging = i / 4 % 2 ? "copied" : "imported";
		f->bed->ctx->gpu_test.piece_bytes = 600 << 10;
		f->bed->ctx->gpu_test.cap = i % 3 ? 0 : 64;
		setup.stream_bytes = 4 << 20;
		searcher = bed_searcher(f->bed, &setup);
		atomic_store(&fake.submits_left, (int)i);
		for (int search = 0; search < 3; search++)
			bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = K));
		atomic_store(&fake.submits_left, -1); /* a loss after the last answer shows in the next search */
		facts = facts_of(f, searcher);
		if (!atomic_load(&fake.lost)) { /* fewer submissions than that */
			lineup_searcher_destroy(searcher);
			continue;
		}
		assert_string_equal(facts.backend, "vulkan-scalar");
		assert_true(messages_with(&f->bed->messages, "opened again") == 1);
		atomic_store(&fake.submits_left, (int)i % 7);
		setup.backend = NULL; /* whoever answers */
		bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = K));
		facts = facts_of(f, searcher);
		assert_int_equal(atomic_load(&fake.lost), 2);
		assert_string_not_equal(facts.backend, "vulkan-scalar");
		assert_int_equal(facts.devices, 0);
		assert_true(messages_with(&f->bed->messages, "the CPU takes over") == 1);
		lineup_searcher_destroy(searcher);
		assert_int_equal(f->bed->messages.errors, 0);
	}
}

enum { PRODUCTS_US = 60, PRODUCTS_MEANT = 30000 * PRODUCTS_US }; /* in the 30 ms that a submission is meant to take */

static struct lineup_searcher *slow_searcher(struct fixture *f, const struct lineup_search_setup *setup)
{
	fake.products_us = PRODUCTS_US;
	fake.transfer = true; /* so that only one thread waits for the slow queue */
	f->bed->ctx->gpu_test.now_ns = fake_now_ns;
	return bed_searcher(f->bed, setup);
}

/* The largest submission of a search that is right. */
static unsigned long long search_slowly(struct fixture *f, struct lineup_searcher *searcher, const struct lineup_search_setup *setup)
{
	atomic_store(&fake.products_most, 0);
	bed_search(f->bed, searcher, setup, &f->probes, &OPTIONS(.k = K));
	return atomic_load(&fake.products_most);
}

/* A watchdog ends what takes seconds: on a slow device submissions become short, whatever was taken for its rate at first. */
static void submissions_to_a_slow_device_are_short(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = vulkan(LINEUP_RESIDENCY_AUTO);
	struct lineup_searcher *searcher = slow_searcher(f, &setup);

	assert_true(search_slowly(f, searcher, &setup) > 2 * PRODUCTS_MEANT); /* or this shows nothing */
	search_slowly(f, searcher, &setup);
	search_slowly(f, searcher, &setup);
	for (int i = 0; i < 8; i++)
		assert_in_range(search_slowly(f, searcher, &setup), PRODUCTS_MEANT / 2, 2 * PRODUCTS_MEANT);
	lineup_searcher_destroy(searcher);
}

/* A device that came meanwhile is not used: what the searcher has for each device it made for those there were. */
static void a_loss_with_more_devices_than_before_uses_no_more(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = vulkan(LINEUP_RESIDENCY_AUTO);
	struct lineup_searcher *searcher;

	f->bed->ctx->gpu_test.cap = 2; /* lists are drained, each by its device's thread */
	searcher = bed_searcher(f->bed, &setup);
	fake.devices = 4;
	atomic_store(&fake.submits_left, 3);
	bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = K));
	assert_int_equal(messages_with(&f->bed->messages, "opened again"), 1);
	assert_int_equal(facts_of(f, searcher).devices, 1);
	lineup_searcher_destroy(searcher);
}

static void a_device_that_is_gone_for_good_leaves_it_to_the_cpu(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = vulkan(LINEUP_RESIDENCY_AUTO);
	struct lineup_searcher *searcher = bed_searcher(f->bed, &setup);

	atomic_store(&fake.opens_left, 0);
	atomic_store(&fake.submits_left, 3);
	setup.backend = NULL; /* whoever answers */
	search_all_ways(f, searcher, &setup);
	assert_int_equal(facts_of(f, searcher).devices, 0);
	lineup_searcher_destroy(searcher);
}

static void a_load_survives_a_loss(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 8; i++) {
		struct lineup_search_setup setup = vulkan(LINEUP_RESIDENT);
		struct lineup_searcher *searcher;

		as_in_life(state);
		fake.devices = 2;
		atomic_store(&fake.submits_left, i);
		searcher = bed_searcher(f->bed, &setup);
		search_all_ways(f, searcher, &setup);
		assert_int_equal(facts_of(f, searcher).bytes_read, 0);
		lineup_searcher_destroy(searcher);
	}
}

/* Silence is a loss too; what such a device holds is left to it. The next one answers. */
static void a_device_that_does_not_answer_is_lost(void **state)
{
	static const char *const stagings[] = { "imported", "copied", "driver" };
	struct fixture *f = *state;

	for (uint32_t i = 0; i < ARRAY_SIZE(stagings); i++) {
		struct lineup_search_setup setup = vulkan(LINEUP_STREAMED);
		struct lineup_searcher *searcher;
		int left;

		as_in_life(state);
		f->bed->ctx->gpu_test.staging = stagings[i];
		f->bed->ctx->gpu_test.silence_ms = 1;
		searcher = bed_searcher(f->bed, &setup);
		atomic_store(&fake.silent, true);
		setup.backend = NULL;
		bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = K));
		assert_true(messages_with(&f->bed->messages, "no answer") == 2);
		assert_true(messages_with(&f->bed->messages, "left behind") == 2);
		assert_true(messages_with(&f->bed->messages, "the CPU takes over") == 1);
		assert_int_equal(facts_of(f, searcher).devices, 0);
		left = atomic_load(&fake.buffers);
		assert_true(left > 0);
		lineup_searcher_destroy(searcher);
		assert_int_equal(atomic_load(&fake.buffers), left);
	}
}

static bool stop_soon(void *arg, uint64_t done, uint64_t total)
{
	atomic_int *calls = arg;

	(void)done;
	(void)total;
	return atomic_fetch_sub(calls, 1) > 1;
}

static void a_cancelled_search_can_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct lineup_search_setup setup = vulkan(LINEUP_STREAMED);
	struct lineup_candidate candidates[PROBES * K];
	struct lineup_searcher *searcher;
	uint32_t counts[PROBES];
	atomic_int calls;

	setup.progress = stop_soon;
	setup.progress_arg = &calls;
	setup.stream_bytes = 4 << 20;
	setup.threads = 2;
	atomic_store(&calls, 1000000);
	searcher = bed_searcher(f->bed, &setup);
	for (int i = 1; i < 6; i++) {
		int err;

		atomic_store(&calls, i);
		err = lineup_search(searcher, &f->probe_rows, &OPTIONS(.k = K, .now = 1000), candidates, counts, NULL);
		assert_true(err == -ECANCELED || (!err && atomic_load(&calls) > 0));
		atomic_store(&calls, 1000000);
		bed_search(f->bed, searcher, &setup, &f->probes, &OPTIONS(.k = K));
	}
	lineup_searcher_destroy(searcher);
}

static void a_name_that_is_no_variant_is_refused(void **state)
{
	static const char *const names[] = { "vulkan-", "vulkan-fast", "vulkandot", "vulkan_dot" };
	struct fixture *f = *state;

	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct lineup_search_setup setup = SETUP(.backend = names[i]);
		struct lineup_searcher *searcher = NULL;

		messages_clear(&f->bed->messages);
		assert_int_equal(lineup_searcher_create(f->bed->gallery, &setup, &searcher), -EINVAL);
		assert_null(searcher);
		assert_int_equal(f->bed->messages.errors, 1);
	}
	assert_int_equal(lineup_searcher_create(f->bed->gallery, &SETUP(.backend = "scalar", .devices = "0"),
						&(struct lineup_searcher *){ NULL }),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rows_stay_after_the_first_pass, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(a_resident_search_reads_nothing, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(a_streamed_search_keeps_nothing, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(what_does_not_fit_is_streamed, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(every_staging_devices_queues_and_splits_give_the_same, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(full_lists_are_halved_and_drained, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(a_gallery_of_one_row_over_and_over_ends, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(an_empty_gallery_has_no_candidates, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(a_loss_at_any_submission_changes_no_answer, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(submissions_to_a_slow_device_are_short, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(a_loss_with_more_devices_than_before_uses_no_more, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(a_device_that_is_gone_for_good_leaves_it_to_the_cpu, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(a_load_survives_a_loss, as_in_life, nothing_is_left),
		cmocka_unit_test_setup(a_device_that_does_not_answer_is_lost, as_in_life),
		cmocka_unit_test_setup_teardown(a_cancelled_search_can_be_repeated, as_in_life, nothing_is_left),
		cmocka_unit_test_setup_teardown(a_name_that_is_no_variant_is_refused, as_in_life, nothing_is_left),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
