package api

import (
	"encoding/binary"
	"errors"
	"net/http"
)

// What goes over a line between two agents: messages of requests in one direction, of answers in the other, each a number of frames
// behind one another. Numbers are varints, texts have their length before them.

// lineRequest is a request as it is passed on.
type lineRequest struct {
	id     uint64 // of the answer too
	method string
	uri    string // path and query
	header http.Header
	body   []byte
}

// lineAnswer is the answer to a request. Status 0 means that there is none, and nobody knows what became of the request.
type lineAnswer struct {
	id     uint64
	status int
	header http.Header
	body   []byte
}

// errFrame ends a line on which something else was said than frames.
var errFrame = errors.New("the message is not made of frames")

func (r *lineRequest) append(b []byte) []byte {
	b = binary.AppendUvarint(b, r.id)
	b = appendText(appendText(b, r.method), r.uri)
	return appendText(appendHeader(b, r.header), string(r.body))
}

func (a *lineAnswer) append(b []byte) []byte {
	b = binary.AppendUvarint(b, a.id)
	b = binary.AppendUvarint(b, uint64(a.status))
	return appendText(appendHeader(b, a.header), string(a.body))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendHeader(b []byte, h http.Header) []byte {
	n := 0
	for _, values := range h {
		n += len(values)
	}
	b = binary.AppendUvarint(b, uint64(n))
	for key, values := range h {
		for _, v := range values {
			b = appendText(appendText(b, key), v)
		}
	}
	return b
}

// requestsOf are the requests of a message. Their bodies are parts of it.
func requestsOf(message []byte) (out []lineRequest, err error) {
	f := frames{left: message}
	for len(f.left) > 0 && !f.bad {
		out = append(out, lineRequest{id: f.number(), method: f.text(), uri: f.text(), header: f.header(), body: f.bytes()})
	}
	return out, f.err()
}

// answersOf are the answers of a message. Their bodies are parts of it.
func answersOf(message []byte) (out []lineAnswer, err error) {
	f := frames{left: message}
	for len(f.left) > 0 && !f.bad {
		out = append(out, lineAnswer{id: f.number(), status: int(min(f.number(), 999)), header: f.header(), body: f.bytes()})
	}
	return out, f.err()
}

// frames reads a message.
type frames struct {
	left []byte
	bad  bool // it is no such message
}

func (f *frames) err() error {
	if f.bad {
		return errFrame
	}
	return nil
}

func (f *frames) number() uint64 {
	v, n := binary.Uvarint(f.left)
	if n <= 0 {
		f.bad, f.left = true, nil
		return 0
	}
	f.left = f.left[n:]
	return v
}

func (f *frames) bytes() []byte {
	n := f.number()
	if n > uint64(len(f.left)) {
		f.bad, f.left = true, nil
		return nil
	}
	b := f.left[:n:n]
	f.left = f.left[n:]
	return b
}

func (f *frames) text() string { return string(f.bytes()) }

func (f *frames) header() http.Header {
	h := http.Header{}
	for n := f.number(); n > 0 && !f.bad; n-- {
		key, value := f.text(), f.text()
		h[key] = append(h[key], value)
	}
	return h
}
