/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What both formats of rings share, and the sentences for what a device cannot have meant. Refuses
 * sizes that the specification does not have.
 */
#include "driver/ring.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "driver/ring_int.h"

#define DESC_BYTES 16
/* Room for alignment of each allocation. */
#define SLACK_BYTES (5 * 4096)

uint64_t dring_memory_bytes(const struct dring_config *cfg)
{
	uint64_t each = DESC_BYTES + 2 + 8;

	if (cfg->indirect)
		each += (uint64_t)cfg->max_bufs * DESC_BYTES;
	return cfg->num * each + SLACK_BYTES;
}

static int check_config(const struct dring_config *cfg, struct err *err)
{
	if (!cfg->num || cfg->num > DRING_SIZE_MAX)
		return err_set(
			err, -EINVAL, "ring size %u: expected 1 to %d", cfg->num, DRING_SIZE_MAX);
	if (!cfg->packed && (cfg->num & (cfg->num - 1)))
		return err_set(err, -EINVAL,
			"ring size %u: expected a power of two, which a split ring needs; packed "
			"rings take any size",
			cfg->num);
	if (!cfg->indirect && cfg->max_bufs > cfg->num)
		return err_set(err, -EINVAL,
			"ring size %u: a request has %u buffers; expected a ring of at least as "
			"many entries, or indirect descriptors",
			cfg->num, cfg->max_bufs);
	return 0;
}

int dring_init(struct dring *r, const struct dring_config *cfg, struct dmem *mem, struct err *err)
{
	uint64_t table_bytes = (uint64_t)cfg->max_bufs * DESC_BYTES;
	int ret = check_config(cfg, err);

	memset(r, 0, sizeof(*r));
	if (ret < 0)
		return ret;
	r->cfg = *cfg;
	r->ops = cfg->packed ? &dring_packed_ops : &dring_split_ops;
	ret = cfg->packed ? dring_packed_init(r, mem, err) : dring_split_init(r, mem, err);
	if (ret < 0)
		return ret;
	if (cfg->indirect) {
		r->tables = dmem_alloc(mem, cfg->num * table_bytes, 64, &r->tables_addr, err);
		if (!r->tables)
			return -ENOMEM;
	}
	r->chains = xnew_n(struct dring_chain, cfg->num);
	r->next_free = xnew_n(uint16_t, cfg->num);
	r->fifo = xnew_n(uint16_t, cfg->num);
	for (unsigned int i = 0; i < cfg->num; i++)
		r->next_free[i] = (uint16_t)dring_wrap(r, i + 1);
	r->num_free = cfg->num;
	return 0;
}

void dring_deinit(struct dring *r)
{
	free(r->chains);
	free(r->next_free);
	free(r->fifo);
	memset(r, 0, sizeof(*r));
}

int dring_bad(struct dring *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(&r->err, -EPROTO, fmt, ap);
	va_end(ap);
	return -EPROTO;
}

int dring_bad_id(struct dring *r, uint32_t id)
{
	if (id >= r->cfg.num)
		return dring_bad(r,
			"the device used buffer id %u: expected one below %u, the ring's size", id,
			r->cfg.num);
	return dring_bad(r,
		"the device used buffer id %u, which it does not have: used twice, or never made "
		"available",
		id);
}

int dring_bad_len(struct dring *r, uint32_t id, uint32_t len)
{
	return dring_bad(r,
		"the device says that it wrote %u bytes into buffer id %u: expected at most %u, "
		"its length",
		len, id, r->chains[id].writable_bytes);
}

int dring_bad_batch(struct dring *r)
{
	return dring_bad(r,
		"the device used buffer id %u out of order, though IN_ORDER was negotiated",
		r->batch_last);
}
