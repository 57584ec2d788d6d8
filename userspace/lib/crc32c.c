// SPDX-License-Identifier: MIT
// CRC-32C (Castagnoli, reflected 0x82f63b78), by the CPU's instruction where it has one.
#include <string.h>

#include "internal.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

enum {
	LANE_BYTES = 1024, /* three lanes hide the instruction's latency */
	POLYNOMIAL = 0x82f63b78u,
};

/* table[k][b]: the CRC of byte b followed by k zero bytes; shift[k][b]: of byte k of a CRC, moved past LANE_BYTES zero bytes. */
static uint32_t table[8][256];
static uint32_t shift[4][256];
static bool hardware;

static uint32_t software(uint32_t crc, const uint8_t *p, size_t size)
{
	for (; size >= 8; p += 8, size -= 8) {
		uint32_t low, high;

		memcpy(&low, p, 4);
		memcpy(&high, p + 4, 4);
		low ^= crc;
		crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
		      table[3][high & 255] ^ table[2][high >> 8 & 255] ^ table[1][high >> 16 & 255] ^ table[0][high >> 24];
	}
	for (; size; p++, size--)
		crc = table[0][(crc ^ *p) & 255] ^ crc >> 8;
	return crc;
}

#if defined(__x86_64__)
#define HARDWARE_TARGET __attribute__((target("sse4.2")))
HARDWARE_TARGET static inline uint32_t step8(uint32_t crc, const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, 8);
	return (uint32_t)_mm_crc32_u64(crc, word);
}
HARDWARE_TARGET static inline uint32_t step1(uint32_t crc, uint8_t byte)
{
	return _mm_crc32_u8(crc, byte);
}
static bool has_hardware(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__)
#define HARDWARE_TARGET __attribute__((target("+crc")))
HARDWARE_TARGET static inline uint32_t step8(uint32_t crc, const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, 8);
	return __crc32cd(crc, word);
}
HARDWARE_TARGET static inline uint32_t step1(uint32_t crc, uint8_t byte)
{
	return __crc32cb(crc, byte);
}
static bool has_hardware(void)
{
	return getauxval(AT_HWCAP) & (1 << 7); /* HWCAP_CRC32 */
}
#else
#define HARDWARE_TARGET
static inline uint32_t step8(uint32_t crc, const uint8_t *p)
{
	return software(crc, p, 8);
}
static inline uint32_t step1(uint32_t crc, uint8_t byte)
{
	return software(crc, &byte, 1);
}
static bool has_hardware(void)
{
	return false;
}
#endif

static uint32_t past_lane(uint32_t crc)
{
	return shift[0][crc & 255] ^ shift[1][crc >> 8 & 255] ^ shift[2][crc >> 16 & 255] ^ shift[3][crc >> 24];
}

HARDWARE_TARGET static uint32_t instruction(uint32_t crc, const uint8_t *p, size_t size)
{
	for (; size >= 3 * LANE_BYTES; p += 3 * LANE_BYTES, size -= 3 * LANE_BYTES) {
		uint32_t a = crc, b = 0, c = 0;

		for (size_t i = 0; i < LANE_BYTES; i += 8) {
			a = step8(a, p + i);
			b = step8(b, p + LANE_BYTES + i);
			c = step8(c, p + 2 * LANE_BYTES + i);
		}
		crc = past_lane(past_lane(a) ^ b) ^ c;
	}
	for (; size >= 8; p += 8, size -= 8)
		crc = step8(crc, p);
	for (; size; p++, size--)
		crc = step1(crc, *p);
	return crc;
}

__attribute__((constructor)) static void make_tables(void)
{
	static const uint8_t zeros[LANE_BYTES];

	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
		table[0][b] = crc;
	}
	for (uint32_t b = 0; b < 256; b++)
		for (int k = 1; k < 8; k++)
			table[k][b] = table[0][table[k - 1][b] & 255] ^ table[k - 1][b] >> 8;
	for (uint32_t b = 0; b < 256; b++)
		for (int k = 0; k < 4; k++)
			shift[k][b] = software(b << 8 * k, zeros, LANE_BYTES);
	hardware = has_hardware();
}

uint32_t lineup_crc32c(uint32_t crc, const void *data, size_t size)
{
	return ~(hardware ? instruction(~crc, data, size) : software(~crc, data, size));
}
