// SPDX-License-Identifier: MIT
// Random histories against a list in memory, in galleries that seal at different points, watched by readers that stand still.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "faulty_io.h"
#include "gallery.h"
#include "ledger.h"

enum { GALLERIES = 3, READERS = 4, OPERATIONS = 250, HISTORIES = 4 };

/* The same history, packed into files at different moments. */
static const struct limits {
	uint64_t seal_bytes;
	uint64_t record_bytes;
	uint64_t spill_rows;
} limits[GALLERIES] = { { 0, 0, 0 }, { 6000, 3600, 48 }, { 2000, 100000, 100 } };

struct reader {
	struct lineup_gallery *gallery;
	struct ledger state;
	uint8_t digest[LINEUP_DIGEST_BYTES];
};

struct packed {
	char path[PATH_MAX + 32];
	struct lineup_ctx *ctx;
	struct lineup_gallery *gallery;
	struct reader reader[READERS];
};

struct world {
	char base[PATH_MAX];
	struct packed packed[GALLERIES];
	struct ledger model;
	struct ledger_log log;
	uint64_t seed, random;
	unsigned step;
	uint64_t op_next;
};

static struct lineup_io quick;

static int quick_sync(void *arg, int fd)
{
	(void)arg;
	(void)fd;
	return 0;
}

#define REQUIRE(w, condition, ...)                                                                                            \
	do {                                                                                                                  \
		if (!(condition)) {                                                                                           \
			print_error("step %u: ", (w)->step);                                                                  \
			print_error(__VA_ARGS__);                                                                             \
			print_error("\nlog:\n%s\nagain with LINEUP_TEST_SEED=%llu\n", (w)->log.text,                          \
				    (unsigned long long)(w)->seed);                                                           \
			fail();                                                                                               \
		}                                                                                                             \
	} while (0)

static uint64_t draw(struct world *w, uint64_t below)
{
	return faulty_random(&w->random) % below;
}

static void open_gallery(struct world *w, struct packed *p, uint32_t flags, struct lineup_gallery **gallery)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = flags };
	int err = lineup_gallery_open(p->ctx, p->path, &options, gallery);

	REQUIRE(w, !err, "open: %d", err);
}

static void require_state(struct world *w, struct lineup_gallery *gallery, const struct ledger *o, const uint8_t *digest, const char *who)
{
	char why[LEDGER_WHY_BYTES];
	const char *differs = ledger_differs(o, gallery, digest, why);

	REQUIRE(w, !differs, "%s: %s", who, differs);
}

static void world_begin(struct world *w, uint64_t seed)
{
	char base[PATH_MAX];

	memset(w, 0, sizeof(*w));
	w->seed = w->random = seed;
	w->op_next = 1;
	faulty_directory(base, false);
	memcpy(w->base, base, sizeof(base));
	for (int i = 0; i < GALLERIES; i++) {
		struct lineup_ctx_options options = { .size = sizeof(options), .log = ledger_log_line, .log_arg = &w->log };
		struct lineup_gallery_create_options create = {
			.size = sizeof(create), .dim = 1 + (uint32_t)(seed * 7 % LEDGER_DIM_MAX), .model = "model-1",
			.store = seed % 2 ? LINEUP_STORE_FLOAT32 : LINEUP_STORE_FLOAT16,
		};
		struct packed *p = &w->packed[i];
		struct lineup_gallery_info info;

		snprintf(p->path, sizeof(p->path), "%s/gallery-%d", base, i);
		assert_int_equal(lineup_ctx_create(&options, &p->ctx), 0);
		p->ctx->io = &quick;
		p->ctx->journal_seal_bytes = limits[i].seal_bytes;
		p->ctx->record_bytes_max = limits[i].record_bytes;
		p->ctx->spill_rows_min = limits[i].spill_rows;
		assert_int_equal(lineup_gallery_create(p->ctx, p->path, &create, &p->gallery), 0);
		lineup_gallery_info(p->gallery, &info);
		if (!i)
			ledger_init(&w->model, create.dim, create.store, info.templates_next);
		require_state(w, p->gallery, &w->model, NULL, "the empty gallery");
	}
}

static void world_end(struct world *w)
{
	for (int i = 0; i < GALLERIES; i++) {
		struct packed *p = &w->packed[i];

		for (int r = 0; r < READERS; r++) {
			lineup_gallery_close(p->reader[r].gallery);
			ledger_fini(&p->reader[r].state);
		}
		lineup_gallery_close(p->gallery);
		lineup_ctx_destroy(p->ctx);
	}
	ledger_fini(&w->model);
	faulty_remove(w->base);
}

/* @grouped: small enough for a group. */
static struct ledger_op random_op(struct world *w, bool grouped)
{
	struct ledger_op op = { .kind = LEDGER_ENROL, .id = w->op_next++, .seed = faulty_random(&w->random) };
	uint64_t kind = draw(w, 24);

	if (kind < 4) {
		op.kind = LEDGER_DELETE_SUBJECT;
		op.subject = (uint32_t)draw(w, LEDGER_NAMES);
	} else if (kind < 8) {
		op.kind = LEDGER_DELETE_TEMPLATE;
		op.template_id = draw(w, w->model.template_next + 2);
	} else {
		op.kind = kind < 12 ? LEDGER_REPLACE : LEDGER_ENROL;
		op.rows = 1 + (uint32_t)(grouped || kind < 12 || draw(w, 12) ? draw(w, 6) : draw(w, 400));
		op.batch = draw(w, 2) ? 1 + (uint32_t)draw(w, 70) : 0;
		op.named = draw(w, 4);
		op.listed = draw(w, 2);
		op.expiring = draw(w, 2);
	}
	/* An operation that was done before, or that will be: an id that a failed deletion had. */
	if (w->model.done_count && !draw(w, 6)) {
		const struct ledger_done *done = &w->model.done[draw(w, w->model.done_count)];

		op.id = done->id;
		op.kind = done->kind;
		if ((op.kind == LEDGER_ENROL || op.kind == LEDGER_REPLACE) && !op.rows)
			op.rows = 1;
	}
	if (op.kind == LEDGER_REPLACE && op.rows > 6)
		op.rows = 6;
	return op;
}

static struct ledger_op random_group(struct world *w, struct ledger_op ops[LEDGER_GROUP_MAX])
{
	struct ledger_op group = { .kind = LEDGER_GROUP, .ops = ops, .op_count = (uint32_t)draw(w, draw(w, 6) ? 6 : LEDGER_GROUP_MAX) };

	for (uint32_t i = 0; i < group.op_count; i++) {
		ops[i] = random_op(w, true);
		/* Now and then what another one of the same group did. */
		if (i && !draw(w, 10)) {
			ops[i].id = ops[i - 1].id;
			ops[i].kind = ops[i - 1].kind;
			ops[i].rows = ops[i].rows ? ops[i].rows : 1;
		}
	}
	return group;
}

/* The same operation everywhere. */
static void operate(struct world *w)
{
	struct ledger_op ops[LEDGER_GROUP_MAX];
	struct ledger_op op = draw(w, 4) ? random_op(w, false) : random_group(w, ops);
	struct ledger before;

	ledger_copy(&before, &w->model);
	for (int i = 0; i < GALLERIES; i++) {
		char why[LEDGER_WHY_BYTES];
		const char *differs;

		ledger_fini(&w->model);
		ledger_copy(&w->model, &before);
		ledger_log_clear(&w->log);
		differs = ledger_both(&w->model, w->packed[i].gallery, &op, why);
		REQUIRE(w, !differs, "gallery %d: %s", i, differs);
	}
	ledger_fini(&before);
}

static void compact(struct world *w, struct packed *p)
{
	struct lineup_compact_result result;
	struct lineup_gallery_info info, then;
	int err;

	lineup_gallery_info(p->gallery, &then);
	err = lineup_gallery_compact(p->gallery, NULL, NULL, &result);
	REQUIRE(w, !err, "compact: %d", err);
	lineup_gallery_info(p->gallery, &info);
	REQUIRE(w, !info.templates_deleted, "deleted templates are left after compaction");
	REQUIRE(w, result.rows_dropped == then.templates_deleted, "%llu rows dropped, not %llu", (unsigned long long)result.rows_dropped,
		(unsigned long long)then.templates_deleted);
	require_state(w, p->gallery, &w->model, then.digest, "after compaction");
}

static void maintain(struct world *w, struct packed *p)
{
	struct lineup_maintain_options options = { .size = sizeof(options), .compact = (uint32_t)draw(w, 3) };
	struct lineup_maintain_result result;
	struct lineup_gallery_info info, then;
	int err;

	lineup_gallery_info(p->gallery, &then);
	err = lineup_gallery_maintain(p->gallery, &options, &result);
	REQUIRE(w, !err, "maintain %u: %d", options.compact, err);
	lineup_gallery_info(p->gallery, &info);
	REQUIRE(w, !options.compact || !info.templates_deleted, "deleted templates are left after a maintenance that drops them");
	REQUIRE(w, result.rows_dropped == then.templates_deleted - info.templates_deleted, "%llu rows dropped, not %llu",
		(unsigned long long)result.rows_dropped, (unsigned long long)(then.templates_deleted - info.templates_deleted));
	REQUIRE(w, options.compact < 2 || !info.journal_templates, "the journal was not sealed");
	require_state(w, p->gallery, &w->model, then.digest, "after maintenance");
}

static void move_reader(struct world *w, struct packed *p, struct reader *r)
{
	struct lineup_gallery_info info;
	int err;

	if (r->gallery && draw(w, 3)) {
		err = lineup_gallery_refresh(r->gallery);
		REQUIRE(w, !err, "refresh: %d", err);
	} else {
		lineup_gallery_close(r->gallery);
		open_gallery(w, p, 0, &r->gallery);
	}
	ledger_fini(&r->state);
	ledger_copy(&r->state, &w->model);
	lineup_gallery_info(r->gallery, &info);
	memcpy(r->digest, info.digest, sizeof(info.digest));
}

static void require_readers(struct world *w)
{
	for (int i = 0; i < GALLERIES; i++)
		for (int r = 0; r < READERS; r++) {
			struct reader *reader = &w->packed[i].reader[r];

			if (reader->gallery)
				require_state(w, reader->gallery, &reader->state, reader->digest, "a reader that did not move");
		}
}

struct subject_rows {
	const struct ledger *o;
	const char *name;
	size_t at;
	bool wrong;
};

static int subject_row(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record)
{
	struct subject_rows *s = arg;

	if (record->name_bytes != strlen(s->name) || memcmp(record->name, s->name, record->name_bytes))
		return s->wrong = true;
	if (lineup_segment_row_deleted(segment, row))
		return 0;
	while (s->at < s->o->row_count && (s->o->rows[s->at].deleted || strcmp(s->o->rows[s->at].subject, s->name)))
		s->at++;
	s->wrong = s->at == s->o->row_count || s->o->rows[s->at].id != record->template_id;
	s->at++;
	return s->wrong;
}

/* The index of subjects finds each one's templates, all of them, in the order of ids. */
static void require_index(struct world *w, struct packed *p)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(p->gallery);

	REQUIRE(w, snapshot, "no snapshot");
	for (uint32_t i = 0; i < LEDGER_NAMES; i++) {
		char name[LINEUP_SUBJECT_BYTES_MAX + 1];
		struct subject_rows s = { .o = &w->model, .name = name };
		int err;

		ledger_subject_name(i, name);
		err = lineup_snapshot_subject(snapshot, name, subject_row, &s);
		REQUIRE(w, !err && !s.wrong, "rows of subject '%s'", name);
		while (s.at < s.o->row_count) {
			REQUIRE(w, s.o->rows[s.at].deleted || strcmp(s.o->rows[s.at].subject, name), "a row of subject '%s' is missing", name);
			s.at++;
		}
	}
	lineup_snapshot_put(snapshot);
}

static bool held(const struct packed *p)
{
	bool any = false;

	for (int r = 0; r < READERS; r++)
		any |= p->reader[r].gallery != NULL;
	return any;
}

static void require_everything(struct world *w)
{
	uint8_t digest[LINEUP_DIGEST_BYTES];
	char why[LEDGER_WHY_BYTES];

	for (int i = 0; i < GALLERIES; i++) {
		struct packed *p = &w->packed[i];
		int err = lineup_gallery_check(p->gallery, NULL, NULL);
		struct lineup_gallery_info info;

		REQUIRE(w, !err, "check of gallery %d: %d", i, err);
		lineup_gallery_info(p->gallery, &info);
		/* Equal histories have equal digests, however they are packed. */
		if (!i)
			memcpy(digest, info.digest, sizeof(digest));
		require_state(w, p->gallery, &w->model, digest, "gallery");
		require_index(w, p);
		lineup_gallery_close(p->gallery);
		open_gallery(w, p, LINEUP_GALLERY_WRITE, &p->gallery);
		require_state(w, p->gallery, &w->model, digest, "gallery opened again");
		REQUIRE(w, held(p) || !ledger_stray(p->path, why), "%s", why);
	}
}

static void history(uint64_t seed)
{
	struct world w;

	world_begin(&w, seed);
	for (w.step = 0; w.step < OPERATIONS; w.step++) {
		struct packed *p = &w.packed[draw(&w, GALLERIES)];

		operate(&w);
		if (!draw(&w, 4))
			move_reader(&w, p, &p->reader[draw(&w, READERS)]);
		if (!draw(&w, 25)) {
			compact(&w, p);
			require_readers(&w);
		}
		if (!draw(&w, 12)) {
			maintain(&w, p);
			require_readers(&w);
		}
		if (!draw(&w, 10)) {
			lineup_gallery_close(p->gallery);
			open_gallery(&w, p, LINEUP_GALLERY_WRITE, &p->gallery);
			require_state(&w, p->gallery, &w.model, NULL, "opened again");
		}
		if (!draw(&w, 40))
			require_everything(&w);
	}
	require_everything(&w);
	require_readers(&w);
	print_message("             seed %llu: %llu operations, %zu templates, %llu left\n", (unsigned long long)seed,
		      (unsigned long long)w.model.sequence, w.model.row_count, (unsigned long long)ledger_templates(&w.model));
	world_end(&w);
}

static void random_histories_match_the_model(void **state)
{
	(void)state;
	if (getenv("LINEUP_TEST_SEED")) {
		history(strtoull(getenv("LINEUP_TEST_SEED"), NULL, 0));
		return;
	}
	for (uint64_t seed = 1; seed <= HISTORIES; seed++)
		history(seed);
}

/* ---- enrolments that are not committed ---------------------------------------------------------------------------------- */

static void begin_with_rows(struct world *w, struct packed *p, uint32_t rows, struct lineup_enrol **enrol)
{
	float *vectors = calloc(rows, w->model.dim * sizeof(float));
	struct lineup_enrol_batch batch = { .vectors = { vectors, rows, w->model.dim, LINEUP_FLOAT32 } };

	assert_non_null(vectors);
	for (uint32_t i = 0; i < rows * w->model.dim; i++)
		vectors[i] = 1 + (float)(i % 7);
	assert_int_equal(lineup_enrol_begin(p->gallery, NULL, enrol), 0);
	assert_int_equal(lineup_enrol_add(*enrol, &batch), 0);
	free(vectors);
}

static void an_aborted_enrolment_leaves_nothing(void **state)
{
	struct world w;

	(void)state;
	world_begin(&w, 3);
	for (int i = 0; i < GALLERIES; i++) {
		struct packed *p = &w.packed[i];
		char why[LEDGER_WHY_BYTES];
		struct lineup_enrol *enrol;
		uint64_t mask;

		begin_with_rows(&w, p, 500, &enrol);
		assert_int_equal(lineup_enrol_list(enrol, "never", &mask), 0);
		lineup_enrol_abort(enrol);
		require_state(&w, p->gallery, &w.model, NULL, "after the abort");
		assert_int_equal(lineup_gallery_list(p->gallery, "never", &mask), -ENOENT);
		assert_null(ledger_stray(p->path, why));
	}
	operate(&w);
	require_everything(&w);
	world_end(&w);
}

static void an_enrolment_of_no_rows_is_refused(void **state)
{
	struct lineup_enrol *enrol;
	struct world w;

	(void)state;
	world_begin(&w, 3);
	assert_int_equal(lineup_enrol_begin(w.packed[0].gallery, NULL, &enrol), 0);
	assert_int_equal(lineup_enrol_commit(enrol, NULL), -EINVAL);
	require_everything(&w);
	world_end(&w);
}

static void a_bad_row_refuses_its_batch_and_leaves_the_enrolment(void **state)
{
	struct lineup_enrol_result result;
	struct lineup_enrol *enrol;
	struct world w;

	(void)state;
	world_begin(&w, 3);
	for (int i = 0; i < GALLERIES; i++) {
		float bad[2 * LEDGER_DIM_MAX] = { 0 };
		struct lineup_enrol_batch batch = { .vectors = { bad, 1, w.model.dim, LINEUP_FLOAT32 } };
		const char *subjects[2] = { "good", "line\nbreak" };
		struct packed *p = &w.packed[i];
		struct lineup_gallery_info info;

		begin_with_rows(&w, p, 60, &enrol);
		ledger_log_clear(&w.log);
		assert_int_equal(lineup_enrol_add(enrol, &batch), -EINVAL);
		assert_int_equal(w.log.errors, 1);
		for (uint32_t c = 0; c < 2 * w.model.dim; c++)
			bad[c] = 2;
		batch.vectors.rows = 2;
		batch.subjects = subjects;
		assert_int_equal(lineup_enrol_add(enrol, &batch), -EINVAL);
		batch.vectors.dim++;
		batch.vectors.rows = 1;
		assert_int_equal(lineup_enrol_add(enrol, &batch), -EINVAL);
		batch.vectors.dim--;
		assert_int_equal(lineup_enrol_add(enrol, &batch), 0);
		assert_int_equal(lineup_enrol_commit(enrol, &result), 0);
		assert_int_equal(result.rows, 61);
		lineup_gallery_info(p->gallery, &info);
		assert_int_equal(info.templates, 61);
		assert_int_equal(info.sequence, 1);
		assert_int_equal(lineup_gallery_check(p->gallery, NULL, NULL), 0);
	}
	world_end(&w);
}

static void a_sixty_fifth_list_is_refused(void **state)
{
	char name[LINEUP_LIST_NAME_BYTES_MAX + 1];
	struct lineup_enrol *enrol;
	struct world w;
	uint64_t mask, all = 0;

	(void)state;
	world_begin(&w, 3);
	begin_with_rows(&w, &w.packed[0], 1, &enrol);
	for (int i = 0; i < LINEUP_LISTS_MAX; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		assert_int_equal(lineup_enrol_list(enrol, name, &mask), 0);
		all |= mask;
	}
	assert_int_equal(all, UINT64_MAX);
	assert_int_equal(lineup_enrol_list(enrol, "one-more", &mask), -ENOSPC);
	assert_int_equal(lineup_enrol_list(enrol, "l5", &mask), 0);
	assert_int_equal(mask, 1 << 5);
	assert_int_equal(lineup_enrol_commit(enrol, NULL), 0);
	assert_int_equal(lineup_gallery_list(w.packed[0].gallery, "l63", &mask), 0);
	assert_true(mask == (uint64_t)1 << 63);
	world_end(&w);
}

static int enrol_one(struct world *w, const char *subject)
{
	float vector[LEDGER_DIM_MAX] = { 1, 2 };
	struct lineup_enrol_batch batch = { .vectors = { vector, 1, w->model.dim, LINEUP_FLOAT32 }, .subjects = subject ? &subject : NULL };
	struct lineup_enrol *enrol;

	assert_int_equal(lineup_enrol_begin(w->packed[0].gallery, NULL, &enrol), 0);
	assert_int_equal(lineup_enrol_add(enrol, &batch), 0);
	return lineup_enrol_commit(enrol, NULL);
}

/* Whether the deleted subject's rows are still on the disk makes no difference. */
static void a_number_that_is_taken_as_a_name_is_refused_while_it_has_templates(void **state)
{
	struct lineup_delete_options deletion = { .size = sizeof(deletion), .what = LINEUP_DELETE_SUBJECT };
	struct lineup_gallery_info info;
	struct world w;

	(void)state;
	for (int compacted = 0; compacted < 2; compacted++) {
		char name[32];

		world_begin(&w, 3);
		snprintf(name, sizeof(name), "%llu", (unsigned long long)w.model.template_next + 1);
		deletion.subject = name;
		assert_int_equal(enrol_one(&w, name), 0);
		assert_int_equal(enrol_one(&w, NULL), -EEXIST);
		lineup_gallery_info(w.packed[0].gallery, &info);
		assert_int_equal(info.templates, 1);
		assert_int_equal(lineup_gallery_delete(w.packed[0].gallery, &deletion, NULL), 0);
		if (compacted)
			assert_int_equal(lineup_gallery_compact(w.packed[0].gallery, NULL, NULL, NULL), 0);
		assert_int_equal(enrol_one(&w, NULL), 0);
		lineup_gallery_info(w.packed[0].gallery, &info);
		assert_int_equal(info.templates, 1);
		assert_int_equal(info.subjects, 1);
		assert_int_equal(lineup_gallery_check(w.packed[0].gallery, NULL, NULL), 0);
		world_end(&w);
	}
}

/* One op_id is one operation, of one kind. */
static void an_op_id_of_an_operation_of_another_kind_is_refused(void **state)
{
	struct ledger_op enrolment = { .kind = LEDGER_ENROL, .id = 7, .seed = 7, .rows = 3 };
	struct ledger_op deletion = { .kind = LEDGER_DELETE_TEMPLATE, .id = 8 };
	struct ledger_result result;
	struct world w;

	(void)state;
	world_begin(&w, 3);
	deletion.template_id = w.model.template_next;
	for (int i = 0; i < GALLERIES; i++) {
		struct lineup_gallery *gallery = w.packed[i].gallery;
		struct lineup_gallery_info info;

		assert_int_equal(ledger_run(gallery, &enrolment, &result), 0);
		deletion.id = 8;
		enrolment.id = 7;
		assert_int_equal(ledger_run(gallery, &deletion, &result), 0);
		deletion.id = 7;
		assert_int_equal(ledger_run(gallery, &deletion, &result), -EINVAL);
		enrolment.id = 8;
		assert_int_equal(ledger_run(gallery, &enrolment, &result), -EINVAL);
		enrolment.id = 7;
		lineup_gallery_info(gallery, &info);
		assert_int_equal(info.sequence, 2);
	}
	world_end(&w);
}

static void another_model_is_refused(void **state)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .model = "model-2" };
	struct lineup_gallery *gallery;
	struct world w;

	(void)state;
	world_begin(&w, 3);
	ledger_log_clear(&w.log);
	assert_int_equal(lineup_gallery_open(w.packed[0].ctx, w.packed[0].path, &options, &gallery), -EMEDIUMTYPE);
	assert_int_equal(w.log.errors, 1);
	options.model = "model-1";
	assert_int_equal(lineup_gallery_open(w.packed[0].ctx, w.packed[0].path, &options, &gallery), 0);
	lineup_gallery_close(gallery);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_histories_match_the_model),
		cmocka_unit_test(an_aborted_enrolment_leaves_nothing),
		cmocka_unit_test(an_enrolment_of_no_rows_is_refused),
		cmocka_unit_test(a_bad_row_refuses_its_batch_and_leaves_the_enrolment),
		cmocka_unit_test(a_sixty_fifth_list_is_refused),
		cmocka_unit_test(a_number_that_is_taken_as_a_name_is_refused_while_it_has_templates),
		cmocka_unit_test(an_op_id_of_an_operation_of_another_kind_is_refused),
		cmocka_unit_test(another_model_is_refused),
	};

	quick = lineup_io_system;
	quick.fdatasync = quick_sync;
	quick.fsync = quick_sync;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
