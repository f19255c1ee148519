/* SPDX-License-Identifier: BSD-3-Clause */
/* Events with a meaning of their own for the library that stands in for libevdev. */
#ifndef TESTS_FAKE_EVDEV_H
#define TESTS_FAKE_EVDEV_H

#include <linux/input.h>

#define FAKE_SYNCED 0xfffe
#define FAKE_BUSY   0xfffd

#endif
