/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread: starts the workers, sleeps until time, number, a signal, a lost back-end or a
 * failure ends the run, and then waits for what is outstanding as long as something comes back.
 */
#include "driver/drive.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "driver/drive_internal.h"

/* How long nothing may come back at the end; after a signal somebody is waiting. */
#define DRAIN_MS	   10000
#define DRAIN_SIGNALLED_MS 2000
#define PROGRESS_MS	   1000
/* How long a back-end may be gone, and how often we look. */
#define RECONNECT_MS	   30000
#define RECONNECT_AGAIN_MS 20

static const struct drive_kind *const kinds[] = { &drive_blk, &drive_net, &drive_rng,
	&drive_console };

static const char *const rw_names[DRIVE_RW_END] = { "default", "read", "write", "rw", "randread",
	"randwrite", "randrw" };

const char *drive_device_name(unsigned int i)
{
	return i < ARRAY_SIZE(kinds) ? kinds[i]->name : NULL;
}

const char *drive_rw_name(enum drive_rw rw)
{
	return rw_names[rw];
}

uint64_t drive_features_offered(const struct drive *d)
{
	return d->offered;
}

uint64_t drive_features(const struct drive *d)
{
	return d->features;
}

unsigned int drive_device_id(const struct drive *d)
{
	return d->kind->id;
}

static int check_options(struct drive *d, struct err *err)
{
	struct drive_options *o = &d->opts;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && o->device; i++) {
		if (!strcmp(kinds[i]->name, o->device))
			d->kind = kinds[i];
	}
	if (!d->kind)
		return err_set(err, -EINVAL, "--device '%s': expected blk, net, rng or console",
			o->device);
	if (o->rw == DRIVE_RW_DEFAULT)
		o->rw = d->kind->rw;
	if (!o->bs)
		o->bs = d->kind->bs;
	if (d->kind != &drive_blk && drive_is_random(d))
		return err_set(err, -EINVAL,
			"--rw %s: a device of kind %s has no offsets: expected read, write or rw",
			drive_rw_name(o->rw), o->device);
	if (d->kind != &drive_blk && (o->verify || o->fsync || o->size || o->offset))
		return err_set(err, -EINVAL,
			"--verify, --fsync, --size and --offset are for --device blk, and this is "
			"--device %s",
			o->device);
	if (o->queues > 1 && (d->kind == &drive_rng || d->kind == &drive_console))
		return err_set(err, -EINVAL, "--queues %u: a device of kind %s has one", o->queues,
			o->device);
	return 0;
}

int drive_new(const struct drive_options *options, struct drive **ret, struct err *err)
{
	struct drive *d = xnew(struct drive);
	int r;

	d->opts = *options;
	d->vuc.sock.fd = d->mem.fd = d->inflight.fd = d->done_fd = -1;
	r = check_options(d, err);
	if (r >= 0)
		r = drive_negotiate(d, err);
	if (r >= 0)
		r = drive_setup(d, err);
	if (r >= 0)
		r = drive_start_rings(d, err);
	d->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r >= 0 && d->done_fd < 0)
		r = err_set(err, -errno, "cannot make an event descriptor: %s", strerror(errno));
	if (r < 0) {
		drive_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void drive_free(struct drive *d)
{
	if (!d)
		return;
	drive_teardown(d);
	vuc_close(&d->vuc);
	close_fd(&d->done_fd);
	free(d);
}

/* --- signals: counted, and somebody who sleeps is told --- */

static volatile sig_atomic_t num_signals;
static int signal_fd = -1;

static void on_signal(int number)
{
	uint64_t one = 1;
	int saved = errno;

	(void)number;
	num_signals = num_signals + 1;
	/* Never full: signals are few. */
	if (write(signal_fd, &one, sizeof(one)) < 0)
		errno = EAGAIN;
	errno = saved;
}

static void catch_signals(int fd, struct sigaction old[2])
{
	struct sigaction action = { .sa_handler = on_signal };

	num_signals = 0;
	signal_fd = fd;
	sigaction(SIGINT, &action, &old[0]);
	sigaction(SIGTERM, &action, &old[1]);
}

static void release_signals(const struct sigaction old[2])
{
	sigaction(SIGINT, &old[0], NULL);
	sigaction(SIGTERM, &old[1], NULL);
}

/* --- the run --- */

struct run {
	struct drive *d;
	bool stopping;
	int code; /* what went wrong, with *err */
	struct err *err;
	uint64_t drain_ns;
	uint64_t seen, seen_ns; /* the last time that something had come back */
	uint64_t shown, next_show_ns;
	bool line; /* a progress line stands on the terminal */
	uint64_t away_ns; /* since when the back-end is gone; 0: it is not */
};

static uint64_t answered(const struct drive *d)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < d->num_rings; i++)
		sum += atomic_load_explicit(&d->queues[i].shown, memory_order_relaxed);
	return sum;
}

static void stop(struct run *run, uint64_t drain_ms)
{
	run->drain_ns = drain_ms * NSEC_PER_MSEC;
	run->seen_ns = now_ns();
	run->stopping = true;
	atomic_store(&run->d->stop, true);
	drive_wake_workers(run->d);
}

static void give_up(struct run *run)
{
	atomic_store(&run->d->abandon, true);
	drive_wake_workers(run->d);
}

static void fail(struct run *run, int code)
{
	if (run->code >= 0)
		run->code = code;
	give_up(run);
}

static void show_progress(struct run *run, uint64_t now)
{
	struct drive *d = run->d;
	uint64_t total = answered(d);
	double seconds = (double)(now - d->start_ns) / (double)NSEC_PER_SEC;

	if (!d->opts.progress || now < run->next_show_ns)
		return;
	fprintf(stderr, "\r%s: %.0f s, %" PRIu64 " requests, %" PRIu64 "/s%s   ", d->opts.device,
		seconds, total, total - run->shown, run->stopping ? ", ending" : "");
	run->shown = total;
	run->next_show_ns = now + PROGRESS_MS * NSEC_PER_MSEC;
	run->line = true;
}

static bool workers_done(const struct drive *d)
{
	for (unsigned int i = 0; i < d->num_workers; i++) {
		if (!atomic_load(&d->workers[i].done))
			return false;
	}
	return true;
}

static void look_at_connection(struct run *run)
{
	struct drive *d = run->d;
	struct err err = { 0 };
	int r = vuc_check_alive(&d->vuc, &err);

	if (r >= 0)
		return;
	if (r == -ECONNRESET && d->opts.reconnect && !run->code) {
		run->away_ns = now_ns();
		return;
	}
	*run->err = err;
	fail(run, r);
}

static void look_for_another(struct run *run)
{
	struct err err = { 0 };
	int r = drive_reconnect(run->d, &err);
	uint64_t now = now_ns();

	if (drive_is_away(r) && now - run->away_ns < RECONNECT_MS * NSEC_PER_MSEC)
		return;
	run->away_ns = 0;
	run->seen_ns = now;
	if (r >= 0)
		return;
	*run->err = err;
	fail(run, err_prefix(run->err, r, "reconnecting"));
}

static void look_at_rings(struct run *run)
{
	struct drive *d = run->d;
	uint64_t count;

	for (unsigned int i = 0; i < d->num_rings; i++) {
		if (read(d->queues[i].err_fd, &count, sizeof(count)) != sizeof(count))
			continue;
		err_set(run->err, -EREMOTEIO,
			"%s: the back-end reports an error of queue %u; its log says which",
			d->opts.connect, i);
		fail(run, -EREMOTEIO);
	}
}

static void look_at_signals(struct run *run)
{
	if (!num_signals)
		return;
	run->d->interrupted = true;
	atomic_store(&run->d->skip_check, true);
	if (num_signals > 1)
		give_up(run);
	else if (!run->stopping || run->drain_ns > DRAIN_SIGNALLED_MS * NSEC_PER_MSEC)
		stop(run, DRAIN_SIGNALLED_MS);
}

static void look_at_clock(struct run *run, uint64_t now)
{
	struct drive *d = run->d;
	uint64_t total = answered(d);

	if (total != run->seen) {
		run->seen = total;
		run->seen_ns = now;
	}
	if (!run->stopping && d->opts.duration_ns && now - d->start_ns >= d->opts.duration_ns)
		stop(run, DRAIN_MS);
	else if (run->stopping && now - run->seen_ns >= run->drain_ns)
		give_up(run);
	show_progress(run, now);
}

/* When somebody has to look at the clock again: milliseconds for poll(). */
static int next_look_ms(const struct run *run, uint64_t now)
{
	const struct drive *d = run->d;
	uint64_t end = d->start_ns + d->opts.duration_ns, ms = PROGRESS_MS;

	if (run->away_ns)
		return RECONNECT_AGAIN_MS;
	if (run->stopping)
		return 50;
	if (d->opts.duration_ns)
		ms = MIN(ms, end > now ? (end - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC : 0);
	return (int)ms;
}

static void control(struct run *run, int signals)
{
	struct drive *d = run->d;
	struct pollfd fds[3 + DRIVE_QUEUES_MAX * 2] = {
		{ signals, POLLIN, 0 },
		{ d->done_fd, POLLIN, 0 },
		{ d->vuc.sock.fd, POLLIN, 0 },
	};

	for (unsigned int i = 0; i < d->num_rings; i++)
		fds[3 + i] = (struct pollfd){ d->queues[i].err_fd, POLLIN, 0 };
	while (!workers_done(d) && !atomic_load(&d->abandon)) {
		fds[2].fd = run->away_ns ? -1 : d->vuc.sock.fd;
		if (poll(fds, 3 + d->num_rings, next_look_ms(run, now_ns())) < 0 && errno != EINTR)
			break;
		if (atomic_load(&d->failed))
			break;
		look_at_signals(run);
		look_at_rings(run);
		if (run->away_ns)
			look_for_another(run);
		else if (fds[2].revents)
			look_at_connection(run);
		look_at_clock(run, now_ns());
	}
	give_up(run);
}

static void append(struct err *err, const char *text)
{
	size_t len = strlen(err->msg);

	snprintf(err->msg + len, sizeof(err->msg) - len, "; %s", text);
}

/* What a worker found wrong, or what never came back. */
static void judge(struct run *run)
{
	struct drive *d = run->d;
	uint64_t now = now_ns(), num[DRIVE_DIRS] = { 0 }, oldest = now, sum = 0;
	char text[160];

	for (unsigned int i = 0; i < d->num_rings; i++) {
		struct dqueue *q = &d->queues[i];

		if (q->err.msg[0] && run->code >= 0)
			run->code = err_set(run->err, -EIO, "%s: %s", d->opts.connect, q->err.msg);
		for (uint32_t n = 0; q->role == DQUEUE_ACTIVE && n < q->depth; n++) {
			if (!q->reqs[n].outstanding)
				continue;
			sum++;
			num[q->reqs[n].dir]++;
			oldest = MIN(oldest, q->reqs[n].start_ns);
		}
	}
	if (!sum || (d->interrupted && run->code >= 0 && num_signals > 1))
		return;
	snprintf(text, sizeof(text),
		"%" PRIu64 " requests were outstanding (%" PRIu64 " reads, %" PRIu64
		" writes, %" PRIu64 " flushes), the oldest for %" PRIu64 " ms",
		sum, num[DRIVE_READ], num[DRIVE_WRITE], num[DRIVE_SYNC],
		(now - oldest) / (uint64_t)NSEC_PER_MSEC);
	if (run->code >= 0)
		run->code = err_set(run->err, -ETIMEDOUT,
			"%s: the back-end answered nothing for %" PRIu64 " ms at the end: %s",
			d->opts.connect, run->drain_ns / (uint64_t)NSEC_PER_MSEC, text);
	else if (run->code == -ECONNRESET || run->code == -EREMOTEIO)
		append(run->err, text);
}

int drive_run(struct drive *d, struct err *err)
{
	_cleanup_fd_ int signals = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct run run = { .d = d, .err = err };
	struct sigaction old[2];
	int r;

	if (signals < 0)
		return err_set(err, -errno, "cannot make an event descriptor: %s", strerror(errno));
	catch_signals(signals, old);
	run.code = drive_start_workers(d, err);
	run.next_show_ns = now_ns() + PROGRESS_MS * NSEC_PER_MSEC;
	if (run.code >= 0)
		control(&run, signals);
	else
		give_up(&run);
	drive_join_workers(d);
	d->end_ns = now_ns();
	if (run.line)
		fprintf(stderr, "\r%60s\r", "");
	judge(&run);
	if (run.code >= 0) {
		r = drive_stop_rings(d, err);
		run.code = r < 0 ? r : run.code;
	}
	release_signals(old);
	return run.code;
}
