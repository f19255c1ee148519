/* SPDX-License-Identifier: BSD-3-Clause */
/* Findings as the monitor tells them: bits get their names here. */
#include "inspect/findings.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "describe/describe.h"
#include "inspect/virtio.h"
#include "proto/transcript.h"

static const enum VhostUserSeverity severities[] = {
	[LINT_NOTE] = VHOST_USER_SEVERITY_NOTE,
	[LINT_WARNING] = VHOST_USER_SEVERITY_WARNING,
	[LINT_ERROR] = VHOST_USER_SEVERITY_ERROR,
};

const struct transcript *inspect_transcript_of(const struct vdev *dev)
{
	if (dev->view.transcript)
		return dev->view.transcript;
	return dev->view.vhost ? dev->view.vhost->transcript : NULL;
}

struct lint *inspect_lint(const struct vdev *dev, uint64_t unanswered_ms)
{
	const struct transcript *t = inspect_transcript_of(dev);
	struct lint *l;

	if (!t)
		return NULL;
	l = xnew(struct lint);
	*l = *t->lint;
	lint_finish(l, t, now_ns(), unanswered_ms);
	return l;
}

static char *name_of(const struct vdev *dev, enum lint_word word, unsigned int bit)
{
	const struct describe_bit *found =
		word == LINT_PROTOCOL
			? describe_protocol_bit(bit)
			: describe_feature_bit(
				  describe_type_by_id(dev->cls->virtio_id), bit, true, true);

	return found ? xstrdup(found->identifier) : xasprintf("bit %u", bit);
}

static struct VhostUserFinding *finding_new(const struct vdev *dev, const struct lint_finding *f)
{
	const struct lint_rule_info *rule = &lint_rules[f->rule];
	struct VhostUserFinding *ret = xnew(struct VhostUserFinding);

	ret->rule = xstrdup(rule->name);
	ret->severity = severities[rule->severity];
	ret->meaning = xstrdup(rule->meaning);
	ret->text = xstrdup(f->text);
	ret->connection = f->connection;
	ret->time = f->time_ns;
	ret->count = f->count;
	ret->last = f->last;
	for (unsigned int i = 0; i < LINT_SERIALS && f->serials[i]; i++)
		qapi_append_uint64List(&ret->serials, f->serials[i]);
	ret->has_queue = f->queue >= 0;
	ret->queue = f->queue >= 0 ? (uint16_t)f->queue : 0;
	ret->has_features = f->word != LINT_NO_WORD;
	for (unsigned int bit = 0; ret->has_features && bit < 64; bit++)
		if (f->bits >> bit & 1)
			qapi_append_strList(&ret->features, name_of(dev, f->word, bit));
	return ret;
}

int inspect_findings(struct qom_object *root, const char *path, uint64_t unanswered_ms,
	struct VhostUserFindingList *ret, struct err *err)
{
	const struct vdev *dev = inspect_find(root, path);
	_cleanup_free_ struct lint *l = NULL;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	l = inspect_lint(dev, unanswered_ms);
	if (!l)
		return err_set(err, -ENODEV,
			"%s has no vhost-user connection: no messages are kept", path);
	for (unsigned int i = 0; i < l->num_findings; i++)
		qapi_append_VhostUserFindingList(ret, finding_new(dev, &l->findings[i]));
	return 0;
}
