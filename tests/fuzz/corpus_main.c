/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target on each file of a folder, without libFuzzer: one TAP case a file. A crash ends
 * the program, and the missing cases are failures. An empty folder is a failure as well.
 */
#include <dirent.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define MAX_INPUT_BYTES (4u << 20)

static int run_file(const char *folder, const char *name)
{
	static uint8_t data[MAX_INPUT_BYTES];
	char path[4096];
	FILE *file;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "rb");
	if (!file)
		return -1;
	len = fread(data, 1, sizeof(data), file);
	fclose(file);
	LLVMFuzzerTestOneInput(data, len);
	return 0;
}

static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	int num = argc == 2 ? scandir(argv[1], &entries, is_input, alphasort) : -1;

	if (num <= 0) {
		fprintf(stderr, "usage: %s FOLDER, with inputs in it\n", argv[0]);
		return 2;
	}
	printf("1..%d\n", num);
	for (int i = 0; i < num; i++) {
		int r = run_file(argv[1], entries[i]->d_name);

		printf("%sok %d - %s\n", r < 0 ? "not " : "", i + 1, entries[i]->d_name);
		fflush(stdout);
		free(entries[i]);
	}
	free(entries);
	return 0;
}
