/* SPDX-License-Identifier: MIT */
/* A gallery as a plain list in memory: the sequential model that the gallery's tests compare with. Shares no code with the library. */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdio.h>

#include "lineup.h"

enum {
	LEDGER_DIM_MAX = 24,
	LEDGER_NAMES = 40,   /* different subjects that operations draw from */
	LEDGER_LISTS = 6,    /* different lists, likewise */
	LEDGER_WHY_BYTES = 256,
};

struct ledger_row {
	uint64_t id;
	uint64_t lists;
	int64_t expires;
	bool deleted;
	char subject[LINEUP_SUBJECT_BYTES_MAX + 1];
	float vector[LEDGER_DIM_MAX]; /* as stored */
};

enum ledger_kind {
	LEDGER_ENROL,
	LEDGER_DELETE_SUBJECT,
	LEDGER_DELETE_TEMPLATE,
	LEDGER_COMPACT,
	LEDGER_REPLACE,  /* a group of this one enrolment, named */
	LEDGER_GROUP,    /* .ops in one group; refused ones change nothing */
	LEDGER_MAINTAIN, /* .compact */
};

enum { LEDGER_GROUP_MAX = 64 };

/* An operation; everything about it follows from these fields. */
struct ledger_op {
	enum ledger_kind kind;
	uint64_t id;       /* becomes the op_id; not 0 */
	uint64_t seed;     /* of the rows */
	uint32_t rows;
	uint32_t batch;    /* rows a call of lineup_enrol_add; 0: all */
	bool named;        /* rows have subjects; else each its own */
	bool listed;       /* rows are on lists */
	bool expiring;
	uint32_t subject;  /* to delete: its number */
	uint64_t template_id;
	const struct ledger_op *ops; /* none of them a group */
	uint32_t op_count;
	uint32_t compact;
};

struct ledger_result {
	uint64_t sequence;
	uint64_t template_first; /* of an enrolment */
	uint64_t rows;
	bool repeated;
};

struct ledger_done {
	uint64_t id;
	enum ledger_kind kind;
	struct ledger_result result;
};

struct ledger {
	uint32_t dim;
	enum lineup_store store;
	struct ledger_row *rows;
	size_t row_count;
	struct ledger_done *done;
	size_t done_count;
	uint64_t template_next;
	uint64_t sequence;
	uint32_t lists;
	uint32_t list[LINEUP_LISTS_MAX]; /* number of the name */
};

/* An empty gallery, whose first template gets the id @template_next. */
void ledger_init(struct ledger *o, uint32_t dim, enum lineup_store store, uint64_t template_next);
void ledger_fini(struct ledger *o);
void ledger_copy(struct ledger *to, const struct ledger *from); /* @to is uninitialised */
/* What the operation must return, and its effect. */
int ledger_apply(struct ledger *o, const struct ledger_op *op, struct ledger_result *result);
/* The operation on a gallery. @progress of a compaction may be NULL. */
int ledger_run(struct lineup_gallery *gallery, const struct ledger_op *op, struct ledger_result *result);
/* Adds the operation to a group. */
int ledger_stage(struct lineup_gallery *gallery, struct lineup_group *group, const struct ledger_op *op, struct ledger_result *result);
/* Both, which must agree; NULL or what differs, in @why[LEDGER_WHY_BYTES]. */
const char *ledger_both(struct ledger *o, struct lineup_gallery *gallery, const struct ledger_op *op, char *why);
/* Whether the gallery holds exactly this: NULL or what differs. @digest: NULL: any. */
const char *ledger_differs(const struct ledger *o, struct lineup_gallery *gallery, const uint8_t *digest, char *why);
/* Templates and subjects that are not deleted. */
uint64_t ledger_templates(const struct ledger *o);
uint64_t ledger_subjects(const struct ledger *o);
void ledger_subject_name(uint32_t number, char name[LINEUP_SUBJECT_BYTES_MAX + 1]);
void ledger_list_name(uint32_t number, char name[LINEUP_LIST_NAME_BYTES_MAX + 1]);
/*
 * Files of the gallery at @path that its MANIFEST does not name, read by the text of gallery.h: NULL or the first one's name, or of one that
 * is named and missing, in @why.
 */
const char *ledger_stray(const char *path, char *why);

/* Collects what the library says. */
struct ledger_log {
	char text[4096];
	size_t size;
	unsigned errors;
	unsigned warnings;
};

void ledger_log_line(void *arg, enum lineup_log_level level, const char *message); /* @arg: struct ledger_log */
void ledger_log_clear(struct ledger_log *log);

#endif
