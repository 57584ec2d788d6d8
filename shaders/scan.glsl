// SPDX-License-Identifier: MIT
// What the two scans share: their push constants, and what becomes of a row that may survive.
layout(push_constant) uniform gpu_push { gpu_scan p; };

// Without 64-bit integers, which not every device has.
bool expired(uvec2 expires)
{
	if (int(expires.y) < 0 || expires == uvec2(0))
		return false;
	return int(expires.y) < int(p.now.y) || (expires.y == p.now.y && expires.x <= p.now.x);
}

// Appends row @row of the piece to @probe's survivors if its bound passes and it may be reported at all.
void consider(uint row, uint probe, int acc)
{
	gpu_bound bound = p.bounds.v[row];

	if (!gpu_survives(p.probe.v[probe], bound, acc))
		return;

	gpu_mark mark = p.marks.v[row];

	if (mark.deleted != 0 || expired(mark.expires))
		return;
	if (p.lists != uvec2(0) && (mark.lists & p.lists) == uvec2(0))
		return;

	uint at = atomicAdd(p.counts.v[probe], 1);

	if (at < p.cap)
		p.entries.v[probe * p.cap + at] = gpu_entry(p.row_base + row, acc, bound.scale, bound.resid, mark.subject, 0,
							    mark.template_id);
}
