// SPDX-License-Identifier: MIT
// Probes leave no trace on devices: not in mapped memory, and on a software device, whose memory is this process's, nowhere.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "needles.h"
#include "probe.h"
#include "vulkan_faults.h"

enum { DIM = 256, PROBES = 12, K = 5, ROWS = 4000 };

/* What only the test itself may hold of the probes: mapped on its own, never looked at. */
struct vault {
	float probes[PROBES * DIM];
	float stored[DIM];
	int8_t codes[DIM];
};

static struct vault *vault;

struct fixture {
	struct bed *bed;
	struct lineup_matrix probes; /* in the vault */
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rng rng = { test_seed() };
	struct lineup_matrix rows;
	float scale, resid;

	assert_non_null(f);
	vault = mmap(NULL, sizeof(*vault), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(vault != MAP_FAILED);
	for (uint32_t i = 0; i < PROBES * DIM; i++)
		vault->probes[i] = (float)rng_normal(&rng) / 5;
	f->probes = (struct lineup_matrix){ vault->probes, PROBES, DIM, LINEUP_FLOAT32 };
	needles_begin(vault, sizeof(*vault));
	/* The first and the last probe: as given, normalised, and as the codes that devices get. */
	for (uint32_t p = 0; p < PROBES; p += PROBES - 1) {
		needle_add("a probe as given", vault->probes + p * DIM + 40, 32);
		oracle_normalise(&f->probes, p, vault->stored);
		needle_add("a normalised probe", vault->stored + 40, 32);
		lineup_probe_quantise(vault->stored, DIM, vault->codes, &scale, &resid);
		needle_add("a probe's codes", vault->codes + 40, 32);
	}
	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->bed->story = "private";
	f->bed->ctx->record_bytes_max = 256 << 10;
	f->bed->ctx->journal_seal_bytes = 512 << 10;
	rows = rows_random(&rng, ROWS, DIM);
	bed_enrol(f->bed, &rows, 0, ROWS - 20, NULL, NULL, NULL);
	bed_enrol(f->bed, &rows, ROWS - 20, 20, NULL, NULL, NULL);
	rows_free(&rows);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	bed_close(f->bed);
	free(f);
	needles_end();
	munmap(vault, sizeof(*vault));
	return 0;
}

/* ---- looking ---- */

struct look {
	uint32_t mappings;
	const char *found;
	uint64_t size; /* of the mapping it was found in */
};

static void look_at(void *arg, const void *map, uint64_t size)
{
	struct look *look = arg;

	look->mappings++;
	if (look->found)
		return;
	look->found = needle_in(map, size);
	look->size = size;
}

static void nothing_is_left(const struct vulkan *vulkan, const char *after)
{
	struct look look = { 0 };
	struct found found;

	faulty_vk_mappings(look_at, &look);
	if (look.found)
		fail_msg("after %s: %s in mapped memory", after, look.found);
	if (!vulkan->software)
		return;
	found = needles_find();
	if (found.places)
		fail_msg("after %s: %s", after, found.where[0] ? found.where : "found in memory that is not dumped");
}

static int search(struct fixture *f, const struct vulkan *vulkan, const struct lineup_search_setup *setup, uint32_t probes)
{
	struct lineup_searcher *searcher;
	struct lineup_candidate candidates[PROBES * K];
	struct lineup_matrix few = f->probes;
	uint32_t counts[PROBES];
	int err;

	few.rows = probes;
	faulty_vk_attach(f->bed->ctx);
	searcher = bed_searcher(f->bed, setup);
	err = lineup_search(searcher, &few, &OPTIONS(.k = K), candidates, counts, NULL);
	nothing_is_left(vulkan, "the search");
	lineup_searcher_destroy(searcher);
	nothing_is_left(vulkan, "destroying the searcher");
	assert_null(faulty_vk_leak());
	return err;
}

/* ---- tests ---- */

/* What the callback sees while the probes are in use. */
struct watch {
	struct look look;
	struct found found;
};

static bool watch(void *arg, uint64_t done, uint64_t total)
{
	struct watch *w = arg;

	(void)done;
	(void)total;
	if (!w->look.found)
		faulty_vk_mappings(look_at, &w->look);
	if (!w->found.places)
		w->found = needles_find();
	return true;
}

/* Without this the others would show nothing. */
static void the_codes_are_seen_while_a_search_runs(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct fixture *f = *state;
	struct watch w = { 0 };

	vulkan_watchdog(120);
	search(f, vulkan,
	       &SETUP(.backend = "vulkan-scalar", .devices = vulkan->device, .residency = LINEUP_STREAMED, .progress = watch,
		      .progress_arg = &w),
	       PROBES);
	assert_true(w.look.mappings > 0);
	if (vulkan->software)
		assert_true(w.found.places > 0);
	vulkan_watchdog(0);
}

static void no_copy_of_a_probe_is_left_after_a_search(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct fixture *f = *state;

	vulkan_watchdog(300);
	for (uint32_t i = 0; i < 6 * vulkan->count; i++) {
		struct lineup_search_setup setup = SETUP(.backend = vulkan->backend[i / 6],
							 .devices = i % 2 ? vulkan->twice : vulkan->device,
							 .residency = (enum lineup_residency)(i % 3), .probes_max = i % 2 ? 5 : 0);

		assert_int_equal(search(f, vulkan, &setup, i % 4 ? PROBES : 2), 0);
	}
	vulkan_watchdog(0);
}

static bool stop(void *arg, uint64_t done, uint64_t total)
{
	uint32_t *calls = arg;

	(void)done;
	(void)total;
	return ++*calls < 2;
}

static void no_copy_is_left_after_a_search_that_is_stopped(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct fixture *f = *state;
	uint32_t calls = 0;

	vulkan_watchdog(120);
	f->bed->ctx->gpu_test.piece_bytes = 100000;
	assert_int_equal(search(f, vulkan,
				&SETUP(.backend = "vulkan-scalar", .devices = vulkan->device, .residency = LINEUP_STREAMED,
				       .threads = 1, .progress = stop, .progress_arg = &calls),
				PROBES),
			 -ECANCELED);
	vulkan_watchdog(0);
}

static const char *freed_with;

static void look_before_it_is_freed(const void *map, uint64_t size)
{
	if (!freed_with)
		freed_with = needle_in(map, size);
}

/* What a lost device holds is out of reach; what lies on this side of it is not. */
static void nothing_mapped_is_freed_with_a_probe_in_it_after_a_loss(void **state)
{
	const struct vulkan *vulkan = vulkan_here();
	struct fixture *f = *state;

	vulkan_watchdog(120);
	freed_with = NULL;
	for (uint32_t i = 0; i < 16; i++) {
		struct faulty_vk_plan plan = {
			.fail_mask = i % 2 ? FAULTY_VK(WaitSemaphores) : FAULTY_VK(QueueSubmit2),
			.fail_at = 1 + i / 4,
			.fail_for_ever = i / 2 % 2,
			.fail_result = VK_ERROR_DEVICE_LOST,
			.freeing = look_before_it_is_freed,
		};
		struct lineup_search_setup setup = SETUP(.backend = "vulkan-scalar",
							 .devices = i % 3 ? vulkan->device : vulkan->twice);
		struct lineup_candidate candidates[PROBES * K];
		struct look look = { 0 };
		struct lineup_searcher *searcher;
		uint32_t counts[PROBES];

		faulty_vk_attach(f->bed->ctx);
		searcher = bed_searcher(f->bed, &setup);
		faulty_vk_set(&plan);
		assert_int_equal(lineup_search(searcher, &f->probes, &OPTIONS(.k = K), candidates, counts, NULL), 0);
		assert_true(faulty_vk_failed() > 0);
		faulty_vk_mappings(look_at, &look);
		lineup_searcher_destroy(searcher);
		if (look.found)
			fail_msg("loss %u: after the search: %s in %llu bytes of mapped memory", i, look.found,
				 (unsigned long long)look.size);
		if (freed_with)
			fail_msg("loss %u: mapped memory was freed with %s in it", i, freed_with);
	}
	vulkan_watchdog(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_codes_are_seen_while_a_search_runs),
		cmocka_unit_test(no_copy_of_a_probe_is_left_after_a_search),
		cmocka_unit_test(no_copy_is_left_after_a_search_that_is_stopped),
		cmocka_unit_test(nothing_mapped_is_freed_with_a_probe_in_it_after_a_loss),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
