/* SPDX-License-Identifier: MIT */
/* An enrolment under way, as enrol.c (rows in) and enrol_commit.c (names resolved, rows out) share it. */
#ifndef LINEUP_ENROL_H
#define LINEUP_ENROL_H

#include "gallery_files.h"

/* A segment that this enrolment has finished. */
struct lineup_enrol_own {
	struct lineup_part *part;
	struct lineup_pages pages;
	struct disk_manifest_segment entry;
};

/* Of rows that wait for their numbers: the more, the less each costs to look up, as names are looked up in the order of their hashes. */
enum { LINEUP_ENROL_WAITING_BYTES = 64 << 20 };

struct lineup_enrol {
	struct lineup_gallery *gallery;
	struct disk_op op;
	bool repeated;
	int failed; /* sticky: what stopped it */
	struct disk_list list[LINEUP_LISTS_MAX]; /* the gallery's, then new ones */
	uint32_t lists;
	uint8_t *records; /* rows that wait, as records without numbers */
	uint8_t *automatic; /* which of them are named by their template id */
	uint64_t *hashes; /* of their names */
	uint64_t waiting;
	uint64_t waiting_max;
	uint64_t record_max; /* rows that fit one record of the journal */
	uint64_t rows; /* numbered so far */
	uint64_t subjects; /* after them */
	uint32_t subject_next;
	bool existed; /* of the first row's subject: there were templates */
	uint32_t subject_first; /* its number */
	struct lineup_history history;
	struct lineup_pool *pool; /* once there are many rows; NULL: none */
	struct lineup_lookup lookup;
	/* once rows are written to segments of their own */
	bool spilled;
	struct lineup_change change;
	struct lineup_segment_writer writer;
	struct lineup_table names; /* the writer's rows by name */
	struct lineup_enrol_own *own;
	uint32_t owns;
};

/* Rows that fit one record of the journal. */
uint64_t lineup_enrol_rows_max(const struct lineup_gallery *gallery);
/* One with room for @waiting_max rows. Whoever calls has entered the gallery. */
int lineup_enrol_new(struct lineup_gallery *gallery, uint64_t waiting_max, struct lineup_enrol **enrol, struct lineup_fault *fault);
/* Begins an operation of @kind after the newest one; new lists that none has brought in yet stay. @op_id all zero: a random one. */
int lineup_enrol_start(struct lineup_enrol *enrol, const uint8_t op_id[LINEUP_OP_ID_BYTES], uint32_t kind, struct lineup_fault *fault);
/* The waiting rows as one record among the operations that are staged. On failure none of the others is touched. */
int lineup_enrol_stage(struct lineup_enrol *enrol, struct lineup_fault *fault);
void lineup_enrol_result(const struct lineup_enrol *enrol, struct lineup_enrol_result *result); /* takes NULL */
void lineup_enrol_free(struct lineup_enrol *enrol); /* takes NULL; does not leave the gallery */
/* Numbers the waiting rows and writes them to a segment. */
int lineup_enrol_spill(struct lineup_enrol *enrol, struct lineup_fault *fault);

#endif
