/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions by number. A number is a place in the table and, above it, how many sessions there have
 * been: it names one session for ever. The lock is held to find a place and never while anything is
 * computed.
 */
#include <pthread.h>
#include <stdlib.h>

#include "backends/crypto_int.h"
#include "base/alloc.h"

#define PLACE_BITS 20

struct crypto_sessions {
	pthread_mutex_t lock;
	uint32_t max;
	_Atomic uint32_t num;
	uint64_t serial;
	uint32_t *free_places; /* a stack */
	struct crypto_session **places;
};

struct crypto_sessions *crypto_sessions_new(uint32_t max)
{
	struct crypto_sessions *set = xnew(struct crypto_sessions);
	uint32_t i;

	set->max = MIN(max, 1u << PLACE_BITS);
	pthread_mutex_init(&set->lock, NULL);
	set->places = xnew_n(struct crypto_session *, set->max);
	set->free_places = xnew_n(uint32_t, set->max);
	for (i = 0; i < set->max; i++)
		set->free_places[i] = set->max - 1 - i;
	return set;
}

void crypto_sessions_free(struct crypto_sessions *set)
{
	if (!set)
		return;
	crypto_sessions_close_all(set);
	pthread_mutex_destroy(&set->lock);
	free(set->places);
	free(set->free_places);
	free(set);
}

enum crypto_status crypto_sessions_open(
	struct crypto_sessions *set, const struct crypto_params *params, uint64_t *ret_id)
{
	struct crypto_session *s;
	enum crypto_status status = crypto_session_new(params, &s);
	uint32_t num, place;

	if (status)
		return status;
	pthread_mutex_lock(&set->lock);
	num = atomic_load(&set->num);
	if (num < set->max) {
		place = set->free_places[set->max - num - 1];
		s->id = ++set->serial << PLACE_BITS | place;
		*ret_id = s->id;
		set->places[place] = s;
		atomic_store(&set->num, num + 1);
	} else {
		status = CRYPTO_NOSPC;
	}
	pthread_mutex_unlock(&set->lock);
	if (status)
		crypto_session_put(s);
	return status;
}

/* The lock is held: the place of the session that @id names, or NULL. */
static struct crypto_session **find(struct crypto_sessions *set, uint64_t id)
{
	uint64_t place = id & ((1u << PLACE_BITS) - 1);

	if (place >= set->max || !set->places[place] || set->places[place]->id != id)
		return NULL;
	return &set->places[place];
}

/* The lock is held. The caller puts it back without. */
static struct crypto_session *take_out(struct crypto_sessions *set, struct crypto_session **at)
{
	uint32_t num = atomic_load(&set->num);
	struct crypto_session *s = *at;

	*at = NULL;
	set->free_places[set->max - num] = (uint32_t)(at - set->places);
	atomic_store(&set->num, num - 1);
	return s;
}

enum crypto_status crypto_sessions_close(struct crypto_sessions *set, uint64_t id)
{
	struct crypto_session **at, *s = NULL;

	pthread_mutex_lock(&set->lock);
	at = find(set, id);
	if (at)
		s = take_out(set, at);
	pthread_mutex_unlock(&set->lock);
	crypto_session_put(s);
	return at ? CRYPTO_OK : CRYPTO_INVSESS;
}

void crypto_sessions_close_all(struct crypto_sessions *set)
{
	uint32_t i;

	for (i = 0; i < set->max && atomic_load(&set->num); i++) {
		struct crypto_session *s = NULL;

		pthread_mutex_lock(&set->lock);
		if (set->places[i])
			s = take_out(set, &set->places[i]);
		pthread_mutex_unlock(&set->lock);
		crypto_session_put(s);
	}
}

struct crypto_session *crypto_sessions_get(struct crypto_sessions *set, uint64_t id)
{
	struct crypto_session **at, *s = NULL;

	pthread_mutex_lock(&set->lock);
	at = find(set, id);
	if (at) {
		s = *at;
		atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&set->lock);
	return s;
}

uint32_t crypto_sessions_num(const struct crypto_sessions *set)
{
	return atomic_load(&set->num);
}
