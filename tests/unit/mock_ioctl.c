// SPDX-License-Identifier: MIT
// The script of calls: its making, and the table that plays it.
#include <asm/ioctl.h>
#include <string.h>

#include "mock_ioctl.h"

static const char *const names[] = {
	[MOCK_OPEN] = "open", [MOCK_CLOSE] = "close", [MOCK_IOCTL] = "ioctl", [MOCK_POLL] = "poll",
	[MOCK_MMAP] = "mmap", [MOCK_MUNMAP] = "munmap", [MOCK_MEMFD] = "memfd",
};

static struct mock_call *add(struct mock *m, enum mock_what what, int fd, int result)
{
	struct mock_call *c = &m->call[m->count];

	assert_true(m->count < MOCK_CALLS_MAX);
	m->count++;
	*c = (struct mock_call){ .what = what, .fd = fd, .result = result };
	return c;
}

/* The next call of the script, which must be such a one. */
static const struct mock_call *next(struct mock *m, enum mock_what what, int fd)
{
	const struct mock_call *c = &m->call[m->next];

	if (m->next == m->count)
		fail_msg("%s(%d) after the end of the script, after call %zu", names[what], fd, m->next);
	if (c->what != what || c->fd != fd)
		fail_msg("call %zu: %s(%d) where the script has %s(%d)", m->next, names[what], fd, names[c->what], c->fd);
	m->next++;
	return c;
}

static int play_open(void *arg, const char *path, int flags)
{
	const struct mock_call *c = next(arg, MOCK_OPEN, -1);

	(void)flags;
	assert_string_equal(path, c->path);
	return c->result;
}

static int play_close(void *arg, int fd)
{
	return next(arg, MOCK_CLOSE, fd)->result;
}

static int play_ioctl(void *arg, int fd, unsigned long request, void *data)
{
	struct mock *m = arg;
	size_t at = m->next;
	const struct mock_call *c = next(m, MOCK_IOCTL, fd);

	if (request != c->request)
		fail_msg("call %zu: ioctl number %lu of type '%c' where the script has %lu", at, _IOC_NR(request),
			 (char)_IOC_TYPE(request), _IOC_NR(c->request));
	for (size_t i = 0; c->has_want && i < _IOC_SIZE(request); i++)
		if (((const uint8_t *)data)[i] != c->want[i])
			fail_msg("call %zu: ioctl number %lu: byte %zu is 0x%02x, the script has 0x%02x", at, _IOC_NR(request), i,
				 ((const uint8_t *)data)[i], c->want[i]);
	if (c->has_answer)
		memcpy(data, c->answer, _IOC_SIZE(request));
	return c->result;
}

static int play_poll(void *arg, struct pollfd *fds, unsigned int count, int timeout_ms)
{
	const struct mock_call *c = next(arg, MOCK_POLL, fds[0].fd);

	(void)timeout_ms;
	assert_int_equal(count, 1);
	fds[0].revents = c->revents;
	return c->result;
}

static int play_mmap(void *arg, int fd, size_t size, int protection, off_t offset, void **data)
{
	const struct mock_call *c = next(arg, MOCK_MMAP, fd);

	(void)protection;
	assert_int_equal(size, c->size);
	assert_int_equal(offset, c->offset);
	if (!c->result)
		*data = c->memory;
	return c->result;
}

static int play_munmap(void *arg, void *data, size_t size)
{
	const struct mock_call *c = next(arg, MOCK_MUNMAP, -1);

	assert_ptr_equal(data, c->memory);
	assert_int_equal(size, c->size);
	return 0;
}

static int play_memfd(void *arg, size_t size)
{
	const struct mock_call *c = next(arg, MOCK_MEMFD, -1);

	assert_int_equal(size, c->size);
	return c->result;
}

static const struct lineup_device_io table = {
	.open = play_open,
	.close = play_close,
	.ioctl = play_ioctl,
	.poll = play_poll,
	.mmap = play_mmap,
	.munmap = play_munmap,
	.memfd = play_memfd,
};

void mock_init(struct mock *m, struct lineup_ctx *ctx)
{
	*m = (struct mock){ .ctx = ctx };
	ctx->device_io = &table;
	ctx->device_io_arg = m;
}

void mock_done(struct mock *m)
{
	if (m->next != m->count)
		fail_msg("call %zu of %zu was never made: %s(%d)", m->next, m->count, names[m->call[m->next].what],
			 m->call[m->next].fd);
	m->count = m->next = 0;
}

void mock_open(struct mock *m, const char *path, int result)
{
	struct mock_call *c = add(m, MOCK_OPEN, -1, result);

	assert_true(strlen(path) < sizeof(c->path));
	strcpy(c->path, path);
}

void mock_close(struct mock *m, int fd)
{
	add(m, MOCK_CLOSE, fd, 0);
}

void mock_ioctl(struct mock *m, int fd, unsigned long request, const void *want, const void *answer, int result)
{
	struct mock_call *c = add(m, MOCK_IOCTL, fd, result);

	assert_true(_IOC_SIZE(request) <= MOCK_DATA_MAX);
	c->request = request;
	c->has_want = want;
	c->has_answer = answer;
	if (want)
		memcpy(c->want, want, _IOC_SIZE(request));
	if (answer)
		memcpy(c->answer, answer, _IOC_SIZE(request));
}

void mock_poll(struct mock *m, int fd, short revents, int result)
{
	add(m, MOCK_POLL, fd, result)->revents = revents;
}

void mock_mmap(struct mock *m, int fd, size_t size, off_t offset, void *memory, int result)
{
	struct mock_call *c = add(m, MOCK_MMAP, fd, result);

	c->size = size;
	c->offset = offset;
	c->memory = memory;
}

void mock_munmap(struct mock *m, void *memory, size_t size)
{
	struct mock_call *c = add(m, MOCK_MUNMAP, -1, 0);

	c->memory = memory;
	c->size = size;
}

void mock_memfd(struct mock *m, size_t size, int result)
{
	add(m, MOCK_MEMFD, -1, result)->size = size;
}
