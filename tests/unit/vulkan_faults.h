/* SPDX-License-Identifier: MIT */
/* The bed of the tests of faulty Vulkan devices: one gallery, searchers under a plan of faults, and what may come of it. */
#ifndef TEST_VULKAN_FAULTS_H
#define TEST_VULKAN_FAULTS_H

#include "faulty_vk.h"
#include "growth.h"
#include "vulkan_bed.h"

struct faults {
	const struct vulkan *vulkan;
	struct rng rng;
	struct growth g;
	struct lineup_search_options options;
};

/* Skips where there is no device. The pieces and chunks of the context are small, so that a pass is many submissions. */
void faults_begin(struct faults *f);
void faults_end(struct faults *f);

/* A searcher made while nothing is wrong. Messages and counters begin anew. */
struct lineup_searcher *faults_searcher(struct faults *f, const struct lineup_search_setup *setup);
/* A search that gives the right answer, on whatever it is done, with no error said and no message twice. */
void faults_search(struct faults *f, struct lineup_searcher *searcher, const struct lineup_search_setup *setup);
/* Destroys the searcher; no object of Vulkan may be left. */
void faults_searcher_end(struct faults *f, struct lineup_searcher *searcher);

/*
 * Makes a searcher under @plan. It fails, with one error said and nothing left behind, or it gives right answers under the plan
 * and after it. Returns what making it did.
 */
int faults_try(struct faults *f, const struct lineup_search_setup *setup, const struct faulty_vk_plan *plan);

/* No error and no warning since the last searcher was made, or messages were cleared. */
void faults_say_nothing(struct faults *f);

/* Numbers 1 to @count, all or a sample of @most that has the first ones and the last: the next after @n, or 0. Begin with 0. */
uint64_t faults_next(uint64_t n, uint64_t count, uint64_t most);

#endif
