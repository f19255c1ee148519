/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared memory as a killed process would leave it, after each of its stores: the pages are
 * read-only to the code under test, a store faults, is let through as a single step, and what the
 * pages hold then is kept. What the kernel writes there is not seen.
 */
#ifndef TESTS_CRASH_POINTS_H
#define TESTS_CRASH_POINTS_H

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/util.h"

#if defined(__x86_64__) || defined(__i386__)
#define CRASH_POINTS 1
#define TRAP_FLAG    0x100
#else
#define CRASH_POINTS 0 /* no single step from within */
#endif

#define CRASH_PAGE	0x1000ul
#define CRASH_PAGES_MAX 8

/* Pages to watch, as the code under test has them mapped. */
static void *crash_pages[CRASH_PAGES_MAX];
static unsigned int crash_num_pages;
/* Called after each store, in a signal handler. */
static void (*crash_keep)(void);

static inline void crash_protect(int prot)
{
	unsigned int i;

	for (i = 0; i < crash_num_pages; i++)
		mprotect(crash_pages[i], CRASH_PAGE, prot);
}

static inline void crash_watch(void *at)
{
	crash_pages[crash_num_pages++] = (void *)((uintptr_t)at & ~(CRASH_PAGE - 1));
}

#if CRASH_POINTS

static inline void crash_step(void *context, bool on)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

	*flags = on ? *flags | TRAP_FLAG : *flags & ~TRAP_FLAG;
}

static void crash_on_store(int sig, siginfo_t *info, void *context)
{
	unsigned int i;

	for (i = 0; i < crash_num_pages; i++) {
		if ((uintptr_t)info->si_addr - (uintptr_t)crash_pages[i] >= CRASH_PAGE)
			continue;
		crash_protect(PROT_READ | PROT_WRITE);
		crash_step(context, true);
		return;
	}
	signal(sig, SIG_DFL);
}

static void crash_on_step(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	crash_step(context, false);
	crash_keep();
	crash_protect(PROT_READ);
}

static inline void crash_begin(void (*keep)(void))
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO };

	crash_keep = keep;
	sa.sa_sigaction = crash_on_store;
	sigaction(SIGSEGV, &sa, NULL);
	sa.sa_sigaction = crash_on_step;
	sigaction(SIGTRAP, &sa, NULL);
	crash_protect(PROT_READ);
}

#else

static inline void crash_begin(void (*keep)(void))
{
	crash_keep = keep;
}

#endif

static inline void crash_end(void)
{
	crash_protect(PROT_READ | PROT_WRITE);
	crash_num_pages = 0;
}

#endif
