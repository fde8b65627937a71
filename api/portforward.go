package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Through a port forward's websocket bytes go in binary messages. A text message says that its sender sends no more, which a
// connection can say in each direction and a websocket cannot.
const (
	endOfBytes       = "eof"
	maxForwardPiece  = 64 << 10
	maxForwardedPort = 256 // connections through one agent at a time
)

// forwardPort connects a websocket to a port of an allocation.
func forwardPort(c *call) error {
	port := c.query.Get("port")
	if port == "" {
		return NewError(CodeInvalid, "add port=, a label or a number of the allocation's", "no port is named")
	}
	to, err := c.s.b.Inside.DialPort(c.ctx, c.id(), port)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // both directions have ended, or nobody wants them any more
	ctx, cancel := c.untilClosing()
	defer cancel()
	heard := newHearing()
	conn, err := c.accept(heard.note, maxForwardPiece+1)
	if err != nil {
		return err
	}
	joinPort(ctx, conn, to, heard)
	return nil
}

// halfCloser is a connection of which one direction can be ended.
type halfCloser interface{ CloseWrite() error }

// joinPort copies between a websocket and a connection until both directions have ended, or one is broken.
func joinPort(ctx context.Context, ws *websocket.Conn, to net.Conn, heard *hearing) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = ws.CloseNow() }() // everything was said
	defer context.AfterFunc(ctx, func() { _ = to.Close() })()
	var both, beat sync.WaitGroup
	defer beat.Wait()
	beat.Go(func() {
		for pause(ctx, beatEvery) {
			ping, stop := context.WithTimeout(ctx, lastWords)
			_ = ws.Ping(ping) // its answer is noted when it comes
			stop()
			if heard.since() > streamPatience {
				cancel()
			}
		}
	})
	both.Go(func() {
		if err := fromPort(ctx, ws, to); err != nil {
			cancel()
		}
	})
	both.Go(func() {
		if err := toPort(ctx, ws, to, heard); err != nil {
			cancel()
		}
	})
	both.Wait()
	if ctx.Err() == nil {
		_ = ws.Close(websocket.StatusNormalClosure, "") // the other side may have closed it already
	}
	cancel()
}

// fromPort sends what comes out of the connection.
func fromPort(ctx context.Context, ws *websocket.Conn, from net.Conn) error {
	buf := make([]byte, maxForwardPiece)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if err := writeWithin(ctx, ws, websocket.MessageBinary, buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return writeWithin(ctx, ws, websocket.MessageText, []byte(endOfBytes))
		}
		if err != nil {
			return err
		}
	}
}

func writeWithin(ctx context.Context, ws *websocket.Conn, kind websocket.MessageType, p []byte) error {
	ctx, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	return ws.Write(ctx, kind, p)
}

// toPort writes what comes out of the websocket.
func toPort(ctx context.Context, ws *websocket.Conn, to net.Conn, heard *hearing) error {
	ended := false
	for {
		kind, data, err := ws.Read(ctx)
		if err != nil && ended && websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			return nil
		}
		if err != nil {
			return err
		}
		heard.note()
		if kind == websocket.MessageText {
			ended = true
			half, ok := to.(halfCloser)
			if !ok {
				return nil // the other direction goes on
			}
			return half.CloseWrite()
		}
		if err := to.SetWriteDeadline(time.Now().Add(streamPatience)); err != nil {
			return err
		}
		if _, err := to.Write(data); err != nil {
			return err
		}
		heard.note()
	}
}

// ForwardPort connects conn to a port of an allocation, named by its label or its number, until both directions have ended, and
// closes it. An error says why there was no connection.
func (c *Client) ForwardPort(ctx context.Context, allocID, port string, conn net.Conn) error {
	ws, err := c.websocket(ctx, exchange{route: routeAllocForward, id: allocID, query: url.Values{"port": {port}}}, nil)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	ws.SetReadLimit(maxForwardPiece + 1)
	joinPort(ctx, ws, conn, newHearing())
	_ = conn.Close() // closed already when ctx has ended
	return nil
}
