// SPDX-License-Identifier: MIT
// Reads subjects files (CSV, RFC 4180), and says what may be a subject's or a list's name.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "source.h"

enum {
	RECORD_BYTES_MAX = 64 << 10, /* of one row, its line ends and quotes included */
	COLUMNS_MAX = 256,
};

enum column { COLUMN_SUBJECT, COLUMN_LISTS, COLUMN_EXPIRES, COLUMN_COUNT };

static const char *const column_names[COLUMN_COUNT] = { "subject", "lists", "expires" };

enum record { RECORD_END, RECORD_BLANK, RECORD_ROW };

enum state {
	STATE_START, /* of a field */
	STATE_PLAIN,
	STATE_QUOTED,
	STATE_CLOSED, /* a quote in a quoted field: its end, or the first half of a doubled one */
	STATE_RETURN, /* a carriage return, which a line feed must follow */
	STATE_DONE,
};

/* In secret memory as a whole: names of subjects pass through it. */
struct lineup_subjects {
	struct lineup_source source;
	int64_t now;
	int err;	      /* of a read that failed; every later one returns it in silence */
	uint64_t line;	      /* of the next byte, from 1 */
	uint64_t record_line; /* where the record at hand begins */
	enum state state;
	uint32_t columns;
	uint32_t column[COLUMN_COUNT]; /* COLUMNS_MAX: there is none */
	uint32_t fields;
	uint32_t length;	     /* of text */
	uint32_t field[COLUMNS_MAX]; /* where each begins in text; NUL-terminated */
	char text[RECORD_BYTES_MAX + COLUMNS_MAX];
};

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* Decodes one character of strict UTF-8 (shortest form, no surrogates, at most U+10FFFF); its bytes, or 0. */
static int utf8_decode(const unsigned char *s, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	int length = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf8 ? 4 : 0;

	if (length <= 1) {
		*code = s[0];
		return length;
	}
	*code = s[0] & (0x7fu >> length);
	for (int i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80) /* the NUL as well: nothing is read past it */
			return 0;
		*code = *code << 6 | (s[i] & 0x3f);
	}
	return *code < least[length] || (*code >= 0xd800 && *code < 0xe000) || *code > 0x10ffff ? 0 : length;
}

static const char *subject_fault(const char *name)
{
	const unsigned char *s = (const unsigned char *)name;
	uint32_t code;
	int length;

	if (!*s)
		return "is empty";
	if (strnlen(name, LINEUP_SUBJECT_BYTES_MAX + 1) > LINEUP_SUBJECT_BYTES_MAX)
		return "is longer than 64 bytes";
	for (; *s; s += length) {
		length = utf8_decode(s, &code);
		if (!length)
			return "is not UTF-8";
		if (code < 0x20 || (code >= 0x7f && code < 0xa0))
			return "holds a control character";
	}
	return NULL;
}

_Static_assert(LINEUP_SUBJECT_BYTES_MAX == 64, "the messages above say 64");

int lineup_subject_check(const char *name)
{
	return subject_fault(name) ? -EINVAL : 0;
}

static bool list_fits(const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!(name[i] >= 'A' && name[i] <= 'Z') && !(name[i] >= 'a' && name[i] <= 'z') &&
		    !(name[i] >= '0' && name[i] <= '9') && name[i] != '_' && name[i] != '.' && name[i] != '-')
			return false;
	return size >= 1 && size <= LINEUP_LIST_NAME_BYTES_MAX;
}

int lineup_list_check(const char *name)
{
	return list_fits(name, strnlen(name, LINEUP_LIST_NAME_BYTES_MAX + 1)) ? 0 : -EINVAL;
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

static int fail(struct lineup_subjects *s, uint64_t line, const char *reason)
{
	return lineup_fail(s->source.ctx, -EINVAL, "%s: line %" PRIu64 ": %s", s->source.name, line, reason);
}

static void put(struct lineup_subjects *s, char c)
{
	s->text[s->length++] = c;
}

/* Ends the field at hand and, unless the record ends as well, begins the next. */
static int field_end(struct lineup_subjects *s, enum state next)
{
	put(s, '\0');
	s->state = next;
	if (next == STATE_DONE)
		return 0;
	if (s->fields == COLUMNS_MAX)
		return fail(s, s->record_line, "has more than 256 fields");
	s->field[s->fields++] = s->length;
	return 0;
}

_Static_assert(COLUMNS_MAX == 256, "the message above says 256");

static int byte_take(struct lineup_subjects *s, char c)
{
	switch (s->state) {
	case STATE_QUOTED:
		if (c == '"')
			s->state = STATE_CLOSED;
		else
			put(s, c);
		return 0;
	case STATE_RETURN:
		return c == '\n' ? field_end(s, STATE_DONE) : fail(s, s->line, "has a carriage return in the middle");
	case STATE_CLOSED:
		if (c == '"') {
			put(s, c);
			s->state = STATE_QUOTED;
			return 0;
		}
		break;
	default:
		break;
	}
	if (c == ',')
		return field_end(s, STATE_START);
	if (c == '\n')
		return field_end(s, STATE_DONE);
	if (c == '\r') {
		s->state = STATE_RETURN;
	} else if (s->state == STATE_CLOSED) {
		return fail(s, s->line, "has text after a closing quote");
	} else if (c != '"') {
		put(s, c);
		s->state = STATE_PLAIN;
	} else if (s->state == STATE_START) {
		s->state = STATE_QUOTED;
	} else {
		return fail(s, s->line, "has a quote inside a field that does not begin with one");
	}
	return 0;
}

/* The file has ended within a record, or (@bytes 0) after one. */
static int record_finish(struct lineup_subjects *s, uint32_t bytes)
{
	if (!bytes)
		return RECORD_END;
	if (s->state == STATE_QUOTED)
		return fail(s, s->record_line, "a quote is not closed before the end of the file");
	if (s->state == STATE_RETURN)
		return fail(s, s->line, "has a carriage return without a line feed");
	field_end(s, STATE_DONE);
	return RECORD_ROW;
}

/* Reads the next record into fields; returns an enum record or -errno. */
static int record_read(struct lineup_subjects *s)
{
	struct lineup_source *source = &s->source;
	bool blank = true;
	int err;

	s->record_line = s->line;
	s->length = 0;
	s->field[0] = 0;
	s->fields = 1;
	s->state = STATE_START;
	for (uint32_t bytes = 0; s->state != STATE_DONE; bytes++) {
		char c;

		err = lineup_source_peek(source, 1);
		if (err)
			return err;
		if (!source->size)
			return record_finish(s, bytes);
		if (bytes == RECORD_BYTES_MAX)
			return fail(s, s->record_line,
				    s->state == STATE_QUOTED ? "is longer than 65536 bytes: is a quote not closed?"
							     : "is longer than 65536 bytes");
		c = (char)*source->data;
		lineup_source_skip(source, 1);
		if (!c)
			return fail(s, s->line, "holds a NUL byte");
		err = byte_take(s, c);
		if (err)
			return err;
		s->line += c == '\n';
		blank &= c == '\n' || c == '\r';
	}
	return blank ? RECORD_BLANK : RECORD_ROW;
}

_Static_assert(RECORD_BYTES_MAX == 65536, "the messages above say 65536");

/* ---- rows ------------------------------------------------------------------------------------------------------- */

/* Whether @name is a known column's but for blanks and case: it would be passed over in silence, with all it says. */
static bool nearly(const char *name, const char *known)
{
	size_t length = strlen(known);

	name += strspn(name, " \t");
	return !strncasecmp(name, known, length) && !name[length + strspn(name + length, " \t")];
}

static int header_check(struct lineup_subjects *s)
{
	char shown[LINEUP_SOURCE_SHOW_BYTES];

	for (uint32_t i = 0; i < s->fields; i++) {
		const char *name = s->text + s->field[i];

		lineup_source_show(name, strlen(name), shown);
		for (uint32_t j = 0; *name && j < i; j++)
			if (!strcmp(name, s->text + s->field[j]))
				return lineup_fail(s->source.ctx, -EINVAL,
						   "%s: line %" PRIu64 ": has the column '%s' twice", s->source.name,
						   s->record_line, shown);
		for (int column = 0; column < COLUMN_COUNT; column++) {
			if (!strcmp(name, column_names[column]))
				s->column[column] = i;
			else if (nearly(name, column_names[column]))
				return lineup_fail(s->source.ctx, -EINVAL,
						   "%s: line %" PRIu64 ": the column '%s' must be written '%s'",
						   s->source.name, s->record_line, shown, column_names[column]);
		}
	}
	if (s->column[COLUMN_SUBJECT] == COLUMNS_MAX)
		return fail(s, s->record_line, "is no header with a column 'subject'");
	s->columns = s->fields;
	return 0;
}

static int header_read(struct lineup_subjects *s)
{
	static const uint8_t mark[] = { 0xef, 0xbb, 0xbf }; /* the byte order mark some editors put before UTF-8 */
	int record;
	int err;

	err = lineup_source_peek(&s->source, sizeof(mark));
	if (err)
		return err;
	if (s->source.size >= sizeof(mark) && !memcmp(s->source.data, mark, sizeof(mark)))
		lineup_source_skip(&s->source, sizeof(mark));
	for (int i = 0; i < COLUMN_COUNT; i++)
		s->column[i] = COLUMNS_MAX;
	s->line = 1;
	record = record_read(s);
	if (record < 0)
		return record;
	if (record == RECORD_END)
		return fail(s, 1, "is missing: the file is empty, and needs a header with a column 'subject'");
	return header_check(s);
}

static const char *field_of(const struct lineup_subjects *s, enum column column)
{
	return s->column[column] == COLUMNS_MAX ? "" : s->text + s->field[s->column[column]];
}

static int lists_parse(struct lineup_subjects *s, struct lineup_subject *subject)
{
	const char *name = field_of(s, COLUMN_LISTS);
	char shown[LINEUP_SOURCE_SHOW_BYTES];
	size_t size;

	if (!*name)
		return 0;
	for (;; name += size + 1) {
		size = strcspn(name, ";,");
		if (!list_fits(name, size))
			return lineup_fail(s->source.ctx, -EINVAL,
					   "%s: line %" PRIu64 ": list '%s' is not 1 to %d of [A-Za-z0-9_.-]",
					   s->source.name, s->record_line, lineup_source_show(name, size, shown),
					   LINEUP_LIST_NAME_BYTES_MAX);
		if (subject->lists == LINEUP_LISTS_MAX)
			return lineup_fail(s->source.ctx, -EINVAL, "%s: line %" PRIu64 ": names more than %d lists",
					   s->source.name, s->record_line, LINEUP_LISTS_MAX);
		memcpy(subject->list[subject->lists++], name, size);
		if (!name[size])
			return 0;
	}
}

static int row_parse(struct lineup_subjects *s, struct lineup_subject *subject)
{
	const char *name = field_of(s, COLUMN_SUBJECT), *expires = field_of(s, COLUMN_EXPIRES), *reason;
	char shown[LINEUP_SOURCE_SHOW_BYTES];

	if (s->fields != s->columns)
		return lineup_fail(s->source.ctx, -EINVAL, "%s: line %" PRIu64 ": has %u fields, the header has %u",
				   s->source.name, s->record_line, s->fields, s->columns);
	reason = subject_fault(name);
	if (reason)
		return lineup_fail(s->source.ctx, -EINVAL, "%s: line %" PRIu64 ": subject %s", s->source.name,
				   s->record_line, reason);
	memset(subject, 0, sizeof(*subject));
	strcpy(subject->name, name);
	if (lineup_time_parse(expires, s->now, &subject->expires))
		return lineup_fail(
			s->source.ctx, -EINVAL,
			"%s: line %" PRIu64 ": expires '%s' is no time: "
			"YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ, seconds since 1970, +Nd, +Nh, +Nm, +Ns or never",
			s->source.name, s->record_line, lineup_source_show(expires, strlen(expires), shown));
	return lists_parse(s, subject);
}

/* ---- the interface ---------------------------------------------------------------------------------------------- */

static int subjects_open(struct lineup_ctx *ctx, const char *name, bool memory, const void *data, size_t size,
			 struct lineup_subjects **subjects)
{
	struct lineup_subjects *s = lineup_secret_alloc(ctx, sizeof(*s));
	int err;

	if (!s)
		return lineup_fail(ctx, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
	s->now = time(NULL);
	if (memory)
		err = lineup_source_open_memory(ctx, name, data, size, &s->source);
	else
		err = lineup_source_open(ctx, name, &s->source);
	if (!err)
		err = header_read(s);
	if (err) {
		lineup_subjects_close(s);
		return err;
	}
	*subjects = s;
	return 0;
}

int lineup_subjects_open(struct lineup_ctx *ctx, const char *path, struct lineup_subjects **subjects)
{
	return subjects_open(ctx, path, false, NULL, 0, subjects);
}

int lineup_subjects_open_memory(struct lineup_ctx *ctx, const char *name, const void *data, size_t size,
				struct lineup_subjects **subjects)
{
	return subjects_open(ctx, name, true, data, size, subjects);
}

void lineup_subjects_close(struct lineup_subjects *subjects)
{
	if (!subjects)
		return;
	lineup_source_close(&subjects->source);
	lineup_secret_free(subjects, sizeof(*subjects));
}

/* Blank lines are let pass at the end of the file only. */
static int row_find(struct lineup_subjects *s)
{
	uint64_t blank_line = 0;
	int record;

	do {
		record = record_read(s);
		if (record == RECORD_BLANK && !blank_line)
			blank_line = s->record_line;
	} while (record == RECORD_BLANK);
	return record == RECORD_ROW && blank_line ? fail(s, blank_line, "is blank") : record;
}

int lineup_subjects_read(struct lineup_subjects *subjects, struct lineup_subject *subject, bool *more)
{
	struct lineup_subject row;
	int record;

	if (subjects->err)
		return subjects->err;
	record = row_find(subjects);
	if (record == RECORD_ROW)
		subjects->err = row_parse(subjects, &row);
	else if (record < 0)
		subjects->err = record;
	if (subjects->err)
		return subjects->err;
	if (record == RECORD_ROW)
		*subject = row;
	*more = record == RECORD_ROW;
	return 0;
}
