// SPDX-License-Identifier: GPL-2.0
/*
 * A vfio device's MSI-X vector is aimed at a receiver's UPID, as KVM aims it at a virtual
 * processor's descriptor: the bypass manager brings vfio's interrupt and our eventfd together, and
 * irq_set_vcpu_affinity() has intel-iommu write the posted entry, invalidate it and wait. The
 * remapping unit takes a descriptor for a UPID because it lies in a pool that is registered with
 * the unit for the device's domain. A processor has no part in it before the receiver's gets the
 * notification.
 *
 * Order: a pool is in force before an entry names it, and leaves after the entry did; the UPID
 * outlives both.
 */
#include <linux/acpi.h>
#include <linux/bitfield.h>
#include <linux/delay.h>
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqbypass.h>
#include <linux/msi.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <asm/irq_remapping.h>

#include "uintr.h"
#include "uposted.h"

/* The unit's registers, VT-d §11.4, and its vendor page (docs/iommu.md §2.5). */
#define UNIT_BYTES	4096
#define REG_GSTS	0x1c
#define GSTS_TES	BIT(31)
#define REG_RTADDR	0x20
#define RTADDR_MODE	GENMASK_ULL(11, 10)	/* 0: the tables are of legacy mode */
#define REG_MAGIC	0xf00
#define REG_VERSION	0xf04
#define REG_CONTROL	0xf08
#define REG_STATUS	0xf0c
#define REG_BASE	0xf10
#define REG_COUNT	0xf18
#define MAGIC		0x494d5055
#define VERSION		2		/* posted entries that name a pool are user-posted */
#define ENABLE		BIT(0)
#define LOAD		BIT(1)
#define LOADED		BIT(1)
#define REVOKING	BIT(3)
#define REVOKE_MS	1000

/* Root and context entries, VT-d §9.1, §9.3. */
struct table_entry {
	__le64 lo, hi;
};
#define ENTRY_PRESENT	BIT_ULL(0)
#define ENTRY_TABLE	GENMASK_ULL(51, 12)
#define CONTEXT_DID	GENMASK_ULL(23, 8)

/* An entry of the pool table; ours are of one UPID each. */
struct pool_entry {
	__le64 base;
	__le32 upids;
	__le16 domain, reserved;
	__le64 tag, reserved2;
};
#define POOLS (PAGE_SIZE / sizeof(struct pool_entry))

struct pool {
	phys_addr_t upid;
	u16 domain;
	unsigned int uses;
};

struct uintr_posting {
	struct irq_bypass_consumer consumer;
	struct eventfd_ctx *eventfd;
	struct uintr_upid *upid;
	u8 vector;
	u16 domain;
	int irq;	/* 0: no device yet, or none any more */
	typeof(&irq_bypass_unregister_consumer) unregister;
};

static DEFINE_MUTEX(lock);	/* of what follows */
static void __iomem *unit;	/* NULL: no unit posts to users */
static struct pool pools[POOLS];
static unsigned int pool_count;
static struct pool_entry *table;	/* a page that the unit reads */

static phys_addr_t upid_address(const struct uintr_posting *p)
{
	return virt_to_phys(&p->upid->hw);
}

/* Put the pools in force. Posts that were judged by those before are over when it returns. */
static int load_pools(void)
{
	unsigned int i;
	u32 status;

	for (i = 0; i < pool_count; i++)
		table[i] = (struct pool_entry){
			.base = cpu_to_le64(pools[i].upid), .upids = cpu_to_le32(1), .domain = cpu_to_le16(pools[i].domain),
		};
	writeq(virt_to_phys(table), unit + REG_BASE);
	writel(pool_count, unit + REG_COUNT);
	writel(ENABLE | LOAD, unit + REG_CONTROL);
	for (i = 0; (status = readl(unit + REG_STATUS)) & REVOKING && i < REVOKE_MS; i++)
		msleep(1);
	if (status & REVOKING || !(status & LOADED)) {
		pr_err("the remapping unit refuses the pools of UPIDs (status %#x)\n", status);
		return -EIO;
	}
	return 0;
}

static struct pool *find_pool(phys_addr_t upid)
{
	unsigned int i;

	for (i = 0; i < pool_count; i++)
		if (pools[i].upid == upid)
			return &pools[i];
	return NULL;
}

static int hold_pool(phys_addr_t upid, u16 domain)
{
	struct pool *pool = find_pool(upid);
	int err;

	if (pool && pool->domain != domain)
		return -EBUSY;
	if (pool) {
		pool->uses++;
		return 0;
	}
	if (pool_count == POOLS)
		return -ENOSPC;
	pools[pool_count++] = (struct pool){ upid, domain, 1 };
	err = load_pools();
	if (err)
		pool_count--;
	return err;
}

static void drop_pool(phys_addr_t upid)
{
	struct pool *pool = find_pool(upid);

	if (--pool->uses)
		return;
	*pool = pools[--pool_count];
	load_pools();
}

/* One entry of a table of 256. */
static int read_entry(phys_addr_t at, unsigned int index, struct table_entry *e)
{
	struct table_entry *t = memremap(at, PAGE_SIZE, MEMREMAP_WB);

	if (!t)
		return -ENOMEM;
	*e = t[index];
	memunmap(t);
	return le64_to_cpu(e->lo) & ENTRY_PRESENT ? 0 : -ENODEV;
}

/* The domain that the unit has a function in: its tenant. It is the kernel's to choose, and in its tables only. */
static int find_domain(struct pci_dev *dev, u16 *domain)
{
	struct table_entry e;
	u64 root;
	int err;

	*domain = 0;
	if (!(readl(unit + REG_GSTS) & GSTS_TES))
		return 0;
	root = readq(unit + REG_RTADDR);
	if (root & RTADDR_MODE)
		return -EOPNOTSUPP;
	err = read_entry(root & ENTRY_TABLE, dev->bus->number, &e);
	if (!err)
		err = read_entry(le64_to_cpu(e.lo) & ENTRY_TABLE, dev->devfn, &e);
	if (!err)
		*domain = FIELD_GET(CONTEXT_DID, le64_to_cpu(e.hi));
	return err;
}

/* The bypass manager brings a device's interrupt. */
static int add_producer(struct irq_bypass_consumer *consumer, struct irq_bypass_producer *producer)
{
	struct uintr_posting *p = container_of(consumer, struct uintr_posting, consumer);
	struct vcpu_data target = { .pi_desc_addr = upid_address(p), .vector = p->vector };
	struct msi_desc *msi = irq_get_msi_desc(producer->irq);
	int err;

	if (!msi || !dev_is_pci(msi->dev) || pci_domain_nr(to_pci_dev(msi->dev)->bus))
		return -EOPNOTSUPP;
	mutex_lock(&lock);
	err = find_domain(to_pci_dev(msi->dev), &p->domain);
	if (!err)
		err = hold_pool(upid_address(p), p->domain);
	if (!err) {
		err = irq_set_vcpu_affinity(producer->irq, &target);
		if (err)
			drop_pool(upid_address(p));
	}
	if (!err)
		WRITE_ONCE(p->irq, producer->irq);
	mutex_unlock(&lock);
	return err;
}

/* It takes the interrupt back, before the device's driver frees it. */
static void del_producer(struct irq_bypass_consumer *consumer, struct irq_bypass_producer *producer)
{
	struct uintr_posting *p = container_of(consumer, struct uintr_posting, consumer);

	mutex_lock(&lock);
	irq_set_vcpu_affinity(producer->irq, NULL);
	drop_pool(upid_address(p));
	WRITE_ONCE(p->irq, 0);
	mutex_unlock(&lock);
}

/* The bypass manager is a module that is there if vfio is. */
static bool get_manager(typeof(&irq_bypass_register_consumer) *enter, typeof(&irq_bypass_unregister_consumer) *leave)
{
	*enter = symbol_get(irq_bypass_register_consumer);
	if (!*enter)
		return false;
	*leave = symbol_get(irq_bypass_unregister_consumer);
	if (*leave)
		return true;
	symbol_put(irq_bypass_register_consumer);
	return false;
}

static void put_manager(void)
{
	symbol_put(irq_bypass_register_consumer);
	symbol_put(irq_bypass_unregister_consumer);
}

struct uintr_posting *uintr_posting_begin(struct uintr_upid *upid, u8 vector, struct file *eventfd)
{
	typeof(&irq_bypass_register_consumer) enter;
	struct uintr_posting *p;

	if (!unit || !irq_remapping_cap(IRQ_POSTING_CAP))
		return NULL;
	p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	if (!p || !get_manager(&enter, &p->unregister))
		goto no_manager;
	p->upid = upid;
	p->vector = vector;
	p->eventfd = eventfd_ctx_fileget(eventfd);
	if (IS_ERR(p->eventfd))
		goto no_eventfd;
	p->consumer.token = p->eventfd;
	p->consumer.add_producer = add_producer;
	p->consumer.del_producer = del_producer;
	if (!enter(&p->consumer))
		return p;
	eventfd_ctx_put(p->eventfd);
no_eventfd:
	put_manager();
no_manager:
	kfree(p);
	return NULL;
}

void uintr_posting_end(struct uintr_posting *p)
{
	if (!p)
		return;
	p->unregister(&p->consumer);
	put_manager();
	eventfd_ctx_put(p->eventfd);
	kfree(p);
}

bool uintr_posting_active(const struct uintr_posting *p)
{
	return p && READ_ONCE(p->irq);
}

/* The registers of the unit that has the functions of segment 0, where nothing else is said (ACPI DMAR). 0: none. */
static u64 unit_address(void)
{
	struct acpi_table_header *dmar;
	u64 address = 0;
	u32 at;

	if (ACPI_FAILURE(acpi_get_table(ACPI_SIG_DMAR, 0, &dmar)))
		return 0;
	for (at = sizeof(struct acpi_table_dmar); at + sizeof(struct acpi_dmar_header) <= dmar->length;) {
		struct acpi_dmar_hardware_unit *u = (void *)dmar + at;

		if (u->header.length < sizeof(u->header) || u->header.length > dmar->length - at)
			break;
		if (u->header.type == ACPI_DMAR_TYPE_HARDWARE_UNIT && u->header.length >= sizeof(*u) &&
		    (u->flags & ACPI_DMAR_INCLUDE_ALL) && !u->segment)
			address = u->address;
		at += u->header.length;
	}
	acpi_put_table(dmar);
	return address;
}

/* No unit that posts to users is no error. */
int uintr_posting_init(void)
{
	u64 address = unit_address();
	void __iomem *regs;

	BUILD_BUG_ON(sizeof(struct pool_entry) != 32);
	if (!address)
		return 0;
	regs = ioremap(address, UNIT_BYTES);
	if (!regs)
		return -ENOMEM;
	if (readl(regs + REG_MAGIC) != MAGIC || readl(regs + REG_VERSION) < VERSION) {
		iounmap(regs);
		return 0;
	}
	table = (void *)get_zeroed_page(GFP_KERNEL);
	if (!table) {
		iounmap(regs);
		return -ENOMEM;
	}
	unit = regs;
	pr_info("devices can post to users\n");
	return 0;
}

/* No uvecfd is open, so no device posts. */
void uintr_posting_exit(void)
{
	if (!unit)
		return;
	writel(0, unit + REG_CONTROL);
	iounmap(unit);
	free_page((unsigned long)table);
}
