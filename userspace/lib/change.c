// SPDX-License-Identifier: MIT
// Replacing a gallery's files: the journal sealed into a segment, small segments merged, deleted rows dropped, old files wiped.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

enum { PACED_PIECE_BYTES = 256 << 10, PACED_SYNC_BYTES = 16 << 20 };

int lineup_change_begin(struct lineup_change *change, struct lineup_gallery *gallery, struct lineup_fault *fault)
{
	return lineup_change_from(change, gallery, &gallery->state, fault);
}

int lineup_change_from(struct lineup_change *change, struct lineup_gallery *gallery, const struct lineup_state *s,
		       struct lineup_fault *fault)
{
	struct lineup_manifest *m = &change->manifest;

	memset(change, 0, sizeof(*change));
	m->segment = calloc(LINEUP_SEGMENTS_MAX, sizeof(*m->segment));
	if (!m->segment)
		return lineup_fault_set(fault, -ENOMEM, "no memory to write a segment");
	change->gallery = gallery;
	change->state = s;
	change->files = gallery->files;
	m->head = s->manifest.head;
	m->head.segments = 0;
	m->head.template_next = s->template_next;
	m->head.sequence = s->sequence;
	m->head.subjects = s->subjects;
	m->head.subject_next = s->subject_next;
	m->head.lists = s->lists;
	memcpy(m->head.digest, s->digest, sizeof(m->head.digest));
	memcpy(m->list, s->list, sizeof(m->list));
	return 0;
}

uint32_t lineup_change_generation(struct lineup_change *change)
{
	struct lineup_gallery *g = change->gallery;
	struct disk_manifest *head = &change->manifest.head;
	uint64_t generation;

	/* Two changes may be under way, one of them beside the writer. */
	pthread_mutex_lock(&g->mutex);
	if (g->generation_next < head->generation_next)
		g->generation_next = head->generation_next;
	generation = g->generation_next++;
	pthread_mutex_unlock(&g->mutex);
	head->generation_next = generation + 1;
	return (uint32_t)generation;
}

int lineup_change_made(struct lineup_change *change, const char *name, struct lineup_fault *fault)
{
	if (change->mades == change->mades_max) {
		uint32_t more = change->mades_max ? change->mades_max * 2 : 16;
		void *p = reallocarray(change->made, more, sizeof(*change->made));

		if (!p)
			return lineup_fault_set(fault, -ENOMEM, "no memory");
		change->made = p;
		change->mades_max = more;
	}
	memset(change->made[change->mades], 0, sizeof(*change->made));
	memcpy(change->made[change->mades], name, strlen(name));
	change->mades++;
	return 0;
}

int lineup_change_segment(struct lineup_change *change, const struct disk_manifest_segment *entry, struct lineup_fault *fault)
{
	struct disk_manifest *head = &change->manifest.head;

	if (head->segments == LINEUP_SEGMENTS_MAX)
		return lineup_fault_set(fault, -ENOSPC, "it has %d segments, no more are possible; compact it",
					LINEUP_SEGMENTS_MAX);
	change->manifest.segment[head->segments++] = *entry;
	return 0;
}

static uint64_t live_rows(const struct lineup_slot *slot)
{
	return slot->part->segment.rows - (slot->bits ? slot->bits->count : 0);
}

/* Appends the operations of segment @slot to *@ops. */
static int gather_ops(struct lineup_change *change, const struct lineup_segment *segment, struct disk_op *ops,
		      struct lineup_fault *fault)
{
	struct lineup_pages pages;
	int err = 0;

	lineup_pages_ops(&pages, change->gallery->ctx, segment);
	for (uint64_t i = 0; !err && i < segment->ops; i++) {
		const void *entry = NULL;

		err = lineup_pages_entry(&pages, i, &entry, fault);
		if (!err)
			memcpy(&ops[i], entry, sizeof(*ops));
	}
	return err;
}

/* Beside the writer: what was copied counts, and goes to the disk bit by bit, as a sync of all of it would hold the writer's up. */
static int spend(struct lineup_change *change, struct lineup_segment_writer *writer, uint64_t rows_read, uint64_t rows_written,
		 struct lineup_fault *fault)
{
	const struct lineup_files *files = &change->files;
	const struct lineup_shape *shape = &writer->shape;
	uint64_t written = rows_written * (shape->record_bytes + shape->block_bytes / shape->block_rows);
	int err = 0;

	change->unsynced += written;
	if (change->unsynced >= PACED_SYNC_BYTES) {
		change->unsynced = 0;
		err = files->ctx->io->fdatasync(files->ctx->io_arg, writer->fd);
		if (err)
			return lineup_fault_io(fault, err, writer->name, "sync");
	}
	files->pace->done = change->done;
	err = lineup_pace_spend(files->pace, rows_read * shape->record_bytes + written);
	return err ? lineup_fault_set(fault, err, "stopped") : 0;
}

/* Copies the rows of @slot that are not deleted. */
static int copy_rows(struct lineup_change *change, struct lineup_segment_writer *writer, const struct lineup_slot *slot,
		     uint8_t *records, uint64_t *hashes, struct lineup_fault *fault)
{
	const struct lineup_segment *s = &slot->part->segment;
	uint64_t bytes = change->files.pace ? PACED_PIECE_BYTES : LINEUP_GALLERY_PIECE_BYTES;
	uint64_t piece = bytes / s->shape.record_bytes;
	int err = 0;

	for (uint64_t first = 0; !err && first < s->rows; first += piece) {
		uint64_t count = s->rows - first < piece ? s->rows - first : piece, kept = 0;

		err = lineup_segment_records(change->gallery->ctx, s, first, count, records, fault);
		for (uint64_t i = 0; !err && i < count; i++) {
			uint8_t *from = records + i * s->shape.record_bytes, *to = records + kept * s->shape.record_bytes;
			const struct disk_record *r = (const void *)to;

			if (slot->bits && slot->bits->bits[(first + i) / 8] >> (first + i) % 8 & 1)
				continue;
			if (from != to)
				memcpy(to, from, s->shape.record_bytes);
			hashes[kept++] = lineup_name_hash(r->name, r->name_bytes);
		}
		if (!err)
			err = lineup_segment_put(writer, records, hashes, kept, fault);
		change->done += count;
		change->rows_dropped += count - kept;
		if (!err && change->progress && !change->progress(change->progress_arg, change->done, change->total))
			err = lineup_fault_set(fault, -ECANCELED, "stopped");
		if (!err && change->files.pace)
			err = spend(change, writer, count, kept, fault);
	}
	return err;
}

int lineup_change_rewrite(struct lineup_change *change, uint32_t first, uint32_t end, bool journal, struct lineup_fault *fault)
{
	const struct lineup_state *state = change->state;
	struct lineup_segment_writer writer = { .fd = -1 };
	uint64_t rows = 0, ops_count = journal ? state->ops : 0, at = 0;
	uint64_t template_next = first < end ? state->slot[first].part->segment.template_first : state->template_next;
	struct disk_manifest_segment entry;
	uint8_t *records = malloc(LINEUP_GALLERY_PIECE_BYTES);
	uint64_t *hashes = malloc(LINEUP_GALLERY_PIECE_BYTES / sizeof(struct disk_record) * sizeof(*hashes));
	struct lineup_pool *pool = NULL;
	struct disk_op *ops;
	char name[LINEUP_GALLERY_NAME_BYTES];
	int err = 0;

	for (uint32_t i = first; i < end; i++) {
		rows += live_rows(&state->slot[i]);
		ops_count += state->slot[i].part->segment.ops;
	}
	ops = calloc(ops_count + 1, sizeof(*ops));
	if (!records || !hashes || !ops)
		err = lineup_fault_set(fault, -ENOMEM, "no memory to write a segment");
	for (uint32_t i = first; !err && i < end; i++) {
		err = gather_ops(change, &state->slot[i].part->segment, ops + at, fault);
		at += state->slot[i].part->segment.ops;
	}
	if (journal && !err && state->ops)
		memcpy(ops + at, state->op, state->ops * sizeof(*ops));
	if (!err && (rows || ops_count))
		err = lineup_segment_create(&writer, &change->files, &change->manifest.head,
					    lineup_change_generation(change), rows, fault);
	if (!err && rows > LINEUP_GALLERY_CHUNK_ROWS && !change->files.pace)
		writer.pool = pool = lineup_gallery_pool();
	for (uint32_t i = first; !err && i < end; i++)
		err = copy_rows(change, &writer, &state->slot[i], records, hashes, fault);
	if (!err && writer.fd >= 0) {
		memcpy(name, writer.name, sizeof(name));
		err = lineup_segment_finish(&writer, ops, ops_count, template_next, &entry, fault);
		if (!err)
			err = lineup_change_made(change, name, fault);
		if (!err)
			err = lineup_change_segment(change, &entry, fault);
	}
	lineup_segment_fini(&writer);
	lineup_pool_destroy(pool);
	free(records);
	free(hashes);
	free(ops);
	return err;
}

int lineup_change_deleted(struct lineup_change *change, const struct lineup_bits *bits, struct disk_manifest_segment *entry,
			 struct lineup_fault *fault)
{
	struct disk_deleted head = {
		.version = LINEUP_FORMAT_VERSION, .segment = entry->generation, .rows = entry->rows, .rows_deleted = bits->count
	};
	size_t bits_size = (entry->rows + 7) / 8, size = sizeof(head) + bits_size;
	char name[LINEUP_GALLERY_NAME_BYTES];
	uint8_t *data = malloc(size);
	int err;

	if (!data)
		return lineup_fault_set(fault, -ENOMEM, "no memory for deleted rows");
	memcpy(head.magic, "LINEUPDL", sizeof(head.magic));
	memcpy(head.uuid, change->manifest.head.uuid, sizeof(head.uuid));
	head.generation = entry->deleted_generation = lineup_change_generation(change);
	entry->rows_deleted = bits->count;
	memcpy(data, &head, sizeof(head));
	memcpy(data + sizeof(head), bits->bits, bits_size);
	head.crc = lineup_crc32c(0, data, size);
	memcpy(data, &head, sizeof(head));
	lineup_files_name(name, "deleted", head.generation);
	err = lineup_files_write(&change->files, name, data, size, fault);
	free(data);
	return err ? err : lineup_change_made(change, name, fault);
}

/* Segment @i stays as it is, but for what has been deleted in it. */
static int keep(struct lineup_change *change, uint32_t i, struct lineup_fault *fault)
{
	const struct lineup_state *state = change->state;
	struct disk_manifest_segment entry = state->manifest.segment[i];
	int err = state->slot[i].bits_changed ? lineup_change_deleted(change, state->slot[i].bits, &entry, fault) : 0;

	return err ? err : lineup_change_segment(change, &entry, fault);
}

int lineup_change_seal(struct lineup_change *change, struct lineup_fault *fault)
{
	const struct lineup_state *state = change->state;
	uint32_t first = state->manifest.head.segments;
	uint64_t rows = 0;
	int err = 0;

	for (uint32_t i = first; i < state->slots; i++)
		rows += live_rows(&state->slot[i]);
	/*
	 * Like carrying in a binary counter: each row is rewritten a logarithmic number of times. In a gallery that is maintained that is left to
	 * who maintains it, who may be at it at this moment.
	 */
	while (state->ops && first && !change->gallery->maintained && !change->files.pace && state->slot[first - 1].part->segment.rows <= rows &&
	       rows + live_rows(&state->slot[first - 1]) <= LINEUP_GALLERY_ROWS_TARGET)
		rows += live_rows(&state->slot[--first]);
	for (uint32_t i = 0; !err && i < first; i++)
		err = keep(change, i, fault);
	if (!err && state->ops)
		err = lineup_change_rewrite(change, first, state->slots, true, fault);
	return err;
}

int lineup_change_compact(struct lineup_change *change, struct lineup_fault *fault)
{
	const struct lineup_state *state = change->state;
	uint32_t segments = state->manifest.head.segments, i = 0;
	bool journal = !state->ops;
	int err = 0;

	for (uint32_t j = 0; j < state->slots; j++)
		change->total += state->slot[j].part->segment.rows;
	while (!err && (i < state->slots || !journal)) {
		uint64_t rows = 0;
		uint32_t end = i;

		while (end < state->slots && (end == i || rows + live_rows(&state->slot[end]) <= LINEUP_GALLERY_ROWS_TARGET))
			rows += live_rows(&state->slot[end++]);
		if (end == i + 1 && i < segments && !(state->slot[i].bits && state->slot[i].bits->count)) {
			change->done += rows;
			err = keep(change, i, fault);
		} else {
			/* The journal's operations go with its last rows, or alone. */
			err = lineup_change_rewrite(change, i, end, end == state->slots && !journal, fault);
			journal = journal || end == state->slots;
		}
		i = end;
	}
	return err;
}

static bool keep_named(void *arg, const char *kind, uint32_t generation)
{
	const struct lineup_kept *kept = arg;
	const struct lineup_manifest *m = kept->manifest;

	if (!strcmp(kind, "MANIFEST.new"))
		return kept->beside;
	if (generation >= kept->below)
		return true;
	if (!strcmp(kind, "journal"))
		return generation == m->head.journal;
	for (uint32_t i = 0; i < m->head.segments; i++)
		if (generation == (!strcmp(kind, "segment") ? m->segment[i].generation : m->segment[i].deleted_generation))
			return true;
	return false;
}

int lineup_gallery_sweep_but(const struct lineup_files *files, struct lineup_kept *kept, uint32_t *held, struct lineup_fault *fault)
{
	return lineup_files_sweep(files, keep_named, kept, held, fault);
}

int lineup_gallery_sweep(struct lineup_gallery *gallery, uint32_t *held, struct lineup_fault *fault)
{
	struct lineup_kept kept = { .manifest = &gallery->state.manifest };

	pthread_mutex_lock(&gallery->mutex);
	kept.below = gallery->making ?: UINT64_MAX;
	pthread_mutex_unlock(&gallery->mutex);
	return lineup_gallery_sweep_but(&gallery->files, &kept, held, fault);
}

void lineup_gallery_install(struct lineup_gallery *g, struct lineup_state *state, int journal)
{
	struct lineup_state old;

	pthread_mutex_lock(&g->mutex);
	lineup_gallery_changed(g);
	old = g->state;
	g->state = *state;
	pthread_mutex_unlock(&g->mutex);
	lineup_state_fini(&old);
	lineup_files_close(&g->files, g->journal);
	g->journal = journal;
}

int lineup_change_prepare(struct lineup_change *change, struct lineup_state *state, int *journal, struct lineup_fault *fault)
{
	struct lineup_gallery *g = change->gallery;
	struct lineup_manifest *m = &change->manifest;
	char name[LINEUP_GALLERY_NAME_BYTES];
	int err;

	m->head.journal = lineup_change_generation(change);
	lineup_files_name(name, "journal", m->head.journal);
	err = lineup_journal_create(&g->files, &m->head, m->head.journal, m->head.sequence, fault);
	if (!err)
		err = lineup_change_made(change, name, fault);
	if (!err)
		err = lineup_files_open(&g->files, name, O_RDWR, journal, fault);
	return err ? err : lineup_state_follow(&g->files, g->path, m, change->state, state, fault);
}

int lineup_change_replace(struct lineup_change *change, struct lineup_fault *fault)
{
	struct lineup_gallery *g = change->gallery;
	struct disk_manifest *head = &change->manifest.head;
	int err;

	/* Numbers that a change beside this one has are taken. */
	pthread_mutex_lock(&g->mutex);
	if (head->generation_next < g->generation_next)
		head->generation_next = g->generation_next;
	pthread_mutex_unlock(&g->mutex);
	err = lineup_manifest_replace(&g->files, &change->manifest, &change->renamed, fault);
	if (err && change->renamed)
		g->refused = "a failed sync of its directory";
	return err;
}

int lineup_change_commit(struct lineup_change *change, uint32_t *held, struct lineup_fault *fault)
{
	struct lineup_gallery *g = change->gallery;
	struct lineup_state state = { 0 };
	struct lineup_fault swept;
	int journal = -1, err;

	/* All that could still fail is done before the replacement, so that the handle can follow it. */
	err = lineup_change_prepare(change, &state, &journal, fault);
	if (!err)
		err = lineup_change_replace(change, fault);
	if (err) {
		lineup_state_fini(&state);
		lineup_files_close(&g->files, journal);
		return err;
	}
	state.manifest.head = change->manifest.head;
	lineup_gallery_install(g, &state, journal); /* owns both from here */
	if (lineup_gallery_sweep(g, held, &swept))
		lineup_warn(g->ctx, "gallery %s: old files stay: %s", g->path, swept.text);
	return 0;
}

void lineup_change_fini(struct lineup_change *change)
{
	for (uint32_t i = 0; !change->renamed && i < change->mades; i++)
		lineup_files_wipe(&change->gallery->files, change->made[i]);
	free(change->made);
	lineup_manifest_fini(&change->manifest);
	memset(change, 0, sizeof(*change));
}

void lineup_gallery_seal(struct lineup_gallery *g)
{
	struct lineup_change change;
	struct lineup_fault fault;
	uint64_t limit = g->ctx->journal_seal_bytes ?: LINEUP_JOURNAL_SEAL_BYTES;
	uint32_t held = 0;
	int err;

	/* Whoever maintains it has time until then. */
	if (g->maintained)
		limit *= 4;
	if (g->state.journal.frames * LINEUP_FRAME_BYTES <= limit)
		return;
	err = lineup_change_begin(&change, g, &fault);
	if (!err)
		err = lineup_change_seal(&change, &fault);
	if (!err)
		err = lineup_change_commit(&change, &held, &fault);
	lineup_change_fini(&change);
	if (err)
		lineup_warn(g->ctx, "gallery %s: its journal stays, as it could not be sealed: %s", g->path, fault.text);
}
