// SPDX-License-Identifier: MIT
// What all parts of the benchmark share: random rows, threads, the clock, order statistics.
#include "bench.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double bench_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint64_t bench_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void bench_gaussian(uint64_t seed, uint64_t number, uint32_t dim, float *row)
{
	uint64_t state = seed * 0xd1342543de82ef95u + number * 0x2545f4914f6cdd1du;
	double square = 0;

	for (uint32_t i = 0; i < dim; i += 2) {
		uint64_t bits = bench_random(&state);
		float u = ((float)(bits >> 40) + 0.5f) / 16777216.0f;
		float angle = (float)(bits & 0xffffff) * (6.2831853f / 16777216.0f);
		float radius = sqrtf(-2.0f * logf(u));

		row[i] = radius * cosf(angle);
		square += (double)row[i] * row[i];
		if (i + 1 < dim) {
			row[i + 1] = radius * sinf(angle);
			square += (double)row[i + 1] * row[i + 1];
		}
	}
	float factor = (float)(1 / sqrt(square));

	for (uint32_t i = 0; i < dim; i++)
		row[i] *= factor;
}

struct share {
	void (*work)(void *arg, uint32_t thread, uint32_t threads);
	void *arg;
	uint32_t thread;
	uint32_t threads;
	const cpu_set_t *cpus; /* that the program may use */
	double begin;
	double end;
	pthread_t id;
	bool started;
};

/* The number of the @nth CPU of @set; -1 if it has fewer. */
static int nth_cpu(const cpu_set_t *set, uint32_t nth)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, set) && !nth--)
			return cpu;
	}
	return -1;
}

/* To a CPU of its own: left alone, two short-lived threads may share one until they are done. */
static void share_place(const struct share *s)
{
	int cpu = nth_cpu(s->cpus, s->thread);
	cpu_set_t own;

	if (cpu < 0)
		return;
	CPU_ZERO(&own);
	CPU_SET(cpu, &own);
	sched_setaffinity(0, sizeof(own), &own);
}

static void *share_run(void *arg)
{
	struct share *s = arg;

	share_place(s);
	s->begin = bench_seconds();
	s->work(s->arg, s->thread, s->threads);
	s->end = bench_seconds();
	return NULL;
}

double bench_parallel(uint32_t threads, void (*work)(void *arg, uint32_t thread, uint32_t threads), void *arg)
{
	struct share shares[LINEUP_THREADS_MAX];
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		CPU_ZERO(&cpus);
	for (uint32_t t = 0; t < threads; t++)
		shares[t] = (struct share){ .work = work, .arg = arg, .thread = t, .threads = threads, .cpus = &cpus };
	for (uint32_t t = 1; t < threads; t++)
		shares[t].started = pthread_create(&shares[t].id, NULL, share_run, &shares[t]) == 0;
	for (uint32_t t = 0; t < threads; t++) {
		if (!shares[t].started)
			share_run(&shares[t]);
	}
	sched_setaffinity(0, sizeof(cpus), &cpus);
	double begin = INFINITY, end = 0;

	for (uint32_t t = 0; t < threads; t++) {
		if (shares[t].started)
			pthread_join(shares[t].id, NULL);
		if (shares[t].begin < begin)
			begin = shares[t].begin;
		if (shares[t].end > end)
			end = shares[t].end;
	}
	return end - begin;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void bench_sort(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
}

double bench_quantile(const double *sorted, size_t count, double q)
{
	size_t rank = (size_t)ceil(q * (double)count);

	return sorted[rank ? rank - 1 : 0];
}

double bench_median(const double *values, size_t count)
{
	double sorted[BENCH_ROUNDS_MAX];

	memcpy(sorted, values, count * sizeof(*values));
	bench_sort(sorted, count);
	return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

void bench_latency_of(const double *sorted, uint64_t calls, struct bench_latency *latency)
{
	latency->calls = calls;
	latency->p50 = calls ? bench_quantile(sorted, calls, 0.5) : NAN;
	latency->p99 = calls >= 100 ? bench_quantile(sorted, calls, 0.99) : NAN;
	latency->p999 = calls >= 1000 ? bench_quantile(sorted, calls, 0.999) : NAN;
}

uint32_t bench_code_bytes(uint32_t dim)
{
	return (dim + 3) / 4 * 4;
}

double bench_block_bytes(const struct bench_result *result)
{
	return (double)result->gallery.scan_bytes / (double)(result->gallery.templates + result->gallery.templates_deleted);
}

bool bench_on_devices(const struct bench_result *result)
{
	/* Before the first search only a name on the command line tells. */
	const char *backend = result->backend ? result->backend : result->options->backend;

	return backend && strncmp(backend, "vulkan", 6) == 0;
}

double bench_cost(const struct bench_result *result, const struct bench_cell *cell, enum bench_bound bound)
{
	const struct bench_place *place = &result->place[cell->resident];
	double code_bytes = bench_code_bytes(result->gallery.dim);
	/* Probes that share a pass. */
	double share = (double)cell->batch / (cell->passes ? cell->passes : 1), rows = place->rows ? (double)place->rows : 1;
	bool devices = bench_on_devices(result);

	switch (bound) {
	case BENCH_RAM: return devices ? 0 : code_bytes / share;
	case BENCH_MULTIPLY: return code_bytes;
	case BENCH_DISK:
		if (devices)
			return (double)place->disk_bytes / rows / share;
		return cell->resident ? 0 : bench_block_bytes(result) / share;
	case BENCH_DEVICE: return devices ? code_bytes / share : 0;
	case BENCH_UPLOAD: return (double)place->upload_bytes / rows / share;
	default: return 0;
	}
}

const char *const bench_bound_names[] = {
	[BENCH_RAM] = "RAM read", [BENCH_MULTIPLY] = "multiply peak", [BENCH_DISK] = "disk read", [BENCH_DEVICE] = "device read",
	[BENCH_UPLOAD] = "upload", [BENCH_BOUNDS] = "no known limit",
};

/* A limit counts if every round has it. */
static bool known(const double *limit, uint32_t rounds)
{
	for (uint32_t i = 0; i < rounds; i++)
		if (!(limit[i] > 0))
			return false;
	return true;
}

void bench_summarise(const struct bench_cell *cell, uint32_t rounds, struct bench_summary *summary)
{
	double fraction[BENCH_ROUNDS_MAX];
	struct bench_summary s = { .rate = bench_median(cell->rate, rounds), .bound = BENCH_BOUNDS, .fraction = NAN };

	for (int bound = 0; bound < BENCH_BOUNDS; bound++) {
		s.limit[bound] = known(cell->limit[bound], rounds) ? bench_median(cell->limit[bound], rounds) : 0;
		if (s.limit[bound] > 0 && (s.bound == BENCH_BOUNDS || s.limit[bound] < s.limit[s.bound]))
			s.bound = (enum bench_bound)bound;
	}
	if (s.bound != BENCH_BOUNDS) {
		for (uint32_t i = 0; i < rounds; i++)
			fraction[i] = cell->rate[i] / cell->limit[s.bound][i];
		s.fraction = bench_median(fraction, rounds);
	}
	*summary = s;
}
