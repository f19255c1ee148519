/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of vhost-user as named fields, for people. Stateless; any bytes may come in: what is too
 * short is told as bytes.
 */
#ifndef PROTO_VHU_FIELDS_H
#define PROTO_VHU_FIELDS_H

#include "proto/vhost_user.h"

#define VHU_FIELDS_MAX	     12
#define VHU_FIELD_NAME_BYTES 24
#define VHU_FIELD_TEXT_BYTES 128
#define VHU_LINE_BYTES	     512

struct vhu_field {
	char name[VHU_FIELD_NAME_BYTES]; /* lower-case with hyphens */
	char text[VHU_FIELD_TEXT_BYTES]; /* printable ASCII */
};

struct vhu_fields {
	unsigned int num;
	struct vhu_field field[VHU_FIELDS_MAX];
};

/*
 * @backend_channel: it went over the channel of SET_BACKEND_REQ_FD. @is_reply: it answers a
 * request. @bytes: of the payload, as many as there are at hand.
 */
void vhu_describe(const struct vhu_header *header, bool backend_channel, bool is_reply,
	const void *payload, size_t bytes, struct vhu_fields *ret);
/* "index 0 num 128": the fields in one line. */
void vhu_fields_line(const struct vhu_fields *fields, char line[VHU_LINE_BYTES]);
/* "GET_FEATURES", "BACKEND_CONFIG_CHANGE_MSG", "request 99" */
const char *vhu_message_name(uint32_t request, bool backend_channel, char *buf, size_t buf_bytes);

#endif
