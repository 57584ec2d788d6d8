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
/* As lineup_score_choose, from @table, the fastest first. */
int lineup_score_choose_from(struct lineup_ctx *ctx, const struct lineup_score *const *table, size_t count, const char *name,
			     const struct lineup_score **score);
/* For lineup_backends, by vulkan/gpus.c or, in a build without, by vulkan/stubs.c: why "auto" finds no GPU (static), or NULL. Loads no driver in vain. */
const char *lineup_gpus_why_not(struct lineup_ctx *ctx);
/* Against the scalar backend: several dimensions, partly filled tiles and panels, several thresholds. 0, -EIO or -ENOMEM. */
int lineup_score_selftest(const struct lineup_score *score);

/*
 * For the backends whose test runs in float32. Instead of scale_p scale_r acc + c0_p + c1_p resid_r < threshold_p they test
 *
 *	fma(resid_r, slope_p, (float)acc * scale_r) < cut_p		(both sides divided by scale_p)
 *
 * which is true only if the former is. With u = 2^-24, A = acc scale_r, B = c1_p resid_r / scale_p and C = (threshold_p - c0_p) / scale_p,
 * let A + B >= C. The conversion and the product make A (1 + 2 u) or A (1 - 2 u) of A at worst, the fma's rounding costs one more u.
 *	A >= 0: all terms are >= 0, so the left side is >= (A + B) (1 - 3 u) >= C (1 - 3 u), and >= 0 where C < 0.
 *	A < 0: |A| <= B - C <= B + |C|, so it is >= C - 3 u |C| - 2 u B + (slope's excess over c1_p / scale_p) resid_r.
 * A slope 8 u too large pays for the B term; a cut that is lower by 8 u |C| pays for the C terms, its own rounding and the float64 steps
 * before it. 2^-90 more pays for results and operands below float32's normal range, also where they are flushed to zero. Overflow cannot
 * happen, for a row with |scale_r| or resid_r above ROW_MAX, or a negative or NaN resid_r, is to be given the scale NaN, and a NaN is never
 * less: such a row is always a hit. So is every row for a probe whose own scale is out of range: its slope is NaN.
 */
#define LINEUP_SCORE_ROW_MAX 0x1p60f

struct lineup_limits {
	double inverse[LINEUP_PROBES_MAX]; /* 1 / scale_p */
	float slope[LINEUP_PROBES_MAX];
};

/* @probes->count is at most LINEUP_PROBES_MAX. Fills whole tiles. */
void lineup_limits_init(struct lineup_limits *limits, const struct lineup_probe_set *probes);
/* The cuts of a tile of probes as the thresholds are now; of filling probes: infinite. */
void lineup_limits_cut(const struct lineup_limits *limits, const struct lineup_scan *scan, uint32_t tile, float cut[LINEUP_PROBE_TILE]);

#endif
