// SPDX-License-Identifier: MIT
// Memory that a device does not give: allocations, imports and objects that fail, one by one and all at once.
#include <string.h>

#include "vulkan_faults.h"

enum { SAMPLE = 10 };

static uint64_t calls_to_make(struct faults *f, const struct lineup_search_setup *setup, uint32_t mask)
{
	faulty_vk_set(NULL);
	lineup_searcher_destroy(bed_searcher(f->g.bed, setup));
	return faulty_vk_calls(mask);
}

/* Each call of @mask that making a searcher takes fails with @result; and again, with all after it. */
static void fails_each(struct faults *f, const struct lineup_search_setup *setup, uint32_t mask, VkResult result, int err)
{
	uint64_t calls = calls_to_make(f, setup, mask);

	assert_true(calls > 0);
	for (uint32_t for_ever = 0; for_ever < 2; for_ever++)
		for (uint64_t n = faults_next(0, calls, SAMPLE); n; n = faults_next(n, calls, SAMPLE)) {
			struct faulty_vk_plan plan = {
				.fail_mask = mask,
				.fail_at = n,
				.fail_for_ever = for_ever,
				.fail_result = result,
			};
			int have = faults_try(f, setup, &plan);

			if (have && have != err && have != -ENOTSUP)
				fail_msg("call %u of %u: error %d, not %d", (unsigned int)n, (unsigned int)calls, have, err);
		}
}

static void device_memory_that_is_refused_is_said_or_done_without(void **state)
{
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < 2; i++)
		fails_each(&f,
			   &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device,
				  .residency = i ? LINEUP_RESIDENT : LINEUP_STREAMED),
			   FAULTY_VK(AllocateMemory), VK_ERROR_OUT_OF_DEVICE_MEMORY, -ENOMEM);
	faults_end(&f);
}

/* Rows that find no room on the device are read again, or sent again. */
static void device_memory_that_is_refused_during_a_search_changes_no_answer(void **state)
{
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < 3; i++) {
		struct lineup_search_setup setup = SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device,
							 .residency = (enum lineup_residency)i);

		for (uint64_t n = 1; n < 4; n++) {
			struct lineup_searcher *searcher = faults_searcher(&f, &setup);
			struct faulty_vk_plan plan = {
				.fail_mask = FAULTY_VK(AllocateMemory),
				.fail_at = n,
				.fail_for_ever = true,
				.fail_result = VK_ERROR_OUT_OF_DEVICE_MEMORY,
			};

			faulty_vk_set(&plan);
			for (uint32_t round = 0; round < 3; round++)
				faults_search(&f, searcher, &setup);
			faulty_vk_set(NULL);
			faults_search(&f, searcher, &setup);
			faults_searcher_end(&f, searcher);
		}
	}
	faults_end(&f);
}

static void host_memory_that_is_refused_is_said(void **state)
{
	static const uint32_t kinds_that_fail[] = {
		FAULTY_VK(CreateBuffer),       FAULTY_VK(BindBufferMemory2),	FAULTY_VK(MapMemory),
		FAULTY_VK(CreateSemaphore),    FAULTY_VK(CreateCommandPool),	FAULTY_VK(AllocateCommandBuffers),
		FAULTY_VK(ResetCommandPool),   FAULTY_VK(BeginCommandBuffer),	FAULTY_VK(EndCommandBuffer),
		FAULTY_VK(CreateShaderModule), FAULTY_VK(CreatePipelineLayout), FAULTY_VK(CreateComputePipelines),
	};
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds_that_fail); i++) {
		struct lineup_search_setup setup = SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device);

		if (calls_to_make(&f, &setup, kinds_that_fail[i]))
			fails_each(&f, &setup, kinds_that_fail[i], VK_ERROR_OUT_OF_HOST_MEMORY, -ENOMEM);
	}
	faults_end(&f);
}

/* What nothing depends on may fail. */
static void names_and_caches_that_fail_cost_nothing(void **state)
{
	static const uint32_t masks[] = { FAULTY_VK(SetDebugUtilsObjectNameEXT), FAULTY_VK(CreatePipelineCache),
					  FAULTY_VK(GetPipelineCacheData), FAULTY_VK(CreateQueryPool),
					  FAULTY_VK(GetQueryPoolResults) };
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < ARRAY_SIZE(masks); i++) {
		struct faulty_vk_plan plan = {
			.fail_mask = masks[i],
			.fail_at = 1,
			.fail_for_ever = true,
			.fail_result = VK_ERROR_OUT_OF_HOST_MEMORY,
		};
		int err = faults_try(&f, &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device), &plan);

		if (err)
			fail_msg("%s fails, and with it the searcher: %d", faulty_vk_failed_name(), err);
	}
	faults_end(&f);
}

/* Of the commands of a search that are recorded, one cannot be. */
static void a_command_that_cannot_be_recorded_changes_no_answer(void **state)
{
	uint32_t mask = FAULTY_VK(BeginCommandBuffer) | FAULTY_VK(EndCommandBuffer) | FAULTY_VK(ResetCommandPool);
	struct lineup_search_setup setup;
	struct lineup_searcher *searcher;
	struct faults f;
	uint64_t calls;

	(void)state;
	faults_begin(&f);
	setup = SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device);
	searcher = faults_searcher(&f, &setup);
	faults_search(&f, searcher, &setup);
	calls = faulty_vk_calls(mask);
	faults_searcher_end(&f, searcher);
	assert_true(calls > 0);
	for (uint64_t n = faults_next(0, calls, SAMPLE); n; n = faults_next(n, calls, SAMPLE)) {
		struct faulty_vk_plan plan = { .fail_mask = mask, .fail_at = n, .fail_result = VK_ERROR_OUT_OF_DEVICE_MEMORY };

		searcher = faults_searcher(&f, &setup);
		faulty_vk_set(&plan);
		faults_search(&f, searcher, &setup);
		faulty_vk_set(NULL);
		faults_search(&f, searcher, &setup);
		faults_searcher_end(&f, searcher);
	}
	faults_end(&f);
}

static void an_import_that_is_refused_is_replaced_by_a_copy(void **state)
{
	static const struct {
		uint32_t mask;
		VkResult result;
	} ways[] = {
		{ FAULTY_VK(Import), VK_ERROR_INVALID_EXTERNAL_HANDLE },
		{ FAULTY_VK(Import), VK_ERROR_OUT_OF_DEVICE_MEMORY },
		{ FAULTY_VK(GetMemoryHostPointerPropertiesEXT), VK_ERROR_INVALID_EXTERNAL_HANDLE },
	};
	struct lineup_search_setup setup;
	struct lineup_searcher *searcher;
	struct faults f;

	(void)state;
	faults_begin(&f);
	setup = SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .residency = LINEUP_STREAMED);
	searcher = faults_searcher(&f, &setup);
	faults_search(&f, searcher, &setup);
	if (f.vulkan->software)
		assert_string_equal(f.g.bed->facts.staging, "imported");
	faults_searcher_end(&f, searcher);
	for (uint32_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct faulty_vk_plan plan = {
			.fail_mask = ways[i].mask,
			.fail_at = 1,
			.fail_for_ever = true,
			.fail_result = ways[i].result,
		};

		faulty_vk_set(&plan);
		messages_clear(&f.g.bed->messages);
		searcher = bed_searcher(f.g.bed, &setup);
		if (f.vulkan->software)
			assert_true(faulty_vk_failed() > 0);
		faults_search(&f, searcher, &setup);
		assert_string_not_equal(f.g.bed->facts.staging, "imported");
		assert_true(!strncmp(f.g.bed->facts.backend, "vulkan-", 7));
		faults_searcher_end(&f, searcher);
	}
	faults_end(&f);
}

static void an_import_that_is_demanded_and_refused_is_an_error(void **state)
{
	struct faulty_vk_plan plan = {
		.fail_mask = FAULTY_VK(Import),
		.fail_at = 1,
		.fail_for_ever = true,
		.fail_result = VK_ERROR_INVALID_EXTERNAL_HANDLE,
	};
	struct faults f;

	(void)state;
	faults_begin(&f);
	f.g.bed->ctx->gpu_test.staging = "imported";
	assert_int_equal(faults_try(&f,
				    &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .residency = LINEUP_STREAMED),
				    &plan),
			 -ENOTSUP);
	faults_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_memory_that_is_refused_is_said_or_done_without),
		cmocka_unit_test(device_memory_that_is_refused_during_a_search_changes_no_answer),
		cmocka_unit_test(host_memory_that_is_refused_is_said),
		cmocka_unit_test(names_and_caches_that_fail_cost_nothing),
		cmocka_unit_test(a_command_that_cannot_be_recorded_changes_no_answer),
		cmocka_unit_test(an_import_that_is_refused_is_replaced_by_a_copy),
		cmocka_unit_test(an_import_that_is_demanded_and_refused_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
