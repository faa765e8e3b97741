package boot

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// Source is an image, wherever it lies: a file, what a unified kernel image has of it, what
// a disk holds.
type Source struct {
	Name string // as errors call it: a path
	io.ReaderAt
	Size int64 // bytes
}

// Bytes is an image in memory, which must not be changed afterwards.
func Bytes(name string, b []byte) Source {
	return Source{Name: name, ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
}

// part is n bytes of s from off on, under another name.
func (s Source) part(name string, off, n int64) Source {
	return Source{Name: name, ReaderAt: io.NewSectionReader(s, off, n), Size: n}
}

// head reads up to n bytes that s begins with.
func (s Source) head(n int64) []byte {
	b := make([]byte, max(min(n, s.Size), 0))
	got, _ := s.ReadAt(b, 0)
	return b[:got]
}

// File is a regular file as a Source.
type File struct {
	Source
	file *os.File
}

// Open opens the file at path, which must be a regular one.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &File{Source{Name: path, ReaderAt: f, Size: st.Size()}, f}, nil
}

// Close closes the file; its Source, and what was taken from it, can then not be read.
func (f *File) Close() error { return f.file.Close() }
