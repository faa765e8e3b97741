// Package disk is a machine's disks as the host has them: raw files and block
// devices, qcow2 images, and copy-on-write overlays over either.
//
// A raw image is read and written in place. A qcow2 image is only read; what is
// written to a disk over one goes to an overlay. An overlay is a sparse file
// that never has a name: it is gone with the process, however that ends, and
// the image below is never changed.
//
// An image is an untrusted file. A qcow2 header is judged before anything is
// built from it, so that memory stays bounded by the limits in qcow2header.go,
// and the backing file that it may name is opened only if Options.Backing says
// so: it can be any file that the user can read, and the guest then reads it.
//
// Transfers that need not wait are done on the caller's goroutine. Others go
// to io_uring where the host has it, else to the device's pool of workers.
package disk
