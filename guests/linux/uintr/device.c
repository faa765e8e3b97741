// SPDX-License-Identifier: GPL-2.0
/*
 * Devices that post to a user program: the interrupt-remapping entry of a device's MSI becomes a
 * user-posted one (docs/iommu.md §2.5), if the remapping unit has these. The kernel's driver of the
 * unit thinks that the interrupt is posted to a guest's vCPU, keeps its hands off the entry, and
 * restores it when asked.
 */
#include <linux/acpi.h>
#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <asm/irq_remapping.h>

#include "uintr.h"

/* Registers of the unit, iommu.md §1.1, and of its vendor page. */
#define REG_STATUS	0x1c
#define STATUS_TES	BIT(31)
#define REG_ROOT	0x20
#define REG_IRTA	0xb8
#define REG_VENDOR	0xf00
#define VENDOR_MAGIC	0x494d5055
#define VENDOR_CONTROL	0x08
#define VENDOR_STATUS	0x0c
#define VENDOR_BASE	0x10
#define VENDOR_COUNT	0x18
#define CONTROL_ENABLE	BIT(0)
#define CONTROL_LOAD	BIT(1)
#define STATUS_REFUSED	BIT(2)
#define STATUS_REVOKING	BIT(3)

/* Remapping entry, iommu.md §1.7. */
struct irte {
	u64 lo, hi;
} __aligned(16);
#define IRTE_FPD		BIT_ULL(1)
#define IRTE_UPM		BIT_ULL(13)
#define IRTE_IM			BIT_ULL(15)
#define IRTE_VECTOR_SHIFT	16
#define IRTE_SOURCE		GENMASK_ULL(19, 0)

/* Which UPIDs the devices of a domain may post to. */
struct pool {
	u64 base;
	u32 count;
	u16 domain, reserved;
	u64 tag, reserved2;
};
#define POOLS (PAGE_SIZE / sizeof(struct pool))

struct uintr_device {
	unsigned int irq;
	struct pool pool;
	struct list_head node;
};

/* What irq_data::chip_data of the remapping chip begins with, and a request to the unit's queue. */
struct ir_data {
	void *unit;
	u16 index, sub;
};
struct request {
	u64 word[4];
};

static DEFINE_MUTEX(lock);
static void __iomem *regs;
static LIST_HEAD(bound);
static struct pool *table;
static void *nowhere;	/* a descriptor that is posted to for an instant */
static int (*submit)(void *unit, struct request *r, unsigned int count, unsigned long options);

static void __iomem *map_unit(u64 base)
{
	void __iomem *r = ioremap(base, PAGE_SIZE);

	if (r && readl(r + REG_VENDOR) != VENDOR_MAGIC) {
		iounmap(r);
		r = NULL;
	}
	return r;
}

/* The first remapping unit with user-posted entries. */
static void __iomem *find_unit(void)
{
	struct acpi_table_header *dmar;
	void __iomem *found = NULL;
	u32 at = sizeof(struct acpi_table_dmar);

	if (ACPI_FAILURE(acpi_get_table(ACPI_SIG_DMAR, 0, &dmar)))
		return NULL;
	while (!found && at + sizeof(struct acpi_dmar_hardware_unit) <= dmar->length) {
		struct acpi_dmar_hardware_unit *unit = (void *)dmar + at;

		if (unit->header.type == ACPI_DMAR_TYPE_HARDWARE_UNIT)
			found = map_unit(unit->address);
		if (!unit->header.length)
			break;
		at += unit->header.length;
	}
	acpi_put_table(dmar);
	return found;
}

/* Whether no binding before d is to the same UPID: pools may not overlap. */
static bool first_of(const struct uintr_device *d)
{
	const struct uintr_device *e;

	list_for_each_entry(e, &bound, node)
		if (e->pool.base == d->pool.base)
			break;
	return e == d;
}

/* Puts the pools of what is bound in force; on return nothing is posted by what was before. */
static int load_pools(void)
{
	void __iomem *vendor = regs + REG_VENDOR;
	struct uintr_device *d;
	u32 status;
	int n = 0;

	list_for_each_entry(d, &bound, node)
		if (first_of(d))
			table[n++] = d->pool;
	writeq(virt_to_phys(table), vendor + VENDOR_BASE);
	writel(n, vendor + VENDOR_COUNT);
	writel(CONTROL_ENABLE | CONTROL_LOAD, vendor + VENDOR_CONTROL);
	while ((status = readl(vendor + VENDOR_STATUS)) & STATUS_REVOKING)
		usleep_range(10, 100);
	return status & STATUS_REFUSED ? -EIO : 0;
}

/* The remapping hardware's part of an interrupt. */
static struct ir_data *remapping(unsigned int irq)
{
	struct irq_data *d;

	for (d = irq_get_irq_data(irq); d; d = d->parent_data)
		if (d->chip && d->chip->name && !strcmp(d->chip->name, "INTEL-IR"))
			return d->chip_data;
	return NULL;
}

static struct irte *entry(const struct ir_data *r)
{
	struct irte *entries = phys_to_virt(readq(regs + REG_IRTA) & PAGE_MASK);

	return entries + r->index + r->sub;
}

/* The domain that requests of source are in. */
static int domain_of(u16 source, u16 *domain)
{
	u64 *root, *context;

	*domain = 0;
	if (!(readl(regs + REG_STATUS) & STATUS_TES))
		return 0;
	root = phys_to_virt(readq(regs + REG_ROOT) & PAGE_MASK);
	root += 2 * (source >> 8);
	if (!(root[0] & 1))
		return -ENODEV;
	context = phys_to_virt(root[0] & PAGE_MASK);
	context += 2 * (source & 0xff);
	if (!(context[0] & 1))
		return -ENODEV;
	*domain = context[1] >> 8;
	return 0;
}

static int flush(const struct ir_data *r)
{
	struct request q = { { 4 | BIT(4) | (u64)(r->index + r->sub) << 32 } }; /* the entry's cache, one index */

	return submit(r->unit, &q, 1, 0);
}

static int post_to(struct uintr_vector *v, struct uintr_device *d, const struct ir_data *r)
{
	struct vcpu_data away = { virt_to_phys(nowhere), v->vector };
	u64 pda = d->pool.base;
	struct irte *e = entry(r), old, new;
	int err;

	err = irq_set_vcpu_affinity(d->irq, &away);
	if (err)
		return err;
	old = *e;
	new.lo = 1 | (old.lo & IRTE_FPD) | IRTE_UPM | IRTE_IM | (u64)v->vector << IRTE_VECTOR_SHIFT | (pda & 0xffffffc0) << 32;
	new.hi = (old.hi & IRTE_SOURCE) | (pda & ~0xffffffffULL);
	if (!cmpxchg_double(&e->lo, &e->hi, old.lo, old.hi, new.lo, new.hi))
		return -EAGAIN;
	return flush(r);
}

/* An interrupt posts to one receiver; a receiver takes any number from devices of one domain. */
static bool conflicts(const struct uintr_device *d)
{
	const struct uintr_device *e;
	size_t n = 0;

	list_for_each_entry(e, &bound, node) {
		if (e->irq == d->irq || (e->pool.base == d->pool.base && e->pool.domain != d->pool.domain))
			return true;
		n++;
	}
	return n == POOLS;
}

static int bind(struct uintr_vector *v, struct uintr_device *d)
{
	struct ir_data *r = remapping(d->irq);
	int err;

	if (!r)
		return -EINVAL;
	err = domain_of(entry(r)->hi, &d->pool.domain);
	if (err)
		return err;
	if (conflicts(d))
		return -EBUSY;
	list_add(&d->node, &bound);
	err = load_pools();
	if (!err)
		err = post_to(v, d, r);
	if (err) {
		irq_set_vcpu_affinity(d->irq, NULL);
		list_del(&d->node);
		load_pools();
	}
	return err;
}

/* Interrupt irq, of whatever device, posts v from now on and is not delivered to its handler. */
int uintr_bind_irq(struct uintr_vector *v, unsigned int irq)
{
	struct uintr_device *d;
	int err = -EBUSY;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (!regs)
		return -EOPNOTSUPP;
	d = kzalloc(sizeof(*d), GFP_KERNEL_ACCOUNT);
	if (!d)
		return -ENOMEM;
	d->irq = irq;
	d->pool.base = virt_to_phys(&v->upid->hw);
	d->pool.count = 1;
	mutex_lock(&lock);
	if (!v->device) {
		err = bind(v, d);
		if (!err)
			v->device = d;
	}
	mutex_unlock(&lock);
	if (err)
		kfree(d);
	return err;
}

/* The entry goes back to what it was, if the interrupt is still there, and no post is under way any more. */
void uintr_unbind_irq(struct uintr_vector *v)
{
	struct uintr_device *d;

	mutex_lock(&lock);
	d = v->device;
	v->device = NULL;
	if (d) {
		irq_set_vcpu_affinity(d->irq, NULL);
		list_del(&d->node);
		load_pools();
	}
	mutex_unlock(&lock);
	kfree(d);
}

/* A machine without such a unit is as good. */
int uintr_device_init(void)
{
	regs = find_unit();
	if (!regs)
		return 0;
	submit = uintr_symbol("qi_submit_sync");
	table = (void *)get_zeroed_page(GFP_KERNEL);
	nowhere = (void *)get_zeroed_page(GFP_KERNEL);
	if (submit && table && nowhere)
		return 0;
	uintr_device_exit();
	return -ENOMEM;
}

void uintr_device_exit(void)
{
	if (!regs)
		return;
	writel(0, regs + REG_VENDOR + VENDOR_CONTROL);
	iounmap(regs);
	regs = NULL;
	free_page((unsigned long)table);
	free_page((unsigned long)nowhere);
}
