// SPDX-License-Identifier: MIT
// The machine stops at every step of an operation, in every way, and what is left is looked at.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crash_bed.h"
#include "under_sanitizer.h"

enum {
	RANDOM_IMAGES = 5,   /* a crash point of a long operation, beside those of every kind */
	RANDOM_IMAGES_SHORT = 40, /* of one that only writes the journal */
	RANDOM_RECOVERY = 1, /* a crash point of the recovery */
	SAMPLE = UNDER_SANITIZER ? 30 : 6, /* one of so many crash points of a recovery; all with LINEUP_TEST_FULL */
};

uint64_t crash_seed = 1;
uint64_t crash_images;
static uint64_t points_all, recovery_images_all;

static struct lineup_io quick; /* the system's, without waiting for the disk */

static int quick_sync(void *arg, int fd)
{
	(void)arg;
	(void)fd;
	return 0;
}

const char *crash_under(const struct crash_stage *s, const char *what)
{
	static char path[4][PATH_MAX + 32];
	static unsigned turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[0]), "%s/%s", s->base, what);
	return path[turn];
}

struct lineup_ctx *crash_ctx(const struct crash_stage *s, struct ledger_log *log, struct faulty_io *disk)
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

int crash_open(struct lineup_ctx *ctx, const char *path, uint32_t flags, struct lineup_gallery **gallery)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = flags };

	return lineup_gallery_open(ctx, path, &options, gallery);
}

static int create(struct lineup_ctx *ctx, const struct crash_scenario *scenario, const char *path, struct lineup_gallery **gallery)
{
	struct lineup_gallery_create_options options = {
		.size = sizeof(options), .dim = CRASH_DIM, .model = "model-1", .store = scenario->store,
	};

	return lineup_gallery_create(ctx, path, &options, gallery);
}

/* Which of the states this is, the last one that fits; none: fails. */
static uint32_t which(struct crash_stage *s, struct lineup_gallery *gallery, struct ledger_log *log)
{
	char why[LEDGER_WHY_BYTES] = "";
	int err = lineup_gallery_check(gallery, NULL, NULL);

	CRASH_REQUIRE(s, log, !err, "check: %d", err);
	for (uint32_t i = s->last + 1; i-- > (s->scenario->create ? 1 : 0);)
		if (!ledger_differs(&s->states[i], gallery, s->any_digest_after && i == s->last ? NULL : s->digests[i], why))
			return i;
	CRASH_REQUIRE(s, log, false, "none of the states that there may be; not the first: %s", why);
	return 0;
}

/* ---- the operation ------------------------------------------------------------------------------------------------------ */

/* Operations while a maintenance goes on: one each time that it asks. */
struct beside {
	struct crash_stage *stage;
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

int crash_operate(struct crash_stage *s, struct lineup_gallery *gallery, struct ledger_result *result)
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

static uint32_t state_for_reader(struct crash_stage *s, struct lineup_ctx *ctx, struct ledger_log *log, const char *path, uint32_t acknowledged)
{
	struct lineup_gallery *gallery;
	int err = crash_open(ctx, path, 0, &gallery);
	uint32_t state;

	if (s->scenario->create && err == -ENOENT && !acknowledged)
		return 0;
	CRASH_REQUIRE(s, log, !err, "open for reading: %d", err);
	state = which(s, gallery, log);
	lineup_gallery_close(gallery);
	CRASH_REQUIRE(s, log, state >= acknowledged, "acknowledged, and lost");
	return state;
}

/* The operation again, with the same op_id, by a new writer; leaves the gallery open. */
static void repeat(struct crash_stage *s, struct lineup_ctx *ctx, struct ledger_log *log, const char *path, uint32_t state,
		   struct lineup_gallery **gallery)
{
	struct ledger_result result, expected;
	struct ledger model;
	int err;

	if (s->scenario->create && !state) {
		err = create(ctx, s->scenario, path, gallery);
		CRASH_REQUIRE(s, log, !err, "creation after a creation that was cut off: %d", err);
		return;
	}
	err = crash_open(ctx, path, LINEUP_GALLERY_WRITE, gallery);
	CRASH_REQUIRE(s, log, !err, "open for writing: %d", err);
	CRASH_REQUIRE(s, log, which(s, *gallery, log) == state, "a reader saw another state than the next writer");
	if (s->scenario->create)
		return;
	ledger_copy(&model, &s->states[state]);
	assert_int_equal(ledger_apply(&model, &s->scenario->op, &expected), 0);
	ledger_fini(&model);
	err = crash_operate(s, *gallery, &result);
	CRASH_REQUIRE(s, log, !err, "the operation again: %d", err);
	CRASH_REQUIRE(s, log, result.repeated == expected.repeated && result.sequence == expected.sequence && result.rows == expected.rows &&
		result.template_first == expected.template_first, "the operation again: another result");
}

static bool drops(const struct ledger_op *op)
{
	return op->kind == LEDGER_COMPACT || (op->kind == LEDGER_MAINTAIN && op->compact && !op->op_count);
}

/* An image at @root: readable, writable, one of the states, and the operation can be completed, once. */
void crash_verify(struct crash_stage *s, const char *root, uint32_t acknowledged, bool full)
{
	char path[PATH_MAX + 64], why[LEDGER_WHY_BYTES];
	struct lineup_gallery *gallery;
	struct ledger_log log;
	struct lineup_ctx *ctx = crash_ctx(s, &log, NULL);
	const char *differs;
	uint32_t state;

	snprintf(path, sizeof(path), "%s/gallery", root);
	state = state_for_reader(s, ctx, &log, path, acknowledged);
	repeat(s, ctx, &log, path, state, &gallery);
	CRASH_REQUIRE(s, &log, which(s, gallery, &log) == s->last, "not complete after the repetition");
	if (!s->scenario->create && drops(&s->scenario->op)) {
		struct lineup_gallery_info info;

		lineup_gallery_info(gallery, &info);
		CRASH_REQUIRE(s, &log, !info.templates_deleted, "deleted templates after a compaction");
	}
	lineup_gallery_close(gallery);
	if (full) {
		state_for_reader(s, ctx, &log, path, s->last);
		differs = ledger_stray(path, why);
		CRASH_REQUIRE(s, &log, !differs, "%s", differs);
	}
	CRASH_REQUIRE(s, &log, !log.errors || s->scenario->create, "an error was said though all went well");
	lineup_ctx_destroy(ctx);
}

const char *crash_empty(struct crash_stage *s, const char *what)
{
	const char *path = crash_under(s, what);

	faulty_remove(path);
	assert_int_equal(mkdir(path, 0700), 0);
	return path;
}

static void recovery_point(struct faulty_io *f, void *arg)
{
	struct crash_stage *s = arg;
	char where[sizeof(s->where)];

	/* A sample, but always what is left when the operation has been acknowledged. */
	if (!s->full && !s->recovery_acknowledged && faulty_random(&s->seed) % SAMPLE)
		return;
	memcpy(where, s->where, sizeof(where));
	for (int i = 0; i <= RANDOM_RECOVERY; i++) {
		enum faulty_loss loss = i ? FAULTY_RANDOM : FAULTY_LOSE;
		const char *path = crash_empty(s, "image2");
		uint64_t seed = s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;

		snprintf(s->where + strlen(where), sizeof(where) - strlen(where), "; recovery: %s %.30s at %llu, loss %d seed %llu",
			 faulty_call_name[f->call], f->name, (unsigned long long)f->mutations, loss, (unsigned long long)seed);
		faulty_image(f, loss, seed, path);
		crash_verify(s, path, s->recovery_acknowledged ? s->last : s->acknowledged, false);
		memcpy(s->where, where, sizeof(where));
		s->recovery_images++;
	}
}

/* kill -9, and then the power fails while the next writer clears up: what it has acknowledged by then must stay. */
static void crash_of_recovery(struct crash_stage *s, struct faulty_io *disk)
{
	struct faulty_io second;
	struct lineup_gallery *gallery;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	const char *path = crash_empty(s, "second");
	char gallery_path[PATH_MAX + 64];
	uint32_t state;

	faulty_fork(disk, &second, path);
	snprintf(gallery_path, sizeof(gallery_path), "%s/gallery", path);
	ctx = crash_ctx(s, &log, &second);
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
	struct crash_stage *s = arg;

	s->points++;
	for (int i = 0; i < FAULTY_RANDOM + (s->scenario->points_min ? RANDOM_IMAGES : RANDOM_IMAGES_SHORT); i++) {
		enum faulty_loss loss = i < FAULTY_RANDOM ? (enum faulty_loss)i : FAULTY_RANDOM;
		const char *path = crash_empty(s, "image");
		uint64_t seed = s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;

		snprintf(s->where, sizeof(s->where), "%s %.30s at %llu%s, loss %d seed %llu", faulty_call_name[f->call], f->name,
			 (unsigned long long)f->mutations, s->acknowledged ? " (acknowledged)" : "", loss, (unsigned long long)seed);
		faulty_image(f, loss, seed, path);
		crash_verify(s, path, s->acknowledged, true);
		s->images++;
	}
	snprintf(s->where, sizeof(s->where), "%s %.30s at %llu%s, kill", faulty_call_name[f->call], f->name,
		 (unsigned long long)f->mutations, s->acknowledged ? " (acknowledged)" : "");
	if (s->full || s->scenario->op.kind != LEDGER_MAINTAIN || s->points % 4 == 0)
		crash_of_recovery(s, f);
}

struct lineup_gallery *crash_set_up(struct crash_stage *s, struct lineup_ctx *ctx, struct ledger_log *log, const char *path)
{
	const struct crash_scenario *scenario = s->scenario;
	char why[LEDGER_WHY_BYTES];
	struct lineup_gallery *gallery;
	struct lineup_gallery_info info;
	int err;

	strcpy(s->where, "setting up");
	if (scenario->create)
		return NULL;
	err = create(ctx, scenario, path, &gallery);
	CRASH_REQUIRE(s, log, !err, "create: %d", err);
	lineup_gallery_info(gallery, &info);
	ledger_fini(&s->states[0]);
	ledger_init(&s->states[0], CRASH_DIM, scenario->store, info.templates_next);
	for (uint32_t i = 0; i < scenario->setup_count; i++) {
		const char *differs = ledger_both(&s->states[0], gallery, &scenario->setup[i], why);

		CRASH_REQUIRE(s, log, !differs, "%s", differs);
	}
	if (scenario->fresh || scenario->maintained) {
		lineup_gallery_close(gallery);
		err = crash_open(ctx, path, LINEUP_GALLERY_WRITE | (scenario->maintained ? LINEUP_GALLERY_MAINTAINED : 0), &gallery);
		CRASH_REQUIRE(s, log, !err, "open: %d", err);
	}
	lineup_gallery_info(gallery, &info);
	memcpy(s->digests[0], info.digest, sizeof(info.digest));
	return gallery;
}

/* One operation more, by itself, to learn the state after it: histories have the same digest however they came about. */
static void rehearse_one(struct crash_stage *s, struct lineup_gallery *gallery, struct ledger_log *log, const struct ledger_op *op)
{
	struct lineup_gallery_info info;
	char why[LEDGER_WHY_BYTES];
	const char *differs;

	assert_true(s->last + 1 < CRASH_STATES_MAX);
	s->last++;
	ledger_copy(&s->states[s->last], &s->states[s->last - 1]);
	differs = ledger_both(&s->states[s->last], gallery, op, why);
	CRASH_REQUIRE(s, log, !differs, "%s", differs);
	lineup_gallery_info(gallery, &info);
	memcpy(s->digests[s->last], info.digest, sizeof(info.digest));
}

/* Without a crash, to learn the states after. */
static void rehearse(struct crash_stage *s)
{
	const struct ledger_op *op = &s->scenario->op;
	struct ledger_log log;
	struct lineup_ctx *ctx = crash_ctx(s, &log, NULL);
	const char *path = crash_under(s, "rehearsal");
	struct lineup_gallery *gallery = crash_set_up(s, ctx, &log, path);
	struct lineup_gallery_info info;
	int err;

	if (s->scenario->create) {
		err = create(ctx, s->scenario, path, &gallery);
		CRASH_REQUIRE(s, &log, !err, "create: %d", err);
		lineup_gallery_info(gallery, &info);
		s->last = 1;
		ledger_init(&s->states[1], CRASH_DIM, s->scenario->store, info.templates_next);
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

void crash_stage_begin(struct crash_stage *s, const struct crash_scenario *scenario)
{
	memset(s, 0, sizeof(*s));
	s->scenario = scenario;
	s->seed = crash_seed;
	s->full = getenv("LINEUP_TEST_FULL") != NULL;
	faulty_directory(s->base, true);
	rehearse(s);
	faulty_init(&s->disk, crash_empty(s, "live"));
}

void crash_stage_end(struct crash_stage *s)
{
	faulty_fini(&s->disk);
	for (uint32_t i = 0; i <= s->last; i++)
		ledger_fini(&s->states[i]);
	faulty_remove(s->base);
}

void crash_everywhere(const struct crash_scenario *scenario)
{
	struct lineup_gallery *gallery;
	struct ledger_result result;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	struct crash_stage s;
	const char *differs;
	int err;

	crash_stage_begin(&s, scenario);
	ctx = crash_ctx(&s, &log, &s.disk);
	gallery = crash_set_up(&s, ctx, &log, crash_under(&s, "live/gallery"));
	faulty_calm(&s.disk);
	s.disk.hook = crash_point;
	s.disk.hook_arg = &s;
	s.live = gallery;
	err = scenario->create ? create(ctx, scenario, crash_under(&s, "live/gallery"), &gallery) : crash_operate(&s, gallery, &result);
	CRASH_REQUIRE(&s, &log, !err, "the operation: %d", err);
	s.acknowledged = s.last;
	s.live = NULL;
	s.disk.call = FAULTY_CALLS - 1;
	crash_point(&s.disk, &s);
	lineup_gallery_close(gallery);
	s.disk.call = FAULTY_CALLS - 1;
	crash_point(&s.disk, &s);
	differs = faulty_differs(&s.disk);
	CRASH_REQUIRE(&s, &log, !differs, "the model of the disk is wrong: %s", differs);
	lineup_ctx_destroy(ctx);
	print_message("             %s%s: %llu crash points, %llu images, %llu of crashed recoveries\n", scenario->name,
		      scenario->fresh ? " (fresh writer)" : "", (unsigned long long)s.points, (unsigned long long)s.images,
		      (unsigned long long)s.recovery_images);
	assert_true(s.points > 2 && s.points >= scenario->points_min);
	points_all += s.points;
	crash_images += s.images;
	recovery_images_all += s.recovery_images;
	crash_stage_end(&s);
}

void crash_both_writers(struct crash_scenario scenario)
{
	crash_everywhere(&scenario);
	scenario.fresh = true;
	crash_everywhere(&scenario);
}

struct ledger_op crash_enrol(uint64_t id, uint32_t rows)
{
	return (struct ledger_op) {
		.kind = LEDGER_ENROL, .id = id, .seed = id * 31 + crash_seed, .rows = rows, .batch = rows / 3,
		.named = id % 4 != 0, .listed = id % 2, .expiring = id % 3 == 0,
	};
}

struct ledger_op crash_delete_template(uint64_t id, uint64_t template_id)
{
	return (struct ledger_op) { .kind = LEDGER_DELETE_TEMPLATE, .id = id, .template_id = template_id };
}

struct ledger_op crash_replace(uint64_t id, uint32_t rows)
{
	struct ledger_op op = crash_enrol(id, rows);

	op.kind = LEDGER_REPLACE;
	op.named = true;
	return op;
}

/* A number whose subject the enrolment with op id @id has. */
void crash_furnish(struct crash_scenario *scenario)
{
	scenario->record_bytes = 3500;
	scenario->setup[scenario->setup_count++] = crash_enrol(1, 60);
	scenario->setup[scenario->setup_count++] = crash_delete_template(2, 7);
	scenario->setup[scenario->setup_count++] = crash_enrol(3, 3);
	scenario->setup[scenario->setup_count++] = crash_enrol(5, 40);
	scenario->setup[scenario->setup_count++] = crash_enrol(4, 4);
	scenario->setup[scenario->setup_count++] = crash_delete_template(6, 65);
	scenario->setup[scenario->setup_count++] = crash_delete_template(7, 105);
}

int crash_totals(void **state)
{
	(void)state;
	print_message("             in all %llu crash points, %llu images, %llu of crashed recoveries\n", (unsigned long long)points_all,
		      (unsigned long long)crash_images, (unsigned long long)recovery_images_all);
	return 0;
}

void crash_prepare(void)
{
	quick = lineup_io_system;
	quick.fdatasync = quick_sync;
	quick.fsync = quick_sync;
	if (getenv("LINEUP_TEST_SEED"))
		crash_seed = strtoull(getenv("LINEUP_TEST_SEED"), NULL, 0);
}
