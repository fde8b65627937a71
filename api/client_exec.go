package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// websocket opens a websocket at an agent.
func (c *Client) websocket(ctx context.Context, x exchange) (*websocket.Conn, error) {
	rt := c.routes[x.route]
	req, err := c.request(rt, x)
	if err != nil {
		return nil, err
	}
	conn, res, err := websocket.Dial(ctx, req.URL.String(), &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: req.Header})
	if err == nil {
		return conn, nil
	}
	if res == nil {
		return nil, newConnError(c.cfg.Addr, rt, false, err)
	}
	return nil, errorOf(c.cfg.Addr, res)
}

// Exec runs a command inside a task, connected to x, until it has ended or ctx does, which kills it. It returns the exit code;
// an error says why the command could not be started, or that its end is not known.
func (c *Client) Exec(ctx context.Context, req ExecRequest, x ExecIO) (exitCode int, err error) {
	command, err := json.Marshal(req.Command)
	if err != nil {
		return -1, fmt.Errorf("encode the command: %w", err)
	}
	q := url.Values{"command": {string(command)}, "tty": {strconv.FormatBool(req.TTY)}}
	if req.Task != "" {
		q.Set("task", req.Task)
	}
	conn, err := c.websocket(ctx, exchange{route: routeAllocExec, id: req.AllocID, query: q})
	if err != nil {
		return -1, err
	}
	conn.SetReadLimit(maxExecFrame)
	e := execClient{conn: conn, x: x}
	return e.run(ctx)
}

// execClient is the client's end of one exec.
type execClient struct {
	conn *websocket.Conn
	x    ExecIO
}

func (e *execClient) run(ctx context.Context) (int, error) {
	defer func() { _ = e.conn.CloseNow() }() // said goodbye below, or not to be waited for
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	if stdin, ok := e.x.Stdin.(io.Closer); ok {
		defer func() { _ = stdin.Close() }() // what is still to be typed is not for this command
	}
	defer cancel()
	wg.Go(func() { e.feed(ctx) })
	wg.Go(func() { e.tend(ctx) })
	code, err := e.listen(ctx)
	if err == nil {
		_ = e.conn.Close(websocket.StatusNormalClosure, "") // the agent may have closed it already
	}
	return code, err
}

// listen hands out what the command writes until it has ended.
func (e *execClient) listen(ctx context.Context) (int, error) {
	for {
		_, data, err := e.conn.Read(ctx)
		if err != nil {
			return -1, brokenExec(ctx, err)
		}
		var out ExecOutput
		if err := json.Unmarshal(data, &out); err != nil {
			return -1, fmt.Errorf("understand the agent: %w", err)
		}
		for _, s := range []struct {
			to io.Writer
			d  *ExecData
		}{{e.x.Stdout, out.Stdout}, {e.x.Stderr, out.Stderr}} {
			if s.d == nil || s.to == nil || len(s.d.Data) == 0 {
				continue
			}
			if _, err := s.to.Write(s.d.Data); err != nil {
				return -1, fmt.Errorf("write the command's output: %w", err)
			}
		}
		switch {
		case out.Error != nil && out.Result != nil:
			return out.Result.ExitCode, out.Error
		case out.Error != nil:
			return -1, out.Error
		case out.Exited && out.Result != nil:
			return out.Result.ExitCode, nil
		}
	}
}

// brokenExec says why the connection of a running command ended.
func brokenExec(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var closed websocket.CloseError
	if errors.As(err, &closed) && closed.Reason != "" {
		return NewError(CodeInternal, "", "%s", closed.Reason)
	}
	return NewError(CodeUnreachable, "the command was killed with it; run it again", "the connection to the command broke off: %s", err)
}

// feed sends what the command is to read.
func (e *execClient) feed(ctx context.Context) {
	in := e.x.Stdin
	if in == nil {
		in = bytes.NewReader(nil)
	}
	buf := make([]byte, execPiece)
	for ctx.Err() == nil {
		n, err := in.Read(buf)
		if n > 0 && e.send(ctx, ExecInput{Stdin: &ExecData{Data: buf[:n]}}) != nil {
			return // the reader of the other direction says why
		}
		if err != nil {
			_ = e.send(ctx, ExecInput{Stdin: &ExecData{Close: true}}) // the reader of the other direction says why
			return
		}
	}
}

// tend sends the terminal's sizes, and now and then that the client lives.
func (e *execClient) tend(ctx context.Context) {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		var in ExecInput
		select {
		case <-ctx.Done():
			return
		case size, open := <-e.x.Resize:
			if !open {
				e.x.Resize = nil
				continue
			}
			in.TTYSize = &size
		case <-beat.C:
		}
		if e.send(ctx, in) != nil {
			return // the reader of the other direction says why
		}
	}
}

func (e *execClient) send(ctx context.Context, in ExecInput) error {
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return e.conn.Write(ctx, websocket.MessageText, data)
}
