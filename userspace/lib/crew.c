// SPDX-License-Identifier: MIT
// Threads that sleep until a job has work, and serve first the job that has had the least of their time.
#include "crew.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pool.h"

enum { RECORD_BYTES_MAX = sizeof(struct disk_record) + LINEUP_DIM_MAX * sizeof(float) };

struct lineup_crew {
	struct lineup_ctx *ctx;
	pthread_mutex_t mutex;
	pthread_cond_t work;
	pthread_cond_t left;      /* a job has no thread inside */
	struct lineup_crew_job *jobs;
	atomic_uint job_count;
	atomic_uint sleepers;
	uint64_t rest_ns;         /* when the jobs rest next */
	bool watched;             /* a sleeper looks at the clock */
	bool stop;
	uint32_t threads;
	uint32_t started;
	struct lineup_crew_worker *workers;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The job that is ready and has had the least time. */
static struct lineup_crew_job *pick(const struct lineup_crew *crew)
{
	struct lineup_crew_job *best = NULL;

	for (struct lineup_crew_job *job = crew->jobs; job; job = job->next)
		if (atomic_load(&job->ready) && (!best || job->used_ns < best->used_ns))
			best = job;
	return best;
}

/* One that was idle does not get the time it did not ask for. */
static void level(const struct lineup_crew *crew, struct lineup_crew_job *job)
{
	uint64_t least = UINT64_MAX;

	for (const struct lineup_crew_job *other = crew->jobs; other; other = other->next)
		if (other != job && other->inside && other->used_ns < least)
			least = other->used_ns;
	if (least != UINT64_MAX && job->used_ns < least)
		job->used_ns = least;
}

static void enter(struct lineup_crew *crew, struct lineup_crew_job *job)
{
	job->inside++;
	pthread_mutex_unlock(&crew->mutex);
}

static void leave(struct lineup_crew *crew, struct lineup_crew_job *job)
{
	pthread_mutex_lock(&crew->mutex);
	if (!--job->inside)
		pthread_cond_broadcast(&crew->left);
}

/* With the mutex held, as when it returns. Alone, a job is left only when it has nothing to do. */
static void work(struct lineup_crew *crew, struct lineup_crew_job *job, struct lineup_crew_worker *worker)
{
	uint64_t begin = now_ns();

	if (!job->inside)
		level(crew, job);
	enter(crew, job);
	while (job->work(job, worker) && atomic_load_explicit(&crew->job_count, memory_order_relaxed) == 1)
		;
	begin = now_ns() - begin;
	leave(crew, job);
	job->used_ns += begin;
}

static void rest(struct lineup_crew *crew)
{
	struct lineup_crew_job *job = crew->jobs;

	crew->rest_ns = now_ns() + LINEUP_CREW_REST_MS * UINT64_C(1000000);
	while (job) {
		struct lineup_crew_job *next;

		if (job->rest && !atomic_load(&job->ready)) {
			enter(crew, job);
			job->rest(job);
			leave(crew, job);
		}
		next = job->next; /* a job with a thread inside is not removed, and this one may be now */
		job = next;
	}
}

static bool rest_is_due(const struct lineup_crew *crew)
{
	return crew->jobs && now_ns() >= crew->rest_ns;
}

static void sleep_until_called(struct lineup_crew *crew)
{
	/* Whoever makes a job ready looks for sleepers after that; whoever goes to sleep counts before it looks at the jobs. */
	atomic_fetch_add(&crew->sleepers, 1);
	if (!pick(crew) && !crew->stop) {
		if (crew->jobs && !crew->watched) {
			struct timespec until = { .tv_sec = (time_t)(crew->rest_ns / 1000000000), .tv_nsec = (long)(crew->rest_ns % 1000000000) };

			crew->watched = true;
			pthread_cond_timedwait(&crew->work, &crew->mutex, &until);
			crew->watched = false;
		} else {
			pthread_cond_wait(&crew->work, &crew->mutex);
		}
	}
	atomic_fetch_sub(&crew->sleepers, 1);
}

static void *worker_main(void *arg)
{
	struct lineup_crew_worker *worker = arg;
	struct lineup_crew *crew = worker->crew;

	pthread_mutex_lock(&crew->mutex);
	while (!crew->stop) {
		struct lineup_crew_job *job = pick(crew);

		if (rest_is_due(crew))
			rest(crew);
		else if (job)
			work(crew, job, worker);
		else
			sleep_until_called(crew);
	}
	pthread_mutex_unlock(&crew->mutex);
	return NULL;
}

static int start(struct lineup_crew *crew)
{
	sigset_t all, before;
	int err = 0;

	/* Signals are the program's: they go to its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!err && crew->started < crew->threads) {
		struct lineup_crew_worker *worker = &crew->workers[crew->started];

		worker->crew = crew;
		worker->index = crew->started;
		worker->record = lineup_secret_alloc(crew->ctx, RECORD_BYTES_MAX);
		worker->vector = lineup_secret_alloc(crew->ctx, LINEUP_DIM_MAX * sizeof(float));
		err = worker->record && worker->vector ? -pthread_create(&worker->thread, NULL, worker_main, worker) : -ENOMEM;
		if (!err)
			crew->started++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

int lineup_crew_create(struct lineup_ctx *ctx, uint32_t threads, struct lineup_crew **out)
{
	pthread_condattr_t monotonic;
	struct lineup_crew *crew;
	int err;

	if (threads > LINEUP_THREADS_MAX)
		return lineup_fail(ctx, -EINVAL, "crew: %u threads: the limit is %d", threads, LINEUP_THREADS_MAX);
	crew = calloc(1, sizeof(*crew));
	if (!crew)
		return lineup_fail(ctx, -ENOMEM, "crew: no memory");
	crew->ctx = ctx;
	crew->threads = threads ? threads : lineup_pool_cpus();
	pthread_mutex_init(&crew->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&crew->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&crew->left, NULL);
	crew->workers = calloc(crew->threads, sizeof(*crew->workers));
	err = crew->workers ? start(crew) : -ENOMEM;
	if (err) {
		lineup_fail(ctx, err, "crew: no memory or no threads for %u threads: %s", crew->threads, strerror(-err));
		lineup_crew_destroy(crew);
		return err;
	}
	*out = crew;
	return 0;
}

void lineup_crew_destroy(struct lineup_crew *crew)
{
	if (!crew)
		return;
	pthread_mutex_lock(&crew->mutex);
	crew->stop = true;
	pthread_cond_broadcast(&crew->work);
	pthread_mutex_unlock(&crew->mutex);
	for (uint32_t i = 0; i < crew->started; i++)
		pthread_join(crew->workers[i].thread, NULL);
	for (uint32_t i = 0; crew->workers && i < crew->threads; i++) {
		lineup_secret_free(crew->workers[i].record, RECORD_BYTES_MAX);
		lineup_secret_free(crew->workers[i].vector, LINEUP_DIM_MAX * sizeof(float));
	}
	pthread_cond_destroy(&crew->left);
	pthread_cond_destroy(&crew->work);
	pthread_mutex_destroy(&crew->mutex);
	free(crew->workers);
	free(crew);
}

uint32_t lineup_crew_threads(const struct lineup_crew *crew)
{
	return crew->threads;
}

struct lineup_ctx *lineup_crew_ctx(const struct lineup_crew *crew)
{
	return crew->ctx;
}

void lineup_crew_add(struct lineup_crew *crew, struct lineup_crew_job *job)
{
	pthread_mutex_lock(&crew->mutex);
	if (!crew->jobs)
		crew->rest_ns = now_ns() + LINEUP_CREW_REST_MS * UINT64_C(1000000);
	job->next = crew->jobs;
	crew->jobs = job;
	atomic_fetch_add(&crew->job_count, 1);
	pthread_cond_broadcast(&crew->work); /* one of them watches the clock from now on */
	pthread_mutex_unlock(&crew->mutex);
}

void lineup_crew_remove(struct lineup_crew *crew, struct lineup_crew_job *job)
{
	struct lineup_crew_job **at = &crew->jobs;

	pthread_mutex_lock(&crew->mutex);
	atomic_store(&job->ready, false);
	while (job->inside)
		pthread_cond_wait(&crew->left, &crew->mutex);
	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	atomic_fetch_sub(&crew->job_count, 1);
	pthread_mutex_unlock(&crew->mutex);
}

void lineup_crew_call(struct lineup_crew *crew, bool all)
{
	if (!atomic_load(&crew->sleepers))
		return;
	pthread_mutex_lock(&crew->mutex);
	if (all)
		pthread_cond_broadcast(&crew->work);
	else
		pthread_cond_signal(&crew->work);
	pthread_mutex_unlock(&crew->mutex);
}
