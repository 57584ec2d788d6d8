// SPDX-License-Identifier: MIT
// Limits of an x86-64 CPU: loops that read memory, and that multiply int8 from registers, with AVX-512, AVX2 and plain code.
#include "bench.h"

#if defined(__x86_64__)

#include <immintrin.h>

/*
 * The multiply loops are assembly: a compiler would see that nothing depends on them, or spill. Each accumulator is its own chain, enough of
 * them to hide the latency of the instruction.
 */
#define DPBUSD(n) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #n "\n\t"

__attribute__((target("avx512f"))) static uint64_t avx512_multiply(uint64_t iterations, uint64_t *sink)
{
	uint64_t left = iterations;

	__asm__ volatile("vpxord %%zmm30, %%zmm30, %%zmm30\n\t"
			 "vpxord %%zmm31, %%zmm31, %%zmm31\n"
			 "1:\n\t"
			 DPBUSD(0) DPBUSD(1) DPBUSD(2) DPBUSD(3) DPBUSD(4) DPBUSD(5) DPBUSD(6) DPBUSD(7)
			 DPBUSD(8) DPBUSD(9) DPBUSD(10) DPBUSD(11) DPBUSD(12) DPBUSD(13) DPBUSD(14) DPBUSD(15)
			 DPBUSD(16) DPBUSD(17) DPBUSD(18) DPBUSD(19) DPBUSD(20) DPBUSD(21) DPBUSD(22) DPBUSD(23)
			 "dec %0\n\t"
			 "jnz 1b\n\t"
			 "vzeroupper"
			 : "+r"(left)
			 :
			 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
			   "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21",
			   "xmm22", "xmm23", "xmm30", "xmm31");
	*sink += left;
	return iterations * 24 * 64;
}

/* What AVX2 has for bytes: products of pairs to 16 bits, pairs of those to 32 bits, and an addition. */
#define MADD(p, a) \
	"vpmaddubsw %%ymm14, %%ymm15, %%ymm" #p "\n\t" \
	"vpmaddwd %%ymm13, %%ymm" #p ", %%ymm" #p "\n\t" \
	"vpaddd %%ymm" #p ", %%ymm" #a ", %%ymm" #a "\n\t"

static uint64_t avx2_multiply(uint64_t iterations, uint64_t *sink)
{
	uint64_t left = iterations;

	__asm__ volatile("vpxor %%ymm13, %%ymm13, %%ymm13\n\t"
			 "vpxor %%ymm14, %%ymm14, %%ymm14\n\t"
			 "vpxor %%ymm15, %%ymm15, %%ymm15\n"
			 "1:\n\t"
			 MADD(8, 0) MADD(9, 1) MADD(10, 2) MADD(11, 3) MADD(12, 4) MADD(8, 5) MADD(9, 6) MADD(10, 7)
			 "dec %0\n\t"
			 "jnz 1b\n\t"
			 "vzeroupper"
			 : "+r"(left)
			 :
			 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
			   "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	*sink += left;
	return iterations * 8 * 32;
}

__attribute__((target("avx512f"))) static uint64_t avx512_read(const void *data, size_t size)
{
	const char *p = data;
	__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;

	for (size_t i = 0; i < size; i += 256) {
		a = _mm512_add_epi64(a, _mm512_load_si512(p + i));
		b = _mm512_add_epi64(b, _mm512_load_si512(p + i + 64));
		c = _mm512_add_epi64(c, _mm512_load_si512(p + i + 128));
		d = _mm512_add_epi64(d, _mm512_load_si512(p + i + 192));
	}
	return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d)));
}

__attribute__((target("avx2"))) static uint64_t avx2_read(const void *data, size_t size)
{
	const char *p = data;
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;

	for (size_t i = 0; i < size; i += 128) {
		a = _mm256_add_epi64(a, _mm256_load_si256((const __m256i *)(p + i)));
		b = _mm256_add_epi64(b, _mm256_load_si256((const __m256i *)(p + i + 32)));
		c = _mm256_add_epi64(c, _mm256_load_si256((const __m256i *)(p + i + 64)));
		d = _mm256_add_epi64(d, _mm256_load_si256((const __m256i *)(p + i + 96)));
	}
	uint64_t lane[4];

	_mm256_storeu_si256((__m256i *)lane, _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d)));
	return lane[0] + lane[1] + lane[2] + lane[3];
}

static uint64_t plain_read(const void *data, size_t size)
{
	const uint64_t *p = data;
	uint64_t a = 0, b = 0, c = 0, d = 0;

	for (size_t i = 0; i < size / sizeof(*p); i += 4) {
		a += p[i];
		b += p[i + 1];
		c += p[i + 2];
		d += p[i + 3];
	}
	return a + b + c + d;
}

static bool avx512_here(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
}

static bool avx2_here(void)
{
	return __builtin_cpu_supports("avx2");
}

static bool plain_here(void)
{
	return true;
}

const struct bench_kernel bench_kernels[] = {
	{ "AVX-512 VNNI", avx512_here, avx512_read, avx512_multiply, "avx512" },
	{ "AVX2", avx2_here, avx2_read, avx2_multiply, "avx2" },
	{ "64-bit words", plain_here, plain_read, NULL, "scalar" },
};
const uint32_t bench_kernel_count = sizeof(bench_kernels) / sizeof(bench_kernels[0]);

#endif
