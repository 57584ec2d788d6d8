/* SPDX-License-Identifier: MIT */
/* vgem, the DRM driver without a GPU: the node, buffer objects, and fences that a program can put on a buffer and signal. */
#ifndef DRM_H
#define DRM_H

#include <xf86drm.h>
#include <vgem_drm.h>
#include "common.h"

static inline int vgem_open(void)
{
	for (int i = 0; i < 16; i++) {
		drmVersionPtr version;
		char name[32];
		int fd;
		bool is;

		snprintf(name, sizeof(name), "/dev/dri/card%d", i);
		fd = open(name, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		version = drmGetVersion(fd);
		is = version && !strcmp(version->name, "vgem");
		drmFreeVersion(version);
		if (is)
			return fd;
		close(fd);
	}
	return -1;
}

/* Puts a fence on the buffer behind a handle, as a reader or a writer of it would; the fence's number, or -errno. */
static inline int vgem_fence_begin(int drm, uint32_t handle, bool write)
{
	struct drm_vgem_fence_attach arg = { .handle = handle, .flags = write ? VGEM_FENCE_WRITE : 0 };

	return drmIoctl(drm, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg) ? -errno : (int)arg.out_fence;
}

static inline int vgem_fence_signal(int drm, int fence)
{
	struct drm_vgem_fence_signal arg = { .fence = fence };

	return drmIoctl(drm, DRM_IOCTL_VGEM_FENCE_SIGNAL, &arg) ? -errno : 0;
}

#endif
