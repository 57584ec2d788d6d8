/* SPDX-License-Identifier: MIT */
/* A few threads for what would hold up the loop and is neither a scan nor a change: passwords, reads of templates. */
#ifndef LINEUPD_HELPER_H
#define LINEUPD_HELPER_H

#include "daemon.h"

enum { HELPER_THREADS = 4, HELPER_WAITING_MAX = 65536 };

struct helper;

int helper_create(struct helper **helper);
/* Runs what waits, then ends. Takes NULL. */
void helper_destroy(struct helper *helper);
/* Any thread. Calls task->run on a thread of the helper, which owns @task from here on. -EBUSY: too many wait. */
int helper_submit(struct helper *helper, struct task *task);

#endif
