/* SPDX-License-Identifier: MIT */
/* A fixed set of threads that run one function together and wait for the next. */
#ifndef LINEUP_POOL_H
#define LINEUP_POOL_H

#include "internal.h"

struct lineup_pool;

/* @threads counts the caller of lineup_pool_run: threads - 1 are started. -EAGAIN, -ENOMEM; silent. */
int lineup_pool_create(uint32_t threads, struct lineup_pool **pool);
void lineup_pool_destroy(struct lineup_pool *pool);
/* Calls run(arg, i) for i = 0 to threads - 1, each in its own thread, 0 in the caller's; returns when all have returned. One caller at a time. */
void lineup_pool_run(struct lineup_pool *pool, void (*run)(void *arg, uint32_t thread), void *arg);
/* CPUs this process may run on, at most LINEUP_THREADS_MAX. */
uint32_t lineup_pool_cpus(void);

#endif
