package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/drover-io/drover/state"
)

func (c *call) hasPrefix(a *state.Alloc) bool { return strings.HasPrefix(a.ID, c.opts.prefix) }

func (c *call) inNamespace(a *state.Alloc) bool {
	return c.opts.namespace == AllNamespaces || a.Namespace == c.opts.namespace
}

func listAllocs(c *call, snap *state.Snapshot) ([]AllocListItem, error) {
	all := snap.AllocsByPrefix(c.opts.prefix)
	if from, err := url.PathUnescape(c.opts.nextToken); err == nil && !c.opts.reverse { // a million rows are read in a thousand pages
		all = snap.AllocsByPrefixFrom(c.opts.prefix, from)
	}
	rows := filtered(all, c.inNamespace)
	return page(c, rows, allocKeyOf, func(a *state.Alloc) AllocListItem { return allocListItem(snap, a) })
}

func readAlloc(c *call, snap *state.Snapshot) (*AllocView, error) {
	a := snap.Alloc(c.id())
	if a == nil {
		return nil, noAlloc(c.id())
	}
	return allocView(snap, a), nil
}

func stopAlloc(c *call) (*WriteResponse, error) {
	return c.written(state.StopAlloc{RequestID: c.requestID, AllocID: c.id(), Time: c.s.b.Now()})
}

func restartAlloc(c *call, req *RestartRequest) (*WriteResponse, error) {
	if err := c.s.b.Owner.Restart(c.ctx, c.id(), req.TaskName); err != nil {
		return nil, err
	}
	return &WriteResponse{RequestID: c.requestID}, nil
}

// since takes a time, or how long ago it was.
func (p *parser) since(req *LogsRequest) {
	v := p.values.Get("since")
	if v == "" {
		return
	}
	at, err := time.Parse(time.RFC3339Nano, v)
	if err == nil {
		req.Since = at
		return
	}
	if req.Ago, err = time.ParseDuration(v); err != nil || req.Ago < 0 {
		p.fail("since", `a duration such as "5m", or a time such as "2026-01-02T15:04:05Z"`)
	}
}

// readLogs streams a task's output as plain text.
func readLogs(c *call) error {
	p := parser{values: c.query}
	req := LogsRequest{
		AllocID: c.id(), Task: c.query.Get("task"), Type: p.oneOf("type", LogStdout, LogStderr), Follow: p.flag("follow"),
		Origin: p.oneOf("origin", LogFromStart, LogFromEnd), Offset: int64(min(p.uint("offset"), 1<<62)), Tail: int(min(p.uint("tail"), 1<<30)),
	}
	req.Previous = p.flag("previous")
	p.since(&req)
	if !p.flagOr("plain", true) {
		p.fail("plain", "true: framed log streams are not supported")
	}
	if p.err != nil {
		return p.err
	}
	ctx, cancel := c.untilClosing()
	defer cancel()
	h := c.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	c.mark(h)
	w := flushing{c.w}
	if err := c.s.b.Owner.Logs(ctx, req, w); err != nil && (ctx.Err() == nil || !c.w.began()) {
		return err
	}
	if !c.w.began() {
		c.w.WriteHeader(http.StatusOK) // no output yet
	}
	return nil
}
