/* SPDX-License-Identifier: MIT */
/* What the files behind gpu.h share: the devices of a searcher, their buffers, and the work they are given. */
#ifndef LINEUP_PASS_H
#define LINEUP_PASS_H

#include <pthread.h>

#include "gpu.h"
#include "kernels.h"
#include "place.h"
#include "vk.h"

/*
 * Each device has two threads. Its worker does all that talks to the device during a pass, in an order that depends on nothing
 * but the gallery, the probes and the setup:
 *
 *	rows that are in device memory already
 *	blocks that the stream brings, in their order, in batches
 *	blocks of the journal, which are in host memory
 *	a last look at what overflowed
 *
 * That work is cut into *jobs*: rows that are in one place, and the chunks they are scanned in. A job's buffers are used again
 * JOBS jobs later; before that it is settled: its chunks that overflowed are scanned again while their rows are still there. A
 * job is recorded into as many *submissions* as the time limit of one asks for.
 *
 * The other thread, the releaser, gives blocks back to the stream as soon as they are copied: no thread that waits for a block
 * waits for scans.
 *
 * A block goes: feed() puts it among .pending; the worker takes blocks in order, copies them to the device and hands them to
 * the releaser.
 */
enum {
	GPU_JOBS = 4,                     /* in flight: reading, copying and scanning overlap */
	GPU_JOB_BYTES = 8 << 20,          /* of blocks in a batch; more if one block is larger */
	GPU_JOB_BLOCKS = 64,              /* in a batch */
	GPU_JOB_CHUNKS = 16,
	GPU_SUBMISSIONS = 8,              /* recorded or running */
	GPU_SUBMISSION_MS = 30,           /* of a submission, by what the last ones took */
	GPU_DISPATCH_ROWS_MIN = 1024,     /* less is not worth a dispatch, however slow the device */
	GPU_CAP_DEFAULT = 4096,           /* entries of a list, and 8 k at least */
	GPU_LISTS_BYTES_MAX = 256 << 20,  /* of all lists of a device: fewer probes share a pass where k is large */
	GPU_SLOTS_MIN = 1024,             /* per probe (params.h) */
	GPU_FETCH_BYTES = 4 << 20,        /* of lists that come back at a time; one list at least */
	GPU_GROWTH_MAX = 16,              /* of chunks */
	GPU_SILENCE_S = 120,              /* without an answer a device counts as lost */
	GPU_LOSS_AGAIN_S = 60,            /* a second loss within is the last; so is one before a pass is finished */
	GPU_DEVICES_MAX = 16,
	GPU_ALIGN = 256,
};

struct gpu_submission {
	struct lineup_vk_commands commands;
	uint64_t value;             /* of the compute timeline; 0: never submitted */
	uint64_t products;          /* byte products in it, for the estimate */
	uint64_t begun_ns;
};

struct gpu_chunk {
	uint32_t row_first;         /* in the job's rows */
	uint32_t rows;
};

struct gpu_job {
	uint32_t index;
	struct lineup_vk_buffer raw;      /* blocks as they are in a file */
	struct lineup_vk_buffer rows;     /* of a piece that does not stay */
	struct lineup_vk_buffer upload;   /* deleted-bitmaps, and blocks that are copied by the host */
	struct lineup_vk_commands copies;
	/* The job it has now. */
	const struct lineup_piece *piece;
	uint64_t base;                    /* address of a piece's memory: of piece, or .rows */
	uint64_t base_rows;               /* rows that memory is laid out for */
	uint32_t row_base;                /* of the first row there */
	uint32_t batch_count;             /* blocks that came with it */
	uint32_t batch_rows;
	uint64_t batch_first;             /* block of the segment */
	uint32_t unpack_first;            /* where its rows go in that memory */
	uint32_t chunk_count;
	struct gpu_chunk chunks[GPU_JOB_CHUNKS];
	uint64_t value;                   /* of the compute timeline when all is done; 0: none */
	/* Blocks of the stream it still holds. */
	uint32_t block_count;
	struct lineup_stream_block blocks[GPU_JOB_BLOCKS];
	const struct lineup_vk_queue *copy_queue;
	uint64_t copy_value;
	bool held;                        /* by the releaser; under the device's mutex */
};

/* Where a pass's data lie in .state, and in its mirrors in host memory. */
struct gpu_layout {
	uint32_t probes;
	uint32_t cap;
	uint32_t slot_count;
	uint32_t pitch;
	uint64_t codes, params, counts, kept, slots, overflow, size; /* offsets in .state */
};

struct gpu_list {
	uint64_t offset;            /* of its entries, in .answer */
	double floor;               /* that the host gave in a drain */
};

struct gpu {
	struct lineup_gpus *gpus;
	uint32_t index;
	struct lineup_vk_device *device;
	struct lineup_vk_kernels *kernels;
	uint64_t memory;                  /* for rows that stay */
	struct lineup_vk_buffer ring;     /* the stream's, imported or the device's own; .size 0: blocks are copied */
	bool ring_moved;                  /* the stream's ring is in this device's memory */
	struct lineup_vk_buffer *arenas;  /* of kept pieces */
	uint32_t arena_count;
	struct lineup_vk_buffer state;
	struct lineup_vk_buffer entries;  /* [probes][cap] */
	struct lineup_vk_buffer upload;   /* codes and params of a pass's probes */
	struct lineup_vk_buffer flags;    /* read back: [GPU_JOBS + 1][GPU_JOB_CHUNKS] overflows */
	struct lineup_vk_buffer answer;   /* read back: kept, params, then lists */
	struct gpu_list *lists;           /* [probes_max] what of them is in .answer */
	struct gpu_job jobs[GPU_JOBS];
	struct gpu_submission submissions[GPU_SUBMISSIONS];
	/* Worker only, or the caller of finish while the worker rests. */
	struct gpu_layout layout;
	struct gpu_submission *open;      /* being recorded */
	const struct lineup_vk_queue *after; /* that the open submission waits for */
	uint64_t after_value;
	uint32_t submission_next;
	uint32_t job_next;
	struct gpu_job *batch;            /* being filled */
	uint64_t seen;                    /* rows planned in this pass */
	uint64_t chunk_rows;              /* of the next chunk */
	double rate[2];                   /* products a ms; [1]: few probes */
	uint64_t finished_ns;             /* when a submission was last seen to end */
	uint32_t overflows;
	uint64_t bytes_uploaded;
	uint64_t survivors;
	uint64_t answer_used;             /* bytes of .answer that hold scores */
	bool lists_there;                 /* in .answer, all of them */
	int host_error;                   /* survivor's own: not the device's fault */
	/* Under the mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t work;              /* for the worker: a pass, a block, no more blocks */
	pthread_cond_t changed;           /* blocks were released; the worker is done */
	pthread_cond_t copied;            /* for the releaser */
	pthread_t worker, releaser;
	bool worker_started, releaser_started;
	bool stop;
	bool running;                     /* the worker has a pass */
	bool fed;                         /* no more blocks will come */
	bool complete;                    /* all blocks came */
	uint64_t next;                    /* ordinal of the block that is due */
	uint64_t expected;                /* blocks of this pass */
	uint32_t ring_slots;
	struct lineup_stream_block *pending; /* [ring_slots] by ordinal; .data NULL: not there */
	struct gpu_job *copies[GPU_JOBS]; /* for the releaser, in order */
	uint32_t copies_head, copies_tail;
	atomic_bool hung;                 /* given up without an answer: its objects are left behind */
	struct gpu *left_before;          /* in the list of those */
};

/* What the devices know about a piece beyond its place. */
struct gpu_piece {
	uint64_t address;                 /* of its memory; 0: it does not stay */
	uint64_t ordinal;                 /* of its first block among its device's, if its blocks are wanted */
	uint64_t arrived;                 /* blocks, in this pass */
	bool full;                        /* its rows are there */
};

struct lineup_gpus {
	struct lineup_ctx *ctx;
	struct lineup_gpus_setup setup;
	struct lineup_stream *stream;     /* NULL: nothing is on disk */
	struct lineup_place place;
	struct gpu_piece *pieces;         /* [place.count] */
	struct lineup_stream_ring ring;   /* slot_count 0: no stream */
	uint32_t probes_max;
	uint32_t cap_max;
	uint32_t count;
	uint32_t first_count;             /* when first opened */
	struct gpu gpu[GPU_DEVICES_MAX];
	const char *backend;
	const char *staging;
	bool broken;                      /* a device was lost: recover, or nothing */
	uint64_t lost_ns;                 /* when; 0: never */
	bool passed;                      /* a pass has been finished since */
	struct lineup_gpus_pass pass;
	atomic_int error;                 /* the first of this pass: all devices stop */
	uint32_t threads;                 /* of the pool */
};

/* buffers.c */

void lineup_gpu_layout(const struct lineup_gpus *gpus, uint32_t probes, uint32_t k, struct gpu_layout *layout);
/* All that a device's passes need besides kept pieces; gpus->place is known. Logs. */
int lineup_gpu_buffers_create(struct gpu *gpu);
/* Memory for the pieces that are to be kept, as far as there is any. Logs. */
int lineup_gpu_arenas_create(struct gpu *gpu);
/* How blocks get from the stream's ring to this device. Logs. */
int lineup_gpu_ring_create(struct gpu *gpu);
void lineup_gpu_buffers_destroy(struct gpu *gpu);

/* work.c: by the worker */

uint64_t lineup_gpu_now_ns(void);

/* The submission that is being recorded, begun if there is none. */
int lineup_gpu_record(struct gpu *gpu, struct lineup_vk_commands **commands);
/* Submits what was recorded, if anything; *@value: what the compute timeline reaches then. */
int lineup_gpu_submit(struct gpu *gpu, uint64_t *value);
int lineup_gpu_submit_and_wait(struct gpu *gpu);
/* Waits until the compute timeline reaches @value, and learns the device's rate from each submission that ends on the way. */
int lineup_gpu_finish(struct gpu *gpu, uint64_t value);
/* Waits, however long, with an eye on devices that do not answer. Any thread. */
int lineup_gpu_wait(struct gpu *gpu, const struct lineup_vk_queue *queue, uint64_t value);

/* chunks.c: by the worker */

void lineup_gpu_chunks_begin(struct gpu *gpu); /* a pass */
/* The next job, its buffers free and what it did settled. */
int lineup_gpu_job_get(struct gpu *gpu, struct gpu_job **job);
/*
 * Scans the rows [@first, @end) of @job's, recorded in chunks and submitted. *@done: where it stopped, because a job holds no
 * more chunks; settle it and go on, or go on with the next job where the rows stay.
 */
int lineup_gpu_job_scan(struct gpu *gpu, struct gpu_job *job, uint64_t first, uint64_t end, uint64_t *done);
/* Waits for all of @job's work, scans again what overflowed: no row of it is needed any more. */
int lineup_gpu_job_settle(struct gpu *gpu, struct gpu_job *job);

/* lists.c */

int lineup_gpu_probes_upload(struct gpu *gpu);
int lineup_gpu_probes_erase(struct gpu *gpu);
/* Brings kept counts and thresholds to gpu->answer: recorded, or at once. */
void lineup_gpu_kept_copy(struct gpu *gpu, struct lineup_vk_commands *commands);
int lineup_gpu_kept_fetch(struct gpu *gpu);
/* Likewise, with the lists if they are few enough to come whole: one wait less. For gpu_deliver. */
int lineup_gpu_answer_fetch(struct gpu *gpu);
uint32_t lineup_gpu_kept_most(const struct gpu *gpu); /* as they came back last */
/*
 * Hands all lists to the host in the worker's thread, empties them, and raises the device's thresholds by what the host knows
 * then. Kept counts are there.
 */
int lineup_gpu_drain(struct gpu *gpu);
/* Hands all lists to the host by the threads of @pool. Kept counts are there. */
int lineup_gpu_deliver(struct gpu *gpu, struct lineup_pool *pool);

/* feed.c */

/* What @err, if any, is to the pass: -ENODEV (logged) if it is the device's. */
int lineup_gpu_fault(struct gpu *gpu, int err);
int lineup_gpu_threads_start(struct gpu *gpu);
void lineup_gpu_threads_stop(struct gpu *gpu);

#endif
