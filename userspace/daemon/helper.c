// SPDX-License-Identifier: MIT
// A few threads for what would hold up the loop and is neither a scan nor a change: passwords, reads of templates.
#include "helper.h"

#include <pthread.h>
#include <stdlib.h>

struct helper {
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct task *first, **end;
	uint32_t waiting;
	uint32_t threads;
	bool ending;
	pthread_t thread[HELPER_THREADS];
};

static void *helper_thread(void *arg)
{
	struct helper *h = arg;

	pthread_mutex_lock(&h->mutex);
	for (;;) {
		struct task *task = h->first;

		if (!task && h->ending)
			break;
		if (!task) {
			pthread_cond_wait(&h->wake, &h->mutex);
			continue;
		}
		h->first = task->next;
		if (!h->first)
			h->end = &h->first;
		h->waiting--;
		pthread_mutex_unlock(&h->mutex);
		task->run(task); /* it may be gone afterwards */
		pthread_mutex_lock(&h->mutex);
	}
	pthread_mutex_unlock(&h->mutex);
	return NULL;
}

int helper_create(struct helper **helper)
{
	struct helper *h = calloc(1, sizeof(*h));
	int err = h ? 0 : -ENOMEM;

	if (err)
		return err;
	pthread_mutex_init(&h->mutex, NULL);
	pthread_cond_init(&h->wake, NULL);
	h->end = &h->first;
	while (!err && h->threads < HELPER_THREADS) {
		err = -pthread_create(&h->thread[h->threads], NULL, helper_thread, h);
		if (!err)
			h->threads++;
	}
	if (err)
		helper_destroy(h);
	else
		*helper = h;
	return err;
}

void helper_destroy(struct helper *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->mutex);
	h->ending = true;
	pthread_cond_broadcast(&h->wake);
	pthread_mutex_unlock(&h->mutex);
	for (uint32_t i = 0; i < h->threads; i++)
		pthread_join(h->thread[i], NULL);
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->mutex);
	free(h);
}

int helper_submit(struct helper *h, struct task *task)
{
	int err = 0;

	task->next = NULL;
	pthread_mutex_lock(&h->mutex);
	if (h->waiting >= HELPER_WAITING_MAX) {
		err = -EBUSY;
	} else {
		*h->end = task;
		h->end = &task->next;
		h->waiting++;
		pthread_cond_signal(&h->wake);
	}
	pthread_mutex_unlock(&h->mutex);
	return err;
}
