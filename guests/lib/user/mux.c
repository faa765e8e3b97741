/* SPDX-License-Identifier: Apache-2.0 */
/* Many sources on one vector: the receiver's side. */
#include "internal.h"

/* Takes the words that summary names, and those of also. Masked, so that no handler is in the midst of the same. */
static unsigned take(struct uintr_mux *mux, uint64_t also)
{
	struct uintr_mux_shared *s = mux->shared;
	uint64_t words = atomic_exchange(&s->summary, 0) | also, bits;
	unsigned source, handled = 0;

	for (; words; words &= words - 1) {
		unsigned word = (unsigned)__builtin_ctzll(words);

		for (bits = atomic_exchange(&s->words[word], 0); bits; bits &= bits - 1) {
			source = word * 64 + (unsigned)__builtin_ctzll(bits);
			/* Senders are not trusted to keep to the count. */
			if (source >= mux->count || !mux->sources[source].handler)
				continue;
			mux->sources[source].handler(source, mux->sources[source].context);
			handled++;
		}
	}
	return handled;
}

unsigned uintr_mux_sweep(struct uintr_mux *mux)
{
	unsigned handled;

	uintr_mask();
	handled = take(mux, UINT64_MAX);
	uintr_unmask();
	return handled;
}

static void on_vector(unsigned vector, void *context)
{
	(void)vector;
	take(context, 0);
}

int uintr_mux_start(struct uintr_mux *mux, int vector, struct uintr_mux_shared *shared, struct uintr_mux_source *sources, unsigned count)
{
	if (count > UINTR_MUX_SOURCES)
		return -EINVAL;
	*mux = (struct uintr_mux){ .shared = shared, .sources = sources, .count = count };
	mux->vector = uintr_attach(vector, on_vector, mux);
	return mux->vector;
}

int uintr_mux_stop(struct uintr_mux *mux)
{
	return uintr_detach(mux->vector);
}
