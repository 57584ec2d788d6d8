/* SPDX-License-Identifier: MIT */
/* A device and memory for tests of its kernels. Include after cmocka.h. */
#ifndef VULKAN_KERNELS_H
#define VULKAN_KERNELS_H

#include "vulkan/kernels_parts.h"

/* Variants that a machine without a GPU can run, and more where there is one. */
enum { BED_VARIANTS = LINEUP_VK_VARIANTS };

/*
 * What the test writes into .host goes to the device before a run, and all of it comes back into .back after. Places are offsets,
 * the same in all three; kbed_reset gives them all back and clears .host.
 */
struct kernels_bed {
	struct lineup_ctx *ctx;
	struct lineup_vk_device *device;
	struct lineup_vk_buffer host, gpu, back;
	struct lineup_vk_commands commands;
	uint64_t used;
	struct lineup_vk_kernels *kernels[BED_VARIANTS]; /* NULL: not on this device */
	char cache_dir[64];
	char message[1024]; /* the last one logged */
};

/*
 * Opens the device that LINEUP_TEST_DEVICE names, or the first software device. False: there is none, which is said.
 * @test: of the context; may be NULL.
 */
bool kbed_open(struct kernels_bed *bed, const struct lineup_gpu_test *test, uint64_t bytes);
void kbed_close(struct kernels_bed *bed);
void kbed_make_kernels(struct kernels_bed *bed); /* of all variants */

void kbed_reset(struct kernels_bed *bed);
uint64_t kbed_place(struct kernels_bed *bed, uint64_t bytes);
void *kbed_host(struct kernels_bed *bed, uint64_t at);
const void *kbed_back(struct kernels_bed *bed, uint64_t at);
uint64_t kbed_address(struct kernels_bed *bed, uint64_t at);
void kbed_run(struct kernels_bed *bed, void (*record)(struct kernels_bed *bed, void *arg), void *arg);

uint64_t kbed_random(void);
uint32_t kbed_below(uint32_t n);

#endif
