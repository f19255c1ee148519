/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region: what a queue leaves behind for whoever serves it after us, in memory that
 * the front-end keeps (vhost-user, "Inflight I/O tracking"). Here are its layout and how it is
 * read at a start; what is written while the queue runs, and in which order, is in split.c and
 * packed_recorded.c.
 *
 * The region is shared with the peer. While the queue runs our own memory is the truth and the
 * region is only written. It is believed at a start, and then each value is loaded once and
 * checked.
 */
#ifndef VIRTIO_VQ_INFLIGHT_H
#define VIRTIO_VQ_INFLIGHT_H

#include "base/le.h"
#include "virtio/vq.h"

/* A queue's part of the region begins at a multiple of it, and is as long as one. */
#define INFLIGHT_ALIGN 64
/* What `version` says of a region that is in use; 0: never used. */
#define INFLIGHT_VERSION 1

/* Of a head; the others are unused. */
struct inflight_split_desc {
	uint8_t inflight; /* 1: taken and not shown as used */
	uint8_t padding[5];
	le16 next; /* the head that was answered before this one */
	le64 counter; /* rises with every request taken */
};

struct inflight_split {
	le64 features; /* 0 */
	le16 version;
	le16 desc_num; /* entries behind it */
	le16 last_batch_head; /* the head that was answered last */
	le16 used_idx; /* the used index up to which the marks are right */
	struct inflight_split_desc desc[];
};

/* A descriptor of the ring, kept because the ring's own is overwritten by answers. */
struct inflight_packed_desc {
	uint8_t inflight; /* of a chain's first entry, as are last, num and counter */
	uint8_t padding;
	le16 next; /* the chain's next entry; of a free one: the next free one */
	le16 last; /* the chain's last entry */
	le16 num; /* entries of the chain */
	le64 counter;
	le16 id;
	le16 flags;
	le32 len;
	le64 addr;
};

struct inflight_packed {
	le64 features;
	le16 version;
	le16 desc_num;
	le16 free_head, old_free_head; /* of the list of free entries */
	union {
		struct {
			/* The ring's position of the next answer, and the round's wrap counter. */
			le16 used_idx, old_used_idx;
			uint8_t used_wrap_counter, old_used_wrap_counter;
			uint8_t padding[2];
		};
		le64 places; /* position and counter in one store: half of a place is none */
	};
	uint8_t padding_end[8];
	struct inflight_packed_desc desc[];
};

_Static_assert(sizeof(struct inflight_split_desc) == 16 && sizeof(struct inflight_split) == 16 &&
		       sizeof(struct inflight_packed_desc) == 32 &&
		       sizeof(struct inflight_packed) == 32,
	"as the protocol has it");

/* Packed: an entry as we gave it out or found it; the region has a copy that nobody believes. */
struct vq_entry {
	uint16_t next; /* of its chain, or of the free ones; as many as there are entries: none */
	uint16_t last, num, id; /* of a chain's first entry */
};

/* Both the draft and what counts; places as in struct vq. One store, in order with all before. */
static inline void inflight_put_places(struct inflight_packed *part, uint16_t used, uint16_t old)
{
	uint64_t v = (uint64_t)(used & 0x7fff) | (uint64_t)(old & 0x7fff) << 16 |
		     (uint64_t)(used >> 15) << 32 | (uint64_t)(old >> 15) << 40;

	__atomic_store_n(&part->places.raw, htole64(v), __ATOMIC_RELEASE);
}

/* A request of whoever served the queue before us. */
struct vq_again {
	uint64_t counter;
	uint16_t entry; /* split: its head; packed: its first entry */
};

/* What a queue with a region keeps for itself. Main loop's while idle, else the serving loop's. */
struct vq_ledger {
	struct gmem_region *region; /* a reference */
	uint64_t offset; /* of the queue's part */
	uint32_t entries;
	void *base; /* the part: struct inflight_split or inflight_packed */
	uint64_t counter; /* the next request's */
	/* Heads, or packed first entries, that were answered and not shown yet. */
	uint16_t *batch;
	uint32_t num_batch;
	uint16_t batch_head; /* split: as last_batch_head */
	struct vq_entry *links; /* packed */
	uint16_t free_head; /* packed */
	uint16_t *entry_of; /* packed: by chain slot, its first entry */
	/* To be served before what the ring has, in this order. */
	struct vq_again *again;
	uint32_t num_again, next_again;
};

/* Does the queue still have requests of its predecessor to serve? */
static inline bool vq_ledger_pending(const struct vq *vq)
{
	return vq->ledger && vq->ledger->next_again < vq->ledger->num_again;
}

/* Is the memory behind the region gone? Cheap. */
bool vq_ledger_lost(const struct vq *vq);
/* The queue, idle, was reset: nothing that the region says holds any more. */
void vq_ledger_forget(struct vq *vq);

/*
 * Reads a split queue's part; the ring has @num descriptors and the used index @used_idx. 1: what
 * the region holds is in ledger->again by rising counter, and marks that were stale are cleared; 0:
 * the region was never used, and is set up; -errno with a sentence. Main loop.
 */
int vq_recover_split(struct vq *vq, uint16_t used_idx, struct err *err);
/*
 * Likewise a packed queue's. @was_shown: does the ring say that an answer stands at this place? 1:
 * vq->used_idx is the place of the next answer, and *ret_busy the places of what is in flight.
 */
int vq_recover_packed(struct vq *vq, bool (*was_shown)(const struct vq *vq, uint16_t place),
	uint32_t *ret_busy, struct err *err);

#endif
