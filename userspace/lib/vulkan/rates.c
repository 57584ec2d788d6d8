// SPDX-License-Identifier: MIT
// What a device does at most: reading its memory, multiplying codes, taking copies from the host.
#include "kernels_parts.h"

enum { MIB = 1 << 20, READ_MIB = 512, READ_MIB_SOFTWARE = 16, UPLOAD_MIB = 64, UPLOAD_MIB_SOFTWARE = 4 };
enum { THREADS = 256, THREADS_SOFTWARE = 64, GROUPS = 8192, GROUPS_SOFTWARE = 16, ROUNDS = 1024, ROUNDS_SOFTWARE = 64 };
enum { CHAINS = 8 }; /* as in peak.comp */
#define SECONDS_MIN 2e-2

struct rate {
	struct lineup_vk_device *device;
	struct lineup_vk_kernel kernel;
	struct lineup_vk_buffer from, to;
	struct gpu_rate push;
	uint32_t groups;
};

static bool software(const struct lineup_vk_device *device)
{
	return device->info.type == LINEUP_DEVICE_SOFTWARE;
}

static void record_dispatch(void *arg, struct lineup_vk_commands *commands)
{
	struct rate *rate = arg;

	lineup_vk_dispatch(rate->device, commands, &rate->kernel.pipeline, &rate->push, rate->groups, 1);
}

static void record_copy(void *arg, struct lineup_vk_commands *commands)
{
	struct rate *rate = arg;

	lineup_vk_copy(rate->device, commands, &rate->from, 0, &rate->to, 0, rate->from.size);
	lineup_vk_barrier(rate->device, commands);
}

static void rate_fini(struct rate *rate)
{
	lineup_vk_pipeline_destroy(rate->device, &rate->kernel.pipeline);
	lineup_vk_buffer_destroy(rate->device, &rate->to);
	lineup_vk_buffer_destroy(rate->device, &rate->from);
}

/* What cannot be had costs a rate, not the measurement; only a lost device ends it. */
static int given_up(int err)
{
	return err == -ENODEV ? err : 0;
}

static int measure_read(struct lineup_vk_device *device, double *bytes_per_second)
{
	uint64_t bytes = (uint64_t)(software(device) ? READ_MIB_SOFTWARE : READ_MIB) * MIB,
		available = lineup_vk_memory_available(device);
	uint32_t threads = software(device) ? THREADS_SOFTWARE : THREADS;
	struct lineup_vk_shape_of shape = { .shader = LINEUP_VK_SHADER_read, .count = 1, .constants = { threads } };
	struct rate rate = { .device = device, .groups = software(device) ? GROUPS_SOFTWARE : GROUPS };
	double seconds;
	int err;

	if (bytes > device->allocation_max)
		bytes = device->allocation_max;
	if (bytes > available / 2)
		bytes = available / 2;
	bytes -= bytes % MIB;
	if (!bytes)
		return 0;
	err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, bytes, "read rate", &rate.from);
	if (!err)
		err = lineup_vk_kernel_create(device, &shape, sizeof(rate.push), &rate.kernel);
	if (!err) {
		rate.push = (struct gpu_rate){ .from = rate.from.address, .to = rate.from.address,
					       .count = (uint32_t)(bytes / 16) };
		err = lineup_vk_time(device, &device->compute, record_dispatch, &rate, SECONDS_MIN, &seconds);
	}
	if (!err)
		*bytes_per_second = (double)bytes / seconds;
	rate_fini(&rate);
	return given_up(err);
}

/* The constants of peak.comp, and the multiply-adds of a workgroup's round; 0: this variant has no such. */
static double peak_shape(const struct lineup_vk_kernels *kernels, struct lineup_vk_shape_of *shape)
{
	uint32_t threads = software(kernels->device) ? THREADS_SOFTWARE : THREADS;

	switch (kernels->variant) {
	case LINEUP_VK_SCALAR:
	case LINEUP_VK_DOT:
		*shape = (struct lineup_vk_shape_of){ .count = 1, .constants = { threads } };
		shape->shader = kernels->variant == LINEUP_VK_DOT ? LINEUP_VK_SHADER_peak_dot : LINEUP_VK_SHADER_peak_scalar;
		return (double)threads * CHAINS * 4;
	case LINEUP_VK_COOPMAT:
	case LINEUP_VK_COOPMAT_NV:
		lineup_vk_shape_wide(kernels->device, kernels->variant, shape);
		shape->shader = kernels->variant == LINEUP_VK_COOPMAT ? LINEUP_VK_SHADER_peak_khr : LINEUP_VK_SHADER_peak_nv;
		return (double)(shape->constants[0] / shape->constants[4]) * CHAINS * shape->constants[6] * shape->constants[7] *
			shape->constants[8];
	default:
		return 0;
	}
}

static int measure_multiply(struct lineup_vk_kernels *kernels, double *per_second)
{
	struct lineup_vk_device *device = kernels->device;
	struct rate rate = { .device = device, .groups = software(device) ? GROUPS_SOFTWARE : GROUPS };
	struct lineup_vk_shape_of shape = { 0 };
	double round = peak_shape(kernels, &shape), seconds;
	int err;

	if (round == 0)
		return 0;
	err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, 4096, "multiply rate", &rate.from);
	if (!err)
		err = lineup_vk_kernel_create(device, &shape, sizeof(rate.push), &rate.kernel);
	if (!err) {
		rate.push = (struct gpu_rate){ .from = rate.from.address, .to = rate.from.address, .seed = 0x3c5a1e2d,
					       .count = software(device) ? ROUNDS_SOFTWARE : ROUNDS };
		err = lineup_vk_time(device, &device->compute, record_dispatch, &rate, SECONDS_MIN, &seconds);
	}
	if (!err)
		*per_second = round * rate.groups * rate.push.count / seconds;
	rate_fini(&rate);
	return given_up(err);
}

static int measure_upload(struct lineup_vk_device *device, double *bytes_per_second)
{
	uint64_t bytes = (uint64_t)(software(device) ? UPLOAD_MIB_SOFTWARE : UPLOAD_MIB) * MIB;
	struct lineup_vk_queue *queue = device->transfer.queue ? &device->transfer : &device->compute;
	struct rate rate = { .device = device };
	double seconds;
	int err = lineup_vk_buffer_create(device, LINEUP_VK_UPLOAD, bytes, "upload rate, host", &rate.from);

	if (!err)
		err = lineup_vk_buffer_create(device, LINEUP_VK_DEVICE, bytes, "upload rate, device", &rate.to);
	if (!err)
		err = lineup_vk_time(device, queue, record_copy, &rate, SECONDS_MIN, &seconds);
	if (!err)
		*bytes_per_second = (double)bytes / seconds;
	rate_fini(&rate);
	return given_up(err);
}

int lineup_vk_rates_measure(struct lineup_vk_kernels *kernels, struct lineup_vk_rates *rates)
{
	struct lineup_vk_rates measured = { 0 };
	int err = measure_read(kernels->device, &measured.read_bytes);

	if (!err)
		err = measure_multiply(kernels, &measured.multiply_adds);
	if (!err)
		err = measure_upload(kernels->device, &measured.upload_bytes);
	if (!err)
		*rates = measured;
	return err;
}
