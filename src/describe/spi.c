/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-spi: the transfer head is exactly the 32 bytes that are kept. Virtio 1.4, "SPI Controller
 * Device". */
#include "describe/types.h"
#include "describe/wire.h"

static const struct describe_config config[] = {
	CFG("cs_max_number", 0, 1),
	CFG("cs_change_supported", 1, 1),
	CFG("tx_nbits_supported", 2, 1),
	CFG("rx_nbits_supported", 3, 1),
	CFG("bits_per_word_mask", 4, 4),
	CFG("mode_func_supported", 8, 4),
	CFG("max_freq_hz", 12, 4),
	CFG("max_word_delay_ns", 16, 4),
	CFG("max_cs_setup_ns", 20, 4),
	CFG("max_cs_hold_ns", 24, 4),
	CFG("max_cs_inactive_ns", 28, 4),
};

static const struct describe_queue queues[] = { { .name = "requestq" } };

static void spi_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = {
		WIRE("chip-select", 0, 1),
		WIRE("bits-per-word", 1, 1),
		WIRE("cs-change", 2, 1),
		WIRE("tx-nbits", 3, 1),
		WIRE("rx-nbits", 4, 1),
		WIRE_HEX("mode", 8, 4),
		WIRE("freq-hz", 12, 4),
		WIRE("word-delay-ns", 16, 4),
		WIRE("cs-setup-ns", 20, 4),
		WIRE("cs-hold-ns", 24, 4),
		WIRE("cs-inactive-ns", 28, 4),
	};

	WIRE_DECODE(in, head, ret);
}

const struct describe_type describe_spi = {
	.id = 45,
	.name = "virtio-spi",
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = spi_request,
};
