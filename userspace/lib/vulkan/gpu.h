/* SPDX-License-Identifier: MIT */
/* Passes over a snapshot on GPUs, as the search stage sees them. Built without Vulkan, stubs.c answers instead. */
#ifndef LINEUP_GPU_H
#define LINEUP_GPU_H

#include "pool.h"
#include "stream.h"
#include "topk.h"

struct lineup_gpus;

struct lineup_gpus_setup {
	struct lineup_snapshot *snapshot; /* borrowed, like all here, until destroy */
	const char *variant;       /* kernels.h; NULL: the best of each device */
	const char *devices;       /* as lineup_search_setup.devices */
	/* GPUs were asked for: without @devices, software devices will do where there are no others; failures are errors */
	bool named;
	uint32_t threads;          /* of the pool that finish will be given */
	uint32_t probes_max;
	uint32_t k_max;
	bool retain;               /* keep rows in device memory as they pass, as far as it goes */
	uint64_t memory_max;       /* of device memory for rows, each device; 0: 80 % of what is available */
};

/*
 * Opens the devices. They share the snapshot in pieces (params.h), of which piece i belongs to device i % count. -ENODEV: there
 * is none (silent unless .named), -ENOTSUP, -ENOMEM: logged, as errors if .named, else as warnings.
 */
int lineup_gpus_create(struct lineup_ctx *ctx, const struct lineup_gpus_setup *setup, struct lineup_gpus **gpus);
/*
 * Makes all that a pass needs, once, before the first. @stream, whose ring may be imported, is borrowed until destroy; NULL:
 * nothing is on disk. -ENOMEM,
 * -ENOTSUP, -ENODEV: logged likewise.
 */
int lineup_gpus_attach(struct lineup_gpus *gpus, struct lineup_stream *stream);
/* The NUMA node that all devices are on, -1: several, or not known. What feeds them is best there. */
int lineup_gpus_node(const struct lineup_gpus *gpus);
/* Keeps the calling thread, and those it starts, to those of its CPUs that are on @node, if there are any; -1: as it is. */
void lineup_gpus_run_on_node(int node);
void lineup_gpus_destroy(struct lineup_gpus *gpus); /* takes NULL; after it no device touches the stream's ring */

/* Probes that can share a pass: probes_max, or fewer where the lists of so many with k_max would be too large. */
uint32_t lineup_gpus_probes_max(const struct lineup_gpus *gpus);
/* Whether all rows have a place in device memory. */
bool lineup_gpus_fits(const struct lineup_gpus *gpus);

/*
 * Whether the pass that has begun needs this block from the stream: false while its rows are in device memory. As
 * lineup_stream_begin's filter.
 */
bool lineup_gpus_wants(void *gpus, uint32_t segment, uint64_t block);

struct lineup_gpus_pass {
	const struct lineup_probe_set *probes;
	uint32_t k;
	bool distinct;             /* by subject */
	uint64_t lists;
	int64_t now;
	const float *threshold;    /* NULL: none */
	/*
	 * A row that may be in @probe's result: @entry but for its score, and what its bounds are made of. *@floor is set to a
	 * score below which no row can be in the result; an error ends the pass and is returned by it. @thread is below
	 * setup.threads, or that plus the number of a device; calls with one @thread follow each other, others run at the same
	 * time, for the same probe too.
	 */
	int (*survivor)(void *arg, uint32_t thread, uint32_t probe, struct lineup_entry *entry, int32_t acc, float scale,
			float resid, double *floor);
	void *arg;
	bool load_only;            /* brings rows to the devices, scans nothing */
};

/*
 * A pass: begin; feed each block the stream delivers, verified, from any threads; finish. feed takes the block over and
 * releases it to the stream, on failure too; blocks are scanned in their order whatever the order of calls. finish waits for
 * the devices and hands out the survivors, @threads at a time by @pool; it must be called after begin has returned 0, whatever
 * failed since.
 *
 * -ENODEV: a device was lost, or failed in a way that makes its answers unusable (logged as a warning): nothing of the pass
 * counts, though survivors may have been handed out; lineup_gpus_recover, then repeat the pass. -ECANCELED (silent): the blocks
 * that were wanted did not all come; nothing counts, and the next pass can begin. Other errors are survivor's own.
 */
int lineup_gpus_begin(struct lineup_gpus *gpus, const struct lineup_gpus_pass *pass);
int lineup_gpus_feed(struct lineup_gpus *gpus, const struct lineup_stream_block *block);
int lineup_gpus_finish(struct lineup_gpus *gpus, struct lineup_pool *pool);

/*
 * Opens the devices anew, empty; never more of them than before. -ENODEV: it failed, or the last loss was less than a minute ago, or no pass has been finished
 * since: the CPU takes over; logged as a warning either way.
 */
int lineup_gpus_recover(struct lineup_gpus *gpus);

struct lineup_gpus_facts {
	const char *backend;       /* "vulkan-" and the first device's variant; static */
	uint32_t devices;
	uint64_t rows_retained;    /* in device memory now */
	uint64_t bytes_retained;
	uint64_t bytes_uploaded;   /* by the last pass */
	uint64_t survivors;        /* of the last pass, handed out */
	uint32_t overflows;        /* chunks of the last pass that were scanned again in halves */
	const char *staging;       /* "imported", "driver", "copied": how blocks reach the devices; static */
};

void lineup_gpus_facts(const struct lineup_gpus *gpus, struct lineup_gpus_facts *facts);

#endif
