/* SPDX-License-Identifier: MIT */
/* lineup load: requests at times that do not depend on the answers, and what became of them. */
#ifndef LINEUP_CLI_LOAD_H
#define LINEUP_CLI_LOAD_H

#include "../daemon/histogram.h"
#include "remote.h"

enum {
	LOAD_STEPS_MAX = 64,
	LOAD_CONNECTIONS_MAX = 1024,
	LOAD_PROBES_MAX = 4096,    /* of the file that are used, in turn */
	LOAD_ERRORS_MAX = 8,       /* kinds that are told apart */
	LOAD_UNDER_WAY_MAX = 1 << 22, /* requests: more mean that the load is not carried, and the step ends */
};

struct load_options {
	const char *path, *probes_path, *json_path, *plot_path;
	struct remote_options remote;
	double rate[LOAD_STEPS_MAX]; /* requests a second */
	uint32_t steps;
	double seconds, warmup_seconds, drain_seconds;
	double enrol_rate;         /* enrolments a second beside the searches */
	uint32_t connections;
	uint32_t batch;            /* probes of a request */
	uint32_t k;
	bool constant;             /* equal intervals; else exponentially distributed ones */
	uint64_t seed;
};

struct load_error {
	char kind[32];             /* the first word of the reply */
	uint64_t count;
};

/* What became of one kind of request. */
struct load_count {
	struct histogram latency;  /* from when it was due; of the answered, and of those never answered, which took at least that */
	uint64_t due;              /* were to be sent in the measured time */
	uint64_t answered;         /* of them, rightly */
	uint64_t in_time;          /* answers that came in the measured time, rightly: whenever their request was due */
	uint64_t busy;
	uint64_t unanswered;       /* when waiting for them was given up */
	struct load_error error[LOAD_ERRORS_MAX];
};

struct load_step {
	double offered;            /* requests a second */
	double seconds;            /* that were measured */
	struct load_count search, enrol;
	uint64_t sent_late_ns_max; /* how late the program itself was */
	bool cut;                  /* ended early: too many under way */
};

struct load_result {
	const struct load_options *options;
	struct lineup_gallery_info gallery;
	struct load_step *step;    /* [steps] that were done */
	uint32_t steps;
};

/* load_run.c */

struct load;

/* Opens the connections and prepares the requests; @probes is borrowed. */
int load_open(struct cli *cli, const struct load_options *options, const char *name, const struct lineup_matrix *probes,
	      const struct lineup_gallery_info *info, struct load **load);
int load_step(struct load *load, double rate, struct load_step *step);
/* Takes away what was enrolled; says so if it cannot. */
int load_clean(struct load *load);
void load_close(struct load *load);
/* In ms; of the largest value exactly, of others 3 % at most too large. 0: there are none. */
double load_quantile_ms(const struct load_count *count, double quantile);

/* load_plot.c */

int load_plot(struct cli *cli, const struct load_result *result);

#endif
