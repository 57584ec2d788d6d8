// SPDX-License-Identifier: MIT
// Streaming takes the memory of its ring, however large the gallery.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "search_bed.h"

enum { DIM = 256, BATCH = 50000, COPIES = 24, K = 10, RSS_KIB_MAX = 320 << 10 };

static char directory[256];
static char path[300];

/* The rows of every copy, made anew where they are needed: row 0 is the probes' best. */
static struct lineup_matrix batch_rows(void)
{
	struct lineup_matrix rows = rows_alloc(BATCH, DIM, LINEUP_FLOAT32);
	struct rng rng = { test_seed() };

	for (uint64_t i = 0; i < (uint64_t)BATCH * DIM; i++)
		rows_at(&rows, 0)[i] = (float)((double)(rng_u64(&rng) >> 40) * 0x1p-24 - 0.5);
	return rows;
}

/* Enrols @copies times the same rows; in a child, so that what it takes is not counted. */
static int enrol(void *arg)
{
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = DIM, .store = LINEUP_STORE_FLOAT16 };
	struct lineup_matrix rows = batch_rows();
	struct lineup_enrol_batch batch = { .vectors = rows };
	uint32_t copies = *(uint32_t *)arg;
	struct lineup_gallery *gallery;
	struct lineup_enrol *operation;
	struct lineup_ctx *ctx;

	if (CHILD_WRONG(lineup_ctx_create(NULL, &ctx) == 0) ||
	    CHILD_WRONG(lineup_gallery_create(ctx, path, &create, &gallery) == 0))
		return 1;
	if (CHILD_WRONG(lineup_enrol_begin(gallery, NULL, &operation) == 0))
		return 1;
	while (copies--)
		if (CHILD_WRONG(lineup_enrol_add(operation, &batch) == 0))
			return 1;
	if (CHILD_WRONG(lineup_enrol_commit(operation, NULL) == 0))
		return 1;
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	rows_free(&rows);
	return 0;
}

static uint64_t status_kib(const char *field)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			sscanf(line + strlen(field), ": %llu", &kib);
	if (f)
		fclose(f);
	return kib;
}

struct job {
	struct lineup_search_setup setup;
	uint32_t probes;
	uint32_t copies;
	uint64_t growth_kib_max; /* over what the process had before; 0: RSS_KIB_MAX for all of it */
};

/* The best candidates of a row that was enrolled many times are its copies, in the order of their ids. */
static int copies_of_the_first_row(const struct lineup_candidate *candidates, uint32_t count, const struct job *job)
{
	uint32_t expected = job->copies < K ? job->copies : K;

	if (CHILD_WRONG(count == K))
		return 1;
	for (uint32_t i = 0; i < expected; i++)
		if (CHILD_WRONG(candidates[i].template_id == candidates[0].template_id + (uint64_t)i * BATCH) ||
		    CHILD_WRONG(candidates[i].score == candidates[0].score))
			return 1;
	return 0;
}

static int search(void *arg)
{
	struct job *job = arg;
	struct lineup_matrix probes = { NULL, job->probes, DIM, LINEUP_FLOAT32 };
	struct lineup_candidate *candidates = calloc(job->probes * K, sizeof(*candidates));
	uint32_t *counts = calloc(job->probes, sizeof(*counts));
	struct lineup_search_facts facts;
	struct lineup_searcher *searcher;
	struct lineup_gallery *gallery;
	struct lineup_ctx *ctx;
	struct rng rng = { test_seed() };
	uint64_t before, peak;
	float *data = malloc((size_t)job->probes * DIM * sizeof(*data));

	if (CHILD_WRONG(candidates && counts && data) || CHILD_WRONG(lineup_ctx_create(NULL, &ctx) == 0))
		return 1;
	/* The first rows of a copy, as batch_rows makes them. */
	for (uint64_t i = 0; i < (uint64_t)job->probes * DIM; i++)
		data[i] = (float)((double)(rng_u64(&rng) >> 40) * 0x1p-24 - 0.5);
	probes.data = data;
	before = status_kib("VmRSS");
	if (CHILD_WRONG(lineup_gallery_open(ctx, path, NULL, &gallery) == 0) ||
	    CHILD_WRONG(lineup_searcher_create(gallery, &job->setup, &searcher) == 0))
		return 1;
	for (uint32_t i = 0; i < 2; i++)
		if (CHILD_WRONG(lineup_search(searcher, &probes, &OPTIONS(.k = K, .per = LINEUP_PER_TEMPLATE), candidates, counts,
					      &facts) == 0))
			return 1;
	peak = status_kib("VmHWM");
	if (CHILD_WRONG(!facts.resident) || CHILD_WRONG(facts.rows == (uint64_t)job->copies * BATCH) ||
	    CHILD_WRONG(facts.bytes_read > 0))
		return 1;
	if (copies_of_the_first_row(candidates, counts[0], job))
		return 1;
	fprintf(stderr, "# %u probes: peak %llu MiB, of it %llu MiB for the search\n", job->probes, (unsigned long long)peak >> 10,
		(unsigned long long)(peak - before) >> 10);
	if (CHILD_WRONG(peak > before))
		return 1;
	if (job->growth_kib_max)
		return CHILD_WRONG(peak - before < job->growth_kib_max);
	/* Kept in memory, what a pass reads would break the limit on its own. */
	return CHILD_WRONG(facts.bytes_read >> 10 > RSS_KIB_MAX) || CHILD_WRONG(peak < RSS_KIB_MAX);
}

static void begin(uint64_t bytes)
{
	struct statvfs fs;

	if (test_sanitized()) {
		print_message("skipped: a sanitizer multiplies memory\n");
		skip();
	}
	if (statvfs(test_tmp(), &fs) || (uint64_t)fs.f_bavail * fs.f_frsize < bytes) {
		print_message("skipped: %s has less than %llu MiB free\n", test_tmp(), (unsigned long long)bytes >> 20);
		skip();
	}
	snprintf(directory, sizeof(directory), "%s/lineup-bounded-XXXXXX", test_tmp());
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/gallery", directory);
}

static int clean(void **state)
{
	(void)state;
	if (directory[0])
		directory_remove(directory);
	directory[0] = 0;
	return 0;
}

static void a_gallery_larger_than_the_limit_streams_within_320_mib(void **state)
{
	uint32_t copies = COPIES;
	struct job job = { .setup = SETUP(.residency = LINEUP_STREAMED), .probes = 1, .copies = COPIES };

	(void)state;
	if (test_scale() < 1) {
		print_message("skipped: LINEUP_TEST_SCALE is below 1 and this gallery has 1.2 million rows\n");
		skip();
	}
	begin(2ULL << 30);
	assert_int_equal(in_child(enrol, &copies), 0);
	assert_int_equal(in_child(search, &job), 0);
	job.probes = LINEUP_PROBES_MAX;
	assert_int_equal(in_child(search, &job), 0);
}

static void a_small_ring_is_all_that_a_pass_takes(void **state)
{
	uint32_t copies = 6;
	/* 4 MiB of ring, and as much again for everything else; the codes are 84 MiB. */
	struct job job = { .setup = SETUP(.residency = LINEUP_STREAMED, .stream_bytes = 4 << 20, .threads = 1, .probes_max = 1),
			   .probes = 1,
			   .copies = copies,
			   .growth_kib_max = 8 << 10 };

	(void)state;
	begin(512 << 20);
	assert_int_equal(in_child(enrol, &copies), 0);
	assert_int_equal(in_child(search, &job), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_gallery_larger_than_the_limit_streams_within_320_mib, clean),
		cmocka_unit_test_teardown(a_small_ring_is_all_that_a_pass_takes, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
