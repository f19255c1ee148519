/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-blk. A request is a header of 16 bytes, data in one direction, and a status byte that the
 * device writes last. Virtio 1.4, "Block Device".
 */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

#define F_CONFIG_WCE   11
#define F_DISCARD      13
#define F_WRITE_ZEROES 14
#define F_SECURE_ERASE 16
#define F_ZONED	       17

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_CONFIG_WCE, "VIRTIO_BLK_F_CONFIG_WCE",
		"Cache writeback and writethrough modes supported"),
	DESCRIBE_BIT(9, "VIRTIO_BLK_F_FLUSH", "Flush command supported"),
	DESCRIBE_BIT(7, "VIRTIO_BLK_F_SCSI", "SCSI commands can be passed through"),
	DESCRIBE_BIT(0, "VIRTIO_BLK_F_BARRIER", "Request barriers supported"),
	DESCRIBE_BIT(F_ZONED, "VIRTIO_BLK_F_ZONED", "Device has zones"),
	DESCRIBE_BIT(F_SECURE_ERASE, "VIRTIO_BLK_F_SECURE_ERASE", "Secure erase command supported"),
	DESCRIBE_BIT(15, "VIRTIO_BLK_F_LIFETIME", "Device can tell the wear of its storage"),
	DESCRIBE_BIT(F_WRITE_ZEROES, "VIRTIO_BLK_F_WRITE_ZEROES", "Write zeroes command supported"),
	DESCRIBE_BIT(F_DISCARD, "VIRTIO_BLK_F_DISCARD", "Discard command supported"),
	DESCRIBE_BIT(12, "VIRTIO_BLK_F_MQ", "Multiqueue supported"),
	DESCRIBE_BIT(10, "VIRTIO_BLK_F_TOPOLOGY", "Topology information available"),
	DESCRIBE_BIT(6, "VIRTIO_BLK_F_BLK_SIZE", "Block size of disk available"),
	DESCRIBE_BIT(5, "VIRTIO_BLK_F_RO", "Disk is read-only"),
	DESCRIBE_BIT(4, "VIRTIO_BLK_F_GEOMETRY", "Legacy geometry available"),
	DESCRIBE_BIT(2, "VIRTIO_BLK_F_SEG_MAX", "Max segments in a request is seg_max"),
	DESCRIBE_BIT(1, "VIRTIO_BLK_F_SIZE_MAX", "Max segment size is size_max"),
};

static const struct describe_config config[] = {
	CFG("capacity", 0, 8),
	CFG_IF("size_max", 8, 4, 1),
	CFG_IF("seg_max", 12, 4, 2),
	CFG_IF("geometry.cylinders", 16, 2, 4),
	CFG_IF("geometry.heads", 18, 1, 4),
	CFG_IF("geometry.sectors", 19, 1, 4),
	CFG_IF("blk_size", 20, 4, 6),
	CFG_IF("topology.physical_block_exp", 24, 1, 10),
	CFG_IF("topology.alignment_offset", 25, 1, 10),
	CFG_IF("topology.min_io_size", 26, 2, 10),
	CFG_IF("topology.opt_io_size", 28, 4, 10),
	CFG_IF("writeback", 32, 1, F_CONFIG_WCE),
	CFG_IF("num_queues", 34, 2, 12),
	CFG_IF("max_discard_sectors", 36, 4, F_DISCARD),
	CFG_IF("max_discard_seg", 40, 4, F_DISCARD),
	CFG_IF("discard_sector_alignment", 44, 4, F_DISCARD),
	CFG_IF("max_write_zeroes_sectors", 48, 4, F_WRITE_ZEROES),
	CFG_IF("max_write_zeroes_seg", 52, 4, F_WRITE_ZEROES),
	CFG_IF("write_zeroes_may_unmap", 56, 1, F_WRITE_ZEROES),
	CFG_IF("max_secure_erase_sectors", 60, 4, F_SECURE_ERASE),
	CFG_IF("max_secure_erase_seg", 64, 4, F_SECURE_ERASE),
	CFG_IF("secure_erase_sector_alignment", 68, 4, F_SECURE_ERASE),
	CFG_IF("zoned.zone_sectors", 72, 4, F_ZONED),
	CFG_IF("zoned.max_open_zones", 76, 4, F_ZONED),
	CFG_IF("zoned.max_active_zones", 80, 4, F_ZONED),
	CFG_IF("zoned.max_append_sectors", 84, 4, F_ZONED),
	CFG_IF("zoned.write_granularity", 88, 4, F_ZONED),
	CFG_IF("zoned.model", 92, 1, F_ZONED),
};

#define HEADER_BYTES  16
#define SEGMENT_BYTES 16
/* An old driver's "nothing passes me" bit beside the type. */
#define T_BARRIER 0x80000000u

enum shape {
	DATA_IN, /* data to the driver, then the status */
	DATA_OUT, /* data from the driver */
	SEGMENTS, /* ranges from the driver */
	AT, /* only the sector counts */
	BARE, /* not even that */
};

static const struct {
	uint32_t type;
	enum shape shape;
	const char *name, *verb;
} kinds[] = {
	{ 0, DATA_IN, "IN", "read" },
	{ 1, DATA_OUT, "OUT", "write" },
	{ 2, BARE, "SCSI_CMD", "SCSI command" },
	{ 3, BARE, "SCSI_CMD_OUT", "SCSI command with data" },
	{ 4, BARE, "FLUSH", "flush" },
	{ 5, BARE, "FLUSH_OUT", "flush" },
	{ 8, BARE, "GET_ID", "get the serial number" },
	{ 10, BARE, "GET_LIFETIME", "get the lifetime" },
	{ 11, SEGMENTS, "DISCARD", "discard" },
	{ 13, SEGMENTS, "WRITE_ZEROES", "write zeroes to" },
	{ 14, SEGMENTS, "SECURE_ERASE", "securely erase" },
	{ 15, DATA_OUT, "ZONE_APPEND", "append" },
	{ 16, AT, "ZONE_REPORT", "report zones" },
	{ 18, AT, "ZONE_OPEN", "open the zone" },
	{ 20, AT, "ZONE_CLOSE", "close the zone" },
	{ 22, AT, "ZONE_FINISH", "finish the zone" },
	{ 24, AT, "ZONE_RESET", "reset the zone" },
	{ 26, BARE, "ZONE_RESET_ALL", "reset all zones" },
};

static void blk_data(const char *verb, uint32_t bytes, bool has_sector, uint64_t sector,
	struct describe_fields *ret)
{
	wire_add(ret, "bytes", bytes, NULL);
	if (has_sector)
		wire_line(ret, "%s %" PRIu32 " bytes at sector %" PRIu64, verb, bytes, sector);
	else
		wire_line(ret, "%s %" PRIu32 " bytes", verb, bytes);
}

static void blk_segments(
	const struct describe_in *in, const char *verb, struct describe_fields *ret)
{
	uint32_t num = wire_minus(in->readable, HEADER_BYTES) / SEGMENT_BYTES;
	uint64_t start, sectors, flags;

	wire_add(ret, "segments", num, NULL);
	wire_line(ret, "%s %" PRIu32 " ranges", verb, num);
	if (!wire_get(in, 16, 8, &start))
		return;
	wire_add(ret, "first-sector", start, NULL);
	if (!wire_get(in, 24, 4, &sectors))
		return;
	wire_add(ret, "first-sectors", sectors, NULL);
	if (wire_get(in, 28, 4, &flags))
		wire_add(ret, "first-unmap", flags & 1, NULL);
	if (num == 1)
		wire_line(ret, "%s %" PRIu64 " sectors at sector %" PRIu64, verb, sectors, start);
	else
		wire_line(ret,
			"%s %" PRIu32 " ranges, the first %" PRIu64 " sectors at sector %" PRIu64,
			verb, num, sectors, start);
}

static void blk_request(const struct describe_in *in, struct describe_fields *ret)
{
	uint64_t type, sector = 0;
	bool has_sector = wire_get(in, 8, 8, &sector);

	if (!wire_get(in, 0, 4, &type))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].type != (type & ~(uint64_t)T_BARRIER))
			continue;
		wire_add(ret, "type", type, kinds[i].name);
		if (has_sector && kinds[i].shape != BARE && kinds[i].shape != SEGMENTS)
			wire_add(ret, "sector", sector, NULL);
		switch (kinds[i].shape) {
		case DATA_IN:
			blk_data(kinds[i].verb, wire_minus(in->writable, 1), has_sector, sector,
				ret);
			break;
		case DATA_OUT:
			blk_data(kinds[i].verb, wire_minus(in->readable, HEADER_BYTES), has_sector,
				sector, ret);
			break;
		case SEGMENTS: blk_segments(in, kinds[i].verb, ret); break;
		case AT:
			if (has_sector)
				wire_line(ret, "%s at sector %" PRIu64, kinds[i].verb, sector);
			else
				wire_line(ret, "%s", kinds[i].verb);
			break;
		case BARE: wire_line(ret, "%s", kinds[i].verb); break;
		}
		return;
	}
	wire_add(ret, "type", type, NULL);
	if (has_sector)
		wire_add(ret, "sector", sector, NULL);
	wire_line(ret, "unknown request type %" PRIu64, type);
}

const struct describe_type describe_blk = {
	.id = 2,
	.name = "virtio-blk",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.more_queues = "requestq",
	.request = blk_request,
};
