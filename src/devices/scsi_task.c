/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control queue: task management and the subscription to events, of which there are none.
 *
 * The host's I/O cannot be called back: a command that has begun runs to its end and is answered by
 * what became of it. A function that aborts therefore waits for the commands that it names: once it
 * is answered, none of them is out any more, and their answers lie in the rings. It visits one
 * queue after the other, on the loop of each. There it lets the queue take what the driver had made
 * available, and waits for what is then in flight.
 */
#include "devices/scsi_int.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/be.h"

/* virtio 1.3, "Device Operation: Control Queue" */
#define TYPE_TASK	  0
#define TYPE_AN_QUERY	  1
#define TYPE_AN_SUBSCRIBE 2

struct task_request {
	le32 function;
	uint8_t lun[8];
	le64 id;
};

struct notify_request {
	uint8_t lun[8];
	le32 events;
};

struct notify_response {
	le32 events;
	uint8_t response;
} __attribute__((packed));

/* What a function is about. */
enum scope { ONE_COMMAND, UNIT, TARGET };

static const struct function {
	enum scope scope;
	bool known;
	bool asks; /* whether there is any; nothing is waited for */
	bool resets;
	enum scsi_attention attention; /* that its units have afterwards */
} functions[] = {
	[0] = { ONE_COMMAND, true, false }, /* ABORT_TASK */
	[1] = { UNIT, true, false }, /* ABORT_TASK_SET */
	[2] = { UNIT, false, false }, /* CLEAR_ACA: there is none */
	[3] = { UNIT, true, false }, /* CLEAR_TASK_SET */
	[4] = { TARGET, true, false, true, SCSI_ATTENTION_NEXUS }, /* I_T_NEXUS_RESET */
	[5] = { UNIT, true, false, true, SCSI_ATTENTION_RESET }, /* LOGICAL_UNIT_RESET */
	[6] = { ONE_COMMAND, true, true }, /* QUERY_TASK */
	[7] = { UNIT, true, true }, /* QUERY_TASK_SET */
};

/* One function in flight, at the place of its chain's slot. */
struct scsi_task {
	struct scsi *scsi;
	struct vq *vq; /* the control queue */
	struct chain *chain;
	const struct function *function;
	uint8_t target;
	uint16_t lun;
	uint64_t tag;
	bool found;
	unsigned int queue; /* that it visits */
	bool arrived; /* all that the driver had made available there was taken */
	uint64_t taken; /* when the queue has taken so many, it surely was */
	uint64_t before; /* of that queue's commands, those up to this number */
	struct scsi_task *next;
	struct loop_post post;
};

int scsi_control_start(struct scsi *scsi, struct vq *vq)
{
	scsi->task_slots = xnew_n(struct scsi_task, vq->num);
	return 0;
}

void scsi_control_stop(struct scsi *scsi)
{
	free(scsi->task_slots);
	scsi->task_slots = NULL;
}

/* --- on the loop of a request queue --- */

static bool concerns(const struct scsi_task *task, const struct scsi_req *req)
{
	/* With in_order an answer waits for all that came before it. */
	if (req->vq->in_order && !task->function->asks)
		return true;
	if (req->target != task->target)
		return false;
	if (task->function->scope == TARGET)
		return true;
	return req->lun == task->lun && (task->function->scope == UNIT || req->tag == task->tag);
}

static bool is_out(struct scsi_queue *q, const struct scsi_task *task)
{
	uint32_t i;

	for (i = 0; i < q->num_reqs; i++)
		if (q->reqs[i].busy && q->reqs[i].number <= task->before &&
			concerns(task, &q->reqs[i]))
			return true;
	return false;
}

static void visit(struct loop_post *post);
static void finish(struct loop_post *post);

static void go_on(struct scsi_task *task)
{
	struct vdev *dev = &task->scsi->dev;

	task->post.fn = visit;
	if (++task->queue < dev->num_queues) {
		loop_post(dev->queues[task->queue].loop, &task->post);
		return;
	}
	task->post.fn = finish;
	loop_post(task->vq->loop, &task->post);
}

/* Has the queue taken all that lay in its ring when the task came to it? */
static bool arrives(struct scsi_queue *q, struct scsi_task *task)
{
	if (!task->arrived && q->vq && !vq_has_taken(q->vq, task->taken))
		return false;
	if (!task->arrived)
		task->before = q->num_commands;
	task->arrived = true;
	return true;
}

/* Behind the answers that the queue's loop still has to show to the driver. */
static void look(struct scsi_queue *q)
{
	struct scsi_task **at = &q->tasks;
	bool behind = false;

	while (*at) {
		struct scsi_task *task = *at;
		bool here = arrives(q, task), out = here && is_out(q, task);

		behind |= !here;
		task->found |= out;
		if (!here || (out && !task->function->asks)) {
			at = &task->next;
			continue;
		}
		*at = task->next;
		go_on(task);
	}
	scsi_paths_settle(q);
	/* One more turn for the queue, and then one for us; else the next answer brings us back. */
	if (behind && !vq_is_dry(q->vq)) {
		vq_resume(q->vq);
		scsi_tasks_check(q);
	}
}

static void on_check(struct loop_work *work)
{
	look(container_of(work, struct scsi_queue, check));
}

void scsi_tasks_check(struct scsi_queue *q)
{
	struct loop *loop = q->scsi->dev.queues[q->index].loop;

	/* It may be queued before the work that shows an answer. */
	loop_work_cancel(loop, &q->check);
	loop_work_add(loop, &q->check);
}

static void visit(struct loop_post *post)
{
	struct scsi_task *task = container_of(post, struct scsi_task, post);
	struct scsi_queue *q = &task->scsi->queues[task->queue];

	task->arrived = false;
	if (q->vq) {
		task->taken = vq_mark_available(q->vq);
		vq_resume(q->vq);
	}
	task->next = q->tasks;
	q->tasks = task;
	scsi_tasks_check(q);
}

void scsi_tasks_init(struct scsi_queue *q)
{
	q->check.fn = on_check;
}

void scsi_tasks_answered(struct scsi_queue *q)
{
	if (q->tasks || q->leaving || q->num_changing)
		scsi_tasks_check(q);
}

void scsi_tasks_stop(struct scsi_queue *q)
{
	/* Nothing is in flight: whoever waits here goes on. */
	loop_work_cancel(q->scsi->dev.queues[q->index].loop, &q->check);
	look(q);
}

/* --- on the loop of the control queue --- */

static void put_response(struct chain *c, uint8_t response)
{
	chain_put(c, &response, sizeof(response));
}

static void finish(struct loop_post *post)
{
	struct scsi_task *task = container_of(post, struct scsi_task, post);
	struct scsi *scsi = task->scsi;
	struct scsi_path *path = scsi->queues[SCSI_QUEUE_CONTROL].paths;

	for (; path && task->function->resets; path = path->next) {
		struct scsi_unit *unit = path->unit;

		if (unit->target != task->target ||
			(task->function->scope != TARGET && unit->lun != task->lun))
			continue;
		scsi_unit_settle(unit);
		scsi_attention_raise(unit, task->function->attention);
	}
	put_response(task->chain, task->function->asks && task->found
					  ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED
					  : VIRTIO_SCSI_S_OK);
	vq_complete(task->vq, task->chain);
}

static enum serve_verdict refuse(struct vq *vq, struct chain *c, uint8_t response)
{
	vq_count_error(vq);
	put_response(c, response);
	return SERVE_DONE;
}

static enum serve_verdict serve_task(struct scsi *scsi, struct vq *vq, struct chain *c)
{
	struct scsi_task *task = &scsi->task_slots[c->slot];
	struct scsi_address address;
	struct task_request req;
	uint32_t number;

	if (!chain_take(c, &req.function, 4) || !chain_take(c, req.lun, 8) ||
		!chain_take(c, &req.id, 8))
		return refuse(vq, c, VIRTIO_SCSI_S_FUNCTION_REJECTED);
	number = le32_get(req.function);
	if (number >= ARRAY_SIZE(functions) || !functions[number].known)
		return refuse(vq, c, VIRTIO_SCSI_S_FUNCTION_REJECTED);
	scsi_find(&scsi->queues[SCSI_QUEUE_CONTROL], req.lun, &address);
	if (!address.target_there)
		return refuse(vq, c, VIRTIO_SCSI_S_BAD_TARGET);
	if (!address.path && functions[number].scope != TARGET)
		return refuse(vq, c, VIRTIO_SCSI_S_INCORRECT_LUN);
	*task = (struct scsi_task){ .scsi = scsi,
		.vq = vq,
		.chain = c,
		.function = &functions[number],
		.target = address.target,
		.lun = address.lun,
		.tag = le64_get(req.id),
		.queue = SCSI_QUEUE_FIRST - 1 };
	go_on(task);
	return SERVE_HELD;
}

/* No event of any kind is to be had (MMC's come by GET EVENT STATUS NOTIFICATION). */
static enum serve_verdict serve_notify(struct scsi *scsi, struct vq *vq, struct chain *c)
{
	struct notify_response response = { .response = VIRTIO_SCSI_S_OK };
	struct scsi_address address;
	struct notify_request req;

	if (!chain_take(c, req.lun, 8) || !chain_take(c, &req.events, 4)) {
		response.response = VIRTIO_SCSI_S_FAILURE;
	} else {
		scsi_find(&scsi->queues[SCSI_QUEUE_CONTROL], req.lun, &address);
		if (!address.target_there)
			response.response = VIRTIO_SCSI_S_BAD_TARGET;
		else if (!address.path)
			response.response = VIRTIO_SCSI_S_INCORRECT_LUN;
	}
	if (response.response)
		vq_count_error(vq);
	chain_put(c, &response, sizeof(response));
	return SERVE_DONE;
}

enum serve_verdict scsi_control(struct scsi *scsi, struct vq *vq, struct chain *c)
{
	le32 type;

	if (chain_take(c, &type, sizeof(type))) {
		if (le32_get(type) == TYPE_TASK)
			return serve_task(scsi, vq, c);
		if (le32_get(type) == TYPE_AN_QUERY || le32_get(type) == TYPE_AN_SUBSCRIBE)
			return serve_notify(scsi, vq, c);
	}
	/* How an answer would look is not known. */
	vq_count_error(vq);
	log_limited(&scsi->log, LOG_LEVEL_WARN,
		"%s: control queue: head %u is no request that is known; returned unanswered",
		vdev_label(&scsi->dev), c->head);
	return SERVE_DONE;
}
