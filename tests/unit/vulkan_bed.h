/* SPDX-License-Identifier: MIT */
/* Where the Vulkan tests find their device: the software one, or what LINEUP_TEST_DEVICE names. */
#ifndef TEST_VULKAN_BED_H
#define TEST_VULKAN_BED_H

#include "search_bed.h"

struct vulkan {
	const char *device; /* as .devices of a setup names it */
	bool software;
	uint32_t count; /* of the variants that run there */
	const char *backend[LINEUP_DEVICE_VARIANTS]; /* "vulkan-scalar" ..., as .backend names them */
	char twice[256]; /* the device as two */
	char thrice[384];
};

/*
 * The device and its variants; those that do not run are printed with their reason, once per program. Skips the test where there
 * is no device at all, saying why. Tests must not open one before the first call, which chooses the driver.
 */
const struct vulkan *vulkan_here(void);
/* For what only a software device shows, or is small enough for: skips the test elsewhere. */
const struct vulkan *vulkan_software_here(void);

/* A pipeline cache of this bed alone, so that what a test does to it is no other's business. */
void vulkan_own_cache(struct bed *bed);

/* A test that hangs ends its program: the watchdog of this one gets @seconds from now; 0: none. */
void vulkan_watchdog(unsigned int seconds);

#endif
