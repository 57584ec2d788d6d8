// SPDX-License-Identifier: MIT
// Frames without the module: memfds, as they are or as dma-bufs by /dev/udmabuf, and buffers of the system's DMA heap.
#include <fcntl.h>
#include <inttypes.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "capture.h"

/* Opens the node that makes dma-bufs. Missing is -ENOTSUP: the next kind may be there. */
static int open_node(struct lineup_frames *frames, const char *path, char why[LINEUP_WHY_BYTES])
{
	int fd = lineup_device_open(frames->ctx, path, O_RDWR);

	if (fd < 0) {
		snprintf(why, LINEUP_WHY_BYTES, "%s: %s", path, strerror(-fd));
		return fd == -ENOENT || fd == -ENODEV || fd == -ENXIO ? -ENOTSUP : fd == -EPERM ? -EACCES : fd;
	}
	frames->fd = fd;
	return 0;
}

static int refused(char why[LINEUP_WHY_BYTES], const char *what, uint32_t index, uint64_t bytes, int err)
{
	snprintf(why, LINEUP_WHY_BYTES, "%s refuses frame %" PRIu32 " of %" PRIu64 " bytes: %s", what, index, bytes,
		 strerror(-err));
	return err;
}

static int memory_create(struct lineup_frames *frames, const struct lineup_frames_options *options, char why[LINEUP_WHY_BYTES])
{
	(void)options;
	for (uint32_t i = 0; i < frames->count; i++) {
		int fd = lineup_device_memfd(frames->ctx, frames->frame_bytes);

		if (fd < 0)
			return refused(why, "memfd", i, frames->frame_bytes, fd);
		frames->frame[i].fd = fd;
	}
	return 0;
}

static int udmabuf_create(struct lineup_frames *frames, const struct lineup_frames_options *options, char why[LINEUP_WHY_BYTES])
{
	int err = open_node(frames, "/dev/udmabuf", why);

	(void)options;
	for (uint32_t i = 0; i < frames->count && !err; i++) {
		struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = frames->frame_bytes };
		int fd, memory = lineup_device_memfd(frames->ctx, frames->frame_bytes);

		if (memory < 0)
			return refused(why, "memfd", i, frames->frame_bytes, memory);
		create.memfd = (uint32_t)memory;
		fd = lineup_device_ioctl(frames->ctx, frames->fd, UDMABUF_CREATE, &create);
		lineup_device_close(frames->ctx, memory); /* the dma-buf holds its pages */
		/* More than its module's size_limit_mb or list_limit: another kind may do that. */
		if (fd < 0)
			return refused(why, "udmabuf", i, frames->frame_bytes, fd) == -EINVAL ? -ENOTSUP : fd;
		frames->frame[i].fd = fd;
		frames->frame[i].dma_buf = true;
	}
	return err;
}

static int heap_create(struct lineup_frames *frames, const struct lineup_frames_options *options, char why[LINEUP_WHY_BYTES])
{
	int err = open_node(frames, "/dev/dma_heap/system", why);

	(void)options;
	for (uint32_t i = 0; i < frames->count && !err; i++) {
		struct dma_heap_allocation_data data = { .len = frames->frame_bytes, .fd_flags = O_RDWR | O_CLOEXEC };

		err = lineup_device_ioctl(frames->ctx, frames->fd, DMA_HEAP_IOCTL_ALLOC, &data);
		if (err)
			return refused(why, "the DMA heap", i, frames->frame_bytes, err);
		frames->frame[i].fd = (int)data.fd;
		frames->frame[i].dma_buf = true;
	}
	return err;
}

const struct lineup_frames_ops lineup_frames_memory = { .kind = LINEUP_FRAMES_MEMORY, .create = memory_create };
const struct lineup_frames_ops lineup_frames_udmabuf = { .kind = LINEUP_FRAMES_UDMABUF, .create = udmabuf_create };
const struct lineup_frames_ops lineup_frames_heap = { .kind = LINEUP_FRAMES_HEAP, .create = heap_create };
