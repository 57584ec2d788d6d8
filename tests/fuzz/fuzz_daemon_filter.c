// SPDX-License-Identifier: MIT
// Any bytes as a FILTER expression, up to a NUL, and as the attributes that it looks at, after it.
#include "fuzz.h"

#include "filter.h"

static struct filter *compile(const char *text, size_t size)
{
	struct filter *filter = NULL;
	char error[256];
	int err = filter_compile(text, size, &filter, error);

	CHECK(err == 0 || err == -EINVAL);
	CHECK(!err == !error[0] && !err == !!filter);
	for (const char *c = error; *c; c++)
		CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
	return filter;
}

/* -1: refused. */
static int ask(const char *before, const uint8_t *text, size_t size, const char *after, const json_t *json)
{
	char *all = malloc(size + strlen(before) + strlen(after) + 1), *end = all;
	struct filter *filter;
	int match = -1;

	CHECK(all);
	end = mempcpy(stpcpy(end, before), text, size);
	end = stpcpy(end, after);
	filter = compile(all, (size_t)(end - all));
	if (filter) {
		match = filter_matches(filter, json);
		CHECK(match == filter_matches(filter, json));
	}
	filter_destroy(filter);
	free(all);
	return match;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, 0, size);
	size_t text_size = nul ? (size_t)(nul - data) : size, json_size = nul ? size - text_size - 1 : 0;
	json_t *json = nul ? json_loadb((const char *)nul + 1, json_size,
					JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL)
			   : NULL;
	int plain = ask("", data, text_size, "", json), not, twice;

	/*
	 * Negated it says the opposite, unless a field is missing; twice negated the same. Longer by a few bytes it may pass a
	 * limit.
	 */
	not = ask("not (", data, text_size, ")", json);
	twice = ask("!!(", data, text_size, " )", json);
	if (plain >= 0) {
		CHECK(twice < 0 || twice == plain);
		CHECK(!(plain && not > 0));
		CHECK(plain != not || !json || memchr(data, '.', text_size));
		CHECK(ask("1 or (", data, text_size, ")", json) == ask("(", data, text_size, ") or 1", json));
		CHECK(!plain || json);
	}
	json_decref(json);
	return 0;
}
