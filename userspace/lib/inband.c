// SPDX-License-Identifier: MIT
// The in-band format of capture cards: where a block is, and whether it is valid.
#include <math.h>
#include <string.h>

#include "inband.h"

_Static_assert(sizeof(struct lineup_inband_header) == LINEUP_INBAND_HEADER_BYTES, "lineup-inband.h");
_Static_assert(offsetof(struct lineup_inband_header, model_digest) == 32 && offsetof(struct lineup_inband_header, sequence) == 64 &&
	       offsetof(struct lineup_inband_header, header_crc) == 92, "lineup-inband.h");
_Static_assert(sizeof(struct lineup_inband_entry) == 24, "lineup-inband.h");

static bool has_magic(const uint8_t *frame, uint64_t size, uint64_t offset)
{
	return offset <= size && size - offset >= LINEUP_INBAND_HEADER_BYTES && !memcmp(frame + offset, LINEUP_INBAND_MAGIC, 8);
}

/* (1) to (4) of the format. */
static const char *check_header(const struct lineup_inband_header *h, uint64_t room)
{
	uint64_t entries;

	if (h->version != LINEUP_INBAND_VERSION)
		return "a block of another version";
	if (h->header_bytes != LINEUP_INBAND_HEADER_BYTES || h->flags || h->reserved)
		return "a header that this version does not have";
	if (h->header_crc != lineup_crc32c(0, h, offsetof(struct lineup_inband_header, header_crc)))
		return "a damaged header";
	if (h->count > LINEUP_INBAND_COUNT_MAX)
		return "more than 256 entries";
	if (!h->dim || h->dim > LINEUP_INBAND_DIM_MAX)
		return "a dimension that is not from 1 to 4096";
	if (!h->width || !h->height || h->width > LINEUP_INBAND_SIDE_MAX || h->height > LINEUP_INBAND_SIDE_MAX)
		return "an image that is not from 1 to 65536 pixels a side";
	entries = (uint64_t)h->count * h->entry_bytes;
	if (h->entry_bytes != sizeof(struct lineup_inband_entry) + h->dim * sizeof(float) ||
	    h->block_bytes != LINEUP_INBAND_HEADER_BYTES + entries + sizeof(uint32_t))
		return "sizes that do not follow from its counts";
	return h->block_bytes > room ? "a block that ends behind the frame" : NULL;
}

static const char *check_entry(const struct lineup_inband *block, const uint8_t *bytes)
{
	const struct lineup_inband_header *h = &block->header;
	struct lineup_inband_entry e;
	bool any = false;

	memcpy(&e, bytes, sizeof(e));
	if (e.reserved)
		return "an entry that this version does not have";
	/* Written so that a NaN fails each of them. */
	if (!(e.x >= 0 && e.y >= 0 && e.width > 0 && e.height > 0 && (double)e.x + (double)e.width <= h->width &&
	      (double)e.y + (double)e.height <= h->height))
		return "a box outside the image";
	if (!(e.quality >= 0 && e.quality <= 1))
		return "a quality that is not from 0 to 1";
	for (uint32_t i = 0; i < h->dim; i++) {
		float v;

		memcpy(&v, bytes + sizeof(e) + i * sizeof(v), sizeof(v));
		if (!isfinite(v))
			return "a component that is not finite";
		any |= v != 0;
	}
	return any ? NULL : "a vector of only zeros";
}

const char *lineup_inband_read(const void *frame, uint64_t size, uint64_t image_bytes, struct lineup_inband *block)
{
	const uint8_t *bytes = frame;
	uint64_t behind = round_up(image_bytes, LINEUP_INBAND_ALIGN), offset = has_magic(bytes, size, 0) ? 0 : behind;
	struct lineup_inband b;
	const char *wrong;
	uint64_t entries;
	uint32_t crc;

	if (image_bytes > size || !has_magic(bytes, size, offset))
		return "no block of templates";
	memcpy(&b.header, bytes + offset, sizeof(b.header));
	wrong = check_header(&b.header, size - offset);
	if (wrong)
		return wrong;
	b.entries = bytes + offset + LINEUP_INBAND_HEADER_BYTES;
	entries = (uint64_t)b.header.count * b.header.entry_bytes;
	memcpy(&crc, b.entries + entries, sizeof(crc));
	if (crc != lineup_crc32c(0, b.entries, entries))
		return "damaged entries";
	for (uint32_t i = 0; i < b.header.count && !wrong; i++)
		wrong = check_entry(&b, b.entries + (uint64_t)i * b.header.entry_bytes);
	if (!wrong)
		*block = b;
	return wrong;
}

void lineup_inband_entry(const struct lineup_inband *block, uint32_t index, struct lineup_inband_entry *entry, float *vector)
{
	const uint8_t *bytes = block->entries + (uint64_t)index * block->header.entry_bytes;

	memcpy(entry, bytes, sizeof(*entry));
	memcpy(vector, bytes + sizeof(*entry), block->header.dim * sizeof(*vector));
}
