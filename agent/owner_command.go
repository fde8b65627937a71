package agent

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
)

var _ api.Inside = (*client)(nil)

// Exec finds the task and checks the command.
func (c *client) Exec(_ context.Context, req api.ExecRequest) (api.ExecFunc, error) {
	run, err := c.runner.Exec(req.AllocID, req.Task, runtime.Command{Args: req.Command, TTY: req.TTY})
	if err != nil {
		return nil, insideError(err)
	}
	return func(ctx context.Context, x api.ExecIO) (int, error) {
		cmd := runtime.Command{Stdout: x.Stdout, Stderr: x.Stderr}
		if x.Stdin != nil {
			cmd.Stdin = readCloser(x.Stdin)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		over := make(chan struct{})
		defer close(over)
		if x.Resize != nil {
			sizes := make(chan runtime.TTYSize)
			cmd.Resize = sizes
			wg.Go(func() { passSizes(x.Resize, sizes, over) })
		}
		code, err := run(ctx, cmd)
		return code, insideError(err)
	}, nil
}

func readCloser(r io.Reader) io.ReadCloser {
	if rc, ok := r.(io.ReadCloser); ok {
		return rc
	}
	return io.NopCloser(r)
}

func passSizes(from <-chan api.TTYSize, to chan<- runtime.TTYSize, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case s, open := <-from:
			if !open {
				return
			}
			select {
			case to <- runtime.TTYSize{Rows: s.Height, Columns: s.Width}:
			case <-over:
				return
			}
		}
	}
}

// Signal sends a signal to the tasks of an allocation.
func (c *client) Signal(ctx context.Context, allocID, task, signal string) error {
	return insideError(c.runner.SignalTask(ctx, allocID, task, signal))
}

// insideError gives an error of the runtime the code that the API has for it. The sentinel's own words say nothing to a user.
func insideError(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []struct {
		is   error
		code string
	}{
		{runtime.ErrNoCommand, api.CodeInvalid}, {runtime.ErrBadCommand, api.CodeInvalid}, {runtime.ErrBadPath, api.CodeInvalid},
		{runtime.ErrForbidden, api.CodeForbidden}, {runtime.ErrBusy, api.CodeBusy}, {runtime.ErrNotRunning, api.CodeConflict},
		{runtime.ErrNotFound, api.CodeNotFound}, {runtime.ErrUnavailable, api.CodeUnavailable}, {runtime.ErrNotRetryable, api.CodeInvalid},
	} {
		if errors.Is(err, known.is) {
			return api.NewError(known.code, "", "%s", strings.TrimSuffix(err.Error(), ": "+known.is.Error()))
		}
	}
	return ownerError(err)
}
