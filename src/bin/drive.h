/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside drive`: a driver of our own on somebody's vhost-user socket. */
#ifndef BIN_DRIVE_H
#define BIN_DRIVE_H

/* A subcommand; argv[0] is its own word. The process's exit status. */
int drive_main(int argc, char **argv);

#endif
