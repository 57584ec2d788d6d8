/* SPDX-License-Identifier: MIT */
/* The capture stage: frames of several kinds, the devices that fill them, and the calls of the kernel behind both as one table. */
#ifndef LINEUP_CAPTURE_H
#define LINEUP_CAPTURE_H

#include <poll.h>
#include <sys/types.h>

#include "internal.h"

enum {
	LINEUP_FRAMES_COUNT_DEFAULT = 8,
	LINEUP_FRAMES_COUNT_MAX = 4096,     /* of a pool */
	LINEUP_CAPTURE_BUFFERS_DEFAULT = 4,
	LINEUP_CAPTURE_BUFFERS_MIN = 2,     /* one at the device while the other is looked at */
	LINEUP_CAPTURE_BUFFERS_MAX = 32,    /* VIDEO_MAX_FRAME */
	LINEUP_CAPTURE_SIDE_MAX = 1 << 16,  /* pixels */
};
#define LINEUP_FRAME_SIZE_MAX (256ull << 20)

/*
 * What capture asks of the kernel. Each entry is the system call of that name with its errors as -errno, no retries; @arg is
 * ctx->device_io_arg. Tests bring a table of their own: then there need be no device.
 */
struct lineup_device_io {
	int (*open)(void *arg, const char *path, int flags); /* always with O_CLOEXEC */
	int (*close)(void *arg, int fd);
	int (*ioctl)(void *arg, int fd, unsigned long request, void *data);
	int (*poll)(void *arg, struct pollfd *fds, unsigned int count, int timeout_ms);
	int (*mmap)(void *arg, int fd, size_t size, int protection, off_t offset, void **data); /* MAP_SHARED */
	int (*munmap)(void *arg, void *data, size_t size);
	int (*memfd)(void *arg, size_t size); /* a memfd of @size bytes that can neither shrink nor grow */
};

extern const struct lineup_device_io lineup_device_io_system;

/*
 * The table of @ctx, called. lineup_device_ioctl retries EINTR: the calls made through it either have not begun then or do not
 * wait.
 */
int lineup_device_open(struct lineup_ctx *ctx, const char *path, int flags);
void lineup_device_close(struct lineup_ctx *ctx, int fd); /* takes -1 */
int lineup_device_ioctl(struct lineup_ctx *ctx, int fd, unsigned long request, void *data);
int lineup_device_poll(struct lineup_ctx *ctx, struct pollfd *fds, unsigned int count, int timeout_ms);
int lineup_device_mmap(struct lineup_ctx *ctx, int fd, size_t size, int protection, off_t offset, void **data);
void lineup_device_munmap(struct lineup_ctx *ctx, void *data, size_t size);
int lineup_device_memfd(struct lineup_ctx *ctx, size_t size);

struct lineup_frame {
	struct lineup_frames *frames;
	int fd;            /* -1: none */
	bool taken;
	bool stuck;        /* the kernel may write to it for ever: it stays taken, and its memory and fd are left alone */
	bool dma_buf;      /* fd is one */
	void *data;        /* NULL: not mapped */
	uint64_t bytes;
	off_t offset;      /* of a LINEUP_FRAMES_DEVICE frame's memory in its device */
};

enum { LINEUP_WHY_BYTES = 160 };

/* A kind of frames. All entries but create may be NULL: then there is nothing to do. Silent. */
struct lineup_frames_ops {
	enum lineup_frames_kind kind;
	uint32_t flags;    /* enum lineup_frames_flags that it knows */
	/*
	 * Reserves frames->count frames of frames->frame_bytes. On failure @why is the reason in words; what was begun is
	 * destroy's to end.
	 */
	int (*create)(struct lineup_frames *frames, const struct lineup_frames_options *options, char why[LINEUP_WHY_BYTES]);
	/* Sees to it that a frame which is not taken has its descriptor. -EAGAIN: none is free. */
	int (*take)(struct lineup_frames *frames, struct lineup_frame *frame);
	void (*put)(struct lineup_frames *frames, struct lineup_frame *frame);
	void (*destroy)(struct lineup_frames *frames);
};

extern const struct lineup_frames_ops lineup_frames_module, lineup_frames_udmabuf, lineup_frames_heap, lineup_frames_memory;

struct lineup_frames {
	struct lineup_ctx *ctx;
	const struct lineup_frames_ops *ops;
	int fd;            /* of the pool, or of the heap; -1: none */
	int video;         /* LINEUP_FRAMES_DEVICE: the device, borrowed */
	uint64_t frame_bytes;
	uint32_t count;
	struct lineup_frame frame[];
};

/* capture_frames.c */

/* An empty pool of @count frames with no ops; silent. */
struct lineup_frames *lineup_frames_alloc(struct lineup_ctx *ctx, uint64_t frame_bytes, uint32_t count);
/* lineup_frames_create for the one kind options->kind, with the reason in @why in place of a message. */
int lineup_frames_try(struct lineup_ctx *ctx, const struct lineup_frames_options *options, struct lineup_frames **frames,
		      char why[LINEUP_WHY_BYTES]);

struct lineup_capture_ops;

struct lineup_capture {
	struct lineup_ctx *ctx;
	const struct lineup_capture_ops *ops;
	char *path;
	int fd;
	struct lineup_frames *frames;
	struct lineup_frame **frame;   /* [info.buffers] by the index the device knows them by */
	bool *queued;                  /* [info.buffers] at the device */
	uint32_t queued_count;
	bool streaming;
	bool gone;                     /* only the close is left */
	bool began;                    /* a shot has been taken: sequence_next is valid */
	uint32_t sequence_next;
	struct lineup_capture_info info;
	void *device;                  /* of ops */
};

/* A sort of device. */
struct lineup_capture_ops {
	int (*start)(struct lineup_capture *capture,
		     const struct lineup_capture_options *options); /* opens, agrees, queues, starts */
	int (*take)(struct lineup_capture *capture, uint32_t timeout_ms, struct lineup_shot *shot);
	int (*give)(struct lineup_capture *capture, uint32_t index);
	void (*stop)(struct lineup_capture *capture); /* takes what start left half done */
};

extern const struct lineup_capture_ops lineup_capture_v4l2, lineup_capture_edu;

/* capture.c */

/* Marks the device as gone, says so and returns @err; "what" is what was tried. */
int lineup_capture_lost(struct lineup_capture *capture, int err, const char *what);
/* The size of the gap before @sequence, as the device counts, and remembers it. */
uint64_t lineup_capture_gap(struct lineup_capture *capture, uint32_t sequence);
/* Room for info.buffers frames. */
int lineup_capture_room(struct lineup_capture *capture);
/* "YUYV"; four characters, what cannot be printed as '?'. */
const char *lineup_fourcc_text(uint32_t fourcc, char text[5]);

#endif
