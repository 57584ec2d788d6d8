/* SPDX-License-Identifier: MIT */
/* The stream stage: delivers the blocks of a snapshot's segments, in order, from a ring of buffers of fixed size. */
#ifndef LINEUP_STREAM_H
#define LINEUP_STREAM_H

#include "gallery.h"

/*
 * A ring of slots, each one block large. A slot goes around:
 *
 *	free --submit--> reading --complete--> ready --next()--> taken --release()--> free, and the next block's read is submitted
 *
 * Reads complete in any order and are handed out in the order of the blocks. One mutex guards the ring; whoever needs a block that is not there yet
 * reaps completions on behalf of all. Verifying and scoring happen outside the mutex, by the thread that took the block.
 *
 * How reads are done is an engine: io_uring, or pread where io_uring is forbidden. Tests bring their own.
 */

enum {
	LINEUP_STREAM_BYTES = 32 << 20,     /* of the ring, unless the caller wants another size */
	LINEUP_STREAM_BYTES_MIN = 4 << 20,
	LINEUP_STREAM_BYTES_MAX = 1 << 30,  /* the kernel registers no larger buffer */
	LINEUP_STREAM_DEPTH_MAX = 32,       /* reads in flight */
	LINEUP_STREAM_SLOTS_MAX = 1024,
};

struct lineup_read {
	unsigned int slot;
	unsigned int file;   /* index in the fds the engine was made with: fd 2 i is segment i's O_DIRECT descriptor, 2 i + 1 its buffered one */
	uint8_t *data;
	uint32_t size;
	uint64_t offset;
};

struct lineup_engine {
	const char *name;
	/* @fds[count] and the ring's memory stay valid until destroy. -EPERM, -ENOSYS, -ENOMEM ...: the next engine is tried. */
	int (*create)(struct lineup_ctx *ctx, const int *fds, unsigned int count, void *memory, size_t size, void **engine);
	/* Queues a read; at most LINEUP_STREAM_DEPTH_MAX are queued at a time. */
	int (*submit)(void *engine, const struct lineup_read *read);
	/* Waits for one completion: the slot, and the bytes read or -errno. */
	int (*wait)(void *engine, unsigned int *slot, int *result);
	void (*destroy)(void *engine);
};

/*
 * Takes the completions of @in_flight reads, of no account any more: the kernel may still write where they go, so that memory is
 * nobody else's before. A wait that fails is tried again for 10 s. Returns how many are in flight even then.
 */
unsigned int lineup_engine_drain(const struct lineup_engine *engine, void *state, unsigned int in_flight);

extern const struct lineup_engine lineup_engine_uring;
extern const struct lineup_engine lineup_engine_pread;

struct lineup_stream_block {
	unsigned int slot;
	uint32_t segment;    /* index in the snapshot */
	uint64_t block;      /* of that segment */
	uint32_t rows;
	const uint8_t *data; /* NULL: the pass has ended */
};

struct lineup_stream;

/*
 * A stream over those segments of @snapshot that are on disk. @engine NULL: the context's, or io_uring, else pread, with a
 * warning once. All memory is allocated here: @bytes for the ring (0: the default). @snapshot is borrowed.
 */
int lineup_stream_create(struct lineup_snapshot *snapshot, uint64_t bytes, const struct lineup_engine *engine, struct lineup_stream **stream);
void lineup_stream_destroy(struct lineup_stream *stream);

/*
 * From the next pass on a block that cannot be read, or not be verified, fails alone: lineup_stream_next returns its error,
 * logged, with @block filled in for lineup_stream_release, its .data not NULL but worthless; later blocks follow. Only what
 * fails the whole stream leaves .data NULL. Between passes.
 */
void lineup_stream_tolerate(struct lineup_stream *stream);

/* Which blocks a pass is about, asked once a block under the stream's mutex: the same answers throughout the pass. */
typedef bool lineup_stream_want_fn(void *arg, uint32_t segment, uint64_t block);

/* Starts a pass over the blocks that @want (NULL: every block) says yes to; the one before must have ended. One thread. */
int lineup_stream_begin(struct lineup_stream *stream, lineup_stream_want_fn *want, void *want_arg);
/*
 * Takes the next block, read but not verified (lineup_stream_verify). Any thread. After an error, every later call returns it too. Each block taken is
 * released once, by any thread.
 */
int lineup_stream_next(struct lineup_stream *stream, struct lineup_stream_block *block);
int lineup_stream_verify(struct lineup_stream *stream, const struct lineup_stream_block *block); /* -EBADMSG, logged; any thread */
void lineup_stream_release(struct lineup_stream *stream, const struct lineup_stream_block *block);
/* Makes every later call of next return @err, and those that wait now; no more reads are begun. Any thread, during a pass. */
void lineup_stream_stop(struct lineup_stream *stream, int err);
/* Ends a pass, early or not, after all taken blocks are released: waits for the reads still in flight. One thread. */
void lineup_stream_end(struct lineup_stream *stream);

uint64_t lineup_stream_pass_bytes(const struct lineup_stream *stream); /* that the last pass has asked for */
const char *lineup_stream_engine(const struct lineup_stream *stream);

/*
 * Where blocks lie, for a device that reads them from there: slot_count slots of slot_bytes each, from @memory on, which has
 * room up to the next multiple of 2 MiB. Each block of a pass lies at the beginning of its .slot. Valid until destroy or
 * lineup_stream_move.
 */
struct lineup_stream_ring {
	uint8_t *memory;
	uint64_t slot_bytes;
	unsigned int slot_count;
};

void lineup_stream_ring(const struct lineup_stream *stream, struct lineup_stream_ring *ring);
/*
 * Reads into @memory from now on, which must have the ring's size, be aligned to pages and stay until the next move or destroy;
 * NULL: back into memory of its own. Between passes. A read shows that the kernel can: -EFAULT and the like, silent, if it
 * cannot; the stream is then where it was. An error of going back is logged and leaves a stream that can only be destroyed.
 */
int lineup_stream_move(struct lineup_stream *stream, void *memory);
/* The ring's own memory stays when the stream is destroyed: a device that does not answer may still read from it. */
void lineup_stream_leave(struct lineup_stream *stream);

#endif
