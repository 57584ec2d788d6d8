// SPDX-License-Identifier: MIT
// Multiplies codes in registers and nothing else: how fast that is, is the limit of a scan of many probes. Variants as in
// scan.comp.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "dot.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform gpu_push { gpu_rate p; };

#if defined(MATRIX)
layout(constant_id = 1) const uint UNUSED = 0; // constants 4 to 8 are matrix.glsl's
#include "matrix.glsl"

const uint CHAINS = 8; // independent, so that one's latency is hidden by the others

shared uvec4 tile[1024];
shared int plane[FM * FN];

void main()
{
	matrix_rows rows;
	matrix_probes probes;
	matrix_sums sums[CHAINS];

	for (uint i = gl_LocalInvocationIndex; i < 1024; i += gl_WorkGroupSize.x)
		tile[i] = uvec4(p.seed + i);
	for (uint i = gl_LocalInvocationIndex; i < FM * FN; i += gl_WorkGroupSize.x)
		plane[i] = int(i);
	barrier();
	matrix_load_rows(rows, tile, 0, FK / 16);
	matrix_load_probes(probes, tile, 0, FK / 16);
	MATRIX_UNROLL for (uint i = 0; i < CHAINS; i++)
		matrix_load_sums(sums[i], plane, 0, FN);
	for (uint n = 0; n < p.count; n++)
		MATRIX_UNROLL for (uint i = 0; i < CHAINS; i++)
			matrix_multiply_add(rows, probes, sums[i]);

	int sum = 0;

	MATRIX_UNROLL for (uint i = 0; i < CHAINS; i++)
		for (uint e = 0; e < matrix_length(sums[i]); e++)
			sum ^= matrix_element(sums[i], e);
	if (sum == 0x12345678)
		p.to.v[0] = uvec4(sum);
}
#else
const uint CHAINS = 8;

void main()
{
	uint word = p.seed + gl_GlobalInvocationID.x;
	int sums[CHAINS];

	[[unroll]] for (uint i = 0; i < CHAINS; i++)
		sums[i] = int(i);
	// Each product's operand comes from the last sum, so that none can be worked out before.
	for (uint n = 0; n < p.count; n++)
		[[unroll]] for (uint i = 0; i < CHAINS; i++)
			sums[i] += dot4(uint(sums[i]), word);

	int sum = 0;

	[[unroll]] for (uint i = 0; i < CHAINS; i++)
		sum ^= sums[i];
	if (sum == 0x12345678)
		p.to.v[0] = uvec4(sum);
}
#endif
