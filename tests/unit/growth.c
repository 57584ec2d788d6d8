// SPDX-License-Identifier: MIT
// Rows go in with subjects, lists and expiries by chance; templates go out; options meet the edges of both.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "growth.h"

void growth_add(struct growth *g, uint64_t rows)
{
	char (*text)[16] = calloc(rows, sizeof(*text));
	const char **names = calloc(rows, sizeof(*names));
	uint64_t *lists = calloc(rows, sizeof(*lists));
	int64_t *expires = calloc(rows, sizeof(*expires));

	assert_true(text && names && lists && expires);
	for (uint64_t i = 0; i < rows; i++) {
		/* The lower the number the more templates: a few subjects have hundreds. */
		double u = rng_unit(g->rng);

		snprintf(text[i], sizeof(text[i]), "s%u", (unsigned int)(u * u * u * g->subjects));
		names[i] = text[i];
		lists[i] = rng_u64(g->rng) & rng_u64(g->rng) & rng_u64(g->rng);
		expires[i] = rng_below(g->rng, 4) ? 0 : 998 + rng_below(g->rng, 5);
	}
	bed_enrol(g->bed, &g->rows, g->enrolled, rows, g->subjects ? names : NULL, lists, expires);
	g->enrolled += rows;
	free(expires);
	free(lists);
	free(names);
	free(text);
}

void growth_thin(struct growth *g)
{
	for (uint32_t i = 0; i < 3; i++) {
		const struct oracle_row *r = &g->bed->oracle.rows[rng_below(g->rng, (uint32_t)g->bed->oracle.count)];
		char name[LINEUP_SUBJECT_BYTES_MAX + 1];

		if (r->until != UINT64_MAX)
			continue;
		snprintf(name, sizeof(name), "%s", r->name);
		if (i)
			bed_delete_template(g->bed, r->id);
		else
			bed_delete_subject(g->bed, name);
	}
}

/* A threshold at, just above or near what the probes' rows score. */
static float random_threshold(struct rng *rng, const struct probes *probes)
{
	const struct oracle_ranking *ranking = &probes->rankings[rng_below(rng, (uint32_t)probes->matrix.rows)];
	float score;

	if (!ranking->count)
		return 0;
	score = ranking->hits[rng_below(rng, ranking->count < 20 ? (uint32_t)ranking->count : 20)].score;
	switch (rng_below(rng, 4)) {
	case 0:
		return score;
	case 1:
		return nextafterf(score, INFINITY);
	case 2:
		return 0;
	default:
		return (float)(rng_unit(rng) * 2 - 1);
	}
}

struct lineup_search_options growth_options(struct rng *rng, const struct probes *probes, uint32_t k_max)
{
	static const uint32_t ks[] = { 1, 2, 10, 10, 10, 50, 100, LINEUP_K_MAX };
	uint32_t k = ks[rng_below(rng, ARRAY_SIZE(ks))];
	struct lineup_search_options options = OPTIONS(.k = k < k_max ? k : k_max);

	options.per = rng_below(rng, 2) ? LINEUP_PER_SUBJECT : LINEUP_PER_TEMPLATE;
	options.now = 997 + rng_below(rng, 7);
	if (!rng_below(rng, 3)) {
		options.flags = LINEUP_SEARCH_THRESHOLD;
		options.threshold = random_threshold(rng, probes);
	}
	return options;
}

void growth_begin(struct growth *g, struct rng *rng, const struct kind *kind, uint32_t dim, uint32_t rows, uint32_t probes)
{
	*g = (struct growth){ .rng = rng, .bed = bed_open(dim, LINEUP_STORE_FLOAT32), .subjects = rows / 8 };
	g->bed->story = kind->name;
	g->bed->ctx->record_bytes_max = 256 << 10;
	g->bed->ctx->journal_seal_bytes = 512 << 10;
	g->rows = rows_alloc(rows, dim, kind->dtype);
	g->probe_rows = rows_alloc(probes, dim, kind->dtype);
	kind_fill(kind, rng, &g->rows, &g->probe_rows);
	growth_add(g, rows - rows / 10);
	growth_add(g, rows / 10 - 50);
	growth_add(g, 50);
	growth_thin(g);
	probes_init(&g->probes, g->bed, &g->probe_rows);
}

void growth_end(struct growth *g)
{
	probes_fini(&g->probes);
	rows_free(&g->probe_rows);
	rows_free(&g->rows);
	bed_close(g->bed);
}
