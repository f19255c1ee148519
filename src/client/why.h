/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside why`: for each queue, why it stands still. */
#ifndef CLIENT_WHY_H
#define CLIENT_WHY_H

/* The process's exit status. */
int client_why_main(int argc, char **argv);

#endif
