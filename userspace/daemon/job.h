/* SPDX-License-Identifier: MIT */
/* A request that is worked on outside the loop, what it holds, and the reading of its arguments. */
#ifndef LINEUPD_JOB_H
#define LINEUPD_JOB_H

#include "server.h"

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

struct job_chunk;

/*
 * Begun by the loop thread, used by one thread at a time, ended by the loop thread. What was allocated from it is
 * erased at the end: vectors and scores are among it. A job of a request whose client is gone goes on to its end.
 */
struct job {
	struct keeper_op op;       /* for the keeper, and what other threads hand it back with */
	struct task help;          /* for the helper */
	struct server *server;
	struct request *request;
	struct gallery *gallery;   /* reference; NULL: none */
	struct keeper *keeper;     /* its */
	struct job_chunk *chunks;
	void (*done)(struct job *job); /* loop thread: answers and calls job_end */
	bool timed;                /* its latency is counted already */
};

/*
 * Makes a job of @bytes, a struct that begins with struct job, zeroed. NULL: answered with an error, or @none, if not
 * NULL, has answered: there is no such gallery.
 */
void *job_begin(struct server *server, struct request *request, size_t bytes, void (*none)(struct request *request));
/* As job_begin, of a gallery that the caller has got, or NULL: the job's from here on. */
void *job_begin_with(struct server *server, struct request *request, size_t bytes, struct gallery *gallery);
/* Frees the job, and leaves the request as it is. */
void job_free(struct job *job);
/* Ends the request, whose reply is complete, and frees the job. */
void job_end(struct job *job);
/* Answers with an error and ends: what @err is called is said in docs/commands.md. */
void job_fail(struct job *job, int err, const char *message);
/* Zeroed, erased and freed at the end; NULL: no memory. Any one thread at a time. */
void *job_alloc(struct job *job, size_t bytes);
char *job_text(struct job *job, const char *data, size_t size); /* a NUL-terminated copy */
/* To the keeper, the op's kind and fields set; job->done follows. Busy: the job fails and ends. Loop thread. */
void job_keep(struct job *job);
/*
 * Later requests of the client wait for it. To a thread of the helper, which calls @run with &job->help; it comes
 * back by job_back. Busy: as above.
 */
void job_help(struct job *job, void (*run)(struct task *task));
/* Any thread: job->done on the loop thread. */
void job_back(struct job *job);

/* Errors of requests: counted, and written in the place of the reply. */
void request_error(struct request *request, enum metric cause, const char *format, ...) DAEMON_PRINTF(3, 4);
void request_fail(struct request *request, int err, const char *message);

/* Reading arguments; the first not read yet is args->at. */
struct args {
	struct request *request;
	uint64_t at, count;
};

bool args_left(const struct args *args);
/* Whether the next argument is this word, in any case; takes it then. */
bool args_word(struct args *args, const char *word);
/* Likewise, with at least one argument behind it. */
bool args_option(struct args *args, const char *word);
struct resp_argument *args_next(struct args *args); /* NULL: none is left */
bool args_u64(struct args *args, uint64_t least, uint64_t most, uint64_t *value);
bool args_i64(struct args *args, int64_t least, int64_t most, int64_t *value);
bool args_double(struct args *args, double *value);  /* finite or infinite, no NaN */
bool args_hex(struct args *args, uint8_t *out, size_t size); /* exactly so many bytes */
bool argument_is(const struct resp_argument *argument, const char *word);

/*
 * A vector as Redis writes it: FP32 blob | VALUES n v1 ... vn, of any dimension up to LINEUP_DIM_MAX; allocated from
 * the job. -EINVAL; -ENOMEM.
 */
int args_vector(struct args *args, struct job *job, struct lineup_matrix *vector);
/* n FP32|F64 blob: n * dim values; LINEUP.* commands. @rows_max: limit of n. The error is written already. */
int args_matrix(struct args *args, struct job *job, uint32_t dim, uint64_t rows_max, struct lineup_matrix *matrix);
/* Whether @matrix has the gallery's dimension; answers with the error Redis has else. */
bool dim_fits(struct job *job, const struct lineup_matrix *matrix);
/* MODEL digest-hex; answers with an error if it is not the gallery's. */
bool model_fits(struct job *job, struct args *args);
/* Attributes for the keeper's op: JSON, or nothing, which removes them. Answers with an error. */
bool attributes_argument(struct job *job, const struct resp_argument *argument);
/* A subject's name, NUL-terminated; NULL: it cannot be one. */
char *subject_name(struct job *job, const struct resp_argument *argument);
void hex_text(char *out, const uint8_t *bytes, size_t size); /* 2 * size + 1 */

#endif
