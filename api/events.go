package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/internal/nearest"
	"github.com/drover-io/drover/state"
)

const (
	// eventHeartbeat is how often a stream without events shows that it lives.
	eventHeartbeat = 10 * time.Second
	// maxTopics bounds the topics that one stream names.
	maxTopics = 64
)

// EventLine is one line of an event stream. A line with nothing set is a heartbeat.
type EventLine struct {
	Index  uint64        `json:",omitempty"` // Raft index of the entry; to resume, ask for the next one
	Time   int64         `json:",omitempty"` // cluster time of the entry, nanoseconds since the Unix epoch
	Events []state.Event `json:",omitempty"` // every event of the entry that the topics name
	Gap    *EventGap     `json:",omitempty"` // events are missing before what follows: read what you keep a copy of anew
	Error  *Error        `json:",omitempty"` // why the stream ends; it is the last line
}

// EventGap says which events a stream cannot tell.
type EventGap struct {
	From   uint64 // Raft index of the first entry asked for
	To     uint64 // of the last entry that may be missing
	Reason string // in one sentence
}

// eventFilter is what a reader wants to hear of: topic → keys.
type eventFilter struct {
	namespace string
	topics    map[string][]string
	caller    Caller
}

// topicCapability is the right to read the events of a topic: that to read its rows.
func topicCapability(topic string) Capability {
	switch topic {
	case state.TopicNode, state.TopicNodePool:
		return CapNodeRead
	case state.TopicCluster:
		return CapOperatorRead
	}
	return CapReadJob
}

func streamEvents(c *call) error {
	p := parser{values: c.query}
	index, follow := p.uint("index"), p.flagOr("follow", true)
	if p.err != nil {
		return p.err
	}
	f, err := newEventFilter(c.caller, c.opts.namespace, c.query["topic"])
	if err != nil {
		return err
	}
	if index == 0 && !follow {
		index = c.s.b.State.OldestEvent() // all that there is
	}
	ctx, cancel := c.untilClosing()
	defer cancel()
	st := c.s.b.State
	s := eventStream{c: c, filter: f, state: st, cursor: st.EventCursor(index)}
	c.index = st.Snapshot().Index()
	h := c.w.Header()
	h.Set("Content-Type", mediaLines)
	h.Set("Cache-Control", "no-store")
	c.mark(h)
	return s.run(ctx, follow)
}

// eventStream writes events to one reader.
type eventStream struct {
	c      *call
	filter eventFilter
	state  State
	cursor state.EventCursor
	began  bool // something was read: what is missing from then on is the reader's slowness
}

// run ends with its reader, with the server, or when the reader falls too far behind. What it says last says why.
func (s *eventStream) run(ctx context.Context, follow bool) error {
	beat := time.NewTicker(eventHeartbeat)
	defer beat.Stop()
	if err := s.write(nil); err != nil { // the head: a follower of silent topics knows that it follows
		return nil
	}
	for {
		w := s.state.Watch(state.KeyAll())
		more, err := s.send()
		if err != nil || !more && !follow {
			w.Stop()
			return nil // the reader is gone, was told why it ends, or has everything
		}
		if more {
			w.Stop()
			continue
		}
		select {
		case <-w.C():
		case <-beat.C:
			if err := s.line(EventLine{}); err != nil {
				w.Stop()
				return nil
			}
			w.Stop()
		case <-ctx.Done():
			w.Stop()
			if e, known := asError(context.Cause(ctx)); known && s.c.ctx.Err() == nil {
				_ = s.line(EventLine{Error: e}) // it may be gone too
			}
			return nil
		}
	}
}

// send writes what there is. more is false when there was nothing; an error ends the stream.
func (s *eventStream) send() (more bool, err error) {
	batches, next, gap := s.state.Events(s.cursor)
	if gap != nil {
		if s.began && !gap.Replaced {
			return false, s.tooSlow(gap)
		}
		if err := s.line(EventLine{Index: gap.To, Gap: gapLine(gap)}); err != nil {
			return false, err
		}
	}
	s.cursor, s.began = next, true
	for _, b := range batches {
		events := s.filter.pick(b.Events)
		if len(events) == 0 {
			continue
		}
		if err := s.line(EventLine{Index: b.Index, Time: b.Time, Events: events}); err != nil {
			return false, err
		}
	}
	return len(batches) > 0, nil
}

// tooSlow ends the stream of a reader for which the server cannot keep what it has not read.
func (s *eventStream) tooSlow(gap *state.EventGap) error {
	e := NewError(CodeTooSlow, fmt.Sprintf("read faster or name fewer topics; what follows index %d is kept", gap.To),
		"this reader fell behind: the events %d to %d were let go before it had read them", gap.From, gap.To)
	s.c.s.metrics.slowReaders.Inc()
	s.c.s.log.Warn("an event stream's reader was too slow and is cut off", "reader", s.c.r.RemoteAddr, "index", gap.From)
	if err := s.line(EventLine{Error: e}); err != nil {
		return err
	}
	return e
}

func gapLine(g *state.EventGap) *EventGap {
	out := &EventGap{From: g.From, To: g.To, Reason: "these events are kept no longer: read anew what you keep a copy of"}
	if g.Replaced {
		out.Reason = "the state was replaced by a saved one: read anew what you keep a copy of"
	}
	return out
}

func (s *eventStream) line(l EventLine) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return s.write(append(data, '\n'))
}

// write writes and flushes; nil sends the head alone.
func (s *eventStream) write(p []byte) error {
	if p == nil {
		s.c.w.WriteHeader(http.StatusOK)
	}
	_, err := flushing{s.c.w}.Write(p)
	return err
}

// newEventFilter reads topics such as "Job", "Job:web" and "*:*"; none means all.
func newEventFilter(caller Caller, namespace string, topics []string) (eventFilter, error) {
	f := eventFilter{namespace: namespace, topics: map[string][]string{}, caller: caller}
	if len(topics) > maxTopics {
		return f, NewError(CodeInvalid, "", "%d topics, at most %d are taken", len(topics), maxTopics)
	}
	known := state.Topics()
	for _, t := range topics {
		topic, key, _ := strings.Cut(t, ":")
		if topic != "*" && !slices.Contains(known, topic) {
			next := didYouMean(nearest.Name(topic, known))
			return f, NewError(CodeInvalid, firstOf(next, "the topics are "+strings.Join(known, ", ")), "there is no topic %q", topic)
		}
		if need := topicCapability(topic); topic != "*" && !caller.Can(need) {
			return f, NewError(CodeForbidden, "", "events of the topic %s need the capability %q", topic, need)
		}
		f.topics[topic] = append(f.topics[topic], firstOf(key, "*"))
	}
	if len(topics) == 0 {
		f.topics["*"] = []string{"*"}
	}
	return f, nil
}

func (f eventFilter) pick(events []state.Event) []state.Event {
	return slices.DeleteFunc(events, func(e state.Event) bool { return !f.wants(&e) })
}

func (f eventFilter) wants(e *state.Event) bool {
	if e.Namespace != "" && f.namespace != AllNamespaces && e.Namespace != f.namespace || !f.caller.Can(topicCapability(e.Topic)) {
		return false
	}
	for _, keys := range [][]string{f.topics[e.Topic], f.topics["*"]} {
		for _, k := range keys {
			if k == "*" || e.Is(k) {
				return true
			}
		}
	}
	return false
}
