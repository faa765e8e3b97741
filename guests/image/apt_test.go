package image

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAptListIsRead(t *testing.T) {
	sum := strings.Repeat("0f", 32)
	packages, err := parseURIs([]byte("Reading lists...\n" +
		"'http://h/z/zlib1g_1.2_amd64.deb' zlib1g_1%3a1.2-1+b1_amd64.deb 86684 SHA256:" + strings.ToUpper(sum) + "\n" +
		"'http://h/l/libx_1~rc_all.deb' libx_1~rc_all.deb 7 MD5Sum:00\n" +
		"'http://h/y_1_amd64.deb' yy_1_amd64.deb 8 \n"))
	require.NoError(t, err)
	require.Equal(t, []Package{
		{Name: "zlib1g", Version: "1:1.2-1+b1", File: "zlib1g_1%3a1.2-1+b1_amd64.deb", Size: 86684, SHA256: sum},
		{Name: "libx", Version: "1~rc", File: "libx_1~rc_all.deb", Size: 7},
		{Name: "yy", Version: "1", File: "yy_1_amd64.deb", Size: 8},
	}, packages)
	for _, bad := range []string{
		"'http://h/x' ../x_1_amd64.deb 1 SHA256:00", "'http://h/x' x_1_amd64.deb -1", "'http://h/x' x.deb 1", "'http://h/x' a%2fb_1_amd64.deb 1",
		"'u' x_1_amd64.deb 99999999999999999999",
	} {
		_, err := parseURIs([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestKernelIsTheOneThatTheMetapackageDependsOn(t *testing.T) {
	name, version, err := parseKernel([]byte("Package: linux-image-amd64\nVersion: 6\nDepends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)\nDescription: x\n"))
	require.NoError(t, err)
	require.Equal(t, "linux-image-6.1.0-56-amd64 6.1.192-2", name+" "+version)
	_, _, err = parseKernel([]byte("Package: linux-image-amd64\nDepends: kmod\n"))
	require.Error(t, err)
}

func TestStatusOfDownloadsIsFollowed(t *testing.T) {
	var got []float64
	followStatus(strings.NewReader("dlstatus:1:0.0:x\nnonsense\ndlstatus:1:y:z\ndlstatus:2:50.5:Retrieving: a\ndlstatus:1:900:x\n"), func(f float64) { got = append(got, f) })
	require.Equal(t, []float64{0, 0.505}, got)
}

func TestAptErrorsSayWhatHelps(t *testing.T) {
	err := aptError("apt-get", "W: something\nE: Unable to locate package x\nE: more\n", os.ErrInvalid)
	require.ErrorContains(t, err, "apt-get: Unable to locate package x (where apt's lists are old or missing, `apt-get update` as root renews them)")
	require.NotContains(t, aptError("apt-get", "E: disk full", os.ErrInvalid).Error(), "update")
}

func TestCachedPackagesAreWhole(t *testing.T) {
	dir := t.TempDir()
	a := apt{cache: dir, dir: t.TempDir()}
	p := Package{Name: "x", File: "x_1_all.deb", Size: 3, SHA256: sum([]byte("abc"))}
	write := func(s string) { require.NoError(t, os.WriteFile(filepath.Join(dir, p.File), []byte(s), 0o600)) }
	require.False(t, a.cached(p, dir))
	write("ab")
	require.False(t, a.cached(p, dir), "half of it")
	write("abd")
	require.False(t, a.cached(p, dir), "something else")
	write("abc")
	require.True(t, a.cached(p, dir))
	n, err := a.fetch(context.Background(), []Package{p}, nil)
	require.NoError(t, err)
	require.Zero(t, n, "nothing is downloaded twice")
}

func FuzzApt(f *testing.F) {
	f.Add([]byte("'http://h/x' x_1%3a2_amd64.deb 1 SHA256:" + strings.Repeat("00", 32)))
	f.Add([]byte("Depends: a, linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)"))
	f.Add([]byte("dlstatus:1:1e9:x\n"))
	f.Add([]byte("ID=debian\nPRETTY_NAME=\"Debian\\x\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if packages, err := parseURIs(text); err == nil {
			for _, p := range packages {
				require.Equal(t, p.File, filepath.Base(p.File), "a file in the cache, nowhere else")
				require.NotContains(t, p.Name, "/")
				require.NotEqual(t, '-', rune(p.Name[0]), "no option of apt's")
			}
		}
		if name, _, err := parseKernel(text); err == nil {
			require.True(t, strings.HasPrefix(name, "linux-image-"))
			require.NotContains(t, name, "/")
		}
		followStatus(strings.NewReader(string(text)), func(f float64) { require.True(t, f >= 0 && f <= 1) })
		parseOSRelease(string(text))
		_, _ = parseManifest(text)
	})
}
