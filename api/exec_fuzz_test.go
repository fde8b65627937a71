package api

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/go-hclog"
)

// frame is one websocket frame of a client (RFC 6455 §5.2), masked with zeros. length overrides what it says of its length.
func frame(first byte, payload string, length ...uint64) []byte {
	n := uint64(len(payload))
	if len(length) > 0 {
		n = length[0]
	}
	out := []byte{first}
	switch {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), n)
	}
	return append(append(out, 0, 0, 0, 0), payload...)
}

const (
	textFrame  = 0x81
	closeFrame = 0x88
)

// hijacked is a response whose connection is taken over at once.
type hijacked struct {
	conn   net.Conn
	header http.Header
}

func (h hijacked) Header() http.Header       { return h.header }
func (hijacked) WriteHeader(int)             {}
func (hijacked) Write(p []byte) (int, error) { return len(p), nil }
func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// FuzzExecFrames sends bytes to the agent's end of an exec, as they may come from a client that is broken or hostile, and goes away.
// Nothing crashes, and the command is ended, whether it reads its input, waits for something else, or writes without end.
func FuzzExecFrames(f *testing.F) {
	for _, frames := range [][][]byte{
		nil,
		{frame(textFrame, `{"stdin":{"data":"bW9v"}}`), frame(textFrame, `{"stdin":{"close":true}}`), frame(closeFrame, "\x03\xe8")},
		{frame(textFrame, `{"tty_size":{"height":24,"width":80}}`), frame(textFrame, `{}`), frame(0x8a, "pong"), frame(0x89, "ping")},
		{frame(textFrame, `{"tty_size":{"height":-1,"width":99999999}}`)},
		{frame(textFrame, `not json`)}, {frame(textFrame, `{"stdin":{"data":"%%%"}}`)}, {frame(0x82, "\x00\xff")},
		{frame(0x01, `{"stdin":`), frame(0x80, `{"close":true}}`)}, {frame(0x01, "{"), frame(textFrame, "{}")}, {frame(0x80, "of nothing")},
		{frame(textFrame, "", 1<<62)}, {frame(textFrame, "x", 1<<20)}, {frame(textFrame, "short", 100)}, {frame(0xf1, "{}")}, {frame(0x83, "{}")},
		{frame(closeFrame, "\x00")}, {frame(closeFrame, "\x03\xe8\xff\xfe")}, {frame(0x09, "a ping in pieces")}, {{textFrame, 2, '{', '}'}},
		{frame(textFrame, `{"stdin":{"data":"bW9v","close":true}}`), frame(textFrame, `{"stdin":{"data":"bW9v"}}`)},
	} {
		var all []byte
		for _, one := range frames {
			all = append(all, one...)
		}
		for kind := range 3 {
			f.Add(all, uint8(kind))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, kind uint8) {
		here, there := net.Pipe()
		r, err := http.NewRequest(http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = handshake()
		ws, err := websocket.Accept(hijacked{here, http.Header{}}, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.SetReadLimit(maxExecFrame)
		x := execServer{c: &call{s: &Server{log: hclog.NewNullLogger()}, r: r}, conn: ws}
		x.heard.note()
		var wg sync.WaitGroup
		served := make(chan struct{})
		wg.Go(func() {
			defer close(served)
			x.serve(t.Context(), commandOf(kind), kind&4 != 0)
		})
		wg.Go(func() { _, _ = io.Copy(io.Discard, there) })
		_ = there.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = there.Write(data) // the agent may have hung up before the end
		_ = there.Close()
		select {
		case <-served:
		case <-time.After(20 * time.Second):
			t.Errorf("the command outlives its client, who sent %q", data)
			_ = here.Close()
		}
		wg.Wait()
	})
}

// TestExecThatReadsNothing: a command does not take its input, so that nothing more is read of its client, and the client goes away.
// The next heartbeat finds out.
func TestExecThatReadsNothing(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		alloc := h.place("web", "c1").ID
		_, conn := h.upgrade("s2:4646", "/v1/client/allocation/"+alloc+"/exec?command=%5B%22hang%22%5D", handshake())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer conn.Close()
		wg.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		if _, err := conn.Write(frame(textFrame, `{"stdin":{"data":"bW9v"}}`)); err != nil {
			t.Error(err)
		}
		h.pass(beatPatience + beatEvery) // it is busy, not gone
		if n, _ := h.agents["c1"].inside.state(); n != 1 {
			t.Errorf("%d commands run, want 1", n)
		}
		_ = conn.Close()
		h.pass(2 * beatEvery)
		if n, ended := h.agents["c1"].inside.state(); n != 0 || !errors.Is(ended, errClientGone) {
			t.Errorf("%d commands run, ended by %v", n, ended)
		}
	})
}

// commandOf is a command that reads, one that only waits, or one that writes.
func commandOf(kind uint8) ExecFunc {
	return func(ctx context.Context, x ExecIO) (int, error) {
		switch kind % 3 {
		case 0:
			_, err := io.Copy(x.Stdout, x.Stdin)
			return 0, err
		case 1: // one that left its input alone would notice only after a heartbeat, see TestExecThatReadsNothing
			_, _ = io.Copy(io.Discard, x.Stdin)
			<-ctx.Done()
			return -1, context.Cause(ctx)
		}
		for ctx.Err() == nil {
			if _, err := x.Stderr.Write(make([]byte, 1000)); err != nil {
				return 1, errors.Join(err, context.Cause(ctx))
			}
		}
		return 0, nil
	}
}
