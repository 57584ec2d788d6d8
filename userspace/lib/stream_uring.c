// SPDX-License-Identifier: MIT
// The io_uring engine: one ring, the buffers registered as one, the files registered.
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "stream.h"

struct uring {
	struct io_uring ring;
	const int *fds;
	bool fixed_buffer;
	bool fixed_files;
};

static int uring_create(struct lineup_ctx *ctx, const int *fds, unsigned int count, void *memory, size_t size, void **engine)
{
	struct iovec whole = { .iov_base = memory, .iov_len = size };
	struct uring *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	err = io_uring_queue_init(LINEUP_STREAM_DEPTH_MAX, &u->ring, 0);
	if (err) {
		free(u);
		return err;
	}
	u->fds = fds;
	/* Registering saves the kernel work per read, no more: without it everything goes on. */
	err = io_uring_register_buffers(&u->ring, &whole, 1);
	u->fixed_buffer = !err;
	if (err)
		lineup_warn_once(ctx, LINEUP_ONCE_REGISTER,
				 "stream: buffers of %zu MiB are not registered (%s; RLIMIT_MEMLOCK?): reads cost a little more", size >> 20,
				 strerror(-err));
	u->fixed_files = count && !io_uring_register_files(&u->ring, fds, count);
	*engine = u;
	return 0;
}

static int uring_submit(void *engine, const struct lineup_read *read)
{
	struct uring *u = engine;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	int fd = u->fixed_files ? (int)read->file : u->fds[read->file];
	int n;

	if (!sqe)
		return -EBUSY; /* more reads than LINEUP_STREAM_DEPTH_MAX: the stream's mistake */
	if (u->fixed_buffer)
		io_uring_prep_read_fixed(sqe, fd, read->data, read->size, read->offset, 0);
	else
		io_uring_prep_read(sqe, fd, read->data, read->size, read->offset);
	if (u->fixed_files)
		sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = read->slot;
	do
		n = io_uring_submit(&u->ring);
	while (n == -EINTR || n == -EAGAIN);
	return n < 0 ? n : 0;
}

static int uring_wait(void *engine, unsigned int *slot, int *result)
{
	struct uring *u = engine;
	struct io_uring_cqe *cqe;
	int err;

	do
		err = io_uring_wait_cqe(&u->ring, &cqe);
	while (err == -EINTR);
	if (err)
		return err;
	*slot = (unsigned int)cqe->user_data;
	*result = cqe->res;
	io_uring_cqe_seen(&u->ring, cqe);
	return 0;
}

static void uring_destroy(void *engine)
{
	struct uring *u = engine;

	io_uring_queue_exit(&u->ring);
	free(u);
}

const struct lineup_engine lineup_engine_uring = {
	.name = "io_uring",
	.create = uring_create,
	.submit = uring_submit,
	.wait = uring_wait,
	.destroy = uring_destroy,
};
