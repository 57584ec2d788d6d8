// SPDX-License-Identifier: MIT
// .npy files: what NumPy writes reads as written; a header or a row that is wrong is refused, by file, row and
// reason.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blob.h"

/* The files in the repository, found from this one's name. */
static const char *data_path(const char *name)
{
	static char path[512];
	const char *slash = strrchr(__FILE__, '/');

	snprintf(path, sizeof(path), "%.*s/../data/%s", (int)(slash - __FILE__), __FILE__, name);
	return path;
}

static void numpy_file_reads(const char *name, enum lineup_dtype dtype, uint64_t batch)
{
	struct lineup_vectors *v;
	uint64_t rows = 0, count = 1;
	union {
		double wide[16];
		float narrow[16];
	} data;

	assert_int_equal(lineup_vectors_open(said.ctx, data_path(name), &v), 0);
	assert_int_equal(lineup_vectors_dim(v), 4);
	assert_int_equal(lineup_vectors_rows(v), 3);
	assert_int_equal(lineup_vectors_dtype(v), dtype);
	for (; count; rows += count) {
		assert_int_equal(lineup_vectors_read(v, &data, batch, &count), 0);
		for (uint64_t i = 0; i < 4 * count; i++) {
			double expected = ((double)(4 * rows + i) - 5) / 4;

			assert_true((dtype == LINEUP_FLOAT64 ? data.wide[i] : (double)data.narrow[i]) == expected);
		}
	}
	assert_int_equal(rows, 3);
	lineup_vectors_close(v);
}

static void files_of_numpy_read_as_numpy_wrote_them(void **state)
{
	static const char *const narrow[] = { "float16_little.npy", "float16_big.npy", "float32_little.npy",
					      "float32_big.npy",    "version_2.npy",   "version_3.npy" };

	(void)state;
	for (uint64_t batch = 1; batch < 5; batch++) {
		for (size_t i = 0; i < ARRAY_SIZE(narrow); i++)
			numpy_file_reads(narrow[i], LINEUP_FLOAT32, batch);
		numpy_file_reads("float64_little.npy", LINEUP_FLOAT64, batch);
		numpy_file_reads("float64_big.npy", LINEUP_FLOAT64, batch);
	}
}

static void numpy_file_refused(const char *name, const char *reason)
{
	struct lineup_vectors *v = NULL;

	assert_int_equal(lineup_vectors_open(said.ctx, data_path(name), &v), -EINVAL);
	assert_null(v);
	SAID_ONCE(&said, name, reason);
}

static void fortran_order_is_refused(void **state)
{
	(void)state;
	numpy_file_refused("fortran.npy", "Fortran order");
}

static void arrays_that_are_not_2d_are_refused(void **state)
{
	(void)state;
	numpy_file_refused("one_dimension.npy", "1 dimension");
	numpy_file_refused("three_dimensions.npy", "3 dimensions");
	npy_begin("<f4", "()");
	BLOB_REFUSED("a.npy", "0 dimensions");
	npy_begin("<f4", "(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)");
	BLOB_REFUSED("a.npy", "10 dimensions");
}

static void dtypes_that_are_no_floats_are_refused_by_name(void **state)
{
	static const char *const descr[] = { "<i4", "=f4", "|f4", "f4", "<f16", "|b1",	"<c8",
					     "|u1", "<U3", "|O",  "",	"<f",	"<f44", ">F4" };
	char quoted[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(descr); i++) {
		npy_begin(descr[i], "(1, 1)");
		put_float(1);
		snprintf(quoted, sizeof(quoted), "dtype '%s'", descr[i]);
		BLOB_REFUSED("a.npy", quoted);
	}
	numpy_file_refused("int32.npy", "dtype '<i4'");
	numpy_file_refused("structured.npy", "dtype is a structure");
}

static void a_file_without_rows_ends_at_once(void **state)
{
	struct lineup_vectors *v;
	uint64_t rows = 7;

	(void)state;
	assert_int_equal(lineup_vectors_open(said.ctx, data_path("no_rows.npy"), &v), 0);
	assert_int_equal(lineup_vectors_dim(v), 4);
	assert_int_equal(lineup_vectors_rows(v), 0);
	assert_int_equal(lineup_vectors_read(v, NULL, 5, &rows), 0);
	assert_int_equal(rows, 0);
	lineup_vectors_close(v);
}

static void headers_may_differ_in_order_and_blanks(void **state)
{
	static const char *const dicts[] = {
		"{'descr':'<f4','fortran_order':False,'shape':(2,1)}",
		"{'shape': (2, 1), 'fortran_order': False, 'descr': '<f4'}\n",
		" { \"descr\" : \"<f4\" , \"shape\" : ( 2 , 1 , ) , 'fortran_order' : False , } \t\r\n",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(dicts); i++) {
		for (int major = 1; major <= 3; major++) {
			npy_begin_with(major, dicts[i], 0);
			put_float(1);
			put_float(2);
			opens_and_ends("a.npy", 2);
		}
	}
}

static void headers_that_are_no_such_dict_are_refused(void **state)
{
	static const struct {
		const char *dict, *reason;
	} cases[] = {
		{ "", "is not a dict" },
		{ "('descr', '<f4')", "is not a dict" },
		{ "{}", "lacks one of" },
		{ "{'descr': '<f4', 'shape': (1, 1)}", "lacks one of" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), 'more': 1}", "a key other than" },
		{ "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}", "a key twice" },
		{ "{'descr': '<f4' 'fortran_order': False, 'shape': (1, 1)}", "no comma" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)", "no comma" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1),", "a key is not a string" },
		{ "{, 'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}", "a key is not a string" },
		{ "{'descr' '<f4', 'fortran_order': False, 'shape': (1, 1)}", "a key without a value" },
		{ "{descr: '<f4', 'fortran_order': False, 'shape': (1, 1)}", "a key is not a string" },
		{ "{'descr': '<f4, 'fortran_order': False, 'shape': (1, 1)}", "no comma" },
		{ "{'descr': '<f\\x34', 'fortran_order': False, 'shape': (1, 1)}", "descr is not a string" },
		{ "{'descr': <f4, 'fortran_order': False, 'shape': (1, 1)}", "descr is not a string" },
		{ "{'descr': '<f4', 'fortran_order': 0, 'shape': (1, 1)}", "neither True nor False" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': [1, 1]}", "not a tuple" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", "not a tuple" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1,,1)}", "not a tuple" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", "not a tuple" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1.0)}", "not a tuple" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1, +1)}", "not a tuple" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)} 1", "text after" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		npy_begin_with(1, cases[i].dict, 0);
		put_float(1);
		BLOB_REFUSED("a.npy", ".npy header", cases[i].reason);
	}
}

static void shapes_that_cannot_be_are_refused(void **state)
{
	static const struct {
		const char *shape, *reason;
	} cases[] = {
		{ "(-1, 4)", "negative" },
		{ "(4, -1)", "negative" },
		{ "(18446744073709551616, 4)", "overflows" },
		{ "(184467440737095516150, 4)", "overflows" },
		{ "(18446744073709551615, 4)", "overflows" },
		{ "(4611686018427387905, 4)", "overflows" },
		{ "(576460752303423488, 4)", "overflows" }, /* 2^63 bytes */
		{ "(576460752303423487, 4)", "truncated" }, /* one row less */
		{ "(3, 0)", "not in 1 to 4096" },
		{ "(0, 0)", "not in 1 to 4096" },
		{ "(0, 4097)", "not in 1 to 4096" },
		{ "(1, 4294967297)", "not in 1 to 4096" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		npy_begin("<f4", cases[i].shape);
		BLOB_REFUSED("a.npy", cases[i].reason);
	}
}

static void the_largest_dimension_is_read(void **state)
{
	(void)state;
	npy_begin("<f4", "(2, 4096)");
	for (int i = 0; i < 2 * 4096; i++)
		put_float(1);
	opens_and_ends("a.npy", 2);
	npy_begin("<f8", "(1, 4096)");
	for (int i = 0; i < 4096; i++)
		put(&(double){ 1 }, 8);
	opens_and_ends("a.npy", 1);
}

static void a_npy_file_cut_anywhere_is_refused(void **state)
{
	size_t whole;

	(void)state;
	npy_begin("<f4", "(2, 3)");
	for (int i = 0; i < 6; i++)
		put_float(1);
	whole = blob.size;
	opens_and_ends("a.npy", 2);
	for (blob.size = 0; blob.size < whole; blob.size++) {
		const char *reason = blob.size < 6 ? "does not begin with" : "truncated";
		const char *row = blob.size < whole - 24 ? "" : blob.size < whole - 12 ? "row 0" : "row 1";

		BLOB_REFUSED("a.npy", reason, row);
	}
}

static void a_npy_file_that_is_too_long_is_refused(void **state)
{
	(void)state;
	npy_begin("<f4", "(2, 1)");
	for (int i = 0; i < 2; i++)
		put_float(1);
	put("", 1);
	BLOB_REFUSED("a.npy", "row 2", "needs 8 bytes, the file has 9");
	npy_begin("<f4", "(0, 1)");
	put("", 1);
	BLOB_REFUSED("a.npy", "row 0", "needs 0 bytes, the file has 1");
}

static void other_versions_of_npy_are_refused(void **state)
{
	static const uint8_t versions[][2] = { { 0, 0 }, { 1, 1 }, { 3, 1 }, { 4, 0 }, { 255, 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		npy_begin("<f4", "(1, 1)");
		put_float(1);
		memcpy(blob.data + 6, versions[i], 2);
		BLOB_REFUSED("a.npy", "version");
	}
}

static void header_lengths_are_bounded(void **state)
{
	static char dict[65537 + 1];

	(void)state;
	memset(dict, ' ', sizeof(dict) - 1);
	memcpy(dict, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}", 57);
	npy_begin_with(2, dict, 0);
	put_float(1);
	BLOB_REFUSED("a.npy", "65537 bytes, is over the limit of 65536");
	dict[65536] = '\0';
	npy_begin_with(2, dict, 0);
	put_float(1);
	opens_and_ends("a.npy", 1);
	npy_begin_with(2, dict, UINT32_MAX);
	BLOB_REFUSED("a.npy", "over the limit");
	npy_begin_with(1, "{}", 65535);
	BLOB_REFUSED("a.npy", "truncated: 2 of 65535 bytes");
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

struct special {
	const char *descr;
	size_t bytes;
	uint64_t one, nan, nan_quiet, infinity, minus_infinity, minus_zero;
};

static const struct special specials[] = {
	{ "f2", 2, 0x3c00, 0x7c01, 0xfe00, 0x7c00, 0xfc00, 0x8000 },
	{ "f4", 4, 0x3f800000, 0x7f800001, 0xffc00000, 0x7f800000, 0xff800000, 0x80000000 },
	{ "f8", 8, 0x3ff0000000000000, 0x7ff0000000000001, 0xfff8000000000000, 0x7ff0000000000000, 0xfff0000000000000,
	  0x8000000000000000 },
};

/* Three rows of seven ones, but for component @at of row 2, which is @bits, and with it (@whole_row) the rest of that
 * row. */
static void special_make(const struct special *s, char order, uint64_t bits, int at, bool whole_row)
{
	char descr[8];

	snprintf(descr, sizeof(descr), "%c%s", order, s->descr);
	npy_begin(descr, "(3, 7)");
	for (int i = 0; i < 21; i++) {
		uint64_t value = i == 14 + at || (whole_row && i >= 14) ? bits : s->one;

		if (order == '<')
			put(&value, s->bytes);
		else
			put_reversed(&value, s->bytes);
	}
}

static void rows_with_a_nan_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(specials); i++) {
		for (int at = 0; at < 7; at++) {
			special_make(&specials[i], '<', specials[i].nan, at, false);
			BLOB_REFUSED("a.npy", "row 2: ", "NaN");
			special_make(&specials[i], '>', specials[i].nan_quiet, at, false);
			BLOB_REFUSED("a.npy", "row 2: ", "NaN");
		}
	}
}

static void rows_with_an_infinity_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(specials); i++) {
		for (int at = 0; at < 7; at++) {
			special_make(&specials[i], '<', specials[i].infinity, at, false);
			BLOB_REFUSED("a.npy", "row 2: ", "infinity");
			special_make(&specials[i], '>', specials[i].minus_infinity, at, false);
			BLOB_REFUSED("a.npy", "row 2: ", "infinity");
		}
	}
}

static void rows_of_zeros_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(specials); i++) {
		special_make(&specials[i], '<', 0, 0, true);
		BLOB_REFUSED("a.npy", "row 2: ", "zero");
		special_make(&specials[i], '>', specials[i].minus_zero, 0, true);
		BLOB_REFUSED("a.npy", "row 2: ", "zero");
	}
}

static void single_zeros_and_smallest_values_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(specials); i++) {
		special_make(&specials[i], '<', 0, 3, false);
		opens_and_ends("a.npy", 3);
		special_make(&specials[i], '>', 1, 3, true); /* the smallest subnormal */
		opens_and_ends("a.npy", 3);
		special_make(&specials[i], '<', specials[i].infinity - 1, 3, true); /* the largest finite value */
		opens_and_ends("a.npy", 3);
	}
}

static void float16_widens_exactly(void **state)
{
	static const uint16_t halves[] = { 0x3c00, 0xc100, 0x7bff, 0x0001, 0x03ff, 0x8400 };
	static const float floats[] = { 1, -2.5f, 65504, 0x1p-24f, 0x1.ff8p-15f, -0x1p-14f };
	struct lineup_vectors *v;
	float row[6];
	uint64_t rows;

	(void)state;
	npy_begin("<f2", "(1, 6)");
	put(halves, sizeof(halves));
	v = open_blob("a.npy");
	assert_int_equal(lineup_vectors_read(v, row, 1, &rows), 0);
	assert_memory_equal(row, floats, sizeof(row));
	lineup_vectors_close(v);
}

static void a_failed_read_leaves_the_results_and_is_final(void **state)
{
	struct lineup_vectors *v;
	uint64_t rows = 99;
	float data[8];

	(void)state;
	npy_begin("<f4", "(3, 2)");
	for (int i = 0; i < 6; i++)
		put_float(i == 3 ? NAN : 1);
	v = open_blob("a.npy");
	assert_int_equal(lineup_vectors_read(v, data, 4, &rows), -EINVAL);
	assert_int_equal(rows, 99);
	SAID_ONCE(&said, "a.npy: row 1: ", "NaN");
	assert_int_equal(lineup_vectors_read(v, data, 4, &rows), -EINVAL);
	assert_int_equal(rows, 99);
	assert_int_equal(said.errors, 0);
	lineup_vectors_close(v);
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
		cmocka_unit_test(files_of_numpy_read_as_numpy_wrote_them),
		cmocka_unit_test(fortran_order_is_refused),
		cmocka_unit_test(arrays_that_are_not_2d_are_refused),
		cmocka_unit_test(dtypes_that_are_no_floats_are_refused_by_name),
		cmocka_unit_test(a_file_without_rows_ends_at_once),
		cmocka_unit_test(headers_may_differ_in_order_and_blanks),
		cmocka_unit_test(headers_that_are_no_such_dict_are_refused),
		cmocka_unit_test(shapes_that_cannot_be_are_refused),
		cmocka_unit_test(the_largest_dimension_is_read),
		cmocka_unit_test(a_npy_file_cut_anywhere_is_refused),
		cmocka_unit_test(a_npy_file_that_is_too_long_is_refused),
		cmocka_unit_test(other_versions_of_npy_are_refused),
		cmocka_unit_test(header_lengths_are_bounded),
		cmocka_unit_test(rows_with_a_nan_are_refused),
		cmocka_unit_test(rows_with_an_infinity_are_refused),
		cmocka_unit_test(rows_of_zeros_are_refused),
		cmocka_unit_test(single_zeros_and_smallest_values_are_read),
		cmocka_unit_test(float16_widens_exactly),
		cmocka_unit_test(a_failed_read_leaves_the_results_and_is_final),
	};

	return cmocka_run_group_tests_name("vectors_npy", tests, set_up, tear_down);
}
