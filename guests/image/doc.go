// Package image builds a bootable disk for Linux guests from the host's own Debian
// packages: the stock kernel and its modules, busybox-static, what guests/linux adds,
// and any packages asked for. Nothing needs root, and nothing is compiled but, if asked
// for, the driver of user interrupts and programs that use them.
//
// apt resolves, downloads and verifies. The packages are unpacked into a Tree, a
// file system held as a list, because owners and device numbers cannot be staged on a
// disk without privileges; mke2fs and debugfs then write the Tree as ext4 into the one
// partition of a sparse raw disk. The kernel, an initial RAM disk with just the modules
// that find the root, and a Boot Loader Specification entry lie under /boot.
//
// An image is a function of its inputs: times, UUIDs and the order of blocks derive
// from them, and a manifest inside it says what they were. A second build with the same
// inputs finds the image and leaves it alone.
package image
