// SPDX-License-Identifier: MIT
// Nothing lost: the machine stops at every step of every operation, in every way, and the gallery is there as before or as after.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "crash_bed.h"

enum { CRASHES_TWICE = 60 };

/* A number whose subject the enrolment with op id @id has. */
static struct ledger_op delete_subject(uint64_t id, const struct crash_scenario *scenario)
{
	struct ledger model;
	struct ledger_result result;
	struct ledger_op op = { .kind = LEDGER_DELETE_SUBJECT, .id = id };
	uint64_t most = 0;
	uint32_t best = 0;

	ledger_init(&model, CRASH_DIM, scenario->store, 1);
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
	crash_everywhere(&(struct crash_scenario) { .name = "creation", .create = true, .points_min = 10 });
}

static void first_enrolment_is_all_or_nothing(void **state)
{
	(void)state;
	crash_both_writers((struct crash_scenario) { .name = "first enrolment", .op = crash_enrol(1, 3) });
}

static void second_enrolment_is_all_or_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "second enrolment", .store = LINEUP_STORE_FLOAT16 };

	(void)state;
	scenario.setup[scenario.setup_count++] = crash_enrol(1, 2);
	scenario.op = crash_enrol(3, 12);
	crash_both_writers(scenario);
}

static void bulk_enrolment_is_all_or_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "bulk enrolment", .points_min = 20 };

	(void)state;
	crash_furnish(&scenario);
	scenario.op = crash_enrol(9, 100);
	crash_both_writers(scenario);
}

static void deletion_of_a_subject_is_all_or_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "deletion of a subject" };

	(void)state;
	crash_furnish(&scenario);
	scenario.op = delete_subject(9, &scenario);
	crash_both_writers(scenario);
}

static void deletion_of_a_template_is_all_or_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "deletion of a template" };

	(void)state;
	crash_furnish(&scenario);
	scenario.op = crash_delete_template(9, 20);
	crash_both_writers(scenario);
}

static void sealing_loses_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "seal", .seal_bytes = 6200, .points_min = 20 };

	(void)state;
	scenario.record_bytes = 3500;
	scenario.setup[scenario.setup_count++] = crash_enrol(1, 30);
	scenario.setup[scenario.setup_count++] = crash_enrol(3, 9);
	scenario.setup[scenario.setup_count++] = crash_delete_template(2, 7);
	scenario.setup[scenario.setup_count++] = crash_delete_template(4, 63);
	scenario.setup[scenario.setup_count++] = crash_enrol(5, 9);
	scenario.setup[scenario.setup_count++] = crash_enrol(6, 9);
	scenario.op = crash_enrol(7, 9);
	crash_both_writers(scenario);
}

static void compaction_loses_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "compaction", .points_min = 20 };

	(void)state;
	crash_furnish(&scenario);
	scenario.op = (struct ledger_op) { .kind = LEDGER_COMPACT };
	crash_both_writers(scenario);
}

/* ---- one crash after the other ------------------------------------------------------------------------------------------ */

static void image_before_sync(struct faulty_io *f, void *arg)
{
	struct crash_stage *s = arg;

	if (f->call == FAULTY_FDATASYNC)
		faulty_image(f, FAULTY_RANDOM, s->seed, crash_under(s, "second"));
}

static void image_of_second_crash(struct faulty_io *f, void *arg)
{
	struct crash_stage *s = arg;

	for (int i = 0; i < 4; i++) {
		const char *path = crash_empty(s, "image");
		uint64_t seed = faulty_random(&s->seed);

		snprintf(s->where, sizeof(s->where), "%s at %llu, seed %llu", faulty_call_name[f->call], (unsigned long long)f->mutations,
			 (unsigned long long)seed);
		faulty_image(f, i ? FAULTY_RANDOM : FAULTY_LOSE, seed, path);
		crash_verify(s, path, s->acknowledged, false);
		s->images++;
	}
}

/* An enrolment that a power cut tears, another one by the next writer, and a power cut in that. True if the first was torn. */
static bool crash_twice(uint64_t seed)
{
	struct crash_scenario scenario = { .name = "two crashes", .setup = { crash_enrol(1, 2) }, .setup_count = 1, .op = crash_enrol(5, 7) };
	struct ledger_op first = crash_enrol(3, 20);
	struct ledger_result result;
	struct faulty_io second;
	struct lineup_gallery *gallery;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	char why[LEDGER_WHY_BYTES];
	struct lineup_gallery_info info;
	struct crash_stage s;
	bool torn;

	crash_stage_begin(&s, &scenario);
	s.seed = seed;
	crash_empty(&s, "second");
	ctx = crash_ctx(&s, &log, &s.disk);
	gallery = crash_set_up(&s, ctx, &log, crash_under(&s, "live/gallery"));
	faulty_calm(&s.disk);
	s.disk.hook = image_before_sync;
	s.disk.hook_arg = &s;
	CRASH_REQUIRE(&s, &log, !ledger_run(gallery, &first, &result), "the first enrolment");
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);

	faulty_init(&second, crash_under(&s, "second"));
	ctx = crash_ctx(&s, &log, &second);
	CRASH_REQUIRE(&s, &log, !crash_open(ctx, crash_under(&s, "second/gallery"), LINEUP_GALLERY_WRITE, &gallery), "open after the first crash");
	torn = log.warnings;
	if (ledger_differs(&s.states[0], gallery, NULL, why)) {
		assert_int_equal(ledger_apply(&s.states[0], &first, &result), 0);
		CRASH_REQUIRE(&s, &log, !ledger_differs(&s.states[0], gallery, NULL, why), "after the first crash: %s", why);
	}
	ledger_fini(&s.states[1]);
	ledger_copy(&s.states[1], &s.states[0]);
	assert_int_equal(ledger_apply(&s.states[1], &scenario.op, &result), 0);
	lineup_gallery_info(gallery, &info);
	memcpy(s.digests[0], info.digest, sizeof(info.digest));
	s.any_digest_after = true;
	second.hook = image_of_second_crash;
	second.hook_arg = &s;
	CRASH_REQUIRE(&s, &log, !ledger_run(gallery, &scenario.op, &result), "the second enrolment");
	s.acknowledged = 1;
	second.call = FAULTY_CALLS - 1;
	image_of_second_crash(&second, &s);
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	faulty_fini(&second);
	crash_images += s.images;
	crash_stage_end(&s);
	return torn;
}

static void what_one_crash_leaves_never_mixes_with_the_next(void **state)
{
	unsigned torn = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= CRASHES_TWICE; seed++)
		torn += crash_twice(crash_seed * 1000 + seed);
	print_message("             %u of %d first crashes left a torn journal\n", torn, CRASHES_TWICE);
	assert_true(torn > CRASHES_TWICE / 4);
}

/* ---- a process that really stops ---------------------------------------------------------------------------------------- */

static void child(struct crash_stage *s, uint64_t at)
{
	struct ledger_log log;
	struct lineup_ctx *ctx = crash_ctx(s, &log, &s->disk);
	struct lineup_gallery *gallery = crash_set_up(s, ctx, &log, crash_under(s, "live/gallery"));
	struct ledger_result result;

	faulty_calm(&s->disk);
	s->disk.fail_mask = FAULTY_MUTATING;
	s->disk.fail_at = at;
	s->disk.fail_exit = true;
	_exit(crash_operate(s, gallery, &result) ? 1 : 0);
}

static void killed_everywhere(struct crash_scenario scenario)
{
	int status = FAULTY_EXIT << 8;
	uint64_t at;

	for (at = 1; status == FAULTY_EXIT << 8; at++) {
		struct crash_stage s;
		pid_t pid;

		crash_stage_begin(&s, &scenario);
		pid = fork();
		if (!pid)
			child(&s, at);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(status == FAULTY_EXIT << 8 || !status);
		snprintf(s.where, sizeof(s.where), "process stopped at call %llu", (unsigned long long)at);
		crash_verify(&s, crash_under(&s, "live"), status ? 0 : s.last, true);
		crash_stage_end(&s);
	}
	assert_true(at > 3);
}

static void a_process_that_stops_loses_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "stopped" };

	(void)state;
	scenario.setup[scenario.setup_count++] = crash_enrol(1, 2);
	scenario.op = crash_enrol(3, 12);
	killed_everywhere(scenario);
	scenario.setup_count = 0;
	crash_furnish(&scenario);
	scenario.op = crash_enrol(9, 100);
	killed_everywhere(scenario);
	scenario.op = (struct ledger_op) { .kind = LEDGER_COMPACT };
	killed_everywhere(scenario);
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
		cmocka_unit_test(what_one_crash_leaves_never_mixes_with_the_next),
		cmocka_unit_test(a_process_that_stops_loses_nothing),
	};

	crash_prepare();
	return cmocka_run_group_tests(tests, NULL, crash_totals);
}
