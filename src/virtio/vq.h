/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue: the device's side of one ring (virtio 1.3, "Virtqueues").
 *
 * Who owns what. The main loop owns the configuration (struct vq_config, the descriptors, whether
 * it should run) and changes it only while the queue is idle. While it runs, the ring, the chains
 * and the counters belong to the loop that serves it, and to nobody else. The two meet in messages
 * (vq_start(), vq_stop()) and in what the owner publishes for inspection: vq_read_view() and the
 * in-flight table. Ordering of memory accesses lives in split.c, packed.c and
 * packed_recorded.c alone.
 *
 * A ring that cannot be walked breaks the queue: it stops popping, and the device is told on the
 * main loop (vdev_broken()).
 */
#ifndef VIRTIO_VQ_H
#define VIRTIO_VQ_H

#include <stdatomic.h>

#include "base/log.h"
#include "base/loop.h"
#include "mem/dirty.h"
#include "virtio/chain.h"
#include "virtio/vq_counters.h"

struct vdev;
struct vq_ledger;
struct vq_ops;

/* The largest ring (virtio 1.3, "Split Virtqueues": a Queue Size of at most 32768). */
#define VQ_SIZE_MAX 32768
/* Descriptors in one chain, the indirect table's included; at least this, else the ring's size. */
#define VQ_CHAIN_DESCS_MAX 1024
/* Chains served before other queues of the loop get a turn. */
#define VQ_BUDGET	64
#define VQ_REASON_BYTES 160

/* What a transport sets up while the queue is idle. Addresses are guest-physical. */
struct vq_config {
	uint32_t num; /* ring size in descriptors */
	uint64_t desc; /* descriptor area */
	uint64_t driver; /* driver area: the available ring; packed: driver event suppression */
	uint64_t device; /* device area: the used ring; packed: device event suppression */
	/*
	 * Where the device goes on: split: the next available index. Packed: positions in bits 0-14
	 * and the wrap counter in bit 15.
	 */
	uint16_t next_avail;
	uint16_t next_used; /* packed only; a split ring's used index is read from memory */
	bool has_base; /* they were said; else a packed ring starts with wrap counters 1 */
	/* Are writes into the ring told to the dirty log, and at what address its device area? */
	bool log_ring;
	uint64_t log_addr;
};

enum vq_state {
	VQ_IDLE, /* the configuration may change; nobody touches the ring */
	VQ_RUNNING, /* its loop serves it */
	VQ_STOPPING, /* no new chain is popped; waits for the last in flight */
};

/* What a device's serve() did with the chain. */
enum serve_verdict {
	SERVE_DONE, /* answered: c->written bytes were written */
	SERVE_HELD, /* the device keeps it and will call vq_complete() on this loop */
	SERVE_RETRY, /* nothing to serve it with now: it keeps its place until vq_resume() */
};

/* What became of the interrupt that was sent last. */
enum vq_call_fate {
	VQ_CALL_NONE, /* none was sent, or none on the descriptor at hand */
	VQ_CALL_SENT,
	VQ_CALL_FULL, /* a full call descriptor did not take it: one is pending there */
	VQ_CALL_LOST, /* the descriptor refused it: its other end is gone, say */
	VQ_CALL_HELD, /* it waits for more answers (vq_coalesce.h) */
};

/* What the owner publishes after each batch. A packed ring's indices are positions. */
struct vq_view {
	uint16_t last_avail_idx; /* next available index that the device takes */
	uint16_t shadow_avail_idx; /* the driver's index as the device last read it */
	uint16_t used_idx; /* next used index that the device writes */
	uint16_t signalled_used; /* used index at the last interrupt decision under EVENT_IDX */
	bool signalled_used_valid;
	bool packed; /* and then: */
	bool avail_wrap, used_wrap; /* the wrap counters of last_avail_idx and used_idx */
	bool has_last_head; /* a chain was taken since the queue started */
	uint16_t last_head; /* the position where the last one began */
	enum vq_call_fate last_call;
	uint32_t inuse; /* chains taken and not answered */
	bool notify_on; /* the driver is asked to kick for the next chain */
	bool polled; /* its loop looks by itself just now */
	bool dry; /* the next chain waits until the device has something to serve it with */
	bool broken; /* it pops and answers no more */
	/* CLOCK_MONOTONIC of the last batch that ...; 0: none. */
	uint64_t kick_ns; /* began with a kick */
	uint64_t pop_ns; /* took a chain */
	uint64_t complete_ns; /* answered one */
	uint64_t call_ns; /* called the driver */
	uint64_t progress_ns; /* popped or completed */
	struct vq_counters counters;
};

/* A request that the device has taken and not answered, as the owner published it. */
struct vq_inflight {
	uint16_t head;
	uint64_t since_ns;
	uint32_t readable_bytes, writable_bytes;
	uint8_t num_snap;
	uint8_t snap[CHAIN_SNAP_BYTES];
};

/* Indices and flags, times, counters. */
#define VQ_VIEW_COUNTERS_AT 6
#define VQ_VIEW_WORDS	    (VQ_VIEW_COUNTERS_AT + VQ_NUM_COUNTERS)

/* The split ring as its owner sees it; pointers into guest memory. */
struct vq_split {
	const void *desc;
	const void *avail;
	void *used;
	uint16_t mask;
};

/* The packed ring as its owner sees it; pointers into guest memory. */
struct vq_packed {
	void *desc;
	const void *driver; /* event suppression */
	void *device;
	uint32_t num_busy; /* descriptors taken and not yet shown as used */
	uint16_t first_flags; /* of the first answer that flush() will show */
	uint16_t last_head; /* where the chain taken last began; bit 15: none was taken */
};

/* The region in which the last buffer was found. */
struct vq_near {
	uint64_t end_gpa, bytes;
	uint8_t *end_host;
};

/* Chains that serve() took beside the one at hand, and where the ring stands without them. */
struct vq_more {
	struct chain *first, *last; /* in order, by order_next */
	uint32_t num;
	bool looking;
	bool asked; /* for a notification, beyond what was seen */
	uint16_t last_avail;
	uint32_t num_busy, next_again;
};

struct vq {
	/* Fixed at creation. */
	struct vdev *dev;
	unsigned int index;
	uint32_t num_default;

	/* The main loop's. */
	struct vq_config cfg;
	enum vq_state state;
	bool enabled; /* the transport lets it run; vdev.h says when it does */
	unsigned int num_holds; /* it rests while others run: vdev_hold_queue() */
	bool stopped_by_hand; /* one of the holds is an operator's */
	/*
	 * The last word on kick_fd, which the serving loop may not have heard yet; or the transport
	 * says that kicks come by vq_kick().
	 */
	bool has_kick;
	struct loop *loop; /* that serves it; set when the device is realized, and constant from
			      then on */
	void *opaque; /* the device's own, for the serving loop */
	struct gmem *mem; /* snapshot that the ring's pointers belong to; held while not idle */
	struct dirty_log *dirty; /* NULL: nothing is logged; held while not idle */
	int dirty_fd; /* the transport's. Signalled after a turn that marked; -1: none */
	int call_fd; /* owned. Interrupts; -1: the driver polls */
	int kick_fd; /* owned. Notifications; -1: none yet */
	int err_fd; /* owned. Signalled when the ring breaks; -1: none */
	int next_call_fd, next_kick_fd; /* owned; taken over when it has stopped. -2: no change */
	bool was_broken; /* a bad ring stopped it; stays until reset */
	struct vq_ledger *ledger; /* owned. NULL: no in-flight region (vq_inflight.h) */
	struct loop_post start_post, stop_post, stopped_post, broken_post;
	/* Notifications without descriptors. One that was posted and not run stands for all after.
	 */
	struct loop_post kick_post, call_post, extra_call_post;
	_Atomic bool kick_posted, call_posted, extra_call_posted;
	_Atomic bool kick_told; /* kick_post stands for a kick, and not for a look alone */
	_Atomic bool call_by_message; /* without call_fd, vdev_transport_ops.call is called */
	void (*stopped_fn)(struct vq *vq); /* vdev's: the queue is idle now. Main loop */
	void (*broken_fn)(struct vq *vq); /* vdev's: reason[] says why. Main loop */

	/* The serving loop's while running. */
	const struct vq_ops *ops;
	struct vq_split split; /* one of the two */
	struct vq_packed packed;
	struct vq_near near;
	uint32_t num;
	/* Split: free running indices. Packed: positions, with the wrap counter in bit 15. */
	uint16_t last_avail, shadow_avail, used_idx, signalled_used;
	bool signalled_used_valid, event_idx;
	bool in_order; /* answers go out in the order in which chains were taken */
	bool broken, stopping, dry;
	enum vq_call_fate last_call;
	bool polled; /* its loop looks by itself: no notification is asked for */
	struct loop_poll poll;
	bool dirty_ring; /* dirty, and the ring itself is logged too */
	bool dirty_marked; /* something since the last batch */
	uint32_t inuse;
	uint16_t flushed_used; /* used index that the driver can see */
	uint64_t batch_ns; /* when this batch began; 0: no clock read yet */
	uint64_t turn_ns; /* the kick's that led to this batch; 0: none */
	uint64_t clock_ns; /* the clock as it was read last for this queue; never goes back */
	uint64_t kick_ns, pop_ns, complete_ns, call_ns; /* as struct vq_view has them */
	/*
	 * Answered later than in the batch that took them, and not shown yet. Of the last ones,
	 * taken together, the time is not counted yet.
	 */
	uint32_t num_later, num_later_last;
	uint64_t later_since_ns;
	uint64_t told; /* count.completed as the driver was shown it */
	bool notify_on;
	bool rare_changed; /* one of the counters that are published only then */
	struct loop_fd kick;
	struct loop_work run_work; /* serve again soon */
	struct loop_work flush_work; /* publish what vq_complete() collected in this round */
	struct vq_counters count;
	struct chain *serving; /* the one that serve() has at hand */
	struct vq_more more;
	struct vq_coalescing *coalescing; /* the device's, vq_coalesce.h; NULL: no call waits */
	struct vq_copies *copies; /* the device's, vq_copies.h; NULL: it makes its own at once */
	struct chain *order_first, *order_last; /* in_order: those taken and not answered */
	char *slots; /* num chains, each with a few iovecs behind it */
	size_t slots_bytes;
	uint16_t *free_slots; /* a stack: the last one used is used next */
	uint32_t num_free_slots, num_touched_slots;
	struct iovec *large; /* VQ_LARGE_CHAINS blocks for chains of many pieces */
	size_t large_bytes;
	uint32_t large_free; /* a bit each */
	_Atomic uint16_t *inflight; /* by head: slot + 1, 0: not in flight */
	struct log_limit log;
	char reason[VQ_REASON_BYTES]; /* why it broke; written before broken_post */

	/* Published: odd while it changes. */
	_Atomic uint32_t view_seq;
	_Atomic uint64_t view[VQ_VIEW_WORDS];
	/* Packed: odd from a batch's first answer in the ring until the view tells of it. */
	_Atomic uint32_t used_seq;
	_Atomic uint64_t signal_fds; /* kick_fd, and call_fd in the high half */
	_Atomic bool in_turn; /* its loop serves it right now */
	_Atomic uint64_t latency[VQ_LATENCY_BUCKETS];
	_Atomic uint64_t events_end; /* in bytes, all that were ever recorded */
	struct vq_event_slot *events; /* VQ_EVENTS; from the first start on */
};

/*
 * Who serves a device's queues in the place of our loops: somebody else's back-end, driven by
 * vhost/. Such a queue runs and stops as any other does, but no loop of ours touches its ring; its
 * descriptors go where the ring goes. Main loop.
 */
struct vq_handover {
	/*
	 * The configuration was checked, memory and log are held until the queue comes back: hand
	 * it over, now or in a moment. What goes wrong is told by vdev_break().
	 */
	void (*start)(struct vq *vq);
	/* Take it back: vq_handed_back() follows, not from within this call. */
	void (*stop)(struct vq *vq);
	/* While it runs: vq->kick_fd or vq->call_fd is another one now. */
	void (*fd_changed)(struct vq *vq, bool is_kick);
};

/*
 * A ring's format: split.c, packed.c. All on the serving loop, but map and recover on the
 * main loop.
 */
struct vq_ops {
	/* Checks cfg and turns it into pointers of vq->mem; sets the indices. -errno with a
	 * sentence. */
	int (*map)(struct vq *vq, struct err *err);
	/*
	 * After map(), with an in-flight region: what it holds is served before what the ring has.
	 * -errno with a sentence. NULL: no region is kept.
	 */
	int (*recover)(struct vq *vq, struct err *err);
	/* The next chain into @c: 1; 0 where none waits; -errno where the ring broke (vq_break()
	 * done). */
	int (*peek)(struct vq *vq, struct chain **ret);
	/* The chain from peek() is the device's now. */
	void (*advance)(struct vq *vq, struct chain *c);
	/* Puts the chain into the used ring; the driver does not see it before flush(). */
	void (*push)(struct vq *vq, struct chain *c);
	/* Shows all pushed chains to the driver; true where it wants an interrupt. */
	bool (*flush)(struct vq *vq);
	/* Asks for, or forbids, notifications. After asking: true where a chain came meanwhile. */
	bool (*ask_notify)(struct vq *vq, bool on);
	/*
	 * Does a chain wait? One look, cheap, that changes nothing. NULL: the queue is not polled.
	 */
	bool (*waits)(const struct vq *vq);
	/* The area's size in bytes: descriptor, driver, device. */
	uint64_t (*area_bytes)(uint32_t num, bool event_idx, int area);
	bool packed;
	uint16_t first_used; /* used_idx of a ring that nothing was answered on */
	const struct vq_ops *recorded; /* the same with an in-flight region; NULL: none is kept */
};

extern const struct vq_ops vq_split_ops, vq_packed_ops;

/* The format that the driver's features choose. Main loop. */
const struct vq_ops *vq_format(const struct vdev *dev);

enum { VQ_AREA_DESC, VQ_AREA_DRIVER, VQ_AREA_DEVICE };

/* Main loop. @num_default: the ring's size unless the transport sets another. */
void vq_init(struct vq *vq, struct vdev *dev, unsigned int index, uint32_t num_default,
	struct loop *loop);
/* The queue is idle. Closes its descriptors. Idempotent. */
void vq_deinit(struct vq *vq);
/* The queue is idle: back to the defaults, descriptors closed, counters kept. */
void vq_reset_config(struct vq *vq);

/*
 * Main loop. A ring's size and place are frozen while the queue is enabled, whether it runs or is
 * held (virtio 1.3, "Basic Facilities of a Virtio Device", and each transport's "Virtqueue
 * Configuration"): -EBUSY with a sentence for any other than it has. Whether they are legal is
 * judged at start, when the format is known.
 */
int vq_set_num(struct vq *vq, uint32_t num, struct err *err);
int vq_set_areas(struct vq *vq, uint64_t desc, uint64_t driver, uint64_t device, struct err *err);

/*
 * Main loop, idle queue: checks the configuration against @mem, takes the ring and lets its loop
 * serve it, beginning with a look at the ring. -errno with a sentence where the configuration is
 * not legal (size 0 or above VQ_SIZE_MAX or, split, no power of two; misaligned areas; areas
 * outside memory; packed, positions that cannot be).
 */
int vq_start(struct vq *vq, struct gmem *mem, struct err *err);
/*
 * Main loop, running queue: pops nothing more. When what was in flight is answered,
 * cfg.next_avail and next_used are where to go on, the state is VQ_IDLE and stopped_fn() is called.
 */
void vq_stop(struct vq *vq);
/* Main loop, stopping queue that was handed over: nobody touches its ring now, and it goes on there
 * (as cfg.next_avail and cfg.next_used have it). */
void vq_handed_back(struct vq *vq, uint16_t next_avail, uint16_t next_used);

/*
 * Main loop, idle queue: from the next start on the queue's part of the in-flight region is what
 * lies at @offset of @region (a reference is taken): vq_inflight_bytes() for @entries descriptors,
 * aligned to 8 bytes, inside it. NULL: none. A reset marks the part as never used and keeps it.
 */
void vq_set_inflight(struct vq *vq, struct gmem_region *region, uint64_t offset, uint32_t entries);
/* Bytes of one queue's part for rings of up to @entries. */
uint64_t vq_inflight_bytes(bool packed, uint32_t entries);

/*
 * Main loop, any state. The descriptor is consumed (*fd becomes -1), made non-blocking; the old
 * one is closed once its loop has let go of it. -1 means none.
 */
void vq_set_call_fd(struct vq *vq, int *fd);
void vq_set_kick_fd(struct vq *vq, int *fd);
void vq_set_err_fd(struct vq *vq, int *fd);
/*
 * Main loop, any state: the driver kicked, and its transport heard it. A queue that does not run
 * looks at its ring when it starts.
 */
void vq_kick(struct vq *vq);
/*
 * Main loop, any state: what the device would say to the chain that waits has changed; its loop
 * shows it to serve() once more. No kick is counted.
 */
void vq_look_again(struct vq *vq);
/*
 * Main loop, any state: the driver is called, whether there is a reason or not. A queue that does
 * not run calls nobody.
 */
void vq_call(struct vq *vq);
/*
 * Main loop, any state: interrupts of a queue without a call descriptor go to the transport, or
 * nowhere.
 */
void vq_set_call_by_message(struct vq *vq, bool on);

/*
 * Serving loop, from within serve(), of a queue whose device holds no chain: one more for the same
 * answer, behind those at hand (merged receive buffers of a network card). They share the verdict:
 * SERVE_DONE answers all at once, each with what was written to it; SERVE_RETRY gives all back.
 * 1 and *ret. 0: none waits; with SERVE_RETRY the queue then rests until its driver notifies.
 * -ENOBUFS: so many at once are never to be had. -errno where the ring broke: SERVE_RETRY.
 */
int vq_another(struct vq *vq, struct chain **ret);
/* Serving loop, for devices. @c was held; it is answered with c->written. The device lets go of it.
 */
void vq_complete(struct vq *vq, struct chain *c);
/*
 * Serving loop: gives the guest's whole pages within [gpa, gpa + len) back to the host (gmem.h,
 * gmem_discard()), and marks what reads differently now.
 */
int vq_discard(struct vq *vq, uint64_t gpa, uint64_t len);
/* Serving loop: what made serve() say SERVE_RETRY has passed. Harmless otherwise. */
void vq_resume(struct vq *vq);
/*
 * Serving loop, for devices: a mark behind all that the driver has made available by now. After
 * turns of the queue, which vq_resume() gives it, vq_has_taken() says whether all of it was shown
 * to serve(); also where the queue takes no more. Where vq_is_dry() no turn helps before one of the
 * chains in flight is answered.
 */
static inline uint64_t vq_mark_available(const struct vq *vq)
{
	return vq->count.popped + vq->num;
}
static inline bool vq_has_taken(const struct vq *vq, uint64_t mark)
{
	return vq->broken || vq->stopping || vq->count.popped >= mark ||
	       (!vq->dry && !vq->run_work.queued);
}
static inline bool vq_is_dry(const struct vq *vq)
{
	return vq->dry;
}
/* Serving loop, for devices: a request is answered with an error status. */
void vq_count_error(struct vq *vq);
/*
 * Serving loop: the ring, or what the device found in it, cannot be gone on with (virtio 1.3,
 * "Device Status Field": DEVICE_NEEDS_RESET). The sentence names the queue's fault and values.
 */
void vq_break(struct vq *vq, const char *fmt, ...) _printf_(2, 3);

/*
 * Main loop, any state: the last published view. False where it stayed torn over many tries: then
 * @ret is a mixture and must be marked.
 */
bool vq_read_view(struct vq *vq, struct vq_view *ret);
/* Main loop, any state. Each bucket is right by itself; together they may be of several moments. */
void vq_read_latency(struct vq *vq, struct vq_latency *ret);
/*
 * Main loop, any state: the last @max events, oldest first; returns how many. Those that were
 * overwritten meanwhile are left out, at the beginning.
 */
size_t vq_read_events(struct vq *vq, size_t max, struct vq_event *ret);
/* Main loop: is the chain of this head in flight, and what is it? Never blocks. */
bool vq_read_inflight(struct vq *vq, uint16_t head, struct vq_inflight *ret);
/*
 * Main loop, any state: kick_fd and call_fd as the owner last published them, for a look at what
 * they are. It closes an old one only after it has published the new one: who finds the same two
 * behind the look has looked at the right ones.
 */
void vq_read_signal_fds(struct vq *vq, int *ret_kick, int *ret_call);
/* Main loop: does its loop serve the queue right now? */
bool vq_in_turn(struct vq *vq);
/*
 * Main loop, packed: counts up with each batch of answers, and is odd while one is in the ring that
 * the view does not know of. Read before and after a look at the ring, even and equal, it says that
 * the device wrote no answer meanwhile.
 */
uint32_t vq_read_used_seq(struct vq *vq);

#endif
