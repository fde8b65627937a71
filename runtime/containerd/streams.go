package containerd

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd/companion"
)

// streams says where a task's output goes and where its input comes from.
func (d *Driver) streams(id string, spec runtime.TaskSpec, o options) (cio.Creator, error) {
	cfg := cio.Config{Stdout: spec.Stdout, Stderr: spec.Stderr, Terminal: o.TTY}
	if o.NoLogs {
		cfg.Stdout, cfg.Stderr = os.DevNull, os.DevNull
	}
	if o.TTY {
		if d.cfg.SelfExe == "" {
			return nil, fmt.Errorf("config.tty: %w: %w", runtime.ErrNotRetryable, errors.New("the agent does not know its own binary, which copies the terminal's output"))
		}
		cfg.Stdout, cfg.Stderr = copied(d.cfg.SelfExe, cfg.Stdout), ""
	}
	if o.Interactive {
		var err error
		if cfg.Stdin, err = d.openStdin(id); err != nil {
			return nil, err
		}
	}
	return files(cfg), nil
}

// copied names a program that copies: a terminal is not written to a file by the shim itself but through a pipe. One key, because
// containerd puts several in any order.
func copied(exe, path string) string {
	u := url.URL{Scheme: "binary", Path: exe, RawQuery: url.Values{companion.CopyArg: {path}}.Encode()}
	return u.String()
}

// plainIO hands the shim two files to append to. A path without a scheme is for containerd a pipe, but a regular file that is there
// already is written to as it is; nothing of ours has to run for that. (file:// would put both streams into one file.)
type plainIO struct{ cfg cio.Config }

func (p plainIO) Config() cio.Config { return p.cfg }
func (p plainIO) Cancel()            {}
func (p plainIO) Wait()              {}
func (p plainIO) Close() error       { return nil }

func plainFiles(stdout, stderr string) cio.Creator {
	return files(cio.Config{Stdout: stdout, Stderr: stderr})
}

func files(cfg cio.Config) cio.Creator {
	return func(string) (cio.IO, error) {
		for _, path := range []string{cfg.Stdout, cfg.Stderr} {
			if path == "" || strings.Contains(path, "://") {
				continue
			}
			f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
			if err != nil {
				return nil, fmt.Errorf("open log file of task: %w", err)
			}
			if err := f.Close(); err != nil {
				return nil, fmt.Errorf("open log file of task: %w", err)
			}
		}
		return plainIO{cfg}, nil
	}
}
