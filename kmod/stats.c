// SPDX-License-Identifier: GPL-2.0-only
/* Counters, and who may see them: ioctls for users, /sys/kernel/debug/lineup for root. */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/seq_file.h>

#include "internal.h"

struct lineup_counters lineup_counters;

static struct dentry *directory;

/* What a pool has not given back yet. Its lock is held. */
static u64 pool_bytes(const struct lineup_pool *pool)
{
	return pool->frame_bytes * (pool->frames_count - pool->frames_freed - pool->frames_lost);
}

void lineup_stats_read(struct lineup_stats *stats)
{
	const struct lineup_counters *c = &lineup_counters;
	const atomic_long_t *locked_vm = &current_user()->locked_vm;
	unsigned long limit = rlimit(RLIMIT_MEMLOCK);
	bool is_unlimited = limit == RLIM_INFINITY || capable(CAP_IPC_LOCK);
	struct lineup_pool *pool;
	u64 user_bytes = 0;

	mutex_lock(&lineup_pools_lock);
	list_for_each_entry(pool, &lineup_pools, node) {
		if (!uid_eq(pool->uid, current_uid()))
			continue;
		mutex_lock(&pool->lock);
		user_bytes += pool_bytes(pool);
		mutex_unlock(&pool->lock);
	}
	mutex_unlock(&lineup_pools_lock);

	*stats = (struct lineup_stats){
		.bytes = (u64)atomic_long_read(&c->pages) << PAGE_SHIFT,
		.bytes_max = lineup_quota_bytes_max(),
		.user_bytes = user_bytes,
		.user_locked_bytes = (u64)atomic_long_read(locked_vm) << PAGE_SHIFT,
		.user_bytes_max = is_unlimited ? LINEUP_UNLIMITED : limit,
		.pools = atomic_read(&c->pools),
		.frames_out = atomic_read(&c->frames_out),
		.frames_held_back = atomic_read(&c->frames_held_back),
		.fences = atomic_read(&c->fences),
		.gets = atomic64_read(&c->gets),
		.returns = atomic64_read(&c->returns),
		.revokes = atomic64_read(&c->revokes),
		.bytes_wiped = atomic64_read(&c->bytes_wiped),
		.refused_user = atomic64_read(&c->refused_user),
		.refused_module = atomic64_read(&c->refused_module),
		.refused_memory = atomic64_read(&c->refused_memory),
		.sync_violations = atomic64_read(&c->sync_violations),
	};
}

/*
 * The process that made the pool, as the caller sees it; 0 if it is gone, as the number may be
 * another's.
 */
static u32 pool_pid(const struct lineup_pool *pool)
{
	u32 pid = 0;

	rcu_read_lock();
	if (pid_task(pool->pid, PIDTYPE_TGID))
		pid = pid_vnr(pool->pid);
	rcu_read_unlock();
	return pid;
}

/* What a pool is and has, for a reader in the caller's namespaces. */
static void pool_describe(struct lineup_pool *pool, struct lineup_pool_info *info)
{
	mutex_lock(&pool->lock);
	*info = (struct lineup_pool_info){
		.pool = pool->id,
		.state = pool->state,
		.frame_bytes = pool->frame_bytes,
		.bytes = pool_bytes(pool),
		.pool_flags = pool->flags,
		.node = pool->numa_node,
		.dma_bits = pool->dma_bits,
		.frames = pool->frames_count,
		.frames_free = pool->frames_free,
		.frames_out = pool->frames_out,
		.frames_held_back = pool->frames_held_back,
		.frames_freed = pool->frames_freed,
		.frames_lost = pool->frames_lost,
		.uid = from_kuid_munged(current_user_ns(), pool->uid),
		.pid = pool_pid(pool),
		.gets = pool->gets,
		.returns = pool->returns,
		.revokes = pool->revokes,
		.sync_violations = atomic64_read(&pool->sync_violations),
	};
	mutex_unlock(&pool->lock);
	strscpy_pad(info->comm, pool->comm, sizeof(info->comm));
}

/* The pool with that id, or the next one after it, if the caller may see it. */
static struct lineup_pool *pool_find(u64 id, bool is_next)
{
	bool sees_all = capable(CAP_SYS_ADMIN);
	struct lineup_pool *pool;

	list_for_each_entry(pool, &lineup_pools, node) {
		if (is_next ? pool->id <= id : pool->id != id)
			continue;
		if (sees_all || uid_eq(pool->uid, current_uid()))
			return pool;
	}
	return NULL;
}

/* LINEUP_IOC_POOL_INFO; @own is the descriptor's pool or NULL. */
int lineup_stats_pool(struct lineup_pool *own, struct lineup_pool_info *info)
{
	bool is_next = info->flags & LINEUP_INFO_NEXT;
	struct lineup_pool *pool = own;
	int err = 0;

	if (!info->pool && !is_next && !own)
		return -ENXIO;
	mutex_lock(&lineup_pools_lock);
	if (info->pool || is_next)
		pool = pool_find(info->pool, is_next);
	if (pool)
		pool_describe(pool, info);
	else
		err = -ENOENT;
	mutex_unlock(&lineup_pools_lock);
	return err;
}

/* ---- debugfs ---- */

static int pools_show(struct seq_file *seq, void *unused)
{
	struct lineup_pool_info info;
	struct lineup_pool *pool;

	seq_puts(seq, "pool state flags node dma_bits frame_bytes");
	seq_puts(seq, " frames free out held_back freed lost");
	seq_puts(seq, " gets returns revokes sync_violations uid pid comm\n");
	mutex_lock(&lineup_pools_lock);
	list_for_each_entry(pool, &lineup_pools, node) {
		pool_describe(pool, &info);
		seq_printf(seq, "%llu %#x %#x %d %u %llu", info.pool, info.state, info.pool_flags,
			   info.node, info.dma_bits, info.frame_bytes);
		seq_printf(seq, " %u %u %u %u %u %u", info.frames, info.frames_free,
			   info.frames_out, info.frames_held_back, info.frames_freed,
			   info.frames_lost);
		seq_printf(seq, " %llu %llu %llu %llu %u %u %s\n", info.gets, info.returns,
			   info.revokes, info.sync_violations, info.uid, info.pid, info.comm);
	}
	mutex_unlock(&lineup_pools_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pools);

static int stats_show(struct seq_file *seq, void *unused)
{
	struct lineup_stats stats;

	lineup_stats_read(&stats);
	seq_printf(seq, "bytes %llu\n", stats.bytes);
	seq_printf(seq, "bytes_max %llu\n", stats.bytes_max);
	seq_printf(seq, "pools %u\n", stats.pools);
	seq_printf(seq, "frames_out %u\n", stats.frames_out);
	seq_printf(seq, "frames_held_back %u\n", stats.frames_held_back);
	seq_printf(seq, "fences %u\n", stats.fences);
	seq_printf(seq, "gets %llu\n", stats.gets);
	seq_printf(seq, "returns %llu\n", stats.returns);
	seq_printf(seq, "revokes %llu\n", stats.revokes);
	seq_printf(seq, "bytes_wiped %llu\n", stats.bytes_wiped);
	seq_printf(seq, "refused_user %llu\n", stats.refused_user);
	seq_printf(seq, "refused_module %llu\n", stats.refused_module);
	seq_printf(seq, "refused_memory %llu\n", stats.refused_memory);
	seq_printf(seq, "sync_violations %llu\n", stats.sync_violations);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

void lineup_stats_init(void)
{
	directory = debugfs_create_dir("lineup", NULL);
	debugfs_create_file("pools", 0400, directory, NULL, &pools_fops);
	debugfs_create_file("stats", 0400, directory, NULL, &stats_fops);
}

void lineup_stats_exit(void)
{
	debugfs_remove_recursive(directory);
}
