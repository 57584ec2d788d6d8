/* SPDX-License-Identifier: MIT */
/* The bed of the tests of the device layer: a context between which and Vulkan a plan of faults stands, and the device to open. */
#ifndef TEST_VULKAN_DEVICE_H
#define TEST_VULKAN_DEVICE_H

#include "faulty_vk.h"
#include "vulkan/kernels_parts.h"
#include "vulkan_bed.h"

struct device_bed {
	struct lineup_ctx *ctx;
	struct messages messages;
	char dir[300];                   /* a directory of our own, where the pipeline cache is kept */
	const struct vulkan *vulkan;
	struct lineup_device which;      /* as vulkan->device names it */
	struct lineup_vk_device *device; /* NULL: closed */
};

/* Skips where there is no device. */
void device_bed_begin(struct device_bed *bed);
/* Closes what is open; no object of Vulkan may be left. */
void device_bed_end(struct device_bed *bed);
void device_bed_open(struct device_bed *bed);
void device_bed_close(struct device_bed *bed);

#endif
