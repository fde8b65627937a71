package agent

import (
	"context"
	"io"
	"os"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
)

// Files gives access to the directory of an allocation.
func (c *client) Files(allocID, task string) (api.Files, error) {
	f, err := c.runner.Files(allocID, task)
	if err != nil {
		return nil, insideError(err)
	}
	return files{f}, nil
}

// files are an allocation's files in the terms of the API.
type files struct{ f *runtime.Files }

// List lists a directory.
func (f files) List(path string) ([]api.FileInfo, error) {
	list, err := f.f.List(path)
	if err != nil {
		return nil, insideError(err)
	}
	out := make([]api.FileInfo, 0, len(list))
	for _, info := range list {
		out = append(out, fileInfo(info))
	}
	return out, nil
}

// Stat describes one file.
func (f files) Stat(path string) (api.FileInfo, error) {
	info, err := f.f.Stat(path)
	return fileInfo(info), insideError(err)
}

func fileInfo(info runtime.FileInfo) api.FileInfo {
	return api.FileInfo{
		Name: info.Name, IsDir: info.Mode.IsDir(), Size: info.Size, FileMode: info.Mode.String(), ModTime: info.ModTime, Link: info.Link,
	}
}

// Open opens a regular file to be read.
func (f files) Open(path string) (api.File, error) {
	file, err := f.f.Open(path)
	if err != nil {
		return nil, insideError(err)
	}
	return openFile{file}, nil
}

// openFile is a file that may grow.
type openFile struct{ *os.File }

// Size is how long the file is now.
func (f openFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Pack writes a file or a directory as a tar archive.
func (f files) Pack(ctx context.Context, path string, w io.Writer) error {
	return insideError(f.f.Pack(ctx, path, w))
}

// Unpack writes the files of a tar archive below a directory.
func (f files) Unpack(ctx context.Context, path string, r io.Reader) error {
	return insideError(f.f.Unpack(ctx, path, r))
}
