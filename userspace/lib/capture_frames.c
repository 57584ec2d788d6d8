// SPDX-License-Identifier: MIT
// Pools of frames of any kind: what the caller sees of them.
#include <inttypes.h>
#include <linux/dma-buf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture.h"

static const struct lineup_frames_ops *const kinds[] = { /* in the order of preference */
	&lineup_frames_module,
	&lineup_frames_udmabuf,
	&lineup_frames_heap,
	&lineup_frames_memory,
};

const char *lineup_frames_kind_name(enum lineup_frames_kind kind)
{
	switch (kind) {
	case LINEUP_FRAMES_MODULE: return "lineup.ko";
	case LINEUP_FRAMES_UDMABUF: return "udmabuf";
	case LINEUP_FRAMES_HEAP: return "dma-heap";
	case LINEUP_FRAMES_MEMORY: return "memfd";
	case LINEUP_FRAMES_DEVICE: return "device";
	case LINEUP_FRAMES_AUTO: break;
	}
	return "auto";
}

enum lineup_frames_kind lineup_frames_kind(const struct lineup_frames *frames)
{
	return frames->ops ? frames->ops->kind : LINEUP_FRAMES_DEVICE;
}

struct lineup_frames *lineup_frames_alloc(struct lineup_ctx *ctx, uint64_t frame_bytes, uint32_t count)
{
	struct lineup_frames *frames = calloc(1, sizeof(*frames) + count * sizeof(frames->frame[0]));

	if (!frames)
		return NULL;
	frames->ctx = ctx;
	frames->fd = -1;
	frames->video = -1;
	frames->frame_bytes = frame_bytes;
	frames->count = count;
	for (uint32_t i = 0; i < count; i++)
		frames->frame[i] = (struct lineup_frame){ .frames = frames, .fd = -1, .bytes = frame_bytes };
	return frames;
}

int lineup_frames_try(struct lineup_ctx *ctx, const struct lineup_frames_options *options, struct lineup_frames **frames,
		      char why[LINEUP_WHY_BYTES])
{
	const struct lineup_frames_ops *ops = NULL;
	struct lineup_frames *f;
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i]->kind == options->kind)
			ops = kinds[i];
	if (!ops) {
		snprintf(why, LINEUP_WHY_BYTES, "there is no kind %d to make frames of", (int)options->kind);
		return -EINVAL;
	}
	if (options->flags & ~ops->flags) {
		snprintf(why, LINEUP_WHY_BYTES, "flags 0x%x need lineup.ko", options->flags & ~ops->flags);
		return -ENOTSUP;
	}
	if (options->dma_bits && options->dma_bits < 64 && ops != &lineup_frames_module) {
		snprintf(why, LINEUP_WHY_BYTES, "frames below %" PRIu32 " address bits need lineup.ko", options->dma_bits);
		return -ENOTSUP;
	}
	f = lineup_frames_alloc(ctx, round_up(options->frame_bytes, (uint64_t)sysconf(_SC_PAGESIZE)), options->count);
	if (!f) {
		snprintf(why, LINEUP_WHY_BYTES, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	f->ops = ops;
	err = ops->create(f, options, why);
	if (err) {
		lineup_frames_destroy(f);
		return err;
	}
	*frames = f;
	return 0;
}

static int check(struct lineup_ctx *ctx, struct lineup_frames_options *o)
{
	const uint32_t known = LINEUP_FRAMES_CONTIGUOUS | LINEUP_FRAMES_UNCACHED | LINEUP_FRAMES_SHMEM | LINEUP_FRAMES_SYNC_CHECK |
			       LINEUP_FRAMES_ON_NODE;

	if (!o->count)
		o->count = LINEUP_FRAMES_COUNT_DEFAULT;
	if (!o->frame_bytes || (o->flags & ~known))
		return lineup_fail(ctx, -EINVAL, o->frame_bytes ? "frames: unknown flags 0x%x" : "frames: frame_bytes is 0",
				   o->flags & ~known);
	if (o->frame_bytes > LINEUP_FRAME_SIZE_MAX || o->count > LINEUP_FRAMES_COUNT_MAX)
		return lineup_fail(ctx, -E2BIG, "frames: %" PRIu32 " of %" PRIu64 " bytes; at most %d of %llu can be had", o->count,
				   o->frame_bytes, LINEUP_FRAMES_COUNT_MAX, LINEUP_FRAME_SIZE_MAX);
	if (o->dma_bits && (o->dma_bits < 24 || o->dma_bits > 64))
		return lineup_fail(ctx, -EINVAL, "frames: dma_bits is %" PRIu32 ", not from 24 to 64", o->dma_bits);
	return 0;
}

int lineup_frames_create(struct lineup_ctx *ctx, const struct lineup_frames_options *options, struct lineup_frames **frames)
{
	char why[LINEUP_WHY_BYTES] = "", first[LINEUP_WHY_BYTES] = "";
	struct lineup_frames_options o;
	int err = lineup_options_copy(ctx, "lineup_frames_options", &o, sizeof(o), options);

	err = err ? err : check(ctx, &o);
	if (err)
		return err;
	if (o.kind != LINEUP_FRAMES_AUTO) {
		err = lineup_frames_try(ctx, &o, frames, why);
		return err ? lineup_fail(ctx, err, "frames of %s: %s", lineup_frames_kind_name(o.kind), why) : 0;
	}
	/*
	 * What is there but refuses (a quota, a lack of memory) is obeyed; only what is missing or closed to the user is done
	 * without.
	 */
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		o.kind = kinds[i]->kind;
		err = lineup_frames_try(ctx, &o, frames, why);
		if (!err && i)
			lineup_warn_once(ctx, LINEUP_ONCE_FRAMES, "frames: %s; using %s", first, lineup_frames_kind_name(o.kind));
		if (err != -ENOTSUP && err != -EACCES)
			break;
		if (!i)
			memcpy(first, why, sizeof(first));
	}
	if (err == -ENOTSUP || err == -EACCES)
		return lineup_fail(ctx, err, "frames: %s", first); /* the others lack what only the first could have given */
	return err ? lineup_fail(ctx, err, "frames of %s: %s", lineup_frames_kind_name(o.kind), why) : 0;
}

static void unmap(struct lineup_frame *frame)
{
	if (frame->data)
		lineup_device_munmap(frame->frames->ctx, frame->data, frame->bytes);
	frame->data = NULL;
}

void lineup_frames_destroy(struct lineup_frames *frames)
{
	if (!frames)
		return;
	for (uint32_t i = 0; i < frames->count; i++) {
		if (frames->frame[i].stuck)
			continue;
		unmap(&frames->frame[i]);
		lineup_device_close(frames->ctx, frames->frame[i].fd);
	}
	if (frames->ops && frames->ops->destroy)
		frames->ops->destroy(frames);
	lineup_device_close(frames->ctx, frames->fd);
	free(frames);
}

int lineup_frame_take(struct lineup_frames *frames, struct lineup_frame **frame)
{
	int err;

	for (uint32_t i = 0; i < frames->count; i++) {
		struct lineup_frame *f = &frames->frame[i];

		if (f->taken)
			continue;
		err = frames->ops && frames->ops->take ? frames->ops->take(frames, f) : 0;
		if (err)
			return err;
		f->taken = true;
		*frame = f;
		return 0;
	}
	return -EAGAIN;
}

void lineup_frame_put(struct lineup_frame *frame)
{
	if (!frame || frame->stuck)
		return;
	unmap(frame);
	if (frame->frames->ops && frame->frames->ops->put)
		frame->frames->ops->put(frame->frames, frame);
	frame->taken = false;
}

int lineup_frame_fd(const struct lineup_frame *frame)
{
	return frame->fd;
}

uint64_t lineup_frame_bytes(const struct lineup_frame *frame)
{
	return frame->bytes;
}

int lineup_frame_map(struct lineup_frame *frame, void **data)
{
	const struct lineup_frames *frames = frame->frames;
	/* A device's own buffer is mapped through the device, whether or not it has been exported. */
	int fd = frames->video >= 0 ? frames->video : frame->fd;
	int err;

	if (!frame->data) {
		err = lineup_device_mmap(frames->ctx, fd, frame->bytes, PROT_READ | PROT_WRITE, frame->offset, &frame->data);
		if (err)
			return lineup_fail(frames->ctx, err, "frame of %s: cannot be mapped: %s",
					   lineup_frames_kind_name(lineup_frames_kind(frames)),
					   err == -ENODEV ? "revoked" : strerror(-err));
		madvise(frame->data, frame->bytes, MADV_DONTDUMP);
	}
	*data = frame->data;
	return 0;
}

static int sync_cpu(struct lineup_frame *frame, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };
	struct lineup_ctx *ctx = frame->frames->ctx;
	int err;

	if (!frame->dma_buf)
		return 0;
	do
		err = lineup_device_ioctl(ctx, frame->fd, DMA_BUF_IOCTL_SYNC, &sync);
	while (err == -EAGAIN);
	if (err < 0)
		return lineup_fail(ctx, err, "frame of %s: sync: %s", lineup_frames_kind_name(lineup_frames_kind(frame->frames)),
				   err == -ENODEV ? "revoked" : strerror(-err));
	return 0;
}

/* The two enums have the same bits. */
_Static_assert((uint64_t)LINEUP_FRAME_READ == DMA_BUF_SYNC_READ && (uint64_t)LINEUP_FRAME_WRITE == DMA_BUF_SYNC_WRITE,
	       "the kernel's bits");

int lineup_frame_begin(struct lineup_frame *frame, uint32_t access)
{
	return sync_cpu(frame, DMA_BUF_SYNC_START | (access & DMA_BUF_SYNC_RW));
}

int lineup_frame_end(struct lineup_frame *frame, uint32_t access)
{
	return sync_cpu(frame, DMA_BUF_SYNC_END | (access & DMA_BUF_SYNC_RW));
}
