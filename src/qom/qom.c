/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tree of objects, path look-up and properties. The tree is small (tens of objects), so
 * children are lists and look-ups walk them. A tree is never deeper than its makers build it; a
 * path's length is the monitor's limit.
 */
#include "qom/qom.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"

static struct qom_object *object_new(const char *name, const char *type)
{
	static uint64_t serial;
	struct qom_object *obj = xnew(struct qom_object);

	obj->name = xstrdup(name);
	obj->type = xstrdup(type);
	obj->serial = ++serial;
	return obj;
}

struct qom_object *qom_new_root(void)
{
	return object_new("", "container");
}

struct qom_object *qom_child(const struct qom_object *obj, const char *name)
{
	for (struct qom_object *child = obj->first; child; child = child->next) {
		if (!strcmp(child->name, name))
			return child;
	}
	return NULL;
}

struct qom_object *qom_add(struct qom_object *parent, const char *name, const char *type)
{
	struct qom_object *obj;

	assert(!parent->target);
	if (!*name || strchr(name, '/') || qom_child(parent, name))
		return NULL;
	obj = object_new(name, type);
	obj->parent = parent;
	obj->prev = parent->last;
	if (parent->last)
		parent->last->next = obj;
	else
		parent->first = obj;
	parent->last = obj;
	return obj;
}

struct qom_object *qom_add_link(
	struct qom_object *parent, const char *name, struct qom_object *target)
{
	struct qom_object *obj = qom_add(parent, name, target->type);

	if (obj)
		obj->target = target;
	return obj;
}

void qom_add_table(struct qom_object *obj, const struct option_spec *specs, const void *base)
{
	assert(obj->num_tables < QOM_TABLES_MAX);
	if (specs)
		obj->tables[obj->num_tables++] = (struct qom_table){ specs, base };
}

void qom_free(struct qom_object *obj)
{
	if (!obj)
		return;
	while (obj->last)
		qom_free(obj->last);
	if (obj->parent) {
		if (obj->prev)
			obj->prev->next = obj->next;
		else
			obj->parent->first = obj->next;
		if (obj->next)
			obj->next->prev = obj->prev;
		else
			obj->parent->last = obj->prev;
	}
	free(obj->name);
	free(obj->type);
	free(obj);
}

/* One step down by the component of @len bytes; a link leads to its target. */
static struct qom_object *step(struct qom_object *obj, const char *name, size_t len)
{
	for (struct qom_object *child = obj->first; child; child = child->next) {
		if (strlen(child->name) == len && !memcmp(child->name, name, len))
			return child->target ? child->target : child;
	}
	return NULL;
}

/* Down from @obj along all of @path; empty components stay where they are. */
static struct qom_object *descend(struct qom_object *obj, const char *path)
{
	while (obj && *path) {
		size_t len = strcspn(path, "/");

		if (len)
			obj = step(obj, path, len);
		path += len;
		if (*path == '/')
			path++;
	}
	return obj;
}

struct qom_object *qom_resolve(struct qom_object *root, const char *path, bool *ret_ambiguous)
{
	struct qom_object *found = NULL;

	if (ret_ambiguous)
		*ret_ambiguous = false;
	if (*path == '/')
		return descend(root, path);
	for (struct qom_object *at = qom_walk(root, NULL); at; at = qom_walk(root, at)) {
		struct qom_object *obj = at->target ? NULL : descend(at, path);

		if (obj && found) {
			if (ret_ambiguous)
				*ret_ambiguous = true;
			return NULL;
		}
		if (obj)
			found = obj;
	}
	return found;
}

char *qom_path(const struct qom_object *obj)
{
	const struct qom_object *at;
	size_t len = 0;
	char *path, *end;

	if (!obj->parent)
		return xstrdup("/");
	for (at = obj; at->parent; at = at->parent)
		len += strlen(at->name) + 1;
	path = xcalloc(len + 1, 1);
	end = path + len;
	for (at = obj; at->parent; at = at->parent) {
		size_t n = strlen(at->name);

		end -= n;
		memcpy(end, at->name, n);
		*--end = '/';
	}
	return path;
}

struct qom_object *qom_walk(struct qom_object *root, struct qom_object *at)
{
	if (!at)
		return root;
	if (at->first)
		return at->first;
	while (at != root && !at->next)
		at = at->parent;
	return at == root ? NULL : at->next;
}

static const struct qom_property *find_property(const struct qom_object *obj, const char *name)
{
	for (const struct qom_property *p = obj->properties; p && p->name; p++) {
		if (!strcmp(p->name, name))
			return p;
	}
	return NULL;
}

/* Did a property, or a table before @table, name this option already? */
static bool shown_before(const struct qom_object *obj, unsigned int table, const char *name)
{
	if (find_property(obj, name))
		return true;
	for (unsigned int i = 0; i < table; i++) {
		for (const struct option_spec *s = obj->tables[i].specs; s->name; s++) {
			if (!strcmp(s->name, name))
				return true;
		}
	}
	return false;
}

void qom_each_property(const struct qom_object *obj,
	void (*fn)(void *opaque, const char *name, const char *type), void *opaque)
{
	fn(opaque, "type", "string");
	for (const struct qom_property *p = obj->properties; p && p->name; p++)
		fn(opaque, p->name, p->type);
	for (unsigned int i = 0; i < obj->num_tables; i++) {
		for (const struct option_spec *s = obj->tables[i].specs; s->name; s++) {
			if (!shown_before(obj, i, s->name))
				fn(opaque, s->name, options_type_name(s));
		}
	}
	for (struct qom_object *child = obj->first; child; child = child->next) {
		_cleanup_free_ char *type =
			xasprintf("%s<%s>", child->target ? "link" : "child", child->type);

		fn(opaque, child->name, type);
	}
}

bool qom_get(struct qom_object *obj, const char *name, struct json_object **ret)
{
	const struct qom_property *property = find_property(obj, name);
	struct qom_object *child = qom_child(obj, name);

	if (!strcmp(name, "type")) {
		*ret = value_new_string(obj->type);
		return true;
	}
	if (property) {
		*ret = property->get(obj);
		return true;
	}
	for (unsigned int i = 0; i < obj->num_tables; i++) {
		for (const struct option_spec *s = obj->tables[i].specs; s->name; s++) {
			if (!strcmp(s->name, name)) {
				*ret = options_get(s, obj->tables[i].base);
				/* What nobody gave reads as empty, as it does in QEMU. */
				if (!*ret && s->type == OPTION_STRING)
					*ret = value_new_string("");
				if (!*ret && s->type == OPTION_JSON)
					*ret = json_object_new_array();
				return true;
			}
		}
	}
	if (child) {
		_cleanup_free_ char *path = qom_path(child->target ? child->target : child);

		*ret = value_new_string(path);
		return true;
	}
	return false;
}

int qom_set(struct qom_object *obj, const char *name, struct json_object *value, struct err *err)
{
	const struct qom_property *property = find_property(obj, name);
	_cleanup_value_ struct json_object *there = NULL;

	if (property && property->set)
		return property->set(obj, value, err);
	if (qom_get(obj, name, &there))
		return err_set(err, -EACCES, "Property '%s.%s' is not writable", obj->type, name);
	return err_set(err, -ENOENT, "Property '%s.%s' not found", obj->type, name);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool qom_id_well_formed(const char *id)
{
	if (!is_letter(*id))
		return false;
	for (id++; *id; id++) {
		if (!is_letter(*id) && !(*id >= '0' && *id <= '9') && !strchr("-._", *id))
			return false;
	}
	return true;
}
