/* SPDX-License-Identifier: MIT */
/* Frames in Vulkan devices, without a copy. */
#ifndef LINEUP_VK_FRAME_H
#define LINEUP_VK_FRAME_H

#include "capture.h"
#include "vk.h"

/*
 * Makes a buffer of @frame's memory: of its dma-buf where the driver imports dma-bufs, else of its mapping (buffer->map is
 * that, and the caller's accesses by the CPU want their brackets). *@how (may be NULL) becomes "dma-buf" or "host pointer";
 * static. Destroyed by lineup_vk_buffer_destroy, before the frame is put. Nothing here waits for whoever fills the frame:
 * poll() on its descriptor, or the shot it came with, does. -ENOTSUP (silent): the driver takes neither; -ENODEV, -ENOMEM.
 */
int lineup_vk_frame_import(struct lineup_vk_device *device, struct lineup_frame *frame, struct lineup_vk_buffer *buffer,
			   const char **how);

#endif
