/* SPDX-License-Identifier: MIT */
/* The probe stage: how a vector is normalised, scored and quantised. What is written here defines "exact". */
#ifndef LINEUP_PROBE_H
#define LINEUP_PROBE_H

#include "internal.h"

/*
 * The order of additions. For vectors a, b of dim components, with components past dim taken as zero:
 *
 *	for j in 0..7:  lane[j] = +0.0;  for i = j, j+8, j+16, ...: lane[j] = lane[j] + (double)a[i] * (double)b[i]
 *	dot = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]))
 *
 * all in float64. A product of two float32 values is exact in float64, so fused and separate multiply-add give the same bits.
 * The score of a probe and a template is (float)dot of the two as stored.
 *
 * Normalisation: norm = sqrt(dot(v, v)) in this order; stored[i] = (float)((double)v[i] / norm). For float64 input, the values are
 * first multiplied by the power of two that brings the largest magnitude into [0.5, 1), products are rounded before they are added.
 */
double lineup_dot(const float *a, const float *b, uint32_t dim); /* the reference; backends have faster ones, with the same bits */

enum lineup_row_fault { LINEUP_ROW_OK, LINEUP_ROW_NAN, LINEUP_ROW_INF, LINEUP_ROW_ZERO };

/* Normalises row @row of @m into @out[dim]. Silent: the caller knows the file and row. */
enum lineup_row_fault lineup_probe_normalise(const struct lineup_matrix *m, uint64_t row, float *out);
const char *lineup_row_fault_text(enum lineup_row_fault fault); /* "holds a NaN", ... */

/*
 * Quantisation of a stored vector v (|v| about 1): scale s = max|v[i]| / 127 (float32, rounded up so that no code passes 127), codes
 * q[i] = round-to-nearest-even(v[i] / s) clamped to [-127, 127], residual e[i] = v[i] - s q[i], computed in float64. resid is a
 * float32 not less than |e| (rounded up with margin). The same bits on every machine: no backend has its own.
 */
void lineup_probe_quantise(const float *v, uint32_t dim, int8_t *codes, float *scale, float *resid);

/*
 * The certificate. For probe p and template t, with p^ = s_p q_p, t^ = s_t q_t, e = what quantisation lost:
 *
 *	|<p,t> - s_p s_t (q_p . q_t)|  <=  |e_p| |t^| + |p| |e_t|  <=  |e_p| (T + resid_t) + P resid_t  =  c0 + c1 resid_t
 *	c0 = resid_p T + margin,  c1 = resid_p + P,   P, T: bounds of the stored norms
 *
 * T is 1 + 1e-6 for float32 storage, 1 + 1e-3 for float16. margin covers the rounding of the score to float32 (6e-8), of the float64 sum
 * (4096 * 2^-53) and of the products in the bound itself.
 */
#define LINEUP_NORM_MAX_FLOAT32 (1.0 + 1e-6)
#define LINEUP_NORM_MAX_FLOAT16 (1.0 + 1e-3)
#define LINEUP_BOUND_MARGIN 1e-6

/* c0 and c1 of a probe that lost @resid, for templates of norms up to @norm_max_template (T). */
void lineup_probe_bounds(float resid, double norm_max_template, double *c0, double *c1);

/* Probes as the backends read them. Tiles of 8: codes[tile][group][8][4], group = 4 consecutive components. */
enum { LINEUP_PROBE_TILE = 8 };

struct lineup_probe_set {
	uint32_t count;    /* probes */
	uint32_t tiles;    /* of 8, the last one filled up with zero codes */
	uint32_t dim;
	uint32_t groups;   /* round_up(dim, 4) / 4 */
	uint32_t capacity; /* probes there is room for; multiple of 8 */
	float *vectors;    /* [capacity][dim] normalised */
	int8_t *codes;     /* [tiles][groups][8][4], 64-byte aligned */
	int32_t *code_sum; /* [capacity] sum of the codes: u8 kernels start at -128 * code_sum */
	float *scale;      /* [capacity] s_p; 0 for filling */
	double *c0;        /* [capacity] of the certificate */
	double *c1;
	void *memory;      /* one secret allocation behind all of it */
	size_t memory_size;
};

int lineup_probe_set_init(struct lineup_ctx *ctx, struct lineup_probe_set *set, uint32_t capacity, uint32_t dim);
void lineup_probe_set_fini(struct lineup_probe_set *set); /* takes a zeroed set */
/* Whether @m can be probes for templates of @dim components; -EINVAL, logged. */
int lineup_probe_check(struct lineup_ctx *ctx, const struct lineup_matrix *m, uint32_t dim);
/* Normalises, quantises and packs rows [first, first + count) of @m, which has passed lineup_probe_check. Fails like lineup_search for a bad row, naming it. */
int lineup_probe_set_fill(struct lineup_ctx *ctx, struct lineup_probe_set *set, const struct lineup_matrix *m, uint64_t first,
			  uint32_t count, double norm_max_template);
void lineup_probe_set_erase(struct lineup_probe_set *set);

#endif
