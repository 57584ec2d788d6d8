// SPDX-License-Identifier: MIT
// Frames in DRM devices, by PRIME.
#include <string.h>

#include "capture.h"

#ifdef LINEUP_HAVE_DRM
#include <xf86drm.h>

const char *lineup_frame_drm_support(void)
{
	return "yes";
}

int lineup_frame_drm(struct lineup_frame *frame, int drm, uint32_t *handle)
{
	struct lineup_ctx *ctx = frame->frames->ctx;
	uint64_t prime = 0;
	int err;

	if (!frame->dma_buf)
		return lineup_fail(ctx, -ENOTSUP, "DRM: a frame of %s is no dma-buf",
				   lineup_frames_kind_name(lineup_frames_kind(frame->frames)));
	if (!drmGetCap(drm, DRM_CAP_PRIME, &prime) && !(prime & DRM_PRIME_CAP_IMPORT))
		return lineup_fail(ctx, -ENOTSUP, "DRM: the device imports no dma-bufs");
	err = drmPrimeFDToHandle(drm, frame->fd, handle) ? -errno : 0;
	return err ? lineup_fail(ctx, err, "DRM: import of a frame: %s", err == -ENODEV ? "revoked" : strerror(-err)) : 0;
}

void lineup_frame_drm_close(int drm, uint32_t handle)
{
	drmCloseBufferHandle(drm, handle);
}

#else

const char *lineup_frame_drm_support(void)
{
	return "this build is without libdrm";
}

int lineup_frame_drm(struct lineup_frame *frame, int drm, uint32_t *handle)
{
	(void)drm;
	(void)handle;
	return lineup_fail(frame->frames->ctx, -ENOTSUP, "DRM: %s", lineup_frame_drm_support());
}

void lineup_frame_drm_close(int drm, uint32_t handle)
{
	(void)drm;
	(void)handle;
}

#endif
