package vmm

import (
	"errors"

	"gvmm/vcpu"
	"gvmm/vcpu/soft"
	"gvmm/vcpu/soft/jit"
)

// JITReport is what the software CPU's translator did in the whole run.
type JITReport struct {
	Mode         string  `json:"mode"`          // on, off or check
	Why          string  `json:"why,omitempty"` // it is off where nobody asked for that
	Instructions uint64  `json:"instructions"`  // retired, by all processors
	Native       uint64  `json:"native"`        // of these, by translated code
	Share        float64 `json:"native_share"`
	Blocks       uint64  `json:"blocks"`     // translated
	CodeBytes    uint64  `json:"code_bytes"` // of translated code, now
	Flushes      uint64  `json:"flushes"`    // times that it was dropped as a whole
	Checked      uint64  `json:"checked"`    // blocks compared with the interpreter
}

// chooseJIT turns what was asked for into what is done: an explicit wish is kept or refused.
func (e *softEngine) chooseJIT(config soft.CPUConfig) (*soft.CPU, error) {
	config.JIT = e.machine.config.JIT
	automatic := config.JIT == vcpu.JITAuto
	if automatic {
		config.JIT = vcpu.JITOn
		if e.virtual != nil {
			config.JIT, e.jitWhy = vcpu.JITOff, "virtual time counts instructions by the interpreter; --jit=on translates there too"
		}
	}
	c, err := e.soft.NewCPU(config)
	if automatic && errors.Is(err, jit.ErrHost) {
		config.JIT, e.jitWhy = vcpu.JITOff, err.Error()
		c, err = e.soft.NewCPU(config)
	}
	e.jit = config.JIT
	return c, err
}

// translations reports what was translated.
func (e *softEngine) translations(end *counts) *JITReport {
	r := &JITReport{
		Mode: e.jit.String(), Why: e.jitWhy, Instructions: end.engine["instructions"], Native: end.engine["native"],
		Blocks: end.engine["translations"], CodeBytes: end.engine["code_bytes"], Flushes: end.engine["code_flushes"],
		Checked: end.engine["checked"],
	}
	if r.Instructions > 0 {
		r.Share = float64(r.Native) / float64(r.Instructions)
	}
	return r
}
