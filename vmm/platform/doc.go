// Package platform is the legacy devices that a PC's kernel looks at: the 8254
// timer, the CMOS clock, the ACPI fixed registers with their timer, fw_cfg, and
// the several ports that reset a PC.
//
// A device answers Read and Write of 1, 2 or 4 bytes at the ports it decodes, from
// any goroutine. A byte-wide device answers a wider access as a bus does: a byte
// at each port in turn. What it does not decode reads as ones.
//
// No device has a goroutine or a timer. Time is a [Clock], the guest's TSC: a
// device that waits for something says when in Deadline, and the machine calls
// Tick at that time, late or early as it likes: what fell due is what Now says.
// A write to a register may move the deadline, so the machine asks again after it.
//
// IRQ functions are called with the device's lock held, so that levels arrive in
// order: they must not call the device.
package platform
