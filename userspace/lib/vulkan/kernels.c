// SPDX-License-Identifier: MIT
// Chooses the variant of a device's scan, and records the kernels' dispatches.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_parts.h"

/* Every device has so many workgroups in each direction; and shaders' indexes are 32 bits, of which one is a sign. */
enum { GROUPS_MAX = 65535, INDEX_MAX = INT32_MAX };

int lineup_vk_kernel_create(struct lineup_vk_device *device, const struct lineup_vk_shape_of *shape, uint32_t push_bytes,
			    struct lineup_vk_kernel *kernel)
{
	struct lineup_vk_spirv spirv = lineup_vk_shader(shape->shader);
	int err = lineup_vk_pipeline_create(device, &spirv, shape->constants, shape->count, push_bytes, shape->subgroup,
					    &kernel->pipeline);

	if (err)
		return err;
	kernel->rows = shape->rows;
	kernel->probes = shape->probes;
	return 0;
}

static void kernel_destroy(struct lineup_vk_device *device, struct lineup_vk_kernel *kernel)
{
	lineup_vk_pipeline_destroy(device, &kernel->pipeline);
	memset(kernel, 0, sizeof(*kernel));
}

/* Notes why @variant does not run; "" once it does. */
static void note(struct lineup_vk_device *device, enum lineup_vk_variant variant, const char *why)
{
	snprintf(device->info.variants[variant].why_not, sizeof(device->info.variants[variant].why_not), "%s", why);
}

static void scans_destroy(struct lineup_vk_kernels *kernels)
{
	kernel_destroy(kernels->device, &kernels->wide);
	kernel_destroy(kernels->device, &kernels->narrow);
	kernel_destroy(kernels->device, &kernels->gemv);
}

/* Whether the device's state allows to go on with another variant after @err. */
static bool final(int err)
{
	return err == -ENODEV || err == -ENOMEM;
}

/* Pipelines that their driver may crash over are tried elsewhere first. */
static int tiles_create(struct lineup_vk_kernels *kernels, const char **what)
{
	struct lineup_vk_device *device = kernels->device;
	bool risky = kernels->variant == LINEUP_VK_COOPMAT || kernels->variant == LINEUP_VK_COOPMAT_NV;
	struct lineup_vk_shape_of shapes[2];
	int err = 0;

	lineup_vk_shape_wide(device, kernels->variant, &shapes[0]);
	lineup_vk_shape_narrow(device, kernels->variant, &shapes[1]);
	if (risky)
		err = lineup_vk_compile_begin(device, shapes, 2, sizeof(struct gpu_scan), what);
	if (err)
		return err;
	err = lineup_vk_kernel_create(device, &shapes[0], sizeof(struct gpu_scan), &kernels->wide);
	if (!err)
		err = lineup_vk_kernel_create(device, &shapes[1], sizeof(struct gpu_scan), &kernels->narrow);
	if (risky)
		lineup_vk_compile_end(device, shapes);
	return err;
}

/*
 * Makes @kernels' scans those of @variant and tests them. -ENOTSUP: they cannot be used here, noted; -ENODEV, -ENOMEM.
 */
static int scans_create(struct lineup_vk_kernels *kernels, enum lineup_vk_variant variant)
{
	struct lineup_vk_device *device = kernels->device;
	const char *what = lineup_vk_variant_why_not(device, variant);
	struct lineup_vk_shape_of shape;
	int err;

	kernels->variant = variant;
	if (what) {
		note(device, variant, what);
		return -ENOTSUP;
	}
	what = "its pipeline cannot be made";
	lineup_vk_shape_gemv(device, variant, &shape);
	err = lineup_vk_kernel_create(device, &shape, sizeof(struct gpu_scan), &kernels->gemv);
	if (!err)
		err = tiles_create(kernels, &what);
	if (!err)
		err = lineup_vk_kernels_selftest(kernels, &what);
	note(device, variant, err ? what : "");
	if (!err)
		return 0;
	scans_destroy(kernels);
	if (final(err))
		return err;
	lineup_warn(device->ctx, "%s: variant %s is not used: %s", device->info.name, lineup_vk_variant_name(variant), what);
	return -ENOTSUP;
}

/* The fastest of the variants that work. One that is faster by less than a tenth does not displace one that comes before it. */
static int choose(struct lineup_vk_kernels *kernels)
{
	static const enum lineup_vk_variant order[] = { LINEUP_VK_COOPMAT, LINEUP_VK_COOPMAT_NV, LINEUP_VK_DOT, LINEUP_VK_SCALAR };
	struct lineup_vk_kernels best = { 0 };
	double best_seconds = 0, seconds = 0;
	int err = 0;

	note(kernels->device, LINEUP_VK_EMULATED, "for tests");
	for (size_t i = 0; i < ARRAY_SIZE(order) && !final(err); i++) {
		err = scans_create(kernels, order[i]);
		if (!err) {
			err = lineup_vk_kernels_time(kernels, &seconds);
			if (err)
				scans_destroy(kernels);
		}
		if (err)
			continue;
		if (best.wide.rows && seconds > 0.9 * best_seconds) {
			scans_destroy(kernels);
			continue;
		}
		if (best.wide.rows)
			scans_destroy(&best);
		best = *kernels;
		best_seconds = seconds;
		kernels->gemv = kernels->narrow = kernels->wide = (struct lineup_vk_kernel){ 0 }; /* they are best's now */
	}
	if (best.wide.rows) {
		*kernels = best;
		return final(err) ? err : 0;
	}
	return final(err) ? err : -ENOTSUP;
}

/* The variant called @name, or LINEUP_VK_VARIANTS. */
static enum lineup_vk_variant variant_named(const char *name)
{
	uint32_t v = 0;

	while (v < LINEUP_VK_VARIANTS && strcmp(name, lineup_vk_variant_name((enum lineup_vk_variant)v)))
		v++;
	return (enum lineup_vk_variant)v;
}

static int kernels_make(struct lineup_vk_kernels *kernels, const char *name)
{
	struct lineup_vk_device *device = kernels->device;
	enum lineup_vk_variant variant = name ? variant_named(name) : LINEUP_VK_VARIANTS;
	struct lineup_vk_shape_of shape;
	int err;

	if (name && variant == LINEUP_VK_VARIANTS)
		return lineup_fail(device->ctx, -ENOTSUP, "there is no Vulkan variant %s", name);
	lineup_vk_shape_unpack(device, &shape);
	err = lineup_vk_kernel_create(device, &shape, sizeof(struct gpu_unpack), &kernels->unpack);
	lineup_vk_shape_refresh(device, &shape);
	if (!err)
		err = lineup_vk_kernel_create(device, &shape, sizeof(struct gpu_refresh), &kernels->refresh);
	if (err)
		return final(err) ? err : lineup_fail(device->ctx, -ENOTSUP, "%s: its driver does not compile the kernels",
						      device->info.name);
	err = name ? scans_create(kernels, variant) : choose(kernels);
	if (err == -ENOTSUP && name)
		return lineup_fail(device->ctx, err, "%s: variant %s cannot be used: %s", device->info.name, name,
				   device->info.variants[variant].why_not);
	if (err == -ENOTSUP)
		return lineup_fail(device->ctx, err, "%s: no variant of the kernels works here", device->info.name);
	return err;
}

int lineup_vk_kernels_create(struct lineup_vk_device *device, const char *variant, struct lineup_vk_kernels **kernels)
{
	struct lineup_vk_kernels *made = calloc(1, sizeof(*made));
	uint8_t hash[32];
	int err;

	if (!made)
		return lineup_fail(device->ctx, -ENOMEM, "out of memory");
	made->device = device;
	made->groups_max = GROUPS_MAX;
	for (uint32_t v = 0; v < LINEUP_VK_VARIANTS; v++) {
		device->info.variants[v].name = lineup_vk_variant_name((enum lineup_vk_variant)v);
		note(device, (enum lineup_vk_variant)v, "not tried");
	}
	lineup_vk_shaders_hash(hash);
	err = device->cache ? 0 : lineup_vk_cache_open(device, hash);
	if (!err)
		err = kernels_make(made, variant);
	if (err) {
		lineup_vk_kernels_destroy(made);
		if (err == -ENOMEM)
			lineup_fail(device->ctx, err, "%s: no memory for the kernels", device->info.name);
		if (err == -ENODEV)
			lineup_fail(device->ctx, err, "%s: it was lost while its kernels were made", device->info.name);
		return err;
	}
	lineup_vk_cache_save(device);
	device->info.variant = lineup_vk_variant_name(made->variant);
	*kernels = made;
	return 0;
}

void lineup_vk_kernels_destroy(struct lineup_vk_kernels *kernels)
{
	if (!kernels)
		return;
	scans_destroy(kernels);
	kernel_destroy(kernels->device, &kernels->refresh);
	kernel_destroy(kernels->device, &kernels->unpack);
	free(kernels);
}

const char *lineup_vk_kernels_variant(const struct lineup_vk_kernels *kernels)
{
	return lineup_vk_variant_name(kernels->variant);
}

static uint32_t groups(uint32_t n, uint32_t size)
{
	return n / size + (n % size != 0);
}

void lineup_vk_unpack(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_unpack *unpack)
{
	struct gpu_unpack push = *unpack;
	uint32_t blocks = groups(unpack->rows, unpack->block_rows), most = INDEX_MAX / unpack->block_words, count;

	if (most > kernels->groups_max)
		most = kernels->groups_max;
	for (uint32_t first = 0; first < blocks; first += count) {
		count = blocks - first < most ? blocks - first : most;
		push.blocks = unpack->blocks + (uint64_t)first * unpack->block_words * 4;
		if (unpack->deleted)
			push.deleted = unpack->deleted + (uint64_t)first * groups(unpack->block_rows, 32) * 4;
		push.row_first = unpack->row_first + first * unpack->block_rows;
		push.rows = unpack->rows - first * unpack->block_rows;
		lineup_vk_dispatch(kernels->device, commands, &kernels->unpack.pipeline, &push,
				   groups(unpack->block_rows, kernels->unpack.rows), count);
	}
}

/* Tiles of rows in y, those of probes in x: workgroups that read the same rows begin together. */
static void scan_by(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct lineup_vk_kernel *kernel,
		    const struct gpu_scan *scan, bool rows_in_x)
{
	struct gpu_scan push = *scan;
	uint32_t rows_max = kernels->groups_max * kernel->rows;

	if (!scan->probes)
		return;
	for (uint32_t left = scan->rows; left; left -= push.rows, push.row_first += push.rows) {
		push.rows = left < rows_max ? left : rows_max;
		lineup_vk_dispatch(kernels->device, commands, &kernel->pipeline, &push,
				   rows_in_x ? groups(push.rows, kernel->rows) :
				   groups(push.probes, kernel->probes), rows_in_x ? 1 : groups(push.rows, kernel->rows));
	}
}

void lineup_vk_scan_gemv(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan)
{
	scan_by(kernels, commands, &kernels->gemv, scan, true);
}

void lineup_vk_scan_narrow(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan)
{
	scan_by(kernels, commands, &kernels->narrow, scan, false);
}

void lineup_vk_scan_wide(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan)
{
	scan_by(kernels, commands, &kernels->wide, scan, false);
}

void lineup_vk_scan(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan)
{
	if (scan->probes <= LINEUP_GPU_GEMV_PROBES)
		lineup_vk_scan_gemv(kernels, commands, scan);
	else if (scan->probes <= kernels->narrow.probes)
		lineup_vk_scan_narrow(kernels, commands, scan);
	else
		lineup_vk_scan_wide(kernels, commands, scan);
}

void lineup_vk_refresh(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_refresh *refresh)
{
	lineup_vk_dispatch(kernels->device, commands, &kernels->refresh.pipeline, refresh, refresh->probes, 1);
}
