// SPDX-License-Identifier: GPL-2.0-only
/* Completion of transfers: fences that drivers begin and end, and that outlive the driver. */
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "compat.h"
#include "internal.h"
#include "trace.h"

struct lineup_fence {
	struct dma_fence base;
	spinlock_t lock;		/* of base */
	char driver[32];
};

static const char *fence_driver_name(struct dma_fence *fence)
{
	return container_of(fence, struct lineup_fence, base)->driver;
}

static const char *fence_timeline_name(struct dma_fence *fence)
{
	return "lineup";
}

static void fence_free(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct lineup_fence, base.rcu));
	atomic_dec(&lineup_counters.fences);
	/* lineup_fences_exit() waits for this function's return. */
	module_put(THIS_MODULE);
}

/*
 * A sync_file keeps a fence, and with it this module's code, for as long as somebody keeps the
 * sync_file.
 */
static void fence_release(struct dma_fence *fence)
{
	call_rcu(&fence->rcu, fence_free);
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_driver_name,
	.get_timeline_name = fence_timeline_name,
	.release = fence_release,
};

/* Adds a fence to the reservation object of a dma-buf, if that is not a revoked frame. */
static int fence_add(struct dma_buf *dmabuf, struct dma_fence *fence, enum dma_resv_usage usage)
{
	int err = dma_resv_lock_interruptible(dmabuf->resv, NULL);

	if (err)
		return err;
	err = lineup_frame_is_revoked(dmabuf) ? -ENODEV : dma_resv_reserve_fences(dmabuf->resv, 1);
	if (!err)
		dma_resv_add_fence(dmabuf->resv, fence, usage);
	dma_resv_unlock(dmabuf->resv);
	return err;
}

/**
 * lineup_fence_begin() - announce a transfer to or from a dma-buf
 * @dmabuf: the buffer, a frame or any other, which the driver has attached to and has not locked
 * @usage: DMA_RESV_USAGE_WRITE if the device writes to the buffer, DMA_RESV_USAGE_READ if it reads
 * @driver: the driver's name, for debugging; copied
 *
 * Call it when nothing can fail any more between here and the start of the transfer, or end the
 * fence with an error. From here on poll() on the buffer, sync_files exported from it and other
 * drivers wait for lineup_fence_end(), which must come in finite time whatever user space does. It
 * may need neither memory nor a lock under which somebody allocates memory or waits for fences, as
 * the reservation lock is: see "DMA Fence Cross-Driver Contract" in the kernel's documentation.
 *
 * Context: process context, may sleep. Takes and drops the reservation lock of @dmabuf.
 *
 * Return: the fence, which is the caller's to end; ERR_PTR(-ENODEV) if @dmabuf is a revoked frame,
 * ERR_PTR(-ENOMEM), or ERR_PTR(-EINTR) on a signal.
 */
struct dma_fence *lineup_fence_begin(struct dma_buf *dmabuf, enum dma_resv_usage usage,
				     const char *driver)
{
	struct lineup_fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);
	int err;

	if (!fence)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&fence->lock);
	strscpy(fence->driver, driver, sizeof(fence->driver));
	/* A context of its own: transfers need not end in the order in which they began. */
	dma_fence_init(&fence->base, &fence_ops, &fence->lock, dma_fence_context_alloc(1), 1);
	__module_get(THIS_MODULE);
	atomic_inc(&lineup_counters.fences);

	err = fence_add(dmabuf, &fence->base, usage);
	if (err) {
		lineup_fence_end(&fence->base, err);
		return ERR_PTR(err);
	}
	trace_lineup_fence_begun(&fence->base);
	return &fence->base;
}
EXPORT_SYMBOL_LINEUP(lineup_fence_begin);

/**
 * lineup_fence_end() - tell that a transfer is over
 * @fence: from lineup_fence_begin(); the caller's reference is consumed
 * @error: 0, or a negative error code if the buffer's content cannot be relied on
 *
 * The device must not touch the buffer any more. With a bounce buffer the data is in the frame
 * only after the attachment is unmapped or synced for the CPU, so do that before.
 *
 * Context: any, interrupt handlers included.
 */
void lineup_fence_end(struct dma_fence *fence, int error)
{
	bool cookie = dma_fence_begin_signalling();

	if (error)
		dma_fence_set_error(fence, error);
	dma_fence_signal(fence);
	dma_fence_end_signalling(cookie);
	trace_lineup_fence_ended(fence);
	dma_fence_put(fence);
}
EXPORT_SYMBOL_LINEUP(lineup_fence_end);

void lineup_fences_exit(void)
{
	rcu_barrier();
}
