/* SPDX-License-Identifier: MIT */
/* The gallery stage: the format on disk, and a snapshot of it as the search reads it. */
#ifndef LINEUP_GALLERY_H
#define LINEUP_GALLERY_H

#include "internal.h"

/*
 * A gallery is a directory:
 *
 *	MANIFEST              names every other file; replaced atomically (MANIFEST.new, fdatasync, rename, fsync of the directory)
 *	lock                  flock'ed exclusively by the one writer, who writes his name into it
 *	journal-GGGGGGGG      operations since the newest segment (G: generation, 8 hex digits)
 *	segment-GGGGGGGG      rows, immutable
 *	deleted-GGGGGGGG      which rows of a segment are deleted, immutable: one file per segment that has deletions
 *
 * All integers are little endian. Every generation number is used for one file ever (MANIFEST counts them). A file that MANIFEST does
 * not name is a leftover of a crash or of a compaction: the next writer overwrites it with zeros and unlinks it.
 * Unused bytes are zero, and checked to be.
 *
 * Who sees what. A writer holds lock. A reader reads MANIFEST, opens and flocks (shared) the files it names, then reads MANIFEST again: if it
 * changed the reader starts over. A writer overwrites an old file only while holding an exclusive flock on it; it was dropped from MANIFEST
 * before that, so a reader either holds its flock, and the overwriting waits for a later writer, or will start over.
 *
 * MANIFEST: struct disk_manifest, then lists, then segments. Valid if (1) magic, (2) version known, (3) the size of the file is what the counts
 * say, (4) crc, (5) segments ascend in template ids without overlap, (6) every named file has the size and header that its own rules say.
 *
 * segment: struct disk_segment in one 4096-byte block, then four regions, each beginning at a multiple of 4096:
 *
 *	blocks    what a pass reads: block_count blocks of block_bytes (struct disk_block and columns)
 *	records   what re-ranking, 1:1, export and compaction read: rows records of record_bytes (struct disk_record and the vector)
 *	index     rows by hash of the subject's name: 4096-byte pages (struct disk_page) of struct disk_index_entry, ascending by (hash, row)
 *	ops       operations that came in with this segment: pages of struct disk_op, ascending by op_id
 *
 * Between regions lie zeros: up to the next multiple of 4096, and before the records as much as the writer, who had to choose their place before
 * he knew how many rows would come, left for blocks that did not come. The others follow each other closely, in this order. A segment may
 * have no rows: it then keeps operations only, and template_first = template_last = the next template's id at that time.
 *
 * A block of capacity R = block_rows (a multiple of 48) holds, at these offsets (each a multiple of 64):
 *
 *	0            struct disk_block
 *	64           scale    float[R]     s_t of probe.h
 *	64 +  4 R    resid    float[R]
 *	64 +  8 R    lists    uint64_t[R]  bit i: on list i
 *	64 + 16 R    expires  int64_t[R]   0: never
 *	64 + 24 R    template uint64_t[R]  ascending over the segment
 *	64 + 32 R    subject  uint32_t[R]
 *	64 + 36 R    codes    R / 48 panels of 48 rows: uint8_t[groups][48][4], byte = code + 128; groups = ceil(dim / 4)
 *
 * Rows past block.rows, and components past dim, hold code 0 (byte 128), scale 0, and zeros. block_bytes is the sum rounded up to 4096. All blocks but the
 * last of a segment are full. crc covers bytes 8 to block_bytes of the block.
 *
 * journal: 512-byte frames, the unit a disk writes atomically. Frame 0 holds struct disk_journal. A record (struct disk_journal_record and its
 * payload) fills one or more frames: FIRST on its first, LAST on its last. All records written before one fdatasync carry the same batch number;
 * batches count 1, 2, 3 ... All frames of a record but the last are full. Frame 0 is of batch 0, FIRST and LAST. crc continues from the crc of the 12 bytes
 * (uint32_t generation, uint64_t position), position counting frames from 0. A frame is valid if its crc is right; it is *missing* if all its bytes
 * are zero or if the file ends before or inside it; otherwise it is corrupt, which is always an error.
 * Reading stops at the first record that is not complete. What follows is a torn tail if every frame in it is missing, or valid and of batch
 * (last complete record's batch + 1), or of the last complete record's own batch (a later record of the same unfinished write); anything else is an
 * error: an acknowledged record is not there.
 *
 * What a writer finds when it opens a gallery may be in memory only, if the one before it was killed, or had a sync that failed: it syncs the directory,
 * writes the last batch of the journal again and syncs it, before it wipes or appends anything.
 *
 * deleted: struct disk_deleted, then one bit per row (bit r % 8 of byte r / 8), set: deleted.
 *
 * The digest of the history, by BLAKE2b-256, does not depend on how rows are packed into files:
 *
 *	d[0] = hash(model_digest, uint32_t dim, uint32_t store)
 *	d[n] = hash(d[n - 1], uint32_t kind, uint64_t sequence, op_id, uint64_t rows, hash(content of operation n))
 *
 * with the fields one after the other, without gaps. The content of a deletion is its template ids, uint64_t, ascending. The content of an
 * enrolment or a replacement is, row by row: uint8_t length and bytes of the subject's name; uint8_t count of lists, and their names, each of 32
 * bytes with zeros, ascending bytewise; int64_t expires; the vector as stored, dim float or float16.
 *
 * Maintenance beside the writer: maintain.c.
 */

enum {
	LINEUP_PANEL_ROWS = 48,
	LINEUP_PAGE_BYTES = 4096,
	LINEUP_FRAME_BYTES = 512,
	LINEUP_BLOCK_BYTES_MAX = 2 << 20,           /* a block aims under this */
	LINEUP_SEGMENT_ROWS_MAX = 1 << 25,          /* rows of one segment */
	LINEUP_SEGMENTS_MAX = 4096,
	LINEUP_JOURNAL_SEAL_BYTES = 16 << 20,       /* a journal this long is sealed into a segment */
	LINEUP_RECORD_BYTES_MAX = 8 << 20,          /* an enrolment whose journal record would be longer becomes a segment directly */
};

struct disk_manifest {
	char magic[8];              /* "LINEUPMF" */
	uint32_t version;
	uint32_t crc;               /* of the whole file with this field as zero */
	uint32_t dim;
	uint32_t store;             /* enum lineup_store */
	uint32_t lists;             /* struct disk_list that follow */
	uint32_t segments;          /* struct disk_manifest_segment that follow those */
	uint64_t revision;          /* counts replacements */
	uint64_t generation_next;   /* next file's number */
	uint64_t template_next;     /* before the journal's operations */
	uint64_t sequence;          /* of the newest operation before the journal's */
	uint64_t subjects;          /* with at least one template not deleted, before the journal's operations */
	uint32_t subject_next;      /* next subject number, before the journal's operations */
	uint32_t journal;           /* generation of the journal */
	uint8_t digest[LINEUP_DIGEST_BYTES]; /* after operation sequence */
	uint8_t uuid[16];
	char model[LINEUP_MODEL_BYTES_MAX];  /* zero-filled */
	uint8_t model_digest[LINEUP_DIGEST_BYTES];
	uint8_t zero[16];
};
_Static_assert(sizeof(struct disk_manifest) == 240, "disk_manifest");

struct disk_list {
	char name[LINEUP_LIST_NAME_BYTES_MAX]; /* zero-filled; entry i is bit i */
};
_Static_assert(sizeof(struct disk_list) == 32, "disk_list");

struct disk_manifest_segment {
	uint32_t generation;
	uint32_t deleted_generation; /* of its deleted-file; 0: none */
	uint64_t rows;
	uint64_t rows_deleted;
	uint64_t template_first;
	uint64_t template_last;
	uint64_t file_bytes;
	uint32_t header_crc;         /* the segment's own header's crc */
	uint32_t zero;
	uint64_t zero2;
};
_Static_assert(sizeof(struct disk_manifest_segment) == 64, "disk_manifest_segment");

struct disk_segment {
	char magic[8];              /* "LINEUPSG" */
	uint32_t version;
	uint32_t crc;               /* of the 4096-byte header with this field as zero */
	uint8_t uuid[16];           /* the gallery's */
	uint32_t generation;
	uint32_t dim;
	uint32_t store;
	uint32_t block_rows;
	uint64_t block_bytes;
	uint64_t block_count;
	uint64_t rows;
	uint64_t template_first;
	uint64_t template_last;
	uint32_t record_bytes;
	uint32_t zero;
	uint64_t ops;               /* entries in the ops region */
	uint64_t records_offset;
	uint64_t index_offset;
	uint64_t ops_offset;
	uint64_t file_bytes;
	uint8_t model_digest[LINEUP_DIGEST_BYTES];
};
_Static_assert(sizeof(struct disk_segment) == 168, "disk_segment");

struct disk_block {
	uint32_t magic;             /* "LUBK" */
	uint32_t crc;               /* of the block from byte 8 */
	uint32_t generation;        /* the segment's */
	uint32_t rows;              /* 1 to block_rows */
	uint64_t index;             /* of the block in the segment */
	uint8_t zero[40];
};
_Static_assert(sizeof(struct disk_block) == 64, "disk_block");

struct disk_record {
	uint32_t crc;               /* of record_bytes from byte 4 */
	uint32_t subject;
	uint64_t template_id;
	uint64_t lists;
	int64_t expires;
	uint8_t name_bytes;
	char name[LINEUP_SUBJECT_BYTES_MAX]; /* zero-filled */
	uint8_t zero[7];
	/*
	 * float or uint16_t (float16) vector[dim], whose length differs from 1 by no more than LINEUP_NORM_MAX_* of probe.h does; zero-filled to
	 * record_bytes, a multiple of 8
	 */
};
_Static_assert(sizeof(struct disk_record) == 104, "disk_record");

struct disk_page {
	uint32_t crc;               /* of the page from byte 4 */
	uint32_t entries;           /* all pages of a region but the last are full */
	uint8_t data[4088];
};
_Static_assert(sizeof(struct disk_page) == LINEUP_PAGE_BYTES, "disk_page");

struct disk_index_entry {
	uint64_t hash;              /* of the subject's name: first 8 bytes of its BLAKE2b-256 */
	uint32_t row;
	uint32_t subject;
};
_Static_assert(sizeof(struct disk_index_entry) == 16, "disk_index_entry");

/* A replacement is an enrolment that, before it, deletes all templates of the subjects that its rows name. */
enum { LINEUP_OP_ENROL = 1, LINEUP_OP_DELETE = 2, LINEUP_OP_REPLACE = 3 };

struct disk_op {
	uint8_t op_id[LINEUP_OP_ID_BYTES];
	uint64_t sequence;
	uint64_t template_first;    /* of an enrolment or a replacement */
	uint64_t rows;              /* enrolled, or by a deletion deleted */
	uint32_t kind;              /* LINEUP_OP_* */
	uint32_t zero;
};
_Static_assert(sizeof(struct disk_op) == 48, "disk_op");

struct disk_journal {
	char magic[8];              /* "LINEUPJL" */
	uint32_t version;
	uint32_t generation;
	uint8_t uuid[16];
	uint64_t sequence;          /* the first record's is this + 1 */
};
_Static_assert(sizeof(struct disk_journal) == 40, "disk_journal");

enum { LINEUP_FRAME_FIRST = 1, LINEUP_FRAME_LAST = 2 };

struct disk_frame {
	uint32_t crc;               /* of the frame from byte 4, seeded */
	uint32_t batch;
	uint16_t used;              /* bytes of payload */
	uint16_t flags;
	uint32_t zero;
	uint8_t payload[LINEUP_FRAME_BYTES - 16];
};
_Static_assert(sizeof(struct disk_frame) == LINEUP_FRAME_BYTES, "disk_frame");

struct disk_journal_record {
	struct disk_op op;
	uint64_t bytes;             /* of the record, this header included */
	uint64_t subjects;          /* with at least one template, after this operation */
	uint32_t subject_next;      /* after it */
	uint32_t lists_new;         /* struct disk_list that follow, the gallery's next list bits */
	uint8_t digest[LINEUP_DIGEST_BYTES]; /* of the history after this operation */
	/*
	 * an enrolment or a replacement: lists_new disk_list, then op.rows records as in a segment; a deletion: op.rows uint64_t template
	 * ids, ascending
	 */
};
_Static_assert(sizeof(struct disk_journal_record) == 104, "disk_journal_record");

struct disk_deleted {
	char magic[8];              /* "LINEUPDL" */
	uint32_t version;
	uint32_t crc;               /* of the whole file with this field as zero */
	uint8_t uuid[16];
	uint32_t generation;
	uint32_t segment;           /* generation of the segment it is about */
	uint64_t rows;              /* of the segment */
	uint64_t rows_deleted;      /* bits that are set */
	uint64_t zero;
};
_Static_assert(sizeof(struct disk_deleted) == 64, "disk_deleted");

/* Column addresses within a block. */
struct lineup_columns {
	const float *scale;
	const float *resid;
	const uint64_t *lists;
	const int64_t *expires;
	const uint64_t *template_id;
	const uint32_t *subject;
	const uint8_t *codes;
};

/* The shape that dimension, storage and block capacity give. */
struct lineup_shape {
	uint32_t dim;
	uint32_t store;
	uint32_t groups;       /* ceil(dim / 4) */
	uint32_t panel_bytes;  /* 48 * 4 * groups */
	uint32_t block_rows;
	uint64_t block_bytes;
	uint32_t record_bytes;
};

/* block_rows for a segment of @rows rows: as many as fit LINEUP_BLOCK_BYTES_MAX, but not more panels than the rows fill. */
void lineup_shape_init(struct lineup_shape *shape, uint32_t dim, uint32_t store, uint64_t rows);
void lineup_block_columns(const struct lineup_shape *shape, const void *block, struct lineup_columns *columns);
/*
 * Making a block: begin (everything empty), put each row, end (header and crc). @block is block_bytes, aligned to 64. put quantises
 * @vector, the vector as stored, and takes the other columns from @record. Rows of one block by one thread.
 */
void lineup_block_begin(const struct lineup_shape *shape, void *block);
void lineup_block_put(const struct lineup_shape *shape, void *block, uint32_t row, const struct disk_record *record, const float *vector);
void lineup_block_end(const struct lineup_shape *shape, void *block, uint32_t generation, uint64_t index, uint32_t rows);
/* Empties rows [@rows, block_rows) again. The block is to be ended anew. */
void lineup_block_cut(const struct lineup_shape *shape, void *block, uint32_t rows);
/* Checks magic, generation, index, rows and crc of a block read from @segment; -EBADMSG, with *@why the reason (static). */
int lineup_block_verify(const struct lineup_shape *shape, const void *block, uint32_t generation, uint64_t index, uint32_t rows,
			const char **why);

/* One part of a snapshot: a segment with rows, or up to some hundreds of the journal's rows in memory. Immutable once the snapshot is made. */
struct lineup_segment {
	struct lineup_shape shape;
	uint32_t generation;
	uint64_t rows;
	uint64_t rows_deleted;
	uint64_t template_first;
	uint64_t template_last;
	uint64_t block_count;
	uint64_t blocks_offset;      /* of the blocks in the file */
	uint64_t records_offset;
	uint64_t index_offset;
	uint64_t ops_offset;
	uint64_t ops;
	uint64_t file_bytes;
	char *path;                  /* for messages */
	int fd;                      /* buffered; holds the shared flock; -1 for the journal's rows */
	int fd_direct;               /* the same file with O_DIRECT, or -1 where the file system has none */
	const uint8_t *deleted;      /* bitmap; NULL: none */
	uint8_t *blocks;             /* the journal's rows: blocks as in a file, in memory; NULL for a segment on disk */
	uint8_t *records;            /* likewise */
	size_t blocks_size;          /* of those allocations */
	size_t records_size;
};

static inline bool lineup_segment_row_deleted(const struct lineup_segment *s, uint64_t row)
{
	return s->deleted && (s->deleted[row / 8] >> (row % 8) & 1);
}

/* One state of a gallery. Shared by reference; segments ascend in template ids, those of the journal's rows come last. */
struct lineup_snapshot {
	struct lineup_ctx *ctx;
	atomic_uint references;
	uint32_t dim;
	uint32_t store;
	uint32_t segment_count;
	struct lineup_segment *segments;
	uint64_t sequence;
	uint64_t rows;               /* of all segments, deleted ones included */
	uint64_t rows_deleted;
	uint64_t template_next;
	uint64_t subjects;
	uint32_t subject_next;
	uint32_t lists;
	char list[LINEUP_LISTS_MAX][LINEUP_LIST_NAME_BYTES_MAX + 1];
	uint8_t digest[LINEUP_DIGEST_BYTES];
	uint64_t journal_bytes;
	uint64_t journal_rows;
};

/* The state a gallery has now, with a reference the caller puts; NULL: no memory, logged. Any thread. */
struct lineup_snapshot *lineup_gallery_snapshot(struct lineup_gallery *gallery);
void lineup_snapshot_put(struct lineup_snapshot *snapshot); /* takes NULL */
/*
 * A snapshot of @count segments from @first on, that holds no other file; with what is @deleted of them, or as if nothing were.
 * -ENOMEM; silent.
 */
int lineup_snapshot_some(const struct lineup_snapshot *snapshot, uint32_t first, uint32_t count, bool deleted,
			 struct lineup_snapshot **some);

/*
 * Reads record @row of @segment into @record (shape.record_bytes) and verifies it: -EBADMSG, -EIO, logged with file and offset. Any thread.
 */
int lineup_segment_record(struct lineup_ctx *ctx, const struct lineup_segment *segment, uint64_t row, struct disk_record *record);
/* Verifies a record that is in memory already; 0 or -EBADMSG, silent, *@why static. */
int lineup_record_verify(const struct lineup_shape *shape, const struct disk_record *record, const char **why);
/* The vector of a record as float32: points into it, or converts into @buffer[dim]. */
const float *lineup_record_vector(const struct lineup_shape *shape, const struct disk_record *record, float *buffer);

/* Calls @each for every row, deleted ones included, whose subject is named @name, in the order of template ids. Stops on non-zero. */
int lineup_snapshot_subject(struct lineup_snapshot *snapshot, const char *name,
			    int (*each)(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record),
			    void *arg);

#endif
