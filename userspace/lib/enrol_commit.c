// SPDX-License-Identifier: MIT
// Enrolment, the way out: subjects get their numbers, and the rows become a record of the journal or segments of their own.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "enrol.h"

enum { NEW_SUBJECT = UINT32_MAX, SPILL_ROWS_MIN = 1 << 15 };

/* A waiting row in the order of its name's hash. */
struct named {
	uint64_t hash;
	uint32_t row;
	uint32_t first; /* row that has the same name, or itself */
	uint32_t subject; /* of a first row: found, or NEW_SUBJECT */
};

static struct disk_record *record_at(const struct lineup_enrol *e, uint64_t row)
{
	return (void *)(e->records + row * e->gallery->state.shape.record_bytes);
}

static bool same_name(const struct disk_record *a, const struct disk_record *b)
{
	return a->name_bytes == b->name_bytes && !memcmp(a->name, b->name, a->name_bytes);
}

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Among the rows that the writer has taken. */
static int lookup_writer(struct lineup_enrol *e, uint64_t hash, const struct disk_record *wanted,
			 struct lineup_lookup_result *result, struct lineup_fault *fault)
{
	const struct lineup_segment_writer *w = &e->writer;
	struct disk_record *r = e->lookup.record;
	uint64_t cursor = 0;
	uint32_t row;

	while (lineup_table_next(&e->names, hash, &cursor, &row)) {
		int err = lineup_io_read(e->gallery->ctx, w->fd, r, sizeof(*r),
					 w->header.records_offset + row * w->header.record_bytes);

		if (err)
			return lineup_fault_io(fault, err, w->name, "read");
		if (same_name(r, wanted)) {
			*result = (struct lineup_lookup_result){ .subject = r->subject, .found = true, .live = true };
			return 0;
		}
	}
	return 0;
}

static int lookup(struct lineup_enrol *e, uint64_t hash, const struct disk_record *r, struct lineup_lookup_result *result,
		  struct lineup_fault *fault)
{
	int err;

	*result = (struct lineup_lookup_result){ 0 };
	err = lookup_writer(e, hash, r, result, fault);
	for (uint32_t i = e->owns; !err && !result->live && i-- > 0;)
		err = lineup_lookup_segment(&e->own[i].pages, NULL, e->lookup.record, hash, r->name, r->name_bytes, result, fault);
	if (!err && !result->live)
		err = lineup_lookup_name(&e->lookup, hash, r->name, r->name_bytes, result, fault);
	return err;
}

static int taken(const struct lineup_enrol *e, uint64_t row, struct lineup_fault *fault)
{
	return lineup_fault_set(fault, -EEXIST, "template %llu cannot be named by its number: a subject of that name exists",
				(unsigned long long)record_at(e, row)->template_id);
}

/* Finds for each waiting row the first one of its name, and for that one its subject. */
static int find_subjects(struct lineup_enrol *e, struct named *order, struct lineup_fault *fault)
{
	for (uint64_t i = 0, group = 0; i < e->waiting; i++) {
		struct disk_record *r = record_at(e, order[i].row);
		struct lineup_lookup_result result;
		uint64_t j;
		int err;

		if (order[i].hash != order[group].hash)
			group = i;
		for (j = group; j < i; j++)
			if (order[j].first == order[j].row && same_name(record_at(e, order[j].row), r))
				break;
		order[i].first = order[j].row;
		if (j < i) {
			if (e->automatic[order[i].row] || e->automatic[order[j].row])
				return taken(e, order[i].row, fault);
			continue;
		}
		err = lookup(e, order[i].hash, r, &result, fault);
		if (err)
			return err;
		if (result.live && e->automatic[order[i].row])
			return taken(e, order[i].row, fault);
		order[i].subject = result.found ? result.subject : NEW_SUBJECT;
		if (!order[i].row && !e->rows)
			e->existed = result.live;
		e->subjects += !result.live;
	}
	return 0;
}

/* Numbers the waiting rows: subjects by first appearance. */
static int resolve(struct lineup_enrol *e, struct lineup_fault *fault)
{
	const struct lineup_shape *shape = &e->gallery->state.shape;
	struct named *order = calloc(e->waiting, sizeof(*order));
	uint32_t *subject = calloc(e->waiting, sizeof(*subject)), *first = calloc(e->waiting, sizeof(*first));
	int err = 0;

	if (!order || !subject || !first)
		err = lineup_fault_set(fault, -ENOMEM, "no memory for an enrolment");
	for (uint64_t i = 0; !err && i < e->waiting; i++)
		order[i] = (struct named){ .hash = e->hashes[i], .row = (uint32_t)i };
	if (!err) {
		qsort(order, e->waiting, sizeof(*order), compare_named);
		err = find_subjects(e, order, fault);
	}
	for (uint64_t i = 0; !err && i < e->waiting; i++) {
		first[order[i].row] = order[i].first;
		subject[order[i].row] = order[i].subject;
	}
	for (uint64_t i = 0; !err && i < e->waiting; i++) {
		struct disk_record *r = record_at(e, i);

		if (first[i] == i && subject[i] == NEW_SUBJECT) {
			if (e->subject_next == NEW_SUBJECT)
				err = lineup_fault_set(fault, -ENOSPC, "no more subjects are possible");
			subject[i] = e->subject_next++;
		}
		r->subject = subject[first[i]];
		r->crc = lineup_crc32c(0, (const uint8_t *)r + 4, shape->record_bytes - 4);
		lineup_history_record(&e->history, shape, e->list, r);
	}
	if (!err && !e->rows && e->waiting)
		e->subject_first = record_at(e, 0)->subject;
	free(order);
	free(subject);
	free(first);
	return err;
}

static int next_writer(struct lineup_enrol *e, struct lineup_fault *fault)
{
	struct lineup_gallery *g = e->gallery;
	uint64_t capacity = e->writer.capacity * 2, least = e->waiting * 4, least_ever = g->ctx->spill_rows_min ?: SPILL_ROWS_MIN;

	if (capacity < least)
		capacity = least;
	if (capacity < least_ever)
		capacity = least_ever;
	if (capacity > LINEUP_GALLERY_ROWS_TARGET)
		capacity = LINEUP_GALLERY_ROWS_TARGET;
	lineup_segment_fini(&e->writer);
	lineup_table_clear(&e->names);
	return lineup_segment_create(&e->writer, &g->files, &e->change.manifest.head, lineup_change_generation(&e->change),
				     capacity, fault);
}

/* Finishes the writer's segment with @ops and opens it, so that its names can be looked up. */
static int finish_writer(struct lineup_enrol *e, struct disk_op *ops, uint64_t ops_count, struct lineup_fault *fault)
{
	struct lineup_gallery *g = e->gallery;
	struct lineup_enrol_own *own = reallocarray(e->own, e->owns + 1, sizeof(*own));
	char name[LINEUP_GALLERY_NAME_BYTES];
	int err;

	if (!own)
		return lineup_fault_set(fault, -ENOMEM, "no memory for an enrolment");
	e->own = own;
	own += e->owns;
	memset(own, 0, sizeof(*own));
	memcpy(name, e->writer.name, sizeof(name));
	err = lineup_segment_finish(&e->writer, ops, ops_count, 0, &own->entry, fault);
	if (!err)
		err = lineup_change_made(&e->change, name, fault);
	if (!err)
		err = lineup_part_open(&g->files, g->path, &e->change.manifest.head, &own->entry, &own->part, fault);
	if (err)
		return err;
	e->owns++;
	for (uint32_t i = 0; i < e->owns; i++) /* they may have moved */
		lineup_pages_index(&e->own[i].pages, g->ctx, &e->own[i].part->segment);
	return 0;
}

int lineup_enrol_spill(struct lineup_enrol *e, struct lineup_fault *fault)
{
	uint64_t done = 0;
	int err = 0;

	if (!e->spilled) {
		err = lineup_change_begin(&e->change, e->gallery, fault);
		e->spilled = true;
		if (!err)
			err = next_writer(e, fault);
	}
	if (!err && e->waiting)
		err = resolve(e, fault);
	while (!err && done < e->waiting) {
		uint64_t room = e->writer.capacity - e->writer.header.rows, count = e->waiting - done;

		if (!room) {
			err = finish_writer(e, NULL, 0, fault);
			if (!err)
				err = next_writer(e, fault);
			continue;
		}
		if (count > room)
			count = room;
		if (lineup_table_reserve(&e->names, count))
			err = lineup_fault_set(fault, -ENOMEM, "no memory for an enrolment");
		for (uint64_t i = 0; !err && i < count; i++)
			lineup_table_add(&e->names, e->hashes[done + i], (uint32_t)(e->writer.header.rows + i));
		e->writer.pool = e->pool;
		if (!err)
			err = lineup_segment_put(&e->writer, record_at(e, done), e->hashes + done, count, fault);
		done += count;
	}
	e->rows += e->waiting;
	e->waiting = 0;
	return err;
}

static int commit_segments(struct lineup_enrol *e, struct lineup_fault *fault)
{
	struct disk_manifest *head = &e->change.manifest.head;
	uint32_t held = 0;
	int err = lineup_enrol_spill(e, fault);

	e->op.rows = e->rows;
	if (!err)
		err = finish_writer(e, &e->op, 1, fault);
	if (!err)
		err = lineup_change_seal(&e->change, fault);
	for (uint32_t i = 0; !err && i < e->owns; i++)
		err = lineup_change_segment(&e->change, &e->own[i].entry, fault);
	if (err)
		return err;
	lineup_history_end(&e->history, &e->op, head->digest);
	head->template_next += e->rows;
	head->sequence = e->op.sequence;
	head->subjects = e->subjects;
	head->subject_next = e->subject_next;
	head->lists = e->lists;
	memcpy(e->change.manifest.list, e->list, sizeof(e->list));
	return lineup_change_commit(&e->change, &held, fault);
}

/* The rows that a replacement deletes. */
static int older(struct lineup_enrol *e, struct lineup_places *places, struct lineup_fault *fault)
{
	int err = 0;

	for (uint64_t i = 0; !err && i < e->waiting; i++) {
		const struct disk_record *r = record_at(e, i);

		err = lineup_lookup_live(&e->lookup, e->hashes[i], r->name, r->name_bytes, places, fault);
	}
	lineup_places_sort(places);
	return err;
}

int lineup_enrol_stage(struct lineup_enrol *e, struct lineup_fault *fault)
{
	struct lineup_state *state = &e->gallery->state;
	struct disk_journal_record record = { 0 };
	struct lineup_places places = { 0 };
	int err = resolve(e, fault);

	if (!err && e->op.kind == LINEUP_OP_REPLACE)
		err = older(e, &places, fault);
	if (!err) {
		e->op.rows = e->waiting;
		record.op = e->op;
		record.lists_new = e->lists - state->lists;
		record.bytes = sizeof(record) + record.lists_new * sizeof(struct disk_list) + e->waiting * state->shape.record_bytes;
		record.subjects = e->subjects;
		record.subject_next = e->subject_next;
		memcpy(record.digest, state->digest, sizeof(record.digest));
		lineup_history_end(&e->history, &e->op, record.digest);
		err = lineup_stage_add(e->gallery, &record, e->list + state->lists, e->records, &places, fault);
	}
	lineup_places_fini(&places);
	return err;
}

void lineup_enrol_result(const struct lineup_enrol *e, struct lineup_enrol_result *result)
{
	if (!result)
		return;
	*result = (struct lineup_enrol_result){ .sequence = e->op.sequence,
						.template_first = e->op.template_first,
						.rows = e->op.rows,
						.repeated = e->repeated,
						.existed = e->existed,
						.subject_number = e->subject_first };
	memcpy(result->op_id, e->op.op_id, sizeof(result->op_id));
}

static int commit(struct lineup_enrol *e, struct lineup_fault *fault)
{
	int err;

	if (e->spilled || e->waiting > e->record_max)
		return commit_segments(e, fault);
	err = lineup_enrol_stage(e, fault);
	return err ? err : lineup_stage_commit(e->gallery, fault);
}

int lineup_enrol_commit(struct lineup_enrol *e, struct lineup_enrol_result *result)
{
	struct lineup_gallery *g = e->gallery;
	struct lineup_fault fault = { .text = "this enrolment has failed already" };
	int err = e->failed;

	if (!err && !e->repeated && !e->rows && !e->waiting)
		err = lineup_fault_set(&fault, -EINVAL, "an enrolment of no rows");
	if (!err && !e->repeated)
		err = commit(e, &fault);
	if (err) {
		lineup_gallery_fail(g, err, &fault);
	} else {
		lineup_enrol_result(e, result);
		lineup_gallery_seal(g);
	}
	lineup_enrol_abort(e);
	return err;
}
