// SPDX-License-Identifier: MIT
// The extractor `pattern`, for tests: one template a frame, computed from its bytes. It knows nothing of faces.
#include <errno.h>
#include <string.h>

#include "lineup-extractor.h"

/*
 * Component i of dim is the mean of the image's bytes [i * bytes / dim, (i + 1) * bytes / dim) less 127.5, rounded to float32:
 * equal frames have equal templates, and alike ones alike. If all come to 0 the first is 1. The model's id is "lineup-pattern".
 */
static const uint8_t digest[LINEUP_PLUGIN_DIGEST_BYTES] = {
	0x75, 0x13, 0x54, 0x0f, 0x23, 0x86, 0xa9, 0xcf, 0x00, 0x96, 0x75, 0xe2, 0x66, 0x36, 0x18, 0x2b,
	0x61, 0xb8, 0x7b, 0xbe, 0x55, 0x0b, 0x7c, 0x05, 0xae, 0xfb, 0xec, 0x3d, 0x22, 0x12, 0xbf, 0xdd,
};

static int extract(void *state, const struct lineup_plugin_frame *frame, struct lineup_plugin_result *result)
{
	uint64_t begin = 0, dim = result->dim;
	int any = 0;

	(void)state;
	if (frame->bytes < dim)
		return -EMSGSIZE;
	for (uint64_t i = 0; i < dim; i++) {
		uint64_t end = (i + 1) * frame->bytes / dim, sum = 0;

		for (uint64_t b = begin; b < end; b++)
			sum += frame->data[b];
		result->vectors[i] = (float)((double)sum / (double)(end - begin) - 127.5);
		any |= result->vectors[i] != 0;
		begin = end;
	}
	if (!any)
		result->vectors[0] = 1;
	result->templates[0] = (struct lineup_plugin_template){
		.width = (float)frame->width, .height = (float)frame->height, .quality = 1, .dim = result->dim,
	};
	memcpy(result->templates[0].model_digest, digest, sizeof(digest));
	result->count = 1;
	return 0;
}

const struct lineup_plugin *lineup_plugin(void)
{
	static const struct lineup_plugin plugin = {
		.abi = LINEUP_PLUGIN_ABI, .size = sizeof(plugin), .name = "pattern", .extract = extract
	};

	return &plugin;
}
