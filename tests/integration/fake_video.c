// SPDX-License-Identifier: MIT
// Preloaded, it is a V4L2 device /dev/video99 of 64 x 48 grey pixels, whose frames are the file $FAKE_FRAMES; it has buffers of
// its own only.
//
// $FAKE_GAPS, $FAKE_DAMAGED, $FAKE_SHORT are lists of frames, like ",2,5,", before which one is missing, that are marked as
// damaged, that end early.
// After the last frame the device is unplugged if $FAKE_END is "gone", and quiet otherwise.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 64, HEIGHT = 48, BYTES = WIDTH * HEIGHT, BUFFERS = 4, ROOM = 4096 };

int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int ioctl(int fd, unsigned long request, ...);

static int video = -1, frames = -1, memory = -1;
static unsigned int queue[BUFFERS], queued, frame, sequence;

static int in_list(const char *name, unsigned int n)
{
	const char *list = getenv(name);
	char word[16];

	snprintf(word, sizeof(word), ",%u,", n);
	return list && strstr(list, word);
}

static int open_any(const char *path, int flags, mode_t mode)
{
	int (*real)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");

	if (strcmp(path, "/dev/video99"))
		return real(AT_FDCWD, path, flags, mode);
	frames = real(AT_FDCWD, getenv("FAKE_FRAMES"), O_RDONLY | O_CLOEXEC, 0);
	memory = memfd_create("fake", MFD_CLOEXEC);
	video = real(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
	return frames < 0 || ftruncate(memory, BUFFERS * ROOM) ? -1 : video;
}

#define OPEN(name)                                                                                                               \
	int name(const char *path, int flags, ...)                                                                               \
	{                                                                                                                        \
		va_list args;                                                                                                    \
		mode_t mode;                                                                                                     \
                                                                                                                                 \
		va_start(args, flags);                                                                                           \
		mode = va_arg(args, mode_t);                                                                                     \
		va_end(args);                                                                                                    \
		return open_any(path, flags, mode);                                                                              \
	}
OPEN(open)
OPEN(open64)

int __open_2(const char *path, int flags)
{
	return open_any(path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return open_any(path, flags, 0);
}

static void *map(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	static void *(*real)(void *, size_t, int, int, int, off_t);

	if (!real)
		real = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
	return real(address, size, protection, flags, fd >= 0 && fd == video ? memory : fd, offset);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	return map(address, size, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset)
{
	return map(address, size, protection, flags, fd, offset);
}

static int more(void)
{
	return lseek(frames, 0, SEEK_END) >= (off_t)(frame + 1) * BYTES;
}

static int gone(void)
{
	return getenv("FAKE_END") && !strcmp(getenv("FAKE_END"), "gone");
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int (*real)(struct pollfd *, nfds_t, int) = (int (*)(struct pollfd *, nfds_t, int))dlsym(RTLD_NEXT, "poll");

	if (video < 0 || count != 1 || fds[0].fd != video)
		return real(fds, count, timeout);
	if (!more() && !gone())
		return real(NULL, 0, timeout);
	fds[0].revents = (short)(more() ? POLLIN : POLLIN | POLLERR | POLLHUP);
	return 1;
}

static int dequeue(struct v4l2_buffer *b)
{
	uint8_t image[BYTES];

	if (!more())
		return gone() ? ENODEV : EAGAIN;
	if (!queued)
		return EAGAIN;
	*b = (struct v4l2_buffer){ .type = b->type, .memory = b->memory, .index = queue[0], .bytesused = BYTES };
	memmove(queue, queue + 1, --queued * sizeof(queue[0]));
	if (pread(frames, image, BYTES, (off_t)frame * BYTES) != BYTES || pwrite(memory, image, BYTES, b->index * ROOM) != BYTES)
		return EIO;
	sequence += (unsigned int)in_list("FAKE_GAPS", frame);
	b->sequence = sequence++;
	b->flags = in_list("FAKE_DAMAGED", frame) ? V4L2_BUF_FLAG_ERROR : 0;
	b->bytesused -= in_list("FAKE_SHORT", frame) ? 1 : 0;
	frame++;
	return 0;
}

static int answer(unsigned long request, void *data)
{
	struct v4l2_capability *cap = data;
	struct v4l2_format *format = data;
	struct v4l2_requestbuffers *r = data;
	struct v4l2_buffer *b = data;

	switch (request) {
	case VIDIOC_QUERYCAP:
		*cap = (struct v4l2_capability){
			.driver = "fake", .card = "a fake camera", .capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING,
		};
		return 0;
	case VIDIOC_G_FMT:
	case VIDIOC_S_FMT:
		format->fmt.pix = (struct v4l2_pix_format){ .width = WIDTH,
							    .height = HEIGHT,
							    .pixelformat = V4L2_PIX_FMT_GREY,
							    .bytesperline = WIDTH,
							    .sizeimage = BYTES };
		return 0;
	case VIDIOC_REQBUFS:
		r->count = r->count ? BUFFERS : 0;
		return r->memory == V4L2_MEMORY_MMAP ? 0 : EINVAL;
	case VIDIOC_QUERYBUF:
		b->length = ROOM;
		b->m.offset = b->index * ROOM;
		return 0;
	case VIDIOC_QBUF:
		queue[queued++] = b->index;
		return 0;
	case VIDIOC_DQBUF: return dequeue(b);
	case VIDIOC_STREAMON:
	case VIDIOC_STREAMOFF: return 0;
	}
	return ENOTTY;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	va_list args;
	void *data;

	va_start(args, request);
	data = va_arg(args, void *);
	va_end(args);
	if (video < 0 || fd != video)
		return real(fd, request, data);
	errno = answer(request, data);
	return errno ? -1 : 0;
}
