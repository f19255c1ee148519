# SPDX-License-Identifier: BSD-3-Clause
"""What the emitters share: file frames, and how a type is spelled in C."""
from .model import INTS, SCALARS
from .names import c_name

HEAD = '/* SPDX-License-Identifier: BSD-3-Clause */\n/* Made by qapi/gen from the schema. */\n'


def header(guard, includes, body):
    lines = ''.join(f'#include {i}\n' for i in includes)
    return f'{HEAD}#ifndef {guard}\n#define {guard}\n\n{lines}\n{body}\n#endif\n'


def source(includes, body):
    lines = ''.join(f'#include {i}\n' for i in includes)
    return f'{HEAD}{lines}\n{body}'


def table_name(type_):
    return f'qapi_type_{type_.name}'


def c_type(type_):
    """The C type of a member."""
    kind = type_.kind
    if kind == 'int':
        return INTS[type_.name][0] + ' '
    if kind in SCALARS:
        return SCALARS[kind] + ' '
    if kind == 'str':
        return 'char *'
    if kind == 'any':
        return 'struct json_object *'
    if kind == 'enum':
        return f'enum {type_.name} '
    if kind == 'list':
        return f'struct {type_.name} '
    return f'struct {type_.name} *'


def param_type(type_):
    """The C type of a parameter that is only looked at."""
    kind = type_.kind
    if kind == 'list':
        return f'const struct {type_.name} *'
    if kind in ('str', 'struct', 'alternate'):
        return 'const ' + c_type(type_)
    return c_type(type_)


def params(members):
    """A parameter list for the members of an argument struct."""
    ret = []
    for m in members:
        if m.optional and m.has:
            ret.append(f'bool has_{m.c}')
        ret.append(f'{param_type(m.type)}{m.c}')
    return ret


def fields(members):
    ret = ''
    for m in members:
        if m.has:
            ret += f'\tbool has_{m.c};\n'
        ret += f'\t{c_type(m.type)}{m.c};\n'
    return ret


def struct(obj):
    body = fields(obj.members)
    if obj.tag:
        branches = ''.join(f'\t\tstruct {b.name} *{c_name(n)};\n' for n, b in obj.branches.items())
        body += f'\tunion {{\n\t\tvoid *any;\n{branches}\t}} u;\n'
    elif not obj.members:
        body = '\tchar empty;\n'
    return f'struct {obj.name} {{\n{body}}};\n'


def member_table(name, owner, members, at=None):
    if not members:
        return ''
    rows = ''
    for m in members:
        offset = f'offsetof(struct {owner}, {at or m.c})'
        has = f'offsetof(struct {owner}, has_{m.c})' if m.has and not at else 'QAPI_NO_HAS'
        optional = 'true' if m.optional else 'false'
        rows += f'\t{{ "{m.name}", &{table_name(m.type)}, {offset}, {has}, {optional} }},\n'
    return f'static const struct qapi_member {name}[] = {{\n{rows}}};\n\n'


def object_table(obj):
    """The tables of a struct or union; `static` for argument structs."""
    name = obj.name
    ret = member_table(f'members_{name}', name, obj.members)
    rows = f'\t.name = "{name}",\n\t.kind = QAPI_KIND_STRUCT,\n\t.size = sizeof(struct {name}),\n'
    if obj.members:
        rows += f'\t.members = members_{name},\n\t.num = {len(obj.members)},\n'
    if obj.tag:
        values = [v for v, _ in obj.tag.type.values]
        branches = ''.join(
            f'\t&{table_name(obj.branches[v])},\n' if v in obj.branches else '\tNULL,\n'
            for v in values)
        ret += f'static const struct qapi_type *const branches_{name}[] = {{\n{branches}}};\n\n'
        rows += (f'\t.branches = branches_{name},\n'
                 f'\t.tag_offset = offsetof(struct {name}, {obj.tag.c}),\n'
                 f'\t.branch_offset = offsetof(struct {name}, u),\n')
    return ret + f'const struct qapi_type {table_name(obj)} = {{\n{rows}}};\n\n'
