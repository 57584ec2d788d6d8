/* SPDX-License-Identifier: MIT */
/* The kernels of one device: which variant of the scan runs there, shown by a self-test, and how they are recorded. */
#ifndef LINEUP_VK_KERNELS_H
#define LINEUP_VK_KERNELS_H

#include "../../../shaders/params.h"
#include "vk.h"

enum lineup_vk_variant {
	LINEUP_VK_SCALAR,      /* plain integers; runs everywhere */
	LINEUP_VK_DOT,         /* OpSDotKHR, four products an instruction */
	LINEUP_VK_COOPMAT,     /* SPV_KHR_cooperative_matrix, s8 */
	LINEUP_VK_COOPMAT_NV,  /* SPV_NV_cooperative_matrix, where only that exists */
	LINEUP_VK_EMULATED,    /* the tile code of the two above, with its matrix operations in software: for tests */
	LINEUP_VK_VARIANTS,
};

struct lineup_vk_kernels;

/*
 * Makes the pipelines of @variant ("scalar", "dot", "coopmat", "coopmat-nv", "emulated"; NULL: the fastest of those that compile,
 * pass the self-test and win the timing; never "emulated"). The self-test compares with lineup_score_scalar: every survivor and
 * sum, filters and a refresh included. A cooperative-matrix module is compiled for the first time in a child process, for some
 * drivers crash; that it went well is remembered beside the pipeline cache. Why a variant was refused is kept in device->info.
 * -ENOTSUP: @variant, or all of them; -ENODEV: the device was lost meanwhile, or does not answer; -ENOMEM. All logged.
 */
int lineup_vk_kernels_create(struct lineup_vk_device *device, const char *variant, struct lineup_vk_kernels **kernels);
void lineup_vk_kernels_destroy(struct lineup_vk_kernels *kernels); /* before its device; takes NULL */
const char *lineup_vk_kernels_variant(const struct lineup_vk_kernels *kernels); /* static */

/* Each records a dispatch, or several that may run at once; barriers are the caller's. @unpack->rows in blocks of block_rows. */
void lineup_vk_unpack(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_unpack *unpack);
/*
 * gemv.comp for up to LINEUP_GPU_GEMV_PROBES probes, else scan.comp. Limits of the dispatch are the kernels' to keep: any rows, any
 * probes up to LINEUP_PROBES_MAX.
 */
void lineup_vk_scan(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan);
void lineup_vk_refresh(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_refresh *refresh);

/*
 * What this device does at most, measured now, in about a second: device memory read, int8 multiply-adds of this variant from
 * registers, copies from host memory. 0 for what cannot be measured.
 */
struct lineup_vk_rates {
	double read_bytes;      /* per second */
	double multiply_adds;   /* per second */
	double upload_bytes;    /* per second */
};

int lineup_vk_rates_measure(struct lineup_vk_kernels *kernels, struct lineup_vk_rates *rates);

#endif
