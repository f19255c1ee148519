/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only a CD-ROM is asked: one data track that begins at 0, what the drive can do, and whether
 * the medium is another one. MMC-6.
 */
#include "devices/scsi_int.h"

#include "base/be.h"
#include "base/util.h"

#define PROFILE_CD  0x0008
#define PROFILE_DVD 0x0010
#define LEAD_OUT    0xaa

#define FEATURE_REMOVABLE 0x0003

/* What fits on no CD is a DVD: 80 minutes of 60 seconds of 75 frames. */
#define CD_BLOCKS_MAX 360000

/* As minutes, seconds and frames, which begin two seconds before block 0; else as a number. */
static void put_address(uint8_t *at, uint64_t block, bool msf)
{
	uint64_t frames = block + 150;

	if (!msf) {
		be32_write(at, (uint32_t)MIN(block, (uint64_t)UINT32_MAX));
		return;
	}
	frames = MIN(frames, (uint64_t)255 * 60 * 75 + 59 * 75 + 74);
	at[0] = 0;
	at[1] = (uint8_t)(frames / (60 * 75));
	at[2] = (uint8_t)(frames / 75 % 60);
	at[3] = (uint8_t)(frames % 75);
}

static void put_track(uint8_t *at, uint8_t track, uint64_t block, bool msf)
{
	at[1] = 0x14; /* a data track, its address is known */
	at[2] = track;
	put_address(at + 4, block, msf);
}

enum serve_verdict scsi_read_toc(struct scsi_req *req)
{
	bool msf = req->cdb[1] & 0x02;
	uint8_t format = req->cdb[2] & 0x0f, first = req->cdb[6];
	uint8_t data[20] = { 0 };
	size_t len = 4;

	/* 0: tracks from one on; 1: the sessions, of which there is one. */
	if (format > 1 || (!format && first > 1 && first != LEAD_OUT))
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	if (format || first <= 1) {
		put_track(data + len, 1, 0, msf);
		len += 8;
	}
	if (!format) {
		put_track(data + len, LEAD_OUT, req->unit->num_blocks, msf);
		len += 8;
	}
	be16_write(data, (uint16_t)(len - 2));
	data[2] = data[3] = 1; /* the first track, or session, is the last */
	return scsi_reply(req, data, len, be16_read(req->cdb + 7));
}

/* The list of profiles and two features, from the one that was asked for on, or one alone. */
enum serve_verdict scsi_get_configuration(struct scsi_req *req)
{
	bool is_dvd = req->unit->num_blocks > CD_BLOCKS_MAX;
	uint16_t profile = is_dvd ? PROFILE_DVD : PROFILE_CD;
	uint16_t first = be16_read(req->cdb + 2);
	uint8_t how = req->cdb[1] & 0x03, data[8 + 12 + 12 + 8] = { 0 };
	size_t len = 8;

	if (!scsi_has_medium(req->unit))
		profile = 0;
	if (how == 3)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	if (first == 0) {
		data[len + 2] = 0x03; /* persistent and current */
		data[len + 3] = 8;
		be16_write(data + len + 4, PROFILE_DVD);
		data[len + 6] = profile == PROFILE_DVD;
		be16_write(data + len + 8, PROFILE_CD);
		data[len + 10] = profile == PROFILE_CD;
		len += 12;
	}
	if (first == 1 || (first == 0 && how != 2)) {
		be16_write(data + len, 1); /* the core feature */
		data[len + 2] = 0x0b; /* version 2, persistent and current */
		data[len + 3] = 8;
		be32_write(data + len + 4, 1); /* the interface is of SCSI's family */
		data[len + 8] = 0x01; /* events are asked for */
		len += 12;
	}
	if (first == FEATURE_REMOVABLE || (first < FEATURE_REMOVABLE && how != 2)) {
		be16_write(data + len, FEATURE_REMOVABLE);
		data[len + 2] = 0x0b; /* version 2, persistent and current */
		data[len + 3] = 4;
		data[len + 4] = 0x39; /* a tray that opens, closes, and can be locked */
		len += 8;
	}
	be32_write(data, (uint32_t)(len - 4));
	be16_write(data + 6, profile);
	return scsi_reply(req, data, len, be16_read(req->cdb + 7));
}

#define EVENT_CLASS_MEDIA 4

/* The driver polls; what happened is told once. */
enum serve_verdict scsi_event_status(struct scsi_req *req)
{
	struct scsi_unit *unit = req->unit;
	size_t asked = be16_read(req->cdb + 7);
	uint8_t data[8] = { 0 };
	size_t len = 4;

	if (!(req->cdb[1] & 1)) /* notified later: there is no such way */
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	data[3] = 1 << EVENT_CLASS_MEDIA; /* the classes that are known */
	data[2] = 0x80; /* none of them was asked for */
	if (req->cdb[4] & 1 << EVENT_CLASS_MEDIA) {
		data[2] = EVENT_CLASS_MEDIA;
		data[4] = (uint8_t)(asked < sizeof(data) || asked > req->in_bytes
					    ? atomic_load(&unit->media_event)
					    : atomic_exchange(
						      &unit->media_event, SCSI_MEDIA_NO_CHANGE));
		data[5] = atomic_load(&unit->tray_open) ? 0x01 : 0;
		data[5] |= scsi_has_medium(unit) ? 0x02 : 0;
		len = 8;
	}
	be16_write(data, (uint16_t)(len - 2));
	return scsi_reply(req, data, len, asked);
}
