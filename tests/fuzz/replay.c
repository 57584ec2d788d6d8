// SPDX-License-Identifier: MIT
// Runs a fuzz target over files and the files of folders, once each in the order of their names: the kept corpus as a test.
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fail(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return -1;
}

static int file_replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	struct stat st;
	size_t size = 0;
	int err = -1;

	/* Of exactly its size, so that the address sanitizer sees a read past its end. */
	if (f && !fstat(fileno(f), &st)) {
		size = (size_t)st.st_size;
		data = malloc(size);
		err = (data || !size) && fread(data, 1, size, f) == size ? 0 : -1;
	}
	if (f)
		fclose(f);
	if (err)
		fail(path);
	else
		LLVMFuzzerTestOneInput(data, size);
	free(data);
	return err;
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int folder_replay(const char *path, unsigned int *count)
{
	struct dirent **entries;
	int n = scandir(path, &entries, visible, alphasort), err = 0;

	if (n < 0)
		return fail(path);
	for (int i = 0; i < n; i++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (!err)
			err = file_replay(name);
		++*count;
		free(entries[i]);
	}
	free(entries);
	return err;
}

int main(int argc, char **argv)
{
	unsigned int count = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;
		int err;

		if (stat(argv[i], &st)) {
			err = fail(argv[i]);
		} else if (S_ISDIR(st.st_mode)) {
			err = folder_replay(argv[i], &count);
		} else {
			err = file_replay(argv[i]);
			count++;
		}
		if (err)
			return 1;
	}
	printf("%s: %u inputs\n", argv[0], count);
	return count ? 0 : 1;
}
