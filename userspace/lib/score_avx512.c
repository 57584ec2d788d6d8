// SPDX-License-Identifier: MIT
// The AVX-512 VNNI backend: tiles of up to 8 probes x 48 rows held in registers.
#include "score.h"

#if defined(__x86_64__)
#include <assert.h>
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define INLINE TARGET static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

enum {
	VECTORS = LINEUP_PANEL_ROWS / 16, /* of 16 rows each */
	PANEL_GROUP_BYTES = LINEUP_PANEL_ROWS * 4,
	PROBE_GROUP_BYTES = LINEUP_PROBE_TILE * 4,
	CHUNK = 16,          /* groups between two rounds of prefetches */
};

/* What the tiles of one panel share. */
struct panel {
	const uint8_t *codes;
	uint32_t groups;
	uint32_t row;
	uint64_t rows; /* a bit per row that there is */
	__m512 scale[VECTORS];
	__m512 resid[VECTORS];
};

/*
 * Lines to bring into the L2 cache while a tile is worked on: @bytes from @at. For a pass with a single tile there are none: it reads as fast as memory
 * delivers, and the CPU's own prefetching of the stream was a third faster than any of ours.
 */
struct ahead {
	const uint8_t *at;
	size_t bytes;
};

static const char *why_not(void)
{
	/* These also ask whether the operating system saves the registers. */
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512dq"))
		return "the CPU or the operating system lacks AVX-512";
	if (!__builtin_cpu_supports("avx512vnni"))
		return "the CPU lacks AVX-512 VNNI";
	return NULL;
}

/* gcc 12 copies and spills the accumulators around the intrinsic, at a third of the speed; a tied operand leaves them in place. */
INLINE void multiply_add(__m512i *acc, __m512i rows, __m512i probe)
{
#if defined(__clang__)
	*acc = _mm512_dpbusd_epi32(*acc, rows, probe);
#else
	__asm__("vpdpbusd %2, %1, %0" : "+v"(*acc) : "v"(rows), "v"(probe));
#endif
}

INLINE void prefetch(const struct ahead *ahead, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += 64)
		_mm_prefetch((const char *)ahead->at + at, _MM_HINT_T1);
}

TARGET static __attribute__((noinline)) void report(const struct lineup_scan *scan, uint32_t probe, const struct panel *panel,
						     uint64_t mask, __m512i acc0, __m512i acc1, __m512i acc2)
{
	int32_t acc[LINEUP_PANEL_ROWS] __attribute__((aligned(64)));

	mask &= panel->rows;
	if (!mask || probe >= scan->probes->count)
		return;
	_mm512_store_si512(acc, acc0);
	_mm512_store_si512(acc + 16, acc1);
	_mm512_store_si512(acc + 32, acc2);
	scan->hit(scan->arg, probe, panel->row, mask, acc);
}

INLINE __m512i four_codes(const int8_t *at)
{
	int32_t word;

	memcpy(&word, at, 4);
	return _mm512_set1_epi32(word);
}

/* Adds the products of @width probes, whose codes begin at @probe, to their sums. */
INLINE void multiply(const int width, const struct panel *panel, const int8_t *probe, const struct ahead *ahead,
		     __m512i acc[][VECTORS])
{
	const uint8_t *rows = panel->codes;
	size_t fetched = 0;

	for (uint32_t g = 0; g < panel->groups;) {
		uint32_t end = panel->groups - g < CHUNK ? panel->groups : g + CHUNK;
		size_t fetch = ((ahead->bytes * end / panel->groups) + 63) & ~(size_t)63;

		prefetch(ahead, fetched, fetch);
		fetched = fetch;
		for (; g < end; g++, rows += PANEL_GROUP_BYTES, probe += PROBE_GROUP_BYTES) {
			__m512i r0 = _mm512_load_si512(rows), r1 = _mm512_load_si512(rows + 64), r2 = _mm512_load_si512(rows + 128);

			UNROLL
			for (int p = 0; p < width; p++) {
				__m512i q = four_codes(probe + 4 * p);

				multiply_add(&acc[p][0], r0, q);
				multiply_add(&acc[p][1], r1, q);
				multiply_add(&acc[p][2], r2, q);
			}
		}
	}
}

/* The same for one probe: two sums for each row, of even and odd groups, as three chains of additions do not keep memory busy. */
INLINE void multiply_one(const struct panel *panel, const int8_t *probe, __m512i acc[VECTORS])
{
	const uint8_t *rows = panel->codes;
	__m512i odd[VECTORS];

	UNROLL
	for (int v = 0; v < VECTORS; v++)
		odd[v] = _mm512_setzero_si512();
	for (uint32_t g = 0; g < panel->groups / 2; g++, rows += 2 * PANEL_GROUP_BYTES, probe += 2 * PROBE_GROUP_BYTES) {
		__m512i q0 = four_codes(probe), q1 = four_codes(probe + PROBE_GROUP_BYTES);

		UNROLL
		for (int v = 0; v < VECTORS; v++) {
			multiply_add(&acc[v], _mm512_load_si512(rows + 64 * v), q0);
			multiply_add(&odd[v], _mm512_load_si512(rows + PANEL_GROUP_BYTES + 64 * v), q1);
		}
	}
	UNROLL
	for (int v = 0; v < VECTORS; v++) {
		if (panel->groups % 2)
			multiply_add(&acc[v], _mm512_load_si512(rows + 64 * v), four_codes(probe));
		acc[v] = _mm512_add_epi32(acc[v], odd[v]);
	}
}

/* @width probes of tile @tile against the panel. */
INLINE void scan_tile(const int width, const struct lineup_scan *scan, const struct lineup_limits *limits, uint32_t tile,
		      const struct panel *panel, const struct ahead *ahead)
{
	const int8_t *probe = scan->probes->codes + (size_t)tile * panel->groups * PROBE_GROUP_BYTES;
	const uint32_t first = tile * LINEUP_PROBE_TILE;
	__m512i acc[LINEUP_PROBE_TILE][VECTORS];
	float cut[LINEUP_PROBE_TILE];

	lineup_limits_cut(limits, scan, tile, cut);
	UNROLL
	for (int p = 0; p < width; p++)
		UNROLL
		for (int v = 0; v < VECTORS; v++)
			acc[p][v] = _mm512_set1_epi32(-128 * scan->probes->code_sum[first + p]);
	if (width == 1)
		multiply_one(panel, probe, acc[0]);
	else
		multiply(width, panel, probe, ahead, acc);

	UNROLL
	for (int p = 0; p < width; p++) {
		__m512 slope = _mm512_set1_ps(limits->slope[first + p]), least = _mm512_set1_ps(cut[p]);
		__mmask16 pass[VECTORS];

		UNROLL
		for (int v = 0; v < VECTORS; v++) {
			__m512 bound = _mm512_fmadd_ps(panel->resid[v], slope, _mm512_mul_ps(_mm512_cvtepi32_ps(acc[p][v]), panel->scale[v]));

			pass[v] = _mm512_cmp_ps_mask(bound, least, _CMP_NLT_UQ);
		}
		if (__builtin_expect(pass[0] | pass[1] | pass[2], 0))
			report(scan, first + p, panel, pass[0] | (uint64_t)pass[1] << 16 | (uint64_t)pass[2] << 32, acc[p][0],
			       acc[p][1], acc[p][2]);
	}
}

#define TILE(width) \
	TARGET static __attribute__((noinline)) void scan_tile_##width(const struct lineup_scan *scan, const struct lineup_limits *limits, \
								       uint32_t tile, const struct panel *panel, const struct ahead *ahead) \
	{ \
		scan_tile(width, scan, limits, tile, panel, ahead); \
	}
TILE(1)
TILE(2)
TILE(4)
TILE(8)

INLINE void panel_init(struct panel *panel, const struct lineup_columns *columns, uint32_t row, uint32_t rows, uint32_t groups)
{
	const __m512 most = _mm512_set1_ps(LINEUP_SCORE_ROW_MAX), nan = _mm512_set1_ps(__builtin_nanf(""));

	panel->codes = columns->codes + (size_t)row * groups * 4;
	panel->groups = groups;
	panel->row = row;
	panel->rows = rows - row >= LINEUP_PANEL_ROWS ? ~UINT64_C(0) : (UINT64_C(1) << (rows - row)) - 1;
	for (int v = 0; v < VECTORS; v++) {
		__m512 scale = _mm512_load_ps(columns->scale + row + 16 * v), resid = _mm512_load_ps(columns->resid + row + 16 * v);
		__mmask16 sane = _mm512_cmp_ps_mask(_mm512_abs_ps(scale), most, _CMP_LE_OQ) &
				 _mm512_cmp_ps_mask(resid, most, _CMP_LE_OQ) &
				 _mm512_cmp_ps_mask(resid, _mm512_setzero_ps(), _CMP_GE_OQ);

		panel->scale[v] = _mm512_mask_blend_ps(sane, nan, scale);
		panel->resid[v] = resid;
	}
}

TARGET static void scan_block(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t rows)
{
	const struct lineup_probe_set *probes = scan->probes;
	size_t panel_bytes = (size_t)probes->groups * PANEL_GROUP_BYTES, share = panel_bytes / (probes->tiles ? probes->tiles : 1);
	struct lineup_limits limits;
	struct panel panel;

	assert(probes->count <= LINEUP_PROBES_MAX);
	lineup_limits_init(&limits, probes);
	for (uint32_t row = 0; row < rows; row += LINEUP_PANEL_ROWS) {
		panel_init(&panel, columns, row, rows, probes->groups);
		for (uint32_t tile = 0; tile < probes->tiles; tile++) {
			uint32_t left = probes->count - tile * LINEUP_PROBE_TILE;
			struct ahead ahead = { .at = panel.codes + panel_bytes + tile * share, .bytes = probes->tiles > 1 ? share : 0 };

			if (left == 1)
				scan_tile_1(scan, &limits, tile, &panel, &ahead);
			else if (left == 2)
				scan_tile_2(scan, &limits, tile, &panel, &ahead);
			else if (left <= 4)
				scan_tile_4(scan, &limits, tile, &panel, &ahead);
			else
				scan_tile_8(scan, &limits, tile, &panel, &ahead);
		}
	}
}

/* A lane of probe.h's order is an element of one vector. The fused product is exact, so its sum is the same. */
TARGET static double dot(const float *a, const float *b, uint32_t dim)
{
	__m512d lane = _mm512_setzero_pd();
	__m256d half;
	__m128d quarter;
	uint32_t i = 0;

	for (; i + 8 <= dim; i += 8)
		lane = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + i)), _mm512_cvtps_pd(_mm256_loadu_ps(b + i)), lane);
	if (i < dim) {
		__mmask8 rest = (__mmask8)((1u << (dim - i)) - 1);

		lane = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_maskz_loadu_ps(rest, a + i)),
				       _mm512_cvtps_pd(_mm256_maskz_loadu_ps(rest, b + i)), lane);
	}
	half = _mm256_add_pd(_mm512_castpd512_pd256(lane), _mm512_extractf64x4_pd(lane, 1)); /* 0+4 1+5 2+6 3+7 */
	quarter = _mm_add_pd(_mm256_castpd256_pd128(half), _mm256_extractf128_pd(half, 1)); /* (0+4)+(2+6) (1+5)+(3+7) */
	return _mm_cvtsd_f64(_mm_add_sd(quarter, _mm_unpackhi_pd(quarter, quarter)));
}

const struct lineup_score lineup_score_avx512 = { .name = "avx512", .why_not = why_not, .scan = scan_block, .dot = dot };
#else
static const char *why_not(void)
{
	return "built for another architecture";
}

const struct lineup_score lineup_score_avx512 = { .name = "avx512", .why_not = why_not };
#endif
