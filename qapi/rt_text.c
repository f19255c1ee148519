/* SPDX-License-Identifier: BSD-3-Clause */
/* Values to JSON's text, without a tree between them: what a monitor answers is written once. */
#include "qapi/rt_walk.h"

#include "base/value.h"

static void write_value(const struct qapi_type *type, const void *at, struct value_writer *out);

static void write_members(const struct qapi_type *type, const void *base, const char **before,
	struct value_writer *out)
{
	const struct qapi_type *branch = qapi_branch_of(type, base);

	for (size_t i = 0; i < type->num; i++) {
		const struct qapi_member *m = &type->members[i];

		if (!qapi_is_present(m, base))
			continue;
		value_write(out, *before);
		value_write_string(out, m->name);
		value_write(out, ": ");
		write_value(m->type, (const char *)base + m->offset, out);
		*before = ", ";
	}
	if (branch) {
		const void *p = *(void *const *)((const char *)base + type->branch_offset);

		if (p)
			write_members(branch, p, before, out);
	}
}

static void write_struct(const struct qapi_type *type, const void *at, struct value_writer *out)
{
	const char *before = "{";

	if (at)
		write_members(type, at, &before, out);
	value_write(out, before[0] == '{' ? "{}" : "}");
}

static void write_list(
	const struct qapi_type *type, const struct qapi_list *list, struct value_writer *out)
{
	size_t step = qapi_item_size(type);

	for (size_t i = 0; i < list->num; i++) {
		value_write(out, i ? ", " : "[");
		write_value(type->element, (const char *)list->items + i * step, out);
	}
	value_write(out, list->num ? "]" : "[]");
}

static void write_alternate(const struct qapi_type *type, const void *at, struct value_writer *out)
{
	const struct qapi_member *m;

	if (!at) {
		value_write(out, "null");
		return;
	}
	m = qapi_alternative_of(type, at);
	write_value(m->type, (const char *)at + m->offset, out);
}

static void write_value(const struct qapi_type *type, const void *at, struct value_writer *out)
{
	void *const *p = at;
	unsigned int n;

	switch (type->kind) {
	case QAPI_KIND_BOOL: value_write(out, *(const bool *)at ? "true" : "false"); break;
	case QAPI_KIND_INT: value_write_int(out, qapi_int_bits(type, at), type->is_signed); break;
	case QAPI_KIND_NUMBER: value_write_double(out, *(const double *)at); break;
	case QAPI_KIND_STR: value_write_string(out, *p ? *p : ""); break;
	case QAPI_KIND_NULL: value_write(out, "null"); break;
	case QAPI_KIND_ANY: value_write_value(out, *p); break;
	case QAPI_KIND_ENUM:
		memcpy(&n, at, sizeof(n));
		value_write_string(out, type->names[n]);
		break;
	case QAPI_KIND_LIST: write_list(type, at, out); break;
	case QAPI_KIND_STRUCT: write_struct(type, *p, out); break;
	case QAPI_KIND_ALTERNATE: write_alternate(type, *p, out); break;
	}
}

struct json_object *qapi_value_to_text(const struct qapi_type *type, const void *at)
{
	struct value_writer out = { 0 };

	write_value(type, at, &out);
	return value_new_written(&out);
}
