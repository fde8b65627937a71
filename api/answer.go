package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answerWriter writes an answer, bounds how long its reader may take for it, and remembers whether and how it began.
type answerWriter struct {
	http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	code    string // the status, "" before it
}

// WriteHeader begins the answer.
func (w *answerWriter) WriteHeader(status int) {
	if w.code == "" {
		w.code = strconv.Itoa(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write gives the reader the write time-out and a second for each KiB; one that takes longer is cut off.
func (w *answerWriter) Write(p []byte) (int, error) {
	if w.code == "" {
		w.code = strconv.Itoa(http.StatusOK)
	}
	deadline := time.Now().Add(w.timeout + time.Duration(len(p)>>10)*time.Second)
	if err := w.rc.SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController through.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// began reports whether something was written: from then on an error can only cut the answer off.
func (w *answerWriter) began() bool { return w.code != "" }

// flushing writes and flushes at once, so that a follower sees each line as it comes.
type flushing struct{ w *answerWriter }

// Write writes p and flushes.
func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		return n, err
	}
	if err := f.w.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return n, err
	}
	return n, nil
}

// fail answers an error. Of one that is nobody's business but ours the log has more than the answer.
func (c *call) fail(err error) {
	e, known := asError(err)
	if !known {
		c.s.log.Error("answer a request", "route", c.rt.Name, "error", err)
	}
	if c.w.began() {
		panic(http.ErrAbortHandler) // the only way to tell the reader that the answer is not whole
	}
	out := *e
	out.RequestID = c.requestID
	c.mark(c.w.Header())
	writeError(c.w, &out)
}

// writeError writes an error as JSON.
func writeError(w http.ResponseWriter, e *Error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set(headerError, e.Code)
	if e.Code == CodeBusy {
		h.Set("Retry-After", "1")
	}
	if e.Code == CodeTooLarge || e.Code == CodeTimeout {
		h.Set("Connection", "close") // the rest of the body may still be coming
	}
	data, err := json.Marshal(e)
	if err != nil {
		data = []byte(`{"Code":"internal"}`) // strings always marshal
	}
	w.WriteHeader(e.Status())
	_, _ = w.Write(append(data, '\n')) // the reader may be gone; there is nobody to tell
}

// reply answers a value as JSON.
func (c *call) reply(v any) error {
	var data []byte
	var err error
	if c.opts.pretty {
		data, err = json.MarshalIndent(v, "", "  ")
	} else {
		data, err = json.Marshal(v)
	}
	if err != nil {
		return err
	}
	h := c.w.Header()
	c.mark(h)
	if c.rt.Method == http.MethodGet {
		tag := entityTag(data)
		h.Set("Etag", tag)
		if hasTag(c.r.Header.Values("If-None-Match"), tag) {
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)+1))
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(append(data, '\n')) // the reader may be gone; there is nobody to tell
	return nil
}

// entityTag is the same for the same bytes, whichever server answers them.
func entityTag(data []byte) string {
	sum := sha256.Sum256(data)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// readBody takes in the body of a route that is no stream, in bounded size and time.
func (c *call) readBody() error {
	if c.rt.MaxBody == 0 {
		return nil
	}
	if c.r.ContentLength > c.rt.MaxBody {
		return c.tooLarge()
	}
	// The request keeps its own Body: net/http looks at it to know whether the sender still waits to be asked for it.
	c.in = &slowBody{ReadCloser: http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, c.rt.MaxBody), c: c, start: time.Now()}
	if c.rt.Stream {
		return nil
	}
	room := bytes.NewBuffer(make([]byte, 0, max(c.r.ContentLength, 0)+bytes.MinRead)) // of which ReadFrom wants so much for the end
	if _, err := room.ReadFrom(c.in); err != nil {
		return c.bodyError(err)
	}
	c.body = room.Bytes()
	return nil
}

func (c *call) tooLarge() *Error {
	return NewError(CodeTooLarge, "", "the body of %s %s may have %d bytes", c.rt.Method, c.rt.Path, c.rt.MaxBody)
}

// bodyError says why a body could not be read.
func (c *call) bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var slow interface{ Timeout() bool }
	switch {
	case errors.As(err, &tooLarge):
		return c.tooLarge()
	case errors.As(err, &slow) && slow.Timeout():
		return NewError(CodeTimeout, "", "the body did not arrive within %s", c.s.b.Limits.BodyTimeout)
	}
	return NewError(CodeInvalid, "", "the body ended early")
}

// slowBody bounds how long a body may take to arrive: the body time-out, and a second for each KiB.
type slowBody struct {
	io.ReadCloser
	c     *call
	start time.Time
	read  int64
}

// Read sets the deadline for what comes next, and takes it away at the end: it would end the request's context later.
func (b *slowBody) Read(p []byte) (int, error) {
	deadline := b.start.Add(b.c.s.b.Limits.BodyTimeout + time.Duration(b.read>>10)*time.Second)
	if err := b.c.w.rc.SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) {
		if e := b.c.w.rc.SetReadDeadline(time.Time{}); e != nil && !errors.Is(e, http.ErrNotSupported) {
			return n, e
		}
	}
	return n, err
}

// hasTag reports whether an If-None-Match header names the tag.
func hasTag(header []string, tag string) bool {
	for _, list := range header {
		for one := range strings.SplitSeq(list, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == tag || one == "*" {
				return true
			}
		}
	}
	return false
}
