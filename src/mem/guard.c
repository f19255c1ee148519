/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SIGBUS guard. The handler reads a fixed table of ranges, so it takes no lock and allocates
 * nothing; mmap() of an anonymous page is a bare system call. A thread inside guard_copy() leaves
 * it through siglongjmp() instead, and no mapping changes.
 */
#include "mem/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

_Atomic unsigned int guard_num_poisonings;

static struct guard_slot guard_slots[GUARD_SLOTS_MAX];
static _Atomic uint32_t guard_num_used; /* slots at or above were never used */
static uint32_t guard_first_free; /* index + 1; 0: none */
static struct sigaction guard_old;
static __thread sigjmp_buf *volatile guard_escape;

static struct guard_slot *find_slot(uintptr_t addr)
{
	uint32_t i, n = atomic_load_explicit(&guard_num_used, memory_order_acquire);

	for (i = 0; i < n; i++) {
		struct guard_slot *slot = &guard_slots[i];
		uintptr_t start = atomic_load_explicit(&slot->start, memory_order_acquire);

		if (start && addr >= start &&
			addr - start < atomic_load_explicit(&slot->bytes, memory_order_relaxed))
			return slot;
	}
	return NULL;
}

static bool replace_lost_memory(struct guard_slot *slot, uintptr_t addr)
{
	uintptr_t start = atomic_load_explicit(&slot->start, memory_order_relaxed);
	size_t bytes = atomic_load_explicit(&slot->bytes, memory_order_relaxed);
	size_t page = atomic_load_explicit(&slot->page_bytes, memory_order_relaxed);
	uintptr_t from = start + (addr - start) / page * page;
	uintptr_t lost = atomic_load_explicit(&slot->lost_from, memory_order_relaxed);

	/* Marked first: who finds zeros there finds the mark. */
	while ((!lost || from < lost) &&
		!atomic_compare_exchange_weak(&slot->lost_from, &lost, from))
		;
	atomic_fetch_add_explicit(&guard_num_poisonings, 1, memory_order_release);
	/* What lies behind the first lost page is lost as well: a file is truncated at its end. */
	if (mmap((void *)from, start + bytes - from, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return false;
	return true;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	struct guard_slot *slot;

	if (guard_escape) {
		/* As it was: sigsetjmp() keeps no mask, and who wraps sigaction() may block all. */
		pthread_sigmask(SIG_SETMASK, &((ucontext_t *)context)->uc_sigmask, NULL);
		siglongjmp(*guard_escape, 1);
	}
	slot = find_slot((uintptr_t)info->si_addr);
	if (slot && replace_lost_memory(slot, (uintptr_t)info->si_addr))
		return;
	if (guard_old.sa_flags & SA_SIGINFO) {
		guard_old.sa_sigaction(sig, info, context);
		return;
	}
	/* Not ours: fault again under whatever was set before us, by default the end. */
	sigaction(SIGBUS, &guard_old, NULL);
}

void guard_install(void)
{
	static bool installed;
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };

	if (installed)
		return;
	installed = true;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, &guard_old);
}

struct guard_slot *guard_add(void *start, size_t bytes, size_t page_bytes)
{
	uint32_t n = atomic_load_explicit(&guard_num_used, memory_order_relaxed);
	struct guard_slot *slot;

	if (guard_first_free) {
		slot = &guard_slots[guard_first_free - 1];
		guard_first_free = slot->next_free;
	} else if (n < GUARD_SLOTS_MAX) {
		slot = &guard_slots[n];
	} else {
		return NULL;
	}
	atomic_store_explicit(&slot->bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&slot->page_bytes, page_bytes, memory_order_relaxed);
	atomic_store_explicit(&slot->lost_from, 0, memory_order_relaxed);
	/* Pairs with the acquire in find_slot(): a start is seen with its length. */
	atomic_store_explicit(&slot->start, (uintptr_t)start, memory_order_release);
	if (slot == &guard_slots[n])
		atomic_store_explicit(&guard_num_used, n + 1, memory_order_release);
	return slot;
}

void guard_remove(struct guard_slot *slot)
{
	if (!slot)
		return;
	atomic_store_explicit(&slot->start, 0, memory_order_release);
	slot->next_free = guard_first_free;
	guard_first_free = (uint32_t)(slot - guard_slots) + 1;
}

/* Not inlined and not instrumented: it may be left by a jump, and races with the guest by nature.
 */
__attribute__((noinline, no_sanitize("address", "thread", "undefined"))) static void copy_words(
	volatile uint8_t *dst, const volatile uint8_t *src, size_t len)
{
	while (len) {
		uintptr_t at = (uintptr_t)src | (uintptr_t)dst;
		size_t n = 1;

		if (sizeof(long) == 8 && len >= 8 && !(at & 7)) {
			*(volatile uint64_t *)dst = *(const volatile uint64_t *)src;
			n = 8;
		} else if (len >= 4 && !(at & 3)) {
			*(volatile uint32_t *)dst = *(const volatile uint32_t *)src;
			n = 4;
		} else if (len >= 2 && !(at & 1)) {
			*(volatile uint16_t *)dst = *(const volatile uint16_t *)src;
			n = 2;
		} else {
			*dst = *src;
		}
		dst += n;
		src += n;
		len -= n;
	}
}

bool guard_copy(void *dst, const void *src, size_t len)
{
	sigjmp_buf escape;

	/* The mask is not saved, a system call that every look would pay: on_sigbus() has it. */
	if (sigsetjmp(escape, 0)) {
		guard_escape = NULL;
		return false;
	}
	guard_escape = &escape;
	copy_words(dst, src, len);
	guard_escape = NULL;
	return true;
}
