// SPDX-License-Identifier: MIT
// The kernel module's sample card: QEMU's "edu" device, which moves what is in its memory into a frame and signals a fence.
#include <educap.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/dma-buf.h>
#include <linux/sync_file.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "capture.h"

/*
 * One transfer runs at a time: from start or from the take before, into the next frame in turn. poll() on its dma-buf is the
 * wait, a sync_file exported at the start tells how it went. An "image" is EDU_WIDTH pixels of a byte wide.
 */
enum {
	EDU_WIDTH = 64,
	EDU_FRAME_BYTES = 16384,  /* 0.8 s a frame */
	EDU_DMA_BITS = 28,        /* what the device reaches unless QEMU is told otherwise */
	EDU_SEED_MS = 5000,
	EDU_STOP_MS = 5000,
};
#define EDU_NODE "/dev/educap0"

struct edu {
	uint32_t next;      /* the frame that is being filled, or will be */
	bool flying;
	int sync;           /* -1, or of the transfer */
	uint32_t sequence;
};

static int transfer(struct lineup_capture *c, struct lineup_frame *frame, uint32_t bytes, uint32_t direction)
{
	struct educap_transfer t = { .bytes = bytes, .direction = direction, .fd = frame->fd };

	return lineup_device_ioctl(c->ctx, c->fd, EDUCAP_IOC_TRANSFER, &t);
}

/* The transfer into the next frame in turn. */
static int launch(struct lineup_capture *c)
{
	struct dma_buf_export_sync_file export = { .flags = DMA_BUF_SYNC_READ, .fd = -1 };
	struct edu *e = c->device;
	int err;

	while (!c->queued[e->next])
		e->next = (e->next + 1) % c->info.buffers;
	err = transfer(c, c->frame[e->next], (uint32_t)c->info.frame_bytes, EDUCAP_TO_FRAME);
	if (err)
		return lineup_capture_lost(c, err,
					   err == -EIO ? "the frame is where the card does not reach" : "starting a transfer");
	e->flying = true;
	/* A kernel before 6.0 has none: then only poll() tells, and an error goes unnoticed. */
	err = lineup_device_ioctl(c->ctx, c->frame[e->next]->fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export);
	e->sync = err ? -1 : export.fd;
	return 0;
}

/* 0, or the error that the transfer ended with. */
static int outcome(struct lineup_capture *c)
{
	struct sync_file_info info = { 0 };
	struct edu *e = c->device;
	int err = e->sync < 0 ? 0 : lineup_device_ioctl(c->ctx, e->sync, SYNC_IOC_FILE_INFO, &info);

	lineup_device_close(c->ctx, e->sync);
	e->sync = -1;
	e->flying = false;
	return err ? err : info.status < 0 ? info.status : 0;
}

static int wait_for(struct lineup_capture *c, struct lineup_frame *frame, short events, uint32_t timeout_ms)
{
	struct pollfd fd = { .fd = frame->fd, .events = events };
	int n = lineup_device_poll(c->ctx, &fd, 1, timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);

	return n < 0 ? n : n ? 0 : -ETIMEDOUT;
}

static int read_seed(struct lineup_capture *c, const char *path, uint8_t seed[EDUCAP_PIECE_BYTES])
{
	FILE *file = fopen(path, "re");
	size_t n;

	if (!file)
		return lineup_fail(c->ctx, -errno, "%s: %s", path, strerror(errno));
	n = fread(seed, 1, EDUCAP_PIECE_BYTES, file);
	if (ferror(file) || (n == EDUCAP_PIECE_BYTES && getc(file) != EOF)) {
		fclose(file);
		return lineup_fail(c->ctx, -EINVAL, "%s: cannot be read, or has more than the %d bytes that the card keeps", path,
				   EDUCAP_PIECE_BYTES);
	}
	fclose(file);
	return 0;
}

/* Fills the card's memory from the first frame. */
static int plant(struct lineup_capture *c, const char *path)
{
	uint8_t seed[EDUCAP_PIECE_BYTES] = { 0 };
	struct lineup_frame *frame = c->frame[0];
	int err = read_seed(c, path, seed), end;
	void *data;

	err = err ? err : lineup_frame_map(frame, &data);
	err = err ? err : lineup_frame_begin(frame, LINEUP_FRAME_WRITE);
	if (err)
		return err;
	memcpy(data, seed, sizeof(seed));
	explicit_bzero(seed, sizeof(seed));
	end = lineup_frame_end(frame, LINEUP_FRAME_WRITE);
	if (end)
		return end;
	err = transfer(c, frame, EDUCAP_PIECE_BYTES, EDUCAP_TO_CARD);
	err = err ? err : wait_for(c, frame, POLLOUT, EDU_SEED_MS);
	return err ? lineup_fail(c->ctx, err, "edu: filling the card's memory: %s", strerror(-err)) : 0;
}

static int make_frames(struct lineup_capture *c, const struct lineup_capture_options *o)
{
	struct lineup_frames_options pool = {
		.size = sizeof(pool),
		.kind = o->kind,
		.frame_bytes = c->info.frame_bytes,
		.count = o->buffers,
		.flags = o->flags,
		.node = o->node,
		.dma_bits = o->dma_bits,
	};
	int err;

	/* Who asks for frames of another kind knows of an IOMMU or of bounce buffers. */
	if (!pool.dma_bits && (o->kind == LINEUP_FRAMES_AUTO || o->kind == LINEUP_FRAMES_MODULE))
		pool.dma_bits = EDU_DMA_BITS;
	err = lineup_frames_create(c->ctx, &pool, &c->frames);
	if (err)
		return err;
	c->info.kind = lineup_frames_kind(c->frames);
	if (c->info.kind == LINEUP_FRAMES_MEMORY)
		return lineup_fail(c->ctx, -ENOTSUP, "edu: this machine has no dma-bufs for the card to fill");
	err = lineup_capture_room(c);
	for (uint32_t i = 0; i < o->buffers && !err; i++) {
		err = lineup_frame_take(c->frames, &c->frame[i]);
		c->queued[i] = !err;
		c->queued_count += !err;
	}
	return err;
}

static int edu_start(struct lineup_capture *c, const struct lineup_capture_options *o)
{
	struct edu *e = calloc(1, sizeof(*e));
	uint32_t bytes = o->frame_bytes ? o->frame_bytes : EDU_FRAME_BYTES;
	int err;

	if (!e)
		return -ENOMEM;
	c->device = e;
	e->sync = -1;
	if (bytes % 4096 || bytes > EDUCAP_BYTES_MAX || o->fourcc || o->width || o->height || o->kind == LINEUP_FRAMES_DEVICE)
		return lineup_fail(
			c->ctx, -EINVAL,
			"edu: has no formats and no buffers of its own; frames are of 4096 bytes or a multiple, up to %d",
			EDUCAP_BYTES_MAX);
	c->fd = lineup_device_open(c->ctx, EDU_NODE, O_RDWR);
	if (c->fd < 0)
		return lineup_fail(c->ctx, c->fd, EDU_NODE ": %s%s", strerror(-c->fd),
				   c->fd == -ENOENT ? "; is the module educap loaded?" : "");
	c->info = (struct lineup_capture_info){
		.driver = "educap",
		.card = "edu",
		.fourcc = V4L2_PIX_FMT_GREY,
		.width = EDU_WIDTH,
		.height = bytes / EDU_WIDTH,
		.stride = EDU_WIDTH,
		.buffers = o->buffers,
		.frame_bytes = bytes,
	};
	err = make_frames(c, o);
	if (!err && o->seed)
		err = plant(c, o->seed);
	return err ? err : launch(c);
}

static int edu_take(struct lineup_capture *c, uint32_t timeout_ms, struct lineup_shot *shot)
{
	struct edu *e = c->device;
	struct timespec now;
	uint32_t index;
	int err = 0;

	if (!e->flying)
		err = launch(c);
	if (err)
		return err;
	index = e->next;
	err = wait_for(c, c->frame[index], POLLIN, timeout_ms);
	if (err == -ETIMEDOUT || err == -EINTR)
		return err;
	err = err ? err : outcome(c);
	if (err)
		return lineup_capture_lost(c, err, "while a frame was being filled");
	clock_gettime(CLOCK_MONOTONIC, &now);
	c->queued[index] = false;
	c->queued_count--;
	e->next = (index + 1) % c->info.buffers;
	*shot = (struct lineup_shot){
		.frame = c->frame[index],
		.index = index,
		.fourcc = c->info.fourcc,
		.width = c->info.width,
		.height = c->info.height,
		.stride = c->info.stride,
		.bytes = c->info.frame_bytes,
		.sequence = e->sequence,
		.dropped = lineup_capture_gap(c, e->sequence),
		.timestamp_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
	};
	e->sequence++;
	/* The next one at once, so that the card is not idle; if it cannot be, the next take says so. */
	if (c->queued_count)
		launch(c);
	return 0;
}

static int edu_give(struct lineup_capture *c, uint32_t index)
{
	c->queued[index] = true;
	c->queued_count++;
	return 0;
}

/* A transfer that runs has its own reference to its frame; but the card would be busy for whoever comes next. */
static void edu_stop(struct lineup_capture *c)
{
	struct edu *e = c->device;

	if (e && e->flying && !c->gone)
		wait_for(c, c->frame[e->next], POLLIN, EDU_STOP_MS);
	if (e)
		lineup_device_close(c->ctx, e->sync);
	free(e);
}

const struct lineup_capture_ops lineup_capture_edu = {
	.start = edu_start,
	.take = edu_take,
	.give = edu_give,
	.stop = edu_stop,
};
