/* SPDX-License-Identifier: MIT */
/* A gallery as a plain list in memory: the sequential model that the gallery's tests compare with. Shares no code with the library. */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdio.h>

#include "lineup.h"

enum {
	ORACLE_DIM_MAX = 24,
	ORACLE_NAMES = 40,   /* different subjects that operations draw from */
	ORACLE_LISTS = 6,    /* different lists, likewise */
	ORACLE_WHY_BYTES = 256,
};

struct oracle_row {
	uint64_t id;
	uint64_t lists;
	int64_t expires;
	bool deleted;
	char subject[LINEUP_SUBJECT_BYTES_MAX + 1];
	float vector[ORACLE_DIM_MAX]; /* as stored */
};

enum oracle_kind {
	ORACLE_ENROL,
	ORACLE_DELETE_SUBJECT,
	ORACLE_DELETE_TEMPLATE,
	ORACLE_COMPACT,
};

/* An operation; everything about it follows from these fields. */
struct oracle_op {
	enum oracle_kind kind;
	uint64_t id;       /* becomes the op_id; not 0 */
	uint64_t seed;     /* of the rows */
	uint32_t rows;
	uint32_t batch;    /* rows a call of lineup_enrol_add; 0: all */
	bool named;        /* rows have subjects; else each its own */
	bool listed;       /* rows are on lists */
	bool expiring;
	uint32_t subject;  /* to delete: its number */
	uint64_t template_id;
};

struct oracle_result {
	uint64_t sequence;
	uint64_t template_first; /* of an enrolment */
	uint64_t rows;
	bool repeated;
};

struct oracle_done {
	uint64_t id;
	enum oracle_kind kind;
	struct oracle_result result;
};

struct oracle {
	uint32_t dim;
	enum lineup_store store;
	struct oracle_row *rows;
	size_t row_count;
	struct oracle_done *done;
	size_t done_count;
	uint64_t template_next;
	uint64_t sequence;
	uint32_t lists;
	uint32_t list[LINEUP_LISTS_MAX]; /* number of the name */
};

/* An empty gallery, whose first template gets the id @template_next. */
void oracle_init(struct oracle *o, uint32_t dim, enum lineup_store store, uint64_t template_next);
void oracle_fini(struct oracle *o);
void oracle_copy(struct oracle *to, const struct oracle *from); /* @to is uninitialised */
/* What the operation must return, and its effect. */
int oracle_apply(struct oracle *o, const struct oracle_op *op, struct oracle_result *result);
/* The operation on a gallery. @progress of a compaction may be NULL. */
int oracle_run(struct lineup_gallery *gallery, const struct oracle_op *op, struct oracle_result *result);
/* Both, which must agree; NULL or what differs, in @why[ORACLE_WHY_BYTES]. */
const char *oracle_both(struct oracle *o, struct lineup_gallery *gallery, const struct oracle_op *op, char *why);
/* Whether the gallery holds exactly this: NULL or what differs. @digest: NULL: any. */
const char *oracle_differs(const struct oracle *o, struct lineup_gallery *gallery, const uint8_t *digest, char *why);
/* Templates and subjects that are not deleted. */
uint64_t oracle_templates(const struct oracle *o);
uint64_t oracle_subjects(const struct oracle *o);
void oracle_subject_name(uint32_t number, char name[LINEUP_SUBJECT_BYTES_MAX + 1]);
void oracle_list_name(uint32_t number, char name[LINEUP_LIST_NAME_BYTES_MAX + 1]);
/*
 * Files of the gallery at @path that its MANIFEST does not name, read by the text of gallery.h: NULL or the first one's name, or of one that
 * is named and missing, in @why.
 */
const char *oracle_stray(const char *path, char *why);

/* Collects what the library says. */
struct oracle_log {
	char text[4096];
	size_t size;
	unsigned errors;
	unsigned warnings;
};

void oracle_log_line(void *arg, enum lineup_log_level level, const char *message); /* @arg: struct oracle_log */
void oracle_log_clear(struct oracle_log *log);

#endif
