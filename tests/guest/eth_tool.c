/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ethtool asks of a network card, for guests that have none:
 *
 *   eth_tool pairs IF N          uses N pairs of queues
 *   eth_tool rss IF              prints the number of entries of the table, and the key
 *   eth_tool table IF PAIR...    the table has these, over and over
 *   eth_tool coal IF USECS NUM   an interrupt for received packets waits so long, or for so many
 *
 * Status 0: the card took it.
 */
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const char *interface;

static void ask(void *command)
{
	struct ifreq ifr = { .ifr_data = command };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(ifr.ifr_name, interface, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &ifr) < 0) {
		perror("ethtool");
		exit(1);
	}
}

static void set_pairs(uint32_t n)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };

	ask(&channels);
	channels.cmd = ETHTOOL_SCHANNELS;
	channels.combined_count = n;
	ask(&channels);
}

/* With the sizes that the card has, and behind it room for table and key. */
static struct ethtool_rxfh *sized(void)
{
	struct ethtool_rxfh sizes = { .cmd = ETHTOOL_GRSSH }, *ret;

	ask(&sizes);
	ret = calloc(1, sizeof(*ret) + sizes.indir_size * 4ul + sizes.key_size);
	if (!ret)
		exit(1);
	ret->indir_size = sizes.indir_size;
	ret->key_size = sizes.key_size;
	return ret;
}

static void show_rss(void)
{
	struct ethtool_rxfh *rxfh = sized();
	const uint8_t *key = (const uint8_t *)(rxfh->rss_config + rxfh->indir_size);

	rxfh->cmd = ETHTOOL_GRSSH;
	ask(rxfh);
	printf("%u ", rxfh->indir_size);
	for (uint32_t i = 0; i < rxfh->key_size; i++)
		printf("%02x", key[i]);
	printf("\n");
}

static void set_table(char *const *pairs, uint32_t num)
{
	struct ethtool_rxfh *rxfh = sized();

	rxfh->cmd = ETHTOOL_SRSSH;
	rxfh->key_size = 0;
	for (uint32_t i = 0; i < rxfh->indir_size; i++)
		rxfh->rss_config[i] = (uint32_t)atoi(pairs[i % num]);
	ask(rxfh);
}

static void coalesce(uint32_t usecs, uint32_t num)
{
	struct ethtool_coalesce coal = { .cmd = ETHTOOL_GCOALESCE };

	ask(&coal);
	coal.cmd = ETHTOOL_SCOALESCE;
	coal.rx_coalesce_usecs = usecs;
	coal.rx_max_coalesced_frames = num;
	/* 0 would switch the driver's way of transmitting, which it refuses while it is up. */
	coal.tx_max_coalesced_frames = 1;
	ask(&coal);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	interface = argv[2];
	if (!strcmp(argv[1], "pairs") && argc == 4)
		set_pairs((uint32_t)atoi(argv[3]));
	else if (!strcmp(argv[1], "rss"))
		show_rss();
	else if (!strcmp(argv[1], "table") && argc > 3)
		set_table(argv + 3, (uint32_t)argc - 3);
	else if (!strcmp(argv[1], "coal") && argc == 5)
		coalesce((uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]));
	else
		return 2;
	return 0;
}
