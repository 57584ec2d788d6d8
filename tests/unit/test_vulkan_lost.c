// SPDX-License-Identifier: MIT
// Devices that are lost: at any call of a search, once and again; the answers stay what they are.
#include <stdio.h>
#include <string.h>

#include "../../shaders/params.h"
#include "vulkan_faults.h"

enum { SAMPLE = 12 };

static bool by_vulkan(const struct faults *f)
{
	return !strncmp(f->g.bed->facts.backend, "vulkan-", 7);
}

static struct faulty_vk_plan lost_at(uint32_t mask, uint64_t n)
{
	return (struct faulty_vk_plan){ .fail_mask = mask, .fail_at = n, .fail_result = VK_ERROR_DEVICE_LOST };
}

/* @warm: searches before the one in which the device is lost: rows may be on it by then. */
static void loses_each(struct faults *f, const struct lineup_search_setup *setup, uint32_t mask, uint32_t warm)
{
	struct lineup_searcher *searcher = faults_searcher(f, setup);
	uint32_t losses = 0, tries = 0;
	uint64_t calls;

	for (uint32_t i = 0; i < warm; i++)
		faults_search(f, searcher, setup);
	faulty_vk_set(NULL);
	faults_search(f, searcher, setup);
	calls = faulty_vk_calls(mask);
	faults_searcher_end(f, searcher);
	for (uint64_t n = faults_next(0, calls, SAMPLE); n; n = faults_next(n, calls, SAMPLE)) {
		struct faulty_vk_plan plan = lost_at(mask, n);

		searcher = faults_searcher(f, setup);
		for (uint32_t i = 0; i < warm; i++)
			faults_search(f, searcher, setup);
		faulty_vk_set(&plan);
		faults_search(f, searcher, setup);
		tries++;
		losses += faulty_vk_failed();
		assert_true((faulty_vk_failed() > 0) == (f->g.bed->messages.warnings > 0));
		assert_true(by_vulkan(f)); /* opened anew, or about to be */
		faulty_vk_set(NULL);
		/* What was lost when the answer was there already is opened anew now. */
		faults_search(f, searcher, setup);
		assert_true(by_vulkan(f));
		messages_clear(&f->g.bed->messages);
		faults_search(f, searcher, setup);
		assert_true(by_vulkan(f));
		faults_say_nothing(f);
		faults_searcher_end(f, searcher);
	}
	/* How often it is waited depends on who is faster: the last calls of the clean run are not always made. */
	assert_true(losses > tries / 2);
}

static void a_device_lost_at_any_submission_changes_no_answer(void **state)
{
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < 3; i++)
		loses_each(&f,
			   &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .residency = (enum lineup_residency)i,
				  .threads = 2),
			   FAULTY_VK(QueueSubmit2), 0);
	loses_each(&f, &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .threads = 2), FAULTY_VK(QueueSubmit2), 1);
	faults_end(&f);
}

static void a_device_lost_at_any_wait_changes_no_answer(void **state)
{
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < 3; i++)
		loses_each(&f,
			   &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .residency = (enum lineup_residency)i,
				  .threads = 2),
			   FAULTY_VK(WaitSemaphores) | FAULTY_VK(GetSemaphoreCounterValue), 0);
	loses_each(&f, &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .threads = 2),
		   FAULTY_VK(WaitSemaphores) | FAULTY_VK(GetSemaphoreCounterValue), 2);
	faults_end(&f);
}

static void a_device_lost_at_any_other_call_changes_no_answer(void **state)
{
	struct faults f;
	uint32_t mask = FAULTY_VK_ALL & ~FAULTY_VK_LOSES & ~FAULTY_VK(DeviceWaitIdle) & ~FAULTY_VK(SetDebugUtilsObjectNameEXT);

	(void)state;
	faults_begin(&f);
	loses_each(&f, &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .threads = 2), mask, 0);
	faults_end(&f);
}

static void one_of_two_devices_lost_changes_no_answer(void **state)
{
	struct faults f;

	(void)state;
	faults_begin(&f);
	loses_each(&f, &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->twice, .threads = 2), FAULTY_VK_LOSES, 0);
	loses_each(&f, &SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->twice, .threads = 2), FAULTY_VK_LOSES, 1);
	faults_end(&f);
}

static void a_second_pass_that_loses_the_device_is_repeated_alone(void **state)
{
	struct lineup_search_setup setup;
	struct faults f;

	(void)state;
	faults_begin(&f);
	setup = SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .threads = 2, .probes_max = 1);
	loses_each(&f, &setup, FAULTY_VK_LOSES, 0);
	faults_end(&f);
}

/* Each device there is gets lost at its next submission. */
static void a_device_lost_again_leaves_the_search_to_the_cpu(void **state)
{
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < 6; i++) {
		struct lineup_search_setup setup = SETUP(.backend = "vulkan-scalar", .threads = 2,
							 .devices = i < 3 ? f.vulkan->device : f.vulkan->twice,
							 .residency = (enum lineup_residency)(i % 3));
		struct lineup_searcher *searcher = faults_searcher(&f, &setup);
		struct faulty_vk_plan plan = lost_at(FAULTY_VK(QueueSubmit2), 1);

		plan.fail_for_ever = true;
		faulty_vk_set(&plan);
		faults_search(&f, searcher, &setup);
		assert_false(by_vulkan(&f));
		assert_int_equal(f.g.bed->facts.devices, 0);
		assert_true(f.g.bed->messages.warnings > 0);
		assert_int_equal(faulty_vk_devices(), 0);
		messages_clear(&f.g.bed->messages);
		faulty_vk_set(NULL);
		for (uint32_t again = 0; again < 3; again++) {
			faults_search(&f, searcher, &setup);
			assert_false(by_vulkan(&f));
		}
		faults_say_nothing(&f);
		faults_searcher_end(&f, searcher);
	}
	faults_end(&f);
}

static void a_device_lost_in_two_searches_leaves_the_rest_to_the_cpu(void **state)
{
	struct lineup_search_setup setup;
	struct lineup_searcher *searcher;
	struct faulty_vk_plan plan = lost_at(FAULTY_VK(QueueSubmit2), 2);
	struct faults f;

	(void)state;
	faults_begin(&f);
	setup = SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device);
	searcher = faults_searcher(&f, &setup);
	faulty_vk_set(&plan);
	faults_search(&f, searcher, &setup);
	assert_true(by_vulkan(&f));
	messages_clear(&f.g.bed->messages);
	faulty_vk_set(&plan);
	faults_search(&f, searcher, &setup);
	assert_false(by_vulkan(&f));
	assert_true(f.g.bed->messages.warnings > 0);
	faults_searcher_end(&f, searcher);
	faults_end(&f);
}

/* Rows that a search was not given: the self-test's scans, which have lists, and those that only take time are left alone. */
static void answer_with_other_rows(void *values, uint32_t size)
{
	struct gpu_scan *scan = values;

	if (size == sizeof(*scan) && !scan->lists && scan->cap)
		scan->row_base += 1u << 30;
}

/* Losses lie further apart than the time in which a second one is the last: as where a pass, or the waiting, takes minutes. */
static void losses_far_apart_end_on_the_cpu_unless_passes_end_between(void **state)
{
	struct faulty_vk_plan always = { .push = answer_with_other_rows }, once = lost_at(FAULTY_VK(QueueSubmit2), 2);
	struct lineup_search_setup setup, any = SETUP(.threads = 2);
	struct faults f;

	(void)state;
	faults_begin(&f);
	f.g.bed->ctx->gpu_test.loss_again_ms = 1;
	for (uint32_t i = 0; i < 2; i++) {
		struct lineup_searcher *searcher;

		setup = SETUP(.backend = "vulkan-scalar", .devices = i ? f.vulkan->twice : f.vulkan->device, .threads = 2);
		searcher = faults_searcher(&f, &setup);
		for (uint32_t n = 0; n < 3; n++) {
			faulty_vk_set(&once);
			faults_search(&f, searcher, &setup);
			assert_int_equal(faulty_vk_failed(), 1);
			assert_true(by_vulkan(&f));
			messages_clear(&f.g.bed->messages);
		}
		faulty_vk_set(&always);
		/* Both losses are said alike. */
		bed_search(f.g.bed, searcher, &any, &f.g.probes, &f.options);
		assert_int_equal(f.g.bed->messages.errors, 0);
		assert_int_equal(messages_with(&f.g.bed->messages, "opened again"), 1);
		assert_int_equal(messages_with(&f.g.bed->messages, "the CPU takes over"), 1);
		assert_false(by_vulkan(&f));
		faults_searcher_end(&f, searcher);
	}
	f.g.bed->ctx->gpu_test.loss_again_ms = 0;
	faults_end(&f);
}

/* The device is lost, and what is needed to open it anew fails: each call in turn. */
static void a_device_that_cannot_be_opened_anew_leaves_the_search_to_the_cpu(void **state)
{
	static const uint32_t masks[] = { FAULTY_VK(CreateSemaphore), FAULTY_VK(CreateCommandPool), FAULTY_VK(AllocateMemory),
					  FAULTY_VK(CreateComputePipelines), FAULTY_VK(MapMemory) };
	struct lineup_search_setup setup;
	struct faults f;

	(void)state;
	faults_begin(&f);
	setup = SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device);
	for (uint32_t i = 0; i < ARRAY_SIZE(masks); i++) {
		struct lineup_searcher *searcher = faults_searcher(&f, &setup);
		struct faulty_vk_plan plan = lost_at(FAULTY_VK(QueueSubmit2) | masks[i], 1);

		/* Nothing of the kind comes before the submission: searches allocate nothing. */
		plan.fail_for_ever = true;
		faulty_vk_set(&plan);
		faults_search(&f, searcher, &setup);
		assert_false(by_vulkan(&f));
		faulty_vk_set(NULL);
		faults_search(&f, searcher, &setup);
		assert_false(by_vulkan(&f));
		faults_searcher_end(&f, searcher);
	}
	faults_end(&f);
}

/* While it is opened, tested and loaded. */
static void a_device_lost_while_a_searcher_is_made_is_said_or_replaced(void **state)
{
	struct faults f;

	(void)state;
	faults_begin(&f);
	for (uint32_t i = 0; i < 2; i++) {
		struct lineup_search_setup setup = SETUP(.backend = "vulkan-scalar", .devices = f.vulkan->device, .threads = 2,
							 .residency = i ? LINEUP_RESIDENT : LINEUP_STREAMED);
		uint64_t calls;

		faulty_vk_set(NULL);
		lineup_searcher_destroy(bed_searcher(f.g.bed, &setup));
		calls = faulty_vk_calls(FAULTY_VK_LOSES);
		assert_true(calls > 0);
		for (uint64_t n = faults_next(0, calls, SAMPLE); n; n = faults_next(n, calls, SAMPLE)) {
			struct faulty_vk_plan plan = lost_at(FAULTY_VK_LOSES, n);
			int err = faults_try(&f, &setup, &plan);

			if (err && err != -ENODEV && err != -ENOTSUP)
				fail_msg("call %u: error %d", (unsigned int)n, err);
		}
	}
	faults_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_lost_at_any_submission_changes_no_answer),
		cmocka_unit_test(a_device_lost_at_any_wait_changes_no_answer),
		cmocka_unit_test(a_device_lost_at_any_other_call_changes_no_answer),
		cmocka_unit_test(one_of_two_devices_lost_changes_no_answer),
		cmocka_unit_test(a_second_pass_that_loses_the_device_is_repeated_alone),
		cmocka_unit_test(a_device_lost_again_leaves_the_search_to_the_cpu),
		cmocka_unit_test(a_device_lost_in_two_searches_leaves_the_rest_to_the_cpu),
		cmocka_unit_test(losses_far_apart_end_on_the_cpu_unless_passes_end_between),
		cmocka_unit_test(a_device_that_cannot_be_opened_anew_leaves_the_search_to_the_cpu),
		cmocka_unit_test(a_device_lost_while_a_searcher_is_made_is_said_or_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
