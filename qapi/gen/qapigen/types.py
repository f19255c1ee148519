# SPDX-License-Identifier: BSD-3-Clause
"""types.h and types.c: C types, their tables, and typed wrappers of what qapi/rt.h does."""
from . import cfile
from .model import INTS, SCALARS, Alternate, Builtin, Enum, Object
from .names import c_name, constant, snake


def enum_header(t):
    values = ''.join(f'\t{constant(t, v)},\n' for v, _ in t.values)
    return f'''enum {t.name} {{
{values}}};

#define {t.prefix or snake(t.name).upper()}__MAX {len(t.values)}

static inline const char *qapi_name_{t.name}(enum {t.name} v)
{{
	return qapi_type_{t.name}.names[v];
}}

/* The value called @name, or -1. */
static inline int qapi_parse_{t.name}(const char *name)
{{
	return qapi_enum_parse(&qapi_type_{t.name}, name);
}}

'''


def object_wrappers(t):
    n = t.name
    return f'''/* Frees @v and all that it owns; NULL is fine. */
static inline void qapi_free_{n}(struct {n} *v)
{{
	qapi_value_clear(&qapi_type_{n}, &v);
}}

static inline void qapi_cleanup_{n}(struct {n} **v)
{{
	qapi_free_{n}(*v);
}}

static inline struct json_object *qapi_to_json_{n}(const struct {n} *v)
{{
	return qapi_value_to_json(&qapi_type_{n}, &v);
}}

static inline int qapi_from_json_{n}(struct json_object *json, enum qapi_mode mode,
	struct {n} **ret, struct err *err)
{{
	*ret = NULL;
	return qapi_value_from_json(&qapi_type_{n}, json, mode, NULL, ret, err);
}}

'''


def alternate_header(t):
    prefix = snake(t.name).upper()
    kinds = ''.join(f'\t{prefix}_BRANCH_{c_name(m.name).upper()},\n' for m in t.members)
    members = ''.join(f'\t\t{cfile.c_type(m.type)}{m.c};\n' for m in t.members)
    return (f'enum {t.name}Branch {{\n{kinds}}};\n\n'
            f'struct {t.name} {{\n\tenum {t.name}Branch branch;\n'
            f'\tunion {{\n{members}\t}} u;\n}};\n\n')


def item_type(element):
    return cfile.c_type(element)


def list_header(t):
    n, item = t.name, item_type(t.element)
    return f'''struct {n} {{
	{item}*items;
	size_t num;
}};

/* Puts @item at the end; what it points to is the list's from now on. */
static inline void qapi_append_{n}(struct {n} *list, {item}item)
{{
	*({item}*)qapi_list_grow(&qapi_type_{n}, (struct qapi_list *)list) = item;
}}

/* Frees the items and all that they own; the list is empty then. */
static inline void qapi_clear_{n}(struct {n} *list)
{{
	qapi_value_clear(&qapi_type_{n}, list);
}}

static inline struct json_object *qapi_to_json_{n}(const struct {n} *list)
{{
	return qapi_value_to_json(&qapi_type_{n}, list);
}}

static inline int qapi_from_json_{n}(struct json_object *json, enum qapi_mode mode,
	struct {n} *ret, struct err *err)
{{
	*ret = (struct {n}){{ 0 }};
	return qapi_value_from_json(&qapi_type_{n}, json, mode, NULL, ret, err);
}}

'''


def builtin_table(t):
    kind = t.kind.upper()
    size = {'str': 'sizeof(char *)', 'any': 'sizeof(void *)'}.get(t.kind)
    sign = ''
    if t.kind == 'int':
        size = f'sizeof({INTS[t.name][0]})'
        sign = '\t.is_signed = true,\n' if INTS[t.name][2] else ''
    elif t.kind in SCALARS:
        size = f'sizeof({SCALARS[t.kind]})'
    return (f'const struct qapi_type {cfile.table_name(t)} = {{\n\t.name = "{t.name}",\n'
            f'\t.kind = QAPI_KIND_{kind},\n\t.size = {size},\n{sign}}};\n\n')


def enum_table(t):
    names = ''.join(f'\t"{v}",\n' for v, _ in t.values)
    table = f'static const char *const names_{t.name}[] = {{\n{names}}};\n\n' if names else ''
    rows = f'\t.names = names_{t.name},\n\t.num = {len(t.values)},\n' if names else ''
    return (f'{table}const struct qapi_type {cfile.table_name(t)} = {{\n\t.name = "{t.name}",\n'
            f'\t.kind = QAPI_KIND_ENUM,\n\t.size = sizeof(enum {t.name}),\n{rows}}};\n\n')


def alternate_table(t):
    n = t.name
    return (cfile.member_table(f'members_{n}', n, t.members, at='u') +
            f'const struct qapi_type {cfile.table_name(t)} = {{\n\t.name = "{n}",\n'
            f'\t.kind = QAPI_KIND_ALTERNATE,\n\t.size = sizeof(struct {n}),\n'
            f'\t.members = members_{n},\n\t.num = {len(t.members)},\n'
            f'\t.tag_offset = offsetof(struct {n}, branch),\n}};\n\n')


def list_table(t):
    return (f'const struct qapi_type {cfile.table_name(t)} = {{\n\t.name = "{t.name}",\n'
            f'\t.kind = QAPI_KIND_LIST,\n\t.size = sizeof(struct {t.name}),\n'
            f'\t.element = &{cfile.table_name(t.element)},\n}};\n\n')


def generate(schema):
    types, lists = list(schema.types.values()), list(schema.lists.values())
    enums = [t for t in types if isinstance(t, Enum)]
    objects = [t for t in types if isinstance(t, Object)]
    alternates = [t for t in types if isinstance(t, Alternate)]
    head = ''.join(f'extern const struct qapi_type {cfile.table_name(t)};\n' for t in types + lists)
    head += '\n' + ''.join(f'struct {t.name};\n' for t in objects + alternates) + '\n'
    head += ''.join(enum_header(t) for t in enums)
    head += ''.join(list_header(t) for t in lists)
    head += ''.join(alternate_header(t) for t in alternates)
    head += ''.join(cfile.struct(t) + '\n' for t in objects)
    head += ''.join(object_wrappers(t) for t in objects + alternates)
    body = ''.join(builtin_table(t) for t in types if isinstance(t, Builtin))
    body += ''.join(enum_table(t) for t in enums)
    body += ''.join(list_table(t) for t in lists)
    body += ''.join(alternate_table(t) for t in alternates)
    body += ''.join(cfile.object_table(t) for t in objects)
    return [('types.h', cfile.header('QAPI_TYPES_H', ['"qapi/rt.h"'], head)),
            ('types.c', cfile.source(['"qapi/types.h"'], body))]
