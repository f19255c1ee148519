# SPDX-License-Identifier: BSD-3-Clause
"""events.h and events.c: a builder for each event, with the time of the call."""
from . import cfile


def prototype(e):
    params = []
    if e.boxed:
        params = [f'const struct {e.args.name} *arg']
    elif e.args:
        params = cfile.params(e.args.members)
    return (f'struct json_object *qapi_event_{e.c.lower()}({", ".join(params) or "void"})')


def assign(m):
    cast = {'str': '(char *)', 'struct': f'({cfile.c_type(m.type)})',
            'alternate': f'({cfile.c_type(m.type)})'}.get(m.type.kind, '')
    text = f'\t\t.{m.c} = {"*" if m.type.is_list else cast}{m.c},\n'
    if m.has:
        text = f'\t\t.has_{m.c} = {f"has_{m.c}" if m.optional else "true"},\n' + text
    return text


def builder(e):
    if not e.args or not (e.boxed or e.args.members):
        return f'{prototype(e)}\n{{\n\treturn qapi_event_new("{e.name}", NULL);\n}}\n\n'
    table = f'&{cfile.table_name(e.args)}'
    if e.boxed:
        return (f'{prototype(e)}\n{{\n\treturn qapi_event_new("{e.name}",\n'
                f'\t\tqapi_struct_to_json({table}, arg));\n}}\n\n')
    values = ''.join(assign(m) for m in e.args.members)
    return (f'{prototype(e)}\n{{\n\tconst struct {e.args.name} data = {{\n{values}\t}};\n\n'
            f'\treturn qapi_event_new("{e.name}",\n'
            f'\t\tqapi_struct_to_json({table}, &data));\n}}\n\n')


def generate(schema):
    implicit = [e.args for e in schema.events if e.args and not e.boxed and e.args.members and
                e.args.name not in schema.types]
    head = '/* Each returns a new event, ready to be sent; the caller owns it. */\n'
    head += ''.join(prototype(e) + ';\n' for e in schema.events)
    body = ''.join(cfile.struct(a) + '\n' + cfile.object_table(a).replace(
        'const struct qapi_type qapi_type_', 'static const struct qapi_type qapi_type_')
        for a in implicit)
    body += ''.join(builder(e) for e in schema.events)
    return [('events.h', cfile.header('QAPI_EVENTS_H', ['"qapi/types.h"'], head)),
            ('events.c', cfile.source(['"qapi/events.h"'], body))]
