// SPDX-License-Identifier: MIT
// The scan: a tile of rows against a tile of probes. Scores never leave the workgroup; rows that may be in a result are appended
// to survivors.
//
// Variants: none defined: plain integers; DOT: packed dot products; MATRIX: cooperative matrices; MATRIX and EMULATED: these in
// software, so that a machine without them tests the very code around them.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "dot.glsl"
#include "scan.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 64;   // of a tile
layout(constant_id = 2) const uint PROBES = 64; // of a tile
layout(constant_id = 3) const uint STAGE = 4;   // uvec4s of each row and probe that are in shared memory at once

const uint THREADS = gl_WorkGroupSize.x;
const uint LINE = STAGE + 1; // of a row in shared memory; one more, so that a column's uvec4s lie in different banks

shared uvec4 row_tile[ROWS * LINE];
shared uvec4 probe_tile[PROBES * LINE];
shared int cut[PROBES];
shared uint scale_min, scale_max, resid_max, wild; // of the tile's rows, as bits of floats not negative, which are in their order

/*
 * The cut of a probe and a tile: an integer such that no row of the tile with acc < cut survives. Testing sums against it costs
 * next to nothing; a sum that passes is then tested by itself, so that the set of survivors does not depend on tiles.
 *
 * By (1) in common.glsl a row that survives has E + S + 16 u (|E| + S) + 2^-88 >= threshold t. With S at most that of the tile's
 * largest resid, need = t - S (1 + 16 u) - 2^-88 gives E + 16 u |E| >= need. For need > 0 that is acc >= need / (scale_p scale_r
 * (1 + 16 u)), least for the largest scale_r; else acc >= need / (scale_p scale_r (1 - 16 u)), least for the smallest. Below,
 * need is made too small by 8 u |t| + 16 u S, more than its roundings (4 u |t| + 6 u S); the quotient f by 64 u |f| + 1, more
 * than 16 u |f| and roundings and the division's 2.5 ulp; its limits keep all finite, and give the cut that lets all through
 * where they are passed.
 */
const int CUT_MAX = 1 << 27; // |acc| <= 2^26: above it none passes, below its negative all do
const float CUT_NEED_MAX = 1.152921504606847e18;         // 2^60
const float CUT_UNIT_MIN = 8.673617379884035e-19;        // 2^-60
const float CUT_THRESHOLD_MAX = 1.2980742146337069e33;   // 2^110, far above 2^107, which no UPPER reaches

int cut_of(gpu_probe probe)
{
	if (wild != 0 || !gpu_sane(probe) || gpu_ordered(probe.threshold) <= gpu_ordered(-CUT_THRESHOLD_MAX))
		return -CUT_MAX;
	if (gpu_ordered(probe.threshold) >= gpu_ordered(CUT_THRESHOLD_MAX))
		return CUT_MAX;

	precise float slack = (probe.c0 + probe.c1 * uintBitsToFloat(resid_max)) * (1 + 4 * GPU_MARGIN);
	precise float need = probe.threshold - abs(probe.threshold) * GPU_MARGIN - slack - 1024 * GPU_TINY;
	precise float unit = probe.scale * uintBitsToFloat(need > 0 ? scale_max : scale_min);

	if (need < -CUT_NEED_MAX || unit < CUT_UNIT_MIN)
		return -CUT_MAX;

	precise float f = min(need, CUT_NEED_MAX) / unit;
	precise float low = f - abs(f) * (8 * GPU_MARGIN) - 1;

	return int(clamp(floor(low), float(-CUT_MAX), float(CUT_MAX)));
}

// Fills cut[] for rows from @first on and probes from @probe_first on.
void make_cuts(uint first, uint probe_first)
{
	uint thread = gl_LocalInvocationIndex;

	if (thread == 0) {
		scale_min = GPU_ROW_MAX;
		scale_max = 0;
		resid_max = 0;
		wild = 0;
	}
	barrier();
	for (uint r = thread; r < ROWS; r += THREADS) {
		if (first + r < p.rows) {
			gpu_bound bound = p.bounds.v[p.row_first + first + r];

			if (gpu_sane(bound)) {
				atomicMin(scale_min, floatBitsToUint(bound.scale));
				atomicMax(scale_max, floatBitsToUint(bound.scale));
				atomicMax(resid_max, floatBitsToUint(bound.resid));
			} else {
				atomicOr(wild, 1);
			}
		}
	}
	barrier();
	for (uint q = thread; q < PROBES; q += THREADS)
		cut[q] = probe_first + q < p.probes ? cut_of(p.probe.v[probe_first + q]) : CUT_MAX;
	barrier();
}

/*
 * Codes on their way into shared memory: the next stage's are read into registers while this one's are multiplied. Rows and
 * probes past the end are the last one again, for an address has no bounds check; uvec4s past the pitch are zero.
 */
const uint ROW_LOADS = (ROWS * STAGE + THREADS - 1) / THREADS;
const uint PROBE_LOADS = (PROBES * STAGE + THREADS - 1) / THREADS;

uvec4 row_next[ROW_LOADS], probe_next[PROBE_LOADS];

void fetch(uint first, uint probe_first, uint at)
{
	[[unroll]] for (uint i = 0; i < ROW_LOADS; i++) {
		uint e = i * THREADS + gl_LocalInvocationIndex, r = e / STAGE, c = at + e % STAGE;

		row_next[i] = uvec4(0);
		if (r < ROWS && c < p.pitch)
			row_next[i] = p.codes.v[(p.row_first + min(first + r, p.rows - 1)) * p.pitch + c];
	}
	[[unroll]] for (uint i = 0; i < PROBE_LOADS; i++) {
		uint e = i * THREADS + gl_LocalInvocationIndex, q = e / STAGE, c = at + e % STAGE;

		probe_next[i] = uvec4(0);
		if (q < PROBES && c < p.pitch)
			probe_next[i] = p.probe_codes.v[min(probe_first + q, p.probes - 1) * p.pitch + c];
	}
}

void deliver()
{
	[[unroll]] for (uint i = 0; i < ROW_LOADS; i++) {
		uint e = i * THREADS + gl_LocalInvocationIndex;

		if (e < ROWS * STAGE)
			row_tile[e / STAGE * LINE + e % STAGE] = row_next[i];
	}
	[[unroll]] for (uint i = 0; i < PROBE_LOADS; i++) {
		uint e = i * THREADS + gl_LocalInvocationIndex;

		if (e < PROBES * STAGE)
			probe_tile[e / STAGE * LINE + e % STAGE] = probe_next[i];
	}
}

#if defined(MATRIX)
#include "matrix.glsl"

// A subgroup has a part of the tile of its own, in fragments.
const uint SUBGROUPS = THREADS / SUBGROUP;
const uint PART_ROWS = ROWS / ROW_SUBGROUPS;
const uint PART_PROBES = PROBES / (SUBGROUPS / ROW_SUBGROUPS);
const uint ROW_FRAGMENTS = PART_ROWS / FM;
const uint PROBE_FRAGMENTS = PART_PROBES / FN;

// First the tile's top FM rows of -cut, which all sums start from; after the multiplication a fragment for each subgroup.
shared int plane[FM * PROBES > SUBGROUPS * FM * FN ? FM * PROBES : SUBGROUPS * FM * FN];

// Considers what the subgroup has put into its fragment of the plane: rows from @first on, probes from @part_probe of the tile on.
void report_fragment(uint first, uint probe_first, uint part_probe)
{
	uint fragment = gl_SubgroupID * FM * FN;

	for (uint e = gl_SubgroupInvocationID; e < FM * FN; e += gl_SubgroupSize) {
		uint row = first + e / FN, q = part_probe + e % FN;

		if (plane[fragment + e] >= 0 && row < p.rows && probe_first + q < p.probes)
			consider(p.row_first + row, probe_first + q, plane[fragment + e] + cut[q]);
	}
}

// The matrices are variables of one function, which is what drivers have seen before.
void main()
{
	uint first = gl_WorkGroupID.y * ROWS, probe_first = gl_WorkGroupID.x * PROBES;
	uint part_row = gl_SubgroupID % ROW_SUBGROUPS * PART_ROWS, part_probe = gl_SubgroupID / ROW_SUBGROUPS * PART_PROBES;
	matrix_sums sums[ROW_FRAGMENTS][PROBE_FRAGMENTS];

	// Sums that start at -cut pass if they end at 0 or above: one comparison each, without knowing which element is whose.
	make_cuts(first, probe_first);
	for (uint e = gl_LocalInvocationIndex; e < FM * PROBES; e += THREADS)
		plane[e] = -cut[e % PROBES];
	barrier();
	MATRIX_UNROLL for (uint i = 0; i < ROW_FRAGMENTS; i++)
		MATRIX_UNROLL for (uint j = 0; j < PROBE_FRAGMENTS; j++)
			matrix_load_sums(sums[i][j], plane, part_probe + j * FN, PROBES);

	fetch(first, probe_first, 0);
	for (uint at = 0; at < p.pitch; at += STAGE) {
		deliver();
		barrier();
		fetch(first, probe_first, at + STAGE);
		MATRIX_UNROLL for (uint c = 0; c < STAGE; c += FK / 16) {
			matrix_rows rows[ROW_FRAGMENTS];

			MATRIX_UNROLL for (uint i = 0; i < ROW_FRAGMENTS; i++)
				matrix_load_rows(rows[i], row_tile, (part_row + i * FM) * LINE + c, LINE);
			MATRIX_UNROLL for (uint j = 0; j < PROBE_FRAGMENTS; j++) {
				matrix_probes probes;

				matrix_load_probes(probes, probe_tile, (part_probe + j * FN) * LINE + c, LINE);
				MATRIX_UNROLL for (uint i = 0; i < ROW_FRAGMENTS; i++)
					matrix_multiply_add(rows[i], probes, sums[i][j]);
			}
		}
		barrier();
	}

	// Ballot and no more of the subgroup operations: a driver is known to crash on reductions in a module with matrices.
	MATRIX_UNROLL for (uint j = 0; j < PROBE_FRAGMENTS; j++) {
		MATRIX_UNROLL for (uint i = 0; i < ROW_FRAGMENTS; i++) {
			int top = -1;

			MATRIX_UNROLL for (uint e = 0; e < matrix_length(sums[i][j]); e++)
				top = max(top, matrix_element(sums[i][j], e));
			if (subgroupBallot(top >= 0) != uvec4(0)) {
				matrix_store_sums(sums[i][j], plane, gl_SubgroupID * FM * FN, FN);
				subgroupMemoryBarrierShared();
				subgroupBarrier();
				report_fragment(first + part_row + i * FM, probe_first, part_probe + j * FN);
				subgroupMemoryBarrierShared();
				subgroupBarrier();
			}
		}
	}
}
#else
layout(constant_id = 4) const uint THREAD_ROWS = 4;
layout(constant_id = 5) const uint THREAD_PROBES = 4; // THREAD_ROWS * THREAD_PROBES is at most 32

// Neighbouring invocations have neighbouring rows: thread row i is row i * ROW_THREADS + thread % ROW_THREADS, and likewise probes.
const uint ROW_THREADS = ROWS / THREAD_ROWS;
const uint PROBE_THREADS = PROBES / THREAD_PROBES; // ROW_THREADS * PROBE_THREADS = THREADS

int sums[THREAD_ROWS][THREAD_PROBES];

void multiply(uint part_row, uint part_probe)
{
	for (uint c = 0; c < STAGE; c++) {
		uvec4 rows[THREAD_ROWS];

		[[unroll]] for (uint i = 0; i < THREAD_ROWS; i++)
			rows[i] = row_tile[(part_row + i * ROW_THREADS) * LINE + c];
		[[unroll]] for (uint j = 0; j < THREAD_PROBES; j++) {
			uvec4 probe = probe_tile[(part_probe + j * PROBE_THREADS) * LINE + c];

			[[unroll]] for (uint i = 0; i < THREAD_ROWS; i++)
				sums[i][j] += dot16(rows[i], probe);
		}
	}
}

void report(uint first, uint probe_first, uint part_row, uint part_probe)
{
	uint hits = 0;

	[[unroll]] for (uint i = 0; i < THREAD_ROWS; i++)
		[[unroll]] for (uint j = 0; j < THREAD_PROBES; j++)
			hits |= uint(sums[i][j] >= cut[part_probe + j * PROBE_THREADS]) << (i * THREAD_PROBES + j);
	// Seldom any. One copy of the code for all sums; picking one by comparing keeps them in registers, where an index would
	// not.
	for (; hits != 0; hits &= hits - 1) {
		uint e = findLSB(hits);
		uint row = first + part_row + e / THREAD_PROBES * ROW_THREADS;
		uint probe = probe_first + part_probe + e % THREAD_PROBES * PROBE_THREADS;
		int acc = 0;

		[[unroll]] for (uint i = 0; i < THREAD_ROWS; i++)
			[[unroll]] for (uint j = 0; j < THREAD_PROBES; j++)
				acc = e == i * THREAD_PROBES + j ? sums[i][j] : acc;
		if (row < p.rows && probe < p.probes)
			consider(p.row_first + row, probe, acc);
	}
}

void main()
{
	uint first = gl_WorkGroupID.y * ROWS, probe_first = gl_WorkGroupID.x * PROBES;
	uint part_row = gl_LocalInvocationIndex % ROW_THREADS, part_probe = gl_LocalInvocationIndex / ROW_THREADS;

	make_cuts(first, probe_first);
	[[unroll]] for (uint i = 0; i < THREAD_ROWS; i++)
		[[unroll]] for (uint j = 0; j < THREAD_PROBES; j++)
			sums[i][j] = 0;
	fetch(first, probe_first, 0);
	for (uint c = 0; c < p.pitch; c += STAGE) {
		deliver();
		barrier();
		fetch(first, probe_first, c + STAGE);
		multiply(part_row, part_probe);
		barrier();
	}
	report(first, probe_first, part_row, part_probe);
}
#endif
