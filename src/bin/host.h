/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside serve`, `ringside run` and `ringside relay`: devices, monitors and perhaps a guest,
 * until the end. */
#ifndef BIN_HOST_H
#define BIN_HOST_H

/* Each is a subcommand; argv[0] is its own word. The process's exit status. */
int host_serve_main(int argc, char **argv);
int host_run_main(int argc, char **argv);
int host_relay_main(int argc, char **argv);

#endif
