// SPDX-License-Identifier: MIT
// The system calls of the capture stage, and calls through whichever table the context has.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture.h"

static int system_open(void *arg, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	(void)arg;
	return fd < 0 ? -errno : fd;
}

static int system_close(void *arg, int fd)
{
	(void)arg;
	return close(fd) ? -errno : 0;
}

static int system_ioctl(void *arg, int fd, unsigned long request, void *data)
{
	int r = ioctl(fd, request, data);

	(void)arg;
	return r < 0 ? -errno : r;
}

static int system_poll(void *arg, struct pollfd *fds, unsigned int count, int timeout_ms)
{
	int r = poll(fds, count, timeout_ms);

	(void)arg;
	return r < 0 ? -errno : r;
}

static int system_mmap(void *arg, int fd, size_t size, int protection, off_t offset, void **data)
{
	void *p = mmap(NULL, size, protection, MAP_SHARED, fd, offset);

	(void)arg;
	if (p == MAP_FAILED)
		return -errno;
	*data = p;
	return 0;
}

static int system_munmap(void *arg, void *data, size_t size)
{
	(void)arg;
	return munmap(data, size) ? -errno : 0;
}

static int system_memfd(void *arg, size_t size)
{
	int fd = memfd_create("lineup", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	(void)arg;
	if (fd < 0)
		return -errno;
	/* It may not shrink under a mapping; udmabuf insists on that. */
	if (!ftruncate(fd, (off_t)size) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

const struct lineup_device_io lineup_device_io_system = {
	.open = system_open,
	.close = system_close,
	.ioctl = system_ioctl,
	.poll = system_poll,
	.mmap = system_mmap,
	.munmap = system_munmap,
	.memfd = system_memfd,
};

static const struct lineup_device_io *table(const struct lineup_ctx *ctx)
{
	return ctx->device_io ? ctx->device_io : &lineup_device_io_system;
}

int lineup_device_open(struct lineup_ctx *ctx, const char *path, int flags)
{
	return table(ctx)->open(ctx->device_io_arg, path, flags);
}

void lineup_device_close(struct lineup_ctx *ctx, int fd)
{
	if (fd >= 0)
		table(ctx)->close(ctx->device_io_arg, fd);
}

int lineup_device_ioctl(struct lineup_ctx *ctx, int fd, unsigned long request, void *data)
{
	int r;

	do
		r = table(ctx)->ioctl(ctx->device_io_arg, fd, request, data);
	while (r == -EINTR);
	return r;
}

int lineup_device_poll(struct lineup_ctx *ctx, struct pollfd *fds, unsigned int count, int timeout_ms)
{
	return table(ctx)->poll(ctx->device_io_arg, fds, count, timeout_ms);
}

int lineup_device_mmap(struct lineup_ctx *ctx, int fd, size_t size, int protection, off_t offset, void **data)
{
	return table(ctx)->mmap(ctx->device_io_arg, fd, size, protection, offset, data);
}

void lineup_device_munmap(struct lineup_ctx *ctx, void *data, size_t size)
{
	table(ctx)->munmap(ctx->device_io_arg, data, size);
}

int lineup_device_memfd(struct lineup_ctx *ctx, size_t size)
{
	return table(ctx)->memfd(ctx->device_io_arg, size);
}
