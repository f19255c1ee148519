# SPDX-License-Identifier: BSD-3-Clause
"""Helpers of the pytest suites: processes, guests, a QMP client, a vhost-user front-end."""
