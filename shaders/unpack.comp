// SPDX-License-Identifier: MIT
// Turns blocks as they lie in a gallery (gallery.h) into rows of a piece (params.h): a block for each y, an invocation for each
// row in x.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform gpu_push { gpu_unpack p; };

const uint PANEL_ROWS = 48; // LINEUP_PANEL_ROWS
const uint HEADER_WORDS = 16; // struct disk_block

void main()
{
	uint block = gl_WorkGroupID.y;
	uint row = gl_GlobalInvocationID.x;

	// No barrier follows, so that an invocation may leave.
	if (row >= p.block_rows || block * p.block_rows + row >= p.rows)
		return;

	uint to = p.row_first + block * p.block_rows + row;
	uint columns = block * p.block_words + HEADER_WORDS;
	uint pairs = columns + 2 * row; // words of a 64-bit column begin two a row

	p.bounds.v[to] = gpu_bound(uintBitsToFloat(p.blocks.v[columns + row]),
				   uintBitsToFloat(p.blocks.v[columns + p.block_rows + row]));

	gpu_mark mark;

	mark.lists = uvec2(p.blocks.v[pairs + 2 * p.block_rows], p.blocks.v[pairs + 2 * p.block_rows + 1]);
	mark.expires = uvec2(p.blocks.v[pairs + 4 * p.block_rows], p.blocks.v[pairs + 4 * p.block_rows + 1]);
	mark.template_id = uvec2(p.blocks.v[pairs + 6 * p.block_rows], p.blocks.v[pairs + 6 * p.block_rows + 1]);
	mark.subject = p.blocks.v[columns + 8 * p.block_rows + row];
	mark.deleted = 0;
	if (uvec2(p.deleted) != uvec2(0))
		mark.deleted = bitfieldExtract(p.deleted.v[block * ((p.block_rows + 31) / 32) + row / 32], int(row % 32), 1);
	p.marks.v[to] = mark;

	// Neighbours read neighbouring words of a group; 0x80 a byte turns code + 128 into the code.
	uint codes = columns + 9 * p.block_rows + row / PANEL_ROWS * p.groups * PANEL_ROWS + row % PANEL_ROWS;

	for (uint c = 0; c < p.pitch; c++) {
		uvec4 word = uvec4(0);

		[[unroll]] for (uint i = 0; i < 4; i++)
			if (4 * c + i < p.groups)
				word[i] = p.blocks.v[codes + (4 * c + i) * PANEL_ROWS] ^ 0x80808080u;
		p.codes.v[to * p.pitch + c] = word;
	}
}
