/* SPDX-License-Identifier: BSD-3-Clause */
/* Subcommands and options. */
#include <stdio.h>

int main(void)
{
	printf("ringside %s\n", RINGSIDE_VERSION);
	return 0;
}
