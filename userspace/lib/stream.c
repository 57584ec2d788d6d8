// SPDX-License-Identifier: MIT
// The ring of blocks: which read goes where, in what order blocks are handed out, and what happens to reads that go wrong.
#include "stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READY, SLOT_TAKEN };

enum { RETRIES_MAX = 16 }; /* of one read that is interrupted or put off, without progress */

struct slot {
	enum slot_state state;
	bool buffered;       /* reads through the page cache: O_DIRECT is missing or refused */
	uint32_t segment;
	uint64_t block;
	uint32_t size;
	uint32_t done;       /* bytes that have arrived */
	unsigned int retries;
	uint8_t *data;
	int error;           /* of a tolerant stream: why the block is not there */
	uint32_t error_at;   /* bytes into the block */
	const char *why;
};

struct lineup_stream {
	struct lineup_ctx *ctx;
	struct lineup_snapshot *snapshot;
	const struct lineup_engine *engine;
	void *engine_state;
	int *fds;
	uint8_t *own;        /* the memory that was allocated for the ring */
	bool left;           /* somebody may go on reading it for ever: it is never freed */
	uint8_t *memory;     /* where the ring is: own, or another's */
	size_t memory_size;
	uint64_t slot_bytes;
	unsigned int slot_count;
	unsigned int depth;  /* reads in flight at most */
	struct slot *slots;
	unsigned int *order; /* [slot_count] slots in the order of their blocks: a queue */
	pthread_mutex_t mutex;
	pthread_cond_t released; /* a taken slot became free */
	lineup_stream_want_fn *want;
	void *want_arg;
	uint64_t bytes;      /* asked for in this pass */
	uint64_t submitted;  /* blocks given to a slot in this pass */
	uint64_t delivered;  /* blocks handed out */
	unsigned int in_flight;
	uint32_t next_segment;
	uint64_t next_block;
	bool tolerant;
	int error;
};

static uint64_t block_offset(const struct lineup_segment *segment, uint64_t block)
{
	return segment->blocks_offset + block * segment->shape.block_bytes;
}

static uint32_t block_rows(const struct lineup_segment *segment, uint64_t block)
{
	uint64_t first = block * segment->shape.block_rows, left = segment->rows - first;

	return (uint32_t)(left < segment->shape.block_rows ? left : segment->shape.block_rows);
}

/* @why NULL: what @err says. */
static int say(struct lineup_stream *stream, int err, const struct slot *slot, uint32_t at, const char *why)
{
	const struct lineup_segment *segment = &stream->snapshot->segments[slot->segment];

	return lineup_fail(stream->ctx, err, "%s: byte %llu: block %llu: %s", segment->path,
			   (unsigned long long)(block_offset(segment, slot->block) + at), (unsigned long long)slot->block, why ? why : strerror(-err));
}

/* @at: bytes into the block. A tolerant stream keeps the failure for the block's turn, and goes on. */
static int fail(struct lineup_stream *stream, int err, struct slot *slot, uint32_t at, const char *why)
{
	if (stream->tolerant) {
		slot->state = SLOT_READY;
		slot->error = err;
		slot->error_at = at;
		slot->why = why;
		return 0;
	}
	if (stream->error) /* the first failure is the one that is told */
		return stream->error;
	stream->error = say(stream, err, slot, at, why);
	return stream->error;
}

/* Asks for what is missing of a slot's block. */
static int submit(struct lineup_stream *stream, unsigned int index)
{
	struct slot *slot = &stream->slots[index];
	const struct lineup_segment *segment = &stream->snapshot->segments[slot->segment];
	struct lineup_read read = {
		.slot = index,
		.file = 2 * slot->segment + slot->buffered,
		.data = slot->data + slot->done,
		.size = slot->size - slot->done,
		.offset = block_offset(segment, slot->block) + slot->done,
	};
	int err = stream->engine->submit(stream->engine_state, &read);

	if (err)
		return fail(stream, err, slot, slot->done, NULL);
	slot->state = SLOT_READING;
	stream->in_flight++;
	return 0;
}

/* Moves next_segment and next_block past what is not on disk or not wanted; false at the end of the pass. */
static bool find_next(struct lineup_stream *stream)
{
	while (stream->next_segment < stream->snapshot->segment_count) {
		const struct lineup_segment *segment = &stream->snapshot->segments[stream->next_segment];

		while (!segment->blocks && stream->next_block < segment->block_count) {
			if (!stream->want || stream->want(stream->want_arg, stream->next_segment, stream->next_block))
				return true;
			stream->next_block++;
		}
		stream->next_segment++;
		stream->next_block = 0;
	}
	return false;
}

/* The one place that bounds the depth: fills free slots with the next blocks. */
static int refill(struct lineup_stream *stream)
{
	for (unsigned int i = 0; i < stream->slot_count && stream->in_flight < stream->depth && find_next(stream); i++) {
		struct slot *slot = &stream->slots[i];
		const struct lineup_segment *segment;
		int err;

		if (slot->state != SLOT_FREE)
			continue;
		segment = &stream->snapshot->segments[stream->next_segment];
		slot->segment = stream->next_segment;
		slot->block = stream->next_block++;
		slot->size = (uint32_t)segment->shape.block_bytes;
		slot->done = 0;
		slot->retries = 0;
		slot->error = 0;
		slot->buffered = segment->fd_direct < 0;
		stream->bytes += slot->size;
		stream->order[stream->submitted++ % stream->slot_count] = i;
		err = submit(stream, i);
		if (err)
			return err;
	}
	return 0;
}

/* Takes one completion: a whole block, a short read that goes on, O_DIRECT refused at the first read, or a failure. */
static int reap(struct lineup_stream *stream)
{
	unsigned int index;
	struct slot *slot;
	int result, err;

	err = stream->engine->wait(stream->engine_state, &index, &result);
	if (err) {
		stream->error = lineup_fail(stream->ctx, err, "stream: waiting for reads (%s): %s", stream->engine->name, strerror(-err));
		return err;
	}
	slot = &stream->slots[index];
	stream->in_flight--;
	slot->state = SLOT_READY; /* not being read; what is wrong with it, if anything, is in stream->error */
	if ((result == -EINTR || result == -EAGAIN) && slot->retries++ < RETRIES_MAX)
		return submit(stream, index);
	if (result == -EINVAL && !slot->buffered) {
		lineup_warn_once(stream->ctx, LINEUP_ONCE_DIRECT, "%s: this file system refuses O_DIRECT reads: reading through the page cache",
				 stream->snapshot->segments[slot->segment].path);
		slot->buffered = true;
		return submit(stream, index);
	}
	if (result < 0)
		return fail(stream, result, slot, slot->done, NULL);
	if (result == 0)
		return fail(stream, -EBADMSG, slot, slot->done, "the file ends here, within a block");
	slot->done += (uint32_t)result;
	slot->retries = 0;
	if (slot->done == slot->size)
		return 0;
	if (slot->done % LINEUP_PAGE_BYTES) /* O_DIRECT could not go on from here */
		slot->buffered = true;
	return submit(stream, index);
}

static int engine_create(struct lineup_stream *stream, const struct lineup_engine *engine)
{
	int err = engine->create(stream->ctx, stream->fds, 2 * stream->snapshot->segment_count, stream->memory, stream->memory_size,
				 &stream->engine_state);

	if (!err)
		stream->engine = engine;
	return err;
}

static void place_slots(struct lineup_stream *stream, uint8_t *memory)
{
	stream->memory = memory;
	for (unsigned int i = 0; i < stream->slot_count; i++)
		stream->slots[i].data = memory + i * stream->slot_bytes;
}

static int choose_engine(struct lineup_stream *stream, const struct lineup_engine *engine)
{
	int err;

	engine = engine ? engine : stream->ctx->engine;
	err = engine_create(stream, engine ? engine : &lineup_engine_uring);

	if (err && !engine) {
		lineup_warn_once(stream->ctx, LINEUP_ONCE_URING, "io_uring is not available here (%s): reading with pread, which is slower",
				 strerror(-err));
		err = engine_create(stream, &lineup_engine_pread);
	}
	if (err)
		return lineup_fail(stream->ctx, err, "stream: cannot start reading: %s", strerror(-err));
	return 0;
}

/* The ring holds the largest block of any segment; all slots have that size. */
static int ring_create(struct lineup_stream *stream, uint64_t bytes)
{
	uint64_t largest = LINEUP_PAGE_BYTES, blocks = 0;

	for (uint32_t i = 0; i < stream->snapshot->segment_count; i++) {
		const struct lineup_segment *segment = &stream->snapshot->segments[i];

		stream->fds[2 * i] = segment->fd_direct;
		stream->fds[2 * i + 1] = segment->fd;
		if (segment->blocks)
			continue;
		if (segment->fd_direct < 0)
			lineup_warn_once(stream->ctx, LINEUP_ONCE_DIRECT, "%s: this file system has no O_DIRECT: reading through the page cache",
					 segment->path);
		blocks += segment->block_count;
		if (segment->shape.block_bytes > largest)
			largest = segment->shape.block_bytes;
	}
	stream->slot_count = (unsigned int)(bytes / largest < LINEUP_STREAM_SLOTS_MAX ? bytes / largest : LINEUP_STREAM_SLOTS_MAX);
	if (stream->slot_count < 2)
		stream->slot_count = 2;
	if (stream->slot_count > blocks + 1)
		stream->slot_count = (unsigned int)blocks + 1;
	stream->depth = stream->slot_count < LINEUP_STREAM_DEPTH_MAX ? stream->slot_count : LINEUP_STREAM_DEPTH_MAX;
	stream->slot_bytes = largest;
	stream->memory_size = stream->slot_count * largest;
	stream->own = lineup_pages_alloc(stream->ctx, stream->memory_size);
	stream->slots = calloc(stream->slot_count, sizeof(*stream->slots));
	stream->order = calloc(stream->slot_count, sizeof(*stream->order));
	if (!stream->own || !stream->slots || !stream->order)
		return lineup_fail(stream->ctx, -ENOMEM, "stream: no memory for a ring of %zu MiB", stream->memory_size >> 20);
	place_slots(stream, stream->own);
	return 0;
}

int lineup_stream_create(struct lineup_snapshot *snapshot, uint64_t bytes, const struct lineup_engine *engine, struct lineup_stream **out)
{
	struct lineup_ctx *ctx = snapshot->ctx;
	struct lineup_stream *stream;
	int err;

	if (!bytes)
		bytes = LINEUP_STREAM_BYTES;
	if (bytes < LINEUP_STREAM_BYTES_MIN || bytes > LINEUP_STREAM_BYTES_MAX)
		return lineup_fail(ctx, -EINVAL, "stream: a ring of %llu bytes: it must have %d MiB to %d MiB", (unsigned long long)bytes,
				   LINEUP_STREAM_BYTES_MIN >> 20, LINEUP_STREAM_BYTES_MAX >> 20);
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return lineup_fail(ctx, -ENOMEM, "stream: no memory");
	pthread_mutex_init(&stream->mutex, NULL);
	pthread_cond_init(&stream->released, NULL);
	stream->ctx = ctx;
	stream->snapshot = snapshot;
	stream->fds = calloc(snapshot->segment_count + 1, 2 * sizeof(*stream->fds));
	err = stream->fds ? ring_create(stream, bytes) : lineup_fail(ctx, -ENOMEM, "stream: no memory");
	if (!err)
		err = choose_engine(stream, engine);
	if (err) {
		lineup_stream_destroy(stream);
		return err;
	}
	*out = stream;
	return 0;
}

void lineup_stream_destroy(struct lineup_stream *stream)
{
	if (!stream)
		return;
	if (stream->engine)
		stream->engine->destroy(stream->engine_state);
	if (!stream->left)
		lineup_pages_free(stream->own, stream->memory_size);
	free(stream->order);
	free(stream->slots);
	free(stream->fds);
	pthread_cond_destroy(&stream->released);
	pthread_mutex_destroy(&stream->mutex);
	free(stream);
}

void lineup_stream_tolerate(struct lineup_stream *stream)
{
	stream->tolerant = true;
}

int lineup_stream_begin(struct lineup_stream *stream, lineup_stream_want_fn *want, void *want_arg)
{
	int err;

	pthread_mutex_lock(&stream->mutex);
	stream->want = want;
	stream->want_arg = want_arg;
	stream->bytes = 0;
	stream->submitted = 0;
	stream->delivered = 0;
	stream->next_segment = 0;
	stream->next_block = 0;
	stream->error = stream->engine ? 0 : -EIO; /* a move that failed both ways has been told */
	err = stream->error ? stream->error : refill(stream);
	pthread_mutex_unlock(&stream->mutex);
	return err;
}

static int next_locked(struct lineup_stream *stream, struct lineup_stream_block *block)
{
	unsigned int index;
	struct slot *slot;
	int err;

	while (!stream->error && stream->delivered == stream->submitted && find_next(stream))
		pthread_cond_wait(&stream->released, &stream->mutex); /* all slots are in other threads' hands */
	if (stream->error)
		return stream->error;
	if (stream->delivered == stream->submitted)
		return 0;
	index = stream->order[stream->delivered % stream->slot_count];
	slot = &stream->slots[index];
	while (slot->state == SLOT_READING) {
		err = reap(stream);
		if (err)
			return err;
		err = refill(stream);
		if (err)
			return err;
	}
	slot->state = SLOT_TAKEN;
	stream->delivered++;
	block->slot = index;
	block->segment = slot->segment;
	block->block = slot->block;
	block->rows = block_rows(&stream->snapshot->segments[slot->segment], slot->block);
	block->data = slot->data;
	return slot->error ? say(stream, slot->error, slot, slot->error_at, slot->why) : 0;
}

int lineup_stream_next(struct lineup_stream *stream, struct lineup_stream_block *block)
{
	int err;

	block->data = NULL;
	pthread_mutex_lock(&stream->mutex);
	err = next_locked(stream, block);
	pthread_mutex_unlock(&stream->mutex);
	return err;
}

int lineup_stream_verify(struct lineup_stream *stream, const struct lineup_stream_block *block)
{
	const struct lineup_segment *segment = &stream->snapshot->segments[block->segment];
	const char *why;
	int err = lineup_block_verify(&segment->shape, block->data, segment->generation, block->block, block->rows, &why);

	if (err && stream->tolerant) {
		err = say(stream, err, &stream->slots[block->slot], 0, why);
	} else if (err) {
		pthread_mutex_lock(&stream->mutex);
		err = stream->error ? stream->error : fail(stream, err, &stream->slots[block->slot], 0, why);
		pthread_mutex_unlock(&stream->mutex);
	}
	return err;
}

void lineup_stream_release(struct lineup_stream *stream, const struct lineup_stream_block *block)
{
	pthread_mutex_lock(&stream->mutex);
	stream->slots[block->slot].state = SLOT_FREE;
	if (!stream->error)
		refill(stream); /* its failure is in stream->error, for the next caller of next() */
	pthread_cond_broadcast(&stream->released);
	pthread_mutex_unlock(&stream->mutex);
}

void lineup_stream_stop(struct lineup_stream *stream, int err)
{
	pthread_mutex_lock(&stream->mutex);
	if (!stream->error)
		stream->error = err;
	pthread_cond_broadcast(&stream->released);
	pthread_mutex_unlock(&stream->mutex);
}

unsigned int lineup_engine_drain(const struct lineup_engine *engine, void *state, unsigned int in_flight)
{
	enum { TRIES_MAX = 10000, PAUSE_NS = 1000000 };
	unsigned int slot;
	int result;

	for (unsigned int tries = 0; in_flight && tries < TRIES_MAX;) {
		if (!engine->wait(state, &slot, &result)) {
			in_flight--;
			continue;
		}
		tries++;
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	return in_flight;
}

void lineup_stream_end(struct lineup_stream *stream)
{
	pthread_mutex_lock(&stream->mutex);
	/* The kernel may still write into the ring: nothing is freed or reused before it is done, whatever has failed. */
	stream->in_flight = lineup_engine_drain(stream->engine, stream->engine_state, stream->in_flight);
	for (unsigned int i = 0; i < stream->slot_count; i++)
		stream->slots[i].state = SLOT_FREE;
	pthread_mutex_unlock(&stream->mutex);
}

uint64_t lineup_stream_pass_bytes(const struct lineup_stream *stream)
{
	return stream->bytes;
}

const char *lineup_stream_engine(const struct lineup_stream *stream)
{
	return stream->engine ? stream->engine->name : "none";
}

void lineup_stream_ring(const struct lineup_stream *stream, struct lineup_stream_ring *ring)
{
	ring->memory = stream->memory;
	ring->slot_bytes = stream->slot_bytes;
	ring->slot_count = stream->slot_count;
}

void lineup_stream_leave(struct lineup_stream *stream)
{
	stream->left = true;
}

/* Whether the first block on disk can be read into the ring where it is now. What it holds, and other failures, are a pass's to tell. */
static int try_read(struct lineup_stream *stream)
{
	const struct lineup_segment *segment;
	struct lineup_read read = { .data = stream->memory };
	unsigned int index;
	int result = 0, err;

	stream->want = NULL;
	stream->next_segment = 0;
	stream->next_block = 0;
	if (!find_next(stream))
		return 0;
	segment = &stream->snapshot->segments[stream->next_segment];
	read.file = 2 * stream->next_segment + (segment->fd_direct < 0);
	read.size = (uint32_t)segment->shape.block_bytes;
	read.offset = block_offset(segment, 0);
	err = stream->engine->submit(stream->engine_state, &read);
	if (!err)
		err = stream->engine->wait(stream->engine_state, &index, &result);
	return err ? err : result == -EFAULT || result == -EOPNOTSUPP ? result : 0;
}

static int start_at(struct lineup_stream *stream, const struct lineup_engine *engine, uint8_t *memory)
{
	if (stream->engine)
		stream->engine->destroy(stream->engine_state);
	stream->engine = NULL;
	place_slots(stream, memory);
	return engine_create(stream, engine);
}

int lineup_stream_move(struct lineup_stream *stream, void *memory)
{
	const struct lineup_engine *engine = stream->engine;
	uint8_t *before = stream->memory, *to = memory ? memory : stream->own;
	int err, err_back;

	if (!engine) /* an earlier move could not go back: said then */
		return -EIO;
	if (to == before)
		return 0;
	err = start_at(stream, engine, to);
	if (!err && memory)
		err = try_read(stream);
	if (!err) {
		if (before == stream->own) /* not used for now: its pages go back to the kernel */
			madvise(stream->own, stream->memory_size, MADV_DONTNEED);
		return 0;
	}
	err_back = memory ? start_at(stream, engine, before) : err;
	if (err_back)
		lineup_fail(stream->ctx, err_back, "stream: cannot start reading again: %s", strerror(-err_back));
	return err;
}
