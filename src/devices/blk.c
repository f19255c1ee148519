/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-blk. A request is a header of 16 bytes, payload, and one status byte at the very end of
 * what is writable, however the driver cut them. The header is parsed from a copy; payload goes on
 * as iovecs. Bounds are checked in 64 bits.
 *
 * Answered with IOERR: sectors beyond the end, payload that is no multiple of the block size,
 * writes to a read-only disk, a header cut short. Answered with UNSUPP: unknown types, reserved
 * flags. A request without a byte for its status cannot be answered at all: it is returned with
 * nothing written.
 */
#include "devices/blk.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backends/disk.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/le.h"

#define BLK_QUEUE_SIZE 256
/* A front-end may choose a smaller ring than ours after it read seg_max: QEMU takes 128. */
#define BLK_SMALL_RING	 128
#define BLK_QUEUES_MAX	 256
#define BLK_SECTOR_SHIFT 9
#define BLK_ID_BYTES	 20
#define BLK_SEGS_MAX	 32 /* ranges in one discard or write-zeroes request */
/* So much of one range is asked of the host at once: 2 GiB. */
#define BLK_RANGE_SECTORS_MAX 4194304

/* virtio 1.3, "Block Device", feature bits, request types, status values */
#define VIRTIO_BLK_F_SEG_MAX	  2
#define VIRTIO_BLK_F_RO		  5
#define VIRTIO_BLK_F_BLK_SIZE	  6
#define VIRTIO_BLK_F_FLUSH	  9
#define VIRTIO_BLK_F_TOPOLOGY	  10
#define VIRTIO_BLK_F_CONFIG_WCE	  11
#define VIRTIO_BLK_F_MQ		  12
#define VIRTIO_BLK_F_DISCARD	  13
#define VIRTIO_BLK_F_WRITE_ZEROES 14

#define VIRTIO_BLK_T_IN		  0
#define VIRTIO_BLK_T_OUT	  1
#define VIRTIO_BLK_T_FLUSH	  4
#define VIRTIO_BLK_T_GET_ID	  8
#define VIRTIO_BLK_T_DISCARD	  11
#define VIRTIO_BLK_T_WRITE_ZEROES 13

#define VIRTIO_BLK_S_OK	    0
#define VIRTIO_BLK_S_IOERR  1
#define VIRTIO_BLK_S_UNSUPP 2

#define VIRTIO_BLK_RANGE_F_UNMAP 1

struct blk_header {
	le32 type;
	le32 reserved;
	le64 sector;
};

struct blk_range {
	le64 sector;
	le32 num_sectors;
	le32 flags;
};

/* virtio 1.3, "Device configuration layout" of the block device. */
struct blk_config {
	le64 capacity;
	le32 size_max, seg_max;
	le16 cylinders;
	uint8_t heads, sectors;
	le32 blk_size;
	uint8_t physical_block_exp, alignment_offset;
	le16 min_io_size;
	le32 opt_io_size;
	uint8_t writeback, unused0;
	le16 num_queues;
	le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	le32 max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};

/* Without the padding that the compiler adds behind it. */
#define BLK_CONFIG_BYTES 60

_Static_assert(
	offsetof(struct blk_config, unused1) + 3 == BLK_CONFIG_BYTES, "as in the specification");

/* One request in flight, at the place of its chain's slot. */
struct blk_req {
	struct disk_req disk; /* first: done() gets its address */
	struct chain *chain;
	struct vq *vq;
	struct iovec status; /* the last writable byte */
};

/* What a queue's loop owns. */
struct blk_queue {
	struct disk_chan *chan; /* one for each loop: queues of the same loop share it */
	struct blk_req *reqs;
};

struct blk {
	struct vdev dev;
	char *filename, *serial;
	int aio;
	bool read_only, direct, locking, discard, read_zeroes;
	uint32_t num_queues, logical_block_size;
	uint64_t size;
	_Atomic bool writeback; /* as CONFIG_WCE has it */
	struct disk *disk;
	uint32_t block_bytes;
	struct blk_queue *queues;
	struct log_limit log;
	struct media_change *resize; /* one that waits for idle queues */
	struct vdev_wait resize_wait;
	uint64_t resize_bytes;
};

static struct blk *blk_of(struct vdev *dev)
{
	return container_of(dev, struct blk, dev);
}

/* --- life --- */

static int check_block_size(struct blk *blk, struct err *err)
{
	uint32_t bytes = blk->logical_block_size;

	if (bytes < 512 || bytes > 65536 || (bytes & (bytes - 1)))
		return err_set(err, -EINVAL,
			"%s: logical_block_size=%u is no power of two within 512 and 65536",
			vdev_label(&blk->dev), bytes);
	if (blk->disk->size_bytes % bytes)
		return err_set(err, -EINVAL,
			"%s: the image has %llu bytes, no multiple of logical_block_size=%u",
			vdev_label(&blk->dev), (unsigned long long)blk->disk->size_bytes, bytes);
	if (blk->disk->direct && bytes < blk->disk->block_bytes)
		return err_set(err, -EINVAL,
			"%s: direct=on needs logical_block_size=%u or more on this image",
			vdev_label(&blk->dev), blk->disk->block_bytes);
	return 0;
}

static void blk_offer(struct blk *blk)
{
	struct virtio_features *f = &blk->dev.device_features;
	bool writes = !blk->disk->read_only;

	virtio_features_set(f, VIRTIO_BLK_F_SEG_MAX, true);
	virtio_features_set(f, VIRTIO_BLK_F_BLK_SIZE, true);
	virtio_features_set(f, VIRTIO_BLK_F_TOPOLOGY, true);
	virtio_features_set(f, VIRTIO_BLK_F_FLUSH, true);
	virtio_features_set(f, VIRTIO_BLK_F_CONFIG_WCE, true);
	virtio_features_set(f, VIRTIO_BLK_F_MQ, blk->num_queues > 1);
	virtio_features_set(f, VIRTIO_BLK_F_RO, !writes);
	virtio_features_set(f, VIRTIO_BLK_F_DISCARD, writes && blk->discard);
	virtio_features_set(f, VIRTIO_BLK_F_WRITE_ZEROES, writes);
}

static int blk_realize(struct vdev *dev, struct err *err)
{
	struct blk *blk = blk_of(dev);
	struct disk_config config = DISK_CONFIG_INIT;
	int r;

	config.kind = blk->filename ? DISK_FILE : DISK_NULL;
	config.filename = blk->filename;
	config.size_bytes = blk->size;
	config.read_only = blk->read_only;
	config.locking = blk->locking;
	/* Before the loop runs nobody else waits for it. */
	config.lock_patient = !atomic_load(&dev->main_loop->tid);
	config.direct = blk->direct;
	config.skip_zeroes = !blk->read_zeroes;
	config.aio = (enum disk_aio)blk->aio;
	if (!blk->filename && !blk->size)
		return err_set(err, -EINVAL,
			"%s: filename= names its image; for a disk without storage, give size= "
			"instead",
			vdev_label(dev));
	if (blk->filename && blk->size)
		return err_set(err, -EINVAL,
			"%s: size= is for a disk without storage; the size of '%s' is its own",
			vdev_label(dev), blk->filename);
	if (blk->serial && strlen(blk->serial) > BLK_ID_BYTES)
		return err_set(err, -EINVAL, "%s: serial='%s' has %zu bytes: expected %d at most",
			vdev_label(dev), blk->serial, strlen(blk->serial), BLK_ID_BYTES);
	r = disk_open(&config, &blk->disk, err);
	if (!r)
		r = check_block_size(blk, err);
	if (r < 0)
		return r;
	blk->block_bytes = blk->logical_block_size;
	atomic_init(&blk->writeback, true);
	blk->queues = xnew_n(struct blk_queue, blk->num_queues);
	blk_offer(blk);
	vdev_set_queues(dev, blk->num_queues, BLK_QUEUE_SIZE);
	return 0;
}

static void blk_unrealize(struct vdev *dev)
{
	struct blk *blk = blk_of(dev);

	disk_free(blk->disk);
	free(blk->queues);
	blk->disk = NULL;
	blk->queues = NULL;
}

/* The channel of another queue that the same loop serves, or NULL. */
static struct disk_chan *find_chan(struct blk *blk, const struct vq *vq)
{
	/* Only this loop touches the blk_queue of the queues that it serves. */
	for (unsigned int i = 0; i < blk->dev.num_queues; i++)
		if (i != vq->index && blk->dev.queues[i].loop == vq->loop && blk->queues[i].chan)
			return blk->queues[i].chan;
	return NULL;
}

static int blk_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	struct blk *blk = blk_of(dev);
	struct blk_queue *q = &blk->queues[vq->index];
	int r = 0;

	q->chan = find_chan(blk, vq);
	if (!q->chan)
		r = disk_chan_open(blk->disk, vq->loop, &q->chan, err);
	if (r < 0)
		return r;
	q->reqs = xnew_n(struct blk_req, vq->num);
	return 0;
}

static void blk_queue_stop(struct vdev *dev, struct vq *vq)
{
	struct blk *blk = blk_of(dev);
	struct blk_queue *q = &blk->queues[vq->index];

	if (!find_chan(blk, vq))
		disk_chan_close(q->chan);
	q->chan = NULL;
	free(q->reqs);
	q->reqs = NULL;
}

static void blk_reset(struct vdev *dev)
{
	atomic_store_explicit(&blk_of(dev)->writeback, true, memory_order_relaxed);
}

/* --- another size --- */

static int set_size(struct blk *blk, uint64_t size_bytes, struct err *err)
{
	bool changes = size_bytes != blk->disk->size_bytes;
	int r = disk_resize(blk->disk, size_bytes, err);

	if (!r && changes) {
		log_info("%s: has %llu bytes now", vdev_label(&blk->dev),
			(unsigned long long)size_bytes);
		vdev_config_changed(&blk->dev);
	}
	return r;
}

static void on_resize_idle(struct vdev_wait *wait)
{
	struct blk *blk = container_of(wait, struct blk, resize_wait);
	struct media_change *change = take_ptr(blk->resize);
	struct err err = { 0 };
	int r = set_size(blk, blk->resize_bytes, &err);

	vdev_release(&blk->dev);
	change->done(change, r, &err);
}

int blk_resize(struct vdev *dev, uint64_t size_bytes, struct media_change *change, struct err *err)
{
	struct blk *blk = blk_of(dev);
	int r;

	if (blk->resize)
		return err_set(err, -EBUSY, "%s is being changed", vdev_label(dev));
	r = disk_check_resize(blk->disk, size_bytes, err);
	if (!r && size_bytes % blk->block_bytes)
		r = err_set(err, -EINVAL, "%s: %llu bytes are no multiple of %u, its block",
			vdev_label(dev), (unsigned long long)size_bytes, blk->block_bytes);
	if (r < 0)
		return r;
	if (size_bytes >= blk->disk->size_bytes) {
		r = set_size(blk, size_bytes, err);
		if (!r)
			change->done(change, 0, NULL);
		return r;
	}
	/* A write in flight would make the file as large as it was. */
	blk->resize = change;
	blk->resize_bytes = size_bytes;
	blk->resize_wait = (struct vdev_wait){ .fn = on_resize_idle };
	vdev_hold(dev);
	vdev_when_idle(dev, &blk->resize_wait);
	return 0;
}

/* --- configuration space --- */

static void blk_get_config(struct vdev *dev, void *config)
{
	struct blk *blk = blk_of(dev);
	struct blk_config *c = config;
	uint32_t size = MIN(blk->dev.queues[0].num_default, (uint32_t)BLK_SMALL_RING);
	uint32_t physical = MAX(blk->disk->physical_block_bytes, blk->block_bytes);
	uint32_t align = MAX(blk->disk->discard_granularity_bytes, blk->block_bytes);

	c->capacity = le64_make(blk->disk->size_bytes >> BLK_SECTOR_SHIFT);
	c->seg_max = le32_make(size > 2 ? size - 2 : 1);
	c->blk_size = le32_make(blk->block_bytes);
	c->physical_block_exp = (uint8_t)__builtin_ctz(physical / blk->block_bytes);
	c->min_io_size =
		le16_make((uint16_t)MIN(blk->disk->min_io_bytes / blk->block_bytes, 65535u));
	c->opt_io_size = le32_make(blk->disk->opt_io_bytes / blk->block_bytes);
	c->writeback = atomic_load_explicit(&blk->writeback, memory_order_relaxed);
	c->num_queues = le16_make((uint16_t)blk->num_queues);
	c->max_discard_sectors = le32_make(BLK_RANGE_SECTORS_MAX);
	c->max_discard_seg = le32_make(BLK_SEGS_MAX);
	c->discard_sector_alignment = le32_make(align >> BLK_SECTOR_SHIFT);
	c->max_write_zeroes_sectors = le32_make(BLK_RANGE_SECTORS_MAX);
	c->max_write_zeroes_seg = le32_make(BLK_SEGS_MAX);
	c->write_zeroes_may_unmap = 1;
}

static void blk_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len)
{
	const size_t wce = offsetof(struct blk_config, writeback);

	/* The only field that the driver may write. */
	if (offset > wce || offset + len <= wce)
		return;
	atomic_store_explicit(&blk_of(dev)->writeback, ((const uint8_t *)bytes)[wce - offset] != 0,
		memory_order_relaxed);
}

/* virtio 1.3, "Block Device", "Device Operation": without FLUSH every write is stable when
 * answered. */
static bool must_write_through(struct blk *blk)
{
	const struct virtio_features *f = &blk->dev.driver_features;

	if (!virtio_features_has(f, VIRTIO_BLK_F_FLUSH))
		return true;
	return virtio_features_has(f, VIRTIO_BLK_F_CONFIG_WCE) &&
	       !atomic_load_explicit(&blk->writeback, memory_order_relaxed);
}

/* --- requests --- */

static bool range_ok(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
	return sector <= UINT64_MAX >> BLK_SECTOR_SHIFT &&
	       range_inside(sector << BLK_SECTOR_SHIFT, bytes, blk->disk->size_bytes) &&
	       !(bytes % blk->block_bytes) && !((sector << BLK_SECTOR_SHIFT) % blk->block_bytes);
}

/* Answers the request: @data_bytes of its payload were written from the start. */
static enum serve_verdict finish(struct blk_req *req, uint8_t status, uint64_t data_bytes)
{
	struct chain *c = req->chain;

	if (status != VIRTIO_BLK_S_OK)
		vq_count_error(req->vq);
	chain_wrote(c, data_bytes);
	chain_fill(c, &req->status, 1, &status, sizeof(status));
	/* The status counts only where nothing between the start and it was left out. */
	if (!c->writable.bytes)
		c->written++;
	return SERVE_DONE;
}

static void on_done(struct disk_req *disk, int result)
{
	struct blk_req *req = container_of(disk, struct blk_req, disk);
	uint64_t data = disk->op == DISK_READ && !result ? disk->bytes : 0;

	if (disk->op == DISK_READ && result)
		chain_touched(req->chain, disk->bytes);
	finish(req, result ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK, data);
	vq_complete(req->vq, req->chain);
}

static enum serve_verdict submit(struct blk *blk, struct blk_req *req, enum disk_op op,
	uint64_t sector, uint64_t bytes, uint32_t flags)
{
	struct disk_req *disk = &req->disk;
	struct chain_cursor *cur = op == DISK_READ ? &req->chain->writable : &req->chain->readable;

	disk->op = op;
	disk->flags = flags;
	disk->offset_bytes = sector << BLK_SECTOR_SHIFT;
	disk->bytes = bytes;
	disk->iov = op == DISK_READ || op == DISK_WRITE ? cur->iov : NULL;
	disk->num_iov = disk->iov ? (unsigned int)cur->num_iov : 0;
	disk_submit(blk->queues[req->vq->index].chan, disk);
	return SERVE_HELD;
}

static enum serve_verdict serve_read(struct blk *blk, struct blk_req *req, uint64_t sector)
{
	uint64_t bytes = req->chain->writable.bytes;

	if (!range_ok(blk, sector, bytes))
		return finish(req, VIRTIO_BLK_S_IOERR, 0);
	req->disk.done = on_done;
	return submit(blk, req, DISK_READ, sector, bytes, 0);
}

static enum serve_verdict serve_write(struct blk *blk, struct blk_req *req, uint64_t sector)
{
	uint64_t bytes = req->chain->readable.bytes;

	if (blk->disk->read_only || !range_ok(blk, sector, bytes))
		return finish(req, VIRTIO_BLK_S_IOERR, 0);
	req->disk.done = on_done;
	return submit(blk, req, DISK_WRITE, sector, bytes, must_write_through(blk) ? DISK_FUA : 0);
}

static enum serve_verdict serve_flush(struct blk *blk, struct blk_req *req, uint64_t sector)
{
	(void)sector;
	req->disk.done = on_done;
	return submit(blk, req, DISK_FLUSH, 0, 0, 0);
}

static enum serve_verdict serve_get_id(struct blk *blk, struct blk_req *req, uint64_t sector)
{
	char id[BLK_ID_BYTES] = { 0 };
	struct chain *c = req->chain;

	(void)sector;
	/* Up to 20 bytes, ended by a zero only where it is shorter. */
	memcpy(id, blk->serial ? blk->serial : "",
		strnlen(blk->serial ? blk->serial : "", sizeof(id)));
	chain_put(c, id, (size_t)MIN((uint64_t)sizeof(id), c->writable.bytes));
	return finish(req, VIRTIO_BLK_S_OK, 0);
}

/* The next range of a discard or write-zeroes request: its status, or -1 where it was submitted. */
static int next_range(struct blk *blk, struct blk_req *req)
{
	bool zero = req->disk.op == DISK_WRITE_ZEROES;
	uint64_t sector, bytes;
	struct blk_range range;
	uint32_t flags;

	if (!chain_take(req->chain, &range, sizeof(range)))
		return req->chain->readable.bytes ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	sector = le64_get(range.sector);
	bytes = (uint64_t)le32_get(range.num_sectors) << BLK_SECTOR_SHIFT;
	flags = le32_get(range.flags);
	if (flags & ~(zero ? VIRTIO_BLK_RANGE_F_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	if (le32_get(range.num_sectors) > BLK_RANGE_SECTORS_MAX || !range_ok(blk, sector, bytes))
		return VIRTIO_BLK_S_IOERR;
	submit(blk, req, req->disk.op, sector, bytes,
		(flags & VIRTIO_BLK_RANGE_F_UNMAP ? DISK_UNMAP : 0) |
			(zero && must_write_through(blk) ? DISK_FUA : 0));
	return -1;
}

static void on_range_done(struct disk_req *disk, int result)
{
	struct blk_req *req = container_of(disk, struct blk_req, disk);
	int status = result ? VIRTIO_BLK_S_IOERR : next_range(blk_of(req->vq->dev), req);

	if (status < 0)
		return;
	finish(req, (uint8_t)status, 0);
	vq_complete(req->vq, req->chain);
}

static enum serve_verdict serve_ranges(struct blk *blk, struct blk_req *req, enum disk_op op)
{
	int status;

	if (blk->disk->read_only)
		return finish(req, VIRTIO_BLK_S_IOERR, 0);
	if (!req->chain->readable.bytes ||
		req->chain->readable.bytes > BLK_SEGS_MAX * sizeof(struct blk_range))
		return finish(req, VIRTIO_BLK_S_IOERR, 0);
	req->disk.op = op;
	req->disk.done = on_range_done;
	status = next_range(blk, req);
	return status < 0 ? SERVE_HELD : finish(req, (uint8_t)status, 0);
}

static enum serve_verdict serve_discard(struct blk *blk, struct blk_req *req, uint64_t sector)
{
	(void)sector;
	if (!blk->discard)
		return finish(req, VIRTIO_BLK_S_UNSUPP, 0);
	return serve_ranges(blk, req, DISK_DISCARD);
}

static enum serve_verdict serve_write_zeroes(struct blk *blk, struct blk_req *req, uint64_t sector)
{
	(void)sector;
	return serve_ranges(blk, req, DISK_WRITE_ZEROES);
}

static const struct {
	uint32_t type;
	enum serve_verdict (*serve)(struct blk *blk, struct blk_req *req, uint64_t sector);
} blk_types[] = {
	{ VIRTIO_BLK_T_IN, serve_read },
	{ VIRTIO_BLK_T_OUT, serve_write },
	{ VIRTIO_BLK_T_FLUSH, serve_flush },
	{ VIRTIO_BLK_T_GET_ID, serve_get_id },
	{ VIRTIO_BLK_T_DISCARD, serve_discard },
	{ VIRTIO_BLK_T_WRITE_ZEROES, serve_write_zeroes },
};

static enum serve_verdict blk_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct blk *blk = blk_of(dev);
	struct blk_req *req = &blk->queues[vq->index].reqs[c->slot];
	struct blk_header header;

	if (chain_cut_tail(c, 1, &req->status, 1) < 0) {
		log_limited(&blk->log, LOG_LEVEL_WARN,
			"%s: queue %u: head %u has no byte to write a status to; returned "
			"unanswered",
			vdev_label(dev), vq->index, c->head);
		return SERVE_DONE;
	}
	req->vq = vq;
	req->chain = c;
	if (!chain_take(c, &header, sizeof(header)))
		return finish(req, VIRTIO_BLK_S_IOERR, 0);
	for (size_t i = 0; i < ARRAY_SIZE(blk_types); i++)
		if (blk_types[i].type == le32_get(header.type))
			return blk_types[i].serve(blk, req, le64_get(header.sector));
	return finish(req, VIRTIO_BLK_S_UNSUPP, 0);
}

/* --- options --- */

static const char *const aio_choices[] = { "auto", "io_uring", "threads", NULL };

static const struct option_spec blk_options[] = {
	{ "filename", OPTION_STRING, offsetof(struct blk, filename), NULL, 0, 0, NULL,
		"raw image or block device (a path or fd=N)" },
	{ "size", OPTION_SIZE, offsetof(struct blk, size), "0", 0, INT64_MAX, NULL,
		"instead of filename: a disk of this size without storage, for measuring" },
	{ "read-zeroes", OPTION_BOOL, offsetof(struct blk, read_zeroes), "on", 0, 0, NULL,
		"with size: reads give zeroes; off leaves what is in the buffer" },
	{ "read-only", OPTION_BOOL, offsetof(struct blk, read_only), "off", 0, 0, NULL,
		"refuse writes" },
	{ "serial", OPTION_STRING, offsetof(struct blk, serial), NULL, 0, 0, NULL,
		"what GET_ID answers, 20 bytes at most" },
	{ "num-queues", OPTION_U32, offsetof(struct blk, num_queues), "1", 1, BLK_QUEUES_MAX, NULL,
		"request queues" },
	{ "logical_block_size", OPTION_U32, offsetof(struct blk, logical_block_size), "512", 512,
		65536, NULL, "unit of every request, in bytes" },
	{ "aio", OPTION_ENUM, offsetof(struct blk, aio), "auto", 0, 0, aio_choices,
		"how the host does the I/O; auto: at once what cannot wait, the rest by io_uring" },
	{ "direct", OPTION_BOOL, offsetof(struct blk, direct), "off", 0, 0, NULL,
		"bypass the host's page cache" },
	{ "locking", OPTION_BOOL, offsetof(struct blk, locking), "on", 0, 0, NULL,
		"lock the image against a second writer" },
	{ "discard", OPTION_BOOL, offsetof(struct blk, discard), "on", 0, 0, NULL,
		"offer VIRTIO_BLK_F_DISCARD" },
	{ NULL },
};

const struct vdev_class virtio_blk_class = {
	.name = "virtio-blk",
	.description = "disk",
	.virtio_id = 2,
	.instance_bytes = sizeof(struct blk),
	.config_bytes = BLK_CONFIG_BYTES,
	.options = blk_options,
	.takes_vq_mapping = true,
	.realize = blk_realize,
	.unrealize = blk_unrealize,
	.get_config = blk_get_config,
	.set_config = blk_set_config,
	.serve = blk_serve,
	.queue_start = blk_queue_start,
	.queue_stop = blk_queue_stop,
	.reset = blk_reset,
};
