// SPDX-License-Identifier: MIT
// Views and parts: what of the gallery each request sees, what the scan goes round over, and which parts are kept in memory.
#include <stdlib.h>
#include <string.h>

#include "share.h"

/* ---- parts ---- */

static uint64_t part_bytes(const struct lineup_share_part *part)
{
	return part->segment->block_count * part->segment->shape.block_bytes;
}

bool lineup_share_part_resident(const struct lineup_share_part *part)
{
	return part->memory && part->present_count == part->segment->block_count;
}

bool lineup_share_part_wanted(const struct lineup_share *share, const struct lineup_share_part *part)
{
	for (const struct lineup_share_view *view = share->views; view; view = view->next)
		if ((view->members || (view->device_members && !part->covered)) && part->slot < view->slots &&
		    view->segment_of[part->slot] != LINEUP_SHARE_NONE)
			return true;
	return false;
}

static bool fits(const struct lineup_share *share, uint64_t bytes)
{
	if (share->memory_max)
		return share->resident_bytes + bytes <= share->memory_max;
	return share->filling_bytes + bytes <= lineup_search_memory();
}

void lineup_share_part_keep(struct lineup_share *share, struct lineup_share_part *part)
{
	uint64_t bytes = part_bytes(part);

	if (part->memory || share->residency == LINEUP_STREAMED || !fits(share, bytes))
		return;
	if (!part->present)
		part->present = calloc(part->segment->block_count + 1, 1);
	part->memory = part->present ? lineup_pages_alloc(share->ctx, bytes) : NULL;
	if (!part->memory)
		return; /* it streams */
	share->resident_bytes += bytes;
	share->filling_bytes += bytes;
}

void lineup_share_part_filled(struct lineup_share *share, struct lineup_share_part *part, uint64_t block)
{
	if (part->present[block])
		return;
	part->present[block] = 1;
	share->filling_bytes -= part->segment->shape.block_bytes;
	if (++part->present_count == part->segment->block_count)
		share->stream_stale = true;
}

static void part_free(struct lineup_share_part *part)
{
	if (!part)
		return;
	if (part->memory)
		lineup_pages_free(part->memory, part_bytes(part));
	free(part->present);
	lineup_snapshot_put(part->hold);
	free(part);
}

static int slot_of_new(struct lineup_share *share, struct lineup_share_part *part)
{
	struct lineup_share_part **grown;
	uint32_t slot = 0;

	while (slot < share->slots && share->part_by_slot[slot])
		slot++;
	if (slot == share->slots) {
		grown = realloc(share->part_by_slot, (share->slots + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		share->part_by_slot = grown;
		share->slots++;
	}
	part->slot = slot;
	share->part_by_slot[slot] = part;
	return 0;
}

/* A part for segment @index of @snapshot, the last of the circle. */
static struct lineup_share_part *part_create(struct lineup_share *share, const struct lineup_snapshot *snapshot, uint32_t index)
{
	struct lineup_share_part *part = calloc(1, sizeof(*part));

	if (!part || lineup_snapshot_some(snapshot, index, 1, false, &part->hold) || slot_of_new(share, part)) {
		part_free(part);
		return NULL;
	}
	part->segment = &part->hold->segments[0];
	part->prev = share->circle_last;
	if (share->circle_last)
		share->circle_last->next = part;
	else
		share->circle = part;
	share->circle_last = part;
	share->circle_rows += part->segment->rows;
	lineup_share_part_keep(share, part);
	share->stream_stale = true;
	return part;
}

void lineup_share_part_drop(struct lineup_share *share, struct lineup_share_part *part)
{
	if (part->views || part->in_stream)
		return;
	if (share->at == part) {
		share->at = part->next;
		share->at_block = 0;
		share->at_row = 0;
	}
	if (part->prev)
		part->prev->next = part->next;
	else
		share->circle = part->next;
	if (part->next)
		part->next->prev = part->prev;
	else
		share->circle_last = part->prev;
	share->part_by_slot[part->slot] = NULL;
	share->circle_rows -= part->segment->rows;
	if (part->memory) {
		share->resident_bytes -= part_bytes(part);
		share->filling_bytes -= (part->segment->block_count - part->present_count) * part->segment->shape.block_bytes;
		share->room = true;
	}
	part->next = share->trash;
	share->trash = part;
}

void lineup_share_trash_empty(struct lineup_share *share)
{
	struct lineup_share_part *part;

	pthread_mutex_lock(&share->mutex);
	part = share->trash;
	share->trash = NULL;
	pthread_mutex_unlock(&share->mutex);
	while (part) {
		struct lineup_share_part *next = part->next;

		part_free(part);
		part = next;
	}
}

/* ---- views ---- */

static bool same_segment(const struct lineup_segment *a, const struct lineup_segment *b)
{
	return a->generation == b->generation && a->rows == b->rows && a->template_first == b->template_first &&
	       a->template_last == b->template_last && a->file_bytes == b->file_bytes;
}

/* The part that is this segment; the search begins at @hint, since both follow the same order. */
static struct lineup_share_part *part_find(struct lineup_share *share, const struct lineup_segment *segment, struct lineup_share_part *hint)
{
	for (struct lineup_share_part *part = hint; part; part = part->next)
		if (same_segment(part->segment, segment))
			return part;
	for (struct lineup_share_part *part = share->circle; part != hint; part = part->next)
		if (same_segment(part->segment, segment))
			return part;
	return NULL;
}

static void view_free(struct lineup_share *share, struct lineup_share_view *view)
{
	for (uint32_t i = 0; i < view->part_count; i++) {
		view->parts[i]->views--;
		lineup_share_part_drop(share, view->parts[i]);
	}
	lineup_snapshot_put(view->snapshot);
	free(view->parts);
	free(view->segment_of);
	free(view);
}

static int view_parts(struct lineup_share *share, struct lineup_share_view *view)
{
	struct lineup_snapshot *snapshot = view->snapshot;
	struct lineup_share_part *part = share->circle;

	while (view->journal_first < snapshot->segment_count && !snapshot->segments[view->journal_first].blocks)
		view->journal_first++;
	view->parts = calloc(view->journal_first + 1, sizeof(*view->parts));
	if (!view->parts)
		return -ENOMEM;
	for (uint32_t i = 0; i < view->journal_first; i++) {
		struct lineup_share_part *found = part_find(share, &snapshot->segments[i], part);

		part = found ? found : part_create(share, snapshot, i);
		if (!part)
			return -ENOMEM;
		part->views++;
		view->parts[view->part_count++] = part;
		view->rows += part->segment->rows;
		part = part->next;
	}
	view->slots = share->slots;
	view->segment_of = malloc((view->slots + 1) * sizeof(*view->segment_of));
	if (!view->segment_of)
		return -ENOMEM;
	for (uint32_t slot = 0; slot < view->slots; slot++)
		view->segment_of[slot] = LINEUP_SHARE_NONE;
	for (uint32_t i = 0; i < view->part_count; i++)
		view->segment_of[view->parts[i]->slot] = i;
	return 0;
}

static struct lineup_share_view *view_create(struct lineup_share *share, struct lineup_snapshot *snapshot)
{
	struct lineup_share_view *view = calloc(1, sizeof(*view));

	if (!view)
		return NULL;
	view->snapshot = snapshot;
	if (view_parts(share, view)) {
		view->snapshot = NULL; /* the caller's still */
		view_free(share, view);
		return NULL;
	}
	view->next = share->views;
	if (view->next)
		view->next->prev = view;
	share->views = view;
	return view;
}

void lineup_share_view_put(struct lineup_share *share, struct lineup_share_view *view)
{
	if (!view || --view->references)
		return;
	if (view->prev)
		view->prev->next = view->next;
	else
		share->views = view->next;
	if (view->next)
		view->next->prev = view->prev;
	view_free(share, view);
}

/* The share keeps the newest view, so that its parts stay while nobody scans. */
static void become_newest(struct lineup_share *share, struct lineup_share_view *view)
{
	struct lineup_share_view *before = share->newest;

	if (before && before->snapshot->sequence > view->snapshot->sequence)
		return;
	share->newest = view;
	view->references++;
	lineup_share_view_put(share, before);
}

int lineup_share_view_get(struct lineup_share *share, struct lineup_share_view **out)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(share->gallery);
	struct lineup_share_view *view;

	if (!snapshot)
		return -ENOMEM;
	pthread_mutex_lock(&share->mutex);
	view = share->newest;
	if (view && view->snapshot == snapshot) {
		view->references++;
		pthread_mutex_unlock(&share->mutex);
		lineup_snapshot_put(snapshot);
		*out = view;
		return 0;
	}
	view = view_create(share, snapshot); /* the reference is the view's from here */
	if (view) {
		view->references = 1;
		become_newest(share, view);
	}
	pthread_mutex_unlock(&share->mutex);
	if (!view) {
		lineup_fail(share->ctx, -ENOMEM, "share: no memory for the gallery's %u segments", snapshot->segment_count);
		lineup_snapshot_put(snapshot);
		return -ENOMEM;
	}
	*out = view;
	return 0;
}
