// SPDX-License-Identifier: MIT
// Fuzzes MANIFEST: the input is the file, made the gallery's own and given its checksum, in a gallery whose other files are good.
#include "gallery_bed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The checksums of headers, which hold the gallery's random uuid. */
static void adopt_segments(const struct bed *bed, const struct disk_manifest *head, uint8_t *file, size_t size)
{
	uint64_t at = sizeof(*head) + (uint64_t)head->lists * sizeof(struct disk_list);

	for (uint32_t i = 0; i < head->segments && at + sizeof(struct disk_manifest_segment) <= size; i++) {
		struct disk_manifest_segment entry;

		memcpy(&entry, file + at, sizeof(entry));
		entry.header_crc = bed->segment.header_crc;
		memcpy(file + at, &entry, sizeof(entry));
		at += sizeof(entry);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bed *bed = bed_make();
	struct disk_manifest head;
	uint8_t *file;

	if (size > BED_FILE_BYTES_MAX)
		return -1;
	file = malloc(size + 1);
	bed_need(file, "malloc");
	memcpy(file, data, size);
	if (size >= sizeof(head)) {
		memcpy(&head, file, sizeof(head));
		memcpy(head.magic, bed->manifest.magic, sizeof(head.magic));
		memcpy(head.uuid, bed->manifest.uuid, sizeof(head.uuid));
		head.crc = 0;
		memcpy(file, &head, sizeof(head));
		adopt_segments(bed, &head, file, size);
		head.crc = lineup_crc32c(0, file, size);
		memcpy(file, &head, sizeof(head));
	}
	bed_file(bed, "MANIFEST", file, size);
	free(file);
	bed_read(bed);
	return 0;
}
