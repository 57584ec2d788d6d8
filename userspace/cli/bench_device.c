// SPDX-License-Identifier: MIT
// The benchmark's view of GPUs: which ones searches use, and what those can do at most.
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct gathering {
	const char *choice;
	struct bench_devices chosen;
	struct bench_devices first;  /* of all that can run a search */
};

static void devices_add(struct bench_devices *devices, const struct lineup_device *device)
{
	size_t used = strlen(devices->name);

	snprintf(devices->name + used, sizeof(devices->name) - used, "%s%s", used ? ", " : "", device->name);
	devices->software |= device->type == LINEUP_DEVICE_SOFTWARE;
	devices->variant = device->variant;
	devices->read_bytes += device->read_bytes;
	devices->multiply_adds += device->multiply_adds;
	devices->upload_bytes += device->upload_bytes;
	devices->count++;
}

static void gather(void *arg, const struct lineup_device *device)
{
	struct gathering *g = arg;

	if (cli_device_chosen(device, g->choice))
		devices_add(&g->chosen, device);
	if (!g->first.count && device->variant)
		devices_add(&g->first, device);
}

int bench_devices_measure(struct lineup_ctx *ctx, const char *choice, struct bench_devices *devices)
{
	struct gathering g = { .choice = choice };
	int err = lineup_devices(ctx, LINEUP_DEVICES_MEASURE, gather, &g, NULL);

	if (err)
		return err;
	*devices = g.chosen.count ? g.chosen : g.first;
	return devices->count ? 0 : -ENODEV;
}
