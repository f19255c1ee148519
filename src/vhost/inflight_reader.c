/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The region's layout is the protocol's (vhost-user, "Inflight I/O tracking"). Refused: a version
 * or a number of entries that is not what was agreed, a ring larger than the region, marks other
 * than 0 and 1, heads and places beyond the ring, a last batch longer than the ring.
 */
#include "vhost/inflight_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "virtio/vq_inflight.h"
#include "virtio/vring.h"

static int peek(
	const struct inflight_part *part, uint64_t at, void *dst, size_t bytes, struct err *err)
{
	if (gmem_peek(part->mem, part->offset + at, dst, bytes) == 0)
		return 0;
	return err_set(err, -EFAULT, "the in-flight region cannot be read");
}

/* Both formats have the same words in front. */
static int check_head(const struct inflight_part *part, const struct inflight_split *head,
	struct inflight_reading *ret, struct err *err)
{
	uint16_t version = le16_get(head->version), entries = le16_get(head->desc_num);

	*ret = (struct inflight_reading){ .recorded = version != 0 };
	if (!version)
		return 0;
	if (version != INFLIGHT_VERSION || entries != part->entries)
		return err_set(err, -EINVAL,
			"the in-flight region has version %u and %u entries, expected %d and %u",
			version, entries, INFLIGHT_VERSION, part->entries);
	if (part->num > part->entries)
		return err_set(err, -EINVAL,
			"the ring has %u entries, its part of the in-flight region %u", part->num,
			part->entries);
	return 0;
}

/* The last batch was shown, and its marks may not all be cleared. */
static int settle_batch(const struct inflight_split *head, struct inflight_split_desc *descs,
	uint32_t num, uint16_t used_idx, struct err *err)
{
	uint16_t n = (uint16_t)(used_idx - le16_get(head->used_idx));
	uint16_t at = le16_get(head->last_batch_head);

	if (n > num)
		return err_set(err, -EINVAL,
			"the in-flight region knows of used index %u, the ring has %u",
			le16_get(head->used_idx), used_idx);
	while (n--) {
		if (at >= num)
			return err_set(err, -EINVAL,
				"the in-flight region's last batch names head %u, in a ring of %u",
				at, num);
		descs[at].inflight = 0;
		at = le16_get(descs[at].next);
	}
	return 0;
}

int inflight_read_split(const struct inflight_part *part, uint16_t used_idx, bool *marks,
	struct inflight_reading *ret, struct err *err)
{
	_cleanup_free_ struct inflight_split_desc *descs =
		xnew_n(struct inflight_split_desc, part->entries);
	struct inflight_split head;
	int r = peek(part, 0, &head, sizeof(head), err);

	if (!r)
		r = check_head(part, &head, ret, err);
	if (r < 0 || !ret->recorded)
		return r;
	r = peek(part, sizeof(head), descs, part->entries * sizeof(descs[0]), err);
	if (!r)
		r = settle_batch(&head, descs, part->num, used_idx, err);
	for (uint32_t i = 0; !r && i < part->entries; i++) {
		if (descs[i].inflight > 1 || (descs[i].inflight && i >= part->num))
			return err_set(err, -EINVAL,
				"the in-flight region marks head %u with %u, in a ring of %u", i,
				descs[i].inflight, part->num);
		if (marks && i < part->num)
			marks[i] = descs[i].inflight;
		ret->num += descs[i].inflight;
	}
	return r;
}

static int place_of(
	const struct inflight_part *part, le16 pos, uint8_t wrap, uint16_t *ret, struct err *err)
{
	*ret = (uint16_t)(le16_get(pos) | wrap << 15);
	if (le16_get(pos) < part->num && wrap <= 1)
		return 0;
	return err_set(err, -EINVAL,
		"the in-flight region has position %u with wrap counter %u, in a ring of %u",
		le16_get(pos), wrap, part->num);
}

/* What is free is marked no more: the last batch, and a chain that was being recorded. */
static int unmark_free(const struct inflight_part *part, uint16_t at,
	struct inflight_packed_desc *descs, struct err *err)
{
	for (uint32_t steps = 0; at != part->entries; steps++) {
		if (at > part->entries || steps == part->entries)
			return err_set(err, -EINVAL,
				"the in-flight region's list of free entries has no end");
		descs[at].inflight = 0;
		at = le16_get(descs[at].next);
	}
	return 0;
}

/*
 * The draft counts where the dead one had shown its batch already; who reads the region at the
 * ring's next start can tell, and goes by that. Here the place is what is certain: the old one.
 */
int inflight_read_packed(
	const struct inflight_part *part, struct inflight_reading *ret, struct err *err)
{
	_cleanup_free_ struct inflight_packed_desc *descs =
		xnew_n(struct inflight_packed_desc, part->entries);
	struct inflight_packed head;
	uint32_t busy = 0;
	int r = peek(part, 0, &head, sizeof(head), err);

	if (!r)
		r = check_head(part, (const struct inflight_split *)&head, ret, err);
	if (r < 0 || !ret->recorded)
		return r;
	r = place_of(part, head.old_used_idx, head.old_used_wrap_counter, &ret->used, err);
	if (!r)
		r = peek(part, sizeof(head), descs, part->entries * sizeof(descs[0]), err);
	if (!r)
		r = unmark_free(part, le16_get(head.old_free_head), descs, err);
	for (uint32_t i = 0; !r && i < part->entries; i++) {
		if (descs[i].inflight > 1)
			return err_set(err, -EINVAL, "the in-flight region marks entry %u with %u",
				i, descs[i].inflight);
		ret->num += descs[i].inflight;
		busy += descs[i].inflight ? le16_get(descs[i].num) : 0;
	}
	if (!r && busy > part->num)
		return err_set(err, -EINVAL,
			"the in-flight region has %u descriptors on their way, in a ring of %u",
			busy, part->num);
	ret->avail = vring_packed_add(part->num, ret->used, busy);
	ret->drafted = le16_get(head.used_idx) != le16_get(head.old_used_idx) ||
		       head.used_wrap_counter != head.old_used_wrap_counter;
	return r;
}
