// SPDX-License-Identifier: MIT
// Submissions: recorded one after the other, each as long as a watchdog likes it, by what the last ones took.
#include <time.h>

#include "pass.h"

enum { NS_MS = 1000000, MEASURE_NS_MIN = 2 * NS_MS, RATE_GROWTH_MAX = 8 };

static const uint64_t second_ns = 1000000000;

uint64_t lineup_gpu_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * second_ns + (uint64_t)t.tv_nsec;
}

static uint64_t clock_ns(const struct gpu *gpu)
{
	const struct lineup_gpu_test *test = &gpu->gpus->ctx->gpu_test;

	return test->now_ns ? test->now_ns(test->arg) : lineup_gpu_now_ns();
}

int lineup_gpu_wait(struct gpu *gpu, const struct lineup_vk_queue *queue, uint64_t value)
{
	uint64_t silence_ns = gpu->gpus->ctx->gpu_test.silence_ms * (uint64_t)NS_MS, waited_ns = 0;
	int err = -ETIMEDOUT;

	silence_ns = silence_ns ? silence_ns : GPU_SILENCE_S * second_ns;
	for (; err == -ETIMEDOUT && waited_ns < silence_ns; waited_ns += second_ns)
		err = lineup_vk_wait(gpu->device, queue, value, silence_ns < second_ns ? silence_ns : second_ns);
	if (err != -ETIMEDOUT)
		return err;
	/* What it still does cannot be known: nothing it may touch is freed. */
	atomic_store(&gpu->hung, true);
	if (!atomic_exchange(&gpu->device->lost, true))
		lineup_warn(gpu->gpus->ctx, "%s: no answer for %llu s: it counts as lost", gpu->device->info.name,
			    (unsigned long long)(silence_ns / second_ns));
	return -ENODEV;
}

/*
 * What a wait for @s tells of the device's rate. Where the wait took time, the device has just finished; where it did not, it
 * may have done so long ago, and the rate is a lower bound. A thread that was kept from running between two waits sees the second
 * end at once, whatever it took: so that no single such rate makes a submission that a watchdog ends, a rate grows by steps.
 */
static void measure(struct gpu *gpu, const struct gpu_submission *s, bool waited)
{
	double *rate = &gpu->rate[gpu->layout.probes <= LINEUP_GPU_GEMV_PROBES];
	uint64_t now = clock_ns(gpu), begun = s->begun_ns;
	double took, seen;

	if (waited && gpu->finished_ns > begun)
		begun = gpu->finished_ns;
	gpu->finished_ns = now;
	if (!s->products)
		return;
	took = (double)(now - begun + 1);
	seen = (double)s->products * NS_MS / took;
	seen = seen < RATE_GROWTH_MAX * *rate ? seen : RATE_GROWTH_MAX * *rate;
	if (!waited || took < MEASURE_NS_MIN)
		*rate = seen > *rate ? seen : *rate;
	else
		*rate = (*rate + seen) / 2;
}

static int submission_wait(struct gpu *gpu, struct gpu_submission *s)
{
	bool waited;
	int err;

	if (!s->value)
		return 0;
	err = lineup_vk_wait(gpu->device, &gpu->device->compute, s->value, 0);
	waited = err == -ETIMEDOUT;
	if (waited)
		err = lineup_gpu_wait(gpu, &gpu->device->compute, s->value);
	if (!err)
		measure(gpu, s, waited);
	s->value = 0;
	return err;
}

int lineup_gpu_finish(struct gpu *gpu, uint64_t value)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < GPU_SUBMISSIONS; i++) {
		struct gpu_submission *s = &gpu->submissions[(gpu->submission_next + i) % GPU_SUBMISSIONS];

		if (s->value <= value)
			err = submission_wait(gpu, s);
	}
	return err ? err : lineup_gpu_wait(gpu, &gpu->device->compute, value);
}

int lineup_gpu_record(struct gpu *gpu, struct lineup_vk_commands **commands)
{
	struct gpu_submission *s = &gpu->submissions[gpu->submission_next];
	int err;

	if (!gpu->open) {
		err = submission_wait(gpu, s);
		if (!err)
			err = lineup_vk_begin(gpu->device, &s->commands);
		if (err)
			return err;
		lineup_vk_barrier(gpu->device, &s->commands); /* after what earlier submissions wrote */
		s->products = 0;
		gpu->open = s;
		gpu->submission_next = (gpu->submission_next + 1) % GPU_SUBMISSIONS;
	}
	*commands = &gpu->open->commands;
	return 0;
}

int lineup_gpu_submit(struct gpu *gpu, uint64_t *value)
{
	struct gpu_submission *s = gpu->open;
	int err;

	*value = gpu->device->compute.submitted;
	if (!s)
		return 0;
	gpu->open = NULL;
	s->begun_ns = clock_ns(gpu); /* before: this thread may be kept from running after */
	err = lineup_vk_submit(gpu->device, &gpu->device->compute, &s->commands, gpu->after, gpu->after_value, &s->value);
	gpu->after = NULL;
	if (err) {
		s->value = 0;
		return err;
	}
	*value = s->value;
	return 0;
}

int lineup_gpu_submit_and_wait(struct gpu *gpu)
{
	struct gpu_submission *s = gpu->open;
	uint64_t value;
	int err = lineup_gpu_submit(gpu, &value);

	if (err)
		return err;
	return s ? submission_wait(gpu, s) : lineup_gpu_wait(gpu, &gpu->device->compute, value);
}
