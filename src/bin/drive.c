/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of `ringside drive` by table, and how its results are printed. */
#include "bin/drive.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/value.h"
#include "base/cmdline.h"
#include "describe/describe.h"
#include "driver/drive.h"

#define EXIT_USAGE	2
#define DEFAULT_SECONDS 10
#define SECONDS_MAX	86400000ull

/* As it was written. */
struct words {
	const char *connect, *device, *rw, *mix, *bs, *size, *offset, *depth, *queues, *queue_size,
		*seconds, *requests, *seed, *memory, *threads, *slots, *fsync, *event_idx;
	bool packed, in_order, poll, verify, reconnect, indirect, no_indirect, json;
};

#define WORD(f) offsetof(struct words, f)

static const struct cmd_option option_table[] = {
	{ "connect", CMD_STRING, WORD(connect), "SOCKET", "the back-end: a unix socket, or fd=N" },
	{ "device", CMD_STRING, WORD(device), "KIND", "blk, net, rng or console" },
	{ "rw", CMD_STRING, WORD(rw), "PATTERN",
		"read, write, rw, randread, randwrite, randrw; blk: randread\n"
		"is the default. net: write sends, read receives" },
	{ "rwmixread", CMD_STRING, WORD(mix), "PERCENT", "reads of rw and randrw (50)" },
	{ "bs", CMD_STRING, WORD(bs), "SIZE",
		"bytes of a request, with a suffix k, m or g: 4k for blk,\n"
		"64 else (net: a frame's)" },
	{ "size", CMD_STRING, WORD(size), "SIZE", "blk: how much of the disk; all of it" },
	{ "offset", CMD_STRING, WORD(offset), "SIZE", "blk: from where on (0)" },
	{ "iodepth", CMD_STRING, WORD(depth), "N", "requests at each queue at a time (1)" },
	{ "queues", CMD_STRING, WORD(queues), "N", "queues; net: pairs (1)" },
	{ "queue-size", CMD_STRING, WORD(queue_size), "N",
		"entries of a ring; 128, or more where the depth needs it" },
	{ "threads", CMD_STRING, WORD(threads), "N", "threads for all queues (1)" },
	{ "packed", CMD_FLAG, WORD(packed), NULL, "packed rings" },
	{ "indirect", CMD_FLAG, WORD(indirect), NULL,
		"insist on indirect descriptors; used where they are offered" },
	{ "no-indirect", CMD_FLAG, WORD(no_indirect), NULL, "no indirect descriptors" },
	{ "event-idx", CMD_STRING, WORD(event_idx), "on|off",
		"insist on, or do without, notification by index; used where\n"
		"it is offered" },
	{ "in-order", CMD_FLAG, WORD(in_order), NULL, "buffers are used in order" },
	{ "poll", CMD_FLAG, WORD(poll), NULL, "never sleep, ask for no interrupts" },
	{ "seconds", CMD_STRING, WORD(seconds), "N",
		"how long, e.g. 0.5; 10 where no --requests say when to end" },
	{ "requests", CMD_STRING, WORD(requests), "N", "how many requests in all" },
	{ "fsync", CMD_STRING, WORD(fsync), "N", "blk: a flush after N writes of a queue" },
	{ "verify", CMD_FLAG, WORD(verify), NULL,
		"blk: write a pattern, and check whatever is read; at the\n"
		"end what was written is read back. With --rw read or\n"
		"randread: check what a run with the same --seed and --bs\n"
		"wrote" },
	{ "seed", CMD_STRING, WORD(seed), "N", "for offsets and patterns (1)" },
	{ "memory", CMD_STRING, WORD(memory), "SIZE", "memory to share; as much as is needed" },
	{ "mem-slots", CMD_STRING, WORD(slots), "N", "regions that it consists of (1)" },
	{ "reconnect", CMD_FLAG, WORD(reconnect), NULL,
		"when the back-end goes, dial again and go on; it has to\n"
		"offer INFLIGHT_SHMFD" },
	{ "json", CMD_FLAG, WORD(json), NULL, "print the result as JSON" },
	{ NULL },
};

static const struct cmd_option *const tables[] = { option_table, NULL };

/* Numbers: what they are called, where they are written and where they go. */
enum number_kind { NUMBER_U32, NUMBER_U64, NUMBER_SIZE, NUMBER_SIZE32 };

struct number {
	const char *name;
	size_t word, field;
	enum number_kind kind;
	uint64_t def, min, max;
};

#define OPT(f) offsetof(struct drive_options, f)

static const struct number numbers[] = {
	{ "rwmixread", WORD(mix), OPT(mix_read), NUMBER_U32, 50, 0, 100 },
	{ "bs", WORD(bs), OPT(bs), NUMBER_SIZE32, 0, 1, DRIVE_BS_MAX },
	{ "size", WORD(size), OPT(size), NUMBER_SIZE, 0, 1, UINT64_MAX },
	{ "offset", WORD(offset), OPT(offset), NUMBER_SIZE, 0, 0, UINT64_MAX },
	{ "iodepth", WORD(depth), OPT(iodepth), NUMBER_U32, 1, 1, DRIVE_DEPTH_MAX },
	{ "queues", WORD(queues), OPT(queues), NUMBER_U32, 1, 1, DRIVE_QUEUES_MAX },
	{ "queue-size", WORD(queue_size), OPT(queue_size), NUMBER_U32, 0, 1, 32768 },
	{ "threads", WORD(threads), OPT(threads), NUMBER_U32, 1, 1, DRIVE_THREADS_MAX },
	{ "mem-slots", WORD(slots), OPT(mem_slots), NUMBER_U32, 1, 1, 64 },
	{ "fsync", WORD(fsync), OPT(fsync), NUMBER_U32, 0, 1, UINT32_MAX },
	{ "requests", WORD(requests), OPT(requests), NUMBER_U64, 0, 1, UINT64_MAX },
	{ "seed", WORD(seed), OPT(seed), NUMBER_U64, 1, 0, UINT64_MAX },
	{ "memory", WORD(memory), OPT(memory_bytes), NUMBER_SIZE, 0, 4096, 1ull << 40 },
};

/* fio's suffixes are powers of 1024 in either case. */
static int read_number(const struct number *n, const char *text, uint64_t *ret)
{
	_cleanup_value_ struct json_object *obj = json_object_new_object();
	bool size = n->kind >= NUMBER_SIZE;
	char upper[32];
	int r;

	snprintf(upper, sizeof(upper), "%s", text);
	if (size && *upper && strlen(text) < sizeof(upper)) {
		char *last = &upper[strlen(upper) - 1];

		*last = (char)(*last >= 'a' && *last <= 'z' ? *last - 'a' + 'A' : *last);
	}
	json_object_object_add(obj, n->name, value_new_string(size ? upper : text));
	r = size ? value_get_size(obj, n->name, ret, NULL)
		 : value_get_u64(obj, n->name, 0, UINT64_MAX, ret, NULL);
	return r < 0 || *ret < n->min || *ret > n->max ? -EINVAL : 0;
}

static int parse_numbers(const struct words *words, struct drive_options *o, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const struct number *n = &numbers[i];
		const char *text = *(const char *const *)((const char *)words + n->word);
		void *field = (char *)o + n->field;
		uint64_t v = n->def;

		if (text && read_number(n, text, &v) < 0)
			return err_set(err, -EINVAL,
				"--%s '%s': expected a number from %" PRIu64 " to %" PRIu64 "%s",
				n->name, text, n->min, n->max,
				n->kind >= NUMBER_SIZE ? ", with k, m, g or t behind it if you like"
						       : "");
		if (n->kind == NUMBER_U32 || n->kind == NUMBER_SIZE32)
			*(uint32_t *)field = (uint32_t)v;
		else
			*(uint64_t *)field = v;
	}
	return 0;
}

static int parse_seconds(const struct words *words, struct drive_options *o, struct err *err)
{
	double v = o->requests ? 0 : DEFAULT_SECONDS;
	char *end;

	if (words->seconds) {
		v = strtod(words->seconds, &end);
		if (end == words->seconds || *end || !(v > 0 && v <= (double)SECONDS_MAX))
			return err_set(err, -EINVAL,
				"--seconds '%s': expected a number above 0, at most %llu",
				words->seconds, SECONDS_MAX);
	}
	o->duration_ns = (uint64_t)(v * (double)NSEC_PER_SEC);
	return 0;
}

static int parse_rw(const struct words *words, struct drive_options *o, struct err *err)
{
	if (!words->rw)
		return 0;
	for (int rw = DRIVE_RW_READ; rw < DRIVE_RW_END; rw++) {
		if (!strcmp(drive_rw_name((enum drive_rw)rw), words->rw)) {
			o->rw = (enum drive_rw)rw;
			return 0;
		}
	}
	return err_set(err, -EINVAL,
		"--rw '%s': expected read, write, rw, randread, randwrite or randrw", words->rw);
}

static int parse_wishes(const struct words *words, struct drive_options *o, struct err *err)
{
	const char *e = words->event_idx;

	if (words->indirect && words->no_indirect)
		return err_set(err, -EINVAL, "--indirect and --no-indirect: expected one of them");
	o->indirect = words->indirect	   ? DRIVE_ON
		      : words->no_indirect ? DRIVE_OFF
					   : DRIVE_IF_OFFERED;
	if (e && strcmp(e, "on") != 0 && strcmp(e, "off") != 0)
		return err_set(err, -EINVAL, "--event-idx '%s': expected on or off", e);
	o->event_idx = !e ? DRIVE_IF_OFFERED : strcmp(e, "on") ? DRIVE_OFF : DRIVE_ON;
	return 0;
}

static int parse(const struct words *words, struct drive_options *o, struct err *err)
{
	int r;

	*o = (struct drive_options){
		.connect = words->connect,
		.device = words->device,
		.packed = words->packed,
		.in_order = words->in_order,
		.poll = words->poll,
		.verify = words->verify,
		.reconnect = words->reconnect,
		.progress = isatty(STDERR_FILENO),
	};
	if (!o->connect)
		return err_set(
			err, -EINVAL, "--connect is missing: expected the back-end's socket");
	if (!o->device)
		return err_set(
			err, -EINVAL, "--device is missing: expected blk, net, rng or console");
	r = parse_numbers(words, o, err);
	if (r >= 0)
		r = parse_seconds(words, o, err);
	if (r >= 0)
		r = parse_rw(words, o, err);
	return r < 0 ? r : parse_wishes(words, o, err);
}

static void print_help(void)
{
	printf("Usage: ringside drive --connect SOCKET --device KIND [OPTION]...\n\n"
	       "Drives a vhost-user back-end without a virtual machine: requests as fio makes "
	       "them,\n"
	       "how fast they are answered, and whether what is read is what was written.\n\n");
	cmd_print_options(stdout, tables);
	printf("\nExit status: 0, 1 for a failure (of a request, of the verification, of the\n"
	       "back-end), 2 for usage. Ctrl-C ends it with the result so far.\n"
	       "Example: ringside drive --connect /tmp/disk0.sock --device blk --rw randread \\\n"
	       "             --bs 4k --iodepth 32 --seconds 5\n");
}

static void add_names(struct json_object *report, const struct drive *d)
{
	const uint64_t words[2] = { drive_features(d), 0 };
	struct json_object *list = json_object_new_array(), *device;
	struct describe_features names;

	describe_features(words, describe_type_by_id((uint16_t)drive_device_id(d)), false, &names);
	for (size_t i = 0; i < names.num_transports; i++)
		json_object_array_add(list, json_object_new_string(names.transports[i]));
	for (size_t i = 0; i < names.num_device; i++)
		json_object_array_add(list, json_object_new_string(names.device[i]));
	if (json_object_object_get_ex(report, "device", &device))
		json_object_object_add(device, "feature-names", list);
	else
		json_object_put(list);
}

static void print_json(const struct drive *d, const struct err *err)
{
	_cleanup_value_ struct json_object *report = drive_report_json(d);

	add_names(report, d);
	json_object_object_add(report, "error", err->msg[0] ? value_new_string(err->msg) : NULL);
	printf("%s\n", json_object_to_json_string_ext(
			       report, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					       JSON_C_TO_STRING_NOSLASHESCAPE));
}

int drive_main(int argc, char **argv)
{
	struct words words = { 0 };
	struct drive_options options;
	struct drive *d = NULL;
	struct err err = { 0 };
	bool help = false;
	int r = cmd_parse(argc, argv, tables, &words, &help, &err);

	if (help) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (r >= 0)
		r = parse(&words, &options, &err);
	if (r < 0) {
		fprintf(stderr, "ringside drive: %s\nTry 'ringside drive --help'.\n", err.msg);
		return EXIT_USAGE;
	}
	r = drive_new(&options, &d, &err);
	if (r < 0) {
		fprintf(stderr, "ringside drive: %s\n", err.msg);
		return r == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
	}
	r = drive_run(d, &err);
	if (words.json)
		print_json(d, &err);
	else
		drive_report_text(d, stdout);
	if (r < 0)
		fprintf(stderr, "ringside drive: %s\n", err.msg);
	drive_free(d);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
