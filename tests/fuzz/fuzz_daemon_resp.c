// SPDX-License-Identifier: MIT
// Any bytes as a client's requests: whole and in pieces they mean the same, and a request that is an array has one spelling only.
#include "fuzz.h"
#include "resp.h"

/*
 * What was parsed, as the writer writes it: each request an array of bulk strings, empty ones too; then the error, or how much
 * is left.
 */
static void parse(const uint8_t *data, size_t size, const struct resp_parser *limits, uint32_t seed, struct buffer *out)
{
	struct resp_parser parser = *limits;
	struct buffer input = { 0 };
	size_t bytes;
	int got = 0;

	while (size && got >= 0) {
		size_t n = size;

		if (seed) {
			seed = seed * 1664525 + 1013904223;
			n = 1 + (seed >> 16) % (seed >> 8 & 1 ? 3 : 40);
			if (n > size)
				n = size;
		}
		buffer_append(&input, data, n);
		data += n;
		size -= n;
		while ((got = resp_parse(&parser, input.data, input.size, &bytes)) > 0) {
			size_t begun = out->size;

			CHECK(bytes && bytes <= input.size);
			CHECK(!limits->arguments_max || parser.spans <= limits->arguments_max);
			resp_array(out, parser.spans);
			for (uint64_t i = 0; i < parser.spans; i++) {
				CHECK(parser.span[i].offset <= bytes && parser.span[i].size <= bytes - parser.span[i].offset);
				resp_bulk(out, input.data + parser.span[i].offset, parser.span[i].size);
			}
			if (input.data[0] == '*' && parser.spans)
				CHECK(out->size - begun == bytes && !memcmp(out->data + begun, input.data, bytes));
			resp_next(&parser);
			buffer_consume(&input, bytes);
		}
	}
	CHECK(got >= 0 || got == -EPROTO);
	if (got < 0)
		buffer_printf(out, "%s", parser.error);
	else
		buffer_printf(out, "+%zu", input.size);
	CHECK(!out->failed && !input.failed);
	resp_fini(&parser);
	buffer_fini(&input);
}

/* Pieces of the input as one request, as the writer writes it, come back as they were. */
static void round_trip(const uint8_t *data, size_t size)
{
	struct resp_parser parser = { .request_bytes_max = 1 << 24 };
	struct buffer b = { 0 };
	size_t bytes, at = 0;
	uint64_t count = size / 7 + 1;

	resp_array(&b, count);
	for (uint64_t i = 0; i < count; i++)
		resp_bulk(&b, data + 7 * i, size - 7 * i < 7 ? size - 7 * i : 7);
	CHECK(resp_parse(&parser, b.data, b.size, &bytes) == 1 && bytes == b.size && parser.spans == count);
	for (uint64_t i = 0; i < count; i++) {
		CHECK(!memcmp(b.data + parser.span[i].offset, data + at, parser.span[i].size));
		at += parser.span[i].size;
	}
	CHECK(at == size);
	resp_fini(&parser);
	buffer_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resp_parser limits = { 0 };
	struct buffer whole = { 0 }, pieces = { 0 };

	if (size < 2 || size > 1 << 18)
		return 0;
	limits.arguments_max = data[0] & 1 ? 10 : 0;
	limits.request_bytes_max = data[0] & 2 ? 100 : 1 << 20;
	parse(data + 2, size - 2, &limits, 0, &whole);
	parse(data + 2, size - 2, &limits, 1u + data[1], &pieces);
	CHECK(whole.size == pieces.size && !memcmp(whole.data, pieces.data, whole.size));
	round_trip(data + 2, size - 2);
	buffer_fini(&whole);
	buffer_fini(&pieces);
	return 0;
}
