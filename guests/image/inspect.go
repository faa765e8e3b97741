package image

import (
	"errors"
	"fmt"
	"io"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
)

var errManifest = errors.New("image: no manifest")

// ReadManifest reads the manifest in an image that Build made.
func ReadManifest(path string) (m *Manifest, err error) {
	// The library may panic on a damaged file system.
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("%w in %s: %v", errManifest, path, r)
		}
	}()
	var b backend.Storage
	if b, err = file.OpenFromPath(path, true); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	defer b.Close()
	info, err := b.Stat()
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	x, err := ext4.Read(b, info.Size()-2*gap, gap, sectorSize)
	if err != nil {
		return nil, fmt.Errorf("%w in %s: %w", errManifest, path, err)
	}
	f, err := x.OpenFile("/"+ManifestPath, 0)
	if err != nil {
		return nil, fmt.Errorf("%w in %s: %w", errManifest, path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return nil, fmt.Errorf("%w in %s: %w", errManifest, path, err)
	}
	return parseManifest(text)
}
