package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
)

var _ api.Owner = (*client)(nil)

// Owns reports whether the allocation is on this machine.
func (c *client) Owns(allocID string) bool { return slices.Contains(c.runner.Found(), allocID) }

// Restart restarts one task of an allocation, all of them when task is "".
func (c *client) Restart(ctx context.Context, allocID, task string) error {
	return ownerError(c.runner.RestartAlloc(ctx, allocID, task))
}

// Logs writes a task's output to w.
func (c *client) Logs(ctx context.Context, req api.LogsRequest, w io.Writer) error {
	task, err := c.taskOf(req)
	if err != nil {
		return err
	}
	log, err := c.runner.OpenLog(req.AllocID, task, runtime.LogKind(req.Type))
	if err != nil {
		return ownerError(err)
	}
	offset, until, err := logRange(log, req)
	if err != nil {
		return ownerError(err)
	}
	if req.Follow {
		if _, err := w.Write(nil); err != nil { // sends the head: the reader knows that it follows although nothing is written yet
			return err
		}
	}
	return log.ReadUntil(ctx, offset, until, req.Follow && !req.Previous, func(_ int64, p []byte) error {
		_, err := w.Write(p)
		return err
	})
}

// logRange is the part of a log that is asked for.
func logRange(log *runtime.LogReader, req api.LogsRequest) (offset, until int64, err error) {
	first, end, err := log.Range()
	if err != nil {
		return 0, 0, err
	}
	until = 1 << 62
	if req.Previous {
		if first, until, err = log.Previous(); err != nil {
			return 0, 0, err
		}
		end = until
	}
	offset = first + req.Offset
	if req.Origin == api.LogFromEnd {
		offset = max(first, end-req.Offset)
	}
	if req.Tail > 0 {
		if offset, err = log.TailBefore(until, req.Tail); err != nil {
			return 0, 0, err
		}
		offset = max(offset, first)
	}
	since := req.Since
	if req.Ago > 0 {
		since = time.Now().Add(-req.Ago)
	}
	if since.IsZero() {
		return offset, until, nil
	}
	from, err := log.Since(since)
	return max(offset, from), until, err
}

// taskOf is the task whose output is asked for.
func (c *client) taskOf(req api.LogsRequest) (string, error) {
	if req.Task != "" {
		return req.Task, nil
	}
	tasks, err := c.runner.Tasks(req.AllocID)
	if err != nil {
		return "", ownerError(err)
	}
	var names []string
	for name := range tasks {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(names) != 1 {
		return "", api.NewError(api.CodeInvalid, "name one with task=", "allocation %s has %d tasks: %s",
			req.AllocID, len(names), strings.Join(names, ", "))
	}
	return names[0], nil
}

func ownerError(err error) error {
	if errors.Is(err, runtime.ErrNotFound) {
		return api.NewError(api.CodeNotFound, "", "%s", strings.TrimSuffix(err.Error(), ": "+runtime.ErrNotFound.Error()))
	}
	if err != nil {
		return fmt.Errorf("on the allocation's machine: %w", err)
	}
	return nil
}
