// SPDX-License-Identifier: MIT
// How long a scan takes, so that the variants of a device can be compared.
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "kernels_parts.h"

/* Enough tiles to fill a large GPU; what a software device does in some milliseconds. */
enum { DIM = 512, ROWS = 65536, PROBES = 256, ROWS_SOFTWARE = 256, PROBES_SOFTWARE = 32, RUNS = 5, REPEAT_MAX = 256 };
enum { WAIT_SECONDS = 60 };
#define SECONDS_MIN 2e-3 /* of a run: more repetitions until it takes so long */

struct timing {
	struct lineup_vk_kernels *kernels;
	struct lineup_vk_buffer buffer; /* codes, bounds, marks; then the probes' codes, structs and counts */
	struct lineup_vk_commands commands;
	struct gpu_scan scan;
	uint64_t bytes;
};

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Submits what has been recorded and waits. */
static int run(struct timing *t, double *seconds)
{
	struct lineup_vk_device *device = t->kernels->device;
	double begin = seconds_now();
	uint64_t value;
	int err = lineup_vk_submit(device, &device->compute, &t->commands, NULL, 0, &value);

	if (!err)
		err = lineup_vk_wait(device, &device->compute, value, UINT64_C(1000000000) * WAIT_SECONDS);
	*seconds = seconds_now() - begin;
	return err;
}

static int run_scans(struct timing *t, uint32_t repeat, double *seconds)
{
	int err = lineup_vk_begin(t->kernels->device, &t->commands);

	if (err)
		return err;
	for (uint32_t i = 0; i < repeat; i++)
		lineup_vk_scan_tiles(t->kernels, &t->commands, &t->scan);
	return run(t, seconds);
}

/* All words are 0x3c3c3c3c: codes of 60, scales of 0.01; the threshold alone differs, so that no row passes. */
static int prepare(struct timing *t)
{
	struct lineup_vk_device *device = t->kernels->device;
	bool software = device->info.type == LINEUP_DEVICE_SOFTWARE;
	uint64_t rows = software ? ROWS_SOFTWARE : ROWS, probes = software ? PROBES_SOFTWARE : PROBES;
	uint64_t bounds = rows * DIM, marks = bounds + rows * sizeof(struct gpu_bound), codes = marks + rows * sizeof(struct gpu_mark);
	uint64_t probe = codes + probes * DIM, counts = probe + probes * sizeof(struct gpu_probe);
	double seconds;
	int err;

	t->bytes = counts + probes * 4;
	err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, t->bytes, "timing", &t->buffer);
	if (!err)
		err = lineup_vk_commands_create(device, &device->compute, "timing", &t->commands);
	if (!err)
		err = lineup_vk_begin(device, &t->commands);
	if (err)
		return err;
	t->scan = (struct gpu_scan){
		.codes = t->buffer.address, .bounds = t->buffer.address + bounds, .marks = t->buffer.address + marks,
		.probe_codes = t->buffer.address + codes, .probe = t->buffer.address + probe, .counts = t->buffer.address + counts,
		.entries = t->buffer.address, /* none: cap is 0 */
		.rows = (uint32_t)rows, .probes = (uint32_t)probes, .pitch = DIM / 16,
	};
	lineup_vk_fill(device, &t->commands, &t->buffer, 0, t->bytes, 0x3c3c3c3c);
	lineup_vk_barrier(device, &t->commands);
	for (uint64_t p = 0; p < probes; p++)
		lineup_vk_fill(device, &t->commands, &t->buffer, probe + p * sizeof(struct gpu_probe) + 12, 4, 0x7f800000);
	lineup_vk_barrier(device, &t->commands);
	return run(t, &seconds);
}

int lineup_vk_kernels_time(struct lineup_vk_kernels *kernels, double *seconds)
{
	struct timing t = { .kernels = kernels };
	double took[RUNS] = { 0 };
	uint32_t repeat = 1;
	int err = prepare(&t);

	/* The first run compiles, on some drivers. */
	if (!err)
		err = run_scans(&t, 1, &took[0]);
	for (bool enough = false; !err && !enough; repeat *= enough ? 1 : 2) {
		err = run_scans(&t, repeat, &took[0]);
		enough = took[0] >= SECONDS_MIN || repeat >= REPEAT_MAX;
	}
	for (uint32_t i = 0; i < RUNS && !err; i++)
		err = run_scans(&t, repeat, &took[i]);
	qsort(took, RUNS, sizeof(took[0]), compare);
	*seconds = took[RUNS / 2] / repeat;
	lineup_vk_commands_destroy(kernels->device, &t.commands);
	lineup_vk_buffer_destroy(kernels->device, &t.buffer);
	return err;
}
