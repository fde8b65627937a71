package api

import (
	"context"
	"encoding/json"
	"io"
)

// ExecRequest asks for a command to be run inside a running task.
type ExecRequest struct {
	AllocID string
	Task    string // "" means the only one
	Command []string
	TTY     bool // with a terminal of its own; stderr then goes to stdout
}

// ExecIO is what a command is connected to.
type ExecIO struct {
	Stdin  io.Reader // nil is an empty one. A client that has no more use for it closes it when it is an io.Closer
	Stdout io.Writer
	Stderr io.Writer
	Resize <-chan TTYSize // sizes of the terminal; nil without one
}

// ExecFunc runs a command until it has ended or ctx does, which ends it. When the command could not be started the error says
// why, and the exit code is the one that shells use: 126, or 127 when there is no such program.
type ExecFunc func(ctx context.Context, x ExecIO) (exitCode int, err error)

// TTYSize is the size of a terminal in characters.
type TTYSize struct {
	Height int `json:"height"`
	Width  int `json:"width"`
}

// These are the messages of an exec's websocket, one JSON text each; the field's clients speak them. An empty one ({}) only says
// that the sender lives.
type (
	// ExecInput is what the client sends.
	ExecInput struct {
		Stdin   *ExecData `json:"stdin,omitempty"`
		TTYSize *TTYSize  `json:"tty_size,omitempty"`
	}
	// ExecOutput is what the agent sends. The last one has Exited with a Result, or an Error.
	ExecOutput struct {
		Stdout *ExecData   `json:"stdout,omitempty"`
		Stderr *ExecData   `json:"stderr,omitempty"`
		Exited bool        `json:"exited,omitempty"`
		Result *ExecResult `json:"result,omitempty"`
		Error  *Error      `json:"error,omitempty"`
	}
	// ExecData is a piece of a stream, or its end.
	ExecData struct {
		Data  []byte `json:"data,omitempty"` // base64
		Close bool   `json:"close,omitempty"`
	}
	// ExecResult is how the command ended.
	ExecResult struct {
		ExitCode int `json:"exit_code"`
	}
)

const (
	// maxExecFrame bounds a message.
	maxExecFrame = 256 << 10
	// execPiece is how much of a stream goes into one.
	execPiece = 32 << 10
	// maxTTY bounds the rows and columns of a terminal.
	maxTTY = 10_000
	// maxCommand bounds the words of a command; their length is bounded by that of the headers.
	maxCommand = 1024
)

// decodeExecInput reads a message of a client.
func decodeExecInput(data []byte) (ExecInput, error) {
	var in ExecInput
	if err := decodeLenient(data, &in); err != nil {
		return in, err
	}
	if s := in.TTYSize; s != nil && (s.Height < 0 || s.Width < 0 || s.Height > maxTTY || s.Width > maxTTY) {
		return in, NewError(CodeInvalid, "", "a terminal of %d by %d characters is none", s.Width, s.Height)
	}
	return in, nil
}

// execRequest reads the parameters of an exec.
func (c *call) execRequest() (ExecRequest, error) {
	p := parser{values: c.query}
	req := ExecRequest{AllocID: c.id(), Task: c.query.Get("task"), TTY: p.flag("tty")}
	if err := json.Unmarshal([]byte(c.query.Get("command")), &req.Command); err != nil {
		p.fail("command", `a JSON list of words, such as ["ls","-l"]`)
	}
	if len(req.Command) == 0 || len(req.Command) > maxCommand || req.Command[0] == "" {
		p.fail("command", "a program and its arguments")
	}
	return req, p.err
}

// execAlloc runs a command inside a task, connected to a websocket.
func execAlloc(c *call) error {
	req, err := c.execRequest()
	if err != nil {
		return err
	}
	run, err := c.s.b.Inside.Exec(c.ctx, req)
	if err != nil {
		return err
	}
	ctx, cancel := c.untilClosing()
	defer cancel()
	conn, err := c.accept(maxExecFrame)
	if err != nil {
		return err
	}
	x := execServer{c: c, conn: conn}
	x.heard.note()
	x.serve(ctx, run, c.query.Get("ws_handshake") != "")
	return nil
}
