/* SPDX-License-Identifier: MIT */
/* The share stage: one scan over a gallery that goes round, which probes join and leave at any block. */
#ifndef LINEUP_SHARE_H
#define LINEUP_SHARE_H

#include "crew.h"
#include "search.h"

/*
 * A request is a query that was submitted: its probes, packed, and the view it sees. It waits (share_queue.c) until its
 * probes get seats. A view is a snapshot as the scan knows it: the parts, which are segments on disk, and behind them
 * the journal's rows in memory. Requests of one state share a view.
 *
 * The parts of all views form a circle, whose order never changes; new ones come at its end, and one leaves when no view
 * has it. The cursor goes round and gives out units: a block, or a part of one. Whoever joins does so between two units;
 * since the cursor passes every row once before it is back where he joined, he has seen all of his view when as many
 * rows of its parts were given out as it has, wherever he began and whatever came and went meanwhile. The journal's rows
 * are scanned for those who join together, in units of their own.
 *
 * Members are the probes that want units. An epoch is the members at one time, packed for a scan, and never changes: who
 * joins or leaves makes the next one. A unit refers to the epoch it was given out with. Units are numbered; a probe that
 * leaves notes the number that comes next, and is done with when no unit below it is being scanned: then it is
 * re-ranked, and its seat is free.
 *
 * A part's blocks come from the stream until they are in memory, if they may be kept there (share_circle.c). One thread
 * at a time takes blocks from the stream (share_stream.c), so that units are given out in the order of the circle there
 * too.
 *
 * One mutex guards it all but the selections, which have one each, and what a unit's thread does with its unit.
 */

enum {
	LINEUP_SHARE_PROBES_DEFAULT = 256,
	LINEUP_SHARE_WAITING_DEFAULT = 4096,
	LINEUP_SHARE_WAITING_MAX = 1 << 20,
	LINEUP_SHARE_CLIENT_BUCKETS = 512,
	LINEUP_SHARE_UNIT_ROWS_MIN = 4 * LINEUP_PANEL_ROWS,
	LINEUP_SHARE_MESSAGE_BYTES = 256,
};

#define LINEUP_SHARE_NONE UINT32_MAX /* of a view's .segment_of: it has not this part */

struct lineup_share_request;
struct lineup_share_epoch;
struct lineup_gpu_share;

struct lineup_share_part {
	struct lineup_share_part *prev, *next; /* in the circle */
	struct lineup_snapshot *hold;          /* of this segment alone */
	const struct lineup_segment *segment;
	uint32_t slot;                         /* which number of .segment_of is this part's */
	uint32_t views;                        /* that have it */
	bool streamed;                         /* in this pass; else its blocks are in memory */
	bool in_stream;                        /* the stream has it: it must stay */
	bool covered;                          /* the GPUs have it; changes only while no seat is on them */
	uint8_t *memory;                       /* its blocks; NULL: not kept */
	uint8_t *present;                      /* [block_count] which are there */
	uint64_t present_count;
};

struct lineup_share_view {
	struct lineup_share_view *prev, *next;
	struct lineup_snapshot *snapshot;
	uint32_t references;       /* requests, and the share for the newest */
	uint32_t members;          /* that the crew scans all parts for */
	uint32_t device_members;   /* that it scans for what the GPUs have not */
	uint32_t *segment_of;      /* [slots] the segment of a part, or NONE */
	uint32_t slots;
	struct lineup_share_part **parts;
	uint32_t part_count;
	uint64_t rows;             /* of the parts */
	uint32_t journal_first;    /* segments from here on are the journal's rows */
};

/* The journal's rows for those who joined together with one view. */
struct lineup_share_journal {
	struct lineup_share_journal *next;
	struct lineup_share_view *view;
	struct lineup_share_epoch *epoch;
	uint32_t segment;          /* the next one to give out */
};

/* Where a probe sits while it scans, until its answer is made. */
struct lineup_share_seat {
	struct lineup_share_seat *next; /* free, leaving, or finishing */
	struct lineup_share_request *request;
	uint64_t row;              /* of the request's probes */
	uint64_t join;             /* a number that no other has had */
	struct lineup_select select;
	_Atomic float threshold;
	uint64_t remaining;        /* rows of the parts that it has not been given */
	bool journal;              /* nor the journal's */
	bool on_device;            /* GPUs scan for it what they have */
	bool device;               /* their pass is not over */
	uint64_t leave;            /* units from this number on are not its own */
	struct lineup_share_journal batch; /* of those who joined with it, if it was the first */
};

struct lineup_share_epoch {
	struct lineup_share_epoch *next; /* free ones */
	uint32_t references;       /* units, and the share for the present one */
	struct lineup_probe_set set; /* without vectors */
	_Atomic float *thresholds; /* [capacity] */
	struct lineup_share_seat **seats; /* [capacity] */
	uint64_t *joins;           /* [capacity] */
};

/* Waiting requests of one client and priority. */
struct lineup_share_client {
	struct lineup_share_client *prev, *next; /* in the turn of its priority */
	struct lineup_share_client *chain;       /* of its bucket */
	uint64_t id;
	uint32_t priority;
	struct lineup_share_request *first, *last;
};

struct lineup_share_queue {
	struct lineup_share_client *turn[LINEUP_PRIORITY_MAX + 1]; /* whose turn it is */
	struct lineup_share_client *bucket[LINEUP_SHARE_CLIENT_BUCKETS];
};

struct lineup_share_request {
	struct lineup_share_request *prev, *next; /* of all */
	struct lineup_share_request *behind;      /* of its client's, or of the ended */
	struct lineup_share_client *client;       /* while it waits */
	struct lineup_share_client *client_spare;  /* memory for one */
	uint64_t ticket;
	struct lineup_share_query query;
	int64_t now;
	struct lineup_share_view *view;
	uint64_t rows;
	uint64_t joined;           /* rows that got a seat */
	uint64_t left;             /* rows not done with */
	atomic_int err;            /* set with the mutex held; a scan looks without */
	char message[LINEUP_SHARE_MESSAGE_BYTES];
	/* Packed once, in secret memory. */
	void *secret;
	size_t secret_bytes;
	float *vectors;            /* [rows][dim] */
	int8_t *codes;             /* [rows][groups * 4] */
	int32_t *code_sum;         /* [rows] */
	float *scale;
	double *c0, *c1;
	struct lineup_candidate *candidates; /* [rows][k] */
	uint32_t *counts;          /* [rows] */
	/* For the answer. */
	double begin, scan_begin, scan_end, seconds_rerank;
	uint64_t reranked;
	uint64_t read_begin;       /* the share's bytes_read when its first probe joined */
	uint64_t read;             /* by the stream while its probes scanned */
	uint64_t last_join;        /* the unit before which its last probe joined */
	uint32_t joins;            /* times that some of them did */
	uint32_t most;
	const char *backend;       /* of the GPUs that scanned; NULL: none did */
	uint32_t devices;
};

struct lineup_share_unit {
	uint64_t number;
	struct lineup_share_epoch *epoch;
	struct lineup_share_part *part;  /* NULL: the journal's */
	struct lineup_share_view *view;  /* of the journal's rows */
	const struct lineup_segment *segment;
	uint32_t segment_index;          /* of the journal's rows */
	uint64_t block;
	uint32_t row, rows;              /* within it */
	const uint8_t *data;             /* of the block */
	bool streamed;
	struct lineup_stream_block stream_block;
	bool keep;                       /* to be copied into the part's memory */
	int err;                         /* the block could not be read, or is damaged */
	char message[LINEUP_SHARE_MESSAGE_BYTES];
};

struct lineup_share {
	struct lineup_crew_job job;      /* first */
	struct lineup_ctx *ctx;
	struct lineup_crew *crew;
	struct lineup_gallery *gallery;
	const struct lineup_score *score;
	uint32_t dim, store, groups;
	uint32_t probes_max, waiting_max, k_max, candidates_max;
	enum lineup_residency residency;
	uint64_t stream_bytes, memory_max;
	double norm_max;
	pthread_mutex_t mutex;
	pthread_cond_t changed;          /* a taken block came back, a request ended */
	bool closing;
	/* Requests. */
	struct lineup_share_request *requests;
	struct lineup_share_request *ended, **ended_tail; /* whose answers are to be given */
	uint32_t answering;              /* threads that give one */
	uint64_t ticket_next;
	struct lineup_share_queue queue;
	uint64_t waiting;                /* probes */
	uint64_t deadlines;              /* waiting requests that have one */
	/* Seats. */
	struct lineup_share_seat *seats; /* [2 probes_max] */
	uint32_t seats_ready;            /* whose mutex exists */
	struct lineup_entry *entries;
	size_t entries_bytes;
	struct lineup_share_seat *seats_free;
	struct lineup_share_seat **members; /* [probes_max] */
	uint32_t member_count;
	struct lineup_share_seat **joiners; /* [probes_max] scratch */
	uint64_t joins;
	uint64_t scanning;               /* probes that have a seat */
	struct lineup_share_seat *leaving, **leaving_tail; /* ascending .leave */
	struct lineup_share_seat *finishing, **finishing_tail;
	bool cull;                       /* there are members of failed requests */
	/* Epochs. */
	struct lineup_share_epoch *epoch; /* the last one made, or NULL */
	bool epoch_stale;                /* members are others now */
	struct lineup_share_epoch *epochs_free;
	/* Views and the circle. */
	struct lineup_share_view *views;
	struct lineup_share_view *newest;
	struct lineup_share_part *circle, *circle_last; /* NULL: no parts */
	struct lineup_share_part **part_by_slot;
	uint32_t slots;
	uint64_t circle_rows;
	uint64_t resident_bytes;         /* of memory allocated */
	uint64_t filling_bytes;          /* of it, not filled yet */
	bool room;                       /* a part's memory was given up: others may fit now */
	struct lineup_share_part *trash; /* to be freed without the mutex */
	/* The cursor: the next unit. */
	struct lineup_share_part *at;    /* NULL: past the last part */
	uint64_t at_block;
	uint32_t at_row;
	uint64_t unit_next;
	uint64_t *active;                /* [threads] the unit that each is at; UINT64_MAX: none */
	struct lineup_share_journal *journals, **journals_tail;
	/* The stream. */
	struct lineup_stream *stream;
	struct lineup_snapshot *stream_snapshot; /* its parts; .segments is the share's own */
	struct lineup_share_part **stream_parts; /* [stream_snapshot->segment_count] */
	bool stream_running;
	bool stream_stale;               /* the parts that are not resident are others now */
	bool fetching;                   /* a thread takes a block */
	uint32_t taken;                  /* blocks not given back */
	bool stream_broken;              /* it failed as a whole */
	/* Statistics. */
	struct lineup_share_stats stats;
	double busy_begin;
	struct lineup_gpu_share *gpu;    /* NULL: the crew scans */
	/* Tests: called before each unit is looked for, with no lock held, and with the mutex held for each probe that gets a seat. */
	void (*test_unit)(void *arg, struct lineup_share *share);
	void (*test_join)(void *arg, const struct lineup_share_request *request, uint64_t row);
	void *test_arg;
};

/* All of the following with the share's mutex held, unless they say otherwise. */

/* share.c */

double lineup_share_now(void);
/* Unlocks, and calls the crew if there is work that nobody is at. */
void lineup_share_unlock(struct lineup_share *share);

/* share_request.c */

/* Checks, packs and allocates; nothing is locked. Logs. */
int lineup_share_request_create(struct lineup_share *share, const struct lineup_share_query *query, struct lineup_share_request **request);
void lineup_share_request_free(struct lineup_share_request *request); /* nothing is locked; erases */
/* The first failure ends the request: what waits of it waits no longer, what scans leaves. @message may be NULL. */
void lineup_share_request_fail(struct lineup_share *share, struct lineup_share_request *request, int err, const char *message);
/* @rows of it are done with. */
void lineup_share_request_done(struct lineup_share *share, struct lineup_share_request *request, uint64_t rows);
/* Gives the first ended request's answer, with the mutex given up meanwhile; false: there was none. */
bool lineup_share_request_answer(struct lineup_share *share);

/* share_queue.c */

void lineup_share_queue_add(struct lineup_share *share, struct lineup_share_request *request);
/* The request whose probe is next; NULL: none waits. */
struct lineup_share_request *lineup_share_queue_first(struct lineup_share *share);
/* One probe of it has joined: it is another's turn. */
void lineup_share_queue_joined(struct lineup_share *share, struct lineup_share_request *request);
void lineup_share_queue_remove(struct lineup_share *share, struct lineup_share_request *request);
/* Ends those that waited for too long. */
void lineup_share_queue_expire(struct lineup_share *share);

/* share_epoch.c */

/* Packs @seats; -ENOMEM. */
int lineup_share_epoch_make(struct lineup_share *share, struct lineup_share_seat *const *seats, uint32_t count,
			    struct lineup_share_epoch **epoch);
void lineup_share_epoch_put(struct lineup_share *share, struct lineup_share_epoch *epoch); /* takes NULL */
void lineup_share_epochs_free(struct lineup_share *share);

/* Packs the probe of @seat as number @at of @set, but for its vector. */
void lineup_share_pack(struct lineup_probe_set *set, uint32_t at, const struct lineup_share_seat *seat);

/* share_circle.c */

/* The view of the gallery's present state, with a reference; takes the mutex itself. Logs. */
int lineup_share_view_get(struct lineup_share *share, struct lineup_share_view **view);
void lineup_share_view_put(struct lineup_share *share, struct lineup_share_view *view); /* takes NULL */
bool lineup_share_part_wanted(const struct lineup_share *share, const struct lineup_share_part *part);
bool lineup_share_part_resident(const struct lineup_share_part *part);
/* Takes a part off the circle if nobody has it any more. */
void lineup_share_part_drop(struct lineup_share *share, struct lineup_share_part *part);
/* Frees what was dropped; nothing is locked, it takes the mutex. */
void lineup_share_trash_empty(struct lineup_share *share);
/* Memory for its blocks, if they may be kept there and fit. */
void lineup_share_part_keep(struct lineup_share *share, struct lineup_share_part *part);
/* A block of it is in its memory now. */
void lineup_share_part_filled(struct lineup_share *share, struct lineup_share_part *part, uint64_t block);

/* share_stream.c */

/*
 * The next block from disk, which is the cursor's if the cursor is at a part that is .streamed or at none, and a pass
 * begins where one is due. The mutex is given up meanwhile; share->fetching is true. On return: unit's .part, .block,
 * .data, .stream_block; or .part NULL: the cursor has moved to a part in memory, or round. An error with .part is the
 * block's; without, the stream's.
 */
int lineup_share_fetch(struct lineup_share *share, struct lineup_share_unit *unit);
/* The unit's slot of the ring is free again; nothing is locked, it takes the mutex. */
void lineup_share_release(struct lineup_share *share, struct lineup_share_unit *unit);
/* Ends the pass and the stream; nobody is at a unit. */
void lineup_share_stream_end(struct lineup_share *share);
/* Brings all parts into memory, in the caller's thread; before the share is used. -ENOMEM (said), -EIO, -EBADMSG. */
int lineup_share_load(struct lineup_share *share);

/* share_scan.c */

/* Gives the next probe of @r, which is the first that waits, a seat; there must be one. @on_device: GPUs scan for it too. */
struct lineup_share_seat *lineup_share_join(struct lineup_share *share, struct lineup_share_request *r, bool on_device);
/* The journal's rows are to be scanned for @seats, which just joined, if they have a journal. Changes their order. */
void lineup_share_begin_journals(struct lineup_share *share, struct lineup_share_seat **seats, uint32_t count);
/* The GPUs' pass for it is over. */
void lineup_share_left_device(struct lineup_share *share, struct lineup_share_seat *seat);
/* The job's work, with nothing locked. */
bool lineup_share_work(struct lineup_crew_job *job, struct lineup_crew_worker *worker);

/* share_gpu.c */

/*
 * Opens GPUs if @setup asks for them, or leaves the choice and there are some: share->gpu. *@cpu: the CPU's backend.
 * Nothing is locked. Logs.
 */
int lineup_share_gpu_create(struct lineup_share *share, const struct lineup_share_setup *setup, const char **cpu);
void lineup_share_gpu_destroy(struct lineup_share *share); /* nothing is locked, and no request is left */
/* Whether the crew leaves this waiting request to them. */
bool lineup_share_gpu_takes(const struct lineup_share *share, const struct lineup_share_request *request);
/* There may be something for their thread. */
void lineup_share_gpu_call(struct lineup_share *share);
/* A seat that was .on_device is free. */
void lineup_share_gpu_seat_freed(struct lineup_share *share);
/* The base they scan; for tests. */
struct lineup_searcher *lineup_share_gpu_searcher(const struct lineup_share *share);
/* What there is to say of them, in place of the crew's. */
void lineup_share_gpu_stats(const struct lineup_share *share, struct lineup_share_stats *stats);

#endif
