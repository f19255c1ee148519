/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to a disk (virtio 1.3, "Block Device", "Device Operation"): header, data, status.
 * Refused before the first one: writes to a disk that is read-only, sizes that are no multiple of a
 * block, a range beyond the end. Each queue has blocks of its own, so that --verify knows what each
 * of them has to hold.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/alloc.h"
#include "base/le.h"
#include "driver/drive_internal.h"

#define F_SIZE_MAX 1
#define F_SEG_MAX  2
#define F_RO	   5
#define F_BLK_SIZE 6
#define F_FLUSH	   9
#define F_MQ	   12

#define T_IN	0
#define T_OUT	1
#define T_FLUSH 4

#define S_OK   0
#define S_NONE 0xff /* nobody wrote a status yet */

#define SECTOR 512u

/* --verify keeps four bytes for each block. */
#define VERIFY_BLOCKS_MAX (1ull << 26)
#define BUSY		  0x80000000u
#define GENERATION	  0x7fffffffu

struct blk_config {
	le64 capacity; /* in sectors */
	le32 size_max, seg_max;
	uint8_t geometry[4];
	le32 blk_size;
	uint8_t topology[8];
	uint8_t writeback, unused0;
	le16 num_queues;
};

struct blk_header {
	le32 type, reserved;
	le64 sector;
};

/* What is read of it. */
#define CONFIG_BYTES (offsetof(struct blk_config, num_queues) + sizeof(le16))

_Static_assert(CONFIG_BYTES == 36 && sizeof(struct blk_header) == 16, "as in the specification");

#define STATUS_AT sizeof(struct blk_header)

static bool has(const struct drive *d, unsigned int bit)
{
	return d->features >> bit & 1;
}

static int check_pieces(struct drive *d, const struct blk_config *c, struct err *err)
{
	uint32_t size_max = has(d, F_SIZE_MAX) ? le32_get(c->size_max) : 0, pieces;
	uint32_t seg_max = has(d, F_SEG_MAX) ? le32_get(c->seg_max) : 0;

	d->piece_bytes = size_max && size_max < d->opts.bs ? size_max : d->opts.bs;
	pieces = (d->opts.bs + d->piece_bytes - 1) / d->piece_bytes;
	if (!seg_max || seg_max > DRIVE_BUFS_MAX - 2)
		seg_max = DRIVE_BUFS_MAX - 2;
	if (pieces > seg_max)
		return err_set(err, -EINVAL,
			"--bs %u: the disk takes %u segments of %u bytes: expected at most "
			"--bs %" PRIu64,
			d->opts.bs, seg_max, d->piece_bytes, (uint64_t)seg_max * d->piece_bytes);
	d->max_bufs = pieces + 2;
	return 0;
}

/* Where requests may go, in blocks of --bs. */
static int check_range(struct drive *d, uint64_t capacity, struct err *err)
{
	uint64_t size = d->opts.size;

	if (!capacity)
		return err_set(err, -ENXIO, "%s: the disk has 0 bytes", d->opts.connect);
	if (d->opts.offset % d->opts.bs)
		return err_set(err, -EINVAL, "--offset %" PRIu64 ": expected a multiple of --bs %u",
			d->opts.offset, d->opts.bs);
	if (!size && d->opts.offset < capacity)
		size = capacity - d->opts.offset;
	if (!range_inside(d->opts.offset, size, capacity) || !size)
		return err_set(err, -EINVAL,
			"--offset %" PRIu64 " --size %" PRIu64 ": expected a range inside the "
			"disk's %" PRIu64 " bytes",
			d->opts.offset, size, capacity);
	d->num_blocks = size / d->opts.bs;
	if (d->num_blocks < d->opts.queues)
		return err_set(err, -EINVAL,
			"--size %" PRIu64 ": %u queues of %u bytes a request need %" PRIu64
			": give more, or fewer --queues",
			size, d->opts.queues, d->opts.bs, (uint64_t)d->opts.queues * d->opts.bs);
	if (d->opts.verify && d->num_blocks > VERIFY_BLOCKS_MAX)
		return err_set(err, -EINVAL,
			"--verify: %" PRIu64 " blocks are too many to keep in mind: expected at "
			"most %llu: give a --size or a larger --bs",
			d->num_blocks, VERIFY_BLOCKS_MAX);
	return 0;
}

static int blk_check(struct drive *d, struct err *err)
{
	struct blk_config c = { 0 };
	uint32_t block = SECTOR;
	int r;

	if (!d->has_config)
		return err_set(err, -EOPNOTSUPP,
			"%s: the back-end does not offer CONFIG, and the disk's size is there; is "
			"it a disk?",
			d->opts.connect);
	memcpy(&c, d->config, CONFIG_BYTES);
	if (drive_writes(d) && has(d, F_RO))
		return err_set(err, -EROFS,
			"%s: the disk is read-only (the back-end offers VIRTIO_BLK_F_RO), and "
			"--rw %s writes: use --rw read or randread",
			d->opts.connect, drive_rw_name(d->opts.rw));
	if (has(d, F_BLK_SIZE) && le32_get(c.blk_size) && le32_get(c.blk_size) % SECTOR == 0)
		block = le32_get(c.blk_size);
	if (d->opts.bs % block)
		return err_set(err, -EINVAL,
			"--bs %u: expected a multiple of %u, the size of the disk's blocks",
			d->opts.bs, block);
	if (le64_get(c.capacity) > UINT64_MAX / SECTOR)
		return err_set(err, -EPROTO,
			"%s: the disk claims %" PRIu64 " sectors, which no disk has",
			d->opts.connect, le64_get(c.capacity));
	if (d->opts.queues > 1 && (!has(d, F_MQ) || d->opts.queues > le16_get(c.num_queues)))
		return err_set(err, -EOPNOTSUPP, "%s: --queues %u: the disk has %u",
			d->opts.connect, d->opts.queues, has(d, F_MQ) ? le16_get(c.num_queues) : 1);
	if (d->opts.fsync && !has(d, F_FLUSH))
		return err_set(err, -EOPNOTSUPP,
			"%s: --fsync %u: the back-end does not offer VIRTIO_BLK_F_FLUSH: leave it "
			"out",
			d->opts.connect, d->opts.fsync);
	r = check_range(d, le64_get(c.capacity) * SECTOR, err);
	return r < 0 ? r : check_pieces(d, &c, err);
}

static uint64_t offset_of(const struct dqueue *q, uint64_t block)
{
	return q->d->opts.offset + (q->first_block + block) * q->d->opts.bs;
}

/* Header, data, status: the same for all that reads and writes. */
static void shape(struct dqueue *q, struct drive_request *req)
{
	struct drive *d = q->d;
	unsigned int n = 0;

	req->bufs[n++] = dring_buf(req->head_addr, sizeof(struct blk_header));
	for (uint32_t at = 0; at < d->opts.bs; at += d->piece_bytes)
		req->bufs[n++] =
			dring_buf(req->data_addr + at, MIN(d->piece_bytes, d->opts.bs - at));
	req->bufs[n++] = dring_buf(req->head_addr + STATUS_AT, 1);
}

static void put_header(struct drive_request *req, uint32_t type, uint64_t sector)
{
	struct blk_header *header = (struct blk_header *)req->head;

	header->type = le32_make(type);
	header->reserved = le32_make(0);
	header->sector = le64_make(sector);
	req->head[STATUS_AT] = S_NONE;
}

static void put_request(struct dqueue *q, struct drive_request *req, bool writes)
{
	unsigned int num = q->d->max_bufs;

	put_header(req, writes ? T_OUT : T_IN, offset_of(q, req->block) / SECTOR);
	if (req->dir == DRIVE_SYNC)
		shape(q, req);
	req->dir = writes ? DRIVE_WRITE : DRIVE_READ;
	req->num_out = (uint8_t)(writes ? num - 1 : 1);
	req->num_in = (uint8_t)(num - req->num_out);
}

/* It is shaped again when it reads or writes next. */
static void put_flush(struct drive_request *req)
{
	put_header(req, T_FLUSH, 0);
	req->dir = DRIVE_SYNC;
	req->bufs[1] = dring_buf(req->head_addr + STATUS_AT, 1);
	req->num_out = req->num_in = 1;
}

static void blk_prepare(struct dqueue *q)
{
	struct drive *d = q->d;
	uint64_t each = d->num_blocks / d->opts.queues, state = d->opts.seed, now = now_ns();

	q->num_blocks = each;
	q->first_block = each * q->index;
	if (q->index + 1 == d->opts.queues)
		q->num_blocks = d->num_blocks - q->first_block;
	/* Runs differ, so that what an earlier one left is not taken for this one's. */
	if (!d->first_generation)
		d->first_generation = (uint32_t)(pattern_random(&now) & (GENERATION >> 1)) | 1;
	if (d->opts.verify)
		q->blocks = xnew_n(uint32_t, q->num_blocks);
	for (uint32_t i = 0; i < q->depth; i++) {
		shape(q, &q->reqs[i]);
		if (drive_writes(d))
			pattern_fill(q->reqs[i].data, d->opts.bs, state, i, 1);
	}
}

static bool is_read(struct dqueue *q)
{
	struct drive *d = q->d;

	if (!drive_writes(d))
		return true;
	return drive_reads(d) && pattern_random(&q->random) % 100 < d->opts.mix_read;
}

/* The upper half of the product, also where the compiler has no 128 bits. */
static uint64_t mul_high(uint64_t a, uint64_t b)
{
	uint64_t mid = (a >> 32) * (uint32_t)b + ((uint64_t)(uint32_t)a * (uint32_t)b >> 32);

	return (a >> 32) * (b >> 32) + (mid >> 32) +
	       (((uint32_t)a * (b >> 32) + (uint32_t)mid) >> 32);
}

static uint64_t pick_block(struct dqueue *q)
{
	uint64_t block;

	if (drive_is_random(q->d))
		return mul_high(pattern_random(&q->random), q->num_blocks);
	block = q->next_block;
	q->next_block = block + 1 == q->num_blocks ? 0 : block + 1;
	return block;
}

/* A block that no request is out for, from @block on; false where there is none near. */
static bool find_idle(struct dqueue *q, uint64_t *block)
{
	for (uint64_t i = 0; i <= q->depth; i++) {
		if (!(q->blocks[*block] & BUSY))
			return true;
		*block = *block + 1 == q->num_blocks ? 0 : *block + 1;
	}
	return false;
}

/* The next block that this run wrote. */
static bool next_check(struct dqueue *q, struct drive_request *req)
{
	while (q->check_block < q->num_blocks && !q->blocks[q->check_block])
		q->check_block++;
	if (q->check_block >= q->num_blocks)
		return false;
	req->block = q->check_block++;
	put_request(q, req, false);
	return true;
}

/* The block is this request's until it comes back. */
static void put_pattern(struct dqueue *q, struct drive_request *req)
{
	struct drive *d = q->d;
	uint32_t *block = &q->blocks[req->block];

	if (req->dir == DRIVE_WRITE) {
		req->generation = *block ? (*block + 1) & GENERATION : d->first_generation;
		req->generation = req->generation ? req->generation : 1;
		pattern_fill(req->data, d->opts.bs, offset_of(q, req->block), d->opts.seed,
			req->generation);
	}
	*block |= BUSY;
}

static bool blk_next(struct dqueue *q, struct drive_request *req)
{
	struct drive *d = q->d;
	uint64_t block;
	bool writes;

	if (q->phase == DQUEUE_CHECKING)
		return next_check(q, req);
	if (d->opts.fsync && q->writes_since_sync >= d->opts.fsync) {
		q->writes_since_sync = 0;
		put_flush(req);
		return true;
	}
	block = pick_block(q);
	if (q->blocks && !find_idle(q, &block))
		return false;
	req->block = block;
	writes = !is_read(q);
	put_request(q, req, writes);
	q->writes_since_sync += writes;
	if (q->blocks)
		put_pattern(q, req);
	return true;
}

static const char *const dir_names[] = { "read", "write", "flush" };
static const char *const status_names[] = { "OK", "IOERR", "UNSUPP" };

static int bad_status(struct dqueue *q, const struct drive_request *req, uint8_t status)
{
	uint32_t bytes = req->dir == DRIVE_SYNC ? 0 : q->d->opts.bs;

	if (status == S_NONE)
		return err_set(&q->err, -EIO,
			"queue %u: a %s of %u bytes at %" PRIu64 " came back without a status",
			q->index, dir_names[req->dir], bytes, offset_of(q, req->block));
	return err_set(&q->err, -EIO,
		"queue %u: a %s of %u bytes at %" PRIu64 " failed: status %u (%s)", q->index,
		dir_names[req->dir], bytes, offset_of(q, req->block), status,
		status < ARRAY_SIZE(status_names) ? status_names[status] : "unknown");
}

static int verify_read(struct dqueue *q, struct drive_request *req)
{
	uint32_t *block = &q->blocks[req->block], due = *block & GENERATION, found = 0;
	struct drive *d = q->d;
	struct pattern_info info;

	*block &= GENERATION;
	/* What was there before a run that writes is anybody's. */
	if (!due && drive_writes(d)) {
		q->stats.unverified++;
		return 0;
	}
	if (!pattern_check(req->data, d->opts.bs, offset_of(q, req->block), d->opts.seed,
		    due ? due : PATTERN_ANY, &found, &info)) {
		*block = found & GENERATION;
		q->stats.verified++;
		return 0;
	}
	return err_set(&q->err, -EILSEQ,
		"queue %u: verification: the block of %u bytes at %" PRIu64
		" %s: at offset %" PRIu64 " expected 0x%" PRIx64 ", found 0x%" PRIx64,
		q->index, d->opts.bs, offset_of(q, req->block), pattern_fault_text(info.fault),
		info.offset, info.expected, info.found);
}

static int blk_done(struct dqueue *q, struct drive_request *req, uint32_t len)
{
	/* The device wrote it: one load. */
	uint8_t status = __atomic_load_n(&req->head[STATUS_AT], __ATOMIC_RELAXED);

	(void)len;
	if (unlikely(status != S_OK))
		return bad_status(q, req, status);
	if (req->dir == DRIVE_SYNC)
		return 0;
	if (q->phase != DQUEUE_CHECKING)
		q->stats.bytes[req->dir] += q->d->opts.bs;
	if (!q->blocks)
		return 0;
	if (req->dir == DRIVE_READ)
		return verify_read(q, req);
	q->blocks[req->block] = req->generation;
	return 0;
}

static const struct dqueue_ops blk_ops = { blk_next, blk_done };

const struct drive_kind drive_blk = {
	.name = "blk",
	.id = 2,
	.bs = 4096,
	.rw = DRIVE_RW_RANDREAD,
	.features = BIT(F_SIZE_MAX) | BIT(F_SEG_MAX) | BIT(F_RO) | BIT(F_BLK_SIZE) | BIT(F_FLUSH) |
		    BIT(F_MQ),
	.config_bytes = CONFIG_BYTES,
	.rings_each = 1,
	.ops = { &blk_ops },
	.check = blk_check,
	.prepare = blk_prepare,
};
