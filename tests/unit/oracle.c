// SPDX-License-Identifier: MIT
// Brute force search in the documented arithmetic, and a second opinion on it in long double.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

/* Tests may stop on lack of memory. */
static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* The place of @name in the table: a row of that name, or 0. The table holds row numbers + 1. */
static uint64_t *find_name(const struct oracle *oracle, const char *name)
{
	uint64_t hash = 0xcbf29ce484222325, *place;

	for (const char *c = name; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	do
		place = &oracle->names[hash++ & (oracle->names_size - 1)];
	while (*place && strcmp(oracle->rows[*place - 1].name, name));
	return place;
}

/* Gives the newest row its subject's number. */
static void number_subject(struct oracle *oracle)
{
	struct oracle_row *r = &oracle->rows[oracle->count - 1];
	uint64_t *place;

	if (2 * (oracle->subjects + 1ULL) > oracle->names_size) {
		oracle->names_size = oracle->names_size ? 2 * oracle->names_size : 64;
		free(oracle->names);
		oracle->names = need(calloc(oracle->names_size, sizeof(*oracle->names)));
		for (uint64_t i = 0; i + 1 < oracle->count; i++)
			*find_name(oracle, oracle->rows[i].name) = i + 1;
	}
	place = find_name(oracle, r->name);
	r->subject = *place ? oracle->rows[*place - 1].subject : oracle->subjects++;
	*place = oracle->count;
}

void oracle_init(struct oracle *oracle, uint32_t dim, enum lineup_store store)
{
	memset(oracle, 0, sizeof(*oracle));
	oracle->dim = dim;
	oracle->store = store;
}

void oracle_fini(struct oracle *oracle)
{
	for (uint64_t i = 0; i < oracle->count; i++)
		free(oracle->rows[i].vector);
	free(oracle->rows);
	free(oracle->names);
	memset(oracle, 0, sizeof(*oracle));
}

/* The documented order: eight lanes, folded 4 + 4, 2 + 2, 1 + 1. */
static double fold(const double lane[8])
{
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static double dot_float(const float *a, const float *b, uint32_t dim)
{
	double lane[8] = { 0 };

	for (uint32_t i = 0; i < dim; i++) {
		double product = (double)a[i] * (double)b[i];

		lane[i % 8] += product;
	}
	return fold(lane);
}

float oracle_score(const float *a, const float *b, uint32_t dim)
{
	return (float)dot_float(a, b, dim);
}

static void normalise_double(const double *v, uint32_t dim, float *out)
{
	double lane[8] = { 0 }, largest = 0, norm;
	int exponent;

	for (uint32_t i = 0; i < dim; i++)
		largest = fmax(largest, fabs(v[i]));
	frexp(largest, &exponent); /* largest = f 2^exponent, f in [0.5, 1) */
	for (uint32_t i = 0; i < dim; i++) {
		double x = ldexp(v[i], -exponent);
		double product = x * x;

		lane[i % 8] += product;
	}
	norm = sqrt(fold(lane));
	for (uint32_t i = 0; i < dim; i++)
		out[i] = (float)(ldexp(v[i], -exponent) / norm);
}

void oracle_normalise(const struct lineup_matrix *m, uint64_t row, float *out)
{
	const float *v;
	double norm;

	if (m->dtype == LINEUP_FLOAT64) {
		normalise_double((const double *)m->data + row * m->dim, m->dim, out);
		return;
	}
	v = (const float *)m->data + row * m->dim;
	norm = sqrt(dot_float(v, v, m->dim));
	for (uint32_t i = 0; i < m->dim; i++)
		out[i] = (float)((double)v[i] / norm);
}

float oracle_half(float value)
{
	int exponent;
	double unit;

	if (value == 0)
		return value;
	frexp(value, &exponent);
	/* Eleven significant bits, down to the unit of the subnormals. */
	unit = ldexp(1, exponent - 11 > -24 ? exponent - 11 : -24);
	return (float)copysign(rint(value / unit) * unit, value);
}

void oracle_add(struct oracle *oracle, const struct lineup_matrix *m, uint64_t row, uint64_t id, const char *name, uint64_t lists,
		int64_t expires, uint64_t sequence)
{
	struct oracle_row *r;

	if (oracle->count == oracle->capacity) {
		oracle->capacity = oracle->capacity ? 2 * oracle->capacity : 64;
		oracle->rows = need(realloc(oracle->rows, oracle->capacity * sizeof(*oracle->rows)));
	}
	r = &oracle->rows[oracle->count++];
	memset(r, 0, sizeof(*r));
	r->id = id;
	r->lists = lists;
	r->expires = expires;
	r->since = sequence;
	r->until = UINT64_MAX;
	strncpy(r->name, name, sizeof(r->name) - 1);
	number_subject(oracle);
	r->vector = need(malloc(oracle->dim * sizeof(float)));
	oracle_normalise(m, row, r->vector);
	if (oracle->store == LINEUP_STORE_FLOAT16)
		for (uint32_t i = 0; i < oracle->dim; i++)
			r->vector[i] = oracle_half(r->vector[i]);
}

static bool there(const struct oracle_row *r, uint64_t sequence)
{
	return r->since <= sequence && sequence < r->until;
}

uint64_t oracle_delete_subject(struct oracle *oracle, const char *name, uint64_t sequence)
{
	uint64_t deleted = 0;

	for (uint64_t i = 0; i < oracle->count; i++)
		if (oracle->rows[i].until == UINT64_MAX && !strcmp(oracle->rows[i].name, name)) {
			oracle->rows[i].until = sequence;
			deleted++;
		}
	return deleted;
}

uint64_t oracle_delete_template(struct oracle *oracle, uint64_t id, uint64_t sequence)
{
	for (uint64_t i = 0; i < oracle->count; i++)
		if (oracle->rows[i].until == UINT64_MAX && oracle->rows[i].id == id) {
			oracle->rows[i].until = sequence;
			return 1;
		}
	return 0;
}

uint64_t oracle_live(const struct oracle *oracle, uint64_t sequence)
{
	uint64_t live = 0;

	for (uint64_t i = 0; i < oracle->count; i++)
		live += there(&oracle->rows[i], sequence);
	return live;
}

/* Rows ascend in ids, so that a row's index stands for its id. */
static int hit_order(const void *a, const void *b)
{
	const struct oracle_hit *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

void oracle_rank(const struct oracle *oracle, const float *probe, struct oracle_ranking *ranking)
{
	ranking->hits = need(realloc(ranking->hits, (oracle->count + 1) * sizeof(*ranking->hits)));
	for (uint64_t i = ranking->count; i < oracle->count; i++) {
		ranking->hits[i].score = oracle_score(probe, oracle->rows[i].vector, oracle->dim);
		ranking->hits[i].row = i;
	}
	ranking->count = oracle->count;
	qsort(ranking->hits, ranking->count, sizeof(*ranking->hits), hit_order);
}

void oracle_ranking_fini(struct oracle_ranking *ranking)
{
	free(ranking->hits);
	memset(ranking, 0, sizeof(*ranking));
}

static bool may_match(const struct oracle_row *r, uint64_t sequence, const struct lineup_search_options *options)
{
	if (!there(r, sequence))
		return false;
	if (options->lists && !(r->lists & options->lists))
		return false;
	return !(0 < r->expires && r->expires <= options->now);
}

static void candidate_set(struct lineup_candidate *c, const struct oracle_row *r, float score)
{
	memset(c, 0, sizeof(*c));
	c->template_id = r->id;
	c->score = score;
	memcpy(c->subject, r->name, sizeof(c->subject));
}

uint32_t oracle_pick(const struct oracle *oracle, const struct oracle_ranking *ranking, uint64_t sequence,
		     const struct lineup_search_options *options, struct lineup_candidate *candidates)
{
	bool *seen = need(calloc(oracle->subjects + 1, sizeof(*seen)));
	uint32_t count = 0;

	for (uint64_t i = 0; i < ranking->count && count < options->k; i++) {
		const struct oracle_row *r = &oracle->rows[ranking->hits[i].row];

		if (!may_match(r, sequence, options))
			continue;
		if (options->flags & LINEUP_SEARCH_THRESHOLD && !(ranking->hits[i].score >= options->threshold))
			continue;
		if (options->per == LINEUP_PER_SUBJECT && seen[r->subject])
			continue;
		seen[r->subject] = true;
		candidate_set(&candidates[count++], r, ranking->hits[i].score);
	}
	free(seen);
	return count;
}

uint32_t oracle_verify(const struct oracle *oracle, const float *probe, uint64_t sequence, const char *name, int64_t now,
		       struct lineup_candidate *candidate)
{
	const struct lineup_search_options options = { .now = now };
	const struct oracle_row *best = NULL;
	float best_score = 0;

	for (uint64_t i = 0; i < oracle->count; i++) {
		const struct oracle_row *r = &oracle->rows[i];
		float score;

		if (!may_match(r, sequence, &options) || strcmp(r->name, name))
			continue;
		score = oracle_score(probe, r->vector, oracle->dim);
		if (!best || score > best_score) {
			best = r;
			best_score = score;
		}
	}
	if (best)
		candidate_set(candidate, best, best_score);
	return best != NULL;
}

static long double dot_true(const float *a, const float *b, uint32_t dim)
{
	long double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (long double)a[i] * (long double)b[i];
	return sum;
}

/* Half the distance from @value to its neighbour away from zero; at least half a subnormal. */
static long double half_ulp(float value)
{
	float magnitude = fabsf(value);

	return ((long double)nextafterf(magnitude, INFINITY) - (long double)magnitude) / 2;
}

#define SLACK 1e-12L

/* What a template that is not reported may truly score: no more than its subject's candidate, or else than the last one. */
static long double ceiling(const struct oracle_row *r, enum lineup_search_per per, const struct lineup_candidate *candidates,
			   uint32_t count, long double floor)
{
	for (uint32_t i = 0; per == LINEUP_PER_SUBJECT && i < count; i++)
		if (!strcmp(candidates[i].subject, r->name))
			return (long double)candidates[i].score + half_ulp(candidates[i].score) + SLACK;
	return floor;
}

static uint32_t candidate_of(const struct lineup_candidate *candidates, uint32_t count, uint64_t id)
{
	uint32_t i = 0;

	while (i < count && candidates[i].template_id != id)
		i++;
	return i;
}

const char *oracle_doubt(const struct oracle *oracle, const float *probe, uint64_t sequence,
			 const struct lineup_search_options *options, const struct lineup_candidate *candidates, uint32_t count)
{
	long double floor = -INFINITY;
	uint32_t found = 0;

	if (count == options->k)
		floor = (long double)candidates[count - 1].score + half_ulp(candidates[count - 1].score) + SLACK;
	else if (options->flags & LINEUP_SEARCH_THRESHOLD)
		floor = (long double)options->threshold + half_ulp(options->threshold) + SLACK;
	for (uint64_t i = 0; i < oracle->count; i++) {
		const struct oracle_row *r = &oracle->rows[i];
		long double truth;
		uint32_t j;

		if (!may_match(r, sequence, options))
			continue;
		truth = dot_true(probe, r->vector, oracle->dim);
		j = candidate_of(candidates, count, r->id);
		if (j == count && truth > ceiling(r, options->per, candidates, count, floor))
			return "a template that was not reported truly scores higher than one that was";
		if (j == count)
			continue;
		found++;
		if (fabsl((long double)candidates[j].score - truth) > half_ulp(candidates[j].score) + SLACK)
			return "a reported score is not the true one rounded";
	}
	return found == count ? NULL : "a reported template is not in the gallery, or may not match";
}

const char *oracle_doubt_normalised(const struct lineup_matrix *m, uint64_t row, const float *stored)
{
	long double sum = 0, largest = 0, norm, x;

	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < m->dim; i++) {
			uint64_t at = row * m->dim + i;

			x = m->dtype == LINEUP_FLOAT64 ? (long double)((const double *)m->data)[at] : ((const float *)m->data)[at];
			if (!pass)
				largest = fmaxl(largest, fabsl(x));
			else
				sum += x / largest * (x / largest);
		}
	}
	norm = sqrtl(sum);
	for (uint32_t i = 0; i < m->dim; i++) {
		uint64_t at = row * m->dim + i;

		x = m->dtype == LINEUP_FLOAT64 ? (long double)((const double *)m->data)[at] : ((const float *)m->data)[at];
		if (fabsl((long double)stored[i] - x / largest / norm) > half_ulp(stored[i]) * (1 + 1e-6L))
			return "a stored component is not the true one rounded";
	}
	return NULL;
}
