/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-balloon, the traditional one. Virtio 1.4, "Traditional Memory Balloon Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>
#include <stdio.h>

#define F_STATS_VQ	 1
#define F_FREE_PAGE_HINT 3
#define F_PAGE_POISON	 4
#define F_REPORTING	 5

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_REPORTING, "VIRTIO_BALLOON_F_REPORTING", "Free page reporting VQ available"),
	DESCRIBE_BIT(F_PAGE_POISON, "VIRTIO_BALLOON_F_PAGE_POISON", "Guest page poisoning enabled"),
	DESCRIBE_BIT(F_FREE_PAGE_HINT, "VIRTIO_BALLOON_F_FREE_PAGE_HINT",
		"VQ for hints about free pages available"),
	DESCRIBE_BIT(2, "VIRTIO_BALLOON_F_DEFLATE_ON_OOM",
		"Guest may deflate when it runs out of memory"),
	DESCRIBE_BIT(F_STATS_VQ, "VIRTIO_BALLOON_F_STATS_VQ", "Guest memory stats VQ available"),
	DESCRIBE_BIT(0, "VIRTIO_BALLOON_F_MUST_TELL_HOST",
		"Driver tells the device before it uses pages of the balloon"),
};

static const struct describe_config config[] = {
	CFG("num_pages", 0, 4),
	CFG("actual", 4, 4),
	CFG_IF("free_page_hint_cmd_id", 8, 4, F_FREE_PAGE_HINT),
	CFG_IF("poison_val", 12, 4, F_PAGE_POISON),
};

enum role {
	INFLATE,
	DEFLATE,
	STATS,
	FREE_PAGE,
	REPORTING,
	UNUSED,
};

static const struct {
	const char *name;
	uint8_t need; /* 0: always there */
} roles[] = {
	[INFLATE] = { "inflateq", 0 },
	[DEFLATE] = { "deflateq", 0 },
	[STATS] = { "statsq", F_STATS_VQ },
	[FREE_PAGE] = { "free_page_vq", F_FREE_PAGE_HINT },
	[REPORTING] = { "reporting_vq", F_REPORTING },
	[UNUSED] = { "unused", 0 },
};

/*
 * The specification numbers the queues whether they exist or not; QEMU and Linux before 6.11 close
 * the gaps. So a number whose queue cannot exist is counted their way.
 */
static enum role role_of(unsigned index, const uint64_t *f)
{
	unsigned there = 0;

	if (index >= UNUSED)
		return UNUSED;
	if (!roles[index].need || wire_feature(f, roles[index].need, true))
		return index;
	for (unsigned i = 0; i < UNUSED; i++)
		if ((!roles[i].need || wire_feature(f, roles[i].need, true)) && there++ == index)
			return i;
	return UNUSED;
}

static void balloon_queue_role(
	unsigned index, unsigned num_queues _unused_, const uint64_t *f, char *buf)
{
	snprintf(buf, DESCRIBE_ROLE_BYTES, "%s", roles[role_of(index, f)].name);
}

static const struct wire_value stats[] = {
	{ 0, "swap-in" },
	{ 1, "swap-out" },
	{ 2, "majflt" },
	{ 3, "minflt" },
	{ 4, "memfree" },
	{ 5, "memtot" },
	{ 6, "avail" },
	{ 7, "caches" },
	{ 8, "htlb-pgalloc" },
	{ 9, "htlb-pgfail" },
	{ 10, "oom-kill" },
	{ 11, "alloc-stall" },
	{ 12, "async-scan" },
	{ 13, "direct-scan" },
	{ 14, "async-reclaim" },
	{ 15, "direct-reclaim" },
};

static void balloon_pages(
	const struct describe_in *in, const char *verb, struct describe_fields *ret)
{
	uint64_t pfn;

	wire_add(ret, "pages", in->readable / 4, NULL);
	wire_line(ret, "%s %" PRIu32 " pages", verb, in->readable / 4);
	if (!wire_get(in, 0, 4, &pfn))
		return;
	wire_add(ret, "first-pfn", pfn, NULL);
	wire_line(ret, "%s %" PRIu32 " pages, first frame 0x%" PRIx64, verb, in->readable / 4, pfn);
}

static void balloon_stats(const struct describe_in *in, struct describe_fields *ret)
{
	uint64_t tag, value;

	wire_add(ret, "stats", in->readable / 10, NULL);
	for (size_t at = 0; wire_get(in, at, 2, &tag) && wire_get(in, at + 2, 8, &value); at += 10)
		wire_add(ret, WIRE_NAME(stats, tag) ?: "unknown-stat", value, NULL);
	wire_line(ret, "%" PRIu32 " memory statistics", in->readable / 10);
}

static void balloon_request(const struct describe_in *in, struct describe_fields *ret)
{
	uint64_t id;

	switch (role_of(in->queue, in->features)) {
	case INFLATE: balloon_pages(in, "give up", ret); break;
	case DEFLATE: balloon_pages(in, "take back", ret); break;
	case STATS: balloon_stats(in, ret); break;
	case FREE_PAGE:
		if (in->readable && wire_get(in, 0, 4, &id)) {
			wire_add(ret, "cmd-id", id, NULL);
			wire_line(ret, "free page hints, command %" PRIu64, id);
		} else {
			wire_add(ret, "bytes", in->writable, NULL);
			wire_line(ret, "hint: %" PRIu32 " bytes are free", in->writable);
		}
		break;
	case REPORTING:
		wire_add(ret, "bytes", in->writable, NULL);
		wire_line(ret, "report: %" PRIu32 " bytes are free", in->writable);
		break;
	case UNUSED: break;
	}
}

const struct describe_type describe_balloon = {
	.id = 5,
	.name = "virtio-balloon",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queue_role = balloon_queue_role,
	.request = balloon_request,
};
