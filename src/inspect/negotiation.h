/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who offered, acknowledged and dropped a feature bit, from what the device keeps and what the
 * messages said. Pure readers; nobody is asked. Main loop.
 */
#ifndef INSPECT_NEGOTIATION_H
#define INSPECT_NEGOTIATION_H

#include "base/err.h"
#include "proto/lint.h"
#include "qapi/types.h"
#include "qom/qom.h"
#include "virtio/vdev.h"

int inspect_negotiation(
	struct qom_object *root, const char *path, struct VirtioNegotiation **ret, struct err *err);

/* One party's word. */
struct nego_word {
	bool exists; /* there is such a party here */
	bool is_known; /* it has said something */
	struct virtio_features bits;
};

/* All parties' words about one set of bits, and how to call the bits. */
struct nego {
	const struct describe_type *type; /* NULL: protocol features */
	bool has_vhost_bits; /* 26 and 30 are the connection's own */
	struct nego_word device, backend, frontend, driver;
	struct virtio_features added, removed; /* by the transport */
	bool has_transport;
	/* Concluded. */
	bool is_offer_known, is_ack_known;
	struct virtio_features offered, acked;
};

/* negotiation_needs.c: what hangs on other bits. Both words; @protocol may be all unknown. */
struct nego_both {
	struct nego features, protocol;
	uint16_t virtio_id;
	bool by_vhost_user;
};

/* Who dropped it, in plain words; NULL where it is negotiated, or that is not known. */
const char *nego_dropped_by(const struct nego *n, unsigned int bit);
/* The bit's name; the caller frees it. */
char *nego_bit_name(const struct nego *n, unsigned int bit);
static inline bool nego_is_negotiated(const struct nego *n, unsigned int bit)
{
	return virtio_features_has(&n->offered, bit) && virtio_features_has(&n->acked, bit);
}

/* A note for the bit, or NULL; the caller frees it. */
char *nego_note(const struct nego_both *both, bool protocol, unsigned int bit);
void nego_capabilities(const struct nego_both *both, struct VirtioCapabilityList *ret);

#endif
