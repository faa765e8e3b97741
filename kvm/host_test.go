package kvm

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestHostIsDescribedByItsModules(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  Host
		text  string
	}{
		{"nothing", nil, Host{Kind: HostNone}, "none"},
		{"no vendor", map[string]string{"sys/module/kvm/parameters/halt_poll_ns": "200000\n"}, Host{Kind: HostUnknown}, "unknown"},
		{
			"Intel", map[string]string{
				"sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
				"sys/module/kvm_intel/parameters/enable_ipiv":  "N\n",
			},
			Host{Kind: HostVMX, APICv: true}, "Intel VMX, APICv on, IPI virtualization off",
		},
		{
			"Intel with IPI virtualization", map[string]string{
				"sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
				"sys/module/kvm_intel/parameters/enable_ipiv":  "Y\n",
			},
			Host{Kind: HostVMX, APICv: true, IPIv: true}, "Intel VMX, APICv on, IPI virtualization on",
		},
		{
			"Intel without APICv", map[string]string{
				"sys/module/kvm_intel/parameters/enable_apicv": "N\n",
				"sys/module/kvm_intel/parameters/enable_ipiv":  "Y\n",
			},
			Host{Kind: HostVMX}, "Intel VMX, APICv off, IPI virtualization off",
		},
		{
			"AMD, older kernel", map[string]string{"sys/module/kvm_amd/parameters/avic": "1\n"},
			Host{Kind: HostSVM, APICv: true}, "AMD SVM, AVIC on, IPI virtualization off",
		},
		{
			"AMD, parameter off", map[string]string{"sys/module/kvm_amd/parameters/avic": "N\n"},
			Host{Kind: HostSVM}, "AMD SVM, AVIC off, IPI virtualization off",
		},
		{
			"AMD, parameter missing", map[string]string{"sys/module/kvm_amd/parameters/npt": "Y\n"},
			Host{Kind: HostSVM}, "AMD SVM, AVIC off, IPI virtualization off",
		},
		{
			"PVM beside a vendor built in", map[string]string{
				"sys/module/kvm_pvm/refcnt":                    "0\n",
				"sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
			},
			Host{Kind: HostPVM}, "kvm_pvm",
		},
		{
			"both vendors built in, on AMD", map[string]string{
				"sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
				"sys/module/kvm_amd/parameters/avic":           "Y\n",
				"proc/cpuinfo":                                 "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu svm sse\n",
			},
			Host{Kind: HostSVM, APICv: true}, "AMD SVM, AVIC on, IPI virtualization off",
		},
		{
			"both vendors built in, on Intel", map[string]string{
				"sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
				"sys/module/kvm_amd/parameters/avic":           "Y\n",
				"proc/cpuinfo":                                 "flags\t\t: fpu vmx sse\nvmx flags\t: apicv\n",
			},
			Host{Kind: HostVMX, APICv: true}, "Intel VMX, APICv on, IPI virtualization off",
		},
		{
			"both vendors built in, on neither", map[string]string{
				"sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
				"sys/module/kvm_amd/parameters/avic":           "Y\n",
				"proc/cpuinfo":                                 "flags\t\t: fpu sse\n",
			},
			Host{Kind: HostUnknown}, "unknown",
		},
		{
			"both vendors built in, no cpuinfo", map[string]string{
				"sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
				"sys/module/kvm_amd/parameters/avic":           "Y\n",
			},
			Host{Kind: HostUnknown}, "unknown",
		},
	} {
		fsys := fstest.MapFS{}
		for name, content := range c.files {
			fsys[name] = &fstest.MapFile{Data: []byte(content)}
		}
		got := DescribeHost(fsys)
		require.Equal(t, c.want, got, c.name)
		require.Equal(t, c.text, got.String(), c.name)
	}
}

func TestThisHostIsDescribedWhereKVMOpens(t *testing.T) {
	openSystem(t)
	require.NotEqual(t, HostNone, DescribeHost(os.DirFS("/")).Kind)
}
