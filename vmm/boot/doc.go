// Package boot loads a kernel image into guest memory and says where it starts.
//
// It knows ELF executables with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY) and images
// with a multiboot 1 header, two ways by which a kernel is entered in 32-bit
// protected mode with a pointer to what it is told in EBX. An image that has both
// is entered by its note. Whatever is wrong with an image is one sentence that
// names the image and the mend.
package boot
