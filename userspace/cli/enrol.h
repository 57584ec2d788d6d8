/* SPDX-License-Identifier: MIT */
/* An enrolment as the command line asks for it, for both ways of doing it: in this process, and by lineupd. */
#ifndef LINEUP_CLI_ENROL_H
#define LINEUP_CLI_ENROL_H

#include "remote.h"

struct enrolment {
	const char *path; /* of the gallery */
	struct remote_options remote;
	const char *model;
	const char *store_text;
	unsigned int store;
	const char *subjects_path;
	struct cli_names lists;
	int64_t expires;
	struct lineup_enrol_options options;
	struct cli_vectors vectors;
	struct lineup_subjects *subjects; /* NULL: no file */
	struct lineup_gallery *gallery;
	bool created;
	struct lineup_enrol *enrol;
	uint64_t mask; /* of .lists */

	/* Of the present chunk, [rows_max] each. */
	char (*names)[LINEUP_SUBJECT_BYTES_MAX + 1];
	const char **name_pointers;
	uint64_t *masks;
	int64_t *times;
	struct lineup_subject subject; /* the row being read */
};

/* cmd_enrol.c */

/* Makes the columns of a chunk of .vectors.rows_max rows. */
int enrol_alloc_rows(struct cli *cli, struct enrolment *e);
/* Reads the subject of row @i of the chunk into .subject, .names and .times. */
int enrol_read_subject(struct cli *cli, struct enrolment *e, uint64_t i);
/* Whether there are more subjects than rows, which is refused. */
int enrol_check_end(struct cli *cli, struct enrolment *e);
/* @operations: that the rows were enrolled in; the result is of the first and of the last. */
int enrol_print(struct cli *cli, const struct lineup_enrol_result *result, uint64_t operations, double started);

/* enrol_remote.c */

/* All of it, once .vectors and .subjects are open. */
int enrol_remote(struct cli *cli, struct enrolment *e, const char *name, double started);

#endif
