/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * READ, WRITE, SYNCHRONIZE CACHE. Addresses and lengths are of blocks, in 64 bits, and checked
 * against the medium before they are multiplied. Payload goes to the disk as iovecs, cut to what
 * the command says where the driver gave more.
 */
#include "devices/scsi_int.h"

#include <errno.h>

#include "base/be.h"
#include "base/util.h"

struct extent {
	uint64_t lba;
	uint32_t blocks;
	uint8_t bits; /* of byte 1: protection, DPO, FUA */
};

/* Where each group of commands has its address and length. */
static void get_extent(const struct scsi_req *req, struct extent *ret)
{
	const uint8_t *cdb = req->cdb;

	ret->bits = cdb[1];
	switch (cdb[0] >> 5) {
	case 0:
		ret->lba = be32_read(cdb) & 0x1fffff;
		ret->blocks = cdb[4] ? cdb[4] : 256;
		ret->bits = 0; /* a part of the address */
		break;
	case 4:
		ret->lba = be64_read(cdb + 2);
		ret->blocks = be32_read(cdb + 10);
		break;
	case 5:
		ret->lba = be32_read(cdb + 2);
		ret->blocks = be32_read(cdb + 6);
		break;
	default:
		ret->lba = be32_read(cdb + 2);
		ret->blocks = be16_read(cdb + 7);
		break;
	}
}

#define PROTECT 0xe0
#define FUA	0x08

struct disk_chan *scsi_chan(struct scsi_req *req)
{
	return req->path->chan;
}

uint32_t scsi_sense_of(int result, bool writing)
{
	static const struct {
		int error;
		uint32_t sense;
	} known[] = {
		{ -EROFS, SCSI_WRITE_PROTECTED },
		{ -ENOSPC, SCSI_NO_SPACE },
		{ -EDQUOT, SCSI_NO_SPACE },
		{ -EFAULT, SCSI_DATA_LOST },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].error == result)
			return known[i].sense;
	return writing ? SCSI_WRITE_ERROR : SCSI_READ_ERROR;
}

/* The first @bytes of what remains, and no more: the disk is given these. */
static void cut(struct chain_cursor *cur, uint64_t bytes)
{
	uint64_t left = bytes;
	int n;

	for (n = 0; left; n++) {
		if (left < cur->iov[n].iov_len)
			cur->iov[n].iov_len = (size_t)left;
		left -= cur->iov[n].iov_len;
	}
	cur->num_iov = n;
	cur->bytes = bytes;
}

static void on_done(struct disk_req *disk, int result)
{
	struct scsi_req *req = container_of(disk, struct scsi_req, disk);

	if (result) {
		if (disk->op == DISK_READ)
			chain_touched(req->chain, disk->bytes);
		scsi_fail(req, scsi_sense_of(result, disk->op != DISK_READ));
	} else {
		if (disk->op == DISK_READ)
			chain_wrote(req->chain, disk->bytes);
		req->moved = disk->bytes;
		scsi_good(req);
	}
	scsi_complete(req);
}

static enum serve_verdict submit(
	struct scsi_req *req, enum disk_op op, const struct extent *e, struct chain_cursor *cur)
{
	struct disk_req *disk = &req->disk;

	disk->op = op;
	disk->flags = op == DISK_WRITE && e->bits & FUA ? DISK_FUA : 0;
	disk->offset_bytes = e->lba * req->unit->block_bytes;
	disk->bytes = (uint64_t)e->blocks * req->unit->block_bytes;
	disk->iov = NULL;
	disk->num_iov = 0;
	if (cur) {
		cut(cur, disk->bytes);
		disk->iov = cur->iov;
		disk->num_iov = (unsigned int)cur->num_iov;
	}
	disk->done = on_done;
	disk_submit(scsi_chan(req), disk);
	return SERVE_HELD;
}

enum serve_verdict scsi_read(struct scsi_req *req)
{
	struct extent e;

	get_extent(req, &e);
	if (e.bits & PROTECT)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	if (!range_inside(e.lba, e.blocks, req->unit->num_blocks))
		return scsi_fail(req, SCSI_BAD_LBA);
	if ((uint64_t)e.blocks * req->unit->block_bytes > req->in_bytes)
		return scsi_respond(req, VIRTIO_SCSI_S_OVERRUN);
	return e.blocks ? submit(req, DISK_READ, &e, &req->chain->writable) : scsi_good(req);
}

enum serve_verdict scsi_write(struct scsi_req *req)
{
	struct extent e;

	get_extent(req, &e);
	if (e.bits & PROTECT)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	if (req->unit->disk->read_only)
		return scsi_fail(req, SCSI_WRITE_PROTECTED);
	if (!range_inside(e.lba, e.blocks, req->unit->num_blocks))
		return scsi_fail(req, SCSI_BAD_LBA);
	if ((uint64_t)e.blocks * req->unit->block_bytes > req->out_bytes)
		return scsi_respond(req, VIRTIO_SCSI_S_OVERRUN);
	return e.blocks ? submit(req, DISK_WRITE, &e, &req->chain->readable) : scsi_good(req);
}

enum serve_verdict scsi_flush(struct scsi_req *req)
{
	static const struct extent none;

	return submit(req, DISK_FLUSH, &none, NULL);
}

/* Of the whole disk, whatever part was named; never ahead of time, though IMMED would allow it. */
enum serve_verdict scsi_synchronize_cache(struct scsi_req *req)
{
	struct extent e;

	get_extent(req, &e);
	if (!range_inside(e.lba, e.blocks, req->unit->num_blocks))
		return scsi_fail(req, SCSI_BAD_LBA);
	return scsi_flush(req);
}
