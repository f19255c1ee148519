# SPDX-License-Identifier: BSD-3-Clause
"""Schema files to expressions: the lexer, doc comments (allowed, not used), include and pragma.

The syntax is JSON with single-quoted strings and '#' comments, and no numbers.
"""
import pathlib
import re

from .errors import SchemaError

WORDS = {'true': True, 'false': False}
ESCAPES = {'\\': '\\', "'": "'", '"': '"', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r',
           't': '\t'}


class Expr(dict):
    """An object of the schema that knows where it stands."""

    def __init__(self, path, line):
        super().__init__()
        self.path = path
        self.line = line

    def error(self, message):
        return SchemaError(self.path, self.line, message)


class Lexer:
    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.at = 0
        self.line = 1
        self.in_doc = None
        self.kind = None
        self.value = None
        self.next()

    def error(self, message):
        return SchemaError(self.path, self.line, message)

    def comment(self):
        """One comment line. A line '##' opens a doc block, the next '##' closes it."""
        end = self.text.find('\n', self.at)
        end = len(self.text) if end < 0 else end
        line = self.text[self.at:end]
        begins_line = self.text.rfind('\n', 0, self.at) == self.at - 1
        if line.startswith('##'):
            if line.rstrip() != '##' or not begins_line:
                raise self.error("junk after '##' of a documentation comment")
            self.in_doc = None if self.in_doc else self.line
        elif self.in_doc and len(line) > 1 and line[1] != ' ':
            raise self.error("missing space after '#' in a documentation comment")
        self.at = end

    def string(self):
        value = ''
        self.at += 1
        while True:
            c = self.text[self.at:self.at + 1]
            if c in ('', '\n'):
                raise self.error('missing terminating "\'"')
            self.at += 1
            if c == "'":
                return value
            if c == '\\':
                c = self.text[self.at:self.at + 1]
                if c not in ESCAPES:
                    raise self.error(f"unknown escape '\\{c}'")
                self.at += 1
                c = ESCAPES[c]
            elif not ' ' <= c <= '~':
                raise self.error(f'character {c!r} is not allowed in a string')
            value += c

    def next(self):
        while self.at < len(self.text):
            c = self.text[self.at]
            if c == '#':
                self.comment()
                continue
            if self.in_doc and not (c == '\n' and self.text[self.at - 1] != '\n'):
                raise SchemaError(self.path, self.in_doc,
                                  "documentation comment must end with '##'")
            if c == '\n':
                self.line += 1
            elif c in '{}[]:,':
                self.kind, self.value = c, c
                self.at += 1
                return
            elif c == "'":
                self.kind, self.value = 'string', self.string()
                return
            elif c.isalpha():
                word = re.match(r'[A-Za-z0-9_-]+', self.text[self.at:]).group()
                if word not in WORDS:
                    raise self.error(f"stray '{word}'; strings have single quotes")
                self.kind, self.value = 'word', WORDS[word]
                self.at += len(word)
                return
            elif not c.isspace():
                raise self.error(f"stray '{c}'")
            self.at += 1
        if self.in_doc:
            raise SchemaError(self.path, self.in_doc, "documentation comment must end with '##'")
        self.kind, self.value = 'end', 'end of file'

    def expect(self, kind, where):
        if self.kind != kind:
            raise self.error(f"expected '{kind}' {where}, found '{self.value}'")
        value = self.value
        self.next()
        return value

    def object(self):
        ret = Expr(self.path, self.line)
        self.expect('{', 'at the start of an object')
        while self.kind != '}':
            if ret:
                self.expect(',', 'between members')
            key = self.expect('string', 'as a key')
            self.expect(':', f"after the key '{key}'")
            if key in ret:
                raise self.error(f"duplicate key '{key}'")
            ret[key] = self.any()
        self.next()
        return ret

    def list(self):
        ret = []
        self.next()
        while self.kind != ']':
            if ret:
                self.expect(',', 'between elements')
            ret.append(self.any())
        self.next()
        return ret

    def any(self):
        if self.kind == '{':
            return self.object()
        if self.kind == '[':
            return self.list()
        if self.kind not in ('string', 'word'):
            raise self.error(f"expected a value, found '{self.value}'")
        value = self.value
        self.next()
        return value


def parse_file(path, seen, exprs, asked_by=None):
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, 'strerror', None) or 'it is not UTF-8'
        if asked_by:
            raise asked_by.error(f"cannot include '{path}': {reason}") from None
        raise SchemaError(path, 0, f'cannot read the schema: {reason}') from None
    lexer = Lexer(path, text)
    while lexer.kind != 'end':
        expr = lexer.object()
        if 'include' not in expr:
            exprs.append(expr)
            continue
        if list(expr) != ['include'] or not isinstance(expr['include'], str):
            raise expr.error("'include' takes one file name and no other key stands beside it")
        parse_file(path.parent / expr['include'], seen, exprs, expr)


def parse_files(paths):
    seen, exprs = set(), []
    for path in paths:
        parse_file(pathlib.Path(path), seen, exprs)
    return exprs
