/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of lineup.ko share, under the name of the file that defines it.
 *
 * Locks, outermost first:
 *
 *	lineup_pools_lock	the list of pools
 *	mmap_lock		of a process that faults or maps
 *	dmabuf->resv		of a frame that is out
 *	frame->lock		what its importers and mappings see; may allocate
 *	pool->lock		which frames are free, out, held back
 *
 * frame->lock and pool->lock are never held together, nor are lineup_pools_lock and one of the
 * middle three.
 */
#ifndef LINEUP_INTERNAL_H
#define LINEUP_INTERNAL_H

#include <linux/atomic.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/uidgid.h>
#include <linux/wait.h>

#include "lineup.h"

struct dentry;
struct file;
struct page;
struct pid;
struct seq_file;
struct user_struct;

/*
 * One frame of a pool. While it is free or held back nobody but the pool knows it; while it is
 * out, its dma-buf holds it. A frame that is out or held back holds a reference to its pool.
 */
struct lineup_frame {
	struct lineup_pool *pool;
	struct page **pages;		/* pool->pages, each with a reference; or NULL */
	struct file *shmem;		/* the file they belong to, or NULL */
	u32 index;

	/* pool->lock */
	struct list_head node;		/* in pool->free or pool->held */
	struct dma_buf *dmabuf;		/* while out; not a reference */
	struct dentry *dentry;		/* of dmabuf, which lives as long as it does; likewise */
	u64 id;				/* while out or held back */

	struct mutex lock;		/* what follows; see above */
	struct list_head attachments;
	unsigned int brackets;		/* of DMA_BUF_IOCTL_SYNC, that are open */
	/* Also read without the lock where a late answer does no harm; pool->lock if not out. */
	bool revoked;
};

struct lineup_pool {
	struct kref ref;		/* of its owner, and of each frame out or held back */
	struct list_head node;		/* in lineup_pools, by id; lineup_pools_lock */
	u64 id;
	u64 frame_bytes;
	unsigned int pages;		/* of a frame */
	u32 flags;			/* LINEUP_POOL_* */
	u32 dma_bits;
	int numa_node;
	struct user_struct *user;	/* whose locked_vm is charged, or NULL */
	kuid_t uid;
	struct pid *pid;
	char comm[TASK_COMM_LEN];
	wait_queue_head_t wait;		/* for a free frame, or the end */
	atomic64_t sync_violations;

	struct mutex lock;		/* what follows, and some of the frames; see above */
	u32 state;			/* LINEUP_POOL_CLOSED, _REVOKED, _HEAP */
	struct list_head free;
	struct list_head held;
	u32 frames_free, frames_out, frames_held_back, frames_freed, frames_lost;
	u64 gets, returns, revokes;

	u32 frames_count;
	struct lineup_frame frames[];
};

/* main.c */
extern unsigned long lineup_max_bytes;
extern bool lineup_sync_check;

/* ioctl.c */
extern const struct file_operations lineup_device_fops;
extern const struct file_operations lineup_heap_fops;

/* pool.c */
extern struct mutex lineup_pools_lock;
extern struct list_head lineup_pools;

struct lineup_pool *lineup_pool_create_as(const struct lineup_pool_create *args, u32 state);
struct dma_buf *lineup_frame_get_with(struct lineup_pool *pool, u32 fd_flags);
int lineup_pool_revoke_frame(struct lineup_pool *pool, u64 id);
void lineup_frame_return(struct lineup_frame *frame);
void lineup_pools_exit(void);

/* pages.c */
u64 lineup_pages_contiguous_max(void);
bool lineup_pages_can_write_combine(void);
int lineup_pages_alloc(struct lineup_frame *frame);
void lineup_pages_free(struct lineup_frame *frame);
void lineup_pages_wipe(struct lineup_frame *frame);
bool lineup_pages_quiet(struct lineup_frame *frame);
void lineup_pages_cut_off(struct file *shmem);

/* export.c */
extern const struct dma_buf_ops lineup_frame_ops;

struct dma_buf *lineup_frame_export(struct lineup_frame *frame, u32 fd_flags);
bool lineup_frame_revoke(struct dma_buf *dmabuf, struct dentry *dentry);

/* fence.c */
void lineup_fences_exit(void);

/* quota.c */
u64 lineup_quota_bytes_max(void);
int lineup_quota_charge(struct user_struct **charged, unsigned long pages);
void lineup_quota_uncharge(struct user_struct *user, unsigned long pages);

/* stats.c */
struct lineup_counters {
	atomic_long_t pages;
	atomic_t pools, frames_out, frames_held_back, fences;
	atomic64_t gets, returns, revokes, bytes_wiped, refused_user, refused_module,
		refused_memory, sync_violations;
};

extern struct lineup_counters lineup_counters;

void lineup_stats_read(struct lineup_stats *stats);
int lineup_stats_pool(struct lineup_pool *own, struct lineup_pool_info *info);
void lineup_stats_init(void);
void lineup_stats_exit(void);

#endif
