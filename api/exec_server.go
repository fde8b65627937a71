package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// beatEvery is how often both sides of a websocket say that they live.
	beatEvery = 10 * time.Second
	// beatPatience is how long an agent bears with a client of which nothing is heard.
	beatPatience = 2 * time.Minute
	// lastWords bounds how long the end of an exchange may take to be said.
	lastWords = 5 * time.Second
)

// errClientGone ends what is done for a client that is there no more.
var errClientGone = errors.New("the client has gone away")

// hearing remembers when something was last heard of the other side.
type hearing struct{ at atomic.Int64 }

func (h *hearing) note() { h.at.Store(time.Now().UnixNano()) }

func (h *hearing) since() time.Duration { return time.Since(time.Unix(0, h.at.Load())) }

// execServer is the agent's end of one exec.
type execServer struct {
	c     *call
	conn  *websocket.Conn
	heard hearing
	busy  atomic.Bool // the command does not take its input, so that nothing more can be heard
}

// serve runs the command until it has ended, the client has gone, or ctx has ended, and says which.
func (x *execServer) serve(ctx context.Context, run ExecFunc, handshake bool) {
	defer func() { _ = x.conn.CloseNow() }() // said goodbye below
	ctx, cancel := context.WithCancelCause(ctx)
	stdin, feed := io.Pipe()
	resize := make(chan TTYSize, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = stdin.Close() }() // never fails
	defer cancel(nil)
	wg.Go(func() {
		err := x.listen(ctx, feed, resize, handshake)
		_ = feed.CloseWithError(io.EOF) // never fails
		cancel(err)
	})
	wg.Go(func() { x.beat(ctx, cancel) })
	code, err := run(ctx, ExecIO{
		Stdin: stdin, Resize: resize,
		Stdout: x.writer(ctx, func(d *ExecData) ExecOutput { return ExecOutput{Stdout: d} }),
		Stderr: x.writer(ctx, func(d *ExecData) ExecOutput { return ExecOutput{Stderr: d} }),
	})
	x.conclude(ctx, code, err)
}

// listen hands on what the client sends until it goes, and returns why.
func (x *execServer) listen(ctx context.Context, feed *io.PipeWriter, resize chan TTYSize, handshake bool) error {
	for first := true; ; first = false {
		_, data, err := x.conn.Read(ctx)
		if err != nil {
			return errClientGone
		}
		x.heard.note()
		if first && handshake {
			continue // a token, which is not looked at yet
		}
		in, err := decodeExecInput(data)
		if err != nil {
			return err
		}
		if in.TTYSize != nil {
			newest(resize, *in.TTYSize)
		}
		if in.Stdin == nil {
			continue
		}
		if len(in.Stdin.Data) > 0 { // a pipe waits for a reader also of nothing
			x.busy.Store(true)
			_, _ = feed.Write(in.Stdin.Data) // a command that reads no more needs none
			x.busy.Store(false)
		}
		x.heard.note()
		if in.Stdin.Close {
			_ = feed.Close() // never fails
		}
	}
}

// newest leaves only the last of what nobody has taken.
func newest[T any](ch chan T, v T) {
	select {
	case <-ch:
	default:
	}
	select {
	case ch <- v:
	default:
	}
}

// beat says now and then that the agent lives, which is how a client that has gone without a word is noticed. The websocket's own
// pings would not do: a client whose input the command does not take cannot answer them in time, and gives up.
func (x *execServer) beat(ctx context.Context, cancel context.CancelCauseFunc) {
	for pause(ctx, beatEvery) {
		err := x.send(ctx, ExecOutput{})
		if err != nil || !x.busy.Load() && x.heard.since() > beatPatience {
			cancel(errClientGone)
			return
		}
	}
}

// send sends one message. A client that takes none for too long is cut off.
func (x *execServer) send(ctx context.Context, out ExecOutput) error {
	data, err := json.Marshal(out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	return x.conn.Write(ctx, websocket.MessageText, data)
}

// writerFunc makes an io.Writer of a function.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// writer sends what is written to it in messages.
func (x *execServer) writer(ctx context.Context, message func(*ExecData) ExecOutput) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		for n := 0; n < len(p); n += execPiece {
			if err := x.send(ctx, message(&ExecData{Data: p[n:min(n+execPiece, len(p))]})); err != nil {
				return n, err
			}
		}
		return len(p), nil
	})
}

// conclude tells the client how the command ended.
func (x *execServer) conclude(ctx context.Context, code int, err error) {
	out := ExecOutput{Exited: true, Result: &ExecResult{ExitCode: code}}
	status, reason := websocket.StatusNormalClosure, ""
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, errClientGone) {
		return
	}
	if err != nil {
		e, known := asError(err)
		if !known {
			x.c.s.log.Error("run a command in a task", "alloc", x.c.id(), "error", err)
		}
		out.Error, status, reason = e, websocket.StatusInternalError, closeReason(e.Message)
		out.Exited = code != 0
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if x.send(last, out) == nil {
		_ = x.conn.Close(status, reason) // everything was said
	}
}

// closeReason cuts a message to what fits into the end of a websocket.
func closeReason(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	for cut := most; ; cut-- {
		if s[cut]&0xC0 != 0x80 {
			return s[:cut]
		}
	}
}
