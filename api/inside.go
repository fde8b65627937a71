package api

import (
	"context"
	"io"
	"net"
	"time"
)

// Inside is what can be done inside the allocations of a machine, and what it says of itself. Only the agent that runs the
// allocation is asked. Errors wrap ErrNotFound where there is no such allocation, task or file.
type Inside interface {
	// Exec finds the task and checks the command. Nothing runs before the function that it returns is called.
	Exec(ctx context.Context, req ExecRequest) (ExecFunc, error)
	// Signal sends a signal to one task of an allocation, to all that run when task is "".
	Signal(ctx context.Context, allocID, task, signal string) error
	// Stats reads what the running tasks of an allocation use.
	Stats(ctx context.Context, allocID string) (*AllocStats, error)
	// MachineStats reads what each allocation of this machine uses.
	MachineStats(ctx context.Context) (*MachineStats, error)
	// DialPort connects to a port of an allocation, named by its label or its number.
	DialPort(ctx context.Context, allocID, port string) (net.Conn, error)
	// Files gives access to the directory of an allocation. task says whose directories are meant by paths such as /local.
	Files(allocID, task string) (Files, error)
}

// Files are an allocation's files. Paths begin at the allocation's directory. Nothing outside of it can be reached, nor what is
// secret in it.
type Files interface {
	// List lists a directory, in the order of names.
	List(path string) ([]FileInfo, error)
	// Stat describes one file.
	Stat(path string) (FileInfo, error)
	// Open opens a regular file to be read.
	Open(path string) (File, error)
	// Pack writes a file, or a directory with all that is in it, as a tar archive.
	Pack(ctx context.Context, path string, w io.Writer) error
	// Unpack writes the files of a tar archive below a directory.
	Unpack(ctx context.Context, path string, r io.Reader) error
}

// File is an open file that may grow while it is read.
type File interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// FileInfo describes a file of an allocation.
type FileInfo struct {
	Name     string
	IsDir    bool
	Size     int64
	FileMode string // "-rw-r--r--"
	ModTime  time.Time
	Link     string `json:",omitempty"` // where a symbolic link leads to
}
