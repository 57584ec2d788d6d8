/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: the lives of pools, frames and fences, refusals, and CPU accesses outside a
 * bracket. No addresses.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM lineup

#if !defined(LINEUP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define LINEUP_TRACE_H

#include <linux/tracepoint.h>

#include "internal.h"

DECLARE_EVENT_CLASS(lineup_pool_class,
	TP_PROTO(const struct lineup_pool *pool),
	TP_ARGS(pool),
	TP_STRUCT__entry(
		__field(u64, pool)
		__field(u64, frame_bytes)
		__field(u32, frames)
		__field(u32, flags)
		__field(u32, dma_bits)
		__field(int, numa_node)
	),
	TP_fast_assign(
		__entry->pool = pool->id;
		__entry->frame_bytes = pool->frame_bytes;
		__entry->frames = pool->frames_count;
		__entry->flags = pool->flags;
		__entry->dma_bits = pool->dma_bits;
		__entry->numa_node = pool->numa_node;
	),
	TP_printk("pool=%llu frames=%u frame_bytes=%llu flags=%#x node=%d dma_bits=%u",
		  __entry->pool, __entry->frames, __entry->frame_bytes, __entry->flags,
		  __entry->numa_node, __entry->dma_bits)
);

DEFINE_EVENT(lineup_pool_class, lineup_pool_created,
	TP_PROTO(const struct lineup_pool *pool),
	TP_ARGS(pool)
);

DEFINE_EVENT(lineup_pool_class, lineup_pool_closed,
	TP_PROTO(const struct lineup_pool *pool),
	TP_ARGS(pool)
);

DEFINE_EVENT(lineup_pool_class, lineup_pool_revoked,
	TP_PROTO(const struct lineup_pool *pool),
	TP_ARGS(pool)
);

DEFINE_EVENT(lineup_pool_class, lineup_pool_gone,
	TP_PROTO(const struct lineup_pool *pool),
	TP_ARGS(pool)
);

TRACE_EVENT(lineup_pool_refused,
	TP_PROTO(unsigned long pages, int error),
	TP_ARGS(pages, error),
	TP_STRUCT__entry(
		__field(unsigned long, pages)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->pages = pages;
		__entry->error = error;
	),
	TP_printk("pages=%lu error=%d", __entry->pages, __entry->error)
);

DECLARE_EVENT_CLASS(lineup_frame_class,
	TP_PROTO(const struct lineup_frame *frame, u64 id),
	TP_ARGS(frame, id),
	TP_STRUCT__entry(
		__field(u64, pool)
		__field(u64, frame)
		__field(u32, index)
	),
	TP_fast_assign(
		__entry->pool = frame->pool->id;
		__entry->frame = id;
		__entry->index = frame->index;
	),
	TP_printk("pool=%llu index=%u frame=%llu", __entry->pool, __entry->index, __entry->frame)
);

DEFINE_EVENT(lineup_frame_class, lineup_frame_out,
	TP_PROTO(const struct lineup_frame *frame, u64 id),
	TP_ARGS(frame, id)
);

DEFINE_EVENT(lineup_frame_class, lineup_frame_held_back,
	TP_PROTO(const struct lineup_frame *frame, u64 id),
	TP_ARGS(frame, id)
);

DEFINE_EVENT(lineup_frame_class, lineup_frame_back,
	TP_PROTO(const struct lineup_frame *frame, u64 id),
	TP_ARGS(frame, id)
);

DEFINE_EVENT(lineup_frame_class, lineup_frame_revoked,
	TP_PROTO(const struct lineup_frame *frame, u64 id),
	TP_ARGS(frame, id)
);

/* The task is in every event's head. */
TRACE_EVENT(lineup_sync_violation,
	TP_PROTO(const struct lineup_frame *frame, unsigned long offset, bool is_write),
	TP_ARGS(frame, offset, is_write),
	TP_STRUCT__entry(
		__field(u64, pool)
		__field(u32, index)
		__field(unsigned long, offset)
		__field(bool, is_write)
	),
	TP_fast_assign(
		__entry->pool = frame->pool->id;
		__entry->index = frame->index;
		__entry->offset = offset;
		__entry->is_write = is_write;
	),
	TP_printk("pool=%llu index=%u offset=%lu %s", __entry->pool, __entry->index,
		  __entry->offset, __entry->is_write ? "write" : "read")
);

DECLARE_EVENT_CLASS(lineup_fence_class,
	TP_PROTO(const struct dma_fence *fence),
	TP_ARGS(fence),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->context = fence->context;
		__entry->error = fence->error;
	),
	TP_printk("context=%llu error=%d", __entry->context, __entry->error)
);

DEFINE_EVENT(lineup_fence_class, lineup_fence_begun,
	TP_PROTO(const struct dma_fence *fence),
	TP_ARGS(fence)
);

DEFINE_EVENT(lineup_fence_class, lineup_fence_ended,
	TP_PROTO(const struct dma_fence *fence),
	TP_ARGS(fence)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
