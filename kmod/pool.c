// SPDX-License-Identifier: GPL-2.0-only
/* Pools and the lives of their frames: free, out, held back, free again or freed. */
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/dma-buf.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "internal.h"
#include "trace.h"

/* How often frames that are held back are looked at. */
#define SETTLE_INTERVAL (HZ / 20)

DEFINE_MUTEX(lineup_pools_lock);	/* lineup_pools, last_pool_id */
LIST_HEAD(lineup_pools);

static u64 last_pool_id;
static atomic64_t last_frame_id = ATOMIC64_INIT(0);

static void settle_held_frames(struct work_struct *work);
static DECLARE_DELAYED_WORK(settle_work, settle_held_frames);

static void pool_release(struct kref *ref)
{
	struct lineup_pool *pool = container_of(ref, struct lineup_pool, ref);

	mutex_lock(&lineup_pools_lock);
	list_del(&pool->node);
	mutex_unlock(&lineup_pools_lock);
	atomic_dec(&lineup_counters.pools);
	trace_lineup_pool_gone(pool);
	if (pool->user)
		free_uid(pool->user);
	put_pid(pool->pid);
	mutex_destroy(&pool->lock);
	kvfree(pool);
}

static void pool_put(struct lineup_pool *pool)
{
	kref_put(&pool->ref, pool_release);
}

static bool pool_is_over(const struct lineup_pool *pool)
{
	return pool->state & (LINEUP_POOL_CLOSED | LINEUP_POOL_REVOKED);
}

/* ---- making a pool ---- */

static int check_args(const struct lineup_pool_create *args)
{
	const u32 known = LINEUP_POOL_CONTIGUOUS | LINEUP_POOL_WRITE_COMBINE | LINEUP_POOL_SHMEM |
			  LINEUP_POOL_SYNC_CHECK;

	if (args->flags & ~known || !args->frame_bytes || !args->frames)
		return -EINVAL;
	if (args->node != LINEUP_NODE_ANY &&
	    (args->node < 0 || args->node >= MAX_NUMNODES || !node_online(args->node)))
		return -EINVAL;
	if (args->dma_bits &&
	    (args->dma_bits < LINEUP_DMA_BITS_MIN || args->dma_bits > LINEUP_DMA_BITS_MAX))
		return -EINVAL;
	if (args->flags & LINEUP_POOL_SHMEM &&
	    (args->flags != LINEUP_POOL_SHMEM || args->node != LINEUP_NODE_ANY ||
	     (args->dma_bits && args->dma_bits < LINEUP_DMA_BITS_MAX)))
		return -EINVAL;
	if (args->frame_bytes > LINEUP_FRAME_BYTES_MAX || args->frames > LINEUP_FRAMES_MAX)
		return -E2BIG;
	if (args->flags & LINEUP_POOL_CONTIGUOUS &&
	    args->frame_bytes > lineup_pages_contiguous_max())
		return -E2BIG;
	if (args->flags & LINEUP_POOL_WRITE_COMBINE && !lineup_pages_can_write_combine())
		return -EOPNOTSUPP;
	return 0;
}

static void pool_init(struct lineup_pool *pool, const struct lineup_pool_create *args, u32 state)
{
	struct lineup_frame *frame;

	kref_init(&pool->ref);
	mutex_init(&pool->lock);
	init_waitqueue_head(&pool->wait);
	INIT_LIST_HEAD(&pool->free);
	INIT_LIST_HEAD(&pool->held);
	pool->frame_bytes = PAGE_ALIGN(args->frame_bytes);
	pool->pages = pool->frame_bytes >> PAGE_SHIFT;
	pool->flags = args->flags;
	if (READ_ONCE(lineup_sync_check) && !(args->flags & LINEUP_POOL_SHMEM))
		pool->flags |= LINEUP_POOL_SYNC_CHECK;
	pool->dma_bits = args->dma_bits ? args->dma_bits : LINEUP_DMA_BITS_MAX;
	pool->numa_node = args->node;
	pool->state = state;
	pool->uid = current_uid();
	pool->pid = get_task_pid(current, PIDTYPE_TGID);
	get_task_comm(pool->comm, current);
	pool->frames_count = args->frames;

	for (frame = pool->frames; frame < pool->frames + args->frames; frame++) {
		frame->pool = pool;
		frame->index = frame - pool->frames;
		mutex_init(&frame->lock);
		INIT_LIST_HEAD(&frame->attachments);
		list_add_tail(&frame->node, &pool->free);
	}
	pool->frames_free = args->frames;
}

static int pool_fill(struct lineup_pool *pool)
{
	struct lineup_frame *frame;
	int err = 0;

	for (frame = pool->frames; !err && frame < pool->frames + pool->frames_count; frame++)
		err = fatal_signal_pending(current) ? -EINTR : lineup_pages_alloc(frame);
	return err;
}

/* Undoes pool_init() and pool_fill() of a pool that is not in the list. */
static void pool_abandon(struct lineup_pool *pool)
{
	struct lineup_frame *frame;

	for (frame = pool->frames; frame < pool->frames + pool->frames_count; frame++)
		lineup_pages_free(frame);
	put_pid(pool->pid);
	kvfree(pool);
}

/* Allocates a pool that is charged already, to that user if there is one. */
static struct lineup_pool *pool_alloc(const struct lineup_pool_create *args, u32 state,
				      struct user_struct *user)
{
	struct lineup_pool *pool;
	int err;

	pool = kvzalloc(struct_size(pool, frames, args->frames),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	if (!pool)
		return ERR_PTR(-ENOMEM);
	pool_init(pool, args, state);
	err = pool_fill(pool);
	if (err) {
		pool_abandon(pool);
		return ERR_PTR(err);
	}
	/* The pool holds the user and the charge from here on. */
	pool->user = user;
	return pool;
}

struct lineup_pool *lineup_pool_create_as(const struct lineup_pool_create *args, u32 state)
{
	struct user_struct *user;
	struct lineup_pool *pool;
	unsigned long pages;
	int err = check_args(args);

	if (err)
		return ERR_PTR(err);
	pages = (unsigned long)(PAGE_ALIGN(args->frame_bytes) >> PAGE_SHIFT) * args->frames;
	err = lineup_quota_charge(&user, pages);
	if (err)
		return ERR_PTR(err);
	pool = pool_alloc(args, state, user);
	if (IS_ERR(pool)) {
		lineup_quota_uncharge(user, pages);
		if (user)
			free_uid(user);
		if (pool == ERR_PTR(-ENOMEM)) {
			atomic64_inc(&lineup_counters.refused_memory);
			trace_lineup_pool_refused(pages, -ENOMEM);
		}
		return pool;
	}
	atomic_inc(&lineup_counters.pools);
	mutex_lock(&lineup_pools_lock);
	pool->id = ++last_pool_id;
	list_add_tail(&pool->node, &lineup_pools);
	mutex_unlock(&lineup_pools_lock);
	trace_lineup_pool_created(pool);
	return pool;
}

/**
 * lineup_pool_create() - reserve frames for a driver
 * @args: as for LINEUP_IOC_POOL_CREATE; what is marked [out] is ignored and not written
 *
 * The pool is charged to the user, the memory cgroup and the name of the current task, like one
 * that the task had made itself.
 *
 * Context: process context, may sleep for long.
 *
 * Return: the pool, to be given back with lineup_pool_close(), or ERR_PTR() with an error of
 * LINEUP_IOC_POOL_CREATE.
 */
struct lineup_pool *lineup_pool_create(const struct lineup_pool_create *args)
{
	return lineup_pool_create_as(args, LINEUP_POOL_HEAP);
}
EXPORT_SYMBOL_LINEUP(lineup_pool_create);

/* ---- frames ---- */

static void frame_free(struct lineup_frame *frame)
{
	lineup_pages_free(frame);
	lineup_quota_uncharge(frame->pool->user, frame->pool->pages);
}

/*
 * Wipes a frame that nobody holds any more and makes it free, or frees it if there is no use for
 * it. Until then it counts as held back. Drops the frame's reference to its pool.
 */
static void frame_come_back(struct lineup_frame *frame)
{
	struct lineup_pool *pool = frame->pool;
	bool is_lost, is_over;

	lineup_pages_wipe(frame);
	trace_lineup_frame_back(frame, frame->id);
	atomic_dec(&lineup_counters.frames_held_back);

	mutex_lock(&pool->lock);
	frame->id = 0;
	is_lost = frame->shmem && frame->revoked;
	is_over = pool_is_over(pool);
	pool->frames_held_back--;
	if (is_over) {
		pool->frames_freed++;
	} else if (is_lost) {
		pool->frames_lost++;
	} else {
		pool->frames_free++;
		list_add_tail(&frame->node, &pool->free);
	}
	mutex_unlock(&pool->lock);

	if (is_over || is_lost)
		frame_free(frame);
	else
		wake_up_interruptible_poll(&pool->wait, EPOLLIN | EPOLLRDNORM);
	pool_put(pool);
}

/* The last reference to a frame's dma-buf is gone. */
void lineup_frame_return(struct lineup_frame *frame)
{
	struct lineup_pool *pool = frame->pool;

	mutex_lock(&pool->lock);
	frame->dmabuf = NULL;
	pool->frames_out--;
	pool->frames_held_back++;
	pool->returns++;
	mutex_unlock(&pool->lock);
	atomic_dec(&lineup_counters.frames_out);
	atomic_inc(&lineup_counters.frames_held_back);
	atomic64_inc(&lineup_counters.returns);

	if (lineup_pages_quiet(frame)) {
		frame_come_back(frame);
		return;
	}
	trace_lineup_frame_held_back(frame, frame->id);
	/* The dma-buf kept this module loaded until now; the frame does from here on. */
	__module_get(THIS_MODULE);
	/*
	 * Whoever finds the frame in the list may free it, and the pool with it, while
	 * mutex_unlock() is still looking for the next in line.
	 */
	kref_get(&pool->ref);
	mutex_lock(&pool->lock);
	list_add_tail(&frame->node, &pool->held);
	mutex_unlock(&pool->lock);
	schedule_delayed_work(&settle_work, SETTLE_INTERVAL);
	pool_put(pool);
}

/*
 * Moves to @quiet the frames of a pool that nobody holds any more; tells whether some are still
 * held.
 */
static bool collect_quiet(struct lineup_pool *pool, struct list_head *quiet)
{
	struct lineup_frame *frame, *next;
	bool are_left;

	mutex_lock(&pool->lock);
	list_for_each_entry_safe(frame, next, &pool->held, node) {
		if (lineup_pages_quiet(frame))
			list_move_tail(&frame->node, quiet);
	}
	are_left = !list_empty(&pool->held);
	mutex_unlock(&pool->lock);
	return are_left;
}

static void settle(struct list_head *quiet)
{
	struct lineup_frame *frame, *next;

	list_for_each_entry_safe(frame, next, quiet, node) {
		frame_come_back(frame);
		module_put(THIS_MODULE);
	}
}

static void settle_held_frames(struct work_struct *work)
{
	struct lineup_pool *pool;
	bool are_left = false;
	LIST_HEAD(quiet);

	mutex_lock(&lineup_pools_lock);
	list_for_each_entry(pool, &lineup_pools, node)
		are_left |= collect_quiet(pool, &quiet);
	mutex_unlock(&lineup_pools_lock);
	if (are_left)
		schedule_delayed_work(&settle_work, SETTLE_INTERVAL);
	settle(&quiet);
}

/*
 * Takes a frame off the free list, with a reference to the pool. It counts as held back until it
 * is out.
 */
static struct lineup_frame *frame_take(struct lineup_pool *pool)
{
	struct lineup_frame *frame;
	int err = 0;

	mutex_lock(&pool->lock);
	frame = list_first_entry_or_null(&pool->free, struct lineup_frame, node);
	if (pool_is_over(pool)) {
		err = -ENODEV;
	} else if (!frame) {
		err = -EAGAIN;
	} else {
		list_del(&frame->node);
		pool->frames_free--;
		pool->frames_held_back++;
		kref_get(&pool->ref);
	}
	mutex_unlock(&pool->lock);
	if (err)
		return ERR_PTR(err);
	atomic_inc(&lineup_counters.frames_held_back);
	return frame;
}

/*
 * Makes known that a frame is out. If the pool was revoked meanwhile, its owner could not see the
 * frame: -ENODEV.
 */
static int frame_publish(struct lineup_frame *frame, struct dma_buf *dmabuf)
{
	struct lineup_pool *pool = frame->pool;
	u64 id = atomic64_inc_return(&last_frame_id);
	bool is_over;

	mutex_lock(&pool->lock);
	frame->dmabuf = dmabuf;
	frame->dentry = dmabuf->file->f_path.dentry;
	frame->id = id;
	pool->frames_held_back--;
	pool->frames_out++;
	pool->gets++;
	is_over = pool_is_over(pool);
	mutex_unlock(&pool->lock);
	atomic_dec(&lineup_counters.frames_held_back);
	atomic_inc(&lineup_counters.frames_out);
	atomic64_inc(&lineup_counters.gets);
	trace_lineup_frame_out(frame, id);
	return is_over ? -ENODEV : 0;
}

/* The same as lineup_frame_get(), with the access mode that the dma-buf's descriptors will have. */
struct dma_buf *lineup_frame_get_with(struct lineup_pool *pool, u32 fd_flags)
{
	struct lineup_frame *frame = frame_take(pool);
	struct dma_buf *dmabuf;
	LIST_HEAD(quiet);
	int err;

	if (frame == ERR_PTR(-EAGAIN)) {
		/* A frame that was held back may be quiet already, and its turn not yet come. */
		collect_quiet(pool, &quiet);
		settle(&quiet);
		frame = frame_take(pool);
	}
	if (IS_ERR(frame))
		return ERR_CAST(frame);
	dmabuf = lineup_frame_export(frame, fd_flags);
	if (IS_ERR(dmabuf)) {
		frame_come_back(frame);
		return dmabuf;
	}
	/* The dma-buf holds the frame from here on; its release returns it. */
	err = frame_publish(frame, dmabuf);
	if (err) {
		dma_buf_put(dmabuf);
		return ERR_PTR(err);
	}
	return dmabuf;
}

/**
 * lineup_frame_get() - take a free frame
 * @pool: the pool
 *
 * Context: process context, may sleep.
 *
 * Return: the frame, which goes back to its pool with the last dma_buf_put(); ERR_PTR(-EAGAIN) if
 * none is free, ERR_PTR(-ENODEV) if the pool is revoked, or ERR_PTR(-ENOMEM).
 */
struct dma_buf *lineup_frame_get(struct lineup_pool *pool)
{
	return lineup_frame_get_with(pool, O_RDWR);
}
EXPORT_SYMBOL_LINEUP(lineup_frame_get);

/* ---- the end ---- */

/*
 * Marks the pool and frees its free frames; those that come back later see the mark. Tells whether
 * it was marked before.
 */
static bool pool_finish(struct lineup_pool *pool, u32 state)
{
	struct lineup_frame *frame, *next;
	bool was_so;
	LIST_HEAD(unused);

	mutex_lock(&pool->lock);
	was_so = pool->state & state;
	pool->state |= state;
	list_splice_init(&pool->free, &unused);
	pool->frames_freed += pool->frames_free;
	pool->frames_free = 0;
	mutex_unlock(&pool->lock);

	list_for_each_entry_safe(frame, next, &unused, node)
		frame_free(frame);
	wake_up_interruptible_poll(&pool->wait, EPOLLERR | EPOLLHUP);
	return was_so;
}

/*
 * The dentry of a frame that is out, with a reference, which keeps the dma-buf; NULL if the frame
 * is not out, or on its way back. Not the file: a path, as open() with O_PATH has one, keeps the
 * dma-buf without it.
 */
static struct dentry *frame_get_dentry(struct lineup_frame *frame)
{
	lockdep_assert_held(&frame->pool->lock);
	/* Until lineup_frame_return() has been here, the dentry's memory is still there. */
	if (!frame->dmabuf || !lockref_get_not_dead(&frame->dentry->d_lockref))
		return NULL;
	return frame->dentry;
}

/*
 * Revokes a frame that is held back: it has no dma-buf any more, but if it is shmem's, it may have
 * mappings. Tells whether that was news, and gives the file to cut off, with a reference.
 */
static bool frame_revoke_held(struct lineup_frame *frame, struct file **shmem)
{
	bool is_news = !frame->revoked;

	lockdep_assert_held(&frame->pool->lock);
	WRITE_ONCE(frame->revoked, true);
	if (frame->shmem)
		*shmem = get_file(frame->shmem);
	return is_news;
}

/* Revokes a frame that is out or held back, with that id, or with any if that is 0. */
static int frame_revoke(struct lineup_frame *frame, u64 id)
{
	struct lineup_pool *pool = frame->pool;
	struct dentry *dentry = NULL;
	struct file *shmem = NULL;
	bool is_news = false;
	bool is_it;

	mutex_lock(&pool->lock);
	is_it = frame->id && (!id || frame->id == id);
	if (is_it) {
		id = frame->id;
		dentry = frame_get_dentry(frame);
		if (!dentry)
			is_news = frame_revoke_held(frame, &shmem);
	}
	mutex_unlock(&pool->lock);
	if (!is_it)
		return -ENOENT;

	if (dentry) {
		is_news = lineup_frame_revoke(frame->dmabuf, dentry);
		dput(dentry);
	}
	if (shmem) {
		lineup_pages_cut_off(shmem);
		fput(shmem);
	}
	if (is_news) {
		mutex_lock(&pool->lock);
		pool->revokes++;
		mutex_unlock(&pool->lock);
		atomic64_inc(&lineup_counters.revokes);
		trace_lineup_frame_revoked(frame, id);
	}
	return 0;
}

/* Revokes the frame of a pool that has that id; -ENOENT if none has. */
int lineup_pool_revoke_frame(struct lineup_pool *pool, u64 id)
{
	struct lineup_frame *frame;

	if (!id)
		return -ENOENT;
	for (frame = pool->frames; frame < pool->frames + pool->frames_count; frame++) {
		if (!frame_revoke(frame, id))
			return 0;
	}
	return -ENOENT;
}

/**
 * lineup_pool_revoke() - take all frames away from those who hold them
 * @pool: the pool, which gives no frames from here on, but still has to be closed
 *
 * See "Revocation" in uapi/linux/lineup.h.
 *
 * Context: process context, may sleep. Takes the reservation locks of the frames.
 */
void lineup_pool_revoke(struct lineup_pool *pool)
{
	struct lineup_frame *frame;

	if (!pool_finish(pool, LINEUP_POOL_REVOKED))
		trace_lineup_pool_revoked(pool);
	for (frame = pool->frames; frame < pool->frames + pool->frames_count; frame++)
		frame_revoke(frame, 0);
}
EXPORT_SYMBOL_LINEUP(lineup_pool_revoke);

/**
 * lineup_pool_close() - give a pool back
 * @pool: the pool, or NULL; the caller's reference is consumed
 *
 * Frames that are out live on, and are freed when their last reference goes.
 *
 * Context: process context, may sleep.
 */
void lineup_pool_close(struct lineup_pool *pool)
{
	if (!pool)
		return;
	trace_lineup_pool_closed(pool);
	pool_finish(pool, LINEUP_POOL_CLOSED);
	pool_put(pool);
}
EXPORT_SYMBOL_LINEUP(lineup_pool_close);

void lineup_pools_exit(void)
{
	/*
	 * Nothing is held back any more, or the module could not go; but the work that saw to it
	 * may not have returned.
	 */
	cancel_delayed_work_sync(&settle_work);
	WARN_ON(!list_empty(&lineup_pools));
}
