// SPDX-License-Identifier: MIT
// The replies of searches: VSIM's as Redis shapes it, LINEUP.SEARCH's with all facts.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search.h"

/* Redis's scale: 1 the same direction, 0 the opposite one. */
static double similarity(const struct lineup_candidate *c)
{
	return (1 + (double)c->score) / 2;
}

static bool near_enough(const struct search *s, const struct lineup_candidate *c)
{
	return (1 - (double)c->score) / 2 <= s->epsilon;
}

static void write_attribute(struct search *s, const char *subject, struct attributes *attributes)
{
	const char *text = attributes_get(attributes, subject);

	if (text)
		resp_text(&s->reply, text);
	else
		resp_null(&s->reply, s->version);
}

static void write_element(struct search *s, const struct lineup_candidate *c, struct attributes *attributes)
{
	struct buffer *b = &s->reply;

	resp_text(b, c->subject);
	if (s->version >= 3 && s->with_scores && s->with_attributes)
		resp_array(b, 2);
	if (s->with_scores)
		resp_double(b, s->version, similarity(c));
	if (s->with_attributes)
		write_attribute(s, c->subject, attributes);
}

static int by_rank(const void *a, const void *b)
{
	const struct lineup_candidate *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->template_id < y->template_id ? -1 : x->template_id > y->template_id;
}

static int by_subject(const void *a, const void *b)
{
	const struct lineup_candidate *x = a, *y = b;
	int order = strcmp(x->subject, y->subject);

	return order ? order : by_rank(a, b);
}

/* The best of all probes' candidates, each subject once, by its best: the answer for an element of several templates. */
static struct lineup_candidate *merge(struct search *s, const struct lineup_candidate *candidates,
				      const uint32_t *counts, uint64_t *count)
{
	struct lineup_candidate *all = job_alloc(&s->job, s->rows * s->query.options.k * sizeof(*all));
	uint64_t n = 0, kept = 0;

	if (!all)
		return NULL;
	for (uint64_t row = 0; row < s->rows; row++)
		for (uint32_t i = 0; i < counts[row]; i++)
			all[n++] = candidates[row * s->query.options.k + i];
	qsort(all, n, sizeof(*all), by_subject);
	for (uint64_t i = 0; i < n; i++)
		if (!kept || strcmp(all[kept - 1].subject, all[i].subject))
			all[kept++] = all[i];
	qsort(all, kept, sizeof(*all), by_rank);
	*count = kept < s->query.options.k ? kept : s->query.options.k;
	return all;
}

static void render_vsim(struct search *s, const struct lineup_candidate *candidates, const uint32_t *counts,
			struct attributes *attributes)
{
	uint64_t count = s->rows ? counts[0] : 0;
	uint32_t values = 1 + s->with_scores + s->with_attributes;

	if (s->rows > 1) {
		candidates = merge(s, candidates, counts, &count);
		if (!candidates) {
			s->err = -ENOMEM;
			return;
		}
	}
	while (count && !near_enough(s, &candidates[count - 1]))
		count--;
	if (count == s->query.options.k && s->count > count) {
		s->err = -E2BIG;
		snprintf(s->message, sizeof(s->message), "COUNT: more than search.k_max (%u) elements match", s->query.options.k);
		return;
	}
	if (s->version >= 3 && values > 1)
		resp_map(&s->reply, s->version, count);
	else
		resp_array(&s->reply, count * values);
	for (uint64_t i = 0; i < count; i++)
		write_element(s, &candidates[i], attributes);
}

static void render_facts(struct search *s)
{
	const struct lineup_search_facts *f = &s->facts;
	struct buffer *b = &s->reply;
	char digest[2 * LINEUP_DIGEST_BYTES + 1];
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{ "sequence", f->sequence },
		{ "rows", f->rows },
		{ "rows_scanned", f->rows_scanned },
		{ "rows_reranked", f->rows_reranked },
		{ "bytes_read", f->bytes_read },
		{ "passes", f->passes },
		{ "threads", f->threads },
		{ "resident", f->resident },
		{ "devices", f->devices },
		{ "rows_on_device", f->rows_on_device },
		{ "bytes_on_device", f->bytes_on_device },
		{ "bytes_uploaded", f->bytes_uploaded },
		{ "overflows", f->overflows },
		{ "batch", s->probes_most },
	};

	resp_map(b, s->version, ARRAY_SIZE(counts) + 8);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		resp_text(b, counts[i].name);
		resp_integer(b, (long long)counts[i].value);
	}
	hex_text(digest, f->gallery_digest, sizeof(f->gallery_digest));
	resp_text(b, "digest");
	resp_text(b, digest);
	resp_text(b, "backend");
	resp_text(b, f->backend ? f->backend : "");
	resp_text(b, "io");
	resp_text(b, f->io ? f->io : "");
	resp_text(b, "staging");
	resp_text(b, f->staging ? f->staging : "");
	resp_text(b, "seconds");
	resp_double(b, s->version, f->seconds);
	resp_text(b, "seconds_scan");
	resp_double(b, s->version, f->seconds_scan);
	resp_text(b, "seconds_rerank");
	resp_double(b, s->version, f->seconds_rerank);
	resp_text(b, "candidates");
}

static void render_lineup(struct search *s, const struct lineup_candidate *candidates, const uint32_t *counts,
			  struct attributes *attributes)
{
	uint32_t k = s->query.options.k;
	struct buffer *b = &s->reply;

	render_facts(s);
	resp_array(b, s->rows);
	for (uint64_t row = 0; row < s->rows; row++) {
		resp_array(b, counts[row]);
		for (uint32_t i = 0; i < counts[row]; i++) {
			const struct lineup_candidate *c = &candidates[row * k + i];

			resp_array(b, s->with_attributes ? 4 : 3);
			resp_text(b, c->subject);
			resp_float(b, s->version, c->score);
			resp_integer(b, (long long)c->template_id);
			if (s->with_attributes)
				write_attribute(s, c->subject, attributes);
		}
	}
}

void search_render(struct search *s, const struct lineup_candidate *candidates, const uint32_t *counts,
		   struct attributes *attributes)
{
	if (s->style == SEARCH_VSIM)
		render_vsim(s, candidates, counts, attributes);
	else
		render_lineup(s, candidates, counts, attributes);
}
