// SPDX-License-Identifier: MIT
// The ring and its rounds: submit, wait, completions, posted tasks, timers.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"

enum {
	LOOP_ENTRIES = 1024,
	LOOP_COMPLETIONS = 4096,
	LOOP_SIGNALS_MAX = 8, /* read at once */
};

struct completion {
	struct loop_op *op;
	int result;
	uint32_t flags;
};

struct loop {
	struct io_uring ring;
	bool ring_there;
	bool stop;
	bool single;

	/* Taken from the ring and not told yet, see entries_make_room. */
	struct completion *late;
	size_t lates, late_max;

	struct loop_timer **timer; /* a heap, the earliest first */
	uint32_t timers, timer_max;

	_Atomic(struct task *) posted; /* the last first */
	int wake_fd;
	uint64_t wake_count;
	struct loop_op wake;

	int signal_fd;
	struct signalfd_siginfo signal_info[LOOP_SIGNALS_MAX];
	struct loop_op signal;
	void (*signal_fn)(void *arg, int signal);
	void *signal_arg;

	_Atomic uint64_t round_ns; /* when this round began; 0: it waits */

	struct io_uring_buf_ring *buffer_ring;
	char *buffers;
};

#define container(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

/* ---- entries and completions ---- */

static void completion_tell(struct loop_op *op, int result, uint32_t flags)
{
	if (op)
		op->done(op, result, flags);
}

/* Moves completions out of the kernel's way without telling anybody: who asks for an entry is in the middle of something. */
static bool completions_set_aside(struct loop *loop)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&loop->ring, &cqe)) {
		if (loop->lates == loop->late_max) {
			size_t max = loop->late_max ? 2 * loop->late_max : LOOP_COMPLETIONS;
			struct completion *late = realloc(loop->late, max * sizeof(*late));

			if (!late)
				return false;
			loop->late = late;
			loop->late_max = max;
		}
		loop->late[loop->lates++] = (struct completion){ io_uring_cqe_get_data(cqe), cqe->res, cqe->flags };
		io_uring_cqe_seen(&loop->ring, cqe);
	}
	return true;
}

struct io_uring_sqe *loop_sqe(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe;

	/*
	 * The kernel may refuse for want of memory, or of room for completions. There is nothing to do but to make room and ask
	 * again.
	 */
	while (!(sqe = io_uring_get_sqe(&loop->ring))) {
		int n = io_uring_submit(&loop->ring);

		if (n <= 0 && n != -EINTR && !completions_set_aside(loop))
			usleep(1000);
	}
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

void loop_cancel(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe = loop_sqe(loop, NULL);

	io_uring_prep_cancel(sqe, op, 0);
	io_uring_sqe_set_data(sqe, NULL);
}

static void completions_tell(struct loop *loop)
{
	struct io_uring_cqe *cqe;

	for (;;) {
		/* Those set aside came first. Telling one may set more aside. */
		for (size_t i = 0; i < loop->lates; i++) {
			struct completion c = loop->late[i];

			completion_tell(c.op, c.result, c.flags);
		}
		loop->lates = 0;
		if (io_uring_peek_cqe(&loop->ring, &cqe))
			return;
		do {
			struct loop_op *op = io_uring_cqe_get_data(cqe);
			int result = cqe->res;
			uint32_t flags = cqe->flags;

			io_uring_cqe_seen(&loop->ring, cqe);
			completion_tell(op, result, flags);
		} while (!loop->lates && !io_uring_peek_cqe(&loop->ring, &cqe));
	}
}

/* ---- timers ---- */

static void timer_put(struct loop *loop, uint32_t place, struct loop_timer *timer)
{
	loop->timer[place] = timer;
	timer->place = place;
}

/* Moves @timer, for which @place is free, to where it belongs. */
static void timer_sift(struct loop *loop, uint32_t place, struct loop_timer *timer)
{
	while (place && loop->timer[(place - 1) / 2]->at_ns > timer->at_ns) {
		timer_put(loop, place, loop->timer[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	for (;;) {
		uint32_t child = 2 * place + 1;

		if (child >= loop->timers)
			break;
		if (child + 1 < loop->timers && loop->timer[child + 1]->at_ns < loop->timer[child]->at_ns)
			child++;
		if (loop->timer[child]->at_ns >= timer->at_ns)
			break;
		timer_put(loop, place, loop->timer[child]);
		place = child;
	}
	timer_put(loop, place, timer);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer *last;
	uint32_t place = timer->place;

	if (!timer->at_ns)
		return;
	timer->at_ns = 0;
	last = loop->timer[--loop->timers];
	if (last != timer)
		timer_sift(loop, place, last);
}

/* A timer that were forgotten for want of memory would leave a connection open for ever: rather wait. It is 8 bytes a timer. */
static void timers_make_room(struct loop *loop)
{
	uint32_t max = loop->timer_max ? 2 * loop->timer_max : 64;
	struct loop_timer **timer;

	if (loop->timers < loop->timer_max)
		return;
	while (!(timer = realloc(loop->timer, max * sizeof(struct loop_timer *))))
		usleep(1000);
	loop->timer = timer;
	loop->timer_max = max;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t ms)
{
	loop_timer_clear(loop, timer);
	timers_make_room(loop);
	timer->at_ns = now_ns() + ms * 1000000;
	loop->timers++;
	timer_sift(loop, loop->timers - 1, timer);
}

/* Those that are due now; one that is set again by its own call, for at once, comes next round. */
static void timers_fire(struct loop *loop)
{
	uint64_t now;

	if (!loop->timers)
		return;
	now = now_ns();
	while (loop->timers && loop->timer[0]->at_ns <= now) {
		struct loop_timer *timer = loop->timer[0];

		loop_timer_clear(loop, timer);
		timer->fire(timer);
	}
}

/* ---- other threads ---- */

void loop_post(struct loop *loop, struct task *task)
{
	struct task *before = atomic_load_explicit(&loop->posted, memory_order_relaxed);
	uint64_t one = 1;

	do
		task->next = before;
	while (!atomic_compare_exchange_weak_explicit(&loop->posted, &before, task, memory_order_acq_rel, memory_order_relaxed));
	/* Whoever finds the list empty wakes the loop; the others come with it. A full counter of an eventfd wakes as well. */
	if (!before && write(loop->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static void tasks_run(struct loop *loop)
{
	struct task *task = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acq_rel), *first = NULL;

	while (task) {
		struct task *next = task->next;

		task->next = first;
		first = task;
		task = next;
	}
	while (first) {
		struct task *next = first->next; /* running a task may free it */

		first->run(first);
		first = next;
	}
}

static void wake_done(struct loop_op *op, int result, uint32_t flags)
{
	struct loop *loop = container(op, struct loop, wake);

	(void)result, (void)flags;
	/* Armed again before the tasks are taken: what is posted after that finds a list that is empty, and wakes. */
	io_uring_prep_read(loop_sqe(loop, &loop->wake), loop->wake_fd, &loop->wake_count, sizeof(loop->wake_count), 0);
	tasks_run(loop);
}

static void signal_arm(struct loop *loop)
{
	io_uring_prep_read(loop_sqe(loop, &loop->signal), loop->signal_fd, loop->signal_info, sizeof(loop->signal_info), 0);
}

static void signal_done(struct loop_op *op, int result, uint32_t flags)
{
	struct loop *loop = container(op, struct loop, signal);

	(void)flags;
	for (int i = 0; result > 0 && i < result / (int)sizeof(loop->signal_info[0]); i++)
		loop->signal_fn(loop->signal_arg, (int)loop->signal_info[i].ssi_signo);
	if (result != -ECANCELED)
		signal_arm(loop);
}

int loop_signals(struct loop *loop, const int *signals, uint32_t count, void (*fn)(void *arg, int signal), void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	for (uint32_t i = 0; i < count; i++)
		sigaddset(&set, signals[i]);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return -EINVAL;
	loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (loop->signal_fd < 0) {
		int err = -errno;

		log_event(LOG_ERROR, "loop", "what=signalfd error=\"%s\"", strerror(-err));
		return err;
	}
	loop->signal_fn = fn;
	loop->signal_arg = arg;
	loop->signal.done = signal_done;
	signal_arm(loop);
	return 0;
}

/* ---- buffers ---- */

static char *buffer_at(const struct loop *loop, uint32_t index)
{
	return loop->buffers + (size_t)index * LOOP_BUFFER_BYTES;
}

static void buffers_create(struct loop *loop)
{
	size_t ring_bytes = LOOP_BUFFERS * sizeof(struct io_uring_buf), bytes = (size_t)LOOP_BUFFERS * LOOP_BUFFER_BYTES;
	struct io_uring_buf_reg reg = { .ring_entries = LOOP_BUFFERS, .bgid = LOOP_BUFFER_GROUP };
	void *ring = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	reg.ring_addr = (uintptr_t)ring;
	if (ring == MAP_FAILED || data == MAP_FAILED || io_uring_register_buf_ring(&loop->ring, &reg, 0)) {
		if (ring != MAP_FAILED)
			munmap(ring, ring_bytes);
		if (data != MAP_FAILED)
			munmap(data, bytes);
		return;
	}
	(void)madvise(data, bytes, MADV_DONTDUMP);
	loop->buffer_ring = ring;
	loop->buffers = data;
	io_uring_buf_ring_init(loop->buffer_ring);
	for (uint32_t i = 0; i < LOOP_BUFFERS; i++)
		io_uring_buf_ring_add(loop->buffer_ring, buffer_at(loop, i), LOOP_BUFFER_BYTES, (unsigned short)i,
				      io_uring_buf_ring_mask(LOOP_BUFFERS), (int)i);
	io_uring_buf_ring_advance(loop->buffer_ring, LOOP_BUFFERS);
}

bool loop_has_buffers(const struct loop *loop)
{
	return loop->buffer_ring;
}

char *loop_buffer(struct loop *loop, uint32_t flags)
{
	return buffer_at(loop, flags >> IORING_CQE_BUFFER_SHIFT);
}

void loop_buffer_return(struct loop *loop, uint32_t flags, size_t used)
{
	uint32_t index = flags >> IORING_CQE_BUFFER_SHIFT;

	explicit_bzero(buffer_at(loop, index), used);
	io_uring_buf_ring_add(loop->buffer_ring, buffer_at(loop, index), LOOP_BUFFER_BYTES, (unsigned short)index,
			      io_uring_buf_ring_mask(LOOP_BUFFERS), 0);
	io_uring_buf_ring_advance(loop->buffer_ring, 1);
}

void loop_single(struct loop *loop)
{
	loop->single = true;
}

bool loop_multishot(const struct loop *loop)
{
	return !loop->single && loop->buffer_ring;
}

/* ---- the loop ---- */

static int ring_create(struct loop *loop)
{
	/* Completions are told when the loop asks for them, not by interrupting it: since 5.19; older kernels refuse the flag. */
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN, .cq_entries = LOOP_COMPLETIONS
	};
	int err = io_uring_queue_init_params(LOOP_ENTRIES, &loop->ring, &params);

	if (err == -EINVAL) {
		params = (struct io_uring_params){ .flags = IORING_SETUP_CQSIZE, .cq_entries = LOOP_COMPLETIONS };
		err = io_uring_queue_init_params(LOOP_ENTRIES, &loop->ring, &params);
	}
	loop->ring_there = !err;
	if (!err && !(params.features & IORING_FEAT_EXT_ARG)) {
		log_event(LOG_ERROR, "loop", "what=io_uring error=\"this kernel is too old: 5.11 at least, 6.1 is tested\"");
		return -ENOSYS;
	}
	if (err)
		log_event(LOG_ERROR, "loop", "what=io_uring error=\"%s\" hint=\"lineupd needs io_uring: see "
			  "/proc/sys/kernel/io_uring_disabled, and what a container's seccomp filter forbids\"", strerror(-err));
	return err;
}

int loop_create(struct loop **out)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return -ENOMEM;
	loop->wake_fd = loop->signal_fd = -1;
	err = ring_create(loop);
	if (err)
		goto out;
	loop->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (loop->wake_fd < 0) {
		err = -errno;
		log_event(LOG_ERROR, "loop", "what=eventfd error=\"%s\"", strerror(-err));
		goto out;
	}
	buffers_create(loop);
	loop->wake.done = wake_done;
	io_uring_prep_read(loop_sqe(loop, &loop->wake), loop->wake_fd, &loop->wake_count, sizeof(loop->wake_count), 0);
	atomic_store(&loop->round_ns, now_ns());
	*out = loop;
out:
	if (err)
		loop_destroy(loop);
	return err;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->ring_there)
		io_uring_queue_exit(&loop->ring);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->signal_fd >= 0)
		close(loop->signal_fd);
	if (loop->buffers) {
		explicit_bzero(loop->buffers, (size_t)LOOP_BUFFERS * LOOP_BUFFER_BYTES);
		munmap(loop->buffers, (size_t)LOOP_BUFFERS * LOOP_BUFFER_BYTES);
		munmap(loop->buffer_ring, LOOP_BUFFERS * sizeof(struct io_uring_buf));
	}
	free(loop->timer);
	free(loop->late);
	free(loop);
}

static int submit_and_wait(struct loop *loop)
{
	struct __kernel_timespec ts = { 0 };
	struct io_uring_cqe *cqe;

	if (loop->timers) {
		uint64_t now = now_ns(), at = loop->timer[0]->at_ns, ns = at > now ? at - now : 0;

		ts.tv_sec = (long long)(ns / 1000000000);
		ts.tv_nsec = (long long)(ns % 1000000000);
	}
	return io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, loop->timers ? &ts : NULL, NULL);
}

int loop_turn(struct loop *loop, bool wait)
{
	int err;

	if (wait && !loop->lates) {
		atomic_store_explicit(&loop->round_ns, 0, memory_order_relaxed);
		err = submit_and_wait(loop);
	} else {
		err = io_uring_submit_and_get_events(&loop->ring);
	}
	atomic_store_explicit(&loop->round_ns, now_ns(), memory_order_relaxed);
	/*
	 * Want of memory, or of room for completions, in the kernel: those that are there are taken, and the entries go out
	 * next round.
	 */
	if (err < 0 && err != -ETIME && err != -EINTR && err != -EAGAIN && err != -EBUSY && err != -ENOMEM) {
		log_event(LOG_ERROR, "loop", "what=io_uring_enter error=\"%s\"", strerror(-err));
		return err;
	}
	completions_tell(loop);
	timers_fire(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	int err = 0;

	while (!err && !loop->stop)
		err = loop_turn(loop, true);
	if (!err)
		err = loop_turn(loop, false);
	loop->stop = false;
	return err;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}

bool loop_alive(const struct loop *loop, uint64_t ms)
{
	uint64_t begun = atomic_load_explicit(&loop->round_ns, memory_order_relaxed);

	return !begun || now_ns() < begun + ms * 1000000;
}
