/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The object tree that the monitor shows: every object has a name below its parent, a type and
 * properties that are read through callbacks. Main loop.
 *
 * A path that begins with '/' is absolute; empty components count for nothing and links are
 * followed. Any other path is partial: it is looked for below every object and has to lead to
 * exactly one. These are QEMU's rules (8.2 and later).
 */
#ifndef QOM_QOM_H
#define QOM_QOM_H

#include <json-c/json.h>

#include "base/option.h"
#include "base/util.h"

/* Option tables that one object shows as properties. */
#define QOM_TABLES_MAX 5

struct qom_object;
struct vdev;

/* A property that is no option. */
struct qom_property {
	const char *name; /* NULL ends a table */
	const char *type; /* as qom-list names it: "bool", "str", "link<iothread>" */
	/* A new reference; NULL is JSON's null. */
	struct json_object *(*get)(struct qom_object *obj);
	/* -errno with a sentence. NULL: read-only. */
	int (*set)(struct qom_object *obj, struct json_object *value, struct err *err);
};

/* Options shown as properties: a table and the struct that it describes. */
struct qom_table {
	const struct option_spec *specs;
	const void *base;
};

struct qom_object {
	char *name; /* below its parent; "" for the root */
	char *type;
	struct qom_object *parent;
	struct qom_object *first, *last; /* children, oldest first */
	struct qom_object *prev, *next; /* siblings */
	const struct qom_property *properties; /* may be NULL */
	struct qom_table tables[QOM_TABLES_MAX];
	unsigned int num_tables;
	/* Not NULL makes this a link: it stands for that object and has nothing of its own. */
	struct qom_object *target;
	uint64_t
		serial; /* counts the objects of this process: a younger one has a greater number */
	/* A virtio device's own object; not NULL exactly there. */
	struct vdev *vdev;
	void *opaque; /* its maker's */
};

/* A root: an object without a parent. */
struct qom_object *qom_new_root(void);
/*
 * A new last child. @name and @type are copied. NULL where @parent has a child of that name already
 * (or the name is empty or has a '/').
 */
struct qom_object *qom_add(struct qom_object *parent, const char *name, const char *type);
/* The same, as a link; the link goes before its target goes. */
struct qom_object *qom_add_link(
	struct qom_object *parent, const char *name, struct qom_object *target);
/* Shows a table's options as properties of @obj; @base outlives it. */
void qom_add_table(struct qom_object *obj, const struct option_spec *specs, const void *base);
/* Takes @obj out of its parent and frees it with everything below it. NULL is fine. */
void qom_free(struct qom_object *obj);

/* The child or link of that name, links not followed; NULL where there is none. */
struct qom_object *qom_child(const struct qom_object *obj, const char *name);
/* What @path names, links followed; NULL where nothing, or where it is ambiguous (may be NULL). */
struct qom_object *qom_resolve(struct qom_object *root, const char *path, bool *ret_ambiguous);
/* The canonical path, "/machine/peripheral/r0"; the caller frees it. */
char *qom_path(const struct qom_object *obj);

/*
 * Everything in depth first, parents before children, older before younger; links are not followed.
 * Start with NULL; NULL at the end. @root itself comes first.
 */
struct qom_object *qom_walk(struct qom_object *root, struct qom_object *at);

/*
 * Calls @fn for "type", the properties, the options and at last the children and links, with the
 * type as qom-list shows it. A name that comes twice is that of its first place.
 */
void qom_each_property(const struct qom_object *obj,
	void (*fn)(void *opaque, const char *name, const char *type), void *opaque);
/*
 * The value: true and a new reference (NULL is JSON's null) in @ret; false where @obj has no such
 * property. A child's or a link's value is its path.
 */
bool qom_get(struct qom_object *obj, const char *name, struct json_object **ret);

/*
 * Sets it. -ENOENT: there is no such property; -EACCES: it is read-only, as options are once the
 * object is made; else -errno as the property says. @err has a sentence in each case.
 */
int qom_set(struct qom_object *obj, const char *name, struct json_object *value, struct err *err);

/* QEMU's rule for ids: a letter, then letters, digits, '-', '.' and '_'. */
bool qom_id_well_formed(const char *id);

#endif
