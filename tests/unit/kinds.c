// SPDX-License-Identifier: MIT
// Random, clustered, sorted and adversarial rows with probes to match.
#include <float.h>
#include <math.h>
#include <string.h>

#include "kinds.h"

static void fill_normal(struct rng *rng, float *v, uint32_t dim, double scale)
{
	for (uint32_t i = 0; i < dim; i++)
		v[i] = (float)(scale * rng_normal(rng));
}

/* @v = @a @x + @b @y */
static void blend(float *v, uint32_t dim, double a, const float *x, double b, const float *y)
{
	for (uint32_t i = 0; i < dim; i++)
		v[i] = (float)(a * (double)x[i] + b * (double)y[i]);
}

static double length(const float *v, uint32_t dim)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (double)v[i] * (double)v[i];
	return sqrt(sum);
}

/* A row of only zeros is no vector. */
static void unzero(struct lineup_matrix *m)
{
	for (uint64_t r = 0; r < m->rows; r++) {
		float *v = rows_at(m, r);

		if (!(length(v, m->dim) > 0))
			v[r % m->dim] = 1;
	}
}

static void fill_random(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_normal(rng, rows_at(rows, 0), (uint32_t)(rows->rows * rows->dim), 1);
	fill_normal(rng, rows_at(probes, 0), (uint32_t)(probes->rows * probes->dim), 1);
}

/* A dozen centres; a probe near the first ones, so that its cluster's rows are all close calls. */
static void fill_clustered(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	struct lineup_matrix centres = rows_random(rng, 12, rows->dim);

	fill_random(rng, rows, probes);
	for (uint64_t r = 0; r < rows->rows; r++)
		blend(rows_at(rows, r), rows->dim, 0.2, rows_at(rows, r), 1, rows_at(&centres, rng_below(rng, 12)));
	for (uint64_t p = 0; p < probes->rows; p++)
		blend(rows_at(probes, p), rows->dim, 0.1, rows_at(probes, p), 1, rows_at(&centres, p % 12));
	rows_free(&centres);
}

/* Three originals; copies differ in the last bits of a few components. */
static void fill_near_duplicate(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	struct lineup_matrix originals = rows_random(rng, 3, rows->dim);

	for (uint64_t r = 0; r < rows->rows; r++) {
		float *v = rows_at(rows, r);

		memcpy(v, rows_at(&originals, r % 3), rows->dim * sizeof(float));
		for (uint32_t change = 0; change < 4; change++) {
			uint32_t i = rng_below(rng, rows->dim);

			v[i] = nextafterf(v[i], rng_below(rng, 2) ? INFINITY : -INFINITY);
		}
	}
	for (uint64_t p = 0; p < probes->rows; p++) {
		fill_normal(rng, rows_at(probes, p), rows->dim, 1);
		blend(rows_at(probes, p), rows->dim, p % 2 ? 0.3 : 0, rows_at(probes, p), 1, rows_at(&originals, p % 3));
	}
	rows_free(&originals);
}

/* Five vectors, and their opposites, over and over: ids alone decide. */
static void fill_equal(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	struct lineup_matrix originals = rows_random(rng, 5, rows->dim);

	fill_random(rng, rows, probes);
	for (uint64_t r = 0; r < rows->rows; r++)
		blend(rows_at(rows, r), rows->dim, rng_below(rng, 8) ? 1 : -1, rows_at(&originals, rng_below(rng, 5)), 0,
		      rows_at(rows, r));
	for (uint64_t p = 0; p + 1 < probes->rows; p += 2)
		memcpy(rows_at(probes, p), rows_at(&originals, p % 5), rows->dim * sizeof(float));
	rows_free(&originals);
}

/* Rows at falling angles from the first probe: each beats all before it. */
static void fill_sorted(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes, bool ascending)
{
	const float *p = rows_at(probes, 0);

	fill_random(rng, rows, probes);
	for (uint64_t r = 0; r < rows->rows; r++) {
		double place = (double)(ascending ? r : rows->rows - 1 - r) / (double)(rows->rows + 1);
		float *v = rows_at(rows, r);
		double size = length(v, rows->dim);

		blend(v, rows->dim, sin(1.5 * place) / length(p, rows->dim), p, cos(1.5 * place) / (size > 0 ? size : 1), v);
	}
	for (uint64_t i = 1; i < probes->rows; i++)
		blend(rows_at(probes, i), rows->dim, 0.3, rows_at(probes, i), 1, p);
}

static void fill_ascending(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_sorted(rng, rows, probes, true);
}

static void fill_descending(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_sorted(rng, rows, probes, false);
}

/* Quantisation sees one component and nothing of the rest, in which alone the rows differ. */
static void fill_dominant(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_random(rng, rows, probes);
	for (uint64_t r = 0; r < rows->rows + probes->rows; r++) {
		float *v = r < rows->rows ? rows_at(rows, r) : rows_at(probes, r - rows->rows);

		for (uint32_t i = 0; i < rows->dim; i++)
			v[i] = (float)(copysign(fmod(fabs((double)v[i]), 1), (double)v[i]) / 255);
		v[0] = 1;
	}
}

/* Every component half a code away from its code, and all errors of one sign: the certificate at its limit. */
static void fill_half_codes(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	for (uint64_t r = 0; r < rows->rows + probes->rows; r++) {
		float *v = r < rows->rows ? rows_at(rows, r) : rows_at(probes, r - rows->rows);

		for (uint32_t i = 0; i < rows->dim; i++)
			v[i] = (float)(((int)rng_below(rng, 3) - 1 + (rng_below(rng, 2) ? 0.4999 : 0.5001)) / 127);
		v[rng_below(rng, rows->dim)] = 1;
	}
}

/* Components from 1 down to 2^-30, in an order of their own in each row. */
static void fill_magnitudes(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_random(rng, rows, probes);
	for (uint64_t i = 0; i < rows->rows * rows->dim; i++)
		rows_at(rows, 0)[i] *= (float)ldexp(1, -(int)rng_below(rng, 31));
	for (uint64_t i = 0; i < probes->rows * rows->dim; i++)
		rows_at(probes, 0)[i] *= (float)ldexp(1, -(int)rng_below(rng, 31));
}

/* The same few directions at lengths from subnormal to nearly infinite. */
static void fill_scaled(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_clustered(rng, rows, probes);
	for (uint64_t r = 0; r < rows->rows + probes->rows; r++) {
		float *v = r < rows->rows ? rows_at(rows, r) : rows_at(probes, r - rows->rows);
		double scale = pow(10, (int)rng_below(rng, 61) - 30);

		if (r % 17 == 3) /* far into the subnormals */
			scale = 1e-40;
		for (uint32_t i = 0; i < rows->dim; i++)
			v[i] = (float)((double)v[i] * scale);
	}
}

/* Everybody is unlike the probes. */
static void fill_negative(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	const float *p = rows_at(probes, 0);

	fill_random(rng, rows, probes);
	for (uint64_t i = 1; i < probes->rows; i++)
		blend(rows_at(probes, i), rows->dim, 0.05, rows_at(probes, i), 1, p);
	for (uint64_t r = 0; r < rows->rows; r++)
		blend(rows_at(rows, r), rows->dim, 0.2, rows_at(rows, r), -1, p);
}

/* Scores of zero, of both signs, of subnormal numbers and of what rounds to zero from either side. */
static void fill_orthogonal(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	static const float tiny[] = { 0, 1e-38f, -1e-38f, 1e-42f, -1e-42f, 1.4e-45f, -1.4e-45f, 1e-20f, -1e-20f };

	fill_random(rng, rows, probes);
	for (uint64_t p = 0; p < probes->rows; p++) {
		float *v = rows_at(probes, p);

		for (uint32_t i = 1; i < rows->dim && p % 4 < 2; i++)
			v[i] = 0;
		v[0] = p % 2 ? 0.01f : 1;
		if (p % 4 == 1)
			v[rows->dim - 1] = 1;
	}
	for (uint64_t r = 0; r < rows->rows; r++) {
		float *v = rows_at(rows, r);

		v[0] = tiny[rng_below(rng, ARRAY_SIZE(tiny))];
		if (rows->dim > 1 && r % 3)
			v[rows->dim - 1] = 0;
	}
}

/* One component a row, of either sign: exact ties by the dozen. */
static void fill_one_hot(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_random(rng, rows, probes);
	memset(rows_at(rows, 0), 0, rows->rows * rows->dim * sizeof(float));
	for (uint64_t r = 0; r < rows->rows; r++)
		rows_at(rows, r)[rng_below(rng, rows->dim)] = rng_below(rng, 2) ? 2.5f : -2.5f;
	for (uint64_t i = 0; i < rows->dim; i++)
		rows_at(probes, 0)[i] = i % 2 ? 1 : -1;
}

/* What many models give without centring: all components of one sign, all scores near 1. */
static void fill_positive(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_random(rng, rows, probes);
	for (uint64_t i = 0; i < rows->rows * rows->dim; i++)
		rows_at(rows, 0)[i] = (float)(5 + 0.05 * (double)rows_at(rows, 0)[i]);
	for (uint64_t i = 0; i < probes->rows * rows->dim; i++)
		rows_at(probes, 0)[i] = (float)(5 + 0.05 * (double)rows_at(probes, 0)[i]);
}

static void fill_float64(struct rng *rng, struct lineup_matrix *m)
{
	double *v = (double *)(uintptr_t)m->data;

	for (uint64_t r = 0; r < m->rows; r++) {
		double scale = pow(10, (int)rng_below(rng, 601) - 300);

		if (r % 11 == 5)
			scale = 0x1p-1060; /* far into the subnormals */
		for (uint32_t i = 0; i < m->dim; i++)
			v[r * m->dim + i] = scale * rng_normal(rng);
		if (!(fabs(v[r * m->dim]) > 0))
			v[r * m->dim] = scale;
	}
	if (m->rows > 1) /* the largest there are: squares overflow */
		for (uint32_t i = 0; i < m->dim; i++)
			v[m->dim + i] = i % 2 ? DBL_MAX : -DBL_MAX / 3;
}

static void fill_doubles(struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	fill_float64(rng, rows);
	fill_float64(rng, probes);
}

const struct kind kinds[] = {
	{ "random", LINEUP_FLOAT32, fill_random },
	{ "clustered", LINEUP_FLOAT32, fill_clustered },
	{ "near-duplicate", LINEUP_FLOAT32, fill_near_duplicate },
	{ "equal", LINEUP_FLOAT32, fill_equal },
	{ "ascending", LINEUP_FLOAT32, fill_ascending },
	{ "descending", LINEUP_FLOAT32, fill_descending },
	{ "dominant", LINEUP_FLOAT32, fill_dominant },
	{ "half codes", LINEUP_FLOAT32, fill_half_codes },
	{ "magnitudes", LINEUP_FLOAT32, fill_magnitudes },
	{ "scaled", LINEUP_FLOAT32, fill_scaled },
	{ "negative", LINEUP_FLOAT32, fill_negative },
	{ "orthogonal", LINEUP_FLOAT32, fill_orthogonal },
	{ "one-hot", LINEUP_FLOAT32, fill_one_hot },
	{ "positive", LINEUP_FLOAT32, fill_positive },
	{ "float64", LINEUP_FLOAT64, fill_doubles },
};
const uint32_t kinds_count = ARRAY_SIZE(kinds);

void kind_fill(const struct kind *kind, struct rng *rng, struct lineup_matrix *rows, struct lineup_matrix *probes)
{
	kind->fill(rng, rows, probes);
	if (kind->dtype == LINEUP_FLOAT32) {
		unzero(rows);
		unzero(probes);
	}
}
