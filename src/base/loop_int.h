/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the event loop share; nobody else includes it. On the loop. */
#ifndef BASE_LOOP_INT_H
#define BASE_LOOP_INT_H

#include "base/loop.h"

/*
 * Before a round looks at its descriptors, for which it would wait *@timeout_ms. True: something
 * was found by polling, and this round leaves the descriptors alone. False: look at them, and wait
 * for *@timeout_ms, which may have become 0.
 */
bool loop_poll_round(struct loop *loop, int *timeout_ms);
/* The descriptors were looked at; @slept: the loop was ready to wait for them; @woken: one was
 * ready. */
void loop_poll_waited(struct loop *loop, bool slept, bool woken);

#endif
