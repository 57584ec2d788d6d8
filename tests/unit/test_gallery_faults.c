// SPDX-License-Identifier: MIT
// A full disk, failing calls, short writes, a second writer, a read-only directory: a clear error, and the old state.
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

enum { DIM = 5, SETUP_MAX = 8, CALLS_MAX = 100000 };

/* An operation and the gallery it meets. */
struct scenario {
	const char *name;
	struct ledger_op setup[SETUP_MAX];
	uint32_t setup_count;
	struct ledger_op op;
	uint64_t seal_bytes;
};

/* How calls fail. */
struct fault {
	const char *name;
	uint32_t mask;
	int error;
	size_t short_bytes;
	bool for_ever;
};

struct stage {
	const struct scenario *scenario;
	const struct fault *fault;
	uint64_t at;
	char base[PATH_MAX];
	char path[PATH_MAX + 32];
	struct faulty_io disk;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	struct lineup_gallery *gallery;
	struct ledger before, after;
};

#define REQUIRE(s, condition, ...)                                                                                            \
	do {                                                                                                                  \
		if (!(condition)) {                                                                                           \
			print_error("%s, %s at call %llu (%s of %s): ", (s)->scenario->name, (s)->fault->name,                \
				    (unsigned long long)(s)->at,                                                              \
				    (s)->disk.failed ? faulty_call_name[(s)->disk.failed_call] : "none",                     \
				    (s)->disk.failed_name);                                                                   \
			print_error(__VA_ARGS__);                                                                             \
			print_error("\nlog:\n%s", (s)->log.text);                                                             \
			fail();                                                                                               \
		}                                                                                                             \
	} while (0)

static const struct fault none = { .name = "no fault" };

static int open_flags(struct lineup_ctx *ctx, const char *path, uint32_t flags, struct lineup_gallery **gallery)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = flags };

	return lineup_gallery_open(ctx, path, &options, gallery);
}

static int create(struct lineup_ctx *ctx, const char *path, struct lineup_gallery **gallery)
{
	struct lineup_gallery_create_options options = { .size = sizeof(options), .dim = DIM };

	return lineup_gallery_create(ctx, path, &options, gallery);
}

static void stage_begin(struct stage *s, const struct scenario *scenario, const struct fault *fault, uint64_t at)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = ledger_log_line, .log_arg = &s->log };

	memset(s, 0, sizeof(*s));
	s->scenario = scenario;
	s->fault = fault;
	s->at = at;
	faulty_directory(s->base, true);
	snprintf(s->path, sizeof(s->path), "%s/gallery", s->base);
	faulty_init(&s->disk, s->base);
	assert_int_equal(lineup_ctx_create(&options, &s->ctx), 0);
	s->ctx->io = &s->disk.io;
	s->ctx->io_arg = &s->disk;
	s->ctx->record_bytes_max = 3500;
	s->ctx->spill_rows_min = 48;
	s->ctx->journal_seal_bytes = scenario->seal_bytes;
}

static void set_up(struct stage *s)
{
	struct lineup_gallery_info info;
	struct ledger_result result;
	char why[LEDGER_WHY_BYTES];
	int err = create(s->ctx, s->path, &s->gallery);

	REQUIRE(s, !err, "create: %d", err);
	lineup_gallery_info(s->gallery, &info);
	ledger_init(&s->before, DIM, LINEUP_STORE_FLOAT32, info.templates_next);
	for (uint32_t i = 0; i < s->scenario->setup_count; i++) {
		const char *differs = ledger_both(&s->before, s->gallery, &s->scenario->setup[i], why);

		REQUIRE(s, !differs, "%s", differs);
	}
	ledger_copy(&s->after, &s->before);
	assert_int_equal(ledger_apply(&s->after, &s->scenario->op, &result), 0);
}

static void stage_end(struct stage *s)
{
	const char *differs = faulty_differs(&s->disk);

	REQUIRE(s, !differs, "the model of the disk is wrong: %s", differs);
	lineup_ctx_destroy(s->ctx);
	faulty_fini(&s->disk);
	ledger_fini(&s->before);
	ledger_fini(&s->after);
	faulty_remove(s->base);
}

static void arm(struct stage *s)
{
	faulty_calm(&s->disk);
	ledger_log_clear(&s->log);
	s->disk.fail_mask = s->fault->mask;
	s->disk.fail_error = s->fault->error;
	s->disk.fail_at = s->at;
	s->disk.fail_for_ever = s->fault->for_ever;
	s->disk.fail_short = s->fault->short_bytes;
}

static void require_state(struct stage *s, const struct ledger *o, const char *when)
{
	char why[LEDGER_WHY_BYTES];
	const char *differs = ledger_differs(o, s->gallery, NULL, why);

	REQUIRE(s, !differs, "%s: %s", when, differs);
}

static void reopen(struct stage *s, const struct ledger *o, uint32_t flags, const char *when)
{
	int err = open_flags(s->ctx, s->path, flags, &s->gallery);

	REQUIRE(s, !err, "%s: open: %d", when, err);
	err = lineup_gallery_check(s->gallery, NULL, NULL);
	REQUIRE(s, !err, "%s: check: %d", when, err);
	require_state(s, o, when);
	if (!flags) {
		lineup_gallery_close(s->gallery);
		s->gallery = NULL;
	}
}

/* What the power leaves if it fails now is what the process believes. */
static void require_image(struct stage *s, const struct ledger *o, enum faulty_loss loss, uint64_t seed)
{
	char path[PATH_MAX + 48];
	struct lineup_ctx_options options = { .size = sizeof(options), .log = ledger_log_line, .log_arg = &s->log };
	struct stage image = *s;
	int err;

	snprintf(image.base, sizeof(image.base), "%.4000s-image", s->base);
	assert_int_equal(mkdir(image.base, 0700), 0);
	faulty_image(&s->disk, loss, seed, image.base);
	snprintf(path, sizeof(path), "%s/gallery", image.base);
	assert_int_equal(lineup_ctx_create(&options, &image.ctx), 0);
	err = open_flags(image.ctx, path, 0, &image.gallery);
	REQUIRE(s, !err, "after a power cut: open: %d", err);
	require_state(&image, o, "after a power cut");
	lineup_gallery_close(image.gallery);
	lineup_ctx_destroy(image.ctx);
	faulty_remove(image.base);
}

static void require_durable(struct stage *s, const struct ledger *o)
{
	require_image(s, o, FAULTY_LOSE, 0);
	/* What was half synced needs more tries to come out whole. */
	for (uint64_t seed = 1; seed <= (s->disk.failed_call == FAULTY_FDATASYNC ? 50 : 2); seed++)
		require_image(s, o, FAULTY_RANDOM, s->at * 100 + seed);
}

/* After the fault is gone: nothing lost, nothing left behind, and the operation can be done, once. */
static void recover(struct stage *s, const struct ledger *o)
{
	struct ledger_result result;
	char why[LEDGER_WHY_BYTES];
	const char *stray;
	int err;

	faulty_calm(&s->disk);
	reopen(s, o, 0, "a reader after the fault");
	reopen(s, o, LINEUP_GALLERY_WRITE, "the next writer");
	stray = ledger_stray(s->path, why);
	REQUIRE(s, !stray, "%s", stray);
	require_durable(s, o);
	err = ledger_run(s->gallery, &s->scenario->op, &result);
	REQUIRE(s, !err, "the operation again: %d", err);
	require_state(s, &s->after, "the operation again");
	require_durable(s, &s->after);
	lineup_gallery_close(s->gallery);
	reopen(s, &s->after, 0, "the operation again");
}

/*
 * A directory that could not be synced after MANIFEST was replaced: only reading it again tells which one is there. The call says that it
 * failed, this process keeps the old state and writes no more.
 */
static const struct ledger *in_doubt(struct stage *s)
{
	char why[LEDGER_WHY_BYTES];
	const struct ledger *found = &s->before;

	if (s->disk.failed_call != FAULTY_FSYNC)
		return found;
	assert_int_equal(open_flags(s->ctx, s->path, 0, &s->gallery), 0);
	if (!ledger_differs(&s->after, s->gallery, NULL, why))
		found = &s->after;
	lineup_gallery_close(s->gallery);
	return found;
}

/* The same handle tries again: it either completes the operation or refuses to write any more. */
static bool try_again(struct stage *s)
{
	struct ledger_result result;
	int err = ledger_run(s->gallery, &s->scenario->op, &result);

	REQUIRE(s, !err || (lineup_gallery_refuses(s->gallery) && err == (s->scenario->op.kind == LEDGER_MAINTAIN ? -EROFS : -EIO)),
		"the same handle again: %d", err);
	require_state(s, err ? &s->before : &s->after, "the same handle again");
	if (!err)
		require_durable(s, &s->after);
	return !err;
}

/* The same handle recovers in place, beside a snapshot that stays as it is, and completes the operation. */
static void recover_in_place(struct stage *s)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(s->gallery);
	bool refused = lineup_gallery_refuses(s->gallery);
	uint64_t sequence = snapshot->sequence, rows = snapshot->rows;
	struct ledger_result result;
	char why[LEDGER_WHY_BYTES];
	int err = lineup_gallery_recover(s->gallery);

	REQUIRE(s, !err, "recover: %d", err);
	REQUIRE(s, !lineup_gallery_refuses(s->gallery), "refuses after the recovery");
	REQUIRE(s, snapshot->sequence == sequence && snapshot->rows == rows, "the snapshot has changed");
	lineup_snapshot_put(snapshot);
	if (!refused || ledger_differs(&s->after, s->gallery, NULL, why))
		require_state(s, &s->before, "recovered in place");
	err = ledger_run(s->gallery, &s->scenario->op, &result);
	REQUIRE(s, !err, "after the recovery in place: %d", err);
	require_state(s, &s->after, "after the recovery in place");
	require_durable(s, &s->after);
}

/* One call fails. Returns false when there are no more calls to fail. */
static bool fail_one(const struct scenario *scenario, const struct fault *fault, uint64_t at, uint64_t *acknowledged)
{
	struct ledger_result result;
	struct stage s;
	bool failed, done;
	int err;

	stage_begin(&s, scenario, fault, at);
	set_up(&s);
	arm(&s);
	err = ledger_run(s.gallery, &scenario->op, &result);
	failed = s.disk.failed;
	done = !err;
	if (err) {
		REQUIRE(&s, failed, "failed without a fault: %d", err);
		REQUIRE(&s, err == fault->error, "returned %d, not %d", err, fault->error);
		REQUIRE(&s, s.log.errors, "nothing was said");
		REQUIRE(&s, strstr(s.log.text, s.disk.failed_name) || s.disk.failed_call == FAULTY_FSYNC, "the message does not name %s",
			s.disk.failed_name);
	} else {
		/* Only what comes after the point of no return may fail unnoticed: the removal of old files, a seal. */
		REQUIRE(&s, !s.log.errors, "an error was said, and the operation acknowledged");
		REQUIRE(&s, !failed || s.log.warnings, "a fault after the commit was not even a warning");
		*acknowledged += failed;
	}
	faulty_calm(&s.disk);
	require_state(&s, err ? &s.before : &s.after, "this process");
	if (!err)
		require_durable(&s, &s.after);
	else if (s.disk.failed_call != FAULTY_FSYNC)
		require_durable(&s, &s.before);
	if (err && at % 3 == 1) {
		done = try_again(&s);
	} else if (err && at % 3 == 2) {
		recover_in_place(&s);
		done = true;
	}
	lineup_gallery_close(s.gallery);
	recover(&s, done ? &s.after : in_doubt(&s));
	stage_end(&s);
	return failed;
}

static void fail_every(const struct scenario *scenario, const struct fault *fault)
{
	uint64_t at = 1, acknowledged = 0;

	while (at < CALLS_MAX && fail_one(scenario, fault, at, &acknowledged))
		at++;
	print_message("             %s, %s: %llu calls failed, %llu of them after the commit\n", scenario->name, fault->name,
		      (unsigned long long)at - 1, (unsigned long long)acknowledged);
}

/* ---- the scenarios ------------------------------------------------------------------------------------------------------ */

static struct ledger_op enrol(uint64_t id, uint32_t rows)
{
	return (struct ledger_op) {
		.kind = LEDGER_ENROL, .id = id, .seed = id * 31, .rows = rows, .named = id % 4 != 0, .listed = id % 2,
		.expiring = id % 3 == 0,
	};
}

static void furnish(struct scenario *scenario)
{
	scenario->setup[scenario->setup_count++] = enrol(1, 60);
	scenario->setup[scenario->setup_count++] = (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .id = 2, .template_id = 7 };
	scenario->setup[scenario->setup_count++] = enrol(3, 3);
	scenario->setup[scenario->setup_count++] = enrol(5, 40);
	scenario->setup[scenario->setup_count++] = enrol(4, 4);
	scenario->setup[scenario->setup_count++] = (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .id = 6, .template_id = 65 };
}

static void scenarios(void (*each)(const struct scenario *scenario, void *arg), void *arg)
{
	struct scenario scenario = { .name = "small enrolment", .op = enrol(9, 3) };
	const struct ledger_op ops[] = {
		enrol(21, 4), { .kind = LEDGER_DELETE_TEMPLATE, .id = 22, .template_id = 108 },
		{ .kind = LEDGER_DELETE_TEMPLATE, .id = 23, .template_id = 20 }, enrol(25, 6),
	};

	each(&scenario, arg);
	furnish(&scenario);
	each(&scenario, arg);
	scenario.name = "bulk enrolment";
	scenario.op = enrol(9, 60);
	each(&scenario, arg);
	scenario.name = "deletion";
	scenario.op = (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .id = 9, .template_id = 20 };
	each(&scenario, arg);
	scenario.name = "compaction";
	scenario.op = (struct ledger_op) { .kind = LEDGER_COMPACT };
	each(&scenario, arg);
	for (uint32_t compact = 1; compact < 3; compact++) {
		scenario.name = compact == 1 ? "maintenance" : "maintenance of all";
		scenario.op = (struct ledger_op) { .kind = LEDGER_MAINTAIN, .compact = compact };
		each(&scenario, arg);
	}
	scenario.name = "replacement";
	scenario.op = enrol(9, 6);
	scenario.op.kind = LEDGER_REPLACE;
	each(&scenario, arg);
	scenario.name = "group";
	scenario.op = (struct ledger_op) { .kind = LEDGER_GROUP, .ops = ops, .op_count = ARRAY_SIZE(ops) };
	each(&scenario, arg);
	scenario.name = "seal";
	scenario.op = enrol(9, 9);
	scenario.seal_bytes = 2500;
	each(&scenario, arg);
}

static void fail_every_arg(const struct scenario *scenario, void *arg)
{
	fail_every(scenario, arg);
}

static void a_full_disk_keeps_the_old_state(void **state)
{
	struct fault fault = {
		"ENOSPC", 1 << FAULTY_PWRITE | 1 << FAULTY_CREATE | 1 << FAULTY_FDATASYNC | 1 << FAULTY_FTRUNCATE, -ENOSPC, 0, false,
	};

	(void)state;
	scenarios(fail_every_arg, &fault);
}

static void a_short_write_then_a_full_disk_keeps_the_old_state(void **state)
{
	struct fault fault = { "short write, then ENOSPC", 1 << FAULTY_PWRITE, -ENOSPC, 100, false };

	(void)state;
	scenarios(fail_every_arg, &fault);
}

static void failing_calls_keep_the_old_state(void **state)
{
	struct fault fault = { "EIO", FAULTY_MUTATING, -EIO, 0, false };

	(void)state;
	scenarios(fail_every_arg, &fault);
}

static void failing_reads_keep_the_old_state(void **state)
{
	struct fault fault = { "EIO on reading", 1 << FAULTY_OPEN | 1 << FAULTY_PREAD | 1 << FAULTY_FSTAT, -EIO, 0, false };

	(void)state;
	scenarios(fail_every_arg, &fault);
}

static void a_read_only_file_system_keeps_the_old_state(void **state)
{
	struct fault fault = {
		"EROFS", 1 << FAULTY_CREATE | 1 << FAULTY_RENAME | 1 << FAULTY_UNLINK | 1 << FAULTY_PWRITE, -EROFS, 0, false,
	};

	(void)state;
	scenarios(fail_every_arg, &fault);
}

/* A disk that is gone: what the call says is what it says, but what it leaves is one of the two states. */
static void disk_gone_at_every_call(const struct scenario *scenario, void *arg)
{
	const struct fault *fault = arg;
	bool failed = true;

	for (uint64_t at = 1; failed && at < CALLS_MAX; at++) {
		struct ledger_result result;
		char why[LEDGER_WHY_BYTES];
		struct stage s;
		bool is_after;
		int err;

		stage_begin(&s, scenario, fault, at);
		set_up(&s);
		arm(&s);
		err = ledger_run(s.gallery, &scenario->op, &result);
		failed = s.disk.failed;
		REQUIRE(&s, !err || (failed && err == fault->error), "returned %d, not %d", err, fault->error);
		lineup_gallery_close(s.gallery);
		faulty_calm(&s.disk);
		assert_int_equal(open_flags(s.ctx, s.path, 0, &s.gallery), 0);
		is_after = !ledger_differs(&s.after, s.gallery, NULL, why);
		lineup_gallery_close(s.gallery);
		REQUIRE(&s, err || is_after, "acknowledged, and lost");
		recover(&s, is_after ? &s.after : &s.before);
		stage_end(&s);
	}
}

static void a_disk_that_is_gone_loses_nothing(void **state)
{
	struct fault fault = { "EIO for ever", FAULTY_ALL & ~(1u << FAULTY_FLOCK), -EIO, 0, true };

	(void)state;
	scenarios(disk_gone_at_every_call, &fault);
}

static void one_byte_at_a_time(const struct scenario *scenario, void *arg)
{
	struct ledger_result result;
	struct stage s;
	int err;

	(void)arg;
	stage_begin(&s, scenario, &none, 0);
	s.disk.write_max = s.disk.read_max = 1;
	set_up(&s);
	s.disk.write_max = s.disk.read_max = 1;
	err = ledger_run(s.gallery, &scenario->op, &result);
	REQUIRE(&s, !err, "the operation: %d", err);
	require_state(&s, &s.after, "one byte at a time");
	lineup_gallery_close(s.gallery);
	recover(&s, &s.after);
	stage_end(&s);
}

static void short_reads_and_writes_are_continued(void **state)
{
	struct scenario scenario = { .name = "small enrolment", .setup_count = 1, .op = enrol(9, 3) };

	(void)state;
	scenario.setup[0] = enrol(1, 2);
	one_byte_at_a_time(&scenario, NULL);
	scenario.op = enrol(8, 20);
	one_byte_at_a_time(&scenario, NULL);
}

/* ---- creation ----------------------------------------------------------------------------------------------------------- */

static void a_failed_creation_leaves_nothing(void **state)
{
	static const struct fault faults[] = {
		{ "EIO", FAULTY_MUTATING & ~(1u << FAULTY_UNLINK | 1u << FAULTY_RMDIR), -EIO, 0, false },
		{ "ENOSPC", 1 << FAULTY_PWRITE | 1 << FAULTY_CREATE | 1 << FAULTY_MKDIR, -ENOSPC, 0, false },
	};
	struct scenario scenario = { .name = "creation", .op = enrol(9, 3) };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		bool failed = true;

		for (uint64_t at = 1; failed; at++) {
			struct stage s;
			int err;

			stage_begin(&s, &scenario, &faults[i], at);
			arm(&s);
			err = create(s.ctx, s.path, &s.gallery);
			failed = s.disk.failed;
			REQUIRE(&s, err == (failed ? faults[i].error : 0), "returned %d", err);
			REQUIRE(&s, !failed || s.log.errors, "nothing was said");
			REQUIRE(&s, !failed || access(s.path, F_OK), "something is left");
			if (!err)
				lineup_gallery_close(s.gallery);
			stage_end(&s);
		}
	}
}

static void a_gallery_is_not_created_over_another(void **state)
{
	struct scenario scenario = { .name = "creation", .setup_count = 1, .op = enrol(9, 3) };
	struct lineup_gallery *second;
	struct stage s;

	(void)state;
	scenario.setup[0] = enrol(1, 2);
	stage_begin(&s, &scenario, &none, 0);
	set_up(&s);
	lineup_gallery_close(s.gallery);
	ledger_log_clear(&s.log);
	assert_int_equal(create(s.ctx, s.path, &second), -EEXIST);
	assert_int_equal(s.log.errors, 1);
	recover(&s, &s.before);
	stage_end(&s);
}

/* ---- writers ------------------------------------------------------------------------------------------------------------ */

static void a_second_writer_is_refused_by_name_of_the_holder(void **state)
{
	struct scenario scenario = { .name = "writers", .setup_count = 1, .op = enrol(9, 3) };
	struct lineup_gallery *second;
	char pid[32];
	struct stage s;

	(void)state;
	scenario.setup[0] = enrol(1, 2);
	stage_begin(&s, &scenario, &none, 0);
	set_up(&s);
	ledger_log_clear(&s.log);
	assert_int_equal(open_flags(s.ctx, s.path, LINEUP_GALLERY_WRITE, &second), -EBUSY);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	REQUIRE(&s, strstr(s.log.text, pid), "the message does not name the holder");
	assert_int_equal(s.log.errors, 1);
	lineup_gallery_close(s.gallery);
	recover(&s, &s.before);
	stage_end(&s);
}

static void a_writer_in_another_process_is_named_too(void **state)
{
	struct scenario scenario = { .name = "writers", .op = enrol(9, 3) };
	struct lineup_gallery *second;
	int ready[2], go[2], status;
	char pid_text[32], byte = 0;
	struct stage s;
	pid_t pid;

	(void)state;
	stage_begin(&s, &scenario, &none, 0);
	set_up(&s);
	lineup_gallery_close(s.gallery);
	assert_int_equal(pipe(ready) | pipe(go), 0);
	pid = fork();
	if (!pid) {
		close(go[1]);
		status = open_flags(s.ctx, s.path, LINEUP_GALLERY_WRITE, &second);
		if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) < 0)
			status = 1;
		_exit(status ? 1 : 0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	ledger_log_clear(&s.log);
	assert_int_equal(open_flags(s.ctx, s.path, LINEUP_GALLERY_WRITE, &second), -EBUSY);
	snprintf(pid_text, sizeof(pid_text), "%d", (int)pid);
	REQUIRE(&s, strstr(s.log.text, pid_text), "the message does not name the holder");
	close(go[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* The holder is gone without having closed it. */
	assert_int_equal(open_flags(s.ctx, s.path, LINEUP_GALLERY_WRITE, &second), 0);
	lineup_gallery_close(second);
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	lineup_ctx_destroy(s.ctx);
	faulty_fini(&s.disk);
	ledger_fini(&s.before);
	ledger_fini(&s.after);
	faulty_remove(s.base);
}

static void a_reader_cannot_change_anything(void **state)
{
	struct scenario scenario = { .name = "reader", .setup_count = 1, .op = enrol(9, 3) };
	struct ledger_op deletion = { .kind = LEDGER_DELETE_TEMPLATE, .id = 12, .template_id = 1 };
	struct ledger_op compaction = { .kind = LEDGER_COMPACT };
	struct ledger_result result;
	struct stage s;

	(void)state;
	scenario.setup[0] = enrol(1, 2);
	stage_begin(&s, &scenario, &none, 0);
	set_up(&s);
	lineup_gallery_close(s.gallery);
	assert_int_equal(open_flags(s.ctx, s.path, 0, &s.gallery), 0);
	faulty_calm(&s.disk);
	assert_int_not_equal(ledger_run(s.gallery, &scenario.op, &result), 0);
	assert_int_not_equal(ledger_run(s.gallery, &deletion, &result), 0);
	assert_int_not_equal(ledger_run(s.gallery, &compaction, &result), 0);
	assert_int_equal(s.disk.mutations, 0);
	lineup_gallery_close(s.gallery);
	recover(&s, &s.before);
	stage_end(&s);
}

/* ---- a directory that may not be written to ----------------------------------------------------------------------------- */

static int as_nobody(const char *path)
{
	struct ledger_log log = { .size = 0 };
	struct lineup_ctx_options options = { .size = sizeof(options), .log = ledger_log_line, .log_arg = &log };
	struct lineup_gallery *gallery;
	struct lineup_ctx *ctx;
	int err;

	if (!geteuid() && (setgid(65534) || setuid(65534)))
		return 10;
	if (lineup_ctx_create(&options, &ctx))
		return 11;
	if (open_flags(ctx, path, 0, &gallery))
		return 12; /* reading needs no right to write */
	if (lineup_gallery_check(gallery, NULL, NULL))
		return 13;
	lineup_gallery_close(gallery);
	ledger_log_clear(&log);
	err = open_flags(ctx, path, LINEUP_GALLERY_WRITE, &gallery);
	if (err != -EACCES)
		return 14;
	if (log.errors != 1 || !strstr(log.text, path))
		return 15;
	lineup_ctx_destroy(ctx);
	return 0;
}

static void a_directory_without_the_right_to_write_can_be_read(void **state)
{
	struct scenario scenario = { .name = "read only", .setup_count = 0, .op = enrol(9, 3) };
	char command[2 * PATH_MAX + 128];
	struct stage s;
	int status;
	pid_t pid;

	(void)state;
	furnish(&scenario);
	stage_begin(&s, &scenario, &none, 0);
	set_up(&s);
	lineup_gallery_close(s.gallery);
	snprintf(command, sizeof(command), "chmod 755 %s && chmod -R a+rX,a-w %s", s.base, s.path);
	assert_int_equal(system(command), 0);
	pid = fork();
	if (!pid)
		_exit(as_nobody(s.path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	snprintf(command, sizeof(command), "chmod -R u+w %s", s.path);
	assert_int_equal(system(command), 0);
	stage_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_disk_keeps_the_old_state),
		cmocka_unit_test(a_short_write_then_a_full_disk_keeps_the_old_state),
		cmocka_unit_test(failing_calls_keep_the_old_state),
		cmocka_unit_test(failing_reads_keep_the_old_state),
		cmocka_unit_test(a_read_only_file_system_keeps_the_old_state),
		cmocka_unit_test(a_disk_that_is_gone_loses_nothing),
		cmocka_unit_test(short_reads_and_writes_are_continued),
		cmocka_unit_test(a_failed_creation_leaves_nothing),
		cmocka_unit_test(a_gallery_is_not_created_over_another),
		cmocka_unit_test(a_second_writer_is_refused_by_name_of_the_holder),
		cmocka_unit_test(a_writer_in_another_process_is_named_too),
		cmocka_unit_test(a_reader_cannot_change_anything),
		cmocka_unit_test(a_directory_without_the_right_to_write_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
