// SPDX-License-Identifier: MIT
// Frames of lineup.ko, and what it tells of all pools. The ABI is kmod/uapi/linux/lineup.h.
#include <fcntl.h>
#include <inttypes.h>
#include <linux/lineup.h>
#include <stdio.h>
#include <string.h>

#include "capture.h"

#define NODE "/dev/lineup"

enum { POOLS_MAX = 1 << 20 }; /* a list is not read for ever, whatever the module answers */

static const struct {
	uint32_t ours, theirs;
} flag_map[] = {
	{ LINEUP_FRAMES_CONTIGUOUS, LINEUP_POOL_CONTIGUOUS },
	{ LINEUP_FRAMES_UNCACHED, LINEUP_POOL_WRITE_COMBINE },
	{ LINEUP_FRAMES_SHMEM, LINEUP_POOL_SHMEM },
	{ LINEUP_FRAMES_SYNC_CHECK, LINEUP_POOL_SYNC_CHECK },
};

static int open_module(struct lineup_ctx *ctx, char why[LINEUP_WHY_BYTES])
{
	int fd = lineup_device_open(ctx, NODE, O_RDWR);

	switch (fd) {
	case -ENOENT: case -ENODEV: case -ENXIO:
		snprintf(why, LINEUP_WHY_BYTES, NODE ": the module lineup is not loaded");
		return -ENOTSUP;
	case -EACCES: case -EPERM:
		snprintf(why, LINEUP_WHY_BYTES, NODE ": %s; is this user in the group lineup?", strerror(EACCES));
		return -EACCES;
	}
	if (fd < 0)
		snprintf(why, LINEUP_WHY_BYTES, NODE ": %s", strerror(-fd));
	return fd;
}

static const char *refusal(int err)
{
	switch (err) {
	case -EDQUOT: return "the user's quota (RLIMIT_MEMLOCK) does not suffice";
	case -ENOMEM: return "the module's max_bytes, the memory cgroup or the memory does not suffice";
	case -E2BIG: return "more than the module allows";
	case -EOPNOTSUPP: return "write-combined memory cannot be had on this machine";
	case -EINVAL: return "flags, node or dma_bits do not go together";
	}
	return strerror(-err);
}

static int module_create(struct lineup_frames *frames, const struct lineup_frames_options *options, char why[LINEUP_WHY_BYTES])
{
	struct lineup_pool_create create = {
		.frame_bytes = frames->frame_bytes,
		.frames = frames->count,
		.node = options->flags & LINEUP_FRAMES_ON_NODE ? options->node : LINEUP_NODE_ANY,
		.dma_bits = options->dma_bits,
	};
	int err = open_module(frames->ctx, why);

	if (err < 0)
		return err;
	frames->fd = err;
	for (size_t i = 0; i < ARRAY_SIZE(flag_map); i++)
		create.flags |= options->flags & flag_map[i].ours ? flag_map[i].theirs : 0;
	err = lineup_device_ioctl(frames->ctx, frames->fd, LINEUP_IOC_POOL_CREATE, &create);
	if (err) {
		snprintf(why, LINEUP_WHY_BYTES, "%" PRIu32 " of %" PRIu64 " bytes: %s", frames->count, frames->frame_bytes,
			 refusal(err));
		return err;
	}
	if (create.frame_bytes < frames->frame_bytes) {
		snprintf(why, LINEUP_WHY_BYTES, "the module gives %" PRIu64 " bytes where %" PRIu64 " were asked for",
			 (uint64_t)create.frame_bytes, frames->frame_bytes);
		return -EPROTO;
	}
	return 0;
}

static int module_take(struct lineup_frames *frames, struct lineup_frame *frame)
{
	struct lineup_frame_get get = { 0 };
	int err = lineup_device_ioctl(frames->ctx, frames->fd, LINEUP_IOC_FRAME_GET, &get);

	if (err == -EAGAIN)
		return err;
	if (err)
		return lineup_fail(frames->ctx, err, "frames of lineup.ko: %s",
				   err == -ENODEV ? "the pool is revoked" : strerror(-err));
	frame->fd = get.fd;
	frame->dma_buf = true;
	return 0;
}

/* The last reference: the module wipes the frame and has it back. */
static void module_put(struct lineup_frames *frames, struct lineup_frame *frame)
{
	lineup_device_close(frames->ctx, frame->fd);
	frame->fd = -1;
}

const struct lineup_frames_ops lineup_frames_module = {
	.kind = LINEUP_FRAMES_MODULE,
	.flags = LINEUP_FRAMES_CONTIGUOUS | LINEUP_FRAMES_UNCACHED | LINEUP_FRAMES_SHMEM | LINEUP_FRAMES_SYNC_CHECK |
		 LINEUP_FRAMES_ON_NODE,
	.create = module_create,
	.take = module_take,
	.put = module_put,
};

static void read_quota(const struct lineup_stats *s, struct lineup_frames_quota *q)
{
	*q = (struct lineup_frames_quota){
		.bytes = s->bytes,
		.bytes_max = s->bytes_max,
		.user_bytes = s->user_bytes,
		.user_locked_bytes = s->user_locked_bytes,
		.user_bytes_max = s->user_bytes_max, /* LINEUP_UNLIMITED is UINT64_MAX */
		.pools = s->pools,
		.frames_out = s->frames_out,
		.frames_held_back = s->frames_held_back,
		.refused_user = s->refused_user,
		.refused_module = s->refused_module,
		.refused_memory = s->refused_memory,
		.gets = s->gets,
		.returns = s->returns,
		.revokes = s->revokes,
		.sync_violations = s->sync_violations,
	};
}

static void read_info(const struct lineup_pool_info *p, struct lineup_frames_info *info)
{
	*info = (struct lineup_frames_info){
		.id = p->pool,
		.frame_bytes = p->frame_bytes,
		.bytes = p->bytes,
		.frames = p->frames,
		.frames_free = p->frames_free,
		.frames_out = p->frames_out,
		.frames_held_back = p->frames_held_back,
		.frames_freed = p->frames_freed,
		.frames_lost = p->frames_lost,
		.node = p->node,
		.dma_bits = p->dma_bits,
		.uid = p->uid,
		.pid = p->pid,
		.closed = p->state & LINEUP_POOL_CLOSED,
		.revoked = p->state & LINEUP_POOL_REVOKED,
		.heap = p->state & LINEUP_POOL_HEAP,
		.gets = p->gets,
		.returns = p->returns,
		.revokes = p->revokes,
		.sync_violations = p->sync_violations,
	};
	_Static_assert(sizeof(info->command) == sizeof(p->comm), "the name of a process");
	memcpy(info->command, p->comm, sizeof(info->command));
	info->command[sizeof(info->command) - 1] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(flag_map); i++)
		info->flags |= p->pool_flags & flag_map[i].theirs ? flag_map[i].ours : 0;
	if (p->node != LINEUP_NODE_ANY)
		info->flags |= LINEUP_FRAMES_ON_NODE;
}

static int list(struct lineup_ctx *ctx, int fd, int (*each)(void *arg, const struct lineup_frames_info *info), void *arg)
{
	uint64_t last = 0;

	for (int n = 0; n < POOLS_MAX; n++) {
		struct lineup_pool_info pool = { .pool = last, .flags = LINEUP_INFO_NEXT };
		struct lineup_frames_info info;
		int err = lineup_device_ioctl(ctx, fd, LINEUP_IOC_POOL_INFO, &pool);

		if (err == -ENOENT)
			return 0;
		if (err)
			return lineup_fail(ctx, err, NODE ": the list of pools: %s", strerror(-err));
		if (pool.pool <= last)
			return lineup_fail(ctx, -EPROTO, NODE ": the list of pools goes from %" PRIu64 " to %" PRIu64, last,
					   (uint64_t)pool.pool);
		last = pool.pool;
		read_info(&pool, &info);
		err = each(arg, &info);
		if (err)
			return err;
	}
	return lineup_fail(ctx, -E2BIG, NODE ": more than %d pools", POOLS_MAX);
}

int lineup_frames_list(struct lineup_ctx *ctx, struct lineup_frames_quota *quota,
		       int (*each)(void *arg, const struct lineup_frames_info *info), void *arg)
{
	struct lineup_stats stats = { 0 };
	char why[LINEUP_WHY_BYTES];
	int fd = open_module(ctx, why), err;

	if (fd < 0)
		return lineup_fail(ctx, fd, "%s", why);
	err = lineup_device_ioctl(ctx, fd, LINEUP_IOC_STATS, &stats);
	if (err)
		lineup_fail(ctx, err, NODE ": %s", strerror(-err));
	else
		read_quota(&stats, quota);
	err = err ? err : list(ctx, fd, each, arg);
	lineup_device_close(ctx, fd);
	return err;
}
