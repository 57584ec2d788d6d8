// SPDX-License-Identifier: MIT
// FILTER expressions: random ones against a walk over the tree they were printed from, Redis's documented cases, refusals.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filter.h"

static bool matches(const char *expression, const char *attributes)
{
	json_t *json = attributes ? json_loads(attributes, JSON_DECODE_ANY, NULL) : NULL;
	struct filter *filter = NULL;
	char error[256] = "";
	bool match;

	if (filter_compile(expression, strlen(expression), &filter, error))
		fail_msg("'%s' is refused: %s", expression, error);
	assert_string_equal(error, "");
	assert_true(json || !attributes);
	match = filter_matches(filter, json);
	filter_destroy(filter);
	json_decref(json);
	return match;
}

static void refused(const char *expression, const char *why)
{
	struct filter *filter = NULL;
	char error[256] = "";

	if (filter_compile(expression, strlen(expression), &filter, error) != -EINVAL)
		fail_msg("'%s' is not refused", expression);
	assert_null(filter);
	if (!strstr(error, why))
		fail_msg("'%s': \"%s\" does not say \"%s\"", expression, error, why);
}

/* ---- by hand ---- */

static const char ALICE[] = "{\"age\": 25, \"name\": \"Alice\", \"active\": true, \"scores\": [85, 90, 95], \"city\": \"New "
			    "York\", \"none\": null, \"o\": {\"a\": 1}}";
static const char BOB[] =
	"{\"age\": 30, \"name\": \"Bob\", \"active\": false, \"scores\": [], \"city\": \"Boston\", \"n\": \"30\", \"no-w_1\": 7}";

static void fields_compare_as_redis_documents(void **state)
{
	(void)state;
	assert_true(matches(".age == 25", ALICE));
	assert_false(matches(".age == 25", BOB));
	assert_true(matches(".age > 20 and .age < 30", ALICE));
	assert_true(matches("!(.age == 25)", BOB));
	assert_true(matches(".active", ALICE));
	assert_false(matches(".active", BOB));
	assert_true(matches(".age in [25, 35]", ALICE));
	assert_true(matches(".name in [\"Alice\", \"David\",]", ALICE));
	assert_false(matches(".name in []", ALICE));
	assert_true(matches("\"lic\" in .name", ALICE));
	assert_true(matches("\"\" in .name && \"\" in \"\"", ALICE));
	assert_false(matches(".name in \"\"", ALICE));
	assert_true(matches(".age + 10 == 35 && .age * 2 > 49 && .age / 5 == 5 && .age % 2 == 1 && .age ** 2 == 625", ALICE));
	assert_true(matches("(.age > 20 and .age < 40) and (.city == \"Boston\" or .city == \"New York\")", BOB));
	assert_true(matches("90 in .scores", ALICE));
	assert_false(matches("91 in .scores", ALICE));
	assert_true(matches(".scores", BOB)); /* an array is true, an empty one too */
	assert_true(matches(".no-w_1 == 7", BOB));
}

static void an_element_without_a_field_does_not_match(void **state)
{
	(void)state;
	assert_false(matches(".missing == \"value\"", ALICE));
	assert_false(matches("!.missing", ALICE));
	assert_false(matches("1 or .missing", ALICE));
	assert_false(matches(".age == 25 or .missing > 1", ALICE));
	assert_false(matches(".o", ALICE));
	assert_false(matches("1", NULL));
	assert_false(matches(".a", "[1, 2]"));
	assert_true(matches("1", "[1, 2]"));
	assert_false(matches("1 in .a", "{\"a\": [1, {}]}"));
	assert_true(matches("1 in .a", "{\"a\": [[2], 1]}"));
}

static void operators_bind_and_group_as_in_redis(void **state)
{
	(void)state;
	assert_true(matches("2 ** 3 ** 2 == 512", ALICE));
	assert_true(matches("-2 ** 2 == 4", ALICE));
	assert_true(matches("2 ** -1 == 0.5", ALICE));
	assert_true(matches("10 - 3 - 2 == 5", ALICE));
	assert_true(matches("100 / 10 / 5 == 2 && 1 + 2 * 3 == 7", ALICE));
	assert_true(matches("1 or 0 and 0", ALICE));
	assert_true(matches("not 0 + 1 == 2", ALICE)); /* (not 0) + 1 */
	assert_true(matches("2 * !0 ** 2 == 2", ALICE));
	assert_true(matches("!!.active && not not .active && !!.age == 1", ALICE));
	assert_true(matches("!!!.active", BOB));
	assert_true(matches("1 < 2 == 1", ALICE));
	assert_true(matches("5 -3 == 2 and (1) -1 == 0 and .age -5 == 20", ALICE));
	assert_true(matches("1>-1&&2!=-2||0", ALICE));
	assert_true(matches(" \t\r\n.age==25\n", ALICE));
	assert_true(matches("not(0)and(1)or(0)", ALICE));
}

static void kinds_convert_as_in_redis(void **state)
{
	(void)state;
	assert_true(matches(".n == 30", BOB)); /* the string spells it */
	assert_true(matches("\"x\" == 0 and \"\" == 0 and \"1e2\" == 100", BOB));
	assert_true(matches("\"10\" > 9 and \"10\" < \"9\" == 0", BOB)); /* ordered as numbers */
	assert_true(matches(".none == null", ALICE));
	assert_false(matches(".none == 0 or .none == \"\" or .none", ALICE));
	assert_true(matches(".age != null", ALICE));
	assert_true(matches("[1] == 0", ALICE)); /* not a number, so 0 */
	assert_false(matches("1 in \"1\"", ALICE)); /* of strings both must be strings */
	assert_true(matches("\"1\" in [1]", ALICE));
	assert_true(matches("0 / 0", ALICE)); /* NaN is not 0 */
	assert_false(matches("0 / 0 == 0 / 0", ALICE));
	assert_true(matches("1e3 == 1000 and 1.5E-1 == 0.15 and 1e+1 == 10", ALICE));
}

static void strings_take_escapes_and_either_quote(void **state)
{
	static const char odd[] =
		"{\"dq\": \"a\\\"b\", \"sq\": \"O'Brien\", \"bs\": \"x\\\\y\", \"nl\": \"l1\\nl2\", \"u\": \"\\u00e9\"}";

	(void)state;
	assert_true(matches(".dq == \"a\\\"b\" && 'a\"b' == .dq", odd));
	assert_true(matches(".sq == 'O\\'Brien' && .sq == \"O'Brien\"", odd));
	assert_true(matches(".bs == \"x\\\\y\"", odd));
	assert_true(matches(".nl == \"l1\\nl2\"", odd));
	assert_true(matches(".dq in [\"zzz\", \"a\\\"b\"]", odd));
	assert_true(matches(".u == '\303\251'", odd));
	assert_true(matches("'\\r\\t\\q' == '\r\tq'", odd));
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
	(void)state;
	refused("", "byte 0: a value is missing at the end");
	refused("  ", "byte 2:");
	refused(".age >", "byte 6: a value is missing at the end");
	refused(".age == == 1", "byte 8: a value is expected");
	refused(".age 25", "byte 5: an operator is expected");
	refused("(.age", "byte 5: a closing parenthesis is missing");
	refused(".age)", "byte 4: a closing parenthesis without an opening one");
	refused(". == 1", "byte 0: a dot must be followed");
	refused("'abc", "byte 0: the string that begins here does not end");
	refused("'abc\\'", "does not end");
	refused("1.2.3", "byte 0: this is not a number");
	refused("[1, .a]", "byte 4: an array holds");
	refused("[1 2]", "byte 3: a comma or ] is missing");
	refused("[1", "byte 2: a comma or ] is missing");
	refused("[null]", "an array holds");
	refused(".a == true", "true and false are written 1 and 0");
	refused("1 +", "a value is missing");
	refused("-.a", "a value is expected");
	refused("1 !", "an operator is expected");
	refused("1 andy 2", "an operator is expected");
	refused("1 = 1", "an operator is expected");
	refused("nullx", "a value is expected");
	refused("\303\251", "byte 0: a value is expected");
}

static void limits_hold_at_their_edges(void **state)
{
	char text[8192], *end;
	struct filter *filter = NULL;
	char error[256];

	(void)state;
	memset(text, '(', 64);
	text[64] = '1';
	memset(text + 65, ')', 64);
	text[129] = 0;
	assert_true(matches(text, ALICE));
	memset(text, '(', 65);
	text[65] = '1';
	memset(text + 66, ')', 65);
	text[131] = 0;
	refused(text, "nested too deeply");
	memset(text, '!', 4000);
	strcpy(text + 4000, "1");
	assert_true(matches(text, ALICE));
	end = stpcpy(text, "1");
	for (int i = 0; i < 64; i++)
		end = stpcpy(end, "**1");
	assert_true(matches(text, ALICE));
	stpcpy(end, "**1");
	refused(text, "nested too deeply");
	/* The most that can wait: an operand of each tightness in each parenthesis. */
	end = text;
	for (int i = 0; i < 64; i++)
		end = stpcpy(end, i % 2 ? "1 or 1 and 1 == 1 + 1 * 1 ** (" : "1 + (");
	end = stpcpy(end, "1");
	memset(end, ')', 64);
	end[64] = 0;
	refused(text, "nested too deeply");
	end = text;
	for (int i = 0; i < 129; i++)
		end += sprintf(end, "%s.f%d", i ? "+" : "", i);
	refused(text, "more than 128 different fields");
	strrchr(text, '+')[0] = 0;
	assert_false(matches(text, ALICE));
	memset(text, ' ', sizeof(text));
	text[0] = '1';
	assert_int_equal(filter_compile(text, 4096, &filter, error), 0);
	filter_destroy(filter);
	assert_int_equal(filter_compile(text, 4097, &filter, error), -EINVAL);
	assert_non_null(strstr(error, "more than 4096 bytes"));
	memset(text, '1', 300);
	text[300] = 0;
	refused(text, "more than 255 bytes");
}

static void bytes_are_taken_as_they_are(void **state)
{
	static const char text[] = "'a\0b' == .z";
	json_t *json = json_loads("{\"z\": \"a\\u0000b\"}", JSON_ALLOW_NUL, NULL);
	struct filter *filter = NULL;
	char error[256];

	(void)state;
	assert_int_equal(filter_compile(text, sizeof(text) - 1, &filter, error), 0);
	assert_true(filter_matches(filter, json));
	filter_destroy(filter);
	assert_int_equal(filter_compile("1\0", 2, &filter, error), -EINVAL);
	json_decref(json);
}

/* ---- random expressions, against a walk over their tree ---- */

enum { NODES_MAX = 40, FIELDS = 8 };

enum what { NUM, STR, ARR, NUL, FLD, NEG, BIN };

struct node {
	enum what what;
	int n;                /* which of .numbers, .strings, field, operator */
	int item[3], items;   /* of an array: >= 0 a number, < 0 string -1 - item */
	struct node *a, *b;
};

static const double numbers[] = { 0, 1, -1, 2, 3, 0.5, 10, -2.5, 30 };
static const char *const number_text[] = { "0", "1", "-1", "2", "3", "0.5", "10", "-2.5", "30" };
static const char *const strings[] = { "", "a", "ab", "10", "-1", "2", "it's", "x\ny" };
static const char *const string_text[] = { "''", "\"a\"", "'ab'", "\"10\"", "'-1'", "\"2\"", "'it\\'s'", "'x\\ny'" };
/* How tightly: the other way round than in the program. A minus would belong to the name of the field before it. */
static const struct {
	const char *text;
	int level;
} binary[] = {
	{ "**", 1 }, { "*", 2 }, { "/", 2 }, { "%", 2 }, { "+", 3 }, { " -", 3 }, { ">", 4 }, { ">=", 4 }, { "<", 4 },
	{ "<=", 4 }, { "==", 4 }, { "!=", 4 }, { " in ", 4 }, { " and ", 5 }, { "&&", 5 }, { " or ", 6 }, { "||", 6 },
};

static uint64_t seed;

static unsigned int pick(unsigned int n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned int)(seed >> 33) % n;
}

static struct node pool[NODES_MAX * 4];
static unsigned int pooled;

static struct node *random_tree(unsigned int depth)
{
	struct node *t = &pool[pooled++];
	unsigned int r = pick(10);

	*t = (struct node){ 0 };
	if (depth && r < 6 && pooled < NODES_MAX) {
		t->what = BIN;
		t->n = (int)pick(ARRAY_SIZE(binary));
		t->a = random_tree(depth - 1);
		t->b = random_tree(depth - 1);
	} else if (depth && r < 7) {
		t->what = NEG;
		t->a = random_tree(depth - 1);
	} else {
		r = pick(16);
		t->what = r < 5 ? NUM : r < 8 ? STR : r < 10 ? ARR : r < 11 ? NUL : FLD;
		t->n = (int)pick(t->what == NUM ? ARRAY_SIZE(numbers) : t->what == STR ? ARRAY_SIZE(strings) : FIELDS);
		t->items = t->what == ARR ? (int)pick(4) : 0;
		for (int i = 0; i < t->items; i++)
			t->item[i] = pick(2) ? (int)pick(ARRAY_SIZE(numbers)) : -1 - (int)pick(ARRAY_SIZE(strings));
	}
	return t;
}

static int level(const struct node *t)
{
	return t->what == BIN ? binary[t->n].level : 0;
}

static char *print(char *out, const struct node *t);

static char *print_child(char *out, const struct node *t, bool must)
{
	bool paren = must || !pick(6);

	if (!pick(4))
		out = stpcpy(out, " ");
	out = stpcpy(out, paren ? "(" : "");
	out = print(out, t);
	out = stpcpy(out, paren ? ")" : "");
	return stpcpy(out, pick(4) ? "" : " ");
}

static char *print(char *out, const struct node *t)
{
	bool power = t->what == BIN && binary[t->n].level == 1;

	switch (t->what) {
	case NUM: return stpcpy(out, number_text[t->n]);
	case STR: return stpcpy(out, string_text[t->n]);
	case NUL: return stpcpy(out, "null");
	case FLD: return out + sprintf(out, ".f%d", t->n);
	case ARR:
		out = stpcpy(out, "[");
		for (int i = 0; i < t->items; i++)
			out += sprintf(out, "%s%s", i ? "," : "",
				       t->item[i] >= 0 ? number_text[t->item[i]] : string_text[-1 - t->item[i]]);
		return stpcpy(out, "]");
	case NEG:
		out = stpcpy(out, pick(2) ? "!" : " not ");
		return print_child(out, t->a, t->a->what == BIN);
	default:
		out = print_child(out, t->a, power ? level(t->a) >= 1 : level(t->a) > level(t));
		out = stpcpy(out, binary[t->n].text);
		return print_child(out, t->b, power ? level(t->b) > 1 : level(t->b) >= level(t));
	}
}

/* What is known of a value: exactly one of these is it. */
struct thing {
	const double *number;
	const char *string;
	const struct thing *list;
	int length;
	double store;
};

static const struct thing field_things[FIELDS];

static double num(const struct thing *t)
{
	double d;
	int used = 0;

	if (t->number)
		return *t->number;
	if (t->string && sscanf(t->string, "%lf%n", &d, &used) == 1 && !t->string[used])
		return d;
	return 0;
}

static int yes(const struct thing *t)
{
	return t->number ? *t->number != 0 : t->string ? t->string[0] != 0 : t->list != NULL;
}

static int same(const struct thing *a, const struct thing *b)
{
	bool a_null = !a->number && !a->string && !a->list, b_null = !b->number && !b->string && !b->list;

	if (a_null || b_null)
		return a_null && b_null;
	if (a->string && b->string)
		return !strcmp(a->string, b->string);
	return num(a) == num(b);
}

static double compute(const char *o, const struct thing *a, const struct thing *b)
{
	double x = num(a), y = num(b);

	switch (o[0]) {
	case '*': return o[1] ? pow(x, y) : x * y;
	case '/': return x / y;
	case '%': return fmod(x, y);
	case '+': return x + y;
	case '>': return o[1] ? x >= y : x > y;
	case '<': return o[1] ? x <= y : x < y;
	case '=': return same(a, b);
	case '!': return !same(a, b);
	case '&': return yes(a) && yes(b);
	case '|': return yes(a) || yes(b);
	default: break;
	}
	if (o[1] == '-')
		return x - y;
	if (o[1] == 'a')
		return yes(a) && yes(b);
	if (o[1] == 'o')
		return yes(a) || yes(b);
	for (int i = 0; b->list && i < b->length; i++)
		if (same(a, &b->list[i]))
			return 1;
	return a->string && b->string && strstr(b->string, a->string);
}

static bool lacking; /* the walk met a field that is not there */
static struct thing lists[NODES_MAX * 4][3];

static struct thing *walk(const struct node *t, struct thing *out)
{
	struct thing a, b;

	*out = (struct thing){ 0 };
	switch (t->what) {
	case NUM: out->number = &numbers[t->n]; break;
	case STR: out->string = strings[t->n]; break;
	case NUL: break;
	case FLD:
		*out = field_things[t->n];
		lacking |= t->n >= 6;
		break;
	case ARR:
		for (int i = 0; i < t->items; i++)
			lists[t - pool][i] = t->item[i] >= 0 ? (struct thing){ .number = &numbers[t->item[i]] } :
							       (struct thing){ .string = strings[-1 - t->item[i]] };
		out->list = lists[t - pool];
		out->length = t->items;
		break;
	case NEG:
		out->store = !yes(walk(t->a, &a));
		out->number = &out->store;
		break;
	default:
		walk(t->a, &a);
		walk(t->b, &b);
		out->store = compute(binary[t->n].text, &a, &b);
		out->number = &out->store;
	}
	return out;
}

static const double one = 1, half = 2.5, nought = 0;
static const struct thing items[] = { { .number = &one }, { .string = "ab" } };
static const struct thing field_things[FIELDS] = {
	{ .number = &half }, { .string = "ab" }, { .number = &one }, { 0 }, { .list = items, .length = 2 }, { .number = &nought },
};
static const char fields[] =
	"{\"f0\": 2.5, \"f1\": \"ab\", \"f2\": true, \"f3\": null, \"f4\": [1, \"ab\"], \"f5\": false, \"f6\": {}}";

static void random_expressions_equal_a_walk_over_their_tree(void **state)
{
	unsigned int matched = 0, lacked = 0;

	(void)state;
	for (seed = 1; pooled = 0, seed < 60000u * 3; ) {
		uint64_t start = seed += 3;
		struct node *t;
		char text[4096];
		struct thing out;
		bool expected;

		t = random_tree(1 + pick(5));
		*print(text, t) = 0;
		lacking = false;
		expected = yes(walk(t, &out)) && !lacking;
		if (matches(text, fields) != expected)
			fail_msg("%s\nis not %d (seed %llu)", text, expected, (unsigned long long)start);
		matched += expected;
		lacked += lacking;
		seed = start;
	}
	assert_true(matched > 10000 && lacked > 2000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_compare_as_redis_documents),
		cmocka_unit_test(an_element_without_a_field_does_not_match),
		cmocka_unit_test(operators_bind_and_group_as_in_redis),
		cmocka_unit_test(kinds_convert_as_in_redis),
		cmocka_unit_test(strings_take_escapes_and_either_quote),
		cmocka_unit_test(what_is_wrong_is_said_with_its_place),
		cmocka_unit_test(limits_hold_at_their_edges),
		cmocka_unit_test(bytes_are_taken_as_they_are),
		cmocka_unit_test(random_expressions_equal_a_walk_over_their_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
