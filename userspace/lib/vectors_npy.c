// SPDX-License-Identifier: MIT
// The header of a .npy file: a Python dict of three entries, read as strictly as NumPy writes it.
#include <inttypes.h>
#include <string.h>

#include "vectors.h"

enum {
	MAGIC_BYTES = 6,
	VERSION_BYTES = 2,
	HEADER_BYTES_MAX = 1 << 16, /* of the dict; NumPy writes 118 for a 2-D array */
	SHAPE_MAX = 8,		    /* numbers of a shape that are told apart; a ninth is only counted */
};

struct cursor {
	const uint8_t *at, *end;
};

struct text {
	const uint8_t *at;
	size_t size;
};

struct header {
	bool has_descr, has_order, has_shape;
	struct text descr;
	bool fortran;
	uint32_t dimensions;
	uint64_t shape[SHAPE_MAX];
	const char *fault; /* set with the first one; the rest of the header is not read then */
};

static bool fault(struct header *header, const char *reason)
{
	header->fault = reason;
	return false;
}

static void space_skip(struct cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
		c->at++;
}

/* Takes the character @ch, and blanks before it, if it comes next. */
static bool take(struct cursor *c, char ch)
{
	space_skip(c);
	if (c->at == c->end || *c->at != (uint8_t)ch)
		return false;
	c->at++;
	return true;
}

static bool take_word(struct cursor *c, const char *word)
{
	size_t length = strlen(word);

	space_skip(c);
	if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length))
		return false;
	c->at += length;
	return true;
}

/* A Python string without escapes, in either kind of quotes. */
static bool take_string(struct cursor *c, struct text *text)
{
	uint8_t quote;

	space_skip(c);
	if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
		return false;
	quote = *c->at++;
	text->at = c->at;
	while (c->at < c->end && *c->at != quote && *c->at != '\\')
		c->at++;
	text->size = (size_t)(c->at - text->at);
	if (c->at == c->end || *c->at != quote)
		return false;
	c->at++;
	return true;
}

static bool text_is(struct text text, const char *word)
{
	return text.size == strlen(word) && !memcmp(text.at, word, text.size);
}

static bool shape_number(struct cursor *c, struct header *header)
{
	uint64_t number = 0;

	space_skip(c);
	if (c->at < c->end && *c->at == '-')
		return fault(header, "shape has a negative number");
	if (c->at == c->end || *c->at < '0' || *c->at > '9')
		return fault(header, "shape is not a tuple of numbers");
	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
		if (__builtin_mul_overflow(number, 10u, &number) ||
		    __builtin_add_overflow(number, *c->at - '0', &number))
			return fault(header, "shape overflows: one of its numbers passes 2^64");
	if (c->at < c->end && *c->at == 'L')
		c->at++; /* a long of Python 2 */
	if (header->dimensions < SHAPE_MAX)
		header->shape[header->dimensions] = number;
	header->dimensions++;
	return true;
}

/* "(", numbers with commas between, a comma after the last if it is the only one, allowed otherwise, ")". */
static bool shape_parse(struct cursor *c, struct header *header)
{
	bool comma = false;

	if (!take(c, '('))
		return fault(header, "shape is not a tuple of numbers");
	while (!take(c, ')')) {
		if (header->dimensions && !comma)
			return fault(header, "shape is not a tuple of numbers");
		if (!shape_number(c, header))
			return false;
		comma = take(c, ',');
	}
	if (header->dimensions == 1 && !comma)
		return fault(header, "shape is not a tuple of numbers");
	return true;
}

static bool entry_parse(struct cursor *c, struct header *header)
{
	struct text key;
	bool *has;

	if (!take_string(c, &key))
		return fault(header, "a key is not a string");
	if (text_is(key, "descr"))
		has = &header->has_descr;
	else if (text_is(key, "fortran_order"))
		has = &header->has_order;
	else if (text_is(key, "shape"))
		has = &header->has_shape;
	else
		return fault(header, "has a key other than descr, fortran_order and shape");
	if (*has)
		return fault(header, "has a key twice");
	*has = true;
	if (!take(c, ':'))
		return fault(header, "has a key without a value");
	if (has == &header->has_shape)
		return shape_parse(c, header);
	if (has == &header->has_descr) {
		if (take(c, '['))
			return fault(header, "dtype is a structure, not a float");
		return take_string(c, &header->descr) || fault(header, "descr is not a string");
	}
	header->fortran = take_word(c, "True");
	return header->fortran || take_word(c, "False") || fault(header, "fortran_order is neither True nor False");
}

static void header_parse(const uint8_t *dict, size_t size, struct header *header)
{
	struct cursor c = { dict, dict + size };
	bool comma = true;

	memset(header, 0, sizeof(*header));
	if (!take(&c, '{')) {
		header->fault = "is not a dict";
		return;
	}
	while (!take(&c, '}')) {
		if (!comma) {
			header->fault = "has no comma between two entries, or no end";
			return;
		}
		if (!entry_parse(&c, header))
			return;
		comma = take(&c, ',');
	}
	space_skip(&c);
	if (c.at != c.end)
		header->fault = "has text after the dict";
	else if (!header->has_descr || !header->has_order || !header->has_shape)
		header->fault = "lacks one of descr, fortran_order and shape";
}

/* Reads magic, version and length; @dict is there to be read then, and to be skipped; the rows are at @data_at. */
static int preamble_read(struct lineup_source *source, struct text *dict, uint64_t *data_at)
{
	size_t length_bytes, preamble, length;
	const uint8_t *p;
	int err;

	err = lineup_source_peek(source, MAGIC_BYTES + VERSION_BYTES);
	if (err)
		return err;
	p = source->data;
	if (source->size < MAGIC_BYTES || memcmp(p, "\x93NUMPY", MAGIC_BYTES))
		return lineup_fail(source->ctx, -EINVAL, "%s: is no .npy file: it does not begin with \\x93NUMPY",
				   source->name);
	if (source->size < MAGIC_BYTES + VERSION_BYTES)
		return lineup_fail(source->ctx, -EINVAL, "%s: .npy header: is truncated before its version",
				   source->name);
	if (p[6] < 1 || p[6] > 3 || p[7])
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: .npy header: version %u.%u is not known, only 1.0, 2.0 and 3.0", source->name,
				   p[6], p[7]);
	length_bytes = p[6] == 1 ? 2 : 4;
	preamble = MAGIC_BYTES + VERSION_BYTES + length_bytes;
	err = lineup_source_peek(source, preamble);
	if (err)
		return err;
	if (source->size < preamble)
		return lineup_fail(source->ctx, -EINVAL, "%s: .npy header: is truncated before its length",
				   source->name);
	p = source->data + MAGIC_BYTES + VERSION_BYTES;
	length = (size_t)p[0] | (size_t)p[1] << 8;
	if (length_bytes == 4)
		length |= (size_t)p[2] << 16 | (size_t)p[3] << 24;
	if (length > HEADER_BYTES_MAX)
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: .npy header: its length, %zu bytes, is over the limit of %d", source->name,
				   length, HEADER_BYTES_MAX);
	lineup_source_skip(source, preamble);
	err = lineup_source_peek(source, length);
	if (err)
		return err;
	if (source->size < length)
		return lineup_fail(source->ctx, -EINVAL, "%s: .npy header: is truncated: %zu of %zu bytes",
				   source->name, source->size, length);
	*dict = (struct text){ source->data, length };
	*data_at = preamble + length;
	return 0;
}

static int dtype_read(struct lineup_source *source, struct text descr, struct lineup_vectors_layout *layout,
		      uint32_t *bytes)
{
	static const struct {
		const char *descr;
		enum lineup_vectors_values values;
		uint32_t bytes;
	} known[] = {
		{ "<f4", LINEUP_VALUES_FLOAT32, 4 }, { ">f4", LINEUP_VALUES_FLOAT32_SWAPPED, 4 },
		{ "<f8", LINEUP_VALUES_FLOAT64, 8 }, { ">f8", LINEUP_VALUES_FLOAT64_SWAPPED, 8 },
		{ "<f2", LINEUP_VALUES_FLOAT16, 2 }, { ">f2", LINEUP_VALUES_FLOAT16_SWAPPED, 2 },
	};
	char shown[LINEUP_SOURCE_SHOW_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (text_is(descr, known[i].descr)) {
			layout->values = known[i].values;
			*bytes = known[i].bytes;
			return 0;
		}
	}
	return lineup_fail(source->ctx, -EINVAL, "%s: dtype '%s' is not one of <f2, <f4, <f8, >f2, >f4, >f8",
			   source->name, lineup_source_show(descr.at, descr.size, shown));
}

static int shape_check(struct lineup_source *source, const struct header *header, uint32_t value_bytes,
		       uint64_t *data_bytes)
{
	const uint64_t *shape = header->shape;
	const char *name = source->name;

	if (header->fortran)
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: is in Fortran order: C order is needed (numpy.ascontiguousarray)", name);
	if (header->dimensions != 2)
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: shape has %u dimensions: 2 are needed, rows and components", name,
				   header->dimensions);
	if (__builtin_mul_overflow(shape[0], shape[1], data_bytes) ||
	    __builtin_mul_overflow(*data_bytes, (uint64_t)value_bytes, data_bytes) || *data_bytes > INT64_MAX)
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: shape (%" PRIu64 ", %" PRIu64 ") overflows: more than 2^63 bytes of data",
				   name, shape[0], shape[1]);
	if (!shape[1] || shape[1] > LINEUP_DIM_MAX)
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: shape (%" PRIu64 ", %" PRIu64 "): the dimension is not in 1 to %d", name,
				   shape[0], shape[1], LINEUP_DIM_MAX);
	return 0;
}

/* For what has a size from the beginning; else the end is checked when it comes. */
static int size_check(struct lineup_source *source, const struct header *header, uint32_t value_bytes,
		      uint64_t needed, uint64_t there)
{
	uint64_t rows = header->shape[0], dim = header->shape[1];
	const char *name = source->name;

	if (there < needed)
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: row %" PRIu64 ": is truncated: the shape needs %" PRIu64
				   " bytes, the file has %" PRIu64,
				   name, there / (dim * value_bytes), needed, there);
	if (there > needed)
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: row %" PRIu64 ": is too much: the shape needs %" PRIu64
				   " bytes, the file has %" PRIu64,
				   name, rows, needed, there);
	return 0;
}

int lineup_vectors_npy(struct lineup_source *source, struct lineup_vectors_layout *layout)
{
	uint64_t data_at = 0, needed = 0;
	struct text dict = { 0 };
	struct header header;
	uint32_t value_bytes = 0;
	int err;

	err = preamble_read(source, &dict, &data_at);
	if (err)
		return err;
	header_parse(dict.at, dict.size, &header);
	if (header.fault)
		return lineup_fail(source->ctx, -EINVAL, "%s: .npy header: %s", source->name, header.fault);
	err = dtype_read(source, header.descr, layout, &value_bytes);
	if (!err)
		err = shape_check(source, &header, value_bytes, &needed);
	if (!err && source->bytes != UINT64_MAX)
		err = size_check(source, &header, value_bytes, needed,
				 source->bytes > data_at ? source->bytes - data_at : 0);
	if (err)
		return err;
	layout->rows = header.shape[0];
	layout->dim = (uint32_t)header.shape[1];
	layout->prefix = 0;
	lineup_source_skip(source, dict.size);
	return 0;
}
