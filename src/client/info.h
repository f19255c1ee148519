/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside info`: the introspection commands as tables for people, or as JSON. */
#ifndef CLIENT_INFO_H
#define CLIENT_INFO_H

/*
 * Runs the subcommand: argv[0] is its own word ("info"). Blocking; prints to standard output, and
 * one sentence to standard error where something fails. The process's exit status: 0, 1 failure, 2
 * usage.
 */
int client_info_main(int argc, char **argv);

#endif
