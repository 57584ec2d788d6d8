// SPDX-License-Identifier: MIT
// What lineup_gallery_shares says of a gallery on GPUs is what searches do there.
#include <string.h>

#include "growth.h"
#include "vulkan_bed.h"

enum { ROWS = 16000, DIM = 128 }; /* some blocks, of which a piece has one at least */

static void begin(struct growth *g, struct rng *rng)
{
	assert_string_equal(kinds[0].name, "random");
	growth_begin(g, rng, &kinds[0], DIM, ROWS, 3);
	g->bed->ctx->gpu_test.piece_bytes = 60000;
}

static void what_is_said_to_stay_stays(void **state)
{
	static const uint64_t memory[] = { 1, 700000, 1400000, 1 << 30 };
	const struct vulkan *vulkan = vulkan_here();
	bool some = false;
	const char *devices[] = { vulkan->device, vulkan->twice, vulkan->thrice };
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	vulkan_watchdog(300);
	begin(&g, &rng);
	for (uint32_t i = 0; i < 3 * ARRAY_SIZE(memory); i++) {
		uint32_t count = 1 + i % 3;
		uint64_t each[3] = { memory[i / 3], memory[i / 3], memory[i / 3] }, rows = 0, kept = 0;
		struct lineup_search_setup setup = SETUP(.backend = "vulkan-scalar", .devices = devices[i % 3], .device_memory_max = each[0]);
		struct lineup_searcher *searcher = bed_searcher(g.bed, &setup);
		struct lineup_device_share shares[3];

		bed_search(g.bed, searcher, &setup, &g.probes, &OPTIONS(.k = 10));
		lineup_searcher_destroy(searcher);
		assert_int_equal(lineup_gallery_shares(g.bed->gallery, count, each, shares), 0);
		for (uint32_t d = 0; d < count; d++) {
			rows += shares[d].rows;
			kept += shares[d].rows_kept;
			assert_true(shares[d].bytes_kept <= each[d] && shares[d].bytes_kept <= shares[d].bytes);
			assert_true((shares[d].rows_kept == shares[d].rows) == (shares[d].bytes_kept == shares[d].bytes));
		}
		assert_int_equal(rows, g.bed->facts.rows);
		assert_int_equal(kept, g.bed->facts.rows_on_device);
		some |= kept && kept < rows;
	}
	assert_true(some);
	vulkan_watchdog(0);
	growth_end(&g);
}

static void devices_share_alike(void **state)
{
	struct lineup_device_share shares[2];
	const uint64_t memory[2] = { 0, 1 << 30 };
	struct rng rng = { test_seed() };
	struct growth g;

	(void)state;
	begin(&g, &rng);
	assert_int_equal(lineup_gallery_shares(g.bed->gallery, 2, memory, shares), 0);
	assert_int_equal(shares[0].rows_kept, 0);
	assert_int_equal(shares[0].bytes_kept, 0);
	for (uint32_t d = 0; d < 2; d++) {
		/* Codes, bounds and marks of each row, at least. */
		assert_true(shares[d].rows > 0 && shares[d].bytes >= shares[d].rows * (DIM + 40));
		assert_true(d == 0 || shares[d].rows_kept == shares[d].rows);
	}
	growth_end(&g);
}

static void a_wrong_number_of_devices_is_refused(void **state)
{
	static uint64_t memory[LINEUP_DEVICES_MAX + 1];
	static struct lineup_device_share shares[LINEUP_DEVICES_MAX + 1];
	struct bed *bed = bed_open(DIM, LINEUP_STORE_FLOAT32);

	(void)state;
	assert_int_equal(lineup_gallery_shares(bed->gallery, 0, memory, shares), -EINVAL);
	assert_int_equal(lineup_gallery_shares(bed->gallery, LINEUP_DEVICES_MAX + 1, memory, shares), -EINVAL);
	assert_int_equal(messages_with(&bed->messages, "is not from 1 to 64"), 2);
	bed_close(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_to_stay_stays),
		cmocka_unit_test(devices_share_alike),
		cmocka_unit_test(a_wrong_number_of_devices_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
