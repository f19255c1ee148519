/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of memory that vanishes need of the machine. After cmocka.h; in test programs only. */
#ifndef TESTS_UNIT_FAULT_H
#define TESTS_UNIT_FAULT_H

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/unit/skip.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FAULT_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define FAULT_TSAN 1
#endif

static sigjmp_buf fault_escape;
static void *volatile fault_addr;

static void note_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	fault_addr = info->si_addr;
	siglongjmp(fault_escape, 1);
}

/* An emulator may deliver the signal and not say where (qemu-user 7.2, other byte order). */
static void need_fault_address(void)
{
	struct sigaction sa = { .sa_sigaction = note_fault, .sa_flags = SA_SIGINFO }, old;
	int fd = memfd_create("probe", MFD_CLOEXEC);
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	sigaction(SIGBUS, &sa, &old);
	if (!sigsetjmp(fault_escape, 1))
		*(volatile char *)p = 1;
	sigaction(SIGBUS, &old, NULL);
	munmap(p, 4096);
	close(fd);
	if (fault_addr != p)
		skip_because("SIGBUS does not tell the address here");
}

/* The memory may vanish from under an atomic operation. */
static inline void need_fault_in_atomics(void)
{
#ifdef FAULT_TSAN
	skip_because("ThreadSanitizer's atomics hold its own lock when SIGBUS comes");
#endif
	need_fault_address();
}

#endif
