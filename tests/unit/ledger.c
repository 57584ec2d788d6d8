// SPDX-License-Identifier: MIT
// The model gallery: a list of rows, changed by one operation after the other, and compared with the real one.
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gallery.h"
#include "ledger.h"

#define WHY(why, ...) (snprintf(why, LEDGER_WHY_BYTES, __VA_ARGS__), (const char *)(why))

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t z = a * 0x9e3779b97f4a7c15u + b + 1;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void *checked(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- rows of an operation ----------------------------------------------------------------------------------------------- */

void ledger_subject_name(uint32_t number, char name[LINEUP_SUBJECT_BYTES_MAX + 1])
{
	/* The longest name allowed, a number that no template has, UTF-8, and plain ones. */
	if (number == 0)
		snprintf(name, LINEUP_SUBJECT_BYTES_MAX + 1, "%064u", 7u);
	else if (number == 1)
		strcpy(name, "03");
	else if (number % 5 == 0)
		snprintf(name, LINEUP_SUBJECT_BYTES_MAX + 1, "sujet-\xc3\xa9-%u", number);
	else
		snprintf(name, LINEUP_SUBJECT_BYTES_MAX + 1, "subject-%u", number);
}

void ledger_list_name(uint32_t number, char name[LINEUP_LIST_NAME_BYTES_MAX + 1])
{
	if (number == 0)
		memset(name, 'L', LINEUP_LIST_NAME_BYTES_MAX), name[LINEUP_LIST_NAME_BYTES_MAX] = 0;
	else
		snprintf(name, LINEUP_LIST_NAME_BYTES_MAX + 1, "list_%u.a-b", number);
}

/* The lists that an enrolment asks for, by number, in its order. */
static uint32_t op_lists(const struct ledger_op *op, uint32_t lists[LEDGER_LISTS])
{
	uint32_t count = 0;

	if (!op->listed)
		return 0;
	for (uint32_t i = 0; i < LEDGER_LISTS; i++) {
		uint32_t number = (uint32_t)((op->seed + i * 5) % LEDGER_LISTS);
		bool known = false;

		for (uint32_t j = 0; j < count; j++)
			known |= lists[j] == number;
		if (!known && mix(op->seed, 1000 + i) % 2)
			lists[count++] = number;
	}
	return count;
}

static void op_vector(const struct ledger_op *op, uint64_t row, uint32_t dim, float *vector)
{
	double scale = ldexp(1, (int)(mix(op->seed, row) % 21) - 10);
	bool zero = true;

	for (uint32_t i = 0; i < dim; i++) {
		uint64_t r = mix(mix(op->seed, row), i + 1);

		vector[i] = r % 11 ? (float)(((double)(r >> 11) * 0x1p-53 * 2 - 1) * scale) : 0;
		zero &= !vector[i];
	}
	if (zero)
		vector[0] = 1;
}

static double dot(const float *a, const float *b, uint32_t dim)
{
	double lane[8] = { 0 };

	for (uint32_t i = 0; i < dim; i++)
		lane[i % 8] += (double)a[i] * b[i];
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static float half_rounded(float value)
{
	int exponent = value ? ilogbf(value) : -14;
	double unit = ldexp(1, (exponent < -14 ? -14 : exponent) - 10);

	return (float)(nearbyint(value / unit) * unit);
}

static void store_vector(const struct ledger *o, const float *raw, float *stored)
{
	double norm = sqrt(dot(raw, raw, o->dim));

	for (uint32_t i = 0; i < o->dim; i++) {
		stored[i] = (float)((double)raw[i] / norm);
		if (o->store == LINEUP_STORE_FLOAT16)
			stored[i] = half_rounded(stored[i]);
	}
}

static uint32_t op_subject(const struct ledger_op *op, uint64_t row)
{
	return (uint32_t)(mix(op->seed, row + 777) % LEDGER_NAMES);
}

static uint64_t op_mask(const struct ledger_op *op, uint64_t row, const uint64_t *bits, uint32_t count)
{
	uint64_t mask = 0;

	for (uint32_t i = 0; i < count; i++)
		if (mix(op->seed, row * 64 + i) % 3 == 0)
			mask |= bits[i];
	return mask;
}

static int64_t op_expires(const struct ledger_op *op, uint64_t row)
{
	uint64_t r = mix(op->seed, row + 5555);

	return op->expiring && r % 3 ? (int64_t)(r % 4000000000u) + 1 : 0;
}

static void op_bytes(const struct ledger_op *op, uint8_t bytes[LINEUP_OP_ID_BYTES])
{
	uint64_t high = mix(op->id, 99);

	memcpy(bytes, &op->id, 8);
	memcpy(bytes + 8, &high, 8);
}

/* ---- the model ---------------------------------------------------------------------------------------------------------- */

void ledger_init(struct ledger *o, uint32_t dim, enum lineup_store store, uint64_t template_next)
{
	memset(o, 0, sizeof(*o));
	o->dim = dim;
	o->store = store;
	o->template_next = template_next;
}

void ledger_fini(struct ledger *o)
{
	free(o->rows);
	free(o->done);
	memset(o, 0, sizeof(*o));
}

void ledger_copy(struct ledger *to, const struct ledger *from)
{
	*to = *from;
	to->rows = checked(malloc((from->row_count + 1) * sizeof(*to->rows)));
	to->done = checked(malloc((from->done_count + 1) * sizeof(*to->done)));
	if (from->row_count)
		memcpy(to->rows, from->rows, from->row_count * sizeof(*to->rows));
	if (from->done_count)
		memcpy(to->done, from->done, from->done_count * sizeof(*to->done));
}

static uint64_t list_bit(struct ledger *o, uint32_t number)
{
	for (uint32_t i = 0; i < o->lists; i++)
		if (o->list[i] == number)
			return (uint64_t)1 << i;
	o->list[o->lists] = number;
	return (uint64_t)1 << o->lists++;
}

static void apply_enrol(struct ledger *o, const struct ledger_op *op, struct ledger_result *result)
{
	uint32_t lists[LEDGER_LISTS], list_count = op_lists(op, lists);
	uint64_t bits[LEDGER_LISTS];

	for (uint32_t i = 0; i < list_count; i++)
		bits[i] = list_bit(o, lists[i]);
	o->rows = checked(realloc(o->rows, (o->row_count + op->rows) * sizeof(*o->rows)));
	for (uint32_t i = 0; i < op->rows; i++) {
		struct ledger_row *row = &o->rows[o->row_count++];
		float raw[LEDGER_DIM_MAX];

		memset(row, 0, sizeof(*row));
		row->id = o->template_next++;
		row->lists = op_mask(op, i, bits, list_count);
		row->expires = op_expires(op, i);
		if (op->named || op->kind == LEDGER_REPLACE)
			ledger_subject_name(op_subject(op, i), row->subject);
		else
			snprintf(row->subject, sizeof(row->subject), "%llu", (unsigned long long)row->id);
		op_vector(op, i, o->dim, raw);
		store_vector(o, raw, row->vector);
	}
	result->rows = op->rows;
}

static uint64_t apply_delete(struct ledger *o, const struct ledger_op *op)
{
	char name[LINEUP_SUBJECT_BYTES_MAX + 1];
	uint64_t count = 0;

	ledger_subject_name(op->subject, name);
	for (size_t i = 0; i < o->row_count; i++) {
		struct ledger_row *row = &o->rows[i];

		if (!row->deleted && (op->kind == LEDGER_DELETE_SUBJECT ? !strcmp(row->subject, name) : row->id == op->template_id)) {
			row->deleted = true;
			count++;
		}
	}
	return count;
}

/* Before its rows come in, all that their subjects have goes. */
static void apply_replace(struct ledger *o, const struct ledger_op *op)
{
	for (uint32_t i = 0; i < op->rows; i++) {
		struct ledger_op deletion = { .kind = LEDGER_DELETE_SUBJECT, .subject = op_subject(op, i) };

		apply_delete(o, &deletion);
	}
}

static bool enrols(const struct ledger_op *op)
{
	return op->kind == LEDGER_ENROL || op->kind == LEDGER_REPLACE;
}

int ledger_apply(struct ledger *o, const struct ledger_op *op, struct ledger_result *result)
{
	struct ledger_result r = { .template_first = enrols(op) ? o->template_next : 0 };

	if (op->kind == LEDGER_COMPACT || op->kind == LEDGER_MAINTAIN) {
		*result = r;
		return 0;
	}
	if (op->kind == LEDGER_GROUP) {
		for (uint32_t i = 0; i < op->op_count; i++)
			ledger_apply(o, &op->ops[i], result);
		*result = r;
		return 0;
	}
	for (size_t i = 0; i < o->done_count; i++)
		if (o->done[i].id == op->id) {
			*result = o->done[i].result;
			result->repeated = true;
			return 0;
		}
	if (op->kind == LEDGER_REPLACE)
		apply_replace(o, op);
	if (enrols(op)) {
		apply_enrol(o, op, &r);
	} else {
		r.rows = apply_delete(o, op);
		if (!r.rows)
			return -ENOENT;
	}
	r.sequence = ++o->sequence;
	o->done = checked(realloc(o->done, (o->done_count + 1) * sizeof(*o->done)));
	o->done[o->done_count++] = (struct ledger_done) { .id = op->id, .kind = op->kind, .result = r };
	*result = r;
	return 0;
}

uint64_t ledger_templates(const struct ledger *o)
{
	uint64_t count = 0;

	for (size_t i = 0; i < o->row_count; i++)
		count += !o->rows[i].deleted;
	return count;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

uint64_t ledger_subjects(const struct ledger *o)
{
	const char **names = checked(malloc((o->row_count + 1) * sizeof(*names)));
	uint64_t count = 0, different = 0;

	for (size_t i = 0; i < o->row_count; i++)
		if (!o->rows[i].deleted)
			names[count++] = o->rows[i].subject;
	qsort(names, count, sizeof(*names), compare_names);
	for (uint64_t i = 0; i < count; i++)
		different += !i || strcmp(names[i - 1], names[i]);
	free(names);
	return different;
}

/* ---- the real one ------------------------------------------------------------------------------------------------------- */

struct rows { /* of an enrolment, as a caller gives them */
	float *vectors;
	char (*names)[LINEUP_SUBJECT_BYTES_MAX + 1];
	const char **subjects;
	uint64_t *lists;
	int64_t *expires;
};

static void rows_make(struct rows *r, const struct ledger_op *op, uint32_t dim, const uint64_t *bits, uint32_t lists)
{
	r->vectors = checked(malloc((op->rows * dim + 1) * sizeof(float)));
	r->names = checked(malloc((op->rows + 1) * sizeof(*r->names)));
	r->subjects = checked(malloc((op->rows + 1) * sizeof(*r->subjects)));
	r->lists = checked(malloc((op->rows + 1) * sizeof(*r->lists)));
	r->expires = checked(malloc((op->rows + 1) * sizeof(*r->expires)));
	for (uint32_t i = 0; i < op->rows; i++) {
		op_vector(op, i, dim, r->vectors + (size_t)i * dim);
		ledger_subject_name(op_subject(op, i), r->names[i]);
		r->subjects[i] = r->names[i];
		r->lists[i] = op_mask(op, i, bits, lists);
		r->expires[i] = op_expires(op, i);
	}
}

static void rows_free(struct rows *r)
{
	free(r->vectors);
	free(r->names);
	free(r->subjects);
	free(r->lists);
	free(r->expires);
}

static int add_rows(struct lineup_enrol *enrol, const struct ledger_op *op, const struct rows *r, uint32_t dim)
{
	for (uint32_t at = 0, count; at < op->rows; at += count) {
		struct lineup_enrol_batch batch = { 0 };
		int err;

		count = op->rows - at;
		if (op->batch && count > op->batch)
			count = op->batch;
		batch.vectors = (struct lineup_matrix) { r->vectors + (size_t)at * dim, count, dim, LINEUP_FLOAT32 };
		batch.subjects = op->named ? r->subjects + at : NULL;
		batch.lists = op->listed ? r->lists + at : NULL;
		batch.expires = op->expiring ? r->expires + at : NULL;
		err = lineup_enrol_add(enrol, &batch);
		if (err)
			return err;
	}
	return 0;
}

static int run_enrol(struct lineup_gallery *gallery, const struct ledger_op *op, struct ledger_result *result)
{
	struct lineup_enrol_options options = { .size = sizeof(options) };
	uint32_t lists[LEDGER_LISTS], list_count = op_lists(op, lists);
	uint64_t bits[LEDGER_LISTS] = { 0 };
	struct lineup_enrol_result r;
	struct lineup_enrol *enrol;
	struct lineup_gallery_info info;
	struct rows rows;
	int err;

	lineup_gallery_info(gallery, &info);
	op_bytes(op, options.op_id);
	err = lineup_enrol_begin(gallery, &options, &enrol);
	if (err)
		return err;
	for (uint32_t i = 0; !err && i < list_count; i++) {
		char name[LINEUP_LIST_NAME_BYTES_MAX + 1];

		ledger_list_name(lists[i], name);
		err = lineup_enrol_list(enrol, name, &bits[i]);
	}
	rows_make(&rows, op, info.dim, bits, list_count);
	if (!err)
		err = add_rows(enrol, op, &rows, info.dim);
	rows_free(&rows);
	if (err) {
		lineup_enrol_abort(enrol);
		return err;
	}
	err = lineup_enrol_commit(enrol, &r);
	if (!err && memcmp(r.op_id, options.op_id, sizeof(r.op_id)))
		return -EPROTO;
	if (!err)
		*result = (struct ledger_result) { r.sequence, r.template_first, r.rows, r.repeated };
	return err;
}

static void delete_options(const struct ledger_op *op, struct lineup_delete_options *options,
			   char name[LINEUP_SUBJECT_BYTES_MAX + 1])
{
	*options = (struct lineup_delete_options) { .size = sizeof(*options), .template_id = op->template_id };
	ledger_subject_name(op->subject, name);
	op_bytes(op, options->op_id);
	options->what = op->kind == LEDGER_DELETE_SUBJECT ? LINEUP_DELETE_SUBJECT : LINEUP_DELETE_TEMPLATE;
	options->subject = op->kind == LEDGER_DELETE_SUBJECT ? name : NULL;
}

static int run_delete(struct lineup_gallery *gallery, const struct ledger_op *op, struct ledger_result *result)
{
	char name[LINEUP_SUBJECT_BYTES_MAX + 1];
	struct lineup_delete_options options;
	struct lineup_delete_result r;
	int err;

	delete_options(op, &options, name);
	err = lineup_gallery_delete(gallery, &options, &r);
	if (!err && memcmp(r.op_id, options.op_id, sizeof(r.op_id)))
		return -EPROTO;
	if (!err)
		*result = (struct ledger_result) { r.sequence, 0, r.rows, r.repeated };
	return err;
}

static int stage_enrol(struct lineup_gallery *gallery, struct lineup_group *group, const struct ledger_op *op,
		       struct ledger_result *result)
{
	struct lineup_group_options options = { .size = sizeof(options) };
	uint32_t lists[LEDGER_LISTS], list_count = op_lists(op, lists), dim;
	struct lineup_enrol_batch batch = { 0 };
	uint64_t bits[LEDGER_LISTS] = { 0 };
	struct lineup_enrol_result r = { 0 };
	struct lineup_gallery_info info;
	struct rows rows;
	int err = 0;

	lineup_gallery_info(gallery, &info);
	dim = info.dim;
	op_bytes(op, options.op_id);
	options.flags = op->kind == LEDGER_REPLACE ? LINEUP_GROUP_REPLACE : 0;
	for (uint32_t i = 0; !err && i < list_count; i++) {
		char name[LINEUP_LIST_NAME_BYTES_MAX + 1];

		ledger_list_name(lists[i], name);
		err = lineup_group_list(group, name, &bits[i]);
	}
	if (err)
		return err;
	rows_make(&rows, op, dim, bits, list_count);
	batch.vectors = (struct lineup_matrix) { rows.vectors, op->rows, dim, LINEUP_FLOAT32 };
	batch.subjects = op->named || op->kind == LEDGER_REPLACE ? rows.subjects : NULL;
	batch.lists = op->listed ? rows.lists : NULL;
	batch.expires = op->expiring ? rows.expires : NULL;
	err = lineup_group_enrol(group, &options, &batch, &r);
	rows_free(&rows);
	if (!err && memcmp(r.op_id, options.op_id, sizeof(r.op_id)))
		return -EPROTO;
	if (!err)
		*result = (struct ledger_result) { r.sequence, r.template_first, r.rows, r.repeated };
	return err;
}

int ledger_stage(struct lineup_gallery *gallery, struct lineup_group *group, const struct ledger_op *op, struct ledger_result *result)
{
	char name[LINEUP_SUBJECT_BYTES_MAX + 1];
	struct lineup_delete_options options;
	struct lineup_delete_result r;
	int err;

	memset(result, 0, sizeof(*result));
	if (enrols(op))
		return stage_enrol(gallery, group, op, result);
	delete_options(op, &options, name);
	err = lineup_group_delete(group, &options, &r);
	if (!err && memcmp(r.op_id, options.op_id, sizeof(r.op_id)))
		return -EPROTO;
	if (!err)
		*result = (struct ledger_result) { r.sequence, 0, r.rows, r.repeated };
	return err;
}

static bool refused(int err)
{
	return err == -ENOENT;
}

static int run_group(struct lineup_gallery *gallery, const struct ledger_op *ops, uint32_t count, struct ledger_result *result)
{
	struct lineup_group *group;
	int err = lineup_group_begin(gallery, &group);

	for (uint32_t i = 0; !err && i < count; i++) {
		err = ledger_stage(gallery, group, &ops[i], result);
		if (refused(err))
			err = 0;
		else if (err)
			lineup_group_abort(group);
	}
	return err ? err : lineup_group_commit(group);
}

static int run_maintain(struct lineup_gallery *gallery, const struct ledger_op *op)
{
	struct lineup_maintain_options options = { .size = sizeof(options), .compact = op->compact };

	return lineup_gallery_maintain(gallery, &options, NULL);
}

int ledger_run(struct lineup_gallery *gallery, const struct ledger_op *op, struct ledger_result *result)
{
	int err;

	memset(result, 0, sizeof(*result));
	switch (op->kind) {
	case LEDGER_COMPACT:
		return lineup_gallery_compact(gallery, NULL, NULL, NULL);
	case LEDGER_MAINTAIN:
		return run_maintain(gallery, op);
	case LEDGER_REPLACE:
		return run_group(gallery, op, 1, result);
	case LEDGER_GROUP:
		err = run_group(gallery, op->ops, op->op_count, result);
		memset(result, 0, sizeof(*result));
		return err;
	case LEDGER_ENROL:
		return run_enrol(gallery, op, result);
	default:
		return run_delete(gallery, op, result);
	}
}

static const char *results_differ(const struct ledger_op *op, const struct ledger_result *got, const struct ledger_result *expected,
				  int err, int expected_err, char *why)
{
	if (err != expected_err)
		return WHY(why, "operation kind %d returned %d instead of %d", op->kind, err, expected_err);
	if (err)
		return NULL;
	if (got->sequence != expected->sequence || got->template_first != expected->template_first || got->rows != expected->rows ||
	    got->repeated != expected->repeated)
		return WHY(why, "operation kind %d: sequence %llu/%llu first %llu/%llu rows %llu/%llu repeated %d/%d (is/should be)", op->kind,
			   (unsigned long long)got->sequence, (unsigned long long)expected->sequence,
			   (unsigned long long)got->template_first, (unsigned long long)expected->template_first,
			   (unsigned long long)got->rows, (unsigned long long)expected->rows, got->repeated, expected->repeated);
	return NULL;
}

static const char *group_both(struct ledger *o, struct lineup_gallery *gallery, const struct ledger_op *op, char *why)
{
	struct lineup_group *group;
	const char *differs = NULL;
	int err = lineup_group_begin(gallery, &group);

	if (err)
		return WHY(why, "lineup_group_begin: %d", err);
	for (uint32_t i = 0; !differs && i < op->op_count; i++) {
		struct ledger_result expected = { 0 }, got = { 0 };
		int expected_err = ledger_apply(o, &op->ops[i], &expected);

		err = ledger_stage(gallery, group, &op->ops[i], &got);
		differs = results_differ(&op->ops[i], &got, &expected, err, expected_err, why);
	}
	err = lineup_group_commit(group);
	return differs || !err ? differs : WHY(why, "lineup_group_commit: %d", err);
}

const char *ledger_both(struct ledger *o, struct lineup_gallery *gallery, const struct ledger_op *op, char *why)
{
	struct ledger_result expected = { 0 }, got = { 0 };
	int expected_err, err;

	if (op->kind == LEDGER_GROUP)
		return group_both(o, gallery, op, why);
	expected_err = ledger_apply(o, op, &expected);
	err = ledger_run(gallery, op, &got);
	return results_differ(op, &got, &expected, err, expected_err, why);
}

struct compare {
	const struct ledger *o;
	size_t at;
	char *why;
	bool differs;
};

static int compare_template(void *arg, const struct lineup_template *t)
{
	struct compare *c = arg;
	const struct ledger_row *row;

	c->differs = true;
	while (c->at < c->o->row_count && c->o->rows[c->at].deleted)
		c->at++;
	if (c->at == c->o->row_count)
		return WHY(c->why, "template %llu should not be there", (unsigned long long)t->id), 1;
	row = &c->o->rows[c->at++];
	if (t->id != row->id)
		return WHY(c->why, "template %llu in place of %llu", (unsigned long long)t->id, (unsigned long long)row->id), 1;
	if (t->lists != row->lists || t->expires != row->expires || strcmp(t->subject, row->subject))
		return WHY(c->why, "template %llu: lists, expiry or subject '%s' differs ('%s')", (unsigned long long)t->id, t->subject,
			   row->subject), 1;
	if (memcmp(t->vector, row->vector, c->o->dim * sizeof(float)))
		return WHY(c->why, "template %llu: vector differs", (unsigned long long)t->id), 1;
	c->differs = false;
	return 0;
}

static const char *info_differs(const struct ledger *o, struct lineup_gallery *gallery, const uint8_t *digest, char *why)
{
	struct lineup_gallery_info info;

	lineup_gallery_info(gallery, &info);
	if (info.sequence != o->sequence)
		return WHY(why, "sequence %llu, not %llu", (unsigned long long)info.sequence, (unsigned long long)o->sequence);
	if (info.templates != ledger_templates(o))
		return WHY(why, "%llu templates, not %llu", (unsigned long long)info.templates, (unsigned long long)ledger_templates(o));
	if (info.templates_deleted > o->row_count - ledger_templates(o))
		return WHY(why, "%llu deleted templates", (unsigned long long)info.templates_deleted);
	if (info.subjects != ledger_subjects(o))
		return WHY(why, "%llu subjects, not %llu", (unsigned long long)info.subjects, (unsigned long long)ledger_subjects(o));
	if (info.templates_next != o->template_next)
		return WHY(why, "next template %llu, not %llu", (unsigned long long)info.templates_next,
			   (unsigned long long)o->template_next);
	if (info.dim != o->dim || info.store != o->store)
		return WHY(why, "dimension or store");
	if (info.lists != o->lists)
		return WHY(why, "%u lists, not %u", info.lists, o->lists);
	for (uint32_t i = 0; i < o->lists; i++) {
		char name[LINEUP_LIST_NAME_BYTES_MAX + 1];

		ledger_list_name(o->list[i], name);
		if (strcmp(name, info.list[i]))
			return WHY(why, "list %u is '%s', not '%s'", i, info.list[i], name);
	}
	if (digest && memcmp(digest, info.digest, sizeof(info.digest)))
		return WHY(why, "digest");
	return NULL;
}

const char *ledger_differs(const struct ledger *o, struct lineup_gallery *gallery, const uint8_t *digest, char *why)
{
	struct compare c = { .o = o, .why = why };
	const char *differs = info_differs(o, gallery, digest, why);
	int err;

	if (differs)
		return differs;
	err = lineup_gallery_read(gallery, compare_template, &c);
	if (c.differs)
		return why;
	if (err)
		return WHY(why, "lineup_gallery_read: %d", err);
	while (c.at < o->row_count && o->rows[c.at].deleted)
		c.at++;
	if (c.at < o->row_count)
		return WHY(why, "template %llu is missing", (unsigned long long)o->rows[c.at].id);
	return NULL;
}

/* ---- files -------------------------------------------------------------------------------------------------------------- */

struct names {
	char name[64][40];
	bool found[64];
	size_t count;
};

static void name_add(struct names *n, const char *format, uint32_t generation)
{
	if (n->count < ARRAY_SIZE(n->name))
		snprintf(n->name[n->count++], sizeof(n->name[0]), format, generation);
}

static bool named_files(const char *path, struct names *n)
{
	struct disk_manifest m;
	char file[4096];
	bool good = false;
	int fd;

	snprintf(file, sizeof(file), "%s/MANIFEST", path);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	name_add(n, "MANIFEST", 0);
	if (read(fd, &m, sizeof(m)) == sizeof(m)) {
		good = true;
		name_add(n, "journal-%08x", m.journal);
		for (uint32_t i = 0; good && i < m.segments; i++) {
			struct disk_manifest_segment s;
			off_t at = (off_t)(sizeof(m) + m.lists * sizeof(struct disk_list) + i * sizeof(s));

			good = pread(fd, &s, sizeof(s), at) == sizeof(s);
			name_add(n, "segment-%08x", s.generation);
			if (s.deleted_generation)
				name_add(n, "deleted-%08x", s.deleted_generation);
		}
	}
	close(fd);
	return good;
}

const char *ledger_stray(const char *path, char *why)
{
	const char *stray = NULL;
	struct names n = { .count = 0 };
	DIR *dir = opendir(path);

	if (!dir || !named_files(path, &n))
		stray = WHY(why, "no MANIFEST");
	while (!stray) {
		struct dirent *d = readdir(dir);
		bool known = false;

		if (!d)
			break;
		for (size_t i = 0; i < n.count; i++)
			if (!strcmp(d->d_name, n.name[i]))
				known = n.found[i] = true;
		if (!known && strcmp(d->d_name, ".") && strcmp(d->d_name, "..") && strcmp(d->d_name, "lock"))
			stray = WHY(why, "stray file %.200s", d->d_name);
	}
	for (size_t i = 0; !stray && i < n.count; i++)
		if (!n.found[i])
			stray = WHY(why, "missing file %s", n.name[i]);
	if (dir)
		closedir(dir);
	return stray;
}

void ledger_log_line(void *arg, enum lineup_log_level level, const char *message)
{
	struct ledger_log *log = arg;
	int n = snprintf(log->text + log->size, sizeof(log->text) - log->size, "%s\n", message);

	if (n > 0 && log->size + (size_t)n < sizeof(log->text))
		log->size += (size_t)n;
	log->errors += level == LINEUP_LOG_ERROR;
	log->warnings += level == LINEUP_LOG_WARNING;
}

void ledger_log_clear(struct ledger_log *log)
{
	memset(log, 0, sizeof(*log));
}
