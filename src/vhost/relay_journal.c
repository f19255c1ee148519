/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages are kept as they came, by table. Descriptors that cannot be duplicated, and states that
 * no message brings back (a post-copy migration, a device's state on its way), are an obstacle.
 */
#include "vhost/relay_journal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

void kept_clear(struct kept *k)
{
	for (unsigned int i = 0; i < k->num_fds; i++)
		close_fd(&k->fds[i]);
	free(k->payload);
	*k = (struct kept){ 0 };
}

/* False where a descriptor could not be duplicated. */
static bool keep(struct kept *k, const struct vhu_header *header, const void *payload, size_t bytes,
	const int *fds, unsigned int num_fds)
{
	kept_clear(k);
	k->header = *header;
	k->payload = xcalloc(1, bytes + 1);
	memcpy(k->payload, payload, bytes);
	k->is_set = true;
	for (unsigned int i = 0; i < MIN(num_fds, (unsigned int)VHU_FDS_MAX); i++) {
		k->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (k->fds[i] < 0)
			return false;
		k->num_fds++;
	}
	return true;
}

/* --- memory --- */

static void drop_regions(struct journal *j)
{
	for (unsigned int i = 0; i < j->num_regions; i++)
		close_fd(&j->regions[i].fd);
	j->num_regions = 0;
}

static void add_region(struct journal *j, const struct vhu_region *region, int fd)
{
	int copy = j->num_regions < JOURNAL_REGIONS_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (copy < 0) {
		j->obstacle = "a descriptor of guest memory could not be kept";
		return;
	}
	if (!j->regions)
		j->regions = xnew_n(struct journal_region, JOURNAL_REGIONS_MAX);
	j->regions[j->num_regions++] = (struct journal_region){ *region, copy };
}

static bool same_region(const struct vhu_region *a, const struct vhu_region *b)
{
	return le64_get(a->guest_addr) == le64_get(b->guest_addr) &&
	       le64_get(a->size) == le64_get(b->size) &&
	       le64_get(a->user_addr) == le64_get(b->user_addr);
}

static void rem_region(struct journal *j, const struct vhu_region *region)
{
	for (unsigned int i = 0; i < j->num_regions; i++) {
		if (!same_region(&j->regions[i].region, region))
			continue;
		close_fd(&j->regions[i].fd);
		j->regions[i] = j->regions[--j->num_regions];
		return;
	}
}

/* --- by table --- */

enum how {
	NOTHING, /* not a state, or not one that is kept */
	SINGLE,
	RING_STATE, /* the ring's index is the payload's first word */
	RING_FD, /* ... or the low byte of a u64 */
	TABLE,
	ADD,
	REMOVE,
	RESET,
	OBSTACLE,
};

static const struct {
	enum how how;
	enum journal_ring_message which; /* of a ring's */
	const char *obstacle;
} rules[VHU_REQUEST_END] = {
	[VHU_SET_OWNER] = { .how = SINGLE },
	[VHU_SET_FEATURES] = { .how = SINGLE },
	[VHU_SET_PROTOCOL_FEATURES] = { .how = SINGLE },
	[VHU_SET_LOG_BASE] = { .how = SINGLE },
	[VHU_SET_LOG_FD] = { .how = SINGLE },
	[VHU_SET_INFLIGHT_FD] = { .how = SINGLE },
	[VHU_SET_STATUS] = { .how = SINGLE }, /* and 0 stops all */
	[VHU_NET_SET_MTU] = { .how = SINGLE },
	[VHU_SET_MEM_TABLE] = { .how = TABLE },
	[VHU_ADD_MEM_REG] = { .how = ADD },
	[VHU_REM_MEM_REG] = { .how = REMOVE },
	[VHU_RESET_OWNER] = { .how = RESET },
	[VHU_RESET_DEVICE] = { .how = RESET },
	[VHU_SET_VRING_NUM] = { RING_STATE, JOURNAL_NUM, NULL },
	[VHU_SET_VRING_BASE] = { RING_STATE, JOURNAL_BASE, NULL },
	[VHU_SET_VRING_ADDR] = { RING_STATE, JOURNAL_ADDR, NULL },
	[VHU_SET_VRING_ENDIAN] = { RING_STATE, JOURNAL_ENDIAN, NULL },
	[VHU_SET_VRING_CALL] = { RING_FD, JOURNAL_CALL, NULL },
	[VHU_SET_VRING_ERR] = { RING_FD, JOURNAL_ERR, NULL },
	[VHU_SET_VRING_KICK] = { RING_FD, JOURNAL_KICK, NULL },
	[VHU_VRING_KICK] = { RING_STATE, JOURNAL_KICK, NULL },
	[VHU_SET_VRING_ENABLE] = { RING_STATE, JOURNAL_ENABLE, NULL },
	[VHU_POSTCOPY_ADVISE] = { OBSTACLE, 0, "a post-copy migration was under way" },
	[VHU_SET_DEVICE_STATE_FD] = { OBSTACLE, 0, "the device's state was on its way" },
	[VHU_GPU_SET_SOCKET] = { OBSTACLE, 0, "the back-end has a display's socket" },
	[VHU_CREATE_CRYPTO_SESSION] = { OBSTACLE, 0, "the back-end had sessions" },
};

static struct kept *ring_of(struct journal *j, uint32_t index)
{
	if (index >= SHADOW_QUEUES_MAX)
		return NULL;
	if (!j->rings[index])
		j->rings[index] = xnew_n(struct kept, NUM_JOURNAL_RING);
	return j->rings[index];
}

static void stop_all(struct journal *j)
{
	for (unsigned int i = 0; i < SHADOW_QUEUES_MAX; i++) {
		if (!j->rings[i])
			continue;
		kept_clear(&j->rings[i][JOURNAL_KICK]);
		kept_clear(&j->rings[i][JOURNAL_ENABLE]);
	}
}

static struct kept *place_of(struct journal *j, uint32_t request, const union vhu_payload *payload)
{
	struct kept *ring;
	uint32_t index = 0;

	switch (rules[request].how) {
	case SINGLE: return &j->single[request];
	case RING_STATE: index = le32_get(payload->state.index); break;
	case RING_FD: index = le64_get(payload->u64.value) & VHU_VRING_INDEX_MASK; break;
	default: return NULL;
	}
	ring = ring_of(j, index);
	/* A kick by message is no other start than the one that was. */
	if (!ring || (request == VHU_VRING_KICK && ring[JOURNAL_KICK].is_set))
		return NULL;
	return &ring[rules[request].which];
}

static void change(
	struct journal *j, uint32_t request, const union vhu_payload *payload, const int *fds)
{
	switch (rules[request].how) {
	case TABLE:
		drop_regions(j);
		j->by_slots = false;
		for (uint32_t i = 0; i < le32_get(payload->mem.num_regions); i++)
			add_region(j, &payload->mem.regions[i], fds[i]);
		break;
	case ADD:
		j->by_slots = true;
		add_region(j, &payload->mem_region.region, fds[0]);
		break;
	case REMOVE: rem_region(j, &payload->mem_region.region); break;
	case OBSTACLE: j->obstacle = rules[request].obstacle; break;
	default: break;
	}
}

void journal_request(struct journal *j, const struct vhu_header *header,
	const union vhu_payload *payload, const int *fds, unsigned int num_fds)
{
	uint32_t request = le32_get(header->request);
	struct kept *place;

	if (!journal_keeps(request))
		return;
	j->has_any = true;
	place = place_of(j, request, payload);
	if (!place)
		change(j, request, payload, fds);
	else if (!keep(place, header, payload, le32_get(header->size), fds, num_fds))
		j->obstacle = "a descriptor could not be kept";
	if (journal_is_reset(header, payload))
		stop_all(j);
}

bool journal_is_reset(const struct vhu_header *header, const union vhu_payload *payload)
{
	uint32_t request = le32_get(header->request);

	return request == VHU_RESET_OWNER || request == VHU_RESET_DEVICE ||
	       (request == VHU_SET_STATUS && !le64_get(payload->u64.value));
}

bool journal_keeps(uint32_t request)
{
	return request < VHU_REQUEST_END && rules[request].how != NOTHING;
}

/* --- what waits --- */

bool journal_waits_for(const struct journal *j, uint32_t request)
{
	for (unsigned int i = 0; i < j->num_pending; i++)
		if (le32_get(j->pending[i].header.request) == request)
			return true;
	return false;
}

void journal_wait(struct journal *j, const struct vhu_header *header, const void *payload,
	size_t bytes, const int *fds, unsigned int num_fds)
{
	if (j->num_pending == JOURNAL_PENDING_MAX || num_fds > VHU_FDS_MAX)
		j->obstacle = "more requests waited for an answer than could be kept";
	else if (!keep(&j->pending[j->num_pending++], header, payload, bytes, fds, num_fds))
		j->obstacle = "a descriptor could not be kept";
}

static struct kept take_at(struct journal *j, unsigned int at)
{
	struct kept taken = j->pending[at];

	j->num_pending--;
	memmove(&j->pending[at], &j->pending[at + 1],
		(j->num_pending - at) * sizeof(j->pending[0]));
	j->pending[j->num_pending] = (struct kept){ 0 };
	return taken;
}

struct kept journal_take_pending(struct journal *j)
{
	return take_at(j, 0);
}

void journal_answered(struct journal *j, const struct vhu_header *header)
{
	for (unsigned int i = 0; i < j->num_pending; i++) {
		struct kept k;

		if (le32_get(j->pending[i].header.request) != le32_get(header->request))
			continue;
		k = take_at(j, i);
		kept_clear(&k);
		return;
	}
}

/* --- rings --- */

void journal_stopped(struct journal *j, uint32_t index, uint32_t base)
{
	const struct vhu_vring_state state = { le32_make(index), le32_make(base) };
	const struct vhu_header header =
		vhu_header_make(VHU_SET_VRING_BASE, VHU_VERSION, sizeof(state));
	struct kept *ring = ring_of(j, index);

	if (!ring)
		return;
	/* It is told anew where its areas are, before it runs again. */
	kept_clear(&ring[JOURNAL_KICK]);
	kept_clear(&ring[JOURNAL_ADDR]);
	keep(&ring[JOURNAL_BASE], &header, &state, sizeof(state), NULL, 0);
}

const struct kept *journal_ring(
	const struct journal *j, uint32_t index, enum journal_ring_message which)
{
	const struct kept *ring = index < SHADOW_QUEUES_MAX ? j->rings[index] : NULL;

	return ring && ring[which].is_set ? &ring[which] : NULL;
}

bool journal_runs(const struct journal *j, uint32_t index)
{
	return journal_ring(j, index, JOURNAL_KICK) != NULL;
}

uint64_t journal_word(const struct journal *j, uint32_t request)
{
	const struct kept *k = &j->single[request];
	const struct vhu_u64 *word = (const struct vhu_u64 *)k->payload;

	return k->is_set && le32_get(k->header.size) >= sizeof(*word) ? le64_get(word->value) : 0;
}

void journal_clear(struct journal *j)
{
	for (unsigned int i = 0; i < VHU_REQUEST_END; i++)
		kept_clear(&j->single[i]);
	for (unsigned int i = 0; i < SHADOW_QUEUES_MAX; i++) {
		for (unsigned int n = 0; j->rings[i] && n < NUM_JOURNAL_RING; n++)
			kept_clear(&j->rings[i][n]);
		free(take_ptr(j->rings[i]));
	}
	drop_regions(j);
	free(j->regions);
	for (unsigned int i = 0; i < j->num_pending; i++)
		kept_clear(&j->pending[i]);
	*j = (struct journal){ 0 };
}
