/* SPDX-License-Identifier: MIT */
/* The keeper of a gallery: the one thread that changes it, and reads elements of it, operations in the order they came. */
#ifndef LINEUPD_KEEPER_H
#define LINEUPD_KEEPER_H

#include "attributes.h"
#include "config.h"
#include "loop.h"
#include "message.h"
#include "metrics.h"

/*
 * Requests reach the keeper as keeper_ops. It takes what waits, reads and searches of it first, then the changes in
 * their order: they go into one group, with one sync, up to config.group_max. So who wants to read what a change of
 * its own made waits for its answer before asking. A change is answered when its group is durable. A gallery that
 * refuses changes after a failed write or sync is recovered in place, with a pause that grows to 10 s between
 * attempts; changes are refused meanwhile, searches go on. A second thread maintains (seals, compacts).
 */
struct keeper;

struct keeper_setup {
	struct lineup_ctx *ctx;
	struct lineup_crew *crew;
	struct loop *loop;
	const struct config *config;
	const char *name, *path;
	bool create;             /* a new one, with: */
	uint32_t dim;
	enum lineup_store store;
	const char *model;
};

enum keeper_kind {
	/* .vectors (one row or more), .subjects (NULL: named by their numbers), .replace, .lists,
	 * .attributes (of the first row's subject) */
	KEEPER_ENROL,
	KEEPER_DELETE,   /* .subjects[0], or .template_id with .by_template */
	KEEPER_SETATTR,  /* .subjects[0], .attributes (size 0: removed); -ENOENT */
	KEEPER_READ,     /* .read is called in the keeper's thread, in order: it may use keeper_gallery and keeper_attributes */
	/* .read, which submits a search whose filter needs the attributes of this moment; the op is its
	 * own to hand back by then */
	KEEPER_SEARCH,
	KEEPER_MAINTAIN, /* starts a maintenance with .compact in the second thread; done at its end */
};

struct keeper_op {
	struct task task;        /* the keeper's, then the loop's: .run is called on the loop thread when it is done */
	enum keeper_kind kind;
	/* All borrowed until it is done. */
	struct lineup_matrix vectors;
	const char *const *subjects; /* [rows] NUL-terminated */
	const int64_t *expires;  /* NULL: never */
	const char *const *lists; /* names that all rows are on */
	uint32_t list_count;
	const char *const *row_lists; /* [rows] further names, separated by ';'; NULL: none */
	bool replace;
	bool by_template;
	uint64_t template_id;
	uint8_t op_id[LINEUP_OP_ID_BYTES];
	const char *attributes;  /* NULL: not touched */
	size_t attributes_size;
	uint32_t compact;
	void (*read)(struct keeper_op *op, struct keeper *keeper);
	/* Results. */
	int err;
	char message[MESSAGE_BYTES]; /* of an error; "" otherwise */
	struct lineup_enrol_result enrolled;
	struct lineup_delete_result deleted;
	struct lineup_maintain_result maintained;
};

/*
 * Opens or creates the gallery, its attributes and its share, and starts the threads. Blocks: not on the loop thread
 * once clients are served. Why it failed is the library's last message.
 */
int keeper_create(const struct keeper_setup *setup, struct keeper **keeper);
/* Finishes what waits, then ends. Blocks; not on the loop thread while clients are served. */
void keeper_destroy(struct keeper *keeper);
/* Loop thread. -EBUSY: waiting_operations_max wait already; the op is the caller's again, .run is not called. */
int keeper_submit(struct keeper *keeper, struct keeper_op *op);
/* Sets the op's error and message, in a .read. */
void keeper_refuse(struct keeper_op *op, int err, const char *format, ...) DAEMON_PRINTF(3, 4);
uint32_t keeper_waiting(const struct keeper *keeper);
/* Limits for what comes. */
void keeper_reload(struct keeper *keeper, const struct config *config);
/* What metrics_set_gallery tells of it: but the rates, which are the caller's. */
void keeper_metrics(struct keeper *keeper, struct metrics_gallery *metrics);
const char *keeper_name(const struct keeper *keeper);
const char *keeper_path(const struct keeper *keeper);
/* Dimension, model and what else never changes. */
const struct lineup_gallery_info *keeper_info(const struct keeper *keeper);
uint32_t keeper_k_max(const struct keeper *keeper);           /* candidates of a search, at most */
struct lineup_share *keeper_share(struct keeper *keeper);     /* any thread */
/* Functions that any thread may call; the others in the keeper's thread only. */
struct lineup_gallery *keeper_gallery(struct keeper *keeper);
struct attributes *keeper_attributes(struct keeper *keeper);  /* in the keeper's thread */
uint64_t keeper_attributes_count(const struct keeper *keeper); /* any thread, as of the last change */

#endif
