/* SPDX-License-Identifier: MIT */
/* Kinds of galleries that are hard for a search with codes, bounds and early exits. */
#ifndef TEST_KINDS_H
#define TEST_KINDS_H

#include "search_bed.h"

struct kind {
	const char *name;
	enum lineup_dtype dtype;
	void (*fill)(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes);
};

extern const struct kind kinds[];
extern const uint32_t kinds_count;

/* Fills both matrices; the probes are such that the rows are hard for them, the first probe most of all. */
void kind_fill(const struct kind *kind, struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes);

#endif
