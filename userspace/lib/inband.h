/* SPDX-License-Identifier: MIT */
/* Reading the blocks of lineup-inband.h. */
#ifndef LINEUP_INBAND_READ_H
#define LINEUP_INBAND_READ_H

#include "internal.h"
#include "lineup-inband.h"

struct lineup_inband {
	struct lineup_inband_header header;
	const uint8_t *entries; /* in the frame; of any alignment */
};

/*
 * Finds and checks the block in the @size bytes of a frame, whose image takes @image_bytes (0: there is none). Everything in
 * lineup-inband.h holds afterwards, as long as nobody writes to the frame. NULL, or what is wrong (static). *@block is
 * untouched then.
 */
const char *lineup_inband_read(const void *frame, uint64_t size, uint64_t image_bytes, struct lineup_inband *block);
/* Entry @index of a checked block, and its vector into @vector[dim]. */
void lineup_inband_entry(const struct lineup_inband *block, uint32_t index, struct lineup_inband_entry *entry, float *vector);

#endif
