/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks and media that change while they are used: what their devices call when that is through. */
#ifndef DEVICES_MEDIA_H
#define DEVICES_MEDIA_H

#include "base/err.h"

/* The caller's, until done() is called. */
struct media_change {
	/*
	 * Main loop, once, maybe from within the function that began it: 0, or -errno with the
	 * sentence in @err, and all is as before.
	 */
	void (*done)(struct media_change *change, int result, const struct err *err);
};

#endif
