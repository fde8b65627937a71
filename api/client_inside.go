package api

import (
	"context"
	"io"
	"net/url"
	"strconv"
)

// SignalAllocation sends a signal to one task of an allocation, to all that run when task is "".
func (c *Client) SignalAllocation(ctx context.Context, id, task, signal string, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeAllocSignal, id, w, nil, SignalRequest{Signal: signal, Task: task})
}

// AllocationStats reads what the tasks of an allocation use.
func (c *Client) AllocationStats(ctx context.Context, id string) (*AllocStats, error) {
	out, _, err := readInto[*AllocStats](ctx, c, routeAllocStats, id, QueryOptions{}, nil)
	return out, err
}

// MachineStats reads what each allocation of an agent's machine uses.
func (c *Client) MachineStats(ctx context.Context, ref AgentRef) (*MachineStats, error) {
	out, _, err := readInto[*MachineStats](ctx, c, routeMachineStats, "", QueryOptions{}, ref.query(nil))
	return out, err
}

// FileRequest names a file of an allocation.
type FileRequest struct {
	AllocID string
	Path    string // begins at the allocation's directory
	Task    string // whose directories are meant by paths such as /local; "" means the only one's
}

func (r FileRequest) query() url.Values {
	q := url.Values{"path": {firstOf(r.Path, "/")}}
	if r.Task != "" {
		q.Set("task", r.Task)
	}
	return q
}

// ListFiles lists a directory of an allocation.
func (c *Client) ListFiles(ctx context.Context, r FileRequest) ([]FileInfo, error) {
	out, _, err := readInto[[]FileInfo](ctx, c, routeFilesList, r.AllocID, QueryOptions{}, r.query())
	return out, err
}

// StatFile describes a file of an allocation.
func (c *Client) StatFile(ctx context.Context, r FileRequest) (FileInfo, error) {
	out, _, err := readInto[FileInfo](ctx, c, routeFilesStat, r.AllocID, QueryOptions{}, r.query())
	return out, err
}

// ReadFile opens a file of an allocation from an offset on, at most limit bytes of it; a limit of 0 means all. The caller closes it.
func (c *Client) ReadFile(ctx context.Context, r FileRequest, offset, limit int64) (io.ReadCloser, error) {
	q := r.query()
	q.Set("offset", strconv.FormatInt(offset, 10))
	if limit > 0 {
		q.Set("limit", strconv.FormatInt(limit, 10))
	}
	return c.open(ctx, exchange{route: routeFilesReadAt, id: r.AllocID, query: q})
}

// FollowFile opens a file of an allocation from an offset before its end on, and what is added to it until ctx ends. The caller
// closes it.
func (c *Client) FollowFile(ctx context.Context, r FileRequest, beforeEnd int64) (io.ReadCloser, error) {
	q := r.query()
	q.Set("plain", "true")
	q.Set("origin", LogFromEnd)
	q.Set("offset", strconv.FormatInt(beforeEnd, 10))
	return c.open(ctx, exchange{route: routeFilesStream, id: r.AllocID, query: q})
}

// PackFiles opens a file or a directory of an allocation as a tar archive. The caller closes it.
func (c *Client) PackFiles(ctx context.Context, r FileRequest) (io.ReadCloser, error) {
	return c.open(ctx, exchange{route: routeFilesPack, id: r.AllocID, query: r.query()})
}

// UnpackFiles writes the files of a tar archive below a directory of an allocation.
func (c *Client) UnpackFiles(ctx context.Context, r FileRequest, archive io.Reader) error {
	_, err := c.call(ctx, exchange{route: routeFilesUnpack, id: r.AllocID, query: r.query(), stream: archive, length: -1}, nil)
	return err
}
