/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening disks: what is found out about an image, what is refused, who locks whom out, another
 * size. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "backends/disk.h"
#include "base/cleanup.h"
#include "tests/unit/tmpdir.h"

static int setup(void **state)
{
	static const struct {
		const char *name;
		off_t bytes;
	} images[] = { { "img", 1 << 20 }, { "odd", 1000 }, { "empty", 0 }, { "tiny", 511 } };
	size_t i;

	if (tmpdir_setup(state))
		return -1;
	for (i = 0; i < ARRAY_SIZE(images); i++) {
		_cleanup_fd_ int fd = open(tmpdir_file(images[i].name), O_RDWR | O_CREAT, 0600);

		if (fd < 0 || ftruncate(fd, images[i].bytes) < 0)
			return -1;
	}
	return mkfifo(tmpdir_file("fifo"), 0600);
}

static const struct {
	const char *filename; /* @: in the test's folder */
	bool null;
	uint64_t size;
	bool read_only;
	int code;
	const char *says;
} bad[] = {
	{ "@none", false, 0, false, -ENOENT, "none" },
	{ "@empty", false, 0, false, -EINVAL, "at least one block" },
	{ "@tiny", false, 0, true, -EINVAL, "has 511 bytes" },
	{ "@fifo", false, 0, false, -EINVAL, "neither a regular file nor a block device" },
	{ "@", false, 0, true, -EINVAL, "neither a regular file nor a block device" },
	{ "@", false, 0, false, -EISDIR, "expected a file" },
	{ "/dev/null", false, 0, false, -EINVAL, "neither a regular file nor a block device" },
	{ "fd=99", false, 0, false, -EBADF, "fd=99" },
	{ "fd=60", false, 0, false, -EBADF, "or say read-only=on" },
	{ "", false, 0, false, -EINVAL, "empty" },
	{ NULL, false, 0, false, -EINVAL, "filename=" },
	{ NULL, true, 0, false, -EINVAL, "multiple of 512" },
	{ NULL, true, 513, false, -EINVAL, "multiple of 512" },
};

static void test_refused(void **state)
{
	size_t i;

	(void)state;
	assert_int_equal(dup2(open(tmpdir_file("img"), O_RDONLY), 60), 60);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct disk_config config = DISK_CONFIG_INIT;
		struct disk *disk = NULL;
		struct err err = { 0 };
		int r;

		config.kind = bad[i].null ? DISK_NULL : DISK_FILE;
		config.size_bytes = bad[i].size;
		config.filename = bad[i].filename;
		config.read_only = bad[i].read_only;
		if (bad[i].filename && bad[i].filename[0] == '@')
			config.filename = tmpdir_file(bad[i].filename + 1);
		r = disk_open(&config, &disk, &err);
		if (r != bad[i].code || disk || !strstr(err.msg, bad[i].says))
			fail_msg("row %zu: %d, expected %d: %s", i, r, bad[i].code, err.msg);
	}
	close(60);
	disk_free(NULL);
}

static void test_geometry(void **state)
{
	struct disk_config config = DISK_CONFIG_INIT;
	struct disk *disk;
	struct err err = { 0 };

	(void)state;
	config.filename = tmpdir_file("odd");
	assert_int_equal(disk_open(&config, &disk, &err), 0);
	assert_int_equal(disk->size_bytes, 512);
	assert_int_equal(disk->block_bytes, 512);
	assert_true(disk->physical_block_bytes >= 512);
	assert_true(disk->can_discard && disk->writeback && !disk->read_only);
	assert_int_not_equal(disk->aio, DISK_AIO_AUTO);
	disk_free(disk);
	config.kind = DISK_NULL;
	config.size_bytes = 1ull << 40;
	assert_int_equal(disk_open(&config, &disk, &err), 0);
	assert_true(disk->size_bytes == 1ull << 40);
	disk_free(disk);
}

/* An inherited descriptor may have been opened in ways that no disk can bear. */
static void test_open_flags(void **state)
{
	int fd = open(tmpdir_file("img"), O_RDWR | O_APPEND | O_NONBLOCK);
	struct disk_config config = DISK_CONFIG_INIT;
	struct disk *disk;

	(void)state;
	assert_int_equal(dup2(fd, 61), 61);
	close(fd);
	config.filename = "fd=61";
	assert_int_equal(disk_open(&config, &disk, NULL), 0);
	assert_false(fcntl(disk->fd, F_GETFL) & (O_APPEND | O_NONBLOCK));
	disk_free(disk);
	close(61);
}

static int try_open(bool read_only, bool locking, struct disk **ret, struct err *err)
{
	struct disk_config config = DISK_CONFIG_INIT;

	config.filename = tmpdir_file("img");
	config.read_only = read_only;
	config.locking = locking;
	return disk_open(&config, ret, err);
}

/* In a process of its own; returns its answer. */
static int try_open_elsewhere(bool read_only, bool locking)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct disk *disk;

		_exit(-try_open(read_only, locking, &disk, NULL));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static const struct {
	bool first_reads, first_locks, second_reads, second_locks;
	int code;
} locks[] = {
	{ false, true, false, true, -EAGAIN },
	{ false, true, true, true, -EAGAIN },
	{ true, true, false, true, -EAGAIN },
	{ true, true, true, true, 0 },
	{ false, true, false, false, 0 },
	{ false, false, false, true, 0 },
	{ true, false, false, true, 0 },
};

static void test_locks(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(locks); i++) {
		struct disk *first, *second = NULL;
		struct err err = { 0 };
		int here, there;

		assert_int_equal(
			try_open(locks[i].first_reads, locks[i].first_locks, &first, &err), 0);
		there = try_open_elsewhere(locks[i].second_reads, locks[i].second_locks);
		here = try_open(locks[i].second_reads, locks[i].second_locks, &second, &err);
		if (there != locks[i].code || here != locks[i].code)
			fail_msg("row %zu: %d elsewhere, %d here, expected %d", i, there, here,
				locks[i].code);
		if (here < 0) {
			assert_non_null(strstr(err.msg, tmpdir_file("img")));
			assert_non_null(strstr(err.msg, "locking=off"));
		}
		disk_free(second);
		disk_free(first);
		assert_int_equal(try_open_elsewhere(false, true), 0);
	}
}

/* A loser leaves none of its own locks behind. */
static void test_loser_leaves_no_lock(void **state)
{
	struct disk *writer, *second = NULL;

	(void)state;
	assert_int_equal(dup2(open(tmpdir_file("img"), O_RDONLY), 62), 62);
	assert_int_equal(try_open(false, true, &writer, NULL), 0);
	assert_int_equal(try_open(true, true, &second, NULL), -EAGAIN);
	{
		/* This description outlives the attempt. */
		struct disk_config config = DISK_CONFIG_INIT;

		config.filename = "fd=62";
		config.read_only = true;
		assert_int_equal(disk_open(&config, &second, NULL), -EAGAIN);
	}
	disk_free(writer);
	assert_int_equal(try_open_elsewhere(false, true), 0);
	close(62);
}

/* Bytes as QEMU 7.2 locks them: used at 100, what it cannot bear in others at 200. */
static const struct {
	const char *what;
	off_t bytes[4];
	int reader, writer; /* what we get then */
} qemu_locks[] = {
	{ "QEMU writes", { 100, 101, 201, 203 }, -EAGAIN, -EAGAIN },
	{ "QEMU reads", { 100, 201, 203 }, 0, -EAGAIN },
	{ "QEMU writes, share-rw=on", { 100, 101, 203 }, -EAGAIN, -EAGAIN },
	{ "qemu-img -U", { 0 }, 0, 0 },
};

static void test_qemus_locks(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(qemu_locks); i++) {
		_cleanup_fd_ int fd = open(tmpdir_file("img"), O_RDWR | O_CLOEXEC);
		int reader, writer;

		for (k = 0; k < 4 && qemu_locks[i].bytes[k]; k++) {
			struct flock lock = { .l_type = F_RDLCK,
				.l_whence = SEEK_SET,
				.l_start = qemu_locks[i].bytes[k],
				.l_len = 1 };

			assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
		}
		reader = try_open_elsewhere(true, true);
		writer = try_open_elsewhere(false, true);
		if (reader != qemu_locks[i].reader || writer != qemu_locks[i].writer)
			fail_msg("%s: reader %d, writer %d", qemu_locks[i].what, reader, writer);
	}
}

/* The host has its word too: a sealed memory file is neither cut nor made larger. */
static const struct resize_row {
	const char *name;
	bool null, read_only;
	int seals;
	uint64_t bytes;
	int code;
	const char *says;
} resizes[] = {
	{ "larger", false, false, 0, 2 << 20, 0, NULL },
	{ "smaller", false, false, 0, 512, 0, NULL },
	{ "the same", false, false, F_SEAL_GROW | F_SEAL_SHRINK, 1 << 20, 0, NULL },
	{ "without storage", true, false, 0, 1ull << 40, 0, NULL },
	{ "nothing", false, false, 0, 0, -EINVAL, "not 0" },
	{ "nothing, without storage", true, false, 0, 0, -EINVAL, "not 0" },
	{ "half a block", false, false, 0, 768, -EINVAL, "a multiple of 512" },
	{ "negative", false, false, 0, UINT64_MAX - 511, -EINVAL, "cannot have" },
	{ "read-only", false, true, 0, 512, -EACCES, "is read-only" },
	{ "host, larger", false, false, F_SEAL_GROW, 2 << 20, -EPERM, "cannot make" },
	{ "host, smaller", false, false, F_SEAL_SHRINK, 512, -EPERM, "cannot make" },
};

static void test_resize(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(resizes); i++) {
		const struct resize_row *row = &resizes[i];
		_cleanup_fd_ int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		struct disk_config config = DISK_CONFIG_INIT;
		struct err err = { 0 };
		char name[16];
		struct disk *disk;
		int r;

		assert_int_equal(ftruncate(fd, 1 << 20), 0);
		assert_int_equal(fcntl(fd, F_ADD_SEALS, row->seals), 0);
		snprintf(name, sizeof(name), "fd=%d", fd);
		config.kind = row->null ? DISK_NULL : DISK_FILE;
		config.filename = row->null ? NULL : name;
		config.size_bytes = row->null ? 1 << 20 : 0;
		config.read_only = row->read_only;
		assert_int_equal(disk_open(&config, &disk, &err), 0);
		r = disk_resize(disk, row->bytes, &err);
		if (r != row->code || (r && !strstr(err.msg, row->says)))
			fail_msg("%s: %d, %s", row->name, r, err.msg);
		assert_int_equal(disk->size_bytes, r ? 1 << 20 : row->bytes);
		if (!row->null)
			assert_int_equal(lseek(fd, 0, SEEK_END), disk->size_bytes);
		disk_free(disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_geometry),
		cmocka_unit_test(test_open_flags),
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_loser_leaves_no_lock),
		cmocka_unit_test(test_qemus_locks),
	};

	return cmocka_run_group_tests_name("disk", tests, setup, tmpdir_teardown);
}
