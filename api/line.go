package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// maxLineBody bounds the body of a request that goes by a line. Larger ones have a connection of their own, so that others need not
	// wait behind them.
	maxLineBody = 64 << 10
	// lineMessage is from how many bytes on a message is full, and what comes is for the next.
	lineMessage = 256 << 10
	// maxLineMessage bounds a message: a full one, and the answer that made it so.
	maxLineMessage = 8 << 20
	// lineIdle is how long a line that nobody uses stays.
	lineIdle = 50 * time.Second
	// lineSilence is how long an agent may say nothing at all while a request waits that is then given up, until the line is too.
	lineSilence = time.Second
	// plainFor is how long an agent that does not know lines is not asked for one again.
	plainFor = time.Minute
)

var (
	// errNoLine says that an agent takes no line: it is asked as anybody else would ask it.
	errNoLine   = errors.New("the agent takes no line")
	errLineOver = errors.New("the line is over")
)

// lines are the connections on which this agent passes writes on, one to an agent: what waits while a message is written goes with
// the next one, so that many share what a request of HTTP costs each.
type lines struct {
	s *Server

	mu     sync.Mutex
	ctx    context.Context // ends with close; set with the first line
	end    context.CancelCauseFunc
	open   map[string]*line
	plain  map[string]time.Time // agents that take no line, and since when
	closed bool
	wg     sync.WaitGroup
}

// line is one such connection.
type line struct {
	addr string
	wake chan struct{} // something waits to be written

	mu      sync.Mutex
	over    error // why it ended
	last    uint64
	waiting map[uint64]*lineCall
	out     []*lineCall
	heard   time.Time // when the other agent last said something
	hangUp  func()    // ends it; nil while it is being opened
}

// lineCall is a request that waits for its answer.
type lineCall struct {
	req   lineRequest
	began time.Time
	sent  bool // it may have arrived; the line's lock is held
	got   chan *lineAnswer
}

// takesLine reports whether the request may go by a line: a small write, whose answer is small.
func (c *call) takesLine() bool {
	return c.rt.Write && !c.rt.Stream && !c.rt.Upgrade && len(c.body) <= maxLineBody
}

// ask has another agent answer a request. sent is true when it may have arrived.
func (ls *lines) ask(ctx context.Context, addr string, req lineRequest) (a *lineAnswer, sent bool, err error) {
	for {
		l, err := ls.to(addr)
		if err != nil {
			return nil, false, err
		}
		one := &lineCall{req: req, began: time.Now(), got: make(chan *lineAnswer, 1)}
		if !l.add(one) {
			continue // it ended in between
		}
		select {
		case a := <-one.got:
			if a != nil && a.status > 0 {
				return a, true, nil
			}
			sent, err := l.lost(one)
			return nil, sent, err
		case <-ctx.Done():
			return nil, l.giveUp(one), context.Cause(ctx)
		}
	}
}

// to is the line to an agent, a new one when there is none.
func (ls *lines) to(addr string) (*line, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return nil, errStopping()
	}
	if since, plain := ls.plain[addr]; plain {
		if time.Since(since) < plainFor {
			return nil, errNoLine
		}
		delete(ls.plain, addr)
	}
	if l := ls.open[addr]; l != nil && !l.isOver() {
		return l, nil
	}
	l := &line{addr: addr, wake: make(chan struct{}, 1), waiting: map[uint64]*lineCall{}}
	if ls.open == nil {
		ls.open, ls.plain = map[string]*line{}, map[string]time.Time{}
		ls.ctx, ls.end = context.WithCancelCause(context.Background())
	}
	ls.open[addr] = l
	ls.wg.Go(func() {
		err := ls.run(ls.ctx, l)
		ls.forget(l, err)
		l.fail(err)
	})
	return l, nil
}

func (ls *lines) forget(l *line, err error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.open[l.addr] == l {
		delete(ls.open, l.addr)
	}
	if errors.Is(err, errNoLine) {
		ls.plain[l.addr] = time.Now()
	}
}

// close ends all lines. Requests that wait on them should have been answered before.
func (ls *lines) close() {
	ls.mu.Lock()
	ls.closed = true
	if ls.end != nil {
		ls.end(errStopping())
	}
	ls.mu.Unlock()
	ls.wg.Wait()
}

// dial opens the connection of a line.
func (ls *lines) dial(ctx context.Context, addr string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := ls.s.b.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn, res, err := websocket.Dial(ctx, "http://"+addr+linePath, &websocket.DialOptions{
		HTTPHeader: http.Header{headerForwarded: {ls.s.self().NodeID}},
		HTTPClient: &http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return raw, nil }, MaxResponseHeaderBytes: maxHeaderBytes,
		}},
	})
	if err == nil {
		return conn, nil
	}
	_ = raw.Close() // it is of no use
	if res != nil {
		return nil, fmt.Errorf("%w: it answers %s", errNoLine, res.Status)
	}
	return nil, err
}

// run opens a line and serves it until it ends.
func (ls *lines) run(ctx context.Context, l *line) error {
	conn, err := ls.dial(ctx, l.addr)
	if err != nil {
		return err
	}
	conn.SetReadLimit(maxLineMessage)
	ctx, end := context.WithCancelCause(ctx)
	l.opened(func() { end(errLineOver) })
	var wg sync.WaitGroup
	wg.Go(func() { end(l.write(ctx, conn, ls.s.b.Limits.WriteTimeout)) })
	end(l.listen(ctx, conn))
	wg.Wait()
	_ = conn.CloseNow() // nobody waits for it any more
	return context.Cause(ctx)
}

// write sends what waits, as much at a time as has come meanwhile. An agent that takes nothing for longer than patience has left the line.
func (l *line) write(ctx context.Context, conn *websocket.Conn, patience time.Duration) error {
	idle := time.NewTicker(lineIdle)
	defer idle.Stop()
	seen := uint64(0)
	for {
		runtime.Gosched() // those who are ready to ask do it now, and share the message
		if message := l.take(); len(message) > 0 {
			bounded, cancel := context.WithTimeout(ctx, patience)
			err := conn.Write(bounded, websocket.MessageBinary, message)
			cancel()
			if err != nil {
				return err
			}
			continue
		}
		select {
		case <-l.wake:
		case <-idle.C:
			if l.unused(&seen) {
				return errLineOver
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// listen hands out answers.
func (l *line) listen(ctx context.Context, conn *websocket.Conn) error {
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		answers, err := answersOf(message)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.heard = time.Now()
		for i := range answers {
			if one := l.waiting[answers[i].id]; one != nil {
				delete(l.waiting, answers[i].id)
				one.got <- &answers[i]
			}
		}
		l.mu.Unlock()
	}
}

// add queues a request; false when the line is over.
func (l *line) add(one *lineCall) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		return false
	}
	l.last++
	one.req.id = l.last
	l.waiting[one.req.id] = one
	l.out = append(l.out, one)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// take is the next message: the requests that wait, without those that were given up.
func (l *line) take() (message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, one := range l.out {
		if len(message) >= lineMessage {
			break
		}
		n++
		if l.waiting[one.req.id] != nil {
			one.sent = true
			message = one.req.append(message)
		}
	}
	clear(l.out[:n])
	l.out = l.out[n:]
	return message
}

// giveUp forgets a request, and ends a line on which nothing was heard for long: the machine behind it may be gone. It reports whether
// the request was sent.
func (l *line) giveUp(one *lineCall) (sent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, one.req.id)
	if one.sent && time.Since(one.began) >= lineSilence && l.heard.Before(one.began) && l.hangUp != nil {
		l.hangUp()
	}
	return one.sent
}

// opened notes that the other agent has taken the line.
func (l *line) opened(hangUp func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hangUp = hangUp
}

func (l *line) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over != nil
}

// unused reports whether nothing was asked since the last look, and takes no more requests then.
func (l *line) unused(seen *uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != *seen || len(l.waiting) > 0 {
		*seen = l.last
		return false
	}
	l.over = errLineOver
	return true
}

// fail ends all requests that wait.
func (l *line) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = err
	for _, one := range l.waiting {
		one.got <- nil
	}
	clear(l.waiting)
}

// lost is why a request got no answer, and whether it was sent.
func (l *line) lost(one *lineCall) (sent bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		return one.sent, l.over
	}
	return one.sent, errLineOver // the other agent answered that it does not know
}
