/* SPDX-License-Identifier: MIT */
/* The benchmark's own parts: data, machine limits, exactness gate, timed rounds, report and plot. Grouped by the file that defines them. */
#ifndef LINEUP_BENCH_H
#define LINEUP_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lineup.h"

enum {
	BENCH_BATCHES_MAX = 16,    /* batch sizes of one run */
	BENCH_ROUNDS_MIN = 7,      /* a median of fewer says too little on a shared machine */
	BENCH_ROUNDS_MAX = 101,
	BENCH_CALLS_MAX = 1 << 20, /* calls of one batch size whose times are kept; later ones count in the rate alone */
	BENCH_DIM_MIN = 64,        /* below it strangers come as close as the enrolled, and the gate could not tell them apart */
	BENCH_ROWS_MIN = 1000,
	BENCH_FILES_MAX = 4096,    /* segments of a gallery */
	BENCH_BATCH_MAX = 4096,    /* probes of one call; more than LINEUP_PROBES_MAX take several passes */
};

/* ---- bench_data.c: random rows, threads, time, order statistics ---- */

double bench_seconds(void); /* monotonic */

/* Fills @row[dim] with Gaussian values scaled to length 1: a function of @seed, @number and @dim only. */
void bench_gaussian(uint64_t seed, uint64_t number, uint32_t dim, float *row);
/* The next of a sequence of 64 random bits (splitmix64). */
uint64_t bench_random(uint64_t *state);

/*
 * Calls @work in @threads threads, the caller's among them, with their numbers 0 to threads - 1, and waits for all; each has a CPU of
 * its own if there are as many. Returns the seconds from the first one's start to the last one's end.
 */
double bench_parallel(uint32_t threads, void (*work)(void *arg, uint32_t thread, uint32_t threads), void *arg);

/* Sorts @values. @q in [0, 1]: the smallest value that at least that share of them does not pass. */
void bench_sort(double *values, size_t count);
double bench_quantile(const double *sorted, size_t count, double q);
double bench_median(const double *values, size_t count); /* leaves them as they are */

/* ---- bench_cpu_*.c: what a CPU can read and multiply at most, one file per architecture ---- */

struct bench_kernel {
	const char *name;
	bool (*here)(void);                                        /* whether this CPU has the instructions */
	uint64_t (*read)(const void *data, size_t size);           /* reads every byte once; size a multiple of 4096. NULL: no such loop */
	uint64_t (*multiply)(uint64_t iterations, uint64_t *sink); /* int8 multiply-adds from registers; returns how many. NULL: none */
	const char *backend;                                       /* of the library that multiplies with these instructions */
};

extern const struct bench_kernel bench_kernels[];
extern const uint32_t bench_kernel_count;

/* ---- bench_limits.c: the machine's limits ---- */

struct bench_disk_config {
	uint32_t block_bytes;
	uint32_t depth;
};

struct bench_limits {
	uint32_t threads;
	/* memory */
	uint8_t *ram;
	size_t ram_bytes;
	const char *ram_kernel;      /* the loop that read fastest so far */
	/* multiply-adds */
	const struct bench_kernel *multiply; /* NULL: no peak for this backend */
	uint64_t multiply_iterations;
	/* disk */
	int files[BENCH_FILES_MAX];
	uint64_t file_bytes[BENCH_FILES_MAX]; /* how much of each is read */
	uint32_t file_count;
	bool direct;                 /* O_DIRECT was accepted */
	bool uring;
	struct bench_disk_config disk; /* the best of a few */
};

/* All of these return 0 or -errno, silently. */
int bench_ram_init(struct bench_limits *limits, uint32_t threads, bool quick); /* @quick: a small buffer */
double bench_ram_measure(struct bench_limits *limits);      /* bytes per second, the best loop */
void bench_multiply_init(struct bench_limits *limits, const char *backend);
double bench_multiply_measure(struct bench_limits *limits); /* multiply-adds per second; 0: no peak for this backend */
/* Finds the segments of the gallery @path, from which @scan_bytes are read. */
int bench_disk_init(struct bench_limits *limits, const char *path, uint64_t scan_bytes);
/* Chooses the best of a few block sizes and depths. */
int bench_disk_tune(struct bench_limits *limits);
int bench_disk_measure(struct bench_limits *limits, double *bytes_per_second);
/* Drops the gallery's files from the page cache. */
void bench_disk_cool(struct bench_limits *limits);
void bench_limits_fini(struct bench_limits *limits); /* takes a zeroed one */
/* Appends 4 KiB to @fd and calls fdatasync; the seconds both took. */
int bench_append_measure(int fd, double *seconds);

/* ---- bench_device.c: what the GPUs of a search can do at most ---- */

/* The devices that searches use, and their rates, each a sum over them. 0: not measured. */
struct bench_devices {
	uint32_t count;          /* 0: searches run on the CPU */
	bool software;           /* any of them is a CPU in a GPU's clothes */
	char name[512];          /* of all, for people */
	const char *variant;     /* whose multiply peak was measured; static. NULL: none */
	double read_bytes;       /* per second, of device memory */
	double multiply_adds;
	double upload_bytes;
};

/*
 * Measures those of @choice, as lineup_search_setup.devices names them; where NULL leaves none, the first of all, which is what a
 * backend named on the command line takes. A second for each rate of each device of the machine. 0 or -errno; the library logs.
 */
int bench_devices_measure(struct lineup_ctx *ctx, const char *choice, struct bench_devices *devices);

/* ---- bench_gate.c: no speed without the right answer ---- */

/* A probe's kind. Strangers must not come near the threshold; the enrolled must pass it. */
enum bench_kind {
	BENCH_RANDOM = 0,   /* a stranger: a random direction */
	BENCH_ENROLLED = 1, /* a template of the gallery with noise on it: its subject is known */
	BENCH_FAR = 2,      /* a stranger: opposite to a template of the gallery */
	BENCH_KINDS = 3,
};

/* Noise is such that an enrolled probe scores about 0.95 against its template. */
#define BENCH_NOISE 0.33f
#define BENCH_THRESHOLD 0.8f

/* Something that answers searches, as lineup_search does: @candidates is [count][k]. 0 or -errno. */
struct bench_matcher {
	const char *name;
	int (*search)(void *arg, const float *probes, uint32_t count, uint32_t k, enum lineup_search_per per,
		      struct lineup_candidate *candidates, uint32_t *counts);
	void *arg;
};

/* Probes and their true answers, found by brute force. */
struct bench_sample {
	uint32_t dim;
	uint32_t count;
	uint32_t k;
	uint64_t rows;                        /* templates of the gallery */
	float *probes;                        /* [count][dim] */
	enum bench_kind *kinds;               /* [count] */
	struct lineup_candidate *planted;     /* [count] for the enrolled: template and subject the probe was made from */
	struct lineup_candidate *truth[2];    /* by enum lineup_search_per: [count][k] */
	uint32_t *counts[2];                  /* [count] */
	struct lineup_candidate *pool;        /* some templates of the gallery, for the baselines to answer with */
	uint32_t pool_count;
};

/*
 * Draws @count probes of all kinds from the gallery's present templates and finds their answers: float64, in the order of additions that
 * defines a score, in code of its own that shares nothing with the library but the vectors as stored. @progress is told rows.
 * -ENOMEM, -ECANCELED, or what reading the gallery returned.
 */
int bench_sample_init(struct bench_sample *sample, struct lineup_gallery *gallery, uint32_t count, uint32_t k, uint64_t seed,
		      uint32_t threads, lineup_progress_fn *progress, void *progress_arg);
void bench_sample_fini(struct bench_sample *sample); /* takes a zeroed one */

/* Whether the true answers themselves find the enrolled and nobody else: in a gallery of near-copies they may not. */
bool bench_sample_sound(const struct bench_sample *sample);

struct bench_verdict {
	const char *matcher;
	uint32_t batch;      /* probes per call */
	uint64_t answers;    /* lists of candidates compared with the truth */
	uint64_t wrong;      /* that differ in a template, a subject, a bit of a score, or the order */
	uint32_t enrolled;   /* probes of enrolled people */
	uint32_t found;      /* that had their subject above the threshold */
	uint32_t strangers;
	uint32_t alarms;     /* strangers with any candidate above the threshold */
	bool pass;
};

/*
 * Judges @matcher in calls of @batch probes, of which the sample's are repeated or cut to fill it; both per subject and per template.
 * Passes if all answers are right, all enrolled are found and no stranger raises an alarm. 0, -ENOMEM or what the search returned.
 */
int bench_gate_judge(const struct bench_sample *sample, const struct bench_matcher *matcher, uint32_t batch,
		     struct bench_verdict *verdict);

/* Baselines that must fail: one says everybody is enrolled, one answers at random. @sample is borrowed as their arg. */
struct bench_matcher bench_gate_always(struct bench_sample *sample);
struct bench_matcher bench_gate_at_random(struct bench_sample *sample);

/* ---- cmd_bench.c: the run ---- */

struct bench_options {
	uint64_t rows;       /* of the gallery that is made; 0: as many as fit, up to a million */
	uint32_t dim;
	uint32_t k;
	uint32_t threads;
	uint32_t rounds;
	uint32_t batches[BENCH_BATCHES_MAX]; /* ascending */
	uint32_t batch_count;
	const char *backend; /* NULL: the library's choice */
	const char *device;  /* NULL: likewise */
	uint64_t device_memory; /* for rows, of each device; 0: likewise */
	bool without[2];     /* no streamed searches; no resident ones */
	bool searches_only;  /* the start is not measured */
	const char *gallery; /* an existing one, only read; NULL: one is made and removed */
	const char *dir;     /* where it is made */
	const char *json;
	const char *plot;
	bool quick;          /* figures need not mean much */
	double cell_seconds; /* of each batch size in each round, at least */
	double single_seconds; /* of single enrolments, at most */
};

/* Seconds of single calls. A quantile that the number of calls cannot bear is NAN. */
struct bench_latency {
	uint64_t calls;
	double p50;
	double p99;  /* NAN under 100 calls */
	double p999; /* NAN under 1000 calls */
};

struct bench_enrolment {
	bool measured;
	uint64_t rows;              /* in bulk: in one operation */
	double seconds;             /* of it, without making the rows */
	struct bench_latency single; /* one template, from begin to the acknowledgement */
	struct bench_latency append; /* 4 KiB and fdatasync, in turns with them */
};

/* What bounds a search: rates of the machine, bytes or multiply-adds per second. */
enum bench_bound {
	BENCH_RAM,      /* reading the codes from memory */
	BENCH_MULTIPLY, /* multiplying, from registers */
	BENCH_DISK,     /* reading the blocks from disk */
	BENCH_DEVICE,   /* reading the codes from the GPUs' memory; it takes the place of RAM there, and BENCH_MULTIPLY is theirs */
	BENCH_UPLOAD,   /* bringing blocks to the GPUs */
	BENCH_BOUNDS,
};
extern const char *const bench_bound_names[];

/* One batch size, resident or streamed. */
struct bench_cell {
	bool resident;
	uint32_t batch;
	uint32_t passes;                   /* of one call; 0: not known yet, one */
	double rate[BENCH_ROUNDS_MAX];     /* comparisons per second */
	double limit[BENCH_BOUNDS][BENCH_ROUNDS_MAX]; /* on them, measured just before; 0: not measured, or none on this cell */
	double *calls;                     /* seconds of each call; sorted when the rounds are over */
	uint64_t call_count;
	struct bench_latency latency;
	double reranked;                   /* rows per probe, of the last call */
};

/* A cell's medians. */
struct bench_summary {
	double rate;
	double limit[BENCH_BOUNDS];
	enum bench_bound bound;  /* the lowest limit; BENCH_BOUNDS: none was measured */
	double fraction;         /* of it, median of the rounds' own; NAN without one */
};

struct bench_start {
	double answer_seconds[BENCH_ROUNDS_MAX]; /* from opening the gallery to the first answer, files not in the page cache */
	double load_seconds[BENCH_ROUNDS_MAX];   /* to make it resident, likewise */
	double disk_rate[BENCH_ROUNDS_MAX];      /* bytes per second, measured before each */
	uint64_t load_bytes;
	uint64_t rss_bytes;      /* largest while streaming the largest batch */
	bool rss_sampled;        /* looked at now and then; else the kernel's high-water mark */
};

/* What went where, of one pass: from a search before the first round. */
struct bench_place {
	uint64_t rows;
	uint64_t rows_on_device;
	uint64_t bytes_on_device;
	uint64_t disk_bytes;     /* read */
	uint64_t upload_bytes;
	const char *staging;     /* how blocks got there; NULL: none did */
};

enum { BENCH_VERDICTS_MAX = 2 * (BENCH_BATCHES_MAX + 1) + 2 };

struct bench_result {
	const struct bench_options *options;
	char cpu[96];
	uint32_t cpus;
	uint64_t memory_bytes;
	char system[160];        /* of uname */
	struct lineup_gallery_info gallery;
	const char *backend;
	const char *io;          /* of the streamed passes */
	uint32_t threads;
	struct bench_enrolment enrolment;
	struct bench_verdict verdicts[BENCH_VERDICTS_MAX];
	uint32_t verdict_count;
	uint32_t sample_count;
	double brute_seconds;
	bool pass;               /* lineup passed the gate and the baselines failed it */
	struct bench_start start;
	struct bench_cell cells[2 * BENCH_BATCHES_MAX];
	uint32_t cell_count;
	double limit_rate[BENCH_BOUNDS][BENCH_ROUNDS_MAX]; /* the median of each round; 0: not measured */
	struct bench_limits limits;
	struct bench_devices devices;           /* as measured last */
	double devices_disk;                    /* and the disk beside them, bytes per second */
	struct bench_place place[2];            /* streamed, resident */
};

void bench_latency_of(const double *sorted, uint64_t calls, struct bench_latency *latency);
void bench_summarise(const struct bench_cell *cell, uint32_t rounds, struct bench_summary *summary);
bool bench_on_devices(const struct bench_result *result); /* whether searches ran on GPUs */
uint32_t bench_code_bytes(uint32_t dim);         /* of a row, as a pass reads them */
/* How much of @bound one comparison of this cell takes at least, bytes or multiply-adds; 0: nothing. */
double bench_cost(const struct bench_result *result, const struct bench_cell *cell, enum bench_bound bound);
double bench_block_bytes(const struct bench_result *result); /* of a row, as a streamed pass reads it from disk */

struct cli;

/* Each returns 0 or enum cli_exit, the reason said. */

/* bench_enrol.c: makes the gallery @path and measures how fast. @append: an empty file beside it. */
int bench_enrol(struct cli *cli, const char *path, int append, struct bench_result *result);
/* bench_run.c: exactness, then start, then the rounds. result->pass is false if the gate did not open; nothing is timed then. */
int bench_run(struct cli *cli, const char *path, struct bench_result *result);
void bench_result_fini(struct bench_result *result); /* takes a zeroed one */
/* bench_report.c */
int bench_report_print(struct cli *cli, const struct bench_result *result);
int bench_report_json(struct cli *cli, const struct bench_result *result);
/* bench_plot.c: rates over batch sizes, with the limits as lines, as SVG. */
int bench_plot(struct cli *cli, const struct bench_result *result);
void bench_plot_write(FILE *file, const struct bench_result *result);

#endif
