// SPDX-License-Identifier: MIT
// The gate before any speed: answers against a brute force of its own, enrolled people found, strangers not; and baselines that must fail it.
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	LANES = 8,
	CHUNK_ROWS = 512,   /* rows that are read before the threads score them */
	POOL_MAX = 256,
	CALLS_MAX = 8,      /* of one batch size, so that single probes do not take all day */
	CALLS_SECONDS = 10, /* after which there is no further call: passes over a large gallery on a disk are slow */
};

/* ---- scores, as lineup.h and lineup-gallery(5) define them ---- */

/* Sum of the eight lanes in their fixed order. */
static double lanes_sum(const double lane[LANES])
{
	double even = (lane[0] + lane[4]) + (lane[2] + lane[6]);
	double odd = (lane[1] + lane[5]) + (lane[3] + lane[7]);

	return even + odd;
}

/* @a and @b are filled with zeros to @padded components, a multiple of eight. */
static double dot(const double *a, const double *b, uint32_t padded)
{
	double lane[LANES] = { 0 };

	for (uint32_t i = 0; i < padded; i += LANES) {
		lane[0] += a[i] * b[i];
		lane[1] += a[i + 1] * b[i + 1];
		lane[2] += a[i + 2] * b[i + 2];
		lane[3] += a[i + 3] * b[i + 3];
		lane[4] += a[i + 4] * b[i + 4];
		lane[5] += a[i + 5] * b[i + 5];
		lane[6] += a[i + 6] * b[i + 6];
		lane[7] += a[i + 7] * b[i + 7];
	}
	return lanes_sum(lane);
}

static void widen(const float *v, uint32_t dim, double *wide)
{
	for (uint32_t i = 0; i < dim; i++)
		wide[i] = (double)v[i];
}

/* What a probe becomes when it enters a search: divided by its norm, rounded to float32. @wide has @padded components. */
static void normalise(const float *probe, uint32_t dim, uint32_t padded, double *wide)
{
	double norm;

	memset(wide, 0, padded * sizeof(*wide));
	widen(probe, dim, wide);
	norm = sqrt(dot(wide, wide, padded));
	for (uint32_t i = 0; i < dim; i++)
		wide[i] = (double)(float)(wide[i] / norm);
}

/* ---- the true answers ---- */

static bool better(float score, uint64_t id, const struct lineup_candidate *than)
{
	return score > than->score || (score == than->score && id < than->template_id);
}

/* Puts @c with @score into the sorted @list of at most @k; with @distinct, each subject once, by its best template. */
static void list_insert(struct lineup_candidate *list, uint32_t *count, uint32_t k, const struct lineup_candidate *c, float score,
			bool distinct)
{
	uint32_t at = *count;

	if (*count == k && !better(score, c->template_id, &list[k - 1]))
		return;
	for (uint32_t i = 0; distinct && i < *count; i++) {
		if (strcmp(list[i].subject, c->subject) != 0)
			continue;
		if (!better(score, c->template_id, &list[i]))
			return;
		memmove(&list[i], &list[i + 1], (*count - i - 1) * sizeof(*list));
		at = --*count;
		break;
	}
	if (at == k)
		at--;
	else
		++*count;
	for (; at && better(score, c->template_id, &list[at - 1]); at--)
		list[at] = list[at - 1];
	list[at] = *c;
	list[at].score = score;
}

struct brute {
	struct bench_sample *sample;
	uint32_t padded;
	uint32_t threads;
	double *probes;                  /* [count][padded] */
	double *rows;                    /* [CHUNK_ROWS][padded] */
	struct lineup_candidate *chunk;  /* [CHUNK_ROWS], without scores */
	uint32_t chunk_rows;
	uint64_t done;
	lineup_progress_fn *progress;
	void *progress_arg;
};

/* A thread's probes against the chunk. */
static void brute_share(void *arg, uint32_t thread, uint32_t threads)
{
	struct brute *b = arg;
	struct bench_sample *s = b->sample;

	for (uint32_t p = thread; p < s->count; p += threads) {
		for (uint32_t r = 0; r < b->chunk_rows; r++) {
			const double *row = b->rows + (size_t)r * b->padded;
			float score = (float)dot(b->probes + (size_t)p * b->padded, row, b->padded);

			for (int per = 0; per < 2; per++)
				list_insert(s->truth[per] + (size_t)p * s->k, &s->counts[per][p], s->k, &b->chunk[r], score,
					    per == LINEUP_PER_SUBJECT);
		}
	}
}

static int brute_flush(struct brute *b)
{
	bench_parallel(b->threads, brute_share, b);
	b->done += b->chunk_rows;
	b->chunk_rows = 0;
	if (b->progress && !b->progress(b->progress_arg, b->done, b->sample->rows))
		return -ECANCELED;
	return 0;
}

static void candidate_of(const struct lineup_template *t, struct lineup_candidate *c)
{
	*c = (struct lineup_candidate){ .template_id = t->id };
	memcpy(c->subject, t->subject, sizeof(c->subject));
}

static int brute_template(void *arg, const struct lineup_template *t)
{
	struct brute *b = arg;

	candidate_of(t, &b->chunk[b->chunk_rows]);
	widen(t->vector, b->sample->dim, b->rows + (size_t)b->chunk_rows * b->padded);
	return ++b->chunk_rows == CHUNK_ROWS ? brute_flush(b) : 0;
}

static int brute_run(struct brute *b, struct lineup_gallery *gallery)
{
	struct bench_sample *s = b->sample;
	int err = -ENOMEM;

	b->padded = (s->dim + LANES - 1) / LANES * LANES;
	b->probes = calloc((size_t)s->count * b->padded, sizeof(*b->probes));
	b->rows = calloc((size_t)CHUNK_ROWS * b->padded, sizeof(*b->rows));
	b->chunk = calloc(CHUNK_ROWS, sizeof(*b->chunk));
	if (b->probes && b->rows && b->chunk) {
		for (uint32_t p = 0; p < s->count; p++)
			normalise(s->probes + (size_t)p * s->dim, s->dim, b->padded, b->probes + (size_t)p * b->padded);
		err = lineup_gallery_read(gallery, brute_template, b);
		if (!err)
			err = brute_flush(b);
	}
	free(b->probes);
	free(b->rows);
	free(b->chunk);
	return err;
}

/* ---- the sample ---- */

struct plant {
	struct bench_sample *sample;
	uint64_t seed;
	uint64_t row;
	uint32_t next;      /* probe that waits for its template */
};

/* The template that probe @p is made from: spread over the gallery, its first and its last among them. */
static uint64_t plant_row(const struct bench_sample *s, uint32_t p)
{
	return s->count > 1 ? p * (s->rows - 1) / (s->count - 1) : 0;
}

static void plant_probe(struct plant *plant, const struct lineup_template *t)
{
	struct bench_sample *s = plant->sample;
	uint32_t p = plant->next;
	float *probe = s->probes + (size_t)p * s->dim;

	bench_gaussian(plant->seed, p, s->dim, probe);
	if (s->kinds[p] == BENCH_ENROLLED) {
		candidate_of(t, &s->planted[p]);
		for (uint32_t i = 0; i < s->dim; i++)
			probe[i] = t->vector[i] + BENCH_NOISE * probe[i];
	} else if (s->kinds[p] == BENCH_FAR) {
		for (uint32_t i = 0; i < s->dim; i++)
			probe[i] = -t->vector[i];
	}
}

static int plant_template(void *arg, const struct lineup_template *t)
{
	struct plant *plant = arg;
	struct bench_sample *s = plant->sample;

	if (s->pool_count < POOL_MAX && plant->row >= s->pool_count * s->rows / POOL_MAX)
		candidate_of(t, &s->pool[s->pool_count++]);
	for (; plant->next < s->count && plant_row(s, plant->next) == plant->row; plant->next++)
		plant_probe(plant, t);
	plant->row++;
	return 0;
}

int bench_sample_init(struct bench_sample *sample, struct lineup_gallery *gallery, uint32_t count, uint32_t k, uint64_t seed,
		      uint32_t threads, lineup_progress_fn *progress, void *progress_arg)
{
	struct bench_sample s = { .count = count, .k = k };
	struct brute brute = { .sample = &s, .threads = threads, .progress = progress, .progress_arg = progress_arg };
	struct plant plant = { .sample = &s, .seed = seed };
	struct lineup_gallery_info info;
	int err = -ENOMEM;

	lineup_gallery_info(gallery, &info);
	s.dim = info.dim;
	s.rows = info.templates;
	s.probes = calloc((size_t)count * s.dim, sizeof(*s.probes));
	s.kinds = calloc(count, sizeof(*s.kinds));
	s.planted = calloc(count, sizeof(*s.planted));
	s.pool = calloc(POOL_MAX, sizeof(*s.pool));
	for (int per = 0; per < 2; per++) {
		s.truth[per] = calloc((size_t)count * k, sizeof(*s.truth[per]));
		s.counts[per] = calloc(count, sizeof(*s.counts[per]));
	}
	if (!s.probes || !s.kinds || !s.planted || !s.pool || !s.truth[0] || !s.truth[1] || !s.counts[0] || !s.counts[1])
		goto out;
	for (uint32_t p = 0; p < count; p++)
		s.kinds[p] = (enum bench_kind)(p % BENCH_KINDS);
	err = lineup_gallery_read(gallery, plant_template, &plant);
	if (!err)
		err = brute_run(&brute, gallery);
out:
	if (err)
		bench_sample_fini(&s);
	else
		*sample = s;
	return err;
}

void bench_sample_fini(struct bench_sample *sample)
{
	free(sample->probes);
	free(sample->kinds);
	free(sample->planted);
	free(sample->pool);
	for (int per = 0; per < 2; per++) {
		free(sample->truth[per]);
		free(sample->counts[per]);
	}
	*sample = (struct bench_sample){ 0 };
}

/* ---- judging ---- */

static bool same(const struct lineup_candidate *a, uint32_t a_count, const struct lineup_candidate *b, uint32_t b_count)
{
	if (a_count != b_count)
		return false;
	for (uint32_t i = 0; i < a_count; i++) {
		if (a[i].template_id != b[i].template_id || memcmp(&a[i].score, &b[i].score, sizeof(a[i].score)) != 0 ||
		    strcmp(a[i].subject, b[i].subject) != 0)
			return false;
	}
	return true;
}

/* One probe's answer, for @p of the sample. Whom it found is judged once, where subjects are asked for. */
static void judge_answer(const struct bench_sample *s, uint32_t p, enum lineup_search_per per, const struct lineup_candidate *list,
			 uint32_t count, struct bench_verdict *v)
{
	bool found = false, alarm = false;

	if (count > s->k)
		count = s->k;
	v->answers++;
	v->wrong += !same(list, count, s->truth[per] + (size_t)p * s->k, s->counts[per][p]);
	if (per != LINEUP_PER_SUBJECT)
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (!(list[i].score >= BENCH_THRESHOLD))
			continue;
		alarm = true;
		found |= strcmp(list[i].subject, s->planted[p].subject) == 0;
	}
	if (s->kinds[p] == BENCH_ENROLLED) {
		v->enrolled++;
		v->found += found;
	} else {
		v->strangers++;
		v->alarms += alarm;
	}
}

static bool passes(const struct bench_verdict *v)
{
	return v->answers && !v->wrong && v->enrolled && v->found == v->enrolled && v->strangers && !v->alarms;
}

bool bench_sample_sound(const struct bench_sample *sample)
{
	struct bench_verdict v = { 0 };

	for (uint32_t p = 0; p < sample->count; p++)
		judge_answer(sample, p, LINEUP_PER_SUBJECT, sample->truth[LINEUP_PER_SUBJECT] + (size_t)p * sample->k,
			     sample->counts[LINEUP_PER_SUBJECT][p], &v);
	return passes(&v);
}

int bench_gate_judge(const struct bench_sample *sample, const struct bench_matcher *matcher, uint32_t batch,
		     struct bench_verdict *verdict)
{
	struct bench_verdict v = { .matcher = matcher->name, .batch = batch };
	uint32_t calls = (sample->count + batch - 1) / batch;
	double begin = bench_seconds();
	float *probes = calloc((size_t)batch * sample->dim, sizeof(*probes));
	struct lineup_candidate *candidates = calloc((size_t)batch * sample->k, sizeof(*candidates));
	uint32_t *counts = calloc(batch, sizeof(*counts));
	int err = probes && candidates && counts ? 0 : -ENOMEM;

	if (calls > CALLS_MAX)
		calls = CALLS_MAX;
	for (uint32_t call = 0; !err && call < 2 * calls; call++) {
		enum lineup_search_per per = call % 2 ? LINEUP_PER_TEMPLATE : LINEUP_PER_SUBJECT;
		/* Of single probes the first three calls have one of each kind. */
		bool enough = call % 2 == 0 && call / 2 * batch >= BENCH_KINDS;
		uint32_t first = call / 2 * batch;

		if (enough && bench_seconds() - begin > CALLS_SECONDS)
			break;
		for (uint32_t i = 0; i < batch; i++)
			memcpy(probes + (size_t)i * sample->dim,
			       sample->probes + (size_t)((first + i) % sample->count) * sample->dim, sample->dim * sizeof(*probes));
		err = matcher->search(matcher->arg, probes, batch, sample->k, per, candidates, counts);
		for (uint32_t i = 0; !err && i < batch; i++)
			judge_answer(sample, (first + i) % sample->count, per, candidates + (size_t)i * sample->k, counts[i], &v);
	}
	v.pass = passes(&v);
	if (!err)
		*verdict = v;
	free(probes);
	free(candidates);
	free(counts);
	return err;
}

/* ---- baselines ---- */

static int search_always(void *arg, const float *probes, uint32_t count, uint32_t k, enum lineup_search_per per,
			 struct lineup_candidate *candidates, uint32_t *counts)
{
	const struct bench_sample *s = arg;

	(void)probes;
	(void)per;
	for (uint32_t p = 0; p < count; p++) {
		counts[p] = k < s->pool_count ? k : s->pool_count;
		for (uint32_t i = 0; i < counts[p]; i++) {
			candidates[(size_t)p * k + i] = s->pool[i];
			candidates[(size_t)p * k + i].score = 1;
		}
	}
	return 0;
}

static int search_at_random(void *arg, const float *probes, uint32_t count, uint32_t k, enum lineup_search_per per,
			    struct lineup_candidate *candidates, uint32_t *counts)
{
	const struct bench_sample *s = arg;
	uint64_t state = (uint64_t)per + 1;

	(void)probes;
	for (uint32_t p = 0; p < count; p++) {
		float score = 1;

		counts[p] = k < s->pool_count ? k : s->pool_count;
		for (uint32_t i = 0; i < counts[p]; i++) {
			uint64_t bits = bench_random(&state);

			/* Descending, as a matcher that wanted to be believed would answer. */
			score *= (float)(bits >> 40) / 16777216.0f;
			candidates[(size_t)p * k + i] = s->pool[(uint32_t)bits % s->pool_count];
			candidates[(size_t)p * k + i].score = score;
		}
	}
	return 0;
}

struct bench_matcher bench_gate_always(struct bench_sample *sample)
{
	return (struct bench_matcher){ "always-match baseline", search_always, sample };
}

struct bench_matcher bench_gate_at_random(struct bench_sample *sample)
{
	return (struct bench_matcher){ "random baseline", search_at_random, sample };
}
