// SPDX-License-Identifier: MIT
// Passes of the stream for the parts that are not in memory: when one begins, over what, and the blocks it brings.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "share.h"

/* Asked under the stream's mutex. What it looks at changes only while no pass runs. */
static bool want(void *arg, uint32_t segment, uint64_t block)
{
	const struct lineup_share *share = arg;

	(void)block;
	return share->stream_parts[segment]->streamed;
}

static void stream_destroy(struct lineup_share *share)
{
	struct lineup_snapshot *snapshot = share->stream_snapshot;

	lineup_stream_destroy(share->stream);
	share->stream = NULL;
	share->stats.io = "memory";
	for (uint32_t i = 0; snapshot && i < snapshot->segment_count; i++) {
		share->stream_parts[i]->in_stream = false;
		share->stream_parts[i]->streamed = false;
		lineup_share_part_drop(share, share->stream_parts[i]);
	}
	if (snapshot)
		free(snapshot->segments);
	free(snapshot);
	free(share->stream_parts);
	share->stream_snapshot = NULL;
	share->stream_parts = NULL;
}

void lineup_share_stream_end(struct lineup_share *share)
{
	if (share->stream_running)
		lineup_stream_end(share->stream);
	share->stream_running = false;
	share->stream_broken = false;
	stream_destroy(share);
	share->stream_stale = true;
}

/* A stream over all parts that are not in memory. */
static int stream_create(struct lineup_share *share)
{
	struct lineup_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	uint32_t count = 0;
	int err;

	for (struct lineup_share_part *part = share->circle; part; part = part->next)
		count += !lineup_share_part_resident(part);
	share->stream_snapshot = snapshot;
	share->stream_parts = calloc(count + 1, sizeof(*share->stream_parts));
	if (snapshot)
		snapshot->segments = calloc(count + 1, sizeof(*snapshot->segments));
	if (!snapshot || !snapshot->segments || !share->stream_parts) {
		stream_destroy(share);
		return lineup_fail(share->ctx, -ENOMEM, "share: no memory to stream %u segments", count);
	}
	snapshot->ctx = share->ctx;
	snapshot->dim = share->dim;
	snapshot->store = share->store;
	for (struct lineup_share_part *part = share->circle; part; part = part->next) {
		if (lineup_share_part_resident(part))
			continue;
		part->in_stream = true;
		snapshot->segments[snapshot->segment_count] = *part->segment;
		share->stream_parts[snapshot->segment_count++] = part;
	}
	err = lineup_stream_create(snapshot, share->stream_bytes, NULL, &share->stream);
	if (err) {
		stream_destroy(share);
		return err;
	}
	lineup_stream_tolerate(share->stream);
	share->stats.io = lineup_stream_engine(share->stream);
	share->stream_stale = false;
	return 0;
}

static bool pass_is_due(const struct lineup_share *share)
{
	const struct lineup_share_part *at = share->at;

	return share->stream_broken || !at || (!at->streamed && !lineup_share_part_resident(at));
}

/* Ends the pass there is, and begins the next at the cursor, or at the circle's first part if the cursor is past the last one. */
static int begin_pass(struct lineup_share *share)
{
	bool any = false;
	int err = 0;

	/* Blocks that are out may be on their way into memory, and the stream cannot end without them. */
	while (share->taken)
		pthread_cond_wait(&share->changed, &share->mutex);
	if (share->stream_running)
		lineup_stream_end(share->stream);
	share->stream_running = false;
	if (!share->at) {
		share->at = share->circle;
		share->at_block = 0;
		share->at_row = 0;
		share->stats.revolutions++;
	}
	if (share->room)
		for (struct lineup_share_part *part = share->circle; part; part = part->next)
			lineup_share_part_keep(share, part);
	share->room = false;
	if (share->stream && (share->stream_stale || share->stream_broken))
		stream_destroy(share); /* which may move the cursor on, from a part that nobody has any more */
	share->stream_broken = false;
	for (struct lineup_share_part *part = share->circle; part; part = part->next)
		part->streamed = false;
	for (struct lineup_share_part *part = share->at; part; part = part->next) {
		part->streamed = !lineup_share_part_resident(part);
		any = any || part->streamed;
	}
	if (!any)
		return 0;
	if (!share->stream)
		err = stream_create(share);
	if (!err)
		err = lineup_stream_begin(share->stream, want, share);
	share->stream_running = !err;
	if (err)
		for (struct lineup_share_part *part = share->circle; part; part = part->next)
			part->streamed = false;
	return err;
}

static void advance(struct lineup_share *share, struct lineup_share_part *part, uint64_t block)
{
	share->at = part;
	share->at_block = block + 1;
	share->at_row = 0;
	if (share->at_block < part->segment->block_count)
		return;
	share->at = part->next;
	share->at_block = 0;
}

/* Takes a block; the mutex is given up meanwhile. */
static int take(struct lineup_share *share, struct lineup_share_unit *unit)
{
	struct lineup_stream_block *block = &unit->stream_block;
	int err;

	pthread_mutex_unlock(&share->mutex);
	err = lineup_stream_next(share->stream, block);
	if (!err && !block->data)
		err = lineup_fail(share->ctx, -EIO, "share: the stream ended before the scan did");
	if (err)
		snprintf(unit->message, sizeof(unit->message), "%s", lineup_errors_text());
	pthread_mutex_lock(&share->mutex);
	if (!block->data) {
		share->stream_broken = true;
		share->at_block = 0; /* nobody stays who has seen what is before it */
		return err;
	}
	share->taken++;
	unit->streamed = true;
	unit->part = share->stream_parts[block->segment];
	unit->segment = unit->part->segment;
	unit->block = block->block;
	unit->row = 0;
	unit->rows = block->rows;
	unit->data = block->data;
	share->stats.bytes_read += unit->segment->shape.block_bytes;
	advance(share, unit->part, unit->block);
	return err;
}

int lineup_share_fetch(struct lineup_share *share, struct lineup_share_unit *unit)
{
	/* Those who want what is read may go while it is: then nobody may be left who wants anything. */
	while (share->member_count && !share->cull) {
		int err = pass_is_due(share) ? begin_pass(share) : 0;

		if (err)
			snprintf(unit->message, sizeof(unit->message), "%s", lineup_errors_text());
		if (err || !share->at || !share->at->streamed)
			return err;
		err = take(share, unit);
		if (!unit->part || lineup_share_part_wanted(share, unit->part))
			return err;
		pthread_mutex_unlock(&share->mutex);
		lineup_share_release(share, unit);
		pthread_mutex_lock(&share->mutex);
		unit->part = NULL;
	}
	return 0;
}

void lineup_share_release(struct lineup_share *share, struct lineup_share_unit *unit)
{
	if (!unit->streamed)
		return;
	unit->streamed = false;
	lineup_stream_release(share->stream, &unit->stream_block);
	pthread_mutex_lock(&share->mutex);
	share->taken--;
	pthread_cond_broadcast(&share->changed);
	pthread_mutex_unlock(&share->mutex);
}

static int load_block(struct lineup_share *share, struct lineup_stream_block *block)
{
	struct lineup_share_part *part;
	uint64_t bytes;
	int err;

	assert(share->stream_parts);
	part = share->stream_parts[block->segment];
	bytes = part->segment->shape.block_bytes;
	err = lineup_stream_verify(share->stream, block);

	if (!err) {
		memcpy(part->memory + block->block * bytes, block->data, bytes);
		lineup_share_part_filled(share, part, block->block);
		share->stats.bytes_read += bytes;
	}
	lineup_stream_release(share->stream, block);
	return err;
}

int lineup_share_load(struct lineup_share *share)
{
	uint64_t bytes = 0;
	int err;

	for (struct lineup_share_part *part = share->circle; part; part = part->next)
		bytes += part->segment->block_count * part->segment->shape.block_bytes;
	for (struct lineup_share_part *part = share->circle; part; part = part->next)
		if (!part->memory)
			return lineup_fail(share->ctx, -ENOMEM, "resident: the gallery needs %llu MiB, which is over the limit or not to be "
					   "had: search it streamed", (unsigned long long)bytes >> 20);
	err = begin_pass(share);
	while (!err && share->stream_running) {
		struct lineup_stream_block block;

		err = lineup_stream_next(share->stream, &block);
		if (!block.data)
			break;
		if (err)
			lineup_stream_release(share->stream, &block);
		else
			err = load_block(share, &block);
	}
	lineup_share_stream_end(share);
	share->at = NULL;
	return err;
}
