/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public functions: they walk the tables of bits.c and of the types. Nothing is refused; what
 * no table knows is handed back as a number.
 */
#include "describe/describe.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "describe/wire.h"

static void clear_bit(uint64_t words[2], unsigned bit)
{
	words[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

/* Moves each named bit of @words to the list; @skip holds bits that are somebody else's. */
static size_t take_bits(uint64_t words[2], const uint64_t skip[2], const struct describe_bit *table,
	size_t num_bits, const char **list, size_t num, size_t max)
{
	for (size_t i = 0; i < num_bits; i++) {
		const struct describe_bit *b = &table[i];

		if (!describe_has_bit(words, b->bit) || describe_has_bit(skip, b->bit))
			continue;
		assert(num < max);
		list[num++] = b->string;
		clear_bit(words, b->bit);
	}
	return num;
}

void describe_features(const uint64_t words[2], const struct describe_type *type, bool vhost_word,
	struct describe_features *ret)
{
	static const uint64_t none[2];
	uint64_t legacy[2] = { 0, 0 };

	*ret = (struct describe_features){ .unknown = { words[0], words[1] } };
	for (size_t i = 0; type && i < type->num_features; i++) {
		const struct describe_bit *b = &type->features[i];

		if (b->legacy && !describe_has_bit(words, DESCRIBE_F_VERSION_1))
			legacy[b->bit / 64] |= UINT64_C(1) << (b->bit % 64);
	}
	ret->num_transports = take_bits(ret->unknown, legacy, describe_ring_bits,
		describe_num_ring_bits, ret->transports, 0, DESCRIBE_MAX_TRANSPORTS);
	if (vhost_word)
		ret->num_device = take_bits(ret->unknown, none, describe_vhost_bits,
			describe_num_vhost_bits, ret->device, 0, DESCRIBE_MAX_DEVICE);
	if (type)
		ret->num_device = take_bits(ret->unknown, none, type->features, type->num_features,
			ret->device, ret->num_device, DESCRIBE_MAX_DEVICE);
}

bool describe_config_exists(const struct describe_config *field, const uint64_t *features)
{
	if (!field->need1 || !features)
		return true;
	return describe_has_bit(features, field->need1 - 1) ||
	       (field->need2 && describe_has_bit(features, field->need2 - 1));
}

bool describe_role_holds(const char *role)
{
	static const char *const beginnings[] = { "receiveq", "control receiveq", "rx", "event",
		"statsq", "alarmq", "notification" };

	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
		if (!strncmp(role, beginnings[i], strlen(beginnings[i])))
			return true;
	return false;
}

void describe_queue_role(const struct describe_type *type, unsigned index, unsigned num_queues,
	const uint64_t *features, char buf[DESCRIBE_ROLE_BYTES])
{
	if (index < num_queues && type->queue_role) {
		type->queue_role(index, num_queues, features, buf);
	} else if (index < type->num_queues) {
		const struct describe_queue *q = &type->queues[index];
		bool there = !q->need1 || !features || describe_has_bit(features, q->need1 - 1);

		snprintf(buf, DESCRIBE_ROLE_BYTES, "%s", there ? q->name : "unused");
	} else if (type->more_queues) {
		snprintf(buf, DESCRIBE_ROLE_BYTES, "%s%" PRIu64, type->more_queues,
			(uint64_t)index - type->num_queues + 1);
	} else {
		snprintf(buf, DESCRIBE_ROLE_BYTES, "queue %u", index);
	}
}

/* For types that write no line of their own: their fields in a row. */
static void line_of_fields(struct describe_fields *f)
{
	size_t used = 0;

	for (size_t i = 0; i < f->num; i++) {
		const struct describe_field *m = &f->field[i];
		const char *sep = i ? ", " : "";
		size_t room = sizeof(f->line) - used;
		int n;

		if (m->text[0] && !i)
			n = snprintf(f->line, room, "%s", m->text);
		else if (m->text[0])
			n = snprintf(f->line + used, room, "%s%s %s", sep, m->name, m->text);
		else if (m->hex)
			n = snprintf(
				f->line + used, room, "%s%s 0x%" PRIx64, sep, m->name, m->value);
		else
			n = snprintf(f->line + used, room, "%s%s %" PRIu64, sep, m->name, m->value);
		if (n < 0 || (size_t)n >= room) {
			f->line[used] = 0;
			return;
		}
		used += n;
	}
}

void describe_request(const struct describe_type *type, unsigned queue_index, unsigned num_queues,
	const uint64_t *features, const void *bytes, size_t len, uint32_t readable,
	uint32_t writable, struct describe_fields *ret)
{
	struct describe_in in = {
		.bytes = bytes,
		.len = bytes ? MIN(len, (size_t)DESCRIBE_REQUEST_BYTES) : 0,
		.queue = queue_index,
		.num_queues = num_queues,
		.features = features,
		.readable = readable,
		.writable = writable,
	};

	memset(ret, 0, sizeof(*ret));
	if (type->request)
		type->request(&in, ret);
	if (!ret->line[0])
		line_of_fields(ret);
	if (!ret->line[0])
		wire_line(ret, "%" PRIu32 " bytes to the device, room for %" PRIu32 " bytes back",
			readable, writable);
}

const struct describe_field *describe_field_get(
	const struct describe_fields *fields, const char *name)
{
	for (size_t i = 0; i < fields->num; i++)
		if (!strcmp(fields->field[i].name, name))
			return &fields->field[i];
	return NULL;
}
