/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a unit is: INQUIRY with its pages of vital product data, and REPORT LUNS. A unit that is not
 * there answers the standard page with "none, and none can be", and no other.
 */
#include "devices/scsi_int.h"

#include <string.h>

#include "base/be.h"
#include "base/util.h"

#define TYPE_DISK 0x00
#define TYPE_CD	  0x05
#define TYPE_NONE 0x7f /* qualifier 011b: no unit is supported there */

/* A page that is being made. */
struct page {
	uint8_t bytes[256];
	size_t len;
};

static uint8_t type_of(const struct scsi_unit *unit)
{
	return unit->kind == SCSI_CD ? TYPE_CD : TYPE_DISK;
}

/* Padded with blanks, as SPC has text of a fixed length. */
static void put_text(uint8_t *at, const char *text, size_t len)
{
	size_t n = strlen(text);

	memset(at, ' ', len);
	memcpy(at, text, MIN(n, len));
}

static enum serve_verdict standard_page(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	uint8_t data[36] = { 0 };

	data[0] = unit ? type_of(unit) : TYPE_NONE;
	data[1] = unit && unit->removable ? 0x80 : 0;
	data[2] = 5; /* SPC-3 */
	data[3] = 0x12; /* hierarchical addresses, the standard's format */
	data[4] = sizeof(data) - 5;
	data[7] = 0x02; /* commands are queued */
	put_text(data + 8, unit ? unit->vendor : "RINGSIDE", 8);
	put_text(data + 16, unit ? unit->product : "", 16);
	put_text(data + 32, unit ? unit->version : "", 4);
	return scsi_reply(req, data, sizeof(data), be16_read(req->cdb + 3));
}

static void serial_page(const struct scsi_req *req, struct page *p)
{
	size_t n = strlen(req->unit->serial);

	memcpy(p->bytes + 4, req->unit->serial, n);
	p->len = 4 + n;
}

/* One designator: the vendor's, by serial number, else by where it is. */
static void identification_page(const struct scsi_req *req, struct page *p)
{
	const struct scsi_unit *unit = req->unit;
	uint8_t *d = p->bytes + 4;
	size_t n = strlen(unit->serial);

	d[0] = 0x02; /* ASCII */
	d[1] = 0x01; /* T10 vendor identification, of the unit */
	put_text(d + 4, unit->vendor, 8);
	if (n) {
		memcpy(d + 12, unit->serial, n);
	} else {
		static const char hex[] = "0123456789abcdef";
		uint32_t where = (uint32_t)unit->target << 16 | unit->lun;

		n = 6;
		for (size_t i = 0; i < n; i++)
			d[12 + i] = (uint8_t)hex[where >> (4 * (n - 1 - i)) & 15];
	}
	d[3] = (uint8_t)(8 + n);
	p->len = 4 + 4 + 8 + n;
}

/* SBC, "Block Limits VPD page" */
static void limits_page(const struct scsi_req *req, struct page *p)
{
	const struct scsi_unit *unit = req->unit;
	const struct disk *disk = unit->disk;
	uint32_t most = (uint32_t)(SCSI_RANGE_BYTES_MAX / unit->block_bytes);
	uint32_t grain = MAX(disk->discard_granularity_bytes, unit->block_bytes);

	p->bytes[4] = 0x01; /* WRITE SAME of no blocks is refused */
	be16_write(p->bytes + 6, (uint16_t)MIN(disk->min_io_bytes / unit->block_bytes, 0xffffu));
	be32_write(p->bytes + 12, disk->opt_io_bytes / unit->block_bytes);
	if (unit->thin) {
		be32_write(p->bytes + 20, most);
		be32_write(p->bytes + 24, SCSI_UNMAP_MAX);
		be32_write(p->bytes + 28, grain / unit->block_bytes);
		be32_write(p->bytes + 32, 0x80000000); /* alignment 0 is valid */
	}
	be64_write(p->bytes + 36, most);
	p->len = 64;
}

/* SBC, "Block Device Characteristics VPD page": no rotation rate is reported, no form factor. */
static void characteristics_page(const struct scsi_req *req, struct page *p)
{
	(void)req;
	p->len = 64;
}

/* SBC, "Logical Block Provisioning VPD page" */
static void provisioning_page(const struct scsi_req *req, struct page *p)
{
	if (req->unit->thin) {
		p->bytes[5] = 0xe0; /* UNMAP, WRITE SAME(16) and (10) unmap */
		p->bytes[6] = 0x02; /* thin */
	}
	p->len = 8;
}

static void list_page(const struct scsi_req *req, struct page *p);

static const struct vpd_page {
	uint8_t code;
	uint8_t kinds;
	bool needs_serial;
	void (*make)(const struct scsi_req *req, struct page *p);
} vpd_pages[] = {
	{ 0x00, SCSI_DISK | SCSI_CD, false, list_page },
	{ 0x80, SCSI_DISK | SCSI_CD, true, serial_page },
	{ 0x83, SCSI_DISK | SCSI_CD, false, identification_page },
	{ 0xb0, SCSI_DISK, false, limits_page },
	{ 0xb1, SCSI_DISK, false, characteristics_page },
	{ 0xb2, SCSI_DISK, false, provisioning_page },
};

static bool has_page(const struct scsi_unit *unit, const struct vpd_page *page)
{
	return page->kinds & unit->kind && (!page->needs_serial || unit->serial[0]);
}

static void list_page(const struct scsi_req *req, struct page *p)
{
	p->len = 4;
	for (size_t i = 0; i < ARRAY_SIZE(vpd_pages); i++)
		if (has_page(req->unit, &vpd_pages[i]))
			p->bytes[p->len++] = vpd_pages[i].code;
}

static enum serve_verdict vital_page(struct scsi_req *req)
{
	struct page p = { 0 };

	if (!req->unit)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	for (size_t i = 0; i < ARRAY_SIZE(vpd_pages); i++) {
		if (vpd_pages[i].code != req->cdb[2] || !has_page(req->unit, &vpd_pages[i]))
			continue;
		vpd_pages[i].make(req, &p);
		p.bytes[0] = type_of(req->unit);
		p.bytes[1] = req->cdb[2];
		be16_write(p.bytes + 2, (uint16_t)(p.len - 4));
		return scsi_reply(req, p.bytes, p.len, be16_read(req->cdb + 3));
	}
	return scsi_fail(req, SCSI_BAD_CDB_FIELD);
}

enum serve_verdict scsi_inquiry(struct scsi_req *req)
{
	/* Bit 1, CMDDT, is obsolete. */
	if (req->cdb[1] & 0x02 || (!(req->cdb[1] & 0x01) && req->cdb[2]))
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	return req->cdb[1] & 0x01 ? vital_page(req) : standard_page(req);
}

enum serve_verdict scsi_report_luns(struct scsi_req *req)
{
	const struct scsi_path *path = req->scsi->queues[req->vq->index].paths;
	uint8_t data[8 + 8 * SCSI_UNITS_MAX] = { 0 };
	uint32_t asked = be32_read(req->cdb + 6);
	size_t len = 8;

	/* 0: all but the well-known; 1: those, of which there are none; 2: both. */
	if (req->cdb[2] > 2 || asked < 16)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	for (; path && req->cdb[2] != 1; path = path->next) {
		const struct scsi_unit *unit = path->unit;

		if (unit->target != req->target)
			continue;
		/* In the flat form from 256 on. */
		be16_write(
			data + len, (uint16_t)(unit->lun < 256 ? unit->lun : 0x4000 | unit->lun));
		len += 8;
	}
	be32_write(data, (uint32_t)(len - 8));
	/* Whoever has the list knows what changed (SPC, "REPORT LUNS command"). */
	if (req->unit)
		scsi_attention_forget(req->unit, SCSI_ATTENTION_UNITS);
	return scsi_reply(req, data, len, asked);
}
