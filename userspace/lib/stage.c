// SPDX-License-Identifier: MIT
// Operations between their preparation and their durability: in the state for the one who writes, hidden from everybody else.
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

enum { KEEP_BYTES = 1 << 20 }; /* of memory from one commit to the next */

static void erase(struct lineup_stage *stage)
{
	if (stage->size)
		explicit_bzero(stage->data, stage->size);
	stage->size = 0;
	stage->operations = 0;
	if (stage->size_max <= KEEP_BYTES)
		return;
	free(stage->data);
	stage->data = NULL;
	stage->size_max = 0;
}

/* Room for @more bytes of frames. Not by realloc, which would leave templates behind in freed memory. */
static int grow(struct lineup_stage *stage, size_t more)
{
	size_t size = stage->size_max ? stage->size_max : 4096;
	uint8_t *data;

	if (more <= stage->size_max - stage->size)
		return 0;
	while (size < stage->size + more)
		size *= 2;
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	if (stage->size) {
		memcpy(data, stage->data, stage->size);
		explicit_bzero(stage->data, stage->size);
	}
	free(stage->data);
	stage->data = data;
	stage->size_max = size;
	return 0;
}

int lineup_stage_add(struct lineup_gallery *g, const struct disk_journal_record *record, const struct disk_list *lists,
		     const void *content, const struct lineup_places *places, struct lineup_fault *fault)
{
	static const struct lineup_places none;
	struct lineup_stage *stage = &g->stage;
	struct lineup_state *state = &g->state;
	struct lineup_journal_item item = { .record = record, .lists = lists, .content = content };
	size_t size = lineup_journal_bytes(record);
	int err = grow(stage, size);

	pthread_mutex_lock(&g->mutex);
	if (!state->marked)
		lineup_state_mark(state);
	if (!err)
		err = lineup_state_reserve(state, g->ctx, g->path, record->op.kind == LINEUP_OP_DELETE ? 0 : record->op.rows);
	if (!err)
		err = lineup_state_own(state, places ? places : &none);
	if (err && !stage->operations)
		lineup_state_keep(state);
	pthread_mutex_unlock(&g->mutex);
	if (err)
		return lineup_fault_set(fault, err, "no memory for an operation");
	memset(stage->data + stage->size, 0, size);
	lineup_journal_frames(record, lists, content, state->manifest.head.journal,
			      state->journal.frames + stage->size / LINEUP_FRAME_BYTES, state->journal.batch + 1,
			      stage->data + stage->size);
	stage->size += size;
	stage->operations++;
	pthread_mutex_lock(&g->mutex);
	lineup_state_apply(state, &item, places);
	pthread_mutex_unlock(&g->mutex);
	return 0;
}

int lineup_stage_commit(struct lineup_gallery *g, struct lineup_fault *fault)
{
	struct lineup_journal_end *end = &g->state.journal;
	size_t size = g->stage.size;
	int err;

	if (!g->stage.operations)
		return 0;
	err = lineup_gallery_append(g, g->stage.data, size, fault);
	if (err) {
		lineup_stage_undo(g);
		return err;
	}
	erase(&g->stage);
	pthread_mutex_lock(&g->mutex);
	end->frames += size / LINEUP_FRAME_BYTES;
	end->batch++;
	lineup_state_keep(&g->state);
	lineup_gallery_changed(g);
	pthread_mutex_unlock(&g->mutex);
	return 0;
}

void lineup_stage_undo(struct lineup_gallery *g)
{
	erase(&g->stage);
	pthread_mutex_lock(&g->mutex);
	if (g->state.marked)
		lineup_state_undo(&g->state);
	pthread_mutex_unlock(&g->mutex);
}
