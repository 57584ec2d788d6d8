/* SPDX-License-Identifier: MIT */
/* A search under way: from its request through the share to its reply. */
#ifndef LINEUPD_SEARCH_H
#define LINEUPD_SEARCH_H

#include <stdatomic.h>

#include "job.h"

enum {
	SEARCH_CELLS_MAX = 1 << 20,    /* probes times candidates of one request */
	SEARCH_TEMPLATES_MAX = 1024,   /* of an element that is searched for */
};

/* What the reply is: VSIM's, or LINEUP.SEARCH's. */
enum search_style { SEARCH_VSIM, SEARCH_LINEUP };

struct search {
	struct job job;                /* first */
	struct search *next, **at;     /* in the server's list, the loop thread's */
	enum search_style style;
	int version;                   /* of RESP */
	struct lineup_share_query query;
	char *element;                 /* VSIM ELE: its templates are the probes; NULL: the query has them */
	struct filter *filter;
	const struct resp_argument *filter_text;
	uint8_t *bitmap;
	uint64_t count;                /* VSIM: as asked, which may be more than any answer has */
	double epsilon;                /* VSIM: largest 1 - score */
	bool with_scores, with_attributes;
	/* Of the answer. */
	atomic_uint pending;           /* the submission, and the answer: the last to end hands the job back */
	atomic_ullong ticket;          /* 0: none yet */
	int err;
	char message[MESSAGE_BYTES];
	struct buffer reply;
	struct lineup_candidate *candidates; /* copies, if attributes must be looked up */
	uint32_t *counts;
	uint64_t rows;
	struct lineup_search_facts facts;
	uint32_t probes_most;
};

/* Begins: .query, and what else the request asked for, is set. Loop thread. */
void search_start(struct search *s);

/* search_reply.c: writes the reply; @attributes are needed if s->with_attributes. Any one thread. */
void search_render(struct search *s, const struct lineup_candidate *candidates, const uint32_t *counts,
		   struct attributes *attributes);

#endif
