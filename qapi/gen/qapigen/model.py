# SPDX-License-Identifier: BSD-3-Clause
"""Expressions to a checked schema: types, commands, events. Every name is resolved here."""
import re

from .names import c_name

INTS = {'int': ('int64_t', 8, True), 'int8': ('int8_t', 1, True), 'int16': ('int16_t', 2, True),
        'int32': ('int32_t', 4, True), 'int64': ('int64_t', 8, True),
        'uint8': ('uint8_t', 1, False), 'uint16': ('uint16_t', 2, False),
        'uint32': ('uint32_t', 4, False), 'uint64': ('uint64_t', 8, False),
        'size': ('uint64_t', 8, False)}
SCALARS = {'number': 'double', 'bool': 'bool', 'null': 'char'}

# For each kind of expression: the keys that it must have, and those that it may have.
KEYS = {
    'enum': ({'data'}, {'features', 'prefix'}),
    'struct': ({'data'}, {'base', 'features'}),
    'union': ({'data', 'base', 'discriminator'}, {'features'}),
    'alternate': ({'data'}, {'features'}),
    'command': (set(), {'data', 'boxed', 'returns', 'features', 'gen'}),
    'event': (set(), {'data', 'boxed', 'features'}),
    'pragma': (set(), set()),
}
# QEMU's pragmas, and ours: read-only-commands names commands that only look.
PRAGMAS = {'doc-required', 'command-name-exceptions', 'command-returns-exceptions',
           'documentation-exceptions', 'member-name-exceptions', 'read-only-commands'}
FEATURES = {'unstable', 'deprecated'}
NAME = re.compile(r'(__[a-z0-9.-]+_)?[A-Za-z0-9][A-Za-z0-9_-]*$')


class Builtin:
    is_list = False

    def __init__(self, name, kind):
        self.name, self.kind = name, kind


class Enum:
    kind, is_list = 'enum', False

    def __init__(self, expr, name):
        self.expr, self.name, self.features = expr, name, []
        self.prefix = expr.get('prefix')
        self.values = []  # (name, features)


class Object:
    """A struct, or a union: then tag is a member and branches has an Object for each tag value."""
    kind, is_list = 'struct', False

    def __init__(self, expr, name):
        self.expr, self.name, self.features = expr, name, []
        self.members = []  # those of the base first
        self.own_members = []
        self.base = None
        self.tag = None
        self.branches = {}
        self.resolved = None


class Alternate:
    kind, is_list = 'alternate', False

    def __init__(self, expr, name):
        self.expr, self.name, self.features, self.members = expr, name, [], []


class List:
    kind, is_list = 'list', True

    def __init__(self, element):
        self.element = element
        self.name = element.name + 'List'


class Member:
    def __init__(self, name, type_, optional, features):
        self.name, self.type, self.optional, self.features = name, type_, optional, features
        self.c = c_name(name)

    @property
    def has(self):
        """Is there a bool has_... beside it? Pointers say it themselves."""
        return self.type.kind not in ('str', 'struct', 'alternate')


class Command:
    def __init__(self, expr, name):
        self.expr, self.name, self.c = expr, name, c_name(name)
        self.args = self.returns = None
        self.boxed, self.gen = expr.get('boxed', False), expr.get('gen', True)
        self.features, self.action = [], True


class Event:
    def __init__(self, expr, name):
        self.expr, self.name, self.c = expr, name, c_name(name)
        self.args, self.features = None, []
        self.boxed = expr.get('boxed', False)


class Schema:
    def __init__(self, exprs):
        self.pragmas = {name: set() for name in PRAGMAS}
        self.types = {n: Builtin(n, 'int') for n in INTS}
        self.types.update({n: Builtin(n, n) for n in ('number', 'bool', 'null', 'str', 'any')})
        self.lists = {}
        self.commands, self.events = [], []
        self.c_names = {}
        entities = []
        for expr in exprs:
            entities.append(self.declare(expr))
        for entity in entities:
            self.resolve(entity)
        for entity in entities:
            self.complete(entity)
        self.list_of(self.types['str'])

    # --- first pass: kinds, keys and names ---

    def declare(self, expr):
        kinds = [k for k in expr if k in KEYS]
        if len(kinds) != 1:
            names = ', '.join(f"'{k}'" for k in expr) or 'an empty object'
            raise expr.error(f'{names}: expected exactly one of ' + ', '.join(KEYS))
        kind = kinds[0]
        required, allowed = KEYS[kind]
        for key in expr:
            if key != kind and key not in required | allowed:
                raise expr.error(f"{kind} '{expr[kind]}': unknown key '{key}'")
        for key in sorted(required):
            if key not in expr:
                raise expr.error(f"{kind} '{expr[kind]}' lacks the key '{key}'")
        if kind == 'pragma':
            return self.pragma(expr)
        name = expr[kind]
        self.check_name(expr, kind, name)
        maker = {'enum': Enum, 'struct': Object, 'union': Object, 'alternate': Alternate,
                 'command': Command, 'event': Event}[kind]
        entity = maker(expr, name)
        entity.features = self.features(expr, expr)
        table = {'command': self.commands, 'event': self.events}.get(kind)
        known = self.types if table is None else [e.name for e in table]
        if name in known:
            raise expr.error(f"{kind} '{name}' is defined more than once")
        if table is None:
            self.types[name] = entity
        else:
            table.append(entity)
        return entity

    def pragma(self, expr):
        pragmas = expr['pragma']
        if not isinstance(pragmas, dict):
            raise expr.error("'pragma' takes an object")
        for key, value in pragmas.items():
            if key not in PRAGMAS:
                raise expr.error(f"unknown pragma '{key}'")
            if key == 'doc-required':
                if not isinstance(value, bool):
                    raise expr.error(f"pragma '{key}' takes true or false")
            elif not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                raise expr.error(f"pragma '{key}' takes a list of names")
            else:
                self.pragmas[key].update(value)
        return None

    def check_name(self, expr, kind, name):
        if not isinstance(name, str) or not NAME.match(name):
            raise expr.error(f"{kind} name {name!r} is not a name")
        if name.startswith(('q_', 'qapi')):
            raise expr.error(f"{kind} name '{name}' is reserved")
        if kind in ('enum', 'struct', 'union', 'alternate'):
            if name.endswith('List'):
                raise expr.error(f"{kind} name '{name}' must not end in 'List'")
            if not re.match(r'[A-Z][A-Za-z0-9]*$', name):
                raise expr.error(f"{kind} name '{name}' is not in CamelCase")
        if kind == 'event' and not re.match(r'[A-Z][A-Z0-9_]*$', name):
            raise expr.error(f"event name '{name}' is not in capitals")

    def features(self, expr, holder):
        value = holder.get('features', [])
        if not isinstance(value, list):
            raise expr.error("'features' takes a list")
        ret = []
        for f in value:
            if isinstance(f, dict):
                self.only_keys(expr, f, {'name'}, 'feature')
                f = f.get('name')
            if not isinstance(f, str) or not NAME.match(f):
                raise expr.error(f'feature name {f!r} is not a name')
            if f in ret:
                raise expr.error(f"feature '{f}' is given more than once")
            ret.append(f)
        return ret

    @staticmethod
    def only_keys(expr, obj, keys, what):
        for key in obj:
            if key not in keys:
                raise expr.error(f"{what}: unknown key '{key}'")

    # --- second pass: what the names mean ---

    def type(self, expr, ref, where):
        if isinstance(ref, list):
            if len(ref) != 1 or not isinstance(ref[0], str):
                raise expr.error(f'{where}: an array is written [ \'TYPE\' ]')
            return self.list_of(self.type(expr, ref[0], where))
        if not isinstance(ref, str):
            raise expr.error(f'{where}: expected the name of a type')
        if ref not in self.types:
            raise expr.error(f"{where}: unknown type '{ref}'")
        return self.types[ref]

    def list_of(self, element):
        return self.lists.setdefault(element.name, List(element))

    def member(self, expr, owner, key, value):
        optional = key.startswith('*')
        name = key[optional:]
        where = f"member '{name}' of {owner}"
        if not NAME.match(name):
            raise expr.error(f'{where}: that is not a name')
        if c_name(name) == 'u' or c_name(name).startswith('has_'):
            raise expr.error(f'{where}: the name is reserved')
        features = []
        if isinstance(value, dict):
            self.only_keys(expr, value, {'type', 'features'}, where)
            if 'type' not in value:
                raise expr.error(f"{where} lacks the key 'type'")
            features = self.features(expr, value)
            value = value['type']
        return Member(name, self.type(expr, value, where), optional, features)

    def members(self, expr, owner, data):
        if not isinstance(data, dict):
            raise expr.error(f"'data' of {owner} must be an object")
        return [self.member(expr, owner, k, v) for k, v in data.items()]

    def resolve(self, entity):
        if isinstance(entity, Enum):
            self.resolve_enum(entity)
        elif isinstance(entity, Alternate):
            self.resolve_alternate(entity)
        elif isinstance(entity, Object):
            expr = entity.expr
            owner = f"'{entity.name}'"
            base = expr.get('base')
            if isinstance(base, dict):
                if 'union' not in expr:
                    raise expr.error(f"'base' of struct {owner} must be the name of a struct")
                entity.own_members = self.members(expr, owner, base)
            elif base is not None:
                entity.base = self.type(expr, base, f"'base' of {owner}")
                if entity.base.kind != 'struct' or 'union' in entity.base.expr:
                    raise expr.error(f"'base' of {owner}: '{base}' is not a struct")
            if 'union' not in expr:
                entity.own_members = self.members(expr, owner, expr['data'])
        elif entity is not None:
            self.resolve_call(entity)

    def resolve_enum(self, enum):
        expr = enum.expr
        if not isinstance(expr['data'], list):
            raise expr.error(f"'data' of enum '{enum.name}' must be a list")
        for value in expr['data']:
            features = []
            if isinstance(value, dict):
                self.only_keys(expr, value, {'name', 'features'}, f"value of '{enum.name}'")
                features = self.features(expr, value)
                value = value.get('name')
            if not isinstance(value, str) or not NAME.match(value):
                raise expr.error(f"value {value!r} of enum '{enum.name}' is not a name")
            if c_name(value) in [c_name(v) for v, _ in enum.values]:
                raise expr.error(f"value '{value}' of enum '{enum.name}' is there already")
            enum.values.append((value, features))
        if not enum.values:
            raise expr.error(f"enum '{enum.name}' has no value")

    def resolve_alternate(self, alt):
        expr = alt.expr
        alt.members = self.members(expr, f"'{alt.name}'", expr['data'])
        seen = {}
        for m in alt.members:
            if m.optional:
                raise expr.error(f"branch '{m.name}' of '{alt.name}' cannot be optional")
            wire = {'str': 'string', 'enum': 'string', 'int': 'integer', 'number': 'number',
                    'bool': 'boolean', 'null': 'null', 'struct': 'object',
                    'list': 'array'}.get(m.type.kind)
            if not wire:
                raise expr.error(f"branch '{m.name}' of '{alt.name}' cannot be of type "
                                 f"'{m.type.name}'")
            if wire in seen:
                raise expr.error(f"branch '{m.name}' of '{alt.name}' cannot be told from branch "
                                 f"'{seen[wire]}'")
            seen[wire] = m.name
        if not alt.members:
            raise expr.error(f"alternate '{alt.name}' has no branch")

    def resolve_call(self, call):
        expr, kind = call.expr, 'command' if isinstance(call, Command) else 'event'
        where = f"{kind} '{call.name}'"
        for key in ('boxed', 'gen'):
            if key in expr and expr[key] is not (key == 'boxed'):
                raise expr.error(f"{where}: '{key}' can only be {str(key == 'boxed').lower()}")
        data = expr.get('data')
        if isinstance(data, dict):
            if call.boxed:
                raise expr.error(f"{where}: 'boxed' needs 'data' to be the name of a type")
            call.args = Object(expr, f'q_{call.c}_args')
            call.args.own_members = self.members(expr, where, data)
        elif data is not None:
            call.args = self.type(expr, data, f"'data' of {where}")
            if call.args.kind != 'struct':
                raise expr.error(f"'data' of {where}: '{data}' is not a struct or union")
            if 'union' in call.args.expr and not call.boxed:
                raise expr.error(f"{where}: a union as 'data' needs 'boxed'")
        elif call.boxed:
            raise expr.error(f"{where}: 'boxed' needs 'data'")
        if kind == 'command':
            self.resolve_command(call, where)

    def resolve_command(self, cmd, where):
        expr, name = cmd.expr, cmd.name
        if not re.match(r'(__[a-z0-9.-]+_)?[a-z][a-z0-9-]*$', name) and \
                name not in self.pragmas['command-name-exceptions']:
            raise expr.error(f"{where}: the name is not lower-case with hyphens")
        if 'returns' in expr:
            cmd.returns = self.type(expr, expr['returns'], f"'returns' of {where}")
            inner = cmd.returns.element if cmd.returns.is_list else cmd.returns
            if inner.kind != 'struct' and name not in self.pragmas['command-returns-exceptions']:
                raise expr.error(f"{where} returns '{inner.name}', which is no struct; see the "
                                 "pragma 'command-returns-exceptions'")
        looks = name.startswith(('query-', 'x-query-'))
        cmd.action = not looks and name not in self.pragmas['read-only-commands']

    # --- third pass: bases, unions, clashes ---

    def complete(self, entity):
        if isinstance(entity, (Command, Event)) and entity.args:
            self.complete_object(entity.args)
        elif isinstance(entity, Object):
            self.complete_object(entity)

    def complete_object(self, obj):
        expr = obj.expr
        if obj.resolved is False:
            raise expr.error(f"'{obj.name}' has itself as its base")
        if obj.resolved:
            return
        obj.resolved = False
        inherited = []
        if obj.base:
            self.complete_object(obj.base)
            inherited = obj.base.members
        obj.members = inherited + obj.own_members
        self.check_clashes(obj, obj.members)
        if 'union' in expr:
            self.complete_union(obj)
        obj.resolved = True

    @staticmethod
    def check_clashes(obj, members):
        seen = {}
        for m in members:
            if m.c in seen:
                raise obj.expr.error(f"member '{m.name}' of '{obj.name}' clashes with "
                                     f"'{seen[m.c]}'")
            seen[m.c] = m.name

    def complete_union(self, union):
        expr = union.expr
        tags = [m for m in union.members if m.name == expr['discriminator']]
        where = f"union '{union.name}'"
        if not tags:
            raise expr.error(f"{where}: discriminator '{expr['discriminator']}' is no member of "
                             "its base")
        tag = tags[0]
        if tag.type.kind != 'enum' or tag.optional:
            raise expr.error(f"{where}: discriminator '{tag.name}' must be a required enum")
        if not isinstance(expr['data'], dict):
            raise expr.error(f"'data' of {where} must be an object")
        values = [v for v, _ in tag.type.values]
        for name, ref in expr['data'].items():
            if isinstance(ref, dict):
                self.only_keys(expr, ref, {'type'}, f"branch '{name}' of {where}")
                ref = ref.get('type')
            if name not in values:
                raise expr.error(f"{where}: branch '{name}' is no value of '{tag.type.name}'")
            branch = self.type(expr, ref, f"branch '{name}' of {where}")
            if branch.kind != 'struct' or 'union' in branch.expr:
                raise expr.error(f"{where}: branch '{name}' must be a struct")
            self.complete_object(branch)
            self.check_clashes(union, union.members + branch.members)
            union.branches[name] = branch
        union.tag = tag
