package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	fastjson "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// errorOf reads the error that an agent answered.
func errorOf(addr string, res *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	e := &Error{}
	if err == nil && json.Unmarshal(data, e) == nil && e.Code != "" {
		return e
	}
	text := strings.TrimSpace(string(data))
	if len(text) > 200 {
		text = text[:200]
	}
	return NewError(CodeInternal, "check that a drover agent listens there", "%s answered %s: %s", addr, res.Status, text)
}

// maxWhole is up to which length an answer is read as a whole before it is decoded.
const maxWhole = 1 << 20

// decodeAnswer decodes an answer, or takes its bytes when these are asked for, and reads it to its end: its connection is used again.
func decodeAnswer(res *http.Response, out any) error {
	raw, isRaw := out.(*[]byte)
	if n := res.ContentLength; n > 0 && (n <= maxWhole || isRaw) {
		data := make([]byte, n)
		if _, err := io.ReadFull(res.Body, data); err != nil {
			return err
		}
		if isRaw {
			*raw = data
			return nil
		}
		return unmarshal(data, out)
	}
	if isRaw {
		var err error
		*raw, err = io.ReadAll(res.Body)
		return err
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxWhole))
	return err
}

// unmarshal decodes JSON, in a third of the time when there is nothing wrong with it.
func unmarshal(data []byte, out any) error {
	if fastjson.Unmarshal(data, out, jsonv1.DefaultOptionsV1()) == nil {
		return nil
	}
	return json.Unmarshal(data, out) // it says what is wrong
}

// metaOf reads the headers of an answer.
func metaOf(h http.Header) QueryMeta {
	index, _ := strconv.ParseUint(h.Get(headerIndex), 10, 64) // absent where there is no index: 0
	return QueryMeta{
		Index: index, LastContact: milliseconds(h.Get(headerLastContact)), KnownLeader: h.Get(headerKnownLeader) == "true",
		NextToken: h.Get(headerNextToken), Agent: h.Get(headerAgent),
	}
}

// cancelBody ends its request's context when the body is closed.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// connError is a request that got no answer.
type connError struct {
	wire  *Error
	sent  bool // the request may have arrived
	cause error
}

func newConnError(addr string, rt *Route, sent bool, cause error) error {
	e := &connError{sent: sent, cause: cause}
	var u *url.Error
	if errors.As(cause, &u) {
		cause = u.Err // without the method and the URL, which say nothing to a user
	}
	switch {
	case sent && rt.Write:
		e.wire = NewError(CodeUnknownOutcome, "send it again with the same request ID", "no answer of %s came, the write may have happened: %s", addr, cause)
	case errors.Is(cause, context.DeadlineExceeded) && sent:
		e.wire = NewError(CodeTimeout, "try again, or ask another agent", "the agent at %s did not answer in time", addr)
	default:
		e.wire = NewError(CodeUnreachable, "is an agent running there? Start one, or name another by --address or DROVER_ADDR", "cannot reach the agent at %s: %s", addr, cause)
	}
	return e
}

func (e *connError) Error() string { return e.wire.Error() }

// Unwrap gives errors.Is and errors.As both the error with its code and the network's.
func (e *connError) Unwrap() []error { return []error{e.wire, e.cause} }
