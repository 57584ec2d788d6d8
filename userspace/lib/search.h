/* SPDX-License-Identifier: MIT */
/* The search stage: passes over a snapshot that join stream, score and topk. */
#ifndef LINEUP_SEARCH_H
#define LINEUP_SEARCH_H

#include "pool.h"
#include "score.h"
#include "stream.h"
#include "topk.h"
#include "vulkan/gpu.h"

enum {
	LINEUP_K_MAX_DEFAULT = 128,
	LINEUP_CANDIDATES_DEFAULT = 1024,
	LINEUP_GPU_STREAM_BYTES = 96 << 20, /* of the ring where GPUs are fed from it: reading, copying and scanning each need a share */
	LINEUP_STATE_BYTES_MAX = 64 << 20, /* of all probes' selections: fewer probes share a pass where k or candidates are many */
};

/* A row range of a block that is in memory: what one thread scans at a time. */
struct lineup_unit {
	uint32_t segment;
	uint32_t row;     /* first, within the block; multiple of 48 */
	uint64_t block;
	uint32_t rows;
};

struct lineup_worker {
	struct lineup_searcher *searcher;
	uint32_t index;
	struct disk_record *record; /* [record_bytes] scratch */
	float *vector;              /* [dim] scratch for float16 */
	/* What it is scanning. */
	const struct lineup_segment *segment;
	uint32_t segment_index;
	uint64_t row_first;         /* of the columns below, in the segment */
	struct lineup_columns columns;
	uint64_t rows_scanned;
};

struct lineup_searcher {
	struct lineup_ctx *ctx;
	struct lineup_snapshot *snapshot;
	const struct lineup_score *score;
	struct lineup_pool *pool;
	uint32_t threads;
	enum lineup_residency residency;
	uint32_t k_max;
	uint32_t record_bytes;      /* of this dimension and storage */
	uint32_t probes_max;        /* that share a pass, after LINEUP_STATE_BYTES_MAX */
	uint64_t memory_max;
	lineup_progress_fn *progress;
	void *progress_arg;
	struct lineup_worker *workers;   /* one a thread of the pool, then one a GPU */
	uint32_t worker_count;
	struct lineup_probe_set probes;
	struct lineup_select *selects;   /* [probes_max] */
	struct lineup_entry *entries;    /* behind all selects */
	_Atomic float *thresholds;       /* [probes.capacity] */
	uint32_t selects_ready;          /* whose mutex exists */
	/* Where the blocks are. */
	struct lineup_stream *stream;    /* NULL once resident, or with nothing on disk */
	uint8_t **resident;              /* [segment_count] blocks of segments on disk, or NULL */
	bool is_resident;
	bool load_refused;               /* AUTO: it did not fit */
	uint64_t passes_done;
	struct lineup_gpus *gpus;        /* NULL: the CPU scans */
	/*
	 * What was deleted since the snapshot, [segment_count] bitmaps or NULL each; NULL: nothing. Devices do not know of it: each such row may take a place
	 * among the k best that a device goes by, so it is asked for k_more more.
	 */
	const uint8_t *const *deleted;
	uint32_t k_more, k_more_max;
	atomic_bool gpus_lost;           /* in this pass */
	/* The pass that runs. */
	const struct lineup_search_options *options;
	int64_t now;
	struct lineup_candidate *candidates; /* [batch][options->k] the caller's; NULL: the selections' .exact are what is wanted */
	uint32_t *counts;                /* [batch] the caller's */
	uint32_t batch;                  /* probes in it */
	uint64_t progress_total;
	atomic_ullong progress_bytes;
	atomic_ullong unit_next;         /* of the blocks in memory */
	atomic_uint select_next;         /* for the re-ranking */
	atomic_int error;                /* the first failure: all stop */
};

/* search.c */

/* As lineup_searcher_create; takes the reference of @snapshot, on failure too. */
int lineup_searcher_create_over(struct lineup_snapshot *snapshot, const struct lineup_search_setup *setup, uint32_t k_more_max,
				struct lineup_searcher **searcher);
/* Whether a gallery of @lists lists can be searched so: -EINVAL, logged. */
int lineup_search_check(struct lineup_ctx *ctx, const struct lineup_search_options *options, uint32_t k_max, uint32_t lists);

/* search_load.c */

/* Brings every segment on disk into memory, verified. -EBADMSG, -EIO (logged), -ECANCELED; -ENOMEM (silent): it does not fit, or cannot be had. */
int lineup_searcher_load(struct lineup_searcher *searcher);
uint64_t lineup_searcher_load_bytes(const struct lineup_searcher *searcher);
/* What a gallery may take where nobody set a limit: 80 % of what the kernel calls available; 0 where it does not say. */
uint64_t lineup_search_memory(void);
/* Whether a load would keep within memory_max. */
bool lineup_searcher_fits(const struct lineup_searcher *searcher);
void lineup_searcher_unload(struct lineup_searcher *searcher);

/* search_gpu.c */

/*
 * Opens GPUs, if @setup asks for them by name, or leaves the choice and there are some: searcher->gpus. Else that stays NULL, and
 * *@cpu is the name of the CPU's backend. -EINVAL, -ENODEV, -ENOTSUP, -ENOMEM: logged.
 */
int lineup_searcher_open_gpus(struct lineup_searcher *searcher, const struct lineup_search_setup *setup, const char **cpu);
/* With the stream there, if there is one: searcher->gpus is ready, or NULL where nobody asked for it. Logs. */
int lineup_searcher_attach_gpus(struct lineup_searcher *searcher, const struct lineup_search_setup *setup);
/* Brings all rows to the GPUs, or to memory if the CPU had to take over. As lineup_searcher_load. */
int lineup_searcher_load_gpus(struct lineup_searcher *searcher);
void lineup_searcher_scan_on_gpus(struct lineup_searcher *searcher, const float *threshold);
/* After a pass: true if GPUs were lost and it is to be repeated, on them or, with searcher->gpus NULL now, on the CPU. */
bool lineup_searcher_regain(struct lineup_searcher *searcher);

/* search_pass.c */

/* Runs one pass for the probes in searcher->probes, re-ranks, and fills searcher->candidates and counts. */
int lineup_searcher_pass(struct lineup_searcher *searcher, double *seconds_scan, double *seconds_rerank);
/* A row that a GPU found, as lineup_gpus_pass.survivor says: decides in float64, keeps what may still be in the result. */
int lineup_worker_survivor(struct lineup_worker *worker, uint32_t probe, struct lineup_entry *entry, int32_t acc, float scale, float resid,
			   double *floor);
void lineup_searcher_fail(struct lineup_searcher *searcher, int err);
bool lineup_searcher_failed(struct lineup_searcher *searcher);
/* Adds @bytes of progress; the calling thread's worker (index 0) tells the caller. */
void lineup_worker_progress(struct lineup_worker *worker, uint64_t bytes);

/* search_rerank.c */

/* What deciding about one probe's rows needs. */
struct lineup_rerank {
	struct lineup_ctx *ctx;
	const struct lineup_snapshot *snapshot; /* whose segments the entries name */
	const struct lineup_score *score;
	struct disk_record *record;  /* scratch of a record's size */
	float *vector;               /* scratch, [dim] */
	const float *probe;          /* [dim] as stored */
};

/* The record of @entry: in memory, or read into the scratch. Valid until the next. */
int lineup_rerank_record(const struct lineup_rerank *rerank, const struct lineup_entry *entry, const struct disk_record **record);
/* lineup_select_rerank by the records. */
int lineup_rerank_select(struct lineup_rerank *rerank, struct lineup_select *select);
/* After the last re-ranking: the probe's candidates, best first, with their names; @row has room for k. */
int lineup_rerank_deliver(struct lineup_rerank *rerank, struct lineup_select *select, struct lineup_candidate *row, uint32_t *count);
/* The largest float not above @floor: a scan that tests against it lets everything through that the floor does. */
float lineup_scan_threshold(double floor);

/* Between what bounds the score of a row lies, by the certificate of probe.h. */
struct lineup_interval {
	double low, high;
};

struct lineup_interval lineup_score_interval(const struct lineup_probe_set *probes, uint32_t probe, int32_t acc, float scale, float resid);

#endif
