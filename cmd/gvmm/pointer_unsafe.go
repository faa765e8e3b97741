package main

import "unsafe"

// uintptrOf is the address of a system call's parameters.
func uintptrOf[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }
