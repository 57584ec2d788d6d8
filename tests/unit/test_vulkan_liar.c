// SPDX-License-Identifier: MIT
// Drivers that compute wrongly, compile nothing, or remember nonsense: no variant that is not right gets to search.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../shaders/params.h"
#include "vulkan_faults.h"

enum { SAMPLE = 24 };

/* ---- the self-test notices what a driver does wrong ---- */

static struct lineup_search_setup streamed(const struct faults *f, const char *backend)
{
	return SETUP(.backend = backend, .devices = f->vulkan->device, .residency = LINEUP_STREAMED);
}

static void a_dispatch_that_is_left_out_refuses_the_variant(void **state)
{
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t v = 0; v < f.vulkan->count; v++) {
		struct lineup_search_setup setup = streamed(&f, f.vulkan->backend[v]);
		uint64_t dispatches;

		faulty_vk_set(NULL);
		lineup_searcher_destroy(bed_searcher(f.g.bed, &setup));
		dispatches = faulty_vk_dispatches();
		assert_true(dispatches > 0);
		for (uint64_t n = faults_next(0, dispatches, SAMPLE); n; n = faults_next(n, dispatches, SAMPLE)) {
			int err = faults_try(&f, &setup, &(struct faulty_vk_plan){ .skip_at = n });

			if (err != -ENOTSUP)
				fail_msg("%s, without dispatch %u of %u: %d", setup.backend, (unsigned int)n,
					 (unsigned int)dispatches, err);
		}
	}
	faults_end(&f);
}

static void scan_other_rows(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_scan))
		((struct gpu_scan *)values)->row_base++;
}

static void scan_fewer_rows(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_scan))
		((struct gpu_scan *)values)->rows--;
}

static void scan_one_probe_less(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_scan) && ((struct gpu_scan *)values)->probes > 1)
		((struct gpu_scan *)values)->probes--;
}

static void scan_less_of_each_row(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_scan) && ((struct gpu_scan *)values)->pitch > 4)
		((struct gpu_scan *)values)->pitch -= 4;
}

static void scan_any_list(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_scan))
		((struct gpu_scan *)values)->lists = 0;
}

static void scan_long_ago(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_scan))
		((struct gpu_scan *)values)->now = 1;
}

static void refresh_for_smaller_k(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_refresh) && ((struct gpu_refresh *)values)->k > 1)
		((struct gpu_refresh *)values)->k--;
}

static void refresh_by_another_key(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_refresh))
		((struct gpu_refresh *)values)->distinct ^= 1;
}

static void unpack_the_deleted(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_unpack))
		((struct gpu_unpack *)values)->deleted = 0;
}

static void unpack_fewer_rows(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_unpack))
		((struct gpu_unpack *)values)->rows--;
}

static void unpack_less_of_each_row(void *values, uint32_t size)
{
	if (size == sizeof(struct gpu_unpack))
		((struct gpu_unpack *)values)->groups--;
}

static void a_kernel_that_is_wrong_refuses_the_variant(void **state)
{
	static const struct {
		const char *what;
		void (*push)(void *values, uint32_t size);
	} lies[] = {
		{ "scan_other_rows", scan_other_rows },
		{ "scan_fewer_rows", scan_fewer_rows },
		{ "scan_one_probe_less", scan_one_probe_less },
		{ "scan_less_of_each_row", scan_less_of_each_row },
		{ "scan_any_list", scan_any_list },
		{ "scan_long_ago", scan_long_ago },
		{ "refresh_for_smaller_k", refresh_for_smaller_k },
		{ "refresh_by_another_key", refresh_by_another_key },
		{ "unpack_the_deleted", unpack_the_deleted },
		{ "unpack_fewer_rows", unpack_fewer_rows },
		{ "unpack_less_of_each_row", unpack_less_of_each_row },
	};
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < ARRAY_SIZE(lies) * f.vulkan->count; i++) {
		struct lineup_search_setup setup = streamed(&f, f.vulkan->backend[i % f.vulkan->count]);
		int err = faults_try(&f, &setup, &(struct faulty_vk_plan){ .push = lies[i / f.vulkan->count].push });

		if (err != -ENOTSUP)
			fail_msg("%s, %s: %d", setup.backend, lies[i / f.vulkan->count].what, err);
	}
	faults_end(&f);
}

static void a_device_that_computes_nothing_right_is_refused(void **state)
{
	struct lineup_search_setup setup;
	struct faults f;

	(void)state;
	faults_begin(&f);
	setup = streamed(&f, "vulkan");
	assert_int_equal(faults_try(&f, &setup, &(struct faulty_vk_plan){ .skip_at = UINT64_MAX }), -ENOTSUP);
	faults_end(&f);
}

/* ---- pipelines that do not compile ---- */

static void a_variant_that_does_not_compile_has_a_successor(void **state)
{
	struct lineup_search_setup setup;
	struct faults f;
	uint64_t calls;

	(void)state;
	faults_begin(&f);
	setup = streamed(&f, "vulkan");
	faulty_vk_set(NULL);
	lineup_searcher_destroy(bed_searcher(f.g.bed, &setup));
	calls = faulty_vk_calls(FAULTY_VK(CreateComputePipelines));
	for (uint32_t kind = 0; kind < 2; kind++)
		for (uint64_t n = faults_next(0, calls, SAMPLE); n; n = faults_next(n, calls, SAMPLE)) {
			struct faulty_vk_plan plan = {
				.fail_mask = kind ? FAULTY_VK(CreateComputePipelines) : FAULTY_VK(CreateShaderModule),
				.fail_at = n,
				.fail_result = VK_ERROR_UNKNOWN,
			};
			int err = faults_try(&f, &setup, &plan);

			/* What all variants share may be what failed. */
			if (err && err != -ENOTSUP)
				fail_msg("pipeline %u: %d", (unsigned int)n, err);
		}
	faults_end(&f);
}

static void no_pipeline_at_all_is_an_error(void **state)
{
	struct faulty_vk_plan plan = {
		.fail_mask = FAULTY_VK(CreateComputePipelines),
		.fail_at = 1,
		.fail_for_ever = true,
		.fail_result = VK_ERROR_UNKNOWN,
	};
	struct lineup_search_setup setup;
	struct faults f;

	(void)state;
	faults_begin(&f);
	setup = streamed(&f, "vulkan");
	assert_int_equal(faults_try(&f, &setup, &plan), -ENOTSUP);
	for (uint32_t v = 0; v < f.vulkan->count; v++) {
		setup = streamed(&f, f.vulkan->backend[v]);
		assert_int_equal(faults_try(&f, &setup, &plan), -ENOTSUP);
	}
	faults_end(&f);
}

/* ---- the pipeline cache ---- */

enum decay { EMPTY, HALF, NOISE, HEADER, TAIL, DIRECTORY, DECAYS };

static void decay_file(const char *path, enum decay how, struct rng *rng)
{
	struct stat st;
	uint8_t *data;
	int fd;

	if (how == DIRECTORY) {
		assert_int_equal(unlink(path), 0);
		assert_int_equal(mkdir(path, 0700), 0);
		return;
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	data = calloc(1, (size_t)st.st_size + 4096);
	assert_non_null(data);
	assert_true(pread(fd, data, (size_t)st.st_size, 0) == st.st_size);
	for (off_t i = 0; i < st.st_size; i++)
		if (how == NOISE || (how == HEADER && i < 64 && i % 5 == 0) || (how == TAIL && i > st.st_size - 64))
			data[i] ^= (uint8_t)(1 + rng_below(rng, 255));
	assert_true(pwrite(fd, data, (size_t)st.st_size, 0) == st.st_size);
	if (how == EMPTY || how == HALF)
		assert_int_equal(ftruncate(fd, how == EMPTY ? 0 : st.st_size / 2), 0);
	free(data);
	close(fd);
}

/* Calls decay_file for each regular file of @dir; their number. */
static uint32_t decay_all(const char *dir, enum decay how, struct rng *rng)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	uint32_t count = 0;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		char path[700];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (entry->d_name[0] == '.' || stat(path, &st) || !S_ISREG(st.st_mode))
			continue;
		decay_file(path, how, rng);
		count++;
	}
	closedir(d);
	return count;
}

static void a_cache_that_decays_changes_nothing(void **state)
{
	struct lineup_search_setup setup;
	struct faults f;

	(void)state;
	faults_begin(&f);
	vulkan_own_cache(f.g.bed);
	setup = streamed(&f, "vulkan-scalar");
	for (uint32_t how = 0; how < DECAYS; how++) {
		directory_remove(f.g.bed->ctx->gpu_test.cache_dir);
		assert_int_equal(mkdir(f.g.bed->ctx->gpu_test.cache_dir, 0700), 0);
		assert_int_equal(faults_try(&f, &setup, NULL), 0);
		assert_true(decay_all(f.g.bed->ctx->gpu_test.cache_dir, (enum decay)how, &f.rng) > 0);
		for (uint32_t round = 0; round < 2; round++) {
			assert_int_equal(faults_try(&f, &setup, NULL), 0);
			assert_int_equal(f.g.bed->messages.errors, 0);
		}
	}
	faults_end(&f);
}

static void a_cache_that_cannot_be_kept_changes_nothing(void **state)
{
	struct faults f;
	struct lineup_search_setup setup;

	(void)state;
	faults_begin(&f);
	setup = streamed(&f, "vulkan-scalar");
	f.g.bed->ctx->gpu_test.cache_dir = "/proc/no/such/directory";
	assert_int_equal(faults_try(&f, &setup, NULL), 0);
	f.g.bed->ctx->gpu_test.cache_dir = "/dev/null";
	assert_int_equal(faults_try(&f, &setup, NULL), 0);
	faults_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dispatch_that_is_left_out_refuses_the_variant),
		cmocka_unit_test(a_kernel_that_is_wrong_refuses_the_variant),
		cmocka_unit_test(a_device_that_computes_nothing_right_is_refused),
		cmocka_unit_test(a_variant_that_does_not_compile_has_a_successor),
		cmocka_unit_test(no_pipeline_at_all_is_an_error),
		cmocka_unit_test(a_cache_that_decays_changes_nothing),
		cmocka_unit_test(a_cache_that_cannot_be_kept_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
