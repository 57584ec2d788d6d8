// SPDX-License-Identifier: MIT
// Nothing lost: the machine stops at every step of every operation, in every way, and the gallery is there as before or as after.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "faulty_io.h"
#include "ledger.h"
#include "under_sanitizer.h"

enum {
	DIM = 5,
	SETUP_MAX = 8,
	STATES_MAX = 8,
	RANDOM_IMAGES = 5,   /* a crash point of a long operation, beside those of every kind */
	RANDOM_IMAGES_SHORT = 40, /* of one that only writes the journal */
	RANDOM_RECOVERY = 1, /* a crash point of the recovery */
	CRASHES_TWICE = 60,
	SAMPLE = UNDER_SANITIZER ? 30 : 6, /* one of so many crash points of a recovery; all with LINEUP_TEST_FULL */
};

struct scenario {
	const char *name;
	struct ledger_op setup[SETUP_MAX];
	uint32_t setup_count;
	bool create;          /* the operation is the creation itself */
	struct ledger_op op;
	uint64_t seal_bytes;  /* limits of the gallery stage, 0: its own */
	uint64_t record_bytes;
	uint32_t points_min;  /* crash points it has at least: it does what it is here for */
	bool maintained;      /* opened so */
	bool fresh;           /* the writer has just opened the gallery */
	enum lineup_store store;
};

struct stage {
	const struct scenario *scenario;
	char base[PATH_MAX];
	struct faulty_io disk;
	/* The states that there may be: before the operation, and after each operation of a group or beside a maintenance. */
	struct ledger states[STATES_MAX];
	uint8_t digests[STATES_MAX][LINEUP_DIGEST_BYTES];
	uint32_t last; /* of them */
	uint32_t acknowledged; /* the first that there may be now */
	/* of the recovery of one crash point */
	struct faulty_io *recovery;
	bool recovery_acknowledged;
	bool full;
	bool any_digest_after;
	const struct lineup_gallery *live; /* the one whose crashes are looked at */
	uint64_t seed;
	uint64_t points, images, recovery_images;
	char where[320];
};

static uint64_t seed_all = 1;
static uint64_t points_all, images_all, recovery_images_all;

static struct lineup_io quick; /* the system's, without waiting for the disk */

static int quick_sync(void *arg, int fd)
{
	(void)arg;
	(void)fd;
	return 0;
}

static const char *under(const struct stage *s, const char *what)
{
	static char path[4][PATH_MAX + 32];
	static unsigned turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[0]), "%s/%s", s->base, what);
	return path[turn];
}

static struct lineup_ctx *ctx_make(const struct stage *s, struct ledger_log *log, struct faulty_io *disk)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = ledger_log_line, .log_arg = log };
	struct lineup_ctx *ctx;

	ledger_log_clear(log);
	assert_int_equal(lineup_ctx_create(&options, &ctx), 0);
	ctx->io = disk ? &disk->io : &quick;
	ctx->io_arg = disk;
	ctx->journal_seal_bytes = s->scenario->seal_bytes;
	ctx->record_bytes_max = s->scenario->record_bytes;
	ctx->spill_rows_min = 48;
	return ctx;
}

#define REQUIRE(s, log, condition, ...)                                                                                       \
	do {                                                                                                                  \
		if (!(condition)) {                                                                                           \
			print_error("%s, %s: ", (s)->scenario->name, (s)->where);                                              \
			print_error(__VA_ARGS__);                                                                             \
			print_error("\nlog:\n%s", (log)->text);                                                               \
			print_error("again with LINEUP_TEST_SEED=%llu\n", (unsigned long long)seed_all);                      \
			fail();                                                                                               \
		}                                                                                                             \
	} while (0)

static int open_flags(struct lineup_ctx *ctx, const char *path, uint32_t flags, struct lineup_gallery **gallery)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = flags };

	return lineup_gallery_open(ctx, path, &options, gallery);
}

static int create(struct lineup_ctx *ctx, const struct scenario *scenario, const char *path, struct lineup_gallery **gallery)
{
	struct lineup_gallery_create_options options = {
		.size = sizeof(options), .dim = DIM, .model = "model-1", .store = scenario->store,
	};

	return lineup_gallery_create(ctx, path, &options, gallery);
}

/* Which of the states this is, the last one that fits; none: fails. */
static uint32_t which(struct stage *s, struct lineup_gallery *gallery, struct ledger_log *log)
{
	char why[LEDGER_WHY_BYTES] = "";
	int err = lineup_gallery_check(gallery, NULL, NULL);

	REQUIRE(s, log, !err, "check: %d", err);
	for (uint32_t i = s->last + 1; i-- > (s->scenario->create ? 1 : 0);)
		if (!ledger_differs(&s->states[i], gallery, s->any_digest_after && i == s->last ? NULL : s->digests[i], why))
			return i;
	REQUIRE(s, log, false, "none of the states that there may be; not the first: %s", why);
	return 0;
}

/* ---- the operation ------------------------------------------------------------------------------------------------------ */

/* Operations while a maintenance goes on: one each time that it asks. */
struct beside {
	struct stage *stage;
	struct lineup_gallery *gallery;
	uint32_t operated;
};

static bool operate_beside(void *arg, uint64_t done, uint64_t total)
{
	struct beside *b = arg;
	const struct ledger_op *op = &b->stage->scenario->op;
	struct ledger_result result;

	(void)done;
	(void)total;
	if (b->operated == op->op_count)
		return true;
	if (ledger_run(b->gallery, &op->ops[b->operated++], &result))
		return false;
	b->stage->acknowledged += b->gallery == b->stage->live;
	return true;
}

static int operate(struct stage *s, struct lineup_gallery *gallery, struct ledger_result *result)
{
	const struct ledger_op *op = &s->scenario->op;
	struct beside beside = { .stage = s, .gallery = gallery };
	struct lineup_maintain_options options = {
		.size = sizeof(options), .compact = op->compact, .progress = operate_beside, .progress_arg = &beside,
	};
	int err;

	if (op->kind != LEDGER_MAINTAIN)
		return ledger_run(gallery, op, result);
	memset(result, 0, sizeof(*result));
	err = lineup_gallery_maintain(gallery, &options, NULL);
	while (!err && beside.operated < op->op_count)
		err = operate_beside(&beside, 0, 0) ? 0 : -EPROTO;
	return err;
}

static uint32_t state_for_reader(struct stage *s, struct lineup_ctx *ctx, struct ledger_log *log, const char *path, uint32_t acknowledged)
{
	struct lineup_gallery *gallery;
	int err = open_flags(ctx, path, 0, &gallery);
	uint32_t state;

	if (s->scenario->create && err == -ENOENT && !acknowledged)
		return 0;
	REQUIRE(s, log, !err, "open for reading: %d", err);
	state = which(s, gallery, log);
	lineup_gallery_close(gallery);
	REQUIRE(s, log, state >= acknowledged, "acknowledged, and lost");
	return state;
}

/* The operation again, with the same op_id, by a new writer; leaves the gallery open. */
static void repeat(struct stage *s, struct lineup_ctx *ctx, struct ledger_log *log, const char *path, uint32_t state,
		   struct lineup_gallery **gallery)
{
	struct ledger_result result, expected;
	struct ledger model;
	int err;

	if (s->scenario->create && !state) {
		err = create(ctx, s->scenario, path, gallery);
		REQUIRE(s, log, !err, "creation after a creation that was cut off: %d", err);
		return;
	}
	err = open_flags(ctx, path, LINEUP_GALLERY_WRITE, gallery);
	REQUIRE(s, log, !err, "open for writing: %d", err);
	REQUIRE(s, log, which(s, *gallery, log) == state, "a reader saw another state than the next writer");
	if (s->scenario->create)
		return;
	ledger_copy(&model, &s->states[state]);
	assert_int_equal(ledger_apply(&model, &s->scenario->op, &expected), 0);
	ledger_fini(&model);
	err = operate(s, *gallery, &result);
	REQUIRE(s, log, !err, "the operation again: %d", err);
	REQUIRE(s, log, result.repeated == expected.repeated && result.sequence == expected.sequence && result.rows == expected.rows &&
		result.template_first == expected.template_first, "the operation again: another result");
}

static bool drops(const struct ledger_op *op)
{
	return op->kind == LEDGER_COMPACT || (op->kind == LEDGER_MAINTAIN && op->compact && !op->op_count);
}

/* An image at @root: readable, writable, one of the states, and the operation can be completed, once. */
static void verify(struct stage *s, const char *root, uint32_t acknowledged, bool full)
{
	char path[PATH_MAX + 64], why[LEDGER_WHY_BYTES];
	struct lineup_gallery *gallery;
	struct ledger_log log;
	struct lineup_ctx *ctx = ctx_make(s, &log, NULL);
	const char *differs;
	uint32_t state;

	snprintf(path, sizeof(path), "%s/gallery", root);
	state = state_for_reader(s, ctx, &log, path, acknowledged);
	repeat(s, ctx, &log, path, state, &gallery);
	REQUIRE(s, &log, which(s, gallery, &log) == s->last, "not complete after the repetition");
	if (!s->scenario->create && drops(&s->scenario->op)) {
		struct lineup_gallery_info info;

		lineup_gallery_info(gallery, &info);
		REQUIRE(s, &log, !info.templates_deleted, "deleted templates after a compaction");
	}
	lineup_gallery_close(gallery);
	if (full) {
		state_for_reader(s, ctx, &log, path, s->last);
		differs = ledger_stray(path, why);
		REQUIRE(s, &log, !differs, "%s", differs);
	}
	REQUIRE(s, &log, !log.errors || s->scenario->create, "an error was said though all went well");
	lineup_ctx_destroy(ctx);
}

static const char *empty(struct stage *s, const char *what)
{
	const char *path = under(s, what);

	faulty_remove(path);
	assert_int_equal(mkdir(path, 0700), 0);
	return path;
}

static void recovery_point(struct faulty_io *f, void *arg)
{
	struct stage *s = arg;
	char where[sizeof(s->where)];

	/* A sample, but always what is left when the operation has been acknowledged. */
	if (!s->full && !s->recovery_acknowledged && faulty_random(&s->seed) % SAMPLE)
		return;
	memcpy(where, s->where, sizeof(where));
	for (int i = 0; i <= RANDOM_RECOVERY; i++) {
		enum faulty_loss loss = i ? FAULTY_RANDOM : FAULTY_LOSE;
		const char *path = empty(s, "image2");
		uint64_t seed = s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;

		snprintf(s->where + strlen(where), sizeof(where) - strlen(where), "; recovery: %s %.30s at %llu, loss %d seed %llu",
			 faulty_call_name[f->call], f->name, (unsigned long long)f->mutations, loss, (unsigned long long)seed);
		faulty_image(f, loss, seed, path);
		verify(s, path, s->recovery_acknowledged ? s->last : s->acknowledged, false);
		memcpy(s->where, where, sizeof(where));
		s->recovery_images++;
	}
}

/* kill -9, and then the power fails while the next writer clears up: what it has acknowledged by then must stay. */
static void crash_of_recovery(struct stage *s, struct faulty_io *disk)
{
	struct faulty_io second;
	struct lineup_gallery *gallery;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	const char *path = empty(s, "second");
	char gallery_path[PATH_MAX + 64];
	uint32_t state;

	faulty_fork(disk, &second, path);
	snprintf(gallery_path, sizeof(gallery_path), "%s/gallery", path);
	ctx = ctx_make(s, &log, &second);
	state = state_for_reader(s, ctx, &log, gallery_path, s->acknowledged);
	s->recovery_acknowledged = false;
	second.hook = recovery_point;
	second.hook_arg = s;
	repeat(s, ctx, &log, gallery_path, state, &gallery);
	s->recovery_acknowledged = true;
	second.call = FAULTY_CALLS - 1;
	recovery_point(&second, s);
	lineup_gallery_close(gallery);
	second.call = FAULTY_CALLS - 1;
	recovery_point(&second, s);
	lineup_ctx_destroy(ctx);
	faulty_fini(&second);
}

static void crash_point(struct faulty_io *f, void *arg)
{
	struct stage *s = arg;

	s->points++;
	for (int i = 0; i < FAULTY_RANDOM + (s->scenario->points_min ? RANDOM_IMAGES : RANDOM_IMAGES_SHORT); i++) {
		enum faulty_loss loss = i < FAULTY_RANDOM ? (enum faulty_loss)i : FAULTY_RANDOM;
		const char *path = empty(s, "image");
		uint64_t seed = s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;

		snprintf(s->where, sizeof(s->where), "%s %.30s at %llu%s, loss %d seed %llu", faulty_call_name[f->call], f->name,
			 (unsigned long long)f->mutations, s->acknowledged ? " (acknowledged)" : "", loss, (unsigned long long)seed);
		faulty_image(f, loss, seed, path);
		verify(s, path, s->acknowledged, true);
		s->images++;
	}
	snprintf(s->where, sizeof(s->where), "%s %.30s at %llu%s, kill", faulty_call_name[f->call], f->name,
		 (unsigned long long)f->mutations, s->acknowledged ? " (acknowledged)" : "");
	crash_of_recovery(s, f);
}

/* The gallery as the operation finds it, open for writing; NULL if the operation is its creation. */
static struct lineup_gallery *set_up(struct stage *s, struct lineup_ctx *ctx, struct ledger_log *log, const char *path)
{
	const struct scenario *scenario = s->scenario;
	char why[LEDGER_WHY_BYTES];
	struct lineup_gallery *gallery;
	struct lineup_gallery_info info;
	int err;

	strcpy(s->where, "setting up");
	if (scenario->create)
		return NULL;
	err = create(ctx, scenario, path, &gallery);
	REQUIRE(s, log, !err, "create: %d", err);
	lineup_gallery_info(gallery, &info);
	ledger_fini(&s->states[0]);
	ledger_init(&s->states[0], DIM, scenario->store, info.templates_next);
	for (uint32_t i = 0; i < scenario->setup_count; i++) {
		const char *differs = ledger_both(&s->states[0], gallery, &scenario->setup[i], why);

		REQUIRE(s, log, !differs, "%s", differs);
	}
	if (scenario->fresh || scenario->maintained) {
		lineup_gallery_close(gallery);
		err = open_flags(ctx, path, LINEUP_GALLERY_WRITE | (scenario->maintained ? LINEUP_GALLERY_MAINTAINED : 0), &gallery);
		REQUIRE(s, log, !err, "open: %d", err);
	}
	lineup_gallery_info(gallery, &info);
	memcpy(s->digests[0], info.digest, sizeof(info.digest));
	return gallery;
}

/* One operation more, by itself, to learn the state after it: histories have the same digest however they came about. */
static void rehearse_one(struct stage *s, struct lineup_gallery *gallery, struct ledger_log *log, const struct ledger_op *op)
{
	struct lineup_gallery_info info;
	char why[LEDGER_WHY_BYTES];
	const char *differs;

	assert_true(s->last + 1 < STATES_MAX);
	s->last++;
	ledger_copy(&s->states[s->last], &s->states[s->last - 1]);
	differs = ledger_both(&s->states[s->last], gallery, op, why);
	REQUIRE(s, log, !differs, "%s", differs);
	lineup_gallery_info(gallery, &info);
	memcpy(s->digests[s->last], info.digest, sizeof(info.digest));
}

/* Without a crash, to learn the states after. */
static void rehearse(struct stage *s)
{
	const struct ledger_op *op = &s->scenario->op;
	struct ledger_log log;
	struct lineup_ctx *ctx = ctx_make(s, &log, NULL);
	const char *path = under(s, "rehearsal");
	struct lineup_gallery *gallery = set_up(s, ctx, &log, path);
	struct lineup_gallery_info info;
	int err;

	if (s->scenario->create) {
		err = create(ctx, s->scenario, path, &gallery);
		REQUIRE(s, &log, !err, "create: %d", err);
		lineup_gallery_info(gallery, &info);
		s->last = 1;
		ledger_init(&s->states[1], DIM, s->scenario->store, info.templates_next);
		memcpy(s->digests[1], info.digest, sizeof(info.digest));
	} else if (op->op_count) {
		for (uint32_t i = 0; i < op->op_count; i++)
			rehearse_one(s, gallery, &log, &op->ops[i]);
	} else {
		rehearse_one(s, gallery, &log, op);
	}
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
}

static void stage_begin(struct stage *s, const struct scenario *scenario)
{
	memset(s, 0, sizeof(*s));
	s->scenario = scenario;
	s->seed = seed_all;
	s->full = getenv("LINEUP_TEST_FULL") != NULL;
	faulty_directory(s->base, true);
	rehearse(s);
	faulty_init(&s->disk, empty(s, "live"));
}

static void stage_end(struct stage *s)
{
	faulty_fini(&s->disk);
	for (uint32_t i = 0; i <= s->last; i++)
		ledger_fini(&s->states[i]);
	faulty_remove(s->base);
}

static void crash_everywhere(const struct scenario *scenario)
{
	struct lineup_gallery *gallery;
	struct ledger_result result;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	struct stage s;
	const char *differs;
	int err;

	stage_begin(&s, scenario);
	ctx = ctx_make(&s, &log, &s.disk);
	gallery = set_up(&s, ctx, &log, under(&s, "live/gallery"));
	faulty_calm(&s.disk);
	s.disk.hook = crash_point;
	s.disk.hook_arg = &s;
	s.live = gallery;
	err = scenario->create ? create(ctx, scenario, under(&s, "live/gallery"), &gallery) : operate(&s, gallery, &result);
	REQUIRE(&s, &log, !err, "the operation: %d", err);
	s.acknowledged = s.last;
	s.live = NULL;
	s.disk.call = FAULTY_CALLS - 1;
	crash_point(&s.disk, &s);
	lineup_gallery_close(gallery);
	s.disk.call = FAULTY_CALLS - 1;
	crash_point(&s.disk, &s);
	differs = faulty_differs(&s.disk);
	REQUIRE(&s, &log, !differs, "the model of the disk is wrong: %s", differs);
	lineup_ctx_destroy(ctx);
	print_message("             %s%s: %llu crash points, %llu images, %llu of crashed recoveries\n", scenario->name,
		      scenario->fresh ? " (fresh writer)" : "", (unsigned long long)s.points, (unsigned long long)s.images,
		      (unsigned long long)s.recovery_images);
	assert_true(s.points > 2 && s.points >= scenario->points_min);
	points_all += s.points;
	images_all += s.images;
	recovery_images_all += s.recovery_images;
	stage_end(&s);
}

static void both_writers(struct scenario scenario)
{
	crash_everywhere(&scenario);
	scenario.fresh = true;
	crash_everywhere(&scenario);
}

/* ---- the scenarios ------------------------------------------------------------------------------------------------------ */

static struct ledger_op enrol(uint64_t id, uint32_t rows)
{
	return (struct ledger_op) {
		.kind = LEDGER_ENROL, .id = id, .seed = id * 31 + seed_all, .rows = rows, .batch = rows / 3,
		.named = id % 4 != 0, .listed = id % 2, .expiring = id % 3 == 0,
	};
}

static struct ledger_op delete_template(uint64_t id, uint64_t template_id)
{
	return (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .id = id, .template_id = template_id };
}

static struct ledger_op replace(uint64_t id, uint32_t rows)
{
	struct ledger_op op = enrol(id, rows);

	op.kind = LEDGER_REPLACE;
	op.named = true;
	return op;
}

/* A number whose subject the enrolment with op id @id has. */
static struct ledger_op delete_subject(uint64_t id, const struct scenario *scenario)
{
	struct ledger model;
	struct ledger_result result;
	struct ledger_op op = { .kind = LEDGER_DELETE_SUBJECT, .id = id };
	uint64_t most = 0;
	uint32_t best = 0;

	ledger_init(&model, DIM, scenario->store, 1);
	for (uint32_t i = 0; i < scenario->setup_count; i++)
		ledger_apply(&model, &scenario->setup[i], &result);
	for (op.subject = 0; op.subject < LEDGER_NAMES; op.subject++) {
		struct ledger copy;

		ledger_copy(&copy, &model);
		if (!ledger_apply(&copy, &op, &result) && result.rows > most) {
			most = result.rows;
			best = op.subject;
		}
		ledger_fini(&copy);
	}
	ledger_fini(&model);
	assert_true(most > 1);
	op.subject = best;
	return op;
}

static void creation_is_all_or_nothing(void **state)
{
	(void)state;
	crash_everywhere(&(struct scenario) { .name = "creation", .create = true, .points_min = 10 });
}

static void first_enrolment_is_all_or_nothing(void **state)
{
	(void)state;
	both_writers((struct scenario) { .name = "first enrolment", .op = enrol(1, 3) });
}

static void second_enrolment_is_all_or_nothing(void **state)
{
	struct scenario scenario = { .name = "second enrolment", .store = LINEUP_STORE_FLOAT16 };

	(void)state;
	scenario.setup[scenario.setup_count++] = enrol(1, 2);
	scenario.op = enrol(3, 12);
	both_writers(scenario);
}

/* Several segments, a deleted-file, and deletions and rows in the journal. */
static void furnish(struct scenario *scenario)
{
	scenario->record_bytes = 3500;
	scenario->setup[scenario->setup_count++] = enrol(1, 60);
	scenario->setup[scenario->setup_count++] = delete_template(2, 7);
	scenario->setup[scenario->setup_count++] = enrol(3, 3);
	scenario->setup[scenario->setup_count++] = enrol(5, 40);
	scenario->setup[scenario->setup_count++] = enrol(4, 4);
	scenario->setup[scenario->setup_count++] = delete_template(6, 65);
	scenario->setup[scenario->setup_count++] = delete_template(7, 105);
}

static void bulk_enrolment_is_all_or_nothing(void **state)
{
	struct scenario scenario = { .name = "bulk enrolment", .points_min = 20 };

	(void)state;
	furnish(&scenario);
	scenario.op = enrol(9, 100);
	both_writers(scenario);
}

static void deletion_of_a_subject_is_all_or_nothing(void **state)
{
	struct scenario scenario = { .name = "deletion of a subject" };

	(void)state;
	furnish(&scenario);
	scenario.op = delete_subject(9, &scenario);
	both_writers(scenario);
}

static void deletion_of_a_template_is_all_or_nothing(void **state)
{
	struct scenario scenario = { .name = "deletion of a template" };

	(void)state;
	furnish(&scenario);
	scenario.op = delete_template(9, 20);
	both_writers(scenario);
}

static void sealing_loses_nothing(void **state)
{
	struct scenario scenario = { .name = "seal", .seal_bytes = 6200, .points_min = 20 };

	(void)state;
	scenario.record_bytes = 3500;
	scenario.setup[scenario.setup_count++] = enrol(1, 30);
	scenario.setup[scenario.setup_count++] = enrol(3, 9);
	scenario.setup[scenario.setup_count++] = delete_template(2, 7);
	scenario.setup[scenario.setup_count++] = delete_template(4, 63);
	scenario.setup[scenario.setup_count++] = enrol(5, 9);
	scenario.setup[scenario.setup_count++] = enrol(6, 9);
	scenario.op = enrol(7, 9);
	both_writers(scenario);
}

static void compaction_loses_nothing(void **state)
{
	struct scenario scenario = { .name = "compaction", .points_min = 20 };

	(void)state;
	furnish(&scenario);
	scenario.op = (struct ledger_op) { .kind = LEDGER_COMPACT };
	both_writers(scenario);
}

static void groups_are_their_operations_in_order(void **state)
{
	struct scenario scenario = { .name = "group" };
	struct ledger_op ops[5];

	(void)state;
	furnish(&scenario);
	scenario.record_bytes = 20000;
	ops[0] = enrol(21, 4);
	ops[1] = delete_template(22, 20);
	ops[2] = replace(23, 5);
	ops[3] = delete_template(24, 108); /* of the first one's */
	ops[4] = enrol(25, 30);
	scenario.op = (struct ledger_op) { .kind = LEDGER_GROUP, .ops = ops, .op_count = ARRAY_SIZE(ops) };
	both_writers(scenario);
}

static void a_replacement_is_all_or_nothing(void **state)
{
	struct scenario scenario = { .name = "replacement" };

	(void)state;
	furnish(&scenario);
	scenario.op = replace(9, 8);
	both_writers(scenario);
}

static void maintenance_loses_nothing(void **state)
{
	struct scenario scenario = { .name = "maintenance", .points_min = 20 };

	(void)state;
	furnish(&scenario);
	for (uint32_t compact = 1; compact < 3; compact++) {
		scenario.op = (struct ledger_op) { .kind = LEDGER_MAINTAIN, .compact = compact };
		both_writers(scenario);
	}
}

static void maintenance_loses_nothing_of_what_is_done_beside_it(void **state)
{
	struct scenario scenario = { .name = "beside maintenance", .points_min = 40, .maintained = true };
	struct ledger_op ops[6];

	(void)state;
	furnish(&scenario);
	ops[0] = replace(31, 6);
	ops[1] = delete_template(32, 21);
	ops[2] = enrol(35, 9);
	ops[3] = delete_template(36, 109);
	ops[4] = enrol(37, 9);
	ops[5] = replace(23, 5);
	for (uint32_t compact = 1; compact < 3; compact++) {
		scenario.op = (struct ledger_op) { .kind = LEDGER_MAINTAIN, .compact = compact, .ops = ops, .op_count = ARRAY_SIZE(ops) };
		crash_everywhere(&scenario);
	}
}

/* ---- one crash after the other ------------------------------------------------------------------------------------------ */

static void image_before_sync(struct faulty_io *f, void *arg)
{
	struct stage *s = arg;

	if (f->call == FAULTY_FDATASYNC)
		faulty_image(f, FAULTY_RANDOM, s->seed, under(s, "second"));
}

static void image_of_second_crash(struct faulty_io *f, void *arg)
{
	struct stage *s = arg;

	for (int i = 0; i < 4; i++) {
		const char *path = empty(s, "image");
		uint64_t seed = faulty_random(&s->seed);

		snprintf(s->where, sizeof(s->where), "%s at %llu, seed %llu", faulty_call_name[f->call], (unsigned long long)f->mutations,
			 (unsigned long long)seed);
		faulty_image(f, i ? FAULTY_RANDOM : FAULTY_LOSE, seed, path);
		verify(s, path, s->acknowledged, false);
		s->images++;
	}
}

/* An enrolment that a power cut tears, another one by the next writer, and a power cut in that. True if the first was torn. */
static bool crash_twice(uint64_t seed)
{
	struct scenario scenario = { .name = "two crashes", .setup = { enrol(1, 2) }, .setup_count = 1, .op = enrol(5, 7) };
	struct ledger_op first = enrol(3, 20);
	struct ledger_result result;
	struct faulty_io second;
	struct lineup_gallery *gallery;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	char why[LEDGER_WHY_BYTES];
	struct lineup_gallery_info info;
	struct stage s;
	bool torn;

	stage_begin(&s, &scenario);
	s.seed = seed;
	empty(&s, "second");
	ctx = ctx_make(&s, &log, &s.disk);
	gallery = set_up(&s, ctx, &log, under(&s, "live/gallery"));
	faulty_calm(&s.disk);
	s.disk.hook = image_before_sync;
	s.disk.hook_arg = &s;
	REQUIRE(&s, &log, !ledger_run(gallery, &first, &result), "the first enrolment");
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);

	faulty_init(&second, under(&s, "second"));
	ctx = ctx_make(&s, &log, &second);
	REQUIRE(&s, &log, !open_flags(ctx, under(&s, "second/gallery"), LINEUP_GALLERY_WRITE, &gallery), "open after the first crash");
	torn = log.warnings;
	if (ledger_differs(&s.states[0], gallery, NULL, why)) {
		assert_int_equal(ledger_apply(&s.states[0], &first, &result), 0);
		REQUIRE(&s, &log, !ledger_differs(&s.states[0], gallery, NULL, why), "after the first crash: %s", why);
	}
	ledger_fini(&s.states[1]);
	ledger_copy(&s.states[1], &s.states[0]);
	assert_int_equal(ledger_apply(&s.states[1], &scenario.op, &result), 0);
	lineup_gallery_info(gallery, &info);
	memcpy(s.digests[0], info.digest, sizeof(info.digest));
	s.any_digest_after = true;
	second.hook = image_of_second_crash;
	second.hook_arg = &s;
	REQUIRE(&s, &log, !ledger_run(gallery, &scenario.op, &result), "the second enrolment");
	s.acknowledged = 1;
	second.call = FAULTY_CALLS - 1;
	image_of_second_crash(&second, &s);
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	faulty_fini(&second);
	images_all += s.images;
	stage_end(&s);
	return torn;
}

static void what_one_crash_leaves_never_mixes_with_the_next(void **state)
{
	unsigned torn = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= CRASHES_TWICE; seed++)
		torn += crash_twice(seed_all * 1000 + seed);
	print_message("             %u of %d first crashes left a torn journal\n", torn, CRASHES_TWICE);
	assert_true(torn > CRASHES_TWICE / 4);
}

/* ---- a process that really stops ---------------------------------------------------------------------------------------- */

static void child(struct stage *s, uint64_t at)
{
	struct ledger_log log;
	struct lineup_ctx *ctx = ctx_make(s, &log, &s->disk);
	struct lineup_gallery *gallery = set_up(s, ctx, &log, under(s, "live/gallery"));
	struct ledger_result result;

	faulty_calm(&s->disk);
	s->disk.fail_mask = FAULTY_MUTATING;
	s->disk.fail_at = at;
	s->disk.fail_exit = true;
	_exit(operate(s, gallery, &result) ? 1 : 0);
}

static void killed_everywhere(struct scenario scenario)
{
	int status = FAULTY_EXIT << 8;
	uint64_t at;

	for (at = 1; status == FAULTY_EXIT << 8; at++) {
		struct stage s;
		pid_t pid;

		stage_begin(&s, &scenario);
		pid = fork();
		if (!pid)
			child(&s, at);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(status == FAULTY_EXIT << 8 || !status);
		snprintf(s.where, sizeof(s.where), "process stopped at call %llu", (unsigned long long)at);
		verify(&s, under(&s, "live"), status ? 0 : s.last, true);
		stage_end(&s);
	}
	assert_true(at > 3);
}

static void a_process_that_stops_loses_nothing(void **state)
{
	struct scenario scenario = { .name = "stopped" };

	(void)state;
	scenario.setup[scenario.setup_count++] = enrol(1, 2);
	scenario.op = enrol(3, 12);
	killed_everywhere(scenario);
	scenario.setup_count = 0;
	furnish(&scenario);
	scenario.op = enrol(9, 100);
	killed_everywhere(scenario);
	scenario.op = (struct ledger_op) { .kind = LEDGER_COMPACT };
	killed_everywhere(scenario);
}

static int show_totals(void **state)
{
	(void)state;
	print_message("             in all %llu crash points, %llu images, %llu of crashed recoveries\n", (unsigned long long)points_all,
		      (unsigned long long)images_all, (unsigned long long)recovery_images_all);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_is_all_or_nothing),
		cmocka_unit_test(first_enrolment_is_all_or_nothing),
		cmocka_unit_test(second_enrolment_is_all_or_nothing),
		cmocka_unit_test(bulk_enrolment_is_all_or_nothing),
		cmocka_unit_test(deletion_of_a_subject_is_all_or_nothing),
		cmocka_unit_test(deletion_of_a_template_is_all_or_nothing),
		cmocka_unit_test(sealing_loses_nothing),
		cmocka_unit_test(compaction_loses_nothing),
		cmocka_unit_test(a_replacement_is_all_or_nothing),
		cmocka_unit_test(groups_are_their_operations_in_order),
		cmocka_unit_test(maintenance_loses_nothing),
		cmocka_unit_test(maintenance_loses_nothing_of_what_is_done_beside_it),
		cmocka_unit_test(what_one_crash_leaves_never_mixes_with_the_next),
		cmocka_unit_test(a_process_that_stops_loses_nothing),
	};

	quick = lineup_io_system;
	quick.fdatasync = quick_sync;
	quick.fsync = quick_sync;
	if (getenv("LINEUP_TEST_SEED"))
		seed_all = strtoull(getenv("LINEUP_TEST_SEED"), NULL, 0);
	return cmocka_run_group_tests(tests, NULL, show_totals);
}
