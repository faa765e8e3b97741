// SPDX-License-Identifier: Apache-2.0

// A Go program that receives user interrupts on a thread of C's own, and sends them from
// goroutines. See docs/uintr-programming.md §7.
//
//	CGO_CFLAGS=-I/usr/local/include CGO_LDFLAGS=-L/usr/local/lib go build
package main

/*
#cgo LDFLAGS: -luintr-user -lpthread
#include <stdlib.h>
#include "receiver.h"
*/
import "C"

import (
	"fmt"
	"math/bits"
	"os"
	"sync"
	"syscall"
)

const (
	vectors = 4
	sends   = 1000
)

func run() error {
	if why := C.uintr_unavailable(); why != nil {
		return fmt.Errorf("%s", C.GoString(why))
	}
	// C's memory: its thread keeps the address.
	r := (*C.struct_receiver)(C.calloc(1, C.sizeof_struct_receiver))
	if err := C.receiver_start(r, vectors); err < 0 {
		return fmt.Errorf("receiver: %w", syscall.Errno(-err))
	}
	events := os.NewFile(uintptr(r.eventfd), "user interrupts")

	// Each goroutine sends its vector, and once more when the one before was seen.
	var seen [vectors]chan struct{}
	var senders sync.WaitGroup
	for v := range vectors {
		seen[v] = make(chan struct{}, 1)
		index := C.uintr_channel_open(r.channels[v])
		if index < 0 {
			return fmt.Errorf("channel: %w", syscall.Errno(-index))
		}
		senders.Add(1)
		go func() {
			defer senders.Done()
			for range sends {
				C.uintr_send(index)
				<-seen[v]
			}
		}()
	}
	done := make(chan struct{})
	go func() { senders.Wait(); close(done) }()

	go func() {
		var count [8]byte
		for {
			if _, err := events.Read(count[:]); err != nil { // waits in the poller
				return
			}
			for pending := uint64(C.receiver_take(r)); pending != 0; pending &= pending - 1 {
				seen[bits.TrailingZeros64(pending)] <- struct{}{}
			}
		}
	}()
	<-done
	fmt.Printf("%d user interrupts reached goroutines\n", vectors*sends)
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
