// SPDX-License-Identifier: MIT
// Measures the score kernels against the machine's RAM read rate and multiply-add peak, in interleaved rounds: kernels [rows] [rounds] [dim].
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "score.h"

enum { THREADS_MAX = 2, ROUNDS_MAX = 64, PEAK_STEPS = 2000000, BLOCKS_PER_TURN = 1 };

static const uint32_t batch[] = { 1, 2, 4, 8, 16, 64, 256, 1024 };
static const struct lineup_score *const backend[] = { &lineup_score_avx512, &lineup_score_avx2, &lineup_score_neon };

/* Everything the threads of one measurement share. */
struct work {
	enum { RAM, PEAK, SCAN } what;
	const struct lineup_score *score;
	const struct lineup_shape *shape;
	const uint8_t *blocks;
	uint64_t block_count;
	uint64_t rows;
	struct lineup_scan scan;
	atomic_ullong next;
	atomic_ullong sink;
};

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void count_hit(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t *acc)
{
	(void)probe, (void)row, (void)acc;
	atomic_fetch_add((atomic_ullong *)arg, (unsigned long long)__builtin_popcountll(mask));
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t read_bytes(const uint8_t *data, size_t size)
{
	__m256i sum[4] = { _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256() };

	for (size_t i = 0; i < size; i += 128) {
		sum[0] = _mm256_add_epi64(sum[0], _mm256_load_si256((const __m256i *)(const void *)(data + i)));
		sum[1] = _mm256_add_epi64(sum[1], _mm256_load_si256((const __m256i *)(const void *)(data + i + 32)));
		sum[2] = _mm256_add_epi64(sum[2], _mm256_load_si256((const __m256i *)(const void *)(data + i + 64)));
		sum[3] = _mm256_add_epi64(sum[3], _mm256_load_si256((const __m256i *)(const void *)(data + i + 96)));
	}
	sum[0] = _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
	return (uint64_t)_mm256_extract_epi64(sum[0], 0) + (uint64_t)_mm256_extract_epi64(sum[0], 1) +
	       (uint64_t)_mm256_extract_epi64(sum[0], 2) + (uint64_t)_mm256_extract_epi64(sum[0], 3);
}

#define D(n) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #n "\n\t"
__attribute__((target("avx512f"))) static void peak(uint64_t steps)
{
	__asm__ volatile("vpxord %%zmm30, %%zmm30, %%zmm30\n\tvpxord %%zmm31, %%zmm31, %%zmm31\n1:\n\t"
			 D(0) D(1) D(2) D(3) D(4) D(5) D(6) D(7) D(8) D(9) D(10) D(11)
			 D(12) D(13) D(14) D(15) D(16) D(17) D(18) D(19) D(20) D(21) D(22) D(23)
			 "dec %0\n\tjnz 1b"
			 : "+r"(steps)
			 :
			 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
			   "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",
			   "xmm30", "xmm31");
}
#undef D
static const double peak_macs = 24.0 * 64; /* a step */
#else
static uint64_t read_bytes(const uint8_t *data, size_t size)
{
	uint64_t sum = 0, word;

	for (size_t i = 0; i < size; i += 8) {
		memcpy(&word, data + i, 8);
		sum += word;
	}
	return sum;
}
static void peak(uint64_t steps)
{
	(void)steps;
}
static const double peak_macs; /* not measured: prints as 0 */
#endif

/* Blocks of codes, without their columns: what the RAM rate of a scan is compared with reads the same bytes. */
static void *run_thread(void *arg)
{
	struct work *w = arg;
	struct lineup_columns columns;
	uint64_t block;

	if (w->what == PEAK) {
		peak(PEAK_STEPS);
		return NULL;
	}
	while ((block = atomic_fetch_add(&w->next, BLOCKS_PER_TURN)) < w->block_count) {
		for (uint64_t b = block; b < block + BLOCKS_PER_TURN && b < w->block_count; b++) {
			const uint8_t *at = w->blocks + b * w->shape->block_bytes;

			lineup_block_columns(w->shape, at, &columns);
			if (w->what == RAM)
				atomic_fetch_add(&w->sink, read_bytes(columns.codes, (size_t)w->shape->block_rows / 48 * w->shape->panel_bytes));
			else
				w->score->scan(&w->scan, &columns, w->shape->block_rows);
		}
	}
	return NULL;
}

static double measure(struct work *w, int threads)
{
	pthread_t thread[THREADS_MAX];
	double start = now_seconds();

	atomic_store(&w->next, 0);
	for (int t = 1; t < threads; t++)
		pthread_create(&thread[t], NULL, run_thread, w);
	run_thread(w);
	for (int t = 1; t < threads; t++)
		pthread_join(thread[t], NULL);
	return now_seconds() - start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static void fill_blocks(const struct lineup_shape *shape, uint8_t *blocks, uint64_t count)
{
	uint64_t x = 88172645463325252u;

	for (uint64_t b = 0; b < count; b++) {
		struct lineup_columns columns;
		uint8_t *codes;

		lineup_block_begin(shape, blocks + b * shape->block_bytes);
		lineup_block_columns(shape, blocks + b * shape->block_bytes, &columns);
		codes = blocks + b * shape->block_bytes + (columns.codes - (blocks + b * shape->block_bytes));
		for (size_t i = 0; i < (size_t)shape->block_rows * shape->groups * 4; i += 8) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			uint64_t word = x | 0x0101010101010101u; /* no byte is 0: codes are within 127 */

			memcpy(codes + i, &word, 8);
		}
		for (uint32_t r = 0; r < shape->block_rows; r++) {
			((float *)(blocks + b * shape->block_bytes + sizeof(struct disk_block)))[r] = 0.001f;
			((float *)(blocks + b * shape->block_bytes + sizeof(struct disk_block)))[shape->block_rows + r] = 0.01f;
		}
	}
}

static int fill_probes(struct lineup_ctx *ctx, struct lineup_probe_set *set, uint32_t count, uint32_t dim)
{
	float *v = malloc((size_t)count * dim * sizeof(*v));
	struct lineup_matrix m = { .data = v, .rows = count, .dim = dim, .dtype = LINEUP_FLOAT32 };
	int err = v ? lineup_probe_set_init(ctx, set, count, dim) : -ENOMEM;

	if (!err) {
		for (size_t i = 0; i < (size_t)count * dim; i++)
			v[i] = (float)(rand() % 2001 - 1000) + 0.5f;
		err = lineup_probe_set_fill(ctx, set, &m, 0, count, LINEUP_NORM_MAX_FLOAT32);
	}
	free(v);
	return err;
}

/* One line: the medians over the rounds of this kernel's rate and of its ratios to what the same round measured. */
static void print_line(const char *name, uint32_t probes, int threads, const struct work *w, int rounds, double *seconds,
		       const double *ram, const double *peak_rate)
{
	double bytes = (double)w->block_count * w->shape->block_rows / 48 * w->shape->panel_bytes, of_ram[ROUNDS_MAX], of_peak[ROUNDS_MAX];

	for (int r = 0; r < rounds; r++) {
		of_ram[r] = bytes / seconds[r] / ram[r];
		of_peak[r] = bytes * probes / seconds[r] / peak_rate[r];
	}
	printf("%-7s Q=%-5u T=%d %8.1f Mcmp/s %6.2f of RAM %6.2f of peak\n", name, probes, threads,
	       (double)w->rows * probes / median(seconds, rounds) / 1e6, median(of_ram, rounds), median(of_peak, rounds));
}

static void bench(struct work *w, struct lineup_probe_set *sets, int threads, int rounds)
{
	static double seconds[ARRAY_SIZE(backend)][ARRAY_SIZE(batch)][ROUNDS_MAX];
	double ram[ROUNDS_MAX], peak_rate[ROUNDS_MAX], bytes = (double)w->block_count * w->shape->block_rows / 48 * w->shape->panel_bytes;

	for (int r = 0; r < rounds; r++) {
		w->what = RAM;
		ram[r] = bytes / measure(w, threads);
		w->what = PEAK;
		peak_rate[r] = peak_macs * PEAK_STEPS * threads / measure(w, threads);
		w->what = SCAN;
		for (size_t b = 0; b < ARRAY_SIZE(backend); b++) {
			w->score = backend[b];
			if (backend[b]->why_not())
				continue;
			for (size_t q = 0; q < ARRAY_SIZE(batch); q++) {
				uint64_t all = w->block_count;

				/* A long measurement gains nothing in precision: many probes see fewer blocks. */
				w->scan.probes = &sets[q];
				if (batch[q] > 64)
					w->block_count = all / (batch[q] / 64);
				seconds[b][q][r] = measure(w, threads) * (double)all / (double)w->block_count;
				w->block_count = all;
			}
		}
	}
	for (size_t b = 0; b < ARRAY_SIZE(backend); b++) {
		if (backend[b]->why_not()) {
			printf("%-7s not measured: %s\n", backend[b]->name, backend[b]->why_not());
			continue;
		}
		for (size_t q = 0; q < ARRAY_SIZE(batch); q++)
			print_line(backend[b]->name, batch[q], threads, w, rounds, seconds[b][q], ram, peak_rate);
	}
	printf("RAM     T=%d %.1f GB/s, peak %.0f GMAC/s\n", threads, median(ram, rounds) / 1e9, median(peak_rate, rounds) / 1e9);
}

int main(int argc, char **argv)
{
	uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 0) : 400000;
	int rounds = argc > 2 ? atoi(argv[2]) : 7;
	uint32_t dim = argc > 3 ? (uint32_t)atoi(argv[3]) : 512;
	struct lineup_probe_set sets[ARRAY_SIZE(batch)] = { 0 };
	_Atomic float threshold[LINEUP_PROBES_MAX];
	struct lineup_shape shape;
	struct work w = { .shape = &shape };
	struct lineup_ctx *ctx;
	uint8_t *blocks;

	if (!rows || rounds < 1 || rounds > ROUNDS_MAX || !dim || dim > LINEUP_DIM_MAX || lineup_ctx_create(NULL, &ctx)) {
		fprintf(stderr, "usage: kernels [rows] [rounds, up to %d] [dim]\n", ROUNDS_MAX);
		return 2;
	}
	lineup_shape_init(&shape, dim, LINEUP_STORE_FLOAT32, rows);
	w.block_count = (rows + shape.block_rows - 1) / shape.block_rows;
	w.rows = w.block_count * shape.block_rows;
	blocks = lineup_pages_alloc(ctx, w.block_count * shape.block_bytes);
	if (!blocks)
		return 1;
	fill_blocks(&shape, blocks, w.block_count);
	w.blocks = blocks;
	for (uint32_t i = 0; i < LINEUP_PROBES_MAX; i++)
		atomic_store(&threshold[i], 100.0f); /* nothing passes: the kernel alone is measured */
	w.scan = (struct lineup_scan){ .threshold = threshold, .hit = count_hit, .arg = &w.sink };
	for (size_t q = 0; q < ARRAY_SIZE(batch); q++)
		if (fill_probes(ctx, &sets[q], batch[q], dim))
			return 1;
	for (int threads = 1; threads <= THREADS_MAX; threads++)
		bench(&w, sets, threads, rounds);
	for (size_t q = 0; q < ARRAY_SIZE(batch); q++)
		lineup_probe_set_fini(&sets[q]);
	lineup_pages_free(blocks, w.block_count * shape.block_bytes);
	lineup_ctx_destroy(ctx);
	return 0;
}
