/* SPDX-License-Identifier: Apache-2.0 */
/* What the library's files know of each other. Layouts are of virtio 1.3 §2.7, §2.8, §4.1.4, §5.2. */
#ifndef GVMM_STORAGE_INTERNAL_H
#define GVMM_STORAGE_INTERNAL_H

#include <linux/vfio.h>

#include "storage.h"

enum { PAGE = 4096 };

/* virtio 1.3 §2.1, §6 */
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64 };
#define BIT(n) (1ull << (n))
#define F_BLK_READ_ONLY BIT(5)
#define F_BLK_FLUSH BIT(9)
#define F_BLK_MQ BIT(12)
#define F_EVENT_INDEX BIT(29)
#define F_VERSION_1 BIT(32)
#define F_ACCESS_PLATFORM BIT(33)
#define F_RING_PACKED BIT(34)

/* struct virtio_pci_common_cfg, §4.1.4.3; 64-bit fields are written as halves. */
struct common {
	uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
	uint16_t msix_config, num_queues;
	uint8_t status, generation;
	uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	uint32_t queue_desc[2], queue_driver[2], queue_device[2];
};

/* struct virtio_blk_config, §5.2.4, as far as it is used. */
struct blk_config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t block_size;
	uint8_t topology[8];
	uint8_t writeback, unused;
	uint16_t num_queues;
};

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_AVAIL = 1 << 7, DESC_USED = 1 << 15 };
enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };		    /* §2.7.6, §2.7.8 */
enum { EVENTS_ENABLE = 0, EVENTS_DISABLE = 1, EVENTS_AT = 2 };	    /* §2.8.14 */

struct split_desc { uint64_t address; uint32_t length; uint16_t flags, next; };
struct packed_desc { uint64_t address; uint32_t length; uint16_t id, flags; };
struct packed_events { uint16_t at, flags; }; /* at: offset, and the wrap counter in bit 15 */

/* A request has at most these descriptors: header, data, status. */
enum { CHAIN = 3 };

/* What the disk reads and writes of a request besides its data, §5.2.6. */
struct slot_memory {
	uint32_t type, reserved;
	uint64_t sector;
	volatile uint8_t status;
	uint8_t pad[15];
};

/* A request under way. */
struct slot {
	uint64_t name;
	uint32_t bytes;
	bool busy, data; /* data: it has a data descriptor, so that the chain is of CHAIN */
};

/* A descriptor to be. */
struct piece { uint64_t iova; uint32_t bytes; bool write; };

/* Memory that the disk reaches. */
struct region { uint8_t *start; size_t bytes; uint64_t iova; };

/* What split and packed rings do differently. */
struct ring {
	size_t (*bytes)(unsigned size);
	void (*start)(struct storage_queue *q);
	void (*push)(struct storage_queue *q, unsigned slot, const struct piece *p, unsigned n); /* not visible yet */
	void (*publish)(struct storage_queue *q);		   /* what was pushed */
	bool (*wants_doorbell)(struct storage_queue *q);	   /* after publish and a full fence */
	int (*pop)(struct storage_queue *q);			   /* a slot, -EAGAIN, or -EIO */
	void (*arm)(struct storage_queue *q, unsigned completions); /* interrupt once so many more are complete */
	void (*disarm)(struct storage_queue *q);
};
extern const struct ring split_ring, packed_ring;

struct split { struct split_desc *desc; uint16_t *avail, *used; };
struct packed { struct packed_desc *desc; struct packed_events *driver, *device; };

struct storage_queue {
	struct storage *disk;
	const struct ring *ring;
	unsigned index, size, depth;
	volatile uint16_t *doorbell;
	int eventfd, uvecfd;
	bool broken;

	uint8_t *memory; /* of the ring; ring_iova is where the disk sees it */
	uint64_t ring_iova;
	union {
		struct split split;
		struct packed packed;
	};
	/* Positions in the ring: split counts chains, packed descriptors. Packed keeps its wrap counters beside. */
	uint16_t next_avail, last_used, published;
	bool avail_wrap, used_wrap, published_wrap;
	uint16_t first_flags, first_at; /* packed: the head of what is not visible yet, written last */
	bool held;

	struct slot *slots;
	struct slot_memory *shared;
	uint64_t shared_iova;
	uint16_t *free; /* a stack of slots */
	unsigned frees;

	struct storage_request *requests; /* prepared, of depth */
	unsigned prepared;
	struct storage_completion *completions; /* a ring of depth */
	unsigned first, complete;
	unsigned under_way, shorts; /* shorts: those whose chain is of CHAIN-1 */

	struct storage_waiting waiting;
	bool polling;
	volatile bool interrupted; /* by a user interrupt, since storage_wait() armed last */
	volatile uint64_t user_interrupts;
	struct storage_counters counters;
};

struct storage {
	int container, group, device;
	uint64_t config; /* offset of configuration space in device */
	struct { uint8_t *start; size_t bytes; } mapped[3]; /* pages of BARs */
	unsigned mappings;
	volatile struct common *common;
	volatile struct blk_config *blk;
	uint8_t *notify;
	size_t notify_bytes;
	uint32_t multiplier;
	uint64_t features;
	struct storage_info info;
	int config_eventfd;

	struct region regions[STORAGE_MAX_REGIONS]; /* those with bytes */
	uint8_t *pool; /* of storage_alloc() */
	size_t pool_bytes, pool_used;
	struct storage_queue *queues;
	unsigned started;
};

/* error.c: keeps the text, returns -error */
int storage_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* vfio.c */
int vfio_open(struct storage *d, const char *group, const char *function);
void vfio_close(struct storage *d);
int vfio_enable(struct storage *d, uint16_t what); /* bits of the command register */
void *vfio_map_structure(struct storage *d, unsigned bar, uint64_t offset, uint64_t bytes); /* NULL: failed */
int vfio_config(struct storage *d, unsigned at, unsigned n, uint32_t *v);
int vfio_map(struct storage *d, void *memory, size_t bytes, uint64_t iova);
int vfio_unmap(struct storage *d, size_t bytes, uint64_t iova);
int vfio_interrupts(struct storage *d, const int *eventfds, unsigned n);

/* memory.c */
int memory_open(struct storage *d, size_t bytes);
void memory_close(struct storage *d);
void *memory_new(struct storage *d, size_t bytes, uint64_t *iova); /* whole pages, zero; NULL: failed */
uint64_t memory_iova(const struct storage *d, const void *p, size_t bytes); /* 0: the disk does not reach all of it */

/* virtio.c */
int virtio_find(struct storage *d);
int virtio_negotiate(struct storage *d, const struct storage_options *o);
int virtio_start(struct storage *d);
int virtio_reset(struct storage *d);
int virtio_start_queue(struct storage_queue *q);

/* queue.c */
int queue_open(struct storage_queue *q, struct storage *d, unsigned index, unsigned depth);
void queue_close(struct storage_queue *q);
unsigned queue_collect(struct storage_queue *q); /* moves what is used to the completion ring: how many */

/* posted.c: until a user interrupt, or the timeout in milliseconds (-1: none) */
void posted_sleep(struct storage_queue *q, int timeout);

#endif
