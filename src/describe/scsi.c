/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-scsi. The loaded bytes hold the request header and the first 13 bytes of the command
 * block, so the lengths of 16-byte commands are out of sight. Virtio 1.4, "SCSI Host Device".
 */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>
#include <stdio.h>

static const struct describe_bit features[] = {
	DESCRIBE_BIT(3, "VIRTIO_SCSI_F_T10_PI", "T10 protection information in requests"),
	DESCRIBE_BIT(2, "VIRTIO_SCSI_F_CHANGE", "Reporting and handling LUN changes supported"),
	DESCRIBE_BIT(
		1, "VIRTIO_SCSI_F_HOTPLUG", "Reporting and handling hot-plug events supported"),
	DESCRIBE_BIT(0, "VIRTIO_SCSI_F_INOUT", "Requests with data in both directions supported"),
};

static const struct describe_config config[] = {
	CFG("num_queues", 0, 4),
	CFG("seg_max", 4, 4),
	CFG("max_sectors", 8, 4),
	CFG("cmd_per_lun", 12, 4),
	CFG("event_info_size", 16, 4),
	CFG("sense_size", 20, 4),
	CFG("cdb_size", 24, 4),
	CFG("max_channel", 28, 2),
	CFG("max_target", 30, 2),
	CFG("max_lun", 32, 4),
};

static const struct describe_queue queues[] = { { .name = "controlq" }, { .name = "eventq" } };

#define CDB 19

static const struct wire_value opcodes[] = {
	{ 0x00, "TEST UNIT READY" },
	{ 0x03, "REQUEST SENSE" },
	{ 0x08, "READ(6)" },
	{ 0x0a, "WRITE(6)" },
	{ 0x12, "INQUIRY" },
	{ 0x15, "MODE SELECT(6)" },
	{ 0x16, "RESERVE(6)" },
	{ 0x17, "RELEASE(6)" },
	{ 0x1a, "MODE SENSE(6)" },
	{ 0x1b, "START STOP UNIT" },
	{ 0x1e, "PREVENT ALLOW MEDIUM REMOVAL" },
	{ 0x25, "READ CAPACITY(10)" },
	{ 0x28, "READ(10)" },
	{ 0x2a, "WRITE(10)" },
	{ 0x2e, "WRITE AND VERIFY(10)" },
	{ 0x2f, "VERIFY(10)" },
	{ 0x35, "SYNCHRONIZE CACHE(10)" },
	{ 0x41, "WRITE SAME(10)" },
	{ 0x42, "UNMAP" },
	{ 0x43, "READ TOC" },
	{ 0x46, "GET CONFIGURATION" },
	{ 0x4a, "GET EVENT STATUS NOTIFICATION" },
	{ 0x55, "MODE SELECT(10)" },
	{ 0x5a, "MODE SENSE(10)" },
	{ 0x5e, "PERSISTENT RESERVE IN" },
	{ 0x5f, "PERSISTENT RESERVE OUT" },
	{ 0x85, "ATA PASS-THROUGH(16)" },
	{ 0x88, "READ(16)" },
	{ 0x89, "COMPARE AND WRITE" },
	{ 0x8a, "WRITE(16)" },
	{ 0x8e, "WRITE AND VERIFY(16)" },
	{ 0x8f, "VERIFY(16)" },
	{ 0x91, "SYNCHRONIZE CACHE(16)" },
	{ 0x93, "WRITE SAME(16)" },
	{ 0x9e, "SERVICE ACTION IN(16)" },
	{ 0xa0, "REPORT LUNS" },
	{ 0xa3, "MAINTENANCE IN" },
	{ 0xa8, "READ(12)" },
	{ 0xaa, "WRITE(12)" },
};

static const struct wire_value task_functions[] = {
	{ 0, "ABORT_TASK" },
	{ 1, "ABORT_TASK_SET" },
	{ 2, "CLEAR_ACA" },
	{ 3, "CLEAR_TASK_SET" },
	{ 4, "I_T_NEXUS_RESET" },
	{ 5, "LOGICAL_UNIT_RESET" },
	{ 6, "QUERY_TASK" },
	{ 7, "QUERY_TASK_SET" },
};

/* Command blocks are big-endian. */
static bool get_be(const struct describe_in *in, size_t offset, size_t size, uint64_t *ret)
{
	uint64_t value = 0, byte;

	for (size_t i = 0; i < size; i++) {
		if (!wire_get(in, offset + i, 1, &byte))
			return false;
		value = value << 8 | byte;
	}
	*ret = value;
	return true;
}

/* 01 TT, then the unit in 14 bits; C1 01 is the well-known unit REPORT LUNS. */
static void add_lun(const struct describe_in *in, size_t offset, struct describe_fields *ret)
{
	uint64_t kind, target, lun;

	if (!get_be(in, offset, 1, &kind) || !get_be(in, offset + 1, 1, &target) ||
		!get_be(in, offset + 2, 2, &lun))
		return;
	if (kind == 1) {
		wire_add(ret, "target", target, NULL);
		wire_add(ret, "lun", lun & 0x3fff, NULL);
	} else if (kind == 0xc1) {
		wire_add(ret, "lun", kind << 8 | target, "REPORT LUNS");
	}
}

static void add_extent(const struct describe_in *in, uint64_t opcode, struct describe_fields *ret)
{
	uint64_t lba, blocks;

	switch (opcode) {
	case 0x28:
	case 0x2a:
	case 0x2e:
	case 0x2f:
	case 0x41:
		if (get_be(in, CDB + 2, 4, &lba))
			wire_add(ret, "lba", lba, NULL);
		if (get_be(in, CDB + 7, 2, &blocks))
			wire_add(ret, "blocks", blocks, NULL);
		break;
	case 0xa8:
	case 0xaa:
		if (get_be(in, CDB + 2, 4, &lba))
			wire_add(ret, "lba", lba, NULL);
		if (get_be(in, CDB + 6, 4, &blocks))
			wire_add(ret, "blocks", blocks, NULL);
		break;
	case 0x88:
	case 0x89:
	case 0x8a:
	case 0x8e:
	case 0x8f:
	case 0x93:
		if (get_be(in, CDB + 2, 8, &lba))
			wire_add(ret, "lba", lba, NULL);
		break;
	}
}

static void command(const struct describe_in *in, struct describe_fields *ret)
{
	const struct describe_field *lba, *blocks, *lun;
	const char *name = NULL;
	uint64_t opcode, id;
	char unit[48] = "";

	if (wire_get(in, CDB, 1, &opcode)) {
		name = WIRE_NAME(opcodes, opcode);
		wire_add(ret, "opcode", opcode, name);
	}
	add_lun(in, 0, ret);
	if (wire_get(in, 8, 8, &id))
		wire_add(ret, "id", id, NULL);
	if (!wire_get(in, CDB, 1, &opcode))
		return;
	add_extent(in, opcode, ret);
	lba = describe_field_get(ret, "lba");
	blocks = describe_field_get(ret, "blocks");
	lun = describe_field_get(ret, "lun");
	if (lun && describe_field_get(ret, "target"))
		snprintf(unit, sizeof(unit), " on target %" PRIu64 " lun %" PRIu64,
			describe_field_get(ret, "target")->value, lun->value);
	if (!name)
		wire_line(ret, "SCSI opcode 0x%02" PRIx64 "%s", opcode, unit);
	else if (lba && blocks)
		wire_line(ret, "%s %" PRIu64 " blocks at %" PRIu64 "%s", name, blocks->value,
			lba->value, unit);
	else if (lba)
		wire_line(ret, "%s at %" PRIu64 "%s", name, lba->value, unit);
	else
		wire_line(ret, "%s%s", name, unit);
}

static void task_control(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field function[] = { WIRE_NAMED(
		"function", 4, 4, task_functions) };
	static const struct wire_value types[] = {
		{ 0, "TMF" },
		{ 1, "AN_QUERY" },
		{ 2, "AN_SUBSCRIBE" },
	};
	static const struct wire_field type[] = { WIRE_NAMED("type", 0, 4, types) };
	static const struct wire_field asked[] = { WIRE_HEX("events", 12, 4) };
	uint64_t kind, id;

	WIRE_DECODE(in, type, ret);
	if (!wire_get(in, 0, 4, &kind))
		return;
	if (kind == 0) {
		WIRE_DECODE(in, function, ret);
		add_lun(in, 8, ret);
		if (wire_get(in, 16, 8, &id))
			wire_add(ret, "id", id, NULL);
	} else if (kind <= 2) {
		add_lun(in, 4, ret);
		WIRE_DECODE(in, asked, ret);
	}
}

static void scsi_request(const struct describe_in *in, struct describe_fields *ret)
{
	if (in->queue == 0)
		task_control(in, ret);
	else if (in->queue == 1)
		wire_line(ret, "event buffer of %" PRIu32 " bytes", in->writable);
	else
		command(in, ret);
}

const struct describe_type describe_scsi = {
	.id = 8,
	.name = "virtio-scsi",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.more_queues = "requestq",
	.request = scsi_request,
};
