// SPDX-License-Identifier: MIT
// Subjects by name: through the index pages of segments, and through memory for the journal's rows. Names are compared in full.
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

static bool names(const struct disk_record *record, const char *name, size_t size)
{
	return record->name_bytes == size && !memcmp(record->name, name, size);
}

static bool is_deleted(const struct lineup_bits *bits, uint64_t row)
{
	return bits && bits->bits[row / 8] >> row % 8 & 1;
}

int lineup_lookup_init(struct lineup_lookup *lookup, struct lineup_ctx *ctx, const struct lineup_state *state)
{
	uint32_t segments = state->manifest.head.segments;

	*lookup = (struct lineup_lookup){ .state = state, .ctx = ctx };
	lookup->pages = calloc(segments + 1, sizeof(*lookup->pages));
	lookup->record = malloc(state->shape.record_bytes);
	if (!lookup->pages || !lookup->record) {
		lineup_lookup_fini(lookup);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < segments; i++)
		lineup_pages_index(&lookup->pages[i], ctx, &state->slot[i].part->segment);
	return 0;
}

void lineup_lookup_fini(struct lineup_lookup *lookup)
{
	free(lookup->pages);
	free(lookup->record);
	memset(lookup, 0, sizeof(*lookup));
}

/* The entry at @position, checked, if it has @hash. */
static int entry_at(struct lineup_pages *pages, uint64_t position, uint64_t hash, struct disk_index_entry *entry, bool *more,
		    struct lineup_fault *fault)
{
	const void *p = NULL;
	int err;

	*more = false;
	if (position >= pages->count)
		return 0;
	err = lineup_pages_entry(pages, position, &p, fault);
	if (err)
		return err;
	memcpy(entry, p, sizeof(*entry));
	if (entry->hash != hash)
		return 0;
	if (entry->row >= pages->segment->rows)
		return lineup_fault_set(fault, -EBADMSG, "segment-%08x: byte %llu: an index entry names a row that is not there",
					pages->segment->generation, (unsigned long long)pages->segment->index_offset);
	*more = true;
	return 0;
}

int lineup_lookup_segment(struct lineup_pages *pages, const struct lineup_bits *bits, struct disk_record *scratch, uint64_t hash,
			  const char *name, size_t size, struct lineup_lookup_result *result, struct lineup_fault *fault)
{
	uint32_t wrong = UINT32_MAX; /* a subject of the same hash and another name, looked at already */
	struct disk_index_entry entry;
	uint64_t position = 0;
	bool more = false;
	int err = lineup_pages_seek(pages, &hash, &position, fault);

	for (; !err && !result->live; position++) {
		err = entry_at(pages, position, hash, &entry, &more, fault);
		if (err || !more)
			break;
		if (!result->found || entry.subject != result->subject) {
			if (result->found || entry.subject == wrong)
				continue;
			err = lineup_segment_records(pages->ctx, pages->segment, entry.row, 1, scratch, fault);
			if (err)
				break;
			if (!names(scratch, name, size)) {
				wrong = entry.subject;
				continue;
			}
			result->found = true;
			result->subject = entry.subject;
		}
		result->live = !is_deleted(bits, entry.row);
	}
	return err;
}

/* The journal's rows. */
static void lookup_memory(const struct lineup_state *state, uint64_t hash, const char *name, size_t size,
			  struct lineup_lookup_result *result)
{
	uint64_t cursor = 0;
	uint32_t row;

	while (!result->live && lineup_table_next(&state->name_table, hash, &cursor, &row)) {
		const struct lineup_slot *slot = &state->slot[state->manifest.head.segments + row / LINEUP_GALLERY_CHUNK_ROWS];
		const struct disk_record *record = (const void *)(slot->part->segment.records +
								  row % LINEUP_GALLERY_CHUNK_ROWS * state->shape.record_bytes);

		if (!names(record, name, size))
			continue;
		result->found = true;
		result->subject = record->subject;
		result->live = !is_deleted(slot->bits, row % LINEUP_GALLERY_CHUNK_ROWS);
	}
}

int lineup_lookup_name(struct lineup_lookup *lookup, uint64_t hash, const char *name, size_t size,
		       struct lineup_lookup_result *result, struct lineup_fault *fault)
{
	const struct lineup_state *state = lookup->state;
	int err = 0;

	*result = (struct lineup_lookup_result){ 0 };
	lookup_memory(state, hash, name, size, result);
	for (uint32_t i = state->manifest.head.segments; !err && !result->live && i-- > 0;)
		err = lineup_lookup_segment(&lookup->pages[i], state->slot[i].bits, lookup->record, hash, name, size, result,
					    fault);
	return err;
}

int lineup_places_add(struct lineup_places *places, uint64_t place, uint64_t id)
{
	if (places->count == places->max) {
		uint64_t more = places->max ? places->max * 2 : 16;
		void *p = reallocarray(places->place, more, sizeof(*places->place));

		if (!p)
			return -ENOMEM;
		places->place = p;
		p = reallocarray(places->id, more, sizeof(*places->id));
		if (!p)
			return -ENOMEM;
		places->id = p;
		places->max = more;
	}
	places->place[places->count] = place;
	places->id[places->count++] = id;
	return 0;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Slots, and rows in them, ascend in template ids: each sorted alone, places and ids still belong together. */
void lineup_places_sort(struct lineup_places *places)
{
	uint64_t kept = 0;

	if (places->count < 2)
		return;
	qsort(places->place, places->count, sizeof(*places->place), compare_numbers);
	qsort(places->id, places->count, sizeof(*places->id), compare_numbers);
	for (uint64_t i = 0; i < places->count; i++) {
		if (i && places->place[i] == places->place[i - 1])
			continue;
		places->place[kept] = places->place[i];
		places->id[kept++] = places->id[i];
	}
	places->count = kept;
}

void lineup_places_fini(struct lineup_places *places)
{
	free(places->place);
	free(places->id);
	memset(places, 0, sizeof(*places));
}

static int live_in_memory(const struct lineup_state *state, uint64_t hash, const char *name, size_t size, struct lineup_places *places)
{
	uint64_t cursor = 0;
	uint32_t row;
	int err = 0;

	while (!err && lineup_table_next(&state->name_table, hash, &cursor, &row)) {
		uint64_t at = state->manifest.head.segments + row / LINEUP_GALLERY_CHUNK_ROWS, in = row % LINEUP_GALLERY_CHUNK_ROWS;
		const struct lineup_slot *slot = &state->slot[at];
		const struct disk_record *record =
			(const void *)(slot->part->segment.records + in * state->shape.record_bytes);

		if (names(record, name, size) && !is_deleted(slot->bits, in))
			err = lineup_places_add(places, at << 32 | in, record->template_id);
	}
	return err;
}

static int live_in_segment(struct lineup_lookup *lookup, uint64_t at, uint64_t hash, const char *name, size_t size,
			   struct lineup_places *places, struct lineup_fault *fault)
{
	struct lineup_pages *pages = &lookup->pages[at];
	const struct lineup_bits *bits = lookup->state->slot[at].bits;
	struct disk_index_entry entry;
	uint64_t position = 0;
	bool more = false;
	int err = lineup_pages_seek(pages, &hash, &position, fault);

	for (; !err; position++) {
		err = entry_at(pages, position, hash, &entry, &more, fault);
		if (err || !more)
			break;
		if (is_deleted(bits, entry.row))
			continue;
		err = lineup_segment_records(pages->ctx, pages->segment, entry.row, 1, lookup->record, fault);
		if (!err && names(lookup->record, name, size) &&
		    lineup_places_add(places, at << 32 | entry.row, lookup->record->template_id))
			err = lineup_fault_set(fault, -ENOMEM, "no memory to look up a subject");
	}
	return err;
}

int lineup_lookup_live(struct lineup_lookup *lookup, uint64_t hash, const char *name, size_t size, struct lineup_places *places,
		       struct lineup_fault *fault)
{
	const struct lineup_state *state = lookup->state;
	int err = 0;

	for (uint32_t i = 0; !err && i < state->manifest.head.segments; i++)
		err = live_in_segment(lookup, i, hash, name, size, places, fault);
	if (!err && live_in_memory(state, hash, name, size, places))
		err = lineup_fault_set(fault, -ENOMEM, "no memory to look up a subject");
	return err;
}

typedef int each_fn(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record);

static int rows_in_memory(const struct lineup_segment *segment, const char *name, size_t size, each_fn *each, void *arg)
{
	int err = 0;

	for (uint64_t row = 0; !err && row < segment->rows; row++) {
		const struct disk_record *record = (const void *)(segment->records + row * segment->shape.record_bytes);

		if (names(record, name, size))
			err = each(arg, segment, row, record);
	}
	return err;
}

int lineup_lookup_rows(struct lineup_ctx *ctx, const struct lineup_segment *segment, const char *name, size_t size, each_fn *each,
		       void *arg, struct lineup_fault *fault)
{
	uint64_t hash = lineup_name_hash(name, size), position = 0;
	struct disk_record *record;
	struct lineup_pages pages;
	struct disk_index_entry entry;
	bool more = false;
	int err;

	if (segment->fd < 0)
		return rows_in_memory(segment, name, size, each, arg);
	lineup_pages_index(&pages, ctx, segment);
	record = malloc(segment->shape.record_bytes);
	if (!record)
		return lineup_fault_set(fault, -ENOMEM, "no memory to look up a subject");
	err = lineup_pages_seek(&pages, &hash, &position, fault);
	for (; !err; position++) {
		err = entry_at(&pages, position, hash, &entry, &more, fault);
		if (err || !more)
			break;
		err = lineup_segment_records(ctx, segment, entry.row, 1, record, fault);
		if (!err && names(record, name, size))
			err = each(arg, segment, entry.row, record);
	}
	free(record);
	return err;
}

int lineup_snapshot_subject(struct lineup_snapshot *snapshot, const char *name, each_fn *each, void *arg)
{
	struct lineup_fault fault = { .text = "" };
	int err = 0;

	for (uint32_t i = 0; !err && i < snapshot->segment_count; i++) {
		const struct lineup_segment *s = &snapshot->segments[i];

		err = lineup_lookup_rows(snapshot->ctx, s, name, strlen(name), each, arg, &fault);
		if (err && fault.text[0]) {
			const char *text = strncmp(fault.text, "segment-", 8) ? NULL : strchr(fault.text, ':');

			return lineup_fail(snapshot->ctx, err, "%s: %s", s->path, text ? text + 2 : fault.text);
		}
	}
	return err;
}
