/* SPDX-License-Identifier: MIT */
/* The crew: threads that do the work of any number of jobs, which take turns by the time they have had. */
#ifndef LINEUP_CREW_H
#define LINEUP_CREW_H

#include <pthread.h>

#include "gallery.h"

enum {
	LINEUP_CREW_REST_MS = 1000, /* between two calls of a job's rest */
};

/* A thread, and what it needs for re-ranking in any gallery. */
struct lineup_crew_worker {
	struct lineup_crew *crew;
	uint32_t index;             /* less than lineup_crew_threads */
	pthread_t thread;
	struct disk_record *record; /* room for the largest */
	float *vector;              /* [LINEUP_DIM_MAX] */
};

/* What a crew works at. The fields are the crew's after lineup_crew_add, but for .ready. */
struct lineup_crew_job {
	/* Does one piece of work in @worker's thread, which may be many threads at once; false: there was none. */
	bool (*work)(struct lineup_crew_job *job, struct lineup_crew_worker *worker);
	/* Now and then, while there is nothing to do. May be NULL. */
	void (*rest)(struct lineup_crew_job *job);
	/* Whether there may be something to do. The job sets it; setting it to true is followed by lineup_crew_call. */
	atomic_bool ready;
	uint64_t used_ns; /* of all threads */
	uint32_t inside;  /* threads that are in work or rest */
	struct lineup_crew_job *next;
};

/* @job is the caller's, and stays where it is until lineup_crew_remove. */
void lineup_crew_add(struct lineup_crew *crew, struct lineup_crew_job *job);
/* When it returns no thread is in the job, and none will be. Not from a thread of the crew. */
void lineup_crew_remove(struct lineup_crew *crew, struct lineup_crew_job *job);
/* There is work: for one thread, or for @all. Any thread, with any lock of the job's held. */
void lineup_crew_call(struct lineup_crew *crew, bool all);
struct lineup_ctx *lineup_crew_ctx(const struct lineup_crew *crew);

#endif
