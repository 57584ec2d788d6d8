// SPDX-License-Identifier: MIT
// How long work on a device takes: of a scan, so that the variants can be compared, and of anything else that is repeated.
#include <stdlib.h>
#include <time.h>

#include "kernels_parts.h"

/* Enough tiles to fill a large GPU; what a software device does in some milliseconds. */
enum { DIM = 512, ROWS = 65536, PROBES = 256, ROWS_SOFTWARE = 256, PROBES_SOFTWARE = 32 };
enum { RUNS = 5, REPEAT_MAX = 256, WAIT_SECONDS = 60 };

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

int lineup_vk_submit_and_wait(struct lineup_vk_device *device, struct lineup_vk_queue *queue, struct lineup_vk_commands *commands)
{
	uint64_t value;
	int err = lineup_vk_submit(device, queue, commands, NULL, 0, &value);

	if (!err)
		err = lineup_vk_wait(device, queue, value, UINT64_C(1000000000) * WAIT_SECONDS);
	if (err != -ETIMEDOUT)
		return err;
	lineup_warn(device->ctx, "%s: no answer in %d s", device->info.name, WAIT_SECONDS);
	atomic_store(&device->lost, true);
	device->api.DeviceWaitIdle(device->device); /* until it has ended or been reset: then what it used may be freed */
	return -ENODEV;
}

static int run(struct lineup_vk_device *device, struct lineup_vk_queue *queue, struct lineup_vk_commands *commands, double *seconds)
{
	double begin = seconds_now();
	int err = lineup_vk_submit_and_wait(device, queue, commands);

	*seconds = seconds_now() - begin;
	return err;
}

static int run_repeated(struct lineup_vk_device *device, struct lineup_vk_queue *queue, struct lineup_vk_commands *commands,
			lineup_vk_record_fn *record, void *arg, uint32_t repeat, double *seconds)
{
	int err = lineup_vk_begin(device, commands);

	if (err)
		return err;
	for (uint32_t i = 0; i < repeat; i++)
		record(arg, commands);
	return run(device, queue, commands, seconds);
}

int lineup_vk_time(struct lineup_vk_device *device, struct lineup_vk_queue *queue, lineup_vk_record_fn *record, void *arg,
		   double seconds_min, double *seconds)
{
	struct lineup_vk_commands commands = { 0 };
	double took[RUNS] = { 0 };
	uint32_t repeat = 1;
	int err = lineup_vk_commands_create(device, queue, "timing", &commands);

	/* The first run compiles, on some drivers. */
	if (!err)
		err = run_repeated(device, queue, &commands, record, arg, repeat, &took[0]);
	for (bool enough = false; !err && !enough; repeat *= enough ? 1 : 2) {
		err = run_repeated(device, queue, &commands, record, arg, repeat, &took[0]);
		enough = took[0] >= seconds_min || repeat >= REPEAT_MAX;
	}
	for (uint32_t i = 0; i < RUNS && !err; i++)
		err = run_repeated(device, queue, &commands, record, arg, repeat, &took[i]);
	qsort(took, RUNS, sizeof(took[0]), compare);
	*seconds = took[RUNS / 2] / repeat;
	lineup_vk_commands_destroy(device, &commands);
	return err;
}

struct timed_scan {
	struct lineup_vk_kernels *kernels;
	struct gpu_scan scan;
};

static void record_scan(void *arg, struct lineup_vk_commands *commands)
{
	struct timed_scan *t = arg;

	lineup_vk_scan_wide(t->kernels, commands, &t->scan);
}

/* All words are 0x3c3c3c3c: codes of 60, scales of 0.01. The thresholds alone differ: infinite, so that no row passes. */
static int fill(struct lineup_vk_device *device, const struct lineup_vk_buffer *buffer, uint64_t probe, uint64_t probes)
{
	struct lineup_vk_commands commands = { 0 };
	double seconds;
	int err = lineup_vk_commands_create(device, &device->compute, "timing fill", &commands);

	if (!err)
		err = lineup_vk_begin(device, &commands);
	if (!err) {
		lineup_vk_fill(device, &commands, buffer, 0, buffer->size, 0x3c3c3c3c);
		lineup_vk_barrier(device, &commands);
		for (uint64_t p = 0; p < probes; p++)
			lineup_vk_fill(device, &commands, buffer, probe + p * sizeof(struct gpu_probe) + 12, 4, 0x7f800000);
		lineup_vk_barrier(device, &commands);
		err = run(device, &device->compute, &commands, &seconds);
	}
	lineup_vk_commands_destroy(device, &commands);
	return err;
}

int lineup_vk_kernels_time(struct lineup_vk_kernels *kernels, double *seconds)
{
	struct lineup_vk_device *device = kernels->device;
	bool software = device->info.type == LINEUP_DEVICE_SOFTWARE;
	uint64_t rows = software ? ROWS_SOFTWARE : ROWS, probes = software ? PROBES_SOFTWARE : PROBES;
	uint64_t bounds = rows * DIM, marks = bounds + rows * sizeof(struct gpu_bound),
		codes = marks + rows * sizeof(struct gpu_mark);
	uint64_t probe = codes + probes * DIM, counts = probe + probes * sizeof(struct gpu_probe);
	struct timed_scan timed = { .kernels = kernels };
	struct lineup_vk_buffer buffer = { 0 };
	int err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, counts + probes * 4, "timing", &buffer);

	if (!err)
		err = fill(device, &buffer, probe, probes);
	if (!err) {
		timed.scan = (struct gpu_scan){
			.codes = buffer.address, .bounds = buffer.address + bounds, .marks = buffer.address + marks,
			.probe_codes = buffer.address + codes, .probe = buffer.address + probe, .counts = buffer.address + counts,
			.entries = buffer.address, /* none: cap is 0 */
			.rows = (uint32_t)rows, .probes = (uint32_t)probes, .pitch = DIM / 16,
		};
		err = lineup_vk_time(device, &device->compute, record_scan, &timed, 2e-3, seconds);
	}
	lineup_vk_buffer_destroy(device, &buffer);
	return err;
}
