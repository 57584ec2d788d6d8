/* SPDX-License-Identifier: MIT */
/* Devices without devices: a script of the calls that the capture stage must make, in their order, and what the kernel answers. */
#ifndef MOCK_IOCTL_H
#define MOCK_IOCTL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture.h"

enum mock_what { MOCK_OPEN, MOCK_CLOSE, MOCK_IOCTL, MOCK_POLL, MOCK_MMAP, MOCK_MUNMAP, MOCK_MEMFD };

enum { MOCK_CALLS_MAX = 256, MOCK_DATA_MAX = 256 };

struct mock_call {
	enum mock_what what;
	int fd;
	unsigned long request;
	char path[64];
	size_t size;
	off_t offset;
	bool has_want, has_answer;
	uint8_t want[MOCK_DATA_MAX];
	uint8_t answer[MOCK_DATA_MAX];
	short revents;
	void *memory;
	int result;
};

/*
 * A call that is not the next of the script, or is made with other arguments, fails the test, and so does one that is left over
 * at mock_done. Descriptors are the script's own numbers; nothing real is opened. One thread.
 */
struct mock {
	struct lineup_ctx *ctx;
	struct mock_call call[MOCK_CALLS_MAX];
	size_t count, next;
};

/* @ctx calls the script from now on. */
void mock_init(struct mock *m, struct lineup_ctx *ctx);
/* Everything has happened. The script is empty then. */
void mock_done(struct mock *m);

/* Each appends a call. @result is what it answers: a descriptor, 0, or -errno. */
void mock_open(struct mock *m, const char *path, int result);
void mock_close(struct mock *m, int fd);
/*
 * @want: the bytes that must come in; NULL: any. @answer: those that go out; NULL: unchanged. Both of the size that the
 * request's number tells.
 */
void mock_ioctl(struct mock *m, int fd, unsigned long request, const void *want, const void *answer, int result);
void mock_poll(struct mock *m, int fd, short revents, int result);
void mock_mmap(struct mock *m, int fd, size_t size, off_t offset, void *memory, int result);
void mock_munmap(struct mock *m, void *memory, size_t size);
void mock_memfd(struct mock *m, size_t size, int result);

#endif
