/* SPDX-License-Identifier: MIT */
/* Which rows of a snapshot go to which device, and which of them stay there. Arithmetic only: no device is asked. */
#ifndef LINEUP_PLACE_H
#define LINEUP_PLACE_H

#include "gallery.h"

enum {
	LINEUP_PIECE_BYTES_MAX = 1 << 30,  /* of a piece, and of an allocation that holds several small ones */
	LINEUP_PIECES_KEPT_MIN = 16,       /* pieces are so small that memory for rows holds so many: little of it is left over */
	LINEUP_PIECE_ALIGN = 256,
};

/* A run of whole blocks of one segment: params.h says how its rows lie in device memory. */
struct lineup_piece {
	uint32_t segment;
	uint32_t device;
	uint64_t block_first;
	uint64_t block_count;
	uint64_t row_first;  /* in the segment */
	uint32_t rows;
	uint32_t row_base;   /* of its first row, counted over all pieces: how the device names rows */
	uint64_t bytes;      /* in device memory, a multiple of LINEUP_PIECE_ALIGN */
	bool kept;           /* stays in device memory; else it passes through */
};

struct lineup_place {
	struct lineup_piece *pieces;
	uint32_t count;
	uint32_t *first;     /* [segment_count + 1] of each segment's pieces */
	uint64_t rows;
};

/* Offsets of the parts of a piece of @rows rows. */
uint32_t lineup_piece_pitch(uint32_t dim);
uint64_t lineup_piece_bounds(uint32_t dim, uint64_t rows);
uint64_t lineup_piece_marks(uint32_t dim, uint64_t rows);
uint64_t lineup_piece_bytes(uint32_t dim, uint64_t rows);

/* The limit of a piece where the device with the least memory has @memory for rows; 0: none has any. */
uint64_t lineup_piece_bytes_max(uint64_t memory);
/*
 * Cuts @snapshot into pieces of at most @bytes_max bytes (but at least a block), piece i for device i % @devices. In each
 * segment that is large enough their number is a multiple of @devices, and they are equal to within a block, so that the shares
 * are. -ENOMEM; -EOVERFLOW: more rows than 32 bits count. Silent.
 */
int lineup_place_init(struct lineup_place *place, const struct lineup_snapshot *snapshot, uint32_t devices, uint64_t bytes_max);
void lineup_place_fini(struct lineup_place *place); /* takes a zeroed one */
/* Marks the pieces of @device to keep: in their order, all that still fit into @bytes. */
void lineup_place_keep(struct lineup_place *place, uint32_t device, uint64_t bytes);
/* The piece of a block, and of a row as the device names it, which must be below place->rows. */
struct lineup_piece *lineup_place_block(const struct lineup_place *place, uint32_t segment, uint64_t block);
const struct lineup_piece *lineup_place_row(const struct lineup_place *place, uint32_t row);

#endif
