// SPDX-License-Identifier: MIT
// Capturing from a device: what all sorts of devices have in common.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"

const char *lineup_fourcc_text(uint32_t fourcc, char text[5])
{
	for (unsigned int i = 0; i < 4; i++) {
		char c = (char)(fourcc >> (8 * i));

		text[i] = c;
		if (c < 0x20 || c > 0x7e)
			text[i] = '?';
	}
	text[4] = 0;
	return text;
}

int lineup_capture_lost(struct lineup_capture *capture, int err, const char *what)
{
	capture->gone = true;
	if (err == -ENODEV)
		return lineup_fail(capture->ctx, err, "%s: the device is gone (%s)", capture->path, what);
	return lineup_fail(capture->ctx, err, "%s: %s: %s", capture->path, what, strerror(-err));
}

uint64_t lineup_capture_gap(struct lineup_capture *capture, uint32_t sequence)
{
	uint32_t gap = sequence - capture->sequence_next;
	bool known = capture->began;

	capture->began = true;
	capture->sequence_next = sequence + 1;
	/* Numbers that go back are no gap: the device began again, or does not count at all. */
	return known && gap < UINT32_MAX / 2 ? gap : 0;
}

int lineup_capture_room(struct lineup_capture *capture)
{
	capture->frame = calloc(capture->info.buffers, sizeof(capture->frame[0]));
	capture->queued = calloc(capture->info.buffers, sizeof(capture->queued[0]));
	return capture->frame && capture->queued ? 0 : -ENOMEM;
}

static int check(struct lineup_ctx *ctx, const char *path, struct lineup_capture_options *o)
{
	if (!o->buffers)
		o->buffers = LINEUP_CAPTURE_BUFFERS_DEFAULT;
	if (o->buffers < LINEUP_CAPTURE_BUFFERS_MIN || o->buffers > LINEUP_CAPTURE_BUFFERS_MAX)
		return lineup_fail(ctx, -EINVAL, "%s: %" PRIu32 " buffers; from %d to %d can be had", path, o->buffers,
				   LINEUP_CAPTURE_BUFFERS_MIN, LINEUP_CAPTURE_BUFFERS_MAX);
	if (o->width > LINEUP_CAPTURE_SIDE_MAX || o->height > LINEUP_CAPTURE_SIDE_MAX)
		return lineup_fail(ctx, -EINVAL, "%s: %" PRIu32 " x %" PRIu32 " pixels; at most %d a side", path, o->width,
				   o->height, LINEUP_CAPTURE_SIDE_MAX);
	if (o->kind == LINEUP_FRAMES_MEMORY)
		return lineup_fail(ctx, -EINVAL, "%s: no device fills frames that are no dma-bufs", path);
	return 0;
}

int lineup_capture_open(struct lineup_ctx *ctx, const char *path, const struct lineup_capture_options *options,
			struct lineup_capture **capture)
{
	struct lineup_capture_options o;
	struct lineup_capture *c;
	int err = lineup_options_copy(ctx, "lineup_capture_options", &o, sizeof(o), options);

	err = err ? err : check(ctx, path, &o);
	if (err)
		return err;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->ctx = ctx;
	c->fd = -1;
	c->ops = strcmp(path, "edu") ? &lineup_capture_v4l2 : &lineup_capture_edu;
	c->path = strdup(path);
	err = c->path ? c->ops->start(c, &o) : -ENOMEM;
	if (err) {
		lineup_capture_close(c);
		return err;
	}
	*capture = c;
	return 0;
}

void lineup_capture_close(struct lineup_capture *capture)
{
	if (!capture)
		return;
	capture->ops->stop(capture);
	lineup_frames_destroy(capture->frames);
	lineup_device_close(capture->ctx, capture->fd);
	free(capture->frame);
	free(capture->queued);
	free(capture->path);
	free(capture);
}

void lineup_capture_info(const struct lineup_capture *capture, struct lineup_capture_info *info)
{
	*info = capture->info;
}

int lineup_capture_take(struct lineup_capture *capture, uint32_t timeout_ms, struct lineup_shot *shot)
{
	if (capture->gone)
		return -ENODEV;
	if (!capture->queued_count)
		return lineup_fail(capture->ctx, -EBUSY, "%s: all %" PRIu32 " frames are taken", capture->path,
				   capture->info.buffers);
	return capture->ops->take(capture, timeout_ms, shot);
}

int lineup_capture_give(struct lineup_capture *capture, const struct lineup_shot *shot)
{
	if (capture->gone)
		return -ENODEV;
	if (shot->index >= capture->info.buffers || capture->queued[shot->index])
		return lineup_fail(capture->ctx, -EINVAL, "%s: frame %" PRIu32 " has not been taken", capture->path, shot->index);
	return capture->ops->give(capture, shot->index);
}
