// SPDX-License-Identifier: MIT
// The device layer: opening, buffers, commands, waiting, and every call that can fail, failing.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vulkan_device.h"

enum { WORDS = 1 << 16, BYTES = WORDS * 4 };
static const uint64_t second_ns = 1000000000;

/* ---- one of everything ---- */

struct session {
	struct lineup_vk_buffer upload, device, readback, imported;
	struct lineup_vk_commands commands;
	struct lineup_vk_kernel kernel;
	void *pages;
};

static int make_buffers(struct device_bed *bed, struct session *s)
{
	struct lineup_vk_device *d = bed->device;
	int err = lineup_vk_buffer_create(d, LINEUP_VK_UPLOAD, BYTES, "upload", &s->upload);

	if (!err)
		err = lineup_vk_buffer_create(d, LINEUP_VK_DEVICE, BYTES, "device", &s->device);
	if (!err)
		err = lineup_vk_buffer_create(d, LINEUP_VK_READBACK, BYTES, "readback", &s->readback);
	if (err || !d->import_alignment)
		return err;
	err = lineup_vk_buffer_import(d, s->pages, BYTES, "imported", &s->imported);
	return err == -ENOTSUP ? 0 : err;
}

/* upload -> device -> readback, by the queue of copies if there is one. */
static int copy_through(struct device_bed *bed, struct session *s)
{
	struct lineup_vk_device *d = bed->device;
	uint64_t value;
	int err = lineup_vk_begin(d, &s->commands);

	if (err)
		return err;
	for (uint32_t i = 0; i < WORDS; i++)
		((uint32_t *)s->upload.map)[i] = i * 2654435761u;
	lineup_vk_copy(d, &s->commands, &s->upload, 0, &s->device, 0, BYTES);
	lineup_vk_barrier(d, &s->commands);
	lineup_vk_copy(d, &s->commands, &s->device, 0, &s->readback, 0, BYTES);
	lineup_vk_barrier(d, &s->commands);
	err = lineup_vk_submit(d, &d->compute, &s->commands, NULL, 0, &value);
	return err ? err : lineup_vk_wait(d, &d->compute, value, 60 * second_ns);
}

static int run_session(struct device_bed *bed, struct session *s)
{
	struct lineup_vk_shape_of shape = { 0 };
	uint8_t hash[32];
	int err = lineup_vk_open(bed->ctx, &bed->which, &bed->device);

	if (err)
		return err;
	lineup_vk_shaders_hash(hash);
	lineup_vk_shape_unpack(bed->device, &shape);
	err = lineup_vk_cache_open(bed->device, hash);
	if (!err)
		err = lineup_vk_kernel_create(bed->device, &shape, sizeof(struct gpu_unpack), &s->kernel);
	if (!err)
		lineup_vk_cache_save(bed->device);
	if (!err)
		err = make_buffers(bed, s);
	if (!err)
		err = lineup_vk_commands_create(bed->device, &bed->device->compute, "test", &s->commands);
	return err ? err : copy_through(bed, s);
}

static void session_begin(struct session *s)
{
	memset(s, 0, sizeof(*s));
	s->pages = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(s->pages != MAP_FAILED);
}

static void session_end(struct device_bed *bed, struct session *s)
{
	if (bed->device) {
		/* What was submitted may run on where only the wait for it failed. */
		bed->device->api.DeviceWaitIdle(bed->device->device);
		/* Also where making them failed: all takes what is zero. */
		lineup_vk_pipeline_destroy(bed->device, &s->kernel.pipeline);
		lineup_vk_commands_destroy(bed->device, &s->commands);
		lineup_vk_buffer_destroy(bed->device, &s->imported);
		lineup_vk_buffer_destroy(bed->device, &s->readback);
		lineup_vk_buffer_destroy(bed->device, &s->device);
		lineup_vk_buffer_destroy(bed->device, &s->upload);
	}
	device_bed_close(bed);
	munmap(s->pages, BYTES);
}

static void what_is_copied_arrives(void **state)
{
	struct device_bed bed;
	struct session s;

	(void)state;
	device_bed_begin(&bed);
	session_begin(&s);
	assert_int_equal(run_session(&bed, &s), 0);
	assert_memory_equal(s.upload.map, s.readback.map, BYTES);
	assert_true(s.upload.address && s.device.address && s.readback.address);
	assert_null(s.device.map);
	session_end(&bed, &s);
	assert_int_equal(bed.messages.errors + bed.messages.warnings, 0);
	device_bed_end(&bed);
}

/* ---- failures ---- */

/* Number after number of the calls that can fail, until there are no more: it is said, or it does not matter, and nothing is left behind. */
static void fail_each(VkResult result, bool (*expected)(int err))
{
	struct device_bed bed;
	struct session s;
	uint32_t failed = 0;

	device_bed_begin(&bed);
	for (uint64_t at = 1;; at++) {
		struct faulty_vk_plan plan = { .fail_mask = FAULTY_VK_ALL, .fail_at = at, .fail_result = result };
		int err;

		messages_clear(&bed.messages);
		session_begin(&s);
		faulty_vk_set(&plan);
		err = run_session(&bed, &s);
		failed = faulty_vk_failed();
		if (!expected(err) || bed.messages.errors > 1)
			fail_msg("%s (call %llu) failing: %d, %u errors", faulty_vk_failed_name(), (unsigned long long)at, err,
				 bed.messages.errors);
		if (!bed.device)
			assert_int_equal(bed.messages.errors, 1); /* opening says why */
		if (bed.device && err)
			assert_int_equal(bed.messages.errors, 0); /* the others leave that to the caller */
		session_end(&bed, &s);
		if (!failed)
			break;
	}
	faulty_vk_set(NULL);
	session_begin(&s);
	assert_int_equal(run_session(&bed, &s), 0);
	session_end(&bed, &s);
	device_bed_end(&bed);
}

static bool is_lack_of_memory(int err)
{
	return !err || err == -ENOMEM || err == -EIO; /* a pipeline may fail for the lack of it */
}

static bool is_failure(int err)
{
	return !err || err == -EIO || err == -ENODEV; /* opening makes the latter of the former */
}

static bool is_loss(int err)
{
	return !err || err == -ENODEV;
}

static void every_call_may_lack_device_memory(void **state)
{
	(void)state;
	fail_each(VK_ERROR_OUT_OF_DEVICE_MEMORY, is_lack_of_memory);
}

static void every_call_may_lack_host_memory(void **state)
{
	(void)state;
	fail_each(VK_ERROR_OUT_OF_HOST_MEMORY, is_lack_of_memory);
}

static void every_call_may_fail(void **state)
{
	(void)state;
	fail_each(VK_ERROR_UNKNOWN, is_failure);
}

static void every_call_may_lose_the_device(void **state)
{
	(void)state;
	fail_each(VK_ERROR_DEVICE_LOST, is_loss);
}

static void a_lost_device_stays_lost_and_is_said_once(void **state)
{
	struct faulty_vk_plan plan = { .fail_mask = FAULTY_VK(QueueSubmit2), .fail_at = 1, .fail_result = VK_ERROR_DEVICE_LOST };
	struct lineup_vk_shape_of shape = { 0 };
	struct lineup_vk_buffer buffer = { 0 };
	struct lineup_vk_commands commands = { 0 };
	struct lineup_vk_kernel kernel = { 0 };
	struct device_bed bed;
	struct session s;
	uint64_t value;

	(void)state;
	device_bed_begin(&bed);
	session_begin(&s);
	faulty_vk_set(&plan);
	assert_int_equal(run_session(&bed, &s), -ENODEV);
	/* The plan is over: that the rest fails is the library's doing. */
	faulty_vk_set(NULL);
	lineup_vk_shape_unpack(bed.device, &shape);
	assert_true(atomic_load(&bed.device->lost));
	assert_int_equal(lineup_vk_begin(bed.device, &s.commands), -ENODEV);
	assert_int_equal(lineup_vk_wait(bed.device, &bed.device->compute, 0, 0), -ENODEV);
	assert_int_equal(lineup_vk_buffer_create(bed.device, LINEUP_VK_DEVICE, BYTES, "more", &buffer), -ENODEV);
	assert_int_equal(lineup_vk_buffer_import(bed.device, s.pages, BYTES, "more", &buffer), -ENODEV);
	assert_int_equal(lineup_vk_commands_create(bed.device, &bed.device->compute, "more", &commands), -ENODEV);
	assert_int_equal(lineup_vk_kernel_create(bed.device, &shape, sizeof(struct gpu_unpack), &kernel), -ENODEV);
	assert_int_equal(lineup_vk_submit(bed.device, &bed.device->compute, &s.commands, NULL, 0, &value), -ENODEV);
	assert_int_equal(faulty_vk_calls(FAULTY_VK(QueueSubmit2) | FAULTY_VK(WaitSemaphores) | FAULTY_VK(AllocateMemory)), 0);
	assert_int_equal(bed.messages.warnings, 1);
	assert_int_equal(messages_with(&bed.messages, "lost"), 1);
	session_end(&bed, &s);
	/* Another one can be opened. */
	session_begin(&s);
	assert_int_equal(run_session(&bed, &s), 0);
	session_end(&bed, &s);
	device_bed_end(&bed);
}

static void names_are_no_reason_to_fail(void **state)
{
	struct faulty_vk_plan plan = {
		.fail_mask = FAULTY_VK(SetDebugUtilsObjectNameEXT), .fail_at = 1, .fail_for_ever = true,
		.fail_result = VK_ERROR_OUT_OF_HOST_MEMORY,
	};
	struct device_bed bed;
	struct session s;

	(void)state;
	device_bed_begin(&bed);
	session_begin(&s);
	faulty_vk_set(&plan);
	assert_int_equal(run_session(&bed, &s), 0);
	session_end(&bed, &s);
	device_bed_end(&bed);
}

/* ---- buffers ---- */

static void a_buffer_that_cannot_be_is_lack_of_memory(void **state)
{
	struct lineup_vk_buffer buffer = { 0 };
	struct device_bed bed;

	(void)state;
	device_bed_begin(&bed);
	device_bed_open(&bed);
	assert_true(bed.device->allocation_max > 0);
	assert_int_equal(lineup_vk_buffer_create(bed.device, LINEUP_VK_DEVICE, bed.device->allocation_max + 1, "huge", &buffer), -ENOMEM);
	assert_int_equal(lineup_vk_buffer_create(bed.device, LINEUP_VK_DEVICE, UINT64_MAX, "huge", &buffer), -ENOMEM);
	assert_int_equal(lineup_vk_buffer_create(bed.device, LINEUP_VK_DEVICE, 0, "none", &buffer), -ENOMEM);
	assert_null(buffer.buffer);
	assert_int_equal(bed.messages.errors, 0);
	assert_true(lineup_vk_memory_available(bed.device) > 0);
	device_bed_end(&bed);
}

static void filled_words_are_read_back(void **state)
{
	struct lineup_vk_commands commands;
	struct lineup_vk_buffer buffer;
	struct device_bed bed;
	const uint32_t *words;
	uint64_t value;

	(void)state;
	device_bed_begin(&bed);
	device_bed_open(&bed);
	assert_int_equal(lineup_vk_buffer_create(bed.device, LINEUP_VK_READBACK, BYTES, "words", &buffer), 0);
	assert_int_equal(lineup_vk_commands_create(bed.device, &bed.device->compute, "fill", &commands), 0);
	for (uint32_t round = 1; round <= 3; round++) { /* commands are recorded again and again */
		assert_int_equal(lineup_vk_begin(bed.device, &commands), 0);
		lineup_vk_fill(bed.device, &commands, &buffer, 0, BYTES, round);
		lineup_vk_barrier(bed.device, &commands);
		lineup_vk_fill(bed.device, &commands, &buffer, 8, 4, 77);
		lineup_vk_barrier(bed.device, &commands);
		assert_int_equal(lineup_vk_submit(bed.device, &bed.device->compute, &commands, &bed.device->compute, round - 1, &value), 0);
		assert_int_equal(value, round);
		assert_int_equal(lineup_vk_wait(bed.device, &bed.device->compute, value, 60 * second_ns), 0);
		words = buffer.map;
		for (uint32_t i = 0; i < WORDS; i++)
			assert_int_equal(words[i], i == 2 ? 77 : round);
	}
	lineup_vk_commands_destroy(bed.device, &commands);
	lineup_vk_buffer_destroy(bed.device, &buffer);
	device_bed_end(&bed);
}

static void imported_memory_is_copied_from(void **state)
{
	struct lineup_vk_buffer from = { 0 }, to;
	struct lineup_vk_commands commands;
	struct device_bed bed;
	uint64_t align, value;
	uint8_t *pages;
	int err;

	(void)state;
	device_bed_begin(&bed);
	device_bed_open(&bed);
	align = bed.device->import_alignment;
	pages = mmap(NULL, 2 * BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(pages != MAP_FAILED);
	for (uint32_t i = 0; i < BYTES; i++)
		pages[i] = (uint8_t)(i * 7 >> 3);
	err = align ? lineup_vk_buffer_import(bed.device, pages, BYTES, "pages", &from) : -ENOTSUP;
	if (err == -ENOTSUP) {
		munmap(pages, 2 * BYTES);
		device_bed_end(&bed);
		print_message("this device imports no host memory\n");
		skip();
	}
	assert_int_equal(err, 0);
	assert_ptr_equal(from.map, pages);
	assert_true(from.imported);
	assert_int_equal(lineup_vk_buffer_create(bed.device, LINEUP_VK_READBACK, BYTES, "copy", &to), 0);
	assert_int_equal(lineup_vk_commands_create(bed.device, &bed.device->compute, "copy", &commands), 0);
	assert_int_equal(lineup_vk_begin(bed.device, &commands), 0);
	lineup_vk_copy(bed.device, &commands, &from, 0, &to, 0, BYTES);
	lineup_vk_barrier(bed.device, &commands);
	assert_int_equal(lineup_vk_submit(bed.device, &bed.device->compute, &commands, NULL, 0, &value), 0);
	assert_int_equal(lineup_vk_wait(bed.device, &bed.device->compute, value, 60 * second_ns), 0);
	assert_memory_equal(to.map, pages, BYTES);
	lineup_vk_commands_destroy(bed.device, &commands);
	lineup_vk_buffer_destroy(bed.device, &to);
	lineup_vk_buffer_destroy(bed.device, &from);
	assert_int_equal(pages[8], 7); /* still ours */
	/* What cannot be imported is another way to be taken, without a word. */
	assert_int_equal(lineup_vk_buffer_import(bed.device, pages + align / 2, BYTES, "odd", &from), -ENOTSUP);
	assert_int_equal(lineup_vk_buffer_import(bed.device, pages, BYTES + 1, "odd", &from), -ENOTSUP);
	assert_int_equal(lineup_vk_buffer_import(bed.device, pages, 0, "none", &from), -ENOTSUP);
	assert_null(from.buffer);
	assert_int_equal(bed.messages.errors + bed.messages.warnings, 0);
	munmap(pages, 2 * BYTES);
	device_bed_end(&bed);
}

static void a_wait_for_what_never_comes_times_out(void **state)
{
	struct device_bed bed;

	(void)state;
	device_bed_begin(&bed);
	device_bed_open(&bed);
	assert_int_equal(lineup_vk_wait(bed.device, &bed.device->compute, 0, 0), 0);
	assert_int_equal(lineup_vk_wait(bed.device, &bed.device->compute, 1, 0), -ETIMEDOUT);
	assert_int_equal(lineup_vk_wait(bed.device, &bed.device->compute, 1, 1000000), -ETIMEDOUT);
	assert_false(atomic_load(&bed.device->lost));
	assert_int_equal(bed.messages.errors + bed.messages.warnings, 0);
	device_bed_end(&bed);
}

/* ---- what is not there ---- */

static void a_device_that_is_gone_is_said(void **state)
{
	struct lineup_device gone;
	struct device_bed bed;

	(void)state;
	device_bed_begin(&bed);
	gone = bed.which;
	gone.uuid[3] ^= 1;
	assert_int_equal(lineup_vk_open(bed.ctx, &gone, &bed.device), -ENODEV);
	assert_int_equal(bed.messages.errors, 1);
	assert_null(bed.device);
	device_bed_end(&bed);
}

static void unknown_flags_are_refused(void **state)
{
	struct device_bed bed;

	(void)state;
	device_bed_begin(&bed);
	assert_int_equal(lineup_devices(bed.ctx, 1u << 31, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(bed.messages.errors, 1);
	device_bed_end(&bed);
}

/* Says what a process finds that was started without a loader, or without drivers: see main. */
static int say_why_none(void)
{
	static struct lineup_device list[LINEUP_DEVICES_MAX];
	uint32_t count = 99;
	const char *why = NULL;
	struct lineup_ctx *ctx;
	int err;

	if (lineup_ctx_create(NULL, &ctx))
		return 1;
	err = lineup_vk_list(ctx, list, LINEUP_DEVICES_MAX, &count, &why);
	printf("%d, %u devices: %s\n", err, count, why ? why : "-");
	lineup_ctx_destroy(ctx);
	return 0;
}

static void expect_why_none(const char *name, const char *value, const char *expected)
{
	char self[300], line[300] = "", *argv[] = { self, (char *)(uintptr_t)"why-none", NULL };
	int out[2], status;
	ssize_t n;
	pid_t pid;

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(n > 0);
	self[n] = 0;
	assert_int_equal(pipe(out), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(out[1], 1);
		setenv(name, value, 1);
		if (!strcmp(name, "VK_ICD_FILENAMES"))
			setenv("VK_DRIVER_FILES", value, 1);
		execv(self, argv);
		_exit(127);
	}
	close(out[1]);
	n = read(out[0], line, sizeof(line) - 1);
	assert_true(n >= 0);
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_string_equal(line, expected);
}

static void without_a_loader_there_is_no_device(void **state)
{
	char dir[300], path[340];
	FILE *f;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/lineup-loader.XXXXXX", test_tmp());
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/libvulkan.so.1", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("no library", f);
	fclose(f);
	expect_why_none("LD_LIBRARY_PATH", dir, "0, 0 devices: the Vulkan loader (libvulkan.so.1) is not installed\n");
	directory_remove(dir);
}

static void without_a_driver_there_is_no_device(void **state)
{
	(void)state;
	vulkan_here(); /* a loader is what this is about */
	expect_why_none("VK_ICD_FILENAMES", "/nonexistent/icd.json", "0, 0 devices: there is no Vulkan driver\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_copied_arrives),
		cmocka_unit_test(every_call_may_lack_device_memory),
		cmocka_unit_test(every_call_may_lack_host_memory),
		cmocka_unit_test(every_call_may_fail),
		cmocka_unit_test(every_call_may_lose_the_device),
		cmocka_unit_test(a_lost_device_stays_lost_and_is_said_once),
		cmocka_unit_test(names_are_no_reason_to_fail),
		cmocka_unit_test(a_buffer_that_cannot_be_is_lack_of_memory),
		cmocka_unit_test(filled_words_are_read_back),
		cmocka_unit_test(imported_memory_is_copied_from),
		cmocka_unit_test(a_wait_for_what_never_comes_times_out),
		cmocka_unit_test(a_device_that_is_gone_is_said),
		cmocka_unit_test(unknown_flags_are_refused),
		cmocka_unit_test(without_a_loader_there_is_no_device),
		cmocka_unit_test(without_a_driver_there_is_no_device),
	};

	if (argc == 2 && !strcmp(argv[1], "why-none"))
		return say_why_none();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
