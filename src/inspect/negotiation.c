/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The matrix: a row a bit, a column a party. A device of ours on vhost-user is offered through a
 * transport that has 64 bits and adds two of its own; its front-end's word holds the driver's too.
 * A relay passes everything. A device of ours that a vhost back-end serves has all five.
 */
#include "inspect/negotiation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "describe/describe.h"
#include "inspect/findings.h"
#include "inspect/virtio.h"

/* Of the vhost-user connection: VHOST_F_LOG_ALL, VHOST_USER_F_PROTOCOL_FEATURES. */
#define VHOST_USER_BITS (1ull << VHU_F_LOG_ALL | 1ull << VHU_F_PROTOCOL_FEATURES)
#define PROTOCOL_BITS	64

static const char both_words[] = "front-end or driver: their words come as one";

static bool is_vhost_user(const struct vdev *dev)
{
	return dev->view.kind && !strcmp(dev->view.kind, "vhost-user");
}

static struct nego_word known(bool is_known, struct virtio_features bits)
{
	return (struct nego_word){ true, is_known, is_known ? bits : virtio_features_from64(0) };
}

static struct nego_word known64(bool is_known, uint64_t bits)
{
	return known(is_known, virtio_features_from64(bits));
}

/* --- where the words come from --- */

/* Its rings are ours: the device, its transport, who is at the other end. */
static void read_own(const struct vdev *dev, const struct lint_words *said, struct nego *ret)
{
	bool has_ack = said ? said->has_ack : dev->status & VIRTIO_STATUS_FEATURES_OK;

	ret->device = known(true, dev->device_features);
	ret->has_transport = true;
	if (!is_vhost_user(dev)) {
		ret->driver = known(has_ack, dev->driver_features);
		return;
	}
	ret->added = virtio_features_from64(VHOST_USER_BITS);
	ret->removed.word[1] = dev->device_features.word[1];
	ret->frontend = said ? known64(has_ack, said->ack) : known(has_ack, dev->driver_features);
	ret->driver.exists = true;
}

/* Somebody else serves them. */
static void read_vhost(const struct vdev *dev, const struct lint_words *said, struct nego *ret)
{
	const struct vhost_view *view = dev->view.vhost;
	bool has_ack = said ? said->has_ack : view->acked_features != 0;

	ret->backend = known64(view->has_offer, view->features);
	ret->frontend = known64(has_ack, view->acked_features);
	ret->driver.exists = true;
	if (dev->cls->relayed) {
		ret->has_transport = true;
		return;
	}
	ret->device = known(true, dev->device_features);
	ret->driver = known(dev->status & VIRTIO_STATUS_FEATURES_OK, dev->driver_features);
}

static void read_protocol(const struct vdev *dev, const struct lint_words *said, struct nego *ret)
{
	const struct vhost_view *view = dev->view.vhost;

	if (!is_vhost_user(dev) && !view)
		return;
	if (said) {
		ret->backend = known64(said->has_protocol_offer, said->protocol_offer);
		ret->frontend = known64(said->has_protocol_ack, said->protocol_ack);
	} else if (view) {
		ret->backend = known64(view->protocol_offered, view->protocol_offered);
		ret->frontend = known64(view->protocol_acked, view->protocol_acked);
	} else {
		ret->backend = known64(false, 0);
		ret->frontend = known64(dev->view.protocol_features, dev->view.protocol_features);
	}
}

static struct virtio_features both_of(struct virtio_features a, struct virtio_features b)
{
	return (struct virtio_features){ { a.word[0] & b.word[0], a.word[1] & b.word[1] } };
}

static struct virtio_features any_of(struct virtio_features a, struct virtio_features b)
{
	return (struct virtio_features){ { a.word[0] | b.word[0], a.word[1] | b.word[1] } };
}

/* What reaches who acknowledges, and what was acknowledged. */
static void conclude(struct nego *n)
{
	const struct nego_word *offer = n->device.exists ? &n->device : &n->backend;
	const struct nego_word *ack = n->driver.is_known ? &n->driver : &n->frontend;
	struct virtio_features kept = virtio_features_without(offer->bits, n->removed);

	n->is_offer_known = offer->is_known;
	n->offered = any_of(kept, n->added);
	n->is_ack_known = ack->is_known;
	n->acked = ack->bits;
	/* The connection's own bits are between its two ends, whatever the driver says. */
	if (n->device.exists && n->backend.exists && n->has_vhost_bits) {
		const struct virtio_features own = virtio_features_from64(VHOST_USER_BITS);

		n->offered = any_of(
			virtio_features_without(n->offered, own), both_of(n->backend.bits, own));
		n->acked = any_of(
			virtio_features_without(n->acked, own), both_of(n->frontend.bits, own));
	}
}

/* --- rows --- */

char *nego_bit_name(const struct nego *n, unsigned int bit)
{
	bool version_1 = virtio_features_has(&n->offered, VIRTIO_F_VERSION_1);
	const struct describe_bit *found =
		n->type ? describe_feature_bit(n->type, bit, n->has_vhost_bits, version_1)
			: describe_protocol_bit(bit);

	return found ? xstrdup(found->identifier) : xasprintf("bit %u", bit);
}

static bool is_connections(const struct nego *n, unsigned int bit)
{
	return !n->type || (n->has_vhost_bits && bit < 64 && VHOST_USER_BITS >> bit & 1);
}

static enum VirtioBitOutcome outcome_of(const struct nego *n, unsigned int bit)
{
	bool offered = virtio_features_has(&n->offered, bit);
	bool acked = virtio_features_has(&n->acked, bit);

	if (offered && acked)
		return VIRTIO_BIT_OUTCOME_NEGOTIATED;
	if (acked)
		return n->is_offer_known ? VIRTIO_BIT_OUTCOME_UNOFFERED
					 : VIRTIO_BIT_OUTCOME_UNKNOWN;
	if (virtio_features_has(&n->removed, bit))
		return VIRTIO_BIT_OUTCOME_DROPPED;
	if (!n->is_offer_known && !offered)
		return VIRTIO_BIT_OUTCOME_UNKNOWN;
	if (!offered)
		return VIRTIO_BIT_OUTCOME_NOT_OFFERED;
	return n->is_ack_known ? VIRTIO_BIT_OUTCOME_DROPPED : VIRTIO_BIT_OUTCOME_PENDING;
}

static const char *who_does_not_offer(const struct nego *n, unsigned int bit)
{
	if (!n->device.exists || is_connections(n, bit))
		return n->backend.exists ? "back-end" : "device";
	if (n->backend.exists && n->backend.is_known && !virtio_features_has(&n->backend.bits, bit))
		return "back-end";
	return "device";
}

const char *nego_dropped_by(const struct nego *n, unsigned int bit)
{
	switch (outcome_of(n, bit)) {
	case VIRTIO_BIT_OUTCOME_NOT_OFFERED: return who_does_not_offer(n, bit);
	case VIRTIO_BIT_OUTCOME_DROPPED:
		if (virtio_features_has(&n->removed, bit))
			return "transport";
		if (is_connections(n, bit))
			return "front-end";
		return n->driver.is_known ? "driver" : both_words;
	default: return NULL;
	}
}

static void put(const struct nego_word *word, unsigned int bit, enum VirtioBitState yes,
	enum VirtioBitState no, bool *has, enum VirtioBitState *ret)
{
	*has = word->exists;
	if (!word->is_known)
		*ret = VIRTIO_BIT_STATE_UNKNOWN;
	else
		*ret = virtio_features_has(&word->bits, bit) ? yes : no;
}

static struct VirtioBit *row_new(const struct nego_both *both, bool protocol, unsigned int bit)
{
	const struct nego *n = protocol ? &both->protocol : &both->features;
	struct VirtioBit *row = xnew(struct VirtioBit);
	const char *by = nego_dropped_by(n, bit);

	row->bit = (uint8_t)bit;
	row->name = nego_bit_name(n, bit);
	put(&n->device, bit, VIRTIO_BIT_STATE_OFFERED, VIRTIO_BIT_STATE_NOT_OFFERED,
		&row->has_device, &row->device);
	put(&n->backend, bit, VIRTIO_BIT_STATE_OFFERED, VIRTIO_BIT_STATE_NOT_OFFERED,
		&row->has_back_end, &row->back_end);
	put(&n->frontend, bit, VIRTIO_BIT_STATE_ACKED, VIRTIO_BIT_STATE_NOT_ACKED,
		&row->has_front_end, &row->front_end);
	put(&n->driver, bit, VIRTIO_BIT_STATE_ACKED, VIRTIO_BIT_STATE_NOT_ACKED, &row->has_driver,
		&row->driver);
	row->has_transport = n->has_transport;
	row->transport = VIRTIO_BIT_STATE_KEPT;
	if (virtio_features_has(&n->removed, bit))
		row->transport = VIRTIO_BIT_STATE_REMOVED;
	else if (virtio_features_has(&n->added, bit))
		row->transport = VIRTIO_BIT_STATE_ADDED;
	row->outcome = outcome_of(n, bit);
	row->dropped_by = by ? xstrdup(by) : NULL;
	row->note = nego_note(both, protocol, bit);
	return row;
}

/* Does anybody have anything to do with it? */
static bool is_seen(const struct nego *n, unsigned int bit)
{
	return virtio_features_has(&n->device.bits, bit) ||
	       virtio_features_has(&n->backend.bits, bit) ||
	       virtio_features_has(&n->frontend.bits, bit) ||
	       virtio_features_has(&n->driver.bits, bit) || virtio_features_has(&n->added, bit);
}

static void add_rows(const struct nego_both *both, bool protocol, struct VirtioBitList *ret)
{
	const struct nego *n = protocol ? &both->protocol : &both->features;
	unsigned int num = protocol ? PROTOCOL_BITS : VIRTIO_FEATURE_BITS;
	bool version_1 = virtio_features_has(&n->offered, VIRTIO_F_VERSION_1);

	for (unsigned int bit = 0; bit < num; bit++) {
		bool named = protocol ? describe_protocol_bit(bit) != NULL
				      : describe_feature_bit(
						n->type, bit, n->has_vhost_bits, version_1) != NULL;

		if (named || is_seen(n, bit))
			qapi_append_VirtioBitList(ret, row_new(both, protocol, bit));
	}
}

static void add_party(struct VirtioPartyList *ret, bool exists, enum VirtioParty party)
{
	if (exists)
		qapi_append_VirtioPartyList(ret, party);
}

/* --- the connection before --- */

static void add_names(const struct nego *n, uint64_t bits, struct strList *ret)
{
	for (unsigned int bit = 0; bit < 64; bit++)
		if (bits >> bit & 1)
			qapi_append_strList(ret, nego_bit_name(n, bit));
}

/* Words that were said in both are compared. */
static struct VirtioFeatureDiff *diff_new(const struct nego_both *both, const struct lint *l)
{
	const struct lint_words *now = &l->now, *old = &l->before;
	struct VirtioFeatureDiff *d = xnew(struct VirtioFeatureDiff);
	const struct {
		const struct nego *n;
		bool is_known;
		uint64_t now, old;
		struct strList *lost, *gained;
	} words[] = {
		{ &both->features, now->has_offer && old->has_offer, now->offer, old->offer,
			&d->no_longer_offered, &d->newly_offered },
		{ &both->protocol, now->has_protocol_offer && old->has_protocol_offer,
			now->protocol_offer, old->protocol_offer, &d->no_longer_offered,
			&d->newly_offered },
		{ &both->features, now->has_ack && old->has_ack, now->ack, old->ack,
			&d->no_longer_acked, &d->newly_acked },
		{ &both->protocol, now->has_protocol_ack && old->has_protocol_ack,
			now->protocol_ack, old->protocol_ack, &d->no_longer_acked,
			&d->newly_acked },
	};

	d->connection = old->connection;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!words[i].is_known)
			continue;
		add_names(words[i].n, words[i].old & ~words[i].now, words[i].lost);
		add_names(words[i].n, words[i].now & ~words[i].old, words[i].gained);
	}
	return d;
}

static void read_both(const struct vdev *dev, const struct lint *l, struct nego_both *ret)
{
	/* Words of a connection that is over are no news. */
	const struct lint_words *said = l && dev->view.connected ? &l->now : NULL;
	static const struct lint_words nothing;

	if (l && !said)
		said = &nothing;
	*ret = (struct nego_both){ .virtio_id = dev->cls->virtio_id,
		.by_vhost_user = is_vhost_user(dev) };
	ret->features.type = describe_type_by_id(dev->cls->virtio_id);
	ret->features.has_vhost_bits = is_vhost_user(dev) || dev->view.vhost;
	if (dev->view.vhost)
		read_vhost(dev, said, &ret->features);
	else
		read_own(dev, said, &ret->features);
	read_protocol(dev, said, &ret->protocol);
	conclude(&ret->features);
	conclude(&ret->protocol);
}

int inspect_negotiation(
	struct qom_object *root, const char *path, struct VirtioNegotiation **ret, struct err *err)
{
	const struct vdev *dev = inspect_find(root, path);
	_cleanup_free_ struct lint *l = NULL;
	struct VirtioNegotiation *n;
	struct nego_both both;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	l = inspect_lint(dev, UINT64_MAX);
	read_both(dev, l, &both);
	n = xnew(struct VirtioNegotiation);
	n->name = xstrdup(both.features.type->name);
	n->device_id = dev->cls->virtio_id;
	add_party(&n->parties, both.features.device.exists, VIRTIO_PARTY_DEVICE);
	add_party(&n->parties, both.features.backend.exists, VIRTIO_PARTY_BACK_END);
	add_party(&n->parties, both.features.has_transport, VIRTIO_PARTY_TRANSPORT);
	add_party(&n->parties, both.features.frontend.exists, VIRTIO_PARTY_FRONT_END);
	add_party(&n->parties, both.features.driver.exists, VIRTIO_PARTY_DRIVER);
	add_rows(&both, false, &n->features);
	if (both.by_vhost_user || dev->view.vhost)
		add_rows(&both, true, &n->protocol_features);
	nego_capabilities(&both, &n->capabilities);
	if (l && l->has_before)
		n->previous = diff_new(&both, l);
	*ret = n;
	return 0;
}
