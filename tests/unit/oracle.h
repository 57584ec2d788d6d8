/* SPDX-License-Identifier: MIT */
/* What a search must answer, worked out by brute force from the documented definition alone: no code of the library is used. */
#ifndef TEST_ORACLE_H
#define TEST_ORACLE_H

#include <stddef.h>

#include "lineup.h"

/* One template, with the states of the gallery it belongs to: those of sequence since to until - 1. */
struct oracle_row {
	uint64_t id;
	uint64_t lists;
	int64_t expires;
	uint64_t since;
	uint64_t until;
	uint32_t subject; /* index of the name */
	char name[LINEUP_SUBJECT_BYTES_MAX + 1];
	float *vector;    /* [dim] as stored */
};

/* A gallery's whole history. Not locked: a test with threads brings its own lock. */
struct oracle {
	uint32_t dim;
	enum lineup_store store;
	struct oracle_row *rows; /* ascending ids */
	uint64_t count;
	uint64_t capacity;
	uint32_t subjects;
	uint64_t *names;         /* hash table of subjects */
	uint64_t names_size;
};

struct oracle_hit {
	float score;
	uint64_t row;
};

/* Every row there ever was, best first, for one probe. */
struct oracle_ranking {
	struct oracle_hit *hits;
	uint64_t count;
};

void oracle_init(struct oracle *oracle, uint32_t dim, enum lineup_store store);
void oracle_fini(struct oracle *oracle);

/* Normalises row @row of @m into @out[dim], as a probe is stored. */
void oracle_normalise(const struct lineup_matrix *m, uint64_t row, float *out);
/* The value that float16 storage keeps of @value. */
float oracle_half(float value);
/* The score of two stored vectors. */
float oracle_score(const float *a, const float *b, uint32_t dim);

/* Adds row @row of @m as template @id, there from operation @sequence on. */
void oracle_add(struct oracle *oracle, const struct lineup_matrix *m, uint64_t row, uint64_t id, const char *name, uint64_t lists,
		int64_t expires, uint64_t sequence);
/* Operation @sequence deletes what is there of a subject (or one template); the number of rows. */
uint64_t oracle_delete_subject(struct oracle *oracle, const char *name, uint64_t sequence);
uint64_t oracle_delete_template(struct oracle *oracle, uint64_t id, uint64_t sequence);
/* Templates of the state @sequence. */
uint64_t oracle_live(const struct oracle *oracle, uint64_t sequence);

/* Ranks all rows; a ranking that exists (else zeroed) is brought up to date with the rows added since. */
void oracle_rank(const struct oracle *oracle, const float *probe, struct oracle_ranking *ranking);
void oracle_ranking_fini(struct oracle_ranking *ranking);
/* The candidates of the state @sequence; returns their number. options->now must not be 0. @candidates is [options->k]. */
uint32_t oracle_pick(const struct oracle *oracle, const struct oracle_ranking *ranking, uint64_t sequence,
		     const struct lineup_search_options *options, struct lineup_candidate *candidates);
/* As oracle_pick for the templates of @name alone, whatever their lists: at most one. */
uint32_t oracle_verify(const struct oracle *oracle, const float *probe, uint64_t sequence, const char *name, int64_t now,
		       struct lineup_candidate *candidate);

/*
 * The second opinion, in long double and without regard to any order of additions: each of @candidates is within half a unit in
 * the last place (and 1e-12) of its true score, and no template (or subject) that may be reported but is not truly scores above the
 * last one by more. Returns NULL, or what is wrong (static).
 */
const char *oracle_doubt(const struct oracle *oracle, const float *probe, uint64_t sequence,
			 const struct lineup_search_options *options, const struct lineup_candidate *candidates, uint32_t count);
/* The same for normalisation: @stored against row @row of @m. */
const char *oracle_doubt_normalised(const struct lineup_matrix *m, uint64_t row, const float *stored);

#endif
