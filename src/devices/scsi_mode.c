/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MODE SENSE. There is no MODE SELECT: a page's changeable values are all zero, and nothing that
 * another request was checked against, the block size least of all, is ever changed by a driver.
 */
#include "devices/scsi_int.h"

#include <string.h>

#include "base/be.h"
#include "base/util.h"

#define ALL_PAGES    0x3f
#define ALL_SUBPAGES 0xff

enum { CURRENT, CHANGEABLE, DEFAULTS, SAVED };

/* Both headers are shorter than 8 bytes, a block descriptor has 8, the pages below 100 together. */
struct mode_data {
	uint8_t bytes[160];
	size_t len;
};

struct mode_page {
	uint8_t code;
	uint8_t kinds;
	uint8_t len; /* without the two bytes before it */
	void (*make)(const struct scsi_unit *unit, uint8_t *page); /* NULL: all zero */
};

/* SBC, "Caching mode page": WCE. */
static void caching(const struct scsi_unit *unit, uint8_t *page)
{
	page[2] = unit->write_cache ? 0x04 : 0;
}

/* SPC, "Control mode page": commands may be reordered; unit attentions and busy as by default. */
static void control(const struct scsi_unit *unit, uint8_t *page)
{
	(void)unit;
	page[3] = 0x10;
}

/* MMC, "C/DVD capabilities and mechanical status": data is read, and there is a tray. */
static void capabilities(const struct scsi_unit *unit, uint8_t *page)
{
	page[2] = 0x3b; /* CD-R, CD-RW and DVD-ROM, -R, -RAM are read */
	page[6] = 0x29; /* it opens, and can be locked */
	page[6] |= atomic_load(&unit->locked) ? 0x02 : 0;
	be16_write(page + 8, 4234); /* 24 times, in kB a second */
	be16_write(page + 14, 4234);
}

static const struct mode_page mode_pages[] = {
	{ 0x01, SCSI_DISK | SCSI_CD, 10, NULL }, /* read-write error recovery */
	{ 0x08, SCSI_DISK, 18, caching },
	{ 0x0a, SCSI_DISK | SCSI_CD, 10, control },
	{ 0x2a, SCSI_CD, 20, capabilities },
};

static void add_pages(const struct scsi_req *req, unsigned int which, struct mode_data *data)
{
	uint8_t asked = req->cdb[2] & 0x3f;

	for (size_t i = 0; i < ARRAY_SIZE(mode_pages); i++) {
		const struct mode_page *p = &mode_pages[i];
		uint8_t *at = data->bytes + data->len;

		if (!(p->kinds & req->unit->kind) || (asked != ALL_PAGES && asked != p->code))
			continue;
		at[0] = p->code;
		at[1] = p->len;
		if (p->make && which != CHANGEABLE)
			p->make(req->unit, at);
		data->len += 2u + p->len;
	}
}

/* How many blocks, 24 bits or all of them set, and how large. */
static void add_block_descriptor(const struct scsi_unit *unit, struct mode_data *data)
{
	uint8_t *at = data->bytes + data->len;

	be32_write(at, (uint32_t)MIN(atomic_load(&unit->num_blocks), 0xffffffull));
	be32_write(at + 4, unit->block_bytes);
	data->len += 8;
}

enum serve_verdict scsi_mode_sense(struct scsi_req *req)
{
	bool is10 = req->cdb[0] == 0x5a, blocks;
	unsigned int which = req->cdb[2] >> 6;
	struct mode_data data = { .len = is10 ? 8 : 4 };
	size_t asked = is10 ? be16_read(req->cdb + 7) : req->cdb[4], before;
	uint8_t flags = 0;

	if (which == SAVED)
		return scsi_fail(req, SCSI_CANNOT_SAVE);
	/* No page has subpages; all of them is none. */
	if (req->cdb[3] && req->cdb[3] != ALL_SUBPAGES)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	blocks = req->unit->kind == SCSI_DISK && !(req->cdb[1] & 0x08); /* DBD */
	if (blocks)
		add_block_descriptor(req->unit, &data);
	before = data.len;
	add_pages(req, which, &data);
	if (data.len == before)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	if (req->unit->kind == SCSI_DISK)
		flags = req->unit->disk->read_only ? 0x90 : 0x10; /* WP, DPOFUA */
	if (is10) {
		be16_write(data.bytes, (uint16_t)(data.len - 2));
		data.bytes[3] = flags;
		data.bytes[7] = blocks ? 8 : 0;
	} else {
		data.bytes[0] = (uint8_t)(data.len - 1);
		data.bytes[2] = flags;
		data.bytes[3] = blocks ? 8 : 0;
	}
	return scsi_reply(req, data.bytes, data.len, asked);
}
