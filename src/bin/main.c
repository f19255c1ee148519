/* SPDX-License-Identifier: BSD-3-Clause */
/* The subcommands by table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "bin/drive.h"
#include "bin/host.h"
#include "client/bundle.h"
#include "client/info.h"
#include "client/top.h"
#include "client/why.h"

#define EXIT_USAGE 2

struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *help;
};

static const struct command commands[] = {
	{ "run", host_run_main, "boot a Linux guest on our virtio devices" },
	{ "serve", host_serve_main, "export devices to another virtual machine monitor" },
	{ "relay", host_relay_main, "make somebody else's vhost-user device visible" },
	{ "drive", drive_main, "drive a vhost-user back-end: measure it, verify it" },
	{ "why", client_why_main, "say of each queue why it stands still" },
	{ "info", client_info_main, "look into the devices of a running ringside, or of QEMU" },
	{ "bundle", client_bundle_main, "put all that a monitor says into one archive" },
	{ "top", client_top_main, "watch all queues on one screen, what is stuck on top" },
};

static void print_help(FILE *file)
{
	fprintf(file, "Usage: ringside COMMAND [OPTION]...\n\n"
		      "Runs virtio devices and lets you look inside every one of them.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(file, "  %-8s %s\n", commands[i].name, commands[i].help);
	fprintf(file, "  help     this text, or that of a command: ringside help COMMAND\n\n"
		      "  --version  the version\n\n"
		      "'ringside COMMAND --help' lists a command's options.\n");
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static int help_main(int argc, char **argv)
{
	const struct command *command = argc > 1 ? find(argv[1]) : NULL;
	char option[] = "--help";
	char *words[3] = { argc > 1 ? argv[1] : NULL, option, NULL };

	if (command)
		return command->main(2, words);
	if (argc > 1) {
		fprintf(stderr, "ringside: there is no command '%s'\nTry 'ringside help'.\n",
			argv[1]);
		return EXIT_USAGE;
	}
	print_help(stdout);
	return EXIT_SUCCESS;
}

static int run_command(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("ringside %s\n", RINGSIDE_VERSION);
		return EXIT_SUCCESS;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help_main(argc - 1, argv + 1);
	command = find(argv[1]);
	if (command)
		return command->main(argc - 1, argv + 1);
	fprintf(stderr, "ringside: there is no command '%s'\nTry 'ringside help'.\n", argv[1]);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	int status = run_command(argc, argv);

	/* What a script reads, a result on a full disk for instance, is not lost in silence. */
	if (status == EXIT_SUCCESS && (fflush(stdout) != 0 || ferror(stdout))) {
		fprintf(stderr, "ringside: cannot write to standard output: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return status;
}
