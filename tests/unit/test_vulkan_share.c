// SPDX-License-Identifier: MIT
// Shared scans on Vulkan devices: the same answers, while the gallery changes and when the device is lost.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faulty_vk.h"
#include "share_bed.h"
#include "vulkan_bed.h"

enum { DIM = 48, ROWS = 4000, PROBES = 24, QUERIES = 30 };

struct place {
	const struct vulkan *vulkan;
	struct rng rng;
	struct bed *bed;
	struct lineup_matrix matrix;
	struct probes probes;
	struct lineup_crew *crew;
	struct lineup_share *share;
};

static void place_open(struct place *place, enum lineup_residency residency, uint32_t probes_max)
{
	memset(place, 0, sizeof(*place));
	place->vulkan = vulkan_here();
	place->rng.state = test_seed();
	place->bed = share_town(&place->rng, DIM, test_scaled(ROWS, 1500));
	place->bed->story = "vulkan";
	vulkan_own_cache(place->bed);
	faulty_vk_attach(place->bed->ctx);
	faulty_vk_set(NULL);
	place->matrix = rows_random(&place->rng, PROBES, DIM);
	probes_init(&place->probes, place->bed, &place->matrix);
	assert_int_equal(lineup_crew_create(place->bed->ctx, 2, &place->crew), 0);
	place->share = bed_share(place->bed, place->crew, &SHARE(.backend = "vulkan-scalar", .devices = place->vulkan->device,
								 .residency = residency, .k_max = 256, .probes_max = probes_max,
								 .stream_bytes = 4 << 20));
}

static void place_close(struct place *place)
{
	lineup_share_destroy(place->share);
	lineup_crew_destroy(place->crew);
	assert_int_equal(faulty_vk_devices(), 0);
	assert_null(faulty_vk_leak());
	probes_fini(&place->probes);
	rows_free(&place->matrix);
	bed_close(place->bed);
}

/* Many queries at once, some for all to share and some that nobody shares; how many of them a device scanned for. */
static uint32_t ask_many(struct place *place, bool plain)
{
	struct asked asked[QUERIES];
	uint32_t on_device = 0;

	probes_update(&place->probes, place->bed);
	for (uint32_t i = 0; i < QUERIES; i++) {
		struct lineup_search_options options = share_options(&place->rng);
		uint32_t first = rng_below(&place->rng, PROBES - 2);

		if (plain)
			options = OPTIONS(.k = 10);
		asked_init(&asked[i], &place->probes, first, 1 + rng_below(&place->rng, 2), &options);
		if (!plain)
			share_subjects(&place->rng, place->bed, &asked[i]);
		asked[i].query.client = i % 4;
		assert_int_equal(asked_submit(&asked[i], place->share), 0);
	}
	for (uint32_t i = 0; i < QUERIES; i++) {
		asked_wait(&asked[i]);
		asked_check(place->bed, &asked[i]);
		assert_true(asked[i].facts.sequence == place->bed->sequence);
		assert_true(!asked[i].query.subjects || !asked[i].facts.devices);
		if (asked[i].facts.devices)
			assert_true(!strncmp(asked[i].facts.backend, "vulkan-", 7));
		on_device += asked[i].facts.devices > 0;
		asked_fini(&asked[i]);
	}
	return on_device;
}

static void devices_give_the_same_answers_whatever_is_asked_together(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		struct lineup_share_stats stats;
		struct place place;
		uint32_t on_device;

		place_open(&place, (enum lineup_residency)i, i == 1 ? 7 : 0);
		on_device = ask_many(&place, false);
		assert_true(on_device > 0 && on_device < QUERIES);
		assert_int_equal(ask_many(&place, true), QUERIES);
		lineup_share_stats(place.share, &stats);
		assert_int_equal(stats.devices, 1);
		assert_true(!strncmp(stats.backend, "vulkan-", 7));
		assert_true(stats.revolutions > 0);
		assert_int_equal(place.bed->messages.errors, 0);
		place_close(&place);
	}
}

/* What is new is scanned by the crew, what is deleted is left out, and the rows on the device stay there. */
static void changes_are_seen_without_a_new_base(void **state)
{
	struct lineup_matrix more;
	struct lineup_searcher *base;
	struct place place;

	(void)state;
	place_open(&place, LINEUP_RESIDENCY_AUTO, 0);
	more = rows_random(&place.rng, 200, DIM);
	assert_int_equal(ask_many(&place, true), QUERIES);
	base = lineup_share_gpu_searcher(place.share);
	for (uint32_t i = 0; i < 8; i++) {
		bed_enrol(place.bed, &more, i * 25, 25, NULL, NULL, NULL);
		/* Of the best of some probe, so that it matters. */
		for (uint32_t n = 0; n < 6; n++) {
			const struct oracle_hit *hits = place.probes.rankings[n].hits;

			for (uint32_t rank = 0; rank < 20; rank++) {
				const struct oracle_row *row = &place.bed->oracle.rows[hits[rank].row];

				if (row->until != UINT64_MAX)
					continue;
				bed_delete_template(place.bed, row->id);
				break;
			}
		}
		assert_int_equal(ask_many(&place, true), QUERIES);
		ask_many(&place, false);
	}
	assert_ptr_equal(lineup_share_gpu_searcher(place.share), base);
	rows_free(&more);
	place_close(&place);
}

static void a_compaction_makes_a_new_base(void **state)
{
	struct place place;

	(void)state;
	place_open(&place, LINEUP_RESIDENCY_AUTO, 0);
	ask_many(&place, true);
	bed_delete_subject(place.bed, "s9");
	bed_compact(place.bed);
	ask_many(&place, false);
	place.share->job.rest(&place.share->job); /* as the crew does now and then */
	/* The base is made by a thread of its own, while the crew answers. */
	while (ask_many(&place, true) < QUERIES)
		;
	place_close(&place);
}

static void a_lost_device_changes_no_answer(void **state)
{
	static const uint32_t kinds[] = { FAULTY_VK(QueueSubmit2), FAULTY_VK(WaitSemaphores), FAULTY_VK_LOSES };

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct faulty_vk_plan plan = { .fail_mask = kinds[i], .fail_at = 1 + i, .fail_result = VK_ERROR_DEVICE_LOST, .fail_for_ever = i == 2 };
		struct place place;

		place_open(&place, (enum lineup_residency)(i % 2), 0);
		assert_int_equal(ask_many(&place, true), QUERIES);
		faulty_vk_set(&plan);
		ask_many(&place, true);
		assert_true(faulty_vk_failed() > 0);
		faulty_vk_set(NULL);
		ask_many(&place, false);
		if (i == 2) { /* for good */
			while (ask_many(&place, true))
				;
		} else {
			assert_int_equal(ask_many(&place, true), QUERIES);
		}
		assert_int_equal(place.bed->messages.errors, 0);
		place_close(&place);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_give_the_same_answers_whatever_is_asked_together),
		cmocka_unit_test(changes_are_seen_without_a_new_base),
		cmocka_unit_test(a_compaction_makes_a_new_base),
		cmocka_unit_test(a_lost_device_changes_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
