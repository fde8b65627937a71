package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/api"
)

const (
	// tailLines is how many of the newest log lines are kept for whoever asks later.
	tailLines = 1024
	// tailLevel is the level from which on lines are kept.
	tailLevel = hclog.Info
	// maxTailLine bounds a kept line, in bytes.
	maxTailLine = 8 << 10
	// readerLines is how many lines wait for a reader; one that is slower misses some, and is told how many.
	readerLines = 512
)

// tail is the end of this agent's log: the newest lines, and those who read along. It never holds the logger up.
type tail struct {
	mu      sync.Mutex
	text    renderer
	json    renderer
	lines   []tailLine // a ring
	next    int
	readers map[*tailReader]struct{}
	lowest  hclog.Level // of tailLevel and the readers'
}

// renderer makes a line of a log entry.
type renderer struct {
	sink hclog.SinkAdapter
	buf  *bytes.Buffer
}

// tailLine is one log entry, as text and as JSON.
type tailLine struct {
	level      hclog.Level
	text, json []byte
}

func (l tailLine) as(json bool) []byte {
	if json {
		return l.json
	}
	return l.text
}

// tailReader is somebody who reads along.
type tailReader struct {
	level  hclog.Level
	json   bool
	lines  chan []byte
	missed int // lines that did not fit, since the last that did; guarded by tail.mu
}

// openTail listens to a logger, when it lets itself be listened to. The function given ends that.
func openTail(log hclog.Logger) (*tail, func() error) {
	t := &tail{text: newRenderer(false), json: newRenderer(true), readers: map[*tailReader]struct{}{}, lowest: tailLevel}
	l, ok := log.(hclog.InterceptLogger)
	if !ok {
		return t, func() error { return nil }
	}
	l.RegisterSink(t)
	return t, func() error {
		l.DeregisterSink(t)
		return nil
	}
}

func newRenderer(json bool) renderer {
	buf := &bytes.Buffer{}
	return renderer{hclog.NewSinkAdapter(&hclog.LoggerOptions{Level: hclog.Trace, Output: buf, JSONFormat: json}), buf}
}

func (r renderer) render(name string, level hclog.Level, msg string, args []any) []byte {
	r.buf.Reset()
	r.sink.Accept(name, level, msg, args...)
	line := bytes.Clone(r.buf.Bytes())
	if len(line) > maxTailLine {
		line = append(line[:maxTailLine-1], '\n')
	}
	return line
}

// Accept takes a log entry in. The logger calls it.
func (t *tail) Accept(name string, level hclog.Level, msg string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if level < t.lowest {
		return
	}
	line := tailLine{level, t.text.render(name, level, msg, args), t.json.render(name, level, msg, args)}
	if level >= tailLevel {
		if len(t.lines) < tailLines {
			t.lines = append(t.lines, line)
		} else {
			t.lines[t.next] = line
			t.next = (t.next + 1) % tailLines
		}
	}
	for r := range t.readers {
		if level >= r.level {
			r.offer(line.as(r.json))
		}
	}
}

// offer hands a line over, or counts it as missed.
func (r *tailReader) offer(line []byte) {
	if r.missed > 0 {
		note := fmt.Appendf(nil, "… %d lines left out: this reader is too slow\n", r.missed)
		if r.json {
			note = fmt.Appendf(nil, "{\"@level\":\"warn\",\"@message\":\"lines left out: this reader is too slow\",\"lines\":%d}\n", r.missed)
		}
		select {
		case r.lines <- note:
			r.missed = 0
		default:
		}
	}
	select {
	case r.lines <- line:
	default:
		r.missed++
	}
}

// join returns the recent lines of a level, and a reader of those that come. leave must be called.
func (t *tail) join(level hclog.Level, json bool) (recent [][]byte, r *tailReader, leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.lines {
		if l := t.lines[(t.next+i)%len(t.lines)]; l.level >= level {
			recent = append(recent, l.as(json))
		}
	}
	r = &tailReader{level: level, json: json, lines: make(chan []byte, readerLines)}
	t.readers[r] = struct{}{}
	t.lowest = min(t.lowest, level)
	return recent, r, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.readers, r)
		t.lowest = tailLevel
		for other := range t.readers {
			t.lowest = min(t.lowest, other.level)
		}
	}
}

// Monitor writes this agent's log.
func (a *Agent) Monitor(ctx context.Context, req api.MonitorRequest, w io.Writer) error {
	level := hclog.LevelFromString(req.Level)
	if level == hclog.NoLevel {
		return api.NewError(api.CodeInvalid, "choose trace, debug, info, warn or error", "there is no log level %q", req.Level)
	}
	recent, r, leave := a.tail.join(level, req.JSON)
	defer leave()
	for _, line := range recent {
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	for req.Follow {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line := <-r.lines:
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
	}
	return nil
}
