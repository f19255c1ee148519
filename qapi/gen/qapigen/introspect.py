# SPDX-License-Identifier: BSD-3-Clause
"""introspect.h and introspect.c: the reply of query-qmp-schema as text.

Clients may rely on the names of commands and events only: types are numbered in the order of
their first use, arrays are "[N]", and all integers are one type.
"""
import json

from . import cfile
from .model import Builtin, Object

JSON_TYPES = {'int': 'int', 'number': 'number', 'bool': 'boolean', 'str': 'string',
              'null': 'null', 'any': 'value'}


class Introspection:
    def __init__(self, schema):
        self.infos = []
        self.numbers = {}
        self.used, self.keys = [], set()
        self.empty = Object(None, 'q_empty')
        self.use(self.empty)  # the empty object is "0"
        for c in schema.commands:
            self.add(c.name, 'command', c.features, {
                'arg-type': self.use(self.args(c)), 'ret-type': self.use(c.returns or self.empty)})
        for e in schema.events:
            self.add(e.name, 'event', e.features, {'arg-type': self.use(self.args(e))})
        for t in self.used:  # grows while we walk
            self.describe(t)

    def args(self, call):
        return call.args if call.args and (call.args.members or call.args.tag) else self.empty

    def add(self, name, meta, features, more):
        info = {'name': name, 'meta-type': meta}
        if features:
            info['features'] = features
        info.update(more)
        self.infos.append(info)

    def use(self, t):
        if isinstance(t, Builtin):
            name = t.kind
            if t.kind == 'int' and t.name != 'int':
                t = next((u for u in self.used if u.name == 'int'), Builtin('int', 'int'))
            key = t.kind
        elif t.is_list:
            name = f'[{self.use(t.element)}]'
            key = name
        else:
            key = t.name
            name = self.numbers.setdefault(key, str(len(self.numbers)))
        if key not in self.keys:
            self.keys.add(key)
            self.used.append(t)
        return name

    def member(self, m):
        ret = {'name': m.name, 'type': self.use(m.type)}
        if m.optional:
            ret['default'] = None
        if m.features:
            ret['features'] = m.features
        return ret

    def describe(self, t):
        name = self.use(t)
        if isinstance(t, Builtin):
            self.add(name, 'builtin', [], {'json-type': JSON_TYPES[t.kind]})
        elif t.is_list:
            self.add(name, 'array', [], {'element-type': self.use(t.element)})
        elif t.kind == 'enum':
            members = [dict(name=v, features=f) if f else dict(name=v) for v, f in t.values]
            self.add(name, 'enum', t.features,
                     {'members': members, 'values': [v for v, _ in t.values]})
        elif t.kind == 'alternate':
            self.add(name, 'alternate', t.features,
                     {'members': [{'type': self.use(m.type)} for m in t.members]})
        else:
            more = {'members': [self.member(m) for m in t.members]}
            if t.tag:
                more['tag'] = t.tag.name
                more['variants'] = [{'case': v, 'type': self.use(t.branches.get(v, self.empty))}
                                    for v, _ in t.tag.type.values]
            self.add(name, 'object', t.features, more)


def literal(text):
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'


def generate(schema):
    infos = [json.dumps(i) for i in Introspection(schema).infos]
    lines = ''.join(f'\t{literal(i + (", " if n + 1 < len(infos) else "]"))}\n'
                    for n, i in enumerate(infos))
    head = ('/* The reply of query-qmp-schema: JSON text. */\n'
            'extern const char qapi_schema_text[];\n')
    body = f'const char qapi_schema_text[] =\n\t"["\n{lines or "	" + literal("]")};\n'
    return [('introspect.h', cfile.header('QAPI_INTROSPECT_H', [], head)),
            ('introspect.c', cfile.source(['"qapi/introspect.h"'], body))]
