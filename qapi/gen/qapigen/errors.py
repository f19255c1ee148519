# SPDX-License-Identifier: BSD-3-Clause
"""The one way in which a schema is refused."""


class SchemaError(Exception):
    def __init__(self, path, line, message):
        super().__init__(f'{path}:{line}: {message}')
