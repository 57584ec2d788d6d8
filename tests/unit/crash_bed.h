/* SPDX-License-Identifier: MIT */
/* A bed for crashes of a gallery's operations: each cut at every point, each image readable, one of the states there may be, and completed once. */
#ifndef CRASH_BED_H
#define CRASH_BED_H

#include "faulty_io.h"
#include "ledger.h"

enum { CRASH_DIM = 5, CRASH_SETUP_MAX = 8, CRASH_STATES_MAX = 8 };

struct crash_scenario {
	const char *name;
	struct ledger_op setup[CRASH_SETUP_MAX];
	uint32_t setup_count;
	bool create;          /* the operation is the creation itself */
	struct ledger_op op;
	uint64_t seal_bytes;  /* limits of the gallery stage, 0: its own */
	uint64_t record_bytes;
	uint32_t points_min;  /* crash points it has at least: it does what it is here for */
	bool maintained;      /* opened so */
	bool fresh;           /* the writer has just opened the gallery */
	enum lineup_store store;
};

struct crash_stage {
	const struct crash_scenario *scenario;
	char base[PATH_MAX];
	struct faulty_io disk;
	/* The states that there may be: before the operation, and after each operation of a group or beside a maintenance. */
	struct ledger states[CRASH_STATES_MAX];
	uint8_t digests[CRASH_STATES_MAX][LINEUP_DIGEST_BYTES];
	uint32_t last; /* of them */
	uint32_t acknowledged; /* the first that there may be now */
	/* of the recovery of one crash point */
	struct faulty_io *recovery;
	bool recovery_acknowledged;
	bool full;
	bool any_digest_after;
	const struct lineup_gallery *live; /* the one whose crashes are looked at */
	uint64_t seed;
	uint64_t points, images, recovery_images;
	char where[320];
};

#define CRASH_REQUIRE(s, log, condition, ...)                                                                                       \
	do {                                                                                                                  \
		if (!(condition)) {                                                                                           \
			print_error("%s, %s: ", (s)->scenario->name, (s)->where);                                              \
			print_error(__VA_ARGS__);                                                                             \
			print_error("\nlog:\n%s", (log)->text);                                                               \
			print_error("again with LINEUP_TEST_SEED=%llu\n", (unsigned long long)crash_seed);                      \
			fail();                                                                                               \
		}                                                                                                             \
	} while (0)

extern uint64_t crash_seed;   /* LINEUP_TEST_SEED, or 1 */
extern uint64_t crash_images; /* looked at so far */

/* Before anything else; and a teardown of the whole that tells how much was done. */
void crash_prepare(void);
int crash_totals(void **state);

/* A path in the stage's directory; static memory, good for the next three calls. */
const char *crash_under(const struct crash_stage *s, const char *what);
const char *crash_empty(struct crash_stage *s, const char *what); /* likewise, a new directory */
/* A context over @disk, or over the system's without syncs. */
struct lineup_ctx *crash_ctx(const struct crash_stage *s, struct ledger_log *log, struct faulty_io *disk);
int crash_open(struct lineup_ctx *ctx, const char *path, uint32_t flags, struct lineup_gallery **gallery);
/* Learns the states. */
void crash_stage_begin(struct crash_stage *s, const struct crash_scenario *scenario);
void crash_stage_end(struct crash_stage *s);
/* The gallery as the operation finds it, open for writing; NULL if the operation is its creation. */
struct lineup_gallery *crash_set_up(struct crash_stage *s, struct lineup_ctx *ctx, struct ledger_log *log, const char *path);
int crash_operate(struct crash_stage *s, struct lineup_gallery *gallery, struct ledger_result *result);
/* The image at @root holds state @acknowledged or a later one, can be read and written, and the operation completed; @full: read again. */
void crash_verify(struct crash_stage *s, const char *root, uint32_t acknowledged, bool full);
/* The whole of it, for a writer that goes on, and for one that has just opened the gallery. */
void crash_everywhere(const struct crash_scenario *scenario);
void crash_both_writers(struct crash_scenario scenario);

struct ledger_op crash_enrol(uint64_t id, uint32_t rows);
struct ledger_op crash_delete_template(uint64_t id, uint64_t template_id);
struct ledger_op crash_replace(uint64_t id, uint32_t rows);
/* Several segments, a deleted-file, and deletions and rows in the journal. */
void crash_furnish(struct crash_scenario *scenario);

#endif
