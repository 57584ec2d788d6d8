// SPDX-License-Identifier: MIT
// The NEON backend, by the dot product instructions of ARMv8.2: 2 probes x 48 rows held in registers.
#include "score.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <assert.h>
#include <string.h>
#include <sys/auxv.h>

enum {
	VECTORS = LINEUP_PANEL_ROWS / 4, /* of 4 rows each */
	PANEL_GROUP_BYTES = LINEUP_PANEL_ROWS * 4,
	PROBE_GROUP_BYTES = LINEUP_PROBE_TILE * 4,
	HAS_DOT_PRODUCT = 1 << 20, /* HWCAP_ASIMDDP */
};

struct panel {
	const uint8_t *codes;
	uint32_t groups;
	uint32_t row;
	uint64_t rows; /* a bit per row that there is */
	float scale[LINEUP_PANEL_ROWS];
	const float *resid;
};

static const char *why_not(void)
{
	return getauxval(AT_HWCAP) & HAS_DOT_PRODUCT ? NULL : "the CPU lacks the dot product instructions (asimddp)";
}

/* The sums of @width neighbouring probes, whose codes begin at @probe, over all groups. */
static inline __attribute__((always_inline)) void multiply(const int width, const struct panel *panel, const int8_t *probe,
							    int32x4_t acc[][VECTORS])
{
	const uint8x16_t to_signed = vdupq_n_u8(0x80);
	const uint8_t *rows = panel->codes;

	for (int p = 0; p < width; p++)
		for (int v = 0; v < VECTORS; v++)
			acc[p][v] = vdupq_n_s32(0);
	for (uint32_t g = 0; g < panel->groups; g++, rows += PANEL_GROUP_BYTES, probe += PROBE_GROUP_BYTES) {
		int8x16_t q[2];

		for (int p = 0; p < width; p++) {
			int32_t word;

			memcpy(&word, probe + 4 * p, sizeof(word));
			q[p] = vreinterpretq_s8_s32(vdupq_n_s32(word));
		}
		for (int v = 0; v < VECTORS; v++) {
			int8x16_t r = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(rows + 16 * v), to_signed));

			for (int p = 0; p < width; p++)
				acc[p][v] = vdotq_s32(acc[p][v], r, q[p]);
		}
	}
}

/* A bit per row whose bound is not below the cut. */
static inline uint64_t test(const struct panel *panel, const int32x4_t acc[VECTORS], float slope, float cut)
{
	const uint32x4_t bits = { 1, 2, 4, 8 };
	uint64_t mask = 0;

	for (int v = 0; v < VECTORS; v++) {
		float32x4_t product = vmulq_f32(vcvtq_f32_s32(acc[v]), vld1q_f32(panel->scale + 4 * v));
		float32x4_t bound = vfmaq_n_f32(product, vld1q_f32(panel->resid + 4 * v), slope);
		uint32x4_t pass = vmvnq_u32(vcltq_f32(bound, vdupq_n_f32(cut))); /* a NaN is not below */

		mask |= (uint64_t)vaddvq_u32(vandq_u32(pass, bits)) << 4 * v;
	}
	return mask & panel->rows;
}

static inline __attribute__((always_inline)) void scan_probes(const int width, const struct lineup_scan *scan,
							       const struct lineup_limits *limits, uint32_t first, const float *cut,
							       const struct panel *panel)
{
	const struct lineup_probe_set *probes = scan->probes;
	const int8_t *probe = probes->codes + (size_t)(first / LINEUP_PROBE_TILE) * probes->groups * PROBE_GROUP_BYTES +
			      (size_t)(first % LINEUP_PROBE_TILE) * 4;
	int32x4_t acc[2][VECTORS];

	multiply(width, panel, probe, acc);
	for (int p = 0; p < width; p++) {
		uint64_t mask = test(panel, acc[p], limits->slope[first + (uint32_t)p], cut[p]);
		int32_t out[LINEUP_PANEL_ROWS];

		if (__builtin_expect(!mask, 1))
			continue;
		for (int v = 0; v < VECTORS; v++)
			vst1q_s32(out + 4 * v, acc[p][v]);
		scan->hit(scan->arg, first + (uint32_t)p, panel->row, mask, out);
	}
}

static void panel_init(struct panel *panel, const struct lineup_columns *columns, uint32_t row, uint32_t rows, uint32_t groups)
{
	panel->codes = columns->codes + (size_t)row * groups * 4;
	panel->groups = groups;
	panel->row = row;
	panel->rows = (UINT64_C(1) << (rows - row < LINEUP_PANEL_ROWS ? rows - row : LINEUP_PANEL_ROWS)) - 1;
	panel->resid = columns->resid + row;
	for (uint32_t i = 0; i < LINEUP_PANEL_ROWS; i++) {
		float scale = columns->scale[row + i], resid = panel->resid[i];
		bool sane = scale >= -LINEUP_SCORE_ROW_MAX && scale <= LINEUP_SCORE_ROW_MAX && resid >= 0 && resid <= LINEUP_SCORE_ROW_MAX;

		panel->scale[i] = sane ? scale : __builtin_nanf("");
	}
}

static void scan_block(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t rows)
{
	const struct lineup_probe_set *probes = scan->probes;
	struct lineup_limits limits;

	assert(probes->count <= LINEUP_PROBES_MAX);
	lineup_limits_init(&limits, probes);
	for (uint32_t row = 0; row < rows; row += LINEUP_PANEL_ROWS) {
		struct panel panel;

		panel_init(&panel, columns, row, rows, probes->groups);
		for (uint32_t tile = 0; tile < probes->tiles; tile++) {
			uint32_t first = tile * LINEUP_PROBE_TILE, left = probes->count - first;
			uint32_t width = left < LINEUP_PROBE_TILE ? left : LINEUP_PROBE_TILE;
			float cut[LINEUP_PROBE_TILE];

			lineup_limits_cut(&limits, scan, tile, cut);
			for (uint32_t p = 0; p + 1 < width; p += 2)
				scan_probes(2, scan, &limits, first + p, cut + p, &panel);
			if (width % 2)
				scan_probes(1, scan, &limits, first + width - 1, cut + width - 1, &panel);
		}
	}
}

static float64x2_t multiply_add(float64x2_t sum, const float *a, const float *b)
{
	return vfmaq_f64(sum, vcvt_f64_f32(vld1_f32(a)), vcvt_f64_f32(vld1_f32(b)));
}

/* Lanes 2 i and 2 i + 1 of probe.h's order are the elements of lane[i]. The fused product is exact, so its sum is the same. */
static double dot(const float *a, const float *b, uint32_t dim)
{
	float64x2_t lane[4] = { vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0) }, sum;
	float tail_a[8] = { 0 }, tail_b[8] = { 0 };
	uint32_t i = 0;

	for (; i + 8 <= dim; i += 8)
		for (int l = 0; l < 4; l++)
			lane[l] = multiply_add(lane[l], a + i + 2 * l, b + i + 2 * l);
	if (i < dim) {
		memcpy(tail_a, a + i, (dim - i) * sizeof(*a));
		memcpy(tail_b, b + i, (dim - i) * sizeof(*b));
		for (int l = 0; l < 4; l++)
			lane[l] = multiply_add(lane[l], tail_a + 2 * l, tail_b + 2 * l);
		explicit_bzero(tail_a, sizeof(tail_a));
		explicit_bzero(tail_b, sizeof(tail_b));
	}
	sum = vaddq_f64(vaddq_f64(lane[0], lane[2]), vaddq_f64(lane[1], lane[3])); /* (0+4)+(2+6) (1+5)+(3+7) */
	return vgetq_lane_f64(sum, 0) + vgetq_lane_f64(sum, 1);
}

const struct lineup_score lineup_score_neon = { .name = "neon", .why_not = why_not, .scan = scan_block, .dot = dot };
#else
static const char *why_not(void)
{
	return "built for another architecture";
}

const struct lineup_score lineup_score_neon = { .name = "neon", .why_not = why_not };
#endif
