package vmm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAConfigGetsItsDefaults(t *testing.T) {
	c := Config{Image: "kernel"}
	require.NoError(t, c.check())
	require.Equal(t, 1, c.CPUs)
	require.Equal(t, 1, c.queues())
	require.NotNil(t, c.Serial)
}

func TestConfigsThatCannotBeAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no image":          func(c *Config) { c.Image = "" },
		"no whole MiB":      func(c *Config) { c.Memory = MiB + 4096 },
		"too little memory": func(c *Config) { c.Memory = 4096 },
		"too much memory":   func(c *Config) { c.Memory = maxMemory + MiB },
		"negative CPUs":     func(c *Config) { c.CPUs = -1 },
		"too many CPUs":     func(c *Config) { c.CPUs = MaxCPUs + 1 },
		"too many disks":    func(c *Config) { c.Disks = make([]Disk, maxDisks+1) },
		"too many queues":   func(c *Config) { c.Queues = 17 },
		"too long a line":   func(c *Config) { c.Command = string(make([]byte, 4096)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{Image: "kernel"}
			change(&c)
			require.ErrorIs(t, c.check(), ErrConfig)
		})
	}
}
