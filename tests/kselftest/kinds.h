/* SPDX-License-Identifier: MIT */
/*
 * The fixture "frame": one frame of each kind of pool, taken and mapped, for tests that must hold for all of them; also one of
 * the heap if KINDS_WITH_HEAP is defined, whose pool is nobody's to ask.
 */
#ifndef KINDS_H
#define KINDS_H

#include "common.h"

#define FRAME_BYTES (1ul << 20)
#define FRAMES 2

FIXTURE(frame)
{
	int pool;		/* -1 for the heap */
	int fd;
	uint64_t id;
	uint32_t index;
	uint8_t *at;
};

FIXTURE_VARIANT(frame)
{
	uint32_t flags;
	bool heap;
};

FIXTURE_VARIANT_ADD(frame, scattered) { .flags = 0 };
FIXTURE_VARIANT_ADD(frame, contiguous) { .flags = LINEUP_POOL_CONTIGUOUS };
FIXTURE_VARIANT_ADD(frame, shmem) { .flags = LINEUP_POOL_SHMEM };
FIXTURE_VARIANT_ADD(frame, write_combine) { .flags = LINEUP_POOL_WRITE_COMBINE };
FIXTURE_VARIANT_ADD(frame, sync_check) { .flags = LINEUP_POOL_SYNC_CHECK };
#ifdef KINDS_WITH_HEAP
FIXTURE_VARIANT_ADD(frame, heap) { .heap = true };
#endif

/* Takes a frame and maps it, with a bracket open, so that pools that check brackets let it be used like the others. */
static inline int frame_take(FIXTURE_DATA(frame) *self, const FIXTURE_VARIANT(frame) *variant)
{
	self->fd = variant->heap ? heap_new(FRAME_BYTES) : frame_new(self->pool, &self->id, &self->index);
	if (self->fd < 0)
		return self->fd;
	self->at = map(self->fd, FRAME_BYTES, 0);
	return self->at == MAP_FAILED ? -errno : sync_begin(self->fd, DMA_BUF_SYNC_RW);
}

/* Lets it go; it is back in its pool when this returns, unless somebody else holds it. */
static inline void frame_drop(FIXTURE_DATA(frame) *self)
{
	sync_end(self->fd, DMA_BUF_SYNC_RW);
	munmap(self->at, FRAME_BYTES);
	close(self->fd);
	self->at = MAP_FAILED;
	self->fd = -1;
}

FIXTURE_SETUP(frame)
{
	self->fd = -1;
	self->at = MAP_FAILED;
	self->pool = variant->heap ? -1 : pool_new(FRAME_BYTES, FRAMES, variant->flags);
	if (self->pool == -EOPNOTSUPP && variant->flags & LINEUP_POOL_WRITE_COMBINE)
		SKIP(return, "no write-combined memory here");
	ASSERT_TRUE(variant->heap || self->pool >= 0) TH_LOG("%s", strerror(-self->pool));
	ASSERT_EQ(frame_take(self, variant), 0);
}

FIXTURE_TEARDOWN(frame)
{
	if (self->at != MAP_FAILED)
		munmap(self->at, FRAME_BYTES);
	close(self->fd);
	close(self->pool);
}

#endif
