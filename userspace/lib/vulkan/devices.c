// SPDX-License-Identifier: MIT
// lineup_devices: what there is, with the variant each device runs and the rates it was measured at.
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

/* Fills what only an open device tells. A device that cannot be opened or fails is described by the reason. */
static void probe(struct lineup_ctx *ctx, struct lineup_device *info, bool measure)
{
	struct lineup_vk_rates rates = { 0 };
	struct lineup_vk_kernels *kernels = NULL;
	struct lineup_vk_device *device;

	if (info->why_not)
		return;
	if (lineup_vk_open(ctx, info, &device)) {
		info->why_not = "it could not be opened";
		return;
	}
	if (!lineup_vk_kernels_create(device, NULL, &kernels))
		info->variant = lineup_vk_kernels_variant(kernels);
	else
		info->why_not = "no variant runs on it";
	memcpy(info->variants, device->info.variants, sizeof(info->variants));
	if (kernels && measure && !lineup_vk_rates_measure(kernels, &rates)) {
		info->read_bytes = rates.read_bytes;
		info->multiply_adds = rates.multiply_adds;
		info->upload_bytes = rates.upload_bytes;
	}
	lineup_vk_kernels_destroy(kernels);
	lineup_vk_close(device);
}

int lineup_devices(struct lineup_ctx *ctx, uint32_t flags, void (*each)(void *arg, const struct lineup_device *device), void *arg,
		   const char **why_none)
{
	struct lineup_device *devices;
	uint32_t count = 0;
	int err;

	if (flags & ~(uint32_t)(LINEUP_DEVICES_PROBE | LINEUP_DEVICES_MEASURE))
		return lineup_fail(ctx, -EINVAL, "devices: unknown flags");
	devices = calloc(LINEUP_DEVICES_MAX, sizeof(*devices));
	if (!devices)
		return lineup_fail(ctx, -ENOMEM, "devices: no memory");
	err = lineup_vk_list(ctx, devices, LINEUP_DEVICES_MAX, &count, why_none);
	for (uint32_t i = 0; !err && i < count && i < LINEUP_DEVICES_MAX; i++) {
		if (flags)
			probe(ctx, &devices[i], flags & LINEUP_DEVICES_MEASURE);
		each(arg, &devices[i]);
	}
	free(devices);
	return err;
}
