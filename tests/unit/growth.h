/* SPDX-License-Identifier: MIT */
/* A gallery that grows by pieces, with subjects, lists and expiries by chance, and the options that are hard for it. */
#ifndef TEST_GROWTH_H
#define TEST_GROWTH_H

#include "kinds.h"

/* A gallery of one kind that grows: its rows go in by pieces, and it is searched after each. */
struct growth {
	struct rng *rng;
	struct bed *bed;
	struct lineup_matrix rows;
	struct lineup_matrix probe_rows;
	struct probes probes;
	uint64_t enrolled;
	uint32_t subjects; /* names that rows are spread over; 0: each row its own */
};

/*
 * A gallery of @kind of several small segments and a few journal rows, thinned, and @probes ranked for it. Its context stays:
 * what is set there holds for the searchers made next.
 */
void growth_begin(struct growth *g, struct rng *rng, const struct kind *kind, uint32_t dim, uint32_t rows, uint32_t probes);
void growth_end(struct growth *g);
/* Enrols the next @rows of g->rows. */
void growth_add(struct growth *g, uint64_t rows);
/* Deletes a few templates and one subject at random. */
void growth_thin(struct growth *g);
/* Any k up to @k_max, per subject or template, a time around the expiries, now and then a threshold; no lists. */
struct lineup_search_options growth_options(struct rng *rng, const struct probes *probes, uint32_t k_max);

#endif
