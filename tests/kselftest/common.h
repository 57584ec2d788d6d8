/* SPDX-License-Identifier: MIT */
/*
 * What the kernel tests share: calls that return a descriptor or -errno, patterns, and the kernel's harness with room for a slow
 * machine.
 */
#ifndef COMMON_H
#define COMMON_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lineup.h"
#include "kselftest_harness.h"

/* An emulated machine beside a compiler may need minutes for what takes a second. A hang is still found. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#define PAGE 4096ul
#define WAIT_MS 60000

/* An ioctl that returns 0 (or what it gives) or -errno. */
#define call(fd, nr, arg) (ioctl(fd, nr, arg) < 0 ? -errno : 0)

static inline int lineup_open(void)
{
	int fd = open("/dev/lineup", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* A descriptor with a new pool, or -errno. */
static inline int pool_new(uint64_t frame_bytes, uint32_t frames, uint32_t flags)
{
	struct lineup_pool_create arg = { .frame_bytes = frame_bytes, .frames = frames, .flags = flags, .node = LINEUP_NODE_ANY };
	int fd = lineup_open(), err;

	if (fd < 0)
		return fd;
	err = call(fd, LINEUP_IOC_POOL_CREATE, &arg);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* A frame's dma-buf, or -errno; its id and index go where the pointers say, unless they are NULL. */
static inline int frame_new(int pool, uint64_t *id, uint32_t *index)
{
	struct lineup_frame_get arg = { 0 };
	int err = call(pool, LINEUP_IOC_FRAME_GET, &arg);

	if (err)
		return err;
	if (id)
		*id = arg.frame;
	if (index)
		*index = arg.index;
	return arg.fd;
}

static inline int frame_revoke(int pool, uint64_t id)
{
	struct lineup_frame_revoke arg = { .frame = id };

	return call(pool, LINEUP_IOC_FRAME_REVOKE, &arg);
}

static inline int pool_revoke(int pool)
{
	struct lineup_pool_revoke arg = { 0 };

	return call(pool, LINEUP_IOC_POOL_REVOKE, &arg);
}

/* The descriptor's own pool if id is 0. */
static inline int pool_info(int fd, uint64_t id, struct lineup_pool_info *info)
{
	memset(info, 0, sizeof(*info));
	info->pool = id;
	return call(fd, LINEUP_IOC_POOL_INFO, info);
}

static inline int frame_info(int fd, int frame, struct lineup_frame_info *info)
{
	memset(info, 0, sizeof(*info));
	info->fd = frame;
	return call(fd, LINEUP_IOC_FRAME_INFO, info);
}

static inline int stats_get(int fd, struct lineup_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	return call(fd, LINEUP_IOC_STATS, stats);
}

static inline int heap_new(uint64_t bytes)
{
	struct dma_heap_allocation_data arg = { .len = bytes, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/lineup", O_RDWR | O_CLOEXEC), err;

	if (heap < 0)
		return -errno;
	err = call(heap, DMA_HEAP_IOCTL_ALLOC, &arg);
	close(heap);
	return err ? err : (int)arg.fd;
}

static inline void *map(int fd, size_t bytes, off_t offset)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

static inline int sync_begin(int fd, uint64_t how)
{
	struct dma_buf_sync arg = { .flags = DMA_BUF_SYNC_START | how };

	return call(fd, DMA_BUF_IOCTL_SYNC, &arg);
}

static inline int sync_end(int fd, uint64_t how)
{
	struct dma_buf_sync arg = { .flags = DMA_BUF_SYNC_END | how };

	return call(fd, DMA_BUF_IOCTL_SYNC, &arg);
}

/* poll() of one descriptor: what is ready, 0 if nothing is in time. */
static inline int ready(int fd, short events, int wait_ms)
{
	struct pollfd arg = { .fd = fd, .events = events };

	return poll(&arg, 1, wait_ms) <= 0 ? 0 : arg.revents;
}

/*
 * A word for each place and each seed, by multiplication with an odd number: no two places of a frame look the same, no place is 0
 * unless by chance, and frames of different seeds differ everywhere.
 */
static inline uint32_t word(uint32_t seed, size_t i)
{
	return (uint32_t)(i + 1) * 2654435761u ^ seed * 0x9e3779b1u;
}

static inline void fill(void *to, uint32_t seed, size_t bytes)
{
	volatile uint32_t *p = to;

	for (size_t i = 0; i < bytes / 4; i++)
		p[i] = word(seed, i);
}

/* The first byte that is not as fill() left it, or -1. */
static inline ssize_t differs(const void *from, uint32_t seed, size_t bytes)
{
	const volatile uint32_t *p = from;

	for (size_t i = 0; i < bytes / 4; i++)
		if (p[i] != word(seed, i))
			return i * 4;
	return -1;
}

/* The first byte that is not zero, or -1. */
static inline ssize_t not_zero(const void *from, size_t bytes)
{
	const volatile uint32_t *p = from;

	for (size_t i = 0; i < bytes / 4; i++)
		if (p[i])
			return i * 4;
	return -1;
}

/* A number in a file of the kernel's, or -1. */
static inline long long number_read(const char *path)
{
	char text[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n <= 0 ? -1 : strtoll(text, NULL, 0);
}

static inline int text_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* The exit status of a child, or 256 and its signal. */
static inline int child_end(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static inline void fd_send(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(socket, &msg, 0) != 1)
		abort();
}

static inline int fd_receive(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd;

	if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		return -EIO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/*
 * The last reference of a dma-buf that goes in another task, or by io_uring, is dropped a moment later. Waits until so many
 * frames of the pool are free; false if they do not come.
 */
static inline bool frames_come_back(int pool, uint32_t free)
{
	struct lineup_pool_info info;

	for (int ms = 0; ms < WAIT_MS; ms += 10) {
		if (!pool_info(pool, 0, &info) && info.frames_free >= free)
			return true;
		usleep(10000);
	}
	return false;
}

#endif
