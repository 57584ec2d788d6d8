// SPDX-License-Identifier: MIT
// What the two scans share: their push constants, four products at once, and what becomes of a row that may survive.
#if defined(DOT)
#extension GL_EXT_spirv_intrinsics : require
#endif

layout(push_constant) uniform gpu_push { gpu_scan p; };

#if defined(DOT)
// OpSDotKHR with PackedVectorFormat4x8Bit, for which this glslang has no name. Capabilities DotProductInput4x8BitPacked and DotProduct.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int dot_packed(int a, int b, spirv_literal int format);

int dot4(uint a, uint b)
{
	return dot_packed(int(a), int(b), 0);
}
#else
int dot4(uint a, uint b)
{
	ivec4 x = ivec4(bitfieldExtract(int(a), 0, 8), bitfieldExtract(int(a), 8, 8), bitfieldExtract(int(a), 16, 8), int(a) >> 24);
	ivec4 y = ivec4(bitfieldExtract(int(b), 0, 8), bitfieldExtract(int(b), 8, 8), bitfieldExtract(int(b), 16, 8), int(b) >> 24);
	ivec4 z = x * y;

	return z.x + z.y + z.z + z.w;
}
#endif

int dot16(uvec4 a, uvec4 b)
{
	return dot4(a.x, b.x) + dot4(a.y, b.y) + dot4(a.z, b.z) + dot4(a.w, b.w);
}

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
		p.entries.v[probe * p.cap + at] = gpu_entry(p.row_base + row, acc, bound.scale, bound.resid, mark.subject, 0, mark.template_id);
}
