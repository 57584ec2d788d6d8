/* SPDX-License-Identifier: MIT */
/* An engine of the stream stage that does to reads what a plan says: they end early, come late, fail, or are corrupt. */
#ifndef FAULTY_ENGINE_H
#define FAULTY_ENGINE_H

#include "search_bed.h"
#include "stream.h"

enum fault {
	FAULT_NONE,
	FAULT_SHORT_PAGES,   /* every read ends early, at a page */
	FAULT_SHORT_BYTES,   /* every read ends early, anywhere */
	FAULT_INTERRUPTED,   /* every second completion is -EINTR or -EAGAIN */
	FAULT_POSTPONED,     /* read .at completes with -EAGAIN for ever */
	FAULT_ERROR,         /* block .at fails with .error */
	FAULT_CORRUPT,       /* a bit of block .at is wrong */
	FAULT_END,           /* the file ends before block .at, if one believes the read */
	FAULT_NO_DIRECT,     /* O_DIRECT reads are -EINVAL */
	FAULT_WAIT,          /* wait() number .at fails with .error */
	FAULT_SUBMIT,        /* submit() number .at fails with .error */
};

struct faulty_plan {
	enum fault fault;
	uint64_t at;
	int error;
	uint64_t direct_reads;
	uint64_t buffered_reads;
	uint64_t waits;
	uint64_t submits;
	uint32_t queued_most;
	uint32_t alive;      /* engines created and not destroyed */
	bool wrong;          /* the stream broke the engine's rules */
	struct rng rng;
	uint64_t block_bytes; /* of the segments that are read: a read's block follows from it */
};

/* One for the program, since engines are many: all of them follow it. */
extern struct faulty_plan faulty_plan;
extern const struct lineup_engine faulty_engine;

/* A new plan. @block_bytes: of the segments that will be read, which all have blocks of one size. */
void faulty_plan_begin(enum fault fault, uint64_t at, int error, uint64_t block_bytes);

#endif
