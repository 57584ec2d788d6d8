// SPDX-License-Identifier: MIT
// MANIFEST: reading it with every field checked, and replacing it atomically.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "gallery_files.h"

enum { CRC_OFFSET = offsetof(struct disk_manifest, crc) };

static const char magic[8] = "LINEUPMF";

bool lineup_manifest_lists_valid(const struct disk_list *list, uint32_t lists)
{
	for (uint32_t i = 0; i < lists; i++) {
		char name[LINEUP_LIST_NAME_BYTES_MAX + 1] = { 0 };

		memcpy(name, list[i].name, sizeof(list[i].name));
		if (lineup_list_check(name) || !lineup_files_zero(list[i].name + strlen(name), sizeof(list[i].name) - strlen(name)))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (!memcmp(&list[i], &list[j], sizeof(list[i])))
				return false;
	}
	return true;
}

static uint32_t whole_crc(const void *data, size_t size)
{
	static const uint8_t zero[4];
	uint32_t crc = lineup_crc32c(0, data, CRC_OFFSET);

	crc = lineup_crc32c(crc, zero, sizeof(zero));
	return lineup_crc32c(crc, (const uint8_t *)data + CRC_OFFSET + 4, size - CRC_OFFSET - 4);
}

static bool model_valid(const struct disk_manifest *head)
{
	size_t length = strnlen(head->model, sizeof(head->model));
	uint8_t digest[LINEUP_DIGEST_BYTES];

	crypto_generichash(digest, sizeof(digest), (const uint8_t *)head->model, length, NULL, 0);
	return length && lineup_files_zero(head->model + length, sizeof(head->model) - length) &&
	       !memcmp(digest, head->model_digest, sizeof(digest));
}

static const char *head_fault(const struct disk_manifest *head)
{
	if (!head->dim || head->dim > LINEUP_DIM_MAX)
		return "its dimension is out of range";
	if (head->store > LINEUP_STORE_FLOAT16)
		return "its storage type is unknown";
	if (!model_valid(head))
		return "its model is malformed";
	if (!lineup_files_zero(head->zero, sizeof(head->zero)))
		return "unused bytes are not zero";
	if (head->generation_next > UINT32_MAX || head->journal >= head->generation_next || !head->journal)
		return "its generations do not fit together";
	if (head->subjects > head->subject_next || head->subject_next > head->template_next)
		return "its counts of subjects do not fit together";
	return NULL;
}

static const char *segment_fault(const struct lineup_manifest *m, uint32_t i, uint64_t template_from)
{
	const struct disk_manifest_segment *s = &m->segment[i];

	if (!s->generation || s->generation >= m->head.generation_next || s->deleted_generation >= m->head.generation_next ||
	    s->generation == m->head.journal || s->deleted_generation == m->head.journal)
		return "a generation is out of range";
	for (uint32_t j = 0; j < i; j++)
		if (m->segment[j].generation == s->generation)
			return "a segment is named twice";
	if (s->rows > LINEUP_SEGMENT_ROWS_MAX || s->rows_deleted > s->rows || !s->deleted_generation != !s->rows_deleted)
		return "a segment's count of rows is out of range";
	if (s->template_first < template_from || s->template_last < s->template_first || s->template_last > m->head.template_next ||
	    (s->rows ? s->template_last >= m->head.template_next || s->template_last - s->template_first < s->rows - 1
		     : s->template_last != s->template_first))
		return "template ids do not ascend from segment to segment";
	if (s->zero || s->zero2)
		return "unused bytes of a segment are not zero";
	return NULL;
}

int lineup_manifest_parse(const void *data, size_t size, struct lineup_manifest *manifest, struct lineup_fault *fault)
{
	struct lineup_manifest m = { 0 };
	const char *why = NULL;
	uint64_t from = 0, at = sizeof(m.head);

	if (size < sizeof(m.head))
		return lineup_fault_set(fault, -EBADMSG, "MANIFEST: byte %zu: the file ends in its header", size);
	memcpy(&m.head, data, sizeof(m.head));
	if (memcmp(m.head.magic, magic, sizeof(magic)))
		return lineup_fault_set(fault, -EBADMSG, "MANIFEST: byte 0: is not a gallery's manifest");
	if (m.head.version > LINEUP_FORMAT_VERSION)
		return lineup_fault_set(fault, -ENOTSUP, "MANIFEST: format version %u is newer than this library's %u",
					m.head.version, LINEUP_FORMAT_VERSION);
	if (m.head.version != LINEUP_FORMAT_VERSION)
		return lineup_fault_set(fault, -EBADMSG, "MANIFEST: byte 8: there is no format version %u", m.head.version);
	if (m.head.lists > LINEUP_LISTS_MAX || m.head.segments > LINEUP_SEGMENTS_MAX ||
	    size != sizeof(m.head) + m.head.lists * sizeof(m.list[0]) + m.head.segments * sizeof(m.segment[0]))
		return lineup_fault_set(fault, -EBADMSG, "MANIFEST: byte 24: the file's size is not what its counts say");
	if (m.head.crc != whole_crc(data, size))
		return lineup_fault_set(fault, -EBADMSG, "MANIFEST: byte %d: the checksum is wrong", CRC_OFFSET);
	why = head_fault(&m.head);
	if (why)
		return lineup_fault_set(fault, -EBADMSG, "MANIFEST: byte 16: %s", why);
	memcpy(m.list, (const uint8_t *)data + at, m.head.lists * sizeof(m.list[0]));
	if (!lineup_manifest_lists_valid(m.list, m.head.lists))
		return lineup_fault_set(fault, -EBADMSG, "MANIFEST: byte %llu: a list's name is malformed or there twice",
					(unsigned long long)at);
	at += m.head.lists * sizeof(m.list[0]);
	m.segment = calloc(LINEUP_SEGMENTS_MAX, sizeof(m.segment[0]));
	if (!m.segment)
		return lineup_fault_set(fault, -ENOMEM, "MANIFEST: no memory");
	memcpy(m.segment, (const uint8_t *)data + at, m.head.segments * sizeof(m.segment[0]));
	for (uint32_t i = 0; i < m.head.segments; i++, at += sizeof(m.segment[0])) {
		why = segment_fault(&m, i, from);
		if (why) {
			lineup_manifest_fini(&m);
			return lineup_fault_set(fault, -EBADMSG, "MANIFEST: byte %llu: %s", (unsigned long long)at, why);
		}
		from = m.segment[i].rows ? m.segment[i].template_last + 1 : m.segment[i].template_first;
	}
	*manifest = m;
	return 0;
}

void lineup_manifest_fini(struct lineup_manifest *manifest)
{
	free(manifest->segment);
	memset(manifest, 0, sizeof(*manifest));
}

int lineup_manifest_read(const struct lineup_files *files, void **data, size_t *size, struct lineup_fault *fault)
{
	return lineup_files_read(files, "MANIFEST",
				 sizeof(struct disk_manifest) + LINEUP_LISTS_MAX * sizeof(struct disk_list) +
					 LINEUP_SEGMENTS_MAX * sizeof(struct disk_manifest_segment),
				 data, size, fault);
}

int lineup_manifest_replace(const struct lineup_files *files, struct lineup_manifest *manifest, bool *renamed,
			    struct lineup_fault *fault)
{
	struct disk_manifest *head = &manifest->head;
	size_t lists = head->lists * sizeof(manifest->list[0]), segments = head->segments * sizeof(manifest->segment[0]);
	size_t size = sizeof(*head) + lists + segments;
	uint8_t *data = malloc(size);
	int err;

	*renamed = false;
	if (!data)
		return lineup_fault_set(fault, -ENOMEM, "MANIFEST: no memory");
	memcpy(head->magic, magic, sizeof(magic));
	head->version = LINEUP_FORMAT_VERSION;
	head->revision++;
	head->crc = 0;
	memcpy(data, head, sizeof(*head));
	memcpy(data + sizeof(*head), manifest->list, lists);
	if (segments)
		memcpy(data + sizeof(*head) + lists, manifest->segment, segments);
	head->crc = lineup_crc32c(0, data, size);
	memcpy(data + CRC_OFFSET, &head->crc, sizeof(head->crc));
	/* New files must survive under their names before a MANIFEST that names them may. */
	err = lineup_files_sync(files, fault);
	if (!err)
		err = lineup_files_write(files, "MANIFEST.new", data, size, fault);
	free(data);
	if (err)
		return err;
	err = files->ctx->io->rename(files->ctx->io_arg, files->dir, "MANIFEST.new", "MANIFEST");
	if (err) {
		lineup_fault_io(fault, err, "MANIFEST", "replace");
		lineup_files_wipe(files, "MANIFEST.new");
		return err;
	}
	*renamed = true;
	return lineup_files_sync(files, fault);
}
