// SPDX-License-Identifier: MIT
// Searchers under a plan of faults: the right answer, or one error and nothing left behind.
#include <inttypes.h>
#include <string.h>

#include "vulkan_faults.h"

void faults_begin(struct faults *f)
{
	memset(f, 0, sizeof(*f));
	f->vulkan = vulkan_here();
	f->rng.state = test_seed();
	growth_begin(&f->g, &f->rng, &kinds[1], 64, 2500, 3);
	f->g.bed->story = "faulty device";
	f->g.bed->ctx->gpu_test.piece_bytes = 64 << 10;
	f->g.bed->ctx->gpu_test.chunk_rows = 600;
	f->options = OPTIONS(.k = 5);
	faulty_vk_attach(f->g.bed->ctx);
	vulkan_watchdog(600);
}

void faults_end(struct faults *f)
{
	vulkan_watchdog(0);
	faulty_vk_set(NULL);
	growth_end(&f->g);
}

void faults_say_nothing(struct faults *f)
{
	if (f->g.bed->messages.count)
		fail_msg("nothing is wrong, but it is said: %s", f->g.bed->messages.text[0]);
}

/* What is said to people is said once for each time that it happens. */
static void nothing_is_said_twice(struct faults *f)
{
	uint32_t times = faulty_vk_failed() ? faulty_vk_failed() : 1;
	struct messages *m = &f->g.bed->messages;

	for (uint32_t i = 0; i < m->count; i++)
		if (messages_with(m, m->text[i]) > times)
			fail_msg("said %u times, with %s failing %u times: %s", messages_with(m, m->text[i]),
				 faulty_vk_failed_name(), faulty_vk_failed(), m->text[i]);
}

static void nothing_is_left(struct faults *f)
{
	const char *leak = faulty_vk_leak();

	if (leak)
		fail_msg("left behind, with %s failing: %s", faulty_vk_failed_name(), leak);
	(void)f;
}

struct lineup_searcher *faults_searcher(struct faults *f, const struct lineup_search_setup *setup)
{
	struct lineup_searcher *searcher;

	faulty_vk_set(NULL);
	searcher = bed_searcher(f->g.bed, setup);
	messages_clear(&f->g.bed->messages);
	faulty_vk_set(NULL);
	return searcher;
}

void faults_search(struct faults *f, struct lineup_searcher *searcher, const struct lineup_search_setup *setup)
{
	struct lineup_search_setup any = *setup;

	any.backend = NULL; /* the CPU may have taken over */
	any.residency = LINEUP_RESIDENCY_AUTO;
	bed_search(f->g.bed, searcher, &any, &f->g.probes, &f->options);
	if (f->g.bed->messages.errors)
		fail_msg("a right answer, but an error is said, with %s failing: %s", faulty_vk_failed_name(),
			 f->g.bed->messages.error);
	nothing_is_said_twice(f);
}

void faults_searcher_end(struct faults *f, struct lineup_searcher *searcher)
{
	lineup_searcher_destroy(searcher);
	nothing_is_left(f);
}

int faults_try(struct faults *f, const struct lineup_search_setup *setup, const struct faulty_vk_plan *plan)
{
	struct messages *m = &f->g.bed->messages;
	struct lineup_searcher *searcher = NULL;
	int err;

	messages_clear(m);
	faulty_vk_set(plan);
	err = lineup_searcher_create(f->g.bed->gallery, setup, &searcher);
	nothing_is_said_twice(f);
	if (err) {
		assert_null(searcher);
		if (m->errors != 1)
			fail_msg("%u errors are said for %d, with %s failing: %s", m->errors, err, faulty_vk_failed_name(),
				 m->error);
		nothing_is_left(f);
		return err;
	}
	faults_search(f, searcher, setup);
	faulty_vk_set(NULL);
	faults_search(f, searcher, setup);
	faults_searcher_end(f, searcher);
	return 0;
}

uint64_t faults_next(uint64_t n, uint64_t count, uint64_t most)
{
	uint64_t step = count > most ? (count + most - 1) / most : 1;

	if (n >= count)
		return 0;
	if (n < 3)
		return n + 1;
	return n + step < count ? n + step : count;
}
