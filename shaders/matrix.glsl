// SPDX-License-Identifier: MIT
// The five operations of cooperative matrices that the tile code uses: the hardware's, or in software for machines without
// (EMULATED).
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require

/*
 * A fragment is FM x FK bytes of rows (A), FK x FN bytes of probes (B) or FM x FN sums. Three constants, though two may be equal,
 * for an NV type does not say which of the three it is: nv2khr.c tells them apart by the ids of the constants.
 */
layout(constant_id = 4) const uint SUBGROUP = 32;
layout(constant_id = 5) const uint ROW_SUBGROUPS = 2; // of the workgroup's, along rows; the others along probes
layout(constant_id = 6) const uint FM = 16;
layout(constant_id = 7) const uint FN = 16;
layout(constant_id = 8) const uint FK = 32;

#if !defined(EMULATED)
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_NV_cooperative_matrix : require
#extension GL_NV_integer_cooperative_matrix : require

#define MATRIX_UNROLL [[unroll]]
#define matrix_rows icoopmatNV<8, gl_ScopeSubgroup, FM, FK>
#define matrix_probes icoopmatNV<8, gl_ScopeSubgroup, FK, FN>
#define matrix_sums icoopmatNV<32, gl_ScopeSubgroup, FM, FN>
#define matrix_load_rows(m, from, at, stride) coopMatLoadNV(m, from, at, stride, false)
#define matrix_load_probes(m, from, at, stride) coopMatLoadNV(m, from, at, stride, true)
#define matrix_load_sums(m, from, at, stride) coopMatLoadNV(m, from, at, stride, false)
#define matrix_multiply_add(rows, probes, sums) sums = coopMatMulAddNV(rows, probes, sums)
#define matrix_store_sums(m, to, at, stride) coopMatStoreNV(m, to, at, stride, false)
#define matrix_length(m) m.length()
#define matrix_element(m, i) m[i]
#else
/*
 * Element i of an invocation is element i * SUBGROUP + invocation of the fragment, row by row. Operands stay in shared memory: a
 * matrix of rows or probes is the place it was loaded from. Loops are not unrolled, since compiling is what takes the time where
 * this runs.
 */
#define MATRIX_UNROLL [[dont_unroll]]
struct matrix_place { uint at, stride; };
struct matrix_sums { int v[FM * FN / SUBGROUP]; };
#define matrix_rows matrix_place
#define matrix_probes matrix_place
#define matrix_load_rows(m, from, at_, stride_) m = matrix_place(at_, stride_)
#define matrix_load_probes(m, from, at_, stride_) m = matrix_place(at_, stride_)
#define matrix_each(i, r, c) \
	for (uint i = 0, r, c; r = (i * SUBGROUP + gl_SubgroupInvocationID) / FN, c = (i * SUBGROUP + gl_SubgroupInvocationID) % FN, \
	     i < FM * FN / SUBGROUP; i++)
#define matrix_load_sums(m, from, at, stride) matrix_each(i_, r_, c_) m.v[i_] = from[(at) + r_ * (stride) + c_]
#define matrix_store_sums(m, to, at, stride) matrix_each(i_, r_, c_) to[(at) + r_ * (stride) + c_] = m.v[i_]
#define matrix_multiply_add(rows, probes, sums) matrix_each(i_, r_, c_) \
	for (uint w_ = 0; w_ < FK / 16; w_++) \
		sums.v[i_] += dot16(row_tile[rows.at + r_ * rows.stride + w_], probe_tile[probes.at + c_ * probes.stride + w_])
#define matrix_length(m) (FM * FN / SUBGROUP)
#define matrix_element(m, i) m.v[i]
#endif
