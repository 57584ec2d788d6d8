// SPDX-License-Identifier: MIT
// The pipeline cache on disk: it is used again, and whatever else lies there is ignored and replaced.
#include <dirent.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vulkan_device.h"

/* What the driver was given when a cache was made, seen behind the plan of faults. */
static struct {
	void (*wrap)(void *arg, struct lineup_vk_api *api);
	PFN_vkCreatePipelineCache real;
	size_t given[4];
	uint32_t count;
} spy;

static VkResult create_cache(VkDevice device, const VkPipelineCacheCreateInfo *info, const VkAllocationCallbacks *allocator,
			     VkPipelineCache *cache)
{
	if (spy.count < ARRAY_SIZE(spy.given))
		spy.given[spy.count] = info->initialDataSize;
	spy.count++;
	return spy.real(device, info, allocator, cache);
}

static void wrap(void *arg, struct lineup_vk_api *api)
{
	spy.wrap(arg, api);
	spy.real = api->CreatePipelineCache;
	api->CreatePipelineCache = create_cache;
}

struct cache_bed {
	struct device_bed device;
	uint8_t hash[32];
	char path[PATH_MAX];
	uint8_t *bytes; /* of a good file */
	size_t size;
};

/* Opens a device with a cache; what the driver was given for it. */
static size_t open_cache(struct cache_bed *bed)
{
	spy.count = 0;
	device_bed_open(&bed->device);
	assert_int_equal(lineup_vk_cache_open(bed->device.device, bed->hash), 0);
	assert_int_equal(spy.count, 1);
	return spy.given[0];
}

static void make_pipeline(struct cache_bed *bed)
{
	struct lineup_vk_shape_of shape = { 0 };
	struct lineup_vk_kernel kernel;

	lineup_vk_shape_unpack(bed->device.device, &shape);
	assert_int_equal(lineup_vk_kernel_create(bed->device.device, &shape, sizeof(struct gpu_unpack), &kernel), 0);
	lineup_vk_pipeline_destroy(bed->device.device, &kernel.pipeline);
}

static void close_cache(struct cache_bed *bed)
{
	device_bed_close(&bed->device);
	assert_int_equal(bed->device.messages.errors + bed->device.messages.warnings, 0);
}

static void read_file(struct cache_bed *bed)
{
	struct stat st;
	FILE *f = fopen(bed->path, "r");

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	bed->size = (size_t)st.st_size;
	bed->bytes = malloc(bed->size);
	assert_non_null(bed->bytes);
	assert_int_equal(fread(bed->bytes, 1, bed->size, f), bed->size);
	fclose(f);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	fclose(f);
}

static uint32_t files_in(const char *dir)
{
	DIR *d = opendir(dir);
	uint32_t count = 0;

	assert_non_null(d);
	for (struct dirent *entry; (entry = readdir(d));)
		count += entry->d_name[0] != '.';
	closedir(d);
	return count;
}

/* A good file, of which .bytes is a copy. */
static void begin(struct cache_bed *bed)
{
	memset(bed, 0, sizeof(*bed));
	device_bed_begin(&bed->device);
	spy.wrap = bed->device.ctx->gpu_test.wrap;
	bed->device.ctx->gpu_test.wrap = wrap;
	lineup_vk_shaders_hash(bed->hash);
	assert_int_equal(open_cache(bed), 0);
	assert_int_equal(lineup_vk_cache_path(bed->device.device, "", bed->path, sizeof(bed->path)), 0);
	make_pipeline(bed);
	lineup_vk_cache_save(bed->device.device);
	close_cache(bed);
	assert_int_equal(files_in(bed->device.dir), 1);
	read_file(bed);
}

static void end(struct cache_bed *bed)
{
	free(bed->bytes);
	device_bed_end(&bed->device);
}

/* The head: magic, key, digest, size (see cache.c), then what the driver gave. */
enum { HEAD_BYTES = 80, KEY_AT = 8, DIGEST_AT = 40 };

static void a_cache_is_used_again(void **state)
{
	struct cache_bed bed;
	struct stat st;

	(void)state;
	begin(&bed);
	assert_int_equal(open_cache(&bed), bed.size - HEAD_BYTES);
	assert_int_equal(stat(bed.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* Opened once more it stays what it is. */
	assert_int_equal(lineup_vk_cache_open(bed.device.device, bed.hash), 0);
	assert_int_equal(spy.count, 1);
	close_cache(&bed);
	end(&bed);
}

static void other_shaders_have_another_file(void **state)
{
	struct cache_bed bed;
	char other[PATH_MAX];

	(void)state;
	begin(&bed);
	bed.hash[0] ^= 1;
	assert_int_equal(open_cache(&bed), 0);
	assert_int_equal(lineup_vk_cache_path(bed.device.device, "", other, sizeof(other)), 0);
	assert_string_not_equal(bed.path, other);
	lineup_vk_cache_save(bed.device.device);
	close_cache(&bed);
	assert_int_equal(files_in(bed.device.dir), 2);
	/* A file under another's name is not taken for its own. */
	write_file(other, bed.bytes, bed.size);
	assert_int_equal(open_cache(&bed), 0);
	close_cache(&bed);
	end(&bed);
}

static void any_damaged_byte_is_noticed(void **state)
{
	struct cache_bed bed;
	uint32_t step;

	(void)state;
	begin(&bed);
	step = bed.size < 400 ? 1 : (uint32_t)(bed.size / 400);
	for (size_t at = 0; at < bed.size; at += at < 160 ? 1 : step) {
		bed.bytes[at] ^= 0x10;
		write_file(bed.path, bed.bytes, bed.size);
		if (open_cache(&bed))
			fail_msg("byte %zu was damaged, and the file was used", at);
		close_cache(&bed);
		bed.bytes[at] ^= 0x10;
	}
	/* It is replaced when there is something to keep. */
	open_cache(&bed);
	make_pipeline(&bed);
	lineup_vk_cache_save(bed.device.device);
	close_cache(&bed);
	assert_true(open_cache(&bed) > 0);
	close_cache(&bed);
	end(&bed);
}

static void any_other_length_is_noticed(void **state)
{
	const size_t cuts[] = { 0, 1, 7, 39, 79, 80, 81, 111, 112 };
	uint8_t longer[4096];
	struct cache_bed bed;

	(void)state;
	begin(&bed);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		if (cuts[i] >= bed.size)
			continue;
		write_file(bed.path, bed.bytes, cuts[i]);
		assert_int_equal(open_cache(&bed), 0);
		close_cache(&bed);
	}
	write_file(bed.path, bed.bytes, bed.size - 1);
	assert_int_equal(open_cache(&bed), 0);
	close_cache(&bed);
	if (bed.size < sizeof(longer)) {
		memcpy(longer, bed.bytes, bed.size);
		longer[bed.size] = 0;
		write_file(bed.path, longer, bed.size + 1);
		assert_int_equal(open_cache(&bed), 0);
		close_cache(&bed);
	}
	end(&bed);
}

/* The digest is right, but what the driver gave was another driver's. */
static void another_drivers_data_is_not_given_to_this_one(void **state)
{
	struct cache_bed bed;
	uint8_t *driver;

	(void)state;
	begin(&bed);
	driver = bed.bytes + HEAD_BYTES;
	for (size_t at = 4; at <= 16; at += 12) { /* the version of the header, the UUID */
		driver[at] ^= 1;
		crypto_generichash(bed.bytes + DIGEST_AT, 32, driver, bed.size - HEAD_BYTES, NULL, 0);
		write_file(bed.path, bed.bytes, bed.size);
		assert_int_equal(open_cache(&bed), 0);
		close_cache(&bed);
		driver[at] ^= 1;
	}
	crypto_generichash(bed.bytes + DIGEST_AT, 32, driver, bed.size - HEAD_BYTES, NULL, 0);
	write_file(bed.path, bed.bytes, bed.size);
	assert_int_equal(open_cache(&bed), bed.size - HEAD_BYTES);
	close_cache(&bed);
	end(&bed);
}

static void what_is_no_file_is_ignored(void **state)
{
	struct cache_bed bed;
	char target[PATH_MAX + 8];

	(void)state;
	begin(&bed);
	snprintf(target, sizeof(target), "%s.real", bed.path);
	assert_int_equal(rename(bed.path, target), 0);
	assert_int_equal(symlink(target, bed.path), 0);
	assert_int_equal(open_cache(&bed), 0);
	close_cache(&bed);
	unlink(bed.path);
	assert_int_equal(mkfifo(bed.path, 0600), 0);
	assert_int_equal(open_cache(&bed), 0); /* and does not wait for a writer */
	close_cache(&bed);
	unlink(bed.path);
	assert_int_equal(mkdir(bed.path, 0700), 0);
	assert_int_equal(open_cache(&bed), 0);
	make_pipeline(&bed);
	lineup_vk_cache_save(bed.device.device); /* cannot replace it */
	close_cache(&bed);
	assert_int_equal(files_in(bed.device.dir), 2); /* nothing temporary is left */
	end(&bed);
}

static void a_driver_that_refuses_its_data_gets_none(void **state)
{
	struct faulty_vk_plan plan = { .fail_mask = FAULTY_VK(CreatePipelineCache), .fail_at = 1, .fail_result = VK_ERROR_UNKNOWN };
	struct cache_bed bed;

	(void)state;
	begin(&bed);
	spy.count = 0;
	device_bed_open(&bed.device);
	faulty_vk_set(&plan);
	assert_int_equal(lineup_vk_cache_open(bed.device.device, bed.hash), 0);
	assert_int_equal(spy.count, 2);
	assert_int_equal(spy.given[0], bed.size - HEAD_BYTES);
	assert_int_equal(spy.given[1], 0);
	faulty_vk_set(NULL);
	close_cache(&bed);
	end(&bed);
}

static void a_directory_that_cannot_be_written_is_done_without(void **state)
{
	char path[PATH_MAX];
	struct cache_bed bed;

	(void)state;
	begin(&bed);
	bed.device.ctx->gpu_test.cache_dir = "/dev/null/cache";
	assert_int_equal(open_cache(&bed), 0);
	make_pipeline(&bed);
	lineup_vk_cache_save(bed.device.device);
	close_cache(&bed);
	bed.device.ctx->gpu_test.cache_dir = bed.device.dir;
	open_cache(&bed);
	assert_int_equal(lineup_vk_cache_path(bed.device.device, "-note", path, sizeof(path)), 0);
	assert_int_equal(strncmp(path, bed.path, strlen(bed.path)), 0);
	assert_string_equal(path + strlen(bed.path), "-note");
	assert_int_equal(lineup_vk_cache_path(bed.device.device, "", path, 20), -ENAMETOOLONG);
	close_cache(&bed);
	end(&bed);
}

/* ---- where it is ---- */

static void expect_path(struct cache_bed *bed, int err, const char *dir)
{
	char path[PATH_MAX];

	assert_int_equal(lineup_vk_cache_path(bed->device.device, "", path, sizeof(path)), err);
	if (!err) {
		assert_int_equal(strncmp(path, dir, strlen(dir)), 0);
		assert_int_equal(path[strlen(dir)], '/');
		assert_null(strchr(path + strlen(dir) + 1, '/'));
	}
}

static void it_is_kept_where_the_user_keeps_caches(void **state)
{
	char xdg[320], home[320], dir[400];
	const char *old_xdg = getenv("XDG_CACHE_HOME"), *old_home = getenv("HOME");
	char *keep_xdg = old_xdg ? strdup(old_xdg) : NULL, *keep_home = old_home ? strdup(old_home) : NULL;
	struct cache_bed bed;
	struct stat st;

	(void)state;
	begin(&bed);
	open_cache(&bed);
	bed.device.ctx->gpu_test.cache_dir = NULL;
	snprintf(xdg, sizeof(xdg), "%s/xdg", bed.device.dir);
	snprintf(home, sizeof(home), "%s/home", bed.device.dir);
	assert_int_equal(mkdir(home, 0755), 0);
	setenv("HOME", home, 1);
	setenv("XDG_CACHE_HOME", xdg, 1);
	snprintf(dir, sizeof(dir), "%s/lineup", xdg);
	expect_path(&bed, 0, dir);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	/* One that others can write to could hold anything. */
	assert_int_equal(chmod(dir, 0770), 0);
	expect_path(&bed, -EPERM, NULL);
	assert_int_equal(rmdir(dir), 0);
	write_file(dir, "", 0);
	expect_path(&bed, -EPERM, NULL);
	setenv("XDG_CACHE_HOME", "relative", 1); /* to be ignored, says its specification */
	snprintf(dir, sizeof(dir), "%s/.cache/lineup", home);
	expect_path(&bed, 0, dir);
	unsetenv("XDG_CACHE_HOME");
	expect_path(&bed, 0, dir);
	unsetenv("HOME");
	expect_path(&bed, -ENOENT, NULL);
	if (keep_home)
		setenv("HOME", keep_home, 1);
	if (keep_xdg)
		setenv("XDG_CACHE_HOME", keep_xdg, 1);
	free(keep_home);
	free(keep_xdg);
	close_cache(&bed);
	end(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cache_is_used_again),
		cmocka_unit_test(other_shaders_have_another_file),
		cmocka_unit_test(any_damaged_byte_is_noticed),
		cmocka_unit_test(any_other_length_is_noticed),
		cmocka_unit_test(another_drivers_data_is_not_given_to_this_one),
		cmocka_unit_test(what_is_no_file_is_ignored),
		cmocka_unit_test(a_driver_that_refuses_its_data_gets_none),
		cmocka_unit_test(a_directory_that_cannot_be_written_is_done_without),
		cmocka_unit_test(it_is_kept_where_the_user_keeps_caches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
