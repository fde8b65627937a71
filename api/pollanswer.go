package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/drover-io/drover/state"
)

// The answer to a poll is lines of JSON: a PollResponse, the rows that its orders name by their number, then the jobs. A job whose copies
// start on a thousand nodes is encoded once for all of them: its line is kept.

// maxSentLines bounds the rows and jobs that are kept as lines, some kilobytes each.
const maxSentLines = 2048

// sentLines are rows and jobs as they were sent lately.
type sentLines struct{ kept *lru.Cache[any, []byte] }

func newSentLines() sentLines {
	kept, _ := lru.New[any, []byte](maxSentLines) // fails for sizes below 1
	return sentLines{kept}
}

// alikeRows is what plain rows that differ in ID, index and name only have in common.
type alikeRows struct {
	group   *state.AllocGroup
	created uint64
}

// of is a value as a line; one with a key, which stands for a value that nobody changes, is kept.
func (l sentLines) of(key, value any) ([]byte, error) {
	if key != nil {
		if line, ok := l.kept.Get(key); ok {
			return line, nil
		}
	}
	line, err := json.Marshal(value)
	if err == nil && key != nil {
		l.kept.Add(key, line)
	}
	return line, err
}

// encode is the whole answer to a poll.
func (l sentLines) encode(resp *PollResponse) ([]byte, error) {
	rows := make([][]byte, 0, 1+len(resp.Run)+len(resp.Jobs))
	for i := range resp.Run {
		o := &resp.Run[i]
		row := *o.Alloc
		row.AllocNode = nil // the node knows itself
		var key any
		if o.Plain {
			key = alikeRows{row.AllocGroup, row.CreateIndex}
		}
		line, err := l.of(key, &row)
		if err != nil {
			return nil, err
		}
		rows = append(rows, line)
	}
	for _, j := range resp.Jobs {
		line, err := l.of(j, j)
		if err != nil {
			return nil, err
		}
		rows = append(rows, line)
	}
	resp.Lines = len(rows)
	head, err := json.Marshal(resp)
	if err != nil {
		return nil, err
	}
	return append(bytes.Join(append([][]byte{head}, rows...), []byte{'\n'}), '\n'), nil
}

// replyLines answers a poll.
func (c *call) replyLines(resp *PollResponse) error {
	var data []byte
	var err error
	c.s.hands.do(func() { data, err = c.s.sent.encode(resp) })
	if err != nil {
		return err
	}
	h := c.w.Header()
	c.mark(h)
	h.Set("Content-Type", mediaLines)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(data) // the reader may be gone; there is nobody to tell
	return nil
}

// common is what a process that speaks for many nodes was sent for one and is sent again for the next; nil for those that speak for one.
type common struct {
	rows *lru.Cache[[sha256.Size]byte, *state.Alloc]
	jobs *lru.Cache[[sha256.Size]byte, *state.Job]
}

func newCommon() *common {
	rows, _ := lru.New[[sha256.Size]byte, *state.Alloc](maxSentLines) // fails for sizes below 1
	jobs, _ := lru.New[[sha256.Size]byte, *state.Job](maxSentLines)
	return &common{rows, jobs}
}

func (m *common) row(line []byte) (*state.Alloc, error) {
	if m == nil {
		return readLine[state.Alloc](nil, line)
	}
	return readLine(m.rows, line)
}

func (m *common) job(line []byte) (*state.Job, error) {
	if m == nil {
		return readLine[state.Job](nil, line)
	}
	return readLine(m.jobs, line)
}

// readLine decodes a line, unless it is known.
func readLine[T any](known *lru.Cache[[sha256.Size]byte, *T], line []byte) (*T, error) {
	if known == nil {
		out := new(T)
		return out, unmarshal(line, out)
	}
	key := sha256.Sum256(line)
	if out, ok := known.Get(key); ok {
		return out, nil
	}
	out := new(T)
	if err := unmarshal(line, out); err != nil {
		return nil, err
	}
	known.Add(key, out)
	return out, nil
}

// decode reads the answer to a poll of a node.
func (m *common) decode(data []byte, nodeID string) (*PollResponse, error) {
	head, rest, _ := bytes.Cut(data, []byte{'\n'})
	resp := new(PollResponse)
	if err := unmarshal(head, resp); err != nil {
		return nil, err
	}
	if resp.Lines < len(resp.Run) || resp.Lines != bytes.Count(rest, []byte{'\n'}) {
		return nil, fmt.Errorf("%d orders and %d lines in %d bytes: %w", len(resp.Run), resp.Lines, len(data), io.ErrUnexpectedEOF)
	}
	node := &state.AllocNode{NodeID: nodeID, NodeName: resp.NodeName}
	for i := range resp.Lines {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		if i >= len(resp.Run) {
			job, err := m.job(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+2, err)
			}
			resp.Jobs = append(resp.Jobs, job)
			continue
		}
		row, err := m.row(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		own := *row
		own.AllocNode, resp.Run[i].Alloc = node, &own
	}
	return resp, nil
}

// NodePoll names what was found on this machine and waits for orders. With stale any server may answer from its own state;
// without, the leader does.
func (c *Client) NodePoll(ctx context.Context, req *PollRequest, stale bool) (*PollResponse, error) {
	x := exchange{route: routeProtoPoll, body: req, wait: req.Wait, query: url.Values{}}
	if stale {
		x.query.Set("stale", "true")
	}
	var data []byte
	if _, err := c.call(ctx, x, &data); err != nil {
		return nil, err
	}
	resp, err := c.common.decode(data, req.NodeID)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.cfg.Addr, err)
	}
	return resp, nil
}
