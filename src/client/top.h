/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside top`: all queues on one screen, what is stuck on top; the rest is a key away. */
#ifndef CLIENT_TOP_H
#define CLIENT_TOP_H

/*
 * Runs the subcommand: argv[0] is its own word ("top"). Gives the terminal back on every way out,
 * signals included. The process's exit status: 0, 1 failure, 2 usage.
 */
int client_top_main(int argc, char **argv);

#endif
