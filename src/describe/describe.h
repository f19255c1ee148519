/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the numbers of a virtio device mean: names of types, feature bits, queues, config fields,
 * and the first bytes of a request as named fields. Everything is constant and stateless: any
 * thread may call anything here, nothing allocates, nothing fails, whatever the bits or bytes are.
 *
 * A type is one `const struct describe_type` in a file of its own and a row in types.h.
 */
#ifndef DESCRIBE_DESCRIBE_H
#define DESCRIBE_DESCRIBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

/* Feature bits that describe itself looks at. Virtio 1.4, "Reserved Feature Bits". */
#define DESCRIBE_F_VERSION_1 32
#define DESCRIBE_F_SUSPEND   43

/* One bit of a feature word, a status byte or a protocol word. */
struct describe_bit {
	/* Position, from 0. */
	uint8_t bit;
	/*
	 * A device bit that shares its number with a ring bit which came later: it is the device's
	 * in a word without VIRTIO_F_VERSION_1, and the ring's otherwise.
	 */
	bool legacy;
	/* "VIRTIO_NET_F_MAC" */
	const char *identifier;
	/* "VIRTIO_NET_F_MAC: Device has given MAC address": what the monitor's lists hold. */
	const char *string;
};

#define DESCRIBE_BIT(b, ident, text)                                       \
	{                                                                  \
		.bit = (b), .identifier = ident, .string = ident ": " text \
	}
#define DESCRIBE_LEGACY_BIT(b, ident, text)                                                \
	{                                                                                  \
		.bit = (b), .legacy = true, .identifier = ident, .string = ident ": " text \
	}

enum describe_kind {
	DESCRIBE_UINT, /* little-endian number of 1, 2, 4 or 8 bytes */
	DESCRIBE_BYTES,
	DESCRIBE_STRING, /* padded with NUL, not always terminated */
};

/* One field of the device configuration space. */
struct describe_config {
	/* The specification's member name; a nested one is "outer.inner". */
	const char *name;
	/* In bytes, from the start of the device configuration. */
	uint16_t offset, size;
	enum describe_kind kind;
	/*
	 * The field exists if either feature bit is negotiated. Stored as bit + 1, so that 0 is "no
	 * such condition"; describe_config_exists() reads them.
	 */
	uint8_t need1, need2;
};

/* The role of one queue with a fixed index. */
struct describe_queue {
	const char *name;
	/* Feature bit + 1 without which the queue does not exist; 0: it always does. */
	uint8_t need1;
};

/* Longest role with its NUL. */
#define DESCRIBE_ROLE_BYTES 40

struct describe_in;
struct describe_fields;

/* A virtio device type; immutable. */
struct describe_type {
	/* Virtio device id; 0 in the type that stands for every unknown id. */
	uint16_t id;
	/* What the monitor's `name` member says. */
	const char *name;
	/* Device-specific feature bits, in the order in which lists show them. */
	const struct describe_bit *features;
	size_t num_features;
	/* Config space, by rising offset. */
	const struct describe_config *config;
	size_t num_config;
	/* Queues 0 .. num_queues - 1, then, if more_queues is set, more_queues1, more_queues2 ...
	 */
	const struct describe_queue *queues;
	size_t num_queues;
	const char *more_queues;
	/* Roles that need arithmetic; replaces the three above. See describe_queue_role(). */
	void (*queue_role)(
		unsigned index, unsigned num_queues, const uint64_t *features, char *buf);
	/* Request bytes to fields. NULL: only the sizes are told. See describe_request(). */
	void (*request)(const struct describe_in *in, struct describe_fields *ret);
};

/* Never NULL: an id that nobody assigned gives a type named "unknown" with empty tables. */
const struct describe_type *describe_type_by_id(uint16_t virtio_id);
/* All known types by row, NULL after the last. */
const struct describe_type *describe_type_at(size_t row);

/* ---- bits --------------------------------------------------------------------------------- */

#define DESCRIBE_MAX_TRANSPORTS 32
#define DESCRIBE_MAX_DEVICE	128

/* A feature word of 128 bits, taken apart. The strings are static. */
struct describe_features {
	/* Ring and transport bits. */
	size_t num_transports;
	const char *transports[DESCRIBE_MAX_TRANSPORTS];
	/* The type's own bits; in a vhost word VHOST_USER_F_ and VHOST_F_ bits come before them. */
	size_t num_device;
	const char *device[DESCRIBE_MAX_DEVICE];
	/* What no table names: bits 0 to 63, and 64 to 127. */
	uint64_t unknown[2];
};

/*
 * @words: bits 0 to 63, then 64 to 127. @type may be NULL (no device bits). @vhost_word: the word
 * was exchanged with a vhost back-end, so bits 26 and 30 are VHOST_F_LOG_ALL and
 * VHOST_USER_F_PROTOCOL_FEATURES; in a word between driver and device they mean no such thing and
 * stay unknown.
 */
void describe_features(const uint64_t words[2], const struct describe_type *type, bool vhost_word,
	struct describe_features *ret);

#define DESCRIBE_MAX_NAMES 64

struct describe_names {
	size_t num;
	const char *name[DESCRIBE_MAX_NAMES];
	/* The bits that no table names. */
	uint64_t unknown;
};

/*
 * The device status byte. Bit 0x10 (SUSPEND, virtio 1.4, "Device Status Field") has a meaning only
 * under VIRTIO_F_SUSPEND: @features are the negotiated ones, or NULL if they are not known.
 */
void describe_status(uint8_t status, const uint64_t *features, struct describe_names *ret);
/* Protocol features of vhost-user. */
void describe_vhost_user_protocols(uint64_t word, struct describe_names *ret);
/* One bit of such a word; NULL where no table names it. */
const struct describe_bit *describe_protocol_bit(unsigned bit);
/* The same of a feature word; @version_1: that bit is set in it. Else as describe_features(). */
const struct describe_bit *describe_feature_bit(
	const struct describe_type *type, unsigned bit, bool vhost_word, bool version_1);
/* Descriptor flags of both ring formats: "used", "avail", "indirect", "write", "next". */
void describe_desc_flags(uint16_t flags, struct describe_names *ret);

/* The tables themselves, for whoever lists all that there is. In list order. */
extern const struct describe_bit describe_ring_bits[];
extern const size_t describe_num_ring_bits;
extern const struct describe_bit describe_vhost_bits[];
extern const size_t describe_num_vhost_bits;

static inline bool describe_has_bit(const uint64_t words[2], unsigned bit)
{
	return bit < 128 && (words[bit / 64] >> (bit % 64) & 1);
}

/* ---- queues and config -------------------------------------------------------------------- */

/*
 * The name of queue @index, as the specification calls it ("requestq1", "receiveq(port0)",
 * "controlq"), "unused" for one that the negotiated features leave without a meaning, "queue N"
 * where the type has no names. @num_queues: how many the device has. @features: the negotiated two
 * words, or NULL before negotiation; then whatever the device might have is named.
 */
void describe_queue_role(const struct describe_type *type, unsigned index, unsigned num_queues,
	const uint64_t *features, char buf[DESCRIBE_ROLE_BYTES]);

/*
 * Are the buffers of a queue with this role, as describe_queue_role() says it, supplies for what
 * the device may have to say? It keeps them for as long as it likes.
 */
bool describe_role_holds(const char *role);

/* Does the field exist under @features? NULL: before negotiation, yes. */
bool describe_config_exists(const struct describe_config *field, const uint64_t *features);

/* ---- requests ----------------------------------------------------------------------------- */

#define DESCRIBE_REQUEST_BYTES 32
#define DESCRIBE_MAX_FIELDS    14
#define DESCRIBE_TEXT_BYTES    40
#define DESCRIBE_LINE_BYTES    160

/* One member of a request. */
struct describe_field {
	/* Static, lower-case with hyphens. */
	const char *name;
	uint64_t value;
	/* The value is an address or a mask, better shown in hexadecimal. */
	bool hex;
	/* The value's name, or what stands in its place (a MAC address); "" if there is none. */
	char text[DESCRIBE_TEXT_BYTES];
};

struct describe_fields {
	size_t num;
	struct describe_field field[DESCRIBE_MAX_FIELDS];
	/* The whole in a few words: "read 4096 bytes at sector 128". Printable ASCII, never empty.
	 */
	char line[DESCRIBE_LINE_BYTES];
};

/*
 * Takes a request apart. @bytes/@len: its first device-readable bytes, as the device loaded them
 * (at most DESCRIBE_REQUEST_BYTES are looked at, fewer are fine: what is missing is left out).
 * @readable/@writable: the request's totals in bytes. @features as in describe_queue_role().
 */
void describe_request(const struct describe_type *type, unsigned queue_index, unsigned num_queues,
	const uint64_t *features, const void *bytes, size_t len, uint32_t readable,
	uint32_t writable, struct describe_fields *ret);

/* The field with that name, NULL if it was left out. */
const struct describe_field *describe_field_get(
	const struct describe_fields *fields, const char *name);

#endif
