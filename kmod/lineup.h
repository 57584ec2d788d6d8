/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The in-kernel API of lineup.ko, for drivers of capture cards. What a frame, a pool and
 * revocation are, uapi/linux/lineup.h says.
 *
 * A driver that fills frames needs none of this to import them: dma_buf_attach() and
 * dma_buf_map_attachment() are enough. It should tell when a transfer is done by a fence, and
 * these make fences that outlive the driver; see samples/educap.c. A driver that wants frames of
 * its own, without user space, makes a pool.
 *
 * All functions are in the symbol namespace LINEUP.
 */
#ifndef LINEUP_H
#define LINEUP_H

#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/lineup.h>

struct lineup_pool;

struct lineup_pool *lineup_pool_create(const struct lineup_pool_create *args);
struct dma_buf *lineup_frame_get(struct lineup_pool *pool);
void lineup_pool_revoke(struct lineup_pool *pool);
void lineup_pool_close(struct lineup_pool *pool);

bool lineup_frame_is(const struct dma_buf *dmabuf);
bool lineup_frame_is_revoked(const struct dma_buf *dmabuf);

struct dma_fence *lineup_fence_begin(struct dma_buf *dmabuf, enum dma_resv_usage usage,
				     const char *driver);
void lineup_fence_end(struct dma_fence *fence, int error);

#endif
