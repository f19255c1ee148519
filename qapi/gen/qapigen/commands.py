# SPDX-License-Identifier: BSD-3-Clause
"""commands.h and commands.c: the handlers' table, and from each request to its handler."""
from . import cfile


def ret_param(t):
    """Where a handler leaves its result."""
    return f'{cfile.c_type(t)}*ret'.replace('* *', '**')


def has_params(c):
    return c.gen and c.args and not c.boxed


def prototype(c):
    params = ['struct qapi_call *call']
    if not c.gen:
        params += ['struct json_object *args', 'struct json_object **ret']
    elif c.boxed:
        params.append(f'const struct {c.args.name} *arg')
    elif c.args:
        params += cfile.params(c.args.members)
    if c.gen and c.returns:
        params.append(ret_param(c.returns))
    params.append('struct qapi_error *error')
    return ', '.join(params)


def return_wrapper(c):
    """qapi_return_COMMAND(): finishes a pending call with a typed result, which it takes over."""
    if not c.gen or not c.returns:
        return ''
    t = c.returns
    by_address = t.kind == 'list'
    param = f'struct {t.name} *ret' if by_address else f'{cfile.c_type(t)}ret'
    at = 'ret' if by_address else '&ret'
    return f'''/* Finishes a pending {c.name}; takes over what @ret owns. */
static inline void qapi_return_{c.c}(struct qapi_call *call, {param})
{{
	struct json_object *json = qapi_value_to_json(&{cfile.table_name(t)}, {at});

	qapi_value_clear(&{cfile.table_name(t)}, {at});
	qapi_call_return(call, json);
}}

'''


def invoke(c):
    args = ['call']
    decl = ''
    if not c.gen:
        args += ['args', 'ret']
    elif c.boxed:
        args.append('args')
    elif c.args and c.args.members:
        decl = f'\tstruct {c.args.name} *a = args;\n\n'
        for m in c.args.members:
            if m.optional and m.has:
                args.append(f'a->has_{m.c}')
            args.append(f'&a->{m.c}' if m.type.is_list else f'a->{m.c}')
    if c.gen and c.returns:
        args.append('ret')
    args.append('error')
    return f'''static bool there_{c.c}(const struct qapi_handlers *handlers)
{{
	return handlers->{c.c};
}}

static int invoke_{c.c}(const struct qapi_handlers *handlers, struct qapi_call *call,
	_unused_ void *args, _unused_ void *ret, struct qapi_error *error)
{{
{decl}	return handlers->{c.c}({', '.join(args)});
}}

'''


def row(c):
    text = f'\t{{ .name = "{c.name}", .is_there = there_{c.c}, .invoke = invoke_{c.c}'
    if c.action:
        text += ', .action = true'
    if not c.gen:
        return text + ', .raw = true },\n'
    if c.args and (c.args.members or c.boxed):
        text += f', .args = &{cfile.table_name(c.args)}'
    if c.returns:
        text += f', .ret = &{cfile.table_name(c.returns)}'
    return text + ' },\n'


def generate(schema):
    implicit = [c.args for c in schema.commands if has_params(c) and c.args.members and
                c.args.name not in schema.types]
    handlers = ''.join(f'\tint (*{c.c})({prototype(c)});\n' for c in schema.commands)
    head = f'''/*
 * One handler for each command; NULL: the command does not exist here. A handler returns 0 with
 * its result in @ret, a negative errno with @error set (qapi_error_set(), or err_set() on
 * &error->err), or QAPI_PENDING: then it answers by @call later. @ret is zeroed beforehand.
 * Arguments belong to the caller and are gone when the handler has returned.
 */
struct qapi_handlers {{
{handlers}}};

'''
    head += ''.join(return_wrapper(c) for c in schema.commands)
    body = ''.join(cfile.struct(a) + '\n' + cfile.object_table(a).replace(
        'const struct qapi_type qapi_type_', 'static const struct qapi_type qapi_type_')
        for a in implicit)
    body += ''.join(invoke(c) for c in schema.commands)
    rows = ''.join(row(c) for c in sorted(schema.commands, key=lambda c: c.name.encode()))
    body += f'const struct qapi_command qapi_commands[] = {{\n{rows or "	{ 0 },"}}};\n\n'
    body += f'const size_t qapi_num_commands = {len(schema.commands)};\n'
    return [('commands.h', cfile.header('QAPI_COMMANDS_H', ['"qapi/call.h"', '"qapi/types.h"'],
                                        head)),
            ('commands.c', cfile.source(['"qapi/commands.h"'], body))]
