// SPDX-License-Identifier: MIT
// Snapshots: one state of a gallery, kept by reference for as long as someone searches it.
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

/* With what its segments borrow from. */
struct snapshot {
	struct lineup_snapshot public;
	struct lineup_part **part; /* [segment_count] */
	struct lineup_bits **bits;
};

/* Of the rows of slot @i, those before the mark. */
static uint64_t rows_seen(const struct lineup_state *state, const struct lineup_mark *mark, uint32_t i)
{
	uint32_t segments = state->manifest.head.segments;
	uint64_t rows = state->slot[i].part->segment.rows, first = (uint64_t)(i - segments) * LINEUP_GALLERY_CHUNK_ROWS;

	return i >= segments && mark->journal_rows - first < rows ? mark->journal_rows - first : rows;
}

static struct lineup_bits *bits_seen(const struct lineup_slot *slot)
{
	return slot->staged ? slot->bits_before : slot->bits;
}

static int add_slot(struct snapshot *snapshot, const struct lineup_state *state, const struct lineup_mark *mark, uint32_t i)
{
	const struct lineup_slot *slot = &state->slot[i];
	struct lineup_snapshot *s = &snapshot->public;
	uint64_t rows = rows_seen(state, mark, i);
	struct lineup_bits *bits = bits_seen(slot);
	uint32_t at = s->segment_count;

	if (!rows)
		return 0;
	if (i >= state->manifest.head.segments && rows < LINEUP_GALLERY_CHUNK_ROWS) {
		int err = lineup_part_copy(slot->part, rows, &snapshot->part[at]);

		if (err)
			return err;
	} else {
		snapshot->part[at] = lineup_part_get(slot->part);
	}
	s->segments[at] = snapshot->part[at]->segment;
	s->segment_count++;
	s->rows += s->segments[at].rows;
	if (bits && bits->count) {
		atomic_fetch_add(&bits->references, 1);
		snapshot->bits[at] = bits;
		s->segments[at].deleted = bits->bits;
		s->segments[at].rows_deleted = bits->count;
		s->rows_deleted += bits->count;
	}
	return 0;
}

struct lineup_mark lineup_state_seen(const struct lineup_state *state)
{
	struct lineup_mark mark = {
		.journal_rows = state->journal_rows,
		.ops = state->ops,
		.sequence = state->sequence,
		.template_next = state->template_next,
		.subjects = state->subjects,
		.subject_next = state->subject_next,
		.lists = state->lists,
		.slots = state->slots,
	};

	if (state->marked)
		return state->mark;
	memcpy(mark.digest, state->digest, sizeof(mark.digest));
	return mark;
}

void lineup_state_now(const struct lineup_state *state, struct lineup_gallery_state *now)
{
	struct lineup_mark mark = lineup_state_seen(state);
	uint64_t deleted = 0;

	*now = (struct lineup_gallery_state){
		.sequence = mark.sequence,
		.subjects = mark.subjects,
		.subject_numbers = mark.subject_next,
		.segments = state->manifest.head.segments,
		.lists = mark.lists,
		.journal_bytes = state->journal.frames * LINEUP_FRAME_BYTES,
		.journal_templates = mark.journal_rows,
	};
	for (uint32_t i = 0; i < mark.slots; i++) {
		const struct lineup_bits *bits = bits_seen(&state->slot[i]);

		now->rows += rows_seen(state, &mark, i);
		deleted += bits ? bits->count : 0;
	}
	now->templates = now->rows - deleted;
}

int lineup_state_snapshot(const struct lineup_state *state, struct lineup_ctx *ctx, struct lineup_snapshot **snapshot)
{
	struct lineup_mark mark = lineup_state_seen(state);
	struct snapshot *p = calloc(1, sizeof(*p));
	struct lineup_snapshot *s;
	int err = 0;

	if (!p)
		return -ENOMEM;
	s = &p->public;
	s->ctx = ctx;
	atomic_init(&s->references, 1);
	s->segments = calloc(state->slots + 1, sizeof(*s->segments));
	p->part = calloc(state->slots + 1, sizeof(*p->part));
	p->bits = calloc(state->slots + 1, sizeof(*p->bits));
	if (!s->segments || !p->part || !p->bits)
		err = -ENOMEM;
	s->dim = state->manifest.head.dim;
	s->store = state->manifest.head.store;
	s->sequence = mark.sequence;
	s->template_next = mark.template_next;
	s->subjects = mark.subjects;
	s->subject_next = mark.subject_next;
	s->lists = mark.lists;
	for (uint32_t i = 0; i < mark.lists; i++)
		memcpy(s->list[i], state->list[i].name, sizeof(state->list[i].name));
	memcpy(s->digest, mark.digest, sizeof(s->digest));
	s->journal_bytes = state->journal.frames * LINEUP_FRAME_BYTES;
	s->journal_rows = mark.journal_rows;
	for (uint32_t i = 0; !err && i < mark.slots; i++)
		err = add_slot(p, state, &mark, i);
	if (err)
		lineup_snapshot_put(s);
	else
		*snapshot = s;
	return err;
}

int lineup_snapshot_some(const struct lineup_snapshot *snapshot, uint32_t first, uint32_t count, bool deleted,
			 struct lineup_snapshot **some)
{
	const struct snapshot *from = (const struct snapshot *)snapshot;
	struct snapshot *p = calloc(1, sizeof(*p));
	struct lineup_snapshot *s;

	if (!p)
		return -ENOMEM;
	s = &p->public;
	s->ctx = snapshot->ctx;
	atomic_init(&s->references, 1);
	s->dim = snapshot->dim;
	s->store = snapshot->store;
	s->sequence = snapshot->sequence;
	s->template_next = snapshot->template_next;
	s->subjects = snapshot->subjects;
	s->subject_next = snapshot->subject_next;
	s->lists = snapshot->lists;
	memcpy(s->list, snapshot->list, sizeof(s->list));
	memcpy(s->digest, snapshot->digest, sizeof(s->digest));
	s->segments = calloc(count + 1, sizeof(*s->segments));
	p->part = calloc(count + 1, sizeof(*p->part));
	p->bits = calloc(count + 1, sizeof(*p->bits));
	if (!s->segments || !p->part || !p->bits) {
		lineup_snapshot_put(s);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct lineup_bits *bits = deleted ? from->bits[first + i] : NULL;

		p->part[i] = lineup_part_get(from->part[first + i]);
		s->segments[i] = p->part[i]->segment;
		if (bits) {
			atomic_fetch_add(&bits->references, 1);
			p->bits[i] = bits;
			s->segments[i].deleted = bits->bits;
			s->segments[i].rows_deleted = bits->count;
			s->rows_deleted += bits->count;
		}
		s->rows += s->segments[i].rows;
		s->segment_count++;
	}
	*some = s;
	return 0;
}

void lineup_snapshot_put(struct lineup_snapshot *snapshot)
{
	struct snapshot *p = (struct snapshot *)snapshot;

	if (!snapshot || atomic_fetch_sub(&snapshot->references, 1) != 1)
		return;
	for (uint32_t i = 0; i < snapshot->segment_count; i++) {
		lineup_part_put(p->part[i]);
		lineup_bits_put(p->bits[i]);
	}
	free(p->part);
	free(p->bits);
	free(snapshot->segments);
	free(p);
}
