/* SPDX-License-Identifier: MIT */
/* The io_uring loop: one thread, one ring, for sockets, files, timers, signals and what other threads hand back. */
#ifndef LINEUPD_LOOP_H
#define LINEUPD_LOOP_H

#include <liburing.h>

#include "daemon.h"

struct loop;

/* A submission under way, embedded in what it is for; must stay where it is until its last completion. */
struct loop_op {
	/* @result: of the operation, or -errno; @flags: IORING_CQE_F_*: with _MORE set, the operation goes on. */
	void (*done)(struct loop_op *op, int result, uint32_t flags);
};

struct loop_timer {
	void (*fire)(struct loop_timer *timer);
	uint64_t at_ns;          /* CLOCK_MONOTONIC; 0: not set */
	uint32_t place;          /* in the loop's heap */
};

/* -ENOSYS, -EPERM: no io_uring here: the daemon cannot run without, and says so. */
int loop_create(struct loop **loop);
void loop_destroy(struct loop *loop);
/*
 * Until loop_stop, then once more round; what is under way then is whoever began it's to cancel. -errno: the ring is broken,
 * logged.
 */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* loop thread: from other threads by loop_post */
/*
 * Goes round once; waits for something to happen if @wait. For what must wait for its operations outside loop_run: tests,
 * clients_destroy.
 */
int loop_turn(struct loop *loop, bool wait);

/*
 * An entry to fill with io_uring_prep_*; its user data is @op (NULL: nobody is told). Never NULL: entries are submitted when
 * the queue is full. Loop thread.
 */
struct io_uring_sqe *loop_sqe(struct loop *loop, struct loop_op *op);
/* Cancels what @op waits for; its done is called with -ECANCELED. */
void loop_cancel(struct loop *loop, struct loop_op *op);

/* Sets @timer to fire in @ms milliseconds, anew if it was set. Loop thread. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t ms);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* Runs @task on the loop thread, soon. Any thread; one wake-up for many. */
void loop_post(struct loop *loop, struct task *task);
/*
 * Calls @fn(arg, signal) on the loop thread for each of these signals, which are blocked in every thread made later. Before
 * other threads are made.
 */
int loop_signals(struct loop *loop, const int *signals, uint32_t count, void (*fn)(void *arg, int signal), void *arg);
/* Whether the loop has gone round within the last @ms: for the watchdog. Any thread. */
bool loop_alive(const struct loop *loop, uint64_t ms);
/*
 * From here on, as on a kernel without multishot accept and receive, where the daemon works, too: for tests, and for who met
 * such a kernel.
 */
void loop_single(struct loop *loop);
bool loop_multishot(const struct loop *loop);
/*
 * Buffers for multishot receive: a provided-buffer ring of the kernel, of these sizes; false where the kernel has none (before
 * 5.19): single receives then.
 */
enum { LOOP_BUFFERS = 256, LOOP_BUFFER_BYTES = 16384, LOOP_BUFFER_GROUP = 1 };
bool loop_has_buffers(const struct loop *loop);
char *loop_buffer(struct loop *loop, uint32_t flags);        /* that a completion with IORING_CQE_F_BUFFER came with */
void loop_buffer_return(struct loop *loop, uint32_t flags, size_t used); /* erases the @used bytes and gives it back */

#endif
