// SPDX-License-Identifier: MIT
// The arithmetic every score rests on: dot product, normalisation, quantisation; and the probes packed for the backends.
#include <assert.h>
#include <math.h>
#include <string.h>

#include "probe.h"

enum { LANES = 8 };

static double lanes_sum(const double lane[LANES])
{
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

double lineup_dot(const float *a, const float *b, uint32_t dim)
{
	double lane[LANES] = { 0 };
	uint32_t i = 0;

	for (; i + LANES <= dim; i += LANES)
		for (int j = 0; j < LANES; j++)
			lane[j] += (double)a[i + j] * (double)b[i + j];
	for (int j = 0; i < dim; i++, j++)
		lane[j] += (double)a[i] * (double)b[i];
	return lanes_sum(lane);
}

static double sum_of_squares(const double *v, uint32_t dim)
{
	double lane[LANES] = { 0 };
	uint32_t i = 0;

	for (; i + LANES <= dim; i += LANES)
		for (int j = 0; j < LANES; j++)
			lane[j] += v[i + j] * v[i + j];
	for (int j = 0; i < dim; i++, j++)
		lane[j] += v[i] * v[i];
	return lanes_sum(lane);
}

/* Why the norm of a row is not finite or zero: a NaN counts before an infinity. */
static enum lineup_row_fault row_fault(const struct lineup_matrix *m, uint64_t row)
{
	enum lineup_row_fault fault = LINEUP_ROW_ZERO;

	for (uint32_t i = 0; i < m->dim; i++) {
		double x = m->dtype == LINEUP_FLOAT64 ? ((const double *)m->data)[row * m->dim + i] :
							(double)((const float *)m->data)[row * m->dim + i];

		if (isnan(x))
			return LINEUP_ROW_NAN;
		if (isinf(x))
			fault = LINEUP_ROW_INF;
	}
	return fault;
}

static bool normalise_float32(const float *v, uint32_t dim, float *out)
{
	/* A square of a float32 is neither zero nor infinite in float64, so only a NaN, an infinity or zeros fail here. */
	double norm = sqrt(lineup_dot(v, v, dim));

	if (!(norm > 0) || !isfinite(norm))
		return false;
	for (uint32_t i = 0; i < dim; i++)
		out[i] = (float)((double)v[i] / norm);
	return true;
}

static bool normalise_float64(const double *v, uint32_t dim, float *out)
{
	double scaled[LINEUP_DIM_MAX], largest = 0, norm, first, second;
	int exponent;

	for (uint32_t i = 0; i < dim; i++) {
		if (!isfinite(v[i]))
			return false;
		if (fabs(v[i]) > largest)
			largest = fabs(v[i]);
	}
	if (largest == 0)
		return false;
	frexp(largest, &exponent);
	/* Two factors, as one alone may be beyond float64. At most one product is inexact, and then only where both ways give zero. */
	first = ldexp(1.0, -exponent / 2);
	second = ldexp(1.0, -exponent - -exponent / 2);
	for (uint32_t i = 0; i < dim; i++)
		scaled[i] = v[i] * first * second;
	norm = sqrt(sum_of_squares(scaled, dim));
	for (uint32_t i = 0; i < dim; i++)
		out[i] = (float)(scaled[i] / norm);
	explicit_bzero(scaled, dim * sizeof(scaled[0]));
	return true;
}

enum lineup_row_fault lineup_probe_normalise(const struct lineup_matrix *m, uint64_t row, float *out)
{
	bool good = m->dtype == LINEUP_FLOAT64 ? normalise_float64((const double *)m->data + row * m->dim, m->dim, out) :
						 normalise_float32((const float *)m->data + row * m->dim, m->dim, out);

	return good ? LINEUP_ROW_OK : row_fault(m, row);
}

const char *lineup_row_fault_text(enum lineup_row_fault fault)
{
	switch (fault) {
	case LINEUP_ROW_NAN:
		return "holds a NaN";
	case LINEUP_ROW_INF:
		return "holds an infinity";
	case LINEUP_ROW_ZERO:
		return "holds only zeros";
	case LINEUP_ROW_OK:
		break;
	}
	return "is good";
}

static float round_up_float(double x)
{
	float f = (float)x;

	return (double)f < x ? nextafterf(f, INFINITY) : f;
}

/* Eight components: codes, and the squares of what they lose. Everything but the division and the sum of squares is exact. */
static inline void quantise_lanes(const float *v, double scale, int8_t *codes, double lane[LANES])
{
	const double to_integer = 0x1.8p52; /* adding it drops the fraction, to nearest even, as long as |v / scale| < 2^51 */

	for (int j = 0; j < LANES; j++) {
		double x = (double)v[j], code = x / scale + to_integer - to_integer, e;

		code = code > 127 ? 127 : code;
		code = code < -127 ? -127 : code;
		e = x - scale * code;
		lane[j] += e * e;
		codes[j] = (int8_t)code;
	}
}

void lineup_probe_quantise(const float *v, uint32_t dim, int8_t *codes, float *scale, float *resid)
{
	double lane[LANES] = { 0 };
	float largest = 0, tail[LANES] = { 0 };
	int8_t tail_codes[LANES];
	uint32_t i;

	for (i = 0; i < dim; i++)
		largest = fabsf(v[i]) > largest ? fabsf(v[i]) : largest;
	*scale = round_up_float((double)largest / 127);
	*resid = 0;
	if (*scale == 0) {
		memset(codes, 0, dim);
		return;
	}
	for (i = 0; i + LANES <= dim; i += LANES)
		quantise_lanes(v + i, (double)*scale, codes + i, lane);
	if (i < dim) {
		memcpy(tail, v + i, (dim - i) * sizeof(*v));
		quantise_lanes(tail, (double)*scale, tail_codes, lane);
		memcpy(codes + i, tail_codes, dim - i);
	}
	/* 4096 / 8 + 3 additions, a square and a root, each off by 2^-53 at most, are below 1e-12 together. */
	*resid = round_up_float(sqrt(lanes_sum(lane)) * (1 + 1e-12));
}

int lineup_probe_set_init(struct lineup_ctx *ctx, struct lineup_probe_set *set, uint32_t capacity, uint32_t dim)
{
	size_t vectors, codes, sums, scales, bounds;
	uint8_t *p;

	memset(set, 0, sizeof(*set));
	set->dim = dim;
	set->groups = (dim + 3) / 4;
	set->capacity = (uint32_t)round_up(capacity, LINEUP_PROBE_TILE);
	vectors = round_up((size_t)set->capacity * dim * sizeof(*set->vectors), 64);
	codes = round_up((size_t)set->capacity * set->groups * 4, 64);
	sums = round_up(set->capacity * sizeof(*set->code_sum), 64);
	scales = round_up(set->capacity * sizeof(*set->scale), 64);
	bounds = round_up(set->capacity * sizeof(*set->c0), 64);
	set->memory_size = vectors + codes + sums + scales + 2 * bounds;
	set->memory = lineup_secret_alloc(ctx, set->memory_size);
	if (!set->memory)
		return lineup_fail(ctx, -ENOMEM, "probes: no memory for %u of %u components", capacity, dim);
	p = set->memory;
	set->codes = (int8_t *)p;
	set->vectors = (float *)(p += codes);
	set->code_sum = (int32_t *)(p += vectors);
	set->scale = (float *)(p += sums);
	set->c0 = (double *)(p += scales);
	set->c1 = (double *)(p + bounds);
	return 0;
}

void lineup_probe_set_fini(struct lineup_probe_set *set)
{
	lineup_secret_free(set->memory, set->memory_size);
	memset(set, 0, sizeof(*set));
}

void lineup_probe_set_erase(struct lineup_probe_set *set)
{
	size_t used = (size_t)set->tiles * LINEUP_PROBE_TILE;

	explicit_bzero(set->vectors, used * set->dim * sizeof(*set->vectors));
	explicit_bzero(set->codes, used * set->groups * 4);
	explicit_bzero(set->code_sum, used * sizeof(*set->code_sum));
	explicit_bzero(set->scale, used * sizeof(*set->scale));
	explicit_bzero(set->c0, used * sizeof(*set->c0));
	explicit_bzero(set->c1, used * sizeof(*set->c1));
	set->count = set->tiles = 0;
}

void lineup_probe_bounds(float resid, double norm_max_template, double *c0, double *c1)
{
	*c0 = (double)resid * norm_max_template + LINEUP_BOUND_MARGIN;
	*c1 = (double)resid + LINEUP_NORM_MAX_FLOAT32;
}

static void pack(struct lineup_probe_set *set, uint32_t probe, double norm_max_template)
{
	uint32_t tile = probe / LINEUP_PROBE_TILE, lane = probe % LINEUP_PROBE_TILE;
	int8_t codes[LINEUP_DIM_MAX + 4] = { 0 };
	int32_t sum = 0;
	float resid;

	lineup_probe_quantise(set->vectors + (size_t)probe * set->dim, set->dim, codes, &set->scale[probe], &resid);
	for (uint32_t g = 0; g < set->groups; g++)
		memcpy(set->codes + (((size_t)tile * set->groups + g) * LINEUP_PROBE_TILE + lane) * 4, codes + g * 4, 4);
	for (uint32_t i = 0; i < set->dim; i++)
		sum += codes[i];
	set->code_sum[probe] = sum;
	lineup_probe_bounds(resid, norm_max_template, &set->c0[probe], &set->c1[probe]);
	explicit_bzero(codes, set->dim);
}

int lineup_probe_check(struct lineup_ctx *ctx, const struct lineup_matrix *m, uint32_t dim)
{
	if (m->dim != dim)
		return lineup_fail(ctx, -EINVAL, "probes: %u components each, but the gallery's templates have %u", m->dim, dim);
	if (m->dtype != LINEUP_FLOAT32 && m->dtype != LINEUP_FLOAT64)
		return lineup_fail(ctx, -EINVAL, "probes: dtype %d is not known", (int)m->dtype);
	return 0;
}

int lineup_probe_set_fill(struct lineup_ctx *ctx, struct lineup_probe_set *set, const struct lineup_matrix *m, uint64_t first,
			  uint32_t count, double norm_max_template)
{
	assert(count <= set->capacity && first + count <= m->rows && m->dim == set->dim);
	lineup_probe_set_erase(set);
	set->tiles = (count + LINEUP_PROBE_TILE - 1) / LINEUP_PROBE_TILE;
	for (uint32_t i = 0; i < count; i++) {
		enum lineup_row_fault fault = lineup_probe_normalise(m, first + i, set->vectors + (size_t)i * set->dim);

		if (fault != LINEUP_ROW_OK) {
			lineup_probe_set_erase(set);
			return lineup_fail(ctx, -EINVAL, "probes: row %llu %s", (unsigned long long)(first + i),
					   lineup_row_fault_text(fault));
		}
		pack(set, i, norm_max_template);
	}
	set->count = count;
	return 0;
}
