// SPDX-License-Identifier: MIT
// Any bytes as a frame of a card that extracts on board. The first byte says how large the image before the block is.
#include <stdbool.h>

#include "fuzz.h"
#include "inband.h"

/* CRC-32C bit by bit, from its polynomial. */
static uint32_t plain_crc(const uint8_t *data, size_t size)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static uint32_t number(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

/* What is accepted is valid by the text of lineup-inband.h. */
static void check_block(const uint8_t *frame, size_t size, const struct lineup_inband *b)
{
	const uint8_t *block = b->entries - 96;
	uint32_t count = number(block + 16), dim = number(block + 20);
	static float vector[LINEUP_INBAND_DIM_MAX];

	CHECK(block >= frame && block + 96 <= frame + size && (block - frame) % 64 == 0);
	CHECK(!memcmp(block, "LINEUPIB", 8) && block[8] == 1 && block[9] == 0 && block[10] == 96 && block[11] == 0);
	CHECK(count <= 256 && dim >= 1 && dim <= 4096);
	CHECK(number(block + 24) == 24 + 4 * dim);
	CHECK(number(block + 12) == 96 + count * (24 + 4 * dim) + 4 && block + number(block + 12) <= frame + size);
	CHECK(number(block + 92) == plain_crc(block, 92));
	CHECK(number(b->entries + count * (24 + 4 * dim)) == plain_crc(b->entries, count * (24 + 4 * dim)));
	for (uint32_t i = 0; i < count; i++) {
		struct lineup_inband_entry e;
		bool any = false;

		lineup_inband_entry(b, i, &e, vector);
		CHECK(e.quality >= 0 && e.quality <= 1 && e.reserved == 0);
		CHECK(e.x >= 0 && e.y >= 0 && e.width > 0 && e.height > 0);
		CHECK((double)e.x + (double)e.width <= number(block + 80) && (double)e.y + (double)e.height <= number(block + 84));
		for (uint32_t d = 0; d < dim; d++) {
			CHECK(isfinite(vector[d]));
			any |= vector[d] != 0;
		}
		CHECK(any);
	}
}

/* Rewrites the CRCs of the block at @at so that what lies behind those checks is met, too. */
static void mend(uint8_t *at, size_t room)
{
	uint64_t entries;
	uint32_t crc;

	if (room < 96)
		return;
	crc = plain_crc(at, 92);
	memcpy(at + 92, &crc, 4);
	entries = (uint64_t)number(at + 16) * number(at + 24);
	if (entries > room || room - entries < 100)
		return;
	crc = plain_crc(at + 96, entries);
	memcpy(at + 96 + entries, &crc, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lineup_inband block;
	uint64_t image;
	uint8_t *frame;

	if (!size || size > 1 << 20)
		return 0;
	image = data[0] & 0x7f;
	frame = malloc(size);
	CHECK(frame);
	memcpy(frame, data + 1, size - 1);
	if (data[0] & 0x80)
		mend(frame, size - 1);
	if (!lineup_inband_read(frame, size - 1, image, &block))
		check_block(frame, size - 1, &block);
	free(frame);
	return 0;
}
