// SPDX-License-Identifier: MIT
// Opens and closes the device of the tests of the device layer.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan_device.h"

void device_bed_begin(struct device_bed *bed)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = messages_log, .log_arg = &bed->messages };
	static struct lineup_device list[LINEUP_DEVICES_MAX];
	uint32_t count = 0;

	memset(bed, 0, sizeof(*bed));
	bed->vulkan = vulkan_here();
	pthread_mutex_init(&bed->messages.lock, NULL);
	assert_int_equal(lineup_ctx_create(&options, &bed->ctx), 0);
	snprintf(bed->dir, sizeof(bed->dir), "%s/lineup-device.XXXXXX", test_tmp());
	assert_non_null(mkdtemp(bed->dir));
	bed->ctx->gpu_test.cache_dir = bed->dir;
	faulty_vk_attach(bed->ctx);
	assert_int_equal(lineup_vk_select(bed->ctx, bed->vulkan->device, false, list, &count), 0);
	assert_int_equal(count, 1);
	bed->which = list[0];
}

void device_bed_end(struct device_bed *bed)
{
	faulty_vk_set(NULL);
	device_bed_close(bed);
	directory_remove(bed->dir);
	lineup_ctx_destroy(bed->ctx);
	pthread_mutex_destroy(&bed->messages.lock);
}

void device_bed_open(struct device_bed *bed)
{
	assert_int_equal(lineup_vk_open(bed->ctx, &bed->which, &bed->device), 0);
}

void device_bed_close(struct device_bed *bed)
{
	lineup_vk_close(bed->device);
	bed->device = NULL;
	if (faulty_vk_leak())
		fail_msg("%s is left", faulty_vk_leak());
}
