// SPDX-License-Identifier: MIT
// The backend that defines what the others compute: plain loops, and the test in float64.
#include <math.h>

#include "score.h"

static const char *why_not(void)
{
	return NULL;
}

static int32_t code_dot(const struct lineup_probe_set *probes, uint32_t probe, const uint8_t *row)
{
	const int8_t *codes = probes->codes + (size_t)(probe / LINEUP_PROBE_TILE) * probes->groups * LINEUP_PROBE_TILE * 4 +
			      (size_t)(probe % LINEUP_PROBE_TILE) * 4;
	int32_t acc = 0;

	for (uint32_t g = 0; g < probes->groups; g++)
		for (int j = 0; j < 4; j++)
			acc += codes[(size_t)g * LINEUP_PROBE_TILE * 4 + j] * (row[(size_t)g * LINEUP_PANEL_ROWS * 4 + j] - 128);
	return acc;
}

/* The products are off by 2^-53 each, the sums by as much of their terms: 2^-50 of all terms covers it. NaN passes. */
static bool passes(const struct lineup_probe_set *probes, uint32_t probe, float scale, float resid, int32_t acc, float threshold)
{
	double estimate = (double)probes->scale[probe] * (double)scale * acc, error = probes->c1[probe] * (double)resid;
	double margin = 0x1p-50 * (fabs(estimate) + fabs(probes->c0[probe]) + fabs(error));

	return !(estimate + probes->c0[probe] + error + margin < (double)threshold);
}

static void scan_panel(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t row, uint32_t rows)
{
	const struct lineup_probe_set *probes = scan->probes;
	const uint8_t *panel = columns->codes + (size_t)row * probes->groups * 4;

	for (uint32_t p = 0; p < probes->count; p++) {
		float threshold = atomic_load_explicit(&scan->threshold[p], memory_order_relaxed);
		int32_t acc[LINEUP_PANEL_ROWS] = { 0 };
		uint64_t mask = 0;

		for (uint32_t b = 0; b < rows; b++) {
			acc[b] = code_dot(probes, p, panel + (size_t)b * 4);
			if (passes(probes, p, columns->scale[row + b], columns->resid[row + b], acc[b], threshold))
				mask |= UINT64_C(1) << b;
		}
		if (mask)
			scan->hit(scan->arg, p, row, mask, acc);
	}
}

static void scan_block(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t rows)
{
	for (uint32_t row = 0; row < rows; row += LINEUP_PANEL_ROWS)
		scan_panel(scan, columns, row, rows - row < LINEUP_PANEL_ROWS ? rows - row : LINEUP_PANEL_ROWS);
}

const struct lineup_score lineup_score_scalar = { .name = "scalar", .why_not = why_not, .scan = scan_block };
