// SPDX-License-Identifier: MIT
// Subjects files and names: what CSV allows is read, and every bad line is refused by file, line and reason.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "internal.h"
#include "said.h"

static struct said said;

#define OPEN(text) open_bytes(text, sizeof(text) - 1)

static struct lineup_subjects *open_bytes(const char *text, size_t size)
{
	struct lineup_subjects *s = NULL;

	assert_int_equal(lineup_subjects_open_memory(said.ctx, "s.csv", text, size, &s), 0);
	return s;
}

/* The next row's subject; NULL at the end. */
static const struct lineup_subject *next(struct lineup_subjects *s)
{
	static struct lineup_subject subject;
	bool more = false;

	memset(&subject, 0xa5, sizeof(subject));
	assert_int_equal(lineup_subjects_read(s, &subject, &more), 0);
	return more ? &subject : NULL;
}

static void reads_names(const char *const *names)
{
	struct lineup_subjects *s = open_bytes(names[0], strlen(names[0]));
	const struct lineup_subject *subject;

	for (names++; *names; names++) {
		subject = next(s);
		assert_non_null(subject);
		assert_string_equal(subject->name, *names);
	}
	assert_null(next(s));
	assert_null(next(s));
	assert_int_equal(said.errors, 0);
	lineup_subjects_close(s);
}

/* The first of the names is the text itself, so that there may be none. */
#define READS_NAMES(...) reads_names((const char *const[]){ __VA_ARGS__, NULL })

/* Opening or reading to the end fails, and says so once with the file's name, the line and @reason. */
static void bytes_refused(const char *text, size_t size, int line, const char *reason)
{
	struct lineup_subject subject;
	struct lineup_subjects *s = NULL;
	bool more = true;
	char place[64];
	int err;

	err = lineup_subjects_open_memory(said.ctx, "s.csv", text, size, &s);
	if (err)
		assert_null(s);
	while (!err && more)
		err = lineup_subjects_read(s, &subject, &more);
	assert_int_equal(err, -EINVAL);
	snprintf(place, sizeof(place), "s.csv: line %d: ", line);
	if (strncmp(said.message, place, strlen(place)))
		fail_msg("\"%s\" is not of line %d", said.message, line);
	if (s) { /* it is final, and said already */
		assert_int_equal(lineup_subjects_read(s, &subject, &more), -EINVAL);
		lineup_subjects_close(s);
	}
	SAID_ONCE(&said, reason);
}

#define REFUSED(text, line, reason) bytes_refused(text, sizeof(text) - 1, line, reason)

/* ---- what is read ----------------------------------------------------------------------------------------------- */

static void the_three_columns_are_read(void **state)
{
	struct lineup_subjects *s = OPEN("subject,lists,expires\nS1,red;blue,2030-01-01\nS2,,\nS3,red,never\n");
	const struct lineup_subject *subject = next(s);

	(void)state;
	assert_string_equal(subject->name, "S1");
	assert_int_equal(subject->lists, 2);
	assert_string_equal(subject->list[0], "red");
	assert_string_equal(subject->list[1], "blue");
	assert_true(subject->expires == 1893456000);
	subject = next(s);
	assert_string_equal(subject->name, "S2");
	assert_int_equal(subject->lists, 0);
	assert_true(subject->expires == 0);
	subject = next(s);
	assert_string_equal(subject->list[0], "red");
	assert_true(subject->expires == 0);
	assert_null(next(s));
	lineup_subjects_close(s);
}

static void columns_come_in_any_order_among_others(void **state)
{
	struct lineup_subjects *s = OPEN("row,expires,image,subject,,lists,\n0,17,\"x\ny\",S1,,a,\n1,,,S2,,,\n");
	const struct lineup_subject *subject = next(s);

	(void)state;
	assert_string_equal(subject->name, "S1");
	assert_string_equal(subject->list[0], "a");
	assert_true(subject->expires == 17);
	assert_string_equal(next(s)->name, "S2");
	assert_null(next(s));
	lineup_subjects_close(s);
}

static void the_header_alone_has_no_rows(void **state)
{
	(void)state;
	READS_NAMES("subject");
	READS_NAMES("subject\n");
	READS_NAMES("subject\r\n\r\n\n");
}

static void line_ends_and_a_missing_last_one_are_read(void **state)
{
	(void)state;
	READS_NAMES("subject\na\nb\n", "a", "b");
	READS_NAMES("subject\r\na\r\nb\r\n", "a", "b");
	READS_NAMES("subject\na\r\nb", "a", "b");
	READS_NAMES("x,subject\n,a\n\"\",\"b\"", "a", "b");
}

static void blank_lines_at_the_end_are_passed_over(void **state)
{
	(void)state;
	READS_NAMES("subject\na\n\n", "a");
	READS_NAMES("subject\na\r\n\r\n\r\n", "a");
}

static void a_byte_order_mark_is_passed_over(void **state)
{
	(void)state;
	READS_NAMES("\xef\xbb\xbfsubject\na\n", "a");
	READS_NAMES("\xef\xbb\xbf\"subject\"\na\n", "a");
}

static void quotes_are_undone(void **state)
{
	(void)state;
	READS_NAMES("\"subject\"\n\"a\"\n\"a,b\"\n\"a \"\"b\"\"\"\n\"\"\"\"\n", "a", "a,b", "a \"b\"", "\"");
}

static void quoted_lists_may_be_separated_by_commas(void **state)
{
	struct lineup_subjects *s = OPEN("subject,lists\nS1,\"a,b;c\"\n");
	const struct lineup_subject *subject = next(s);

	(void)state;
	assert_int_equal(subject->lists, 3);
	assert_string_equal(subject->list[0], "a");
	assert_string_equal(subject->list[1], "b");
	assert_string_equal(subject->list[2], "c");
	lineup_subjects_close(s);
}

static void spans_count_from_the_opening(void **state)
{
	int64_t before = time(NULL), after;
	struct lineup_subjects *s = OPEN("subject,expires\nS1,+2d\nS2,+0s\n");
	int64_t first = next(s)->expires - 2 * 86400, second = next(s)->expires;

	(void)state;
	after = time(NULL);
	assert_true(before <= first && first <= after);
	assert_true(first == second);
	lineup_subjects_close(s);
}

/* "a;a;...": @count names. */
static const char *lists_row(int count)
{
	static char text[256];
	size_t at = (size_t)snprintf(text, sizeof(text), "subject,lists\nS1,");

	for (int i = 0; i < count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%sa", i ? ";" : "");
	return text;
}

static void sixty_four_lists_are_read_and_no_more(void **state)
{
	const char *text = lists_row(64);
	struct lineup_subjects *s = open_bytes(text, strlen(text));

	(void)state;
	assert_int_equal(next(s)->lists, 64);
	lineup_subjects_close(s);
	text = lists_row(65);
	bytes_refused(text, strlen(text), 2, "more than 64 lists");
}

static void a_failed_read_leaves_the_results(void **state)
{
	struct lineup_subjects *s = OPEN("subject,lists\nS1,b@d\n");
	struct lineup_subject subject = { .name = "kept", .lists = 9 };
	bool more = false;

	(void)state;
	assert_int_equal(lineup_subjects_read(s, &subject, &more), -EINVAL);
	assert_string_equal(subject.name, "kept");
	assert_int_equal(subject.lists, 9);
	assert_false(more);
	SAID_ONCE(&said, "line 2");
	lineup_subjects_close(s);
}

/* ---- what is refused -------------------------------------------------------------------------------------------- */

static void a_header_is_needed(void **state)
{
	(void)state;
	REFUSED("", 1, "the file is empty");
	REFUSED("\xef\xbb\xbf", 1, "the file is empty");
	REFUSED("\nsubject\n", 1, "no header");
	REFUSED("S1\nS2\n", 1, "no header with a column 'subject'");
	REFUSED("name,lists\nS1,a\n", 1, "no header with a column 'subject'");
}

static void columns_that_come_twice_are_refused(void **state)
{
	(void)state;
	REFUSED("subject,lists,subject\n", 1, "'subject' twice");
	REFUSED("subject,lists,lists\n", 1, "'lists' twice");
	REFUSED("a,subject,a\n", 1, "'a' twice");
}

static void columns_almost_of_a_known_name_are_refused(void **state)
{
	(void)state;
	REFUSED("Subject\nS1\n", 1, "must be written 'subject'");
	REFUSED("subject, lists\nS1,a\n", 1, "must be written 'lists'");
	REFUSED("subject,EXPIRES\t\nS1,1\n", 1, "must be written 'expires'");
}

static void a_wrong_number_of_fields_is_refused(void **state)
{
	(void)state;
	REFUSED("subject,lists\nS1,a\nS2\n", 3, "has 1 fields, the header has 2");
	REFUSED("subject,lists\nS1,a,b\n", 2, "has 3 fields, the header has 2");
	REFUSED("subject\nS1,\n", 2, "has 2 fields, the header has 1");
}

static void blank_lines_in_the_middle_are_refused(void **state)
{
	(void)state;
	REFUSED("subject\nS1\n\n\nS2\n", 3, "is blank");
	REFUSED("subject\n\r\nS2\n", 2, "is blank");
}

static void bad_quotes_are_refused(void **state)
{
	(void)state;
	REFUSED("subject\nS1\n\"S2\n", 3, "not closed");
	REFUSED("subject\n\"", 2, "not closed");
	REFUSED("subject\nS\"1\"\n", 2, "a quote inside a field");
	REFUSED("subject\n \"S1\"\n", 2, "a quote inside a field");
	REFUSED("subject\n\"S1\"x\n", 2, "text after a closing quote");
	REFUSED("subject\n\"a\nb\n\"x\n", 4, "text after a closing quote");
}

static void stray_carriage_returns_are_refused(void **state)
{
	(void)state;
	REFUSED("subject\nS1\rS2\n", 2, "carriage return");
	REFUSED("subject\nS1\r", 2, "carriage return");
	REFUSED("subject\rS1\r", 1, "carriage return");
}

static void nul_bytes_are_refused(void **state)
{
	(void)state;
	REFUSED("subject\nS1\nS\0\n", 3, "NUL");
	REFUSED("subject,x\nS1,\"\0\"\n", 2, "NUL");
	REFUSED("s\0u\0b\0", 1, "NUL");
}

static void lines_of_more_than_64_kib_are_refused(void **state)
{
	enum { LIMIT = 65536 };
	char *text = malloc(LIMIT + 64);
	size_t at = (size_t)sprintf(text, "x,subject\n");
	struct lineup_subjects *s;

	(void)state;
	memset(text + at, 'x', LIMIT);
	memcpy(text + at + LIMIT - 4, ",S1\n", 5);
	s = open_bytes(text, at + LIMIT);
	assert_string_equal(next(s)->name, "S1");
	lineup_subjects_close(s);
	memcpy(text + at + LIMIT - 4, "x,S1\n", 6);
	bytes_refused(text, at + LIMIT + 1, 2, "longer than 65536 bytes");
	text[at] = '"';
	bytes_refused(text, at + LIMIT + 1, 2, "is a quote not closed?");
	free(text);
}

static void more_than_256_columns_are_refused(void **state)
{
	char text[600];
	size_t at = (size_t)sprintf(text, "subject");
	struct lineup_subjects *s;

	(void)state;
	memset(text + at, ',', 256);
	s = open_bytes(text, at + 255);
	assert_null(next(s));
	lineup_subjects_close(s);
	bytes_refused(text, at + 256, 1, "more than 256 fields");
}

static void subjects_that_are_no_ids_are_refused(void **state)
{
	char text[128];

	(void)state;
	REFUSED("subject,lists\n,a\n", 2, "subject is empty");
	REFUSED("subject\n\"\"\n", 2, "subject is empty");
	REFUSED("subject\nS1\n\"S\n2\"\n", 3, "control character");
	REFUSED("subject\nS\t1\n", 2, "control character");
	REFUSED("subject\nS\xff\n", 2, "not UTF-8");
	sprintf(text, "subject\n%064d\n", 0);
	assert_string_equal(text + 71, "0\n");
	READS_NAMES(text, "0000000000000000000000000000000000000000000000000000000000000000");
	sprintf(text, "subject\n%065d\n", 0);
	bytes_refused(text, strlen(text), 2, "longer than 64 bytes");
}

static void lists_that_are_no_names_are_refused(void **state)
{
	(void)state;
	REFUSED("subject,lists\nS1,a b\n", 2, "list 'a b'");
	REFUSED("subject,lists\nS1,a;;b\n", 2, "list ''");
	REFUSED("subject,lists\nS1,a;\n", 2, "list ''");
	REFUSED("subject,lists\nS1,;\n", 2, "list ''");
	REFUSED("subject,lists\nS1,a; b\n", 2, "list ' b'");
	REFUSED("subject,lists\nS1,\xc3\xa4\n", 2,
		"list '?"
		"?'");
	REFUSED("subject,lists\nS1,123456789012345678901234567890123\n", 2,
		"list '123456789012345678901234567890123'");
	READS_NAMES("subject,lists\nS1,12345678901234567890123456789012\n", "S1");
}

static void expiries_that_are_no_times_are_refused(void **state)
{
	(void)state;
	REFUSED("subject,expires\nS1,2023-02-30\n", 2, "expires '2023-02-30'");
	REFUSED("subject,expires\nS1,1\nS1,-1\n", 3, "expires '-1'");
	REFUSED("subject,expires\nS1,soon\n", 2, "expires 'soon'");
	REFUSED("subject,expires\nS1, 1\n", 2, "expires ' 1'");
}

static void lines_are_counted_through_quoted_line_ends(void **state)
{
	(void)state;
	REFUSED("x,subject\n\"1\n2\n3\",S1\n,\n", 5, "subject is empty");
}

static void paths_that_are_no_files_are_refused(void **state)
{
	struct lineup_subjects *s = NULL;

	(void)state;
	assert_int_equal(lineup_subjects_open(said.ctx, "/nonexistent/s.csv", &s), -ENOENT);
	SAID_ONCE(&said, "/nonexistent/s.csv", strerror(ENOENT));
	assert_int_equal(lineup_subjects_open(said.ctx, "/tmp", &s), -EISDIR);
	SAID_ONCE(&said, "/tmp: is a directory");
	assert_null(s);
}

static void files_and_standard_input_are_read(void **state)
{
	const char *folder = getenv("TMPDIR");
	int fd, kept = dup(STDIN_FILENO);
	struct lineup_subjects *s;
	char line[32], path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/lineup-subjects-XXXXXX", folder ? folder : "/tmp");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "subject\n", 8), 8);
	for (int i = 0; i < 200000; i++) { /* more than any buffer holds */
		int size = sprintf(line, "S%d\n", i);

		assert_int_equal(write(fd, line, (size_t)size), size);
	}
	for (int standard = 0; standard < 2; standard++) {
		if (standard) {
			assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
			dup2(fd, STDIN_FILENO);
		}
		assert_int_equal(lineup_subjects_open(said.ctx, standard ? "-" : path, &s), 0);
		for (int i = 0; i < 200000; i++) {
			sprintf(line, "S%d", i);
			assert_string_equal(next(s)->name, line);
		}
		assert_null(next(s));
		lineup_subjects_close(s);
	}
	if (kept >= 0) {
		dup2(kept, STDIN_FILENO);
		close(kept);
	}
	close(fd);
	unlink(path);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* Writes @code as UTF-8 of @length bytes, whether that is its shortest form or not. */
static void encode(uint32_t code, int length, char *out)
{
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	out[length] = '\0';
	if (length == 1) {
		out[0] = (char)code;
		return;
	}
	for (int i = length - 1; i; i--, code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)(lead[length] | code);
}

static void every_character_but_controls_and_surrogates_may_be_a_subject(void **state)
{
	char name[8];

	(void)state;
	for (uint32_t code = 1; code < 0x200000; code++) {
		int length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
		bool good = code >= 0x20 && !(code >= 0x7f && code <= 0x9f) && !(code >= 0xd800 && code <= 0xdfff) &&
			    code <= 0x10ffff;

		encode(code, length, name);
		assert_int_equal(lineup_subject_check(name), good ? 0 : -EINVAL);
	}
}

static void overlong_characters_are_no_utf8(void **state)
{
	char name[8];

	(void)state;
	for (int length = 2; length <= 4; length++) {
		uint32_t end = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;

		for (uint32_t code = 0; code < end; code++) {
			encode(code, length, name);
			assert_int_equal(lineup_subject_check(name), -EINVAL);
		}
	}
}

static void broken_characters_are_no_utf8(void **state)
{
	static const char *const names[] = {
		"\x80",		"a\xbf",	 "\xc3",
		"\xc3(",	"\xe2\x82",	 "\xe2(\xa1",
		"\xf0\x90\x8c", "\xf0\x90\x8c(", "\xf8\x88\x80\x80\x80",
		"\xfe",		"\xff",		 "\xc3\xc3\xa4",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(lineup_subject_check(names[i]), -EINVAL);
}

static void subjects_have_1_to_64_bytes(void **state)
{
	char name[80];

	(void)state;
	for (size_t size = 0; size < sizeof(name); size++) {
		memset(name, 'a', size);
		name[size] = '\0';
		assert_int_equal(lineup_subject_check(name), size >= 1 && size <= 64 ? 0 : -EINVAL);
	}
	memset(name, 'a', 64);
	memcpy(name + 63, "\xc3\xa4", 3); /* 64 characters, 65 bytes */
	assert_int_equal(lineup_subject_check(name), -EINVAL);
}

static void lists_have_1_to_32_of_their_characters(void **state)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	char name[80];

	(void)state;
	for (size_t size = 0; size < sizeof(name); size++) {
		memset(name, 'a', size);
		name[size] = '\0';
		assert_int_equal(lineup_list_check(name), size >= 1 && size <= 32 ? 0 : -EINVAL);
	}
	for (int c = 1; c < 256; c++) {
		sprintf(name, "a%c", c);
		assert_int_equal(lineup_list_check(name), strchr(allowed, c) ? 0 : -EINVAL);
	}
}

static void closing_nothing_is_allowed(void **state)
{
	(void)state;
	lineup_subjects_close(NULL);
}

static int set_up(void **state)
{
	(void)state;
	said_init(&said);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	said_fini(&said);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_three_columns_are_read),
		cmocka_unit_test(columns_come_in_any_order_among_others),
		cmocka_unit_test(the_header_alone_has_no_rows),
		cmocka_unit_test(line_ends_and_a_missing_last_one_are_read),
		cmocka_unit_test(blank_lines_at_the_end_are_passed_over),
		cmocka_unit_test(a_byte_order_mark_is_passed_over),
		cmocka_unit_test(quotes_are_undone),
		cmocka_unit_test(quoted_lists_may_be_separated_by_commas),
		cmocka_unit_test(spans_count_from_the_opening),
		cmocka_unit_test(sixty_four_lists_are_read_and_no_more),
		cmocka_unit_test(a_failed_read_leaves_the_results),
		cmocka_unit_test(a_header_is_needed),
		cmocka_unit_test(columns_that_come_twice_are_refused),
		cmocka_unit_test(columns_almost_of_a_known_name_are_refused),
		cmocka_unit_test(a_wrong_number_of_fields_is_refused),
		cmocka_unit_test(blank_lines_in_the_middle_are_refused),
		cmocka_unit_test(bad_quotes_are_refused),
		cmocka_unit_test(stray_carriage_returns_are_refused),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(lines_of_more_than_64_kib_are_refused),
		cmocka_unit_test(more_than_256_columns_are_refused),
		cmocka_unit_test(subjects_that_are_no_ids_are_refused),
		cmocka_unit_test(lists_that_are_no_names_are_refused),
		cmocka_unit_test(expiries_that_are_no_times_are_refused),
		cmocka_unit_test(lines_are_counted_through_quoted_line_ends),
		cmocka_unit_test(paths_that_are_no_files_are_refused),
		cmocka_unit_test(files_and_standard_input_are_read),
		cmocka_unit_test(every_character_but_controls_and_surrogates_may_be_a_subject),
		cmocka_unit_test(overlong_characters_are_no_utf8),
		cmocka_unit_test(broken_characters_are_no_utf8),
		cmocka_unit_test(subjects_have_1_to_64_bytes),
		cmocka_unit_test(lists_have_1_to_32_of_their_characters),
		cmocka_unit_test(closing_nothing_is_allowed),
	};

	return cmocka_run_group_tests_name("subjects", tests, set_up, tear_down);
}
