// SPDX-License-Identifier: MIT
// FILTER expressions: compiled once into operations for a stack of values, then run over the attributes of many elements.
#include "filter.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What binds tighter comes first:
 *
 *	! not      **      * / %      + -      > >= < <= == != in      && and      || or
 *
 * ** groups from the right, the others from the left. A value is a number (-1.5e3), a string ("a" or 'a', with \n \r \t, and \
 * before any other byte for that byte), [an, array, of, both], null, or the field .name of the attributes. A minus belongs to
 * the digits after it where a value may stand, so that -2 ** 2 is 4. As in Redis both sides of && and || are always looked at:
 * an element that lacks any field the expression names does not match.
 */
enum {
	FILTER_NESTING_MAX = 64,  /* of parentheses and of ** */
	FILTER_FIELDS_MAX = 128,  /* different ones */
	FILTER_STACK_MAX = 160,   /* values that wait: each level of nesting adds at most two */
	FILTER_NUMBER_BYTES_MAX = 255,
};

enum kind { NUMBER, STRING, ARRAY, NOTHING };

struct value {
	enum kind kind;
	double number;
	const char *text;         /* of STRING: @size bytes */
	size_t size;
	const struct value *item; /* of ARRAY in the expression: [size]; NULL: see .json */
	const json_t *json;       /* of ARRAY in the attributes */
};

enum op {
	VALUE,
	FIELD,
	NOT,
	POWER,
	TIMES,
	OVER,
	MODULO,
	PLUS,
	MINUS,
	ABOVE,
	AT_LEAST,
	BELOW,
	AT_MOST,
	EQUAL,
	UNEQUAL,
	IN,
	AND,
	OR
};

struct step {
	enum op op;
	uint32_t index; /* of VALUE in .value, of FIELD in .field */
};

struct filter {
	struct step *step;
	uint32_t steps;
	struct value *value;      /* constants, items of arrays included; filled from the front, never moved */
	uint32_t values;
	char *text;               /* bytes of strings and names of fields */
	size_t text_size;
	const char *field[FILTER_FIELDS_MAX];
	uint32_t fields;
};

/* ---- reading ---- */

struct parser {
	const char *text;
	size_t size, at;
	struct filter *filter;
	uint32_t waiting;         /* values on the stack after the steps so far */
	char *error;
};

static const struct operator {
	const char *text;
	enum op op;
	int tightness;
} operators[] = {
	{ "**", POWER, 6 }, { "*", TIMES, 5 }, { "/", OVER, 5 }, { "%", MODULO, 5 }, { "+", PLUS, 4 }, { "-", MINUS, 4 },
	{ ">=", AT_LEAST, 3 }, { "<=", AT_MOST, 3 }, { "==", EQUAL, 3 }, { "!=", UNEQUAL, 3 }, { ">", ABOVE, 3 }, { "<", BELOW, 3 },
	{ "in", IN, 3 }, { "and", AND, 2 }, { "&&", AND, 2 }, { "or", OR, 1 }, { "||", OR, 1 },
};

static int fail(struct parser *p, const char *what)
{
	snprintf(p->error, 256, "byte %zu: %s", p->at, what);
	return -EINVAL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c)
{
	return is_letter(c) || is_digit(c) || c == '_' || c == '-';
}

/* The byte @ahead, NUL after the end. */
static char peek(const struct parser *p, size_t ahead)
{
	return p->at + ahead < p->size ? p->text[p->at + ahead] : 0;
}

static void skip_spaces(struct parser *p)
{
	while (p->at < p->size && strchr(" \t\n\v\f\r", p->text[p->at]) && p->text[p->at])
		p->at++;
}

/* Whether @word comes next; a word of letters ends where its letters end. */
static bool next_is(const struct parser *p, const char *word)
{
	size_t size = strlen(word);

	return p->size - p->at >= size && !memcmp(p->text + p->at, word, size) && !(is_letter(word[0]) && is_letter(peek(p, size)));
}

static int add_step(struct parser *p, enum op op, uint32_t index)
{
	struct filter *f = p->filter;

	if (op == VALUE || op == FIELD)
		p->waiting++;
	else if (op != NOT)
		p->waiting--;
	if (p->waiting > FILTER_STACK_MAX)
		return fail(p, "the expression is nested too deeply");
	f->step[f->steps++] = (struct step){ op, index };
	return 0;
}

static int read_number(struct parser *p, struct value *v)
{
	char text[FILTER_NUMBER_BYTES_MAX + 1];
	size_t size = 0;
	char *end, c;

	for (; (c = peek(p, size)); size++) {
		bool sign = (c == '-' || c == '+') && (size ? strchr("eE", peek(p, size - 1)) != NULL : c == '-');

		if (!is_digit(c) && c != '.' && c != 'e' && c != 'E' && !sign)
			break;
		if (size == FILTER_NUMBER_BYTES_MAX)
			return fail(p, "a number has more than 255 bytes");
		text[size] = c;
	}
	text[size] = 0;
	*v = (struct value){ .kind = NUMBER, .number = strtod(text, &end) };
	if (*end)
		return fail(p, "this is not a number");
	p->at += size;
	return 0;
}

static int read_string(struct parser *p, struct value *v)
{
	struct filter *f = p->filter;
	char quote = peek(p, 0), *to = f->text + f->text_size;
	size_t from = p->at + 1;

	*v = (struct value){ .kind = STRING, .text = to };
	for (; from < p->size && p->text[from] != quote; from++) {
		char c = p->text[from];

		if (c == '\\' && from + 1 < p->size) {
			c = p->text[++from];
			c = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
		}
		*to++ = c;
	}
	if (from >= p->size)
		return fail(p, "the string that begins here does not end");
	v->size = (size_t)(to - v->text);
	f->text_size += v->size;
	p->at = from + 1;
	return 0;
}

static int read_array(struct parser *p, struct value *array)
{
	struct filter *f = p->filter;
	int err;

	*array = (struct value){ .kind = ARRAY, .item = f->value + f->values };
	p->at++;
	for (;;) {
		char c;

		skip_spaces(p);
		c = peek(p, 0);
		if (c == ']')
			break;
		if (is_digit(c) || c == '-')
			err = read_number(p, &f->value[f->values]);
		else if (c == '"' || c == '\'')
			err = read_string(p, &f->value[f->values]);
		else
			err = fail(p, "an array holds numbers and strings, separated by commas, and ends with ]");
		if (err)
			return err;
		f->values++;
		array->size++;
		skip_spaces(p);
		if (peek(p, 0) == ',')
			p->at++;
		else if (peek(p, 0) != ']')
			return fail(p, "a comma or ] is missing in an array");
	}
	p->at++;
	return 0;
}

static int read_field(struct parser *p)
{
	struct filter *f = p->filter;
	char *name = f->text + f->text_size;
	size_t size = 1;
	uint32_t i;

	while (is_name(peek(p, size)))
		size++;
	if (size == 1)
		return fail(p, "a dot must be followed by the name of a field: letters, digits, _ and -");
	memcpy(name, p->text + p->at + 1, size - 1);
	name[size - 1] = 0;
	for (i = 0; i < f->fields && strcmp(f->field[i], name) != 0; i++)
		;
	if (i == FILTER_FIELDS_MAX)
		return fail(p, "more than 128 different fields");
	if (i == f->fields) {
		f->field[f->fields++] = name;
		f->text_size += size;
	}
	p->at += size;
	return add_step(p, FIELD, i);
}

static int read_expression(struct parser *p, int tightness, int nesting);

static int read_constant(struct parser *p)
{
	struct filter *f = p->filter;
	struct value v = { .kind = NOTHING };
	char c = peek(p, 0);
	int err = 0;

	if (is_digit(c) || (c == '-' && is_digit(peek(p, 1))))
		err = read_number(p, &v);
	else if (c == '"' || c == '\'')
		err = read_string(p, &v);
	else if (c == '[')
		err = read_array(p, &v);
	else if (next_is(p, "null"))
		p->at += 4;
	else if (next_is(p, "true") || next_is(p, "false"))
		err = fail(p, "true and false are written 1 and 0");
	else
		err = fail(p, p->at == p->size ? "a value is missing at the end"
					       : "a value is expected: a number, a string, .field, [array] or (");
	if (err)
		return err;
	f->value[f->values] = v;
	return add_step(p, VALUE, f->values++);
}

/* A value, with all that stands before it and binds as tightly. */
static int read_operand(struct parser *p, int nesting)
{
	uint32_t nots = 0;
	int err;

	for (skip_spaces(p); next_is(p, "!") || next_is(p, "not"); skip_spaces(p)) {
		p->at += peek(p, 0) == '!' ? 1 : 3;
		nots++;
	}
	if (peek(p, 0) == '(') {
		p->at++;
		err = read_expression(p, 1, nesting + 1);
		if (!err && peek(p, 0) != ')')
			err = fail(p, "a closing parenthesis is missing");
		p->at++;
	} else {
		err = peek(p, 0) == '.' ? read_field(p) : read_constant(p);
	}
	/* Of many negations two at most make a difference. */
	for (nots = nots > 2 ? 2 - nots % 2 : nots; !err && nots; nots--)
		err = add_step(p, NOT, 0);
	return err;
}

static const struct operator *next_operator(struct parser *p)
{
	skip_spaces(p);
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
		if (next_is(p, operators[i].text))
			return &operators[i];
	return NULL;
}

/* Everything up to an operator that binds less than @tightness. */
static int read_expression(struct parser *p, int tightness, int nesting)
{
	const struct operator *o;
	int err;

	if (nesting > FILTER_NESTING_MAX)
		return fail(p, "the expression is nested too deeply");
	err = read_operand(p, nesting);
	while (!err && (o = next_operator(p)) && o->tightness >= tightness) {
		p->at += strlen(o->text);
		/* What follows ** takes further ** along. */
		err = read_expression(p, o->op == POWER ? o->tightness : o->tightness + 1, nesting + (o->op == POWER));
		if (!err)
			err = add_step(p, o->op, 0);
	}
	return err;
}

int filter_compile(const char *text, size_t size, struct filter **filter, char error[256])
{
	struct filter *f = calloc(1, sizeof(*f));
	struct parser p = { .text = text, .size = size, .filter = f, .error = error };
	int err = -ENOMEM;

	error[0] = 0;
	if (!f)
		goto out;
	if (size > DAEMON_FILTER_BYTES_MAX) {
		err = fail(&p, "the expression has more than 4096 bytes");
		goto out;
	}
	/* A step, a constant or a byte of text takes a byte of the expression at least. */
	f->step = calloc(size + 1, sizeof(*f->step));
	f->value = calloc(size + 1, sizeof(*f->value));
	f->text = malloc(size + 1);
	if (!f->step || !f->value || !f->text)
		goto out;
	err = read_expression(&p, 1, 0);
	if (!err && p.at < size)
		err = fail(&p, peek(&p, 0) == ')' ? "a closing parenthesis without an opening one" : "an operator is expected");
out:
	if (err)
		filter_destroy(f);
	else
		*filter = f;
	return err;
}

void filter_destroy(struct filter *filter)
{
	if (!filter)
		return;
	free(filter->text);
	free(filter->value);
	free(filter->step);
	free(filter);
}

/* ---- running ---- */

/* A field's value; false: it is none that an expression can use, since there is an object in it. */
static bool json_value(const json_t *json, struct value *v)
{
	struct value item = { .kind = NOTHING };

	*v = (struct value){ .kind = NUMBER };
	switch (json_typeof(json)) {
	case JSON_STRING:
		v->kind = STRING;
		v->text = json_string_value(json);
		v->size = json_string_length(json);
		return true;
	case JSON_INTEGER:
	case JSON_REAL: v->number = json_number_value(json); return true;
	case JSON_TRUE: v->number = 1; return true;
	case JSON_FALSE: return true;
	case JSON_NULL: v->kind = NOTHING; return true;
	case JSON_OBJECT: return false;
	case JSON_ARRAY: break;
	}
	*v = (struct value){ .kind = ARRAY, .size = json_array_size(json), .json = json };
	for (size_t i = 0; i < v->size; i++)
		if (!json_value(json_array_get(json, i), &item))
			return false;
	return true;
}

static double to_number(const struct value *v)
{
	char text[FILTER_NUMBER_BYTES_MAX + 1], *end;
	double number;

	if (v->kind == NUMBER)
		return v->number;
	if (v->kind != STRING || v->size > FILTER_NUMBER_BYTES_MAX)
		return 0;
	memcpy(text, v->text, v->size);
	text[v->size] = 0;
	number = strtod(text, &end);
	return end == text + v->size ? number : 0;
}

static bool to_bool(const struct value *v)
{
	switch (v->kind) {
	case NUMBER: return v->number != 0;
	case STRING: return v->size != 0;
	case NOTHING: return false;
	default: return true;
	}
}

static bool equal(const struct value *a, const struct value *b)
{
	if (a->kind == STRING && b->kind == STRING)
		return a->size == b->size && !memcmp(a->text, b->text, a->size);
	if (a->kind == NOTHING || b->kind == NOTHING)
		return a->kind == b->kind;
	return to_number(a) == to_number(b);
}

static bool is_in(const struct value *a, const struct value *b)
{
	struct value item = { .kind = NOTHING };

	if (b->kind == ARRAY) {
		for (size_t i = 0; i < b->size; i++) {
			if (b->item)
				item = b->item[i];
			else
				json_value(json_array_get(b->json, i), &item);
			if (equal(a, &item))
				return true;
		}
		return false;
	}
	return a->kind == STRING && b->kind == STRING && (!a->size || memmem(b->text, b->size, a->text, a->size));
}

static double apply(enum op op, const struct value *a, const struct value *b)
{
	switch (op) {
	case POWER: return pow(to_number(a), to_number(b));
	case TIMES: return to_number(a) * to_number(b);
	case OVER: return to_number(a) / to_number(b);
	case MODULO: return fmod(to_number(a), to_number(b));
	case PLUS: return to_number(a) + to_number(b);
	case MINUS: return to_number(a) - to_number(b);
	case ABOVE: return to_number(a) > to_number(b);
	case AT_LEAST: return to_number(a) >= to_number(b);
	case BELOW: return to_number(a) < to_number(b);
	case AT_MOST: return to_number(a) <= to_number(b);
	case EQUAL: return equal(a, b);
	case UNEQUAL: return !equal(a, b);
	case IN: return is_in(a, b);
	case AND: return to_bool(a) && to_bool(b);
	default: return to_bool(a) || to_bool(b);
	}
}

bool filter_matches(const struct filter *filter, const json_t *attributes)
{
	struct value field[FILTER_FIELDS_MAX], stack[FILTER_STACK_MAX];
	uint32_t n = 0;

	if (!attributes)
		return false;
	for (uint32_t i = 0; i < filter->fields; i++) {
		const json_t *json = json_object_get(attributes, filter->field[i]);

		if (!json || !json_value(json, &field[i]))
			return false;
	}
	for (uint32_t i = 0; i < filter->steps; i++) {
		const struct step *s = &filter->step[i];

		if (s->op == VALUE) {
			stack[n++] = filter->value[s->index];
		} else if (s->op == FIELD) {
			assert(s->index < filter->fields);
			stack[n++] = field[s->index];
		} else if (s->op == NOT) {
			stack[n - 1] = (struct value){ .kind = NUMBER, .number = !to_bool(&stack[n - 1]) };
		} else {
			assert(n > 1);
			n--;
			stack[n - 1] = (struct value){ .kind = NUMBER, .number = apply(s->op, &stack[n - 1], &stack[n]) };
		}
	}
	return to_bool(&stack[0]);
}
