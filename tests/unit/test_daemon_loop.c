// SPDX-License-Identifier: MIT
// The loop: timers in order, tasks of other threads, signals, and more entries than the ring has.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

/* ---- timers ---- */

struct alarm {
	struct loop_timer timer;
	struct loop *loop;
	uint64_t at_ns;  /* when it should fire */
	uint32_t fired;
	uint64_t again_ms;
};

static uint64_t last_at_ns;

static void fire(struct loop_timer *timer)
{
	struct alarm *a = CONTAINER(timer, struct alarm, timer);

	assert_true(now_ns() >= a->at_ns);
	assert_true(a->at_ns >= last_at_ns);
	assert_int_equal(timer->at_ns, 0);
	last_at_ns = a->at_ns;
	a->fired++;
}

static void set(struct alarm *a, uint64_t ms)
{
	loop_timer_set(a->loop, &a->timer, ms);
	a->at_ns = a->timer.at_ns;
}

static void timers_fire_once_in_their_order(void **state)
{
	enum { COUNT = 1000 };
	static struct alarm alarm[COUNT];
	struct loop *loop;
	uint32_t seed = 1, expected = 0, fired = 0;

	(void)state;
	last_at_ns = 0;
	assert_int_equal(loop_create(&loop), 0);
	for (uint32_t i = 0; i < COUNT; i++)
		alarm[i] = (struct alarm){ .timer.fire = fire, .loop = loop };
	/* Set, moved and taken back in any order. */
	for (uint32_t i = 0; i < 20 * COUNT; i++) {
		struct alarm *a = &alarm[(seed = seed * 1664525 + 1013904223) / 65536 % COUNT];

		if (seed / 256 % 4)
			set(a, seed / 1024 % 40);
		else
			loop_timer_clear(loop, &a->timer);
	}
	for (uint32_t i = 0; i < COUNT; i++)
		expected += alarm[i].timer.at_ns != 0;
	while (fired < expected) {
		assert_int_equal(loop_turn(loop, true), 0);
		fired = 0;
		for (uint32_t i = 0; i < COUNT; i++)
			fired += alarm[i].fired;
	}
	assert_int_equal(loop_turn(loop, false), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		assert_true(alarm[i].fired <= 1);
		assert_int_equal(alarm[i].timer.at_ns, 0);
	}
	loop_destroy(loop);
}

static void stop_after_three(struct loop_timer *timer)
{
	struct alarm *a = CONTAINER(timer, struct alarm, timer);

	if (++a->fired == 3)
		loop_stop(a->loop);
	else
		loop_timer_set(a->loop, timer, 0);
}

static void a_timer_may_set_itself_again(void **state)
{
	struct alarm a = { .timer.fire = stop_after_three };

	(void)state;
	assert_int_equal(loop_create(&a.loop), 0);
	loop_timer_set(a.loop, &a.timer, 0);
	assert_int_equal(loop_run(a.loop), 0);
	assert_int_equal(a.fired, 3);
	loop_destroy(a.loop);
}

/* ---- tasks ---- */

enum { POSTERS = 4, POSTS = 5000 };

struct post {
	struct task task;
	struct poster *poster;
	uint32_t number;
};

struct poster {
	struct loop *loop;
	pthread_t thread;
	uint32_t next; /* that the loop thread expects */
	struct post post[POSTS];
};

static struct loop *post_loop;
static uint32_t posts_run;

static void post_run(struct task *task)
{
	struct post *p = CONTAINER(task, struct post, task);

	/* Of one thread they come in the order in which it posted them. */
	assert_int_equal(p->number, p->poster->next);
	p->poster->next++;
	if (++posts_run == POSTERS * POSTS)
		loop_stop(post_loop);
}

static void *post_all(void *arg)
{
	struct poster *poster = arg;

	for (uint32_t i = 0; i < POSTS; i++) {
		poster->post[i] = (struct post){ .task.run = post_run, .poster = poster, .number = i };
		loop_post(poster->loop, &poster->post[i].task);
		if (i % 1000 == 0)
			usleep(500); /* so that the loop falls asleep now and then */
	}
	return NULL;
}

static void tasks_of_other_threads_run_once_in_order(void **state)
{
	static struct poster poster[POSTERS];

	(void)state;
	posts_run = 0;
	assert_int_equal(loop_create(&post_loop), 0);
	for (int i = 0; i < POSTERS; i++) {
		poster[i].loop = post_loop;
		assert_int_equal(pthread_create(&poster[i].thread, NULL, post_all, &poster[i]), 0);
	}
	assert_int_equal(loop_run(post_loop), 0);
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(poster[i].thread, NULL);
		assert_int_equal(poster[i].next, POSTS);
	}
	loop_destroy(post_loop);
}

static void again_run(struct task *task)
{
	struct post *p = CONTAINER(task, struct post, task);

	if (++p->number == 3)
		loop_stop(post_loop);
	else
		loop_post(post_loop, task);
}

static void a_task_may_post_itself_again(void **state)
{
	struct post p = { .task.run = again_run };

	(void)state;
	assert_int_equal(loop_create(&post_loop), 0);
	loop_post(post_loop, &p.task);
	assert_int_equal(loop_run(post_loop), 0);
	assert_int_equal(p.number, 3);
	loop_destroy(post_loop);
}

/* ---- operations ---- */

struct operation {
	struct loop_op op;
	struct loop *loop;
	uint32_t *done;
	int result;
	uint32_t more; /* to begin when this ends */
};

static void nop_done(struct loop_op *op, int result, uint32_t flags)
{
	struct operation *o = CONTAINER(op, struct operation, op);

	(void)flags;
	o->result = result;
	++*o->done;
	while (o->more) {
		o->more--;
		io_uring_prep_nop(loop_sqe(o->loop, NULL));
	}
}

/* Of each that ends there are more begun than the ring has room for: in the middle of telling them. */
static void more_entries_than_the_ring_has_are_all_told(void **state)
{
	enum { COUNT = 20000 };
	struct operation *operation = calloc(COUNT, sizeof(*operation));
	struct loop *loop;
	uint32_t done = 0;

	(void)state;
	assert_non_null(operation);
	assert_int_equal(loop_create(&loop), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		operation[i] = (struct operation){ .op.done = nop_done, .loop = loop, .done = &done, .result = -1 };
		operation[i].more = i % 1000 ? 0 : 6000;
		io_uring_prep_nop(loop_sqe(loop, &operation[i].op));
	}
	while (done < COUNT)
		assert_int_equal(loop_turn(loop, true), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_turn(loop, false), 0);
	assert_int_equal(done, COUNT);
	for (uint32_t i = 0; i < COUNT; i++)
		assert_int_equal(operation[i].result, 0);
	loop_destroy(loop);
	free(operation);
}

static void a_cancelled_operation_says_so(void **state)
{
	struct operation o = { .op.done = nop_done };
	uint32_t done = 0;
	char byte;
	int fds[2];

	(void)state;
	o.done = &done;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(loop_create(&o.loop), 0);
	io_uring_prep_read(loop_sqe(o.loop, &o.op), fds[0], &byte, 1, 0);
	assert_int_equal(loop_turn(o.loop, false), 0);
	assert_int_equal(done, 0);
	loop_cancel(o.loop, &o.op);
	while (!done)
		assert_int_equal(loop_turn(o.loop, true), 0);
	assert_int_equal(o.result, -ECANCELED);
	loop_destroy(o.loop);
	close(fds[0]);
	close(fds[1]);
}

/* ---- signals, and whether it lives ---- */

static int got[8], gots;

static void signal_got(void *arg, int signal)
{
	got[gots++] = signal;
	if (gots == 2)
		loop_stop(arg);
}

static void signals_are_told_on_the_loop(void **state)
{
	static const int signals[] = { SIGHUP, SIGUSR1 };
	struct loop *loop;
	sigset_t none;

	(void)state;
	gots = 0;
	assert_int_equal(loop_create(&loop), 0);
	assert_int_equal(loop_signals(loop, signals, 2, signal_got, loop), 0);
	kill(getpid(), SIGHUP);
	while (!gots)
		assert_int_equal(loop_turn(loop, true), 0);
	kill(getpid(), SIGUSR1);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(gots, 2);
	assert_int_equal(got[0], SIGHUP);
	assert_int_equal(got[1], SIGUSR1);
	loop_destroy(loop);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void stop_run(struct task *task)
{
	(void)task;
	loop_stop(post_loop);
}

static void *run(void *arg)
{
	assert_int_equal(loop_run(arg), 0);
	return NULL;
}

/* A loop that has not gone round for long is taken for dead, one that waits for something to happen is not. */
static void a_loop_that_waits_is_alive_and_one_that_hangs_is_not(void **state)
{
	struct task stop = { .run = stop_run };
	pthread_t thread;

	(void)state;
	assert_int_equal(loop_create(&post_loop), 0);
	assert_true(loop_alive(post_loop, 60000));
	usleep(3000);
	assert_false(loop_alive(post_loop, 1));
	assert_int_equal(pthread_create(&thread, NULL, run, post_loop), 0);
	while (!loop_alive(post_loop, 0))
		usleep(1000);
	loop_post(post_loop, &stop);
	pthread_join(thread, NULL);
	loop_destroy(post_loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_once_in_their_order),
		cmocka_unit_test(a_timer_may_set_itself_again),
		cmocka_unit_test(tasks_of_other_threads_run_once_in_order),
		cmocka_unit_test(a_task_may_post_itself_again),
		cmocka_unit_test(more_entries_than_the_ring_has_are_all_told),
		cmocka_unit_test(a_cancelled_operation_says_so),
		cmocka_unit_test(signals_are_told_on_the_loop),
		cmocka_unit_test(a_loop_that_waits_is_alive_and_one_that_hangs_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
