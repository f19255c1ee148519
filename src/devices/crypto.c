/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-crypto: the class, its configuration and what its queues stand on. Sessions belong to the
 * device and end with a reset; a loop's channel to the back end, and the memory that requests are
 * copied to, are shared by the queues of that loop.
 */
#include "devices/crypto.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/le.h"
#include "devices/crypto_int.h"

#define CRYPTO_QUEUE_SIZE 256
#define CRYPTO_QUEUES_MAX 64

/* virtio 1.4, "Device configuration layout" of the crypto device */
#define VIRTIO_CRYPTO_S_HW_READY 1

struct crypto_config {
	le32 status, max_dataqueues, crypto_services;
	le32 cipher_algo_l, cipher_algo_h;
	le32 hash_algo;
	le32 mac_algo_l, mac_algo_h;
	le32 aead_algo;
	le32 max_cipher_key_len, max_auth_key_len;
	le32 akcipher_algo;
	le64 max_size;
};

_Static_assert(sizeof(struct crypto_config) == 56, "as in the specification");

/* --- life --- */

static int crypto_realize(struct vdev *dev, struct err *err)
{
	struct vcrypto *v = vcrypto_of(dev);
	struct virtio_features *f = &dev->device_features;
	unsigned int i;
	int r = crypto_load(err);

	if (r < 0)
		return r;
	crypto_algos(&v->algos);
	v->sessions = crypto_sessions_new(v->max_sessions);
	v->queues = xnew_n(struct vcrypto_queue, v->num_data_queues + 1);
	virtio_features_set(f, VIRTIO_CRYPTO_F_REVISION_1, true);
	for (i = 0; i < CRYPTO_NUM_SERVICES; i++)
		virtio_features_set(f, VIRTIO_CRYPTO_F_STATELESS_MODE(i),
			v->stateless && v->algos.services >> i & 1);
	vdev_set_queues(dev, v->num_data_queues + 1, CRYPTO_QUEUE_SIZE);
	return 0;
}

static void crypto_unrealize(struct vdev *dev)
{
	struct vcrypto *v = vcrypto_of(dev);

	crypto_sessions_free(v->sessions);
	free(v->queues);
	v->sessions = NULL;
	v->queues = NULL;
}

static void crypto_reset(struct vdev *dev)
{
	crypto_sessions_close_all(vcrypto_of(dev)->sessions);
}

/* What another queue that the same loop serves has already, or NULL. */
static struct vcrypto_worker *find_worker(struct vcrypto *v, const struct vq *vq)
{
	unsigned int i;

	/* Only this loop touches what belongs to the queues that it serves. */
	for (i = 0; i < v->dev.num_queues; i++)
		if (i != vq->index && v->dev.queues[i].loop == vq->loop && v->queues[i].worker)
			return v->queues[i].worker;
	return NULL;
}

static int crypto_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	struct vcrypto *v = vcrypto_of(dev);
	struct vcrypto_worker *worker = find_worker(v, vq);
	int r;

	if (!worker) {
		worker = xnew(struct vcrypto_worker);
		r = crypto_chan_open(&worker->chan, err);
		if (r < 0) {
			free(worker);
			return r;
		}
		worker->room = xnew_n(uint8_t, (size_t)v->max_size);
	}
	v->queues[vq->index].worker = worker;
	vcrypto_start_data(v, vq);
	return 0;
}

static void crypto_queue_stop(struct vdev *dev, struct vq *vq)
{
	struct vcrypto *v = vcrypto_of(dev);
	struct vcrypto_queue *q = &v->queues[vq->index];

	if (!q->worker)
		return;
	vcrypto_stop_data(v, vq);
	if (!find_worker(v, vq)) {
		crypto_chan_close(q->worker->chan);
		free(q->worker->room);
		free(q->worker);
	}
	q->worker = NULL;
}

struct crypto_sessions *virtio_crypto_sessions(struct vdev *dev)
{
	return vcrypto_of(dev)->sessions;
}

/* --- the rest of the class --- */

static void crypto_get_config(struct vdev *dev, void *config)
{
	const struct vcrypto *v = vcrypto_of(dev);
	struct crypto_config *c = config;

	c->status = le32_make(VIRTIO_CRYPTO_S_HW_READY);
	c->max_dataqueues = le32_make(v->num_data_queues);
	c->crypto_services = le32_make(v->algos.services);
	c->cipher_algo_l = le32_make((uint32_t)v->algos.cipher);
	c->cipher_algo_h = le32_make((uint32_t)(v->algos.cipher >> 32));
	c->hash_algo = le32_make(v->algos.hash);
	c->mac_algo_l = le32_make((uint32_t)v->algos.mac);
	c->mac_algo_h = le32_make((uint32_t)(v->algos.mac >> 32));
	c->aead_algo = le32_make(v->algos.aead);
	c->max_cipher_key_len = le32_make(CRYPTO_CIPHER_KEY_MAX);
	c->max_auth_key_len = le32_make(CRYPTO_AUTH_KEY_MAX);
	c->akcipher_algo = le32_make(v->algos.akcipher);
	c->max_size = le64_make(v->max_size);
}

static enum serve_verdict crypto_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct vcrypto *v = vcrypto_of(dev);

	return vq->index == v->num_data_queues ? vcrypto_serve_control(v, vq, c)
					       : vcrypto_serve_data(v, vq, c);
}

static const struct option_spec crypto_options[] = {
	{ "queues", OPTION_U32, offsetof(struct vcrypto, num_data_queues), "1", 1,
		CRYPTO_QUEUES_MAX, NULL, "data queues; the control queue is the one behind them" },
	{ "max-size", OPTION_SIZE, offsetof(struct vcrypto, max_size), "1M", 16384, CRYPTO_DATA_MAX,
		NULL, "of one request, all that has no fixed length: keys, data, results" },
	{ "max-sessions", OPTION_U32, offsetof(struct vcrypto, max_sessions), "1024", 1, 65536,
		NULL, "sessions at the same time" },
	{ "stateless", OPTION_BOOL, offsetof(struct vcrypto, stateless), "on", 0, 0, NULL,
		"offer operations without a session" },
	{ NULL },
};

const struct vdev_class virtio_crypto_class = {
	.name = "virtio-crypto",
	.description = "ciphers, hashes and signatures",
	.virtio_id = 20,
	.instance_bytes = sizeof(struct vcrypto),
	.config_bytes = sizeof(struct crypto_config),
	.options = crypto_options,
	.takes_vq_mapping = true,
	.sessions = &vcrypto_message_sessions,
	.realize = crypto_realize,
	.unrealize = crypto_unrealize,
	.get_config = crypto_get_config,
	.serve = crypto_serve,
	.queue_start = crypto_queue_start,
	.queue_stop = crypto_queue_stop,
	.reset = crypto_reset,
};
