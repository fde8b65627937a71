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
	conn, err := c.accept(maxForwardPiece + 1)
	if err != nil {
		return err
	}
	joinPort(ctx, conn, to)
	return nil
}

// errWholeEnd ends both directions where one cannot be ended alone.
var errWholeEnd = errors.New("the connection has no two ends")

// halfCloser is a connection of which one direction can be ended.
type halfCloser interface{ CloseWrite() error }

// joinPort copies between a websocket and a connection until both directions have ended, or one is broken.
func joinPort(ctx context.Context, ws *websocket.Conn, to net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = ws.CloseNow() }() // everything was said
	defer context.AfterFunc(ctx, func() { _ = to.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	sent, heard := make(chan struct{}), make(chan struct{}) // closed when a direction has ended
	wg.Go(func() {
		if fromPort(ctx, ws, to) != nil {
			cancel()
			return
		}
		close(sent)
	})
	wg.Go(func() {
		_ = toPort(ctx, ws, to, sync.OnceFunc(func() { close(heard) })) // however it ends, nothing more can be said
		cancel()
	})
	for _, direction := range []chan struct{}{sent, heard} {
		select {
		case <-direction:
		case <-ctx.Done():
			return
		}
	}
	_ = ws.Close(websocket.StatusNormalClosure, "") // the other side may have closed it already
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

// toPort writes what comes out of the websocket, and says when that has ended. It reads on, to notice when the other side goes.
func toPort(ctx context.Context, ws *websocket.Conn, to net.Conn, ended func()) error {
	for {
		kind, data, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		if kind == websocket.MessageText {
			half, ok := to.(halfCloser)
			if !ok {
				return errWholeEnd
			}
			if err := half.CloseWrite(); err != nil {
				return err
			}
			ended()
			continue
		}
		if err := to.SetWriteDeadline(time.Now().Add(streamPatience)); err != nil {
			return err
		}
		if _, err := to.Write(data); err != nil {
			return err
		}
	}
}

// ForwardPort connects conn to a port of an allocation, named by its label or its number, until both directions have ended, and
// closes it. An error says why there was no connection.
func (c *Client) ForwardPort(ctx context.Context, allocID, port string, conn net.Conn) error {
	ws, err := c.websocket(ctx, exchange{route: routeAllocForward, id: allocID, query: url.Values{"port": {port}}})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	ws.SetReadLimit(maxForwardPiece + 1)
	joinPort(ctx, ws, conn)
	_ = conn.Close() // closed already when ctx has ended
	return nil
}
