// Package boot loads a kernel image into guest memory, says where it starts, and writes
// what firmware would leave for it.
//
// It knows ELF executables with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY) and images
// with a multiboot 1 header, two ways by which a kernel is entered in 32-bit
// protected mode with a pointer to what it is told in EBX. An image that has both
// is entered by its note. A Linux bzImage is unpacked here, not by the guest, and the
// vmlinux inside is entered by its note. Whatever is wrong with an image is one sentence
// that names the image and the mend.
//
// ACPI builds the tables of a small PC, with a DSDT in machine language.
package boot
