// SPDX-License-Identifier: MIT
// Readers in other processes keep their state while a writer goes on, and what was deleted leaves the disk.
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "faulty_io.h"
#include "gallery.h"
#include "ledger.h"

enum { DIM = 8, OPERATIONS = 60 };

struct stage {
	char base[PATH_MAX];
	char path[PATH_MAX + 32];
	struct ledger_log log;
	struct lineup_ctx *ctx;
	struct lineup_gallery *gallery; /* the writer */
	struct ledger model;
	uint64_t op_next;
};

#define REQUIRE(s, condition, ...)                                                                                            \
	do {                                                                                                                  \
		if (!(condition)) {                                                                                           \
			print_error(__VA_ARGS__);                                                                             \
			print_error("\nlog:\n%s", (s)->log.text);                                                             \
			fail();                                                                                               \
		}                                                                                                             \
	} while (0)

static int open_flags(struct lineup_ctx *ctx, const char *path, uint32_t flags, struct lineup_gallery **gallery)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = flags };

	return lineup_gallery_open(ctx, path, &options, gallery);
}

static struct lineup_ctx *ctx_make(struct ledger_log *log)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = ledger_log_line, .log_arg = log };
	struct lineup_ctx *ctx;

	ledger_log_clear(log);
	assert_int_equal(lineup_ctx_create(&options, &ctx), 0);
	ctx->record_bytes_max = 4000;
	ctx->spill_rows_min = 48;
	ctx->journal_seal_bytes = 6000;
	return ctx;
}

static void operate(struct stage *s, struct ledger_op op)
{
	char why[LEDGER_WHY_BYTES];
	const char *differs;

	op.id = op.seed = ++s->op_next;
	op.named = true;
	differs = ledger_both(&s->model, s->gallery, &op, why);
	REQUIRE(s, !differs, "operation %llu: %s", (unsigned long long)op.id, differs);
}

/* Segments, a journal, deletions in both. */
static void stage_begin(struct stage *s, struct faulty_io *disk)
{
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = DIM };
	struct lineup_gallery_info info;

	memset(s, 0, sizeof(*s));
	faulty_directory(s->base, false);
	snprintf(s->path, sizeof(s->path), "%s/gallery", s->base);
	s->ctx = ctx_make(&s->log);
	if (disk) {
		faulty_init(disk, s->base);
		s->ctx->io = &disk->io;
		s->ctx->io_arg = disk;
	}
	assert_int_equal(lineup_gallery_create(s->ctx, s->path, &create, &s->gallery), 0);
	lineup_gallery_info(s->gallery, &info);
	ledger_init(&s->model, DIM, LINEUP_STORE_FLOAT32, info.templates_next);
	operate(s, (struct ledger_op) { .kind = LEDGER_ENROL, .rows = 90 });
	operate(s, (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .template_id = 12 });
	operate(s, (struct ledger_op) { .kind = LEDGER_ENROL, .rows = 4 });
	operate(s, (struct ledger_op) { .kind = LEDGER_ENROL, .rows = 70 });
	operate(s, (struct ledger_op) { .kind = LEDGER_ENROL, .rows = 5 });
	operate(s, (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .template_id = 100 });
	operate(s, (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .template_id = 165 });
}

static void stage_end(struct stage *s)
{
	lineup_gallery_close(s->gallery);
	lineup_ctx_destroy(s->ctx);
	ledger_fini(&s->model);
	faulty_remove(s->base);
}

static void compact(struct stage *s, struct lineup_compact_result *result)
{
	int err = lineup_gallery_compact(s->gallery, NULL, NULL, result);

	REQUIRE(s, !err, "compact: %d", err);
}

static void require_model(struct stage *s)
{
	char why[LEDGER_WHY_BYTES];
	const char *differs = ledger_differs(&s->model, s->gallery, NULL, why);

	REQUIRE(s, !differs, "%s", differs);
	assert_int_equal(lineup_gallery_check(s->gallery, NULL, NULL), 0);
}

/* ---- a reader in another process ---------------------------------------------------------------------------------------- */

/* Opens, says so, waits for the word, looks, says what it saw, goes. */
static int reader(const struct stage *s, int ready, int go)
{
	struct ledger_log log;
	struct lineup_ctx *ctx = ctx_make(&log);
	struct lineup_gallery *gallery;
	char why[LEDGER_WHY_BYTES], byte = 0;

	if (open_flags(ctx, s->path, 0, &gallery))
		return 10;
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
		return 11;
	if (ledger_differs(&s->model, gallery, NULL, why))
		return 12;
	if (lineup_gallery_check(gallery, NULL, NULL))
		return 13;
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	return 0;
}

struct other {
	pid_t pid;
	int ready[2], go[2];
};

static void other_begin(struct stage *s, struct other *o)
{
	char byte;

	assert_int_equal(pipe(o->ready) | pipe(o->go), 0);
	o->pid = fork();
	if (!o->pid) {
		close(o->go[1]); /* or it would outlive a test that fails */
		lineup_gallery_close(s->gallery); /* its lock would be held until both have closed it */
		_exit(reader(s, o->ready[1], o->go[0]));
	}
	assert_int_equal(read(o->ready[0], &byte, 1), 1);
}

static void other_end(struct other *o)
{
	int status;

	assert_int_equal(write(o->go[1], "", 1), 1);
	assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	for (int i = 0; i < 2; i++) {
		close(o->ready[i]);
		close(o->go[i]);
	}
}

static void a_compaction_leaves_the_files_of_a_reader(void **state)
{
	struct lineup_compact_result result;
	char why[LEDGER_WHY_BYTES];
	struct other other;
	struct stage s;
	const char *stray;

	(void)state;
	stage_begin(&s, NULL);
	other_begin(&s, &other);
	operate(&s, (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .template_id = 30 });
	operate(&s, (struct ledger_op) { .kind = LEDGER_ENROL, .rows = 3 });
	compact(&s, &result);
	assert_true(result.files_held > 0);
	require_model(&s);
	assert_non_null(ledger_stray(s.path, why));
	operate(&s, (struct ledger_op) { .kind = LEDGER_ENROL, .rows = 60 });
	other_end(&other);
	compact(&s, &result);
	assert_int_equal(result.files_held, 0);
	stray = ledger_stray(s.path, why);
	REQUIRE(&s, !stray, "%s", stray);
	require_model(&s);
	stage_end(&s);
}

static void the_next_writer_removes_what_a_reader_held(void **state)
{
	struct lineup_compact_result result;
	char why[LEDGER_WHY_BYTES];
	struct other other;
	struct stage s;
	const char *stray;

	(void)state;
	stage_begin(&s, NULL);
	other_begin(&s, &other);
	compact(&s, &result);
	assert_true(result.files_held > 0);
	lineup_gallery_close(s.gallery);
	assert_int_equal(open_flags(s.ctx, s.path, LINEUP_GALLERY_WRITE, &s.gallery), 0);
	assert_non_null(ledger_stray(s.path, why));
	lineup_gallery_close(s.gallery);
	other_end(&other);
	assert_int_equal(open_flags(s.ctx, s.path, LINEUP_GALLERY_WRITE, &s.gallery), 0);
	stray = ledger_stray(s.path, why);
	REQUIRE(&s, !stray, "%s", stray);
	require_model(&s);
	stage_end(&s);
}

static void a_snapshot_outlives_the_gallery_it_came_from(void **state)
{
	struct lineup_compact_result result;
	struct lineup_gallery *gallery;
	struct lineup_snapshot *snapshot;
	struct lineup_gallery_info info;
	struct stage s;
	uint64_t rows = 0;

	(void)state;
	stage_begin(&s, NULL);
	assert_int_equal(open_flags(s.ctx, s.path, 0, &gallery), 0);
	lineup_gallery_info(gallery, &info);
	snapshot = lineup_gallery_snapshot(gallery);
	assert_non_null(snapshot);
	lineup_gallery_close(gallery);
	compact(&s, &result);
	assert_true(result.files_held > 0);
	assert_int_equal(snapshot->sequence, info.sequence);
	for (uint32_t i = 0; i < snapshot->segment_count; i++) {
		const struct lineup_segment *segment = &snapshot->segments[i];
		struct disk_record *record = malloc(segment->shape.record_bytes);

		assert_non_null(record);
		for (uint64_t r = 0; r < segment->rows; r++, rows++) {
			const struct ledger_row *row = &s.model.rows[rows];
			float buffer[DIM];

			assert_int_equal(lineup_segment_record(s.ctx, segment, r, record), 0);
			assert_int_equal(record->template_id, row->id);
			assert_int_equal(lineup_segment_row_deleted(segment, r), row->deleted);
			assert_memory_equal(lineup_record_vector(&segment->shape, record, buffer), row->vector, sizeof(buffer));
		}
		free(record);
	}
	assert_int_equal(rows, s.model.row_count);
	lineup_snapshot_put(snapshot);
	compact(&s, &result);
	assert_int_equal(result.files_held, 0);
	stage_end(&s);
}

/* ---- readers that race with a writer ------------------------------------------------------------------------------------ */

static struct ledger_op race_op(const struct ledger *model, uint64_t i)
{
	struct ledger_op op = { .kind = LEDGER_ENROL, .id = 1000 + i, .seed = i * 77, .named = true, .rows = 1 + (uint32_t)(i % 5) };

	if (i % 4 == 1) {
		op.kind = LEDGER_DELETE_TEMPLATE;
		for (size_t r = (size_t)(i * 13 % model->row_count);; r = (r + 1) % model->row_count)
			if (!model->rows[r].deleted) {
				op.template_id = model->rows[r].id;
				break;
			}
	} else if (i % 7 == 0) {
		op.rows = 60;
	}
	return op;
}

static int race_writer(struct stage *s)
{
	for (uint64_t i = 0; i < OPERATIONS; i++) {
		struct ledger_op op = race_op(&s->model, i);
		char why[LEDGER_WHY_BYTES];

		if (ledger_both(&s->model, s->gallery, &op, why)) {
			fprintf(stderr, "writer: %s\n%s", why, s->log.text);
			return 20;
		}
		if (i % 6 == 5 && lineup_gallery_compact(s->gallery, NULL, NULL, NULL))
			return 21;
	}
	return 0;
}

/* Whatever moment a reader opens or refreshes at, it sees the state after some operation, and never an older one than before. */
static void readers_that_race_with_a_writer_see_whole_states(void **state)
{
	struct ledger history[OPERATIONS + 1];
	uint64_t sequence_first, sequence_last, opens = 0, different = 0, seen = 0;
	struct lineup_gallery *gallery = NULL;
	struct stage s;
	int status;
	pid_t pid, ended;

	(void)state;
	stage_begin(&s, NULL);
	sequence_first = sequence_last = s.model.sequence;
	ledger_copy(&history[0], &s.model);
	for (uint64_t i = 0; i < OPERATIONS; i++) {
		struct ledger_op op = race_op(&history[i], i);
		struct ledger_result result;

		ledger_copy(&history[i + 1], &history[i]);
		assert_int_equal(ledger_apply(&history[i + 1], &op, &result), 0);
	}
	lineup_gallery_close(s.gallery);
	pid = fork();
	if (!pid) {
		if (open_flags(s.ctx, s.path, LINEUP_GALLERY_WRITE, &s.gallery))
			_exit(22);
		status = race_writer(&s);
		lineup_gallery_close(s.gallery);
		_exit(status);
	}
	do {
		struct lineup_gallery_info info;
		char why[LEDGER_WHY_BYTES];
		const char *differs;
		int err;

		ended = waitpid(pid, &status, WNOHANG);
		if (gallery && opens % 3) {
			err = lineup_gallery_refresh(gallery);
		} else {
			lineup_gallery_close(gallery);
			err = open_flags(s.ctx, s.path, 0, &gallery);
		}
		REQUIRE(&s, !err, "open or refresh %llu: %d", (unsigned long long)opens, err);
		lineup_gallery_info(gallery, &info);
		assert_true(info.sequence >= sequence_last && info.sequence <= sequence_first + OPERATIONS);
		differs = ledger_differs(&history[info.sequence - sequence_first], gallery, NULL, why);
		REQUIRE(&s, !differs, "sequence %llu: %s", (unsigned long long)info.sequence, differs);
		different += info.sequence != seen;
		seen = sequence_last = info.sequence;
		opens++;
	} while (!ended);
	assert_int_equal(ended, pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(sequence_last, sequence_first + OPERATIONS);
	print_message("             %llu openings, %llu different states\n", (unsigned long long)opens, (unsigned long long)different);
	lineup_gallery_close(gallery);
	for (int i = 0; i <= OPERATIONS; i++)
		ledger_fini(&history[i]);
	s.gallery = NULL;
	stage_end(&s);
}

/* ---- what was deleted leaves the disk ----------------------------------------------------------------------------------- */

static bool holds(const uint8_t *data, size_t size, const void *what, size_t length)
{
	return memmem(data, size, what, length) != NULL;
}

/* How many of the deleted templates' vectors, and of the names that only they had, the directory's files hold. */
static void count_traces(const struct stage *s, size_t *vectors, size_t *names)
{
	DIR *dir = opendir(s->path);

	assert_non_null(dir);
	*vectors = *names = 0;
	for (struct dirent *d; (d = readdir(dir));) {
		char path[PATH_MAX + 300];
		struct stat st;
		uint8_t *data;
		int fd;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", s->path, d->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(fstat(fd, &st), 0);
		data = malloc((size_t)st.st_size + 1);
		assert_non_null(data);
		assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
		close(fd);
		for (size_t i = 0; i < s->model.row_count; i++) {
			const struct ledger_row *row = &s->model.rows[i];
			bool live = false;

			if (!row->deleted)
				continue;
			*vectors += holds(data, (size_t)st.st_size, row->vector, DIM * sizeof(float));
			for (size_t j = 0; j < s->model.row_count; j++)
				live |= !s->model.rows[j].deleted && strstr(s->model.rows[j].subject, row->subject);
			*names += !live && holds(data, (size_t)st.st_size, row->subject, strlen(row->subject));
		}
		free(data);
	}
	closedir(dir);
}

/* Deletes whole subjects, in segments and in the journal, until some names have no template left. */
static void delete_subjects(struct stage *s)
{
	for (uint32_t i = 8; i < 20; i++)
		operate(s, (struct ledger_op) { .kind = LEDGER_DELETE_SUBJECT, .subject = i });
}

static void deleted_templates_leave_the_disk(void **state)
{
	struct lineup_compact_result result;
	size_t vectors, names;
	struct stage s;

	(void)state;
	stage_begin(&s, NULL);
	delete_subjects(&s);
	count_traces(&s, &vectors, &names);
	assert_true(vectors > 0 && names > 0);
	compact(&s, &result);
	assert_int_equal(result.files_held, 0);
	assert_true(result.rows_dropped > 0);
	count_traces(&s, &vectors, &names);
	assert_int_equal(vectors, 0);
	assert_int_equal(names, 0);
	require_model(&s);
	stage_end(&s);
}

static void deleted_templates_leave_the_disk_when_their_reader_is_gone(void **state)
{
	struct lineup_compact_result result;
	size_t vectors, names;
	struct other other;
	struct stage s;

	(void)state;
	stage_begin(&s, NULL);
	delete_subjects(&s);
	other_begin(&s, &other);
	compact(&s, &result);
	assert_true(result.files_held > 0);
	count_traces(&s, &vectors, &names);
	assert_true(vectors > 0 && names > 0);
	other_end(&other);
	compact(&s, &result);
	assert_int_equal(result.files_held, 0);
	count_traces(&s, &vectors, &names);
	assert_int_equal(vectors, 0);
	assert_int_equal(names, 0);
	stage_end(&s);
}

struct wiping {
	unsigned unlinked, unwiped;
	char name[NAME_MAX + 1];
};

static void watch_unlinks(struct faulty_io *f, void *arg)
{
	struct wiping *w = arg;

	if (f->call != FAULTY_UNLINK || !strchr(f->name, '-'))
		return;
	w->unlinked++;
	if (!faulty_wiped(f, f->name)) {
		w->unwiped++;
		strcpy(w->name, f->name);
	}
}

/* Also of those that hold nothing deleted: who knows what a merged segment held. */
static void old_files_are_overwritten_on_the_disk_before_they_go(void **state)
{
	struct lineup_compact_result result;
	struct wiping wiping = { .unlinked = 0 };
	struct faulty_io disk;
	struct stage s;

	(void)state;
	stage_begin(&s, &disk);
	disk.hook = watch_unlinks;
	disk.hook_arg = &wiping;
	delete_subjects(&s);
	compact(&s, &result);
	REQUIRE(&s, !wiping.unwiped, "%s was unlinked before its contents were gone from the disk", wiping.name);
	assert_true(wiping.unlinked >= 3);
	stage_end(&s);
	faulty_fini(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_compaction_leaves_the_files_of_a_reader),
		cmocka_unit_test(the_next_writer_removes_what_a_reader_held),
		cmocka_unit_test(a_snapshot_outlives_the_gallery_it_came_from),
		cmocka_unit_test(readers_that_race_with_a_writer_see_whole_states),
		cmocka_unit_test(deleted_templates_leave_the_disk),
		cmocka_unit_test(deleted_templates_leave_the_disk_when_their_reader_is_gone),
		cmocka_unit_test(old_files_are_overwritten_on_the_disk_before_they_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
