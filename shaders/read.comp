// SPDX-License-Identifier: MIT
// Reads device memory and does nothing with it: how fast that is, is the limit of every scan.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform gpu_push { gpu_rate p; };

void main()
{
	uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
	uvec4 sum = uvec4(0);

	for (uint i = gl_GlobalInvocationID.x; i < p.count; i += stride)
		sum ^= p.from.v[i];
	// Never so for what is read (zeros), but the compiler does not know.
	if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x12345678u)
		p.to.v[0] = sum;
}
