// SPDX-License-Identifier: MIT
// Which variants a device can have, and the sizes of workgroups and tiles that suit it.
#include "kernels_parts.h"

static const char *const names[] = {
	[LINEUP_VK_SCALAR] = "scalar",
	[LINEUP_VK_DOT] = "dot",
	[LINEUP_VK_COOPMAT] = "coopmat",
	[LINEUP_VK_COOPMAT_NV] = "coopmat-nv",
	[LINEUP_VK_EMULATED] = "emulated",
};

/* A tile of the matrix variants: eight subgroups, so many along rows, the others along probes, and the part of each. */
struct tile {
	uint32_t row_subgroups;
	uint32_t part_rows, part_probes;
};

enum { SUBGROUPS = 8, STAGE = 4 };

/* Many probes: the most products for each byte from shared memory. Up to 32: no more products than are needed, for memory is the limit. */
static const struct tile wide = { 2, 64, 32 }, narrow = { 8, 32, 32 };
/* On a software device compiling and small tests are what takes the time. */
static const struct tile emulated_wide = { 2, 16, 8 }, emulated_narrow = { 8, 8, 8 };
enum { EMULATED_M = 8, EMULATED_N = 8, EMULATED_K = 16 };

/* Workgroups of the plain variants. Every device has 128 invocations and 16 KiB of shared memory. */
enum { THREADS = 256, THREADS_FEW = 128, THREADS_SOFTWARE = 64 };

const char *lineup_vk_variant_name(enum lineup_vk_variant variant)
{
	return names[variant];
}

static uint32_t threads_of(const struct lineup_vk_device *device)
{
	if (device->info.type == LINEUP_DEVICE_SOFTWARE)
		return THREADS_SOFTWARE;
	return device->invocations_max >= THREADS ? THREADS : THREADS_FEW;
}

/* The size is required where it can be, for the tile depends on it; 32 lanes where there is a choice, as most hardware has. */
static uint32_t matrix_subgroup(const struct lineup_vk_device *device, uint32_t *required)
{
	*required = 0;
	if (!device->full_subgroups || !device->subgroup_min)
		return device->subgroup_size;
	*required = device->subgroup_min <= 32 && device->subgroup_max >= 32 ? 32 : device->subgroup_size;
	return *required;
}

static uint32_t tile_rows(const struct tile *tile)
{
	return tile->row_subgroups * tile->part_rows;
}

static uint32_t tile_probes(const struct tile *tile)
{
	return SUBGROUPS / tile->row_subgroups * tile->part_probes;
}

/* Whether @tile can be made of fragments of that shape, and scan.comp's shared memory is there. */
static bool tile_fits(const struct tile *tile, const struct lineup_vk_shape *s, uint32_t shared_bytes)
{
	uint32_t rows = tile_rows(tile), probes = tile_probes(tile);
	uint32_t plane = s->m * probes > SUBGROUPS * s->m * s->n ? s->m * probes : SUBGROUPS * s->m * s->n;

	return tile->part_rows % s->m == 0 && tile->part_probes % s->n == 0 && STAGE * 16 % s->k == 0 && s->k % 16 == 0 &&
	       (rows + probes) * (STAGE + 1) * 16 + plane * 4 + probes * 4 + 16 <= shared_bytes;
}

/* The first listed shape that both tiles can be made of, or NULL. */
static const struct lineup_vk_shape *matrix_shape(const struct lineup_vk_device *device, bool khr)
{
	for (uint32_t i = 0; i < device->shape_count; i++) {
		const struct lineup_vk_shape *s = &device->shapes[i];

		if (s->khr == khr && s->m && s->n && s->k && tile_fits(&wide, s, device->shared_bytes) &&
		    tile_fits(&narrow, s, device->shared_bytes))
			return s;
	}
	return NULL;
}

static const char *matrix_why_not(const struct lineup_vk_device *device, bool khr)
{
	uint32_t required, subgroup = matrix_subgroup(device, &required);

	if (khr && !device->coopmat_khr)
		return "no VK_KHR_cooperative_matrix";
	if (!khr && !device->coopmat_nv)
		return "no VK_NV_cooperative_matrix";
	if (!matrix_shape(device, khr))
		return "lists no shape of 8-bit integers that fits";
	if (subgroup * SUBGROUPS > device->invocations_max)
		return "its workgroups are too small";
	return NULL;
}

const char *lineup_vk_variant_why_not(const struct lineup_vk_device *device, enum lineup_vk_variant variant)
{
	switch (variant) {
	case LINEUP_VK_DOT:
		return device->dot ? NULL : "no shaderIntegerDotProduct";
	case LINEUP_VK_COOPMAT:
		return matrix_why_not(device, true);
	case LINEUP_VK_COOPMAT_NV:
		return matrix_why_not(device, false);
	case LINEUP_VK_EMULATED:
		if (EMULATED_M * EMULATED_N % device->subgroup_size || device->subgroup_size * SUBGROUPS > device->invocations_max)
			return "its subgroups are too large";
		return NULL;
	default:
		return NULL;
	}
}

static void set(struct lineup_vk_shape_of *shape, enum lineup_vk_shader shader, uint32_t rows, uint32_t probes, uint32_t count,
		const uint32_t *constants)
{
	*shape = (struct lineup_vk_shape_of){ .shader = shader, .rows = rows, .probes = probes, .count = count };
	for (uint32_t i = 0; i < count; i++)
		shape->constants[i] = constants[i];
}

#define SET(shape, shader, rows, probes, ...) \
	set(shape, LINEUP_VK_SHADER_##shader, rows, probes, ARRAY_SIZE(((const uint32_t[]){ __VA_ARGS__ })), \
	    (const uint32_t[]){ __VA_ARGS__ })

static void matrix_scan(const struct lineup_vk_device *device, bool khr, const struct tile *tile, struct lineup_vk_shape_of *shape)
{
	const struct lineup_vk_shape *s = matrix_shape(device, khr);
	uint32_t required, subgroup = matrix_subgroup(device, &required);

	SET(shape, scan_khr, tile_rows(tile), tile_probes(tile), subgroup * SUBGROUPS, tile_rows(tile), tile_probes(tile), STAGE, subgroup,
	    tile->row_subgroups, s->m, s->n, s->k);
	if (!khr)
		shape->shader = LINEUP_VK_SHADER_scan_nv;
	shape->subgroup = required;
}

static void emulated_scan(const struct lineup_vk_device *device, const struct tile *tile, struct lineup_vk_shape_of *shape)
{
	SET(shape, scan_emulated, tile_rows(tile), tile_probes(tile), device->subgroup_size * SUBGROUPS, tile_rows(tile), tile_probes(tile),
	    STAGE, device->subgroup_size, tile->row_subgroups, EMULATED_M, EMULATED_N, EMULATED_K);
	if (device->full_subgroups && device->subgroup_min)
		shape->subgroup = device->subgroup_size;
}

/* @thread_rows and @thread_probes: of an invocation, at most 32 sums. */
static void plain_scan(enum lineup_vk_variant variant, uint32_t rows, uint32_t probes, uint32_t thread_rows, uint32_t thread_probes,
		       struct lineup_vk_shape_of *shape)
{
	SET(shape, scan_scalar, rows, probes, rows / thread_rows * (probes / thread_probes), rows, probes, STAGE, thread_rows, thread_probes);
	if (variant == LINEUP_VK_DOT)
		shape->shader = LINEUP_VK_SHADER_scan_dot;
}

void lineup_vk_shape_wide(const struct lineup_vk_device *device, enum lineup_vk_variant variant, struct lineup_vk_shape_of *shape)
{
	uint32_t threads = threads_of(device);

	if (variant == LINEUP_VK_COOPMAT || variant == LINEUP_VK_COOPMAT_NV)
		matrix_scan(device, variant == LINEUP_VK_COOPMAT, &wide, shape);
	else if (variant == LINEUP_VK_EMULATED)
		emulated_scan(device, &emulated_wide, shape);
	else if (threads == THREADS) /* 8 rows and 4 probes an invocation: 12 loads from shared memory for 128 packed products */
		plain_scan(variant, 128, 64, 8, 4, shape);
	else if (threads == THREADS_FEW)
		plain_scan(variant, 64, 64, 8, 4, shape);
	else
		plain_scan(variant, 32, 16, 4, 2, shape);
}

void lineup_vk_shape_narrow(const struct lineup_vk_device *device, enum lineup_vk_variant variant, struct lineup_vk_shape_of *shape)
{
	uint32_t threads = threads_of(device);

	if (variant == LINEUP_VK_COOPMAT || variant == LINEUP_VK_COOPMAT_NV)
		matrix_scan(device, variant == LINEUP_VK_COOPMAT, &narrow, shape);
	else if (variant == LINEUP_VK_EMULATED)
		emulated_scan(device, &emulated_narrow, shape);
	else if (threads == THREADS)
		plain_scan(variant, 128, 32, 4, 4, shape);
	else if (threads == THREADS_FEW)
		plain_scan(variant, 128, 16, 4, 4, shape);
	else
		plain_scan(variant, 64, 8, 4, 2, shape);
}

/* The others have nothing of their own for few probes: packed products where there are any. */
void lineup_vk_shape_gemv(const struct lineup_vk_device *device, enum lineup_vk_variant variant, struct lineup_vk_shape_of *shape)
{
	uint32_t threads = threads_of(device), step = threads == THREADS_SOFTWARE ? 1 : 4;

	SET(shape, gemv_scalar, threads * step * 16 / LINEUP_GPU_PITCH, LINEUP_GPU_GEMV_PROBES, threads, step);
	if (variant != LINEUP_VK_SCALAR && device->dot)
		shape->shader = LINEUP_VK_SHADER_gemv_dot;
}

void lineup_vk_shape_unpack(const struct lineup_vk_device *device, struct lineup_vk_shape_of *shape)
{
	(void)device;
	SET(shape, unpack, 64, 0, 64);
}

void lineup_vk_shape_refresh(const struct lineup_vk_device *device, struct lineup_vk_shape_of *shape)
{
	uint32_t threads = threads_of(device);

	SET(shape, refresh, 0, 1, threads);
}
