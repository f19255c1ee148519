/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UNMAP and WRITE SAME. An UNMAP's descriptors are counted by what there is of them, copied, and
 * checked all before the first one is done. WRITE SAME of zeroes needs no buffer; another block is
 * repeated in one buffer that the queue has, so those of a queue go one after the other.
 */
#include "devices/scsi_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/be.h"
#include "base/util.h"

/* --- UNMAP --- */

static void next_unmap(struct scsi_req *req)
{
	const struct scsi_range *range = &req->ranges[req->at_range++];

	req->disk.offset_bytes = range->lba * req->unit->block_bytes;
	req->disk.bytes = (uint64_t)range->blocks * req->unit->block_bytes;
	disk_submit(scsi_chan(req), &req->disk);
}

static void on_unmapped(struct disk_req *disk, int result)
{
	struct scsi_req *req = container_of(disk, struct scsi_req, disk);

	if (!result && req->at_range < req->num_ranges) {
		next_unmap(req);
		return;
	}
	if (result)
		scsi_fail(req, scsi_sense_of(result, true));
	else
		scsi_good(req);
	scsi_complete(req);
}

/* Copies and checks the descriptors: 0 or sense data. */
static uint32_t take_ranges(struct scsi_req *req, size_t num)
{
	uint64_t total = 0;
	uint8_t d[16];

	req->num_ranges = 0;
	while (num--) {
		struct scsi_range *range = &req->ranges[req->num_ranges];

		chain_take(req->chain, d, sizeof(d));
		range->lba = be64_read(d);
		range->blocks = be32_read(d + 8);
		if (!range_inside(range->lba, range->blocks, req->unit->num_blocks))
			return SCSI_BAD_LBA;
		total += range->blocks;
		if (range->blocks)
			req->num_ranges++;
	}
	return total > SCSI_RANGE_BYTES_MAX / req->unit->block_bytes ? SCSI_BAD_LIST_FIELD : 0;
}

enum serve_verdict scsi_unmap(struct scsi_req *req)
{
	size_t asked = be16_read(req->cdb + 7), num;
	uint8_t head[8];
	uint32_t sense;

	if (!req->unit->thin)
		return scsi_fail(
			req, req->unit->disk->read_only ? SCSI_WRITE_PROTECTED : SCSI_BAD_OPCODE);
	if (req->cdb[1] & 1) /* ANCHOR */
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	if (asked > req->out_bytes)
		return scsi_respond(req, VIRTIO_SCSI_S_OVERRUN);
	req->moved = asked;
	if (!asked)
		return scsi_good(req);
	if (asked < sizeof(head))
		return scsi_fail(req, SCSI_BAD_LIST_LENGTH);
	chain_take(req->chain, head, sizeof(head));
	/* A descriptor that either length cuts off is not looked at (SBC, "UNMAP command"). */
	num = MIN((size_t)be16_read(head + 2), asked - sizeof(head)) / 16;
	if (num > SCSI_UNMAP_MAX)
		return scsi_fail(req, SCSI_BAD_LIST_FIELD);
	sense = take_ranges(req, num);
	if (sense)
		return scsi_fail(req, sense);
	if (!req->num_ranges)
		return scsi_good(req);
	req->at_range = 0;
	req->disk.op = DISK_DISCARD;
	req->disk.flags = 0;
	req->disk.iov = NULL;
	req->disk.num_iov = 0;
	req->disk.done = on_unmapped;
	next_unmap(req);
	return SERVE_HELD;
}

/* --- WRITE SAME --- */

#define SAME_NDOB    0x01 /* there is no block, it is of zeroes */
#define SAME_UNMAP   0x08
#define SAME_REFUSED 0xf6 /* protection, ANCHOR, obsolete bits */

static struct scsi_queue *queue_of(struct scsi_req *req)
{
	return &req->scsi->queues[req->vq->index];
}

/* The next piece of the pattern, or the whole range of zeroes. */
static void next_same(struct scsi_req *req)
{
	struct scsi_range *range = &req->ranges[0];
	uint32_t block = req->unit->block_bytes, blocks = range->blocks;

	if (req->disk.op == DISK_WRITE) {
		blocks = MIN(blocks, SCSI_SAME_BYTES / block);
		req->same_iov = (struct iovec){ queue_of(req)->same, (size_t)blocks * block };
	}
	req->disk.offset_bytes = range->lba * block;
	req->disk.bytes = (uint64_t)blocks * block;
	range->lba += blocks;
	range->blocks -= blocks;
	disk_submit(scsi_chan(req), &req->disk);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, len - 1);
}

/* Takes the block out of the request into the queue's buffer and begins. */
static void begin_same(struct scsi_req *req)
{
	struct scsi_queue *q = queue_of(req);
	size_t block = req->unit->block_bytes, at;

	if (!q->same)
		q->same = xnew_n(uint8_t, SCSI_SAME_BYTES);
	chain_take(req->chain, q->same, block);
	if (is_zero(q->same, block)) {
		next_same(req);
		return;
	}
	for (at = block; at < SCSI_SAME_BYTES; at += block)
		memcpy(q->same + at, q->same, block);
	q->same_owner = req;
	req->disk.op = DISK_WRITE;
	req->disk.iov = &req->same_iov;
	req->disk.num_iov = 1;
	next_same(req);
}

/* Whoever waits for the buffer, until one keeps it. */
static void next_owner(struct scsi_queue *q)
{
	q->same_owner = NULL;
	while (q->same_first && !q->same_owner) {
		struct scsi_req *req = q->same_first;

		q->same_first = req->next_same;
		if (!q->same_first)
			q->same_last = &q->same_first;
		begin_same(req);
	}
}

static void on_same_done(struct disk_req *disk, int result)
{
	struct scsi_req *req = container_of(disk, struct scsi_req, disk);
	struct scsi_queue *q = queue_of(req);

	if (!result && req->ranges[0].blocks) {
		next_same(req);
		return;
	}
	if (q->same_owner == req)
		next_owner(q);
	if (result)
		scsi_fail(req, scsi_sense_of(result, true));
	else
		scsi_good(req);
	scsi_complete(req);
}

static uint32_t check_same(struct scsi_req *req, bool long_form)
{
	const struct scsi_range *range = &req->ranges[0];
	uint8_t bits = req->cdb[1];

	if (bits & SAME_REFUSED || (bits & SAME_NDOB && !long_form))
		return SCSI_BAD_CDB_FIELD;
	if (req->unit->disk->read_only)
		return SCSI_WRITE_PROTECTED;
	if (bits & SAME_UNMAP && !req->unit->thin)
		return SCSI_BAD_CDB_FIELD;
	if (!range->blocks || range->blocks > SCSI_RANGE_BYTES_MAX / req->unit->block_bytes)
		return SCSI_BAD_CDB_FIELD;
	return range_inside(range->lba, range->blocks, req->unit->num_blocks) ? 0 : SCSI_BAD_LBA;
}

enum serve_verdict scsi_write_same(struct scsi_req *req)
{
	struct scsi_queue *q = queue_of(req);
	struct scsi_range *range = &req->ranges[0];
	bool long_form = req->cdb[0] == 0x93;
	uint32_t sense;

	range->lba = long_form ? be64_read(req->cdb + 2) : be32_read(req->cdb + 2);
	range->blocks = long_form ? be32_read(req->cdb + 10) : be16_read(req->cdb + 7);
	sense = check_same(req, long_form);
	if (sense)
		return scsi_fail(req, sense);
	req->disk.op = DISK_WRITE_ZEROES;
	req->disk.flags = req->cdb[1] & SAME_UNMAP ? DISK_UNMAP : 0;
	req->disk.iov = NULL;
	req->disk.num_iov = 0;
	req->disk.done = on_same_done;
	if (req->cdb[1] & SAME_NDOB) {
		next_same(req);
		return SERVE_HELD;
	}
	if (req->unit->block_bytes > req->out_bytes)
		return scsi_respond(req, VIRTIO_SCSI_S_OVERRUN);
	req->moved = req->unit->block_bytes;
	if (!q->same_owner) {
		begin_same(req);
		return SERVE_HELD;
	}
	req->next_same = NULL;
	*q->same_last = req;
	q->same_last = &req->next_same;
	return SERVE_HELD;
}
