// SPDX-License-Identifier: MIT
// Fuzzes a segment: the input is the file, made the gallery's own and given right checksums, with a MANIFEST that agrees with its header.
#include "gallery_bed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_crc(uint8_t *file, size_t at, size_t crc_at, size_t from, size_t size)
{
	uint32_t crc;

	memset(file + at + crc_at, 0, sizeof(crc));
	crc = lineup_crc32c(0, file + at + from, size - from);
	memcpy(file + at + crc_at, &crc, sizeof(crc));
}

/* Checksums of what the header says lies in the file, as far as it does. */
static void seal(uint8_t *file, size_t size, const struct disk_segment *h)
{
	if (h->block_bytes >= sizeof(struct disk_block) && h->block_bytes <= size)
		for (uint64_t at = LINEUP_PAGE_BYTES, i = 0; i < h->block_count && at + h->block_bytes <= size; i++, at += h->block_bytes)
			put_crc(file, at, offsetof(struct disk_block, crc), offsetof(struct disk_block, generation), h->block_bytes);
	if (h->record_bytes >= sizeof(struct disk_record) && h->records_offset <= size)
		for (uint64_t at = h->records_offset, i = 0; i < h->rows && at + h->record_bytes <= size; i++, at += h->record_bytes)
			put_crc(file, at, 0, 4, h->record_bytes);
	for (uint64_t at = h->index_offset / LINEUP_PAGE_BYTES * LINEUP_PAGE_BYTES; at >= LINEUP_PAGE_BYTES && at < size &&
	     size - at >= LINEUP_PAGE_BYTES; at += LINEUP_PAGE_BYTES)
		put_crc(file, at, 0, 4, LINEUP_PAGE_BYTES);
	put_crc(file, 0, offsetof(struct disk_segment, crc), 0, LINEUP_PAGE_BYTES);
}

/* A MANIFEST whose entry says of the segment what its header says. */
static void agree(const struct bed *bed, const struct disk_segment *h, uint64_t size)
{
	struct {
		struct disk_manifest head;
		struct disk_list list[2];
		struct disk_manifest_segment segment;
	} m = { .head = bed->manifest, .list = { { "two" }, { "one" } }, .segment = bed->segment };

	bed_need(m.head.lists == 2, "lists");
	m.segment.rows = h->rows;
	m.segment.template_first = h->template_first;
	m.segment.template_last = h->template_last;
	m.segment.file_bytes = size;
	m.segment.header_crc = h->crc;
	m.segment.deleted_generation = 0;
	m.segment.rows_deleted = 0;
	m.head.crc = 0;
	m.head.crc = lineup_crc32c(0, &m, sizeof(m));
	bed_file(bed, "MANIFEST", &m, sizeof(m));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bed *bed = bed_make();
	struct disk_segment h;
	char name[32];
	uint8_t *file;

	if (size > BED_FILE_BYTES_MAX || size < LINEUP_PAGE_BYTES)
		return -1;
	file = malloc(size);
	bed_need(file, "malloc");
	memcpy(file, data, size);
	memcpy(&h, file, sizeof(h));
	memcpy(h.magic, "LINEUPSG", sizeof(h.magic));
	memcpy(h.uuid, bed->manifest.uuid, sizeof(h.uuid));
	memcpy(h.model_digest, bed->manifest.model_digest, sizeof(h.model_digest));
	h.generation = bed->segment.generation;
	memcpy(file, &h, sizeof(h));
	seal(file, size, &h);
	memcpy(&h, file, sizeof(h));
	agree(bed, &h, size);
	snprintf(name, sizeof(name), "segment-%08x", bed->segment.generation);
	bed_file(bed, name, file, size);
	free(file);
	bed_read(bed);
	return 0;
}
