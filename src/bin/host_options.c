/* SPDX-License-Identifier: BSD-3-Clause */
/* Option tables and what they mean; help for the subcommands, for --device and for --object. */
#include "bin/host_options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/rundir.h"
#include "base/value.h"
#include "control/help.h"

#define FIELD(f) offsetof(struct host_options, f)

static const struct cmd_option machine_options[] = {
	{ "machine", CMD_STRING, FIELD(machine_name), "KIND",
		"what runs the guest: uml (the default), user-mode Linux,\n"
		"which needs no KVM and no root" },
	{ "kernel", CMD_STRING, FIELD(kernel), "FILE",
		"the guest's kernel; the default is the machine's own" },
	{ "initrd", CMD_STRING, FIELD(initrd), "FILE", "its first file system" },
	{ "append", CMD_STRING, FIELD(append), "TEXT", "more arguments for the kernel" },
	{ "memory", CMD_STRING, FIELD(memory_text), "SIZE",
		"its memory, with a suffix K, M or G; the default is " HOST_DEFAULT_MEMORY },
	{ "console", CMD_STRING, FIELD(console), "CHARDEV",
		"its boot console: stdio (the default, unless something\n"
		"else uses standard input), pty, unix:PATH, connect:PATH,\n"
		"file:PATH, null" },
	{ NULL },
};

static const struct cmd_option relay_options[] = {
	{ "reconnect", CMD_FLAG, FIELD(reconnect), NULL,
		"every device goes on with another back-end when its own\n"
		"dies, unless it says reconnect=off" },
	{ "outage-ms", CMD_STRING, FIELD(outage_ms), "N",
		"how long messages wait for that, where a device does not\n"
		"say outage-ms=; the default is 5000" },
	{ NULL },
};

static const struct cmd_option common_options[] = {
	{ "device", CMD_LIST, FIELD(devices), "DRIVER,id=ID,KEY=VALUE,...",
		"a device; may be given again, also as a JSON object.\n"
		"'--device help' lists them, '--device DRIVER,help' says\n"
		"what one takes" },
	{ "object", CMD_LIST, FIELD(objects), "TYPE,id=ID,KEY=VALUE,...",
		"an object that devices use; may be given again.\n"
		"'--object help' lists the types, '--object TYPE,help' says\n"
		"what one takes" },
	{ "name", CMD_STRING, FIELD(name), "NAME",
		"name of this run, by which 'ringside info' finds it;\n"
		"the default is the process id" },
	{ "qmp", CMD_LIST, FIELD(qmp), "ADDRESS",
		"a monitor besides the one that is always there; may be\n"
		"given again: unix:PATH[,mode=MODE][,group=GROUP],\n"
		"tcp:HOST:PORT (an empty HOST is loopback), stdio.\n"
		"',read-only' behind it refuses all that changes something" },
	{ "monitor", CMD_LIST, FIELD(monitor), "ADDRESS",
		"a monitor for people, which only looks; may be given\n"
		"again: unix:PATH[,mode=MODE][,group=GROUP], stdio" },
	{ "read-only", CMD_FLAG, FIELD(read_only), NULL, "makes every monitor a read-only one" },
	{ "metrics", CMD_STRING, FIELD(metrics), "ADDRESS",
		"serve what the queues count as OpenMetrics text, at\n"
		"GET /metrics: HOST:PORT (an empty HOST is loopback) or\n"
		"unix:PATH" },
	{ "stall-ms", CMD_STRING, FIELD(stall_text), "N",
		"how many milliseconds a queue may stand still while\n"
		"somebody waits before VIRTQUEUE_STALLED tells of it; 0:\n"
		"nobody watches. The default is 2000; a relay watches only\n"
		"when it was given, or while somebody asks" },
	{ "stall-dir", CMD_STRING, FIELD(stall_dir), "DIR",
		"keep what is known of each queue that is found stuck in\n"
		"a file there" },
	{ "ready-fd", CMD_STRING, FIELD(ready_fd_text), "N",
		"write a newline to descriptor N and close it when\n"
		"everything listens" },
	{ NULL },
};

static const struct {
	const char *before, *after;
} texts[] = {
	[HOST_SERVE] = { "Usage: ringside serve [OPTION]...\n\n"
			 "Exports virtio devices to another virtual machine monitor, over "
			 "vhost-user.\n\n",
		"\nExit status: 0 when it was told to end, 1 for a failure, 2 for usage.\n"
		"Example: ringside serve \\\n"
		"             --device virtio-blk,id=disk0,filename=disk.img,"
		"listen=/tmp/disk0.sock\n" },
	[HOST_RUN] = { "Usage: ringside run [OPTION]...\n\n"
		       "Boots a Linux guest on virtio devices of ours, until it powers off.\n\n",
		"\nExit status: 0 when the guest powered off, 1 for a failure, its panic too, 2 "
		"for "
		"usage.\n"
		"Example: ringside run --initrd guest.img \\\n"
		"             --device virtio-blk,id=disk0,filename=disk.img\n" },
	[HOST_RELAY] = { "Usage: ringside relay [OPTION]...\n\n"
			 "Stands between a virtual machine monitor and a vhost-user back-end, and "
			 "makes the\ndevice visible. The data path stays theirs.\n\n",
		"\nA relay's --device is id=ID,listen=SOCKET,connect=SOCKET and, as no message "
		"says it,\ntype=virtio-blk or a number.\n"
		"Exit status: 0 when it was told to end, 1 for a failure, 2 for usage.\n"
		"Example: ringside relay \\\n"
		"             --device id=disk0,type=virtio-blk,listen=/tmp/front.sock,"
		"connect=/tmp/back.sock\n" },
};

/* Those of one kind of host alone; NULL: none. */
static const struct cmd_option *own_options(enum host_kind kind)
{
	if (kind == HOST_RUN)
		return machine_options;
	return kind == HOST_RELAY ? relay_options : NULL;
}

static void print_help(enum host_kind kind)
{
	const struct cmd_option *own = own_options(kind);
	const struct cmd_option *const tables[] = { own ? own : common_options,
		own ? common_options : NULL, NULL };

	fputs(texts[kind].before, stdout);
	cmd_print_options(stdout, tables);
	fputs(texts[kind].after, stdout);
}

/* Is it "help" alone? Or TYPE of "TYPE,help", for the caller to free; else neither. */
static bool asks_for_help(const char *text, char **ret_type)
{
	const char *comma = strchr(text, ',');

	*ret_type = NULL;
	if (!strcmp(text, "help") || !strcmp(text, "?"))
		return true;
	if (!comma || (strcmp(comma, ",help") != 0 && strcmp(comma, ",?") != 0))
		return false;
	*ret_type = strndup(text, (size_t)(comma - text));
	return true;
}

/* 1 where it was answered, as below. */
static int answer_device_help(const char *text, enum host_kind kind, struct err *err)
{
	_cleanup_free_ char *driver = NULL;
	int r;

	if (!asks_for_help(text, &driver))
		return 0;
	if (driver) {
		r = control_help_device(driver, kind == HOST_RUN, err);
		return r < 0 ? r : 1;
	}
	if (kind == HOST_RELAY)
		control_help_relay();
	else
		control_help_devices();
	return 1;
}

static int answer_object_help(const char *text, struct err *err)
{
	_cleanup_free_ char *type = NULL;
	int r;

	if (!asks_for_help(text, &type))
		return 0;
	if (type) {
		r = control_help_object(type, err);
		return r < 0 ? r : 1;
	}
	control_help_objects();
	return 1;
}

static int answer_help(const struct host_options *o, enum host_kind kind, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < o->devices.num; i++)
		r = answer_device_help(o->devices.values[i], kind, err);
	for (size_t i = 0; !r && i < o->objects.num; i++)
		r = answer_object_help(o->objects.values[i], err);
	return r;
}

static int parse_memory(struct host_options *o, struct err *err)
{
	_cleanup_value_ struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "memory",
		value_new_string(o->memory_text ? o->memory_text : HOST_DEFAULT_MEMORY));
	if (value_get_size(obj, "memory", &o->memory_bytes, err) >= 0)
		return 0;
	return err_set(err, -EINVAL,
		"--memory '%s': expected a number of bytes, with K, M, G or T behind it if you "
		"like",
		o->memory_text);
}

static int parse_ready_fd(struct host_options *o, struct err *err)
{
	char *end;
	long n;

	o->ready_fd = -1;
	if (!o->ready_fd_text)
		return 0;
	errno = 0;
	n = strtol(o->ready_fd_text, &end, 10);
	/* Checked before anything is opened: later the number might be one of ours. */
	if (errno || *end || end == o->ready_fd_text || n < 1 || n > 1 << 20 ||
		fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(err, -EINVAL,
			"--ready-fd '%s': expected the number of an open descriptor",
			o->ready_fd_text);
	o->ready_fd = (int)n;
	return 0;
}

static int parse_stall_ms(struct host_options *o, struct err *err)
{
	unsigned long n;
	char *end;

	if (!o->stall_text)
		return 0;
	errno = 0;
	n = strtoul(o->stall_text, &end, 10);
	if (errno || *end || *o->stall_text < '0' || *o->stall_text > '9' || n > UINT32_MAX)
		return err_set(err, -EINVAL, "--stall-ms '%s': expected a number of milliseconds",
			o->stall_text);
	o->has_stall_ms = true;
	o->stall_ms = (uint32_t)n;
	return 0;
}

static int check_stall_dir(const struct host_options *o, struct err *err)
{
	struct stat st;

	if (!o->stall_dir)
		return 0;
	if (stat(o->stall_dir, &st) < 0)
		return err_set(err, -errno, "--stall-dir '%s': %s", o->stall_dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "--stall-dir '%s': expected a folder", o->stall_dir);
	return 0;
}

static int check(struct host_options *o, bool with_machine, struct err *err)
{
	if (o->name && !rundir_name_ok(o->name))
		return err_set(err, -EINVAL,
			"--name '%s': expected 1 to %d letters, digits and '._-+', not beginning "
			"with '.' or '-'",
			o->name, RUNDIR_NAME_MAX_BYTES);
	if (parse_ready_fd(o, err) < 0 || parse_stall_ms(o, err) < 0 || check_stall_dir(o, err) < 0)
		return -EINVAL;
	if (!with_machine)
		return 0;
	o->machine = machine_kind(o->machine_name ? o->machine_name : machine_kinds[0]->name, err);
	return o->machine ? parse_memory(o, err) : -EINVAL;
}

int host_options_parse(
	int argc, char **argv, enum host_kind kind, struct host_options *ret, struct err *err)
{
	const struct cmd_option *const tables[] = { common_options, own_options(kind), NULL };
	bool help;
	int r;

	*ret = (struct host_options){ .ready_fd = -1 };
	r = cmd_parse(argc, argv, tables, ret, &help, err);
	if (r < 0)
		return r;
	if (help) {
		print_help(kind);
		return 1;
	}
	r = answer_help(ret, kind, err);
	return r ? r : check(ret, kind == HOST_RUN, err);
}

void host_options_free(struct host_options *options)
{
	cmd_list_free(&options->qmp);
	cmd_list_free(&options->monitor);
	cmd_list_free(&options->objects);
	cmd_list_free(&options->devices);
}
