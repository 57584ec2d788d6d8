// SPDX-License-Identifier: MIT
// Blocks into a frame: a pass over a few blocks that has the frame for its ring.
#include "stream_frame.h"

#include <stdlib.h>
#include <string.h>

enum { RETRIES_MAX = 16 };

struct part {
	uint32_t done;
	unsigned int retries;
	bool buffered;
};

struct pass {
	struct lineup_ctx *ctx;
	const struct lineup_segment *segment;
	const struct lineup_engine *engine;
	void *state;
	uint8_t *data;
	uint64_t first;
	uint32_t count;
	struct part *parts;  /* [count] */
	uint32_t submitted, completed, in_flight;
};

static int fail(const struct pass *p, uint32_t part, int err, const char *why)
{
	uint64_t block = p->first + part;

	return lineup_fail(
		p->ctx, err, "%s: byte %llu: block %llu, into a frame: %s", p->segment->path,
		(unsigned long long)(p->segment->blocks_offset + block * p->segment->shape.block_bytes + p->parts[part].done),
		(unsigned long long)block, why);
}

static int submit(struct pass *p, uint32_t part)
{
	uint64_t bytes = p->segment->shape.block_bytes, done = p->parts[part].done;
	struct lineup_read read = {
		.slot = part,
		.file = p->parts[part].buffered,
		.data = p->data + part * bytes + done,
		.size = (uint32_t)(bytes - done),
		.offset = p->segment->blocks_offset + (p->first + part) * bytes + done,
	};
	int err = p->engine->submit(p->state, &read);

	if (err)
		return fail(p, part, err, strerror(-err));
	p->in_flight++;
	return 0;
}

/* What came of a read: it is whole, goes on, is put in another way, or has failed. */
static int handle(struct pass *p, uint32_t part, int result)
{
	struct part *s = &p->parts[part];

	if ((result == -EINTR || result == -EAGAIN) && s->retries++ < RETRIES_MAX)
		return submit(p, part);
	/* -EFAULT: memory without struct pages, as the system's DMA heap maps it; the kernel can still copy there. */
	if ((result == -EINVAL || result == -EFAULT) && !s->buffered) {
		lineup_warn_once(p->ctx, LINEUP_ONCE_FIXED,
				 "%s: cannot be read directly into these frames (%s): reading through the page cache",
				 p->segment->path, strerror(-result));
		s->buffered = true;
		return submit(p, part);
	}
	if (result <= 0)
		return fail(p, part, result ? result : -EBADMSG, result ? strerror(-result) : "the file ends here, within a block");
	s->done += (uint32_t)result;
	s->retries = 0;
	if (s->done < p->segment->shape.block_bytes) {
		s->buffered |= s->done % LINEUP_PAGE_BYTES != 0; /* O_DIRECT could not go on from here */
		return submit(p, part);
	}
	p->completed++;
	return 0;
}

static int read_all(struct pass *p)
{
	unsigned int part;
	int err = 0, result;

	while (!err && p->completed < p->count) {
		while (!err && p->submitted < p->count && p->in_flight < LINEUP_STREAM_DEPTH_MAX)
			err = submit(p, p->submitted++);
		if (err)
			break;
		err = p->engine->wait(p->state, &part, &result);
		if (err) {
			lineup_fail(p->ctx, err, "%s: waiting for reads into a frame: %s", p->segment->path, strerror(-err));
			break;
		}
		p->in_flight--;
		err = handle(p, part, result);
	}
	/* The kernel may still write: the frame is not the caller's before it is done. */
	p->in_flight = lineup_engine_drain(p->engine, p->state, p->in_flight);
	return err;
}

static int verify(const struct pass *p)
{
	const struct lineup_segment *segment = p->segment;

	for (uint32_t i = 0; i < p->count; i++) {
		uint64_t block = p->first + i, left = segment->rows - block * segment->shape.block_rows;
		uint32_t rows = (uint32_t)(left < segment->shape.block_rows ? left : segment->shape.block_rows);
		const char *why;
		int err = lineup_block_verify(&segment->shape, p->data + i * segment->shape.block_bytes, segment->generation, block,
					      rows, &why);

		p->parts[i].done = 0; /* the message is about the block as a whole */
		if (err)
			return fail(p, i, err, why);
	}
	return 0;
}

static int run(struct pass *p, const struct lineup_engine *engine, size_t frame_bytes)
{
	const int fds[] = { p->segment->fd_direct, p->segment->fd };
	int err;

	for (uint32_t i = 0; i < p->count; i++)
		p->parts[i].buffered = p->segment->fd_direct < 0;
	p->engine = engine ? engine : &lineup_engine_uring;
	err = p->engine->create(p->ctx, fds, ARRAY_SIZE(fds), p->data, frame_bytes, &p->state);
	if (err && !engine) {
		lineup_warn_once(p->ctx, LINEUP_ONCE_URING,
				 "io_uring is not available here (%s): reading with pread, which is slower", strerror(-err));
		p->engine = &lineup_engine_pread;
		err = p->engine->create(p->ctx, fds, ARRAY_SIZE(fds), p->data, frame_bytes, &p->state);
	}
	if (err)
		return lineup_fail(p->ctx, err, "stream: cannot start reading: %s", strerror(-err));
	err = read_all(p);
	p->engine->destroy(p->state);
	return err ? err : verify(p);
}

int lineup_stream_frame(struct lineup_snapshot *snapshot, uint32_t segment, uint64_t first, uint32_t count,
			struct lineup_frame *frame, const struct lineup_engine *engine)
{
	struct pass p = { .ctx = snapshot->ctx, .first = first, .count = count };
	int err, end;

	if (segment < snapshot->segment_count)
		p.segment = &snapshot->segments[segment];
	if (!p.segment || p.segment->blocks || !count || first >= p.segment->block_count || count > p.segment->block_count - first)
		return lineup_fail(p.ctx, -EINVAL, "stream: no %u blocks from %llu of segment %u on disk", count,
				   (unsigned long long)first, segment);
	if (count > lineup_frame_bytes(frame) / p.segment->shape.block_bytes)
		return lineup_fail(p.ctx, -EINVAL, "stream: %u blocks do not fit in a frame of %llu bytes", count,
				   (unsigned long long)lineup_frame_bytes(frame));
	err = lineup_frame_map(frame, (void **)&p.data);
	if (err)
		return err;
	p.parts = calloc(count, sizeof(*p.parts));
	if (!p.parts)
		return lineup_fail(p.ctx, -ENOMEM, "stream: no memory");
	err = lineup_frame_begin(frame, LINEUP_FRAME_READ | LINEUP_FRAME_WRITE);
	if (!err) {
		err = run(&p, engine, lineup_frame_bytes(frame));
		end = lineup_frame_end(frame, LINEUP_FRAME_READ | LINEUP_FRAME_WRITE);
		err = err ? err : end;
		frame->stuck = p.in_flight;
	}
	free(p.parts);
	return err;
}
