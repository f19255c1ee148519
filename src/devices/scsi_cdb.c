/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of commands: which kind of unit knows each, and what is asked before it runs. SPC-4,
 * SBC-3, MMC-6. A command that is not in the table, or whose block is cut short by cdb_size, is an
 * ILLEGAL REQUEST, as is one that asks for what is not there: linked commands (NACA), protection
 * information, parameters to be saved.
 */
#include "devices/scsi_int.h"

#include "base/be.h"
#include "base/util.h"

enum {
	/* Also of a unit that is not there. */
	ANY_UNIT = 1 << 0,
	/* A unit attention stays where it is, and the command is served. */
	NO_ATTENTION = 1 << 1,
	/* Not while the unit is stopped, or without a medium. */
	READY = 1 << 2,
};

#define BOTH (SCSI_DISK | SCSI_CD)

static enum serve_verdict test_unit_ready(struct scsi_req *req)
{
	return scsi_good(req);
}

static enum serve_verdict request_sense(struct scsi_req *req)
{
	bool descriptors = req->cdb[1] & 1;
	uint8_t data[18] = { 0 };
	uint32_t sense = SCSI_NO_SUCH_LUN;

	if (req->cdb[4] > req->in_bytes)
		return scsi_respond(req, VIRTIO_SCSI_S_OVERRUN);
	if (req->unit)
		sense = scsi_attention_take(req->unit);
	if (req->unit && !sense)
		sense = scsi_not_ready(req->unit);
	if (descriptors) {
		data[0] = 0x72;
		data[1] = (uint8_t)(sense >> 16);
		be16_write(data + 2, (uint16_t)sense);
		return scsi_reply(req, data, 8, req->cdb[4]);
	}
	data[0] = 0x70;
	data[2] = (uint8_t)(sense >> 16);
	data[7] = sizeof(data) - 8;
	be16_write(data + 12, (uint16_t)sense);
	return scsi_reply(req, data, sizeof(data), req->cdb[4]);
}

static enum serve_verdict read_capacity10(struct scsi_req *req)
{
	uint64_t last = req->unit->num_blocks - 1;
	uint8_t data[8];

	/* An address without PMI has no meaning (SBC). */
	if (be32_read(req->cdb + 2) || req->cdb[8] & 1)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	be32_write(data, (uint32_t)MIN(last, (uint64_t)UINT32_MAX));
	be32_write(data + 4, req->unit->block_bytes);
	/* The command has no allocation length: all of it, or what there is room for. */
	return scsi_reply(req, data, sizeof(data), sizeof(data));
}

static enum serve_verdict read_capacity16(struct scsi_req *req)
{
	const struct disk *disk = req->unit->disk;
	uint32_t block = req->unit->block_bytes;
	uint32_t physical = MAX(disk->physical_block_bytes, block);
	uint8_t data[32] = { 0 };

	if (be64_read(req->cdb + 2) || req->cdb[14] & 1)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	be64_write(data, req->unit->num_blocks - 1);
	be32_write(data + 8, block);
	data[13] = (uint8_t)__builtin_ctz(physical / block);
	data[14] = req->unit->thin ? 0x80 : 0; /* LBPME; what is unmapped reads as anything */
	return scsi_reply(req, data, sizeof(data), be32_read(req->cdb + 10));
}

#define SERVICE_READ_CAPACITY16 0x10

static enum serve_verdict service_action_in16(struct scsi_req *req)
{
	if ((req->cdb[1] & 0x1f) != SERVICE_READ_CAPACITY16)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	return read_capacity16(req);
}

static const struct command {
	uint8_t opcode;
	uint8_t kinds;
	uint8_t flags;
	enum serve_verdict (*serve)(struct scsi_req *req);
} commands[] = {
	{ 0x00, BOTH, READY, test_unit_ready },
	{ 0x03, BOTH, ANY_UNIT | NO_ATTENTION, request_sense },
	{ 0x08, SCSI_DISK, READY, scsi_read },
	{ 0x0a, SCSI_DISK, READY, scsi_write },
	{ 0x12, BOTH, ANY_UNIT | NO_ATTENTION, scsi_inquiry },
	{ 0x1a, BOTH, 0, scsi_mode_sense },
	{ 0x1b, BOTH, 0, scsi_start_stop },
	{ 0x1e, BOTH, 0, scsi_prevent_removal },
	{ 0x25, BOTH, READY, read_capacity10 },
	{ 0x28, BOTH, READY, scsi_read },
	{ 0x2a, SCSI_DISK, READY, scsi_write },
	{ 0x35, SCSI_DISK, READY, scsi_synchronize_cache },
	{ 0x41, SCSI_DISK, READY, scsi_write_same },
	{ 0x42, SCSI_DISK, READY, scsi_unmap },
	{ 0x43, SCSI_CD, READY, scsi_read_toc },
	{ 0x46, SCSI_CD, NO_ATTENTION, scsi_get_configuration },
	{ 0x4a, SCSI_CD, NO_ATTENTION, scsi_event_status },
	{ 0x5a, BOTH, 0, scsi_mode_sense },
	{ 0x88, SCSI_DISK, READY, scsi_read },
	{ 0x8a, SCSI_DISK, READY, scsi_write },
	{ 0x91, SCSI_DISK, READY, scsi_synchronize_cache },
	{ 0x93, SCSI_DISK, READY, scsi_write_same },
	{ 0x9e, SCSI_DISK, READY, service_action_in16 },
	{ 0xa0, BOTH, ANY_UNIT | NO_ATTENTION, scsi_report_luns },
	{ 0xa8, BOTH, READY, scsi_read },
	{ 0xaa, SCSI_DISK, READY, scsi_write },
};

/* By the group in the opcode's upper three bits (SPC, "Operation code"). */
static const uint8_t cdb_lengths[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

static const struct command *find_command(uint8_t opcode)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].opcode == opcode)
			return &commands[i];
	return NULL;
}

enum serve_verdict scsi_execute(struct scsi_req *req)
{
	const struct command *command = find_command(req->cdb[0]);
	uint32_t have = atomic_load_explicit(&req->scsi->cdb_size, memory_order_relaxed);
	struct scsi_unit *unit = req->unit;
	uint8_t len = cdb_lengths[req->cdb[0] >> 5];
	/* Once: it may come meanwhile, to this loop first. */
	bool has_medium = unit && atomic_load(&unit->has_medium);
	uint32_t sense = 0;

	if (!unit && (!command || !(command->flags & ANY_UNIT)))
		return scsi_fail(req, SCSI_NO_SUCH_LUN);
	if (unit && !(command && command->flags & NO_ATTENTION))
		sense = scsi_attention_take(unit);
	if (sense)
		return scsi_fail(req, sense);
	if (!command || (unit && !(command->kinds & unit->kind)))
		return scsi_fail(req, SCSI_BAD_OPCODE);
	if (has_medium && !req->path->chan && !(command->flags & ANY_UNIT))
		return scsi_fail(req, SCSI_UNREACHABLE);
	/* The control byte is the last; NACA is not there (SAM, "Control byte"). */
	if (len > have || req->cdb[len - 1] & 0x04)
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	if (command->flags & READY)
		sense = has_medium ? scsi_not_ready(unit) : scsi_no_medium(unit);
	if (sense)
		return scsi_fail(req, sense);
	return command->serve(req);
}
