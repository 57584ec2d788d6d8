// SPDX-License-Identifier: MIT
// Any bytes as a subjects file, and as a time.
#include "fuzz.h"

static void row_check(const struct lineup_subject *subject)
{
	CHECK(strnlen(subject->name, sizeof(subject->name)) < sizeof(subject->name));
	CHECK(!lineup_subject_check(subject->name));
	CHECK(subject->expires >= 0);
	CHECK(subject->lists <= LINEUP_LISTS_MAX);
	for (uint32_t i = 0; i < subject->lists; i++)
		CHECK(!lineup_list_check(subject->list[i]));
}

static void file_read(const uint8_t *data, size_t size)
{
	struct lineup_ctx *ctx = fuzz_begin("f.csv: ");
	struct lineup_subjects *s = NULL;
	struct lineup_subject subject;
	size_t rows = 0, lines = 1;
	bool more = true;
	int err;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	err = lineup_subjects_open_memory(ctx, "f.csv", data, size, &s);
	if (err) {
		CHECK(err == -EINVAL && !s && fuzz_errors == 1);
		return;
	}
	while (more) {
		memset(&subject, 0xff, sizeof(subject));
		err = lineup_subjects_read(s, &subject, &more);
		if (err) {
			CHECK(err == -EINVAL && fuzz_errors == 1 && more);
			CHECK(lineup_subjects_read(s, &subject, &more) == -EINVAL && fuzz_errors == 1);
			break;
		}
		CHECK(!fuzz_errors);
		if (more) {
			row_check(&subject);
			rows++;
			CHECK(rows < lines);
		}
	}
	lineup_subjects_close(s);
}

static void time_read(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	int64_t time = -1;

	CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	if (!lineup_time_parse(text, 1700000000, &time))
		CHECK(time >= 0);
	else
		CHECK(time == -1);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t nothing;

	file_read(data, size);
	time_read(size ? data : &nothing, size);
	return 0;
}
