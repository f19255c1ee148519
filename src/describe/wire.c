/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes of a request to named fields. Every access goes through wire_get(), which refuses what is
 * not wholly inside the bytes that the device loaded.
 */
#include "describe/wire.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/le.h"

bool wire_get(const struct describe_in *in, size_t offset, size_t size, uint64_t *ret)
{
	const uint8_t *p;

	if (!range_inside(offset, size, in->len))
		return false;
	p = in->bytes + offset;
	switch (size) {
	case 1: *ret = *p; return true;
	case 2: *ret = le16_read(p); return true;
	case 4: *ret = le32_read(p); return true;
	case 8: *ret = le64_read(p); return true;
	}
	return false;
}

const char *wire_name(const struct wire_value *table, size_t num, uint64_t value)
{
	for (size_t i = 0; i < num; i++)
		if (table[i].value == value)
			return table[i].name;
	return NULL;
}

static struct describe_field *add(struct describe_fields *ret, const char *name)
{
	struct describe_field *f;

	if (ret->num == DESCRIBE_MAX_FIELDS)
		return NULL;
	f = &ret->field[ret->num++];
	*f = (struct describe_field){ .name = name };
	return f;
}

void wire_add(struct describe_fields *ret, const char *name, uint64_t value, const char *text)
{
	struct describe_field *f = add(ret, name);

	if (!f)
		return;
	f->value = value;
	if (text)
		snprintf(f->text, sizeof(f->text), "%s", text);
}

void wire_decode(const struct describe_in *in, const struct wire_field *table, size_t num,
	struct describe_fields *ret)
{
	for (size_t i = 0; i < num; i++) {
		const struct wire_field *w = &table[i];
		size_t before = ret->num;
		uint64_t value;

		if (!wire_get(in, w->offset, w->size, &value))
			continue;
		wire_add(ret, w->name, value, wire_name(w->values, w->num_values, value));
		if (ret->num > before)
			ret->field[before].hex = w->hex;
	}
}

void wire_add_mac(
	struct describe_fields *ret, const struct describe_in *in, const char *name, size_t offset)
{
	const uint8_t *p = in->bytes + offset;
	struct describe_field *f;

	if (!range_inside(offset, 6, in->len))
		return;
	f = add(ret, name);
	if (!f)
		return;
	for (unsigned i = 0; i < 6; i++)
		f->value = f->value << 8 | p[i];
	f->hex = true;
	snprintf(f->text, sizeof(f->text), "%02x:%02x:%02x:%02x:%02x:%02x", p[0], p[1], p[2], p[3],
		p[4], p[5]);
}

void wire_add_text(
	struct describe_fields *ret, const struct describe_in *in, const char *name, size_t offset)
{
	struct describe_field *f;
	size_t num;

	if (offset >= in->len)
		return;
	f = add(ret, name);
	if (!f)
		return;
	num = MIN(in->len - offset, sizeof(f->text) - 1);
	for (size_t i = 0; i < num; i++) {
		uint8_t c = in->bytes[offset + i];

		f->text[i] = c >= 0x20 && c < 0x7f ? (char)c : '.';
	}
	f->value = num;
}

void wire_line(struct describe_fields *ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ret->line, sizeof(ret->line), fmt, ap);
	va_end(ap);
}
