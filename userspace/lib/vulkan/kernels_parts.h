/* SPDX-License-Identifier: MIT */
/* The kernels as the files that make, test and time them see them. Grouped by the file that defines. */
#ifndef LINEUP_VK_KERNELS_PARTS_H
#define LINEUP_VK_KERNELS_PARTS_H

#include "kernels.h"

/* shaders.c */

/* The build makes a module of each: build/shaders/NAME.spv. */
#define LINEUP_VK_SHADER_NAMES(F) \
	F(unpack) F(refresh) F(read) F(gemv_scalar) F(gemv_dot) \
	F(scan_scalar) F(scan_dot) F(scan_khr) F(scan_nv) F(scan_emulated) \
	F(peak_scalar) F(peak_dot) F(peak_khr) F(peak_nv)

enum lineup_vk_shader {
#define LINEUP_VK_SHADER_NUMBER(name) LINEUP_VK_SHADER_##name,
	LINEUP_VK_SHADER_NAMES(LINEUP_VK_SHADER_NUMBER)
#undef LINEUP_VK_SHADER_NUMBER
};

struct lineup_vk_spirv lineup_vk_shader(enum lineup_vk_shader shader);
void lineup_vk_shaders_hash(uint8_t hash[32]); /* of all of them */

/* kernels_shape.c */

enum { LINEUP_VK_CONSTANTS_MAX = 9 };

/* A module with what it is specialised to. */
struct lineup_vk_shape_of {
	enum lineup_vk_shader shader;
	uint32_t constants[LINEUP_VK_CONSTANTS_MAX];
	uint32_t count;
	uint32_t subgroup;       /* size to require; 0: none */
	uint32_t rows, probes;   /* of a workgroup */
};

const char *lineup_vk_variant_name(enum lineup_vk_variant variant); /* static */
/* NULL, or what @variant needs that @device has not (static). */
const char *lineup_vk_variant_why_not(const struct lineup_vk_device *device, enum lineup_vk_variant variant);
/* @variant must be one that lineup_vk_variant_why_not allows. */
void lineup_vk_shape_wide(const struct lineup_vk_device *device, enum lineup_vk_variant variant, struct lineup_vk_shape_of *shape);
void lineup_vk_shape_narrow(const struct lineup_vk_device *device, enum lineup_vk_variant variant, struct lineup_vk_shape_of *shape);
void lineup_vk_shape_gemv(const struct lineup_vk_device *device, enum lineup_vk_variant variant, struct lineup_vk_shape_of *shape);
void lineup_vk_shape_unpack(const struct lineup_vk_device *device, struct lineup_vk_shape_of *shape);
void lineup_vk_shape_refresh(const struct lineup_vk_device *device, struct lineup_vk_shape_of *shape);

/* kernels.c */

/* A pipeline, and how many rows and probes a workgroup of it covers. */
struct lineup_vk_kernel {
	struct lineup_vk_pipeline pipeline;
	uint32_t rows, probes;
};

struct lineup_vk_kernels {
	struct lineup_vk_device *device;
	enum lineup_vk_variant variant;
	uint32_t groups_max; /* workgroups in a direction of one dispatch; tests lower it */
	struct lineup_vk_kernel unpack, refresh;
	struct lineup_vk_kernel gemv, narrow, wide; /* scans of the variant: for the fewest, few and many probes */
};

int lineup_vk_kernel_create(struct lineup_vk_device *device, const struct lineup_vk_shape_of *shape, uint32_t push_bytes,
			    struct lineup_vk_kernel *kernel);
/* lineup_vk_scan by the kernel that is named, whatever the number of probes; gemv scans no more than LINEUP_GPU_GEMV_PROBES. */
void lineup_vk_scan_gemv(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan);
void lineup_vk_scan_narrow(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan);
void lineup_vk_scan_wide(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan);

/* kernels_test.c */

/* 0; -EIO: sums, survivors or thresholds differ from the scalar backend's, *@what (static) tells which; else the device's error. */
int lineup_vk_kernels_selftest(struct lineup_vk_kernels *kernels, const char **what);

/* kernels_time.c */

/*
 * As lineup_vk_submit; then waits. A device that does not answer for a minute counts as lost: nothing else may be done with what it
 * may still write to.
 */
int lineup_vk_submit_and_wait(struct lineup_vk_device *device, struct lineup_vk_queue *queue, struct lineup_vk_commands *commands);

typedef void lineup_vk_record_fn(void *arg, struct lineup_vk_commands *commands);

/*
 * How long what @record records takes on @queue: the median of some submissions, each with as many repetitions as take
 * @seconds_min or more. The repetitions may overlap. Leaves @queue idle.
 */
int lineup_vk_time(struct lineup_vk_device *device, struct lineup_vk_queue *queue, lineup_vk_record_fn *record, void *arg,
		   double seconds_min, double *seconds);
/* Of a scan of many probes. */
int lineup_vk_kernels_time(struct lineup_vk_kernels *kernels, double *seconds);

/* kernels_child.c */

/*
 * Some drivers crash over some modules. Before the pipelines of @shapes, all of one module, are made for the first time on this device,
 * driver and build, a child process makes them; how that went is noted beside the pipeline cache. A driver that does not work in a
 * child at all is given one chance in this process: the note says that it crashed until lineup_vk_compile_end takes that back. 0: they
 * may be made here; -EIO: they may not, *@what (static) says why.
 */
int lineup_vk_compile_begin(struct lineup_vk_device *device, const struct lineup_vk_shape_of *shapes, uint32_t count,
			    uint32_t push_bytes, const char **what);
/* They have been made, or refused with an error, without a crash. */
void lineup_vk_compile_end(struct lineup_vk_device *device, const struct lineup_vk_shape_of *shapes);

#endif
