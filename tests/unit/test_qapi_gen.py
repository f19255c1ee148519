# SPDX-License-Identifier: BSD-3-Clause
"""The generator: what it refuses and how, and that our virtio schema has the contract's shape."""
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GEN = ROOT / 'qapi' / 'gen' / 'qapi-gen.py'
sys.path.insert(0, str(GEN.parent))

from qapigen.model import Schema  # noqa: E402
from qapigen.parser import parse_files  # noqa: E402


def run(*schemas, out=None):
    cmd = [sys.executable, '-B', str(GEN)]
    for s in schemas:
        cmd += ['--schema', str(s)]
    if out:
        cmd += ['--output-dir', str(out)]
    return subprocess.run(cmd, capture_output=True, text=True)


ENUM = "{ 'enum': 'E', 'data': [ 'a', 'b' ] }\n"
STRUCT = "{ 'struct': 'S', 'data': { 'x': 'int' } }\n"

# What the schema is, the line that is named, and a part of the sentence.
REFUSED = [
    ("{ 'macro': 'x' }", 1, "'macro': expected exactly one of enum, struct"),
    ("{ }", 1, "an empty object: expected exactly one of"),
    ("{ 'struct': 'S', 'enum': 'S', 'data': [] }", 1, 'expected exactly one of'),
    ("{ 'struct': 'S', 'data': {}, 'if': 'X' }", 1, "struct 'S': unknown key 'if'"),
    ("{ 'command': 'c', 'allow-oob': true }", 1, "command 'c': unknown key 'allow-oob'"),
    ("{ 'event': 'E', 'returns': 'str' }", 1, "event 'E': unknown key 'returns'"),
    ("{ 'struct': 'S' }", 1, "struct 'S' lacks the key 'data'"),
    ("{ 'union': 'U', 'data': { 'a': 'str' } }", 1, "union 'U' lacks the key 'base'"),
    ("\n\n{ 'struct': 'S', 'data': { 'x': 'Nope' } }", 3, "unknown type 'Nope'"),
    ("{ 'struct': 'S', 'data': { 'x': [ 'int', 'str' ] } }", 1, 'an array is written'),
    ("{ 'struct': 'S', 'data': { 'x': [ [ 'int' ] ] } }", 1, 'an array is written'),
    ("{ 'struct': 'S', 'data': { 'x': true } }", 1, 'expected the name of a type'),
    ("{ 'struct': 'S', 'data': { 'x': { 'type': 'int', 'if': 'X' } } }", 1, "unknown key 'if'"),
    ("{ 'struct': 'S', 'data': { 'x': { 'features': [] } } }", 1, "lacks the key 'type'"),
    ("{ 'struct': 'S', 'data': { 'a-b': 'int', 'a_b': 'int' } }", 1, "clashes with 'a-b'"),
    ("{ 'struct': 'S', 'data': { 'u': 'int' } }", 1, 'the name is reserved'),
    ("{ 'struct': 'S', 'data': { 'has-x': 'int' } }", 1, 'the name is reserved'),
    ("{ 'struct': 'S', 'data': { '**x': 'int' } }", 1, 'that is not a name'),
    ("{ 'struct': 'S', 'data': [ 'x' ] }", 1, "'data' of 'S' must be an object"),
    ("{ 'struct': 's', 'data': {} }", 1, "is not in CamelCase"),
    ("{ 'struct': 'SList', 'data': {} }", 1, "must not end in 'List'"),
    ("{ 'struct': 'S', 'data': {}, 'features': [ 'f', 'f' ] }", 1, 'given more than once'),
    ("{ 'struct': 'S', 'data': {}, 'features': 'f' }", 1, "'features' takes a list"),
    (STRUCT + STRUCT, 2, "struct 'S' is defined more than once"),
    (STRUCT + "{ 'struct': 'T', 'base': 'S', 'data': { 'x': 'int' } }", 2, "clashes with 'x'"),
    ("{ 'struct': 'S', 'base': 'str', 'data': {} }", 1, "'str' is not a struct"),
    ("{ 'struct': 'S', 'base': {}, 'data': {} }", 1, 'must be the name of a struct'),
    ("{ 'struct': 'S', 'base': 'S', 'data': {} }", 1, 'has itself as its base'),
    ("{ 'enum': 'E', 'data': {} }", 1, 'must be a list'),
    ("{ 'enum': 'E', 'data': [] }", 1, "enum 'E' has no value"),
    ("{ 'enum': 'E', 'data': [ 'a', 'a' ] }", 1, "value 'a' of enum 'E' is there already"),
    ("{ 'enum': 'E', 'data': [ { 'name': 'a', 'if': 'X' } ] }", 1, "unknown key 'if'"),
    (STRUCT + "{ 'union': 'U', 'base': 'S', 'discriminator': 'y', 'data': {} }", 2,
     "discriminator 'y' is no member"),
    (STRUCT + "{ 'union': 'U', 'base': 'S', 'discriminator': 'x', 'data': {} }", 2,
     "discriminator 'x' must be a required enum"),
    (ENUM + "{ 'union': 'U', 'base': { '*e': 'E' }, 'discriminator': 'e', 'data': {} }", 2,
     "discriminator 'e' must be a required enum"),
    (ENUM + STRUCT + "{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'e',"
     " 'data': { 'c': 'S' } }", 3, "branch 'c' is no value of 'E'"),
    (ENUM + "{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'e',"
     " 'data': { 'a': 'str' } }", 2, "branch 'a' must be a struct"),
    (ENUM + STRUCT + "{ 'union': 'U', 'base': { 'e': 'E', 'x': 'str' }, 'discriminator': 'e',"
     " 'data': { 'a': 'S' } }", 3, "clashes with 'x'"),
    (ENUM + "{ 'alternate': 'A', 'data': { 'e': 'E', 's': 'str' } }", 2,
     "branch 's' of 'A' cannot be told from branch 'e'"),
    ("{ 'alternate': 'A', 'data': { 'x': 'any' } }", 1, "cannot be of type 'any'"),
    ("{ 'alternate': 'A', 'data': { '*x': 'str' } }", 1, 'cannot be optional'),
    ("{ 'alternate': 'A', 'data': {} }", 1, "alternate 'A' has no branch"),
    ("{ 'command': 'Big' }", 1, 'not lower-case with hyphens'),
    ("{ 'command': 'under_score' }", 1, 'not lower-case with hyphens'),
    ("{ 'command': 'c' }\n{ 'command': 'c' }", 2, "command 'c' is defined more than once"),
    ("{ 'command': 'c', 'returns': 'str' }", 1, "command 'c' returns 'str', which is no struct"),
    ("{ 'command': 'c', 'data': 'str' }", 1, "'str' is not a struct or union"),
    ("{ 'command': 'c', 'boxed': true }", 1, "'boxed' needs 'data'"),
    ("{ 'command': 'c', 'boxed': true, 'data': {} }", 1, "'boxed' needs 'data' to be the name"),
    ("{ 'command': 'c', 'gen': true }", 1, "'gen' can only be false"),
    (STRUCT + "{ 'command': 'c', 'boxed': false, 'data': 'S' }", 2, "'boxed' can only be true"),
    (ENUM + "{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'e', 'data': {} }\n"
     "{ 'command': 'c', 'data': 'U' }", 3, "a union as 'data' needs 'boxed'"),
    ("{ 'event': 'lower' }", 1, 'is not in capitals'),
    ("{ 'pragma': { 'nope': [] } }", 1, "unknown pragma 'nope'"),
    ("{ 'pragma': { 'doc-required': [] } }", 1, 'takes true or false'),
    ("{ 'pragma': [] }", 1, "'pragma' takes an object"),
    ("{ 'include': 'nope.json' }", 1, "cannot include"),
    ("{ 'include': 'x', 'data': {} }", 1, 'takes one file name'),
    ("{ 'struct': 'S', 'data': { 'x': 'int', 'x': 'int' } }", 1, "duplicate key 'x'"),
    ("{ 'struct': 'S', 'data': { 'x': 'int' }", 1, "expected ',' between members"),
    ("{ 'struct' 'S' }", 1, "expected ':' after the key 'struct'"),
    ("[ 'x' ]", 1, "expected '{' at the start"),
    ("{ 'struct': 'S\n' }", 1, 'missing terminating'),
    ("{ 'struct': '\\q' }", 1, "unknown escape '\\q'"),
    ("{ 'struct': 'S', 'data': 5 }", 1, "stray '5'"),
    ('{ "struct": 1 }', 1, "stray '\"'"),
    ("{ 'struct': null }", 1, "stray 'null'"),
    ("\n##\n# @x:\n{ 'struct': 'S', 'data': {} }", 2, "must end with '##'"),
    ("##\n# text", 1, "must end with '##'"),
    ("##\n#text\n##", 2, "missing space after '#'"),
    ("## title\n", 1, "junk after '##'"),
]


@pytest.mark.parametrize('text,line,part', REFUSED, ids=range(len(REFUSED)))
def test_refused(tmp_path, text, line, part):
    schema = tmp_path / 's.json'
    schema.write_text(text)
    got = run(schema, out=tmp_path / 'out')
    assert got.returncode == 1
    assert got.stderr.startswith(f'{schema}:{line}: ')
    assert part in got.stderr
    assert 'Traceback' not in got.stderr
    assert not (tmp_path / 'out').exists()


def test_missing_schema(tmp_path):
    got = run(tmp_path / 'no.json')
    assert got.returncode == 1 and 'cannot read the schema' in got.stderr


def test_several_schemas_and_includes(tmp_path):
    """Files may include each other; what one says the others may use, in any order."""
    (tmp_path / 'a.json').write_text("{ 'include': 'b.json' }\n"
                                     "{ 'struct': 'A', 'data': { 'b': 'B' } }\n")
    (tmp_path / 'b.json').write_text("{ 'include': 'a.json' }\n{ 'struct': 'B', 'data': {} }\n")
    (tmp_path / 'c.json').write_text("{ 'command': 'c', 'data': 'A' }\n")
    assert run(tmp_path / 'c.json', tmp_path / 'a.json').returncode == 0
    assert 'unknown type' in run(tmp_path / 'c.json').stderr


def test_same_output_every_time(tmp_path):
    """Nothing depends on the order of a hash."""
    for n in ('1', '2'):
        assert run(ROOT / 'qapi' / 'qapi-schema.json', out=tmp_path / n).returncode == 0
    for f in (tmp_path / '1').iterdir():
        assert f.read_bytes() == (tmp_path / '2' / f.name).read_bytes()


def load(*names):
    return Schema(parse_files([str(ROOT / 'qapi' / n) for n in names]))


def shape(members):
    return ' '.join(('*' if m.optional else '') + m.name + ':' +
                    (f'[{m.type.element.name}]' if m.type.is_list else m.type.name)
                    for m in members)


# The contract in short: each type's members in order, `*` where one may be absent.
CONTRACT_TYPES = {
    'VirtioInfo': 'path:str name:str',
    'VhostStatus': 'n-mem-sections:int n-tmp-sections:int nvqs:uint32 vq-index:int '
                   'features:VirtioDeviceFeatures acked-features:VirtioDeviceFeatures '
                   'backend-features:VirtioDeviceFeatures protocol-features:VhostDeviceProtocols '
                   'max-queues:uint64 backend-cap:uint64 log-enabled:bool log-size:uint64',
    'VirtioStatus': 'name:str device-id:uint16 vhost-started:bool device-endian:str '
                    'guest-features:VirtioDeviceFeatures host-features:VirtioDeviceFeatures '
                    'backend-features:VirtioDeviceFeatures num-vqs:int status:VirtioDeviceStatus '
                    'isr:uint8 queue-sel:uint16 vm-running:bool broken:bool disabled:bool '
                    'use-started:bool started:bool start-on-kick:bool disable-legacy-check:bool '
                    'bus-name:str use-guest-notifier-mask:bool *vhost-dev:VhostStatus',
    'VirtioDeviceStatus': 'statuses:[str] *unknown-statuses:uint8',
    'VhostDeviceProtocols': 'protocols:[str] *unknown-protocols:uint64',
    'VirtioDeviceFeatures': 'transports:[str] *dev-features:[str] *unknown-dev-features:uint64',
    'VirtQueueStatus': 'name:str queue-index:uint16 inuse:uint32 vring-num:uint32 '
                       'vring-num-default:uint32 vring-align:uint32 vring-desc:uint64 '
                       'vring-avail:uint64 vring-used:uint64 *last-avail-idx:uint16 '
                       '*shadow-avail-idx:uint16 used-idx:uint16 signalled-used:uint16 '
                       'signalled-used-valid:bool',
    'VirtVhostQueueStatus': 'name:str kick:int call:int desc:uint64 avail:uint64 used:uint64 '
                            'num:int desc-phys:uint64 desc-size:uint32 avail-phys:uint64 '
                            'avail-size:uint32 used-phys:uint64 used-size:uint32',
    'VirtioRingDesc': 'addr:uint64 len:uint32 flags:[str]',
    'VirtioRingAvail': 'flags:uint16 idx:uint16 ring:uint16',
    'VirtioRingUsed': 'flags:uint16 idx:uint16',
    'VirtioQueueElement': 'name:str index:uint32 descs:[VirtioRingDesc] avail:VirtioRingAvail '
                          'used:VirtioRingUsed',
    'IOThreadVirtQueueMapping': 'iothread:str *vqs:[uint16]',
    'DummyVirtioForceArrays': 'unused-iothread-vq-mapping:[IOThreadVirtQueueMapping]',
}
CONTRACT_COMMANDS = {
    'x-query-virtio': ('', 'VirtioInfoList'),
    'x-query-virtio-status': ('path:str', 'VirtioStatus'),
    'x-query-virtio-queue-status': ('path:str queue:uint16', 'VirtQueueStatus'),
    'x-query-virtio-vhost-queue-status': ('path:str queue:uint16', 'VirtVhostQueueStatus'),
    'x-query-virtio-queue-element': ('path:str queue:uint16 *index:uint16', 'VirtioQueueElement'),
}


def test_virtio_schema_is_the_contract():
    schema = load('virtio.json')
    types = {n: t for n, t in schema.types.items() if t.kind == 'struct'}
    assert {n: shape(t.members) for n, t in types.items()} == CONTRACT_TYPES
    assert list(types) == list(CONTRACT_TYPES) and not any(t.features for t in types.values())
    assert [v for v, _ in schema.types['GranuleMode'].values] == ['4k', '8k', '16k', '64k', 'host']
    commands = {c.name: (shape(c.args.members) if c.args else '', c.returns.name)
                for c in schema.commands}
    assert commands == CONTRACT_COMMANDS
    assert all(c.features == ['unstable'] and not c.action for c in schema.commands)
    assert not schema.events


def test_introspection(tmp_path):
    """SchemaInfo's rules: masked names, one type for integers, null defaults, no dangling name."""
    assert run(ROOT / 'qapi' / 'qapi-schema.json', out=tmp_path).returncode == 0
    text = (tmp_path / 'introspect.c').read_text()
    parts = [json.loads(line.strip().rstrip(';')) for line in text.splitlines()
             if line.startswith('\t"')]
    infos = {i['name']: i for i in json.loads(''.join(parts))}
    status = infos['x-query-virtio-status']
    assert status['features'] == ['unstable'] and status['ret-type'].isdigit()
    ret = infos[status['ret-type']]
    assert ret['meta-type'] == 'object'
    assert {'name': 'device-id', 'type': 'int'} in ret['members']
    assert ret['members'][-1]['name'] == 'vhost-dev' and ret['members'][-1]['default'] is None
    assert infos['0'] == {'name': '0', 'meta-type': 'object', 'members': []}
    assert infos['STOP'] == {'name': 'STOP', 'meta-type': 'event', 'arg-type': '0'}
    assert infos['x-query-virtio']['arg-type'] == '0'
    array = infos[infos['x-query-virtio']['ret-type']]
    assert array['name'] == f'[{array["element-type"]}]' and array['meta-type'] == 'array'
    used = set()
    for i in infos.values():
        used |= {i[k] for k in ('arg-type', 'ret-type', 'element-type') if k in i}
        used |= {m['type'] for m in i.get('members', []) + i.get('variants', []) if 'type' in m}
        if i['meta-type'] not in ('command', 'event', 'builtin'):
            assert i['name'].isdigit() or i['name'].startswith('[')
    assert used <= set(infos)
    assert infos['int'] == {'name': 'int', 'meta-type': 'builtin', 'json-type': 'int'}
    assert 'uint16' not in infos
