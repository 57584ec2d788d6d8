// SPDX-License-Identifier: MIT
// Makes the gallery of random rows that the benchmark searches, and measures enrolment: in bulk, and one by one beside a bare append.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"

enum {
	CHUNK_BYTES = 256 << 20, /* of rows that are made and added at once */
	SINGLES_MAX = 2000,
	NAME_BYTES = 24,
	SEED = 42,
};

struct chunk {
	uint32_t dim;
	uint64_t first;
	uint64_t rows;
	float *vectors;        /* [rows][dim] */
	char (*names)[NAME_BYTES];
	const char **subjects;
};

/* One subject in eight has two templates. */
static void chunk_share(void *arg, uint32_t thread, uint32_t threads)
{
	struct chunk *c = arg;

	for (uint64_t r = c->rows * thread / threads; r < c->rows * (thread + 1) / threads; r++) {
		uint64_t number = c->first + r;

		bench_gaussian(SEED, number, c->dim, c->vectors + r * c->dim);
		snprintf(c->names[r], NAME_BYTES, "s%" PRIu64, number - (number % 8 == 7));
		c->subjects[r] = c->names[r];
	}
}

static int enrol_add(struct lineup_enrol *enrol, const struct chunk *c)
{
	struct lineup_enrol_batch batch = {
		.vectors = { .data = c->vectors, .rows = c->rows, .dim = c->dim, .dtype = LINEUP_FLOAT32 },
		.subjects = c->subjects,
	};

	return lineup_enrol_add(enrol, &batch);
}

/* The chunks of one operation. Making the rows does not count. */
static int enrol_chunks(struct lineup_enrol *enrol, struct chunk *c, struct bench_result *result)
{
	struct bench_enrolment *e = &result->enrolment;
	uint64_t total = result->options->rows, rows_max = c->rows;
	struct cli_progress progress;
	int err = 0;

	cli_progress_begin(&progress, "enrolling", CLI_ROWS);
	for (e->rows = 0; !err && e->rows < total; e->rows += c->rows) {
		double begin;

		c->first = e->rows;
		c->rows = total - e->rows < rows_max ? total - e->rows : rows_max;
		bench_parallel(result->threads, chunk_share, c);
		begin = bench_seconds();
		err = enrol_add(enrol, c);
		e->seconds += bench_seconds() - begin;
		if (!err && !cli_progress_update(&progress, e->rows + c->rows, total))
			err = -ECANCELED;
	}
	c->rows = rows_max;
	return err;
}

/* All rows in one operation, as lineup enrol does it. */
static int enrol_bulk(struct cli *cli, struct lineup_gallery *gallery, struct chunk *c, struct bench_result *result)
{
	struct lineup_enrol_options options = { .size = sizeof(options) };
	struct lineup_enrol *enrol;
	double begin;
	int err = lineup_enrol_begin(gallery, &options, &enrol);

	if (err)
		return cli_status(cli, err);
	err = enrol_chunks(enrol, c, result);
	if (err) {
		lineup_enrol_abort(enrol);
		return cli_status(cli, err);
	}
	begin = bench_seconds();
	err = lineup_enrol_commit(enrol, NULL);
	result->enrolment.seconds += bench_seconds() - begin;
	return cli_status(cli, err);
}

/* An operation of its own. */
static int enrol_single(struct lineup_gallery *gallery, const struct chunk *one, double *seconds)
{
	struct lineup_enrol_options options = { .size = sizeof(options) };
	struct lineup_enrol *enrol;
	double begin = bench_seconds();
	int err = lineup_enrol_begin(gallery, &options, &enrol);

	if (err)
		return err;
	err = enrol_add(enrol, one);
	if (err) {
		lineup_enrol_abort(enrol);
		return err;
	}
	err = lineup_enrol_commit(enrol, NULL);
	*seconds = bench_seconds() - begin;
	return err;
}

/* In turns, so that both meet the same disk. */
static int enrol_singles(struct cli *cli, struct lineup_gallery *gallery, struct chunk *c, int append, struct bench_result *result)
{
	struct bench_enrolment *e = &result->enrolment;
	double single[SINGLES_MAX], bare[SINGLES_MAX];
	struct cli_progress progress;
	double begin;
	uint64_t n = 0;

	c->first = e->rows;
	if (c->rows > SINGLES_MAX)
		c->rows = SINGLES_MAX;
	bench_parallel(result->threads, chunk_share, c);
	begin = bench_seconds();
	cli_progress_begin(&progress, "enrolling one by one", CLI_ROWS);
	while (n < c->rows && (n < 10 || bench_seconds() - begin < result->options->single_seconds)) {
		struct chunk one = { c->dim, c->first + n, 1, c->vectors + n * c->dim, NULL, c->subjects + n };
		int err = enrol_single(gallery, &one, &single[n]);

		if (err)
			return cli_status(cli, err);
		err = bench_append_measure(append, &bare[n]);
		if (err)
			return cli_fail(cli, "%s: appending to a scratch file: %s", result->options->dir, strerror(-err));
		n++;
		if (!cli_progress_update(&progress, n, 0))
			return cli_status(cli, -ECANCELED);
	}
	bench_sort(single, n);
	bench_sort(bare, n);
	bench_latency_of(single, n, &e->single);
	bench_latency_of(bare, n, &e->append);
	return 0;
}

int bench_enrol(struct cli *cli, const char *path, int append, struct bench_result *result)
{
	const struct bench_options *o = result->options;
	struct lineup_gallery_create_options options = { .size = sizeof(options), .dim = o->dim, .model = "random" };
	struct chunk c = { .dim = o->dim, .rows = CHUNK_BYTES / (o->dim * sizeof(float)) };
	struct lineup_gallery *gallery = NULL;
	int status;

	if (c.rows > o->rows)
		c.rows = o->rows;
	c.vectors = malloc(c.rows * o->dim * sizeof(*c.vectors));
	c.names = calloc(c.rows, sizeof(*c.names));
	c.subjects = calloc(c.rows, sizeof(*c.subjects));
	if (!c.vectors || !c.names || !c.subjects)
		status = cli_fail(cli, "no memory for %" PRIu64 " rows to enrol", c.rows);
	else
		status = cli_status(cli, lineup_gallery_create(cli->ctx, path, &options, &gallery));
	if (!status)
		status = enrol_bulk(cli, gallery, &c, result);
	if (!status)
		status = enrol_singles(cli, gallery, &c, append, result);
	/* So that every row lies where a pass reads it from. */
	if (!status)
		status = cli_status(cli, lineup_gallery_compact(gallery, NULL, NULL, NULL));
	result->enrolment.measured = !status;
	lineup_gallery_close(gallery);
	free(c.vectors);
	free(c.names);
	free(c.subjects);
	cli_progress_clear();
	return status;
}
