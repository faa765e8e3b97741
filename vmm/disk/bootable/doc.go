// Package bootable finds the kernel, the initial RAM disk and the command line
// in a disk: where a boot loader's configuration names them, else where
// distributions put them.
//
// It reads GPT and MBR partition tables, disks that are one file system, ext2
// to ext4 and FAT. A disk is untrusted: whatever is on it, [Find] ends, within
// a budget of bytes read, and keeps no more than [MaxKernel] and [MaxInitrd]
// bytes. That is why the readers here are its own: each structure is judged
// before it is followed, and no chain, tree or link is followed for ever.
//
// A journal is not replayed: a disk that was not unmounted is read as it stands.
package bootable
