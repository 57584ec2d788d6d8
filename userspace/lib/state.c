// SPDX-License-Identifier: MIT
// A gallery's state in memory: loaded from its files, moved on by operations, and frozen into snapshots.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

static const char deleted_magic[8] = "LINEUPDL";

static int bad(struct lineup_fault *fault, uint32_t generation, uint64_t frame, const char *why)
{
	return lineup_fault_set(fault, -EBADMSG, "journal-%08x: byte %llu: %s", generation,
				(unsigned long long)frame * LINEUP_FRAME_BYTES, why);
}

static const char *deleted_fault(const struct disk_deleted *head, const struct disk_manifest *m,
				 const struct disk_manifest_segment *e, const uint8_t *bits, size_t size)
{
	uint64_t set = 0;

	if (memcmp(head->uuid, m->uuid, sizeof(head->uuid)) || head->generation != e->deleted_generation ||
	    head->segment != e->generation || head->rows != e->rows || head->rows_deleted != e->rows_deleted)
		return "is not as MANIFEST says";
	if (head->zero || (e->rows % 8 && bits[size - 1] >> e->rows % 8))
		return "unused bits are not zero";
	for (size_t i = 0; i < size; i++)
		set += (uint64_t)__builtin_popcount(bits[i]);
	return set == head->rows_deleted ? NULL : "the number of deleted rows is wrong";
}

static int read_deleted(const struct lineup_files *files, const struct disk_manifest *m, const struct disk_manifest_segment *e,
			struct lineup_bits **bits, struct lineup_fault *fault)
{
	char name[LINEUP_GALLERY_NAME_BYTES];
	size_t size = 0, bits_size = (e->rows + 7) / 8;
	struct disk_deleted head;
	void *data = NULL;
	uint32_t crc;
	const char *why;
	int err;

	lineup_files_name(name, "deleted", e->deleted_generation);
	err = lineup_files_read(files, name, sizeof(head) + bits_size, &data, &size, fault);
	if (err)
		return err;
	memset(&head, 0, sizeof(head));
	memcpy(&head, data, size < sizeof(head) ? size : sizeof(head));
	crc = head.crc;
	head.crc = 0;
	if (memcmp(head.magic, deleted_magic, sizeof(deleted_magic))) {
		err = lineup_fault_set(fault, -EBADMSG, "%s: byte 0: is not a list of deleted rows", name);
	} else if (head.version > LINEUP_FORMAT_VERSION) {
		err = lineup_fault_set(fault, -ENOTSUP, "%s: format version %u is newer than this library's %u", name, head.version,
				       LINEUP_FORMAT_VERSION);
	} else if (size != sizeof(head) + bits_size) {
		err = lineup_fault_set(fault, -EBADMSG, "%s: byte %zu: the file ends here, its segment's rows need %zu bytes", name,
				       size, sizeof(head) + bits_size);
	} else if (head.version != LINEUP_FORMAT_VERSION ||
		   crc != lineup_crc32c(lineup_crc32c(0, &head, sizeof(head)), (uint8_t *)data + sizeof(head), bits_size)) {
		err = lineup_fault_set(fault, -EBADMSG, "%s: byte 12: the checksum is wrong", name);
	} else {
		why = deleted_fault(&head, m, e, (uint8_t *)data + sizeof(head), bits_size);
		if (why)
			err = lineup_fault_set(fault, -EBADMSG, "%s: byte 16: %s", name, why);
	}
	if (!err && lineup_bits_own(bits, e->rows))
		err = lineup_fault_set(fault, -ENOMEM, "%s: no memory", name);
	if (!err) {
		memcpy((*bits)->bits, (uint8_t *)data + sizeof(head), bits_size);
		(*bits)->count = head.rows_deleted;
	}
	free(data);
	return err;
}

static struct lineup_bits *bits_get(struct lineup_bits *bits)
{
	if (bits)
		atomic_fetch_add(&bits->references, 1);
	return bits;
}

/* The slot of @old that has the segment of @entry, or NULL. */
static const struct lineup_slot *same_segment(const struct lineup_state *old, const struct disk_manifest_segment *entry,
					      uint32_t *at)
{
	for (uint32_t i = 0; old && i < old->manifest.head.segments; i++) {
		if (old->manifest.segment[i].generation == entry->generation &&
		    old->manifest.segment[i].header_crc == entry->header_crc) {
			*at = i;
			return &old->slot[i];
		}
	}
	return NULL;
}

/* The manifest's segments and values; @follow: their deleted rows are those of @old as they are now. */
static int begin(struct lineup_state *state, const struct lineup_files *files, const char *path, const struct lineup_state *old,
		 bool follow, struct lineup_fault *fault)
{
	const struct disk_manifest *head = &state->manifest.head;
	int err = 0;

	lineup_shape_init(&state->shape, head->dim, head->store, LINEUP_GALLERY_CHUNK_ROWS);
	state->slots_max = head->segments + 8;
	state->slot = calloc(state->slots_max, sizeof(*state->slot));
	if (!state->slot)
		return lineup_fault_set(fault, -ENOMEM, "no memory to open it");
	for (uint32_t i = 0; !err && i < head->segments; i++) {
		const struct disk_manifest_segment *e = &state->manifest.segment[i];
		uint32_t at = 0;
		const struct lineup_slot *same = same_segment(old, e, &at);

		if (same)
			state->slot[i].part = lineup_part_get(same->part);
		else
			err = lineup_part_open(files, path, head, e, &state->slot[i].part, fault);
		state->slots++;
		if (err || !e->deleted_generation)
			continue;
		if (same &&
		    (follow || (!same->bits_changed && old->manifest.segment[at].deleted_generation == e->deleted_generation)))
			state->slot[i].bits = bits_get(same->bits);
		else
			err = read_deleted(files, head, e, &state->slot[i].bits, fault);
	}
	state->journal = (struct lineup_journal_end){ .frames = 1, .last = 1 };
	state->sequence = head->sequence;
	state->template_next = head->template_next;
	state->subjects = head->subjects;
	state->subject_next = head->subject_next;
	state->lists = head->lists;
	memcpy(state->list, state->manifest.list, sizeof(state->list));
	memcpy(state->digest, head->digest, sizeof(state->digest));
	return err;
}

int lineup_state_follow(const struct lineup_files *files, const char *path, const struct lineup_manifest *manifest,
			const struct lineup_state *old, struct lineup_state *state, struct lineup_fault *fault)
{
	int err;

	memset(state, 0, sizeof(*state));
	state->manifest = *manifest;
	state->manifest.segment = calloc(LINEUP_SEGMENTS_MAX, sizeof(*manifest->segment));
	if (!state->manifest.segment)
		return lineup_fault_set(fault, -ENOMEM, "no memory");
	memcpy(state->manifest.segment, manifest->segment, manifest->head.segments * sizeof(*manifest->segment));
	err = begin(state, files, path, old, true, fault);
	if (err)
		lineup_state_fini(state);
	return err;
}

static const char *enrol_fault(const struct lineup_state *state, const struct lineup_journal_item *item,
			       uint8_t digest[LINEUP_DIGEST_BYTES])
{
	const struct disk_journal_record *record = item->record;
	uint32_t lists = state->lists + record->lists_new;
	struct disk_list list[LINEUP_LISTS_MAX] = { 0 };
	struct lineup_history history;
	const char *why = NULL;

	if (record->op.template_first != state->template_next)
		return "the operation's template ids do not follow";
	if (lists > LINEUP_LISTS_MAX)
		return "there are too many lists";
	memcpy(list, state->list, state->lists * sizeof(list[0]));
	memcpy(list + state->lists, item->lists, record->lists_new * sizeof(list[0]));
	if (!lineup_manifest_lists_valid(list, lists))
		return "a list's name is malformed or there twice";
	lineup_history_begin(&history);
	for (uint64_t i = 0; i < record->op.rows; i++) {
		const struct disk_record *r = (const void *)((const uint8_t *)item->content + i * state->shape.record_bytes);

		if (lineup_record_verify(&state->shape, r, &why))
			return why;
		if (r->template_id != state->template_next + i || r->subject >= record->subject_next ||
		    (lists < LINEUP_LISTS_MAX && r->lists >> lists))
			return "a row's template, subject or lists are out of range";
		lineup_history_record(&history, &state->shape, list, r);
	}
	lineup_history_end(&history, &record->op, digest);
	return NULL;
}

/* What a replacement deletes is not in its record: the older templates of the subjects that it names. */
static int replaced(struct lineup_replay *r, const struct lineup_journal_item *item, struct lineup_places *places, struct lineup_fault *fault)
{
	int err = 0;

	for (uint64_t i = 0; !err && i < item->record->op.rows; i++) {
		const struct disk_record *row = (const void *)((const uint8_t *)item->content + i * r->state->shape.record_bytes);

		err = lineup_lookup_live(&r->lookup, lineup_name_hash(row->name, row->name_bytes), row->name, row->name_bytes, places,
					 fault);
	}
	lineup_places_sort(places);
	return err;
}

static int replay_enrol(struct lineup_replay *r, const struct lineup_journal_item *item, struct lineup_places *places,
			struct lineup_fault *fault)
{
	uint8_t digest[LINEUP_DIGEST_BYTES];
	const char *why;

	memcpy(digest, r->state->digest, sizeof(digest));
	why = enrol_fault(r->state, item, digest);
	if (!why && memcmp(digest, item->record->digest, sizeof(digest)))
		why = "the history's digest is wrong";
	if (why)
		return bad(fault, r->state->manifest.head.journal, item->frame, why);
	return item->record->op.kind == LINEUP_OP_REPLACE ? replaced(r, item, places, fault) : 0;
}

static int replay_delete(struct lineup_replay *r, const struct lineup_journal_item *item, struct lineup_places *places,
			 struct lineup_fault *fault)
{
	struct lineup_state *state = r->state;
	const uint64_t *ids = item->content;
	uint64_t count = item->record->op.rows;
	uint8_t digest[LINEUP_DIGEST_BYTES];
	struct lineup_history history;
	int err = 0;

	for (uint64_t i = 1; i < count; i++)
		if (ids[i] <= ids[i - 1])
			return bad(fault, state->manifest.head.journal, item->frame, "deleted template ids do not ascend");
	memcpy(digest, state->digest, sizeof(digest));
	lineup_history_begin(&history);
	lineup_history_ids(&history, ids, count);
	lineup_history_end(&history, &item->record->op, digest);
	if (memcmp(digest, item->record->digest, sizeof(digest)))
		return bad(fault, state->manifest.head.journal, item->frame, "the history's digest is wrong");
	if (item->record->subject_next != state->subject_next)
		return bad(fault, state->manifest.head.journal, item->frame, "a deletion changes the next subject number");
	for (uint64_t i = 0; !err && i < count; i++)
		err = lineup_state_locate(state, r->ctx, ids[i], places, fault);
	if (err == -ENOENT)
		return bad(fault, state->manifest.head.journal, item->frame, "a template is deleted that is not there");
	return err;
}

int lineup_state_replay(void *arg, const struct lineup_journal_item *item, struct lineup_fault *fault)
{
	struct lineup_replay *r = arg;
	const struct disk_journal_record *record = item->record;
	bool deletion = record->op.kind == LINEUP_OP_DELETE;
	struct lineup_places places = { 0 };
	int err;

	if (record->subjects > record->subject_next || record->subject_next < r->state->subject_next ||
	    record->subject_next > r->state->template_next + record->op.rows)
		return bad(fault, r->state->manifest.head.journal, item->frame, "the counts of subjects do not fit together");
	err = deletion ? replay_delete(r, item, &places, fault) : replay_enrol(r, item, &places, fault);
	if (!err && (lineup_state_reserve(r->state, r->ctx, r->path, deletion ? 0 : record->op.rows) ||
		     lineup_state_own(r->state, &places)))
		err = lineup_fault_set(fault, -ENOMEM, "no memory for the journal's operations");
	if (!err)
		lineup_state_apply(r->state, item, &places);
	lineup_places_fini(&places);
	return err;
}

int lineup_state_load(const struct lineup_files *files, const char *path, void *data, size_t size, const struct lineup_state *old,
		      struct lineup_state *state, struct lineup_fault *fault)
{
	struct lineup_replay replay = { .state = state, .ctx = files->ctx, .path = path };
	char name[LINEUP_GALLERY_NAME_BYTES];
	void *journal = NULL;
	size_t journal_size = 0;
	int err;

	memset(state, 0, sizeof(*state));
	state->manifest_data = data;
	state->manifest_size = size;
	err = lineup_manifest_parse(data, size, &state->manifest, fault);
	if (!err)
		err = begin(state, files, path, old, false, fault);
	if (!err) {
		lineup_files_name(name, "journal", state->manifest.head.journal);
		err = lineup_files_read(files, name, INT64_MAX, &journal, &journal_size, fault);
	}
	if (!err && lineup_lookup_init(&replay.lookup, files->ctx, state))
		err = lineup_fault_set(fault, -ENOMEM, "no memory to open it");
	if (!err)
		err = lineup_journal_parse(journal, journal_size, &state->manifest.head, state->shape.record_bytes, lineup_state_replay,
					   &replay, &state->journal, fault);
	lineup_lookup_fini(&replay.lookup);
	free(journal);
	if (err)
		lineup_state_fini(state);
	/* What MANIFEST names must be there. */
	return err == -ENOENT ? -EBADMSG : err;
}

int lineup_state_freeze(const struct lineup_state *state, struct lineup_state *frozen, struct lineup_fault *fault)
{
	struct lineup_state f = *state;
	int err = 0;

	f.manifest_data = NULL;
	f.op_table = f.name_table = (struct lineup_table){ 0 };
	f.slots_max = state->slots + 1;
	f.slot = calloc(f.slots_max, sizeof(*f.slot));
	f.op = calloc(state->ops + 1, sizeof(*f.op));
	f.manifest.segment = calloc(LINEUP_SEGMENTS_MAX, sizeof(*f.manifest.segment));
	if (!f.slot || !f.op || !f.manifest.segment)
		err = -ENOMEM;
	if (!err) {
		memcpy(f.op, state->op, state->ops * sizeof(*f.op));
		memcpy(f.manifest.segment, state->manifest.segment, f.manifest.head.segments * sizeof(*f.manifest.segment));
	}
	for (uint32_t i = 0; !err && i < state->slots; i++) {
		const struct lineup_slot *from = &state->slot[i];
		uint64_t rows = from->part->segment.rows;

		if (i >= f.manifest.head.segments && rows < LINEUP_GALLERY_CHUNK_ROWS)
			err = lineup_part_copy(from->part, rows, &f.slot[i].part);
		else
			f.slot[i].part = lineup_part_get(from->part);
		f.slot[i].bits = bits_get(from->bits);
		f.slot[i].bits_changed = from->bits_changed;
	}
	if (err) {
		lineup_state_fini(&f);
		return lineup_fault_set(fault, err, "no memory to write a segment");
	}
	*frozen = f;
	return 0;
}

int lineup_state_sealed(const struct lineup_files *files, const struct lineup_state *state, uint32_t i, struct lineup_bits **bits,
			struct lineup_fault *fault)
{
	const struct disk_manifest_segment *e = &state->manifest.segment[i];
	int err = 0;

	*bits = NULL;
	if (!state->slot[i].bits_changed)
		*bits = bits_get(state->slot[i].bits);
	else if (e->deleted_generation)
		err = read_deleted(files, &state->manifest.head, e, bits, fault);
	return err;
}

void lineup_state_fini(struct lineup_state *state)
{
	for (uint32_t i = 0; state->slot && i < state->slots_max; i++) {
		lineup_part_put(state->slot[i].part);
		lineup_bits_put(state->slot[i].bits);
		lineup_bits_put(state->slot[i].bits_before);
	}
	free(state->slot);
	free(state->op);
	free(state->manifest_data);
	lineup_table_fini(&state->op_table);
	lineup_table_fini(&state->name_table);
	lineup_manifest_fini(&state->manifest);
	memset(state, 0, sizeof(*state));
}

static int grow(void **array, uint64_t have, uint64_t wanted, size_t each)
{
	uint8_t *p = reallocarray(*array, wanted, each);

	if (!p)
		return -ENOMEM;
	memset(p + have * each, 0, (wanted - have) * each);
	*array = p;
	return 0;
}

/* Chunks for more rows wait behind the slots in use. */
int lineup_state_reserve(struct lineup_state *state, struct lineup_ctx *ctx, const char *path, uint64_t rows)
{
	uint64_t chunks = (state->journal_rows + rows + LINEUP_GALLERY_CHUNK_ROWS - 1) / LINEUP_GALLERY_CHUNK_ROWS;
	uint64_t wanted = state->manifest.head.segments + chunks;

	if (wanted > state->slots_max) {
		if (wanted > UINT32_MAX / 2 || grow((void **)&state->slot, state->slots_max, wanted * 2, sizeof(*state->slot)))
			return -ENOMEM;
		state->slots_max = (uint32_t)wanted * 2;
	}
	for (uint64_t i = state->slots; i < wanted; i++)
		if (!state->slot[i].part &&
		    lineup_part_memory(ctx, path, &state->manifest.head, state->manifest.head.journal, &state->slot[i].part))
			return -ENOMEM;
	if (state->ops == state->ops_max) {
		uint64_t more = state->ops_max ? state->ops_max * 2 : 64;

		if (grow((void **)&state->op, state->ops_max, more, sizeof(*state->op)))
			return -ENOMEM;
		state->ops_max = more;
	}
	if (lineup_table_reserve(&state->op_table, 1))
		return -ENOMEM;
	return lineup_table_reserve(&state->name_table, rows);
}

static void append_rows(struct lineup_state *state, const struct lineup_journal_item *item)
{
	const struct disk_journal_record *record = item->record;

	memcpy(state->list + state->lists, item->lists, record->lists_new * sizeof(state->list[0]));
	state->lists += record->lists_new;
	for (uint64_t i = 0; i < record->op.rows; i++) {
		const struct disk_record *r = (const void *)((const uint8_t *)item->content + i * state->shape.record_bytes);
		uint64_t chunk = state->manifest.head.segments + state->journal_rows / LINEUP_GALLERY_CHUNK_ROWS;

		assert(chunk < state->slots_max && state->slot[chunk].part);
		if (chunk == state->slots)
			state->slots++;
		lineup_part_append(state->slot[chunk].part, r);
		lineup_table_add(&state->name_table, lineup_name_hash(r->name, r->name_bytes), (uint32_t)state->journal_rows);
		state->journal_rows++;
	}
	state->template_next += record->op.rows;
}

void lineup_state_apply(struct lineup_state *state, const struct lineup_journal_item *item, const struct lineup_places *places)
{
	const struct disk_journal_record *record = item->record;

	for (uint64_t i = 0; places && i < places->count; i++) {
		struct lineup_slot *slot = &state->slot[places->place[i] >> 32];
		uint32_t row = (uint32_t)places->place[i];

		slot->bits->bits[row / 8] |= (uint8_t)(1 << row % 8);
		slot->bits->count++;
		slot->bits_changed = true;
	}
	if (record->op.kind != LINEUP_OP_DELETE)
		append_rows(state, item);
	state->op[state->ops] = record->op;
	lineup_table_add(&state->op_table, lineup_op_hash(record->op.op_id), (uint32_t)state->ops);
	state->ops++;
	state->sequence = record->op.sequence;
	state->subjects = record->subjects;
	state->subject_next = record->subject_next;
	memcpy(state->digest, record->digest, sizeof(state->digest));
}

int lineup_state_locate(const struct lineup_state *state, struct lineup_ctx *ctx, uint64_t id, struct lineup_places *places,
			struct lineup_fault *fault)
{
	uint32_t lo = 0, hi = state->slots;
	const struct lineup_slot *slot;
	uint64_t row = 0;
	int err;

	/* The last slot that begins at or before @id. */
	while (lo + 1 < hi) {
		uint32_t middle = (lo + hi) / 2;

		if (state->slot[middle].part->segment.template_first <= id)
			lo = middle;
		else
			hi = middle;
	}
	if (!state->slots)
		return -ENOENT;
	/* Segments without rows begin where the next one begins. */
	while (lo && !state->slot[lo].part->segment.rows)
		lo--;
	slot = &state->slot[lo];
	err = lineup_segment_find(ctx, &slot->part->segment, id, &row, fault);
	if (err)
		return err;
	if (slot->bits && slot->bits->bits[row / 8] >> row % 8 & 1)
		return -ENOENT;
	err = lineup_places_add(places, lo * (UINT64_C(1) << 32) | row, id);
	return err ? lineup_fault_set(fault, err, "no memory for a deletion") : 0;
}

int lineup_state_own(struct lineup_state *state, const struct lineup_places *places)
{
	for (uint64_t i = 0; i < places->count; i++) {
		uint32_t at = (uint32_t)(places->place[i] >> 32);
		struct lineup_slot *slot = &state->slot[at];

		if (state->marked && !slot->staged) {
			slot->staged = true;
			slot->bits_before = bits_get(slot->bits);
			slot->bits_changed_before = slot->bits_changed;
		}
		if (lineup_bits_own(&slot->bits, at < state->manifest.head.segments ? slot->part->segment.rows : LINEUP_GALLERY_CHUNK_ROWS))
			return -ENOMEM;
	}
	return 0;
}

void lineup_state_mark(struct lineup_state *state)
{
	assert(!state->marked);
	state->mark = lineup_state_seen(state);
	state->marked = true;
}

void lineup_state_keep(struct lineup_state *state)
{
	for (uint32_t i = 0; i < state->slots; i++) {
		struct lineup_slot *slot = &state->slot[i];

		lineup_bits_put(slot->bits_before);
		slot->bits_before = NULL;
		slot->staged = false;
	}
	state->marked = false;
}

/* The tables know no single removals: all that stays is entered again, into memory that they have. */
static void undo_tables(struct lineup_state *state)
{
	lineup_table_clear(&state->op_table);
	for (uint64_t i = 0; i < state->ops; i++)
		lineup_table_add(&state->op_table, lineup_op_hash(state->op[i].op_id), (uint32_t)i);
	lineup_table_clear(&state->name_table);
	for (uint64_t i = 0; i < state->journal_rows; i++) {
		const struct lineup_slot *slot = &state->slot[state->manifest.head.segments + i / LINEUP_GALLERY_CHUNK_ROWS];
		const struct disk_record *r =
			(const void *)(slot->part->segment.records + i % LINEUP_GALLERY_CHUNK_ROWS * state->shape.record_bytes);

		lineup_table_add(&state->name_table, lineup_name_hash(r->name, r->name_bytes), (uint32_t)i);
	}
}

void lineup_state_undo(struct lineup_state *state)
{
	const struct lineup_mark *mark = &state->mark;
	uint32_t segments = state->manifest.head.segments;

	assert(state->marked);
	for (uint32_t i = 0; i < state->slots; i++) {
		struct lineup_slot *slot = &state->slot[i];

		if (slot->staged) {
			lineup_bits_put(slot->bits);
			slot->bits = slot->bits_before;
			slot->bits_changed = slot->bits_changed_before;
			slot->bits_before = NULL;
			slot->staged = false;
		}
		if (i >= segments) {
			uint64_t first = (uint64_t)(i - segments) * LINEUP_GALLERY_CHUNK_ROWS;

			lineup_part_cut(slot->part, mark->journal_rows > first ? mark->journal_rows - first : 0);
		}
	}
	state->slots = mark->slots;
	state->journal_rows = mark->journal_rows;
	state->ops = mark->ops;
	state->sequence = mark->sequence;
	state->template_next = mark->template_next;
	state->subjects = mark->subjects;
	state->subject_next = mark->subject_next;
	memset(&state->list[mark->lists], 0, (state->lists - mark->lists) * sizeof(state->list[0]));
	state->lists = mark->lists;
	memcpy(state->digest, mark->digest, sizeof(state->digest));
	state->marked = false;
	undo_tables(state);
}

int lineup_state_op(const struct lineup_state *state, struct lineup_ctx *ctx, const uint8_t op_id[LINEUP_OP_ID_BYTES],
		    struct disk_op *op, bool *found, struct lineup_fault *fault)
{
	uint64_t cursor = 0;
	uint32_t at;

	*found = false;
	while (lineup_table_next(&state->op_table, lineup_op_hash(op_id), &cursor, &at)) {
		if (memcmp(state->op[at].op_id, op_id, LINEUP_OP_ID_BYTES))
			continue;
		*op = state->op[at];
		*found = true;
		return 0;
	}
	for (uint32_t i = state->manifest.head.segments; i-- > 0;) {
		struct lineup_pages pages;
		const void *entry = NULL;
		uint64_t position = 0;
		int err;

		lineup_pages_ops(&pages, ctx, &state->slot[i].part->segment);
		err = lineup_pages_seek(&pages, op_id, &position, fault);
		if (!err && position < pages.count)
			err = lineup_pages_entry(&pages, position, &entry, fault);
		if (err)
			return err;
		if (!entry)
			continue;
		if (!memcmp(((const struct disk_op *)entry)->op_id, op_id, LINEUP_OP_ID_BYTES)) {
			memcpy(op, entry, sizeof(*op));
			*found = true;
			return 0;
		}
	}
	return 0;
}
