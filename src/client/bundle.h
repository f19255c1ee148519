/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside bundle`: everything that a monitor says, in one archive for a bug report. */
#ifndef CLIENT_BUNDLE_H
#define CLIENT_BUNDLE_H

/* The process's exit status. */
int client_bundle_main(int argc, char **argv);

#endif
