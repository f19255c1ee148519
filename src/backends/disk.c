/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens disks: finds out size and block sizes, locks, and chooses who does the I/O; changes their
 * size. Refuses what is neither a regular file nor a block device, an empty image, direct access
 * where the file system has none, and to resize what is read-only.
 */
#include "backends/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "backends/disk_int.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/log.h"

#define SECTOR_BYTES 512
/* What every device takes. */
#define DIO_SAFE_ALIGN 4096

void disk_free(struct disk *disk)
{
	if (!disk)
		return;
	/* A ring that is still being torn down in the kernel must not keep the locks alive. */
	if (disk->fd >= 0 && disk->kind == DISK_FILE)
		disk_unlock(disk->fd);
	close_fd(&disk->fd);
	disk_pool_free(disk->pool);
	free(disk->name);
	free(disk);
}

static void cleanup_diskp(struct disk **disk)
{
	disk_free(*disk);
}

/* /sys/dev/block/MAJOR:MINOR/queue/@name; a partition has its disk's queue. 0 where unknown. */
static uint64_t queue_limit(dev_t dev, const char *name)
{
	static const char *const places[] = { "queue", "../queue" };
	char path[128], text[32] = "";
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_fd_ int fd = -1;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(dev), minor(dev),
			places[i], name);
		fd = host_open(path, O_RDONLY, 0, NULL);
		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
			return strtoull(text, NULL, 10);
	}
	return 0;
}

static int size_block_device(struct disk *disk, const struct stat *st, struct err *err)
{
	unsigned int physical = 0, min_io = 0, opt_io = 0;
	uint64_t size = 0;
	int logical = 0;

	if (ioctl(disk->fd, BLKGETSIZE64, &size) < 0 || ioctl(disk->fd, BLKSSZGET, &logical) < 0)
		return err_set(
			err, -errno, "cannot get the size of block device '%s': %m", disk->name);
	ioctl(disk->fd, BLKPBSZGET, &physical);
	ioctl(disk->fd, BLKIOMIN, &min_io);
	ioctl(disk->fd, BLKIOOPT, &opt_io);
	disk->size_bytes = size;
	disk->is_block_device = true;
	disk->block_bytes = MAX((uint32_t)logical, (uint32_t)SECTOR_BYTES);
	disk->physical_block_bytes = MAX(physical, disk->block_bytes);
	disk->min_io_bytes = min_io;
	disk->opt_io_bytes = opt_io;
	disk->can_discard = queue_limit(st->st_rdev, "discard_max_bytes") > 0;
	disk->discard_granularity_bytes = (uint32_t)queue_limit(st->st_rdev, "discard_granularity");
	return 0;
}

static void size_file(struct disk *disk, const struct stat *st)
{
	disk->size_bytes = (uint64_t)st->st_size;
	disk->block_bytes = SECTOR_BYTES;
	disk->physical_block_bytes = MAX((uint32_t)st->st_blksize, (uint32_t)SECTOR_BYTES);
	disk->can_discard = true;
	disk->discard_granularity_bytes = disk->physical_block_bytes;
}

/* Where the kernel does not tell (before Linux 6.1): a read finds out. */
static uint32_t probe_direct(struct disk *disk)
{
	static const uint32_t sizes[] = { SECTOR_BYTES, DIO_SAFE_ALIGN };
	_cleanup_free_ void *buf = NULL;
	size_t i;

	if (posix_memalign(&buf, DIO_SAFE_ALIGN, DIO_SAFE_ALIGN))
		return 0;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		if (pread(disk->fd, buf, sizes[i], 0) >= 0)
			return sizes[i];
	return 0;
}

/* The unit and the alignment that O_DIRECT wants here. */
static int size_direct(struct disk *disk, struct err *err)
{
	uint32_t block = 0, mem = 0;
	bool known = false;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(disk->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
		stx.stx_mask & STATX_DIOALIGN) {
		block = stx.stx_dio_offset_align;
		mem = stx.stx_dio_mem_align;
		known = true;
	}
#endif
	if (!known)
		block = mem = probe_direct(disk);
	if (!block || !mem)
		return err_set(err, -EINVAL,
			"disk image '%s' cannot be accessed directly there: say direct=off",
			disk->name);
	disk->block_bytes = MAX(disk->block_bytes, block);
	disk->physical_block_bytes = MAX(disk->physical_block_bytes, disk->block_bytes);
	disk->dio_mem_align = mem;
	if (disk->block_bytes > DISK_BOUNCE_BYTES)
		return err_set(err, -EINVAL,
			"disk image '%s' wants direct access in units of %u bytes: expected %u at "
			"most; say direct=off",
			disk->name, disk->block_bytes, DISK_BOUNCE_BYTES);
	return 0;
}

/*
 * The open flags that an image needs, whoever opened it: reads and writes that wait (io_uring
 * passes a non-blocking file's -EAGAIN on) at the place that they name (appending ignores it).
 */
static int set_open_flags(struct disk *disk, struct err *err)
{
	int flags = fcntl(disk->fd, F_GETFL);
	int wanted = flags & ~(O_NONBLOCK | O_APPEND | O_DIRECT);

	if (disk->direct)
		wanted |= O_DIRECT;
	if (flags < 0 || (flags != wanted && fcntl(disk->fd, F_SETFL, wanted) < 0))
		return err_set(err, -errno, "cannot set disk image '%s' to %s access: %m; %s",
			disk->name, disk->direct ? "direct" : "normal",
			disk->direct ? "say direct=off" : "open it anew");
	/* Nobody reads an image's access time, and each read would look whether to set it. Only its
	 * owner may say so. */
	fcntl(disk->fd, F_SETFL, wanted | O_NOATIME);
	return 0;
}

static int size_up(struct disk *disk, struct err *err)
{
	struct stat st;
	uint64_t rest;
	int r = 0;

	if (fstat(disk->fd, &st) < 0)
		return err_set(err, -errno, "cannot look at disk image '%s': %m", disk->name);
	if (S_ISBLK(st.st_mode))
		r = size_block_device(disk, &st, err);
	else if (S_ISREG(st.st_mode))
		size_file(disk, &st);
	else
		r = err_set(err, -EINVAL,
			"disk image '%s' is neither a regular file nor a block device", disk->name);
	if (!r && disk->direct)
		r = size_direct(disk, err);
	if (r < 0)
		return r;
	rest = disk->size_bytes % disk->block_bytes;
	disk->size_bytes -= rest;
	if (!disk->size_bytes)
		return err_set(err, -EINVAL,
			"disk image '%s' has %llu bytes: expected at least one block of %u; make "
			"it "
			"larger (truncate -s 1G, say)",
			disk->name, (unsigned long long)rest, disk->block_bytes);
	if (rest)
		log_warn("disk image '%s': its last %llu bytes are no whole block and are left out",
			disk->name, (unsigned long long)rest);
	return 0;
}

static int open_image(struct disk *disk, const struct disk_config *config, struct err *err)
{
	int access_mode = config->read_only ? O_RDONLY : O_RDWR, r;
	struct err why = { 0 };

	if (!config->filename)
		return err_set(err, -EINVAL, "a disk of kind 'file' needs filename=");
	/* Non-blocking, so that a pipe's name given by mistake does not hang us. */
	disk->fd = host_open(config->filename, access_mode | O_NONBLOCK, 0, &why);
	if (disk->fd < 0) {
		r = disk->fd;
		if (!config->read_only &&
			(r == -EACCES || r == -EROFS || r == -EPERM || r == -EBADF))
			return err_set(err, r, "%s; or say read-only=on", why.msg);
		return err_set(err, r, "%s", why.msg);
	}
	r = set_open_flags(disk, err);
	if (!r)
		r = size_up(disk, err);
	disk->in_memory = !r && !disk->is_block_device && disk_lies_in_memory(disk->fd);
	if (!r && config->locking)
		r = disk_lock(disk->fd, disk->name, disk->read_only, config->lock_patient, err);
	return r;
}

static int open_null(struct disk *disk, const struct disk_config *config, struct err *err)
{
	if (!config->size_bytes || config->size_bytes % SECTOR_BYTES)
		return err_set(err, -EINVAL,
			"a disk of kind 'null' has size %llu: expected a multiple of %d",
			(unsigned long long)config->size_bytes, SECTOR_BYTES);
	disk->size_bytes = config->size_bytes;
	disk->block_bytes = SECTOR_BYTES;
	disk->physical_block_bytes = SECTOR_BYTES;
	disk->can_discard = true;
	disk->direct = false;
	disk->fd = host_open("/dev/zero", O_RDONLY, 0, err);
	return disk->fd < 0 ? disk->fd : 0;
}

static int choose_aio(struct disk *disk, const struct disk_config *config, struct err *err)
{
	struct err why = { 0 };
	int r;

	disk->aio = config->aio;
	disk->aio_auto = config->aio == DISK_AIO_AUTO;
	if (config->aio == DISK_AIO_THREADS)
		return 0;
	disk->aio = DISK_AIO_URING;
	r = disk_uring_probe(&why);
	if (!r)
		return 0;
	if (!disk->aio_auto)
		return err_set(err, r, "disk '%s': %s", disk->name, why.msg);
	log_info("disk '%s' uses threads: %s", disk->name, why.msg);
	disk->aio = DISK_AIO_THREADS;
	return 0;
}

int disk_open(const struct disk_config *config, struct disk **ret, struct err *err)
{
	_cleanup_(cleanup_diskp) struct disk *disk = xnew(struct disk);
	int r;

	disk->fd = -1;
	disk->pool = disk_pool_new();
	disk->kind = config->kind;
	disk->read_only = config->read_only;
	disk->writeback = config->writeback;
	disk->direct = config->direct;
	disk->skip_zeroes = config->skip_zeroes;
	disk->dio_mem_align = 1;
	if (config->kind == DISK_NULL) {
		disk->name = xstrdup("null");
		disk->aio = DISK_AIO_THREADS;
		r = open_null(disk, config, err);
	} else {
		disk->name = xstrdup(config->filename ? config->filename : "");
		r = open_image(disk, config, err);
		if (!r)
			r = choose_aio(disk, config, err);
	}
	if (r < 0)
		return r;
	*ret = take_ptr(disk);
	return 0;
}

/* Whoever has it makes a block device larger; we only look. */
static int check_block_device(struct disk *disk, uint64_t size_bytes, struct err *err)
{
	uint64_t now = 0;

	if (ioctl(disk->fd, BLKGETSIZE64, &now) < 0)
		return err_set(
			err, -errno, "cannot get the size of block device '%s': %m", disk->name);
	if (now != size_bytes)
		return err_set(err, -ENOTSUP,
			"block device '%s' has %llu bytes: its size is changed on the host "
			"(lvextend, say), and then told here",
			disk->name, (unsigned long long)now);
	return 0;
}

int disk_check_resize(struct disk *disk, uint64_t size_bytes, struct err *err)
{
	if (disk->read_only)
		return err_set(err, -EACCES, "disk '%s' is read-only", disk->name);
	if (!size_bytes || size_bytes % disk->block_bytes || size_bytes > INT64_MAX)
		return err_set(err, -EINVAL,
			"disk '%s' cannot have %llu bytes: expected a multiple of %u, and not 0",
			disk->name, (unsigned long long)size_bytes, disk->block_bytes);
	return disk->is_block_device ? check_block_device(disk, size_bytes, err) : 0;
}

int disk_resize(struct disk *disk, uint64_t size_bytes, struct err *err)
{
	uint64_t before = disk->size_bytes;
	int r = disk_check_resize(disk, size_bytes, err);

	if (r < 0)
		return r;
	/* Whoever sees the larger size finds the file as large. */
	if (size_bytes < before)
		disk->size_bytes = size_bytes;
	if (disk->kind == DISK_FILE && !disk->is_block_device &&
		ftruncate(disk->fd, (off_t)size_bytes) < 0) {
		disk->size_bytes = before;
		return err_set(err, -errno, "cannot make disk image '%s' %llu bytes: %m",
			disk->name, (unsigned long long)size_bytes);
	}
	disk->size_bytes = size_bytes;
	return 0;
}
