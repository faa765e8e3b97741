// Package vcpu is what a virtual processor is to a machine: the CPU interface,
// the causes of its exits, and how they are counted.
//
// An engine implements CPU: vcpu/hw over /dev/kvm, vcpu/soft in software. A
// machine gives it a Handler, which serves what the processor cannot do by
// itself, and learns from it how often that was.
package vcpu
