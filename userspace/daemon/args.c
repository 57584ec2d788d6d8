// SPDX-License-Identifier: MIT
// Reading the arguments of requests: words, numbers, vectors.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "job.h"

bool argument_is(const struct resp_argument *a, const char *word)
{
	return strlen(word) == a->size && !strncasecmp(a->data, word, a->size);
}

bool args_left(const struct args *args)
{
	return args->at < args->count;
}

bool args_word(struct args *args, const char *word)
{
	if (!args_left(args) || !argument_is(&args->request->argument[args->at], word))
		return false;
	args->at++;
	return true;
}

bool args_option(struct args *args, const char *word)
{
	return args->at + 1 < args->count && args_word(args, word);
}

struct resp_argument *args_next(struct args *args)
{
	return args_left(args) ? &args->request->argument[args->at++] : NULL;
}

/* Copies a number's text to where it ends with NUL. */
static bool number_text(struct args *args, char text[64])
{
	const struct resp_argument *a = args_next(args);

	if (!a || !a->size || a->size >= 64 || memchr(a->data, '\0', a->size) || strchr(" \t\n\v\f\r", a->data[0]))
		return false;
	memcpy(text, a->data, a->size);
	text[a->size] = '\0';
	return true;
}

bool args_i64(struct args *args, int64_t least, int64_t most, int64_t *value)
{
	char text[64], *end;
	long long v;

	if (!number_text(args, text))
		return false;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || *end || v < least || v > most)
		return false;
	*value = v;
	return true;
}

bool args_u64(struct args *args, uint64_t least, uint64_t most, uint64_t *value)
{
	char text[64], *end;
	unsigned long long v;

	if (!number_text(args, text) || text[0] == '-')
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || v < least || v > most)
		return false;
	*value = v;
	return true;
}

bool args_double(struct args *args, double *value)
{
	char text[64], *end;
	double v;

	if (!number_text(args, text))
		return false;
	v = strtod(text, &end);
	if (*end || end == text || isnan(v))
		return false;
	*value = v;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool args_hex(struct args *args, uint8_t *out, size_t size)
{
	const struct resp_argument *a = args_next(args);

	if (!a || a->size != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		int high = hex_digit(a->data[2 * i]), low = hex_digit(a->data[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void hex_text(char *out, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sprintf(out + 2 * i, "%02x", bytes[i]);
	out[2 * size] = '\0';
}

static int take_blob(struct job *job, const struct resp_argument *a, struct lineup_matrix *m)
{
	void *copy = job_alloc(job, a->size); /* aligned, as the request is not */

	if (!copy)
		return -ENOMEM;
	memcpy(copy, a->data, a->size);
	m->data = copy;
	return 0;
}

static int take_values(struct args *args, struct job *job, struct lineup_matrix *m)
{
	uint64_t count;
	float *values;

	if (!args_u64(args, 1, LINEUP_DIM_MAX, &count) || args->count - args->at < count)
		return -EINVAL;
	values = job_alloc(job, count * sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint64_t i = 0; i < count; i++) {
		double v;

		if (!args_double(args, &v))
			return -EINVAL;
		values[i] = (float)v; /* what does not fit is an infinity, which is refused where the vector is used */
	}
	m->data = values;
	m->dim = (uint32_t)count;
	return 0;
}

int args_vector(struct args *args, struct job *job, struct lineup_matrix *m)
{
	const struct resp_argument *a;

	*m = (struct lineup_matrix){ .rows = 1, .dtype = LINEUP_FLOAT32 };
	if (args_word(args, "VALUES"))
		return take_values(args, job, m);
	if (!args_word(args, "FP32"))
		return -EINVAL;
	a = args_next(args);
	if (!a || !a->size || a->size % sizeof(float) || a->size / sizeof(float) > LINEUP_DIM_MAX)
		return -EINVAL;
	m->dim = (uint32_t)(a->size / sizeof(float));
	return take_blob(job, a, m);
}

int args_matrix(struct args *args, struct job *job, uint32_t dim, uint64_t rows_max, struct lineup_matrix *m)
{
	const struct resp_argument *a;
	uint64_t rows;
	size_t item;
	int err;

	if (!args_u64(args, 1, rows_max, &rows)) {
		request_error(job->request, METRIC_ERROR_INVALID,
			      "ERR the number of vectors is not one of 1 to %llu", (unsigned long long)rows_max);
		return -EINVAL;
	}
	*m = (struct lineup_matrix){ .rows = rows, .dim = dim };
	if (args_word(args, "F64"))
		m->dtype = LINEUP_FLOAT64;
	else if (!args_word(args, "FP32")) {
		request_error(job->request, METRIC_ERROR_INVALID, "ERR vectors come as FP32 or F64");
		return -EINVAL;
	}
	item = m->dtype == LINEUP_FLOAT64 ? sizeof(double) : sizeof(float);
	a = args_next(args);
	if (!a || a->size != rows * dim * item) {
		request_error(job->request, METRIC_ERROR_INVALID, "ERR vectors: %zu bytes, and %llu vectors of dimension %u are %llu bytes",
			      a ? a->size : 0, (unsigned long long)rows, dim, (unsigned long long)(rows * dim * item));
		return -EINVAL;
	}
	err = take_blob(job, a, m);
	if (err)
		request_fail(job->request, err, NULL);
	return err;
}

bool dim_fits(struct job *job, const struct lineup_matrix *m)
{
	uint32_t dim = keeper_info(job->keeper)->dim;

	if (m->dim != dim)
		request_error(job->request, METRIC_ERROR_INVALID, "ERR Vector dimension mismatch - got %u but set has %u", m->dim, dim);
	return m->dim == dim;
}

bool model_fits(struct job *job, struct args *args)
{
	const struct lineup_gallery_info *info = keeper_info(job->keeper);
	uint8_t digest[LINEUP_DIGEST_BYTES];

	if (!args_hex(args, digest, sizeof(digest))) {
		request_error(job->request, METRIC_ERROR_INVALID, "ERR MODEL is not the 64 hexadecimal digits of a model's digest");
		return false;
	}
	if (memcmp(digest, info->model_digest, sizeof(digest))) {
		request_error(job->request, METRIC_ERROR_INVALID,
			      "MODEL the gallery's templates come from the model \"%s\", whose digest is another",
			      info->model);
		return false;
	}
	return true;
}

char *subject_name(struct job *job, const struct resp_argument *a)
{
	char *name;

	if (!a->size || a->size > LINEUP_SUBJECT_BYTES_MAX || memchr(a->data, '\0', a->size))
		return NULL;
	name = job_text(job, a->data, a->size);
	return name && !lineup_subject_check(name) ? name : NULL;
}
