// SPDX-License-Identifier: MIT
// The scan for few probes, bound by how fast codes can be read: each row is read once, by four lanes, and scored with up to eight
// probes.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "dot.glsl"
#include "scan.glsl"

layout(local_size_x_id = 0) in; // a multiple of LANES
layout(constant_id = 1) const uint STEP = 4; // rows that a lane has in hand at once: loads on their way, uses of a probe's codes

const uint THREADS = gl_WorkGroupSize.x;
const uint LANES = LINEUP_GPU_PITCH / 16; // of a row; its uvec4s are a multiple
const uint GROUPS = THREADS / LANES;
const uint ROWS = GROUPS * STEP; // of a workgroup; lane group g has rows g, g + GROUPS, ...
const uint LINE = ROWS + 8; // the lanes' sums of a row in different banks

shared int part[LANES * LINE];

void main()
{
	uint thread = gl_LocalInvocationIndex;
	uint group = thread / LANES, lane = thread % LANES;
	uint first = gl_WorkGroupID.x * ROWS;
	int acc[LINEUP_GPU_GEMV_PROBES][STEP];

	[[unroll]] for (uint q = 0; q < LINEUP_GPU_GEMV_PROBES; q++)
		[[unroll]] for (uint i = 0; i < STEP; i++)
			acc[q][i] = 0;

	for (uint c = lane; c < p.pitch; c += LANES) {
		uvec4 codes[STEP];

		// Past the end the last row is read again, so that all lanes stay together.
		[[unroll]] for (uint i = 0; i < STEP; i++)
			codes[i] = p.codes.v[(p.row_first + min(first + group + i * GROUPS, p.rows - 1)) * p.pitch + c];
		[[unroll]] for (uint q = 0; q < LINEUP_GPU_GEMV_PROBES; q++) {
			if (q < p.probes) {
				uvec4 probe = p.probe_codes.v[q * p.pitch + c];

				[[unroll]] for (uint i = 0; i < STEP; i++)
					acc[q][i] += dot16(codes[i], probe);
			}
		}
	}

	[[unroll]] for (uint q = 0; q < LINEUP_GPU_GEMV_PROBES; q++) {
		// The same for all invocations, so that all reach the barriers.
		if (q < p.probes) {
			[[unroll]] for (uint i = 0; i < STEP; i++)
				part[lane * LINE + group + i * GROUPS] = acc[q][i];
			barrier();
			for (uint r = thread; r < ROWS; r += THREADS) {
				int sum = 0;

				[[unroll]] for (uint l = 0; l < LANES; l++)
					sum += part[l * LINE + r];
				if (first + r < p.rows)
					consider(p.row_first + first + r, q, sum);
			}
			barrier();
		}
	}
}
