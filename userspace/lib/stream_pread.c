// SPDX-License-Identifier: MIT
// The pread engine, for where io_uring is forbidden: reads one block at a time, when it is waited for.
#include <stdlib.h>

#include "io.h"
#include "stream.h"

struct queue {
	struct lineup_ctx *ctx;
	const int *fds;
	struct lineup_read reads[LINEUP_STREAM_DEPTH_MAX];
	unsigned int head;
	unsigned int count;
};

static int pread_create(struct lineup_ctx *ctx, const int *fds, unsigned int count, void *memory, size_t size, void **engine)
{
	struct queue *q = calloc(1, sizeof(*q));

	(void)count;
	(void)memory;
	(void)size;
	if (!q)
		return -ENOMEM;
	q->ctx = ctx;
	q->fds = fds;
	*engine = q;
	return 0;
}

static int pread_submit(void *engine, const struct lineup_read *read)
{
	struct queue *q = engine;

	if (q->count == LINEUP_STREAM_DEPTH_MAX)
		return -EBUSY; /* the stream's mistake */
	q->reads[(q->head + q->count++) % LINEUP_STREAM_DEPTH_MAX] = *read;
	return 0;
}

static int pread_wait(void *engine, unsigned int *slot, int *result)
{
	struct queue *q = engine;
	const struct lineup_read *read = &q->reads[q->head];

	if (!q->count)
		return -EINVAL; /* the stream's mistake */
	*slot = read->slot;
	*result = (int)q->ctx->io->pread(q->ctx->io_arg, q->fds[read->file], read->data, read->size, (off_t)read->offset);
	q->head = (q->head + 1) % LINEUP_STREAM_DEPTH_MAX;
	q->count--;
	return 0;
}

static void pread_destroy(void *engine)
{
	free(engine);
}

const struct lineup_engine lineup_engine_pread = {
	.name = "pread",
	.create = pread_create,
	.submit = pread_submit,
	.wait = pread_wait,
	.destroy = pread_destroy,
};
