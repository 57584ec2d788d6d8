// SPDX-License-Identifier: MIT
// Limits of an AArch64 CPU: loops that read memory, and that multiply int8 from registers, with NEON.
#include "bench.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <sys/auxv.h>

#include <asm/hwcap.h>

#define SDOT(n) "sdot v" #n ".4s, v30.16b, v31.16b\n\t"

__attribute__((target("arch=armv8.2-a+dotprod"))) static uint64_t dot_multiply(uint64_t iterations, uint64_t *sink)
{
	uint64_t left = iterations;

	/* Assembly, because a compiler would see that nothing depends on it. */
	__asm__ volatile("movi v30.16b, #0\n\t"
			 "movi v31.16b, #0\n"
			 "1:\n\t"
			 SDOT(0) SDOT(1) SDOT(2) SDOT(3) SDOT(4) SDOT(5) SDOT(6) SDOT(7)
			 SDOT(16) SDOT(17) SDOT(18) SDOT(19) SDOT(20) SDOT(21) SDOT(22) SDOT(23)
			 "subs %0, %0, #1\n\t"
			 "b.ne 1b"
			 : "+r"(left)
			 :
			 : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23",
			   "v30", "v31");
	*sink += left;
	return iterations * 16 * 16;
}

static uint64_t neon_read(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64x2_t a = vdupq_n_u64(0), b = a, c = a, d = a;

	for (size_t i = 0; i < size; i += 64) {
		a = vaddq_u64(a, vreinterpretq_u64_u8(vld1q_u8(p + i)));
		b = vaddq_u64(b, vreinterpretq_u64_u8(vld1q_u8(p + i + 16)));
		c = vaddq_u64(c, vreinterpretq_u64_u8(vld1q_u8(p + i + 32)));
		d = vaddq_u64(d, vreinterpretq_u64_u8(vld1q_u8(p + i + 48)));
	}
	return vaddvq_u64(vaddq_u64(vaddq_u64(a, b), vaddq_u64(c, d)));
}

static bool dot_here(void)
{
	return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}

static bool neon_here(void)
{
	return true;
}

const struct bench_kernel bench_kernels[] = {
	{ "NEON sdot", dot_here, NULL, dot_multiply, "neon" },
	{ "NEON", neon_here, neon_read, NULL, "scalar" },
};
const uint32_t bench_kernel_count = sizeof(bench_kernels) / sizeof(bench_kernels[0]);

#endif
