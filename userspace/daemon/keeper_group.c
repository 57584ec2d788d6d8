// SPDX-License-Identifier: MIT
// The keeper's changes: operations that wait become one group, with one sync, and are answered when it has ended.
#include "keeper_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void batch_add(struct keeper *k, struct keeper_op *op)
{
	op->task.next = NULL;
	*k->batch.end = op;
	k->batch.end = (struct keeper_op **)&op->task.next;
	k->batch.operations++;
}

/*
 * Answers all of the batch: with @err, unless it is 0, also those that had been staged, or had been told something
 * that rests on what was.
 */
static void batch_answer(struct keeper *k, int err, const char *message)
{
	struct keeper_op *op = k->batch.first, *next;

	k->batch = (struct keeper_batch){ .end = &k->batch.first };
	for (; op; op = next) {
		next = (struct keeper_op *)op->task.next;
		if (err)
			keeper_refuse(op, err, "%s", message);
		else if (!op->err && op->kind == KEEPER_ENROL && !op->enrolled.repeated)
			metrics_count(METRIC_ENROLLED, op->enrolled.rows);
		else if (!op->err && op->kind == KEEPER_DELETE && !op->deleted.repeated)
			metrics_count(METRIC_DELETED, op->deleted.rows);
		keeper_answer(k, op);
	}
}

static void log_failure(const struct keeper *k, const char *what, const char *message)
{
	char name[2 * DAEMON_NAME_BYTES_MAX], text[2 * MESSAGE_BYTES];

	log_event(LOG_ERROR, what, "gallery=%s error=%s", log_quote(name, sizeof(name), k->name), log_quote(text, sizeof(text), message));
}

/* What the operation was is known to the disk alone: what was put for it is judged when the gallery is recovered. */
static void after_failure(struct keeper *k)
{
	if (lineup_gallery_refuses(k->gallery)) {
		k->recover_at_ns = now_ns();
		k->recover_pause_ms = KEEPER_RECOVER_MS;
	} else if (k->batch.put) {
		attributes_revert(k->attributes);
	}
}

void keeper_flush(struct keeper *k)
{
	char message[MESSAGE_BYTES] = "";
	uint64_t begun = now_ns();
	bool grouped = k->batch.group;
	int err = k->batch.err;

	if (!k->batch.first && !grouped)
		return;
	if (!err) { /* also with nothing put: attributes.h says why */
		err = attributes_commit(k->attributes);
		if (err)
			snprintf(message, sizeof(message), "gallery %s: attributes could not be written: %s", k->name, strerror(-err));
	}
	if (err) {
		lineup_group_abort(k->batch.group);
		if (k->batch.err && k->batch.put)
			attributes_revert(k->attributes);
		if (!message[0])
			snprintf(message, sizeof(message), "gallery %s: %s", k->name, strerror(-err));
	} else if (grouped) {
		message_catch(message);
		err = lineup_group_commit(k->batch.group);
		message_catch(NULL);
		if (err)
			after_failure(k);
	}
	k->batch.group = NULL;
	if (err) {
		log_failure(k, "group_failed", message);
	} else if (k->batch.put) {
		attributes_apply(k->attributes);
		atomic_store(&k->attributes_count, attributes_count(k->attributes));
	}
	if (grouped && !err) {
		metrics_count(METRIC_GROUPS, 1);
		metrics_latency(METRIC_SYNC_NS, now_ns() - begun);
	}
	batch_answer(k, err, message);
	pthread_cond_signal(&k->maintain_wake);
}

/* The masks of the lists that @op's rows are on; NULL with 0: none. @list gives the bit of a name. */
static int row_masks(const struct keeper_op *op, int (*list)(void *arg, const char *name, uint64_t *mask),
		     void *arg, uint64_t **masks)
{
	uint64_t rows = op->vectors.rows, all = 0, bit;
	uint64_t *mask;
	int err = 0;

	*masks = NULL;
	if (!op->list_count && !op->row_lists)
		return 0;
	for (uint32_t i = 0; !err && i < op->list_count; i++) {
		err = list(arg, op->lists[i], &bit);
		all |= err ? 0 : bit;
	}
	mask = err ? NULL : calloc(rows, sizeof(*mask));
	if (!mask)
		return err ? err : -ENOMEM;
	for (uint64_t r = 0; !err && r < rows; r++) {
		const char *names = op->row_lists ? op->row_lists[r] : "";

		mask[r] = all;
		while (!err && *names) {
			char name[LINEUP_LIST_NAME_BYTES_MAX + 1];
			size_t size = strcspn(names, ";");

			if (size >= sizeof(name)) {
				err = -EINVAL;
				break;
			}
			memcpy(name, names, size);
			name[size] = '\0';
			err = list(arg, name, &bit);
			mask[r] |= err ? 0 : bit;
			names += size + (names[size] == ';');
		}
	}
	if (err)
		free(mask);
	else
		*masks = mask;
	return err;
}

static int group_list(void *arg, const char *name, uint64_t *mask)
{
	return lineup_group_list(arg, name, mask);
}

static int enrol_list(void *arg, const char *name, uint64_t *mask)
{
	return lineup_enrol_list(arg, name, mask);
}

static struct lineup_enrol_batch enrol_batch(const struct keeper_op *op, const uint64_t *masks)
{
	return (struct lineup_enrol_batch){ .vectors = op->vectors, .subjects = op->subjects, .lists = masks, .expires = op->expires };
}

static int stage_enrol(struct keeper *k, struct keeper_op *op)
{
	struct lineup_group_options options = { .size = sizeof(options), .flags = op->replace ? LINEUP_GROUP_REPLACE : 0 };
	struct lineup_enrol_batch batch;
	uint64_t *masks;
	int err = row_masks(op, group_list, k->batch.group, &masks);

	if (err)
		return err;
	batch = enrol_batch(op, masks);
	memcpy(options.op_id, op->op_id, sizeof(options.op_id));
	err = lineup_group_enrol(k->batch.group, &options, &batch, &op->enrolled);
	free(masks);
	if (!err && op->attributes && !op->enrolled.repeated) {
		k->batch.err = attributes_put(k->attributes, op->subjects[0], op->enrolled.subject_number, op->enrolled.sequence,
					      op->attributes, op->attributes_size);
		k->batch.put = true;
	}
	return err;
}

static int stage_delete(struct keeper *k, struct keeper_op *op)
{
	struct lineup_delete_options options = {
		.size = sizeof(options),
		.what = op->by_template ? LINEUP_DELETE_TEMPLATE : LINEUP_DELETE_SUBJECT,
		.subject = op->by_template ? NULL : op->subjects[0],
		.template_id = op->template_id,
	};
	struct lineup_delete_result *result = &op->deleted;
	int err;

	memcpy(options.op_id, op->op_id, sizeof(options.op_id));
	err = lineup_group_delete(k->batch.group, &options, result);
	if (!err && result->last && !result->repeated && (k->batch.put || attributes_get(k->attributes, result->subject))) {
		k->batch.err = attributes_put(k->attributes, result->subject, result->subject_number, result->sequence, NULL, 0);
		k->batch.put = true;
	}
	return err;
}

/* More rows than a group takes: an enrolment of its own. */
static void enrol_alone(struct keeper *k, struct keeper_op *op)
{
	struct lineup_enrol_options options = { .size = sizeof(options) };
	struct lineup_enrol *enrol;
	uint64_t *masks = NULL;
	int err;

	keeper_flush(k);
	if (op->replace || op->attributes) {
		keeper_refuse(op, -E2BIG, "%s with more than %llu rows", op->replace ? "REPLACE" : "SETATTR",
			      (unsigned long long)lineup_group_rows_max(k->gallery));
		keeper_answer(k, op);
		return;
	}
	message_catch(op->message);
	memcpy(options.op_id, op->op_id, sizeof(options.op_id));
	err = attributes_commit(k->attributes); /* attributes.h says why */
	if (!err)
		err = lineup_enrol_begin(k->gallery, &options, &enrol);
	if (!err) {
		err = row_masks(op, enrol_list, enrol, &masks);
		if (!err) {
			struct lineup_enrol_batch batch = enrol_batch(op, masks);

			err = lineup_enrol_add(enrol, &batch);
		}
		if (!err)
			err = lineup_enrol_commit(enrol, &op->enrolled);
		else
			lineup_enrol_abort(enrol);
	}
	message_catch(NULL);
	free(masks);
	op->err = err;
	if (err)
		after_failure(k);
	else if (!op->enrolled.repeated)
		metrics_count(METRIC_ENROLLED, op->enrolled.rows);
	keeper_answer(k, op);
}

static int number_of(void *arg, const struct lineup_template *t)
{
	*(uint32_t *)arg = t->subject_number;
	return 1;
}

static int follow(void *arg, const char *subject, uint32_t *number)
{
	int err = lineup_gallery_subject(arg, subject, number_of, number);

	return err == 1 ? 0 : err;
}

int keeper_attributes_open(struct keeper *k)
{
	struct lineup_gallery_state state;
	struct attributes *attributes;
	int err;

	lineup_gallery_now(k->gallery, &state);
	err = attributes_open(k->path, state.sequence, &attributes);
	if (err)
		return err;
	err = attributes_follow(attributes, follow, k->gallery);
	if (err) {
		attributes_close(attributes);
		return err;
	}
	k->attributes = attributes;
	atomic_store(&k->attributes_count, attributes_count(attributes));
	return 0;
}

static void set_attributes(struct keeper *k, struct keeper_op *op)
{
	struct lineup_gallery_state state;
	uint32_t number = 0;
	int err;

	if (k->batch.group || !k->batch.attributes_alone)
		keeper_flush(k);
	k->batch.attributes_alone = true;
	lineup_gallery_now(k->gallery, &state);
	message_catch(op->message);
	err = lineup_gallery_subject(k->gallery, op->subjects[0], number_of, &number);
	message_catch(NULL);
	if (err == 1) {
		err = 0;
		k->batch.put = true;
		k->batch.err = attributes_put(k->attributes, op->subjects[0], number, state.sequence, op->attributes, op->attributes_size);
	}
	op->err = err;
	batch_add(k, op);
	if (k->batch.err)
		keeper_flush(k);
}

/* Whether changes can be made at all; refuses @op else. */
static bool writable(struct keeper *k, struct keeper_op *op)
{
	const char *why = lineup_gallery_refuses(k->gallery);

	if (!why && !k->attributes)
		why = "its attributes cannot be opened";
	if (why)
		keeper_refuse(op, -EROFS, "gallery %s takes no changes: %s", k->name, why);
	return !why;
}

static int stage(struct keeper *k, struct keeper_op *op)
{
	int err = 0;

	message_catch(op->message);
	if (!k->batch.group)
		err = lineup_group_begin(k->gallery, &k->batch.group);
	if (!err)
		err = op->kind == KEEPER_ENROL ? stage_enrol(k, op) : stage_delete(k, op);
	message_catch(NULL);
	return err;
}

void keeper_change(struct keeper *k, struct keeper_op *op)
{
	if (!writable(k, op)) {
		keeper_flush(k);
		keeper_answer(k, op);
		return;
	}
	if (op->kind == KEEPER_SETATTR) {
		set_attributes(k, op);
		return;
	}
	if (op->kind == KEEPER_ENROL && op->vectors.rows > lineup_group_rows_max(k->gallery)) {
		enrol_alone(k, op);
		return;
	}
	if (k->batch.attributes_alone)
		keeper_flush(k);
	op->err = stage(k, op);
	if (op->err == -ENOBUFS && k->batch.operations) {
		keeper_flush(k);
		op->err = stage(k, op);
	}
	batch_add(k, op);
	if (k->batch.err || k->batch.operations >= atomic_load(&k->group_max))
		keeper_flush(k);
}
