// SPDX-License-Identifier: MIT
// A device and memory for tests of its kernels.
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vulkan_kernels.h"

enum { WAIT_SECONDS = 120 };

static uint64_t state = 88172645463325252u;

uint64_t kbed_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

uint32_t kbed_below(uint32_t n)
{
	return (uint32_t)((kbed_random() >> 32) * n >> 32);
}

static void keep_message(void *arg, enum lineup_log_level level, const char *message)
{
	struct kernels_bed *bed = arg;

	(void)level;
	snprintf(bed->message, sizeof(bed->message), "%s", message);
}

static bool choose_device(struct kernels_bed *bed, struct lineup_device *chosen)
{
	static struct lineup_device devices[LINEUP_DEVICES_MAX];
	const char *named = getenv("LINEUP_TEST_DEVICE"), *why = NULL;
	uint32_t count = 0;

	if (named) {
		assert_int_equal(lineup_vk_select(bed->ctx, named, true, devices, &count), 0);
		*chosen = devices[0];
		return true;
	}
	assert_int_equal(lineup_vk_list(bed->ctx, devices, LINEUP_DEVICES_MAX, &count, &why), 0);
	for (uint32_t i = 0; i < count && i < LINEUP_DEVICES_MAX; i++) {
		if (devices[i].type == LINEUP_DEVICE_SOFTWARE) {
			*chosen = devices[i];
			return true;
		}
	}
	print_message("no Vulkan device for tests: %s\n", why ? why : "no software device");
	return false;
}

bool kbed_open(struct kernels_bed *bed, const struct lineup_gpu_test *test, uint64_t bytes)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = keep_message, .log_arg = bed };
	const char *dir = getenv("TMPDIR");
	struct lineup_device chosen;

	/* Unloaded, the software driver's tables would look like leaks. */
	dlopen("libvulkan_lvp.so", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
	memset(bed, 0, sizeof(*bed));
	assert_int_equal(lineup_ctx_create(&options, &bed->ctx), 0);
	if (test)
		bed->ctx->gpu_test = *test;
	snprintf(bed->cache_dir, sizeof(bed->cache_dir), "%s/kernels-XXXXXX", dir && strlen(dir) < 40 ? dir : "/tmp");
	if (!bed->ctx->gpu_test.cache_dir) {
		assert_non_null(mkdtemp(bed->cache_dir));
		bed->ctx->gpu_test.cache_dir = bed->cache_dir;
	} else {
		bed->cache_dir[0] = '\0';
	}
	if (!choose_device(bed, &chosen))
		return false;
	assert_int_equal(lineup_vk_open(bed->ctx, &chosen, &bed->device), 0);
	if (bytes) {
		assert_int_equal(lineup_vk_buffer_create(bed->device, LINEUP_VK_UPLOAD, bytes, "test upload", &bed->host), 0);
		assert_int_equal(lineup_vk_buffer_create(bed->device, LINEUP_VK_DEVICE, bytes, "test", &bed->gpu), 0);
		assert_int_equal(lineup_vk_buffer_create(bed->device, LINEUP_VK_READBACK, bytes, "test readback", &bed->back), 0);
		assert_int_equal(lineup_vk_commands_create(bed->device, &bed->device->compute, "test", &bed->commands), 0);
	}
	return true;
}

static void remove_dir(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

void kbed_close(struct kernels_bed *bed)
{
	if (bed->device) {
		for (uint32_t v = 0; v < BED_VARIANTS; v++)
			lineup_vk_kernels_destroy(bed->kernels[v]);
		lineup_vk_commands_destroy(bed->device, &bed->commands);
		lineup_vk_buffer_destroy(bed->device, &bed->back);
		lineup_vk_buffer_destroy(bed->device, &bed->gpu);
		lineup_vk_buffer_destroy(bed->device, &bed->host);
		lineup_vk_close(bed->device);
	}
	if (bed->cache_dir[0])
		remove_dir(bed->cache_dir);
	lineup_ctx_destroy(bed->ctx);
}

void kbed_make_kernels(struct kernels_bed *bed)
{
	for (uint32_t v = 0; v < BED_VARIANTS; v++) {
		const char *name = lineup_vk_variant_name((enum lineup_vk_variant)v);

		if (lineup_vk_variant_why_not(bed->device, (enum lineup_vk_variant)v))
			print_message("%s: %s\n", name, lineup_vk_variant_why_not(bed->device, (enum lineup_vk_variant)v));
		else
			assert_int_equal(lineup_vk_kernels_create(bed->device, name, &bed->kernels[v]), 0);
	}
}

void kbed_reset(struct kernels_bed *bed)
{
	memset(bed->host.map, 0, bed->used);
	bed->used = 0;
}

uint64_t kbed_place(struct kernels_bed *bed, uint64_t bytes)
{
	uint64_t at = bed->used;

	bed->used = round_up(at + bytes, 256);
	assert_true(bed->used <= bed->host.size);
	return at;
}

void *kbed_host(struct kernels_bed *bed, uint64_t at)
{
	return (uint8_t *)bed->host.map + at;
}

const void *kbed_back(struct kernels_bed *bed, uint64_t at)
{
	return (const uint8_t *)bed->back.map + at;
}

uint64_t kbed_address(struct kernels_bed *bed, uint64_t at)
{
	return bed->gpu.address + at;
}

void kbed_run(struct kernels_bed *bed, void (*record)(struct kernels_bed *bed, void *arg), void *arg)
{
	struct lineup_vk_device *device = bed->device;
	uint64_t value;

	assert_int_equal(lineup_vk_begin(device, &bed->commands), 0);
	lineup_vk_copy(device, &bed->commands, &bed->host, 0, &bed->gpu, 0, bed->used);
	lineup_vk_barrier(device, &bed->commands);
	record(bed, arg);
	lineup_vk_barrier(device, &bed->commands);
	lineup_vk_copy(device, &bed->commands, &bed->gpu, 0, &bed->back, 0, bed->used);
	lineup_vk_barrier(device, &bed->commands);
	assert_int_equal(lineup_vk_submit(device, &device->compute, &bed->commands, NULL, 0, &value), 0);
	assert_int_equal(lineup_vk_wait(device, &device->compute, value, UINT64_C(1000000000) * WAIT_SECONDS), 0);
}
