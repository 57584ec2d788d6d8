// SPDX-License-Identifier: MIT
// After a scan: raises a probe's threshold to what k distinct keys are known to reach, and drops the survivors below it. One
// workgroup a probe.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform gpu_push { gpu_refresh p; };

const uint THREADS = gl_WorkGroupSize.x;
const uint WORDS = (THREADS + 31) / 32;
const uint BINS = 256;

shared uint bins[BINS];
shared uint chosen, wanted; // of the radix selection: the bin, and which of its members
shared uint marks[WORDS]; // a bit for each invocation: its entry stays

// Every bit of the result depends on every bit of @key (the finaliser of MurmurHash3), so that any keys spread over the slots.
uint hash(uint key)
{
	key ^= key >> 16;
	key *= 0x85ebca6bu;
	key ^= key >> 13;
	key *= 0xc2b2ae35u;
	return key ^ key >> 16;
}

// Puts the lower bounds of entries [from, to) into the slots. Rows without a sane bound are known to reach nothing.
void fill_slots(gpu_probe probe, uint list, uint slots, uint from, uint to)
{
	for (uint i = from + gl_LocalInvocationIndex; i < to; i += THREADS) {
		gpu_entry entry = p.entries.v[list + i];
		gpu_bound row = gpu_bound(entry.scale, entry.resid);

		if (!gpu_sane(row) || !gpu_sane(probe))
			continue;

		uint slot = hash(p.distinct != 0 ? entry.subject : entry.row) & (p.slot_count - 1);

		atomicMax(p.slots.v[slots + slot], gpu_ordered(gpu_score_bounds(probe, row, entry.acc).lower));
	}
}

// The k-th largest slot, 0 where fewer are taken: by radix selection, eight bits at a time from the top.
uint select_slot(uint slots)
{
	uint thread = gl_LocalInvocationIndex;
	uint found = 0; // the bits known so far

	if (thread == 0)
		wanted = p.k;
	for (int shift = 24; shift >= 0; shift -= 8) {
		for (uint b = thread; b < BINS; b += THREADS)
			bins[b] = 0;
		barrier();
		for (uint i = thread; i < p.slot_count; i += THREADS) {
			uint slot = p.slots.v[slots + i];

			// Those whose higher bits are the ones found; in the first round all (a shift by 32 has no meaning).
			if (shift == 24 || slot >> (shift + 8) == found >> (shift + 8))
				atomicAdd(bins[slot >> shift & 255], 1);
		}
		barrier();
		if (thread == 0) {
			uint b = BINS - 1, above = 0;

			// Ends before b wraps: the bins hold at least `wanted` slots, for slot_count is at least k.
			while (b > 0 && above + bins[b] < wanted)
				above += bins[b--];
			chosen = b;
			wanted -= above;
		}
		barrier();
		found |= chosen << shift;
	}
	return found;
}

// Moves the entries of [0, count) that pass to the front, in their order. Returns how many.
uint compact(gpu_probe probe, uint list, uint count)
{
	uint thread = gl_LocalInvocationIndex;
	uint kept = 0;

	for (uint base = 0; base < count; base += THREADS) {
		bool stays = false;
		gpu_entry entry;

		if (thread < WORDS)
			marks[thread] = 0;
		barrier();
		if (base + thread < count) {
			entry = p.entries.v[list + base + thread];
			stays = gpu_survives(probe, gpu_bound(entry.scale, entry.resid), entry.acc);
		}
		if (stays)
			atomicOr(marks[thread / 32], 1u << (thread % 32));
		// Every entry of this round is in registers before one is written; what is written lies before the next round's.
		barrier();

		uint to = kept + bitCount(marks[thread / 32] & ((1u << (thread % 32)) - 1));

		for (uint w = 0; w < WORDS; w++) {
			uint n = bitCount(marks[w]);

			kept += n;
			to += w < thread / 32 ? n : 0;
		}
		if (stays)
			p.entries.v[list + to] = entry;
		barrier();
	}
	return kept;
}

void main()
{
	uint number = gl_WorkGroupID.x;
	uint list = number * p.cap, slots = number * p.slot_count;
	uint count = p.counts.v[number], before = p.kept.v[number];
	gpu_probe probe = p.probe.v[number];

	// The same for all invocations of the workgroup, here and below: all reach the barriers or none.
	if (count > p.cap) {
		barrier();
		if (gl_LocalInvocationIndex == 0) {
			p.counts.v[number] = before;
			atomicOr(p.overflow.v[p.chunk], 1);
		}
		return;
	}
	if (count == before)
		return;
	fill_slots(probe, list, slots, before, count);
	memoryBarrierBuffer();
	barrier();

	uint slot = select_slot(slots);

	if (slot > gpu_ordered(probe.threshold))
		probe.threshold = gpu_unordered(slot);

	uint kept = compact(probe, list, count);

	if (gl_LocalInvocationIndex == 0) {
		p.probe.v[number].threshold = probe.threshold;
		p.counts.v[number] = kept;
		p.kept.v[number] = kept;
	}
}
