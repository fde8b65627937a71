package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
)

// EventsRequest says which events to read.
type EventsRequest struct {
	Topics    []string // "Job", "Job:web", "Node:*"; none means all
	Namespace string   // "" means the client's; "*" means all
	Index     uint64   // from the events of this Raft index on; 0 means from now on, without Follow all that are kept
	Follow    bool     // go on with what comes
}

// EventStream is an open stream of events.
type EventStream struct {
	Meta  QueryMeta // Index is that of the server's state when the stream began
	body  io.ReadCloser
	lines *bufio.Reader
}

// Events opens a stream of events. With Follow it lasts until ctx ends, the agent stops, or the reader is too slow. The caller
// closes it.
func (c *Client) Events(ctx context.Context, req EventsRequest) (*EventStream, error) {
	q := url.Values{"topic": req.Topics, "follow": {strconv.FormatBool(req.Follow)}}
	if req.Index > 0 {
		q.Set("index", strconv.FormatUint(req.Index, 10))
	}
	res, err := c.do(ctx, exchange{route: routeEvents, namespace: req.Namespace, query: q})
	if err != nil {
		return nil, err
	}
	return &EventStream{Meta: metaOf(res.Header), body: res.Body, lines: bufio.NewReaderSize(res.Body, 64<<10)}, nil
}

// Next is the next line that is no heartbeat. A line that says why the stream ends is returned as its error; io.EOF is the end of
// a stream that was not to be followed.
func (s *EventStream) Next() (EventLine, error) {
	for {
		text, err := s.lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(text) == 0 {
			return EventLine{}, io.EOF
		}
		if err != nil {
			return EventLine{}, fmt.Errorf("read the events: %w", err)
		}
		var l EventLine
		if err := json.Unmarshal(text, &l); err != nil {
			return EventLine{}, fmt.Errorf("read the events: %w", err)
		}
		switch {
		case l.Error != nil:
			return EventLine{}, l.Error
		case l.Index > 0:
			return l, nil
		}
	}
}

// Close ends the stream.
func (s *EventStream) Close() error { return s.body.Close() }
