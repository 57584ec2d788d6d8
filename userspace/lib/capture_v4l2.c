// SPDX-License-Identifier: MIT
// V4L2 devices: negotiation of format and memory, and the loop of buffers.
#include <fcntl.h>
#include <inttypes.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture.h"

/*
 * The buffer types are single-planar ones: one dma-buf holds an image. Memory is agreed on before anything starts:
 *
 *	for each kind of frames in the order of preference: make the pool, REQBUFS(DMABUF), QBUF every frame
 *	a device that refuses (no DMABUF at all, or the frames are not contiguous enough for it) gets the next kind
 *	last: REQBUFS(MMAP), the device's own buffers, exported by EXPBUF where it can
 */
enum { TYPE = V4L2_BUF_TYPE_VIDEO_CAPTURE };

static int call(struct lineup_capture *c, unsigned long request, void *data)
{
	return lineup_device_ioctl(c->ctx, c->fd, request, data);
}

static int query(struct lineup_capture *c)
{
	struct v4l2_capability cap = { 0 };
	int err = call(c, VIDIOC_QUERYCAP, &cap);
	uint32_t can;

	if (err == -ENOTTY || err == -EINVAL)
		return lineup_fail(c->ctx, -ENOTSUP, "%s: not a V4L2 device", c->path);
	if (err)
		return lineup_fail(c->ctx, err, "%s: %s", c->path, strerror(-err));
	memcpy(c->info.driver, cap.driver, sizeof(c->info.driver));
	memcpy(c->info.card, cap.card, sizeof(c->info.card));
	c->info.driver[sizeof(c->info.driver) - 1] = c->info.card[sizeof(c->info.card) - 1] = 0;
	can = cap.capabilities & V4L2_CAP_DEVICE_CAPS ? cap.device_caps : cap.capabilities;
	if (!(can & V4L2_CAP_VIDEO_CAPTURE))
		return lineup_fail(c->ctx, -ENOTSUP, "%s (%s): %s", c->path, c->info.driver,
				   can & V4L2_CAP_VIDEO_CAPTURE_MPLANE ? "captures in several planes only"
								       : "does not capture images");
	if (!(can & V4L2_CAP_STREAMING))
		return lineup_fail(c->ctx, -ENOTSUP, "%s (%s): captures by read() only", c->path, c->info.driver);
	return 0;
}

/* What the driver says of its format is checked: everything after this computes with it. */
static int check_format(struct lineup_capture *c, const struct v4l2_pix_format *pix, uint32_t fourcc)
{
	char got[5], asked[5];

	if (fourcc && pix->pixelformat != fourcc)
		return lineup_fail(c->ctx, -ENOTSUP, "%s (%s): has no format %s; it offers %s", c->path, c->info.driver,
				   lineup_fourcc_text(fourcc, asked), lineup_fourcc_text(pix->pixelformat, got));
	if (!pix->width || !pix->height || pix->width > LINEUP_CAPTURE_SIDE_MAX || pix->height > LINEUP_CAPTURE_SIDE_MAX ||
	    !pix->sizeimage || pix->sizeimage > LINEUP_FRAME_SIZE_MAX || (uint64_t)pix->bytesperline * pix->height > pix->sizeimage)
		return lineup_fail(c->ctx, -EPROTO,
				   "%s (%s): a format that cannot be: %s, %u x %u, %u bytes a line, %u bytes an image", c->path,
				   c->info.driver, lineup_fourcc_text(pix->pixelformat, got), pix->width, pix->height,
				   pix->bytesperline, pix->sizeimage);
	c->info.fourcc = pix->pixelformat;
	c->info.width = pix->width;
	c->info.height = pix->height;
	c->info.stride = pix->bytesperline;
	c->info.frame_bytes = pix->sizeimage;
	return 0;
}

static int set_format(struct lineup_capture *c, const struct lineup_capture_options *o)
{
	struct v4l2_format format = { .type = TYPE };
	struct v4l2_pix_format *pix = &format.fmt.pix;
	int err = call(c, VIDIOC_G_FMT, &format);

	if (!err && (o->fourcc || o->width || o->height)) {
		pix->pixelformat = o->fourcc ? o->fourcc : pix->pixelformat;
		pix->width = o->width ? o->width : pix->width;
		pix->height = o->height ? o->height : pix->height;
		pix->field = V4L2_FIELD_ANY;
		pix->bytesperline = pix->sizeimage = 0; /* of the old size */
		err = call(c, VIDIOC_S_FMT, &format);
	}
	if (err)
		return lineup_fail(c->ctx, err, "%s (%s): %s", c->path, c->info.driver,
				   err == -EBUSY ? "in use by somebody else" : strerror(-err));
	return check_format(c, pix, o->fourcc);
}

static int request(struct lineup_capture *c, uint32_t memory, uint32_t count)
{
	struct v4l2_requestbuffers request = { .count = count, .type = TYPE, .memory = memory };
	int err = call(c, VIDIOC_REQBUFS, &request);

	if (err || !count)
		return err;
	if (request.count < LINEUP_CAPTURE_BUFFERS_MIN || request.count > LINEUP_CAPTURE_BUFFERS_MAX)
		return -ENOBUFS;
	c->info.buffers = request.count; /* the driver may want more, or have fewer */
	return 0;
}

static int queue(struct lineup_capture *c, uint32_t index)
{
	bool own = c->info.kind == LINEUP_FRAMES_DEVICE;
	struct v4l2_buffer buffer = { .type = TYPE, .index = index, .memory = own ? V4L2_MEMORY_MMAP : V4L2_MEMORY_DMABUF };
	int err;

	if (!own) {
		buffer.m.fd = c->frame[index]->fd;
		buffer.length = (uint32_t)c->frame[index]->bytes;
	}
	err = call(c, VIDIOC_QBUF, &buffer);
	if (err)
		return err;
	c->queued[index] = true;
	c->queued_count++;
	return 0;
}

/* Undoes what was tried with one kind of memory, so that the next can be. */
static void retreat(struct lineup_capture *c, uint32_t memory)
{
	request(c, memory, 0);
	lineup_frames_destroy(c->frames);
	free(c->frame);
	free(c->queued);
	c->frames = NULL;
	c->frame = NULL;
	c->queued = NULL;
	c->queued_count = 0;
}

static int take_all(struct lineup_capture *c)
{
	int err = lineup_capture_room(c);

	for (uint32_t i = 0; i < c->info.buffers && !err; i++) {
		if (c->frames->ops)
			err = lineup_frame_take(c->frames, &c->frame[i]);
		else
			c->frame[i] = &c->frames->frame[i];
		err = err ? err : queue(c, i);
	}
	return err;
}

static int try_frames(struct lineup_capture *c, const struct lineup_capture_options *o, uint32_t flags,
		      enum lineup_frames_kind kind, char why[LINEUP_WHY_BYTES])
{
	struct lineup_frames_options pool = {
		.kind = kind,
		.frame_bytes = c->info.frame_bytes,
		.flags = o->flags | flags,
		.node = o->node,
		.dma_bits = o->dma_bits,
	};
	int err = request(c, V4L2_MEMORY_DMABUF, o->buffers);

	if (err) {
		snprintf(why, LINEUP_WHY_BYTES, "the device takes no dma-bufs (%s)", strerror(-err));
		return err == -EINVAL ? -ENOTSUP : err;
	}
	pool.count = c->info.buffers;
	c->info.kind = kind;
	err = lineup_frames_try(c->ctx, &pool, &c->frames, why);
	if (err) {
		retreat(c, V4L2_MEMORY_DMABUF);
		/* Runs of that length, which the caller has not asked for, may not be there at all. */
		return flags && (err == -ENOMEM || err == -E2BIG) ? -ENOTSUP : err;
	}
	err = take_all(c);
	if (err) {
		snprintf(why, LINEUP_WHY_BYTES, "the device refuses frames of %s (%s)", lineup_frames_kind_name(kind),
			 strerror(-err));
		retreat(c, V4L2_MEMORY_DMABUF);
		return err == -EINVAL || err == -EFAULT || err == -ENOMEM || err == -EIO ? -ENOTSUP : err;
	}
	return 0;
}

/* The device's own buffers: mapped through it, and exported as dma-bufs where its driver can. */
static int try_own(struct lineup_capture *c, const struct lineup_capture_options *o, char why[LINEUP_WHY_BYTES])
{
	int err = request(c, V4L2_MEMORY_MMAP, o->buffers);

	snprintf(why, LINEUP_WHY_BYTES, "the device has no buffers of its own");
	if (err)
		return err == -EINVAL ? -ENOTSUP : err;
	c->info.kind = LINEUP_FRAMES_DEVICE;
	c->frames = lineup_frames_alloc(c->ctx, c->info.frame_bytes, c->info.buffers);
	if (!c->frames)
		return -ENOMEM;
	c->frames->video = c->fd;
	for (uint32_t i = 0; i < c->info.buffers; i++) {
		struct v4l2_buffer buffer = { .type = TYPE, .memory = V4L2_MEMORY_MMAP, .index = i };
		struct v4l2_exportbuffer export = { .type = TYPE, .index = i, .flags = O_RDWR | O_CLOEXEC };
		struct lineup_frame *frame = &c->frames->frame[i];

		err = call(c, VIDIOC_QUERYBUF, &buffer);
		if (!err && buffer.length < c->info.frame_bytes)
			err = -EPROTO;
		if (err) {
			snprintf(why, LINEUP_WHY_BYTES, "the device's buffer %" PRIu32 ": %s", i, strerror(-err));
			return err;
		}
		frame->bytes = buffer.length;
		frame->offset = buffer.m.offset;
		frame->dma_buf = !call(c, VIDIOC_EXPBUF, &export);
		frame->fd = frame->dma_buf ? export.fd : -1;
	}
	err = take_all(c);
	if (err)
		snprintf(why, LINEUP_WHY_BYTES, "the device refuses its own buffers: %s", strerror(-err));
	return err;
}

/* In the order of preference. Contiguous frames are for devices without scatter-gather. */
static const struct way {
	enum lineup_frames_kind kind;
	uint32_t flags;
} ways[] = {
	{ LINEUP_FRAMES_MODULE, 0 },
	{ LINEUP_FRAMES_MODULE, LINEUP_FRAMES_CONTIGUOUS },
	{ LINEUP_FRAMES_UDMABUF, 0 },
	{ LINEUP_FRAMES_HEAP, 0 },
	{ LINEUP_FRAMES_DEVICE, 0 },
};

static int agree_on_memory(struct lineup_capture *c, const struct lineup_capture_options *o)
{
	char why[LINEUP_WHY_BYTES] = "", first[LINEUP_WHY_BYTES] = "";
	int err = -ENOTSUP;

	for (size_t i = 0; i < ARRAY_SIZE(ways) && (err == -ENOTSUP || err == -EACCES); i++) {
		if (o->kind != LINEUP_FRAMES_AUTO && o->kind != ways[i].kind)
			continue;
		err = ways[i].kind == LINEUP_FRAMES_DEVICE ? try_own(c, o, why)
							   : try_frames(c, o, ways[i].flags, ways[i].kind, why);
		if (!first[0])
			memcpy(first, why, sizeof(first));
	}
	if (err)
		return lineup_fail(c->ctx, err, "%s (%s): no frames: %s", c->path, c->info.driver, why);
	if (o->kind == LINEUP_FRAMES_AUTO && c->info.kind != LINEUP_FRAMES_MODULE)
		lineup_warn_once(c->ctx, LINEUP_ONCE_FRAMES, "%s: %s; using frames of %s", c->path, first,
				 lineup_frames_kind_name(c->info.kind));
	return 0;
}

static int v4l2_start(struct lineup_capture *c, const struct lineup_capture_options *o)
{
	int type = TYPE, err;

	if (o->seed || o->frame_bytes)
		return lineup_fail(c->ctx, -EINVAL, "%s: a seed and a size of frames are for the device edu", c->path);
	err = lineup_device_open(c->ctx, c->path, O_RDWR | O_NONBLOCK);
	if (err < 0)
		return lineup_fail(c->ctx, err, "%s: %s", c->path, strerror(-err));
	c->fd = err;
	err = query(c);
	err = err ? err : set_format(c, o);
	err = err ? err : agree_on_memory(c, o);
	if (err)
		return err;
	err = call(c, VIDIOC_STREAMON, &type);
	if (err)
		return lineup_fail(c->ctx, err, "%s (%s): does not start: %s", c->path, c->info.driver, strerror(-err));
	c->streaming = true;
	return 0;
}

static uint64_t timestamp(const struct v4l2_buffer *buffer)
{
	struct timespec now;

	if ((buffer->flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC)
		return (uint64_t)buffer->timestamp.tv_sec * 1000000000u + (uint64_t)buffer->timestamp.tv_usec * 1000u;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Fewer bytes than the lines of an image take, which only a compressed one may have. */
static bool is_short(const struct lineup_capture *c, const struct lineup_frame *frame, uint32_t bytes)
{
	return !bytes || bytes > frame->bytes || bytes < (uint64_t)c->info.stride * c->info.height;
}

static int dequeue(struct lineup_capture *c, struct lineup_shot *shot)
{
	bool own = c->info.kind == LINEUP_FRAMES_DEVICE;
	struct v4l2_buffer buffer = { .type = TYPE, .memory = own ? V4L2_MEMORY_MMAP : V4L2_MEMORY_DMABUF };
	struct lineup_frame *frame;
	int err = call(c, VIDIOC_DQBUF, &buffer);

	if (err)
		return err;
	if (buffer.index >= c->info.buffers || !c->queued[buffer.index]) {
		c->gone = true;
		return lineup_fail(c->ctx, -EPROTO, "%s (%s): gives buffer %u, which it does not have", c->path, c->info.driver,
				   buffer.index);
	}
	c->queued[buffer.index] = false;
	c->queued_count--;
	frame = c->frame[buffer.index];
	*shot = (struct lineup_shot){
		.frame = frame,
		.index = buffer.index,
		.flags = (buffer.flags & V4L2_BUF_FLAG_ERROR ? LINEUP_SHOT_DAMAGED : 0) |
			 (is_short(c, frame, buffer.bytesused) ? LINEUP_SHOT_SHORT : 0),
		.fourcc = c->info.fourcc,
		.width = c->info.width,
		.height = c->info.height,
		.stride = c->info.stride,
		.bytes = buffer.bytesused < frame->bytes ? buffer.bytesused : frame->bytes,
		.timestamp_ns = timestamp(&buffer),
		.sequence = buffer.sequence,
		.dropped = lineup_capture_gap(c, buffer.sequence),
	};
	return 0;
}

static int v4l2_take(struct lineup_capture *c, uint32_t timeout_ms, struct lineup_shot *shot)
{
	struct pollfd fd = { .fd = c->fd, .events = POLLIN };
	int n = lineup_device_poll(c->ctx, &fd, 1, timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms), err;

	if (n == -EINTR)
		return n;
	if (n < 0)
		return lineup_capture_lost(c, n, "poll");
	if (!n)
		return -ETIMEDOUT;
	err = dequeue(c, shot);
	if (!err || c->gone)
		return err;
	if (err != -EAGAIN)
		return lineup_capture_lost(c, err == -ENXIO ? -ENODEV : err, "while waiting for a frame");
	/* Nothing to dequeue although poll() is awake: with an error it would be awake for ever. */
	if (fd.revents & POLLHUP)
		return lineup_capture_lost(c, -ENODEV, "while waiting for a frame");
	if (fd.revents & (POLLERR | POLLNVAL))
		return lineup_capture_lost(c, -EIO, "the driver reports an error");
	return -ETIMEDOUT;
}

static int v4l2_give(struct lineup_capture *c, uint32_t index)
{
	int err = queue(c, index);

	return err ? lineup_capture_lost(c, err == -ENXIO ? -ENODEV : err, "giving a frame back") : 0;
}

/* After this the driver has no frame any more, wherever it stood. */
static void v4l2_stop(struct lineup_capture *c)
{
	int type = TYPE;

	if (c->fd < 0)
		return;
	if (c->streaming)
		call(c, VIDIOC_STREAMOFF, &type);
	/* Its own buffers cannot be given up before their mappings and exports are; the close does it. */
	if (c->frames && c->info.kind != LINEUP_FRAMES_DEVICE)
		request(c, V4L2_MEMORY_DMABUF, 0);
}

const struct lineup_capture_ops lineup_capture_v4l2 = {
	.start = v4l2_start,
	.take = v4l2_take,
	.give = v4l2_give,
	.stop = v4l2_stop,
};
