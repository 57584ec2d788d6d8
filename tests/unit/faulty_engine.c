// SPDX-License-Identifier: MIT
// Reads by pread, one at a time, in an order and with results of the plan's choosing.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faulty_engine.h"

struct faulty_plan faulty_plan;


struct faulty_engine {
	const int *fds;
	struct lineup_read reads[LINEUP_STREAM_DEPTH_MAX];
	uint32_t count;
	uint8_t *memory;
	size_t size;
};

static int faulty_create(struct lineup_ctx *ctx, const int *fds, unsigned int count, void *memory, size_t size, void **engine)
{
	struct faulty_engine *e = calloc(1, sizeof(*e));

	(void)ctx;
	(void)count;
	if (!e)
		return -ENOMEM;
	e->fds = fds;
	e->memory = memory;
	e->size = size;
	faulty_plan.alive++;
	*engine = e;
	return 0;
}

static int faulty_submit(void *engine, const struct lineup_read *read)
{
	struct faulty_engine *e = engine;

	if (faulty_plan.fault == FAULT_SUBMIT && faulty_plan.submits++ == faulty_plan.at)
		return faulty_plan.error;
	if (e->count == LINEUP_STREAM_DEPTH_MAX || read->data < e->memory || read->data + read->size > e->memory + e->size) {
		faulty_plan.wrong = true;
		return -EINVAL;
	}
	e->reads[e->count++] = *read;
	if (e->count > faulty_plan.queued_most)
		faulty_plan.queued_most = e->count;
	return 0;
}

/* What O_DIRECT demands of a read. */
static bool aligned(const struct lineup_read *read)
{
	return !((uintptr_t)read->data % 4096) && !(read->size % 4096) && !(read->offset % 4096);
}

static int faulty_read(const struct faulty_engine *e, const struct lineup_read *read)
{
	uint64_t block = (read->offset - 4096) / faulty_plan.block_bytes;
	uint32_t size = read->size;
	ssize_t n;

	if (!(read->file % 2)) {
		faulty_plan.direct_reads++;
		if (faulty_plan.fault == FAULT_NO_DIRECT || !aligned(read))
			return -EINVAL;
	} else {
		faulty_plan.buffered_reads++;
	}
	if (faulty_plan.fault == FAULT_SHORT_PAGES && size > 4096)
		size = 4096 * (1 + rng_below(&faulty_plan.rng, size / 4096));
	if (faulty_plan.fault == FAULT_SHORT_BYTES)
		size = 1 + rng_below(&faulty_plan.rng, size);
	if (faulty_plan.fault == FAULT_INTERRUPTED && rng_below(&faulty_plan.rng, 2))
		return rng_below(&faulty_plan.rng, 2) ? -EINTR : -EAGAIN;
	if (faulty_plan.fault == FAULT_POSTPONED && block == faulty_plan.at)
		return -EAGAIN;
	if (faulty_plan.fault == FAULT_ERROR && block == faulty_plan.at)
		return faulty_plan.error;
	if (faulty_plan.fault == FAULT_END && block == faulty_plan.at)
		return 0;
	n = pread(e->fds[read->file | 1], read->data, size, (off_t)read->offset);
	if (n < 0)
		return -errno;
	if (faulty_plan.fault == FAULT_CORRUPT && block == faulty_plan.at)
		read->data[rng_below(&faulty_plan.rng, (uint32_t)n)] ^= 0x10;
	return (int)n;
}

/* Completes any of the queued reads: late ones come in no order. */
static int faulty_wait(void *engine, unsigned int *slot, int *result)
{
	struct faulty_engine *e = engine;
	uint32_t i;

	if (!e->count) {
		faulty_plan.wrong = true;
		return -EINVAL;
	}
	if (faulty_plan.fault == FAULT_WAIT && faulty_plan.waits++ == faulty_plan.at)
		return faulty_plan.error;
	i = rng_below(&faulty_plan.rng, e->count);
	*slot = e->reads[i].slot;
	*result = faulty_read(e, &e->reads[i]);
	e->reads[i] = e->reads[--e->count];
	return 0;
}

static void faulty_destroy(void *engine)
{
	faulty_plan.alive--;
	free(engine);
}

const struct lineup_engine faulty_engine = {
	.name = "faulty",
	.create = faulty_create,
	.submit = faulty_submit,
	.wait = faulty_wait,
	.destroy = faulty_destroy,
};

void faulty_plan_begin(enum fault fault, uint64_t at, int error, uint64_t block_bytes)
{
	memset(&faulty_plan, 0, sizeof(faulty_plan));
	faulty_plan.rng.state = test_seed() + fault;
	faulty_plan.fault = fault;
	faulty_plan.at = at;
	faulty_plan.error = error;
	faulty_plan.block_bytes = block_bytes;
}
