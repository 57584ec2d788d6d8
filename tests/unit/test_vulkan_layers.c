// SPDX-License-Identifier: MIT
// That the validation layers listen: a mistake made on purpose is in their log. Only under tests/validated.sh.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vulkan/vk.h"
#include "vulkan_bed.h"

static off_t log_size(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_size;
}

/* Whether the log holds @text; then it is emptied, for what stays in it is a failure. */
static bool logged(const char *path, const char *text)
{
	FILE *f = fopen(path, "re");
	char line[4096];
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		found |= strstr(line, text) != NULL;
	if (f)
		fclose(f);
	assert_int_equal(truncate(path, 0), 0);
	return found;
}

/* Two fills of the same bytes; with a barrier between them, or without. */
static void fill_twice(struct lineup_vk_device *device, bool barrier)
{
	struct lineup_vk_buffer buffer;
	struct lineup_vk_commands commands;
	uint64_t value;

	assert_int_equal(lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, 4096, "a test", &buffer), 0);
	assert_int_equal(lineup_vk_commands_create(device, &device->compute, "a test", &commands), 0);
	assert_int_equal(lineup_vk_begin(device, &commands), 0);
	lineup_vk_fill(device, &commands, &buffer, 0, 4096, 1);
	if (barrier)
		lineup_vk_barrier(device, &commands);
	lineup_vk_fill(device, &commands, &buffer, 0, 4096, 2);
	assert_int_equal(lineup_vk_submit(device, &device->compute, &commands, NULL, 0, &value), 0);
	assert_int_equal(lineup_vk_wait(device, &device->compute, value, 60000000000), 0);
	lineup_vk_commands_destroy(device, &commands);
	lineup_vk_buffer_destroy(device, &buffer);
}

static void a_hazard_between_two_commands_is_noticed(void **state)
{
	const char *log = getenv("LINEUP_TEST_VALIDATED");
	const struct vulkan *vulkan;
	struct lineup_vk_device *device;
	static struct lineup_device which[LINEUP_DEVICES_MAX];
	struct lineup_ctx *ctx;
	uint32_t count = 0;

	(void)state;
	if (!log) {
		print_message("skipped: not under tests/validated.sh\n");
		skip();
	}
	vulkan = vulkan_here();
	vulkan_watchdog(120);
	assert_int_equal(lineup_ctx_create(NULL, &ctx), 0);
	assert_int_equal(lineup_vk_select(ctx, vulkan->device, true, which, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(lineup_vk_open(ctx, &which[0], &device), 0);
	fill_twice(device, true);
	assert_true(log_size(log) == 0);
	fill_twice(device, false);
	assert_true(logged(log, "SYNC-HAZARD-WRITE-AFTER-WRITE"));
	lineup_vk_close(device);
	lineup_ctx_destroy(ctx);
	assert_true(log_size(log) == 0);
	vulkan_watchdog(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hazard_between_two_commands_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
