/* SPDX-License-Identifier: Apache-2.0 */
/* What programs of the bare guest share: calls, printing, user interrupts, the disk. */
#ifndef GVMM_BARE_USER_H
#define GVMM_BARE_USER_H
#include <stddef.h>
#include <stdint.h>
#include "../abi.h"
#include "../../lib/abi.h"
#include "../../lib/uintr.h"

extern const struct program_info *program_info;
int64_t system_call(int64_t number, uint64_t a, uint64_t b, uint64_t c);

/* print.c: %s %u (uint64_t) %x (uint64_t) */
void print(const char *format, ...);
void die(const char *why) __attribute__((noreturn));
/* option looks up name=value on the command line; option_text copies at most n bytes with the NUL. */
uint64_t option(const char *name, uint64_t otherwise);
void option_text(const char *name, char *to, size_t n, const char *otherwise);

/* interrupt.c: user interrupts of the calling CPU, whichever way they go. */
extern uint8_t handler_return;
extern uint64_t fast_uiret;
extern char user_interrupt_entry[], thread_entry[];
void on_user_interrupt(uint64_t vector, uint64_t tsc);
void interrupts_register(int through_kernel);
void interrupts_enable(void);
void send_user_interrupt(uint64_t index);

/* sha256.c */
struct sha256 {
	uint32_t h[8];
	uint64_t length;
	uint8_t block[64];
};
void sha256_init(struct sha256 *s);
void sha256_update(struct sha256 *s, const void *data, size_t n);
void sha256_final(struct sha256 *s, uint8_t digest[32]);

/* disk.c: a virtio-blk driver in the program. */
#define SECTOR 512
#define QUEUE_MAX 256

struct disk {
	struct device device;
	uint64_t sectors;
	uint32_t size; /* of the queue */
	uint16_t last_used;
	volatile uint32_t *doorbell;
	uint64_t kicks;
};

/* disk_open sets up queue 0 with MSI-X entry 0 for requests in slots below depth. NULL, or why not. */
const char *disk_open(struct disk *d, uint64_t index, uint32_t depth);
/* disk_read submits a read in a slot that is free, and rings the doorbell if the device asks for it. */
void disk_read(struct disk *d, uint16_t slot, uint64_t sector, void *buffer, uint32_t bytes);
/* disk_reap takes one completion: 1 and its slot and status, 0 if there is none. */
int disk_reap(struct disk *d, uint16_t *slot, uint8_t *status);
/* disk_arm asks for an interrupt at the next completion; 1 if one is there already. */
int disk_arm(struct disk *d);
#endif
