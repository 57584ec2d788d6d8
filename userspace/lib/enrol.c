// SPDX-License-Identifier: MIT
// Enrolment, the way in: rows are checked, normalised and named, and wait until they are numbered.
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "enrol.h"
#include "probe.h"

enum { ROWS_AT_ONCE = 32, POOL_ROWS_MIN = 512 };

uint64_t lineup_enrol_rows_max(const struct lineup_gallery *g)
{
	uint64_t bytes = g->ctx->record_bytes_max ?: LINEUP_RECORD_BYTES_MAX;

	return (bytes - sizeof(struct disk_journal_record) - sizeof(g->state.list)) / g->record_bytes;
}

int lineup_enrol_new(struct lineup_gallery *g, uint64_t waiting_max, struct lineup_enrol **enrol, struct lineup_fault *fault)
{
	struct lineup_enrol *e = calloc(1, sizeof(*e));

	if (!e)
		return lineup_fault_set(fault, -ENOMEM, "no memory for an enrolment");
	e->gallery = g;
	e->writer.fd = -1;
	memcpy(e->list, g->state.list, sizeof(e->list));
	e->lists = g->state.lists;
	e->record_max = lineup_enrol_rows_max(g);
	e->waiting_max = waiting_max;
	e->records = malloc(waiting_max * g->state.shape.record_bytes);
	e->automatic = malloc(waiting_max);
	e->hashes = malloc(waiting_max * sizeof(*e->hashes));
	if (!e->records || !e->automatic || !e->hashes || lineup_lookup_init(&e->lookup, g->ctx, &g->state)) {
		lineup_enrol_free(e);
		return lineup_fault_set(fault, -ENOMEM, "no memory for an enrolment");
	}
	*enrol = e;
	return 0;
}

int lineup_enrol_start(struct lineup_enrol *e, const uint8_t op_id[LINEUP_OP_ID_BYTES], uint32_t kind, struct lineup_fault *fault)
{
	const struct lineup_state *state = &e->gallery->state;
	int err = 0;

	e->op = (struct disk_op){ .sequence = state->sequence + 1, .template_first = state->template_next, .kind = kind };
	e->repeated = false;
	e->rows = e->waiting = 0;
	e->existed = false;
	e->subject_first = 0;
	e->subjects = state->subjects;
	e->subject_next = state->subject_next;
	lineup_history_begin(&e->history);
	memcpy(e->op.op_id, op_id, sizeof(e->op.op_id));
	if (lineup_files_zero(op_id, LINEUP_OP_ID_BYTES))
		randombytes_buf(e->op.op_id, sizeof(e->op.op_id));
	else
		err = lineup_state_op(state, e->gallery->ctx, op_id, &e->op, &e->repeated, fault);
	if (!err && e->op.kind != kind)
		err = lineup_fault_set(fault, -EINVAL, "operation %llu, %s, has this op_id already",
				       (unsigned long long)e->op.sequence, lineup_op_name(e->op.kind));
	return err;
}

int lineup_enrol_begin(struct lineup_gallery *g, const struct lineup_enrol_options *options, struct lineup_enrol **enrol)
{
	struct lineup_enrol_options opt;
	struct lineup_fault fault;
	struct lineup_enrol *e = NULL;
	uint64_t waiting_max = LINEUP_ENROL_WAITING_BYTES / g->record_bytes;
	int err = lineup_options_copy(g->ctx, "lineup_enrol_options", &opt, sizeof(opt), options);

	if (!err && opt.reserved)
		err = lineup_fail(g->ctx, -EINVAL, "lineup_enrol_options: reserved must be zero");
	if (!err)
		err = lineup_gallery_enter(g);
	if (err)
		return err;
	if (g->ctx->record_bytes_max)
		waiting_max = lineup_enrol_rows_max(g);
	err = lineup_enrol_new(g, waiting_max, &e, &fault);
	if (!err)
		err = lineup_enrol_start(e, opt.op_id, LINEUP_OP_ENROL, &fault);
	if (err) {
		lineup_gallery_fail(g, err, &fault);
		lineup_enrol_free(e);
		lineup_gallery_leave(g);
		return err;
	}
	*enrol = e;
	return 0;
}

int lineup_enrol_list(struct lineup_enrol *e, const char *name, uint64_t *mask)
{
	struct lineup_gallery *g = e->gallery;
	struct disk_list list = { "" };

	if (lineup_list_check(name))
		return lineup_fail(g->ctx, -EINVAL, "gallery %s: a list's name is 1 to %d of the characters A-Z a-z 0-9 _ . -",
				   g->path, LINEUP_LIST_NAME_BYTES_MAX);
	memcpy(list.name, name, strlen(name));
	for (uint32_t i = 0; i < e->lists; i++) {
		if (!memcmp(&e->list[i], &list, sizeof(list))) {
			*mask = (uint64_t)1 << i;
			return 0;
		}
	}
	if (e->lists == LINEUP_LISTS_MAX)
		return lineup_fail(g->ctx, -ENOSPC, "gallery %s: has %d lists already, \"%s\" would be one more", g->path,
				   LINEUP_LISTS_MAX, name);
	*mask = (uint64_t)1 << e->lists;
	e->list[e->lists++] = list;
	return 0;
}

static int check_batch(const struct lineup_enrol *e, const struct lineup_enrol_batch *batch)
{
	const struct lineup_gallery *g = e->gallery;
	const struct lineup_matrix *m = &batch->vectors;

	if (m->dtype != LINEUP_FLOAT32 && m->dtype != LINEUP_FLOAT64)
		return lineup_fail(g->ctx, -EINVAL, "gallery %s: there is no data type %d", g->path, (int)m->dtype);
	if (m->dim != g->state.shape.dim)
		return lineup_fail(g->ctx, -EINVAL, "gallery %s: holds templates of dimension %u, not %u", g->path,
				   g->state.shape.dim, m->dim);
	for (uint64_t i = 0; i < m->rows; i++) {
		if (batch->subjects && (!batch->subjects[i] || lineup_subject_check(batch->subjects[i])))
			return lineup_fail(g->ctx, -EINVAL,
					   "gallery %s: row %llu: the subject is not 1 to %d bytes of UTF-8 without controls",
					   g->path, (unsigned long long)i, LINEUP_SUBJECT_BYTES_MAX);
		if (batch->lists && e->lists < LINEUP_LISTS_MAX && batch->lists[i] >> e->lists)
			return lineup_fail(g->ctx, -EINVAL, "gallery %s: row %llu: is on a list that has no name", g->path,
					   (unsigned long long)i);
		if (batch->expires && batch->expires[i] < 0)
			return lineup_fail(g->ctx, -EINVAL, "gallery %s: row %llu: expires before 1970", g->path,
					   (unsigned long long)i);
	}
	return 0;
}

/* Row @row of the batch as waiting row @at. */
static enum lineup_row_fault put_row(struct lineup_enrol *e, const struct lineup_enrol_batch *batch, uint64_t row, uint64_t at)
{
	const struct lineup_shape *shape = &e->gallery->state.shape;
	struct disk_record *r = (void *)(e->records + at * shape->record_bytes);
	float vector[LINEUP_DIM_MAX], *out = shape->store == LINEUP_STORE_FLOAT16 ? vector : (float *)(r + 1);
	uint16_t *half = (uint16_t *)(r + 1);
	enum lineup_row_fault bad;

	memset(r, 0, sizeof(*r));
	memset((uint8_t *)r + shape->record_bytes - 8, 0, 8);
	bad = lineup_probe_normalise(&batch->vectors, row, out);
	if (bad)
		return bad;
	for (uint32_t i = 0; out == vector && i < shape->dim; i++)
		half[i] = lineup_half_from_float(vector[i]);
	r->template_id = e->op.template_first + e->rows + at;
	r->lists = batch->lists ? batch->lists[row] : 0;
	r->expires = batch->expires ? batch->expires[row] : 0;
	e->automatic[at] = !batch->subjects;
	if (batch->subjects) {
		r->name_bytes = (uint8_t)strlen(batch->subjects[row]);
		memcpy(r->name, batch->subjects[row], r->name_bytes);
	} else {
		char name[24];

		r->name_bytes = (uint8_t)snprintf(name, sizeof(name), "%llu", (unsigned long long)r->template_id);
		memcpy(r->name, name, r->name_bytes);
	}
	e->hashes[at] = lineup_name_hash(r->name, r->name_bytes);
	return LINEUP_ROW_OK;
}

static int bad_row(const struct lineup_enrol *e, uint64_t row, enum lineup_row_fault bad)
{
	return lineup_fail(e->gallery->ctx, -EINVAL, "gallery %s: row %llu: %s", e->gallery->path, (unsigned long long)row,
			   lineup_row_fault_text(bad));
}

/* A batch that does not fit the waiting room is looked through before any of it goes in: it is taken whole or not at all. */
static int check_rows(struct lineup_enrol *e, const struct lineup_enrol_batch *batch)
{
	float vector[LINEUP_DIM_MAX];

	for (uint64_t i = 0; i < batch->vectors.rows; i++) {
		const float *row = (const float *)batch->vectors.data + i * batch->vectors.dim;
		double square = batch->vectors.dtype == LINEUP_FLOAT32 ? lineup_dot(row, row, batch->vectors.dim) : 0;
		enum lineup_row_fault bad;

		/* In float64 the square of a good float32 row neither vanishes nor overflows. */
		if (square > 0 && square < INFINITY)
			continue;
		bad = lineup_probe_normalise(&batch->vectors, i, vector);
		if (bad)
			return bad_row(e, i, bad);
	}
	return 0;
}

/* Rows [first, first + rows) of a batch, for the places from e->waiting on. */
struct put {
	struct lineup_enrol *enrol;
	const struct lineup_enrol_batch *batch;
	uint64_t first;
	uint64_t rows;
	atomic_ullong next;
	atomic_ullong bad; /* the first row that is; UINT64_MAX: none */
};

static void put_rows(void *arg, uint32_t thread)
{
	struct put *p = arg;
	uint64_t from;

	(void)thread;
	while ((from = atomic_fetch_add(&p->next, ROWS_AT_ONCE)) < p->rows) {
		for (uint64_t i = from; i < p->rows && i < from + ROWS_AT_ONCE; i++) {
			unsigned long long bad = atomic_load(&p->bad);

			if (!put_row(p->enrol, p->batch, p->first + i, p->enrol->waiting + i))
				continue;
			while (p->first + i < bad && !atomic_compare_exchange_weak(&p->bad, &bad, p->first + i))
				;
		}
	}
}

int lineup_enrol_add(struct lineup_enrol *e, const struct lineup_enrol_batch *batch)
{
	struct lineup_gallery *g = e->gallery;
	uint64_t rows = batch->vectors.rows, from = e->waiting;
	struct lineup_fault fault;
	int err;

	if (e->failed)
		return lineup_fail(g->ctx, e->failed, "gallery %s: this enrolment has failed already", g->path);
	if (e->repeated)
		return 0;
	err = check_batch(e, batch);
	if (!err && rows > e->waiting_max - e->waiting)
		err = check_rows(e, batch);
	if (err)
		return err;
	if (rows >= POOL_ROWS_MIN && !e->pool)
		e->pool = lineup_gallery_pool();
	for (uint64_t done = 0; done < rows;) {
		struct put put = { .enrol = e, .batch = batch, .first = done, .rows = rows - done, .bad = UINT64_MAX };

		if (e->waiting == e->waiting_max) {
			e->failed = lineup_enrol_spill(e, &fault);
			if (e->failed)
				return lineup_gallery_fail(g, e->failed, &fault);
		}
		if (put.rows > e->waiting_max - e->waiting)
			put.rows = e->waiting_max - e->waiting;
		if (e->pool && put.rows > ROWS_AT_ONCE)
			lineup_pool_run(e->pool, put_rows, &put);
		else
			put_rows(&put, 0);
		if (put.bad != UINT64_MAX) {
			e->waiting = from;
			return bad_row(e, put.bad, lineup_probe_normalise(&batch->vectors, put.bad, (float[LINEUP_DIM_MAX]){ 0 }));
		}
		e->waiting += put.rows;
		done += put.rows;
	}
	return 0;
}

void lineup_enrol_free(struct lineup_enrol *e)
{
	if (!e)
		return;
	for (uint32_t i = 0; i < e->owns; i++)
		lineup_part_put(e->own[i].part);
	free(e->own);
	lineup_segment_fini(&e->writer);
	lineup_change_fini(&e->change);
	lineup_pool_destroy(e->pool);
	lineup_table_fini(&e->names);
	lineup_lookup_fini(&e->lookup);
	if (e->records)
		explicit_bzero(e->records, e->waiting * e->gallery->state.shape.record_bytes);
	free(e->records);
	free(e->automatic);
	free(e->hashes);
	free(e);
}

void lineup_enrol_abort(struct lineup_enrol *e)
{
	struct lineup_gallery *g = e ? e->gallery : NULL;

	lineup_enrol_free(e);
	if (g)
		lineup_gallery_leave(g);
}
