// SPDX-License-Identifier: MIT
// The AVX2 backend, for CPUs without VNNI: 2 probes x 48 rows held in registers, products by vpmaddubsw without its saturation.
#include "score.h"

#if defined(__x86_64__)
#include <assert.h>
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

enum {
	VECTORS = LINEUP_PANEL_ROWS / 8, /* of 8 rows each */
	PANEL_GROUP_BYTES = LINEUP_PANEL_ROWS * 4,
	PROBE_GROUP_BYTES = LINEUP_PROBE_TILE * 4,
	GROUPS_MAX = (LINEUP_DIM_MAX + 3) / 4,
	CHUNK = 4,           /* groups between two rounds of prefetches: longer rounds hold up the loads */
	TURN_PANELS = 4,     /* panels that an expanded tile is used for: they stay in the L2 cache while the tiles change */
};

/*
 * vpmaddubsw multiplies unsigned by signed bytes and saturates the sum of two products at 16 bits: row bytes of up to 255 times probe
 * codes do not fit. So the sign moves over: with m = |p| as the unsigned operand, p >= 0 needs the row's code r, which is its byte ^ 0x80, and
 * p < 0 needs -r, of which byte ^ 0x7f is one too few. Both are one xor with a byte that depends on the probe alone, two products are
 * within 2 * 127 * 128, and what is missing, |p| for each p < 0, is a constant of the probe to begin the sum with.
 */
struct expanded {
	uint8_t magnitude[GROUPS_MAX * PROBE_GROUP_BYTES] __attribute__((aligned(64)));
	uint8_t flip[GROUPS_MAX * PROBE_GROUP_BYTES] __attribute__((aligned(64)));
	int32_t start[LINEUP_PROBE_TILE];
};

/* What the tiles of one panel share. */
struct panel {
	const uint8_t *codes;
	uint32_t groups;
	uint32_t row;
	uint64_t rows; /* a bit per row that there is */
	float scale[LINEUP_PANEL_ROWS] __attribute__((aligned(32)));
	const float *resid;
};

/* Lines to bring into the L2 cache while a tile is worked on: @bytes from @at. */
struct ahead {
	const uint8_t *at;
	size_t bytes;
};

static const char *why_not(void)
{
	/* These also ask whether the operating system saves the registers. */
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return "the CPU or the operating system lacks AVX2 or FMA";
	return NULL;
}

TARGET static void expand(struct expanded *e, const struct lineup_probe_set *probes, uint32_t tile)
{
	const int8_t *codes = probes->codes + (size_t)tile * probes->groups * PROBE_GROUP_BYTES;
	const __m256i byte_ones = _mm256_set1_epi8(1), word_ones = _mm256_set1_epi16(1), to_plus = _mm256_set1_epi8((char)0x80);
	__m256i sum = _mm256_setzero_si256(); /* of the magnitudes, a probe a lane */

	for (size_t at = 0; at < (size_t)probes->groups * PROBE_GROUP_BYTES; at += PROBE_GROUP_BYTES) {
		__m256i p = _mm256_loadu_si256((const __m256i *)(const void *)(codes + at)), m = _mm256_abs_epi8(p);
		__m256i negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), p);

		_mm256_store_si256((__m256i *)(void *)(e->magnitude + at), m);
		_mm256_store_si256((__m256i *)(void *)(e->flip + at), _mm256_xor_si256(negative, to_plus));
		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(m, byte_ones), word_ones));
	}
	_mm256_storeu_si256((__m256i *)(void *)e->start, sum);
	for (int p = 0; p < LINEUP_PROBE_TILE; p++)
		e->start[p] = (e->start[p] - probes->code_sum[tile * LINEUP_PROBE_TILE + (uint32_t)p]) / 2;
}

INLINE void prefetch(const struct ahead *ahead, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += 64)
		_mm_prefetch((const char *)ahead->at + at, _MM_HINT_T1);
}

INLINE __m256i four_codes(const uint8_t *at)
{
	int32_t word;

	memcpy(&word, at, 4);
	return _mm256_set1_epi32(word);
}

/* The sums of @width probes, the first being number @lane of the tile, over all groups. */
INLINE void multiply(const int width, const struct panel *panel, const struct expanded *e, uint32_t lane, const struct ahead *ahead,
		     __m256i acc[][VECTORS])
{
	const uint8_t *rows = panel->codes, *magnitude = e->magnitude + 4 * lane, *flip = e->flip + 4 * lane;
	const __m256i ones = _mm256_set1_epi16(1);
	size_t fetched = 0;

	UNROLL
	for (int p = 0; p < width; p++)
		UNROLL
		for (int v = 0; v < VECTORS; v++)
			acc[p][v] = _mm256_set1_epi32(e->start[lane + (uint32_t)p]);

	for (uint32_t g = 0; g < panel->groups;) {
		uint32_t end = panel->groups - g < CHUNK ? panel->groups : g + CHUNK;
		size_t fetch = ((ahead->bytes * end / panel->groups) + 63) & ~(size_t)63;

		prefetch(ahead, fetched, fetch);
		fetched = fetch;
		for (; g < end; g++) {
			UNROLL
			for (int p = 0; p < width; p++) {
				__m256i m = four_codes(magnitude + 4 * p), f = four_codes(flip + 4 * p);

				UNROLL
				for (int v = 0; v < VECTORS; v++) {
					__m256i r = _mm256_load_si256((const __m256i *)(const void *)(rows + 32 * v));
					__m256i two = _mm256_maddubs_epi16(m, _mm256_xor_si256(r, f));

					acc[p][v] = _mm256_add_epi32(acc[p][v], _mm256_madd_epi16(two, ones));
				}
			}
			rows += PANEL_GROUP_BYTES;
			magnitude += PROBE_GROUP_BYTES;
			flip += PROBE_GROUP_BYTES;
		}
	}
}

/* A bit per row whose bound is not below the cut. */
INLINE uint64_t test(const struct panel *panel, const __m256i acc[VECTORS], float slope, float cut)
{
	const __m256 slopes = _mm256_set1_ps(slope), cuts = _mm256_set1_ps(cut);
	uint64_t mask = 0;

	UNROLL
	for (int v = 0; v < VECTORS; v++) {
		__m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[v]), _mm256_load_ps(panel->scale + 8 * v));
		__m256 bound = _mm256_fmadd_ps(_mm256_load_ps(panel->resid + 8 * v), slopes, product);

		mask |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(bound, cuts, _CMP_NLT_UQ)) << 8 * v;
	}
	return mask & panel->rows;
}

INLINE void scan_probes(const int width, const struct lineup_scan *scan, const struct lineup_limits *limits, uint32_t first,
			const float *cut, const struct panel *panel, const struct expanded *e, const struct ahead *ahead)
{
	__m256i acc[2][VECTORS];

	multiply(width, panel, e, first % LINEUP_PROBE_TILE, ahead, acc);
	UNROLL
	for (int p = 0; p < width; p++) {
		uint64_t mask = test(panel, acc[p], limits->slope[first + (uint32_t)p], cut[p]);

		if (__builtin_expect(mask != 0, 0)) {
			int32_t out[LINEUP_PANEL_ROWS] __attribute__((aligned(32)));

			UNROLL
			for (int v = 0; v < VECTORS; v++)
				_mm256_store_si256((__m256i *)(void *)(out + 8 * v), acc[p][v]);
			scan->hit(scan->arg, first + (uint32_t)p, panel->row, mask, out);
		}
	}
}

TARGET static __attribute__((noinline)) void scan_one(const struct lineup_scan *scan, const struct lineup_limits *limits, uint32_t first,
						       const float *cut, const struct panel *panel, const struct expanded *e,
						       const struct ahead *ahead)
{
	scan_probes(1, scan, limits, first, cut, panel, e, ahead);
}

TARGET static __attribute__((noinline)) void scan_two(const struct lineup_scan *scan, const struct lineup_limits *limits, uint32_t first,
						       const float *cut, const struct panel *panel, const struct expanded *e,
						       const struct ahead *ahead)
{
	scan_probes(2, scan, limits, first, cut, panel, e, ahead);
}

TARGET static void panel_init(struct panel *panel, const struct lineup_columns *columns, uint32_t row, uint32_t rows, uint32_t groups)
{
	const __m256 most = _mm256_set1_ps(LINEUP_SCORE_ROW_MAX), nan = _mm256_set1_ps(__builtin_nanf(""));
	const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));

	panel->codes = columns->codes + (size_t)row * groups * 4;
	panel->groups = groups;
	panel->row = row;
	panel->rows = (UINT64_C(1) << (rows - row < LINEUP_PANEL_ROWS ? rows - row : LINEUP_PANEL_ROWS)) - 1;
	panel->resid = columns->resid + row;
	for (int v = 0; v < VECTORS; v++) {
		__m256 scale = _mm256_load_ps(columns->scale + row + 8 * v), resid = _mm256_load_ps(panel->resid + 8 * v);
		__m256 sane = _mm256_and_ps(_mm256_cmp_ps(_mm256_and_ps(scale, no_sign), most, _CMP_LE_OQ),
					    _mm256_and_ps(_mm256_cmp_ps(resid, most, _CMP_LE_OQ),
							  _mm256_cmp_ps(resid, _mm256_setzero_ps(), _CMP_GE_OQ)));

		_mm256_store_ps(panel->scale + 8 * v, _mm256_blendv_ps(nan, scale, sane));
	}
}

/* One tile of probes against one panel, two probes at a time, which share the lines to be fetched. */
static void scan_tile(const struct lineup_scan *scan, const struct lineup_limits *limits, uint32_t tile, const struct panel *panel,
		      const struct expanded *e, struct ahead ahead)
{
	uint32_t first = tile * LINEUP_PROBE_TILE, left = scan->probes->count - first;
	uint32_t width = left < LINEUP_PROBE_TILE ? left : LINEUP_PROBE_TILE;
	float cut[LINEUP_PROBE_TILE];

	lineup_limits_cut(limits, scan, tile, cut);
	ahead.bytes /= (width + 1) / 2;
	for (uint32_t p = 0; p < width; p += 2) {
		if (p + 1 < width)
			scan_two(scan, limits, first + p, cut + p, panel, e, &ahead);
		else
			scan_one(scan, limits, first + p, cut + p, panel, e, &ahead);
		ahead.at += ahead.bytes;
	}
}

static void scan_block(const struct lineup_scan *scan, const struct lineup_columns *columns, uint32_t rows)
{
	const struct lineup_probe_set *probes = scan->probes;
	const size_t panel_bytes = (size_t)probes->groups * PANEL_GROUP_BYTES;
	struct lineup_limits limits;
	struct expanded e;

	assert(probes->count <= LINEUP_PROBES_MAX && probes->groups <= GROUPS_MAX);
	lineup_limits_init(&limits, probes);
	for (uint32_t turn = 0; turn < rows; turn += TURN_PANELS * LINEUP_PANEL_ROWS) {
		for (uint32_t tile = 0; tile < probes->tiles; tile++) {
			/* The next turn's panel; with a single tile there is no need to look further than the next panel. */
			size_t share = panel_bytes / probes->tiles, distance = (probes->tiles > 1 ? TURN_PANELS : 1) * panel_bytes;

			expand(&e, probes, tile);
			for (uint32_t i = 0; i < TURN_PANELS && turn + i * LINEUP_PANEL_ROWS < rows; i++) {
				struct panel panel;
				struct ahead ahead = { .bytes = share };

				panel_init(&panel, columns, turn + i * LINEUP_PANEL_ROWS, rows, probes->groups);
				ahead.at = panel.codes + distance + tile * share;
				scan_tile(scan, &limits, tile, &panel, &e, ahead);
			}
		}
	}
	/* What e holds is the probes. */
	explicit_bzero(&e, sizeof(e));
}

/* Lanes 0 to 3 and 4 to 7 of probe.h's order are the elements of two vectors. The fused product is exact, so its sum is the same. */
TARGET static double dot(const float *a, const float *b, uint32_t dim)
{
	__m256d low = _mm256_setzero_pd(), high = low;
	__m128d quarter;
	float tail_a[8] = { 0 }, tail_b[8] = { 0 };
	uint32_t i = 0;

	for (; i + 8 <= dim; i += 8) {
		low = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(a + i)), _mm256_cvtps_pd(_mm_loadu_ps(b + i)), low);
		high = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(a + i + 4)), _mm256_cvtps_pd(_mm_loadu_ps(b + i + 4)), high);
	}
	if (i < dim) {
		memcpy(tail_a, a + i, (dim - i) * sizeof(*a));
		memcpy(tail_b, b + i, (dim - i) * sizeof(*b));
		low = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(tail_a)), _mm256_cvtps_pd(_mm_loadu_ps(tail_b)), low);
		high = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(tail_a + 4)), _mm256_cvtps_pd(_mm_loadu_ps(tail_b + 4)), high);
		explicit_bzero(tail_a, sizeof(tail_a));
		explicit_bzero(tail_b, sizeof(tail_b));
	}
	low = _mm256_add_pd(low, high); /* 0+4 1+5 2+6 3+7 */
	quarter = _mm_add_pd(_mm256_castpd256_pd128(low), _mm256_extractf128_pd(low, 1)); /* (0+4)+(2+6) (1+5)+(3+7) */
	return _mm_cvtsd_f64(_mm_add_sd(quarter, _mm_unpackhi_pd(quarter, quarter)));
}

const struct lineup_score lineup_score_avx2 = { .name = "avx2", .why_not = why_not, .scan = scan_block, .dot = dot };
#else
static const char *why_not(void)
{
	return "built for another architecture";
}

const struct lineup_score lineup_score_avx2 = { .name = "avx2", .why_not = why_not };
#endif
