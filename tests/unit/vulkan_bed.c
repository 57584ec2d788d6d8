// SPDX-License-Identifier: MIT
// Chooses the device for the Vulkan tests and says what runs there.
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vulkan_bed.h"

static struct {
	bool looked;
	struct vulkan vulkan;
	char backend[LINEUP_DEVICE_VARIANTS][64];
	char why_none[400];
} here;

/* The driver that needs no GPU, unless a device was named: then the loader finds what it finds. */
static void choose_driver(void)
{
	glob_t found;

	here.vulkan.device = getenv("LINEUP_TEST_DEVICE");
	if (here.vulkan.device)
		return;
	here.vulkan.device = "0";
	if (!glob("/usr/share/vulkan/icd.d/lvp_icd*.json", 0, NULL, &found)) {
		setenv("VK_ICD_FILENAMES", found.gl_pathv[0], 1);
		setenv("VK_DRIVER_FILES", found.gl_pathv[0], 1);
		globfree(&found);
	} else {
		snprintf(here.why_none, sizeof(here.why_none), "no software driver (lvp_icd*.json)");
	}
}

static void uuid_text(const uint8_t uuid[16], char text[37])
{
	char *at = text;

	for (uint32_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += snprintf(at, 3, "%02x", uuid[i]);
	}
}

static bool is_named(const struct lineup_device *device)
{
	char index[16], uuid[37];

	snprintf(index, sizeof(index), "%u", device->index);
	uuid_text(device->uuid, uuid);
	return !strcmp(here.vulkan.device, index) || !strcasecmp(here.vulkan.device, uuid) ||
	       (device->pci[0] && strlen(here.vulkan.device) >= 7 && strstr(device->pci, here.vulkan.device));
}

static void look_at(void *arg, const struct lineup_device *device)
{
	bool *found = arg;

	if (!is_named(device))
		return;
	*found = true;
	here.vulkan.software = device->type == LINEUP_DEVICE_SOFTWARE;
	print_message("device: %s, %s, Vulkan %s\n", device->name, device->driver, device->vulkan);
	if (device->why_not) {
		snprintf(here.why_none, sizeof(here.why_none), "%s lacks %s", device->name, device->why_not);
		return;
	}
	for (uint32_t i = 0; i < LINEUP_DEVICE_VARIANTS && device->variants[i].name; i++) {
		bool for_tests = !strcmp(device->variants[i].name, "emulated"); /* never chosen, so that it is said to be refused */

		if (for_tests ? !here.vulkan.software : device->variants[i].why_not[0] != 0) {
			print_message("not tested: variant %s: %s\n", device->variants[i].name, device->variants[i].why_not);
			continue;
		}
		snprintf(here.backend[here.vulkan.count], sizeof(here.backend[0]), "vulkan-%s", device->variants[i].name);
		here.vulkan.backend[here.vulkan.count] = here.backend[here.vulkan.count];
		here.vulkan.count++;
	}
	if (!here.vulkan.count)
		snprintf(here.why_none, sizeof(here.why_none), "no variant runs on %s", device->name);
}

static void look(void)
{
	struct lineup_ctx *ctx;
	const char *why = NULL;
	bool found = false;

	here.looked = true;
	choose_driver();
	/* The driver keeps tables for the life of the process; unloaded with each device it would lose them, which a sanitizer calls a leak. */
	dlopen("libvulkan_lvp.so", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
	snprintf(here.vulkan.twice, sizeof(here.vulkan.twice), "%s,%s", here.vulkan.device, here.vulkan.device);
	snprintf(here.vulkan.thrice, sizeof(here.vulkan.thrice), "%s,%s", here.vulkan.twice, here.vulkan.device);
	if (here.why_none[0])
		return;
	assert_int_equal(lineup_ctx_create(NULL, &ctx), 0);
	assert_int_equal(lineup_devices(ctx, LINEUP_DEVICES_PROBE, look_at, &found, &why), 0);
	lineup_ctx_destroy(ctx);
	if (!found)
		snprintf(here.why_none, sizeof(here.why_none), "no device %s: %s", here.vulkan.device,
			 why ? why : "there are others");
}

const struct vulkan *vulkan_here(void)
{
	if (!here.looked)
		look();
	if (here.why_none[0]) {
		print_message("skipped: %s\n", here.why_none);
		skip();
	}
	return &here.vulkan;
}

const struct vulkan *vulkan_software_here(void)
{
	const struct vulkan *vulkan = vulkan_here();

	if (!vulkan->software) {
		print_message("skipped: shown on a software device only\n");
		skip();
	}
	return vulkan;
}

void vulkan_own_cache(struct bed *bed)
{
	static char dir[300];

	snprintf(dir, sizeof(dir), "%s/cache", bed->dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	bed->ctx->gpu_test.cache_dir = dir;
}

void vulkan_watchdog(unsigned int seconds)
{
	alarm(seconds);
}
