// SPDX-License-Identifier: MIT
// What the shaders share: references to device memory, ordered floats, and the bounds that decide which rows survive.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference2 : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require

layout(buffer_reference) buffer gpu_words;
layout(buffer_reference) buffer gpu_rows;
layout(buffer_reference) buffer gpu_bounds;
layout(buffer_reference) buffer gpu_marks;
layout(buffer_reference) buffer gpu_probes;
layout(buffer_reference) buffer gpu_entries;
layout(buffer_reference) buffer gpu_counts;

#define LINEUP_GLSL
#include "params.h"

// An index is 32 bits and taken as signed, in units of the element: a piece's codes may be 2^31 - 1 times 16 bytes.
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer gpu_words { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer gpu_rows { uvec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer gpu_bounds { gpu_bound v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer gpu_marks { gpu_mark v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer gpu_probes { gpu_probe v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer gpu_entries { gpu_entry v[]; };
// Coherent, for one invocation's atomics are read by others of its workgroup (refresh.comp).
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer gpu_counts { uint v[]; };

// Unsigned integers in the order of the floats they stand for: -inf < ... < -0 < 0 < ... < inf. No finite or infinite float gives
// 0.
uint gpu_ordered(float f)
{
	uint bits = floatBitsToUint(f);

	return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

float gpu_unordered(uint ordered)
{
	return uintBitsToFloat((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

/*
 * The bounds. With u = 2^-23, which is what one float32 operation may be off by, and in real numbers
 *
 *	E = acc scale_r scale_p		S = c0 + c1 resid_r
 *
 * the row's score lies between E - S and E + S. acc is at most 2^26, for codes are bytes and dim is at most 4096. Rows and probes
 * that are not *sane* always pass; the limits of sane ones keep all that follows finite (|E| <= 2^106, S <= 2^71), and they are
 * tested as integers, since Vulkan does not promise that comparisons know NaN and infinity. They say more than those of score.h
 * about negative scales: such a row, which no writer makes, passes too.
 *
 *	e = estimate	three roundings (the conversion, two products): |e - E| <= 3.01 u |E| + 2^-100 (results flushed to zero)
 *	s = slack	two: |s - S| <= 2.01 u S + 2^-100
 *	m = margin	8 u (|e| + s) + 2^-90, itself off by 3 u of that
 *
 * UPPER = e + s + m with two more roundings of at most u (|e| + s) and 1.01 u (|e| + s). Together they are off by less than 5.2 u
 * (|e| + s) + 2^-98, so
 *
 *	E + S  <=  UPPER  <=  E + S + 16 u (|E| + S) + 2^-88						(1)
 *
 * and a row whose UPPER is below the threshold scores below it. LOWER = e - s - m is at most E - S in the same way.
 */
const float GPU_MARGIN = 9.5367431640625e-07;           // 2^-20 = 8 u
const float GPU_TINY = 8.077935669463161e-28;           // 2^-90
const uint GPU_ROW_MAX = 0x5d800000u;                   // 2^60, LINEUP_SCORE_ROW_MAX
const uint GPU_PROBE_SCALE_MIN = 0x35800000u;           // 2^-20
const uint GPU_PROBE_SCALE_MAX = 0x49800000u;           // 2^20
const uint GPU_PROBE_BOUND_MAX = 0x44800000u;           // 2^10
const uint GPU_FLOAT_INFINITE = 0x7f800000u;

// As unsigned integers, negative numbers, infinity and NaN are above every limit.
bool gpu_sane(gpu_bound row)
{
	return floatBitsToUint(row.scale) <= GPU_ROW_MAX && floatBitsToUint(row.resid) <= GPU_ROW_MAX;
}

bool gpu_sane(gpu_probe probe)
{
	return floatBitsToUint(probe.scale) >= GPU_PROBE_SCALE_MIN && floatBitsToUint(probe.scale) <= GPU_PROBE_SCALE_MAX &&
	       floatBitsToUint(probe.c0) <= GPU_PROBE_BOUND_MAX && floatBitsToUint(probe.c1) <= GPU_PROBE_BOUND_MAX &&
	       (floatBitsToUint(probe.threshold) & 0x7fffffffu) <= GPU_FLOAT_INFINITE;
}

struct gpu_score {
	float lower;
	float upper;
};

gpu_score gpu_score_bounds(gpu_probe probe, gpu_bound row, int acc)
{
	precise float estimate = float(acc) * row.scale * probe.scale;
	precise float slack = probe.c0 + probe.c1 * row.resid;
	precise float margin = (abs(estimate) + slack) * GPU_MARGIN + GPU_TINY;
	precise float lower = estimate - slack - margin;
	precise float upper = estimate + slack + margin;

	return gpu_score(lower, upper);
}

bool gpu_survives(gpu_probe probe, gpu_bound row, int acc)
{
	if (!gpu_sane(row) || !gpu_sane(probe))
		return true;
	return gpu_ordered(gpu_score_bounds(probe, row, acc).upper) >= gpu_ordered(probe.threshold);
}
