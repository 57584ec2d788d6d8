// SPDX-License-Identifier: MIT
// The system's file operations, and whole reads and writes over them.
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "io.h"

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static int system_open(void *arg, int dir, const char *name, int flags, mode_t mode)
{
	(void)arg;
	return result(openat(dir, name, flags | O_CLOEXEC, mode));
}

static int system_close(void *arg, int fd)
{
	(void)arg;
	return result(close(fd));
}

static ssize_t system_pread(void *arg, int fd, void *data, size_t size, off_t offset)
{
	ssize_t n = pread(fd, data, size, offset);

	(void)arg;
	return n < 0 ? -errno : n;
}

static ssize_t system_pwrite(void *arg, int fd, const void *data, size_t size, off_t offset)
{
	ssize_t n = pwrite(fd, data, size, offset);

	(void)arg;
	return n < 0 ? -errno : n;
}

static int system_fdatasync(void *arg, int fd)
{
	(void)arg;
	return result(fdatasync(fd));
}

static int system_fsync(void *arg, int fd)
{
	(void)arg;
	return result(fsync(fd));
}

static int system_ftruncate(void *arg, int fd, off_t size)
{
	(void)arg;
	return result(ftruncate(fd, size));
}

static int system_rename(void *arg, int dir, const char *from, const char *to)
{
	(void)arg;
	return result(renameat(dir, from, dir, to));
}

static int system_unlink(void *arg, int dir, const char *name)
{
	(void)arg;
	return result(unlinkat(dir, name, 0));
}

static int system_mkdir(void *arg, int dir, const char *name, mode_t mode)
{
	(void)arg;
	return result(mkdirat(dir, name, mode));
}

static int system_rmdir(void *arg, int dir, const char *name)
{
	(void)arg;
	return result(unlinkat(dir, name, AT_REMOVEDIR));
}

static int system_flock(void *arg, int fd, int operation)
{
	(void)arg;
	return result(flock(fd, operation));
}

static int system_fstat(void *arg, int fd, struct stat *st)
{
	(void)arg;
	return result(fstat(fd, st));
}

const struct lineup_io lineup_io_system = {
	.open = system_open,
	.close = system_close,
	.pread = system_pread,
	.pwrite = system_pwrite,
	.fdatasync = system_fdatasync,
	.fsync = system_fsync,
	.ftruncate = system_ftruncate,
	.rename = system_rename,
	.unlink = system_unlink,
	.mkdir = system_mkdir,
	.rmdir = system_rmdir,
	.flock = system_flock,
	.fstat = system_fstat,
};

int lineup_io_read(struct lineup_ctx *ctx, int fd, void *data, size_t size, uint64_t offset)
{
	uint8_t *p = data;

	while (size) {
		ssize_t n = ctx->io->pread(ctx->io_arg, fd, p, size, (off_t)offset);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (!n)
			return -ENODATA;
		p += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int lineup_io_write(struct lineup_ctx *ctx, int fd, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *p = data;

	while (size) {
		ssize_t n = ctx->io->pwrite(ctx->io_arg, fd, p, size, (off_t)offset);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (!n)
			return -EIO; /* a write that makes no progress would loop for ever */
		p += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}
