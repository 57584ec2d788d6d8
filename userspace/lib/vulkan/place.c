// SPDX-License-Identifier: MIT
// Cutting a snapshot into pieces, sharing them out among devices, and finding them again.
#include "place.h"

#include <stdlib.h>
#include <string.h>

#include "../../../shaders/params.h"

uint32_t lineup_piece_pitch(uint32_t dim)
{
	return (uint32_t)round_up(dim, LINEUP_GPU_PITCH);
}

uint64_t lineup_piece_bounds(uint32_t dim, uint64_t rows)
{
	return round_up(rows * lineup_piece_pitch(dim), LINEUP_PIECE_ALIGN);
}

uint64_t lineup_piece_marks(uint32_t dim, uint64_t rows)
{
	return lineup_piece_bounds(dim, rows) + round_up(rows * sizeof(struct gpu_bound), LINEUP_PIECE_ALIGN);
}

uint64_t lineup_piece_bytes(uint32_t dim, uint64_t rows)
{
	return lineup_piece_marks(dim, rows) + round_up(rows * sizeof(struct gpu_mark), LINEUP_PIECE_ALIGN);
}

uint64_t lineup_piece_bytes_max(uint64_t memory)
{
	uint64_t most = memory / LINEUP_PIECES_KEPT_MIN;

	return memory && most < LINEUP_PIECE_BYTES_MAX ? most : LINEUP_PIECE_BYTES_MAX;
}

/* How many pieces a segment becomes. */
static uint64_t cuts(const struct lineup_segment *segment, uint32_t devices, uint64_t bytes_max)
{
	uint64_t block_bytes = lineup_piece_bytes(segment->shape.dim, segment->shape.block_rows);
	uint64_t blocks = bytes_max / block_bytes ? bytes_max / block_bytes : 1;
	uint64_t n = (segment->block_count + blocks - 1) / blocks;

	if (segment->block_count >= round_up(n, devices))
		n = round_up(n, devices);
	return n;
}

static void cut(struct lineup_place *place, const struct lineup_segment *segment, uint32_t index, uint32_t devices, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		struct lineup_piece *piece = &place->pieces[place->count];
		uint64_t first = segment->block_count * i / n, end = segment->block_count * (i + 1) / n;
		uint64_t row_end = end * segment->shape.block_rows;

		piece->segment = index;
		piece->device = place->count % devices;
		piece->block_first = first;
		piece->block_count = end - first;
		piece->row_first = first * segment->shape.block_rows;
		piece->rows = (uint32_t)((row_end < segment->rows ? row_end : segment->rows) - piece->row_first);
		piece->row_base = (uint32_t)place->rows;
		piece->bytes = lineup_piece_bytes(segment->shape.dim, piece->rows);
		place->rows += piece->rows;
		place->count++;
	}
}

int lineup_place_init(struct lineup_place *place, const struct lineup_snapshot *snapshot, uint32_t devices, uint64_t bytes_max)
{
	uint64_t total = 0;

	memset(place, 0, sizeof(*place));
	if (snapshot->rows > UINT32_MAX)
		return -EOVERFLOW;
	for (uint32_t i = 0; i < snapshot->segment_count; i++)
		total += cuts(&snapshot->segments[i], devices, bytes_max);
	place->pieces = calloc(total + 1, sizeof(*place->pieces));
	place->first = calloc(snapshot->segment_count + 1, sizeof(*place->first));
	if (!place->pieces || !place->first) {
		lineup_place_fini(place);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < snapshot->segment_count; i++) {
		place->first[i] = place->count;
		cut(place, &snapshot->segments[i], i, devices, cuts(&snapshot->segments[i], devices, bytes_max));
	}
	place->first[snapshot->segment_count] = place->count;
	return 0;
}

void lineup_place_fini(struct lineup_place *place)
{
	free(place->pieces);
	free(place->first);
	memset(place, 0, sizeof(*place));
}

void lineup_place_keep(struct lineup_place *place, uint32_t device, uint64_t bytes)
{
	for (uint32_t i = 0; i < place->count; i++) {
		struct lineup_piece *piece = &place->pieces[i];

		if (piece->device != device)
			continue;
		piece->kept = piece->bytes <= bytes;
		bytes -= piece->kept ? piece->bytes : 0;
	}
}

/* Pieces are as equal as whole blocks allow: dividing finds the piece or a neighbour of it. */
struct lineup_piece *lineup_place_block(const struct lineup_place *place, uint32_t segment, uint64_t block)
{
	uint32_t first = place->first[segment], n = place->first[segment + 1] - first;
	struct lineup_piece *last = &place->pieces[first + n - 1], *piece;
	uint64_t blocks = last->block_first + last->block_count;

	piece = &place->pieces[first + block * n / blocks];
	while (block < piece->block_first)
		piece--;
	while (block >= piece->block_first + piece->block_count)
		piece++;
	return piece;
}

const struct lineup_piece *lineup_place_row(const struct lineup_place *place, uint32_t row)
{
	uint32_t lo = 0, hi = place->count;

	while (hi - lo > 1) {
		uint32_t middle = lo + (hi - lo) / 2;

		if (place->pieces[middle].row_base <= row)
			lo = middle;
		else
			hi = middle;
	}
	return &place->pieces[lo];
}
