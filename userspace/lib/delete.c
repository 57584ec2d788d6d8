// SPDX-License-Identifier: MIT
// Deletion of a template or of all templates of a subject, and compaction, which makes it final.
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

/* Templates of one subject that are not deleted, ascending. */
struct rows {
	const struct lineup_bits *bits;
	uint64_t *ids;
	uint64_t count;
	uint64_t max;
};

static int collect(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record)
{
	struct rows *rows = arg;

	(void)segment;
	if (rows->bits && rows->bits->bits[row / 8] >> row % 8 & 1)
		return 0;
	if (rows->count == rows->max) {
		uint64_t more = rows->max ? rows->max * 2 : 16;
		void *p = reallocarray(rows->ids, more, sizeof(*rows->ids));

		if (!p)
			return -ENOMEM;
		rows->ids = p;
		rows->max = more;
	}
	rows->ids[rows->count++] = record->template_id;
	return 0;
}

static int subject_rows(struct lineup_gallery *g, const char *name, size_t size, struct rows *rows, struct lineup_fault *fault)
{
	const struct lineup_state *state = &g->state;
	int err = 0;

	lineup_fault_set(fault, 0, "no memory for a deletion");
	for (uint32_t i = 0; !err && i < state->slots; i++) {
		rows->bits = state->slot[i].bits;
		err = lineup_lookup_rows(g->ctx, &state->slot[i].part->segment, name, size, collect, rows, fault);
	}
	return err;
}

static int template_rows(struct lineup_gallery *g, uint64_t id, struct rows *rows, bool *last, struct lineup_fault *fault)
{
	struct lineup_state *state = &g->state;
	struct disk_record *record = malloc(state->shape.record_bytes);
	struct rows all = { 0 };
	uint64_t *place = NULL;
	int err;

	rows->ids = calloc(1, sizeof(*rows->ids));
	if (!record || !rows->ids) {
		free(record);
		return lineup_fault_set(fault, -ENOMEM, "no memory for a deletion");
	}
	rows->ids[0] = id;
	rows->count = 1;
	err = lineup_state_locate(state, g->ctx, &id, 1, &place, fault);
	if (err == -ENOENT)
		lineup_fault_set(fault, err, "has no template %llu", (unsigned long long)id);
	if (!err)
		err = lineup_segment_records(g->ctx, &state->slot[place[0] >> 32].part->segment, (uint32_t)place[0], 1, record,
					     fault);
	if (!err)
		err = subject_rows(g, record->name, record->name_bytes, &all, fault);
	*last = all.count == 1;
	free(all.ids);
	free(place);
	free(record);
	return err;
}

static int commit(struct lineup_gallery *g, struct disk_op *op, const struct rows *rows, uint64_t subjects,
		  struct lineup_fault *fault)
{
	struct lineup_state *state = &g->state;
	struct disk_journal_record record = { .op = *op, .subjects = subjects, .subject_next = state->subject_next };
	struct lineup_journal_item item = { .record = &record, .content = rows->ids };
	struct lineup_history history;
	uint64_t *place = NULL;
	int err = lineup_state_locate(state, g->ctx, rows->ids, rows->count, &place, fault);

	if (!err && lineup_state_reserve(state, g->ctx, g->path, 0))
		err = lineup_fault_set(fault, -ENOMEM, "no memory for a deletion");
	record.bytes = sizeof(record) + rows->count * sizeof(*rows->ids);
	memcpy(record.digest, state->digest, sizeof(record.digest));
	lineup_history_begin(&history);
	lineup_history_ids(&history, rows->ids, rows->count);
	lineup_history_end(&history, op, record.digest);
	if (!err)
		err = lineup_gallery_append(g, &record, NULL, rows->ids, rows->count * sizeof(*rows->ids), fault);
	if (!err) {
		pthread_mutex_lock(&g->mutex);
		lineup_state_delete(state, &item, place);
		lineup_gallery_changed(g);
		pthread_mutex_unlock(&g->mutex);
	}
	free(place);
	return err;
}

static int delete_now(struct lineup_gallery *g, const struct lineup_delete_options *opt, struct disk_op *op,
		      struct lineup_fault *fault)
{
	struct rows rows = { 0 };
	bool last = true;
	int err;

	if (opt->what == LINEUP_DELETE_TEMPLATE) {
		err = template_rows(g, opt->template_id, &rows, &last, fault);
	} else {
		err = subject_rows(g, opt->subject, strlen(opt->subject), &rows, fault);
		if (!err && !rows.count)
			err = lineup_fault_set(fault, -ENOENT, "has no subject \"%s\"", opt->subject);
	}
	op->rows = rows.count;
	if (!err)
		err = commit(g, op, &rows, g->state.subjects - last, fault);
	free(rows.ids);
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
	return lineup_gallery_writable(g);
}

int lineup_gallery_delete(struct lineup_gallery *g, const struct lineup_delete_options *options,
			  struct lineup_delete_result *result)
{
	struct lineup_delete_options opt;
	struct lineup_fault fault;
	struct disk_op op = { 0 };
	bool found = false;
	int err = lineup_options_copy(g->ctx, "lineup_delete_options", &opt, sizeof(opt), options);

	if (!err)
		err = check_options(g, &opt);
	if (err)
		return err;
	if (!lineup_files_zero(opt.op_id, sizeof(opt.op_id)))
		err = lineup_state_op(&g->state, g->ctx, opt.op_id, &op, &found, &fault);
	else
		randombytes_buf(opt.op_id, sizeof(opt.op_id));
	if (!err && found && op.kind != LINEUP_OP_DELETE)
		err = lineup_fault_set(&fault, -EINVAL, "operation %llu, an enrolment, has this op_id already",
				       (unsigned long long)op.sequence);
	if (!err && !found) {
		op = (struct disk_op){ .sequence = g->state.sequence + 1, .kind = LINEUP_OP_DELETE };
		memcpy(op.op_id, opt.op_id, sizeof(op.op_id));
		err = delete_now(g, &opt, &op, &fault);
	}
	if (err)
		return lineup_gallery_fail(g, err, &fault);
	if (result) {
		*result = (struct lineup_delete_result){ .sequence = op.sequence, .rows = op.rows, .repeated = found };
		memcpy(result->op_id, op.op_id, sizeof(result->op_id));
	}
	lineup_gallery_seal(g);
	return 0;
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
	int err = lineup_gallery_writable(g);

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
	if (err)
		return lineup_gallery_fail(g, err, &fault);
	lineup_gallery_info(g, &info);
	done.bytes_after = info.bytes;
	if (result)
		*result = done;
	return 0;
}
