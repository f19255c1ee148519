/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-balloon. Pages that the driver puts into the balloon, reports or hints as free are
 * discarded: the guest's memory shrinks on the host. Deflating costs nothing here: a page is there
 * again as soon as it is touched.
 *
 * Statistics come in a buffer that the driver gets back when news are wanted; until then it keeps
 * its place in the ring, so that a stop never waits for it. One turn looks at a bounded number of
 * pages, however long the request. Where the driver wants freed pages to read as its poison, they
 * are left as they are.
 */
#include "devices/balloon.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/le.h"
#include "describe/describe.h"

#define BALLOON_QUEUE_SIZE 128
#define BALLOON_ID	   5
/* Pages of one request before other queues have their turn. */
#define BALLOON_BUDGET 1024
/* Statistics of one buffer that are looked at: what comes after them nobody knows. */
#define BALLOON_STATS_MAX 64
#define BALLOON_SPINS	  64

/* virtio 1.3, "Traditional Memory Balloon Device", feature bits */
#define VIRTIO_BALLOON_F_STATS_VQ	1
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM 2
#define VIRTIO_BALLOON_F_FREE_PAGE_HINT 3
#define VIRTIO_BALLOON_F_PAGE_POISON	4
#define VIRTIO_BALLOON_F_REPORTING	5

/* virtio 1.3, "Free Page Hinting": what free_page_hint_cmd_id says; above these, a round's number
 */
enum { HINT_STOP, HINT_DONE, HINT_FIRST };

enum { BALLOON_NUM_QUEUES = 5 };

struct balloon_config {
	le32 num_pages, actual;
	le32 free_page_hint_cmd_id;
	le32 poison_val;
};

struct balloon_stat {
	le16 tag;
	le64 value;
} __attribute__((packed));

struct balloon {
	struct vdev dev;
	/* Options. */
	bool deflate_on_oom, free_page_hint, page_poison, reporting;

	/* The main loop's. */
	uint32_t num_pages; /* that the balloon shall have */
	uint32_t actual; /* that it has, as the driver says */
	uint32_t hint_round; /* the last one that began */
	uint32_t interval_s;
	struct loop_timer stats_timer;
	struct loop_post hints_done;

	_Atomic uint32_t hint_cmd; /* what the configuration says */
	_Atomic uint32_t poison;
	_Atomic bool stats_due, hints_posted;

	/* The queues' loops': */
	uint64_t looked_at[BALLOON_NUM_QUEUES]; /* bytes of the next chain that are done with */
	bool hinting; /* the driver has begun the round that the configuration names */
	struct log_limit limit;

	_Atomic uint32_t stats_seq; /* odd while they change */
	_Atomic uint64_t stats[BALLOON_NUM_STATS], stats_updated_s;
};

/* What a queue is for; which has which number depends on the features. */
struct balloon_role {
	const char *name;
	enum serve_verdict (*serve)(struct balloon *b, struct vq *vq, struct chain *c);
};

static struct balloon *balloon_of(const struct vdev *dev)
{
	return container_of(dev, struct balloon, dev);
}

static bool has(const struct balloon *b, unsigned int feature)
{
	return virtio_features_has(&b->dev.driver_features, feature);
}

/* --- pages --- */

static void complain(struct balloon *b, const char *what, uint64_t gpa, int r)
{
	if (r < 0)
		log_limited(&b->limit, LOG_LEVEL_WARN,
			"%s: memory that was %s (at 0x%" PRIx64 ") cannot be given back: %s",
			vdev_label(&b->dev), what, gpa,
			r == -EFAULT ? "it is none of the guest's" : strerror(-r));
}

/* Pages that lie one after the other, in whatever order they are named. */
struct page_run {
	uint64_t first, num;
};

static void discard_run(struct balloon *b, struct vq *vq, const struct page_run *run)
{
	uint64_t gpa = run->first * BALLOON_PAGE_BYTES;

	if (run->num)
		complain(b, "put into the balloon", gpa,
			vq_discard(vq, gpa, run->num * BALLOON_PAGE_BYTES));
}

static void add_page(struct balloon *b, struct vq *vq, struct page_run *run, uint64_t pfn)
{
	if (run->num && pfn == run->first + run->num) {
		run->num++;
		return;
	}
	if (run->num && pfn + 1 == run->first) {
		run->first--;
		run->num++;
		return;
	}
	discard_run(b, vq, run);
	*run = (struct page_run){ pfn, 1 };
}

static enum serve_verdict serve_inflate(struct balloon *b, struct vq *vq, struct chain *c)
{
	uint64_t *done = &b->looked_at[vq->index];
	struct page_run run = { 0 };
	unsigned int n;
	le32 pfn;

	if (!chain_skip(c, *done))
		*done = 0;
	for (n = 0; n < BALLOON_BUDGET && chain_take(c, &pfn, sizeof(pfn)); n++)
		add_page(b, vq, &run, le32_get(pfn));
	discard_run(b, vq, &run);
	if (c->readable.bytes < sizeof(pfn)) {
		*done = 0;
		return SERVE_DONE;
	}
	*done += n * sizeof(pfn);
	vq_resume(vq);
	return SERVE_RETRY;
}

static enum serve_verdict serve_deflate(struct balloon *b, struct vq *vq, struct chain *c)
{
	(void)b;
	(void)vq;
	(void)c;
	return SERVE_DONE;
}

static void discard_free(struct balloon *b, struct chain *c, const char *what)
{
	if (!c->writable.bytes || atomic_load(&b->poison))
		return;
	complain(b, what, 0, chain_discard(c));
}

static enum serve_verdict serve_reporting(struct balloon *b, struct vq *vq, struct chain *c)
{
	(void)vq;
	discard_free(b, c, "reported as free");
	return SERVE_DONE;
}

/* --- hints --- */

static void on_hints_done(struct loop_post *post)
{
	struct balloon *b = container_of(post, struct balloon, hints_done);

	atomic_store(&b->hints_posted, false);
	/* A reset, and even a round after it, may have come in between. */
	if (atomic_load(&b->hint_cmd) != b->hint_round)
		return;
	atomic_store(&b->hint_cmd, HINT_DONE);
	vdev_config_changed(&b->dev);
}

static enum serve_verdict serve_hints(struct balloon *b, struct vq *vq, struct chain *c)
{
	le32 id;

	if (!chain_take(c, &id, sizeof(id))) {
		if (b->hinting)
			discard_free(b, c, "hinted as free");
		return SERVE_DONE;
	}
	if (le32_get(id) >= HINT_FIRST) {
		b->hinting = le32_get(id) == atomic_load(&b->hint_cmd);
	} else if (b->hinting) {
		b->hinting = false;
		if (!atomic_exchange(&b->hints_posted, true))
			loop_post(vq->dev->main_loop, &b->hints_done);
	}
	return SERVE_DONE;
}

int balloon_reclaim_free(struct vdev *dev, struct err *err)
{
	struct balloon *b = balloon_of(dev);

	if (!(dev->status & VIRTIO_STATUS_DRIVER_OK) || !has(b, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		return err_set(err, -ENODEV,
			"%s: no driver that gives hints about free pages is there; the device has "
			"to have free-page-hint=on, and the guest to support it",
			vdev_label(dev));
	if (atomic_load(&b->hint_cmd) >= HINT_FIRST)
		return err_set(err, -EBUSY,
			"%s: the driver is about to say which pages are free, and has not ended",
			vdev_label(dev));
	if (++b->hint_round < HINT_FIRST)
		b->hint_round = HINT_FIRST;
	atomic_store(&b->hint_cmd, b->hint_round);
	vdev_config_changed(dev);
	return 0;
}

/* --- statistics --- */

static void store_stats(struct balloon *b, const uint64_t *value)
{
	uint32_t seq = atomic_load_explicit(&b->stats_seq, memory_order_relaxed);

	atomic_store_explicit(&b->stats_seq, seq + 1, memory_order_relaxed);
	/* The odd number comes before what changes; pairs with the reader's fence. */
	atomic_thread_fence(memory_order_release);
	for (size_t i = 0; i < BALLOON_NUM_STATS; i++)
		atomic_store_explicit(&b->stats[i], value[i], memory_order_relaxed);
	atomic_store_explicit(&b->stats_updated_s, (uint64_t)time(NULL), memory_order_relaxed);
	atomic_store_explicit(&b->stats_seq, seq + 2, memory_order_release);
}

bool balloon_read_stats(struct vdev *dev, struct balloon_stats *ret)
{
	struct balloon *b = balloon_of(dev);

	for (int spin = 0; spin < BALLOON_SPINS; spin++) {
		uint32_t seq = atomic_load_explicit(&b->stats_seq, memory_order_acquire);

		for (size_t i = 0; i < BALLOON_NUM_STATS; i++)
			ret->value[i] = atomic_load_explicit(&b->stats[i], memory_order_relaxed);
		ret->updated_s = atomic_load_explicit(&b->stats_updated_s, memory_order_relaxed);
		/* What was read comes before the second look; pairs with the writer's fence. */
		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && seq == atomic_load_explicit(&b->stats_seq, memory_order_relaxed))
			return true;
	}
	return false;
}

static enum serve_verdict serve_stats(struct balloon *b, struct vq *vq, struct chain *c)
{
	uint64_t value[BALLOON_NUM_STATS];
	struct balloon_stat stat;

	(void)vq;
	if (atomic_exchange(&b->stats_due, false))
		return SERVE_DONE;
	memset(value, 0xff, sizeof(value));
	for (int i = 0; i < BALLOON_STATS_MAX && chain_take(c, &stat, sizeof(stat)); i++)
		if (le16_get(stat.tag) < BALLOON_NUM_STATS)
			value[le16_get(stat.tag)] = le64_get(stat.value);
	store_stats(b, value);
	return SERVE_RETRY;
}

static const struct balloon_role roles[] = {
	{ "inflateq", serve_inflate },
	{ "deflateq", serve_deflate },
	{ "statsq", serve_stats },
	{ "free_page_vq", serve_hints },
	{ "reporting_vq", serve_reporting },
};

static const struct balloon_role *role_of(const struct vdev *dev, unsigned int index)
{
	char name[DESCRIBE_ROLE_BYTES];

	describe_queue_role(describe_type_by_id(BALLOON_ID), index, dev->num_queues,
		dev->driver_features.word, name);
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		if (!strcmp(roles[i].name, name))
			return &roles[i];
	return NULL;
}

static void arm_stats_timer(struct balloon *b)
{
	if (!b->interval_s)
		loop_timer_cancel(&b->stats_timer);
	else
		loop_timer_set(b->dev.main_loop, &b->stats_timer,
			now_ns() + b->interval_s * 1000 * NSEC_PER_MSEC);
}

/* The buffer goes back; the driver fills it anew. */
static void on_stats_timer(struct loop_timer *timer)
{
	struct balloon *b = container_of(timer, struct balloon, stats_timer);

	for (unsigned int i = 0; i < b->dev.num_queues; i++) {
		const struct balloon_role *role = role_of(&b->dev, i);

		if (!role || role->serve != serve_stats || b->dev.queues[i].state != VQ_RUNNING)
			continue;
		atomic_store(&b->stats_due, true);
		vq_look_again(&b->dev.queues[i]);
		break;
	}
	arm_stats_timer(b);
}

void balloon_set_polling(struct vdev *dev, uint32_t interval_s)
{
	balloon_of(dev)->interval_s = interval_s;
	arm_stats_timer(balloon_of(dev));
}

uint32_t balloon_polling(const struct vdev *dev)
{
	return balloon_of(dev)->interval_s;
}

/* --- size --- */

uint64_t balloon_actual_bytes(const struct vdev *dev)
{
	uint64_t all = vdev_mem_bytes(dev);
	uint64_t balloon = (uint64_t)balloon_of(dev)->actual * BALLOON_PAGE_BYTES;

	if (!(dev->status & VIRTIO_STATUS_DRIVER_OK))
		return 0;
	/* The driver's number is its own. */
	return balloon < all ? all - balloon : 0;
}

int balloon_set_target(struct vdev *dev, uint64_t bytes, struct err *err)
{
	struct balloon *b = balloon_of(dev);
	uint64_t all = vdev_mem_bytes(dev), pages;

	if (!all || !(dev->status & VIRTIO_STATUS_DRIVER_OK))
		return err_set(
			err, -ENODEV, "%s: no driver is there that could follow", vdev_label(dev));
	pages = bytes < all ? (all - bytes) / BALLOON_PAGE_BYTES : 0;
	b->num_pages = (uint32_t)MIN(pages, UINT32_MAX);
	vdev_config_changed(dev);
	return 0;
}

/* --- the device --- */

static void balloon_get_config(struct vdev *dev, void *config)
{
	const struct balloon *b = balloon_of(dev);
	struct balloon_config *c = config;

	c->num_pages = le32_make(b->num_pages);
	c->actual = le32_make(b->actual);
	c->free_page_hint_cmd_id = le32_make(atomic_load(&b->hint_cmd));
	c->poison_val = le32_make(atomic_load(&b->poison));
}

static void balloon_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len)
{
	struct balloon *b = balloon_of(dev);
	struct balloon_config c;

	balloon_get_config(dev, &c);
	memcpy((uint8_t *)&c + offset, bytes, len);
	/* The other two are the device's to write. */
	b->actual = le32_get(c.actual);
	if (has(b, VIRTIO_BALLOON_F_PAGE_POISON))
		atomic_store(&b->poison, le32_get(c.poison_val));
}

static int balloon_realize(struct vdev *dev, struct err *err)
{
	struct balloon *b = balloon_of(dev);
	struct virtio_features *f = &dev->device_features;

	(void)err;
	b->stats_timer.fn = on_stats_timer;
	b->hints_done.fn = on_hints_done;
	for (size_t i = 0; i < BALLOON_NUM_STATS; i++)
		atomic_init(&b->stats[i], UINT64_MAX);
	virtio_features_set(f, VIRTIO_BALLOON_F_STATS_VQ, true);
	virtio_features_set(f, VIRTIO_BALLOON_F_DEFLATE_ON_OOM, b->deflate_on_oom);
	virtio_features_set(f, VIRTIO_BALLOON_F_FREE_PAGE_HINT, b->free_page_hint);
	virtio_features_set(f, VIRTIO_BALLOON_F_PAGE_POISON, b->page_poison);
	virtio_features_set(f, VIRTIO_BALLOON_F_REPORTING, b->reporting);
	/* Some drivers leave out the numbers of queues that are not there, others do not. */
	vdev_set_queues(dev, BALLOON_NUM_QUEUES, BALLOON_QUEUE_SIZE);
	return 0;
}

static void balloon_unrealize(struct vdev *dev)
{
	loop_timer_cancel(&balloon_of(dev)->stats_timer);
}

static void balloon_reset(struct vdev *dev)
{
	struct balloon *b = balloon_of(dev);

	b->actual = 0;
	memset(b->looked_at, 0, sizeof(b->looked_at));
	b->hinting = false;
	atomic_store(&b->hint_cmd, HINT_STOP);
	atomic_store(&b->poison, 0);
	atomic_store(&b->stats_due, false);
}

static int balloon_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	(void)err;
	vq->opaque = (void *)role_of(dev, vq->index);
	return 0;
}

static enum serve_verdict balloon_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	const struct balloon_role *role = vq->opaque;

	return role ? role->serve(balloon_of(dev), vq, c) : SERVE_DONE;
}

static const struct option_spec balloon_options[] = {
	{ "deflate-on-oom", OPTION_BOOL, offsetof(struct balloon, deflate_on_oom), "off", 0, 0,
		NULL, "the guest may take pages back before it runs out of memory" },
	{ "free-page-reporting", OPTION_BOOL, offsetof(struct balloon, reporting), "off", 0, 0,
		NULL, "the guest reports pages as they become free, and the host takes them" },
	{ "free-page-hint", OPTION_BOOL, offsetof(struct balloon, free_page_hint), "off", 0, 0,
		NULL, "the guest can be asked which pages are free (balloon-reclaim-free)" },
	{ "page-poison", OPTION_BOOL, offsetof(struct balloon, page_poison), "on", 0, 0, NULL,
		"the guest may say what freed pages have to read as" },
	{ NULL },
};

const struct vdev_class virtio_balloon_class = {
	.name = "virtio-balloon",
	.description = "memory that the guest does without, and statistics of the rest",
	.virtio_id = BALLOON_ID,
	.instance_bytes = sizeof(struct balloon),
	.config_bytes = sizeof(struct balloon_config),
	.options = balloon_options,
	.realize = balloon_realize,
	.unrealize = balloon_unrealize,
	.get_config = balloon_get_config,
	.set_config = balloon_set_config,
	.serve = balloon_serve,
	.queue_start = balloon_queue_start,
	.reset = balloon_reset,
};
