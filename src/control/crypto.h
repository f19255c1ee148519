/* SPDX-License-Identifier: BSD-3-Clause */
/* The crypto device on the monitor. Main loop. */
#ifndef CONTROL_CRYPTO_H
#define CONTROL_CRYPTO_H

#include "qom/qom.h"

/* How many sessions there are, of the control queue and by message, beside what every device has.
 */
extern const struct qom_property control_crypto_properties[];

#endif
