// SPDX-License-Identifier: MIT
// The journal's frames: read back into records with every acknowledged one accounted for, and made from a record.
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

static const char magic[8] = "LINEUPJL";

enum { PAYLOAD_BYTES = sizeof(((struct disk_frame *)0)->payload) };

static uint32_t frame_crc(const struct disk_frame *frame, uint32_t generation, uint64_t position)
{
	uint32_t seed[3] = { generation, (uint32_t)position, (uint32_t)(position >> 32) };

	return lineup_crc32c(lineup_crc32c(0, seed, sizeof(seed)), (const uint8_t *)frame + 4, sizeof(*frame) - 4);
}

struct reader {
	const uint8_t *data; /* from frame @first on */
	size_t size;
	uint64_t first;
	uint32_t generation;
	uint64_t position; /* of the next frame */
	struct lineup_fault *fault;
};

enum frame_state { FRAME_VALID, FRAME_MISSING, FRAME_CORRUPT };

static int bad(const struct reader *r, uint64_t frame, const char *why)
{
	return lineup_fault_set(r->fault, -EBADMSG, "journal-%08x: byte %llu: %s", r->generation,
				(unsigned long long)frame * LINEUP_FRAME_BYTES, why);
}

static enum frame_state frame_at(const struct reader *r, uint64_t position, struct disk_frame *frame, const char **why)
{
	/* A frame that the end of the file cuts short was never acknowledged. */
	if (position - r->first >= r->size / sizeof(*frame))
		return FRAME_MISSING;
	memcpy(frame, r->data + (position - r->first) * sizeof(*frame), sizeof(*frame));
	if (lineup_files_zero(frame, sizeof(*frame)))
		return FRAME_MISSING;
	if (frame->crc != frame_crc(frame, r->generation, position))
		*why = "the frame's checksum is wrong";
	else if (frame->zero || frame->used > PAYLOAD_BYTES || !frame->used ||
		 frame->flags & ~(LINEUP_FRAME_FIRST | LINEUP_FRAME_LAST) ||
		 !lineup_files_zero(frame->payload + frame->used, PAYLOAD_BYTES - frame->used))
		*why = "the frame is malformed";
	else
		return FRAME_VALID;
	return FRAME_CORRUPT;
}

static int check_head(struct reader *r, const struct disk_manifest *manifest)
{
	struct disk_frame frame;
	struct disk_journal head;
	const char *why = "the journal has no header";

	if (r->size < sizeof(frame))
		return bad(r, 0, "the file ends in its header");
	memcpy(&frame, r->data, sizeof(frame));
	memcpy(&head, frame.payload, sizeof(head));
	if (memcmp(head.magic, magic, sizeof(magic)))
		return bad(r, 0, "is not a journal");
	if (head.version > LINEUP_FORMAT_VERSION)
		return lineup_fault_set(r->fault, -ENOTSUP, "journal-%08x: format version %u is newer than this library's %u",
					r->generation, head.version, LINEUP_FORMAT_VERSION);
	if (frame_at(r, 0, &frame, &why) != FRAME_VALID)
		return bad(r, 0, why);
	if (head.version != LINEUP_FORMAT_VERSION || frame.used != sizeof(head) || frame.batch ||
	    frame.flags != (LINEUP_FRAME_FIRST | LINEUP_FRAME_LAST))
		return bad(r, 0, "the journal's header is malformed");
	if (memcmp(head.uuid, manifest->uuid, sizeof(head.uuid)) || head.generation != r->generation)
		return bad(r, 0, "the journal belongs to another gallery or generation");
	if (head.sequence != manifest->sequence)
		return bad(r, 0, "the journal does not follow MANIFEST's last operation");
	r->position = 1;
	return 0;
}

/*
 * Collects the record at r->position. *@data NULL: none that is complete begins there, and whether what lies there may be a torn
 * tail is for the caller to see. Else r->position is behind it.
 */
static int collect(struct reader *r, uint8_t **data, size_t *size, uint32_t *batch)
{
	struct disk_frame frame;
	uint64_t count = 0, end;
	const char *why = NULL;
	enum frame_state state;
	uint8_t *p;

	*data = NULL;
	do {
		state = frame_at(r, r->position + count, &frame, &why);
		if (state == FRAME_CORRUPT)
			return bad(r, r->position + count, why);
		if (state == FRAME_MISSING)
			return 0;
		if (!(frame.flags & LINEUP_FRAME_FIRST) != !!count)
			return count ? 0 : bad(r, r->position, "a record does not begin here");
		if (count && frame.batch != *batch)
			return bad(r, r->position + count, "frames of one record carry different batch numbers");
		if (!(frame.flags & LINEUP_FRAME_LAST) && frame.used != PAYLOAD_BYTES)
			return bad(r, r->position + count, "a frame inside a record is not full");
		*batch = frame.batch;
		count++;
	} while (!(frame.flags & LINEUP_FRAME_LAST));
	p = malloc(count * PAYLOAD_BYTES);
	if (!p)
		return lineup_fault_set(r->fault, -ENOMEM, "journal-%08x: no memory", r->generation);
	end = (count - 1) * PAYLOAD_BYTES + frame.used;
	for (uint64_t i = 0; i < count; i++) {
		size_t left = end - i * PAYLOAD_BYTES;

		memcpy(p + i * PAYLOAD_BYTES,
		       r->data + (r->position - r->first + i) * sizeof(frame) + offsetof(struct disk_frame, payload),
		       left < PAYLOAD_BYTES ? left : PAYLOAD_BYTES);
	}
	r->position += count;
	*data = p;
	*size = end;
	return 0;
}

/* Everything from r->position on must be what an unfinished write can leave. */
static int check_tail(struct reader *r, uint32_t batch, bool *torn)
{
	struct disk_frame frame;
	const char *why = NULL;

	*torn = r->size > r->position * sizeof(frame);
	for (uint64_t i = r->position; i < r->size / sizeof(frame); i++) {
		switch (frame_at(r, i, &frame, &why)) {
		case FRAME_CORRUPT:
			return bad(r, i, why);
		case FRAME_VALID:
			if (frame.batch != batch && frame.batch != batch + 1)
				return bad(r, i, "an acknowledged record before this frame is missing");
			break;
		case FRAME_MISSING:
			break;
		}
	}
	return 0;
}

static const char *record_fault(const struct disk_journal_record *record, size_t size, uint64_t sequence, uint32_t record_bytes)
{
	const struct disk_op *op = &record->op;
	uint64_t each = op->kind == LINEUP_OP_DELETE ? sizeof(uint64_t) : record_bytes, rest;

	if (op->kind != LINEUP_OP_ENROL && op->kind != LINEUP_OP_DELETE && op->kind != LINEUP_OP_REPLACE)
		return "the operation is of an unknown kind";
	if (op->zero)
		return "unused bytes of the operation are not zero";
	if (op->sequence != sequence)
		return "the operation's sequence number does not follow";
	if (record->bytes != size)
		return "the record's length is wrong";
	if (record->lists_new > LINEUP_LISTS_MAX || (op->kind == LINEUP_OP_DELETE && (record->lists_new || op->template_first)))
		return "the record's new lists are out of range";
	rest = size - sizeof(*record);
	if (rest < record->lists_new * sizeof(struct disk_list))
		return "the record's length is wrong";
	rest -= record->lists_new * sizeof(struct disk_list);
	if (!op->rows || op->rows != rest / each || rest % each)
		return "the record's number of rows is wrong";
	return NULL;
}

int lineup_journal_parse(const void *data, size_t size, const struct disk_manifest *manifest, uint32_t record_bytes,
			 int (*each)(void *arg, const struct lineup_journal_item *item, struct lineup_fault *fault), void *arg,
			 struct lineup_journal_end *end, struct lineup_fault *fault)
{
	struct reader r = { .data = data, .size = size, .generation = manifest->journal, .fault = fault };
	uint64_t sequence = manifest->sequence, last = 1;
	uint32_t batch = 0;
	int err = check_head(&r, manifest);

	while (!err) {
		struct lineup_journal_item item = { .frame = r.position };
		uint8_t *record = NULL;
		size_t bytes = 0;
		uint32_t its_batch = 0;
		const char *why = NULL;

		err = collect(&r, &record, &bytes, &its_batch);
		if (err || !record)
			break;
		if (bytes < sizeof(*item.record))
			why = "the record ends in its header";
		else if (its_batch != batch + 1 && (its_batch != batch || !batch))
			why = "the record's batch number does not follow";
		else
			why = record_fault((const void *)record, bytes, sequence + 1, record_bytes);
		if (why) {
			err = bad(&r, item.frame, why);
		} else {
			item.record = (const void *)record;
			item.lists = (const void *)(item.record + 1);
			item.content = item.lists + item.record->lists_new;
			err = each(arg, &item, fault);
		}
		free(record);
		if (its_batch != batch)
			last = item.frame;
		batch = its_batch;
		sequence++;
	}
	if (!err)
		err = check_tail(&r, batch, &end->torn);
	if (err)
		return err;
	end->frames = r.position;
	end->last = last;
	end->batch = batch;
	return 0;
}

int lineup_journal_part(const void *data, size_t size, uint64_t first, const struct disk_manifest *manifest, uint64_t sequence,
			uint32_t record_bytes,
			int (*each)(void *arg, const struct lineup_journal_item *item, struct lineup_fault *fault), void *arg,
			uint64_t *next, struct lineup_fault *fault)
{
	struct reader r = {
		.data = data, .size = size, .first = first, .generation = manifest->journal, .position = first, .fault = fault
	};
	int err = 0;

	for (*next = first; !err && r.position < first + size / sizeof(struct disk_frame); *next = r.position) {
		struct lineup_journal_item item = { .frame = r.position };
		uint8_t *record = NULL;
		size_t bytes = 0;
		uint32_t batch;
		const char *why = NULL;

		err = collect(&r, &record, &bytes, &batch);
		if (err || !record)
			break;
		if (bytes < sizeof(*item.record))
			why = "the record ends in its header";
		else
			why = record_fault((const void *)record, bytes, ++sequence, record_bytes);
		if (why) {
			err = bad(&r, item.frame, why);
		} else {
			item.record = (const void *)record;
			item.lists = (const void *)(item.record + 1);
			item.content = item.lists + item.record->lists_new;
			err = each(arg, &item, fault);
		}
		free(record);
	}
	return err;
}

/* Copies the next bytes of a record that lies in pieces. */
struct piece {
	const void *data;
	size_t size;
};

static void take(struct piece *pieces, size_t count, uint8_t *out, size_t size)
{
	for (size_t i = 0; i < count && size; i++) {
		size_t n = pieces[i].size < size ? pieces[i].size : size;

		if (!n) /* the data of an empty piece may be NULL */
			continue;
		memcpy(out, pieces[i].data, n);
		pieces[i].data = (const uint8_t *)pieces[i].data + n;
		pieces[i].size -= n;
		out += n;
		size -= n;
	}
}

static uint64_t frame_count(const struct disk_journal_record *record)
{
	return (record->bytes + PAYLOAD_BYTES - 1) / PAYLOAD_BYTES;
}

size_t lineup_journal_bytes(const struct disk_journal_record *record)
{
	return frame_count(record) * sizeof(struct disk_frame);
}

void lineup_journal_frames(const struct disk_journal_record *record, const struct disk_list *lists, const void *content,
			   uint32_t generation, uint64_t frame, uint32_t batch, void *data)
{
	size_t lists_bytes = record->lists_new * sizeof(*lists);
	struct piece pieces[] = { { record, sizeof(*record) },
				  { lists, lists_bytes },
				  { content, record->bytes - sizeof(*record) - lists_bytes } };
	uint64_t count = frame_count(record);
	struct disk_frame *frames = data;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t left = record->bytes - i * PAYLOAD_BYTES;

		frames[i].batch = batch;
		frames[i].used = (uint16_t)(left < PAYLOAD_BYTES ? left : PAYLOAD_BYTES);
		frames[i].flags = (i ? 0 : LINEUP_FRAME_FIRST) | (i + 1 < count ? 0 : LINEUP_FRAME_LAST);
		take(pieces, ARRAY_SIZE(pieces), frames[i].payload, frames[i].used);
		frames[i].crc = frame_crc(&frames[i], generation, frame + i);
	}
}

int lineup_journal_create(const struct lineup_files *files, const struct disk_manifest *manifest, uint32_t generation,
			  uint64_t sequence, struct lineup_fault *fault)
{
	struct disk_journal head = { .version = LINEUP_FORMAT_VERSION, .generation = generation, .sequence = sequence };
	struct disk_frame frame = { .used = sizeof(head), .flags = LINEUP_FRAME_FIRST | LINEUP_FRAME_LAST };
	char name[LINEUP_GALLERY_NAME_BYTES];

	memcpy(head.magic, magic, sizeof(magic));
	memcpy(head.uuid, manifest->uuid, sizeof(head.uuid));
	memcpy(frame.payload, &head, sizeof(head));
	frame.crc = frame_crc(&frame, generation, 0);
	lineup_files_name(name, "journal", generation);
	return lineup_files_write(files, name, &frame, sizeof(frame), fault);
}
