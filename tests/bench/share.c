// SPDX-License-Identifier: MIT
// Measures the shared scan against lineup_search in interleaved rounds: share GALLERY [rows] [dim] [rounds]; makes the gallery if there is none.
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lineup.h"

enum { ROUNDS_MAX = 64, K = 10, BATCH_MAX = 1024, OUTSTANDING = 512, SATURATED = 2048, SINGLES = 5, PIECE = 10000 };

enum { SEARCH_256, SEARCH_1024, SHARE_FULL, SEARCH_ONE, SHARE_ONE, FIGURES };
static const char *const figure_name[FIGURES] = { "search, batches of 256", "search, batches of 1024", "share, 512 queries at a time",
						  "search, one probe", "share, one probe" };

static struct lineup_ctx *ctx;
static uint32_t dim;

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "share: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void log_line(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "%s\n", message);
}

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Sums of uniform numbers are near enough to a Gaussian for speed. */
static void fill(float *rows, uint64_t count, uint64_t *seed)
{
	for (uint64_t i = 0; i < count * dim; i++) {
		float sum = 0;

		for (int j = 0; j < 4; j++) {
			*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			sum += (float)(*seed >> 40) * 0x1p-24f - 0.5f;
		}
		rows[i] = sum;
	}
}

static void make_gallery(const char *path, uint64_t rows)
{
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = dim, .model = "bench" };
	struct lineup_gallery *gallery;
	struct lineup_enrol *enrol;
	float *piece = malloc((size_t)PIECE * dim * sizeof(*piece));
	uint64_t seed = 1;

	must(lineup_gallery_create(ctx, path, &create, &gallery), "create");
	must(lineup_enrol_begin(gallery, NULL, &enrol), "enrol");
	for (uint64_t i = 0; i < rows; i += PIECE) {
		struct lineup_enrol_batch batch = { .vectors = { piece, rows - i < PIECE ? rows - i : PIECE, dim, LINEUP_FLOAT32 } };

		fill(piece, batch.vectors.rows, &seed);
		must(lineup_enrol_add(enrol, &batch), "add");
	}
	must(lineup_enrol_commit(enrol, NULL), "commit");
	lineup_gallery_close(gallery);
	free(piece);
}

/* Queries of one probe each; every answer asks the next. */
struct crowd {
	struct lineup_share *share;
	const float *probes;
	pthread_mutex_t mutex;
	uint32_t asked, answered;
	uint64_t most;
	sem_t all;
};

static void ask(struct crowd *crowd);

static void answered(void *arg, const struct lineup_share_answer *answer)
{
	struct crowd *crowd = arg;
	bool more, last;

	must(answer->err, "answer");
	pthread_mutex_lock(&crowd->mutex);
	more = crowd->asked < SATURATED;
	last = ++crowd->answered == SATURATED;
	crowd->most = answer->probes_most > crowd->most ? answer->probes_most : crowd->most;
	pthread_mutex_unlock(&crowd->mutex);
	if (more)
		ask(crowd);
	if (last)
		sem_post(&crowd->all);
}

static void ask(struct crowd *crowd)
{
	struct lineup_share_query query = {
		.size = sizeof(query), .priority = LINEUP_PRIORITY_DEFAULT, .done = answered, .arg = crowd,
		.probes = { NULL, 1, dim, LINEUP_FLOAT32 }, .options = { .size = sizeof(query.options), .k = K },
	};
	uint32_t number;

	pthread_mutex_lock(&crowd->mutex);
	number = crowd->asked++;
	pthread_mutex_unlock(&crowd->mutex);
	if (number >= SATURATED)
		return;
	query.client = number % 16;
	query.probes.data = crowd->probes + (size_t)(number % BATCH_MAX) * dim;
	must(lineup_share_submit(crowd->share, &query, NULL), "submit");
}

static double saturate(struct lineup_share *share, const float *probes, uint64_t rows)
{
	struct crowd crowd = { .share = share, .probes = probes, .mutex = PTHREAD_MUTEX_INITIALIZER };
	double begin = now_seconds();

	sem_init(&crowd.all, 0, 0);
	for (uint32_t i = 0; i < OUTSTANDING; i++)
		ask(&crowd);
	sem_wait(&crowd.all);
	return (double)rows * SATURATED / (now_seconds() - begin) * 1e-6;
}

static double batches(struct lineup_searcher *searcher, const float *probes, uint32_t batch, uint64_t rows)
{
	static struct lineup_candidate candidates[BATCH_MAX * K];
	static uint32_t counts[BATCH_MAX];
	struct lineup_search_options options = { .size = sizeof(options), .k = K };
	struct lineup_matrix m = { probes, batch, dim, LINEUP_FLOAT32 };
	double begin = now_seconds();

	for (uint32_t i = 0; i < BATCH_MAX; i += batch)
		must(lineup_search(searcher, &m, &options, candidates, counts, NULL), "search");
	return (double)rows * BATCH_MAX / (now_seconds() - begin) * 1e-6;
}

static double search_one(struct lineup_searcher *searcher, const float *probes)
{
	struct lineup_candidate candidates[K];
	uint32_t counts[1];
	struct lineup_search_options options = { .size = sizeof(options), .k = K };
	struct lineup_matrix m = { probes, 1, dim, LINEUP_FLOAT32 };
	double begin = now_seconds();

	for (uint32_t i = 0; i < SINGLES; i++)
		must(lineup_search(searcher, &m, &options, candidates, counts, NULL), "search");
	return (now_seconds() - begin) / SINGLES * 1e3;
}

static void post(void *arg, const struct lineup_share_answer *answer)
{
	must(answer->err, "answer");
	sem_post(arg);
}

static double share_one(struct lineup_share *share, const float *probes)
{
	sem_t sem;
	struct lineup_share_query query = {
		.size = sizeof(query), .done = post, .arg = &sem, .probes = { probes, 1, dim, LINEUP_FLOAT32 },
		.options = { .size = sizeof(query.options), .k = K },
	};
	double begin;

	sem_init(&sem, 0, 0);
	begin = now_seconds();
	for (uint32_t i = 0; i < SINGLES; i++) {
		must(lineup_share_submit(share, &query, NULL), "submit");
		sem_wait(&sem);
	}
	return (now_seconds() - begin) / SINGLES * 1e3;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(double value[FIGURES][ROUNDS_MAX], uint32_t rounds)
{
	double median[FIGURES];

	for (int f = 0; f < FIGURES; f++) {
		qsort(value[f], rounds, sizeof(double), ascending);
		median[f] = value[f][rounds / 2];
		printf("%-30s median %9.2f %s (%.2f to %.2f)\n", figure_name[f], median[f], f < SEARCH_ONE ? "Mcmp/s" : "ms", value[f][0],
		       value[f][rounds - 1]);
	}
	printf("throughput: %.3f of batches of 256, %.3f of 1024; latency: %.3f times\n", median[SHARE_FULL] / median[SEARCH_256],
	       median[SHARE_FULL] / median[SEARCH_1024], median[SHARE_ONE] / median[SEARCH_ONE]);
}

int main(int argc, char **argv)
{
	static double value[FIGURES][ROUNDS_MAX];
	struct lineup_ctx_options log = { .size = sizeof(log), .log = log_line };
	uint64_t rows = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
	uint32_t rounds = argc > 4 ? (uint32_t)atoi(argv[4]) : 7;
	struct lineup_search_setup search = { .size = sizeof(search), .residency = LINEUP_RESIDENT };
	struct lineup_share_setup setup = { .size = sizeof(setup), .residency = LINEUP_RESIDENT };
	struct lineup_gallery *gallery;
	struct lineup_searcher *searcher;
	struct lineup_crew *crew;
	struct lineup_share *share;
	uint64_t seed = 99;
	float *probes;

	dim = argc > 3 ? (uint32_t)atoi(argv[3]) : 512;
	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || !dim) {
		fprintf(stderr, "usage: share GALLERY [rows] [dim] [rounds]\n");
		return 2;
	}
	must(lineup_ctx_create(&log, &ctx), "context");
	if (access(argv[1], F_OK))
		make_gallery(argv[1], rows);
	must(lineup_gallery_open(ctx, argv[1], NULL, &gallery), "open");
	must(lineup_searcher_create(gallery, &search, &searcher), "searcher");
	must(lineup_crew_create(ctx, 0, &crew), "crew");
	must(lineup_share_create(crew, gallery, &setup, &share), "share");
	probes = malloc((size_t)BATCH_MAX * dim * sizeof(*probes));
	fill(probes, BATCH_MAX, &seed);
	for (uint32_t r = 0; r < rounds; r++) {
		value[SEARCH_256][r] = batches(searcher, probes, 256, rows);
		value[SHARE_FULL][r] = saturate(share, probes, rows);
		value[SEARCH_1024][r] = batches(searcher, probes, 1024, rows);
		value[SEARCH_ONE][r] = search_one(searcher, probes);
		value[SHARE_ONE][r] = share_one(share, probes);
	}
	report(value, rounds);
	lineup_share_destroy(share);
	lineup_crew_destroy(crew);
	lineup_searcher_destroy(searcher);
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	free(probes);
	return 0;
}
