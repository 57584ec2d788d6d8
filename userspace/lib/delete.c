// SPDX-License-Identifier: MIT
// Deletion of a template or of all templates of a subject, and compaction, which makes it final.
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

/* The record of a row. */
static int read_place(struct lineup_gallery *g, uint64_t place, struct disk_record *record, struct lineup_fault *fault)
{
	return lineup_segment_records(g->ctx, &g->state.slot[place >> 32].part->segment, (uint32_t)place, 1, record, fault);
}

/* The rows to delete, and in @result whose they are. */
static int find(struct lineup_gallery *g, struct lineup_lookup *lookup, const struct lineup_delete_options *opt,
		struct lineup_places *places, struct lineup_delete_result *result, struct lineup_fault *fault)
{
	struct lineup_places all = { 0 };
	struct disk_record *r = lookup->record;
	size_t size;
	int err;

	if (opt->what == LINEUP_DELETE_SUBJECT) {
		size = strlen(opt->subject);
		err = lineup_lookup_live(lookup, lineup_name_hash(opt->subject, size), opt->subject, size, places, fault);
		lineup_places_sort(places);
		if (!err && !places->count)
			err = lineup_fault_set(fault, -ENOENT, "has no subject \"%s\"", opt->subject);
		result->last = true;
		if (!err)
			err = read_place(g, places->place[0], r, fault);
		if (!err) {
			result->subject_number = r->subject;
			memcpy(result->subject, opt->subject, size);
		}
		return err;
	}
	err = lineup_state_locate(&g->state, g->ctx, opt->template_id, places, fault);
	if (err == -ENOENT)
		lineup_fault_set(fault, err, "has no template %llu", (unsigned long long)opt->template_id);
	if (!err)
		err = read_place(g, places->place[0], r, fault);
	if (!err) {
		size = r->name_bytes;
		result->subject_number = r->subject;
		memcpy(result->subject, r->name, size); /* the lookup uses the same record */
		err = lineup_lookup_live(lookup, lineup_name_hash(r->name, size), result->subject, size, &all, fault);
	}
	result->last = all.count == 1;
	lineup_places_fini(&all);
	return err;
}

static int stage(struct lineup_gallery *g, struct lineup_lookup *lookup, const struct lineup_delete_options *opt, struct disk_op *op,
		 struct lineup_delete_result *result, struct lineup_fault *fault)
{
	struct lineup_state *state = &g->state;
	struct disk_journal_record record = { .subject_next = state->subject_next };
	struct lineup_places places = { 0 };
	struct lineup_history history;
	int err = find(g, lookup, opt, &places, result, fault);

	if (!err) {
		op->rows = places.count;
		record.op = *op;
		record.subjects = state->subjects - result->last;
		record.bytes = sizeof(record) + places.count * sizeof(*places.id);
		memcpy(record.digest, state->digest, sizeof(record.digest));
		lineup_history_begin(&history);
		lineup_history_ids(&history, places.id, places.count);
		lineup_history_end(&history, op, record.digest);
		err = lineup_stage_add(g, &record, NULL, places.id, &places, fault);
	}
	lineup_places_fini(&places);
	return err;
}

static int check_options(struct lineup_gallery *g, const struct lineup_delete_options *opt)
{
	if (opt->what != LINEUP_DELETE_SUBJECT && opt->what != LINEUP_DELETE_TEMPLATE)
		return lineup_fail(g->ctx, -EINVAL, "lineup_delete_options: what is neither subject nor template");
	if (opt->what == LINEUP_DELETE_SUBJECT && (!opt->subject || lineup_subject_check(opt->subject)))
		return lineup_fail(g->ctx, -EINVAL,
				   "lineup_delete_options: the subject is not 1 to %d bytes of UTF-8 without controls",
				   LINEUP_SUBJECT_BYTES_MAX);
	return 0;
}

int lineup_delete_stage(struct lineup_gallery *g, struct lineup_lookup *lookup, const struct lineup_delete_options *options,
			struct lineup_delete_result *result)
{
	struct lineup_delete_result done = { 0 };
	struct lineup_delete_options opt;
	struct lineup_fault fault;
	struct disk_op op = { 0 };
	int err = lineup_options_copy(g->ctx, "lineup_delete_options", &opt, sizeof(opt), options);

	if (!err)
		err = check_options(g, &opt);
	if (err)
		return err;
	if (!lineup_files_zero(opt.op_id, sizeof(opt.op_id)))
		err = lineup_state_op(&g->state, g->ctx, opt.op_id, &op, &done.repeated, &fault);
	else
		randombytes_buf(opt.op_id, sizeof(opt.op_id));
	if (!err && done.repeated && op.kind != LINEUP_OP_DELETE)
		err = lineup_fault_set(&fault, -EINVAL, "operation %llu, %s, has this op_id already", (unsigned long long)op.sequence,
				       lineup_op_name(op.kind));
	if (!err && !done.repeated) {
		op = (struct disk_op){ .sequence = g->state.sequence + 1, .kind = LINEUP_OP_DELETE };
		memcpy(op.op_id, opt.op_id, sizeof(op.op_id));
		err = stage(g, lookup, &opt, &op, &done, &fault);
	}
	if (err)
		return lineup_gallery_fail(g, err, &fault);
	done.sequence = op.sequence;
	done.rows = op.rows;
	memcpy(done.op_id, op.op_id, sizeof(done.op_id));
	if (result)
		*result = done;
	return 0;
}

int lineup_gallery_delete(struct lineup_gallery *g, const struct lineup_delete_options *options,
			  struct lineup_delete_result *result)
{
	struct lineup_fault fault = { .text = "no memory for a deletion" };
	struct lineup_delete_result done;
	struct lineup_lookup lookup = { 0 };
	int err = lineup_gallery_enter(g);

	if (err)
		return err;
	err = lineup_lookup_init(&lookup, g->ctx, &g->state);
	if (err) {
		lineup_gallery_fail(g, err, &fault);
	} else {
		err = lineup_delete_stage(g, &lookup, options, &done);
		if (!err) {
			err = lineup_stage_commit(g, &fault);
			if (err)
				lineup_gallery_fail(g, err, &fault);
		}
	}
	lineup_lookup_fini(&lookup);
	if (!err && result)
		*result = done;
	if (!err)
		lineup_gallery_seal(g);
	lineup_gallery_leave(g);
	return err;
}

static bool needs_compaction(const struct lineup_state *state)
{
	uint64_t rows = 0;

	if (state->ops || state->manifest.head.segments > 1)
		return true;
	for (uint32_t i = 0; i < state->slots; i++)
		rows += state->slot[i].bits ? state->slot[i].bits->count : 0;
	return rows;
}

int lineup_gallery_compact(struct lineup_gallery *g, lineup_progress_fn *progress, void *progress_arg,
			   struct lineup_compact_result *result)
{
	struct lineup_compact_result done = { 0 };
	struct lineup_change change = { 0 };
	struct lineup_gallery_info info;
	struct lineup_fault fault;
	int err = lineup_gallery_enter(g);

	if (err)
		return err;
	lineup_gallery_info(g, &info);
	done.bytes_before = info.bytes;
	if (needs_compaction(&g->state)) {
		err = lineup_change_begin(&change, g, &fault);
		change.progress = progress;
		change.progress_arg = progress_arg;
		if (!err)
			err = lineup_change_compact(&change, &fault);
		done.rows_dropped = change.rows_dropped;
		if (!err)
			err = lineup_change_commit(&change, &done.files_held, &fault);
	} else {
		err = lineup_gallery_sweep(g, &done.files_held, &fault);
	}
	lineup_change_fini(&change);
	lineup_gallery_info(g, &info);
	done.bytes_after = info.bytes;
	lineup_gallery_leave(g);
	if (err)
		return lineup_gallery_fail(g, err, &fault);
	if (result)
		*result = done;
	return 0;
}
