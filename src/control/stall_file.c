/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The replies are made here, on the main loop, and written elsewhere: a disk that hangs would stop
 * every monitor. One file is written at a time; a stall that comes meanwhile has an event alone.
 */
#include "control/stall_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/log.h"
#include "base/value.h"
#include "control/devices.h"
#include "control/internal.h"
#include "inspect/inflight.h"
#include "inspect/ring_list.h"
#include "inspect/trace.h"
#include "qapi/types.h"

struct job {
	char *path, *text;
};

/* The thread belongs to the process: it may still write while a run of control ends. */
static _Atomic bool is_writing;

static void *write_main(void *arg)
{
	struct job *job = arg;
	size_t len = strlen(job->text), done = 0;
	struct err err = { 0 };
	int fd = host_open(job->path, O_WRONLY | O_CREAT | O_EXCL, 0600, &err);

	if (fd < 0)
		log_warn("what is known of a stuck queue cannot be kept: %s", err.msg);
	while (fd >= 0 && done < len) {
		ssize_t n = write(fd, job->text + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			log_warn("what is known of a stuck queue is not whole in '%s': %s",
				job->path, strerror(errno));
			break;
		}
		done += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	free(job->path);
	free(job->text);
	free(job);
	atomic_store(&is_writing, false);
	return NULL;
}

static void start_writing(struct job *job)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	atomic_store(&is_writing, true);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, write_main, job);
	pthread_attr_destroy(&attr);
	if (!r)
		return;
	log_warn("what is known of a stuck queue cannot be kept: %s", strerror(r));
	atomic_store(&is_writing, false);
	free(job->path);
	free(job->text);
	free(job);
}

/* --- the text --- */

/* Takes @value, or files why there is none. */
static void add(struct json_object *to, const char *name, int r, const struct err *err,
	struct json_object *value)
{
	json_object_object_add(to, name, r < 0 ? value_new_string(err->msg) : value);
}

static struct json_object *describe_queue(
	struct control_device *cdev, const struct vq *vq, const struct health_verdict *verdict)
{
	struct control *ctl = cdev->ctl;
	_cleanup_free_ char *path = control_device_path(cdev);
	struct json_object *all = json_object_new_object();
	struct VirtqueueRequestList requests = { 0 };
	struct VirtqueueEventList events = { 0 };
	struct VirtqueueElements *elements = NULL;
	const uint16_t queue = (uint16_t)vq->index;
	struct err err = { 0 };
	int r;

	json_object_object_add(all, "time", json_object_new_int64(time(NULL)));
	json_object_object_add(all, "path", value_new_string(path));
	json_object_object_add(all, "queue", json_object_new_int(queue));
	json_object_object_add(
		all, "verdict", value_new_string(qapi_name_VirtQueueVerdict(verdict->verdict)));
	json_object_object_add(all, "sentence", value_new_string(verdict->sentence));
	if (verdict->advice)
		json_object_object_add(all, "advice", value_new_string(verdict->advice));
	r = inspect_inflight(ctl->root, path, &queue, &ctl->data_loop, &requests, &err);
	add(all, "inflight", r, &err, r < 0 ? NULL : qapi_to_json_VirtqueueRequestList(&requests));
	r = inspect_trace(ctl->root, path, queue, VQ_EVENTS, &events, &err);
	add(all, "trace", r, &err, r < 0 ? NULL : qapi_to_json_VirtqueueEventList(&events));
	r = inspect_elements(ctl->root, path, queue, 0, 0, &elements, &err);
	add(all, "elements", r, &err, r < 0 ? NULL : qapi_to_json_VirtqueueElements(elements));
	qapi_clear_VirtqueueRequestList(&requests);
	qapi_clear_VirtqueueEventList(&events);
	qapi_free_VirtqueueElements(elements);
	return all;
}

void control_stall_file(
	struct control_device *cdev, const struct vq *vq, const struct health_verdict *verdict)
{
	struct control *ctl = cdev->ctl;
	_cleanup_value_ struct json_object *all = NULL;
	char date[32] = "";
	time_t now = time(NULL);
	struct job *job;
	struct tm tm;

	if (!ctl->config.stall_dir || atomic_load(&is_writing))
		return;
	if (ctl->num_stall_files == STALL_FILES_MAX) {
		ctl->num_stall_files++;
		log_warn("%d files of stuck queues are in '%s': this run writes no more",
			STALL_FILES_MAX, ctl->config.stall_dir);
	}
	if (ctl->num_stall_files > STALL_FILES_MAX)
		return;
	ctl->num_stall_files++;
	if (gmtime_r(&now, &tm))
		strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &tm);
	all = describe_queue(cdev, vq, verdict);
	job = xnew(struct job);
	job->path = xasprintf("%s/%s-queue%u-%s-%u.json", ctl->config.stall_dir,
		vdev_label(cdev->dev), vq->index, date, ctl->num_stall_files);
	job->text = value_to_text(all, NULL);
	start_writing(job);
}
