// SPDX-License-Identifier: MIT
// A program outside the tree that knows the library by its installed header and pkg-config file only: enrols, searches.
#include <lineup.h>
#include <stdio.h>
#include <string.h>

static void print(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	fprintf(stderr, "consumer: %d: %s\n", (int)level, message);
}

static int enrol(struct lineup_gallery *gallery)
{
	static const float rows[3][4] = { { 1, 0, 0, 0 }, { 0, 2, 0, 0 }, { 0, 0, 3, 3 } };
	static const char *const subjects[3] = { "one", "two", "three" };
	struct lineup_enrol_options options = { .size = sizeof(options) };
	struct lineup_enrol_batch batch = {
		.vectors = { .data = rows, .rows = 3, .dim = 4, .dtype = LINEUP_FLOAT32 },
		.subjects = subjects,
	};
	struct lineup_enrol *enrolment;

	return lineup_enrol_begin(gallery, &options, &enrolment) || lineup_enrol_add(enrolment, &batch) ||
	       lineup_enrol_commit(enrolment, NULL);
}

static int search(struct lineup_gallery *gallery)
{
	static const float probe[4] = { 0, 0.5f, 0, 0.1f };
	struct lineup_matrix probes = { .data = probe, .rows = 1, .dim = 4, .dtype = LINEUP_FLOAT32 };
	struct lineup_search_setup setup = { .size = sizeof(setup) };
	struct lineup_search_options options = { .size = sizeof(options), .k = 2 };
	struct lineup_candidate candidates[2];
	struct lineup_searcher *searcher;
	uint32_t count;
	int err;

	if (lineup_searcher_create(gallery, &setup, &searcher))
		return -1;
	err = lineup_search(searcher, &probes, &options, candidates, &count, NULL);
	lineup_searcher_destroy(searcher);
	if (err || count != 2)
		return -1;
	printf("liblineup %s: 1. %s %.6f  2. %s %.6f\n", lineup_version(), candidates[0].subject, candidates[0].score,
	       candidates[1].subject, candidates[1].score);
	return strcmp(candidates[0].subject, "two") || strcmp(candidates[1].subject, "three");
}

int main(int argc, char **argv)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = print };
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = 4 };
	struct lineup_gallery *gallery;
	struct lineup_ctx *ctx;
	int failed;

	if (argc != 2 || lineup_ctx_create(&options, &ctx))
		return 2;
	if (lineup_gallery_create(ctx, argv[1], &create, &gallery)) {
		lineup_ctx_destroy(ctx);
		return 1;
	}
	failed = enrol(gallery) || search(gallery);
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	return failed ? 1 : 0;
}
