// SPDX-License-Identifier: MIT
// The shaders, as the build compiled them.
#include <sodium.h>

#include "kernels_parts.h"

#ifndef LINEUP_SHADERS
#define LINEUP_SHADERS "build/shaders"
#endif

/* Labels of this file alone; hidden, so that the addresses need no table. */
#define EMBED(name) \
	__asm__(".pushsection .rodata\n" \
		".balign 4\n" \
		"lineup_spirv_" #name ":\n" \
		".incbin \"" LINEUP_SHADERS "/" #name ".spv\"\n" \
		"lineup_spirv_" #name "_end:\n" \
		".popsection\n"); \
	extern const uint32_t lineup_spirv_##name[] __attribute__((visibility("hidden"))); \
	extern const uint32_t lineup_spirv_##name##_end[] __attribute__((visibility("hidden")));
LINEUP_VK_SHADER_NAMES(EMBED)

static const struct {
	const char *name;
	const uint32_t *words, *end;
} shaders[] = {
#define ENTRY(name_) { #name_, lineup_spirv_##name_, lineup_spirv_##name_##_end },
	LINEUP_VK_SHADER_NAMES(ENTRY)
};

struct lineup_vk_spirv lineup_vk_shader(enum lineup_vk_shader shader)
{
	return (struct lineup_vk_spirv){
		.name = shaders[shader].name,
		.words = shaders[shader].words,
		.bytes = (size_t)((const char *)shaders[shader].end - (const char *)shaders[shader].words),
	};
}

void lineup_vk_shaders_hash(uint8_t hash[32])
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, 32);
	for (size_t i = 0; i < ARRAY_SIZE(shaders); i++) {
		struct lineup_vk_spirv spirv = lineup_vk_shader((enum lineup_vk_shader)i);

		crypto_generichash_update(&state, (const unsigned char *)spirv.words, spirv.bytes);
	}
	crypto_generichash_final(&state, hash, 32);
}
