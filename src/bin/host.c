/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process that hosts devices: sets itself up, opens what the options name, runs the main loop,
 * and leaves nothing behind on any way out. The order is: objects, devices, monitors, the guest,
 * readiness.
 */
#include "bin/host.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "backends/chardev_spec.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/log.h"
#include "base/rundir.h"
#include "base/value.h"
#include "bin/host_options.h"
#include "bin/ready.h"
#include "control/control.h"
#include "control/handlers.h"
#include "control/machine.h"
#include "monitor/metrics.h"
#include "monitor/monitor.h"

#define EXIT_USAGE	2
#define HEAP_KEPT_BYTES (8 << 20)

struct host {
	enum host_kind kind;
	struct host_options options;
	struct loop loop;
	struct control *control;
	struct monitor **monitors;
	size_t num_monitors;
	struct metrics_server *metrics;
	struct chardev *console;
	struct loop_fd signals;
	int status;
};

/* --- the process --- */

/* Each device has a handful of descriptors a queue. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	/* Where this is refused, the old limit is what there is. */
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_debug("the limit of open files stays: %s", strerror(errno));
}

static void on_signal(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct host *host = container_of(node, struct host, signals);
	struct signalfd_siginfo info;

	while (read(node->fd, &info, sizeof(info)) == sizeof(info))
		control_quit(host->control, SHUTDOWN_CAUSE_HOST_SIGNAL);
}

/* Before the first thread, so that all of them leave these signals to the main loop. */
static int catch_signals(struct host *host, struct err *err)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction before;
	sigset_t set;

	sigemptyset(&set);
	/* What was ignored when we were started (nohup) stays so; blocked, it would not be. */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	host->signals.fn = on_signal;
	host->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (host->signals.fd < 0)
		return err_set(err, -errno, "cannot watch for signals: %s", strerror(errno));
	return 0;
}

/* --- control's news --- */

static void on_event(void *opaque, struct json_object *event)
{
	struct host *host = opaque;

	for (size_t i = 0; i < host->num_monitors; i++)
		monitor_emit(host->monitors[i], event);
	json_object_put(event);
}

static void on_finished(void *opaque, int status)
{
	struct host *host = opaque;

	if (status)
		host->status = status;
	loop_stop(&host->loop);
}

/* --- what the options name --- */

static int announce(struct control *ctl, struct json_object *args, _unused_ struct err *err)
{
	control_announce(ctl, args);
	return 0;
}

/* The interface's sentences cannot say what there is on a command line. */
static const struct {
	const char *part, *hint;
} hints[] = {
	{ "not a valid device model name", "'--device help' lists them" },
	{ "'qom-type' does not accept value", "'--object help' lists the types" },
	{ "'id' expects an identifier", "a letter, and behind it letters, digits, '-', '.', '_'" },
};

static void add_hint(struct err *err, int r)
{
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++) {
		_cleanup_free_ char *sentence = NULL;

		if (!strstr(err->msg, hints[i].part))
			continue;
		sentence = xstrdup(err->msg);
		err_set(err, r, "%s; %s", sentence, hints[i].hint);
		return;
	}
}

static int add_all(struct host *host, const char *option, const struct cmd_list *list,
	const char *implied, int (*add)(struct control *, struct json_object *, struct err *),
	struct err *err)
{
	for (size_t i = 0; i < list->num; i++) {
		_cleanup_value_ struct json_object *args = NULL;
		int r = value_parse_option(list->values[i], implied, &args, err);

		if (!r)
			r = add(host->control, args, err);
		if (r < 0)
			err_prefix(err, r, "%s %s", option, list->values[i]);
		if (r < 0) {
			add_hint(err, r);
			return r;
		}
	}
	return 0;
}

static void add_monitor(struct host *host, struct monitor *monitor)
{
	host->monitors =
		xreallocarray(host->monitors, host->num_monitors + 1, sizeof(struct monitor *));
	host->monitors[host->num_monitors++] = monitor;
}

static struct monitor_config monitor_config(struct host *host, bool read_only)
{
	return (struct monitor_config){
		.loop = &host->loop,
		.handlers = &control_handlers,
		.ctx = host->control,
		.read_only = read_only || host->options.read_only,
	};
}

/* The one by which client commands find this run. */
static int open_own_monitor(struct host *host, struct err *err)
{
	struct monitor_config config = monitor_config(host, false);
	_cleanup_free_ char *pid = xasprintf("%ld", (long)getpid());
	const char *name = host->options.name ? host->options.name : pid;
	struct listen_options options = LISTEN_OPTIONS_INIT;
	struct listener listener = LISTENER_INIT;
	_cleanup_free_ char *path = NULL;
	struct monitor *monitor;
	int r = rundir_socket(name, true, &path, err);

	if (r < 0)
		return r;
	options.path = path;
	r = listen_unix(&listener, &options, err);
	if (r == -EADDRINUSE)
		return err_prefix(err, r, "another run is called '%s'", name);
	if (r < 0)
		return r;
	monitor = monitor_open_listener(&config, &listener, err);
	if (!monitor) {
		listen_close(&listener);
		return -EIO;
	}
	add_monitor(host, monitor);
	return 0;
}

/* @option: its name, and its values. */
static int open_listed(struct host *host, const char *option, const struct cmd_list *list,
	bool human, struct err *err)
{
	static const char suffix[] = ",read-only";
	int r = 0;

	for (size_t i = 0; !r && i < list->num; i++) {
		_cleanup_free_ char *address = xstrdup(list->values[i]);
		size_t len = strlen(address), cut = sizeof(suffix) - 1;
		bool read_only = len > cut && !strcmp(address + len - cut, suffix);
		struct monitor_config config = monitor_config(host, read_only);
		struct monitor *monitor = NULL;

		config.human = human;
		if (read_only)
			address[len - cut] = '\0';
		if (!strcmp(address, "stdio"))
			r = host_stdio_claim("a monitor", err);
		if (!r)
			r = monitor_open(&config, address, &monitor, err);
		if (r < 0)
			err_prefix(err, r, "%s %s", option, list->values[i]);
		else
			add_monitor(host, monitor);
	}
	return r;
}

static int open_monitors(struct host *host, struct err *err)
{
	int r = open_own_monitor(host, err);

	if (!r)
		r = open_listed(host, "--qmp", &host->options.qmp, false, err);
	return r ? r : open_listed(host, "--monitor", &host->options.monitor, true, err);
}

static void write_metrics(void *opaque, FILE *out)
{
	struct host *host = opaque;

	control_write_metrics(host->control, out);
}

static int open_metrics(struct host *host, struct err *err)
{
	const char *address = host->options.metrics;
	int r;

	if (!address)
		return 0;
	r = metrics_open(&host->loop, address, write_metrics, host, &host->metrics, err);
	if (r < 0)
		return err_prefix(err, r, "--metrics %s", address);
	log_info("metrics at %s", metrics_address(host->metrics));
	return 0;
}

static int open_console(struct host *host, struct err *err)
{
	const char *spec = host->options.console;
	struct chardev_config config;
	int r = chardev_parse_spec(spec ? spec : "stdio", &config, err);

	if (!r) {
		config.id = "console";
		r = chardev_open(&config, &host->console, err);
	}
	/* Somebody else has standard input: then nobody asked for a console there. */
	if (r == -EBUSY && !spec) {
		err->msg[0] = '\0';
		return 0;
	}
	if (!r)
		r = chardev_claim(host->console, "the guest's console", err);
	if (!r && config.kind == CHARDEV_PTY)
		log_info("the guest's console is at %s", chardev_address(host->console));
	return r < 0 ? err_prefix(err, r, "--console %s", spec ? spec : "stdio") : 0;
}

static int start_guest(struct host *host, struct err *err)
{
	const struct host_options *o = &host->options;
	struct machine_config config = {
		.kernel = o->kernel,
		.initrd = o->initrd,
		.append = o->append,
		.memory_bytes = o->memory_bytes,
	};
	bool on_terminal;
	int r = open_console(host, err);

	if (r < 0)
		return r;
	on_terminal = isatty(STDIN_FILENO) && (!o->console || !strcmp(o->console, "stdio"));
	config.console = host->console;
	config.console_escape = host->console && on_terminal;
	return control_start_guest(host->control, &config, err);
}

static int open_all(struct host *host, struct err *err)
{
	const struct host_options *o = &host->options;
	int r = add_all(host, "--object", &o->objects, "qom-type", control_object_add, err);

	if (!r)
		r = add_all(host, "--device", &o->devices, "driver", announce, err);
	if (!r)
		r = add_all(host, "--device", &o->devices, "driver", control_device_add, err);
	if (!r)
		r = open_monitors(host, err);
	if (!r)
		r = open_metrics(host, err);
	if (!r && o->machine)
		r = start_guest(host, err);
	/* A guest's terminal is the guest's; who serves says that it does. */
	if (!r && !o->machine)
		log_info("ready; 'ringside info%s%s' looks into it", o->name ? " --qmp " : "",
			o->name ? o->name : "");
	return r ? r : ready_tell(o->ready_fd, err);
}

/* --- the whole --- */

static int set_up(struct host *host, struct err *err)
{
	struct control_config config = {
		.loop = &host->loop,
		.name = host->options.name,
		.machine = host->options.machine,
		.relay = host->kind == HOST_RELAY,
		.has_stall_ms = host->options.has_stall_ms,
		.stall_ms = host->options.stall_ms,
		.stall_dir = host->options.stall_dir,
		.relay_reconnect = host->options.reconnect,
		.relay_outage_ms = host->options.outage_ms,
		.emit = on_event,
		.finished = on_finished,
		.opaque = host,
	};
	int r;

	raise_descriptor_limit();
	r = catch_signals(host, err);
	if (!r)
		r = loop_init(&host->loop, "main", err);
	if (!r)
		r = control_new(&config, &host->control, err);
	return r ? r : loop_fd_add(&host->loop, &host->signals, EPOLLIN, err);
}

static void tear_down(struct host *host)
{
	for (size_t i = 0; i < host->num_monitors; i++)
		monitor_free(host->monitors[i]);
	free(host->monitors);
	metrics_free(host->metrics);
	/* What still runs may touch anything of ours: nothing but the kernel cleans up then. */
	if (control_free(host->control) < 0)
		_exit(EXIT_FAILURE);
	chardev_free(host->console);
	loop_fd_del(&host->signals);
	close_fd(&host->signals.fd);
	loop_deinit(&host->loop);
	host_options_free(&host->options);
}

static void complain(const char *command, const struct err *err)
{
	fprintf(stderr, "ringside %s: %s\n", command, err->msg);
}

static int run(const char *command, struct host *host)
{
	struct err err = { 0 };

	if (set_up(host, &err) < 0) {
		complain(command, &err);
		host->status = EXIT_FAILURE;
		return host->status;
	}
	if (open_all(host, &err) < 0) {
		complain(command, &err);
		host->status = EXIT_FAILURE;
		/* The same way out as ever, so that the same things are cleaned up. */
		control_quit(host->control, SHUTDOWN_CAUSE_HOST_ERROR);
	}
	loop_run(&host->loop);
	ready_tell_stopping();
	return host->status;
}

/*
 * A heap that shrinks after each answer interrupts every processor that runs one of our threads:
 * a query would be felt by a queue. What the largest answer needed is kept for the next one.
 */
static void keep_heap(void)
{
	mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
	/* Or the next large table lies in what was had in advance, and is cleared: then it is held.
	 */
	mallopt(M_TOP_PAD, 0);
	mallopt(M_MMAP_THRESHOLD, HEAP_KEPT_BYTES);
}

static int host_main(int argc, char **argv, enum host_kind kind)
{
	struct host host = { .kind = kind, .signals.fd = -1 };
	struct err err = { 0 };
	int r = host_options_parse(argc, argv, kind, &host.options, &err);

	if (r < 0) {
		complain(argv[0], &err);
		fprintf(stderr, "Try 'ringside %s --help'.\n", argv[0]);
	}
	if (r) {
		host_options_free(&host.options);
		return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	}
	keep_heap();
	r = run(argv[0], &host);
	tear_down(&host);
	return r;
}

int host_serve_main(int argc, char **argv)
{
	return host_main(argc, argv, HOST_SERVE);
}

int host_run_main(int argc, char **argv)
{
	return host_main(argc, argv, HOST_RUN);
}

int host_relay_main(int argc, char **argv)
{
	return host_main(argc, argv, HOST_RELAY);
}
