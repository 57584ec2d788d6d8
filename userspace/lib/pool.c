// SPDX-License-Identifier: MIT
// The threads of a searcher: started once, so that a search starts none.
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

struct member {
	struct lineup_pool *pool;
	pthread_t thread;
	uint32_t index;
};

struct lineup_pool {
	pthread_mutex_t mutex;
	pthread_cond_t work;
	pthread_cond_t done;
	void (*run)(void *arg, uint32_t thread);
	void *arg;
	uint64_t round;   /* counts runs; a member that has seen less has work */
	uint32_t busy;
	uint32_t started;
	bool stop;
	struct member *members;
};

static void *member_main(void *arg)
{
	struct member *member = arg;
	struct lineup_pool *pool = member->pool;
	uint64_t seen = 0;

	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		while (!pool->stop && pool->round == seen)
			pthread_cond_wait(&pool->work, &pool->mutex);
		if (pool->stop)
			break;
		seen = pool->round;
		pthread_mutex_unlock(&pool->mutex);
		pool->run(pool->arg, member->index);
		pthread_mutex_lock(&pool->mutex);
		if (!--pool->busy)
			pthread_cond_signal(&pool->done);
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

int lineup_pool_create(uint32_t threads, struct lineup_pool **out)
{
	struct lineup_pool *pool = calloc(1, sizeof(*pool));
	sigset_t all, before;
	int err = 0;

	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->done, NULL);
	pool->members = calloc(threads, sizeof(*pool->members));
	if (!pool->members)
		err = -ENOMEM;
	/* Signals are the program's: they go to its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!err && pool->started + 1 < threads) {
		struct member *member = &pool->members[pool->started];

		member->pool = pool;
		member->index = pool->started + 1;
		err = -pthread_create(&member->thread, NULL, member_main, member);
		if (!err)
			pool->started++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		lineup_pool_destroy(pool);
		return err;
	}
	*out = pool;
	return 0;
}

void lineup_pool_destroy(struct lineup_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->mutex);
	for (uint32_t i = 0; i < pool->started; i++)
		pthread_join(pool->members[i].thread, NULL);
	pthread_cond_destroy(&pool->done);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->mutex);
	free(pool->members);
	free(pool);
}

void lineup_pool_run(struct lineup_pool *pool, void (*run)(void *arg, uint32_t thread), void *arg)
{
	pthread_mutex_lock(&pool->mutex);
	pool->run = run;
	pool->arg = arg;
	pool->busy = pool->started;
	pool->round++;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->mutex);
	run(arg, 0);
	pthread_mutex_lock(&pool->mutex);
	while (pool->busy)
		pthread_cond_wait(&pool->done, &pool->mutex);
	pthread_mutex_unlock(&pool->mutex);
}

uint32_t lineup_pool_cpus(void)
{
	cpu_set_t set;
	int count;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1; /* more than 1024 CPUs: the caller names a number */
	count = CPU_COUNT(&set);
	return (uint32_t)(count < LINEUP_THREADS_MAX ? count : LINEUP_THREADS_MAX);
}
