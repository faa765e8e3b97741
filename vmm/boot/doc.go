// Package boot tells what an image is, loads the kernel in it into guest memory, says where
// it starts, and writes what firmware would leave for it (docs/linux.md).
//
// [Identify] knows Linux bzImages and unified kernel images, vmlinux, ELF executables with a
// PVH note (XEN_ELFNOTE_PHYS32_ENTRY), multiboot 1 images and disks; what it refuses it
// refuses by name. [Load] loads by one of several ways: Linux's 64-bit protocol, for
// which a bzImage is unpacked and randomised here, by the relocations behind its
// vmlinux, or left to its own code; a PVH note; a multiboot header. Whatever is wrong with
// an image is one sentence that names the image and the mend.
//
// [ACPI] builds the tables of a small PC, with a DSDT in machine language.
package boot
