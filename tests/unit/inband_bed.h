/* SPDX-License-Identifier: MIT */
/* Blocks of lineup-inband.h, written from its text and not from the reader's code. */
#ifndef INBAND_BED_H
#define INBAND_BED_H

#include <stdint.h>
#include <string.h>

/* CRC-32C bit by bit, from its polynomial. */
static inline uint32_t inband_crc(const uint8_t *data, size_t size)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static inline void inband_put(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static inline void inband_put_float(uint8_t *at, float value)
{
	uint32_t bits;

	memcpy(&bits, &value, 4);
	inband_put(at, bits);
}

static inline uint32_t inband_bytes(uint32_t count, uint32_t dim)
{
	return 96 + count * (24 + 4 * dim) + 4;
}

/* Both CRCs, after whatever was changed. */
static inline void inband_seal(uint8_t *block, uint32_t count, uint32_t dim)
{
	uint32_t entries = count * (24 + 4 * dim);

	inband_put(block + 92, inband_crc(block, 92));
	inband_put(block + 96 + entries, inband_crc(block + 96, entries));
}

/* Entry i: box (i, 2 i, 10, 20) in an image of 640 x 480, quality (i + 1) / 256, vector component d: 1 + i + d. */
static inline void inband_make(uint8_t *block, uint32_t count, uint32_t dim, const uint8_t digest[32])
{
	memset(block, 0, inband_bytes(count, dim));
	memcpy(block, "LINEUPIB", 8);
	inband_put(block + 8, 1 | 96 << 16);
	inband_put(block + 12, inband_bytes(count, dim));
	inband_put(block + 16, count);
	inband_put(block + 20, dim);
	inband_put(block + 24, 24 + 4 * dim);
	memcpy(block + 32, digest, 32);
	inband_put(block + 80, 640);
	inband_put(block + 84, 480);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *e = block + 96 + i * (24 + 4 * dim);

		inband_put_float(e, (float)i);
		inband_put_float(e + 4, (float)(2 * i));
		inband_put_float(e + 8, 10);
		inband_put_float(e + 12, 20);
		inband_put_float(e + 16, (float)(i + 1) / 256);
		for (uint32_t d = 0; d < dim; d++)
			inband_put_float(e + 24 + 4 * d, (float)(1 + i + d));
	}
	inband_seal(block, count, dim);
}

#endif
