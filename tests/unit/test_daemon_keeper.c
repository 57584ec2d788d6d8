// SPDX-License-Identifier: MIT
// The keeper: groups, refusals within them, limits, and what is there after it ended, against a model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"

enum { DIM = 4, SUBJECTS = 8, OPERATIONS = 600 };

struct bed {
	char directory[64], path[96];
	struct lineup_ctx *ctx;
	struct lineup_crew *crew;
	struct loop *loop;
	struct config config;
	struct keeper *keeper;
	uint32_t under_way;
};

/* An operation with what it borrows. */
struct change {
	struct keeper_op op;
	struct bed *bed;
	float vector[DIM];
	char name[16];
	const char *subject[1];
	char text[32];
	pthread_mutex_t *gate; /* of a read that waits */
};

static void answered(struct task *task)
{
	((struct change *)task)->bed->under_way--;
}

static void open_keeper(struct bed *bed, bool create)
{
	struct keeper_setup setup = {
		.ctx = bed->ctx, .crew = bed->crew, .loop = bed->loop, .config = &bed->config,
		.name = "g", .path = bed->path, .create = create, .dim = DIM,
	};

	assert_int_equal(keeper_create(&setup, &bed->keeper), 0);
}

static int setup_bed(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	struct lineup_ctx_options options = { .size = sizeof(options), .log = message_library };

	log_init(LOG_ERROR);
	strcpy(bed->directory, "/tmp/lineup-keeper.XXXXXX");
	assert_non_null(mkdtemp(bed->directory));
	snprintf(bed->path, sizeof(bed->path), "%s/g", bed->directory);
	assert_int_equal(lineup_ctx_create(&options, &bed->ctx), 0);
	assert_int_equal(lineup_crew_create(bed->ctx, 1, &bed->crew), 0);
	assert_int_equal(loop_create(&bed->loop), 0);
	config_init(&bed->config);
	bed->config.compact_percent = 0;
	open_keeper(bed, true);
	*state = bed;
	return 0;
}

static int teardown_bed(void **state)
{
	struct bed *bed = *state;
	char command[128];

	keeper_destroy(bed->keeper);
	loop_destroy(bed->loop);
	lineup_crew_destroy(bed->crew);
	lineup_ctx_destroy(bed->ctx);
	config_fini(&bed->config);
	snprintf(command, sizeof(command), "rm -rf '%s'", bed->directory);
	assert_int_equal(system(command), 0);
	free(bed);
	return 0;
}

static struct change *change(struct bed *bed, enum keeper_kind kind, uint32_t subject)
{
	struct change *c = calloc(1, sizeof(*c));

	c->bed = bed;
	c->op.task.run = answered;
	c->op.kind = kind;
	snprintf(c->name, sizeof(c->name), "s%u", subject);
	c->subject[0] = c->name;
	c->op.subjects = c->subject;
	if (kind == KEEPER_ENROL) {
		for (uint32_t i = 0; i < DIM; i++)
			c->vector[i] = (float)(1 + (subject + i) % 5);
		c->op.vectors = (struct lineup_matrix){ .data = c->vector, .rows = 1, .dim = DIM };
		c->op.replace = true;
	}
	return c;
}

static void attribute(struct change *c, const char *text)
{
	snprintf(c->text, sizeof(c->text), "%s", text);
	c->op.attributes = c->text;
	c->op.attributes_size = strlen(c->text);
}

static void submit(struct bed *bed, struct change *c)
{
	bed->under_way++;
	assert_int_equal(keeper_submit(bed->keeper, &c->op), 0);
}

static void wait_for_all(struct bed *bed)
{
	while (bed->under_way)
		assert_int_equal(loop_turn(bed->loop, true), 0);
}

static void wait_at_gate(struct keeper_op *op, struct keeper *keeper)
{
	struct change *c = (struct change *)op;

	(void)keeper;
	pthread_mutex_lock(c->gate);
	pthread_mutex_unlock(c->gate);
}

/* Holds the keeper up until the gate is unlocked; returns when nothing else is in its queue. */
static struct change *hold(struct bed *bed, pthread_mutex_t *gate)
{
	struct change *c = change(bed, KEEPER_READ, 0);

	pthread_mutex_lock(gate);
	c->gate = gate;
	c->op.read = wait_at_gate;
	submit(bed, c);
	while (keeper_waiting(bed->keeper))
		usleep(100);
	return c;
}

static void check_attribute(struct keeper_op *op, struct keeper *keeper)
{
	struct change *c = (struct change *)op;
	const char *text = attributes_get(keeper_attributes(keeper), c->name);

	snprintf(c->text, sizeof(c->text), "%s", text ? text : "");
}

/* ---- a model: which subjects there are, and with which attributes ---- */

struct model {
	bool there[SUBJECTS];
	char text[SUBJECTS][32];
};

/* What @c must be answered, and what it does. */
static void model_apply(struct model *m, struct change *c, uint32_t s, int *err, bool *existed)
{
	*err = 0;
	*existed = m->there[s];
	if (c->op.kind == KEEPER_ENROL) {
		m->there[s] = true;
	} else if (!m->there[s]) {
		*err = -ENOENT;
		return;
	} else if (c->op.kind == KEEPER_DELETE) {
		m->there[s] = false;
		m->text[s][0] = '\0';
	}
	if (c->op.attributes)
		snprintf(m->text[s], sizeof(m->text[s]), "%s", c->text);
}

static void compare_with_model(struct bed *bed, const struct model *m)
{
	struct lineup_gallery_state state;
	uint64_t subjects = 0, attributes = 0;

	for (uint32_t s = 0; s < SUBJECTS; s++) {
		struct change *c = change(bed, KEEPER_READ, s);

		c->op.read = check_attribute;
		submit(bed, c);
		wait_for_all(bed);
		assert_string_equal(c->text, m->text[s]);
		subjects += m->there[s];
		attributes += m->text[s][0] != '\0';
		free(c);
	}
	lineup_gallery_now(keeper_gallery(bed->keeper), &state);
	assert_int_equal(state.subjects, subjects);
	assert_int_equal(state.templates, subjects);
	assert_int_equal(keeper_attributes_count(bed->keeper), attributes);
}

static void answers_are_those_of_one_operation_after_the_other(void **state)
{
	static struct change *all[OPERATIONS];
	static int err[OPERATIONS];
	static bool existed[OPERATIONS];
	struct bed *bed = *state;
	struct model model = { 0 };

	srand(7);
	for (uint32_t i = 0; i < OPERATIONS; i++) {
		static const enum keeper_kind kinds[] = { KEEPER_ENROL, KEEPER_ENROL, KEEPER_DELETE, KEEPER_SETATTR };
		uint32_t s = (uint32_t)rand() % SUBJECTS;
		struct change *c = all[i] = change(bed, kinds[rand() % 4], s);
		char text[32];

		snprintf(text, sizeof(text), "{\"n\":%u}", i);
		if (c->op.kind == KEEPER_SETATTR || (c->op.kind == KEEPER_ENROL && rand() % 2))
			attribute(c, rand() % 4 ? text : "");
		model_apply(&model, c, s, &err[i], &existed[i]);
		submit(bed, c);
		if (rand() % 50 == 0)
			wait_for_all(bed);
	}
	wait_for_all(bed);
	for (uint32_t i = 0; i < OPERATIONS; i++) {
		assert_int_equal(all[i]->op.err, err[i]);
		if (all[i]->op.kind == KEEPER_ENROL)
			assert_int_equal(all[i]->op.enrolled.existed, existed[i]);
		free(all[i]);
	}
	compare_with_model(bed, &model);
	keeper_destroy(bed->keeper);
	open_keeper(bed, false);
	compare_with_model(bed, &model);
}

static void what_waits_shares_a_sync_up_to_group_max(void **state)
{
	struct bed *bed = *state;
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct change *held, *all[7];
	uint64_t groups;

	bed->config.group_max = 3;
	keeper_reload(bed->keeper, &bed->config);
	held = hold(bed, &gate);
	groups = metrics_value(METRIC_GROUPS);
	for (uint32_t i = 0; i < 7; i++)
		submit(bed, all[i] = change(bed, KEEPER_ENROL, i));
	pthread_mutex_unlock(&gate);
	wait_for_all(bed);
	assert_int_equal(metrics_value(METRIC_GROUPS) - groups, 3);
	for (uint32_t i = 0; i < 7; i++) {
		assert_int_equal(all[i]->op.err, 0);
		assert_int_equal(all[i]->op.enrolled.sequence, i + 1);
		free(all[i]);
	}
	free(held);
}

static void reads_that_wait_do_not_end_a_group(void **state)
{
	struct bed *bed = *state;
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct change *held = hold(bed, &gate), *all[6];
	uint64_t groups = metrics_value(METRIC_GROUPS);

	for (uint32_t i = 0; i < 6; i++) {
		all[i] = change(bed, i % 2 ? KEEPER_READ : KEEPER_ENROL, i);
		all[i]->op.read = check_attribute;
		submit(bed, all[i]);
	}
	pthread_mutex_unlock(&gate);
	wait_for_all(bed);
	assert_int_equal(metrics_value(METRIC_GROUPS) - groups, 1);
	for (uint32_t i = 0; i < 6; i++)
		free(all[i]);
	free(held);
}

static void a_refused_operation_leaves_the_others_of_its_group(void **state)
{
	struct bed *bed = *state;
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct change *held = hold(bed, &gate), *all[4];

	for (uint32_t i = 0; i < 4; i++)
		all[i] = change(bed, i == 2 ? KEEPER_DELETE : KEEPER_ENROL, i);
	all[1]->vector[0] = NAN;
	for (uint32_t i = 0; i < 4; i++)
		submit(bed, all[i]);
	pthread_mutex_unlock(&gate);
	wait_for_all(bed);
	assert_int_equal(all[0]->op.err, 0);
	assert_int_equal(all[1]->op.err, -EINVAL);
	assert_non_null(strstr(all[1]->op.message, "NaN"));
	assert_int_equal(all[2]->op.err, -ENOENT);
	assert_int_equal(all[3]->op.err, 0);
	assert_int_equal(all[3]->op.enrolled.sequence, 2);
	for (uint32_t i = 0; i < 4; i++)
		free(all[i]);
	free(held);
}

static void more_than_may_wait_are_refused_at_once(void **state)
{
	struct bed *bed = *state;
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct change *held, *all[3];

	bed->config.waiting_operations_max = 2;
	keeper_reload(bed->keeper, &bed->config);
	held = hold(bed, &gate);
	for (uint32_t i = 0; i < 3; i++)
		all[i] = change(bed, KEEPER_ENROL, i);
	submit(bed, all[0]);
	submit(bed, all[1]);
	assert_int_equal(keeper_submit(bed->keeper, &all[2]->op), -EBUSY);
	pthread_mutex_unlock(&gate);
	wait_for_all(bed);
	submit(bed, all[2]);
	wait_for_all(bed);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(all[i]->op.err, 0);
		free(all[i]);
	}
	free(held);
}

static void what_is_deleted_leaves_the_disk_with_a_maintenance(void **state)
{
	struct bed *bed = *state;
	struct change *add = change(bed, KEEPER_ENROL, 1), *other = change(bed, KEEPER_ENROL, 2), *gone = change(bed, KEEPER_DELETE, 1);
	struct change *maintain = change(bed, KEEPER_MAINTAIN, 0);
	struct lineup_gallery_state now;

	submit(bed, add);
	submit(bed, other);
	submit(bed, gone);
	wait_for_all(bed);
	maintain->op.compact = 2;
	submit(bed, maintain);
	wait_for_all(bed);
	assert_int_equal(maintain->op.err, 0);
	assert_true(maintain->op.maintained.compacted || maintain->op.maintained.sealed);
	lineup_gallery_now(keeper_gallery(bed->keeper), &now);
	assert_int_equal(now.rows, 1);
	assert_int_equal(now.templates, 1);
	free(add);
	free(other);
	free(gone);
	free(maintain);
}

#define FACT(f) cmocka_unit_test_setup_teardown(f, setup_bed, teardown_bed)

int main(void)
{
	const struct CMUnitTest facts[] = {
		FACT(answers_are_those_of_one_operation_after_the_other),
		FACT(what_waits_shares_a_sync_up_to_group_max),
		FACT(reads_that_wait_do_not_end_a_group),
		FACT(a_refused_operation_leaves_the_others_of_its_group),
		FACT(more_than_may_wait_are_refused_at_once),
		FACT(what_is_deleted_leaves_the_disk_with_a_maintenance),
	};

	return cmocka_run_group_tests(facts, NULL, NULL);
}
