/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-fs: FUSE messages; the first 32 bytes hold the header up to the caller's uid and gid.
 * Virtio 1.4, "File System Device".
 */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>
#include <stdio.h>

#define F_NOTIFICATION 0

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_NOTIFICATION, "VIRTIO_FS_F_NOTIFICATION", "FUSE notify messages supported"),
};

static const struct describe_config config[] = {
	{ .name = "tag", .offset = 0, .size = 36, .kind = DESCRIBE_STRING },
	CFG("num_request_queues", 36, 4),
	CFG_IF("notify_buf_size", 40, 4, F_NOTIFICATION),
};

/* Without the notification queue the request queues move up by one. */
static void fs_queue_role(
	unsigned index, unsigned num_queues _unused_, const uint64_t *f, char *buf)
{
	bool notify = wire_feature(f, F_NOTIFICATION, false);

	if (index == 0)
		snprintf(buf, DESCRIBE_ROLE_BYTES, "hiprio");
	else if (index == 1 && notify)
		snprintf(buf, DESCRIBE_ROLE_BYTES, "notification queue");
	else
		snprintf(buf, DESCRIBE_ROLE_BYTES, "requestq%u", notify ? index - 1 : index);
}

static const struct wire_value opcodes[] = {
	{ 1, "LOOKUP" },
	{ 2, "FORGET" },
	{ 3, "GETATTR" },
	{ 4, "SETATTR" },
	{ 5, "READLINK" },
	{ 6, "SYMLINK" },
	{ 8, "MKNOD" },
	{ 9, "MKDIR" },
	{ 10, "UNLINK" },
	{ 11, "RMDIR" },
	{ 12, "RENAME" },
	{ 13, "LINK" },
	{ 14, "OPEN" },
	{ 15, "READ" },
	{ 16, "WRITE" },
	{ 17, "STATFS" },
	{ 18, "RELEASE" },
	{ 20, "FSYNC" },
	{ 21, "SETXATTR" },
	{ 22, "GETXATTR" },
	{ 23, "LISTXATTR" },
	{ 24, "REMOVEXATTR" },
	{ 25, "FLUSH" },
	{ 26, "INIT" },
	{ 27, "OPENDIR" },
	{ 28, "READDIR" },
	{ 29, "RELEASEDIR" },
	{ 30, "FSYNCDIR" },
	{ 31, "GETLK" },
	{ 32, "SETLK" },
	{ 33, "SETLKW" },
	{ 34, "ACCESS" },
	{ 35, "CREATE" },
	{ 36, "INTERRUPT" },
	{ 37, "BMAP" },
	{ 38, "DESTROY" },
	{ 39, "IOCTL" },
	{ 40, "POLL" },
	{ 41, "NOTIFY_REPLY" },
	{ 42, "BATCH_FORGET" },
	{ 43, "FALLOCATE" },
	{ 44, "READDIRPLUS" },
	{ 45, "RENAME2" },
	{ 46, "LSEEK" },
	{ 47, "COPY_FILE_RANGE" },
	{ 48, "SETUPMAPPING" },
	{ 49, "REMOVEMAPPING" },
	{ 50, "SYNCFS" },
	{ 51, "TMPFILE" },
	{ 52, "STATX" },
};

static void fs_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field header[] = {
		WIRE_NAMED("opcode", 4, 4, opcodes),
		WIRE("unique", 8, 8),
		WIRE("node", 16, 8),
		WIRE("uid", 24, 4),
		WIRE("gid", 28, 4),
		WIRE("length", 0, 4),
	};
	const struct describe_field *opcode, *unique, *node;

	if (in->queue == 1 && wire_feature(in->features, F_NOTIFICATION, false)) {
		wire_line(ret, "notification buffer of %" PRIu32 " bytes", in->writable);
		return;
	}
	WIRE_DECODE(in, header, ret);
	opcode = describe_field_get(ret, "opcode");
	unique = describe_field_get(ret, "unique");
	node = describe_field_get(ret, "node");
	if (opcode && opcode->text[0] && unique && node)
		wire_line(ret, "%s of node %" PRIu64 ", unique %" PRIu64, opcode->text, node->value,
			unique->value);
}

const struct describe_type describe_fs = {
	.id = 26,
	.name = "virtio-user-fs",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queue_role = fs_queue_role,
	.request = fs_request,
};
