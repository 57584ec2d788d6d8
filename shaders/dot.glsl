// SPDX-License-Identifier: MIT
// Products of codes, four to a word: packed dot products (DOT), or in plain integers.
#if defined(DOT)
#extension GL_EXT_spirv_intrinsics : require

// OpSDotKHR with PackedVectorFormat4x8Bit, for which this glslang has no name. The capabilities are DotProductInput4x8BitPacked
// and DotProduct.
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
