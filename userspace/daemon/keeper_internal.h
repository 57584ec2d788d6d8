/* SPDX-License-Identifier: MIT */
/* Inside the keeper: what its files share. */
#ifndef LINEUPD_KEEPER_INTERNAL_H
#define LINEUPD_KEEPER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "keeper.h"

enum {
	KEEPER_SEAL_BYTES = 16 << 20,      /* of the journal, from which it is sealed */
	KEEPER_POLICY_MS = 1000,           /* between looks at what is due */
	KEEPER_COMPACT_PAUSE_MS = 10000,   /* between compactions that nobody asked for */
	KEEPER_RECOVER_MS = 100,           /* before the second attempt to recover; doubles */
	KEEPER_PAUSE_MS_MAX = 10000,
};

/* What is being put together: a group of enrolments and deletions, or changes of attributes alone. */
struct keeper_batch {
	struct lineup_group *group;
	struct keeper_op *first, **end;    /* answered when it has ended, refused ones too: what they were told rests on those before */
	uint32_t operations;
	bool attributes_alone;
	bool put;                          /* attributes were */
	int err;                           /* it cannot be committed any more */
};

struct keeper {
	struct lineup_ctx *ctx;
	struct loop *loop;
	char name[DAEMON_NAME_BYTES_MAX + 1];
	char *path;
	struct lineup_gallery *gallery;
	struct lineup_share *share;
	struct lineup_gallery_info info;
	uint32_t k_max;
	struct attributes *attributes;     /* the keeper's thread; NULL: could not be opened again */
	atomic_ullong attributes_count;
	atomic_uint group_max, waiting_max, compact_percent;
	atomic_ullong maintain_bytes_per_second;
	atomic_uint waiting;

	pthread_mutex_t mutex;             /* guards the following */
	pthread_cond_t wake;               /* the keeper's thread */
	pthread_cond_t maintain_wake;      /* the maintainer; and who waits for its pause */
	struct keeper_op *first, **end;
	struct keeper_op *maintain_first, **maintain_end;
	bool settle;                       /* a compaction has ended: attributes shall be wiped as well */
	struct keeper_op *ended;           /* answered after that */
	bool gone;                         /* the keeper's thread has ended */
	bool ending;
	bool maintain_ending;              /* the keeper's thread is gone: nothing more is asked for */
	bool maintaining;
	bool hold_maintenance;             /* a recovery is under way: none runs */

	pthread_t thread, maintainer;
	bool has_thread, has_maintainer;
	struct keeper_batch batch;         /* the keeper's thread */
	uint64_t recover_at_ns, recover_pause_ms;
};

/* keeper.c */

void keeper_answer(struct keeper *k, struct keeper_op *op);

/* keeper_group.c: all in the keeper's thread */

void keeper_change(struct keeper *k, struct keeper_op *op); /* takes it into the batch, or answers it */
void keeper_flush(struct keeper *k);                        /* ends the batch */
/* Opens the attributes of the gallery as it is now. -errno: k->attributes is NULL. */
int keeper_attributes_open(struct keeper *k);

/* keeper_maintain.c */

void *keeper_maintain_thread(void *keeper);
/* The keeper's thread: recovers the gallery if it refuses changes and it is time. */
void keeper_recover(struct keeper *k);

#endif
