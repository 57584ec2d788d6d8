// SPDX-License-Identifier: MIT
// Groups: what is in one sees what was put in before, nobody else sees any of it, and it costs one write and one sync.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "faulty_io.h"
#include "gallery.h"
#include "ledger.h"

enum { DIM = 5 };

struct bed {
	char base[PATH_MAX], path[PATH_MAX + 32];
	struct faulty_io disk;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	struct lineup_gallery *gallery;
	struct ledger model;
};

static int set_up(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	struct lineup_ctx_options options = { .size = sizeof(options), .log = ledger_log_line };
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = DIM };

	assert_non_null(b);
	options.log_arg = &b->log;
	faulty_directory(b->base, true);
	snprintf(b->path, sizeof(b->path), "%s/gallery", b->base);
	faulty_init(&b->disk, b->base);
	assert_int_equal(lineup_ctx_create(&options, &b->ctx), 0);
	b->ctx->io = &b->disk.io;
	b->ctx->io_arg = &b->disk;
	assert_int_equal(lineup_gallery_create(b->ctx, b->path, &create, &b->gallery), 0);
	ledger_init(&b->model, DIM, LINEUP_STORE_FLOAT32, 0);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *b = *state;

	lineup_gallery_close(b->gallery);
	lineup_ctx_destroy(b->ctx);
	faulty_fini(&b->disk);
	ledger_fini(&b->model);
	faulty_remove(b->base);
	free(b);
	return 0;
}

static void require_model(struct bed *b)
{
	char why[LEDGER_WHY_BYTES];
	const char *differs = ledger_differs(&b->model, b->gallery, NULL, why);

	if (differs)
		fail_msg("%s", differs);
	assert_int_equal(lineup_gallery_check(b->gallery, NULL, NULL), 0);
}

static void reopen(struct bed *b)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = LINEUP_GALLERY_WRITE };

	lineup_gallery_close(b->gallery);
	assert_int_equal(lineup_gallery_open(b->ctx, b->path, &options, &b->gallery), 0);
	require_model(b);
}

/* Rows whose vectors follow from @seed, of @subjects; @flags of the group. */
static int enrol(struct lineup_group *group, const char *const *subjects, uint32_t rows, uint32_t flags, uint64_t id,
		 struct lineup_enrol_result *result)
{
	struct lineup_group_options options = { .size = sizeof(options), .flags = flags };
	float vectors[8 * DIM];
	struct lineup_enrol_batch batch = { .vectors = { vectors, rows, DIM, LINEUP_FLOAT32 }, .subjects = subjects };

	assert_true(rows <= 8);
	for (uint32_t i = 0; i < rows * DIM; i++)
		vectors[i] = 1 + (float)((id * 7 + i * i) % 13);
	memcpy(options.op_id, &id, sizeof(id));
	return lineup_group_enrol(group, &options, &batch, result);
}

static int enrol_one(struct lineup_group *group, const char *subject, uint32_t flags, uint64_t id, struct lineup_enrol_result *result)
{
	return enrol(group, &subject, 1, flags, id, result);
}

static int delete_subject(struct lineup_group *group, const char *subject, struct lineup_delete_result *result)
{
	struct lineup_delete_options options = { .size = sizeof(options), .what = LINEUP_DELETE_SUBJECT, .subject = subject };

	return lineup_group_delete(group, &options, result);
}

static int count_one(void *arg, const struct lineup_template *t)
{
	(void)t;
	++*(uint32_t *)arg;
	return 0;
}

static uint32_t templates_of(struct bed *b, const char *subject)
{
	uint32_t count = 0;
	int err = lineup_gallery_subject(b->gallery, subject, count_one, &count);

	assert_int_equal(err, count ? 0 : -ENOENT);
	return count;
}

static struct lineup_gallery_state now(struct bed *b)
{
	struct lineup_gallery_state state;

	lineup_gallery_now(b->gallery, &state);
	return state;
}

static void a_group_sees_itself_and_nobody_else_does(void **state)
{
	struct bed *b = *state;
	struct lineup_enrol_result enrolled;
	struct lineup_delete_result deleted;
	struct lineup_snapshot *snapshot;
	struct lineup_group *group;

	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	assert_int_equal(enrol_one(group, "ann", 0, 1, &enrolled), 0);
	assert_int_equal(enrolled.sequence, 1);
	assert_false(enrolled.existed);
	assert_int_equal(enrol_one(group, "ann", 0, 2, &enrolled), 0);
	assert_true(enrolled.existed);
	assert_int_equal(enrolled.template_first, 1);
	assert_int_equal(enrol_one(group, "bob", 0, 3, &enrolled), 0);
	assert_int_equal(enrolled.subject_number, 1);
	assert_int_equal(delete_subject(group, "ann", &deleted), 0);
	assert_int_equal(deleted.rows, 2);
	assert_true(deleted.last);
	assert_int_equal(deleted.subject_number, 0);
	assert_string_equal(deleted.subject, "ann");
	assert_int_equal(lineup_group_operations(group), 4);
	assert_int_equal(now(b).sequence, 0);
	assert_int_equal(now(b).rows, 0);
	assert_int_equal(templates_of(b, "bob"), 0);
	snapshot = lineup_gallery_snapshot(b->gallery);
	assert_int_equal(snapshot->rows, 0);
	assert_int_equal(lineup_group_commit(group), 0);
	assert_int_equal(snapshot->rows, 0);
	lineup_snapshot_put(snapshot);
	assert_int_equal(now(b).sequence, 4);
	assert_int_equal(now(b).rows, 3);
	assert_int_equal(now(b).templates, 1);
	assert_int_equal(now(b).subjects, 1);
	assert_int_equal(now(b).subject_numbers, 2);
	assert_int_equal(templates_of(b, "bob"), 1);
	assert_int_equal(templates_of(b, "ann"), 0);
	assert_int_equal(lineup_gallery_check(b->gallery, NULL, NULL), 0);
}

/* Deletions of rows that are there already, and rows added to a chunk that others have copies of. */
static void a_snapshot_that_is_made_meanwhile_shows_the_last_commit(void **state)
{
	struct bed *b = *state;
	struct lineup_snapshot *snapshot;
	struct lineup_group *group;
	char why[LEDGER_WHY_BYTES];
	struct ledger_op setup = { .kind = LEDGER_ENROL, .id = 1, .seed = 9, .rows = 450, .named = true };
	struct ledger_op more = { .kind = LEDGER_ENROL, .id = 2, .seed = 10, .rows = 700, .named = true, .listed = true };
	struct ledger_op deletion = { .kind = LEDGER_DELETE_TEMPLATE, .id = 3, .template_id = 20 };
	struct ledger_result result;

	assert_null(ledger_both(&b->model, b->gallery, &setup, why));
	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	assert_int_equal(ledger_stage(b->gallery, group, &more, &result), 0);
	assert_int_equal(ledger_stage(b->gallery, group, &deletion, &result), 0);
	snapshot = lineup_gallery_snapshot(b->gallery);
	assert_int_equal(snapshot->rows, 450);
	assert_int_equal(snapshot->rows_deleted, 0);
	assert_int_equal(snapshot->lists, 0);
	assert_int_equal(snapshot->segments[0].template_last, 449);
	for (uint32_t i = 0; i < snapshot->segment_count; i++) {
		const struct lineup_segment *s = &snapshot->segments[i];

		for (uint64_t n = 0; n < s->block_count; n++) {
			uint64_t left = s->rows - n * s->shape.block_rows;
			const char *reason;

			assert_int_equal(lineup_block_verify(&s->shape, s->blocks + n * s->shape.block_bytes, s->generation, n,
							     (uint32_t)(left < s->shape.block_rows ? left : s->shape.block_rows), &reason), 0);
		}
	}
	lineup_snapshot_put(snapshot);
	assert_int_equal(lineup_group_commit(group), 0);
	ledger_apply(&b->model, &more, &result);
	ledger_apply(&b->model, &deletion, &result);
	require_model(b);
	reopen(b);
}

static void an_aborted_group_leaves_nothing(void **state)
{
	struct bed *b = *state;
	struct ledger_op ops[] = {
		{ .kind = LEDGER_ENROL, .id = 2, .seed = 10, .rows = 700, .named = true, .listed = true },
		{ .kind = LEDGER_DELETE_TEMPLATE, .id = 3, .template_id = 20 },
		{ .kind = LEDGER_REPLACE, .id = 4, .seed = 3, .rows = 30, .listed = true, .expiring = true },
		{ .kind = LEDGER_DELETE_TEMPLATE, .id = 5, .template_id = 1149 },
	};
	struct ledger_op setup = { .kind = LEDGER_ENROL, .id = 1, .seed = 9, .rows = 450, .named = true };
	char why[LEDGER_WHY_BYTES];
	uint64_t mask;

	assert_null(ledger_both(&b->model, b->gallery, &setup, why));
	for (int round = 0; round < 2; round++) {
		struct ledger_result result;
		struct lineup_group *group;

		assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
		for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
			assert_int_equal(ledger_stage(b->gallery, group, &ops[i], &result), 0);
		lineup_group_abort(group);
		require_model(b);
		assert_int_equal(lineup_gallery_list(b->gallery, "list_1.a-b", &mask), -ENOENT);
	}
	/* What comes after fits what was there, on disk and in memory. */
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct ledger_op again = ops[ARRAY_SIZE(ops) - 1 - i];

		if (again.template_id == 1149)
			continue;
		assert_null(ledger_both(&b->model, b->gallery, &again, why));
		require_model(b);
	}
	reopen(b);
	lineup_group_abort(NULL);
}

static void a_group_is_one_write_and_one_sync(void **state)
{
	struct bed *b = *state;
	struct lineup_group *group;
	const char *names[300];
	char name[300][8];

	faulty_calm(&b->disk);
	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	for (uint32_t i = 0; i < 300; i++) {
		snprintf(name[i], sizeof(name[i]), "s%u", i);
		names[i] = name[i];
		assert_int_equal(enrol_one(group, names[i], i % 2 ? LINEUP_GROUP_REPLACE : 0, i + 1, NULL), 0);
	}
	assert_int_equal(b->disk.mutations, 0);
	assert_int_equal(lineup_group_commit(group), 0);
	assert_int_equal(b->disk.mutations, 2);
	assert_int_equal(now(b).sequence, 300);
}

static void an_empty_group_is_a_success_that_does_nothing(void **state)
{
	struct bed *b = *state;
	struct lineup_delete_result deleted;
	struct lineup_group *group;

	faulty_calm(&b->disk);
	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	assert_int_equal(lineup_group_commit(group), 0);
	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	assert_int_equal(delete_subject(group, "nobody", &deleted), -ENOENT);
	assert_int_equal(lineup_group_commit(group), 0);
	assert_int_equal(b->disk.mutations, 0);
	assert_int_equal(now(b).sequence, 0);
}

static void what_is_refused_changes_nothing_and_the_group_goes_on(void **state)
{
	struct bed *b = *state;
	struct lineup_group_options options = { .size = sizeof(options) };
	float zero[DIM] = { 0 }, *many;
	const char *subject = "eve", *bad_name = "two\nlines";
	struct lineup_enrol_batch batch = { .vectors = { zero, 1, DIM, LINEUP_FLOAT32 }, .subjects = &subject };
	struct lineup_enrol_result result;
	struct lineup_group *group;
	uint64_t mask, rows_max = lineup_group_rows_max(b->gallery);

	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	assert_int_equal(enrol_one(group, "ann", 0, 1, NULL), 0);
	assert_int_equal(lineup_group_list(group, "wanted", &mask), 0);
	assert_int_equal(lineup_group_enrol(group, &options, &batch, &result), -EINVAL); /* no direction */
	zero[0] = 1;
	options.flags = 2;
	assert_int_equal(lineup_group_enrol(group, &options, &batch, &result), -EINVAL); /* unknown flag */
	options.flags = LINEUP_GROUP_REPLACE;
	batch.subjects = NULL;
	assert_int_equal(lineup_group_enrol(group, &options, &batch, &result), -EINVAL); /* replaces whom? */
	options.flags = 0;
	batch.subjects = &bad_name;
	assert_int_equal(lineup_group_enrol(group, &options, &batch, &result), -EINVAL);
	batch.subjects = &subject;
	batch.lists = &mask; /* of a list that went with the refused one */
	assert_int_equal(lineup_group_enrol(group, &options, &batch, &result), -EINVAL);
	batch.lists = NULL;
	batch.vectors.rows = 0;
	assert_int_equal(lineup_group_enrol(group, &options, &batch, &result), -EINVAL);
	many = calloc(rows_max + 1, DIM * sizeof(*many));
	assert_non_null(many);
	for (uint64_t i = 0; i < (rows_max + 1) * DIM; i++)
		many[i] = 1;
	batch = (struct lineup_enrol_batch) { .vectors = { many, rows_max + 1, DIM, LINEUP_FLOAT32 } };
	assert_int_equal(lineup_group_enrol(group, &options, &batch, &result), -E2BIG);
	assert_int_equal(b->log.errors, 7);
	assert_int_equal(lineup_group_operations(group), 1);
	batch.vectors.rows--;
	assert_int_equal(lineup_group_enrol(group, &options, &batch, &result), 0);
	assert_int_equal(result.sequence, 2);
	assert_int_equal(result.template_first, 1);
	free(many);
	assert_int_equal(lineup_group_commit(group), 0);
	assert_int_equal(now(b).templates, 1 + rows_max);
	assert_int_equal(now(b).lists, 0);
	assert_int_equal(lineup_gallery_check(b->gallery, NULL, NULL), 0);
}

static void a_full_group_says_so_in_silence(void **state)
{
	struct bed *b = *state;
	struct lineup_delete_result deleted;
	struct lineup_group *group;

	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	for (uint32_t i = 0; i < LINEUP_GROUP_OPERATIONS_MAX; i++)
		assert_int_equal(enrol_one(group, "ann", LINEUP_GROUP_REPLACE, i + 1, NULL), 0);
	assert_int_equal(enrol_one(group, "ann", 0, 99999, NULL), -ENOBUFS);
	assert_int_equal(delete_subject(group, "ann", &deleted), -ENOBUFS);
	assert_int_equal(b->log.errors, 0);
	assert_int_equal(lineup_group_commit(group), 0);
	assert_int_equal(now(b).templates, 1);
	assert_int_equal(now(b).sequence, LINEUP_GROUP_OPERATIONS_MAX);
	assert_int_equal(lineup_gallery_check(b->gallery, NULL, NULL), 0);
}

static void a_replacement_keeps_the_subjects_number(void **state)
{
	static const char *const two[] = { "ann", "bob", "ann" };
	struct bed *b = *state;
	struct lineup_enrol_result result;
	struct lineup_group *group;

	for (uint32_t compacted = 0; compacted < 2; compacted++) {
		uint64_t id = compacted * 10;

		assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
		assert_int_equal(enrol(group, two, 3, LINEUP_GROUP_REPLACE, id + 1, &result), 0);
		assert_int_equal(result.existed, compacted);
		assert_int_equal(enrol_one(group, "bob", LINEUP_GROUP_REPLACE, id + 2, &result), 0);
		assert_true(result.existed);
		assert_int_equal(result.subject_number, 1);
		assert_int_equal(lineup_group_commit(group), 0);
		assert_int_equal(templates_of(b, "ann"), 2);
		assert_int_equal(templates_of(b, "bob"), 1);
		assert_int_equal(now(b).subjects, 2);
		assert_int_equal(now(b).subject_numbers, 2);
		assert_int_equal(lineup_gallery_compact(b->gallery, NULL, NULL, NULL), 0);
		assert_int_equal(lineup_gallery_check(b->gallery, NULL, NULL), 0);
	}
}

static void one_op_id_is_one_operation_of_one_kind(void **state)
{
	struct bed *b = *state;
	struct lineup_enrol_result first, again;
	struct lineup_group *group;

	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	assert_int_equal(enrol_one(group, "ann", LINEUP_GROUP_REPLACE, 7, &first), 0);
	for (int committed = 0; committed < 3; committed++) {
		assert_int_equal(enrol_one(group, "bob", LINEUP_GROUP_REPLACE, 7, &again), 0);
		assert_true(again.repeated);
		assert_int_equal(again.sequence, first.sequence);
		assert_int_equal(again.template_first, first.template_first);
		assert_int_equal(enrol_one(group, "bob", 0, 7, &again), -EINVAL);
		assert_int_equal(lineup_group_commit(group), 0);
		if (committed)
			assert_int_equal(lineup_gallery_compact(b->gallery, NULL, NULL, NULL), 0);
		assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	}
	assert_non_null(strstr(b->log.text, "a replacement, has this op_id already"));
	lineup_group_abort(group);
	assert_int_equal(now(b).templates, 1);
	assert_int_equal(templates_of(b, "bob"), 0);
}

static void one_at_a_time(void **state)
{
	struct lineup_delete_options deletion = { .size = sizeof(deletion), .what = LINEUP_DELETE_TEMPLATE, .template_id = 1 };
	struct bed *b = *state;
	struct lineup_enrol *enrolment;
	struct lineup_group *group, *other;

	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	assert_int_equal(lineup_group_begin(b->gallery, &other), -EBUSY);
	assert_int_equal(lineup_enrol_begin(b->gallery, NULL, &enrolment), -EBUSY);
	assert_int_equal(lineup_gallery_delete(b->gallery, &deletion, NULL), -EBUSY);
	assert_int_equal(lineup_gallery_compact(b->gallery, NULL, NULL, NULL), -EBUSY);
	lineup_group_abort(group);
	assert_int_equal(lineup_enrol_begin(b->gallery, NULL, &enrolment), 0);
	assert_int_equal(lineup_group_begin(b->gallery, &group), -EBUSY);
	lineup_enrol_abort(enrolment);
	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	assert_int_equal(lineup_group_commit(group), 0);
}

/* The journal is cut back to where it was good: no recovery is needed once there is room again. */
static void after_a_full_disk_the_next_group_works(void **state)
{
	struct bed *b = *state;
	struct lineup_group *group;

	for (uint64_t id = 1; id <= 3; id++) {
		assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
		assert_int_equal(enrol_one(group, "ann", 0, id, NULL), 0);
		assert_int_equal(enrol_one(group, "bob", 0, id + 10, NULL), 0);
		faulty_calm(&b->disk);
		b->disk.fail_mask = 1 << FAULTY_PWRITE;
		b->disk.fail_error = -ENOSPC;
		b->disk.fail_at = 1;
		b->disk.fail_short = id * 300;
		assert_int_equal(lineup_group_commit(group), -ENOSPC);
		assert_null(lineup_gallery_refuses(b->gallery));
		faulty_calm(&b->disk);
		assert_int_equal(now(b).sequence, id - 1);
		assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
		assert_int_equal(enrol_one(group, "eve", 0, id + 20, NULL), 0);
		assert_int_equal(lineup_group_commit(group), 0);
		assert_int_equal(now(b).sequence, id);
		assert_int_equal(lineup_gallery_check(b->gallery, NULL, NULL), 0);
	}
	assert_int_equal(templates_of(b, "eve"), 3);
	assert_int_equal(templates_of(b, "ann"), 0);
}

static int keep_id(void *arg, const struct lineup_template *t)
{
	*(uint64_t *)arg = t->id;
	return 0;
}

static void rows_can_be_picked_by_number(void **state)
{
	struct bed *b = *state;
	struct ledger_op setup = { .kind = LEDGER_ENROL, .id = 1, .seed = 9, .rows = 1000, .named = true };
	struct ledger_op deletion = { .kind = LEDGER_DELETE_TEMPLATE, .id = 3, .template_id = 20 };
	char why[LEDGER_WHY_BYTES];
	uint64_t id = 0;

	assert_null(ledger_both(&b->model, b->gallery, &setup, why));
	assert_null(ledger_both(&b->model, b->gallery, &deletion, why));
	for (int compacted = 0; compacted < 2; compacted++) {
		assert_int_equal(now(b).rows, 1000 - compacted);
		assert_int_equal(lineup_gallery_row(b->gallery, 500 - compacted, keep_id, &id), 0);
		assert_int_equal(id, 500);
		assert_int_equal(lineup_gallery_row(b->gallery, 20, keep_id, &id), compacted ? 0 : -ENOENT);
		assert_int_equal(lineup_gallery_row(b->gallery, 1000 - compacted, keep_id, &id), -ENOENT);
		assert_int_equal(lineup_gallery_row(b->gallery, UINT64_MAX, keep_id, &id), -ENOENT);
		assert_int_equal(lineup_gallery_compact(b->gallery, NULL, NULL, NULL), 0);
	}
	assert_int_equal(b->log.errors, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_group_sees_itself_and_nobody_else_does),
		CASE(a_snapshot_that_is_made_meanwhile_shows_the_last_commit),
		CASE(an_aborted_group_leaves_nothing),
		CASE(a_group_is_one_write_and_one_sync),
		CASE(an_empty_group_is_a_success_that_does_nothing),
		CASE(what_is_refused_changes_nothing_and_the_group_goes_on),
		CASE(a_full_group_says_so_in_silence),
		CASE(a_replacement_keeps_the_subjects_number),
		CASE(one_op_id_is_one_operation_of_one_kind),
		CASE(one_at_a_time),
		CASE(after_a_full_disk_the_next_group_works),
		CASE(rows_can_be_picked_by_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
