/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-rng. A request is a writable buffer; it is answered with as many bytes as the source has
 * now, at least one. A request without room for a byte is answered with nothing.
 */
#include "devices/rng.h"

#include <errno.h>

#include "backends/entropy.h"

#define RNG_QUEUE_SIZE 64

struct rng {
	struct vdev dev;
	char *filename;
	struct entropy *entropy;
	struct log_limit log;
};

static struct rng *rng_of(struct vdev *dev)
{
	return container_of(dev, struct rng, dev);
}

static int rng_realize(struct vdev *dev, struct err *err)
{
	struct rng *rng = rng_of(dev);
	int r = entropy_open(rng->filename, &rng->entropy, err);

	if (r < 0)
		return r;
	vdev_set_queues(dev, 1, RNG_QUEUE_SIZE);
	return 0;
}

static void rng_unrealize(struct vdev *dev)
{
	entropy_free(rng_of(dev)->entropy);
	rng_of(dev)->entropy = NULL;
}

static void rng_ready(void *opaque)
{
	vq_resume(opaque);
}

static int rng_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	return entropy_attach(rng_of(dev)->entropy, vq->loop, rng_ready, vq, err);
}

static void rng_queue_stop(struct vdev *dev, struct vq *vq)
{
	(void)vq;
	entropy_detach(rng_of(dev)->entropy);
}

static enum serve_verdict rng_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct rng *rng = rng_of(dev);
	ssize_t n;

	(void)vq;
	if (!c->writable.bytes)
		return SERVE_DONE;
	n = entropy_read(rng->entropy, c->writable.iov, (unsigned int)c->writable.num_iov);
	if (n == -EAGAIN)
		return SERVE_RETRY;
	if (n < 0)
		log_limited(&rng->log, LOG_LEVEL_WARN,
			"%s: the entropy source gives no bytes: error %d; the request is answered "
			"empty",
			vdev_label(dev), (int)-n);
	else
		chain_wrote(c, (uint64_t)n);
	return SERVE_DONE;
}

static const struct option_spec rng_options[] = {
	{ "filename", OPTION_STRING, offsetof(struct rng, filename), NULL, 0, 0, NULL,
		"where the bytes come from (a path or fd=N); the kernel's generator if not given" },
	{ NULL },
};

const struct vdev_class virtio_rng_class = {
	.name = "virtio-rng",
	.description = "random bytes",
	.virtio_id = 4,
	.instance_bytes = sizeof(struct rng),
	.options = rng_options,
	.realize = rng_realize,
	.unrealize = rng_unrealize,
	.serve = rng_serve,
	.queue_start = rng_queue_start,
	.queue_stop = rng_queue_stop,
};
