package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// patience is how long an answer may take that is not waited for.
const patience = 30 * time.Second

// wire is one connection that carries one request after the other. It understands as much of HTTP/1.1 as the answers need: net/http's
// client costs as much as a server's answer, and the clients here share the servers' processors.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte // of the last answer
}

// answer is what came back. The body is the wire's until the next request.
type answer struct {
	status int
	index  uint64 // X-Drover-Index
	body   []byte
}

// dial connects to a server. in is how many bytes are read at a time.
func dial(ctx context.Context, addr string, in int) (*wire, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, in: bufio.NewReaderSize(conn, in)}, nil
}

func (w *wire) close() { _ = w.conn.Close() } // nothing is on its way

// send writes a whole request.
func (w *wire) send(request []byte) error {
	_, err := w.conn.Write(request)
	return err
}

// ask sends a request and reads its answer, which must be 200.
func (w *wire) ask(request []byte) (answer, error) {
	if err := w.send(request); err != nil {
		return answer{}, err
	}
	a, err := w.read()
	if err == nil && a.status != 200 {
		err = fmt.Errorf("the answer is %d: %s", a.status, a.body[:min(len(a.body), 300)])
	}
	return a, err
}

// Names of headers, as the servers write them.
var (
	contentLength = []byte("Content-Length: ")
	stateIndex    = []byte("X-Drover-Index: ")
	chunked       = []byte("Transfer-Encoding: chunked")
)

// read reads one answer.
func (w *wire) read() (a answer, err error) {
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return a, fmt.Errorf("the answer begins with %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, fmt.Errorf("the answer begins with %q", line)
	}
	length := -1
	for {
		if line, err = w.in.ReadSlice('\n'); err != nil {
			return a, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			return a, w.readBody(&a, length)
		case bytes.HasPrefix(line, contentLength):
			length, err = strconv.Atoi(string(line[len(contentLength):]))
		case bytes.HasPrefix(line, stateIndex):
			a.index, err = strconv.ParseUint(string(line[len(stateIndex):]), 10, 64)
		case bytes.Equal(line, chunked):
			length = lengthUnknown
		}
		if err != nil {
			return a, fmt.Errorf("the answer has the line %q", line)
		}
	}
}

// lengthUnknown: the body comes in chunks.
const lengthUnknown = -2

// readBody reads a body of known length, or in chunks.
func (w *wire) readBody(a *answer, length int) error {
	w.body = w.body[:0]
	switch {
	case length == lengthUnknown:
		for {
			line, err := w.in.ReadSlice('\n')
			if err != nil {
				return err
			}
			n, err := strconv.ParseInt(string(bytes.TrimRight(line, "\r\n")), 16, 32)
			if err != nil {
				return fmt.Errorf("a chunk begins with %q", line)
			}
			if err := w.take(int(n) + 2); err != nil {
				return err
			}
			w.body = w.body[:len(w.body)-2] // the line's end behind it
			if n == 0 {
				a.body = w.body
				return nil
			}
		}
	case length < 0:
		return fmt.Errorf("the answer does not say how long it is")
	}
	err := w.take(length)
	a.body = w.body
	return err
}

// take reads n bytes more into the body.
func (w *wire) take(n int) error {
	from := len(w.body)
	if cap(w.body) < from+n {
		w.body = append(make([]byte, 0, 2*(from+n)), w.body...)
	}
	w.body = w.body[:from+n]
	_, err := io.ReadFull(w.in, w.body[from:])
	return err
}

// get is a request without a body.
func get(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
}
