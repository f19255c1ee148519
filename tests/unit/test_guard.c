/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory files that their owner truncates (CVE-2026-86561's last part): the process lives, the
 * device that ran on it is broken and says why, inspection reports what it cannot read and changes
 * nothing. A fault that is not guest memory's still ends the process.
 */
#include "vq_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "mem/guard.h"
#include "tests/unit/fault.h"

#define PAGE 0x1000ull

/* Cuts the file so that nothing of what @gpa lies in, and behind it, is left. */
static void cut(struct fix *f, uint64_t gpa)
{
	assert_int_equal(ftruncate(f->memfd, (off_t)(gpa / PAGE * PAGE)), 0);
}

/* cmocka has a handler of its own for every test; the guard installs itself once. */
static void use_guard(void)
{
	static struct sigaction guard;

	if (guard.sa_sigaction) {
		sigaction(SIGBUS, &guard, NULL);
		return;
	}
	guard_install();
	sigaction(SIGBUS, NULL, &guard);
}

struct loss {
	const char *name;
	uint64_t from; /* where the file ends now */
	bool peek_first;
};

static const struct loss losses[] = {
	{ "everything", 0, false },
	{ "the descriptors", DESC_AT, false },
	{ "the available ring", AVAIL_AT, false },
	{ "the used ring", USED_AT, false },
	{ "the buffers", DATA_AT, false },
	{ "everything, looked at before", 0, true },
	{ "the used ring, looked at before", USED_AT, true },
};

static enum serve_verdict copy_bytes(struct vq *vq, struct chain *c)
{
	uint8_t bytes[16];

	(void)vq;
	assert_true(chain_take(c, bytes, sizeof(bytes)));
	assert_true(chain_put(c, bytes, sizeof(bytes)));
	return SERVE_DONE;
}

/* The driver's side cannot touch its own mapping any more: all is prepared before. */
static void prepare(struct fix *f)
{
	test_device(f)->serve = copy_bytes;
	set_desc(f, DESC_AT, 0, DATA_AT, 16, NEXT, 1);
	set_desc(f, DESC_AT, 1, DATA_AT + 64, 16, WRITE, 0);
	offer(f, 0);
	kick(f);
	assert_int_equal(used_idx(f), 1);
	offer(f, 0);
}

static void test_running_device(void **state)
{
	size_t i;

	(void)state;
	need_fault_address();
	use_guard();
	for (i = 0; i < ARRAY_SIZE(losses); i++) {
		struct fix f, other;
		uint64_t word;

		fix_init(&f, 8, 0);
		fix_init(&other, 8, 0);
		prepare(&f);
		cut(&f, losses[i].from);
		if (losses[i].peek_first) {
			assert_int_equal(gmem_peek(f.mem, losses[i].from, &word, 8), -EIO);
			assert_false(gmem_poisoned(f.mem));
		}
		kick(&f);
		/* All but a loss that the walk noticed first is seen when answers are shown. */
		if (!f.dev->broken || !strstr(f.dev->broken_reason, "memory is gone"))
			fail_msg("%s: '%s'", losses[i].name, f.dev->broken_reason);
		assert_true(gmem_poisoned(f.mem));
		assert_true(vdev_is_idle(f.dev));
		/* Zeros stand there now, and they are not the guest's. */
		assert_int_equal(gmem_peek(f.mem, losses[i].from, &word, 8), -EIO);
		if (losses[i].from)
			assert_int_equal(gmem_peek(f.mem, 0, &word, 8), 0);
		/* The other device, on the same loop, goes on. */
		assert_false(gmem_poisoned(other.mem));
		push_one(&other, 0, DATA_AT, 16, WRITE);
		assert_int_equal(used_idx(&other), 1);
		assert_false(other.dev->broken);
		fix_deinit(&f);
		fix_deinit(&other);
	}
}

static void test_peek_poisons_nothing(void **state)
{
	uint8_t bytes[64] = { 1 };
	struct fix f;

	(void)state;
	use_guard();
	fix_init(&f, 8, 0);
	set_desc(&f, DESC_AT, 0, DATA_AT, 16, WRITE, 0);
	offer(&f, 0);
	/* The second region goes, which this ring does not use. */
	cut(&f, SPLIT);
	assert_int_equal(gmem_peek(f.mem, SPLIT, bytes, 8), -EIO);
	assert_int_equal(gmem_peek(f.mem, SPLIT - 8, bytes, 16), -EIO);
	assert_int_equal(gmem_peek(f.mem, RAM_END - 1, bytes, 1), -EIO);
	assert_int_equal(gmem_peek(f.mem, SPLIT - 64, bytes, 64), 0);
	assert_int_equal(gmem_peek(f.mem, RAM_END, bytes, 1), -EFAULT);
	assert_int_equal(gmem_peek(f.mem, SPLIT - 8, bytes, 0), 0);
	assert_false(gmem_poisoned(f.mem));
	kick(&f);
	assert_false(f.dev->broken);
	assert_int_equal(used_idx(&f), 1);
	/* The file grows again: nothing was replaced, so it is the guest's memory again. */
	assert_int_equal(ftruncate(f.memfd, RAM_END), 0);
	memset(ram(&f, SPLIT), 0x5a, 64);
	assert_int_equal(gmem_peek(f.mem, SPLIT, bytes, 64), 0);
	assert_int_equal(bytes[63], 0x5a);
	fix_deinit(&f);
}

static void test_odd_offsets(void **state)
{
	/* The mapping begins before the region: what is lost is told by the region's addresses. */
	const struct gmem_region_desc desc = { 0x100000, 3 * PAGE, 0, 0x123 };
	int fd = memfd_create("ram", MFD_CLOEXEC);
	struct gmem_region *region;
	struct err err = { 0 };
	struct gmem *mem;
	uint8_t byte;

	(void)state;
	need_fault_address();
	use_guard();
	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	assert_int_equal(gmem_region_new(&desc, fd, &region, &err), 0);
	assert_int_equal(gmem_new(&region, 1, &mem, &err), 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_true(gmem_read(mem, 0x100000 + PAGE, &byte, 1));
	assert_true(gmem_poisoned(mem));
	assert_int_equal(gmem_peek(mem, 0x100000, &byte, 1), 0);
	assert_int_equal(gmem_peek(mem, 0x100000 + PAGE - 0x123 - 1, &byte, 1), 0);
	assert_int_equal(gmem_peek(mem, 0x100000 + PAGE - 0x123, &byte, 1), -EIO);
	/* A second loss lies before the first. */
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_true(gmem_read(mem, 0x100000, &byte, 1));
	assert_int_equal(gmem_peek(mem, 0x100000, &byte, 1), -EIO);
	gmem_unref(mem);
	/* A new region in the same place of the table starts clean. */
	gmem_region_unref(region);
	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	assert_int_equal(gmem_region_new(&desc, fd, &region, &err), 0);
	assert_int_equal(gmem_new(&region, 1, &mem, &err), 0);
	assert_false(gmem_poisoned(mem));
	gmem_unref(mem);
	gmem_region_unref(region);
	close(fd);
}

/* Runs @fn in a child; the signal that ended it, 0 where it exited. */
static int ends_with(void (*fn)(void))
{
	pid_t pid;
	int status;

	/* Else the child's end may print it again. */
	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		/* cmocka and the sanitizers have handlers of their own for the rest. */
		signal(SIGSEGV, SIG_DFL);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void fault_elsewhere(void)
{
	int fd = memfd_create("other", MFD_CLOEXEC);
	volatile char *p;

	guard_install();
	if (ftruncate(fd, 4096) < 0)
		_exit(1);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ftruncate(fd, 0) < 0)
		_exit(1);
	*p = 1;
}

static void fault_without_handler(void)
{
	signal(SIGBUS, SIG_DFL);
	fault_elsewhere();
}

static void on_other_sigbus(int sig)
{
	(void)sig;
	_exit(42);
}

static void fault_with_handler(void)
{
	struct sigaction sa = { .sa_handler = on_other_sigbus };

	sigaction(SIGBUS, &sa, NULL);
	fault_elsewhere();
}

static void copy_elsewhere(void)
{
	int fd = memfd_create("other", MFD_CLOEXEC);
	char *p, c;

	guard_install();
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	/* An empty file, not registered: the copy fails, and fails again. */
	_exit(!guard_copy(&c, p, 1) && !guard_copy(&c, p + 8, 1) ? 7 : 8);
}

static void test_faults_elsewhere(void **state)
{
	(void)state;
	assert_int_equal(ends_with(fault_without_handler), SIGBUS);
	assert_int_equal(ends_with(fault_with_handler), -42);
	assert_int_equal(ends_with(copy_elsewhere), -7);
}

static void test_words_in_one_load(void **state)
{
	/* Sizes and alignments: the bytes are right whatever widths it takes. */
	_Alignas(16) uint8_t from[48], to[48];
	size_t at, len, i;

	(void)state;
	use_guard();
	for (i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i + 1);
	for (at = 0; at < 9; at++)
		for (len = 0; len < 24; len++) {
			memset(to, 0, sizeof(to));
			assert_true(guard_copy(to + at, from + at, len));
			assert_memory_equal(to + at, from + at, len);
			assert_int_equal(to[at + len], 0);
			memset(to, 0, sizeof(to));
			assert_true(guard_copy(to, from + at, len));
			assert_memory_equal(to, from + at, len);
			assert_int_equal(to[len], 0);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: the guard is not there yet. */
		cmocka_unit_test(test_faults_elsewhere),
		cmocka_unit_test(test_words_in_one_load),
		cmocka_unit_test(test_running_device),
		cmocka_unit_test(test_peek_poisons_nothing),
		cmocka_unit_test(test_odd_offsets),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
