/* SPDX-License-Identifier: MIT */
/* The bed of the share tests: queries whose answers are kept, and compared with the oracle for the state that they name. */
#ifndef TEST_SHARE_BED_H
#define TEST_SHARE_BED_H

#include "search_bed.h"
#include "share.h"

#define SHARE(...) ((struct lineup_share_setup){ .size = sizeof(struct lineup_share_setup), __VA_ARGS__ })

/* A query, and the answer it got. */
struct asked {
	struct lineup_share_query query;
	const struct probes *probes;   /* whose rankings the oracle has */
	uint64_t first;                /* of them: rows first .. first + query.probes.rows - 1 */
	uint64_t ticket;
	uint8_t *subjects;             /* bitmap, owned */
	char (*allowed)[LINEUP_SUBJECT_BYTES_MAX + 1]; /* the names that it lets through, ascending; owned */
	uint32_t allowed_count;
	/* Set by done. */
	atomic_bool ended;
	atomic_uint calls;
	uint64_t order;                /* counts the answers of the program */
	int err;
	char message[256];
	uint64_t rows;
	uint32_t k;
	struct lineup_candidate *candidates;
	uint32_t *counts;
	struct lineup_search_facts facts;
	uint32_t probes_most;
};

/* A query for rows [first, first + count) of @probes; options of @options with .now 1000 for 0. The caller may set other fields before asking. */
void asked_init(struct asked *a, const struct probes *probes, uint64_t first, uint64_t count, const struct lineup_search_options *options);
/* Submits it: what lineup_share_submit returns. */
int asked_submit(struct asked *a, struct lineup_share *share);
void asked_wait(struct asked *a);
void asked_fini(struct asked *a);
/* The answer must be the oracle's for the state in its facts. The bed's story and oracle are read. */
void asked_check(struct bed *bed, const struct asked *a);
bool asked_is_wrong(const struct bed *bed, const struct asked *a, char *why, size_t why_size);
/* Lets only the subjects of @allowed through. */
void asked_only(struct bed *bed, struct asked *a, const char *const *allowed, uint32_t count);

struct lineup_share *bed_share(struct bed *bed, struct lineup_crew *crew, const struct lineup_share_setup *setup);

/* A gallery of several segments and a journal, with lists, expiry, deletions and subjects of many templates. */
struct bed *share_town(struct rng *rng, uint32_t dim, uint64_t rows);
/* Options that a query there may have, and, one time in three, the subjects that it is for. */
struct lineup_search_options share_options(struct rng *rng);
void share_subjects(struct rng *rng, struct bed *bed, struct asked *a);

#endif
