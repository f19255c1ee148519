/* SPDX-License-Identifier: BSD-3-Clause */
/* A request's shape by table, for the way there and for the way back. */
#include "proto/vhu_fields.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum shape {
	BYTES, /* known by their number only */
	EMPTY,
	HEX, /* a u64 */
	NUMBER,
	RESULT, /* of an acknowledgement */
	PROTOCOL, /* a word of protocol features */
	STATE,
	ADDR,
	VRING_FD,
	MEM_TABLE,
	MEM_REGION,
	LOG,
	CONFIG,
	INFLIGHT,
	SESSION,
	SESSION_REPLY,
};

/* Of a request and of its reply; a reply's EMPTY stands for an acknowledgement. */
static const struct {
	uint8_t request, reply;
} shapes[VHU_REQUEST_END] = {
	[VHU_GET_FEATURES] = { EMPTY, HEX },
	[VHU_SET_FEATURES] = { HEX, EMPTY },
	[VHU_SET_OWNER] = { EMPTY, EMPTY },
	[VHU_RESET_OWNER] = { EMPTY, EMPTY },
	[VHU_SET_MEM_TABLE] = { MEM_TABLE, EMPTY },
	[VHU_SET_LOG_BASE] = { LOG, BYTES },
	[VHU_SET_LOG_FD] = { BYTES, EMPTY },
	[VHU_SET_VRING_NUM] = { STATE, EMPTY },
	[VHU_SET_VRING_ADDR] = { ADDR, EMPTY },
	[VHU_SET_VRING_BASE] = { STATE, EMPTY },
	[VHU_GET_VRING_BASE] = { STATE, STATE },
	[VHU_SET_VRING_KICK] = { VRING_FD, EMPTY },
	[VHU_SET_VRING_CALL] = { VRING_FD, EMPTY },
	[VHU_SET_VRING_ERR] = { VRING_FD, EMPTY },
	[VHU_GET_PROTOCOL_FEATURES] = { EMPTY, PROTOCOL },
	[VHU_SET_PROTOCOL_FEATURES] = { PROTOCOL, EMPTY },
	[VHU_GET_QUEUE_NUM] = { EMPTY, NUMBER },
	[VHU_SET_VRING_ENABLE] = { STATE, EMPTY },
	[VHU_NET_SET_MTU] = { NUMBER, EMPTY },
	[VHU_SET_BACKEND_REQ_FD] = { EMPTY, EMPTY },
	[VHU_GET_CONFIG] = { CONFIG, CONFIG },
	[VHU_SET_CONFIG] = { CONFIG, EMPTY },
	[VHU_CREATE_CRYPTO_SESSION] = { SESSION, SESSION_REPLY },
	[VHU_CLOSE_CRYPTO_SESSION] = { NUMBER, EMPTY },
	[VHU_GET_INFLIGHT_FD] = { INFLIGHT, INFLIGHT },
	[VHU_SET_INFLIGHT_FD] = { INFLIGHT, EMPTY },
	[VHU_RESET_DEVICE] = { EMPTY, EMPTY },
	[VHU_VRING_KICK] = { STATE, EMPTY },
	[VHU_GET_MAX_MEM_SLOTS] = { EMPTY, NUMBER },
	[VHU_ADD_MEM_REG] = { MEM_REGION, EMPTY },
	[VHU_REM_MEM_REG] = { MEM_REGION, EMPTY },
	[VHU_SET_STATUS] = { HEX, EMPTY },
	[VHU_GET_STATUS] = { EMPTY, HEX },
	[VHU_GET_VRING_BASE_SKIP_DRAIN] = { STATE, STATE },
};

static void add(struct vhu_fields *f, const char *name, const char *fmt, ...) _printf_(3, 4);

static void add(struct vhu_fields *f, const char *name, const char *fmt, ...)
{
	struct vhu_field *field = &f->field[f->num];
	va_list ap;

	if (f->num == VHU_FIELDS_MAX)
		return;
	f->num++;
	snprintf(field->name, sizeof(field->name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(field->text, sizeof(field->text), fmt, ap);
	va_end(ap);
}

static void add_hex(struct vhu_fields *f, const char *name, uint64_t value)
{
	add(f, name, "0x%" PRIx64, value);
}

static void add_number(struct vhu_fields *f, const char *name, uint64_t value)
{
	add(f, name, "%" PRIu64, value);
}

static void add_bytes(struct vhu_fields *f, const void *bytes, size_t num)
{
	char text[VHU_FIELD_TEXT_BYTES] = "";
	size_t at = 0;

	for (size_t i = 0; i < num && at + 6 < sizeof(text); i++)
		at += (size_t)snprintf(
			text + at, sizeof(text) - at, "%02x", ((const uint8_t *)bytes)[i]);
	if (num * 2 > at)
		snprintf(text + at, sizeof(text) - at, "...");
	if (num)
		add(f, "bytes", "%s", text);
}

static void add_region(struct vhu_fields *f, const char *name, const struct vhu_region *r)
{
	add(f, name, "0x%" PRIx64 "+0x%" PRIx64 " user 0x%" PRIx64 " offset 0x%" PRIx64,
		le64_get(r->guest_addr), le64_get(r->size), le64_get(r->user_addr),
		le64_get(r->mmap_offset));
}

static void add_mem_table(struct vhu_fields *f, const union vhu_payload *p, size_t bytes)
{
	uint32_t n = le32_get(p->mem.num_regions);

	add_number(f, "num-regions", n);
	for (uint32_t i = 0; i < n && i < VHU_REGIONS_MAX; i++) {
		char name[VHU_FIELD_NAME_BYTES];

		if (bytes < offsetof(struct vhu_mem_table, regions) +
				    (i + 1) * sizeof(p->mem.regions[0]))
			return;
		snprintf(name, sizeof(name), "region-%u", i);
		add_region(f, name, &p->mem.regions[i]);
	}
}

/* Names one after the other, and what has none as a number. */
static void add_protocol(struct vhu_fields *f, uint64_t word)
{
	char text[VHU_FIELD_TEXT_BYTES] = "";
	size_t at = 0;

	add_hex(f, "protocol-features", word);
	for (unsigned int bit = 0; bit < VHU_PF_END; bit++) {
		const char *name = vhu_protocol_feature_name(bit);

		if (!(word >> bit & 1) || !name)
			continue;
		if (at + strlen(name) + 1 >= sizeof(text)) {
			add(f, "names", "%s", text);
			at = 0;
		}
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "", name);
	}
	if (at)
		add(f, "names", "%s", text);
}

static void add_addr(struct vhu_fields *f, const struct vhu_vring_addr *a)
{
	add_number(f, "index", le32_get(a->index));
	add_hex(f, "flags", le32_get(a->flags));
	add_hex(f, "desc", le64_get(a->desc));
	add_hex(f, "used", le64_get(a->used));
	add_hex(f, "avail", le64_get(a->avail));
	add_hex(f, "log", le64_get(a->log));
}

static void add_vring_fd(struct vhu_fields *f, uint64_t value)
{
	add_number(f, "index", value & VHU_VRING_INDEX_MASK);
	add(f, "descriptor", "%s", value & VHU_VRING_NO_FD ? "none" : "sent");
}

static void add_config(struct vhu_fields *f, const struct vhu_config *c, size_t bytes)
{
	add_number(f, "offset", le32_get(c->offset));
	add_number(f, "size", le32_get(c->size));
	add_hex(f, "flags", le32_get(c->flags));
	add_bytes(f, c->data, bytes - VHU_CONFIG_HEADER_BYTES);
}

static void add_inflight(struct vhu_fields *f, const struct vhu_inflight *i)
{
	add_number(f, "mmap-size", le64_get(i->mmap_size));
	add_number(f, "mmap-offset", le64_get(i->mmap_offset));
	add_number(f, "num-queues", le16_get(i->num_queues));
	add_number(f, "queue-size", le16_get(i->queue_size));
}

static void add_symmetric(struct vhu_fields *f, const struct vhu_sym_setup *s)
{
	add_number(f, "op-type", s->op_type);
	add_number(f, "cipher-algo", le32_get(s->cipher_algo));
	add_number(f, "key-bytes", le32_get(s->key_bytes));
	add_number(f, "direction", s->direction);
	add_number(f, "hash-algo", le32_get(s->hash_algo));
	add_number(f, "auth-key-bytes", le32_get(s->auth_key_bytes));
}

static void add_asymmetric(struct vhu_fields *f, const struct vhu_asym_setup *s)
{
	add_number(f, "algo", le32_get(s->algo));
	add_number(f, "key-type", le32_get(s->key_type));
	add_number(f, "key-bytes", le32_get(s->key_bytes));
}

/* By its size it is known which form it has; what stands behind the setup may be a key. */
static void add_session(
	struct vhu_fields *f, const union vhu_payload *p, size_t whole_bytes, bool is_reply)
{
	if (whole_bytes == sizeof(struct vhu_session2)) {
		add_hex(f, "operation", le64_get(p->session2.op_code));
		if (le64_get(p->session2.op_code) == VHU_SESSION_AKCIPHER)
			add_asymmetric(f, &p->session2.asym.setup);
		else
			add_symmetric(f, &p->session2.sym.setup);
	} else if (whole_bytes == sizeof(struct vhu_session)) {
		if (is_reply)
			add(f, "session", "%" PRId64, (int64_t)le64_get(p->session.id));
		add_symmetric(f, &p->session.setup);
	}
	add(f, "keys", "not kept");
}

static size_t least_bytes(enum shape shape)
{
	switch (shape) {
	case HEX:
	case NUMBER:
	case RESULT:
	case PROTOCOL:
	case VRING_FD:
	case STATE:
	case MEM_TABLE: return 8;
	case ADDR: return sizeof(struct vhu_vring_addr);
	case MEM_REGION: return sizeof(struct vhu_mem_region);
	case LOG: return sizeof(struct vhu_log);
	case CONFIG: return VHU_CONFIG_HEADER_BYTES;
	case INFLIGHT: return VHU_INFLIGHT_MIN_BYTES;
	case SESSION:
	case SESSION_REPLY: return VHU_SESSION_PUBLIC_BYTES;
	default: return 0;
	}
}

static void describe_shape(enum shape shape, const union vhu_payload *p, size_t bytes,
	size_t whole_bytes, struct vhu_fields *f)
{
	uint64_t word = bytes >= 8 ? le64_get(p->u64.value) : 0;

	switch (shape) {
	case HEX: add_hex(f, "value", word); break;
	case NUMBER: add_number(f, "value", word); break;
	case RESULT: add_number(f, "result", word); break;
	case PROTOCOL: add_protocol(f, word); break;
	case VRING_FD: add_vring_fd(f, word); break;
	case STATE:
		add_number(f, "index", le32_get(p->state.index));
		add_number(f, "num", le32_get(p->state.num));
		break;
	case ADDR: add_addr(f, &p->addr); break;
	case MEM_TABLE: add_mem_table(f, p, bytes); break;
	case MEM_REGION: add_region(f, "region", &p->mem_region.region); break;
	case LOG:
		add_number(f, "size", le64_get(p->log.size));
		add_number(f, "offset", le64_get(p->log.offset));
		break;
	case CONFIG: add_config(f, &p->config, bytes); break;
	case INFLIGHT: add_inflight(f, &p->inflight); break;
	case SESSION:
	case SESSION_REPLY: add_session(f, p, whole_bytes, shape == SESSION_REPLY); break;
	default: add_bytes(f, p->bytes, bytes);
	}
}

static enum shape shape_of(uint32_t request, bool backend_channel, bool is_reply, size_t bytes)
{
	enum shape shape;

	if (backend_channel || request >= VHU_REQUEST_END)
		return is_reply && backend_channel && bytes == 8 ? RESULT : BYTES;
	shape = is_reply ? shapes[request].reply : shapes[request].request;
	if (is_reply && shape == EMPTY && bytes == 8)
		return RESULT;
	return bytes < least_bytes(shape) ? BYTES : shape;
}

void vhu_describe(const struct vhu_header *header, bool backend_channel, bool is_reply,
	const void *payload, size_t bytes, struct vhu_fields *ret)
{
	union vhu_payload copy = { 0 };
	enum shape shape;

	bytes = MIN(bytes, sizeof(copy));
	if (bytes)
		memcpy(&copy, payload, bytes);
	ret->num = 0;
	shape = shape_of(le32_get(header->request), backend_channel, is_reply, bytes);
	describe_shape(shape, &copy, bytes, le32_get(header->size), ret);
}

void vhu_fields_line(const struct vhu_fields *fields, char line[VHU_LINE_BYTES])
{
	size_t at = 0;

	line[0] = '\0';
	for (unsigned int i = 0; i < fields->num && at < VHU_LINE_BYTES; i++)
		at += (size_t)snprintf(line + at, VHU_LINE_BYTES - at, "%s%s %s", i ? " " : "",
			fields->field[i].name, fields->field[i].text);
}

const char *vhu_message_name(uint32_t request, bool backend_channel, char *buf, size_t buf_bytes)
{
	const char *name = backend_channel ? vhu_backend_request_name(request) : NULL;

	if (!backend_channel)
		return vhu_request_name(request, buf, buf_bytes);
	if (name)
		return name;
	snprintf(buf, buf_bytes, "back-end request %u", request);
	return buf;
}
