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

/* The tile of the matrix variants: subgroups along rows and along probes, and the rows and probes of a subgroup's part. */
enum { ROW_SUBGROUPS = 2, PROBE_SUBGROUPS = 4, PART_ROWS = 64, PART_PROBES = 32, STAGE = 4 };
/* That of a software device, where compiling and small tests are what takes the time. */
enum { EMULATED_PART_ROWS = 16, EMULATED_PART_PROBES = 8, EMULATED_M = 8, EMULATED_N = 8, EMULATED_K = 16 };
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

/* What scan.comp has in shared memory. */
static uint32_t matrix_shared_bytes(uint32_t m, uint32_t n)
{
	uint32_t rows = ROW_SUBGROUPS * PART_ROWS, probes = PROBE_SUBGROUPS * PART_PROBES,
		subgroups = ROW_SUBGROUPS * PROBE_SUBGROUPS;
	uint32_t plane = m * probes > subgroups * m * n ? m * probes : subgroups * m * n;

	return (rows + probes) * (STAGE + 1) * 16 + plane * 4 + probes * 4 + 16;
}

/* The first listed shape that the tile can be made of, or NULL. */
static const struct lineup_vk_shape *matrix_shape(const struct lineup_vk_device *device, bool khr)
{
	for (uint32_t i = 0; i < device->shape_count; i++) {
		const struct lineup_vk_shape *s = &device->shapes[i];

		if (s->khr == khr && s->m && s->n && s->k >= 16 && PART_ROWS % s->m == 0 && PART_PROBES % s->n == 0 &&
		    STAGE * 16 % s->k == 0 && s->k % 16 == 0 && matrix_shared_bytes(s->m, s->n) <= device->shared_bytes)
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
	if (subgroup * ROW_SUBGROUPS * PROBE_SUBGROUPS > device->invocations_max)
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
		if (EMULATED_M * EMULATED_N % device->subgroup_size ||
		    device->subgroup_size * ROW_SUBGROUPS * PROBE_SUBGROUPS > device->invocations_max)
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

static void matrix_scan(const struct lineup_vk_device *device, bool khr, struct lineup_vk_shape_of *shape)
{
	const struct lineup_vk_shape *s = matrix_shape(device, khr);
	uint32_t rows = ROW_SUBGROUPS * PART_ROWS, probes = PROBE_SUBGROUPS * PART_PROBES;
	uint32_t required, subgroup = matrix_subgroup(device, &required);

	SET(shape, scan_khr, rows, probes, subgroup * ROW_SUBGROUPS * PROBE_SUBGROUPS, rows, probes, STAGE, subgroup,
	    ROW_SUBGROUPS, s->m, s->n, s->k);
	if (!khr)
		shape->shader = LINEUP_VK_SHADER_scan_nv;
	shape->subgroup = required;
}

static void emulated_scan(const struct lineup_vk_device *device, struct lineup_vk_shape_of *shape)
{
	uint32_t rows = ROW_SUBGROUPS * EMULATED_PART_ROWS, probes = PROBE_SUBGROUPS * EMULATED_PART_PROBES;

	SET(shape, scan_emulated, rows, probes, device->subgroup_size * ROW_SUBGROUPS * PROBE_SUBGROUPS, rows, probes, STAGE,
	    device->subgroup_size, ROW_SUBGROUPS, EMULATED_M, EMULATED_N, EMULATED_K);
	if (device->full_subgroups && device->subgroup_min)
		shape->subgroup = device->subgroup_size;
}

void lineup_vk_shape_scan(const struct lineup_vk_device *device, enum lineup_vk_variant variant, struct lineup_vk_shape_of *shape)
{
	uint32_t threads = threads_of(device);

	switch (variant) {
	case LINEUP_VK_COOPMAT:
	case LINEUP_VK_COOPMAT_NV:
		matrix_scan(device, variant == LINEUP_VK_COOPMAT, shape);
		return;
	case LINEUP_VK_EMULATED:
		emulated_scan(device, shape);
		return;
	default:
		break;
	}
	/* 8 rows and 4 probes an invocation: 12 loads from shared memory for 128 packed products. */
	if (threads == THREADS)
		SET(shape, scan_scalar, 128, 64, threads, 128, 64, STAGE, 8, 4);
	else if (threads == THREADS_FEW)
		SET(shape, scan_scalar, 64, 64, threads, 64, 64, STAGE, 8, 4);
	else
		SET(shape, scan_scalar, 32, 16, threads, 32, 16, STAGE, 4, 2);
	if (variant == LINEUP_VK_DOT)
		shape->shader = LINEUP_VK_SHADER_scan_dot;
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
