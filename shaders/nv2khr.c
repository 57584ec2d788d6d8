// SPDX-License-Identifier: MIT
// Build tool: rewrites a SPIR-V module from SPV_NV_cooperative_matrix, which Debian 12's glslang writes, to
// SPV_KHR_cooperative_matrix.
/*
 *	nv2khr IN.spv OUT.spv	rewrites
 *	nv2khr --dump IN.spv	prints what a module of either kind has of matrices: no tool of Debian 12 knows KHR's
 *
 * The two differ in names, and in three things more:
 *
 *	type		KHR's has a Use: A (0), B (1) or accumulator (2). It is found from the type's place in multiply-adds;
 *			a type in two places is refused, so a module must give A and B shapes of different constants.
 *	load, store	NV: a bool constant, true for column-major, after the stride. KHR: a MemoryLayout (0: row-major,
 *			1: column-major) before it.
 *	multiply-add	KHR's says which components are signed; NV has it in the types.
 *
 * Anything about matrices that is not known here is refused, for nothing later would find it.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x07230203, HEADER_WORDS = 5, MODULE_WORDS_MAX = 1 << 22 };

enum { /* capabilities, and opcodes; those of KHR come in the order of NV's */
	CAPABILITY_NV = 5357, CAPABILITY_KHR = 6022,
	TYPE_NV = 5358, LOAD_NV, STORE_NV, MULTIPLY_NV, LENGTH_NV,
	TYPE_KHR = 4456, LOAD_KHR, STORE_KHR, MULTIPLY_KHR, LENGTH_KHR,
};

enum {
	OP_UNDEF = 1, OP_SOURCE_EXTENSION = 4, OP_EXTENSION = 10, OP_MEMORY_MODEL = 14, OP_CAPABILITY = 17, OP_TYPE_INT = 21,
	OP_TYPE_FLOAT = 22, OP_TYPE_ARRAY = 28, OP_TYPE_STRUCT = 30, OP_TYPE_POINTER = 32, OP_TYPE_FUNCTION = 33,
	OP_CONSTANT_TRUE = 41, OP_CONSTANT_FALSE = 42, OP_CONSTANT = 43, OP_CONSTANT_COMPOSITE = 44, OP_SPEC_CONSTANT = 50,
	OP_SPEC_CONSTANT_OP = 52, OP_FUNCTION_PARAMETER = 55, OP_LOAD = 61, OP_STORE = 62, OP_DECORATE = 71,
	OP_COMPOSITE_EXTRACT = 81, OP_SELECT = 169, OP_PHI = 245,
};

static const char extension_nv[] = "SPV_NV_cooperative_matrix", extension_khr[] = "SPV_KHR_cooperative_matrix";
static const char *const uses[] = { "none", "A", "B", "accumulator" };

struct module {
	uint32_t *words;
	size_t count;
	uint32_t bound;
	/* By id: */
	uint32_t *definition;    /* the instruction's index in words; 0: none that matters here */
	uint32_t *type;          /* of a value that may be a matrix */
	uint32_t *use;           /* of a matrix type: index of uses */
	uint32_t *spec_id;       /* of a specialization constant, plus one */
	uint32_t *name;          /* given by the dump, plus one */
	uint32_t names;
	uint32_t uint_type;      /* 32 bits, unsigned */
	bool nv, khr;
};

static void refuse(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void refuse(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("nv2khr: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void *allocate(size_t count)
{
	void *p = calloc(count, sizeof(uint32_t));

	if (!p)
		refuse("out of memory");
	return p;
}

static uint32_t opcode(const uint32_t *w)
{
	return w[0] & 0xffff;
}

static uint32_t length(const uint32_t *w)
{
	return w[0] >> 16;
}

static void read_module(struct module *m, const char *path)
{
	FILE *f = fopen(path, "rb");

	if (!f)
		refuse("%s: cannot be opened", path);
	m->words = allocate(MODULE_WORDS_MAX);
	m->count = fread(m->words, sizeof(uint32_t), MODULE_WORDS_MAX, f);
	if (ferror(f) || !feof(f) || m->count < HEADER_WORDS || m->words[0] != MAGIC)
		refuse("%s: no SPIR-V of this machine's byte order, or too long", path);
	fclose(f);
	m->bound = m->words[3];
	if (!m->bound || m->bound > MODULE_WORDS_MAX)
		refuse("%s: a bound of %u ids", path, m->bound);
	for (size_t i = HEADER_WORDS; i < m->count; i += length(m->words + i))
		if (!length(m->words + i) || length(m->words + i) > m->count - i)
			refuse("%s: word %zu: an instruction without an end", path, i);
	m->definition = allocate(m->bound);
	m->type = allocate(m->bound);
	m->use = allocate(m->bound);
	m->spec_id = allocate(m->bound);
	m->name = allocate(m->bound);
}

static void free_module(struct module *m)
{
	free(m->name);
	free(m->spec_id);
	free(m->use);
	free(m->type);
	free(m->definition);
	free(m->words);
}

/* Operand @i of @w as an id. */
static uint32_t id_at(const struct module *m, const uint32_t *w, uint32_t i)
{
	if (i >= length(w) || !w[i] || w[i] >= m->bound)
		refuse("opcode %u: operand %u is no id", opcode(w), i);
	return w[i];
}

static uint32_t operation(const struct module *m, uint32_t id)
{
	return m->definition[id] ? opcode(m->words + m->definition[id]) : 0;
}

static bool is_matrix_type(const struct module *m, uint32_t id)
{
	return operation(m, id) == TYPE_NV || operation(m, id) == TYPE_KHR;
}

/* Notes what defines the ids that matter, and refuses instructions on matrices other than those known. */
static void note_definition(struct module *m, size_t i)
{
	const uint32_t *w = m->words + i;

	switch (opcode(w)) {
	case OP_CAPABILITY:
		m->nv |= w[1] == CAPABILITY_NV;
		m->khr |= w[1] == CAPABILITY_KHR;
		break;
	case OP_TYPE_INT:
	case OP_TYPE_FLOAT:
	case TYPE_NV:
	case TYPE_KHR:
		m->definition[id_at(m, w, 1)] = (uint32_t)i;
		if (opcode(w) == OP_TYPE_INT && w[2] == 32 && !w[3])
			m->uint_type = w[1];
		break;
	case OP_CONSTANT_TRUE:
	case OP_CONSTANT_FALSE:
	case OP_CONSTANT:
	case OP_SPEC_CONSTANT:
	case OP_SPEC_CONSTANT_OP:
		m->definition[id_at(m, w, 2)] = (uint32_t)i;
		break;
	case OP_DECORATE:
		if (length(w) == 4 && w[2] == 1) /* SpecId */
			m->spec_id[id_at(m, w, 1)] = w[3] + 1;
		break;
	}
}

/* Instructions whose result may be a matrix. Of another kind, such as arithmetic on whole matrices, there must be none. */
static bool gives_matrix(uint32_t op)
{
	static const uint32_t known[] = {
		OP_UNDEF, OP_CONSTANT_COMPOSITE, OP_FUNCTION_PARAMETER, OP_LOAD, OP_COMPOSITE_EXTRACT, OP_PHI, OP_SELECT,
		LOAD_NV, MULTIPLY_NV, LOAD_KHR, MULTIPLY_KHR,
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == op)
			return true;
	return false;
}

/* Instructions whose first operand may look like the type of a result that is a matrix, and is none. */
static bool gives_nothing(uint32_t op)
{
	static const uint32_t known[] = {
		OP_CAPABILITY, OP_TYPE_ARRAY, OP_TYPE_STRUCT, OP_TYPE_POINTER, OP_TYPE_FUNCTION, TYPE_NV, TYPE_KHR, OP_STORE,
		OP_DECORATE,
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == op)
			return true;
	return op <= OP_MEMORY_MODEL;
}

static void note_value(struct module *m, size_t i)
{
	const uint32_t *w = m->words + i;

	if (gives_matrix(opcode(w)))
		m->type[id_at(m, w, 2)] = id_at(m, w, 1);
	else if (length(w) >= 3 && !gives_nothing(opcode(w)) && w[1] < m->bound && is_matrix_type(m, w[1]))
		refuse("opcode %u works on whole matrices: not known here", opcode(w));
}

/* The use of each matrix type, from its places in multiply-adds. */
static void note_uses(struct module *m, const uint32_t *w)
{
	uint32_t type[4];

	for (uint32_t k = 0; k < 4; k++) {
		uint32_t use = k < 2 ? k + 1 : 3;

		type[k] = k < 3 ? m->type[id_at(m, w, 3 + k)] : id_at(m, w, 1);
		if (!type[k] || !is_matrix_type(m, type[k]))
			refuse("multiply-add %%%u: operand %u is not known to be a matrix", w[2], k);
		if (m->use[type[k]] && m->use[type[k]] != use)
			refuse("matrix type %%%u is used as %s and as %s: give them shapes of different constants", type[k],
			       uses[m->use[type[k]]], uses[use]);
		m->use[type[k]] = use;
	}
}

static void note_all(struct module *m)
{
	for (size_t i = HEADER_WORDS; i < m->count; i += length(m->words + i))
		note_definition(m, i);
	for (size_t i = HEADER_WORDS; i < m->count; i += length(m->words + i))
		note_value(m, i);
	for (size_t i = HEADER_WORDS; i < m->count; i += length(m->words + i))
		if (opcode(m->words + i) == MULTIPLY_NV || opcode(m->words + i) == MULTIPLY_KHR)
			note_uses(m, m->words + i);
}

/* ---- rewriting ---- */

struct output {
	uint32_t *words;
	size_t count;
	uint32_t bound;
	uint32_t constant[3]; /* ids of 0, 1 and 2, for Use and MemoryLayout */
};

static void put(struct output *out, uint32_t word)
{
	if (out->count == MODULE_WORDS_MAX)
		refuse("too long");
	out->words[out->count++] = word;
}

static void put_words(struct output *out, const uint32_t *words, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		put(out, words[i]);
}

static void put_head(struct output *out, uint32_t op, uint32_t words)
{
	put(out, words << 16 | op);
}

/* "abc" takes four bytes, "abcd" eight: the zero is part of it. */
static void put_extension(struct output *out)
{
	uint32_t text[(sizeof(extension_khr) + 3) / 4] = { 0 };

	memcpy(text, extension_khr, sizeof(extension_khr));
	put_head(out, OP_EXTENSION, 1 + sizeof(text) / 4);
	put_words(out, text, sizeof(text) / 4);
}

static void put_uint_type(struct output *out, const struct module *m, const uint32_t *w)
{
	put_words(out, w, length(w));
	for (uint32_t k = 0; k < 3; k++) {
		out->constant[k] = out->bound++;
		put_head(out, OP_CONSTANT, 4);
		put(out, m->uint_type);
		put(out, out->constant[k]);
		put(out, k);
	}
}

static void put_type(struct output *out, const struct module *m, const uint32_t *w)
{
	if (length(w) != 6 || !m->use[w[1]])
		refuse("matrix type %%%u is in no multiply-add: its use is not known", w[1]);
	put_head(out, TYPE_KHR, 7);
	put_words(out, w + 1, 5);
	put(out, out->constant[m->use[w[1]] - 1]);
}

/* @stride: where the stride is, the column-major operand after it. */
static void put_access(struct output *out, const struct module *m, const uint32_t *w, uint32_t op, uint32_t stride)
{
	uint32_t column_major = operation(m, id_at(m, w, stride + 1));

	if (column_major != OP_CONSTANT_TRUE && column_major != OP_CONSTANT_FALSE)
		refuse("a load or store whose column-major operand is no constant");
	put_head(out, op, length(w));
	put_words(out, w + 1, stride - 1);
	put(out, out->constant[column_major == OP_CONSTANT_TRUE]);
	put(out, w[stride]);
	put_words(out, w + stride + 2, length(w) - stride - 2);
}

static void put_multiply(struct output *out, const struct module *m, const uint32_t *w)
{
	uint32_t type[4] = { m->type[w[3]], m->type[w[4]], m->type[w[5]], w[1] };
	uint32_t is_signed = 0;

	if (length(w) != 6)
		refuse("multiply-add %%%u of %u words", w[2], length(w));
	for (uint32_t k = 0; k < 4; k++) {
		const uint32_t *component = m->words + m->definition[id_at(m, m->words + m->definition[type[k]], 2)];

		if (opcode(component) != OP_TYPE_INT && opcode(component) != OP_TYPE_FLOAT)
			refuse("matrix type %%%u of an unknown component type", type[k]);
		if (opcode(component) == OP_TYPE_INT && component[3])
			is_signed |= 1u << k;
	}
	put_head(out, MULTIPLY_KHR, is_signed ? 7 : 6);
	put_words(out, w + 1, 5);
	if (is_signed)
		put(out, is_signed);
}

static void put_instruction(struct output *out, const struct module *m, const uint32_t *w)
{
	uint32_t op = opcode(w);

	if (op == OP_CAPABILITY && w[1] == CAPABILITY_NV) {
		put_head(out, OP_CAPABILITY, 2);
		put(out, CAPABILITY_KHR);
	} else if (op == OP_EXTENSION && !strcmp((const char *)(w + 1), extension_nv)) {
		put_extension(out);
	} else if (op == OP_SOURCE_EXTENSION && strstr((const char *)(w + 1), "cooperative_matrix")) {
		return; /* what the GLSL asked for: of no effect */
	} else if (op == OP_TYPE_INT && w[1] == m->uint_type) {
		put_uint_type(out, m, w);
	} else if (op == TYPE_NV) {
		put_type(out, m, w);
	} else if (op == LOAD_NV) {
		put_access(out, m, w, LOAD_KHR, 4);
	} else if (op == STORE_NV) {
		put_access(out, m, w, STORE_KHR, 3);
	} else if (op == MULTIPLY_NV) {
		put_multiply(out, m, w);
	} else if (op == LENGTH_NV) {
		put_head(out, LENGTH_KHR, length(w));
		put_words(out, w + 1, length(w) - 1);
	} else if (op == OP_SPEC_CONSTANT_OP && w[3] == LENGTH_NV) {
		put_words(out, w, 3);
		put(out, LENGTH_KHR);
		put_words(out, w + 4, length(w) - 4);
	} else {
		put_words(out, w, length(w));
	}
}

static void rewrite(struct module *m, const char *path)
{
	struct output out = { .bound = m->bound };
	FILE *f;

	if (!m->nv || m->khr || !m->uint_type)
		refuse("no module of SPV_NV_cooperative_matrix");
	out.words = allocate(MODULE_WORDS_MAX);
	put_words(&out, m->words, HEADER_WORDS);
	for (size_t i = HEADER_WORDS; i < m->count; i += length(m->words + i))
		put_instruction(&out, m, m->words + i);
	out.words[3] = out.bound;
	f = fopen(path, "wb");
	if (!f || fwrite(out.words, sizeof(uint32_t), out.count, f) != out.count || fclose(f))
		refuse("%s: cannot be written", path);
	free(out.words);
}

/* ---- dumping ---- */

/* Constants by value, the rest by numbers in the order of appearance: a change elsewhere in the shader changes nothing here. */
static void print_id(struct module *m, uint32_t id)
{
	const uint32_t *w = m->words + m->definition[id];

	switch (operation(m, id)) {
	case OP_TYPE_INT:
		printf(" %sint%u", w[3] ? "" : "u", w[2]);
		return;
	case OP_TYPE_FLOAT:
		printf(" float%u", w[2]);
		return;
	case OP_CONSTANT_TRUE:
	case OP_CONSTANT_FALSE:
		printf(" %s", opcode(w) == OP_CONSTANT_TRUE ? "true" : "false");
		return;
	case OP_CONSTANT:
		printf(" %u", w[3]);
		return;
	case OP_SPEC_CONSTANT:
		printf(" spec%u=%u", m->spec_id[id] - 1, w[3]);
		return;
	case OP_SPEC_CONSTANT_OP:
		printf(" expression");
		return;
	}
	if (!m->name[id])
		m->name[id] = ++m->names;
	printf(" %%%u", m->name[id]);
}

/* @ids operands from @from on; then a mask, if any, and what it announces: of memory operands, an alignment and ids of scopes. */
static void print_instruction(struct module *m, const char *what, const uint32_t *w, uint32_t from, uint32_t ids)
{
	uint32_t i = from;

	fputs(what, stdout);
	for (; i < from + ids; i++)
		print_id(m, id_at(m, w, i));
	if (i < length(w)) {
		bool aligned = w[i] & 2;

		printf(" 0x%x", w[i++]);
		if (aligned && i < length(w))
			printf(" align %u", w[i++]);
	}
	for (; i < length(w); i++)
		print_id(m, id_at(m, w, i));
	putchar('\n');
}

static void dump_instruction(struct module *m, const uint32_t *w)
{
	switch (opcode(w)) {
	case OP_CAPABILITY:
		printf("capability %u\n", w[1]);
		break;
	case OP_EXTENSION:
		printf("extension %s\n", (const char *)(w + 1));
		break;
	case OP_MEMORY_MODEL:
		printf("memory-model %u %u\n", w[1], w[2]);
		break;
	case TYPE_NV:
	case TYPE_KHR:
		print_instruction(m, opcode(w) == TYPE_NV ? "type-nv" : "type-khr", w, 1, length(w) - 1);
		break;
	case LOAD_NV:
	case LOAD_KHR:
		print_instruction(m, opcode(w) == LOAD_NV ? "load-nv" : "load-khr", w, 1, 5);
		break;
	case STORE_NV:
	case STORE_KHR:
		print_instruction(m, opcode(w) == STORE_NV ? "store-nv" : "store-khr", w, 1, 4);
		break;
	case MULTIPLY_NV:
	case MULTIPLY_KHR:
		print_instruction(m, opcode(w) == MULTIPLY_NV ? "multiply-add-nv" : "multiply-add-khr", w, 1, 5);
		break;
	case LENGTH_NV:
	case LENGTH_KHR:
		print_instruction(m, opcode(w) == LENGTH_NV ? "length-nv" : "length-khr", w, 1, 3);
		break;
	case OP_SPEC_CONSTANT_OP:
		if (w[3] == LENGTH_NV || w[3] == LENGTH_KHR)
			print_instruction(m, w[3] == LENGTH_NV ? "constant-length-nv" : "constant-length-khr", w, 4, 1);
		break;
	}
}

int main(int argc, char **argv)
{
	struct module m = { 0 };

	if (argc != 3) {
		fputs("usage: nv2khr IN.spv OUT.spv, nv2khr --dump IN.spv\n", stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--dump")) {
		read_module(&m, argv[2]);
		note_all(&m);
		for (size_t i = HEADER_WORDS; i < m.count; i += length(m.words + i))
			dump_instruction(&m, m.words + i);
	} else {
		read_module(&m, argv[1]);
		note_all(&m);
		rewrite(&m, argv[2]);
	}
	free_module(&m);
	return fflush(stdout) ? 1 : 0;
}
