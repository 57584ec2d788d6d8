/* SPDX-License-Identifier: MIT */
/* File operations of the gallery as one table, so that a test can stop, fail or shorten any of them. */
#ifndef LINEUP_IO_H
#define LINEUP_IO_H

#include <sys/stat.h>
#include <sys/types.h>

#include "internal.h"

/*
 * Each entry is the system call of that name with its errors as -errno, no retries; @arg is ctx->io_arg. Only these functions touch a
 * gallery's files; the stream's io_uring reads are the exception and have a table of their own (stream.h).
 */
struct lineup_io {
	int (*open)(void *arg, int dir, const char *name, int flags, mode_t mode); /* openat; always with O_CLOEXEC */
	int (*close)(void *arg, int fd);
	ssize_t (*pread)(void *arg, int fd, void *data, size_t size, off_t offset);
	ssize_t (*pwrite)(void *arg, int fd, const void *data, size_t size, off_t offset);
	int (*fdatasync)(void *arg, int fd);
	int (*fsync)(void *arg, int fd);
	int (*ftruncate)(void *arg, int fd, off_t size);
	int (*rename)(void *arg, int dir, const char *from, const char *to);
	int (*unlink)(void *arg, int dir, const char *name);
	int (*mkdir)(void *arg, int dir, const char *name, mode_t mode);
	int (*rmdir)(void *arg, int dir, const char *name);
	int (*flock)(void *arg, int fd, int operation);
	int (*fstat)(void *arg, int fd, struct stat *st);
};

extern const struct lineup_io lineup_io_system;

/* Whole reads and writes: short ones continue, EINTR retries. 0, -errno, or for a read that meets the end -ENODATA. Silent. */
int lineup_io_read(struct lineup_ctx *ctx, int fd, void *data, size_t size, uint64_t offset);
int lineup_io_write(struct lineup_ctx *ctx, int fd, const void *data, size_t size, uint64_t offset);

#endif
