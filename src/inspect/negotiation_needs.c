/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hangs on what, by table: bits that are useless without others (virtio 1.3, each device's
 * "Feature bit requirements"; vhost-user, "Protocol features"), and what people want, which hangs
 * on several.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "describe/describe.h"
#include "inspect/negotiation.h"

#define NET 1
#define BLK 2

enum { FEATURE, PROTOCOL };

/* @bit is of no use without @need (or, where there is one, @other). */
struct need {
	uint16_t virtio_id; /* 0: of rings */
	uint8_t bit, need, other;
};

static const struct need feature_needs[] = {
	{ NET, 7, 1 }, /* GUEST_TSO4: GUEST_CSUM */
	{ NET, 8, 1 },
	{ NET, 9, 7, 8 }, /* GUEST_ECN: GUEST_TSO4 or 6 */
	{ NET, 10, 1 },
	{ NET, 11, 0 }, /* HOST_TSO4: CSUM */
	{ NET, 12, 0 },
	{ NET, 13, 11, 12 },
	{ NET, 14, 0 },
	{ NET, 18, 17 }, /* CTRL_RX: CTRL_VQ */
	{ NET, 19, 17 },
	{ NET, 20, 17 },
	{ NET, 21, 17 },
	{ NET, 22, 17 }, /* MQ */
	{ NET, 23, 17 },
	{ NET, 53, 17 }, /* NOTF_COAL */
	{ NET, 54, 1 },
	{ NET, 55, 1 },
	{ NET, 56, 0 },
	{ NET, 60, 17 }, /* RSS */
	{ NET, 61, 11, 12 }, /* RSC_EXT */
	{ BLK, 11, 9 }, /* CONFIG_WCE: FLUSH */
	{ 0, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 },
	{ 0, VIRTIO_F_IN_ORDER, VIRTIO_F_VERSION_1 },
	{ 0, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_VERSION_1 },
	{ 0, VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_NOTIFICATION_DATA },
};

static const struct need protocol_needs[] = {
	{ 0, VHU_PF_BACKEND_SEND_FD, VHU_PF_BACKEND_REQ },
	{ 0, VHU_PF_HOST_NOTIFIER, VHU_PF_BACKEND_SEND_FD },
	{ 0, VHU_PF_INBAND_NOTIFICATIONS, VHU_PF_BACKEND_REQ },
	{ 0, VHU_PF_SHMEM, VHU_PF_BACKEND_REQ },
};

/* A bit that has to be negotiated, or only offered: then the front-end takes it as it needs it. */
struct want {
	uint8_t word, bit;
	bool only_offered;
};

static const struct {
	const char *name;
	uint16_t virtio_id; /* 0: of any device */
	struct want wants[4];
	unsigned int num_wants;
} capabilities[] = {
	{ "protocol features", 0, { { FEATURE, VHU_F_PROTOCOL_FEATURES, true } }, 1 },
	{ "errors of requests are told", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { PROTOCOL, VHU_PF_REPLY_ACK } }, 2 },
	{ "several queues", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { PROTOCOL, VHU_PF_MQ } }, 2 },
	{ "several queue pairs", NET, { { PROTOCOL, VHU_PF_MQ }, { FEATURE, 22 }, { FEATURE, 17 } },
		3 },
	{ "configuration changes reach the driver", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { PROTOCOL, VHU_PF_CONFIG },
			{ PROTOCOL, VHU_PF_BACKEND_REQ } },
		3 },
	{ "migration", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { FEATURE, VHU_F_LOG_ALL, true },
			{ PROTOCOL, VHU_PF_LOG_SHMFD } },
		3 },
	{ "post-copy migration", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { PROTOCOL, VHU_PF_PAGEFAULT } }, 2 },
	{ "migration of the back-end's state", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { PROTOCOL, VHU_PF_DEVICE_STATE } },
		2 },
	{ "back-end restarts without loss", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { PROTOCOL, VHU_PF_INFLIGHT_SHMFD } },
		2 },
	{ "memory beyond 8 regions", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true },
			{ PROTOCOL, VHU_PF_CONFIGURE_MEM_SLOTS } },
		2 },
	{ "an IOMMU before the guest's memory", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { FEATURE, VIRTIO_F_ACCESS_PLATFORM },
			{ PROTOCOL, VHU_PF_BACKEND_REQ } },
		3 },
	{ "resets reach the back-end", 0,
		{ { FEATURE, VHU_F_PROTOCOL_FEATURES, true }, { PROTOCOL, VHU_PF_STATUS } }, 2 },
};

static char *need_note(const struct nego *n, const struct need *need)
{
	_cleanup_free_ char *name = NULL, *other = NULL;

	if (!nego_is_negotiated(n, need->bit) || nego_is_negotiated(n, need->need) ||
		(need->other && nego_is_negotiated(n, need->other)))
		return NULL;
	name = nego_bit_name(n, need->need);
	if (!need->other)
		return xasprintf("of no use without %s, which is not negotiated", name);
	other = nego_bit_name(n, need->other);
	return xasprintf("of no use without %s or %s, neither of which is negotiated", name, other);
}

static char *needs_note(const struct nego_both *both, const struct nego *n,
	const struct need *needs, size_t num, unsigned int bit)
{
	char *note = NULL;

	for (size_t i = 0; i < num && !note; i++)
		if (needs[i].bit == bit &&
			(!needs[i].virtio_id || needs[i].virtio_id == both->virtio_id))
			note = need_note(n, &needs[i]);
	return note;
}

static char *own_bits_note(const struct nego_both *both, unsigned int bit)
{
	const struct nego *n = &both->features;
	bool dropped = virtio_features_has(&n->offered, bit) && n->is_ack_known &&
		       !virtio_features_has(&n->acked, bit);

	if (!n->has_vhost_bits || !dropped)
		return NULL;
	if (bit == VHU_F_LOG_ALL)
		return xstrdup("acknowledged only while a migration runs");
	if (bit == VHU_F_PROTOCOL_FEATURES)
		return xstrdup("rings are enabled from their start on");
	return NULL;
}

char *nego_note(const struct nego_both *both, bool protocol, unsigned int bit)
{
	const struct nego *n = protocol ? &both->protocol : &both->features;
	char *note = protocol ? NULL : own_bits_note(both, bit);

	if (note)
		return note;
	if (protocol && nego_is_negotiated(n, bit) && both->features.is_offer_known &&
		!virtio_features_has(&both->features.offered, VHU_F_PROTOCOL_FEATURES))
		return xstrdup("void: VHOST_USER_F_PROTOCOL_FEATURES was not offered");
	return protocol ? needs_note(both, n, protocol_needs, ARRAY_SIZE(protocol_needs), bit)
			: needs_note(both, n, feature_needs, ARRAY_SIZE(feature_needs), bit);
}

/* True where @want is met. Else *ret_because says why not; NULL: that is not known yet. */
static bool is_met(const struct nego_both *both, const struct want *want, char **ret_because)
{
	const struct nego *n = want->word == PROTOCOL ? &both->protocol : &both->features;
	bool offered = virtio_features_has(&n->offered, want->bit);
	_cleanup_free_ char *name = nego_bit_name(n, want->bit);
	const char *by;

	*ret_because = NULL;
	if (offered && (want->only_offered || virtio_features_has(&n->acked, want->bit)))
		return true;
	if (!n->is_offer_known)
		return false;
	if (!offered)
		*ret_because = xasprintf("never possible: %s is not offered by the %s", name,
			nego_dropped_by(n, want->bit) ? nego_dropped_by(n, want->bit) : "back-end");
	else if (n->is_ack_known && (by = nego_dropped_by(n, want->bit)))
		*ret_because = xasprintf("not in this connection: %s was not acknowledged by the "
					 "%s",
			name, by);
	return false;
}

void nego_capabilities(const struct nego_both *both, struct VirtioCapabilityList *ret)
{
	if (!both->by_vhost_user)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
		struct VirtioCapability *c;
		bool all = true;

		if (capabilities[i].virtio_id && capabilities[i].virtio_id != both->virtio_id)
			continue;
		c = xnew(struct VirtioCapability);
		c->name = xstrdup(capabilities[i].name);
		for (unsigned int k = 0; all && k < capabilities[i].num_wants; k++)
			all = is_met(both, &capabilities[i].wants[k], &c->because);
		c->has_possible = all || c->because;
		c->possible = all;
		qapi_append_VirtioCapabilityList(ret, c);
	}
}
