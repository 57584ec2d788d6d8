/* SPDX-License-Identifier: MIT */
/* The bed of the search tests: a gallery on disk beside its oracle, seeded random rows, and the comparison of the two. */
#ifndef TEST_SEARCH_BED_H
#define TEST_SEARCH_BED_H

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"
#include "oracle.h"

/* ---- chance ---- */

struct rng {
	uint64_t state;
};

/* LINEUP_TEST_SEED, or a fixed number; every failure prints it. */
uint64_t test_seed(void);
/* LINEUP_TEST_SCALE, or 1, or 0.1 under a sanitizer: how much of the long tests to run. */
double test_scale(void);
/* @n scaled, at least @least. */
uint64_t test_scaled(uint64_t n, uint64_t least);
bool test_sanitized(void); /* by a sanitizer that has shadow memory */

uint64_t rng_u64(struct rng *rng);
uint32_t rng_below(struct rng *rng, uint32_t n);
double rng_unit(struct rng *rng);   /* [0, 1) */
double rng_normal(struct rng *rng);

/* Row after row of @dim values; the caller frees .data (by rows_free). */
struct lineup_matrix rows_alloc(uint64_t rows, uint32_t dim, enum lineup_dtype dtype);
struct lineup_matrix rows_random(struct rng *rng, uint64_t rows, uint32_t dim);
void rows_free(struct lineup_matrix *m);
static inline float *rows_at(const struct lineup_matrix *m, uint64_t row)
{
	return (float *)(uintptr_t)m->data + row * m->dim;
}

/* ---- the library's messages ---- */

enum { MESSAGES_MAX = 64 };

struct messages {
	pthread_mutex_t lock;
	uint32_t errors;
	uint32_t warnings;
	uint32_t count;
	char text[MESSAGES_MAX][512]; /* of errors and warnings, the first ones */
	char error[512]; /* the last error */
};

void messages_log(void *arg, enum lineup_log_level level, const char *message);
void messages_clear(struct messages *m);
/* How many messages hold @text. */
uint32_t messages_with(struct messages *m, const char *text);

/* ---- a gallery and its oracle ---- */

struct bed {
	char dir[256];     /* a directory of our own */
	char path[300];    /* of the gallery in it */
	struct messages messages;
	struct lineup_ctx *ctx;
	struct lineup_gallery *gallery; /* open for writing */
	struct oracle oracle;
	uint64_t sequence;
	uint64_t template_next;
	const char *story; /* what failures call it */
	struct lineup_search_facts facts; /* of the last bed_search */
};

/* The parent of new test directories: TMPDIR or /tmp. */
const char *test_tmp(void);
void directory_remove(const char *path);

struct bed *bed_open(uint32_t dim, enum lineup_store store);
struct bed *bed_open_in(const char *parent, uint32_t dim, enum lineup_store store);
void bed_close(struct bed *bed);
/* Enrols rows [first, first + count) of @m as one operation; @names, @lists, @expires are [count] or NULL. */
void bed_enrol(struct bed *bed, const struct lineup_matrix *m, uint64_t first, uint64_t count, const char *const *names,
	       const uint64_t *lists, const int64_t *expires);
void bed_delete_subject(struct bed *bed, const char *name);
void bed_delete_template(struct bed *bed, uint64_t id);
void bed_compact(struct bed *bed);
/* Closes the writer and opens it again. */
void bed_reopen(struct bed *bed);
/* The path of a segment, the first that the directory names. */
void bed_segment_path(const struct bed *bed, char *path, size_t size);
/* Turns a bit of the byte at @offset, on the disk. */
void file_flip(const char *path, uint64_t offset);

/* ---- searching ---- */

enum { BACKENDS_MAX = 8 };

struct backends {
	uint32_t count;
	const char *name[BACKENDS_MAX];
};

/* Those that run here; the others are printed with their reason, once per program. */
void backends_here(struct backends *backends);

/* Probes with their oracle's rankings. */
struct probes {
	struct lineup_matrix matrix;
	float *stored;                   /* [rows][dim] */
	struct oracle_ranking *rankings; /* [rows] */
};

void probes_init(struct probes *p, const struct bed *bed, const struct lineup_matrix *matrix); /* borrows @matrix */
void probes_update(struct probes *p, const struct bed *bed); /* with the rows enrolled since */
void probes_fini(struct probes *p);

#define SETUP(...) ((struct lineup_search_setup){ .size = sizeof(struct lineup_search_setup), __VA_ARGS__ })
/* What follows takes .now = 0 for 1000: the clock is no test's friend. */
#define OPTIONS(...) ((struct lineup_search_options){ .size = sizeof(struct lineup_search_options), __VA_ARGS__ })

struct lineup_searcher *bed_searcher(struct bed *bed, const struct lineup_search_setup *setup);
/* A search whose every answer must be the oracle's, bit for bit; fails the test with seed, story and difference. */
void bed_search(struct bed *bed, struct lineup_searcher *searcher, const struct lineup_search_setup *setup,
		const struct probes *probes, const struct lineup_search_options *options);
/* Likewise, with a searcher of its own. */
void bed_check(struct bed *bed, const struct lineup_search_setup *setup, const struct probes *probes,
	       const struct lineup_search_options *options);
/* The oracle_doubt of the oracle's own answer for one probe: with equal bits it holds for the library as well. */
void bed_doubt(struct bed *bed, const struct probes *probes, uint32_t probe, const struct lineup_search_options *options);
/* What differs, into @why, or false. */
bool candidates_differ(const struct lineup_candidate *want, uint32_t want_count, const struct lineup_candidate *have,
		       uint32_t have_count, char *why, size_t why_size);

/* ---- a process of its own ---- */

/* Runs @body(@arg) in a forked child, which exits with what it returns; the exit status, or 128 + signal. */
int in_child(int (*body)(void *arg), void *arg);
/* For @body: whether @condition is false, which it then prints: "if (CHILD_WRONG(x == 1)) return 1;". */
#define CHILD_WRONG(condition) child_wrong(!(condition), __FILE__, __LINE__, #condition)
bool child_wrong(bool wrong, const char *file, int line, const char *text);

#endif
