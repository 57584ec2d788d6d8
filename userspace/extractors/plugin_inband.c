// SPDX-License-Identifier: MIT
// The extractor `inband`: templates that the card made and delivered inside the frame; lineup-inband.h has the format.
#include <errno.h>
#include <string.h>

#include "inband.h"
#include "lineup-extractor.h"

/* From the card's image to the frame's, which may be of another size or no image at all. */
static void place(struct lineup_plugin_template *t, const struct lineup_inband_entry *e, const struct lineup_inband_header *h,
		  const struct lineup_plugin_frame *frame)
{
	double across = (double)frame->width / h->width, down = (double)frame->height / h->height;

	t->x = (float)(e->x * across);
	t->y = (float)(e->y * down);
	t->width = (float)(e->width * across);
	t->height = (float)(e->height * down);
	/* Rounded to float a box that touches the edge could reach beyond it. */
	if ((double)t->x + (double)t->width > frame->width)
		t->width = (float)frame->width - t->x;
	if ((double)t->y + (double)t->height > frame->height)
		t->height = (float)frame->height - t->y;
	t->quality = e->quality;
}

/* A worse one than those taken is left out. The place of the worst, or max. */
static uint32_t worst(const struct lineup_plugin_result *result, float quality)
{
	uint32_t at = 0;

	for (uint32_t i = 1; i < result->max; i++)
		if (result->templates[i].quality < result->templates[at].quality)
			at = i;
	return result->templates[at].quality < quality ? at : result->max;
}

static int extract(void *state, const struct lineup_plugin_frame *frame, struct lineup_plugin_result *result)
{
	uint64_t image_bytes = (uint64_t)frame->stride * frame->height;
	struct lineup_inband_entry entry;
	struct lineup_inband block;
	float vector[LINEUP_INBAND_DIM_MAX];

	(void)state;
	if (lineup_inband_read(frame->data, frame->bytes, image_bytes <= frame->bytes ? image_bytes : 0, &block))
		return -EBADMSG;
	for (uint32_t i = 0; i < block.header.count; i++) {
		uint32_t at = i;

		lineup_inband_entry(&block, i, &entry, vector);
		if (at >= result->max)
			at = worst(result, entry.quality);
		if (at == result->max)
			continue;
		place(&result->templates[at], &entry, &block.header, frame);
		result->templates[at].dim = block.header.dim;
		memcpy(result->templates[at].model_digest, block.header.model_digest, LINEUP_PLUGIN_DIGEST_BYTES);
		/* Vectors of another dimension have no place here; that they have it is said, and the frame fails for it. */
		if (block.header.dim == result->dim)
			memcpy(result->vectors + (size_t)at * result->dim, vector, result->dim * sizeof(float));
		if (at >= result->count)
			result->count = at + 1;
	}
	explicit_bzero(vector, sizeof(vector));
	return 0;
}

const struct lineup_plugin *lineup_plugin(void)
{
	static const struct lineup_plugin plugin = {
		.abi = LINEUP_PLUGIN_ABI, .size = sizeof(plugin), .name = "inband", .extract = extract
	};

	return &plugin;
}
