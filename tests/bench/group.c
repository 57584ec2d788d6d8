// SPDX-License-Identifier: MIT
// Enrolments a second, of one row each: every one with its own sync, and in groups that share one.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lineup.h"

enum { DIM = 512, ROUNDS = 5 };

static void need(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "group: %s: %s\n", what, strerror(-err));
	exit(1);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void say(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "%s\n", message);
}

static void row(uint64_t n, float *vector, char name[24])
{
	for (uint32_t i = 0; i < DIM; i++) {
		n = n * 6364136223846793005u + 1442695040888963407u;
		vector[i] = (float)(int32_t)(n >> 32);
	}
	snprintf(name, 24, "%llx", (unsigned long long)n);
}

static void enrol_alone(struct lineup_gallery *gallery, const struct lineup_enrol_batch *batch)
{
	struct lineup_enrol *enrol;

	need(lineup_enrol_begin(gallery, NULL, &enrol), "begin");
	need(lineup_enrol_add(enrol, batch), "add");
	need(lineup_enrol_commit(enrol, NULL), "commit");
}

/* @size 0: no group. Returns enrolments a second. */
static double run(struct lineup_gallery *gallery, uint32_t size, uint32_t count, uint64_t *next)
{
	struct lineup_group_options options = { .size = sizeof(options) };
	double begun = seconds();

	for (uint32_t done = 0; done < count;) {
		struct lineup_group *group = NULL;

		if (size)
			need(lineup_group_begin(gallery, &group), "begin");
		for (uint32_t i = 0; i < (size ? size : 1); i++, done++) {
			float vector[DIM];
			char name[24];
			const char *subject = name;
			struct lineup_enrol_batch batch = { .vectors = { vector, 1, DIM, LINEUP_FLOAT32 }, .subjects = &subject };

			row(++*next, vector, name);
			if (size)
				need(lineup_group_enrol(group, &options, &batch, NULL), "enrol");
			else
				enrol_alone(gallery, &batch);
		}
		if (size)
			need(lineup_group_commit(group), "commit");
	}
	return count / (seconds() - begun);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 0, 1, 16, 256 };
	struct lineup_ctx_options ctx_options = { .size = sizeof(ctx_options), .log = say };
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = DIM };
	struct lineup_gallery *gallery;
	struct lineup_ctx *ctx;
	uint64_t next = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: group DIRECTORY (a new one, for a gallery)\n");
		return 2;
	}
	need(lineup_ctx_create(&ctx_options, &ctx), "context");
	need(lineup_gallery_create(ctx, argv[1], &create, &gallery), argv[1]);
	printf("enrolments of one row of dimension %d a second; median of %d, least, most\n", DIM, ROUNDS);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		double rate[ROUNDS];

		for (int r = 0; r < ROUNDS; r++)
			rate[r] = run(gallery, sizes[i], sizes[i] > 1 ? sizes[i] * 8 : 64, &next);
		qsort(rate, ROUNDS, sizeof(*rate), compare);
		if (sizes[i])
			printf("groups of %-4u", sizes[i]);
		else
			printf("each alone    ");
		printf(" %9.0f %9.0f %9.0f\n", rate[ROUNDS / 2], rate[0], rate[ROUNDS - 1]);
	}
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	return 0;
}
