package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// ManifestPath is where a manifest lies in an image; beside it, it has the image's name
// with ManifestSuffix.
const (
	ManifestPath   = "etc/gvmm/manifest.json"
	ManifestSuffix = ".manifest.json"
)

// format counts what this package makes differently of the same inputs.
const format = 1

// maxManifest is the longest that is read, in bytes.
const maxManifest = 4 << 20

// A Manifest says what an image was made from.
type Manifest struct {
	Format       int               `json:"format"` // of the builder; 1
	Distribution string            `json:"distribution"`
	Flavour      Flavour           `json:"flavour"`
	Kernel       string            `json:"kernel"` // its release, as uname says it
	CommandLine  string            `json:"command_line"`
	Size         int64             `json:"size"` // of the disk, bytes
	Packages     []Package         `json:"packages"`
	Headers      []Package         `json:"headers,omitempty"` // that the driver was compiled with; not in the image
	Files        map[string]string `json:"files"`             // SHA-256 of what gvmm adds, by path
	Tools        map[string]string `json:"tools"`             // versions of what wrote the file system, and compiled
	Epoch        *time.Time        `json:"epoch,omitempty"`
	Inputs       string            `json:"inputs"` // SHA-256 of all the above
	Disk         string            `json:"disk"`   // GUID of the partition table
	Partition    string            `json:"partition"`
	Filesystem   string            `json:"filesystem"` // UUID of the root file system
}

// seal fills in what derives from the rest. Only the file system's own UUID is in the
// command line that guests see, so it is added after the sum.
func (m *Manifest) seal() error {
	m.Format = format
	m.Inputs, m.Disk, m.Partition, m.Filesystem = "", "", "", ""
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("image: manifest: %w", err)
	}
	m.Inputs = sum(text)
	derive := func(what string) string {
		return uuid.NewSHA1(uuid.NameSpaceOID, []byte(m.Inputs+" "+what)).String()
	}
	m.Disk, m.Partition, m.Filesystem = derive("disk"), derive("partition"), derive("filesystem")
	return nil
}

// text is the manifest as it is written.
func (m *Manifest) text() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("image: manifest: %w", err)
	}
	return append(text, '\n'), nil
}

// parseManifest reads a manifest and judges whether it is one of ours, unchanged.
func parseManifest(text []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("image: manifest: %w", err)
	}
	again := m
	if err := again.seal(); err != nil {
		return nil, err
	}
	if m.Format == format && m.Inputs != again.Inputs {
		return nil, fmt.Errorf("image: manifest: its sum is not %s", m.Inputs)
	}
	return &m, nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
