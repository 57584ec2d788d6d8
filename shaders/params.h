/* SPDX-License-Identifier: MIT */
/* What host and shaders exchange: memory layouts and push constants, read by C and by GLSL. */
#ifndef LINEUP_SHADER_PARAMS_H
#define LINEUP_SHADER_PARAMS_H

/*
 * Everything is reached by buffer device address; there are no descriptor sets. Every address is a multiple of 16.
 *
 * A *piece* is a run of gallery rows in device memory, in the order of template ids, without gaps:
 *
 *	codes   [rows][pitch]  int8 codes, row after row; pitch = dim rounded up to LINEUP_GPU_PITCH bytes, zeros past dim
 *	bounds  [rows]         struct gpu_bound
 *	marks   [rows]         struct gpu_mark: what only survivors need
 *
 * It is made by unpack.comp from blocks as they lie in a gallery (gallery.h), whose panels of 48 rows suit CPUs.
 *
 * A probe's *survivors* are a list of `cap` entries, the first `kept` of which have passed the last refresh. A scan appends:
 * counts[probe] goes on past cap when the list is full, so that the overflow is known; entries past cap are not written. A
 * refresh, after each scan,
 *
 *	- on overflow (count > cap) takes back all that the scan appended and sets bit 0 of overflow[chunk]: the host scans
 *	  that chunk again, in halves;
 *	- else puts each new entry's lower bound into the probe's slots: slots[hash(key) % slot_count] = max(...), key =
 *	  subject or row; the k-th largest slot, if k are taken, is a score that k distinct subjects (rows) are known to
 *	  reach: two keys in one slot only make it lower. It is the new threshold unless that is higher already. Entries
 *	  whose upper bound is below it are dropped, the others become `kept`.
 *
 * Slots are ordered floats (gpu_ordered in common.glsl), 0 for "not taken". The threshold changes only between scans, and no slot
 * depends on the order of entries: which entries survive is a function of gallery, probes and chunks, though not their order in
 * the list.
 *
 * Bounds on the device are float32 with a margin: no operation of Vulkan's float32 add, multiply or int conversion is off by more
 * than 2^-23 of its result (round to nearest or to zero). The device may let through what float64 would refuse, never refuse what
 * it would let through; the host decides in float64 from acc, scale and resid.
 */

#ifdef LINEUP_GLSL
#define GPU_U32 uint
#define GPU_I32 int
#define GPU_F32 float
#define GPU_U32X2 uvec2
#define GPU_ADDRESS(type) type
#else
#include <stdint.h>
#define GPU_U32 uint32_t
#define GPU_I32 int32_t
#define GPU_F32 float
#define GPU_U32X2 uint64_t /* little endian: .x is the low word */
#define GPU_ADDRESS(type) uint64_t
#endif

#define LINEUP_GPU_PITCH 64          /* a row's bytes are a multiple of this */
#define LINEUP_GPU_GEMV_PROBES 8     /* up to so many probes are scanned by the kernel for few */

struct gpu_bound {
	GPU_F32 scale;
	GPU_F32 resid;
};

struct gpu_mark {
	GPU_U32X2 lists;
	GPU_U32X2 expires;   /* int64 */
	GPU_U32X2 template_id;
	GPU_U32 subject;
	GPU_U32 deleted;     /* 1: never matches */
};

struct gpu_probe {
	GPU_F32 scale;
	GPU_F32 c0;          /* of the certificate (probe.h), rounded up */
	GPU_F32 c1;
	GPU_F32 threshold;   /* -inf: all pass. A refresh raises it */
};

struct gpu_entry {
	GPU_U32 row;         /* row_base + row in the piece */
	GPU_I32 acc;         /* exact dot product of the codes */
	GPU_F32 scale;       /* of the row */
	GPU_F32 resid;
	GPU_U32 subject;
	GPU_U32 zero;
	GPU_U32X2 template_id;
};

/* The references these names stand for are declared in common.glsl: arrays of the struct or type named. */

/* unpack.comp: one block a workgroup in y, rows in x. */
struct gpu_unpack {
	GPU_ADDRESS(gpu_words) blocks;       /* block_bytes apart */
	GPU_ADDRESS(gpu_words) deleted;      /* [ceil(block_rows / 32)] words a block, bit r % 32 of word r / 32; 0: none in any */
	GPU_ADDRESS(gpu_rows) codes;         /* of the piece */
	GPU_ADDRESS(gpu_bounds) bounds;
	GPU_ADDRESS(gpu_marks) marks;
	GPU_U32 block_words;                 /* block_bytes / 4 */
	GPU_U32 block_rows;
	GPU_U32 groups;                      /* ceil(dim / 4) */
	GPU_U32 rows;                        /* in all these blocks; all but the last are full */
	GPU_U32 row_first;                   /* where the first one goes in the piece */
	GPU_U32 pitch;                       /* uvec4s of a row in the piece */
};

/* scan.comp, gemv.comp */
struct gpu_scan {
	GPU_ADDRESS(gpu_rows) codes;
	GPU_ADDRESS(gpu_bounds) bounds;
	GPU_ADDRESS(gpu_marks) marks;
	GPU_ADDRESS(gpu_rows) probe_codes;   /* [probes][pitch], signed */
	GPU_ADDRESS(gpu_probes) probe;
	GPU_ADDRESS(gpu_entries) entries;    /* [probes][cap] */
	GPU_ADDRESS(gpu_counts) counts;      /* [probes] */
	GPU_U32X2 lists;                     /* a row must be on one of these; 0: any row */
	GPU_U32X2 now;                       /* rows with 0 < expires <= now do not match */
	GPU_U32 row_first;                   /* of the piece */
	GPU_U32 rows;
	GPU_U32 row_base;                    /* added to a row's number in entries */
	GPU_U32 probes;
	GPU_U32 pitch;
	GPU_U32 cap;
};

/* refresh.comp: one workgroup a probe. */
struct gpu_refresh {
	GPU_ADDRESS(gpu_probes) probe;
	GPU_ADDRESS(gpu_entries) entries;
	GPU_ADDRESS(gpu_counts) counts;
	GPU_ADDRESS(gpu_counts) kept;
	GPU_ADDRESS(gpu_counts) slots;       /* [probes][slot_count] */
	GPU_ADDRESS(gpu_counts) overflow;    /* [chunk] */
	GPU_U32 chunk;
	GPU_U32 probes;
	GPU_U32 cap;
	GPU_U32 k;
	GPU_U32 slot_count;                  /* a power of two, at least k */
	GPU_U32 distinct;                    /* 1: the key is the subject; 0: the row */
};

/* read.comp, peak.comp */
struct gpu_rate {
	GPU_ADDRESS(gpu_rows) from;
	GPU_ADDRESS(gpu_rows) to;            /* never written */
	GPU_U32 count;                       /* uvec4s to read; rounds of multiplying */
	GPU_U32 seed;
};

#ifndef LINEUP_GLSL
_Static_assert(sizeof(struct gpu_bound) == 8, "gpu_bound");
_Static_assert(sizeof(struct gpu_mark) == 32, "gpu_mark");
_Static_assert(sizeof(struct gpu_probe) == 16, "gpu_probe");
_Static_assert(sizeof(struct gpu_entry) == 32, "gpu_entry");
_Static_assert(sizeof(struct gpu_unpack) == 64, "gpu_unpack");
_Static_assert(sizeof(struct gpu_scan) == 96, "gpu_scan");
_Static_assert(sizeof(struct gpu_refresh) == 72, "gpu_refresh");
_Static_assert(sizeof(struct gpu_rate) == 24, "gpu_rate");
#endif

#endif
