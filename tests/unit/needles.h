/* SPDX-License-Identifier: MIT */
/* Looks for copies of given bytes in all the memory of this process that can be written. */
#ifndef TEST_NEEDLES_H
#define TEST_NEEDLES_H

#include "search_bed.h"

enum { NEEDLE_BYTES = 64, NEEDLE_BYTES_MIN = 32 };

struct found {
	uint32_t places;      /* chunks with a needle in them */
	uint32_t undumped;    /* of them, in mappings that a core dump leaves out */
	char where[200];      /* the last one that it does not */
};

/* Forgets all needles. @vault of @size bytes, a mapping of its own, is what only the test may hold: it is never looked at. */
void needles_begin(const void *vault, size_t size);
void needles_end(void);
/* From NEEDLE_BYTES_MIN to NEEDLE_BYTES, at a multiple of four bytes wherever they are; @what is borrowed. */
void needle_add(const char *what, const void *data, uint32_t bytes);
uint32_t needle_count(void);
/* Puts needle @index into @data[NEEDLE_BYTES], for a test of the search itself; its size. */
uint32_t needle_copy(uint32_t index, uint8_t *data);
/* What lies in @p, or NULL. */
const char *needle_in(const uint8_t *p, size_t size);
struct found needles_find(void);

#endif
