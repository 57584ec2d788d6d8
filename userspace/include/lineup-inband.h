/* SPDX-License-Identifier: MIT */
/*
 * The format in which a capture card that extracts on board delivers templates inside a frame, as the extractor `inband` reads
 * it.
 */
#ifndef LINEUP_INBAND_H
#define LINEUP_INBAND_H

#include <stdint.h>

/*
 * A frame holds one block. It begins at offset 0 of the frame or, behind an image, at stride * height rounded up to a multiple
 * of 64; offset 0 is tried first. All numbers are little endian, floats are IEEE 754 binary32. What stands behind the block has
 * no meaning.
 *
 *	offset  size  header
 *	     0     8  magic: "LINEUPIB"
 *	     8     2  version: 1
 *	    10     2  header_bytes: 96
 *	    12     4  block_bytes: of the whole block, 96 + count * entry_bytes + 4
 *	    16     4  count: of entries, 0 to 256
 *	    20     4  dim: components of each vector, 1 to 4096
 *	    24     4  entry_bytes: 24 + 4 * dim
 *	    28     4  flags: 0
 *	    32    32  model_digest: BLAKE2b-256 of the id of the model on the card, as `lineup enrol --model` has it
 *	    64     8  sequence: the card's count of images, for whoever looks at a dump
 *	    72     8  timestamp_ns: the card's clock, likewise
 *	    80     4  width   of the image that boxes refer to, in pixels, 1 to 65536
 *	    84     4  height
 *	    88     4  reserved: 0
 *	    92     4  header_crc: CRC-32C of the bytes 0 to 91
 *
 *	entry i, at 96 + i * entry_bytes
 *	     0    16  x, y, width, height: the face's box in pixels: x, y >= 0; width, height > 0; within the image
 *	    16     4  quality: 0 to 1
 *	    20     4  reserved: 0
 *	    24  4*dim vector: finite, not all zero, of any length
 *
 *	at 96 + count * entry_bytes
 *	     0     4  entries_crc: CRC-32C of all entries; of no bytes if there are none, which is 0
 *
 * A block is valid if
 *
 *	(1) magic, version, header_bytes, flags, reserved are what is said above,
 *	(2) header_crc is right,
 *	(3) count, dim, width and height are within their limits, entry_bytes and block_bytes follow from them,
 *	(4) the block ends within the frame,
 *	(5) entries_crc is right,
 *	(6) every entry is as said above.
 *
 * They are looked at in this order. A frame without a valid block is refused as a whole: a card that delivers half of its
 * templates delivers none. CRCs find damage, for instance of a transfer that stopped half-way, not forgery: who can write
 * frames can write templates.
 */
#define LINEUP_INBAND_MAGIC "LINEUPIB"
enum {
	LINEUP_INBAND_VERSION = 1,
	LINEUP_INBAND_HEADER_BYTES = 96,
	LINEUP_INBAND_ALIGN = 64,
	LINEUP_INBAND_COUNT_MAX = 256,
	LINEUP_INBAND_DIM_MAX = 4096,
	LINEUP_INBAND_SIDE_MAX = 65536,
};

struct lineup_inband_header {
	char magic[8];
	uint16_t version;
	uint16_t header_bytes;
	uint32_t block_bytes;
	uint32_t count;
	uint32_t dim;
	uint32_t entry_bytes;
	uint32_t flags;
	uint8_t model_digest[32];
	uint64_t sequence;
	uint64_t timestamp_ns;
	uint32_t width;
	uint32_t height;
	uint32_t reserved;
	uint32_t header_crc;
};

/* Its vector follows. */
struct lineup_inband_entry {
	float x, y, width, height;
	float quality;
	uint32_t reserved;
};

#endif
