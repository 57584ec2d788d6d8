/* SPDX-License-Identifier: MIT */
/* The score stage: a backend scans panels of codes against a set of probes and reports the rows whose bound passes. */
#ifndef LINEUP_SCORE_H
#define LINEUP_SCORE_H

#include "gallery.h"
#include "probe.h"

/*
 * What a scan looks for. A backend computes, for every row r of a panel and every probe p, the int32
 *
 *	acc = sum over i of q_p[i] q_r[i]          (exact: at most 127 * 127 * 4096)
 *
 * and calls @hit for (p, r) unless it has shown that scale_p scale_r acc + c0_p + c1_p resid_r < threshold_p in real numbers. It may call
 * @hit for rows that fail this by a little (its test runs in float32, with a margin), never miss one that passes: the callback decides in float64.
 * Rows past the block's rows, and filling probes, are never reported.
 *
 * threshold_p rises while scans run: it is read through an atomic, once per panel and tile or more often. -INFINITY lets all through.
 */
struct lineup_scan {
	const struct lineup_probe_set *probes;
	_Atomic float *threshold; /* [probes->capacity] */
	/* Rows row .. row + 47 of the block, bit b of @mask for row + b; acc[b] is valid where the bit is set. Any thread. */
	void (*hit)(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS]);
	void *arg;
};

struct lineup_score {
	const char *name;
	/* NULL if this CPU can run it, else why not. */
	const char *(*why_not)(void);
	/* Scans rows [0, rows) of a block; @columns as lineup_block_columns gives them. */
	void (*scan)(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t rows);
	/* lineup_dot, the same bits. NULL: lineup_dot itself. */
	double (*dot)(const float *a, const float *b, uint32_t dim);
};

extern const struct lineup_score lineup_score_scalar;
extern const struct lineup_score lineup_score_avx2;
extern const struct lineup_score lineup_score_avx512;
extern const struct lineup_score lineup_score_neon;

/*
 * The backend called @name (NULL or "auto": the fastest that runs here and passes its self-test; one that fails it is warned of and
 * passed over). -EINVAL: no such name; -ENOTSUP: named, but cannot run here or failed. Logs.
 */
int lineup_score_choose(struct lineup_ctx *ctx, const char *name, const struct lineup_score **score);
/* One tile against the scalar backend, at several dimensions; 0 or -EIO. */
int lineup_score_selftest(const struct lineup_score *score);

#endif
