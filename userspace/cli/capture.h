/* SPDX-License-Identifier: MIT */
/* What the files of lineup capture share: the counts of a run, and its output. */
#ifndef LINEUP_CLI_CAPTURE_H
#define LINEUP_CLI_CAPTURE_H

#include "cli.h"

/* Denominators: captured = failed, by fate + empty + searched + unsearched. */
struct capture_counts {
	uint64_t captured;
	uint64_t dropped;             /* by the device: gaps in its sequence; not among the captured */
	uint64_t failed[LINEUP_FATES]; /* by fate; [LINEUP_FATE_DONE] stays 0 */
	uint64_t empty;               /* no template in them */
	uint64_t searched;            /* all their templates were */
	uint64_t unsearched;          /* the run ended in the middle of them */
	uint64_t probes;              /* templates that were searched */
	uint64_t candidates;
};

enum capture_end { CAPTURE_END_FRAMES, CAPTURE_END_INTERRUPTED, CAPTURE_END_FAILED };

/* One frame's templates and what was found for them. */
struct capture_answer {
	const struct lineup_shot *shot; /* its frame has been given back */
	const struct lineup_face *faces;
	uint32_t count;
	const struct lineup_candidate *candidates; /* [count][k] */
	const uint32_t *counts;
	uint32_t k;
	bool threshold;
	const char *model;
	const struct lineup_search_facts *facts;
};

int capture_print_start(struct cli *cli, unsigned int format, const struct lineup_capture_info *info);
int capture_print_answer(struct cli *cli, unsigned int format, const struct capture_answer *answer);
/*
 * Always called at the end, however it came: on standard output for people and as JSON, on standard error beside lines for
 * programs or when the former fails.
 */
int capture_print_counts(struct cli *cli, unsigned int format, const struct capture_counts *counts, enum capture_end end);

#endif
