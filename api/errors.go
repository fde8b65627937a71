package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/drover-io/drover/state"
)

// Codes of errors. They are stable: scripts may compare them. Messages are for people and may change.
const (
	CodeInvalid        = "invalid"            // 400: the request cannot be right, whatever the state
	CodeForbidden      = "forbidden"          // 403: the caller lacks the capability, or speaks for another node
	CodeNotFound       = "not_found"          // 404: there is no such job, node or allocation
	CodeNoRoute        = "no_route"           // 404: there is no such path
	CodeMethod         = "method_not_allowed" // 405: the path exists, the method does not
	CodeConflict       = "conflict"           // 409: the state has moved on, or contradicts the request
	CodeLength         = "length_required"    // 411: the body's length must be known
	CodeTooLarge       = "too_large"          // 413: the body or a part of it is beyond its limit
	CodeBusy           = "busy"               // 429: a limit on concurrency was reached; nothing was done
	CodeTooSlow        = "too_slow"           // 429: the reader of a stream fell behind what is kept for it
	CodeInternal       = "internal"           // 500: a fault of ours; the log of the agent has more
	CodeUnreachable    = "unreachable"        // 502: the agent that owns the allocation does not answer
	CodeNoLeader       = "no_leader"          // 503: no leader was known for as long as the request could wait; nothing was done
	CodeNotLeader      = "not_leader"         // 503: a forwarded request met an agent that does not lead; nothing was done
	CodeNotOwner       = "not_owner"          // 503: a forwarded request met an agent that does not own the allocation
	CodeBehind         = "behind"             // 503: this server has not seen the index asked for yet
	CodeUnavailable    = "unavailable"        // 503: this agent cannot do that: it is stopping, or lacks the role
	CodeUnknownOutcome = "unknown_outcome"    // 504: the write may or may not have happened; retry with the same request ID
	CodeTimeout        = "timeout"            // 504: the answer took longer than the route allows
)

// Errors to compare with errors.Is, on both sides of the wire. Errors of the same code are equal.
var (
	ErrInvalid        = &Error{Code: CodeInvalid, Message: "invalid request"}
	ErrForbidden      = &Error{Code: CodeForbidden, Message: "not allowed"}
	ErrNotFound       = &Error{Code: CodeNotFound, Message: "not found"}
	ErrConflict       = &Error{Code: CodeConflict, Message: "conflict"}
	ErrTooLarge       = &Error{Code: CodeTooLarge, Message: "too large"}
	ErrBusy           = &Error{Code: CodeBusy, Message: "busy"}
	ErrTooSlow        = &Error{Code: CodeTooSlow, Message: "too slow"}
	ErrUnreachable    = &Error{Code: CodeUnreachable, Message: "unreachable"}
	ErrNoLeader       = &Error{Code: CodeNoLeader, Message: "no leader"}
	ErrNotLeader      = &Error{Code: CodeNotLeader, Message: "not the leader"}
	ErrNotOwner       = &Error{Code: CodeNotOwner, Message: "not the owner of the allocation"}
	ErrBehind         = &Error{Code: CodeBehind, Message: "behind the index asked for"}
	ErrUnavailable    = &Error{Code: CodeUnavailable, Message: "unavailable"}
	ErrUnknownOutcome = &Error{Code: CodeUnknownOutcome, Message: "the outcome is unknown"}
	ErrTimeout        = &Error{Code: CodeTimeout, Message: "timed out"}
)

// Error is what every failed request answers.
type Error struct {
	Code      string // a Code constant
	Message   string // one sentence: what went wrong, and where
	Next      string `json:",omitempty"` // what to do about it
	RequestID string `json:",omitempty"` // of the write that failed; send it again with a retry
}

// NewError makes an error with a code, what to do next ("" when there is nothing to say) and a formatted message.
func NewError(code, next, format string, args ...any) *Error {
	return &Error{Code: code, Next: next, Message: fmt.Sprintf(format, args...)}
}

// Error is the message and what to do next.
func (e *Error) Error() string {
	if e.Next == "" {
		return e.Message
	}
	return e.Message + "; " + e.Next
}

// Is reports whether target is an Error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Status is the HTTP status that goes with the code.
func (e *Error) Status() int {
	switch e.Code {
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeForbidden:
		return http.StatusForbidden
	case CodeNotFound, CodeNoRoute:
		return http.StatusNotFound
	case CodeMethod:
		return http.StatusMethodNotAllowed
	case CodeConflict:
		return http.StatusConflict
	case CodeLength:
		return http.StatusLengthRequired
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeBusy, CodeTooSlow:
		return http.StatusTooManyRequests
	case CodeUnreachable:
		return http.StatusBadGateway
	case CodeNoLeader, CodeNotLeader, CodeNotOwner, CodeBehind, CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeUnknownOutcome, CodeTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// internalError is what a caller sees of an error that is nobody's business but the agent's log's.
func internalError() *Error {
	return NewError(CodeInternal, "look in the log of the agent that answered", "the agent failed to answer this request")
}

// asError translates any error of a handler into what goes on the wire. known is false for one that only the log may see.
func asError(err error) (e *Error, known bool) {
	if errors.As(err, &e) {
		return e, true
	}
	switch {
	case errors.Is(err, state.ErrNotFound):
		return NewError(CodeNotFound, "", "%s", err), true
	case errors.Is(err, state.ErrIndexMismatch):
		return NewError(CodeConflict, "read it again and retry with its index", "%s", said(err)), true
	case errors.Is(err, state.ErrLevel):
		return NewError(CodeConflict, "upgrade all servers first; a cluster that has just formed is ready in a moment", "%s", err), true
	case errors.Is(err, state.ErrConflict), errors.Is(err, state.ErrStaleTerm):
		return NewError(CodeConflict, "", "%s", said(err)), true
	case errors.Is(err, state.ErrLimit), errors.Is(err, state.ErrInvalid), errors.Is(err, state.ErrCorrupt):
		return NewError(CodeInvalid, "", "%s", said(err)), true
	case errors.Is(err, context.DeadlineExceeded):
		return NewError(CodeTimeout, "try again", "the answer took longer than this route allows"), true
	case errors.Is(err, context.Canceled):
		return NewError(CodeUnavailable, "try again", "the request was given up"), true
	}
	return internalError(), false
}

// said is an error's text without the name of its kind, which the code says. One that has nothing else to say keeps it.
func said(err error) string {
	text := err.Error()
	for _, kind := range []error{state.ErrIndexMismatch, state.ErrConflict, state.ErrInvalid} {
		if short, found := strings.CutSuffix(text, ": "+kind.Error()); found && strings.Contains(short, ": ") {
			return short
		}
	}
	return text
}

// denyOrigin answers a request that a page of another origin had a browser send.
func denyOrigin(w http.ResponseWriter, _ *http.Request) {
	e := NewError(CodeForbidden, "use the command line, or a page that the agent itself serves",
		"a page of another origin asked for this: the agent takes nothing from it")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(headerError, e.Code)
	w.WriteHeader(e.Status())
	_ = json.NewEncoder(w).Encode(e) // the browser has gone when this fails
}
